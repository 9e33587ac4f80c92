"""Where the environment's credentials come from: each source as its platform sets it up, and the order among them.

The servers of support/loopback.py refuse whatever the real ones would; that they do comes first.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import ssl
import sys
from pathlib import Path

import pytest
from support.asking import failure, fields, retrieve
from support.examples import ACCESS_KEY, NOON, SECRET_KEY, read
from support.loopback import CA_FILE, ROLE_ARN, Container, Imds, Sts, iso8601, late, reply, silence, sts_error
from support.namespace import run_pytest_in_namespace
from support.subject import iamcacheauth

CredentialsError = iamcacheauth.CredentialsError

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver")

STATIC = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
RELATIVE_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
AUTHORIZATION = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
AUTHORIZATION_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
AUTHORIZED_BY = {"no authorization": None, "authorization": "Basic dG9rZW4="}


# --- the servers are strict ---


def status(server, method, target, headers=None, body=None):
    if server.tls:
        context = ssl.create_default_context(cafile=CA_FILE)
        client = http.client.HTTPSConnection(*server.server_address, context=context, timeout=20)
    else:
        client = http.client.HTTPConnection(*server.server_address, timeout=20)
    client.request(method, target, body, headers or {})
    response = client.getresponse()
    response.read()
    client.close()
    return response.status


TTL = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
ROLES = "/latest/meta-data/iam/security-credentials/"


@pytest.mark.parametrize(
    ("method", "target", "headers", "refusal"),
    [
        ("PUT", "/latest/api/token", {}, 400),
        ("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "21601"}, 400),
        ("PUT", "/latest/api/token", {**TTL, "X-Forwarded-For": "127.0.0.1"}, 403),
        ("GET", "/latest/api/token", TTL, 405),
        ("GET", ROLES, {}, 401),
        ("GET", ROLES, {"X-aws-ec2-metadata-token": "made-up"}, 401),
        ("GET", ROLES + Imds.role, {}, 401),
        ("GET", ROLES + "another", {"X-aws-ec2-metadata-token": Imds.session_token}, 404),
        ("GET", ROLES + Imds.role, {"X-aws-ec2-metadata-token": Imds.session_token}, 200),
    ],
)
def test_instance_metadata_server_is_strict(imds, method, target, headers, refusal):
    assert status(imds, method, target, headers) == refusal


GOOD_HEADERS = {"Accept": "application/json", "Authorization": Container.authorization}


@pytest.mark.parametrize(
    ("target", "headers", "refusal"),
    [
        (Container.target, {"Accept": "application/json"}, 401),
        (Container.target, {**GOOD_HEADERS, "Authorization": "another"}, 401),
        (Container.target, {**GOOD_HEADERS, "Accept": "*/*"}, 406),
        (Container.target, {**GOOD_HEADERS, "Via": "1.1 proxy"}, 403),
        ("http://127.0.0.1" + Container.target, GOOD_HEADERS, 400),
        ("/", GOOD_HEADERS, 404),
        (Container.target, GOOD_HEADERS, 200),
    ],
)
def test_container_server_is_strict(container, target, headers, refusal):
    assert status(container, "GET", target, headers) == refusal


FORM = (
    f"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={ROLE_ARN}&RoleSessionName=tests"
    f"&WebIdentityToken={Sts.token}"
)
FORM_TYPE = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("method", "headers", "form", "refusal"),
    [
        ("GET", FORM_TYPE, FORM, 405),
        ("POST", {}, FORM, 400),
        ("POST", {**FORM_TYPE, "Authorization": "AWS4-HMAC-SHA256"}, FORM, 400),
        ("POST", {**FORM_TYPE, "X-Amz-Date": "20260102T030405Z"}, FORM, 400),
        ("POST", FORM_TYPE, FORM + "&X-Amz-Signature=00", 400),
        ("POST", FORM_TYPE, FORM + "&Action=AssumeRoleWithWebIdentity", 400),
        ("POST", FORM_TYPE, FORM.replace("2011", "2012"), 400),
        ("POST", FORM_TYPE, FORM.replace("tests", "white+space"), 400),
        ("POST", FORM_TYPE, FORM + "x", 400),
        ("POST", FORM_TYPE, FORM, 200),
    ],
)
def test_sts_server_is_strict(sts, method, headers, form, refusal):
    assert status(sts, method, "/", headers, form) == refusal


# --- every source ---


HEADERS = {  # of each request, in the capitals of the documentation, and nothing else
    Sts: ["Content-Length Content-Type"],
    Container: ["Accept Authorization"],
    Imds: ["Content-Length X-aws-ec2-metadata-token-ttl-seconds", *["X-aws-ec2-metadata-token"] * 2],
}


def test_every_source(server):
    assert fields(retrieve(server.environ)) == server.issued
    hosts = {(request.headers["Host"], request.headers["Connection"]) for request in server.requests}
    assert hosts == {("{}:{}".format(*server.server_address), "close")}
    always = ["Accept-Encoding", "Connection", "Host"]
    found = [sorted(request.headers) for request in server.requests]
    assert found == [sorted([*always, *headers.split()]) for headers in HEADERS[type(server)]]


def test_the_longest_answer(container):
    container.faults["credentials"] = iter([reply(200, json.dumps(container.issued).ljust(65536))])
    assert fields(retrieve(container.environ)) == container.issued


def test_tokens_are_signed_with_what_was_fetched(server, monkeypatch):
    for variable, value in server.environ.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    auth = iamcacheauth.ElastiCacheAuth("iam-user", "my-cache", region="us-east-1")
    params = [read(auth.token())[1] for _ in range(3)]
    assert {found["X-Amz-Security-Token"] for found in params} == {server.issued["Token"]}
    assert len(server.requests) == (3 if isinstance(server, Imds) else 1)


def test_a_renewal_reads_the_environment_and_its_files_again(server, clock):
    server.issued["Expiration"] = iso8601(NOON + 3600)
    environ = server.environ
    provider = iamcacheauth.EnvironmentCredentials(environ, timeout=20)
    provider()
    clock.now = NOON + 3600
    server.issued.update(Token="the-second", Expiration=iso8601(NOON + 7200))
    if isinstance(server, Sts):
        server.token = "the.second.token"
        server.token_file.write_text(server.token)
    if isinstance(server, Container):
        server.authorization = "the second"
        environ[AUTHORIZATION] = server.authorization
    assert fields(provider()) == server.issued


def test_another_configuration_gets_its_own_credentials():
    environ = {}
    provider = iamcacheauth.EnvironmentCredentials(environ, timeout=20)
    with Container() as first, Container() as second:
        second.issued["Token"] = "of-the-second"
        for server in (first, second, first):
            environ.update(server.environ)
            assert provider().token == server.issued["Token"]
    assert [len(server.requests) for server in (first, second)] == [2, 1]  # what belonged to the old one is let go
    environ.update(STATIC)
    assert provider().token is None


def test_another_role_gets_its_own_credentials(sts):
    environ = sts.environ
    provider = iamcacheauth.EnvironmentCredentials(environ, timeout=20)
    provider()
    environ["AWS_ROLE_ARN"] = ROLE_ARN + "-of-others"
    with pytest.raises(CredentialsError, match="HTTP status 403"):
        provider()


# --- order ---


def test_order(container, imds, sts, resolver):
    """Over every combination of sources that are configured, the first one is used and no other is asked."""
    with Container() as relative:
        relative.issued["Token"] = "of-the-relative-URI"
        resolver.routes["169.254.170.2", 80] = relative
        sources = [  # as the facts have them, the first one first
            (STATIC, None),
            (sts.environ, sts),
            ({**container.environ, RELATIVE_URI: relative.target}, relative),
            (container.environ, container),
            (imds.environ, imds),
        ]
        for chosen in itertools.product((True, False), repeat=len(sources)):
            configured = [source for source, use in zip(sources, chosen) if use]
            environ = {} if chosen[-1] else {"AWS_EC2_METADATA_DISABLED": "true"}
            for variables, _ in configured:
                environ.update(variables)
            if not configured:
                assert "AWS_EC2_METADATA_DISABLED" in failure(environ)
                continue
            server = configured[0][1]
            for each in (sts, relative, container, imds):
                each.requests.clear()
            assert retrieve(environ).token == (server.issued["Token"] if server else None)
            assert [each for each in (sts, relative, container, imds) if each.requests] == ([server] if server else [])


def test_empty_is_unset(imds):
    unset = f"""AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_CREDENTIAL_EXPIRATION
        AWS_WEB_IDENTITY_TOKEN_FILE AWS_ROLE_ARN {RELATIVE_URI} {FULL_URI} AWS_EC2_METADATA_DISABLED
        AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE AWS_METADATA_SERVICE_TIMEOUT AWS_METADATA_SERVICE_NUM_ATTEMPTS"""
    assert fields(retrieve({**dict.fromkeys(unset.split(), ""), **imds.environ})) == imds.issued


def test_a_source_that_fails_is_the_end(container, imds, sts):
    """Going on would silently sign as someone else."""
    broken = itertools.repeat(reply(403))
    container.faults["credentials"] = sts.faults["credentials"] = imds.faults["credentials"] = broken
    everything = {**imds.environ, **container.environ, **sts.environ}
    assert failure({**everything, "AWS_ACCESS_KEY_ID": ACCESS_KEY}).startswith("static keys: AWS_SECRET_ACCESS_KEY")
    assert failure(everything).startswith("web identity (AWS_WEB_IDENTITY_TOKEN_FILE): ")
    assert (container.requests, imds.requests) == ([], [])
    assert failure({**imds.environ, **container.environ}).startswith(f"container credentials ({FULL_URI}): ")
    assert failure({**imds.environ, RELATIVE_URI: "/"}).startswith(f"container credentials ({RELATIVE_URI}): ")
    assert imds.requests == []
    assert failure(imds.environ).startswith("EC2 instance metadata (AWS_EC2_METADATA_SERVICE_ENDPOINT): ")


NOTHING_SET = (
    "no credentials: none of AWS_ACCESS_KEY_ID, AWS_WEB_IDENTITY_TOKEN_FILE, AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
    " and AWS_CONTAINER_CREDENTIALS_FULL_URI is set"
)


def test_nothing_configured():
    assert failure({}) == (
        "EC2 instance metadata: 169.254.169.254: the host name does not resolve"
        f" (from inside a container, the instance's metadata hop limit must be 2 or more); {NOTHING_SET}"
    )


# --- web identity ---


def form_of(request):
    return dict(pair.split("=") for pair in request.body.decode().split("&"))


def test_session_name(sts):
    retrieve(sts.environ)
    assert re.fullmatch("iamcacheauth-[0-9]+", form_of(sts.requests[0])["RoleSessionName"])
    sts.session_name = "of_mine+=,.@-"
    retrieve({**sts.environ, "AWS_ROLE_SESSION_NAME": sts.session_name})


def test_the_token_file_may_end_with_a_line_break(sts):
    for ending in ("", "\n", "\r\n", "\n\n"):
        sts.token_file.write_bytes(sts.token.encode() + ending.encode())
        assert fields(retrieve(sts.environ)) == sts.issued


@pytest.mark.parametrize("length", [1, 65536])
def test_length_of_the_token(sts, length):
    sts.token = "x" * length
    sts.token_file.write_text(sts.token)
    assert fields(retrieve(sts.environ)) == sts.issued


def test_role_is_needed(sts):
    environ = sts.environ
    del environ["AWS_ROLE_ARN"]
    assert failure(environ) == "web identity (AWS_WEB_IDENTITY_TOKEN_FILE): AWS_ROLE_ARN is not set"
    assert sts.requests == []


def test_sts_endpoint_variables(sts):
    wrong = "https://127.0.0.1:1"
    environ = {**sts.environ, "AWS_REGION": "us-east-1"}
    assert fields(retrieve({**environ, "AWS_ENDPOINT_URL": wrong})) == sts.issued
    del environ["AWS_ENDPOINT_URL_STS"]
    assert fields(retrieve({**environ, "AWS_ENDPOINT_URL": sts.url + "/"})) == sts.issued
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in failure(
        {**environ, "AWS_ENDPOINT_URL_STS": wrong, "AWS_ENDPOINT_URL": sts.url}
    )


@pytest.mark.parametrize(
    ("region", "host"),
    [
        (None, "sts.amazonaws.com"),
        ("us-east-1", "sts.us-east-1.amazonaws.com"),
        ("eu-central-1", "sts.eu-central-1.amazonaws.com"),
        ("us-gov-west-1", "sts.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "sts.cn-north-1.amazonaws.com.cn"),
        ("us-iso-east-1", "sts.us-iso-east-1.c2s.ic.gov"),
        ("us-isob-east-1", "sts.us-isob-east-1.sc2s.sgov.gov"),
        ("eu-isoe-west-1", "sts.eu-isoe-west-1.cloud.adc-e.uk"),
        ("us-isof-south-1", "sts.us-isof-south-1.csp.hci.ic.gov"),
        ("eusc-de-east-1", "sts.eusc-de-east-1.amazonaws.eu"),
    ],
)
def test_sts_of_the_region(sts, resolver, region, host):
    """The certificate of the test authority names all of these hosts."""
    resolver.routes[host, 443] = sts
    environ = sts.environ
    del environ["AWS_ENDPOINT_URL_STS"]
    settings = [{"AWS_DEFAULT_REGION": region}, {"AWS_REGION": region, "AWS_DEFAULT_REGION": "eu-west-1"}]
    for setting in settings if region else [{}]:
        assert fields(retrieve({**environ, **setting})) == sts.issued
    assert {request.headers["Host"] for request in sts.requests} == {host}


def test_sts_over_plain_http_only_on_this_machine(resolver):
    with Sts(plain=True) as sts:
        port = sts.server_address[1]
        for host in ("127.0.0.1", "localhost", "LOCALHOST", "127.8.9.10"):
            resolver.routes["127.8.9.10", port] = sts
            assert fields(retrieve({**sts.environ, "AWS_ENDPOINT_URL_STS": f"http://{host}:{port}"})) == sts.issued
        resolver.asked.clear()
        for variable in ("AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"):
            environ = {**sts.environ, "AWS_ENDPOINT_URL_STS": "", variable: "http://sts.amazonaws.com"}
            assert f"{variable}: https is wanted" in failure(environ)
    assert resolver.asked == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (sts_error(403, "AccessDenied", "Not authorized:\n sts:AssumeRole…"), ": Not authorized: sts:AssumeRole…"),
        (reply(403, "<Error><Code>AccessDenied</Code><Message>No namespace</Message></Error>"), ": No namespace"),
        (reply(403, "<Error><Code>AccessDenied</Code></Error>"), ""),
    ],
)
def test_what_sts_says_is_passed_on(sts, answer, said):
    sts.faults["credentials"] = iter([answer])
    assert failure(sts.environ).endswith(f": HTTP status 403, AccessDenied{said}")
    assert len(sts.requests) == 1


# --- container endpoint ---


@pytest.mark.parametrize("authorization", AUTHORIZED_BY.values(), ids=AUTHORIZED_BY)
def test_relative_uri(container, resolver, authorization):
    """As ECS and Fargate set it."""
    container.authorization = authorization
    resolver.routes["169.254.170.2", 80] = container
    environ = {RELATIVE_URI: container.target, FULL_URI: "http://127.0.0.1:1/never"}
    assert (
        fields(retrieve({**environ, **({AUTHORIZATION: authorization} if authorization else {})})) == container.issued
    )
    assert container.requests[0].headers["Host"] == "169.254.170.2"


@pytest.mark.parametrize("authorization", AUTHORIZED_BY.values(), ids=AUTHORIZED_BY)
def test_full_uri(container, authorization):
    container.authorization = authorization
    assert fields(retrieve(container.environ)) == container.issued


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.1.2.3", "localhost", "LocalHost", "169.254.170.2", "169.254.170.23"]
)
def test_plain_http_to_this_machine_and_its_agents(container, resolver, address):
    resolver.routes[address.lower(), 8080] = container
    environ = {**container.environ, FULL_URI: f"http://{address}:8080{container.target}"}
    assert fields(retrieve(environ)) == container.issued
    assert container.requests[0].headers["Host"].lower() == f"{address.lower()}:8080"


@pytest.mark.parametrize("address", ["fd00:ec2::23", "::1"])
def test_plain_http_over_ipv6(container, resolver, address):
    """As EKS Pod Identity sets it, without a port: the last group of the address is none."""
    resolver.routes[address, 80] = container
    environ = {**container.environ, FULL_URI: f"http://[{address}]{container.target}"}
    assert fields(retrieve(environ)) == container.issued
    assert container.requests[0].headers["Host"] == f"[{address}]"


def test_https_to_anywhere(sts, container, resolver):
    container.tls = sts.tls
    resolver.routes["credentials.example", 443] = container
    environ = {**container.environ, FULL_URI: f"https://credentials.example{container.target}"}
    assert fields(retrieve({**environ, "AWS_CA_BUNDLE": CA_FILE})) == container.issued
    assert "certificate" in failure(environ)


def test_authorization_file_wins(container, tmp_path):
    """As EKS Pod Identity sets it."""
    file = tmp_path / "token"
    file.write_text(container.authorization)
    environ = {**container.environ, AUTHORIZATION: "another", AUTHORIZATION_FILE: str(file)}
    assert fields(retrieve(environ)) == container.issued


# --- instance metadata ---


def test_instance_metadata_over_tls(imds, sts):
    imds.tls = sts.tls
    assert fields(retrieve({**imds.environ, "AWS_CA_BUNDLE": CA_FILE})) == imds.issued


def test_instance_metadata_requests(imds):
    retrieve(imds.environ)
    assert [(request.method, request.target) for request in imds.requests] == [
        ("PUT", "/latest/api/token"),
        ("GET", ROLES),
        ("GET", ROLES + imds.role),
    ]
    assert imds.requests[0].headers["X-aws-ec2-metadata-token-ttl-seconds"] == "21600"


def test_role_names(imds):
    for imds.role in ("a", "with+=,.@_-", "x" * 64, "not/IAM's?but#safe%41&"):
        assert fields(retrieve(imds.environ)) == imds.issued


@pytest.mark.parametrize(
    ("setting", "host"),
    [
        ({}, "169.254.169.254"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "ipv4"}, "169.254.169.254"),
        ({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "IPv6"}, "[fd00:ec2::254]"),
    ],
)
def test_instance_metadata_address(imds, resolver, setting, host):
    assert failure(setting).startswith(f"EC2 instance metadata: {host}: ")
    resolver.routes[host.strip("[]"), 80] = imds
    assert fields(retrieve(setting)) == imds.issued
    assert imds.requests[0].headers["Host"] == host


def test_instance_metadata_at_any_host(imds, resolver):
    resolver.routes["metadata.lux", 80] = imds
    assert fields(retrieve({"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://METADATA.LUX"})) == imds.issued


@pytest.mark.parametrize("ending", ["", "/", "//"])
def test_instance_metadata_endpoint_wins_over_its_mode(imds, ending):
    environ = {
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url + ending,
        "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "ipv6",
    }
    assert fields(retrieve(environ)) == imds.issued


@pytest.mark.parametrize("disabled", ["true", "True", "TRUE"])
def test_instance_metadata_disabled(imds, disabled):
    message = failure({**imds.environ, "AWS_EC2_METADATA_DISABLED": disabled})
    assert message.endswith(f": {NOTHING_SET}, and AWS_EC2_METADATA_DISABLED rules this out")
    assert imds.requests == []


@pytest.mark.parametrize("disabled", ["false", "1", "yes"])
def test_instance_metadata_not_disabled(imds, disabled):
    assert fields(retrieve({**imds.environ, "AWS_EC2_METADATA_DISABLED": disabled})) == imds.issued


@pytest.mark.parametrize("variable", ["AWS_METADATA_SERVICE_TIMEOUT", "AWS_METADATA_SERVICE_NUM_ATTEMPTS"])
@pytest.mark.parametrize("value", ["0", "-1", "a few", "1e3", "٣", "1 2", "10000", "9" * 5000])
def test_instance_metadata_numbers(imds, variable, value):
    message = failure({**imds.environ, variable: value})
    assert message.endswith(f": {variable}: a whole number from 1 to 9999 is wanted")
    assert imds.requests == []


def test_instance_metadata_mode(resolver):
    message = failure({"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "ipv5"})
    assert message == "EC2 instance metadata: AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: ipv4 or ipv6 is wanted"
    assert resolver.asked == []


def test_unanswered_instance_metadata_hints_at_the_hop_limit(imds):
    imds.faults["connection"] = itertools.repeat(silence)
    assert failure(imds.environ, timeout=0.2).endswith(
        f": {imds.url.partition('//')[2]}: no complete answer in time"
        " (from inside a container, the instance's metadata hop limit must be 2 or more)"
    )


def test_an_instance_without_a_role(imds):
    imds.faults["role"] = itertools.repeat(reply(404))
    assert failure(imds.environ).endswith(": HTTP status 404; the instance has no role")


@pytest.mark.parametrize("status", [403, 404, 405])
def test_somebody_else_at_the_metadata_address(imds, resolver, status):
    """Other clouds have something else there: what is wrong is that nothing is configured."""
    resolver.routes["169.254.169.254", 80] = imds
    imds.faults["token"] = itertools.repeat(reply(status))
    assert failure({}) == f"EC2 instance metadata: 169.254.169.254: HTTP status {status}; {NOTHING_SET}"


# --- attempts: what is tried again, and when, is in test_retries.py ---


@pytest.mark.parametrize("operation", ["token", "role", "credentials"])
def test_instance_metadata_attempts(imds, operation):
    imds.faults[operation] = iter([reply(500)])
    assert "500" in failure(imds.environ)
    imds.faults[operation] = iter([reply(500), reply(500)])
    environ = {**imds.environ, "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "3"}
    assert fields(retrieve(environ)) == imds.issued
    imds.faults[operation] = iter([reply(500), reply(500), reply(500)])
    assert "500" in failure(environ)


def test_one_attempt_does_not_use_up_the_time_of_the_next(imds, container, sts):
    """One second for an attempt at instance metadata, two for one at containers, a third of the time for STS."""
    imds.faults["connection"] = iter([silence])
    environ = {**imds.environ, "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "2"}
    assert fields(retrieve(environ, timeout=1.95)) == imds.issued
    container.faults["connection"] = iter([silence])
    assert fields(retrieve(container.environ, timeout=3.95)) == container.issued
    sts.faults["connection"] = iter([silence])
    assert fields(retrieve(sts.environ, timeout=3)) == sts.issued


def test_container_timeout(container):
    """An answer after one and a half seconds is not too late, though half of the time is gone."""
    container.faults["credentials"] = itertools.repeat(late(1.5, reply(200, json.dumps(container.issued))))
    assert fields(retrieve(container.environ, timeout=3)) == container.issued


def test_instance_metadata_timeout(imds):
    """With hours for an attempt, an answer after one and a half seconds is not too late."""
    imds.faults["token"] = itertools.repeat(late(1.5, reply(200, imds.session_token)))
    assert "time" in failure(imds.environ)
    assert fields(retrieve({**imds.environ, "AWS_METADATA_SERVICE_TIMEOUT": "9999"}, timeout=60)) == imds.issued


# --- the real addresses ---


LINK_LOCAL = Path(__file__).parent / "support" / "link_local.py"


def test_link_local_addresses():
    run_pytest_in_namespace(LINK_LOCAL, "not commands")


@pytest.mark.commands
def test_link_local_addresses_on_the_command_line():
    run_pytest_in_namespace(LINK_LOCAL, "commands")


def test_a_missing_module_that_this_source_does_without(monkeypatch, container):
    """Such as what only proxies take."""
    monkeypatch.setitem(sys.modules, "base64", None)
    assert iamcacheauth.EnvironmentCredentials(container.environ)().access_key
