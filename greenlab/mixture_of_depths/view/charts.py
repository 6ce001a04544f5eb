"""Chapter 5's charts of the study and of what was measured on an accelerator; no numbers are computed here."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from greenlab.core import checks
from greenlab.lab.charts import Slider, heatmap, lines, require_columns
from greenlab.lab.charts.parts import finish, goal_line, number_tooltip
from greenlab.lab.theme import INK, VERMILION, WIDTH

LOSS_TITLE = "Loss on unseen text [nats per character]"
MFLOPS_TITLE = "Work a token, forward [MFLOP]"
SIDES: dict[str, dict[str, Any]] = {
    "left": {"align": "right", "dx": -10},
    "right": {"align": "left", "dx": 10},
    "above": {"align": "center", "dy": -13},
    "upper right": {"align": "left", "dx": 7, "dy": -9},
    "lower right": {"align": "left", "dx": 9, "dy": 18},
    "below": {"align": "center", "dy": 9},
    "over": {"align": "center", "dy": -15},
}


def prompt_chart(prompts: pd.DataFrame, popular: float, title: str) -> alt.LayerChart:
    """Draw measured joules of a prompt as a share of the dense model's, with the share of the FLOPs that was counted.

    Args:
        prompts: one row a length: label, share, least, most, flops_share [%], note, basis.
        popular: the share that the popular sentence would leave [%], drawn as a dashed line.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(prompts, "label", "share", "least", "most", "flops_share", "note", "basis")
    x_title = "Energy of reading a prompt, dense model = 100 [%]"
    y = alt.Y("label:N", title=None, sort=None).axis(domain=False, ticks=False, labelPadding=8)
    base = alt.Chart(prompts).encode(y=y)
    x = alt.X("share:Q", title=x_title).scale(domain=[0, 100])
    tooltip = [alt.Tooltip("label:N", title="Prompt"), number_tooltip("share", "Joules, measured [%]"),
               number_tooltip("flops_share", "FLOPs, counted [%]"), "basis:N"]  # fmt: skip
    bars = base.mark_bar(cornerRadiusEnd=2, height={"band": 0.6}).encode(x=x, tooltip=tooltip)
    ranges = base.mark_rule(strokeWidth=2).encode(x=alt.X("least:Q", title=x_title), x2="most:Q")
    figures = base.mark_text(align="left", dx=7).encode(
        x=alt.X("most:Q", title=x_title), text=alt.Text("share:Q", format=".0f")
    )
    notes = base.mark_text(align="left", dx=34, fontStyle="italic").encode(
        x=alt.X("most:Q", title=x_title), text="note:N"
    )
    counted = base.mark_point(shape="diamond", size=130, filled=True, color=VERMILION, opacity=1, stroke="white")
    counted = counted.encode(x=alt.X("flops_share:Q", title=x_title), tooltip=tooltip)
    return finish(
        [*goal_line((popular, "eight times less"), "x", x_title), bars, ranges, counted, figures, notes], prompts,
        title=title, slider=None, width=WIDTH, height=alt.Step(46),
        subtitle=["bars: MEASURED, 8B model's shape on one H100; lines: what the repeats allow;",
                  "diamonds: FLOPs, counted (MODELLED)"],
        description="Joules of prompts of 512, 2,048 and 8,192 tokens with a model that skips, as shares of the dense "
        "model's: about three quarters, two thirds and 57 per cent; the counted FLOPs lie between 54 and 57 per cent",
    )  # fmt: skip


def kind_chart(kinds: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw which share of each kind of token enters each block that skips; a slider changes the model.

    Args:
        kinds: one row a model, kind and block: seed, kind, block, percent (of its tokens that enter).
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    return heatmap(
        kinds, x="block", y="kind", value="percent", title=title, x_title="Block that skips",
        y_title="", value_title="enter [%]", label_format=".0f", width=400, slider=Slider("seed", "Seed of the model"),
        subtitle="MEASURED on unseen text: the share of each kind that enters; of all characters 12.5 % enter",
        description="Share of each kind of character that enters each of the blocks that skip",
    )  # fmt: skip


def frontier_chart(frontier: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw loss against FLOPs a token: dense models as a line, models that skip as points with their names.

    Args:
        frontier: one row a model: words, family, mflops, loss, loss_min, loss_max.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(frontier, "words", "family", "mflops", "loss", "loss_min", "loss_max")
    return _against_flops(frontier, title, line="dense", description="Loss on unseen text against the work a token: "
                          "dense models of 3 to 6 layers as a line, models that skip as points")  # fmt: skip


def mode_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw loss against FLOPs a token for mixtures of experts, of depths and of both; columns as in `frontier_chart`.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(table, "words", "family", "mflops", "loss", "loss_min", "loss_max")
    return _against_flops(table, title, line="", description="Loss on unseen text against the work a token: the dense "
                          "model, mixture of depths, mixture of experts, and both ways to join them")  # fmt: skip


def _against_flops(table: pd.DataFrame, title: str, *, line: str, description: str) -> alt.LayerChart:
    order = alt.Scale(domain=list(dict.fromkeys(table["family"])))
    x = alt.X("mflops:Q", title=MFLOPS_TITLE).scale(zero=False, padding=85)
    y = alt.Y("loss:Q", title=LOSS_TITLE).scale(zero=False, padding=18)
    base = alt.Chart(table).encode(x=x)
    tooltip = ["words:N", number_tooltip("mflops", MFLOPS_TITLE), number_tooltip("loss", LOSS_TITLE)]
    tooltip += [number_tooltip("loss_min", "least of the seeds"), number_tooltip("loss_max", "greatest of the seeds")]
    marks: list[Any] = []
    if line:
        marks.append(base.transform_filter(alt.datum.family == line).mark_line(strokeWidth=2, opacity=0.6).encode(y=y))
    low = alt.Y("loss_min:Q", title=LOSS_TITLE)
    ranges = base.mark_rule(strokeWidth=1.5, opacity=0.5).encode(y=low, y2="loss_max:Q")
    color = alt.Color("family:N", title=None, scale=order)
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        y=y, color=color, shape=alt.Shape("family:N", title=None, scale=order), tooltip=tooltip
    )
    halos, names = [], []
    for side, place in SIDES.items():
        here = table[[_side(words, bool(line)) == side for words in table["words"]]]
        if here.empty:
            continue
        end = {"below": "loss_min", "over": "loss_max"}.get(side, "loss")
        at = alt.Y(f"{end}:Q", title=LOSS_TITLE).scale(zero=False, padding=18)
        words = alt.Chart(here).encode(x=x, y=at, text="words:N")
        halos.append(words.mark_text(fontSize=11, stroke="white", strokeWidth=4, **place))
        names.append(words.mark_text(fontSize=11, color=INK, **place))
    return finish(
        [*marks, ranges, *halos, points, *names], table, title=title, slider=None,
        width=WIDTH, height=340, description=description,
        subtitle="MEASURED on unseen text; down and left is better; upright lines: three seeds",
    )  # fmt: skip


def _side(words: str, line: bool) -> str:
    """Where the name of a model stands, so that it lies on no mark: beside its point, or at an end of its upright line.

    In the chart without a line of dense models another point lies close to the model that skips, and to the dense one.
    """
    sides = {
        "12.5 %, every 2nd": "left" if line else "over",
        "3 layers": "above",
        "4 layers": "upper right",
        "50 %, every 2nd": "lower right",
    }
    sides |= {"25 %, every 2nd": "below", "12.5 %, every 3rd": "below", "12.5 %, every 2nd of 10": "below"}
    sides |= {"6 layers": "upper right" if line else "left"}
    return sides.get(words, "right")


def layers_twin(table: pd.DataFrame, n_layers: int, title: str) -> alt.LayerChart:
    """Draw how many layers cost the FLOPs of a dense model, against the share that enters; a slider sets the period.

    Args:
        table: one row a period and capacity: every, percent (the capacity), layers.
        n_layers: of the dense model, drawn as a dashed line.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    chart = lines(
        table, "percent", "layers", title=title, x_title="Tokens that enter a skipping block [%]",
        y_title="Layers for the same FLOPs", goal=(n_layers, "dense"),
        slider=Slider("every", "Every so many-th block skips", 2), zero=True,
        subtitle="counted (MODELLED), for a prompt of 512 tokens; dashed: the dense model",
        description="Number of layers that cost the FLOPs of the dense model against the share of tokens that enters a "
        "skipping block, for several periods",
    )  # fmt: skip
    # Above the dashed line the word would lie on the curve of every 4th block.
    chart.layer[-1] = chart.layer[-1].mark_text(align="right", baseline="top", dx=-4, dy=4)
    return chart
