"""The roofline: how fast a machine can go at each ratio of work to bytes read, and where some works stand below it.

Williams, Waterman, Patterson, "Roofline", CACM 52(4), 2009: attainable FLOP/s = min(peak, bandwidth x FLOP/byte).
"""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from greenlab.core.checks import integer
from greenlab.lab.charts.frames import MAX_COLORS, check_columns, check_rows, require_few, require_finite
from greenlab.lab.charts.parts import PLAIN, finish, number_tooltip
from greenlab.lab.theme import HEIGHT, MUTED, WIDTH

FAINT = "#C9C9C9"  # roofs that are only there to be compared with
X_TITLE, Y_TITLE = "Arithmetic intensity [FLOP per byte read]", "Rate [FLOP/s]"


def log_axes(x_domain: Any = alt.Undefined, y_domain: Any = alt.Undefined) -> dict[str, Any]:
    """The two axes that all rooflines share."""
    axis: Any = {"labelExpr": PLAIN, "tickCount": 6}
    x = alt.X("intensity:Q", title=X_TITLE).scale(type="log", domain=x_domain).axis(**axis)
    return {"x": x, "y": alt.Y("flops_per_s:Q", title=Y_TITLE).scale(type="log", domain=y_domain).axis(**axis)}


def roofline(
    roofs: pd.DataFrame,
    works: pd.DataFrame,
    *,
    title: str,
    description: str,
    subtitle: str | list[str] | None = None,
    max_colors: int = MAX_COLORS,
    width: int = WIDTH,
    height: int = HEIGHT,
) -> alt.LayerChart:
    """Draw one roof per machine and one point per work, both axes logarithmic.

    Args:
        roofs: rows in order of intensity: roof (name), intensity [FLOP/byte], flops_per_s. With a column ``named``
            (bool) the named roofs carry their name at the right end, and the others are faint.
        works: one row per point: work (the words beside it), kind (its colour and shape), intensity, flops_per_s.
        title: the finding, as a sentence.
        description: what the chart shows, for readers who do not see it.
        subtitle: how to read the chart, or what it was measured on; a list has a line for each text.
        max_colors: how many kinds are allowed.
        width: of the plot [px].
        height: of the plot [px].

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing or a value is not a number above 0.
    """
    check_columns("roofs", roofs, ("roof", "intensity", "flops_per_s"))
    check_columns("works", works, ("work", "kind", "intensity", "flops_per_s"))
    check_rows("roofs", roofs)
    check_rows("works", works)
    max_colors = integer("max_colors", max_colors, low=1)
    for frame in (roofs, works):
        require_finite(frame, "intensity", "flops_per_s")
        if (frame[["intensity", "flops_per_s"]] <= 0).any(axis=None):
            raise ValueError("intensity and flops_per_s must be above 0, as both axes are logarithmic; filter the rows")
    axes = log_axes()
    layers: list[Any] = []
    if "named" in roofs.columns:
        layers.append(_roofs(roofs[~roofs["named"]], axes, FAINT, 1.2))
        named = roofs[roofs["named"]]
        ends = alt.Chart(named.groupby("roof", sort=False).tail(1)).encode(text="roof:N", **axes)
        layers += [
            _roofs(named, axes, MUTED, 2.5),
            ends.mark_text(align="right", baseline="bottom", dy=-3, color=MUTED),
        ]
    else:
        layers.append(_roofs(roofs, axes, MUTED, 2.5))
    order = alt.Scale(domain=require_few(works, "kind", max_colors))
    base = alt.Chart(works).encode(**axes)
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        color=alt.Color("kind:N", title=None, scale=order),
        shape=alt.Shape("kind:N", title=None, scale=order),
        tooltip=["work:N", number_tooltip("intensity", X_TITLE), number_tooltip("flops_per_s", Y_TITLE)],
    )
    words = base.encode(text="work:N")
    place: Any = {"align": "left", "dx": 10, "dy": 12 if "named" in roofs.columns else 0}  # clear of a roof's flat part
    halo = words.mark_text(stroke="white", strokeWidth=4, **place)
    return finish(
        [*layers, points, halo, words.mark_text(**place)], works, title=title, description=description,
        subtitle=subtitle, slider=None, width=width, height=height,
    )  # fmt: skip


def _roofs(roofs: pd.DataFrame, axes: dict[str, Any], color: str, stroke_width: float) -> alt.Chart:
    lines = alt.Chart(roofs).mark_line(color=color, strokeWidth=stroke_width)
    return lines.encode(detail="roof:N", tooltip=["roof:N"], **axes)
