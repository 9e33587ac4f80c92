"""Connections that are renewed in time, on classes of the shape that redis-py's and valkey-py's have."""

from __future__ import annotations

import os
from unittest import mock

import pytest
from support.subject import iamcacheauth

HOUR = 3600


class Connection:
    """Like redis-py's and valkey-py's: connecting again does nothing, and PubSub has itself told of new connections."""

    def __init__(self, host="localhost"):
        self.host = host
        self.is_connected = False
        self.history = []
        self._connect_callbacks = []

    def register_connect_callback(self, callback):
        self._connect_callbacks.append(callback)

    def deregister_connect_callback(self, callback):
        self._connect_callbacks.remove(callback)

    def connect(self):
        if not self.is_connected:
            self.is_connected = True
            self.history.append("connected")

    def disconnect(self, *args):
        if self.is_connected:
            self.is_connected = False
            self.history.append("disconnected")


class AsyncConnection(Connection):
    async def connect(self):
        super().connect()

    async def disconnect(self, nowait=False):
        super().disconnect()


@pytest.fixture(params=[Connection, AsyncConnection])
def connection_class(request):
    return request.param


@pytest.fixture
def clock():
    """What the standard library's monotonic clock shows, in seconds."""
    with mock.patch("time.monotonic", return_value=1000.0) as monotonic:
        yield monotonic


def finished(result):
    """What these coroutines return, which never wait for anything."""
    if hasattr(result, "send"):
        with pytest.raises(StopIteration) as stop:
            result.send(None)
        return stop.value.value
    return result


def check_out(connection):
    """As pools do it. True if the connection is another than before."""
    before = len(connection.history)
    finished(connection.connect())
    assert connection.is_connected
    return connection.history[before:] == (["disconnected", "connected"] if before else ["connected"])


def new_connection(connection_class, **options):
    connection = iamcacheauth.with_lifetime(connection_class, **options)()
    assert check_out(connection)
    return connection


@pytest.mark.parametrize(("options", "seconds"), [({}, 11 * HOUR), ({"seconds": 60}, 60), ({"seconds": 0.5}, 0.5)])
def test_renewed_when_it_is_handed_out(connection_class, clock, options, seconds):
    connection = new_connection(connection_class, **options)
    for _ in range(3):
        clock.return_value += seconds * 0.89
        assert not check_out(connection)
        assert not check_out(connection)
        clock.return_value += seconds * 0.12
        assert check_out(connection)


def test_not_all_at_once(connection_class, clock):
    lasting = iamcacheauth.with_lifetime(connection_class)
    connections = [lasting() for _ in range(200)]
    for connection in connections:
        check_out(connection)
    clock.return_value += 0.95 * 11 * HOUR
    renewed = [check_out(connection) for connection in connections]
    assert True in renewed
    assert False in renewed
    clock.return_value += 0.05 * 11 * HOUR
    again = [check_out(connection) for connection in connections]
    assert again == [not early for early in renewed]


@pytest.mark.parametrize(("chance", "due"), [(b"\0" * 4, 1.0), (b"\xff" * 4, 0.9)])
def test_up_to_a_tenth_earlier(connection_class, clock, monkeypatch, chance, due):
    monkeypatch.setattr(os, "urandom", lambda size: chance[:size])
    connection = new_connection(connection_class, seconds=10_000)
    clock.return_value += 10_000 * due - 1
    assert not check_out(connection)
    clock.return_value += 2
    assert check_out(connection)


def test_nobody_waits_for_the_other_side_to_close_the_old_connection(clock):
    class Noting(AsyncConnection):
        async def disconnect(self, nowait=False):
            self.nowait = nowait
            await super().disconnect()

    connection = new_connection(Noting)
    clock.return_value += 11 * HOUR
    assert check_out(connection)
    assert connection.nowait is True


def test_in_use_it_is_left_alone(connection_class, clock):
    """Between WATCH and EXEC, for one: clients connect only when they hand a connection out or have lost it."""
    connection = new_connection(connection_class)
    clock.return_value += 12 * HOUR
    assert connection.history == ["connected"]


def test_a_subscriber_keeps_its_connection(connection_class, clock):
    connection = new_connection(connection_class)
    connection.register_connect_callback(check_out)
    clock.return_value += 12 * HOUR
    assert not check_out(connection)
    finished(connection.disconnect())  # as the cache does it
    assert connection.history == ["connected", "disconnected"]
    finished(connection.connect())
    assert connection.history == ["connected", "disconnected", "connected"]
    connection.deregister_connect_callback(check_out)
    assert check_out(connection)


def test_a_lost_connection(connection_class, clock):
    connection = new_connection(connection_class)
    finished(connection.disconnect())
    finished(connection.connect())
    assert connection.history == ["connected", "disconnected", "connected"]
    clock.return_value += 11 * HOUR
    assert check_out(connection)


def test_a_renewal_that_fails_is_made_up_for(connection_class, clock, monkeypatch):
    connection = new_connection(connection_class)
    clock.return_value += 11 * HOUR
    with monkeypatch.context() as patch:

        def refuse(self):
            raise ConnectionRefusedError

        patch.setattr(connection_class, "connect", refuse)
        with pytest.raises(ConnectionRefusedError):
            finished(connection.connect())
    assert connection.history == ["connected", "disconnected"]
    finished(connection.connect())
    assert connection.history == ["connected", "disconnected", "connected"]


def test_it_is_the_clients_own_class(connection_class):
    lasting = iamcacheauth.with_lifetime(connection_class, seconds=60)
    assert issubclass(lasting, connection_class)
    assert lasting.__name__ == connection_class.__name__
    assert lasting(host="my-host").host == "my-host"


@pytest.mark.parametrize("wrong", [None, object, "redis.SSLConnection", dict, Connection()])
def test_another_class(wrong):
    with pytest.raises(iamcacheauth.ConfigurationError) as caught:
        iamcacheauth.with_lifetime(wrong)
    wanted = "connection_class: redis-py's or valkey-py's is wanted, such as redis.SSLConnection"
    assert str(caught.value) == wanted


@pytest.mark.parametrize("seconds", [0, -1, True, "39600", None, float("nan"), float("inf"), 12 * HOUR + 1])
def test_a_lifetime_that_cannot_be(connection_class, seconds):
    with pytest.raises(iamcacheauth.ConfigurationError) as caught:
        iamcacheauth.with_lifetime(connection_class, seconds=seconds)
    assert str(caught.value) == "seconds: a positive number is wanted, 43200 at most, after which the cache cuts"


def test_the_longest_lifetime(connection_class, clock):
    connection = new_connection(connection_class, seconds=12 * HOUR)
    clock.return_value += 12 * HOUR
    assert check_out(connection)
