"""redis-py's cluster clients, in front of a real cluster of three nodes."""

import asyncio
import contextlib

import behaviour
import gate as gates
import pytest
import redis
import redis.asyncio
from support.subject import iamcacheauth

SLOTS = ["0 5460", "5461 10922", "10923 16383"]
KEYS = "abcdef"  # these are on all the three nodes


@pytest.fixture
def gate():
    """The gate of a cluster whose nodes announce the gate's ports for their own."""
    bus_ports = [str(gates.free_port()) for _ in SLOTS]
    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(gates.Redis("--cluster-enabled", "yes", "--cluster-port", p)) for p in bus_ports]
        gate = stack.enter_context(gates.Gate(gates.Cache(), *nodes))
        for node, port, slots in zip(nodes, gate.ports, SLOTS):
            node.run("CONFIG", "SET", "cluster-announce-port", str(port))
            node.run("CONFIG", "SET", "cluster-announce-hostname", gate.host)
            node.run("CONFIG", "SET", "cluster-preferred-endpoint-type", "hostname")
            node.run("CLUSTER", "ADDSLOTSRANGE", *slots.split())
        for port, bus_port in zip(gate.ports[1:], bus_ports[1:]):
            nodes[0].run("CLUSTER", "MEET", gates.LOOPBACK, str(port), bus_port)
        for node in nodes:
            node.wait_for_log("Cluster state changed: ok")
        yield gate


@pytest.fixture
def operate(recipe):
    with contextlib.closing(recipe("redis-py", 2).cache) as cache:

        def set_and_get():
            for key in KEYS:
                cache.set(key, key)
                assert cache.get(key) == key.encode()

        yield lambda: asyncio.to_thread(set_and_get)


@pytest.fixture
def with_async_cluster(gate, application):
    """Run a coroutine function with the work of an asyncio client, which has the arguments that the README says."""

    def run(scenario):
        async def main():
            auth = iamcacheauth.ElastiCacheAuth("my-iam-user", "my-cache", region="us-east-1")
            cluster = redis.asyncio.RedisCluster(host=gate.host, port=gate.port, ssl=True, credential_provider=auth)
            async with cluster:

                async def operate():
                    for key in KEYS:
                        await cluster.set(key, key)
                        assert await cluster.get(key) == key.encode()

                await scenario(operate)

        asyncio.run(main())

    return run


def test_new_connections_get_new_tokens(gate, operate):
    asyncio.run(behaviour.new_connections_get_new_tokens(gate, operate))


def test_a_refusal_shows_and_passes(gate, operate):
    asyncio.run(behaviour.a_refusal_shows_and_passes(gate, operate, redis.AuthenticationError))


def test_steady_traffic_survives_cuts(gate, operate):
    asyncio.run(behaviour.steady_traffic_survives_cuts(gate, operate))


def test_new_async_connections_get_new_tokens(gate, with_async_cluster):
    with_async_cluster(lambda operate: behaviour.new_connections_get_new_tokens(gate, operate))


def test_a_refusal_shows_and_passes_async(gate, with_async_cluster):
    error = redis.AuthenticationError
    with_async_cluster(lambda operate: behaviour.a_refusal_shows_and_passes(gate, operate, error))


def test_steady_async_traffic_survives_cuts_when_repeated(gate, with_async_cluster):
    """redis-py closes a node's connections while other tasks write to them, which fails in asyncio now and then."""

    async def scenario(operate):
        async def repeat():
            for _ in range(20):
                with contextlib.suppress(redis.ConnectionError, AttributeError):
                    return await operate()
            return await operate()

        await behaviour.steady_traffic_survives_cuts(gate, repeat)

    with_async_cluster(scenario)
