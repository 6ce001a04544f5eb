"""Bad and extreme input: refused with the argument's name, or a meaning; never a crash, never a silent wrong answer."""

import io

import numpy as np
import pandas as pd
import pytest

from greenlab.core.grid.traces import Traces
from greenlab.load_shifting import AR1, Jobs, Policy, Transfer, bounds, compare_signals, pareto, simulate, workload

TRACES = Traces(("A", "B"), "2020-01-01", 1.0, np.stack([np.full(48, 500.0), np.full(48, 100.0)]))
PRICED = Traces(("A", "B"), "2020-01-01", 1.0, TRACES.intensity_g_per_kwh, price_per_kwh=np.ones((2, 48)))
JOB = Jobs(0, 2, 1.0, 4)


def test_a_tenth_of_an_hour_leaves_no_stretch_without_length():
    traces = Traces(("A",), "2020", 1.0, [[300.0, 200, 400, 500, 250, 10]])
    schedule = simulate(Jobs(0, 0.1, 1.0, 5, interruptible=True), traces, "k_cheapest")
    assert schedule.start_h[0] == 5
    assert schedule.metrics()["pauses"] == 0
    rng = np.random.default_rng(0)
    n = 4000
    year = Traces(("A",), "2020", 1.0, rng.choice([100.0, 150, 200, 350, 400], 2000))
    tenths = (np.round(rng.uniform(0, 1900, n), 1), rng.integers(1, 60, n) / 10, rng.integers(0, 240, n) / 10)
    jobs = Jobs(tenths[0], tenths[1], 1.0, tenths[2], interruptible=True)
    for policy in ("k_cheapest", "joint", "threshold"):
        pieces = simulate(jobs, year, policy).pieces
        assert (pieces.stop - pieces.start > 1e-7).all()


@pytest.mark.parametrize("word", ["no", "False", np.nan, None, 2, "0"])
def test_a_word_is_no_boolean_and_the_row_is_named(word):
    with pytest.raises(TypeError, match="row 1: interruptible="):
        Jobs([0, 1], 2, 1.0, 5, interruptible=np.array([True, word], dtype=object))
    frame = pd.DataFrame(
        {"arrival_h": [0, 1], "duration_h": 2, "slack_h": 5, "interruptible": pd.Series([True, word], dtype=object)}
    )
    with pytest.raises(TypeError, match="row 1: interruptible="):
        Jobs.from_frame(frame)


def test_booleans_of_a_table_are_read_as_they_are_meant():
    head = "arrival_h,duration_h,slack_h,interruptible\n"
    with pytest.raises(TypeError, match="row 0: interruptible='no' is str: give True or False"):
        Jobs.from_frame(pd.read_csv(io.StringIO(head + "0,2,5,no\n")))
    assert Jobs.from_frame(pd.read_csv(io.StringIO(head + "0,2,5,False\n0,2,5,True\n"))).interruptible.tolist() == [
        False,
        True,
    ]
    assert Jobs.from_frame(pd.read_csv(io.StringIO(head + "0,2,5,0\n0,2,5,1\n"))).interruptible.tolist() == [
        False,
        True,
    ]


@pytest.mark.parametrize("policy", ["best_region", "joint", "k_cheapest"])
@pytest.mark.parametrize("interruptible", [False, True])
@pytest.mark.parametrize("checkpoint_h", [0.0, 0.1])
@pytest.mark.parametrize("capacity", [None, 1.0])
@pytest.mark.parametrize("delay_h", [10.0, 1e6, 1e18, 1e19, 1e300, np.inf])
def test_who_moves_for_ever_stays_at_home(policy, interruptible, checkpoint_h, capacity, delay_h):
    jobs = Jobs(5.0, 2.0, slack_h=6.0, data_gb=1.0, interruptible=interruptible, checkpoint_h=checkpoint_h)
    schedule = simulate(jobs, TRACES, policy, transfer=Transfer(delay_h=delay_h), capacity=capacity)
    assert schedule.region.tolist() == [0]
    assert schedule.start_h[0] == 5
    assert schedule.metrics()["missed"] == 0


def test_a_slow_line_and_a_dear_one():
    jobs = Jobs([5.0, 5.0], 2.0, slack_h=6.0, data_gb=[1.0, 0.0])
    schedule = simulate(jobs, TRACES, "joint", transfer=Transfer(speed_gb_per_h=1e-300))
    assert schedule.region.tolist() == [0, 1], "nothing to move takes no time"
    with pytest.raises(ValueError, match=r"energy_kwh_per_gb.*to forbid moving use delay_h=inf"):
        Transfer(energy_kwh_per_gb=np.inf)


BAD = [
    (lambda: Jobs(0, 1e-9, slack_h=1), "duration_h=1e-09"),
    (lambda: Jobs(0, True, slack_h=1), "duration_h holds True"),
    (lambda: Jobs(0, "2", slack_h=1), "duration_h holds '2'"),
    (lambda: Jobs(0, 1, power_kw=1e300, slack_h=1), r"power_kw=1e\+300"),
    (lambda: Jobs(0, 1, slack_h=1e308), r"slack_h=1e\+308"),
    (lambda: Jobs(0, 1, slack_h=1, home=5), "row 0: home=5"),
    (lambda: Jobs(0, 1, slack_h=1, regions=5), "regions=5"),
    (lambda: Jobs(0, 1, slack_h=1, regions=[(1,)]), "row 0: regions"),
    (lambda: Jobs([[0, 1]], 1, slack_h=1), "arrival_h has shape"),
    (lambda: Jobs.from_frame([1]), "frame="),
    (
        lambda: simulate(Jobs(0, 0.05, slack_h=1), Traces(("A",), "2020", 1e6, [[100.0]]), "now"),
        "ten-millionth of a step",
    ),
    (lambda: simulate("jobs", TRACES, "now"), "jobs=jobs is str"),
    (lambda: simulate(JOB, 5, "now"), "traces=5 is int"),
    (lambda: simulate(JOB, TRACES, 5), "policy name=5 is int"),
    (lambda: simulate(JOB, TRACES, "now", transfer=0.1), "transfer=0.1 is float"),
    (lambda: simulate(JOB, TRACES, "now", pue="1.2"), "pue='1.2'"),
    (lambda: simulate(JOB, TRACES, "now", pue=np.nan), "pue holds nan"),
    (lambda: simulate(JOB, TRACES, "now", pue=True), "pue=True"),
    (lambda: simulate(JOB, TRACES, "now", capacity="8"), "capacity='8'"),
    (lambda: simulate(JOB, TRACES, "now", capacity=np.nan), "capacity has a negative value or a NaN"),
    (lambda: simulate(JOB, TRACES, "now", capacity=[]), "capacity has a negative value or a NaN, or is empty"),
    (lambda: simulate(JOB, TRACES, "now", signal=np.full((2, 48), 1e308)), r"signal holds 1e\+308"),
    (lambda: simulate(JOB, TRACES, "now", signal=None), "signal="),
    (lambda: simulate(JOB, TRACES, "now", forecast=np.full((2, 48), 1e308)), r"forecast of zone A.*1e\+308"),
    (lambda: simulate(JOB, TRACES, "now", forecast=[["a"]]), "forecast="),
    (lambda: simulate(JOB, TRACES, Policy("joint", migrate=True), transfer=Transfer(0.1)), "transfer=.*migrate=True"),
    (lambda: Policy("now", migrate=True), "migrate=True with policy='now'"),
    (lambda: Policy("joint", migrate="no"), "migrate='no'"),
    (lambda: Policy("threshold", quantile=np.nan), "quantile=nan"),
    (lambda: Policy("threshold", limit=np.inf), "limit=inf"),
    (lambda: Transfer("0.1"), "energy_kwh_per_gb='0.1'"),
    (lambda: Transfer(delay_h=np.nan), "delay_h holds nan"),
    (lambda: Transfer(delay_h=[1, 2]), "delay_h has shape"),
    (lambda: AR1(rho=np.nan), "rho=nan"),
    (lambda: AR1(sigma=True), "sigma=True"),
    (lambda: AR1(seed=1.5), "seed=1.5"),
    (lambda: bounds.linear_program(JOB, TRACES, pue=0.5), "pue=0.5"),
    (lambda: bounds.linear_program(JOB, TRACES, pue=-1), "pue=-1"),
    (lambda: bounds.linear_program(JOB, TRACES, regions=1), "regions=1"),
    (lambda: bounds.optimum(JOB, TRACES, capacity=1), "capacity=1: the optimum takes"),
    (lambda: bounds.optimum(JOB, TRACES, regions="home", migrate=True), "migrate=True with regions='home'"),
    (lambda: workload.nightly(2.5), "days=2.5"),
    (lambda: workload.nightly(2, hour=np.nan), "hour=nan"),
    (lambda: workload.training(2, n=2, every_h=-3.0, arrival_h=9), "every_h=-3.0"),
    (lambda: workload.training(2, n=True), "n=True"),
    (lambda: workload.ml_project(n=0), "n=0"),
    (lambda: workload.ml_project(seed=-1), "seed=-1"),
    (lambda: workload.ml_project(step_h=0), "step_h=0"),
    (lambda: workload.ml_project(start="soon"), "start='soon'"),
    (lambda: pareto(JOB, PRICED, weights=3), "weights=3"),
    (lambda: compare_signals(JOB, TRACES, signals="average"), "signals='average'"),
    (lambda: compare_signals(JOB, TRACES, signals=["average", None]), "signals=None"),
    (lambda: compare_signals(JOB, TRACES, signals=["averige"]), "signals"),
    (lambda: Jobs(0, [], slack_h=1), r"duration_h has shape \(0,\)"),
    (lambda: Jobs([0, 1], 1, power_kw=[], slack_h=1), r"power_kw has shape \(0,\): expected one number, or 2"),
    (lambda: Jobs([], [1, 2], slack_h=1), r"duration_h has shape \(2,\)"),
    (lambda: Jobs.from_frame(pd.DataFrame({"what": [1]})), "frame: column 'what'"),
    (lambda: Policy("never"), "policy name='never'"),
    (lambda: Transfer().between(10**30), "zones=10+: .* at most 10000"),
    (lambda: simulate(JOB, TRACES, "now", forecast=[[1.0], [1.0, 2.0]]), "forecast=.* rows of different lengths"),
    (lambda: simulate(JOB, TRACES, "now").account(5.0), "values has the shape"),
    (lambda: simulate(JOB, TRACES, "now").account(np.ones((2, 3))), r"values has shape \(2, 3\)"),
    (lambda: simulate(JOB, TRACES, "now").account_baseline(None), "values=None"),
    (lambda: workload.nightly(10**12), "days=1000000000000"),
    (lambda: workload.nightly(2, hour=1e300), "hour=1e"),
    (lambda: workload.nightly(2, power_kw=[1.0, 2.0]), "power_kw="),
    (lambda: workload.ml_project(n=10**30), "n=1"),
    (lambda: workload.training(1e300), "duration_h=1e"),
    (lambda: workload.training(2, n=3, every_h=1e9), "n=3: the last run"),
    (lambda: workload.training(2, interruptible=[True, False]), "interruptible="),
]


def test_without_an_arrival_there_are_no_jobs():
    schedule = simulate(Jobs([], 1, slack_h=6), TRACES, "joint", capacity=1.0)
    assert schedule.n == 0
    assert schedule.metrics()["carbon_kg"] == 0


@pytest.mark.parametrize("capacity", [np.inf, 1e300, [np.inf, 1e300]])
def test_a_limit_that_nobody_reaches_is_no_limit(capacity):
    jobs = Jobs([0, 0, 3], 2, 1.0, 4, interruptible=[True, False, True])
    free, limited = simulate(jobs, TRACES, "joint"), simulate(jobs, TRACES, "joint", capacity=capacity)
    assert limited.to_frame().equals(free.to_frame())
    bound = bounds.linear_program(jobs, TRACES, capacity, regions="any")
    assert bound.carbon_kg == pytest.approx(bounds.linear_program(jobs, TRACES, regions="any").carbon_kg)


def test_a_limit_below_zero_runs_at_a_negative_price():
    price = np.ones((2, 48))
    price[0, 3:5] = -1.0
    traces = Traces(("A", "B"), "2020-01-01", 1.0, TRACES.intensity_g_per_kwh, price_per_kwh=price)
    schedule = simulate(JOB, traces, Policy("threshold", limit=-0.5), signal="price")
    assert schedule.start_h.tolist() == [3.0]


@pytest.mark.parametrize(("call", "words"), BAD)
def test_bad_input_names_the_argument(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()
