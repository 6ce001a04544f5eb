"""The notebooks for a class: solutions and instructor's notes removed, everything else as it was.

``python -m greenlab.workshop student`` (or ``make student``) writes them. The stored outputs are removed as
well, since a learner who sees the answers does not predict; ``--keep-outputs`` keeps them, so that a test run can
compare what the stripped notebooks give with what the whole ones gave.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import nbformat

from greenlab.core.machine import ROOT

REMOVED = {"solution", "instructor"}


def stripped(notebook: nbformat.NotebookNode, keep_outputs: bool = False) -> nbformat.NotebookNode:
    """A copy of a notebook without the cells that have the tag ``solution`` or ``instructor``.

    Args:
        notebook: as nbformat reads it; it is not changed.
        keep_outputs: keep what the cells gave, and their execution counts.

    Raises:
        TypeError: if ``notebook`` was not read by nbformat, or ``keep_outputs`` is neither True nor False.
    """
    if not isinstance(notebook, nbformat.NotebookNode) or "cells" not in notebook:
        raise TypeError(
            f"notebook={notebook!r:.80} is {type(notebook).__name__}: give nbformat.read(path, as_version=4)"
        )
    if not isinstance(keep_outputs, bool):
        raise TypeError(f"keep_outputs={keep_outputs!r} is {type(keep_outputs).__name__}: give True or False")
    kept = copy.deepcopy(notebook)
    kept.cells = [cell for cell in kept.cells if not REMOVED & set(cell.metadata.get("tags", []))]
    counts = 0
    for cell in kept.cells:
        if cell.cell_type != "code":
            continue
        if keep_outputs:
            # a solution that was code took a number; what is left counts without gaps again
            counts += bool(cell.source.strip())
            cell.execution_count = counts if cell.source.strip() else None
        else:
            cell.outputs, cell.execution_count = [], None
    return kept


def write_student(out: str | Path, root: str | Path = ROOT, keep_outputs: bool = False) -> list[Path]:
    """Write every chapter for a class into a folder, and give the paths.

    Args:
        out: the folder; beside ``notebooks/``, so that links to data/ lead where they did. It is made if need be.
        root: the repository, with notebooks/.
        keep_outputs: as in ``stripped``.

    Raises:
        TypeError: if ``out`` or ``root`` is no path, or ``keep_outputs`` is neither True nor False.
        ValueError: if there is no notebook below ``root``, or ``out`` is the folder of the notebooks themselves or
            names none.
    """
    for name, folder in (("out", out), ("root", root)):
        if not isinstance(folder, str | Path):
            raise TypeError(f"{name}={folder!r:.80} is {type(folder).__name__}: give a path")
        if not str(folder).strip() or "\0" in str(folder):
            raise ValueError(f"{name}={str(folder)!r:.80} names no folder: give a path such as student")
    if not isinstance(keep_outputs, bool):
        raise TypeError(f"keep_outputs={keep_outputs!r} is {type(keep_outputs).__name__}: give True or False")
    out, source = Path(out), Path(root) / "notebooks"
    notebooks = sorted(source.glob("[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise ValueError(f"root={str(root)!r} has no notebooks/NN_<chapter>.ipynb: give the folder of the repository")
    if out.resolve() == source.resolve():
        raise ValueError(f"out={str(out)!r} holds the whole notebooks, which would be lost: give another folder")
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for path in notebooks:
        target = out / path.name
        nbformat.write(stripped(nbformat.read(path, as_version=4), keep_outputs), target)
        written.append(target)
    return written


def main(arguments: list[str]) -> int:
    """Write the notebooks into the folder that is named, student/ by default, and say where they are."""
    parser = argparse.ArgumentParser(prog="python -m greenlab.workshop", description=main.__doc__)
    parser.add_argument("out", nargs="?", default="student", help="the folder")
    parser.add_argument("--keep-outputs", action="store_true", help="keep stored outputs, for a test run")
    chosen = parser.parse_args(arguments)
    written = write_student(chosen.out, keep_outputs=chosen.keep_outputs)
    print(f"{len(written)} notebooks without solutions; begin with {written[0]}")
    return 0
