"""Platforms without a torch are named before anything is downloaded; the CPU build's index serves torch alone."""

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from greenlab.core import torch_wheel
from greenlab.core.machine import ROOT


@pytest.mark.parametrize(
    ("system", "machine", "python", "more", "words"),
    [
        ("Darwin", "x86_64", (3, 12), {"version": "15.1"}, "Intel"),
        ("Darwin", "arm64", (3, 12), {"version": "13.6.1"}, "update to macOS 14"),
        ("Windows", "ARM64", (3, 12), {}, "Windows on ARM64"),
        ("Linux", "x86_64", (3, 15), {"version": "2.36"}, r"cpython 3\.15 has none"),
        ("Linux", "x86_64", (3, 10), {"version": "2.36"}, r"cpython 3\.10 has none"),
        ("Linux", "x86_64", (3, 11), {"version": "2.36", "implementation": "pypy"}, r"pypy 3\.11 has none"),
        ("Linux", "x86_64", (3, 12), {"version": "2.17"}, r"glibc 2\.17"),
        ("Linux", "x86_64", (3, 12), {}, "not glibc"),
        ("Linux", "riscv64", (3, 12), {"version": "2.36"}, "riscv64"),
        ("Linux", "armv7l", (3, 12), {"version": "2.36"}, "armv7l"),
        ("FreeBSD", "amd64", (3, 12), {}, "FreeBSD"),
    ],
)
def test_a_platform_without_a_wheel_is_named_with_a_way_out(system, machine, python, more, words):
    why = torch_wheel.no_wheel(system, machine, python, **more)
    assert why is not None
    assert re.search(words, why)


@pytest.mark.parametrize(
    ("system", "machine", "version"),
    [
        ("Darwin", "arm64", "14.0"),
        ("Darwin", "arm64", "26.1"),
        ("Linux", "x86_64", "2.28"),
        ("Linux", "aarch64", "2.41"),
        ("Windows", "AMD64", ""),
    ],
)
@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_the_platforms_that_torch_is_published_for_pass(system, machine, version, minor):
    """As PyPI lists torch 2.13.0: macOS 14 arm64, manylinux_2_28 x86_64 and aarch64, win_amd64."""
    assert torch_wheel.no_wheel(system, machine, (3, minor), version=version) is None


@pytest.fixture
def bare_linux(monkeypatch):
    """A Linux machine without a driver and without torch; what pip would be asked is collected."""
    asked = []
    answer = SimpleNamespace(returncode=0)
    monkeypatch.setattr(torch_wheel.platform, "system", lambda: "Linux")
    monkeypatch.setattr(torch_wheel, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(torch_wheel, "installed", lambda: False)
    monkeypatch.setattr(torch_wheel.subprocess, "run", lambda command, **_: asked.append(command) or answer)
    return asked, answer


def test_the_index_of_the_cpu_build_is_asked_for_torch_alone(bare_linux):
    asked, _ = bare_linux
    torch_wheel.install(torch_wheel.CPU_INDEX, ["--proxy", "http://proxy:3128"])
    (command,) = asked
    assert command[command.index("--index-url") + 1] == "https://download.pytorch.org/whl/cpu"
    assert "--no-deps" in command
    assert [part for part in command if part.endswith(".txt")] == [str(torch_wheel.TORCH_LOCK)]
    assert "--require-hashes" in command
    assert "--extra-index-url" not in command
    assert command[command.index("--proxy") :][:2] == ["--proxy", "http://proxy:3128"]


def test_an_index_that_does_not_answer_is_said_and_pypis_build_comes_with_its_cuda(bare_linux, capsys):
    asked, answer = bare_linux
    answer.returncode = 1
    assert torch_wheel.install(torch_wheel.CPU_INDEX, []) == 1
    assert "did not give the locked torch" in capsys.readouterr().out
    assert "--index-url" not in asked[1]
    assert "--require-hashes" in asked[1]
    assert asked[1][-4:] == ["-r", str(torch_wheel.TORCH_LOCK), "-r", str(torch_wheel.CUDA_LOCK)]


def test_nothing_is_done_with_a_torch(bare_linux, monkeypatch):
    monkeypatch.setattr(torch_wheel, "installed", lambda: True)
    assert torch_wheel.install(torch_wheel.CPU_INDEX, []) == 0
    assert bare_linux[0] == []


@pytest.mark.parametrize(
    ("system", "index", "driver", "locks"),
    [
        ("Darwin", torch_wheel.CPU_INDEX, False, [torch_wheel.TORCH_LOCK]),
        ("Windows", torch_wheel.CPU_INDEX, True, [torch_wheel.TORCH_LOCK]),
        ("Linux", "", False, [torch_wheel.TORCH_LOCK, torch_wheel.CUDA_LOCK]),
        ("Linux", torch_wheel.CPU_INDEX, True, [torch_wheel.TORCH_LOCK, torch_wheel.CUDA_LOCK]),
    ],
)
def test_pypi_is_taken_on_other_systems_with_a_driver_and_on_demand(
    bare_linux, monkeypatch, system, index, driver, locks
):
    monkeypatch.setattr(torch_wheel.platform, "system", lambda: system)
    monkeypatch.setattr(torch_wheel, "has_nvidia_driver", lambda: driver)
    assert torch_wheel.install(index, []) == 0
    (command,) = bare_linux[0]
    assert "--index-url" not in command
    assert [part for part in command if part.endswith(".txt")] == [str(path) for path in locks]


def test_it_needs_nothing_but_the_standard_library():
    """It runs before the first package is there: ``-S`` hides every installed one."""
    run = subprocess.run(
        [sys.executable, "-S", "-m", "greenlab.core.torch_wheel", "--check"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={"PATH": "", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (0, "")


def test_no_second_index_stands_in_what_a_reader_is_told_or_given():
    """A second index is trusted for every package: whoever fills it can replace any of them."""
    told = [ROOT / "README.md", ROOT / "Makefile", ROOT / "requirements.txt", ROOT / "pyproject.toml"]
    told += sorted((ROOT / "binder").iterdir())
    assert [path.name for path in told if "extra-index-url" in path.read_text()] == []
