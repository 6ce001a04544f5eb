"""How good could any schedule be? The exact optimum without a capacity, and a linear program with one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from greenlab.core.grid.traces import Traces
from greenlab.load_shifting.jobs import Jobs
from greenlab.load_shifting.schedule import Schedule
from greenlab.load_shifting.simulate import by_zone, decision_problem, signal_values, simulate
from greenlab.load_shifting.solvers import capacity as limits
from greenlab.load_shifting.transfer import Moves, Transfer
from greenlab.load_shifting.windows import Windows


@dataclass(frozen=True)
class Bound:
    """What no schedule can beat.

    Attributes:
        feasible: whether all the jobs that fit their windows can be done at all.
        carbon_kg: least carbon [kg] (or least cost, by another signal [unit of the signal x kWh / 1000]); None if infeasible.
        n_variables: size of the linear program.
    """

    feasible: bool
    carbon_kg: float | None
    n_variables: int


def optimum(jobs: Jobs, traces: Traces, *, regions: str = "any", **options: Any) -> Schedule:
    """The best that each job can get with the future known and room without limit: exact, for `simulate`'s rules.

    Args:
        jobs: the work.
        traces: the hours.
        regions: "home", or "any" that a job allows.
        options: ``pue``, ``transfer`` and ``signal`` of `simulate`.
    """
    return simulate(jobs, traces, "joint" if _anywhere(regions) else "k_cheapest", **options)


def _anywhere(regions: str) -> bool:
    if regions not in ("home", "any"):
        raise ValueError(f"regions={regions!r}: expected 'home' or 'any'")
    return regions == "any"


def linear_program(
    jobs: Jobs, traces: Traces, capacity: Any = None, *, regions: str = "home", pue: Any = None,
    transfer: Transfer | None = None, signal: Any = "average",
) -> Bound:  # fmt: skip
    """A lower bound with capacity, by HiGHS: every job may pause for free and run for parts of steps.

    ``x[j, z, t]`` is the mean power of job ``j`` in zone ``z`` and step ``t``: its sum is the job's work, no job exceeds its
    power in a step, no zone its capacity. With equal powers and whole steps that is a transportation problem, whose
    optimum is whole numbers. Jobs in one piece, checkpoints and shortest chunks can only cost more. With ``regions="any"`` a job
    may change zone from step to step; a transfer is charged by the share of the work that is done away from home.

    Args:
        jobs: the work; jobs that do not fit their windows are left out, as `simulate` lists them as missed.
        traces: the hours.
        capacity: as for `simulate`.
        regions: "home" or "any".
        pue: as for `simulate`.
        transfer: as for `simulate`.
        signal: as for `simulate`.

    Raises:
        ValueError: as `simulate`.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array, vstack

    w, decide = Windows.of(jobs, traces), signal_values(signal, traces)
    row, moves = np.flatnonzero(w.fits), None if transfer is None else Moves.of(transfer, jobs, w, traces)
    p = decision_problem(jobs, w, traces, row, decide, by_zone("pue", pue, traces, 1.0), moves, decide)
    n, (n_zones, n_steps) = len(row), decide.shape
    if not n:
        return Bound(True, 0.0, 0)
    may = p.zones[p.zone_set] if _anywhere(regions) else np.arange(n_zones) == p.home[:, None]
    j, z = np.nonzero(may)
    begin = p.first[j] + (p.move_steps[j, z] if p.move_steps is not None else 0)
    width = np.maximum(np.ceil(p.end[j] - 1e-9).astype(np.int64) - begin, 0)
    owner = np.repeat(np.arange(len(j)), width)
    t = np.arange(len(owner)) - np.repeat(np.cumsum(width) - width, width) + begin[owner]
    j, z = j[owner], z[owner]
    power = p.kwh_per_step / traces.step_h
    cost = p.signal.values[z, t]
    if p.move_cost is not None:
        cost = cost + p.move_cost[j, z] / (p.size * p.kwh_per_step)[j]
    most = power[j] * np.minimum(1.0, p.end[j] - t)
    index, ones = np.arange(len(j)), np.ones(len(j))
    limits_: list[Any] = []
    values: list[np.ndarray] = []
    if capacity is not None:
        free = limits.room(capacity, traces).ravel()
        used, slot = np.unique(z * n_steps + t, return_inverse=True)
        keep = np.isfinite(free[used])
        number = np.cumsum(keep) - 1
        at = keep[slot]
        limits_.append(coo_array((ones[at], (number[slot[at]], index[at])), shape=(int(keep.sum()), len(j))))
        values.append(free[used][keep])
    if _anywhere(regions) and n_zones > 1:
        node, which = np.unique(j * n_steps + t, return_inverse=True)
        limits_.append(coo_array((ones, (which, index)), shape=(len(node), len(j))))
        cap = np.zeros(len(node))
        cap[which] = most
        values.append(cap)
    work = coo_array((ones, (j, index)), shape=(n, len(j)))
    solved = linprog(
        cost * traces.step_h, A_eq=work.tocsr(), b_eq=p.size * power, bounds=np.stack([np.zeros(len(j)), most], axis=1),
        A_ub=vstack(limits_).tocsr() if limits_ else None, b_ub=np.concatenate(values) if limits_ else None, method="highs",
    )  # fmt: skip
    if solved.status not in (0, 2):
        raise RuntimeError(f"HiGHS gave up: {solved.message}")
    return Bound(solved.status == 0, float(solved.fun) / 1e3 if solved.status == 0 else None, len(j))
