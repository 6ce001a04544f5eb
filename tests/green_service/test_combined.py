"""Levers combined on one machine: counts of chapters 6 and 7, and no more than their parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlab.core.model import cost
from greenlab.green_service import (
    MODELS,
    Kernel,
    Parts,
    Profile,
    Variant,
    combine,
    combine_parts,
    predict_from_parts,
    predict_time,
)
from greenlab.green_service.committed import figure

SMOLLM2 = MODELS["SmolLM2-135M"].shape


@pytest.mark.parametrize("n", [2, 4, 6, 8, 10, 12])
def test_fewer_layers_are_chapter_6s_prediction_and_near_its_measurement(n):
    before, after = Variant(), Variant(n_layers=30 - n)
    writing = predict_time(SMOLLM2, before, after, reading_s=1e-9, writing_s=1.0)
    options = {"phase": "decode", "n_tokens": 80, "bytes_per_weight": 4}
    assert writing == pytest.approx(1 / cost.predicted_speedup(SMOLLM2, n, **options), rel=1e-6)
    assert writing == pytest.approx(1 / figure("layer_pruning", f"decode-speedup-{n}"), rel=0.05)


def test_ternary_layers_with_a_half_precision_head_are_near_chapter_7s_measurement():
    """The kernel spends a quarter of its time beside reading weights, so it does not reach what bytes say."""
    before, after = Variant(), Variant(layer_bits=2, head_bits=16)
    left = predict_time(SMOLLM2, before, after, reading_s=1e-9, writing_s=1.0)
    measured = 1 / figure("ternary", "faster-smollm2-ternary-bfloat16-1")
    assert left < measured < 2.5 * left


@given(st.integers(1, 29), st.sampled_from([16.0, 8.0, 2.0]), st.integers(65, 1000))
def test_together_is_at_least_the_product_of_savings(n_layers, bits, prompt):
    after = Variant(n_layers=n_layers, layer_bits=bits)
    found = combine(SMOLLM2, Variant(), after, reading_s=1e-9, writing_s=1.0).set_index("what")["left"]
    assert found["together"] >= found["product"] * (1 - 1e-9)  # the head is shrunk by neither
    longer = combine(SMOLLM2, Variant(), Variant(prompt_tokens=prompt), reading_s=1.0, writing_s=1.0)
    assert longer.set_index("what")["left"]["retrieval"] > 1


def test_one_lever_is_its_own_product():
    found = combine(SMOLLM2, Variant(), Variant(n_layers=24), reading_s=0.2, writing_s=1.0)
    assert found["what"].tolist() == ["fewer layers", "product", "together"]
    assert found["left"].nunique() == 1


def test_answers_of_different_lengths_are_not_compared():
    with pytest.raises(ValueError, match="output_tokens"):
        combine(SMOLLM2, Variant(), Variant(output_tokens=1), reading_s=1.0, writing_s=1.0)


# ---- from parts ------------------------------------------------------------------------------------------------------

S_PER_BYTE, S_PER_FLOP, S_PER_LAYER, S_OUTSIDE = 4e-11, 2e-11, 3e-4, 7e-4


def counted(n_layers, tokens, bits=32.0):
    """A pass counted directly from a model of so many layers: bytes and FLOPs of matrices and head, and fixed times."""
    shape = SMOLLM2.replace(n_layers=n_layers)
    read = cost.decode_bytes(shape, 0, bytes_per_weight=4)
    flops = cost.flops_per_token(shape)
    norm_b = 4 * shape.d_model  # of the last norm, which is outside the layers
    matrices = S_PER_BYTE * (read.layer_weights - norm_b) * bits / 32
    matrices += S_PER_FLOP * (flops.attention_projections + flops.feed_forward) * tokens
    layers = n_layers * (S_PER_LAYER + 1e-6 * tokens)
    return Parts(
        matrices,
        layers,
        S_PER_BYTE * read.output_head + S_PER_FLOP * flops.output_head,
        S_OUTSIDE + S_PER_BYTE * norm_b,
    )


def counted_answer(variant):
    """All passes of an answer, each counted directly."""
    reading = counted(variant.n_layers, variant.prompt_tokens, variant.layer_bits).total_s
    return reading + (variant.output_tokens - 1) * counted(variant.n_layers, 1, variant.layer_bits).total_s


def counted_kernel(before, after, rows):
    shares = [
        counted(before.n_layers, n, after.layer_bits).matrices_s / counted(before.n_layers, n).matrices_s
        for n in (1, rows)
    ]
    return Kernel(*shares)


VARIANTS = st.builds(
    Variant, st.integers(1, 30), st.integers(1, 3000), st.integers(1, 300), st.sampled_from([32.0, 8.0, 2.0])
)


@given(VARIANTS, st.integers(2, 500))
def test_a_combination_computed_from_parts_is_the_counted_answer(after, rows):
    """Two passes of the whole model give every combination of levers, as if each of its passes were counted."""
    before = Variant(30, 50, after.output_tokens)
    profile = Profile(counted(30, 1), counted(30, rows), rows)
    kernel = counted_kernel(before, after, rows)
    assert predict_from_parts(profile, before, after, kernel) == pytest.approx(counted_answer(after), rel=1e-9)
    assert predict_from_parts(profile, before, before, kernel) == pytest.approx(counted_answer(before), rel=1e-9)


@given(VARIANTS)
def test_a_combination_from_counts_is_the_counted_flops_and_bytes(after):
    before = Variant(30, 50, after.output_tokens)

    def by_hand(variant):
        shape = SMOLLM2.replace(n_layers=variant.n_layers)
        flops = cost.prefill_flops(shape, variant.prompt_tokens, head="last").total
        context = variant.prompt_tokens + (variant.output_tokens + 1) // 2
        read = cost.decode_bytes(shape, context, bytes_per_weight=4)
        read_b = read.total - (1 - variant.layer_bits / 32) * read.layer_weights
        return S_PER_FLOP * flops, S_PER_BYTE * read_b * variant.output_tokens

    reading_s, writing_s = by_hand(before)
    said = predict_time(SMOLLM2, before, after, reading_s=reading_s, writing_s=writing_s)
    assert said == pytest.approx(sum(by_hand(after)), rel=1e-9)


@given(VARIANTS)
def test_no_lever_touches_the_head_and_what_is_outside(after):
    """However few layers and bits: each pass still has them, and nothing of the rest costs less than nothing."""
    before = Variant(30, 50, after.output_tokens)
    profile = Profile(counted(30, 1), counted(30, 100), 100)
    untouched = (profile.one.head_s + profile.one.outside_s) * after.output_tokens
    assert predict_from_parts(profile, before, after) > untouched


@given(st.integers(1, 29), st.sampled_from([16.0, 8.0, 2.0]))
def test_levers_on_the_layers_overlap_because_of_the_head(n_layers, bits):
    before, after = Variant(30, 1, 20), Variant(n_layers, 1, 20, layer_bits=bits)
    parts = counted(30, 1)
    left = combine_parts(Profile(parts, parts, 2), before, after).set_index("what")["left"]
    assert left["together"] > left["product"]
    alone = Parts(parts.matrices_s, 0, 0, 0)  # a model that is nothing but the matrices in its layers
    left = combine_parts(Profile(alone, alone, 2), before, after).set_index("what")["left"]
    assert left["together"] == pytest.approx(left["product"])


def test_the_kernel_counts_where_the_bits_differ_and_nowhere_else():
    profile = Profile(counted(30, 1), counted(30, 100), 100)
    before, cut = Variant(), Variant(n_layers=20)
    slow = predict_from_parts(profile, before, cut, Kernel(0.5, 0.1))
    assert slow == predict_from_parts(profile, before, cut)
    packed = Variant(layer_bits=8)
    assert predict_from_parts(profile, before, packed, Kernel(0.25, 1.0)) == predict_from_parts(profile, before, packed)
    assert predict_from_parts(profile, before, packed, Kernel(0.25, 0.2)) < predict_from_parts(profile, before, packed)


def test_parts_of_another_kind_are_refused():
    profile = Profile(counted(30, 1), counted(30, 100), 100)
    with pytest.raises(ValueError, match="head_bits=16"):
        predict_from_parts(profile, Variant(), Variant(head_bits=16))
    with pytest.raises(ValueError, match="rows=1"):
        Profile(profile.one, profile.many, 1)
    with pytest.raises(ValueError, match="matrices_s"):
        Parts(-1, 0, 0, 0)
    with pytest.raises(ValueError, match="many=0"):
        Kernel(1.0, 0.0)
    with pytest.raises(TypeError, match="profile"):
        predict_from_parts({}, Variant(), Variant())
    with pytest.raises(ValueError, match="output_tokens=1"):
        combine_parts(profile, Variant(), Variant(output_tokens=1))
