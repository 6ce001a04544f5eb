"""Show the package's own code in a notebook, so that no chapter carries a copy of it."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from IPython.display import display

from greenlab.core.machine import ROOT


def source_of(obj: Any) -> tuple[str, str, int]:
    """The source of a function, class or module, the file it stands in (relative), and its first line.

    Args:
        obj: a function, a method, a class or a module that is written in Python.

    Raises:
        ValueError: if the object has no Python source.
    """
    target = inspect.unwrap(obj) if callable(obj) else obj
    try:
        lines, first = inspect.getsourcelines(target)
        path = Path(inspect.getsourcefile(target) or "")
    except (TypeError, OSError) as error:
        raise ValueError(f"{obj!r} has no Python source to show; give a function, a class or a module") from error
    if path.is_relative_to(ROOT):
        name = path.relative_to(ROOT).as_posix()
    else:  # a library: where it stands on this machine is nobody's business
        module = inspect.getmodule(target)
        name = f"{(module.__name__ if module else path.stem).replace('.', '/')}.py"
    return inspect.cleandoc("\n" + "".join(lines)), name, max(first, 1)


def show_source(obj: Any) -> None:
    """Display the source of a function, class or module, with the file and line where it stands.

    Args:
        obj: a function, a method, a class or a module that is written in Python.

    Raises:
        ValueError: if the object has no Python source.
    """
    code, name, first = source_of(obj)
    caption = f"{name}:{first}"
    markdown = f"```python\n{code}\n```\n*Source: `{caption}`*"
    display({"text/markdown": markdown, "text/plain": f"# {caption}\n{code}"}, raw=True)
