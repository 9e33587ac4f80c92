"""The lines of the README's table of frameworks: each is evaluated as it stands there, and what it makes is used.

Each use is a context manager that yields a coroutine function which does some work through the framework.
"""

import asyncio
import contextlib
import importlib
import itertools
import types

import behaviour
import celery.schedules
import django.conf
import flask
import pytest
import readme
from django.core.cache import CacheHandler

# Some of them call what redis-py has deprecated.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.usefixtures("application")]

LINE, IN_CLUSTER_MODE = 1, 2  # the table's columns
USES = {}


def use(framework, module, *imported, **names):
    """Register how to use what a framework's line makes, which needs these names, imported from a module or given."""

    def registered(function):
        USES[framework] = (contextlib.asynccontextmanager(function), module, imported, names)
        return function

    return registered


def evaluated(framework, gate, column=LINE):
    """What is in the table, with the names it needs; the use of it."""
    function, module, imported, names = USES[framework]
    names = {name: make() for name, make in names.items()}
    for name in imported:
        names[name] = getattr(importlib.import_module(module), name)
    options = vars(readme.run("Frameworks", 0, gate))
    made = eval(readme.table_line("Frameworks", framework, column, gate), {**options, **names})
    return function(types.SimpleNamespace(made=made, **names))


async def used(framework, gate, scenario, column=LINE):
    async with evaluated(framework, gate, column) as operate:
        await scenario(operate)


@use("aiocache", "aiocache", "RedisCache")
async def aiocache(names):
    async with names.made as cache:

        async def operate():
            await cache.set("key", "value")
            assert await cache.get("key") == "value"

        yield operate


@use("APScheduler", "apscheduler.jobstores.redis", "RedisJobStore")
async def apscheduler(names):
    async def operate():
        names.made.remove_all_jobs()
        assert names.made.get_all_jobs() == []

    yield operate
    names.made.shutdown()


@use("cashews", "cashews", cache=lambda: importlib.import_module("cashews").Cache())
async def cashews(names):
    async def operate():
        await names.cache.set("key", "value")
        assert await names.cache.get("key") == "value"

    yield operate
    await names.cache.close()


@use("channels_redis", "channels_redis.core", "RedisChannelLayer")
async def channels_redis(names):
    async def operate():
        await names.made.send("channel", {"type": "greeting"})
        assert await names.made.receive("channel") == {"type": "greeting"}
        await asyncio.gather(*names.made.receive_cleaners)  # which go on behind its back, and would take an hour to it

    yield operate
    await names.made.close_pools()


@use("django-redis", "django_redis")
async def django_redis(names):
    if not django.conf.settings.configured:
        django.conf.settings.configure()
    caches = CacheHandler({"default": names.made})

    async def operate():
        caches["default"].set("key", "value")
        assert caches["default"].get("key") == "value"
        caches["default"].set_many({"a": 1, "b": 2})

    yield operate
    caches.close_all()


@use("django-rq", "django_rq")
async def django_rq(names):
    if not django.conf.settings.configured:
        django.conf.settings.configure()
    connection = importlib.import_module("django_rq.connection_utils").get_redis_connection(names.made)
    queue = importlib.import_module("rq").Queue(connection=connection)

    async def operate():
        assert queue.enqueue(pow, 1, 2).get_status() == "queued"

    yield operate
    connection.close()


@use("dogpile.cache", "dogpile.cache", "make_region")
async def dogpile(names):
    async def operate():
        names.made.set("key", "value")
        assert names.made.get("key") == "value"
        names.made.set_multi({"a": 1, "b": 2})

    yield operate
    names.made.backend.reader_client.close()


@use("dramatiq", "dramatiq.brokers.redis", "RedisBroker")
async def dramatiq(names):
    broker = names.made
    broker.declare_queue("queue")

    async def operate():
        broker.enqueue(importlib.import_module("dramatiq").Message("queue", "actor", (), {}, {}))
        broker.flush("queue")
        assert broker.join("queue") is None

    yield operate
    broker.client.close()


@use("fastapi-cache2", "fastapi_cache.backends.redis", "RedisBackend")
async def fastapi_cache(names):
    async def operate():
        await names.made.set("key", b"value")
        assert (await names.made.get_with_ttl("key"))[1] == b"value"

    yield operate
    await names.made.redis.aclose()


@use("Flask-Caching", "flask_caching", "Cache", app=lambda: flask.Flask("app"))
async def flask_caching(names):
    with names.app.app_context():

        async def operate():
            names.made.set("key", "value")
            assert names.made.get("key") == "value"
            names.made.set_many({"a": 1, "b": 2})

        yield operate


def app_with_a_page(limiter, app):
    app.route("/")(limiter.limit("1000/minute")(lambda: "page"))
    return app.test_client()


a_client = lambda: lambda: "somebody"


@use("Flask-Limiter", "flask_limiter", "Limiter", app=lambda: flask.Flask("app"), get_remote_address=a_client)
async def flask_limiter(names):
    client = app_with_a_page(names.made, names.app)

    async def operate():
        assert client.get("/").status_code == 200

    yield operate
    names.made.storage.storage.close()


@use("Flask-Session", "flask_session", "Session", app=lambda: flask.Flask("app"))
async def flask_session(names):
    names.app.config.update(names.made)
    names.Session(names.app)
    names.app.route("/")(lambda: str(flask.session.setdefault("key", "value")))

    async def operate():
        response = names.app.test_client().get("/")  # a session of its own, with a random key
        assert (response.status_code, response.text) == (200, "value")

    yield operate
    names.app.session_interface.client.close()


@use("huey", "huey", "RedisHuey")
async def huey(names):
    storage = names.made.storage

    async def operate():
        storage.put_data("key", b"value")
        assert storage.peek_data("key") == b"value"
        storage.enqueue(b"task")
        assert storage.dequeue() == b"task"

    yield operate
    storage.conn.close()


@use("limits", "limits.storage", "storage_from_string")
async def limits(names):
    counter = itertools.count(1)

    async def operate():
        assert names.made.incr("key", 1000) == next(counter)
        assert names.made.acquire_entry("other", 1000, 60)

    yield operate
    names.made.storage.close()


@use("python-socketio", "socketio", "AsyncRedisManager")
async def socketio(names):
    async def operate():
        await names.made.emit("event", {})  # which only logs an error
        await names.made.redis.ping()

    yield operate
    await names.made.redis.aclose()


@use("redbeat", "redbeat")
async def redbeat(names):
    app = celery.Celery("tasks", broker=names.made["redbeat_redis_url"])
    app.conf.update(names.made)
    schedulers = importlib.import_module("redbeat.schedulers")

    async def operate():
        schedulers.RedBeatSchedulerEntry("entry", "task", celery.schedules.schedule(60), app=app).save()

    yield operate
    schedulers.get_redis(app).close()
    app.close()


@use("redis-om", "redis_om", "get_redis_connection")
async def redis_om(names):
    async def operate():
        assert names.made.set("key", "value")
        assert names.made.get("key") == "value"

    yield operate
    names.made.close()


@use("saq", "saq.queue.redis", "RedisQueue")
async def saq(names):
    await names.made.connect()

    async def operate():
        job = await names.made.enqueue("function")
        assert (await names.made.job(job.key)).id == job.id

    yield operate
    await names.made.disconnect()


@use("slowapi", "slowapi", "Limiter", get_remote_address=a_client)
async def slowapi(names):
    item = importlib.import_module("limits").parse("1000/minute")

    async def operate():
        assert names.made.limiter.hit(item, "somebody")

    yield operate
    names.made._storage.storage.close()


@use("starsessions", "starsessions.stores.redis", "RedisStore")
async def starsessions(names):
    async def operate():
        await names.made.write("key", b"value", lifetime=60, ttl=60)
        assert await names.made.read("key", lifetime=60) == b"value"

    yield operate
    await names.made._connection.aclose()


@use("taskiq-redis", "taskiq_redis", "ListQueueBroker", "ListQueueClusterBroker")
async def taskiq(names):
    broker = names.made
    await broker.startup()
    task = broker.task(task_name="add")(lambda: None)

    async def operate():
        await task.kiq()
        async for message in broker.listen():
            assert b"add" in message
            break

    yield operate
    await broker.shutdown()


def cell(framework, column):
    return readme.table_line("Frameworks", framework, column, None)


def has_a_line_for_clusters(framework):
    return cell(framework, IN_CLUSTER_MODE).startswith("`")


@pytest.mark.parametrize("framework", USES)
def test_every_new_connection_logs_in(gate, framework):
    asyncio.run(used(framework, gate, lambda operate: behaviour.new_connections_get_new_tokens(gate, operate)))


@pytest.mark.parametrize("framework", USES)
def test_a_certificate_for_another_name_gets_no_token(gate, framework):
    scenario = lambda operate: behaviour.a_certificate_for_another_name_gets_no_token(gate, operate)
    asyncio.run(used(framework, gate, scenario))


@pytest.mark.parametrize("framework", USES)
def test_connections_are_renewed_before_they_are_cut_if_the_line_says_so(gate, framework):
    async def scenario(operate):
        for _ in range(2 * gate.lifetime):
            await operate()
            await asyncio.to_thread(gate.pass_hours)

    asyncio.run(used(framework, gate, scenario))
    assert len(gate.logins) >= 2
    assert (gate.cuts == 0) == ("login" not in cell(framework, LINE))


@pytest.mark.parametrize("framework", USES)
def test_a_single_shard_as_the_table_says(serverless, framework):
    serverless.start_afresh()
    column = IN_CLUSTER_MODE if has_a_line_for_clusters(framework) else LINE
    works_or_not(framework, serverless, column, works=cell(framework, IN_CLUSTER_MODE) != "no")


@pytest.mark.parametrize("framework", USES)
def test_several_shards_as_the_table_says(three_shards, framework):
    three_shards.start_afresh()
    works = has_a_line_for_clusters(framework)
    works_or_not(framework, three_shards, IN_CLUSTER_MODE if works else LINE, works)


def works_or_not(framework, gate, column, works):
    async def scenario(operate):
        for _ in range(2 if works else 20):  # some keys are random, and may happen to be where the client looks
            await operate()

    with contextlib.nullcontext() if works else pytest.raises(Exception):  # each has one of its own
        asyncio.run(used(framework, gate, scenario, column))
    assert gate.logins
    assert gate.refusals == []
