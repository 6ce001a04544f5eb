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

HEALINGS = {"none": "cut only", "teacher": "healed, teacher's logits"}


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
        x=x, color=alt.Color("state:N", title=None, scale=domain), tooltip=["layer:O", "state:N"]
    )  # fmt: skip
    cross = alt.Chart(data[data["state"] == "dropped"]).mark_text(text="×", fontSize=18, color=VERMILION).encode(x=x)
    return alt.layer(tiles, cross).properties(
        title=f"{len(dropped)} of {n_layers} layers go, the rest close ranks",
        description=f"{n_layers} tiles in a row; crossed out: {', '.join(map(str, dropped)) or 'none'}",
        width=WIDTH,
        height=36,
    )


def _layers(start: int, n: int) -> str:
    """Name a block of layers: "layer 3", or "layers 3 to 8"."""
    return f"layer {start}" if n == 1 else f"layers {start} to {start + n - 1}"


def distance_map(distances: pd.DataFrame) -> alt.LayerChart:
    """Draw the distance of every block: where it starts, how many layers it has."""
    require_columns(distances, "start", "n", "distance")
    return heatmap(
        distances,
        x="start",
        y="n",
        value="distance",
        title="The dark valley runs through the middle, not to the end",
        subtitle="each cell is one block; dark: what enters and what leaves point the same way",
        description="Heat map of the angular distance of every block of layers: small blocks in the middle are least",
        x_title="First layer of the block",
        y_title="Layers in the block",
        value_title="Distance",
        height=340,
    )


def distance_twin(distances: pd.DataFrame, n_most: int = 12) -> alt.LayerChart:
    """Draw the distance against where the block starts, with a slider for its length: moves without a kernel."""
    return lines(
        distances[distances["n"] <= n_most],
        "start",
        "distance",
        title="Where a block of this length does least",
        subtitle="move the slider: the lowest point is the block to drop",
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
        description="Loss against layers removed for four ways to choose them",
    )  # fmt: skip


def method_accuracy(data: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the share of cloze items right against layers removed, with guessing as a line."""
    return _curve(
        data, "accuracy", "choice", title=title, y_title="Cloze items right", y_format="%",
        goal=(scoring.CHANCE, "guessing"), zero=True,
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
    """Draw measured and predicted speed-up against layers removed, while writing and while reading."""
    long = timing.melt(["phase", "n_removed"], ["speedup", "predicted"], "basis", "times")
    long["line"] = long["phase"].map({"decode": "writing", "prefill": "reading"}) + long["basis"].map(
        {"speedup": ", measured", "predicted": ", predicted"}
    )
    return lines(
        long,
        "n_removed",
        "times",
        color="line",
        color_title=None,
        title=title,
        description="Speed-up against layers removed: measured beside what the cost model predicts",
        x_title="Layers removed, of 30",
        y_title="Times as fast as the whole model",
        max_colors=4,
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
        return alt.vconcat(
            stack_picture(n_layers, list(range(start, start + n))), _marked(table[table["n"] == n], start)
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


def _marked(data: pd.DataFrame, start: int) -> Any:
    base = alt.Chart(data).encode(
        x=alt.X("start:Q", title="First layer of the block").scale(domain=[0, 29]),
        y=alt.Y("distance:Q", title="Angular distance").scale(domain=[0, 0.6]),
    )
    point = base.transform_filter(alt.datum.start == start).mark_point(size=140, filled=True, color=VERMILION)
    return alt.layer(
        base.mark_line(), point.encode(tooltip=["start:Q", alt.Tooltip("distance:Q", format=".3f")])
    ).properties(title="Your block among all blocks of this length", width=WIDTH, height=170)
