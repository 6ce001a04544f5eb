"""Chapter 10's designer and its desk of cards, moved in the browser as a reader does: each control and assumption."""

import json
import re

import pytest

from greenlab.green_service import DEFAULT, load_card, make_card
from greenlab.green_service.assumptions import GROUPS as ASSUMED
from greenlab.green_service.assumptions import LIMITS
from greenlab.green_service.view.designer import GROUPS, LABELS
from tests.browser.test_chapters_browser import keep_picture
from tests.browser.test_lab_browser import write

pytestmark = pytest.mark.assets
WIDGET = """
from greenlab.lab import setup
from greenlab.green_service import view as see
setup()
mine = see.Designer(2)
mine.set(model="Llama-3.1-8B", bits=8, batch=64, retrieved_tokens=500, flexible=0.2, quantity="carbon")
mine
"""
DESK = """
desk = see.CardDesk(mine)
desk
"""
# control -> (how it is moved, its label, to what)
MOVES = {
    "requests_per_day": ("slider", "Requests a day", "ArrowLeft"),
    "input_tokens": ("text", "Tokens of a question", "800"),
    "output_tokens": ("text", "Tokens of an answer", "200"),
    "model": ("menu", "Model", "Llama-3.2-1B"),
    "bits": ("menu", "Bits of a weight", "4"),
    "quality_gate": ("slider", "Least share of the quality (gate)", "Home"),
    "depths": ("box", "mixture of depths, an eighth of the tokens", ""),
    "removed_layers": ("slider", "Layers left out", "ArrowRight"),
    "healed": ("box", "trained again without them (healed)", ""),
    "batch": ("slider", "Requests at once (batch)", "ArrowRight"),
    "retrieved_tokens": ("menu", "Retrieved tokens", "2000"),
    "flexible": ("slider", "Share that may wait a day", "ArrowRight"),
    "device": ("menu", "Accelerator", "NVIDIA H200"),
    "utilization": ("slider", "Most of the day that it works", "Home"),
    "pue": ("text", "PUE of the building", "1.2"),
    "region": ("menu", "Grid", "France"),
    "quantity": ("menu", "Quantity", "energy"),
    "order": ("menu", "Order of the levers", "the other way round"),
    "log": ("box", "logarithmic axis", ""),
}
OWN = dict.fromkeys(LIMITS, "3.5") | {"kernel_share": "0.5", "shift_saving": "0.5", "memory_share": "0.1"}
QUANTITY = {"wue_l_per_kwh": "water", "water_l_per_kwh": "water", "device_price": "cost", "electricity_price": "cost"}


@pytest.fixture
def designer(lab_page, lab_server):
    """A page with the widget in its first cell and the desk in its second."""
    lab_page.open_notebook(write(lab_server, "designer.ipynb", WIDGET, DESK))
    assert lab_page.run_all() == []
    lab_page.chart(0)
    return lab_page


def tab(page, title):
    page.cell(0).locator(".jupyter-widgets .lm-TabBar-tab").get_by_text(title, exact=True).click()


def move(page, name):
    """Move a control as a reader does, by its label."""
    kind, label, to = MOVES[name]
    cell = page.cell(0)
    if kind == "slider":
        handle = cell.get_by_role("slider", name=label, exact=True)
        handle.focus()
        handle.press(to)
    elif kind == "menu":
        cell.get_by_label(label, exact=True).select_option(label=to)
    elif kind == "box":
        cell.get_by_label(label, exact=True).click()
    else:
        type_into(page, label, to)


def type_into(page, label, text):
    field = page.cell(0).get_by_label(label, exact=True)
    field.fill(text)
    field.press("Enter")


def said(page):
    return page.cell(0).get_by_role("status").inner_text()


BACK = {"model": "Llama-3.1-8B", "bits": "8"}  # what is put back, so that the controls after it have something to move


def test_every_control_moves_the_chart(designer):
    """Healing changes an answer's quality and no joule, so it changes the sentence only."""
    assert set(MOVES) == {name for names in GROUPS.values() for name in names}
    for title, names in GROUPS.items():
        tab(designer, title)
        for name in (name for name in names if name != "quality_gate"):
            before, words = designer.fingerprint(0), said(designer)
            move(designer, name)
            if name == "healed":
                designer.page.wait_for_function(
                    "([e, words]) => e.innerText !== words",
                    arg=[designer.cell(0).get_by_role("status").element_handle(), words],
                )
            else:
                designer.wait_for_change(0, before, timeout_s=60)
            assert "failed" not in said(designer)
            if name == "healed":  # a model that lost layers no longer answers from passages: put them back
                words = said(designer)
                designer.cell(0).get_by_label(MOVES["healed"][1], exact=True).click()
                designer.page.wait_for_function(
                    "([e, words]) => e.innerText !== words",
                    arg=[designer.cell(0).get_by_role("status").element_handle(), words],
                )
                before = designer.fingerprint(0)
                handle = designer.cell(0).get_by_role("slider", name=MOVES["removed_layers"][1], exact=True)
                handle.focus()
                handle.press("Home")
                designer.wait_for_change(0, before, timeout_s=60)
            if name in BACK or name == "depths":
                before = designer.fingerprint(0)
                again = designer.cell(0).get_by_label(MOVES[name][1], exact=True)
                if name in BACK:
                    again.select_option(label=BACK[name])
                else:
                    again.click()
                designer.wait_for_change(0, before, timeout_s=60)
    before = designer.fingerprint(0)
    tab(designer, "Model")
    move(designer, "bits")  # four bits: the gate stops them
    before = designer.wait_for_change(0, before, timeout_s=60)
    tab(designer, "The work")
    move(designer, "quality_gate")
    designer.wait_for_change(0, before, timeout_s=60)
    assert said(designer).startswith("A request: ")


def test_every_assumption_is_seen_and_moves_the_chart_and_is_put_back(designer):
    cell = designer.cell(0)
    field = cell.get_by_label(LABELS["pue"], exact=True)
    assert not field.is_visible()  # folded until it is asked for
    cell.get_by_text("Assumptions: see and move all of them").click()
    start = designer.fingerprint(0)
    for group, name in ((group, name) for group, names in ASSUMED.items() for name in names):
        quantity = QUANTITY.get(name, "carbon")
        if cell.get_by_label("Quantity", exact=True).input_value() != quantity:
            before = designer.fingerprint(0)
            tab(designer, "Chart")
            cell.get_by_label("Quantity", exact=True).select_option(label=quantity)
            designer.wait_for_change(0, before, timeout_s=60)
        before = designer.fingerprint(0)
        tab(designer, group)
        type_into(designer, LABELS[name], OWN[name])
        cell.get_by_role("status").get_by_text(re.compile(f"Moved by you: .*{name}")).wait_for(timeout=60_000)
        if name != "electricity_price":  # a part of the hour's price, so no bar of the chart
            designer.wait_for_change(0, before, timeout_s=60)
    keep_picture(designer, 0, "chapter_10_assumptions.png")
    tab(designer, "Chart")
    cell.get_by_label("Quantity", exact=True).select_option(label="carbon")
    cell.get_by_role("button", name="All assumptions as published").click()
    cell.get_by_text("None is moved.").wait_for(timeout=60_000)
    designer.page.wait_for_timeout(500)
    assert designer.fingerprint(0) == start
    tab(designer, "Building, grid")
    type_into(designer, LABELS["pue"], "0.5")
    cell.get_by_role("status").get_by_text("This design cannot be built: pue=0.5").wait_for(timeout=60_000)


def test_a_card_is_downloaded_loaded_and_refused(designer, tmp_path):
    desk, page = designer.cell(1), designer.page
    desk.get_by_role("button", name="Make my card").click()
    for ending in ("json", "md"):
        link = desk.get_by_role("link", name=f"Download my_card.{ending}")
        link.wait_for(timeout=60_000)
        with page.expect_download() as waiting:
            link.click()
        waiting.value.save_as(tmp_path / f"my_card.{ending}")
    card = load_card(tmp_path / "my_card.json")
    assert card.service == DEFAULT.replace(bits=8, batch=64, index="bm25", retrieved_tokens=500, flexible=0.2)
    assert (tmp_path / "my_card.md").read_text(encoding="utf-8") == card.to_markdown()

    theirs = tmp_path / "theirs.json"
    theirs.write_text(make_card(DEFAULT.replace(region="SE"), title="A classmate").to_json(), encoding="utf-8")
    with page.expect_file_chooser() as waiting:
        desk.get_by_role("button", name="Load a classmate's card").click()
    waiting.value.set_files(theirs)
    desk.get_by_text("Lever by lever from mine to theirs").wait_for(timeout=60_000)
    keep_picture(designer, 1, "chapter_10_cards.png")

    touched = json.loads(theirs.read_text(encoding="utf-8"))
    touched["service"]["batch"] = 256
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(touched), encoding="utf-8")
    path = desk.get_by_label("Path of a card", exact=True)
    path.fill(str(forged))
    path.press("Enter")
    desk.get_by_role("button", name="Load from this path").click()
    desk.get_by_text("Refused: card.figures[0].value").wait_for(timeout=60_000)
    assert desk.get_by_text("Lever by lever").count() == 0
