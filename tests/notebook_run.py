"""A Python program that runs a notebook's cells in order, and says what its widgets then do.

Two promises of the book are looked at on the way, so that no notebook has to run once more for them:

* A cell that shows a widget at work prints the same when it runs again, also after the reader has moved a control.
* Run All reaches no widget's goal: that is left to the reader.
"""

from __future__ import annotations

from typing import Any

from tests.notebook_rules import IGNORE, Notebook, code_cells, text_of

SHOWS = r"\.(?:text_at|set)\(|\.text\b"  # what a cell calls that shows a widget at work
PROGRAM = """
import contextlib, gc, io, json, re
from IPython.core.interactiveshell import InteractiveShell
shell, twice, compared = InteractiveShell.instance(), [], 0

def run(source):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        shell.run_cell(source, store_history=False).raise_error()
    return out.getvalue()

def explorers():
    from greenlab.lab.widgets import Explorer
    return [thing for thing in gc.get_objects() if issubclass(type(thing), Explorer)]

def named(source):
    words = set(re.findall(r"[A-Za-z_]\\w*", source))
    return [thing for thing in explorers() if any(shell.user_ns.get(word) is thing for word in words)]

def move(widget):
    from greenlab.lab.widgets import _ends
    name, control = next(iter(widget.controls.items()))
    widget.set(**{name: next((end for end in reversed(_ends(control)) if end != control.value), control.value)})

for number, source, ignored in CELLS:
    first = run(source)
    widgets = [] if ignored or not re.search(SHOWS, source) else named(source)
    if widgets or (re.search(SHOWS, source) and "see." in source and not ignored):
        before = [widget.value for widget in widgets]
        for widget in widgets:
            move(widget)
        again, compared = run(source), compared + 1
        if again != first:
            twice.append([number, first, again])
        for widget, values in zip(widgets, before, strict=True):
            widget.set(**values)

def reached(widget):
    said, values = widget.text, widget.value
    if not re.search(r"Goal: .*: reached\\.", said):
        return False
    move(widget)
    widget.set(**values)
    # a widget that measures this machine anew says something else each time: where it starts is the machine's doing
    return widget.text == said or values != widget._first

goals = [widget for widget in explorers() if "Goal: " in widget.text]
done = [repr(widget) for widget in goals if reached(widget)]
print(json.dumps({"compared": compared, "goals": len(goals), "twice": twice, "reached": done}))
"""


def program(notebook: Notebook, prelude: str = "") -> str:
    """The program; its last line on stdout is JSON with what `unkept` reads.

    Args:
        notebook: the notebook, as JSON.
        prelude: Python to run before the first cell.
    """
    cells = [
        (number, text_of(cell["source"]), bool(IGNORE.search(text_of(cell["source"]))))
        for number, cell in code_cells(notebook)
    ]
    return f"{prelude}\nCELLS, SHOWS = {cells!r}, {SHOWS!r}\n{PROGRAM}"


def unkept(report: dict[str, Any]) -> list[str]:
    """Violations in what the program printed."""
    found = [f"cell {n} printed {first!r}, and run again {again!r}" for n, first, again in report["twice"]]
    return found + [f"Run All reached the goal of {name}" for name in report["reached"]]
