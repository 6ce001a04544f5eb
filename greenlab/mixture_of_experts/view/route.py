"""Watch a text being routed: each token with the colour and number of its expert, the load, and what is dropped."""

from __future__ import annotations

import copy
from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import pandas as pd
import torch
from torch import nn

from greenlab.core import checks
from greenlab.lab.charts import require_columns
from greenlab.lab.charts.parts import finish
from greenlab.lab.theme import INK, MUTED, OKABE_ITO, WIDTH
from greenlab.lab.widgets import Explorer
from greenlab.mixture_of_experts import balance, load, moe_layers, routing
from greenlab.mixture_of_experts.study.text import encode, pieces

TEXT = "My lord, what news? def get(self, name): return self.name. Of Man, and of the fruit of that tree."
MOST_TOKENS = 128
LETTER_PX, LINE_PX = 8.6, 56  # a character of the monospaced font, and from one line to the next
WIDEST = int(WIDTH / LETTER_PX)  # characters in a line
DARK = {"#0072B2", "#D55E00", "#009E73", "#000000"}  # colours that white letters are read on
NO_LIMIT = "no limit"
CAPACITIES = (NO_LIMIT, 2.0, 1.5, 1.25, 1.0, 0.75)


def token_table(model: nn.Module, tokenizer: Any, text: str, layer: int) -> pd.DataFrame:
    """Where each token of a text goes in one layer, and where it stands on the page.

    Args:
        model: with mixture-of-experts layers.
        tokenizer: its tokenizer.
        text: any text; at most `MOST_TOKENS` tokens of it are taken.
        layer: the number of the block.

    Returns:
        One row a token: piece (its text), shown (the same with visible spaces), expert (first choice), others (further
        choices in words), weight (of the first choice), dropped (whether one of its choices was), left, right [px] and
        line, from 0.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the text has no token, or the model no experts in that layer.
    """
    checks.text("text", text)
    ids = encode(tokenizer, text)[:MOST_TOKENS]
    if not len(ids):
        raise ValueError(f"text={text!r} has no token: give at least one character")
    table = routing(model, ids[None])
    if layer not in set(table["layer"]):
        raise ValueError(f"layer={layer!r}: the layers with experts are {sorted(set(table['layer']))}")
    table = table[table["layer"] == layer]
    first = table[table["rank"] == 0].reset_index(drop=True)
    others = table[table["rank"] > 0].groupby("position")["expert"].agg(lambda e: ", ".join(map(str, e)))
    words = pieces(tokenizer, ids)
    shown = [
        word.replace("\n", "↵").replace("\t", "⇥").replace(" ", "·") if not word.strip() else word.strip()
        for word in words
    ]
    left, line, places = 0, 0, []
    for piece, word in zip(words, shown, strict=True):
        size = max(len(word), 1) + 1
        if left and left + size > WIDEST:
            left, line = 0, line + 1
        places.append((left * LETTER_PX, (left + size - 0.3) * LETTER_PX, line))
        left += size
        if "\n" in piece:
            left, line = 0, line + 1
    found = pd.DataFrame(places, columns=["left", "right", "line"])
    return found.assign(
        piece=words, shown=shown, expert=first["expert"], weight=first["weight"],
        others=[others.get(position, "none") for position in first["position"]],
        dropped=table.groupby("position")["dropped"].any().to_numpy(),
    )  # fmt: skip


def token_chart(tokens: pd.DataFrame, n_experts: int, title: str) -> alt.LayerChart:
    """Draw a text with each token on the colour of its first expert and the expert's number below it.

    Args:
        tokens: as `token_table` gives it.
        n_experts: experts of the layer.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing, or ``n_experts`` is not from 1 to 8.
    """
    require_columns(tokens, "shown", "expert", "others", "weight", "dropped", "left", "right", "line")
    n_experts = checks.integer("n_experts", n_experts, low=1, high=len(OKABE_ITO))
    checks.text("title", title)
    lines = int(tokens["line"].max()) + 1
    data = tokens.assign(
        number=tokens["expert"].astype(str), cross=tokens["dropped"].map({True: "×", False: ""}),
        dark=[OKABE_ITO[e] in DARK for e in tokens["expert"]], middle=(tokens["left"] + tokens["right"]) / 2,
    )  # fmt: skip
    x = alt.X("left:Q", axis=None).scale(domain=[0, WIDTH], nice=False)
    y = alt.Y("line:O", axis=None).scale(domain=list(range(lines)))
    color = alt.Color("expert:O", title="Expert").scale(domain=list(range(n_experts)), range=OKABE_ITO[:n_experts])
    tooltip = ["shown:N", "expert:O", alt.Tooltip("weight:Q", format=".2f"), "others:N", "dropped:N"]
    base = alt.Chart(data).encode(y=y)
    boxes = base.mark_rect(height=22, cornerRadius=3).encode(x=x, x2="right:Q", color=color, tooltip=tooltip)
    middle = alt.X("middle:Q", axis=None).scale(domain=[0, WIDTH], nice=False)
    words = base.mark_text(font="monospace", fontSize=13).encode(
        x=middle,
        text="shown:N",
        tooltip=tooltip,
        color=alt.condition("datum.dark", alt.value("white"), alt.value("black")),
    )
    numbers = base.mark_text(fontSize=10.5, dy=18, color=MUTED).encode(x=middle, text="number:N")
    crosses = base.mark_text(fontSize=12, dy=29, color=INK).encode(x=middle, text="cross:N")
    return alt.layer(boxes, words, numbers, crosses).resolve_scale(color="independent").properties(
        title=title, width=WIDTH, height=lines * LINE_PX,
        description=f"A text of {len(tokens)} tokens; each stands on the colour of its first expert, with the expert's "
        "number below it and a cross where a choice was dropped",
    )  # fmt: skip


def load_chart(loads: pd.DataFrame, capacity: int | None, title: str) -> alt.LayerChart:
    """Draw how many choices each expert got, and how many it had no room for.

    Args:
        loads: the columns expert, tokens and dropped of one layer, as `mixture_of_experts.load` gives them.
        capacity: the most that an expert takes; None draws no line.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    require_columns(loads, "expert", "tokens", "dropped")
    checks.text("title", title)
    long = loads.assign(done=loads["tokens"] - loads["dropped"]).melt("expert", ["done", "dropped"], "what", "choices")
    long["what"] = long["what"].map({"done": "computed", "dropped": "dropped"})
    n_experts = len(loads)
    x = alt.X("expert:O", title="Expert").axis(labelAngle=0)
    y = alt.Y("choices:Q", title="Choices of tokens", stack=True)
    bars = alt.Chart(long).mark_bar(stroke="white").encode(
        x=x, y=y, order=alt.Order("what:N"),
        color=alt.Color("expert:O", legend=None).scale(domain=list(range(n_experts)), range=OKABE_ITO[:n_experts]),
        opacity=alt.Opacity("what:N", legend=None).scale(domain=["computed", "dropped"], range=[1.0, 0.3]),
        tooltip=["expert:O", "what:N", "choices:Q"],
    )  # fmt: skip
    equal = alt.Chart(pd.DataFrame({"choices": [float(loads["tokens"].mean())], "words": ["equal load"]}))
    layers: list[Any] = [bars, equal.mark_rule(strokeDash=[5, 4], color=INK).encode(y=y)]
    if capacity is not None:
        full = alt.Chart(pd.DataFrame({"choices": [capacity]}))
        layers.append(full.mark_rule(color=INK, strokeWidth=2).encode(y=y))
    return finish(
        layers, loads, title=title, subtitle=None, slider=None, width=WIDTH, height=150,
        description="Choices of tokens by expert, computed and dropped; the dashed line is an equal load, the solid "
        "one, where there is one, the capacity",
    )  # fmt: skip


def with_choices(model: nn.Module, top_k: int, capacity_factor: float | None) -> nn.Module:
    """A copy of a trained model in which a token uses another number of experts, or experts have a capacity.

    The weights are shared with the model; nothing is trained again.

    Args:
        model: with mixture-of-experts layers.
        top_k: experts that a token uses.
        capacity_factor: an expert takes at most so many times an equal load; None for no limit.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the model has no experts, or a number is out of range.
    """
    layers = moe_layers(model)
    top_k = checks.integer("top_k", top_k, low=1, high=min(part.n_experts for _, part in layers))
    if capacity_factor is not None:
        capacity_factor = checks.number("capacity_factor", capacity_factor, above=0, high=1e6)
    memo = {id(p): p for p in model.parameters()}
    changed = copy.deepcopy(model, memo)
    for _, part in moe_layers(changed):
        part.router.top_k, part.router.capacity_factor = top_k, capacity_factor
    return changed


def route_widget(models: dict[str, nn.Module], tokenizer: Any, text: str = TEXT) -> Explorer:
    """Type a text and see who works on it: choose the model, the layer, how many experts a token uses, and a capacity.

    Args:
        models: trained models by name, with at most eight experts.
        tokenizer: their tokenizer.
        text: that the widget starts with.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there is no model, or one has no experts.
    """
    if not isinstance(models, dict):
        raise TypeError(f"models is {type(models).__name__}: give a dict of names and models")
    if not models:
        raise ValueError("models is empty: give at least one trained model")
    checks.text("text", text)
    first = next(iter(models.values()))
    n_layers = max(layer for layer, _ in moe_layers(first)) + 1

    @lru_cache(maxsize=64)
    def variant(model: str, top_k: int, capacity: Any) -> nn.Module:
        most = min(part.n_experts for _, part in moe_layers(models[model]))
        return with_choices(models[model], min(top_k, most), None if capacity == NO_LIMIT else float(capacity))

    @lru_cache(maxsize=256)
    def outcome(text: str, model: str, layer: int, top_k: int, capacity: Any) -> Any:
        part = variant(model, top_k, capacity)
        words = text if text.strip() else TEXT
        ids = encode(tokenizer, words)[:MOST_TOKENS][None]
        tokens = token_table(part, tokenizer, words, layer)
        loads = load(part, ids).query("layer == @layer")
        even = balance(part, ids).query("layer == @layer").iloc[0]
        router = dict(moe_layers(part))[layer].router
        return tokens, loads, even, router.capacity(ids.numel()), router.n_experts, _loss(part, ids)

    def draw(text: str, model: str, layer: int, top_k: int, capacity: Any) -> alt.VConcatChart:
        tokens, loads, even, room, n_experts, _ = outcome(text, model, layer, top_k, capacity)
        title = f"Layer {layer}, {model}: the busiest expert has {even['max_over_mean']:.1f} times an equal load"
        lost, choices = int(loads["dropped"].sum()), int(loads["tokens"].sum())
        fate = f"{lost} of {choices} choices are dropped (pale)" if lost else "nothing is dropped"
        return alt.vconcat(
            token_chart(tokens, n_experts, title),
            load_chart(loads, room, f"Load of the experts: {fate}"),
        ).properties(
            description=f"{len(tokens)} tokens coloured by their expert in layer {layer}, and the load of the experts"
        )

    def say(text: str, model: str, layer: int, top_k: int, capacity: Any) -> str:
        tokens, loads, even, room, n_experts, loss = outcome(text, model, layer, top_k, capacity)
        note = "" if text.strip() else " (the text was empty; this is the first one)"
        busy = int(loads.set_index("expert")["tokens"].idxmax())
        idle = int((loads["tokens"] == 0).sum())
        waits = {0: "none is idle", 1: "1 is idle"}.get(idle, f"{idle} are idle")
        full = f"{loads['dropped'].sum()} of {loads['tokens'].sum()} choices do not fit"
        lost = full if room is not None else "nothing is dropped"
        return (
            f"{len(tokens)} tokens{note}, {n_experts} experts, {min(top_k, n_experts)} for each token: {lost}.\n"
            f"Expert {busy} is the busiest, with {even['max_over_mean']:.1f} times an equal load; {waits}.\n"
            f"The model's loss on this text is {loss:.2f} nats a token."
        )

    def reached(text: str, model: str, layer: int, top_k: int, capacity: Any) -> bool:
        _, _, even, room, _, _ = outcome(text, model, layer, top_k, capacity)
        return bool(room is not None and even["dropped_share"] == 0 and capacity != NO_LIMIT and capacity <= 1.5)

    controls = {
        "text": W.Text(value=text, description="Text", continuous_update=False),
        "model": W.Dropdown(options=list(models), description="Model"),
        "layer": W.IntSlider(value=0, min=0, max=n_layers - 1, description="Layer"),
        "top_k": W.IntSlider(value=2, min=1, max=4, description="Experts used (trained: 2)"),
        "capacity": W.SelectionSlider(options=CAPACITIES, value=NO_LIMIT, description="Capacity / equal load"),
    }
    return Explorer(controls, draw, say, reached, "a capacity of at most 1.5, and no choice dropped")


@torch.no_grad()
def _loss(model: nn.Module, ids: torch.Tensor) -> float:
    """Mean cross-entropy of the text [nats per token]; of a single token there is none, so NaN."""
    if ids.shape[1] < 2:
        return float("nan")
    logits = model(ids[:, :-1])
    return float(nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten()))
