"""From the rows of any file to gapless hours in UTC: what can be repaired is repaired and stated, the rest is refused
by row.
"""

from __future__ import annotations

import zoneinfo
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from greenlab.core.grid.files.cells import shorten
from greenlab.core.grid.plausible import DIRTIEST_G_PER_KWH, kilogram_hint, looks_like_kilograms
from greenlab.core.grid.repair import fill_gaps, gap_lengths
from greenlab.core.names import unknown

HOUR = pd.Timedelta(hours=1)
FEW_HOURS = 3  # so many may be missing in a short file, whatever the share
G_PER_KWH = (1.0,)


@dataclass(frozen=True)
class Rows:
    """The rows of a file before they become hours.

    Attributes:
        format: which reader made them.
        zone: code of the place, or "".
        label: the column that the values come from, for messages.
        rows: row numbers as the file has them ``(n,)``.
        times: start of each period ``(n,)``; without a time zone when the file names none.
        values: intensity ``(n,)`` in the unit of the column, NaN where missing.
        factors: what turns that unit into g/kWh; two where its name has two meanings; None where the file names no
            unit.
        weights: generation behind each value ``(n,)``, for means over an hour; None when every row counts the same.
        durations_h: length of each period ``(n,)`` [h]; None when it must be told from the times.
        timezone: time zone of ``times`` that the file itself names.
        repairs: what the reader had to decide.
    """

    format: str
    zone: str
    label: str
    rows: np.ndarray
    times: pd.DatetimeIndex
    values: np.ndarray
    factors: tuple[float, ...] | None = G_PER_KWH
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

    def with_repairs(self, *repairs: str) -> Rows:
        """The same rows with more repairs stated, each once."""
        return replace(self, repairs=tuple(dict.fromkeys((*self.repairs, *repairs))))


def to_hours(
    rows: Rows, *, timezone: str | None, scale: float, max_gap_share: float, direct: bool = False
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Hourly time, intensity_g_per_kwh [g/kWh] and filled, with the list of repairs.

    Args:
        rows: what a reader made of a file.
        timezone: of times that carry none.
        scale: factor to g/kWh.
        max_gap_share: the largest share of missing hours that is filled.
        direct: whether the values are direct emissions, which can be near 0.

    Raises:
        ValueError: naming row, value and remedy.
    """
    rows = _check_values(_scaled(rows, scale, direct=direct))
    rows = _without_duplicates(_in_order(_utc(rows, timezone)))
    hourly, rows = _hourly(rows)
    known = np.flatnonzero(hourly.notna())
    if len(known) == 0:
        raise ValueError(f"column {shorten(rows.label)} has no value at all: {len(rows.rows)} rows are empty")
    if outside := len(hourly) - (known[-1] + 1 - known[0]):
        rows = rows.with_repairs(f"{outside} hours without a value at the ends left out")
    hourly = hourly.iloc[known[0] : known[-1] + 1]
    _check_gaps(hourly, max_gap_share)
    filled, how = fill_gaps(hourly)
    for kind, words in (("line", "by a straight line"), ("days", "from the same hour of neighbouring days")):
        if count := int((how == kind).sum()):
            rows = rows.with_repairs(f"{count} missing hours filled {words}")
    frame = pd.DataFrame(
        {"time": filled.index, "intensity_g_per_kwh": filled.to_numpy(), "filled": (how != "").to_numpy()}
    )
    return frame, rows.repairs


def _scaled(rows: Rows, scale: float, *, direct: bool) -> Rows:
    """Intensity in g/kWh: multiplied by ``scale``, which must be what the column's name says, if it names a unit."""
    name = shorten(rows.label)
    factors = " or ".join(f"scale={factor:g}" for factor in rows.factors or ())
    if rows.factors is not None and not any(np.isclose(scale, factor, rtol=1e-3) for factor in rows.factors):
        if rows.factors == G_PER_KWH:
            raise ValueError(f"scale={scale:g}, but {name} is in g/kWh already: leave scale out, or rename the column")
        if scale == 1:
            raise ValueError(f"column {name} is not in g/kWh by its name: pass {factors} to convert it")
        raise ValueError(f"scale={scale:g}, but by its name the column {name} needs {factors}: pass that, or rename it")
    if scale != 1:
        rows = replace(rows, values=rows.values * scale).with_repairs(f"values multiplied by {scale:g}")
    if not direct and looks_like_kilograms(rows.values):
        middle = float(np.nanmedian(rows.values))
        raise ValueError(
            f"the median of {name} is {middle:.3g}: {kilogram_hint(middle)}. Pass scale=1000 for kg/kWh or t/MWh; "
            "for direct emissions in g/kWh, which can be as low, pass signal='direct'"
        )
    return rows


def _check_values(rows: Rows) -> Rows:
    bad = np.flatnonzero((rows.values < 0) | np.isinf(rows.values))
    if len(bad):
        raise ValueError(
            f"row {rows.rows[bad[0]]}: {shorten(rows.label)[1:-1]} is {rows.values[bad[0]]:g}; an intensity must be "
            f"a number >= 0 g/kWh ({len(bad)} such rows): correct it, or leave the cell empty and it is filled as a gap"
        )
    wild = np.flatnonzero(rows.values > DIRTIEST_G_PER_KWH)
    known = int((~np.isnan(rows.values)).sum())
    if 2 * len(wild) > known:
        raise ValueError(
            f"the median of {shorten(rows.label)[1:-1]} is {np.nanmedian(rows.values):,.5g} g/kWh, more than any grid "
            f"emits: is it in mg/kWh "
            "(scale=0.001), or another quantity?"
        )
    if len(wild):
        raise ValueError(
            f"row {rows.rows[wild[0]]}: {shorten(rows.label)[1:-1]} is {rows.values[wild[0]]:g} g/kWh; no grid emits "
            f"more than "
            f"{DIRTIEST_G_PER_KWH:g} ({len(wild)} such rows): correct it, or leave the cell empty and it is filled as "
            f"a gap"
        )
    return rows


def _utc(rows: Rows, timezone: str | None) -> Rows:
    """Times in UTC; local times at the change of clocks are told apart by their order in the file."""
    if rows.times.tz is not None:
        if timezone is not None:
            raise ValueError(f"timezone={timezone!r}, but the times carry their own offset: leave timezone out")
        stated = [] if str(rows.times.tz) == "UTC" else [f"{rows.times.tz} converted to UTC"]
        return replace(rows, times=rows.times.tz_convert("UTC")).with_repairs(*stated)
    zone = timezone or rows.timezone
    if zone is None:
        raise ValueError(
            f"row {rows.rows[0]}: the time {rows.times[0]} has no time zone. Pass timezone='UTC', or where its clock "
            f"hangs, "
            "such as timezone='Europe/Berlin'"
        )
    if zone not in zoneinfo.available_timezones():
        raise unknown("timezone", zone, zoneinfo.available_timezones(), "give a name such as 'UTC' or 'Europe/Berlin'")
    turn = pd.Series(rows.times).groupby(rows.times).cumcount().to_numpy()
    local = rows.times.tz_localize(zone, ambiguous=turn == 0, nonexistent="NaT")
    missing = np.asarray(local.isna())
    real = missing & ~np.isnan(rows.values)
    if real.any():
        first = np.flatnonzero(real)[0]
        raise ValueError(
            f"row {rows.rows[first]}: {rows.times[first]} does not exist in {zone}, whose clocks jump over it in "
            f"spring. The file "
            "may be in UTC or in winter time all year: pass timezone='UTC', or 'Etc/GMT-1' for CET"
        )
    # a time is ambiguous when summer and winter readings of it differ
    summer = rows.times.tz_localize(zone, ambiguous=np.ones(len(turn), bool), nonexistent="NaT")
    twice = int(((turn == 1) & np.asarray(local != summer)).sum())
    done = replace(rows, times=local.tz_convert("UTC")).where(~missing)
    if missing.any():
        done = done.with_repairs(f"{int(missing.sum())} empty rows at the spring change of clocks left out")
    if twice:
        done = done.with_repairs(
            f"{twice} local times occur twice at the autumn change of clocks: taken as summer time, then winter time"
        )
    return done if zone == "UTC" else done.with_repairs(f"{zone} converted to UTC")


def _in_order(rows: Rows) -> Rows:
    if rows.times.is_monotonic_increasing:
        return rows
    order = np.argsort(rows.times.asi8, kind="stable")
    return rows.where(order).with_repairs("rows were not in the order of time: sorted")


def _without_duplicates(rows: Rows) -> Rows:
    """Drop rows that repeat a time with the same value, and refuse those that disagree."""
    later = np.asarray(rows.times.duplicated())
    if not later.any():
        return rows
    keep, holder = ~later, 0
    values = rows.values.copy()
    for row in range(1, len(values)):
        if not later[row]:
            holder = row
        elif np.isnan(values[holder]):
            values[holder] = values[row]
        elif not np.isnan(values[row]) and not np.isclose(values[holder], values[row]):
            raise ValueError(
                f"rows {rows.rows[holder]} and {rows.rows[row]} are both of {rows.times[row]:%Y-%m-%d %H:%M} UTC but "
                f"disagree: "
                f"{values[holder]:g} and {values[row]:g}. Keep one of them; if the file mixes zones, pass zone="
            )
    return replace(rows, values=values).where(keep).with_repairs(f"{int(later.sum())} repeated rows dropped")


def _hourly(rows: Rows) -> tuple[pd.Series, Rows]:
    """Means over each hour, weighted by duration and generation; an hour of which less than half is known is
    missing.
    """
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
    every_hour = pd.date_range(mean.index[0], mean.index[-1], freq="h", unit="ns")
    finer = int((duration < 1).sum())
    done = rows.with_repairs(f"{finer:,} rows of less than an hour averaged to hours") if finer else rows
    if (offset := rows.times[0] - rows.times[0].floor("h")) and usual == 1:
        done = done.with_repairs(
            f"times at {offset / pd.Timedelta(minutes=1):.0f} minutes past counted to the hour they lie in"
        )
    return mean.reindex(every_hour), done


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
