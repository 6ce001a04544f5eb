"""Chapter 6 as the reader sees it: its charts, and its widget that cuts a real model."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import pandas as pd
import torch

from greenlab import layer_pruning
from greenlab.core import checks, speed
from greenlab.core.model import cost, scoring
from greenlab.lab.charts import Slider, heatmap, lines, require_columns
from greenlab.lab.theme import BLUE, GRID, VERMILION, WIDTH
from greenlab.lab.widgets import Explorer
from greenlab.layer_pruning.view import exercises  # noqa: F401 - registers the exercises

HEALINGS = {"none": "cut only", "teacher": "healed by the whole model"}
LINES = {  # phase and column of the table of speeds -> name of the line; the predictions of both phases nearly agree
    ("decode", "speedup"): "writing, measured",
    ("prefill", "speedup"): "reading, measured",
    ("decode", "predicted"): "predicted",
}


def stack_picture(n_layers: int, dropped: list[int]) -> Any:
    """Draw the layers of a model as a row of tiles, those that go crossed out.

    Args:
        n_layers: how many layers the model has.
        dropped: the numbers of those that go, from 0, in increasing order; an empty list crosses out none.

    Raises:
        TypeError: if a number is no integer.
        ValueError: if ``n_layers`` is below 1, or a layer is not in the model.
    """
    n_layers = checks.integer("n_layers", n_layers, low=1)
    dropped = [checks.integer("dropped", i, low=0, high=n_layers - 1) for i in dropped]
    data = pd.DataFrame({"layer": range(n_layers)})
    data["state"] = ["dropped" if i in dropped else "kept" for i in data["layer"]]
    domain = alt.Scale(domain=["kept", "dropped"], range=[BLUE, GRID])
    x = alt.X("layer:O", title="Layer (the sentence enters at 0)").axis(
        labelAngle=0, values=list(range(0, n_layers, 5))
    )
    tiles = alt.Chart(data).mark_rect(stroke="white").encode(
        x=x, color=alt.Color("state:N", scale=domain, legend=None), tooltip=["layer:O", "state:N"]
    )  # fmt: skip
    cross = alt.Chart(data[data["state"] == "dropped"]).mark_text(text="×", fontSize=18, color=VERMILION).encode(x=x)
    return alt.layer(tiles, cross).properties(
        title=alt.Title(
            f"{len(dropped)} of {n_layers} layers go; the other {n_layers - len(dropped)} keep their order",
            subtitle="crossed out: the layers that go",
        ),
        description=f"{n_layers} tiles in a row; crossed out: {', '.join(map(str, dropped)) or 'none'}",
        width=WIDTH,
        height=36,
    )


def _layers(start: int, n: int) -> str:
    """Name a block of layers: "layer 3", or "layers 3 to 8"."""
    return f"layer {start}" if n == 1 else f"layers {start} to {start + n - 1}"


def distance_map(distances: pd.DataFrame, best: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the distance of every block: where it starts, how many layers it has.

    Args:
        distances: one row a block: start, n, distance.
        best: the block of each length that is marked: start, n.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    require_columns(distances, "start", "n", "distance")
    require_columns(best, "start", "n")
    chart = heatmap(
        distances,
        x="start",
        y="n",
        value="distance",
        title=title,
        subtitle="each cell is one block; dark: what enters and what leaves point the same way; dot: least of a row",
        description="Heat map of the angular distance of every block of layers, the least of each length marked",
        x_title="First layer of the block",
        y_title="Layers in the block",
        value_title="Distance",
        height=340,
    )
    dots = alt.Chart(best).mark_point(filled=True, size=22, color="white", opacity=1)
    chart.layer = [*chart.layer, dots.encode(x="start:O", y="n:O")]
    return chart


def distance_twin(distances: pd.DataFrame, n_most: int = 12) -> alt.LayerChart:
    """Draw the distance against where the block starts, with a slider for its length: moves without a kernel."""
    return lines(
        distances[distances["n"] <= n_most],
        "start",
        "distance",
        title="At every length, the block that changes least touches neither end",
        subtitle=f"move the slider, from 1 to {n_most} layers: the lowest point is the block to drop",
        description="Line of the angular distance by first layer of the block, with a slider for the block's length",
        x_title="First layer of the block",
        y_title="Angular distance",
        slider=Slider("n", "Layers in the block", 6),
    )


def _curve(data: pd.DataFrame, column: str, color: str, **words: Any) -> alt.LayerChart:
    return lines(
        data,
        "n_removed",
        f"{column}_mean",
        color=color,
        color_title=None,
        band=(f"{column}_min", f"{column}_max"),
        x_title="Layers removed, of 30",
        max_colors=4,
        **words,
    )


def method_loss(data: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the loss against layers removed, a line per way to choose them; the band is the spread over seeds."""
    return _curve(
        data, "loss", "choice", title=title, y_title="Loss on unseen text [nats per token]",
        subtitle="the band is the spread over three seeds",
        description="Loss against layers removed for four ways to choose them",
    )  # fmt: skip


def method_accuracy(data: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the share of cloze items right against layers removed, with guessing as a line."""
    columns = ["accuracy_mean", "accuracy_min", "accuracy_max"]
    require_columns(data, *columns)
    return _curve(
        data.assign(**{name: 100 * data[name] for name in columns}), "accuracy", "choice", title=title,
        y_title="Cloze items right [%]", goal=(100 * scoring.CHANCE, " "), zero=True,
        subtitle="dashed line: guessing; the band is the spread over three seeds",
        description="Share of right answers against layers removed for four ways to choose them; guessing is 25 %",
    )  # fmt: skip


def healing_loss(curve: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the loss before and after healing against layers removed."""
    rows = curve[curve["method"].isin(["none", "angular"]) & curve["healing"].isin(HEALINGS)]
    return lines(
        rows.assign(state=rows["healing"].map(HEALINGS)),
        "n_removed",
        "loss",
        color="state",
        color_title=None,
        title=title,
        description="Loss against layers removed, before and after healing",
        x_title="Layers removed, of 30",
        y_title="Loss on unseen text [nats per token]",
    )


def speed_chart(timing: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw measured and predicted speed-up against layers removed, while writing and while reading.

    The prediction is that of writing; that of reading differs by less than half a per cent.
    """
    long = timing.melt(["phase", "n_removed"], ["speedup", "predicted"], "basis", "times")
    long["line"] = [LINES.get(pair) for pair in zip(long["phase"], long["basis"], strict=True)]
    return lines(
        long.dropna(subset="line"),
        "n_removed",
        "times",
        color="line",
        color_title=None,
        title=title,
        description="Speed-up against layers removed: measured beside what the cost model predicts",
        x_title="Layers removed, of 30",
        y_title="Times as fast as the whole model",
        subtitle="predicted from the bytes that are read for each word; for reading it differs by less than 0.5 %",
    )


def cut_explorer(model: Any, tokenizer: Any, distances: torch.Tensor, text: str, prompt: str) -> Explorer:
    """Cut a real model by hand: choose the first layer and how many, see the distance, the loss and how it goes on.

    Every move builds the pruned model and runs it; nothing is looked up.

    Args:
        model: the whole model; it is not changed.
        tokenizer: its tokenizer.
        distances: from `layer_pruning.block_distances`.
        text: a few sentences for the loss.
        prompt: what the cut model has to continue.
    """
    n_layers = len(distances)
    ids, start_ids = tokenizer(text, return_tensors="pt").input_ids, tokenizer(prompt, return_tensors="pt").input_ids
    shape = cost.TransformerShape.from_config(model.config)
    table = pd.DataFrame(
        [(s, n, float(distances[s, n])) for n in range(1, 13) for s in range(n_layers - n + 1)],
        columns=["start", "n", "distance"],
    )

    @lru_cache(maxsize=256)
    def outcome(start: int, n: int) -> tuple[float, str]:
        pruned = layer_pruning.drop_layers(model, start, n) if n else model
        return scoring.text_loss(pruned, ids), tokenizer.decode(speed.run_decode(pruned, start_ids, 8)[0])

    def latest(n: int) -> int:
        return n_layers - n  # a block of n layers cannot start later

    def draw(start: int, n: int) -> alt.VConcatChart:
        start = min(start, latest(n))
        same = table[table["n"] == n]
        less = int((same["distance"] < float(distances[start, n])).sum())
        change = "changes" if less == 1 else "change"
        found = f"{less} of the {len(same) - 1} other blocks of this length {change} less than yours"
        return alt.vconcat(
            stack_picture(n_layers, list(range(start, start + n))), _marked(same, start, found)
        ).properties(description=f"Cut: {_layers(start, n)}; below, the distance of each block of {n}")

    def describe(start: int, n: int) -> str:
        late = start > latest(n)
        note = f" ({n} layers of {n_layers} start at layer {latest(n)} at the latest)" if late else ""
        start = min(start, latest(n))
        (loss, words), (whole, _) = outcome(start, n), outcome(0, 0)
        faster = cost.predicted_speedup(shape, n, phase="decode", n_tokens=48)
        return (
            f"{_layers(start, n).capitalize()} cut{note}: loss {loss:.1f} (whole model {whole:.1f}), "
            f"{faster:.2f} times as fast at writing (predicted).\nIt goes on: “{' '.join(words.split())}”"
        )

    def reached(start: int, n: int) -> bool:
        return n >= 4 and outcome(min(start, latest(n)), n)[0] - outcome(0, 0)[0] < 0.5

    controls = {
        "start": W.IntSlider(value=2, min=0, max=n_layers - 1, description="First layer cut"),
        "n": W.IntSlider(value=6, min=1, max=12, description="Layers cut"),
    }
    return Explorer(controls, draw, describe, reached, "cut at least 4 layers and lose less than 0.5 nats")


def _marked(data: pd.DataFrame, start: int, title: str) -> Any:
    base = alt.Chart(data).encode(
        x=alt.X("start:Q", title="First layer of the block").scale(domain=[0, 29]),
        y=alt.Y("distance:Q", title="Angular distance").scale(domain=[0, 0.6]),
    )
    point = base.transform_filter(alt.datum.start == start).mark_point(size=140, filled=True, color=VERMILION)
    return alt.layer(
        base.mark_line(), point.encode(tooltip=["start:Q", alt.Tooltip("distance:Q", format=".3f")])
    ).properties(title=title, width=WIDTH, height=170)
