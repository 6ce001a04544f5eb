"""Chapter 7's live races on the reader's processor, and the energy model with its constants as sliders."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import altair as alt
import ipywidgets as W
import pandas as pd

from greenlab.core import checks, speed
from greenlab.core.machine import available_cores
from greenlab.lab.charts import Slider, bars_with_range, lines, roofline
from greenlab.lab.widgets import Explorer
from greenlab.ternary.estimates import SHAPES, OperationEnergy, energy_per_token, energy_ratio
from greenlab.ternary.study import races

RACE_SHAPES = {"576 x 1536 (SmolLM2)": (576, 1536), "2048 x 2048": (2048, 2048), "4096 x 4096": (4096, 4096)}
BATCHES = (1, 4, 16, 64, 256)


def race_chart(table: pd.DataFrame, title: str, doubt: str = "") -> alt.LayerChart:
    """Draw how many multiply-adds a second each number format manages.

    Args:
        table: of `races.race`.
        title: of the chart.
        doubt: why the numbers are not to be trusted (`races.doubt`); it becomes the subtitle.
    """
    return bars_with_range(
        table,
        "work",
        "g_weights_per_s",
        value_format=",.3~g",
        title=title,
        x_title="Multiply-adds [billions a second]",
        subtitle=doubt or "the best round of each",
        description="Multiply-adds a second with float32, bfloat16, int8 and ternary weights",
    )


def race_widget(measure: Callable[..., pd.DataFrame] | None = None) -> Explorer:
    """Race the number formats on this processor: choose matrix, batch and threads; every move measures anew.

    Where the rounds disagree, or another program uses the cores, sentence and chart say that the numbers are not to be
    trusted, and the goal is not reached.

    Args:
        measure: what runs a race, with the arguments and the table of `races.race`, the default.

    Raises:
        TypeError: if ``measure`` cannot be called.
    """
    if measure is not None:
        checks.function("measure", measure)
    cores = available_cores()

    @lru_cache(maxsize=1)  # the sentence and the chart speak of one and the same race
    def outcome(shape: str, batch: int, threads: int) -> pd.DataFrame:
        races.set_threads(threads)
        try:
            return (measure or races.race)(*RACE_SHAPES[shape], batch, rounds=5)
        finally:
            races.set_threads(cores)

    def times(shape: str, batch: int, threads: int, peer: str) -> float:
        rates = outcome(shape, batch, threads).set_index("work")["g_weights_per_s"]
        return float(rates["ternary"] / rates[peer])

    def draw(shape: str, batch: int, threads: int) -> alt.LayerChart:
        faster = times(shape, batch, threads, "float32")
        title = f"Ternary is {faster:.1f} times as fast as float32: {shape}, batch {batch}"
        return race_chart(outcome(shape, batch, threads), title, races.doubt(outcome(shape, batch, threads)))

    def say(shape: str, batch: int, threads: int) -> str:
        against = {peer: times(shape, batch, threads, peer) for peer in races.BITS}
        words = "Ternary is " + ", ".join(f"{x:.1f} times as fast as {peer}" for peer, x in against.items()) + "."
        return f"{words} {races.doubt(outcome(shape, batch, threads))}".strip()

    def reached(shape: str, batch: int, threads: int) -> bool:
        trusted = not races.doubt(outcome(shape, batch, threads))
        return trusted and times(shape, batch, threads, "bfloat16") < 2

    controls = {
        "shape": W.Dropdown(options=list(RACE_SHAPES), value="2048 x 2048", description="Matrix"),
        "batch": W.SelectionSlider(options=BATCHES, value=1, description="Rows at once (batch)"),
        "threads": W.IntSlider(value=cores, min=1, max=max(cores, 2), description="Threads"),
    }
    return Explorer(
        controls, draw, say, reached, "find a setting in which ternary is less than twice as fast as bfloat16"
    )


def measured_roofline(n: int = 4096) -> alt.LayerChart:
    """Measure this machine's bandwidth and arithmetic, and where one row times a matrix stands in each number format.

    Args:
        n: rows and columns of the matrix.

    Raises:
        TypeError: if ``n`` is no integer.
        ValueError: if it is below 1.
    """
    races.set_threads(available_cores())
    bandwidth, peak = speed.read_bandwidth(2**26, rounds=3), speed.matmul_rate(rounds=3)
    roof = [(0.25, 0.25 * bandwidth), (peak / bandwidth, peak), (max(64, 2 * peak / bandwidth), peak)]
    roofs = pd.DataFrame([{"roof": "float32", "intensity": i, "flops_per_s": f} for i, f in roof])
    table = races.race(n, n, rounds=5)
    works = pd.DataFrame({
        "work": table["work"],
        "intensity": [16 / races.bits_of(work) for work in table["work"]],  # 2 FLOP a weight
        "flops_per_s": 2e9 * table["g_weights_per_s"],
        "kind": ["ternary" if work == "ternary" else "float and int8" for work in table["work"]],
    })  # fmt: skip
    chart = roofline(
        roofs,
        works,
        title="Fewer bits a weight, more operations for each byte that is read",
        subtitle=races.doubt(table)
        or "line: what memory and float32 allow; int8 and ternary compute in integers, from the cache",
        description="Roofline of this machine with one row times a matrix in float32, bfloat16, int8 and ternary",
    )
    for layer in chart.layer:
        layer.encoding.x = layer.encoding.x.axis(values=[0.25, 0.5, 1, 2, 4, 8, 16, 32, 64], format="~g")
        y = layer.encoding.y.title("Rate [GFLOP/s]")
        layer.encoding.y = y.axis(values=[10.0**i for i in range(7, 14)], labelExpr="format(datum.value / 1e9, ',~g')")
    return chart


def _energies(energy: OperationEnergy, context: int, batch: int) -> dict[bool, dict[str, float]]:
    return {t: energy_per_token(SHAPES["70B"], energy, context=context, batch=batch, ternary=t) for t in (False, True)}


def energy_widget() -> Explorer:
    """The paper's energy model with its constants as sliders: what an addition costs, and what reading a byte costs."""

    def model(add_pj: float, read_pj: float) -> OperationEnergy:
        return OperationEnergy(ternary_add_pj=add_pj, read_pj_per_byte=read_pj)

    def draw(add_pj: float, read_pj: float, context: int, batch: int) -> alt.LayerChart:
        parts = _energies(model(add_pj, read_pj), context, batch)
        rows = [
            {"model": f"{'ternary' if t else '16-bit float'}: {'reading' if reading else 'arithmetic'}",
             "j": sum(j for part, j in found.items() if (part == "reading") == reading)}
            for t, found in parts.items() for reading in (False, True)
        ]  # fmt: skip
        return bars_with_range(
            pd.DataFrame(rows),
            "model",
            "j",
            value_format=",.4f",
            title=f"Modelled: {ratio(add_pj, read_pj, context, batch):.1f} times less energy",
            subtitle="a 70B model, one token; no joule here was measured",
            x_title="Energy a token [J]",
            description="Modelled energy a token of a 70B model in float and ternary, arithmetic and reading apart",
        )

    def ratio(add_pj: float, read_pj: float, context: int, batch: int) -> float:
        return energy_ratio(SHAPES["70B"], model(add_pj, read_pj), context=context, batch=batch)

    def say(add_pj: float, read_pj: float, context: int, batch: int) -> str:
        ternary = _energies(model(add_pj, read_pj), context, batch)[True]
        share = ternary["reading"] / sum(ternary.values())
        times = ratio(add_pj, read_pj, context, batch)
        return f"Ternary needs {times:.1f} times less; {100 * share:.0f} % of its energy reads weights."

    controls = {
        "add_pj": W.FloatSlider(
            value=0.007, min=0.007, max=0.1, step=0.001, description="One ternary addition [pJ]", readout_format=".3f"
        ),
        "read_pj": W.FloatSlider(value=0, min=0, max=160, step=1, description="Reading one byte [pJ]"),
        "context": W.IntSlider(value=384, min=0, max=4096, step=64, description="Tokens looked back at"),
        "batch": W.SelectionSlider(options=(1, 16, 176), value=1, description="Batch that shares a reading"),
    }  # fmt: skip
    return Explorer(controls, draw, say, lambda **v: ratio(**v) < 10, "make the saving less than 10 times")


def read_twin(title: str) -> alt.LayerChart:
    """Draw the modelled saving against the price of reading a byte, with a slider for the price of an addition."""
    rows = []
    for add in (0.01, 0.02, 0.03, 0.04):
        for read in (0, 0.1, 0.3, 1, 2, 4, 8, 16, 32):
            energy = OperationEnergy(ternary_add_pj=add, read_pj_per_byte=read)
            rows.append({"read_pj": read, "add_pj": add, "ratio": energy_ratio(SHAPES["70B"], energy)})
    return lines(
        pd.DataFrame(rows),
        "read_pj",
        "ratio",
        title=title,
        subtitle="the slider sets the price of one addition; a 70B model, and no joule here was measured",
        x_title="Reading one byte of weights [pJ]",
        y_title="Energy, 16-bit float over ternary [x]",
        zero=True,
        slider=Slider("add_pj", "One ternary addition [pJ]", 0.01),
        description="Modelled energy ratio against the energy of reading one byte, for several prices of an addition",
    )
