"""Pictures of the first page, drawn from the charts that the notebooks store: one a chapter, and the card for previews.

Nothing is drawn by hand, so a picture changes with the study behind it. Words are left out of the small ones: at this
size nobody reads them, and the card beside says what the chapter asks.
"""

from __future__ import annotations

import copy
import html
from typing import Any

import nbformat

from greenlab.lab.export import VEGA_LITE
from greenlab.lab.renderer import MIME

CHOSEN = {  # the chart of each chapter, by the first words of its title
    "start_here": "Of 70 statements",
    "footprint": "Dense models stopped growing",
    "hardware": "Reading a prompt keeps",
    "mixture_of_experts": "Alone or among thousands",
    "distillation": "At equal joules the lone half",
    "mixture_of_depths": "In the mean of three seeds",
    "layer_pruning": "The blocks of 3 to 10 layers",
    "ternary": "Half of the weights",
    "retrieval": "The nearest passage",
    "load_shifting": "Poland is the dirtiest",
    "green_service": "Four levers leave",
}
WIDTH_PX, HEIGHT_PX = 320, 180


def stored(notebook: nbformat.NotebookNode, start: str) -> tuple[dict[str, Any], str]:
    """A stored chart and its plain text, by the first words of its title.

    Raises:
        ValueError: if no chart of the notebook, or more than one, begins so.
    """
    found = [
        (output["data"][MIME], output["data"]["text/plain"])
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if MIME in output.get("data", {}) and output["data"]["text/plain"].startswith(f"[chart] {start}")
    ]
    if len(found) != 1:
        raise ValueError(
            f"{len(found)} charts begin with {start!r}: give the first words of one, in docs/book/pictures.py"
        )
    return found[0]


def thumbnail(spec: dict[str, Any]) -> str:
    """A chart without its words, as SVG."""
    import vl_convert

    spec = copy.deepcopy(dict(spec))
    for name in ("title", "usermeta", "padding"):
        spec.pop(name, None)
    _quiet(spec)
    spec["config"] = {
        **{
            name: value
            for name, value in spec.get("config", {}).items()
            if name in ("mark", "range", "line", "point", "view")
        },
        "background": "white",
        "legend": {"disable": True},
        "axis": {"labels": False, "ticks": False, "title": None, "gridColor": "#eeeeee", "domainColor": "#bbbbbb"},
    }
    return str(vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE))


def _quiet(node: dict[str, Any]) -> None:
    """Take titles, legends and words out of a spec, however deep its layers are."""
    if "layer" in node:
        node["layer"] = [layer for layer in node["layer"] if _kind(layer) != "text"]
    if "mark" in node or "layer" in node:
        node["width"], node["height"] = WIDTH_PX, HEIGHT_PX
    for name, channel in node.get("encoding", {}).items():
        if isinstance(channel, dict):
            channel.pop("title", None)
            if name in ("x", "y") and channel.get("axis", {}) is not None:
                channel["axis"] = {"labels": False, "ticks": False, "title": None}
            if name in ("color", "fill", "stroke", "shape", "size", "opacity", "strokeDash"):
                channel.pop("legend", None)
    for layer in node.get("layer", []):
        layer.pop("title", None)
        _quiet(layer)
        layer.pop("width", None)
        layer.pop("height", None)


def _kind(layer: dict[str, Any]) -> str:
    mark = layer.get("mark", "")
    return mark.get("type", "") if isinstance(mark, dict) else str(mark)


def preview(svg: str, title: str, lead: str) -> bytes:
    """The picture that other sites show beside a link: 1200 by 630, with the title and one chart, as PNG.

    Args:
        svg: the chart, as ``thumbnail`` gives it.
        title: the name of the book.
        lead: what it is, in a line or two.
    """
    import vl_convert

    lines = "".join(
        f'<tspan x="70" dy="{0 if n == 0 else 46}">{html.escape(line)}</tspan>'
        for n, line in enumerate(_wrapped(lead, 30))
    )
    inner = svg.partition("<svg")[2]
    card = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="1200" height="630">'
        '<rect width="1200" height="630" fill="white"/><rect width="1200" height="14" fill="#00563f"/>'
        '<text x="70" y="160" font-family="sans-serif" font-size="84" font-weight="bold" fill="#00563f">'
        f"{html.escape(title)}</text>"
        f'<text x="70" y="240" font-family="sans-serif" font-size="34" fill="#222222">{lines}</text>'
        f'<g transform="translate(620,150)"><svg{_sized(inner)}</g></svg>'
    )
    return bytes(vl_convert.svg_to_png(card, scale=1))


def _sized(inner: str) -> str:
    import re

    head, end, rest = inner.partition(">")
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} width="520" height="330"{end}{rest}'


def _wrapped(text: str, letters: int) -> list[str]:
    import textwrap

    return textwrap.wrap(text, letters)
