"""The chain beside botocore's: one environment, the same servers, the same credentials.

Of botocore's steps, ours leaves out the files (profiles, SSO, credential_process); they are empty here. Where the
two differ by design although both have the step, a test at the end says how.
"""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from pathlib import Path

import pytest
import side_by_side
from side_by_side import ours, theirs
from support.examples import ACCESS_KEY, SECRET_KEY, SESSION_TOKEN
from support.loopback import Container, Imds, Sts, reply
from support.namespace import run_pytest_in_namespace
from support.subject import iamcacheauth

CredentialsError = iamcacheauth.CredentialsError

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver")

RELATIVE_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
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


def test_the_old_name_of_the_session_token(environment):
    """AWS_SECURITY_TOKEN, from before 2014, is botocore's alone."""
    environment({**KEYS, "AWS_SECURITY_TOKEN": SESSION_TOKEN})
    assert theirs() == (ACCESS_KEY, SECRET_KEY, SESSION_TOKEN, None)
    assert ours() == (ACCESS_KEY, SECRET_KEY, None, None)
