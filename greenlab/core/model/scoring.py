"""How good is a language model? Loss on text that it has never seen, and a four-way cloze test.

Both texts and test were written for this book (data/held_out, data/cloze), so no model was trained on them. Loss moves
at the first lost layer; the cloze test says when knowledge is lost: guessing gives 25 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.machine import ROOT
from greenlab.core.model.decoder import check_input_ids
from greenlab.core.model.gpt import LARGEST_SIZE, at_least_float32

CHANCE = 0.25
OPTIONS = ["answer", "wrong_1", "wrong_2", "wrong_3"]


def held_out_text(part: str = "evaluation") -> str:
    """Return prose written for this book.

    Args:
        part: ``"evaluation"`` for scoring, ``"calibration"`` for choosing what to cut.

    Raises:
        TypeError: if ``part`` is no text.
        ValueError: if it is another word.
    """
    checks.one_of("part", part, ("evaluation", "calibration"))
    return (ROOT / "data" / "held_out" / f"{part}.txt").read_text(encoding="utf-8")


def token_windows(tokenizer: Any, text: str, length: int) -> Tensor:
    """Cut a text into windows of token ids, ``(N, length)``; a rest shorter than a window is left out.

    Args:
        tokenizer: of transformers, or anything whose call gives ``input_ids``.
        text: the text.
        length: tokens in a window, 2 or more.

    Raises:
        TypeError: if ``tokenizer`` cannot be called, ``text`` is no text, or ``length`` no integer.
        ValueError: if ``length`` is below 2, or the text is shorter than one window.
    """
    if not isinstance(text, str):
        raise TypeError(f"text={text!r:.80} is {type(text).__name__}: give a text")
    length = checks.integer("length", length, low=2)
    checks.function("tokenizer", tokenizer, remedy="a tokenizer of transformers")
    ids = torch.tensor(tokenizer(text).input_ids, dtype=torch.long)
    if len(ids) < length:
        raise ValueError(
            f"length={length}: the text has {len(ids)} tokens; a window needs 2 to {len(ids)} of them, so give a "
            "longer "
            "text or a shorter window"
        )
    return ids[: len(ids) // length * length].view(-1, length)


@torch.no_grad()
def text_loss(model: Any, input_ids: Tensor, *, batch_size: int = 4) -> float:
    """Return the mean cross-entropy of windows ``(N, S)`` [nats per predicted token]; exp of it is the perplexity.

    Args:
        model: a causal language model of transformers.
        input_ids: token ids; the first of each window is given, the others are predicted.
        batch_size: windows in one forward pass.

    Raises:
        TypeError: if ``model`` is no model of transformers, ``input_ids`` no tensor of integers, or ``batch_size`` no
            integer.
        ValueError: if there is no token to predict, or ``batch_size`` is below 1.
    """
    _check_model(model)
    check_input_ids(input_ids, model.config.vocab_size)
    batch_size = checks.integer("batch_size", batch_size, low=1, high=LARGEST_SIZE)
    if input_ids.shape[1] < 2:
        raise ValueError(
            f"input_ids has shape {tuple(input_ids.shape)}: expected (N, S) with N >= 1 and S >= 2 tokens to predict"
        )
    total = 0.0
    for ids in input_ids.to(model.device).split(batch_size):
        logits = at_least_float32(model(ids, use_cache=False).logits)[:, :-1]
        total += torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="sum").item()
    return total / input_ids[:, 1:].numel()


def load_cloze(n_items: int | None = None) -> pd.DataFrame:
    """Return the cloze items: id, category, prompt, answer and three wrong options.

    Args:
        n_items: give only the first so many of each category; None gives all.

    Raises:
        TypeError: if ``n_items`` is no integer.
        ValueError: if it is below 1.
    """
    items = pd.read_csv(ROOT / "data" / "cloze" / "cloze.csv", dtype=str, keep_default_na=False)
    if n_items is None:
        return items
    n_items = checks.integer("n_items", n_items, low=1)
    return items[items.groupby("category").cumcount() < n_items].reset_index(drop=True)


@torch.no_grad()
def option_log_probabilities(
    model: Any, tokenizer: Any, prompts: Sequence[str], options: Sequence[Sequence[str]]
) -> Tensor:
    """Return log P(option | prompt) for every option of every prompt [nats, summed over the option's tokens].

    Only ``prompt + option[:-1]`` has to pass the model, so options of one token share a single pass. Rows are padded on
    the right, which a causal model cannot see.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer.
        prompts: beginnings of sentences.
        options: for each prompt the words that may follow, equally many for each.

    Returns:
        float64 ``(n_prompts, n_options)``.

    Raises:
        TypeError: if ``model`` is no model of transformers, ``tokenizer`` cannot be called, or a prompt or option is no
            text.
        ValueError: if there is no prompt or no option, the numbers differ, or a text has no token.
    """
    _check_model(model)
    checks.function("tokenizer", tokenizer, remedy="a tokenizer of transformers")
    _check_options(prompts, options)
    needed: dict[tuple[int, ...], list[tuple[int, int, int, int]]] = {}  # row -> (prompt, option, position, token)
    for i, (prompt, choices) in enumerate(zip(prompts, options, strict=True)):
        head = tokenizer(prompt).input_ids
        for j, choice in enumerate(choices):
            tail = tokenizer(" " + choice, add_special_tokens=False).input_ids
            if not len(head) or not len(tail):
                raise ValueError(f"prompts[{i}]={prompt!r} or options[{i}][{j}]={choice!r} has no token: give a word")
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
                total[i, j] += at_least_float32(logits[b, position]).log_softmax(-1)[token].item()
    return total


def _check_model(model: Any) -> None:
    checks.instance("model", model, nn.Module)
    if not hasattr(model, "config") or not hasattr(model, "device"):
        raise TypeError(f"model={type(model).__name__}: give a causal language model of transformers")


def _check_options(prompts: Sequence[str], options: Sequence[Sequence[str]]) -> None:
    for name, value in {"prompts": prompts, "options": options}.items():
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise TypeError(f"{name}={value!r:.80} is {type(value).__name__}: give a list, an entry a prompt")
        if not value:
            raise ValueError(f"{name} is empty: give at least one")
    if len(prompts) != len(options):
        raise ValueError(f"options has {len(options)} entries, prompts {len(prompts)}: give a list of options a prompt")
    for i, (prompt, choices) in enumerate(zip(prompts, options, strict=True)):
        if not isinstance(prompt, str):
            raise TypeError(f"prompts[{i}]={prompt!r:.80} is {type(prompt).__name__}: give a text")
        if (
            isinstance(choices, str)
            or not isinstance(choices, Sequence)
            or not all(isinstance(choice, str) for choice in choices)
        ):
            raise TypeError(f"options[{i}]={choices!r:.80}: give a list of texts")
        if len(choices) != len(options[0]) or not choices:
            raise ValueError(f"options[{i}] has {len(choices)} entries, options[0] {len(options[0])}: give as many")


def cloze(model: Any, tokenizer: Any, items: pd.DataFrame) -> pd.DataFrame:
    """Let the model choose the likeliest of four continuations; one row per item: id, category, choice, correct.

    Args:
        model: a causal language model of transformers.
        tokenizer: its tokenizer.
        items: from `load_cloze`.

    Raises:
        TypeError: if ``items`` is no table, ``model`` no model of transformers, or ``tokenizer`` cannot be called.
        ValueError: if it is empty or lacks a column.
    """
    if not isinstance(items, pd.DataFrame):
        raise TypeError(f"items is {type(items).__name__}: give the table of load_cloze()")
    if missing := {"id", "category", "prompt", *OPTIONS} - set(items.columns):
        raise ValueError(f"items lacks the columns {', '.join(sorted(missing))}: give the table of load_cloze()")
    options = items[OPTIONS].to_numpy().tolist()
    scores = option_log_probabilities(model, tokenizer, items["prompt"].tolist(), options)
    best = scores.argmax(dim=1).tolist()
    choice = [row[i] for row, i in zip(options, best, strict=True)]
    return items[["id", "category"]].assign(choice=choice, correct=[i == 0 for i in best])


def standard_error(accuracy: float, n_items: int) -> float:
    """Return the standard error of a share of right answers: ``sqrt(p (1 - p) / n)``.

    Args:
        accuracy: the share, 0 to 1.
        n_items: number of questions, 1 or more.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one is out of range.

    >>> round(standard_error(0.5, 100), 3)
    0.05
    """
    accuracy = checks.number("accuracy", accuracy, low=0, high=1)
    return math.sqrt(accuracy * (1 - accuracy) / checks.integer("n_items", n_items, low=1))


def mcnemar(lost: int, gained: int) -> float:
    """Return the chance that two models with equal skill differ so much on the same items: the exact McNemar test.

    Items that both get right, or both get wrong, say nothing about the difference. Among the others, losing and
    gaining are equally likely if the models are equally good: a binomial test at 1/2, two-sided (McNemar,
        Psychometrika 12, 1947, p. 153).

    Args:
        lost: items that the first model gets right and the second wrong.
        gained: items that the first model gets wrong and the second right.

    Raises:
        TypeError: if a count is no integer.
        ValueError: if a count is negative or above 10,000, where the sum of exact numbers would take minutes.

    >>> mcnemar(6, 0)  # six changes, all one way: 2 / 2**6
    0.03125
    >>> mcnemar(4, 4)
    1.0
    """
    lost = checks.integer("lost", lost, low=0, high=10_000)
    gained = checks.integer("gained", gained, low=0, high=10_000)
    n, fewer = lost + gained, min(lost, gained)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(fewer + 1)) / 2**n)
