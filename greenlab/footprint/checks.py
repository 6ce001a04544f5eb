"""What an amount may be: checks that name the argument, the value, the allowed range and the remedy.

An amount is a number, a list, a NumPy array or a pandas Series. What comes back is a float, an array of floats or a
Series of
floats: whole numbers of 64 bits would overflow in products such as parameters times tokens.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.core.energy.receipt import grid_intensity
from greenlab.core.grid.plausible import CLEANEST_G_PER_KWH, DIRTIEST_G_PER_KWH, kilogram_hint, looks_like_kilograms

Amount: TypeAlias = Any  # float, np.ndarray or pd.Series: what goes in comes out, which a union could not express
HOURS_PER_YEAR = 8760
WH_PER_J = 1 / 3600
LARGEST = 1e30  # in any unit: beyond every amount there is, and far enough from overflow for products of a few
SMALLEST = 1e-30  # of what something is divided by


def check_amount(
    name: str,
    value: Amount,
    unit: str,
    *,
    low: float = 0.0,
    high: float = LARGEST,
    remedy: str = "",
    above: bool = False,
) -> Amount:
    """Return ``value`` as floats if all of it is a number from ``low`` (or above it) to ``high``.

    Args:
        name: the argument's name, as the caller wrote it.
        value: a number, or several of any shape. A Series keeps its index; a list or tuple becomes an array.
        unit: of the amount, for the message; "" for a pure number.
        low: the least allowed value.
        high: the greatest allowed value.
        remedy: what to give instead, for the message.
        above: whether ``low`` itself is refused.

    Returns:
        A float, an array of float64 or a Series of float64, shaped like ``value``.

    Raises:
        TypeError: if it holds anything but real numbers.
        ValueError: naming argument, first bad value, allowed range and remedy.

    >>> check_amount("tokens", [1, 2], "tokens")
    array([1., 2.])
    >>> check_amount("power_w", -400, "W")
    Traceback (most recent call last):
    ...
    ValueError: power_w=-400: give a finite number at least 0 and at most 1e+30; in W
    """
    limits: dict[str, Any] = {"above": low} if above else {"low": low}
    hint = "; ".join(part for part in (f"in {unit}" * bool(unit), remedy) if part)
    if isinstance(value, pd.Series):
        found = checks.numbers(name, value.to_numpy(), high=high, remedy=hint, **limits)
        return pd.Series(found, index=value.index, name=value.name)
    if isinstance(value, (pd.DataFrame, dict, set)):
        raise TypeError(f"{name} is {type(value).__name__}: give a number, an array or a Series")
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.ndim):
        return checks.numbers(name, value, high=high, remedy=hint, **limits)
    value = value.item() if isinstance(value, np.ndarray) else value
    return checks.number(name, value, high=high, remedy=hint, **limits)


def check_together(**amounts: Amount) -> None:
    """Refuse amounts that do not belong together: Series of different indexes, arrays of different shapes.

    pandas would join the indexes and fill what is in one of them only with NaN.

    Args:
        **amounts: checked amounts under the names of their arguments; None is passed over.

    Raises:
        ValueError: naming two arguments that do not fit.

    >>> check_together(power_w=pd.Series({"FR": 1.0}), device_hours=pd.Series({"DE": 1.0}))
    Traceback (most recent call last):
    ...
    ValueError: power_w and device_hours are Series of different indexes: give both the same index, in the same order
    """
    several = {name: value for name, value in amounts.items() if value is not None and np.ndim(value)}
    series = {name: value for name, value in several.items() if isinstance(value, pd.Series)}
    for name, value in series.items():
        first = next(iter(series))
        if not value.index.equals(series[first].index):
            raise ValueError(
                f"{first} and {name} are Series of different indexes: give both the same index, in the same order"
            )
    for name, value in several.items():
        first = next(iter(series or several))
        shapes = np.shape(several[first]), np.shape(value)
        try:
            together = np.broadcast_shapes(*shapes)
        except ValueError:
            together = ()
        if not together or (series and shapes[0] != shapes[1]):
            raise ValueError(
                f"{first} and {name} have the shapes {shapes[0]} and {shapes[1]}: give both as many values"
            )


def check_pue(pue: Amount) -> Amount:
    """Return the power usage effectiveness, total energy over IT energy, which cannot be below 1.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is not from 1 to 5.

    >>> check_pue(0.9)
    Traceback (most recent call last):
    ...
    ValueError: pue=0.9: give a finite number at least 1 and at most 5; it is total energy over IT energy, ...
    """
    words = "it is total energy over IT energy, so 1.1 means a tenth on top"
    return check_amount("pue", pue, "", low=1.0, high=5.0, remedy=words)


def check_share(name: str, value: Amount, *, above: bool = False) -> Amount:
    """Return a share, a number from 0 to 1 (above 0 where it is divided by).

    Raises:
        TypeError: if it is no number.
        ValueError: if it is not from 0 to 1.
    """
    low = SMALLEST if above else 0.0
    return check_amount(name, value, "", low=low, high=1.0, remedy="shares are fractions: 0.4, not 40")


def check_intensity(region: str | None, intensity_g_per_kwh: Amount | None) -> Amount:
    """Grams of CO2e per kWh from a region's name or from a number; exactly one of them must be given.

    Args:
        region: a code or name of data/facts/grid_intensity.csv, or None.
        intensity_g_per_kwh: of the grid [g/kWh], or None.

    Raises:
        TypeError: if the number is no number.
        ValueError: if both or none are given, the region is unknown (nearest names are listed), or the number is no
            grid's.

    >>> check_intensity("Sweden", None)
    36.0
    >>> check_intensity(None, 0.429)
    Traceback (most recent call last):
    ...
    ValueError: intensity_g_per_kwh=0.429: ... 0.429 looks like kg/kWh, which is 429 g/kWh
    """
    if (region is None) == (intensity_g_per_kwh is None):
        raise ValueError(
            f"region={region!r} and intensity_g_per_kwh={intensity_g_per_kwh!r}: give exactly one of them, "
            "such as region='DE' or intensity_g_per_kwh=344; a grid is never assumed"
        )
    if region is not None:
        if not isinstance(region, str):
            raise TypeError(f"region={region!r} is {type(region).__name__}: give a code or a name, such as 'DE'")
        return grid_intensity(region).intensity_g_per_kwh
    given = check_amount("intensity_g_per_kwh", intensity_g_per_kwh, "g/kWh")
    values = np.atleast_1d(np.asarray(given))
    low = values[(values > 0) & (values < CLEANEST_G_PER_KWH)]
    remedy = "market-based accounting aside, no grid is outside"
    if low.size and looks_like_kilograms(low):
        remedy = kilogram_hint(float(low[0]))
    return check_amount(
        "intensity_g_per_kwh", given, "g/kWh", low=CLEANEST_G_PER_KWH, high=DIRTIEST_G_PER_KWH, remedy=remedy
    )
