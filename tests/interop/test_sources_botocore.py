"""The chain beside botocore's: one environment, the same servers, the same credentials.

Of botocore's steps, ours leaves out the files (profiles, SSO, credential_process); they are empty here. Where the
two differ by design although both have the step, a test at the end says how.
"""

from __future__ import annotations

import datetime
import itertools
import json
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import botocore.session
import pytest
import side_by_side
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import EndpointVariantError
from side_by_side import ours, theirs
from support.examples import ACCESS_KEY, PERMANENT, SECRET_KEY, SESSION_TOKEN, TEMPORARY
from support.loopback import Container, Imds, Sts, reply, sts_error
from support.namespace import run_pytest_in_namespace
from support.proxy import Proxy
from support.roles import FAR_ROLE, RoleSts
from support.subject import iamcacheauth

CredentialsError = iamcacheauth.CredentialsError

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver")

RELATIVE_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
AUTHORIZATION = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
AUTHORIZATION_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
KEYS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
TEMPORARY_KEYS = {**KEYS, "AWS_SESSION_TOKEN": SESSION_TOKEN}
STATIC = {
    "no keys": {},
    "keys": KEYS,
    "temporary keys": TEMPORARY_KEYS,
    "expiring keys": {**TEMPORARY_KEYS, "AWS_CREDENTIAL_EXPIRATION": "2099-01-01T00:00:00Z"},
}


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    side_by_side.bare_environment(monkeypatch, tmp_path)

    def configure(*settings):
        for variables in settings:
            for variable, value in variables.items():
                monkeypatch.setenv(variable, value)

    return configure


@pytest.fixture(scope="module")
def servers():
    """What is at the link-local addresses, and elsewhere; each has credentials of its own."""
    with ExitStack() as stack:
        servers = [stack.enter_context(kind()) for kind in (Sts, Container, Container, Imds)]
        servers[0].token_file.write_text(Sts.token)  # without a line break: botocore would send it along
        servers[1].issued["Token"] = "of-the-relative-URI"
        yield servers


@pytest.mark.parametrize("static", STATIC.values(), ids=STATIC)
@pytest.mark.parametrize("authorization", ["none", "token", "file", "both"])
def test_every_combination(environment, resolver, servers, static, authorization, tmp_path, monkeypatch):
    sts, relative, full, imds = servers
    resolver.routes["169.254.170.2", 80] = relative
    resolver.routes["169.254.169.254", 80] = imds
    token = None if authorization == "none" else Container.authorization
    file = tmp_path / "authorization"
    file.write_text(token or "")
    authorizations = {
        "none": {},
        "token": {AUTHORIZATION: token},
        "file": {AUTHORIZATION_FILE: str(file)},
        "both": {AUTHORIZATION: "another", AUTHORIZATION_FILE: str(file)},
    }
    for container in (relative, full):
        container.authorization = token
    steps = [
        sts.environ,
        {RELATIVE_URI: relative.target},
        {variable: value for variable, value in full.environ.items() if variable != AUTHORIZATION},
        imds.environ,
        {"AWS_EC2_METADATA_DISABLED": "true"},
    ]
    for chosen in itertools.product((False, True), repeat=len(steps)):
        with monkeypatch.context() as patch:
            for variables in itertools.compress(steps, chosen):
                for variable, value in variables.items():
                    patch.setenv(variable, value)
            environment(static, authorizations[authorization])
            expected, found = theirs(), ours()
        if expected is None:
            assert isinstance(found, CredentialsError), chosen
        else:
            assert found == expected, chosen


def test_link_local_addresses():
    run_pytest_in_namespace(Path(__file__).parent / "link_local_botocore.py")


def test_instance_metadata_settings(environment, imds):
    for setting in (
        {},
        {"AWS_METADATA_SERVICE_TIMEOUT": "2", "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "3"},
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "ipv6"},
        {"AWS_EC2_METADATA_SERVICE_ENDPOINT": imds.url + "/"},
        {"AWS_EC2_METADATA_DISABLED": "false"},
    ):
        environment(imds.environ, setting)
        assert ours() == theirs() is not None


def test_expirations(environment, container):
    for text in ("2099-01-02T03:04:05Z", "2099-01-02T03:04:05.678Z", "2099-01-02T03:04:05+00:00"):
        container.issued["Expiration"] = text
        environment(container.environ)
        assert ours()[:3] == theirs()[:3]
        assert int(ours()[3]) == int(theirs()[3])


@pytest.mark.parametrize("kind", [Sts, Container])
def test_both_refuse(environment, kind):
    """A source that fails is the end for both; botocore, too, waits and tries again before it says so."""
    with kind() as server, Imds() as imds:
        environment(imds.environ, server.environ)
        server.faults["credentials"] = itertools.repeat(reply(403, "{}"))
        assert isinstance(theirs(), Exception)
        assert isinstance(ours(), CredentialsError)
        assert imds.requests == []


@pytest.mark.parametrize(
    "setting",
    [
        {"AWS_ACCESS_KEY_ID": ACCESS_KEY},
        {**TEMPORARY_KEYS, "AWS_CREDENTIAL_EXPIRATION": "2001-01-01T00:00:00Z"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://example.com/"},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/", AUTHORIZATION: "with\nline break"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/nowhere", "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/cache-reader"},
    ],
    ids=repr,
)
def test_both_refuse_settings(environment, resolver, setting):
    environment({"AWS_EC2_METADATA_DISABLED": "true"}, setting)
    assert isinstance(theirs(), Exception)
    assert isinstance(ours(), CredentialsError)
    assert resolver.asked == []


# --- what passes ---

THROTTLED = {
    "container": (Container, reply(429)),
    "container, broken": (Container, reply(500)),
    "STS": (Sts, sts_error(400, "Throttling", "Rate exceeded")),
    "STS, by another name": (Sts, sts_error(400, "RequestLimitExceeded", "Rate exceeded")),
    "STS, identity provider": (Sts, sts_error(400, "IDPCommunicationError", "An error occurred")),
    "STS, broken": (Sts, reply(503)),
    "instance metadata": (Imds, reply(429)),
    "instance metadata, broken": (Imds, reply(500)),
    "instance metadata, cut": (Imds, reply(200, '{"AccessKeyId": "ASIA')),
    "instance metadata, empty": (Imds, reply(200)),
}


@pytest.mark.parametrize(("kind", "answer"), THROTTLED.values(), ids=THROTTLED)
def test_both_get_through(environment, kind, answer):
    with kind() as server:
        if isinstance(server, Sts):
            server.token_file.write_text(server.token)
        environment(server.environ, {"AWS_METADATA_SERVICE_NUM_ATTEMPTS": "2"})
        for ask in (theirs, ours):
            server.faults["credentials"] = iter([answer])
            assert ask()[2] == server.issued["Token"]


# --- which STS ---

REGIONS = [
    "us-east-1",
    "eu-central-1",
    "us-gov-west-1",
    "us-gov-east-1",
    "cn-north-1",
    "us-iso-east-1",
    "us-isob-east-1",
]
REGIONS += ["eu-isoe-west-1", "us-isof-south-1", "eusc-de-east-1"]


def their_sts():
    session = botocore.session.Session()
    session.register_component("data_loader", side_by_side.models())
    client = session.create_client("sts", aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY)
    return urlsplit(client.generate_presigned_url("get_caller_identity")).hostname


def our_sts(resolver):
    resolver.asked.clear()
    assert isinstance(ours(), CredentialsError)
    return resolver.asked[0][0]


@pytest.mark.parametrize("fips", ["true", "false"])
@pytest.mark.parametrize("region", REGIONS)
def test_the_same_sts(environment, resolver, sts, monkeypatch, region, fips):
    monkeypatch.setattr(iamcacheauth.time, "sleep", lambda seconds: None)
    environment(sts.environ, {"AWS_USE_FIPS_ENDPOINT": fips, "AWS_DEFAULT_REGION": region, "AWS_ENDPOINT_URL_STS": ""})
    for dual_stack in ("false", "true"):
        environment({"AWS_USE_DUALSTACK_ENDPOINT": dual_stack})
        try:
            host = their_sts()
        except EndpointVariantError:
            continue  # there is none
        assert our_sts(resolver) == host


def test_the_same_endpoints_ignored(environment, resolver, sts, monkeypatch):
    monkeypatch.setattr(iamcacheauth.time, "sleep", lambda seconds: None)
    environment(sts.environ, {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_ENDPOINT_URL": sts.url})
    assert our_sts(resolver) == their_sts() == "sts.us-east-1.amazonaws.com"


# --- proxies ---

HOST = "sts.us-east-1.amazonaws.com"
NO_PROXY = [
    "",
    HOST,
    HOST.upper(),
    "amazonaws.com",
    ".amazonaws.com",
    "naws.com",
    "*",
    "localhost, amazonaws.com",
    "sts",
]


@pytest.fixture
def proxy(environment, sts):
    sts.token_file.write_text(sts.token)
    with Proxy() as proxy:
        proxy.routes = {f"{HOST}:443": sts}
        environment({name: value for name, value in sts.environ.items() if name != "AWS_ENDPOINT_URL_STS"})
        environment({"HTTPS_PROXY": proxy.url})
        yield proxy


@pytest.mark.parametrize("value", NO_PROXY)
def test_the_same_hosts_have_a_proxy(environment, resolver, sts, proxy, value):
    resolver.routes[HOST, 443] = sts
    environment({"NO_PROXY": value})
    asked = []
    for ask in (theirs, ours):
        proxy.requests.clear()
        assert ask()[2] == sts.issued["Token"]
        asked.append(list(proxy.asked))
    assert asked[0] == asked[1]


def test_the_same_login(environment, sts, proxy):
    proxy.login = ("user", "p@ss:w/rd %41")
    environment({"HTTPS_PROXY": proxy.url.replace("//", "//user:p%40ss%3Aw%2Frd%20%2541@")})
    assert theirs()[2] == ours()[2] == sts.issued["Token"]


# --- instance metadata ---


def test_keys_that_have_expired(environment, imds):
    """Both use them on; theirs for ten to fifteen minutes."""
    imds.issued["Expiration"] = "2001-01-01T00:00:00Z"
    environment(imds.environ)
    assert ours()[:3] == theirs()[:3] != (None, None, None)


def test_an_answer_without_a_code(environment, imds):
    environment(imds.environ)
    imds.faults["credentials"] = itertools.repeat(reply(200, json.dumps(imds.issued)))
    assert ours() == theirs() is not None


@pytest.mark.parametrize("role", ["with+=,.@_-", "path/and-name"])
def test_the_name_of_a_role(environment, imds, role):
    imds.role = role
    environment(imds.environ)
    assert ours() == theirs() is not None
    assert imds.requests[2].target == imds.requests[5].target


# --- the old name of the session token ---


@pytest.mark.parametrize("variable", ["AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"])
def test_either_name_of_the_session_token(environment, variable):
    environment({**KEYS, "AWS_SESSION_TOKEN": "", "AWS_SECURITY_TOKEN": "", variable: SESSION_TOKEN})
    assert ours() == theirs() == (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, None)


# --- roles ---

ROLES = {
    "a name": {},
    "a session of one's own": {"RoleSessionName": "my_name+=,.@-"},
    "an external id": {"ExternalId": "Company:7/with=all,the.@signs-_+"},
    "another duration": {"DurationSeconds": 900},
    "everything": {"RoleSessionName": "name", "ExternalId": "id", "DurationSeconds": 43200},
}
ARGUMENTS = {"RoleSessionName": "session_name", "ExternalId": "external_id", "DurationSeconds": "duration"}


@pytest.mark.parametrize("region", ["us-east-1", "cn-north-1"])
@pytest.mark.parametrize("base", [PERMANENT, TEMPORARY], ids=["permanent keys", "temporary keys"])
@pytest.mark.parametrize("options", ROLES.values(), ids=ROLES)
def test_the_same_presigned_request(environment, monkeypatch, options, base, region):
    """botocore signs the request that came in, at its second; and every byte is the same."""
    with RoleSts() as sts:
        sts.keys[base.access_key, base.token] = base.secret_key
        sts.region, sts.maximum = region, 43200
        sts.trusted[FAR_ROLE] = options.get("ExternalId")
        environment(sts.endpoint, {"AWS_DEFAULT_REGION": region})
        arguments = {ARGUMENTS[name]: value for name, value in options.items()}
        role = iamcacheauth.AssumedRole(FAR_ROLE, credentials=base, timeout=20, **arguments)
        assert role().token == sts.issued["Token"]
        (request,) = sts.requests
        (params,) = sts.assumed
    # the API's own parameters, by name and value, as botocore's client checks and serialises them
    session = botocore.session.Session()
    session.register_component("data_loader", side_by_side.models())
    client = session.create_client(
        "sts",
        aws_access_key_id=base.access_key,
        aws_secret_access_key=base.secret_key,
        aws_session_token=base.token,
    )
    wanted = {"RoleArn": FAR_ROLE, "RoleSessionName": params["RoleSessionName"], "DurationSeconds": 3600, **options}
    presigned = dict(
        parse_qsl(urlsplit(client.generate_presigned_url("assume_role", Params=wanted, ExpiresIn=900)).query)
    )
    unsigned = {name: value for name, value in presigned.items() if not name.startswith("X-Amz-")}
    assert {name: value for name, value in params.items() if not name.startswith("X-Amz-")} == unsigned
    # and its signature of them, in their order
    signed_at = datetime.datetime.strptime(params["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: signed_at.replace(tzinfo=None))
    query = request.target.partition("?")[2].partition("&X-Amz-Algorithm=")[0]
    theirs = AWSRequest("GET", f"https://{request.headers['Host']}/?{query}")
    SigV4QueryAuth(Credentials(base.access_key, base.secret_key, base.token), "sts", region, expires=900).add_auth(
        theirs
    )
    assert f"https://{request.headers['Host']}{request.target}" == theirs.url


# --- botocore's own lookup, given to a generator ---


def test_a_session_whose_profile_has_no_keys(environment):
    """It finds nothing, which is not the environment."""
    environment(TEMPORARY_KEYS)
    Path(side_by_side.os.environ["AWS_CONFIG_FILE"]).write_text("[profile empty]\nregion = us-east-1\n")
    environment({"AWS_EC2_METADATA_DISABLED": "true"})
    session = botocore.session.Session(profile="empty")
    auth = iamcacheauth.MemoryDBAuth("user", "cluster", credentials=session.get_credentials)
    with pytest.raises(CredentialsError, match="None"):
        auth.token()


# --- where the two differ by design ---


def test_a_secret_without_its_key(environment, container):
    """botocore takes it for nothing and goes on to the next source; we do not sign as someone else."""
    environment(container.environ, {"AWS_SECRET_ACCESS_KEY": SECRET_KEY})
    assert theirs()[2] == container.issued["Token"]
    assert "AWS_ACCESS_KEY_ID" in str(ours())


def test_files_come_before_containers(environment, container):
    """botocore's; for us they are no source."""
    environment(container.environ)
    credentials_file = Path(side_by_side.os.environ["AWS_SHARED_CREDENTIALS_FILE"])
    credentials_file.write_text(f"[default]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n")
    assert theirs() == (ACCESS_KEY, SECRET_KEY, None, None)
    assert ours()[2] == container.issued["Token"]


def test_broken_instance_metadata(environment, imds):
    """To botocore it is as if there were none; we say what is wrong."""
    environment(imds.environ)
    imds.faults["role"] = itertools.repeat(reply(404))
    assert theirs() is None
    assert "404" in str(ours())


def test_empty_variables(environment, container):
    """For us they are unset, all of them; for botocore only those of static keys."""
    environment(container.environ, {RELATIVE_URI: ""})
    assert isinstance(theirs(), Exception)
    assert ours()[2] == container.issued["Token"]


def test_line_break_at_the_end_of_the_token_file(environment, sts):
    """botocore sends it along; we leave it out."""
    environment(sts.environ)
    assert isinstance(theirs(), Exception)
    assert ours()[2] == sts.issued["Token"]


def test_a_profile_and_instance_metadata(environment, imds):
    """With a profile that has no keys, botocore takes the instance's; we never do."""
    environment(imds.environ, {"AWS_PROFILE": "production"})
    Path(side_by_side.os.environ["AWS_CONFIG_FILE"]).write_text("[profile production]\nregion = us-east-1\n")
    assert theirs()[2] == imds.issued["Token"]
    assert "AWS_PROFILE" in str(ours())


def test_both_names_of_the_session_token(environment):
    """botocore prefers the old one; for us it counts where today's is not set."""
    environment({**KEYS, "AWS_SESSION_TOKEN": "the-new", "AWS_SECURITY_TOKEN": "the-old"})
    assert theirs()[2] == "the-old"
    assert ours()[2] == "the-new"


def test_blanks_around_settings(environment, container):
    """botocore takes them for a part of the URL."""
    environment(container.environ, {FULL_URI: f" {container.environ[FULL_URI]} "})
    assert isinstance(theirs(), Exception)
    assert ours()[2] == container.issued["Token"]


def test_a_code_that_is_not_success(environment, imds):
    """botocore looks at the keys alone; an answer that says that it failed is none to us."""
    environment(imds.environ)
    imds.faults["credentials"] = itertools.repeat(reply(200, json.dumps({**imds.issued, "Code": "Failed"})))
    assert theirs()[2] == imds.issued["Token"]
    assert "Failed" in str(ours())
