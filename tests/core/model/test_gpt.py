"""core.gpt against transformers' Llama (same weights, same logits), and against itself with and without the cache."""

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from greenlab.core.model import cost
from greenlab.core.model.gpt import GPT, Block, GPTConfig, KVCache, RMSNorm, SwiGLU, rotate, rotations

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
    cos, sin = (torch.cat([f(rotations(config).angle())] * 2, -1)[None] for f in (torch.cos, torch.sin))
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
    """One step from 4,000 copies of a prompt: chi-square against the model's own probabilities (0.999 quantile, 49 df)."""
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
    assert cost.parameters(model.shape()).total == sum(p.numel() for p in model.parameters())
    cache = KVCache(model.config, batch_size=2, max_tokens=10)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cost.kv_cache_bytes(model.shape(), 10, batch=2, bytes_per_value=4) == held


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
        (
            lambda m: GPTConfig(50, d_model=30, n_heads=4),
            "d_model must be a multiple of 2 . n_heads = 8 .*got 30 and 128",
        ),
        (lambda m: GPTConfig(50, context_length=0), "context_length >= 1, got 128 and 0"),
        (lambda m: GPTConfig(50, n_kv_heads=3), "n_kv_heads must divide n_heads=4, got 3"),
        (lambda m: GPTConfig(50, n_heads=0), "n_heads must be a whole number >= 1.*got 0"),
        (lambda m: GPTConfig(0), "vocab_size must be a whole number >= 1"),
        (lambda m: m(ids(1, 25)), "input_ids reach token 25, allowed are 24: .*context_length"),
        (lambda m: m(ids(1, 4)[0]), r"input_ids must be .B, S.*got shape .4,.*input_ids.None."),
        (lambda m: m(ids(1, 0)), r"input_ids must be .B, S.*got shape .1, 0."),
        (lambda m: m(ids(1, 9), cache=KVCache(m.config, max_tokens=8)), "input_ids reach token 9, allowed are 8"),
        (lambda m: m(ids(1, 9), head="first"), "head .all. or .last., .*and .first."),
        (lambda m: m.generate(ids(1, 4), 21), "n_new_tokens at most 20, got 1.0 and 21"),
        (lambda m: m.generate(ids(1, 4), 2, temperature=-1), "temperature must be >= 0 .*got -1 and 2"),
    ],
)
def test_wrong_arguments_are_named_with_the_value_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call(GPT(GPTConfig(**SMALL)))


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
