"""The picture of the idea: one token, a router, many experts, two at work. And what a router chose, as a table."""

from __future__ import annotations

import altair as alt
import pandas as pd

from greenlab.core import checks
from greenlab.lab.charts.parts import finish
from greenlab.lab.theme import BLUE, INK, MUTED, VERMILION, WIDTH
from greenlab.mixture_of_experts.router import Routing


def layer_picture(n_experts: int, weights: dict[int, float], title: str) -> alt.LayerChart:
    """Draw a layer of experts with those that a token uses, and their weights.

    Args:
        n_experts: experts of the layer, at most 12.
        weights: of the experts that the token uses, by number.
        title: of the picture.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if ``n_experts`` is not from 2 to 12, or an expert of ``weights`` is not there.
    """
    n_experts = checks.integer("n_experts", n_experts, low=2, high=12)
    checks.instance("weights", weights, dict)
    checks.text("title", title)
    for expert in weights:
        checks.integer("weights", expert, low=0, high=n_experts - 1)
    step = WIDTH / n_experts
    rows = [
        {"x": (e + 0.5) * step, "expert": f"expert {e}" if n_experts <= 8 else str(e),
         "state": "at work" if e in weights else "not read",
         "weight": f"× {weights[e]:.2f}" if e in weights else "",
         "beside": (e + 0.5) * step + (-1 if (e + 0.5) * step < WIDTH / 2 else 1) * 0.3 * step}
        for e in range(n_experts)
    ]  # fmt: skip
    data, middle = pd.DataFrame(rows), WIDTH / 2
    x, y = alt.X("x:Q", axis=None).scale(domain=[0, WIDTH], nice=False), alt.Y("y:Q", axis=None).scale(domain=[0, 4])
    arrows = [{"x": middle, "y": 1.0, "x2": r["x"], "y2": 1.75} for r in rows if r["weight"]]
    arrows += [{"x": r["x"], "y": 2.25, "x2": middle, "y2": 3.2} for r in rows if r["weight"]]
    colors = alt.Scale(domain=["at work", "not read"], range=[VERMILION, "#C8C8C8"])
    boxes = alt.Chart(data.assign(y=2.0)).mark_square(size=(step * 0.8) ** 2, opacity=1).encode(
        x=x, y=y, color=alt.Color("state:N", title=None, scale=colors), tooltip=["expert:N", "state:N", "weight:N"]
    )  # fmt: skip
    names = alt.Chart(data.assign(y=2.0)).mark_text(fontSize=11, color=INK).encode(x=x, y=y, text="expert:N")
    outside = alt.X("beside:Q", axis=None).scale(domain=[0, WIDTH], nice=False)
    amounts = alt.Chart(data.assign(y=2.72)).mark_text(fontSize=12, color=INK).encode(x=outside, y=y, text="weight:N")
    lines = alt.Chart(pd.DataFrame(arrows)).mark_rule(color=BLUE, strokeWidth=2).encode(x=x, y=y, x2="x2:Q", y2="y2:Q")
    ends = pd.DataFrame({
        "x": [middle] * 2, "y": [0.6, 3.5],
        "words": ["one token → router: scores for all, the best two", "sum of two outputs, each times its weight"],
    })  # fmt: skip
    words = alt.Chart(ends).mark_text(fontSize=13, color=MUTED).encode(x=x, y=y, text="words:N")
    return finish(
        [lines, boxes, names, amounts, words], data, title=title, subtitle=None, slider=None, width=WIDTH, height=260,
        description=f"One token enters a router at the bottom; of {n_experts} experts those with the numbers "
        f"{', '.join(map(str, weights))} are at work, and their outputs are added, each times its weight",
    )  # fmt: skip


def choice_table(choice: Routing) -> pd.DataFrame:
    """What a router decided, one row a token, to be read by hand.

    Args:
        choice: what a `Router` gives for some tokens.

    Returns:
        The columns token (from 0), score_0, score_1 and so on, one an expert, and output: the weighted sum in words.

    Raises:
        TypeError: if ``choice`` is no `Routing`.
    """
    checks.instance("choice", choice, Routing)
    rows: list[dict[str, object]] = []
    for token, scores in enumerate(choice.scores.tolist()):
        chosen = zip(choice.weights[token].tolist(), choice.experts[token].tolist(), strict=True)
        words = " + ".join(f"{weight:.2f} × expert {expert}" for weight, expert in chosen)
        rows.append({"token": token} | {f"score_{e}": score for e, score in enumerate(scores)} | {"output": words})
    return pd.DataFrame(rows)
