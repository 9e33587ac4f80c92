"""A host with several addresses, as dual-stack names and STS have them: the first one that answers serves."""

from __future__ import annotations

import socket
import time

import pytest
from support.loopback import Container
from support.subject import iamcacheauth

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog")


@pytest.fixture
def closed_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound but not listening: connections to it are refused
        yield bound.getsockname()[1]


def resolve_to(monkeypatch, *ports):
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    found = {socket.SOCK_STREAM: addresses}
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, *, type: found[type])


def test_an_address_that_refuses_is_passed_over(monkeypatch, container: Container, closed_port):
    resolve_to(monkeypatch, closed_port, container.server_address[1])
    assert iamcacheauth.EnvironmentCredentials(container.environ)().access_key


def test_an_address_that_no_socket_can_be_made_for_is_passed_over(monkeypatch, container: Container):
    """As ::1, to which localhost resolves also where IPv6 is switched off in the kernel."""
    unknown = 17  # UDP's number, for which there is no SOCK_STREAM
    with Container() as never:
        addresses = [
            (socket.AF_INET, socket.SOCK_STREAM, unknown, "", never.server_address),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", container.server_address),
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
        assert iamcacheauth.EnvironmentCredentials(container.environ)().access_key
        del addresses[1]
        with pytest.raises(iamcacheauth.CredentialsError, match=r"[Pp]rotocol"):
            iamcacheauth.EnvironmentCredentials(container.environ)()
    assert never.requests == []


def test_the_last_refusal_is_the_error(monkeypatch, container: Container, closed_port):
    resolve_to(monkeypatch, closed_port, closed_port)
    with pytest.raises(iamcacheauth.CredentialsError, match="refused"):
        iamcacheauth.EnvironmentCredentials(container.environ)()


def test_each_address_has_an_even_share_of_the_time(monkeypatch, container: Container, closed_port):
    limits = []

    class Socket(socket.socket):
        def settimeout(self, limit):
            limits.append(limit)
            super().settimeout(limit)

    resolve_to(monkeypatch, closed_port, closed_port, closed_port)
    monkeypatch.setattr(socket, "socket", Socket)
    monkeypatch.setattr(time, "monotonic", lambda: 0.0)
    with pytest.raises(iamcacheauth.CredentialsError, match="refused"):
        iamcacheauth.EnvironmentCredentials(container.environ)()
    assert limits == [2 / 3, 1, 2] * 3  # an attempt at a container has two seconds


def test_a_resolver_that_uses_up_all_of_the_time(monkeypatch, container: Container):
    clock = [0.0]

    def resolve(host, port, *, type):
        clock[0] = 0.5
        return [(socket.AF_INET, type, 6, "", container.server_address)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with pytest.raises(iamcacheauth.CredentialsError, match=r": no complete answer in time$"):
        iamcacheauth.EnvironmentCredentials(container.environ, timeout=0.5)()


def test_a_name_without_addresses(monkeypatch, container: Container):
    resolve_to(monkeypatch)
    with pytest.raises(iamcacheauth.CredentialsError, match=r": the connection failed \(OSError\)$"):
        iamcacheauth.EnvironmentCredentials(container.environ)()
