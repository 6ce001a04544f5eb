"""Jobs that may pause for free: the k cheapest steps of a window, and the best region with them.

Which steps are the cheapest is an order statistic of a window. A wavelet matrix (Claude, Navarro and Ordonez, "The
wavelet matrix", Information Systems 47, 2015, sec. 4) over the ranks of a year's steps, with a running sum beside every
count, gives the sum of the k cheapest of any window in one descent of log2(T) levels: 14 for a year of hours, whatever
the window.

A job may run for a part of a step: of its most expensive one, if its duration is no whole number of steps, and of the
last of its window, if the deadline lies within it. That is the optimum of the fractional knapsack over the window.
"""

from __future__ import annotations

import numpy as np

from greenlab.core.compiled import njit
from greenlab.load_shifting.solvers.cumulative import Signal

EPS = 1e-9  # of a step: less is a rounding error


@njit(cache=True)
def _wavelet(ranks, costs, counts, sums, zeros):
    """Build the matrix: level by level, most significant bit first, steps with bit 0 move to the front in order."""
    n_levels, n = len(zeros), len(ranks)
    now, moved = ranks.copy(), np.empty_like(ranks)
    for level in range(n_levels):
        bit = n_levels - 1 - level
        counts[level, 0], sums[level, 0] = 0, 0.0
        for i in range(n):
            zero = 1 - ((now[i] >> bit) & 1)
            counts[level, i + 1] = counts[level, i] + zero
            sums[level, i + 1] = sums[level, i] + (costs[now[i]] if zero else 0.0)
        zeros[level] = counts[level, n]
        left, right = 0, zeros[level]
        for i in range(n):
            if (now[i] >> bit) & 1:
                moved[right] = now[i]
                right += 1
            else:
                moved[left] = now[i]
                left += 1
        now, moved = moved, now


@njit(cache=True)
def _descend(counts, sums, zeros, left, right, k):
    """Return the rank of the window's element number ``k`` (from 0), and the sum of the ``k`` below it."""
    below, rank = 0.0, 0
    for level in range(len(zeros)):
        a, b = counts[level, left], counts[level, right]
        if k < b - a:
            left, right = a, b
            rank = 2 * rank
        else:
            k -= b - a
            below += sums[level, right] - sums[level, left]
            left, right = zeros[level] + left - a, zeros[level] + right - b
            rank = 2 * rank + 1
    return rank, below


@njit(cache=True)
def _cheapest(counts, sums, zeros, costs, row, jobs, first, end, size, cost_out, rank_out, part_out, tail_out):
    """Cost of the cheapest steps of each job's window.

    A rank, the part of that step and the tail's part say which steps these are.
    """
    for i in range(len(jobs)):
        j = jobs[i]
        left, right = first[j], int(end[j])
        tail = end[j] - right  # share of the last step that lies before the deadline
        work, n = size[j], right - left
        used = min(max(0.0, work - n), tail)  # the whole steps are not enough: the last one must help
        if used < EPS:  # a rounding error of the duration, not work
            used, work = 0.0, min(work, float(n))
        cost = used * row[right] if used > 0.0 else 0.0
        work = min(work - used, float(n))  # 3.7 - 0.7 may be more than 3
        k = int(np.ceil(work - EPS)) - 1  # less than EPS beyond whole steps is a rounding error: no stretch of its own
        rank, part = -1, 0.0
        if k >= 0:
            rank, below = _descend(counts, sums, zeros, left, right, k)
            part = min(work - k, 1.0)
            cost += below + part * costs[rank]
            while tail - used > EPS and k >= 0 and row[right] < costs[rank]:  # at most twice
                swap = min(tail - used, part)
                cost += swap * (row[right] - costs[rank])
                used, part = used + swap, part - swap
                if part <= EPS:
                    k -= 1
                    rank, part = -1, 0.0
                    if k >= 0:
                        rank, below = _descend(counts, sums, zeros, left, right, k)
                        part = 1.0
        cost_out[i], rank_out[i], part_out[i], tail_out[i] = cost, rank, part, used


@njit(cache=True)
def _pieces(ranks, jobs, first, end, rank, part, tail, job_out, start_out, stop_out):
    """Write the stretches in which each job runs, in order of time; return how many."""
    n = 0
    for i in range(len(jobs)):
        j = jobs[i]
        left, right, begun = first[j], int(end[j]), n
        for t in range(left, right + 1):
            whole = 1.0 if t < right and ranks[t] < rank[i] else 0.0
            share = tail[i] if t == right else part[i] if ranks[t] == rank[i] else whole
            if share <= EPS:
                continue
            # a part of a step lies at its end if only the next step is used: fewer pauses
            joins = n > begun and stop_out[n - 1] == t
            late = share < 1.0 and not joins and t + 1 < right and ranks[t + 1] < rank[i]
            a, b = (t + 1 - share, t + 1.0) if late else (float(t), t + share)
            if joins:
                stop_out[n - 1] = b
            else:
                job_out[n], start_out[n], stop_out[n] = j, a, b
                n += 1
    return n


class CheapestSteps:
    """The cheapest steps of any window of one zone.

    Args:
        signal: cost per kWh.
        zone: its row.
    """

    def __init__(self, signal: Signal, zone: int) -> None:
        self.row = np.append(signal.values[zone], np.inf)  # one more, so that a window may end where the traces do
        order = np.argsort(signal.values[zone], kind="stable")  # of equal steps the earliest is the cheapest
        n = len(order)
        self.costs = signal.values[zone][order]
        self.ranks = np.empty(n, np.int64)
        self.ranks[order] = np.arange(n)
        levels = max(1, int(n - 1).bit_length())
        self.counts, self.sums = np.zeros((levels, n + 1), np.int32), np.zeros((levels, n + 1))
        self.zeros = np.zeros(levels, np.int64)
        _wavelet(self.ranks, self.costs, self.counts, self.sums, self.zeros)

    def choose(
        self, jobs: np.ndarray, first: np.ndarray, end: np.ndarray, size: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return cost for 1 kW, rank of the dearest step used, its part and the part of the last step, for some jobs.

        Args:
            jobs: which ones ``(m,)``; the rest of the arguments has an entry for every job.
            first: first step of each window.
            end: end of each window [steps], may lie within a step.
            size: steps to run, at most ``end - first``.
        """
        m = len(jobs)
        out = np.empty(m), np.empty(m, np.int64), np.empty(m), np.empty(m)
        _cheapest(self.counts, self.sums, self.zeros, self.costs, self.row, jobs, first, end, size, *out)
        return out

    def order_statistic(self, first: np.ndarray, end: np.ndarray, k: np.ndarray) -> np.ndarray:
        """The k-th smallest value (from 0) in each window of whole steps."""
        return _kth(self.counts, self.sums, self.zeros, self.costs, first, end, k)

    def pieces(
        self, jobs: np.ndarray, first: np.ndarray, end: np.ndarray, rank: np.ndarray, part: np.ndarray, tail: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return job, start and stop [steps] of every stretch, from what `choose` returned."""
        room = int(np.sum(end[jobs].astype(np.int64) - first[jobs]) // 2 + 2 * len(jobs))
        job, start, stop = np.empty(room, np.int64), np.empty(room), np.empty(room)
        n = _pieces(self.ranks, jobs, first, end, rank, part, tail, job, start, stop)
        return job[:n], start[:n], stop[:n]


@njit(cache=True)
def _kth(counts, sums, zeros, costs, first, end, k):
    out = np.empty(len(first))
    for i in range(len(first)):
        out[i] = costs[_descend(counts, sums, zeros, first[i], end[i], k[i])[0]]
    return out
