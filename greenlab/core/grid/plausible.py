"""Which carbon intensities a grid can have: one guard for files, traces and footprints."""

from __future__ import annotations

import numpy as np

CLEANEST_G_PER_KWH, DIRTIEST_G_PER_KWH = 2.0, 2500.0
"""IPCC AR5, annex III: wind has 7 g/kWh at the least, hydropower 2,200 at the most, coal about 900.

The dirtiest grid of data/facts/grid_intensity.csv has 802. Direct emissions can be lower than 2: hydropower and nuclear
power burn nothing. So a lower value is refused only where nothing says that it is in g/kWh.
"""


def looks_like_kilograms(values: np.ndarray) -> bool:
    """Whether intensities that should be in g/kWh were probably given in kg/kWh (or t/MWh, which is the same).

    They do if the median of the values above 0 is below 2: no grid's life-cycle mean is, and all are below 2 kg/kWh.

    Args:
        values: intensities of any shape; NaN and 0 are ignored.

    >>> looks_like_kilograms(np.array([0.3, 0.4])), looks_like_kilograms(np.array([2.9, 3.3]))
    (True, False)
    """
    positive = values[values > 0]
    return bool(positive.size) and float(np.median(positive)) < CLEANEST_G_PER_KWH


def kilogram_hint(value: float) -> str:
    """What to say of a number that looks like kilograms.

    >>> kilogram_hint(0.344)
    '0.344 looks like kg/kWh, which is 344 g/kWh'
    """
    return f"{value:g} looks like kg/kWh, which is {1000 * value:g} g/kWh"
