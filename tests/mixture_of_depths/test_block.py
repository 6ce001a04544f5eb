"""The layer itself: who enters, what it computes, where gradients go."""

import copy
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from greenlab.core.model.gpt import GPT, Block, GPTConfig
from greenlab.mixture_of_depths import MoDBlock, mod_blocks, mod_layers, n_selected, selection
from greenlab.mixture_of_depths.block import top_k
from greenlab.mixture_of_experts import MoE
from tests.mixture_of_depths.models import SIZES, ids, layer, slow, spread, tokens


class Unit(MoDBlock):
    """Every weight is 1."""

    def weights(self, scores):
        return torch.ones_like(scores)


def rows_entering(mod):
    """How many rows the wrapped block computes, filled at each call."""
    rows = []
    mod.block.register_forward_pre_hook(lambda _, arguments: rows.append(tuple(arguments[0].shape[:2])))
    return rows


@given(st.integers(1, 400), st.floats(0.001, 1.0))
def test_the_number_that_enters_is_the_share_rounded_down_and_at_least_one(n_tokens, capacity):
    k = n_selected(capacity, n_tokens)
    assert 1 <= k <= n_tokens
    assert k == 1 or k <= capacity * n_tokens + 1e-6
    assert k + 1 > capacity * n_tokens


def test_a_share_that_is_a_whole_number_of_tokens_is_that_number():
    """Floating point makes 0.29 * 100 and others a little less than they are."""
    wrong = [(n, k) for n in range(1, 200) for k in range(1, n + 1) if n_selected(k / n, n) != k]
    assert not wrong
    assert [n_selected(hundredths / 100, 100) for hundredths in range(1, 101)] == list(range(1, 101))


@given(st.integers(1, 3), st.integers(1, 40), st.floats(0.02, 1.0), st.integers(0, 3))
def test_exactly_the_highest_scores_enter_in_the_order_of_the_text_also_where_they_are_equal(b, s, capacity, levels):
    """``levels`` 0 makes all scores equal: a comparison with the k-th score would let all or none of them enter."""
    scores = torch.randint(0, levels + 1, (b, s), generator=torch.Generator().manual_seed(s)).float()
    chosen = top_k(scores, capacity)
    assert chosen.shape == (b, n_selected(capacity, s))
    assert (chosen.diff(dim=1) > 0).all()
    entered = torch.zeros(b, s, dtype=torch.bool).scatter(1, chosen, True)
    for row, inside in zip(scores, entered, strict=True):
        outside = row[~inside]
        assert outside.numel() == 0 or outside.max() <= row[inside].min()


@pytest.mark.parametrize("capacity", [0.125, 0.3, 0.5, 1.0])
def test_the_block_computes_the_chosen_tokens_and_no_others(capacity):
    mod, rotation = layer(capacity)
    x, rows = tokens(3, 64), rows_entering(mod)
    out = mod(x, rotation[:64])
    k = n_selected(capacity, 64)
    assert rows == [(3, k)]
    changed = (out != x).any(-1)
    assert torch.equal(changed, mod.routing(x).selected)
    assert changed.sum(1).tolist() == [k] * 3


@pytest.mark.parametrize("capacity", [0.2, 0.4, 1.0])
@pytest.mark.parametrize("weighting", ["score", "sigmoid"])
def test_values_and_gradients_equal_those_of_a_loop_over_tokens(capacity, weighting):
    mod, rotation = layer(capacity, weighting=weighting)
    x = tokens(2, 10).requires_grad_()
    scores = x @ mod.router.weight[0]
    weights = scores.sigmoid() if weighting == "sigmoid" else scores
    order = scores.argsort(dim=1, descending=True)[:, : n_selected(capacity, 10)]
    enters = torch.zeros(2, 10, dtype=torch.bool).scatter(1, order, True)
    out, reference = mod(x, rotation[:10]), slow(mod, x, enters, weights)
    torch.testing.assert_close(out, reference, atol=1e-12, rtol=1e-10)
    towards = torch.randn(out.shape, generator=torch.Generator().manual_seed(5)).double()
    names = ["x", *(name for name, _ in mod.named_parameters() if "predictor" not in name)]
    inputs = [x, *(p for name, p in mod.named_parameters() if "predictor" not in name)]
    assert len(names) == 1 + 1 + 4 + 3 + 2
    found, expected = (torch.autograd.grad((y * towards).sum(), inputs) for y in (out, reference))
    for name, ours, theirs in zip(names, found, expected, strict=True):
        assert ours.abs().max() > 1e-3, name
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-9, msg=lambda text, name=name: f"{name}: {text}")


def test_at_capacity_one_with_weights_of_one_it_is_the_block_to_the_last_bit():
    mod, rotation = layer(1.0)
    unit, x = Unit(mod.block, SIZES["d_model"], 1.0).double(), tokens(2, 20)
    assert torch.equal(unit(x, rotation[:20]), mod.block(x, rotation[:20]))
    assert not torch.allclose(mod(x, rotation[:20]), mod.block(x, rotation[:20]))


def test_tokens_keep_their_positions():
    """Attention depends on distances: the same tokens at the positions 0, 1, 2, ... would give something else."""
    mod, rotation = layer(0.5)
    x = tokens(1, 16)
    chosen = top_k(mod.router(x).squeeze(-1), 0.5)[0]
    assert chosen.tolist() != list(range(8))
    entering, weight = x[:, chosen], mod.router(x[:, chosen])
    renumbered = entering + weight * (mod.block(entering, rotation[:8]) - entering)
    right = entering + weight * (mod.block(entering, rotation[chosen]) - entering)
    out = mod(x, rotation[:16])[:, chosen]
    torch.testing.assert_close(out, right)
    assert (out - renumbered).abs().max() > 1e-3


@pytest.mark.parametrize("weighting", ["score", "sigmoid"])
@pytest.mark.parametrize("capacity", [0.125, 0.5])
def test_the_router_gets_the_gradient_that_finite_differences_show(capacity, weighting):
    mod, rotation = layer(capacity, weighting=weighting)
    x, step = tokens(2, 16), 1e-6
    towards = torch.randn(x.shape, generator=torch.Generator().manual_seed(5)).double()

    def loss():
        return (mod(x, rotation[:16]) * towards).sum()

    loss().backward()
    gradient, weight = mod.router.weight.grad, mod.router.weight.data
    assert gradient is not None
    assert (gradient != 0).all()
    chosen, slopes = mod.routing(x).selected, []
    for i in range(weight.shape[1]):
        ends = []
        for sign in (1, -1):
            weight[0, i] += sign * step
            assert torch.equal(mod.routing(x).selected, chosen)  # the slope is that of one choice
            ends.append(loss().item())
            weight[0, i] -= sign * step
        slopes.append((ends[0] - ends[1]) / (2 * step))
    torch.testing.assert_close(gradient[0], torch.tensor(slopes).double(), atol=1e-6, rtol=1e-6)


def test_a_text_whose_past_changes_when_its_future_does():
    """A top-k over the text is not causal: a higher score later on takes an earlier token's place."""
    model, x = spread(), ids(1, 40)
    other = x.clone()
    other[:, 30:] = ids(1, 10, seed=3)
    with torch.no_grad():
        before, after = model(x)[:, :30], model(other)[:, :30]
    assert (before != after).any()
    whole = GPT(GPTConfig(**SIZES))
    with torch.no_grad():
        assert torch.equal(whole(x)[:, :30], whole(other)[:, :30])


@pytest.mark.parametrize(("every", "skipping"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3]), (3, [2]), (5, [4]), (6, [])])
def test_every_nth_block_skips(every, skipping):
    model = GPT(GPTConfig(**SIZES | {"n_layers": 5}), block=mod_blocks(0.5, every))
    kinds = [type(block) for block in model.blocks]
    assert [i for i, kind in enumerate(kinds) if kind is MoDBlock] == skipping
    assert {kind for i, kind in enumerate(kinds) if i not in skipping} <= {Block}
    assert [block.block.layer for block in model.blocks if isinstance(block, MoDBlock)] == skipping


def test_parts_handed_in_reach_the_wrapped_blocks():
    class Halved(Block):
        def forward(self, x, rotation, cache=None):
            return super().forward(x, rotation, cache) / 2

    class Marked(nn.Linear):
        pass

    model = GPT(GPTConfig(**SIZES), block=mod_blocks(block=Halved), linear=Marked)
    assert all(isinstance(mod.block, Halved) for mod in mod_layers(model).values())
    assert sum(isinstance(module, Marked) for module in model.modules()) == 4 * 7


def test_first_weights_come_from_the_seed():
    config = GPTConfig(**SIZES)
    one, same, other = (GPT(config, seed=seed, block=mod_blocks()).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["blocks.1.router.weight"], other["blocks.1.router.weight"])


@pytest.mark.parametrize("decider", ["predictor", "router"])
def test_copies_and_saved_weights_give_the_same(decider):
    model, x = spread(decider=decider), ids(2, 20)
    out = model(x)
    out.sum().backward()  # a copy must be possible after a pass with gradients
    again, copied = spread(seed=9, decider=decider), copy.deepcopy(model)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(x), out)
    assert torch.equal(copied(x), out)
    assert ("blocks.1.predictor.1.weight" in model.state_dict()) == (decider == "predictor")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype):
    model, x = spread().to(dtype), ids(2, 20)
    with torch.no_grad():
        out = model(x)
        cached = model(x, cache=model.new_cache(2))
        written = model.generate(x, 5, temperature=0)
    assert out.dtype == cached.dtype == dtype
    assert torch.isfinite(out).all()
    assert written.shape == (2, 25)


def test_autocast_trains_in_bfloat16():
    model, x = spread(), ids(2, 20)
    with torch.autocast("cpu", torch.bfloat16):
        out = model(x)
    out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert mod_layers(model)[1].router.weight.grad.abs().sum() > 0
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert model.generate(x, 3, temperature=0).shape == (2, 23)


def test_one_token_enters_alone():
    model = spread(0.125)
    frame = selection(model, ids(2, 1))
    assert frame["selected"].all()
    assert len(frame) == 2 * 2


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: mod_blocks(0), "capacity=0: give a finite number above 0 and at most 1"),
        (lambda: mod_blocks(1.01), "capacity=1.01: .*at most 1"),
        (lambda: mod_blocks(-0.5), "capacity=-0.5"),
        (lambda: mod_blocks(float("nan")), "capacity=nan"),
        (lambda: mod_blocks(0.5, 0), "every=0: give a whole number at least 1"),
        (lambda: mod_blocks(decider="both"), "no decider 'both'; known: predictor, router"),
        (lambda: mod_blocks(weighting="none"), "no weighting 'none'; known: score, sigmoid"),
        (lambda: MoDBlock(nn.Identity(), 0), "d_model=0"),
        (lambda: MoDBlock(nn.Identity(), 4, 2.0), "capacity=2.0"),
        (lambda: n_selected(0.5, 0), "n_tokens=0"),
        (lambda: layer()[0](torch.ones(1, 4, 8).double(), layer()[1][:4]), r"x has the shape \(1, 4, 8\): .*16"),
        (lambda: layer()[0](torch.ones(0, 4, 16), layer()[1][:4]), r"x has the shape \(0, 4, 16\): .*not empty"),
        (lambda: layer()[0].routing(torch.ones(4, 16).double()), r"x has the shape \(4, 16\)"),
        (lambda: spread()(torch.ones(0, 4, dtype=torch.long)), r"input_ids has the shape \(0, 4\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: mod_blocks("0.5"), "capacity='0.5' is str"),
        (lambda: mod_blocks(True), "capacity=True is bool"),
        (lambda: mod_blocks(0.5, 2.0), "every=2.0 is float"),
        (lambda: mod_blocks(block=3), "block=3 is int"),
        (lambda: layer()[0]([[1.0]], None), "x is list: give a tensor of floats"),
        (lambda: layer()[0].routing(torch.ones(1, 4, 16, dtype=torch.long)), "x is torch.int64"),
        (lambda: MoDBlock(len, 4), "block=<built-in function len>"),
    ],
)
def test_what_has_the_wrong_type_is_refused_by_name(make, said):
    with pytest.raises(TypeError, match=said):
        make()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 24), st.floats(0.05, 1.0), st.integers(0, 99))
def test_any_text_and_any_share_equal_the_loop(b, s, capacity, seed):
    mod, rotation = layer(capacity, seed=seed)
    x = tokens(b, s, seed)
    with torch.no_grad():
        routing = mod.routing(x)
        expected = slow(mod, x, routing.selected, routing.scores)
        torch.testing.assert_close(mod(x, rotation[:s]), expected, atol=1e-12, rtol=1e-9)


def test_experts_that_drop_tokens_are_refused():
    """Tokens of weight 0 fill the last chunk where each token decides: they would take the places of others."""
    config = GPTConfig(**SIZES)
    dropping, dropless = (partial(MoE, n_experts=2, top_k=2, capacity_factor=factor) for factor in (1.0, None))
    with pytest.raises(ValueError, match="block holds experts with a capacity_factor"):
        GPT(config, block=mod_blocks(), feed_forward=dropping)
    assert mod_layers(GPT(config, block=mod_blocks(), feed_forward=dropless))
