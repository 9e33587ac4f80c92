"""Generators in interpreters beside the main one, each with a global interpreter lock of its own."""

from __future__ import annotations

import concurrent.futures
import functools
import os
from collections.abc import Iterator

import pytest
from support.examples import PERMANENT, read
from support.subject import iamcacheauth

pytestmark = pytest.mark.skipif(
    not hasattr(concurrent.futures, "InterpreterPoolExecutor"), reason="from Python 3.14 on"
)
FETCHED = iamcacheauth.RefreshingCredentials(
    functools.partial(iamcacheauth.StaticCredentials, PERMANENT.access_key, PERMANENT.secret_key, None, 32503680000)
)


@pytest.fixture
def interpreters() -> Iterator[concurrent.futures.Executor]:
    """Interpreters that find the module under test."""
    look = f"import sys; sys.path.insert(0, {os.path.dirname(iamcacheauth.__file__)!r})"
    with concurrent.futures.InterpreterPoolExecutor(4, initializer=exec, initargs=(look,)) as executor:
        yield executor


def assert_signed(token: str) -> None:
    expected = iamcacheauth.presign(
        PERMANENT,
        service="elasticache",
        region="us-east-1",
        host="my-cache",
        params=[("Action", "connect"), ("User", "my-iam-user")],
        timestamp=read(token)[1]["X-Amz-Date"],
    )
    assert token == expected


@pytest.mark.parametrize("credentials", [PERMANENT, FETCHED], ids=["static", "fetched"])
def test_tokens_from_another_interpreter(interpreters, credentials):
    auth = iamcacheauth.ElastiCacheAuth("my-iam-user", "my-cache", region="us-east-1", credentials=credentials)
    for done in [interpreters.submit(auth.token) for _ in range(20)]:
        assert_signed(done.result())


@pytest.mark.parametrize("credentials", [PERMANENT, FETCHED], ids=["static", "fetched"])
def test_tokens_from_an_event_loop_in_another_interpreter(interpreters, credentials):
    auth = iamcacheauth.ElastiCacheAuth("my-iam-user", "my-cache", region="us-east-1", credentials=credentials)
    run = "__import__('asyncio').run(auth.token_async())"
    for done in [interpreters.submit(eval, run, {"auth": auth}) for _ in range(8)]:
        assert_signed(done.result())
