"""simulate: jobs, traces and a policy in; a `Schedule` out. Decisions use the forecast, the accounts use the truth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from greenlab.core.grid.traces import Traces
from greenlab.load_shifting.forecast import forecast_values, persistence
from greenlab.load_shifting.jobs import Jobs
from greenlab.load_shifting.pieces import Pieces, join
from greenlab.load_shifting.policies import Policy, Problem, plan
from greenlab.load_shifting.schedule import Schedule
from greenlab.load_shifting.solvers import capacity as limits
from greenlab.load_shifting.solvers.cumulative import Signal
from greenlab.load_shifting.transfer import Moves, Transfer
from greenlab.load_shifting.windows import Windows

SIGNALS = ("average", "marginal", "curtailment", "price")
AT_A_TIME = 1 << 17  # forecast values held at once when each job has its own: some fit into the cache


def simulate(
    jobs: Jobs,
    traces: Traces,
    policy: str | Policy,
    *,
    capacity: Any = None,
    pue: Any = None,
    transfer: Transfer | None = None,
    forecast: Any = None,
    signal: Any = "average",
) -> Schedule:
    """Run a policy over the traces.

    Args:
        jobs: the work.
        traces: the hours that really came.
        policy: a name of `POLICIES`, or a `Policy` with settings.
        capacity: mean power of computing that a zone can give in a step [kW]: None, one number, a dict by zone, ``(Z,)`` or
            ``(Z, T)``. Jobs then share it; those that find no room are listed as missed.
        pue: power usage effectiveness: None (1.0), one number, a dict by zone or ``(Z,)``.
        transfer: energy and delay of moving a job's data away from home.
        forecast: what the policy believes: None or "perfect"; "persistence" (the day before the job arrived, repeated);
            `AR1`; or values ``(Z, T)``.
        signal: what the policy looks at: "average", "marginal", "curtailment" (the share of a kWh that is not curtailed
            otherwise), "price", or values per kWh ``(Z, T)``. The accounts always show carbon by the average.

    Raises:
        ValueError: for an arrival outside the traces, an unknown zone or policy, a signal that the traces lack, a shape.

    >>> traces = Traces(("DE",), "2020-01-01", 1.0, [[400.0, 300, 100, 200, 300]])
    >>> jobs = Jobs(arrival_h=0, duration_h=2, slack_h=3)
    >>> schedule = simulate(jobs, traces, "best_start")
    >>> float(schedule.start_h[0]), float(schedule.carbon_g[0]), round(schedule.metrics()["saved_pct"], 1)
    (2.0, 300.0, 57.1)
    """
    policy = policy if isinstance(policy, Policy) else Policy(policy)
    windows = Windows.of(jobs, traces)
    factor = by_zone("pue", pue, traces, 1.0)
    if (factor < 1).any():
        raise ValueError(f"pue={pue!r}: expected 1.0 or more; it is total energy over computing energy")
    moves = None if transfer is None else Moves.of(transfer, jobs, windows, traces)
    decide = signal_values(signal, traces)
    believed = (
        decide if isinstance(forecast, str) and forecast == "persistence" else forecast_values(forecast, decide, traces)
    )

    row = np.flatnonzero(windows.fits)
    problem = decision_problem(jobs, windows, traces, row, believed, factor, moves, decide)
    reason = windows.reason.astype(object)
    if capacity is not None:
        room = limits.room(capacity, traces)
        if believed is decide and isinstance(forecast, str) and forecast == "persistence":
            steps = np.arange(traces.n_steps)
            shifted = persistence(
                decide, steps, np.zeros_like(steps), traces.step_h
            )  # a planner who looks again every step
            problem = decision_problem(jobs, windows, traces, row, shifted, factor, moves, decide)
        pieces, lost = limits.plan(problem, policy, room, jobs.power_kw[row])
        reason[row[lost]] = "no capacity before its deadline"
        pieces = Pieces(row[pieces.job], pieces.zone, pieces.start, pieces.stop)
    elif isinstance(forecast, str) and forecast == "persistence" and policy.name != "now":
        pieces = _plan_from_yesterday(problem, policy, decide * factor[:, None], traces, row)
    else:
        pieces = plan(problem, policy)
        if len(row) < jobs.n:
            pieces = Pieces(row[pieces.job], pieces.zone, pieces.start, pieces.stop)
    truth = Signal.of(traces.intensity_g_per_kwh)
    return Schedule(jobs, traces, policy.name, pieces, windows, reason.astype(str), factor, moves, truth)


def signal_values(signal: Any, traces: Traces) -> np.ndarray:
    """Cost per kWh ``(Z, T)`` by which a policy decides."""
    if not isinstance(signal, str):
        values = np.asarray(signal, dtype=np.float64)
        if values.shape != traces.intensity_g_per_kwh.shape or not np.isfinite(values).all():
            raise ValueError(
                f"signal has shape {values.shape}: expected finite values of shape {traces.intensity_g_per_kwh.shape}"
            )
        return values
    if signal not in SIGNALS:
        raise ValueError(f"signal={signal!r}: expected one of {', '.join(SIGNALS)}, or values (zones, steps)")
    if signal == "average":
        return traces.intensity_g_per_kwh
    name = {"marginal": "marginal_g_per_kwh", "curtailment": "curtailed_share", "price": "price_per_kwh"}[signal]
    values = getattr(traces, name)
    if values is None:
        raise ValueError(f"signal={signal!r} needs {name}, which these traces do not have: hand it over to Traces")
    return 1.0 - values if signal == "curtailment" else values


def by_zone(name: str, value: Any, traces: Traces, default: float) -> np.ndarray:
    """Read one number for each zone ``(Z,)`` from a number, a dict or an array."""
    if isinstance(value, dict):
        for zone in value:
            traces.index(zone)
        value = [value.get(zone, default) for zone in traces.zones]
    array = np.asarray(default if value is None else value, dtype=np.float64)
    if array.shape not in ((), (len(traces.zones),)) or not np.isfinite(array).all():
        raise ValueError(f"{name}={value!r}: expected one number, a dict by zone, or {len(traces.zones)} numbers")
    return np.broadcast_to(array, (len(traces.zones),))


def decision_problem(
    jobs: Jobs,
    w: Windows,
    traces: Traces,
    row: np.ndarray,
    believed: np.ndarray,
    factor: np.ndarray,
    moves: Moves | None,
    truth: np.ndarray,
) -> Problem:
    """What the policy sees of the jobs in ``row``."""
    whole = len(row) == jobs.n
    pick = (lambda a: a) if whole else (lambda a: a[row])
    home, mask = pick(w.home), pick(w.mask)
    inside = w.allowed[mask, home] if not w.allowed.all() else np.ones(len(home), bool)
    # home is always allowed: a set of zones that lacks it is another set for each such home
    key = mask * (len(traces.zones) + 1) + np.where(inside, 0, home + 1)
    if (key[:1] == key).all():
        found, zone_set = key[:1], np.zeros(len(key), np.int64)
    else:
        found, zone_set = np.unique(key, return_inverse=True)
    zones = w.allowed[found // (len(traces.zones) + 1)].copy()
    for code, extra in enumerate(found % (len(traces.zones) + 1)):
        if extra:
            zones[code, extra - 1] = True
    step = traces.step_h
    return Problem(
        Signal.of(believed * factor[:, None], exact=True), pick(w.first), pick(w.end), pick(w.size), home, zones, zone_set,
        pick(jobs.interruptible), pick(jobs.checkpoint_h) / step, pick(jobs.min_chunk_h) / step, pick(jobs.power_kw) * step,
        None if moves is None else pick(moves.cost(truth, w)), None if moves is None else pick(moves.steps),
    )  # fmt: skip


def _plan_from_yesterday(
    problem: Problem, policy: Policy, truth: np.ndarray, traces: Traces, row: np.ndarray
) -> Pieces:
    """Plan every job on the forecast issued when it arrives: forecasts stand one after the other on a time axis of their own."""
    p, found = problem, []
    issued, which = np.unique(p.first, return_inverse=True)
    width = np.zeros(len(issued), np.int64)  # how far ahead the jobs of each issue look
    np.maximum.at(width, which, np.ceil(p.end - 1e-9).astype(np.int64) - p.first)
    batch = np.cumsum(width) * len(truth) // AT_A_TIME
    for number in np.unique(batch):
        chosen = np.flatnonzero(batch == number)
        begin = np.zeros(len(issued), np.int64)
        begin[chosen] = np.cumsum(width[chosen]) - width[chosen]
        issue = np.repeat(chosen, width[chosen])
        block = persistence(truth, issued[issue], np.arange(len(issue)) - begin[issue], traces.step_h)
        part = np.flatnonzero(batch[which] == number)
        first = begin[which[part]]
        names = (
            "size",
            "home",
            "zone_set",
            "interruptible",
            "overhead",
            "shortest",
            "kwh_per_step",
            "move_cost",
            "move_steps",
        )
        own: dict[str, Any] = {name: None if (v := getattr(p, name)) is None else v[part] for name in names}
        own |= {"signal": Signal.of(block, exact=True), "first": first, "end": p.end[part] - p.first[part] + first}
        found.append(plan(replace(p, **own), policy).shifted(p.first[part] - first, row[part]))
    return join(*found)
