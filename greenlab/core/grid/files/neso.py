"""NESO: Great Britain's carbon intensity by the half hour, direct emissions.

* the website's CSV (<https://carbonintensity.org.uk>): "Datetime (UTC)", "Actual Carbon Intensity (gCO2/kWh)", a
  forecast;
* the data portal's CSV (<https://www.neso.energy/data-portal>): "DATETIME", "CARBON_INTENSITY" and generation by
  source;
* the API's JSON (<https://api.carbonintensity.org.uk>): "from", "to", "intensity": {"forecast", "actual"}.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from greenlab.core.grid.files import cells
from greenlab.core.grid.files.hours import Rows


def fits(table: pd.DataFrame) -> bool:
    """Whether the columns are those of one of NESO's three files."""
    names = {name.lower() for name in table.columns}
    website = any(name.startswith("actual carbon intensity") for name in names)
    return website or names >= {"forecast", "actual"} or names >= {"datetime", "carbon_intensity", "gas"}


def rows(table: pd.DataFrame) -> Rows:
    """The rows, the forecast where there is no actual value.

    Raises:
        ValueError: if a column is missing or a cell cannot be read.
    """
    clock = cells.column_where(
        table,
        lambda name: name in ("from", "datetime") or name.startswith("datetime (utc)"),
        "'from' or 'Datetime (UTC)'",
    )
    label = cells.column_where(
        table,
        lambda name: name in ("actual", "carbon_intensity") or name.startswith("actual carbon intensity"),
        "'actual'",
    )
    values, decided = cells.floats(table, label, of_operator=True)
    repairs = ["NESO counts direct emissions, not the life cycle: taken as they are", *decided]
    forecast = [name for name in table.columns if name.lower().startswith("forecast")]
    if forecast and (need := np.isnan(values)).any():
        values = np.where(need, cells.floats(table, forecast[0], of_operator=True)[0], values)
        repairs.append(f"{int(need.sum()):,} rows without an actual value: the forecast taken")
    return Rows(
        "neso",
        "GB",
        label,
        cells.row_numbers(table),
        cells.times(table[clock]),
        values,
        timezone="UTC",
        repairs=tuple(repairs),
    )
