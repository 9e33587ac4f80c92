"""The gate lets in what the service lets in and refuses what it refuses, shown with tokens that botocore signs."""

import contextlib
import re
import socket
import ssl
import time
from urllib.parse import quote

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from gate import ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, TEMPORARY_ACCESS_KEY, Cache, Gate, sigv4

REFUSAL = "-WRONGPASS invalid username-password pair or user is disabled."
USER = "my-iam-user"
SERVERLESS = ("ResourceType", "ServerlessCache")


@contextlib.contextmanager
def connection(gate):
    """A function that sends lines, all at once, and returns the first line of the reply to each."""
    context = ssl.create_default_context(cafile=gate.ca_file)
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_connection((gate.host, gate.port)))
        tls = stack.enter_context(context.wrap_socket(tcp, server_hostname=gate.host))
        file = stack.enter_context(tls.makefile("rw", newline="\r\n"))

        def ask(*lines):
            file.write("".join(f"{line}\r\n" for line in lines))
            file.flush()
            replies = [file.readline().rstrip("\r\n") for _ in lines]
            return replies if len(replies) > 1 else replies[0]

        yield ask


def login(gate, token, user=USER):
    with connection(gate) as ask:
        return ask(f"AUTH {user} {token}")


def timestamp(offset=0.0):
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + offset))


def signed(host="my-cache", *extra, offset=0.0, date=None, service="elasticache", region="us-east-1", **changes):
    """A token with a signature that fits what it says; a change to None leaves a parameter out."""
    secret_key = changes.pop("secret_key", SECRET_KEY)
    access_key = changes.pop("access_key", ACCESS_KEY)
    signed_at = timestamp(offset)
    parameters = {
        "Action": "connect",
        "User": USER,
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{access_key}/{date or signed_at[:8]}/{region}/{service}/aws4_request",
        "X-Amz-Date": signed_at,
        "X-Amz-Expires": "900",
        "X-Amz-SignedHeaders": "host",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    pairs = [(name, value) for name, value in parameters.items() if value is not None] + list(extra)
    signature = sigv4(host, pairs, secret_key, service, region, parameters["X-Amz-Date"])
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in [*pairs, ("X-Amz-Signature", signature)])
    return f"{host}/?{query}"


def presigned_by_botocore(url, service, access_key=ACCESS_KEY, session_token=None):
    credentials = botocore.credentials.Credentials(access_key, SECRET_KEY, session_token)
    request = botocore.awsrequest.AWSRequest("GET", url)
    botocore.auth.SigV4QueryAuth(credentials, service, "us-east-1", expires=900).add_auth(request)
    return request.url.replace("https://", "")


REPLICATION_GROUP = Cache()
SERVERLESS_CACHE = Cache(serverless=True)
MEMORYDB = Cache(service="memorydb")


@pytest.mark.parametrize(
    ("cache", "url", "keys"),
    [
        (REPLICATION_GROUP, "https://my-cache/?Action=connect&User=my-iam-user", (ACCESS_KEY, None)),
        (REPLICATION_GROUP, "https://my-cache/?Action=connect&User=my-iam-user", (TEMPORARY_ACCESS_KEY, SESSION_TOKEN)),
        (
            SERVERLESS_CACHE,
            "https://my-cache/?Action=connect&User=my-iam-user&ResourceType=ServerlessCache",
            (ACCESS_KEY, None),
        ),
        (MEMORYDB, "https://my-cache/?Action=connect&User=my-iam-user", (ACCESS_KEY, None)),
    ],
)
def test_tokens_that_botocore_presigns_are_let_in(redis, cache, url, keys):
    with Gate(cache, redis) as gate:
        assert login(gate, presigned_by_botocore(url, cache.service, *keys)) == "+OK"
        assert len(gate.logins) == 1


@pytest.mark.parametrize("offset", [-840, 240])
def test_tokens_inside_their_time_are_let_in(gate, offset):
    assert login(gate, signed(offset=offset)) == "+OK"


# Name: the gate's reason, and what makes the token when its test runs.
FORGED = {
    "no token at all": ("not a token", lambda: "secret"),
    "endpoint as the name": ("host", lambda: signed("master.my-cache.abc123.use1.cache.amazonaws.com")),
    "upper case": ("host", lambda: signed("My-Cache")),
    "another cache": ("host", lambda: signed("other-cache")),
    "a scheme": ("host", lambda: "http://" + signed()),
    "another action": ("Action", lambda: signed(Action="disconnect")),
    "another user": ("another user's token", lambda: signed(User="somebody")),
    "serverless": ("ResourceType", lambda: signed("my-cache", SERVERLESS)),
    "unknown access key": ("unknown access key", lambda: signed(access_key="AKIAI44QH8DHBEXAMPLE")),
    "session token lost": ("session token", lambda: signed(access_key=TEMPORARY_ACCESS_KEY)),
    "another session's token": (
        "session token",
        lambda: signed("my-cache", ("X-Amz-Security-Token", SESSION_TOKEN[::-1]), access_key=TEMPORARY_ACCESS_KEY),
    ),
    "session token with a permanent key": (
        "session token",
        lambda: signed("my-cache", ("X-Amz-Security-Token", SESSION_TOKEN)),
    ),
    "another region": ("scope", lambda: signed(region="us-west-2")),
    "another service": ("scope", lambda: signed(service="memorydb")),
    "yesterday's scope": ("scope", lambda: signed(date=timestamp(-86400)[:8])),
    "another algorithm": ("algorithm", lambda: signed(X_Amz_Algorithm="AWS4-HMAC-SHA1")),
    "no signed header": ("signed headers", lambda: signed(X_Amz_SignedHeaders="")),
    "lives too long": ("X-Amz-Expires", lambda: signed(X_Amz_Expires="3600")),
    "without end": ("X-Amz-Expires", lambda: signed(X_Amz_Expires=None)),
    "one parameter more": ("parameters", lambda: signed("my-cache", ("Version", "1"))),
    "a parameter twice": ("not a token", lambda: signed("my-cache", ("User", USER))),
    "no time": ("X-Amz-Date", lambda: signed(X_Amz_Date="today")),
    "expired": ("expired", lambda: signed(offset=-960)),
    "from the future": ("not yet valid", lambda: signed(offset=360)),
    "another secret key": ("signature", lambda: signed(secret_key=SECRET_KEY[::-1])),
    "time moved on": ("signature", lambda: re.sub(r"X-Amz-Date=\w+", f"X-Amz-Date={timestamp()}", signed(offset=-60))),
    "no signature": ("signature", lambda: signed().partition("&X-Amz-Signature")[0]),
    "signature cut off": ("signature", lambda: signed()[:-1]),
    "not ASCII": ("signature", lambda: signed()[:-1] + "é"),
}


@pytest.mark.parametrize(("reason", "forged"), FORGED.values(), ids=FORGED)
def test_forged_tokens_are_refused(gate, reason, forged):
    assert login(gate, forged()) == REFUSAL
    assert gate.refusals == [reason]
    assert gate.logins == []


def test_a_serverless_cache_wants_its_resource_type(redis):
    with Gate(SERVERLESS_CACHE, redis) as gate:
        assert login(gate, signed()) == REFUSAL
        assert login(gate, signed("my-cache", ("ResourceType", "Serverless"))) == REFUSAL
        assert gate.refusals == ["ResourceType"] * 2
        assert login(gate, signed("my-cache", SERVERLESS)) == "+OK"


def test_a_user_that_the_cache_does_not_have_is_refused(gate):
    assert login(gate, signed(User="somebody"), "somebody") == REFUSAL
    with connection(gate) as ask:
        assert ask(f"AUTH {signed(User='default')}") == REFUSAL
    assert gate.refusals == ["unknown user"] * 2


def test_time_goes_by_the_gates_clock(gate):
    gate.clock_offset = 1000
    assert login(gate, signed()) == REFUSAL
    assert login(gate, signed(offset=1000)) == "+OK"
    gate.clock_offset = -1000
    assert login(gate, signed()) == REFUSAL
    assert gate.refusals == ["expired", "not yet valid"]


@pytest.mark.parametrize("hello", ["HELLO 2 AUTH", "HELLO 3 AUTH", "hello 3 setname me auth"])
def test_hello_logs_in(gate, hello):
    with connection(gate) as ask:
        assert ask(f"{hello} {USER} {signed(offset=-960)}") == REFUSAL
        assert ask("PING").startswith("-NOAUTH")
        assert ask(f"{hello} {USER} {signed()}")[0] == ("*" if "2" in hello else "%")
    assert gate.refusals == ["expired"]


def test_nothing_but_a_login_is_answered_before_it(gate):
    with connection(gate) as ask:
        assert ask("GET key") == "-NOAUTH Authentication required."
        assert ask("HELLO 3").startswith("-NOAUTH")
        assert ask("MULTI") == "-NOAUTH Authentication required."
        assert ask(f"AUTH {USER} {signed()}", "PING") == ["+OK", "+PONG"]


def test_refusals_come_in_their_place_among_pipelined_replies(gate):
    with connection(gate) as ask:
        good, bad = f"AUTH {USER} {signed()}", f"AUTH {USER} {signed('another')}"
        assert ask("PING", bad, good, bad, "PING") == [
            "-NOAUTH Authentication required.",
            REFUSAL,
            "+OK",
            REFUSAL,
            "+PONG",
        ]


def test_no_login_inside_multi(gate):
    with connection(gate) as ask:
        again = f"AUTH {USER} {signed()}"
        assert ask(again, "MULTI", again) == ["+OK", "+OK", REFUSAL]
        assert ask("EXEC").startswith("-EXECABORT")
        assert ask("MULTI", "DISCARD", again) == ["+OK", "+OK", "+OK"]
    assert gate.refusals == ["inside MULTI"]


def test_plaintext_gets_no_answer(gate):
    with socket.create_connection((gate.host, gate.port)) as plain:
        plain.sendall(b"PING\r\n")
        with contextlib.suppress(ConnectionError):
            assert plain.recv(100)[:1] not in (b"+", b"-")
    assert gate.logins == []


def test_its_certificate_is_for_its_host_and_from_its_own_authority(gate):
    with socket.create_connection((gate.host, gate.port)) as tcp, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(tcp, server_hostname=gate.host)


def test_a_connection_is_cut_a_lifetime_after_its_last_login(redis):
    with Gate(Cache(), redis, lifetime=3) as gate, connection(gate) as renewing, connection(gate) as idle:
        assert idle(f"AUTH {USER} {signed()}") == "+OK"
        for _ in range(2):
            assert renewing(f"AUTH {USER} {signed()}") == "+OK"
            gate.pass_hours()
        assert gate.cuts == 0
        gate.pass_hours()
        assert renewing("PING") == "+PONG"
        assert_cut(idle)
        gate.pass_hours()
        assert_cut(renewing)
        assert gate.cuts == 2


def assert_cut(ask):
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        assert ask("PING") == ""


def test_all_connections_can_be_cut(gate):
    with connection(gate) as ask:
        assert ask(f"AUTH {USER} {signed()}") == "+OK"
        gate.cut_all()
        assert_cut(ask)
    assert gate.cuts == 1


def test_logins_can_be_refused_on_demand(gate):
    gate.refuse_next(2)
    assert [login(gate, signed()) for _ in range(3)] == [REFUSAL, REFUSAL, "+OK"]
    assert gate.refusals == ["on demand"] * 2


def test_permission_for_a_command_can_be_taken(gate):
    with connection(gate) as ask:
        assert ask(f"AUTH {USER} {signed()}") == "+OK"
        gate.forbid("get")
        assert ask("GET key").startswith("-NOPERM")
        gate.permit("get")
        assert ask("GET key") == "$-1"


def test_logins_are_remembered(gate):
    tokens = [signed(offset=-1), signed()]
    for token in tokens:
        login(gate, token)
    assert [(login.user, login.token) for login in gate.logins] == [(USER, token) for token in tokens]
