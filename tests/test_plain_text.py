"""Keys, regions and hosts that are more than text, such as members of an enumeration: signed as the text they are."""

from __future__ import annotations

import enum
import types

import pytest
from support.asking import LONG, refused, retrieve
from support.examples import ACCESS_KEY, NOON, SECRET_KEY, SESSION_TOKEN, TEMPORARY, clock_at
from support.subject import iamcacheauth

TIMESTAMP = "20260102T120000Z"


class Text(str, enum.Enum):
    """From 3.11 on, formatting such a member gives its name."""

    ACCESS_KEY = TEMPORARY.access_key
    SECRET_KEY = SECRET_KEY
    TOKEN = SESSION_TOKEN
    REGION = "us-east-1"
    SERVICE = "elasticache"
    HOST = "my-cache"
    USER = "my-iam-user"
    TIMESTAMP = TIMESTAMP


class Number(enum.IntEnum):
    EXPIRES = 900


class Odd(str):
    """Text that is shown otherwise than it is."""

    def __str__(self):
        return "shown"

    __repr__ = __str__

    def __format__(self, _):
        return "formatted"


def enumerated(text):
    return Text(text)


KINDS = {"an enumeration's": enumerated, "odd": Odd}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
KEYS = (TEMPORARY.access_key, SECRET_KEY, SESSION_TOKEN)


def token(credentials, user="my-iam-user", name="my-cache", region="us-east-1"):
    with clock_at(NOON):
        return str.__str__(iamcacheauth.ElastiCacheAuth(user, name, region=region, credentials=credentials).token())


PLAIN = token(TEMPORARY)


def of_type_str(value):
    return type(value) is str


@kinds
def test_static_credentials(kind):
    credentials = iamcacheauth.StaticCredentials(*map(kind, KEYS))
    found = (credentials.access_key, credentials.secret_key, credentials.token)
    assert all(map(of_type_str, found))
    assert found == KEYS
    assert token(credentials) == PLAIN


@kinds
def test_credentials_of_somebody_elses(kind):
    keys = dict(zip(("access_key", "secret_key", "token"), map(kind, KEYS)))
    theirs = types.SimpleNamespace(**keys)
    assert token(theirs) == PLAIN
    assert token(lambda: theirs) == PLAIN
    assert token(iamcacheauth.RefreshingCredentials(lambda: theirs)) == PLAIN
    assert token(types.SimpleNamespace(get_frozen_credentials=lambda: theirs)) == PLAIN


@kinds
def test_keys_of_the_environment(kind):
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    credentials = retrieve(dict(zip(names, map(kind, KEYS))))
    found = (credentials.access_key, credentials.secret_key, credentials.token)
    assert all(map(of_type_str, found))
    assert found == KEYS


@kinds
def test_generators(kind):
    auth = iamcacheauth.ElastiCacheAuth(
        kind("my-iam-user"), kind("my-cache"), region=kind("us-east-1"), credentials=TEMPORARY
    )
    assert all(map(of_type_str, (auth.user, auth.name, auth.region, auth.service)))
    with clock_at(NOON):
        assert auth.token() == PLAIN


@kinds
@pytest.mark.parametrize("argument", ["service", "region", "host", "expires", "credentials"])
def test_presign(kind, argument):
    arguments = {
        "credentials": TEMPORARY,
        "service": "elasticache",
        "region": "us-east-1",
        "host": "my-cache",
        "params": [("Action", "connect"), ("User", "my-iam-user")],
        "timestamp": TIMESTAMP,
        "expires": 900,
    }
    plain = iamcacheauth.presign(arguments.pop("credentials"), **arguments)
    assert plain == PLAIN
    credentials = TEMPORARY
    if argument == "credentials":
        credentials = types.SimpleNamespace(**dict(zip(("access_key", "secret_key", "token"), map(kind, KEYS))))
    elif argument == "expires":
        arguments["expires"] = Number.EXPIRES
    else:
        arguments[argument] = kind(arguments[argument])
    assert iamcacheauth.presign(credentials, **arguments) == plain


@pytest.mark.parametrize("kind", [enumerated], ids=["an enumeration's"])
def test_the_steps_of_signing(kind):
    assert iamcacheauth.signing_key(kind(SECRET_KEY), "20260102", kind("us-east-1"), kind("elasticache")) == (
        iamcacheauth.signing_key(SECRET_KEY, "20260102", "us-east-1", "elasticache")
    )
    assert iamcacheauth.canonical_request(kind("my-cache"), []) == iamcacheauth.canonical_request("my-cache", [])
    assert iamcacheauth.uri_encode(kind(SECRET_KEY)) == iamcacheauth.uri_encode(SECRET_KEY)
    assert iamcacheauth.canonical_query([(kind("my-cache"), kind("my-iam-user"))]) == "my-cache=my-iam-user"
    assert iamcacheauth.string_to_sign(kind(TIMESTAMP), "20260102/us-east-1/elasticache/aws4_request", "x") == (
        iamcacheauth.string_to_sign(TIMESTAMP, "20260102/us-east-1/elasticache/aws4_request", "x")
    )


NAMES = """X-Amz-Date x-amz-date X-AMZ-DATE x-Amz-Signature X-Amz-Credential X-Amz-Security-Token x-amz-security-token
    X-Amz-Expires X-Amz-Algorithm X-Amz-SignedHeaders X-AMZ-SIGNEDHEADERS x-amz-algorithm"""


@pytest.mark.parametrize("name", NAMES.split())
def test_parameters_of_the_signature_are_presigns_own(name):
    """A second one would be signed by one reader and read by another."""
    for value in ("", "x", SESSION_TOKEN):
        with pytest.raises(iamcacheauth.ConfigurationError, match=r"(?i)x-amz") as caught:
            iamcacheauth.presign(
                TEMPORARY,
                service="sts",
                region="us-east-1",
                host="sts.us-east-1.amazonaws.com",
                params=[("Action", "GetCallerIdentity"), (name, value)],
                timestamp=TIMESTAMP,
            )
        assert SESSION_TOKEN not in str(caught.value)


@pytest.mark.parametrize("name", ["Amz-Date", "X-Am", "XX-Amz-Date", "X_Amz_Date", "x-amazon", "User"])
def test_other_parameters_are_the_callers(name):
    presigned = iamcacheauth.presign(
        TEMPORARY, service="sts", region="us-east-1", host="host", params=[(name, "value")], timestamp=TIMESTAMP
    )
    assert presigned.startswith(f"host/?{name}=value&X-Amz-Algorithm=")


# --- the old name of the session token ---

STATIC = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


def test_the_old_name_of_the_session_token():
    assert retrieve({**STATIC, "AWS_SECURITY_TOKEN": SESSION_TOKEN}).token == SESSION_TOKEN
    both = {**STATIC, "AWS_SECURITY_TOKEN": "the-old", "AWS_SESSION_TOKEN": SESSION_TOKEN}
    assert retrieve(both).token == SESSION_TOKEN
    assert retrieve({**both, "AWS_SESSION_TOKEN": ""}).token == "the-old"
    assert retrieve({**both, "AWS_SESSION_TOKEN": "", "AWS_SECURITY_TOKEN": ""}).token is None


def test_the_old_name_is_read_again_at_every_token():
    environ = {**STATIC, "AWS_SECURITY_TOKEN": "first"}
    provider = iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)
    assert provider().token == "first"
    environ["AWS_SECURITY_TOKEN"] = "second"
    assert provider().token == "second"
    del environ["AWS_SECURITY_TOKEN"]
    assert provider().token is None


@pytest.mark.parametrize("variable", ["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"])
def test_a_malformed_token(variable):
    environ = {**STATIC, variable: "a secret"}
    assert "TOKEN" in refused(iamcacheauth.EnvironmentCredentials(environ, timeout=LONG), ["a secret"])
