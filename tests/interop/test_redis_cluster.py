"""The cluster clients of redis-py and valkey-py, in front of a real cluster of three nodes, by the README's recipes."""

import asyncio
import contextlib

import behaviour
import pytest

SYNC, ASYNCIO = 2, 3  # the blocks' numbers
KEYS = "abcdef"  # these are on all the three nodes


@pytest.fixture
def gate(three_shards):
    three_shards.start_afresh()
    return three_shards


@pytest.fixture
def operate(recipe, library):
    with contextlib.closing(recipe(f"{library.__name__}-py", SYNC).cache) as cache:

        def set_and_get():
            for key in KEYS:
                cache.set(key, key)
                assert cache.get(key) == key.encode()

        yield lambda: asyncio.to_thread(set_and_get)


@pytest.fixture
def with_async_cluster(recipe, library):
    """Run a coroutine function with the asyncio client's work."""

    def run(scenario):
        async def main():
            async with recipe(f"{library.__name__}-py", ASYNCIO).cache as cluster:

                async def operate():
                    for key in KEYS:
                        await cluster.set(key, key)
                        assert await cluster.get(key) == key.encode()

                await scenario(operate)

        asyncio.run(main())

    return run


def test_new_connections_get_new_tokens(gate, operate):
    asyncio.run(behaviour.new_connections_get_new_tokens(gate, operate))


def test_a_refusal_shows_and_passes(gate, operate, library):
    asyncio.run(behaviour.a_refusal_shows_and_passes(gate, operate, library.AuthenticationError))


def test_a_certificate_for_another_name_gets_no_token(gate, operate):
    asyncio.run(behaviour.a_certificate_for_another_name_gets_no_token(gate, operate))


def test_steady_traffic_survives_cuts(gate, operate):
    asyncio.run(behaviour.steady_traffic_survives_cuts(gate, operate))


def test_new_async_connections_get_new_tokens(gate, with_async_cluster):
    with_async_cluster(lambda operate: behaviour.new_connections_get_new_tokens(gate, operate))


def test_a_refusal_shows_and_passes_async(gate, with_async_cluster, library):
    error = library.AuthenticationError
    with_async_cluster(lambda operate: behaviour.a_refusal_shows_and_passes(gate, operate, error))


def test_a_certificate_for_another_name_gets_no_token_async(gate, with_async_cluster):
    with_async_cluster(lambda operate: behaviour.a_certificate_for_another_name_gets_no_token(gate, operate))


def test_steady_async_traffic_survives_cuts_when_repeated(gate, with_async_cluster, library):
    """A node's connections are closed while other tasks write to them, which fails in asyncio now and then."""

    async def scenario(operate):
        async def repeat():
            for _ in range(20):
                with contextlib.suppress(library.ConnectionError, AttributeError):
                    return await operate()
            return await operate()

        await behaviour.steady_traffic_survives_cuts(gate, repeat)

    with_async_cluster(scenario)


@pytest.mark.parametrize("number", [SYNC, ASYNCIO])
def test_a_serverless_cache_lets_it_in(serverless, library, application, recipe, number):
    serverless.start_afresh()
    client = recipe(f"{library.__name__}-py", number, gate=serverless).cache

    async def set_and_get():
        async with client:
            await client.set("key", "value")
            assert await client.get("key") == b"value"

    if number == ASYNCIO:
        asyncio.run(set_and_get())
    else:
        with contextlib.closing(client):
            client.set("key", "value")
            assert client.get("key") == b"value"
    assert serverless.logins
    assert serverless.refusals == []


def test_a_client_that_knows_no_clusters_gets_no_further(gate, serverless, application, recipe, library):
    serverless.start_afresh()
    with contextlib.closing(recipe(f"{library.__name__}-py", gate=serverless).cache) as cache:
        assert cache.set("key", "value")
        with pytest.raises(library.ResponseError, match="hash to the same slot"):
            cache.mset({"a": 1, "b": 2})
        with pytest.raises(library.ResponseError, match="SELECT"):
            cache.execute_command("SELECT", 1)
    with contextlib.closing(recipe(f"{library.__name__}-py").cache) as cache, pytest.raises(library.ResponseError):
        for key in KEYS:
            cache.set(key, key)  # MOVED
    assert gate.refusals == serverless.refusals == []
