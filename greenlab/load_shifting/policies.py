"""Policies: each chooses where and when each job runs, from the forecast of the coming hours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from greenlab.core import checks
from greenlab.load_shifting.pieces import Pieces, join
from greenlab.load_shifting.solvers import chunks, waiting
from greenlab.load_shifting.solvers.contiguous import best_start
from greenlab.load_shifting.solvers.cumulative import Signal
from greenlab.load_shifting.solvers.interruptible import CheapestSteps

POLICIES = {
    "now": "at once, at home: the baseline, which never shifts",
    "best_start": "at home, in one piece, at the start with the least carbon",
    "k_cheapest": "at home; jobs that may pause run in the cleanest steps of their window, the others as best_start",
    "threshold": "at home, in the first step at or below a quantile of its window "
    "(pausing for free: in all such steps)",
    "carbon_per_wait": "at home, in one piece, with the most carbon saved per hour until completion",
    "best_region": "at once, in the region with the least carbon over the run",
    "joint": "region and time together; jobs that may pause run in the cleanest steps of one region, "
    "with a capacity as well",
}


@dataclass(frozen=True)
class Policy:
    """A policy by name, with the settings of the threshold.

    Attributes:
        name: one of `POLICIES`.
        quantile: of the signal over the job's window, 0 to 1, for "threshold".
        limit: a fixed value of the signal per kWh instead of the quantile; below 0 for a price, which may be negative.
        migrate: with "joint", whether jobs that may pause for free may change region between any two steps, at no cost
            ("follow the sun"). Otherwise each job stays in one region.

    Raises:
        TypeError: if ``name`` is no text, ``quantile`` or ``limit`` no number, or ``migrate`` no boolean.
        ValueError: for an unknown name, a quantile outside 0 to 1, a limit that is not finite, or ``migrate`` with
            another policy.
    """

    name: str
    quantile: float = 0.3
    limit: float | None = None
    migrate: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(
                f"policy name={self.name!r} is {type(self.name).__name__}: expected one of {', '.join(POLICIES)}"
            )
        if self.name not in POLICIES:
            raise ValueError(f"policy name={self.name!r}: expected one of {', '.join(POLICIES)}")
        checks.number("quantile", self.quantile)
        if not 0 <= self.quantile <= 1:
            raise ValueError(
                f"quantile={self.quantile!r}: expected 0 to 1; 0.3 runs in the cleanest third of the window"
            )
        if self.limit is not None:
            checks.number("limit", self.limit, remedy="a value of the signal per kWh, or None for the quantile")
        if checks.flag("migrate", self.migrate) and self.name != "joint":
            raise ValueError(f"migrate=True with policy={self.name!r}: only 'joint' chooses regions for its steps")


@dataclass(frozen=True)
class Problem:
    """What a policy sees: one entry for each of ``n`` jobs that fit their windows; times in steps.

    ``signal`` is the cost per kWh of computing ``(Z, T)``, overhead of the data centre included. ``zones`` ``(n_sets,
    Z)`` are the sets of zones that occur, home included, and ``zone_set`` the set of each job. ``move_cost`` and
    ``move_steps`` ``(n, Z)`` are None when moving is free. ``kwh_per_step`` is what a job draws in a step.
    """

    signal: Signal
    first: np.ndarray
    end: np.ndarray
    size: np.ndarray
    home: np.ndarray
    zones: np.ndarray
    zone_set: np.ndarray
    interruptible: np.ndarray
    overhead: np.ndarray
    shortest: np.ndarray
    kwh_per_step: np.ndarray
    move_cost: np.ndarray | None = None
    move_steps: np.ndarray | None = None

    @property
    def last(self) -> np.ndarray:
        """Last start of a run in one piece."""
        return np.floor(self.end - self.size + 1e-9).astype(np.int64)

    def may_run_in(self, zone: int) -> np.ndarray:
        """Which jobs may run in a zone."""
        return self.zones[self.zone_set, zone]


def plan(problem: Problem, policy: Policy) -> Pieces:
    """Decide for every job on its own, as if the others left it all the room it wants."""
    p, name = problem, policy.name
    everyone = np.arange(len(p.first))
    may_pause = p.interruptible & (name in ("k_cheapest", "joint", "threshold"))
    if name == "threshold":  # it does not weigh what a pause costs
        may_pause &= (p.overhead <= 0) & (p.shortest <= 0)
    solid, pausing = np.flatnonzero(~may_pause), np.flatnonzero(may_pause)
    if name == "now":
        return Pieces.solid(everyone, p.home, p.first, p.size)
    if name == "carbon_per_wait":
        return Pieces.solid(
            everyone, p.home, waiting.carbon_per_wait(p.signal, p.home, p.first, p.last, p.size), p.size
        )
    if name == "threshold":
        limit = _limits(p, policy)
        start = waiting.first_below(p.signal.values, p.home[solid], p.first[solid], p.last[solid], limit[solid])
        job, begin, stop = waiting.run_below(p.signal.values, p.home, pausing, p.first, p.end, p.size, limit)
        return join(Pieces.solid(solid, p.home[solid], start, p.size[solid]), Pieces(job, p.home[job], begin, stop))
    anywhere = name in ("best_region", "joint")
    if policy.migrate:
        free = (p.overhead[pausing] <= 0) & (p.shortest[pausing] <= 0)
        found = [_follow_the_sun(p, pausing[free]), _with_pauses(p, pausing[~free], anywhere)]
    else:
        found = [_with_pauses(p, pausing, anywhere)]
    return join(_in_one_piece(p, solid, anywhere, name == "best_region"), *found)


def _limits(p: Problem, policy: Policy) -> np.ndarray:
    """The value of the signal at or below which each job runs."""
    if policy.limit is not None:
        return np.full(len(p.first), float(policy.limit))
    limit, end = np.empty(len(p.first)), np.ceil(p.end - 1e-9).astype(np.int64)
    for zone in np.unique(p.home):
        jobs = np.flatnonzero(p.home == zone)
        k = np.floor(policy.quantile * (end[jobs] - p.first[jobs] - 1) + 1e-9).astype(np.int64)
        limit[jobs] = CheapestSteps(p.signal, int(zone)).order_statistic(p.first[jobs], end[jobs], k)
    return limit


def _in_one_piece(p: Problem, jobs: np.ndarray, anywhere: bool, at_once: bool) -> Pieces:
    if p.move_cost is not None and anywhere:
        return _after_a_move(p, jobs, at_once)
    last = p.first if at_once else p.last
    if not anywhere:
        start = np.empty(len(jobs), np.int64)
        for zone in np.unique(p.home[jobs]):
            at = np.flatnonzero(p.home[jobs] == zone)
            j = jobs[at]
            start[at] = best_start(p.signal, np.array([zone]), p.first[j], last[j], p.size[j])[1]
        return Pieces.solid(jobs, p.home[jobs], start, p.size[jobs])
    start, zone = np.empty(len(jobs), np.int64), np.empty(len(jobs), np.int64)
    for code, row in enumerate(p.zones):
        at = np.flatnonzero(p.zone_set[jobs] == code) if len(p.zones) > 1 else np.arange(len(jobs))
        j = jobs[at]
        cost, start[at], zone[at] = best_start(p.signal, np.flatnonzero(row), p.first[j], last[j], p.size[j])
        # nobody moves for nothing
        home = p.signal.between(p.home[j], start[at], start[at] + p.size[j]) <= cost
        zone[at[home]] = p.home[j[home]]
    return Pieces.solid(jobs, zone, start, p.size[jobs])


def _after_a_move(p: Problem, jobs: np.ndarray, at_once: bool) -> Pieces:
    """The same, region by region, as the first start and the cost of moving differ from job to job."""
    move_cost, move_steps = p.move_cost, p.move_steps
    if move_cost is None or move_steps is None:
        raise ValueError("move_cost and move_steps are needed where moving is not free")
    best, latest = np.full(len(jobs), np.inf), p.last[jobs]
    start, zone = p.first[jobs], p.home[jobs]
    for z in range(len(p.signal.values)):
        first = p.first[jobs] + move_steps[jobs, z]
        last = first if at_once else latest
        at = np.flatnonzero(p.may_run_in(z)[jobs] & (first <= latest))
        cost, s, _ = best_start(p.signal, np.array([z]), first[at], last[at], p.size[jobs[at]])
        cost = cost * p.kwh_per_step[jobs[at]] + move_cost[jobs[at], z]
        better = (cost < best[at]) | (cost == best[at]) & (p.home[jobs[at]] == z)
        at, cost, s = at[better], cost[better], s[better]
        best[at], start[at], zone[at] = cost, s, z
    return Pieces.solid(jobs, zone, start, p.size[jobs])


def _with_pauses(p: Problem, jobs: np.ndarray, anywhere: bool) -> Pieces:
    if not len(jobs):
        return Pieces.none()
    costly = (p.overhead[jobs] > 0) | (p.shortest[jobs] > 0)
    return join(_free_pauses(p, jobs[~costly], anywhere), _costly_pauses(p, jobs[costly], anywhere))


def _eligible(p: Problem, jobs: np.ndarray, z: int, anywhere: bool) -> tuple[np.ndarray, np.ndarray]:
    """Which of the jobs may run in a zone, and the first step of every job there."""
    first = p.first if p.move_steps is None or not anywhere else p.first + p.move_steps[:, z]
    may = p.may_run_in(z)[jobs] if anywhere else p.home[jobs] == z
    return np.flatnonzero(may & (p.end[jobs] - first[jobs] >= p.size[jobs] - 1e-7)), first


def _free_pauses(p: Problem, jobs: np.ndarray, anywhere: bool) -> Pieces:
    m, n_zones = len(jobs), len(p.signal.values)
    best, zone = np.full(m, np.inf), np.full(m, -1)
    rank, part, tail = np.zeros(m, np.int64), np.zeros(m), np.zeros(m)
    jobs = jobs[np.argsort(p.first[jobs], kind="stable")]  # neighbours in time read the same memory
    trees = {}
    for z in range(n_zones) if m else ():
        at, first = _eligible(p, jobs, z, anywhere)
        if not len(at):
            continue
        trees[z] = CheapestSteps(p.signal, z)
        cost, r, share, t = trees[z].choose(jobs[at], first, p.end, p.size)
        cost *= p.kwh_per_step[jobs[at]]
        if p.move_cost is not None and anywhere:
            cost += p.move_cost[jobs[at], z]
        better = (cost < best[at]) | (cost == best[at]) & (p.home[jobs[at]] == z)
        at = at[better]
        best[at], zone[at], rank[at], part[at], tail[at] = cost[better], z, r[better], share[better], t[better]
    found = []
    for z, tree in trees.items():
        at = np.flatnonzero(zone == z)
        first = _eligible(p, jobs, z, anywhere)[1]
        job, start, stop = tree.pieces(jobs[at], first, p.end, rank[at], part[at], tail[at])
        found.append(Pieces(job, np.full(len(job), z), start, stop))
    return join(*found)


def _follow_the_sun(p: Problem, jobs: np.ndarray) -> Pieces:
    """Place jobs that may change region between steps: each step runs in the cheapest region that the job may use."""
    found = []
    kind = p.zone_set[jobs] * len(p.signal.values) + p.home[jobs]
    for code in np.unique(kind):
        some = jobs[kind == code]
        zones = np.flatnonzero(p.zones[p.zone_set[some[0]]])
        values, home = p.signal.values[zones], p.home[some[0]]
        least = values.min(axis=0)
        where = zones[values.argmin(axis=0)]
        where[p.signal.values[home] == least] = home  # nobody moves for nothing
        steps = CheapestSteps(Signal.of(least[None]), 0)
        _, rank, part, tail = steps.choose(some, p.first, p.end, p.size)
        job, start, stop = steps.pieces(some, p.first, p.end, rank, part, tail)
        begin = start.astype(np.int64)
        count = np.ceil(stop - 1e-9).astype(np.int64) - begin  # cut at the steps, then join what stays in a zone
        at = np.repeat(np.arange(len(job)), count)
        t = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count) + begin[at]
        a, b, zone = np.maximum(start[at], t), np.minimum(stop[at], t + 1), where[t]
        goes_on = np.concatenate([[False], (at[1:] == at[:-1]) & (zone[1:] == zone[:-1])])[: len(at)]
        head = np.flatnonzero(~goes_on)
        last = np.append(head[1:], len(at))[: len(head)] - 1
        found.append(Pieces(job[at[head]], zone[head], a[head], b[last]))
    return join(*found)


def _costly_pauses(p: Problem, jobs: np.ndarray, anywhere: bool) -> Pieces:
    if not len(jobs):
        return Pieces.none()
    best, zone, begin = np.full(len(jobs), np.inf), p.home[jobs], p.first.copy()
    for z in range(len(p.signal.values)) if anywhere else ():  # at home there is nothing to compare
        at, first = _eligible(p, jobs, z, anywhere)
        cost = chunks.costs(p.signal.values, z, jobs[at], first, p.end, p.size, p.overhead, p.shortest)
        cost *= p.kwh_per_step[jobs[at]]
        if p.move_cost is not None:
            cost += p.move_cost[jobs[at], z]
        better = (cost < best[at]) | (cost == best[at]) & (p.home[jobs[at]] == z)
        at = at[better]
        best[at], zone[at], begin[jobs[at]] = cost[better], z, first[jobs[at]]
    job, start, stop = chunks.pieces(p.signal.values, zone, jobs, begin, p.end, p.size, p.overhead, p.shortest)
    where = np.empty(len(p.first), np.int64)
    where[jobs] = zone
    return Pieces(job, where[job], start, stop)
