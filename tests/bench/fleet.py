"""Simulate a fleet that is started at once, and print how often it fetches credentials.

    python tests/bench/fleet.py [--generators 10000] [--hours 24]

The module's own code runs, by a clock that is told: nothing waits, and a day takes minutes. Fetches run
where they would start a thread. Ends with 1 if the fleet asks too often, or too much at once.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # it may be missing there: see PYTHONSAFEPATH
from support.examples import NOON, SECRET_KEY, SESSION_TOKEN
from support.subject import iamcacheauth

SESSION = 3600  # seconds that credentials are valid for
STARTING = 10  # seconds in which the fleet is started
MINUTE, HOUR, DAY = 60, 3600, 86400
MOST_A_DAY = 36  # fetches of one generator
LARGEST_PEAK = 1 / 10  # of the first fetches, in as much time, after the first minute


class Clock:
    def __init__(self) -> None:
        self.now = 0.0  # seconds since the start

    def time(self) -> float:
        return NOON + self.now

    def monotonic(self) -> float:
        return self.now


class SameThread(threading.Thread):
    """Does its work when it is started, in the thread that starts it."""

    def start(self) -> None:
        self.run()


@contextmanager
def told_time() -> Iterator[Clock]:
    clock = Clock()
    with (
        mock.patch.multiple(time, time=clock.time, monotonic=clock.monotonic),
        mock.patch("threading.Thread", SameThread),
    ):
        yield clock


def fetches(generators: int, hours: int, starting: float) -> list[int]:
    """How often the fleet fetches in each second; every generator makes a token at a random second of every minute."""
    counted = [0] * (hours * HOUR)
    with told_time() as clock:

        def fetch() -> iamcacheauth.StaticCredentials:
            counted[int(clock.now)] += 1
            expiration = clock.time() + SESSION
            return iamcacheauth.StaticCredentials("ASIAIOSFODNN7EXAMPLE", SECRET_KEY, SESSION_TOKEN, expiration)

        def generator() -> iamcacheauth.ElastiCacheAuth:
            credentials = iamcacheauth.RefreshingCredentials(fetch)
            return iamcacheauth.ElastiCacheAuth("my-iam-user", "my-cache", region="us-east-1", credentials=credentials)

        tokens = [generator().token for _ in range(generators)]
        for number, token in enumerate(tokens):
            clock.now = number * starting / generators
            token()
        for minute in range(1, hours * HOUR // MINUTE):
            seconds: list[list[object]] = [[] for _ in range(MINUTE)]
            for token, second in zip(tokens, random.choices(range(MINUTE), k=generators)):
                seconds[second].append(token)
            for second, due in enumerate(seconds):
                clock.now = float(minute * MINUTE + second)
                for token in due:
                    token()
    return counted


class Load(NamedTuple):
    """What the source of a fleet's credentials has to bear."""

    first: int  # fetches in the first ``window`` seconds
    peak: int  # in any other ``window`` seconds after the first minute
    a_day: float  # of one generator

    @property
    def is_bearable(self) -> bool:
        return self.peak <= self.first * LARGEST_PEAK and self.a_day <= MOST_A_DAY


def load(counted: list[int], generators: int, window: int = 1) -> Load:
    sums = [sum(counted[start : start + window]) for start in range(MINUTE, len(counted) - window + 1)]
    return Load(sum(counted[:window]), max(sums), sum(counted) / generators * DAY / len(counted))


def simulated(generators: int, hours: int) -> list[int]:
    """The same, on all processors: the generators know nothing of each other."""
    processes = os.cpu_count() or 1
    parts = [generators // processes + (number < generators % processes) for number in range(processes)]
    with ProcessPoolExecutor(processes) as pool:
        counts = list(pool.map(fetches, parts, [hours] * processes, [STARTING] * processes))
    return list(map(sum, zip(*counts)))


def main() -> int:
    parser = argparse.ArgumentParser(description="Simulate a fleet and print how often it fetches credentials.")
    parser.add_argument("--generators", type=int, default=10000)
    parser.add_argument("--hours", type=int, default=24)
    options = parser.parse_args()
    found = load(simulated(options.generators, options.hours), options.generators)
    print(f"{options.generators:,} generators, started within {STARTING} s, {options.hours} hours, sessions of an hour")
    print(f"fetches in the first second                       {found.first:,}")
    print(f"most in any second after the first minute         {found.peak:,}")
    print(f"of one generator in a day                         {found.a_day:.1f}")
    return 0 if found.is_bearable else 1


if __name__ == "__main__":
    sys.exit(main())
