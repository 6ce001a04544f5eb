"""Show charts without a network: Lab, the static site and nbconvert draw the chart from this one bundle.

Altair's own renderers load JavaScript from a CDN, or emit a MIME type that nbformat rejects. This one emits
``application/vnd.vegalite.v5+json``, which JupyterLab draws with the Vega-Lite 5.6.1 it ships, and nothing else but a
sentence of plain text for places that draw no charts. Altair 6 writes for Vega-Lite 6, so ``$schema`` is set back to 5;
the browser tests draw every chart type of the book in a real Lab to prove that 5.6.1 understands them.
"""

from __future__ import annotations

import math
from typing import Any

import altair as alt

NAME = "greenlab"
MIME = "application/vnd.vegalite.v5+json"
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"  # a name, not an address: nothing is fetched
EMBED_OPTIONS = {
    "actions": False,
    "renderer": "svg",
}  # no menu (it fails axe); SVG marks are readable by a screen reader
DIGITS = 6  # significant digits of stored data: a chart shows fewer, and other machines agree on these


def _rounded(value: Any) -> Any:
    """The same rows with floats cut to DIGITS significant digits, so that stored outputs are small and comparable.

    >>> _rounded([{"loss": 2.345678912, "n": 12345678, "name": "a"}])
    [{'loss': 2.34568, 'n': 12345678, 'name': 'a'}]
    """
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return value


def _round_data(node: Any) -> Any:
    """Round the rows of the data wherever they stand in a spec, and nothing else: scales and thresholds stay exact."""
    if isinstance(node, list):
        return [_round_data(item) for item in node]
    if isinstance(node, dict):
        return {key: _rounded(item) if key in ("data", "datasets") else _round_data(item) for key, item in node.items()}
    return node


def _text(title: Any) -> str:
    text = title.get("text", "") if isinstance(title, dict) else title or ""
    return " ".join(text) if isinstance(text, list) else str(text)


def render(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The MIME bundle of a chart.

    Args:
        spec: a Vega-Lite spec, as Altair's ``to_dict()`` gives it.
    """
    spec = _round_data(spec)
    spec["$schema"] = SCHEMA
    spec["usermeta"] = {**spec.get("usermeta", {}), "embedOptions": EMBED_OPTIONS}
    words = [part.rstrip(".") for part in (_text(spec.get("title")), spec.get("description", "")) if part]
    return {MIME: spec, "text/plain": f"[chart] {'. '.join(words)}."}


alt.renderers.register(NAME, render)


def enable() -> None:
    """Use this renderer for every chart of this kernel."""
    alt.renderers.enable(NAME)
