"""What a layer of experts costs on an H100 when more and more tokens ask at once: measured tables, a widget, its twin.

The measurements are those of the accelerator study: one feed-forward layer in the shape of three published models,
beside a dense layer with all of its weights and one with those that a token uses. Joules are those of the GPU alone,
read from its own counter. The widget moves from one measured point to the next; nothing is interpolated.
"""

from __future__ import annotations

from functools import lru_cache

import altair as alt
import ipywidgets as W
import pandas as pd

from greenlab.accelerator.shapes import EXPERT_LAYERS
from greenlab.core import checks, studies
from greenlab.core.model.cost import expected_experts
from greenlab.core.names import unknown
from greenlab.lab.charts import require_columns
from greenlab.lab.charts.parts import finish, number_tooltip
from greenlab.lab.theme import BLUE, GREEN, INK, VERMILION, WIDTH
from greenlab.lab.widgets import Explorer

EXPERTS, TOTAL, ACTIVE = "experts", "dense, total size", "dense, active size"
LAYERS = [EXPERTS, TOTAL, ACTIVE]
COLORS = [VERMILION, BLUE, GREEN]
BATCH_TITLE = "Tokens at once (batch)"
DECADES = [10.0**power for power in range(-5, 2)]  # J: ticks of the logarithmic axis
PERCENT = "round(100 * datum.value) + ' %'"  # Vega's own format leaves out the space


@lru_cache(maxsize=1)
def _measured() -> pd.DataFrame:
    rows = studies.load("accelerator", "summary")["summary"].query("section == 'layer'")
    model, layer = rows["what"].str.split(": ", n=1, expand=True).T.to_numpy()
    table = pd.DataFrame({"model": model, "layer": layer, "batch": rows["batch"].astype(int).to_numpy()})
    words = {"j_per_unit": "j_per_token", "least_j_per_unit": "least", "most_j_per_unit": "most"}
    words |= {"low_j_per_unit": "low", "high_j_per_unit": "high"}
    for column, name in words.items():
        table[name] = rows[column].to_numpy()
    table["visited"] = rows["experts_visited"].astype(int).to_numpy()
    table["basis"] = rows["basis"].to_numpy()
    return table


def layer_table() -> pd.DataFrame:
    """Measured joules a token of one layer, one row a model, layer and batch.

    Returns:
        The columns model, layer (experts, or a dense one of the total or the active size), batch, j_per_token,
        least and most (of the repeats), low and high (the meter's range) [J], visited (experts that the batch visited;
        of a dense layer, as many as make up its size) and basis.
    """
    return _measured().copy()


def saving_table() -> pd.DataFrame:
    """What the experts cost as a share of the dense layer with as many weights, one row a model and batch.

    Returns:
        The columns model, batch, share (of the joules), share_low and share_high (from the spread of the repeats),
        over_active (joules over those of the dense layer of the active size), visited, expected (experts that so many
        tokens visit on average, if each is as likely as the other), n_experts, visited_share, and percent (the share
        once more, in per cent).
    """
    table = _measured()
    by = {layer: table[table["layer"] == layer].set_index(["model", "batch"]) for layer in LAYERS}
    ours, total = by[EXPERTS], by[TOTAL]
    found = pd.DataFrame({"share": ours["j_per_token"] / total["j_per_token"]})
    found["share_low"], found["share_high"] = ours["least"] / total["most"], ours["most"] / total["least"]
    found["over_active"] = ours["j_per_token"] / by[ACTIVE]["j_per_token"]
    found["visited"] = ours["visited"]
    found = found.reset_index()
    shapes = [EXPERT_LAYERS[model] for model in found["model"]]
    found["n_experts"] = [shape.n_experts for shape in shapes]
    found["expected"] = [
        expected_experts(shape.n_experts, shape.top_k, batch)
        for shape, batch in zip(shapes, found["batch"], strict=True)
    ]
    found["visited_share"] = found["visited"] / found["n_experts"]
    found["percent"] = 100 * found["share"]
    return found


def saving_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the experts' joules as a share of those of the dense layer with as many weights, against the batch.

    Args:
        table: as `saving_table` gives it.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(table, "model", "batch", "share", "share_low", "share_high", "visited", "n_experts", "percent")
    order = alt.Scale(domain=list(EXPERT_LAYERS))
    x = alt.X("batch:Q", title=BATCH_TITLE).scale(type="log", base=2).axis(values=sorted(set(table["batch"])))
    y = alt.Y("share:Q", title="Energy of the experts, over dense").axis(labelExpr=PERCENT)
    legend = alt.Legend(symbolOpacity=1)  # else the pale band lends the legend its opacity
    base = alt.Chart(table).encode(x=x, color=alt.Color("model:N", title=None, scale=order, legend=legend))
    tooltip = [
        "model:N",
        number_tooltip("batch", BATCH_TITLE),
        alt.Tooltip("percent:Q", format=".0f", title="of the dense layer's energy [%]"),
    ]
    tooltip += [number_tooltip("visited", "experts visited"), number_tooltip("n_experts", "of")]
    band = base.mark_area(opacity=0.2).encode(
        y=alt.Y("share_low:Q", title="Energy of the experts, over dense"), y2="share_high:Q"
    )
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        y=y, shape=alt.Shape("model:N", title=None, scale=order), tooltip=tooltip
    )
    goal = alt.Chart(pd.DataFrame({"share": [1.0], "words": ["a dense layer with as many weights"]}))
    rule = goal.mark_rule(strokeDash=[5, 4], color=INK).encode(y=y)
    words = goal.mark_text(align="right", baseline="bottom", dx=-4, dy=-3).encode(
        x=alt.value(WIDTH), y=y, text="words:N"
    )
    return finish(
        [band, base.mark_line().encode(y=y), points, rule, words], table, title=title, slider=None, width=WIDTH,
        height=320,
        subtitle="MEASURED on one H100: one layer in the shape of each model, 16 bits; bands: spread of the repeats",
        description="Energy of a layer of experts as a share of that of a dense layer with as many weights, against "
        "the number of tokens at once; for all three models it is far below one for a single token, close to one or "
        "above it around 64 tokens, and far below one again for thousands",
    )  # fmt: skip


def _point(model: str, batch: int) -> tuple[pd.Series, dict[str, pd.Series]]:
    """The row of the saving and the rows of the three layers at a measured point."""
    table, savings = _measured(), saving_table()
    if model not in EXPERT_LAYERS:
        raise unknown("model", model, EXPERT_LAYERS)
    row = savings[(savings["model"] == model) & (savings["batch"] == batch)]
    if row.empty:
        raise ValueError(f"batch={batch}: measured were {', '.join(map(str, sorted(set(savings['batch']))))}")
    mine = table[(table["model"] == model) & (table["batch"] == batch)]
    return row.iloc[0], {str(row["layer"]): row for _, row in mine.iterrows()}


def _joules(value: float) -> str:
    """Joules with two digits, in the prefix that reads best."""
    rounded = float(f"{value:.2g}")  # else 120 mJ would be written 1.2e+02 mJ
    return f"{rounded:g} J" if rounded >= 0.1 else f"{1e3 * rounded:.3g} mJ"


def _lines(table: pd.DataFrame) -> list[alt.Chart]:
    """One line a layer with its measured points, on logarithmic axes."""
    order = alt.Scale(domain=LAYERS, range=COLORS)
    x = alt.X("batch:Q", title=BATCH_TITLE).scale(type="log", base=2).axis(values=sorted(set(table["batch"])))
    y = alt.Y("j_per_token:Q", title="Energy a token [J]").scale(type="log").axis(format="~g", values=DECADES)
    base = alt.Chart(table).encode(x=x, y=y, color=alt.Color("layer:N", title=None, scale=order))
    tooltip = ["layer:N", number_tooltip("batch", BATCH_TITLE), number_tooltip("j_per_token", "Energy a token [J]")]
    points = base.mark_point(filled=True, size=50, opacity=1).encode(
        shape=alt.Shape("layer:N", title=None, scale=alt.Scale(domain=LAYERS)), tooltip=tooltip
    )
    return [base.mark_line(strokeWidth=2), points]


def crowd_widget() -> Explorer:
    """Choose a model and how many tokens ask at once; read what the layer costs and how many experts are visited."""
    table, savings = _measured(), saving_table()

    def draw(model: str, batch: int) -> alt.LayerChart:
        mine = table[table["model"] == model]
        here = alt.Chart(pd.DataFrame({"batch": [batch]})).mark_rule(color=INK, strokeDash=[3, 3])
        row, _ = _point(model, batch)
        asked = "1 token" if batch == 1 else f"{batch:,} tokens at once"
        words = f"{row['visited']:.0f} of {row['n_experts']:.0f} experts are visited"
        return finish(
            [*_lines(mine), here.encode(x="batch:Q")], mine, title=f"{model}, {asked}: {words}",
            subtitle="MEASURED on one H100, one layer; both axes are logarithmic", slider=None, width=WIDTH, height=300,
            description=f"Energy a token of a layer of {model} against the batch, beside two dense layers; "
            f"chosen: {batch} tokens, {words}",
        )  # fmt: skip

    def say(model: str, batch: int) -> str:
        row, layer = _point(model, batch)
        ours = layer[EXPERTS]
        mean = {name: _joules(layer[name]["j_per_token"]) for name in LAYERS}
        share, high = row["share"], row["share_high"]
        # a share whose spread reaches 1 is no saving
        verdict = (
            f"That saves {100 * (1 - share):.0f} % of"
            if high < 1
            else f"That saves nothing that the repeats can tell: it is {share:.2f} times"
        )
        over = f"{row['over_active']:.1f}" if row["over_active"] < 10 else f"{row['over_active']:.0f}"
        return (
            f"{ours['basis'].upper()}: the experts take {mean[EXPERTS]} a token ({_joules(ours['low'])} to "
            f"{_joules(ours['high'])} by the meter).\n"
            f"{verdict} the {mean[TOTAL]} of a dense layer with as many weights.\n"
            f"It is {over} times the {mean[ACTIVE]} of a dense layer with as many weights as a token uses.\n"
            f"{row['visited']:.0f} of {row['n_experts']:.0f} experts were visited; "
            f"{row['expected']:.1f} would be on average, if all were equally likely."
        )

    def reached(model: str, batch: int) -> bool:
        return bool(_point(model, batch)[0]["share_high"] >= 1)

    controls = {
        "model": W.Dropdown(options=list(EXPERT_LAYERS), value="Qwen3-30B-A3B", description="Model"),
        "batch": W.SelectionSlider(options=sorted(set(savings["batch"].tolist())), value=1, description=BATCH_TITLE),
    }
    return Explorer(controls, draw, say, reached, "find a model and a batch at which the experts save nothing")


def crowd_twin(title: str) -> alt.LayerChart:
    """Draw the share of the joules and the share of the experts that are visited, with a menu for the model.

    Args:
        title: of the chart.

    Raises:
        TypeError: if ``title`` is no text.
    """
    checks.text("title", title)
    words = {"share": "energy, over the dense layer", "visited_share": "experts visited, of all"}
    pick = alt.binding_select(options=list(EXPERT_LAYERS), name="Model: ")
    model = alt.param(name="crowd_model", value="DeepSeek-V3", bind=pick)
    return _shares(
        saving_table(), words, title, ["model"], "datum.model == crowd_model",
        subtitle="MEASURED on one H100; choose a model below; dashed: all experts, or all of the dense layer's joules",
        description="Share of the dense layer's energy and share of the experts that are visited, against the number "
        "of tokens at once, for one of three models that a menu chooses",
    ).add_params(model)  # fmt: skip


def _shares(
    table: pd.DataFrame, words: dict[str, str], title: str, keys: list[str], chosen: str = "true", **texts: str
) -> alt.LayerChart:
    """Two shares against the batch, with a line at one; ``chosen`` is an expression of Vega that filters the rows."""
    long = table.melt(["batch", *keys], list(words), "what", "part")
    long["what"] = long["what"].map(words)
    names, batches = list(words.values()), sorted(set(long["batch"]))
    x = alt.X("batch:Q", title=BATCH_TITLE).scale(type="log", base=2).axis(values=batches)
    y = alt.Y("part:Q", title="Share").scale(domain=[0, max(1.4, float(long["part"].max()))]).axis(labelExpr=PERCENT)
    long["percent"] = 100 * long["part"]
    tooltip = [
        "what:N",
        number_tooltip("batch", BATCH_TITLE),
        alt.Tooltip("percent:Q", format=".0f", title="share [%]"),
    ]
    color = alt.Color("what:N", title=None, scale=alt.Scale(domain=names, range=[VERMILION, BLUE]))
    base = alt.Chart(long).transform_filter(chosen).encode(x=x, y=y, color=color)
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        shape=alt.Shape("what:N", title=None, scale=alt.Scale(domain=names)), tooltip=tooltip
    )
    rule = alt.Chart(pd.DataFrame({"part": [1.0]})).mark_rule(strokeDash=[5, 4], color=INK).encode(y=y)
    return finish(
        [base.mark_line(), points, rule], long, title=title, slider=None, width=WIDTH, height=300,
        subtitle=texts["subtitle"], description=texts["description"],
    )  # fmt: skip


def own_chart(race: pd.DataFrame, title: str | None = None) -> alt.LayerChart:
    """Draw the same for the reader's own machine: time of the experts over the dense layer, and visits.

    Args:
        race: as `study.crowd.race` gives it.
        title: of the chart; None says what this race found, as another machine may find something else.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing, or no row is of the layer of experts.
    """
    require_columns(race, "batch", "layer", "share", "visited")
    ours = race[race["layer"] == EXPERTS]
    if ours.empty:
        raise ValueError(f"race has no row of the layer {EXPERTS!r}: give what study.crowd.race(...) measured")
    title = _found(ours) if title is None else checks.text("title", title)
    return _shares(
        ours, {"share": "time, over the dense layer", "visited": "experts visited, of all"}, title, [],
        subtitle="MEASURED on one core of your machine, 32 bits, weights from memory",
        description="Time of a layer of experts over that of a dense layer with as many weights on this machine, and "
        "the share of the experts that are visited, against the number of tokens at once",
    )  # fmt: skip


def _found(ours: pd.DataFrame) -> str:
    """What a race of experts against the dense layer found, as a title."""
    first, worst = (ours.sort_values(column).iloc[at] for column, at in (("batch", 0), ("share", -1)))
    if worst["batch"] == first["batch"]:
        return f"Your machine: experts save least {_tokens(first['batch'])}: {_saved(first['share'])} of the time"
    return (
        f"Your machine: {_tokens(first['batch'])}, experts save {_saved(first['share'])} of the time; "
        f"{_tokens(worst['batch'])}, where they save least, {_saved(worst['share'])}"
    )


def _tokens(batch: int) -> str:
    return "with one token" if batch == 1 else f"with {batch:,} at once"


def _saved(share: float) -> str:
    return f"{100 * (1 - share):.0f} %" if share < 0.995 else "nothing"
