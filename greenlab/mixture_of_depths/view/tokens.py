"""Which tokens enter: a map of a text through the layers, and how its past changes with its future. All of it is live.

The model is the committed one of the study; every move of a control runs it. Nothing is looked up.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import pandas as pd
import torch

from greenlab.core import checks
from greenlab.core.model.gpt import GPT
from greenlab.core.model.training import CharTokenizer
from greenlab.lab.charts import require_columns
from greenlab.lab.charts.parts import finish, number_tooltip
from greenlab.lab.theme import BLUE, GRID, INK, VERMILION, WIDTH
from greenlab.lab.widgets import Explorer
from greenlab.mixture_of_depths import mod_layers, routing_mode, selection
from greenlab.mixture_of_depths.study.text import known

MOST = 64  # characters of a line: more would be too narrow to read
SHORTEST = 24  # characters of the text that is asked for: three of them enter
CHOICES = {"the best of the whole text": "top_k", "each token for itself": "causal"}
ENTERS, PASSES, WHOLE = "enters", "passes by", "whole block: all enter"
PALE = "#BFD9EA"
TEXT = "text"


def map_table(model: GPT, tokenizer: CharTokenizer, text: str, mode: str = "top_k") -> pd.DataFrame:
    """Run a text through the model and say of each token and block whether it enters.

    Args:
        model: with blocks that skip.
        tokenizer: of the model.
        text: characters that the tokenizer knows.
        mode: "top_k" or "causal".

    Returns:
        One row per block and position: block (from 1), row (its words), position, character, state and score (NaN in
        whole blocks).

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the text is empty or has an unknown character, or ``mode`` is another word.
    """
    if not checks.text("text", text):
        raise ValueError("text is empty: give a few words")
    ids = tokenizer.encode(text)[None]
    with routing_mode(model, mode):
        table = selection(model, ids)
    entering = "selected" if mode == "top_k" else "predicted"
    found = {layer: part.sort_values("position") for layer, part in table.groupby("layer")}
    rows = []
    for layer in range(len(model.blocks)):
        part = found.get(layer)
        for position, character in enumerate(text):
            row: dict[str, Any] = {"block": layer + 1, "row": f"block {layer + 1}", "position": position}
            row |= {"character": character, "state": WHOLE, "score": float("nan")}
            if part is not None:
                one = part.iloc[position]
                row |= {"state": ENTERS if one[entering] else PASSES, "score": float(one["score"])}
            rows.append(row)
    return pd.DataFrame(rows)


def _visible(text: str) -> str:
    """The text with a mark for each space and line break."""
    return text.replace(" ", "␣").replace("\n", "↵")


def _found(table: pd.DataFrame) -> str:
    """How many of the characters enter a block that skips, as a title."""
    entering = table[table["state"] != WHOLE].groupby("block")["state"].agg(lambda states: (states == ENTERS).sum())
    n, least, most = table["position"].nunique(), int(entering.min()), int(entering.max())
    asked = f"{n} character{'s' * (n != 1)}"
    if least == most:
        return f"Of {asked} {most} enter{'s' * (most == 1)} each block that skips"
    return f"Of {asked} {least} to {most} enter a block that skips"


def token_map(table: pd.DataFrame, title: str | None = None, subtitle: str = "") -> alt.LayerChart:
    """Draw the map: the text on top, a row a block, dark where a token enters.

    Args:
        table: as `map_table` gives it.
        title: of the chart; None says how many enter.
        subtitle: how to read it.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("subtitle", subtitle)
    require_columns(table, "block", "row", "position", "character", "state", "score")
    title = _found(table) if title is None else checks.text("title", title)
    order = [TEXT, *dict.fromkeys(table["row"])]
    words = "A text across, the blocks of a model down: which characters enter each block and which pass it by"
    return _tiles(table, order, title, subtitle, words)


def _tiles(table: pd.DataFrame, order: list[str], title: str, subtitle: str, description: str) -> alt.LayerChart:
    x = alt.X("position:O", axis=None)
    y = alt.Y("row:N", title=None, sort=order).axis(domain=False, ticks=False, labelPadding=6)
    states = [state for state in (ENTERS, PASSES, WHOLE) if state in set(table["state"])]
    colors = {ENTERS: BLUE, PASSES: GRID, WHOLE: PALE}
    color = alt.Color("state:N", title=None).scale(domain=states, range=[colors[state] for state in states])
    tooltip = [alt.Tooltip("character:N"), alt.Tooltip("row:N"), "state:N", number_tooltip("score", "Router's score")]
    tiles = alt.Chart(table).mark_rect(stroke="white", strokeWidth=1).encode(x=x, y=y, color=color, tooltip=tooltip)
    top = table.drop_duplicates("position").assign(row=TEXT)
    top["shown"] = top["character"].map(_visible)
    letters = alt.Chart(top).mark_text(font="monospace", fontSize=12, color=INK).encode(x=x, y=y, text="shown:N")
    layers: list[Any] = [tiles, letters]
    if "changed" in table:
        crosses = alt.Chart(table[table["changed"]]).encode(x=x, y=y)
        layers.append(crosses.mark_text(text="×", fontSize=15, fontWeight="bold", color=VERMILION))
    return finish(
        layers, table, title=title, description=description, subtitle=subtitle or None, slider=None, width=WIDTH,
        height=alt.Step(24),
    )  # fmt: skip


def map_explorer(model: GPT, tokenizer: CharTokenizer, text: str) -> Explorer:
    """Type a text and see which characters enter each block.

    Args:
        model: with blocks that skip.
        tokenizer: of the model.
        text: what stands in the box at first.
    """
    skipping = [layer + 1 for layer in mod_layers(model)]

    def readable(text: str) -> str:
        return known(text, tokenizer, MOST) or " "

    @lru_cache(maxsize=64)
    def table(text: str, choice: str) -> pd.DataFrame:
        return map_table(model, tokenizer, readable(text), CHOICES[choice])

    def draw(text: str, choice: str) -> Any:
        return token_map(table(text, choice))

    def say(text: str, choice: str) -> str:
        rows, n = table(text, choice), len(readable(text))
        parts = []
        for block in skipping:
            inside = rows[(rows["block"] == block) & (rows["state"] == ENTERS)]["character"]
            letters = _visible("".join(inside)) or "none"
            parts.append(f"block {block}: {letters}")
        note = "" if readable(text) == text else f" (read are the first {MOST} that the model knows)"
        if not known(text, tokenizer, MOST):
            note = " (of this text the model knows none: a space stands in for it)"
        return f"{n} character{'s' * (n != 1)}{note}. Entering {'; '.join(parts)}."

    def reached(text: str, choice: str) -> bool:
        rows = table(text, choice)
        first = rows[(rows["block"] == skipping[0]) & (rows["character"] == " ")]["state"]
        long_enough = len(readable(text)) >= SHORTEST
        return CHOICES[choice] == "top_k" and long_enough and (first == PASSES).sum() > (first == ENTERS).sum()

    controls = {
        "text": W.Text(value=text, description="Text", continuous_update=False),
        "choice": W.Dropdown(options=list(CHOICES), description="Who enters"),
    }
    goal = f"write at least {SHORTEST} characters so that more spaces pass by block {skipping[0]} than enter it"
    return Explorer(controls, draw, say, reached, goal)


def leak_table(model: GPT, tokenizer: CharTokenizer, past: str, endings: tuple[str, str], mode: str) -> pd.DataFrame:
    """Let a text end in two ways, and compare which tokens of its past enter.

    Args:
        model: with blocks that skip.
        tokenizer: of the model.
        past: the part that both texts share.
        endings: two of the same length.
        mode: "top_k" or "causal".

    Returns:
        The rows of `map_table` for the past in blocks that skip, once for each ending: and ending, and changed (the
        token enters with one ending and not with the other).

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the endings differ in length, or a text cannot be read.
    """
    if len(endings[0]) != len(endings[1]):
        raise ValueError(f"endings={endings!r:.80}: give two of one length, which sets how many enter")
    tables = [map_table(model, tokenizer, past + ending, mode) for ending in endings]
    past_rows = [table[(table["position"] < len(past)) & (table["state"] != WHOLE)] for table in tables]
    changed = past_rows[0]["state"].to_numpy() != past_rows[1]["state"].to_numpy()
    found = [
        rows.assign(ending=ending, row=rows["row"] + f", “…{ending.strip()}”", changed=changed)
        for rows, ending in zip(past_rows, endings, strict=True)
    ]
    return pd.concat(found, ignore_index=True).sort_values(["block", "position"], kind="stable", ignore_index=True)


@torch.no_grad()
def past_change(model: GPT, tokenizer: CharTokenizer, past: str, endings: tuple[str, str], mode: str) -> float:
    """The most that a logit of the past changes when the text ends in another way; 0 is not at all.

    Args:
        model: with blocks that skip.
        tokenizer: of the model.
        past: the part that both texts share.
        endings: two of the same length.
        mode: "top_k" or "causal".
    """
    with routing_mode(model, mode):
        one, other = (model(tokenizer.encode(past + ending)[None])[:, : len(past)] for ending in endings)
    return float((one - other).abs().max())


def leak_chart(table: pd.DataFrame, title: str, subtitle: str = "") -> alt.LayerChart:
    """Draw the past under two endings, one below the other, with a cross where a token changed its way.

    Args:
        table: as `leak_table` gives it.
        title: of the chart.
        subtitle: how to read it.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    checks.text("subtitle", subtitle)
    require_columns(table, "row", "position", "character", "state", "score", "changed")
    order = [TEXT, *dict.fromkeys(table["row"])]
    words = (
        "The same beginning of a text with two endings: which of its characters enter each block that skips, with a "
        "cross where it depends on the ending"
    )
    return _tiles(table, order, title, subtitle, words)


def _choices(n: int) -> str:
    return f"{n} choice{'s' * (n != 1)}"


def leak_explorer(model: GPT, tokenizer: CharTokenizer, past: str, ending: str) -> Explorer:
    """Type another ending and see which tokens of the past change their way.

    Args:
        model: with blocks that skip.
        tokenizer: of the model.
        past: the part that stays.
        ending: what it is compared with; what is typed is cut, or filled with spaces, to its length.
    """

    def fitted(other: str) -> str:
        return known(other, tokenizer, len(ending)).ljust(len(ending))

    @lru_cache(maxsize=64)
    def table(other: str, choice: str) -> pd.DataFrame:
        return leak_table(model, tokenizer, past, (ending, fitted(other)), CHOICES[choice])

    def crossed(other: str, choice: str) -> int:
        return int(table(other, choice)["changed"].sum()) // 2  # a change stands in both rows

    def draw(other: str, choice: str) -> Any:
        n = crossed(other, choice)
        title = f"The ending changes {_choices(n)} of the past" if n else "The ending changes no choice of the past"
        return leak_chart(table(other, choice), title, f"“{past}”, ending in two ways; ×: enters with one of them only")

    def say(other: str, choice: str) -> str:
        endings, mode = (ending, fitted(other)), CHOICES[choice]
        n, most = crossed(other, choice), past_change(model, tokenizer, past, endings, mode)
        logits = "no logit of the past moves" if most == 0 else f"a logit of the past moves by up to {most:.2f}"
        verb, typed, first = "changes" if n == 1 else "change", _visible(endings[1]), _visible(ending)
        return f"With “{typed}” for “{first}”, {_choices(n)} of the past {verb}, and {logits}."

    controls = {
        "other": W.Text(value=ending, description="Another ending", continuous_update=False),
        "choice": W.Dropdown(options=list(CHOICES), description="Who enters"),
    }
    goal = "find an ending that changes at least 6 choices of the past"
    return Explorer(controls, draw, say, lambda **v: crossed(**v) >= 6, goal)
