"""A pytest plugin for the notebooks' run that looks at two promises, so that no notebook runs once more for them.

``python -m pytest -p tests.promises --nbval ...``. After a cell has passed, the same kernel is asked:

* A cell that shows a widget at work prints the same when it runs again, also after the reader has moved a control.
* Run All reaches no widget's goal: that is left to the reader. This is asked after the last cell.

A notebook in which neither could be seen fails too, unless it is named here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.notebook_rules import IGNORE

WITHOUT_WIDGETS = {"class.ipynb"}  # notebooks that show no widget at work
WITHOUT_GOALS = {"00_start_here.ipynb", "class.ipynb"}
SHOWS = re.compile(r"\.(?:text_at|set)\(|\.text\b|\.controls\b")  # what a cell calls that shows a widget at work
ANSWER = "the kernel answers: "
ANSWER_S = 120.0  # the longest that it may take to answer
# What runs in the kernel. Its names begin with an underscore, so that a notebook's own stay as they are.
IN_THE_KERNEL = """
import contextlib as _contextlib, gc as _gc, io as _io, json as _json, re as _re

def _explorers():
    from greenlab.lab.widgets import Explorer
    return [thing for thing in _gc.get_objects() if issubclass(type(thing), Explorer)]

def _named(source):
    words = set(_re.findall(r"[A-Za-z_]\\w*", source))
    known = get_ipython().user_ns
    return [thing for thing in _explorers() if any(known.get(word) is thing for word in words)]

def _move(widget):
    from greenlab.lab.widgets import _ends
    name, control = next(iter(widget.controls.items()))
    widget.set(**{name: next((end for end in reversed(_ends(control)) if end != control.value), control.value)})

def _again(source):
    widgets = _named(source)
    before = [widget.value for widget in widgets]
    for widget in widgets:
        _move(widget)
    with _contextlib.redirect_stdout(_io.StringIO()) as out:
        get_ipython().run_cell(source, store_history=False).raise_error()
    for widget, values in zip(widgets, before, strict=True):
        widget.set(**values)
    return {"printed": out.getvalue(), "widgets": len(widgets)}

def _reached(widget):
    said, values = widget.text, widget.value
    if not _re.search(r"Goal: .*: reached\\.", said):
        return False
    _move(widget)
    widget.set(**values)
    # a widget that measures this machine anew says something else each time: where it starts is the machine's doing
    return widget.text == said or values != widget._first

def _goals():
    goals = [widget for widget in _explorers() if "Goal: " in widget.text]
    return {"goals": len(goals), "reached": [repr(widget) for widget in goals if _reached(widget)]}
"""


class BrokenPromise(Exception):
    """What a notebook's kernel did that the book promises not to do."""


def ask(kernel: Any, call: str) -> dict[str, Any]:
    """What ``call``, one of the functions above, gives in a kernel of nbval.

    Raises:
        BrokenPromise: if the kernel does not answer, or with an error.
    """
    code = f"{IN_THE_KERNEL}\nprint({ANSWER!r} + _json.dumps({call}))"
    asked, said = kernel.kc.execute(code, store_history=False, stop_on_error=False), ""
    while True:
        message = kernel.get_message("iopub", timeout=ANSWER_S)
        if message["parent_header"].get("msg_id") != asked:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "stream" and content["name"] == "stdout":
            said += content["text"]
        elif kind == "error":
            raise BrokenPromise("the cell fails when it runs again:\n" + "\n".join(content["traceback"]))
        elif kind == "status" and content["execution_state"] == "idle":
            break
    _, found, answer = said.rpartition(ANSWER)
    if not found:
        raise BrokenPromise(f"the kernel did not answer: {said!r}")
    return json.loads(answer)


def looked_at(source: str) -> bool:
    """Whether a cell shows a widget at work and its output is compared.

    >>> looked_at("print(see.text)"), looked_at("print(3)"), looked_at("# NBVAL_IGNORE_OUTPUT\\nprint(see.text)")
    (True, False, False)
    """
    return bool(SHOWS.search(source)) and not IGNORE.search(source)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """After a cell has passed, ask its kernel."""
    result = yield
    if item.path.suffix != ".ipynb":
        return result
    notebook: Any = item.parent  # nbval's file; its items are the code cells, in order
    cell: Any = item
    source, kernel = cell.cell.source, notebook.kernel
    if looked_at(source):
        first = "".join(out.text for out in cell.test_outputs if out.output_type == "stream" and out.name == "stdout")
        again = ask(kernel, f"_again({source!r})")
        if not (again["widgets"] or "see." in source):
            raise BrokenPromise("the cell shows a widget that has no name of its own: give it one, as explorer = ...")
        if not first:
            raise BrokenPromise("the cell shows a widget at work and prints nothing that can be compared: print it")
        if again["printed"] != first:
            raise BrokenPromise(f"the cell printed {first!r}, and run again {again['printed']!r}")
        notebook.compared = getattr(notebook, "compared", 0) + 1
    if cell.cell is [one for one in notebook.nb.cells if one.cell_type == "code"][-1]:
        _at_the_end(item.path, getattr(notebook, "compared", 0), ask(kernel, "_goals()"))
    return result


def _at_the_end(path: Path, compared: int, goals: dict[str, Any]) -> None:
    if goals["reached"]:
        raise BrokenPromise(f"Run All reached the goal of {', '.join(goals['reached'])}")
    if (compared > 0) == (path.name in WITHOUT_WIDGETS):
        raise BrokenPromise(f"{compared} cells show a widget at work: WITHOUT_WIDGETS in {__name__} says otherwise")
    if (goals["goals"] > 0) == (path.name in WITHOUT_GOALS):
        raise BrokenPromise(f"{goals['goals']} widgets have a goal: WITHOUT_GOALS in {__name__} says otherwise")
