"""Chapter 2's widgets: a work on any roof, the matrix unit cycle by cycle, and their static twins.

Vega recomputes the charts from a few parameters: the kernel sends numbers, not drawings.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.hardware import FORMATS, MODELS, Estimate, Work, chips_needed, decode, device, devices, prefill, roofline
from greenlab.hardware.systolic import utilisation
from greenlab.hardware.view.charts import INTENSITIES, plain_axes, roof_points
from greenlab.hardware.view.measured import joules
from greenlab.lab.charts.roofline import FAINT
from greenlab.lab.receipts import duration
from greenlab.lab.theme import BLUE, GRID, INK, MUTED, VERMILION, WIDTH
from greenlab.lab.widgets import Explorer

WORDS_TURN_AT = 200  # FLOP per byte: right of it the point's words stand to its left
START = "h100-sxm5-80gb"
BOARD = 8  # chips on one board
SIZE, MOST_ROWS = 4, 8  # the matrix unit of the step-through, and the longest batch pushed through it


def percent(share: float) -> str:
    """A share in per cent, with one digit after the point: 0.003 is "0.3 %".

    Args:
        share: from 0 to 1.

    Raises:
        TypeError: if ``share`` is no number.
        ValueError: if it is out of range.
    """
    return f"{100 * checks.number('share', share, low=0, high=1 + 1e-9):.1f} %"


def menu() -> dict[str, str]:
    """Devices that can work in every format of the chapter: words -> name in data/facts."""
    chips = [chip for chip in devices().values() if {"bf16", "fp32"} & set(chip.flops_per_s)]
    return {chip.name: chip.id for chip in sorted(chips, key=lambda chip: (chip.kind, chip.year))}


def _moving_roof(corners: alt.Chart, point: alt.Chart, title: str, description: str) -> Any:
    """All roofs faint, one of them strong, one point with words; the strong roof and the point are given."""
    axes = plain_axes()  # they stand still while the point moves
    others = roof_points([chip for chip in devices().values() if chip.flops_per_s], ())
    faint = alt.Chart(others).mark_line(color=FAINT, strokeWidth=1, clip=True).encode(detail="roof:N", **axes)
    strong = corners.mark_line(color=MUTED, strokeWidth=3, clip=True).encode(**axes)
    layers: list[Any] = [point.mark_point(filled=True, size=150, color=VERMILION, opacity=1).encode(**axes)]
    for side, where in (("left", "<"), ("right", ">=")):  # the words stay inside the plot wherever the point goes
        words = point.transform_filter(f"datum.intensity {where} {WORDS_TURN_AT}").encode(text="words:N", **axes)
        place: dict[str, Any] = {"align": side, "dx": 12 if side == "left" else -4, "dy": 18}
        layers += [words.mark_text(stroke="white", strokeWidth=4, **place), words.mark_text(**place)]
    return alt.layer(faint, strong, *layers).properties(title=title, description=description, width=WIDTH, height=340)


def _base() -> alt.LayerChart:
    first = {"bandwidth": 1e12, "peak": 1e14, "work_intensity": 1.0, "work_rate": 1e12, "words": "your work"}
    corners = alt.Chart(pd.DataFrame({"corner": [0, 1, 2]})).transform_calculate(
        intensity=f"datum.corner == 0 ? {INTENSITIES[0]} : datum.corner == 1 ? peak / bandwidth : {INTENSITIES[1]}",
        flops_per_s=f"datum.corner == 0 ? bandwidth * {INTENSITIES[0]} : peak",
    )
    point = alt.Chart(pd.DataFrame({"one": [1]})).transform_calculate(
        intensity="work_intensity", flops_per_s="work_rate", words="words"
    )
    chart = _moving_roof(
        corners, point, "Slanted: the chip waits for memory; flat: its units are busy",
        "Roofline of the chosen chip over faint ones of all others, with a point for the chosen work",
    )  # fmt: skip
    return chart.add_params(*(alt.param(name=name, value=value) for name, value in first.items()))


@lru_cache(maxsize=512)
def _estimate(chip: str, model: str, phase: str, batch: int, context: int, form: str) -> tuple[Work, Estimate]:
    work = {"decode": decode, "prefill": prefill}[phase](model, batch=batch, context=context, format=form)
    n = int(np.max(chips_needed(work, device(chip))))
    # a matrix is rarely cut over more than one board: beyond it, chips hold a few layers each
    return work, roofline(work, device(chip), n_devices=n, split="tensor" if n <= BOARD else "pipeline")


def roofline_widget() -> Explorer:
    """Put a model on a chip: choose both, the phase, the batch, the context and the number format."""

    def draw(**chosen: Any) -> dict[str, Any]:
        work, e = _estimate(**chosen)
        chip = device(chosen["chip"])
        return {
            "bandwidth": e.n_devices * chip.bandwidth_b_per_s,
            "peak": e.n_devices * chip.flops_per_s[e.arithmetic],
            "work_intensity": work.intensity,
            "work_rate": work.flops / work.tokens * e.tokens_per_s,
            "words": f"{e.n_devices} x {chip.name}: at most {_rate(float(e.tokens_per_s))} tokens/s",
        }

    def say(**chosen: Any) -> str:
        e = _estimate(**chosen)[1]
        share = float(e.batches) / e.n_devices if e.n_devices > BOARD else 1.0  # the chips that hold no batch wait
        busy = share * float(e.compute_s / e.time_s)
        limit = "Memory sets the time" if e.bound == "memory" else "Arithmetic sets the time"
        energy = (
            "no rated power is published"
            if e.j_per_token is None
            else f"{joules(float(e.j_per_token))} a token at rated power"
        )
        if chosen["phase"] == "prefill":
            speed = f"The first word comes after {duration(float(e.time_s))} or more"
        else:
            speed = f"At most {_rate(float(e.stream_tokens_per_s))} tokens a second for each user"
        return (
            f"{limit}; the units are busy {percent(busy)} of it (computed in {e.arithmetic}). {_holders(e)}.\n"
            f"{speed}, {_rate(float(e.tokens_per_s))} tokens a second in all; {energy}."
        )

    def reached(**chosen: Any) -> bool:
        return chosen["phase"] == "decode" and _estimate(**chosen)[1].bound == "compute"

    controls = {
        "chip": W.Dropdown(options=menu(), value=START, description="Device"),
        "model": W.Dropdown(options=list(MODELS), value="Llama-3.1-8B", description="Model"),
        "phase": W.Dropdown(
            options={"writing (decode)": "decode", "reading (prefill)": "prefill"}, description="Phase"
        ),
        "batch": W.SelectionSlider(options=[2**i for i in range(11)], value=1, description="Sequences at once (batch)"),
        "context": W.SelectionSlider(options=[2**i for i in range(7, 14)], value=512, description="Tokens of context"),
        "form": W.Dropdown(options=[f for f in FORMATS if f != "fp32"], value="bf16", description="Numbers"),
    }
    goal = "while it writes, make arithmetic set the time, not memory"
    return Explorer(controls, draw, say, reached, goal, base=_base())


def _holders(e: Estimate) -> str:
    """How many chips hold the model; if each holds some layers, how many batches have room for their caches."""
    if e.n_devices == 1:
        return "One chip holds it"
    words = f"{e.n_devices:,} chips hold it"
    if e.n_devices <= BOARD:
        return words
    batches = int(e.batches)
    return f"{words}, each some layers, and the caches of {batches:,} batch{'es' * (batches > 1)} at once"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def roofline_twin(title: str, model: str = "Llama-3.1-8B", context: int = 512) -> alt.LayerChart:
    """Draw the same without a kernel: choose the chip, move the batch; Vega computes the point.

    Args:
        title: of the chart.
        model: a name of `MODELS`.
        context: tokens in each cache.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the model is unknown, or ``context`` out of range.
    """
    if not isinstance(title, str):
        raise TypeError(f"title={title!r} is {type(title).__name__}: give text")
    context = checks.integer("context", context, low=1, high=10**9)
    one, two = (decode(model, batch=b, context=context) for b in (1, 2))
    weights_b, cache_b = 2 * one.bytes_moved - two.bytes_moved, two.bytes_moved - one.bytes_moved
    chips = [device(id) for id in menu().values()]
    table = pd.DataFrame(
        [{"chip": c.name, "peak": c.peak("bf16"), "bandwidth": c.bandwidth_b_per_s} for c in chips]
    )  # fmt: skip
    pick = alt.binding_select(options=[c.name for c in chips], name="Device: ")
    chip = alt.param(name="twin_chip", value=device(START).name, bind=pick)
    slide = alt.binding_range(min=0, max=10, step=1, name="Doublings of the batch: ")
    power = alt.param(name="twin_power", value=0, bind=slide)
    chosen = alt.Chart(table).transform_filter("datum.chip == twin_chip")
    corners = chosen.transform_calculate(corner="[0, 1, 2]").transform_flatten(["corner"]).transform_calculate(
        intensity=f"datum.corner == 0 ? {INTENSITIES[0]} : "
        f"datum.corner == 1 ? datum.peak / datum.bandwidth : {INTENSITIES[1]}",
        flops_per_s=f"datum.corner == 0 ? datum.bandwidth * {INTENSITIES[0]} : datum.peak",
    )  # fmt: skip
    point = chosen.transform_calculate(
        intensity=f"pow(2, twin_power) * {one.flops} / ({weights_b} + pow(2, twin_power) * {cache_b})"
    ).transform_calculate(
        flops_per_s="min(datum.peak, datum.bandwidth * datum.intensity)",
        words="'batch ' + pow(2, twin_power) + ': at most ' + "
        f"format(min(datum.peak, datum.bandwidth * datum.intensity) / {one.flops}, ',.0f') + ' tokens/s'",
    )
    description = f"Roofline with a point for {model} writing; a menu chooses the chip, a slider the batch"
    return _moving_roof(corners, point, title, description).add_params(chip, power)


def working_cells(m: int, cycle: int, size: int = SIZE) -> int:
    """How many cells of a ``size x size`` unit multiply in a cycle (from 1) while ``m`` rows go through it.

    In cycle t the cell in row k and column n, all counted from 1, works on row t - k - n + 2 if there is one.

    >>> [working_cells(1, cycle) for cycle in range(1, 9)]  # one row: a diagonal crosses the square
    [1, 2, 3, 4, 3, 2, 1, 0]

    Args:
        m: rows that go through the unit.
        cycle: counted from 1.
        size: rows and columns of cells.

    Raises:
        TypeError: if an argument is no whole number.
        ValueError: if it is out of range.
    """
    m = checks.integer("m", m, low=1, high=10**9)
    cycle = checks.integer("cycle", cycle, low=1, high=10**9)
    size = checks.integer("size", size, low=1, high=1000)
    k, n = np.indices((size, size)) + 1
    row = cycle - k - n + 2
    return int(((row >= 1) & (row <= m)).sum())


def _array(m: int | str, cycle: str, title: str) -> Any:
    """The square of cells; Vega computes which row each one works on, from the names of two parameters."""
    cells = pd.DataFrame([{"k": k, "n": n} for k in range(1, SIZE + 1) for n in range(1, SIZE + 1)])
    computed = (
        alt.Chart(cells)
        .transform_calculate(row=f"{cycle} - datum.k - datum.n + 2")
        .transform_calculate(state=f"datum.row >= 1 && datum.row <= {m} ? 'multiplies' : 'waits'")
    )
    base = computed.transform_calculate(words="datum.state == 'multiplies' ? 'row ' + datum.row : ''").encode(
        x=alt.X("n:O", title="Column of cells: sums leave below").axis(labelAngle=0, orient="top"),
        y=alt.Y("k:O", title="Row of cells: numbers enter left"),
    )
    scale = alt.Scale(domain=["multiplies", "waits"], range=[BLUE, GRID])
    tiles = base.mark_rect(stroke="white", strokeWidth=3).encode(
        color=alt.Color("state:N", title="A cell", scale=scale)
    )
    words = base.mark_text(fontSize=13).encode(
        text="words:N", color=alt.condition("datum.state == 'multiplies'", alt.value("white"), alt.value(INK))
    )
    return alt.layer(tiles, words).properties(
        title=title, width=300, height=240,
        description="A square of sixteen cells; those that multiply in this cycle are dark "
        "and say which row they work on",
    )  # fmt: skip


def systolic_widget() -> Explorer:
    """Step through a matrix unit of sixteen cells: choose how many rows go through it, and the cycle."""
    chart = _array("m", "now", "Each row crosses the matrix unit as a diagonal wave")
    base = chart.add_params(alt.param(name="m", value=1), alt.param(name="now", value=1))

    def say(m: int, cycle: int) -> str:
        cycles, share = m + 2 * SIZE - 2, utilisation(m, SIZE, SIZE, rows=SIZE, columns=SIZE)
        state = f"{working_cells(m, cycle)} of {SIZE**2} cells multiply" if cycle <= cycles else "the last sum has left"
        return (
            f"Cycle {cycle} of {cycles}: {state}. Over the whole pass the unit is used to {100 * share:.0f} %.\n"
            "A unit of 128 x 128 cells, as in most TPUs, would be used to "
            f"{percent(float(utilisation(m, 128, 128)))} by so few rows."
        )

    controls = {
        "m": W.IntSlider(value=1, min=1, max=MOST_ROWS, description="Rows at once (batch)"),
        "cycle": W.IntSlider(value=1, min=1, max=MOST_ROWS + 2 * SIZE - 2, description="Cycle"),
    }
    return Explorer(
        controls, lambda m, cycle: {"m": m, "now": cycle}, say, lambda m, cycle: working_cells(m, cycle) == SIZE**2,
        "find a batch and a cycle in which all sixteen cells multiply", base=base,
    )  # fmt: skip


def systolic_twin(title: str, m: int = 4) -> alt.LayerChart:
    """Draw a pass of a few rows with a slider for the cycle: moves without a kernel.

    Args:
        title: of the chart.
        m: rows that go through the unit.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if ``m`` is out of range.
    """
    if not isinstance(title, str):
        raise TypeError(f"title={title!r} is {type(title).__name__}: give text")
    m = checks.integer("m", m, low=1, high=1000)
    slide = alt.binding_range(min=1, max=m + 2 * SIZE - 2, step=1, name="Cycle: ")
    return _array(m, "cycle_now", title).add_params(alt.param(name="cycle_now", value=3, bind=slide))
