"""How often a counter moves: between two moves it says nothing new, so shorter blocks cannot be measured with it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from greenlab.core import checks
from greenlab.core.calls import checked_work
from greenlab.core.energy.counters import Counter


@dataclass(frozen=True)
class Pace:
    """What watching a counter has shown.

    Attributes:
        moves: how often its reading changed.
        watched_s: how long it was watched [s].
        interval_s: mean time from one change to the next [s]; None when there were fewer than two.

    Raises:
        TypeError: if a field is no number.
        ValueError: if it is negative, NaN or infinite.
    """

    moves: int
    watched_s: float
    interval_s: float | None

    def __post_init__(self) -> None:
        checks.integer("moves", self.moves, low=0)
        checks.number("watched_s", self.watched_s, low=0)
        if self.interval_s is not None:
            checks.number("interval_s", self.interval_s, low=0)

    def __str__(self) -> str:
        """In words, as the doctor prints it."""
        if self.interval_s is None:
            return f"its counter moved {self.moves} time{'s' * (self.moves != 1)} in {self.watched_s:.2g} s"
        return f"its counter moves about every {1e3 * self.interval_s:.0f} ms"


def pace(
    counter: Counter,
    *,
    time_s: float = 0.5,
    clock: Callable[[], float] = time.perf_counter,
    wait: Callable[[], object] = lambda: time.sleep(0.001),
) -> Pace:
    """Watch a counter for about ``time_s`` and say how often it moves.

    Args:
        counter: the counter.
        time_s: how long to watch [s], at most a minute.
        clock: gives the time [s]; tests hand in their own.
        wait: called between two readings; tests hand in their own.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if ``time_s`` is out of range.
    """
    if not isinstance(counter, Counter):
        raise TypeError(f"counter={counter!r} is {type(counter).__name__}: give a Counter")
    time_s = checks.number("time_s", time_s, above=0, high=60, remedy="it is in seconds")
    checked_work("clock", clock)
    checked_work("wait", wait)
    last_j, start_s = counter.read(), clock()
    now_s, moved_s = start_s, []
    while now_s - start_s < time_s:
        wait()
        joules, now_s = counter.read(), clock()
        if joules != last_j:
            moved_s.append(now_s)
            last_j = joules
    interval_s = (moved_s[-1] - moved_s[0]) / (len(moved_s) - 1) if len(moved_s) > 1 else None
    return Pace(len(moved_s), now_s - start_s, interval_s)
