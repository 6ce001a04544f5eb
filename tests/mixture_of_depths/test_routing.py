"""Training of what decides token by token, and the table of what was chosen."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.model.training import TrainingConfig, evaluate, fit, next_token_loss
from greenlab.mixture_of_depths import mod_blocks, mod_layers, mod_loss, n_selected, routing_mode, selection
from tests.mixture_of_depths.models import SIZES, VOCAB, ids, spread

X, Y = ids(3, 40), ids(3, 40, seed=2)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def streams(model, x):
    """What reaches each skipping layer, by hooks on the layers before."""
    found, hooks = {}, []
    for i in mod_layers(model):
        hooks.append(model.blocks[i - 1].register_forward_hook(lambda *a, i=i: found.update({i: a[2]})))
    model(x)
    for hook in hooks:
        hook.remove()
    return found


def cross_entropy(logits, selected):
    chance = logits.sigmoid()
    return -torch.where(selected, chance.log(), (1 - chance).log()).mean()


@pytest.mark.parametrize(("decider", "weight"), [("predictor", 0.7), ("router", 0.3)])
def test_the_loss_adds_the_mean_cross_entropy_of_the_layers_deciders(decider, weight):
    model, terms = spread(decider=decider).double(), []
    for i, x in streams(model, X).items():
        mod = mod_layers(model)[i]
        scores = F.linear(x, mod.router.weight, mod.router.bias).squeeze(-1)
        order = scores.argsort(dim=1, descending=True)[:, : n_selected(0.25, 40)]
        selected = torch.zeros(3, 40, dtype=torch.bool).scatter(1, order, True)
        terms.append(cross_entropy(scores if decider == "router" else mod.predictor(x).squeeze(-1), selected))
    assert len(terms) == 2
    loss_fn = mod_loss(predictor_weight=0.7, aux_weight=0.3)
    expected = next_token_loss(model, X, Y) + weight * sum(terms) / 2
    torch.testing.assert_close(loss_fn(model, X, Y), expected, atol=1e-10, rtol=1e-10)


def test_the_predictors_loss_reaches_the_predictors_and_nothing_else():
    model = spread()
    plain = gradients(model, next_token_loss(model, X, Y))
    both = gradients(model, mod_loss()(model, X, Y))
    predictors = [name for name in both if ".predictor." in name]
    assert len(predictors) == 2 * 5
    for name, gradient in both.items():
        if name in predictors:
            assert plain[name] is None
            assert gradient.abs().max() > 0, name
        else:
            assert torch.equal(gradient, plain[name]), name


def test_the_routers_own_loss_changes_the_model_too():
    model = spread(decider="router")
    plain = gradients(model, next_token_loss(model, X, Y))
    both = gradients(model, mod_loss(aux_weight=1.0)(model, X, Y))
    for name in ("blocks.1.router.weight", "blocks.1.router.bias", "blocks.0.attention.query.weight"):
        assert (both[name] - plain[name]).abs().max() > 1e-4, name


def test_with_weights_of_zero_it_is_the_next_token_loss_and_no_hook_stays():
    model = spread()
    loss_fn = mod_loss(predictor_weight=0, aux_weight=0)
    assert torch.equal(loss_fn(model, X, Y), next_token_loss(model, X, Y))
    with pytest.raises(ValueError, match="input_ids holds ids"):
        loss_fn(model, X + VOCAB, Y)
    assert all(not mod._forward_pre_hooks for mod in mod_layers(model).values())


@pytest.fixture(scope="module")
def trained():
    """A model that has learnt a language of two kinds of words, long and short, and its text."""
    generator = np.random.default_rng(0)
    words = [[1, 2, 3, 4, 5, 0], [6, 7, 0], [8, 9, 10, 11, 0]]
    text = torch.tensor(np.concatenate([words[i] for i in generator.integers(0, 3, 4000)]))
    model = GPT(GPTConfig(vocab_size=12, context_length=64, n_layers=2, d_model=32, n_heads=2, d_ff=64),
                block=mod_blocks(0.25))  # fmt: skip
    config = TrainingConfig(steps=200, batch_size=8, context_length=64)
    result = fit(model, text, config, loss_fn=mod_loss(), progress=False)
    return model, text, result


def test_the_predictor_learns_who_is_among_the_top(trained):
    model, text, _ = trained
    frame = selection(model, text[: 32 * 64].view(32, 64))
    agree = (frame["selected"] == frame["predicted"]).mean()
    assert frame["selected"].mean() == 0.25
    assert agree > 0.93  # nobody enters: 0.75
    assert frame.loc[frame["selected"], "predicted"].mean() > 0.8


def test_the_model_learns_and_loses_little_when_each_token_decides(trained):
    model, text, result = trained
    whole = evaluate(model, text, 64, n_windows=32)
    with routing_mode(model, "causal"):
        causal = evaluate(model, text, 64, n_windows=32)
    assert whole < 0.45 < 2 < result.history["loss"].iloc[0]  # log(3) a word of 4.7 tokens is 0.24 a token
    assert abs(causal - whole) < 0.02


def test_the_router_learns_to_sort_the_tokens_from_the_gradient_of_its_weight(trained):
    """A router without a gradient would stay where it started."""
    model, _, _ = trained
    start = GPT(model.config, block=mod_blocks(0.25)).blocks[1].router.weight
    assert (model.blocks[1].router.weight - start).abs().max() > 0.05


def test_the_same_seed_gives_the_same_weights():
    def train():
        model = spread(seed=3)
        config = TrainingConfig(steps=3, batch_size=2, context_length=16)
        fit(model, ids(1, 200)[0], config, loss_fn=mod_loss(), progress=False)
        return model.state_dict()

    one, two = train(), train()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("decider", ["predictor", "router"])
@pytest.mark.parametrize("weighting", ["score", "sigmoid"])
@pytest.mark.parametrize("mode", ["top_k", "causal"])
def test_the_table_says_what_the_layers_did(decider, weighting, mode):
    model, seen = spread(decider=decider, weighting=weighting), {}
    for i, mod in mod_layers(model).items():
        mod.register_forward_hook(lambda _, a, out, i=i: seen.update({i: (a[0], out)}))
    model.train()
    with routing_mode(model, mode):
        frame = selection(model, X)
    assert model.training
    assert list(frame) == ["sequence", "position", "token", "layer", "score", "weight", "selected", "predicted"]
    assert len(frame) == 2 * 3 * 40
    assert not frame.duplicated(["sequence", "position", "layer"]).any()
    assert frame["token"].tolist() == [int(X[i, t]) for i, t in zip(frame["sequence"], frame["position"], strict=True)]
    assert (frame.groupby(["layer", "sequence"])["selected"].sum() == n_selected(0.25, 40)).all()
    for i, (x, out) in seen.items():
        rows = frame[frame["layer"] == i].sort_values(["sequence", "position"])
        entered = (out != x).any(-1).flatten()
        assert torch.equal(entered, torch.tensor(rows["selected" if mode == "top_k" else "predicted"].to_numpy()))
        scores = F.linear(x, mod_layers(model)[i].router.weight, mod_layers(model)[i].router.bias).flatten()
        np.testing.assert_allclose(rows["score"], scores.detach(), rtol=1e-5, atol=1e-6)
        weights = scores.sigmoid() if weighting == "sigmoid" else scores
        np.testing.assert_allclose(rows["weight"], weights.detach(), rtol=1e-5, atol=1e-6)
    if decider == "router":
        pd.testing.assert_series_equal(frame["predicted"], frame["score"] > 0, check_names=False)


def test_the_mode_holds_inside_the_block_only_and_nests():
    model = spread()
    mods = list(mod_layers(model).values())
    mods[1].causal = True
    with routing_mode(model, "causal"):
        with routing_mode(model, "top_k"):
            assert [mod.causal for mod in mods] == [False, False]
        assert [mod.causal for mod in mods] == [True, True]
    assert [mod.causal for mod in mods] == [False, True]
    with pytest.raises(KeyboardInterrupt), routing_mode(model, "top_k"):
        raise KeyboardInterrupt
    assert [mod.causal for mod in mods] == [False, True]


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: mod_layers(GPT(GPTConfig(**SIZES))), ValueError, r"no MoDBlock: make it with GPT\(config, block"),
        (lambda: mod_layers(3), TypeError, "model=3 is int"),
        (lambda: selection(GPT(GPTConfig(**SIZES)), X), ValueError, "model=GPT has no MoDBlock"),
        (lambda: selection(spread(), X[0]), ValueError, r"input_ids has the shape \(40,\)"),
        (lambda: selection(spread(), X.float()), TypeError, "input_ids is torch.float32"),
        (lambda: selection(spread(), X + VOCAB), ValueError, "input_ids holds ids from"),
        (lambda: mod_loss(-1), ValueError, "predictor_weight=-1"),
        (lambda: mod_loss(aux_weight=float("nan")), ValueError, "aux_weight=nan"),
        (lambda: mod_loss("1"), TypeError, "predictor_weight='1'"),
        (lambda: mod_loss()(GPT(GPTConfig(**SIZES)), X, Y), ValueError, "model=GPT has no MoDBlock"),
        (lambda: routing_mode(spread(), "dense").__enter__(), ValueError, "mode 'dense'"),
        (lambda: routing_mode(spread(), None).__enter__(), TypeError, "mode=None"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(call, error, said):
    with pytest.raises(error, match=said):
        call()
