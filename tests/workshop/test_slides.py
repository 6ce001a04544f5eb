"""Slides: made from the notebook's own charts, with notes, without a network."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import nbformat
import pytest

from greenlab.core.chapters import CHAPTERS
from greenlab.core.machine import ROOT
from greenlab.lab.renderer import MIME
from greenlab.lab.side_roads import side_roads
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
        assert shown == {key: value for key, value in spec.items() if key != "title"}
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


@pytest.mark.browser
def test_a_browser_draws_the_charts_and_prints_every_slide(folder):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs Debian's package chromium")
    source = folder / "06_layer_pruning.html"
    assert view.write_pdf(source, browser).stat().st_size > 50_000
    command = [browser, "--headless=new", "--no-sandbox", "--virtual-time-budget=10000", "--dump-dom", source.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert dom.count('class="marks"') == len([s for s in view.slides(read(NOTEBOOKS[6])) if "chart" in s.body])


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
