"""Overfull machines: as many pausing jobs on time as possible, compared with the exact answer by HiGHS."""

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

from greenlab.core.grid.traces import Traces
from greenlab.load_shifting import Jobs, simulate

LATE = "no capacity before its deadline"


def overfull(seed):
    """A few jobs that want more of one zone than it has."""
    rng = np.random.default_rng(seed)
    n, n_steps = int(rng.integers(2, 9)), int(rng.integers(4, 13))
    first = rng.integers(0, n_steps - 1, n)
    duration = np.minimum(rng.integers(1, 5, n), n_steps - first)
    slack = np.minimum(rng.integers(0, 4, n), n_steps - first - duration)
    power = rng.choice([0.5, 1.0, 1.7], n) if seed % 2 else np.ones(n)
    jobs = Jobs(first, duration, power, slack, interruptible=True)
    traces = Traces(("A",), "2020", 1.0, rng.choice([100.0, 200, 300, 400], n_steps))
    return jobs, traces, float(rng.choice([1.0, 1.7, 2.0]))


def most_on_time(jobs, traces, room):
    """The largest number of jobs that fit together, by a mixed-integer program: x[j, t] power, done[j] 0 or 1."""
    n, n_steps = jobs.n, traces.n_steps
    first = jobs.arrival_h.astype(int)
    end = first + (jobs.duration_h + jobs.slack_h).astype(int)
    size = n * n_steps + n
    most = np.zeros(size)
    work, steps = np.zeros((n, size)), np.zeros((n_steps, size))
    for j in range(n):
        for t in range(n_steps):
            k = j * n_steps + t
            most[k] = jobs.power_kw[j] if first[j] <= t < end[j] else 0.0
            work[j, k] = 1.0
            steps[t, k] = 1.0
        work[j, n * n_steps + j] = -jobs.power_kw[j] * jobs.duration_h[j]
    most[n * n_steps :] = 1.0
    cost = np.concatenate([np.zeros(n * n_steps), -np.ones(n)])
    integral = np.concatenate([np.zeros(n * n_steps), np.ones(n)])
    found = milp(cost, integrality=integral, bounds=Bounds(0, most),
                 constraints=[LinearConstraint(work, 0, 0), LinearConstraint(steps, -np.inf, room)])  # fmt: skip
    assert found.status == 0
    return round(-found.fun)


def test_as_many_jobs_are_on_time_as_can_be_within_one_per_cent_over_a_thousand_overfull_cases():
    ours = exact = overfull_cases = 0
    for seed in range(3000):
        jobs, traces, room = overfull(seed)
        schedule = simulate(jobs, traces, "k_cheapest", capacity=room)
        lost = int((schedule.reason == LATE).sum())
        assert (schedule.power_kw()["power_kw"] <= room + 1e-6).all()
        solid = simulate(jobs.replace(interruptible=False), traces, "best_start", capacity=room)
        assert schedule.scheduled.sum() >= solid.scheduled.sum(), "a pause that is allowed never costs a deadline"
        if not lost:
            continue
        best = most_on_time(jobs, traces, room)
        assert schedule.scheduled.sum() <= best
        ours, exact, overfull_cases = ours + int(schedule.scheduled.sum()), exact + best, overfull_cases + 1
        if overfull_cases == 1000:
            break
    assert overfull_cases == 1000
    assert ours >= 0.99 * exact


def test_two_small_jobs_are_not_lost_for_a_large_one():
    traces = Traces(("A",), "2020", 1.0, [[350.0, 200, 400, 300, 100]])
    jobs = Jobs([2, 1, 2], 2, 1.0, deadline_h=[5.0, 4, 4], interruptible=True)
    assert simulate(jobs, traces, "k_cheapest", capacity=1.0).scheduled.sum() == 2


@pytest.mark.parametrize("seed", range(20))
def test_mixed_jobs_that_pause_are_never_fewer_than_in_one_piece(seed):
    rng = np.random.default_rng(seed)
    n = 12
    traces = Traces(("A", "B"), "2020", 1.0, rng.uniform(50, 500, (2, 24)))
    jobs = Jobs(rng.integers(0, 14, n), rng.integers(1, 6, n), rng.choice([1.0, 2.0], n), rng.integers(0, 5, n),
                interruptible=rng.random(n) < 0.6, home=np.array(["A", "B"])[rng.integers(0, 2, n)])  # fmt: skip
    for policy, one_piece in (("k_cheapest", "best_start"), ("joint", "joint")):
        pausing = simulate(jobs, traces, policy, capacity=2.0)
        solid = simulate(jobs.replace(interruptible=False), traces, one_piece, capacity=2.0)
        assert pausing.scheduled.sum() >= solid.scheduled.sum()
