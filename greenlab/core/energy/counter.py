"""One energy counter: how to read it, how sure it is, and what two of its readings say of the time between them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass, field

from greenlab.core import checks
from greenlab.core.energy.receipt import COMPONENTS

# The clock and the counter are two readings, and a busy machine may pause the process between them: so much time is
# granted on top of the block's own before a step counts as impossible.
PAUSE_S = 1.0


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r} is {type(value).__name__}: give text")


@dataclass(frozen=True)
class CounterStatus:
    """One source of energy figures and whether it works here: what the doctor (``python -m greenlab``) prints.

    Attributes:
        name: for example "RAPL package-0" or "NVML gpu-0".
        readable: whether its joules are counted.
        reason: "readable", or why not and what to do.
        tier: 1 RAPL, 2 NVML, 3 Apple, 4 the model.
        uncounted_w: most power that the device can draw without being counted [W]. Above 0 only for a device that is
            there and visible to this process, but gives no joules. Receipts then say "not counted".

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if ``tier`` or ``uncounted_w`` is out of range.
    """

    name: str
    readable: bool
    reason: str
    tier: int
    uncounted_w: float = 0.0

    def __post_init__(self) -> None:
        for name in ("name", "reason"):
            _check_text(name, getattr(self, name))
        checks.flag("readable", self.readable)
        checks.integer("tier", self.tier, low=1, high=4)
        checks.number("uncounted_w", self.uncounted_w, low=0)


@dataclass(frozen=True)
class Step:
    """What one counter says of the time between two readings.

    Attributes:
        energy_j: the joules [J]; NaN when the two readings do not tell.
        missed_j: joules that may be missing because the counter went around unseen [J].
        seen_j: joules that were used for certain, also when ``energy_j`` is NaN [J].
        fault: what was wrong with the readings; empty when nothing was.

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if an energy is negative or infinite, or ``energy_j`` is NaN without a fault.
    """

    energy_j: float
    missed_j: float = 0.0
    seen_j: float = 0.0
    fault: str = ""

    def __post_init__(self) -> None:
        _check_text("fault", self.fault)
        checks.number("missed_j", self.missed_j, low=0)
        checks.number("seen_j", self.seen_j, low=0)
        if not (self.fault and isinstance(self.energy_j, float) and math.isnan(self.energy_j)):
            checks.number("energy_j", self.energy_j, low=0)


@dataclass(frozen=True)
class Counter:
    """One energy counter.

    Attributes:
        name: as shown in receipts, for example "RAPL package-0".
        component: "cpu", "dram" or "gpu".
        read: gives the joules counted so far [J], or None when the counter is gone.
        unit_j: the smallest step [J].
        update_s: how old a reading may be [s].
        error: relative error of the counter.
        max_power_w: the device never draws more [W].
        range_j: where the counter starts again from zero [J]; None or 0 when it never does.

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if a field is out of range.
    """

    name: str
    component: str
    read: Callable[[], float | None] = field(repr=False)
    unit_j: float
    update_s: float
    error: float
    max_power_w: float
    range_j: float | None = None

    def __post_init__(self) -> None:
        _check_text("name", self.name)
        checks.one_of("component", self.component, COMPONENTS)
        if not callable(self.read):
            raise TypeError(
                f"read={self.read!r} is no function: give one without arguments that returns joules or None"
            )
        checks.number("unit_j", self.unit_j, low=0)
        checks.number("update_s", self.update_s, low=0)
        checks.number("error", self.error, low=0, high=1)
        checks.number("max_power_w", self.max_power_w, above=0)
        if self.range_j is not None:
            checks.number("range_j", self.range_j, low=0)

    def step(self, start_j: float, end_j: float, time_s: float) -> Step:
        """What two readings say of the time between them.

        A counter that falls has gone around, or it was reset (by a suspend, or by the driver). The two are told apart
        by power: going around must not need more than ``max_power_w``. In a block of many minutes both are possible and
            the
        counter is taken to have gone around; reading it each minute (``measure.checkpoint``) avoids the doubt. A step
        up that needs more than ``max_power_w`` is refused as well. Where the clock has not moved, nothing can be
        refused.

        Args:
            start_j: the first reading [J].
            end_j: the second reading [J].
            time_s: the time between them [s].

        Raises:
            TypeError: if an argument is no number.
            ValueError: if ``time_s`` is NaN or infinite. A reading that is no energy is a fault and no error.

        >>> counter = Counter("fake", "cpu", lambda: 0.0, 1e-6, 1e-3, 0.05, 600, range_j=100_000.0)
        >>> counter.step(99_990.0, 5.0, time_s=0.1).energy_j
        15.0
        >>> counter.step(50_000.0, 5.0, time_s=0.1)
        Step(energy_j=nan, missed_j=0.0, seen_j=5.0, fault='was reset')
        """
        for name, value in (("start_j", start_j), ("end_j", end_j), ("time_s", time_s)):
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise TypeError(f"{name}={value!r} is {type(value).__name__}: give a number")
        if not math.isfinite(time_s):
            raise ValueError(f"time_s={time_s!r}: give a finite number of seconds")
        if not (math.isfinite(start_j) and math.isfinite(end_j) and start_j >= 0 and end_j >= 0):
            return Step(math.nan, fault="gave a reading that is no energy")
        most_j = self.max_power_w * (time_s + PAUSE_S) if time_s > 0 else math.inf
        if end_j >= start_j:
            energy_j = end_j - start_j
            if energy_j > most_j:
                return Step(math.nan, fault="jumped")
        else:
            energy_j = unwrap(start_j, end_j, self.range_j) if self.range_j and start_j <= self.range_j else math.inf
            if energy_j == math.inf or energy_j > most_j:
                # A reset counter starts from zero: what it shows at the end has been used in this block. A counter that
                # was small before as well may just have gone back a little, so then nothing is certain.
                reset = end_j <= most_j < start_j
                return Step(math.nan, seen_j=end_j if reset else 0.0, fault="was reset" if reset else "went back")
        if not self.range_j:
            return Step(energy_j)
        rounds = max(0.0, self.max_power_w * time_s - energy_j) // self.range_j
        return Step(energy_j, missed_j=rounds * self.range_j)


def unwrap(start: float, end: float, span: float) -> float:
    """How far a counter that restarts from zero at ``span`` has moved, if it went around at most once.

    The kernel gives the largest value (``max_energy_range_uj``), not the modulus; the modulus is one energy unit more,
    about 61 uJ (Linux, Documentation/power/powercap). Taking one for the other loses at most that unit per round.

    Args:
        start: the first reading, from 0 to ``span``.
        end: the second reading, from 0 to ``span``.
        span: where the counter starts again; any unit, the same for all three.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if ``span`` is not above 0, or a reading lies outside 0 to ``span``.

    >>> unwrap(20, 50, 100), unwrap(90, 5, 100)
    (30, 15)
    """
    checks.number("span", span, above=0)
    checks.number("start", start, low=0, high=span, remedy="a reading is at most span")
    checks.number("end", end, low=0, high=span, remedy="a reading is at most span")
    return end - start if end >= start else end - start + span
