"""Chapter 4's charts of the study and of what was measured on an accelerator; no numbers are computed here."""

from __future__ import annotations

import altair as alt
import pandas as pd

from greenlab.core import checks
from greenlab.distillation.study.mistakes import OURS, PUBLIC
from greenlab.lab.charts import bars_with_range, heatmap, require_columns
from greenlab.lab.charts.parts import finish, number_tooltip
from greenlab.lab.theme import INK, WIDTH

LOSS_TITLE = "Loss on unseen text [nats per character]"
NORM_TITLE = "Size of the soft part's gradient"
POWERS = [1e-4, 1e-3, 1e-2, 1e-1, 1]


def gradient_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the size of the gradient against the temperature, with the factor T^2 and without.

    Args:
        table: one row a temperature and factor: temperature, factor, norm.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(table, "temperature", "factor", "norm")
    x = (
        alt.X("temperature:Q", title="Temperature T")
        .scale(type="log", domain=[1, 20], nice=False)
        .axis(values=[1, 2, 4, 8, 16])
    )
    y = alt.Y("norm:Q", title=NORM_TITLE).scale(type="log").axis(format="~g", values=POWERS)
    order = alt.Scale(domain=list(dict.fromkeys(table["factor"])))
    base = alt.Chart(table).encode(x=x, y=y, color=alt.Color("factor:N", title=None, scale=order))
    points = base.mark_point(filled=True, opacity=1, size=70).encode(
        shape=alt.Shape("factor:N", title=None, scale=order),
        tooltip=["factor:N", number_tooltip("temperature", "T"), number_tooltip("norm", NORM_TITLE)],
    )
    return finish(
        [base.mark_line(), points], table, title=title, slider=None, width=WIDTH, height=300,
        subtitle="at the logits of a trained student, mean of three seeds; both axes are logarithmic",
        description="Size of the gradient of the soft part against temperature: with the factor T squared it stays "
        "nearly level, without it it falls more than five hundredfold between 1 and 20",
    )  # fmt: skip


def ends_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the size of the gradient along the Jensen-Shannon family, as public code has it and as the book does.

    Args:
        table: one row a beta and form: beta, place, form, norm.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(table, "beta", "place", "form", "norm")
    data = table.assign(shown=[f"{beta:g}" for beta in table["beta"]])
    x = alt.X("shown:O", title="β", sort=list(dict.fromkeys(data["shown"]))).axis(labelAngle=0)
    y = alt.Y("norm:Q", title="Size of the gradient").scale(type="log").axis(format="~g", values=POWERS)
    order, legend = alt.Scale(domain=[PUBLIC, OURS]), alt.Legend(symbolOpacity=1)
    base = alt.Chart(data).encode(x=x, y=y, color=alt.Color("form:N", title=None, scale=order, legend=legend))
    points = base.mark_point(filled=True, opacity=1, size=80).encode(
        shape=alt.Shape("form:N", title=None, scale=order),
        tooltip=["form:N", "shown:O", number_tooltip("norm", "gradient")],
    )
    return finish(
        [base.mark_line(opacity=0.5), points], data, title=title, slider=None, width=WIDTH, height=280,
        subtitle="0 is the forward KL, 1 the reverse; the steps of β are uneven, the other axis is logarithmic",
        description="Size of the gradient against beta: the public form falls a thousandfold next to both ends and "
        "jumps back at them; the scaled one is level",
    )  # fmt: skip


def size_chart(table: pd.DataFrame, teacher: float, title: str) -> alt.LayerChart:
    """Draw the losses of the students of three sizes, with the teacher's as a dashed line.

    Args:
        table: one row a student and training: student, training, loss, loss_min, loss_max.
        teacher: the teacher's loss.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(table, "student", "training", "loss", "loss_min", "loss_max")
    order = alt.Scale(domain=list(dict.fromkeys(table["training"])))
    y = alt.Y("student:N", title="Student's size", sort=None)
    scale = alt.Scale(zero=False, padding=24)
    line = alt.Chart(pd.DataFrame({"loss": [teacher]})).encode(x=alt.X("loss:Q", title=LOSS_TITLE, scale=scale))
    rule = line.mark_rule(strokeDash=[5, 4], strokeWidth=1.5, color=INK)
    words = line.mark_text(text="teacher", align="left", dx=6, color=INK).encode(y=alt.value(10))
    legend = alt.Legend(symbolOpacity=1)
    offset = alt.YOffset("training:N", sort=list(order.to_dict()["domain"]))
    base = alt.Chart(table).encode(
        y=y, yOffset=offset, color=alt.Color("training:N", title=None, scale=order, legend=legend)
    )
    ranges = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=alt.X("loss_min:Q", title=LOSS_TITLE, scale=scale), x2="loss_max:Q"
    )
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=alt.X("loss:Q", title=LOSS_TITLE, scale=scale),
        shape=alt.Shape("training:N", title=None, scale=order),
        tooltip=["student:N", "training:N", number_tooltip("loss", LOSS_TITLE)],
    )
    return finish(
        [rule, words, ranges, points], table, title=title, slider=None,
        width=WIDTH, height=240, subtitle="to the left is better; lines: the least and the greatest of three seeds",
        description="Loss of students of a half, a quarter and an eighth of the teacher's size: alone, alone with as "
        "many joules, and distilled, beside the teacher's loss",
    )  # fmt: skip


def gap_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw which share of the way to its teacher each student covers, at equal steps and at equal energy.

    Args:
        table: one row a student and comparison: label, closed, closed_min, closed_max [%].
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(table, "label", "closed", "closed_min", "closed_max")
    x_title = "Way from the lone student to its teacher that is covered [%]"
    y = alt.Y("label:N", title=None, sort=None).axis(domain=False, ticks=False, labelPadding=8)
    base = alt.Chart(table).encode(y=y)
    x = alt.X("closed:Q", title=x_title)
    ranges = base.mark_rule(strokeWidth=2).encode(x=alt.X("closed_min:Q", title=x_title), x2="closed_max:Q")
    points = base.mark_point(filled=True, size=120, opacity=1).encode(
        x=x, tooltip=["label:N", number_tooltip("closed", x_title)]
    )
    figures = base.mark_text(baseline="bottom", dy=-7).encode(x=x, text=alt.Text("closed:Q", format=".0f"))
    zero = alt.Chart(pd.DataFrame({"closed": [0.0]})).mark_rule(color=INK, strokeDash=[5, 4]).encode(x=x)
    return finish(
        [zero, ranges, points, figures], table, title=title, slider=None, width=WIDTH, height=alt.Step(36),
        subtitle="mean, least and greatest of three seeds; left of the dashed line the lone student is ahead",
        description="Share of the gap between the lone student and its teacher that distillation closes, for each "
        "student at equal steps and at equal energy",
    )  # fmt: skip


def sweep_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the loss of the half-size student for each temperature and weight of the soft part.

    Args:
        table: one row a pair: temperature, alpha, loss.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    return heatmap(
        table, x="temperature", y="alpha", value="loss", title=title, x_title="Temperature T",
        y_title="Teacher's weight α", value_title="Loss", label_format=".2f", width=400, height=150,
        subtitle="loss on unseen text [nats per character], mean of three seeds; dark is better",
        description="Loss of the half-size student for three temperatures and three weights of the soft part",
    )  # fmt: skip


def account_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the distilled student beside one that trained alone for as long, by what of the bill is counted.

    Args:
        table: one row an account and training: account, training, loss, loss_min, loss_max.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    return _pairs_with_range(
        table, ("account", "training"), ("loss", "loss_min", "loss_max"), title=title, x_title=LOSS_TITLE,
        scale=alt.Scale(zero=False, padding=24),
        subtitle="to the left is better; each pair has one bill; lines: the least and the greatest of three seeds",
        description="Loss of the distilled student and of a student that trained alone for the same processor time, "
        "for three ways to count the teacher, with the range of three seeds",
    )  # fmt: skip


def _pairs_with_range(
    table: pd.DataFrame,
    labels: tuple[str, str],
    values: tuple[str, str, str],
    *,
    title: str,
    x_title: str,
    scale: alt.Scale,
    subtitle: str,
    description: str,
    ticks: list[float] | None = None,
) -> alt.LayerChart:
    """Draw a point with its range for each label (a row of the chart) and each series, side by side."""
    checks.text("title", title)
    require_columns(table, *labels, *values)
    (label, series), (value, low, high) = labels, values
    names = list(dict.fromkeys(table[series]))
    order = alt.Scale(domain=names)
    y = alt.Y(f"{label}:N", title=None, sort=None).axis(domain=False, ticks=False, labelPadding=8, labelLimit=260)
    colour = alt.Color(f"{series}:N", title=None, scale=order, legend=alt.Legend(symbolOpacity=1))
    base = alt.Chart(table).encode(y=y, yOffset=alt.YOffset(f"{series}:N", sort=names), color=colour)
    axis = alt.Axis() if ticks is None else alt.Axis(values=ticks, format="~g")
    ranges = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=alt.X(f"{low}:Q", title=x_title, scale=scale, axis=axis), x2=f"{high}:Q"
    )
    points = base.mark_point(filled=True, size=110, opacity=1).encode(
        x=alt.X(f"{value}:Q", title=x_title, scale=scale, axis=axis),
        shape=alt.Shape(f"{series}:N", title=None, scale=order),
        tooltip=[f"{label}:N", f"{series}:N", *(number_tooltip(name, name) for name in (value, low, high))],
    )
    return finish(
        [ranges, points], table, title=title, slider=None, width=WIDTH, height=alt.Step(26), subtitle=subtitle,
        description=description,
    )  # fmt: skip


def training_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw measured millijoules a token of reading and of learning, with a teacher and without.

    Args:
        table: one row a part: part, mj_per_token, low, high.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    return bars_with_range(
        table, "part", "mj_per_token", band=("low", "high"), title=title, x_title="Energy a token [mJ]",
        value_format=".1f",
        subtitle="MEASURED on one H100: shapes of Llama-3.2-1B and Llama-3.1-8B; lines: the meter's range",
        description="Measured energy a token of a small shape reading and learning, of a large one reading, and of the "
        "small one learning with the large one as its teacher",
    )  # fmt: skip


def writing_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw measured joules a written token of the teacher's and of the student's shape, by how many write at once.

    Args:
        table: one row a model and batch: label, model, j_per_token, low, high (the meter's range).
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    return _pairs_with_range(
        table, ("label", "model"), ("j_per_token", "low", "high"), title=title, x_title="Energy a written token [J]",
        scale=alt.Scale(type="log", nice=False, padding=16), ticks=[0.01, 0.03, 0.1, 0.3, 1, 3],
        subtitle="MEASURED on one H100 (the GPU alone), 512 tokens of context; lines: the meter's range",
        description="Measured energy a token of an 8B and a 1B shape for four batches, with the meter's range; the "
        "small one takes about a fifth everywhere",
    )  # fmt: skip
