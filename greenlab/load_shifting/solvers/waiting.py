"""Policies of published schedulers that do not look for the optimum: a threshold, and carbon saved per hour."""

from __future__ import annotations

import numpy as np

from greenlab.core.compiled import njit
from greenlab.load_shifting.solvers.contiguous import _start_cost
from greenlab.load_shifting.solvers.cumulative import Signal


@njit(cache=True)
def _per_wait(sums, values, home, first, last, size):
    start = np.empty(len(first), np.int64)
    for j in range(len(first)):
        whole = int(size[j])
        part = size[j] - whole
        now = _start_cost(sums, values, home[j], first[j], whole, part)
        start[j], best = first[j], 0.0
        for s in range(first[j] + 1, last[j] + 1):
            saved = now - _start_cost(sums, values, home[j], s, whole, part)
            if saved > best * (s - first[j] + size[j]):
                start[j], best = s, saved / (s - first[j] + size[j])
    return start


def carbon_per_wait(
    signal: Signal, home: np.ndarray, first: np.ndarray, last: np.ndarray, size: np.ndarray
) -> np.ndarray:
    """Start with the most carbon saved per hour until completion, waiting and running: "Carbon-Time" of GAIA.

    After Hanafy et al., "Going Green for Less Green", ASPLOS 2024, sec. 4, and its code, which divides what is saved
    against starting at once by the time from arrival to completion.
    """
    return _per_wait(signal.sums, signal.values, home, first, last, size)


@njit(cache=True)
def _first_below(values, home, first, last, limit):
    start = last.copy()
    for j in range(len(first)):
        for s in range(first[j], last[j]):
            if values[home[j], s] <= limit[j]:
                start[j] = s
                break
    return start


def first_below(
    values: np.ndarray, home: np.ndarray, first: np.ndarray, last: np.ndarray, limit: np.ndarray
) -> np.ndarray:
    """First start at which the signal is at or below each job's limit; the last possible one if there is none."""
    return _first_below(values, home, first, last, limit)


@njit(cache=True)
def _run_below(values, home, jobs, first, end, size, limit, job_out, start_out, stop_out):
    n = 0
    for i in range(len(jobs)):
        j = jobs[i]
        left, begun, t = size[j], n, first[j]
        while left > 1e-9:
            must = end[j] - t - left < 1.0 - 1e-9  # to skip this step would miss the deadline
            if must or values[home[j], t] <= limit[j]:
                stop = t + min(left, 1.0, end[j] - t)
                left -= stop - t
                if n > begun and stop_out[n - 1] == t:
                    stop_out[n - 1] = stop
                else:
                    job_out[n], start_out[n], stop_out[n] = j, t, stop
                    n += 1
            t += 1
    return n


def run_below(
    values: np.ndarray,
    home: np.ndarray,
    jobs: np.ndarray,
    first: np.ndarray,
    end: np.ndarray,
    size: np.ndarray,
    limit: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Job, start and stop of every stretch of jobs that run at or below their limit, and when they have to."""
    room = int(np.sum(end[jobs].astype(np.int64) - first[jobs]) // 2 + 2 * len(jobs))
    job, start, stop = np.empty(room, np.int64), np.empty(room), np.empty(room)
    n = _run_below(values, home, jobs, first, end, size, limit, job, start, stop)
    return job[:n], start[:n], stop[:n]
