"""Chapter 1's exercises: a training run, the building's share, grams per prompt, the rebound; hints name the likely slip."""

from __future__ import annotations

import math
from typing import Any

from greenlab import footprint
from greenlab.core.facts import value
from greenlab.lab.exercises import exercise


def _close(got: float, want: float, rel: float = 0.01) -> bool:
    return math.isclose(got, want, rel_tol=rel)


def _training_t(device_hours: float, power_w: float, pue: float, intensity_g_per_kwh: float) -> float:
    run = footprint.training_footprint(
        device_hours=device_hours, power_w=power_w, pue=pue, intensity_g_per_kwh=intensity_g_per_kwh
    )
    return float(run.carbon_t)


@exercise(
    "footprint-training", reference=_training_t, difficulty="easy", minutes=5,
    hints=("Watts times hours are watt-hours. A kilowatt-hour has a thousand of them.", "A tonne is a million grams."),
)  # fmt: skip
def _(answer: Any) -> str | None:
    """Hours times watts are watt-hours; the building comes on top; the grid turns them into grams."""
    got, want = float(answer(1e6, 700, 1.2, 400)), _training_t(1e6, 700, 1.2, 400)
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


@exercise("footprint-overhead", reference=161.0, difficulty="easy", minutes=5)
def _(answer: Any) -> str | None:
    """Of every 1.54 kWh, one reaches the computers: 0.54/1.54 of 460 TWh is overhead, about 161 TWh."""
    got, pue = float(answer), value("pue-average")
    if _close(got, 460 * (pue - 1)):
        return f"{got:.0f} TWh is 0.54 times the total; the PUE is total over IT, so 460 TWh is the 1.54, not the 1"
    if _close(got, 460 / pue):
        return "that is what reaches the computers; the question is about the rest"
    if _close(got, 184):
        return "that is the 40 % of the older split; use the PUE of 1.54"
    return None if _close(got, 460 * (1 - 1 / pue)) else f"{got:g} TWh: take 460 TWh times (1 - 1/PUE)"


def _grams(energy_wh: float, intensity_g_per_kwh: float, embodied_g: float, prompts: float) -> float:
    return float(
        footprint.sci(
            energy_kwh=energy_wh / 1e3,
            intensity_g_per_kwh=intensity_g_per_kwh,
            embodied_g=embodied_g,
            functional_units=prompts,
        )
    )


@exercise("footprint-sci", reference=_grams, difficulty="medium", minutes=8)
def _(answer: Any) -> str | None:
    """Electricity times grid, plus manufacture, and all of it divided by the prompts."""
    got, want = float(answer(2000, 400, 300, 100)), _grams(2000, 400, 300, 100)  # (2 x 400 + 300) / 100 = 11 g
    if _close(got, 8003):
        return "8,003 g: watt-hours were taken for kilowatt-hours; the grid's intensity is per kWh"
    if _close(got, 8):
        return "8 g: the manufacture is missing; the standard adds it before dividing"
    if _close(got, 308):
        return "308 g: the manufacture belongs to all the prompts; divide it by them as well"
    if _close(got, 1100):
        return "1,100 g is the whole; the SCI is a rate, per prompt"
    return (
        None if _close(got, want) else f"2,000 Wh at 400 g/kWh and 300 g over 100 prompts give 11 g each, not {got:.4g}"
    )


def _rebound_share(before_wh: float, after_wh: float, uses_before: float, uses_after: float) -> float:
    found = footprint.rebound(before_wh=before_wh, after_wh=after_wh, uses_before=uses_before, uses_after=uses_after)
    return float(found.share)


@exercise(
    "footprint-rebound", reference=_rebound_share, difficulty="medium", minutes=10,
    hints=("Write three amounts first: energy before, energy after if use had stayed, energy after.",),
)  # fmt: skip
def _(answer: Any) -> str | None:
    """The share of the expected saving that extra use takes back; above one, more is used than before."""
    got = float(answer(3, 1, 1000, 2000))  # expected 2 kWh, saved 1 kWh: half
    if _close(float(answer(3, 1, 1000, 1000)), 1) and not _close(got, 0.5):
        return "with unchanged use nothing rebounds: the share is 0, and yours is 1, the share that was kept"
    if _close(got, 2):
        return "2 is how much more is asked; compare the energy saved with the energy that should have been saved"
    if _close(got, 2 / 3):
        return "2/3 is the energy after over the energy before; divide savings, not energies"
    if not _close(got, 0.5):
        return f"3 Wh become 1 Wh and a thousand uses two thousand: half of the saving is lost, not {got:.3g} of it"
    if not _close(float(answer(3, 1, 1000, 4000)), 1.5):
        return "four times the use eats more than the whole saving: the share is 1.5; do not cut it off at 1"
    return None
