"""The asynchronous path: the event loop goes on whatever a fetch does, and its tasks share one fetch."""

from __future__ import annotations

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.examples import ACCESS_KEY, SECRET_KEY, TEMPORARY, read
from support.loopback import silence
from support.subject import iamcacheauth
from support.waiting import Caller, wait_until

CredentialsError = iamcacheauth.CredentialsError
RefreshingCredentials = iamcacheauth.RefreshingCredentials

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver")


def generator(credentials):
    return iamcacheauth.ElastiCacheAuth("user", "cache", region="us-east-1", credentials=credentials)


def number(token):
    """The number of the fetch that the token is signed with."""
    params = read(token)[1]
    (number,) = {params["X-Amz-Credential"].split("/")[0][4:], params["X-Amz-Security-Token"][6:]}
    return int(number)


@pytest.fixture
def auth(fetch):
    return generator(RefreshingCredentials(fetch, timeout=30))


async def begun(fetch):
    """Until the fetch has begun, in whatever thread; this only returns if the loop goes on meanwhile."""
    while not fetch.begun.is_set():
        await asyncio.sleep(0.001)


async def turns(count=10):
    for _ in range(count):
        await asyncio.sleep(0)


# --- the loop goes on ---


def test_token(auth, fetch):
    async def main():
        user, token = await auth.get_credentials_async()
        return user, number(token), number(await auth.token_async())

    assert asyncio.run(main()) == ("user", 1, 1)
    assert fetch.calls == 1


@pytest.mark.parametrize("wrap", [RefreshingCredentials, lambda fetch: fetch], ids=["refreshing", "plain callable"])
def test_the_loop_goes_on_during_a_fetch(fetch, wrap):
    async def main():
        fetch.hold()
        task = asyncio.ensure_future(auth.token_async())
        await begun(fetch)
        await turns()
        assert not task.done()
        fetch.may_end.set()
        return number(await task)

    auth = generator(wrap(fetch))
    assert asyncio.run(main()) == 1


def test_a_fetch_without_end_does_not_keep_the_process_alive():
    """Its thread is a daemon."""
    daemons = []

    def fetch():
        daemons.append(threading.current_thread().daemon)
        return TEMPORARY

    asyncio.run(generator(RefreshingCredentials(fetch)).token_async())
    assert daemons == [True]


def test_the_loop_goes_on_while_a_server_is_silent(server):
    async def main():
        server.faults["connection"] = itertools.repeat(silence)
        task = asyncio.ensure_future(generator(chain).token_async())
        ticks = 0
        while not task.done():
            await asyncio.sleep(0.01)
            ticks += 1
        with pytest.raises(CredentialsError, match="in time"):
            await task
        return ticks

    chain = iamcacheauth.EnvironmentCredentials(server.environ, timeout=0.5)
    assert asyncio.run(main()) > 1


def test_the_loop_goes_on_while_another_thread_fetches(auth, fetch):
    async def main():
        task = asyncio.ensure_future(auth.token_async())
        await turns()
        assert not task.done()
        fetch.may_end.set()
        return number(await task)

    fetch.hold()
    fetching = Caller(auth.token)
    assert fetch.begun.wait(30)
    assert asyncio.run(main()) == number(fetching.result()) == 1
    assert fetch.calls == 1


STATIC = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


@pytest.mark.parametrize(
    "credentials",
    [TEMPORARY, iamcacheauth.EnvironmentCredentials(STATIC), RefreshingCredentials(lambda: TEMPORARY)],
    ids=["object", "environment", "fetched before"],
)
def test_no_thread_when_credentials_are_at_hand(credentials, monkeypatch):
    auth = generator(credentials)
    auth.token()

    def refuse(*_):
        raise AssertionError("a thread")

    async def main():
        monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", refuse, raising=False)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        coroutine = auth.token_async()
        with pytest.raises(StopIteration):
            coroutine.send(None)  # not even a turn of the loop
        await auth.get_credentials_async()

    asyncio.run(main())


def test_no_thread_before_a_renewal_is_due(auth, clock, monkeypatch):
    """Not even twenty minutes before they expire, the earliest that chance may bring."""
    auth.token()
    clock.now += 3600 - 1201
    monkeypatch.setattr(threading.Thread, "start", None)
    with pytest.raises(StopIteration):
        auth.token_async().send(None)


def test_errors(auth, fetch):
    fetch.failure = OSError("unreachable")
    with pytest.raises(CredentialsError) as caught:
        asyncio.run(auth.token_async())
    assert caught.value.__cause__ is fetch.failure
    fetch.failure = None
    assert number(asyncio.run(auth.token_async())) == 2


# --- many tasks ---


@pytest.mark.parametrize("failure", [None, OSError("unreachable")], ids=["success", "failure"])
def test_a_hundred_tasks_cause_one_fetch(auth, fetch, failure):
    async def main():
        fetch.hold()
        tasks = [asyncio.ensure_future(auth.token_async()) for _ in range(100)]
        await begun(fetch)
        await turns()
        assert not any(task.done() for task in tasks)
        fetch.failure = failure
        fetch.may_end.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    outcomes = asyncio.run(main())
    assert fetch.calls == 1
    if failure:
        assert {(type(outcome), outcome.__cause__) for outcome in outcomes} == {(CredentialsError, failure)}
    else:
        assert {number(outcome) for outcome in outcomes} == {1}


def test_valid_credentials_serve_all_during_a_renewal(auth, fetch, clock):
    async def main():
        await auth.token_async()
        clock.now += 3600 - 899
        fetch.hold()
        tasks = [asyncio.ensure_future(auth.token_async()) for _ in range(100)]
        await begun(fetch)
        await turns()
        assert [number(task.result()) for task in tasks if task.done()] == [1] * 100
        fetch.may_end.set()

    asyncio.run(main())
    wait_until(lambda: number(auth.token()) == 2)
    assert fetch.calls == 2


def test_a_failed_renewal_is_no_error_yet(auth, fetch, clock, background):
    async def main():
        await auth.token_async()
        clock.now += 3600 - 899
        fetch.failure = OSError("unreachable")
        numbers = []
        for _ in range(3):
            numbers.append(number(await auth.token_async()))
            background.end()
        return numbers

    assert asyncio.run(main()) == [1, 1, 1]
    assert fetch.calls == 2


@pytest.mark.parametrize("cancelled", [0, 1, 50], ids=["the one that began", "a waiter", "another waiter"])
def test_cancelling_one_task_harms_no_other(auth, fetch, cancelled):
    async def main():
        fetch.hold()
        tasks = [asyncio.ensure_future(auth.token_async()) for _ in range(100)]
        await begun(fetch)
        await turns()
        tasks[cancelled].cancel()
        await turns()
        assert tasks.pop(cancelled).cancelled()
        fetch.may_end.set()
        return {number(token) for token in await asyncio.gather(*tasks)}

    assert asyncio.run(main()) == {1}
    assert fetch.calls == 1


def test_cancelling_the_only_task_leaves_the_object_usable(auth, fetch):
    async def main():
        fetch.hold()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(auth.token_async(), 0.05)
        later = asyncio.ensure_future(auth.token_async())
        await turns()
        fetch.may_end.set()
        return number(await later)

    assert asyncio.run(main()) == 1
    assert fetch.calls == 1


def test_waiting_is_bounded(fetch):
    """For the task that began the fetch as well."""

    async def main():
        fetch.hold()
        tasks = [asyncio.ensure_future(auth.token_async()) for _ in range(2)]
        for error in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(error, CredentialsError)
            assert str(error) == "credentials: fetch: no credentials within 0.1 s"
        assert fetch.calls == 1
        fetch.may_end.set()

    auth = generator(RefreshingCredentials(fetch, timeout=0.1))
    asyncio.run(main())
    assert number(auth.token()) == 1


def test_threads_wait_for_the_fetch_of_a_task(auth, fetch):
    async def main():
        fetch.hold()
        task = asyncio.ensure_future(auth.token_async())
        await begun(fetch)
        callers = [Caller(auth.token) for _ in range(5)]
        await asyncio.get_running_loop().run_in_executor(
            None, wait_until, lambda: all(caller.is_waiting() for caller in callers)
        )
        fetch.may_end.set()
        return {number(await task), *(number(caller.result()) for caller in callers)}

    assert asyncio.run(main()) == {1}
    assert fetch.calls == 1


# --- several loops, and loops that end ---


def test_several_loops_share_one_fetch(auth, fetch):
    fetch.hold()
    waiting = threading.Semaphore(0)

    async def main():
        tasks = [asyncio.ensure_future(auth.token_async()) for _ in range(10)]
        await turns()
        waiting.release()
        return {number(token) for token in await asyncio.gather(*tasks)}

    callers = [Caller(lambda: asyncio.run(main())) for _ in range(5)]
    for _ in callers:
        assert waiting.acquire(timeout=30)
    fetch.may_end.set()
    assert [caller.result() for caller in callers] == [{1}] * 5
    assert fetch.calls == 1


def test_one_loop_after_the_other(auth, fetch, clock):
    for expected in (1, 2, 3):
        assert number(asyncio.run(auth.token_async())) == expected
        clock.now += 3600


def test_a_loop_that_ends_during_the_fetch(auth, fetch):
    """Its task is cancelled; a task of the next loop, which waits for the same fetch, gets the credentials."""
    fetch.hold()

    async def leave():
        task = asyncio.ensure_future(auth.token_async())
        await begun(fetch)
        return task

    async def stay():
        task = asyncio.ensure_future(auth.token_async())
        await turns()
        fetch.may_end.set()
        return number(await task)

    assert Caller(lambda: asyncio.run(leave())).result().cancelled()
    assert asyncio.run(stay()) == 1
    assert fetch.calls == 1


def test_an_executor_that_is_shut_down(auth):
    async def main():
        await asyncio.get_running_loop().shutdown_default_executor()
        return number(await auth.token_async())

    assert asyncio.run(main()) == 1


def test_an_executor_full_of_callers_that_wait_for_the_same_fetch(auth, fetch):
    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2))
        fetch.hold()
        task = asyncio.ensure_future(auth.token_async())
        await turns()
        threads = [loop.run_in_executor(None, auth.token) for _ in range(2)]
        await begun(fetch)
        fetch.may_end.set()
        return {number(token) for token in await asyncio.gather(task, *threads)}

    assert asyncio.run(main()) == {1}
    assert fetch.calls == 1


@pytest.mark.parametrize("wrap", [RefreshingCredentials, lambda fetch: fetch], ids=["kept", "plain callable"])
def test_outside_asyncio_waiting_is_an_error_that_says_so(fetch, wrap):
    """As under trio, whose tasks are coroutines too."""
    with pytest.raises(iamcacheauth.CredentialsError) as caught:
        generator(wrap(fetch)).token_async().send(None)
    assert str(caught.value) == (
        "token_async: waiting for credentials takes a running asyncio loop;"
        " under trio, await anyio.to_thread.run_sync(auth.get_credentials)"
    )
