"""Workloads that papers and operators describe, as `Jobs`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.load_shifting.jobs import MOST, Jobs

PROJECT_JOBS, WORKDAY_H = 3387, (9.0, 17.0)
MOST_JOBS = 10_000_000  # of one workload: its columns then take 1 GB


def nightly(
    days: int = 365,
    *,
    hour: float = 1.0,
    duration_h: float = 0.5,
    slack_h: float = 8.0,
    power_kw: float = 1.0,
    **columns: Any,
) -> Jobs:
    """One job every night: a backup, a build, a report.

    Scenario I of "Let's Wait Awhile" (Wiesner et al., Middleware 2021, sec. 5.1) runs half an hour at 1 am and lets it
    move both ways by up to 8 hours. A job cannot start before it is known, so here it is known ``slack_h`` earlier if
    you say so by ``hour``.

    Args:
        days: how many nights, at most 10 million.
        hour: hour of the day, UTC, at which the job arrives.
        duration_h: how long it runs [h].
        slack_h: how much later it may finish [h].
        power_kw: its power [kW].
        columns: other columns of `Jobs`.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one is out of range, or as `Jobs`.

    >>> nightly(2).arrival_h.tolist()
    [1.0, 25.0]
    """
    days = checks.integer("days", days, low=1, high=MOST_JOBS)
    hour = checks.number("hour", hour, low=0, high=MOST - 24.0 * (days - 1))
    for name, value in (("duration_h", duration_h), ("slack_h", slack_h), ("power_kw", power_kw)):
        checks.number(name, value, low=0)
    return Jobs(24.0 * np.arange(days) + hour, duration_h, power_kw, slack_h, **columns)


def ml_project(
    seed: int = 0,
    *,
    start: Any = "2020-01-01",
    constraint: str = "next_workday",
    n: int = PROJECT_JOBS,
    step_h: float = 0.5,
    power_kw: float = 2.036,
    **columns: Any,
) -> Jobs:
    """A machine-learning project of a year: 3,387 training jobs of 4 to 90 h that arrive in working hours.

    Scenario II of "Let's Wait Awhile" (Wiesner et al., Middleware 2021, sec. 5.2), which takes the number of jobs and
    their 325 MWh from the project behind StyleGAN2-ADA: 2.036 kW for 8 GPUs. Arrivals are uniform over working days, 9
    to 17 h; durations are uniform in steps of half an hour. A departure: the authors' code takes Saturday for the
    workday after Friday, here it is Monday.

    Args:
        seed: of arrivals and durations: a whole number from 0, however large.
        start: start of the traces, UTC; it decides which days are working days. The year that begins there is filled.
        constraint: when a job must be done. "next_workday": by 9 h on the next working day if it would end outside
            working hours, else at once. "semi_weekly": by 9 h on the next Monday or Thursday. "none": at once.
        n: how many jobs, at most 10 million.
        step_h: step of arrivals and durations [h].
        power_kw: power of each [kW].
        columns: other columns of `Jobs`, as ``interruptible=True``.

    Raises:
        TypeError: if an argument is no number.
        ValueError: for an unknown constraint, a start within a day, a number out of range, or as `Jobs`.

    >>> jobs = ml_project(0)
    >>> jobs.n, float(jobs.duration_h.min()), float(jobs.duration_h.max())
    (3387, 4.0, 89.5)
    """
    seed, n = checks.integer("seed", seed, low=0), checks.integer("n", n, low=1, high=MOST_JOBS)
    checks.number("power_kw", power_kw, above=0)
    step_h = checks.number("step_h", step_h, above=0, high=8, remedy="it divides the 8 hours of work")
    try:
        begin = pd.Timestamp(start)
    except (TypeError, ValueError) as error:
        raise ValueError(f"start={start!r} is no time: give a day, e.g. '2020-01-01'") from error
    if begin is pd.NaT or begin != begin.normalize():
        raise ValueError(f"start={start!r}: expected the beginning of a day, as the hours of work count from there")
    if constraint not in ("next_workday", "semi_weekly", "none"):
        raise ValueError(f"constraint={constraint!r}: expected 'next_workday', 'semi_weekly' or 'none'")
    rng = np.random.default_rng(seed)
    n_days = (begin + pd.DateOffset(years=1) - begin).days
    weekday = (begin.weekday() + np.arange(n_days)) % 7
    day = np.sort(rng.choice(np.flatnonzero(weekday < 5), n))
    hour = rng.choice(np.arange(WORKDAY_H[0], WORKDAY_H[1], step_h), n)
    arrival, duration = 24.0 * day + hour, rng.choice(np.arange(4.0, 90.0, step_h), n)
    finish = arrival + duration
    at, hour = (begin.weekday() + (finish // 24).astype(int)) % 7, finish % 24
    slack = np.zeros(n)
    if constraint == "next_workday":
        days = np.select(
            [at == 5, at == 6, hour > WORKDAY_H[1], hour < WORKDAY_H[0]], [2, 1, np.where(at == 4, 3, 1), 0], -1
        )
        slack = np.where(days >= 0, 24.0 * days + WORKDAY_H[0] - hour, 0.0)
    elif constraint == "semi_weekly":
        # hours since Monday 9 h; the next of 0 (Monday), 72 (Thursday), 168
        since = (24.0 * at + hour - WORKDAY_H[0]) % 168
        slack = np.where(since == 0, 0.0, np.where(since <= 72, 72 - since, 168 - since))
    return Jobs(arrival, duration, power_kw, slack, **columns)


def training(
    duration_h: float = 168.0,
    *,
    arrival_h: float = 0.0,
    power_kw: float = 100.0,
    slack_h: float = 24.0,
    interruptible: bool = True,
    data_gb: float = 1000.0,
    checkpoint_h: float = 0.0,
    min_chunk_h: float = 0.0,
    every_h: float | None = None,
    n: int = 1,
    **columns: Any,
) -> Jobs:
    """One training run, or ``n`` of them that begin every ``every_h`` hours.

    Args:
        duration_h: how long it runs [h].
        arrival_h: when the first may start [h after the start of the traces].
        power_kw: its power [kW].
        slack_h: how much later it may finish [h].
        interruptible: whether it may pause at a checkpoint.
        data_gb: what must be moved to run it elsewhere [GB].
        checkpoint_h: running time lost by each resumption [h].
        min_chunk_h: shortest stretch between two pauses [h].
        every_h: hours from one run to the next; default: the next begins when the one before has to be finished.
        n: how many, at most 10 million.
        columns: other columns of `Jobs`.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one is out of range, or as `Jobs`.

    >>> training(24, n=3).arrival_h.tolist()
    [0.0, 48.0, 96.0]
    """
    n = checks.integer("n", n, low=1, high=MOST_JOBS)
    arrival_h = checks.number("arrival_h", arrival_h, low=0, high=MOST)
    duration_h = checks.number("duration_h", duration_h, above=0, high=MOST)
    slack_h = checks.number("slack_h", slack_h, low=0, high=MOST)
    checks.number("power_kw", power_kw, above=0)
    for name, value in (("data_gb", data_gb), ("checkpoint_h", checkpoint_h), ("min_chunk_h", min_chunk_h)):
        checks.number(name, value, low=0)
    interruptible = checks.flag("interruptible", interruptible)
    every = duration_h + slack_h if every_h is None else checks.number("every_h", every_h, low=0, high=MOST)
    if arrival_h + every * (n - 1) > MOST:
        raise ValueError(f"n={n}: the last run would arrive after {MOST:g} h; give a smaller n or every_h")
    return Jobs(
        arrival_h + every * np.arange(n), duration_h, power_kw, slack_h, interruptible=interruptible, data_gb=data_gb,
        checkpoint_h=checkpoint_h, min_chunk_h=min_chunk_h, **columns,
    )  # fmt: skip
