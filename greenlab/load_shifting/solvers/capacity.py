"""When zones have a limit: which algorithm shares the room, and what is left over."""

from __future__ import annotations

from typing import Any

import numpy as np

from greenlab.core.grid.traces import Traces
from greenlab.load_shifting.pieces import Pieces, join
from greenlab.load_shifting.policies import Policy, Problem
from greenlab.load_shifting.solvers.flow import share_out
from greenlab.load_shifting.solvers.placement import _place

FEW, SHUFFLES = (
    60,
    24,
)  # so few jobs are also tried in so many random orders: a bad order costs most where there are few
ROUNDS = 4  # of taking out and putting back; later ones gained less than 0.01 %


def room(capacity: Any, traces: Traces) -> np.ndarray:
    """Read a capacity as mean power ``(Z, T)`` [kW].

    Raises:
        ValueError: for an unknown zone, a wrong shape, a negative or NaN value.
    """
    shape = traces.intensity_g_per_kwh.shape
    if isinstance(capacity, dict):
        for zone in capacity:
            traces.index(zone)
        capacity = [capacity.get(zone, np.inf) for zone in traces.zones]
    array = np.asarray(capacity, dtype=np.float64)
    if array.shape == (shape[0],):
        array = array[:, None]
    if array.shape not in ((), (shape[0], 1), shape):
        raise ValueError(
            f"capacity has shape {array.shape}: expected one number, a dict by zone, ({shape[0]},) or {shape} [kW]"
        )
    if np.isnan(array).any() or (array < 0).any():
        raise ValueError("capacity has a negative value or a NaN: expected kilowatts from 0 up; use inf for no limit")
    return np.broadcast_to(array, shape).copy()


def plan(problem: Problem, policy: Policy, free: np.ndarray, power_kw: np.ndarray) -> tuple[Pieces, np.ndarray]:
    """Share the room; return the pieces and which jobs found none.

    Jobs that may pause for free are shared out exactly (`flow`), those that may not, or pay for it, or for moving, by `placement`.
    With both kinds, those in one piece are placed first: the others fit around them.

    Raises:
        ValueError: for a policy that has no meaning under a limit.
    """
    p, name = problem, policy.name
    if name in ("threshold", "carbon_per_wait"):
        raise ValueError(
            f"policy={name!r} decides for each job alone and cannot share a capacity: "
            "use now, best_start, k_cheapest, best_region or joint"
        )
    n, anywhere = len(p.first), name in ("best_region", "joint")
    may = p.zones[p.zone_set] if anywhere else np.arange(len(free)) == p.home[:, None]
    pausing = p.interruptible & (name in ("k_cheapest", "joint"))
    flowing = pausing & (p.overhead <= 0) & (p.shortest <= 0) & (p.move_cost is None or not anywhere)
    placed, lost = _placed(p, np.flatnonzero(~flowing), may, pausing, free, power_kw, name, anywhere)
    if flowing.any():
        load = placed.load(power_kw, *free.shape)
        shared, missing = _shared(p, np.flatnonzero(flowing), may, np.maximum(free - load, 0.0), power_kw, anywhere)
        placed, lost = join(placed, shared), np.concatenate([lost, missing])
    return placed, np.sort(lost) if n else lost


def _shared(
    p: Problem, jobs: np.ndarray, may: np.ndarray, free: np.ndarray, power: np.ndarray, anywhere: bool
) -> tuple[Pieces, np.ndarray]:
    """Flow; the jobs that do not get all their work are left out and the rest is shared out again."""
    found, lost = [], []
    groups = [(jobs, np.arange(len(free)))] if anywhere else [
        (jobs[p.home[jobs] == z], np.array([z])) for z in np.unique(p.home[jobs])]  # fmt: skip
    for group, zones in groups:
        while True:
            job, z, step, share, missing = share_out(
                np.ascontiguousarray(p.signal.values[zones]), free[zones], np.ascontiguousarray(may[group][:, zones]),
                p.first[group], p.end[group], p.size[group], power[group],
            )  # fmt: skip
            if not missing.any():
                break
            lost.append(group[missing > 0])
            group = group[missing == 0]
        found.append(_as_pieces(group[job], zones[z], step, share))
    return join(*found), np.concatenate(lost) if lost else np.zeros(0, np.int64)


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
    n_zones, earliest = len(free), name == "now"
    none = np.zeros((len(jobs), n_zones))
    move_cost = p.move_cost[jobs] if p.move_cost is not None and anywhere else none
    steps = p.move_steps[jobs] if p.move_steps is not None and anywhere else none.astype(np.int64)
    first, end, size = p.first[jobs], p.end[jobs], p.size[jobs]
    orders = [end - first - size, end, -size * power[jobs]] if not earliest else [first]
    if len(jobs) <= FEW and not earliest:
        rng = np.random.default_rng(0)
        orders += [rng.permutation(len(jobs)) for _ in range(SHUFFLES)]
    best: tuple[int, float] | None = None
    for key in orders:
        order = np.argsort(key, kind="stable")
        cost, zone, chunks = _place(
            p.signal.values, free, order, np.ascontiguousarray(may[jobs]), first, end, size, power[jobs], pausing[jobs],
            p.overhead[jobs], p.shortest[jobs], move_cost, steps, p.kwh_per_step[jobs], earliest, 0 if earliest else ROUNDS,
        )  # fmt: skip
        score = int((zone < 0).sum()), float(cost[zone >= 0].sum())
        if best is None or score < best:
            best, kept = score, (zone, chunks)
    zone, chunks = kept
    row = np.repeat(np.arange(len(jobs)), [len(c) if z >= 0 else 0 for c, z in zip(chunks, zone, strict=True)])
    both = np.concatenate([c for c, z in zip(chunks, zone, strict=True) if z >= 0] or [np.zeros((0, 2))])
    return Pieces(jobs[row], zone[row], both[:, 0].copy(), both[:, 1].copy()), jobs[zone < 0]
