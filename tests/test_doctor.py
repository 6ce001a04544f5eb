"""The doctor and the package's front door: light, complete, and never on the network."""

import subprocess
import sys

from greenlab import __main__ as doctor
from greenlab.core import assets


def test_one_screen_names_versions_machine_assets_energy_and_the_next_command(monkeypatch, tmp_path):
    monkeypatch.setenv("GREENLAB_ASSETS", str(tmp_path))
    lines, ready = doctor.report()
    text = "\n".join(lines)
    assert not ready
    assert len(lines) <= 24
    for word in (
        "torch 2.13",
        "jupyterlab",
        "to use",
        "GB memory",
        "smollm2: not fetched yet",
        "energy",
        "python -m greenlab.core.assets",
    ):
        assert word in text
    assert lines[-1].split() == ["next", "python", "-m", "greenlab.core.assets"]


def test_with_everything_there_it_says_make_lab(monkeypatch):
    monkeypatch.setattr(assets, "problems", lambda name, thorough=False: [])
    lines, ready = doctor.report()
    assert ready
    assert lines[-1].split() == ["next", "make", "lab"]


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(assets, "problems", lambda name, thorough=False: [])
    monkeypatch.setattr(doctor, "PACKAGES", (*doctor.PACKAGES, "no-such-package"))
    lines, ready = doctor.report()
    assert not ready
    assert "no-such-package MISSING" in "\n".join(lines)
    assert lines[-1].split() == ["next", "make", "setup"]


def test_importing_the_package_loads_nothing_heavy():
    """Not a stopwatch: what makes an import slow is what it pulls in."""
    code = "import sys, greenlab; print(sorted({'torch', 'numpy', 'pandas', 'altair', 'psutil'} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_the_doctor_imports_no_torch():
    code = "import sys; from greenlab.__main__ import report; report(); print('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
        == "False"
    )
