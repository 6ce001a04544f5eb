"""Lines: how a quantity changes along another, with the spread over seeds as a band."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from greenlab.core.checks import flag, integer
from greenlab.lab.charts.frames import (
    MAX_COLORS,
    check_band,
    check_chart_columns,
    check_needed_columns,
    require_few,
    require_finite,
    require_unique,
)
from greenlab.lab.charts.parts import Goal, check_format, check_words, finish, goal_line, number_tooltip
from greenlab.lab.charts.slider import Slider, slider_column, span
from greenlab.lab.theme import HEIGHT, WIDTH


def lines(
    data: pd.DataFrame,
    x: str,
    y: str,
    *,
    title: str,
    description: str,
    x_title: str,
    y_title: str,
    color: str | None = None,
    color_title: str | None = None,
    band: tuple[str, str] | None = None,
    goal: Goal | None = None,
    marks: bool = True,
    zero: bool = False,
    y_format: str | None = None,
    slider: Slider | None = None,
    subtitle: str | list[str] | None = None,
    max_colors: int = MAX_COLORS,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> alt.LayerChart:
    """Draw one line per category, with an optional band for the spread (seeds, a modelled range).

    Args:
        data: one row per point; the columns ``x`` (a number or a time) and ``y``, and those named below.
        x: column along the horizontal axis.
        y: column along the vertical axis.
        title: the finding, as a sentence.
        description: what the chart shows, for readers who do not see it.
        x_title: what x is, with its unit.
        y_title: what y is, with its unit.
        color: column whose values become lines of their own; they also differ in the shape of their marks, or in
            dash where there are no marks.
        color_title: heading of the legend.
        band: columns with the low and the high end of the spread around each point.
        goal: a value on the y axis and its words, drawn as a dashed line.
        marks: draw each point as well; switch off for more than about fifty.
        zero: start the y axis at zero.
        y_format: d3 format of the axis labels, such as "%" for fractions; Vega chooses by default.
        slider: lets the reader choose one value of a further column (the axes stay as they are).
        subtitle: how to read the chart, or what it was measured on; a list has a line for each text.
        max_colors: how many categories are allowed.
        width: of the plot [px].
        height: of the plot [px].

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing, a value is missing or infinite, a point occurs twice, or there are too many
            categories.
    """
    check_needed_columns(data, x=x, y=y)
    check_chart_columns(data, color=color)
    ends = check_band(data, band)
    by_color, by_slider = [color] if color is not None else [], slider_column(data, slider)
    check_words(x_title=x_title, y_title=y_title)
    if color_title is not None:
        check_words(color_title=color_title)
    if y_format is not None:
        check_format("y_format", y_format)
    marks, zero = flag("marks", marks), flag("zero", zero)
    max_colors = integer("max_colors", max_colors, low=1)
    is_time = pd.api.types.is_datetime64_any_dtype(data[x])
    require_finite(data, *([] if is_time else [x]), y, *ends)
    require_unique(data, x, *by_color, *by_slider)
    if is_time:
        x_axis, x_tooltip = (
            alt.X(f"{x}:T", title=x_title),
            alt.Tooltip(f"{x}:T", title=x_title, format="%Y-%m-%d %H:%M"),
        )
    else:
        x_axis, x_tooltip = alt.X(f"{x}:Q", title=x_title).scale(zero=False, nice=False), number_tooltip(x, x_title)
    scale = alt.Scale(zero=zero, nice=True)
    if slider:
        scale = alt.Scale(domain=span(data, y, *(band or ()), zero=zero), nice=True)
    y_axis = alt.Y(f"{y}:Q", title=y_title, scale=scale).axis(format=y_format or alt.Undefined)
    tooltip = [x_tooltip, number_tooltip(y, y_title)]
    tooltip += [number_tooltip(column, end) for column, end in zip(band or (), ("low", "high"), strict=False)]
    shade: dict[str, Any] = {}
    dash: dict[str, Any] = {}
    shape: dict[str, Any] = {}
    if color:
        order, field = alt.Scale(domain=require_few(data, color, max_colors)), f"{color}:N"
        legend = alt.Legend(symbolOpacity=1)  # else the pale band lends the legend its opacity
        shade = {"color": alt.Color(field, title=color_title, scale=order, legend=legend)}
        if marks:
            shape = {"shape": alt.Shape(field, title=color_title, scale=order)}
        else:
            dash = {"strokeDash": alt.StrokeDash(field, title=color_title, scale=order)}
        tooltip.insert(0, alt.Tooltip(field, title=color_title or color))
    base = alt.Chart(data).encode(x=x_axis, **shade)
    layers: list[Any] = []
    if band:
        edge = alt.Y(f"{band[0]}:Q", title=y_title, scale=scale)
        layers.append(base.mark_area(opacity=0.2).encode(y=edge, y2=f"{band[1]}:Q"))
    layers.append(base.mark_line().encode(y=y_axis, tooltip=tooltip, **dash))
    if marks:
        layers.append(base.mark_point(filled=True, opacity=1).encode(y=y_axis, tooltip=tooltip, **shape))
    return finish(
        [*layers, *goal_line(goal, "y", y_title)],
        data,
        title=title,
        description=description,
        subtitle=subtitle,
        slider=slider,
        width=width,
        height=height,
    )
