"""A smaller fleet than fleet.py's, for the same bounds.

It has fewer fetches than a second's chances can be told by, so ten seconds are looked at together.
"""

from __future__ import annotations

import time

import pytest

from bench import fleet

GENERATORS = 500
WINDOW = 10  # seconds, in which all of them are started


@pytest.fixture(scope="module")
def counted():
    return fleet.fetches(GENERATORS, hours=8, starting=WINDOW)


def test_a_fleet_does_not_ask_together(counted):
    found = fleet.load(counted, GENERATORS, WINDOW)
    assert found.first == GENERATORS
    assert found.peak <= GENERATORS * fleet.LARGEST_PEAK


def test_a_fleet_does_not_ask_often(counted):
    """Nor too seldom: each of them lives on credentials that are valid."""
    assert 86400 / fleet.SESSION < fleet.load(counted, GENERATORS).a_day <= fleet.MOST_A_DAY


def test_a_fleet_that_asks_together_is_noticed():
    """As it would if every generator renewed after 45 minutes sharp, at its next token."""
    together = [0] * fleet.HOUR
    together[:WINDOW] = [GENERATORS // WINDOW] * WINDOW
    together[2700:2760] = [GENERATORS // 60] * 60
    assert not fleet.load(together, GENERATORS, WINDOW).is_bearable


def test_the_clock_is_given_back():
    with fleet.told_time():
        assert time.monotonic() == 0
    assert time.monotonic() > 0
