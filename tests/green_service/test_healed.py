"""The healed model: its corrections merge into plain weights, come back from the file alike, and score as committed."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from greenlab.core import assets, studies
from greenlab.core.model import scoring
from greenlab.core.model.decoder import decoder_layers
from greenlab.green_service import study
from greenlab.green_service.study import healed
from greenlab.layer_pruning import drop_layers
from greenlab.layer_pruning import study as pruning
from tests.retrieval import tiny


@pytest.fixture(scope="module")
def tables():
    return study.load()


@pytest.fixture(scope="module")
def smollm2():
    return assets.load_smollm2()


def corrections(rank=2):
    """Thin matrices for every matrix of the one layer that is left of the tiny model, and a change of one."""
    generator = torch.Generator().manual_seed(0)
    found = {}
    for name, module in decoder_layers(tiny.llm()[0])[0].named_modules():
        if isinstance(module, nn.Linear):
            found[f"layers.0.{name}.up"] = torch.randn(module.out_features, rank, generator=generator)
            found[f"layers.0.{name}.down"] = torch.randn(rank, module.in_features, generator=generator)
    found["layers.0.mlp.down_proj.change"] = torch.randn(16, 32, generator=generator)
    return found


NOTE = {"start": "1", "n_removed": "1"}


def test_merging_adds_each_correction_to_its_matrix_and_to_nothing_else(tmp_path):
    model, tokenizer = tiny.llm()
    ids = torch.tensor([tokenizer("joules").input_ids])
    found, path = corrections(), tmp_path / "x.safetensors"
    save_file(found, path, metadata=NOTE)
    with torch.no_grad():
        before, merged = model(ids).logits, healed.merge(model, path)
        assert torch.equal(model(ids).logits, before)
    cut = drop_layers(model, 1, 1)
    changed = {f"model.{key.rpartition('.')[0]}.weight" for key in found}
    for (name, old), new in zip(cut.state_dict().items(), merged.state_dict().values(), strict=True):
        key = name.removeprefix("model.").removesuffix(".weight")
        wanted = old
        if name in changed:
            wanted = old + found[f"{key}.up"] @ found[f"{key}.down"] + found.get(f"{key}.change", 0)
        torch.testing.assert_close(new, wanted, msg=name)
    assert len(changed) == 7
    assert {type(m) for m in decoder_layers(merged)[0].modules() if hasattr(m, "in_features")} == {nn.Linear}


def test_a_file_of_lower_rank_holds_the_best_approximation(tmp_path):
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file(corrections(rank=6), source, metadata=NOTE)
    made = healed.pack(source, target, 3)
    before, after = load_file(source), load_file(target)
    assert made == {"sha256": healed.sha256_of(target), "bytes": target.stat().st_size}
    assert set(after) == set(before)
    for name in before:
        key, _, part = name.rpartition(".")
        if part == "up":
            whole = before[name] @ before[f"{key}.down"]
            values = torch.linalg.svdvals(whole)
            error = (after[name].float() @ after[f"{key}.down"].float() - whole).norm()
            assert after[name].shape[1] == after[f"{key}.down"].shape[0] == 3
            assert float(error) == pytest.approx(float(values[3:].norm()), rel=0.03)  # Eckart and Young; bfloat16
    change = "layers.0.mlp.down_proj.change"
    torch.testing.assert_close(after[change], before[change].to(torch.bfloat16))


@pytest.mark.parametrize(
    ("change", "note", "message"),
    [
        ({}, {}, "does not say which layers"),
        ({}, {"start": "x", "n_removed": "1"}, "does not say which layers"),
        ({}, {"start": "1", "n_removed": "9"}, "model has 2 layers"),
        ({"layers.0.mlp.down_proj.change": torch.ones(3, 3)}, NOTE, r"no matrix layers.0.mlp.down_proj of the shape"),
        ({"layers.7.mlp.down_proj.change": torch.ones(3, 3)}, NOTE, r"no matrix layers.7.mlp.down_proj"),
        ({"norm.change": torch.ones(16)}, NOTE, "no matrix norm"),
    ],
)
def test_a_file_for_another_model_is_refused(tmp_path, change, note, message):
    path = tmp_path / "x.safetensors"
    save_file({"layers.0.mlp.down_proj.change": torch.zeros(16, 32)} | change, path, metadata=note)
    with pytest.raises(ValueError, match=message):
        healed.merge(tiny.llm()[0], path)


def test_broken_altered_and_missing_files_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    with pytest.raises(ValueError, match="cannot be read"):
        healed.merge(tiny.llm()[0], path)
    path.write_bytes(b"\x00" * 40)
    with pytest.raises(ValueError, match="cannot be read"):
        healed.merge(tiny.llm()[0], path)
    with pytest.raises(TypeError, match="path"):
        healed.merge(tiny.llm()[0], "x.safetensors")
    monkeypatch.setattr(healed, "FILE", path)
    with pytest.raises(ValueError, match="is altered"):
        healed.load_healed(tiny.llm()[0])
    path.unlink()
    with pytest.raises(ValueError, match="is missing"):
        healed.load_healed(tiny.llm()[0])


def test_the_committed_file_is_the_pinned_one_and_small(tables):
    row = tables["file"].iloc[0]
    assert healed.sha256_of(healed.FILE) == healed.SHA256 == row["sha256"]
    assert healed.FILE.stat().st_size == row["bytes"] <= 4_000_000
    kept = load_file(healed.FILE)
    assert {matrix.dtype for matrix in kept.values()} == {torch.bfloat16}
    config = study.Config()
    trained = range(config.frozen_layers, 30 - config.n_removed)
    assert {int(name.split(".")[1]) for name in kept} == set(trained)


@pytest.mark.assets
def test_the_merged_model_scores_as_committed(tables, smollm2):
    model, tokenizer = smollm2
    again = healed.load_healed(model)
    assert len(decoder_layers(again)) == 24
    config = pruning.Config()
    text = scoring.token_windows(tokenizer, scoring.held_out_text("evaluation"), config.evaluation_window)
    stored = tables["models"].set_index("model").loc["healed"]
    assert scoring.text_loss(again, text[: config.evaluation_windows]) == pytest.approx(stored["loss"], abs=1e-3)


def test_healing_gave_back_more_than_half_of_the_loss_and_not_all_of_the_answers(tables):
    models = tables["models"].set_index("model")
    loss, right = models["loss"], models["right"]
    assert loss["whole"] < loss["healed"] < loss["cut, not healed"]
    assert (loss["cut, not healed"] - loss["healed"]) / (loss["cut, not healed"] - loss["whole"]) > 0.5
    assert right["cut, not healed"] < right["healed"] < right["whole"]
    chapter_6 = pruning.load("curve")["curve"]
    cut = chapter_6[
        (chapter_6["method"] == "angular") & (chapter_6["n_removed"] == 6) & (chapter_6["healing"] == "none")
    ]
    assert loss["cut, not healed"] == pytest.approx(cut["loss"].iloc[0], abs=1e-3)
    whole = chapter_6[chapter_6["method"] == "none"].iloc[0]
    assert loss["whole"] == pytest.approx(whole["loss"], abs=1e-3)


def test_the_figures_follow_from_the_tables(tables):
    again = study.figures(tables).set_index("name")["value"]
    stored = tables["figures"].set_index("name")["value"]
    assert list(again.index) == list(stored.index)
    assert again.index.is_unique
    assert again.to_list() == pytest.approx(stored.to_list(), rel=1e-4)


def test_every_held_question_was_asked_in_every_way(tables):
    asked = tables["answers"].groupby(["model", "n_passages"])["id"].nunique()
    assert len(asked) == 8
    assert set(asked) == {len(study.answers.held_questions())} == {53}
    texts = tables["answers"].query("n_passages == 0 and model == 'whole'")
    assert texts["hit"].sum() == 0  # nothing of this book is in the weights


def test_the_settings_of_the_race_are_those_of_the_live_cell(tables):
    assert tables["race"]["what"].tolist() == [one.name for one in study.SETTINGS]
    before, after = tables["variants"].to_dict("records")
    assert (before["n_layers"], after["n_layers"]) == (30, 24)
    assert after["prompt_tokens"] > 4 * before["prompt_tokens"]
    assert dataclasses.asdict(study.Config())["race_tokens"] == before["output_tokens"]
    assert (studies.folder("green_service") / "run.json").is_file()
