"""Chapter 0's exercises: from joules to grams, the one conversion that every chapter needs."""

from __future__ import annotations

import math
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
