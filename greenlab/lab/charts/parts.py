"""What all charts are put together from: titles, tooltips, a goal line, and pale marks for modelled values."""

from __future__ import annotations

import re
from typing import Any, Literal

import altair as alt
import pandas as pd

from greenlab.core.checks import integer, number, text
from greenlab.lab.charts.frames import BASES
from greenlab.lab.charts.slider import Slider, with_slider
from greenlab.lab.theme import INK

NUMBER = ",.4~g"  # d3: four significant digits, thousands separated
# A tick in the units of the axis, or in words from a million on: "200m" and "0.2k" are riddles. A logarithmic axis
# leaves some ticks without a label.
PLAIN = (
    "datum.label === '' ? '' : "
    + "".join(
        f"abs(datum.value) >= {least} ? format(datum.value / {least}, '~g') + ' {word}' : "
        for least, word in (("1e12", "trillion"), ("1e9", "billion"), ("1e6", "million"))
    )
    + "format(datum.value, ',.12~g')"
)
COMPONENTS = ["cpu", "dram", "gpu"]  # a fixed order keeps colours equal in all chapters
MOST_PX = 10_000  # of a plot's width or height: more is no picture on any screen
Goal = tuple[float, str]  # a value on an axis and the words written beside it
# [[fill]align][sign][symbol][0][width][,][.precision][~][type], https://d3js.org/d3-format
_D3_FORMAT = re.compile(r"(.?[<>=^])?[-+( ]?[$#]?0?\d*,?(\.\d+)?~?[a-zA-Z%]?")


def check_words(**words: Any) -> None:
    """Raise TypeError unless each of these arguments of a chart is a text."""
    for name, value in words.items():
        text(name, value)


def check_subtitle(subtitle: Any) -> None:
    """Raise TypeError unless the subtitle is a text, a list of lines or None."""
    lines = subtitle if isinstance(subtitle, list) else [subtitle]
    if not all(line is None or isinstance(line, str) for line in lines):
        raise TypeError(f"subtitle={subtitle!r:.80} is {type(subtitle).__name__}: give words, a list of lines, or None")


def check_format(name: str, value: Any) -> None:
    """Raise unless a chart's argument is a d3 format of numbers, such as ".2f" or "%".

    Raises:
        TypeError: if it is no text.
        ValueError: if it is empty, or no format.
    """
    text(name, value, remedy='a d3 format such as ".2f"')
    if not value or not _D3_FORMAT.fullmatch(value):
        raise ValueError(f'{name}={value!r:.80} is no d3 format: give one such as ".2f", "%" or ",.4~g"')


def finish(
    layers: list[Any],
    data: pd.DataFrame,
    *,
    title: str,
    description: str,
    subtitle: str | list[str] | None,
    slider: Slider | None,
    width: int,
    height: int | alt.Step,
) -> alt.LayerChart:
    """Layer the marks and give the chart its words, its size and its slider.

    Raises:
        ValueError: if the title or the description is empty, or the width or the height is outside 1 to 10,000 pixels.
        TypeError: if the title, the description, the subtitle or a size is of another kind.
    """
    for name, words in (("title", title), ("description", description)):
        if not isinstance(words, str):
            raise TypeError(f"{name}={words!r:.80} is {type(words).__name__}: give words")
        if not words.strip():
            raise ValueError(
                f"{name} is empty; the title states the finding, the description tells it to a screen reader"
            )
    check_subtitle(subtitle)
    width = integer("width", width, low=1, high=MOST_PX)
    height = height if isinstance(height, alt.Step) else integer("height", height, low=1, high=MOST_PX)
    heading = alt.Title(title, subtitle=subtitle) if subtitle else alt.Title(title)
    chart: alt.LayerChart = with_slider(alt.layer(*layers), data, slider)
    return chart.properties(title=heading, description=description, width=width, height=height)


def number_tooltip(column: str, title: str) -> alt.Tooltip:
    """A line of the tooltip with a number in it."""
    return alt.Tooltip(f"{column}:Q", format=NUMBER, title=title)


def basis_opacity(column: str) -> alt.Opacity:
    """Measured marks are solid, modelled ones pale."""
    return alt.Opacity(f"{column}:O", title="Basis", sort=BASES).scale(domain=BASES, range=[1.0, 0.4])


def goal_line(goal: Goal | None, axis: Literal["x", "y"], title: str) -> list[alt.Chart]:
    """A dashed line across the chart with its words: what counts as good is part of the picture."""
    if goal is None:
        return []
    if not isinstance(goal, tuple) or len(goal) != 2 or not isinstance(goal[1], str):
        raise TypeError(f"goal={goal!r:.80}: give a value on the axis and its words, such as (0.5, 'half')")
    value, words = number("goal", goal[0]), goal[1]
    base = alt.Chart(pd.DataFrame({"goal": [value], "words": [words]}))
    if axis == "y":
        base = base.encode(alt.Y("goal:Q", title=title))
        text = base.mark_text(align="right", baseline="bottom", dx=-4, dy=-3).encode(x=alt.value("width"))
    else:
        base = base.encode(alt.X("goal:Q", title=title))
        text = base.mark_text(align="left", baseline="bottom", dx=5, dy=-2).encode(y=alt.value(0))
    return [base.mark_rule(strokeDash=[5, 4], strokeWidth=1.5, color=INK), text.encode(alt.Text("words:N"))]
