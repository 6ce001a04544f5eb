"""Exported pages: a side road is a fold under the words of its heading, and what comes after it is not."""

import json
import re

import nbformat
import pytest

from greenlab.lab.export import page
from greenlab.lab.side_roads import FOLDED, TAG, heading_level, side_roads


def test_a_side_road_is_a_fold_of_the_page():
    cell = nbformat.v4.new_markdown_cell
    aside = cell("### Side road: `by hand`\n\nThree <b>tokens</b>.", metadata={"tags": [TAG], FOLDED: True})
    book = nbformat.v4.new_notebook(cells=[cell("## Measure"), aside, cell("Inside."), cell("### After")])
    body = page(book, "A chapter")
    start, end = body.index("<details"), body.index("</details>")
    assert "<summary>Side road: by hand</summary>" in body[start:end]
    assert "Inside." in body[start:end]
    assert body.index("Measure") < start
    assert end < body.rindex("After")
    assert body.count("<details") == 1


@pytest.mark.parametrize("bad", [None, {}, {"source": 3}, "### text", json.dumps({"source": ""})])
def test_what_is_no_cell_is_refused(bad):
    with pytest.raises(TypeError, match=re.escape("give a dict with cell_type and source")):
        heading_level(bad)


@pytest.mark.parametrize("bad", [None, {}, {"cells": 3}, []])
def test_what_is_no_notebook_is_refused(bad):
    with pytest.raises(TypeError, match="give nbformat"):
        side_roads(bad)
