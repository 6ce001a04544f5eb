"""Chapter 9: what must hold for any work on any grid; forecasts, signals, metrics, workloads and bad input."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab import load_shifting as ls
from greenlab.core.grid.traces import Traces
from greenlab.core.studies import ROOT
from greenlab.load_shifting import AR1, POLICIES, Jobs, Policy, Transfer, simulate, workload
from tests.load_shifting import reference as ref

MANY = settings(max_examples=200, deadline=None)


def day_and_night(n_days=14, zones=("A", "B"), seed=0, **extra):
    """Clean at noon, dirty at night, with weather that lasts."""
    rng, hours = np.random.default_rng(seed), np.arange(24 * n_days)
    weather = np.cumsum(rng.standard_normal((len(zones), len(hours))), axis=1) * 8
    row = 300 - 120 * np.sin((hours - 6) / 24 * 2 * np.pi) + weather
    return Traces(zones, "2020-01-01", 1.0, np.clip(row, 20, None), **extra)


def total(schedule):
    return np.nansum(schedule.carbon_g)


# --- invariants ---


@given(ref.cases(costly=True, max_jobs=4, max_slack=6), st.sampled_from([None, "persistence", AR1(0.9, 0.3, 1)]))
@MANY
def test_work_is_conserved_and_kept_within_its_window(case, forecast):
    traces, jobs, pue, transfer = case
    for policy in POLICIES:
        s = simulate(jobs, traces, policy, pue=pue, transfer=transfer, forecast=forecast)
        ok = s.scheduled
        assert ok.tolist() == s.windows.fits.tolist(), "without a capacity, what fits its window runs"
        pauses = np.bincount(s.pieces.job, minlength=s.n)[ok] - 1
        overhead = np.where(jobs.interruptible, jobs.checkpoint_h, 0)[ok] / traces.step_h
        assert s.pieces.steps(s.n)[ok] == pytest.approx(s.windows.size[ok] + pauses * overhead, abs=1e-6)
        assert (s.start_h[ok] >= jobs.arrival_h[ok] - 1e-6).all()
        late = np.where(np.isnan(jobs.deadline_h), np.inf, jobs.deadline_h)[ok]
        assert (s.finish_h[ok] <= late + 1e-6).all()
        allowed = s.windows.first[ok] * traces.step_h + jobs.duration_h[ok] + jobs.slack_h[ok]
        assert not (s.finish_h[ok] > allowed + 1e-6).any()
        assert (s.delay_h[ok] >= -1e-6).all()
        same_job = s.pieces.job[1:] == s.pieces.job[:-1]
        assert (s.pieces.start[1:][same_job] >= s.pieces.stop[:-1][same_job] - 1e-9).all(), (
            "in order, never twice at once"
        )


@given(ref.cases(), st.floats(0, 8), st.data())
@MANY
def test_more_slack_or_more_regions_never_hurt(case, extra, data):
    traces, jobs, pue, transfer = case
    longer = jobs.replace(slack_h=jobs.slack_h + extra, deadline_h=jobs.deadline_h + extra)
    freer = jobs.replace(regions=None)
    for policy in ("best_start", "k_cheapest", "joint"):
        one = simulate(jobs, traces, policy, pue=pue, transfer=transfer)
        two = simulate(longer, traces, policy, pue=pue, transfer=transfer)
        ok = one.scheduled
        assert two.scheduled[ok].all()
        assert (two.carbon_g[ok] <= one.carbon_g[ok] * (1 + 1e-9) + 1e-6).all()
    home, some, anywhere = (
        simulate(j, traces, p, pue=pue, transfer=transfer)
        for j, p in ((jobs, "k_cheapest"), (jobs, "joint"), (freer, "joint"))
    )
    assert total(anywhere) <= total(some) + 1e-6
    assert total(some) <= total(home) + 1e-6


@given(ref.cases(costly=True, max_jobs=4, max_slack=6))
@MANY
def test_a_pause_that_is_allowed_never_hurts_and_no_policy_beats_the_optimum(case):
    traces, jobs, pue, transfer = case
    solid, pausing = (simulate(jobs.replace(interruptible=on), traces, "k_cheapest", pue=pue) for on in (False, True))
    assert (np.nan_to_num(pausing.carbon_g) <= np.nan_to_num(solid.carbon_g) * (1 + 1e-9) + 1e-6).all()
    free = jobs.replace(interruptible=True, checkpoint_h=0.0, min_chunk_h=0.0)
    best = ls.bounds.optimum(free, traces, pue=pue, transfer=transfer)
    for policy in POLICIES:
        assert total(simulate(jobs, traces, policy, pue=pue, transfer=transfer)) >= total(best) - 1e-6


@given(ref.cases(interruptible=True, fractions=False), st.sampled_from(sorted(POLICIES)))
@MANY
def test_flat_intensity_or_no_slack_saves_nothing_and_nobody_waits_for_nothing(case, policy):
    traces, jobs, _, _ = case
    flat = Traces(traces.zones, traces.start, traces.step_h, np.full(traces.intensity_g_per_kwh.shape, 123.4))
    schedule = simulate(jobs, flat, policy)
    ok = schedule.scheduled
    assert schedule.carbon_g[ok] == pytest.approx(schedule.baseline_g[ok])
    assert (schedule.region[ok] == schedule.windows.home[ok]).all()
    assert schedule.delay_h[ok] == pytest.approx(0), "equal choices go to the earliest"
    if policy not in ("best_region", "joint"):
        tight = simulate(jobs.replace(slack_h=0), traces, policy)
        assert tight.carbon_g == pytest.approx(tight.baseline_g, nan_ok=True)


@given(ref.cases(max_jobs=5))
@MANY
def test_the_timeline_and_the_metrics_add_up(case):
    traces, jobs, pue, transfer = case
    s = simulate(jobs, traces, "joint", pue=pue, transfer=transfer)
    rows, m, jobs_table = s.timeline(), s.metrics(), s.to_frame()
    moved = (
        0.0
        if transfer is None
        else s.account(traces.intensity_g_per_kwh) - np.bincount(rows["job"], rows["carbon_g"], s.n)
    )
    assert m["carbon_kg"] * 1e3 == pytest.approx(rows["carbon_g"].sum() + np.nansum(moved), abs=1e-6)
    assert len(rows) == len(s.pieces)
    assert len(s.missed()) + s.scheduled.sum() == s.n == m["jobs"] == len(jobs_table)
    power = s.power_kw()
    assert power["power_kw"].max() <= m["peak_kw"] + 1e-9
    computing = (rows["power_kw"] * (rows["stop_h"] - rows["start_h"])).sum()
    assert power["power_kw"].sum() * traces.step_h == pytest.approx(computing, abs=1e-6)
    taken = rows["stop"] - rows["start"]
    assert (taken.dt.total_seconds() / 3600).to_numpy() == pytest.approx(
        (rows["stop_h"] - rows["start_h"]).to_numpy(), abs=2e-3
    )
    if pue is None and transfer is None:
        assert m["energy_kwh"] == pytest.approx(computing)


# --- forecasts ---


def test_decisions_use_the_forecast_and_the_accounts_the_truth():
    traces = Traces(("A",), "2020", 1.0, [[300.0, 200, 100, 400]])
    wrong = np.array([[300.0, 200, 400, 100]])
    schedule = simulate(Jobs(0, 1, slack_h=3), traces, "best_start", forecast=wrong)
    assert schedule.start_h[0] == 3
    assert schedule.carbon_g[0] == 400
    assert schedule.metrics()["saved_pct"] == pytest.approx(-100 / 3)
    assert simulate(Jobs(0, 1, slack_h=3), traces, "best_start", forecast="perfect").carbon_g[0] == 100


@given(ref.traces_strategy(max_steps=200, min_steps=100, max_zones=2), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_persistence_repeats_the_day_before_the_arrival_and_never_looks_ahead(traces, seed):
    rng, day = np.random.default_rng(seed), round(24 / traces.step_h)
    arrival = rng.integers(0, traces.n_steps - 2, 6)
    duration, slack = rng.integers(1, 6, 6), rng.integers(0, 80, 6)
    jobs = Jobs(
        *(x * traces.step_h for x in (arrival, duration)), 1.0, slack * traces.step_h, interruptible=rng.random(6) < 0.5
    )
    schedule = simulate(jobs, traces, "joint", forecast="persistence")
    for i, first in enumerate(arrival):
        if not schedule.scheduled[i]:
            continue
        ahead = np.arange(traces.n_steps) - first
        source = np.where(first < day, first, first - day + ahead % day)
        seen = np.where(ahead < 0, 1e9, traces.intensity_g_per_kwh[:, np.clip(source, 0, None)])
        believed = cost_on(schedule, seen, i)
        row = next(jobs.to_frame().iloc[[i]].itertuples())
        assert believed == pytest.approx(ref.best_cost(row, traces, seen, anywhere=True))


def cost_on(schedule, values, i):
    """What job i would cost on other values, stretch by stretch."""
    rows = schedule.timeline().query("job == @i")
    step = schedule.traces.step_h
    return step * sum(
        ref.run_cost(values[schedule.traces.zones.index(r.region)], r.start_h / step, r.stop_h / step)
        for r in rows.itertuples()
    )


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.97])
@pytest.mark.parametrize("step_h", [1.0, 0.5])
def test_ar1_has_the_spread_and_the_correlation_it_says(rho, step_h):
    error = AR1(rho, 0.1, seed=4).of(np.ones((3, 200_000)), step_h) - 1
    assert error.std() == pytest.approx(0.1, rel=0.03)
    hour = round(1 / step_h)
    assert np.corrcoef(error[0, :-hour], error[0, hour:])[0, 1] == pytest.approx(rho, abs=0.02)
    assert abs(np.corrcoef(error[0], error[1])[0, 1]) < 0.05, "zones err on their own"
    assert (AR1(rho, 0.1, 4).of(np.ones((1, 9)), 1.0) == AR1(rho, 0.1, 4).of(np.ones((1, 9)), 1.0)).all()
    assert (AR1(rho, 0.1, 5).of(np.ones((1, 9)), 1.0) != AR1(rho, 0.1, 4).of(np.ones((1, 9)), 1.0)).any()


def test_correlated_errors_cost_more_than_independent_ones():
    """Independent noise averages out over a long run: the same 20 % flatters the policy."""
    traces = day_and_night(364, ("A",))
    jobs = workload.training(24, n=180, slack_h=24, interruptible=False, every_h=48, data_gb=0)
    saved = lambda f: simulate(jobs, traces, "best_start", forecast=f).metrics()["saved_pct"]  # noqa: E731
    iid, ar1 = (np.mean([saved(AR1(rho, 0.2, seed)) for seed in range(8)]) for rho in (0.0, 0.97))
    assert saved(None) > iid > ar1


# --- signals, money, workloads ---


def test_each_signal_is_best_by_its_own_measure():
    rng = np.random.default_rng(2)
    shape = (2, 24 * 14)
    traces = day_and_night(marginal_g_per_kwh=rng.uniform(300, 900, shape), curtailed_share=rng.uniform(0, 1, shape),
                           price_per_kwh=rng.normal(0.08, 0.05, shape))  # fmt: skip
    jobs = workload.nightly(12, duration_h=5, slack_h=15, interruptible=True)
    table = ls.compare_signals(jobs, traces).set_index("decided_by")
    assert list(table.index) == ["nothing (at once)", "average", "marginal", "curtailment", "price"]
    assert table["carbon_kg"].idxmin() == "average"
    assert table["marginal_kg"].idxmin() == "marginal"
    assert table["curtailed_kwh"].idxmax() == "curtailment"
    assert table["cost"].idxmin() == "price"
    assert table["saved_pct"].iloc[0] == 0
    # deciding by the average may raise what is emitted at the margin: both are shown
    assert table.loc["nothing (at once)", "marginal_kg"] == pytest.approx(table.loc["average", "baseline_marginal_kg"])


@given(seed=st.integers(0, 999), policy=st.sampled_from(["best_start", "k_cheapest", "joint"]))
@settings(max_examples=60, deadline=None)
def test_the_pareto_front_is_one(seed, policy):
    rng = np.random.default_rng(seed)
    traces = day_and_night(5, seed=seed, price_per_kwh=rng.normal(0.08, 0.06, (2, 120)))
    jobs = Jobs(
        rng.integers(0, 80, 12), rng.uniform(1, 8, 12), 2.0, rng.uniform(0, 20, 12), interruptible=rng.random(12) < 0.5
    )
    table = ls.pareto(jobs, traces, policy)
    assert table["on_front"].all()
    assert (np.diff(table["carbon_kg"]) <= 1e-9).all(), "more weight on carbon, no more carbon"
    assert (np.diff(table["cost"]) >= -1e-9).all()
    only = simulate(jobs, traces, policy)
    assert table["carbon_kg"].iloc[-1] == pytest.approx(only.metrics()["carbon_kg"], rel=1e-4)


def test_pareto_needs_a_price_and_weights():
    traces = day_and_night(2)
    with pytest.raises(ValueError, match="no price_per_kwh: hand one over"):
        ls.pareto(Jobs(0, 1, slack_h=1), traces)
    with pytest.raises(ValueError, match=r"weights=\[2.0\]: expected numbers from 0"):
        ls.pareto(Jobs(0, 1, slack_h=1), day_and_night(2, price_per_kwh=np.ones((2, 48))), weights=[2])


def test_the_project_is_the_papers():
    """Wiesner et al. 2021, sec. 5.2: 3,387 jobs, 4 to 90 h, on working days from 9 to 17 h; 325 MWh in all."""
    jobs = workload.ml_project(1)
    assert jobs.n == 3387
    assert (jobs.duration_h * jobs.power_kw).sum() / 1e3 == pytest.approx(325, rel=0.02)
    weekday = (2 + jobs.arrival_h // 24) % 7  # 1 January 2020 was a Wednesday
    assert set(weekday) == {0, 1, 2, 3, 4}
    assert jobs.arrival_h.max() < 8784
    assert (jobs.arrival_h % 24).min() == 9
    assert (jobs.arrival_h % 24).max() == 16.5
    finish = pd.Timestamp("2020-01-01") + pd.to_timedelta(jobs.arrival_h + jobs.duration_h + jobs.slack_h, unit="h")
    shifted = jobs.slack_h > 0
    assert (finish[shifted].hour == 9).all()
    assert set(finish[shifted].day_of_week) <= {0, 1, 2, 3, 4}
    in_hours = (finish[~shifted].day_of_week < 5) & (finish[~shifted].hour >= 9)
    assert in_hours.all()
    semi = workload.ml_project(1, constraint="semi_weekly")
    end = pd.Timestamp("2020-01-01") + pd.to_timedelta(semi.arrival_h + semi.duration_h + semi.slack_h, unit="h")
    assert set(zip(end.day_of_week, end.hour, strict=True)) == {(0, 9), (3, 9)}
    assert semi.slack_h.max() < 96
    assert (workload.ml_project(1).arrival_h == jobs.arrival_h).all()
    assert (workload.ml_project(2).duration_h != jobs.duration_h).any()
    assert (workload.ml_project(1, constraint="none").slack_h == 0).all()


def test_the_other_workloads_and_their_errors():
    assert workload.nightly(3, hour=22).arrival_h.tolist() == [22, 46, 70]
    one = workload.training(100, min_chunk_h=4, checkpoint_h=0.2)
    assert (one.n, one.min_chunk_h[0], one.checkpoint_h[0], bool(one.interruptible[0])) == (1, 4, 0.2, True)
    for call, words in (
        (lambda: workload.nightly(0), "days=0"),
        (lambda: workload.training(n=0), "n=0"),
        (lambda: workload.ml_project(constraint="weekly"), "constraint='weekly': expected 'next_workday'"),
        (
            lambda: workload.ml_project(start="2020-01-01 12:00"),
            "start='2020-01-01 12:00': expected the beginning of a day",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            call()


def test_a_leap_year_and_the_days_when_clocks_change_are_24_hours_each():
    """Traces are in UTC: a night job arrives at the same hour on every day of 2020, a year of 8,784 hours."""
    times = pd.date_range("2020-01-01", "2021-01-01", freq="h", inclusive="left", tz="UTC")
    local = times.tz_convert("Europe/Berlin")
    frame = pd.DataFrame(
        {"zone": "DE", "time": local, "intensity_g_per_kwh": 300 + 100 * np.cos(times.hour / 12 * np.pi)}
    )
    traces = Traces.from_frame(frame)
    assert traces.n_steps == 8784
    schedule = simulate(workload.nightly(366, hour=1, duration_h=1, slack_h=14), traces, "best_start")
    assert schedule.scheduled.all()
    assert set(schedule.timeline()["start"].dt.hour) == {12}
    half = simulate(
        workload.nightly(366, hour=1, duration_h=1, slack_h=14), Traces.from_frame(frame, 0.5), "best_start"
    )
    assert half.carbon_g == pytest.approx(schedule.carbon_g)


# --- bad input ---

TRACES = Traces(("A", "B"), "2020", 1.0, [[100.0] * 6, [200.0] * 6])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Jobs([0, -1], 1, slack_h=1), "row 1: arrival_h=-1: expected a finite number, 0 or more"),
        (lambda: Jobs(0, [1, 0], slack_h=1), "row 1: duration_h=0: expected a finite number, more than 0"),
        (lambda: Jobs(0, [1, np.nan], slack_h=1), "row 1: duration_h=nan"),
        (lambda: Jobs(0, 1, slack_h=[1, -2]), "row 1: slack_h=-2"),
        (lambda: Jobs(0, 1, power_kw=np.inf, slack_h=1), "row 0: power_kw=inf"),
        (lambda: Jobs(0, "long", slack_h=1), r"duration_h holds 'long': expected numbers \[h\]"),
        (lambda: Jobs(0, 1), "row 0 has neither slack_h nor deadline_h: give one"),
        (lambda: Jobs(0, 1, slack_h=1, deadline_h=3), "row 0 has both"),
        (lambda: Jobs([0, 1], [1, 2, 3], slack_h=1), "expected one number, or 3"),
        (lambda: Jobs([0, 1], 1, slack_h=1, regions=[("A",)] * 3), "regions has 3 entries"),
        (lambda: Jobs.from_frame(pd.DataFrame({"arrival_h": [0]})), "no column 'duration_h'"),
        (lambda: Jobs.from_frame(pd.DataFrame({"arrival_h": [0], "duration_h": 1})), "neither slack_h nor deadline_h"),
        (lambda: Jobs.from_frame(pd.DataFrame({"arrival_h": [0], "length": 1})), "column 'length' is not one of"),
        (lambda: Jobs.from_frame(pd.DataFrame({"arrival": ["2020"], "duration_h": 1})), "hand over start=traces.start"),
        (
            lambda: simulate(Jobs([0, 6], 1, slack_h=1), TRACES, "now"),
            "row 1: arrival_h=6 is outside the traces, which cover",
        ),
        (
            lambda: simulate(Jobs([0, 1], 1, slack_h=1, home=["A", "X"]), TRACES, "now"),
            "row 1: home='X' is not in the traces",
        ),
        (
            lambda: simulate(Jobs([0, 1], 1, slack_h=1, regions=[("A",), ("X",)]), TRACES, "now"),
            "row 1: regions has 'X'",
        ),
        (
            lambda: simulate(Jobs(0, 1, slack_h=1), TRACES, "greenest"),
            "policy name='greenest': expected one of now, best_start",
        ),
        (lambda: Policy("threshold", quantile=30), "quantile=30: expected 0 to 1"),
        (lambda: simulate(Jobs(0, 1, slack_h=1), TRACES, "now", pue=0.5), "pue=0.5: expected 1.0 or more"),
        (lambda: simulate(Jobs(0, 1, slack_h=1), TRACES, "now", pue=[1, 1, 1]), "pue=.*expected one number, a dict"),
        (lambda: simulate(Jobs(0, 1, slack_h=1), TRACES, "now", pue={"X": 1.2}), "no zone 'X'; known: "),
        (lambda: simulate(Jobs(0, 1, slack_h=1), TRACES, "now", signal="marginal"), "needs marginal_g_per_kwh"),
        (
            lambda: simulate(Jobs(0, 1, slack_h=1), TRACES, "now", signal="green"),
            "signal='green': expected one of average",
        ),
        (lambda: simulate(Jobs(0, 1, slack_h=1), TRACES, "now", signal=np.ones((2, 5))), r"signal has shape \(2, 5\)"),
        (
            lambda: simulate(Jobs(0, 1, slack_h=1), TRACES, "now", forecast="oracle"),
            "forecast='oracle': expected 'perfect'",
        ),
        (
            lambda: simulate(Jobs(0, 1, slack_h=1), TRACES, "now", forecast=np.ones((1, 6))),
            r"forecast has shape \(1, 6\)",
        ),
        (
            lambda: simulate(Jobs(0, 1, slack_h=1), TRACES, "now", forecast=np.full((2, 6), np.nan)),
            "forecast of zone A.*is nan",
        ),
        (lambda: AR1(rho=1.0), "rho=1.0"),
        (lambda: AR1(sigma=-1), "sigma=-1"),
        (lambda: Transfer(-0.1), "energy_kwh_per_gb=-0.1: expected numbers, 0 or more"),
        (lambda: Transfer(speed_gb_per_h=0), "speed_gb_per_h=0: expected numbers, more than 0"),
        (
            lambda: simulate(Jobs(0, 1, slack_h=1), TRACES, "now", transfer=Transfer(np.ones((3, 3)))),
            r"\(3, 3\): expected one",
        ),
    ],
)
def test_bad_input_is_named_with_its_row_its_value_and_a_remedy(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_job_longer_than_its_window_is_listed_and_the_others_run():
    jobs = Jobs([0, 0, 4, 2], [2, 3, 3, 1], deadline_h=[4, 2, 9, 6], power_kw=1)
    for policy in POLICIES:
        schedule = simulate(jobs, TRACES, policy)
        assert schedule.missed()[["job", "reason"]].values.tolist() == [
            [1, "longer than its window"], [2, "beyond the end of the traces"]]  # fmt: skip
        assert schedule.metrics()["jobs"] == 4
        assert schedule.metrics()["missed"] == 2
        assert np.isnan(schedule.carbon_g[[1, 2]]).all()
        assert schedule.region[[1, 2]].tolist() == [-1, -1]


def test_no_jobs_at_all_is_no_error():
    empty = Jobs([], [], slack_h=[])
    for policy in POLICIES:
        for options in ({}, {"forecast": "persistence"}, {"transfer": Transfer(0.1)}):
            schedule = simulate(empty, TRACES, policy, **options)
            assert (
                schedule.metrics() | {"jobs": 0, "missed": 0, "carbon_kg": 0.0, "saved_pct": 0.0} == schedule.metrics()
            )
            assert len(schedule.timeline()) == len(schedule.missed()) == 0
    assert simulate(empty, TRACES, "joint", capacity=1.0).metrics()["carbon_kg"] == 0
    assert ls.bounds.linear_program(empty, TRACES, 1.0).carbon_kg == 0


def test_jobs_from_a_table_with_times():
    frame = pd.DataFrame({"arrival": ["2020-01-01T02:00Z", "2020-01-01T03:00+01:00"], "duration_h": [1, 2],
                          "deadline": ["2020-01-01T05:00Z", "2020-01-01T06:00Z"], "home": ["A", "B"],
                          "regions": [None, ("B",)]})  # fmt: skip
    jobs = Jobs.from_frame(frame, start=TRACES.start)
    assert jobs.arrival_h.tolist() == [2, 2]
    assert jobs.deadline_h.tolist() == [5, 6]
    assert simulate(jobs, TRACES, "joint").region.tolist() == [0, 1]
    again = Jobs.from_frame(jobs.to_frame())
    assert again.to_frame().equals(jobs.to_frame())


def test_jobs_that_arrive_within_a_step_start_at_the_next_and_keep_their_slack():
    schedule = simulate(Jobs(0.4, 1, slack_h=1), Traces(("A",), "2020", 1.0, [[900.0, 300, 100, 50]]), "best_start")
    assert (schedule.start_h[0], schedule.delay_h[0]) == (2, 1)
    clock = simulate(Jobs(0.4, 1, deadline_h=2.9), Traces(("A",), "2020", 1.0, [[900.0, 300, 100, 50]]), "best_start")
    assert clock.start_h[0] == 1


COMPILED = """
import importlib, json, pkgutil
import numpy as np
from numba.core.dispatcher import Dispatcher
from greenlab.core.grid.traces import Traces
from greenlab.load_shifting import POLICIES, Jobs, Transfer, simulate, solvers, warm_up

def compiled():
    modules = [importlib.import_module(f"{solvers.__name__}.{m.name}") for m in pkgutil.iter_modules(solvers.__path__)]
    loops = {id(f): f for m in modules for f in vars(m).values() if isinstance(f, Dispatcher)}
    return sorted(f"{f.__module__}.{f.__name__}{s}" for f in loops.values() for s in f.signatures)

none = compiled()
warm_up()
first = compiled()
warm_up()
hours = np.arange(24 * 30)
traces = Traces(("A", "B", "C"), "2020", 1.0, 300 + 100 * np.sin(np.stack([hours, hours + 6, hours + 12]) / 4))
jobs = Jobs(hours[:200], 2.5, 1.0, 12.0, interruptible=hours[:200] % 3 > 0, data_gb=1.0)
for policy in POLICIES:
    simulate(jobs, traces, policy)
for capacity in (100.0, 2.0):
    simulate(jobs, traces, "joint", capacity=capacity)
    simulate(jobs, traces, "k_cheapest", capacity=capacity)
simulate(jobs, traces, "joint", transfer=Transfer(0.01))
print(json.dumps([none, first, compiled()]))
"""


def test_warming_up_leaves_nothing_to_compile():
    """In a process of its own, where no other test has compiled a loop before."""
    found = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=True, cwd=ROOT)
    none, first, then = json.loads(found.stdout)
    assert none == []
    assert len(first) > 0
    assert then == first
