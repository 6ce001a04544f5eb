"""What widgets and charts need from the page that shows them: keys, names for a screen reader, word of a lost kernel.

Lab shows a chart and a slider, but takes the arrow keys for itself, gives a slider no name, and leaves a widget without
a kernel as it is. ``page.js`` mends that, and ``chart_data.js`` gives each chart its data as a table behind a fold.
Both travel in a widget that is never displayed: Lab loads it as soon as it exists.
"""

from __future__ import annotations

from pathlib import Path

import anywidget

from greenlab.lab.renderer import STYLE

SCRIPTS = ("chart_data.js", "page.js")  # in this order: the second calls the first


class Page(anywidget.AnyWidget):
    """A widget without a face, whose JavaScript looks after the whole page."""

    _esm = "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in SCRIPTS)
    _css = STYLE  # a chart brings it too, but only the first one of a page is heard, and that may be of another book


_page: Page | None = None


def attend() -> None:
    """Look after the page of this kernel; a second call changes nothing."""
    global _page
    if _page is None:
        _page = Page()
