"""RefreshingCredentials: what it takes, what a fetch may return or raise, and copies."""

from __future__ import annotations

import copy
import datetime
import os
import pickle
import threading
import time
import types
import typing

import pytest
from support.examples import ACCESS_KEY, NOON, SECRET_KEY, SESSION_TOKEN, label
from support.loopback import told
from support.subject import iamcacheauth
from support.waiting import Caller

CredentialsError = iamcacheauth.CredentialsError
RefreshingCredentials = iamcacheauth.RefreshingCredentials

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver")


@pytest.fixture
def provider(fetch):
    return RefreshingCredentials(fetch, timeout=30)


# --- what fetch may return ---

LATER = NOON + 7200


class Whole(typing.NamedTuple):
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    token: str | None = SESSION_TOKEN
    expiration: object = LATER


class BotocoreLike:
    def __repr__(self):
        return "BotocoreLike()"

    def get_frozen_credentials(self):
        return types.SimpleNamespace(access_key=ACCESS_KEY, secret_key=SECRET_KEY, token=SESSION_TOKEN)


@pytest.mark.parametrize(
    ("fetched", "expiration"),
    [
        (Whole(), LATER),
        (iamcacheauth.StaticCredentials(*Whole()), LATER),
        (BotocoreLike(), None),
        (Whole(expiration=None), None),
        (Whole(expiration=int(LATER)), LATER),
        (Whole(expiration="2026-01-02T14:00:00Z"), LATER),
        (Whole(expiration="2026-01-02T14:00:00.123456Z"), LATER),
        (Whole(expiration="2026-01-02T16:00:00+02:00"), LATER),
        (Whole(expiration=datetime.datetime(2026, 1, 2, 14, tzinfo=datetime.timezone.utc)), LATER),
        (Whole(token=None), LATER),
        (Whole(token=""), LATER),
    ],
    ids=label,
)
def test_what_fetch_may_return(clock, fetched, expiration):
    credentials = RefreshingCredentials(lambda: fetched)()
    assert isinstance(credentials, iamcacheauth.StaticCredentials)
    assert (credentials.access_key, credentials.secret_key) == (ACCESS_KEY, SECRET_KEY)
    assert credentials.token == (getattr(fetched, "token", SESSION_TOKEN) or None)
    assert credentials.expiration == expiration


@pytest.mark.parametrize(
    ("fetched", "cause"),
    [
        (None, "NoneType"),
        ({"access_key": ACCESS_KEY, "secret_key": SECRET_KEY, "token": None}, "dict"),
        ((ACCESS_KEY, SECRET_KEY, SESSION_TOKEN), "tuple"),
        (types.SimpleNamespace(access_key=ACCESS_KEY, secret_key=SECRET_KEY), "type SimpleNamespace has no token"),
        (types.SimpleNamespace(secret_key=SECRET_KEY), "type SimpleNamespace has no access_key and no token"),
        (Whole(access_key=""), "access_key"),
        (Whole(access_key=None), "access_key"),
        (Whole(secret_key=SECRET_KEY.encode()), "secret_key"),
        (Whole(secret_key=SECRET_KEY + "\n"), "secret_key"),
        (Whole(token=SESSION_TOKEN.encode()), "token"),
        (Whole(expiration="soon"), "expiration"),
        (Whole(expiration=True), "expiration"),
        (Whole(expiration=float("nan")), "expiration"),
        (Whole(expiration=LATER * 1000), "expiration"),
        (Whole(expiration=datetime.datetime(2026, 1, 2, 14)), "expiration"),
        (Whole(expiration=datetime.date(2026, 1, 2)), "expiration"),
        (Whole(expiration=NOON), "expired at 2026-01-02T12:00:00Z"),
        (Whole(expiration=NOON - 3600), "expired at 2026-01-02T11:00:00Z"),
    ],
    ids=label,
)
def test_what_fetch_must_not_return(clock, monkeypatch, fetched, cause):
    outcomes = [fetched]
    provider = RefreshingCredentials(lambda: outcomes.pop())
    with pytest.raises(CredentialsError) as caught:
        provider()
    assert cause in str(caught.value)
    assert SECRET_KEY not in told(caught.value)
    assert SESSION_TOKEN not in told(caught.value)
    outcomes.append(Whole())
    monkeypatch.setattr(time, "sleep", lambda _: None)  # the pause after a failure
    assert provider().expiration == LATER


@pytest.mark.parametrize("failure", [ValueError("secret"), StopIteration("secret"), TimeoutError("secret")], ids=repr)
def test_what_fetch_raises_is_the_cause(failure):
    def fetch():
        raise failure

    with pytest.raises(CredentialsError) as caught:
        RefreshingCredentials(fetch)()
    assert caught.value.__cause__ is failure
    assert type(failure).__name__ in str(caught.value)
    assert "secret" not in str(caught.value)


def test_errors_of_the_module_pass_through(provider, fetch):
    """A chain as fetch, for instance: its error says it best."""
    fetch.failure = CredentialsError("the vault is sealed")
    with pytest.raises(CredentialsError, match="the vault is sealed"):
        provider()


@pytest.mark.parametrize("fetch", [None, "fetch", Whole(), 1], ids=repr)
def test_fetch_is_called(fetch):
    with pytest.raises(iamcacheauth.ConfigurationError, match="fetch"):
        RefreshingCredentials(fetch)


@pytest.mark.parametrize("timeout", [0, -1, None, "5", True, float("nan"), float("inf")], ids=repr)
@pytest.mark.parametrize(
    "kind", [lambda timeout: RefreshingCredentials(Whole, timeout=timeout), iamcacheauth.EnvironmentCredentials]
)
def test_timeout(kind, timeout):
    with pytest.raises(iamcacheauth.ConfigurationError, match="timeout"):
        kind(timeout=timeout)


# --- copies ---


class Vault(RefreshingCredentials):
    """A user's own: with arguments, attributes, and a method as fetch."""

    def __init__(self, path, *, number=1):
        super().__init__(self.load, timeout=7)
        self.path = path
        self.number = number

    def load(self):
        self.number += 1
        return Whole(token=f"{self.path}-{self.number}", expiration=None)


def whole():
    return Whole(expiration=None)


def through_pickle(protocol):
    return lambda value: pickle.loads(pickle.dumps(value, protocol))


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy}
COPIES.update({f"pickle {protocol}": through_pickle(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)})
copied = pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)


@copied
def test_copies(copied):
    original = RefreshingCredentials(whole, timeout=7)
    first = original()
    duplicate = copied(original)
    assert duplicate() is not first
    assert duplicate() is duplicate()
    assert duplicate().token == SESSION_TOKEN
    assert original() is first


BEGUN, MAY_END = threading.Event(), threading.Event()


def whole_in_a_while():
    if not BEGUN.is_set():
        BEGUN.set()
        MAY_END.wait(30)
    return whole()


@copied
def test_copies_made_during_a_renewal(copied):
    BEGUN.clear()
    MAY_END.clear()
    original = RefreshingCredentials(whole_in_a_while)
    fetching = Caller(original)
    assert BEGUN.wait(30)
    assert copied(original)().token == SESSION_TOKEN
    MAY_END.set()
    assert fetching.result().token == SESSION_TOKEN


@copied
def test_copies_of_a_users_subclass(copied):
    original = Vault("secret/cache")
    assert original().token == "secret/cache-2"
    duplicate = copied(original)
    assert (type(duplicate), duplicate.path, duplicate.number) == (Vault, "secret/cache", 2)
    assert duplicate().token == "secret/cache-3"
    assert original().token == "secret/cache-2"


@copied
def test_copies_of_the_chain_and_of_generators(copied, container):
    container.issued["Expiration"] = "2099-01-01T00:00:00Z"
    chain = iamcacheauth.EnvironmentCredentials(container.environ, timeout=20)
    auth = iamcacheauth.ElastiCacheAuth("user", "cache", region="us-east-1", credentials=chain)
    for original in (chain, auth.token, chain):
        original()
    assert len(container.requests) == 1
    duplicate = copied(chain)
    assert duplicate().token == duplicate().token == container.issued["Token"]
    assert len(container.requests) == 2
    duplicate = copied(auth)
    assert duplicate.token().startswith("cache/") and duplicate.token().startswith("cache/")
    assert len(container.requests) == (2 if copied is copy.copy else 3)  # a shallow copy shares the chain
    if copied not in (copy.copy, copy.deepcopy):
        for secret in (SECRET_KEY, SESSION_TOKEN):
            assert secret.encode() not in pickle.dumps((chain, auth))


def test_the_chain_of_this_process_travels(monkeypatch, container):
    """With the process's environment, not with a copy of it."""
    travelled = pickle.loads(pickle.dumps(iamcacheauth.EnvironmentCredentials(os.environ)))
    for variable, value in container.environ.items():
        monkeypatch.setenv(variable, value)
    assert travelled().token == container.issued["Token"]
