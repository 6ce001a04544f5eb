"""The look of every chart: Okabe-Ito colours, left-aligned titles that state the finding, quiet grids.

Colours: M. Okabe and K. Ito, "Color Universal Design" (2002, rev. 2008), distinguishable with the common forms of
colour blindness. Blue, vermilion and green come first because they also stand out on white; yellow, which does not,
comes last.
"""

from __future__ import annotations

from typing import Any

import altair as alt

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, YELLOW = "#E69F00", "#56B4E9", "#000000", "#F0E442"
OKABE_ITO = [BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW]
INK, MUTED, GRID = "#222222", "#555555", "#E3E3E3"  # text, secondary text (7.5:1 on white), grid lines
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
WIDTH, HEIGHT = 560, 300  # fits a Lab cell on a 1280-pixel screen and the static site's column
NAME = "greenlab"


@alt.theme.register(NAME, enable=False)
def greenlab_theme() -> alt.theme.ThemeConfig:
    """The Vega-Lite config of the book."""
    axis: Any = {"labelFontSize": 12, "titleFontSize": 12.5, "titleFontWeight": "normal", "titlePadding": 8}
    axis |= {"labelColor": INK, "titleColor": INK, "gridColor": GRID, "domainColor": "#888888", "tickColor": "#888888"}
    axis |= {"labelFlush": False}  # else Vega pushes the first and the last label inwards, away from their ticks
    title: Any = {"anchor": "start", "frame": "group", "fontSize": 16, "fontWeight": 600, "color": INK, "offset": 12}
    title |= {"subtitleFontSize": 12.5, "subtitleColor": MUTED, "subtitlePadding": 6, "subtitleLineHeight": 16}
    legend: Any = {
        "orient": "top",
        "direction": "horizontal",
        "labelFontSize": 12,
        "titleFontSize": 12,
        "symbolSize": 110,
    }
    legend |= {"titleFontWeight": "normal", "titleOrient": "left", "labelColor": INK, "titleColor": MUTED}
    legend |= {"labelLimit": 260, "offset": 8, "columnPadding": 18, "layout": {"top": {"margin": 28}}}
    sequential: Any = {"scheme": "viridis"}
    return {
        "config": {
            "background": "white",  # legible in Lab's dark theme too
            "font": FONT,
            "padding": 8,
            "mark": {"color": BLUE},
            "view": {"continuousWidth": WIDTH, "continuousHeight": HEIGHT, "stroke": None},
            "axis": {**axis, "labelLimit": 260},
            "axisX": {"labelSeparation": 6},
            "axisXBand": {"labelOverlap": True, "labelSeparation": 4},
            "axisY": {"titleAlign": "center"},
            "title": title,
            "legend": legend,
            "line": {"strokeWidth": 2.5},
            "point": {"size": 60, "filled": True},
            "rule": {"color": INK},
            "text": {"fontSize": 12, "color": INK},
            "range": {"category": OKABE_ITO, "heatmap": sequential, "ramp": sequential},
        }
    }


def enable() -> None:
    """Use the book's theme for every chart of this kernel."""
    alt.theme.enable(NAME)
