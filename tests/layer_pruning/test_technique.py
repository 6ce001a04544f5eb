"""Chapter 6: distances against a naive loop over transformers' own states, choices by hand, healing on a tiny model."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab import layer_pruning as lp
from tests.core.model.test_decoder import FAMILIES, IDS


@pytest.fixture(params=["llama", "qwen2", "mistral", "phi", "phi3"], scope="module")
def model(request):
    torch.manual_seed(0)
    return FAMILIES[request.param]().eval()


def naive_states(model, ids):
    """Inputs of every layer as transformers reports them; the raw output of the last layer by calling it ourselves."""
    states, raw = [], {}
    hook = model.model.layers[-1].register_forward_hook(
        lambda m, a, o: raw.update(x=o[0] if isinstance(o, tuple) else o)
    )
    with torch.no_grad():
        states = list(model(ids, output_hidden_states=True, use_cache=False).hidden_states[:-1])
    hook.remove()
    return [*states, raw["x"]]


def naive_distance(a, b):
    """arccos(cos)/pi in plain Python, one pair of vectors at a time."""
    out = []
    for u, v in zip(a.double().tolist(), b.double().tolist(), strict=True):
        dot = sum(x * y for x, y in zip(u, v, strict=True))
        cos = dot / math.sqrt(sum(x * x for x in u)) / math.sqrt(sum(x * x for x in v))
        out.append(math.acos(max(-1.0, min(1.0, cos))) / math.pi)
    return sum(out) / len(out)


@pytest.mark.parametrize("tokens", ["last", "all"])
def test_every_distance_equals_the_naive_loop(model, tokens):
    distances = lp.block_distances(model, IDS, tokens=tokens)
    states = [s[:, -1] if tokens == "last" else s.flatten(0, 1) for s in naive_states(model, IDS)]
    assert distances.shape == (6, 7)
    for start in range(6):
        for n in range(7):
            if start + n > 6:
                assert math.isnan(distances[start, n])
            elif n == 0:
                assert distances[start, n] == 0
            else:
                assert distances[start, n].item() == pytest.approx(
                    naive_distance(states[start], states[start + n]), abs=1e-6
                )


def test_every_row_passes_the_model_exactly_once(model):
    calls, hooks = (
        [],
        lambda: [(len(layer._forward_pre_hooks), len(layer._forward_hooks)) for layer in model.model.layers],
    )
    before = hooks()  # transformers may keep some of its own
    hook = model.model.register_forward_hook(lambda *a: calls.append(1))
    lp.block_distances(model, IDS)
    hook.remove()
    assert len(calls) == len(IDS)
    assert hooks() == before, "a hook was left behind"


@pytest.mark.parametrize("tokens", ["last", "all"])
def test_padding_changes_nothing(model, tokens):
    """One row shorter than the other: the same as the two rows alone, each token counted once."""
    mask = torch.ones_like(IDS)
    mask[1, 7:] = 0
    padded = lp.block_distances(model, IDS, tokens=tokens, attention_mask=mask)
    one, two = (lp.block_distances(model, row, tokens=tokens) for row in (IDS[:1], IDS[1:, :7]))
    weights = (0.5, 0.5) if tokens == "last" else (12 / 19, 7 / 19)
    torch.testing.assert_close(padded, one * weights[0] + two * weights[1], equal_nan=True, rtol=1e-9, atol=1e-12)


def test_padding_changes_no_influence(model):
    """The same text padded to another length, on either side: each token counts once, padding never."""
    short, lengths = IDS[:, :7], (12, 7)
    bare = lp.block_influence(model, short)
    for side in ("right", "left"):
        padding, ones = torch.zeros(2, 20, dtype=torch.long), torch.ones(2, 7, dtype=torch.long)
        parts = [(short, padding), (ones, padding)] if side == "right" else [(padding, short), (padding, ones)]
        ids, mask = (torch.cat(pair, dim=1) for pair in parts)
        torch.testing.assert_close(lp.block_influence(model, ids, attention_mask=mask), bare, rtol=1e-9, atol=1e-12)
        assert not torch.allclose(lp.block_influence(model, ids), bare, atol=1e-4), (
            "padding should matter without a mask"
        )
    mask = torch.ones_like(IDS)
    mask[1, 7:] = 0
    one, two = (lp.block_influence(model, row) for row in (IDS[:1], IDS[1:, :7]))
    expected = (one * lengths[0] + two * lengths[1]) / sum(lengths)
    torch.testing.assert_close(lp.block_influence(model, IDS, attention_mask=mask), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("measure", [lp.block_distances, lp.block_influence])
@pytest.mark.parametrize(
    ("mask", "error", "words"),
    [
        ([[1] * 12] * 2, TypeError, "attention_mask is list"),
        (torch.ones(2, 11), ValueError, r"attention_mask has the shape .2, 11., input_ids .2, 12."),
        (torch.full((2, 12), 2), ValueError, "attention_mask holds other values than 0 .padding. and 1"),
        (torch.tensor([[1] * 12, [0] * 12]), ValueError, "attention_mask is 0 in all of row 1"),
    ],
)
def test_a_mask_that_cannot_be_used_is_refused(measure, mask, error, words):
    with pytest.raises(error, match=words):
        measure(FAMILIES["llama"](), IDS, attention_mask=mask)


def test_a_layer_that_does_nothing_has_distance_zero():
    torch.manual_seed(0)
    model = FAMILIES["llama"]().eval()
    with torch.no_grad():
        model.model.layers[2].self_attn.o_proj.weight.zero_()
        model.model.layers[2].mlp.down_proj.weight.zero_()
        distances = lp.block_distances(model, IDS)
        assert distances[2, 1].item() == pytest.approx(0, abs=1e-7)
        assert lp.best_block(distances, 1) == 2
        assert lp.block_influence(model, IDS).argmin() == 2
        assert torch.equal(lp.drop_layers(model, 2, 1)(IDS).logits, model(IDS).logits)


def test_block_influence_equals_its_definition(model):
    states = [s.flatten(0, 1).double() for s in naive_states(model, IDS)]
    expected = [1 - torch.cosine_similarity(a, b, dim=-1).mean().item() for a, b in pairwise(states)]
    assert lp.block_influence(model, IDS).tolist() == pytest.approx(expected, abs=1e-9)


@given(
    n=st.integers(1, 5),
    seed=st.integers(0, 99),
    method=st.sampled_from(["angular", "block_influence", "deepest", "random"]),
)
@settings(max_examples=60, deadline=None)
def test_each_method_names_n_different_layers_in_order(n, seed, method):
    generator = torch.Generator().manual_seed(seed)
    distances, influence = torch.rand(6, 7, generator=generator), torch.rand(6, generator=generator)
    layers = lp.layers_to_drop(method, n, distances=distances, influence=influence, seed=seed)
    assert len(layers) == n
    assert layers == sorted(set(layers))
    assert 0 <= layers[0] <= layers[-1] <= 5
    if method == "angular":
        assert layers == list(range(layers[0], layers[0] + n))
        assert distances[layers[0], n] == distances[: 7 - n, n].min()
    if method == "deepest":
        assert layers == list(range(5 - n, 5)), "the last layer stays (arXiv:2403.17887, sec. 4.4)"
    if method == "block_influence":
        assert influence[layers].max() <= min((influence[i] for i in range(6) if i not in layers), default=math.inf)


@pytest.mark.parametrize(
    ("start", "n", "words"),
    [
        (0, 6, r"n=6: .*at least 1 and at most 5; the model has 6 layers"),
        (0, 0, r"n=0"),
        (-1, 2, r"start=-1.*at least 0 and at most 4"),
        (5, 2, r"start=5.*at most 4; a block of 2 of 6 layers; best_block"),
    ],
)
def test_a_block_outside_the_model_is_refused(start, n, words):
    with pytest.raises(ValueError, match=words):
        lp.drop_layers(FAMILIES["llama"](), start, n)


@pytest.mark.parametrize("n", [0, 6, 30])
def test_best_block_refuses_an_impossible_n(n):
    with pytest.raises(ValueError, match=rf"n={n}: give a whole number at least 1 and at most 5"):
        lp.best_block(torch.zeros(6, 7), n)


def test_an_empty_text_and_an_unknown_choice_are_refused():
    model = FAMILIES["llama"]()
    with pytest.raises(ValueError, match=r"shape \(1, 0\).*empty text"):
        lp.block_distances(model, torch.zeros(1, 0, dtype=torch.long))
    with pytest.raises(ValueError, match="no tokens 'first'; "):
        lp.block_distances(model, IDS, tokens="first")
    with pytest.raises(ValueError, match="input_ids holds ids from 3 to 61: give ids from 0 to 60"):
        lp.block_influence(model, torch.tensor([[3, 61]]))
    with pytest.raises(ValueError, match="no method 'best'; close to it: deepest"):
        lp.layers_to_drop("best", 1, distances=torch.zeros(6, 7))
    with pytest.raises(TypeError, match="influence is NoneType: method='block_influence' needs block_influence"):
        lp.layers_to_drop("block_influence", 1, distances=torch.zeros(6, 7))


NAN = torch.full((6, 7), math.nan)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: lp.best_block(NAN, 1), ValueError, r"distances\[0, 1\] is nan: give the table"),
        (lambda: lp.best_block(torch.zeros(6, 6), 1), ValueError, r"distances has the shape .6, 6.: give .L, L . 1."),
        (lambda: lp.best_block([[0.0]], 1), TypeError, "distances is list"),
        (lambda: lp.best_block(torch.zeros(6, 7), 2.0), TypeError, r"n=2\.0 is float"),
        (lambda: lp.best_block(torch.zeros(6, 7), True), TypeError, "n=True is bool"),
        (lambda: lp.layers_to_drop("random", 2, distances=NAN, seed=-1), ValueError, "seed=-1"),
        (
            lambda: lp.layers_to_drop("block_influence", 2, distances=NAN, influence=torch.tensor([0.5])),
            ValueError,
            r"influence has the shape .1,.: give 6 finite values",
        ),
        (lambda: lp.layers_to_drop("block_influence", 2, distances=NAN, influence=NAN[0, :6]), ValueError, "influence"),
        (lambda: lp.drop_layers(FAMILIES["llama"](), 1.0, 2), TypeError, r"start=1\.0 is float"),
    ],
)
def test_tables_and_numbers_that_cannot_be_used_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.fixture(scope="module")
def trained():
    """A tiny Llama that has learned to repeat a cycle: cutting a layer costs something, and healing can return it."""
    torch.manual_seed(0)
    model = FAMILIES["llama"](num_hidden_layers=4)
    ids = (torch.arange(24)[None] * 7 + torch.arange(8)[:, None]) % 50 + 3
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(120):
        loss = model(ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval(), ids


@pytest.mark.parametrize("with_teacher", [False, True])
def test_healing_lowers_the_loss_and_leaves_the_pruned_model_alone(trained, with_teacher):
    model, ids = trained
    pruned = lp.drop_layers(model, 1, 2)
    before = {k: v.clone() for k, v in pruned.state_dict().items()}
    config = lp.HealConfig(steps=40, batch_size=4, rank=4, learning_rate=5e-3)
    healed = lp.heal(pruned, ids, config, teacher=model if with_teacher else None, region="FR")
    with torch.no_grad():
        cut, repaired = (float(m(ids, labels=ids).loss) for m in (pruned, healed.model))
    assert len(healed.losses) == 40
    assert repaired < 0.7 * cut
    assert all(torch.equal(v, before[k]) for k, v in pruned.state_dict().items())
    merged = {k: v.shape for k, v in healed.model.state_dict().items()}
    assert merged == {k: v.shape for k, v in before.items()}, "adapters not merged"
    assert (healed.receipt.label, healed.receipt.region) == ("healing", "FR")
    assert healed.receipt.energy_j > 0


def test_healing_depends_on_its_seed_and_leaves_the_global_random_state_alone(trained):
    model, ids = trained
    pruned, config = lp.drop_layers(model, 1, 1), lp.HealConfig(steps=3, batch_size=2, rank=2)
    torch.manual_seed(1)
    one = lp.heal(pruned, ids, config, teacher=model).model
    torch.manual_seed(2)
    state = torch.get_rng_state()
    two = lp.heal(pruned, ids, config, teacher=model).model
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    other = lp.heal(pruned, ids, lp.HealConfig(steps=3, batch_size=2, rank=2, seed=1), teacher=model).model
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_a_model_that_is_its_own_teacher_starts_at_loss_zero(trained):
    model, ids = trained
    healed = lp.heal(model, ids, lp.HealConfig(steps=1, batch_size=8, rank=2), teacher=model)
    assert healed.losses[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("with_teacher", [False, True])
def test_the_first_loss_is_the_one_written_out(trained, with_teacher):
    """Adapters start at zero, so the first batch sees the pruned model; all windows are in it."""
    model, ids = trained
    pruned = lp.drop_layers(model, 1, 2)
    healed = lp.heal(pruned, ids, lp.HealConfig(steps=1, batch_size=8, rank=2), teacher=model if with_teacher else None)
    with torch.no_grad():
        log_q, log_p = (m(ids).logits[:, :-1].log_softmax(-1) for m in (pruned, model))
    kl = (log_p.exp() * (log_p - log_q)).sum(-1).mean()
    cross_entropy = -log_q.gather(-1, ids[:, 1:, None]).mean()
    assert healed.losses[0] == pytest.approx(float(kl if with_teacher else cross_entropy), rel=1e-5)


def test_every_window_is_drawn_once_before_any_comes_again(trained):
    from greenlab.layer_pruning.heal import _shuffled_windows

    _, ids = trained
    stream = _shuffled_windows(ids, lp.HealConfig(batch_size=3, seed=4))
    drawn = torch.cat([torch.cat([x, y[:, -1:]], dim=1) for x, y in (next(stream) for _ in range(8))])  # 24 = 3 rounds
    for rows in drawn.split(8):
        assert sorted(rows.tolist()) == sorted(ids.tolist())
    assert not torch.equal(drawn[:8], drawn[8:16])


def test_a_healing_that_is_stopped_or_fails_leaves_models_and_random_state_as_they_were(trained, monkeypatch):
    model, ids = trained
    pruned = lp.drop_layers(model, 1, 2).train()
    before = {k: v.clone() for k, v in pruned.state_dict().items()}
    state = torch.get_rng_state()

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("torch.nn.functional.kl_div", stop)
    with pytest.raises(KeyboardInterrupt):
        lp.heal(pruned, ids, lp.HealConfig(steps=2, batch_size=2, rank=2), teacher=model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in pruned.state_dict().items())
    assert (pruned.training, model.training) == (True, False)


def test_a_loss_that_is_not_finite_is_named(trained):
    model, ids = trained
    broken = lp.drop_layers(model, 1, 2)
    broken.model.norm.weight = torch.nn.Parameter(torch.full_like(broken.model.norm.weight, math.nan))
    with pytest.raises(ValueError, match=r"model gave a loss of nan .*at step 1"):
        lp.heal(broken, ids, lp.HealConfig(steps=2, batch_size=2, rank=2), teacher=model)


def test_what_cannot_be_healed_with_is_refused(trained):
    model, ids = trained
    with pytest.raises(ValueError, match="vocabulary of 70 tokens, the model 61"):
        lp.heal(model, ids, teacher=FAMILIES["llama"](vocab_size=70))
    with pytest.raises(ValueError, match=r"input_ids has shape \(8, 1\): give windows of 2 tokens"):
        lp.heal(model, ids[:, :1])
    with pytest.raises(TypeError, match="config is dict: give a HealConfig"):
        lp.heal(model, ids, {"steps": 3})


@pytest.mark.parametrize("field", ["steps", "batch_size", "rank", "learning_rate"])
def test_heal_settings_must_be_positive(field):
    with pytest.raises(ValueError, match=f"{field}=0"):
        lp.HealConfig(**{field: 0})


@pytest.mark.parametrize(("field", "value"), [("steps", 1.5), ("rank", True), ("learning_rate", "1"), ("seed", "x")])
def test_heal_settings_are_numbers(field, value):
    with pytest.raises(TypeError, match=f"{field}="):
        lp.HealConfig(**{field: value})
