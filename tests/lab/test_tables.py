"""Tables for readers: what is drawn, what is printed, and what is refused."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from greenlab.lab import table

CUTS = pd.DataFrame({"removed": [0, 6], "loss": [2.913, math.nan], "kind": ["whole <b>", "cut"], "good": [True, False]})
COLUMNS = {"Layers": "removed", "Loss [nats]": ("loss", ".2f"), "Kind": "kind", "Good": "good"}


def test_the_text_is_aligned_and_a_missing_value_is_a_dash():
    lines = str(table(CUTS, COLUMNS, "What a cut costs")).splitlines()
    assert lines == [
        "What a cut costs",
        "Layers  Loss [nats]  Kind       Good",
        "-" * 36,
        "     0         2.91  whole <b>  yes",
        "     6            –  cut        no",
    ]


def test_the_drawn_table_has_header_cells_and_escapes_text():
    drawn = table(CUTS, COLUMNS, "What a cut costs")._repr_html_()
    cells = re.findall(r"<(t[hd]) [^>]*>(.*?)</t[hd]>", drawn)
    assert cells == [
        *(("th", heading) for heading in COLUMNS),
        *(("th", "0"), ("td", "2.91"), ("td", "whole &lt;b&gt;"), ("td", "yes")),
        *(("th", "6"), ("td", "–"), ("td", "cut"), ("td", "no")),
    ]


@pytest.mark.parametrize(
    ("value", "spec", "written"),
    [
        (0.343132, "", "0.343"),
        (1234.5, "", "1,234"),
        (0.0, "", "0"),
        (np.int64(12), "", "12"),
        (0.58, ".0%", "58\N{NO-BREAK SPACE}%"),
        (-1.5, "+.1f", "−1.5"),
        (-0.04, ".1f", "0.0"),
        (-0.001, ".0%", "0\N{NO-BREAK SPACE}%"),
        (1e-12, "", "1.00e-12"),
        (0.99996, "", "1.00"),
        (np.True_, "", "yes"),
        (math.inf, ".1f", "–"),
        (None, "", "–"),
        (pd.NA, "", "–"),
        ("100%", "", "100%"),
    ],
)
def test_how_a_value_is_written(value, spec, written):
    data = pd.DataFrame({"v": pd.Series([value], dtype=object)})
    assert table(data, {"Value": ("v", spec)}, "One").rows == ((written,),)


@pytest.mark.parametrize(
    ("data", "columns", "caption", "error", "message"),
    [
        (CUTS, {}, "c", ValueError, "columns is empty"),
        (CUTS, ["loss"], "c", TypeError, "give a dict"),
        (CUTS, {"Loss": "lost"}, "c", ValueError, "lacks the column lost"),
        (CUTS, {"Loss": ("loss", ".2q")}, "c", ValueError, "'.2q' does not fit"),
        (CUTS, {"Kind": ("kind", ".2f")}, "c", ValueError, "'.2f' does not fit 'whole <b>'"),
        (CUTS, {"Loss": ("loss",)}, "c", TypeError, "a column's name"),
        (CUTS, {" ": "loss"}, "c", ValueError, "a heading in columns is empty"),
        (CUTS, {3: "loss"}, "c", TypeError, "a heading in columns=3"),
        (CUTS, COLUMNS, " ", ValueError, "caption is empty"),
        (CUTS, COLUMNS, None, TypeError, "caption=None"),
        (CUTS.iloc[:0], COLUMNS, "c", ValueError, "row"),
        ({"loss": [1]}, COLUMNS, "c", TypeError, "data"),
        (pd.concat([CUTS, CUTS], axis=1), {"Loss": "loss"}, "c", ValueError, "column loss more than once"),
    ],
)
def test_what_is_refused(data, columns, caption, error, message):
    with pytest.raises(error, match=re.escape(message)):
        table(data, columns, caption)


def test_heading_and_caption_are_text_and_never_markup():
    data = pd.DataFrame({"a<b": [1]})
    drawn = table(data, {"<i>Loss</i> & more": "a<b"}, "5 < 6 \"so\" & 'so'")._repr_html_()
    assert "<i>" not in drawn
    assert ">&lt;i&gt;Loss&lt;/i&gt; &amp; more</th>" in drawn
    assert ">5 &lt; 6 &quot;so&quot; &amp; &#x27;so&#x27;</caption>" in drawn
    assert 'aria-label="5 &lt; 6 &quot;so&quot; &amp; &#x27;so&#x27;"' in drawn


def test_a_screen_reader_hears_which_heading_belongs_to_a_cell():
    """One header cell a column and one a row, each with its scope; a caption; a region that the keyboard reaches."""
    drawn = table(CUTS, COLUMNS, "What a cut costs")._repr_html_()
    assert drawn.count('<th scope="col"') == len(COLUMNS)
    assert drawn.count('<th scope="row"') == len(CUTS)
    assert drawn.count("<td ") == len(CUTS) * (len(COLUMNS) - 1)
    assert drawn.count("<caption ") == 1
    assert 'role="region"' in drawn
    assert 'tabindex="0"' in drawn


def test_numbers_stand_right_and_words_left_even_where_some_are_missing():
    """A column of numbers stays one when a value is missing; one with nothing in it, and one of words, do not."""
    data = pd.DataFrame({"n": [1.5, None], "w": ["x", None], "gone": [None, None], "good": [True, False]})
    data["whole"] = pd.array([1, None], dtype="Int64")
    shown = table(data, {name.title(): name for name in data}, "c")
    assert shown.numeric == (True, False, False, False, True)
    sides = re.findall(r'<th scope="col" style="text-align:(\w+)', shown._repr_html_())
    assert sides == ["right", "left", "left", "left", "right"]


def test_rows_keep_their_order_and_the_frame_is_left_as_it_was():
    data = pd.DataFrame({"name": ["b", "a", "c"], "v": [2.0, 3.0, 1.0]}, index=[7, 7, 1])
    before = data.copy()
    shown = table(data, {"Value": ("v", ".0f"), "Name": "name", "Again": "v"}, "c")
    assert shown.rows == (("2", "b", "2.00"), ("3", "a", "3.00"), ("1", "c", "1.00"))
    pd.testing.assert_frame_equal(data, before)
