"""Fixtures of the tests that fetch credentials: servers, a clock to turn, a resolver to lead, and a watchdog."""

from __future__ import annotations

import ipaddress
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from support.asking import OPERATIONS
from support.examples import NOON
from support.loopback import Container, Imds, Server, Sts
from support.waiting import PATIENCE, Background, Fetch


@pytest.fixture
def watchdog() -> Iterator[None]:
    """A test that hangs fails where it hangs."""

    def bark(*_: object) -> None:
        raise AssertionError(f"still not done after {PATIENCE} seconds")

    before = signal.signal(signal.SIGALRM, bark)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of day, for the module and for servers alike; it only moves when a test says so."""
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture
def background() -> Background:
    return Background()


@pytest.fixture
def fetch() -> Iterator[Fetch]:
    fetch = Fetch()
    yield fetch
    fetch.may_end.set()


class Resolver:
    """Stands in for socket.getaddrinfo: loopback is there, ``routes`` lead to servers, nothing else exists."""

    def __init__(self) -> None:
        self._resolve = socket.getaddrinfo
        self.asked: list[tuple[str, int]] = []
        self.routes: dict[tuple[str, int], Server] = {}

    def __call__(self, host: str, port: int, *args: int, **options: int) -> list[object]:
        self.asked.append((host, port))
        if (host, port) in self.routes:
            host, port = self.routes[host, port].server_address[:2]
        host.encode("idna")  # the real one fails like this, too
        if not (host == "localhost" or _is_loopback(host)):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return list(self._resolve(host, port, *args, **options))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """No way out of this machine, and names and addresses that lead where a test wants them."""
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver


@pytest.fixture
def container() -> Iterator[Container]:
    with Container() as server:
        yield server


@pytest.fixture
def imds() -> Iterator[Imds]:
    with Imds() as server:
        yield server


@pytest.fixture
def sts() -> Iterator[Sts]:
    with Sts() as server:
        yield server


@pytest.fixture(params=["sts", "container", "imds"])
def server(request: pytest.FixtureRequest) -> Server:
    return request.getfixturevalue(request.param)


@pytest.fixture(params=OPERATIONS, ids=lambda param: f"{param[0].__name__} {param[1]}")
def operation(request: pytest.FixtureRequest) -> Iterator[tuple[Server, str]]:
    """A server of each kind, and one of the operations that a retrieval from it takes."""
    kind, operation = request.param
    with kind() as server:
        yield server, operation
