"""Chapter 7 as the reader sees it: its charts, and the widget that makes a real matrix ternary."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import numpy as np
import pandas as pd
import torch

from greenlab.core import assets
from greenlab.lab.charts import bars_with_range, dots, lines, points, require_columns
from greenlab.lab.theme import BLUE, INK, VERMILION, WIDTH
from greenlab.lab.widgets import Explorer
from greenlab.ternary import absmean_quantize
from greenlab.ternary.estimates import LOG2_3
from greenlab.ternary.view import exercises  # noqa: F401 - registers the exercises
from greenlab.ternary.view.claims import claims_table, latency_table, memory_table, sizes_table
from greenlab.ternary.view.race import energy_widget, measured_roofline, race_chart, race_widget, read_twin

__all__ = [
    "bits_chart",
    "claims_table",
    "decode_chart",
    "energy_widget",
    "gap_chart",
    "histogram",
    "histogram_twin",
    "measured_roofline",
]
__all__ += ["latency_table", "memory_table", "sizes_table"]
__all__ += ["memory_chart", "parts_chart", "race_chart", "race_widget", "read_twin", "size_chart", "threshold_widget"]
MATRICES = {
    "queries": "self_attn.q_proj",
    "keys": "self_attn.k_proj",
    "values": "self_attn.v_proj",
    "attention output": "self_attn.o_proj",
    "feed-forward gate": "mlp.gate_proj",
    "feed-forward up": "mlp.up_proj",
    "feed-forward down": "mlp.down_proj",
}
VALUES = ["−1", "0", "+1"]  # what a weight becomes
EDGE = 4.0  # histograms end at this many times the mean magnitude


def histogram(weight: torch.Tensor, n_bins: int = 80) -> pd.DataFrame:
    """Count weights in bins of their size over the mean magnitude: start, end, middle, share [of all weights]."""
    scaled = (weight / weight.abs().mean()).flatten().double().numpy()
    counts, edges = np.histogram(scaled.clip(-EDGE, EDGE), bins=n_bins, range=(-EDGE, EDGE))
    middle = (edges[:-1] + edges[1:]) / 2
    return pd.DataFrame({"start": edges[:-1], "end": edges[1:], "middle": middle, "share": counts / scaled.size})


def _bars(bins: pd.DataFrame, becomes: Any, title: str) -> alt.Chart:
    require_columns(bins, "start", "end", "middle", "share")
    scale = alt.Scale(domain=VALUES, range=[VERMILION, "#999999", BLUE])
    drawn = alt.Chart(bins).transform_calculate(becomes=becomes, percent="100 * datum.share")
    return drawn.mark_bar(stroke="white", strokeWidth=0.5).encode(
        x=alt.X("start:Q", title="Weight, in units of the mean magnitude γ")
        .scale(domain=[-EDGE, EDGE])
        .axis(format="~g"),
        x2="end:Q",
        y=alt.Y("percent:Q", title="Share of the weights [%]"),
        y2=alt.datum(0),
        color=alt.Color("becomes:N", title="becomes", scale=scale),
        tooltip=[
            alt.Tooltip("middle:Q", format=".2f"),
            alt.Tooltip("percent:Q", format=".2f", title="share [%]"),
            "becomes:N",
        ],
    ).properties(
        title=alt.Title(title, subtitle=f"the outermost bars hold all weights beyond {EDGE:g} γ as well"),
        description="Histogram of the weights of one matrix, coloured by the ternary value each becomes",
        width=WIDTH, height=240,
    )  # fmt: skip


def _rule(threshold: float | str) -> str:
    return f"datum.middle > {threshold} ? '+1' : (datum.middle < -{threshold} ? '−1' : '0')"


def threshold_widget() -> Explorer:
    """Make a real matrix of SmolLM2 ternary: choose the matrix and the threshold, see what remains and what is lost."""

    @lru_cache(maxsize=4)
    def matrix(layer: int, name: str) -> tuple[torch.Tensor, pd.DataFrame]:
        weight = assets.smollm2_matrix(layer, MATRICES[name])
        return weight, histogram(weight)

    @lru_cache(maxsize=512)
    def lost(layer: int, name: str, threshold: float) -> tuple[float, float]:
        weight, _ = matrix(layer, name)
        q, gamma = absmean_quantize(weight, threshold)
        return float((q == 0).float().mean()), float((weight - q * gamma).square().sum() / weight.square().sum())

    def draw(layer: int, name: str, threshold: float) -> Any:
        title = f"Layer {layer}, {name}: {100 * lost(layer, name, threshold)[0]:.0f} % of the weights become zero"
        bars = _bars(matrix(layer, name)[1], _rule(threshold), title)
        edges = pd.DataFrame({"edge": [-threshold, threshold]})
        return alt.layer(bars, alt.Chart(edges).mark_rule(strokeDash=[5, 4], color=INK).encode(x="edge:Q")).properties(
            description=f"Histogram of the weights of layer {layer}, {name}, with the threshold at {threshold:.2f}"
        )

    def say(layer: int, name: str, threshold: float) -> str:
        zeros, error = lost(layer, name, threshold)
        return (
            f"{100 * zeros:.0f} % of the weights become 0. "
            f"What is lost is {100 * error:.1f} % of the matrix (of its sum of squares)."
        )

    def reached(layer: int, name: str, threshold: float) -> bool:
        others = [lost(layer, name, round(0.05 * i, 2))[1] for i in range(6, 21)]
        return lost(layer, name, threshold)[1] <= min(others) + 1e-9

    controls = {
        "layer": W.IntSlider(value=10, min=0, max=29, description="Layer"),
        "name": W.Dropdown(options=list(MATRICES), value="feed-forward up", description="Matrix"),
        "threshold": W.FloatSlider(
            value=0.2, min=0, max=2, step=0.05, description="Threshold, times γ", readout_format=".2f"
        ),
    }
    return Explorer(controls, draw, say, reached, "find the threshold at which the least is lost")


def histogram_twin(bins: pd.DataFrame, title: str) -> alt.Chart:
    """Draw the histogram with a threshold that moves without a kernel."""
    threshold = alt.param(
        name="threshold", value=0.5, bind=alt.binding_range(min=0, max=2, step=0.05, name="Threshold, times γ: ")
    )
    return _bars(bins, _rule("threshold"), title).add_params(threshold)


def _on_x(chart: alt.LayerChart, axis: alt.X) -> alt.LayerChart:
    """The same chart on another horizontal axis of the same column."""
    for layer in chart.layer:
        x = getattr(layer.encoding, "x", alt.Undefined)
        if isinstance(x, alt.X):
            layer.encoding.x = axis
    return chart


def bits_chart(by_bits: pd.DataFrame, float_loss: float, title: str) -> alt.LayerChart:
    """Draw the loss against bits a weight: quantized after training, and trained ternary; the float model is a line."""
    chart = lines(
        by_bits[by_bits["bits"] <= 8],
        "bits",
        "loss",
        color="way",
        color_title=None,
        band=("loss_min", "loss_max"),
        goal=(float_loss, "float model"),
        title=title,
        x_title="Bits a weight",
        y_title="Loss on unseen text [nats per character]",
        description="Loss against bits a weight for a model quantized after training, "
        "beside one trained with ternary weights",
    )
    axis = alt.X("bits:Q", title="Bits a weight").scale(type="log", domain=[1.4, 9], nice=False)
    return _on_x(chart, axis.axis(values=[LOG2_3, 2, 4, 8], format=".3~g"))


def gap_chart(by_size: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the loss of float and ternary models against width; the band is the spread over seeds."""
    chart = lines(
        by_size, "d_model", "loss", color="model", color_title=None, band=("loss_min", "loss_max"), title=title,
        x_title="Width of the model (d_model)", y_title="Loss on unseen text [nats per character]",
        description="Loss of float and of ternary models against their width",
    )  # fmt: skip
    axis = alt.X("d_model:Q", title="Width of the model (d_model)").scale(domain=[24, 136], nice=False)
    return _on_x(chart, axis.axis(values=sorted(by_size["d_model"].unique().tolist())))


def size_chart(by_memory: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the loss of float and ternary models against what they take on disk."""
    chart = points(
        by_memory, "mb", "loss", label="label", color="model", color_title=None, log_x=True, title=title,
        subtitle="the numbers are widths; float stored in 16 bits, ternary in 2; down and to the left is better",
        x_title="Stored weights [MB]", y_title="Loss on unseen text [nats per character]",
        description="Loss against stored size for float and ternary models of four widths",
    )  # fmt: skip
    for layer in chart.layer:
        if layer.mark.type == "text":  # above their points: beside them the widest ternary model's lies on a float one
            layer.mark = alt.MarkDef("text", align="center", dy=-14)
    axis = alt.X("mb:Q", title="Stored weights [MB]").scale(type="log", domain=[0.007, 2])
    return _on_x(chart, axis.axis(values=[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2], format="~g"))


def decode_chart(decode: pd.DataFrame, title: str, subtitle: str) -> alt.LayerChart:
    """Draw joules a token with their range, one bar a model; modelled ones are pale.

    The figure stands with the model's name: at the end of a range three times as long as its bar it would mislead.
    """
    require_columns(decode, "model", "j_per_token", "low_j", "high_j", "basis")
    named = decode.assign(
        label=[f"{model}: {j:.2f} J" for model, j in zip(decode["model"], decode["j_per_token"], strict=True)]
    )
    chart = bars_with_range(
        named, "label", "j_per_token", band=("low_j", "high_j"), title=title, subtitle=subtitle,
        x_title="Energy a token [J]",
        description="Energy a token of models in float32, bfloat16 and ternary, with its range",
    )  # fmt: skip
    chart.layer.pop()  # the figures
    if set(decode["basis"]) == {"modelled"}:  # one basis needs no legend, only the book's paleness
        chart.layer[0].mark.opacity = 0.4
    return chart


def parts_chart(parts: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw where a token's time goes in the packed model."""
    return bars_with_range(
        parts, "part", "ms_per_token", value_format=".1f", title=title, x_title="Time a token [ms]",
        description="Time a token by part: ternary layers, output head, and the rest",
    )  # fmt: skip


def memory_chart(paper_memory: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw the paper's memory ratios beside those of the two formulas."""
    return dots(
        paper_memory,
        "size",
        "ratio",
        "series",
        title=title,
        x_title="Memory, 16-bit float over ternary [x]",
        description="Memory ratio by model size: printed, with every linear layer ternary, "
        "with the feed-forward ones only",
    )
