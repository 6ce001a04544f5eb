"""Run All reaches no widget's goal, and a cell that moves a widget says the same when run twice: the plugin sees it."""

import os
import subprocess
import sys

import nbformat
import pytest

from greenlab.core.machine import ROOT
from tests import promises

WIDGET = """
import altair as alt, ipywidgets as W, pandas as pd
from greenlab.lab.widgets import Explorer
chart = alt.Chart(pd.DataFrame({"x": [1]}), description="d").mark_point()
see = Explorer({"k": W.IntSlider(value=1, max=9, description="k")}, lambda k: chart, lambda k: f"k is {k}",
               lambda k: k > 5, "go above 5")
"""


def run_notebook(folder, sources):
    """Run the cells as ``make notebooks`` runs those of the book; their outputs are not compared."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path = folder / "cells.ipynb"
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))
    command = [sys.executable, "-m", "pytest", "-p", "tests.promises", "--nbval-lax", "--nbval-current-env"]
    return subprocess.run(
        [*command, "-o", "addopts=-q", "-p", "no:cacheprovider", str(path)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("print(see.text_at(k=7))", None),
        ("print(see.text_at())", None),
        ("print(see.text)\nsee.set(k=3)\nprint(see.text)", "the cell printed 'k is 1"),
        ("see.set(k=7)\nprint(see.text)", "Run All reached the goal of [widget]"),
        ("see, print(see.text_at()), see.controls.pop('k', None)", "the cell fails when it runs again"),
        ("print('no widget at work')", "0 cells show a widget at work"),
        ("see.set(k=3)\nsee.text", "prints nothing that can be compared"),
        ("see.controls['k'].value = see.value['k'] % 5 + 1\nprint(see.value)", "the cell printed"),
        ("widgets = [see]\nprint(widgets[0].text_at())", None),
    ],
)
def test_a_cell_that_moves_a_widget_is_found(source, message, tmp_path):
    """A cell that says something else when run again, and one that reaches the goal; those that keep the promises."""
    run = run_notebook(tmp_path, [WIDGET, source])
    assert (run.returncode == 0) == (message is None), run.stdout + run.stderr
    assert message is None or message in run.stdout


def test_a_notebook_without_a_goal_is_found(tmp_path):
    run = run_notebook(
        tmp_path, [WIDGET.replace(',\n               lambda k: k > 5, "go above 5")', ")"), "print(see.text_at())"]
    )
    assert run.returncode == 1
    assert "0 widgets have a goal" in run.stdout


def test_the_books_notebooks_are_run_with_the_plugin():
    """The Makefile's run of the notebooks is the one that proves the book: it has to load the plugin."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nnotebooks:")[2].partition("\n\n")[0]
    assert "-p tests.promises --nbval" in recipe
    names = {path.name for path in (ROOT / "notebooks").rglob("*.ipynb")}
    assert names >= promises.WITHOUT_GOALS | promises.WITHOUT_WIDGETS
