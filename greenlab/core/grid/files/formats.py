"""What the columns of the operators' files mean. Each parser gives rows: times as the file has them, and intensity [g/kWh]."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from greenlab.core.grid.files import cells
from greenlab.core.grid.files.hours import HOUR, Rows
from greenlab.core.grid.sources import EIA, ENTSOE, STORAGE, intensity_g_per_kwh

TIME_NAMES = ("time", "timestamp", "datetime", "date", "datetime (utc)", "time (utc)", "utc", "from", "start")
VALUE_NAMES = (
    "intensity", "intensity_g_per_kwh", "carbon_intensity", "carbon intensity", "carbonintensity", "ci", "avg_ci",
    "carbon_intensity_avg", "gco2/kwh", "g_per_kwh", "value", "actual",
)  # fmt: skip
MAJOR = 0.05  # of generation: a missing cell of a smaller source counts as 0
_EIA_COLUMN = re.compile(r"Net Generation \(MW\) from (.+?)(?: \((Adjusted|Imputed)\))?$")
_ENTSOE_COLUMN = re.compile(r"(.+?)\s+- Actual (Aggregated|Consumption) \[MW\]$")
_CLOCKS = {"CET": "+01:00", "CEST": "+02:00", "UTC": "+00:00"}


def detect(table: pd.DataFrame) -> str:
    """Name of the format, from the names of the columns.

    Raises:
        ValueError: if none fits; the message lists the columns and what was expected.
    """
    names = [name.lower() for name in table.columns]
    if "utc time at end of hour" in names:
        return "eia-930"
    if any(name.startswith("mtu") for name in names) and any("actual aggregated" in name for name in names):
        return "entsoe"
    if any(re.search(r"carbon intensity gco.?.?eq/kwh", name) for name in names):
        return "electricity-maps"
    if any(name.startswith("actual carbon intensity") for name in names) or {"forecast", "actual"} <= set(names):
        return "neso"
    if {"datetime", "carbon_intensity", "gas"} <= set(names):
        return "neso"
    if cells.first(names, TIME_NAMES) is not None and (_value_at(names) is not None or len(names) == 2):
        return "plain"
    raise ValueError(
        f"unknown columns {', '.join(map(repr, list(table.columns)[:8]))}: a plain file has 'time' and 'intensity' (g/kWh) in its "
        "header; of operators' files, Electricity Maps, NESO, EIA-930 and ENTSO-E are known. Rename the columns, or pass format="
    )


def parse(table: pd.DataFrame, format: str, *, zone: str | None, signal: str) -> Rows:
    """The rows of a table in one of the formats."""
    if format == "electricity-maps":
        return _electricity_maps(table, zone, signal)
    if format == "eia-930":
        return _eia(table, zone)
    if format == "entsoe":
        return _entsoe(table, zone)
    return _neso(table) if format == "neso" else _plain(table, zone)


def _plain(table: pd.DataFrame, zone: str | None) -> Rows:
    ids = [name for name in table.columns if name.lower() == "zone"]
    table, code = _one_zone(table, ids[0] if ids else None, zone)
    names = [name.lower() for name in table.columns]
    at = cells.first(names, TIME_NAMES)
    values = _value_at(names)
    at = 0 if at is None else at
    if values is None:
        values = 1 - at if len(names) == 2 else None
    if values is None:
        raise ValueError(f"no column of intensity among {list(table.columns)}: name one of them 'intensity' (g/kWh)")
    times, label = table.columns[at], table.columns[values]
    utc = "UTC" if "utc" in times.lower() else None
    return Rows(
        "plain",
        code,
        label,
        cells.numbers(table),
        cells.times(table[times]),
        cells.floats(table[label]),
        timezone=utc,
    )


def _value_at(names: list[str]) -> int | None:
    """Position of the column of intensities in a plain file, by its name or by how it begins."""
    exact = cells.first(names, VALUE_NAMES)
    begins = [
        i for i, name in enumerate(names) if name.startswith(("intensity", "carbon intensity", "carbon_intensity"))
    ]
    return exact if exact is not None else begins[0] if len(begins) == 1 else None


def _electricity_maps(table: pd.DataFrame, zone: str | None, signal: str) -> Rows:
    words = ("(lca)", "(life cycle)", "(lifecycle)") if signal == "lifecycle" else ("(direct)",)
    label = cells.column(
        table, lambda name: "carbon intensity" in name and name.endswith(words), f"carbon intensity {words[0]}"
    )
    ids = [name for name in table.columns if name.lower() in ("zone id", "zone_id")]
    table, code = _one_zone(table, ids[0] if ids else None, zone)
    times = cells.column(table, lambda name: name.startswith("datetime"), "'Datetime (UTC)'")
    repairs = []
    estimated = [name for name in table.columns if name.lower() == "data estimated"]
    if estimated and (count := int(table[estimated[0]].astype(str).str.lower().isin(["true", "1"]).sum())):
        repairs.append(f"{count:,} rows were estimated by Electricity Maps: kept as they are")
    return Rows(
        "electricity-maps", code, label, cells.numbers(table), cells.times(table[times]), cells.floats(table[label]),
        timezone="UTC", repairs=tuple(repairs),
    )  # fmt: skip


def _neso(table: pd.DataFrame) -> Rows:
    times = cells.column(
        table,
        lambda name: name in ("from", "datetime") or name.startswith("datetime (utc)"),
        "'from' or 'Datetime (UTC)'",
    )
    label = cells.column(
        table,
        lambda name: name in ("actual", "carbon_intensity") or name.startswith("actual carbon intensity"),
        "'actual'",
    )
    values, repairs = (
        cells.floats(table[label]),
        ["NESO counts direct emissions, not the life cycle: taken as they are"],
    )
    forecast = [name for name in table.columns if name.lower().startswith("forecast")]
    if forecast and (need := np.isnan(values)).any():
        values = np.where(need, cells.floats(table[forecast[0]]), values)
        repairs.append(f"{int(need.sum()):,} rows without an actual value: the forecast taken")
    return Rows(
        "neso",
        "GB",
        label,
        cells.numbers(table),
        cells.times(table[times]),
        values,
        timezone="UTC",
        repairs=tuple(repairs),
    )


def _eia(table: pd.DataFrame, zone: str | None) -> Rows:
    table, code = _one_zone(
        table, cells.column(table, lambda name: name == "balancing authority", "'Balancing Authority'"), zone
    )
    kinds: dict[str, dict[str, str]] = {}  # fuel: {"Adjusted" or "": column}
    for name in table.columns:
        if (match := _EIA_COLUMN.match(name.strip())) and match[2] != "Imputed":
            kinds.setdefault(re.sub(r"\bwitho\b", "with", match[1].strip()), {})[match[2] or ""] = (
                name  # "witho": EIA's own slip
            )
    cells.all_known(kinds, EIA, "Net Generation (MW) from ")
    power = {}
    for fuel, columns in kinds.items():  # EIA's adjusted series first, the reported one where that is empty
        made = pd.Series(np.nan, index=table.index)
        for column in (columns.get("Adjusted"), columns.get("")):
            made = made if column is None else made.fillna(pd.Series(cells.floats(table[column]), index=table.index))
        power[fuel] = made
    if {"Hydropower and Pumped Storage", "Hydropower Excluding Pumped Storage"} <= set(
        power
    ):  # the old name and the new
        old = power.pop("Hydropower and Pumped Storage")
        power["Hydropower Excluding Pumped Storage"] = power["Hydropower Excluding Pumped Storage"].fillna(old)
    ends = cells.times(
        table[cells.column(table, lambda name: name == "utc time at end of hour", "'UTC Time at End of Hour'")]
    )
    values, weights, repairs = _from_generation(pd.DataFrame(power), EIA)
    return Rows(
        "eia-930", code, "net generation", cells.numbers(table), ends - HOUR, values, weights, None, "UTC",
        ("times are ends of hours: moved back by one hour", *repairs),
    )  # fmt: skip


def _entsoe(table: pd.DataFrame, zone: str | None) -> Rows:
    areas = [name for name in table.columns if name.lower() == "area"]
    table, code = _one_zone(table, areas[0] if areas else None, zone)
    found = re.search(r"\(([A-Z]{2})\)|\|([A-Z0-9_-]+)", code)
    code = zone or (next(part for part in found.groups() if part) if found else code)
    mtu = cells.column(table, lambda name: name.startswith("mtu"), "'MTU'")
    power = {}
    for name in table.columns:
        if (match := _ENTSOE_COLUMN.match(name.strip())) and match[
            2
        ] == "Aggregated":  # consumption is pumps' and batteries'
            expected = table[name].astype(str).str.strip().str.lower() != "n/e"  # n/e: no such plants here, so 0
            power[match[1].strip()] = pd.Series(cells.floats(table[name]), index=table.index).where(expected, 0.0)
    cells.all_known(power, ENTSOE, "")
    starts = table[mtu].astype(str).str.split(" - ").str[0].str.strip()
    clock = table[mtu].astype(str).str.extract(r"\((CET|CEST|UTC)\)\s*$")[0]
    zone_of_header = "Europe/Brussels" if "cet" in mtu.lower() else "UTC" if "utc" in mtu.lower() else None
    if clock.notna().all():
        starts = starts.str.replace(r"\s*\((CET|CEST|UTC)\)$", "", regex=True)
    times = cells.times(starts)
    if clock.notna().all():  # each row says which clock it is on
        offset = pd.to_timedelta(clock.map({name: f"{text[1:]}:00" for name, text in _CLOCKS.items()}))
        times = (times - pd.TimedeltaIndex(offset)).tz_localize("UTC")
    values, weights, repairs = _from_generation(pd.DataFrame(power), ENTSOE)
    return Rows(
        "entsoe", code, "generation", cells.numbers(table), times, values, weights, _durations_h(table[mtu], starts),
        zone_of_header, tuple(repairs),
    )  # fmt: skip


def _durations_h(mtu: pd.Series, starts: pd.Series) -> np.ndarray | None:
    """Lengths of market time units [h], from "start - end"; at the change of clocks, where they look wrong, the usual one."""
    ends = mtu.astype(str).str.split(" - ").str[1].str.replace(r"\s*\(\w+\)$", "", regex=True)
    if ends.isna().any():
        return None
    lengths = (cells.times(ends.str.strip()) - cells.times(starts)) / HOUR
    usual = float(pd.Series(lengths).mode().iloc[0])
    return np.where((lengths > 0) & (lengths <= 1), lengths, usual)


def _from_generation(power: pd.DataFrame, kinds: dict[str, str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Intensity and total generation of each row; a row that lacks a source of 5 % or more is missing."""
    power = power[[name for name in power.columns if kinds[name] != STORAGE]]
    repairs = []
    if negative := int((power < 0).sum().sum()):
        repairs.append(f"{negative:,} negative values of generation (own use) counted as 0")
    power = power.clip(lower=0)
    mean = power.mean().fillna(0.0)
    major = [name for name in power.columns if mean[name] >= MAJOR * mean.sum()]
    lacking = power[major].isna().any(axis=1) | power.isna().all(axis=1)
    if minor := int(power.drop(columns=major)[~lacking].isna().sum().sum()):
        repairs.append(f"{minor:,} empty cells of sources below 5 % counted as 0")
    types = power.fillna(0.0).T.groupby([kinds[name] for name in power.columns]).sum().T
    total = types.sum(axis=1).mask(lacking)
    repairs.append("intensity computed from generation and the life-cycle factors of the IPCC (AR5, annex III)")
    return intensity_g_per_kwh(types).mask(lacking).to_numpy(), total.to_numpy(), repairs


def _one_zone(table: pd.DataFrame, column: str | None, zone: str | None) -> tuple[pd.DataFrame, str]:
    """The rows of one zone, and its code, or the name that the reader gives it."""
    if column is None:
        return table, zone or ""
    code = cells.one_of([str(code) for code in pd.unique(table[column])], column, zone)
    return table[table[column].astype(str) == code], zone or code
