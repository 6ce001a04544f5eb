"""After set-up nothing touches the network: the notebooks' run refuses every address but this machine's."""

import os
import subprocess
import sys

import nbformat
import pytest

from greenlab.core.machine import ROOT

SOCKET = "import socket\ns = socket.socket()\ns.settimeout(1)\n"
SWALLOWED = "try:\n    {}\nexcept OSError:\n    pass"


def run_notebook(folder, source, *arguments):
    """Run a notebook of one cell as ``make notebooks`` runs those of the book."""
    cell = nbformat.v4.new_code_cell(source, execution_count=1)
    path = folder / "one_cell.ipynb"
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=[cell])))
    environment = {name: value for name, value in os.environ.items() if name != "GREENLAB_OFFLINE_LOG"}
    command = [sys.executable, "-m", "pytest", "-p", "tests.offline", "--nbval", "--nbval-current-env"]
    return subprocess.run(
        [*command, "-o", "addopts=-q", "-p", "no:cacheprovider", *arguments, str(path)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import urllib.request\nurllib.request.urlopen('http://example.org')", "looked up example.org"),
        (SWALLOWED.format("import urllib.request; urllib.request.urlopen('http://a.example')"), "looked up a.example"),
        (SOCKET + SWALLOWED.format("s.connect(('192.0.2.1', 80))"), "asked for ('192.0.2.1', 80)"),
        (SOCKET + SWALLOWED.format("s.connect_ex(('192.0.2.2', 80))"), "asked for ('192.0.2.2', 80)"),
    ],
)
def test_a_notebook_that_asks_for_the_outside_fails_even_if_it_swallows_the_error(tmp_path, source, words):
    run = run_notebook(tmp_path, source)
    assert run.returncode == 1
    assert f"offline: a notebook {words}" in run.stdout


def test_a_notebook_that_stays_here_passes(tmp_path):
    source = "import socket\ns = socket.create_server(('127.0.0.1', 0))\nc = socket.create_connection(s.getsockname())"
    run = run_notebook(tmp_path, source)
    assert run.returncode == 0, run.stdout + run.stderr


def test_a_run_without_a_kernel_proves_nothing_and_fails(tmp_path):
    (tmp_path / "test_empty.py").write_text("def test_nothing():\n    assert True\n")
    run = run_notebook(tmp_path, "1", "--deselect", "one_cell.ipynb", str(tmp_path / "test_empty.py"), "-k", "nothing")
    assert run.returncode == 1
    assert "ran no kernel under the block" in run.stdout


def test_the_books_notebooks_are_run_under_the_block():
    """The Makefile's run of the notebooks is the one that proves the book: it has to load the plugin."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8").partition("\nnotebooks:")[2].partition("\n\n")[0]
    assert "-p tests.offline " in recipe
