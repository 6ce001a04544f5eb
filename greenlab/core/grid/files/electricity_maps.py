"""Electricity Maps: yearly CSV by the hour (<https://www.electricitymaps.com/data-portal>).

* since 2022: "Datetime (UTC)", "Zone id", "Carbon intensity gCO₂eq/kWh (direct)" and "... (Life cycle)", older "(LCA)";
* 2021 and the release for universities: "datetime", "timestamp" (a Unix time), "zone_name", "carbon_intensity_avg",
  life cycle.
"""

from __future__ import annotations

import re

import pandas as pd

from greenlab.core.grid.files import cells
from greenlab.core.grid.files.hours import Rows

_OF_2021 = {"datetime", "zone_name", "carbon_intensity_avg"}


def fits(table: pd.DataFrame) -> bool:
    """Whether the columns are those of Electricity Maps."""
    names = {name.lower() for name in table.columns}
    return names >= _OF_2021 or any(re.search(r"carbon intensity gco.?.?eq/kwh", name) for name in names)


def rows(table: pd.DataFrame, zone: str | None, signal: str) -> Rows:
    """The rows of one zone, direct or life-cycle.

    Raises:
        ValueError: if a column is missing or a cell cannot be read.
    """
    names = [name.lower() for name in table.columns]
    if set(names) >= _OF_2021:
        if signal == "direct":
            raise ValueError("signal='direct', but the files of 2021 hold the life cycle only: leave signal out")
        label = table.columns[names.index("carbon_intensity_avg")]
    else:
        words = ("(lca)", "(life cycle)", "(lifecycle)") if signal == "lifecycle" else ("(direct)",)
        label = cells.column_where(
            table, lambda name: "carbon intensity" in name and name.endswith(words), f"carbon intensity {words[0]}"
        )
    zone_column = cells.first_position(names, ("zone id", "zone_id", "zone_name", "zone name"))
    table, code = cells.rows_of_zone(table, None if zone_column is None else table.columns[zone_column], zone)
    clock = cells.column_where(table, lambda name: name.startswith("datetime"), "'Datetime (UTC)'")
    repairs = []
    estimated = [name for name in table.columns if name.lower() == "data estimated"]
    if estimated and (count := int(table[estimated[0]].astype(str).str.lower().isin(["true", "1"]).sum())):
        repairs.append(f"{count:,} rows were estimated by Electricity Maps: kept as they are")
    values, decided = cells.floats(table, label, of_operator=True)
    return Rows(
        "electricity-maps", code, label, cells.row_numbers(table), cells.times(table[clock]), values,
        timezone="UTC", repairs=(*repairs, *decided),
    )  # fmt: skip
