"""Charts of chapter 8's study: what each index finds and costs, what passages do to answers, and hostile passages."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from greenlab.core import checks
from greenlab.lab.charts import lines, require_columns
from greenlab.lab.charts.frames import require_finite
from greenlab.lab.charts.parts import PLAIN, finish, number_tooltip
from greenlab.lab.theme import BLUE, GREEN, INK, MUTED, VERMILION, WIDTH

FACTS, PROSE = "row of a fact table", "prose of a chapter"
MOST_TITLE, MOST_CHOICE = 60, 30  # letters of a title, and of a choice in a menu
DECADES = [10.0**power for power in range(-2, 4)]


def short(words: str, most: int = MOST_TITLE) -> str:
    """Words, cut at a space so that they fit a line.

    >>> short("one two three", 9)
    'one two …'
    """
    if len(words) <= most:
        return words
    return f"{words[: most - 1].rpartition(' ')[0] or words[: most - 1]} …"


def rungs_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw what each way to search finds against what a search costs.

    Args:
        table: the columns index, share, low, high [%], mj (millijoules of a search) and n.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(table, "index", "share", "low", "high", "mj", "n")
    x = alt.X("mj:Q", title="Energy of a search [mJ], modelled, logarithmic").scale(type="log", padding=30)
    x = x.axis(format="~g", values=DECADES)
    y = alt.Y("share:Q", title="Found at rank 1 [%]").scale(zero=False, padding=16)
    base = alt.Chart(table).encode(x=x)
    ranges = base.mark_rule(strokeWidth=1.5, color=MUTED).encode(y=alt.Y("low:Q", title=""), y2="high:Q")
    tooltip = ["index:N", number_tooltip("share", "found [%]"), number_tooltip("low", "low"),
               number_tooltip("high", "high"), number_tooltip("mj", "mJ a search")]  # fmt: skip
    points = base.mark_point(filled=True, size=110, color=BLUE, opacity=1).encode(y=y, tooltip=tooltip)
    labels: list[Any] = []
    half = float(table["mj"].min() * table["mj"].max()) ** 0.5
    for side, where in (("left", "<"), ("right", ">=")):  # the words stay inside the plot
        words = base.transform_filter(f"datum.mj {where} {half:.6g}").encode(y=y, text="index:N")
        place: dict[str, Any] = {"align": side, "dx": 9 if side == "left" else -9, "dy": -8}
        labels += [words.mark_text(stroke="white", strokeWidth=4, **place), words.mark_text(**place)]
    return finish(
        [ranges, *labels, points], table,
        title=title, slider=None, width=WIDTH, height=320,
        subtitle=[f"MEASURED: {int(table['n'].iloc[0])} questions held back; lines: 95 % intervals.",
                  "MODELLED: joules of a search, from CPU seconds"],
        description="Share of questions whose answering passage is found first, against the energy of a search, for: "
        + ", ".join(table["index"]),
    )  # fmt: skip


def lengths_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw recall against the length of passages, a line for each index.

    Args:
        table: the columns passage_tokens, index (at most three), percent, low, high and n.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    require_columns(table, "passage_tokens", "n")
    chart = lines(
        table, "passage_tokens", "percent", color="index", title=title, band=("low", "high"),
        subtitle=f"MEASURED: {int(table['n'].iloc[0])} questions held back; bands: 95 % intervals",
        x_title="Longest passage [words and marks]", y_title="Found at rank 1 [%]",
        description="Share of questions whose answering passage is found first against the length of passages",
    )  # fmt: skip
    return _ticks(chart, table["passage_tokens"])


def _ticks(chart: alt.LayerChart, values: pd.Series) -> alt.LayerChart:
    """Ticks where there are points, and nowhere between."""
    axis = alt.Axis(values=sorted({int(value) for value in values}), format="d")
    for layer in chart.layer:
        layer.encoding.x.axis = axis
    return chart


def passages_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the share of right answers against the number of passages: hits, and exact matches.

    Args:
        table: as `tables.by_passages` gives it: n_passages, measure, percent, low, high, n.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    require_columns(table, "n_passages", "measure", "percent", "low", "high", "n")
    chart = lines(
        table, "n_passages", "percent", color="measure", title=title, band=("low", "high"), zero=True,
        subtitle=f"MEASURED: SmolLM2-135M writes freely, {int(table['n'].iloc[0])} questions; bands: 95 % intervals",
        x_title="Passages in the prompt", y_title="Right answers [%]",
        description="Share of right answers against the number of passages in the prompt: answers that hold the right "
        "one, and answers that are the right one word for word",
    )  # fmt: skip
    return _ticks(chart, table["n_passages"])


def ways_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw how often the answer stands in what is written freely, in a chosen span, and in two quoted sentences.

    Args:
        table: as `tables.ways` gives it for the measure "hit": label, percent, low, high, n.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    require_columns(table, "label", "percent", "low", "high", "n")
    return _with_intervals(
        table, "percent", title=title, x_title="Hits [%]",
        subtitle=[f"MEASURED: SmolLM2-135M or no model, one passage, {int(table['n'].iloc[0])} questions;",
                  "lines: 95 % intervals"],
        description="Share of hits when the model writes freely, when it chooses a span of the passage, and when two "
        "sentences are quoted without a model, with the passage that was found and with one that answers",
    )  # fmt: skip


def joules_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw joules for each right answer as points with their intervals, on a logarithmic axis.

    Args:
        table: the columns label, j_per_hit, low and high [J], and n.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    require_columns(table, "label", "j_per_hit", "low", "high", "n")
    return _with_intervals(
        table, "j_per_hit", title=title, x_title="All joules over right answers [J], logarithmic", log=True,
        subtitle=[f"MODELLED from CPU seconds, {int(table['n'].iloc[0])} questions;",
                  "lines: the 95 % interval of the share that is right"],
        description="Joules of all answers over the number of right ones: " + "; ".join(map(str, table["label"])),
    )  # fmt: skip


def _with_intervals(
    table: pd.DataFrame, value: str, *, title: str, subtitle: str | list[str], x_title: str, description: str,
    log: bool = False,
) -> alt.LayerChart:  # fmt: skip
    """A row's value as a point, its interval as a line, and the value in figures above the point.

    A value at the end of the line would be read as that of the end. A bar from zero is drawn where there is a zero; on
    a logarithmic axis, which shows modelled joules, the point is hollow.
    """
    require_finite(table, value, "low", "high")
    x = alt.X(f"{value}:Q", title=x_title)
    if log:
        x = x.scale(type="log", padding=16, nice=False).axis(
            format=",~g", values=[10.0**power for power in range(-2, 6)]
        )
    else:
        x = x.scale(zero=True, nice=True).axis(labelExpr=PLAIN, tickCount=6)
    y = alt.Y("label:N", title=None, sort=None)
    y = y.axis(domain=False, ticks=False, labelPadding=8, labelExpr="split(datum.label, ', ')")  # a line for each part
    base = alt.Chart(table).encode(y=y)
    tooltip = ["label:N", number_tooltip(value, x_title), number_tooltip("low", "low"), number_tooltip("high", "high")]
    bars = [] if log else [base.mark_bar(cornerRadiusEnd=2, height=12, yOffset=6).encode(x=x, tooltip=tooltip)]
    ends = base.mark_rule(strokeWidth=2, yOffset=6).encode(x=alt.X("low:Q", title=x_title), x2="high:Q")
    look: dict[str, Any] = {"fill": "white", "stroke": INK, "strokeWidth": 2} if log else {"filled": True, "color": INK}
    dots = base.mark_point(size=70, opacity=1, yOffset=6, **look).encode(x=x, tooltip=tooltip)
    words = base.mark_text(dy=-9).encode(x=x, text=alt.Text(f"{value}:Q", format=",.2r" if log else ".0f"))
    return finish(
        [*bars, ends, dots, words], table, title=title, subtitle=subtitle, slider=None, width=WIDTH,
        height=alt.Step(42), description=description,
    )  # fmt: skip


def hostile_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw how many answers say what a hostile passage wants, cite it, or cite a harmless one in its place, by kind.

    Args:
        table: as `tables.attacks` gives it, without the row of all; of each kind as many were tried.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    require_columns(table, "kind", "n_astray", "n_cited", "n_cited_harmless")
    words = {"n_astray": "say what it wants", "n_cited": "cite it", "n_cited_harmless": "cite a harmless one there"}
    long = table.melt("kind", list(words), "what", "answers")
    long = long.assign(what=long["what"].map(words))
    order = alt.Scale(domain=list(words.values()))
    x = alt.X("answers:Q", title="Answers, of five").scale(domain=[0, 5]).axis(values=list(range(6)), format="d")
    y = alt.Y("kind:N", title=None, sort=None).axis(domain=False, ticks=False, labelPadding=12)
    marks = alt.Chart(long).mark_point(filled=True, size=110, opacity=1).encode(
        x=x, y=y, color=alt.Color("what:N", title=None, scale=order),
        shape=alt.Shape("what:N", title=None, scale=order),
        yOffset=alt.YOffset("what:N", sort=list(words.values())),
        tooltip=["kind:N", "what:N", "answers:Q"],
    )  # fmt: skip
    return finish(
        [marks], long, title=title, slider=None, width=WIDTH, height=alt.Step(46, **{"for": "position"}),
        subtitle="MEASURED: SmolLM2-135M, five hostile passages of each kind, each before the right passage",
        description="How many of five answers say what a hostile passage wants, how many cite it and how many cite a "
        "harmless passage in its place, for each kind of hostile passage",
    )  # fmt: skip


def _plane(data: pd.DataFrame) -> tuple[alt.X, alt.Y, alt.Chart]:
    pad = 0.04
    x = alt.X("x:Q", axis=None).scale(domain=[data["x"].min() - pad, data["x"].max() + pad], nice=False)
    y = alt.Y("y:Q", axis=None).scale(domain=[data["y"].min() - pad, data["y"].max() + pad], nice=False)
    kinds = [PROSE, FACTS]
    color = alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=[BLUE, GREEN]))
    shape = alt.Shape("kind:N", title=None, scale=alt.Scale(domain=kinds, range=["circle", "triangle-up"]))
    points = alt.Chart(data).mark_point(filled=True, size=22, opacity=0.4).encode(x=x, y=y, color=color, shape=shape)
    return x, y, points


def map_chart(passages: pd.DataFrame, question: pd.DataFrame, nearest: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw passages on a plane, the question among them, and its nearest passages.

    Args:
        passages: x, y and kind, one row a passage.
        question: x, y and question, one row.
        nearest: x, y, title and score of the nearest passages.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(passages, "x", "y", "kind")
    require_columns(question, "x", "y", "question")
    require_columns(nearest, "x", "y", "title", "score")
    x, y, dots = _plane(passages)
    near = alt.Chart(nearest).encode(x=x, y=y)
    rings = near.mark_point(size=130, strokeWidth=2.5, filled=False, color=VERMILION, opacity=1).encode(
        tooltip=["title:N", alt.Tooltip("score:Q", format=".2f", title="cosine")]
    )
    here = alt.Chart(question).mark_point(shape="diamond", size=190, filled=True, color=INK, opacity=1).encode(
        x=x, y=y, tooltip="question:N"
    )  # fmt: skip
    return finish(
        [dots, rings, here], passages, title=title, slider=None, width=WIDTH, height=380,
        subtitle="diamond: the question; rings: its nearest passages, by all 384 numbers and not by this plane",
        description=f"{len(passages)} passages of the book on a plane, a question among them as a diamond, and rings "
        f"around its {len(nearest)} nearest passages",
    )  # fmt: skip


def map_twin(passages: pd.DataFrame, questions: pd.DataFrame, nearest: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the same for some questions, of which a menu chooses one; it works without a kernel.

    Args:
        passages: x, y, kind and title, one row a passage, numbered from 0.
        questions: question, x and y.
        nearest: question, passage (its number) and score.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(passages, "x", "y", "kind", "title")
    require_columns(questions, "x", "y", "question")
    require_columns(nearest, "question", "passage", "score")
    spots = passages[["x", "y", "kind"]].round(3)
    x, y, dots = _plane(spots)
    rows = nearest.join(passages[["x", "y", "title"]], on="passage")[["question", "x", "y", "title", "score"]].round(3)
    names = list(questions["question"])
    choices = [short(name, MOST_CHOICE) for name in names]  # a longer one would be wider than a narrow window
    pick = alt.param(
        name="asked", value=names[0], bind=alt.binding_select(options=names, labels=choices, name="Question: ")
    )
    near = alt.Chart(rows).transform_filter("datum.question == asked").encode(x=x, y=y)
    rings = near.mark_point(size=130, strokeWidth=2.5, filled=False, color=VERMILION, opacity=1).encode(
        tooltip=["title:N", alt.Tooltip("score:Q", format=".2f", title="cosine")]
    )
    here = alt.Chart(questions.round(3)).transform_filter("datum.question == asked").mark_point(
        shape="diamond", size=190, filled=True, color=INK, opacity=1
    ).encode(x=x, y=y, tooltip="question:N")  # fmt: skip
    return finish(
        [dots, rings, here], spots, title=title, slider=None, width=WIDTH, height=380,
        subtitle="diamond: the question; rings: its five nearest passages, by all 384 numbers and not by this plane",
        description=f"{len(spots)} passages of the book on a plane; a menu chooses one of {len(names)} questions, "
        "drawn as a diamond, with rings around its five nearest passages",
    ).add_params(pick)  # fmt: skip
