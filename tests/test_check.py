"""The check command against everything that can answer in a cache's place, short of a Redis.

The outputs are compared as whole texts, because people will read them.
"""

from __future__ import annotations

import calendar
import contextlib
import itertools
import re
import socket
import ssl
import sys
import textwrap
import threading
import time
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

import pytest
from support.checking import (
    ACCOUNT,
    ALIAS,
    CONDITION,
    ENGINE,
    ROLE,
    SESSION,
    STS,
    USER,
    CallerIdentity,
    caused,
    comparable,
    policy,
    row,
)
from support.examples import ACCESS_KEY, NOON, SECRET_KEY, clock_at
from support.loopback import (
    AUTHORITY,
    CA_FILE,
    Container,
    Server,
    drip,
    flood,
    raw,
    reply,
    silence,
    sts_error,
)
from support.subject import iamcacheauth
from support.waiting import PATIENCE, SLACK

pytest_plugins = ["support.source_fixtures"]
pytestmark = [pytest.mark.commands, pytest.mark.usefixtures("watchdog", "resolver")]

KEYS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
ENDPOINT = "master.my-cache.abc123.use1.cache.amazonaws.com"
WRONGPASS = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n"

SIGNED = """\
credentials ok          0.1 ms  AKIA…MPLE, permanent, from static keys (AWS_ACCESS_KEY_ID)
token       ok          0.1 ms  user my-iam-user, elasticache my-cache, region us-east-1
"""
CONNECTED = f"""{SIGNED}\
connect     ok          0.1 ms  127.0.0.1 port 6379
"""
SECURED = f"""{CONNECTED}\
tls         ok          0.1 ms  TLSv1.3, certificate until 2099-12-31 for localhost and 13 more
"""
REFUSED = f"""{SECURED}\
auth        FAILED      0.1 ms  WRONGPASS invalid username-password pair or user is disabled.
"""
LOGGED_IN = """\
auth        ok          0.1 ms  OK
ping        ok          0.1 ms  PONG
"""
UNTOLD = (
    "STS has not told whose credentials these are, nor whether this machine's clock is wrong (it says"
    " 2026-01-02T12:00:00Z), or the keys or their session have expired, were deleted or do not belong together. Compare"
    " the clock with another; get new keys, or try these with 'aws sts get-caller-identity' where there is a way out."
)
UNKNOWN = (
    "IAM does not let the identity behind these credentials connect: its policy has to allow elasticache:Connect on"
    " both replicationgroup:my-cache and user:my-iam-user."
)


@pytest.fixture
def check(capsys, monkeypatch):
    """Run the command, which must end with ``status``; return its output, in which nothing secret may be."""

    def run(endpoint, *options, status=1, service="elasticache", environ=KEYS, region="us-east-1", trust=CA_FILE):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        where = endpoint if isinstance(endpoint, str) else f"localhost:{endpoint.server_address[1]}"
        trusted = ["--ca-file", trust] if trust else []
        arguments = ["check", service, "my-iam-user", "my-cache", "--region", region, "--endpoint", where]
        assert iamcacheauth.main([*arguments, *trusted, *options]) == status
        stdout, stderr = capsys.readouterr()
        assert stderr == ""
        return comparable(stdout)

    return run


# --- what answers in the cache's place ---


class Cache(Server):
    """Gives one answer after the other, one per connection."""

    def __init__(self, *answers):
        super().__init__()
        self.commands = []
        self.faults["connection"] = iter(answers)

    def tls(self, answer, certificate="server.pem"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(AUTHORITY / certificate)

        def talk(connection):
            with context.wrap_socket(connection, server_side=True) as secured:
                answer(secured)

        # A client that finds a slow server asks on another connection whether it knows TLS at all.
        self.faults["connection"] = itertools.chain([talk], itertools.repeat(lambda connection: None))

    def replies(self, *replies, certificate="server.pem"):
        """Answer commands over TLS, and hang up at the one after the last."""

        def talk(connection):
            with connection.makefile("rb") as commands:
                for answer in replies:
                    self.commands.append(read_command(commands))
                    connection.sendall(answer)
                commands.readline()

        self.tls(talk, certificate)


def read_command(file):
    count = int(file.readline()[1:])
    return [file.read(int(file.readline()[1:]) + 2)[:-2].decode() for _ in range(count)]


@pytest.fixture
def cache():
    with Cache() as server:
        yield server


def test_it_works(cache, check):
    cache.replies(b"+OK\r\n", b"+PONG\r\n")
    expected = f"""{SECURED}\
auth        ok          0.1 ms  OK
ping        ok          0.1 ms  PONG
"""
    assert check(cache, status=0) == expected
    (_, user, token), ping = cache.commands
    assert (user, ping) == ("my-iam-user", ["PING"])
    claims = dict(parse_qsl(token.partition("?")[2]))
    assert token == iamcacheauth.presign(
        iamcacheauth.StaticCredentials(ACCESS_KEY, SECRET_KEY),
        service="elasticache",
        region="us-east-1",
        host="my-cache",
        params=[("Action", "connect"), ("User", "my-iam-user")],
        timestamp=claims["X-Amz-Date"],
    )


@pytest.mark.parametrize(
    ("service", "options", "row"),
    [
        ("elasticache", ["--serverless"], "user my-iam-user, serverless my-cache, region us-east-1"),
        ("memorydb", [], "user my-iam-user, memorydb my-cache, region us-east-1"),
    ],
)
def test_other_services(cache, check, service, options, row):
    cache.replies(b"+OK\r\n", b"+PONG\r\n")
    output = check(cache, *options, service=service, status=0)
    assert output.splitlines()[1] == f"token       ok          0.1 ms  {row}"
    claims = dict(parse_qsl(cache.commands[0][2].partition("?")[2]))
    assert claims["X-Amz-Credential"].split("/")[3] == service
    assert ("ResourceType" in claims) == bool(options)


# --- credentials ---


def test_credentials_that_a_server_hands_out(cache, check):
    cache.replies(b"+OK\r\n", b"+PONG\r\n")
    with Container() as container:
        container.issued["Expiration"] = "2099-01-01T00:00:00Z"
        output = check(cache, environ=container.environ, status=0)
    assert output.startswith(
        """\
credentials ok          0.1 ms  ASIA…MPLE, temporary, until 2099-01-01T00:00:00Z, from container
                                credentials (AWS_CONTAINER_CREDENTIALS_FULL_URI)
token       ok          0.1 ms  user my-iam-user, elasticache my-cache, region us-east-1
"""
    )


def test_no_credentials(check):
    expected = """\
credentials FAILED      0.1 ms  EC2 instance metadata: no credentials: none of
                                AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE,
                                AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and
                                AWS_CONTAINER_CREDENTIALS_FULL_URI is set, and
                                AWS_EC2_METADATA_DISABLED rules this out

To use a profile or SSO: eval "$(aws configure export-credentials --format env)"
"""
    assert check("localhost", environ={}) == expected


def test_each_step_is_timed(capsys, monkeypatch):
    monkeypatch.setattr(time, "perf_counter", itertools.count().__next__)
    arguments = ["check", "elasticache", "me", "my-cache", "--region", "us-east-1", "--endpoint", "localhost"]
    assert iamcacheauth.main(arguments) == 1
    assert capsys.readouterr().out.startswith("credentials FAILED   1000.0 ms  EC2 instance metadata: no credentials: ")


@pytest.mark.parametrize(
    ("environ", "seen"),
    [
        (
            {"AWS_ACCESS_KEY_ID": ACCESS_KEY},
            """\
static keys: AWS_SECRET_ACCESS_KEY is not set, but the other one
                                of the two keys is
""",
        ),
        (
            {**SESSION, "AWS_CREDENTIAL_EXPIRATION": "2020-01-01T00:00:00Z"},
            """\
static keys (AWS_ACCESS_KEY_ID): AWS_CREDENTIAL_EXPIRATION says
                                that they expired at 2020-01-01T00:00:00Z
""",
        ),
        (
            {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/"},
            """\
container credentials (AWS_CONTAINER_CREDENTIALS_FULL_URI):
                                127.0.0.1:1: Connection refused
""",
        ),
    ],
)
def test_credentials_that_cannot_be_had(check, environ, seen):
    output = check("localhost", environ=environ)
    assert output.startswith(f"credentials FAILED      0.1 ms  {seen}\nTo use a profile")


def test_a_session_token_that_was_lost_shows_before_connecting(check):
    expected = """\
credentials ok          0.1 ms  ASIA…MPLE, temporary, from static keys (AWS_ACCESS_KEY_ID)
token       ok          0.1 ms  user my-iam-user, elasticache my-cache, region us-east-1
  warning: A temporary key (ASIA) signed it without its session token. Set AWS_SESSION_TOKEN as
           well.
connect     FAILED      0.1 ms  nowhere.example: the host name does not resolve

What may have caused this, the most likely first:
1. The endpoint is mistyped, or belongs to a cache that was deleted: compare it with the
   console.
2. This machine's resolver does not know AWS's private names: is it in the cache's VPC, with DNS
   support on?
"""
    assert check("nowhere.example", environ={**SESSION, "AWS_SESSION_TOKEN": ""}) == expected


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"])
def test_a_profile_is_not_read(check, variable):
    warning = (
        f"{variable} is set, and is not read: the credentials are those above. To use the profile instead:"
        ' eval "$(aws configure export-credentials --format env)"'
    )
    warned = textwrap.fill(warning, 96, initial_indent="  warning: ", subsequent_indent=" " * 11)
    output = check("nowhere.example", environ={**KEYS, variable: "work"})
    assert output.startswith(f"{SIGNED.splitlines()[0]}\n{warned}\n{SIGNED.splitlines()[1]}\n")


def test_a_role(cache, check):
    """The credentials that STS gives for it sign the token, and are described as the role's."""
    cache.replies(b"+OK\r\n", b"+PONG\r\n", b"-ERR\r\n")
    issued = {
        "AccessKeyId": "ASIAIOSFODNN7EXAMPLE",
        "SecretAccessKey": SECRET_KEY,
        "SessionToken": "assumed",
        "Expiration": "2099-01-01T00:00:00Z",
    }
    body = "".join(f"<{name}>{text}</{name}>" for name, text in issued.items())
    with Cache(after_the_command(reply(200, f"<R>{body}</R>"))) as sts:
        environ = {**KEYS, "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{sts.server_address[1]}"}
        options = ["--role-arn", "arn:aws:iam::210987654321:role/cache", "--external-id", "of-ours"]
        output = check(cache, *options, environ=environ, status=0)
    seen = (
        "ASIA…MPLE, temporary, until 2099-01-01T00:00:00Z, from role arn:aws:iam::210987654321:role/cache, assumed with"
        " static keys (AWS_ACCESS_KEY_ID)"
    )
    assert output.startswith(row("credentials", "ok", seen))
    assert "X-Amz-Security-Token=assumed" in cache.commands[0][2]


# --- the endpoint, compared with the arguments ---

NO_TLS_FORM = "The endpoint will not do: it is for connections without TLS, which IAM needs; with TLS, it is probably "
MATCHING = {
    "elasticache": [
        "master.my-cache.abc123.use1.cache.amazonaws.com",
        "replica.my-cache.abc123.use1.cache.amazonaws.com",
        "clustercfg.my-cache.abc123.use1.cache.amazonaws.com",
        "my-cache-001.my-cache.abc123.use1.cache.amazonaws.com",
        "my-cache-0002-001.my-cache.abc123.use1.cache.amazonaws.com",
        "MASTER.My-Cache.abc123.use1.cache.amazonaws.com:6380",
        "master.my-cache.123456.use1.cache.amazonaws.com",
    ],
    "serverless": [
        "my-cache-x2e9hv.serverless.use1.cache.amazonaws.com",
        "my-cache-x2e9hv.public.serverless.use1.cache.amazonaws.com",
    ],
    "memorydb": [
        "clustercfg.my-cache.abc123.memorydb.us-east-1.amazonaws.com",
        "my-cache-0002-001.my-cache.abc123.memorydb.us-east-1.amazonaws.com",
    ],
    "not compared": [
        "cache.example",
        "10.0.0.1",
        "[fd00::1]:6380",
        "my-nlb-0123456789abcdef.elb.us-west-2.amazonaws.com",
        "ec2-192-0-2-1.compute-1.amazonaws.com",
        "amazonaws.com",
        "cache.amazonaws.com",
        "memorydb.us-east-1.amazonaws.com",
    ],
}
WITHOUT_TLS = {
    "elasticache": {
        "my-cache.abc123.ng.0001.use1.cache.amazonaws.com": "master.my-cache.abc123",
        "my-cache-ro.abc123.ng.0001.use1.cache.amazonaws.com": "replica.my-cache.abc123",
        "my-cache.abc123.0001.use1.cache.amazonaws.com": "master.my-cache.abc123",
        "my-cache-001.abc123.0001.use1.cache.amazonaws.com": "master.NAME.abc123",
        "my-cache-0001-001.abc123.0001.use1.cache.amazonaws.com": "clustercfg.NAME.abc123",
        "my-cache.abc123.clustercfg.use1.cache.amazonaws.com": "clustercfg.my-cache.abc123",
    },
    "memorydb": {
        "my-cache.abc123.clustercfg.memorydb.us-east-1.amazonaws.com": "clustercfg.my-cache.abc123",
        "my-cache-0002-001.abc123.0002.memorydb.us-east-1.amazonaws.com": "clustercfg.my-cache.abc123",
    },
}


@pytest.fixture
def warnings(check, monkeypatch):
    """What check warns of before it fails to find the endpoint."""

    def nowhere(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)

    def run(endpoint, service="elasticache", **options):
        if service == "serverless":
            arguments, service = ["--serverless"], "elasticache"
        else:
            arguments = []
        output = check(endpoint, *arguments, service=service, **options)
        assert f"{unbracketed(endpoint)}: the host name does not resolve" in " ".join(output.split())
        lines = re.findall("^  warning: (.*(?:\n           .*)*)", output, re.MULTILINE)
        return [" ".join(line.split()) for line in lines]

    return run


def unbracketed(endpoint):
    return re.sub(r":\d+$|[\[\]]", "", endpoint.lower())


def each(forms):
    return [(service, endpoint) for service, endpoints in forms.items() for endpoint in endpoints]


@pytest.mark.parametrize(("service", "endpoint"), each(MATCHING))
def test_an_endpoint_that_fits(warnings, service, endpoint):
    services = ("elasticache", "serverless", "memorydb") if service == "not compared" else (service,)
    assert [warnings(endpoint, service) for service in services] == [[]] * len(services)


@pytest.mark.parametrize(("service", "endpoint"), each(WITHOUT_TLS))
def test_an_endpoint_of_a_cache_without_tls(warnings, service, endpoint):
    end = re.search(r"(use1.cache|memorydb.us-east-1)\.amazonaws\.com", endpoint)[0]
    assert warnings(endpoint, service) == [f"{NO_TLS_FORM}'{WITHOUT_TLS[service][endpoint]}.{end}'."]


def test_an_endpoint_of_memcached(warnings):
    message = "The endpoint will not do: it is Memcached's, which knows no IAM."
    assert warnings("my-cache.abc123.cfg.use1.cache.amazonaws.com") == [message]


@pytest.mark.parametrize(
    ("service", "endpoint", "expected"),
    [
        (
            "elasticache",
            "my-cache-x2e9hv.serverless.use1.cache.amazonaws.com",
            ["The endpoint is of a serverless cache: add --serverless."],
        ),
        (
            "serverless",
            "master.my-cache.abc123.use1.cache.amazonaws.com",
            ["The endpoint is not of a serverless cache: leave out --serverless."],
        ),
        (
            "memorydb",
            "master.my-cache.abc123.use1.cache.amazonaws.com",
            ["The endpoint is one of elasticache: use check elasticache."],
        ),
        (
            "elasticache",
            "clustercfg.my-cache.abc123.memorydb.us-east-1.amazonaws.com",
            ["The endpoint is one of memorydb: use check memorydb."],
        ),
        (
            "memorydb",
            "clustercfg.my-cache.abc123.memorydb.eu-west-1.amazonaws.com",
            ["The endpoint is in eu-west-1, but the token is signed for us-east-1."],
        ),
        (
            "elasticache",
            "other-cache-x2e9hv.serverless.euw2.cache.amazonaws.com",
            [
                "The endpoint is of a serverless cache: add --serverless.",
                "The endpoint is that of other-cache, but the token is signed for my-cache.",
                "The endpoint is in eu-west-2, but the token is signed for us-east-1.",
            ],
        ),
    ],
)
def test_an_endpoint_that_does_not_fit(warnings, service, endpoint, expected):
    assert warnings(endpoint, service) == expected


@pytest.mark.parametrize("other", ["other", "cache", "memorydb", "serverless"])
@pytest.mark.parametrize(
    ("service", "endpoint"), [pair for pair in each(MATCHING) + each(WITHOUT_TLS) if "abc123" in pair[1]]
)
def test_another_caches_endpoint(warnings, service, endpoint, other):
    renamed = endpoint.replace("my-cache", other).replace("My-Cache", other)
    found = [warning for warning in warnings(renamed, service) if not warning.startswith(NO_TLS_FORM)]
    # The node of an ElastiCache cache without TLS does not tell its name for sure.
    unsure = service == "elasticache" and re.match(r"[a-z]+(-\d{4})?-\d{3}\.abc123", renamed)
    assert found == ([] if unsure else [f"The endpoint is that of {other}, but the token is signed for my-cache."])


REGION_CODES = {
    "us-east-1": "use1",
    "us-east-2": "use2",
    "us-west-1": "usw1",
    "us-west-2": "usw2",
    "us-gov-west-1": "usgw1",
    "us-gov-east-1": "usge1",
    "ca-central-1": "cac1",
    "ca-west-1": "caw1",
    "mx-central-1": "mxc1",
    "sa-east-1": "sae1",
    "eu-west-1": "euw1",
    "eu-west-3": "euw3",
    "eu-central-1": "euc1",
    "eu-central-2": "euc2",
    "eu-north-1": "eun1",
    "eu-south-2": "eus2",
    "af-south-1": "afs1",
    "me-south-1": "mes1",
    "me-central-1": "mec1",
    "il-central-1": "ilc1",
    "ap-east-1": "ape1",
    "ap-south-1": "aps1",
    "ap-south-2": "aps2",
    "ap-northeast-1": "apne1",
    "ap-northeast-3": "apne3",
    "ap-southeast-1": "apse1",
    "ap-southeast-7": "apse7",
    "cn-north-1": "cnn1",
    "cn-northwest-1": "cnw1",
}


@pytest.mark.parametrize(("region", "code"), REGION_CODES.items(), ids=REGION_CODES)
def test_region_codes(warnings, region, code):
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    endpoint = f"master.my-cache.abc123.{code}.cache.{suffix}"
    assert warnings(endpoint, region=region) == []
    assert warnings(endpoint, region="eu-west-2") == [
        f"The endpoint is in {region}, but the token is signed for eu-west-2."
    ]
    cluster = f"clustercfg.my-cache.abc123.memorydb.{region}.{suffix}"
    assert warnings(cluster, "memorydb", region=region) == []


# --- connecting ---

NO_ANSWER = """
What may have caused this, the most likely first:
\
1. The cache's security group does not let this machine in: it needs an inbound rule for this
   port.
2. This machine is outside the cache's VPC, without peering or a VPN: caches have private
   addresses.
3. A network ACL, a route table or this machine's own security group drops the packets.
"""


@pytest.mark.parametrize("endpoint", ["nowhere.example", "a..example", "nowhere.example:6380"])
def test_a_name_that_does_not_resolve(check, endpoint):
    host = endpoint.partition(":")[0]
    expected = f"""{SIGNED}\
connect     FAILED      0.1 ms  {host}: the host name does not resolve

What may have caused this, the most likely first:
\
1. The endpoint is mistyped, or belongs to a cache that was deleted: compare it with the
   console.
2. This machine's resolver does not know AWS's private names: is it in the cache's VPC, with DNS
   support on?
"""
    assert check(endpoint) == expected


def test_a_name_that_cannot_exist(check):
    host = f"{'long-' * 12}long.example"
    assert row("connect", "FAILED", f"{host}: the host name does not resolve") in check(host)


def test_nothing_listens(check):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        output = check(f"127.0.0.1:{bound.getsockname()[1]}")
    expected = f"""{SIGNED}\
connect     FAILED      0.1 ms  127.0.0.1 port 6379: Connection refused

Nothing listens on this port: caches use 6379 unless configured otherwise, serverless also 6380.
"""
    assert output == expected


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, what a full queue does differs")
def test_packets_that_get_lost(check):
    """As behind a security group: here, it is a full queue that drops them."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        output = check(f"localhost:{full.getsockname()[1]}", "--timeout", "0.3")
    assert output == f"{SIGNED}connect     FAILED      0.1 ms  127.0.0.1 port 6379: no answer within 0.3 s\n{NO_ANSWER}"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, what a broadcast address leads to differs")
def test_no_way_to_any_of_the_addresses(check, monkeypatch, resolver):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: 2 * resolver(*arguments, **options))
    seen = "127.255.255.255, 127.255.255.255 port 6379: Network is\n                                unreachable"
    assert check("127.255.255.255") == f"{SIGNED}connect     FAILED      0.1 ms  {seen}\n{NO_ANSWER}"


def test_the_endpoint_is_resolved_once(cache, check, resolver):
    cache.faults["connection"] = itertools.repeat(plaintext)
    check(cache)
    assert resolver.asked == [("localhost", cache.server_address[1])]


def test_a_resolver_that_takes_its_time(check, monkeypatch):
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(PATIENCE) and [])
    try:
        started = time.monotonic()
        output = check("localhost", "--timeout", "0.4")
        assert time.monotonic() - started < 0.4 * 1.25 + SLACK
    finally:
        answered.set()
    seen = row("connect", "FAILED", "localhost: no answer from the resolver within 0.4 s")
    assert output == SIGNED + seen + caused(
        "The endpoint is mistyped, or belongs to a cache that was deleted: compare it with the console.",
        "This machine's resolver does not know AWS's private names: is it in the cache's VPC, with DNS support on?",
    )


PUBLIC = "my-cache-x2e9hv.public.serverless.use1.cache.amazonaws.com"


def test_a_public_endpoint_that_does_not_resolve(check):
    """Nor does anything else speak of VPCs, where there is none; the case of WRONGPASS is in the other suite."""
    output = check(PUBLIC, "--serverless")
    expected = row("connect", "FAILED", f"{PUBLIC}: the host name does not resolve")
    cause = "The endpoint is mistyped, or its cache was deleted: compare it with the console."
    assert output.endswith(expected + caused(cause))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, what a broadcast address leads to differs")
def test_no_way_to_a_public_endpoint(check, monkeypatch, resolver):
    address = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.255.255.255", 6379))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [address])
    output = check(PUBLIC, "--serverless")
    assert output.endswith(
        row("connect", "FAILED", "127.255.255.255 port 6379: Network is unreachable")
        + caused(
            "A firewall between here and the internet drops connections to this port: it has to let them out.",
            "This machine has no way to the internet, as in a private subnet without a NAT gateway.",
        )
    )


def test_a_public_endpoint_with_another_version_of_tls(cache, check, resolver):
    resolver.routes[PUBLIC, 6379] = cache
    cache.faults["connection"] = itertools.repeat(after_the_command(reply(400, "no")))
    output = check(PUBLIC, "--serverless")
    assert output.endswith(
        row("tls", "FAILED", "no TLS here: TLS failed: …")
        + caused(
            "A public endpoint, of a serverless cache with Valkey 9, takes TLS 1.3 only, which this Python or something"
            " between here and the cache does not speak.",
            "What answers is not ElastiCache: compare host and port with the console.",
        )
    )


# --- all out of AWS's own host name ---


@pytest.mark.parametrize("port", ["", ":6379"])
def test_check_endpoint(cache, capsys, monkeypatch, resolver, port):
    resolver.routes[ENDPOINT, 6379] = cache
    cache.replies(b"+OK\r\n", b"+PONG\r\n", b"-ERR\r\n", certificate="endpoint.pem")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    arguments = ["check", "endpoint", "my-iam-user", f"{ENDPOINT}{port}", "--ca-file", str(AUTHORITY / "endpoint.pem")]
    assert iamcacheauth.main(arguments) == 0
    stdout, stderr = capsys.readouterr()
    seen = f"TLSv1.3, certificate until 2099-12-31 for *.{ENDPOINT.partition('.')[2]} and 1 more"
    assert (comparable(stdout), stderr) == (CONNECTED + row("tls", "ok", seen) + LOGGED_IN, "")


@pytest.mark.parametrize("endpoint", ["cache.example:6379", "10.0.0.1", "redis://a", "hunter2", ""])
@pytest.mark.parametrize("command", ["token", "check"])
def test_an_alias_needs_the_longer_form(capsys, command, endpoint):
    assert iamcacheauth.main([command, "endpoint", "my-iam-user", endpoint, "--region", "us-east-1"]) == 2
    assert capsys.readouterr() == (
        "",
        "iamcacheauth: HOST[:PORT]: AWS's own host name is wanted, like master.my-cache.abc123.use1.cache.amazonaws.com"
        "; for an alias, an address or a tunnel, use 'elasticache USER CACHE' or 'memorydb USER CLUSTER' instead\n",
    )


# --- TLS ---

NOT_A_CACHE = """
What may have caused this, the most likely first:
\
1. What answers is not ElastiCache or MemoryDB: compare host and port with the console.
2. Something between here and the cache cuts or changes connections.
"""
INTERCEPTED = "Something between here and the cache answers in its place."


def echo(connection):
    while True:
        data = connection.recv(65536)
        if not data:
            break
        connection.sendall(data)


def leave(connection):
    connection.recv(1)


def patience_until(seen):
    """Options that do not make a test wait the whole five seconds for what does not come."""
    return ["--timeout", "3"] if seen.endswith("in time") else []


NO_TLS = {
    "closes at once": (lambda connection: None, "the connection was closed"),
    "closes after the first byte": (leave, "the connection was closed"),
    "says nothing": (silence, "no complete answer in time"),
    "HTTP": (reply(400, "no"), "TLS failed: …"),
    "echo": (echo, "TLS failed: …"),
    "a byte from time to time": (drip(b"\x16\x03\x03\x40\0\2", b"\0"), "no complete answer in time"),
    "100 MB": (flood(b"\x16\x03\x03\x40\0", b"\0"), "TLS failed: …"),
}


@pytest.mark.parametrize(("answer", "seen"), NO_TLS.values(), ids=NO_TLS)
def test_no_tls(cache, check, answer, seen):
    cache.faults["connection"] = itertools.repeat(answer)
    expected = f"{CONNECTED}tls         FAILED      0.1 ms  no TLS here: {seen}\n{NOT_A_CACHE}"
    assert check(cache, *patience_until(seen)) == expected


def test_a_failure_of_tls_that_python_has_no_name_for(cache, check, monkeypatch):
    """Where OpenSSL is newer than Python, whose error has the attribute, but nothing in it."""

    def fail(*_, **__):
        error = ssl.SSLError(1, "[SSL] record layer failure")
        error.reason = None
        raise error

    cache.faults["connection"] = itertools.repeat(silence)
    monkeypatch.setattr(ssl.SSLContext, "wrap_socket", fail)
    expected = f"{CONNECTED}tls         FAILED      0.1 ms  no TLS here: TLS failed: …\n{NOT_A_CACHE}"
    assert check(cache, "--timeout", "3") == expected


PROXY = (
    "A proxy or tunnel there (stunnel, a sidecar) speaks TLS with the cache itself: clients log in through it without"
    " TLS, and check takes the cache's own endpoint."
)
WITHOUT_ENCRYPTION = (
    "Encryption in transit is off for this cache, and IAM needs it: turn it on, which works in place.",
    "This is another server, or another port, than the cache's TLS port.",
)


def plaintext(connection, says=b"+PONG\r\n"):
    """It waits for the end of a line, which the start of TLS does not bring; see the other suite for a real one."""
    if connection.recv(65536) != b"PING\r\n":
        silence(connection)
    connection.sendall(says)


@pytest.mark.parametrize("says", [b"-NOAUTH Authentication required.\r\n", b"+PONG\r\n"])
def test_a_redis_without_tls(cache, check, says):
    cache.faults["connection"] = itertools.repeat(lambda connection: plaintext(connection, says))
    expected = CONNECTED + row("tls", "FAILED", "this port speaks plaintext")
    assert check(cache) == expected + caused(PROXY, *WITHOUT_ENCRYPTION)


def test_an_endpoint_of_awss_without_tls(cache, check, resolver):
    resolver.routes[ENDPOINT, 6379] = cache
    cache.faults["connection"] = itertools.repeat(plaintext)
    expected = CONNECTED + row("tls", "FAILED", "this port speaks plaintext")
    assert check(ENDPOINT) == expected + caused(*WITHOUT_ENCRYPTION)


def test_plaintext_shows_at_once(cache, check):
    cache.faults["connection"] = itertools.repeat(plaintext)
    started = time.monotonic()
    check(cache, "--timeout", "60")
    assert time.monotonic() - started < SLACK


@pytest.mark.parametrize("answer", [silence, drip(b"\x16\x03\x03\x40\0\2", b"\0")], ids=["silence", "drip"])
def test_the_limit_of_a_step_is_that_of_tls_as_a_whole(cache, check, answer):
    cache.faults["connection"] = itertools.repeat(answer)
    taken = []
    while min(taken, default=3) > 1.5 * 1.25 and len(taken) < 5:  # a busy machine may add its own time, now and then
        started = time.monotonic()
        assert "no TLS here: no complete answer in time" in check(cache, "--timeout", "1.5")
        taken.append(time.monotonic() - started)
    assert min(taken) < 1.5 * 1.25 + 0.5


def test_an_unknown_authority(cache, check):
    cache.tls(silence)
    expected = f"""{CONNECTED}\
tls         FAILED      0.1 ms  the certificate is not trusted: unable to get local issuer
                                certificate
"""
    lacking = "This machine does not trust Amazon's root certificates: install ca-certificates, or give --ca-file."
    assert check(cache, trust="") == expected + caused(lacking, INTERCEPTED)


TUNNEL = (
    "The endpoint is an alias, an address or a tunnel, which the certificate does not name: use the endpoint that AWS"
    " shows or, through a tunnel, add --server-name with it."
)
ANOTHER_CACHE = "What answers is another cache: compare the host name with the console, and what it resolves to."


@pytest.mark.parametrize(
    ("endpoint", "options", "cause"),
    [
        ("cache.example", [], TUNNEL),
        ("master.other.abc123.use1.cache.amazonaws.com", [], ANOTHER_CACHE),
        ("localhost", ["--server-name", "cache.example"], ANOTHER_CACHE),
    ],
)
def test_a_certificate_for_another_name(cache, check, resolver, endpoint, options, cause):
    resolver.routes[endpoint, 6379] = cache
    cache.tls(silence)
    output = check(endpoint, *options)
    name = options[-1] if options else endpoint
    mismatch = f"the certificate is not trusted: Hostname mismatch, certificate is not valid for '{name}'."
    expected = row("tls", "FAILED", mismatch) + caused(cause, INTERCEPTED)
    assert output.endswith(f"127.0.0.1 port 6379\n{expected}")


def test_a_certificate_for_another_address(cache, check, resolver):
    resolver.routes["10.0.0.1", 6379] = cache
    cache.tls(silence)
    output = check("10.0.0.1")
    mismatch = "the certificate is not trusted: IP address mismatch, certificate is not valid for '10.0.0.1'."
    assert output == CONNECTED + row("tls", "FAILED", mismatch) + caused(TUNNEL, INTERCEPTED)


def test_through_a_tunnel(cache, check):
    """The certificate is compared with the cache's own name, and so are the arguments."""
    cache.replies(b"+OK\r\n", b"+PONG\r\n", b"-ERR\r\n", certificate="endpoint.pem")
    output = check(cache, "--server-name", ENDPOINT, trust=str(AUTHORITY / "endpoint.pem"), status=0)
    seen = f"TLSv1.3, certificate until 2099-12-31 for *.{ENDPOINT.partition('.')[2]} and 1 more"
    assert output == CONNECTED + row("tls", "ok", seen) + LOGGED_IN


def test_the_name_behind_a_tunnel_is_compared(cache, check):
    cache.replies(b"+OK\r\n", b"+PONG\r\n", b"-ERR\r\n", certificate="endpoint.pem")
    options = ["--server-name", ENDPOINT, "--serverless"]
    output = check(cache, *options, trust=str(AUTHORITY / "endpoint.pem"), status=0)
    assert "  warning: The endpoint is not of a serverless cache: leave out --serverless.\n" in output


def test_an_expired_certificate(cache, check):
    cache.tls(silence, "expired.pem")
    expected = f"""{CONNECTED}\
tls         FAILED      0.1 ms  the certificate is not trusted: certificate has expired
"""
    clock = "This machine's clock is wrong, or the certificate was not renewed in time."
    assert check(cache, trust=str(AUTHORITY / "expired.pem")) == expected + caused(clock, INTERCEPTED)


def test_a_certificate_with_its_name_in_the_subject_only(cache, check):
    cache.tls(leave, "nameless.pem")
    output = check(cache, trust=str(AUTHORITY / "nameless.pem"))
    assert "tls         ok          0.1 ms  TLSv1.3, certificate until 2099-12-31 for localhost\n" in output


# --- AUTH and PING ---


def after_the_command(answer):
    def talk(connection):
        connection.recv(65536)
        answer(connection)

    return talk


NO_ANSWERS = {
    "closes at once": (lambda connection: None, "the connection was closed"),
    "closes after the command": (leave, "the connection was closed"),
    "says nothing": (silence, "no complete answer in time"),
    "HTTP": (after_the_command(reply(400, "no")), "it does not speak the Redis protocol"),
    "echo": (echo, "it does not speak the Redis protocol"),
    "a byte from time to time": (drip(b"+", b"O"), "no complete answer in time"),
    "100 MB": (flood(b"+OK", b" "), "it does not speak the Redis protocol"),
    "another type": (after_the_command(raw(b"$-1\r\n")), "it does not speak the Redis protocol"),
    "another status": (after_the_command(raw(b"+QUEUED\r\n")), "it does not speak the Redis protocol"),
    "binary": (after_the_command(raw(b"\0\xff\n")), "it does not speak the Redis protocol"),
    "an empty error": (after_the_command(raw(b"-\r\n")), "it does not speak the Redis protocol"),
    "an error after 1 KB": (after_the_command(raw(b"-%1026b\r\n" % b"ERR")), "it does not speak the Redis protocol"),
}


@pytest.mark.parametrize(("answer", "seen"), NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_not_redis(cache, check, answer, seen):
    cache.tls(answer)
    expected = f"{SECURED}auth        FAILED      0.1 ms  no answer to AUTH: {seen}\n{NOT_A_CACHE}"
    assert check(cache, *patience_until(seen)) == expected


ERRORS = {
    "NOPERM this user has no permissions to run the 'ping' command": """\
The login worked, but the user's access string does not allow this command, which is no fault of
IAM.
""",
    "NOAUTH Authentication required.": """\
The server forgot the login: something between here and the cache changes connections.
""",
    "MOVED 3999 10.0.0.2:6379": """\
This is a node of a cluster that sends clients elsewhere: use the configuration endpoint.
""",
    "LOADING Redis is loading the dataset in memory": """\
The server does not take this PING, and says why.
""",
}


@pytest.mark.parametrize(("error", "explanation"), ERRORS.items())
def test_a_ping_that_is_refused(cache, check, error, explanation):
    cache.replies(b"+OK\r\n", f"-{error}\r\n".encode())
    expected = f"""{SECURED}\
auth        ok          0.1 ms  OK
ping        FAILED      0.1 ms  {error}

{explanation}"""
    assert check(cache) == expected


@pytest.mark.parametrize(
    ("error", "explanation"),
    [
        (
            "ERR wrong number of arguments for 'auth' command",
            "The server knows no users, as Redis before version 6: it is another server, or an old one.",
        ),
        ("ERR max number of clients reached", "The server does not take this AUTH, and says why."),
    ],
)
def test_a_login_that_is_refused_with_another_word(cache, check, error, explanation):
    cache.replies(f"-{error}\r\n".encode())
    assert check(cache) == f"{SECURED}auth        FAILED      0.1 ms  {error}\n\n{explanation}\n"


def test_a_server_that_repeats_the_token(cache, check):
    def repeat(connection):
        with connection.makefile("rb") as commands:
            token = read_command(commands)[2]
            connection.sendall(f"-ERR nobody knows {token[token.index('X-Amz-Sec') :]} {unquote(token)}\r\n".encode())
            commands.read()

    cache.tls(repeat)
    expected = f"""{SECURED}\
auth        FAILED      0.1 ms  ERR nobody knows X-Amz-Security-…

The server does not take this AUTH, and says why.
""".replace("AKIA…MPLE, permanent", "ASIA…MPLE, temporary")
    assert check(cache, environ=SESSION) == expected


UNAVAILABLE = (
    "IAM is down, logins are throttled, or the engine is overloaded, which this answer does not tell apart: log in less"
    " often, after growing pauses, and look at the metric {} and the AWS Health Dashboard."
)
GOES_ON = "A connection whose renewed login gets this goes on until its 12 hours are over."
OUTAGES = {
    "ERR service is not available": UNAVAILABLE,
    "ERR IAM Authentication service is not available.": "IAM is down: log in again after growing pauses, and look at"
    f" the AWS Health Dashboard. {GOES_ON}",
    "ERR Exceeded limit of IAM Authentication requests": "There are too many logins: keep connections, log in less"
    f" often, after growing pauses, and look at the metric {{}}. {GOES_ON}",
}


@pytest.mark.parametrize(
    ("service", "metric"), [("elasticache", "IamAuthenticationThrottling"), ("memorydb", "AuthenticationFailures")]
)
@pytest.mark.parametrize(("error", "explanation"), OUTAGES.items())
def test_what_the_service_says_of_itself(cache, check, service, metric, error, explanation):
    cache.replies(f"-{error}\r\n".encode())
    output = check(cache, service=service)
    assert output.endswith(row("auth", "FAILED", error) + caused(explanation.format(metric)))


def test_a_cluster(cache, check):
    cache.replies(b"+OK\r\n", b"+PONG\r\n", b"$23\r\ncluster_state:ok\r\n")
    follows = (
        "a cluster: use a cluster client (RedisCluster); keys of one command have to share a slot (else CROSSSLOT), and"
        " there is no database but 0"
    )
    assert check(cache, status=0) == SECURED + LOGGED_IN + row("cluster", "ok", follows)
    assert cache.commands[2] == ["CLUSTER", "INFO"]


@pytest.mark.parametrize("answer", [b"-NOPERM this user has no permissions\r\n", b"", b"+OK\r\n"])
def test_a_cluster_that_may_not_be_asked(cache, check, answer):
    """No fault, and nothing to say."""
    cache.replies(b"+OK\r\n", b"+PONG\r\n", answer)
    assert check(cache, *([] if answer else ["--timeout", "0.5"]), status=0) == SECURED + LOGGED_IN


# --- answers that repeat what they were asked, with control characters ---

CONTROL = "\x1b[2J\x07\x9b\u202e\u2028 "


def everything_in(*texts):
    """What one who repeats may know: the texts, decoded as well, between control characters."""
    return CONTROL + CONTROL.join([*texts, *map(unquote, texts)]) + CONTROL


@pytest.mark.parametrize(("step", "answers"), [("auth", []), ("ping", [b"+OK\r\n"])])
def test_a_cache_that_repeats_all_that_it_was_told(cache, check, step, answers):
    def talk(connection):
        told = []
        with connection.makefile("rb") as commands:
            for answer in [*answers, None]:
                told += read_command(commands)
                error = f"-{CONTROL}ERR {everything_in(*told)}\r\n"
                connection.sendall(answer or error.encode())
            commands.read()

    cache.tls(talk)
    output = check(cache, environ=SESSION)
    assert all(map(str.isprintable, output.splitlines()))
    seen = (
        "[2J ERR [2J AUTH [2J my-iam-user [2J"
        " my-cache/?Action=connect&User=my-iam-user&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-…"
    )
    says_why = f"The server does not take this {step.upper()}, and says why."
    assert output.endswith(row(step, "FAILED", seen) + caused(says_why))


@pytest.mark.parametrize(
    ("status", "field", "seen"),
    [
        (200, "Type", ROLE),
        (200, "Arn", "Denied No."),
        (403, "Code", "Denied [2J {} No."),
        (403, "Message", "Denied No. [2J {}"),
        (403, "Arn", "Denied No."),
    ],
)
def test_an_sts_that_repeats_all_that_it_was_told(refused, sts, status, field, seen):
    """In its headers as well."""

    def repeating(connection):
        query = sts.requests[-1].target.partition("?")[2]
        told = escape(everything_in(query, SECRET_KEY))
        fields = {"Arn": ROLE, "Code": "Denied", "Message": "No."}
        fields[field] = f"{fields.get(field, '')} {told}".strip()
        body = "".join(f"<{name}>{text}</{name}>" for name, text in fields.items())
        reply(status, f"<R>{body}</R>", f"Date: {query}", f"X-{query}: {query}")(connection)

    sts.faults["identity"] = iter([repeating])
    after = refused(sts.environ)
    assert all(map(str.isprintable, after.splitlines()))
    if seen == ROLE:
        assert after.startswith(row("identity", "ok", f"{ROLE}, says {STS}"))
    else:
        repeated = "Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-…"
        causes = caused(UNTOLD, UNKNOWN, USER, ALIAS, CONDITION, ENGINE)
        assert after == row("identity", "FAILED", f"{STS}: {seen.format(repeated)}") + causes


def test_a_certificate_whose_name_is_hostile(cache, check):
    """It holds escape sequences, and a session token that its owner was told before."""
    cache.replies(b"+OK\r\n", b"+PONG\r\n", b"-ERR\r\n", certificate="hostile.pem")
    output = check(cache, environ=SESSION, trust=str(AUTHORITY / "hostile.pem"), status=0)
    assert output.splitlines()[3] == (
        "tls         ok          0.1 ms  TLSv1.3, certificate until 2099-12-31 for [2J name… and 1 more"
    )


@pytest.mark.parametrize("arn", ["arn:aws:sts::123456789012:assumed-role", "arn:aws:iam::123456789012:root"])
def test_an_arn_without_a_name(refused, sts, arn):
    sts.faults["identity"] = iter([reply(200, f"<R><Arn>{arn}</Arn></R>")])
    causes = caused(
        f"IAM does not let {arn} connect: attach the policy below to it.", USER, ACCOUNT, ALIAS, CONDITION, ENGINE
    )
    assert refused(sts.environ) == row("identity", "ok", f"{arn}, says {STS}") + causes + POLICY


@pytest.mark.parametrize(
    "arn", ["role", ":::::", "arn:aws:sts::12345678901:assumed-role/a/b", f"{ROLE}\u0661", "arn:aws:iam::"]
)
def test_an_arn_that_is_none(refused, sts, arn):
    sts.faults["identity"] = iter([reply(200, f"<R><Arn>{arn}</Arn></R>")])
    causes = caused(UNTOLD, UNKNOWN, USER, ALIAS, CONDITION, ENGINE)
    assert refused(sts.environ) == row("identity", "FAILED", f"{STS}: HTTP status 200") + causes


# --- WRONGPASS: whose credentials are these? ---


@pytest.fixture
def sts():
    with CallerIdentity() as server:
        yield server


@pytest.fixture
def far_from_greenwich(monkeypatch):
    monkeypatch.setenv("TZ", "LOCAL-05:45")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def refused(cache, check):
    """The output that follows on WRONGPASS."""

    def run(environ, *options, **settings):
        cache.replies(WRONGPASS)
        output = check(cache, *options, environ=environ, **settings)
        assert "WRONGPASS" in output
        return output.partition("user is disabled.\n")[2]

    return run


POLICY = policy(
    "arn:aws:elasticache:us-east-1:123456789012:replicationgroup:my-cache",
    "arn:aws:elasticache:us-east-1:123456789012:user:my-iam-user",
)


def test_a_refused_login_is_shown_in_full(cache, check, sts):
    cache.replies(WRONGPASS)
    sts.arn = "arn:aws:iam::123456789012:user/somebody"
    causes = caused(
        f"IAM does not let {sts.arn} connect: attach the policy below to it.", USER, ACCOUNT, ALIAS, CONDITION, ENGINE
    )
    expected = f"{REFUSED}{row('identity', 'ok', f'{sts.arn}, says {STS}')}{causes}{POLICY}"
    assert check(cache, environ=sts.environ) == expected.replace("AKIA…MPLE, permanent", "ASIA…MPLE, temporary")


def test_what_its_own_name_shows_is_not_a_possible_cause(cache, check, resolver):
    """The certificate, too, is for a name that AWS gives."""
    resolver.routes[ENDPOINT, 6379] = cache
    cache.replies(WRONGPASS, certificate="endpoint.pem")
    expected = f"""{CONNECTED}\
tls         ok          0.1 ms  TLSv1.3, certificate until 2099-12-31 for
                                *.my-cache.abc123.use1.cache.amazonaws.com and 1 more
auth        FAILED      0.1 ms  WRONGPASS invalid username-password pair or user is disabled.
{row("identity", "FAILED", f"{STS} cannot be asked: Connection refused")}\
{caused(UNTOLD, UNKNOWN, USER, CONDITION, ENGINE)}"""
    environ = {**KEYS, "AWS_ENDPOINT_URL_STS": "http://127.0.0.1:1"}
    assert check(ENDPOINT, environ=environ, trust=str(AUTHORITY / "endpoint.pem")) == expected


@pytest.mark.parametrize(
    ("service", "options", "region", "arn", "expected"),
    [
        (
            "elasticache",
            ["--serverless"],
            "us-east-1",
            ROLE,
            policy(
                "arn:aws:elasticache:us-east-1:123456789012:serverlesscache:my-cache",
                "arn:aws:elasticache:us-east-1:123456789012:user:my-iam-user",
            ),
        ),
        (
            "memorydb",
            [],
            "us-east-1",
            ROLE,
            policy(
                "arn:aws:memorydb:us-east-1:123456789012:cluster/my-cache",
                "arn:aws:memorydb:us-east-1:123456789012:user/my-iam-user",
                "memorydb:Connect",
            ),
        ),
    ],
)
def test_the_policy_to_paste(refused, sts, service, options, region, arn, expected):
    after = refused(sts.environ, *options, service=service)
    assert after.endswith(expected)
    assert "1. IAM does not let role cache-reader connect: attach the policy below to it.\n" in after


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eu-isoe-west-1", "aws-iso-e"),
        ("us-isof-south-1", "aws-iso-f"),
        ("eusc-de-east-1", "aws-eusc"),
    ],
)
def test_the_policy_of_another_partition(refused, region, partition):
    answer = reply(200, f"<R><Arn>arn:{partition}:iam::123456789012:user/me</Arn></R>")
    with Cache(after_the_command(answer)) as sts:
        after = refused({**KEYS, "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{sts.server_address[1]}"}, region=region)
    assert after.endswith(
        policy(
            f"arn:{partition}:elasticache:{region}:123456789012:replicationgroup:my-cache",
            f"arn:{partition}:elasticache:{region}:123456789012:user:my-iam-user",
        )
    )


def test_sts_is_asked_in_the_region_of_the_cache(refused, sts, resolver):
    resolver.routes["sts.us-east-1.amazonaws.com", 443] = sts
    after = refused({**SESSION, "AWS_CA_BUNDLE": CA_FILE, "AWS_REGION": "eu-west-1"})
    assert after.startswith(f"identity    ok          0.1 ms  {ROLE}\n")


def test_the_time_that_sts_is_told_is_utc(cache, refused, sts, far_from_greenwich):
    refused(sts.environ)
    told = [
        time.strptime(dict(parse_qsl(url))["X-Amz-Date"], "%Y%m%dT%H%M%SZ")
        for url in (cache.commands[0][2], sts.requests[0].target)
    ]
    token, question = map(calendar.timegm, told)
    assert question - token <= PATIENCE


UNREACHABLE = {
    "refuses": ([], "Connection refused"),
    "says nothing": ([silence], "no complete answer in time"),
    "closes": ([lambda connection: None] * 2, "the connection was closed"),
    "no TLS": ([after_the_command(reply(400, "no"))], "TLS failed: …"),
}


@pytest.mark.parametrize(("answers", "reason"), UNREACHABLE.values(), ids=UNREACHABLE)
def test_sts_cannot_be_asked(refused, answers, reason):
    with Cache(*answers) as sts:
        environ = {**KEYS, "AWS_ENDPOINT_URL_STS": sts.url if answers else "http://127.0.0.1:1"}
        after = refused(environ, *patience_until(reason))
    expected = row("identity", "FAILED", f"{STS} cannot be asked: {reason}")
    assert re.sub(r"TLS\s+failed: [a-z0-9 ]+", "TLS\n" + " " * 32 + "failed: …", after) == expected + caused(
        UNTOLD, UNKNOWN, USER, ALIAS, CONDITION, ENGINE
    )


CLOCK = "This machine's clock is wrong: set it, or run a time service."
PROVEN = {
    "expired": (
        ("ExpiredToken", "The security token included in the request is expired"),
        "The credentials have expired: get new ones. A token lives no longer than what it was signed with.",
    ),
    "unknown": (
        ("InvalidClientTokenId", "The security token included in the request is invalid."),
        "AWS does not know these keys: they were deleted or switched off, or the session token is missing or belongs"
        " to others.",
    ),
    "secret": (
        ("SignatureDoesNotMatch", "The request signature we calculated does not match."),
        "The secret key does not belong to the access key: copy the pair anew.",
    ),
    "clock, by its message": (
        ("SignatureDoesNotMatch", "Signature expired: 20260102T000000Z is now earlier than 20260103T000000Z"),
        CLOCK,
    ),
    "clock, ahead": (
        ("SignatureDoesNotMatch", "Signature not yet current: 20260103T000000Z is still later than now"),
        CLOCK,
    ),
}


@pytest.mark.parametrize(("error", "cause"), PROVEN.values(), ids=PROVEN)
def test_sts_knows_what_is_wrong(refused, sts, error, cause):
    sts.faults["identity"] = iter([sts_error(403, *error)])
    assert refused(sts.environ) == row("identity", "FAILED", f"{STS}: {' '.join(error)}") + caused(cause)


def test_what_is_certain_comes_without_the_usual_causes(cache, check, resolver):
    resolver.routes[ENDPOINT, 6379] = cache
    cache.replies(WRONGPASS, certificate="endpoint.pem")
    with Cache(after_the_command(sts_error(403, "InvalidClientTokenId", "It is invalid."))) as sts:
        url = f"http://127.0.0.1:{sts.server_address[1]}"
        environ = {**SESSION, "AWS_SESSION_TOKEN": "", "AWS_ENDPOINT_URL_STS": url}
        output = check(ENDPOINT, "--serverless", environ=environ, trust=str(AUTHORITY / "endpoint.pem"))
    expected = """\
1. A temporary key (ASIA) signed it without its session token. Set AWS_SESSION_TOKEN as well.
2. AWS does not know these keys: they were deleted or switched off, or the session token is
   missing or belongs to others.
3. The endpoint is not of a serverless cache: leave out --serverless.
"""
    assert output.partition("the most likely first:\n")[2] == expected


@pytest.mark.parametrize(
    ("offset", "by"), [(7200, "2 h behind"), (-7200, "2 h ahead"), (-300, "5 min ahead"), (900, "15 min behind")]
)
@pytest.mark.parametrize("status", [200, 403, 503])
def test_a_wrong_clock(refused, sts, offset, by, status):
    """Whoever answers has one to compare with."""
    sts.clock_offset = offset
    body = {200: f"<R><Arn>{ROLE}</Arn></R>", 403: "<R><Code>SignatureDoesNotMatch</Code></R>", 503: "A proxy's page"}
    with clock_at(NOON):
        sts.faults["identity"] = iter([reply(status, body[status], sts.date)])
        after = refused(sts.environ)
    assert after.splitlines()[-1] == f"This machine's clock is wrong ({by}): set it, or run a time service."


@pytest.mark.parametrize("offset", [-299, 0, 899])
def test_a_clock_that_is_off_by_no_more_than_the_services_allow(refused, sts, offset):
    sts.clock_offset = offset
    with clock_at(NOON):
        assert "clock" not in refused(sts.environ)


def test_a_clock_that_is_off_by_more_than_sts_allows(refused, sts):
    sts.clock_offset = 1
    body = "<R><Code>SignatureDoesNotMatch</Code><Message>Signature expired: 20260102T000000Z</Message></R>"
    with clock_at(NOON):
        sts.faults["identity"] = iter([reply(403, body, sts.date)])
        assert "This machine's clock is wrong (1 s behind): set it" in refused(sts.environ)


INCONCLUSIVE = {
    "its own fault": (sts_error(500, "InternalFailure", "Sorry."), "InternalFailure Sorry."),
    "throttled": (sts_error(400, "Throttling", "Rate exceeded"), "Throttling Rate exceeded"),
    "another server": (reply(200, "<html><p>Welcome</html>"), "HTTP status 200"),
    "a proxy": (reply(407, ""), "HTTP status 407"),
    "nonsense": (reply(404, b"\0\xff", "Date: yesterday"), "HTTP status 404"),
    "no date": (reply(503, "", "Date: Mon, 99 Foo 2026"), "HTTP status 503"),
    "no time": (reply(503, "", f"Date: Fri, 02 Jan 2026 12:{'4' * 20}:00 GMT"), "HTTP status 503"),
}


@pytest.mark.parametrize(("answer", "seen"), INCONCLUSIVE.values(), ids=INCONCLUSIVE)
def test_sts_says_nothing_of_use(refused, sts, answer, seen):
    sts.faults["identity"] = iter([answer])
    causes = caused(UNTOLD, UNKNOWN, USER, ALIAS, CONDITION, ENGINE)
    assert refused(sts.environ) == row("identity", "FAILED", f"{STS}: {seen}") + causes


def test_an_error_that_quotes_the_request(refused, sts):
    """Some services do; with temporary keys, the session token is part of it."""

    def quoting(connection):
        query = sts.requests[-1].target.partition("?")[2]
        sts_error(403, "SignatureDoesNotMatch", f"It should have been 'GET / {query} {unquote(query)}'")(connection)

    sts.faults["identity"] = iter([quoting])
    after = " ".join(refused(sts.environ).split())
    assert f"{STS}: SignatureDoesNotMatch It should have been 'GET / Action=GetCallerIdentity" in after
    assert "The secret key does not belong to the access key" in after


def test_an_error_with_a_piece_of_the_signature(refused, sts):
    def telling(connection):
        signature = dict(parse_qsl(sts.requests[-1].target))["X-Amz-Signature"]
        sts_error(403, "SignatureDoesNotMatch", f"It was not {signature[20:32]}")(connection)

    sts.faults["identity"] = iter([telling])
    assert refused(sts.environ).startswith(row("identity", "FAILED", f"{STS}: SignatureDoesNotMatch It was not …"))


# --- usage ---

NO_ENDPOINT = "iamcacheauth: --endpoint: HOST or HOST:PORT is wanted, without a scheme or a path\n"
NO_ENDPOINTS = [
    "",
    ":6379",
    "a b",
    "a:b",
    "a:65536",
    "a/b",
    "me@a",
    "rediss://a:6379",
    "a?b",
    "a#b",
    "[::1",
    "é.example",
]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "the following arguments are required: --endpoint"),
        (["--endpoint"], "--endpoint: expected one argument"),
        *((["--endpoint", endpoint], NO_ENDPOINT) for endpoint in NO_ENDPOINTS),
        (["--endpoint", "a", "--timeout", "0"], "timeout: a positive number of seconds is wanted"),
        (["--endpoint", "a", "--timeout", "nan"], "timeout: a positive number of seconds is wanted"),
        (["--endpoint", "a", "--timeout", "1e300"], "timeout: a positive number of seconds is wanted"),
        (["--endpoint", "a", "--timeout", "soon"], "usage"),
        (["--endpoint", "a", "--ca-file", "nowhere.pem"], "--ca-file: a file of PEM certificates is wanted: No such"),
        (["--endpoint", "a", "--ca-file", __file__], "--ca-file: a file of PEM certificates is wanted: "),
        (["--endpoint", "a", "--region", "us-east-1a"], "availability zone of us-east-1"),
        (["--endpoint", "a", "--password", "hunter2"], "usage"),
    ],
)
def test_wrong_usage(capsys, monkeypatch, options, says):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    assert iamcacheauth.main(["check", "elasticache", "my-iam-user", "my-cache", *options]) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert re.fullmatch("iamcacheauth: .*\n", stderr)
    assert says in stderr
    assert "hunter2" not in stderr


def test_an_endpoint_for_the_name(capsys):
    name = "my-cache-x2e9hv.serverless.use1.cache.amazonaws.com"
    arguments = ["check", "elasticache", "me", name, "--region", "us-east-1", "--endpoint", name]
    assert iamcacheauth.main(arguments) == 2
    assert capsys.readouterr() == (
        "",
        "iamcacheauth: cache: the name of the cache is wanted, not its endpoint or ARN; it is probably 'my-cache'; "
        "or use for_endpoint\n",
    )


def test_interrupted(cache, check, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(socket, "getaddrinfo", interrupt)
    assert check("localhost", status=130) == SIGNED


def test_a_name_without_addresses(monkeypatch, capsys):
    for variable, value in KEYS.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    arguments = ["check", "elasticache", "my-iam-user", "my-cache", "--region", "us-east-1", "--endpoint", "localhost"]
    assert iamcacheauth.main(arguments) == 1
    assert "the connection failed" in capsys.readouterr().out
