"""The book's notebooks as a reader meets them: opened in JupyterLab, run top to bottom offline, the widget moved."""

import re
import shutil
import statistics
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import axe_playwright_python
import nbformat
import pytest

from greenlab.core.machine import ROOT
from tests.browser.controls import changes, find_controls, look, repaints, set_first
from tests.browser.driver import PICTURES, find_chromium, honest_page, picture_path, start_lab

OWN_TESTS = {  # how the name of a control begins -> the test that moves it and all others of its cell
    "Your file": "test_every_control_of_a_readers_own_grid_answers",
    "Requests a day": "test_designer_browser: test_every_control_moves_the_chart and its neighbours",
    "Make my card": "test_designer_browser: test_a_card_is_downloaded_loaded_and_refused",
}
THREE_UP = ["Home", "ArrowRight", "ArrowRight", "ArrowRight"]
SET_FIRST = {  # where a control counts, when it does not where the widget begins: keys on the others of its cell
    # a word is looked for in what the menus chose: all of it
    ("00_start_here", "Words"): {name: ["Home"] for name in ("From", "Section", "Verdict")},
    # in the first cycle one cell works, however many rows wait
    ("02_hardware", "Rows at once (batch)"): {"Cycle": THREE_UP},
    # other lengths were measured with eight requests of the first model only
    ("02_hardware", "Tokens of context"): {"Model": ["Home"], "Sequences at once (batch)": THREE_UP},
}
WORDS_ONLY = {  # chapter, what its cell calls, name of a control that changes what is said and not the chart
    ("08_retrieval", "see.ask_widget(", "Model"),  # the chart shows the passages found, whoever answers from them
}
# What is typed into a field of text, by its name; other fields get a word more, or half the number
TYPED = {"Another ending": "QQQQQQQQQ", "Words": "Ireland"}


NAMES = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
WITHOUT_ASSETS = ("01_footprint",)
NARROW = {"width": 720, "height": 450}  # CSS pixels of a window of 1440 x 900 at a zoom of 200 %
WIDE = {"width": 1280, "height": 900}


def chapters(*names):
    """The test looks at these chapters, each opened and run once for all tests."""
    params = [pytest.param(n, marks=[] if n in WITHOUT_ASSETS else [pytest.mark.assets]) for n in names]
    return pytest.mark.parametrize("chapter", params, indirect=True, scope="module")


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A Lab server on a copy of the notebooks and the pages they link to; the repository stays unchanged."""
    find_chromium()
    root = tmp_path_factory.mktemp("book")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    for page in (ROOT / "data").glob("**/README.md"):
        copy = root / page.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, copy)
    with start_lab(root) as server:
        yield server


@pytest.fixture(scope="module")
def chapter(book, request):
    """A chapter after Run All. When its tests are done, it must have asked for nothing outside and raised no error."""
    with honest_page(book) as page:
        page.open_notebook(f"notebooks/{request.param}.ipynb")
        page.name = request.param
        assert page.run_all(timeout_s=300) == []
        yield page


def cell_with(name, text):
    """Number of the first code cell that holds this text."""
    cells = nbformat.read(ROOT / "notebooks" / name, as_version=4).cells
    return next(i for i, cell in enumerate(cells) if cell.cell_type == "code" and text in cell.source)


def keep_picture(page, cell, name):
    page.cell(cell).scroll_into_view_if_needed()
    page.page.screenshot(path=str(picture_path(name)))


@chapters("00_start_here")
def test_start_here_runs_and_shows_a_receipt(chapter):
    page = chapter
    receipt = page.cell(cell_with("00_start_here.ipynb", "show_receipt(token")).inner_text()
    assert re.search(r"MEASURED|MODELLED", receipt)
    assert "CO2e" in receipt


@chapters("06_layer_pruning")
def test_layer_pruning_runs_and_its_widget_cuts_the_real_model(chapter):
    """Move the slider: the kernel cuts and runs the model, the chart and the sentence follow."""
    name = "06_layer_pruning.ipynb"
    page = chapter
    page.chart(cell_with(name, "view.distance_map("))
    keep_picture(page, cell_with(name, "view.distance_map("), "chapter_6_map.png")
    widget = cell_with(name, "view.cut_explorer(")
    before, message = page.fingerprint(widget), page.cell(widget).get_by_role("status")
    said = message.inner_text()
    page.press_slider(widget, "ArrowRight", number=1)  # one layer more
    page.wait_for_change(widget, before, timeout_s=30)
    assert message.inner_text() != said
    assert re.search(r"Layers \d+ to \d+ cut: loss \d", message.inner_text())
    keep_picture(page, widget, "chapter_6.png")
    twin = cell_with(name, "view.distance_twin(")
    before = page.fingerprint(twin)
    page.press_vega_slider(twin, "PageUp")
    page.wait_for_change(twin, before)


@chapters("04_distillation")
def test_distillation_runs_and_its_widgets_answer(chapter):
    """Heat the real model's distribution; let a student learn for longer and see it pay later; move the twin."""
    page = chapter
    name = "04_distillation.ipynb"
    page.chart(cell_with(name, "see.gradient_chart("))
    soft = cell_with(name, "see.soft_widget(")
    before, message = page.fingerprint(soft), page.cell(soft).get_by_role("status")
    said = message.inner_text()
    page.press_slider(soft, "ArrowRight")
    page.wait_for_change(soft, before, timeout_s=90)
    assert message.inner_text() != said
    assert re.search(r"Temperature \d+(\.\d)?: entropy \d", message.inner_text())
    keep_picture(page, soft, "chapter_4.png")
    pays = cell_with(name, "see.break_even_widget(")
    before, message = page.fingerprint(pays), page.cell(pays).get_by_role("status")
    page.press_slider(pays, "ArrowRight")
    page.wait_for_change(pays, before)
    assert re.search(r"has paid after .* (million|billion) answers", message.inner_text())
    twin = cell_with(name, "see.break_even_twin(")
    before = page.fingerprint(twin)
    page.press_vega_slider(twin, "PageUp")
    page.wait_for_change(twin, before)


@chapters("05_mixture_of_depths")
def test_mixture_of_depths_runs_and_its_widgets_answer(chapter):
    """Type a text, another ending, move the budget: tiles, point and sentences follow; the twin needs no kernel."""
    name = "05_mixture_of_depths.ipynb"
    page = chapter
    for text in ("see.token_map(", "see.kind_chart(", "see.prompt_chart(", "see.frontier_chart(", "see.mode_chart("):
        page.chart(cell_with(name, text))
        keep_picture(page, cell_with(name, text), f"chapter_5_{text.split('.')[1].split('(')[0]}.png")
    for widget, typed, said, picture in (
        ("see.map_explorer(", "a b c d e f g h i j k l m n", r"27 characters\. Entering block 2: .*: reached\.", "map"),
        (
            "see.leak_explorer(",
            "ZZZZZZZZZ",
            r"With “ZZZZZZZZZ” for “question:”, \d+ choices of the past change",
            "leak",
        ),
    ):
        cell = cell_with(name, widget)
        before, message = page.fingerprint(cell), page.cell(cell).get_by_role("status")
        box = page.cell(cell).locator("input[type=text]")
        box.fill(typed)
        box.press("Enter")
        page.wait_for_change(cell, before, timeout_s=30)
        assert re.search(said, message.inner_text(), re.S)
        keep_picture(page, cell, f"chapter_5_{picture}.png")
        before = page.fingerprint(cell)
        page.cell(cell).locator("select").select_option("each token for itself")
        page.wait_for_change(cell, before, timeout_s=30)
        assert "reached" in message.inner_text()
    budget = cell_with(name, "see.budget_widget(")
    before, message = page.fingerprint(budget), page.cell(budget).get_by_role("status")
    page.press_slider(budget, "ArrowLeft", number=0)  # the next smaller capacity
    page.wait_for_change(budget, before, timeout_s=30)
    assert re.search(r"25 % of the tokens in every 2nd block: \d+ % of the FLOPs", message.inner_text())
    keep_picture(page, budget, "chapter_5_budget.png")
    twin = cell_with(name, "see.layers_twin(")
    before = page.fingerprint(twin)
    page.press_vega_slider(twin, "PageUp")
    page.wait_for_change(twin, before)
    keep_picture(page, twin, "chapter_5_twin.png")


@chapters("07_ternary")
def test_ternary_runs_and_its_widgets_answer(chapter):
    """Move the threshold, change the race: histogram, bars and sentences follow; the twin moves without a kernel."""
    name = "07_ternary.ipynb"
    page = chapter
    page.chart(cell_with(name, "see.bits_chart("))
    keep_picture(page, cell_with(name, "see.bits_chart("), "chapter_7_bits.png")
    knife = cell_with(name, "see.threshold_widget(")
    before, message = page.fingerprint(knife), page.cell(knife).get_by_role("status")
    said = message.inner_text()
    page.press_slider(knife, "ArrowLeft", number=1)
    page.wait_for_change(knife, before, timeout_s=30)
    assert message.inner_text() != said
    assert re.search(r"\d+ % of the weights become 0", message.inner_text())
    keep_picture(page, knife, "chapter_7.png")
    track = cell_with(name, "see.race_widget(")
    before, message = page.fingerprint(track), page.cell(track).get_by_role("status")
    page.press_slider(track, "End", number=0)  # the largest batch
    page.wait_for_change(track, before, timeout_s=60)
    assert re.search(r"Ternary is [\d.]+ times as fast as float32", message.inner_text())
    keep_picture(page, track, "chapter_7_race.png")
    twin = cell_with(name, "see.histogram_twin(")
    before = page.fingerprint(twin)
    page.press_vega_slider(twin, "PageUp")
    page.wait_for_change(twin, before)


@chapters("08_retrieval")
def test_retrieval_runs_and_its_widgets_answer(chapter):
    """Type a question: it lands on the map, and the book answers with links; the bill of context and the twins move."""
    name = "08_retrieval.ipynb"
    page = chapter
    for text in ("see.rungs_chart(", "see.lengths_chart(", "see.passages_chart(", "see.joules_chart(",
                 "see.hostile_chart("):  # fmt: skip
        page.chart(cell_with(name, text))
        keep_picture(page, cell_with(name, text), f"chapter_8_{re.split('[.(]', text)[1]}.png")
    for widget, typed, said, picture in (
        ("see.map_widget(", "How few bits can a weight have?", r"07_ternary\.ipynb#cell-id=", "map"),
        ("see.ask_widget(", "Which company built the TPU?", r"Answer: .*\[1\].*MODELLED", "ask"),
    ):
        cell = cell_with(name, widget)
        before, message = page.fingerprint(cell), page.cell(cell).get_by_role("status")
        box = page.cell(cell).locator("input[type=text]").first
        box.fill(typed)
        box.press("Enter")
        page.wait_for_change(cell, before, timeout_s=60)
        assert re.search(said, message.inner_text(), re.S)
        link = message.get_by_role("link").first
        assert re.search(r"\.ipynb#cell-id=|README\.md#", link.get_attribute("href"))
        keep_picture(page, cell, f"chapter_8_{picture}.png")
    bill = cell_with(name, "see.context_widget(")
    before, message = page.fingerprint(bill), page.cell(bill).get_by_role("status")
    said = message.inner_text()
    page.press_slider(bill, "ArrowRight", number=0)  # a passage more
    page.wait_for_change(bill, before, timeout_s=30)
    assert message.inner_text() != said
    assert "450 tokens are read" in message.inner_text()
    keep_picture(page, bill, "chapter_8.png")
    twin = cell_with(name, "see.map_twin(")
    before = page.fingerprint(twin)
    page.cell(twin).locator(".vega-bind select").select_option("Does skipping layers make a …")
    page.wait_for_change(twin, before)
    keep_picture(page, twin, "chapter_8_twin.png")
    twin = cell_with(name, "see.context_twin(")
    before = page.fingerprint(twin)
    page.press_vega_slider(twin, "PageUp")
    page.wait_for_change(twin, before)
    keep_picture(page, twin, "chapter_8_context.png")


@chapters("03_mixture_of_experts")
def test_mixture_of_experts_runs_and_its_widgets_answer(chapter):
    """Move the crowd, type a text: lines, colours and sentences follow; the twin's menu works without a kernel."""
    name = "03_mixture_of_experts.ipynb"
    page = chapter
    for text in (
        "see.layer_picture(",
        "see.saving_chart(",
        "see.own_chart(",
        "see.published_chart(",
        "see.guess_chart(",
    ):
        page.chart(cell_with(name, text))
        keep_picture(page, cell_with(name, text), f"chapter_3_{text.split('.')[1].split('(')[0]}.png")
    crowd = cell_with(name, "see.crowd_widget(")
    before, message = page.fingerprint(crowd), page.cell(crowd).get_by_role("status")
    said = message.inner_text()
    page.press_slider(crowd, "ArrowRight", number=0)
    page.wait_for_change(crowd, before, timeout_s=30)
    assert message.inner_text() != said
    assert re.search(r"MEASURED: the experts take [\d.]+ mJ a token", message.inner_text())
    assert "29 of 128 experts were visited" in message.inner_text()
    keep_picture(page, crowd, "chapter_3.png")
    router = cell_with(name, "see.route_widget(")
    before, message = page.fingerprint(router), page.cell(router).get_by_role("status")
    box = page.cell(router).locator("input[type=text]").first
    box.fill("return self.name(return self)")
    box.press("Enter")
    page.wait_for_change(router, before, timeout_s=30)
    assert re.search(r"\d+ tokens, 8 experts, 2 for each token", message.inner_text())
    before = page.fingerprint(router)
    page.press_slider(router, "ArrowRight", number=0)  # the next layer
    page.wait_for_change(router, before, timeout_s=30)
    keep_picture(page, router, "chapter_3_route.png")
    twin = cell_with(name, "see.crowd_twin(")
    before = page.fingerprint(twin)
    page.cell(twin).locator(".vega-bind select").select_option("Mixtral-8x7B")
    page.wait_for_change(twin, before)
    keep_picture(page, twin, "chapter_3_twin.png")
    for text in ("see.use_chart(use", "see.use_chart(kinds"):
        cell = cell_with(name, text)
        before = page.fingerprint(cell)
        page.press_vega_slider(cell, "PageUp")
        page.wait_for_change(cell, before)
        keep_picture(page, cell, f"chapter_3_{text.split('(')[1]}.png")


@chapters("02_hardware")
def test_hardware_runs_and_its_widgets_answer(chapter):
    """Move the batch, step the matrix unit: point, cells and sentences follow; the twins move without a kernel."""
    name = "02_hardware.ipynb"
    page = chapter
    for text in ("see.all_roofs(", "see.own_roof(", "see.published_chart(", "see.energy_chart("):
        page.chart(cell_with(name, text))
        keep_picture(page, cell_with(name, text), f"chapter_2_{text.split('.')[1].split('(')[0]}.png")
    roof = cell_with(name, "see.roofline_widget(")
    before, message = page.fingerprint(roof), page.cell(roof).get_by_role("status")
    said = message.inner_text()
    page.press_slider(roof, "ArrowRight", number=0)
    page.wait_for_change(roof, before, timeout_s=30)
    assert message.inner_text() != said
    assert re.search(r"(Memory|Arithmetic) sets the time", message.inner_text())
    keep_picture(page, roof, "chapter_2.png")
    print(f"a slider of the roofline repaints in {page.repaint_ms(roof):.0f} ms (median)")
    unit = cell_with(name, "see.systolic_widget(")
    before, message = page.fingerprint(unit), page.cell(unit).get_by_role("status")
    page.press_slider(unit, "ArrowRight", number=1)
    page.wait_for_change(unit, before, timeout_s=30)
    assert re.search(r"\d+ of 16 cells multiply", message.inner_text())
    keep_picture(page, unit, "chapter_2_unit.png")
    print(f"a step of the matrix unit repaints in {page.repaint_ms(unit, number=1):.0f} ms (median)")
    for text in ("see.roofline_twin(", "see.systolic_twin(", "see.chips_chart("):
        twin = cell_with(name, text)
        before = page.fingerprint(twin)
        page.press_vega_slider(twin, "PageDown" if "chips" in text else "PageUp")
        page.wait_for_change(twin, before)
        keep_picture(page, twin, f"chapter_2_{text.split('.')[1].split('(')[0]}.png")


@chapters("10_green_service")
def test_green_service_runs_and_its_designer_and_detector_answer(chapter):
    """Move a control in a tab: the waterfall and the sentence follow. Tick what a claim leaves out."""
    name = "10_green_service.ipynb"
    page = chapter
    page.chart(cell_with(name, "see.waterfall_chart("))
    keep_picture(page, cell_with(name, "see.waterfall_chart("), "chapter_10_waterfall.png")
    widget = cell_with(name, "mine = see.Designer(")
    page.chart(widget)
    before, message = page.fingerprint(widget), page.cell(widget).get_by_role("status")
    said = message.inner_text()
    page.cell(widget).locator(".lm-TabBar-tab").get_by_text("Layers", exact=True).click()
    layers = page.cell(widget).get_by_role("slider", name="Layers left out", exact=True)
    layers.focus()
    layers.press("ArrowRight")
    page.wait_for_change(widget, before, timeout_s=30)
    assert message.inner_text() != said
    assert re.search(r"Points: \d of 4", message.inner_text())
    keep_picture(page, widget, "chapter_10.png")
    desk = page.cell(cell_with(name, "desk = see.CardDesk("))
    desk.get_by_role("button", name="Make my card").click()
    desk.get_by_role("link", name="Download my_card.json").wait_for(timeout=30_000)
    claims = page.cell(cell_with(name, "detector = see.Detector("))
    claims.get_by_label("missing: PUE").check()
    claims.get_by_text("Not yet.").wait_for(timeout=20_000)


@chapters("09_load_shifting")
def test_load_shifting_runs_and_its_widget_shifts(chapter):
    """Move the slack: timeline and sentence follow, a reader's own file is read, the twins move without a kernel."""
    name = "09_load_shifting.ipynb"
    page = chapter
    for text, picture in (("see.day_strip(", "strip"), ("see.day_map(", "map"), ("see.fleet_chart(", "fleet")):
        page.chart(cell_with(name, text))
        keep_picture(page, cell_with(name, text), f"chapter_9_{picture}.png")
    widget = cell_with(name, "shifter = see.shift_explorer(")
    before, message = page.fingerprint(widget), page.cell(widget).get_by_role("status")
    said = message.inner_text()
    # moved from code and back before the page had drawn it: chart and sentence say the same
    drawn = page.chart(widget).evaluate("e => e.textContent")
    assert f"{float(re.search(r'([0-9.]+) % less', said)[1]):.0f} % less" in drawn, drawn
    keep_picture(page, widget, "chapter_9_far.png")
    page.press_slider(widget, "ArrowRight", number=1)  # six hours of slack more
    page.wait_for_change(widget, before, timeout_s=30)
    assert message.inner_text() != said
    assert re.search(r"\d+ kg instead of \d+ kg at once: [\d.]+ % (less|more)", message.inner_text())
    keep_picture(page, widget, "chapter_9.png")
    median = page.repaint_ms(widget, repeats=20, number=1)
    print(f"\nchapter 9: median {median:.0f} ms from key to changed chart")
    upload = cell_with(name, "mine = see.OwnGrid(")
    csv = "time,intensity\n" + "\n".join(f"2024-06-01T{h:02d}:00Z,{300 - 10 * h}" for h in range(24))
    with page.page.expect_file_chooser() as chooser:
        page.cell(upload).get_by_role("button", name="Your file").click()
    chooser.value.set_files({"name": "mine.csv", "mimeType": "text/csv", "buffer": csv.encode()})
    page.cell(upload).get_by_text("24 hours from 2024-06-01 00:00 UTC").wait_for(timeout=20_000)
    page.chart(upload)
    keep_picture(page, upload, "chapter_9_own.png")
    for twin in ("see.day_map(", "see.duck_twin(", "see.plan_twin("):
        cell = cell_with(name, twin)
        before = page.fingerprint(cell)
        page.press_vega_slider(cell, "PageUp")
        page.wait_for_change(cell, before)


@chapters("09_load_shifting")
def test_every_control_of_a_readers_own_grid_answers(chapter):
    """Two files, one without a time zone and one with two kinds of emissions, so that each box counts."""
    number = cell_with("09_load_shifting.ipynb", "mine = see.OwnGrid(")
    cell, page = chapter.cell(number), chapter.page
    start = datetime(2024, 6, 1)
    hours = [(start + timedelta(hours=h), 300 + h * 37 % 101) for h in range(240)]
    plain = "\n".join(["time,intensity", *(f"{time.isoformat()},{value}" for time, value in hours)])
    head = "Datetime (UTC),Zone id,Carbon intensity gCO₂eq/kWh (direct),Carbon intensity gCO₂eq/kWh (Life cycle)"
    both = "\n".join([head, *(f"{time},DE,{value},{value + 100}" for time, value in hours)])

    def put(text):
        with page.expect_file_chooser() as chooser:
            cell.get_by_role("button", name="Your file").click()
        chooser.value.set_files({"name": "mine.csv", "mimeType": "text/csv", "buffer": text.encode()})

    def typed(label, text):
        cell.get_by_label(label).fill(text)
        cell.get_by_label(label).press("Enter")

    def said(words):
        cell.get_by_text(re.compile(words)).first.wait_for(timeout=60_000)

    put(plain)
    said("has no time zone")
    typed("Time zone, if it names none", "Europe/Berlin")
    said("240 hours from 2024-05-31 22:00 UTC")
    before = chapter.fingerprint(number)
    typed("Zone, if it holds several", "CISO")
    said("zone CISO")
    unit = cell.get_by_label("Unit, if it is a plain file")
    unit.select_option("mg/kWh")
    said("not read|240 hours")
    unit.select_option("g/MJ")
    chapter.wait_for_change(number, before, timeout_s=60)
    unit.select_option("g/kWh")
    said("A job of 4 h, pausing, that may finish up to 24 h later saves")
    cell.get_by_label("It may pause").click()
    said("A job of 4 h, in one piece, that may finish up to 24 h later saves")
    for slider, words in (("Job [h]", "A job of 5 h, in one piece"), ("Slack [h]", "up to 25 h later")):
        handle = cell.get_by_role("slider", name=slider, exact=True)
        handle.focus()
        handle.press("ArrowRight")
        said(words)
    typed("Zone, if it holds several", "")
    put(both)
    said("Read as electricity-maps: zone DE")
    before = chapter.fingerprint(number)
    cell.get_by_label("Emissions, if it gives both or near 0").select_option("direct emissions")
    chapter.wait_for_change(number, before, timeout_s=60)
    names = [control.name for control in find_controls(page) if control.cell == number]
    assert len(names) == 8, f"a control was added that this test does not move: {names}"


@chapters("00_start_here")
def test_the_ledger_of_claims_is_filtered_and_its_twin_works_alone(chapter):
    """Type a word, choose a section: counts, sentence and table follow; the twin's menu needs no kernel."""
    name = "00_start_here.ipynb"
    page = chapter
    keep_picture(page, cell_with(name, "see.verdict_chart("), "chapter_0_verdicts.png")
    ledger = cell_with(name, "see.ClaimsLedger()")
    before, message = page.fingerprint(ledger), page.cell(ledger).get_by_role("status")
    page.cell(ledger).locator("input[type=text]").fill("Ireland")
    page.wait_for_change(ledger, before, timeout_s=30)
    assert re.fullmatch(r"\d claims: 1 confirmed, 1 imprecise, 1 outdated\.", message.inner_text())
    rows = page.cell(ledger).locator("tbody tr")
    assert rows.count() == int(message.inner_text().split()[0])
    assert "on track to consume as much as Ireland" in " ".join(rows.all_inner_texts())
    keep_picture(page, ledger, "chapter_0.png")
    page.cell(ledger).locator("input[type=text]").fill("")
    before = page.fingerprint(ledger)
    page.cell(ledger).get_by_label("Section").select_option("Trend")
    page.wait_for_change(ledger, before, timeout_s=30)
    assert "claims" in message.inner_text()
    twin = cell_with(name, "see.verdict_twin(")
    before = page.fingerprint(twin)
    page.cell(twin).locator(".vega-bind select").select_option("Trend")
    page.wait_for_change(twin, before)
    keep_picture(page, twin, "chapter_0_twin.png")
    keep_picture(page, cell_with(name, "see.run_chart("), "chapter_0_run.png")


@chapters("01_footprint")
def test_footprint_runs_and_its_calculators_answer(chapter):
    """Keys move each calculator; chart and sentence follow within a tenth of a second; the twins need no kernel."""
    name = "01_footprint.ipynb"
    page = chapter
    for picture, source in [
        ("trend", 'title="Dense models'),
        ("iea", "see.iea_chart("),
        ("yardsticks", "see.yardstick_chart("),
    ]:
        page.chart(cell_with(name, source))
        keep_picture(page, cell_with(name, source), f"chapter_1_{picture}.png")
    for widget, twin, said, picture in [
        ("see.training_widget(", "see.training_twin(", r"[\d.,e+]+ MWh, [\d.,e+]+ t CO2e in ", "training"),
        ("see.search_widget(", "see.search_twin(", r"TWh a year before, [\d.,e+-]+ TWh after", "search"),
    ]:
        cell = cell_with(name, widget)
        before, message = page.fingerprint(cell), page.cell(cell).get_by_role("status")
        words = message.inner_text()
        page.press_slider(cell, "ArrowLeft")
        page.wait_for_change(cell, before, timeout_s=30)
        assert message.inner_text() != words
        assert re.search(said, message.inner_text())
        milliseconds = page.repaint_ms(cell)
        print(f"\n{picture} calculator: slider to repaint {milliseconds:.0f} ms (median)")
        keep_picture(page, cell, f"chapter_1_{picture}.png")
        cell = cell_with(name, twin)
        for number in range(2):
            before = page.fingerprint(cell)
            slider = page.cell(cell).locator(".vega-bind input[type=range]").nth(number)
            slider.focus()
            slider.press("PageDown")  # the second calculator starts at its upper end
            page.wait_for_change(cell, before)
        keep_picture(page, cell, f"chapter_1_{picture}_twin.png")


@chapters("00_start_here")
def test_the_source_of_a_claim_is_one_click_away_and_asked_for_by_the_reader_only(chapter):
    """The publisher's own address in a tab of its own, so that Lab stays; nothing is fetched before the click."""
    ledger = chapter.cell(cell_with("00_start_here.ipynb", "see.ClaimsLedger()"))
    links = ledger.locator("tbody a").all()
    assert len(links) >= 3
    for link in links:
        assert link.get_attribute("href").startswith(("https://", "http://"))
        assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener")


# What holds in every chapter ------------------------------------------------------------------------------------------


def opens_rendered(page, link, href):
    """Click a link to a page of the book; it opens in Lab, rendered, with the row that was asked for; then close it."""
    place = href.partition("#")[2]
    link.scroll_into_view_if_needed()
    link.click()
    viewer = page.page.locator(".jp-MarkdownViewer:visible")
    try:
        viewer.locator("h1").first.wait_for(timeout=20_000)
        assert len(page.page.context.pages) == 1, "the link left Lab"
        assert not place or viewer.locator(f"[id='{place}'], [data-jupyter-id='{place}']").count() >= 1
    finally:
        page.page.evaluate(
            """() => { for (const w of [...jupyterapp.shell.widgets('main')])
                if (w.node.querySelector('.jp-MarkdownViewer')) w.close(); }"""
        )
    page.page.locator(".jp-NotebookPanel:visible").wait_for(timeout=10_000)


@chapters(*NAMES)
def test_a_link_to_facts_or_studies_opens_the_rendered_page(chapter):
    """All of them are alike: relative to the notebook, up to the repository, down into data/."""
    link = chapter.page.locator(".jp-MarkdownOutput a[href*='data/'][href*='README.md']:visible").first
    opens_rendered(chapter, link, link.get_attribute("href"))


AXE = """async () => (await axe.run({include: [['.jp-OutputArea-output'], ['.jp-MarkdownOutput']]},
    {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], resultTypes: ['violations']})).violations
    .map(v => [v.id, v.nodes.map(n => n.html.slice(0, 150))])"""


@chapters(*NAMES)
@pytest.mark.parametrize("theme", ["JupyterLab Dark", "JupyterLab Light"])  # light last: the tests after it are in it
def test_axe_finds_no_violation_in_outputs_and_prose(chapter, theme):
    """WCAG 2.1 A and AA as Deque's axe checks it, in both themes, with the data of every chart open.

    What JupyterLab draws around the outputs and the prose is not ours and is left out.
    """
    page = chapter.page
    page.evaluate("async theme => { await jupyterapp.commands.execute('apputils:change-theme', {theme}); }", theme)
    light = "light" if "Light" in theme else "dark"
    page.wait_for_function("mode => (document.body.dataset.jpThemeLight === 'true') === (mode === 'light')", arg=light)
    page.wait_for_timeout(500)  # the style sheet of the theme arrives after its name
    folds = page.locator("details.greenlab-data")
    folds.evaluate_all("all => all.forEach(e => { e.open = true; })")
    page.wait_for_timeout(300)
    page.evaluate(Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate(AXE)
    page.screenshot(path=str(picture_path(f"{chapter.name}_{light}.png")))
    folds.evaluate_all("all => all.forEach(e => { e.open = false; })")
    assert found == []
    sliders = page.locator(".jp-OutputArea-output [role=slider]")
    spoken = sliders.evaluate_all("all => all.map(e => [e.ariaLabel, e.getAttribute('aria-valuetext')])")
    assert spoken
    assert [said for said in spoken if not all(said) or "null" in said] == []


@chapters(*NAMES)
def test_every_chart_has_words_and_its_data_as_a_table_behind_a_fold(chapter):
    """The fold opens by the keyboard; its table has headings in words and at least one row."""
    page = chapter.page
    charts = page.locator(".jp-OutputArea-output .vega-embed:has(svg.marks)")
    assert charts.count() >= 3
    unnamed = """all => all.filter(e => !(e.querySelector('[role="graphics-document"]') ?? e.closest(
        '[role="graphics-document"]'))?.getAttribute('aria-label')).length"""
    assert charts.evaluate_all(unnamed) == 0
    without = "all => all.filter(e => !e.nextElementSibling?.matches('details.greenlab-data')).length"
    assert charts.evaluate_all(without) == 0
    images = page.locator(".jp-OutputArea-output img, .jp-MarkdownOutput img")
    assert images.evaluate_all("all => all.filter(e => !e.alt.trim()).map(e => e.src.slice(0, 80))") == []

    summary = page.locator("details.greenlab-data > summary").first
    summary.focus()
    summary.press("Enter")
    page.wait_for_function("() => document.querySelector('details.greenlab-data').open")
    folds = page.locator("details.greenlab-data")
    folds.evaluate_all("all => all.forEach(e => { e.open = true; })")
    page.wait_for_timeout(300)
    empty = """all => all.filter(e => !e.querySelector('tbody tr') || [...e.querySelectorAll('thead th')].some(
        h => !h.textContent.trim())).map(e => e.querySelector('[role=region]').ariaLabel)"""
    found = folds.evaluate_all(empty)
    folds.evaluate_all("all => all.forEach(e => { e.open = false; })")
    assert found == []


@chapters(*NAMES)
def test_every_control_is_reached_by_the_keyboard_and_moves_its_chart(chapter):
    """Found in the page, not listed here: a new control is moved without anyone writing a test for it."""
    page = chapter.page
    controls = find_controls(page)
    assert controls
    assert [control for control in controls if not control.name] == []
    elsewhere = {control.cell for control in controls if control.name.startswith(tuple(OWN_TESTS))}
    words_only = {(cell_with(f"{name}.ipynb", call), label) for name, call, label in WORDS_ONLY if name == chapter.name}
    times, still = [], []
    for control in controls:
        if control.disabled or control.cell in elsewhere:
            continue
        set_first(page, control, controls, SET_FIRST.get((chapter.name, control.name), {}))
        if not changes(page, control, TYPED, (control.cell, control.name) in words_only):
            still.append(control)
            print(f"\nstill: cell {control.cell}, {control.kind} {control.name!r}")
        elif control.kind == "slider" and look(page, control)["charts"]:
            times += repaints(page, control)
    if times:
        times.sort()
        worst = times[min(len(times) - 1, int(0.95 * len(times)))]
        print(f"\n{chapter.name}: slider to repaint, {len(times)} moves: median {statistics.median(times):.0f} ms, "
              f"p95 {worst:.0f} ms (mark: 100, 200)")  # fmt: skip
    print(f"{chapter.name}: {len(controls)} controls; pictures in {PICTURES}")
    assert [f"cell {control.cell}: {control.name}" for control in still] == []


@chapters(*NAMES)
def test_no_chart_is_wider_than_its_cell_in_a_narrow_window(chapter):
    """At a zoom of 200 % nothing has to be scrolled sideways, and titles are whole."""
    chapter.page.set_viewport_size(NARROW)
    try:
        chapter.page.wait_for_timeout(1500)  # Lab lays the cells out, Vega draws the charts again
        charts = chapter.page.evaluate(
            """() => [...document.querySelectorAll('.jp-OutputArea-output svg.marks')].map(svg => {
                const box = svg.getBoundingClientRect(), out = svg.closest('.jp-OutputArea-output');
                const title = svg.querySelector('.role-title-text')?.getBoundingClientRect();
                return {title: svg.querySelector('.role-title-text')?.textContent, width: box.width,
                    room: out.clientWidth, scrolls: out.scrollWidth - out.clientWidth,
                    cut: title ? Math.max(title.right - box.right, box.top - title.top) : 0}; })"""
        )
    finally:
        chapter.page.set_viewport_size(WIDE)
    assert len(charts) >= 3
    assert [c for c in charts if c["width"] > c["room"] or c["scrolls"] > 1 or c["cut"] > 2] == []
    assert [c for c in charts if c["width"] < 200] == []


def test_make_lab_serves_the_repository():
    """Else links out of notebooks/ lead nowhere; and Lab must not ask about its news over the first page."""
    recipe = subprocess.run(["make", "-n", "lab"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    command = recipe[recipe.index("jupyter lab") :]
    assert "--ServerApp.root_dir=. " in command
    assert "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb" in command
    setup = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "labextension disable --level=sys_prefix @jupyterlab/apputils-extension:announcements" in setup
