"""Heat maps: one value for each pair, such as an intensity for each hour and month."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from greenlab.lab.charts.frames import check_needed_columns, require_finite, require_unique
from greenlab.lab.charts.parts import check_format, check_words, finish, number_tooltip
from greenlab.lab.charts.slider import Slider, slider_column, span
from greenlab.lab.theme import INK, WIDTH

MAX_TICKS = 16  # more labels than this on an axis are thinned out


def _axis(data: pd.DataFrame, column: str, title: str, channel: Any) -> Any:
    values = data[column].unique().tolist()
    every = -(-len(values) // MAX_TICKS)
    axis = alt.Axis(values=values[::every], labelAngle=0) if every > 1 else alt.Axis(labelAngle=0)
    return channel(f"{column}:O", title=title, sort=values, axis=axis).scale(paddingInner=0)


def heatmap(
    data: pd.DataFrame,
    x: str,
    y: str,
    value: str,
    *,
    title: str,
    description: str,
    x_title: str,
    y_title: str,
    value_title: str,
    label_format: str | None = None,
    scheme: Any = "viridis",
    slider: Slider | None = None,
    subtitle: str | list[str] | None = None,
    width: int = WIDTH,
    height: int | None = None,
) -> alt.LayerChart:
    """Draw one cell per pair of x and y, in the order in which the data lists them; brighter means more.

    Args:
        data: one row per cell; pairs may be missing (they stay white).
        x: column along the horizontal axis.
        y: column along the vertical axis, the first value on top.
        value: column that colours the cells.
        title: the finding, as a sentence.
        description: what the chart shows, for readers who do not see it.
        x_title: what x is, with its unit.
        y_title: what y is, with its unit.
        value_title: what the colour means, with its unit.
        label_format: d3 format of the figure in each cell; None draws none (for more than about 100 cells).
        scheme: a Vega colour scheme that grows lighter evenly, so that it survives a grey print.
        slider: lets the reader choose one value of a further column (the axes stay as they are).
        subtitle: how to read the chart, or what it was measured on; a list has a line for each text.
        width: of the plot [px].
        height: of the plot [px]; by default from the number of rows.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing, a value is missing or infinite, or a pair occurs twice.
    """
    check_needed_columns(data, x=x, y=y, value=value)
    check_words(x_title=x_title, y_title=y_title, value_title=value_title)
    if label_format is not None:
        check_format("label_format", label_format)
    require_finite(data, value)
    require_unique(data, x, y, *slider_column(data, slider))
    x_axis, y_axis = _axis(data, x, x_title, alt.X), _axis(data, y, y_title, alt.Y)
    tooltip = [alt.Tooltip(f"{x}:O", title=x_title), alt.Tooltip(f"{y}:O", title=y_title)]
    legend = alt.Legend(orient="right", direction="vertical", titleOrient="top", gradientLength=140)
    cells = (
        alt.Chart(data)
        .mark_rect()
        .encode(
            x=x_axis,
            y=y_axis,
            color=alt.Color(f"{value}:Q", title=value_title, legend=legend).scale(
                scheme=scheme, domain=span(data, value)
            ),
            tooltip=[*tooltip, number_tooltip(value, value_title)],
        )
    )
    layers: list[Any] = [cells]
    if label_format is not None:
        middle = sum(span(data, value)) / 2
        ink = alt.condition(f"datum['{value}'] < {middle}", alt.value("white"), alt.value(INK))
        figures = (
            alt.Chart(data).mark_text().encode(x=x_axis, y=y_axis, text=alt.Text(f"{value}:Q", format=label_format))
        )
        layers.append(figures.encode(color=ink))
    rows = data[y].nunique()
    return finish(
        layers,
        data,
        title=title,
        description=description,
        subtitle=subtitle,
        slider=slider,
        width=width,
        height=max(90, min(360, rows * 30)) if height is None else height,
    )
