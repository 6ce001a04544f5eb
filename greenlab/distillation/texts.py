"""Distillation through text: what the teacher wrote, or what the student writes while it learns.

Sequence-level distillation (Kim and Rush, arXiv:1606.07947, sec. 3.2) trains the student on texts of its teacher: any
teacher will do, also one of another vocabulary once its text is tokenized again. On-policy distillation (GKD,
arXiv:2306.13649, algorithm 1) lets the student write and the teacher judge, token by token, so that the student learns
from the mistakes that it makes itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from greenlab.core import checks, speed
from greenlab.core.model.gpt import GPT, LARGEST_SIZE
from greenlab.core.model.random_state import SEED_LIMIT, check_seed, local_seed
from greenlab.core.model.training import mode
from greenlab.distillation.loss import IGNORED


def write_texts(
    teacher: Any,
    prompts: Tensor,
    n_tokens: int,
    *,
    temperature: float = 1.0,
    batch_size: int = 64,
    seed: int = 0,
) -> Tensor:
    """Let ``teacher`` continue every prompt by ``n_tokens`` tokens, for a student to be trained on.

    Kim and Rush take the likeliest sequence, found by a beam search; here each token is drawn, or the likeliest one is
    taken at temperature 0. A token that ends a text does not end a row: another text begins after it. What the model's
    own ``generation_config`` says (a penalty for repetition, forbidden tokens, beams) plays no part.

    Args:
        teacher: a `core.model.gpt.GPT` or a causal language model of transformers.
        prompts: token ids `(N, P)`, int64, without padding.
        n_tokens: how many tokens each gets.
        temperature: divides the logits, from 0 (the likeliest token) to 100.
        batch_size: prompts that are continued together; another one draws other tokens.
        seed: of the draws.

    Returns:
        `(N, P + n_tokens)`: the prompts with what was written, on the device of ``prompts``.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a shape or number is out of range, the teacher does not know a token, or its context is too
            short.
    """
    _check_model("teacher", teacher)
    _check_texts("prompts", prompts, teacher)
    n_tokens = checks.integer("n_tokens", n_tokens, low=1, high=LARGEST_SIZE)
    _check_room("n_tokens", n_tokens, prompts.shape[1] + n_tokens, teacher)
    batch_size = checks.integer("batch_size", batch_size, low=1, high=LARGEST_SIZE)
    temperature = _check_temperature(temperature)
    check_seed(seed)
    seeds = _seeds(seed)
    written = [_continue(teacher, rows, n_tokens, temperature, next(seeds)) for rows in prompts.split(batch_size)]
    return torch.cat(written).to(prompts.device)


def on_policy_batches(
    student: Any,
    texts: Tensor,
    prompt_length: int,
    *,
    batch_size: int = 16,
    on_policy_share: float = 1.0,
    temperature: float = 1.0,
    seed: int = 0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give batches without end for ``fit(stream=...)``, in which the student itself continues the start of a text.

    With the chance ``on_policy_share`` (lambda in GKD) the student continues the first tokens of each text with the
    weights that it has by then, else the texts are taken as they are. What the student writes is no truth to learn
    from: train with ``alpha=1``, so that only the teacher's view of it counts. The prompts count in neither case.

    Args:
        student: the model that is trained.
        texts: token ids `(N, L)`, int64, drawn at random.
        prompt_length: tokens of a text that are kept, P, from 1 to L - 1.
        batch_size: texts in a batch, B.
        on_policy_share: the share of batches that the student writes, from 0 to 1.
        temperature: of its writing, from 0 to 100.
        seed: of the choice of texts and of the writing.

    Returns:
        An iterator over inputs and targets, both `(B, L - 1)`. Targets inside the prompt are -100.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a shape or number is out of range, the student does not know a token, or its context is too
            short.
    """
    _check_model("student", student)
    _check_texts("texts", texts, student)
    remedy = f"texts has {texts.shape[1]} tokens in a row, and at least one must be left to write"
    prompt_length = checks.integer("prompt_length", prompt_length, low=1, high=texts.shape[1] - 1, remedy=remedy)
    _check_room("texts", tuple(texts.shape), texts.shape[1], student)
    batch_size = checks.integer("batch_size", batch_size, low=1, high=LARGEST_SIZE)
    share = checks.number("on_policy_share", on_policy_share, low=0, high=1)
    temperature = _check_temperature(temperature)
    check_seed(seed)
    return _batches(student, texts, prompt_length, batch_size, share, temperature, seed)


def _batches(
    student: Any, texts: Tensor, prompt_length: int, batch_size: int, share: float, temperature: float, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    generator, seeds, n_new = torch.Generator().manual_seed(seed), _seeds(seed), texts.shape[1] - prompt_length
    while True:
        rows = texts[torch.randint(len(texts), (batch_size,), generator=generator).to(texts.device)]
        if torch.rand((), generator=generator) < share:  # from 0 to below 1: never at share 0, always at 1
            rows = _continue(student, rows[:, :prompt_length], n_new, temperature, next(seeds)).to(texts.device)
        targets = rows[:, 1:].clone()
        targets[:, : prompt_length - 1] = IGNORED
        yield rows[:, :-1], targets


def _seeds(seed: int) -> Iterator[int]:
    """A seed for each batch, none of which another nearby seed would give too."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield int(torch.randint(SEED_LIMIT, (), generator=generator))


@torch.no_grad()
def _continue(model: Any, prompts: Tensor, n_tokens: int, temperature: float, seed: int) -> Tensor:
    """`(B, P)` to `(B, P + n_tokens)`, on the model's device. Its mode and the random state stay the same."""
    prompts = prompts.to(next(model.parameters()).device)
    with mode(model, training=False):
        if isinstance(model, GPT):
            return model.generate(prompts, n_tokens, temperature=temperature, seed=seed)
        if not temperature:
            return speed.run_decode(model, prompts, n_tokens)
        with local_seed(seed), _plain_sampling(model, n_tokens, temperature):
            return model.generate(prompts, attention_mask=torch.ones_like(prompts))


@contextmanager
def _plain_sampling(model: Any, n_tokens: int, temperature: float) -> Iterator[None]:
    """Give a transformers model other settings for a while: those given to ``generate`` are mixed with its own."""
    from transformers import GenerationConfig

    own = model.generation_config
    model.generation_config = GenerationConfig(
        max_new_tokens=n_tokens,
        do_sample=True,
        temperature=temperature,
        top_k=0,
        top_p=1.0,
        use_cache=True,
        eos_token_id=None,  # an end of text does not end the row
        pad_token_id=0,  # never used: all prompts have the same length
    )
    try:
        yield
    finally:
        model.generation_config = own


def _check_model(name: str, model: Any) -> None:
    checks.instance(name, model, nn.Module)
    if not hasattr(model, "generate") or not hasattr(model, "config"):
        raise TypeError(f"{name} is {type(model).__name__}: give a GPT or a causal language model of transformers")


def _check_texts(name: str, ids: Any, model: Any) -> None:
    if not isinstance(ids, Tensor) or ids.dtype != torch.int64:
        got = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise TypeError(f"{name} is {got}: give a tensor of token ids, int64")
    if ids.ndim != 2 or not ids.numel():
        raise ValueError(f"{name} has the shape {tuple(ids.shape)}: give one text a row, (N, S), not empty")
    low, high = (int(x) for x in ids.aminmax())
    if low < 0 or high >= model.config.vocab_size:
        raise ValueError(f"{name} holds ids from {low} to {high}: give ids from 0 to {model.config.vocab_size - 1}")


def _check_room(name: str, value: Any, length: int, model: Any) -> None:
    config = model.config
    room = getattr(config, "context_length", None) or getattr(config, "max_position_embeddings", None)
    if room is not None and length > room:
        raise ValueError(
            f"{name}={value}: a row would have {length} tokens, and the model attends to {room}; give shorter rows"
        )


def _check_temperature(temperature: Any) -> float:
    remedy = "0 takes the likeliest token, 1 draws from the model's own distribution"
    return checks.number("temperature", temperature, low=0, high=100, remedy=remedy)
