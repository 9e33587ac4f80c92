"""The README's client that is nothing but the standard library, and its redis-cli lines."""

import functools
import os
import pathlib
import shlex
import ssl
import subprocess
import sys

import gate as gates
import pytest
import readme
from support.subject import iamcacheauth

TEMPORARY = (gates.TEMPORARY_ACCESS_KEY, gates.SECRET_KEY, gates.SESSION_TOKEN)


def ping(names, connection):
    names.send(connection, "PING")
    return connection.recv(100)


def test_a_socket_logs_in(gate, recipe):
    names = recipe("Nothing but the standard library")
    with names.connect() as connection:
        assert ping(names, connection) == b"+PONG\r\n"
        gate.cut_all()
    with names.connect() as connection:
        assert ping(names, connection) == b"+PONG\r\n"
    assert len({login.token for login in gate.logins}) == 2


def test_a_socket_shows_a_refusal(gate, recipe):
    names = recipe("Nothing but the standard library")
    gate.refuse_next()
    with pytest.raises(PermissionError, match="WRONGPASS"):
        names.connect()
    with names.connect() as connection:
        assert ping(names, connection) == b"+PONG\r\n"


def test_a_socket_refuses_a_certificate_for_another_name(gate, recipe):
    names = recipe("Nothing but the standard library")
    gate.certify("another-cache.example.com")
    with pytest.raises(ssl.SSLCertVerificationError):
        names.connect()
    assert gate.logins == gate.refusals == []


@pytest.mark.parametrize(
    ("cache", "make_auth"),
    [
        (gates.Cache(serverless=True), functools.partial(iamcacheauth.ElastiCacheAuth, serverless=True)),
        (gates.Cache(service="memorydb"), iamcacheauth.MemoryDBAuth),
        (gates.Cache(), iamcacheauth.ElastiCacheAuth),
    ],
    ids=["serverless", "MemoryDB", "replication group"],
)
def test_every_kind_of_cache_lets_its_tokens_in(redis, application, cache, make_auth):
    credentials = iamcacheauth.StaticCredentials(*TEMPORARY)
    with gates.Gate(cache, redis) as gate:
        names = readme.run("Nothing but the standard library", 0, gate)
        auth = make_auth("my-iam-user", "my-cache", region="us-east-1", credentials=credentials)
        names.connect.__globals__["auth"] = auth
        with names.connect() as connection:
            assert ping(names, connection) == b"+PONG\r\n"


def test_a_socket_stays_by_logging_in_again(gate, recipe):
    names = recipe("Nothing but the standard library")
    with names.connect() as connection:
        for _ in range(3):
            with names.connect() as left_alone:
                for _ in range(2):
                    assert ping(names, left_alone) == b"+PONG\r\n"
                    names.send(connection, "AUTH", *names.auth.get_credentials())
                    assert connection.recv(100) == b"+OK\r\n"
                    gate.pass_hours(gate.lifetime // 2)
                assert is_cut(left_alone)
        assert ping(names, connection) == b"+PONG\r\n"
    assert gate.cuts == 3


def is_cut(connection):
    connection.settimeout(gates.PATIENCE)
    try:
        return connection.recv(100) == b""
    except ConnectionError:
        return True


@pytest.fixture
def redis_cli(gate, application):
    """Run the README's lines with a command after them, and return what redis-cli prints."""
    folder = pathlib.Path(iamcacheauth.__file__).parent
    lines = readme.block("redis-cli", 0, gate).strip().replace("python3", shlex.quote(sys.executable))
    return lambda command: (
        subprocess.run(
            ["sh", "-ec", f"{lines} {command}"],
            check=True,
            cwd=folder,
            env={**os.environ},
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
    )


def test_redis_cli_logs_in(gate, redis_cli):
    assert redis_cli("SET key value") == "OK\n"
    assert redis_cli("GET key") == "value\n"
    assert [login.user for login in gate.logins] == ["my-iam-user"] * 2


def test_redis_cli_shows_a_refusal(gate, redis_cli):
    gate.refuse_next()
    assert "NOAUTH" in redis_cli("GET key")
    assert redis_cli("PING") == "PONG\n"


def test_redis_cli_takes_a_certificate_for_any_name(gate, redis_cli):
    """As the README warns."""
    gate.certify("another-cache.example.com")
    assert redis_cli("SET key value") == "OK\n"
