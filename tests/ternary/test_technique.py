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
    """Run the quantizers of transformers uncompiled; compiling them takes half a minute and needs a C compiler."""
    with torch.compiler.set_stance("force_eager"):
        yield


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(4, 8), (64, 33), (1, 1)])
def test_weights_and_activations_are_quantized_as_in_transformers(shape, dtype):
    """Its scales are the reciprocals of ours; the values and the products are the same."""
    w, x = tensor(0, *shape).to(dtype), tensor(1, 5, shape[1]).to(dtype)
    (w_q, gamma), (x_q, scale) = absmean_quantize(w), absmax_quantize(x)
    torch.testing.assert_close((w_q * gamma).to(dtype), bitnet.WeightQuant.apply(w))
    torch.testing.assert_close((x_q * scale).to(dtype), bitnet.ActQuant.apply(x))


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
    "weight", [torch.tensor([[1.0, float("nan")]]), torch.tensor([[float("inf")]]), torch.ones(0, 3)]
)
def test_what_cannot_be_ternary_is_refused(weight):
    with pytest.raises(ValueError, match="at least one weight, all finite"):
        absmean_quantize(weight)


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


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: absmean_quantize(torch.ones(2), -1.0),
            ValueError,
            r"threshold=-1\.0: give a finite number at least 0",
        ),
        (lambda: absmean_quantize(torch.ones(2), float("nan")), ValueError, "threshold=nan"),
        (lambda: absmean_quantize(torch.ones(2), True), TypeError, "threshold=True is bool"),
        (lambda: absmean_quantize([1.0, 2.0]), TypeError, "weight is list: give a tensor of floats"),
        (lambda: absmean_quantize(torch.ones(2, dtype=torch.long)), TypeError, r"weight is torch\.int64"),
        (lambda: absmax_quantize(torch.ones(2, dtype=torch.int8)), TypeError, r"x is torch\.int8"),
        (lambda: absmax_quantize(torch.ones(2, 0)), ValueError, "at least one feature"),
        (lambda: absmax_quantize(torch.tensor(1.0)), ValueError, "at least one feature"),
        (lambda: absmax_quantize(torch.tensor([1.0, float("nan")])), ValueError, "x holds NaN or infinite"),
        (lambda: absmax_quantize(torch.tensor([1.0, float("inf")])), ValueError, "x holds NaN or infinite"),
        (
            lambda: round_to_nearest(torch.ones(2, 2), 0),
            ValueError,
            "bits=0: give a whole number at least 1 and at most 16",
        ),
        (lambda: round_to_nearest(torch.ones(2, 2), 17), ValueError, "bits=17"),
        (lambda: round_to_nearest(torch.ones(2, 2), 2.0), TypeError, r"bits=2\.0 is float"),
        (lambda: round_to_nearest(torch.ones(2, 2), True), TypeError, "bits=True is bool"),
        (lambda: round_to_nearest(torch.ones(2), 4), ValueError, r"expected \(N, K\)"),
        (lambda: round_to_nearest(torch.ones(0, 2), 4), ValueError, "both 1 or more"),
        (lambda: round_to_nearest(torch.tensor([[1.0, float("nan")]]), 4), ValueError, "weight holds NaN or infinity"),
        (lambda: round_to_nearest(torch.tensor([[3e38, -3e38]]), 4), ValueError, "range is beyond its dtype"),
        (lambda: BitLinear(0, 4), ValueError, "in_features=0"),
        (lambda: BitLinear(4, 4, "no"), TypeError, "bias='no' is str"),
        (lambda: bit_gpt(None), TypeError, "config is NoneType: give a GPTConfig"),
        (lambda: convert(torch.ones(2)), TypeError, "model is Tensor: give a torch module"),
        (lambda: convert(torch.nn.Linear(2, 2), 4), TypeError, "quantize=4 is int"),
        (lambda: quantize.is_inside_block(3), TypeError, "path=3 is int"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


HALVES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", [*HALVES, torch.float32, torch.float64])
@given(seed=st.integers(0, 2**32), power=st.integers(-20, 15))
def test_activations_stay_within_127_and_half_a_step_in_every_dtype(dtype, seed, power):
    """In bfloat16 alone, ``127 / absmax`` rounds up in one row of six: 128, which int8 turns into -128."""
    x = (tensor(seed, 40, 16) * 2.0**power).clamp(-65000, 65000).to(dtype)
    q, scale = absmax_quantize(x)
    assert q.dtype == dtype
    assert q.abs().max() <= 127
    assert torch.equal(q.to(torch.int8).to(dtype), q)
    assert scale.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert ((q.double() * scale - x.double()).abs() <= scale.double() * 0.501).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_largest_numbers_of_a_dtype_are_quantized(dtype):
    most = torch.finfo(dtype).max
    q, scale = absmax_quantize(torch.tensor([[most, -most, most / 4, 0.0]], dtype=dtype))
    assert q.tolist() == [[127, -127, 32, 0]]
    assert scale.item() == pytest.approx(most / 127)


@pytest.mark.parametrize("dtype", HALVES)
def test_a_row_of_zeros_and_the_largest_half_floats_are_quantized(dtype):
    """In float16 alone, ``127 / 1e-5`` is infinite and a zero times it is NaN."""
    most = torch.finfo(dtype).max
    q, scale = absmax_quantize(torch.tensor([[0.0, 0.0], [most, -most]], dtype=dtype))
    assert q.tolist() == [[0, 0], [127, -127]]
    assert scale[:, 0].tolist() == pytest.approx([1e-5 / 127, most / 127])
    assert torch.isfinite(BitLinear(2, 3, sub_norm=False).to(dtype)(torch.zeros(1, 2, dtype=dtype))).all()


@pytest.mark.parametrize("dtype", HALVES)
def test_sixteen_bit_weights_are_quantized_as_their_float32_copy(dtype):
    w = tensor(5, 30, 40).to(dtype)
    (q, gamma), (q_too, gamma_too) = absmean_quantize(w), absmean_quantize(w.float())
    assert q.dtype == dtype
    assert torch.equal(q.float(), q_too)
    assert torch.equal(gamma, gamma_too)
    assert torch.equal(round_to_nearest(w, 4), round_to_nearest(w.float(), 4).to(dtype))


def test_a_range_beyond_float16_is_rounded_to_its_levels():
    """The range of this row is 120,000, which float16 cannot hold; rounded to two levels, its ends stay."""
    w = torch.tensor([[-60_000.0, 60_000.0, 20_000.0, -20_000.0]], dtype=torch.float16)
    assert round_to_nearest(w, 1).tolist() == [[-60_000.0, 60_000.0, 60_000.0, -60_000.0]]


def test_a_row_of_equal_weights_stays_as_it_is():
    assert torch.equal(round_to_nearest(torch.full((2, 3), 0.7), 2), torch.full((2, 3), 0.7))


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


def test_a_block_alone_is_converted_as_in_its_model():
    model = GPT(CONFIG)
    for kind in ("4bit", "ternary"):
        alone, whole = convert(model.blocks[1], kind), convert(model, kind).blocks[1]
        assert alone.state_dict().keys() == whole.state_dict().keys()
        assert all(torch.equal(value, whole.state_dict()[name]) for name, value in alone.state_dict().items())
    assert len(quantize.linears(alone, BitLinear)) == 7


def test_the_head_of_a_model_inside_another_stays_float():
    converted = convert(torch.nn.Sequential(GPT(CONFIG)))
    assert type(converted[0].head) is torch.nn.Linear
    assert len(quantize.linears(converted, BitLinear)) == 7 * CONFIG.n_layers


def test_what_cannot_be_converted_is_refused(llama):
    with pytest.raises(ValueError, match="no quantize '3bit'; close to it: 8bit, 4bit, 2bit"):
        convert(llama, "3bit")
    with pytest.raises(ValueError, match=r"no nn\.Linear inside a block"):
        convert(torch.nn.Linear(2, 2))
