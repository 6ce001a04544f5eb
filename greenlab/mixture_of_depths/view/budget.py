"""What a mixture of depths may cost: its layers, its capacity and its period against a dense model's FLOPs and time.

FLOPs are counted; the time is that of one whole and one skipping block, measured on the reader's processor.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import pandas as pd

from greenlab.lab.charts.parts import finish
from greenlab.lab.theme import INK, WIDTH
from greenlab.lab.widgets import Explorer
from greenlab.mixture_of_depths.study import speed
from greenlab.mixture_of_depths.study.tables import block_share

PROMPT = 512  # tokens
LAYERS = 12  # of the dense model
CAPACITIES = (0.0625, 0.125, 0.25, 0.5, 0.75, 1.0)
GOAL_LAYERS = 20
LINES = {"flops": "for the same FLOPs (counted)", "time": "for the same time (measured here)"}


@lru_cache(maxsize=1)
def block_times() -> dict[float, float]:
    """Time of a block that lets in each of `CAPACITIES`, over that of a whole block, measured once in this kernel."""
    table = speed.race_blocks(PROMPT, capacities=(1.0, *CAPACITIES[:-1]), rounds=7)
    return dict(zip(table["capacity"], 1 / table["faster"], strict=True))


def block_flops() -> dict[float, float]:
    """FLOPs of a block that lets in each of `CAPACITIES`, over those of a whole block, at the same sizes."""
    return {c: 1.0 if c == 1 else block_share(speed.SHAPE.shape, PROMPT, c) for c in CAPACITIES}


def cost_of(layers: int, every: int, share: float) -> float:
    """Cost of ``layers`` blocks in whole blocks, if each ``every``-th costs a ``share`` of one."""
    skipping = layers // every
    return layers - skipping + skipping * share


def equal_layers(every: int, share: float) -> float:
    """How many layers cost as much as `LAYERS` whole ones, if each ``every``-th costs a ``share`` of one."""
    return LAYERS * every / (every - 1 + share)


def budget_widget() -> Explorer:
    """Choose capacity, period and depth: is the model within the FLOPs and the time of 12 dense layers?"""
    flops = block_flops()

    def shares(capacity: float, every: int, layers: int) -> tuple[float, float]:
        counted, timed = (cost_of(layers, every, one[capacity]) / LAYERS for one in (flops, block_times()))
        return counted, timed

    def draw(capacity: float, every: int, layers: int) -> Any:
        rows = [
            {"percent": 100 * c, "layers": equal_layers(every, one[c]), "line": LINES[name]}
            for name, one in (("flops", flops), ("time", block_times())) for c in CAPACITIES
        ]  # fmt: skip
        within = max(shares(capacity, every, layers)) <= 1
        title = f"{layers} layers {'fit into' if within else 'cost more than'} the budget of {LAYERS} dense ones"
        return _chart(pd.DataFrame(rows), 100 * capacity, layers, title)

    def say(capacity: float, every: int, layers: int) -> str:
        counted, timed = shares(capacity, every, layers)
        kind = "block" if every == 1 else f"{every}{'nd' if every == 2 else 'rd' if every == 3 else 'th'} block"
        return (
            f"{layers} layers, {100 * capacity:g} % of the tokens in every {kind}: {100 * counted:.0f} % of the FLOPs "
            f"of {LAYERS} dense layers.\nOn this processor {100 * timed:.0f} % of their time: a block that lets in "
            f"{100 * capacity:g} % takes {100 * block_times()[capacity]:.0f} % of a whole one's."
        )

    def reached(capacity: float, every: int, layers: int) -> bool:
        return every >= 2 and layers >= GOAL_LAYERS and max(shares(capacity, every, layers)) <= 1

    controls = {
        "capacity": W.SelectionSlider(
            options=[(f"{100 * c:g} %", c) for c in CAPACITIES], value=0.5, description="Tokens that enter"
        ),
        "every": W.IntSlider(value=2, min=1, max=4, description="Every so many-th block skips"),
        "layers": W.IntSlider(value=LAYERS, min=LAYERS, max=30, description="Layers"),
    }
    goal = f"at least {GOAL_LAYERS} layers for no more FLOPs and no more time, with whole blocks in between"
    return Explorer(controls, draw, say, reached, goal)


def _chart(frontier: pd.DataFrame, percent: float, layers: int, title: str) -> alt.LayerChart:
    order = alt.Scale(domain=list(LINES.values()))
    x = alt.X("percent:Q", title="Tokens that enter a skipping block [%]").scale(domain=[0, 100])
    y_title = f"Layers for the cost of {LAYERS} dense ones"
    y = alt.Y("layers:Q", title=y_title).scale(domain=[LAYERS - 2, 32], clamp=True)
    base = alt.Chart(frontier).encode(x=x, y=y, color=alt.Color("line:N", title=None, scale=order))
    lines = base.mark_line().encode(strokeDash=alt.StrokeDash("line:N", title=None, scale=order))
    dots = base.mark_point(filled=True, size=45, opacity=1)
    mine = alt.Chart(pd.DataFrame({"percent": [percent], "layers": [layers], "words": ["your model"]})).encode(x=x, y=y)
    point = mine.mark_point(shape="diamond", filled=True, size=190, color=INK, opacity=1)
    side: Any = {"align": "right", "dx": -12} if percent > 60 else {"align": "left", "dx": 12}
    words = mine.mark_text(dy=-10, fontWeight="bold", **side).encode(text="words:N")
    halo = mine.mark_text(dy=-10, fontWeight="bold", stroke="white", strokeWidth=4, **side).encode(text="words:N")
    return finish(
        [lines, dots, point, halo, words], frontier, title=title, slider=None, width=WIDTH, height=300,
        subtitle=f"below a line: cheaper than {LAYERS} dense layers; a prompt of {PROMPT} tokens",
        description=f"Layers that cost as much as {LAYERS} dense ones, against the share that enters, by FLOPs "
        "and by time, with the chosen model as a diamond",
    )  # fmt: skip
