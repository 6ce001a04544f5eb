"""Plain files: a column of times, a column of intensities, and one of zones if there are several.

The column of intensities is known by its name: "intensity", "carbon_intensity", "gCO2/kWh" and the like. Its unit is
g/kWh unless the name says another one (`greenlab.core.grid.files.units`). A column of which the name says neither is
not taken:
prices, loads and temperatures have the same shape.
"""

from __future__ import annotations

import pandas as pd

from greenlab.core.grid.files import cells, units
from greenlab.core.grid.files.hours import Rows

TIME_NAMES = ("time", "datetime", "datetime (utc)", "time (utc)", "utc", "timestamp", "date", "from", "start")
VALUE_NAMES = (
    "intensity", "intensity_g_per_kwh", "carbon_intensity", "carbon intensity", "carbonintensity", "ci", "avg_ci",
    "carbon_intensity_avg", "gco2/kwh", "g_per_kwh", "value", "actual",
)  # fmt: skip
ZONE_NAMES = ("zone", "zone_id", "zone id", "zone_name", "zone name")


def fits(table: pd.DataFrame) -> bool:
    """Whether the columns are those of a plain file.

    Raises:
        ValueError: if there is a column of times, and the only other one is of another quantity.
    """
    names = [name.lower() for name in table.columns]
    if _time_column(names) is None:
        return False
    if _value_column(names) is not None:
        return True
    if len(names) == 2:
        other = table.columns[1 - (_time_column(names) or 0)]
        units.factors_to_g_per_kwh(other)
        raise ValueError(
            f"column {cells.shorten(other)} does not say that it is a carbon intensity: name it 'intensity_g_per_kwh' "
            f"if it is"
        )
    return False


def rows(table: pd.DataFrame, zone: str | None) -> Rows:
    """The rows of a plain file.

    Raises:
        ValueError: if there is no column of intensity or of times, or a cell cannot be read.
    """
    names = [name.lower() for name in table.columns]
    zone_column = cells.first_position(names, ZONE_NAMES)
    table, code = cells.rows_of_zone(table, None if zone_column is None else table.columns[zone_column], zone)
    value = _value_column(names)
    if value is None:
        raise ValueError(
            f"no column of intensity among {cells.listed(table.columns)}: name one of them 'intensity_g_per_kwh'"
        )
    label = table.columns[value]
    clocks = [
        table.columns[position] for position, name in enumerate(names) if name in TIME_NAMES and position != value
    ]
    clocks.sort(key=lambda name: TIME_NAMES.index(name.lower()))
    clocks = clocks or [table.columns[0 if value else min(1, len(names) - 1)]]
    readable = [name for name in clocks if not cells.is_unix_time(table[name])]
    if readable:
        name, times = readable[0], cells.times(table[readable[0]])
    else:
        name, times = clocks[0], cells.unix_times(table[clocks[0]])
    repairs = () if readable else ("Unix times read as UTC",)
    values, decided = cells.floats(table, label)
    return Rows(
        "plain",
        code,
        label,
        cells.row_numbers(table),
        times,
        values,
        units.factors_to_g_per_kwh(label),
        timezone="UTC" if "utc" in name.lower() else None,
        repairs=(*repairs, *decided),
    )


def _time_column(names: list[str]) -> int | None:
    return cells.first_position(names, TIME_NAMES)


def _value_column(names: list[str]) -> int | None:
    """Position of the column of intensities, by its name, by how it begins, or by its unit."""
    exact = cells.first_position(names, VALUE_NAMES)
    if exact is not None:
        return exact
    begins = [
        i for i, name in enumerate(names) if name.startswith(("intensity", "carbon intensity", "carbon_intensity"))
    ]
    if len(begins) == 1:
        return begins[0]
    saying = [i for i, name in enumerate(names) if units.says_intensity(name)]
    return saying[0] if len(saying) == 1 else None
