"""The chapters as web pages, opened as files without a server, a kernel or a network: charts are drawn, twins move."""

import json
import re

import pytest

from greenlab.core.machine import ROOT
from greenlab.lab.export import export
from greenlab.lab.renderer import MIME
from tests.browser.driver import find_chromium, honest_page


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    find_chromium()
    out = tmp_path_factory.mktemp("html")
    export(out)
    return out


def stored_charts(name):
    notebook = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return sum(MIME in output.get("data", {}) for output in outputs)


@pytest.mark.parametrize("name", ["01_footprint", "06_layer_pruning"])
def test_an_exported_chapter_draws_its_charts_and_its_twins_move(pages, name):
    with honest_page() as browser:
        page = browser.page
        page.goto((pages / f"{name}.html").as_uri())
        page.wait_for_function(
            "n => document.querySelectorAll('.greenlab-chart svg.marks').length === n",
            arg=stored_charts(name), timeout=20_000,
        )  # fmt: skip
        # twins stand in side roads, which the page shows folded
        page.evaluate("() => document.querySelectorAll('details').forEach(e => { e.open = true; })")
        page.wait_for_timeout(500)
        empty = "all => all.filter(e => e.querySelectorAll('path, text').length < 5 || e.clientWidth < 200).length"
        assert page.locator(".greenlab-chart svg.marks").evaluate_all(empty) == 0
        twin = page.locator(".greenlab-chart:has(input[type=range])").first
        before = twin.locator("svg.marks").evaluate("e => e.outerHTML")
        twin.locator("input[type=range]").first.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "([e, before]) => e.querySelector('svg.marks').outerHTML !== before", arg=[twin.element_handle(), before]
        )
        assert page.locator("math").count() > 0
        assert "$$" not in page.locator("main").inner_text()
        page.set_viewport_size({"width": 480, "height": 800})
        page.wait_for_timeout(500)
        assert (
            page.locator(".greenlab-chart").evaluate_all(
                "all => all.filter(e => e.scrollWidth > e.clientWidth + 1).length"
            )
            == 0
        )


def test_exported_pages_lead_to_each_other_and_load_nothing(pages):
    """Links into data/ and between chapters name a file that is there, and the place in it."""
    addresses = re.compile(r"(?:src=|import\(|url\()[\"']?https?://")
    n_links = 0
    for page in pages.glob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert addresses.search(text) is None
        for target, place in re.findall(r'href="((?:data/|\d)[^"#]*)(?:#([^"]*))?"', text):
            file = page.parent / target
            assert file.is_file(), f"{page.name} links {target}"
            assert not place or f'id="{place}"' in file.read_text(encoding="utf-8"), f"{target} has no {place}"
            n_links += 1
    assert n_links > 100
