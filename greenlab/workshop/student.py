"""The notebooks for a class: solutions and instructor's notes removed, everything else as it was.

``python -m greenlab.workshop student`` (or ``make student``) writes them. The stored outputs are removed as
well, since a learner who sees the answers does not predict; ``--keep-outputs`` keeps them, so that a test run can
compare what the stripped notebooks give with what the whole ones gave.
"""

from __future__ import annotations

import argparse
import copy
import sys
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


def _worked_in(path: Path, written: nbformat.NotebookNode) -> bool:
    """Whether a notebook of that name stands there already and has other cells than the one to be written."""
    if not path.exists():
        return False
    try:
        there = nbformat.read(path, as_version=4)
        return [cell.source for cell in there.cells] != [cell.source for cell in written.cells]
    except (OSError, ValueError, AttributeError, nbformat.ValidationError):
        return True  # unreadable, so nobody knows what would be lost


def write_student(
    out: str | Path, root: str | Path = ROOT, keep_outputs: bool = False, replace: bool = False
) -> list[Path]:
    """Write every chapter for a class into a folder, and give the paths.

    Nothing is written if a learner's work would be lost.

    Args:
        out: the folder; beside ``notebooks/``, so that links to data/ lead where they did. It is made if need be.
        root: the repository, with notebooks/.
        keep_outputs: as in ``stripped``.
        replace: write over notebooks in which somebody has worked.

    Raises:
        TypeError: if ``out`` or ``root`` is no path, or ``keep_outputs`` or ``replace`` is neither True nor False.
        ValueError: if there is no notebook below ``root``, ``out`` is the folder of the notebooks themselves or names
            none, or holds a notebook in which somebody has worked.
    """
    for name, folder in (("out", out), ("root", root)):
        if not isinstance(folder, str | Path):
            raise TypeError(f"{name}={folder!r:.80} is {type(folder).__name__}: give a path")
        if not str(folder).strip() or "\0" in str(folder):
            raise ValueError(f"{name}={str(folder)!r:.80} names no folder: give a path such as student")
    for name, choice in (("keep_outputs", keep_outputs), ("replace", replace)):
        if not isinstance(choice, bool):
            raise TypeError(f"{name}={choice!r} is {type(choice).__name__}: give True or False")
    out, source = Path(out), Path(root) / "notebooks"
    notebooks = sorted(source.glob("[0-9][0-9]_*.ipynb"))
    if not notebooks:
        raise ValueError(f"root={str(root)!r} has no notebooks/NN_<chapter>.ipynb: give the folder of the repository")
    if out.resolve() == source.resolve():
        raise ValueError(f"out={str(out)!r} holds the whole notebooks, which would be lost: give another folder")
    bare = {out / path.name: stripped(nbformat.read(path, as_version=4), keep_outputs) for path in notebooks}
    kept = [] if replace else [path.name for path, notebook in bare.items() if _worked_in(path, notebook)]
    if kept:
        raise ValueError(
            f"out={str(out)!r} holds {', '.join(kept)}, in which somebody has worked: move these away, give another "
            "folder, or write over them with --replace"
        )
    out.mkdir(parents=True, exist_ok=True)
    for path, notebook in bare.items():
        nbformat.write(notebook, path)
    return list(bare)


def main(arguments: list[str]) -> int:
    """Write the notebooks into the folder that is named, student/ by default, and say where they are."""
    parser = argparse.ArgumentParser(prog="python -m greenlab.workshop", description=main.__doc__)
    parser.add_argument("out", nargs="?", default="student", help="the folder")
    parser.add_argument("--keep-outputs", action="store_true", help="keep stored outputs, for a test run")
    parser.add_argument("--replace", action="store_true", help="write over notebooks in which somebody has worked")
    chosen = parser.parse_args(arguments)
    try:
        written = write_student(chosen.out, keep_outputs=chosen.keep_outputs, replace=chosen.replace)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(written)} notebooks without solutions; begin with {written[0]}")
    return 0
