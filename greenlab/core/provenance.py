"""Which code makes a result: a hash that changes with the code of a step, and where this repository stands.

The hash of a step covers

1. the top-level function (or other statement) of the study in which the work stands, and whatever of the same file it
   uses by name, directly or through others;
2. every greenlab module that those import, whole, and the greenlab modules that they import in turn.

So a change of one step leaves the others of the same file as they are, and a change of a technique reaches every step
that uses it. Comments, docstrings and layout do not count: what is hashed is the syntax tree without docstrings.
Modules that only pass on or refuse what they are given do not count either (`NOT_HASHED`), nor do data files and
installed packages: the versions of the packages stand in ``run.json``.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

from greenlab.core.machine import ROOT

PACKAGE = Path(__file__).resolve().parents[1]  # the folder greenlab/
PLAIN = (bool, int, float, str, tuple, type(None))  # values whose text says all of them
# Bookkeeping, and checks whose only effect is an error: a change here changes no result.
NOT_HASHED = frozenset(f"greenlab.core.{name}" for name in ("studies", "provenance", "checks", "names", "calls"))


def code_hash(work: Callable[[], Any], modules: Iterable[str] = ()) -> str | None:
    """The hash of the code that a piece of work runs; None when its source cannot be found.

    Args:
        work: a function, a lambda, a method or a ``functools.partial`` of one. Functions among the arguments of a
            partial and in the closure of a lambda count as well.
        modules: names of more greenlab modules that the work depends on, where its code does not import them by name.

    Raises:
        TypeError: if ``work`` cannot be called, or ``modules`` is no list.
        ValueError: if a module of ``modules`` is not part of greenlab.
    """
    if not callable(work):
        raise TypeError(f"work={work!r} is {type(work).__name__}: give a function without arguments")
    if isinstance(modules, (str, bytes)) or not isinstance(modules, Iterable):
        raise TypeError(f"modules={modules!r} is {type(modules).__name__}: give a list of names")
    pieces: dict[str, str] = {}
    for name in modules:
        if not isinstance(name, str) or _file(name) is None:
            raise ValueError(f"modules holds {name!r}: give names such as 'greenlab.core.model.gpt'")
        _add_module(name, pieces)
    functions = list(_functions(work))
    if not functions:
        return None
    for number, function in enumerate(functions):
        if not _add_function(function, pieces):
            return None
        given = [
            value for value in _defaults(function) if isinstance(value, (bool, int, float, str, tuple, type(None)))
        ]
        if given:  # `lambda size=size: ...` does other work for another size
            pieces[f"defaults of {number}"] = repr(given)
    return hashlib.sha256(json.dumps(sorted(pieces.items())).encode()).hexdigest()[:12]


def _functions(value: Any) -> Iterator[FunctionType]:
    """The Python functions behind a piece of work."""
    if isinstance(value, functools.partial):
        for part in (value.func, *value.args, *value.keywords.values()):
            yield from _functions(part)
    elif isinstance(value, MethodType):
        yield from _functions(value.__func__)
    elif isinstance(value, FunctionType):
        yield value
        for cell in value.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # a name that has no value yet
                continue
            if isinstance(content, (FunctionType, functools.partial)) and content is not value:
                yield from _functions(content)


def _defaults(function: FunctionType) -> list[Any]:
    """The values that a function takes where none is given."""
    return [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def _file(module: str) -> Path | None:
    """The file of a greenlab module; None if there is none."""
    parts = module.split(".")
    if parts[0] != PACKAGE.name:
        return None
    path = PACKAGE.joinpath(*parts[1:])
    for candidate in (path / "__init__.py", path.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None


@functools.lru_cache(maxsize=512)
def _tree(source: str) -> ast.Module:
    """The syntax tree of a file without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree


def _text(value: Any) -> str:
    """A piece of syntax in words that are the same in every version of Python; ``ast.dump`` adds empty fields."""
    if isinstance(value, ast.AST):
        fields = [(name, part) for name, part in ast.iter_fields(value) if part is not None and part != []]
        return f"{type(value).__name__}({', '.join(f'{name}={_text(part)}' for name, part in fields)})"
    if isinstance(value, list):
        return f"[{', '.join(_text(part) for part in value)}]"
    return repr(value)


def _imported(node: ast.AST, module: str) -> Iterator[str]:
    """Names of the greenlab modules that a piece of syntax imports."""
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from (alias.name for alias in found.names if _file(alias.name))
        elif isinstance(found, ast.ImportFrom):
            base = found.module or ""
            if found.level:
                base = ".".join([*module.split(".")[: -found.level], *([base] if base else [])])
            for alias in found.names:
                name = f"{base}.{alias.name}"
                if _file(name):
                    yield name
                elif _file(base):
                    yield base


def _add_module(module: str, pieces: dict[str, str]) -> None:
    """Add a whole module and the greenlab modules that it imports."""
    path = _file(module)
    if path is None or module in pieces or module in NOT_HASHED:
        return
    tree = _tree(path.read_text(encoding="utf-8"))
    pieces[module] = _text(tree)
    for name in _imported(tree, module):
        _add_module(name, pieces)


def _names(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement defines."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return {statement.name}
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _first_line(statement: ast.stmt) -> int:
    decorators = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(node.lineno for node in decorators)])


def _add_function(function: FunctionType, pieces: dict[str, str]) -> bool:
    """Add the top-level statement in which a function stands, and what it uses of its file; False without a source."""
    path, module = Path(function.__code__.co_filename).resolve(), function.__module__
    try:
        body = _tree(path.read_text(encoding="utf-8")).body
    except (OSError, SyntaxError, ValueError):  # typed at a prompt, or in a notebook
        return False
    line = function.__code__.co_firstlineno
    own = [s for s in body if _first_line(s) <= line <= (s.end_lineno or s.lineno)]
    if not own:
        return False
    place = path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else path.name
    waiting, seen = list(own), set[tuple[int, int]]()
    while waiting:
        statement = waiting.pop()
        where = (statement.lineno, statement.col_offset)
        if where in seen:
            continue
        seen.add(where)
        text = _text(statement)
        pieces[f"{place}: {', '.join(sorted(_names(statement)))}: {hashlib.sha256(text.encode()).hexdigest()}"] = text
        for name in _imported(statement, module):
            _add_module(name, pieces)
        used = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
        waiting += [other for other in body if other is not statement and used & _names(other)]
    return True


def repository() -> dict[str, Any]:
    """Where the code stands: ``commit``, and ``dirty``, the files that differ from it; None for what nobody knows.

    Where the code was copied without its history, as to a borrowed machine, the variable ``GREENLAB_COMMIT`` says which
    commit it was; the hash of each step still says whether it is that code.
    """
    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    if commit is None or status is None:
        return {"commit": os.environ.get("GREENLAB_COMMIT"), "dirty": None}
    return {"commit": commit.strip(), "dirty": [line[3:] for line in status.splitlines()]}


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:  # the program is not installed
        return None
    return done.stdout if done.returncode == 0 else None
