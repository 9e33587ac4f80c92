"""Which STS is asked: by region, by setting, and through which proxy."""

from __future__ import annotations

import asyncio
import base64
import itertools
import socket
import time

import pytest
from support.asking import LONG, SHORT, SOURCES, failure, fields, pieces_of, refused, retrieve
from support.callers import CALLERS
from support.examples import TEMPORARY
from support.loopback import CA_FILE, Container, Sts, drip, flood, raw, reply, silence, told
from support.proxy import Proxy
from support.roles import FAR_ROLE, RoleSts
from support.subject import iamcacheauth
from support.waiting import SLACK

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver", "no_proxies", "no_pauses")

STS_SOURCE = SOURCES[Sts]


@pytest.fixture
def no_proxies(monkeypatch):
    for variable in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.lower(), raising=False)


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(iamcacheauth.time, "sleep", lambda seconds: None)


@pytest.fixture
def web_identity(sts):
    """The variables without those that lead to a server of ours."""
    return {name: value for name, value in sts.environ.items() if name != "AWS_ENDPOINT_URL_STS"}


@pytest.fixture
def process(monkeypatch):
    """Put variables into the environment of this process."""
    return lambda settings: [monkeypatch.setenv(*setting) for setting in settings.items()]


def sts_asked(resolver, environ, **options):
    """The host that a chain looks for, which this machine does not know."""
    resolver.asked.clear()
    message = refused(iamcacheauth.EnvironmentCredentials(environ, timeout=LONG, **options))
    (asked,) = set(resolver.asked)
    assert asked[1] == 443
    assert f"{asked[0]}: " in message
    return asked[0]


# --- region ---

REGIONS = {
    "us-east-1": "sts.us-east-1.amazonaws.com",
    "eu-central-1": "sts.eu-central-1.amazonaws.com",
    "us-gov-west-1": "sts.us-gov-west-1.amazonaws.com",
    "cn-north-1": "sts.cn-north-1.amazonaws.com.cn",
    "us-iso-east-1": "sts.us-iso-east-1.c2s.ic.gov",
    "us-isob-east-1": "sts.us-isob-east-1.sc2s.sgov.gov",
    "eu-isoe-west-1": "sts.eu-isoe-west-1.cloud.adc-e.uk",
    "us-isof-south-1": "sts.us-isof-south-1.csp.hci.ic.gov",
    "eusc-de-east-1": "sts.eusc-de-east-1.amazonaws.eu",
}
GENERATORS = {
    "ElastiCache": lambda region: iamcacheauth.ElastiCacheAuth("user", "cache", region=region),
    "MemoryDB": lambda region: iamcacheauth.MemoryDBAuth("user", "cluster", region=region),
}
if hasattr(iamcacheauth, "for_endpoint"):
    GENERATORS["for_endpoint"] = lambda region: iamcacheauth.for_endpoint(
        "user", f"my-cache-ab1cde.serverless.{CODES[region]}.cache.amazonaws.com{'.cn' * region.startswith('cn')}"
    )
CODES = {"cn-north-1": "cnn1", "eu-central-1": "euc1"}


@pytest.mark.parametrize(("region", "host"), REGIONS.items())
def test_the_region_that_is_given(web_identity, resolver, region, host):
    assert sts_asked(resolver, web_identity, region=region) == host
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        assert sts_asked(resolver, {**web_identity, variable: region}) == host


@pytest.mark.parametrize("generator", GENERATORS.values(), ids=GENERATORS)
@pytest.mark.parametrize("region", CODES)
def test_the_region_of_the_generator(web_identity, process, resolver, generator, region):
    process(web_identity)
    auth = generator(region)
    assert REGIONS[region] in refused(auth.token)
    auth = generator(region)
    with pytest.raises(iamcacheauth.CredentialsError, match=REGIONS[region]):
        asyncio.run(auth.token_async())
    assert {host for host, _ in resolver.asked} == {REGIONS[region]}


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_environment_wins_over_the_generator(web_identity, process, resolver, variable):
    """The cache may be in another region than its clients, whose STS is near and reachable."""
    process({**web_identity, variable: "eu-central-1"})
    refused(iamcacheauth.ElastiCacheAuth("user", "cache", region="cn-north-1").token)
    assert {host for host, _ in resolver.asked} == {REGIONS["eu-central-1"]}
    assert (
        sts_asked(resolver, {**web_identity, variable: "eu-central-1"}, region="cn-north-1")
        == (REGIONS["eu-central-1"])
    )


@pytest.mark.commands
def test_the_region_of_the_command_line(web_identity, process, resolver, capsys):
    process(web_identity)
    assert iamcacheauth.main(["token", "memorydb", "user", "cluster", "--region", "eu-central-1"]) == 1
    assert REGIONS["eu-central-1"] in capsys.readouterr().err
    assert {host for host, _ in resolver.asked} == {REGIONS["eu-central-1"]}


def test_the_region_of_a_role_is_that_of_its_base(web_identity, process, resolver):
    process(web_identity)
    refused(iamcacheauth.AssumedRole(FAR_ROLE, region="eu-central-1"))
    assert {host for host, _ in resolver.asked} == {REGIONS["eu-central-1"]}


def test_without_any_region(web_identity, resolver):
    assert sts_asked(resolver, web_identity) == "sts.amazonaws.com"
    assert sts_asked(resolver, {**web_identity, "AWS_REGION": "", "AWS_DEFAULT_REGION": " "}) == "sts.amazonaws.com"


@pytest.mark.parametrize("kind", CALLERS)
def test_the_region_of_the_generator_whoever_asks(sts, web_identity, process, resolver, kind):
    """The certificate of the test authority names this host, too."""
    process(web_identity)
    resolver.routes[REGIONS["cn-north-1"], 443] = sts
    outcomes = CALLERS[kind](iamcacheauth.ElastiCacheAuth("user", "cache", region="cn-north-1"))
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    assert {request.headers["Host"] for request in sts.requests} == {REGIONS["cn-north-1"]}


@pytest.mark.parametrize(
    "region", ["mars", "us-east-1a", "US-EAST-1", "us-east-1.example.com", "a@b", 1, "", b"us-east-1"]
)
def test_a_region_that_is_none(region):
    with pytest.raises(iamcacheauth.ConfigurationError, match=r"^region: a region is wanted"):
        iamcacheauth.EnvironmentCredentials({}, region=region)
    with pytest.raises(iamcacheauth.ConfigurationError, match=r"^region: a region is wanted"):
        iamcacheauth.AssumedRole(FAR_ROLE, region=region, credentials=TEMPORARY)


# --- FIPS, dual stack, endpoints that are ignored ---

FIPS = {"AWS_USE_FIPS_ENDPOINT": "true"}
DUAL = {"AWS_USE_DUALSTACK_ENDPOINT": "true"}
VARIANTS = [
    (FIPS, "us-east-1", "sts-fips.us-east-1.amazonaws.com"),
    (FIPS, "ca-central-1", "sts-fips.ca-central-1.amazonaws.com"),
    (FIPS, "us-gov-west-1", "sts.us-gov-west-1.amazonaws.com"),  # which is its FIPS endpoint
    (DUAL, "us-east-1", "sts.us-east-1.api.aws"),
    (DUAL, "us-gov-west-1", "sts.us-gov-west-1.api.aws"),
    (DUAL, "cn-north-1", "sts.cn-north-1.api.amazonwebservices.com.cn"),
    (DUAL, "us-iso-east-1", "sts.us-iso-east-1.api.aws.ic.gov"),
    (DUAL, "us-isob-east-1", "sts.us-isob-east-1.api.aws.scloud"),
    (DUAL, "eusc-de-east-1", "sts.eusc-de-east-1.api.amazonwebservices.eu"),
    ({**FIPS, **DUAL}, "us-east-1", "sts-fips.us-east-1.api.aws"),
    ({"AWS_USE_FIPS_ENDPOINT": " TRUE "}, "us-east-1", "sts-fips.us-east-1.amazonaws.com"),
    ({"AWS_USE_DUALSTACK_ENDPOINT": "True"}, "us-east-1", "sts.us-east-1.api.aws"),
    ({"AWS_USE_FIPS_ENDPOINT": "false", "AWS_USE_DUALSTACK_ENDPOINT": ""}, "us-east-1", "sts.us-east-1.amazonaws.com"),
]


@pytest.mark.parametrize(("settings", "region", "host"), VARIANTS)
def test_variants_of_the_endpoint(web_identity, resolver, settings, region, host):
    assert sts_asked(resolver, {**web_identity, **settings, "AWS_REGION": region}) == host
    assert sts_asked(resolver, {**web_identity, **settings}, region=region) == host


def test_an_endpoint_that_is_configured_wins_over_its_variants(sts):
    assert fields(retrieve({**sts.environ, **FIPS, **DUAL, "AWS_REGION": "us-east-1"})) == sts.issued


@pytest.mark.parametrize("value", ["true", "TRUE", " True"])
def test_configured_endpoints_can_be_ignored(sts, resolver, value):
    environ = {**sts.environ, "AWS_ENDPOINT_URL": sts.url, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": value}
    assert sts_asked(resolver, {**environ, "AWS_REGION": "eu-central-1"}) == REGIONS["eu-central-1"]
    assert sts.requests == []


@pytest.mark.parametrize("value", ["false", "", "0", "no"])
def test_configured_endpoints_are_not_ignored(sts, value):
    assert fields(retrieve({**sts.environ, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": value})) == sts.issued


def test_ignoring_endpoints_is_for_services_only(container, imds):
    """Where metadata is, these variables have never said."""
    for server in (container, imds):
        environ = {**server.environ, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}
        assert fields(retrieve(environ)) == server.issued


# --- blanks ---


@pytest.mark.parametrize(("before", "after"), [(" ", ""), ("", " "), ("\t", "\n"), ("  ", "\r\n")])
def test_white_space_around_settings(server, before, after):
    """But an Authorization goes out as it is: a line break in one is refused, not hidden."""
    environ = {name: f"{before}{value}{after}" for name, value in server.environ.items()}
    if isinstance(server, Container):
        environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = server.authorization
    assert fields(retrieve(environ)) == server.issued


@pytest.mark.parametrize("blank", ["", " ", "\t", "\n", "   "])
def test_blank_settings_are_unset(container, blank):
    blanks = """AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_SECURITY_TOKEN AWS_CREDENTIAL_EXPIRATION
        AWS_WEB_IDENTITY_TOKEN_FILE AWS_ROLE_ARN AWS_ROLE_SESSION_NAME AWS_ENDPOINT_URL_STS AWS_ENDPOINT_URL
        AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE AWS_REGION AWS_DEFAULT_REGION
        AWS_EC2_METADATA_DISABLED AWS_EC2_METADATA_SERVICE_ENDPOINT AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE
        AWS_METADATA_SERVICE_TIMEOUT AWS_METADATA_SERVICE_NUM_ATTEMPTS AWS_PROFILE AWS_DEFAULT_PROFILE AWS_CA_BUNDLE
        AWS_USE_FIPS_ENDPOINT AWS_USE_DUALSTACK_ENDPOINT AWS_IGNORE_CONFIGURED_ENDPOINT_URLS HTTPS_PROXY NO_PROXY"""
    assert fields(retrieve({**dict.fromkeys(blanks.split(), blank), **container.environ})) == container.issued


def test_blanks_around_static_keys():
    environ = {"AWS_ACCESS_KEY_ID": f" {TEMPORARY.access_key}", "AWS_SECRET_ACCESS_KEY": f"{TEMPORARY.secret_key}\n"}
    credentials = retrieve({**environ, "AWS_SESSION_TOKEN": f"\t{TEMPORARY.token} "})
    assert (credentials.access_key, credentials.secret_key, credentials.token) == (
        TEMPORARY.access_key,
        TEMPORARY.secret_key,
        TEMPORARY.token,
    )


# --- proxies ---

NAME = REGIONS["eu-central-1"]


@pytest.fixture
def proxy(sts):
    with Proxy() as proxy:
        proxy.routes = {f"{NAME}:443": sts, f"127.0.0.1:{sts.server_address[1]}": sts}
        yield proxy


@pytest.fixture
def behind_proxy(web_identity, proxy):
    """A pod that reaches STS by its proxy alone: the name does not resolve for it."""
    return {**web_identity, "AWS_REGION": "eu-central-1", "HTTPS_PROXY": proxy.url}


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_a_proxy(sts, proxy, behind_proxy, resolver, variable):
    environ = {**behind_proxy, variable: behind_proxy.pop("HTTPS_PROXY")}
    environ.pop("HTTPS_PROXY" if variable.islower() else "https_proxy", None)
    assert fields(retrieve(environ)) == sts.issued
    assert proxy.asked == [f"{NAME}:443"]
    assert {host for host, _ in resolver.asked} == {"127.0.0.1"}  # whose name it is, is the proxy's business
    assert sts.requests[0].headers["Host"] == NAME
    assert sts.requests[0].headers["Proxy-Authorization"] is None


@pytest.mark.parametrize("kind", CALLERS)
def test_a_proxy_whoever_asks(sts, proxy, behind_proxy, process, kind):
    process(behind_proxy)
    outcomes = CALLERS[kind](iamcacheauth.ElastiCacheAuth("user", "cache", region="us-east-1"))
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    assert proxy.asked == [f"{NAME}:443"]


def test_a_proxy_sees_nothing_but_tls(sts, proxy, behind_proxy):
    retrieve(behind_proxy)
    assert proxy.passed[:2] == b"\x16\x03"  # a handshake, to begin with
    for text in (sts.token, "AssumeRole", sts.issued["SecretAccessKey"]):
        assert text.encode() not in proxy.passed
    assert not [
        header for request in proxy.requests for header in request.headers if header.lower().startswith("x-amz")
    ]


def test_the_certificate_is_that_of_sts_and_not_the_proxys(sts, proxy, behind_proxy):
    with Sts() as other:
        proxy.routes["sts.us-west-2.amazonaws.com:443"] = other  # whose certificate does not name this host
        message = failure({**behind_proxy, "AWS_REGION": "us-west-2"}, secrets=sts.secrets)
        assert "certificate" in message
        assert "sts.us-west-2.amazonaws.com" in message
        assert other.requests == []
    environ = {name: value for name, value in behind_proxy.items() if name != "AWS_CA_BUNDLE"}
    assert "certificate" in failure(environ, secrets=sts.secrets)
    assert sts.requests == []


@pytest.mark.parametrize("password", ["hunter2hunter2", "p@ss:w/rd %41+=", "pässwörd"])
def test_a_proxy_that_demands_a_password(sts, proxy, behind_proxy, password):
    from urllib.parse import quote

    proxy.login = ("cache-reader@example.com", password)
    netloc = ":".join(quote(part, safe="") for part in proxy.login)
    environ = {**behind_proxy, "HTTPS_PROXY": proxy.url.replace("//", f"//{netloc}@")}
    assert fields(retrieve(environ)) == sts.issued
    assert sorted(proxy.requests[0].headers) == ["Accept-Encoding", "Host", "Proxy-Authorization"]
    assert "Proxy-Authorization" not in sts.requests[0].headers
    # without it, and with another one: refused, at once, and nobody's password is told
    proxy.requests.clear()
    assert failure(behind_proxy).endswith(
        f"through the proxy {proxy.url.partition('//')[2]}: HTTP status 407;"
        " it wants a login, as in http://user:password@host:port"
    )
    wrong = {**behind_proxy, "HTTPS_PROXY": proxy.url.replace("//", "//somebody:wrong-password@")}
    message = failure(wrong, secrets=["wrong-password", base64.b64encode(b"somebody:wrong-password").decode()])
    assert "407" in message
    assert f"127.0.0.1:{proxy.server_address[1]}" in message
    assert len(proxy.requests) == 2


def test_a_password_that_the_proxy_repeats(proxy, behind_proxy):
    password = "qW3eR5tY7uI9oP1aS2dF4gH6"
    basic = base64.b64encode(f"somebody:{password}".encode()).decode()
    environ = {**behind_proxy, "HTTPS_PROXY": proxy.url.replace("//", f"//somebody:{password}@")}
    for secret in (password, basic, f"somebody:{password}"):
        for answer in (
            reply(407, f"no such login: {secret}"),
            raw(f"HTTP/1.1 407 {secret}\r\nContent-Length: 0\r\n\r\n".encode()),
            raw(f"HTTP/1.1 {secret}\r\n\r\n".encode()),
            raw(f"{secret}\r\n\r\n".encode()),
            reply(302, "", f"Location: http://{secret}/"),
        ):
            proxy.faults["connection"] = itertools.repeat(after_request(answer))
            provider = iamcacheauth.EnvironmentCredentials(environ, timeout=SHORT)
            with pytest.raises(iamcacheauth.CredentialsError) as caught:
                provider()
            assert pieces_of([password, basic], told(caught.value)) == []


def after_request(answer):
    def answer_it(connection):
        connection.recv(65536)
        answer(connection)

    return answer_it


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 407])
def test_a_proxy_that_refuses(proxy, behind_proxy, status):
    """At once; the error says that it was the proxy, and which one, and what was asked of it."""
    proxy.faults["connect"] = itertools.repeat(reply(status))
    message = failure(behind_proxy)
    assert message.startswith(STS_SOURCE)
    assert f"127.0.0.1:{proxy.server_address[1]}" in message
    assert NAME in message
    assert "proxy" in message.lower()
    assert str(status) in message
    assert len(proxy.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_proxy_that_is_busy(sts, proxy, behind_proxy, no_pauses, status):
    proxy.faults["connect"] = iter([reply(status)] * 2)
    assert fields(retrieve(behind_proxy)) == sts.issued
    assert len(proxy.requests) == 3


BROKEN = {
    "closes at once": raw(b""),
    "no HTTP": raw(b"220 mail.example ESMTP\r\n"),
    "closes after its consent": raw(b"HTTP/1.1 200 OK\r\n\r\n"),
    "no TLS after its consent": raw(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"),
    "endless headers": flood(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
    "an endless header": flood(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
}
SLOW = {
    "silence": silence,
    "a slow status line": drip(b"HTTP/1.1 200 ", b"O"),
    "slow headers": drip(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
    "silence after its consent": lambda connection: (
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n"),
        silence(connection),
    ),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_a_proxy_that_is_broken(sts, proxy, behind_proxy, no_pauses, answer):
    proxy.faults["connect"] = itertools.repeat(answer)
    message = failure(behind_proxy, secrets=sts.secrets)
    assert message.startswith(STS_SOURCE)
    assert f"127.0.0.1:{proxy.server_address[1]}" in message
    proxy.faults.clear()
    assert fields(retrieve(behind_proxy)) == sts.issued


@pytest.mark.parametrize("answer", SLOW.values(), ids=SLOW)
def test_the_deadline_holds_for_a_proxy_too(sts, proxy, behind_proxy, answer):
    proxy.faults["connect"] = itertools.repeat(answer)
    started = time.monotonic()
    message = failure(behind_proxy, SHORT, secrets=sts.secrets)
    assert time.monotonic() - started < SHORT * 1.25 + SLACK
    assert message.startswith(STS_SOURCE)
    assert f"127.0.0.1:{proxy.server_address[1]}" in message


def test_a_proxy_that_is_not_there(behind_proxy, no_pauses):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{bound.getsockname()[1]}"
        message = failure({**behind_proxy, "HTTPS_PROXY": f"http://{place}"})
    assert f"through the proxy {place}: " in message
    assert "refused" in message
    message = failure({**behind_proxy, "HTTPS_PROXY": "http://proxy.nowhere.example:3128"})
    # and no VPC endpoint: there is a way out, and it is the proxy's name that is wrong
    assert message.endswith("through the proxy proxy.nowhere.example:3128: the host name does not resolve")


def test_a_proxy_that_demands_only_a_name(sts, proxy, behind_proxy):
    proxy.login = ("cache-reader", "")
    environ = {**behind_proxy, "HTTPS_PROXY": proxy.url.replace("//", "//cache-reader@")}
    assert fields(retrieve(environ)) == sts.issued


@pytest.mark.parametrize("form", ["http://{}", "http://{}/", "{}", " http://{} ", "HTTP://{}"])
def test_how_a_proxy_may_be_written(sts, proxy, behind_proxy, form):
    place = f"127.0.0.1:{proxy.server_address[1]}"
    assert fields(retrieve({**behind_proxy, "HTTPS_PROXY": form.format(place)})) == sts.issued
    assert proxy.asked == [f"{NAME}:443"]


@pytest.mark.parametrize(
    "value",
    ["http://", "socks5://127.0.0.1:1080", "http://user:hunter2hunter2@:80", "http://127.0.0.1:port", "ftp://a", "a b"],
)
def test_a_proxy_that_is_malformed(sts, behind_proxy, resolver, value):
    message = failure({**behind_proxy, "HTTPS_PROXY": value}, secrets=["hunter2hunter2"])
    assert message.startswith(STS_SOURCE)
    assert message.endswith("HTTPS_PROXY: a proxy like http://host:port is wanted")
    assert resolver.asked == []


BYPASS = {
    "the name": NAME,
    "the name among others": f"localhost,10.0.0.0/8, {NAME} ,example.com",
    "capitals": NAME.upper(),
    "a suffix": "amazonaws.com",
    "a suffix with a dot": ".amazonaws.com",
    "a longer suffix": "eu-central-1.amazonaws.com",
    "everything": "*",
    "the name and its port": f"{NAME}:443",
}
NO_BYPASS = {
    "another name": "sts.us-east-1.amazonaws.com",
    "another port": f"{NAME}:8443",
    "the end of a word": "naws.com",
    "the beginning": "sts.eu-central-1",
    "an address": "127.0.0.1",
    "nothing": "",
    "commas": ",,, ,",
}


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("value", BYPASS.values(), ids=BYPASS)
def test_hosts_without_a_proxy(sts, proxy, behind_proxy, resolver, variable, value):
    resolver.routes[NAME, 443] = sts
    assert fields(retrieve({**behind_proxy, variable: value})) == sts.issued
    assert proxy.requests == []


@pytest.mark.parametrize("value", NO_BYPASS.values(), ids=NO_BYPASS)
def test_hosts_with_a_proxy(sts, proxy, behind_proxy, value):
    assert fields(retrieve({**behind_proxy, "NO_PROXY": value})) == sts.issued
    assert proxy.asked == [f"{NAME}:443"]


@pytest.mark.parametrize(
    ("value", "bypassed"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:{port}", True),
        ("10.0.0.1,127.0.0.1", True),
        ("127.0.0.1:1", False),
        ("127.0.0.2", False),
        ("", False),
    ],
)
def test_addresses_without_a_proxy(sts, proxy, value, bypassed):
    port = sts.server_address[1]
    environ = {**sts.environ, "HTTPS_PROXY": proxy.url, "NO_PROXY": value.format(port=port)}
    assert fields(retrieve(environ)) == sts.issued
    assert proxy.asked == ([] if bypassed else [f"127.0.0.1:{port}"])


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_an_address_of_ipv6_behind_a_proxy(proxy):
    try:
        sts = Sts(("::1", 0))
    except OSError:
        pytest.skip("needs IPv6")
    with sts:
        place = f"[::1]:{sts.server_address[1]}"
        proxy.routes[place] = sts
        environ = {**sts.environ, "AWS_ENDPOINT_URL_STS": f"https://{place}", "HTTPS_PROXY": proxy.url}
        assert fields(retrieve(environ)) == sts.issued
        assert proxy.asked == [place]
        assert fields(retrieve({**environ, "NO_PROXY": "[::1]"})) == sts.issued
        assert proxy.asked == [place]


def test_other_proxies_are_not_for_sts(sts, proxy, behind_proxy, resolver):
    resolver.routes[NAME, 443] = sts
    del behind_proxy["HTTPS_PROXY"]
    for variable in ("HTTP_PROXY", "http_proxy"):
        assert fields(retrieve({**behind_proxy, variable: proxy.url})) == sts.issued
    assert proxy.requests == []


def test_a_proxy_is_not_for_plain_http(proxy):
    with Sts(plain=True) as sts:
        assert fields(retrieve({**sts.environ, "HTTPS_PROXY": proxy.url})) == sts.issued
    assert proxy.requests == []


@pytest.mark.parametrize("server", ["container", "imds"], indirect=True)
def test_metadata_has_no_proxy(server, proxy, process):
    variables = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), proxy.url
    )
    process(variables)
    assert fields(retrieve({**server.environ, **variables})) == server.issued
    assert proxy.requests == []


def test_a_container_endpoint_with_tls_has_no_proxy(sts, container, proxy):
    container.tls = sts.tls
    assert (
        fields(retrieve({**container.environ, "AWS_CA_BUNDLE": CA_FILE, "HTTPS_PROXY": proxy.url})) == container.issued
    )
    assert proxy.requests == []


def test_a_role_is_assumed_through_the_proxy(process, resolver):
    with RoleSts() as sts, Proxy() as proxy:
        proxy.login = ("user", "hunter2hunter2")
        proxy.routes = {f"{REGIONS['us-east-1']}:443": sts}
        process({"HTTPS_PROXY": proxy.url.replace("//", "//user:hunter2hunter2@"), "AWS_CA_BUNDLE": CA_FILE})
        role = iamcacheauth.AssumedRole(FAR_ROLE, credentials=TEMPORARY, region="us-east-1", timeout=LONG)
        assert role().token == sts.issued["Token"]
        assert proxy.asked == [f"{REGIONS['us-east-1']}:443"]
