"""coredis, by the README's recipe."""

import asyncio

import anyio
import behaviour
import coredis
import gate as gates
import pytest


@pytest.fixture
def with_cache(recipe):
    """Run a coroutine function with the client and its work."""

    def run(scenario):
        async def main():
            async with recipe("coredis").cache as cache:

                async def operate():
                    await cache.set("key", "value")
                    assert await cache.get("key") == b"value"

                await scenario(cache, operate)

        asyncio.run(main())

    return run


def test_new_connections_get_new_tokens(gate, with_cache):
    with_cache(lambda _, operate: behaviour.new_connections_get_new_tokens(gate, operate))


def test_a_refusal_shows_and_passes(gate, with_cache):
    error = coredis.exceptions.AuthenticationFailureError
    with_cache(lambda _, operate: behaviour.a_refusal_shows_and_passes(gate, operate, error))


def test_a_certificate_for_another_name_gets_no_token(gate, with_cache):
    with_cache(lambda _, operate: behaviour.a_certificate_for_another_name_gets_no_token(gate, operate))


def test_steady_traffic_survives_cuts(gate, with_cache):
    with_cache(lambda _, operate: behaviour.steady_traffic_survives_cuts(gate, operate))


def test_a_subscription_survives_cuts(gate, redis, with_cache):
    async def scenario(cache, _):
        async with cache.pubsub(channels=["news"], ignore_subscribe_messages=True) as subscription:
            receive = lambda: subscription.get_message(timeout=0.1)
            publish = lambda text: redis.run("PUBLISH", "news", text)
            await behaviour.a_subscription_survives_cuts(gate, publish, receive)

    with_cache(scenario)


def test_a_login_while_iam_is_overloaded_is_tried_once_and_the_next_command_tries_again(gate, with_cache):
    async def scenario(_, operate):
        gate.refuse_next(1, gates.UNAVAILABLE)
        await asyncio.to_thread(gate.cut_all)
        with pytest.raises(coredis.exceptions.ResponseError, match="service is not available"):
            await operate()
        await operate()

    with_cache(scenario)


def test_for_clusters(three_shards, serverless, application, recipe):
    for gate in (three_shards, serverless):
        gate.start_afresh()

        async def scenario(gate=gate):
            edit = lambda code: code.replace("coredis.Redis(", "coredis.RedisCluster(")
            async with recipe("coredis", gate=gate, edit=edit).cache as cache:

                async def operate():
                    for key in "abcdef":
                        await cache.set(key, key)
                        assert await cache.get(key) == key.encode()

                await behaviour.a_certificate_for_another_name_gets_no_token(gate, operate)

        asyncio.run(scenario())


def test_under_trio(gate, application, recipe):
    async def scenario():
        async with recipe("coredis").cache as cache:
            assert await cache.set("key", "value")

    anyio.run(scenario, backend="trio")
    assert len(gate.logins) == 1
