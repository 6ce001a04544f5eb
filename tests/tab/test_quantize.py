"""The two formats: against ggml's own Python code, against the published numbers, and by their properties."""

from __future__ import annotations

import json

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from safetensors import safe_open

from greenlab.core import assets
from greenlab.tab import fragment, pack_4bit, quantize_4bit, quantize_8bit, round_vectors

MATRICES = arrays.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.sampled_from([32, 64, 96])),
    elements=st.floats(-100, 100, width=32, allow_subnormal=False),
)


def ggml_blocks(weight, kind, size):
    return gguf.quantize(np.ascontiguousarray(weight), kind).reshape(len(weight), -1, size)


@given(MATRICES)
@settings(max_examples=60, deadline=None)
def test_a_group_of_eight_bits_is_ggmls_q8_0(weight):
    """A scale of a group is stored first.

    ggml divides by the scale before it is rounded to float16, so a weight may lie one step apart.
    """
    weight[np.abs(weight) < 1e-2] = 0  # ggml divides by zero where a group is all but zero
    blocks = ggml_blocks(weight, gguf.GGMLQuantizationType.Q8_0, 34)
    ours = quantize_8bit(weight)
    assert np.array_equal(ours.scale, blocks[..., :2].copy().view(np.float16)[..., 0])
    theirs = blocks[..., 2:].copy().view(np.int8).reshape(weight.shape)
    assert np.abs(ours.quants.astype(int) - theirs).max() <= 1


def test_four_bits_are_packed_as_ggmls_q4_1():
    """Weights on the grid of float16, as published: minimum 0, scale 1, so nothing is rounded on either side."""
    generator = np.random.default_rng(0)
    quants = generator.integers(0, 16, (8, 96)).astype(np.uint8)
    quants[:, ::32], quants[:, 1::32] = 0, 15  # a group has its smallest and its largest value
    blocks = ggml_blocks(quants.astype(np.float32), gguf.GGMLQuantizationType.Q4_1, 20)
    ours = quantize_4bit(quants.astype(np.float32))
    assert np.array_equal(ours.quants, quants)
    assert np.array_equal(pack_4bit(ours.quants).reshape(8, 3, 16), blocks[..., 4:])
    assert np.array_equal(np.stack([ours.scale, ours.minimum], axis=-1), blocks[..., :4].copy().view(np.float16))


@given(MATRICES)
@settings(max_examples=100, deadline=None)
def test_no_weight_moves_by_more_than_half_a_step_and_the_rounding_of_float16(weight):
    for quantize, largest in ((quantize_4bit, 15), (quantize_8bit, 127)):
        found = quantize(weight)
        step = found.scale.astype(np.float32).repeat(32, axis=1)
        half_precision = 2.0**-11 * (step * largest + np.abs(weight).max()) + largest * 2.0**-24
        assert (np.abs(found.dequantized() - weight) <= step / 2 + half_precision).all()


@given(st.integers(-2000, 2000), st.integers(1, 1000), arrays.arrays(np.uint8, (2, 32), elements=st.integers(0, 15)))
@settings(max_examples=100, deadline=None)
def test_weights_that_were_of_four_bits_come_back_as_they_were(minimum, scale, quants):
    quants[:, 0], quants[:, -1] = 0, 15
    weight = quants * np.float32(scale / 1024) + np.float32(minimum / 1024)
    again = quantize_4bit(weight)
    assert np.array_equal(again.dequantized(), weight)


@given(MATRICES)
@settings(max_examples=60, deadline=None)
def test_a_vector_keeps_its_size_to_one_in_65534(x):
    groups, rounded = x.reshape(-1, 32), round_vectors(x).reshape(-1, 32)
    largest = np.abs(groups).max(axis=1, keepdims=True)
    assert (np.abs(groups - rounded) <= largest / 65534 * (1 + 1e-3)).all()


def test_a_group_of_equal_weights_has_no_step():
    for value in (0.0, 0.5, -3.0):
        assert (quantize_4bit(np.full((1, 32), value)).dequantized() == value).all()
    assert (quantize_8bit(np.zeros((1, 32))).dequantized() == 0).all()
    assert (round_vectors(np.zeros((1, 32))) == 0).all()


@pytest.mark.assets
@pytest.mark.parametrize("layer", [0, 13, 29])
def test_smollm2s_weights_are_of_four_bits_already(layer):
    """The book's float32 weights are the published Q4_1 ones, written out: nothing is lost on the way back."""
    with safe_open(assets.fetch("smollm2") / "model.safetensors", "np") as weights:
        names = [n for n in weights.keys() if n.startswith(f"model.layers.{layer}.") and "norm" not in n]  # noqa: SIM118
        assert len(names) == 7
        for name in names:
            weight = weights.get_tensor(name)
            assert np.array_equal(quantize_4bit(weight).dequantized(), weight)


@pytest.mark.assets
def test_smollm2s_embedding_is_of_eight_bits_already():
    with safe_open(assets.fetch("smollm2") / "model.safetensors", "np") as weights:
        weight = weights.get_tensor("model.embed_tokens.weight")
    assert weight.shape == (49152, 576)
    assert np.array_equal(quantize_8bit(weight).dequantized(), weight)


@pytest.mark.parametrize("function", [quantize_4bit, quantize_8bit, round_vectors])
@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        (np.zeros((1, 31)), ValueError, r"has the shape \(1, 31\): give rows whose length is a multiple of 32"),
        (np.zeros(32), ValueError, r"has the shape \(32,\)"),
        (np.zeros((0, 32)), ValueError, r"has the shape \(0, 32\)"),
        (np.zeros((1, 0)), ValueError, r"has the shape \(1, 0\)"),
        (np.full((1, 32), np.nan), ValueError, "holds nan at position 0"),
        (np.full((1, 32), np.inf), ValueError, "holds inf at position 0"),
        (np.full((1, 32), 1e6), ValueError, "at most 65504"),
        (np.full((1, 32), "1"), TypeError, "give a NumPy array of numbers"),
        (np.ones((1, 32), dtype=bool), TypeError, "is an array of bool"),
        ([[0.0] * 32], TypeError, "is list: give a NumPy array of numbers"),
        (None, TypeError, "is NoneType"),
    ],
)
def test_what_is_no_matrix_of_groups_is_refused(function, bad, error, says):
    with pytest.raises(error, match=says):
        function(bad)


@pytest.mark.parametrize(
    ("bad", "error", "says"),
    [
        (np.full((1, 32), 16), ValueError, "four bits hold 0 to 15"),
        (np.full((1, 32), -1), ValueError, "holds numbers from -1 to -1"),
        (np.zeros((1, 32)), TypeError, "is an array of float64: give a NumPy array of whole numbers"),
        (np.zeros((1, 33), dtype=int), ValueError, "multiple of 32"),
    ],
)
def test_what_four_bits_cannot_hold_is_not_packed(bad, error, says):
    with pytest.raises(error, match=says):
        pack_4bit(bad)


def test_the_study_says_that_no_weight_differs():
    from greenlab.tab import study

    tables = study.load()
    assert tables["weights"][["weights", "different"]].iloc[0].tolist() == [134_515_008, 0]
    again = study.figures(tables).set_index("name")["value"]
    assert again.to_list() == pytest.approx(tables["figures"]["value"].to_list(), rel=1e-4)
    config = json.loads(json.dumps(study.Config().removed))
    assert tables["loss"]["n_removed"].tolist() == config
    assert "less than a ten-thousandth of a nat" in " ".join(fragment().split())
    difference = tables["loss"]["loss_browser"] - tables["loss"]["loss_float32"]
    assert tables["loss"]["change"].to_list() == pytest.approx(difference.to_list(), abs=2e-5)  # six digits are stored
    assert again["loss-change"] < 1e-4


def test_the_studys_float32_is_that_of_chapter_6():
    from greenlab.tab import cuts, study

    measured = {cut["n_removed"]: cut["loss"] for cut in cuts()["angular"]}
    for row in study.load("loss")["loss"].itertuples():
        assert row.loss_float32 == pytest.approx(measured[row.n_removed], abs=2e-4)
