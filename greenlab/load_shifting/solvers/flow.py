"""Sharing capacity among jobs that may pause: the cheapest schedule of all of them, by a greedy algorithm over a flow.

A kilowatt-hour costs the same in a step of a zone whichever job draws it. So only how much each step gives matters, and what the
steps can give together is what a flow from steps to jobs can carry: a polymatroid. For those, greed is optimal (Edmonds,
"Submodular functions, matroids, and certain polyhedra", 1970): take the steps from the cleanest to the dirtiest, and give each
as much as the flow still carries. Augmenting paths move other jobs to other steps; the total taken from a step stays the same.
If no augmenting path exists, every visited node is saturated and is skipped from then on, so that all failed searches together
cost O(edges). One search serves many jobs: it stops when the jobs it has reached need more than the step has left. The result
equals the linear program's optimum; tests compare the two.

A job draws at most its power in a step, in all zones together. With several zones it may change zone at a step's end ("follow
the sun"), and moving is taken as free. Amounts are mean power in a step [kW]; what is less than `EPS` of a job's power is a
rounding error.
"""

from __future__ import annotations

import numpy as np
from numba import njit

EPS = 1e-9
NEVER = np.int64(2**62)


@njit(cache=True)
def _fill(rank, room, may, first, x_at, y_at, x, y, cap, need, power, n_zones, n_steps):
    """Let each job in turn take the cheapest steps that still have room: a good beginning for `_greedy`."""
    for j in range(len(first)):
        width = y_at[j + 1] - y_at[j]
        place, of = np.empty(width * n_zones, np.int64), np.empty(width * n_zones, np.int64)
        n = 0
        for z in range(n_zones):
            if may[j, z]:
                for k in range(width):
                    r = z * n_steps + first[j] + k
                    if room[r] > EPS * power[j]:
                        place[n], of[n] = rank[r], k * n_zones + z
                        n += 1
        for i in np.argsort(place[:n]):
            k, z = of[i] // n_zones, of[i] % n_zones
            r, node = z * n_steps + first[j] + k, y_at[j] + k
            amount = min(room[r], need[j], cap[node] - y[node])
            if amount > EPS * power[j]:
                x[x_at[j] + of[i]] += amount
                y[node] += amount
                room[r] -= amount
                need[j] -= amount
            if need[j] <= EPS * power[j]:
                break


@njit(cache=True)
def _search(origin, left, rank, adjacent_at, adjacent, may, first, x_at, y_at, x, y, cap, need, power, n_zones, n_steps, stamp,
            job_seen, node_seen, room_seen, room_from, room_job, queue, found_job, found_room, found_from):  # fmt: skip
    """Look for work that room ``origin`` could take over; return how many pieces of work were found.

    A room is a step of a zone. Work is found in jobs that lack some (then ``found_room`` is -1) and in rooms that come later in
    the order (``rank``). The search goes from a room to the jobs that could use it, and from them to the other rooms that they
    could give up; a room on the way keeps as much as it had.
    """
    head, tail, n, wanted = 0, 1, 0, 0.0
    limit = len(found_job)
    queue[0] = origin
    room_seen[origin] = stamp
    room_from[origin] = -1
    level_end = 1
    while head < tail and wanted < left and n < limit:
        if head == level_end:
            if n > 0:  # the nearest work first: nothing farther is looked for
                break
            level_end = tail
        r = queue[head]
        head += 1
        z, t = r // n_steps, r % n_steps
        for i in range(adjacent_at[t], adjacent_at[t + 1]):
            j = adjacent[i]
            if not may[j, z]:
                continue
            node, eps = y_at[j] + t - first[j], EPS * power[j]
            if node_seen[node] >= stamp:
                continue
            node_seen[node] = stamp
            begin, stop = node, node  # the steps that the job could give up: this one, for another zone in it
            spare = cap[node] - y[node]
            if spare > eps and job_seen[j] < stamp:
                job_seen[j] = stamp
                if need[j] > eps and n < limit:
                    found_job[n], found_room[n], found_from[n] = j, -1, r
                    wanted += min(need[j], spare)
                    n += 1
                begin, stop = y_at[j], y_at[j + 1] - 1  # or any other
            elif n_zones == 1:
                continue
            for k in range(begin, stop + 1):
                if y[k] <= eps or (k != node and node_seen[k] >= stamp):
                    continue
                node_seen[k] = stamp
                step = first[j] + k - y_at[j]
                for other in range(n_zones):
                    s, amount = other * n_steps + step, x[x_at[j] + (k - y_at[j]) * n_zones + other]
                    if amount <= eps or s == r:
                        continue
                    if rank[s] > rank[origin]:
                        if n < limit:
                            found_job[n], found_room[n], found_from[n] = j, s, r
                            wanted += amount if k == node else min(amount, spare)
                            n += 1
                    elif room_seen[s] < stamp:
                        room_seen[s], room_from[s], room_job[s] = stamp, r, j
                        queue[tail] = s
                        tail += 1
            if wanted >= left or n >= limit:
                break
    if n == 0:
        for i in range(tail):
            room_seen[queue[i]] = NEVER
    return n


@njit(cache=True)
def _push(j, s, r, left, first, x_at, y_at, x, y, cap, need, power, n_zones, n_steps, room_from, room_job):
    """Move work of job ``j`` from room ``s`` (or what it lacks) to room ``r``, and on along the path to the search's origin.

    Returns how much: 0 if an earlier path has used it up.
    """
    at = x_at[j] - first[j] * n_zones
    if s < 0:
        amount = min(left, need[j])
    else:
        amount = min(left, x[at + (s % n_steps) * n_zones + s // n_steps])
    if s < 0 or s % n_steps != r % n_steps:
        node = y_at[j] + r % n_steps - first[j]
        amount = min(amount, cap[node] - y[node])
    now = r
    while room_from[now] >= 0:
        i, before = room_job[now], room_from[now]
        amount = min(amount, x[x_at[i] + (now % n_steps - first[i]) * n_zones + now // n_steps])
        if now % n_steps != before % n_steps:
            node = y_at[i] + before % n_steps - first[i]
            amount = min(amount, cap[node] - y[node])
        now = before
    if amount <= EPS * power[j]:
        return 0.0
    if s < 0:
        need[j] -= amount
    else:
        x[at + (s % n_steps) * n_zones + s // n_steps] -= amount
        y[y_at[j] + s % n_steps - first[j]] -= amount
    x[at + (r % n_steps) * n_zones + r // n_steps] += amount
    y[y_at[j] + r % n_steps - first[j]] += amount
    now = r
    while room_from[now] >= 0:
        i, before = room_job[now], room_from[now]
        x[x_at[i] + (now % n_steps - first[i]) * n_zones + now // n_steps] -= amount
        y[y_at[i] + now % n_steps - first[i]] -= amount
        x[x_at[i] + (before % n_steps - first[i]) * n_zones + before // n_steps] += amount
        y[y_at[i] + before % n_steps - first[i]] += amount
        now = before
    return amount


@njit(cache=True)
def _greedy(rooms, rank, room, adjacent_at, adjacent, may, first, x_at, y_at, x, y, cap, need, power, n_zones, n_steps):
    """Give each room, in the order of ``rooms``, as much as the flow carries; changes room, x, y and what is still needed."""
    n = len(first)
    job_seen, node_seen = np.full(n, -1, np.int64), np.full(len(y), -1, np.int64)
    room_seen, room_from = np.full(n_zones * n_steps, -1, np.int64), np.full(n_zones * n_steps, -1, np.int64)
    room_job, queue = np.full(n_zones * n_steps, -1, np.int64), np.empty(n_zones * n_steps, np.int64)
    found_job, found_room = np.empty(len(y) + n, np.int64), np.empty(len(y) + n, np.int64)
    found_from = np.empty(len(y) + n, np.int64)
    least = EPS * power.min() if n else 0.0
    stamp = 0
    for r in rooms:
        while room[r] > least:
            stamp += 1
            n_found = _search(r, room[r], rank, adjacent_at, adjacent, may, first, x_at, y_at, x, y, cap, need, power, n_zones,
                              n_steps, stamp, job_seen, node_seen, room_seen, room_from, room_job, queue, found_job, found_room,
                              found_from)  # fmt: skip
            pushed = 0.0
            for i in range(n_found):
                s = found_room[i]
                amount = _push(found_job[i], s, found_from[i], room[r], first, x_at, y_at, x, y, cap, need, power, n_zones,
                               n_steps, room_from, room_job)  # fmt: skip
                pushed += amount
                room[r] -= amount
                if s >= 0:
                    room[s] += amount
                if room[r] <= least:
                    break
            if n_found == 0:  # close all nodes that the failed search visited
                for j in range(n):
                    if job_seen[j] == stamp:
                        job_seen[j] = NEVER
                        for k in range(y_at[j], y_at[j + 1]):
                            node_seen[k] = NEVER
            if pushed <= 0.0:
                break


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
    order = np.argsort(end - first - size, kind="stable")  # the least flexible come first: fewer are moved later
    first, end, size, power, may = first[order], end[order], size[order], power[order], may[order]
    last = np.ceil(end - EPS).astype(np.int64)
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
    rank = np.empty_like(rooms)
    rank[rooms] = np.arange(len(rooms))
    left, may = room.ravel().astype(np.float64), np.ascontiguousarray(may)
    _fill(rank, left, may, first, x_at, y_at, x, y, cap, need, power, n_zones, n_steps)
    _greedy(rooms, rank, left, adjacent_at, job[by_step], may, first, x_at, y_at, x, y, cap, need, power, n_zones, n_steps)
    used = np.flatnonzero(x > EPS * np.repeat(power[job], n_zones))
    owner = job[used // n_zones]
    again = np.lexsort((used, order[owner]))
    used, owner = used[again], owner[again]
    lost = np.empty(len(first))
    lost[order] = np.where(need > 1e-6 * power, need / power, 0.0)
    return order[owner], used % n_zones, step[used // n_zones], x[used] / power[owner], lost
