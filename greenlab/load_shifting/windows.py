"""Windows: the steps in which each job may run, and why one that cannot run is missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core.grid.traces import Traces
from greenlab.load_shifting.jobs import Jobs

TINY = 1e-9  # of a step: 3 x 0.1 h must still fit into 0.3 h
SHORTEST = 1e-7  # of a step: a shorter run cannot be told from a rounding error


@dataclass(frozen=True)
class Windows:
    """Where each job may run, in steps of the traces: arrays of length ``n``.

    ``first`` is the first step it may use; ``size`` its run in steps, which may end within one; ``end`` the point by
    which it must be finished, never beyond the traces, and ``due`` that point wherever it lies; ``home`` a row of the
    traces; ``allowed`` ``(n_masks, Z)`` with ``mask`` the row of each job. ``fits`` says whether the run fits at all,
    ``reason`` why not.
    """

    first: np.ndarray
    size: np.ndarray
    end: np.ndarray
    due: np.ndarray
    home: np.ndarray
    allowed: np.ndarray
    mask: np.ndarray
    fits: np.ndarray
    reason: np.ndarray

    @classmethod
    def of(cls, jobs: Jobs, traces: Traces) -> Windows:
        """Lay the jobs over the steps of the traces.

        Raises:
            ValueError: for an arrival outside the traces, an unknown zone, or a run much shorter than a step.
        """
        step, n_steps = traces.step_h, traces.n_steps
        if (late := jobs.arrival_h >= n_steps * step).any():
            row = int(late.argmax())
            raise ValueError(
                f"row {row}: arrival_h={jobs.arrival_h[row]:g} is outside the traces, "
                f"which cover 0 to {n_steps * step:g} h from "
                f"{traces.start}: drop the job or load the next year"
            )
        if (short := jobs.duration_h < SHORTEST * step).any():
            row = int(short.argmax())
            raise ValueError(
                f"row {row}: duration_h={jobs.duration_h[row]:g} is less than a ten-millionth of a step of {step:g} h: "
                "give a longer run, or traces with shorter steps"
            )
        first = np.ceil(jobs.arrival_h / step - TINY).astype(np.int64)
        size = np.where(np.abs((s := jobs.duration_h / step) - (r := np.rint(s))) < TINY * np.maximum(r, 1), r, s)
        wanted = np.where(np.isnan(jobs.deadline_h), first + size + jobs.slack_h / step, jobs.deadline_h / step)
        wanted = np.where(np.abs(wanted - (r := np.rint(wanted))) < 1e-7, r, wanted)
        end = np.minimum(wanted, n_steps)
        fits = end - first - size >= -1e-7
        size = np.where(fits, np.minimum(size, end - first), size)  # rounding of a deadline is not a step more
        reason = np.where(
            fits, "", np.where(wanted - first - size < -1e-7, "longer than its window", "beyond the end of the traces")
        )
        home, (allowed, mask) = _homes(jobs, traces), _masks(jobs, traces)
        return cls(first, size, end, wanted, home, allowed, mask, fits, reason)


def _homes(jobs: Jobs, traces: Traces) -> np.ndarray:
    if not jobs.n or (jobs.home[0] is None and all(h is None for h in jobs.home)):
        return np.zeros(jobs.n, np.int64)
    codes, names = pd.factorize(jobs.home, use_na_sentinel=False)
    rows = []
    for code, name in enumerate(names):
        if name is not None and name not in traces.zones:
            row = int((codes == code).argmax())
            raise ValueError(f"row {row}: home={str(name)!r} is not in the traces; they have {', '.join(traces.zones)}")
        rows.append(0 if name is None else traces.index(name))
    return np.asarray(rows, np.int64)[codes]


def _masks(jobs: Jobs, traces: Traces) -> tuple[np.ndarray, np.ndarray]:
    """Return the different sets of allowed zones ``(n_masks, Z)``, home not yet added, and the row of each job."""
    each = (jobs.regions,) if jobs.regions is None or all(isinstance(r, str) for r in jobs.regions) else jobs.regions
    found: dict[Any, int] = {}
    mask = [found.setdefault(r, len(found)) for r in each]
    allowed = np.ones((max(len(found), 1), len(traces.zones)), bool)
    for names, code in found.items():
        for name in names or ():
            if name not in traces.zones:
                raise ValueError(
                    f"row {mask.index(code)}: regions has {name!r}, which is not in the traces; "
                    f"they have {', '.join(traces.zones)}"
                )
        if names is not None:
            allowed[code] = [zone in names for zone in traces.zones]
    return allowed, np.broadcast_to(np.asarray(mask, np.int64), (jobs.n,)) if len(mask) == 1 else np.asarray(
        mask, np.int64
    )
