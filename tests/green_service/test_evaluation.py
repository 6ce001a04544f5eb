"""Bands, draws and assumptions: central numbers inside, one draw an assumption, every number with a source."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlab.core import facts, studies
from greenlab.green_service import DEFAULT, Assumption, assumptions, bands, draws, evaluate, parts, regions, sensitivity
from greenlab.green_service.evaluation import outcome_of_draws


def item(value, low, high):
    return Assumption("pue", "", value, low, high, "ratio", "cited", "")


@given(st.floats(0, 100), st.floats(0, 100), st.floats(0, 100))
def test_draws_stay_in_the_range_with_the_value_as_median(a, b, c):
    low, value, high = sorted((a, b, c))
    found = draws(item(value, low, high), 4001)
    assert low <= found.min()
    assert found.max() <= high
    assert np.mean(found <= value) >= 0.46
    assert np.mean(found >= value) >= 0.46


def test_draws_follow_their_density():
    """Half of a triangle that falls from the value to the end has its mean at a third of the way."""
    found = draws(item(1.0, 0.0, 4.0), 200_000)
    above = found[found > 1.0]
    assert above.mean() == pytest.approx(2.0, rel=0.01)
    assert found[found < 1.0].mean() == pytest.approx(1 - 1 / 3, rel=0.01)


def test_an_assumption_is_drawn_alike_in_every_design_and_unlike_others():
    ours, theirs = (assumptions(DEFAULT.replace(region=region)) for region in ("DE", "FR"))
    assert np.array_equal(draws(ours["serving_factor"]), draws(theirs["serving_factor"]))
    names = ("pue", "host_power_w")
    first, second = (draws(ours[name], 2000) for name in names)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.1
    assert not np.array_equal(draws(ours["pue"], seed=1), draws(ours["pue"], seed=2))


def test_every_band_holds_its_value_and_the_year_is_the_requests_of_a_year():
    table = bands(DEFAULT)
    assert ((table["low"] <= table["value"]) & (table["value"] <= table["high"])).all()
    assert (table["low"] < table["high"]).all()
    energy = table[table["quantity"] == "energy"].set_index("per")["value"]
    assert energy["year"] == pytest.approx(energy["request"] / 3.6e6 * DEFAULT.requests_per_day * 365)
    assert set(table["basis"]) == {"modelled"}


def test_numbers_of_ones_own_have_no_band():
    assumed = assumptions(DEFAULT)
    own = assumed.move(**assumed.values())
    table = bands(DEFAULT, own)
    assert np.allclose(table["low"], table["high"], rtol=1e-12)
    assert {part.basis for part in own.items} == {"given"}


def test_a_band_of_one_assumption_is_that_assumptions():
    """Carbon of electricity is proportional to the grid: with all else fixed its band is the grid's own."""
    assumed = assumptions(DEFAULT)
    grid = assumed["intensity_g_per_kwh"]
    only = assumed.move(**assumed.values()).move(intensity_g_per_kwh=(grid.value, grid.low, grid.high))
    row = parts(DEFAULT, only).query("part == 'electricity'").iloc[0]
    low, high = np.quantile(draws(grid), [0.025, 0.975]) / grid.value
    assert row["low"] / row["value"] == pytest.approx(low)
    assert row["high"] / row["value"] == pytest.approx(high)


def test_the_same_seed_gives_the_same_band_and_another_one_a_similar_one():
    assert bands(DEFAULT, seed=3).equals(bands(DEFAULT, seed=3))
    ours, theirs = bands(DEFAULT, seed=3), bands(DEFAULT, seed=4)
    assert not ours.equals(theirs)
    assert np.allclose(ours["high"], theirs["high"], rtol=0.05)


def test_parts_add_up_to_the_whole():
    found = parts(DEFAULT).groupby("quantity")
    whole = bands(DEFAULT).query("per == 'request'").set_index("quantity")["value"]
    for quantity, part in found:
        assert part["value"].sum() == pytest.approx(whole[quantity])
        assert part["share"].sum() == pytest.approx(1)


def test_sensitivity_is_what_moving_one_number_does():
    found = sensitivity(DEFAULT, "carbon").set_index("assumption")
    host = assumptions(DEFAULT)["host_power_w"]
    moved = evaluate(DEFAULT, assumptions(DEFAULT).move(host_power_w=host.high))
    assert found.loc["host_power_w", "at_high"] == pytest.approx(moved.sci_g)
    assert found["span"].is_monotonic_decreasing
    assert "device_price" not in found.index  # a price emits nothing


@pytest.mark.parametrize("region", sorted(regions()))
def test_every_assumption_names_facts_or_tables_that_exist(region):
    known = set(facts.ids())
    for device in ("h100-sxm5-80gb", "b200"):
        for part in assumptions(DEFAULT.replace(region=region, device=device)).items:
            words = re.findall(r"[A-Za-z0-9_./-]+", part.source)
            cells = [word for word in words if re.fullmatch(r"[A-Za-z0-9-]+\.[a-z0-9_]+", word) and "csv" not in word]
            folders = [word.rstrip(",") for word in words if word.startswith("data/studies/")]
            ids = [word for word in words if word in known]
            assert cells or folders or ids, part
            assert all(facts.value(cell) for cell in cells)
            assert all((studies.STUDIES.parents[1] / folder).is_dir() for folder in folders), part


def test_grids_and_prices_are_the_facts():
    assumed = assumptions(DEFAULT.replace(region="SE"))
    assert assumed["intensity_g_per_kwh"].value == facts.value("SE.intensity_g_per_kwh")
    assert assumed["water_l_per_kwh"].value == facts.value("water-electricity-se")
    assert assumed["device_embodied_kg"].value == facts.value("gpu-embodied-h100")
    ternary = assumptions(DEFAULT)["kernel_share"]
    faster = facts.value("decode-a100-llama2-7b-int8") / facts.value("decode-a100-llama2-7b-bf16")
    assert ternary.low == pytest.approx((1 - 1 / faster) / 0.5)  # 8 bits of 16: half of the bytes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pue": 0.5}, r"pue=0\.5"),
        ({"pue": (1.2, 1.3, 1.4)}, r"low <= value <= high"),
        ({"pue": (1.2, 1.1)}, r"give a number, or \(value, low, high\)"),
        ({"pui": 1.2}, r"assumption.*pue"),
        ({"lifetime_years": 0}, r"lifetime_years=0"),
        ({"host_power_w": float("inf")}, r"host_power_w=inf"),
        ({"shift_saving": "0.1"}, r"shift_saving='0\.1' is str"),
    ],
)
def test_assumptions_that_cannot_be_are_refused(changes, message):
    with pytest.raises((ValueError, TypeError), match=message):
        assumptions(DEFAULT).move(**changes)


def test_a_batch_that_the_traffic_cannot_fill_is_said():
    assert evaluate(DEFAULT).remarks == ()
    few = evaluate(DEFAULT.replace(requests_per_day=1000, batch=64))
    assert len(few.remarks) == 1
    assert "fills a batch of 1" in few.remarks[0]


def test_a_fleet_that_cannot_keep_up_in_a_draw_is_larger_there():
    """Without a spare second, more seconds a request are more accelerators: hosts, manufacture and price grow along."""
    full = DEFAULT.replace(utilization=1.0)
    found = outcome_of_draws(full, assumptions(full), 2000, 0)
    slow = draws(assumptions(full)["serving_factor"], 2000)
    worst = int(slow.argmax())
    assert slow[worst] > 1.5
    price, host = (draws(assumptions(full)[name], 2000)[worst] for name in ("device_price", "host_power_w"))
    planned_s = evaluate(full).machines.n_devices * 86_400 / full.requests_per_day
    hours = found.cost.total_usd[worst] / price
    assert 3600 * hours == pytest.approx(slow[worst] * planned_s, rel=0.05)
    assert found.energy.host_j[worst] == pytest.approx(3600 * hours * host)
    assert found.energy.waiting_j[worst] == 0


def test_a_fleet_with_time_to_spare_keeps_its_size_in_every_draw():
    found = outcome_of_draws(DEFAULT, assumptions(DEFAULT), 2000, 0)
    price = draws(assumptions(DEFAULT)["device_price"], 2000)
    hours = found.cost.total_usd / price
    assert hours == pytest.approx(np.full(2000, evaluate(DEFAULT).machines.n_devices * 24 / DEFAULT.requests_per_day))
