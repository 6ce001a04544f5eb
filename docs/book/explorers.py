"""What the explorers of the pages need from Python: their controls, their charts, and the numbers they compute with.

The scripts in ``docs/_static/explorers`` do the arithmetic of a chapter's widget in the page. Everything that is not
arithmetic is written here at the build: controls and charts are those of the widget itself, numbers those of the facts
and studies. It is written as a script that sets a variable, as a page that is opened as a file may not read others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ipywidgets as W

from greenlab.lab.widgets import Explorer

Data = dict[str, Any]
FOLDER = "explorers"  # below _static


def control(widget: W.ValueWidget) -> Data:
    """A control of a widget as the page makes it: kind, label, value, and what may be chosen.

    Args:
        widget: a control of ipywidgets.

    Raises:
        TypeError: if the page has no such control.

    >>> control(W.IntSlider(value=2, min=0, max=4, description="Slack [h]"))
    {'label': 'Slack [h]', 'value': 2, 'kind': 'range', 'min': 0, 'max': 4, 'step': 1}
    """
    found: Data = {"label": widget.description, "value": widget.value}
    if isinstance(widget, (W.Dropdown, W.SelectionSlider)):
        kind = "select" if isinstance(widget, W.Dropdown) else "steps"
        options = widget.options.items() if isinstance(widget.options, Mapping) else widget.options
        pairs = [option if isinstance(option, tuple) else (f"{option:,}" if isinstance(option, int) else str(option), option)
                 for option in options]  # fmt: skip
        return found | {"kind": kind, "options": [[str(words), value] for words, value in pairs]}
    if isinstance(widget, (W.IntSlider, W.FloatSlider)):
        return found | {"kind": "range", "min": widget.min, "max": widget.max, "step": widget.step}
    if isinstance(widget, W.Checkbox):
        return found | {"kind": "check"}
    if isinstance(widget, W.FloatText):
        return found | {"kind": "number"}
    if isinstance(widget, W.Text):
        return found | {"kind": "text"}
    raise TypeError(f"widget={widget!r:.80} is {type(widget).__name__}: the page has no such control yet")


def described(explorer: Explorer) -> Data:
    """Controls, goal and first chart of a widget."""
    spec = explorer.panel.spec
    controls = {name: control(one) for name, one in explorer.controls.items()}
    return {"controls": controls, "goal": explorer._goal_text, "spec": spec, "description": spec.get("description", "")}


def footprint() -> Data:
    """Chapter 1: the chips and grids of the training calculator, the searches of a day."""
    from greenlab.core.energy.receipt import grid_intensity
    from greenlab.core.facts import value
    from greenlab.footprint import tables
    from greenlab.footprint.view import widgets

    training = described(widgets.training_widget(tables.trainings())) | {
        "chips": {
            words: {"flops_per_s": 1e12 * value(f"{id}.peak_dense_tflops_bf16"), "power_w": value(f"{id}.tdp_w")}
            for words, id in widgets.CHIPS.items()
        },
        "grids": {
            code: {"name": grid_intensity(code).name, "intensity_g_per_kwh": grid_intensity(code).intensity_g_per_kwh}
            for code in widgets.GRIDS
        },
        "utilization": widgets.UTILIZATION, "pue": widgets.PUE, "goal_t": widgets.GOAL_T,
    }  # fmt: skip
    marks = tables.yardsticks()
    near = marks[~marks["label"].isin(["Germany", "Japan"])]  # as in the chapter
    search = described(widgets.search_widget(near)) | {
        "searches_per_day": value("google-searches"), "ireland_twh": value("ireland-electricity-2024"),
    }  # fmt: skip
    return {"training_widget": training, "search_widget": search}


CHAPTERS: dict[str, Callable[[], Data]] = {"footprint": footprint}


def script(chapter: str) -> str:
    """The script with the data of a chapter's explorers.

    Args:
        chapter: a name of `CHAPTERS`.
    """
    text = json.dumps(CHAPTERS[chapter](), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"globalThis.greenlab ??= {{}};\ngreenlab.data ??= {{}};\ngreenlab.data.{chapter} = {text};\n"


def write(folder: Path) -> list[Path]:
    """Write the data of all explorers.

    Args:
        folder: ``_static/explorers`` of the site.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for chapter in CHAPTERS:
        path = folder / f"{chapter}.data.js"
        path.write_text(script(chapter), encoding="utf-8")
        found.append(path)
    return found
