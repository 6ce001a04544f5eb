"""The questions that a chapter asks before it shows a number, as controls that work in the page.

``predict`` is called once more, at build time, for the slider that it makes: the page has the same stops, the same
start and the same words as the notebook. ``reveal`` is not called; the page compares with the number that is stored.
"""

from __future__ import annotations

import ast
import html
import json
import math
import os
import re
import tempfile
from dataclasses import dataclass
from typing import Any
from unittest import mock

import ipywidgets as W

from greenlab.lab import predictions

_ANSWER = re.compile(r"The answer:\s+(?P<number>[-−\d.,e+]+)(?:[ \u00a0]|$)(?P<rest>[^\n]*)(?P<details>.*)", re.S)


def call(source: str, name: str) -> ast.Call | None:
    r"""The first call of a function in a cell, however deep it stands; None without one.

    >>> call("x = 1\nreveal('ternary', x)", "reveal").args[0].value
    'ternary'
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _name(node.func) == name:
            return node
    return None


def calls(source: str) -> set[str]:
    r"""The names of all functions that a cell calls.

    >>> sorted(calls("explorer = view.cut_explorer(model)\nprint(1)"))
    ['cut_explorer', 'print']
    """
    return {_name(node.func) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)} - {""}


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


@dataclass(frozen=True)
class Asked:
    """A question of a chapter, as its cell asks it."""

    id: str
    question: str
    unit: str
    scale: str
    low: float
    high: float
    step: float
    value: float


def asked(source: str) -> Asked:
    """The question that a cell asks, with the stops of its slider: powers of ten on a log scale.

    Raises:
        ValueError: if the cell asks nothing, or an argument is computed: the page could not know it.

    >>> asked("predict('a-b', 'How many?', low=0, high=20, default=3, unit='layers')").high
    20.0
    """
    node = call(source, "predict")
    if node is None:
        raise ValueError(f"the cell asks for no prediction: {source[:80]!r}")
    try:
        positional = [ast.literal_eval(argument) for argument in node.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg}
    except ValueError as error:
        raise ValueError(
            f"predict(...) has an argument that is computed; the page needs plain ones: {source[:80]!r}"
        ) from error
    # without a state, as a prediction of whoever builds the site would move the slider
    with tempfile.TemporaryDirectory() as empty, mock.patch.dict(os.environ, GREENLAB_STATE=empty):
        widget = predictions.predict(*positional, **named)
    slider: Any = widget.slider
    log = isinstance(slider, W.FloatLogSlider)
    value = math.log10(slider.value) if log else float(slider.value)
    return Asked(
        widget.id,
        positional[1] if len(positional) > 1 else named["question"],
        str(named.get("unit", "")),
        "log" if log else "linear",
        float(slider.min),
        float(slider.max),
        float(slider.step),
        round(value, 10),
    )


def control(question: Asked) -> str:
    """The slider of a question and its button, as HTML."""
    q, unit, key = html.escape(question.question), html.escape(question.unit or "answer"), html.escape(question.id)
    data = json.dumps(question.__dict__, ensure_ascii=False).replace("</", "<\\/")
    return (
        f'<form class="gl-predict" id="predict-{key}"><script type="application/json">{data}</script>'
        f'<p><label for="answer-{key}"><b>{q}</b></label></p>'
        f'<p class="gl-row"><input type="range" id="answer-{key}" min="{question.low:g}" max="{question.high:g}" '
        f'step="{question.step:g}" value="{question.value:g}"> <output for="answer-{key}">{unit}</output> '
        '<button type="submit">Commit</button></p>'
        "<noscript><p>To keep an answer, this page needs JavaScript; without it, write yours down.</p></noscript>"
        '<p role="status" aria-live="polite">Move the slider, then press Commit. The first commit counts; there is no '
        "penalty for being wrong.</p></form>"
    )


def answer(source: str, stored: str, question: Asked) -> str:
    """The reveal of a question as HTML: folded until the reader has committed.

    Args:
        source: the cell with ``reveal(...)``.
        stored: the HTML that the notebook stores, with the answer behind a fold.
        question: what was asked.

    Raises:
        ValueError: if the stored output has no answer, or the tolerance is computed.
    """
    found = _ANSWER.search(html.unescape(re.sub(r"<[^>]+>", "", stored)))
    node = call(source, "reveal")
    if found is None or node is None:
        raise ValueError(
            f"no answer is stored for the prediction {question.id!r}: execute the notebook without a state"
        )
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    tolerance = ast.literal_eval(given["tolerance"]) if "tolerance" in given else None
    truth = float(found["number"].replace(",", "").replace("−", "-"))
    data = {"id": question.id, "truth": truth, "unit": found["rest"].strip(), "tolerance": tolerance}
    key = html.escape(question.id)
    details = html.escape(found["details"].strip())
    text = json.dumps(data, ensure_ascii=False).replace("</", "<\\/")
    said = html.escape(f"{found['number']} {found['rest'].strip()}".strip())
    return (
        f'<div class="gl-reveal" id="reveal-{key}"><script type="application/json">{text}</script>'
        '<p role="status" aria-live="polite">You have not predicted yet. '
        f'<a href="#predict-{key}">Set the slider</a> first.</p>'
        f"<details><summary>Show me anyway</summary><p>The answer: <b>{said}</b></p>"
        + (f"<pre>{details}</pre>" if details else "")
        + "</details></div>"
    )
