"""What an amount may be: checks that name the argument, the value, the allowed range and the remedy.

An amount is a number, a NumPy array or a pandas Series; a check looks at all of it at once and shows the first bad value.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from greenlab.core.energy.receipt import grid_intensity

Amount: TypeAlias = Any  # float, np.ndarray or pd.Series: what goes in comes out, which a union could not express
HOURS_PER_YEAR = 8760
WH_PER_J = 1 / 3600
CLEANEST_G_PER_KWH, DIRTIEST_G_PER_KWH = 2.0, 2500.0
"""No grid is cleaner or dirtier: IPCC AR5 annex III has wind at 7 g/kWh at the least, hydropower at 2,200 at the most.

The dirtiest grid of data/facts/grid_intensity.csv has 802. Below 2 a number is nearly always kg/kWh or t/MWh.
"""


def amount(
    name: str,
    value: Amount,
    unit: str,
    *,
    low: float = 0.0,
    high: float = np.inf,
    remedy: str = "",
    above: bool = False,
) -> Amount:
    """Return ``value`` if all of it is a finite number from ``low`` (or above it) to ``high``.

    Lists and tuples become arrays; a Series stays what it is, index and all.

    Raises:
        ValueError: naming argument, first bad value, allowed range and remedy.

    >>> amount("power_w", -400, "W")
    Traceback (most recent call last):
    ...
    ValueError: power_w=-400 is not allowed: give 0 W or more
    """
    if isinstance(value, list | tuple):
        value = np.asarray(value)
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "iuf":
        raise ValueError(f"{name}={value!r} is not a number: give {_range(low, high, unit, above)}")
    low_enough = numbers > low if above else numbers >= low
    good = low_enough & (numbers <= high) & np.isfinite(numbers)
    if good.all():
        return value
    bad = float(numbers[~good].flat[0]) if numbers.ndim else float(numbers)
    where = "" if not numbers.ndim else f" (entry {int(np.argmin(good.ravel()))})"
    hint = f"; {remedy}" if remedy else ""
    raise ValueError(f"{name}={bad:g}{where} is not allowed: give {_range(low, high, unit, above)}{hint}")


def _range(low: float, high: float, unit: str, above: bool) -> str:
    unit = f" {unit}" if unit else ""
    if np.isinf(high):
        return f"more than {low:g}{unit}" if above else f"{low:g}{unit} or more"
    return f"more than {low:g} and at most {high:g}{unit}" if above else f"{low:g} to {high:g}{unit}"


def check_pue(pue: Amount) -> Amount:
    """Return the power usage effectiveness, total energy over IT energy, which cannot be below 1.

    >>> check_pue(0.9)
    Traceback (most recent call last):
    ...
    ValueError: pue=0.9 is not allowed: give 1 to 5; it is total energy over IT energy, so 1.1 means a tenth on top
    """
    words = "it is total energy over IT energy, so 1.1 means a tenth on top"
    return amount("pue", pue, "", low=1.0, high=5.0, remedy=words)


def check_share(name: str, value: Amount, *, above: bool = False) -> Amount:
    """Return a share, a number from 0 to 1 (above 0 where nothing would divide by zero)."""
    return amount(name, value, "", high=1.0, above=above, remedy="shares are fractions: 0.4, not 40")


def intensity(region: str | None, intensity_g_per_kwh: Amount | None) -> Amount:
    """Grams of CO2e per kWh from a region's name or from a number; exactly one of them must be given.

    >>> intensity("Sweden", None)
    36.0
    >>> intensity(None, 0.429)
    Traceback (most recent call last):
    ...
    ValueError: intensity_g_per_kwh=0.429 is not allowed: give 2 to 2500 g/kWh; 0.429 looks like kg/kWh, which is 429 g/kWh

    Raises:
        ValueError: if both or none are given, the region is unknown (nearest names are listed), or the number is no grid's.
    """
    if (region is None) == (intensity_g_per_kwh is None):
        raise ValueError(
            f"region={region!r} and intensity_g_per_kwh={intensity_g_per_kwh!r}: give exactly one of them, "
            "such as region='DE' or intensity_g_per_kwh=344; a grid is never assumed"
        )
    if region is not None:
        return grid_intensity(region).intensity_g_per_kwh
    assert intensity_g_per_kwh is not None
    numbers = np.atleast_1d(np.asarray(intensity_g_per_kwh))
    remedy = "market-based accounting aside, no grid is outside"
    if numbers.dtype.kind in "iuf":
        small = numbers[(numbers > 0) & (numbers < CLEANEST_G_PER_KWH)]
        if small.size:
            remedy = f"{small[0]:g} looks like kg/kWh, which is {1000 * small[0]:g} g/kWh"
    return amount(
        "intensity_g_per_kwh", intensity_g_per_kwh, "g/kWh",
        low=CLEANEST_G_PER_KWH, high=DIRTIEST_G_PER_KWH, remedy=remedy,
    )  # fmt: skip
