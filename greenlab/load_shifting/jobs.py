"""Jobs: flexible computing work, a column for each property."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import checks

MOST = 1e9  # of every column: beyond it sums are no longer exact enough
SHORTEST_H = 1e-6  # a run of some milliseconds: a shorter one is a rounding error
_NUMBERS = {  # column: (least value, whether the least value itself is allowed)
    "arrival_h": (0.0, True),
    "duration_h": (0.0, False),
    "power_kw": (0.0, False),
    "slack_h": (0.0, True),
    "deadline_h": (0.0, True),
    "data_gb": (0.0, True),
    "checkpoint_h": (0.0, True),
    "min_chunk_h": (0.0, True),
    "estimated_h": (0.0, False),
}
_OPTIONAL = ("slack_h", "deadline_h", "estimated_h")  # NaN where there is none


@dataclass(frozen=True)
class Jobs:
    """``n`` jobs, as columns; a single number stands for all of them.

    A scheduler decides once a step: a job that arrives within a step may start at the next one, and ``slack_h`` counts
    from there. Give either ``slack_h`` (how much later than at once it may finish) or ``deadline_h`` (when it must be
    finished).

    Attributes:
        arrival_h: when the job is known and may start [h after the start of the traces]; without an arrival there are
            no jobs.
        duration_h: how long it runs [h], at least 1e-6.
        power_kw: power while it runs, without the data centre's overhead [kW], 1e-6 to 1e9.
        slack_h: how much later it may finish than if it ran at once [h]; NaN where there is a deadline.
        deadline_h: when it must be finished [h after the start of the traces]; NaN, none, where there is a slack.
        interruptible: whether it may pause: True or False (or 1 or 0, as tables have them).
        home: name of the zone it belongs to; None means the first zone of the traces.
        regions: names of the zones it may run in: None for all, one tuple for all jobs, or one for each. Home is always
            allowed.
        data_gb: data to be moved before it runs elsewhere [GB].
        checkpoint_h: extra running time for each time it resumes [h].
        min_chunk_h: shortest stretch between two pauses [h].
        estimated_h: how long the planner thinks it runs [h]; NaN where it knows. The job runs, and pays, ``duration_h``
            all the same (see `simulate`). Planners of real clusters often know no more than the mean of a queue (Hanafy
            et al., "Going Green for Less Green", ASPLOS 2024, sec. 4.2).

    Raises:
        TypeError: for a column of another type: the column, the row and the value are named.
        ValueError: naming the column, the row, the value and what is allowed.

    >>> Jobs(arrival_h=[0, 5], duration_h=2, slack_h=6).n
    2
    """

    arrival_h: Any
    duration_h: Any
    power_kw: Any = 1.0
    slack_h: Any = np.nan
    deadline_h: Any = np.nan
    interruptible: Any = False
    home: Any = None
    regions: Any = None
    data_gb: Any = 0.0
    checkpoint_h: Any = 0.0
    min_chunk_h: Any = 0.0
    estimated_h: Any = np.nan

    def __post_init__(self) -> None:
        columns = {name: _column(name, getattr(self, name)) for name in (*_NUMBERS, "interruptible", "home")}
        n = max((len(c) for c in columns.values() if len(c) > 1), default=1)
        if len(columns["arrival_h"]) == 0:
            n = 0
        for name, column in columns.items():
            if len(column) not in (1, n) or column.ndim != 1:
                raise ValueError(
                    f"{name} has shape {column.shape}: expected one number, or {n} as the other columns have"
                )
            column = np.broadcast_to(column, n)
            if name in _NUMBERS:
                column = _numbers(name, column)
            elif name == "interruptible":
                column = _flags(name, column)
            else:
                _check_names(name, column)
            object.__setattr__(self, name, column)
        self._check_regions()
        both, none = (
            ~np.isnan(self.slack_h) & ~np.isnan(self.deadline_h),
            np.isnan(self.slack_h) & np.isnan(self.deadline_h),
        )
        for wrong, words in ((both, "both slack_h and deadline_h"), (none, "neither slack_h nor deadline_h")):
            if wrong.any():
                raise ValueError(f"row {int(wrong.argmax())} has {words}: give one of them (slack_h=0 never waits)")

    def _check_regions(self) -> None:
        regions = self.regions
        if regions is None:
            return
        if isinstance(regions, str):
            regions = (regions,)
        if not isinstance(regions, (tuple, list, np.ndarray, pd.Series)):
            raise TypeError(
                f"regions={regions!r} is {type(regions).__name__}: expected names of zones, as ('DE', 'FR')"
            )
        for row, entry in enumerate(regions):
            names = entry if isinstance(entry, (tuple, list)) else (entry,)
            if not all(isinstance(name, str) or (name is None and names == (None,)) for name in names):
                raise TypeError(
                    f"row {row}: regions has {entry!r}: expected names of zones, as ('DE', 'FR'), or None for all"
                )
        one_for_all = all(isinstance(r, str) for r in regions)
        if not one_for_all and len(regions) != self.n:
            raise ValueError(
                f"regions has {len(regions)} entries: expected one tuple of zones for all, or {self.n} of them"
            )
        object.__setattr__(self, "regions", tuple(regions) if one_for_all else tuple(
            None if r is None else (r,) if isinstance(r, str) else tuple(r) for r in regions))  # fmt: skip

    @property
    def n(self) -> int:
        """How many jobs there are."""
        return len(self.arrival_h)

    def __len__(self) -> int:
        return self.n

    def replace(self, **changes: Any) -> Jobs:
        """The same jobs with some columns changed: ``jobs.replace(interruptible=True)``.

        A new slack takes the place of a deadline, and the other way round.

        Raises:
            TypeError: for an unknown column, or one of another type.
            ValueError: as `Jobs`.
        """
        if "slack_h" in changes and "deadline_h" not in changes:
            changes["deadline_h"] = np.nan
        if "deadline_h" in changes and "slack_h" not in changes:
            changes["slack_h"] = np.nan
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, start: Any = None) -> Jobs:
        """Read jobs from a table with one row a job and this class's column names.

        Args:
            frame: arrival_h and duration_h, and any of the others; or the UTC times ``arrival`` and ``deadline``.
            start: start of the traces, needed with times: ``traces.start``.

        Raises:
            TypeError: if it is no table, or a column has another type: "no" or "False" are words, not a no.
            ValueError: for a missing or unknown column, a time without a start or one that cannot be read, or a value
                out of range.
        """
        if not isinstance(frame, pd.DataFrame):
            raise TypeError(
                f"frame={str(frame)[:60]} is {type(frame).__name__}: expected a DataFrame with one row a job"
            )
        known = {field.name for field in dataclasses.fields(cls)}
        columns: dict[str, Any] = {}
        for name in map(str, frame.columns):
            if name in ("arrival", "deadline"):
                if start is None:
                    raise ValueError(f"column {name!r} holds times: hand over start=traces.start, or give {name}_h")
                try:
                    passed = pd.to_datetime(frame[name], utc=True) - pd.Timestamp(start)
                except (TypeError, ValueError) as error:
                    raise ValueError(f"column {name!r} or start={start!r} is no time with a zone: {error}") from error
                columns[f"{name}_h"] = (passed / pd.Timedelta(hours=1)).to_numpy()
            elif name in known:
                columns[name] = list(frame[name]) if name == "regions" else frame[name].to_numpy()
            else:
                raise ValueError(
                    f"frame: column {name!r} is not one of {sorted(known)}, arrival, deadline: rename or drop it"
                )
        for name in ("arrival_h", "duration_h"):
            if name not in columns:
                raise ValueError(f"frame has no column {name!r}, only {list(frame.columns)}")
        if "slack_h" not in columns and "deadline_h" not in columns:
            raise ValueError("frame has neither slack_h nor deadline_h: add one of them (slack_h=0 never waits)")
        return cls(**columns)

    def to_frame(self) -> pd.DataFrame:
        """One row a job, with this class's columns."""
        frame = pd.DataFrame({f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "regions"})
        each = self.regions if self.regions and not isinstance(self.regions[0], str) else [self.regions] * self.n
        return frame.assign(regions=pd.Series(list(each), dtype=object))


def _column(name: str, value: Any) -> np.ndarray:
    try:
        return np.atleast_1d(np.asarray(value))
    except ValueError as error:
        raise ValueError(
            f"{name}={value!r} has rows of different lengths: expected one number, or one a job"
        ) from error


def _numbers(name: str, column: np.ndarray) -> np.ndarray:
    least, allowed = _NUMBERS[name]
    number = (int, float, np.integer, np.floating)
    is_number = column.dtype.kind in "iuf" or (
        column.dtype == object and all(isinstance(v, number) and not isinstance(v, bool) for v in column)
    )
    if len(column) and not is_number:
        first = next((v for v in column.tolist() if not isinstance(v, number) or isinstance(v, bool)), column[0])
        raise ValueError(f"{name} holds {first!r}: expected numbers [{name.rsplit('_', 1)[-1]}]")
    values = column.astype(np.float64)
    wrong = ~(values >= least) | ~(values > least) & (not allowed) | (values > MOST)
    if name in ("duration_h", "estimated_h"):
        wrong |= values < SHORTEST_H
    elif name == "power_kw":
        wrong |= values < 1e-6
    if name in _OPTIONAL:
        wrong &= ~np.isnan(values)
    if wrong.any():
        row = int(wrong.argmax())
        bound = f"{least:g} or more" if allowed else f"more than {least:g}"
        raise ValueError(
            f"row {row}: {name}={values[row]:g}: expected a finite number, {bound}{_span(name)}; "
            "correct or drop that job"
        )
    values.setflags(write=False)
    return values


def _span(name: str) -> str:
    low = SHORTEST_H if name in ("duration_h", "estimated_h") else 1e-6 if name == "power_kw" else 0.0
    return f" ({low:g} to {MOST:g})"


def _flags(name: str, column: np.ndarray) -> np.ndarray:
    """Read a column of booleans; 0 and 1 stand for them, words do not."""
    if column.dtype.kind == "b":
        return column
    values = np.empty(len(column), bool)
    for row, value in enumerate(column.tolist()):
        one = isinstance(value, int) and value in (0, 1)
        values[row] = bool(value) if one else checks.flag(f"row {row}: {name}", value)
    return values


def _check_names(name: str, column: np.ndarray) -> None:
    for value in set(column.tolist()) if column.dtype.kind != "U" else ():
        if value is not None and not isinstance(value, str):
            row = next(row for row, other in enumerate(column.tolist()) if other is value or other == value)
            raise TypeError(
                f"row {row}: {name}={value!r} is {type(value).__name__}: expected the name of a zone, or None"
            )
