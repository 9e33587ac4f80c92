"""AssumedRole: the credentials of a role, in another account for instance, had with those of one's own.

The server of support/roles.py verifies every signature; tests/interop holds the requests beside botocore's.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import pickle
import socket
import time
import types

import pytest
from support.asking import LONG, SHORT, pieces_of, refused
from support.callers import CALLERS
from support.examples import ACCESS_KEY, NOON, PERMANENT, SECRET_KEY, SESSION_TOKEN, TEMPORARY, read
from support.loopback import ROLE_ARN, Container, iso8601, reply, silence, sts_error, told
from support.roles import CALLER, FAR_ROLE, RoleSts
from support.subject import iamcacheauth
from support.waiting import PATIENCE, SLACK, Caller

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver")

AssumedRole = iamcacheauth.AssumedRole
ConfigurationError = iamcacheauth.ConfigurationError
CredentialsError = iamcacheauth.CredentialsError
STATIC = {
    "AWS_ACCESS_KEY_ID": TEMPORARY.access_key,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_SESSION_TOKEN": SESSION_TOKEN,
}


@pytest.fixture
def process(monkeypatch):
    """Put variables into the environment of this process."""
    return lambda settings: [monkeypatch.setenv(*setting) for setting in settings.items()]


@pytest.fixture
def sts(process):
    """AssumeRole, which the environment leads to."""
    with RoleSts() as sts:
        sts.issued["Token"] = "of-the-role"
        process(sts.endpoint)
        yield sts


def role(arn=FAR_ROLE, *, credentials=TEMPORARY, region="us-east-1", timeout=LONG, **options):
    return AssumedRole(arn, credentials=credentials, region=region, timeout=timeout, **options)


def assert_issued(sts, credentials):
    assert isinstance(credentials, iamcacheauth.StaticCredentials)
    assert (credentials.access_key, credentials.secret_key, credentials.token, iso8601(credentials.expiration)) == (
        sts.issued["AccessKeyId"],
        sts.issued["SecretAccessKey"],
        sts.issued["Token"],
        sts.issued["Expiration"],
    )


# --- what is asked ---


def test_the_request(sts):
    assert_issued(sts, role()())
    (request,) = sts.requests
    assert request.headers["Connection"] == "close"
    (params,) = sts.assumed
    assert (params["RoleArn"], params["DurationSeconds"]) == (FAR_ROLE, "3600")
    assert "ExternalId" not in params
    assert params["RoleSessionName"] == "iamcacheauth"
    assert params["X-Amz-SignedHeaders"] == "host"


def test_what_may_be_asked_for(sts):
    sts.trusted[FAR_ROLE] = "Company:7/with=all,the.@signs-_"
    sts.maximum = 43200
    role(session_name="my_name+=,.@-", external_id=sts.trusted[FAR_ROLE], duration=43200)()
    (params,) = sts.assumed
    assert params["RoleSessionName"] == "my_name+=,.@-"
    assert params["ExternalId"] == sts.trusted[FAR_ROLE]
    assert params["DurationSeconds"] == "43200"


@pytest.mark.parametrize(
    "arn",
    [
        FAR_ROLE,
        "arn:aws:iam::123456789012:role/path/to/the+=,.@_-role",
        "arn:aws-cn:iam::123456789012:role/cache-reader",
        "arn:aws-us-gov:iam::123456789012:role/cache-reader",
        "arn:aws-iso-b:iam::123456789012:role/cache-reader",
        "arn:aws-eusc:iam::123456789012:role/service-role/cache-reader",
    ],
)
def test_roles(sts, arn):
    sts.trusted[arn] = None
    role(arn)()
    assert sts.assumed[0]["RoleArn"] == arn


@pytest.mark.commands
@pytest.mark.parametrize(
    "cache",
    [
        ["elasticache", "my-iam-user", "my-cache", "--region", "eu-west-1"],
        ["endpoint", "my-iam-user", "master.my-cache.abc123.euw1.cache.amazonaws.com"],
    ],
    ids=["name", "endpoint"],
)
def test_a_token_of_a_role(sts, process, capsys, cache):
    process(STATIC)
    sts.region = "eu-west-1"
    sts.trusted[FAR_ROLE] = "theirs"
    assert iamcacheauth.main(["token", *cache, "--role-arn", FAR_ROLE, "--external-id", "theirs"]) == 0
    host, params = read(capsys.readouterr().out.strip())
    assert (host, params["X-Amz-Security-Token"]) == ("my-cache", "of-the-role")
    assert "/eu-west-1/elasticache/" in params["X-Amz-Credential"]


@pytest.mark.parametrize("duration", [900, 3600, 43200])
def test_durations(sts, duration):
    sts.maximum = 43200
    assert_issued(sts, role(duration=duration)())


# --- whose credentials ask ---


class BotocoreLike:
    """Credentials that change in place, and are had whole only by asking."""

    access_key = secret_key = token = property(lambda self: pytest.fail("torn"))

    def get_frozen_credentials(self):
        return types.SimpleNamespace(access_key=TEMPORARY.access_key, secret_key=SECRET_KEY, token=SESSION_TOKEN)


BASES = {
    "an object": lambda: TEMPORARY,
    "an object of somebody else's": lambda: types.SimpleNamespace(
        access_key=TEMPORARY.access_key, secret_key=SECRET_KEY, token=SESSION_TOKEN
    ),
    "a callable": lambda: lambda: TEMPORARY,
    "one to be frozen": BotocoreLike,
    "a callable that returns one to be frozen": lambda: lambda: BotocoreLike(),
    "refreshing": lambda: iamcacheauth.RefreshingCredentials(lambda: TEMPORARY, timeout=LONG),
    "a chain": lambda: iamcacheauth.EnvironmentCredentials(STATIC),
}


@pytest.mark.parametrize("base", BASES.values(), ids=BASES)
def test_base_credentials(sts, base):
    assert_issued(sts, role(credentials=base())())


def test_the_environment_is_the_base(sts, process):
    process(STATIC)
    assert_issued(sts, role(credentials=None)())


def test_permanent_keys(sts):
    sts.keys[ACCESS_KEY, None] = SECRET_KEY
    assert_issued(sts, role(credentials=PERMANENT)())
    assert "X-Amz-Security-Token" not in sts.assumed[0]


def test_web_identity_is_the_base(sts, process):
    """As in a pod with a role of its service account."""
    process({name: value for name, value in sts.environ.items() if name not in sts.endpoint})
    sts.keys[sts.issued["AccessKeyId"], "of-the-role"] = SECRET_KEY
    assert_issued(sts, role(credentials=None)())
    assert [request.method for request in sts.requests] == ["POST", "GET"]


@pytest.mark.parametrize("kind", CALLERS)
def test_a_container_is_the_base_whoever_asks(sts, container, process, kind):
    process(container.environ)
    sts.keys[container.issued["AccessKeyId"], container.issued["Token"]] = container.issued["SecretAccessKey"]
    auth = iamcacheauth.ElastiCacheAuth("user", "cache", region="us-east-1", credentials=role(credentials=None))
    outcomes = CALLERS[kind](auth)
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    assert {read(outcome.token)[1]["X-Amz-Security-Token"] for outcome in outcomes} == {"of-the-role"}
    assert (len(container.requests), len(sts.requests)) == (1, 1)


@pytest.mark.parametrize(
    "credentials", ["keys", 1, {}, ("a", "b", None), object()], ids=lambda value: type(value).__name__
)
def test_what_is_no_base(credentials):
    with pytest.raises(ConfigurationError, match="credentials"):
        role(credentials=credentials)


def test_the_bases_own_error(sts, container):
    container.faults["credentials"] = itertools.repeat(reply(403, "not for you"))
    base = iamcacheauth.EnvironmentCredentials(container.environ, timeout=LONG)
    message = refused(role(credentials=base), container.secrets)
    assert "container credentials (AWS_CONTAINER_CREDENTIALS_FULL_URI)" in message
    assert "HTTP status 403, not for you" in message
    assert sts.requests == []


def test_a_base_that_raises(sts):
    def vault():
        raise LookupError("secret")

    message = refused(role(credentials=vault))
    assert "LookupError" in message
    assert "secret" not in message
    assert sts.requests == []


def test_a_base_that_has_expired(sts):
    expired = iamcacheauth.StaticCredentials(TEMPORARY.access_key, SECRET_KEY, SESSION_TOKEN, "2001-01-01T00:00:00Z")
    assert "expired at 2001-01-01T00:00:00Z" in refused(role(credentials=expired))
    assert sts.requests == []


# --- chains ---


def test_a_role_of_a_role(sts):
    sts.trusted[ROLE_ARN] = None
    sts.trust_session()
    chained = role(credentials=role(ROLE_ARN))
    assert_issued(sts, chained())
    assert [params["RoleArn"] for params in sts.assumed] == [ROLE_ARN, FAR_ROLE]
    assert [params["X-Amz-Security-Token"] for params in sts.assumed] == [SESSION_TOKEN, "of-the-role"]


def test_a_chain_has_an_hour_at_most(sts):
    """Which its first role need not have."""
    sts.maximum = 43200
    sts.trust_session()
    message = refused(role(credentials=role(duration=43200), duration=3601))
    assert "1 hour session limit for roles assumed by role chaining" in message


# --- when ---


def test_kept_and_renewed(sts, clock):
    """Renewed early, in the background; the next base credentials sign the next request."""
    sts.issued["Expiration"] = iso8601(NOON + 3600)
    base = [TEMPORARY]
    provider = role(credentials=lambda: base[0])
    assert [provider().token for _ in range(5)] == ["of-the-role"] * 5
    assert len(sts.requests) == 1
    base[0] = iamcacheauth.StaticCredentials(ACCESS_KEY, SECRET_KEY, "the-next")
    sts.keys[ACCESS_KEY, "the-next"] = SECRET_KEY
    clock.now += 3600
    sts.issued.update(Token="renewed", Expiration=iso8601(clock.now + 3600))
    assert provider().token == "renewed"
    assert [params["X-Amz-Security-Token"] for params in sts.assumed] == [SESSION_TOKEN, "the-next"]


def test_a_renewal_in_the_background(sts, clock):
    sts.issued["Expiration"] = iso8601(NOON + 3600)
    provider = role()
    provider()
    clock.now += 3600 - 800
    sts.issued.update(Token="renewed", Expiration=iso8601(clock.now + 3600))
    deadline = time.monotonic() + PATIENCE
    while provider().token != "renewed":
        assert time.monotonic() < deadline
    assert len(sts.requests) == 2


@pytest.mark.parametrize("kind", CALLERS)
def test_whoever_asks(sts, kind):
    auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=role())
    outcomes = CALLERS[kind](auth)
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    assert {read(outcome.token)[1]["X-Amz-Security-Token"] for outcome in outcomes} == {"of-the-role"}
    assert len(sts.requests) == 1


def test_both_sides_at_once(sts):
    """Threads and tasks that share a role have one session."""
    auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=role())

    async def ask():
        return await asyncio.gather(*(auth.token_async() for _ in range(20)))

    callers = [Caller(lambda: asyncio.run(ask())), *(Caller(auth.token) for _ in range(20))]
    assert all(caller.result() for caller in callers)
    assert len(sts.requests) == 1


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_copies(sts, duplicate):
    """A copy fetches for itself."""
    sts.trusted[FAR_ROLE] = "external"
    original = role(external_id="external", session_name="name", duration=900)
    original()
    assert_issued(sts, duplicate(original)())
    wanted = ("external", "name", "900")
    assert [(each["ExternalId"], each["RoleSessionName"], each["DurationSeconds"]) for each in sts.assumed] == [
        wanted
    ] * 2


def test_a_pickle_holds_nothing_that_was_fetched(sts, process):
    process(STATIC)
    provider = role(credentials=None)
    provider()
    pickled = pickle.dumps(provider)
    assert b"of-the-role" not in pickled
    assert SECRET_KEY.encode() not in pickled


# --- where ---


@pytest.mark.parametrize(
    ("region", "settings", "host"),
    [
        ("eu-central-1", {}, "sts.eu-central-1.amazonaws.com"),
        ("cn-north-1", {}, "sts.cn-north-1.amazonaws.com.cn"),
        (None, {"AWS_REGION": "eu-central-1"}, "sts.eu-central-1.amazonaws.com"),
        (None, {"AWS_DEFAULT_REGION": "eu-central-1"}, "sts.eu-central-1.amazonaws.com"),
        (None, {}, "sts.amazonaws.com"),
    ],
)
def test_the_regions_sts_and_its_scope(sts, process, resolver, region, settings, host):
    """The global endpoint is signed for as us-east-1, as botocore does."""
    process({"AWS_ENDPOINT_URL_STS": "", **settings})
    resolver.routes[host, 443] = sts
    sts.region = region or settings.get("AWS_REGION") or settings.get("AWS_DEFAULT_REGION") or "us-east-1"
    assert_issued(sts, role(region=region)())
    assert sts.requests[0].headers["Host"] == host


def test_the_variants_of_an_endpoint_have_the_same_scope(sts, process, resolver):
    for settings, host in (
        ({"AWS_USE_FIPS_ENDPOINT": "true"}, "sts-fips.us-east-1.amazonaws.com"),
        ({"AWS_USE_FIPS_ENDPOINT": "", "AWS_USE_DUALSTACK_ENDPOINT": "true"}, "sts.us-east-1.api.aws"),
    ):
        process({"AWS_ENDPOINT_URL_STS": "", **settings})
        assert f"{host}: " in refused(role())


def test_over_plain_http_only_on_this_machine(process):
    with RoleSts(plain=True) as plain:
        process(plain.endpoint)
        assert_issued(plain, role()())
    process({"AWS_ENDPOINT_URL_STS": "http://sts.us-east-1.amazonaws.com"})
    assert "https is wanted" in refused(role())


# --- errors ---


def test_a_role_that_does_not_trust_the_caller(sts):
    other = f"{FAR_ROLE}-of-others"
    message = refused(role(other), sts.secrets)
    assert message.endswith(
        f"AccessDenied: User: {CALLER} is not authorized to perform: sts:AssumeRole on resource: {other}"
        "; its trust policy has to name this identity, whose own has to allow sts:AssumeRole"
    )
    assert len(sts.requests) == 1


def test_a_role_that_denies_without_a_word(sts):
    """The error names the role whatever STS says."""
    sts.faults["assume"] = itertools.repeat(sts_error(403, "AccessDenied", "Access denied"))
    message = refused(role(), sts.secrets)
    assert FAR_ROLE in message
    assert "AccessDenied" in message


def test_another_external_id(sts):
    sts.trusted[FAR_ROLE] = "theirs"
    for external_id in (None, "mine"):
        assert "AccessDenied" in refused(role(external_id=external_id), sts.secrets)


def test_a_duration_over_the_roles_maximum(sts):
    message = refused(role(duration=7200), sts.secrets)
    assert message.endswith(
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
        "; no more than the role's maximum session duration, and 3600 from role to role"
    )


def test_each_hint_that_applies(sts):
    sts.faults["assume"] = itertools.repeat(sts_error(403, "AccessDenied", "DurationSeconds"))
    assert refused(role(), sts.secrets).endswith(
        "sts:AssumeRole; no more than the role's maximum session duration, and 3600 from role to role"
    )


def test_base_keys_that_are_not_known(sts):
    stranger = iamcacheauth.StaticCredentials(ACCESS_KEY, SECRET_KEY, "not-known-to-this-server")
    message = refused(role(credentials=stranger), ["not-known-to-this-server", SECRET_KEY])
    assert "InvalidClientTokenId" in message


@pytest.mark.parametrize("kind", CALLERS)
def test_an_error_whoever_asks(sts, kind):
    sts.faults["assume"] = itertools.repeat(sts_error(403, "AccessDenied", "Access denied"))
    auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=role())
    for outcome in CALLERS[kind](auth):
        assert FAR_ROLE in outcome.error
        assert "AccessDenied" in outcome.error
        assert sts.url.partition("//")[2] in outcome.error
        assert not [secret for secret in sts.secrets if secret in outcome.told]


@pytest.mark.parametrize("kind", CALLERS)
def test_silence_whoever_asks(sts, kind):
    sts.faults["connection"] = itertools.repeat(silence)
    auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=role(timeout=SHORT))
    started = time.monotonic()
    outcomes = CALLERS[kind](auth)
    assert time.monotonic() - started < SHORT * 1.25 + SLACK
    for outcome in outcomes:
        assert FAR_ROLE in outcome.error


def test_a_base_that_takes_all_of_the_time(sts):
    """The base has a limit of its own; the caller's holds all the same, and names what it waited for."""
    with Container() as slow:
        slow.faults["connection"] = itertools.repeat(silence)
        base = iamcacheauth.EnvironmentCredentials(slow.environ, timeout=LONG)
        started = time.monotonic()
        message = refused(role(credentials=base, timeout=SHORT))
        assert time.monotonic() - started < SHORT * 1.25 + SLACK
        assert FAR_ROLE in message
    assert sts.requests == []


def test_the_base_has_as_much_time(monkeypatch, process, container):
    """A chain of its own asks three times, and four seconds go by before each of the others."""
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: clock.append(clock.pop() + seconds + (4 if seconds else 0)))
    container.faults["credentials"] = itertools.repeat(reply(429, "slow down"))
    process(container.environ)
    for timeout, requests in ((4, 1), (60, 3)):
        container.requests.clear()
        refused(role(credentials=None, timeout=timeout))
        assert len(container.requests) == requests


def test_no_network(sts, process):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{bound.getsockname()[1]}"
        process({"AWS_ENDPOINT_URL_STS": f"https://{place}"})
        message = refused(role())
    assert place in message
    assert "refused" in message
    process({"AWS_ENDPOINT_URL_STS": ""})
    message = refused(role(region="eu-central-1"))
    assert "sts.eu-central-1.amazonaws.com" in message
    assert "VPC endpoint" in message


BASE_KEY = "jK8lZ0xCvB2nM5qWeR7tY9uI1oP3aS6dF4gH0pLm"
SIGNED = "qW3!eR5,tY7:uI9!oP1,aS2:dF4!"  # no eight characters of it are the same when they are percent-encoded


def test_no_secret_that_was_sent_is_repeated(sts):
    """Nor the signature, which is in the URL."""
    base = iamcacheauth.StaticCredentials(TEMPORARY.access_key, BASE_KEY, SIGNED * 8)
    sts.keys[TEMPORARY.access_key, SIGNED * 8] = BASE_KEY
    answers = itertools.cycle(
        [
            lambda text: sts_error(403, "AccessDenied", text),
            lambda text: sts_error(403, text, "Access denied"),
            lambda text: reply(403, text),
            lambda text: reply(200, text),
            lambda text: reply(302, "", f"Location: https://127.0.0.1/{text}"),
        ]
    )
    serve = sts.serve
    echoed = []

    def echo(request):
        operation, _ = serve(request)
        target = request.target
        signature = target.partition("X-Amz-Signature=")[2]
        echoed.extend([signature, SIGNED * 8, BASE_KEY])
        text = (target, signature, SIGNED * 8, BASE_KEY)[len(echoed) // 3 % 4]
        return operation, next(answers)(text)

    sts.serve = echo
    for _ in range(20):
        with pytest.raises(CredentialsError) as caught:
            role(credentials=base)()
        assert pieces_of(echoed, told(caught.value)) == []


# --- arguments ---

GOOD = "arn:aws:iam::123456789012:role/cache-reader"
WANTED = {
    "role_arn": "one like 'arn:aws:iam::123456789012:role/name' is wanted",
    "session_name": "text of 2 to 64 letters, digits and +=,.@- is wanted",
    "external_id": "text of 2 to 1224 letters, digits and +=,.@:/- is wanted",
    "duration": "seconds from 900 to 43200 are wanted",
    "timeout": "a positive number of seconds is wanted, a day at most",
}
BAD = [
    ("role_arn", {"role_arn": value})
    for value in (
        "",
        None,
        1,
        "cache-reader",
        "arn:aws:iam::123456789012:user/me",
        "arn:aws:iam::123456789012:role/",
        "arn:aws:iam::12345:role/cache-reader",
        "arn:aws:sts::123456789012:assumed-role/cache-reader/session",
        GOOD + "\n",
        GOOD + " ",
        "arn:aws:iam::123456789012:role/rôle",
        "arn:aws:s3:::bucket",
        SECRET_KEY,
    )
]
BAD += [("session_name", {"session_name": value}) for value in ("x", "a b", "a/b", "x" * 65, "é" * 3, 1, "ab\n", "a:b")]
BAD += [("external_id", {"external_id": value}) for value in ("", "x", "a b", "x" * 1225, "é" * 3, 1, "ab\n", "a;b")]
BAD += [("duration", {"duration": value}) for value in (899, 43201, 0, -1, "3600", None, True, 3600.5, float("nan"))]
BAD += [("timeout", {"timeout": value}) for value in (0, -1, None, "5", True, float("nan"), float("inf"))]


@pytest.mark.parametrize(("argument", "options"), BAD, ids=lambda value: ascii(value)[:60].replace("\\", "/"))
def test_bad_arguments(argument, options):
    arguments = {"role_arn": GOOD, "credentials": TEMPORARY, **options}
    with pytest.raises(ConfigurationError) as caught:
        AssumedRole(arguments.pop("role_arn"), **arguments)
    assert str(caught.value) == f"{argument}: {WANTED[argument]}"
    assert SECRET_KEY not in told(caught.value)


@pytest.mark.parametrize("session_name", ["ab", "x" * 64, "with_all+=,.@-1"])
@pytest.mark.parametrize("external_id", ["ab", "x" * 1224, "with_all+=,.@:/-1"])
def test_good_arguments(session_name, external_id):
    AssumedRole(GOOD, session_name=session_name, external_id=external_id, credentials=TEMPORARY)


def test_a_region_that_is_malformed_in_the_environment(sts, process):
    process({"AWS_ENDPOINT_URL_STS": "", "AWS_REGION": "mars"})
    assert "AWS_REGION" in refused(role(region=None))


def test_nothing_is_asked_before_a_token_is_wanted(sts):
    iamcacheauth.ElastiCacheAuth("user", "cache", region="us-east-1", credentials=role())
    assert sts.requests == []


def test_its_repr_holds_no_secret(sts):
    provider = role()
    provider()
    for secret in sts.secrets | {"of-the-role"}:
        assert secret not in repr(provider)


@pytest.mark.parametrize("end", ["/sts", "/X", "?a=b", "/?a=http://b"])
def test_sts_at_a_url_with_a_path(process, end):
    """Which the signature of a presigned request does not cover here."""
    process({"AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:1{end}"})
    message = "AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL: a URL without a path is wanted"
    assert refused(role()) == f"role {FAR_ROLE}: {message}"


def test_sts_at_a_url_that_ends_with_a_slash(sts, process):
    process({"AWS_ENDPOINT_URL_STS": f"{sts.endpoint['AWS_ENDPOINT_URL_STS']}/"})
    assert_issued(sts, role()())
