"""Slides: made from the notebook's own charts, with notes, without a network."""

import html
import json
import re
import shutil
from html.parser import HTMLParser

import nbformat
import pytest

from greenlab.core.chapters import CHAPTERS
from greenlab.core.machine import ROOT
from greenlab.lab.renderer import MIME
from greenlab.lab.side_roads import side_roads
from greenlab.workshop import questions
from greenlab.workshop.view import slides as view
from greenlab.workshop.view.timing import sections
from tests import notebook_rules as rules

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("slides")
    assert [path.stem for path in view.write_slides(out)] == [path.stem for path in NOTEBOOKS]
    return out


def label_sizes(spec):
    """The sizes of letters beside axes that a chart asks for, its theme's among them."""
    if isinstance(spec, list):
        return [size for part in spec for size in label_sizes(part)]
    if not isinstance(spec, dict):
        return []
    below = [size for key, part in spec.items() if key != "labelFontSize" for size in label_sizes(part)]
    return [*below, spec["labelFontSize"]] if "labelFontSize" in spec else below


def without_sizes(spec):
    if isinstance(spec, list):
        return [without_sizes(part) for part in spec]
    if not isinstance(spec, dict):
        return spec
    return {key: without_sizes(part) for key, part in spec.items() if key != "labelFontSize"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_chart_of_the_main_road_is_a_slide_under_its_own_finding(path):
    notebook = read(path)
    aside = {place for road in side_roads(notebook) for place in road}
    charts = [
        output.data[MIME]
        for place, cell in enumerate(notebook.cells)
        if place not in aside and cell.cell_type == "code"
        for output in cell.outputs
        if MIME in output.get("data", {}) and output.data[MIME].get("title")
    ]
    made = view.slides(notebook)
    drawn = [slide for slide in made if "greenlab-chart" in slide.body]
    assert len(drawn) == len(charts) >= 1
    for slide, spec in zip(drawn, charts, strict=True):
        assert len(slide.title) >= 10
        assert "regexp" not in slide.title
        assert slide.notes.strip()
        shown = json.loads(re.search(r'<script type="application/json">(.*?)</script>', slide.body, re.S)[1])
        below = spec["title"].get("subtitle") if isinstance(spec["title"], dict) else None
        assert ("title" in shown) == bool(below)
        assert shown.get("title", {}).get("text") == (below or None)  # the basis and the spread stand there
        shown.pop("title", None)
        assert min(label_sizes(shown)) >= 13
        assert without_sizes(shown) == without_sizes({key: value for key, value in spec.items() if key != "title"})
    assert made[0].title.startswith(str(int(path.stem[:2])))
    assert made[-1].title == "What you may say now"


class Page(HTMLParser):
    """What a page loads, its headings, and the groups without a name."""

    def __init__(self):
        super().__init__()
        self.loads, self.headings, self.nameless = [], [], 0

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.loads += [named[key] for key in ("src", "href") if key in named]
        self.headings += [tag] * (tag in ("h1", "h2"))
        self.nameless += named.get("role") == "group" and not named.get("aria-label")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_loads_nothing_but_the_script_beside_it(folder, path):
    page = Page()
    page.feed((folder / f"{path.stem}.html").read_text(encoding="utf-8"))
    assert page.loads == [view.SCRIPT]
    assert page.headings.count("h1") == 1
    assert page.headings[0] == "h1"
    assert page.headings.count("h2") >= 4
    assert page.nameless == 0
    assert (folder / view.SCRIPT).stat().st_size > 100_000


def test_the_misconceptions_of_the_instructors_page_are_slides(folder):
    guide = (ROOT / "notebooks/INSTRUCTOR.md").read_text(encoding="utf-8")
    found = view.misconceptions(CHAPTERS[6], guide)
    assert found
    text = (folder / CHAPTERS[6].notebook.replace("ipynb", "html")).read_text(encoding="utf-8")
    for said, ask in found:
        assert ask in text.replace("&#x27;", "'")
        assert said.strip('"“”') in text.replace("&quot;", '"').replace("&#x27;", "'")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_question_of_the_quiz_is_a_slide_with_its_answers_folded(folder, path):
    text = (folder / f"{path.stem}.html").read_text(encoding="utf-8")
    asked = questions(CHAPTERS[int(path.stem[:2])].name)
    for number, question in enumerate(asked, start=1):
        (slide,) = re.findall(rf"<section[^>]*><h2[^>]*>Quiz {number} of {len(asked)}:.*?</section>", text, re.S)
        assert slide.count("<details><summary>") == len(question.options)
        assert html.escape(question.text) in slide
        assert "<a " not in slide


def pages_of(pdf):
    return len(re.findall(rb"/Type\s*/Page\b", pdf.read_bytes()))


@pytest.mark.browser
def test_a_browser_prints_one_slide_a_page_and_the_notes_on_paper(folder):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs Debian's package chromium")
    source = folder / "06_layer_pruning.html"
    n_slides = source.read_text(encoding="utf-8").count("<section")
    plain = view.write_pdf(source, browser)
    paper = view.write_pdf(source, browser, notes=True)
    assert (plain.name, paper.name) == ("06_layer_pruning.pdf", "06_layer_pruning_notes.pdf")
    assert pages_of(plain) == n_slides
    assert b"/MediaBox [0 0 960 540]" in plain.read_bytes()  # 1280 by 720 pixels in points
    assert pages_of(paper) >= n_slides
    assert b"/MediaBox [0 0 960 540]" not in paper.read_bytes()


# how far what stands on a slide reaches down and to the right, and how many of its charts are drawn
MEASURED = """() => {
  const slide = document.querySelector("section.here");
  const seen = [...slide.querySelectorAll("*")].filter(part => !part.closest("aside")).map(
    part => part.getBoundingClientRect()).filter(box => box.width);
  return { bottom: Math.max(...seen.map(box => box.bottom)), right: Math.max(...seen.map(box => box.right)),
    scrolls: document.documentElement.scrollHeight - innerHeight,
    buttons: document.querySelector("nav").getBoundingClientRect().top,
    charts: slide.querySelectorAll(".greenlab-chart").length, drawn: slide.querySelectorAll("svg.marks").length,
    title: slide.firstChild.textContent };
}"""


@pytest.mark.browser
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_slide_fits_a_projector_and_asks_for_nothing(folder, path):
    playwright = pytest.importorskip("playwright.sync_api")
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs Debian's package chromium")
    asked, failed = [], []
    with playwright.sync_playwright() as kit:
        window = kit.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = window.new_page(viewport={"width": 1280, "height": 720})
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.goto((folder / f"{path.stem}.html").as_uri())
        n_slides = page.locator("section").count()
        assert n_slides >= 8
        for number in range(1, n_slides + 1):
            page.wait_for_function(f'document.getElementById("place").textContent === "{number} of {n_slides}"')
            page.wait_for_timeout(150)
            found = page.evaluate(MEASURED)
            assert found["bottom"] <= found["buttons"] + 2, found["title"]  # a drawing's edge may touch, no word
            assert found["scrolls"] == 0, found["title"]  # else the title leaves the screen
            assert found["right"] <= 1280, found["title"]
            assert found["drawn"] == found["charts"], found["title"]
            page.keyboard.press("ArrowRight")
        page.keyboard.press("n")
        page.keyboard.press("Home")
        for _ in range(2):
            page.keyboard.press("ArrowRight")
        assert page.locator("section.here aside").is_visible()
        with page.expect_popup() as opened:
            page.keyboard.press("p")
        notes = opened.value
        notes.wait_for_function('document.getElementById("place").textContent.startsWith("3 of")')
        notes.keyboard.press("ArrowRight")  # either window moves the other
        page.wait_for_function('document.getElementById("place").textContent.startsWith("4 of")')
        window.close()
    assert {url.split(":")[0] for url in asked} == {"file"}
    assert failed == []


def test_what_cannot_be_made_into_slides_is_refused(tmp_path):
    with pytest.raises(TypeError, match="notebook="):
        view.slides({"cells": []})
    with pytest.raises(ValueError, match="first cell begins with"):
        view.slides(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("No title")]))
    with pytest.raises(ValueError, match="first cell begins with"):
        view.slides(nbformat.v4.new_notebook())
    with pytest.raises(ValueError, match="give the folder of the repository"):
        view.write_slides(tmp_path / "out", tmp_path)
    with pytest.raises(ValueError, match="write the slides first"):
        view.write_pdf(tmp_path / "no.html", "chromium")
    (tmp_path / "a.html").write_text("<p>")
    with pytest.raises(ValueError, match=r"wrote no a\.pdf"):
        view.write_pdf(tmp_path / "a.html", str(tmp_path / "no-browser"))
    with pytest.raises(ValueError, match="at least one slide"):
        view.page([], "x")
    with pytest.raises(ValueError, match="states something"):
        view.Slide(" ", "")


def test_words_of_a_slide_cannot_become_markup():
    text = view.page([view.Slide("<script>alert(1)</script>", "<p></p>")], "<b>")
    assert "<script>alert" not in text
    assert "<title>&lt;b&gt;</title>" in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_sections_count_every_cell_of_the_main_road_once(path):
    notebook = read(path)
    table = sections(notebook)
    exercises = [cell for cell in notebook.cells if "exercise" in rules.tags(cell) and cell.cell_type == "code"]
    codes = [notebook.cells[place] for place in rules.main_road(notebook)]
    codes = [cell for cell in codes if cell.cell_type == "code" and "exercise" not in rules.tags(cell)]
    assert table["cells"].sum() == len(rules.main_road(notebook))
    assert table["code_cells"].sum() == len(codes)
    assert table["exercise_minutes"].sum() >= 3 * len(exercises) > 0
    assert (table["plan_minutes"] >= 0).all()
