"""The bibliography: every source that the facts and the chapters name, with what was taken from it."""

from __future__ import annotations

import html
import re
from collections import defaultdict
from pathlib import Path

import nbformat

from docs.book.links import Places
from greenlab.core import facts
from greenlab.core.chapters import CHAPTERS

_CITED = re.compile(r"(?<!!)\[([^\]]+)\]\((https?://[^)\s]+)\)")
FEW = 8  # facts that are named at a source; the rest is counted


def page(root: Path, places: Places) -> str:
    """The source of the page."""
    titles: dict[str, str] = {}
    dates: dict[str, set[str]] = defaultdict(set)
    taken: dict[str, list[str]] = defaultdict(list)
    cited: dict[str, list[int]] = defaultdict(list)
    for table in facts.tables():
        frame = facts.table(table)
        key = frame.columns[0]
        if not {"source", "url"} <= set(frame.columns):
            continue
        for row in frame.to_dict("records"):
            url, source = str(row["url"] or ""), str(row["source"])
            where = url if url.startswith("http") else source
            titles.setdefault(where, source)
            if row.get("date"):
                dates[where].add(str(row["date"])[:4])
            if str(row[key]) in places.anchors:
                taken[where].append(str(row[key]))
    for chapter in CHAPTERS:
        notebook = nbformat.read(root / "notebooks" / chapter.notebook, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                for words, url in _CITED.findall(cell.source):
                    titles.setdefault(url, words)
                    if chapter.number not in cited[url]:
                        cited[url].append(chapter.number)
    entries = [
        _entry(where, titles, dates, taken, cited, places)
        for where in sorted(titles, key=lambda one: titles[one].lower())
    ]
    return (
        "# Bibliography\n\nEvery source of a number in the tables of facts, and every work that a chapter cites, by "
        f"the name of its publisher or its title: {len(entries)} in all. Behind each stand the facts that were taken "
        "from it and the chapters that cite it.\n\n" + "\n".join(entries) + "\n"
    )


def _entry(
    where: str,
    titles: dict[str, str],
    dates: dict[str, set[str]],
    taken: dict[str, list[str]],
    cited: dict[str, list[int]],
    places: Places,
) -> str:
    title = re.sub(r"([\\`*_<>\[\]$])", r"\\\1", titles[where])
    if where.startswith("http"):
        title = f"[{title}](<{where}>)"
    years = f", {', '.join(sorted(dates[where]))}" if dates[where] else ""
    links = [
        f'<a class="fact" href="{places.anchors[one]}.html#{html.escape(one)}">{one}</a>' for one in taken[where][:FEW]
    ]
    more = f" and {len(taken[where]) - FEW} more" if len(taken[where]) > FEW else ""
    numbers = ", ".join(
        f'<a href="chapters/{chapter.notebook.removesuffix(".ipynb")}.html">{chapter.number}</a>'
        for chapter in CHAPTERS
        if chapter.number in cited[where]
    )
    chapters = f"cited in chapter {numbers}" if numbers else ""
    behind = "; ".join(part for part in (", ".join(links) + more, chapters) if part)
    return f"* {title}{years}" + (f": {behind}" if behind else "")
