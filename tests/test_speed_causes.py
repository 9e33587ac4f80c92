"""Why a token is cheap: what stays the same from one to the next is not computed again. Nothing here measures time."""

from __future__ import annotations

import asyncio
import hmac
import sys
import threading
import time
import types
from typing import NamedTuple

import pytest
from support.examples import ACCESS_KEY, NOON, PERMANENT, SECRET_KEY, SESSION_TOKEN, TEMPORARY, clock_at
from support.subject import iamcacheauth

STATIC = {
    "AWS_ACCESS_KEY_ID": TEMPORARY.access_key,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_SESSION_TOKEN": SESSION_TOKEN,
}
AT_HAND = {
    "StaticCredentials": TEMPORARY,
    "any object": types.SimpleNamespace(access_key=ACCESS_KEY, secret_key=SECRET_KEY, token=None),
    "environment variables": iamcacheauth.EnvironmentCredentials(STATIC),
}
every_kind = pytest.mark.parametrize("credentials", AT_HAND.values(), ids=AT_HAND.keys())


def generator(credentials):
    return iamcacheauth.ElastiCacheAuth("u", "c", region="us-east-1", serverless=True, credentials=credentials)


class Work(NamedTuple):
    keys: int  # that are derived
    encodings: int  # of texts into URLs


@pytest.fixture
def work_of_a_token(monkeypatch):
    """A function that signs a token and says what work that was."""
    digests = []

    def counted(*arguments):
        digests.append(arguments)
        return digest(*arguments)

    def work_of_a_token(auth, now):
        encodings = 0

        def count(frame, event, _):
            nonlocal encodings
            encodings += event == "call" and frame.f_code is iamcacheauth.uri_encode.__code__

        digests.clear()
        before = sys.getprofile()
        with clock_at(now):
            sys.setprofile(count)
            try:
                auth.token()
            finally:
                sys.setprofile(before)
        assert len(digests) in (1, 5)  # of the text that is signed, and of the four steps to a key
        return Work(len(digests) // 5, encodings)

    digest = hmac.digest
    monkeypatch.setattr(hmac, "digest", counted)
    return work_of_a_token


@every_kind
def test_the_key_is_derived_and_the_request_encoded_once_a_day(work_of_a_token, credentials):
    auth = generator(credentials)
    once = work_of_a_token(auth, NOON)
    assert once.keys == 1
    # At most the names and values of three parameters and six X-Amz- ones.
    assert 3 <= once.encodings <= 18
    for seconds in (0, 1, 60, 12 * 3600 - 1):
        assert work_of_a_token(auth, NOON + seconds) == (0, 0)
    assert work_of_a_token(auth, NOON + 12 * 3600) == once
    assert work_of_a_token(auth, NOON + 12 * 3600 + 1) == (0, 0)


def test_other_credentials_are_derived_from_anew(work_of_a_token):
    current = types.SimpleNamespace(access_key=ACCESS_KEY, secret_key=SECRET_KEY, token=None)
    auth = generator(current)
    work_of_a_token(auth, NOON)
    for attribute, value in (("access_key", "AKIAOTHER"), ("secret_key", "other"), ("token", "t"), ("token", "u")):
        setattr(current, attribute, value)
        assert work_of_a_token(auth, NOON).keys == 1
        assert work_of_a_token(auth, NOON) == (0, 0)


def test_equal_credentials_are_not_derived_from_anew(work_of_a_token):
    """A callable may build a new object each time, as botocore does of a frozen set."""
    auth = generator(lambda: iamcacheauth.StaticCredentials(ACCESS_KEY, SECRET_KEY))
    work_of_a_token(auth, NOON)
    assert work_of_a_token(auth, NOON + 1) == (0, 0)


def test_environment_variables_are_checked_only_when_they_change():
    variables = dict(STATIC)
    provider = iamcacheauth.EnvironmentCredentials(variables)
    before = provider()
    assert provider() is before
    variables["AWS_SESSION_TOKEN"] = "renewed"
    assert provider() is not before
    assert provider() is provider()


@every_kind
def test_the_clock_is_read_once_a_token(monkeypatch, credentials):
    auth = generator(credentials)
    readings = []

    def clock():
        readings.append(NOON)
        return NOON

    monkeypatch.setattr(time, "time", clock)
    for _ in range(2):
        readings.clear()
        auth.token()
        assert len(readings) == 1
    for coroutine in (auth.token_async(), auth.get_credentials_async()):
        readings.clear()
        with pytest.raises(StopIteration):  # done at the first step: it waited for nothing
            coroutine.send(None)
        assert len(readings) == 1


def test_what_was_fetched_is_at_hand_from_then_on(work_of_a_token):
    fetches = []

    def fetch():
        fetches.append(NOON)
        return PERMANENT

    auth = generator(iamcacheauth.RefreshingCredentials(fetch))
    assert work_of_a_token(auth, NOON).keys == 1
    assert work_of_a_token(auth, NOON + 3600) == (0, 0)
    with clock_at(NOON), pytest.raises(StopIteration):
        auth.token_async().send(None)
    assert len(fetches) == 1


def test_what_may_block_goes_to_a_worker_thread():
    threads = []

    def fetch():
        threads.append(threading.current_thread())
        return PERMANENT

    asyncio.run(generator(fetch).token_async())
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()
