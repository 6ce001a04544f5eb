"""Run jobs over traces with a policy: gives a `Schedule`. Decisions use the forecast, results the true values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from greenlab.core import checks
from greenlab.core.grid.traces import Traces
from greenlab.load_shifting.forecast import LARGEST, forecast_values, persistence
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

    A policy means the same with and without a capacity: a limit that nobody reaches changes nothing, and no limit can
    lower what `bounds.optimum` says.

    Args:
        jobs: the work. Where ``jobs.estimated_h`` is given, the policy plans with the estimate and the run takes its
            true time: a run in one piece goes on after the planned end, one that pauses goes on after its last planned
            stretch, and a shorter one stops early. It may then end after its deadline: ``metrics()["late"]`` counts
            these.
        traces: the hours that really came.
        policy: a name of `POLICIES`, or a `Policy` with settings.
        capacity: mean power of computing that a zone can give in a step [kW]: None, one number, a dict by zone,
            ``(Z,)`` or ``(Z, T)``; infinity is no limit. Jobs then share it; those that find no room are listed as
            missed. The last step of a run needs room only for the part that is used. With "now" and "best_region" jobs
            queue in the order of their arrival, and wait for nothing but room.
        pue: power usage effectiveness, 1 or more: None (1.0), one number, a dict by zone or ``(Z,)``.
        transfer: energy and delay of moving a job's data away from home.
        forecast: what the policy believes: None or "perfect"; "persistence" (the day before the job arrived, repeated);
            `AR1`; values ``(Z, T)`` of the signal; or `Traces` of the same zones and steps, of which the signal is
            taken. With "persistence" each job is planned when it arrives, on the forecast of that moment and in the
            room that those who came before have left, so that nothing from after its arrival is used.
        signal: what the policy looks at: "average", "marginal", "curtailment" (the share of a kWh that is not curtailed
            otherwise), "price", or values per kWh ``(Z, T)``. The accounts always show carbon by the average.

    Raises:
        TypeError: if an argument has another type.
        ValueError: for an arrival outside the traces, an unknown zone or policy, a signal that the traces lack, a
            shape, a value out of range, or a capacity together with estimated durations.

    >>> traces = Traces(("DE",), "2020-01-01", 1.0, [[400.0, 300, 100, 200, 300]])
    >>> jobs = Jobs(arrival_h=0, duration_h=2, slack_h=3)
    >>> schedule = simulate(jobs, traces, "best_start")
    >>> float(schedule.start_h[0]), float(schedule.carbon_g[0]), round(schedule.metrics()["saved_pct"], 1)
    (2.0, 300.0, 57.1)
    """
    check_work(jobs, traces, transfer)
    policy = policy if isinstance(policy, Policy) else Policy(policy)
    windows = Windows.of(jobs, traces)
    factor = pue_by_zone(pue, traces)
    if policy.migrate and transfer is not None:
        raise ValueError(
            f"transfer={transfer!r} with migrate=True: a transfer is charged once for a job; leave one of them out"
        )
    moves = None if transfer is None else Moves.of(transfer, jobs, windows, traces)
    decide = signal_values(signal, traces)
    yesterday = isinstance(forecast, str) and forecast == "persistence"
    believed = decide if yesterday else forecast_values(forecast, decide, traces, signal)
    room = None if capacity is None else limits.room(capacity, traces)
    if room is not None and np.isinf(room).all():
        room = None
    guessed = policy.name != "now" and bool(np.isfinite(jobs.estimated_h).any())
    if guessed and room is not None:
        raise ValueError(
            "capacity with estimated_h: the room that a run needs is known only when it has run; "
            "leave capacity out, or plan on the true durations"
        )

    row = np.flatnonzero(windows.fits)
    problem = decision_problem(jobs, windows, traces, row, believed, factor, moves, decide)
    true = problem.size
    if guessed:
        problem = planned(problem, jobs, traces, row)
    lost = np.zeros(0, np.int64)
    if yesterday and policy.name != "now":
        pieces = _plan_from_yesterday(problem, policy, decide * factor[:, None], traces)
        if room is not None:
            pieces, lost = _share_from_yesterday(problem, policy, decide * factor[:, None], traces, pieces, room,
                                                 jobs.power_kw[row])  # fmt: skip
    elif room is not None:
        pieces, lost = limits.plan(problem, policy, room, jobs.power_kw[row])
    else:
        pieces = plan(problem, policy)
    reason = windows.reason.astype(object)
    reason[row[lost]] = "no capacity before its deadline"
    if guessed:
        pieces = pieces.running(problem.size, true, problem.overhead)
        beyond = np.unique(pieces.job[pieces.stop > traces.n_steps + 1e-7])
        reason[row[beyond]] = "still running at the end of the traces"
        pieces = pieces.without(beyond)
    if len(row) < jobs.n:
        pieces = Pieces(row[pieces.job], pieces.zone, pieces.start, pieces.stop)
    truth = Signal.of(traces.intensity_g_per_kwh)
    return Schedule(jobs, traces, policy.name, pieces, windows, reason.astype(str), factor, moves, truth)


def check_work(jobs: Any, traces: Any, transfer: Any) -> None:
    """Raise if these are no jobs, traces and transfer.

    Raises:
        TypeError: naming the argument and what it is.
    """
    for name, value, kind in (("jobs", jobs, Jobs), ("traces", traces, Traces)):
        if not isinstance(value, kind):
            raise TypeError(f"{name}={str(value)[:60]} is {type(value).__name__}: expected {kind.__name__}(...)")
    if transfer is not None and not isinstance(transfer, Transfer):
        raise TypeError(f"transfer={transfer!r} is {type(transfer).__name__}: expected Transfer(...) or None")


def signal_values(signal: Any, traces: Traces) -> np.ndarray:
    """Cost per kWh ``(Z, T)`` by which a policy decides.

    Args:
        signal: a name of `SIGNALS`, or values ``(Z, T)``.
        traces: the hours.

    Raises:
        TypeError: if it holds anything but numbers.
        ValueError: for an unknown name, a signal that the traces lack, a shape, or values that are not finite or beyond
            1e12.
    """
    shape = traces.intensity_g_per_kwh.shape
    if not isinstance(signal, str):
        return _limited("signal", checks.numbers("signal", signal, remedy=f"a name, or values of shape {shape}"), shape)
    if signal not in SIGNALS:
        raise ValueError(f"signal={signal!r}: expected one of {', '.join(SIGNALS)}, or values (zones, steps)")
    names = {"average": "intensity_g_per_kwh", "marginal": "marginal_g_per_kwh", "curtailment": "curtailed_share",
             "price": "price_per_kwh"}  # fmt: skip
    values = getattr(traces, names[signal])
    if values is None:
        raise ValueError(
            f"signal={signal!r} needs {names[signal]}, which these traces do not have: hand it over to Traces"
        )
    return 1.0 - values if signal == "curtailment" else _limited(names[signal], values, shape)


def _limited(name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The values, if their shape is right and sums of them cannot overflow."""
    if values.shape != shape:
        raise ValueError(f"{name} has shape {values.shape}: expected finite values of shape {shape}")
    if (np.abs(values) > LARGEST).any():
        raise ValueError(
            f"{name} holds {values.flat[np.abs(values).argmax()]:g}: expected values from {-LARGEST:g} to {LARGEST:g}"
        )
    return values


def by_zone(name: str, value: Any, traces: Traces, default: float) -> np.ndarray:
    """Read one number for each zone ``(Z,)``.

    Args:
        name: the argument's name, for the message.
        value: None, a number, a dict by zone, or ``(Z,)``.
        traces: the hours.
        default: for None, and for zones that a dict lacks.

    Raises:
        TypeError: if it holds anything but numbers.
        ValueError: for an unknown zone, a wrong shape, or a value that is not finite.
    """
    if isinstance(value, dict):
        for zone in value:
            traces.index(zone)
        value = [value.get(zone, default) for zone in traces.zones]
    remedy = f"expected one number, a dict by zone, or {len(traces.zones)} numbers"
    array = checks.numbers(name, default if value is None else value, remedy=remedy)
    if array.shape not in ((), (len(traces.zones),)):
        raise ValueError(f"{name}={value!r}: {remedy}")
    return np.broadcast_to(array, (len(traces.zones),))


def pue_by_zone(pue: Any, traces: Traces) -> np.ndarray:
    """Read the power usage effectiveness of each zone ``(Z,)``.

    Raises:
        TypeError: if it holds anything but numbers.
        ValueError: for an unknown zone, a wrong shape, or a value outside 1 to 1000.
    """
    factor = by_zone("pue", pue, traces, 1.0)
    if (factor < 1).any() or (factor > 1000).any():
        raise ValueError(
            f"pue={pue!r}: expected 1.0 or more (and at most 1000); it is total energy over computing energy"
        )
    return factor


def planned(problem: Problem, jobs: Jobs, traces: Traces, row: np.ndarray) -> Problem:
    """The problem as the planner sees it: estimated durations, and windows that go with them.

    A job with a slack may start as late as with its true duration. A job with a deadline is planned to end by it if its
    estimate leaves time for that, else it starts at once.
    """
    estimate = jobs.estimated_h[row] / traces.step_h
    size = np.where(np.isnan(estimate), problem.size, estimate)
    end = np.where(np.isnan(jobs.deadline_h[row]), problem.end - problem.size + size, problem.end)
    end = np.minimum(end, traces.n_steps)
    return replace(problem, size=np.minimum(size, end - problem.first), end=end)


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
        Signal.of(believed * factor[:, None], exact=True),
        pick(w.first),
        pick(w.end),
        pick(w.size),
        home,
        zones,
        zone_set,
        pick(jobs.interruptible),
        pick(jobs.checkpoint_h) / step,
        pick(jobs.min_chunk_h) / step,
        pick(jobs.power_kw) * step,
        None if moves is None else pick(moves.cost(truth, w)),
        None if moves is None else pick(moves.steps),
    )


def _plan_from_yesterday(problem: Problem, policy: Policy, truth: np.ndarray, traces: Traces) -> Pieces:
    """Plan every job on the forecast issued when it arrives.

    The forecasts stand one after the other on one long time axis.
    """
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
        found.append(plan(_some(p, part, block, first), policy).shifted(p.first[part] - first, part))
    return join(*found)


def _share_from_yesterday(
    problem: Problem,
    policy: Policy,
    truth: np.ndarray,
    traces: Traces,
    unlimited: Pieces,
    room: np.ndarray,
    power: np.ndarray,
) -> tuple[Pieces, np.ndarray]:
    """The same under a limit: who arrives in a step is planned in the room that those who came before have left."""
    p, left = problem, room.copy()
    limits.check_policy(policy)
    if (unlimited.load(power, *room.shape) <= room + 1e-9 * np.max(power, initial=0.0)).all():
        return unlimited, np.zeros(0, np.int64)
    found, lost = [], []
    for issued in np.unique(p.first):
        part = np.flatnonzero(p.first == issued)
        width = int(np.ceil(p.end[part] - 1e-9).max()) - issued
        block = persistence(truth, np.full(width, issued), np.arange(width), traces.step_h)
        some = _some(p, part, block, np.zeros(len(part), np.int64))
        pieces, missing = limits.plan(some, policy, np.maximum(left[:, issued : issued + width], 0.0), power[part])
        left[:, issued : issued + width] -= pieces.load(power[part], len(room), width)
        found.append(pieces.shifted(np.full(len(part), issued), part))
        lost.append(part[missing])
    return join(*found), np.sort(np.concatenate(lost))


def _some(p: Problem, jobs: np.ndarray, block: np.ndarray, first: np.ndarray) -> Problem:
    """Some jobs over a signal of their own, in which they begin at ``first``."""
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
    own: dict[str, Any] = {name: None if (v := getattr(p, name)) is None else v[jobs] for name in names}
    own |= {"signal": Signal.of(block, exact=True), "first": first, "end": p.end[jobs] - p.first[jobs] + first}
    return replace(p, **own)
