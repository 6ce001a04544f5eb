"""The titles of charts, as a reader sees them: those stored in a notebook, and those of a widget at each stop.

A chapter's ``tests/<chapter>/titles.py`` holds

* ``TITLES``: each title stored in its notebook, to a function that computes from the data whether it is true. A title
  that stands while a slider moves is asked at every position of the slider.
* ``LIVE``: the name of each widget, to a function that makes it and one that says of (control values, title) whether
  the title is true there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from greenlab.lab.renderer import MIME
from greenlab.lab.widgets import Explorer, exercise_extremes

Proof = Callable[[], bool]
LiveProof = Callable[[dict[str, Any], str], bool]
# how greenlab.lab.renderer stores a title: as an expression that breaks the words in single quotes into lines
_WRAPPED = re.compile(r"^split\(slice\(replace\((?:'(?P<words>(?:[^'\\]|\\.)*)'|\((?P<expr>.*?)\)), regexp\(", re.S)


def words(title: Any) -> str:
    """The words of a title, or the Vega expression that makes them; "" where there is none.

    >>> words({"expr": "split(slice(replace('It\\\\'s up', regexp('(.{1,' + 40 + '})', 'g'), '$1'), 0, -1), ' ')"})
    "It's up"
    >>> words("It rises"), words(None)
    ('It rises', '')
    """
    text = title.get("text", title.get("expr", "")) if isinstance(title, dict) else title or ""
    if isinstance(text, dict):
        text = text.get("expr", "")
    if isinstance(text, list):
        text = " ".join(text)
    if match := _WRAPPED.match(text):
        return match["expr"] or re.sub(r"\\(.)", lambda m: " " if m[1] == "n" else m[1], match["words"])
    return text


def titles_of(spec: dict[str, Any]) -> Iterator[str]:
    """The titles of a chart and of the charts beside or below one another in it."""
    if said := words(spec.get("title")):
        yield said
    for side in ("hconcat", "vconcat", "concat"):
        for part in spec.get(side, []):
            yield from titles_of(part)


def stored(path: Path) -> list[str]:
    """Every title of the charts stored in a notebook, in order and each once."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    specs = [data[MIME] for cell in cells for out in cell.get("outputs", []) if MIME in (data := out.get("data", {}))]
    return list(dict.fromkeys(title for spec in specs for title in titles_of(spec)))


def live(explorer: Explorer) -> list[tuple[dict[str, Any], str]]:
    """The title of a widget's chart at every stop of its controls, as (control values, title)."""
    seen = []
    for values, _ in exercise_extremes(explorer):
        explorer.set(**values)
        seen += [(values, title) for title in titles_of(explorer.panel.spec)]
    return seen
