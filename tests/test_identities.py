"""Whose credentials a token is signed with: never anybody else's than the settings of that moment name."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import UserDict
from functools import partial

import pytest
from support.asking import LONG, failure, fields, refused, retrieve
from support.callers import CALLERS
from support.examples import ACCESS_KEY, SECRET_KEY, read
from support.loopback import ROLE_ARN, Container
from support.roles import FAR_ROLE
from support.subject import iamcacheauth
from support.waiting import PATIENCE, Caller, at_line

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver")

STATIC = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
AUTHORIZATION = "AWS_CONTAINER_AUTHORIZATION_TOKEN"
AUTHORIZATION_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
PROFILES = ("AWS_PROFILE", "AWS_DEFAULT_PROFILE")


# --- profiles ---


@pytest.mark.parametrize("variable", PROFILES)
@pytest.mark.parametrize("profile", ["production", "default"])
def test_a_profile_is_not_the_instance(imds, variable, profile):
    assert failure({**imds.environ, variable: profile}).endswith(
        f" is set; {variable} is, but profiles are not read:"
        ' eval "$(aws configure export-credentials --format env)" sets its keys'
    )
    assert imds.requests == []


@pytest.mark.parametrize("variable", PROFILES)
def test_a_profile_where_there_is_no_instance_metadata(variable):
    message = failure({"AWS_EC2_METADATA_DISABLED": "true", variable: "production"})
    assert variable in message
    assert "aws configure export-credentials" in message


@pytest.mark.parametrize("kind", CALLERS)
def test_a_profile_is_not_the_instance_whoever_asks(imds, monkeypatch, kind):
    for variable, value in {**imds.environ, "AWS_PROFILE": "production", "AWS_EC2_METADATA_DISABLED": ""}.items():
        monkeypatch.setenv(variable, value)
    outcomes = CALLERS[kind](iamcacheauth.ElastiCacheAuth("user", "cache", region="us-east-1"))
    assert ["AWS_PROFILE" in outcome.error for outcome in outcomes] == [True] * len(outcomes)
    assert imds.requests == []


@pytest.mark.parametrize("variable", PROFILES)
def test_other_sources_win_over_a_profile(sts, container, variable):
    for server in (sts, container):
        assert fields(retrieve({**server.environ, variable: "production"})) == server.issued
    assert retrieve({**STATIC, variable: "production"}).access_key == ACCESS_KEY


@pytest.mark.parametrize("variable", PROFILES)
@pytest.mark.parametrize("blank", ["", " "])
def test_a_blank_profile_is_none(imds, variable, blank):
    assert fields(retrieve({**imds.environ, variable: blank})) == imds.issued


# --- nothing found is not the environment ---


class Session:
    """A boto session whose profile has no keys."""

    def get_credentials(self):
        return None


@pytest.mark.parametrize("kind", [iamcacheauth.ElastiCacheAuth, iamcacheauth.MemoryDBAuth])
def test_a_lookup_that_finds_nothing_is_an_error(kind, monkeypatch):
    for variable, value in STATIC.items():
        monkeypatch.setenv(variable, value)
    auth = kind("user", "name", region="us-east-1", credentials=Session().get_credentials)
    assert "None" in refused(auth.token)
    with pytest.raises(iamcacheauth.CredentialsError):
        asyncio.run(auth.token_async())


@pytest.mark.parametrize("make", [iamcacheauth.RefreshingCredentials, lambda fetch: assumed_with(fetch)])
def test_a_fetch_that_finds_nothing_is_an_error(make, monkeypatch):
    for variable, value in STATIC.items():
        monkeypatch.setenv(variable, value)
    assert "None" in refused(make(lambda: None))


def assumed_with(credentials):
    return iamcacheauth.AssumedRole(FAR_ROLE, credentials=credentials, region="us-east-1", timeout=LONG)


# --- another configuration has its own credentials ---


def changed(server, field, value):
    server.issued[field] = value
    return value


def test_another_authorization_is_another_identity(container):
    environ = container.environ
    provider = iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)
    assert fields(provider()) == container.issued
    environ[AUTHORIZATION] = container.authorization = "Bearer of-somebody-else"
    changed(container, "Token", "of-somebody-else")
    assert provider().token == "of-somebody-else"


def test_another_authorization_that_is_refused_is_no_reason_to_be_the_old_one(container):
    environ = container.environ
    provider = iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)
    provider()
    environ[AUTHORIZATION] = "Bearer of-somebody-else"
    assert "HTTP status 401" in refused(provider, ["of-somebody-else"])


def test_another_file_of_an_authorization_is_another_identity(container, tmp_path):
    environ = {**container.environ, AUTHORIZATION_FILE: str(tmp_path / "first")}
    for name in ("first", "second"):
        (tmp_path / name).write_text(f"Bearer {name}")
    provider = iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)
    for name in ("first", "second", "first"):
        environ[AUTHORIZATION_FILE] = str(tmp_path / name)
        container.authorization = f"Bearer {name}"
        changed(container, "Token", f"of-the-{name}")
        assert provider().token == f"of-the-{name}"


def test_another_token_file_is_another_identity(sts, tmp_path):
    environ = sts.environ
    provider = iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)
    assert fields(provider()) == sts.issued
    (tmp_path / "another").write_text("another.web.identity")
    environ["AWS_WEB_IDENTITY_TOKEN_FILE"] = str(tmp_path / "another")
    assert "InvalidIdentityToken" in refused(provider, ["another.web.identity"])


def test_another_role_is_another_identity(sts):
    environ = sts.environ
    provider = iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)
    provider()
    environ["AWS_ROLE_ARN"] = f"{ROLE_ARN}-of-others"
    assert "HTTP status 403" in refused(provider)


def test_a_token_that_rotates_is_the_same_identity(sts, container, tmp_path):
    """What is in the file is read at the next renewal."""
    file = tmp_path / "authorization"
    file.write_text(container.authorization)
    for server, environ, path in (
        (sts, sts.environ, sts.token_file),
        (container, {**container.environ, AUTHORIZATION_FILE: str(file)}, file),
    ):
        provider = iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)
        first = provider()
        path.write_text("rotated")
        assert provider() is first
        assert len(server.requests) == 1


def test_back_to_the_first_configuration(container):
    """What belonged to it has been let go."""
    environ = container.environ
    provider = iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)
    provider()
    with Container() as other:
        changed(other, "Token", "of-the-other")
        environ.update(other.environ)
        assert provider().token == "of-the-other"
        environ.update(container.environ)
        assert fields(provider()) == container.issued
    environ.update(STATIC)
    assert provider().token is None


def test_what_belongs_to_old_configurations_is_let_go(container):
    environ = container.environ
    provider = iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)
    provider()
    gc.collect()
    before = credentials_alive()
    for number in range(50):
        environ[AUTHORIZATION] = container.authorization = f"Bearer {number}"
        provider()
    gc.collect()
    assert credentials_alive() <= before + 2


def credentials_alive():
    return sum(isinstance(each, iamcacheauth.StaticCredentials) for each in gc.get_objects())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_fetch_that_was_begun_for_the_old_configuration(asynchronous):
    """It ends after the change, and serves nobody who came after that."""
    begun, may_end = threading.Event(), threading.Event()
    with Container() as old, Container() as new:
        changed(old, "Token", "of-the-old")
        changed(new, "Token", "of-the-new")
        environ = old.environ
        credentials = iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)
        auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=credentials)
        ask = (lambda: asyncio.run(auth.token_async())) if asynchronous else auth.token
        answer = old.serve

        def held(request):
            begun.set()
            may_end.wait(PATIENCE)
            return answer(request)

        old.serve = held
        early = Caller(ask)
        assert begun.wait(PATIENCE)
        environ.update(new.environ)
        assert identity(ask()) == "of-the-new"
        may_end.set()
        early.join(PATIENCE)
        assert [identity(ask()) for _ in range(3)] == ["of-the-new"] * 3


def identity(token):
    return read(token)[1]["X-Amz-Security-Token"]


class Changing(UserDict):
    """An environment from which another thread takes a variable, after its name was seen."""

    def __getitem__(self, name):
        if name == "GONE":
            raise KeyError(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        return default if name == "GONE" else super().get(name, default)


def test_an_environment_that_changes_meanwhile(container):
    assert fields(retrieve(Changing(container.environ, GONE="?"))) == container.issued


def test_whoever_comes_first_together_shares_one_fetch(container):
    together, arrivals = threading.Barrier(8), iter(range(8))

    class Held(UserDict):
        """An environment at which eight threads look at the same time."""

        def get(self, name, default=None):
            if name == AUTHORIZATION_FILE and next(arrivals, None) is not None:
                together.wait(PATIENCE)
            return super().get(name, default)

    provider = iamcacheauth.EnvironmentCredentials(Held(container.environ), timeout=LONG)
    found = [caller.result() for caller in [Caller(provider) for _ in range(8)]]
    assert [fields(credentials) for credentials in found] == [container.issued] * 8
    assert len(container.requests) == 1


def test_an_environment_that_is_changed_for_a_moment(container):
    """Whoever asks meanwhile may be given either identity's credentials; who asks afterwards, his own."""

    def change(environ, provider):
        mine = {**environ}
        environ.update(other.environ)
        assert provider().token == "of-the-other"
        environ.update(mine)

    with Container() as other:
        changed(other, "Token", "of-the-other")
        for line in range(1000):
            environ = container.environ
            provider = iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)
            meanwhile = partial(Caller, partial(change, environ, provider))
            with at_line(line, lambda start=meanwhile: start().result()) as happened:
                try:
                    assert fields(provider()) in (container.issued, other.issued)
                except iamcacheauth.CredentialsError as error:  # when the fetch began at that moment
                    assert "the environment was changed" in str(error)
            if not happened:
                break
            assert fields(provider()) == container.issued
        assert line > 20


class Changed(UserDict):
    """An environment that another thread changes between its caller's look at it and that of the fetch."""

    def __iter__(self):
        self.data.update(self.pop("later", {}))
        return super().__iter__()


def test_an_environment_that_is_another_identitys_when_the_fetch_begins(container):
    with Container() as other:
        changed(other, "Token", "of-the-other")
        provider = iamcacheauth.EnvironmentCredentials(Changed(container.environ, later=other.environ), timeout=LONG)
        assert refused(provider) == "credentials: the environment was changed while they were asked for"
        assert other.requests == []
        assert provider().token == "of-the-other"


def test_static_keys_come_and_go(container):
    environ = {**container.environ, **STATIC}
    provider = iamcacheauth.EnvironmentCredentials(environ, timeout=LONG)
    assert provider().access_key == ACCESS_KEY
    for variable in STATIC:
        del environ[variable]
    assert fields(provider()) == container.issued
    environ.update(STATIC)
    assert provider().access_key == ACCESS_KEY
    del environ["AWS_SECRET_ACCESS_KEY"]
    assert "AWS_SECRET_ACCESS_KEY" in refused(provider)
