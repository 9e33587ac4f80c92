"""A host with several addresses, as dual-stack names and STS have them: the first one that answers serves."""

from __future__ import annotations

import socket

import pytest
from examples import ACCESS_KEY, SECRET_KEY
from loopback import Container
from subject import iamcacheauth

pytest_plugins = ["source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog")


@pytest.fixture
def closed_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound but not listening: connections to it are refused
        yield bound.getsockname()[1]


def resolve_to(monkeypatch, *ports):
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)


def test_an_address_that_refuses_is_passed_over(monkeypatch, container: Container, closed_port):
    resolve_to(monkeypatch, closed_port, container.server_address[1])
    assert iamcacheauth.EnvironmentCredentials(container.environ)().access_key


def test_an_address_that_no_socket_can_be_made_for_is_passed_over(monkeypatch, container: Container):
    """As ::1, to which localhost resolves also where IPv6 is switched off in the kernel."""
    address = ("127.0.0.1", container.server_address[1])
    unknown = 17  # UDP's number, for which there is no SOCK_STREAM
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, protocol, "", address) for protocol in (unknown, 6)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    assert iamcacheauth.EnvironmentCredentials(container.environ)().access_key


def test_the_last_refusal_is_the_error(monkeypatch, container: Container, closed_port):
    resolve_to(monkeypatch, closed_port, closed_port)
    with pytest.raises(iamcacheauth.CredentialsError, match="refused"):
        iamcacheauth.EnvironmentCredentials(container.environ)()


def test_a_name_without_addresses(monkeypatch, container: Container):
    resolve_to(monkeypatch)
    with pytest.raises(iamcacheauth.CredentialsError, match="failed"):
        iamcacheauth.EnvironmentCredentials(container.environ)()


def test_check_says_that_a_name_has_no_address(monkeypatch, capsys):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    resolve_to(monkeypatch)
    command = "check elasticache my-iam-user my-cache --region us-east-1 --endpoint localhost"
    assert iamcacheauth.main(command.split()) == 1
    assert "the connection failed" in capsys.readouterr().out
