"""Each token decides by itself: prefix causality, ragged batches, the cache, writing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from greenlab.core.model.gpt import GPT, GPTConfig, LayerCache, token_by_token
from greenlab.mixture_of_depths import causal, mod_blocks, mod_layers, routing_mode, selection
from tests.mixture_of_depths.models import SIZES, VOCAB, ids, layer, slow, spread, tokens

DECIDERS = ["predictor", "router"]


def logits(model, x):
    with torch.no_grad(), routing_mode(model, "causal"):
        return model(x)


def shifted(model, bias):
    """Let more (above 0) or fewer tokens enter."""
    with torch.no_grad():
        for mod in mod_layers(model).values():
            (mod.router if mod.predictor is None else mod.predictor[-1]).bias += bias
    return model


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3), st.integers(2, 96), st.data(), st.integers(0, 9), st.sampled_from(DECIDERS),
    st.sampled_from([-2.0, 0.0, 3.0]),
)  # fmt: skip
def test_changing_a_token_leaves_every_earlier_output_as_it_was_to_the_last_bit(b, s, data, seed, decider, bias):
    """Also where another number of tokens enters then, and another number of chunks is computed."""
    model, x = shifted(spread(seed=seed, decider=decider), bias), ids(b, s, seed)
    t = data.draw(st.integers(1, s - 1))
    other = x.clone()
    other[:, t] = (x[:, t] + data.draw(st.integers(1, VOCAB - 1))) % VOCAB
    other[:, t + 1 :] = ids(b, s - t - 1, seed + 100) if t + 1 < s else other[:, t + 1 :]
    before, after = logits(model, x), logits(model, other)
    assert torch.equal(before[:, :t], after[:, :t])
    assert not torch.equal(before[:, t], after[:, t])


@pytest.mark.parametrize("decider", DECIDERS)
def test_the_number_of_chunks_changes_with_a_later_token_and_nothing_earlier_does(decider, monkeypatch):
    monkeypatch.setattr(causal, "CHUNK", 4)
    model, x = spread(decider=decider), ids(1, 60)
    calls = []
    for mod in mod_layers(model).values():
        mod.block.register_forward_pre_hook(lambda _, arguments: calls.append(arguments[0].shape[1]))
    expected, counts = logits(model, x)[:, :30], set()
    for seed in range(12):
        other = torch.cat([x[:, :30], ids(1, 30, seed)], dim=1)
        calls.clear()
        assert torch.equal(logits(model, other)[:, :30], expected)
        counts.add(len(calls))
    assert len(counts) > 1


@pytest.mark.parametrize("decider", DECIDERS)
@pytest.mark.parametrize(("length", "bias"), [(12, 0.0), (24, 0.0), (24, 1.0), (20, -20.0), (20, 20.0)])
def test_values_and_gradients_equal_those_of_a_loop_over_tokens(decider, length, bias, monkeypatch):
    monkeypatch.setattr(causal, "CHUNK", 8)
    mod, rotation = layer(decider=decider)
    (mod.router if mod.predictor is None else mod.predictor[-1]).bias.data += bias
    x = tokens(2, length).requires_grad_()
    scores = nn.functional.linear(x, mod.router.weight, mod.router.bias).squeeze(-1)
    enters = mod.routing(x).logits > 0
    assert (bool(enters.any()), bool(enters.all())) == (bias != -20, bias == 20)
    assert enters.sum(1).max() > 8 or length == 12 or bias < 0
    mod.causal = True
    out, reference = mod(x, rotation[:length]), slow(mod, x, enters, scores)
    torch.testing.assert_close(out, reference, atol=1e-11, rtol=1e-9)
    towards = torch.randn(out.shape, generator=torch.Generator().manual_seed(5)).double()
    inputs = [x, *(p for name, p in mod.named_parameters() if "predictor" not in name)]
    if bias == -20:
        assert torch.equal(out, x)
        return
    found, expected = (torch.autograd.grad((y * towards).sum(), inputs) for y in (out, reference))
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.abs().max() > 1e-3
        torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-8)


@pytest.mark.parametrize("decider", DECIDERS)
def test_texts_of_a_batch_differ_in_how_many_enter_and_do_not_touch_each_other(decider):
    model, x = spread(decider=decider), ids(4, 80)
    with routing_mode(model, "causal"):
        counts = selection(model, x).groupby(["layer", "sequence"])["predicted"].sum().unstack()
    assert (counts.nunique(axis=1) > 1).all()
    assert counts.to_numpy().max() > causal.CHUNK
    alone = torch.cat([logits(model, x[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(logits(model, x), alone, atol=1e-4, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3), st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(0, 9),
    st.sampled_from(DECIDERS),
)  # fmt: skip
def test_with_the_cache_in_any_pieces_the_logits_are_those_of_the_whole_text(b, pieces, seed, decider):
    pieces = pieces[: next((i for i in range(len(pieces)) if sum(pieces[: i + 1]) > 96), len(pieces))]
    model, x = spread(seed=seed, decider=decider).double(), ids(b, sum(pieces), seed)
    cache, parts = model.new_cache(b, x.shape[1]), []
    with torch.no_grad():
        for piece in x.split(pieces, dim=1):
            parts.append(model(piece, cache=cache))
    torch.testing.assert_close(torch.cat(parts, dim=1), logits(model, x), atol=1e-10, rtol=1e-9)
    with routing_mode(model, "causal"):
        entered = selection(model, x).groupby(["layer", "sequence"])["predicted"].sum()
    for i, held in enumerate(cache.layers):
        expected = entered[i].tolist() if i in mod_layers(model) else [x.shape[1]] * b
        assert held.lengths == expected


def test_a_layers_cache_holds_the_keys_of_its_own_tokens_at_their_positions():
    model, x = spread(), ids(1, 50)
    cache, seen = model.new_cache(), []
    model.blocks[1].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    with torch.no_grad():
        for token in x.split(1, dim=1):
            model(token, cache=cache)
        mod, held = mod_layers(model)[1], cache.layers[1]
        stream = torch.cat(seen, dim=1)
        inside = (mod.routing(stream).logits > 0)[0]
        assert 0 < held.length == int(inside.sum()) < 50
        whole = LayerCache(1, 2, 50, 4)  # what attention over all tokens would hold
        mod.block.attention(mod.block.attention_norm(stream), model.rotation[:50], whole)
        torch.testing.assert_close(held.keys[:, :, : held.length], whole.keys[:, :, inside], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(held.values[:, :, : held.length], whole.values[:, :, inside], atol=1e-5, rtol=1e-5)


def test_a_token_that_passes_by_is_not_computed():
    model, x = shifted(spread(), -20.0), ids(2, 20)
    calls = []
    for mod in mod_layers(model).values():
        mod.block.register_forward_pre_hook(lambda *_: calls.append(1))
        mod.router.register_forward_pre_hook(lambda *_: calls.append(1))
    model.generate(x, 10)
    assert calls == []
    rows = []
    model = spread()
    for mod in mod_layers(model).values():
        mod.block.register_forward_pre_hook(lambda _, arguments: rows.append(tuple(arguments[0].shape[:2])))
    cache = model.new_cache(3)
    with torch.no_grad():
        for token in ids(3, 30).split(1, dim=1):
            model(token, cache=cache)
    assert set(rows) == {(1, 1)}
    assert len(rows) == sum(sum(cache.layers[i].lengths) for i in mod_layers(model))


@pytest.mark.parametrize("decider", DECIDERS)
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("temperature", [0, 1.0])
def test_the_same_text_is_written_with_and_without_the_cache(decider, batch, temperature):
    model, x = spread(decider=decider).double(), ids(batch, 20)
    cached = model.generate(x, 40, temperature=temperature)
    assert torch.equal(cached, model.generate(x, 40, temperature=temperature, use_cache=False))
    likeliest = logits(model, cached[:, :-1])[:, 19:].argmax(-1)
    assert torch.equal(likeliest, cached[:, 20:]) == (temperature == 0)


def test_writing_leaves_the_mode_as_it_was():
    model, x = spread(), ids(1, 20)
    with torch.no_grad():
        before = model(x)
        model.generate(x, 3)
        assert torch.equal(model(x), before)
        with token_by_token(model):
            assert all(mod.causal for mod in mod_layers(model).values())
        with pytest.raises(ValueError, match="input_ids holds ids"):
            model.generate(x + VOCAB, 3)
        assert torch.equal(model(x), before)
        assert not torch.equal(logits(model, x), before)
    whole = GPT(GPTConfig(**SIZES))
    with token_by_token(whole):
        assert torch.equal(whole(x), whole(x))
    with pytest.raises(TypeError, match="model='gpt' is str"), token_by_token("gpt"):
        pass


@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_flow_through_the_cache(batch):
    model, x = spread().double(), ids(batch, 24)
    towards = torch.randn(batch, 24, VOCAB, generator=torch.Generator().manual_seed(5)).double()
    names = [name for name, _ in model.named_parameters() if "predictor" not in name]

    def gradients(out):
        (out * towards).sum().backward()
        found = {name: p.grad for name, p in model.named_parameters() if name in names}
        model.zero_grad()
        return found

    cache = model.new_cache(batch)
    found = gradients(torch.cat([model(piece, cache=cache) for piece in x.split(5, dim=1)], dim=1))
    with routing_mode(model, "causal"):
        expected = gradients(model(x))
    for name in names:
        assert expected[name].abs().max() > 0, name
        torch.testing.assert_close(found[name], expected[name], atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_pass_that_fails_leaves_every_sequence_of_the_cache_as_it_was(error):
    model, x = spread().double(), ids(3, 40)
    cache = model.new_cache(3)

    def fail(*_):
        raise error

    with torch.no_grad():
        hook = model.blocks[3].register_forward_hook(fail)
        with pytest.raises(error):  # the first pass of all
            model(x[:, :20], cache=cache)
        hook.remove()
        assert [layer.lengths for layer in cache.layers] == [[0] * 3] * 4
        first = model(x[:, :20], cache=cache)
        before = [layer.lengths for layer in cache.layers]
        hook = model.blocks[3].register_forward_hook(fail)
        with pytest.raises(error):
            model(x[:, 20:], cache=cache)
        hook.remove()
        assert [layer.lengths for layer in cache.layers] == before
        second = model(x[:, 20:], cache=cache)
    torch.testing.assert_close(torch.cat([first, second], 1), logits(model, x), atol=1e-10, rtol=1e-9)


def test_a_cache_is_emptied_and_filled_again_but_not_cut():
    model, x = spread(), ids(2, 30)
    cache = model.new_cache(2)
    with torch.no_grad():
        first = model(x, cache=cache)
        with pytest.raises(ValueError, match=r"length=3: the layers hold .*give 0, or fill a new cache"):
            cache.truncate(3)
        cache.truncate(0)
        assert [layer.lengths for layer in cache.layers] == [[0, 0]] * 4
        assert torch.equal(model(x, cache=cache), first)
        cache.truncate(0)
        whole = GPT(model.config).eval()  # a model that lets nobody pass can use it too
        torch.testing.assert_close(whole(x, cache=cache), whole(x), atol=1e-5, rtol=1e-5)


def test_a_cache_of_sequences_that_fill_by_themselves():
    cache = LayerCache(2, 1, 8, 4)
    one, two = cache.sequences()
    assert cache.sequences() == [one, two]
    keys = torch.randn(1, 1, 3, 4)
    one.append(keys, -keys)
    two.append(keys[:, :, :1], keys[:, :, :1])
    assert (cache.lengths, cache.length) == ([3, 1], 3)
    assert torch.equal(cache.keys[0, :, :3], keys[0])
    assert torch.equal(cache.values[0, :, :3], -keys[0])
    assert torch.equal(cache.keys[1, :, 0], keys[0, :, 0])
    with pytest.raises(ValueError, match=r"holds \[3, 1\] tokens of its sequences: append to those of sequences"):
        cache.append(torch.ones(2, 1, 1, 4), torch.ones(2, 1, 1, 4))
    with pytest.raises(ValueError, match="6 tokens after 3 cached ones, the cache has room for 8"):
        one.append(torch.ones(1, 1, 6, 4), torch.ones(1, 1, 6, 4))
    cache.length = 2
    assert cache.lengths == [2, 2]
    cache.length = 0
    cache.append(torch.ones(2, 1, 1, 4), torch.ones(2, 1, 1, 4))
    assert cache.lengths == [1, 1]
    filled = [part.length for part in cache.sequences()]  # what was held before belongs to each
    assert filled == [1, 1]
    alone = LayerCache(1, 1, 8, 4)
    assert alone.sequences() == [alone]


def test_the_same_decision_may_take_all_tokens_of_a_full_cache():
    """The last chunk never reaches beyond the room that is left."""
    model, x = shifted(spread(), 20.0), ids(2, 40)
    cache = model.new_cache(2, 40)
    with torch.no_grad():
        parts = torch.cat([model(x[:, :3], cache=cache), model(x[:, 3:], cache=cache)], dim=1)
    assert [held.lengths for held in cache.layers] == [[40, 40]] * 4
    torch.testing.assert_close(parts, logits(model, x), atol=1e-4, rtol=1e-4)


def test_a_model_whose_layers_all_skip():
    model = GPT(GPTConfig(**SIZES), block=mod_blocks(0.5, every=1))
    assert list(mod_layers(model)) == [0, 1, 2, 3]
    assert model.generate(ids(2, 5), 5, temperature=0).shape == (2, 10)
