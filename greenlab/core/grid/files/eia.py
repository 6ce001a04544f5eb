"""EIA-930: the balance of each US balancing authority by the hour (<https://www.eia.gov/electricity/gridmonitor>,
"six-month files").

Columns: "Balancing Authority", "UTC Time at End of Hour", "Net Generation (MW) from <fuel>", and the same "(Adjusted)"
and "(Imputed)". Thousands are parted by commas. Times are ends of hours.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from greenlab.core.grid.files import cells
from greenlab.core.grid.files.generation import of_generation
from greenlab.core.grid.files.hours import HOUR, Rows
from greenlab.core.grid.sources import EIA

_COLUMN = re.compile(r"Net Generation \(MW\) from (.+?)(?: \((Adjusted|Imputed)\))?$")
_OLD, _NEW = "Hydropower and Pumped Storage", "Hydropower Excluding Pumped Storage"


def fits(table: pd.DataFrame) -> bool:
    """Whether the columns are those of EIA's balance file."""
    return "utc time at end of hour" in (name.lower() for name in table.columns)


def rows(table: pd.DataFrame, zone: str | None) -> Rows:
    """The rows of one balancing authority, generation times life-cycle factors.

    Raises:
        ValueError: if a column is missing, a fuel is not known, or a cell cannot be read.
    """
    authority = cells.column_where(table, lambda name: name == "balancing authority", "'Balancing Authority'")
    table, code = cells.rows_of_zone(table, authority, zone)
    fuels: dict[str, dict[str, str]] = {}  # fuel: {"Adjusted" or "": column}
    for name in table.columns:
        if (match := _COLUMN.match(name.strip())) and match[2] != "Imputed":
            fuel = re.sub(r"\bwitho\b", "with", match[1].strip())  # "witho" is EIA's own slip
            fuels.setdefault(fuel, {})[match[2] or ""] = name
    cells.all_known(fuels, EIA, "Net Generation (MW) from ")
    decided: list[str] = []
    power = {}
    for fuel, columns in fuels.items():  # EIA's adjusted series first, the reported one where that is empty
        made = pd.Series(np.nan, index=table.index)
        for column in (columns.get("Adjusted"), columns.get("")):
            if column is not None:
                values, repairs = cells.floats(table, column, of_operator=True)
                made = made.fillna(pd.Series(values, index=table.index))
                decided += repairs
        power[fuel] = made
    if {_OLD, _NEW} <= set(power):
        power[_NEW] = power[_NEW].fillna(power.pop(_OLD))
    clock = cells.column_where(table, lambda name: name == "utc time at end of hour", "'UTC Time at End of Hour'")
    values, weights, repairs_ = of_generation(pd.DataFrame(power), EIA)
    return Rows(
        "eia-930",
        code,
        "net generation",
        cells.row_numbers(table),
        cells.times(table[clock]) - HOUR,
        values,
        weights=weights,
        timezone="UTC",
        repairs=("times are ends of hours: moved back by one hour", *dict.fromkeys(decided), *repairs_),
    )
