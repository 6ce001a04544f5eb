"""Choose which jobs to give up when not all jobs that may pause can be on time: as few jobs as a search finds.

Jobs are added one at a time, along augmenting paths that move the others to other steps. Where a job does not fit, the
largest of the jobs that compete with it (those that the failed search has reached) makes way, if it is larger: the rule
of Moore and Hodgson ("An n job, one machine sequencing algorithm for minimizing the number of late jobs", Management
Science 15, 1968), which is optimal for one machine and jobs that arrive together. Here jobs arrive at any time, so
several orders are tried, and at last one job is taken out wherever two others fit in its place. The problem is NP-hard;
small cases are compared with the exact answer.
"""

from __future__ import annotations

import numpy as np

from greenlab.core.compiled import njit

EPS = 1e-9
EXCHANGES = 20_000  # pairs of a job on time and one left out that are tried for an exchange at most


@njit(cache=True)
def _search(
    start,
    room,
    adjacent_at,
    adjacent,
    first,
    y_at,
    x,
    cap,
    power,
    seen_job,
    seen_step,
    stamp,
    from_step,
    from_job,
    queue,
):
    """Find a step with room that job ``start`` can reach; return it, or -1. ``seen_job`` marks the jobs on the way."""
    head, tail = 0, 1
    queue[0] = start
    seen_job[start] = stamp
    while head < tail:
        j = queue[head]
        head += 1
        for k in range(y_at[j], y_at[j + 1]):
            t = first[j] + k - y_at[j]
            if seen_step[t] == stamp or x[k] >= cap[k] - EPS * power[j]:
                continue
            seen_step[t], from_job[t] = stamp, j
            if room[t] > EPS * power[start]:
                return t
            for a in range(adjacent_at[t], adjacent_at[t + 1]):
                i = adjacent[a]
                if seen_job[i] != stamp and x[y_at[i] + t - first[i]] > EPS * power[i]:
                    seen_job[i], from_step[i] = stamp, t
                    queue[tail] = i
                    tail += 1
    return -1


@njit(cache=True)
def _remove(j, room, first, y_at, x):
    for k in range(y_at[j], y_at[j + 1]):
        room[first[j] + k - y_at[j]] += x[k]
        x[k] = 0.0


@njit(cache=True)
def _insert(
    j,
    room,
    adjacent_at,
    adjacent,
    first,
    y_at,
    x,
    cap,
    power,
    work,
    seen_job,
    seen_step,
    stamps,
    from_step,
    from_job,
    queue,
):
    """Give job ``j`` all its work if others can make room by moving; else let it keep what it got, and return False."""
    need = work[j]
    for k in range(y_at[j], y_at[j + 1]):
        need -= x[k]
    while need > EPS * power[j]:
        stamps[0] += 1
        t = _search(
            j,
            room,
            adjacent_at,
            adjacent,
            first,
            y_at,
            x,
            cap,
            power,
            seen_job,
            seen_step,
            stamps[0],
            from_step,
            from_job,
            queue,
        )
        if t < 0:
            return need <= 1e-6 * power[j]
        amount, step = min(need, room[t]), t
        while True:
            i = from_job[step]
            k = y_at[i] + step - first[i]
            amount = min(amount, cap[k] - x[k])
            if i == j:
                break
            step = from_step[i]
            amount = min(amount, x[y_at[i] + step - first[i]])
        room[t] -= amount
        step = t
        while True:
            i = from_job[step]
            x[y_at[i] + step - first[i]] += amount
            if i == j:
                break
            step = from_step[i]
            x[y_at[i] + step - first[i]] -= amount
        need -= amount
    return True


@njit(cache=True)
def _choose(order, room, adjacent_at, adjacent, first, y_at, cap, power, work, trade, exchanges):
    """Add jobs in an order; return which of them are on time."""
    n, n_steps = len(first), len(room)
    room, x, kept = room.copy(), np.zeros(len(cap)), np.zeros(n, np.bool_)
    seen_job, seen_step, stamps = np.zeros(n, np.int64), np.zeros(n_steps, np.int64), np.zeros(1, np.int64)
    from_step, from_job, queue = np.empty(n, np.int64), np.empty(n_steps, np.int64), np.empty(n, np.int64)
    for j in order:
        if _insert(
            j,
            room,
            adjacent_at,
            adjacent,
            first,
            y_at,
            x,
            cap,
            power,
            work,
            seen_job,
            seen_step,
            stamps,
            from_step,
            from_job,
            queue,
        ):
            kept[j] = True
            continue
        largest, failed = j, stamps[0]
        for i in range(n):
            if trade and kept[i] and seen_job[i] == failed and work[i] > work[largest]:
                largest = i
        if largest != j:
            _remove(largest, room, first, y_at, x)
            kept[largest] = False
            if _insert(
                j,
                room,
                adjacent_at,
                adjacent,
                first,
                y_at,
                x,
                cap,
                power,
                work,
                seen_job,
                seen_step,
                stamps,
                from_step,
                from_job,
                queue,
            ):
                kept[j] = True
                continue
        _remove(j, room, first, y_at, x)
        if largest != j:  # put it back: there was room for it
            kept[largest] = _insert(
                largest,
                room,
                adjacent_at,
                adjacent,
                first,
                y_at,
                x,
                cap,
                power,
                work,
                seen_job,
                seen_step,
                stamps,
                from_step,
                from_job,
                queue,
            )
    by_work = np.argsort(work, kind="mergesort")
    added = np.empty(n, np.int64)
    for out in range(n, -1, -1):  # first nobody, then the largest: who fits when it is gone?
        j = -1 if out == n else by_work[out]
        if j >= 0 and (not kept[j] or exchanges <= 0):
            continue
        if j >= 0:
            _remove(j, room, first, y_at, x)
        n_added = 0
        for i in by_work:
            if kept[i] or i == j:
                continue
            if j >= 0:
                exchanges -= 1
                apart = first[i] >= first[j] + y_at[j + 1] - y_at[j] or first[j] >= first[i] + y_at[i + 1] - y_at[i]
                if apart and n_added == 0:
                    continue
            if _insert(
                i,
                room,
                adjacent_at,
                adjacent,
                first,
                y_at,
                x,
                cap,
                power,
                work,
                seen_job,
                seen_step,
                stamps,
                from_step,
                from_job,
                queue,
            ):
                kept[i] = True
                added[n_added] = i
                n_added += 1
            else:
                _remove(i, room, first, y_at, x)
        if j >= 0 and n_added >= 2:
            kept[j] = False
        elif j >= 0:
            for i in added[:n_added]:
                kept[i] = False
                _remove(i, room, first, y_at, x)
            kept[j] = _insert(
                j,
                room,
                adjacent_at,
                adjacent,
                first,
                y_at,
                x,
                cap,
                power,
                work,
                seen_job,
                seen_step,
                stamps,
                from_step,
                from_job,
                queue,
            )
    return kept


def on_time(
    room: np.ndarray,
    first: np.ndarray,
    end: np.ndarray,
    size: np.ndarray,
    power: np.ndarray,
    *,
    certain: np.ndarray | None = None,
    few: int = 60,
    shuffles: int = 24,
) -> np.ndarray:
    """Return which jobs of one zone to run so that many are on time ``(n,)``.

    Args:
        room: mean power that each step can give ``(T,)`` [kW].
        first: first step of each window ``(n,)``.
        end: end of each window ``(n,)`` [steps].
        size: steps to run at full power ``(n,)``.
        power: power of each job ``(n,)`` [kW].
        certain: jobs that are known to fit together ``(n,)``. The answer is never fewer.
        few: up to so many jobs are tried in random orders as well.
        shuffles: how many random orders.
    """
    n = len(first)
    if not n:
        return np.zeros(0, bool)
    last = np.ceil(end - EPS).astype(np.int64)
    width = last - first
    y_at = np.concatenate([[0], np.cumsum(width)])
    job = np.repeat(np.arange(n), width)
    step = np.arange(len(job)) - y_at[job] + first[job]
    cap = power[job] * np.minimum(1.0, end[job] - step)
    by_step = np.argsort(step, kind="stable")
    adjacent_at = np.searchsorted(step[by_step], np.arange(len(room) + 1))
    work = size * power
    orders = [(np.argsort(end, kind="stable"), True), (np.argsort(work, kind="stable"), False)]
    if certain is not None and certain.any():
        orders.append((np.argsort(~certain, kind="stable"), False))
    if n <= few:
        rng = np.random.default_rng(0)
        orders += [(rng.permutation(n), bool(i % 2)) for i in range(shuffles)]
        orders.append((np.argsort(end - size, kind="stable"), True))
    best = np.zeros(n, bool)
    for order, trade in orders:
        kept = _choose(
            order, room.astype(np.float64), adjacent_at, job[by_step], first, y_at, cap, power, work, trade, EXCHANGES
        )
        if kept.sum() > best.sum() or (kept.sum() == best.sum() and work[kept].sum() > work[best].sum()):
            best = kept
        if best.all():
            break
    return best
