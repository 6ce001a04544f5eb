"""Lever by lever: steps join, overlaps are sums of logarithms, and what costs quality is not counted."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab.green_service import (
    DEFAULT,
    EVIDENCE,
    LEVERS,
    Service,
    apply,
    assumptions,
    claimed,
    evaluate,
    evidence,
    overlaps,
    parts,
    pulled,
    waterfall,
)
from tests.green_service.test_design import services

DESIGN = DEFAULT.replace(batch=64, bits=8, region="SE", pue=1.1, utilization=0.7, flexible=0.2)


def of(table, quantity="energy"):
    return table[table["quantity"] == quantity].reset_index(drop=True)


def test_every_field_of_a_service_belongs_to_one_lever_or_to_the_work():
    fields = [name for lever in LEVERS.values() for name in lever.fields]
    assert sorted([*fields, "requests_per_day", "reference", "quality_gate"]) == sorted(Service.__dataclass_fields__)


def test_steps_join_and_end_at_the_design():
    table = waterfall(DEFAULT, DESIGN)
    for quantity, of_outcome in (("energy", lambda o: o.energy.total_j), ("carbon", lambda o: o.sci_g)):
        part = of(table, quantity)
        assert part["before"].iloc[0] == pytest.approx(of_outcome(evaluate(DEFAULT)))
        assert part["after"].iloc[-1] == pytest.approx(of_outcome(evaluate(DESIGN)))
        assert np.allclose(part["before"].iloc[1:], part["after"].iloc[:-1])
        assert part["remaining_fraction"].iloc[-1] == pytest.approx((1 - part["saved_fraction"]).prod())
        assert ((part["saved_low"] <= part["saved"]) & (part["saved"] <= part["saved_high"])).all()


def test_overlap_is_together_over_product_and_its_logarithm_the_sum_of_the_steps():
    table = waterfall(DEFAULT, DESIGN)
    found = overlaps(table).set_index("quantity")
    for quantity in ("energy", "carbon", "water"):
        part = of(table, quantity)
        product = math.prod(1 - share for share in part["alone_fraction"])
        assert found.loc[quantity, "product"] == pytest.approx(product)
        assert found.loc[quantity, "overlap"] == pytest.approx(part["remaining_fraction"].iloc[-1] / product)
        assert found.loc[quantity, "log_overlap"] == pytest.approx(np.log(part["overlap"]).sum())


def test_the_end_does_not_depend_on_the_order_but_the_steps_do():
    design = DEFAULT.replace(batch=64, bits=8, n_devices=200)
    shares = []
    for order in itertools.permutations(pulled(DEFAULT, design)):
        part = of(waterfall(DEFAULT, design, order=order, n=100))
        assert list(part["lever"]) == list(order)
        assert part["after"].iloc[-1] == pytest.approx(evaluate(design).energy.total_j)
        shares.append(part.set_index("lever")["saved_fraction"]["fewer bits"])
    assert max(shares) > 1.5 * min(shares)  # fewer bits save less behind a large batch
    assert shares[0] > 0


def test_one_lever_alone_has_no_overlap():
    part = of(waterfall(DEFAULT, DEFAULT.replace(batch=64), n=100))
    assert part["saved_fraction"].item() == part["alone_fraction"].item()
    assert part["overlap"].item() == 1


def test_a_small_change_of_proportional_levers_does_not_overlap():
    """PUE and grid are factors of the electricity's carbon, so their shares do multiply there."""
    baseline = DEFAULT.replace(pue=1.5)
    table = waterfall(baseline, baseline.replace(pue=1.1, region="FR"), n=100)
    before, after = evaluate(baseline), evaluate(baseline.replace(pue=1.1, region="FR"))
    ratio = after.carbon.operational_g / before.carbon.operational_g
    assert ratio == pytest.approx(1.1 / 1.5 * 44 / 344)
    assert of(table, "energy")["overlap"].tolist() == pytest.approx([1, 1])


def test_a_step_that_fails_the_gate_is_not_counted_and_says_why():
    design = DEFAULT.replace(batch=64, bits=4)
    table = waterfall(DEFAULT, design, n=100)
    part = of(table).set_index("lever")
    assert not part.loc["fewer bits", "counted"]
    assert part.loc["fewer bits", "saved"] == 0
    assert part.loc["fewer bits", "alone_fraction"] > 0  # it would save, and is shown
    assert part.loc["fewer bits", "reason"] == "quality would fall to 84.0 %, and the gate is 95.0 %"
    assert part.loc["larger batch", "after"] == pytest.approx(evaluate(DEFAULT.replace(batch=64)).energy.total_j)
    assert claimed(DEFAULT, design) == DEFAULT.replace(batch=64)
    lenient = design.replace(quality_gate=0.8), DEFAULT.replace(quality_gate=0.8)
    assert claimed(lenient[1], lenient[0]) == lenient[0]


def test_the_gate_holds_for_all_levers_together_in_the_readers_order():
    """Each of two levers passes alone, and the second in line does not."""
    design = DEFAULT.replace(removed_layers=1, capacity=1.0, bits=8, quality_gate=0.97)
    baseline = DEFAULT.replace(quality_gate=0.97)
    first = of(waterfall(baseline, design, order=["fewer layers", "fewer bits"], n=100))
    second = of(waterfall(baseline, design, order=["fewer bits", "fewer layers"], n=100))
    assert first["counted"].tolist() == [True, False]
    assert second["counted"].tolist() == [True, False]


def test_a_saving_is_known_better_than_the_two_figures_it_is_taken_from():
    design = DEFAULT.replace(region="FR")
    part = of(waterfall(DEFAULT, design), "carbon")
    width = (part["saved_high"] - part["saved_low"]).item() / part["saved"].item()
    fraction = (part["alone_high"] - part["alone_low"]).item() / part["alone_fraction"].item()
    assert fraction < 0.5 * width


@settings(deadline=None, max_examples=15)
@given(st.permutations(["larger batch", "fewer bits", "other grid"]))
def test_apply_is_the_same_in_any_order(order):
    design = DEFAULT.replace(batch=64, bits=8, region="FR")
    assert apply(DEFAULT, design, order) == design


def test_evidence_says_how_an_effect_is_known():
    assert {lever.evidence for lever in LEVERS.values()} <= set(EVIDENCE)
    assert evidence("larger batch", DEFAULT) == "measured on an accelerator"
    assert evidence("larger batch", DEFAULT.replace(device="b200")) == "modelled"
    assert evidence("other model", DEFAULT.replace(model="Mixtral-8x7B")) == "modelled"
    assert evidence("fewer bits", DEFAULT.replace(bits=8)) == "cited"


@pytest.mark.parametrize("model", ["Llama-3.1-70B", "Llama-3.1-Minitron-4B", "Mixtral-8x7B", "Qwen3-30B-A3B"])
def test_a_lever_on_a_model_that_nobody_ran_is_modelled(model):
    design = DEFAULT.replace(model=model, batch=128)
    assert evidence("larger batch", design) == evidence("fewer tokens", design) == "modelled"
    known = parts(design, n=100).query("quantity == 'energy'").set_index("part")["evidence"]
    assert known[["reading", "writing"]].tolist() == ["modelled", "modelled"]
    assert assumptions(design)["serving_factor"].basis == "modelled"


@pytest.mark.parametrize(
    ("changes", "lever", "known"),
    [
        ({"batch": 256}, "larger batch", "measured on an accelerator"),
        ({"batch": 512}, "larger batch", "modelled"),
        ({"removed_layers": 2}, "fewer layers", "measured on an accelerator"),
        ({"model": "Llama-3.2-1B", "removed_layers": 2}, "fewer layers", "modelled"),
    ],
)
def test_measured_is_what_the_accelerators_study_ran(changes, lever, known):
    assert evidence(lever, DEFAULT.replace(**changes)) == known


def test_a_lever_that_cannot_be_pulled_alone_says_so():
    baseline = DEFAULT.replace(model="Llama-3.2-1B", reference="Llama-3.1-70B", quality_gate=0.1)
    design = baseline.replace(model="Llama-3.1-70B", removed_layers=20)
    part = of(waterfall(baseline, design, n=100)).set_index("lever")
    assert math.isnan(part.loc["fewer layers", "alone_fraction"])
    assert "cannot be pulled alone: removed_layers=20" in part.loc["fewer layers", "reason"]
    with pytest.raises(ValueError, match=r"order: after nothing the lever 'fewer layers' cannot be pulled"):
        waterfall(baseline, design, order=["fewer layers", "other model"], n=100)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: waterfall(DEFAULT, DEFAULT.replace(requests_per_day=5)),
            r"requests_per_day=5\.0 and baseline 1e7|same",
        ),
        (lambda: waterfall(DEFAULT, DESIGN, order=["fewer bits"]), r"order=\['fewer bits'\]: give each lever"),
        (lambda: waterfall(DEFAULT, DESIGN, order="fewer bits"), r"order='fewer bits' is str"),
        (lambda: waterfall(DEFAULT, DESIGN, moved={"pue": 0.2}), r"pue=0\.2"),
        (lambda: waterfall(DEFAULT, None), r"design=None"),
        (lambda: overlaps(pd.DataFrame()), r"table lacks the column"),
        (lambda: overlaps(waterfall(DEFAULT, DEFAULT)), r"table is empty"),
        (lambda: apply(DEFAULT, DESIGN, ["more wind"]), r"levers.*more wind"),
    ],
)
def test_what_is_no_comparison_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_moved_assumptions_hold_before_and_after():
    part = of(waterfall(DEFAULT, DEFAULT.replace(batch=64), moved={"pue": 1.0}, n=100))
    moved = evaluate(DEFAULT.replace(pue=1.0)).energy.total_j
    assert part["before"].item() == pytest.approx(moved)


@settings(deadline=None, max_examples=20)
@given(services())
def test_any_design_can_be_reached_and_its_overlaps_add_up(design):
    baseline = DEFAULT.replace(requests_per_day=design.requests_per_day, quality_gate=0.001)
    design = design.replace(quality_gate=0.001)
    if design.removed_layers and design.index != "none":  # the one pair that may leave nothing: its own test follows
        design = design.replace(index="none", retrieved_tokens=0)
    table = waterfall(baseline, design, n=100)
    assert set(table["lever"]) == set(pulled(baseline, design))
    part = of(table)
    assert part["counted"].all()
    if len(part):
        assert part["after"].iloc[-1] == pytest.approx(evaluate(design).energy.total_j)
        alone = part["alone_fraction"].notna().all()
        found = overlaps(table).set_index("quantity").loc["energy", "log_overlap"]
        assert not alone or found == pytest.approx(np.log(part["overlap"]).sum(), abs=1e-9)


def test_no_saving_counts_where_a_cut_model_no_longer_answers_from_passages():
    """Chapter 10's study: of 53 questions the whole model answered 11 with a passage, the healed one none."""
    design = DEFAULT.replace(model="SmolLM2-135M", removed_layers=6, healed=True, index="bm25", retrieved_tokens=140)
    design = design.replace(reference="SmolLM2-135M", quality_gate=0.9)
    baseline = design.replace(removed_layers=0, healed=False, index="none", retrieved_tokens=0)
    for order in (["fewer layers", "retrieval"], ["retrieval", "fewer layers"]):
        table = of(waterfall(baseline, design, order=order, n=100))
        assert table["counted"].tolist() == [True, False]
        assert table["quality"].iloc[-1] == 0
        assert "quality would fall to 0.0 %" in table["reason"].iloc[-1]
