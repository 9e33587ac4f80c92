"""What happens between two steps of RefreshingCredentials, when another caller is faster; entered here on purpose."""

from __future__ import annotations

import asyncio
import threading

import pytest
from support.subject import iamcacheauth
from support.waiting import PATIENCE, Caller, Fetch, at_line, wait_until

HOUR = 3600.0

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver")


def token(provider):
    return iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=provider).token()


def token_async(provider):
    auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=provider)
    return asyncio.run(auth.token_async())


either_way = pytest.mark.parametrize("ask", [token, token_async])


def meetings(clock, age, ask, prepare=lambda fetch: None):
    """For each line of the module that a caller runs: another one asks there, goes as far as it can, and waits at most.

    Yields the fetch and both callers' tokens, for every line anew.
    """
    for line in range(1000):
        fetch = Fetch()
        provider = iamcacheauth.RefreshingCredentials(fetch, timeout=PATIENCE)
        if age is not None:
            token(provider)
            clock.now += age
        prepare(fetch)
        others = []

        def another(provider=provider, others=others):
            others.append(Caller(lambda: token(provider)))
            wait_until(lambda: others[0].is_waiting() or not others[0].is_alive())

        with at_line(line, another):
            ours = ask(provider)
        if not others:
            assert line > 10
            return  # there are not so many lines
        fetch.may_end.set()
        yield fetch, ours, others[0].result()


@either_way
def test_whoever_comes_in_between_shares_the_first_fetch(clock, ask):
    for fetch, ours, others in meetings(clock, None, ask):
        assert "Credential=key-1%2F" in ours and "Credential=key-1%2F" in others
        assert fetch.calls == 1


@either_way
def test_whoever_comes_in_between_shares_the_fetch_after_they_expired(clock, ask):
    for fetch, ours, others in meetings(clock, HOUR, ask):
        assert "Credential=key-2%2F" in ours and "Credential=key-2%2F" in others
        assert fetch.calls == 2


def interrupted(*_):
    raise KeyboardInterrupt


def test_an_interruption_before_the_thread_runs_leaves_nobody_waiting(fetch, monkeypatch):
    provider = iamcacheauth.RefreshingCredentials(fetch, timeout=PATIENCE)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, "start", interrupted)
        token_async(provider)
    assert "Credential=key-1%2F" in token(provider)


def test_an_interruption_after_the_thread_began_is_no_error_in_the_thread(fetch, monkeypatch):
    threads = []
    start = threading.Thread.start

    def start_and_be_interrupted(thread):
        start(thread)
        threads.append(thread)
        raise KeyboardInterrupt

    errors = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    fetch.hold()
    provider = iamcacheauth.RefreshingCredentials(fetch, timeout=PATIENCE)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, "start", start_and_be_interrupted)
        token_async(provider)
    fetch.may_end.set()
    threads[0].join(PATIENCE)
    assert token(provider)
    assert not errors
