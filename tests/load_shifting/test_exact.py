"""Load shifting against a second, plain implementation: every start, every subset, every zone tried."""

import math

import numpy as np
import pytest
from hypothesis import given, settings

from greenlab.core.grid.traces import Traces
from greenlab.load_shifting import Jobs, Policy, Transfer, simulate
from tests.load_shifting import reference as ref

MANY = settings(max_examples=200, deadline=None)


def expected(case, policy, values=None):
    traces, jobs, pue, transfer = case
    values = traces.intensity_g_per_kwh if values is None else values
    options = {
        "anywhere": policy in ("joint", "best_region"),
        "at_once": policy == "best_region",
        "pue": pue,
        "transfer": transfer,
    }
    rows = jobs.to_frame()
    if policy in ("best_start", "best_region"):
        rows = rows.assign(interruptible=False)
    return [ref.best_cost(job, traces, values, **options) for job in rows.itertuples()]


def assert_equal(schedule, want, got=None):
    got = schedule.carbon_g if got is None else got
    for i, cost in enumerate(want):
        assert schedule.scheduled[i] == (cost is not None), schedule.reason[i]
        if cost is not None:
            assert got[i] == pytest.approx(cost, rel=1e-7, abs=1e-6)


@given(ref.cases())
@settings(max_examples=300, deadline=None)
def test_every_policy_that_optimizes_finds_the_least_carbon_there_is(case):
    traces, jobs, pue, transfer = case
    for policy in ("best_start", "k_cheapest", "best_region", "joint"):
        schedule = simulate(jobs, traces, policy, pue=pue, transfer=transfer)
        want = expected(case, policy)
        assert_equal(schedule, want)


@given(ref.cases(max_jobs=3, max_steps=14, max_slack=5, max_zones=2, interruptible=True, costly=True))
@MANY
def test_checkpoints_and_shortest_chunks_equal_the_best_of_all_subsets_of_steps(case):
    traces, jobs, pue, transfer = case
    for policy in ("k_cheapest", "joint"):
        schedule = simulate(jobs, traces, policy, pue=pue, transfer=transfer)
        assert_equal(schedule, expected(case, policy))


@given(ref.cases(max_jobs=2, max_steps=13, max_slack=7, max_zones=1, interruptible=True, costly=True, signals=True))
@settings(max_examples=150, deadline=None)
def test_checkpoints_by_price_which_may_be_negative(case):
    traces, jobs, _, _ = case
    schedule = simulate(jobs, traces, "k_cheapest", signal="price")
    want = expected((traces, jobs, None, None), "k_cheapest", traces.price_per_kwh)
    assert_equal(schedule, want, schedule.account(traces.price_per_kwh))


@given(ref.cases(interruptible=True, fractions=False, signals=True))
@settings(max_examples=200, deadline=None)
def test_other_signals_decide_the_same_way(case):
    traces, jobs, _, transfer = case
    for signal, values in (
        ("marginal", traces.marginal_g_per_kwh),
        ("curtailment", 1 - traces.curtailed_share),
        ("price", traces.price_per_kwh),  # may be negative
    ):
        schedule = simulate(jobs, traces, "joint", signal=signal, transfer=transfer)
        assert_equal(schedule, expected((traces, jobs, None, transfer), "joint", values), schedule.account(values))


@pytest.mark.parametrize("n_jobs", [40, 4000])  # few: every start is looked at; many: the table answers
def test_both_ways_of_finding_a_start_agree_with_the_loop(n_jobs):
    rng = np.random.default_rng(n_jobs)
    traces = Traces(("A", "B", "C"), "2020-01-01", 1.0, rng.integers(1, 9, (3, 600)) * 50.0)
    jobs = Jobs(rng.integers(0, 500, n_jobs), rng.choice([3.0, 7.0, 7.5], n_jobs), 1.0, rng.integers(0, 90, n_jobs))
    schedule = simulate(jobs, traces, "joint")
    some = rng.choice(n_jobs, 40, replace=False)
    rows = list(jobs.to_frame().itertuples())
    want = {i: ref.best_cost(rows[i], traces, traces.intensity_g_per_kwh, anywhere=True) for i in some}
    assert {i: schedule.carbon_g[i] for i in some} == pytest.approx(want)


@given(ref.cases(max_jobs=4))
@settings(max_examples=200, deadline=None)
def test_threshold_starts_at_the_first_step_below_the_quantile_of_its_window(case):
    traces, jobs, _, _ = case
    solid, pausing = (
        simulate(jobs.replace(interruptible=on), traces, Policy("threshold", quantile=0.4)) for on in (False, True)
    )
    for i, job in enumerate(jobs.to_frame().itertuples()):
        if (w := ref.window(job, traces)) is None:
            continue
        first, size, end = w
        row = traces.intensity_g_per_kwh[ref.zones_of(job, traces, False)[0]]
        seen = sorted(row[first : math.ceil(end - 1e-9)])
        limit = seen[math.floor(0.4 * (len(seen) - 1) + 1e-9)]
        last = math.floor(end - size + 1e-7)
        want = next((s for s in range(first, last) if row[s] <= limit + 1e-6), last)
        assert solid.start_h[i] == pytest.approx(want * traces.step_h)
        t, left = first, size  # one that may pause runs below the limit, and when it must
        steps = []
        while left > 1e-7:
            if row[t] <= limit + 1e-6 or end - t - left < 1 - 1e-7:
                share = min(left, 1.0, end - t)
                steps.append((t, share))
                left -= share
            t += 1
        assert pausing.carbon_g[i] == pytest.approx(sum(row[t] * s for t, s in steps) * job.power_kw * traces.step_h)


@given(ref.cases(max_jobs=4))
@settings(max_examples=200, deadline=None)
def test_carbon_per_wait_maximizes_what_is_saved_per_hour_until_completion(case):
    traces, jobs, _, _ = case
    schedule = simulate(jobs, traces, "carbon_per_wait")
    for i, job in enumerate(jobs.to_frame().itertuples()):
        if (w := ref.window(job, traces)) is None:
            continue
        first, size, end = w
        row = traces.intensity_g_per_kwh[ref.zones_of(job, traces, False)[0]]
        now = ref.run_cost(row, first, first + size)
        score = {
            s: (now - ref.run_cost(row, s, s + size)) / (s - first + size)
            for s in range(first, len(row))
            if s + size <= end + 1e-7
        }
        start = round(float(schedule.start_h[i]) / traces.step_h)
        assert score[start] == pytest.approx(max(score.values()), abs=1e-6)


def test_three_hours_by_hand():
    """Two hours of work in four: 300 + 100 in one piece, 200 + 100 with a pause."""
    traces = Traces(("A", "B"), "2021-06-01", 1.0, [[200, 300, 100, 400], [250, 250, 250, 10]])
    jobs = Jobs(0, 2, power_kw=2.0, slack_h=2, interruptible=True, home="A", data_gb=10)
    now, solid, pausing, moved = (simulate(jobs, traces, p) for p in ("now", "best_start", "k_cheapest", "joint"))
    assert [now.carbon_g[0], solid.carbon_g[0], pausing.carbon_g[0], moved.carbon_g[0]] == [1000, 800, 600, 520]
    assert list(zip(pausing.timeline()["start_h"], pausing.timeline()["stop_h"], strict=True)) == [(0, 1), (2, 3)]
    assert pausing.metrics() | {"saved_pct": 40.0, "delay_p50_h": 1.0, "pauses": 1} == pausing.metrics()
    # 10 GB at 0.5 kWh/GB cost 5 kWh x (200 + 250) / 2 g: not worth 80 g
    stays = simulate(jobs, traces, "joint", transfer=Transfer(0.5))
    assert (stays.region[0], stays.carbon_g[0]) == (0, 600)
    goes = simulate(jobs, traces, "joint", transfer=Transfer(0.03))
    assert (goes.region[0], goes.carbon_g[0]) == (1, pytest.approx(520 + 0.3 * 225))
    late = simulate(jobs, traces, "joint", transfer=Transfer(0.0, delay_h=3))  # too late to finish there
    assert late.region[0] == 0


def test_a_checkpoint_that_costs_more_than_it_saves_is_not_taken():
    traces = Traces(("A",), "2021-06-01", 1.0, [[100, 300, 100, 400, 400]])
    chunks = lambda h: simulate(Jobs(0, 2, slack_h=2, interruptible=True, checkpoint_h=h), traces, "k_cheapest")  # noqa: E731
    assert len(chunks(0.25).pieces) == 2
    assert chunks(0.25).carbon_g[0] == pytest.approx(100 + 100 + 0.25 * 400)
    assert chunks(0.75).carbon_g[0] == 400  # 100 + 300 in one piece
    assert chunks(0.25).energy_kwh[0] == pytest.approx(2.25)


def test_a_deadline_within_a_step_that_leaves_no_time_to_spare():
    """3.7 steps from step 6 to 9.7: in binary the whole steps and the part are a rounding error more than there is."""
    traces = Traces(("A",), "2020-02-28", 0.5, [np.arange(10.0) * 10 + 10])
    jobs = Jobs(3.0, 1.85, 1.0, deadline_h=4.85, interruptible=True)
    for policy in ("k_cheapest", "joint", "threshold", "best_start"):
        assert simulate(jobs, traces, policy).carbon_g[0] == pytest.approx(0.5 * (70 + 80 + 90 + 0.7 * 100))


def test_a_wavelet_of_one_step_and_a_window_of_the_whole_trace():
    one = Traces(("A",), "2021-06-01", 1.0, [[120.0]])
    assert simulate(Jobs(0, 0.5, slack_h=0.5, interruptible=True), one, "k_cheapest").carbon_g[0] == 60
    rng = np.random.default_rng(0)
    year = Traces(("A",), "2020-01-01", 1.0, rng.uniform(10, 500, (1, 8784)))
    schedule = simulate(Jobs(0, 1000, slack_h=8784, interruptible=True), year, "k_cheapest")
    assert schedule.carbon_g[0] == pytest.approx(np.sort(year.intensity_g_per_kwh[0])[:1000].sum())
