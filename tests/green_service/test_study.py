"""Chapter 10's tables: bands of shares, orders, peers, and what the live race predicts."""

import math

import pytest

from greenlab.green_service import DEFAULT, overlaps, study, waterfall
from greenlab.green_service.study import live
from greenlab.green_service.study import tables as work

DESIGN = DEFAULT.replace(batch=128, bits=8, region="SE", flexible=0.2)
ORDER = ["larger batch", "fewer bits", "other grid", "flexible hours"]


def test_the_band_of_a_step_holds_its_share_and_is_narrower_than_that_of_its_joules():
    table = work.steps(DEFAULT, DESIGN, ORDER, n=500)
    assert len(table) == 24
    assert (
        (table["share_low"] <= table["saved_fraction"] + 1e-9) & (table["saved_fraction"] <= table["share_high"] + 1e-9)
    ).all()
    batch = table[(table["lever"] == "larger batch") & (table["quantity"] == "energy")].iloc[0]
    share, joules = (
        batch["share_high"] - batch["share_low"],
        (batch["saved_high"] - batch["saved_low"]) / batch["before"],
    )
    assert 0 < share < joules / 2


def test_a_step_that_does_not_count_has_no_band():
    table = work.steps(DEFAULT, DEFAULT.replace(bits=4, batch=64), n=200)
    bits = table[table["lever"] == "fewer bits"]
    assert bits["share_low"].map(math.isnan).all()
    assert not bits["counted"].any()
    assert table[table["lever"] == "larger batch"]["share_low"].notna().all()


def test_orders_meet_at_the_end_and_differ_on_the_way():
    both = work.by_order(DEFAULT, DESIGN, [ORDER, ORDER[::-1]], "carbon")
    ends = both.groupby("order")["left_pct"].last()
    assert ends[1] == pytest.approx(ends[2])
    waiting = both[both["lever"] == "flexible hours"].set_index("order")["saved_pct"]
    assert waiting[2] > 5 * waiting[1]


def test_together_is_overlaps_in_per_cent():
    table = waterfall(DEFAULT, DESIGN, order=ORDER, n=100)
    found, whole = work.together(table), overlaps(table)
    assert found["product_pct"].tolist() == pytest.approx((100 * whole["product"]).tolist())
    assert found["overlap"].tolist() == pytest.approx((found["together_pct"] / found["product_pct"]).tolist())


def test_alone_and_in_order_leaves_out_levers_that_change_nothing():
    rows = work.alone_and_in_order(waterfall(DEFAULT, DESIGN, order=ORDER, n=100), "energy")
    assert rows["lever"].unique().tolist() == ["larger batch", "fewer bits"]
    assert rows.groupby("lever").size().tolist() == [2, 2]


def test_the_committed_steps_lead_from_our_energy_to_theirs():
    tables = study.load()
    energies = tables["peers"].query("quantity == 'energy'").set_index("peer")
    for peer, rows in tables["peers_gap"].groupby("peer"):
        energy = energies.loc[peer]
        assert rows["energy_j"].iloc[0] == pytest.approx(energy["ours"], rel=1e-4)
        assert rows["energy_j"].iloc[0] + rows["change_j"].sum() == pytest.approx(energy["theirs"], rel=1e-3)


def test_waiting_for_the_best_hour_of_a_constant_grid_saves_nothing(monkeypatch):
    hours = live.grid.load("DE", 2019)
    flat = hours.assign(intensity_g_per_kwh=100.0)
    monkeypatch.setattr(live.grid, "load", lambda zone, year: flat)
    assert live.best_hour_saving() == 0
    steps = hours.assign(intensity_g_per_kwh=[100.0 if i % 2 else 300.0 for i in range(len(hours))])
    monkeypatch.setattr(live.grid, "load", lambda zone, year: steps)
    assert live.best_hour_saving() == pytest.approx(0.5, abs=1e-3)  # every second hour has 100 in place of 300


def test_measured_and_predicted_are_laid_side_by_side():
    predicted = study.load("predicted")["predicted"]
    rows = work.said_and_measured(predicted)
    assert len(rows) == 3 * len(predicted) == 24
    assert not rows.duplicated(["what", "how"]).any()
    both = rows.set_index(["what", "how"])["left_pct"]
    source = predicted.set_index("what")
    assert both["all three", "measured"] == source.loc["together", "measured_pct"]
    assert both["fewer layers", "by counts"] == source.loc["fewer layers, healed", "counts_pct"]
    assert (
        both["fewer layers + retrieval", "from parts and kernel"]
        == (source.loc["fewer layers, healed + retrieval", "kernel_pct"])
    )
    with pytest.raises(ValueError, match="lacks the column 'counts_pct'"):
        work.said_and_measured(predicted.drop(columns="counts_pct"))
