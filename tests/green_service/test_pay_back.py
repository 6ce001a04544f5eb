"""Break-even and rebound agree with chapter 1, and no unknown cost counts as nothing."""

import math

import numpy as np
import pytest

from greenlab import footprint
from greenlab.core import facts
from greenlab.green_service import DEFAULT, break_even, evaluate, invested, pays_back, rebound
from greenlab.green_service.committed import table

LARGE = DEFAULT.replace(model="Llama-3.1-70B", reference="Llama-3.1-70B")


def test_training_is_hours_times_power():
    spent = invested("other model", DEFAULT.replace(model="Llama-3.2-1B", pue=1.0))
    rated = facts.value("llama3p2-1b-gpu-hours") * 3600 * 700
    assert spent["invested_high_j"] == pytest.approx(rated)
    assert 0.5 * rated < spent["invested_low_j"] < spent["invested_j"] < rated


def test_tokens_give_a_lower_bound_and_a_real_training_takes_more():
    spent = invested("other model", DEFAULT.replace(model="Qwen3-30B-A3B", pue=1.0))
    flops = 6 * 3.3e9 * 3.6e13
    assert spent["invested_low_j"] == pytest.approx(flops * 1.36e-12, rel=0.03)
    assert 1 < spent["invested_j"] / spent["invested_low_j"] < 2


def test_an_unpublished_training_is_unknown_and_not_free():
    design = DEFAULT.replace(model="Mixtral-8x7B")
    assert math.isnan(invested("other model", design)["invested_j"])
    baseline = LARGE.replace(quality_gate=0.8)
    unknown = break_even(baseline, baseline.replace(model="Mixtral-8x7B")).iloc[0]
    assert math.isnan(unknown["days"])
    assert not pays_back(baseline, baseline.replace(model="Mixtral-8x7B"), days=1e9)


def test_break_even_is_chapter_1s():
    design = LARGE.replace(model="Qwen3-30B-A3B")
    row = break_even(LARGE, design).iloc[0]
    saved_wh = (evaluate(LARGE).energy.total_j - evaluate(design).energy.total_j) / 3600
    uses = footprint.break_even(row["invested_j"] / 3.6e6, saved_wh)
    assert row["requests"] == pytest.approx(uses)
    assert row["days"] == pytest.approx(uses / LARGE.requests_per_day)
    assert pays_back(LARGE, design, days=row["days"] * 1.001)
    assert not pays_back(LARGE, design, days=row["days"] * 0.999)


def test_the_range_of_paying_back_holds_the_saving_as_well_as_the_cost():
    design = DEFAULT.replace(removed_layers=1, healed=True)
    row = break_even(DEFAULT, design).iloc[0]
    least, value = row["invested_low_j"] / facts.value("pue-best"), row["invested_j"] / facts.value("pue-average")
    far = 1 - math.sqrt(0.05)  # of a triangle that falls to the end, 95 % lie nearer than this
    of_the_cost_alone = row["days"] * (1 - far * (1 - least / value))
    assert row["low_days"] < 0.8 * of_the_cost_alone  # hosts may take more than assumed, and then more is saved
    assert row["low_days"] < row["days"] < row["high_days"]


def test_the_building_is_on_both_sides_of_paying_back():
    design = DEFAULT.replace(removed_layers=1, healed=True)
    unknown = break_even(DEFAULT, design).iloc[0]
    for pue in (1.0, 1.54, 2.0):
        given = break_even(DEFAULT.replace(pue=pue), design.replace(pue=pue)).iloc[0]
        for name in ("days", "low_days", "high_days"):
            assert given[name] == pytest.approx(unknown[name])


def test_what_saves_nothing_never_pays_back_and_what_costs_nothing_does_at_once():
    design = DEFAULT.replace(index="minilm", retrieved_tokens=140, batch=64)
    found = break_even(DEFAULT, design).set_index("lever")
    assert math.isinf(found.loc["retrieval", "days"])
    assert found.loc["larger batch", "days"] == 0
    made = table("retrieval", "made")
    cpu_s = made[(made["passage_tokens"] == 140) & made["what"].isin(["split", "MiniLM"])]["cpu_s"].sum()
    steps = table("retrieval", "steps")
    joules = cpu_s * steps["energy_j"].sum() / steps["cpu_s"].sum()
    assert invested("retrieval", design.replace(pue=1.0))["invested_j"] == pytest.approx(joules)


def test_layers_cost_something_only_if_they_are_healed():
    assert invested("fewer layers", DEFAULT.replace(removed_layers=2))["invested_j"] == 0
    assert invested("fewer layers", DEFAULT.replace(removed_layers=2, healed=True))["invested_j"] > 0
    assert invested("fewer bits", DEFAULT.replace(bits=8))["invested_j"] == 0
    assert invested("fewer bits", DEFAULT.replace(bits=2))["invested_j"] > 1e12


@pytest.mark.parametrize("elasticity", [0.0, 0.5, 1.0, 2.0])
def test_rebound_is_chapter_1s(elasticity):
    design = DEFAULT.replace(batch=64)
    row = rebound(DEFAULT, design, elasticities=[elasticity]).iloc[0]
    before, after = evaluate(DEFAULT), evaluate(design)
    ratio = float(after.cost.total_usd) / float(before.cost.total_usd)
    uses = footprint.uses_after_saving(DEFAULT.requests_per_day, cost_ratio=ratio, elasticity=elasticity)
    assert row["requests_per_day"] == pytest.approx(uses)
    theirs = footprint.rebound(
        before_wh=float(before.energy.total_j) / 3600,
        after_wh=float(after.energy.total_j) / 3600,
        uses_before=DEFAULT.requests_per_day * 365,
        uses_after=uses * 365,
    )
    assert row["share"] == pytest.approx(theirs.share)
    assert row["before"] - row["after"] == pytest.approx(theirs.saving_kwh)


def test_without_a_saving_there_is_no_rebound():
    found = rebound(DEFAULT, DEFAULT.replace(input_tokens=2000), elasticities=[1.0])
    assert np.isnan(found["share"].item())


@pytest.mark.parametrize("elasticities", [[], [-1], [11], ["x"], 0.5])
def test_an_elasticity_that_cannot_be_is_refused(elasticities):
    with pytest.raises((ValueError, TypeError), match="elasticities"):
        rebound(DEFAULT, DEFAULT, elasticities=elasticities)
