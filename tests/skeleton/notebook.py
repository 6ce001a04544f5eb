"""The cells of a new chapter's notebook, in the order of every chapter: headings, prose to replace, code that runs."""

from __future__ import annotations

from typing import Any

import nbformat
from nbclient import NotebookClient

from greenlab.core.chapters import Chapter
from greenlab.core.machine import ROOT
from tests.notebook_rules import KERNEL

SETUP = """
from greenlab.lab import check, ledger, predict, reveal, setup, show_source

setup()
"""
IMPORTS = """
from greenlab import @name@
from greenlab.@name@ import study
from greenlab.@name@ import view as see
from greenlab.@name@.study import tables as work
"""
TITLE = """
# @number@ @title@: the question of the chapter?

What the chapter is about, for a curious reader.

**You will be able to** say what you will be able to do.

| | |
|---|---|
| time | to be measured |
| memory | to be measured |
| measured here | nothing yet |
| modelled | everything yet |
"""
# the kind of cell (prose, code, or the tag of a code cell) and its source
CELLS: list[tuple[str, str]] = [
    ("prose", TITLE),
    ("setup", SETUP),
    ("setup", IMPORTS),
    ("prose", "## Predict\n\nCommit to a number before you see it."),
    ("code", 'predict("@id@", "How much of the energy is left?", low=0, high=100, default=50, unit="%")'),
    ("prose", "## The idea\n\nA picture, the intuition, the equation with its units, and its source."),
    ("prose", "## The code\n\nShown from the package, then walked by hand."),
    ("code", "show_source(@name@.energy_after)"),
    ("code", 'print(f"{@name@.energy_after(80.0, 0.25):.0f} J are left of 80 J")'),
    ("prose", "## Measure\n\nThe committed study: baseline, equal quality, spread over seeds, basis of each joule."),
    ("code", 'curve = study.load("curve")["curve"]\nby_share = work.by_share(curve)'),
    ("code", 'see.energy_chart(by_share, "What is skipped costs nothing")'),
    ("code", 'reveal("@id@", 100 * by_share["energy_j"].iloc[-1] / by_share["energy_j"].iloc[0], unit="%")'),
    ("prose", "## Explore\n\nOne question, two to four controls, a goal to reach."),
    ("code", "explorer = see.share_widget()\nexplorer"),
    ("code", "explorer.set(share=0.25)\nprint(explorer.text.splitlines()[0])\nexplorer.set(share=0.0)"),
    ("prose", "## The quality gate\n\nNo saving is claimed where quality fell. When does this technique not save?"),
    ("prose", "## Check the claim\n\nA claim of the field, recomputed: confirmed, imprecise, wrong or outdated."),
    ("prose", "## Exercises\n\nWhat is left when a share of the work is skipped?"),
    ("exercise", 'def energy_after(energy_j, share):\n    ...\n\nenergy_after = check("@id@-energy", energy_after)'),
    ("solution", "def energy_after(energy_j, share):\n    return energy_j * (1 - share)"),
    (
        "prose",
        "## Ledger\n\nWhat the chapter saved, for the capstone. `ledger.record` writes it once there is a saving.",
    ),
    ("prose", "## What you may say now\n\nThe takeaways."),
    ("prose", "## Sources\n\n- authors, year, title"),
]


def fill(text: str, chapter: Chapter) -> str:
    """Put a chapter's names into a template."""
    names = {"name": chapter.name, "title": chapter.title, "number": str(chapter.number)}
    names |= {"id": chapter.name.replace("_", "-"), "title_lower": chapter.title.lower()}
    for key, value in names.items():
        text = text.replace(f"@{key}@", value)
    return text


def notebook(chapter: Chapter) -> Any:
    """Return the notebook of a new chapter, not yet executed."""
    cells = []
    for index, (kind, template) in enumerate(CELLS):
        source = fill(template, chapter).strip()
        if kind == "prose":
            cells.append(nbformat.v4.new_markdown_cell(source, id=str(index)))
        else:
            metadata = {} if kind == "code" else {"tags": [kind]}
            cells.append(nbformat.v4.new_code_cell(source, id=str(index), metadata=metadata))
    metadata = {"greenlab": {"plain_numbers": []}, "kernelspec": KERNEL}
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


def execute(book: Any) -> Any:
    """Run a notebook as Run All does, and leave in it what is committed: outputs and counts."""
    client = NotebookClient(
        book,
        timeout=120,
        kernel_name="python3",
        resources={"metadata": {"path": str(ROOT / "notebooks")}},
        store_widget_state=False,
        record_timing=False,
    )
    client.execute()
    book.metadata.pop("language_info", None)  # the version of this Python
    return book
