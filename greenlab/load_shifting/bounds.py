"""How good could any schedule be? The exact optimum without a capacity, and a linear program with one.

Two families: jobs that stay in one region (`optimum`), and jobs that may change region between steps (`optimum` with
``migrate``, `linear_program` with ``regions="any"``). The second has more choice, so its bound is a bound for the first
as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from greenlab.core import checks
from greenlab.core.grid.traces import Traces
from greenlab.load_shifting.jobs import Jobs
from greenlab.load_shifting.policies import Policy
from greenlab.load_shifting.schedule import Schedule
from greenlab.load_shifting.simulate import check_work, decision_problem, pue_by_zone, signal_values, simulate
from greenlab.load_shifting.solvers import capacity as limits
from greenlab.load_shifting.transfer import Moves, Transfer
from greenlab.load_shifting.windows import Windows


@dataclass(frozen=True)
class Bound:
    """What no schedule can beat.

    Attributes:
        feasible: whether all the jobs that fit their windows can be done at all.
        carbon_kg: least carbon [kg] (or least cost, by another signal [unit of the signal x kWh / 1000]); None if
            infeasible.
        n_variables: size of the linear program.
    """

    feasible: bool
    carbon_kg: float | None
    n_variables: int


def optimum(jobs: Jobs, traces: Traces, *, regions: str = "any", migrate: bool = False, **options: Any) -> Schedule:
    """The best that each job can get with the future known and room without limit: exact, for `simulate`'s rules.

    No schedule of `simulate` is better, under whatever limit, if it keeps to the same choice: each job in one region,
    or (``migrate``) in another one from step to step, as `Policy` with ``migrate`` has it. With ``migrate`` it is a
    bound for both.

    Args:
        jobs: the work; true durations are planned with, whatever was estimated.
        traces: the hours.
        regions: "home", or "any" that a job allows.
        migrate: whether jobs that may pause for free may change region between steps.
        options: ``pue``, ``transfer`` and ``signal`` of `simulate`.

    Raises:
        TypeError: as `simulate`.
        ValueError: as `simulate`, and for an option that would make it no bound (a capacity, a forecast).
    """
    known = ("pue", "transfer", "signal")
    for name in options:
        if name not in known:
            raise ValueError(
                f"{name}={options[name]!r}: the optimum takes {', '.join(known)}; it knows the future and no limit"
            )
    check_work(jobs, traces, options.get("transfer"))
    anywhere = _anywhere(regions)
    if checks.flag("migrate", migrate) and not anywhere:
        raise ValueError("migrate=True with regions='home': who stays at home cannot change region")
    policy = Policy("joint", migrate=migrate) if anywhere else Policy("k_cheapest")
    return simulate(jobs.replace(estimated_h=np.nan), traces, policy, **options)


def _anywhere(regions: str) -> bool:
    if not isinstance(regions, str):
        raise TypeError(f"regions={regions!r} is {type(regions).__name__}: expected 'home' or 'any'")
    if regions not in ("home", "any"):
        raise ValueError(f"regions={regions!r}: expected 'home' or 'any'")
    return regions == "any"


def linear_program(
    jobs: Jobs, traces: Traces, capacity: Any = None, *, regions: str = "home", pue: Any = None,
    transfer: Transfer | None = None, signal: Any = "average",
) -> Bound:  # fmt: skip
    """A lower bound with capacity, by HiGHS: every job may pause for free and run for parts of steps.

    ``x[j, z, t]`` is the mean power of job ``j`` in zone ``z`` and step ``t``: its sum is the job's work, no job
    exceeds its power in a step, no zone its capacity. With equal powers and whole steps that is a transportation
    problem, whose optimum is whole numbers. Jobs in one piece, checkpoints and shortest chunks can only cost more. With
    ``regions="any"`` a job may change zone from step to step; a transfer is charged by the share of the work that is
    done away from home.

    Args:
        jobs: the work; jobs that do not fit their windows are left out, as `simulate` lists them as missed.
        traces: the hours.
        capacity: as for `simulate`; infinity is no limit.
        regions: "home" or "any".
        pue: as for `simulate`.
        transfer: as for `simulate`.
        signal: as for `simulate`.

    Raises:
        TypeError: as `simulate`.
        ValueError: as `simulate`.
        RuntimeError: if HiGHS gives up.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array, vstack

    check_work(jobs, traces, transfer)
    anywhere = _anywhere(regions)
    w, decide = Windows.of(jobs, traces), signal_values(signal, traces)
    row, moves = np.flatnonzero(w.fits), None if transfer is None else Moves.of(transfer, jobs, w, traces)
    p = decision_problem(jobs, w, traces, row, decide, pue_by_zone(pue, traces), moves, decide)
    n, (n_zones, n_steps) = len(row), decide.shape
    if capacity is not None:
        limits.room(capacity, traces)
    if not n:
        return Bound(True, 0.0, 0)
    may = p.zones[p.zone_set] if anywhere else np.arange(n_zones) == p.home[:, None]
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
    if anywhere and n_zones > 1:
        node, which = np.unique(j * n_steps + t, return_inverse=True)
        limits_.append(coo_array((ones, (which, index)), shape=(len(node), len(j))))
        cap = np.zeros(len(node))
        cap[which] = most
        values.append(cap)
    work = coo_array((ones, (j, index)), shape=(n, len(j)))
    solved = linprog(
        cost * traces.step_h,
        A_eq=work.tocsr(),
        b_eq=p.size * power,
        bounds=np.stack([np.zeros(len(j)), most], axis=1),
        A_ub=vstack(limits_).tocsr() if limits_ else None,
        b_ub=np.concatenate(values) if limits_ else None,
        method="highs",
    )
    if solved.status not in (0, 2):
        raise RuntimeError(f"HiGHS gave up: {solved.message}")
    return Bound(solved.status == 0, float(solved.fun) / 1e3 if solved.status == 0 else None, len(j))
