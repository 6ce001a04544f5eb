"""Slides with speaker notes for each chapter, made from the notebook's own charts.

``python -m greenlab.workshop.view.slides slides`` (or ``make slides``) writes one page a chapter, which draws its
charts without a network, and a PDF of it where Chromium is installed.

No cell is marked for it. A rule chooses: the chapter's title and first words, what a learner will be able to do, each
question to predict, each chart of the main road under the finding that its title states, the misconceptions of
INSTRUCTOR.md, the quiz, and what one may say now. Speaker notes are the prose around the chart.

Keys: the arrows, Home and End; N shows the notes; without JavaScript, and printed, all slides follow one another.
"""

from __future__ import annotations

import contextlib
import copy
import html
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import vl_convert
from nbconvert.filters.markdown_mistune import MarkdownWithMath

from greenlab.core.chapters import CHAPTERS, Chapter
from greenlab.core.machine import ROOT
from greenlab.lab.export import DRAW, SCRIPT, VEGA_LITE, _MathRenderer
from greenlab.lab.renderer import MIME
from greenlab.workshop.view.quiz import quiz_html
from greenlab.workshop.view.timing import main_road

PDF_SECONDS = 120  # the longest that Chromium may take for one chapter
_TITLE = re.compile(r"replace\('((?:\\.|[^'\\])*)', regexp")  # the theme wraps a title by an expression of Vega
_PREDICT = re.compile(r"\bpredict\(\s*\"[^\"]+\",\s*f?\"([^\"]+)\"")
_ABLE = re.compile(r"^\*\*You will be able to\*\*.*?(?=\n\s*\n|\Z)", re.M | re.S)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\([^)\s]*\)")
_ANCHOR = re.compile(r"<a [^>]*>(.*?)</a>", re.S)
STYLE = """
body{margin:0;font:22px/1.45 system-ui,sans-serif;color:#111;background:#fff}
section{box-sizing:border-box;max-width:62rem;margin:0 auto;padding:2.2rem 2rem}
h1{font-size:2.1rem}h2{font-size:1.6rem;line-height:1.25;margin:0 0 1rem}h3{font-size:1.15rem}
aside{border-left:4px solid #0072B2;margin:1.5rem 0 0;padding:.2rem 1rem;font-size:.8rem;color:#222}
summary{cursor:pointer}details p{margin:.2rem 0 .6rem 1.2rem}
.js section{display:none}.js section.here{display:block;min-height:100vh}.js:not(.notes) aside{display:none}
nav{position:fixed;right:1rem;bottom:.6rem;font-size:.8rem;background:#fff}nav button{font:inherit;padding:.2rem .7rem}
html:not(.js) nav{display:none}
@media print{.js section{display:block;min-height:0}section{break-after:page}
 .js:not(.notes) aside{display:block}nav{display:none}details>*{display:block}body{font-size:15px}}
"""
KEYS = """
const root = document.documentElement, slides = [...document.querySelectorAll("section")];
const place = document.getElementById("place");
root.classList.add("js");
let here = 0;
function show(to, focus = true) {
  here = Math.max(0, Math.min(slides.length - 1, to));
  slides.forEach((slide, i) => slide.classList.toggle("here", i === here));
  place.textContent = `${here + 1} of ${slides.length}`;
  history.replaceState(null, "", `#${here + 1}`);
  window.dispatchEvent(new Event("resize"));
  if (focus) slides[here].querySelector("h1,h2").focus();
}
const moves = {
  ArrowRight: () => show(here + 1), PageDown: () => show(here + 1), ArrowLeft: () => show(here - 1),
  PageUp: () => show(here - 1), Home: () => show(0), End: () => show(slides.length - 1),
  n: () => root.classList.toggle("notes"),
};
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input,select,textarea,svg")) return;
  const move = moves[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (move) { event.preventDefault(); move(); }
});
document.getElementById("back").onclick = () => show(here - 1, false);
document.getElementById("next").onclick = () => show(here + 1, false);
document.getElementById("notes").onclick = moves.n;
show((parseInt(location.hash.slice(1)) || 1) - 1, false);
"""


@dataclass(frozen=True)
class Slide:
    """One slide: its title as plain text, its body and the speaker's notes as HTML.

    Raises:
        TypeError: if a part is no text.
        ValueError: if the title is empty.
    """

    title: str
    body: str
    notes: str = ""

    def __post_init__(self) -> None:
        for name in ("title", "body", "notes"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise TypeError(f"{name}={value!r:.80} is {type(value).__name__}: give text")
        if not self.title.strip():
            raise ValueError(f"title={self.title!r}: a slide states something in its title")


def _html(markdown: str) -> str:
    # links would leave the folder of the slides; their words, the numbers among them, stay
    return str(MarkdownWithMath(renderer=_MathRenderer(escape=False)).render(_LINK.sub(r"\1", markdown)))


def _plain(text: str) -> str:
    return re.sub(r"[`*]", "", _LINK.sub(r"\1", text)).strip()


def _chart_title(spec: dict[str, Any]) -> str:
    title = spec.get("title") or ""
    text = title.get("text", "") if isinstance(title, dict) else title
    if isinstance(text, dict):
        wrapped = _TITLE.search(text.get("expr", ""))
        return re.sub(r"\\(.)", r"\1", wrapped[1]) if wrapped else ""
    return " ".join(text) if isinstance(text, list) else str(text)


def _chart(spec: dict[str, Any]) -> str:
    """The chart without its title, which is the slide's; its description stays, for those who do not see it."""
    shown = copy.deepcopy(spec)
    shown.pop("title", None)
    data = json.dumps(shown, ensure_ascii=False).replace("</", "<\\/")
    alt = html.escape(str(spec.get("description", "")), quote=True)
    return (
        f'<div class="greenlab-chart" role="group" aria-label="{alt}"><div></div>'
        f'<script type="application/json">{data}</script></div>'
    )


def _section(source: str, heading: str) -> str:
    """The text below a heading of level two, up to the next one; empty if there is none."""
    found = re.search(rf"^## {heading}[^\n]*\n(.*?)(?=^## |\Z)", source, re.M | re.S)
    return found[1].strip() if found else ""


def misconceptions(chapter: Chapter, page: str) -> list[tuple[str, str]]:
    """What learners say about a chapter, and the question that shakes it.

    Args:
        chapter: one of ``CHAPTERS``.
        page: the text of INSTRUCTOR.md.

    Raises:
        TypeError: if ``chapter`` is no Chapter, or ``page`` no text.
    """
    if not isinstance(chapter, Chapter):
        raise TypeError(f"chapter={chapter!r:.80} is {type(chapter).__name__}: give one of CHAPTERS")
    if not isinstance(page, str):
        raise TypeError(f"page={page!r:.80} is {type(page).__name__}: give the text of INSTRUCTOR.md")
    rows = re.findall(rf"^\| {chapter.number} {re.escape(chapter.title)} \| (.+?) \| (.+?) \|$", page, re.M)
    return [(_plain(said), _plain(ask)) for said, ask in rows]


def slides(notebook: nbformat.NotebookNode) -> list[Slide]:
    """The slides of an executed notebook: title, goal, questions to predict, charts, and what one may say now.

    Args:
        notebook: as nbformat reads it.

    Raises:
        TypeError: if ``notebook`` was not read by nbformat.
        ValueError: if its first cell has no heading of level one.
    """
    if not isinstance(notebook, nbformat.NotebookNode) or "cells" not in notebook:
        raise TypeError(
            f"notebook={notebook!r:.80} is {type(notebook).__name__}: give nbformat.read(path, as_version=4)"
        )
    cells = main_road(notebook)
    first = cells[0].source if cells else ""
    heading = re.match(r"# (.+)\n", first)
    if not heading:
        raise ValueError(
            f"the first cell begins with {first[:40]!r}: begin with the chapter's title, as # 6 Layer pruning"
        )
    opening = first[heading.end() :].strip()
    able = _ABLE.search(opening)
    words = opening.split("\n\n")[0]
    rest = opening[: able.start()] if able else opening
    made = [Slide(_plain(heading[1]), _html(words), _html(rest.removeprefix(words)))]
    if able:
        made.append(Slide("What you will be able to do", _html(able[0])))
    for place, cell in enumerate(cells):
        if cell.cell_type != "code":
            continue
        before = [near.source for near in cells[:place] if near.cell_type == "markdown"][-1:]
        after = [near.source for near in cells[place + 1 :] if near.cell_type == "markdown"][:1]
        around = before + after
        notes = _html(
            "\n\n".join(re.sub(r"^#+ ", "**Section:** ", text, flags=re.M) for text in around if text != first)
        )
        for question in _PREDICT.findall(cell.source):
            made.append(Slide("Predict first", f"<p>{html.escape(question)}</p>", notes))
        for output in cell.outputs:
            spec = output.get("data", {}).get(MIME)
            if spec and _chart_title(spec):
                made.append(Slide(_chart_title(spec), _chart(spec), notes))
    said = next((text for cell in cells if (text := _section(cell.source, "What you may say now"))), "")
    if said:
        made.append(Slide("What you may say now", _html(said)))
    return made


def page(made: list[Slide], title: str) -> str:
    """A web page of slides: one section each, keys to move, and charts drawn by the script beside it.

    Args:
        made: at least one slide.
        title: what the browser's tab says.

    Raises:
        TypeError: if ``made`` is no list of ``Slide``, or ``title`` no text.
        ValueError: if there is no slide.
    """
    if not isinstance(made, list) or not all(isinstance(slide, Slide) for slide in made):
        raise TypeError(f"made={made!r:.80}: give a list of Slide")
    if not isinstance(title, str):
        raise TypeError(f"title={title!r:.80} is {type(title).__name__}: give text")
    if not made:
        raise ValueError("made is empty: give at least one slide")
    sections = []
    for number, slide in enumerate(made):
        level = "h2" if number else "h1"
        notes = f'<aside aria-label="Speaker notes">{slide.notes}</aside>' if slide.notes.strip() else ""
        heading = f'<{level} tabindex="-1">{html.escape(slide.title)}</{level}>'
        sections.append(f"<section>{heading}{slide.body}{notes}</section>")
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(sections) + "\n</main>\n"
        '<nav aria-label="Slides"><button id="back">Back</button> <span id="place" aria-live="polite"></span> '
        '<button id="next">Next</button> <button id="notes">Notes (N)</button></nav>\n'
        f'<script src="{SCRIPT}"></script>\n<script>{DRAW}</script>\n<script>{KEYS}</script>\n</body></html>\n'
    )


def write_slides(out: str | Path, root: str | Path = ROOT) -> list[Path]:
    """Write the slides of every chapter into a folder, and give the paths of the pages.

    Args:
        out: the folder; it is made if need be.
        root: the repository, with notebooks/ and notebooks/INSTRUCTOR.md.

    Raises:
        TypeError: if ``out`` or ``root`` is no path.
        ValueError: if there is no chapter below ``root``.
    """
    for name, folder in (("out", out), ("root", root)):
        if not isinstance(folder, str | Path):
            raise TypeError(f"{name}={folder!r:.80} is {type(folder).__name__}: give a path")
    out, folder = Path(out), Path(root) / "notebooks"
    written = [chapter for chapter in CHAPTERS if (folder / chapter.notebook).is_file()]
    if not written:
        raise ValueError(f"root={str(root)!r} has no notebooks/NN_<chapter>.ipynb: give the folder of the repository")
    guide = folder / "INSTRUCTOR.md"
    guide_text = guide.read_text(encoding="utf-8") if guide.is_file() else ""
    out.mkdir(parents=True, exist_ok=True)
    bundle = vl_convert.javascript_bundle("window.greenlabEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    (out / SCRIPT).write_text(f"(() => {{\n{bundle}\n}})();\n", encoding="utf-8")
    pages = []
    for chapter in written:
        made = slides(nbformat.read(folder / chapter.notebook, as_version=4))
        room = [Slide(said, f"<p>{html.escape(ask)}</p>") for said, ask in misconceptions(chapter, guide_text)]
        with contextlib.suppress(ValueError):  # a chapter whose quiz is not written yet
            room.append(Slide("Quiz: open an answer", _ANCHOR.sub(r"\1", quiz_html(chapter.name))))
        made[-1:] = [*room, made[-1]]  # what one may say now stays last
        target = out / f"{Path(chapter.notebook).stem}.html"
        target.write_text(page(made, f"{chapter.number} {chapter.title}"), encoding="utf-8")
        pages.append(target)
    return pages


def write_pdf(source: str | Path, browser: str) -> Path:
    """Print a page of slides into a PDF beside it, one slide a page, with the notes.

    Args:
        source: a page that ``write_slides`` wrote.
        browser: the program Chromium.

    Raises:
        TypeError: if ``source`` is no path, or ``browser`` no text.
        ValueError: if the page does not exist, or the browser writes no PDF; with what it said.
    """
    if not isinstance(source, str | Path):
        raise TypeError(f"source={source!r:.80} is {type(source).__name__}: give a path")
    if not isinstance(browser, str):
        raise TypeError(f"browser={browser!r:.80} is {type(browser).__name__}: give the name of a program")
    source = Path(source)
    if not source.is_file():
        raise ValueError(f"source={str(source)!r} is no file: write the slides first, with make slides")
    target = source.with_suffix(".pdf")
    target.unlink(missing_ok=True)
    command = [browser, "--headless=new", "--disable-gpu", "--no-pdf-header-footer", "--virtual-time-budget=20000"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")  # Chromium refuses its sandbox to root, as in a container
    command += [f"--print-to-pdf={target.resolve()}", source.resolve().as_uri()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PDF_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"browser={browser!r} wrote no {target.name}: {error}") from error
    if not target.is_file():
        raise ValueError(f"browser={browser!r} wrote no {target.name}: {done.stderr[-300:]}")
    return target


def main(arguments: list[str]) -> int:
    """Write the slides into the folder that is named, slides/ by default, and their PDF files."""
    pages = write_slides(Path(arguments[0] if arguments else "slides"))
    print(f"{len(pages)} pages of slides; begin with {pages[0]}")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("No PDF files: there is no Chromium here. Install it, or print the pages from your browser.")
        return 0
    for source in pages:
        print(write_pdf(source, browser), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
