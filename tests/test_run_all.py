"""Run All reaches no widget's goal for the reader, and a cell that moves a widget says the same when run twice."""

import json
import os
import subprocess
import sys

import nbformat
import pytest

from greenlab.core.machine import ROOT
from tests import notebook_run

WITHOUT_WIDGETS: set[str] = set()  # notebooks that show no widget at work
WITHOUT_GOALS = {"00_start_here.ipynb"}


@pytest.mark.assets
@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb")))
def test_run_all_reaches_no_goal_and_cells_say_the_same_twice(name, tmp_path):
    """In IPython without a kernel, so that the kernel's own loopback sockets are not in the way."""
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    environment = os.environ | {"GREENLAB_STATE": str(tmp_path / "state"), "IPYTHONDIR": str(tmp_path / "ipython")}
    result = subprocess.run(
        [sys.executable, "-"], input=notebook_run.program(notebook),
        cwd=ROOT / "notebooks", env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    assert "Traceback" not in result.stdout + result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    assert notebook_run.unkept(report) == []
    assert (report["compared"] > 0) == (name not in WITHOUT_WIDGETS)
    assert (report["goals"] > 0) == (name not in WITHOUT_GOALS)


WIDGET = """
import altair as alt, ipywidgets as W, pandas as pd
from greenlab.lab.widgets import Explorer
chart = alt.Chart(pd.DataFrame({"x": [1]}), description="d").mark_point()
see = Explorer({"k": W.IntSlider(value=1, max=9, description="k")}, lambda k: chart, lambda k: f"k is {k}",
               lambda k: k > 5, "go above 5")
"""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("print(see.text_at(k=7))", None),
        ("print(see.text_at())", None),
        ("print(see.text)\nsee.set(k=3)\nprint(see.text)", "cell 1 printed"),
        ("see.set(k=7)\nprint(see.text)", "Run All reached the goal of [widget]"),
    ],
)
def test_a_cell_that_moves_a_widget_is_found(source, message):
    """The promises themselves: a cell that says something else when run again, and a cell that reaches the goal."""
    cells = [nbformat.v4.new_code_cell(WIDGET), nbformat.v4.new_code_cell(source)]
    code = notebook_run.program(nbformat.v4.new_notebook(cells=cells))
    result = subprocess.run([sys.executable, "-"], input=code, capture_output=True, text=True, check=True, cwd=ROOT)
    report = json.loads(result.stdout.splitlines()[-1])
    assert (report["compared"], report["goals"]) == (1, 1)
    found = notebook_run.unkept(report)
    assert found == [] if message is None else any(message in line for line in found)
