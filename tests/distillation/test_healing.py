"""Chapter 4's healing steps on a tiny Llama: the cache against transformers' states, the closed form against NumPy."""

import dataclasses
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from greenlab.core import studies
from greenlab.core.model.decoder import decoder_layers, keep_layers
from greenlab.distillation.study import healing as h
from greenlab.layer_pruning import drop_layers
from greenlab.layer_pruning import study as pruning

V, FIRST, START, DROPPED = 40, 1, 3, 2


def small(**settings) -> h.HealingConfig:
    return h.HealingConfig(**{"frozen_layers": FIRST, "k": 5, "steps": 12, "batch_size": 2, "window": 8} | settings)


@pytest.fixture(scope="module")
def model():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=V, hidden_size=16, intermediate_size=24, num_hidden_layers=7, num_attention_heads=2,
        num_key_value_heads=1, max_position_embeddings=32, tie_word_embeddings=True,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = LlamaForCausalLM(config).eval()
        for parameter in made.parameters():  # so large that every layer matters
            parameter.data.mul_(4 if parameter.ndim == 2 else 1)
    return made


BFLOAT16 = h.bfloat16


@pytest.fixture(autouse=True)
def exact(monkeypatch):
    """Matrix products in float32, so that the references can be met."""
    monkeypatch.setattr(h, "bfloat16", nullcontext)


def ids(n: int = 40, s: int = 8) -> Tensor:
    return torch.randint(V, (n, s), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def answers(model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(h, "bfloat16", nullcontext)
        return h.ask(model, ids(), torch.arange(40), first=FIRST, others={START + DROPPED}, k=5)


def test_the_cache_holds_the_states_and_the_likeliest_tokens_of_transformers(model, answers):
    with torch.no_grad():
        out = model(ids(), output_hidden_states=True)
    torch.testing.assert_close(answers.states, out.hidden_states[FIRST].half(), rtol=1e-3, atol=1e-3)
    target = answers.targets[START + DROPPED]
    torch.testing.assert_close(target, out.hidden_states[START + DROPPED].half(), rtol=1e-3, atol=1e-3)
    best = out.logits[:, :-1].log_softmax(-1).topk(5)
    torch.testing.assert_close(answers.top.log_probabilities, best.values.half(), rtol=1e-3, atol=1e-3)
    assert torch.equal(answers.top.token_ids.long(), best.indices)


def test_states_beyond_float16_are_refused(model):
    big = keep_layers(model, range(7))
    big.set_input_embeddings(torch.nn.Embedding.from_pretrained(model.get_input_embeddings().weight * 1e6))
    with pytest.raises(ValueError, match="65504"):
        h.ask(big, ids(2), torch.arange(2), first=0, others=set(), k=2)


@pytest.mark.parametrize("ridge", [1e-3, 0.1, 1.0])
def test_the_refitted_matrix_is_the_ridge_regression_of_numpy(model, answers, ridge):
    pruned, errors = h.bridge(model, answers, start=START, n=DROPPED, first=FIRST, ridge=ridge)
    inner = []
    layer = decoder_layers(model)[START - 1]
    hook = layer.mlp.down_proj.register_forward_pre_hook(lambda _, args: inner.append(args[0].detach()))
    part = keep_layers(model, range(FIRST, 7))
    with torch.no_grad():
        states = part(inputs_embeds=answers.states.float(), output_hidden_states=True).hidden_states
        model(ids())
    hook.remove()
    target = answers.targets[START + DROPPED].double()[:, 1:]
    weight = 1 / target.norm(dim=-1, keepdim=True)
    a = (inner[0].double()[:, 1:] * weight).flatten(0, 1).numpy()
    missing = ((target - states[START - FIRST].double()[:, 1:]) * weight).flatten(0, 1).numpy()
    penalty = np.sqrt(ridge * np.square(a).sum(0).mean()) * np.eye(a.shape[1])
    expected = np.linalg.lstsq(np.vstack([a, penalty]), np.vstack([missing, 0 * penalty[:, :16]]), rcond=None)[0]
    old, new = (decoder_layers(m)[START - 1].mlp.down_proj.weight.detach().double() for m in (model, pruned))
    np.testing.assert_allclose((new - old).T.numpy(), expected, rtol=0.02, atol=0.02 * np.abs(expected).max())
    assert errors["error_before"] == pytest.approx(np.square(missing).sum() / len(a), rel=1e-2)
    assert errors["error_after"] == pytest.approx(np.square(missing - a @ expected).sum() / len(a), rel=1e-2)
    assert errors["error_after"] < errors["error_before"]


def test_the_refit_changes_one_matrix_of_a_new_model_and_adds_nothing(model, answers):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pruned, _ = h.bridge(model, answers, start=START, n=DROPPED, first=FIRST, ridge=0.1)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    plain = drop_layers(model, START, DROPPED).state_dict()
    changed = [key for key, value in pruned.state_dict().items() if not torch.equal(value, plain[key])]
    assert changed == [f"model.layers.{START - 1}.mlp.down_proj.weight"]
    assert {k: v.shape for k, v in pruned.state_dict().items()} == {k: v.shape for k, v in plain.items()}


def test_layers_that_do_nothing_need_no_refit(model):
    idle = drop_layers(model, 6, 1)  # a new model; its blocks share memory with the other, so they get new tensors
    for layer in decoder_layers(idle)[START : START + DROPPED]:
        for part in (layer.self_attn.o_proj, layer.mlp.down_proj):
            part.weight = torch.nn.Parameter(torch.zeros_like(part.weight))
    given = h.ask(idle, ids(), torch.arange(40), first=FIRST, others={START + DROPPED}, k=V)
    pruned, errors = h.bridge(idle, given, start=START, n=DROPPED, first=FIRST, ridge=0.1)
    assert errors["error_before"] < 1e-6  # the states are kept in float16
    healed, training = h.train_rest(pruned, given, small(steps=1, learning_rate=1e-9), "teacher")
    assert training.history["loss"][0] < 1e-4
    with torch.no_grad():
        torch.testing.assert_close(healed(ids()).logits, idle(ids()).logits, rtol=0.01, atol=0.01)


def test_the_layer_before_the_cut_must_not_be_frozen(model, answers):
    with pytest.raises(ValueError, match="frozen_layers < 1"):
        h.bridge(model, answers, start=FIRST, n=1, first=FIRST, ridge=0.1)


@pytest.mark.parametrize("loss", ["teacher", "cross-entropy"])
def test_training_starts_at_the_loss_of_the_whole_pruned_model_and_lowers_it(model, answers, loss):
    pruned = drop_layers(model, START, DROPPED)
    before = {key: value.clone() for key, value in pruned.state_dict().items()}
    config = small(steps=60, batch_size=8, learning_rate=3e-3)
    healed, training = h.train_rest(pruned, answers, config, loss)
    numbers, windows = next(h._numbers(answers, config))
    with torch.no_grad():
        logits = pruned(windows).logits[:, :-1]
    if loss == "teacher":
        expected = float(h.top_k_loss(logits, answers.top[numbers]))
    else:
        expected = float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten()))
    losses = training.history["loss"]
    assert losses[0] == pytest.approx(expected, rel=2e-3)
    assert losses[55:].mean() < 0.95 * losses[:5].mean()
    assert all(torch.equal(before[key], value) for key, value in pruned.state_dict().items())
    moved = {key for key, value in healed.state_dict().items() if not torch.equal(value, before[key])}
    rest = {key for key in before if "layers." in key and int(key.split(".")[2]) >= FIRST}
    assert moved == rest | {"model.norm.weight"}
    assert all(value.shape == before[key].shape for key, value in healed.state_dict().items())


def test_the_healed_model_computes_what_was_trained(model, answers):
    """The loss of the whole healed model on the text is that of the trained part on the kept states."""
    pruned = drop_layers(model, START, DROPPED)
    healed, _ = h.train_rest(pruned, answers, small(steps=20, learning_rate=3e-3), "teacher")
    with torch.no_grad():
        whole = h.top_k_loss(healed(ids()).logits[:, :-1], answers.top)
        part = keep_layers(healed, range(FIRST, 5))
        tail = h.top_k_loss(part(inputs_embeds=answers.states.float()).logits[:, :-1], answers.top)
    assert float(whole) == pytest.approx(float(tail), rel=2e-3)


def test_a_loss_that_is_not_known_is_refused(model, answers):
    with pytest.raises(ValueError, match="cross-entropy"):
        h.train_rest(drop_layers(model, START, DROPPED), answers, small(), "mse")


def test_the_whole_pool_comes_once_before_any_of_it_comes_again(answers):
    few = dataclasses.replace(answers, pool=torch.tensor([0, 1, 2, 3, 4, 5, 5, 5, 8]))
    stream = h._numbers(few, small(batch_size=2))
    drawn = [next(stream) for _ in range(9)]
    numbers = torch.cat([chosen for chosen, _ in drawn]).tolist()
    assert sorted(numbers[:9]) == sorted(numbers[9:]) == few.pool.tolist()
    assert numbers[:9] != numbers[9:]
    assert all(torch.equal(rows, ids()[chosen]) for chosen, rows in drawn)


class Characters:
    """A tokenizer with a token for each of forty kinds of characters."""

    def __call__(self, text):
        return type("Encoded", (), {"input_ids": [ord(c) % V for c in text]})()


def test_the_windows_are_the_written_texts_and_the_calibration_text_as_often_as_wanted():
    written, continued = [[1] * 20, [2] * 9], [[3] * 8]
    (once, pool), (same_windows, thrice) = (
        h.healing_windows(Characters(), written, continued, small(calibration_repeats=n)) for n in (1, 3)
    )
    assert once[:4].tolist() == [[1] * 8, [1] * 8, [1] * 4 + [2] * 4, [3] * 8]
    assert torch.equal(once, same_windows)
    assert len(once) > 100
    assert pool.tolist() == list(range(len(once)))
    assert thrice.tolist() == [0, 1, 2, 3] + list(range(4, len(once))) * 3
    human, _ = h.healing_windows(Characters(), [], [], small(calibration_repeats=1))
    assert torch.equal(human, once[4:])


def test_the_model_goes_on_after_different_places_of_the_calibration_text(model):
    material = pruning.Material(model, Characters(), ids(4), pd.DataFrame(), torch.ones(7, 8), torch.ones(7))
    config = small(texts=6, prompt_tokens=5)
    text = Characters()(h.scoring.held_out_text("calibration")).input_ids
    places = {tuple(text[i : i + 5]) for i in range(len(text) - 4)}
    first, second = (h.go_on(material, config, batch) for batch in (0, 1))
    assert [len(row) for row in first] == [8] * 6
    assert {tuple(row[:5]) for row in first + second} <= places
    assert first != second
    assert first == h.go_on(material, config, 0)
    assert all(p.dtype == torch.float32 for p in model.parameters())


@pytest.fixture
def study(model, tmp_path, monkeypatch):
    """The steps of a study on the tiny model, whose scores are those of a text of random tokens."""
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    distances = torch.full((7, 8), 0.5)
    distances[START, DROPPED] = 0.1
    material = pruning.Material(model, Characters(), ids(4), pd.DataFrame(), distances, torch.ones(7))

    def score(_, scored):
        with torch.no_grad():
            return {"loss": float(scored(ids(4), labels=ids(4)).loss), "accuracy": 0.5, "n_items": 4, "wrong": []}

    monkeypatch.setattr(pruning, "prepare", lambda _: material)
    monkeypatch.setattr(pruning, "score", score)
    monkeypatch.setattr(pruning, "continuations", lambda *_: ["a"])
    monkeypatch.setattr(h, "write", lambda *_: ids(20).tolist())
    monkeypatch.setattr(h, "go_on", lambda *_: ids(3).tolist())
    monkeypatch.setattr(h, "KEPT", (1, 5, V))
    runs = ((DROPPED, "none", True), (DROPPED, "teacher", True), (DROPPED, "cross-entropy", False))
    config = small(runs=runs, text_batches=1, continued_batches=1, calibration_repeats=1, steps=2)
    return lambda: h.healing(studies.Steps("distillation", config), config)


def test_the_steps_give_tidy_tables_and_go_on_where_they_were(study, tmp_path, monkeypatch):
    tables = study()
    table = tables["healing"]
    assert table["healing"].tolist() == ["none", "none", "teacher", "cross-entropy"]
    assert table["refitted"].tolist() == [False, True, True, False]
    assert table["steps"].tolist() == [0, 0, 2, 2]
    assert table["recovered"][0] == 0
    lost = table["cut_loss"] - table["full_loss"]
    assert table["recovered"].tolist() == pytest.approx(((table["cut_loss"] - table["loss"]) / lost).tolist())
    assert len(tables["healing_history"]) == 4
    untouched = tables["healing_control"].iloc[0]
    assert (untouched["healing"], untouched["steps"]) == ("cross-entropy", 2)
    assert untouched["full_loss"] == table["full_loss"][0] != untouched["loss"]
    assert tables["kept_tokens"]["loss"].is_monotonic_increasing
    assert tables["kept_tokens"]["loss"].iloc[-1] == pytest.approx(tables["kept_tokens"]["full_loss"].iloc[-1])
    assert set(tables["step_times"]["step"]) == {"live teacher", "answers cached", "answers and states cached"}
    monkeypatch.setattr(h, "ask", None)  # a second run asks nobody
    for name, again in study().items():
        pd.testing.assert_frame_equal(again, tables[name], obj=name)


def test_bfloat16_products_give_nearly_the_same(study, monkeypatch):
    expected = study()
    monkeypatch.setattr(h, "bfloat16", BFLOAT16)
    monkeypatch.setattr(studies, "ROOT", studies.ROOT / "bfloat16")
    found = study()
    assert found["healing"]["loss"].tolist() == pytest.approx(expected["healing"]["loss"].tolist(), rel=0.02)
    losses = [tables["healing_history"]["train_loss"].tolist() for tables in (found, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert set(found["step_times"]["step"]) == set(expected["step_times"]["step"])


def test_a_lost_cache_is_made_again(study, tmp_path):
    study()
    (path,) = tmp_path.rglob("healing_answers.pt")
    path.unlink()
    study()
    assert path.exists()
