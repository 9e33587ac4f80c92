"""redis-py and valkey-py, which share their ancestry and their interface, by the README's recipes."""

import asyncio
import contextlib
import importlib
import importlib.util

import behaviour
import pytest
import readme


def installed(module):
    missing = importlib.util.find_spec(module) is None
    return pytest.param(module, marks=pytest.mark.skipif(missing, reason=f"{module}-py is not in this environment"))


@pytest.fixture(params=[installed("redis"), installed("valkey")])
def library(request):
    return importlib.import_module(request.param)


@pytest.fixture
def cache(recipe, library):
    with contextlib.closing(recipe(f"{library.__name__}-py").cache) as cache:
        yield cache


@pytest.fixture
def operate(cache):
    """The blocking client's work, in a thread."""

    def set_and_get():
        cache.set("key", "value")
        assert cache.get("key") == b"value"

    return lambda: asyncio.to_thread(set_and_get)


@pytest.fixture
def with_async_cache(recipe, library):
    """Run a coroutine function with the client and its work."""

    def run(scenario):
        async def main():
            async with recipe(f"{library.__name__}-py", 1).cache as cache:

                async def operate():
                    await cache.set("key", "value")
                    assert await cache.get("key") == b"value"

                await scenario(cache, operate)

        asyncio.run(main())

    return run


def test_the_first_example_in_the_readme_logs_in(gate, application):
    names = {}
    exec(readme.block("iamcacheauth", 0, gate).replace("ssl=True", f"ssl=True, port={gate.port}"), names)
    with contextlib.closing(names["cache"]):
        assert len(gate.logins) == 1


def test_new_connections_get_new_tokens(gate, operate):
    asyncio.run(behaviour.new_connections_get_new_tokens(gate, operate))


def test_a_refusal_shows_and_passes(gate, operate, library):
    asyncio.run(behaviour.a_refusal_shows_and_passes(gate, operate, library.AuthenticationError))


def test_steady_traffic_survives_cuts(gate, operate):
    asyncio.run(behaviour.steady_traffic_survives_cuts(gate, operate))


def test_a_subscription_survives_cuts(gate, redis, cache):
    with contextlib.closing(cache.pubsub(ignore_subscribe_messages=True)) as subscription:
        subscription.subscribe("news")
        receive = lambda: asyncio.to_thread(subscription.get_message, timeout=0.1)
        publish = lambda text: redis.run("PUBLISH", "news", text)
        asyncio.run(behaviour.a_subscription_survives_cuts(gate, publish, receive))


def test_new_async_connections_get_new_tokens(gate, with_async_cache):
    with_async_cache(lambda _, operate: behaviour.new_connections_get_new_tokens(gate, operate))


def test_a_refusal_shows_and_passes_async(gate, with_async_cache, library):
    error = library.AuthenticationError
    with_async_cache(lambda _, operate: behaviour.a_refusal_shows_and_passes(gate, operate, error))


def test_steady_async_traffic_survives_cuts(gate, with_async_cache):
    with_async_cache(lambda _, operate: behaviour.steady_traffic_survives_cuts(gate, operate))


def test_an_async_subscription_survives_cuts(gate, redis, with_async_cache):
    async def scenario(cache, _):
        async with cache.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe("news")
            receive = lambda: subscription.get_message(timeout=0.1)
            publish = lambda text: redis.run("PUBLISH", "news", text)
            await behaviour.a_subscription_survives_cuts(gate, publish, receive)

    with_async_cache(scenario)
