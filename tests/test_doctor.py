"""The doctor and the package's front door: light, complete, and never on the network."""

import subprocess
import sys

from greenlab import __main__ as doctor
from greenlab.core import assets
from greenlab.core.energy import counters, pace


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


def test_a_gpu_is_named_with_its_counter_and_how_often_it_moves(monkeypatch):
    """A fake GPU whose counter moves every fourth reading, on a clock that moves 25 ms a reading: every 100 ms."""
    readings = iter(range(10**6))
    gpu = counters.Counter("NVML gpu-0", "gpu", lambda: next(readings) // 4, 1e-3, 0.1, 0.05, 1400.0)
    state = counters.CounterStatus("NVML gpu-0", True, "readable: NVIDIA H100 80GB HBM3", 2)
    monkeypatch.setattr(assets, "problems", lambda name, thorough=False: [])
    for module in (counters, doctor.meter):
        monkeypatch.setattr(module, "find_counters", lambda: ((gpu,), (state,)))
    times = iter(0.025 * i for i in range(10**6))
    watch = pace.pace
    monkeypatch.setattr(pace, "pace", lambda counter: watch(counter, clock=lambda: next(times), wait=lambda: None))
    lines, _ = doctor.report()
    assert "  NVML gpu-0: readable: NVIDIA H100 80GB HBM3; its counter moves about every 100 ms" in lines


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(assets, "problems", lambda name, thorough=False: [])
    monkeypatch.setattr(doctor, "PACKAGES", (*doctor.PACKAGES, "no-such-package"))
    lines, ready = doctor.report()
    assert not ready
    assert "no-such-package MISSING" in "\n".join(lines)
    assert lines[-1].split() == ["next", "make", "setup"]


def test_without_a_gpu_nothing_is_watched(monkeypatch):
    monkeypatch.setattr(assets, "problems", lambda name, thorough=False: [])
    for module in (counters, doctor.meter):
        monkeypatch.setattr(module, "find_counters", lambda: ((), ()))
    monkeypatch.setattr(pace, "pace", lambda counter: 1 / 0)
    text = "\n".join(doctor.report()[0])
    assert "CPU-seconds model" in text


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
