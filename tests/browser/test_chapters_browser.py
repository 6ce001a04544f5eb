"""The book's notebooks as a reader meets them: opened in JupyterLab, run top to bottom offline, the widget moved."""

import os
import re
import shutil
from pathlib import Path

import nbformat
import pytest

from greenlab.core.machine import ROOT
from tests.browser.driver import find_chromium, honest_page, start_lab

PICTURES = os.environ.get("GREENLAB_PICTURES")  # a folder: keep screenshots there, as the README's picture was made


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A Lab server on a copy of the notebooks, so that nothing in the repository is changed."""
    find_chromium()
    root = tmp_path_factory.mktemp("book")
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    with start_lab(root) as server:
        yield server


@pytest.fixture
def page(book):
    with honest_page(book) as page:
        yield page


def cell_with(name, text):
    """Number of the first code cell that holds this text."""
    cells = nbformat.read(ROOT / "notebooks" / name, as_version=4).cells
    return next(i for i, cell in enumerate(cells) if cell.cell_type == "code" and text in cell.source)


def keep_picture(page, cell, name):
    if PICTURES:
        page.cell(cell).scroll_into_view_if_needed()
        page.page.screenshot(path=str(Path(PICTURES) / name))


@pytest.mark.assets
def test_start_here_runs_and_shows_a_receipt(page):
    page.open_notebook("notebooks/00_start_here.ipynb")
    assert page.run_all() == []
    receipt = page.cell(cell_with("00_start_here.ipynb", "show_receipt(token")).inner_text()
    assert re.search(r"MEASURED|MODELLED", receipt)
    assert "CO2e" in receipt


@pytest.mark.assets
def test_layer_pruning_runs_and_its_widget_cuts_the_real_model(page):
    """Move the slider: the kernel cuts and runs the model, the chart and the sentence follow."""
    name = "06_layer_pruning.ipynb"
    page.open_notebook(f"notebooks/{name}")
    assert page.run_all(timeout_s=300) == []
    page.chart(cell_with(name, "see.distance_map(tables"))
    keep_picture(page, cell_with(name, "see.distance_map(tables"), "chapter_6_map.png")
    widget = cell_with(name, "see.scalpel(")
    before, message = page.fingerprint(widget), page.cell(widget).get_by_role("status")
    said = message.inner_text()
    page.press_slider(widget, "ArrowRight", number=1)  # one layer more
    page.wait_for_change(widget, before, timeout_s=30)
    assert message.inner_text() != said
    assert re.search(r"Layers \d+ to \d+ cut: loss \d", message.inner_text())
    keep_picture(page, widget, "chapter_6.png")
    twin = cell_with(name, "see.distance_twin(")
    before = page.fingerprint(twin)
    page.press_vega_slider(twin, "PageUp")
    page.wait_for_change(twin, before)


@pytest.mark.assets
def test_ternary_runs_and_its_widgets_answer(page):
    """Move the threshold, change the race: histogram, bars and sentences follow; the twin moves without a kernel."""
    name = "07_ternary.ipynb"
    page.open_notebook(f"notebooks/{name}")
    assert page.run_all(timeout_s=300) == []
    page.chart(cell_with(name, "see.bits_chart("))
    keep_picture(page, cell_with(name, "see.bits_chart("), "chapter_7_bits.png")
    knife = cell_with(name, "see.threshold_widget(")
    before, message = page.fingerprint(knife), page.cell(knife).get_by_role("status")
    said = message.inner_text()
    page.press_slider(knife, "ArrowLeft", number=1)
    page.wait_for_change(knife, before, timeout_s=30)
    assert message.inner_text() != said
    assert re.search(r"\d+% of the weights become 0", message.inner_text())
    keep_picture(page, knife, "chapter_7.png")
    track = cell_with(name, "see.race_widget(")
    before, message = page.fingerprint(track), page.cell(track).get_by_role("status")
    page.press_slider(track, "Home", number=0)
    page.wait_for_change(track, before, timeout_s=60)
    assert re.search(r"Ternary is [\d.]+ times as fast as float32", message.inner_text())
    keep_picture(page, track, "chapter_7_race.png")
    twin = cell_with(name, "see.histogram_twin(")
    before = page.fingerprint(twin)
    page.press_vega_slider(twin, "PageUp")
    page.wait_for_change(twin, before)


@pytest.mark.assets
def test_hardware_runs_and_its_widgets_answer(page):
    """Move the batch, step the matrix unit: point, cells and sentences follow; the twins move without a kernel."""
    name = "02_hardware.ipynb"
    page.open_notebook(f"notebooks/{name}")
    assert page.run_all(timeout_s=300) == []
    for text in ("see.all_roofs(", "see.own_roof(", "see.published_chart(", "see.energy_chart("):
        page.chart(cell_with(name, text))
        keep_picture(page, cell_with(name, text), f"chapter_2_{text.split('.')[1].split('(')[0]}.png")
    roof = cell_with(name, "see.roofline_widget(")
    before, message = page.fingerprint(roof), page.cell(roof).get_by_role("status")
    said = message.inner_text()
    page.press_slider(roof, "ArrowLeft", number=0)
    page.wait_for_change(roof, before, timeout_s=30)
    assert message.inner_text() != said
    assert re.search(r"(Memory|Arithmetic) sets the time", message.inner_text())
    keep_picture(page, roof, "chapter_2.png")
    print(f"a slider of the roofline repaints in {page.repaint_ms(roof):.0f} ms (median)")
    unit = cell_with(name, "see.systolic_widget(")
    before, message = page.fingerprint(unit), page.cell(unit).get_by_role("status")
    page.press_slider(unit, "ArrowLeft", number=1)
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


@pytest.mark.assets
def test_load_shifting_runs_and_its_widget_shifts(page):
    """Move the slack: timeline and sentence follow, a reader's own file is read, the twins move without a kernel."""
    name = "09_load_shifting.ipynb"
    page.open_notebook(f"notebooks/{name}")
    assert page.run_all(timeout_s=300) == []
    for text, picture in (("see.day_strip(", "strip"), ("see.day_map(", "map"), ("see.fleet_chart(", "fleet")):
        page.chart(cell_with(name, text))
        keep_picture(page, cell_with(name, text), f"chapter_9_{picture}.png")
    widget = cell_with(name, "shifter = see.shift_explorer(")
    before, message = page.fingerprint(widget), page.cell(widget).get_by_role("status")
    said = message.inner_text()
    # moved from code before the page had drawn it: chart and sentence still say the same
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


@pytest.mark.assets
def test_the_ledger_of_claims_is_filtered_and_its_twin_works_alone(page):
    """Type a word, choose a section: counts, sentence and table follow; the twin's menu needs no kernel."""
    name = "00_start_here.ipynb"
    page.open_notebook(f"notebooks/{name}")
    assert page.run_all(timeout_s=300) == []
    keep_picture(page, cell_with(name, "see.verdict_chart("), "chapter_0_verdicts.png")
    ledger = cell_with(name, "see.ClaimsLedger()")
    before, message = page.fingerprint(ledger), page.cell(ledger).get_by_role("status")
    page.cell(ledger).locator("input[type=text]").fill("Ireland")
    page.wait_for_change(ledger, before, timeout_s=30)
    assert re.fullmatch(r"\d claims: .*wrong\.", message.inner_text())
    rows = page.cell(ledger).locator("tbody tr")
    assert rows.count() == int(message.inner_text().split()[0])
    assert "on track to consume as much as Ireland" in " ".join(rows.all_inner_texts())
    keep_picture(page, ledger, "chapter_0.png")
    page.cell(ledger).locator("input[type=text]").fill("")
    before = page.fingerprint(ledger)
    page.cell(ledger).locator("select").first.select_option("Trend")
    page.wait_for_change(ledger, before, timeout_s=30)
    assert "claims" in message.inner_text()
    twin = cell_with(name, "see.verdict_twin(")
    before = page.fingerprint(twin)
    page.cell(twin).locator(".vega-bind select").select_option("Trend")
    page.wait_for_change(twin, before)
    keep_picture(page, twin, "chapter_0_twin.png")
    keep_picture(page, cell_with(name, "see.run_chart("), "chapter_0_run.png")


def test_footprint_runs_and_its_calculators_answer(page):
    """Move each calculator by keyboard: chart and sentence follow within a tenth of a second; the twins need no kernel."""
    name = "01_footprint.ipynb"
    page.open_notebook(f"notebooks/{name}")
    assert page.run_all(timeout_s=300) == []
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
