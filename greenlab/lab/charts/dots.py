"""Dots on a line: several values for each of a few things, such as what a paper printed and what two formulas give."""

from __future__ import annotations

import altair as alt
import pandas as pd

from greenlab.core.checks import flag, integer
from greenlab.lab.charts.frames import MAX_COLORS, check_needed_columns, require_few, require_finite, require_unique
from greenlab.lab.charts.parts import check_words, finish, number_tooltip
from greenlab.lab.theme import GRID, WIDTH


def dots(
    data: pd.DataFrame,
    label: str,
    value: str,
    series: str,
    *,
    title: str,
    description: str,
    x_title: str,
    log_x: bool = False,
    subtitle: str | list[str] | None = None,
    max_colors: int = MAX_COLORS,
    width: int = WIDTH,
) -> alt.LayerChart:
    """Draw one line per label with a dot for each series; series differ in shape as well as in colour.

    Args:
        data: one row per label and series, labels in the order to draw them.
        label: column with the words beside each line.
        value: column with the place of each dot.
        series: column saying what a dot is.
        title: the finding, as a sentence.
        description: what the chart shows, for readers who do not see it.
        x_title: what the value is, with its unit.
        log_x: logarithmic axis.
        subtitle: how to read the chart; a list has a line for each text.
        max_colors: how many series are allowed.
        width: of the plot [px].

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing, a value is missing or infinite (or not above 0 on a logarithmic axis), a
            pair occurs twice, or there are too many series.
    """
    check_needed_columns(data, label=label, value=value, series=series)
    check_words(x_title=x_title)
    log_x = flag("log_x", log_x)
    max_colors = integer("max_colors", max_colors, low=1)
    require_finite(data, value)
    require_unique(data, label, series)
    if log_x and (data[value] <= 0).any():
        raise ValueError(f"column {value} has values of 0 or less, which a logarithmic axis cannot show; filter them")
    order = alt.Scale(domain=require_few(data, series, max_colors))
    scale = alt.Scale(type="log") if log_x else alt.Scale(zero=True, nice=True)
    y = alt.Y(f"{label}:N", title=None, sort=None).axis(domain=False, ticks=False, labelPadding=8)
    base = alt.Chart(data).encode(y=y, x=alt.X(f"{value}:Q", title=x_title, scale=scale))
    span = alt.Chart(data).mark_rule(color=GRID, strokeWidth=3)
    ends = {"x": alt.X(f"min({value}):Q", title=x_title, scale=scale), "x2": f"max({value}):Q"}
    marks = base.mark_point(filled=True, size=110, opacity=1).encode(
        color=alt.Color(f"{series}:N", title=None, scale=order),
        shape=alt.Shape(f"{series}:N", title=None, scale=order),
        tooltip=[alt.Tooltip(f"{label}:N"), alt.Tooltip(f"{series}:N"), number_tooltip(value, x_title)],
    )
    return finish(
        [span.encode(y=y, **ends), marks], data, title=title, description=description, subtitle=subtitle, slider=None,
        width=width, height=alt.Step(34),
    )  # fmt: skip
