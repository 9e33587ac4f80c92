"""Where signing gets its keys: every shape that credentials= accepts, and static keys of the environment."""

from __future__ import annotations

import asyncio
import collections
import copy
import datetime
import os
import pickle
import threading
import traceback
import types
import typing

import pytest
from support.copies import every_copy
from support.examples import ACCESS_KEY, NOON, SECRET_KEY, SESSION_TOKEN, TEMPORARY, clock_at, read
from support.subject import iamcacheauth

CredentialsError = iamcacheauth.CredentialsError
StaticCredentials = iamcacheauth.StaticCredentials

KEYS = (TEMPORARY.access_key, SECRET_KEY, SESSION_TOKEN)
HALF_PAST_TWO = datetime.datetime(2026, 1, 2, 14, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=2)))


class Frozen(typing.NamedTuple):
    access_key: str
    secret_key: str
    token: str | None


class BotocoreLike:
    """Credentials that change in place: read one by one, they may be torn."""

    access_key = secret_key = token = "torn"

    def get_frozen_credentials(self):
        return Frozen(*KEYS)


class Slotted:
    __slots__ = ("access_key", "expiration", "secret_key", "token")

    def __init__(self, access_key, secret_key, token):
        self.access_key, self.secret_key, self.token = access_key, secret_key, token


class Computed:
    @property
    def access_key(self):
        return KEYS[0]

    @property
    def secret_key(self):
        return KEYS[1]

    @property
    def token(self):
        return KEYS[2]


class CallableObject:
    def __call__(self):
        return TEMPORARY


SHAPES = {
    "StaticCredentials": TEMPORARY,
    "named tuple": Frozen(*KEYS),
    "old named tuple": collections.namedtuple("Old", "access_key secret_key token")(*KEYS),
    "plain object": types.SimpleNamespace(access_key=KEYS[0], secret_key=KEYS[1], token=KEYS[2]),
    "slots, with an attribute unset": Slotted(*KEYS),
    "properties": Computed(),
    "botocore's": BotocoreLike(),
    "class of botocore's": BotocoreLike,
    "function": lambda: TEMPORARY,
    "function that gives botocore's": lambda: BotocoreLike(),
    "bound method": BotocoreLike().get_frozen_credentials,
    "callable object": CallableObject(),
    "refreshing": iamcacheauth.RefreshingCredentials(lambda: TEMPORARY),
    "function that gives a plain object": lambda: Frozen(*KEYS),
}


def attributes(credentials):
    return credentials.access_key, credentials.secret_key, credentials.token, credentials.expiration


def generator(credentials=None):
    return iamcacheauth.ElastiCacheAuth("iam-user", "my-cache", region="us-east-1", credentials=credentials)


@pytest.mark.parametrize("credentials", SHAPES.values(), ids=SHAPES.keys())
def test_every_shape_signs_the_same(credentials):
    with clock_at(NOON):
        auth = generator(credentials)
        expected = generator(TEMPORARY).token()
        assert auth.token() == expected
        assert asyncio.run(auth.token_async()) == expected


@pytest.mark.parametrize("token", [None, ""])
def test_no_session_token(token):
    permanent = types.SimpleNamespace(access_key=ACCESS_KEY, secret_key=SECRET_KEY, token=token)
    assert "X-Amz-Security-Token" not in read(generator(permanent).token())[1]


def test_botocores_credentials_are_frozen_anew_for_every_token():
    class Counting(BotocoreLike):
        frozen = 0

        def get_frozen_credentials(self):
            self.frozen += 1
            return super().get_frozen_credentials()

    credentials = Counting()
    auth = generator(credentials)
    assert credentials.frozen == 0
    auth.token()
    auth.token()
    assert credentials.frozen == 2


def test_attributes_are_read_anew_for_every_token():
    credentials = types.SimpleNamespace(access_key=ACCESS_KEY, secret_key=SECRET_KEY, token=None)
    auth = generator(credentials)
    auth.token()
    credentials.access_key, credentials.token = KEYS[0], KEYS[2]
    with clock_at(NOON):
        assert auth.token() == generator(TEMPORARY).token()


class Lockable:
    """With a lock, which cannot be copied, as credentials that renew themselves have one."""

    access_key, secret_key, token = ACCESS_KEY, SECRET_KEY, None

    def __init__(self):
        self.lock = threading.Lock()

    def itself(self):
        return self


@pytest.mark.parametrize("given", [lambda keys: keys, lambda keys: keys.itself], ids=["object", "bound method"])
def test_copies_share_the_users_own_object(given):
    credentials = Lockable()
    twin = copy.deepcopy(generator(given(credentials)))
    credentials.access_key = "ASIAIOSFODNN7EXAMPLE"
    assert read(twin.token())[1]["X-Amz-Credential"].startswith("ASIA")


def failing(error):
    def fail(*_):
        raise error

    return fail


class Unreadable:
    access_key, secret_key = ACCESS_KEY, SECRET_KEY
    token = property(failing(RuntimeError("hunter2")))


UNUSABLE = {
    "raises": failing(RuntimeError("hunter2")),
    "raises an error like ours": failing(iamcacheauth.ConfigurationError("secret_key: not that")),
    "needs an argument": lambda argument: TEMPORARY,
    "gives None": lambda: None,
    "gives text": lambda: "hunter2",
    "gives a dictionary": lambda: {"access_key": ACCESS_KEY, "secret_key": "hunter2", "token": None},
    "gives half": lambda: types.SimpleNamespace(access_key=ACCESS_KEY, token="hunter2"),
    "gives empty keys": lambda: Frozen("", "", None),
    "gives a key with a line break": lambda: Frozen(ACCESS_KEY, "hunter2\n", None),
    "gives no text": lambda: Frozen(ACCESS_KEY, b"hunter2", None),
    "cannot freeze": type("Unfreezable", (), {"get_frozen_credentials": failing(RuntimeError("hunter2"))})(),
    "empty keys": types.SimpleNamespace(access_key="", secret_key="", token=None),
    "bytes": types.SimpleNamespace(access_key=ACCESS_KEY, secret_key=b"hunter2", token=None),
    "cannot be read": Unreadable(),
    "expiration is no time": types.SimpleNamespace(access_key="a", secret_key="s", token=None, expiration="hunter2"),
}


@pytest.mark.parametrize("credentials", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable_credentials(credentials):
    auth = generator(credentials)
    with pytest.raises(CredentialsError, match=r"^credentials: ") as caught:
        auth.token()
    assert str(caught.value).isprintable()
    assert "hunter2" not in str(caught.value)
    with pytest.raises(CredentialsError):
        asyncio.run(auth.token_async())


def test_the_cause_of_a_failing_callable_is_kept():
    reason = RuntimeError("the vault is sealed")
    with pytest.raises(CredentialsError, match="RuntimeError") as caught:
        generator(failing(reason)).token()
    assert caught.value.__cause__ is reason


def test_a_credentials_error_of_the_callable_comes_out_as_it_is():
    reason = CredentialsError("the vault is sealed")
    with pytest.raises(CredentialsError) as caught:
        generator(failing(reason)).token()
    assert caught.value is reason


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_program_is_not_held_up(stop):
    with pytest.raises(stop):
        generator(failing(stop())).token()


EXPIRATIONS = {
    "number": NOON + 1800,
    "whole number": int(NOON + 1800),
    "Z": "2026-01-02T12:30:00Z",
    "fraction": "2026-01-02T12:30:00.123456789Z",
    "short fraction": "2026-01-02T12:30:00.5Z",
    "offset": "2026-01-02T14:30:00+02:00",
    "zero offset": "2026-01-02T12:30:00+00:00",
    "fraction and offset": "2026-01-02T07:30:00.25-05:00",
    "datetime": HALF_PAST_TWO,
}


@pytest.mark.parametrize("expiration", EXPIRATIONS.values(), ids=EXPIRATIONS.keys())
def test_expiration_is_kept_as_epoch_seconds(expiration):
    assert int(StaticCredentials(*KEYS, expiration).expiration) == NOON + 1800


def test_no_expiration():
    assert StaticCredentials(*KEYS).expiration is None


@pytest.mark.parametrize(
    "shape",
    [
        lambda expiration: StaticCredentials(*KEYS, expiration),
        lambda expiration: types.SimpleNamespace(access_key="a", secret_key="s", token=None, expiration=expiration),
        lambda expiration: lambda: StaticCredentials(*KEYS, expiration),
    ],
    ids=["StaticCredentials", "plain object", "function"],
)
def test_credentials_sign_until_they_expire(shape):
    auth = generator(shape("2026-01-02T12:30:00Z"))
    with clock_at(NOON + 1799.9):
        assert auth.token()
    for now in (NOON + 1800, NOON + 86400):
        with clock_at(now), pytest.raises(CredentialsError, match=r"^credentials: .*expired at 2026-01-02T12:30:00Z"):
            auth.token()


def test_credentials_that_expired_long_ago():
    with pytest.raises(CredentialsError, match="expired at 1970-01-01T00:00:00Z"):
        generator(StaticCredentials(*KEYS, 0)).token()


@pytest.mark.parametrize(
    ("credentials", "shown"),
    [
        (StaticCredentials("AKIA5678AB123456", "s"), "<StaticCredentials AKIA…3456, permanent>"),
        (StaticCredentials("AKIA5678AB123456", "s", "t"), "<StaticCredentials AKIA…3456, temporary>"),
        (StaticCredentials(*KEYS[:2]), "<StaticCredentials ASIA…MPLE, temporary>"),
        (StaticCredentials(*KEYS), "<StaticCredentials ASIA…MPLE, temporary>"),
        (StaticCredentials(*KEYS, NOON), "<StaticCredentials ASIA…MPLE, temporary, until 2026-01-02T12:00:00Z>"),
        (StaticCredentials("AKIA56789012345", "s"), "<StaticCredentials …, permanent>"),
    ],
)
def test_static_credentials_show_neither_secret_nor_whole_access_key(credentials, shown):
    assert repr(credentials) == str(credentials) == f"{credentials}" == shown


@pytest.mark.parametrize("attribute", ["access_key", "secret_key", "token", "expiration", "other"])
def test_static_credentials_cannot_be_changed(attribute):
    credentials = StaticCredentials(*KEYS, NOON)
    shown, values = repr(credentials), attributes(credentials)
    with pytest.raises(AttributeError, match=r"^StaticCredentials cannot be changed: make new ones$"):
        setattr(credentials, attribute, "changed")
    with pytest.raises(AttributeError, match=r"^StaticCredentials cannot be changed: make new ones$"):
        delattr(credentials, attribute)
    assert (repr(credentials), attributes(credentials)) == (shown, values)


@pytest.mark.parametrize("argument", ["access_key", "secret_key", "token", "expiration"])
def test_refused_values_leave_nothing_half_made(argument):
    """Tracebacks with local variables, as error trackers and pytest make them, take the repr of each."""
    given = dict(zip(("access_key", "secret_key", "token", "expiration"), (*KEYS, NOON)))
    with pytest.raises(iamcacheauth.ConfigurationError) as caught:
        StaticCredentials(**{**given, argument: "a b"})
    frames = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert len(frames) > 1
    for frame in frames:
        for value in frame.f_locals.values():
            assert not isinstance(value, StaticCredentials)
    traceback.TracebackException(type(caught.value), caught.value, caught.value.__traceback__, capture_locals=True)


@every_copy
def test_static_credentials_travel(copied):
    original = StaticCredentials(*KEYS, NOON)
    twin = copied(original)
    assert type(twin) is StaticCredentials
    assert attributes(twin) == attributes(original)
    with pytest.raises(AttributeError, match="cannot be changed"):
        twin.token = None


STATIC = {"AWS_ACCESS_KEY_ID": KEYS[0], "AWS_SECRET_ACCESS_KEY": KEYS[1], "AWS_SESSION_TOKEN": KEYS[2]}


def set_environment(monkeypatch, variables):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)


def test_static_keys_of_the_environment(monkeypatch):
    set_environment(monkeypatch, STATIC)
    assert attributes(iamcacheauth.EnvironmentCredentials()()) == (*KEYS, None)
    with clock_at(NOON):
        expected = generator(TEMPORARY).token()
        assert generator().token() == expected
        assert asyncio.run(generator().token_async()) == expected


def test_static_keys_of_a_given_environment(monkeypatch):
    set_environment(monkeypatch, {"AWS_ACCESS_KEY_ID": "other", "AWS_SECRET_ACCESS_KEY": "other"})
    credentials = iamcacheauth.EnvironmentCredentials(STATIC)
    assert attributes(credentials()) == (*KEYS, None)
    assert attributes(pickle.loads(pickle.dumps(credentials))()) == (*KEYS, None)


def test_static_keys_come_before_every_other_source(monkeypatch):
    set_environment(
        monkeypatch,
        {
            **STATIC,
            "AWS_WEB_IDENTITY_TOKEN_FILE": "/nonexistent",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/",
        },
    )
    assert iamcacheauth.EnvironmentCredentials()().access_key == KEYS[0]


def test_the_environment_is_read_at_every_call(monkeypatch):
    set_environment(monkeypatch, {**STATIC, "AWS_CREDENTIAL_EXPIRATION": "2026-01-02T12:30:00Z"})
    auth = generator()
    with clock_at(NOON):
        assert auth.token() == generator(TEMPORARY).token()
        for variable, value in (
            ("AWS_SECRET_ACCESS_KEY", "other"),
            ("AWS_SESSION_TOKEN", "other"),
            ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
            ("AWS_SESSION_TOKEN", ""),
        ):
            monkeypatch.setenv(variable, value)
            assert auth.token() == generator(iamcacheauth.EnvironmentCredentials()()).token()
    monkeypatch.delenv("AWS_CREDENTIAL_EXPIRATION")
    with clock_at(NOON + 86400):
        assert auth.token()


@pytest.mark.parametrize("variable", [*STATIC, "AWS_CREDENTIAL_EXPIRATION"])
def test_blanks_around_settings_are_no_part_of_them(monkeypatch, variable):
    variables = {**STATIC, "AWS_CREDENTIAL_EXPIRATION": "2026-01-02T12:30:00Z"}
    set_environment(monkeypatch, {**variables, variable: f" {variables[variable]}\r\n"})
    with clock_at(NOON):
        assert attributes(iamcacheauth.EnvironmentCredentials()()) == (*KEYS, NOON + 1800)


@pytest.mark.parametrize(
    ("tokens", "found"),
    [
        ({"AWS_SECURITY_TOKEN": "old"}, "old"),
        ({"AWS_SECURITY_TOKEN": "old", "AWS_SESSION_TOKEN": ""}, "old"),
        ({"AWS_SECURITY_TOKEN": "old", "AWS_SESSION_TOKEN": "new"}, "new"),
        ({"AWS_SECURITY_TOKEN": ""}, None),
        ({"AWS_SECURITY_TOKEN": "old", "AWS_CREDENTIAL_EXPIRATION": "2099-01-01T00:00:00Z"}, "old"),
    ],
)
def test_a_session_token_by_its_old_name(tokens, found):
    keys = {"AWS_ACCESS_KEY_ID": KEYS[0], "AWS_SECRET_ACCESS_KEY": KEYS[1]}
    assert iamcacheauth.EnvironmentCredentials({**keys, **tokens})().token == found


@pytest.mark.parametrize("variable", ["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"])
def test_a_malformed_session_token_is_named_as_it_was_set(variable):
    keys = {"AWS_ACCESS_KEY_ID": KEYS[0], "AWS_SECRET_ACCESS_KEY": KEYS[1]}
    with pytest.raises(iamcacheauth.CredentialsError, match=f"^static keys: {variable}: "):
        iamcacheauth.EnvironmentCredentials({**keys, variable: "two words"})()


@pytest.mark.parametrize("blank", ["", " ", "\n"])
@pytest.mark.parametrize("empty", ["AWS_SESSION_TOKEN", "AWS_CREDENTIAL_EXPIRATION"])
def test_empty_means_unset(monkeypatch, empty, blank):
    set_environment(monkeypatch, {**STATIC, empty: blank})
    found = iamcacheauth.EnvironmentCredentials()()
    assert found.token == (None if empty == "AWS_SESSION_TOKEN" else SESSION_TOKEN)
    assert found.expiration is None


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
@pytest.mark.parametrize("how", ["empty", "blank", "unset"])
def test_half_of_the_static_keys(monkeypatch, missing, how):
    set_environment(monkeypatch, {**STATIC, missing: " " if how == "blank" else ""})
    if how == "unset":
        monkeypatch.delenv(missing)
    with pytest.raises(CredentialsError, match=f"{missing} is not set"):
        generator().token()


def test_no_credentials_at_all():
    with pytest.raises(CredentialsError) as caught:
        generator().token()
    for variable in (
        *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_EC2_METADATA_DISABLED"),
    ):
        assert variable in str(caught.value)


@pytest.mark.parametrize("variable", [*STATIC, "AWS_CREDENTIAL_EXPIRATION"])
@pytest.mark.parametrize("value", ["hunter\n2", "hunter 2", "hünter2", "\udcff"])
def test_malformed_static_keys_are_named_but_not_shown(monkeypatch, variable, value):
    set_environment(monkeypatch, {**STATIC, variable: value})
    with pytest.raises(CredentialsError, match=f"{variable}: ") as caught:
        generator().token()
    assert str(caught.value).isprintable()
    assert "nter" not in "".join(traceback.format_exception(type(caught.value), caught.value, None))


@pytest.mark.parametrize("expiration", ["2026-01-02T12:30:00Z", "2026-01-02T12:30:00+00:00"])
def test_static_keys_sign_until_they_expire(monkeypatch, expiration):
    set_environment(monkeypatch, {**STATIC, "AWS_CREDENTIAL_EXPIRATION": expiration})
    auth = generator()
    with clock_at(NOON + 1799.9):
        assert auth.token()
    with clock_at(NOON + 1800), pytest.raises(CredentialsError, match="expired at 2026-01-02T12:30:00Z") as caught:
        auth.token()
    assert "AWS_CREDENTIAL_EXPIRATION" in str(caught.value)


@pytest.mark.parametrize("environ", [None, os.environ], ids=["None", "os.environ"])
def test_a_copy_follows_the_environment_of_its_own_process(monkeypatch, environ):
    set_environment(monkeypatch, STATIC)
    auth = generator(iamcacheauth.EnvironmentCredentials(environ))
    auth.token()
    travelling = pickle.dumps(auth)
    for secret in KEYS:
        assert secret.encode() not in travelling
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    for twin in (pickle.loads(travelling), copy.deepcopy(auth), copy.copy(auth)):
        assert read(twin.token())[1]["X-Amz-Credential"].startswith(ACCESS_KEY)
