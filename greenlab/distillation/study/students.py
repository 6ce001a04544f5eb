"""Chapter 4's students: two layers of three widths, and how each of them is trained.

A teacher is trained once. What it says to a student's texts is computed once for all students that see the same texts
in the same order; each of them is charged for it as if it were alone (`race`).
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.model.random_state import check_seed
from greenlab.core.model.training import (
    TrainingConfig,
    batches,
    evaluate,
    fit,
    logits_of,
    make_optimizer,
    next_token_loss,
)
from greenlab.core.names import unknown
from greenlab.distillation.loss import distillation_loss
from greenlab.mixture_of_depths.study.text import texts

N_HEADS = 4
SIZES = {  # layers and width; the names say which share of the teacher's parameters a student has
    "teacher": (4, 128),
    "half": (2, 128),
    "quarter": (2, 88),
    "eighth": (2, 64),
}
ALL, FEW = "all the plays", "200 kB"
BETTER = "all the plays, twice as long"
FEW_CHARACTERS = 200_000
LossFn = Callable[[nn.Module, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Config:
    """Everything that the tables depend on.

    Attributes:
        seeds: of the students: their first weights and the texts that they see.
        steps: of a student's training.
        teacher_steps: of the teacher's.
        better_teacher_steps: of the teacher that was trained for longer.
        few_teacher_steps: of the teacher that has the 200 kB only.
        batch_size: windows in a step.
        context_length: characters in a window.
        learning_rate: the highest one.
        eval_windows: held-out windows that a trained model is scored on.
        policy_steps: further steps of a trained student, on texts of others or on its own.
        policy_learning_rate: the highest one of them.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 600
    teacher_steps: int = 1200
    better_teacher_steps: int = 2400
    few_teacher_steps: int = 800
    batch_size: int = 8
    context_length: int = 128
    learning_rate: float = 3e-3
    eval_windows: int = 768
    policy_steps: int = 120
    policy_learning_rate: float = 1e-3


@dataclass(frozen=True)
class Recipe:
    """How a student is trained.

    Attributes:
        model: its name in tables.
        size: one of `SIZES`.
        steps: of the training.
        data: what it reads: `ALL` or `FEW`.
        teacher: whose answers it learns from, one of `TEACHERS`; None is no teacher.
        temperature: of the soft targets.
        alpha: weight of the soft targets; the true next characters have the rest.
        divergence: between the teacher's distribution and the student's.
        scale: a factor of the soft part, which makes the gradients of divergences equally large.
    """

    model: str
    size: str
    steps: int
    data: str = ALL
    teacher: str | None = None
    temperature: float = 1.0
    alpha: float = 0.9
    divergence: str = "forward_kl"
    scale: float = 1.0


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: at this size a second one costs more CPU seconds than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def gpt_config(config: Config, size: str) -> GPTConfig:
    """The shape of a model of one of `SIZES`.

    Raises:
        ValueError: if there is no such size.
    """
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    tokenizer, *_ = texts()
    n_layers, d_model = SIZES[size]
    return GPTConfig(tokenizer.vocab_size, config.context_length, n_layers, d_model, N_HEADS, 2 * d_model)


def slug(name: str) -> str:
    """A name in file names and figures: "half, same energy" is "half-same-energy"."""
    return name.replace(",", "").replace("'", "").replace(" ", "-")


def weights_file(folder: Path, model: str, seed: int) -> Path:
    """Where a trained model is kept between steps."""
    return folder / f"{slug(model)}_{seed}.safetensors"


def trained(folder: Path, config: Config, model: str, size: str, seed: int) -> GPT:
    """A model that the study has trained, from disk, in evaluation mode."""
    made = GPT(gpt_config(config, size))
    load_model(made, str(weights_file(folder, model, seed)))
    return made.eval()


def training_text(data: str) -> Tensor:
    """The token ids ``(N,)`` that are trained on: `ALL` or the first of them, `FEW`."""
    _, ids, _ = texts()
    return {ALL: ids, FEW: ids[:FEW_CHARACTERS]}[data]


def fixed_windows(config: Config) -> Tensor:
    """The 200 kB cut into windows ``(N, S + 1)`` that follow each other and share their ends."""
    return training_text(FEW).unfold(0, config.context_length + 1, config.context_length).contiguous()


def stream_of(config: Config, data: str, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets ``(B, S)`` without end: random windows of all the plays, or the fixed ones of the 200 kB."""
    if data == ALL:
        yield from batches(training_text(ALL), config.context_length, config.batch_size, seed)
    windows = fixed_windows(config)
    for chosen in shuffled(len(windows), config.batch_size, seed):
        yield windows[chosen, :-1], windows[chosen, 1:]


def shuffled(n: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Numbers of windows ``(B,)`` without end: all in a random order, then in another one."""
    generator, order = torch.Generator().manual_seed(check_seed(seed)), torch.empty(0, dtype=torch.long)
    while True:
        while len(order) < batch_size:
            order = torch.cat([order, torch.randperm(n, generator=generator)])
        yield order[:batch_size]
        order = order[batch_size:]


@torch.no_grad()
def answers(teacher: GPT, inputs: Tensor) -> Tensor:
    """A teacher's logits ``(N, S, V)`` to texts ``(N, S)``, a few texts at a time."""
    return torch.cat([logits_of(teacher, part) for part in inputs.split(8)])


TEACHERS = {ALL: "teacher", BETTER: "teacher, longer", FEW: "teacher, 200 kB"}  # what it was trained on: its name
TEACHER_SEED = 100  # no student's: a teacher has its own first weights, and reads the plays in its own order


@lru_cache(maxsize=1)
def kept_answers(folder: Path, config: Config, teacher: str, data: str, seed: int) -> Tensor:
    """What a teacher says to the texts of a training, step by step: ``(steps, B, S, V)``; computed once a process."""
    model = trained(folder, config, TEACHERS[teacher], "teacher", TEACHER_SEED)
    if data == FEW:  # each window comes several times: the teacher reads it once
        known = answers(model, fixed_windows(config)[:, :-1])
        chosen = itertools.islice(shuffled(len(known), config.batch_size, seed), config.steps)
        return torch.stack([known[i] for i in chosen])
    inputs = [inputs for inputs, _ in itertools.islice(stream_of(config, data, seed), config.steps)]
    return torch.stack([answers(model, part) for part in inputs])


def loss_from(said: Iterator[Tensor], recipe: Recipe) -> LossFn:
    """The ``loss_fn`` of a training whose teacher has answered already: ``said`` gives its logits step by step."""

    def loss(student: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        logits, kind = logits_of(student, inputs), recipe.divergence
        if recipe.scale == 1.0:
            return distillation_loss(
                logits, next(said), targets, temperature=recipe.temperature, alpha=recipe.alpha, divergence=kind
            )
        soft = distillation_loss(
            logits, next(said), targets, temperature=recipe.temperature, alpha=1.0, divergence=kind
        )
        hard = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return (1 - recipe.alpha) * hard + recipe.alpha * recipe.scale * soft

    return loss


def score(model: GPT, config: Config) -> float:
    """Loss on the held-out end of the plays [nats per character]."""
    *_, held_out = texts()
    return evaluate(model, held_out, config.context_length, n_windows=config.eval_windows)


def train(folder: Path, config: Config, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Train a model, score it and keep its weights.

    Args:
        folder: where weights are kept.
        config: of the study.
        recipe: how it is trained.
        seed: of its first weights and of the texts that it sees.

    Returns:
        loss [nats per character], n_tokens (read in training), parameters, and the history of the training.
    """
    *_, held_out = texts()
    model = GPT(gpt_config(config, recipe.size), seed=seed)
    settings = TrainingConfig(
        steps=recipe.steps, batch_size=config.batch_size, context_length=config.context_length,
        learning_rate=config.learning_rate, eval_every=max(1, recipe.steps // 6), seed=seed,
    )  # fmt: skip
    with one_thread():
        loss_fn: LossFn = next_token_loss
        if recipe.teacher is not None:
            said = kept_answers(folder, config, recipe.teacher, recipe.data, seed)
            loss_fn = loss_from(iter(said), recipe)
        stream = stream_of(config, recipe.data, seed)
        result = fit(
            model,
            training_text(recipe.data),
            settings,
            val=held_out,
            loss_fn=loss_fn,
            stream=stream,
            label=recipe.model,
            progress=False,
        )
        found: dict[str, Any] = {"loss": score(model, config)}
    save_model(model, str(weights_file(folder, recipe.model, seed)))
    looked = result.history.loc[result.history["val_loss"].notna(), ["step", "tokens", "val_loss"]]
    found |= {"n_tokens": int(result.history["tokens"].iloc[-1]), "parameters": count(model)}
    return found | {"raw_cpu_s": result.receipt.cpu_s, "history": looked.to_dict("records")}


def count(model: nn.Module) -> int:
    """Parameters of a model; tied matrices count once."""
    return sum(p.numel() for p in model.parameters())


def race(config: Config, rounds: int = 12) -> list[dict[str, Any]]:
    """CPU time of what the trainings are made of, on one thread: all take their turn in every round, the best counts.

    The trainings themselves run one after the other, on a machine that others use as well; this race compares.

    Returns:
        A row for each size and work: size, work, cpu_ms. The works are "step" (of a student alone), "step with teacher"
        (the teacher reads the same texts), "step with kept answers" (they were computed before), "read" (a forward
        pass over a batch), "write" (a batch of windows, character by character) and "token" (one character of one
        text).
    """
    generator = torch.Generator().manual_seed(0)
    windows = torch.randint(
        gpt_config(config, "teacher").vocab_size, (config.batch_size, config.context_length + 1), generator=generator
    )
    teacher = GPT(gpt_config(config, "teacher")).eval()
    kept = answers(teacher, windows[:, :-1])
    works: dict[tuple[str, str], Callable[[], object]] = {}
    for size in SIZES:
        model = GPT(gpt_config(config, size))
        optimizer = make_optimizer(model, TrainingConfig(learning_rate=1e-5))
        recipe = Recipe(size, size, 1)
        works[size, "step"] = partial(_one_step, model, optimizer, windows, next_token_loss)
        works[size, "read"] = partial(answers, model, windows[:, :-1])
        works[size, "write"] = partial(model.generate, windows[:, :8], config.context_length - 8)
        works[size, "token"] = partial(model.generate, windows[:1, :8], config.context_length - 8)
        if size != "teacher":
            live = _live_loss(teacher, recipe)
            works[size, "step with teacher"] = partial(_one_step, model, optimizer, windows, live)
            stored = loss_from(itertools.repeat(kept), recipe)
            works[size, "step with kept answers"] = partial(_one_step, model, optimizer, windows, stored)
    best = dict.fromkeys(works, math.inf)
    with one_thread():
        for i in range(-2, rounds):
            for name, work in works.items():
                start_s = time.process_time()
                work()
                if i >= 0:
                    best[name] = min(best[name], time.process_time() - start_s)
    characters = {"token": config.context_length - 8}
    return [
        {"size": size, "work": work, "cpu_ms": 1e3 * seconds / characters.get(work, 1)}
        for (size, work), seconds in best.items()
    ]


def _live_loss(teacher: GPT, recipe: Recipe) -> LossFn:
    def loss(student: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        return loss_from(iter([answers(teacher, inputs)]), recipe)(student, inputs, targets)

    return loss


def _one_step(model: GPT, optimizer: Any, windows: Tensor, loss_fn: LossFn) -> None:
    """What `fit` does in a step."""
    optimizer.zero_grad()
    loss_fn(model, windows[:, :-1], windows[:, 1:]).backward()
    nn.utils.clip_grad_norm_(list(model.parameters()), 1.0)
    optimizer.step()
