"""Choose a region for each job that may pause, one job after the other, when regions have limits.

Each job stays in one region. It takes the cheapest shares of steps that the others have left, in the region where they
cost least with the move; then each is taken out and put back until nothing improves. The choice of regions is a
heuristic; inside each region `flow` then shares the room exactly.
"""

from __future__ import annotations

import numpy as np

from greenlab.core.compiled import njit

EPS = 1e-9


@njit(cache=True)
def _take(values, left, z, begin, end, size, power, share):
    """Take the cheapest shares of the steps of one zone that are left.

    Returns their cost for 1 kW, and the work [steps] that found no room.
    """
    stop = int(np.ceil(end - EPS))
    n = stop - begin
    need, cost = size, 0.0
    share[:n] = 0.0
    for i in np.argsort(values[z, begin:stop], kind="mergesort"):
        t = begin + i
        part = min(need, min(1.0, end - t), max(0.0, left[z, t] / power))
        if part > EPS:
            share[i] = part
            cost += part * values[z, t]
            need -= part
        if need <= EPS:
            break
    return cost, need


@njit(cache=True)
def _choose(values, room, order, may, home, zone, first, end, size, power, move_cost, move_steps, per_step, rounds):
    """Region of each job; ``zone`` holds the region that it would take without limits, and is changed."""
    n, n_zones, left = len(first), len(room), room.copy()
    at = np.zeros(n + 1, np.int64)
    for j in range(n):
        at[j + 1] = at[j] + int(np.ceil(end[j] - EPS)) - first[j]
    kept, width = np.zeros(at[n]), 0
    for j in range(n):
        width = max(width, at[j + 1] - at[j])
    share, best_share = np.zeros(width), np.zeros(width)
    for r in range(rounds):
        changed = False
        for j in order:
            stop = int(np.ceil(end[j] - EPS))
            if r > 0:
                for t in range(first[j], stop):
                    left[zone[j], t] += power[j] * kept[at[j] + t - first[j]]
            best, best_lack, best_z = np.inf, np.inf, zone[j]
            for z in range(n_zones):
                begin = first[j] + move_steps[j, z]
                if not may[j, z] or end[j] - begin < size[j] - 1e-7:
                    continue
                cost, lack = _take(values, left, z, begin, end[j], size[j], power[j], share)
                cost = cost * per_step[j] + move_cost[j, z]
                if lack < EPS:
                    lack = 0.0
                if lack > best_lack or (lack == best_lack and (cost > best or (cost == best and z != home[j]))):
                    continue
                best, best_lack, best_z = cost, lack, z
                best_share[: move_steps[j, z]] = 0.0
                best_share[move_steps[j, z] : stop - first[j]] = share[: stop - begin]
            changed |= best_z != zone[j]
            zone[j] = best_z
            for t in range(first[j], stop):
                kept[at[j] + t - first[j]] = best_share[t - first[j]]
                left[best_z, t] -= power[j] * best_share[t - first[j]]
        if r > 0 and not changed:
            break
    return zone


def choose_regions(
    values: np.ndarray,
    room: np.ndarray,
    may: np.ndarray,
    home: np.ndarray,
    zone: np.ndarray,
    first: np.ndarray,
    end: np.ndarray,
    size: np.ndarray,
    power: np.ndarray,
    move_cost: np.ndarray,
    move_steps: np.ndarray,
    per_step: np.ndarray,
    rounds: int = 4,
) -> np.ndarray:
    """Return the region of each job ``(n,)``.

    Args:
        values: cost per kWh ``(Z, T)``.
        room: mean power that a zone can give in a step ``(Z, T)`` [kW].
        may: zones that each job may use ``(n, Z)``.
        home: each job's own zone ``(n,)``.
        zone: the zone that each would take without limits ``(n,)``.
        first: first step of each window ``(n,)``.
        end: end of each window ``(n,)`` [steps].
        size: steps to run at full power ``(n,)``.
        power: power of each job ``(n,)`` [kW].
        move_cost: what moving to each zone costs ``(n, Z)``.
        move_steps: steps that moving to each zone takes ``(n, Z)``.
        per_step: energy of each job in a step ``(n,)`` [kWh].
        rounds: how often each job is placed at most.
    """
    order = np.argsort(end - first - size, kind="stable")
    return _choose(
        values,
        room,
        order,
        np.ascontiguousarray(may),
        home,
        zone.copy(),
        first,
        end,
        size,
        power,
        move_cost,
        move_steps,
        per_step,
        rounds,
    )
