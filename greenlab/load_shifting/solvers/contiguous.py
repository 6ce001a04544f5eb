"""Jobs that run in one piece: the best start, and the best region with it.

What a start costs is the difference of two running sums. Jobs of equal duration share the cost of every start; the
least over the regions is taken once for all of them, and a sparse table answers "which start in this window is the
cheapest" in two reads (Bender and Farach-Colton, "The LCA problem revisited", LATIN 2000, sec. 3). Where a duration has
few jobs, looking at every start is less work, and is done instead. Both are exact; ties go to the earliest start.
"""

from __future__ import annotations

import numpy as np

from greenlab.core.compiled import njit
from greenlab.load_shifting.solvers.cumulative import Signal


@njit(cache=True)
def _start_cost(sums, values, z, s, whole, part):
    cost = sums[z, s + whole] - sums[z, s]
    if part > 0.0:  # the last step is not used up
        cost += part * values[z, s + whole]
    return cost


@njit(cache=True)
def _scan(sums, values, zones, first, last, whole, part):
    """Look at every start from first to last in every zone."""
    best, start, zone = np.inf, -1, -1
    for z in zones:
        for s in range(first, last + 1):
            cost = _start_cost(sums, values, z, s, whole, part)
            if cost < best or (cost == best and s < start):
                best, start, zone = cost, s, z
    return best, start, zone


@njit(cache=True)
def _sparse_table(cost, table):
    """Fill ``table[k, s]`` with the cheapest of the ``2**k`` starts from ``s`` on."""
    n = len(cost)
    for s in range(n):
        table[0, s] = s
    k, width = 1, 2
    while width <= n:
        half = width // 2
        for s in range(n - width + 1):
            a, b = table[k - 1, s], table[k - 1, s + half]
            table[k, s] = b if cost[b] < cost[a] else a
        k, width = k + 1, width * 2


@njit(cache=True)
def _solve(sums, values, zones, order, bounds, first, last, whole, part, cost_out, start_out, zone_out):
    """Solve groups of jobs of equal duration; ``order[bounds[g]:bounds[g + 1]]`` are the jobs of group ``g``."""
    n_steps = values.shape[1]
    n_levels = int(np.ceil(np.log2(n_steps + 1))) + 1
    cost, zone = np.empty(n_steps + 1), np.empty(n_steps + 1, np.int64)
    table = np.empty((n_levels, n_steps + 1), np.int32)
    for g in range(len(bounds) - 1):
        jobs = order[bounds[g] : bounds[g + 1]]
        n, f = whole[jobs[0]], part[jobs[0]]
        low, high, by_scan = n_steps, -1, 0
        for j in jobs:
            low, high = min(low, first[j]), max(high, last[j])
            by_scan += (last[j] - first[j] + 1) * len(zones)
        if by_scan <= 2 * (high - low + 1) * (len(zones) + n_levels):
            for j in jobs:
                cost_out[j], start_out[j], zone_out[j] = _scan(sums, values, zones, first[j], last[j], n, f)
            continue
        width = high - low + 1
        cost[:width] = np.inf
        for z in zones:
            for i in range(width):
                c = _start_cost(sums, values, z, low + i, n, f)
                if c < cost[i]:
                    cost[i], zone[i] = c, z
        _sparse_table(cost[:width], table)
        for j in jobs:
            a, size = first[j] - low, last[j] - first[j] + 1
            k = 0
            while (2 << k) <= size:
                k += 1
            left, right = table[k, a], table[k, a + size - (1 << k)]
            i = right if cost[right] < cost[left] else left
            cost_out[j], start_out[j], zone_out[j] = cost[i], low + i, zone[i]


def best_start(
    signal: Signal, zones: np.ndarray, first: np.ndarray, last: np.ndarray, size: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cost, start and zone of the cheapest run of every job over the same choice of zones.

    Args:
        signal: cost per kWh ``(Z, T)``.
        zones: rows that may be chosen.
        first: first start of each job ``(n,)`` [steps].
        last: last start of each job ``(n,)`` [steps], not before the first; ``last + size`` lies within the traces.
        size: steps that each job runs ``(n,)``; its last step may be a part.

    Returns:
        Cost for 1 kW ``(n,)`` [signal x steps], start ``(n,)`` [steps], zone ``(n,)``.

    >>> s = Signal.of(np.array([[3.0, 1.0, 2.0, 9.0], [4.0, 4.0, 0.0, 4.0]]))
    >>> one = lambda x: np.array([x])
    >>> [a.tolist() for a in best_start(s, np.array([0, 1]), one(0), one(2), one(2.0))]
    [[3.0], [1], [0]]
    """
    n = len(first)
    whole = size.astype(np.int64)
    part = size - whole
    if n == 0:
        return np.zeros(0), np.zeros(0, np.int64), np.zeros(0, np.int64)
    # small whole numbers sort by radix, some 10 times faster than floats
    key = whole.astype(np.int16) if not part.any() and whole.max() < 2**15 else size
    order = np.argsort(key, kind="stable")
    sizes = size[order]
    bounds = np.concatenate([[0], np.flatnonzero(sizes[1:] != sizes[:-1]) + 1, [n]])
    cost, start, zone = np.empty(n), np.empty(n, np.int64), np.empty(n, np.int64)
    _solve(signal.sums, signal.values, zones, order, bounds, first, last, whole, part, cost, start, zone)
    return cost, start, zone
