"""redis-py's Sentinel client, with a real sentinel that watches the gate as its only master."""

import asyncio
import contextlib
import subprocess

import behaviour
import gate as gates
import pytest
import readme
import redis
from redis.sentinel import Sentinel
from support.subject import iamcacheauth

CONFIGURATION = """
port {port}
bind {loopback}
dir {folder}
tls-replication yes
tls-ca-cert-file {gate.ca_file}
tls-cert-file {folder}/sentinel.pem
tls-key-file {folder}/sentinel.pem
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel monitor my-cache {gate.host} {gate.port} 1
sentinel auth-user my-cache sentinel
sentinel auth-pass my-cache {token}
"""


def auth(user):
    return iamcacheauth.ElastiCacheAuth(user, "my-cache", region="us-east-1")


@pytest.fixture
def gate():
    with gates.Gate(gates.Cache(users=("my-iam-user", "sentinel"))) as gate:
        yield gate


@pytest.fixture
def sentinel_port(gate, application, tmp_path):
    port = gates.free_port()
    certificate = gates.authority().issue_cert(gate.host).private_key_and_cert_chain_pem
    certificate.write_to_path(tmp_path / "sentinel.pem")
    settings = CONFIGURATION.format(
        port=port, loopback=gates.LOOPBACK, folder=tmp_path, gate=gate, token=auth("sentinel").token()
    )
    (tmp_path / "sentinel.conf").write_text(settings)
    process = subprocess.Popen(["redis-server", tmp_path / "sentinel.conf", "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        gate.wait_for(lambda: len(gate.logins) == 2)  # one for commands and one for messages
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.fixture
def operate(gate, sentinel_port):
    with contextlib.ExitStack() as stack:
        sentinel = Sentinel([(gates.LOOPBACK, sentinel_port)])
        cache = eval(
            readme.table_line("Frameworks", "redis-py's Sentinel", 1, gate),
            {"Sentinel": lambda _: sentinel, "sentinels": None, "auth": auth("my-iam-user")},
        )
        for client in (cache, *sentinel.sentinels):
            stack.callback(client.close)

        def set_and_get():
            cache.set("key", "value")
            assert cache.get("key") == b"value"

        yield lambda: asyncio.to_thread(set_and_get)


def test_new_connections_get_new_tokens(gate, operate):
    asyncio.run(behaviour.new_connections_get_new_tokens(gate, operate))


def test_a_refusal_shows_and_passes(gate, operate):
    asyncio.run(behaviour.a_refusal_shows_and_passes(gate, operate, redis.AuthenticationError))


def test_a_certificate_for_another_name_gets_no_token(gate, operate):
    """The sentinel itself looks at no names: its connections to the gate do not end for that."""
    asyncio.run(operate())
    logins = len(gate.logins)
    gate.certify("another-cache.example.com")
    gate.cut_all()
    with pytest.raises(redis.ConnectionError):
        asyncio.run(operate())
    assert "my-iam-user" not in [login.user for login in gate.logins[logins:]]
