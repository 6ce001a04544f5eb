"""A language model that reads and writes with its KV cache; a beginning that many prompts share is read once."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from greenlab.core import checks


class Reading:
    """A model in the middle of a text: what it has read, its KV cache, and its scores for the next token.

    Args:
        model: a causal language model of transformers.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.ids: list[int] = []
        self.cache: Any = None
        self.log_probabilities: Tensor | None = None  # of the next token, (vocab_size,)
        # transformers 5.24 renamed it and warns about the old name, which would end up in a notebook as stderr
        self._name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"

    @torch.inference_mode()
    def read(self, ids: Sequence[int]) -> Reading:
        """Go on with these tokens, in one pass.

        Raises:
            ValueError: if there is none.
        """
        if not ids:
            raise ValueError("ids is empty: give at least one token to read")
        given = {} if self.cache is None else {self._name: self.cache}
        output = self.model(torch.tensor([list(ids)]).to(self.model.device), use_cache=True, logits_to_keep=1, **given)
        self.cache = getattr(output, self._name)
        self.log_probabilities = output.logits[0, -1].float().log_softmax(-1)
        self.ids += ids
        return self

    def copy(self) -> Reading:
        """The same place in the text, to go on from without changing this one."""
        other = copy.copy(self)
        other.ids, other.cache = list(self.ids), copy.deepcopy(self.cache)
        return other


class Prefix:
    """A fixed beginning, read once: its keys and values serve every text that begins so.

    Args:
        model: a causal language model of transformers.
        ids: the tokens of the beginning, at least one.

    Raises:
        TypeError: if ``model`` is no model or ``ids`` holds no whole numbers.
        ValueError: if ``ids`` is empty or holds a number that the model does not know.
    """

    def __init__(self, model: Any, ids: Sequence[int]) -> None:
        if not isinstance(model, torch.nn.Module) or not hasattr(model, "config"):
            raise TypeError(f"model={model!r:.80} is {type(model).__name__}: give a causal model of transformers")
        held = checks.several("ids", ids, remedy="token ids, such as build_prompt(...).head")
        config: Any = model.config
        high = int(config.vocab_size) - 1
        self.ids = [checks.integer("ids", one, low=0, high=high, remedy="the model's vocabulary") for one in held]
        if not self.ids:
            raise ValueError("ids is empty: give at least one token")
        self.model = model
        self._reading = Reading(model).read(self.ids)

    def start(self) -> Reading:
        """A reading that stands behind the beginning."""
        return self._reading.copy()


def start_reading(model: Any, ids: Sequence[int], prefix: Prefix | None = None) -> Reading:
    """Read a prompt; behind a prefix only what comes after it.

    Raises:
        TypeError: if ``prefix`` is no `Prefix`.
        ValueError: if the prompt does not begin with the prefix, or the prefix is another model's.
    """
    if prefix is None:
        return Reading(model).read(ids)
    checks.instance("prefix", prefix, Prefix, remedy="Prefix(model, build_prompt(...).head)")
    if prefix.model is not model:
        raise ValueError("prefix was read by another model: make one with this model")
    n = len(prefix.ids)
    if list(ids[:n]) != prefix.ids or len(ids) == n:
        raise ValueError(
            f"prefix has {n} tokens that are not the beginning of the prompt: make it of the prompt's head"
        )
    return prefix.start().read(ids[n:])


def stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Tokens with which the model says that it is done."""
    config = getattr(model, "generation_config", None)
    ends = getattr(config, "eos_token_id", None) if config is not None else None
    ends = [ends] if isinstance(ends, int) else list(ends or [])
    return frozenset(one for one in (*ends, getattr(tokenizer, "eos_token_id", None)) if one is not None)


def write_line(
    reading: Reading, tokenizer: Any, n_new_tokens: int, forbidden: Collection[int] = ()
) -> tuple[list[int], bool]:
    """Write the likeliest tokens, one by one, to the end of the line.

    Args:
        reading: a prompt that was read; it goes on with what is written.
        tokenizer: of the model.
        n_new_tokens: at most so many.
        forbidden: tokens that are never written.

    Returns:
        The tokens of the line, and whether it came to its end.
    """
    ends, written = stop_ids(reading.model, tokenizer), []  # type: frozenset[int], list[int]
    never = torch.tensor(sorted(set(forbidden) - ends), dtype=torch.long)
    for _ in range(n_new_tokens):
        assert reading.log_probabilities is not None
        scores = reading.log_probabilities.clone()
        scores[never] = -torch.inf
        token = int(scores.argmax())
        if token in ends or ("\n" in tokenizer.decode([token]) and tokenizer.decode(written).strip()):
            return written, True
        written.append(token)
        reading.read([token])
    return written, False
