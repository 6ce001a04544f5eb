"""What every study keeps: steps that survive an interruption, and a ``run.json`` that says how the tables were made."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import platform
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from greenlab.core.energy.meter import measure
from greenlab.core.machine import ROOT, available_cores

STUDIES = ROOT / "data" / "studies"
PACKAGES = ("torch", "transformers", "peft", "numba", "numpy", "pandas")


def folder(chapter: str) -> Path:
    """Where the committed tables of a chapter's study stand."""
    return STUDIES / chapter


class Steps:
    """Run named steps once: a step's result is kept as JSON, so a study that was stopped goes on where it was.

    Args:
        chapter: the name of the study.
        config: its settings; other settings keep their steps apart.
    """

    def __init__(self, chapter: str, config: Any) -> None:
        self.config_json = config_json(config)
        digest = hashlib.sha256(json.dumps(self.config_json, sort_keys=True).encode()).hexdigest()[:12]
        self.folder = ROOT / ".greenlab" / "studies" / chapter / digest
        self.folder.mkdir(parents=True, exist_ok=True)

    def run(self, name: str, work: Callable[[], Any]) -> Any:
        """Return the result of a step (anything JSON can hold), from disk when it was done before; its cost is kept beside it."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            with measure(name, region="DE") as meter:
                result = work()
            receipt = {
                key: getattr(meter.receipt, key) for key in ("energy_j", "low_j", "high_j", "time_s", "cpu_s", "basis")
            }
            partial = path.with_suffix(".partial")
            partial.write_text(json.dumps({"result": result, "receipt": receipt}))
            partial.replace(path)
        return json.loads(path.read_text())["result"]

    def receipts(self) -> pd.DataFrame:
        """What each step cost: step, energy_j, low_j, high_j, time_s, cpu_s, basis."""
        rows = [
            {"step": path.stem, **json.loads(path.read_text())["receipt"]}
            for path in sorted(self.folder.glob("*.json"))
        ]
        return pd.DataFrame(rows)


def config_json(config: Any) -> dict[str, Any]:
    """Return a config as JSON would give it back (tuples are lists), so that a stored one can be compared with today's."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def save(chapter: str, config: Any, tables: dict[str, pd.DataFrame], receipts: pd.DataFrame) -> None:
    """Write the tables and ``run.json`` of a finished study.

    Energy comes from `greenlab.core.energy.meter`; its basis and range are summed over the steps.
    """
    target = folder(chapter)
    target.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.to_csv(target / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    run = {
        "chapter": chapter,
        "config": config_json(config),
        "date": datetime.date.today().isoformat(),
        "commit": commit.stdout.strip() or None,
        "device": f"{platform.machine()} CPU, {available_cores()} cores",
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in PACKAGES},
        "energy": {key: float(receipts[key].sum()) for key in ("energy_j", "low_j", "high_j", "time_s", "cpu_s")}
        | {"basis": "measured" if (receipts["basis"] == "measured").all() else "modelled"},
        "tables": sorted(tables),
    }
    (target / "run.json").write_text(json.dumps(run, indent=1) + "\n")
    (STUDIES / "README.md").write_text(readme())


def readme() -> str:
    """Return data/studies/README.md: every figure that prose quotes, each with an anchor, and how its study was run."""
    lines = [
        "# Studies",
        "",
        "Made by `make study NAME=...`; do not edit. Prose links to the figures below, and a test compares the digits.",
        "",
    ]
    for path in sorted(STUDIES.glob("*/run.json")):
        chapter, run = path.parent.name, json.loads(path.read_text())
        energy, versions, name = run["energy"], run["versions"], chapter.replace("_", "-")
        lines += [
            f"## {name}",
            "",
            f"Run on {run['date']} ({run['device']}; torch {versions['torch']}, transformers {versions['transformers']}): "
            f"{energy['cpu_s'] / 60:.0f} CPU-minutes, {energy['energy_j'] / 1e3:.1f} kJ "
            f"({energy['low_j'] / 1e3:.1f} to {energy['high_j'] / 1e3:.1f}), {energy['basis']}.",
            "",
            "| figure | value | unit | basis | note |",
            "|---|---|---|---|---|",
        ]
        for row in load(chapter, "figures")["figures"].itertuples():
            anchor = f"{name}.{row.name}"
            lines.append(
                f'| <a id="{anchor}"></a>{row.name} | {row.value:.4g} | {row.unit} | {row.basis} | {row.note} |'
            )
        lines.append("")
    return "\n".join(lines)


def load(chapter: str, *names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables of a study by name.

    Raises:
        ValueError: if a table is not there.
    """
    found = sorted(path.stem for path in folder(chapter).glob("*.csv"))
    for name in names:
        if name not in found:
            raise ValueError(f"table={name!r}: the study {chapter!r} has {', '.join(found) or 'no tables'}")
    return {name: pd.read_csv(folder(chapter) / f"{name}.csv") for name in names or found}
