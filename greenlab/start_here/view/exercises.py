"""Chapter 0's exercises: from joules to grams, the one conversion that every chapter needs."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from greenlab.lab.exercises import exercise


def _carbon_g() -> float:
    return 36_000 / 3.6e6 * 400


@exercise(
    "start-here-carbon",
    worked=_carbon_g,
    tolerance=0.001,
    difficulty="easy",
    minutes=3,
    hints=("Joules over 3.6 million are kilowatt-hours; kilowatt-hours times grams per kilowatt-hour are grams.",),
)
def _(answer: Any) -> str | None:
    """A hundredth of a kilowatt-hour at 400 g/kWh is 4 g."""
    got = float(answer)
    if math.isclose(got, 4000, rel_tol=0.01):
        return "4,000: a watt-hour has 3,600 J and a kilowatt-hour a thousand times that"
    if math.isclose(got, 36_000 * 400, rel_tol=0.01):
        return "joules times grams per kilowatt-hour: turn the joules into kilowatt-hours first"
    if math.isclose(got, 0.01, rel_tol=0.01):
        return "0.01 is the kilowatt-hours; multiply them by the grid"
    if not math.isclose(got, 4, rel_tol=0.001):
        return f"{got:g} g: divide 36,000 J by 3.6 million, then multiply by 400"
    return None


def _run_g(power_w, time_s, intensity_g_per_kwh):  # type: ignore[no-untyped-def]
    energy_kwh = power_w * time_s / 3.6e6
    return energy_kwh * intensity_g_per_kwh


def _run_g_with_bug(power_w, time_s, intensity_g_per_kwh):  # type: ignore[no-untyped-def]
    energy_kwh = power_w * time_s / 3600
    return energy_kwh * intensity_g_per_kwh


def _runs(random: Random) -> tuple[float, ...]:
    return random.uniform(10, 1000), random.uniform(10, 1e5), random.uniform(20, 900)


@exercise(
    "start-here-find-the-bug",
    reference=_run_g,
    inputs=_runs,
    bug=_run_g_with_bug,
    difficulty="easy",
    minutes=3,
    hints=("Try a kettle of 1,000 W for one hour on a grid of 400 g/kWh: one kilowatt-hour, 400 g.",),
)
def _(answer: Any) -> str | None:
    """Watts times seconds are joules, and a kilowatt-hour has 3.6 million of them."""
    got = answer(1000, 3600, 400)
    if math.isclose(got, 400_000):
        return (
            "1,000 W for an hour on 400 g/kWh are 400 g, yours gives 400,000: watt-hours are taken for kilowatt-hours"
        )
    if math.isclose(got, 400 * 3600):
        return "watts times seconds over a thousand are kilojoules, not kilowatt-hours"
    return None
