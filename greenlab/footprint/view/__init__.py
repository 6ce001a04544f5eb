"""Chapter 1 as the reader sees it: the charts. Widgets and their twins are in ``widgets``."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from greenlab.footprint.tables import KNOWN
from greenlab.footprint.view import exercises  # noqa: F401 - registers the exercises
from greenlab.footprint.view.widgets import search_twin, search_widget, training_twin, training_widget
from greenlab.lab.charts import bars_with_range, require_columns
from greenlab.lab.theme import BLUE, GRID, INK, MUTED, VERMILION, WIDTH

__all__ = [
    "amounts",
    "answers_chart",
    "iea_chart",
    "search_twin",
    "search_widget",
    "split_chart",
    "training_twin",
    "training_widget",
]
__all__ += ["trend_chart", "yardstick_chart"]
NAMED = (  # the models that a reader may know, written beside their points; the others answer to the mouse
    "GPT-1", "GPT-2 (1.5B)", "GPT-3 175B", "Switch Transformer (MoE)", "PaLM 540B", "GPT-4 (RUMOURED)", "Llama 3.1 "
    "405B",
    "DeepSeek-V4-Pro (MoE)", "Grok 4",
)  # fmt: skip
WORDS = (
    "datum.value >= 1e12 ? format(datum.value / 1e12, '~g') + ' trillion' : "
    "datum.value >= 1e9 ? format(datum.value / 1e9, '~g') + ' billion' : format(datum.value / 1e6, '~g') + ' million'"
)


def trend_chart(data: pd.DataFrame, *, title: str, y_title: str, description: str, words: bool = True) -> Any:
    """Draw models over time on a logarithmic axis: hollow what nobody confirmed, a stem from all to active parameters.

    Args:
        data: one row per model and count: model, date, count, amount, known.
        title: the finding, as a sentence.
        y_title: what the amount is, with its unit.
        description: what the chart shows, for readers who do not see it.
        words: whether the axis counts in millions to trillions, or in powers of ten.
    """
    require_columns(data, "model", "date", "count", "amount", "known")
    counts = data["count"].unique().tolist()
    axis = (
        alt.Axis(labelExpr=WORDS, values=[10.0**k for k in range(8, 15)])
        if words
        else alt.Axis(labelExpr="'10^' + format(log(datum.value) / LN10, '.0f')", tickCount=5)
    )
    y = alt.Y("amount:Q", title=y_title, axis=axis).scale(type="log")
    x = (
        alt.X("date:T", title="Published")
        .scale(domain=["2018-01-01", "2027-06-01"])
        .axis(format="%Y", tickCount="year")
    )
    base = alt.Chart(data).encode(x=x, y=y)
    order = alt.Scale(domain=counts, range=[BLUE, VERMILION][: len(counts)])
    legend = alt.Legend(labelLimit=400) if len(counts) > 1 else None
    marks = base.mark_point(size=80, strokeWidth=1.8, filled=False).encode(
        stroke=alt.Stroke("count:N", title=None, scale=order, legend=legend),
        fill=alt.Fill("count:N", title=None, scale=order, legend=legend),
        shape=alt.Shape("count:N", title=None, legend=legend).scale(domain=counts, range=["circle", "diamond"][:
        len(counts)]),
        fillOpacity=alt.FillOpacity("known:N", legend=None).scale(domain=list(KNOWN), range=[0.85, 0.0]),
        tooltip=["model:N", alt.Tooltip("date:T", format="%B %Y"), "count:N",
                 alt.Tooltip("amount:Q", format=".3~s"), "confidence:N"],
    )  # fmt: skip
    sparse = data[data.duplicated("model", keep=False)]
    stems = alt.Chart(sparse).mark_line(color=MUTED, strokeWidth=1, opacity=0.6).encode(
        x=x, y=y, detail="model:N"
    )  # fmt: skip
    named = data[data["model"].isin(NAMED)].drop_duplicates("model")
    words_at = (
        alt.Chart(named).transform_calculate(short="split(datum.model, ' (')[0]").encode(x=x, y=y, text="short:N")
    )
    halo = words_at.mark_text(align="left", dx=8, dy=-7, fontSize=11, stroke="white", strokeWidth=4)
    layers = [
        *([stems] if len(sparse) else []),
        halo,  # under the points: it must hide none
        marks,
        words_at.mark_text(align="left", dx=8, dy=-7, fontSize=11),
    ]
    subtitle = f"{data['model'].nunique()} models; hollow: an outside estimate, a rumour, or a number from memory"
    if len(counts) > 1:
        subtitle += "; a stem joins the two counts of a mixture of experts"
    heading = alt.Title(title, subtitle=subtitle)
    return alt.layer(*layers).properties(title=heading, description=description, width=WIDTH, height=340)


def amounts(data: pd.DataFrame, value: str, *, title: str, x_title: str, **words: Any) -> alt.LayerChart:
    """Draw one bar per row of ``label`` and ``value``."""
    return bars_with_range(data, "label", value, title=title, x_title=x_title, **words)


def _two_digits(energy_wh: float) -> str:
    """An energy as it stands beside its dot: two digits that one can say, never a power of ten."""
    if energy_wh >= 100:
        return f"{energy_wh:.0f} Wh"
    return f"{float(f'{energy_wh:.2g}'):.7f}".rstrip("0").rstrip(".") + " Wh"


def answers_chart(data: pd.DataFrame, title: str) -> Any:
    """Draw what answers cost on a logarithmic axis: one dot each, hollow and with its range where it is modelled.

    Args:
        data: from `greenlab.footprint.tables.answers`: label, energy_wh, low_wh, high_wh, basis, by; in order of size.
        title: the finding, as a sentence.
    """
    require_columns(data, "label", "energy_wh", "low_wh", "high_wh", "basis", "by")
    sources = ["this book", "ML.ENERGY"]
    data = data.assign(said=[_two_digits(wh) for wh in data["energy_wh"]])
    data["end_wh"] = data["high_wh"].fillna(data["energy_wh"])
    y = alt.Y("label:N", sort=data["label"].tolist(), title=None)
    y = y.axis(domain=False, ticks=False, labelPadding=8, labelLimit=300)
    axis = alt.Axis(values=[10.0**k for k in range(-5, 4, 2)], labelExpr="format(datum.value, ',~g')")
    x = alt.X(
        "energy_wh:Q", title="Energy of the chips alone [Wh]; each line of the grid is a hundred times", axis=axis
    )
    x = x.scale(type="log", domain=[1e-5, 2e4], nice=False)
    base = alt.Chart(data).encode(y=y, x=x)
    spans = alt.Chart(data.dropna(subset=["low_wh"])).mark_rule(strokeWidth=2, color=GRID).encode(
        y=y, x="low_wh:Q", x2="high_wh:Q"
    )  # fmt: skip
    colour = alt.Scale(domain=sources, range=[VERMILION, BLUE])
    legend = alt.Legend(title=None, labelLimit=400)
    marks = base.mark_point(size=90, strokeWidth=2).encode(
        stroke=alt.Stroke("by:N", scale=colour, legend=legend), fill=alt.Fill("by:N", scale=colour, legend=legend),
        shape=alt.Shape("by:N", legend=legend).scale(domain=sources, range=["diamond", "circle"]),
        fillOpacity=alt.FillOpacity("basis:N", legend=None).scale(domain=["measured", "modelled"], range=[1.0, 0.0]),
        tooltip=["label:N", "said:N", "basis:N", "by:N"],
    )  # fmt: skip
    figures = alt.Chart(data).mark_text(align="left", dx=9, color=INK).encode(
        y=y, x=alt.X("end_wh:Q", axis=axis).scale(type="log", domain=[1e-5, 2e4], nice=False), text="said:N"
    )  # fmt: skip
    return alt.layer(spans, marks, figures).properties(
        title=alt.Title(
            title,
            subtitle="ML.ENERGY: H100, the most frugal setting published, without host and building; hollow: modelled",
        ),
        description="Energy of an answer from one token to a video, logarithmic, one dot each",
        width=WIDTH - 160, height=alt.Step(26),
    )  # fmt: skip


def iea_chart(data: pd.DataFrame, title: str) -> Any:
    """Draw what one agency said of data centres: two scopes, two lines that never meet; forecasts hollow and dashed.

    Args:
        data: from `greenlab.footprint.tables.scopes`: year, energy_twh, low_twh, high_twh, scope, what.
        title: the finding, as a sentence.
    """
    require_columns(data, "year", "energy_twh", "low_twh", "high_twh", "scope", "what")
    scopes = data["scope"].unique().tolist()
    order = alt.Scale(domain=scopes, range=[VERMILION, BLUE])
    data = data.assign(kind=["estimate" if what == "estimate" else "forecast" for what in data["what"]])
    x = alt.X("year:Q", title="Year").scale(domain=[2021, 2031]).axis(format="d", tickCount=10)
    y = alt.Y("energy_twh:Q", title="Electricity a year [TWh]").scale(domain=[0, 1100])
    base = alt.Chart(data).encode(x=x, y=y)
    colour = alt.Color("scope:N", scale=order, legend=None)
    lines = base.mark_line(strokeWidth=1.5, strokeDash=[5, 4]).encode(color=colour)
    ends = alt.Chart(data.dropna(subset=["low_twh"])).mark_rule(strokeWidth=2).encode(
        x="year:Q", y="low_twh:Q", y2="high_twh:Q", color=colour
    )  # fmt: skip
    marks = base.mark_point(size=120, strokeWidth=2).encode(
        stroke=alt.Stroke("scope:N", scale=order, legend=None), fill=alt.Fill("scope:N", scale=order, legend=None),
        shape=alt.Shape("scope:N", legend=None).scale(domain=scopes, range=["square", "circle"]),
        fillOpacity=alt.FillOpacity("kind:N", legend=None).scale(domain=["estimate", "forecast"], range=[1.0, 0.0]),
        tooltip=["year:Q", "scope:N", "what:N", alt.Tooltip("energy_twh:Q", title="TWh")],
    )  # fmt: skip
    text = base.transform_calculate(said="datum.energy_twh + ' TWh'").mark_text(align="left", dx=10, dy=12)
    spots = pd.DataFrame({"scope": [*scopes], "year": [2021.6, 2027.2], "energy_twh": [760.0, 560.0]})  # free places
    names = (
        alt.Chart(spots)
        .mark_text(align="left", fontWeight=600, fontSize=13)
        .encode(x=x, y=y, text="scope:N", color=colour)
    )
    return alt.layer(lines, ends, marks, text.encode(text="said:N"), names).properties(
        title=alt.Title(title, subtitle="Filled: estimates; hollow: forecasts, with their range where one was printed"),
        description="Electricity of data centres by year as two scopes that are not joined: "
        "with and without cryptocurrencies",
        width=WIDTH,
        height=300,
    )


def yardstick_chart(data: pd.DataFrame, title: str) -> Any:
    """Draw countries and uses of AI as bars on one axis; their kinds differ in colour and are named beside each figure.

    Args:
        data: label, energy_twh, kind ("AI" or "country"), in order.
        title: the finding, as a sentence.
    """
    require_columns(data, "label", "energy_twh", "kind")
    kinds = alt.Scale(domain=["AI", "country"], range=[BLUE, "#B5B5B5"])
    base = alt.Chart(data).encode(
        y=alt.Y("label:N", sort=None, title=None).axis(domain=False, ticks=False, labelPadding=8),
        x=alt.X("energy_twh:Q", title="Electricity a year [TWh]").scale(domain=[0, 1080]),
    )
    bars = base.mark_bar(cornerRadiusEnd=2, height={"band": 0.7}).encode(
        color=alt.Color("kind:N", title=None, scale=kinds), tooltip=["label:N", "energy_twh:Q", "kind:N"]
    )
    figures = base.mark_text(align="left", dx=6).encode(text=alt.Text("energy_twh:Q", format=",.3~r"))
    return alt.layer(bars, figures).properties(
        title=alt.Title(title,
        subtitle="Grey: what a country uses in a year. Blue: what AI or data centres use, or would"),
        description="Bars of yearly electricity: countries beside data centres and scenarios of AI, in order of size",
        width=WIDTH - 120, height=alt.Step(28),
    )  # fmt: skip


def split_chart(data: pd.DataFrame, title: str) -> Any:
    """Draw where 100 units of a data centre's electricity go: label, part, share_percent."""
    require_columns(data, "label", "part", "share_percent")
    parts = alt.Scale(domain=["IT equipment", "all else"], range=[BLUE, "#E69F00"])
    base = alt.Chart(data).encode(
        y=alt.Y("label:N", sort=None, title=None).axis(domain=False, ticks=False, labelPadding=8),
        x=alt.X("share_percent:Q", title="Share of the electricity [%]").stack("zero").scale(domain=[0, 100]),
        order=alt.Order("part:N", sort="ascending"),
    )
    bars = base.mark_bar(height={"band": 0.7}, stroke="white").encode(
        color=alt.Color("part:N", title=None, scale=parts),
        tooltip=["label:N", "part:N", alt.Tooltip("share_percent:Q", format=".0f")],
    )
    it = data[data["part"] == "IT equipment"].assign(says=lambda d: d["share_percent"].map("{:.0f} % IT".format))
    words = alt.Chart(it).mark_text(align="left", dx=8, color="white", fontWeight=600).encode(
        y=alt.Y("label:N", sort=None), x=alt.datum(0), text="says:N"
    )  # fmt: skip
    return alt.layer(bars, words).properties(
        title=title,
        description="Share of IT equipment and of cooling and losses in a data centre's electricity, three cases",
        width=WIDTH, height=alt.Step(36),
    )  # fmt: skip
