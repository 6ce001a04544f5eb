"""Chapter 1's exercises: a training run, the building's share, grams per prompt, the rebound; hints name the slip."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from greenlab.lab.exercises import exercise


def _close(got: float, want: float) -> bool:
    return math.isclose(got, want, rel_tol=0.01)


def _training_t(device_hours, power_w, pue, intensity_g_per_kwh):  # type: ignore[no-untyped-def]
    return device_hours * power_w / 1e3 * pue * intensity_g_per_kwh / 1e6


def _runs(random: Random) -> tuple[float, ...]:
    return 10 ** random.uniform(3, 8), random.uniform(100, 1200), random.uniform(1.05, 2), random.uniform(20, 900)


@exercise(
    "footprint-training",
    reference=_training_t,
    inputs=_runs,
    difficulty="easy",
    minutes=5,
    hints=("Watts times hours are watt-hours. A kilowatt-hour has a thousand of them.", "A tonne is a million grams."),
)
def _(answer: Any) -> str | None:
    """Hours times watts are watt-hours; the building comes on top; the grid turns them into grams."""
    got, want = answer(1e6, 700, 1.2, 400), 336.0
    if _close(got, want / 1.2):
        return "your building costs nothing: multiply by the PUE, which is 1.2 in the test"
    if _close(got, want * 1e3):
        return "a factor of a thousand: either watts were taken for kilowatts, or kilograms for tonnes"
    if _close(got, want * 1e6) or _close(got, want * 1e9):
        return "that is the number of grams, or watts taken for kilowatts as well; the answer is in tonnes"
    if _close(got, want / 1.2 * 0.2):
        return "that is the building's overhead alone; multiply by the PUE, not by the PUE less one"
    if not _close(got, want):
        return (
            f"for 1e6 h at 700 W, PUE 1.2, 400 g/kWh you give {got:.4g} t; 0.7 GWh times 1.2 times 400 g/kWh is 336 t"
        )
    return None


def _overhead_twh() -> float:
    return 460 * (1 - 1 / 1.54)


@exercise("footprint-overhead", worked=_overhead_twh, tolerance=0.002, difficulty="easy", minutes=5)
def _(answer: Any) -> str | None:
    """Of every 1.54 kWh, one reaches the computers: 0.54/1.54 of 460 TWh is overhead, about 161 TWh."""
    got, pue = float(answer), 1.54
    if any(_close(got, right) for right in (161.3e3, 161.3e6, 161.3e9, 161.3e12)):
        return f"{got:.4g}: the digits are right, the unit is not; the answer is in terawatt-hours"
    if _close(got, 460 * (pue - 1)):
        return f"{got:.0f} TWh is 0.54 times the total; the PUE is total over IT, so 460 TWh is the 1.54, not the 1"
    if _close(got, 460 / pue):
        return "that is what reaches the computers; the question is about the rest"
    if _close(got, 184):
        return "that is the 40 % of the older split; use the PUE of 1.54"
    if _close(got, 100 * (1 - 1 / pue)) or _close(got, 1 - 1 / pue):
        return "that is the share of the overhead; multiply it by 460 TWh"
    return None if abs(got - 161.3) < 0.4 else f"{got:g} TWh: take 460 TWh times (1 - 1/PUE)"


def _grams(energy_wh, intensity_g_per_kwh, embodied_g, prompts):  # type: ignore[no-untyped-def]
    return (energy_wh / 1e3 * intensity_g_per_kwh + embodied_g) / prompts


def _services(random: Random) -> tuple[float, ...]:
    return random.uniform(500, 5000), random.uniform(20, 900), random.uniform(50, 900), random.randint(2, 5000)


@exercise("footprint-sci", reference=_grams, inputs=_services, difficulty="medium", minutes=8)
def _(answer: Any) -> str | None:
    """Electricity times grid, plus manufacture, and all of it divided by the prompts."""
    got = answer(2000, 400, 300, 100)  # (2 x 400 + 300) / 100 = 11 g
    if _close(got, 8003) or _close(got, 8000):
        return f"{got:,.0f} g: watt-hours were taken for kilowatt-hours; the grid's intensity is per kWh"
    if _close(got, 8):
        return "8 g: the manufacture is missing; the standard adds it before dividing"
    if _close(got, 308):
        return "308 g: the manufacture belongs to all the prompts; divide it by them as well"
    if _close(got, 1100):
        return "1,100 g is the whole; the SCI is a rate, per prompt"
    if not _close(got, 11):
        return f"2,000 Wh at 400 g/kWh and 300 g over 100 prompts give 11 g each, not {got:.4g}"
    return None


def _rebound_share(before_wh, after_wh, uses_before, uses_after):  # type: ignore[no-untyped-def]
    expected = (before_wh - after_wh) * uses_before
    saved = before_wh * uses_before - after_wh * uses_after
    return 1 - saved / expected


def _growths(random: Random) -> tuple[float, ...]:
    before, uses = random.uniform(1, 10), random.randint(10, 5000)
    return before, before * random.uniform(0.1, 0.9), uses, int(uses * random.uniform(0.5, 6))


@exercise(
    "footprint-rebound",
    reference=_rebound_share,
    inputs=_growths,
    difficulty="medium",
    minutes=10,
    hints=("Write three amounts first: energy before, energy after if use had stayed, energy after.",),
)
def _(answer: Any) -> str | None:
    """The share of the expected saving that extra use takes back; above one, more is used than before."""
    got = answer(3, 1, 1000, 2000)  # expected 2 kWh, saved 1 kWh: half
    if _close(answer(3, 1, 1000, 1000), 1) and not _close(got, 0.5):
        return "with unchanged use nothing rebounds: the share is 0, and yours is 1, the share that was kept"
    if _close(got, 2):
        return "2 is how much more is asked; compare the energy saved with the energy that should have been saved"
    if _close(got, 2 / 3):
        return "2/3 is the energy after over the energy before; divide savings, not energies"
    if not _close(got, 0.5):
        return f"3 Wh become 1 Wh and a thousand uses two thousand: half of the saving is lost, not {got:.3g} of it"
    if _close(answer(3, 1, 1000, 4000), 1):
        return "four times the use eats more than the whole saving: the share is 1.5; do not cut it off at 1"
    if _close(answer(3, 1, 1000, 500), 0):
        return "with half the use even more is saved than expected: the share is -0.25; do not cut it off at 0"
    return None


def _fleet_pue(total_kwh, it_kwh):  # type: ignore[no-untyped-def]
    return sum(total_kwh) / sum(it_kwh)


def _fleet_pue_with_bug(total_kwh, it_kwh):  # type: ignore[no-untyped-def]
    ratios = [total / it for total, it in zip(total_kwh, it_kwh, strict=True)]
    return sum(ratios) / len(ratios)


def _fleets(random: Random) -> tuple[list[float], list[float]]:
    it_kwh = [10 ** random.uniform(1, 5) for _ in range(random.randint(2, 6))]
    return [energy * random.uniform(1.05, 2.2) for energy in it_kwh], it_kwh


@exercise(
    "footprint-find-the-bug",
    reference=_fleet_pue,
    inputs=_fleets,
    bug=_fleet_pue_with_bug,
    difficulty="medium",
    minutes=8,
    hints=("Try a large hall at 1.1 and a cupboard at 2: what does the electricity meter of both together say?",),
)
def _(answer: Any) -> str | None:
    """A fleet's PUE is all its energy over all that reaches its computers; a mean of ratios forgets the sizes."""
    got = answer([1100.0, 2.0], [1000.0, 1.0])
    if math.isclose(got, 1.55, rel_tol=1e-3):
        return "a hall of 1,000 kWh at 1.1 and a cupboard of 1 kWh at 2 give 1.55, as if both were of one size"
    if math.isclose(got, 1001 / 1102, rel_tol=1e-3):
        return "below 1 a building would draw less than its computers: the ratio is upside down"
    return None
