"""The book's own footprint: every notebook run once from top to bottom, with a receipt.

``make study NAME=start_here`` runs the notebooks that are new or whose code has changed and keeps the rows of the
others, so a new chapter joins by running it once more; delete .greenlab/studies/start_here to measure them all again.
Then run notebooks/00_start_here.ipynb, which draws them. A notebook runs in a kernel of its own with an empty state.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
from nbclient import NotebookClient
from tqdm.auto import tqdm

from greenlab.core import studies
from greenlab.core.machine import ROOT

CHAPTER = "start_here"
CHART = "application/vnd.vegalite.v5+json"
PEAK = "from greenlab.core.machine import peak_memory_bytes; print(peak_memory_bytes() or 0)"
COLUMNS = ["notebook", "energy_j", "low_j", "high_j", "basis", "time_s", "cpu_s", "first_chart_s", "peak_mb"]


@dataclass(frozen=True)
class Config:
    """Everything that the table depends on, beside the notebooks."""

    cell_timeout_s: int = 600


def notebooks() -> list[Path]:
    """The book's notebooks, in order."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def step_name(path: Path) -> str:
    """Return a name that changes when the notebook's code does: ``06_layer_pruning-1a2b3c4d``."""
    code = "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    return f"{path.stem}-{hashlib.sha256(code.encode()).hexdigest()[:8]}"


def run_through(path: Path, config: Config) -> dict[str, Any]:
    """Run a notebook from top to bottom as Run All does.

    Returns:
        ``first_chart_s``, from the first cell's start to the first chart [s], and ``peak_mb``, the most resident
        memory of its kernel [MB].
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK))
    times: dict[str, float] = {}

    def executed(cell: Any, cell_index: int, execute_reply: Any) -> None:
        outputs = cell.get("outputs", [])
        if any(CHART in output.get("data", {}) for output in outputs):
            times.setdefault("chart", time.perf_counter())

    def begun(cell: Any, cell_index: int) -> None:
        times.setdefault("start", time.perf_counter())

    with tempfile.TemporaryDirectory() as state:
        client = NotebookClient(
            notebook, timeout=config.cell_timeout_s, kernel_name="python3",
            resources={"metadata": {"path": str(path.parent)}},
            store_widget_state=False, on_cell_start=begun, on_cell_executed=executed,
        )  # fmt: skip
        client.execute(env=os.environ | {"GREENLAB_STATE": state})
    chart_s = times["chart"] - times["start"] if "chart" in times else None
    return {"first_chart_s": chart_s, "peak_mb": int(notebook.cells[-1].outputs[0].text) / 1e6}


def figures(table: pd.DataFrame) -> pd.DataFrame:
    """The numbers that prose may quote: name, value, unit, basis, note."""
    basis = "measured" if (table["basis"] == "measured").all() else "modelled"
    rows = [
        ("notebooks", len(table), "notebooks", "measured", "run from top to bottom"),
        ("energy", table["energy_j"].sum() / 1e3, "kJ", basis, "one run through the book"),
        ("energy-low", table["low_j"].sum() / 1e3, "kJ", basis, "lower end"),
        ("energy-high", table["high_j"].sum() / 1e3, "kJ", basis, "upper end"),
        ("time", table["time_s"].sum() / 60, "min", "measured", "one run through the book"),
        ("peak-memory", table["peak_mb"].max() / 1e3, "GB", "measured", "the largest notebook's kernel"),
    ]
    for row in table.to_dict("records"):
        name = str(row["notebook"]).replace("_", "-")
        rows.append((f"energy-{name}", row["energy_j"] / 1e3, "kJ", row["basis"], "one run through"))
    return pd.DataFrame(rows, columns=["name", "value", "unit", "basis", "note"])


def run(config: Config = Config()) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Run the notebooks that need it; return the tables and the receipts of the current notebooks."""
    steps, found = studies.Steps(CHAPTER, config), []
    names = {step_name(path): path for path in notebooks()}
    for name, path in tqdm(names.items(), desc="running"):
        view = f"greenlab.{path.stem[3:]}.view"  # what the notebook runs: a change of it is measured again
        result = steps.run(name, partial(run_through, path, config), modules=(view,))
        found.append({"step": name, "notebook": path.stem} | result)
    receipts = steps.receipts()
    receipts = receipts[receipts["step"].isin(names)].reset_index(drop=True)  # older versions left theirs behind
    table = pd.DataFrame(found).merge(receipts, on="step")[COLUMNS]
    return {"notebooks": table, "figures": figures(table)}, receipts


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them."""
    return studies.load(CHAPTER, *names)


def main() -> None:
    """Run the study and write data/studies/start_here."""
    config = Config()
    tables, receipts = run(config)
    studies.save(CHAPTER, config, tables, receipts)


if __name__ == "__main__":
    main()
