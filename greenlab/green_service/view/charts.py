"""The charts of chapter 10. How a figure is known is said by the shape of its mark and in words."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from greenlab.green_service import EVIDENCE, QUANTITIES
from greenlab.lab.charts import Slider, bars_with_range, dots, lines
from greenlab.lab.charts.parts import finish, number_tooltip
from greenlab.lab.theme import BLUE, INK, MUTED, WIDTH

STEP = alt.Step(34)
NAMES = {
    "energy": "Energy", "carbon": "Carbon", "water": "Water", "cost": "Cost", "first token": "Time to the first token",
    "whole answer": "Time of the whole answer",
}  # fmt: skip
UNITS = {"g": "g CO₂e"}
SHAPES = ("circle", "square", "triangle-up", "diamond")


def axis_title(quantity: str) -> str:
    """A quantity of a request with its unit, as on an axis."""
    unit = QUANTITIES[quantity][0]
    return f"{NAMES[quantity]} of a request [{UNITS.get(unit, unit)}]"


def waterfall_rows(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """The bars of a waterfall: the service before, one for each lever in order, and the service after."""
    part = table[table["quantity"] == quantity]
    first, last = float(part["before"].iloc[0]), float(part["after"].iloc[-1])
    rows: list[dict[str, Any]] = [{"lever": "before", "start": 0.0, "end": first, "said": "", "whole": True}]
    for row in part.to_dict("records"):
        before, after = float(row["before"]), float(row["after"])
        said = f"{-100 * row['saved_fraction']:+.0f} %".replace("-", "−") if row["counted"] else "not counted"
        said = said.replace("+0 %", "0 %").replace("−0 %", "0 %")
        band = (before * (1 - float(row["share_high"])), before * (1 - float(row["share_low"])))
        found = {"lever": row["lever"], "start": before, "end": after, "said": said, "whole": False}
        rows.append(found | {"low": band[0], "high": band[1], "evidence": row["evidence"]} if row["counted"] else found)
    rows.append({"lever": "after", "start": 0.0, "end": last, "said": "", "whole": True})
    found_rows = pd.DataFrame(rows, columns=["lever", "start", "end", "said", "whole", "low", "high", "evidence"])
    return found_rows.assign(right=found_rows[["start", "end"]].max(axis=1))


def waterfall_chart(table: pd.DataFrame, quantity: str, title: str, *, log: bool = False) -> alt.LayerChart:
    """Draw a waterfall: what each lever takes away at its place in the order.

    Args:
        table: of `study.tables.steps`.
        quantity: a name of `QUANTITIES`.
        title: the finding.
        log: a logarithmic axis; a share then has the same length everywhere.
    """
    rows = waterfall_rows(table, quantity)
    floor = 0.5 * float(rows["end"].min()) if log else 0.0
    rows["start"] = rows["start"].clip(lower=floor)
    rows["low"] = rows["low"].clip(lower=floor)
    order, words = rows["lever"].tolist(), axis_title(quantity)
    most = float(max(rows["right"].max(), rows["high"].max()))
    scale: dict[str, Any] = {"type": "log"} if log else {}
    x = alt.X("start:Q", title=words).scale(domain=[floor, 1.25 * most], nice=False, **scale).axis(tickCount=6)
    y = alt.Y("lever:N", title=None, sort=order).axis(domain=False, ticks=False, labelPadding=8, labelLimit=200)
    base = alt.Chart(rows).encode(y=y)
    known = base.transform_filter("isValid(datum.evidence)")
    kinds = {kind: form for kind, form in zip(EVIDENCE, SHAPES, strict=True) if (rows["evidence"] == kind).any()}
    shape = alt.Shape("evidence:N", title="The step is").scale(domain=list(kinds), range=list(kinds.values()))
    legend = alt.Legend(orient="bottom", columns=2, direction="horizontal", titleOrient="top")
    tooltip = [alt.Tooltip("lever:N"), alt.Tooltip("said:N", title="change"), number_tooltip("end", words)]
    layers = [
        base.mark_bar(height={"band": 0.6}).encode(
            x=x, x2="end:Q", color=alt.condition("datum.whole", alt.value(MUTED), alt.value(BLUE)),
            tooltip=[*tooltip, alt.Tooltip("evidence:N", title="known how")],
        ),
        known.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=words), x2="high:Q"),
        known.mark_point(size=70, filled=True, color=INK, opacity=1).encode(
            x=alt.X("end:Q", title=words), shape=shape.legend(legend)
        ),
        base.mark_text(align="left", dx=8, dy=-9).encode(x=alt.X("right:Q", title=words), text="said:N"),
    ]  # fmt: skip
    return finish(
        layers, rows, title=title, subtitle="line: what is left of the bar before, in 95 % of paired draws",
        description=f"Waterfall of {NAMES[quantity].lower()} of a request from the service before to the one after, "
        "a bar for each lever; the shape of its mark says how the step is known",
        slider=None, width=WIDTH - 40, height=STEP,
    )  # fmt: skip


def alone_chart(rows: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw what each lever saves alone and at its place."""
    return dots(
        rows, "lever", "saved_pct", "how", title=title, x_title="Saved of what there was before the step [%]",
        description="What each lever saves alone from the service before, and at its place in the order",
    )  # fmt: skip


def combined_chart(rows: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw what is left of the time with each lever, each pair and all, as measured and as predicted in two ways.

    Args:
        rows: of `study.tables.said_and_measured`.
        title: the finding.
    """
    return dots(
        rows, "what", "left_pct", "how", title=title, x_title="Time of the unchanged answer that is left [%]",
        subtitle="product: what the three levers alone would leave; all three: what they leave together",
        description="What is left of the time of an answer with each lever, each pair and all three of them: measured, "
        "predicted by counts, and predicted from the parts of a pass and the kernel timed alone",
        width=WIDTH - 60,
    )  # fmt: skip


def bits_twin(rows: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw what fewer bits save against the batch, with a slider for the length of the answer."""
    rows = rows.assign(step=rows.groupby("batch", sort=True).ngroup())
    chart = lines(
        rows[["step", "saved_pct", "bits", "output_tokens"]], "step", "saved_pct", color="bits", color_title=None,
        title=title, zero=True, x_title="Requests written at once (batch)", y_title="Energy saved by fewer bits [%]",
        subtitle="against 16 bits, the 8B model on an H100; modelled from measured steps",
        description="Energy that fewer bits save against the batch, with a slider for the tokens of the answer",
        slider=Slider("output_tokens", "Tokens of the answer", 300),
    )  # fmt: skip
    for layer in chart.layer:
        layer.encoding.x.axis = alt.Axis(values=list(range(8)), labelExpr="format(pow(2, datum.value), 'd')")
    return chart


def parts_chart(parts: pd.DataFrame, quantity: str, title: str) -> alt.LayerChart:
    """Draw what a request's energy, carbon or water is made of; each part says how it is known."""
    rows = parts[(parts["quantity"] == quantity) & (parts["value"] > 0)]
    names = rows["part"].str.replace("accelerators that wait", "waiting")  # the label's room is short
    rows = rows.assign(label=names + " (" + rows["evidence"] + ")")[["label", "value", "low", "high"]]
    return bars_with_range(
        rows, "label", "value", band=("low", "high"), title=title, x_title=axis_title(quantity), value_format=",.0f",
        subtitle="lines: 95 % of the draws of all assumptions", width=WIDTH - 120,
        description=f"What the {quantity} of a request is made of, each part with its range and how it is known",
    )  # fmt: skip


def gap_chart(gap: pd.DataFrame, peer: str, title: str) -> alt.LayerChart:
    """Draw the steps from our energy of a request to a peer's."""
    rows = gap[gap["peer"] == peer]
    names = ["ours", *rows["step"].iloc[1:]]
    label = [name if i == 0 else f"after: {name}" for i, name in enumerate(names)]
    label[-1] += f" = {peer}"
    return bars_with_range(
        pd.DataFrame({"step": label, "energy_j": rows["energy_j"].to_numpy()}), "step", "energy_j", title=title,
        x_title="Energy of a request [J]", value_format=",.0f", subtitle="one difference after the other is taken over",
        description=f"Energy of a request, from ours to that of {peer}, one difference after the other",
        width=WIDTH - 80,
    )  # fmt: skip


def rebound_chart(rows: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw a year's energy against how strongly requests follow their cost."""
    now = rows.assign(what="after, with the requests that it brings", mwh=rows["after"] / 1000)
    before = rows.assign(what="before", mwh=rows["before"] / 1000)
    both = pd.concat([now, before])[["elasticity", "mwh", "what"]]
    return lines(
        both, "elasticity", "mwh", color="what", color_title=None, title=title, zero=True,
        x_title="Per cent more requests for each per cent less cost (elasticity)", y_title="Energy of a year [MWh]",
        description="Energy of a year after the levers against the elasticity of requests, with the year before",
    )  # fmt: skip
