"""The lines of the README's table of frameworks: each is evaluated as it stands there, and what it makes is used."""

import asyncio
import importlib

import behaviour
import django.conf
import flask
import pytest
import readme
import redis.asyncio
from django.core.cache import CacheHandler
from support.subject import iamcacheauth

# Some of them call what redis-py has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def line(gate, application):
    """A function that evaluates the line of a framework, with the names it needs."""

    def evaluated(framework, module, *imported, **names):
        for name in imported:
            names[name] = getattr(importlib.import_module(module), name)
        names["auth"] = iamcacheauth.ElastiCacheAuth("my-iam-user", "my-cache", region="us-east-1")
        names["url"] = f"rediss://{gate.host}:{gate.port}/0"
        return eval(readme.table_line("Frameworks", framework, gate), {"redis": redis, **names})

    yield evaluated
    behaviour.assert_no_token_was_used_twice(gate)


def test_aiocache(line):
    async def scenario():
        async with line("aiocache", "aiocache", "RedisCache") as cache:
            await cache.set("key", "value")
            assert await cache.get("key") == "value"

    asyncio.run(scenario())


def test_cashews(line):
    async def scenario():
        cache = importlib.import_module("cashews").Cache()
        line("cashews", "cashews", cache=cache)
        await cache.set("key", "value")
        assert await cache.get("key") == "value"
        await cache.close()

    asyncio.run(scenario())


def test_channels_redis(line):
    async def scenario():
        layer = line("channels_redis", "channels_redis.core", "RedisChannelLayer")
        await layer.send("channel", {"type": "greeting"})
        assert await layer.receive("channel") == {"type": "greeting"}
        await layer.close_pools()

    asyncio.run(scenario())


def test_django_redis(line):
    if not django.conf.settings.configured:
        django.conf.settings.configure()
    caches = CacheHandler({"default": line("django-redis", "django_redis")})
    caches["default"].set("key", "value")
    assert caches["default"].get("key") == "value"
    caches.close_all()


def test_dramatiq(line):
    broker = line("dramatiq", "dramatiq.brokers.redis", "RedisBroker")
    broker.declare_queue("queue")
    assert broker.join("queue") is None
    broker.client.close()


def test_flask_caching(line):
    app = flask.Flask("app")
    cache = line("Flask-Caching", "flask_caching", "Cache", app=app)
    with app.app_context():
        cache.set("key", "value")
        assert cache.get("key") == "value"


def test_huey(line):
    huey = line("huey", "huey", "RedisHuey")
    huey.storage.put_data("key", b"value")
    assert huey.storage.peek_data("key") == b"value"
    huey.storage.conn.close()


def test_limits(line):
    storage = line("limits", "limits.storage", "storage_from_string")
    assert storage.incr("key", 10) == 1
    storage.storage.close()


def test_taskiq_redis(line):
    async def scenario():
        broker = line("taskiq-redis", "taskiq_redis", "ListQueueBroker")
        await broker.startup()
        await broker.task(task_name="add")(lambda: None).kiq()
        async for message in broker.listen():
            assert b"add" in message
            break
        await broker.shutdown()

    asyncio.run(scenario())
