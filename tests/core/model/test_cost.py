"""core.model.cost against other code: transformers' tensors and caches, torch's FLOP counter, published counts."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
)

from greenlab.core.model import cost
from greenlab.core.model.cost import TransformerShape

TINY = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
FAMILIES = [
    LlamaConfig(**TINY),
    LlamaConfig(**TINY, tie_word_embeddings=True),
    LlamaConfig(**TINY, attention_bias=True, mlp_bias=True, head_dim=16),
    MistralConfig(**TINY),
    Qwen2Config(**TINY),
    Qwen3Config(**TINY, head_dim=16),
    Qwen3Config(**TINY, head_dim=16, attention_bias=True, tie_word_embeddings=True),
    PhiConfig(**TINY),
    PhiConfig(**TINY, qk_layernorm=True),
    Phi3Config(**TINY),
]
LLAMA_2_7B = {"vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32}
LLAMA_2_70B = LlamaConfig(
    vocab_size=32000,
    hidden_size=8192,
    intermediate_size=28672,
    num_hidden_layers=80,
    num_attention_heads=64,
    num_key_value_heads=8,
)
SMOLLM2_135M = LlamaConfig(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    tie_word_embeddings=True,
)
PUBLISHED = [  # the counts of the model cards' safetensors
    (SMOLLM2_135M, 134_515_008),
    (LLAMA_2_70B, 68_976_648_192),
    (LlamaConfig(**LLAMA_2_7B, num_attention_heads=32), 6_738_415_616),
    (
        MistralConfig(
            vocab_size=32000,
            hidden_size=4096,
            intermediate_size=14336,
            num_hidden_layers=32,
            num_attention_heads=32,
            num_key_value_heads=8,
        ),
        7_241_732_096,
    ),
    (
        Qwen2Config(
            vocab_size=151936,
            hidden_size=896,
            intermediate_size=4864,
            num_hidden_layers=24,
            num_attention_heads=14,
            num_key_value_heads=2,
            tie_word_embeddings=True,
        ),
        494_032_768,
    ),
]
SHAPES = st.builds(
    lambda n_layers, d_model, kv, group, head_dim, d_ff, vocab_size, tied, gated: TransformerShape(
        n_layers, d_model, kv * group, kv, head_dim, d_ff, vocab_size, tied, gated
    ),
    *[st.integers(1, 40) for _ in range(7)],
    st.booleans(),
    st.booleans(),
)


pytestmark = pytest.mark.usefixtures("one_thread")


def name_of(config):
    return f"{config.model_type}-{config.hidden_size}"


@pytest.mark.parametrize("config", FAMILIES, ids=name_of)
def test_parameters_equal_the_tensors_of_every_supported_family(config):
    model = AutoModelForCausalLM.from_config(config)
    count = cost.parameters(TransformerShape.from_config(config))
    assert count.total == sum(p.numel() for p in model.parameters())
    assert count.per_layer == sum(p.numel() for p in model.model.layers[1].parameters())
    assert count.embedding == model.model.embed_tokens.weight.numel()


@pytest.mark.parametrize(("config", "published"), PUBLISHED, ids=lambda x: str(x) if isinstance(x, int) else name_of(x))
def test_parameters_equal_the_published_count_and_the_tensors_on_the_meta_device(config, published):
    with torch.device("meta"):  # shapes without storage: 70 billion parameters fit
        model = AutoModelForCausalLM.from_config(config)
    assert cost.parameters(TransformerShape.from_config(config)).total == published
    assert sum(p.numel() for p in model.parameters()) == published


@pytest.mark.parametrize("config", FAMILIES, ids=name_of)
def test_flops_equal_torchs_flop_counter_on_eager_attention(config):
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    shape = TransformerShape.from_config(config)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        cache = model(torch.randint(0, 96, (1, 13))).past_key_values
    assert cost.prefill_flops(shape, 13, scores="full").total == counter.get_total_flops()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randint(0, 96, (1, 13)), logits_to_keep=1)
    assert cost.prefill_flops(shape, 13, scores="full", head="last").total == counter.get_total_flops()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randint(0, 96, (1, 1)), past_key_values=cache)
    assert cost.decode_flops(shape, 14).total == counter.get_total_flops()


def test_each_part_of_the_flops_is_where_the_flop_counter_saw_it():
    model = AutoModelForCausalLM.from_config(LlamaConfig(**TINY), attn_implementation="eager").eval()
    flops = cost.prefill_flops(TransformerShape.from_config(model.config), 13, scores="full")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randint(0, 96, (1, 13)))
    seen = counter.get_flop_counts()
    by_operator = {str(op): n for op, n in seen["Global"].items()}
    assert flops.attention_scores == by_operator["aten.bmm"]
    assert flops.output_head == sum(seen["LlamaForCausalLM.lm_head"].values())
    assert flops.feed_forward == sum(sum(seen[f"LlamaForCausalLM.model.layers.{i}.mlp"].values()) for i in range(3))


@pytest.mark.parametrize("config", FAMILIES, ids=name_of)
def test_kv_cache_bytes_equal_the_tensors_in_a_transformers_cache(config):
    model, cache = AutoModelForCausalLM.from_config(config).eval(), DynamicCache()
    with torch.no_grad():
        model(torch.randint(0, 96, (2, 11)), past_key_values=cache)
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    assert cost.kv_cache_bytes(TransformerShape.from_config(config), 11, batch=2, bytes_per_value=4) == held


@pytest.mark.parametrize("tied", [True, False])
def test_decode_bytes_are_every_tensor_but_the_unread_embedding_rows_plus_the_cache(tied):
    """Tied: the table is read once, as the head. Untied: the head is read, and one row of the table."""
    config = LlamaConfig(**TINY, tie_word_embeddings=tied)
    model, shape = AutoModelForCausalLM.from_config(config), TransformerShape.from_config(config)
    table, row = model.model.embed_tokens.weight.nbytes, model.model.embed_tokens.weight[0].nbytes
    weights = sum(p.nbytes for p in model.parameters())
    assert cost.decode_bytes(shape, 0).total == weights + row - (0 if tied else table)
    moved = cost.decode_bytes(shape, 20, bytes_per_weight=2, bytes_per_cache=1)
    assert moved.kv_cache == cost.kv_cache_bytes(shape, 20, bytes_per_value=1)
    assert moved.total - moved.kv_cache == cost.decode_bytes(shape, 0).total / 2
    assert cost.decode_bytes(shape, 20).kv_cache == cost.kv_cache_bytes(shape, 20, bytes_per_value=4)


def test_gromov_et_al_section_5_memory_confirmed_and_flops_refuted():
    """arXiv:2403.17887, sec. 5: Llama-2-70B takes 140 GB and 3e10 FLOPs a token; 4 bits and half the layers 17.5 GB.

    Memory holds to the paper's rounding; the printed FLOPs are 4.6 times too low.
    """
    shape = TransformerShape.from_config(LLAMA_2_70B)
    half = shape.replace(n_layers=40)
    assert cost.weight_bytes(shape, 16) == 2 * 68_976_648_192
    assert cost.weight_bytes(shape, 16) / 140e9 == pytest.approx(1, abs=0.015)
    assert cost.weight_bytes(half, 4, embedding_bits=4) / 17.5e9 == pytest.approx(1, abs=0.01)
    assert cost.weight_bytes(half, 4) == pytest.approx(18.16e9, abs=5e6)
    assert cost.flops_per_token(shape).total == pytest.approx(1.374e11, rel=5e-4)
    assert cost.flops_per_token(shape).total / 3e10 == pytest.approx(4.6, abs=0.05)
    assert cost.flops_per_token(shape, 4096).attention_scores == 4 * 80 * 8192 * 4096


def test_palm_appendix_b_counts_six_n_plus_twelve_l_h_q_t_per_training_token():
    """arXiv:2204.02311, appendix B: training costs 6 N + 12 L H Q T per token, a forward pass a third of it."""
    shape = TransformerShape.from_config(LLAMA_2_70B)
    n = cost.parameters(shape).total - cost.parameters(shape).embedding - cost.parameters(shape).norms
    t = 2048
    palm = 6 * n + 12 * shape.n_layers * shape.n_heads * shape.head_dim * t
    assert 3 * cost.prefill_flops(shape, t, scores="full").total == palm * t


@given(SHAPES, st.integers(1, 60))
def test_a_causal_prefill_costs_the_same_as_decoding_token_by_token(shape, n):
    assert cost.prefill_flops(shape, n).total == sum(cost.decode_flops(shape, t).total for t in range(1, n + 1))


@given(SHAPES, st.lists(st.integers(1, 5000), min_size=1, max_size=5))
def test_arrays_give_what_single_numbers_give(shape, lengths):
    array = np.array(lengths)
    functions = [
        lambda n: cost.prefill_flops(shape, n).total,
        lambda n: cost.decode_flops(shape, n).total,
        lambda n: cost.decode_bytes(shape, n, bytes_per_weight=2).total,
        lambda n: cost.kv_cache_bytes(shape, n),
        lambda n: cost.predicted_speedup(shape, 0, n_tokens=n),
    ]
    for function in functions:
        np.testing.assert_allclose(function(array), [function(n) for n in lengths], rtol=1e-14)


def test_large_counts_stay_exact_or_become_float_but_never_wrap():
    shape = TransformerShape.from_config(LLAMA_2_70B)
    exact = cost.prefill_flops(shape, 10**10).total
    assert exact > 2**63
    assert cost.prefill_flops(shape, np.array([10**10])).total[0] == pytest.approx(exact, rel=1e-15)
    assert cost.prefill_flops(shape, np.int64(10**10)).total == exact


@given(SHAPES, st.sampled_from(["prefill", "decode"]), st.integers(1, 3000), st.data())
def test_predicted_speedup_is_the_ratio_of_costs_and_stays_below_l_over_l_minus_n(shape, phase, n_tokens, data):
    dropped = data.draw(st.integers(0, shape.n_layers - 1))
    speedup = cost.predicted_speedup(shape, dropped, phase=phase, n_tokens=n_tokens)
    pruned = shape.replace(n_layers=shape.n_layers - dropped)
    full, rest = (
        cost.prefill_flops(s, n_tokens).total if phase == "prefill" else cost.decode_bytes(s, n_tokens).total
        for s in (shape, pruned)
    )
    assert speedup == pytest.approx(full / rest, rel=1e-12)
    assert 1 <= speedup <= shape.n_layers / (shape.n_layers - dropped) * (1 + 1e-12)


def test_predicted_speedup_takes_an_array_of_dropped_layers():
    shape = TransformerShape.from_config(SMOLLM2_135M)
    speedups = cost.predicted_speedup(shape, np.arange(30), n_tokens=512, head="last")
    assert speedups[0] == 1.0
    assert np.all(np.diff(speedups) > 0)
    assert speedups[6] == cost.predicted_speedup(shape, 6, n_tokens=512, head="last")
    assert cost.predicted_speedup(shape, 6) < cost.predicted_speedup(shape, 6, head="last") < 30 / 24


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.replace(n_layers=-1), "n_layers=-1: give a whole number at least 0"),
        (lambda s: s.replace(d_model=0), "d_model=0: give a whole number at least 1"),
        (lambda s: s.replace(n_kv_heads=3), "n_kv_heads=3: give a divisor of n_heads=4"),
        (lambda s: TransformerShape.from_config(GPT2Config()), "got 'gpt2'.*compare parameters"),
        (lambda s: cost.prefill_flops(s, 0), r"n_tokens holds 0.0 .*at least 1"),
        (lambda s: cost.prefill_flops(s, 2.5), r"n_tokens=2.5: give whole numbers at least 1"),
        (lambda s: cost.prefill_flops(s, np.array([1.0, np.nan])), "n_tokens holds nan at position 1"),
        (lambda s: cost.prefill_flops(s, 4, head="none"), "no head .none."),
        (lambda s: cost.prefill_flops(s, 4, scores="half"), "no scores .half."),
        (lambda s: cost.kv_cache_bytes(s, 1, batch=0), r"batch holds 0.0 .*at least 1"),
        (lambda s: cost.weight_bytes(s, 0), "bits_per_weight=0: .*above 0.*counts bits"),
        (lambda s: cost.weight_bytes(s, 4, embedding_bits=-1), "embedding_bits=-1: "),
        (lambda s: cost.predicted_speedup(s, 3), "n_dropped=3: give 0 to 2"),
        (lambda s: cost.predicted_speedup(s, 1, phase="train"), "no phase .train."),
    ],
)
def test_wrong_values_are_named_with_the_value_and_the_remedy(call, message):
    with pytest.raises(ValueError, match=message):
        call(TransformerShape.from_config(LlamaConfig(**TINY)))


@pytest.mark.parametrize("value", [-1, 0, np.nan, np.inf])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("bytes_per_value", lambda s, v: cost.kv_cache_bytes(s, 5, bytes_per_value=v)),
        ("bytes_per_weight", lambda s, v: cost.decode_bytes(s, 5, bytes_per_weight=v)),
        ("bytes_per_cache", lambda s, v: cost.decode_bytes(s, 5, bytes_per_cache=v)),
        ("bytes_per_weight", lambda s, v: cost.predicted_speedup(s, 1, phase="decode", bytes_per_weight=v)),
        ("bits_per_weight", lambda s, v: cost.weight_bytes(s, v)),
    ],
)
def test_a_size_in_bytes_or_bits_is_a_finite_number_above_zero(name, call, value):
    with pytest.raises(ValueError, match=f"{name}="):
        call(TransformerShape.from_config(LlamaConfig(**TINY)), value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: cost.decode_flops(s, "12"), "context='12' does not hold numbers"),
        (lambda s: cost.decode_flops(s, True), "context=True does not hold numbers"),
        (lambda s: cost.kv_cache_bytes(s, 5, bytes_per_value="2"), "bytes_per_value='2' is str"),
        (lambda s: cost.weight_bytes(s, True), "bits_per_weight=True is bool"),
        (lambda s: s.replace(d_model=8.0), r"d_model=8\.0 is float"),
        (lambda s: s.replace(gated="no"), "gated='no' is str"),
        (lambda s: cost.parameters(s.n_layers), "shape is int: give a TransformerShape"),
        (lambda s: cost.prefill_flops(None, 4), "shape is NoneType: give a TransformerShape"),
        (lambda s: TransformerShape.from_config(None), "config is NoneType"),
    ],
)
def test_wrong_types_are_named_with_the_value_and_the_remedy(call, message):
    with pytest.raises(TypeError, match=message):
        call(TransformerShape.from_config(LlamaConfig(**TINY)))


def test_sizes_in_numpys_integers_do_not_overflow():
    small = TransformerShape(*(np.int32(n) for n in (80, 8192, 64, 8, 128, 28672, 32000)))
    assert cost.parameters(small).total == 68_976_648_192
    assert type(small.d_model) is int


@pytest.mark.assets
def test_smollm2_parameters_equal_the_fetched_model():
    from greenlab.core.assets import load_smollm2

    model, _ = load_smollm2()
    total = cost.parameters(TransformerShape.from_config(model.config)).total
    assert total == sum(p.numel() for p in model.parameters()) == 134_515_008


def test_importing_cost_imports_neither_torch_nor_transformers():
    """Chapters 1 and 2 count without loading a model."""
    code = "import sys, greenlab.core.model.cost; print({'torch', 'transformers'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"
