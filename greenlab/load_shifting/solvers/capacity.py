"""Schedule jobs in zones with a limit: choose the algorithm that shares the room, and say which jobs do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from greenlab.core import checks
from greenlab.core.grid.traces import Traces
from greenlab.load_shifting import policies
from greenlab.load_shifting.pieces import Pieces, join
from greenlab.load_shifting.policies import Policy, Problem
from greenlab.load_shifting.solvers.flow import share_out
from greenlab.load_shifting.solvers.on_time import on_time
from greenlab.load_shifting.solvers.placement import _place
from greenlab.load_shifting.solvers.regions import choose_regions

SMALL_SET = (
    60  # up to so many jobs are also placed in random orders: the loss from a bad order is largest for small sets
)
RANDOM_ORDERS = 24
ROUNDS = 4  # of taking out and putting back; later ones gained less than 0.01 %


def room(capacity: Any, traces: Traces) -> np.ndarray:
    """Read a capacity as mean power ``(Z, T)`` [kW].

    Args:
        capacity: one number, a dict by zone, ``(Z,)`` or ``(Z, T)`` [kW]; infinity is no limit.
        traces: the hours.

    Raises:
        TypeError: if it holds anything but numbers.
        ValueError: for an unknown zone, a wrong shape, a negative or NaN value.
    """
    shape = traces.intensity_g_per_kwh.shape
    if isinstance(capacity, dict):
        for zone in capacity:
            traces.index(zone)
        capacity = [capacity.get(zone, np.inf) for zone in traces.zones]
    try:
        array = checks.numbers("capacity", capacity, low=0, infinite=True)
    except ValueError as error:
        remedy = (
            "capacity has a negative value or a NaN, or is empty: expected kilowatts from 0 up; use inf for no limit"
        )
        raise ValueError(f"{remedy} ({error})") from None
    if array.shape == (shape[0],):
        array = array[:, None]
    if array.shape not in ((), (shape[0], 1), shape):
        raise ValueError(
            f"capacity has shape {array.shape}: expected one number, a dict by zone, ({shape[0]},) or {shape} [kW]"
        )
    return np.broadcast_to(array, shape).copy()


def check_policy(policy: Policy) -> None:
    """Raise for a policy that has no meaning under a limit.

    Raises:
        ValueError: for "threshold" and "carbon_per_wait".
    """
    if policy.name in ("threshold", "carbon_per_wait"):
        raise ValueError(
            f"policy={policy.name!r} decides for each job alone and cannot share a capacity: "
            "use now, best_start, k_cheapest, best_region or joint"
        )


def plan(problem: Problem, policy: Policy, free: np.ndarray, power_kw: np.ndarray) -> tuple[Pieces, np.ndarray]:
    """Share the room; return the pieces and which jobs found none.

    If the schedule without a limit fits into the room, it is the answer: a limit that nobody reaches changes nothing.
    Otherwise jobs that may pause for free are shared out exactly (`flow`), after a region was chosen for each
    (`regions`); those that may not, or pay for it, are placed by `placement`. With both kinds, those in one piece are
    placed first: the others fit around them. Where not all can be on time, `on_time` chooses.

    Raises:
        ValueError: for a policy that has no meaning under a limit.
    """
    check_policy(policy)
    p, name = problem, policy.name
    n, anywhere = len(p.first), name in ("best_region", "joint")
    unlimited = policies.plan(p, policy)
    if (unlimited.load(power_kw, *free.shape) <= free + 1e-9 * np.max(power_kw, initial=0.0)).all():
        return unlimited, np.zeros(0, np.int64)
    may = p.zones[p.zone_set] if anywhere else np.arange(len(free)) == p.home[:, None]
    pausing = p.interruptible & (name in ("k_cheapest", "joint"))
    flowing = pausing & (p.overhead <= 0) & (p.shortest <= 0)
    region = np.zeros(n, np.int64)
    region[unlimited.job] = unlimited.zone

    def shared(base: Pieces, certain: np.ndarray) -> tuple[Pieces, np.ndarray]:
        rest = np.maximum(free - base.load(power_kw, *free.shape), 0.0)
        rows = np.flatnonzero(flowing)
        if policy.migrate:
            return _follow_the_sun(p, rows, may, rest, power_kw)
        return _shared(p, rows, may, rest, power_kw, region, certain, anywhere)

    placed, lost = _placed(p, np.flatnonzero(~flowing), may, pausing, free, power_kw, name, anywhere)
    if not flowing.any():
        return placed, lost
    more, missing = shared(placed, np.zeros(n, bool))
    found, lost = join(placed, more), np.concatenate([lost, missing])
    if len(lost) and not policy.migrate:  # never fewer on time than the same jobs in one piece
        solid, late = _placed(p, np.arange(n), may, pausing & ~flowing, free, power_kw, name, anywhere)
        if len(late) < len(lost):
            on = np.ones(n, bool)
            on[late] = False
            region[solid.job] = solid.zone
            base = _of(solid, ~flowing)
            more, missing = shared(base, on)
            found, lost = join(base, more), np.concatenate([late[~flowing[late]], missing])
    return found, np.sort(lost)


def _of(pieces: Pieces, wanted: np.ndarray) -> Pieces:
    """The stretches of some jobs."""
    at = wanted[pieces.job]
    return Pieces(pieces.job[at], pieces.zone[at], pieces.start[at], pieces.stop[at])


def _moves(p: Problem, jobs: np.ndarray, n_zones: int, anywhere: bool) -> tuple[np.ndarray, np.ndarray]:
    """Cost and steps of moving some jobs to each zone ``(m, Z)``."""
    none = np.zeros((len(jobs), n_zones))
    cost = p.move_cost[jobs] if p.move_cost is not None and anywhere else none
    steps = p.move_steps[jobs] if p.move_steps is not None and anywhere else none.astype(np.int64)
    return cost, steps


def _shared(
    p: Problem,
    jobs: np.ndarray,
    may: np.ndarray,
    free: np.ndarray,
    power: np.ndarray,
    region: np.ndarray,
    certain: np.ndarray,
    anywhere: bool,
) -> tuple[Pieces, np.ndarray]:
    """Jobs that may pause, each in one region: choose the regions, then share out each region's room.

    Jobs that cannot be on time in their region are tried in the others.
    """
    cost, steps = _moves(p, jobs, len(free), anywhere)
    first, end, size, kw = p.first[jobs], p.end[jobs], p.size[jobs], power[jobs]
    zone = region[jobs]
    if anywhere and not certain.any():
        zone = choose_regions(
            p.signal.values,
            free,
            may[jobs],
            p.home[jobs],
            zone,
            first,
            end,
            size,
            kw,
            cost,
            steps,
            p.kwh_per_step[jobs],
        )
    kept = np.ones(len(jobs), bool)

    def begin(rows: np.ndarray, z: int) -> np.ndarray:
        return first[rows] + steps[rows, z]

    done: dict[int, Pieces] = {}
    for z in np.unique(zone).tolist():
        rows = np.flatnonzero(zone == z)
        piece, missing = _in_zone(p, jobs[rows], free, z, begin(rows, z), end[rows], size[rows], kw[rows])
        if missing.any():
            sure = certain[jobs[rows]]
            kept[rows] = on_time(free[z], begin(rows, z), end[rows], size[rows], kw[rows], certain=sure)
        else:
            done[z] = piece
    if anywhere and not kept.all():
        for z in range(len(free)):
            may_move = ~kept & may[jobs, z] & (end - first - steps[:, z] >= size - 1e-7) & (zone != z)
            if not may_move.any():
                continue
            rows = np.flatnonzero(may_move | kept & (zone == z))
            here = on_time(free[z], begin(rows, z), end[rows], size[rows], kw[rows], certain=kept[rows])
            if here.sum() > kept[rows].sum():
                kept[rows], zone[rows[here]] = here, z
                done.pop(z, None)
    found = list(done.values())
    for z in np.unique(zone[kept]).tolist():
        if z in done:
            continue
        rows = np.flatnonzero(kept & (zone == z))
        piece, missing = _in_zone(p, jobs[rows], free, z, begin(rows, z), end[rows], size[rows], kw[rows])
        found.append(piece)
        kept[rows[missing]] = False
    return join(*found), jobs[~kept]


def _in_zone(
    p: Problem,
    jobs: np.ndarray,
    free: np.ndarray,
    z: int,
    first: np.ndarray,
    end: np.ndarray,
    size: np.ndarray,
    kw: np.ndarray,
) -> tuple[Pieces, np.ndarray]:
    """Share out one zone; return the pieces, and which jobs lack work."""
    job, _, step, share, lack = share_out(
        p.signal.values[z : z + 1], free[z : z + 1], np.ones((len(jobs), 1), bool), first, end, size, kw
    )
    return _as_pieces(jobs[job], np.full(len(job), z), step, share), lack > 0


def _follow_the_sun(
    p: Problem, jobs: np.ndarray, may: np.ndarray, free: np.ndarray, power: np.ndarray
) -> tuple[Pieces, np.ndarray]:
    """Jobs that may pause, and change region between steps: the flow over all regions at once.

    Of the jobs that lack work those that lack most are left out first, until the others are whole.
    """
    lost = []
    while True:
        job, z, step, share, lack = share_out(
            p.signal.values,
            free,
            np.ascontiguousarray(may[jobs]),
            p.first[jobs],
            p.end[jobs],
            p.size[jobs],
            power[jobs],
        )
        if not lack.any():
            break
        short = np.flatnonzero(lack > 0)
        drop = short[np.argsort(-lack[short] * power[jobs[short]], kind="stable")[: max(1, len(short) // 8)]]
        lost.append(jobs[drop])
        jobs = np.delete(jobs, drop)
    return _as_pieces(jobs[job], z, step, share), np.concatenate(lost) if lost else np.zeros(0, np.int64)


def _as_pieces(job: np.ndarray, zone: np.ndarray, step: np.ndarray, share: np.ndarray) -> Pieces:
    """Shares of steps as stretches: within a step one zone after the other, from its beginning."""
    if not len(job):
        return Pieces.none()
    same = np.concatenate([[False], (job[1:] == job[:-1]) & (step[1:] == step[:-1])])
    before = np.cumsum(share) - share
    start_of_step = np.maximum.accumulate(np.where(same, -1, np.arange(len(job))))
    start = step + before - before[start_of_step]
    stop = np.minimum(start + np.where(share > 1 - 1e-9, 1.0, share), step + 1.0)
    joins = np.concatenate(
        [[False], (job[1:] == job[:-1]) & (zone[1:] == zone[:-1]) & (np.abs(start[1:] - stop[:-1]) < 1e-9)]
    )
    begin = np.flatnonzero(~joins)
    last = np.append(begin[1:], len(job)) - 1
    return Pieces(job[begin], zone[begin], start[begin], stop[last])


def _placed(
    p: Problem,
    jobs: np.ndarray,
    may: np.ndarray,
    pausing: np.ndarray,
    free: np.ndarray,
    power: np.ndarray,
    name: str,
    anywhere: bool,
) -> tuple[Pieces, np.ndarray]:
    if not len(jobs):
        return Pieces.none(), jobs
    earliest = name in ("now", "best_region")  # these wait for nothing but room
    move_cost, steps = _moves(p, jobs, len(free), anywhere)
    first, end, size = p.first[jobs], p.end[jobs], p.size[jobs]
    orders = [end - first - size, end, -size * power[jobs]] if not earliest else [first]
    if len(jobs) <= SMALL_SET and not earliest:
        rng = np.random.default_rng(0)
        orders += [rng.permutation(len(jobs)) for _ in range(RANDOM_ORDERS)]
    best: tuple[int, float] | None = None
    for key in orders:
        order = np.argsort(key, kind="stable")
        cost, zone, chunks = _place(
            p.signal.values, free, order, np.ascontiguousarray(may[jobs]), p.home[jobs], first, end, size, power[jobs],
            pausing[jobs], p.overhead[jobs], p.shortest[jobs], move_cost, steps, p.kwh_per_step[jobs], earliest,
            0 if earliest else ROUNDS,
        )  # fmt: skip
        score = int((zone < 0).sum()), float(cost[zone >= 0].sum())
        if best is None or score < best:
            best, kept = score, (zone, chunks)
    zone, chunks = kept
    row = np.repeat(np.arange(len(jobs)), [len(c) if z >= 0 else 0 for c, z in zip(chunks, zone, strict=True)])
    both = np.concatenate([c for c, z in zip(chunks, zone, strict=True) if z >= 0] or [np.zeros((0, 2))])
    return Pieces(jobs[row], zone[row], both[:, 0].copy(), both[:, 1].copy()), jobs[zone < 0]
