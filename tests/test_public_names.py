"""The contract: the names and signatures that users rely on. A change here is a change for them."""

from __future__ import annotations

import inspect
import sys
import types
from pathlib import Path

import pytest
from support.examples import NOON, PERMANENT, clock_at
from support.subject import iamcacheauth

SIGNATURES = {
    "ElastiCacheAuth": "(user, cache, *, region=None, serverless=False, credentials=None)",
    "MemoryDBAuth": "(user, cluster, *, region=None, credentials=None)",
    "StaticCredentials": "(access_key, secret_key, token=None, expiration=None)",
    "RefreshingCredentials": "(fetch, *, timeout=5.0)",
    "EnvironmentCredentials": "(environ=None, *, region=None, timeout=5.0)",
    "AssumedRole": "(role_arn, *, session_name=None, external_id=None, duration=3600, region=None, credentials=None,"
    " timeout=5.0)",
    "for_endpoint": "(user, endpoint, *, region=None, credentials=None)",
    "uri_encode": "(text)",
    "with_lifetime": "(connection_class, *, seconds=39600)",
    "canonical_query": "(params)",
    "canonical_request": "(host, params)",
    "string_to_sign": "(timestamp, scope, canonical_request)",
    "signing_key": "(secret_key, date, region, service)",
    "presign": "(credentials, *, service, region, host, params, timestamp, expires=900)",
}
CLASSES = {"ConfigurationError", "Credentials", "CredentialsError", "Error", "TokenGenerator"}


def signature(function):
    """As it is called: without annotations."""
    found = inspect.signature(function)
    parameters = [parameter.replace(annotation=parameter.empty) for parameter in found.parameters.values()]
    return str(found.replace(parameters=parameters, return_annotation=found.empty))


def test_all():
    """Also where the commands were cut off: main is there and listed, or neither."""
    command_line = {"main"} & {*vars(iamcacheauth)}
    assert sorted(iamcacheauth.__all__) == sorted({*SIGNATURES, *CLASSES, *command_line})
    assert all(hasattr(iamcacheauth, name) for name in iamcacheauth.__all__)


@pytest.mark.parametrize("endpoint", ["use1.cache.amazonaws.com", "cnn1.cache.amazonaws.com.cn"])
def test_the_first_part_needs_no_other(endpoint):
    text = Path(iamcacheauth.__file__).read_text(encoding="utf-8")
    signing = types.ModuleType("signing")
    exec(compile(text.partition("\n# --- credential sources ---\n")[0], "signing", "exec"), vars(signing))
    tokens = []
    for part in (signing, iamcacheauth):
        keys = part.StaticCredentials(PERMANENT.access_key, PERMANENT.secret_key)
        with clock_at(NOON):
            tokens.append(part.for_endpoint("user", f"master.my-cache.abc123.{endpoint}", credentials=keys).token())
    assert tokens[0] == tokens[1]


@pytest.mark.commands
def test_the_command_line_is_there():
    assert signature(iamcacheauth.main) == "(argv=None)"
    assert "main" in iamcacheauth.__all__


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    assert signature(getattr(iamcacheauth, name)) == SIGNATURES[name]


@pytest.mark.parametrize("service", [iamcacheauth.ElastiCacheAuth, iamcacheauth.MemoryDBAuth])
def test_a_generator(service):
    assert issubclass(service, iamcacheauth.TokenGenerator)
    public = {name for name in dir(service) if not name.startswith("_")}
    methods = {"token", "token_async", "get_credentials", "get_credentials_async"}
    assert public == methods | {"user", "name", "region", "service"}
    for name in methods:
        assert signature(getattr(service, name)) == "(self)"
        assert inspect.iscoroutinefunction(getattr(service, name)) == name.endswith("_async")


def test_calling_a_provider_gives_static_credentials():
    keys = iamcacheauth.StaticCredentials("access", "secret")
    for provider in (
        iamcacheauth.RefreshingCredentials(lambda: keys),
        iamcacheauth.EnvironmentCredentials({"AWS_ACCESS_KEY_ID": "access", "AWS_SECRET_ACCESS_KEY": "secret"}),
    ):
        credentials = provider()
        assert type(credentials) is iamcacheauth.StaticCredentials
        assert (credentials.access_key, credentials.secret_key, credentials.token) == ("access", "secret", None)


@pytest.mark.skipif(sys.flags.optimize == 2, reason="-OO removes docstrings")
def test_everything_public_is_documented():
    for name in iamcacheauth.__all__:
        assert inspect.getdoc(getattr(iamcacheauth, name)), name


def test_errors():
    """ValueError and OSError because that is what callers, clients among them, expect to catch."""
    assert issubclass(iamcacheauth.ConfigurationError, iamcacheauth.Error)
    assert issubclass(iamcacheauth.ConfigurationError, ValueError)
    assert issubclass(iamcacheauth.CredentialsError, iamcacheauth.Error)
    assert issubclass(iamcacheauth.CredentialsError, OSError)
    assert not issubclass(iamcacheauth.Error, (ValueError, OSError))
    assert str(iamcacheauth.CredentialsError("said once")) == "said once"


def test_the_first_line_names_project_and_version():
    """Which is what somebody sees who finds a copy."""
    with open(iamcacheauth.__file__, encoding="utf-8") as file:
        assert file.readline().startswith(f"# iamcacheauth {iamcacheauth.__version__}: ")
