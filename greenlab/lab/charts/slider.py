"""A slider inside a chart: the static twin of a widget, which still moves where no Python runs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import altair as alt
import pandas as pd
from pandas.api.types import is_numeric_dtype

from greenlab.core.checks import flag, number
from greenlab.lab.charts.frames import check_chart_columns, check_columns, check_rows, require_finite


@dataclass(frozen=True)
class Slider:
    """Show one value of a column at a time, chosen by the reader with a slider that Vega draws under the chart.

    Attributes:
        column: what the slider chooses; its values must be evenly spaced.
        label: the words beside the slider, with the unit.
        value: where the slider stands at first, one of the column's values; the smallest by default.

    Raises:
        TypeError: if a name is no text, or ``value`` no number.
        ValueError: if a text is empty, or ``value`` is not finite.
    """

    column: str
    label: str
    value: float | None = None

    def __post_init__(self) -> None:
        for name in ("column", "label"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name}={getattr(self, name)!r:.80}: give words")
        if self.value is not None:
            number("value", self.value)
        if not self.column:
            raise ValueError("column is empty; give the name of the column whose values the slider chooses")
        if not self.label.strip():
            raise ValueError("label is empty; say what the slider chooses, with its unit, for example 'Layers removed'")


def span(data: pd.DataFrame, *columns: str, zero: bool = False) -> list[float]:
    """The least and the greatest value of some columns, so that axes stand still while a slider moves.

    Args:
        data: the frame.
        columns: names of columns with numbers, one or more.
        zero: whether 0 lies between them, too.

    Raises:
        TypeError: if ``data`` is no frame, a column's name no text, or ``zero`` no boolean.
        ValueError: if no column is named, one is missing or holds no numbers, or there is no row.

    >>> span(pd.DataFrame({"low": [1.0, 2.0], "high": [3.0, 5.0]}), "low", "high", zero=True)
    [0.0, 5.0]
    """
    if not columns:
        raise ValueError("columns is empty: name one column or more")
    check_columns("data", data, columns)
    check_rows("data", data)
    flag("zero", zero)
    for column in columns:
        if not is_numeric_dtype(data[column]):
            raise ValueError(f"columns: {column} holds {data[column].dtype}, not numbers")
    low, high = float(data[list(columns)].min().min()), float(data[list(columns)].max().max())
    return [min(low, 0.0), max(high, 0.0)] if zero else [low, high]


def slider_column(data: pd.DataFrame, slider: Any) -> list[str]:
    """The column that a slider chooses by, in a list, which is empty without a slider.

    Raises:
        TypeError: if ``slider`` is no `Slider`.
        ValueError: if the column is missing.
    """
    if slider is None:
        return []
    if not isinstance(slider, Slider):
        raise TypeError(f"slider={slider!r:.80} is {type(slider).__name__}: give Slider(column, label) or None")
    check_chart_columns(data, slider=slider.column)
    return [slider.column]


def with_slider(chart: Any, data: pd.DataFrame, slider: Slider | None) -> Any:
    """Add a slider to a chart of ``data``; the builders of this package do it for you (``slider=``).

    Raises:
        ValueError: if the column's values are fewer than two or unevenly spaced, or the first value is not one of them.
    """
    if slider is None:
        return chart
    (column,) = slider_column(data, slider)
    require_finite(data, column)
    values = sorted(float(value) for value in data[column].unique())
    steps = [high - low for low, high in pairwise(values)]
    if not steps or max(steps) - min(steps) > 1e-6 * max(steps):
        raise ValueError(f"column {column} has the values {values[:6]}; a slider needs two or more, evenly spaced")
    start, step = values[0] if slider.value is None else slider.value, (values[-1] - values[0]) / len(steps)
    if min(abs(start - value) for value in values) > 1e-6 * step:
        raise ValueError(f"value is {start:g}; the slider can stand at {', '.join(f'{v:g}' for v in values[:8])}")
    name = f"choose_{column}"
    bind = alt.binding_range(min=values[0], max=values[-1], step=step, name=f"{slider.label}: ")
    # half a step instead of equality: the browser's slider adds steps in floating point
    near = f"abs(datum['{column}'] - {name}) < {step / 2}"
    return _filter(chart, data, near).add_params(alt.param(name=name, value=start, bind=bind))


def _filter(chart: Any, data: pd.DataFrame, condition: str) -> Any:
    """Filter the marks that draw ``data``; a goal line has data of its own and stays."""
    if chart.data is data or not isinstance(chart, alt.LayerChart):
        return chart.transform_filter(condition)
    chart = chart.copy()
    chart.layer = [layer.transform_filter(condition) if layer.data is data else layer for layer in chart.layer]
    return chart
