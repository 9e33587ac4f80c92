"""check against a real Redis behind the gate: each cause of WRONGPASS for real, and the right explanation first."""

import itertools
import os
import re
import socket

import gate as gates
import pytest
import readme
from gate import Cache, Gate, Redis
from sts import Sts
from support.checking import (
    ACCOUNT,
    ALIAS,
    CONDITION,
    ENGINE,
    ROLE,
    SESSION,
    STS,
    USER,
    caused,
    comparable,
    policy,
    row,
)
from support.subject import iamcacheauth

PERMANENT = {
    "AWS_ACCESS_KEY_ID": gates.ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": gates.SECRET_KEY,
    "AWS_SESSION_TOKEN": "",
}
REPLICATION_GROUP = "master.my-cache.abc123.use1.cache.amazonaws.com"
SERVERLESS = "my-cache-x2e9hv.serverless.use1.cache.amazonaws.com"
PUBLIC = "my-cache-x2e9hv.public.serverless.use1.cache.amazonaws.com"
MEMORYDB = "clustercfg.my-cache.abc123.memorydb.us-east-1.amazonaws.com"

REFUSED = "auth        FAILED      0.1 ms  WRONGPASS invalid username-password pair or user is disabled.\n"
IDENTITY = row("identity", "ok", f"{ROLE}, says {STS}")
PERMISSION = "IAM does not let role cache-reader connect: attach the policy below to it."
USUAL = (PERMISSION, USER, ACCOUNT, CONDITION, ENGINE)
POLICY = policy(
    "arn:aws:elasticache:us-east-1:123456789012:replicationgroup:my-cache",
    "arn:aws:elasticache:us-east-1:123456789012:user:my-iam-user",
)


@pytest.fixture(autouse=True)
def nothing_but_loopback(monkeypatch):
    """No AWS settings of this machine's; every name leads to loopback."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda _, *args, **options: resolve("127.0.0.1", *args, **options))


@pytest.fixture
def check(redis, capsys, monkeypatch):
    """Run check on the cache that the gate plays, under the name ``host``; return its output.

    certificate: the name that it is issued for, if not the host's.
    arrange: what else there is to do before; it is called with the gate and STS.
    """

    def run(
        host,
        *options,
        service="elasticache",
        user="my-iam-user",
        cache=None,
        environ=SESSION,
        status=1,
        certificate="",
        arrange=lambda gate, sts: None,
    ):
        cache = cache or Cache(service=service)
        gate = Gate(cache, redis)
        gate.host = certificate or host
        with gate, Sts(cache) as sts:
            for name, value in {**sts.environ, **environ}.items():
                monkeypatch.setenv(name, value)
            arrange(gate, sts)
            arguments = ["check", service, user, "my-cache", "--region", "us-east-1", "--ca-file", gate.ca_file]
            assert iamcacheauth.main([*arguments, "--endpoint", f"{host}:{gate.port}", *options]) == status
        stdout, stderr = capsys.readouterr()
        assert stderr == ""
        return comparable(stdout)

    return run


def after_the_handshake(output):
    """The warnings, and all from the login on."""
    return re.sub(r"^(credentials|token|connect|tls) .*\n( {32}.*\n)*", "", output, flags=re.MULTILINE)


# --- logins that succeed ---


def test_a_replication_group(check):
    expected = """\
credentials ok          0.1 ms  ASIA…MPLE, temporary, from static keys (AWS_ACCESS_KEY_ID)
token       ok          0.1 ms  user my-iam-user, elasticache my-cache, region us-east-1
connect     ok          0.1 ms  127.0.0.1 port 6379
tls         ok          0.1 ms  TLSv1.3, certificate until 3000-01-01 for
                                master.my-cache.abc123.use1.cache.amazonaws.com and 1 more
auth        ok          0.1 ms  OK
ping        ok          0.1 ms  PONG
"""
    assert check(REPLICATION_GROUP, status=0) == expected


@pytest.mark.parametrize(
    ("host", "options", "settings"),
    [
        (SERVERLESS, ["--serverless"], {"cache": Cache(serverless=True)}),
        (MEMORYDB, [], {"service": "memorydb"}),
        ("cache.example", [], {}),
    ],
)
@pytest.mark.parametrize("environ", [SESSION, PERMANENT], ids=["temporary", "permanent"])
def test_other_caches(check, host, options, settings, environ):
    output = check(host, *options, environ=environ, status=0, **settings)
    assert after_the_handshake(output) == "auth        ok          0.1 ms  OK\nping        ok          0.1 ms  PONG\n"


def test_capitals_are_no_problem(check):
    assert "user my-iam-user," in check(REPLICATION_GROUP, user="My-IAM-User", status=0)


# --- logins that are refused, and what check makes of it ---


DOUBTS = [
    (SERVERLESS, Cache(serverless=True), "The endpoint is of a serverless cache: add --serverless."),
    (
        "master.my-cache.abc123.euw2.cache.amazonaws.com",
        Cache(region="eu-west-2"),
        "The endpoint is in eu-west-2, but the token is signed for us-east-1.",
    ),
    (
        "master.other.abc123.use1.cache.amazonaws.com",
        Cache(name="other"),
        "The endpoint is that of other, but the token is signed for my-cache.",
    ),
    (MEMORYDB, Cache(service="memorydb"), "The endpoint is one of memorydb: use check memorydb."),
]


@pytest.mark.parametrize(("host", "cache", "doubt"), DOUBTS)
def test_what_the_endpoint_shows(check, host, cache, doubt):
    expected = f"  warning: {doubt}\n{REFUSED}{IDENTITY}{caused(doubt, *USUAL)}{POLICY}"
    assert after_the_handshake(check(host, cache=cache)) == expected


def test_serverless_by_mistake(check):
    doubt = "The endpoint is not of a serverless cache: leave out --serverless."
    serverless = POLICY.replace("replicationgroup", "serverlesscache")
    expected = f"  warning: {doubt}\n{REFUSED}{IDENTITY}{caused(doubt, *USUAL)}{serverless}"
    assert after_the_handshake(check(REPLICATION_GROUP, "--serverless")) == expected


def test_no_permission(check):
    """Also a user that is not in the user group, or has another name: nothing tells them apart from outside."""
    expected = f"{REFUSED}{IDENTITY}{caused(*USUAL)}{POLICY}"
    assert after_the_handshake(check(REPLICATION_GROUP, arrange=lambda gate, sts: gate.refuse_next())) == expected


def test_a_public_endpoint(check):
    """Nothing speaks of VPCs, nor of older engines, which have none."""
    user = (
        "User my-iam-user is not in the cache's user group (default.iam-user-group, with the user default.iam-user,"
        " unless another was chosen), or is not of type iam. See: aws elasticache describe-users --user-id my-iam-user"
    )
    serverless = POLICY.replace("replicationgroup", "serverlesscache")
    output = check(PUBLIC, "--serverless", cache=Cache(serverless=True), arrange=lambda gate, sts: gate.refuse_next())
    expected = f"{REFUSED}{IDENTITY}{caused(PERMISSION, user, ACCOUNT, CONDITION)}{serverless}"
    assert after_the_handshake(output) == expected


def test_through_a_tunnel(check):
    """The certificate is the cache's own, the endpoint is not."""
    options = ["--server-name", REPLICATION_GROUP]
    output = check("localhost", *options, certificate=REPLICATION_GROUP, status=0)
    assert after_the_handshake(output) == row("auth", "ok", "OK") + row("ping", "ok", "PONG")
    output = check("localhost", *options, certificate=REPLICATION_GROUP, arrange=lambda gate, sts: gate.refuse_next())
    assert after_the_handshake(output) == f"{REFUSED}{IDENTITY}{caused(*USUAL)}{POLICY}"


def test_a_tunnel_without_the_name(check):
    output = check("localhost", certificate=REPLICATION_GROUP)
    assert "add --server-name with it." in " ".join(output.split())


def test_sts_cannot_be_asked(check):
    """As from a private subnet without a way out, where the clock and the keys may be what is wrong."""

    def cut_off(gate, sts):
        gate.refuse_next()
        sts.faults["connection"] = itertools.repeat(lambda connection: None)

    output = check("cache.example", certificate="cache.example", arrange=cut_off)
    untold = (
        "STS has not told whose credentials these are, nor whether this machine's clock is wrong (it says"
        " 2026-01-02T12:00:00Z), or the keys or their session have expired, were deleted or do not belong together."
        " Compare the clock with another; get new keys, or try these with 'aws sts get-caller-identity' where there"
        " is a way out."
    )
    unknown = (
        "IAM does not let the identity behind these credentials connect: its policy has to allow elasticache:Connect"
        " on both replicationgroup:my-cache and user:my-iam-user."
    )
    seen = row("identity", "FAILED", f"{STS} cannot be asked: the connection was closed")
    assert after_the_handshake(output) == f"{REFUSED}{seen}{caused(untold, unknown, USER, ALIAS, CONDITION, ENGINE)}"


def test_a_cluster(capsys, monkeypatch):
    """What it means for clients is said, and is no fault."""
    with Redis("--cluster-enabled", "yes") as node, Gate(Cache(), node) as gate:
        for name, value in SESSION.items():
            monkeypatch.setenv(name, value)
        arguments = ["check", "elasticache", "my-iam-user", "my-cache", "--region", "us-east-1", "--ca-file"]
        assert iamcacheauth.main([*arguments, gate.ca_file, "--endpoint", f"localhost:{gate.port}"]) == 0
        permitted = comparable(capsys.readouterr().out)
        gate.forbid("cluster|info")
        assert iamcacheauth.main([*arguments, gate.ca_file, "--endpoint", f"localhost:{gate.port}"]) == 0
        forbidden = comparable(capsys.readouterr().out)
    logged_in = row("auth", "ok", "OK") + row("ping", "ok", "PONG")
    follows = (
        "a cluster: use a cluster client (RedisCluster); keys of one command have to share a slot (else CROSSSLOT), and"
        " there is no database but 0"
    )
    assert after_the_handshake(permitted) == logged_in + row("cluster", "ok", follows)
    assert after_the_handshake(forbidden) == logged_in


def test_what_the_readme_shows(check):
    def arrange(gate, sts):
        sts.arn = "arn:aws:sts::123456789012:assumed-role/cache-reader/i-0abc"
        gate.refuse_next()

    (shown,) = re.findall(
        "^```text\n(credentials .*?)^```$", readme.section("WRONGPASS, explained"), re.DOTALL | re.MULTILINE
    )
    steps = check(REPLICATION_GROUP, certificate="*.my-cache.abc123.use1.cache.amazonaws.com", arrange=arrange)
    expected = steps.replace("127.0.0.1 port", "10.0.1.23 port").replace("3000-01-01", "2027-01-01")
    expected = re.sub(rf",\s+says\s+{re.escape(STS)}".replace(r"\ ", r"\s+"), "", expected)  # nothing is set there
    assert comparable(shown) == expected


def test_an_unknown_user_of_memorydb(check):
    user = (
        "User another is not in the cluster's ACL, is not of type iam, or is off. See: aws memorydb describe-users"
        " --user-name another"
    )
    pasted = policy(
        "arn:aws:memorydb:us-east-1:123456789012:cluster/my-cache",
        "arn:aws:memorydb:us-east-1:123456789012:user/another",
        "memorydb:Connect",
    )
    causes = caused(PERMISSION, user, ACCOUNT.replace("The cache", "The cluster"), CONDITION, ENGINE)
    output = check(MEMORYDB, service="memorydb", user="another")
    assert after_the_handshake(output) == f"{REFUSED}{IDENTITY}{causes}{pasted}"


def expire(gate, sts):
    gate.refuse_next()
    sts.expired.add(gates.TEMPORARY_ACCESS_KEY)


UNKNOWN_KEYS = row(
    "identity", "FAILED", f"{STS}: InvalidClientTokenId The security token included in the request is invalid."
)
UNKNOWN = (
    "AWS does not know these keys: they were deleted or switched off, or the session token is missing or belongs to"
    " others."
)
LOST = "A temporary key (ASIA) signed it without its session token. Set AWS_SESSION_TOKEN as well."
LEFT_OVER = "A permanent key (AKIA) signed it with a session token. Unset AWS_SESSION_TOKEN."
NOT_MATCHING = (
    f"{STS}: SignatureDoesNotMatch The request signature we calculated does not match the signature you provided."
    " Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
)
WRONG_CREDENTIALS = {
    "session token lost": (
        {"AWS_SESSION_TOKEN": ""},
        f"  warning: {LOST[:-6]}\n           well.\n{REFUSED}{UNKNOWN_KEYS}{caused(LOST, UNKNOWN)}",
    ),
    "session token of other keys": (
        {"AWS_SESSION_TOKEN": gates.SESSION_TOKEN[::-1]},
        f"{REFUSED}{UNKNOWN_KEYS}{caused(UNKNOWN)}",
    ),
    "session token left over": (
        {**PERMANENT, "AWS_SESSION_TOKEN": gates.SESSION_TOKEN},
        f"  warning: {LEFT_OVER}\n{REFUSED}{UNKNOWN_KEYS}{caused(LEFT_OVER, UNKNOWN)}",
    ),
    "deleted keys": (
        {**PERMANENT, "AWS_ACCESS_KEY_ID": "AKIAI44QH8DHBEXAMPLE"},
        f"{REFUSED}{UNKNOWN_KEYS}{caused(UNKNOWN)}",
    ),
    "another secret key": (
        {**PERMANENT, "AWS_SECRET_ACCESS_KEY": gates.SECRET_KEY[::-1]},
        REFUSED
        + row("identity", "FAILED", NOT_MATCHING)
        + caused("The secret key does not belong to the access key: copy the pair anew."),
    ),
}


@pytest.mark.parametrize(("environ", "expected"), WRONG_CREDENTIALS.values(), ids=WRONG_CREDENTIALS)
def test_credentials_that_are_not_right(check, environ, expected):
    assert after_the_handshake(check(REPLICATION_GROUP, environ=environ)) == expected


def test_expired_credentials(check):
    seen = f"{STS}: ExpiredToken The security token included in the request is expired"
    cause = "The credentials have expired: get new ones. A token lives no longer than what it was signed with."
    expected = REFUSED + row("identity", "FAILED", seen) + caused(cause)
    assert after_the_handshake(check(REPLICATION_GROUP, arrange=expire)) == expected


@pytest.mark.parametrize(
    ("offset", "says"),
    [
        (7230, "(2 h 30 s behind)"),
        (-7230, "(2 h 30 s ahead)"),
        (930, "(15 min 30 s behind)"),
        (-330, "(5 min 30 s ahead)"),
    ],
)
def test_a_wrong_clock(check, offset, says):
    def turn_the_clocks(gate, sts):
        gate.clock_offset = sts.clock_offset = offset

    output = check(REPLICATION_GROUP, arrange=turn_the_clocks)
    assert f"{STS}: SignatureDoesNotMatch Signature" in " ".join(output.split())
    # The Date header has whole seconds, and the next may begin before it is read.
    causes = re.sub(r"\d\d s ", "30 s ", output.partition("\n\n")[2])
    assert causes == f"This machine's clock is wrong {says}: set it, or run a time service.\n"


# --- what is not a refused login ---


def test_the_access_string_forbids_ping(check, redis):
    def forbid(gate, sts):
        gate.forbid("ping")

    try:
        output = check(REPLICATION_GROUP, arrange=forbid)
    finally:
        redis.add_user("my-iam-user")
    expected = """\
auth        ok          0.1 ms  OK
ping        FAILED      0.1 ms  NOPERM this user has no permissions to run the 'ping' command

The login worked, but the user's access string does not allow this command, which is no fault of
IAM.
"""
    assert after_the_handshake(output) == expected


def test_a_redis_without_tls(capsys, monkeypatch):
    for name, value in SESSION.items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with Redis("--port", str(port)):
        arguments = ["check", "elasticache", "my-iam-user", "my-cache", "--region", "us-east-1", "--timeout", "0.5"]
        assert (
            iamcacheauth.main([*arguments, "--endpoint", f"my-cache.abc123.ng.0001.use1.cache.amazonaws.com:{port}"])
            == 1
        )
    expected = """\
credentials ok          0.1 ms  ASIA…MPLE, temporary, from static keys (AWS_ACCESS_KEY_ID)
token       ok          0.1 ms  user my-iam-user, elasticache my-cache, region us-east-1
  warning: The endpoint will not do: it is for connections without TLS, which IAM needs; with
           TLS, it is probably 'master.my-cache.abc123.use1.cache.amazonaws.com'.
connect     ok          0.1 ms  127.0.0.1 port 6379
tls         FAILED      0.1 ms  this port speaks plaintext

What may have caused this, the most likely first:
1. Encryption in transit is off for this cache, and IAM needs it: turn it on, which works in
   place.
2. This is another server, or another port, than the cache's TLS port.
"""
    assert comparable(capsys.readouterr().out) == expected
