"""The token generators: what they sign, when, and that they can be shared, copied and pickled."""

from __future__ import annotations

import asyncio
import pickle
import time

import pytest
from support.copies import every_copy
from support.examples import ACCESS_KEY, NOON, PERMANENT, SECRET_KEY, SESSION_TOKEN, TEMPORARY, clock_at, read
from support.subject import iamcacheauth
from support.waiting import at_line

REPLICATION_GROUP = iamcacheauth.ElastiCacheAuth("iam-user", "my-cache", region="eu-west-1", credentials=TEMPORARY)
SERVERLESS = iamcacheauth.ElastiCacheAuth(
    "iam-user", "my-cache", region="eu-west-1", serverless=True, credentials=TEMPORARY
)
MEMORYDB = iamcacheauth.MemoryDBAuth("IAM-User", "my-cluster", region="eu-west-1", credentials=TEMPORARY)

every_kind = pytest.mark.parametrize(
    "auth", [REPLICATION_GROUP, SERVERLESS, MEMORYDB], ids=["replication group", "serverless", "MemoryDB"]
)


def signed_by_presign(auth, params, timestamp="20260102T120000Z"):
    return iamcacheauth.presign(
        TEMPORARY, service=auth.service, region=auth.region, host=auth.name, params=params, timestamp=timestamp
    )


@pytest.mark.parametrize(
    ("auth", "service", "params"),
    [
        pytest.param(REPLICATION_GROUP, "elasticache", [("User", "iam-user")], id="replication group"),
        pytest.param(
            SERVERLESS, "elasticache", [("User", "iam-user"), ("ResourceType", "ServerlessCache")], id="serverless"
        ),
        pytest.param(MEMORYDB, "memorydb", [("User", "iam-user")], id="MemoryDB"),
    ],
)
def test_token(auth, service, params):
    with clock_at(NOON):
        token = auth.token()
    assert token == signed_by_presign(auth, [("Action", "connect"), *params])
    host, found = read(token)
    assert host == auth.name
    assert list(found.items())[:-1] == [
        ("Action", "connect"),
        *params,
        ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
        ("X-Amz-Credential", f"ASIAIOSFODNN7EXAMPLE/20260102/eu-west-1/{service}/aws4_request"),
        ("X-Amz-Date", "20260102T120000Z"),
        ("X-Amz-Expires", "900"),
        ("X-Amz-SignedHeaders", "host"),
        ("X-Amz-Security-Token", SESSION_TOKEN),
    ]


@every_kind
def test_every_call_signs_anew(auth):
    times = [NOON, NOON + 0.999, NOON + 1, NOON + 12 * 3600 - 1, NOON + 12 * 3600, NOON]
    tokens = []
    for now in times:
        with clock_at(now):
            tokens.append(auth.token())
    dates = [read(token)[1]["X-Amz-Date"] for token in tokens]
    assert dates == [
        *("20260102T120000Z", "20260102T120000Z", "20260102T120001Z"),
        *("20260102T235959Z", "20260103T000000Z", "20260102T120000Z"),
    ]
    assert [read(token)[1]["X-Amz-Credential"].split("/")[1] for token in tokens] == [date[:8] for date in dates]
    assert tokens[0] == tokens[1] == tokens[5]
    assert len({read(token)[1]["X-Amz-Signature"] for token in tokens}) == 4


@pytest.mark.parametrize("sign", [lambda auth: auth.token(), lambda auth: asyncio.run(auth.token_async())])
def test_a_tokens_lifetime_starts_after_the_wait_for_credentials(sign, monkeypatch):
    now = [NOON]
    monkeypatch.setattr(time, "time", lambda: now[-1])

    def slow():
        now.append(NOON + 5)
        return TEMPORARY

    auth = iamcacheauth.MemoryDBAuth("IAM-User", "my-cluster", region="eu-west-1", credentials=slow)
    assert read(sign(auth))[1]["X-Amz-Date"] == "20260102T120005Z"


@every_kind
def test_get_credentials_and_the_async_twins_agree_with_token(auth):
    async def twins():
        return await auth.token_async(), await auth.get_credentials_async()

    with clock_at(NOON):
        token = auth.token()
        assert auth.get_credentials() == (auth.user, token)
        assert asyncio.run(twins()) == (token, (auth.user, token))


@every_kind
def test_user_and_name_are_signed_in_lower_case(auth):
    options = {"serverless": True} if auth is SERVERLESS else {}
    service, user, name = type(auth), auth.user.upper(), auth.name.title()
    assert (user, name) != (auth.user, auth.name)
    other = service(user, name, region="eu-west-1", credentials=TEMPORARY, **options)
    assert (other.user, other.name) == (auth.user, auth.name)
    with clock_at(NOON):
        assert other.get_credentials() == auth.get_credentials()


@pytest.mark.parametrize("user", ["u", "iam-user", "a0--b-", "x" * 256])
@pytest.mark.parametrize("service", [iamcacheauth.ElastiCacheAuth, iamcacheauth.MemoryDBAuth])
def test_auth_and_token_name_the_same_user(service, user):
    auth = service(user, "name", region="us-east-1", credentials=PERMANENT)
    signed_user, token = auth.get_credentials()
    assert signed_user == auth.user == read(token)[1]["User"] == user


@every_kind
@pytest.mark.parametrize("attribute", ["user", "name", "region", "service"])
def test_attributes_are_read_only(auth, attribute):
    with pytest.raises(AttributeError):
        setattr(auth, attribute, "other")


@pytest.mark.parametrize(
    ("auth", "shown"),
    [
        (SERVERLESS, "<ElastiCacheAuth iam-user@my-cache in eu-west-1>"),
        (MEMORYDB, "<MemoryDBAuth iam-user@my-cluster in eu-west-1>"),
    ],
)
def test_repr_says_what_it_is_for(auth, shown):
    assert repr(auth) == shown


@every_kind
@every_copy
def test_copies_sign_the_same(auth, copied):
    with clock_at(NOON):
        token = auth.token()
        twin = copied(auth)
        assert type(twin) is type(auth)
        assert (twin.user, twin.name, twin.region, twin.service) == (auth.user, auth.name, auth.region, auth.service)
        assert twin.token() == token


def test_a_pickle_holds_no_signing_key():
    with clock_at(NOON):
        MEMORYDB.token()
    key = iamcacheauth.signing_key(SECRET_KEY, "20260102", "eu-west-1", "memorydb")
    assert key not in pickle.dumps(MEMORYDB)


def test_a_token_signed_in_the_middle_of_another_leaves_both_right():
    """What another thread can do between any two lines, done by this one."""

    def generator(credentials):
        return iamcacheauth.MemoryDBAuth("u", "my-cluster", region="eu-west-1", credentials=credentials)

    other = iamcacheauth.StaticCredentials(ACCESS_KEY, "other")
    outers = []
    with clock_at(NOON):
        first, second = generator(TEMPORARY).token(), generator(other).token()
        for line in range(1000):
            current = [TEMPORARY]
            auth = generator(lambda current=current: current[0])
            inner = []

            def sign_another(current=current, auth=auth, inner=inner):
                current[0] = other
                inner.append(auth.token())

            with at_line(line, sign_another):
                outers.append(auth.token())
            if not inner:
                break  # there are not so many lines
            assert (inner, auth.token()) == ([second], second)
    assert set(outers) == {first, second}
    assert line > 10


def test_tokens_follow_the_credentials():
    """Whatever changes, the very next token is signed with it."""
    current = []
    auth = iamcacheauth.MemoryDBAuth("u", "my-cluster", region="eu-west-1", credentials=lambda: current[-1])
    for keys in (
        (ACCESS_KEY, SECRET_KEY),
        (ACCESS_KEY, "other"),
        (ACCESS_KEY, "other", SESSION_TOKEN),
        (ACCESS_KEY, "other", "renewed"),
        ("ASIAIOSFODNN7EXAMPLE", "other", "renewed"),
        (ACCESS_KEY, SECRET_KEY),
    ):
        current.append(iamcacheauth.StaticCredentials(*keys))
        alone = iamcacheauth.MemoryDBAuth("u", "my-cluster", region="eu-west-1", credentials=current[-1])
        with clock_at(NOON):
            assert auth.token() == alone.token()
