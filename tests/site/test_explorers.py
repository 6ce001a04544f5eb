"""The explorers of the pages give Python's numbers and words, on random settings."""

import base64
import json
import os
import random
import re
import zlib
from functools import partial
from pathlib import Path

import axe_playwright_python
import numpy as np
import pytest
import vl_convert

from docs.book import explorers
from greenlab import retrieval
from greenlab.core.grid.traces import Traces
from greenlab.core.machine import ROOT
from greenlab.footprint import tables
from greenlab.footprint.view import widgets as footprint
from greenlab.green_service import evaluate
from greenlab.green_service.assumptions import LIMITS
from greenlab.green_service.view import Designer, designer
from greenlab.green_service.view.designer import OWN
from greenlab.hardware.view import widgets as hardware
from greenlab.lab import receipts
from greenlab.lab.export import VEGA_LITE
from greenlab.lab.widgets import _choices, _range
from greenlab.load_shifting.view import widget as shifting
from tests.browser.driver import FLAGS, find_chromium
from tests.site import pages

pytestmark = [
    pytest.mark.browser,  # they need a program that not everybody has, as the browser's tests do
    pytest.mark.skipif(pages.NODE is None, reason="needs node, which runs the page's scripts"),
]
CASES = int(os.environ.get("GREENLAB_EXPLORER_CASES", "1000"))


def setting(explorer, dice):
    """A stop of every control, chosen at random."""
    found = {}
    for name, control in explorer.controls.items():
        choices, limits = _choices(control), _range(control)
        if choices is not None:
            found[name] = dice.choice(choices)
        elif limits:
            low, high = limits
            found[name] = low + control.step * dice.randrange(round((high - low) / control.step) + 1)
        else:
            found[name] = dice.random() < 0.5
    return found


def settings(explorer, seed=1, n=CASES):
    dice = random.Random(seed)
    found = [{name: control.value for name, control in explorer.controls.items()}]
    return found + [setting(explorer, dice) for _ in range(n - 1)]


def close(value):
    return pytest.approx(value, rel=1e-9)


def test_numbers_are_written_as_python_writes_them(tmp_path):
    dice = random.Random(7)
    numbers = [0.5, 1.5, 2.5, 0.125, 1125, 1135, 999.5, 0.0005, 1e21, 0.1 + 0.2, 9.995, 12345.5, 0.045]
    numbers += [dice.choice((1, -1)) * 10 ** dice.uniform(-8, 12) for _ in range(CASES)]
    numbers += [dice.randrange(10**6) / 2 ** dice.randrange(8) for _ in range(CASES)]  # many are ties
    cases = [[f"words.{name}", [x, digits]] for x in numbers for digits in (0, 1, 3) for name in ("fixed", "grouped")]
    cases += [["words.general", [x, digits]] for x in numbers for digits in (2, 3, 6)]
    cases += [["words.quantity", [x, "J"]] for x in numbers] + [["words.duration", [abs(x)]] for x in numbers]
    shown = pages.run(tmp_path, "footprint", cases)
    formats = {"fixed": "{0:.{1}f}", "grouped": "{0:,.{1}f}", "general": "{0:.{1}g}"}
    functions = {"quantity": receipts.quantity, "duration": receipts.duration}
    expected = []
    for name, values in cases:
        name = name.partition(".")[2]
        expected.append(functions[name](*values) if name in functions else formats[name].format(*values))
    assert shown == expected


def test_a_training_run_is_python_s(tmp_path):
    widget = footprint.training_widget(tables.trainings())
    cases = settings(widget)
    shown = pages.run(tmp_path, "footprint", [["footprint.training_widget", case] for case in cases])
    for case, found in zip(cases, shown, strict=True):
        run = footprint.training_run(case["billions"] * 1e9, case["tokens"], case["chip"], case["region"])
        assert found["numbers"] == {
            "device_hours": close(run.device_hours), "energy_mwh": close(run.energy_mwh),
            "carbon_t": close(run.carbon_t),
        }  # fmt: skip
        assert found["params"] == {name: close(value) for name, value in widget._draw(**case).items()}
        assert found["text"] == widget._say(**case)
        assert found["reached"] == widget._goal(**case)


def test_a_year_of_searches_is_python_s(tmp_path):
    widget = footprint.search_widget(tables.yardsticks())
    cases = settings(widget)
    shown = pages.run(tmp_path, "footprint", [["footprint.search_widget", case] for case in cases])
    for case, found in zip(cases, shown, strict=True):
        assert found["params"] == {name: close(value) for name, value in widget._draw(**case).items()}
        assert found["text"] == widget._say(**case)
        assert found["reached"] == widget._goal(**case)


def test_a_design_is_python_s(tmp_path, monkeypatch):
    """Figures, the quality left, every bar with its band, the title and the words; designs that cannot be built too."""
    monkeypatch.setattr(designer, "_figures", lambda *_: "")  # the table below the notebook's chart is not in the page
    widget = Designer(level=1)
    cases = settings(widget)
    dice = random.Random(3)
    for case in cases[1:]:  # most designs of chance cannot be built: let half of them be those that can
        case["pue"] = dice.choice(
            [1.0, 1.05, 1.09, 1.2, 1.54, 2.0, 0.9, 5.5, round(dice.uniform(1, 5), 3), widget.value["pue"]]
        )
        if dice.random() < 0.7:
            case |= {"healed": False, "removed_layers": dice.randrange(5)}
        if "8x7B" in case["model"] or "A3B" in case["model"]:
            case |= {"healed": False, "depths": False, "removed_layers": dice.choice([0, 0, 0, 3])}
        if dice.random() < 0.3:
            case |= {"depths": True, "healed": False, "removed_layers": dice.choice([0, 0, 0, 3])}
        case |= {"input_tokens": dice.choice([1, 50, 500, 4000]), "output_tokens": dice.choice([1, 10, 300, 3000])}
        case |= {name: "" for name in case if name.startswith(OWN)}  # the page leaves the assumptions as published
        for name in dice.sample(sorted(case), dice.randrange(len(case))):
            case[name] = widget.value[name]
    shown = pages.run(tmp_path, "green_service", [["green_service.Designer", case] for case in cases])
    built = 0
    for case, found in zip(cases, shown, strict=True):
        chart = widget._chart(**case).to_dict()
        assert found["title"] == widget.headline(**case) == chart["title"]["text"]
        assert found["text"] == widget._sentence(**case)
        points = re.search(r"Points: (\d+) of (\d+)", found["text"])
        assert found["reached"] == (
            points is not None and points[1] == points[2]
        )  # what a goal is, in Designer._reached
        (rows,), (bars,) = chart["datasets"].values(), found["spec"]["datasets"].values()
        for row, bar in zip(rows, bars, strict=True):
            numbers = {
                name: close(row[name]) for name in ("start", "end", "low", "high", "right") if row[name] is not None
            }
            assert bar == row | numbers
        assert found["spec"]["layer"][0]["encoding"]["x"]["scale"]["domain"] == close(
            chart["layer"][0]["encoding"]["x"]["scale"]["domain"]
        )
        if found["numbers"] is not None:
            built += 1
            outcome = evaluate(widget.design(**case))
            assert found["numbers"] == {
                "energy_j": close(outcome.energy.total_j), "carbon_g": close(outcome.carbon.sci_g),
                "water_ml": close(outcome.water.total_ml), "cost_usd": close(outcome.cost.total_usd),
                "first_token_s": close(outcome.latency.first_token_s), "total_s": close(outcome.latency.total_s),
                "quality": close(outcome.quality), "n_devices": outcome.machines.n_devices,
            }  # fmt: skip
    assert built > CASES / 2


def test_a_roofline_is_python_s(tmp_path):
    widget = hardware.roofline_widget()
    cases = settings(widget)
    shown = pages.run(tmp_path, "hardware", [["hardware.roofline_widget", case] for case in cases])
    names = ("time_s", "compute_s", "memory_s", "batches", "tokens_per_s", "stream_tokens_per_s", "j_per_token")
    for case, found in zip(cases, shown, strict=True):
        work, e = hardware._estimate(**case)
        numbers = {name: getattr(e, name) for name in names}
        numbers |= {name: getattr(work, name) for name in ("tokens", "flops", "bytes_moved", "resident_b", "cache_b")}
        expected = {name: None if value is None else close(float(value)) for name, value in numbers.items()}
        assert found["numbers"] == expected | {"bound": e.bound, "arithmetic": e.arithmetic, "n_devices": e.n_devices}
        drawn = widget._draw(**case)
        assert found["params"] == {name: value if name == "words" else close(value) for name, value in drawn.items()}
        assert found["text"] == widget._say(**case)
        assert found["reached"] == widget._goal(**case)


HOURS = shifting.hours_of_the_year
OTHER_HOURS = {
    "as they were": None,
    "many equal hours": lambda grams: np.rint(grams / 50) * 50,
    "all hours equal": lambda grams: np.full_like(grams, 300.0),
    "no carbon": np.zeros_like,
}


def changed(how, year=shifting.YEAR):
    full = HOURS(year)
    return Traces(full.zones, full.start, full.step_h, how(full.intensity_g_per_kwh), full.basis)


@pytest.mark.parametrize("hours", OTHER_HOURS)
def test_shifted_runs_are_python_s(tmp_path, monkeypatch, hours):
    """Schedules hour by hour, savings, title and words: with ties, few machines, and runs that find none."""
    if how := OTHER_HOURS[hours]:
        monkeypatch.setattr(shifting, "hours_of_the_year", partial(changed, how))
    widget = shifting.shift_explorer()
    cases = settings(widget, n=max(1, CASES // 4) if how else CASES)
    dice = random.Random(9)
    for case in cases[1:]:
        case["machines"] = dice.choice([case["machines"], dice.randrange(1, 8)])
        case["slack_h"] = dice.choice([case["slack_h"], *range(0, 48, 6)])
    shown = pages.run(tmp_path, "load_shifting", [["load_shifting.shift_explorer", case] for case in cases])
    missed, paused, moved = 0, 0, 0
    for case, found in zip(cases, shown, strict=True):
        outcome = shifting.shift(**case)
        m = outcome.metrics
        assert found["numbers"] == {name: close(m[name]) for name in found["numbers"]}, case
        assert found["where"] == outcome.where
        assert found["params"] == widget._draw(**case), case
        assert found["text"] == widget._say(**case)
        assert found["reached"] == widget._goal(**case)
        missed, paused, moved = missed + (m["missed"] > 0), paused + (m["pauses"] > 0), moved + (m["moved_pct"] > 0)
    if hours in ("as they were", "many equal hours"):
        assert min(missed, paused, moved) > len(cases) / 20


def queries(corpus, seed=5, n=CASES):
    """Questions of chance: words of the book, cut, joined and misspelt, numbers, other scripts, signs."""
    dice = random.Random(seed)
    known = sorted({word for one in corpus for word in one.with_title.split()})
    odd = [
        "1,287",
        "0.431",
        "H100",
        "İstanbul",
        "ΟΔΟΣ",
        "naïve",
        "x²",
        "½",
        "日本",
        "Ⅳ",
        "what",
        "the",
        "3.14.15",
        "a_b",
        "--",
        "e\u0301s",
    ]
    found = []
    for _ in range(n):
        words = [dice.choice(known) if dice.random() < 0.8 else dice.choice(odd) for _ in range(dice.randrange(1, 9))]
        words = [word[: dice.randrange(1, len(word) + 1)] if dice.random() < 0.2 else word for word in words]
        words = [dice.choice([word.upper(), word.title(), word]) for word in words]
        found.append(dice.choice([" ", " ", ", ", "-"]).join(words))
    return found


def test_a_search_finds_what_python_finds(tmp_path):
    corpus = retrieval.Corpus.from_book()
    index = retrieval.BM25Index(corpus)
    asked = [*retrieval.load_questions()["question"], *queries(corpus)]
    assert len(asked) == 106 + CASES
    cases = [["retrieval.ask_widget", {"asked": query, "n_passages": 10}] for query in asked]
    shown = pages.run(tmp_path, "retrieval", cases)
    n_found = 0
    for query, found in zip(asked, shown, strict=True):
        if not any(letter.isalnum() for letter in query):
            assert "the question was empty" in found["text"]
            continue
        best = index.search(query, 10)
        assert [one["passage"] for one in found["found"]] == best["passage"].tolist(), query
        assert [one["score"] for one in found["found"]] == close(best["score"].tolist())
        n_found += len(best)
    assert n_found > CASES


def test_every_passage_leads_to_a_place_in_the_book():
    passages = explorers.retrieval()["ask_widget"]["passages"]
    assert len(passages) == len(retrieval.Corpus.from_book())
    assert all(re.fullmatch(r"[\w./]+\.html#[\w.%-]+", address) for _, _, address in passages)


# in a browser


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def vega():
    return f"(() => {{{vl_convert.javascript_bundle('window.greenlabEmbed = vegaEmbed;', vl_version=VEGA_LITE)}}})();"


def page_of(folder, part, vega):
    """A page with nothing but an explorer, with the scripts that the site gives it."""
    chapter, static = part.partition(".")[0], ROOT / "docs" / "_static"
    for name, text in {"data.js": explorers.script(chapter), **explorers.later(chapter)}.items():
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "vega.js").write_text(vega, encoding="utf-8")
    files = [folder / "vega.js", static / "charts.js", static / "explorers" / "explorer.js", folder / "data.js"]
    scripts = "".join(
        f'<script defer src="{file.as_uri()}"></script>' for file in [*files, static / "explorers" / f"{chapter}.js"]
    )
    body = (ROOT / "docs" / "parts" / f"{part}.html").read_text(encoding="utf-8")
    look = "--color-foreground-primary: #000; --color-background-primary: #fff"
    (folder / "page.html").write_text(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>An explorer</title>'
        f'<link rel="stylesheet" href="{(static / "book.css").as_uri()}">{scripts}</head>'
        f'<body data-theme="light" style="{look}"><main><h1>A chapter</h1><h2>A part</h2>'
        f'<div class="gl-part">{body}</div></main></body></html>',
        encoding="utf-8",
    )
    return (folder / "page.html").as_uri()


MOVE = """e => {
    if (e.type === 'range') e.value = Number(e.value) === Number(e.max) ? e.min : e.max;
    else if (e.tagName === 'SELECT') e.selectedIndex = (e.selectedIndex + 1) % e.options.length;
    else if (e.type === 'checkbox') e.checked = !e.checked;
    else e.value = e.type === 'number' ? (e.step === '1' ? '400' : '1.2') : 'roofline';
    e.dispatchEvent(new Event('input', {bubbles: true}));
}"""
TIMED = f"""e => new Promise(done => {{
    const host = document.querySelector('[data-explorer]'), start = performance.now();
    const watcher = new MutationObserver(() => {{
        watcher.disconnect();
        requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
    }});
    watcher.observe(host, {{attributes: true, attributeFilter: ['data-drawn']}});
    ({MOVE})(e);
}})"""  # milliseconds until what the move changed is painted
KEEP = "e => { e.kept = e.type === 'checkbox' ? e.checked : e.tagName === 'SELECT' ? e.selectedIndex : e.value; }"
BACK = """e => {
    if (e.type === 'checkbox') e.checked = e.kept;
    else if (e.tagName === 'SELECT') e.selectedIndex = e.kept;
    else e.value = e.kept;
    e.dispatchEvent(new Event('input', {bubbles: true}));
}"""
DRAWN = "n => Number(document.querySelector('[data-explorer]').dataset.drawn ?? 0) > n"
AXE = """async () => (await axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], preload: false,
                                   resultTypes: ['violations']}))
    .violations.map(v => [v.id, v.nodes.slice(0, 2).map(n => n.html.slice(0, 160))])"""
TABLE_MOVES = {
    "footprint.training_widget",
    "hardware.roofline_widget",
    "retrieval.ask_widget",
    "load_shifting.shift_explorer",
}
ALWAYS_SEEN = {
    "footprint.training_widget",
    "footprint.search_widget",
}  # every control moves the chart from its first stop


@pytest.mark.parametrize(
    "part", [f"{name}.{one}" for name in explorers.CHAPTERS for one in sorted(explorers.PARTS[name])]
)
def test_every_control_answers_in_the_page_and_axe_finds_nothing(chromium, tmp_path, vega, part):
    context = chromium.new_context(viewport={"width": 390, "height": 900})
    page, errors, outside = context.new_page(), [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.on(
        "request",
        lambda asked: asked.url.startswith(("file:", "data:", "blob:")) or outside.append(asked.url),
    )
    page.goto(page_of(tmp_path, part, vega))
    page.wait_for_function(DRAWN, arg=0, timeout=60_000)
    host, moved, times = page.locator("[data-explorer]"), [], []
    controls = host.locator(".gl-control :is(input, select)")
    assert controls.count() >= 1
    for place in range(controls.count()):
        control = controls.nth(place)
        before = [host.locator(one).first.evaluate("e => e.outerHTML") for one in ("svg.marks", ".gl-said")]
        n = int(host.get_attribute("data-drawn"))
        control.evaluate(KEEP)
        times.append(control.evaluate(TIMED))
        assert page.evaluate(DRAWN, n)
        after = [host.locator(one).first.evaluate("e => e.outerHTML") for one in ("svg.marks", ".gl-said")]
        moved.append(before != after)
        n = int(host.get_attribute("data-drawn"))
        control.evaluate(BACK)
        page.wait_for_function(DRAWN, arg=n, timeout=20_000)
        assert control.evaluate("e => e.labels.length") == 1
        assert "failed" not in host.locator(".gl-said").text_content()
        if part in ALWAYS_SEEN:
            assert before[0] != after[0], control.get_attribute("id")
    times.sort()
    middle, most = times[len(times) // 2], times[-1]
    print(f"\n{part}: control to repaint, {len(times)} moves: median {middle:.0f} ms, most {most:.0f} ms")
    assert sum(moved) >= len(moved) - 1  # the order moves nothing while no lever is pulled
    first, fold = controls.first, host.locator(".gl-data")
    assert fold.locator("table").count() == 0
    fold.locator("summary").press("Enter")
    fold.locator("table").first.wait_for()
    before = fold.locator("table").all_text_contents()
    n = int(host.get_attribute("data-drawn"))
    first.evaluate(MOVE)
    page.wait_for_function(DRAWN, arg=n, timeout=20_000)
    assert fold.locator("table").count() >= 1
    if part in TABLE_MOVES:
        assert fold.locator("table").all_text_contents() != before
    page.evaluate("() => document.body.setAttribute('data-theme', 'dark')")
    page.wait_for_function("() => document.querySelector('.gl-explorer-chart').dataset.drawn === 'dark'")
    assert host.locator("svg.marks").first.evaluate("e => e.style.backgroundColor") == "rgb(19, 20, 22)"
    page.wait_for_function(
        "() => document.querySelector('svg.marks .role-frame path.background').getBoundingClientRect().width >= 160"
    )
    page.evaluate("() => document.body.setAttribute('data-theme', 'light')")
    page.wait_for_function("() => document.querySelector('.gl-explorer-chart').dataset.drawn === 'light'")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    fits_or_scrolls = """() => {
        const plot = document.querySelector('svg.marks'), frame = plot.closest('.gl-explorer-chart');
        if (plot.getBoundingClientRect().width <= frame.clientWidth + 1) return true;
        let box = plot;
        while (box !== frame && !(box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX === 'auto'))
            box = box.parentElement;
        return getComputedStyle(box).overflowX === 'auto' && box.tabIndex === 0;
    }"""
    assert page.evaluate(fits_or_scrolls)
    page.evaluate(Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))
    assert (page.evaluate(AXE), errors, outside) == ([], [], [])
    context.close()


def test_the_hours_of_a_zone_come_when_they_are_needed(chromium, tmp_path, vega):
    """At first those of home alone; a zone that cannot be read is said, and asked for again at the next move."""
    page = chromium.new_page()
    asked = []
    page.on("request", lambda one: asked.append(one.url.rpartition("/")[2]))
    address = page_of(tmp_path, "load_shifting.shift_explorer", vega)
    france = tmp_path / "load_shifting.FR.js"
    kept = france.read_text(encoding="utf-8")
    france.unlink()
    page.goto(address)
    page.wait_for_function(DRAWN, arg=0, timeout=60_000)
    assert [name for name in asked if name.startswith("load_shifting.") and name != "load_shifting.js"] == [
        "load_shifting.DE.js"
    ]
    home, said = page.get_by_label("Home", exact=True), page.locator(".gl-said")
    home.select_option(label="France")
    page.wait_for_function("() => document.querySelector('.gl-said').textContent.includes('could not be read')")
    assert "the hours of FR could not be read" in said.text_content()
    france.write_text(kept, encoding="utf-8")
    slack = page.get_by_label("Slack [h]", exact=True)
    slack.focus()
    slack.press("ArrowRight")  # one stop of six hours, by the keyboard
    page.wait_for_function("() => document.querySelector('.gl-said').textContent.includes('The runs work in France')")
    widget = shifting.shift_explorer()
    widget.set(home="FR", slack_h=30)
    assert said.text_content().replace("○ ", "") == widget.text.replace("\n", "")
    page.close()


def test_the_designer_says_what_the_page_leaves_out():
    part = (ROOT / "docs" / "parts" / "green_service.Designer.html").read_text(encoding="utf-8")
    assert f"The {len(LIMITS)} assumptions that the notebook's designer lets you change" in part


def test_the_hours_of_the_page_are_those_that_python_reads():
    """To the last bit, in files that a phone fetches at once."""
    files, traces = explorers.later("load_shifting"), shifting.hours_of_the_year()
    assert len(files) == len(traces.zones) == 36
    assert max(map(len, files.values())) <= 300_000
    for zone, values in zip(traces.zones, traces.intensity_g_per_kwh, strict=True):
        piece = json.loads(files[f"load_shifting.{zone}.js"].partition("] = ")[2].removesuffix(";\n"))
        ((kind, packed),) = piece.items()
        width = {"steps": 2, "exact": 8}[kind]
        planes = np.frombuffer(zlib.decompress(base64.b64decode(packed)), np.uint8).reshape(width, -1)
        found = np.frombuffer(planes.T.tobytes(), "<i2" if kind == "steps" else "<f8")
        assert np.array_equal(np.cumsum(found, dtype=int) / 10 if kind == "steps" else found, values)
        assert len(values) == 8760
