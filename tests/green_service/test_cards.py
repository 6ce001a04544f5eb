"""The desk of cards: what it makes can be loaded, what is no card is refused by name, and two cards are compared."""

import base64
import re
from datetime import UTC, datetime

import pytest

from greenlab.green_service import DEFAULT, assumptions, load_card, make_card, read_card, save_card
from greenlab.green_service import view as see

NOW = datetime(2026, 11, 27, tzinfo=UTC)


@pytest.fixture
def desk():
    designer = see.Designer(1)
    designer.set(batch=64, bits=8)
    designer.move(pue="1.3 1.2 1.4")
    return see.CardDesk(designer)


def link(desk, ending):
    """The file behind a link of the desk, as a browser would save it."""
    found = re.search(rf'download="my_card\.{ending}" href="data:[a-z/]+;base64,([^"]+)"', desk.links.value)
    return base64.b64decode(found[1]).decode()


def test_the_links_hold_the_card_of_the_design_with_what_was_moved(desk):
    desk.title.value = "Ours <b>"
    desk.make.click()
    card = read_card(link(desk, "json"))
    assert card == desk.card
    assert card.service == DEFAULT.replace(batch=64, bits=8)
    assert [item.name for item in card.assumed.moved()] == ["pue"]
    assert link(desk, "md") == card.to_markdown()
    assert "Moved by you: pue." in desk.text


def test_an_impossible_design_has_no_card_and_no_links(desk):
    desk.make.click()
    desk._designer.move(pue="0.5")
    desk.make.click()
    assert desk.text.startswith("No card: pue=0.5")
    assert (desk.links.value, desk.card) == ("", None)
    desk._designer.put_back()
    desk.title.value = ""
    desk.make.click()
    assert desk.text.startswith("No card: title=''")


def test_a_card_is_loaded_by_path_and_by_upload(desk, tmp_path):
    theirs = make_card(DEFAULT.replace(region="SE"), title="A <i>classmate</i>")
    path = save_card(theirs, tmp_path / "theirs.json")
    desk.path.value = str(path)
    desk.load.click()
    assert desk.theirs == theirs
    shown = desk.beside.value
    assert "<i>classmate" not in shown
    for words in ("What the two chose", "pue, assumed", "Theirs over mine", "other grid", "Lever by lever"):
        assert words in shown
    desk.load_from("nothing.json")
    assert desk.text.startswith("Refused: path='nothing.json'")
    assert (desk.theirs, desk.beside.value) == (None, "")
    content = memoryview(path.read_bytes())
    desk.upload.value = ({"name": "theirs.json", "type": "application/json", "size": len(content), "content": content,
                          "last_modified": NOW},)  # fmt: skip
    assert desk.theirs == load_card(path)
    assert "Lever by lever" in desk.beside.value


@pytest.mark.parametrize(
    ("touch", "said"),
    [
        (lambda text: text.replace('"batch": 64', '"batch": 256'), "card.figures[0].value"),
        (lambda text: text.replace('"pue": null', '"pue": 0.5'), "service.pue=0.5"),
        (lambda text: text.replace("green", "g\u0000reen"), "no JSON"),
        (lambda text: text[:-20], "no JSON"),
        (lambda _: '{"nbformat": 4, "cells": []}', "schema=None"),
        (lambda _: "", "no JSON"),
        (lambda text: text.replace('"version": 2', '"version": 1'), "version=1"),
    ],
)
def test_a_touched_or_foreign_card_is_refused_with_the_field_named(desk, touch, said):
    text = make_card(DEFAULT.replace(batch=64)).to_json()
    assert touch(text) != text
    assert desk.load_bytes(touch(text).encode(), "theirs.json") is None
    assert desk.text.startswith("Refused: ")
    assert said in desk.text
    assert desk.theirs is None


def test_a_card_of_other_work_is_shown_and_not_compared(desk):
    desk.make_mine()
    desk.load_bytes(make_card(DEFAULT.replace(requests_per_day=1e4)).to_json().encode())
    assert "requests_per_day" in desk.beside.value
    assert "So the figures cannot be compared." in desk.beside.value
    assert "Lever by lever" not in desk.beside.value


def test_the_same_card_says_so(desk):
    desk.make_mine()
    desk.load_bytes(desk.card.to_json().encode())
    assert "the same design and the same assumptions" in desk.beside.value


def test_cards_that_differ_in_an_assumption_only(desk):
    desk.make_mine()
    other = make_card(desk.card.service, assumptions(desk.card.service).move(pue=(1.3, 1.25, 1.4)))
    desk.load_bytes(other.to_json().encode())
    assert "pue, assumed" in desk.beside.value


def test_a_desk_needs_a_designer():
    with pytest.raises(TypeError, match="designer="):
        see.CardDesk(DEFAULT)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(desk):
    desk.upload.value = ({"name": "large.json", "type": "", "size": 10**9, "content": b"", "last_modified": NOW},)
    assert "large.json has more than" in desk.text
