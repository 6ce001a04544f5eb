"""How often a counter moves, on a clock and a counter that are told what to do."""

import math

import pytest

from greenlab.core.energy.pace import Pace, pace
from tests.core.energy.test_meter import fake_counter


def watched(readings_a_move, time_s=0.5, step_s=0.01):
    """Watch a counter that moves every so many readings; the clock moves by ``step_s`` a reading."""
    readings, times = iter(range(10**6)), iter(step_s * i for i in range(10**6))
    counter = fake_counter([], read=lambda: float(next(readings) // readings_a_move))
    return pace(counter, time_s=time_s, clock=lambda: next(times), wait=lambda: None)


@pytest.mark.parametrize(("readings_a_move", "interval_s"), [(1, 0.01), (2, 0.02), (10, 0.1)])
def test_the_interval_is_the_mean_time_between_two_moves(readings_a_move, interval_s):
    found = watched(readings_a_move)
    assert found.interval_s == pytest.approx(interval_s)
    assert found.moves == pytest.approx(0.5 / interval_s, abs=1)
    assert str(found) == f"its counter moves about every {1e3 * interval_s:.0f} ms"


@pytest.mark.parametrize(
    ("readings_a_move", "words"), [(40, "moved 1 time in 0.5 s"), (1000, "moved 0 times in 0.5 s")]
)
def test_fewer_than_two_moves_give_no_interval(readings_a_move, words):
    found = watched(readings_a_move)
    assert found.interval_s is None
    assert words in str(found)


def test_a_counter_that_is_gone_has_not_moved():
    times = iter(range(100))
    found = pace(fake_counter([], read=lambda: None), clock=lambda: 0.1 * next(times), wait=lambda: None)
    assert (found.moves, found.interval_s) == (0, None)


@pytest.mark.parametrize("value", [0, -1.0, math.inf, math.nan, 1e9, "1", None, True])
def test_how_long_to_watch_is_a_number_of_seconds(value):
    with pytest.raises((ValueError, TypeError), match="time_s"):
        pace(fake_counter([]), time_s=value)


def test_only_counters_are_watched():
    with pytest.raises(TypeError, match="counter=3"):
        pace(3)
    assert Pace(0, 0.5, None).moves == 0
