"""SmolLM2 in the page, in Chromium: download, cut while it writes, cancel, keep, clear; errors with their remedy."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import shutil
import threading
from contextlib import contextmanager

import pytest
from axe_playwright_python.sync_playwright import Axe

from greenlab.tab import build, cuts, fragment
from tests.browser.driver import find_chromium, open_page

pytestmark = pytest.mark.assets
WRITTEN = "() => document.querySelector('.prune-text').getAttribute('aria-busy') === 'false'"
FOCUSED = "() => document.activeElement.id || document.activeElement.dataset.do || ''"
WIDTHS = {"phone": (390, 844), "desktop": (1280, 900)}
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]


@contextmanager
def served(folder):
    """A web server on this machine that sends files and no special header; gives its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    find_chromium()
    made = tmp_path_factory.mktemp("tab")
    build(made)
    return made


@pytest.fixture(scope="module")
def site(folder):
    with served(folder) as address:
        yield address


class Tab:
    """The page, by what a reader sees and does."""

    def __init__(self, opened, address):
        self.opened, self.page = opened, opened.page
        self.address = address

    def open(self, query=""):
        self.page.goto(self.address + query)
        return self

    def part(self, name):
        return self.page.locator(f"[data-part={name}]")

    def button(self, name):
        return self.page.locator(f"[data-do={name}]")

    def load(self):
        self.button("load").and_(self.page.locator(":enabled")).click()
        self.part("bench").wait_for(state="visible", timeout=60_000)
        return self.written()

    def written(self):
        self.page.wait_for_function(WRITTEN, timeout=60_000)
        return self

    def move(self, key, times=1):
        for _ in range(times):
            self.page.locator("#prune-tab-cut").press(key)
        return self.written()

    @property
    def text(self):
        return self.page.locator(".prune-text").inner_text()

    @property
    def error(self):
        self.part("error").wait_for(state="visible", timeout=20_000)
        return self.part("error").inner_text()


@contextmanager
def tab(address, **context):
    """A page that asked for nothing outside; errors of the console are allowed where a test makes them."""
    with open_page(None, **context) as opened:
        yield Tab(opened, address)
        assert opened.outside == []


def test_a_reader_drops_layers_and_text_and_speed_follow(site):
    with tab(site) as page:
        page.open()
        page.button("load").and_(page.page.locator(":enabled")).wait_for()
        assert page.button("load").inner_text() == "Download the model (97.5 MB)"
        assert page.part("bench").is_hidden()
        page.load()
        whole = page.text
        assert whole.startswith("The capital of France is Paris.")
        page.move("ArrowRight", 6)
        assert page.part("cut").inner_text() == "6 of 30 (numbers 13 to 18)"
        assert page.page.locator("#prune-tab-cut").get_attribute("aria-valuetext") == "6 of 30 (numbers 13 to 18)"
        assert page.page.locator(".prune-dropped").count() == 6
        assert page.text.startswith("The capital of France is Paris, the capital of the United States")
        assert page.part("share").inner_text() == "86 % of 96.6 MB"
        six = next(cut for cut in cuts()["angular"] if cut["n_removed"] == 6)
        assert page.part("loss").inner_text() == f"{six['loss']:.2f} nats a token"
        assert page.part("accuracy").inner_text() == f"{100 * six['accuracy']:.0f} %"
        speed = page.part("speed").inner_text()
        assert speed.endswith(" tokens a second")
        assert float(speed.split()[0]) > 0
        page.move("Home")
        page.move("ArrowRight")
        assert page.part("cut").inner_text() == "1 of 30 (number 25)"
        page.move("Home")
        assert page.text == whole  # the way back is the way it was
        page.page.locator("#prune-tab-method").select_option("deepest")
        page.move("End")
        assert page.part("layers").get_attribute("aria-label") == "Of 30 layers, numbers 17 to 28 are dropped."
        assert page.page.locator("[data-part=rows] tr").count() >= 3
        assert page.opened.errors == []


def test_a_slider_that_moves_while_text_comes_begins_anew(site):
    """The text that stands at the end is that of the last cut alone, however fast the moves before it were."""
    with tab(site) as page:
        page.open().load()
        page.move("End")
        alone = page.text
        page.move("Home")
        page.page.evaluate(
            """() => { const slider = document.querySelector('#prune-tab-cut');
                for (let i = 0; i <= Number(slider.max); i++) {
                    slider.value = i; slider.dispatchEvent(new Event('input')); } }"""
        )
        page.written()
        assert page.text == alone


def test_another_beginning_and_stop(site):
    with tab(site) as page:
        page.open().load()
        page.page.get_by_role("button", name="Bread rises because").click()
        page.written()
        assert page.text.startswith("Bread rises because of the fact that the protein")
        page.page.get_by_label("How the text begins").fill("")
        page.button("write").click()
        assert page.error == "The beginning is empty: write a word or two."
        page.page.get_by_label("How the text begins").fill("1 2 3 4 5 6 7 8 9 " * 20)
        page.button("write").click()
        page.page.wait_for_function("() => document.querySelector('.prune-error').innerText.includes('Shorten it.')")
        page.page.get_by_label("How the text begins").fill("<b>Once</b> & upon")
        page.button("write").click()
        page.button("stop").click()
        assert page.part("status").inner_text() == "Stopped."
        assert page.text.startswith("<b>Once</b> & upon")  # shown as it was typed
        before = page.text
        page.page.wait_for_timeout(300)
        assert page.text == before


def test_the_model_is_kept_cleared_and_fetched_once(site):
    with tab(site) as page:
        asked = []
        page.page.context.on("request", lambda request: asked.append(request.url))
        page.open().load()
        assert sum("layer-" in url for url in asked) == 30
        assert "keeps the files" in page.part("where").inner_text()
        asked.clear()
        page.open().button("load").and_(page.page.locator(":enabled")).wait_for()
        assert page.button("load").inner_text() == "Open the model (your browser has kept it)"
        page.load()
        assert [url for url in asked if ".bin" in url or ".wasm" in url] == []
        page.open().button("clear").click()
        page.page.wait_for_function("() => document.querySelector('[data-do=load]').innerText.startsWith('Download')")
        assert page.page.evaluate("async () => (await caches.keys()).length") == 0


def test_without_simd_the_text_is_the_same(site):
    with tab(site) as page:
        page.open().load()
        fast = page.text
        page.open("?plain").load()
        assert page.text == fast
        assert "plain JavaScript" in page.part("where").inner_text()


def test_a_browser_that_keeps_nothing_still_runs_it(site):
    with tab(site) as page:
        page.page.add_init_script("CacheStorage.prototype.open = () => Promise.reject(new DOMException('no'))")
        page.page.context.route("**/store.js", forget)
        page.open().load()
        assert "could not keep the files" in page.part("where").inner_text()


def forget(route):
    """The worker's script, where an init script does not reach, with a cache that refuses."""
    answer = route.fetch()
    refuse = "CacheStorage.prototype.open = () => Promise.reject(new DOMException('no'));\n"
    route.fulfill(response=answer, body=refuse + answer.text())


def test_a_cancelled_download_goes_on_where_it_was(site):
    with tab(site) as page:
        held = []

        def hold(route):
            held.append(route)

        page.page.context.route("**/layer-05.bin*", hold)
        page.open().button("load").and_(page.page.locator(":enabled")).click()
        page.page.wait_for_function("() => parseFloat(document.querySelector('[data-part=bytes]').innerText) > 40")
        for _ in range(400):  # the file that is held is asked for once the five before it have come
            if held:
                break
            page.page.wait_for_timeout(50)
        page.button("cancel").click()
        assert page.error.startswith("Cancelled. What has come already is kept")
        page.page.wait_for_function("() => document.querySelector('[data-do=load]').innerText.includes('55.')")
        page.page.context.unroute("**/layer-05.bin*")
        asked = []
        page.page.context.on("request", lambda request: asked.append(request.url))
        page.load()
        assert sum("layer-" in url for url in asked) == 25
        assert len(held) == 1
        assert page.text.startswith("The capital of France is Paris.")


FAULTS = {
    "offline": (lambda route: route.abort(), "The site cannot be reached."),
    "missing": (lambda route: route.fulfill(status=404), "The model is not on this site"),
    "server": (lambda route: route.fulfill(status=503), "The site did not give the file."),
    "damaged": (lambda route: route.fulfill(body=b"x" * 2_216_448), "A file came damaged."),
    "cut short": (lambda route: route.fulfill(body=b"x"), "A file came damaged."),
    "too long": (lambda route: route.fulfill(body=b"x" * 3_000_000), "A file came damaged."),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_says_what_to_do_and_can_be_tried_again(site, fault):
    answer, says = FAULTS[fault]
    with tab(site) as page:
        page.page.context.route("**/layer-00.bin*", answer)
        page.open().button("load").and_(page.page.locator(":enabled")).click()
        assert page.error.startswith(says)
        page.page.context.unroute("**/layer-00.bin*")
        page.load()
        assert page.part("error").is_hidden()
        assert page.text.startswith("The capital of France is Paris.")


def test_a_browser_that_cannot_start_the_worker_is_told_so(site):
    with tab(site) as page:
        page.page.context.route("**/worker.js", lambda route: route.fulfill(body="((", content_type="text/javascript"))
        page.open().button("load").and_(page.page.locator(":enabled")).click()
        assert page.error.startswith("Your browser could not start the model.")
        page.page.context.unroute("**/worker.js")
        page.load()
        assert page.text.startswith("The capital of France is Paris.")


def test_a_site_that_was_built_without_the_model_says_so(tmp_path):
    build(tmp_path, weights=False)
    with served(tmp_path) as address, tab(address) as page:
        page.open()
        assert page.error.startswith("The model is not on this site: it was built without it.")
        assert page.button("load").is_disabled()


def test_a_page_opened_as_a_file_says_what_it_needs(folder):
    with tab((folder / "index.html").as_uri()) as page:
        page.open()
        assert page.error.startswith("A page that is opened as a file may not load a model. Look at it through a web")
        assert page.button("load").is_disabled()
        assert page.opened.errors == []


def test_a_file_kept_of_an_older_build_is_removed(folder, tmp_path):
    """Two builds on one address: the second has a file of other bytes, which is fetched and replaces the first."""
    shutil.copytree(folder, tmp_path / "site")
    with served(tmp_path / "site") as address, tab(address) as page:
        page.open().load()
        place = tmp_path / "site/weights/manifest.json"
        manifest = json.loads(place.read_text(encoding="utf-8"))
        entry = next(one for one in manifest["files"] if one["name"] == "tokenizer.json")
        table = json.dumps(json.loads((place.parent / "tokenizer.json").read_text(encoding="utf-8"))).encode()
        (place.parent / "tokenizer.json").write_bytes(table)  # the same table, spelled with spaces
        entry |= {"bytes": len(table), "sha256": hashlib.sha256(table).hexdigest()}
        place.write_text(json.dumps(manifest), encoding="utf-8")
        page.open().load()
        kept = page.page.evaluate("async () => (await (await caches.open('greenlab-tab')).keys()).map(one => one.url)")
        assert sum("tokenizer.json" in url for url in kept) == 1
        assert len(kept) == 33


def test_a_site_that_is_built_anew_under_an_open_page_is_seen_at_the_next_try(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "site")
    with served(tmp_path / "site") as address, tab(address) as page:
        page.open().button("load").and_(page.page.locator(":enabled")).wait_for()
        place = tmp_path / "site/weights/manifest.json"
        manifest = json.loads(place.read_text(encoding="utf-8"))
        entry = next(one for one in manifest["files"] if one["name"] == "tokenizer.json")
        table = json.dumps(json.loads((place.parent / "tokenizer.json").read_text(encoding="utf-8"))).encode()
        (place.parent / "tokenizer.json").write_bytes(table)
        entry |= {"bytes": len(table), "sha256": hashlib.sha256(table).hexdigest()}
        place.write_text(json.dumps(manifest), encoding="utf-8")
        page.button("load").click()
        assert page.error.startswith("A file came damaged.")
        page.load()
        assert page.text.startswith("The capital of France is Paris.")


def test_a_double_click_downloads_once_and_cancels_nothing(site):
    """The button to cancel comes where the button to download was, under the second half of a double click."""
    with tab(site) as page:
        asked = []
        page.page.context.on("request", lambda request: asked.append(request.url))
        page.open().button("load").and_(page.page.locator(":enabled")).dblclick()
        page.button("load").evaluate("e => { e.click(); e.click(); }")
        page.part("bench").wait_for(state="visible", timeout=60_000)
        assert sum("/layer-" in url for url in asked) == 30
        assert page.part("error").is_hidden()


def test_a_script_that_does_not_come_is_said(tmp_path):
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters/06.html").write_text(f"<!doctype html><meta charset=utf-8>{fragment()}", encoding="utf-8")
    with served(tmp_path) as address, tab(address) as page:
        page.open("chapters/06.html")
        assert page.error.startswith("The script of this part did not come")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_violation_of_wcag_and_nothing_wider_than_the_page(site, width, scheme):
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    with tab(site, color_scheme=scheme) as page:
        page.page.set_viewport_size(size)
        page.open().button("load").and_(page.page.locator(":enabled")).wait_for()
        for step in ("closed", "open"):
            found = Axe().run(page.page, options={"runOnly": {"type": "tag", "values": WCAG}}).response
            assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == [], step
            assert len(found["passes"]) > 5
            assert page.page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            if step == "closed":
                page.load().move("ArrowRight", 6)


def test_everything_is_reached_by_the_keyboard(site):
    with tab(site) as page:
        page.open().load()
        page.page.locator("#prune-tab-title").evaluate("e => { e.tabIndex = -1; e.focus(); }")
        reached = []
        for _ in range(14):
            page.page.keyboard.press("Tab")
            reached.append(page.page.evaluate(FOCUSED))
        assert {"clear", "prune-tab-prompt", "prune-tab-method", "prune-tab-cut", "write"} <= set(reached)


def test_in_a_chapter_of_the_site_the_part_finds_its_files(tmp_path):
    """The fragment as it is committed, in a page one folder below the root: its style and its script are loaded."""
    build(tmp_path / "_static/tab", weights=False)
    (tmp_path / "chapters").mkdir()
    (tmp_path / "chapters/06.html").write_text(f"<!doctype html><meta charset=utf-8>{fragment()}", encoding="utf-8")
    with served(tmp_path) as address, tab(address) as page:
        page.open("chapters/06.html")
        assert page.error.startswith("The model is not on this site")
        edge = page.page.locator(".prune-tab").evaluate("e => getComputedStyle(e).borderTopStyle")
        assert edge == "solid"
