"""Fixtures of the tests that run real clients."""

import gc
import time
import types

import gate as gates
import pytest
import readme
from support.subject import iamcacheauth


@pytest.fixture(params=["redis", "valkey"])
def library(request):
    """redis-py or valkey-py, which share their ancestry and their interface."""
    return pytest.importorskip(request.param)


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


@pytest.fixture(scope="session")
def serverless():
    """The gate of a serverless cache, which is a cluster with a single shard."""
    with gates.cluster(1, gates.Cache(serverless=True)) as gate:
        yield gate


@pytest.fixture(scope="session")
def three_shards():
    with gates.cluster(3) as gate:
        yield gate


@pytest.fixture
def application(gate, monkeypatch):
    """The environment of an application that uses the gate's cache: each token it signs is another second's, and the
    gate's hours pass for it as well."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", gates.ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", gates.SECRET_KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("SSL_CERT_FILE", gate.ca_file)
    seconds = iter(range(int(time.time()) - 800, int(time.time()) + 200))
    monotonic = lambda: time.monotonic() + 3600 * gate.hours
    clock = types.SimpleNamespace(**{**vars(time), "time": lambda: next(seconds), "monotonic": monotonic})
    monkeypatch.setattr(iamcacheauth, "time", clock)
    yield
    gc.collect()


def pytest_collection_modifyitems(items):
    """Some clients leave connections that were cut to the garbage collector: that is not ours to mend."""
    for item in items:
        if "application" in item.fixturenames:
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))


@pytest.fixture
def recipe(gate, application):
    """Run a block of the README's: recipe("redis-py", 1) for the second one under that heading."""
    return lambda heading, number=0, gate=gate, **options: readme.run(heading, number, gate, **options)
