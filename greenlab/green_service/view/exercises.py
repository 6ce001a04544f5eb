"""Chapter 10's exercises: a request's SCI, the overlap of two levers, paying back, and a bug in the water."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from greenlab.lab.exercises import exercise


def _sci_g(machines_j, pue, g_per_kwh, embodied_kg, lifetime_s, on_s):  # type: ignore[no-untyped-def]
    operational = machines_j * pue / 3.6e6 * g_per_kwh
    embodied = 1000 * embodied_kg * on_s / lifetime_s
    return operational + embodied


def _request(random: Random) -> tuple[float, ...]:
    machines, pue, intensity = random.uniform(50, 5000), random.uniform(1.05, 2), random.uniform(20, 900)
    return machines, pue, intensity, random.uniform(100, 2000), random.uniform(3e7, 2e8), random.uniform(0.1, 20)


@exercise("green-service-sci", reference=_sci_g, inputs=_request, difficulty="easy", minutes=8)
def _(answer: Any) -> str | None:
    """The SCI of a request is its electricity times the grid, and its share of making the machines."""
    got, want = answer(3.6e6, 1.5, 100.0, 100.0, 1e8, 1000.0), 151.0
    hints = {
        101.0: "3.6 MJ of the machines are 1.5 kWh of the building: the PUE is missing",
        150.0: "making the machines is missing: 100 kg over 1e8 s, of which this request has 1,000 s",
        151.5: "the PUE is about electricity; manufacture does not grow with it",
        150.001: "the manufacture is given in kg and the answer is in g",
    }
    for wrong, hint in hints.items():
        if abs(got - wrong) < 1e-7 * wrong:
            return hint
    if abs(got - want) > 1e-6:
        return f"1 kWh at a PUE of 1.5 and 100 g/kWh, with 1,000 of 1e8 s of 100 kg, is 151 g; yours gives {got:g}"
    return None


def _overlap(before, first, second, both):  # type: ignore[no-untyped-def]
    product = first / before * second / before
    return both / before / product


def _four(random: Random) -> tuple[float, ...]:
    before = random.uniform(50, 500)
    return before, *(before * random.uniform(0.2, 0.95) for _ in range(2)), before * random.uniform(0.1, 0.9)


@exercise("green-service-overlap", reference=_overlap, inputs=_four, difficulty="medium", minutes=10)
def _(answer: Any) -> str | None:
    """What is left together, over the product of what each lever leaves alone."""
    got = answer(200.0, 100.0, 150.0, 90.0)
    if abs(got - 0.375 / 0.45) < 1e-6:
        return "upside down: above 1 has to mean that together they save less than the product says"
    if abs(got - 0.45 / (1 - 0.75)) < 1e-6:
        return "shares that are left multiply; shares that are saved do not add up"
    if abs(got - 90 / (100 * 150)) < 1e-9:
        return "joules over joules squared is no plain number: take shares of the joules before"
    if abs(got - 1.2) > 1e-6:
        return f"half and three quarters are left alone, 0.375 by the product, 0.45 together: 1.2; yours gives {got:g}"
    return None


def _pays_back(invested_j, before_j, after_j):  # type: ignore[no-untyped-def]
    saved = before_j - after_j
    return invested_j / saved if saved > 0 else math.inf


def _investment(random: Random) -> tuple[float, ...]:
    before = random.uniform(50, 500)
    return random.uniform(1e6, 1e9), before, before * random.uniform(0.1, 1.3)


@exercise("green-service-pays-back", reference=_pays_back, inputs=_investment, difficulty="easy", minutes=5)
def _(answer: Any) -> str | None:
    """What a lever costs once, over what it saves with each request; never, if it saves nothing."""
    got = answer(1e6, 250.0, 200.0)
    if abs(got - 5000) < 1e-6:
        return "divide by what a request saves, not by what it still costs"
    if abs(got - 4000) < 1e-6:
        return "divide by what a request saves, not by what it cost before"
    if abs(got - 20_000) > 1e-3:
        return f"1 MJ at 50 J a request is 20,000 requests; yours gives {got:g}"
    if not math.isinf(answer(1e6, 200.0, 200.0)) or not math.isinf(answer(1e6, 200.0, 250.0)):
        return "a lever that saves nothing never pays back: give math.inf"
    return None


def _water_ml(machines_kwh, pue, cooling_l_per_kwh, grid_l_per_kwh):  # type: ignore[no-untyped-def]
    on_site = machines_kwh * cooling_l_per_kwh
    off_site = machines_kwh * pue * grid_l_per_kwh
    return 1000 * (on_site + off_site)


def _water_ml_with_bug(machines_kwh, pue, cooling_l_per_kwh, grid_l_per_kwh):  # type: ignore[no-untyped-def]
    building_kwh = machines_kwh * pue
    return 1000 * building_kwh * (cooling_l_per_kwh + grid_l_per_kwh)


def _waters(random: Random) -> tuple[float, ...]:
    return random.uniform(1e-5, 1e-2), random.uniform(1.05, 2), random.uniform(0.1, 2), random.uniform(0.5, 5)


@exercise(
    "green-service-find-the-bug",
    reference=_water_ml,
    inputs=_waters,
    bug=_water_ml_with_bug,
    difficulty="medium",
    minutes=8,
    hints=("Try a grid without water: what is left is the cooling, for the machines' kilowatt-hours.",),
)
def _(answer: Any) -> str | None:
    """Cooling water is stated for a kilowatt-hour of the machines, the grid's for one at the meter."""
    cooling, grid = answer(1.0, 1.5, 2.0, 0.0), answer(1.0, 1.5, 0.0, 2.0)
    if abs(cooling - 3000) < 1e-6:
        return "the litres of cooling (WUE) are for a kilowatt-hour of the machines, not of the building"
    if abs(grid - 2000) < 1e-6:
        return "power stations make all that the meter counts: the machines' energy times the PUE"
    return None
