"""Django's own Redis cache, by the README's settings."""

import asyncio

import behaviour
import django.conf
import pytest
import redis
from django.core.cache import CacheHandler

if not django.conf.settings.configured:
    django.conf.settings.configure()


@pytest.fixture
def operate(recipe):
    caches = CacheHandler(recipe("Django").CACHES)

    def set_and_get():
        caches["default"].set("key", {"a": 1})
        assert caches["default"].get("key") == {"a": 1}

    yield lambda: asyncio.to_thread(set_and_get)
    caches.close_all()


def test_new_connections_get_new_tokens(gate, operate):
    asyncio.run(behaviour.new_connections_get_new_tokens(gate, operate))


def test_a_refusal_shows_and_passes(gate, operate):
    asyncio.run(behaviour.a_refusal_shows_and_passes(gate, operate, redis.AuthenticationError))


def test_steady_traffic_survives_cuts(gate, operate):
    asyncio.run(behaviour.steady_traffic_survives_cuts(gate, operate))


def test_a_certificate_for_another_name_gets_no_token(gate, operate):
    asyncio.run(behaviour.a_certificate_for_another_name_gets_no_token(gate, operate))


def test_cluster_mode_refuses_several_keys_at_once(serverless, application, recipe):
    serverless.start_afresh()
    caches = CacheHandler(recipe("Django", gate=serverless).CACHES)
    caches["default"].set("key", "value")
    with pytest.raises(redis.ResponseError, match="hash to the same slot"):
        caches["default"].set_many({"a": 1, "b": 2})
    caches.close_all()
