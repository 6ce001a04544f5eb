"""From the rows of any file to gapless hours in UTC: what can be repaired is repaired and stated, the rest is refused by row."""

from __future__ import annotations

import difflib
import re
import zoneinfo
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from greenlab.core.grid.repair import fill_gaps, gap_lengths

HOUR = pd.Timedelta(hours=1)
KG_MEDIAN = 2.0  # no grid's median is below 2 g/kWh, and none is above 2 kg/kWh
FEW_HOURS = 3  # so many may be missing in a short file, whatever the share
LB_PER_MWH = 0.45359237  # g/kWh
_WEIGHTS = (  # words in a column's name: factor to g/kWh
    (r"\blbs?\w*\s*/\s*kwh|\blbs?\s+per\s+kwh", 1000 * LB_PER_MWH),
    (r"\blbs?\w*(\s*co2\w*)?\s*(/|per)\s*mwh", LB_PER_MWH),
    (r"\bkg\w*(\s*co2\w*)?\s*(/|per)\s*kwh|kg_per_kwh", 1000.0),
    (r"\bt(onnes?|ons?)?(\s*co2\w*)?\s*(/|per)\s*mwh", 1000.0),
)


@dataclass(frozen=True)
class Rows:
    """The rows of a file before they become hours.

    Attributes:
        format: which reader made them.
        zone: code of the place, or "".
        label: the column that the values come from, for messages.
        rows: row numbers as the file has them.
        times: start of each period; without a time zone when the file names none.
        values: intensity [g/kWh], NaN where missing.
        weights: generation behind each value, for means over an hour; None when every row counts the same.
        durations_h: length of each period [h]; None when it must be told from the times.
        timezone: time zone of ``times`` that the file itself names.
        repairs: what the reader had to decide.
    """

    format: str
    zone: str
    label: str
    rows: np.ndarray
    times: pd.DatetimeIndex
    values: np.ndarray
    weights: np.ndarray | None = None
    durations_h: np.ndarray | None = None
    timezone: str | None = None
    repairs: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if not len(self.rows) == len(self.times) == len(self.values):
            raise ValueError(
                f"rows, times and values must be as many, got {len(self.rows)}, {len(self.times)}, {len(self.values)}"
            )

    def where(self, mask: np.ndarray) -> Rows:
        """Only the rows of a mask or in an order."""
        weights = None if self.weights is None else self.weights[mask]
        durations_h = None if self.durations_h is None else self.durations_h[mask]
        rows, times, values = self.rows[mask], self.times[mask], self.values[mask]
        return replace(self, rows=rows, times=times, values=values, weights=weights, durations_h=durations_h)

    def but(self, *repairs: str) -> Rows:
        """The same rows with more repairs stated."""
        return replace(self, repairs=(*self.repairs, *repairs))


def to_hours(
    rows: Rows, *, timezone: str | None, scale: float, max_gap_share: float
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Hourly time, intensity_g_per_kwh and filled, with the list of repairs.

    Raises:
        ValueError: naming row, value and remedy.
    """
    rows = _check_values(_scaled(rows, scale))
    rows = _without_duplicates(_in_order(_utc(rows, timezone)))
    hourly, rows = _hourly(rows)
    known = np.flatnonzero(hourly.notna())
    if len(known) == 0:
        raise ValueError(f"column {rows.label!r} has no value at all: {len(rows.rows)} rows are empty")
    if outside := len(hourly) - (known[-1] + 1 - known[0]):
        rows = rows.but(f"{outside} hours without a value at the ends left out")
    hourly = hourly.iloc[known[0] : known[-1] + 1]
    _check_gaps(hourly, max_gap_share)
    filled, how = fill_gaps(hourly)
    for kind, words in (("line", "by a straight line"), ("days", "from the same hour of neighbouring days")):
        if count := int((how == kind).sum()):
            rows = rows.but(f"{count} missing hours filled {words}")
    frame = pd.DataFrame(
        {"time": filled.index, "intensity_g_per_kwh": filled.to_numpy(), "filled": (how != "").to_numpy()}
    )
    return frame, rows.repairs


def _scaled(rows: Rows, scale: float) -> Rows:
    """Multiply by ``scale``, or say which is needed when the column names another unit."""
    if not (np.isfinite(scale) and scale > 0):
        raise ValueError(f"scale={scale!r} must be a number > 0: 1000 for kg/kWh, {LB_PER_MWH} for lb/MWh")
    if scale != 1:
        return replace(rows, values=rows.values * scale).but(f"values multiplied by {scale:g}")
    for pattern, factor in _WEIGHTS:
        if re.search(pattern, rows.label.lower()):
            raise ValueError(f"column {rows.label!r} is not in g/kWh by its name: pass scale={factor:g} to convert it")
    return rows


def _check_values(rows: Rows) -> Rows:
    bad = np.flatnonzero((rows.values < 0) | np.isinf(rows.values))
    if len(bad):
        at = bad[0]
        raise ValueError(
            f"row {rows.rows[at]}: {rows.label} is {rows.values[at]:g}; an intensity must be a number >= 0 g/kWh "
            f"({len(bad)} such rows): correct it, or leave the cell empty and it is filled as a gap"
        )
    median = float(np.nanmedian(rows.values)) if (~np.isnan(rows.values)).any() else KG_MEDIAN
    if median < KG_MEDIAN:
        raise ValueError(
            f"the median of {rows.label} is {median:.3g}: that looks like kg/kWh or t/MWh. Multiply by 1000: pass scale=1000"
        )
    if median > 1000 * KG_MEDIAN:
        raise ValueError(
            f"the median of {rows.label} is {median:,.0f} g/kWh, more than any grid emits: is it in mg/kWh (scale=0.001)?"
        )
    return rows


def _utc(rows: Rows, timezone: str | None) -> Rows:
    """Times in UTC; local times at the change of clocks are told apart by their order in the file."""
    if rows.times.tz is not None:
        if timezone is not None:
            raise ValueError(f"timezone={timezone!r}, but the times carry their own offset: leave timezone out")
        stated = [] if str(rows.times.tz) == "UTC" else [f"{rows.times.tz} converted to UTC"]
        return replace(rows, times=rows.times.tz_convert("UTC")).but(*stated)
    zone = timezone or rows.timezone
    if zone is None:
        raise ValueError(
            f"row {rows.rows[0]}: the time {rows.times[0]} has no time zone. Pass timezone='UTC', or where its clock hangs, "
            "such as timezone='Europe/Berlin'"
        )
    if zone not in zoneinfo.available_timezones():
        near = ", ".join(difflib.get_close_matches(zone, zoneinfo.available_timezones(), 3, 0.5)) or "none"
        raise ValueError(f"timezone={zone!r} is not a name such as 'UTC' or 'Europe/Berlin'. Nearest: {near}")
    turn = pd.Series(rows.times).groupby(rows.times).cumcount().to_numpy()
    local = rows.times.tz_localize(zone, ambiguous=turn == 0, nonexistent="NaT")
    missing = np.asarray(local.isna())
    real = missing & ~np.isnan(rows.values)
    if real.any():
        at = np.flatnonzero(real)[0]
        raise ValueError(
            f"row {rows.rows[at]}: {rows.times[at]} does not exist in {zone}, whose clocks jump over it in spring. The file may be "
            "in "
            "UTC or in winter time all year: pass timezone='UTC', or 'Etc/GMT-1' for CET"
        )
    # a time is ambiguous when summer and winter readings of it differ
    summer = rows.times.tz_localize(zone, ambiguous=np.ones(len(turn), bool), nonexistent="NaT")
    twice = int(((turn == 1) & np.asarray(local != summer)).sum())
    done = replace(rows, times=local.tz_convert("UTC")).where(~missing)
    if missing.any():
        done = done.but(f"{int(missing.sum())} empty rows at the spring change of clocks left out")
    if twice:
        done = done.but(
            f"{twice} local times occur twice at the autumn change of clocks: taken as summer time, then winter time"
        )
    return done if zone == "UTC" else done.but(f"{zone} converted to UTC")


def _in_order(rows: Rows) -> Rows:
    if rows.times.is_monotonic_increasing:
        return rows
    order = np.argsort(rows.times.asi8, kind="stable")
    return rows.where(order).but("rows were not in the order of time: sorted")


def _without_duplicates(rows: Rows) -> Rows:
    """Drop rows that repeat a time with the same value, and refuse those that disagree."""
    later = np.asarray(rows.times.duplicated())
    if not later.any():
        return rows
    keep, holder = ~later, 0
    values = rows.values.copy()
    for at in range(1, len(values)):
        if not later[at]:
            holder = at
        elif np.isnan(values[holder]):
            values[holder] = values[at]
        elif not np.isnan(values[at]) and not np.isclose(values[holder], values[at]):
            raise ValueError(
                f"rows {rows.rows[holder]} and {rows.rows[at]} are both of {rows.times[at]:%Y-%m-%d %H:%M} UTC but disagree: "
                f"{values[holder]:g} and {values[at]:g}. Keep one of them; if the file mixes zones, pass zone="
            )
    return replace(rows, values=values).where(keep).but(f"{int(later.sum())} repeated rows dropped")


def _hourly(rows: Rows) -> tuple[pd.Series, Rows]:
    """Means over each hour, weighted by duration and generation; an hour of which less than half is known is missing."""
    if len(rows.times) == 1:  # no step to tell its length from: an hour
        return pd.Series(rows.values, index=rows.times.floor("h")), rows
    steps = np.diff(rows.times.asi8) / HOUR.value
    usual = float(pd.Series(steps).mode().iloc[0])
    if usual > 1:
        raise ValueError(
            f"rows {rows.rows[0]} and {rows.rows[1]}: times are {usual:g} h apart; give a file by the hour or finer"
        )
    told = np.minimum(np.minimum(np.append(steps, usual), np.insert(steps, 0, usual)), 1.0)
    duration = told if rows.durations_h is None else rows.durations_h
    known = ~np.isnan(rows.values)
    weight = duration * known * (1 if rows.weights is None else np.nan_to_num(rows.weights))
    table = pd.DataFrame(
        {"covered": duration * known, "weight": weight, "product": weight * np.nan_to_num(rows.values)}
    )
    sums = table.groupby(rows.times.floor("h")).sum()
    mean = (sums["product"] / sums["weight"].where(sums["weight"] > 0)).where(sums["covered"] >= 0.5)
    hours_ = pd.date_range(mean.index[0], mean.index[-1], freq="h", unit="ns")
    finer = int((duration < 1).sum())
    done = rows.but(f"{finer:,} rows of less than an hour averaged to hours") if finer else rows
    if (offset := rows.times[0] - rows.times[0].floor("h")) and usual == 1:
        done = done.but(f"times at {offset / pd.Timedelta(minutes=1):.0f} minutes past counted to the hour they lie in")
    return mean.reindex(hours_), done


def _check_gaps(hourly: pd.Series, max_gap_share: float) -> None:
    missing = hourly.isna().to_numpy()
    lengths = gap_lengths(missing)
    hopeless = fill_gaps(hourly)[1] == "open"
    if missing.sum() > max(FEW_HOURS, max_gap_share * len(hourly)) or hopeless.any():
        first = int(np.argmax(lengths))
        raise ValueError(
            f"{missing.sum():,} of {len(hourly):,} hours are missing ({100 * missing.mean():.1f} %, at most "
            f"{100 * max_gap_share:g} % can be filled); the longest gap has {lengths[first]} h "
            f"from {hourly.index[first]:%Y-%m-%d %H:%M} UTC. "
            "Use a more complete file, cut it there, or pass a larger max_gap_share"
        )
