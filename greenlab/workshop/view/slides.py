"""Slides with speaker notes for each chapter, made from the notebook's own charts.

``python -m greenlab.workshop.view.slides slides`` (or ``make slides``) writes one page a chapter, which draws its
charts without a network, and a PDF of it where Chromium is installed.

No cell is marked for it. A rule chooses: the chapter's title and first words, what a learner will be able to do, each
question to predict, each chart of the main road under the finding that its title states, the misconceptions of
INSTRUCTOR.md, the quiz, and what one may say now. Speaker notes are the prose around the chart.

Keys: the arrows, Home and End; N shows the notes below the slide, P in a window of their own that follows. Without
JavaScript, and printed, all slides follow one another. There are two PDF files a chapter: slides for the projector, and
sheets of paper with notes and the answers of the quiz.
"""

from __future__ import annotations

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

from greenlab.core.chapters import CHAPTERS, Chapter
from greenlab.core.machine import ROOT
from greenlab.lab.export import DRAW, SCRIPT, VEGA_LITE, markdown
from greenlab.lab.renderer import MIME
from greenlab.workshop.questions import questions
from greenlab.workshop.view.quiz import folds
from greenlab.workshop.view.timing import main_road

PDF_SECONDS = 120  # the longest that Chromium may take for one chapter
_TITLE = re.compile(r"replace\('((?:\\.|[^'\\])*)', regexp")  # the theme wraps a title by an expression of Vega
_PREDICT = re.compile(r"\bpredict\(\s*\"[^\"]+\",\s*f?\"([^\"]+)\"")
_ABLE = re.compile(r"^\*\*You will be able to\*\*.*?(?=\n\s*\n|\Z)", re.M | re.S)
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\([^)\s]*\)")
_ANCHOR = re.compile(r"<a [^>]*>(.*?)</a>", re.S)
LEAST_LABEL_PX = 13  # letters beside an axis that are smaller in the notebook cannot be read from the third row
BIG, LONG = 330, 900  # characters of a slide without a chart: up to BIG its letters are larger, above LONG smaller
STYLE = """
html{font-size:22px}body{margin:0;font:1rem/1.45 system-ui,sans-serif;color:#111;background:#fff}
section{box-sizing:border-box;max-width:1240px;margin:0 auto;padding:1.3rem 1.8rem 1rem}
.notes section{padding-bottom:3rem}
h1{font-size:2.2rem;line-height:1.2}h2{font-size:1.5rem;line-height:1.25;margin:0 0 .7rem}
h1:focus,h2:focus{outline:0}p,li{max-width:52em}
.big>p,.big>div{font-size:1.65rem;line-height:1.4;max-width:34em}.words>p,.words>div{font-size:1.3rem;max-width:43em}
.long>p,.long>ul{font-size:1rem}
.big h2{color:#0072B2}.quiz>p{font-size:1.5rem;font-weight:600;max-width:34em}
.quiz summary{font-size:1.3rem;padding:.25rem 0}
.greenlab-chart>div{max-width:720px}.greenlab-chart svg.marks{max-width:none!important;display:block}
.vega-bind{font-size:1rem;white-space:nowrap}.vega-bind input,.vega-bind select{font:inherit;min-width:12rem}
aside{border-left:4px solid #0072B2;margin:1.2rem 0 0;padding:.2rem 1rem;font-size:.85rem;color:#222}
summary{cursor:pointer}details p{margin:.2rem 0 .6rem 1.2rem}
.js section{display:none}.js section.here{display:block}.js:not(.notes) aside{display:none}
.js:not(.notes) section.big.here{display:flex;flex-direction:column;justify-content:center;min-height:90vh}
nav{position:fixed;right:.7rem;bottom:.4rem;font-size:.75rem;background:#fff}
nav button{font:inherit;padding:.1rem .5rem}
html:not(.js) nav{display:none}
@media print{
 .js section,.js:not(.notes) section.big.here{display:block;min-height:0}nav{display:none}
 section{break-after:page;padding-bottom:.4rem}
 section:last-child{break-after:auto}.js:not(.notes) section.big{padding-top:6rem}.vega-bind{display:none}
 .greenlab-chart>div{max-width:none}
 .js .greenlab-chart svg.marks{width:1150px!important;height:auto!important;max-height:530px}
 .notes{font-size:14px}.notes section{max-width:none;padding:0}.notes .big>p{font-size:1.3rem}
 .js.notes .greenlab-chart svg.marks{width:100%!important;max-height:85mm}
 .notes aside{font-size:.85rem}
}
"""
KEYS = """
const root = document.documentElement, slides = [...document.querySelectorAll("section")];
const place = document.getElementById("place"), notes = location.search === "?notes";
root.classList.add("js");
if (notes) {
  root.classList.add("notes");
  for (const fold of document.querySelectorAll("details")) fold.open = true;
}
// a printed slide is as wide as a projector's; with its notes it is a sheet of paper
const paper = document.createElement("style");
paper.textContent = notes ? "@page{size:A4;margin:15mm}" : "@page{size:1280px 720px;margin:0}";
document.head.append(paper);
let here = 0, other = window.opener;
// the drawing is laid out at its width in a notebook and then enlarged, letters and all, until it fills the slide
function fill() {
  for (const drawn of document.querySelectorAll("section.here .greenlab-chart svg.marks")) {
    const section = drawn.closest("section"), box = drawn.viewBox.baseVal;
    const wide = section.clientWidth - 80;
    const around = section.querySelector(".vega-bind") ? 70 : 0;
    const top = section.querySelector("h1,h2").getBoundingClientRect().bottom + scrollY;
    const high = Math.max(innerHeight, 420) - top - 56 - around;
    drawn.style.width = `${Math.round(Math.min(wide, high * box.width / box.height))}px`;
    drawn.style.height = "auto";
  }
}
function show(to, focus = true, tell = true) {
  here = Math.max(0, Math.min(slides.length - 1, to));
  slides.forEach((slide, i) => slide.classList.toggle("here", i === here));
  place.textContent = `${here + 1} of ${slides.length}`;
  history.replaceState(null, "", `#${here + 1}`);
  scrollTo(0, 0);
  window.dispatchEvent(new Event("resize"));
  requestAnimationFrame(fill);
  if (tell && other && !other.closed) other.postMessage({ greenlabSlide: here }, "*");
  if (focus) slides[here].querySelector("h1,h2").focus({ preventScroll: true });
}
const toggle = () => { root.classList.toggle("notes"); };
// a window of its own with the notes, for the screen that the room does not see; each follows the other
const apart = () => { other = window.open(`${location.pathname}?notes#${here + 1}`, "notes", "width=900,height=900"); };
const moves = {
  ArrowRight: () => show(here + 1), PageDown: () => show(here + 1), ArrowLeft: () => show(here - 1),
  PageUp: () => show(here - 1), Home: () => show(0), End: () => show(slides.length - 1), n: toggle, p: apart,
};
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input,select,textarea,svg")) return;
  const move = moves[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (move) { event.preventDefault(); move(); }
});
window.addEventListener("message", event => {
  const to = event.data && event.data.greenlabSlide;
  if (event.source === other && Number.isInteger(to)) show(to, false, false);
});
window.addEventListener("resize", () => requestAnimationFrame(fill));
new MutationObserver(() => requestAnimationFrame(fill)).observe(document.querySelector("main"),
  { subtree: true, childList: true, attributes: true, attributeFilter: ["viewBox"] });
document.getElementById("back").onclick = () => show(here - 1, false);
document.getElementById("next").onclick = () => show(here + 1, false);
document.getElementById("notes").onclick = toggle;
document.getElementById("apart").onclick = apart;
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


def _html(source: str) -> str:
    # links would leave the folder of the slides; their words, the numbers among them, stay
    return markdown(_LINK.sub(r"\1", source))


def _plain(text: str) -> str:
    return re.sub(r"[`*]", "", _LINK.sub(r"\1", text)).strip()


def _chart_title(spec: dict[str, Any]) -> str:
    title = spec.get("title") or ""
    text = title.get("text", "") if isinstance(title, dict) else title
    if isinstance(text, dict):
        wrapped = _TITLE.search(text.get("expr", ""))
        return re.sub(r"\\(.)", r"\1", wrapped[1]) if wrapped else ""
    return " ".join(text) if isinstance(text, list) else str(text)


def _legible(spec: Any) -> Any:
    """A copy of a chart in which no axis asks for letters that are too small for a projector."""
    if isinstance(spec, list):
        return [_legible(part) for part in spec]
    if not isinstance(spec, dict):
        return copy.deepcopy(spec)
    return {
        key: max(part, LEAST_LABEL_PX) if key == "labelFontSize" and isinstance(part, int | float) else _legible(part)
        for key, part in spec.items()
    }


def _chart(spec: dict[str, Any]) -> str:
    """The chart without its title, which is the slide's; what stands below the title stays, and the description."""
    shown = _legible(spec)
    title = shown.pop("title", None)
    if isinstance(title, dict) and title.get("subtitle"):
        shown["title"] = {
            **{key: value for key, value in title.items() if not key.startswith("subtitle")},
            "text": title["subtitle"],
            "fontSize": 12.5,
            "fontWeight": "normal",
        }
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


def _look(slide: Slide) -> str:
    if "greenlab-chart" in slide.body:
        return "chart"
    if "<details" in slide.body:
        return "quiz"
    length = len(re.sub(r"<[^>]*>", "", slide.body))
    return "big" if length <= BIG else "long" if length > LONG else "words"


def _quiz(chapter: str) -> list[Slide]:
    """One slide a question: an answer unfolds into its feedback."""
    try:
        asked = questions(chapter)
    except ValueError:  # a chapter whose quiz is not written yet
        return []
    return [
        Slide(
            f"Quiz {number} of {len(asked)}: open an answer",
            f"<p>{html.escape(question.text)}</p>" + _ANCHOR.sub(r"\1", folds(question)),
        )
        for number, question in enumerate(asked, start=1)
    ]


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
        sections.append(f'<section class="{_look(slide)}">{heading}{slide.body}{notes}</section>')
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width,initial-scale=1">\n'
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(sections) + "\n</main>\n"
        '<nav aria-label="Slides"><button id="back">Back</button> <span id="place" aria-live="polite"></span> '
        '<button id="next">Next</button> <button id="notes">Notes (N)</button> '
        '<button id="apart">Notes apart (P)</button></nav>\n'
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
        room = [
            Slide(f"Often said: {said}", f"<p>{html.escape(ask)}</p>")
            for said, ask in misconceptions(chapter, guide_text)
        ]
        room += _quiz(chapter.name)
        made[-1:] = [*room, made[-1]]  # what one may say now stays last
        target = out / f"{Path(chapter.notebook).stem}.html"
        target.write_text(page(made, f"{chapter.number} {chapter.title}"), encoding="utf-8")
        pages.append(target)
    return pages


def write_pdf(source: str | Path, browser: str, notes: bool = False) -> Path:
    """Print a page of slides into a PDF beside it: one slide a page, as wide as a projector's.

    Args:
        source: a page that ``write_slides`` wrote.
        browser: the program Chromium.
        notes: print sheets of paper with the speaker's notes and the answers of the quiz instead, into
            ``..._notes.pdf``.

    Raises:
        TypeError: if ``source`` is no path, ``browser`` no text, or ``notes`` neither True nor False.
        ValueError: if the page does not exist, or the browser writes no PDF; with what it said.
    """
    if not isinstance(source, str | Path):
        raise TypeError(f"source={source!r:.80} is {type(source).__name__}: give a path")
    if not isinstance(browser, str):
        raise TypeError(f"browser={browser!r:.80} is {type(browser).__name__}: give the name of a program")
    if not isinstance(notes, bool):
        raise TypeError(f"notes={notes!r:.80} is {type(notes).__name__}: give True or False")
    source = Path(source)
    if not source.is_file():
        raise ValueError(f"source={str(source)!r} is no file: write the slides first, with make slides")
    target = source.with_name(f"{source.stem}_notes.pdf") if notes else source.with_suffix(".pdf")
    target.unlink(missing_ok=True)
    command = [browser, "--headless=new", "--disable-gpu", "--no-pdf-header-footer", "--virtual-time-budget=20000"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--no-sandbox")  # Chromium refuses its sandbox to root, as in a container
    address = source.resolve().as_uri() + ("?notes" if notes else "")
    command += ["--window-size=1280,720", f"--print-to-pdf={target.resolve()}", address]
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
        print(write_pdf(source, browser), write_pdf(source, browser, notes=True), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
