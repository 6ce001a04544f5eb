"""The reader's answers, read from the notebooks: cells without their ``check``, and what they need of others."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from greenlab.core import checks
from greenlab.lab import state
from greenlab.lab.classroom.context import context_of

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
        source: the code of the cell up to its check.
        context: what the source needs of other cells; it runs before the source.

    Raises:
        TypeError: if one of them is no text.
        ValueError: if the id cannot be a key, the name is no name of Python, or the source or the context is too long.
    """

    exercise: str
    name: str
    source: str
    context: str = ""

    def __post_init__(self) -> None:
        state.check_key(self.exercise, "exercise")
        if not _NAME.fullmatch(checks.text("name", self.name)):
            raise ValueError(f"name={self.name[:80]!r}: give a name of Python with at most 80 letters")
        for part in ("source", "context"):
            if len(checks.text(part, getattr(self, part))) > LONGEST_SOURCE:
                raise ValueError(f"{part} has {len(getattr(self, part))} characters: give at most {LONGEST_SOURCE}")

    @property
    def text(self) -> str:
        """The source without blank lines and spaces at the ends of lines, to compare with the stub of the book."""
        return "\n".join(line.rstrip() for line in self.source.splitlines() if line.strip())


def from_cell(source: str) -> tuple[Answer, ...]:
    """The answers in the code of one cell: one for each ``name = check("id", name)``.

    An answer is the cell up to its check, as the reader's kernel had it; a check before it leaves its value as it was
    given. A cell that Python cannot read is an answer too: its checks are found as text; the grader names the error.

    Args:
        source: the code of an exercise cell.

    Raises:
        TypeError: if the source is no text.
        ValueError: if it is too long, or an id or a name cannot be one.

    >>> from_cell('carbon_g = 4.0' + chr(10) + 'carbon_g = check("start-here-carbon", carbon_g)')
    (Answer(exercise='start-here-carbon', name='carbon_g', source='carbon_g = 4.0', context=''),)
    >>> [answer.exercise for answer in from_cell('x = check("a", 1.0); check("b", x + 1)')]
    ['a', 'b']
    """
    source = checks.text("source", source).replace("\r\n", "\n").replace("\r", "\n")
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _by_text(source)
    data = source.encode()  # places in the code are counted in bytes
    starts = [0, *(place + 1 for place, letter in enumerate(data) if letter == ord("\n"))]
    found: list[Answer] = []
    pieces, cursor = b"", 0  # the cell without its checks, so far
    for step in body:
        checked = _checked(step)
        if checked is None:
            continue
        id, given, target = checked
        name = target or (given.id if isinstance(given, ast.Name) else f"answer_{len(found) + 1}")
        first = starts[step.lineno - 1] + step.col_offset
        last = starts[(step.end_lineno or step.lineno) - 1] + (step.end_col_offset or 0)
        pieces += data[cursor:first]
        if not (isinstance(given, ast.Name) and given.id == name):
            pieces += f"{name} = {ast.unparse(given) if given else '...'}".encode()
        elif not pieces.endswith(b"\n") or data[last : last + 1] not in (b"", b"\n"):
            pieces += b"pass"  # it shares its line with other statements
        cursor = last
        text = pieces.removesuffix(b"pass").rstrip().decode()
        found.append(Answer(id, name, text.strip("\n")))
    return tuple(found)


def _checked(step: ast.stmt) -> tuple[str, ast.expr | None, str] | None:
    """The id, the answer and the target of ``target = check("id", answer)`` or ``check("id", answer)``."""
    if isinstance(step, ast.Assign) and len(step.targets) == 1 and isinstance(step.targets[0], ast.Name):
        call, target = step.value, step.targets[0].id
    elif isinstance(step, ast.Expr):
        call, target = step.value, ""
    else:
        return None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "check"):
        return None
    words = {word.arg: word.value for word in call.keywords}
    id = call.args[0] if call.args else words.get("id")
    given = call.args[1] if len(call.args) > 1 else words.get("answer")
    if not (isinstance(id, ast.Constant) and isinstance(id.value, str)):
        return None
    return id.value, given, target


def _by_text(source: str) -> tuple[Answer, ...]:
    rest = _CHECK.sub("", source).strip("\n")
    return tuple(Answer(found["id"], found["name"], rest) for found in _CHECK.finditer(source))


def from_notebooks(folder: Path | str) -> tuple[list[Answer], list[str]]:
    """The answers in all notebooks of a folder, each with what it needs of its notebook's other cells.

    Where an exercise is answered more than once, the last cell counts; of two notebooks, the one with the shorter name,
    as a copy's name is longer.

    Args:
        folder: where the notebooks are.

    Returns:
        The answers, sorted by exercise, and a sentence for each notebook, cell or name that was passed over.

    Raises:
        TypeError: if the folder is no path.
        ValueError: if it is no folder, or holds no notebook.
    """
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder={folder!r:.80} is {type(folder).__name__}: give the path of the notebooks")
    found: dict[str, Answer] = {}
    where: dict[str, Path] = {}
    passed: list[str] = []
    for path in sorted(_notebooks(Path(folder)), key=lambda path: (len(path.name), path.name)):
        try:
            cells = list(_code_cells(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            passed.append(f"{path.name} is left out: it cannot be read as a notebook ({type(error).__name__})")
            continue
        own = _of_notebook(path.name, cells, passed)
        for id, answer in own.items():
            if id not in found:
                found[id], where[id] = answer, path
            elif answer != found[id]:
                passed.append(f"{id} is answered in {where[id].name} and in {path.name}: the first of them is packed")
    return [found[id] for id in sorted(found)], passed


def _of_notebook(name: str, cells: list[tuple[str, bool]], passed: list[str]) -> dict[str, Answer]:
    """The answers of one notebook by exercise, complete; what was passed over is added to ``passed``."""
    sources = [source for source, _ in cells]
    found: dict[str, Answer] = {}
    for place, (source, is_exercise) in enumerate(cells):
        if not is_exercise and "check(" not in source:
            continue
        try:
            answers = from_cell(source)
        except ValueError as error:
            passed.append(f"a cell of {name} is left out: {error}")
            continue
        if is_exercise and "check(" in source and not answers:
            passed.append(f"a cell of {name} is left out: write its check as `name = check('the-id', name)`")
        for answer in answers:
            if answer.exercise in found and found[answer.exercise].source != answer.source:
                passed.append(f"{answer.exercise} is answered twice in {name}: the last cell is packed")
            context, problems = context_of(answer.source, sources, place)
            passed += [f"{answer.exercise}: {problem}" for problem in problems]
            try:
                found[answer.exercise] = replace(answer, context=context)
            except ValueError as error:
                passed.append(f"{answer.exercise}: what it needs of other cells is left out: {error}")
                found[answer.exercise] = answer
    return found


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


def _code_cells(notebook: Any) -> Iterable[tuple[str, bool]]:
    """Each code cell's source, and whether it is an exercise."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source = cell["source"]
            text = source if isinstance(source, str) else "".join(source)
            yield text, TAG in cell.get("metadata", {}).get("tags", [])
