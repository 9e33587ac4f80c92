"""The README's recipes for credentials of one's own, where they find nothing or fail."""

from __future__ import annotations

import os
import re
import sys

import pytest
from support.asking import refused
from support.examples import ACCESS_KEY, SECRET_KEY
from support.readme import README, blocks
from support.subject import iamcacheauth

pytestmark = pytest.mark.skipif(not README.exists(), reason="a vendored copy comes without the README")


def test_no_recipe_gives_the_result_of_a_lookup():
    """It may be None, which means the environment: somebody else, perhaps."""
    given = [given for block in blocks("python", "") for given in re.findall(r"credentials=([^,\s]*\))", block)]
    assert [call for call in given if re.search(r"get_credentials\(\)|\.credentials\b|load\(", call)] == []


@pytest.fixture
def exported(monkeypatch, tmp_path):
    """The recipe for the aws command, and a function that says what that does."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setitem(sys.modules, "iamcacheauth", iamcacheauth)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)  # which are not to be used in its place
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    (code,) = blocks("python", "export-credentials")

    def auth(script):
        aws = tmp_path / "aws"
        aws.write_text(f"#!/bin/sh\n{script}\n")
        aws.chmod(0o755)
        names = {}
        exec(code, names)
        return names["auth"]

    return auth


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_what_the_aws_command_says_reaches_the_user(exported, capfd):
    auth = exported("echo 'The SSO session associated with this profile has expired.' >&2; exit 255")
    message = refused(auth.token)
    assert "CalledProcessError" in message
    assert "__cause__" in message
    assert capfd.readouterr().err == "The SSO session associated with this profile has expired.\n"


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("printed", ["", "{}", "null", '{"AccessKeyId": "x"}', "no JSON"])
def test_what_the_aws_command_prints_is_no_credentials(exported, printed):
    message = refused(exported(f"echo '{printed}'").token)
    assert "__cause__" in message


def test_where_to_look_is_said_of_any_callable():
    """Its own words stay in the cause: nobody else knows whether they hold a secret."""

    def vault():
        raise PermissionError("token hvs.secret is not allowed")

    for credentials in (vault, iamcacheauth.RefreshingCredentials(vault)):
        auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=credentials)
        with pytest.raises(iamcacheauth.CredentialsError, match=r"PermissionError.*__cause__") as caught:
            auth.token()
        assert "secret" not in str(caught.value)
        assert isinstance(caught.value.__cause__, PermissionError)
