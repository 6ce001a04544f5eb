"""Chapter 9's committed study is whole, its figures follow from its tables, and certain relations hold between them."""

import numpy as np
import pandas as pd
import pytest

from greenlab.core import facts, grid
from greenlab.load_shifting import study
from greenlab.load_shifting.study import at_home, elsewhere, quoted
from greenlab.load_shifting.study import tables as work

CONFIG = study.Config()


@pytest.fixture(scope="module")
def tables():
    return study.load()


def test_the_figures_follow_from_the_tables(tables):
    again = quoted.figures(tables).set_index("name")["value"]
    stored = tables["figures"].set_index("name")["value"]
    assert list(again.index) == list(stored.index)
    assert again.to_list() == pytest.approx(stored.to_list(), rel=1e-4, abs=1e-4)


def test_a_stored_row_is_what_the_simulator_says_today(tables):
    """One zone again, from the grid's hours: Denmark, a day of slack."""
    traces = at_home.hours(("DK",), CONFIG.year)
    for pause in (False, True):
        jobs = at_home.day_jobs(CONFIG, traces, interruptible=pause)
        found = study.simulate(jobs, traces, "k_cheapest").metrics()["saved_pct"]
        stored = work.at(tables["temporal"], zone="DK", year=2019, slack_h=24, duration_h=24, pauses=pause)
        assert stored["saved_pct"].to_list() == pytest.approx([found], rel=1e-4)


def test_no_slack_saves_nothing_and_more_slack_and_pauses_never_less(tables):
    rows = work.at(tables["temporal"], year=2019, duration_h=24)
    wide = rows.pivot(index=["zone", "pauses"], columns="slack_h", values="saved_pct")
    assert wide[0].abs().max() < 1e-9
    assert (np.diff(wide.to_numpy(), axis=1) >= -1e-9).all()
    one, paused = (wide.xs(p, level="pauses") for p in (False, True))
    assert (paused >= one - 1e-9).all(axis=None)
    assert len(one) == 36
    assert set(rows.loc[rows["basis"] == "computed", "zone"]) == set(grid.zones().query("basis == 'computed'")["zone"])


def test_further_reach_never_hurts_and_all_of_europe_is_the_cleanest_country(tables):
    wide = tables["reach"].pivot(index=["home", "way"], columns="reach_km", values="saved_pct")
    exact = wide[wide.index.get_level_values("way") != "at once, the cleanest of the year"]
    assert (np.diff(exact.to_numpy(), axis=1) >= -1e-9).all()
    once = work.at(tables["reach"], way="at once, the cleanest of the year", home="CH")
    assert once["saved_pct"].abs().max() < 1e-9  # it is there already


def test_errors_only_cost_and_the_seeds_are_all_there(tables):
    rows = tables["forecasts"]
    perfect = work.at(rows, forecast="perfect").set_index(["zone", "duration_h", "pauses"])["saved_pct"]
    with_errors = rows[rows["error"] > 0].set_index(["zone", "duration_h", "pauses"])
    assert (with_errors["saved_pct"] <= perfect.loc[with_errors.index].to_numpy() + 1e-9).all()
    assert (
        rows[rows["error"] > 0].groupby(["zone", "duration_h", "pauses", "forecast", "error"])["seed"].nunique() == 5
    ).all()


def test_capacity_loses_no_job_and_pausing_jobs_reach_the_bound(tables):
    assert tables["capacity"]["missed"].sum() == tables["gap"]["missed"].sum() == 0
    gap = tables["gap"]
    assert gap["feasible"].all()
    exact = gap["pauses"] & (gap["policy"] != "joint")  # one region a job is a heuristic
    assert exact.sum() == 2 * len(CONFIG.fleet_weeks) * len(CONFIG.utilisation[3:])
    assert gap.loc[exact, "above_lp_pct"].abs().max() < 1e-3
    assert (gap.loc[~exact, "above_lp_pct"] >= 0).all()
    full = tables["capacity"].groupby(["policy", "flexible", "utilisation"])["saved_pct"].mean().unstack()
    assert (np.diff(full.to_numpy(), axis=1) <= 1e-6).all()  # fuller machines never save more


def test_nine_machines_in_ten_are_nine_in_ten(tables):
    """The share of machines at work in the weeks that are counted, measured from the schedule, is what is said."""
    rows = tables["capacity"]
    assert len(rows) == len(CONFIG.fleet_weeks) * len(CONFIG.utilisation) * 4
    assert rows["busy"].to_numpy() == pytest.approx(rows["utilisation"].to_numpy(), abs=0.05)
    mean = rows.groupby("utilisation")["busy"].mean()
    assert mean.to_numpy() == pytest.approx(mean.index.to_numpy(), abs=0.02)


def test_the_counted_weeks_of_the_fleet_are_in_a_steady_state():
    """Without shifting, as many jobs run in every hour that is counted: the machines neither fill nor drain."""
    jobs, traces, counted = elsewhere.fleet(CONFIG, 19)
    schedule = study.simulate(jobs, traces, "now")
    load = schedule.pieces.load(jobs.power_kw, len(traces.zones), traces.n_steps)
    margin, weeks = CONFIG.fleet_margin * 168, CONFIG.fleet_counted * 168
    assert load[:, margin : margin + weeks] == pytest.approx(elsewhere.mean_kw(CONFIG))
    assert counted.sum() == len(traces.zones) * weeks / elsewhere.EVERY_H
    assert jobs.arrival_h[counted].max() < margin + weeks < jobs.arrival_h.max()


def test_the_front_is_one_and_pauses_cost(tables):
    front = tables["front"].sort_values("weight")
    assert front["on_front"].all()
    assert (np.diff(front["saved_pct"]) >= -1e-6).all()
    assert (np.diff(front["cheaper_pct"]) <= 1e-6).all()
    lost = work.at(tables["pauses"], idle_share=0).pivot(index="zone", columns="checkpoint_h", values="saved_pct")
    assert (np.diff(lost.to_numpy(), axis=1) <= 1e-6).all()
    for zone in lost.index:
        assert 0 < work.idle_limit(tables["pauses"], zone) < 1


def test_the_marginal_model_is_a_bracket_of_two_fuels():
    for last in ("gas", "coal"):
        marginal, curtailed = at_home.merit_order("DE", 2019, last)
        assert set(np.unique(marginal)) <= {0.0, facts.value("ipcc-gas"), facts.value("ipcc-coal")}
        assert (curtailed == (marginal == 0)).all()
        assert 0 < curtailed.mean() < 0.2
    assert (at_home.merit_order("DE", 2019, "gas")[0] <= at_home.merit_order("DE", 2019, "coal")[0]).all()


def test_break_even_is_where_moving_saves_nothing(tables):
    """Moving the gigabytes of the table for one kWh emits exactly what the cleaner grid saves."""
    for row in work.records(tables["transfers"]):
        network = row["break_even_gb_per_kwh"] * row["kwh_per_gb"] * (row["home_g"] + row["there_g"]) / 2
        assert network == pytest.approx(row["home_g"] - row["there_g"], rel=1e-4)
    low, high = facts.low_high("network-energy")
    assert set(tables["transfers"]["kwh_per_gb"]) == {low, high}


def test_distances_are_those_of_the_globe():
    assert elsewhere.distance_km("DE", "DE") == 0
    assert elsewhere.distance_km("ES", "FI") == pytest.approx(elsewhere.distance_km("FI", "ES"))
    assert 2800 < elsewhere.distance_km("ES", "FI") < 3400


def test_the_claim_is_counted_over_pairs():
    table = pd.DataFrame(
        {"kind": "grids", "basis": ["computed"] * 4 + ["modelled"], "times": [1.5, 2.5, 35.0, 50.0, 35.0]}
    )
    found = work.spread_of_pairs(table)
    assert found == {"pairs": 4, "pairs-median": 18.75, "pairs-max": 50, "pairs-30-to-40": 25, "pairs-30": 50}


def test_the_gate_shows_what_is_left(tables):
    gate = work.quality_gate(tables).set_index("case")
    assert gate.loc["perfect forecast", "DE"] == gate["DE"].iloc[:7].max()
    assert gate.loc["hours later, median"].between(0, 24).all()
