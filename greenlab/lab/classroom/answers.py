"""The reader's answers, read from the notebook files: exercise cells without their ``check``."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenlab.core import checks
from greenlab.lab import state

TAG = "exercise"
LONGEST_SOURCE = 20_000  # characters: the longest cell of the book has 15 lines
_NAME = re.compile(r"[A-Za-z_]\w{0,79}")
_CHECK = re.compile(r"""^(?P<name>[A-Za-z_]\w*)\s*=\s*check\(\s*["'](?P<id>[^"']+)["']\s*,[^\n]*\)\s*$""", re.M)


@dataclass(frozen=True)
class Answer:
    """One exercise as a reader left it.

    Attributes:
        exercise: the exercise's id.
        name: the variable or function that the check takes.
        source: the code of the cell without its check.

    Raises:
        TypeError: if one of them is no text.
        ValueError: if the id cannot be a key, the name is no name of Python, or the source is too long.
    """

    exercise: str
    name: str
    source: str

    def __post_init__(self) -> None:
        state.check_key(self.exercise, "exercise")
        if not _NAME.fullmatch(checks.text("name", self.name)):
            raise ValueError(f"name={self.name[:80]!r}: give a name of Python with at most 80 letters")
        if len(checks.text("source", self.source)) > LONGEST_SOURCE:
            raise ValueError(f"source has {len(self.source)} characters: give at most {LONGEST_SOURCE}")

    @property
    def text(self) -> str:
        """The source without blank lines and spaces at the ends of lines, to compare with the stub of the book."""
        return "\n".join(line.rstrip() for line in self.source.splitlines() if line.strip())


def from_cell(source: str) -> Answer | None:
    """The answer in the code of one cell, or None if the cell has no ``name = check("id", name)``.

    A cell that Python cannot read is an answer too: its check is found as text, and the grader names the error.

    Args:
        source: the code of an exercise cell.

    Raises:
        TypeError: if the source is no text.
        ValueError: if it is too long, or the id or the name cannot be one.

    >>> from_cell('carbon_g = 4.0' + chr(10) + 'carbon_g = check("start-here-carbon", carbon_g)')
    Answer(exercise='start-here-carbon', name='carbon_g', source='carbon_g = 4.0')
    """
    checks.text("source", source)
    found = _by_syntax(source) or _by_text(source)
    if found is None:
        return None
    id, name, first, last = found
    lines = source.splitlines()
    return Answer(id, name, "\n".join(lines[:first] + lines[last:]).strip("\n"))


def _by_syntax(source: str) -> tuple[str, str, int, int] | None:
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    for step in reversed(body):
        if not (isinstance(step, ast.Assign) and isinstance(step.value, ast.Call) and len(step.targets) == 1):
            continue
        call, target = step.value, step.targets[0]
        given = call.args[0] if call.args else None
        if (
            isinstance(call.func, ast.Name)
            and call.func.id == "check"
            and isinstance(target, ast.Name)
            and isinstance(given, ast.Constant)
            and isinstance(given.value, str)
        ):
            return given.value, target.id, step.lineno - 1, step.end_lineno or step.lineno
    return None


def _by_text(source: str) -> tuple[str, str, int, int] | None:
    found = list(_CHECK.finditer(source))
    if not found:
        return None
    line = source.count("\n", 0, found[-1].start())
    return found[-1]["id"], found[-1]["name"], line, line + 1


def from_notebooks(folder: Path | str) -> tuple[list[Answer], list[str]]:
    """The answers in all notebooks of a folder.

    Args:
        folder: where the notebooks are.

    Returns:
        The answers, sorted by exercise, and a sentence for each notebook or cell that was passed over.

    Raises:
        TypeError: if the folder is no path.
        ValueError: if it is no folder, or holds no notebook.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder={folder!r:.80} is {type(folder).__name__}: give the path of the notebooks")
    paths = _notebooks(Path(folder))
    found: dict[str, Answer] = {}
    passed = []
    for path in paths:
        try:
            cells = _exercise_cells(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            passed.append(f"{path.name} is left out: it cannot be read as a notebook ({type(error).__name__})")
            continue
        for cell in cells:
            try:
                answer = from_cell(cell)
            except ValueError as error:
                passed.append(f"a cell of {path.name} is left out: {error}")
                continue
            if answer is not None and answer.exercise not in found:
                found[answer.exercise] = answer
    return [found[id] for id in sorted(found)], passed


def _notebooks(folder: Path) -> list[Path]:
    try:
        paths = sorted(folder.glob("*.ipynb")) if str(folder) and folder.is_dir() else []
    except (OSError, ValueError):
        paths = []
    if not paths:
        raise ValueError(
            f"folder={str(folder)!r:.200} holds no notebook; give the folder with the chapters' .ipynb files"
        )
    return paths


def _exercise_cells(notebook: Any) -> Iterable[str]:
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and TAG in cell.get("metadata", {}).get("tags", []):
            source = cell["source"]
            yield source if isinstance(source, str) else "".join(source)
