"""The first page: its words stand in ``docs/index.md``, its live chart and its cards come from the chapters."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

import nbformat

from docs.book import address, charts, pictures
from greenlab.core.chapters import CHAPTERS, Chapter

_SLOT = re.compile(r"\{\{ (\w+) ?([^}]*?) \}\}")
LEAD = "An interactive textbook and lab on sustainable generative AI: predict, measure, check."
SCREEN = "_static/pictures/chapter_6.png"


def page(text: str, notebooks: Mapping[str, nbformat.NotebookNode], repository: str) -> str:
    """The source of the first page.

    Args:
        text: ``docs/index.md``, with slots such as ``{{ chapters }}``.
        notebooks: the committed notebook of each chapter, by its name.
        repository: the repository's public address, or "".

    Raises:
        ValueError: if there is a slot that nobody fills.
    """

    def fill(match: re.Match[str]) -> str:
        slot, rest = match[1], match[2]
        if slot == "chapters":
            cards = "".join(_card(chapter, notebooks[chapter.name]) for chapter in CHAPTERS)
            return f'<ul class="gl-cards">{cards}</ul>'
        if slot == "chart":
            name, _, start = rest.partition(" ")
            return charts.figure(*pictures.stored(notebooks[name], start), f"chart-{name}")
        if slot == "picture":
            return SCREEN
        if slot == "start":
            first = CHAPTERS[0].notebook
            read = f'<a class="gl-button" href="chapters/{first.removesuffix(".ipynb")}.html">Read chapter 0</a>'
            run = (
                f' <a class="gl-button" href="{html.escape(address.binder(repository, first))}">Start on Binder</a>'
                if repository
                else ""
            )
            return read + run
        raise ValueError(f"docs/index.md has the slot {match[0]!r}: write chapters, chart, picture or start")

    return _SLOT.sub(fill, text)


def question(notebook: nbformat.NotebookNode) -> tuple[str, str]:
    """The title of a chapter and its question, from its first heading.

    >>> cell = nbformat.v4.new_markdown_cell("# 6 Layer pruning: which layers does a model need?")
    >>> question(nbformat.v4.new_notebook(cells=[cell]))
    ('6 Layer pruning', 'Which layers does a model need?')
    """
    heading = notebook.cells[0].source.partition("\n")[0].removeprefix("# ").strip()
    title, _, asked = heading.partition(":")
    asked = asked.strip()
    return title, asked[:1].upper() + asked[1:]


def _card(chapter: Chapter, notebook: nbformat.NotebookNode) -> str:
    title, asked = question(notebook)
    asked = asked or "The claims, the first receipt, and what this book itself costs to run."
    return (
        f'<li><a class="gl-card" href="chapters/{chapter.notebook.removesuffix(".ipynb")}.html">'
        f'<img src="_static/pictures/{chapter.name}.png" alt="" width="640" height="360">'
        f"<strong>{html.escape(title)}</strong><span>{html.escape(asked)}</span></a></li>"
    )


def drawn(notebooks: Mapping[str, nbformat.NotebookNode]) -> dict[str, bytes]:
    """The pictures of the first page and of previews, by the name of their file."""
    import vl_convert

    found = {}
    for chapter in CHAPTERS:
        svg = pictures.thumbnail(pictures.stored(notebooks[chapter.name], pictures.CHOSEN[chapter.name])[0])
        found[f"{chapter.name}.png"] = bytes(vl_convert.svg_to_png(svg, scale=2))
        if chapter.name == "layer_pruning":
            found["preview.png"] = pictures.preview(svg, "greenlab", LEAD)
    return found
