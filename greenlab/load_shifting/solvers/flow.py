"""Sharing capacity among jobs that may pause: the cheapest schedule of all of them, by a greedy algorithm over a flow.

A kilowatt-hour costs the same in a step of a zone whichever job draws it. So only how much each step gives matters, and
what the steps can give together is what a flow from steps to jobs can carry: a polymatroid. For those, greed is optimal
(Edmonds, "Submodular functions, matroids, and certain polyhedra", 1970): take the steps from the cleanest to the
dirtiest, and give each as much as the flow still carries. Augmenting paths move other jobs to other steps; the total
taken from a step stays the same. If no augmenting path exists, every visited node is saturated and is skipped from then
on, so that all failed searches together cost O(edges). One search serves many jobs: it stops when the jobs it has
reached need more than the step has left. The result equals the linear program's optimum; tests compare the two.

A job draws at most its power in a step, in all zones together. With several zones it may change zone at a step's end
("follow the sun"), and moving is taken as free. Amounts are mean power in a step [kW]; what is less than `EPS` of a
job's power is a rounding error.
"""

from __future__ import annotations

import numpy as np

from greenlab.core.compiled import njit

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
def _levels(
    origin,
    rank,
    adjacent_at,
    adjacent,
    may,
    first,
    y_at,
    x,
    y,
    cap,
    need,
    power,
    n_zones,
    n_steps,
    stamp,
    job_stamp,
    job_level,
    job_at,
    room_stamp,
    room_level,
    room_at,
    rooms_seen,
    jobs_seen,
):
    """Label rooms and jobs by their distance from room ``origin``, up to the nearest work that it could take over.

    A room is a step of a zone. Work is found in jobs that lack some and in rooms that come later in the order
    (``rank``). The search goes from a room to the jobs that could use it, and from them to the other rooms that they
    could give up. Returns whether there is such work; if not, all that was visited is closed for good.
    """
    head, n_rooms, n_jobs, reached = 0, 1, 0, 1 << 60
    rooms_seen[0] = origin
    room_stamp[origin], room_level[origin], room_at[origin] = stamp, 0, adjacent_at[origin % n_steps]
    while head < n_rooms:
        r = rooms_seen[head]
        level = room_level[r] + 1
        if level > reached:
            break
        head += 1
        z, t = r // n_steps, r % n_steps
        for i in range(adjacent_at[t], adjacent_at[t + 1]):
            j = adjacent[i]
            if not may[j, z]:
                continue
            node, eps = y_at[j] + t - first[j], EPS * power[j]
            begin, stop = node, node  # the steps that the job could give up: this one, for another zone in it
            if y[node] < cap[node] - eps and job_stamp[j] < stamp:
                job_stamp[j], job_level[j], job_at[j] = stamp, level - 1, y_at[j] * n_zones
                jobs_seen[n_jobs] = j
                n_jobs += 1
                if need[j] > eps:
                    reached = level
                    continue
                begin, stop = y_at[j], y_at[j + 1] - 1  # or any other
            elif n_zones == 1:
                continue
            for k in range(begin, stop + 1):
                if y[k] <= eps:
                    continue
                step = first[j] + k - y_at[j]
                for other in range(n_zones):
                    s = other * n_steps + step
                    if x[k * n_zones + other] <= eps or room_stamp[s] >= stamp:
                        continue
                    if rank[s] > rank[origin]:
                        reached = level
                    elif level < reached:
                        room_stamp[s], room_level[s], room_at[s] = stamp, level, adjacent_at[step]
                        rooms_seen[n_rooms] = s
                        n_rooms += 1
    if reached == 1 << 60:
        for i in range(n_rooms):
            room_stamp[rooms_seen[i]] = NEVER
        for i in range(n_jobs):
            job_stamp[jobs_seen[i]] = NEVER
        return False
    return True


@njit(cache=True)
def _take_over(
    origin,
    least,
    rank,
    room,
    adjacent_at,
    adjacent,
    may,
    first,
    y_at,
    x,
    y,
    cap,
    need,
    power,
    n_zones,
    n_steps,
    stamp,
    job_stamp,
    job_level,
    job_at,
    room_stamp,
    room_level,
    room_at,
    path_room,
    path_job,
):
    """Move as much work as the labelled paths carry into room ``origin`` (a blocking flow); return how much.

    Each room and each job looks at each of its neighbours once: ``room_at`` and ``job_at`` say where it goes on.
    """
    total, depth = 0.0, 0
    path_room[0] = origin
    while room[origin] > least:
        u = path_room[depth]
        z, t = u // n_steps, u % n_steps
        job, source, ends = -1, -1, False
        while room_at[u] < adjacent_at[t + 1] and job < 0:
            j = adjacent[room_at[u]]
            if may[j, z]:
                node, eps = y_at[j] + t - first[j], EPS * power[j]
                if n_zones > 1 and y[node] > eps:
                    for other in range(n_zones):
                        s = other * n_steps + t
                        if other == z or x[node * n_zones + other] <= eps:
                            continue
                        if rank[s] > rank[origin] or (room_stamp[s] == stamp and room_level[s] == depth + 1):
                            job, source, ends = j, s, rank[s] > rank[origin]
                            break
                if job < 0 and job_stamp[j] == stamp and job_level[j] == depth and y[node] < cap[node] - eps:
                    if need[j] > eps:
                        job, ends = j, True
                    while job < 0 and job_at[j] < y_at[j + 1] * n_zones:
                        k, other = job_at[j] // n_zones, job_at[j] % n_zones
                        s = other * n_steps + first[j] + k - y_at[j]
                        leads_on = rank[s] > rank[origin] or (room_stamp[s] == stamp and room_level[s] == depth + 1)
                        if x[job_at[j]] > eps and s != u and leads_on:
                            job, source, ends = j, s, rank[s] > rank[origin]
                            break
                        job_at[j] += 1
            if job < 0:
                room_at[u] += 1
        if job < 0:  # nothing leads on from here
            if depth == 0:
                break
            room_level[u] = -1
            depth -= 1
            continue
        path_job[depth], path_room[depth + 1] = job, source
        if not ends:
            depth += 1
            continue
        amount = room[origin]
        for d in range(depth + 1):
            j, to, s = path_job[d], path_room[d], path_room[d + 1]
            has = need[j] if s < 0 else x[(y_at[j] + s % n_steps - first[j]) * n_zones + s // n_steps]
            amount = min(amount, has)
            if s < 0 or s % n_steps != to % n_steps:
                node = y_at[j] + to % n_steps - first[j]
                amount = min(amount, cap[node] - y[node])
        for d in range(depth + 1):
            j, to, s = path_job[d], path_room[d], path_room[d + 1]
            if s < 0:
                need[j] -= amount
            else:
                node = y_at[j] + s % n_steps - first[j]
                x[node * n_zones + s // n_steps] -= amount
                y[node] -= amount
            node = y_at[j] + to % n_steps - first[j]
            x[node * n_zones + to // n_steps] += amount
            y[node] += amount
        if source >= 0:
            room[source] += amount
        room[origin] -= amount
        total += amount
        depth = 0
    return total


@njit(cache=True)
def _greedy(rooms, rank, room, adjacent_at, adjacent, may, first, y_at, x, y, cap, need, power, n_zones, n_steps):
    """Give each room, in the order of ``rooms``, as much as the flow carries.

    This changes room, x, y and what is still needed.
    """
    n, size = len(first), n_zones * n_steps
    job_stamp, job_level, job_at = np.full(n, -1, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    room_stamp, room_level, room_at = np.full(size, -1, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64)
    rooms_seen, jobs_seen = np.empty(size, np.int64), np.empty(n, np.int64)
    path_room, path_job = np.empty(size + 2, np.int64), np.empty(size + 2, np.int64)
    least = EPS * power.min() if n else 0.0
    stamp = 0
    for r in rooms:
        while room[r] > least:
            stamp += 1
            if not _levels(
                r,
                rank,
                adjacent_at,
                adjacent,
                may,
                first,
                y_at,
                x,
                y,
                cap,
                need,
                power,
                n_zones,
                n_steps,
                stamp,
                job_stamp,
                job_level,
                job_at,
                room_stamp,
                room_level,
                room_at,
                rooms_seen,
                jobs_seen,
            ):
                break
            moved = _take_over(
                r,
                least,
                rank,
                room,
                adjacent_at,
                adjacent,
                may,
                first,
                y_at,
                x,
                y,
                cap,
                need,
                power,
                n_zones,
                n_steps,
                stamp,
                job_stamp,
                job_level,
                job_at,
                room_stamp,
                room_level,
                room_at,
                path_room,
                path_job,
            )
            if moved <= 0.0:
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
        Job, zone, step and share of the step that the job runs, for every share above 0, ordered by job, step and zone;
        and the work that found no room ``(n,)`` [steps].
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
    _greedy(rooms, rank, left, adjacent_at, job[by_step], may, first, y_at, x, y, cap, need, power, n_zones, n_steps)
    used = np.flatnonzero(x > EPS * np.repeat(power[job], n_zones))
    owner = job[used // n_zones]
    again = np.lexsort((used, order[owner]))
    used, owner = used[again], owner[again]
    lost = np.empty(len(first))
    lost[order] = np.where(need > 1e-6 * power, need / power, 0.0)
    return order[owner], used % n_zones, step[used // n_zones], x[used] / power[owner], lost
