"""core.model.cost with experts and with a mixture of depths: against modules, published counts and measured layers."""

import dataclasses
import itertools
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    MixtralConfig,
    OlmoeConfig,
    Qwen3MoeConfig,
)

from greenlab.accelerator import EXPERT_LAYERS
from greenlab.core.machine import ROOT
from greenlab.core.model import cost
from greenlab.core.model.cost import TransformerShape, expected_experts
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.mixture_of_depths import mod_blocks
from greenlab.mixture_of_depths.block import HIDDEN
from greenlab.mixture_of_experts import MoE

TINY = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_experts_per_tok": 3,
    "pad_token_id": 0,
}
FAMILIES = [
    MixtralConfig(**TINY, num_local_experts=5),
    MixtralConfig(**TINY, num_local_experts=5, tie_word_embeddings=True, head_dim=16),
    Qwen3MoeConfig(**TINY, num_experts=6, moe_intermediate_size=12, head_dim=16),
    Qwen3MoeConfig(**TINY, num_experts=6, moe_intermediate_size=12, head_dim=16, mlp_only_layers=[1, 0]),
    Qwen3MoeConfig(**TINY, num_experts=6, moe_intermediate_size=12, head_dim=16, attention_bias=True),
    OlmoeConfig(**TINY, num_experts=7),
    OlmoeConfig(**TINY, num_experts=7, attention_bias=True),
]
MIXTRAL = MixtralConfig(num_experts_per_tok=2)
QWEN3_30B = Qwen3MoeConfig(num_hidden_layers=48, head_dim=128)
OLMOE = OlmoeConfig(intermediate_size=1024)
# Totals: the safetensors of the model cards. Active: arXiv:2401.04088, sec. 1 (12.9B); arXiv:2505.09388, table 2 (3B);
# arXiv:2409.02060, table 1 (1.3B).
PUBLISHED = [
    (MIXTRAL, 46_702_792_704, 12.9e9),
    (QWEN3_30B, 30_532_122_624, 3.3e9),
    (OLMOE, 6_919_161_856, 1.3e9),
]
CONFIG = GPTConfig(vocab_size=50, context_length=32, n_layers=4, d_model=16, n_heads=2, d_ff=24)
PARTS = [  # arguments of the layer, and of the shape that counts it
    ({"n_experts": 5, "top_k": 2}, {}),
    ({"n_experts": 5, "top_k": 1, "d_expert": 12}, {}),
    ({"n_experts": 4, "top_k": 3, "n_shared": 2}, {}),
    ({"n_experts": 4, "top_k": 2, "d_expert": 8, "n_shared": 1, "d_shared": 20}, {}),
]
SHAPES = st.builds(
    lambda n_layers, d_model, heads, head_dim, d_ff, experts, k, shared, no_op, capacity, every: TransformerShape(
        n_layers, d_model, heads, heads, head_dim, d_ff, 30, n_experts=experts, top_k=min(k, experts), n_shared=shared,
        n_no_op=no_op, capacity=capacity, every=every,
    ),
    *[st.integers(1, 12) for _ in range(7)], st.integers(0, 2), st.integers(0, 3),
    st.sampled_from([1.0, 0.5, 0.125, 0.29]), st.integers(1, 4),
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


def name_of(config):
    return f"{config.model_type}-{config.hidden_size}"


@pytest.mark.parametrize("config", FAMILIES, ids=name_of)
def test_parameters_equal_the_tensors_of_every_family_with_experts(config):
    model, shape = AutoModelForCausalLM.from_config(config), TransformerShape.from_config(config)
    count = cost.parameters(shape)
    assert count.total == sum(p.numel() for p in model.parameters())
    assert count.per_layer == sum(p.numel() for p in model.model.layers[-1].parameters())
    routers = [p.numel() for name, p in model.named_parameters() if "mlp.gate.weight" in name]
    assert count.routers == sum(routers)
    assert len(routers) == shape.n_layers - shape.n_dense_layers
    experts = sum(p.numel() for name, p in model.named_parameters() if "experts" in name)
    unused = experts * (1 - shape.top_k / shape.n_experts)
    assert count.active == pytest.approx(count.total - unused, rel=1e-12)


@pytest.mark.parametrize(("config", "published", "active"), PUBLISHED, ids=["Mixtral", "Qwen3", "OLMoE"])
def test_total_and_active_parameters_equal_the_published_counts(config, published, active):
    count = cost.parameters(TransformerShape.from_config(config))
    assert count.total == published
    assert count.active == pytest.approx(active, abs=0.06e9)  # the digits printed; Qwen3's 3.35 was cut, not rounded
    assert isinstance(count.active, int)


@pytest.mark.parametrize("config", FAMILIES, ids=name_of)
def test_flops_with_experts_equal_torchs_flop_counter(config):
    """The experts' loop multiplies each token with its own experts only, so the counter sees what is active."""
    config._experts_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    shape = TransformerShape.from_config(config)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randint(0, 96, (1, 13)), use_cache=False)
    assert cost.prefill_flops(shape, 13, scores="full").total == counter.get_total_flops()


@pytest.mark.parametrize(("part", "sizes"), PARTS, ids=str)
@pytest.mark.parametrize("n_tokens", [1, 9])
def test_counts_of_our_layer_equal_its_tensors_and_torchs_flop_counter(part, sizes, n_tokens):
    model = GPT(CONFIG, feed_forward=partial(MoE, **part)).eval()
    shape = CONFIG.shape.replace(**part, **sizes)
    assert cost.parameters(shape).total == sum(p.numel() for p in model.parameters())
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.randint(0, 50, (1, n_tokens)))
    flops = cost.prefill_flops(shape, n_tokens)
    # the counter does not see the scores: it has no formula for this attention on the CPU
    assert flops.total - flops.attention_scores == counter.get_total_flops()


def test_no_op_choices_cost_what_they_cost_in_the_mean():
    shape = CONFIG.shape.replace(n_experts=6, top_k=2, n_no_op=2)
    model = GPT(CONFIG, feed_forward=partial(MoE, n_experts=6, top_k=2, n_no_op=2))
    assert cost.parameters(shape).total == sum(p.numel() for p in model.parameters())
    assert shape.experts_per_token == 1.5
    assert cost.flops_per_token(shape).feed_forward == 1.5 * cost.flops_per_token(CONFIG.shape).feed_forward
    assert cost.flops_per_token(shape).routers == 2 * 4 * 16 * 8


def test_a_shape_with_one_expert_for_all_is_the_dense_one_and_its_routers():
    dense, one = CONFIG.shape, CONFIG.shape.replace(n_experts=1, top_k=1)
    for function in (
        cost.parameters,
        partial(cost.prefill_flops, n_tokens=7),
        partial(cost.flops_per_token, context=7),
    ):
        a, b = vars(function(dense)), vars(function(one))
        assert b.pop("routers") > a.pop("routers") == 0
        router = CONFIG.d_model
        if "active" in a:
            assert (b.pop("active"), b.pop("per_layer")) == (a.pop("active") + 4 * router, a.pop("per_layer") + router)
        assert a == b
    assert cost.decode_bytes(one, 5, batch=3).total == cost.decode_bytes(dense, 5, batch=3).total + 4 * 4 * 16


def test_a_mixture_of_depths_is_counted_by_hand():
    """Two of four layers take 2 of 16 tokens: 2 * 16 + 2 * 2 = 36 passes, and 2 * 136 + 2 * 3 pairs."""
    shape, dense = CONFIG.shape.replace(capacity=0.125), CONFIG.shape
    flops, whole = cost.prefill_flops(shape, 16), cost.prefill_flops(dense, 16)
    assert flops.feed_forward / whole.feed_forward == 36 / 64
    assert flops.attention_projections / whole.attention_projections == 36 / 64
    assert flops.attention_scores / whole.attention_scores == (2 * 136 + 2 * 3) / (4 * 136)
    assert flops.output_head == whole.output_head
    assert flops.routers == 2 * 2 * 16 * 16  # two layers, a product of 16 numbers for each of 16 tokens
    assert cost.kv_cache_bytes(shape, 16) / cost.kv_cache_bytes(dense, 16) == (2 + 2 * 0.125) / 4
    step, all_of_it = cost.flops_per_token(shape, 16), cost.flops_per_token(dense, 16)
    assert step.feed_forward / all_of_it.feed_forward == (2 + 2 * 0.125) / 4
    assert step.attention_scores / all_of_it.attention_scores == (2 * 16 + 2 * 0.125 * 2) / 64


@pytest.mark.parametrize(("decider", "predictor_width"), [("router", 0), ("predictor", HIDDEN)])
def test_parameters_of_a_mixture_of_depths_are_those_of_its_modules(decider, predictor_width):
    shape = CONFIG.shape.replace(capacity=0.125, predictor_width=predictor_width)
    expected = sum(p.numel() for p in GPT(CONFIG, block=mod_blocks(0.125, decider=decider)).parameters())
    assert cost.parameters(shape).total == expected
    one_block = sum(p.numel() for p in GPT(CONFIG).blocks[0].parameters())
    assert cost.parameters(shape).active == pytest.approx(expected - 0.875 * 2 * one_block)


def test_layers_with_and_without_experts_and_depths_add_up():
    """Layers 0 and 1 are dense, 2 and 3 have experts; 1 and 3 skip: the sum of four shapes of one layer."""
    kinds = {"n_experts": 4, "top_k": 2, "d_expert": 10, "n_shared": 1}
    shape = CONFIG.shape.replace(**kinds, n_dense_layers=2, capacity=0.25, predictor_width=3)
    one = CONFIG.shape.replace(n_layers=1)
    skips = {"capacity": 0.25, "every": 1, "predictor_width": 3}
    four = [one, one.replace(**skips), one.replace(**kinds), one.replace(**kinds, **skips)]
    empty = one.replace(n_layers=0)
    functions = {
        "parameters": lambda s: cost.parameters(s).total,
        "active": lambda s: cost.parameters(s).active,
        "prefill": lambda s: cost.prefill_flops(s, 20).total,
        "decode": lambda s: cost.flops_per_token(s, 20).total,
        "cache": lambda s: cost.kv_cache_bytes(s, 20, batch=3),
        "bytes": lambda s: cost.decode_bytes(s, 20, batch=3).total,
        "weights": lambda s: cost.weight_bytes(s, 4),
    }
    for name, function in functions.items():
        summed = function(empty) + sum(function(s) - function(empty) for s in four)
        assert function(shape) == pytest.approx(summed, rel=1e-12), name


@given(SHAPES, st.integers(1, 200), st.integers(1, 50))
def test_what_holds_for_every_shape(shape, batch, context):
    count, dense = cost.parameters(shape), shape.replace(capacity=1.0)
    assert 0 < count.active <= count.total
    one, many = (cost.decode_bytes(shape, context, batch=n) for n in (1, batch))
    assert 0 < one.layer_weights <= many.layer_weights * (1 + 1e-12)
    assert many.layer_weights <= 4 * (count.total - count.embedding - count.output_head) * (1 + 1e-12)
    assert many.total <= cost.decode_bytes(dense, context, batch=batch).total + 4 * count.routers
    flops, most = cost.prefill_flops(shape, context), cost.prefill_flops(dense, context)
    assert flops.total - flops.routers <= most.total - most.routers


@given(SHAPES, st.lists(st.integers(1, 5000), min_size=1, max_size=5))
def test_arrays_give_what_single_numbers_give(shape, counts):
    array = np.array(counts)
    functions = [
        lambda n: cost.prefill_flops(shape, n).total,
        lambda n: cost.decode_flops(shape, n).total,
        lambda n: cost.decode_bytes(shape, 7, batch=n).total,
        lambda n: cost.kv_cache_bytes(shape, n),
        lambda n: expected_experts(shape.n_experts, shape.top_k, n),
    ]
    for function in functions:
        np.testing.assert_allclose(function(array), [function(n) for n in counts], rtol=1e-12)


@pytest.mark.parametrize(("n_experts", "top_k", "n_tokens"), [(3, 1, 2), (4, 2, 3), (5, 3, 2), (3, 3, 2)])
def test_the_expected_experts_are_the_mean_over_every_routing(n_experts, top_k, n_tokens):
    choices = list(itertools.combinations(range(n_experts), top_k))
    routings = list(itertools.product(choices, repeat=n_tokens))
    mean = sum(len(set().union(*routing)) for routing in routings) / len(routings)
    assert expected_experts(n_experts, top_k, n_tokens) == pytest.approx(mean)


def measured():
    """The layers with experts of the accelerator study, up to 64 tokens, where reading the weights sets the energy."""
    table = pd.read_csv(ROOT / "data/studies/accelerator/summary.csv")
    table = table[(table["section"] == "layer") & (table["batch"] <= 64)]
    return {name: table[table["what"] == f"{name}: experts"] for name in EXPERT_LAYERS}


@pytest.mark.parametrize("name", EXPERT_LAYERS)
def test_the_expected_experts_are_about_those_that_measured_batches_visited(name):
    """One batch of each size was drawn: what it visited is within four standard deviations of the mean."""
    layer, table, random = EXPERT_LAYERS[name], measured()[name], np.random.default_rng(0)
    assert list(table["batch"]) == [1, 4, 16, 64]
    for n, visited in table[["batch", "experts_visited"]].astype(int).itertuples(index=False):
        scores = random.random((300, n, layer.n_experts))
        chosen = np.argsort(scores, axis=-1)[..., : layer.top_k].reshape(300, -1)
        counts = [len(np.unique(one)) for one in chosen]
        mean = expected_experts(layer.n_experts, layer.top_k, n)
        assert mean == pytest.approx(np.mean(counts), abs=4 * np.std(counts) / np.sqrt(300) + 1e-6)
        assert abs(visited - mean) <= 4 * np.std(counts) + 1e-6


@pytest.mark.parametrize("name", EXPERT_LAYERS)
def test_the_joules_of_measured_layers_go_with_the_bytes_that_are_read(name):
    """Each byte of a visited expert takes about 250 pJ, from 4 tokens to 64: four to eight times the experts.

    At one token the small layer of Qwen3 also pays for the time that passes between its kernels, so 1 is left out.
    """
    layer, table = EXPERT_LAYERS[name], measured()[name]
    table = table[table["batch"] > 1]
    one = TransformerShape(1, layer.d_model, 1, 1, 1, layer.d_ff, 1, n_experts=layer.n_experts, top_k=layer.top_k)
    assert one.feed_forward_weights * 2 == layer.weight_bytes
    joules = table["j_per_unit"] * table["batch"]
    per_byte = joules / (2 * one.expert_weights * table["experts_visited"])
    assert per_byte.to_numpy() == pytest.approx(2.5e-10, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"top_k": 2}, "top_k=2 with n_experts=0"),
        ({"n_experts": 4}, "top_k=0: give a whole number at least 1 and at most 4"),
        ({"n_experts": 4, "top_k": 5}, "top_k=5: .*at most 4; a token chooses from n_experts=4"),
        ({"n_experts": 4, "top_k": 2, "n_dense_layers": 5}, "n_dense_layers=5: .*at most 4"),
        ({"n_experts": 4, "top_k": 2, "mlp_bias": True}, "mlp_bias=True with n_experts"),
        ({"n_experts": -1}, "n_experts=-1"),
        ({"n_shared": 1}, "n_shared=1 with n_experts=0"),
        ({"capacity": 0}, "capacity=0: .*above 0 and at most 1"),
        ({"capacity": 1.5}, "capacity=1.5: "),
        ({"capacity": float("nan")}, "capacity=nan: "),
        ({"capacity": 0.5, "every": 0}, "every=0: "),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        CONFIG.shape.replace(**changes)


@pytest.mark.parametrize("bad", [{"n_experts": 0}, {"top_k": 9}, {"n_tokens": 0}, {"n_tokens": 1.5}, {"top_k": True}])
def test_expected_experts_refuses_what_is_no_routing(bad):
    with pytest.raises((ValueError, TypeError), match=next(iter(bad))):
        expected_experts(**{"n_experts": 8, "top_k": 2, "n_tokens": 1, **bad})


def test_models_that_are_counted_wrongly_are_refused():
    with pytest.raises(ValueError, match="attention of DeepSeek"):
        TransformerShape.from_config(DeepseekV3Config())
    sparse = Qwen3MoeConfig(**TINY, num_experts=6, moe_intermediate_size=12, decoder_sparse_step=2)
    with pytest.raises(ValueError, match="decoder_sparse_step=2"):
        TransformerShape.from_config(sparse)
    last = Qwen3MoeConfig(**TINY, num_experts=6, moe_intermediate_size=12, mlp_only_layers=[3])
    with pytest.raises(ValueError, match=r"mlp_only_layers=\[3\]"):
        TransformerShape.from_config(last)
    for shape in (
        CONFIG.shape.replace(capacity=0.5),
        CONFIG.shape.replace(n_experts=2, top_k=1, n_dense_layers=1),
    ):
        with pytest.raises(ValueError, match="differ in cost"):
            cost.predicted_speedup(shape, 1)


def test_every_field_of_the_shape_is_described():
    doc = TransformerShape.__doc__
    assert [field.name for field in dataclasses.fields(TransformerShape) if f"        {field.name}: " not in doc] == []
