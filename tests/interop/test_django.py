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
