"""Jobs whose pauses cost something: checkpoint overhead for each resumption, and a shortest chunk.

Solved exactly by dynamic programming over steps, idle steps and chunks, under one rule: a chunk begins at a step's beginning, and
only the last step of the job may be a part. With ``c`` chunks the job runs ``size + (c - 1) * overhead`` steps.
More chunks than could pay for themselves are not tried: a resumption costs at least the overhead at the window's cheapest
step, and all of them together can gain no more than the best run in one piece loses against the k cheapest steps.
"""

from __future__ import annotations

import numpy as np
from numba import njit

EPS = 1e-9


@njit(cache=True)
def _most_chunks(row, sums, end, size, overhead):
    """How many chunks could pay for themselves."""
    most = int((end - size) / overhead + EPS) + 1
    # the best run in one piece
    whole = int(np.ceil(size - EPS)) - 1
    part, one_piece = size - whole, np.inf
    for s in range(int(end - size + EPS) + 1):
        one_piece = min(one_piece, sums[s + whole] - sums[s] + part * row[s + whole])
    # and the k cheapest
    ordered, left, cheapest = np.sort(row[: int(np.ceil(end - EPS))]), size, 0.0
    for value in ordered:
        used = min(left, 1.0)
        cheapest, left = cheapest + used * value, left - used
    if ordered[0] > 0.0 and one_piece < np.inf:
        most = min(most, int((one_piece - cheapest) / (overhead * ordered[0]) + EPS) + 1)
    return max(1, most)


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
    counted, n_steps = overhead > 0.0, len(row)
    m = max(1, int(np.ceil(shortest - EPS)))
    idle_max = max(0, int(np.ceil(end - EPS)) - int(np.ceil(size - EPS)))
    most = 2
    if counted:
        most = min(int((end - size) / overhead + EPS), idle_max) + 1  # at least one idle step before each resumption
        if m > overhead:
            most = max(1, min(most, int((size - overhead) / (m - overhead) + EPS) + 1))
        if blocked[-1] == 0:
            most = min(most, _most_chunks(row, sums, end, size, overhead))
    # off[t, c, e]: c chunks begun and ended before t, e idle steps; on: in a chunk long enough to end at t
    off = np.full((n_steps + 1, most + 1, idle_max + 1), np.inf)
    on = np.full((n_steps + 1, most + 1, idle_max + 1), np.inf)
    best, best_s, best_c, best_e, best_k = np.inf, -1, 0, 0, 0
    off[0, 0, 0] = 0.0
    for t in range(n_steps):
        for c in range(most + 1):
            for e in range(min(t, idle_max) + 1):
                if t > 0:
                    a, b, o = off[t, c, e], on[t, c, e], np.inf
                    if e > 0:
                        o = off[t - 1, c, e - 1]
                    off[t, c, e] = min(a, b, o)
                here = off[t, c, e]
                # the last chunk begins here: how long it must be follows from what has been run
                if here < np.inf and (c < most or not counted):
                    length = size + c * overhead if counted else size
                    k_steps = int(np.ceil(length - EPS)) - (t - e)
                    part = length - np.ceil(length - EPS) + 1.0
                    stop = t + k_steps - 1 + part
                    long_enough = c == 0 or k_steps - 1 + part >= shortest - EPS
                    if k_steps >= 1 and stop <= end + EPS and long_enough and blocked[t + k_steps] == blocked[t]:
                        cost = here + sums[t + k_steps - 1] - sums[t] + part * row[t + k_steps - 1]
                        if cost < best:
                            best, best_s, best_c, best_e, best_k = cost, t, c, e, k_steps
                # a chunk that is not the last begins here, and runs for its shortest length
                c_next = c + 1 if counted else 1
                if here < np.inf and c_next <= most and t + m < n_steps and blocked[t + m] == blocked[t]:
                    cost = here + sums[t + m] - sums[t]
                    if cost < on[t + m, c_next, e]:
                        on[t + m, c_next, e] = cost
                # a chunk goes on
                if on[t, c, e] < np.inf and row[t] < np.inf and on[t, c, e] + row[t] < on[t + 1, c, e]:
                    on[t + 1, c, e] = on[t, c, e] + row[t]
    if best == np.inf:
        return best, np.zeros((0, 2))
    # walk back along equal values
    length = size + best_c * overhead if counted else size
    part = length - np.ceil(length - EPS) + 1.0
    chunks = [(float(best_s), best_s + best_k - 1 + part)]
    t, c, e = best_s, best_c, best_e
    while t > 0:
        if e > 0 and off[t - 1, c, e - 1] == off[t, c, e]:
            t, e = t - 1, e - 1
            continue
        stop, here = t, on[t, c, e]  # a chunk ended at t
        while True:
            c_before = c - 1 if counted else -1
            begun = False
            for candidate in range(2):
                before = c_before if counted else candidate
                if (
                    t >= m
                    and before >= 0
                    and (counted or before <= 1)
                    and off[t - m, before, e] + sums[t] - sums[t - m] == here
                ):
                    begun, c = True, before
                    break
            if begun:
                t -= m
                break
            t -= 1
            here = on[t, c, e]
        if chunks[-1][0] == stop and not counted:  # two chunks without a pause between are one
            chunks[-1] = (float(t), chunks[-1][1])
        else:
            chunks.append((float(t), float(stop)))
    out = np.zeros((len(chunks), 2))
    for i in range(len(chunks)):
        out[len(chunks) - 1 - i, 0], out[len(chunks) - 1 - i, 1] = chunks[i]
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
