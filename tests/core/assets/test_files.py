"""The folder of the assets: checks of its manifest, who may read and write, and what an interrupted run left."""

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys

import pytest
from filelock import FileLock

from greenlab.core import assets
from greenlab.core.assets import definitions, files
from greenlab.core.machine import ROOT
from tests.core.assets.conftest import FILES, left_over


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
