"""Matrices of fewer bits: integer products against floats that we round by hand, and whole models that stay whole."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from greenlab.core.model.decoder import decoder_layers
from greenlab.green_service.study.matrices import Int8Linear, eight_bits, replaced, ternary_shaped
from tests.retrieval import tiny


def rounded(x):
    """To 127 steps a side of each row's largest magnitude: integers and the step."""
    step = x.double().abs().amax(-1, keepdim=True).clamp_min(1e-12) / 127
    return (x.double() / step).round(), step


@given(st.integers(1, 40), st.integers(2, 90), st.integers(1, 50), st.booleans(), st.integers(0, 2**31))
def test_the_product_is_that_of_the_rounded_numbers(rows, k, n, bias, seed):
    generator = torch.Generator().manual_seed(seed)
    linear = torch.nn.Linear(k, n, bias=bias)
    with torch.no_grad():
        linear.weight.copy_(torch.randn(n, k, generator=generator))
    x = torch.randn(2, rows, k, generator=generator)
    (w_q, w_step), (x_q, x_step) = rounded(linear.weight.detach()), rounded(x)
    exact = (x_q @ w_q.T) * x_step * w_step.T
    wanted = exact if linear.bias is None else exact + linear.bias.detach().double()
    found = Int8Linear(linear)(x).double()
    near = torch.isclose(found, wanted, rtol=1e-5, atol=1e-5 * float(exact.abs().max() + 1e-9))
    # float32 may round a number at the middle of two steps to the other one
    one_step = (x_step * w_step.T * 127).expand_as(found)
    assert ((found - wanted).abs() <= one_step)[~near].all()
    assert near.float().mean() > 0.9


def test_the_largest_integers_do_not_overflow():
    linear = torch.nn.Linear(60_000, 1, bias=False)
    with torch.no_grad():
        linear.weight.fill_(3.0)
    assert Int8Linear(linear)(torch.ones(1, 60_000)).item() == pytest.approx(180_000, rel=1e-5)


def test_zeros_stay_zeros_and_what_is_not_finite_does_not_become_a_number():
    linear = torch.nn.Linear(8, 4, bias=False)
    layer = Int8Linear(linear)
    assert torch.equal(layer(torch.zeros(2, 8)), torch.zeros(2, 4))
    x = torch.ones(3, 8)
    x[0, 0], x[1, 0] = torch.nan, torch.inf
    y = layer(x)
    assert y[:2].isnan().all()
    assert y[2].isfinite().all()
    with torch.no_grad():
        linear.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite"):
        Int8Linear(linear)


@pytest.mark.parametrize("x", [torch.ones(2, 7), torch.tensor(1.0), torch.ones(2, 8, dtype=torch.long)])
def test_wrong_activations_are_refused(x):
    with pytest.raises(ValueError, match="expected floats"):
        Int8Linear(torch.nn.Linear(8, 4))(x)


def test_a_layer_of_one_number_is_refused():
    """torch 2.13 gives what happened to be in memory there."""
    with pytest.raises(ValueError, match="in_features=1"):
        Int8Linear(torch.nn.Linear(1, 4))


def test_other_things_than_linear_layers_are_refused():
    with pytest.raises(TypeError, match="linear"):
        Int8Linear(torch.nn.Embedding(8, 4))
    with pytest.raises(TypeError, match="make"):
        replaced(tiny.llm()[0], 3)


def test_a_model_of_eight_bits_says_nearly_the_same_and_shares_its_embedding():
    model, tokenizer = tiny.llm()
    ids = torch.tensor([tokenizer("the counter of joules").input_ids])
    packed = eight_bits(model)
    with torch.no_grad():
        before, after = model(ids).logits, packed(ids).logits
    assert torch.equal(before, model(ids).logits)  # the model itself is as it was
    assert 0 < float((after - before).norm() / before.norm()) < 0.02
    assert packed.get_input_embeddings().weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert {type(m).__name__ for m in model.modules()} & {"Int8Linear"} == set()
    eights = [m for m in packed.modules() if isinstance(m, Int8Linear)]
    assert len(eights) == 7 * len(decoder_layers(model))
    assert all(m.weight.dtype == torch.int8 for m in eights)


def test_a_ternary_model_has_matrices_of_its_own():
    """One matrix for all layers would stay in the processor's cache and be read faster than a model's."""
    packed = ternary_shaped(tiny.llm()[0])
    kept = [m.weight.data_ptr() for m in packed.modules() if type(m).__name__ == "PackedLinear"]
    assert len(set(kept)) == len(kept) == 7 * len(decoder_layers(packed))
