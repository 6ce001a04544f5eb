"""No word of a chart lies over another or is cut, at the sizes at which people read: measured in the browser."""

import importlib
import importlib.util
import re

import nbformat
import pytest

from greenlab.core.machine import ROOT
from greenlab.lab.export import export, page
from greenlab.lab.renderer import MIME
from tests.browser.boxes import CHARTS, MEASURE, PREFIX, faults
from tests.browser.driver import find_chromium, open_page

NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
SIZES = {"a window of 1440 px": (1440, 900), "of 800 px": (800, 900), "of 1440 px at 200 %": (720, 450)}
N_CHARTS = "n => document.querySelectorAll('.greenlab-chart svg.marks').length === n"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    find_chromium()
    out = tmp_path_factory.mktemp("html")
    export(out)
    for name in NOTEBOOKS:  # beside each chapter, a page of what its widgets draw first
        charts = [nbformat.v4.new_output("display_data", {MIME: spec}) for spec in live_charts(name[3:])]
        cells = [nbformat.v4.new_code_cell("", outputs=[chart]) for chart in charts]
        (out / f"{name}.live.html").write_text(page(nbformat.v4.new_notebook(cells=cells), name), encoding="utf-8")
    return out


def live_charts(chapter):
    if not importlib.util.find_spec(f"tests.{chapter}.titles"):
        return []
    widgets = importlib.import_module(f"tests.{chapter}.titles").LIVE
    return [make().panel.spec for make, _ in widgets.values()]


@pytest.fixture(scope="module")
def browser():
    with open_page(None) as opened:
        yield opened.page


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.parametrize("part", ["html", "live.html"])
def test_every_word_of_a_chart_can_be_read(pages, browser, name, part, size):
    width, height = SIZES[size]
    browser.set_viewport_size({"width": width, "height": height})
    file = pages / f"{name}.{part}"
    browser.goto(file.as_uri())
    browser.evaluate("() => document.querySelectorAll('details').forEach(e => { e.open = true; })")
    browser.wait_for_function(N_CHARTS, arg=file.read_text(encoding="utf-8").count('class="greenlab-chart"'))
    browser.wait_for_timeout(300)  # a fold that opens draws its charts again
    charts = browser.locator(CHARTS).evaluate_all(MEASURE)
    assert charts or part == "live.html"
    ticks = [text["words"] for chart in charts for text in chart["texts"] if text["role"] == "axis-label"]
    found = [fault for chart in charts for fault in faults(chart)]
    found += [f"{words!r}: write a tick in plain units" for words in ticks if re.search(PREFIX, words)]
    assert found == []
