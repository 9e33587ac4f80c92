"""One renewal: when fetched credentials are renewed, who waits for it and how long, and what nothing can break."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

import pytest
from support.asking import OUT_OF_TIME
from support.examples import NOON, TEMPORARY
from support.loopback import Sts, silence
from support.subject import iamcacheauth
from support.waiting import PATIENCE, SLACK, Caller, Fetch, at_line, interruption_at, wait_until

CredentialsError = iamcacheauth.CredentialsError
RefreshingCredentials = iamcacheauth.RefreshingCredentials
HOUR = 3600.0
TRIALS = int(os.environ.get("IAMCACHEAUTH_TRIALS", "300"))  # of what only chance shows; the gate runs more

pytest_plugins = ["support.source_fixtures"]
pytestmark = pytest.mark.usefixtures("watchdog", "resolver")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX")


def number(credentials):
    """The number of the fetch that a set came from; all of it from the same."""
    (number,) = {
        text.rpartition("-")[2] for text in (credentials.access_key, credentials.secret_key, credentials.token)
    }
    return int(number)


def generator(provider):
    return iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=provider)


def token(provider):
    return generator(provider).token()


def token_async(provider):
    return asyncio.run(generator(provider).token_async())


either_way = pytest.mark.parametrize("ask", [token, token_async])


@pytest.fixture
def provider(fetch):
    return RefreshingCredentials(fetch, timeout=PATIENCE)


@pytest.fixture
def nearly_due(provider, clock):
    """A provider whose credentials have a quarter of an hour left, in which they are due to be renewed."""
    provider()
    clock.now += HOUR - 900
    return provider


@contextlib.contextmanager
def pauses_skipped():
    """time.sleep takes no time, and time.monotonic goes on by what it would have taken."""
    with pytest.MonkeyPatch.context() as patch:
        ahead = [0.0]
        monotonic = time.monotonic
        patch.setattr(time, "sleep", lambda seconds: ahead.__setitem__(0, ahead[0] + seconds))
        patch.setattr(time, "monotonic", lambda: monotonic() + ahead[0])
        yield ahead


def no_thread(_):
    """In place of Thread.start(), where the system has no more of them."""
    raise RuntimeError("can't start new thread")


# --- when ---


@pytest.mark.parametrize(
    ("lifetime", "left", "fetches"),
    [
        (3600, 3600, 1),
        (3600, 1201, 1),  # a quarter of an hour, and a twelfth of the lifetime at random
        (3600, 899, 2),
        (3600, 61, 2),
        (900, 376, 1),  # a third of the lifetime, and a twelfth
        (900, 299, 2),
        (36000, 3901, 1),
        (36000, 899, 2),
    ],
)
def test_renewed_in_the_background_before_they_expire(background, clock, fetch, lifetime, left, fetches):
    fetch.lifetime = lifetime
    for _ in range(20):  # for it is also a matter of chance
        fetch.calls = 0
        provider = RefreshingCredentials(fetch, timeout=PATIENCE)
        assert number(provider()) == 1
        clock.now += lifetime - left
        assert number(provider()) == 1
        background.end()
        assert number(provider()) == fetches
        background.end()
        assert fetch.calls == fetches


@pytest.mark.parametrize(
    ("chance", "lifetime", "due"), [(0, 3600, 2700), (0, 900, 600), (0.5, 3600, 2550), (0.5, 900, 562.5)]
)
def test_the_moment_from_which_they_are_renewed(background, clock, fetch, monkeypatch, chance, lifetime, due):
    monkeypatch.setattr(os, "urandom", lambda count: int(chance * 256**count).to_bytes(count, "big"))
    fetch.lifetime = lifetime
    provider = RefreshingCredentials(fetch, timeout=PATIENCE)
    provider()
    for moment, fetches in ((due - 0.25, 1), (due, 2)):
        clock.now = NOON + moment
        assert number(provider()) == 1
        background.end()
        assert fetch.calls == fetches


@pytest.mark.parametrize(("lifetime", "valid"), [(3600, 3540), (300, 270)])
def test_the_moment_from_which_callers_wait(background, clock, fetch, lifetime, valid):
    fetch.lifetime = lifetime
    provider = RefreshingCredentials(fetch, timeout=PATIENCE)
    provider()
    fetch.hold()
    clock.now += valid - 0.25
    assert number(provider()) == 1
    clock.now += 0.25
    caller = Caller(provider)
    wait_until(lambda: caller.is_waiting() or not caller.is_alive())
    fetch.may_end.set()
    assert number(caller.result()) == 2


def test_a_fleet_that_was_started_together_does_not_ask_together(background, clock, fetch):
    """At any moment of the five minutes of an hour in which some have asked and others have not."""
    fleet = [RefreshingCredentials(fetch) for _ in range(60)]
    for provider in fleet:
        provider()
    renewed = []
    for left in (1125, 1050, 975):
        clock.now = NOON + HOUR - left
        for provider in fleet:
            provider()
        background.end()
        renewed.append(fetch.calls - len(fleet))
    assert 0 < renewed[0] < renewed[1] < renewed[2] < len(fleet)


@either_way
@pytest.mark.parametrize(("lifetime", "left"), [(3600, 59), (3600, 0.1), (300, 29), (3600, 0), (3600, -9999)])
def test_with_less_than_a_minute_or_a_tenth_left_a_caller_waits_for_the_renewal(clock, fetch, lifetime, left, ask):
    fetch.lifetime = lifetime
    provider = RefreshingCredentials(fetch, timeout=PATIENCE)
    ask(provider)
    clock.now += lifetime - left
    assert "Credential=key-2%2F" in ask(provider)


@either_way
def test_with_less_than_a_minute_left_they_serve_if_the_renewal_fails(clock, fetch, ask):
    provider = RefreshingCredentials(fetch, timeout=PATIENCE)
    ask(provider)
    clock.now += HOUR - 5
    fetch.failure = OSError("unreachable")
    assert "Credential=key-1%2F" in ask(provider)
    assert fetch.calls == 2
    clock.now += 5
    with pauses_skipped():
        with pytest.raises(CredentialsError) as caught:
            ask(provider)
        assert caught.value.__cause__ is fetch.failure
        fetch.failure = None
        assert "Credential=key-4%2F" in ask(provider)


@either_way
def test_with_less_than_a_minute_left_they_serve_if_the_renewal_takes_too_long(clock, fetch, ask):
    provider = RefreshingCredentials(fetch, timeout=0.1)
    ask(provider)
    clock.now += HOUR - 5
    fetch.hold()
    assert "Credential=key-1%2F" in ask(provider)
    clock.now += 5
    with pytest.raises(CredentialsError, match=r"within 0\.1 s$"):
        ask(provider)


@pytest.mark.parametrize(("later", "fetches"), [(0, 2), (9.9, 2), (15.1, 3), (100, 3)])
def test_a_failed_renewal_is_tried_again_after_ten_to_fifteen_seconds(
    nearly_due, background, fetch, clock, later, fetches
):
    fetch.failure = OSError("unreachable")
    for wait in (0, later):
        clock.now += wait
        with pauses_skipped():
            assert number(nearly_due()) == 1
            background.end()
    assert fetch.calls == fetches
    fetch.failure = None
    clock.now += 15.1
    with pauses_skipped():
        nearly_due()
        background.end()
    assert number(nearly_due()) == fetches + 1


def test_the_pause_after_a_failed_renewal_is_random(background, fetch, clock):
    fleet = [RefreshingCredentials(fetch) for _ in range(60)]
    for provider in fleet:
        provider()
    clock.now += HOUR - 800
    fetch.failure = OSError("unreachable")
    with pauses_skipped():
        for seconds in (0, 12.5):
            clock.now += seconds
            for provider in fleet:
                provider()
            background.end()
    assert 2 * len(fleet) < fetch.calls < 3 * len(fleet)


@pytest.mark.parametrize(("lifetime", "fetches"), [(900, 8), (3600, 2), (21600, 1)])
def test_an_hour_of_a_token_a_second(background, fetch, clock, lifetime, fetches):
    fetch.lifetime = lifetime
    provider = RefreshingCredentials(fetch)
    for _ in range(3600):
        assert provider().expiration >= clock.now + 60
        background.end()
        clock.now += 1
    assert fetch.calls <= fetches


def test_what_has_expired_is_never_given_out(fetch, clock):
    """However often that means to fetch."""
    fetch.lifetime = 3
    provider = RefreshingCredentials(fetch)
    for _ in range(100):
        assert provider().expiration > clock.now
        clock.now += 1


def test_without_an_expiration_they_are_kept(clock):
    fetched = iter([iamcacheauth.StaticCredentials("key", "secret")])
    provider = RefreshingCredentials(lambda: next(fetched))
    first = provider()
    clock.now += 10**9
    assert provider() is first


def test_a_clock_that_is_set_back(provider, fetch, clock):
    provider()
    clock.now -= 86400
    assert number(provider()) == 1


# --- whoever has valid credentials never waits ---


def test_whoever_has_valid_credentials_never_waits(nearly_due, fetch, clock):
    fetch.hold()
    assert [number(nearly_due()) for _ in range(100)] == [1] * 100
    assert fetch.begun.wait(PATIENCE)
    clock.now += 839  # up to the last minute
    assert [number(nearly_due()) for _ in range(100)] == [1] * 100
    assert fetch.calls == 2
    fetch.may_end.set()
    wait_until(lambda: number(nearly_due()) == 2)


def test_no_task_with_valid_credentials_waits(nearly_due, fetch):
    fetch.hold()
    for _ in range(100):
        with pytest.raises(StopIteration) as finished:
            generator(nearly_due).token_async().send(None)  # not even a turn of the loop
        assert "Credential=key-1%2F" in finished.value.value
    assert fetch.begun.wait(PATIENCE)
    assert fetch.calls == 2


def test_a_deaf_source_holds_nobody_who_has_valid_credentials(server, clock):
    provider = iamcacheauth.EnvironmentCredentials(server.environ, timeout=PATIENCE)
    first = provider()
    clock.now = first.expiration - 899
    server.faults["connection"] = iter([silence] * 9)
    for _ in range(20):
        assert provider() is first
        clock.now += 15  # a failed renewal would begin again


class TimeLimit(BaseException):
    """As gevent's, Celery's and RQ's are raised in whatever is going on."""


@contextlib.contextmanager
def time_limit(seconds):
    def strike(*_):
        raise TimeLimit

    before = signal.signal(signal.SIGUSR1, strike)
    timer = threading.Timer(seconds, signal.raise_signal if os.name == "nt" else os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGUSR1, before)


@posix
def test_a_time_limit_does_not_strike_during_the_renewal_of_valid_credentials(nearly_due, fetch):
    fetch.hold()
    for _ in range(8):
        with time_limit(1):  # far more than it takes, unless it waits
            assert number(nearly_due()) == 1
    fetch.may_end.set()
    wait_until(lambda: number(nearly_due()) == 2)


@either_way
def test_whatever_strikes_while_a_renewal_is_begun_the_next_caller_does_not_wait(clock, ask):
    for line in range(1000):
        fetch = Fetch()
        provider = RefreshingCredentials(fetch, timeout=PATIENCE)
        provider()
        clock.now += HOUR - 900
        fetch.hold()
        with interruption_at(line) as happened, contextlib.suppress(KeyboardInterrupt):
            ask(provider)
        assert "Credential=key-1%2F" in ask(provider)
        assert fetch.most_at_a_time == 1
        fetch.may_end.set()
        if not happened:
            break  # there are not so many lines
    assert line > 20


# --- whoever has none waits for the one fetch ---


@pytest.mark.parametrize("expired", [False, True], ids=["absent", "expired"])
@pytest.mark.parametrize("failure", [None, OSError("unreachable")], ids=["success", "failure"])
def test_callers_wait_for_the_one_fetch_and_share_its_outcome(provider, fetch, clock, expired, failure):
    if expired:
        provider()
        clock.now += HOUR
    before = fetch.calls
    fetch.hold()
    callers = [Caller(provider) for _ in range(20)]
    wait_until(lambda: all(caller.is_waiting() for caller in callers))
    fetch.failure = failure
    fetch.may_end.set()
    outcomes = [caller.exception() or caller.result() for caller in callers]
    assert fetch.calls == before + 1
    if failure:
        assert {(type(outcome), outcome.__cause__) for outcome in outcomes} == {(CredentialsError, failure)}
    else:
        assert {number(outcome) for outcome in outcomes} == {before + 1}


@either_way
def test_a_fetch_runs_in_a_daemon_thread_of_its_own(ask):
    threads = []

    def fetch():
        threads.append(threading.current_thread())
        return TEMPORARY

    ask(RefreshingCredentials(fetch))
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon


def test_waiting_is_bounded(fetch):
    provider = RefreshingCredentials(fetch, timeout=0.1)
    fetch.hold()
    for ask in (token, token_async, token):
        with pytest.raises(CredentialsError, match=r"within 0\.1 s$"):
            ask(provider)
    assert fetch.calls == 1
    fetch.may_end.set()
    assert number(provider()) == 1


def test_64_threads_and_a_renewal_in_the_middle(provider, fetch, clock):
    """Exactly one fetch; nobody sees half of the old and half of the new set."""
    threads = 64
    auth = generator(provider)
    provider()
    middle = threading.Barrier(threads, action=lambda: setattr(clock, "now", clock.now + HOUR - 899))

    def work():
        numbers = [number(provider()) for _ in range(50)]
        middle.wait(PATIENCE)
        numbers += [number(provider()) for _ in range(50)]
        signed = auth.token()
        assert any(f"key-{n}%2F" in signed and f"token-{n}&" in signed for n in (1, 2))
        return numbers

    for caller in [Caller(work) for _ in range(threads)]:
        numbers = caller.result()
        assert numbers == sorted(numbers)
        assert set(numbers) <= {1, 2}
    wait_until(lambda: number(provider()) == 2)
    assert fetch.calls == 2


def test_5000_tasks_in_four_loops_and_64_threads(background, provider, fetch):
    """One fetch, and one thread besides theirs."""
    fetch.hold()
    auth = generator(provider)
    in_tasks = threading.Semaphore(0)

    async def tasks():
        waiting = [asyncio.ensure_future(auth.token_async()) for _ in range(1250)]
        await asyncio.sleep(0)
        in_tasks.release()
        return {*(await asyncio.gather(*waiting))}

    loops = [Caller(lambda: asyncio.run(tasks())) for _ in range(4)]
    callers = [Caller(auth.token) for _ in range(64)]
    for _ in loops:
        assert in_tasks.acquire(timeout=PATIENCE)
    wait_until(lambda: all(caller.is_waiting() for caller in callers))
    assert len(background.threads()) == 1
    fetch.may_end.set()
    tokens = {caller.result() for caller in callers}.union(*(loop.result() for loop in loops))
    assert all("Credential=key-1%2F" in token for token in tokens)
    assert fetch.calls == 1


def meetings(clock, age, ask):
    """For each line of the module that a caller runs: another one asks there, goes as far as it can, and waits at most.

    Yields the fetch and both callers' tokens, for every line anew.
    """
    for line in range(1000):
        fetch = Fetch()
        provider = RefreshingCredentials(fetch, timeout=PATIENCE)
        if age is not None:
            token(provider)
            clock.now += age
        others = []

        def another(provider=provider, others=others):
            others.append(Caller(lambda: token(provider)))
            wait_until(lambda: others[0].is_waiting() or not others[0].is_alive())

        with at_line(line, another):
            ours = ask(provider)
        if not others:
            assert line > 10
            return  # there are not so many lines
        yield fetch, ours, others[0].result()


@either_way
@pytest.mark.parametrize("expired", [False, True], ids=["absent", "expired"])
def test_whoever_comes_in_between_shares_the_one_fetch(clock, ask, expired):
    last = 1 + expired
    for fetch, ours, others in meetings(clock, HOUR if expired else None, ask):
        assert f"Credential=key-{last}%2F" in ours and f"Credential=key-{last}%2F" in others
        assert fetch.calls == last


# --- after a failure ---


@either_way
def test_with_nothing_valid_one_fetch_a_second(fetch, ask):
    """Whoever comes in between waits for it, instead of being given the old failure."""
    times = []

    def failing():
        times.append(time.monotonic())
        raise OSError(f"failure {len(times)}")

    provider = RefreshingCredentials(failing, timeout=PATIENCE)

    def until_the_third_fails():
        while True:
            with pytest.raises(CredentialsError) as caught:
                ask(provider)
            if str(caught.value.__cause__) == "failure 3":
                return

    for caller in [Caller(until_the_third_fails) for _ in range(10)]:
        caller.result()
    assert len(times) == 3
    assert min(times[1] - times[0], times[2] - times[1]) >= 1


@either_way
def test_who_comes_after_a_failure_gets_what_the_next_fetch_brings(fetch, ask):
    provider = RefreshingCredentials(fetch, timeout=PATIENCE)
    fetch.failure = OSError("unreachable")
    with pauses_skipped() as ahead:
        with pytest.raises(CredentialsError):
            ask(provider)
        fetch.failure = None
        assert "Credential=key-2%2F" in ask(provider)
        assert ahead[0] <= 1


def test_the_pause_after_a_failure_is_within_a_callers_timeout(fetch):
    """Who has less patience than a second is told what the last failure was."""
    provider = RefreshingCredentials(fetch, timeout=0.2)
    fetch.failure = CredentialsError("the vault is sealed")
    for seen in (r"^the vault is sealed$", r"within 0\.2 s; before, the vault is sealed$"):
        with pytest.raises(CredentialsError, match=seen):
            provider()


def fails_in_a_thread_of_its_own(provider, request):
    try:
        raise LookupError(f"the cache has no entry for request {request}")
    except LookupError:
        token(provider)


def test_every_waiter_has_an_error_of_its_own(provider, fetch):
    fetch.hold()
    callers = [Caller(lambda request=n: fails_in_a_thread_of_its_own(provider, request)) for n in range(100)]
    wait_until(lambda: all(caller.is_waiting() for caller in callers))
    fetch.failure = OSError("unreachable")
    fetch.may_end.set()
    errors = [caller.exception() for caller in callers]
    assert len({id(error) for error in errors}) == 100
    assert {(type(error), str(error), error.__cause__) for error in errors} == {
        (CredentialsError, str(errors[0]), fetch.failure)
    }
    for request, error in enumerate(errors):
        contexts = []
        behind = error.__context__
        while behind is not None:
            contexts.append(str(behind))
            behind = behind.__context__
        assert [text for text in contexts if "request" in text] == [f"the cache has no entry for request {request}"], (
            contexts
        )
        assert len(traceback.format_exception(type(error), error, error.__traceback__)) < 50


def test_every_task_has_an_error_of_its_own(provider, fetch):
    async def main():
        fetch.hold()
        tasks = [asyncio.ensure_future(generator(provider).token_async()) for _ in range(100)]
        while not fetch.begun.is_set():
            await asyncio.sleep(0.001)
        fetch.failure = OSError("unreachable")
        fetch.may_end.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    errors = asyncio.run(main())
    assert len({id(error) for error in errors}) == 100
    assert {(str(error), error.__cause__) for error in errors} == {(str(errors[0]), fetch.failure)}
    for error in errors:
        assert len(traceback.format_exception(type(error), error, error.__traceback__)) < 50


class Disaster(BaseException):
    pass


@either_way
@pytest.mark.parametrize("kind", [Disaster, KeyboardInterrupt, SystemExit])
def test_what_a_fetch_raises_is_the_callers_cause_whatever_it_is(provider, fetch, monkeypatch, capfd, kind, ask):
    """Also what is not an Exception; nothing is printed."""
    hooked = []
    monkeypatch.setattr(threading, "excepthook", hooked.append)
    fetch.failure = kind("secret")
    with pytest.raises(CredentialsError, match=kind.__name__) as caught:
        ask(provider)
    assert caught.value.__cause__ is fetch.failure
    assert "secret" not in str(caught.value)
    assert hooked == []
    assert capfd.readouterr() == ("", "")


@either_way
def test_an_outcome_is_given_to_nobody_who_comes_after_it(ask):
    """Whatever other threads do at whichever line of the renewal; the fetch after a failure brings credentials."""
    for line in range(1000):
        fetch = Fetch()
        fetch.failure = OSError("unreachable")
        provider = RefreshingCredentials(fetch, timeout=PATIENCE)
        numbers = []
        moved = threading.Event()

        def twice(provider=provider, fetch=fetch, numbers=numbers, moved=moved):
            with pytest.raises(CredentialsError):
                ask(provider)
            fetch.failure = None
            moved.set()
            numbers.append(number(provider()))

        # Where nobody has been told of the outcome yet, nobody moves, however long one waits.
        line_of_the_renewal = at_line(line, lambda moved=moved: moved.wait(0.01), in_new_threads=True)
        with pauses_skipped(), line_of_the_renewal as happened:
            Caller(twice).result()
        assert numbers == [2]
        assert fetch.most_at_a_time == 1
        if not happened:
            break  # there are not so many lines
    assert line > 10


@pytest.mark.parametrize("thousand", range(-(-TRIALS // 1000)))
def test_no_failure_is_given_to_who_saw_it_already_by_chance(thousand):
    for _ in range(min(TRIALS, 1000)):
        calls = []

        def fetch(calls=calls):
            calls.append(threading.current_thread())
            if len(calls) == 1:
                raise OSError("the first and only failure")
            return TEMPORARY

        provider = RefreshingCredentials(fetch, timeout=PATIENCE)

        def twice(provider=provider):
            with contextlib.suppress(CredentialsError):
                provider()
            return provider()

        with pauses_skipped():
            callers = [Caller(twice) for _ in range(2)]
            assert [caller.result().access_key for caller in callers] == [TEMPORARY.access_key] * 2
        assert len(calls) == 2


@pytest.mark.parametrize("late", [False, True], ids=["alone", "with somebody who came late"])
def test_a_fetch_whose_thread_stood_still(late):
    """As in a Lambda function that is frozen: its own limit of time is over when it goes on, theirs has just begun."""
    begun, may_go_on, calls = threading.Event(), threading.Event(), []

    def fetch():
        calls.append(None)
        if len(calls) == 1:
            begun.set()
            may_go_on.wait(PATIENCE)
            raise OSError("out of time")
        return TEMPORARY

    with pauses_skipped() as ahead:
        provider = RefreshingCredentials(fetch, timeout=PATIENCE)
        callers = [Caller(provider)]
        assert begun.wait(PATIENCE)
        ahead[0] += PATIENCE
        if late:
            callers.append(Caller(provider))
            wait_until(callers[1].is_waiting)
        may_go_on.set()
        if late:
            assert [caller.result().access_key for caller in callers] == [TEMPORARY.access_key] * 2
        else:
            assert "OSError" in str(callers[0].exception())
    assert len(calls) == 1 + late


# --- what does not end ---


@pytest.fixture
def unheard(container, imds, sts, tmp_path, monkeypatch, resolver):
    """Environments whose sources get stuck, by what the error says; what they wait for comes when the test is over."""
    over = threading.Event()
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for server in (container, imds, sts):
        server.faults["connection"] = iter(lambda: silence, None)

    def resolve(host, *arguments, **options):
        if host.endswith(".example"):
            over.wait(PATIENCE)
        return resolver(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield {
        "FIFO as token file": ({**sts.environ, "AWS_WEB_IDENTITY_TOKEN_FILE": str(fifo)}, r"web identity"),
        "FIFO as CA bundle": ({**sts.environ, "AWS_CA_BUNDLE": str(fifo)}, r"web identity"),
        "FIFO as authorization": (
            {
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": container.url,
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(fifo),
            },
            r"container",
        ),
        "resolver": ({**sts.environ, "AWS_ENDPOINT_URL_STS": "https://sts.example/"}, r"web identity"),
        "deaf STS": (sts.environ, rf"web identity.*({OUT_OF_TIME.pattern})"),
        "deaf container": (container.environ, rf"container.*({OUT_OF_TIME.pattern})"),
        "deaf instance metadata": (imds.environ, rf"instance metadata.*({OUT_OF_TIME.pattern})"),
    }
    over.set()
    # Whoever reads the pipe finds a writer, and the end.
    for _ in range(1000):
        with contextlib.suppress(OSError):
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))


@posix
def test_every_timeout_holds_whatever_a_source_gets_stuck_in(unheard):
    timeout = 2

    def waited(environ, ask):
        provider = iamcacheauth.EnvironmentCredentials(environ, timeout=timeout)
        started = time.monotonic()
        with pytest.raises(CredentialsError) as caught:
            ask(provider)
        return time.monotonic() - started, str(caught.value)

    callers = {
        (name, ask.__name__, seen): Caller(lambda environ=environ, ask=ask: waited(environ, ask))
        for name, (environ, seen) in unheard.items()
        for ask in (token, token_async)
    }
    for (name, ask, seen), caller in callers.items():
        seconds, error = caller.result()
        assert seconds <= 1.25 * timeout + SLACK, (name, ask, error)
        assert re.search(seen, error), (name, ask, error)


@either_way
def test_a_fetch_that_hangs_is_given_up_after_ten_times_the_timeout(fetch, monkeypatch, ask):
    """Another is begun, until four hang."""
    monotonic, ahead = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + ahead[0])
    provider = RefreshingCredentials(fetch, timeout=0.05)
    fetch.hold()
    for expected in (1, 2, 3, 4, 4, 4):
        for _ in range(2):
            with pytest.raises(CredentialsError, match=r"within 0\.05 s$"):
                ask(provider)
            assert fetch.calls == expected
        ahead[0] += 0.5
    fetch.may_end.set()
    assert ask(provider)


def test_fetches_that_hang_are_counted_whatever_becomes_of_others(background, clock, monkeypatch):
    seconds, over, calls = [1000.0], threading.Event(), []
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])

    def fetch():
        calls.append(None)
        if len(calls) != 4:
            over.wait(PATIENCE)
        return iamcacheauth.StaticCredentials("key", "secret", "token", clock.now + HOUR)

    def ask_again_and_again(*expected):
        for count in expected:
            with contextlib.suppress(CredentialsError):
                provider()
            wait_until(lambda count=count: len(calls) == count)
            seconds[0] += 0.51
            clock.now += HOUR

    provider = RefreshingCredentials(fetch, timeout=0.05)
    ask_again_and_again(1, 2, 3, 4, 5, 5, 5)
    over.set()
    background.end()
    over.clear()
    clock.now += HOUR
    ask_again_and_again(6, 7, 8, 9, 9)
    over.set()


@either_way
def test_a_fetch_that_asks_for_what_it_fetches(ask):
    """Such as one that logs in to a cache, with this very object: it is told so."""
    provider = RefreshingCredentials(lambda: provider(), timeout=PATIENCE)
    with pytest.raises(CredentialsError, match=r"asked for .*by fetch itself"):
        ask(provider)


@posix
def test_a_signal_handler_that_asks_during_a_fetch(fetch):
    provider = RefreshingCredentials(fetch, timeout=1)
    asked = []

    def handler(*_):
        started = time.monotonic()
        with pytest.raises(CredentialsError, match=r"within 1 s$"):
            provider()
        asked.append(time.monotonic() - started)

    fetch.hold()
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        striking = Caller(lambda: fetch.begun.wait(PATIENCE) and os.kill(os.getpid(), signal.SIGUSR1))
        started = time.monotonic()
        with pytest.raises(CredentialsError, match=r"within 1 s$"):
            provider()
        taken = time.monotonic() - started
        striking.result()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(asked) == 1
    assert asked[0] <= 1.25 + SLACK
    assert taken <= asked[0] + 1.25 + SLACK


# --- interruptions, and no threads ---


@either_way
@pytest.mark.parametrize("due", [False, True], ids=["absent", "due"])
def test_an_interruption_anywhere_leaves_nobody_hanging(background, fetch, clock, ask, due):
    """Celery, RQ and Gunicorn raise errors from signal handlers, which may strike at any line."""
    for line in range(1000):
        provider = RefreshingCredentials(fetch, timeout=PATIENCE)
        if due:
            provider()
            clock.now += HOUR - 899
        with interruption_at(line) as happened, contextlib.suppress(KeyboardInterrupt):
            ask(provider)
        if not happened:
            break  # there are not so many lines
        assert provider().expiration > clock.now
        background.end()
        clock.now += HOUR
        assert provider().expiration > clock.now
        assert fetch.most_at_a_time == 1
    assert line > 20


@either_way
def test_an_interruption_before_the_thread_runs_leaves_nobody_waiting(provider, fetch, monkeypatch, ask):
    def interrupted(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, "start", interrupted)
        ask(provider)
    assert number(provider()) == 1


@pytest.mark.parametrize("where", ["before its thread runs", "in the thread of its caller"])
def test_who_waits_for_a_fetch_that_is_interrupted_is_told_so(provider, fetch, monkeypatch, where):
    start, waiting = threading.Thread.start, []

    def interrupted(*_):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            waiting.append(Caller(provider))
            wait_until(waiting[0].is_waiting)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        if where == "in the thread of its caller":
            patch.setattr(threading.Thread, "start", no_thread)
            patch.setattr(time, "sleep", interrupted)  # which every fetch does for as long as the last pause goes on
        else:
            patch.setattr(threading.Thread, "start", interrupted)
        provider()
    assert str(waiting[0].exception()) == "the fetch of credentials was interrupted"
    assert (number(provider()), fetch.calls) == (1, 1)


@either_way
def test_an_interruption_after_the_thread_began_does_not_begin_another_fetch(provider, fetch, monkeypatch, ask):
    start = threading.Thread.start

    def start_and_be_interrupted(thread):
        start(thread)
        raise KeyboardInterrupt

    hooked = []
    monkeypatch.setattr(threading, "excepthook", hooked.append)
    fetch.hold()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(threading.Thread, "start", start_and_be_interrupted)
        ask(provider)
    others = [Caller(lambda: ask(provider)) for _ in range(3)]  # who begin one if the thread was not fast enough to
    assert fetch.begun.wait(PATIENCE)
    wait_until(lambda: any(caller.is_waiting() for caller in others) or ask is token_async)
    fetch.may_end.set()
    for caller in others:
        caller.result()
    assert (fetch.calls, hooked) == (1, [])


def test_who_registers_second_waits_for_the_first(provider, fetch, monkeypatch):
    """Between looking for a renewal under way and registering one's own, another caller begins one."""
    fetch.hold()
    monotonic, first = time.monotonic, []

    def let_another_in():
        monkeypatch.setattr(time, "monotonic", monotonic)
        first.append(Caller(provider))
        assert fetch.begun.wait(PATIENCE)
        fetch.may_end.set()
        return monotonic()

    monkeypatch.setattr(time, "monotonic", let_another_in)  # which every renewal reads when it is made
    assert number(provider()) == number(first[0].result()) == 1


@pytest.mark.parametrize("failed", [False, True], ids=["absent", "after a failure"])
def test_who_comes_between_does_not_begin_another_fetch(failed):
    """Another caller, before any line of one that finds no renewal under way."""
    for line in range(1000):
        running, most, failures = [], [], [OSError("unreachable")] if failed else []

        def fetch(running=running, most=most, failures=failures):
            running.append(None)
            most.append(len(running))
            threading.Event().wait(0.01)  # for as long, others might begin one as well
            running.pop()
            if failures:
                raise failures.pop()
            return TEMPORARY

        with pauses_skipped():
            provider = RefreshingCredentials(fetch, timeout=PATIENCE)
            if failed:
                with pytest.raises(CredentialsError):
                    provider()
            others, before = [], len(most)

            def come_between(others=others, provider=provider, most=most, before=before):
                others.append(Caller(provider))
                wait_until(lambda: len(most) > before or others[0].is_waiting() or not others[0].is_alive())

            with at_line(line, come_between) as happened:
                provider()
            if not happened:
                break
            others[0].result()
        assert max(most) == 1
    assert line > 10


@pytest.mark.parametrize("due", [False, True], ids=["absent", "due"])
def test_a_start_that_fails_though_the_thread_began_does_not_begin_another_fetch(
    provider, fetch, clock, background, monkeypatch, due
):
    """As when a signal handler raises in the middle of Thread.start()."""
    if due:
        provider()
        background.end()
        clock.now += HOUR - 899
    start = threading.Thread.start

    def start_and_fail(thread):
        fetch.begun.clear()
        start(thread)
        assert fetch.begun.wait(PATIENCE)
        no_thread(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_and_fail)
        assert number(provider()) == 1
    background.end()
    assert number(provider()) == fetch.calls == (2 if due else 1)


@pytest.mark.parametrize("failure", [OSError, NotImplementedError])
def test_without_a_source_of_randomness(background, provider, fetch, clock, monkeypatch, failure):
    def refuse(_):
        raise failure

    monkeypatch.setattr(os, "urandom", refuse)
    monkeypatch.setattr(time, "perf_counter", lambda: 1.5)
    assert number(provider()) == 1
    for left, fetches in ((1051, 1), (1049, 2)):  # half of what chance makes of it at most
        clock.now = NOON + HOUR - left
        provider()
        background.end()
        assert fetch.calls == fetches


@either_way
def test_without_a_thread_to_be_had_the_caller_fetches(provider, fetch, clock, background, monkeypatch, ask):
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert "Credential=key-1%2F" in ask(provider)
        clock.now += HOUR - 899
        assert "Credential=key-1%2F" in ask(provider)  # which are valid
        assert fetch.calls == 1
        clock.now += 899
        assert "Credential=key-2%2F" in ask(provider)
        clock.now += HOUR - 899
        assert "Credential=key-2%2F" in ask(provider)
    clock.now += 16
    assert "Credential=key-2%2F" in ask(provider)
    background.end()
    assert number(provider()) == 3


def test_no_thread_to_be_had_is_a_reason_to_be_told(fetch, clock, monkeypatch):
    provider = RefreshingCredentials(fetch, timeout=1)
    provider()
    clock.now += HOUR - 899
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        assert number(provider()) == 1
    clock.now += 899
    fetch.hold()
    with pytest.raises(CredentialsError) as caught:
        provider()
    before = "before, no thread could be started to fetch credentials in"
    assert str(caught.value) == f"credentials: fetch: no credentials within 1 s; {before}"


def test_a_fetch_in_its_callers_thread_that_asks_for_what_it_fetches(monkeypatch):
    provider = RefreshingCredentials(lambda: provider(), timeout=PATIENCE)
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    with pytest.raises(CredentialsError, match=r"asked for .*by fetch itself"):
        provider()


# --- fork ---


def run(script, *arguments):
    """What a script prints that is run in an isolated interpreter with the module at hand."""
    head = f"import sys; sys.path.insert(0, {os.path.dirname(iamcacheauth.__file__)!r})\n"
    command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", head + script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


FORK_DURING_A_RENEWAL = """
import os, threading, time
import iamcacheauth

parent = os.getpid()
now = [time.time()]
time.time = lambda: now[0]
begun, may_end = threading.Event(), threading.Event()
lifetimes = list(map(int, sys.argv[1].split()))

def fetch():
    if os.getpid() == parent and len(lifetimes) == 1:
        begun.set()
        may_end.wait(30)
    lifetime = lifetimes.pop(0)
    return iamcacheauth.StaticCredentials("key", "secret", str(lifetime), now[0] + lifetime)

provider = iamcacheauth.RefreshingCredentials(fetch, timeout=30)
auth = iamcacheauth.MemoryDBAuth("user", "cluster", region="us-east-1", credentials=provider)
if len(lifetimes) > 1:
    auth.token()
    now[0] += 595
thread = threading.Thread(target=auth.token)
thread.start()
begun.wait(30)
children = []
for _ in range(4):
    child = os.fork()
    if not child:
        token = auth.token()
        os._exit(0 if "Security-Token=3600" in token else 1)
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children], thread.is_alive())
may_end.set()
thread.join()
print(provider().token, len(lifetimes))
"""
FORK_DURING_THE_FIRST_FETCH = """
import os, signal, threading, time
import iamcacheauth

environ = eval(sys.argv[1])
statuses = []
for delay in range(10):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("http", "email", "ssl", "xml", "json")]:
        del sys.modules[name]  # as if nothing had been fetched yet
    auth = iamcacheauth.MemoryDBAuth(
        "user", "cluster", region="us-east-1", credentials=iamcacheauth.EnvironmentCredentials(environ, timeout=5)
    )
    thread = threading.Thread(target=auth.token)
    thread.start()
    time.sleep(delay * 0.002)
    child = os.fork()
    if not child:
        signal.alarm(30)  # ends a child that hangs
        try:
            status = 0 if auth.token() else 1
        except iamcacheauth.CredentialsError as error:
            status = 2 if "no credentials within 5 s" in str(error) else 3
        os._exit(status)
    statuses.append(os.waitpid(child, 0)[1])
    thread.join()
print(statuses)
"""
IMPORTED_BY_A_FETCH = """
import iamcacheauth
import threading

provider = iamcacheauth.EnvironmentCredentials(eval(sys.argv[1]))
before = set(sys.modules)
try:
    provider()
except iamcacheauth.CredentialsError as error:
    print(type(error).__name__)
print(sorted(set(sys.modules) - before))
"""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
@pytest.mark.parametrize("lifetimes", ["3600", "600 3600"], ids=["absent", "nearly expired"])
def test_children_forked_during_a_renewal(lifetimes):
    """Each renews for itself; what the parent's other thread had begun does not exist in it."""
    assert run(FORK_DURING_A_RENEWAL, lifetimes) == "[0, 0, 0, 0] True\n3600 0\n"


@needs_fork
def test_children_forked_during_the_first_fetch(server):
    """A child finds the import locked for ever that another thread of its parent's was in the middle of.

    OpenSSL's own locks it may find like that as well: then its callers wait for no longer than their timeout.
    """
    late = [2 << 8] if isinstance(server, Sts) else []
    statuses = eval(run(FORK_DURING_THE_FIRST_FETCH, repr(server.environ)))
    assert 0 in statuses and set(statuses) <= {0, *late}, statuses


@pytest.mark.parametrize("fault", [None, silence], ids=["success", "failure"])
def test_what_a_fetch_imports_is_there_before_it_begins(server, fault):
    environ = {name: value.replace("127.0.0.1", "localhost") for name, value in server.environ.items()}
    if fault:
        server.faults["connection"] = iter([lambda connection: None] * 9)
    assert run(IMPORTED_BY_A_FETCH, repr(environ)) == ("CredentialsError\n" if fault else "") + "[]\n"


def test_what_a_fetch_imports_is_there_though_a_module_is_missing():
    """As where Python was built without OpenSSL, which not every source takes."""
    script = "sys.modules['ssl'] = None; import iamcacheauth; iamcacheauth.EnvironmentCredentials({})\n"
    assert run(f"{script}print('urllib.request' in sys.modules)") == "True\n"
