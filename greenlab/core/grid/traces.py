"""Hourly (or half-hourly) signals of several zones as one array: what a load-shifting simulation runs over.

`greenlab.core.grid.load` gives a tidy frame; `Traces.from_frame` checks it and lays it out as ``(zones, steps)``. Time is UTC, so
a day has 24 hours whatever the clocks do, and a leap year 8,784.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

BASES = ("computed", "MODELLED", "file")
OPTIONAL = ("marginal_g_per_kwh", "curtailed_share", "price_per_kwh")
KG_SCALED = 5.0  # no grid has a highest hour below 5 g/kWh, and none above 2 kg/kWh: below it, kilograms were meant


@dataclass(frozen=True)
class Traces:
    """Signals of ``Z`` zones over ``T`` steps of ``step_h`` hours, the first beginning at ``start`` (UTC).

    Attributes:
        zones: names of the zones, in the order of the rows.
        start: beginning of the first step, UTC.
        step_h: length of a step [h].
        intensity_g_per_kwh: average carbon intensity ``(Z, T)`` [g/kWh].
        basis: one of "computed", "MODELLED", "file" for each zone.
        marginal_g_per_kwh: emissions of one more kWh ``(Z, T)`` [g/kWh], if known.
        curtailed_share: share of one more kWh that would come from curtailed wind or sun ``(Z, T)``, 0 to 1, if known.
        price_per_kwh: price ``(Z, T)`` [currency/kWh], if known; it may be negative.

    Raises:
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
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731  (frozen: only here)
        zones = (self.zones,) if isinstance(self.zones, str) else tuple(map(str, self.zones))
        put("zones", zones)
        put("start", _utc(self.start))
        put("basis", tuple(self.basis) or ("computed",) * len(zones))
        if not self.step_h > 0:
            raise ValueError(f"step_h={self.step_h!r}: expected more than 0 hours, e.g. 1.0 or 0.5")
        if len(set(zones)) < len(zones) or not zones:
            raise ValueError(f"zones={zones!r}: expected at least one zone, each once; rename or drop the repeats")
        if len(self.basis) != len(zones) or not set(self.basis) <= set(BASES):
            raise ValueError(f"basis={self.basis!r}: expected one of {BASES} for each of {len(zones)} zones")
        for name in ("intensity_g_per_kwh", *OPTIONAL):
            if getattr(self, name) is not None:
                put(name, self._signal(name))

    def _signal(self, name: str) -> np.ndarray:
        values = np.ascontiguousarray(np.atleast_2d(getattr(self, name)), dtype=np.float64).copy()
        first = self.intensity_g_per_kwh if name != "intensity_g_per_kwh" else values
        if values.ndim != 2 or values.shape[0] != len(self.zones) or values.shape != first.shape or not values.size:
            raise ValueError(
                f"{name} has shape {values.shape}: expected ({len(self.zones)} zones, {first.shape[-1] or 'at least 1'} steps)"
            )
        low, high = {"price_per_kwh": (-np.inf, np.inf), "curtailed_share": (0.0, 1.0)}.get(name, (0.0, np.inf))
        wrong = ~(np.isfinite(values) & (values >= low) & (values <= high))
        if wrong.any():
            z, t = np.argwhere(wrong)[0]
            raise ValueError(
                f"{name} of zone {self.zones[z]} at {self.time(t)} is {values[z, t]}: expected a number from {low:g} to {high:g}; "
                "correct or fill that row (core.grid marks the hours it fills)"
            )
        if name.endswith("g_per_kwh"):
            peak = values.max(axis=1)
            for z in np.flatnonzero((peak > 0) & (peak < KG_SCALED)):
                t = int(values[z].argmax())
                raise ValueError(
                    f"{name} of zone {self.zones[z]} is at most {peak[z]:g} (at {self.time(t)}): this looks like kg/kWh; "
                    "multiply by 1000 to give g/kWh"
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
        """Beginning of a step, UTC; fractions lie within it."""
        return self.start + pd.Timedelta(hours=float(step) * self.step_h)

    def index(self, zone: str) -> int:
        """Row of a zone.

        Raises:
            ValueError: if there is no such zone.
        """
        if zone not in self.zones:
            raise ValueError(f"zone={zone!r} is not in the traces; they have {', '.join(self.zones)}")
        return self.zones.index(zone)

    def select(self, zones: list[str] | tuple[str, ...]) -> Traces:
        """The same traces for some zones only, in the order given."""
        rows = [self.index(zone) for zone in zones]
        kept: dict[str, Any] = {n: None if (v := getattr(self, n)) is None else v[rows] for n in OPTIONAL}
        basis = tuple(self.basis[r] for r in rows)
        return Traces(tuple(zones), self.start, self.step_h, self.intensity_g_per_kwh[rows], basis, **kept)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, step_h: float | None = None) -> Traces:
        """Lay a tidy frame out as arrays; nothing is repaired in silence.

        Args:
            frame: one row per zone and time, with the columns zone, time (UTC) and intensity_g_per_kwh [g/kWh], and optionally
                basis, marginal_g_per_kwh, curtailed_share and price_per_kwh. Zones keep the order of their first row.
            step_h: length of a step [h]; a whole fraction of the frame's own (0.5 cuts hours into equal halves). Default: its own.

        Raises:
            ValueError: for a gap, a duplicate, a missing zone, a NaN, a negative or a kg-scaled value: the row is named.
        """
        for name in ("zone", "time", "intensity_g_per_kwh"):
            if name not in frame:
                raise ValueError(
                    f"frame has no column {name!r}, only {list(frame.columns)}: rename it, or use grid.load"
                )
        if frame.empty:
            raise ValueError("frame has no rows: grid.load(zones, year) gives some")
        frame = frame.assign(time=pd.to_datetime(frame["time"], utc=True)).reset_index(drop=True)
        twice = frame.duplicated(["zone", "time"])
        if twice.any():
            row = int(twice.to_numpy().argmax())
            raise ValueError(
                f"row {row}: zone {frame['zone'][row]} has {frame['time'][row]} twice; local time repeats an hour in autumn: "
                "convert to UTC, or drop_duplicates(['zone', 'time'])"
            )
        times = pd.DatetimeIndex(frame["time"].drop_duplicates().sort_values())
        own = pd.Timedelta(np.diff(times).min()) if len(times) > 1 else pd.Timedelta(hours=1)
        zones = tuple(dict.fromkeys(frame["zone"]))
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
                f"zone {zones[z]} has no row for {grid[t]} ({int(missing.sum())} missing in all): local time skips an hour in "
                "spring; convert to UTC, or fill the gap and mark it"
            )
        order = rows.to_numpy().astype(np.int64)
        for name in signals:
            arrays[name] = frame[name].to_numpy(dtype=np.float64)[order]
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
            basis = tuple("MODELLED" if "MODELLED" in set(b) else str(next(iter(b))) for b in
                          (frame.loc[frame["zone"] == zone, "basis"] for zone in zones))  # fmt: skip
        return cls(zones, times[0], own_h / round(parts), basis=basis, **arrays)

    def to_frame(self) -> pd.DataFrame:
        """The traces as a tidy frame: zone, time, intensity_g_per_kwh, basis, filled (False), and the signals it has."""
        times = pd.date_range(self.start, periods=self.n_steps, freq=pd.Timedelta(hours=self.step_h))
        columns = {n: v.ravel() for n in ("intensity_g_per_kwh", *OPTIONAL) if (v := getattr(self, n)) is not None}
        zone = np.repeat(np.asarray(self.zones, dtype=object), self.n_steps)
        basis = np.repeat(np.asarray(self.basis, dtype=object), self.n_steps)
        frame = pd.DataFrame({"zone": zone, "time": np.tile(times, len(self.zones)), **columns, "basis": basis})
        frame["time"] = pd.to_datetime(frame["time"], utc=True)
        return frame.assign(filled=False)


def _utc(time: Any) -> pd.Timestamp:
    stamp = pd.Timestamp(time)
    return stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
