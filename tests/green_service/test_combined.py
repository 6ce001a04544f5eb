"""Levers combined on one machine: counts of chapters 6 and 7, and no more than their parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlab.core.model import cost
from greenlab.green_service import MODELS, Variant, combine, predict_time
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
