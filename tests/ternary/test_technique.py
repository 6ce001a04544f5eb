"""Ternary weights in training and after it: against transformers' BitNet layers, by hand, and by properties."""

import hypothesis.strategies as st
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.integrations import bitnet

from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.model.training import TrainingConfig, fit
from greenlab.ternary import quantize
from greenlab.ternary.quantize import BitLinear, absmax_quantize, absmean_quantize, bit_gpt, convert, round_to_nearest

CONFIG = GPTConfig(vocab_size=17, context_length=32, n_layers=2, d_model=32, n_heads=4, d_ff=64)


def tensor(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def eager():
    """transformers compiles its quantizers, which takes half a minute and a C compiler: run them as they are written."""
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("shape", [(4, 8), (64, 33), (1, 1)])
def test_weights_and_activations_are_quantized_as_in_transformers(shape):
    """Its scales are the reciprocals of ours; the values and the products are the same."""
    w, x = tensor(0, *shape), tensor(1, 5, shape[1])
    (w_q, gamma), (x_q, scale) = absmean_quantize(w), absmax_quantize(x)
    torch.testing.assert_close(w_q * gamma, bitnet.WeightQuant.apply(w))
    torch.testing.assert_close(x_q * scale, bitnet.ActQuant.apply(x))


@pytest.mark.usefixtures("eager")
def test_a_layer_gives_what_transformers_layer_gives_and_the_same_gradients():
    ours, theirs = BitLinear(48, 24, sub_norm=False), bitnet.AutoBitLinear(48, 24, bias=False, online_quant=True)
    theirs.load_state_dict(ours.state_dict())
    x, x_too = tensor(2, 3, 7, 48).requires_grad_(), tensor(2, 3, 7, 48).requires_grad_()
    y, y_too = ours(x), theirs(x_too)
    torch.testing.assert_close(y, y_too)
    y.square().sum().backward()
    y_too.square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(x.grad, x_too.grad)


def test_the_norm_makes_the_size_of_the_input_unimportant():
    layer, x = BitLinear(16, 8), tensor(3, 4, 16)
    torch.testing.assert_close(layer(x), layer(1000 * x), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(BitLinear(16, 8, sub_norm=False)(x), layer(x))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32), st.floats(1e-3, 1e3))
def test_three_values_and_the_best_scale_is_positive(n, k, seed, size):
    w = size * tensor(seed, n, k)
    q, gamma = absmean_quantize(w)
    assert set(q.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert gamma == w.abs().mean().clamp(min=quantize.EPS)
    assert torch.equal(q, absmean_quantize(w, threshold=0.5 + 1e-9)[0])  # the two ways to write the rule
    wide, narrow = absmean_quantize(w, 1.0)[0], absmean_quantize(w, 0.1)[0]
    assert (wide != 0).sum() <= (q != 0).sum() <= (narrow != 0).sum()


@pytest.mark.parametrize(
    ("weight", "threshold"),
    [(torch.tensor([[1.0, float("nan")]]), 0.5), (torch.tensor([[float("inf")]]), 0.5), (torch.ones(0, 3), 0.5),
     (torch.ones(2, 2), -1.0)],
)  # fmt: skip
def test_what_cannot_be_ternary_is_refused(weight, threshold):
    with pytest.raises(ValueError, match="all finite, and a threshold >= 0"):
        absmean_quantize(weight, threshold)


def test_an_all_zero_matrix_stays_zero():
    q, gamma = absmean_quantize(torch.zeros(3, 4))
    assert (q.abs().sum(), gamma) == (0, torch.tensor(1e-5))
    assert absmax_quantize(torch.zeros(2, 4))[0].abs().sum() == 0


@given(st.integers(1, 8), st.integers(0, 2**32))
def test_rounding_keeps_to_its_levels_and_errs_by_half_a_step(bits, seed):
    w = tensor(seed, 6, 50)
    rounded = round_to_nearest(w, bits)
    step = (w.amax(1) - w.amin(1)) / (2**bits - 1)
    assert all(len(row.unique()) <= 2**bits for row in rounded)
    assert ((rounded - w).abs().amax(1) <= step / 2 * (1 + 1e-4)).all()


@pytest.mark.parametrize("bits", [0, 17, 2.0])
def test_bits_outside_are_refused(bits):
    with pytest.raises(ValueError, match="1 to 16 bits"):
        round_to_nearest(torch.ones(2, 2), bits)


def test_a_ternary_model_can_learn_a_batch_by_heart():
    ids = torch.tensor([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8] * 4)
    model = bit_gpt(CONFIG)
    result = fit(
        model, ids, TrainingConfig(steps=120, batch_size=4, context_length=16, learning_rate=1e-2), progress=False
    )
    assert result.history["loss"].iloc[-1] < 0.1
    assert result.history["loss"].iloc[0] > 2


def test_every_linear_layer_of_a_block_is_ternary_and_the_head_is_not():
    model = bit_gpt(CONFIG)
    names = [name for name, module in model.named_modules() if isinstance(module, BitLinear)]
    assert len(names) == 7 * CONFIG.n_layers
    assert type(model.head) is torch.nn.Linear
    assert type(model.blocks[0].attention_norm) is torch.nn.Identity  # each BitLinear brings its own


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, tie_word_embeddings=True, bos_token_id=None, eos_token_id=None,
    )).eval()  # fmt: skip


@pytest.mark.parametrize("kind", ["8bit", "4bit", "2bit", "ternary"])
def test_converting_changes_the_blocks_only_and_never_the_original(llama, kind):
    for model in (llama, GPT(CONFIG)):
        before = {name: p.clone() for name, p in model.named_parameters()}
        converted = convert(model, kind)
        assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())
        ids = torch.arange(12)[None]
        logits = [m(ids).logits if m.config.__class__ is LlamaConfig else m(ids) for m in (model, converted)]
        assert not torch.equal(*logits)
        heads = [getattr(m, "lm_head", getattr(m, "head", None)).weight for m in (model, converted)]
        assert torch.equal(*heads)
        if kind == "ternary":
            assert len(quantize.linears(converted, BitLinear)) == len(quantize.linears(model))


def test_more_bits_stay_closer(llama):
    ids = torch.arange(20)[None]
    error = [
        F.mse_loss(convert(llama, kind)(ids).logits, llama(ids).logits).item() for kind in ("8bit", "4bit", "2bit")
    ]
    assert error[0] < error[1] < error[2]


def test_what_cannot_be_converted_is_refused(llama):
    with pytest.raises(ValueError, match="expected 'ternary', '8bit', '4bit' or '2bit'"):
        convert(llama, "3bit")
    with pytest.raises(ValueError, match=r"no nn\.Linear inside a block"):
        convert(torch.nn.Linear(2, 2))
