"""The mixture of experts against a loop over tokens, the blocks of transformers, finite differences and bad input."""

import copy
import math
from functools import partial

import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import DeepseekV3Config, MixtralConfig, Qwen3MoeConfig
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock, load_balancing_loss_func
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeSparseMoeBlock

from greenlab.core.model.gpt import GPT, GPTConfig, SwiGLU
from greenlab.core.model.training import TrainingConfig, evaluate, fit, next_token_loss
from greenlab.mixture_of_experts import (
    MoE,
    balance,
    balanced_loss,
    load,
    load_balancing_loss,
    moe_layers,
    recorded,
    routing,
    token_by_token,
    update_bias,
    z_loss,
)
from greenlab.mixture_of_experts.dispatch import FEW, products

CONFIG = GPTConfig(vocab_size=20, context_length=32, n_layers=2, d_model=16, n_heads=2, d_ff=24)
KINDS = {
    "Mixtral": {"scores": "top_k_softmax"},
    "Qwen3": {"top_k": 3},
    "Switch": {"top_k": 1},
    "OLMoE": {"n_experts": 12, "top_k": 4, "normalize": False, "d_expert": 8},
    "all experts": {"n_experts": 3, "top_k": 3},
    "one expert": {"n_experts": 1, "top_k": 1},
    "DeepSeek-V3": {"scores": "sigmoid", "n_shared": 1, "scale": 2.5, "n_groups": 4, "top_groups": 2},
    "shared": {"n_shared": 2, "d_shared": 5},
    "no-op": {"n_no_op": 3, "top_k": 4},
    "only no-ops are left": {"n_experts": 1, "n_no_op": 5, "top_k": 3},
    "capacity": {"capacity_factor": 0.7},
    "capacity and no-op": {"capacity_factor": 0.6, "n_no_op": 2, "top_k": 3, "scores": "sigmoid"},
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models this small only wait for each other on more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def layer(dtype=torch.float32, seed=0, **kind):
    """A layer whose router decides clearly and whose experts are as large as their inputs."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        moe = MoE(CONFIG, **kind)
        for p in moe.parameters():
            nn.init.normal_(p, std=p.shape[-1] ** -0.5)
        nn.init.normal_(moe.router.bias, std=0.1)
    return moe.to(dtype)


def tokens(n=11, seed=1, dtype=torch.float32, batch=1):
    return torch.randn(batch, n, CONFIG.d_model, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_equal(a, b, share=1e-6):
    """No number differs by more than this share of the largest one."""
    assert a.shape == b.shape
    assert (a - b).abs().max() <= share * b.abs().max()


def gradients(module, function, x):
    x = x.clone().requires_grad_()
    module.zero_grad()
    weights = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)
    (0 * x + function(x) * weights).sum().backward()
    return {"x": x.grad} | {name: p.grad for name, p in module.named_parameters()}


def model(seed=0, **kind):
    return GPT(CONFIG, seed=seed, feed_forward=partial(MoE, **kind))


def ids(n=9, batch=2, seed=0):
    return torch.randint(0, CONFIG.vocab_size, (batch, n), generator=torch.Generator().manual_seed(seed))


# Against code of another shape ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 2, 11])
def test_it_equals_the_loop_over_tokens(kind, n):
    moe, x = layer(**KINDS[kind]), tokens(n, batch=1 if n == 1 else 2)
    assert_equal(moe(x), token_by_token(moe, x))
    with torch.no_grad():
        assert_equal(moe(x), token_by_token(moe, x))
    exact, wide = layer(torch.float64, **KINDS[kind]), x.double()
    torch.testing.assert_close(exact(wide), token_by_token(exact, wide), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 11])
def test_its_gradients_equal_those_of_the_loop_over_tokens(kind, n):
    moe, x = layer(torch.float64, **KINDS[kind]), tokens(n, dtype=torch.float64)
    ours, theirs = gradients(moe, moe, x), gradients(moe, partial(token_by_token, moe), x)
    assert set(ours) == {"x", *dict(moe.named_parameters())}
    for name, gradient in ours.items():
        # an expert that nobody chose has no gradient in the loop, and zeros in the stacked tensor
        expected = torch.zeros_like(gradient) if theirs[name] is None else theirs[name]
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12, msg=name)


def copied(block, moe):
    """Our weights in a block of transformers."""
    with torch.no_grad():
        block.gate.weight.copy_(moe.router.weight)
        block.experts.gate_up_proj.copy_(torch.cat([moe.gate, moe.up], dim=1))
        block.experts.down_proj.copy_(moe.down)
        if moe.shared is not None:
            block.gate.e_score_correction_bias.copy_(moe.router.bias)
            for ours, theirs in (("gate", "gate_proj"), ("up", "up_proj"), ("down", "down_proj")):
                getattr(block.shared_experts, theirs).weight.copy_(getattr(moe.shared, ours).weight)
    return block


SIZES = {"hidden_size": CONFIG.d_model, "experts_implementation": "eager"}


def mixtral():
    moe = layer(scores="top_k_softmax")
    moe.router.bias.zero_()
    config = MixtralConfig(**SIZES, intermediate_size=24, num_local_experts=8, num_experts_per_tok=2)
    return moe, copied(MixtralSparseMoeBlock(config), moe)


def qwen3(normalize):
    moe = layer(n_experts=9, top_k=4, d_expert=12, normalize=normalize)
    moe.router.bias.zero_()
    config = Qwen3MoeConfig(
        **SIZES, moe_intermediate_size=12, num_experts=9, num_experts_per_tok=4, norm_topk_prob=normalize
    )
    return moe, copied(Qwen3MoeSparseMoeBlock(config), moe)


def deepseek(groups, top_groups, normalize=True):
    moe = layer(
        n_experts=12, top_k=4, d_expert=8, scores="sigmoid", normalize=normalize, scale=2.5, n_shared=2,
        n_groups=groups, top_groups=top_groups,
    )  # fmt: skip
    config = DeepseekV3Config(
        **SIZES, moe_intermediate_size=8, n_routed_experts=12, num_experts_per_tok=4, n_shared_experts=2,
        n_group=groups, topk_group=top_groups, norm_topk_prob=normalize, routed_scaling_factor=2.5,
    )  # fmt: skip
    return moe, copied(DeepseekV3MoE(config), moe)


PEERS = {
    "Mixtral": mixtral,
    "Qwen3-MoE": partial(qwen3, True),
    "Qwen3-MoE, not normalised": partial(qwen3, False),
    "DeepSeek-V3": partial(deepseek, 4, 2),
    "DeepSeek-V3, one group": partial(deepseek, 1, 1),
    "DeepSeek-V3, not normalised": partial(deepseek, 3, 2, False),
}


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("n", [1, 40])
def test_it_equals_the_block_of_transformers(peer, n):
    moe, block = PEERS[peer]()
    x = tokens(n)
    assert_equal(moe(x), block(x))
    ours, theirs = gradients(moe, moe, x), gradients(block, block, x)
    assert_equal(ours["x"], theirs["x"])
    assert_equal(ours["router.weight"], theirs["gate.weight"])
    assert_equal(torch.cat([ours["gate"], ours["up"]], dim=1), theirs["experts.gate_up_proj"])
    assert_equal(ours["down"], theirs["experts.down_proj"])


def test_the_bias_of_deepseek_changes_its_choice_and_ours_alike():
    moe, block = deepseek(4, 2)
    x, before = tokens(40), moe.router(tokens(40)[0]).experts
    moe.router.bias.mul_(-30)
    with torch.no_grad():
        block.gate.e_score_correction_bias.copy_(moe.router.bias)
    assert_equal(moe(x), block(x))
    assert not torch.equal(moe.router(x[0]).experts, before)


def test_a_softmax_over_the_best_is_the_softmax_of_all_divided_by_its_sum():
    """Mixtral's order and Qwen3's give the same weights (arXiv:2401.04088, sec. 2.1)."""
    one, other = layer(scores="top_k_softmax", top_k=3), layer(scores="softmax_top_k", top_k=3, normalize=True)
    a, b = one.router(tokens()[0]), other.router(tokens()[0])
    assert torch.equal(a.experts, b.experts)
    torch.testing.assert_close(a.weights, b.weights, rtol=1e-6, atol=1e-7)


@given(st.lists(st.integers(0, FEW + 2), min_size=1, max_size=5), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_the_products_of_groups_are_those_of_linear_with_their_gradients(counts, seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = (sum(counts), 3), (len(counts), 2, 3), (sum(counts), 2)
    rows, matrices, slope = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    found = []
    for function in (
        products, lambda r, m, c: torch.cat([nn.functional.linear(x, y) for x, y in zip(r.split(c), m, strict=True)])
    ):  # fmt: skip
        r, m = rows.clone().requires_grad_(), matrices.clone().requires_grad_()
        y = function(r, m, counts)
        y.backward(slope)
        found.append((y.detach(), r.grad, m.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_single_expert_is_the_dense_part():
    moe, dense = layer(n_experts=1, top_k=1), SwiGLU(CONFIG)
    with torch.no_grad():
        for name in ("gate", "up", "down"):
            getattr(dense, name).weight.copy_(getattr(moe, name)[0])
    torch.testing.assert_close(moe(tokens()), dense(tokens()))


def test_equal_experts_with_weights_that_sum_to_one_are_the_dense_part():
    moe, dense = layer(top_k=3), SwiGLU(CONFIG)
    with torch.no_grad():
        for name in ("gate", "up", "down"):
            getattr(moe, name).copy_(getattr(moe, name)[:1].clone())
            getattr(dense, name).weight.copy_(getattr(moe, name)[0])
    torch.testing.assert_close(moe(tokens()), dense(tokens()), rtol=1e-5, atol=1e-6)


# What a router must do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("one expert",)])
def test_the_router_gets_the_gradient_of_finite_differences(kind):
    """Away from the points where the choice changes; there the layer jumps."""
    moe, x = layer(torch.float64, **KINDS[kind]), tokens(5, dtype=torch.float64)
    gradient = gradients(moe, moe, x)["router.weight"]
    weights = torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)
    before, eps, checked = moe.router(x[0]).experts, 1e-6, 0
    for row, column in [(e, c) for e in range(len(moe.router.weight)) for c in (0, 7, 15)]:
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                moe.router.weight[row, column] += sign * eps
                assert torch.equal(moe.router(x[0]).experts, before)
                values.append((moe(x) * weights).sum().item())
                moe.router.weight[row, column] -= sign * eps
        slope = (values[0] - values[1]) / (2 * eps)
        assert gradient[row, column].item() == pytest.approx(slope, rel=1e-5, abs=1e-7)
        checked += 1
    assert checked == 3 * len(moe.router.weight)
    assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_no_gradient_is_none_also_of_experts_that_nobody_chose(kind):
    moe = layer(**KINDS[kind])
    moe(tokens(1)).sum().backward()
    assert [name for name, p in moe.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@given(
    st.integers(1, 40), st.integers(1, 9), st.integers(1, 4), st.integers(0, 3),
    st.one_of(st.none(), st.floats(0.05, 3)), st.integers(0, 10**6),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_every_token_is_accounted_for(n, n_experts, top_k, n_no_op, capacity_factor, seed):
    top_k = min(top_k, n_experts)
    moe = layer(
        seed=seed, n_experts=n_experts, top_k=top_k, n_no_op=n_no_op, capacity_factor=capacity_factor, scores="sigmoid",
        normalize=False,
    )  # fmt: skip
    routing_of = moe.router(tokens(n, seed)[0])
    experts, kept = routing_of.experts, routing_of.kept
    assert experts.shape == kept.shape == (n, top_k)
    assert int(kept.sum()) + int((~kept).sum()) == n * top_k
    assert all(len(set(row)) == top_k for row in experts.tolist())
    per_expert = torch.bincount(experts[kept], minlength=n_experts + n_no_op)
    capacity = moe.router.capacity(n)
    if capacity is None:
        assert kept.all()
    else:
        assert capacity == math.ceil(capacity_factor * n * top_k / (n_experts + n_no_op))
        wanted = torch.bincount(experts.flatten(), minlength=n_experts + n_no_op)
        wanted[:n_experts] = wanted[:n_experts].clamp(max=capacity)  # a full expert is full, no-ops never are
        assert torch.equal(per_expert, wanted)
    torch.testing.assert_close(moe(tokens(n, seed)), token_by_token(moe, tokens(n, seed)), rtol=1e-5, atol=1e-6)


def test_the_last_tokens_are_dropped_and_keep_the_shared_expert_only():
    moe = layer(n_experts=2, top_k=1, capacity_factor=0.5, n_shared=1)
    with torch.no_grad():
        moe.router.bias.copy_(torch.tensor([9.0, 0.0]))  # all want expert 0, which takes 0.5 * 8 / 2 = 2
    x = tokens(8)
    assert moe.router(x[0]).kept.flatten().tolist() == [True] * 2 + [False] * 6
    torch.testing.assert_close(moe(x)[:, 2:], moe.shared(x)[:, 2:])
    assert not torch.allclose(moe(x)[:, :2], moe.shared(x)[:, :2])


def test_drops_never_depend_on_later_tokens_of_the_text():
    moe, x = layer(capacity_factor=0.6), tokens(24)
    other = x.clone()
    other[:, 12:] = tokens(24, seed=5)[:, 12:]
    assert torch.equal(moe.router(x[0]).kept[:12], moe.router(other[0]).kept[:12])
    assert not moe.router(x[0]).kept[:12].all()


def test_the_bias_changes_the_choice_and_no_weight():
    for kind in ("softmax_top_k", "top_k_softmax", "sigmoid"):
        moe = layer(scores=kind, normalize=True)
        moe.router.bias.zero_()
        free = moe.router(tokens(30)[0])
        moe.router.bias.copy_(torch.linspace(-0.2, 0.2, 8))
        pushed = moe.router(tokens(30)[0])
        assert torch.equal(free.scores, pushed.scores)
        assert not torch.equal(free.experts, pushed.experts)
        chosen = free.scores.gather(1, pushed.experts)  # the scores as they are without a bias
        torch.testing.assert_close(pushed.weights, chosen / chosen.sum(1, keepdim=True))


def test_a_no_op_adds_nothing_and_takes_its_share_of_the_weight():
    moe, x = layer(n_experts=4, n_no_op=2, top_k=2), tokens(30)
    found = moe.router(x[0])
    idle = (found.experts >= 4).all(1)
    assert 0 < idle.sum() < 30
    assert torch.equal(moe(x)[0, idle], torch.zeros(int(idle.sum()), CONFIG.d_model))
    assert moe(x)[0, ~idle].abs().amin(1).gt(0).all()
    torch.testing.assert_close(found.weights.sum(1), torch.ones(30))


def test_only_the_chosen_experts_are_multiplied():
    """NaN in an expert that no token chose must not show: it is not computed and masked away afterwards."""
    moe, x = layer(n_experts=8, top_k=1), tokens(3)
    clean = moe(x).sum()
    chosen = set(moe.router(x[0]).experts.flatten().tolist())
    with torch.no_grad():
        for e in set(range(8)) - chosen:
            for part in (moe.gate, moe.up, moe.down):
                part[e] = math.nan
    assert len(chosen) < 8
    assert moe(x).sum() == clean
    with torch.no_grad():
        assert moe(x).isfinite().all()
    moe(x).sum().backward()
    assert moe.router.weight.grad.isfinite().all()
    assert moe.gate.grad.isfinite().all()


# Balance --------------------------------------------------------------------------------------------------------------


def collapsed(n_layers=4, n=32):
    """Every layer sends all of its tokens to one expert of its own."""
    scores = [torch.eye(n_layers)[i].expand(n, n_layers) for i in range(n_layers)]
    return scores, [torch.full((n, 1), i) for i in range(n_layers)]


def test_the_loss_sees_a_collapse_in_each_layer_and_pooled_over_layers_it_does_not():
    """transformers pools the layers: there the collapse looks as good as perfect balance."""
    scores, experts = collapsed()
    assert [load_balancing_loss(*one).item() for one in zip(scores, experts, strict=True)] == [4.0] * 4
    assert load_balancing_loss(torch.cat(scores), torch.cat(experts)).item() == 1.0
    logits = tuple((one - 0.5) * 200 for one in scores)
    assert load_balancing_loss_func(logits, 4, top_k=1).item() == pytest.approx(1.0)
    uniform = torch.full((32, 4), 0.25), torch.arange(32)[:, None] % 4
    assert load_balancing_loss(*uniform).item() == 1.0


@pytest.mark.parametrize("top_k", [1, 3])
def test_the_loss_of_one_layer_is_that_of_transformers_over_k(top_k):
    logits = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    scores = logits.softmax(-1)
    ours = load_balancing_loss(scores, scores.topk(top_k).indices)
    torch.testing.assert_close(ours, load_balancing_loss_func((logits,), 6, top_k=top_k) / top_k)


def test_the_losses_have_the_values_that_a_hand_gives():
    """f = (3/4, 1/4), P = (0.65, 0.35): 2 (0.4875 + 0.0875) = 1.15. The square of log(1 + e) is 1.7247."""
    scores = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.2, 0.8]])
    assert load_balancing_loss(scores, torch.tensor([[0], [0], [0], [1]])).item() == pytest.approx(1.15)
    assert load_balancing_loss(5 * scores, torch.tensor([[0], [0], [0], [1]])).item() == pytest.approx(1.15)
    assert z_loss(torch.tensor([[0.0, 1.0]])).item() == pytest.approx(math.log(1 + math.e) ** 2)


def test_the_gradient_of_the_loss_takes_score_from_the_busy_expert():
    logits = torch.zeros(8, 4, requires_grad=True)
    load_balancing_loss(logits.softmax(-1), torch.zeros(8, 1, dtype=torch.int64)).backward()
    assert (logits.grad[:, 0] > 0).all()
    assert (logits.grad[:, 1:] < 0).all()


def test_the_training_loss_adds_both_losses_of_every_layer():
    net, batch = model(n_experts=4, top_k=2), (ids(), ids(seed=1))
    with recorded(net) as found:
        plain = next_token_loss(net, *batch)
    assert [number for number, _ in found] == [0, 1]
    expected = plain
    for _, one in found:
        expected = expected + 0.5 * load_balancing_loss(one.scores, one.experts) + 0.25 * z_loss(one.logits)
    total = balanced_loss(0.5, 0.25)(net, *batch)
    torch.testing.assert_close(total, expected)
    total.backward()
    assert all(p.grad is not None for p in net.parameters())
    torch.testing.assert_close(balanced_loss(0, 0)(net, *batch), plain)


def skewed(net, bias=1.0):
    """Every router begins with a taste for the first expert."""
    with torch.no_grad():
        for _, part in moe_layers(net):
            part.router.bias[0] = bias
    return net


STREAM = torch.arange(4000) * 7 % 20
RECIPE = TrainingConfig(steps=40, batch_size=4, context_length=16, learning_rate=1e-2)


def test_a_balancing_loss_spreads_the_work_and_training_without_it_does_not():
    """Top-1 of 4 experts on a text of period 20; the choice prefers the first expert by a little."""
    busiest = {}
    for alpha in (0.0, 0.1):
        net = skewed(model(n_experts=4, top_k=1), 0.3)
        assert (balance(net, STREAM[:320].view(20, 16))["max_over_mean"] == 4).all()
        fit(net, STREAM, RECIPE, loss_fn=balanced_loss(alpha, 0), progress=False)
        busiest[alpha] = balance(net, STREAM[:320].view(20, 16))["max_over_mean"].mean()
        assert evaluate(net, STREAM, 16, n_windows=8) < 1.5  # it learned the text (log 20 = 3.0 at random)
    assert busiest[0.1] < 2.4 < 3.2 < busiest[0.0]


def test_the_bias_balances_without_a_loss():
    """Every layer wants one expert only; the bias moves by 0.05 a step until all four are used."""
    net = skewed(model(n_experts=4, top_k=1, scores="sigmoid"))
    before = balance(net, STREAM[:320].view(20, 16))
    assert (before["max_over_mean"] == 4).all()
    fit(net, STREAM, RECIPE, on_step=lambda row: update_bias(net, 0.05), progress=False)
    assert (balance(net, STREAM[:320].view(20, 16))["max_over_mean"] < 2.5).all()


def test_one_step_of_the_bias_is_the_rate_towards_the_mean():
    net = skewed(model(n_experts=4, top_k=1, scores="sigmoid")).train()
    net(ids())
    update_bias(net, 0.25)
    for _, part in moe_layers(net):
        assert part.router.bias.tolist() == [0.75, 0.25, 0.25, 0.25]
        assert part.router.chosen.sum() == 0
    net.eval()
    net(ids())
    with pytest.raises(ValueError, match="chose no expert in layer 0"):
        update_bias(net)


# Tables ---------------------------------------------------------------------------------------------------------------


def test_the_table_of_the_routing_has_a_row_for_every_choice():
    net, text = model(n_experts=5, top_k=2, n_no_op=1, capacity_factor=0.5), ids(7, 3)
    table = routing(net, text)
    assert list(table.columns) == [
        "sequence", "position", "token", "layer", "rank", "expert", "weight", "dropped", "no_op"
    ]  # fmt: skip
    keys = ["sequence", "position", "layer", "rank"]
    assert len(table) == 3 * 7 * 2 * 2 == len(table.drop_duplicates(keys))
    assert table["token"].to_numpy().tolist() == text[table["sequence"], table["position"]].tolist()
    assert ((table["expert"] >= 5) == table["no_op"]).all()
    assert 0 < table["dropped"].mean() < 1
    with torch.no_grad():
        x = net.blocks[0].feed_forward_norm(
            (e := net.embedding(text)) + net.blocks[0].attention(net.blocks[0].attention_norm(e), net.rotation[:7])
        )
    direct = net.blocks[0].feed_forward.eval().router(x.flatten(0, 1))
    first = table[table["layer"] == 0]
    assert first["expert"].tolist() == direct.experts.flatten().tolist()
    assert first["weight"].to_numpy() == pytest.approx(direct.weights.flatten().detach().numpy())
    assert first["dropped"].tolist() == (~direct.kept).flatten().tolist()


def test_load_and_balance_count_what_the_routing_lists():
    net, text = model(n_experts=5, top_k=2, n_no_op=2, capacity_factor=0.6), ids(10, 3)
    table, counts, even = routing(net, text), load(net, text), balance(net, text)
    assert len(counts) == 2 * 7
    for (number, expert), row in counts.set_index(["layer", "expert"]).iterrows():
        chosen = table[(table["layer"] == number) & (table["expert"] == expert)]
        assert (row["tokens"], row["dropped"]) == (len(chosen), chosen["dropped"].sum())
        assert row["share"] == len(chosen) / 60
        assert row["no_op"] == (expert >= 5)
    for number, row in even.set_index("layer").iterrows():
        tokens_of = counts[(counts["layer"] == number) & ~counts["no_op"]]["tokens"]
        shares = tokens_of[tokens_of > 0] / tokens_of.sum()
        assert row["max_over_mean"] == pytest.approx(tokens_of.max() / tokens_of.mean())
        assert row["entropy"] == pytest.approx(-(shares * shares.map(math.log)).sum() / math.log(5))
        assert row["no_op_share"] == pytest.approx(1 - tokens_of.sum() / 60)
        assert row["dropped_share"] == pytest.approx(table[table["layer"] == number]["dropped"].mean())


def test_tables_leave_the_model_as_it_was():
    net = model(n_experts=4).train()
    before = copy.deepcopy(net.state_dict())
    for function in (routing, load, balance):
        assert isinstance(function(net, ids()), pd.DataFrame)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(part.router.chosen.sum() == 0 for _, part in moe_layers(net))
    assert all(not part.router._forward_hooks for _, part in moe_layers(net))


def test_layers_carry_the_number_of_their_block():
    def mixed(config, *, linear):
        made.append(len(made))
        return MoE(config, linear=linear) if len(made) == 2 else SwiGLU(config, linear=linear)

    made = []
    net = GPT(CONFIG, feed_forward=mixed)
    assert [number for number, _ in moe_layers(net)] == [1]
    assert set(routing(net, ids())["layer"]) == {1}
    assert [number for number, _ in moe_layers(nn.Sequential(MoE(CONFIG), MoE(CONFIG)))] == [0, 1]


def test_a_layer_that_sees_a_part_of_the_tokens_is_counted_and_its_positions_are_not_guessed():
    class Half(nn.Module):
        def __init__(self, config, *, linear):
            super().__init__()
            self.moe = MoE(config, linear=linear, n_experts=4)

        def forward(self, x):
            return torch.cat([self.moe(x[:, ::2]), x[:, 1::2]], dim=1)

    net = GPT(CONFIG, feed_forward=Half)
    with pytest.raises(ValueError, match=r"layer, 0, that sees 10 of 20 tokens: .*load\(model, ids\) counts"):
        routing(net, ids(10))
    assert load(net, ids(10)).groupby("layer")["tokens"].sum().tolist() == [20, 20]


# As a part of the model -----------------------------------------------------------------------------------------------


def test_the_weights_come_from_the_seed_and_are_as_large_as_those_of_linear():
    one, same, other = model(3), model(3), model(4)
    state, again = one.state_dict(), same.state_dict()
    assert all(torch.equal(state[name], again[name]) for name in state)
    experts = torch.cat([p.flatten() for _, part in moe_layers(one) for p in (part.gate, part.up, part.down)])
    assert experts.std().item() == pytest.approx(0.02, rel=0.02)
    assert not torch.equal(one.blocks[0].feed_forward.gate, other.blocks[0].feed_forward.gate)
    assert not torch.equal(one.blocks[0].feed_forward.gate, one.blocks[1].feed_forward.gate)
    state_before = torch.random.get_rng_state()
    model(3)
    assert torch.equal(torch.random.get_rng_state(), state_before)


def test_cached_writing_equals_reading_the_whole_text():
    net, text = model(n_experts=6, top_k=2, n_shared=1).eval(), ids(12, 2)
    cache = net.new_cache(2)
    with torch.no_grad():
        steps = torch.cat([net(text[:, i : i + 1], cache=cache) for i in range(12)], dim=1)
        torch.testing.assert_close(steps, net(text), rtol=1e-5, atol=1e-6)
    assert torch.equal(net.generate(text, 5, temperature=0), net.generate(text, 5, temperature=0, use_cache=False))


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_saved_weights_compute_the_same(kind):
    moe, x = layer(**KINDS[kind]), tokens()
    moe(x).sum().backward()
    update = copy.deepcopy(moe)
    assert torch.equal(update(x), moe(x))
    fresh = MoE(CONFIG, **KINDS[kind])
    fresh.load_state_dict(moe.state_dict())
    assert torch.equal(fresh(x), moe(x))
    assert set(moe.state_dict()) >= {"gate", "up", "down", "router.weight", "router.bias"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("n", [1, 11])
def test_every_dtype_comes_out_as_it_went_in(dtype, n):
    moe, x = layer(n_shared=1), tokens(n)
    low = copy.deepcopy(moe).to(dtype)
    out = low(x.to(dtype))
    assert out.dtype == dtype
    assert low.router(x[0].to(dtype)).logits.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(out.float(), moe(x), rtol=0.1, atol=0.1)
    with torch.no_grad():  # where a single token takes a path of its own
        silent = low(x.to(dtype))
    assert silent.dtype == dtype
    torch.testing.assert_close(silent, out, rtol=0.02, atol=0.02)


def test_autocast_computes_in_the_short_dtype():
    moe, x = layer(), tokens()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = moe(x)
        one = moe(x[:, :1])
        with torch.no_grad():
            torch.testing.assert_close(moe(x[:, :1]), one, rtol=0.02, atol=0.02)
    torch.testing.assert_close(out.float(), moe(x), rtol=0.1, atol=0.1)
    torch.testing.assert_close(one.float(), moe(x[:, :1]), rtol=0.1, atol=0.1)


def test_frozen_experts_let_the_gradient_through():
    moe, x = layer(), tokens().requires_grad_()
    moe.requires_grad_(False)
    moe(x).sum().backward()
    assert x.grad.abs().sum() > 0


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"top_k": 9}, "top_k=9: give a whole number at least 1 and at most 8; a token cannot choose more"),
        ({"top_k": 0}, "top_k=0"),
        ({"n_experts": 0}, "n_experts=0"),
        ({"d_expert": 0}, "d_expert=0"),
        ({"d_shared": -1}, "d_shared=-1"),
        ({"n_shared": -1}, "n_shared=-1"),
        ({"n_no_op": -1}, "n_no_op=-1"),
        ({"scores": "softmax"}, "scores"),
        ({"top_k": 1, "normalize": True}, "top_k=1 with normalize=True.*gets no gradient"),
        ({"top_k": 1, "scores": "top_k_softmax"}, "top_k=1 .*gets no gradient"),
        ({"scores": "top_k_softmax", "normalize": False}, "normalize=False: a softmax over the chosen"),
        ({"capacity_factor": 0}, "capacity_factor=0: .*above 0"),
        ({"capacity_factor": math.nan}, "capacity_factor=nan"),
        ({"capacity_factor": math.inf}, "capacity_factor=inf"),
        ({"scale": 0}, "scale=0"),
        ({"n_groups": 3}, "n_groups=3: give a divisor of n_experts=8"),
        ({"n_groups": 8}, "n_groups=8: give a divisor of n_experts=8 that leaves 2 or more"),
        ({"n_groups": 2, "n_no_op": 2}, "n_groups=2: .*n_no_op=0"),
        ({"n_groups": 4, "top_groups": 1, "top_k": 3}, "top_groups=1: .*at least 2 and at most 4.*top_k=3 choices"),
        ({"n_groups": 4, "top_groups": 5}, "top_groups=5"),
    ],
)  # fmt: skip
def test_sizes_that_do_not_fit_are_named(kind, message):
    with pytest.raises(ValueError, match=message):
        MoE(CONFIG, **kind)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ({"n_experts": 4.0}, "n_experts=4.0 is float"),
        ({"n_experts": True}, "n_experts=True is bool"),
        ({"top_k": "2"}, "top_k='2' is str"),
        ({"normalize": 1}, "normalize=1 is int"),
        ({"capacity_factor": "1"}, "capacity_factor='1' is str"),
        ({"scores": 3}, "scores=3 is int"),
        ({"linear": 3}, "linear=3 is int"),
    ],
)
def test_arguments_of_another_type_are_named(kind, message):
    with pytest.raises(TypeError, match=message):
        MoE(CONFIG, **kind)
    with pytest.raises(TypeError, match=r"config="):
        MoE(3)


def test_tokens_of_another_width_and_no_tokens_are_refused():
    moe = layer()
    with pytest.raises(ValueError, match=r"x has the shape \(1, 3, 8\): give \(B, S, d_model\) with d_model=16"):
        moe(torch.ones(1, 3, 8))
    with pytest.raises(ValueError, match=r"\(1, 0, 16\): .*at least one token"):
        moe(torch.ones(1, 0, 16))
    with pytest.raises(TypeError, match=r"x is torch\.int64"):
        moe(torch.ones(1, 3, 16, dtype=torch.int64))
    with pytest.raises(TypeError, match="x is list"):
        token_by_token(moe, [1.0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: routing(GPT(CONFIG), ids()), ValueError, "model=GPT has no MoE: make it"),
        (lambda: routing(3, ids()), TypeError, "model=3 is int"),
        (lambda: routing(model(), ids().float()), TypeError, "ids is torch.float32"),
        (lambda: load(model(), ids()[0]), ValueError, r"ids has the shape \(9,\): give \(B, S\)"),
        (lambda: balance(model(), ids() - 30), ValueError, "ids holds -"),
        (lambda: load_balancing_loss(torch.ones(2, 2), torch.ones(2, 1)), TypeError, "experts is torch.float32"),
        (lambda: load_balancing_loss(torch.ones(2, 2), torch.full((2, 1), 2)), ValueError, r"experts holds .* 0 to 1"),
        (lambda: load_balancing_loss(-torch.ones(2, 2), torch.zeros(2, 1).long()), ValueError, "scores holds -1"),
        (lambda: load_balancing_loss(torch.ones(2, 2), torch.zeros(3, 1).long()), ValueError, r"give \(2, k\)"),
        (lambda: z_loss(torch.full((2, 2), math.nan)), ValueError, "logits holds NaN or infinity"),
        (lambda: z_loss(torch.ones(0, 2)), ValueError, r"logits has the shape \(0, 2\)"),
        (lambda: balanced_loss(-1), ValueError, "alpha=-1"),
        (lambda: balanced_loss(z=math.nan), ValueError, "z=nan"),
        (lambda: balanced_loss()(GPT(CONFIG), ids(), ids()), ValueError, "model=GPT has no MoE"),
        (lambda: update_bias(model(), 0), ValueError, "rate=0"),
        (lambda: update_bias(model(), "1"), TypeError, "rate='1' is str"),
        (lambda: layer(capacity_factor=1.0).router.capacity(0), ValueError, "n_tokens=0"),
    ],
)
def test_other_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
