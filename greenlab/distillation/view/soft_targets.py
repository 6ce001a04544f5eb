"""What a soft target knows: SmolLM2's next token after a text that the reader types, at a temperature that they choose.

All of it is live: the model reads the text again at each change of it.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import pandas as pd
import torch
from torch import Tensor

from greenlab.core import checks
from greenlab.distillation import entropy, soft_targets
from greenlab.lab.charts import bars_with_range, require_columns
from greenlab.lab.widgets import Explorer

MOST_TOKENS = 64  # of a text: a widget answers at once
SHOWN = 10  # tokens in the chart
EXPECTED = 3  # words at least, of a beginning that reaches the goal
SURE = 0.95


@torch.no_grad()
def next_logits(model: Any, tokenizer: Any, text: str) -> Tensor:
    """Logits ``(V,)`` of the token after a text; of the first one, if the text is empty.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer.
        text: what stands before; its last 64 tokens are read.

    Raises:
        TypeError: if ``text`` is no text.
    """
    ids = tokenizer(checks.text("text", text), return_tensors="pt").input_ids[:, -MOST_TOKENS:]
    if not ids.numel():
        ids = torch.tensor([[tokenizer.eos_token_id]])
    return model(ids.long()).logits[0, -1].float()


def token_table(logits: Tensor, tokenizer: Any, temperature: float, n: int = SHOWN) -> pd.DataFrame:
    """The likeliest tokens and their probabilities at a temperature: token, percent.

    Args:
        logits: ``(V,)``.
        tokenizer: of the model.
        temperature: from 0.01 to 100.
        n: how many tokens.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range.
    """
    p = soft_targets(logits, temperature)
    n = checks.integer("n", n, low=1, high=len(p))
    top = logits.topk(n).indices
    names = [_visible(tokenizer.decode([i])) for i in top.tolist()]
    seen: dict[str, int] = {}
    for place, name in enumerate(names):  # pieces of characters look alike: each row needs a name of its own
        seen[name] = seen.get(name, 0) + 1
        names[place] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return pd.DataFrame({"token": names, "percent": 100 * p[top].numpy()})


def _visible(text: str) -> str:
    """A token in quotes, with a mark for each space and line break."""
    return f"“{text.replace(' ', '␣').replace(chr(10), '↵').replace(chr(9), '⇥')}”"


def token_chart(table: pd.DataFrame, title: str, temperature: float) -> alt.LayerChart:
    """Draw the likeliest tokens as bars.

    Args:
        table: as `token_table` gives it.
        title: of the chart.
        temperature: they were made with.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    require_columns(table, "token", "percent")
    most = table["percent"].max()
    decimals = 1 if most >= 10 else 2 if most >= 1 else 3  # the same for all bars
    return bars_with_range(
        table, "token", "percent", title=title, x_title="Probability [%]", value_format=f".{decimals}f",
        subtitle=f"the {len(table)} likeliest tokens of SmolLM2 at temperature {temperature:g}; ␣ is a space",
        description="Probabilities of the likeliest next tokens after the text, as bars",
    )  # fmt: skip


def _percent(value: float) -> str:
    """A share as one says it: 87.4 is "87", 3.21 is "3.2", and 99.97 is "over 99.9" and not 100.

    >>> [_percent(value) for value in (99.97, 99.62, 87.4, 3.21, 0.0042)]
    ['over 99.9', '99.6', '87', '3.2', '0.0042']
    """
    if value > 99.9:
        return "over 99.9"
    return f"{value:.1f}" if value >= 99 else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _rounded(value: float) -> str:
    """A count to two digits: 4.38 is "4.4", 5,633 is "5,600"."""
    return f"{value:.1f}" if value < 10 else f"{float(f'{value:.2g}'):,.0f}"


def soft_widget(model: Any, tokenizer: Any, text: str) -> Explorer:
    """Type the beginning of a sentence, move the temperature, and read what the model expects next.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer.
        text: what stands in the box at first.
    """

    @lru_cache(maxsize=64)
    def logits_after(text: str) -> Tensor:
        return next_logits(model, tokenizer, text)

    def draw(text: str, temperature: float) -> Any:
        table = token_table(logits_after(text), tokenizer, temperature)
        first = table.iloc[0]
        return token_chart(
            table, f"{first['token']} has {_percent(first['percent'])} % of the probability", temperature
        )

    def say(text: str, temperature: float) -> str:
        logits = logits_after(text)
        p = soft_targets(logits, temperature)
        table, h = token_table(logits, tokenizer, temperature), float(entropy(p))
        others = 100 - table["percent"].iloc[0]
        undecided, next_ones = _rounded(math.exp(h)), ", ".join(table["token"][1:4])
        return (
            f"Temperature {temperature:g}: entropy {h:.2f} nats, as undecided as between {undecided} equally likely "
            f"tokens of {len(p):,}.\nA label would name one token; the soft target gives {_percent(others)} % to the "
            f"others; the likeliest of them are {next_ones}."
        )

    def reached(text: str, temperature: float) -> bool:
        first = float(soft_targets(logits_after(text), temperature).max())
        return temperature == 1 and len(text.split()) >= EXPECTED and first > SURE

    controls = {
        "text": W.Text(value=text, description="Text", continuous_update=False),
        "temperature": W.SelectionSlider(
            options=[0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0], value=1.0, description="Temperature T"
        ),
    }
    goal = (
        f"at temperature 1, find a beginning of {EXPECTED} words or more whose next token has over {100 * SURE:.0f} %"
    )
    return Explorer(controls, draw, say, reached, goal)
