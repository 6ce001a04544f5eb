"""A stored chart as HTML: a figure with the chart's words, its Vega-Lite spec, and its data behind a fold.

The page's script draws the spec, in the colours of the page's light or dark theme, and writes the table of data when
the fold is opened, so that no number stands twice in the page.
"""

from __future__ import annotations

import html
import json
from typing import Any


def words(spec: dict[str, Any], text: str) -> str:
    """What a screen reader says of a chart: the title and the description, as the renderer wrote them in plain text."""
    said = text.removeprefix("[chart]").strip()
    return said or str(spec.get("description", "")) or "A chart."


def is_twin(spec: Any) -> bool:
    """Whether a chart has a control that the reader can move.

    >>> is_twin({"params": [{"name": "n", "bind": {"input": "range"}}]}), is_twin({"params": [{"name": "fits"}]})
    (True, False)
    """
    return any(isinstance(param, dict) and param.get("bind") for param in spec.get("params", []))


def figure(spec: dict[str, Any], text: str, name: str) -> str:
    """The HTML of a chart.

    Args:
        spec: the Vega-Lite spec that the notebook stores.
        text: the plain text that stands beside it.
        name: the anchor of the figure, unique in its page.
    """
    data = json.dumps(spec, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    said = html.escape(words(spec, text), quote=True)
    kind = "gl-chart gl-twin" if is_twin(spec) else "gl-chart"
    return (
        f'<figure class="{kind}" id="{name}" role="group" aria-label="{said}">'
        f'<div class="gl-draw"></div><noscript><p>{said}</p></noscript>'
        f'<script type="application/json">{data}</script>'
        '<details class="gl-data"><summary>The data of this chart</summary><div></div></details></figure>'
    )
