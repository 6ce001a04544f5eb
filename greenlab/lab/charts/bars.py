"""Bars: amounts that start at zero, each with its range, and energy split into components."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from greenlab.lab.charts.frames import (
    check_band,
    check_chart_columns,
    check_columns,
    check_needed_columns,
    check_rows,
    require_basis,
    require_finite,
    require_unique,
)
from greenlab.lab.charts.parts import (
    COMPONENTS,
    NUMBER,
    PLAIN,
    Goal,
    basis_opacity,
    check_format,
    check_words,
    finish,
    goal_line,
    number_tooltip,
)
from greenlab.lab.charts.slider import Slider, slider_column, span
from greenlab.lab.theme import INK, WIDTH

BAR_STEP = alt.Step(36)  # pixels from one bar to the next


def bars_with_range(
    data: pd.DataFrame,
    label: str,
    value: str,
    *,
    title: str,
    description: str,
    x_title: str,
    band: tuple[str, str] | None = None,
    basis: str | None = None,
    goal: Goal | None = None,
    slider: Slider | None = None,
    value_format: str = NUMBER,
    subtitle: str | list[str] | None = None,
    width: int = WIDTH,
) -> alt.LayerChart:
    """Draw one horizontal bar per row, from zero, with a line for its range and the value in figures.

    Args:
        data: one row per bar, in the order to draw them.
        label: column with the words beside each bar.
        value: column with the length of each bar.
        title: the finding, as a sentence.
        description: what the chart shows, for readers who do not see it.
        x_title: what the length is, with its unit.
        band: columns with the low and the high end of each value's range.
        basis: column saying measured or modelled; modelled bars are pale.
        goal: a value on the axis and its words, drawn as a dashed line.
        slider: lets the reader choose one value of a further column (the axes stay as they are).
        value_format: d3 format of the figures at the bars.
        subtitle: how to read the chart, or what it was measured on; a list has a line for each text.
        width: of the plot [px].

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing, a value is missing or infinite, a label occurs twice, a basis is unknown.
    """
    check_needed_columns(data, label=label, value=value)
    check_chart_columns(data, basis=basis)
    ends = check_band(data, band)
    chosen = slider_column(data, slider)
    check_words(x_title=x_title)
    check_format("value_format", value_format)
    require_finite(data, value, *ends)
    require_unique(data, label, *chosen)
    tooltip = [alt.Tooltip(f"{label}:N"), number_tooltip(value, x_title)]
    tooltip += [number_tooltip(column, end) for column, end in zip(band or (), ("low", "high"), strict=False)]
    y_axis = alt.Y(f"{label}:N", title=None, sort=None).axis(domain=False, ticks=False, labelPadding=8)
    base = alt.Chart(data).encode(y=y_axis)
    bars = base.mark_bar(cornerRadiusEnd=2, height={"band": 0.7}).encode(
        x=alt.X(f"{value}:Q", title=x_title)
        .scale(domain=span(data, value, *(band or ()), zero=True), nice=True)
        .axis(labelExpr=PLAIN, tickCount=6)
    )
    if basis:
        require_basis(data, basis)
        bars = bars.encode(opacity=basis_opacity(basis))
        tooltip.append(alt.Tooltip(f"{basis}:N"))
    layers: list[Any] = [bars.encode(tooltip=tooltip)]
    if band:
        at = [alt.X(f"{end}:Q", title=x_title) for end in band]
        layers.append(base.mark_rule(strokeWidth=2).encode(x=at[0], x2=f"{band[1]}:Q"))
        layers += [base.mark_tick(thickness=2, size=9, color=INK).encode(x=end) for end in at]
    # the figure stands where its bar ends, above the whisker: at the whisker's end it would name the wrong place
    figure = base.mark_text(align="left", dx=7, dy=-9 if band else 0).encode(
        x=alt.X(f"{value}:Q", title=x_title), text=alt.Text(f"{value}:Q", format=value_format)
    )
    return finish(
        [*layers, figure, *goal_line(goal, "x", x_title)],
        data,
        title=title,
        description=description,
        subtitle=subtitle,
        slider=slider,
        width=width,
        height=BAR_STEP,
    )


def energy_bars(
    energy: pd.DataFrame, *, title: str, description: str, subtitle: str | list[str] | None = None, width: int = WIDTH
) -> alt.LayerChart:
    """Compare runs by energy: one bar per run, stacked by component; modelled joules are pale.

    Args:
        energy: one row per run and component, with the columns run, component, basis, energy_j [J].
        title: the finding, as a sentence.
        description: what the chart shows, for readers who do not see it.
        subtitle: how to read the chart, or what it was measured on; a list has a line for each text.
        width: of the plot [px].

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing, a run lists a component twice, or a component or a basis is unknown.
    """
    check_columns("energy", energy, ("run", "component", "basis", "energy_j"))
    check_rows("energy", energy)
    require_unique(energy, "run", "component")  # else repeats would silently stack up
    require_finite(energy, "energy_j")
    require_basis(energy, "basis")
    if unknown := sorted(set(energy["component"]) - set(COMPONENTS)):
        raise ValueError(f"column component has {', '.join(unknown)}; use {', '.join(COMPONENTS)}")
    used = [component for component in COMPONENTS if component in set(energy["component"])]
    bars = (
        alt.Chart(energy)
        .mark_bar(height={"band": 0.7}, stroke="white", strokeWidth=1)
        .encode(
            x=alt.X("energy_j:Q", title="Energy [J]").axis(labelExpr=PLAIN, tickCount=6),
            y=alt.Y("run:N", title=None, sort=None).axis(domain=False, ticks=False, labelPadding=8),
            color=alt.Color("component:N", title="Component").scale(domain=used),
            order=alt.Order("component:O"),
            opacity=basis_opacity("basis"),
            tooltip=["run:N", "component:N", "basis:N", number_tooltip("energy_j", "Energy [J]")],
        )
    )
    return finish(
        [bars],
        energy,
        title=title,
        description=description,
        subtitle=subtitle,
        slider=None,
        width=width,
        height=BAR_STEP,
    )
