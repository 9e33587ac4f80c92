"""RefreshingCredentials: when it fetches, for whom, and what becomes of the others meanwhile."""

from __future__ import annotations

import contextlib
import copy
import datetime
import os
import pickle
import subprocess
import sys
import threading
import types
import typing

import pytest
from support.examples import ACCESS_KEY, NOON, SECRET_KEY, SESSION_TOKEN, label
from support.loopback import told
from support.subject import iamcacheauth
from support.waiting import Caller, interruption_at, wait_until

CredentialsError = iamcacheauth.CredentialsError
RefreshingCredentials = iamcacheauth.RefreshingCredentials

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver")


def number(credentials):
    """The number of the fetch that a set came from; all of it from the same."""
    (number,) = {
        text.rpartition("-")[2] for text in (credentials.access_key, credentials.secret_key, credentials.token)
    }
    return int(number)


@pytest.fixture
def provider(fetch):
    return RefreshingCredentials(fetch, timeout=30)


# --- when it fetches ---


@pytest.mark.parametrize(
    ("left", "fetches"), [(3600, 1), (901, 1), (900, 1), (899.9, 2), (899, 2), (0.1, 2), (0, 2), (-1, 2), (-9999, 2)]
)
def test_time_left(provider, fetch, clock, left, fetches):
    assert number(provider()) == 1
    clock.now += 3600 - left
    assert number(provider()) == fetches
    assert number(provider()) == fetches
    assert fetch.calls == fetches


@pytest.mark.parametrize(("later", "fetches"), [(0, 2), (5, 2), (9.99, 2), (10.01, 3), (100, 3)])
def test_a_failed_renewal_is_tried_again_after_ten_seconds(provider, fetch, clock, later, fetches):
    provider()
    clock.now += 3600 - 899
    fetch.failure = OSError("unreachable")
    assert number(provider()) == 1
    clock.now += later
    assert number(provider()) == 1
    assert fetch.calls == fetches


def test_a_renewal_that_comes_through_after_all(provider, fetch, clock):
    provider()
    clock.now += 3600 - 899
    fetch.failure = OSError("unreachable")
    provider()
    fetch.failure = None
    clock.now += 11
    assert number(provider()) == 3
    assert number(provider()) == 3


def test_a_failed_renewal_is_an_error_once_they_expire(provider, fetch, clock):
    """Also within the ten seconds."""
    provider()
    clock.now += 3600 - 5
    fetch.failure = OSError("unreachable")
    assert number(provider()) == 1
    clock.now += 5
    with pytest.raises(CredentialsError) as caught:
        provider()
    assert caught.value.__cause__ is fetch.failure
    fetch.failure = None
    assert number(provider()) == 4


def test_sessions_shorter_than_fifteen_minutes(provider, fetch, clock):
    """A fetch every ten seconds, not one for every token."""
    fetch.lifetime = 600
    for _ in range(1000):
        provider()
        clock.now += 0.1
    assert 9 <= fetch.calls <= 11


def test_sessions_shorter_than_the_pause(provider, fetch, clock):
    """What has expired is never given out, however often that means to fetch."""
    fetch.lifetime = 3
    for _ in range(10):
        assert provider().expiration > clock.now
        clock.now += 1
    assert fetch.calls == 4


def test_without_an_expiration_they_are_kept(clock):
    fetched = iter([iamcacheauth.StaticCredentials("key", "secret")])
    provider = RefreshingCredentials(lambda: next(fetched))
    first = provider()
    clock.now += 10**9
    assert provider() is first


def test_a_clock_that_is_set_back(provider, fetch, clock):
    provider()
    clock.now -= 86400
    assert number(provider()) == 1


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
def test_what_fetch_must_not_return(clock, fetched, cause):
    outcomes = [fetched]
    provider = RefreshingCredentials(lambda: outcomes.pop())
    with pytest.raises(CredentialsError) as caught:
        provider()
    assert cause in str(caught.value)
    assert SECRET_KEY not in told(caught.value)
    assert SESSION_TOKEN not in told(caught.value)
    outcomes.append(Whole())
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


# --- many threads ---


def test_valid_credentials_serve_the_others_during_a_renewal(provider, fetch, clock):
    provider()
    clock.now += 3600 - 899
    fetch.hold()
    renewing = Caller(provider)
    assert fetch.begun.wait(30)
    assert [number(provider()) for _ in range(100)] == [1] * 100
    fetch.may_end.set()
    assert number(renewing.result()) == 2
    assert number(provider()) == 2
    assert fetch.calls == 2


@pytest.mark.parametrize("expired", [False, True], ids=["absent", "expired"])
@pytest.mark.parametrize("failure", [None, OSError("unreachable")], ids=["success", "failure"])
def test_callers_wait_for_the_one_fetch_and_share_its_outcome(provider, fetch, clock, expired, failure):
    if expired:
        provider()
        clock.now += 3600
    before = fetch.calls
    fetch.hold()
    callers = [Caller(provider) for _ in range(20)]
    wait_until(lambda: all(caller.is_waiting() for caller in callers))
    fetch.failure = failure
    fetch.may_end.set()
    outcomes = [caller.exception() or caller.result() for caller in callers]
    assert fetch.calls == before + 1
    if failure:
        assert {(type(outcome), outcome.__cause__) for outcome in outcomes} == {(CredentialsError, failure)}
    else:
        assert {number(outcome) for outcome in outcomes} == {before + 1}


def test_waiting_is_bounded(fetch):
    provider = RefreshingCredentials(fetch, timeout=0.1)
    fetch.hold()
    fetching = Caller(provider)
    assert fetch.begun.wait(30)
    for _ in range(2):
        with pytest.raises(CredentialsError, match=r"0\.1 s"):
            provider()
    fetch.may_end.set()
    assert number(fetching.result()) == number(provider()) == 1


def test_64_threads_and_a_renewal_in_the_middle(provider, fetch, clock):
    """Exactly one fetch; nobody sees half of the old and half of the new set."""
    threads = 64
    auth = iamcacheauth.ElastiCacheAuth("user", "cache", region="us-east-1", credentials=provider)
    provider()
    middle = threading.Barrier(threads, action=lambda: setattr(clock, "now", clock.now + 3600 - 899))

    def work():
        numbers = [number(provider()) for _ in range(50)]
        middle.wait(30)
        numbers += [number(provider()) for _ in range(50)]
        token = auth.token()
        assert any(f"key-{n}" in token and f"token-{n}&" in token for n in (1, 2))
        return numbers

    callers = [Caller(work) for _ in range(threads)]
    for caller in callers:
        numbers = caller.result()
        assert numbers == sorted(numbers)
        assert set(numbers) <= {1, 2}
    assert number(provider()) == 2
    assert fetch.calls == 2


def test_a_fetch_that_asks_for_what_it_fetches(fetch):
    """Such as one that logs in to a cache, with this very object: an error, not a deadlock."""
    provider = RefreshingCredentials(lambda: provider(), timeout=0.1)
    with pytest.raises(CredentialsError):
        provider()


# --- interruptions ---


def test_interrupted_fetch(provider, fetch):
    """Whoever presses Ctrl-C in the thread that fetches: the others do not hang, and the next call begins anew."""
    fetch.hold()
    fetching = Caller(provider)
    assert fetch.begun.wait(30)
    waiting = Caller(provider)
    wait_until(waiting.is_waiting)
    fetch.failure = KeyboardInterrupt()
    fetch.may_end.set()
    assert isinstance(fetching.exception(), KeyboardInterrupt)
    with pytest.raises(CredentialsError, match=r"^the caller that .* was interrupted$"):
        waiting.result()
    fetch.failure = None
    assert number(provider()) == 2


@pytest.mark.parametrize("expired", [False, True], ids=["absent", "nearly expired"])
def test_an_interruption_anywhere_leaves_nobody_hanging(fetch, clock, expired):
    """Celery, RQ and Gunicorn raise errors from signal handlers, which may strike at any line."""
    for line in range(1000):
        provider = RefreshingCredentials(fetch, timeout=1)
        if expired:
            provider()
            clock.now += 3600 - 899
        with interruption_at(line) as happened, contextlib.suppress(KeyboardInterrupt):
            provider()
        if not happened:
            break  # there are not so many lines
        assert provider().expiration > clock.now
        clock.now += 3600
        assert provider().expiration > clock.now
    assert line > 20


# --- fork ---

FORK = """
import os, sys, threading, time
sys.path.insert(0, {tests!r})
from support.subject import iamcacheauth

parent = os.getpid()
now = [time.time()]
time.time = lambda: now[0]
begun, may_end = threading.Event(), threading.Event()
lifetimes = {lifetimes}

def fetch():
    if os.getpid() == parent and len(lifetimes) == 1:
        begun.set()
        may_end.wait(30)
    lifetime = lifetimes.pop(0)
    return iamcacheauth.StaticCredentials("key", "secret", str(lifetime), now[0] + lifetime)

provider = iamcacheauth.RefreshingCredentials(fetch, timeout=30)
auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=provider)
if len(lifetimes) > 1:
    auth.token()
    now[0] += 11
thread = threading.Thread(target=auth.token)
thread.start()
begun.wait(30)
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        token = auth.token()
        os._exit(0 if "Security-Token=3600" in token else 1)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children], thread.is_alive())
may_end.set()
thread.join()
print(provider().token, len(lifetimes))
"""


@pytest.mark.parametrize("lifetimes", [[3600], [600, 3600]], ids=["absent", "nearly expired"])
def test_children_forked_during_a_renewal(lifetimes):
    """Each renews for itself; what the parent's other thread had begun does not exist in it."""
    script = FORK.format(tests=os.path.dirname(__file__), lifetimes=lifetimes)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[0, 0, 0, 0] True\n3600 0\n", done.stderr


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
