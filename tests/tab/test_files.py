"""The built folder: what is in it, what it weighs, and that it says the same as the study and the model."""

from __future__ import annotations

import hashlib
import json
import re
import sys

import numpy as np
import pytest
from safetensors import safe_open

from greenlab.core import assets, studies
from greenlab.layer_pruning.study import PROMPTS
from greenlab.tab import build, cuts, fragment
from greenlab.tab.__main__ import main
from greenlab.tab.files import METHODS, layer_parts, tokenizer_table
from greenlab.tab.site import FRAGMENT, SCRIPTS, SOURCES

LARGEST_DOWNLOAD = 150e6
LARGEST_FILE = 100e6  # what GitHub takes in a repository of pages


@pytest.fixture(scope="module")
def manifest(site):
    return json.loads((site / "weights/manifest.json").read_text(encoding="utf-8"))


@pytest.mark.assets
def test_the_download_is_what_the_manifest_says(site, manifest):
    folder = site / "weights"
    sizes = {entry["name"]: entry["bytes"] for entry in manifest["files"]}
    assert sizes == {path.name: path.stat().st_size for path in folder.iterdir() if path.name != "manifest.json"}
    assert manifest["bytes"] == sum(sizes.values()) < LARGEST_DOWNLOAD
    assert max(sizes.values()) < LARGEST_FILE
    assert len(sizes) == 33  # thirty layers, the embedding, the tokenizer, the kernel
    for entry in manifest["files"]:
        assert hashlib.sha256((folder / entry["name"]).read_bytes()).hexdigest() == entry["sha256"]


@pytest.mark.assets
@pytest.mark.parametrize("layer", [0, 29])
def test_the_bytes_of_a_shard_are_the_weights_of_the_book(site, manifest, layer):
    """Read back by hand, from the addresses in the manifest, bit for bit."""
    shard = (site / f"weights/layer-{layer:02}.bin").read_bytes()
    with safe_open(assets.fetch("smollm2") / "model.safetensors", "np") as weights:
        for name, entry in manifest["layout"]["layer"].items():
            block = "" if "norm" in name else "self_attn." if name[1] == "_" else "mlp."
            wanted = weights.get_tensor(f"model.layers.{layer}.{block}{name}.weight")
            assert np.array_equal(read_part(shard, entry), wanted)


def read_part(shard, entry):
    if "length" in entry:
        return np.frombuffer(shard, "<f4", entry["length"], entry["at"])
    rows, columns = entry["rows"], entry["columns"]
    groups = rows * columns // 32
    scales, minima = (
        np.frombuffer(shard, "<f2", groups, entry[name]).astype(np.float32)[:, None] for name in ("scales", "minima")
    )
    packed = np.frombuffer(shard, np.uint8, groups * 16, entry["quants"]).reshape(groups, 16)
    quants = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)
    return (quants * scales + minima).reshape(rows, columns)


@pytest.mark.assets
def test_the_embedding_is_the_one_of_the_book(site, manifest):
    shard, entry = (site / "weights/embedding.bin").read_bytes(), manifest["layout"]["embedding"]["embedding"]
    quants = np.frombuffer(shard, np.int8, 49152 * 576, entry["quants"]).reshape(-1, 32)
    scales = np.frombuffer(shard, "<f2", 49152 * 18, entry["scales"]).astype(np.float32)
    with safe_open(assets.fetch("smollm2") / "model.safetensors", "np") as weights:
        wanted = weights.get_tensor("model.embed_tokens.weight")
        norm = weights.get_tensor("model.norm.weight")
    assert np.array_equal(read_part(shard, manifest["layout"]["embedding"]["norm"]), norm)
    assert np.array_equal((quants * scales[:, None]).reshape(wanted.shape), wanted)


def test_each_cut_is_one_that_chapter_6_measured():
    curve = studies.load("layer_pruning", "curve")["curve"]
    found = cuts()
    assert tuple(found) == METHODS
    for method, entries in found.items():
        assert [entry["n_removed"] for entry in entries] == [0, 1, 2, 3, 4, 5, 6, 8, 10, 12]
        for entry in entries:
            assert entry["n_removed"] == len(entry["dropped"]) == len(set(entry["dropped"]))
            named = "none" if entry["n_removed"] == 0 else method
            same = curve[(curve["method"] == named) & (curve["n_removed"] == entry["n_removed"])]
            row = same[same["healing"] == "none"].iloc[0]
            assert (entry["loss"], entry["accuracy"]) == (row["loss"], row["accuracy"])
    assert found["angular"][6]["dropped"] == [13, 14, 15, 16, 17, 18]


def test_a_cut_is_the_unhealed_one():
    """Healed models have the same method and number of layers, and a lower loss; the page has the weights of none."""
    six = next(entry for entry in cuts()["angular"] if entry["n_removed"] == 6)
    figures = studies.load("layer_pruning", "figures")["figures"].set_index("name")["value"]
    assert six["loss"] == pytest.approx(figures["loss-6"], rel=1e-5)
    assert six["loss"] > figures["loss-6-healed-teacher"] + 0.1


@pytest.mark.assets
def test_the_tokens_are_those_of_transformers(smollm2):
    _, tokenizer = smollm2
    table = tokenizer_table(assets.fetch("smollm2"))
    assert {token: i for i, token in enumerate(table["tokens"])} == tokenizer.get_vocab()
    assert table["special"] == sorted(tokenizer.added_tokens_decoder)
    assert len(table["merges"]) % 2 == 0


@pytest.mark.assets
def test_another_tokenizer_is_refused(tmp_path):
    stored = json.loads((assets.fetch("smollm2") / "tokenizer.json").read_text(encoding="utf-8"))
    for change in ({"normalizer": {"type": "NFC"}}, {"pre_tokenizer": {"type": "Whitespace"}}):
        (tmp_path / "tokenizer.json").write_text(json.dumps(stored | change), encoding="utf-8")
        with pytest.raises(ValueError, match=r"source=.*: its tokenizer is not the byte-level BPE"):
            tokenizer_table(tmp_path)


@pytest.mark.assets
@pytest.mark.parametrize(("layer", "error"), [(-1, ValueError), (True, TypeError), (1.0, TypeError), ("1", TypeError)])
def test_a_layer_that_is_no_number_of_a_layer_is_refused(layer, error):
    with pytest.raises(error, match="layer="):
        layer_parts(assets.fetch("smollm2"), layer)


@pytest.mark.assets
def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="layer=30: the model has 30 layers, numbered from 0"):
        layer_parts(assets.fetch("smollm2"), 30)


# The page -------------------------------------------------------------------------------------------------------------


def test_every_script_is_built_and_loads_nothing_from_elsewhere(tmp_path):
    build(tmp_path, weights=False)
    assert {path.name for path in tmp_path.iterdir()} == {*SCRIPTS, "index.html"}
    for path in tmp_path.iterdir():
        text = path.read_text(encoding="utf-8")
        assert re.findall(r"(?:https?:)?//[a-z][\w.-]+\.[a-z]{2,}", text) == []
        imported = re.findall(r'^import .* from "\./(.*)";$', text, flags=re.MULTILINE)
        assert set(imported) <= set(SCRIPTS)
        assert "eval(" not in text
        assert "innerHTML" not in text  # what the model writes is text, whatever it looks like
        assert "SharedArrayBuffer" not in text
    assert not (tmp_path / "weights").exists()


def test_the_page_begins_as_the_chapters_samples_do():
    script = (SOURCES / "prune.js").read_text(encoding="utf-8")
    block = re.search(r"const BEGINNINGS = (\[.*?\]);", script, flags=re.DOTALL).group(1)
    assert tuple(json.loads(re.sub(r",\s*\]", "]", block))) == PROMPTS


def test_the_page_names_every_method():
    html = FRAGMENT.read_text(encoding="utf-8")
    assert tuple(re.findall(r'<option value="(\w+)">', html)) == METHODS


@pytest.mark.parametrize(
    ("base", "style", "script"),
    [("../_static/tab/", "../_static/tab/prune.css", "../_static/tab/prune.js"), ("", "prune.css", "./prune.js"),
     ("tab/", "tab/prune.css", "./tab/prune.js"), ("/book/tab/", "/book/tab/prune.css", "/book/tab/prune.js")],
)  # fmt: skip
def test_the_fragment_points_at_its_folder(base, style, script):
    html = fragment(base)
    assert re.findall(r'(?:src|href)="([^"]*)"', html) == [style]
    assert re.findall(r'import\("([^"]*)"\)', html) == [script]


def test_the_fragment_of_the_site_is_the_file_as_it_is():
    assert fragment() == FRAGMENT.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("base", "error"),
    [("tab", ValueError), ("//elsewhere.org/", ValueError), ("https://elsewhere.org/", ValueError),
     ('"><script>/', ValueError), (None, TypeError), (b"tab/", TypeError)],
)  # fmt: skip
def test_a_base_that_is_no_folder_of_the_site_is_refused(base, error):
    with pytest.raises(error, match="base="):
        fragment(base)


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_builds_the_page(tmp_path, capsys):
    main([str(tmp_path / "made/tab"), "--no-weights"])
    assert "without the model. Look at it: python -m http.server" in capsys.readouterr().out
    assert (tmp_path / "made/tab/index.html").is_file()


@pytest.mark.assets
def test_a_machine_without_the_assembler_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wasmtime", None)  # as if it were not installed
    with pytest.raises(SystemExit, match=r"the assembler is missing: pip install -e '\.\[dev\]' installs wasmtime"):
        main([str(tmp_path)])
    assert not (tmp_path / "weights").exists()


def test_a_folder_that_cannot_be_written_ends_with_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match="file"):
        main([str(tmp_path / "file/tab"), "--no-weights"])
