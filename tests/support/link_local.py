"""The fixed addresses, for real; test_sources.py runs this in a network namespace that has them."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from support.loopback import Container, Imds
from support.subject import iamcacheauth

CONTAINER = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": Container.target}
AUTHORIZATION = {"AWS_CONTAINER_AUTHORIZATION_TOKEN": Container.authorization}


def full_uri(address):
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{address}{Container.target}"}


PLACES = {
    "container, relative URI": (Container, "169.254.170.2", {**CONTAINER, **AUTHORIZATION}),
    "container, full URI": (Container, "169.254.170.2", {**full_uri("169.254.170.2"), **AUTHORIZATION}),
    "EKS Pod Identity": (Container, "169.254.170.23", {**full_uri("169.254.170.23"), **AUTHORIZATION}),
    "EKS Pod Identity, IPv6": (Container, "fd00:ec2::23", {**full_uri("[fd00:ec2::23]"), **AUTHORIZATION}),
    "instance metadata": (Imds, "169.254.169.254", {}),
    "instance metadata, IPv6": (Imds, "fd00:ec2::254", {"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE": "ipv6"}),
}


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def place(request):
    kind, address, environ = request.param
    with kind((address, 80)) as server:
        yield server, environ


def test_call(place):
    server, environ = place
    credentials = iamcacheauth.EnvironmentCredentials(environ)()
    assert (credentials.secret_key, credentials.token) == (server.issued["SecretAccessKey"], server.issued["Token"])


def test_async(place):
    _, environ = place
    auth = iamcacheauth.MemoryDBAuth(
        "user", "cluster", region="us-east-1", credentials=iamcacheauth.EnvironmentCredentials(environ)
    )
    assert "X-Amz-Security-Token" in asyncio.run(auth.token_async())


@pytest.mark.commands
def test_command_line(place):
    _, environ = place
    command = [sys.executable, iamcacheauth.__file__, "token", "memorydb", "user", "cluster", "--region", "us-east-1"]
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(command, env={**variables, **environ}, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("cluster/?Action=connect&User=user&")


def test_nobody_there():
    """The addresses are, but not the services: connections are refused."""
    with pytest.raises(iamcacheauth.CredentialsError, match=r"none of AWS_ACCESS_KEY_ID.*is set"):
        iamcacheauth.EnvironmentCredentials({})()
    with pytest.raises(iamcacheauth.CredentialsError, match=r"RELATIVE_URI.*[Rr]efused"):
        iamcacheauth.EnvironmentCredentials(CONTAINER)()
