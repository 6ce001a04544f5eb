"""Load shifting written a second time with plain loops over starts, steps and subsets, and cases to compare both on."""

import itertools
import math

import numpy as np
from hypothesis import strategies as st

from greenlab.core.grid.traces import Traces
from greenlab.load_shifting import Jobs, Transfer

EPS = 1e-7


def overlap(start, stop, t):
    return max(0.0, min(stop, t + 1) - max(start, t))


def run_cost(row, start, stop):
    """Signal summed over the steps from start to stop, step by step."""
    return sum(row[t] * share for t in range(len(row)) if (share := overlap(start, stop, t)) > 0)


def window(job, traces):
    """First step, size and end of one row of Jobs.to_frame(), None if it does not fit."""
    first = math.ceil(job.arrival_h / traces.step_h - 1e-9)
    size = job.duration_h / traces.step_h
    end = first + size + job.slack_h / traces.step_h if math.isnan(job.deadline_h) else job.deadline_h / traces.step_h
    end = min(end, traces.n_steps)
    return (first, size, end) if first + size <= end + EPS else None


def zones_of(job, traces, anywhere):
    home = 0 if job.home is None else traces.zones.index(job.home)
    if not anywhere:
        return [home]
    return [z for z, name in enumerate(traces.zones) if z == home or job.regions is None or name in job.regions]


def best_piece(row, first, size, end):
    """Least cost over all starts."""
    return min((run_cost(row, s, s + size) for s in range(first, len(row)) if s + size <= end + EPS), default=math.inf)


def best_steps(row, first, size, end, share=None):
    """Least cost over steps sorted by cost; the last counts up to the deadline, each takes ``share`` of the power."""
    left, cost = size, 0.0
    steps = sorted(
        (row[t], min(1.0, end - t, 1.0 if share is None else share[t]))
        for t in range(first, min(len(row), math.ceil(end - 1e-9)))
    )
    for value, room in steps:
        cost += value * min(left, room)
        left -= min(left, room)
    return cost if left < EPS else math.inf


def best_chunks(row, first, size, end, overhead, shortest, share=None):
    """Least cost over every subset of steps: runs of steps are chunks, the last step of all may be a part."""
    best, n = math.inf, max(0, min(len(row), math.ceil(end - 1e-9)) - first)
    for used in itertools.product((0, 1), repeat=n):
        runs = [
            [first + i for i, _ in group] for on, group in itertools.groupby(enumerate(used), key=lambda x: x[1]) if on
        ]
        if not runs:
            continue
        length = size + (len(runs) - 1) * overhead
        part = length - (sum(used) - 1)
        if not 0 < part <= 1 + EPS or runs[-1][-1] + part > end + EPS:
            continue
        lengths = [len(run) for run in runs[:-1]] + [len(runs[-1]) - 1 + part]
        if len(runs) > 1 and min(lengths) < shortest - EPS:
            continue
        steps = [t for run in runs for t in run]
        if share is not None and (share[steps[-1]] < part - 1e-9 or any(share[t] < 1 - 1e-9 for t in steps[:-1])):
            continue
        best = min(best, sum(row[t] for t in steps[:-1]) + part * row[steps[-1]])
    return best


def best_cost(job, traces, values, *, anywhere, at_once=False, pue=None, transfer=None):
    """Least cost of one job, whatever its kind, zone by zone."""
    if (w := window(job, traces)) is None:
        return None
    first, size, end = w
    step, best = traces.step_h, math.inf
    home = zones_of(job, traces, False)[0]
    for z in zones_of(job, traces, anywhere):
        row, begin, moving = values[z] * (1.0 if pue is None else pue[z]), first, 0.0
        if transfer is not None and z != home:
            hours = transfer.delay_h + job.data_gb / transfer.speed_gb_per_h
            begin = first + math.ceil(hours / step - 1e-9)
            moving = job.data_gb * transfer.energy_kwh_per_gb * (values[z][first] + values[home][first]) / 2
        if at_once:
            cost = run_cost(row, begin, begin + size) if begin + size <= end + EPS else math.inf
        elif not job.interruptible:
            cost = best_piece(row, begin, size, end)
        elif job.checkpoint_h or job.min_chunk_h:
            cost = best_chunks(row, begin, size, end, job.checkpoint_h / step, job.min_chunk_h / step)
        else:
            cost = best_steps(row, begin, size, end)
        best = min(best, cost * job.power_kw * step + moving)
    return best


@st.composite
def traces_strategy(draw, max_zones=3, max_steps=30, min_steps=6, signals=False):
    n_zones, n_steps = draw(st.integers(1, max_zones)), draw(st.integers(min_steps, max_steps))
    step_h = draw(st.sampled_from([1.0, 0.5, 0.25]))
    # few values, so that ties are common; or many
    value = st.integers(1, 6).map(lambda v: 50.0 * v) if draw(st.booleans()) else st.floats(10, 900)
    rows = [draw(st.lists(value, min_size=n_steps, max_size=n_steps)) for _ in range(n_zones)]
    extra = {}
    if signals:
        rng = np.random.default_rng(draw(st.integers(0, 999)))
        shape = (n_zones, n_steps)
        extra = {"marginal_g_per_kwh": rng.uniform(100, 900, shape), "curtailed_share": rng.uniform(0, 1, shape),
                 "price_per_kwh": rng.normal(0.1, 0.1, shape)}  # fmt: skip
    return Traces(tuple("ABCDE"[:n_zones]), "2020-02-28", step_h, rows, **extra)


@st.composite
def jobs_strategy(draw, traces, max_jobs=5, interruptible=None, costly=False, max_slack=12, fractions=True):
    n, step, total = draw(st.integers(1, max_jobs)), traces.step_h, traces.n_steps
    column = lambda s: draw(st.lists(s, min_size=n, max_size=n))  # noqa: E731
    part = st.sampled_from([0.0, 0.0, 0.25, 0.5, 0.7]) if fractions else st.just(0.0)
    arrival = [
        min(a + p, total - 0.01) * step for a, p in zip(column(st.integers(0, total - 1)), column(part), strict=True)
    ]
    duration = [max(d + p, 0.25) * step for d, p in zip(column(st.integers(0, 5)), column(part), strict=True)]
    slack = [(s + p) * step for s, p in zip(column(st.integers(0, max_slack)), column(part), strict=True)]
    pausing = st.booleans() if interruptible is None else st.just(interruptible)
    some = st.none() | st.lists(st.sampled_from(traces.zones), min_size=1, unique=True).map(tuple)
    regions = column(some)
    options = {}
    if costly:
        options = {"checkpoint_h": [c * step for c in column(st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.3]))],
                   "min_chunk_h": [c * step for c in column(st.sampled_from([0.0, 0.5, 1.0, 2.0, 2.5]))]}  # fmt: skip
    deadline = np.full(n, np.nan)
    slack = np.asarray(slack)
    for i in np.flatnonzero(column(st.booleans())):  # some have a deadline on the clock instead
        deadline[i], slack[i] = arrival[i] + duration[i] + slack[i], np.nan
    return Jobs(
        arrival, duration, column(st.sampled_from([0.5, 1.0, 3.0])), slack, deadline, column(pausing),
        column(st.sampled_from(traces.zones)), regions, column(st.sampled_from([0.0, 10.0, 200.0])), **options,
    )  # fmt: skip


@st.composite
def cases(draw, **kinds):
    """Traces, jobs over them, PUE by zone and a transfer."""
    size = {k: kinds.pop(k) for k in ("max_zones", "max_steps", "min_steps", "signals") if k in kinds}
    traces = draw(traces_strategy(**size))
    jobs = draw(jobs_strategy(traces, **kinds))
    pue = draw(st.none() | st.just(np.array([1.1, 1.5, 1.0, 1.3, 1.2])[: len(traces.zones)]))
    transfer = draw(
        st.none()
        | st.builds(
            Transfer,
            st.sampled_from([0.0, 0.01, 0.06]),
            st.sampled_from([0.0, 0.5, 2.0]),
            st.sampled_from([math.inf, 50.0]),
        )
    )
    return traces, jobs, pue, transfer
