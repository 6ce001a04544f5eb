"""What a token costs on an H100, measured: tables of the accelerator study, their charts beside the bound, a widget.

Joules are those of the GPU alone, read from its own energy counter; `greenlab.accelerator` says how. Nothing is
interpolated: the widget moves from one measured point to the next.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import numpy as np
import pandas as pd

from greenlab.core import checks, facts, studies
from greenlab.core.names import unknown
from greenlab.hardware import decode, device, roofline
from greenlab.hardware.view.charts import DECADES, _table, _text
from greenlab.lab.charts import bars_with_range, require_columns, require_few
from greenlab.lab.charts.parts import finish, number_tooltip
from greenlab.lab.theme import INK, MUTED, VERMILION, WIDTH
from greenlab.lab.widgets import Explorer

CHIP = "h100-sxm5-80gb"
LARGE = "Llama-3.1-8B"
USUAL_CONTEXT = 512  # tokens, at which batches were measured
USUAL_BATCH = 8  # sequences, at which contexts were measured
ANSWER = 300  # tokens
GOAL_J, GOAL_TOKENS_PER_S = 20, 75  # for an answer; for each user
BATCH_TITLE, ENERGY_TITLE = "Sequences at once (batch)", "Energy a token [J]"
MEASURED, BOUND = "measured", "bound"
COLUMNS = ["model", "batch", "context", "j_per_token", "low", "high", "power_w", "tokens_per_s", "basis"]
SHARES = {  # rows of the chart of zeros: words -> figure of the study
    "zeros in a product: joules": "matmul-zeros-over-random",
    "zeros in a product: watts": "matmul-zeros-over-random-power",
    "zeros in a copy: joules": "copy-zeros-over-random",
    "zeros in a copy: watts": "copy-zeros-over-random-power",
}


def measured_table() -> pd.DataFrame:
    """Measured joules a token of whole models that write, one row a point.

    Returns:
        The columns model, batch, context [tokens], j_per_token [J], low and high (the meter's range) [J], power_w [W],
        tokens_per_s (of all sequences together) and basis.
    """
    rows = studies.load("accelerator", "summary")["summary"].query("section == 'decode'")
    rows = rows[rows["layers"].isna()].astype({"batch": int, "context": int})
    words = {"what": "model", "j_per_unit": "j_per_token", "low_j_per_unit": "low", "high_j_per_unit": "high"}
    return rows.rename(columns=words | {"units_per_s": "tokens_per_s"})[COLUMNS].reset_index(drop=True)


SERVED = (8, 16, 32, 64, 128, 256)  # limits of requests at once, each a fact


def served_table() -> pd.DataFrame:
    """Whole requests of the 8B model on a server with an H100, as ML.ENERGY measured them.

    Returns:
        One row a limit of requests at once: batch, j_per_token [J] and label, which names one point only.
    """
    rows = [{"batch": batch, "j_per_token": facts.value(f"energy-h100-llama3-8b-batch-{batch}")} for batch in SERVED]
    return pd.DataFrame(rows).assign(label=["", "", "8B on a server", "", "", ""])


def bound_table(table: pd.DataFrame) -> pd.DataFrame:
    """The measured points again, with what rated power over the roofline says of each.

    Args:
        table: as `measured_table` gives it.

    Returns:
        Its columns and ``bound_j``, rated power over the bound on tokens a second [J].

    Raises:
        TypeError: if ``table`` is no table.
        ValueError: if a column is missing.
    """
    require_columns(_table("table", table), "model", "batch", "context")
    from greenlab.accelerator.shapes import MODELS  # it loads torch

    def bound(row: Any) -> float:
        work = decode(MODELS[row.model].shape, batch=row.batch, context=row.context)
        return float(np.asarray(roofline(work, device(CHIP)).j_per_token))

    return table.assign(bound_j=[bound(row) for row in table.itertuples()])


def bound_errors(table: pd.DataFrame, served: pd.DataFrame) -> pd.DataFrame:
    """How far the bound's joules are from what was measured for the 8B model, batch by batch.

    Args:
        table: as `bound_table` gives it.
        served: as `served_table` gives it.

    Returns:
        One row a batch at the usual context: batch, j_per_token [J], bound_j [J], ratio (measured over bound), served_j
        [J] and served_ratio (a server over the bound), missing where no server was measured, power_share (of the rated
        power), speed_share (of the roofline's speed) and user_tokens_per_s.

    Raises:
        TypeError: if an argument is no table.
        ValueError: if a column is missing.
    """
    require_columns(_table("table", table), *COLUMNS, "bound_j")
    require_columns(_table("served", served), "batch", "j_per_token")
    rows = table[(table["model"] == LARGE) & (table["context"] == USUAL_CONTEXT)]
    rows = rows.merge(served[["batch", "j_per_token"]].rename(columns={"j_per_token": "served_j"}), "left", "batch")
    rows = rows.assign(ratio=rows["j_per_token"] / rows["bound_j"], served_ratio=rows["served_j"] / rows["bound_j"])
    rows["power_share"] = rows["power_w"] / float(device(CHIP).power_w or np.nan)
    rows["speed_share"] = rows["power_share"] / rows["ratio"]  # energy is power over speed
    rows["user_tokens_per_s"] = rows["tokens_per_s"] / rows["batch"]
    wanted = ["batch", "j_per_token", "bound_j", "ratio", "served_j", "served_ratio"]
    return rows[[*wanted, "power_share", "speed_share", "user_tokens_per_s"]].reset_index(drop=True)


def measured_chart(table: pd.DataFrame, served: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw measured joules a token against the batch, beside the bound and published measurements of a server.

    Args:
        table: as `bound_table` gives it; points at other contexts than the usual one are left out.
        served: as `served_table` gives it.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column of the table is missing, or it has too many models.
    """
    _text(title=title)
    require_columns(_table("table", table), *COLUMNS, "bound_j")
    require_columns(_table("served", served), "batch", "j_per_token", "label")
    usual = table[table["context"] == USUAL_CONTEXT]
    long = usual.melt(["model", "batch"], ["j_per_token", "bound_j"], "what", "j")
    long["what"] = long["what"].map({"j_per_token": MEASURED, "bound_j": BOUND})
    order = alt.Scale(domain=require_few(usual, "model"))
    color = alt.Color("model:N", title=None, scale=order)
    x = alt.X("batch:Q", title=BATCH_TITLE).scale(type="log", base=2)
    y = alt.Y("j:Q", title=ENERGY_TITLE).scale(type="log").axis(format="~g", values=DECADES[:5])
    dash = alt.StrokeDash("what:N", title=None).scale(domain=[MEASURED, BOUND], range=[[1, 0], [5, 4]])
    lines = alt.Chart(long).mark_line().encode(x=x, y=y, color=color, strokeDash=dash)
    base = alt.Chart(usual).encode(x=x, color=color)
    ranges = base.mark_rule(strokeWidth=1.5, opacity=0.6).encode(y=alt.Y("low:Q", title=ENERGY_TITLE), y2="high:Q")
    tooltip = [number_tooltip("batch", BATCH_TITLE), number_tooltip("j_per_token", ENERGY_TITLE)]
    tooltip += [number_tooltip("power_w", "Power [W]"), number_tooltip("tokens_per_s", "Tokens/s in all")]
    points = base.mark_point(filled=True, opacity=1).encode(
        y=alt.Y("j_per_token:Q", title=ENERGY_TITLE), shape=alt.Shape("model:N", title=None, scale=order),
        tooltip=["model:N", *tooltip, "basis:N"],
    )  # fmt: skip
    server = alt.Chart(served).encode(x=x, y=alt.Y("j_per_token:Q", title=ENERGY_TITLE))
    crosses = server.mark_point(shape="cross", size=80, filled=True, color=INK, opacity=1).encode(tooltip=tooltip[:2])
    words = server.transform_filter("datum.label != ''").mark_text(align="left", dx=9, dy=-8).encode(text="label:N")
    return finish(
        [ranges, lines, points, crosses, words], usual, title=title, slider=None, width=WIDTH, height=340,
        subtitle=[
            "solid: MEASURED on one H100, with the meter's range; dashed: modelled from the data sheet;",
            "crosses: whole requests of the 8B model on a server with an H100, measured by ML.ENERGY",
        ],
        description="Measured energy a token against batch size for models of 8, 1 and 0.1 billion weights on an H100, "
        "each beside its bound at rated power; the 8B model starts on its bound and ends above it, the smallest one "
        "starts far above and comes down towards it",
    )  # fmt: skip


def _figures_inside(chart: alt.LayerChart) -> alt.LayerChart:
    """The figures at the foot of their bars, as at the end of a wide range they seem to name that end."""
    chart.layer[-1].mark = alt.MarkDef("text", align="left", dx=8, color="white")
    chart.layer[-1].encoding.x = alt.value(0)
    return chart


def context_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw measured joules a token by the length of the context, at the usual batch.

    Args:
        table: as `measured_table` gives it.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column of the table is missing.
    """
    _text(title=title)
    require_columns(_table("table", table), *COLUMNS)
    rows = table[(table["model"] == LARGE) & (table["batch"] == USUAL_BATCH)].sort_values("context")
    rows = rows.assign(label=[f"{context:,} tokens" for context in rows["context"]])
    chart = bars_with_range(
        rows, "label", "j_per_token", title=title, x_title=ENERGY_TITLE, band=("low", "high"), value_format=".2f",
        subtitle=f"MEASURED: {LARGE} on an H100, {USUAL_BATCH} sequences at once; lines are the meter's range",
        description="Measured energy a token of an 8B model for five lengths of context; it hardly rises up to 2,048 "
        "tokens and then rises to 2.6 times that",
    )  # fmt: skip
    return _figures_inside(chart)


def zeros_table() -> pd.DataFrame:
    """What zeros cost where random numbers cost 100 %.

    Returns:
        The columns label, share [%], low and high (what the repeats of both allow) [%] and basis.
    """
    tables = studies.load("accelerator", "figures", "repeats")
    found, blocks = tables["figures"].set_index("name"), tables["repeats"]
    blocks = blocks.assign(joules=blocks["energy_j"] / blocks["units"], watts=blocks["energy_j"] / blocks["time_s"])
    rows: list[dict[str, Any]] = [
        {"label": "random numbers", "share": 100.0, "low": 100.0, "high": 100.0, "basis": "measured"}
    ]
    for words, name in SHARES.items():
        of_section = blocks[blocks["section"] == name.partition("-")[0]]
        column = words.rpartition(" ")[2]  # joules or watts
        zeros, random = (of_section.loc[of_section["what"] == what, column] for what in ("zeros", "random numbers"))
        low, high = 100 * zeros.min() / random.max(), 100 * zeros.max() / random.min()
        figure = {"share": found.loc[name, "value"], "basis": found.loc[name, "basis"]}
        rows.append({"label": words, **figure, "low": low, "high": high})
    return pd.DataFrame(rows, columns=["label", "share", "low", "high", "basis"])


def zeros_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the joules and the watts of zeros as shares of those of random numbers.

    Args:
        table: as `zeros_table` gives it.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column of the table is missing.
    """
    _text(title=title)
    require_columns(_table("table", table), "label", "share", "low", "high", "basis")
    return bars_with_range(
        table, "label", "share", title=title, x_title="Share of what random numbers take [%]", value_format=".0f",
        band=("low", "high"),
        subtitle=[
            "MEASURED on an H100: joules for each FLOP or byte, and watts, in 16 bits;",
            "lines are what the repeats of both allow",
        ],
        description="Energy and power of a matrix product and of a copy of zeros, as shares of the same with random "
        "numbers; all are below one hundred per cent",
    )  # fmt: skip


@lru_cache(maxsize=1)
def _points() -> pd.DataFrame:
    return measured_table()


def nearest_point(model: str, batch: int, context: int) -> tuple[pd.Series, bool]:
    """The measured point of a model that is nearest, and whether it is the one asked for.

    Distances are counted in doublings of batch and context; of two points equally near, the smaller one is taken.

    Args:
        model: one of the measured models.
        batch: sequences at once.
        context: tokens in each cache.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the model was not measured, or a number is below 1.
    """
    _text(model=model)
    batch = checks.integer("batch", batch, low=1, high=10**9)
    context = checks.integer("context", context, low=1, high=10**9)
    points = _points()
    mine = points[points["model"] == model].sort_values(["batch", "context"])
    if mine.empty:
        raise unknown("model", model, points["model"].unique())
    far = np.abs(np.log2(mine["batch"] / batch)) + np.abs(np.log2(mine["context"] / context))
    found = mine.loc[far.idxmin()]
    return found, bool(found["batch"] == batch and found["context"] == context)


def _moving_point(point: alt.Chart, title: str, description: str) -> Any:
    """All measured points of all models faint, and one of them strong, with its range and words."""
    table = _points()
    x = alt.X("batch:Q", title=BATCH_TITLE).scale(type="log", base=2, domain=[1, 1024])
    y = alt.Y("j_per_token:Q", title="Energy a token [J], measured")
    y = y.scale(type="log", domain=[0.002, 6]).axis(format="~g", values=DECADES[:5])
    usual = alt.Chart(table[table["context"] == USUAL_CONTEXT])
    lines = usual.mark_line(color=MUTED, strokeWidth=1.5, opacity=0.5).encode(x=x, y=y, detail="model:N")
    dots = alt.Chart(table).mark_point(filled=True, color=MUTED, size=45, opacity=0.7).encode(x=x, y=y)
    last = table.loc[table[table["context"] == USUAL_CONTEXT].groupby("model")["batch"].idxmax()]
    names: list[Any] = []
    for widest in (False, True):  # a line that ends at the right edge is labelled above its end
        ends = alt.Chart(last[(last["batch"] == table["batch"].max()) == widest])
        place: dict[str, Any] = {"align": "right", "dy": -15} if widest else {"align": "left", "dx": 8}
        names.append(ends.mark_text(color=MUTED, **place).encode(x=x, y=y, text="model:N"))
    strong = point.encode(x=x)
    bar = strong.mark_rule(color=VERMILION, strokeWidth=2).encode(y=alt.Y("low:Q", title=""), y2="high:Q")
    mark = strong.mark_point(filled=True, size=110, color=VERMILION, opacity=1).encode(y=y)
    layers: list[Any] = [lines, dots, *names, bar, mark]
    for side, where in (("left", "<"), ("right", ">=")):  # the words stay inside the plot wherever the point goes
        words = point.transform_filter(f"datum.batch {where} 64").encode(x=x, y=y, text="words:N")
        place = {"align": side, "dx": 12 if side == "left" else -12, "dy": 18}
        layers += [words.mark_text(stroke="white", strokeWidth=4, **place), words.mark_text(**place)]
    return alt.layer(*layers).properties(title=title, description=description, width=WIDTH, height=320)


def joules(energy_j: float) -> str:
    """Joules with three digits and no prefix, so that they can be compared at a glance: 0.0107 is "0.0107 J".

    Args:
        energy_j: an amount [J].

    Raises:
        TypeError: if ``energy_j`` is no number.
        ValueError: if it is negative or not finite.
    """
    value = checks.number("energy_j", energy_j, low=0)
    return f"{float(f'{value:.3g}'):g} J" if value < 100 else f"{value:,.0f} J"


def token_widget() -> Explorer:
    """Move along what was measured: choose a model, a batch and a context, and read what an answer costs."""
    start = {"at_batch": 1, "at_j": 1.0, "at_low": 0.9, "at_high": 1.2, "at_words": ""}
    point = alt.Chart(pd.DataFrame({"one": [1]})).transform_calculate(
        batch="at_batch", j_per_token="at_j", low="at_low", high="at_high", words="at_words"
    )
    title = "A token gets cheaper with company, and dearer with a long context"
    base = _moving_point(point, title, "All measured points of three models, with the chosen one and the meter's range")

    def draw(**chosen: Any) -> dict[str, Any]:
        row, _ = nearest_point(**chosen)
        numbers = {"at_batch": int(row["batch"]), "at_j": float(row["j_per_token"])}
        numbers |= {"at_low": float(row["low"]), "at_high": float(row["high"])}
        return numbers | {"at_words": f"{joules(row['j_per_token'])} a token, {row['power_w']:.0f} W"}

    def say(**chosen: Any) -> str:
        row, exact = nearest_point(**chosen)
        place = f"batch {row['batch']}, {row['context']:,} tokens of context"
        note = "" if exact else f" (not measured: batch {chosen['batch']} with {chosen['context']:,}; this is nearest)"
        answer, low, high = (ANSWER * row[name] for name in ("j_per_token", "low", "high"))
        return (
            f"{row['basis'].upper()} at {place}{note}: {joules(row['j_per_token'])} a token, {row['power_w']:.0f} W, "
            f"{row['tokens_per_s']:,.0f} tokens/s in all, {row['tokens_per_s'] / row['batch']:,.0f} for each user.\n"
            f"Writing {ANSWER} tokens: {joules(answer)} ({joules(low)} to {joules(high)} by the meter), "
            f"{answer / 3600:.2g} Wh."
        )

    def reached(**chosen: Any) -> bool:
        row, exact = nearest_point(**chosen)
        each = row["tokens_per_s"] / row["batch"]
        return bool(
            exact and row["model"] == LARGE and ANSWER * row["j_per_token"] < GOAL_J and each >= GOAL_TOKENS_PER_S
        )

    points = _points()
    controls = {
        "model": W.Dropdown(options=list(points["model"].unique()), value=LARGE, description="Model"),
        "batch": W.SelectionSlider(options=sorted(points["batch"].unique().tolist()), value=1, description=BATCH_TITLE),
        "context": W.SelectionSlider(
            options=sorted(points["context"].unique().tolist()), value=USUAL_CONTEXT, description="Tokens of context"
        ),
    }
    goal = (
        f"with the 8B model, write {ANSWER} tokens for less than {GOAL_J} J "
        f"at no less than {GOAL_TOKENS_PER_S} tokens a second for each user"
    )
    chart = base.add_params(*(alt.param(name=name, value=value) for name, value in start.items()))
    return Explorer(controls, draw, say, reached, goal, base=chart)


def token_twin(title: str) -> alt.LayerChart:
    """Draw the same without a kernel: choose a model, move the batch; Vega picks the nearest measured point.

    Args:
        title: of the chart.

    Raises:
        TypeError: if ``title`` is no text.
    """
    _text(title=title)
    table = _points()
    usual = table[table["context"] == USUAL_CONTEXT].sort_values("batch")
    pick = alt.binding_select(options=list(usual["model"].unique()), name="Model: ")
    model = alt.param(name="twin_model", value=LARGE, bind=pick)
    slide = alt.binding_range(min=0, max=10, step=1, name="Doublings of the batch: ")
    power = alt.param(name="twin_doublings", value=3, bind=slide)
    answer = f"{ANSWER} * datum.j_per_token"
    point = (
        alt.Chart(usual)
        .transform_filter("datum.model == twin_model")
        # of two points equally near, the smaller batch is taken
        .transform_calculate(far="abs(log(datum.batch) / LN2 - twin_doublings) + datum.batch / 1e6")
        .transform_joinaggregate(least="min(far)")
        .transform_filter("datum.far == datum.least")
        .transform_calculate(
            words="'batch ' + datum.batch + ': ' + format(datum.j_per_token, '.3~g') + ' J, ' + "
            f"format(datum.power_w, '.0f') + ' W; {ANSWER} tokens: ' + format({answer}, '.3~g') + ' J'"
        )
    )
    description = "All measured points of three models; a menu chooses the model, a slider the batch"
    return _moving_point(point, title, description).add_params(model, power)
