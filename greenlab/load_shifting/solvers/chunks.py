"""Jobs whose pauses cost something: checkpoint overhead for each resumption, and a shortest chunk.

Solved exactly by dynamic programming over time, chunks and steps run, under one rule: a chunk begins at a step's
beginning, and only the last step of the job may be a part. With ``c`` chunks the job runs ``size + (c - 1) * overhead``
steps. Few chunks are tried first; more only as long as the cheapest steps of that length, wherever they lie, would cost
less.

Time and memory grow with the length of the window times the lesser of steps run and steps idle, times the chunks tried:
for one job they are linear in its slack. Costs are kept for as many steps as the shortest chunk has, decisions as one
byte a state.
"""

from __future__ import annotations

import numpy as np

from greenlab.core.compiled import njit

EPS = 1e-9
CHUNKS_TRIED_FIRST = 4
ENDED, BEGUN, NOT_FIRST = (
    1,
    2,
    4,
)  # decisions: a chunk ended here; it is as short as allowed; another chunk came before it


@njit(cache=True)
def _lower_bound(below, ordered, length):
    """Cost of the cheapest ``length`` steps: no set of chunks of that length can cost less.

    ``ordered`` are the costs of the steps in ascending order, ``below[k]`` is the sum of the first ``k``.
    """
    whole = int(length + EPS)
    part = length - whole
    if whole > len(ordered) or (whole == len(ordered) and part > EPS):
        return np.inf
    return below[whole] + (part * ordered[whole] if part > EPS else 0.0)


@njit(cache=True)
def _begin(off, t, c, r, depth):
    """Least cost of being about to begin a chunk at ``t`` after ``r`` steps in ``c`` chunks.

    A chunk begins at the window's beginning, or after an idle step.
    """
    if t == 0:
        return 0.0 if c == 0 and r == 0 else np.inf
    return off[(t - 1) % depth, c, r]


@njit(cache=True)
def _program(row, share, sums, blocked, end, size, overhead, shortest, m, idle_max, most, keep):
    """Solve with at most ``most`` chunks; return cost and chunks, the last one first (no chunks unless ``keep``).

    ``off[t, c, r]``: c chunks begun and ended by t, r steps run. ``on[t, c, r]``: within a chunk that is long enough to
    end at t. Only the layers of t that are still needed are kept. Without overhead the number of chunks has no effect
    on the length, so that ``c`` only says whether there has been a chunk.
    """
    n_steps, counted = len(row), overhead > 0.0
    n_chunks = most if counted else 2
    r_max = int(np.ceil(size + ((most - 1) * overhead if counted else 0.0) - EPS))
    depth = m + 2
    off = np.full((depth, n_chunks, r_max + 1), np.inf)
    on = np.full((2, n_chunks, r_max + 1), np.inf)
    made = np.zeros((n_steps + 1 if keep else 1, n_chunks, min(idle_max, r_max) + 1), np.uint8)
    best, best_t, best_c, best_r, best_stop = np.inf, -1, 0, 0, 0.0
    negative = n_steps > 0 and row.min() < 0.0
    for t in range(n_steps):
        now, here, before = t % depth, t % 2, (t + 1) % 2
        low, high = max(0, t - idle_max), min(t, r_max)
        previous = (t - 1) % depth if t > 0 else 0
        usable = t > 0 and share[t - 1] >= 1.0 - EPS
        last_cost = row[t - 1] if t > 0 else 0.0
        jump = t >= m and blocked[t] == blocked[t - m]
        jump_cost = sums[t] - sums[t - m] if jump else 0.0
        for c in range(min(n_chunks, t + 1)):
            for r in range(max(0, low - 1), high + 2 if high < r_max else r_max + 1):
                off[now, c, r] = np.inf
                on[here, c, r] = np.inf
            # how long the last chunk must be, if it is the next, follows from c and r
            length = size + c * overhead if counted else size
            whole = int(np.ceil(length - EPS))
            part = length - whole + 1.0
            for r in range(max(low, c * m), (high if c > 0 else 0) + 1):  # c chunks have at least c * m steps
                begin = 0.0 if t == 0 else off[previous, c, r]
                running, decision = np.inf, 0
                if c > 0:
                    if r > 0 and usable:
                        running = on[before, c, r - 1] + last_cost  # the chunk went on
                    if jump and r >= m:  # or it began m steps ago
                        for earlier in range(c - 1, c if counted else c + 1):
                            value = _begin(off, t - m, earlier, r - m, depth) + jump_cost
                            if value <= running and value < np.inf:
                                running, decision = value, BEGUN + (NOT_FIRST if earlier > 0 else 0)
                    on[here, c, r] = running
                if running < begin and t > 0:
                    off[now, c, r] = running
                    decision += ENDED
                else:
                    off[now, c, r] = begin
                if keep:
                    made[t, c, r - low] = decision
                steps = whole - r
                if steps < 1 or begin == np.inf or (begin >= best and not negative):
                    continue
                stop = t + steps - 1 + part
                if stop > end + EPS or not (c == 0 or stop - t >= shortest - EPS):
                    continue
                if blocked[t + steps - 1] == blocked[t] and share[t + steps - 1] >= part - EPS:
                    cost = begin + sums[t + steps - 1] - sums[t] + part * row[t + steps - 1]
                    if cost < best:
                        best, best_t, best_c, best_r, best_stop = cost, t, c, r, stop
    chunks = [(float(best_t), best_stop)]
    t, c, r = best_t, best_c, best_r
    while keep and best < np.inf and t > 0:
        t -= 1  # before a chunk there is an idle step
        while t > 0 and not made[t, c, r - max(0, t - idle_max)] & ENDED:
            t -= 1
        if t == 0:
            break
        stop = t
        while not made[t, c, r - max(0, t - idle_max)] & BEGUN:
            t, r = t - 1, r - 1
        first = not made[t, c, r - max(0, t - idle_max)] & NOT_FIRST
        t, r = t - m, r - m
        c = c - 1 if counted else (0 if first else 1)
        chunks.append((float(t), float(stop)))
    return best, chunks


@njit(cache=True)
def solve_one(row, share, end, size, overhead, shortest, keep):
    """Return the least cost for 1 kW and the chunks ``(c, 2)`` [steps after the window's beginning] of one job.

    Args:
        row: cost of each step of the window.
        share: share of the job's power that each step can give, 0 to 1. A step must give all of it, but the job's last
            step needs only the part that is used.
        end: end of the window, may lie within the last step.
        size: steps to run.
        overhead: steps added by each resumption.
        shortest: shortest chunk [steps]; a job that is shorter runs in one piece.
        keep: whether the chunks are wanted; without them only the cost is returned.
    """
    n_steps = len(row)
    sums = np.zeros(n_steps + 1)
    blocked = np.zeros(n_steps + 1, np.int64)  # how many steps before each one cannot give all the power
    for t in range(n_steps):
        sums[t + 1] = sums[t] + row[t]
        blocked[t + 1] = blocked[t] + (0 if share[t] >= 1.0 - EPS else 1)
    idle_max = max(0, int(np.ceil(end - EPS)) - int(np.ceil(size - EPS)))
    m = max(1, min(int(np.ceil(min(shortest, n_steps + 1.0) - EPS)), n_steps + 1))
    limit = 2
    if overhead > 0.0:
        limit = int(min((end - size) / overhead + EPS, float(idle_max))) + 1  # an idle step before each resumption
        if m > overhead:
            limit = max(1, min(limit, int((size - shortest) / (m - overhead) + EPS) + 1))
    ordered = np.sort(row[share > EPS])
    below = np.zeros(len(ordered) + 1)
    for k in range(len(ordered)):
        below[k + 1] = below[k] + ordered[k]
    most = min(limit, CHUNKS_TRIED_FIRST)
    while True:
        best, chunks = _program(row, share, sums, blocked, end, size, overhead, shortest, m, idle_max, most, keep)
        # is one more chunk than were allowed worth a try? not if even the cheapest steps of that length cost more
        worth = most
        while worth < limit and _lower_bound(below, ordered, size + worth * overhead) < best:
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
        cost[i] = np.inf
        if len(row):
            share = np.ones(len(row))
            cost[i] = solve_one(row, share, end[j] - first[j], size[j], overhead[j], shortest[j], False)[0]
    return cost


def pieces(values, zone, jobs, first, end, size, overhead, shortest):
    """Job, start and stop [steps] of every chunk of some jobs, each in its own zone."""
    found = []
    for j, z in zip(jobs.tolist(), zone.tolist(), strict=True):
        row = values[z, first[j] : int(np.ceil(end[j] - EPS))]
        share = np.ones(len(row))
        found.append(first[j] + solve_one(row, share, end[j] - first[j], size[j], overhead[j], shortest[j], True)[1])
    job = np.repeat(jobs, [len(chunks) for chunks in found])
    both = np.concatenate(found) if found else np.zeros((0, 2))
    return job, both[:, 0].copy(), both[:, 1].copy()
