"""Charts of chapter 3's study: loss against cost, balance, who goes where; and the models that others published."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from greenlab.core import checks, facts
from greenlab.lab.charts import Slider, bars_with_range, dots, heatmap, lines, points, require_columns
from greenlab.lab.charts.parts import finish, number_tooltip
from greenlab.lab.theme import WIDTH

LOSS = "Loss on unseen text [bits per character]"
PUBLISHED = (  # ids of the facts, by total size
    "olmoe-1b-7b", "gpt-oss-20b", "qwen3-30b-a3b", "mixtral-8x7b", "llama-4-scout", "gpt-oss-120b", "mixtral-8x22b",
    "qwen3-235b-a22b", "llama-4-maverick", "deepseek-v3", "kimi-k2", "gpt-4",
)  # fmt: skip
AXES = {"FLOPs": "flops", "CPU time": "cpu_s"}


def experts_chart(table: pd.DataFrame, goal: float, title: str) -> alt.LayerChart:
    """Draw the loss against the number of experts, all at the same FLOPs for a token.

    Args:
        table: the columns n_experts (1 for the dense model), loss, loss_min and loss_max.
        goal: loss of the dense model of the total size of eight experts.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing or a number is not finite.
    """
    goal = checks.number("goal", goal)
    chart = lines(
        table, "n_experts", "loss", band=("loss_min", "loss_max"), title=title, y_format=".2f",
        goal=(goal, "dense, as large as 8 experts"),
        subtitle="MEASURED: two experts for each token; FLOPs equal within 3 %; band: three seeds",
        x_title="Experts of a layer (1: the dense model)", y_title=LOSS,
        description="Loss on unseen text against the number of experts at FLOPs for a token "
        "that are equal within three percent, with the loss of a "
        "dense model that has as many weights as the one with eight experts",
    )  # fmt: skip
    return _ticks(_words_at_the_left(chart), sorted(set(table["n_experts"])), type="log", base=2)


def _words_at_the_left(chart: alt.LayerChart) -> alt.LayerChart:
    """The chart with the words of its dashed line at the left, as at the right they would lie on another line."""
    words = chart.layer[-1].mark_text(align="left", baseline="bottom", dx=4, dy=-3)
    chart.layer[-1] = words.encode(x=alt.value(0))
    return chart


def _ticks(chart: alt.LayerChart, values: list[int], **scale: Any) -> alt.LayerChart:
    """The chart with ticks at these places of its x axis, and nowhere else."""
    for layer in chart.layer:
        if isinstance(layer.encoding.x, alt.X):
            layer.encoding.x = layer.encoding.x.axis(values=values).scale(zero=False, nice=False, **scale)
    return chart


def cost_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the loss of every model against the processor seconds of its training.

    Args:
        table: as `study.tables.cost_points` gives it.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    return points(
        table, "cpu_s", "loss", label="label", color="kind", color_title=None, title=title,
        subtitle="MEASURED: loss, mean of three seeds; time, best of 15 rounds a step; down and left is better",
        x_title="Training on one core [CPU seconds]", y_title=LOSS,
        description="Loss on unseen text against the processor time of training, with and without experts",
    )  # fmt: skip


def curves_chart(curves: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the loss on the way against FLOPs or processor time, as multiples of the small dense model's training.

    A menu chooses the axis; it works without a kernel.

    Args:
        curves: the columns model, step, flops, cpu_s (both as multiples) and val_loss [nats per token].
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(curves, "model", "step", "val_loss", *AXES.values())
    long = curves.melt(["model", "step", "val_loss"], list(AXES.values()), "axis", "spent")
    long["axis"] = long["axis"].map({column: words for words, column in AXES.items()})
    pick = alt.binding_select(options=list(AXES), name="Count: ")
    chosen = alt.param(name="spent_axis", value="FLOPs", bind=pick)
    order = alt.Scale(domain=list(dict.fromkeys(curves["model"])))
    x = alt.X("spent:Q", title="Spent, in trainings of the small dense model").scale(
        domain=[0, float(long["spent"].max())]
    )
    y = alt.Y("val_loss:Q", title="Loss on unseen text [nats per token]").scale(zero=False)
    base = alt.Chart(long).transform_filter("datum.axis == spent_axis").encode(
        x=x, y=y, color=alt.Color("model:N", title=None, scale=order)
    )  # fmt: skip
    tooltip = [
        "model:N",
        number_tooltip("step", "step"),
        number_tooltip("spent", "spent"),
        number_tooltip("val_loss", "loss"),
    ]
    marks = base.mark_point(filled=True, size=45, opacity=1).encode(
        shape=alt.Shape("model:N", title=None, scale=order), tooltip=tooltip
    )
    return finish(
        [base.mark_line(), marks], long, title=title, slider=None, width=WIDTH, height=300,
        subtitle="MEASURED, means of three seeds; choose below what is counted: FLOPs, or CPU time",
        description="Loss on unseen text on the way through training against FLOPs or processor time, for: "
        + "; ".join(dict.fromkeys(curves["model"])),
    ).add_params(chosen)  # fmt: skip


def balance_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw how much more than an equal share the busiest expert gets, on the way through training.

    Args:
        table: as `study.tables.balance` gives it.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    chart = lines(
        table, "step", "busiest", color="balanced", color_title="Balanced by", title=title,
        goal=(1.0, "equal load"), x_title="Training step", y_title="Busiest expert [times an equal load]",
        y_format=".1f",
        subtitle="MEASURED on unseen text: eight experts, two for each token; mean of layers and of three seeds",
        description="Load of the busiest of eight experts over an equal load against training steps, with a balancing "
        "loss, with a bias, and with nothing",
    )  # fmt: skip
    steps = sorted(set(table["step"]))
    return _ticks(_words_at_the_left(chart), [steps[0], *(step for step in steps if step % 300 == 0)])


def guess_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw how often a token's expert is guessed right, by what is known of the token.

    Args:
        table: the columns known, right, least and most [%].
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    return bars_with_range(
        table, "known", "right", band=("least", "most"), title=title, value_format=".0f", x_title="Guessed right [%]",
        subtitle="MEASURED on unseen text; each bar: what the guesser knows; lines: three seeds",
        description="Share of tokens whose expert is guessed right when one knows nothing, the kind of text, the kind "
        "of token, or the token itself",
    )  # fmt: skip


def use_chart(table: pd.DataFrame, by: str, title: str) -> alt.LayerChart:
    """Draw which share of each sort of token goes to each expert, with a slider for the layer.

    Args:
        table: the columns layer, expert, ``by`` and percent.
        by: "kind" for kinds of text, "token_kind" for kinds of token.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    words = {"kind": "Kind of text", "token_kind": "Kind of token"}
    checks.one_of("by", by, tuple(words))
    return heatmap(
        table, "expert", by, "percent", title=title, x_title="Expert", y_title=words[by], value_title="% of tokens",
        label_format=".0f", slider=Slider("layer", "Layer", 0),
        subtitle="MEASURED on unseen text: each row adds up to 100 %; an equal share is 12.5 %",
        description=f"Share of the tokens of each {words[by].lower()} that goes to each of eight experts, by layer",
    )  # fmt: skip


def published_table() -> pd.DataFrame:
    """Total and active parameters of published models with experts, one row a model.

    Returns:
        The columns model, total_b and active_b [billions], share [%], rumour (whether the figures are one) and
        confidence.
    """
    models = facts.table("models").set_index("id")
    rows = []
    for name in PUBLISHED:
        row = models.loc[name]
        total, active = row["params_total"] / 1e9, row["params_active"] / 1e9
        words = row["model"].replace(" (MoE)", "")
        weaker = str(row["weaker_columns"])
        about_others = weaker not in ("", "nan") and "params" not in weaker
        surely = row["confidence_other"] if about_others else row["confidence"]
        sizes = {"model": words, "total_b": total, "active_b": active, "share": 100 * active / total}
        rows.append(sizes | {"rumour": surely == "rumour", "confidence": surely})
    return pd.DataFrame(rows)


def published_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw what must be in memory and what a token uses, for each published model, on a logarithmic axis.

    Args:
        table: as `published_table` gives it.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    require_columns(table, "model", "total_b", "active_b")
    long = table.melt("model", ["active_b", "total_b"], "what", "billions")
    long["what"] = long["what"].map({"active_b": "used for a token", "total_b": "in memory"})
    return dots(
        long, "model", "billions", "what", title=title, x_title="Parameters [billions], logarithmic", log_x=True,
        subtitle="CITED; from the publishers, but for Qwen3-30B and Mixtral 8x22B; GPT-4 is an unconfirmed rumour",
        description="Parameters in memory and parameters used for a token, for eleven published models with experts "
        "and a rumoured one",
    )  # fmt: skip
