"""The lock files: pinned, hashed, complete for every platform and Python, and made from today's requirements."""

from __future__ import annotations

import importlib.util
import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from greenlab.core import torch_wheel
from greenlab.core.machine import ROOT

LOCKS = ROOT / "locks"
FILES = ["torch.txt", "cuda.txt", "reader.txt", "dev.txt", "uv.txt"]
SYSTEMS = {
    "Linux x86_64": ("linux", "Linux", "x86_64", "posix"),
    "Linux aarch64": ("linux", "Linux", "aarch64", "posix"),
    "macOS arm64": ("darwin", "Darwin", "arm64", "posix"),
    "Windows": ("win32", "Windows", "AMD64", "nt"),
}
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]

_spec = importlib.util.spec_from_file_location("refresh", LOCKS / "refresh.py")
refresh = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(refresh)


def environment(system, python):
    """The markers of a machine."""
    platform, name, machine, os_name = SYSTEMS[system]
    return {
        "sys_platform": platform, "platform_system": name, "platform_machine": machine, "os_name": os_name,
        "python_version": python, "python_full_version": f"{python}.7", "implementation_name": "cpython",
        "platform_python_implementation": "CPython", "extra": "",
    }  # fmt: skip


def pins(*names):
    """Every pinned package of some lock files, as a requirement."""
    return [Requirement(head) for name in names for head in refresh.entries((LOCKS / name).read_text())]


@pytest.mark.parametrize("name", FILES)
def test_every_package_is_pinned_hashed_and_from_no_mirror(name):
    text = (LOCKS / name).read_text()
    blocks = refresh.entries(text)
    assert len(blocks) >= 1
    for head, block in blocks.items():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*( ; .+)?", head)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", block), head
    loose = [line for line in text.splitlines() if not re.match(r"#|[a-z0-9-]+==|    (--hash=sha256:|# via)", line)]
    assert loose == []  # no option either, so no address of an index
    assert "://" not in text


@pytest.mark.parametrize("name", FILES)
def test_the_lock_was_made_from_the_requirements_of_today(name):
    assert f"# inputs sha256:{refresh.digest(refresh.inputs())}\n" in (LOCKS / name).read_text(), "run `make lock`"


@pytest.mark.parametrize(
    "change", [("numpy>=2.0", "numpy>=2.1"), ("tqdm>=4.67,<5\n", ""), ("scipy", "torchvision\nscipy")]
)
def test_a_requirement_that_moves_asks_for_a_new_lock_and_a_comment_does_not(tmp_path, change):
    for name in ("pyproject.toml", "requirements.txt"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    before = refresh.digest(refresh.inputs(tmp_path))
    text = (ROOT / "requirements.txt").read_text()
    (tmp_path / "requirements.txt").write_text(f"# another comment\n{text}")
    assert refresh.digest(refresh.inputs(tmp_path)) == before
    assert change[0] in text
    (tmp_path / "requirements.txt").write_text(text.replace(*change))
    assert refresh.digest(refresh.inputs(tmp_path)) != before


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_requirement_is_met_by_one_pin_on_every_machine(system, python):
    here = environment(system, python)
    found = {}
    for pin in pins("torch.txt", "cuda.txt", "reader.txt"):
        if pin.marker is None or pin.marker.evaluate(here):
            assert pin.name not in found, f"{pin.name} is pinned twice"
            found[pin.name] = pin
    for pin in pins("dev.txt"):
        if pin.marker is None or pin.marker.evaluate(here):
            assert str(found.setdefault(pin.name, pin).specifier) == str(pin.specifier)
    asked = [Requirement(line) for lines in refresh.inputs().values() for line in lines]
    assert len(asked) > 30
    for requirement in asked:
        if requirement.marker is None or requirement.marker.evaluate(here):
            version = str(found[canonicalize_name(requirement.name)].specifier).removeprefix("==")
            assert requirement.specifier.contains(version), requirement


def test_cuda_is_apart_and_nothing_for_other_systems_is_in_it():
    cuda = pins("cuda.txt")
    assert {"nvidia-cublas", "triton"} <= {pin.name for pin in cuda}
    assert not any(pin.marker.evaluate(environment("macOS arm64", "3.12")) for pin in cuda)
    rest = {pin.name for pin in pins("reader.txt", "dev.txt")}
    assert not rest & ({pin.name for pin in cuda} | {"torch"})


def test_torch_is_the_one_of_the_requirements_with_the_hashes_of_both_builds():
    text = (LOCKS / "torch.txt").read_text()
    (head,) = refresh.entries(text)
    assert head == torch_wheel.pinned()
    wheels = refresh.kept_cpu_wheels(text, head.partition("==")[2])
    assert len(wheels) == 8
    assert all(f"--hash=sha256:{sha}" in text for sha in wheels.values())
    assert text.count("--hash=") > len(wheels) + 8  # and PyPI's, for three systems and four Pythons
    assert refresh.kept_cpu_wheels(text, "2.14.0") == {}


def test_the_page_of_the_cpu_index_is_read_for_the_supported_machines_alone():
    sha = "a" * 64
    names = [
        "torch-2.13.0%2Bcpu-cp312-cp312-manylinux_2_28_x86_64.whl",
        "torch-2.13.0%2Bcpu-cp312-cp312-win_amd64.whl",
        "torch-2.13.0%2Bcpu-cp314-cp314t-manylinux_2_28_x86_64.whl",
        "torch-2.12.0%2Bcpu-cp312-cp312-manylinux_2_28_x86_64.whl",
    ]
    page = "".join(f'<a href="https://elsewhere/whl/cpu/{name}#sha256={sha}">x</a>' for name in names)
    assert refresh.cpu_wheels(page, "2.13.0") == {"torch-2.13.0+cpu-cp312-cp312-manylinux_2_28_x86_64.whl": sha}


def test_what_only_torch_asks_for_on_linux_is_told_from_what_others_need_too():
    linux = "pkg==1 ; sys_platform == 'linux'"
    blocks = {
        linux.replace("pkg", "cublas"): "# via cudnn, torch",
        linux.replace("pkg", "cudnn"): "# via torch",
        linux.replace("pkg", "shared"): "# via torch, peft",
        linux.replace("pkg", "below"): "# via shared",
        "sympy==1": "# via torch",
        "peft==1": "# via requirements.txt",
    }
    assert refresh.cuda_only(blocks) == {"cublas", "cudnn"}


def test_make_installs_nothing_but_by_hash():
    text = (ROOT / "Makefile").read_text()
    assert "LOCKED := $(PIP) --require-hashes --only-binary :all:\n" in text
    assert text.count("$(LOCKED) -r locks/") == 2
    assert "$(PIP) --no-deps --no-build-isolation --editable ." in text
    for line in (ROOT / "binder" / "postBuild").read_text().splitlines():
        if "pip install" in line:
            assert "--require-hashes" in line or "--no-deps --no-build-isolation --editable ." in line
