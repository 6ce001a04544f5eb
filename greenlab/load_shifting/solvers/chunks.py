"""Jobs whose pauses cost something: checkpoint overhead for each resumption, and a shortest chunk.

Solved exactly by dynamic programming over steps, idle steps and chunks, under one rule: a chunk begins at a step's beginning, and
only the last step of the job may be a part. With ``c`` chunks the job runs ``size + (c - 1) * overhead`` steps.
Few chunks are tried first; more only as long as the cheapest steps of that length, wherever they lie, would cost less.
"""

from __future__ import annotations

import numpy as np
from numba import njit

EPS = 1e-9
FEW = 4  # chunks tried first


@njit(cache=True)
def _cheapest(ordered, length):
    """Sum of the cheapest ``length`` steps: what no set of chunks of that length can beat."""
    whole = int(length)
    if whole >= len(ordered):
        return np.sum(ordered) if length - whole <= EPS and whole == len(ordered) else np.inf
    return np.sum(ordered[:whole]) + (length - whole) * ordered[whole] if length > whole else np.sum(ordered[:whole])


@njit(cache=True)
def _begin(off, t, c, e):
    """Least cost of being about to begin a chunk at ``t``: at the window's beginning, or after an idle step."""
    if t == 0:
        return 0.0 if c == 0 and e == 0 else np.inf
    return off[t - 1, c, e - 1] if e > 0 else np.inf


@njit(cache=True)
def _program(row, sums, blocked, end, size, overhead, shortest, m, idle_max, most):
    """Solve with at most ``most`` chunks; return cost and chunks, the last one first.

    ``off[t, c, e]``: c chunks begun and ended by t, e steps idle; ``on``: within a chunk that is long enough to end at t.
    """
    counted, n_steps = overhead > 0.0, len(row)
    off = np.full((n_steps + 1, most + 1, idle_max + 1), np.inf)
    on = np.full((n_steps + 1, most + 1, idle_max + 1), np.inf)
    best, best_t, best_c, best_e, best_stop = np.inf, -1, 0, 0, 0.0
    off[0, 0, 0] = 0.0
    for t in range(n_steps):
        for c in range(min(most, t) + 1):
            for e in range(min(t, idle_max) + 1):
                begin, running = _begin(off, t, c, e), on[t, c, e]
                if t > 0:
                    off[t, c, e] = min(begin, running)
                if running < np.inf and row[t] < np.inf and running + row[t] < on[t + 1, c, e]:
                    on[t + 1, c, e] = running + row[t]  # the chunk goes on
                if begin == np.inf:
                    continue
                # the last chunk begins here: how long it must be follows from what has been run
                if c < most or not counted:
                    length = size + c * overhead if counted else size
                    steps = int(np.ceil(length - EPS)) - (t - e)
                    part = length - np.ceil(length - EPS) + 1.0
                    stop = t + steps - 1 + part
                    long_enough = c == 0 or stop - t >= shortest - EPS
                    if steps >= 1 and stop <= end + EPS and long_enough and blocked[t + steps] == blocked[t]:
                        cost = begin + sums[t + steps - 1] - sums[t] + part * row[t + steps - 1]
                        if cost < best:
                            best, best_t, best_c, best_e, best_stop = cost, t, c, e, stop
                # a chunk that is not the last begins here, and runs for its shortest length
                after = c + 1 if counted else 1
                if after <= most and t + m < n_steps and blocked[t + m] == blocked[t]:
                    on[t + m, after, e] = min(on[t + m, after, e], begin + sums[t + m] - sums[t])
    # walk back along equal values, which are exact as the signal was rounded
    chunks = [(float(best_t), best_stop)]
    t, c, e = best_t, best_c, best_e
    while best < np.inf and t > 0:
        t, e = t - 1, e - 1  # before a chunk there is an idle step
        while t > 0 and e > 0 and off[t - 1, c, e - 1] == off[t, c, e]:
            t, e = t - 1, e - 1
        if t == 0:
            break
        stop, here, found = t, on[t, c, e], False
        while not found:
            for before in range(c - 1 if counted else 0, c if counted else 2):
                if t >= m and not found and _begin(off, t - m, before, e) + sums[t] - sums[t - m] == here:
                    found, c = True, before
            t -= m if found else 1
            if not found:
                here = on[t, c, e]
        chunks.append((float(t), float(stop)))
    return best, chunks


@njit(cache=True)
def solve_one(row, end, size, overhead, shortest):
    """Return the least cost for 1 kW and the chunks ``(c, 2)`` [steps after the window's beginning] of one job.

    Args:
        row: cost of each step of the window; infinite where it may not run.
        end: end of the window, may lie within the last step.
        size: steps to run.
        overhead: steps added by each resumption.
        shortest: shortest chunk [steps]; a job that is shorter runs in one piece.
    """
    sums = np.zeros(len(row) + 1)  # of the steps that may be used; `blocked` counts the others
    blocked = np.zeros(len(row) + 1, np.int64)
    for t in range(len(row)):
        free = row[t] < np.inf
        sums[t + 1] = sums[t] + (row[t] if free else 0.0)
        blocked[t + 1] = blocked[t] + (0 if free else 1)
    m = max(1, int(np.ceil(shortest - EPS)))
    idle_max = max(0, int(np.ceil(end - EPS)) - int(np.ceil(size - EPS)))
    limit = 2
    if overhead > 0.0:
        limit = min(int((end - size) / overhead + EPS), idle_max) + 1  # an idle step before each resumption
        if m > overhead:
            limit = max(1, min(limit, int((size - shortest) / (m - overhead) + EPS) + 1))
    ordered, most = np.sort(row), min(limit, FEW)
    while True:
        best, chunks = _program(row, sums, blocked, end, size, overhead, shortest, m, idle_max, most)
        # could one more chunk than were allowed be worth it? not if even the cheapest steps of that length cost more
        worth = most
        while worth < limit and _cheapest(ordered, size + worth * overhead) < best:
            worth += 1
        if worth <= most:
            break
        most = min(worth, 2 * most)
    out = np.zeros((len(chunks) if best < np.inf else 0, 2))
    for i in range(len(out)):
        out[len(out) - 1 - i, 0], out[len(out) - 1 - i, 1] = chunks[i]
    return best, out


@njit(cache=True)
def costs(values, zone, jobs, first, end, size, overhead, shortest):
    """Cost for 1 kW of some jobs in one zone ``(m,)``; infinite where the window is too short."""
    cost = np.empty(len(jobs))
    for i in range(len(jobs)):
        j = jobs[i]
        row = values[zone, first[j] : int(np.ceil(end[j] - EPS))]
        cost[i] = solve_one(row, end[j] - first[j], size[j], overhead[j], shortest[j])[0] if len(row) else np.inf
    return cost


def pieces(values, zone, jobs, first, end, size, overhead, shortest):
    """Job, start and stop [steps] of every chunk of some jobs, each in its own zone."""
    found = []
    for j, z in zip(jobs.tolist(), zone.tolist(), strict=True):
        row = values[z, first[j] : int(np.ceil(end[j] - EPS))]
        found.append(first[j] + solve_one(row, end[j] - first[j], size[j], overhead[j], shortest[j])[1])
    job = np.repeat(jobs, [len(chunks) for chunks in found])
    both = np.concatenate(found) if found else np.zeros((0, 2))
    return job, both[:, 0].copy(), both[:, 1].copy()
