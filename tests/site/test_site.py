"""The built site: no link is dead, nothing is loaded from outside, no page is heavy, and it works in a browser.

Pages are opened as files, without a server; everything but this machine is blocked.
"""

import json
import re
import threading
from functools import cache, partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import axe_playwright_python
import pytest

from docs.book import explorers
from greenlab.core.chapters import CHAPTERS
from greenlab.core.machine import ROOT
from greenlab.lab import predictions as lab
from greenlab.lab.renderer import MIME
from tests.browser.driver import LabPage, find_chromium, picture_path

pytestmark = pytest.mark.browser
MOST_BYTES = 3_000_000  # of a chapter with all that it loads
NAMES = [f"chapters/{chapter.notebook.removesuffix('.ipynb')}" for chapter in CHAPTERS]
READ = [
    "index",
    "glossary",
    "bibliography",
    "search",
    "facts/index",
    "facts/claims",
    "facts/constants",
    "studies/layer-pruning",
    "data/index",
]
READ += ["instructor/index", "api/index", "api/greenlab.layer_pruning", "genindex"]
WIDTHS = {"desktop": 1280, "phone": 390}


class Page(HTMLParser):
    """What a page names: its anchors, its links, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loads, self.images = set(), [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.ids |= {attrs[name] for name in ("id", "name") if attrs.get(name)}
        if tag == "a" and "href" in attrs:
            self.links.append(attrs["href"])
        if tag in ("script", "img", "source", "iframe") and attrs.get("src"):
            self.loads.append(attrs["src"])
        if tag == "link" and attrs.get("rel") in ("stylesheet", "shortcut icon", "preload", "prefetch"):
            self.loads.append(attrs["href"])
        if tag == "img":
            self.images.append(attrs)


@cache
def read(path):
    return Page(path.read_text(encoding="utf-8"))


def all_pages(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 50
    return pages


def inside(page, target):
    """The file and the anchor that a link leads to; None for an address outside."""
    parts = urlsplit(target)
    if parts.scheme or parts.netloc:
        return None
    return (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve(), unquote(parts.fragment)


def test_every_link_leads_to_a_page_and_a_place_in_it(site):
    broken, n_links = [], 0
    for page in all_pages(site):
        for target in read(page).links:
            if (found := inside(page, target)) is None:
                continue
            file, anchor = found
            n_links += 1
            if not file.is_file():
                broken.append(f"{page.relative_to(site)} -> {target}: no file")
            elif anchor and file.suffix == ".html" and anchor not in read(file).ids:
                broken.append(f"{page.relative_to(site)} -> {target}: no place")
    assert broken == []
    assert n_links > 5000


def test_every_number_of_a_chapter_leads_to_its_fact_and_says_it(site):
    n_facts = 0
    for name in NAMES:
        text = (site / f"{name}.html").read_text(encoding="utf-8")
        links = re.findall(r'<a class="fact" data-note="([^"]*)" href="\.\./((?:facts|studies)/[^"#]+)#[^"]+"', text)
        assert text.count('class="fact"') == len(links), name
        assert all(len(note) > 20 for note, _ in links)
        n_facts += len(links)
    assert n_facts > 400


def test_nothing_is_loaded_from_outside(site):
    for page in all_pages(site):
        for target in read(page).loads:
            found = inside(page, target)
            assert found is not None, f"{page.name} loads {target}"
            assert found[0].is_file(), f"{page.name} loads {target}, which is not there"
    for file in [*site.rglob("*.css"), *(ROOT / "docs/_static").glob("*.js")]:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"(?:url\(|@import|import\()\s*[\"']?(?:https?:)?//", text), file.name


@pytest.mark.parametrize("name", ["index", *NAMES])
def test_a_chapter_is_light(site, name):
    """With its scripts, styles and pictures, and all that its controls may load; shared files are counted for each."""
    page = site / f"{name}.html"
    loaded = {inside(page, target)[0] for target in read(page).loads}
    chapter = name.partition("_")[2]
    if f'data-explorer="{chapter}.' in page.read_text(encoding="utf-8"):
        loaded |= {site / "_static" / explorers.FOLDER / piece for piece in explorers.later(chapter)}
    assert page.stat().st_size + sum(file.stat().st_size for file in loaded) <= MOST_BYTES


def test_every_image_says_what_it_shows_or_that_it_shows_nothing_new(site):
    images = [image for page in all_pages(site) for image in read(page).images]
    assert images
    assert all("alt" in image for image in images)


def test_links_to_the_site_show_a_card(site):
    text = (site / "chapters" / "06_layer_pruning.html").read_text(encoding="utf-8")
    properties = dict(re.findall(r'<meta property="og:(\w+)" content="([^"]*)">', text))
    assert properties["title"].startswith("6 Layer pruning")
    assert properties["description"].startswith("SmolLM2 has thirty layers.")
    picture = (site / "chapters" / properties["image"]).resolve()
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(picture.read_bytes()[16:20]) == 1200
    assert int.from_bytes(picture.read_bytes()[20:24]) == 630


def test_solutions_and_side_roads_stand_folded(site):
    text = (site / "chapters" / "06_layer_pruning.html").read_text(encoding="utf-8")
    assert len(re.findall(r"<details>\s*<summary>Solution</summary>", text)) == 4
    roads = re.findall(r'<details class="gl-road"( open)?><summary>', text)
    notebook = json.loads((ROOT / "notebooks/06_layer_pruning.ipynb").read_text(encoding="utf-8"))
    assert len(roads) == sum("side-road" in cell["metadata"].get("tags", []) for cell in notebook["cells"]) > 0
    assert roads.count(" open") == 1
    assert text.count("<details") == text.count("</details>")


def test_the_search_finds_words_of_chapters_facts_and_code(site):
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").rstrip().removesuffix(")"))
    names = index["docnames"]

    def pages_with(word):
        places = index["terms"][word]
        return {names[place] for place in ([places] if isinstance(places, int) else places)}

    assert "chapters/06_layer_pruning" in pages_with("gromov")
    assert any(name.startswith("facts/") for name in pages_with("similarweb"))
    assert any(name.startswith("api/") for name in pages_with("straight"))


# in a browser


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    from tests.browser.driver import FLAGS

    executable = find_chromium()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, site):
    """Opens pages of the site; in the end none of them may have asked for the outside or reported an error."""
    opened = []

    def go(name, width=1280, theme="light"):
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        seen = LabPage(context.new_page(), None)
        opened.append(seen)
        seen.page.goto((site / f"{name}.html").as_uri())
        return seen.page

    yield go
    for seen in opened:
        assert seen.outside == []
        assert seen.errors == []
        seen.page.context.close()


def stored_charts(name):
    notebook = json.loads((ROOT / "notebooks" / f"{name.partition('/')[2]}.ipynb").read_text(encoding="utf-8"))
    return sum(MIME in output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", []))


def drawn(page, n):
    page.wait_for_function(
        "n => document.querySelectorAll('.gl-chart[data-drawn] svg.marks').length === n", arg=n, timeout=60_000
    )


OPEN_ALL = "() => document.querySelectorAll('details').forEach(fold => { fold.open = true; })"


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_draws_every_chart_and_every_twin_moves(open_page, name):
    page = open_page(name)
    drawn(page, stored_charts(name))
    page.evaluate(OPEN_ALL)
    page.wait_for_timeout(500)
    empty = "all => all.filter(e => e.querySelectorAll('path, text').length < 5 || e.clientWidth < 200).length"
    assert page.locator(".gl-chart svg.marks").evaluate_all(empty) == 0
    twins = page.locator(".gl-twin").all()
    assert twins
    for twin in twins:
        control = twin.locator(".vega-bind input, .vega-bind select").first
        before = twin.locator("svg.marks").evaluate("e => e.outerHTML")
        control.evaluate(
            """e => {
                if (e.type === 'range') { const low = Number(e.min); e.value = Number(e.value) === low ? e.max : low; }
                else if (e.type === 'radio') e.closest('.vega-bind').querySelectorAll('input')[1].click();
                else if (e.tagName === 'SELECT') e.selectedIndex = (e.selectedIndex + 1) % e.options.length;
                else e.click();
                for (const kind of ['input', 'change']) e.dispatchEvent(new Event(kind, {bubbles: true}));
            }"""
        )
        page.wait_for_function(
            "([e, before]) => e.querySelector('svg.marks').outerHTML !== before",
            arg=[twin.element_handle(), before],
            timeout=10_000,
        )


@pytest.mark.parametrize("name", NAMES)
def test_no_plot_is_squeezed_on_a_phone(open_page, name):
    """Names and legends would take all of a phone's width: such a chart is wider, and its box scrolls."""
    page = open_page(name, 390)
    drawn(page, stored_charts(name))
    page.evaluate(OPEN_ALL)
    page.wait_for_timeout(800)
    charts = page.locator(".gl-chart .gl-draw, .gl-explorer-draw").evaluate_all(
        """all => all.map(box => {
            const plots = [...box.querySelectorAll('svg.marks .role-frame path.background')];
            const outer = box.closest('.gl-scroll') ?? box;
            const scrolls = outer.scrollWidth > outer.clientWidth + 1;
            const widths = plots.map(e => e.getBoundingClientRect().width);
            return [Math.max(0, ...widths), !scrolls || outer.tabIndex === 0];
        })"""
    )
    assert len(charts) >= stored_charts(name)
    assert [(width, reached) for width, reached in charts if width < 100 or not reached] == []


@pytest.mark.parametrize("name", [*READ, *NAMES])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_no_page_is_wider_than_its_window(open_page, name, width):
    page = open_page(name, width)
    page.evaluate(OPEN_ALL)
    page.wait_for_timeout(800)
    page.screenshot(path=str(picture_path(f"site_{name.replace('/', '_')}_{width}.png")))
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_data_of_a_chart_is_a_table_behind_a_fold(open_page):
    page = open_page("chapters/06_layer_pruning")
    drawn(page, stored_charts("chapters/06_layer_pruning"))
    figure = page.locator(".gl-chart").nth(1)
    assert figure.locator("table").count() == 0
    figure.locator(".gl-data summary").press("Enter")
    figure.locator("table").first.wait_for()
    spec = json.loads(figure.locator("script").text_content())
    rows = max(spec["datasets"].values(), key=len)
    first = figure.locator("table").first
    assert first.locator("caption").text_content().startswith(f"Data 1: {len(rows)} rows")
    assert first.locator("thead th").all_text_contents() == [name.replace("_", " ") for name in rows[0]]
    shown = first.locator("tbody tr").first.locator("td").all_text_contents()
    assert [text for text in shown if text != "–"] == [
        f"{value:g}" if isinstance(value, float) else str(value) for value in rows[0].values()
    ]


def test_charts_follow_the_theme_and_keep_the_colours_of_the_data(open_page):
    name = "chapters/06_layer_pruning"
    page = open_page(name, theme="dark")
    drawn(page, stored_charts(name))
    heat = page.locator(".gl-chart").nth(1)
    assert heat.get_attribute("data-drawn") == "dark"
    colours = """e => { const cells = [...e.querySelectorAll('.mark-rect.role-mark path')];
        return [...new Set(cells.map(cell => cell.getAttribute('fill')))].sort().join(); }"""
    paper = "e => e.querySelector('svg').style.backgroundColor"
    dark, dark_paper = heat.evaluate(colours), heat.evaluate(paper)
    page.locator(".theme-toggle-content .theme-toggle").click()  # auto, then light where the system is dark
    page.wait_for_function("() => document.querySelectorAll('.gl-chart')[1].dataset.drawn === 'light'")
    light, light_paper = heat.evaluate(colours), heat.evaluate(paper)
    assert dark == light
    assert dark.count("rgb") > 20
    assert (dark_paper, light_paper) == ("rgb(19, 20, 22)", "white")


def test_a_prediction_counts_once_and_opens_its_reveal(open_page):
    page = open_page("chapters/06_layer_pruning")
    form, reveal = page.locator("#predict-layer-pruning"), page.locator("#reveal-layer-pruning")
    assert reveal.locator("details").get_attribute("open") is None
    slider = form.locator("input")
    slider.focus()
    for _ in range(3):
        slider.press("ArrowRight")
    assert form.locator("output").text_content() == "6 layers"
    form.locator("button").press("Enter")
    assert form.locator("[role=status]").text_content() == "Kept: 6 layers. Read on; the reveal comes below."
    assert form.locator("[role=status]").evaluate("e => e === document.activeElement")
    assert slider.is_disabled()
    assert reveal.locator("[role=status]").text_content() == "Your prediction: 6 layers. A good call: within 2 layers."
    assert reveal.locator("details").get_attribute("open") is not None
    page.reload()
    assert form.locator("[role=status]").text_content() == "You said 6 layers earlier. The first prediction counts."
    assert slider.input_value() == "6"
    page.goto(page.url.replace("chapters/06_layer_pruning", "index"))
    assert page.locator(".gl-score-board").text_content() == "Your predictions so far: 1 of 1 good calls."


def test_the_page_judges_a_prediction_as_the_notebook_does(open_page):
    page = open_page("chapters/06_layer_pruning")
    values = [0.0005, 0.0507, 0.33333, 1, 1.5, 2, 5.22, 8, 9.99, 12.5, 40, 87.1, 99.95, 150, 999.6, 1234567]
    cases = [
        [guess, truth, "J", tolerance, scale]
        for guess in values
        for truth in values
        for tolerance in (None, 2)
        for scale in ("linear", "log")
    ]
    shown = page.evaluate("cases => cases.map(c => window.greenlabPredictions.verdict(...c))", cases)
    for (guess, truth, unit, tolerance, scale), said in zip(cases, shown, strict=True):
        entry = {"prediction": guess, "truth": truth, "scale": scale}
        entry["tolerance"] = abs(truth) / 10 if tolerance is None else float(tolerance)
        good = lab._good_call(entry)
        assert said["good"] == good, (guess, truth, tolerance, scale)
        if not good:
            assert said["text"] == lab.how_far(guess, truth, unit), (guess, truth)
    numbers = [*values, 1e-05, 0, 1000, 999.9999, 12345.6]
    assert page.evaluate("all => all.map(v => window.greenlabPredictions.numberText(v, '%'))", numbers) == [
        lab.number_text(v, "%") for v in numbers
    ]


@pytest.mark.parametrize(
    "kept", ["null", "[]", "3", "{", '{"layer-pruning": {"prediction": "6"}}', '{"layer-pruning": null}']
)
def test_somebody_elses_text_in_the_storage_does_no_harm(open_page, kept):
    page = open_page("chapters/06_layer_pruning")
    page.evaluate(
        "text => ['predictions', 'quizzes'].forEach(name => localStorage.setItem('greenlab.' + name, text))",
        kept,
    )
    page.reload()
    assert page.locator("#predict-layer-pruning output").text_content() == "3 layers"
    assert page.locator("#predict-layer-pruning button").is_enabled()


def test_a_browser_that_keeps_nothing_still_answers(open_page):
    page = open_page("index")
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', "
        "{ get() { throw new DOMException('no', 'SecurityError'); }, configurable: true })"
    )
    page.goto(page.url.replace("index", "chapters/06_layer_pruning"))
    page.locator("#predict-layer-pruning button").click()
    said = page.locator("#predict-layer-pruning [role=status]").text_content()
    assert said == "3 layers; this browser keeps nothing, so it counts only until you leave this page."
    assert page.locator("#reveal-layer-pruning [role=status]").text_content().startswith("Your prediction: 3 layers.")
    assert page.locator("#reveal-layer-pruning details").get_attribute("open") is not None
    quiz = page.locator(".gl-quiz fieldset").first
    quiz.locator("input").first.check()
    assert quiz.locator("[role=status]").text_content()[0] in "✓✗"
    before = page.evaluate("document.body.dataset.theme")
    page.locator(".theme-toggle-content .theme-toggle").click()
    assert page.evaluate("document.body.dataset.theme") != before


def test_a_browser_whose_storage_is_full_still_answers(open_page):
    page = open_page("chapters/06_layer_pruning")
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); }; }")
    page.locator("#predict-layer-pruning button").click()
    said = page.locator("#predict-layer-pruning [role=status]").text_content()
    assert said == "3 layers; this browser keeps nothing, so it counts only until you leave this page."
    assert page.locator("#reveal-layer-pruning [role=status]").text_content().startswith("Your prediction: 3 layers.")


def test_a_prediction_in_one_tab_counts_in_the_other(open_page, served):
    """Over a server, as pages that are opened as files may not hear of one another."""
    first = open_page("index")
    second = first.context.new_page()
    for page in (first, second):
        page.goto(f"{served}/chapters/04_distillation.html")
    first.locator(".gl-predict input").press("ArrowRight")
    first.locator(".gl-predict button").click()
    shown = first.locator(".gl-predict output").text_content()
    second.wait_for_function("document.querySelector('.gl-predict button').disabled")
    said = second.locator(".gl-predict [role=status]").text_content()
    assert said == f"You said {shown} earlier. The first prediction counts."
    assert second.locator(".gl-reveal [role=status]").text_content().startswith(f"Your prediction: {shown}. ")


@pytest.mark.parametrize("prediction", [-5, 0, 1e308])
def test_a_kept_number_that_the_slider_cannot_give_is_no_prediction(open_page, prediction):
    page = open_page("chapters/01_footprint")
    form = page.locator(".gl-predict").first
    question = json.loads(form.locator("script").text_content())
    assert question["scale"] == "log"
    entry = {question["id"]: {"prediction": prediction, "scale": "log"}}
    page.evaluate("text => localStorage.setItem('greenlab.predictions', text)", json.dumps(entry))
    page.reload()
    assert form.locator("button").is_enabled()
    reveal = page.locator(f"#reveal-{question['id']}")
    assert reveal.locator("[role=status]").text_content().startswith("You have not predicted yet.")


def test_an_address_that_cannot_be_read_stops_nothing(open_page):
    page = open_page("facts/constants", 390)
    page.goto(page.url + "#%E0%A4%A")
    page.reload()
    assert page.locator(".table-wrapper[tabindex='0']").count() > 0


def test_a_server_gives_the_folders_and_the_icon(site):
    """GitHub Pages leaves out what begins with "_" unless told not to; a page without an icon asks the root for one."""
    assert (site / ".nojekyll").is_file()
    icon = re.search(r'<link rel="[^"]*icon" href="([^"]+)"', (site / "index.html").read_text(encoding="utf-8"))
    assert (site / icon[1]).read_bytes().startswith(b"<svg")


def test_a_quiz_answers_at_once_and_remembers(open_page):
    page = open_page("chapters/06_layer_pruning")
    sets = page.locator(".gl-quiz fieldset")
    for place in range(sets.count()):
        right = (
            sets.nth(place)
            .locator("input")
            .evaluate_all("all => all.findIndex(e => JSON.parse(e.dataset.feedback).right)")
        )
        sets.nth(place).locator("input").nth(right).check()
        assert sets.nth(place).locator("[role=status]").text_content().startswith("✓ Right.")
    assert page.locator(".gl-score").text_content() == "3 of 3 right. Change what you like."
    page.reload()
    assert page.locator(".gl-score").text_content() == "3 of 3 right. Change what you like."


def test_a_note_opens_with_the_focus_and_closes_with_escape(open_page):
    page = open_page("chapters/01_footprint")
    link, note = page.locator("a.fact").first, page.locator("#gl-note")
    link.focus()
    assert note.text_content() == link.get_attribute("data-note")
    assert note.is_visible()
    assert link.get_attribute("aria-describedby") == "gl-note"
    page.keyboard.press("Escape")
    assert note.is_hidden()
    link.hover()
    assert note.is_visible()


def test_a_link_into_a_fold_opens_it(open_page):
    page = open_page("chapters/06_layer_pruning")
    fold = page.locator("details.gl-road:not([open])").first
    target = fold.evaluate("e => e.closest('section').id")
    page.evaluate("target => { location.hash = target; }", target)
    page.wait_for_function(
        "target => document.getElementById(target).querySelector('details.gl-road').open", arg=target
    )


@pytest.fixture
def served(site):
    """The address of the site on a server of this machine: a browser lets a search read other pages only there."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_the_search_page_answers(open_page, served):
    page = open_page("search")
    page.goto(f"{served}/search.html?q=angular+distance")
    page.wait_for_selector("ul.search li p.context", timeout=20_000)
    assert any("Layer pruning" in text for text in page.locator("ul.search li a").all_text_contents())


@pytest.mark.parametrize("name", [*READ, *NAMES])
@pytest.mark.parametrize(("width", "theme"), [("desktop", "light"), ("phone", "dark")])
def test_axe_finds_no_violation_of_wcag(open_page, name, width, theme):
    """WCAG 2.1 A and AA as Deque's axe checks it, with every fold open."""
    page = open_page(name, WIDTHS[width], theme)
    if name in NAMES:
        drawn(page, stored_charts(name))
    page.evaluate(OPEN_ALL)
    page.wait_for_timeout(500)
    page.evaluate(Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate(
        """async () => {
            const runOnly = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'];
            const found = await axe.run({runOnly, preload: false, resultTypes: ['violations']});
            const said = n => n.html.slice(0, 160) + ' | ' + n.failureSummary.slice(0, 160);
            return found.violations.map(v => [v.id, v.nodes.length, v.nodes.slice(0, 3).map(said)]);
        }"""
    )
    assert found == []
