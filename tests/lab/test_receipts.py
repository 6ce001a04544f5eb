"""The receipt card and the source of a function, as a reader and a screen reader get them."""

import functools
import math
import re
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlab.core.energy.receipt import Receipt
from greenlab.lab import keep_receipts, receipts, show_receipt, show_source, source, state
from greenlab.lab.receipts import duration, quantity


def receipt(label="<b>SmolLM2</b>", basis="measured", **changes):
    values = {"source": "RAPL package-0", "region": "DE", "time_s": 2.4, "cpu_s": 4.5, "runs": 3} | changes
    return Receipt.from_energy(label, 45.0, 30.0, 61.0, basis=basis, **values)


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, as MIME bundles."""
    bundles = []
    for module in (receipts, source):
        monkeypatch.setattr(module, "display", lambda bundle, raw: bundles.append(bundle) if raw else None)
    return bundles


def test_a_receipt_shows_every_figure_in_both_forms(shown):
    """By hand: 45 J is 0.0125 Wh; at Germany's intensity that is a few milligrams; a 10 W lamp burns 4.5 s."""
    bill = receipt()
    show_receipt(bill)
    (bundle,) = shown
    grams = f"{45 / 3.6e6 * bill.intensity_g_per_kwh * 1000:.3g} mg CO2e"
    for text in (bundle["text/plain"], re.sub(r"<[^>]+>", "\n", bundle["text/html"])):
        for part in ("45 J", "30 J to 61 J", grams, "2.4 s (CPU 4.5 s), mean of 3 runs", "MEASURED", "RAPL package-0"):
            assert part in text
        assert f"DE, {bill.intensity_g_per_kwh:.3g} g CO2e/kWh" in text
        assert "a 10 W LED lamp for 4.5 s" in text


def test_the_card_is_a_table_with_header_cells_and_escaped_text(shown):
    """Well-formed; a label is text, never markup; rows and columns are announced to a screen reader."""
    show_receipt(receipt(), receipt("pruned", basis="modelled", source="CPU-seconds model <x>"))
    table = ElementTree.fromstring(shown[0]["text/html"])
    assert [cell.text for cell in table.iter("th") if cell.get("scope") == "col"] == ["<b>SmolLM2</b>", "pruned"]
    assert [cell.text for cell in table.iter("th") if cell.get("scope") == "row"] == list(receipts.ROWS)
    badges = {span.text: span.get("style") for span in table.iter("span")}
    assert "solid" in badges["MEASURED"]
    assert "dashed" in badges["MODELLED"]


def test_columns_line_up_in_plain_text(shown):
    show_receipt(receipt("a"), receipt("b"))
    lines = shown[0]["text/plain"].splitlines()
    start = lines[0].index("b")
    assert all(line[start - 1] == " " and line[start] != " " for line in lines)


def test_no_receipt_is_an_error():
    with pytest.raises(ValueError, match="no receipt was given"):
        show_receipt()


@given(st.floats(min_value=1e-9, max_value=1e12))
def test_a_quantity_reads_back_to_three_digits(value):
    """Whatever the prefix, the number and its unit say the value again."""
    text, unit = quantity(value, "J").split(" ")
    factor = {prefix: factor for factor, prefix in receipts._PREFIXES}[unit[:-1]]
    assert float(text) * factor == pytest.approx(value, rel=0.005)
    assert "e" not in text
    if 1e-9 <= value < 9.99e11:
        assert 1 <= float(text) < 1000


@given(st.floats(min_value=0.001, max_value=1e7))
def test_a_duration_reads_back_to_three_digits(time_s):
    text, unit = duration(time_s).split(" ")
    factor = {"ms": 1e-3, "µs": 1e-6, "s": 1.0, "min": 60.0, "h": 3600.0, "days": 86400.0}[unit]
    assert float(text) * factor == pytest.approx(time_s, rel=0.005)


@pytest.mark.parametrize("function", [duration, receipts.comparison, lambda value: quantity(value, "J")])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "3", None, True, [3]])
def test_what_is_no_amount_is_refused(function, value):
    with pytest.raises((TypeError, ValueError), match=r"value=|time_s=|energy_j="):
        function(value)


@pytest.mark.parametrize("function", [duration, receipts.comparison])
def test_negative_times_and_energies_are_refused(function):
    with pytest.raises(ValueError, match=r"(time_s|energy_j)=-1: give a finite number at least 0"):
        function(-1)


def test_only_receipts_are_shown():
    with pytest.raises(TypeError, match="receipts holds 3, which is no receipt"):
        show_receipt(receipt(), 3)
    with pytest.raises(TypeError, match="unit is 3"):
        quantity(1.0, 3)


def sample(x: int) -> int:
    """Add one."""
    return x + 1


@functools.wraps(sample)
def wrapped(*args):
    return sample(*args)


def test_source_is_shown_with_a_relative_place(shown):
    show_source(sample)
    (bundle,) = shown
    first = sample.__code__.co_firstlineno
    assert bundle["text/plain"].startswith(f"# tests/lab/test_receipts.py:{first}\ndef sample(x: int) -> int:\n")
    assert bundle["text/markdown"].startswith("```python\ndef sample(x: int) -> int:\n")
    assert f"`tests/lab/test_receipts.py:{first}`" in bundle["text/markdown"]


def test_source_of_methods_classes_modules_and_libraries(shown):
    """Methods lose their indentation; a decorated function shows itself; a library gives no path of this machine."""
    code, name, _ = source.source_of(Receipt.per)
    assert code.startswith("def per(self")
    assert "\n    " in code
    assert name == "greenlab/core/energy/receipt.py"
    assert source.source_of(wrapped)[0].startswith("def sample")
    assert source.source_of(Receipt)[0].startswith("@dataclass")
    assert source.source_of(receipts)[1:] == ("greenlab/lab/receipts.py", 1)
    assert source.source_of(ElementTree.fromstring)[1] == "xml/etree/ElementTree.py"


@pytest.mark.parametrize("thing", [len, 3, "text", None, float("nan")])
def test_what_has_no_source_is_refused(thing):
    with pytest.raises(ValueError, match="has no Python source to show"):
        show_source(thing)


def test_a_shown_receipt_is_kept_once_under_its_chapter_and_label(shown, empty_state):
    """What a chapter's notebook shows: the view in its namespace names the chapter; a rerun replaces the entry."""
    from greenlab.ternary import view

    space = {"see": view, "show_receipt": show_receipt, "whole": receipt("12 removed"), "old": receipt("12 removed")}
    exec("show_receipt(old)\nshow_receipt(whole)", space)
    kept = state.load("receipts")
    assert list(kept) == ["ternary.12-removed"]
    entry = kept["ternary.12-removed"]
    assert (entry["energy_j"], entry["low_j"], entry["high_j"], entry["basis"]) == (45.0, 30.0, 61.0, "measured")
    assert (entry["label"], entry["chapter"], entry["source"]) == ("12 removed", "ternary", "RAPL package-0")
    assert (entry["time_s"], entry["runs"], entry["region"]) == (2.4, 3, "DE")


def test_receipts_of_two_columns_and_of_two_chapters_do_not_replace_each_other(shown, empty_state):
    from greenlab.layer_pruning import view

    show_receipt(receipt("teacher"), receipt("teacher", basis="modelled"))
    exec("keep(bill)", {"view": view, "keep": keep_receipts, "bill": receipt("teacher")})
    kept = state.load("receipts")
    assert sorted(kept) == ["layer_pruning.teacher", "teacher", "teacher-2"]
    assert kept["teacher-2"]["basis"] == "modelled"
    assert len(shown) == 1  # what is only kept is not displayed


@given(st.text(max_size=200))
def test_any_label_gives_a_key_that_can_be_a_file_name(label):
    assert state.check_key(receipts._key_of(label, "ternary")) == receipts._key_of(label, "ternary")


def test_a_receipt_is_shown_also_where_nothing_can_be_written(shown, empty_state):
    empty_state.write_text("a file where the folder should be")
    with pytest.warns(UserWarning, match="kept for this session only"):
        show_receipt(receipt("a"))
    assert len(shown) == 1
    assert list(state.load("receipts")) == ["a"]


def test_what_is_no_receipt_is_refused_before_anything_is_shown_or_kept(shown, empty_state):
    for call in (show_receipt, keep_receipts):
        with pytest.raises(TypeError, match="no receipt"):
            call(receipt("a"), SimpleNamespace(energy_j=1.0, carbon_g=1.0, basis="measured", label="a"))
    assert shown == []
    assert not empty_state.exists()
