"""Points: a cost against a benefit, such as energy against loss, with the name written beside each point."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from greenlab.core.checks import flag, integer
from greenlab.lab.charts.frames import (
    BASES,
    MAX_COLORS,
    check_chart_columns,
    check_needed_columns,
    require_basis,
    require_few,
    require_finite,
)
from greenlab.lab.charts.parts import PLAIN, Goal, check_subtitle, check_words, finish, goal_line, number_tooltip
from greenlab.lab.charts.slider import Slider, slider_column, span
from greenlab.lab.theme import BLUE, HEIGHT, WIDTH


def points(
    data: pd.DataFrame,
    x: str,
    y: str,
    *,
    title: str,
    description: str,
    x_title: str,
    y_title: str,
    label: str | None = None,
    color: str | None = None,
    color_title: str | None = None,
    basis: str | None = None,
    goal: Goal | None = None,
    log_x: bool = False,
    log_y: bool = False,
    slider: Slider | None = None,
    subtitle: str | list[str] | None = None,
    max_colors: int = MAX_COLORS,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> alt.LayerChart:
    """Draw one point per row; measured points are filled, modelled ones hollow.

    Args:
        data: one row per point.
        x: column along the horizontal axis.
        y: column along the vertical axis.
        title: the finding, as a sentence.
        description: what the chart shows, for readers who do not see it.
        x_title: what x is, with its unit.
        y_title: what y is, with its unit.
        label: column with the words beside each point.
        color: column of the category; categories also differ in shape.
        color_title: heading of the legend.
        basis: column saying measured or modelled.
        goal: a value on the y axis and its words, drawn as a dashed line.
        log_x: logarithmic x axis.
        log_y: logarithmic y axis.
        slider: lets the reader choose one value of a further column (the axes stay as they are).
        subtitle: how to read the chart, or what it was measured on; a list has a line for each text.
        max_colors: how many categories are allowed.
        width: of the plot [px].
        height: of the plot [px].

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing, a value is missing or infinite (or not above 0 on a logarithmic axis), a
            basis is unknown, or there are too many categories.
    """
    check_needed_columns(data, x=x, y=y)
    check_chart_columns(data, label=label, color=color, basis=basis)
    slider_column(data, slider)
    check_words(x_title=x_title, y_title=y_title)
    if color_title is not None:
        check_words(color_title=color_title)
    check_subtitle(subtitle)
    log_x, log_y = flag("log_x", log_x), flag("log_y", log_y)
    max_colors = integer("max_colors", max_colors, low=1)
    require_finite(data, x, y)
    for column, is_log in ((x, log_x), (y, log_y)):
        if is_log and (data[column] <= 0).any():
            raise ValueError(
                f"column {column} has values of 0 or less, which a logarithmic axis cannot show; filter them"
            )
    tooltip = [number_tooltip(x, x_title), number_tooltip(y, y_title)]
    tooltip = [*(alt.Tooltip(f"{column}:N") for column in (label, color, basis) if column), *tooltip]
    axes: dict[str, Any] = {}
    for channel, column, text, is_log in ((alt.X, x, x_title, log_x), (alt.Y, y, y_title, log_y)):
        axis = channel(f"{column}:Q", title=text).axis(labelExpr=PLAIN if is_log else alt.Undefined)
        scale: dict[str, Any] = {"type": "log"} if is_log else {"zero": False, "padding": 24}
        if slider:
            scale |= {"domain": span(data, column)}
        axes[channel.__name__.lower()] = axis.scale(**scale)
    extra: dict[str, Any] = {}
    notes = list(subtitle) if isinstance(subtitle, list) else [subtitle] if subtitle else []
    if color:
        order = alt.Scale(domain=require_few(data, color, max_colors))
        extra["fill"] = alt.Fill(f"{color}:N", title=color_title, scale=order)
        extra["stroke"] = alt.Stroke(f"{color}:N", title=color_title, scale=order)
        extra["shape"] = alt.Shape(f"{color}:N", title=color_title, scale=order)
    if basis:
        require_basis(data, basis)
        extra["fillOpacity"] = alt.FillOpacity(f"{basis}:O", legend=None, sort=BASES).scale(
            domain=BASES, range=[1.0, 0.0]
        )
        if (data[basis] == BASES[1]).any():  # Vega draws no legend for fillOpacity
            notes = [*notes, "Filled points were measured, hollow ones are modelled"]
    base = alt.Chart(data).encode(**axes)
    outlined = base.mark_point(size=110, fill=BLUE, stroke=BLUE, strokeWidth=2, opacity=1)
    layers: list[Any] = [outlined.encode(tooltip=tooltip, **extra)]
    if label:
        words = base.encode(text=f"{label}:N")
        halo = words.mark_text(align="left", dx=10, stroke="white", strokeWidth=4)  # legible where lines pass behind
        layers = [halo, *layers, words.mark_text(align="left", dx=10)]  # a halo must not hide a neighbour's point
    return finish(
        [*goal_line(goal, "y", y_title), *layers],
        data,
        title=title,
        description=description,
        subtitle=notes,
        slider=slider,
        width=width,
        height=height,
    )
