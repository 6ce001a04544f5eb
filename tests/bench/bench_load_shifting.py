"""Load shifting: a year of 20 regions and 100,000 jobs, the project of a year, and a shared capacity beside HiGHS.

Times include everything from `Jobs` and `Traces` to the start, region and carbon of every job. Beside each stands the
same policy as a loop over jobs with pandas windows, as published simulators do it, run on a few jobs and scaled up;
both must agree on them. Peak memory is of a process of its own. Nothing is compiled within a measurement. Run: python
-m tests.bench load_shifting
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable

import numpy as np
import pandas as pd

from greenlab.core.grid.traces import Traces
from greenlab.core.machine import peak_memory_bytes
from greenlab.load_shifting import Jobs, Schedule, Transfer, bounds, simulate, warm_up, workload

ZONES, HOURS, N_JOBS, SAMPLE = 20, 8784, 100_000, 12
MEMORY_MARK_GB, GAP_MARK = 2.0, 0.02


def year(zones: int = ZONES) -> Traces:
    """A leap year of hours with a daily swing, a weekly swing and weather that lasts.

    Every zone has its own level and longitude.
    """
    rng, t = np.random.default_rng(0), np.arange(HOURS)
    day = np.sin(2 * np.pi * (t / 24 + rng.random((zones, 1))))
    weather = np.cumsum(rng.standard_normal((zones, HOURS)), axis=1)
    weather -= pd.DataFrame(weather.T).rolling(72, min_periods=1).mean().to_numpy().T
    values = rng.uniform(80, 700, (zones, 1)) * (1 + 0.25 * day + 0.05 * np.sin(2 * np.pi * t / 168) + 0.04 * weather)
    return Traces(tuple(f"Z{i:02d}" for i in range(zones)), "2020-01-01", 1.0, np.maximum(values, 15))


def many(traces: Traces, interruptible: bool) -> Jobs:
    """Jobs of 1 to 24 h with up to 48 h of slack, from every zone."""
    rng = np.random.default_rng(1)
    home = np.array(traces.zones)[rng.integers(0, len(traces.zones), N_JOBS)]
    return Jobs(
        rng.integers(0, HOURS - 72, N_JOBS),
        rng.integers(1, 25, N_JOBS),
        rng.uniform(0.2, 5, N_JOBS),
        rng.integers(0, 49, N_JOBS),
        interruptible=interruptible,
        home=home,
        data_gb=rng.uniform(0, 100, N_JOBS),
    )


def project(constraint: str, interruptible: bool) -> tuple[Traces, Jobs]:
    """The project of a year at half hours."""
    traces = Traces.from_frame(year(1).to_frame(), step_h=0.5)
    return traces, workload.ml_project(0, constraint=constraint, interruptible=interruptible)


def loop(traces: Traces, jobs: Jobs, rows: np.ndarray, transfer: Transfer | None) -> tuple[float, list[float]]:
    """The same policy job by job with pandas; return the time it took and each job's carbon."""
    times = pd.date_range(traces.start, periods=traces.n_steps, freq=pd.Timedelta(hours=traces.step_h))
    series = {z: pd.Series(traces.intensity_g_per_kwh[i], times) for i, z in enumerate(traces.zones)}
    table = jobs.to_frame().iloc[rows]
    began, found = time.perf_counter(), []
    for job in table.itertuples():
        begin, costs = times[0] + pd.Timedelta(hours=job.arrival_h), []
        end = begin + pd.Timedelta(hours=job.duration_h + job.slack_h) - pd.Timedelta(seconds=1)
        k, home = round(job.duration_h / traces.step_h), job.home or traces.zones[0]
        for zone, values in series.items():
            moving, first = 0.0, begin
            if transfer is not None and zone != home:
                first = begin + pd.Timedelta(hours=transfer.delay_h)
                moving = job.data_gb * transfer.energy_kwh_per_gb * (values[begin] + series[home][begin]) / 2
            window = values[first:end]
            if len(window) >= k:
                run = window.nsmallest(k).sum() if job.interruptible else window.rolling(k).sum().min()
                costs.append(run * job.power_kw * traces.step_h + moving)
        found.append(min(costs))
    return time.perf_counter() - began, found


def answer(jobs: Jobs, traces: Traces, policy: str, transfer: Transfer | None) -> Schedule:
    """Simulate and look at every job's start, region and carbon."""
    schedule = simulate(jobs, traces, policy, transfer=transfer)
    for _ in (schedule.start_h, schedule.region, schedule.carbon_g):
        pass
    return schedule


def scenarios() -> dict[str, tuple[Callable[[], tuple[Traces, Jobs]], str, Transfer | None, float]]:
    """Name: (what makes traces and jobs, policy, transfer, mark [s])."""

    def big(interruptible: bool) -> Callable[[], tuple[Traces, Jobs]]:
        return lambda: ((traces := year()), many(traces, interruptible))

    move = Transfer(energy_kwh_per_gb=0.01, delay_h=1.0)
    return {
        "100,000 jobs x 20 regions, in one piece": (big(False), "joint", None, 0.2),
        "the same, with transfer": (big(False), "joint", move, 1.0),
        "the same, interruptible": (big(True), "joint", None, 2.0),
        "the same, interruptible, with transfer": (big(True), "joint", move, 2.0),
        "project, next workday, in one piece": (lambda: project("next_workday", False), "best_start", None, 0.02),
        "project, next workday, interruptible": (lambda: project("next_workday", True), "k_cheapest", None, 0.04),
        "project, semi-weekly, in one piece": (lambda: project("semi_weekly", False), "best_start", None, 0.02),
        "project, semi-weekly, interruptible": (lambda: project("semi_weekly", True), "k_cheapest", None, 0.04),
    }


def measure_one(name: str, rounds: int) -> dict[str, object]:
    """One scenario in a process of its own."""
    warm_up()
    make, policy, transfer, mark = scenarios()[name]
    traces, jobs = make()
    schedule = answer(jobs, traces, policy, transfer)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        answer(jobs, traces, policy, transfer)
        times.append(time.perf_counter() - began)
    peak = (peak_memory_bytes() or 0) / 1e9
    rows = np.random.default_rng(2).choice(np.flatnonzero(schedule.scheduled), SAMPLE, replace=False)
    looped, found = loop(traces, jobs, rows, transfer)
    agrees = bool(np.allclose(found, schedule.carbon_g[rows]))
    took = statistics.median(times)
    return {
        "scenario": name, "time_s": took, "mark": mark, "peak_gb": peak, "loop_s": looped / SAMPLE * jobs.n,
        "speedup": looped / SAMPLE * jobs.n / took, "agrees": agrees,
        "within_mark": took <= mark and peak <= MEMORY_MARK_GB and agrees,
    }  # fmt: skip


def shared(n: int, kw: float, interruptible: bool) -> dict[str, object]:
    """A shared capacity beside the linear program: gap, misses and both times.

    Jobs in one piece have no mark: the program lets them pause, so part of the gap, and of the misses, is the price of
    not pausing.
    """
    traces, jobs = project("semi_weekly", True)
    jobs = Jobs(jobs.arrival_h[:n], jobs.duration_h[:n], 1.0, jobs.slack_h[:n], interruptible=interruptible)
    times = []
    for _ in range(4):
        began = time.perf_counter()
        schedule = simulate(jobs, traces, "k_cheapest", capacity=kw)  # those that may not pause: best start
        times.append(time.perf_counter() - began)
    began = time.perf_counter()
    bound = bounds.linear_program(jobs, traces, kw)
    solver = time.perf_counter() - began
    lost = int((schedule.reason == "no capacity before its deadline").sum())
    gap = float(np.nansum(schedule.carbon_g)) / 1e3 / bound.carbon_kg - 1 if bound.carbon_kg else np.nan
    took = statistics.median(times)
    kept = bool(lost == 0 and gap <= GAP_MARK) if bound.feasible else lost > 0
    name = (
        f"{n} jobs share {kw:g} kW"
        + ("" if interruptible else ", in one piece")
        + ("" if bound.feasible else " (LP infeasible)")
    )
    return {
        "scenario": name,
        "time_s": took,
        "mark": GAP_MARK if interruptible else None,
        "gap": gap if lost == 0 else np.nan,
        "missed": lost,
        "lp_s": solver,
        "speedup": solver / took,
        "within_mark": kept if interruptible else None,
    }


def crowded(n: int, zones: int, mark: float, load: float = 0.8) -> dict[str, object]:
    """Jobs of a year that may pause and share a limit that they fill to ``load``: processor time against a mark [s]."""
    rng, traces = np.random.default_rng(1), year(zones)
    jobs = Jobs(
        rng.integers(0, HOURS - 72, n), rng.integers(1, 25, n), rng.uniform(0.2, 5, n), rng.integers(0, 49, n),
        interruptible=True, home=np.array(traces.zones)[rng.integers(0, zones, n)],
    )  # fmt: skip
    room = float((jobs.duration_h * jobs.power_kw).sum()) / HOURS / load / zones
    policy = "k_cheapest" if zones == 1 else "joint"
    simulate(Jobs([0, 0], 2, 1.0, 4, interruptible=True), traces, policy, capacity=1.0)
    began = time.process_time()
    schedule = simulate(jobs, traces, policy, capacity=room)
    took = time.process_time() - began
    name = f"{n:,} jobs that pause share {zones} zone{'s' * (zones > 1)}, {load:.0%} full"
    return {
        "scenario": name,
        "time_s": took,
        "mark": mark,
        "missed": int((~schedule.scheduled).sum()),
        "within_mark": took <= mark,
    }


def checkpoints() -> dict[str, object]:
    """One job of a day with checkpoints and 8,000 h of slack at half hours: processor time against 1 s."""
    traces = Traces.from_frame(year(1).to_frame(), step_h=0.5)
    job = Jobs(0, 24, 1.0, 8000, interruptible=True, checkpoint_h=0.1)
    simulate(job.replace(slack_h=24), traces, "k_cheapest")
    began = time.process_time()
    simulate(job, traces, "k_cheapest")
    took = time.process_time() - began
    return {
        "scenario": "one job with checkpoints, 8,000 h of slack",
        "time_s": took,
        "mark": 1.0,
        "within_mark": took <= 1.0,
    }


def run(rounds: int = 9) -> pd.DataFrame:
    """Return one row per scenario: median time, mark, speed-up over the loop or over HiGHS.

    With a capacity the mark is that of the gap to the LP.
    """
    context = multiprocessing.get_context("spawn")
    rows = []
    for name in scenarios():
        with context.Pool(1) as pool:
            rows.append(pool.apply(measure_one, (name, rounds)))
    rows += [shared(n, kw, True) for n, kw in ((600, 40.0), (600, 25.0), (1200, 25.0), (1200, 15.0))]
    rows += [shared(600, kw, False) for kw in (40.0, 30.0, 25.0)]
    rows += [crowded(30_000, 1, 2.0), crowded(10_000, 5, 5.0), checkpoints()]
    columns = [
        "scenario",
        "time_s",
        "mark",
        "within_mark",
        "peak_gb",
        "loop_s",
        "speedup",
        "agrees",
        "gap",
        "missed",
        "lp_s",
    ]
    return pd.DataFrame(rows)[columns]


if __name__ == "__main__":
    print(run().to_string(index=False))
