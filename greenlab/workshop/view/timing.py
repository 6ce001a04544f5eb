"""How long each section of a chapter takes in class, counted from its notebook.

``python -m greenlab.workshop.view.timing layer_pruning`` prints it. The minutes are a plan: reading at 200 words a
minute, one minute for each cell that runs, and the minutes that an exercise states.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import nbformat
import pandas as pd

from greenlab.core.chapters import CHAPTERS
from greenlab.core.machine import ROOT
from greenlab.core.names import unknown
from greenlab.lab.side_roads import side_roads

WORDS_PER_MINUTE = 200
MINUTES_PER_CELL = 1
COLUMNS = ["section", "cells", "words", "code_cells", "exercise_minutes", "plan_minutes"]
_HEADING = re.compile(r"^#{1,2} +(.+)$", re.M)
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_EXERCISE = re.compile(r"^\*\*Exercise[^*]*\([a-z]+, ([a-z]+) minutes\)", re.M)
_NUMBERS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "twenty",
    "thirty",
]
_MINUTES = dict(zip(_NUMBERS, [*range(1, 16), 20, 30], strict=True))


def main_road(notebook: Any) -> list[Any]:
    """The cells that every reader meets: neither in a side road nor a solution.

    Raises:
        TypeError: if it is no notebook.
    """
    aside = {place for road in side_roads(notebook) for place in road}
    return [
        cell
        for place, cell in enumerate(notebook["cells"])
        if place not in aside and "solution" not in cell["metadata"].get("tags", [])
    ]


def sections(notebook: Any) -> pd.DataFrame:
    """The sections of a chapter's main road, and how long each takes in class.

    Args:
        notebook: a notebook as nbformat reads it.

    Returns:
        One row a section, in order: section, cells, words, code_cells, exercise_minutes [min], plan_minutes [min].

    Raises:
        TypeError: if it is no notebook.
    """
    rows: list[dict[str, Any]] = []

    def row(name: str) -> dict[str, Any]:
        rows.append({"section": name} | dict.fromkeys(COLUMNS[1:], 0))
        return rows[-1]

    for cell in main_road(notebook):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            current = rows[-1] if rows else row("")
            current["cells"] += 1
            # an exercise is counted by its own minutes
            current["code_cells"] += "exercise" not in cell["metadata"].get("tags", [])
            continue
        # a cell may hold several headings; it is counted in the section that it begins with
        parts, counted = _HEADING.split(source), False
        for place, text in enumerate(parts[::2]):
            if place:
                row(re.sub(r"[`*]", "", parts[2 * place - 1]))
            elif not text.strip():
                continue
            current = rows[-1] if rows else row("")
            current["cells"] += not counted
            counted = True
            current["words"] += len(re.findall(r"\w+", _LINK.sub(r"\1", text)))
            current["exercise_minutes"] += sum(_MINUTES.get(word, 0) for word in _EXERCISE.findall(text))
    for one in rows:
        reading = one["words"] / WORDS_PER_MINUTE + one["code_cells"] * MINUTES_PER_CELL
        one["plan_minutes"] = round(reading + one["exercise_minutes"], 1)
    return pd.DataFrame(rows, columns=COLUMNS)


def main(arguments: list[str]) -> int:
    """Print the sections of the chapters that are named, or of all."""
    written = {one.name: ROOT / "notebooks" / one.notebook for one in CHAPTERS}
    written = {name: path for name, path in written.items() if path.is_file()}
    for name in arguments or written:
        if name not in written:
            raise unknown("chapter", name, written)
        table = sections(nbformat.read(written[name], as_version=4))
        print(f"{name}: a plan of {table['plan_minutes'].sum():.0f} minutes")
        print(table.to_string(index=False), end="\n\n")
    measured = pd.read_csv(ROOT / "data/studies/start_here/notebooks.csv")
    print("Run from top to bottom on the machine of the study:")
    print(measured[["notebook", "time_s", "peak_mb", "basis"]].round(0).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
