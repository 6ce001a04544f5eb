"""core.model.gpt against transformers' Llama (same weights, same logits), and itself with and without the cache."""

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from greenlab.core.model import cost
from greenlab.core.model.gpt import (
    GPT,
    Attention,
    Block,
    GPTConfig,
    KVCache,
    LayerCache,
    RMSNorm,
    SwiGLU,
    rotate,
    rotations,
)

SMALL = {"vocab_size": 50, "context_length": 24, "n_layers": 3, "d_model": 32, "n_heads": 4, "d_ff": 56}
NAMES = {
    "model.embed_tokens": "embedding",
    "model.layers": "blocks",
    "model.norm": "norm",
    "lm_head": "head",
    "input_layernorm": "attention_norm",
    "post_attention_layernorm": "feed_forward_norm",
    "mlp": "feed_forward",
    "self_attn": "attention",
    "q_proj": "query",
    "k_proj": "key",
    "v_proj": "value",
    "o_proj": "output",
    "gate_proj": "gate",
    "up_proj": "up",
    "down_proj": "down",
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models this small only wait for each other on more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def from_llama(llama):
    """Copy a transformers Llama into a GPT: rename, and bring numbers i and i + D/2 of a head together (2i, 2i + 1)."""
    c = llama.config
    config = GPTConfig(
        c.vocab_size, c.max_position_embeddings, c.num_hidden_layers, c.hidden_size, c.num_attention_heads,
        c.intermediate_size, c.num_key_value_heads, c.tie_word_embeddings, c.rope_parameters["rope_theta"],
        c.rms_norm_eps,
    )  # fmt: skip
    weights = {}
    for name, weight in llama.state_dict().items():
        if "q_proj" in name or "k_proj" in name:
            weight = weight.unflatten(0, (-1, 2, config.head_dim // 2)).transpose(1, 2).flatten(0, 2)
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        weights[name] = weight
    gpt = GPT(config)
    gpt.load_state_dict(weights)
    return gpt


def llama(n_kv_heads=2, tied=True, **changes):
    torch.manual_seed(0)
    sizes = {
        "vocab_size": 50,
        "hidden_size": 32,
        "intermediate_size": 56,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": n_kv_heads,
        "max_position_embeddings": 24,
        "tie_word_embeddings": tied,
        "initializer_range": 0.15,  # logits of some size, so that a wrong one shows; float32 agrees to 2e-6
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    return LlamaForCausalLM(LlamaConfig(**(sizes | changes))).eval()


def ids(batch, length, seed=1):
    return torch.randint(0, 50, (batch, length), generator=torch.Generator().manual_seed(seed))


def spread(**changes):
    """A GPT with larger weights than at the start of training, so that every part has a say in the logits."""
    model = GPT(GPTConfig(**(SMALL | changes)))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(10 if weight.ndim == 2 else 1)
    return model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
def test_logits_and_gradients_equal_a_transformers_llama_with_the_same_weights(n_kv_heads, tied):
    theirs = llama(n_kv_heads, tied)
    ours = from_llama(theirs)
    x = ids(2, 24)
    expected, logits = theirs(x).logits, ours(x)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.5
    expected.square().mean().backward()
    logits.square().mean().backward()
    gradients = {n: p.grad for n, p in theirs.named_parameters()}
    last = theirs.config.num_hidden_layers - 1
    torch.testing.assert_close(
        ours.blocks[last].feed_forward.down.weight.grad,
        gradients[f"model.layers.{last}.mlp.down_proj.weight"],
        atol=1e-5,
        rtol=1e-4,
    )
    torch.testing.assert_close(ours.embedding.weight.grad, gradients["model.embed_tokens.weight"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_logits_with_the_cache_equal_transformers_with_its_cache(n_kv_heads):
    theirs = llama(n_kv_heads)
    ours = from_llama(theirs)
    x, cache, past = ids(2, 20), KVCache(ours.config, batch_size=2), None
    with torch.no_grad():
        for start, end in [
            (0, 7),
            (7, 8),
            (8, 13),
            (13, 14),
            (14, 20),
        ]:  # a prompt, single tokens, and chunks after a past
            out = theirs(x[:, start:end], past_key_values=past)
            past = out.past_key_values
            torch.testing.assert_close(ours(x[:, start:end], cache=cache), out.logits, atol=1e-5, rtol=1e-5)
    assert cache.length == 20
    torch.testing.assert_close(cache.layers[2].values[:, :, :20], past.layers[2].values, atol=1e-5, rtol=1e-5)


def test_greedy_text_equals_transformers_generate():
    theirs = llama()
    ours = from_llama(theirs)
    x = ids(3, 5)
    expected = theirs.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=19, do_sample=False)
    assert torch.equal(ours.generate(x, 19, temperature=0), expected)


def test_rotation_equals_transformers_in_the_other_pairing():
    config = GPTConfig(**SMALL)
    x = torch.randn(2, 24, 4, 8)
    split = torch.cat([x[..., 0::2], x[..., 1::2]], -1)  # pairs (i, i + D/2)
    cos, sin = (torch.cat([table] * 2, -1)[None] for table in rotations(config).unbind(-1))
    expected, _ = apply_rotary_pos_emb(split, split, cos, sin, unsqueeze_dim=2)
    turned = rotate(x, rotations(config))
    torch.testing.assert_close(torch.cat([turned[..., 0::2], turned[..., 1::2]], -1), expected, atol=1e-5, rtol=1e-5)


def test_rotation_takes_positions_of_each_sequence():
    """Mixture of depths hands in chosen tokens at their first positions, other ones in each sequence."""
    rotation, x = rotations(GPTConfig(**SMALL)), torch.randn(2, 24, 4, 8)
    chosen = torch.tensor([[0, 5, 9], [2, 3, 23]])
    picked = torch.stack([x[b, chosen[b]] for b in range(2)])
    expected = torch.stack([rotate(x, rotation)[b, chosen[b]] for b in range(2)])
    torch.testing.assert_close(rotate(picked, rotation[chosen]), expected)


def test_rmsnorm_equals_torch():
    norm = RMSNorm(32, eps=1e-3)
    norm.weight.data.normal_()
    x = torch.randn(4, 7, 32)
    torch.testing.assert_close(norm(x), nn.functional.rms_norm(x, (32,), norm.weight, 1e-3), atol=1e-6, rtol=1e-6)
    assert torch.isfinite(norm(torch.zeros(1, 32))).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 23), st.integers(0, 10_000))
def test_changing_a_token_leaves_every_logit_before_it_bit_identical(t, seed):
    model, x = spread(n_kv_heads=2), ids(2, 24, seed)
    y = x.clone()
    y[:, t] = (y[:, t] + 1) % 50
    with torch.no_grad():
        before, after = model(x), model(y)
    assert torch.equal(before[:, :t], after[:, :t])
    assert not torch.allclose(before[:, t:], after[:, t:])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 8), min_size=1, max_size=6), st.sampled_from([1, 2, 4]), st.integers(0, 10_000))
def test_any_way_of_cutting_a_text_into_cached_pieces_gives_the_uncached_logits(pieces, n_kv_heads, seed):
    model = spread(n_kv_heads=n_kv_heads)
    length = min(sum(pieces), 24)
    x, cache = ids(2, length, seed), KVCache(model.config, batch_size=2)
    with torch.no_grad():
        parts = [
            model(part, cache=cache) for part in x.tensor_split(torch.tensor(pieces).cumsum(0), dim=1) if part.numel()
        ]
        torch.testing.assert_close(torch.cat(parts, dim=1), model(x), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("temperature", [0, 0.7, 1.5])
def test_generate_with_the_cache_equals_without_and_depends_on_the_seed_alone(temperature):
    model, x = spread(), ids(2, 4)
    state = torch.get_rng_state()
    text = model.generate(x, 20, temperature=temperature, seed=3)
    assert torch.equal(text, model.generate(x, 20, temperature=temperature, seed=3, use_cache=False))
    assert torch.equal(text, model.generate(x, 20, temperature=temperature, seed=3))
    assert torch.equal(text[:, :4], x)
    assert torch.equal(text, model.generate(x, 20, temperature=temperature, seed=4)) == (temperature == 0)
    assert torch.equal(state, torch.get_rng_state())


def test_sampling_follows_the_softmax_of_the_logits_over_temperature():
    """One step from 4,000 copies of a prompt: chi-square against the model's own probabilities (0.999, 49 df)."""
    model = spread()
    x = ids(1, 6)
    with torch.no_grad():
        expected = 4000 * (model(x)[0, -1] / 2.0).softmax(-1)
    drawn = torch.bincount(model.generate(x.expand(4000, 6), 1, temperature=2.0)[:, -1], minlength=50)
    likely = expected > 5
    chi2 = ((drawn - expected)[likely] ** 2 / expected[likely]).sum()
    assert likely.sum() > 5
    assert chi2 < 85.4


def test_head_last_is_the_last_row_of_all():
    model, x = spread(), ids(2, 9)
    with torch.no_grad():
        torch.testing.assert_close(model(x, head="last"), model(x)[:, -1:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("n_kv_heads", [None, 2])
def test_shape_gives_cost_the_true_number_of_parameters_and_bytes_of_the_cache(tied, n_kv_heads):
    model = GPT(GPTConfig(**SMALL, tied_embeddings=tied, n_kv_heads=n_kv_heads))
    assert cost.parameters(model.shape).total == sum(p.numel() for p in model.parameters())
    cache = KVCache(model.config, batch_size=2, max_tokens=10)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cost.kv_cache_bytes(model.shape, 10, batch=2, bytes_per_value=4) == held


def test_same_seed_same_weights_whatever_the_global_state_which_is_left_alone():
    torch.manual_seed(1)
    first = GPT(GPTConfig(**SMALL), seed=5).state_dict()
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second, other = GPT(GPTConfig(**SMALL), seed=5).state_dict(), GPT(GPTConfig(**SMALL), seed=6).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])
    assert torch.equal(state, torch.get_rng_state())


def test_a_linear_handed_in_reaches_every_matrix_of_the_blocks_and_the_head_stays():
    class Marked(nn.Linear):
        pass

    model = GPT(GPTConfig(**SMALL), linear=Marked)
    linears = {name: type(m) for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    assert linears.pop("head") is nn.Linear
    assert len(linears) == 3 * 7
    assert set(linears.values()) == {Marked}


def test_feed_forward_norm_and_block_handed_in_are_used_with_the_parts_they_need():
    class Halved(SwiGLU):
        def forward(self, x):
            return super().forward(x) / 2

    class Skipping(Block):
        """Every second block does nothing: mixture of depths at capacity 0."""

        def forward(self, x, rotation, cache=None):
            return x if self.layer % 2 else super().forward(x, rotation, cache)

    class Wide(SwiGLU):
        def __init__(self, config, *, linear, width):
            super().__init__(GPTConfig(config.vocab_size, d_model=config.d_model, d_ff=width), linear=linear)

    model = GPT(GPTConfig(**SMALL), feed_forward=Halved, norm=lambda d, eps: nn.LayerNorm(d, eps), block=Skipping)
    assert all(isinstance(block.feed_forward, Halved) for block in model.blocks)
    assert sum(isinstance(m, nn.LayerNorm) for m in model.modules()) == 2 * 3 + 1
    x, cache = ids(1, 5), KVCache(model.config)
    with torch.no_grad():
        torch.testing.assert_close(
            torch.cat([model(x[:, :4], cache=cache), model(x[:, 4:], cache=cache)], 1), model(x), atol=1e-5, rtol=1e-5
        )
    assert [layer.length for layer in cache.layers] == [5, 0, 5]
    wide = GPT(GPTConfig(**SMALL), feed_forward=partial(Wide, width=100))
    assert wide.blocks[0].feed_forward.up.weight.shape == (100, 32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: GPTConfig(50, d_model=30, n_heads=4), "d_model=30: give a multiple of 2 . n_heads = 8"),
        (lambda m: GPTConfig(50, context_length=0), "context_length=0: give a whole number at least 1"),
        (lambda m: GPTConfig(50, n_kv_heads=3), "n_kv_heads=3: give a divisor of n_heads=4"),
        (lambda m: GPTConfig(50, n_heads=0), "n_heads=0: give a whole number at least 1"),
        (lambda m: GPTConfig(0), "vocab_size=0: give a whole number at least 1"),
        (lambda m: GPTConfig(50, norm_eps=-1.0), "norm_eps=-1.0: give a finite number at least 0"),
        (lambda m: GPTConfig(50, rope_theta=-1.0), "rope_theta=-1.0: give a finite number above 0"),
        (lambda m: RMSNorm(0), "d_model=0"),
        (lambda m: RMSNorm(4, eps=float("nan")), "eps=nan"),
        (lambda m: rotate(torch.ones(1, 3, 2, 8), m.rotation), r"rotation has the shape .24, 4, 2., x .1, 3, 2, 8."),
        (lambda m: m(ids(1, 25)), "input_ids reach token 25, allowed are 24: .*context_length"),
        (lambda m: m(ids(1, 4)[0]), r"input_ids has the shape .4,.: give .B, S.*input_ids.None."),
        (lambda m: m(ids(1, 0)), r"input_ids has the shape .1, 0.: give .B, S."),
        (
            lambda m: m(torch.tensor([[50, 3]])),
            "input_ids holds ids from 3 to 50: .* vocab_size - 1 = 49",
        ),
        (lambda m: m(torch.tensor([[-1, 3]])), "input_ids holds ids from -1 to 3"),
        (lambda m: m(ids(1, 9), cache=KVCache(m.config, max_tokens=8)), "input_ids reach token 9, allowed are 8"),
        (lambda m: m(ids(1, 9), cache=KVCache(m.config, batch_size=4)), "input_ids holds 1 seq.*the cache is for 4"),
        (lambda m: m(ids(4, 9), cache=KVCache(m.config)), "input_ids holds 4 seq.*is for 1: .*batch_size=4"),
        (lambda m: m(ids(1, 2), cache=KVCache(GPTConfig(50, n_layers=2))), "cache has 2 layers, the model 3"),
        (
            lambda m: m(ids(1, 2), cache=KVCache(m.config, dtype=torch.float64)),
            "keys is torch.float32 on cpu, .*float64",
        ),
        (lambda m: m(ids(1, 2), cache=KVCache(m.config, device="meta")), "keys is torch.float32 on cpu, .*on meta"),
        (lambda m: m(ids(1, 9), head="first"), "no head .first.; .*all, last"),
        (lambda m: KVCache(m.config, batch_size=0), "batch_size=0: give a whole number at least 1"),
        (
            lambda m: KVCache(m.config, max_tokens=25),
            "max_tokens=25: .*at least 1 and at most 24; raise context_length",
        ),
        (lambda m: m.new_cache().truncate(1), "length=1: .*at most 0"),
        (
            lambda m: LayerCache(2, 4, 8, 8).append(torch.ones(1, 4, 1, 8), torch.ones(1, 4, 1, 8)),
            r"keys .*1, 4, 1, 8.*2, 4",
        ),
        (
            lambda m: LayerCache(1, 1, 2, 8).append(torch.ones(1, 1, 3, 8), torch.ones(1, 1, 3, 8)),
            "keys holds 3 tokens",
        ),
        (
            lambda m: LayerCache(1, 1, 2, 8).append(torch.ones(1, 1, 1, 8), torch.ones(1, 1, 2, 8)),
            "values has the shape",
        ),
        (lambda m: m.generate(ids(1, 4), 21), "n_new_tokens=21: .*at most 20; cut the prompt or raise context_length"),
        (lambda m: m.generate(ids(1, 4), -1), "n_new_tokens=-1: give a whole number at least 0"),
        (lambda m: m.generate(ids(1, 25), 0), "input_ids has 25 tokens, allowed are 24"),
        (lambda m: m.generate(ids(1, 4), 2, temperature=-1), "temperature=-1: give a finite number at least 0"),
        (lambda m: m.generate(ids(1, 4), 2, seed=-1), "seed=-1: give a whole number at least 0"),
    ],
)
def test_wrong_values_are_named_with_the_value_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call(GPT(GPTConfig(**SMALL)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: GPTConfig(50.0), "vocab_size=50.0 is float"),
        (lambda m: GPTConfig(50, n_layers=True), "n_layers=True is bool"),
        (lambda m: GPTConfig(50, tied_embeddings="no"), "tied_embeddings='no' is str"),
        (lambda m: GPTConfig(50, rope_theta="10000"), "rope_theta='10000' is str"),
        (lambda m: GPT({"vocab_size": 50}), "config is dict: give a GPTConfig"),
        (lambda m: GPT(m.config, seed=1.5), "seed=1.5 is float"),
        (lambda m: GPT(m.config, norm=None), "norm=None is NoneType"),
        (lambda m: m([[1, 2]]), "input_ids is list: give a tensor of token ids"),
        (lambda m: m(torch.ones(1, 2)), "input_ids is torch.float32"),
        (lambda m: m(torch.ones(1, 2, dtype=torch.bool)), "input_ids is torch.bool"),
        (lambda m: m(ids(1, 2), cache=True), "cache=bool: give a KVCache"),
        (lambda m: KVCache(m), "config is GPT: give a GPTConfig"),
        (lambda m: m.generate(ids(1, 4), 2.0), "n_new_tokens=2.0 is float"),
        (lambda m: m.generate(ids(1, 4), 2, temperature="1"), "temperature='1' is str"),
        (lambda m: m.generate(ids(1, 4), 2, use_cache="no"), "use_cache='no' is str"),
    ],
)
def test_wrong_types_are_named_with_the_value_and_the_remedy(call, message):
    with pytest.raises(TypeError, match=message):
        call(GPT(GPTConfig(**SMALL)))


CONVERSIONS = {
    "to_bfloat16": lambda m: m.to(torch.bfloat16),
    "bfloat16": lambda m: m.bfloat16(),
    "to_float16": lambda m: m.to(torch.float16),
    "half": lambda m: m.half(),
    "to_float64": lambda m: m.to(torch.float64),
    "double": lambda m: m.double(),
    "to_bfloat16_and_back": lambda m: m.to(torch.bfloat16).to(torch.float32),
}


@pytest.mark.parametrize("name", CONVERSIONS)
def test_every_way_of_changing_the_dtype_keeps_the_rotary_table_and_the_meaning_of_the_logits(name):
    """Weights are rounded to bfloat16 at most: logits move by some per cent of their spread (wrong positions: all of
    it)."""
    model, x = spread(n_kv_heads=2), ids(2, 24)
    table, expected = model.rotation.clone(), model(x).detach()
    changed = CONVERSIONS[name](model)
    assert changed.rotation.dtype == torch.float32
    assert torch.equal(changed.rotation, table)
    assert "rotation" not in changed.state_dict()
    logits = changed(x)
    assert logits.dtype == changed.embedding.weight.dtype
    allowed = 1e-5 if logits.dtype == torch.float64 else 0.05
    assert (logits.double() - expected.double()).std() < allowed * expected.std()


def test_logits_in_bfloat16_are_as_close_to_float32_as_those_of_transformers():
    theirs = llama()
    ours, x = from_llama(theirs), ids(2, 24)
    with torch.no_grad():
        exact = ours(x)
        own = (ours.to(torch.bfloat16)(x).float() - exact).square().mean().sqrt()
        peer = (theirs.to(torch.bfloat16)(x).logits.float() - exact).square().mean().sqrt()
    assert 0 < own < 1.5 * peer


def test_gradients_of_attention_in_float64_equal_finite_differences():
    config = GPTConfig(**SMALL, n_kv_heads=2)
    attention, rotation = Attention(config).double(), rotations(config)[:5]
    x = torch.randn(2, 5, 32, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda t: attention(t, rotation), x)
    heads = torch.randn(1, 5, 4, 8, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(1))
    assert torch.autograd.gradcheck(lambda t: rotate(t, rotation), heads)


@pytest.mark.parametrize("pieces", [[10], [4, 6], [1] * 10, [3, 1, 5, 1]])
def test_the_cache_carries_gradients_as_if_the_text_had_passed_at_once(pieces):
    x, grads = ids(2, 10), []
    for cuts in ([10], pieces):
        model = spread(n_kv_heads=2)
        cache = model.new_cache(batch_size=2)
        logits = torch.cat([model(part, cache=cache) for part in x.split(cuts, dim=1)], dim=1)
        logits.square().mean().backward()
        grads.append([p.grad for p in model.parameters()])
    model = spread(n_kv_heads=2)
    model(x).square().mean().backward()
    for expected, *found in zip([p.grad for p in model.parameters()], *grads, strict=True):
        for grad in found:
            torch.testing.assert_close(grad, expected, atol=1e-5, rtol=1e-4)


def test_tokens_read_without_gradients_are_constants_to_those_read_with_them():
    """A prompt is read under no_grad, an answer is trained after it; reading on under no_grad breaks nothing."""
    model, x = spread(), ids(1, 9)
    cache = model.new_cache()
    with torch.no_grad():
        model(x[:, :4], cache=cache)
    loss = model(x[:, 4:7], cache=cache).square().mean()
    with torch.no_grad():
        last = model(x[:, 7:], cache=cache)
        torch.testing.assert_close(last, model(x)[:, 7:], atol=1e-4, rtol=1e-5)
    loss.backward()
    assert model.blocks[0].attention.key.weight.grad.abs().sum() > 0


def test_without_gradients_the_buffers_of_the_cache_stay_where_they_are():
    """A CUDA graph replays on fixed addresses; a step at the same position can be repeated."""
    model, x = spread(), ids(2, 9)
    cache = model.new_cache(batch_size=2)
    addresses = [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in cache.layers]
    with torch.no_grad():
        model(x[:, :8], cache=cache)
        first = model(x[:, 8:], cache=cache)
        cache.truncate(8)
        assert torch.equal(model(x[:, 8:], cache=cache), first)
    assert [(layer.keys.data_ptr(), layer.values.data_ptr()) for layer in cache.layers] == addresses
    assert cache.length == 9
    cache.truncate(0)
    assert [cache.length, *(layer.length for layer in cache.layers)] == [0] * 4


def test_a_cache_whose_layers_let_tokens_pass_is_emptied_but_not_cut():
    model = spread()
    cache = model.new_cache()
    with torch.no_grad():
        model(ids(1, 5), cache=cache)
    cache.layers[1].length = 3
    with pytest.raises(ValueError, match=r"length=2: the layers hold .5, 3, 5. of 5 tokens.*give 0"):
        cache.truncate(2)
    cache.truncate(0)
    assert cache.layers[1].length == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_pass_that_fails_leaves_the_cache_as_it_was(error):
    model, x = spread(), ids(1, 9)
    cache = model.new_cache()
    with torch.no_grad():
        model(x[:, :5], cache=cache)

        def fail(*_):
            raise error

        hook = model.blocks[2].register_forward_pre_hook(fail)
        with pytest.raises(error):
            model(x[:, 5:], cache=cache)
        hook.remove()
        assert [cache.length, *(layer.length for layer in cache.layers)] == [5] * 4
        torch.testing.assert_close(model(x[:, 5:], cache=cache), model(x)[:, 5:], atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_everything_is_made_on_the_device_of_the_model(temperature, use_cache):
    """The meta device has shapes and no numbers: a tensor left on the CPU stops the pass."""
    model = GPT(GPTConfig(**SMALL, n_kv_heads=2)).to("meta")
    assert model.rotation.is_meta
    text = model.generate(ids(2, 4).to("meta"), 5, temperature=temperature, use_cache=use_cache)
    assert (text.shape, text.device.type) == ((2, 9), "meta")
    cache = model.new_cache(batch_size=2)
    assert {layer.keys.device.type for layer in cache.layers} == {"meta"}
    model(ids(2, 4).to("meta"), cache=cache)
    assert model(ids(2, 3).to("meta"), cache=cache).shape == (2, 3, 50)  # a chunk after a past needs a mask


def test_a_model_made_without_memory_gets_its_rotary_table_when_it_gets_memory():
    expected, x = spread(), ids(2, 24)
    with torch.device("meta"):
        model = GPT(expected.config)
    model.to_empty(device="cpu")
    model.load_state_dict(expected.state_dict())
    assert torch.equal(model(x), expected(x))


def test_the_cache_follows_the_dtype_of_the_model_and_of_autocast():
    model, x = spread(), ids(1, 4)
    assert model.new_cache().layers[0].keys.dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model.new_cache().layers[0].keys.dtype == torch.bfloat16
        assert model.generate(x, 4, temperature=0).shape == (1, 8)
    half = model.to(torch.bfloat16)
    assert half.new_cache().layers[0].values.dtype == torch.bfloat16
    assert torch.equal(half.generate(x, 20, temperature=0), half.generate(x, 20, temperature=0, use_cache=False))


def test_no_new_tokens_is_the_prompt_itself():
    x = ids(2, 24)
    assert torch.equal(spread().generate(x, 0), x)


def test_sizes_become_plain_integers():
    """numpy's integers of 32 bits would overflow in the counts of core.model.cost."""
    config = GPTConfig(np.int32(50), n_layers=np.int64(2))
    assert (type(config.vocab_size), type(config.n_layers)) == (int, int)


@pytest.mark.assets
def test_smollm2_in_this_gpt_writes_what_transformers_writes():
    from greenlab.core.assets import load_smollm2

    theirs, tokenizer = load_smollm2()
    ours = from_llama(theirs)
    x = tokenizer("The capital of France is", return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x).logits, atol=2e-4, rtol=1e-4)
    expected = theirs.generate(x, attention_mask=torch.ones_like(x), max_new_tokens=8, do_sample=False)
    assert torch.equal(ours.generate(x, 8, temperature=0)[:, : expected.shape[1]], expected)
