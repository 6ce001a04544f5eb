"""The doctor: ``python -m greenlab`` says on one screen whether this machine is ready, and what to type next.

An instructor runs it before class. Nothing is changed, nothing is fetched, nothing heavy is imported. The counter of a
GPU is watched for half a second, to say how often it moves.

``python -m greenlab submit`` and ``python -m greenlab grade FOLDER`` are in ``greenlab.lab.classroom.command``.
"""

from __future__ import annotations

import importlib
import platform
import sys
from importlib import metadata

import greenlab
from greenlab.core import assets, machine
from greenlab.core.energy import counters, meter, pace

PACKAGES = ("torch", "transformers", "peft", "altair", "ipywidgets", "jupyterlab", "numpy", "pandas")
NEEDED_BYTES = 1.6e9  # the chapters that run SmolLM2


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "MISSING"


def report() -> tuple[list[str], bool]:
    """Return the lines of the screen, and whether everything is ready.

    What is absent or broken stands in the lines; nothing is raised for it.
    """
    versions = {package: _version(package) for package in PACKAGES}
    cores, free, limit = machine.available_cores(), machine.available_memory_bytes(), machine.memory_limit_bytes()
    short = "" if free > NEEDED_BYTES else f" (chapters with SmolLM2 need {NEEDED_BYTES / 1e9:.1f} GB: close something)"
    lines = [
        f"greenlab {greenlab.__version__} on Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}",
        "packages  " + ", ".join(f"{name} {version}" for name, version in versions.items()),
        f"machine   {cores} core{'s' * (cores != 1)} to use, "
        f"{free / 1e9:.1f} of {limit / 1e9:.1f} GB memory free{short}",
        f"assets    in {assets.assets_folder()}",
    ]
    broken = []
    for name in assets.SPECS:
        found = assets.problems(name, thorough=True)
        broken += found
        lines.append(f"  {name:9} " + ("; ".join(found) if found else f"verified: {assets.spec(name).what}"))
    lines.append("energy    " + meter.what_will_be_reported())
    gpus = {counter.name: counter for counter in counters.find_counters()[0] if counter.component == "gpu"}
    for state in meter.available_counters():
        watched = f"; {pace.pace(gpus[state.name])}" if state.name in gpus else ""
        lines.append(f"  {state.name}: {state.reason}{watched}")
    ready = not broken and "MISSING" not in versions.values()
    if "MISSING" in versions.values():
        lines.append("next      make setup")
    else:
        lines.append("next      " + ("make lab" if ready else "python -m greenlab.core.assets"))
    return lines, ready


def main() -> int:
    """Print the screen, or run the command that is named; the exit code is 0 when everything is ready or done."""
    if sys.argv[1:]:
        # by name, as the doctor imports nothing that displays
        return int(importlib.import_module("greenlab.lab.classroom.command").main(sys.argv[1:]))
    lines, ready = report()
    print("\n".join(lines))
    return 0 if ready else 1


if __name__ == "__main__":
    sys.exit(main())
