"""Hourly (or half-hourly) signals of several zones as one array: what a load-shifting simulation runs over.

`greenlab.core.grid.load` gives a tidy frame; `Traces.from_frame` checks it and lays it out as ``(zones, steps)``. Time
is UTC, so a day has 24 hours whatever the clocks do, and a leap year 8,784.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.core.grid.plausible import kilogram_hint, looks_like_kilograms
from greenlab.core.names import GRID_BASES, MODELLED, unknown

OPTIONAL = ("marginal_g_per_kwh", "curtailed_share", "price_per_kwh")
FIRST_YEAR, LAST_YEAR = 1900, 2150
LARGEST = 1e6  # g/kWh, or currency a kWh: beyond it sums lose their meaning long before they overflow
_RANGES = {"price_per_kwh": (-LARGEST, LARGEST), "curtailed_share": (0.0, 1.0)}


@dataclass(frozen=True)
class Traces:
    """Signals of ``Z`` zones over ``T`` steps of ``step_h`` hours, the first beginning at ``start`` (UTC).

    Attributes:
        zones: names of the zones, in the order of the rows.
        start: beginning of the first step, UTC.
        step_h: length of a step [h].
        intensity_g_per_kwh: average carbon intensity ``(Z, T)`` [g/kWh].
        basis: one of "computed", "modelled", "file" for each zone; all computed if left out.
        marginal_g_per_kwh: emissions of one more kWh ``(Z, T)`` [g/kWh], if known.
        curtailed_share: share of one more kWh that would come from curtailed wind or sun ``(Z, T)``, 0 to 1, if known.
        price_per_kwh: price ``(Z, T)`` [currency/kWh], if known; it may be negative.

    A zone with the basis "file" may have any intensity: `greenlab.core.grid.read` has looked at its unit. In others a
    median below 2 g/kWh is refused, as it looks like kilograms.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: for a wrong shape, a NaN, a negative or a kg-scaled value: zone, time, value and remedy are named.

    >>> two = Traces(("DE", "FR"), "2020-01-01", 1.0, [[400, 300], [50, 60]])
    >>> two.n_steps, two.end
    (2, Timestamp('2020-01-01 02:00:00+0000', tz='UTC'))
    """

    zones: tuple[str, ...]
    start: pd.Timestamp
    step_h: float
    intensity_g_per_kwh: np.ndarray
    basis: tuple[str, ...] = ()
    marginal_g_per_kwh: np.ndarray | None = None
    curtailed_share: np.ndarray | None = None
    price_per_kwh: np.ndarray | None = None

    def __post_init__(self) -> None:
        set_ = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731  (frozen: only here)
        zones = _names("zones", self.zones)
        if len(set(zones)) < len(zones) or not zones:
            raise ValueError(f"zones={zones!r}: expected at least one zone, each once; rename or drop the repeats")
        set_("zones", zones)
        set_("start", _utc("start", self.start))
        set_("step_h", checks.number("step_h", self.step_h, above=0, high=LARGEST, remedy="hours, e.g. 1.0 or 0.5"))
        basis = _names("basis", self.basis) or ("computed",) * len(zones)
        if len(basis) != len(zones) or not set(basis) <= set(GRID_BASES):
            raise ValueError(f"basis={basis!r}: expected one of {GRID_BASES} for each of {len(zones)} zones")
        set_("basis", basis)
        for name in ("intensity_g_per_kwh", *OPTIONAL):
            if getattr(self, name) is not None or name == "intensity_g_per_kwh":
                set_(name, self._signal(name))

    def _signal(self, name: str) -> np.ndarray:
        values = np.atleast_2d(_numbers(name, getattr(self, name)))
        first = self.intensity_g_per_kwh if name != "intensity_g_per_kwh" else values
        if values.ndim != 2 or values.shape[0] != len(self.zones) or values.shape != first.shape or not values.size:
            raise ValueError(
                f"{name} has shape {values.shape}: expected ({len(self.zones)} zones, "
                f"{first.shape[-1] or 'at least 1'} steps)"
            )
        low, high = _RANGES.get(name, (0.0, LARGEST))
        wrong = ~(np.isfinite(values) & (values >= low) & (values <= high))
        if wrong.any():
            z, t = np.argwhere(wrong)[0]
            raise ValueError(
                f"{name} of zone {self.zones[z]} at {self.time(t)} is {values[z, t]}: expected a number from {low:g} "
                f"to {high:g}; "
                "correct or fill that row (core.grid marks the hours it fills)"
            )
        if name.endswith("g_per_kwh"):
            for zone, basis, row in zip(self.zones, self.basis, values, strict=True):
                if basis != "file" and looks_like_kilograms(row):
                    middle = float(np.median(row[row > 0]))
                    raise ValueError(
                        f"{name} of zone {zone}: its median {kilogram_hint(middle)}; multiply by 1000 to give g/kWh, "
                        f"or give the "
                        "zone the basis 'file' if it is right"
                    )
        values.setflags(write=False)
        return values

    @property
    def n_steps(self) -> int:
        """How many steps the traces have."""
        return self.intensity_g_per_kwh.shape[1]

    @property
    def end(self) -> pd.Timestamp:
        """End of the last step, UTC."""
        return self.time(self.n_steps)

    def time(self, step: float) -> pd.Timestamp:
        """Beginning of a step, UTC; fractions lie within it.

        Raises:
            TypeError: if ``step`` is no number.
            ValueError: if it is not finite, or further away than times can be.
        """
        step = checks.number("step", step, low=-LARGEST, high=LARGEST)
        try:
            return self.start + pd.Timedelta(hours=step * self.step_h)
        except (OverflowError, pd.errors.OutOfBoundsDatetime, pd.errors.OutOfBoundsTimedelta):
            raise ValueError(f"step={step:g} of {self.step_h:g} h lies beyond the times that can be told") from None

    def index(self, zone: str) -> int:
        """Row of a zone.

        Raises:
            ValueError: if there is no such zone.
        """
        if zone not in self.zones:
            raise unknown("zone", zone, self.zones, "grid.load gives more")
        return self.zones.index(zone)

    def select(self, zones: Iterable[str]) -> Traces:
        """The same traces for some zones only, in the order given.

        Raises:
            ValueError: if there is no such zone, or one is named twice.
        """
        zones = _names("zones", zones)
        rows = [self.index(zone) for zone in zones]
        kept: dict[str, Any] = {n: None if (v := getattr(self, n)) is None else v[rows] for n in OPTIONAL}
        basis = tuple(self.basis[r] for r in rows)
        return Traces(zones, self.start, self.step_h, self.intensity_g_per_kwh[rows], basis, **kept)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, step_h: float | None = None) -> Traces:
        """Lay a tidy frame out as arrays; nothing is repaired in silence.

        Args:
            frame: one row per zone and time, with the columns zone, time (UTC) and intensity_g_per_kwh [g/kWh], and
                optionally basis, marginal_g_per_kwh, curtailed_share and price_per_kwh. Zones keep the order of their
                first row.
            step_h: length of a step [h]; a whole fraction of the frame's own (0.5 cuts hours into equal halves).
                Default: its own.

        Returns:
            Traces whose zones keep their basis; a zone with some modelled rows is modelled.

        Raises:
            TypeError: if ``frame`` is no DataFrame, or a column holds no numbers.
            ValueError: for a gap, a duplicate, a missing zone, a NaN, a negative or a kg-scaled value: the row is
                named.
        """
        if not isinstance(frame, pd.DataFrame):
            raise TypeError(f"frame is {type(frame).__name__}: give a DataFrame such as grid.load gives")
        if step_h is not None:
            step_h = checks.number("step_h", step_h, above=0, high=LARGEST)
        for name in ("zone", "time", "intensity_g_per_kwh"):
            if name not in frame:
                raise ValueError(
                    f"frame has no column {name!r}, only {list(frame.columns)}: rename it, or use grid.load"
                )
        if frame.empty:
            raise ValueError("frame has no rows: grid.load(zones, year) gives some")
        frame = frame.assign(time=_times_of(frame), zone=frame["zone"].astype(str)).reset_index(drop=True)
        twice = frame.duplicated(["zone", "time"])
        if twice.any():
            row = int(twice.to_numpy().argmax())
            raise ValueError(
                f"row {row}: zone {frame['zone'][row]} has {frame['time'][row]} twice; local time repeats an hour in "
                f"autumn: "
                "convert to UTC, or drop_duplicates(['zone', 'time'])"
            )
        times = pd.DatetimeIndex(frame["time"].drop_duplicates().sort_values())
        own = pd.Timedelta(int(np.diff(times.asi8).min()), unit="ns") if len(times) > 1 else pd.Timedelta(hours=1)
        zones = tuple(dict.fromkeys(frame["zone"]))
        if (times[-1].value - times[0].value) / own.value > 100 * len(times):
            raise ValueError(
                f"frame has times from {times[0]} to {times[-1]} in steps of {own}, most of which it lacks: drop the "
                f"stray rows"
            )
        grid = pd.date_range(times[0], times[-1], freq=own)
        signals = ["intensity_g_per_kwh", *(name for name in OPTIONAL if name in frame)]
        arrays: dict[str, np.ndarray] = {}
        rows = frame.assign(_row=frame.index).pivot(index="zone", columns="time", values="_row").reindex(zones)
        if (off := times.difference(grid)).size:
            raise ValueError(f"time {off[0]} is off the steps of {own}: resample to one length of step first")
        rows = rows.reindex(columns=grid)
        missing = rows.isna().to_numpy()
        if missing.any():
            z, t = np.argwhere(missing)[0]
            raise ValueError(
                f"zone {zones[z]} has no row for {grid[t]} ({int(missing.sum())} missing in all): local time skips an "
                f"hour in "
                "spring; convert to UTC, or fill the gap and mark it"
            )
        order = rows.to_numpy().astype(np.int64)
        for name in signals:
            arrays[name] = _numbers(name, frame[name].to_numpy())[order]
            if np.isnan(arrays[name]).any():
                row = int(order[np.isnan(arrays[name])].min())
                raise ValueError(
                    f"row {row}: {name} of zone {frame['zone'][row]} at {frame['time'][row]} is NaN; "
                    "fill it and mark it, or drop the zone"
                )
        own_h = own / pd.Timedelta(hours=1)
        parts = own_h / (step_h or own_h)
        if abs(parts - round(parts)) > 1e-9 or round(parts) < 1:
            raise ValueError(f"step_h={step_h!r}: expected the frame's step of {own_h:g} h or a whole fraction of it")
        arrays = {name: np.repeat(values, round(parts), axis=1) for name, values in arrays.items()}
        basis: tuple[str, ...] = ()
        if "basis" in frame:
            of_zone = {zone: set(rows) for zone, rows in frame.groupby("zone", sort=False)["basis"]}
            basis = tuple(_basis_of(zone, of_zone[zone]) for zone in zones)
        return cls(zones, times[0], own_h / round(parts), basis=basis, **arrays)

    def to_frame(self) -> pd.DataFrame:
        """The traces as a tidy frame: zone, time, intensity_g_per_kwh, basis, filled (False), and the signals it
        has.
        """
        times = pd.date_range(self.start, periods=self.n_steps, freq=pd.Timedelta(hours=self.step_h))
        columns = {n: v.ravel() for n in ("intensity_g_per_kwh", *OPTIONAL) if (v := getattr(self, n)) is not None}
        zone = np.repeat(np.asarray(self.zones, dtype=object), self.n_steps)
        basis = np.repeat(np.asarray(self.basis, dtype=object), self.n_steps)
        frame = pd.DataFrame({"zone": zone, "time": np.tile(times, len(self.zones)), **columns, "basis": basis})
        frame["time"] = pd.to_datetime(frame["time"], utc=True)
        return frame.assign(filled=False)


def _basis_of(zone: str, found: set[str]) -> str:
    """The basis of a zone's rows: modelled if one of them is.

    Raises:
        ValueError: if they have several others.
    """
    if MODELLED in found:
        return MODELLED
    if len(found) > 1:
        raise ValueError(f"basis of zone {zone} is {' and '.join(sorted(map(str, found)))}: give its rows one basis")
    return str(next(iter(found)))


def _names(name: str, value: Any) -> tuple[str, ...]:
    """One text or several as a tuple."""
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(text, str) for text in names):
        raise TypeError(f"{name}={value!r}: give text, or a sequence of texts")
    return tuple(map(str, names))


def _numbers(name: str, value: Any) -> np.ndarray:
    """A new array of float64; NaN and infinity are looked at later, with their zone and time.

    Raises:
        TypeError: if it holds anything but real numbers.
        ValueError: if its rows are of different lengths.
    """
    try:
        values = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} has rows of different lengths: give one row per zone, all of one length") from None
    if values.dtype == object and not any(isinstance(cell, (str, bool, np.bool_)) for cell in values.flat):
        try:
            values = values.astype(np.float64)
        except (ValueError, TypeError):
            raise TypeError(f"{name} does not hold numbers: give intensities in g/kWh, prices or shares") from None
    if values.dtype.kind not in "iuf":
        raise TypeError(f"{name} does not hold numbers but {values.dtype}: give intensities in g/kWh, prices or shares")
    return np.array(values, dtype=np.float64, order="C")


def _times_of(frame: pd.DataFrame) -> pd.Series:
    """The column of times in UTC.

    Raises:
        ValueError: if a row has none.
    """
    column = frame["time"]
    if pd.api.types.is_numeric_dtype(column):
        raise ValueError(
            f"time of row 0 is {column.iloc[0]}, a number: give times, such as pd.Timestamp or '2020-01-31T13:00Z'"
        )
    times = pd.to_datetime(column, utc=True, errors="coerce")
    if times.isna().any():
        row = int(times.isna().to_numpy().argmax())
        raise ValueError(f"time of row {row} is {column.iloc[row]!r}, not a time: write times as 2020-01-31T13:00Z")
    outside = (times.dt.year < FIRST_YEAR) | (times.dt.year > LAST_YEAR)
    if outside.any():
        row = int(outside.to_numpy().argmax())
        raise ValueError(f"time of row {row} is {column.iloc[row]}: give years from {FIRST_YEAR} to {LAST_YEAR}")
    return times.astype("datetime64[ns, UTC]")


def _utc(name: str, time: Any) -> pd.Timestamp:
    """A moment in UTC; without a time zone it is taken as UTC.

    Raises:
        TypeError: if it is no text and no time.
        ValueError: if it is no moment.
    """
    if isinstance(time, (bool, int, float, np.number)) or time is None:
        raise TypeError(f"{name}={time!r} is {type(time).__name__}: give a time, such as '2020-01-01' or pd.Timestamp")
    try:
        stamp = pd.Timestamp(time)
    except (ValueError, TypeError):
        raise ValueError(f"{name}={time!r} is not a time: write it as '2020-01-01' or '2020-01-31T13:00Z'") from None
    if pd.isna(stamp):
        raise ValueError(f"{name}={time!r} is no moment: write it as '2020-01-01'")
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
