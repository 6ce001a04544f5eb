"""A chapter's notebook as the source of its page: what needs a kernel becomes what works in a page.

Charts become figures that the page draws, predictions and the quiz become forms, a widget becomes its part in
``docs/parts`` if there is one, and else a sentence that says how to use it and which chart below moves instead.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import nbformat

from docs.book import charts, predictions
from docs.book.footprint import footprint
from docs.book.launch import buttons
from docs.book.links import Places, relink
from docs.book.quizzes import quiz
from greenlab.core.chapters import Chapter
from greenlab.lab.export import WIDGET
from greenlab.lab.renderer import MIME
from greenlab.lab.side_roads import side_roads

PARTS = Path(__file__).parents[1] / "parts"
NEAR = 8  # cells from a widget to the chart that moves instead: further down it belongs to something else
_KIND = re.compile(r"^\[(\w[\w ]*)\]\s*")


class Writer:
    """Turns the notebook of one chapter into the source of its page.

    Args:
        chapter: the chapter.
        places: where everything stands on the site.
        repository: the repository's public address, or "".
        parts: the folder with the pieces of pages that answer in place of a widget.
    """

    def __init__(self, chapter: Chapter, places: Places, repository: str = "", parts: Path = PARTS) -> None:
        self.chapter, self.places, self.repository = chapter, places, repository
        self.page = f"chapters/{chapter.notebook.removesuffix('.ipynb')}"
        self.parts = {path.stem.partition(".")[2]: path for path in sorted(parts.glob(f"{chapter.name}.*.html"))}
        self.used: set[str] = set()
        self.questions: dict[str, predictions.Asked] = {}

    def write(self, notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
        """The notebook of the page.

        Args:
            notebook: the committed one, with its outputs; it is not changed.

        Raises:
            ValueError: if a part in the folder answers for no widget of the chapter, or a cell was not executed.
        """
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "code" and cell.source.strip() and cell.get("execution_count") is None:
                raise ValueError(
                    f"notebooks/{self.chapter.notebook}: cell {number} was not executed, so its page would lack what "
                    "it shows: Restart Kernel and Run All Cells, then save"
                )
        notebook = nbformat.from_dict(notebook)
        twins = self._twins(notebook)
        roads = {road.start: road for road in side_roads(notebook)}
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "markdown":
                cell.source = relink(cell.source, self.places, f"notebooks/{self.chapter.notebook}", self.page)
                cell.source = _anchored(cell.source, str(cell.get("id", number)))
                if number in roads:
                    open_ = any(place in roads[number] for place in twins)
                    cell.source = "{.side-road" + (" .gl-open" if open_ else "") + "}\n" + cell.source
            else:
                if "setup" in cell.metadata.get("tags", []):
                    cell.metadata["tags"] = [*cell.metadata["tags"], "hide-input"]
                self._outputs(cell, number, twins)
        if idle := sorted(set(self.parts) - self.used):
            raise ValueError(
                f"docs/parts/{self.chapter.name}.{idle[0]}.html: no widget of the chapter calls {idle[0]}()"
            )
        first = notebook.cells[0]
        title, _, rest = first.source.partition("\n")
        first.source = f"{title}\n\n{buttons(self.chapter.notebook, self.page, self.repository)}\n\n{rest}"
        end = f"## Quiz\n\n{quiz(self.chapter.name, self.places, self.page)}\n"
        end += f"\n{footprint(self.chapter.notebook.removesuffix('.ipynb'), self.places, self.page)}\n"
        notebook.cells.append(nbformat.v4.new_markdown_cell(end))
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        return notebook

    def _twins(self, notebook: nbformat.NotebookNode) -> dict[int, tuple[str, str]]:
        """The cells with a chart that moves in the page: the chart's anchor, and what it shows."""
        found = {}
        for number, cell in enumerate(notebook.cells):
            for place, output in enumerate(cell.get("outputs", [])):
                spec = output.get("data", {}).get(MIME)
                if spec and charts.is_twin(spec):
                    words = charts.words(spec, output["data"].get("text/plain", ""))
                    found[number] = (_anchor(number, place), words.partition(". ")[0])
        return found

    def _outputs(self, cell: nbformat.NotebookNode, number: int, twins: dict[int, tuple[str, str]]) -> None:
        for place, output in enumerate(cell.get("outputs", [])):
            data = output.get("data", {})
            text = data.get("text/plain", "")
            if MIME in data:
                output["data"] = _html(charts.figure(data[MIME], text, _anchor(number, place)))
            elif WIDGET in data:
                output["data"] = _html(self._widget(cell.source, text, number, twins))
            elif "Show me anyway" in data.get("text/html", ""):
                node = predictions.call(cell.source, "reveal")
                question = self.questions[node.args[0].value] if node else None  # type: ignore[attr-defined]
                if question is not None:
                    output["data"] = _html(predictions.answer(cell.source, data["text/html"], question))
            elif "text/markdown" in data:
                said = relink(data["text/markdown"], self.places, f"notebooks/{self.chapter.notebook}", self.page)
                output["data"] = {"text/markdown": said}
            elif "text/html" in data:
                output["data"] = _html(self._relinked(data["text/html"]))

    def _widget(self, source: str, text: str, number: int, twins: dict[int, tuple[str, str]]) -> str:
        if text.startswith("[prediction]"):
            question = predictions.asked(source)
            self.questions[question.id] = question
            return predictions.control(question)
        for name in sorted(predictions.calls(source) & set(self.parts)):
            self.used.add(name)
            return f'<div class="gl-part" id="part-{name}">{self.parts[name].read_text(encoding="utf-8")}</div>'
        said = html.escape(_KIND.sub("", text))
        later = next((place for place in sorted(twins) if place > number), None)
        twin = ""
        if later is not None and later - number <= NEAR:
            anchor, shows = twins[later]
            twin = f' A chart that moves in this page: <a href="#{anchor}">{html.escape(shows)}</a>.'
        return (
            '<div class="gl-live"><p>This part needs Python: start the chapter with the buttons at the top of the '
            f"page, or with <code>make lab</code> on your machine.{twin}</p><p><small>{said}</small></p></div>"
        )

    def _relinked(self, text: str) -> str:
        def to(match: re.Match[str]) -> str:
            found = self.places.address(match[1], f"notebooks/{self.chapter.notebook}", self.page)
            return f'href="{html.escape(found)}"' if found else match[0]

        return re.sub(r'href="([^"]+)"', to, text)


def _anchor(cell: int, output: int) -> str:
    """The anchor of a chart in its page."""
    return f"chart-{cell}" + (f"-{output}" if output else "")


def _anchored(source: str, name: str) -> str:
    """A cell of Markdown with an anchor; behind its heading, so that it lies in the fold that the heading opens."""
    mark = f'<span class="gl-cell" id="cell-{html.escape(name)}"></span>'
    if not source.startswith("#"):
        return f"{mark}\n\n{source}"
    heading, _, rest = source.partition("\n")
    return f"{heading}\n\n{mark}\n\n{rest}"


def _html(text: str) -> Any:
    return nbformat.from_dict({"text/html": text})
