"""Show charts without a network: Lab, the static site and nbconvert draw the chart from this one bundle.

Altair's own renderers load JavaScript from a CDN, or emit a MIME type that nbformat rejects. This one emits
``application/vnd.vegalite.v5+json``, which JupyterLab draws with the Vega-Lite 5.6.1 it ships, and nothing else but a
sentence of plain text for places that draw no charts. Altair 6 writes for Vega-Lite 6, so ``$schema`` is set back to 5;
the browser tests draw every chart type of the book in a real Lab to prove that 5.6.1 understands them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import altair as alt

from greenlab.lab.theme import WIDTH

NAME = "greenlab"
MIME = "application/vnd.vegalite.v5+json"
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"  # a name, not an address: nothing is fetched
FULL_PX = 720  # the width of a chart with its axes and legends, where the cell has room for it
LEAST_PX = 400  # a plot that is narrower than this fits everywhere, and stays as it is
TITLE_PX, SUBTITLE_PX, LEGEND_PX = 10.4, 6.8, 6.6  # a letter, a little generously: the browser's font is not known here
BESIDE_PX = 76  # room right of the plot where words stand beside marks: Vega's fit counts axes and legends, not words
NAMES_PX = 190  # what the names of rows take from the plot
# Beside vega-embed's own style, or instead of it: the chart is as wide as its cell, and what cannot follow (charts
# beside or below one another) is drawn smaller. The menu that vega-embed's style is for is switched off.
STYLE = (
    "div.vega-embed{position:relative;display:block;width:100%;box-sizing:border-box}"
    "div.vega-embed .chart-wrapper{width:100%}"
    "div.vega-embed svg.marks{max-width:100%;height:auto}"
    ".vega-bind label{display:flex;flex-wrap:wrap;gap:0 8px;align-items:center;margin:2px 0}"
)
# No menu, as it fails axe; SVG, as a screen reader can read its marks.
EMBED_OPTIONS: dict[str, Any] = {"actions": False, "renderer": "svg", "defaultStyle": STYLE}
# Vega's own "container" draws nothing where the cell is not in the page yet, and as wide as the window where it is.
_ROOM = f"max(240, min({FULL_PX}, containerSize()[0] || {FULL_PX}))"
FOLLOW = [  # a JSON patch on the Vega that Vega-Lite compiles: the whole width follows, not only the plot's
    {"op": "add", "path": "/autosize", "value": {"type": "fit-x", "contains": "padding"}},
    {
        "op": "add",
        "path": "/signals/-",
        "value": {"name": "width", "init": _ROOM, "on": [{"events": "window:resize", "update": _ROOM}]},
    },
]
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


def _wrapped(text: Any, letter_px: float, width: str) -> Any:
    """A title as an expression that breaks it into as many lines as the width needs.

    Args:
        text: what a Vega-Lite title holds: words, lines of words, or an expression.
        letter_px: the width of a letter [px].
        width: a Vega expression of the room [px].

    >>> _wrapped("It rises", 10, "width")["expr"].startswith("split(slice(replace('It rises', regexp('(.{1,' + max(12,")
    True
    """
    if isinstance(text, dict):
        words = f"({text['expr']})"
    else:
        lines = text if isinstance(text, list) else [text]
        words = json.dumps("\n".join(map(str, lines)), ensure_ascii=False)
        words = "'" + words[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"
    pattern = f"'(.{{1,' + max(12, floor({width} / {letter_px:g})) + '}})( +|\\n|$)'"
    return {"expr": f"split(slice(replace({words}, regexp({pattern}, 'g'), '$1\\n'), 0, -1), '\\n')"}


def _marks(spec: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Every mark of a chart with its encoding, however deep its layers are."""
    for layer in spec.get("layer", []):
        yield from _marks(layer)
    if "mark" in spec:
        mark = spec["mark"]
        yield mark if isinstance(mark, dict) else {"type": mark}, spec.get("encoding", {})


def _legend_columns(spec: dict[str, Any], room: str) -> dict[str, str]:
    """How many entries of a legend stand in a row, as an expression: all of them, two, or one, as the width allows."""
    widest, most = 0.0, 1
    for _, encoding in _marks(spec):
        for channel in ("color", "fill", "stroke", "shape", "strokeDash"):
            domain = ((encoding.get(channel) or {}).get("scale") or {}).get("domain", [])
            words = [name for name in domain if isinstance(name, str)] if isinstance(domain, list) else []
            most = max(most, len(words))
            widest = max(widest, sum(LEGEND_PX * len(name) + 44 for name in words))
    fewer = 2 if most > 2 else 1
    return {"expr": f"{room} < {widest / 2:.0f} ? 1 : {room} < {widest:.0f} ? {fewer} : 0"}


def fit(spec: dict[str, Any]) -> dict[str, Any]:
    """The same chart, made to follow the width of the cell that shows it: its title wraps, its plot shrinks.

    Charts beside or below one another, and narrow ones, keep their size; the page draws them smaller where it must.

    Args:
        spec: a Vega-Lite spec, as Altair's ``to_dict()`` gives it; it is not changed.

    Raises:
        TypeError: if ``spec`` is no dict.
    """
    if not isinstance(spec, dict):
        raise TypeError(f"spec={spec!r:.80} is {type(spec).__name__}: give a Vega-Lite spec as a dict, chart.to_dict()")
    spec = dict(spec)
    single = "mark" in spec or "layer" in spec
    wide = single and isinstance(spec.get("width"), (int, float)) and spec["width"] >= LEAST_PX
    options = dict(EMBED_OPTIONS)
    room = f"({_ROOM} - 16 + 0 * width)" if wide else str(spec.get("width", WIDTH) if single else WIDTH)
    if wide:
        # the patch appends to the signals of the compiled chart; a parameter makes sure that there are some
        spec["params"] = spec.get("params") or [{"name": "fits", "value": True}]
        options["patch"] = FOLLOW
        beside = any(mark["type"] == "text" and mark.get("align") == "left" for mark, _ in _marks(spec))
        spec.setdefault("padding", {"left": 8, "top": 8, "bottom": 8, "right": BESIDE_PX if beside else 16})
        named_rows = isinstance(
            spec.get("height"), dict
        )  # a step: names stand at the left, and take room from the plot
        plot = f"{room} - {NAMES_PX if named_rows else 0}"
        axis_x = {"titleAnchor": "end"} if named_rows else {}
        config = spec.get("config", {})
        spec["config"] = config | {
            "legend": config.get("legend", {}) | {"columns": _legend_columns(spec, plot)},
            "axisX": axis_x | config.get("axisX", {}),
        }
    if single and not spec.get("title"):
        layers = [dict(layer) for layer in spec.get("layer", [])]
        titles = [layer.pop("title") for layer in layers if layer.get("title")]
        if len(titles) == 1:  # the title of a layer is drawn as that of the chart, so it may as well be
            spec |= {"layer": layers, "title": titles[0]}
    if title := spec.get("title"):
        title = dict(title) if isinstance(title, dict) and "expr" not in title else {"text": title}
        if wide and "projection" not in spec:  # marks of a map reach over its frame
            title["frame"] = "bounds"  # from the left edge of the whole chart: there the room is known
        for part, letter_px in (("text", TITLE_PX), ("subtitle", SUBTITLE_PX)):
            if title.get(part):
                title[part] = _wrapped(title[part], letter_px, room)
        spec["title"] = title
    spec["usermeta"] = {**spec.get("usermeta", {}), "embedOptions": options}
    return spec


def render(spec: dict[str, Any], **_: Any) -> dict[str, Any]:
    """The MIME bundle of a chart.

    Args:
        spec: a Vega-Lite spec, as Altair's ``to_dict()`` gives it.

    Raises:
        TypeError: if ``spec`` is no dict.
    """
    if not isinstance(spec, dict):
        raise TypeError(f"spec={spec!r:.80} is {type(spec).__name__}: give a Vega-Lite spec as a dict, chart.to_dict()")
    words = [part.rstrip(".") for part in (_text(spec.get("title")), spec.get("description", "")) if part]
    spec = fit(_round_data(spec))
    spec["$schema"] = SCHEMA
    return {MIME: spec, "text/plain": f"[chart] {'. '.join(words)}."}


alt.renderers.register(NAME, render)


def enable() -> None:
    """Use this renderer for every chart of this kernel."""
    alt.renderers.enable(NAME)
