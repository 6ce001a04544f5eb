"""How good is a language model? Loss on text that it has never seen, and a four-way cloze test.

Both texts and test were written for this book (data/held_out, data/cloze), so no model was trained on them. Loss moves at the
first lost layer; the cloze test says when knowledge is lost: guessing gives 25 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from greenlab.core.machine import ROOT

CHANCE = 0.25
OPTIONS = ["answer", "wrong_1", "wrong_2", "wrong_3"]


def held_out_text(part: str = "evaluation") -> str:
    """Return prose written for this book: ``"evaluation"`` for scoring, ``"calibration"`` for choosing what to cut."""
    if part not in ("evaluation", "calibration"):
        raise ValueError(f"part={part!r}: expected 'evaluation' or 'calibration'")
    return (ROOT / "data" / "held_out" / f"{part}.txt").read_text(encoding="utf-8")


def token_windows(tokenizer: Any, text: str, length: int) -> Tensor:
    """Cut a text into windows of token ids, ``(N, length)``; a rest shorter than a window is left out.

    Raises:
        ValueError: if the text is shorter than one window.
    """
    ids = torch.tensor(tokenizer(text).input_ids, dtype=torch.long)
    if len(ids) < length or length < 2:
        raise ValueError(
            f"length={length}: the text has {len(ids)} tokens; a window needs 2 to {len(ids)} of them, so give a longer text or a "
            "shorter window"
        )
    return ids[: len(ids) // length * length].view(-1, length)


@torch.no_grad()
def text_loss(model: Any, input_ids: Tensor, *, batch_size: int = 4) -> float:
    """Return the mean cross-entropy of windows ``(N, S)`` [nats per predicted token]; exp of it is the perplexity.

    Raises:
        ValueError: if there is no token to predict.
    """
    if input_ids.ndim != 2 or input_ids.shape[0] == 0 or input_ids.shape[1] < 2:
        raise ValueError(
            f"input_ids has shape {tuple(input_ids.shape)}: expected (N, S) with N >= 1 and S >= 2 tokens to predict"
        )
    total = 0.0
    for ids in input_ids.to(model.device).split(batch_size):
        logits = model(ids, use_cache=False).logits[:, :-1]
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").item()
    return total / input_ids[:, 1:].numel()


def load_cloze(n_items: int | None = None) -> pd.DataFrame:
    """Return the cloze items: id, category, prompt, answer and three wrong options; the first ``n_items`` of each category."""
    items = pd.read_csv(ROOT / "data" / "cloze" / "cloze.csv", dtype=str, keep_default_na=False)
    if n_items is None:
        return items
    return items[items.groupby("category").cumcount() < n_items].reset_index(drop=True)


@torch.no_grad()
def option_log_probabilities(
    model: Any, tokenizer: Any, prompts: Sequence[str], options: Sequence[Sequence[str]]
) -> Tensor:
    """Return log P(option | prompt) for every option of every prompt, ``(n_prompts, n_options)`` [nats, summed over tokens].

    Only ``prompt + option[:-1]`` has to pass the model, so options of one token share a single pass. Rows are padded on the
    right, which a causal model cannot see.
    """
    needed: dict[tuple[int, ...], list[tuple[int, int, int, int]]] = {}  # row -> (prompt, option, position, token)
    for i, (prompt, choices) in enumerate(zip(prompts, options, strict=True)):
        head = tokenizer(prompt).input_ids
        for j, choice in enumerate(choices):
            tail = tokenizer(" " + choice, add_special_tokens=False).input_ids
            asked = needed.setdefault((*head, *tail[:-1]), [])
            asked += [(i, j, len(head) - 1 + k, token) for k, token in enumerate(tail)]
    total = torch.zeros(len(prompts), len(options[0]), dtype=torch.float64)
    rows = sorted(needed, key=len)  # rows of one length together: little padding
    for start in range(0, len(rows), 32):
        batch = rows[start : start + 32]
        width = max(map(len, batch))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in batch], device=model.device)
        logits = model(ids, use_cache=False).logits
        for b, row in enumerate(batch):
            for i, j, position, token in needed[row]:
                total[i, j] += logits[b, position].log_softmax(-1)[token].item()
    return total


def cloze(model: Any, tokenizer: Any, items: pd.DataFrame) -> pd.DataFrame:
    """Let the model choose the likeliest of four continuations; one row per item: id, category, choice, correct."""
    scores = option_log_probabilities(model, tokenizer, items["prompt"].tolist(), items[OPTIONS].to_numpy().tolist())
    best = scores.argmax(dim=1).tolist()
    choice = [row[i] for row, i in zip(items[OPTIONS].to_numpy().tolist(), best, strict=True)]
    return items[["id", "category"]].assign(choice=choice, correct=[i == 0 for i in best])


def standard_error(accuracy: float, n_items: int) -> float:
    """Return the standard error of a share of right answers: ``sqrt(p (1 - p) / n)``.

    >>> round(standard_error(0.5, 100), 3)
    0.05
    """
    return math.sqrt(accuracy * (1 - accuracy) / n_items)
