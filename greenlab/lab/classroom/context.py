"""What an answer needs of other cells of its notebook: imports, functions, classes and values, found in the code.

The notebook is read and not run: what stands in the reader's kernel is gone by the time of a submission. A name is
taken from the last statement before the answer's cell that gives it one; only if there is none, from a cell below. What
that statement needs comes along. A name that is bound in a loop, a ``with`` or an ``if`` is not carried, as the whole
block would have to run again, and the reader is told.

An answer to another exercise comes as the reader wrote it. In the notebook, ``check`` replaces a wrong one by the right
one; a teacher's check does not, so an answer that builds on a wrong one is wrong too.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from collections.abc import Iterator

_BUILTINS = frozenset(dir(builtins)) | {"__name__", "__file__", "__doc__"}
# what every process of an answer has under these names; the runner imports them before the limits begin
PRESET_NAMES = frozenset({"math", "random", "itertools", "np", "pd", "torch", "device"})
_HIDDEN = re.compile(r"^greenlab\.(\w+\.view|lab)(\.|$)")
_SIMPLE = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign,
    ast.AugAssign,
)  # fmt: skip
_MOST_STATEMENTS = 200


def needed_names(source: str) -> set[str]:
    """The names that a piece of code takes from outside: neither its own nor those of Python.

    Args:
        source: code that Python can read.

    Raises:
        SyntaxError: if it cannot.

    >>> sorted(needed_names("def f(x):" + chr(10) + "    return helper(x) + len(factors) * y" + chr(10) + "y = 2"))
    ['factors', 'helper']
    """
    top = symtable.symtable(source, "cell", "exec")
    own = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    own |= {child.get_name() for child in top.get_children() if child.get_type() in ("function", "class")}
    used = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    for table in _below(top):
        used |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
        own |= {
            symbol.get_name() for symbol in table.get_symbols() if symbol.is_declared_global() and symbol.is_assigned()
        }
    return used - own - _BUILTINS


def _below(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _below(child)


class _Cells:
    """The statements of a notebook that give a name its value, with the place of their cell."""

    def __init__(self, cells: list[str]) -> None:
        self.given: dict[str, list[tuple[int, ast.stmt]]] = {}
        self.blocks: set[str] = set()  # names that only a block of statements gives
        for place, source in enumerate(cells):
            try:
                body = ast.parse(source).body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                continue  # a cell with a command of IPython gives no name that could be carried
            for step in body:
                if isinstance(step, _SIMPLE) and not _is_check(step):
                    for name in _bound(step):
                        self.given.setdefault(name, []).append((place, step))
                elif not isinstance(step, (ast.Expr, *_SIMPLE)):
                    self.blocks |= _stored(step)

    def of(self, name: str, place: int) -> list[tuple[int, ast.stmt]]:
        """The statements that make a name what it is at a cell: the last that binds it, and those that change it."""
        elsewhere = [(at, step) for at, step in self.given.get(name, []) if at != place]
        above = [(at, step) for at, step in elsewhere if at < place] or elsewhere
        last = max((index for index, (_, step) in enumerate(above) if _binds(step, name)), default=None)
        return [] if last is None else above[last:]


def _stored(step: ast.AST) -> set[str]:
    """The names that a part of the code gives a value."""
    return {part.id for part in ast.walk(step) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}


def _is_check(step: ast.stmt) -> bool:
    call = step.value if isinstance(step, (ast.Assign, ast.AnnAssign)) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "check"


def _bound(step: ast.stmt) -> set[str]:
    """The names that a statement binds or changes."""
    if isinstance(step, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in step.names}
    if isinstance(step, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {step.name}
    targets = step.targets if isinstance(step, ast.Assign) else [step.target]  # type: ignore[attr-defined]
    return set().union(*map(_stored, targets)) | {name for target in targets if (name := _changed(target))}


def _changed(target: ast.expr) -> str:
    """``name`` of ``name[...] = `` and of ``name.part = ``; empty for others."""
    while isinstance(target, (ast.Subscript, ast.Attribute)):
        target = target.value
        if isinstance(target, ast.Name):
            return target.id
    return ""


def _binds(step: ast.stmt, name: str) -> bool:
    if isinstance(step, ast.AugAssign):
        return False
    if isinstance(step, (ast.Assign, ast.AnnAssign)):
        targets = step.targets if isinstance(step, ast.Assign) else [step.target]
        return any(name in _stored(target) for target in targets)
    return True


def _code(step: ast.stmt, name: str) -> str:
    """A statement as code; of an import only the name that is asked, as the others may be what cannot be carried."""
    if isinstance(step, (ast.Import, ast.ImportFrom)):
        kept = [alias for alias in step.names if (alias.asname or alias.name).split(".")[0] == name]
        step = type(step)(**{**dict(ast.iter_fields(step)), "names": kept})
    return ast.unparse(step)


def _hidden(step: ast.stmt, name: str) -> str:
    """The module of the toolkit that an import takes a name from; empty if it is another."""
    if isinstance(step, ast.Import):
        modules = [alias.name for alias in step.names if (alias.asname or alias.name).split(".")[0] == name]
    elif isinstance(step, ast.ImportFrom):
        own = [alias.name for alias in step.names if (alias.asname or alias.name) == name]
        modules = [f"{step.module}.{part}" for part in own] + [str(step.module)]
    else:
        modules = []
    return next((module for module in modules if _HIDDEN.match(module)), "")


def context_of(source: str, cells: list[str], place: int) -> tuple[str, list[str]]:
    r"""The code of other cells that an answer needs, in the notebook's order.

    Args:
        source: the answer's own code.
        cells: the code cells of its notebook, from first to last.
        place: which of them is the answer's own.

    Returns:
        The code, and a sentence for each name that cannot be carried.

    >>> context_of("f = lambda x: twice(x)", ["import math", "def twice(x): return 2 * x", "f = lambda x: twice(x)"], 2)
    ('def twice(x):\n    return 2 * x', [])
    """
    try:
        waiting = sorted(needed_names(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "", []  # the grader names the error
    notebook = _Cells(cells)
    seen = set(waiting)
    found: dict[tuple[int, int, str], str] = {}
    problems: list[str] = []
    while waiting:
        name = waiting.pop(0)
        steps = notebook.of(name, place)
        problem = _problem(name, steps, notebook)
        if problem:
            problems.append(problem)
            continue
        for at, step in steps:
            code = _code(step, name)
            part = name if isinstance(step, (ast.Import, ast.ImportFrom)) else ""
            found[at, step.lineno, part] = code
            more = needed_names(code) - seen - {name}
            seen |= more
            waiting += sorted(more)
        if len(found) > _MOST_STATEMENTS:
            return "", [f"what it needs of other cells is left out: it is more than {_MOST_STATEMENTS} statements"]
    return "\n".join(found[key] for key in sorted(found)), problems


def _problem(name: str, steps: list[tuple[int, ast.stmt]], notebook: _Cells) -> str:
    if steps:
        hidden = next((module for _, step in steps if (module := _hidden(step, name))), "")
        if hidden and name != "check":
            return f"{name} comes from {hidden}, which an answer cannot use when it is graded; write it without"
        return f"{name} comes from {hidden}; write the check as a line of its own" if hidden else ""
    if name in PRESET_NAMES:
        return ""
    if name in notebook.blocks:
        return f"{name} is made in a loop or a block of another cell and is not packed; make it in the answer's cell"
    return f"{name} is in no saved cell of the notebook and is not packed; write it into the answer's cell and save"
