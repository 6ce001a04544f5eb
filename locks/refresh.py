"""Writes the lock files beside it: `make lock`, and `make lock LOCK_ARGS=--upgrade` for the newest releases.

uv resolves requirements.txt and the extra "dev" together, for Linux, macOS and Windows and every supported Python, into
one file with markers. pip-tools would need one file for each platform, made on that platform. What is pinned stays as
it is where it still fits. The hashes are those of PyPI, whatever index this machine is set up with.

    torch.txt   torch: the hashes of PyPI's wheels and of the CPU build, which has an index of its own
    cuda.txt    what PyPI's torch asks for on Linux, and nobody else: several GB, not wanted beside the CPU build
    reader.txt  the other packages of `make lab`, with setuptools, so that greenlab itself is built with nothing fetched
    dev.txt     what `make test` needs beyond them
    uv.txt      uv itself, for this script only
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

LOCKS = Path(__file__).resolve().parent
ROOT = LOCKS.parent
PYPI = "https://pypi.org/simple"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
TIMEOUT_S = 20
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin", "x86_64-pc-windows-msvc")
CPU_WHEEL = r"torch-{version}\+cpu-cp3(?:11|12|13|14)-cp3(?:11|12|13|14)-manylinux_2_28_(?:x86_64|aarch64)\.whl"


def inputs(root: Path = ROOT) -> dict[str, list[str]]:
    """What the lock has to serve, by the file that asks: each requirement as it is written there, without comments."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    lines = (
        line.split(" #")[0].strip() for line in (root / "requirements.txt").read_text(encoding="utf-8").splitlines()
    )
    return {
        "requirements.txt": [line for line in lines if line and not line.startswith("#")],
        "build": settings["build-system"]["requires"],
        "dev": settings["project"]["optional-dependencies"]["dev"],
    }


def digest(asked: dict[str, list[str]]) -> str:
    """The hash of the inputs that every lock file carries: it changes with each requirement, not with comments."""
    text = "\n".join(f"{name} {line}" for name in sorted(asked) for line in sorted(asked[name]))
    return hashlib.sha256(text.encode()).hexdigest()


def uv(*arguments: str, folder: Path) -> None:
    """Run uv without this machine's settings of indexes; it stops here with uv's own words when nothing fits."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UV_") or name == "UV_CACHE_DIR"}
    kept["MACOSX_DEPLOYMENT_TARGET"] = "14.0"  # torch's wheels need it
    command = [
        sys.executable,
        "-m",
        "uv",
        "pip",
        "compile",
        "--quiet",
        "--no-config",
        "--default-index",
        PYPI,
        "--no-header",
    ]
    run = subprocess.run([*command, *arguments], cwd=folder, env=kept, capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"make lock: {' '.join(arguments)}\n{run.stderr}")


def entries(text: str) -> dict[str, str]:
    """The pinned packages of a lock file: the line of a package (name, version, marker) and the whole block."""
    found: dict[str, str] = {}
    head = ""
    for line in text.splitlines():
        if re.match(r"[a-z0-9]", line):
            head = line.removesuffix(" \\")
            found[head] = line
        elif head and line.startswith("    "):
            found[head] += "\n" + line
    return found


def name_of(head: str) -> str:
    """The package that a line pins."""
    return head.partition("==")[0]


def askers(block: str) -> set[str]:
    """The packages and files that ask for a package, from uv's comment ``# via``."""
    comment = re.search(r"# via (.+)", block)
    return set(comment[1].split(", ")) if comment else set()


def cuda_only(blocks: dict[str, str]) -> set[str]:
    """The packages for Linux that nothing but torch asks for, or nothing but they themselves: CUDA and its tools."""
    linux = {name_of(head) for head in blocks if "sys_platform == 'linux'" in head}
    while True:
        foreign = {name_of(head) for head, block in blocks.items() if askers(block) - linux - {"torch"}}
        if not linux & foreign:
            return linux
        linux -= foreign


def cpu_wheels(page: str, version: str) -> dict[str, str]:
    """The wheels of the CPU build that an index page lists for the supported machines, with their SHA-256 sums."""
    links = re.findall(r'href="[^"]*?([^"/]+\.whl)#sha256=([0-9a-f]{64})"', page)
    wanted = re.compile(CPU_WHEEL.format(version=re.escape(version)))
    return {name: sha for link, sha in links if wanted.fullmatch(name := urllib.parse.unquote(link))}


def kept_cpu_wheels(text: str, version: str) -> dict[str, str]:
    """The same from the comments of an earlier torch.txt; none if it was for another version."""
    found = re.findall(r"^# ([0-9a-f]{64}) (\S+)$", text, re.MULTILINE)
    wanted = re.compile(CPU_WHEEL.format(version=re.escape(version)))
    return {name: sha for sha, name in found if wanted.fullmatch(name)}


def find_cpu_wheels(version: str) -> dict[str, str]:
    """Ask the index of the CPU build; without an answer, what torch.txt has for the same version stays."""
    try:
        with urllib.request.urlopen(f"{CPU_INDEX}/torch/", timeout=TIMEOUT_S) as answer:
            wheels = cpu_wheels(answer.read().decode(), version)
    except (urllib.error.URLError, OSError):
        old = LOCKS / "torch.txt"
        wheels = kept_cpu_wheels(old.read_text(encoding="utf-8"), version) if old.exists() else {}
        print(f"make lock: {CPU_INDEX} does not answer; the hashes of torch {version}+cpu stay as they are")
    if len(wheels) < 2 * len(PYTHONS):
        sys.exit(
            f"make lock: {len(wheels)} wheels of torch {version}+cpu are known, {2 * len(PYTHONS)} are needed. "
            f"Run it where {CPU_INDEX} answers."
        )
    return dict(sorted(wheels.items()))


def write(name: str, what: str, blocks: dict[str, str], stamp: str, more: str = "") -> None:
    """Write one lock file: what it is for, the hash of its inputs, and the pinned packages."""
    head = f"# {what} Written by `make lock`, not by hand.\n# inputs sha256:{stamp}\n{more}"
    (LOCKS / name).write_text(head + "\n".join(blocks.values()) + "\n", encoding="utf-8")
    print(f"make lock: locks/{name}: {len(blocks)} packages")


def compiled(folder: Path, out: str, *arguments: str) -> dict[str, str]:
    """The packages that uv resolves for all platforms and Pythons at once."""
    options = ["--universal", "--python-version", PYTHONS[0], "--generate-hashes", "--annotation-style", "line"]
    uv(*options, "--only-binary", ":all:", "-o", out, *arguments, folder=folder)
    text = (folder / out).read_text(encoding="utf-8")  # pins only bound the versions: they ask for nothing
    return entries(re.sub(r"(# via.*?)(?:, -c pins| -c pins,)", r"\1", text))


def main(upgrade: bool) -> None:
    """Resolve, split, write, and look whether every package has a wheel for every platform and Python."""
    asked = inputs()
    stamp = digest(asked)
    old = [LOCKS / name for name in ("torch.txt", "cuda.txt", "reader.txt", "dev.txt")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, lines in asked.items():
            (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "uv").write_text("uv\n", encoding="utf-8")
        if not upgrade:  # uv keeps the versions of the file that it is to write
            (folder / "all.txt").write_text(
                "".join(path.read_text() for path in old if path.exists()), encoding="utf-8"
            )
            tool = LOCKS / "uv.txt"
            (folder / "uv.txt").write_text(tool.read_text() if tool.exists() else "", encoding="utf-8")
        everything = compiled(folder, "all.txt", "requirements.txt", "build", "dev")
        pins = "\n".join(everything) + "\n"
        (folder / "pins").write_text(pins, encoding="utf-8")
        readers = compiled(folder, "reader.txt", "requirements.txt", "build", "--constraint", "pins")
        tools = compiled(folder, "uv.txt", "uv")
        for system in PLATFORMS:
            for python in PYTHONS:
                platform = ["--python-platform", system, "--python-version", python]
                look = ["--offline", "--no-deps", "--only-binary", ":all:", *platform]  # uv has just read all of it
                uv(*look, "-o", "looked.txt", "all.txt", folder=folder)

    (torch,) = (head for head in readers if name_of(head) == "torch")
    version = torch.partition("==")[2].partition(" ")[0]
    wheels = find_cpu_wheels(version)
    hashes = "".join(f" \\\n    --hash=sha256:{sha}" for sha in wheels.values())
    block = readers[torch].split("\n    #")[0] + hashes
    listed = "".join(f"# {sha} {name}\n" for name, sha in wheels.items())
    write("torch.txt", "torch, from PyPI or as the CPU build below.", {torch: block}, stamp, listed)

    cuda = cuda_only(readers)
    write(
        "cuda.txt", "What PyPI's torch needs on Linux.", {h: b for h, b in readers.items() if name_of(h) in cuda}, stamp
    )
    apart = cuda | {"torch"}
    kept = {head: block for head, block in readers.items() if name_of(head) not in apart}
    write("reader.txt", "What the notebooks need.", kept, stamp)
    more = {head: block for head, block in everything.items() if head not in readers and name_of(head) not in apart}
    write("dev.txt", "What the tests need beyond reader.txt.", more, stamp)
    write("uv.txt", "The tool of `make lock`.", tools, stamp)


if __name__ == "__main__":
    main(upgrade="--upgrade" in sys.argv[1:])
