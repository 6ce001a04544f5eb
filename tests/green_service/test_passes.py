"""Joules and seconds of a pass: fitted to an H100's rows, checked on rows and models that a fit has not seen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlab.accelerator import EXPERT_LAYERS
from greenlab.accelerator import MODELS as STUDIED
from greenlab.core import facts
from greenlab.core.model import cost
from greenlab.core.model.cost import expected_experts
from greenlab.green_service import MODELS, passes
from greenlab.green_service.committed import figure, table
from greenlab.hardware import MODELS as CHAPTER_2
from greenlab.hardware import decode, prefill
from greenlab.hardware import device as chapter_2_device


def test_the_fit_is_within_a_fifth_of_every_measured_row():
    rows = passes.residuals()
    assert len(rows) == 31
    assert rows["ratio"].between(0.9, 1.2).all(), rows[["what", "batch", "context", "ratio"]]
    assert (rows["ratio"] - 1).abs().median() < 0.03


def test_a_fit_to_the_8b_model_predicts_the_1b_model_that_it_has_not_seen():
    rows = [(row, work) for row, work in passes._measured_passes() if row["section"] == "decode"]
    known = [(row, work) for row, work in rows if row["what"] == "Llama-3.1-8B"]
    unseen = [(row, work) for row, work in rows if row["what"] == "Llama-3.2-1B"]
    assert len(known) == 15
    assert len(unseen) == 4
    counts = np.array([work.counts for _, work in known])
    joules = np.array([row["j_per_unit"] * work.tokens for row, work in known])
    found = passes._fit(counts, joules)
    for row, work in unseen:
        assert work.counts @ found == pytest.approx(row["j_per_unit"] * work.tokens, rel=0.1)


def test_the_coefficients_lie_above_what_a_copy_and_a_product_take_alone():
    """The study measured a byte in a copy and a FLOP in a product; a pass does neither as well as these."""
    fit = passes.fitted()
    copy, product = (figure("accelerator", f"{name}-random-numbers") for name in ("copy", "matmul"))
    assert copy < fit.j_per_byte < 1.3 * copy
    assert product < fit.j_per_flop < 1.5 * product
    h100 = chapter_2_device("h100-sxm5-80gb")
    assert fit.s_per_byte > 1 / h100.bandwidth_b_per_s  # no fit may beat the roofline
    assert fit.s_per_flop > 1 / h100.peak("bf16")


@pytest.mark.parametrize("name", ["Mixtral-8x7B", "Qwen3-30B-A3B"])
@pytest.mark.parametrize("tokens", [1, 16, 64, 256, 1024])
def test_layers_with_experts_that_no_fit_has_seen_are_within_a_third(name, tokens):
    layer = EXPERT_LAYERS[name]
    rows = table("accelerator", "summary")
    row = rows[(rows["what"] == f"{name}: experts") & (rows["batch"] == tokens)].iloc[0]
    weights = 3 * layer.d_model * layer.d_ff
    read = 2 * weights * expected_experts(layer.n_experts, layer.top_k, tokens)
    fit = passes.fitted()
    joules = fit.j_per_byte * read + fit.j_per_flop * 2 * weights * layer.top_k * tokens + fit.j_per_layer
    assert row["j_per_unit"] * tokens == pytest.approx(joules, rel=0.35)


@pytest.mark.parametrize("name", sorted(set(MODELS) & set(CHAPTER_2)))
def test_counts_are_those_of_chapter_2(name):
    shape = MODELS[name].shape
    assert shape == CHAPTER_2[name]
    ours, theirs = passes.decode_pass(shape, batch=8, context=700), decode(name, batch=8, context=700)
    assert ours.flops == theirs.flops
    assert ours.bytes_moved == pytest.approx(theirs.bytes_moved, rel=1e-12)
    assert ours.resident_b == pytest.approx(theirs.resident_b, rel=1e-12)
    ours, theirs = passes.prompt_pass(shape, n_tokens=700), prefill(name, context=700)
    assert ours.flops == theirs.flops
    assert ours.bytes_moved == pytest.approx(theirs.bytes_moved, rel=1e-12)


@pytest.mark.parametrize("name", sorted(STUDIED))
def test_shapes_are_those_that_were_measured(name):
    assert MODELS[name].shape == STUDIED[name].shape
    assert MODELS[name].measured


@pytest.mark.parametrize(
    ("name", "total"),
    [("Mixtral-8x7B", 46.7e9), ("Qwen3-30B-A3B", 30.5e9), ("Llama-3.1-70B", 70.6e9), ("Llama-3.1-Minitron-4B", 4.51e9)],
)
def test_parameters_are_those_that_are_published(name, total):
    assert cost.parameters(MODELS[name].shape).total == pytest.approx(total, rel=0.005)


@pytest.mark.parametrize("bits", [16, 8, 2])
def test_fewer_bits_change_the_layers_weights_and_nothing_else(bits):
    shape = MODELS["Llama-3.1-8B"].shape
    whole, fewer = (passes.decode_pass(shape, batch=4, context=100, bits=b) for b in (16, bits))
    weights = cost.decode_bytes(shape, 100, batch=4, bytes_per_weight=2).layer_weights
    assert whole.bytes_moved - fewer.bytes_moved == pytest.approx((1 - bits / 16) * weights, rel=1e-12, abs=1e-3)
    assert whole.flops == fewer.flops


@given(st.integers(1, 500), st.integers(1, 5000), st.integers(1, 8))
def test_energy_and_time_are_the_three_products(batch, context, n_devices):
    fit = passes.fitted()
    work = passes.decode_pass(MODELS["SmolLM2-135M"].shape, batch=batch, context=context)
    joules = fit.j_per_byte * work.bytes_moved + fit.j_per_flop * work.flops + n_devices * fit.j_per_layer * work.layers
    assert fit.energy_j(work, n_devices) == pytest.approx(joules, rel=1e-12)
    alone, shared = fit.time_s(work), fit.time_s(work, n_devices)
    assert alone / n_devices <= shared * (1 + 1e-12)
    assert shared <= alone * (1 + 1e-12)


def test_a_chip_of_half_the_bandwidth_needs_twice_the_time_for_a_byte():
    a100, h100 = passes.scaled_to("a100-sxm4-80gb"), passes.fitted()
    bandwidth = facts.value("h100-sxm5-80gb.memory_bandwidth_gb_s") / facts.value(
        "a100-sxm4-80gb.memory_bandwidth_gb_s"
    )
    assert a100.s_per_byte / h100.s_per_byte == pytest.approx(bandwidth)
    assert a100.j_per_byte / h100.j_per_byte == pytest.approx(bandwidth * 400 / 700)
    assert (a100.basis, h100.basis) == ("modelled", "measured")


def test_published_speeds_on_other_chips_are_within_a_fifth_of_the_scaled_ones():
    low, high = passes.scaling_band()
    assert 0.8 < low <= 1 <= high < 1.2


def test_the_band_holds_the_meter_and_the_serving_system():
    low, high = passes.fit_band()
    rows = passes.residuals()
    assert low <= (rows["low_j"] / rows["fitted_j"]).min()
    assert high >= max((rows["high_j"] / rows["fitted_j"]).max(), *passes.published_over_fit().values())
    published = facts.value("energy-h100-llama3-8b-batch-64")
    shape = MODELS["Llama-3.1-8B"].shape
    fitted = passes.fitted().energy_j(passes.decode_pass(shape, batch=64, context=512)) / 64
    assert passes.published_over_fit()[64] == pytest.approx(published / fitted)


@pytest.mark.parametrize("device", ["h100", "epyc-9654", "rubin"])
def test_a_chip_that_is_not_known_is_named(device):
    with pytest.raises(ValueError, match="device"):
        passes.chip(device)
