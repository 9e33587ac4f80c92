"""redis-py and valkey-py, which share their ancestry and their interface, by the README's recipes."""

import asyncio
import contextlib
import re
import types

import behaviour
import gate as gates
import pytest
import readme

SYNC, ASYNCIO, CLUSTER, ASYNCIO_CLUSTER, LISTEN, LOG_IN = range(6)  # the blocks' numbers
without_retry = lambda code: re.sub(r"^    retry.*\n", "", code, flags=re.MULTILINE)
without_lifetime = lambda code: re.sub(
    r"^    connection_class=with_lifetime\((.*)\),$", r"    connection_class=\1,", code, flags=re.M
)
with_protocol_3 = lambda code: code.replace("    host=", "    protocol=3,\n    host=")
with_log_in = lambda code: code.replace("    host=", "    redis_connect_func=log_in,\n    host=")


@pytest.fixture
def make(recipe, library):
    """A function that runs a block of the library's section and returns the client it makes."""
    return lambda number, **options: recipe(f"{library.__name__}-py", number, **options).cache


@pytest.fixture
def cache(make):
    with contextlib.closing(make(SYNC)) as cache:
        yield cache


@pytest.fixture
def operate(cache):
    """The blocking client's work, in a thread."""

    def set_and_get():
        cache.set("key", "value")
        assert cache.get("key") == b"value"

    return lambda: asyncio.to_thread(set_and_get)


@pytest.fixture
def with_async_cache(make):
    """Run a coroutine function with the client and its work."""

    def run(scenario, number=ASYNCIO, **options):
        async def main():
            async with make(number, **options) as cache:

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
        names["cache"].ping()
        assert len(gate.logins) == 1


# --- every connection logs in, with a token of its own ---


def test_new_connections_get_new_tokens(gate, operate):
    asyncio.run(behaviour.new_connections_get_new_tokens(gate, operate))


def test_new_async_connections_get_new_tokens(gate, with_async_cache):
    with_async_cache(lambda _, operate: behaviour.new_connections_get_new_tokens(gate, operate))


def test_a_refusal_shows_and_passes(gate, operate, library):
    asyncio.run(behaviour.a_refusal_shows_and_passes(gate, operate, library.AuthenticationError))


def test_a_refusal_shows_and_passes_async(gate, with_async_cache, library):
    error = library.AuthenticationError
    with_async_cache(lambda _, operate: behaviour.a_refusal_shows_and_passes(gate, operate, error))


def test_a_certificate_for_another_name_gets_no_token(gate, operate):
    asyncio.run(behaviour.a_certificate_for_another_name_gets_no_token(gate, operate))


def test_a_certificate_for_another_name_gets_no_token_async(gate, with_async_cache):
    with_async_cache(lambda _, operate: behaviour.a_certificate_for_another_name_gets_no_token(gate, operate))


# --- AWS's twelve hours ---


def test_without_the_retry_no_command_fails_and_none_is_executed_twice(gate, redis, make):
    with contextlib.closing(make(SYNC, edit=without_retry)) as cache:
        increment = lambda: asyncio.to_thread(cache.incr, "counter")
        executed = asyncio.run(behaviour.steady_traffic_survives_cuts(gate, increment))
    assert int(redis.run("GET", "counter")) == executed


def test_without_the_retry_no_async_command_fails_and_none_is_executed_twice(gate, redis, with_async_cache):
    async def scenario(cache, _):
        executed = await behaviour.steady_traffic_survives_cuts(gate, lambda: cache.incr("counter"))
        assert int(redis.run("GET", "counter")) == executed

    with_async_cache(scenario, edit=without_retry)


def test_without_the_lifetime_no_command_fails(gate, make):
    with contextlib.closing(make(SYNC, edit=without_lifetime)) as cache:
        ping = lambda: asyncio.to_thread(cache.ping)
        asyncio.run(behaviour.steady_traffic_survives_cuts(gate, ping))
        assert gate.cuts >= 5


def test_without_the_lifetime_no_async_command_fails(gate, with_async_cache):
    async def scenario(cache, _):
        await behaviour.steady_traffic_survives_cuts(gate, cache.ping)
        assert gate.cuts >= 5

    with_async_cache(scenario, edit=without_lifetime)


def test_a_connection_that_the_retry_made_is_renewed_as_well(gate, cache):
    with cache.pipeline() as pipeline:
        pipeline.watch("key")  # takes a connection and keeps it
        pipeline.unwatch()
        gate.cut_all()
        assert pipeline.set("key", "value").execute() == [True]
    assert len(gate.logins) == 2
    gate.pass_hours(11)
    assert cache.get("key") == b"value"
    assert len(gate.logins) == 3


def test_an_async_connection_that_the_retry_made_is_renewed_as_well(gate, with_async_cache):
    async def scenario(cache, _):
        async with cache.pipeline() as pipeline:
            await pipeline.watch("key")
            await pipeline.unwatch()
            await asyncio.to_thread(gate.cut_all)
            assert await pipeline.set("key", "value").execute() == [True]
        assert len(gate.logins) == 2
        await asyncio.to_thread(gate.pass_hours, 11)
        assert await cache.get("key") == b"value"
        assert len(gate.logins) == 3

    with_async_cache(scenario)


def test_a_connection_is_not_renewed_between_watch_and_exec(gate, redis, cache, library):
    with cache.pipeline() as pipeline:
        pipeline.watch("key")
        gate.pass_hours(11)
        assert pipeline.get("key") is None
        redis.run("SET", "key", "another's")
        pipeline.multi()
        pipeline.set("key", "mine")
        with pytest.raises(library.WatchError):
            pipeline.execute()
    assert len(gate.logins) == 1
    assert cache.get("key") == b"another's"
    assert len(gate.logins) == 2


def test_an_async_connection_is_not_renewed_between_watch_and_exec(gate, redis, with_async_cache, library):
    async def scenario(cache, _):
        async with cache.pipeline() as pipeline:
            await pipeline.watch("key")
            await asyncio.to_thread(gate.pass_hours, 11)
            assert await pipeline.get("key") is None
            redis.run("SET", "key", "another's")
            pipeline.multi()
            pipeline.set("key", "mine")
            with pytest.raises(library.WatchError):
                await pipeline.execute()
        assert len(gate.logins) == 1
        assert await cache.get("key") == b"another's"
        assert len(gate.logins) == 2

    with_async_cache(scenario)


# --- subscribers ---


def test_a_subscription_survives_cuts(gate, redis, cache):
    with contextlib.closing(cache.pubsub(ignore_subscribe_messages=True)) as subscription:
        subscription.subscribe("news")
        receive = lambda: asyncio.to_thread(subscription.get_message, timeout=0.1)
        publish = lambda text: redis.run("PUBLISH", "news", text)
        asyncio.run(behaviour.a_subscription_survives_cuts(gate, publish, receive))


def test_an_async_subscription_survives_cuts(gate, redis, with_async_cache):
    async def scenario(cache, _):
        async with cache.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe("news")
            receive = lambda: subscription.get_message(timeout=0.1)
            publish = lambda text: redis.run("PUBLISH", "news", text)
            await behaviour.a_subscription_survives_cuts(gate, publish, receive)

    with_async_cache(scenario)


def test_a_subscription_is_not_renewed_under_its_reader(gate, redis, cache):
    """A read that waits for as long as it takes is one before which the client calls connect()."""
    with contextlib.closing(cache.pubsub()) as subscription:
        subscription.subscribe("news")
        assert subscription.get_message(timeout=None)["type"] == "subscribe"
        gate.pass_hours(11)
        receive = lambda: asyncio.to_thread(subscription.get_message, timeout=None)
        publish = lambda text: redis.run("PUBLISH", "news", text)
        asyncio.run(behaviour.no_message_is_lost(publish, receive, lambda: None))
    assert len(gate.logins) == 1


def test_an_async_subscription_is_not_renewed_under_its_reader(gate, redis, with_async_cache):
    async def scenario(cache, _):
        async with cache.pubsub() as subscription:
            await subscription.subscribe("news")
            assert (await subscription.get_message(timeout=None))["type"] == "subscribe"
            await asyncio.to_thread(gate.pass_hours, 11)
            receive = lambda: subscription.get_message(timeout=None)
            publish = lambda text: redis.run("PUBLISH", "news", text)
            await behaviour.no_message_is_lost(publish, receive, lambda: None)
        assert len(gate.logins) == 1

    with_async_cache(scenario)


@pytest.fixture
def messages(gate, recipe):
    """The README's function, by the gate's clock. It gives up where it would wait without end."""
    clock = types.SimpleNamespace(monotonic=(3600 * gate.hours for _ in range(300)).__next__)
    own_clock = lambda code: code.replace("import time\n", "\n").replace("timeout=60", "timeout=1")
    return lambda edit: recipe("redis-py", LISTEN, edit=lambda code: edit(own_clock(code)), time=clock).messages


def test_a_subscription_that_logs_in_again_misses_nothing(gate, redis, messages, make):
    with contextlib.closing(make(SYNC, edit=with_protocol_3)) as cache:
        auth = cache.connection_pool.connection_kwargs["credential_provider"]
        with contextlib.closing(cache.pubsub()) as subscription:
            subscription.subscribe("news")
            listening = messages(lambda code: code)(subscription, auth)
            assert next(listening)["type"] == "subscribe"
            receive = lambda: asyncio.to_thread(next, listening)
            publish = lambda text: redis.run("PUBLISH", "news", text)
            asyncio.run(behaviour.no_message_is_lost(publish, receive, gate.pass_hours))
    assert (gate.cuts, gate.refusals) == (0, [])
    assert len(gate.logins) >= 3


def test_an_async_subscription_that_logs_in_again_misses_nothing(gate, redis, messages, with_async_cache):
    with_await = lambda code: code.replace("def ", "async def ").replace("subscription.", "await subscription.")

    async def scenario(cache, _):
        auth = cache.connection_pool.connection_kwargs["credential_provider"]
        async with cache.pubsub() as subscription:
            await subscription.subscribe("news")
            listening = messages(with_await)(subscription, auth)
            assert (await listening.__anext__())["type"] == "subscribe"
            publish = lambda text: redis.run("PUBLISH", "news", text)
            await behaviour.no_message_is_lost(publish, listening.__anext__, gate.pass_hours)
        assert (gate.cuts, gate.refusals) == (0, [])
        assert len(gate.logins) >= 3

    with_async_cache(scenario, edit=with_protocol_3)


# --- what AWS answers while IAM is overloaded ---

FAILING = "redis.call('INCR', KEYS[1]) return redis.error_reply('ERR no reason to try again')"


@pytest.fixture
def retries_logins(library):
    """Skip where the client's retry does not cover what happens after it has connected."""
    if library.__name__ == "valkey" or int(library.__version__.partition(".")[0]) < 7:
        pytest.skip("only redis-py from 7 on")


def test_a_login_is_tried_again_while_iam_is_overloaded(gate, redis, recipe, make, library, retries_logins):
    log_in = recipe("redis-py", LOG_IN).log_in
    with contextlib.closing(make(SYNC, edit=with_log_in, log_in=log_in)) as cache:
        gate.refuse_next(2, gates.UNAVAILABLE)
        assert cache.set("key", "value")
        assert (len(gate.refusals), len(gate.logins)) == (2, 1)
        with pytest.raises(library.ResponseError, match="no reason"):
            cache.eval(FAILING, 1, "counter")
    assert int(redis.run("GET", "counter")) == 1


def test_an_async_login_is_tried_again_while_iam_is_overloaded(
    gate, redis, recipe, with_async_cache, library, retries_logins
):
    with_await = lambda code: code.replace("def ", "async def ").replace("connection.on", "await connection.on")
    log_in = recipe("redis-py", LOG_IN, edit=with_await).log_in

    async def scenario(cache, _):
        gate.refuse_next(2, gates.UNAVAILABLE)
        assert await cache.set("key", "value")
        assert (len(gate.refusals), len(gate.logins)) == (2, 1)
        with pytest.raises(library.ResponseError, match="no reason"):
            await cache.eval(FAILING, 1, "counter")
        assert int(redis.run("GET", "counter")) == 1

    with_async_cache(scenario, edit=with_log_in, log_in=log_in)


def test_without_that_a_login_is_tried_once_and_the_next_command_tries_again(gate, cache, library):
    gate.refuse_next(1, gates.UNAVAILABLE)
    with pytest.raises(library.ResponseError, match="service is not available"):
        cache.set("key", "value")
    assert len(gate.refusals) == 1
    assert cache.set("key", "value")
