"""Planning on an estimated duration while paying for the true one; and forecasts handed over as traces."""

import numpy as np
import pytest

from greenlab.core.grid.traces import Traces
from greenlab.load_shifting import Jobs, bounds, simulate
from tests.load_shifting import reference as ref


def one(values, **signals):
    return Traces(("A",), "2020", 1.0, [values], **signals)


@pytest.mark.parametrize("seed", range(60))
def test_a_run_in_one_piece_starts_where_its_estimate_is_cheapest_and_pays_for_its_true_time(seed):
    rng = np.random.default_rng(seed)
    row = rng.choice([100.0, 200, 300, 400, 500], 40)
    first, slack = int(rng.integers(0, 10)), int(rng.integers(0, 10))
    true, estimate = float(rng.integers(1, 6)), float(rng.integers(1, 12)) / 2
    schedule = simulate(Jobs(first, true, 2.0, slack, estimated_h=estimate), one(row), "best_start")
    start = min(range(first, first + slack + 1), key=lambda s: (ref.run_cost(row, s, s + estimate), s))
    assert schedule.start_h[0] == start
    assert schedule.finish_h[0] == start + true
    assert schedule.carbon_g[0] == pytest.approx(2 * ref.run_cost(row, start, start + true))
    assert schedule.metrics()["late"] == 0, "with a slack the run ends in time whatever was estimated"
    assert schedule.carbon_g[0] >= bounds.optimum(schedule.jobs, schedule.traces).carbon_g[0] - 1e-9


@pytest.mark.parametrize("seed", range(60))
def test_a_run_that_pauses_takes_its_planned_steps_in_order_and_goes_on_after_the_last(seed):
    rng = np.random.default_rng(seed)
    row = rng.permutation(np.arange(40.0)) + 10  # no two hours are equal
    slack, true, estimate = int(rng.integers(0, 12)), int(rng.integers(1, 7)), int(rng.integers(1, 7))
    jobs = Jobs(3, true, 1.0, slack, interruptible=True, estimated_h=estimate)
    schedule = simulate(jobs, one(row), "k_cheapest")
    planned = sorted(sorted(range(3, 3 + estimate + slack), key=lambda t: row[t])[:estimate])
    ran = (planned + list(range(planned[-1] + 1, 40)))[:true]
    assert schedule.carbon_g[0] == pytest.approx(row[ran].sum())
    assert schedule.pieces.steps(1)[0] == pytest.approx(true)
    assert schedule.finish_h[0] == ran[-1] + 1


def test_an_estimate_that_is_right_changes_nothing_and_now_does_not_plan():
    rng = np.random.default_rng(0)
    jobs = Jobs(
        rng.integers(0, 50, 30),
        rng.uniform(0.5, 9, 30),
        1.0,
        rng.uniform(0, 20, 30),
        interruptible=rng.random(30) < 0.5,
    )
    traces = one(rng.uniform(50, 500, 120))
    for policy in ("best_start", "k_cheapest", "threshold", "carbon_per_wait", "best_region", "joint"):
        same = simulate(jobs.replace(estimated_h=jobs.duration_h), traces, policy)
        assert same.timeline().equals(simulate(jobs, traces, policy).timeline())
    guess = simulate(jobs.replace(estimated_h=2.0), traces, "now")
    assert guess.timeline().equals(simulate(jobs, traces, "now").timeline())


def test_a_deadline_that_a_short_estimate_misses_is_counted_as_late():
    traces = one([300.0, 300, 300, 100, 300, 300, 300, 300])
    jobs = Jobs([0, 0], 3, 1.0, deadline_h=4, estimated_h=[1, np.nan])
    schedule = simulate(jobs, traces, "best_start")
    assert schedule.start_h.tolist() == [3, 1]
    assert schedule.finish_h.tolist() == [6, 4]
    assert schedule.late.tolist() == [True, False]
    assert schedule.metrics()["late"] == 1
    beyond = simulate(Jobs(0, 6, 1.0, deadline_h=7, estimated_h=1), traces, "best_start")
    assert beyond.reason[0] == "still running at the end of the traces"
    assert beyond.metrics()["missed"] == 1


def test_checkpoints_are_paid_for_the_pauses_that_are_made():
    traces = one([100.0, 900, 100, 900, 100, 900, 900])
    jobs = Jobs(0, 2, 1.0, 5, interruptible=True, checkpoint_h=0.1, estimated_h=3)
    schedule = simulate(jobs, traces, "k_cheapest")
    # 1 h in hour 0, 0.9 h in hour 2 after 0.1 h of resuming, and 0.1 h in hour 4 after another 0.1 h
    assert schedule.energy_kwh[0] == pytest.approx(2.2)
    assert schedule.metrics()["pauses"] == 2


def test_estimates_and_a_limit_are_refused_together():
    jobs = Jobs(0, 2, 1.0, 2, estimated_h=1)
    with pytest.raises(ValueError, match="capacity with estimated_h"):
        simulate(jobs, one([100.0] * 8), "best_start", capacity=5.0)
    with pytest.raises(ValueError, match="row 0: estimated_h=-1"):
        Jobs(0, 2, 1.0, 2, estimated_h=-1)


def test_traces_as_a_forecast_are_checked_and_used_for_the_signal_that_decides():
    price = [[5.0, 1, 9]]
    truth = one([100.0, 200, 300], price_per_kwh=price)
    job = Jobs(0, 1, 1.0, 2)
    assert simulate(job, truth, "best_start", signal="price", forecast=truth).start_h[0] == 1
    wrong = one([300.0, 200, 100], price_per_kwh=[[5.0, 9, 1]])
    assert simulate(job, truth, "best_start", forecast=wrong).start_h[0] == 2
    assert simulate(job, truth, "best_start", signal="price", forecast=wrong).start_h[0] == 2
    for other, words in (
        (Traces(("B",), "2020", 1.0, [[100.0] * 3]), "forecast has zones="),
        (Traces(("A",), "2021", 1.0, [[100.0] * 3]), "forecast has start="),
        (Traces(("A",), "2020", 0.5, [[100.0] * 3]), "forecast has step_h="),
        (Traces(("A",), "2020", 1.0, [[100.0] * 4]), "forecast has n_steps="),
    ):
        with pytest.raises(ValueError, match=words):
            simulate(job, truth, "best_start", forecast=other)
    with pytest.raises(ValueError, match="forecast: signal='price' needs price_per_kwh"):
        simulate(job, truth, "best_start", signal="price", forecast=one([100.0, 200, 300]))
    with pytest.raises(ValueError, match="forecast is Traces, but signal is an array"):
        simulate(job, truth, "best_start", signal=np.ones((1, 3)), forecast=truth)
