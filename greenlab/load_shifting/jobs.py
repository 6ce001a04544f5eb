"""Jobs: flexible computing work, a column for each property."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

_NUMBERS = {  # column: (default, least value, whether the least value itself is allowed)
    "arrival_h": (None, 0.0, True),
    "duration_h": (None, 0.0, False),
    "power_kw": (1.0, 0.0, False),
    "slack_h": (np.nan, 0.0, True),
    "deadline_h": (np.nan, 0.0, True),
    "data_gb": (0.0, 0.0, True),
    "checkpoint_h": (0.0, 0.0, True),
    "min_chunk_h": (0.0, 0.0, True),
}


@dataclass(frozen=True)
class Jobs:
    """``n`` jobs, as columns; a single number stands for all of them.

    A scheduler decides once a step: a job that arrives within a step may start at the next one, and ``slack_h`` counts from
    there. Give either ``slack_h`` (how much later than at once it may finish) or ``deadline_h`` (when it must be finished).

    Attributes:
        arrival_h: when the job is known and may start [h after the start of the traces].
        duration_h: how long it runs [h].
        power_kw: power while it runs, without the data centre's overhead [kW].
        slack_h: how much later it may finish than if it ran at once [h]; NaN where there is a deadline.
        deadline_h: when it must be finished [h after the start of the traces]; NaN where there is a slack.
        interruptible: whether it may pause.
        home: name of the zone it belongs to; None means the first zone of the traces.
        regions: names of the zones it may run in: None for all, one tuple for all jobs, or one for each. Home is always allowed.
        data_gb: data to be moved before it runs elsewhere [GB].
        checkpoint_h: extra running time for each time it resumes [h].
        min_chunk_h: shortest stretch between two pauses [h].

    Raises:
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

    def __post_init__(self) -> None:
        columns = {
            name: np.atleast_1d(np.asarray(getattr(self, name))) for name in (*_NUMBERS, "interruptible", "home")
        }
        n = max((len(c) for c in columns.values() if len(c) != 1), default=1)
        if any(len(c) == 0 for c in columns.values()):
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
                column = column.astype(bool)
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
        """The same jobs with some columns changed: ``jobs.replace(interruptible=True)``."""
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
            ValueError: for a missing or unknown column, or a time without a start.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        columns: dict[str, Any] = {}
        for name in map(str, frame.columns):
            if name in ("arrival", "deadline"):
                if start is None:
                    raise ValueError(f"column {name!r} holds times: hand over start=traces.start, or give {name}_h")
                passed = pd.to_datetime(frame[name], utc=True) - pd.Timestamp(start)
                columns[f"{name}_h"] = (passed / pd.Timedelta(hours=1)).to_numpy()
            elif name in known:
                columns[name] = list(frame[name]) if name == "regions" else frame[name].to_numpy()
            else:
                raise ValueError(f"column {name!r} is not one of {sorted(known)}, arrival, deadline: rename or drop it")
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


def _numbers(name: str, column: np.ndarray) -> np.ndarray:
    _, least, allowed = _NUMBERS[name]
    try:
        values = column.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} holds {column[0].item()!r}: expected numbers [{name.rsplit('_', 1)[-1]}]") from error
    wrong = ~(values >= least) | ~(values > least) & (not allowed) | np.isinf(values)
    if name in ("slack_h", "deadline_h"):
        wrong &= ~np.isnan(values)
    if wrong.any():
        row = int(wrong.argmax())
        bound = f"{least:g} or more" if allowed else f"more than {least:g}"
        raise ValueError(
            f"row {row}: {name}={values[row]:g}: expected a finite number, {bound}; correct or drop that job"
        )
    values.setflags(write=False)
    return values
