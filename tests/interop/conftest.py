"""Fixtures of the tests that run real clients."""

import gate as gates
import pytest


@pytest.fixture(scope="session")
def redis():
    """One redis-server for all the gates that need none of their own; its users are those of the default Cache."""
    with gates.Redis() as server:
        yield server


@pytest.fixture
def gate(redis):
    redis.run("FLUSHALL")
    with gates.Gate(gates.Cache(), redis) as gate:
        yield gate
