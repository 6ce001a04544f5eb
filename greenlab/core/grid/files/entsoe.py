"""ENTSO-E's Transparency Platform: "actual generation per production type", by quarter, half or whole hour.

Three forms (<https://transparency.entsoe.eu>):

* long, the export since 2024: "MTU (CET/CEST)" or "MTU (UTC)", "Area", "Production Type", "Generation (MW)";
* library, the monthly files AggregatedGenerationPerType_16.1.B_C: tab-separated, "DateTime(UTC)", "ResolutionCode",
  "AreaTypeCode", "AreaMapCode", "ProductionType", "ActualGenerationOutput[MW]", "UpdateTime(UTC)"; older ones
  "DateTime", "MapCode";
* wide, the export until 2024: "Area", "MTU", and "<type> - Actual Aggregated [MW]" for each type.

An MTU, the market's unit of time, is "start - end" in local time. "(CET)" or "(CEST)" behind a time says which clock it
is on.
"n/e" is a type that the area has no plants of. Consumption is that of pumps and batteries, and is not counted.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from greenlab.core.grid.files import cells
from greenlab.core.grid.files.generation import of_generation
from greenlab.core.grid.files.hours import HOUR, Rows
from greenlab.core.grid.sources import ENTSOE

_WIDE = re.compile(r"(.+?)\s+- Actual (Aggregated|Consumption) \[MW\]$")
_MARK = re.compile(r"\s*\((CET|CEST|UTC)\)\s*$")
_OFFSET_H = {"CET": 1, "CEST": 2, "UTC": 0}
_RESOLUTION_H = {"PT15M": 0.25, "PT30M": 0.5, "PT60M": 1.0, "PT1H": 1.0}
_LIBRARY_TYPES = ("BZN", "CTY", "CTA")  # one area may be in the library as a bidding zone, a country and a control area


def fits(table: pd.DataFrame) -> bool:
    """Whether the columns are those of one of the three forms."""
    names = [name.lower() for name in table.columns]
    mtu = any(name.startswith("mtu") for name in names)
    wide = mtu and any("actual aggregated" in name for name in names)
    return wide or (mtu and "production type" in names) or _is_library(names)


def rows(table: pd.DataFrame, zone: str | None) -> Rows:
    """The rows of one area, generation times life-cycle factors.

    Raises:
        ValueError: if a column is missing, a type is not known, or a cell cannot be read.
    """
    names = [name.strip().lower() for name in table.columns]
    if _is_library(names):
        return _library(table, zone)
    areas = [name for name in table.columns if name.strip().lower() == "area"]
    table, code = cells.rows_of_zone(table, areas[0] if areas else None, zone)
    mtu = cells.column_where(table, lambda name: name.startswith("mtu"), "'MTU'")
    if "production type" in names:
        generation = cells.column_where(
            table, lambda name: name.startswith("generation"), "'Generation (MW)' (this export may be of consumption)"
        )
        kind = table.columns[names.index("production type")]
        units = table[mtu].astype(str).str.strip()
        # the hour that comes twice in autumn: the second row of the same unit and type is the second hour
        turn = pd.Series(units.index, index=units.index).groupby([units, table[kind].astype(str)]).cumcount()
        # where only some types of a unit come again, these are repeated rows and no second hour
        types = turn.groupby([units, turn]).transform("size")
        again = (turn > 0) & (types * 2 < (turn == 0).groupby(units).transform("sum"))
        power, repairs, firsts = _pivot(table, [units, turn.mask(again, 0)], kind, generation)
        if again.any():
            repairs = [*repairs, f"{int(again.sum())} repeated rows dropped"]
    else:
        power, repairs = _wide(table)
        firsts = np.arange(len(table))
    cells.all_known([str(name) for name in power.columns], ENTSOE, "")
    units = table[mtu].astype(str).str.strip().iloc[firsts]
    times, durations_h = _times_of_units(
        units, "utc" if "utc" in mtu.lower() else "cet" if "cet" in mtu.lower() else ""
    )
    values, weights, decided = of_generation(power, ENTSOE)
    return Rows(
        "entsoe",
        code,
        "generation",
        cells.row_numbers(table)[firsts],
        times,
        values,
        weights=weights,
        durations_h=durations_h,
        timezone="Europe/Brussels" if "cet" in mtu.lower() else "UTC" if "utc" in mtu.lower() else None,
        repairs=(*repairs, *decided),
    )


def _is_library(names: list[str]) -> bool:
    return "productiontype" in names and any(name.startswith("actualgenerationoutput") for name in names)


def _library(table: pd.DataFrame, zone: str | None) -> Rows:
    names = [name.strip().lower() for name in table.columns]
    position = cells.first_position(names, ("areamapcode", "mapcode", "areadisplayname", "areaname", "areacode"))
    table, code = cells.rows_of_zone(table, None if position is None else table.columns[position], zone)
    repairs: list[str] = []
    if "areatypecode" in names:
        types = table[table.columns[names.index("areatypecode")]].astype(str)
        kept = next(
            (kind for kind in _LIBRARY_TYPES if types.str.split("/").map(lambda parts, k=kind: k in parts).any()), ""
        )
        of_kind = types.str.split("/").map(lambda parts: kept in parts)
        if kept and not of_kind.all():
            repairs.append(f"the area is in the file in several roles: its rows as {kept} taken")
            table = table[of_kind.to_numpy()]
    clock = cells.column_where(table, lambda name: name.startswith("datetime"), "'DateTime(UTC)'")
    kind = table.columns[names.index("productiontype")]
    generation = cells.column_where(
        table, lambda name: name.startswith("actualgenerationoutput"), "'ActualGenerationOutput[MW]'"
    )
    starts = table[clock].astype(str).str.strip()
    updates = [name for name in table.columns if name.strip().lower().startswith("updatetime")]
    if updates:
        latest = table.assign(_start=starts, _update=table[updates[0]].astype(str)).sort_values(
            "_update", kind="stable"
        )
        kept_rows = latest.drop_duplicates(["_start", kind], keep="last").index
        if len(kept_rows) < len(table):
            repairs.append(f"{len(table) - len(kept_rows):,} rows replaced by a later update")
            table = table.loc[table.index.isin(kept_rows)]
            starts = starts.loc[table.index]
    power, decided, firsts = _pivot(table, [starts], kind, generation)
    cells.all_known([str(name) for name in power.columns], ENTSOE, "")
    durations_h = None
    if "resolutioncode" in names:
        told = (
            table[table.columns[names.index("resolutioncode")]].astype(str).str.strip().map(_RESOLUTION_H).iloc[firsts]
        )
        durations_h = None if told.isna().any() else told.to_numpy(dtype=float)
    values, weights, computed = of_generation(power, ENTSOE)
    return Rows(
        "entsoe",
        code,
        "generation",
        cells.row_numbers(table)[firsts],
        cells.times(starts.iloc[firsts]),
        values,
        weights=weights,
        durations_h=durations_h,
        timezone="UTC",
        repairs=(*repairs, *decided, *computed),
    )


def _wide(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """One column per type [MW] from a wide file."""
    power, repairs = {}, []
    for name in table.columns:
        if (match := _WIDE.match(name.strip())) and match[2] == "Aggregated":
            power[match[1].strip()], decided = _megawatts(table, name)
            repairs += decided
    return pd.DataFrame(power, index=table.index), list(dict.fromkeys(repairs))


def _pivot(
    table: pd.DataFrame, keys: list[pd.Series], kind: str, generation: str
) -> tuple[pd.DataFrame, list[str], np.ndarray]:
    """One column per type [MW] from a long file, one row per key in the order of the file, and the first row of each
    key.
    """
    megawatts, repairs = _megawatts(table, generation)
    number = pd.DataFrame(dict(enumerate(keys))).groupby(
        list(range(len(keys))), sort=False
    ).ngroup()  # fmt: skip
    firsts = np.flatnonzero(~number.duplicated().to_numpy())
    long = pd.DataFrame(
        {
            "number": number.to_numpy(),
            "kind": table[kind].astype(str).str.strip().to_numpy(),
            "mw": megawatts.to_numpy(),
        }
    )
    twice = long.duplicated(["number", "kind"])
    differ = long.groupby(["number", "kind"])["mw"].transform("nunique") > 1 if twice.any() else twice
    if differ.any():
        row = int(np.argmax((differ & twice).to_numpy()))
        raise ValueError(
            f"row {table.index[row]}: {long['kind'][row]} of {table.iloc[row, 0]!s} is in the file twice with "
            f"different values: "
            "keep one"
        )
    power = long[~twice].pivot(index="number", columns="kind", values="mw")
    return power, repairs, firsts


def _megawatts(table: pd.DataFrame, name: str) -> tuple[pd.Series, list[str]]:
    values, repairs = cells.floats(table, name, of_operator=True)
    expected = table[name].astype(str).str.strip().str.lower() != "n/e"  # n/e: no such plants here, so 0
    return pd.Series(values, index=table.index).where(expected, 0.0), list(repairs)


def _times_of_units(units: pd.Series, clock: str) -> tuple[pd.DatetimeIndex, np.ndarray | None]:
    """Starts of the market's time units, and their lengths [h]; at the change of clocks, where they look wrong, the
    usual one.
    """
    parts = units.str.split(" - ", n=1)
    starts, ends = parts.str[0].str.strip(), parts.str[1]
    mark = starts.str.extract(_MARK, expand=False)
    mark = mark.where(mark.notna(), ends.str.extract(_MARK, expand=False)) if ends.notna().any() else mark
    naive = cells.times(starts.str.replace(_MARK, "", regex=True), day_first=True)
    durations_h = None
    if ends.notna().all():
        stops = cells.times(ends.str.replace(_MARK, "", regex=True).str.strip(), day_first=True)
        lengths = np.asarray((stops - naive) / HOUR)
        usual = float(pd.Series(lengths).mode().iloc[0])
        durations_h = np.where((lengths > 0) & (lengths <= 1), lengths, usual)
    if mark.isna().all() or naive.tz is not None:
        return naive, durations_h
    if mark.isna().any() and not clock:
        raise ValueError(
            f"row {units.index[int(np.argmax(mark.isna().to_numpy()))]}: the time has no (CET), (CEST) or (UTC) that "
            f"others have"
        )
    offset = pd.TimedeltaIndex(pd.to_timedelta(mark.map(_OFFSET_H).fillna(0), unit="h"))
    marked = (naive - offset).tz_localize("UTC")
    zone = "Europe/Brussels" if clock == "cet" else "UTC"
    # rows without a mark lie outside the night of the change, so neither choice below matters to them
    summer = np.ones(len(naive), dtype=bool)
    unmarked = naive.tz_localize(zone, ambiguous=summer, nonexistent="shift_forward").tz_convert("UTC")
    return pd.DatetimeIndex(np.where(mark.notna(), marked, unmarked)), durations_h
