"""Before the set-up: is there a torch for this machine, and which one? Only the standard library is needed here.

``python -m greenlab.core.torch_wheel --check`` names a platform for which PyPI has no torch, before anything is
downloaded. ``--install`` takes the CPU build on a Linux machine without an NVIDIA driver, where PyPI's own build would
bring several GB of CUDA. The CPU build has an index of its own, which is used for torch alone: with a second index for
every package, whoever fills that index could replace any of them. Either build is one whose hash is in locks/torch.txt.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TIMEOUT_S = 15  # how long to wait for an index that does not answer
OLDEST, NEWEST = (3, 11), (3, 14)  # the Pythons that both greenlab and the pinned torch have wheels for
ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements.txt"
TORCH_LOCK = ROOT / "locks" / "torch.txt"  # torch alone, with the hashes of PyPI's wheels and of the CPU build
CUDA_LOCK = ROOT / "locks" / "cuda.txt"  # what PyPI's torch needs on Linux


def pinned() -> str:
    """Return the line of requirements.txt that names torch, such as ``torch==2.13.0``."""
    return next(line for line in REQUIREMENTS.read_text().splitlines() if line.startswith("torch=="))


def no_wheel(
    system: str, machine: str, python: tuple[int, int], *, implementation: str = "cpython", version: str = ""
) -> str | None:
    """Say why PyPI has no torch for a platform and what to do, or return None if it has one.

    The list is that of torch 2.13.0: macOS 14 on Apple silicon, Linux with glibc 2.28 on x86_64 and aarch64, Windows on
    x86_64, CPython 3.11 to 3.14.

    Args:
        system: Linux, Darwin or Windows, as ``platform.system()`` says.
        machine: such as x86_64 or arm64, as ``platform.machine()`` says.
        python: its major and minor version.
        implementation: as ``sys.implementation.name`` says.
        version: of macOS, or of glibc on Linux; empty where it is not known, which on Linux means another C library.

    Raises:
        TypeError: if an argument is of another type.
    """
    words = {"system": system, "machine": machine, "implementation": implementation, "version": version}
    for name, value in words.items():
        if not isinstance(value, str):
            raise TypeError(f"{name}={value!r} is {type(value).__name__}: give text, such as 'Linux'")
    if not isinstance(python, tuple) or len(python) != 2 or not all(type(part) is int for part in python):
        raise TypeError(f"python={python!r}: give two whole numbers, such as (3, 12)")
    instead = "use mybinder.org, or another machine"
    if implementation != "cpython" or not OLDEST <= python <= NEWEST:
        named = f"{implementation} {python[0]}.{python[1]}"
        return f"{named} has none: install CPython 3.11 to 3.14 and run `make lab PYTHON=python3.12`"
    intel = machine.lower() in ("x86_64", "amd64")
    arm = machine.lower() in ("arm64", "aarch64")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if system == "Darwin":
        if not arm:
            return f"a Mac with an Intel processor has none since torch 2.3: {instead}"
        if numbers and numbers < (14,):
            return f"macOS {version} has none: update to macOS 14 or newer, or {instead}"
        return None
    if system == "Windows":
        return (
            None
            if intel
            else f"Windows on {machine} has none: install Python for x86_64 (it is emulated), or {instead}"
        )
    if system == "Linux":
        if not (intel or arm):
            return f"Linux on {machine} has none: {instead}"
        if numbers < (2, 28):
            found = f"glibc {version}" if version else "a C library that is not glibc (Alpine?)"
            return f"Linux with {found} has none: take a system with glibc 2.28 or newer (Debian 10, Ubuntu 20.04)"
        return None
    return f"{system} has none: {instead}"


def this_machine() -> str | None:
    """`no_wheel` for the machine and the Python that run this."""
    system = platform.system()
    version = {"Darwin": platform.mac_ver()[0], "Linux": platform.libc_ver()[1]}.get(system, "")
    return no_wheel(
        system, platform.machine(), sys.version_info[:2], implementation=sys.implementation.name, version=version
    )


def has_nvidia_driver() -> bool:
    """Whether an NVIDIA driver is there: only then can torch's CUDA be used. Under Windows' Linux it is in /dev/dxg."""
    seen = any(Path(path).exists() for path in ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg"))
    return seen or shutil.which("nvidia-smi") is not None


def installed() -> bool:
    """Whether the pinned torch is in this Python already, whichever build it is."""
    try:
        return importlib.metadata.version("torch").split("+")[0] == pinned().partition("==")[2]
    except importlib.metadata.PackageNotFoundError:
        return False


def install(index: str, pip_args: list[str]) -> int:
    """Install the locked torch: the CPU build where that is the right one and its index has it, else PyPI's.

    Nothing is done where the pinned torch is there already. Only wheels are taken, so nothing is run to build them, and
    only those whose hash is in the lock.

    Args:
        index: where the CPU build is; empty for PyPI's own build.
        pip_args: further arguments of pip.

    Returns:
        pip's exit code, 0 where torch is there.

    Raises:
        TypeError: if an argument is of another type.
    """
    if not isinstance(index, str):
        raise TypeError(f"index={index!r} is {type(index).__name__}: give the address of an index, or an empty text")
    if not isinstance(pip_args, list) or not all(isinstance(part, str) for part in pip_args):
        raise TypeError(f"pip_args={pip_args!r}: give a list of texts")
    if installed():
        return 0
    linux = platform.system() == "Linux"
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary", ":all:", *pip_args]
    if index and linux and not has_nvidia_driver():
        print(f"greenlab: no NVIDIA driver here, so torch is taken as its CPU build from {index}", flush=True)
        environment = {name: value for name, value in os.environ.items() if name != "PIP_EXTRA_INDEX_URL"}
        only = ["--index-url", index, "--retries", "0", "--timeout", str(TIMEOUT_S), "-r", str(TORCH_LOCK)]
        if not subprocess.run([*command, *only], env=environment, check=False).returncode:
            return 0
        print(
            f"greenlab: {index} did not give the locked torch (pip says why above), so it comes from PyPI. On Linux "
            "that build brings CUDA, several GB; it works without an NVIDIA GPU too",
            flush=True,
        )
    locks = ["-r", str(TORCH_LOCK), *(["-r", str(CUDA_LOCK)] if linux else [])]
    return subprocess.run([*command, *locks], check=False).returncode


def main() -> int:
    """Check the platform, and with ``--install`` install torch; the exit code is not 0 where there is no torch."""
    parser = argparse.ArgumentParser(description="Is there a torch for this machine, and which one?")
    parser.add_argument("--check", action="store_true", help="only say whether there is one")
    parser.add_argument(
        "--install", action="store_true", help="install it, as the CPU build where that is the right one"
    )
    parser.add_argument("--index", default=CPU_INDEX, help="where the CPU build is; empty for PyPI's own build")
    arguments, pip_args = parser.parse_known_args()
    why = None if installed() else this_machine()
    if why:
        print(f"greenlab needs {pinned()}, and PyPI has no wheel of it for this machine: {why}", file=sys.stderr)
        return 1
    return install(arguments.index, pip_args) if arguments.install else 0


if __name__ == "__main__":
    sys.exit(main())
