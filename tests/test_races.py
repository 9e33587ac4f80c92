"""What happens between two steps of RefreshingCredentials, when another caller is faster; entered here on purpose."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from support.examples import NOON, TEMPORARY, clock_at
from support.subject import iamcacheauth

HOUR = 3600.0


class Fetch:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> object:
        self.calls += 1
        secrets = (TEMPORARY.access_key, TEMPORARY.secret_key, TEMPORARY.token)
        return iamcacheauth.StaticCredentials(*secrets, expiration=NOON + HOUR)


@pytest.fixture
def fetch() -> Fetch:
    return Fetch()


@pytest.fixture
def provider(fetch: Fetch) -> object:
    provider = iamcacheauth.RefreshingCredentials(fetch)
    with clock_at(NOON):
        provider()
    return provider


def test_a_renewal_that_ended_before_ours_began_serves_us_too(provider, fetch):
    for now in (NOON, NOON + HOUR - 900):  # up to the moment at which it is to be renewed
        with clock_at(now):
            provider._fetch()
    assert fetch.calls == 1


def test_a_renewal_that_began_after_we_looked_lets_us_go_on_with_what_there_is(provider, fetch):
    with clock_at(NOON + HOUR - 60):
        provider._renewals[os.getpid()] = provider._new_renewal()
        assert asyncio.run(provider._fetch_async()).expiration == NOON + HOUR


def test_an_interruption_before_the_thread_runs_leaves_nobody_waiting(provider, fetch, monkeypatch):
    def interrupted(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    with clock_at(NOON + HOUR + 60):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(threading.Thread, "start", interrupted)
            asyncio.run(provider._fetch_async())
        assert not provider._renewals


def test_an_interruption_after_the_thread_began_is_no_error_in_the_thread(fetch, monkeypatch):
    threads = []
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        start(thread)
        threads.append(thread)
        raise KeyboardInterrupt

    may_end = threading.Event()
    errors: list[object] = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    provider = iamcacheauth.RefreshingCredentials(lambda: may_end.wait(30) and fetch())
    with clock_at(NOON):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(threading.Thread, "start", interrupted)
            asyncio.run(provider._fetch_async())
        may_end.set()
        threads[0].join()
        assert provider().expiration == NOON + HOUR
    assert not errors
