"""Sharing capacity among jobs that may pause: exact, by a greedy algorithm over a flow.

A kilowatt-hour costs the same in a step of a zone whichever job draws it. So only how much each step gives matters, and what the
steps can give together is what a flow from steps to jobs can carry: a polymatroid. For those, greed is optimal (Edmonds,
"Submodular functions, matroids, and certain polyhedra", 1970): take the steps from the cleanest to the dirtiest, and give each
as much as the flow still carries. Augmenting paths re-seat earlier jobs, which changes who uses a step,
never how much of it is used. Where a search fails, everything it saw is closed for good (as in Hopcroft and Karp's matching), so
failures cost no more than one look at the whole network. The result equals the linear program's optimum; tests compare the two.

A job draws at most its power in a step, in all zones together. It may change zone at a step's end: with several zones this is
"follow the sun", and moving is taken as free.
"""

from __future__ import annotations

import numpy as np
from numba import njit

NEVER = np.int64(2**62)


@njit(cache=True)
def _augment(origin, room_left, room_t, adjacent_at, adjacent, may, first, x_at, y_at, x, y, cap, need, n_zones, n_steps, stamp,
             job_seen, node_seen, room_seen, job_from, room_from, room_job, queue):  # fmt: skip
    """Find one shortest augmenting path from room ``origin`` to a job that needs more; push what it carries, return how much."""
    eps = 1e-9
    head, tail = 0, 1
    queue[0] = origin
    room_seen[origin] = stamp
    room_from[origin] = -1
    found = -1
    while head < tail and found < 0:
        r = queue[head]
        head += 1
        z, t = r // n_steps, r % n_steps
        for i in range(adjacent_at[t], adjacent_at[t + 1]):
            j = adjacent[i]
            if not may[j, z]:
                continue
            node = y_at[j] + t - first[j]
            if node_seen[node] >= stamp:
                continue
            node_seen[node] = stamp
            if n_zones > 1:  # the job leaves another zone in this step
                for other in range(n_zones):
                    s = other * n_steps + t
                    if other != z and x[x_at[j] + (t - first[j]) * n_zones + other] > eps and room_seen[s] < stamp:
                        room_seen[s], room_from[s], room_job[s] = stamp, r, j
                        queue[tail] = s
                        tail += 1
            if y[node] >= cap[node] - eps or job_seen[j] >= stamp:
                continue
            job_seen[j], job_from[j] = stamp, r
            if need[j] > eps:
                found = j
                break
            for k in range(y_at[j], y_at[j + 1]):  # or it gives up another step
                if y[k] <= eps or node_seen[k] >= stamp:
                    continue
                node_seen[k] = stamp
                other_t = first[j] + k - y_at[j]
                for other in range(n_zones):
                    s = other * n_steps + other_t
                    if x[x_at[j] + (k - y_at[j]) * n_zones + other] > eps and room_seen[s] < stamp:
                        room_seen[s], room_from[s], room_job[s] = stamp, r, j
                        queue[tail] = s
                        tail += 1
    if found < 0:
        for i in range(tail):
            room_seen[queue[i]] = NEVER
        return 0.0
    # what the path carries
    amount, j, r = min(room_left, need[found]), found, job_from[found]
    node = y_at[j] + r % n_steps - first[j]
    amount = min(amount, cap[node] - y[node])
    s = r
    while room_from[s] >= 0:
        j, before = room_job[s], room_from[s]
        amount = min(amount, x[x_at[j] + (s % n_steps - first[j]) * n_zones + s // n_steps])
        if s % n_steps != before % n_steps:
            node = y_at[j] + before % n_steps - first[j]
            amount = min(amount, cap[node] - y[node])
        s = before
    # push it
    j = found
    need[j] -= amount
    x[x_at[j] + (r % n_steps - first[j]) * n_zones + r // n_steps] += amount
    y[y_at[j] + r % n_steps - first[j]] += amount
    s = r
    while room_from[s] >= 0:
        j, before = room_job[s], room_from[s]
        x[x_at[j] + (s % n_steps - first[j]) * n_zones + s // n_steps] -= amount
        y[y_at[j] + s % n_steps - first[j]] -= amount
        x[x_at[j] + (before % n_steps - first[j]) * n_zones + before // n_steps] += amount
        y[y_at[j] + before % n_steps - first[j]] += amount
        s = before
    return amount


@njit(cache=True)
def _greedy(rooms, room, adjacent_at, adjacent, may, first, x_at, y_at, x, y, cap, need, n_zones, n_steps):
    eps, n = 1e-9, len(first)
    job_seen, node_seen = np.full(n, -1, np.int64), np.full(len(y), -1, np.int64)
    room_seen = np.full(n_zones * n_steps, -1, np.int64)
    job_from, room_from = np.full(n, -1, np.int64), np.full(n_zones * n_steps, -1, np.int64)
    room_job, queue = np.full(n_zones * n_steps, -1, np.int64), np.empty(n_zones * n_steps, np.int64)
    stamp, missing = 0, 0.0
    for j in range(n):
        missing += need[j]
    for r in rooms:
        left, z, t = room[r], r // n_steps, r % n_steps
        for i in range(adjacent_at[t], adjacent_at[t + 1]):  # those that need more and may have it at once
            if left <= eps:
                break
            j = adjacent[i]
            node = y_at[j] + t - first[j]
            amount = min(left, need[j], cap[node] - y[node])
            if amount > eps and may[j, z]:
                x[x_at[j] + (t - first[j]) * n_zones + z] += amount
                y[node] += amount
                need[j] -= amount
                left -= amount
                missing -= amount
        while left > eps and missing > eps * n:
            stamp += 1
            # a failed search leaves its marks at its own stamp: lift them, so that no later search enters
            amount = _augment(r, left, t, adjacent_at, adjacent, may, first, x_at, y_at, x, y, cap, need, n_zones, n_steps, stamp,
                              job_seen, node_seen, room_seen, job_from, room_from, room_job, queue)  # fmt: skip
            if amount <= 0.0:
                for j in range(n):
                    if job_seen[j] == stamp:
                        job_seen[j] = NEVER
                        for k in range(y_at[j], y_at[j + 1]):
                            node_seen[k] = NEVER
                break
            left -= amount
            missing -= amount


def share_out(
    cost: np.ndarray,
    room: np.ndarray,
    may: np.ndarray,
    first: np.ndarray,
    end: np.ndarray,
    size: np.ndarray,
    power: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Give every job its work in the cheapest steps that all jobs together can have.

    Args:
        cost: cost per kWh ``(Z, T)``.
        room: mean power that a zone can give in a step ``(Z, T)`` [kW].
        may: zones that each job may use ``(n, Z)``.
        first: first step of each window ``(n,)``.
        end: end of each window ``(n,)`` [steps]; it may lie within a step.
        size: steps to run at full power ``(n,)``.
        power: power of each job ``(n,)`` [kW].

    Returns:
        Job, zone, step and share of the step that the job runs, for every share above 0, ordered by job, step and zone; and the
        work that found no room ``(n,)`` [steps].
    """
    n_zones, n_steps = cost.shape
    order = np.argsort(end - first - size, kind="stable")  # the least flexible come first: fewer are re-seated later
    first, end, size, power, may = first[order], end[order], size[order], power[order], may[order]
    last = np.ceil(end - 1e-9).astype(np.int64)
    width = last - first
    y_at = np.concatenate([[0], np.cumsum(width)])
    x_at = y_at * n_zones
    job = np.repeat(np.arange(len(first)), width)
    step = np.arange(len(job)) - y_at[job] + first[job]
    cap = power[job] * np.minimum(1.0, end[job] - step)
    by_step = np.argsort(step, kind="stable")
    adjacent_at = np.searchsorted(step[by_step], np.arange(n_steps + 1))
    x, y, need = np.zeros(len(job) * n_zones), np.zeros(len(job)), size * power
    rooms = np.argsort(cost.ravel(), kind="stable")
    _greedy(
        rooms,
        np.ascontiguousarray(room.ravel()),
        adjacent_at,
        job[by_step],
        may,
        first,
        x_at,
        y_at,
        x,
        y,
        cap,
        need,
        n_zones,
        n_steps,
    )
    used = np.flatnonzero(x > 1e-9)
    owner = job[used // n_zones]
    again = np.lexsort((used, order[owner]))
    used, owner = used[again], owner[again]
    lost = np.empty(len(first))
    lost[order] = np.where(need > 1e-6 * power, need / power, 0.0)
    return order[owner], used % n_zones, step[used // n_zones], x[used] / power[owner], lost
