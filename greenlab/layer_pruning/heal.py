"""Heal a cut: train thin corrections of the matrices on a little text, and merge them into the weights."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.energy.receipt import Receipt
from greenlab.core.model.decoder import check_input_ids, decoder_layers, keep_layers
from greenlab.core.model.gpt import at_least_float32
from greenlab.core.model.interrupts import delayed_interrupts
from greenlab.core.model.random_state import check_seed, local_seed
from greenlab.core.model.training import TrainingConfig, TrainingResult, fit, logits_of, mode, next_token_loss


@dataclass(frozen=True)
class HealConfig:
    """How a cut is healed: low-rank adapters on every linear layer of every block, the rest frozen.

    Attributes:
        steps: number of updates.
        batch_size: windows in a step.
        rank: of the adapters.
        learning_rate: the highest one; a tenth of the steps warm up to it, then it falls to 0 along a cosine.
        seed: of the adapters' first values and of the order of the windows.

    Raises:
        TypeError: if a field has the wrong type.
        ValueError: if a field is out of range.
    """

    steps: int = 60
    batch_size: int = 8
    rank: int = 32
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "rank"):
            checks.integer(name, getattr(self, name), low=1)
        checks.number("learning_rate", self.learning_rate, low=1e-9, high=1e3)
        check_seed(self.seed)


@dataclass(frozen=True, eq=False)
class Healed:
    """What came out of `heal`.

    Attributes:
        model: the healed model, of the same size and speed as the pruned one.
        training: the history of the steps and the receipt.
    """

    model: Any
    training: TrainingResult

    @property
    def losses(self) -> list[float]:
        """The loss of every step [nats per token]."""
        return self.training.history["loss"].tolist()

    @property
    def receipt(self) -> Receipt:
        """Energy, time and carbon of the training."""
        return self.training.receipt


def heal(
    model: Any,
    input_ids: Tensor,
    config: HealConfig = HealConfig(),
    *,
    teacher: Any = None,
    region: str = "WORLD",
    progress: bool = False,
) -> Healed:
    """Train low-rank adapters (LoRA, arXiv:2106.09685) on a pruned model and merge them into a new model.

    With a teacher, usually the unpruned model, the loss is KL(teacher || student) over the whole vocabulary at every
    token (Hinton et al., arXiv:1503.02531, at temperature 1); without one it is the cross-entropy of the text itself,
    as in arXiv:2403.17887, which used 4-bit adapters (QLoRA) on 164 million tokens or more.

    Args:
        model: the pruned model; it is not changed.
        input_ids: the healing text as windows ``(N, S)``, S from 2, drawn in random order, all once before any comes
            again.
        config: steps, batch size, rank, learning rate, seed.
        teacher: a model with the same vocabulary, or None.
        region: of the receipt: whose grid the electricity comes from.
        progress: show a progress bar on standard error.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: for an empty text, a token that the model does not know, a teacher with another vocabulary, or a
            loss that stops being finite.
    """
    _check(model, input_ids, config, teacher)
    student = _with_adapters(model, config)
    loss_fn = next_token_loss if teacher is None else _distance_to(teacher)
    recipe = TrainingConfig(
        steps=config.steps,
        batch_size=config.batch_size,
        context_length=input_ids.shape[1] - 1,
        learning_rate=config.learning_rate,
        warmup_share=0.1,
        final_share=0.0,
        weight_decay=0.0,
        betas=(0.9, 0.999),
        clip_norm=1.0,
        seed=config.seed,
    )
    training = fit(
        student,
        input_ids.flatten(),
        recipe,
        loss_fn=loss_fn,
        stream=_shuffled_windows(input_ids, config),
        label="healing",
        region=region,
        progress=progress,
    )
    healed = student.merge_and_unload(safe_merge=True)  # safe: into new tensors, as `model` shares the old ones
    return Healed(healed.train(model.training), training)


def _with_adapters(model: Any, config: HealConfig) -> Any:
    """A model of the same weights with adapters beside every matrix of its blocks; ``model`` itself stays as it is."""
    with delayed_interrupts():
        import peft  # takes a second: only who heals waits for it
    lora = peft.LoraConfig(
        r=config.rank, lora_alpha=2 * config.rank, target_modules="all-linear", task_type="CAUSAL_LM", bias="none"
    )
    same_weights = keep_layers(model, range(len(decoder_layers(model))))
    with local_seed(config.seed), warnings.catch_warnings():
        # peft still asks transformers for a name that version 6 will drop
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        return peft.get_peft_model(same_weights, lora)


def _distance_to(teacher: Any) -> Any:
    """A loss for `fit`: KL(teacher || student) [nats per token] over the vocabulary at each token."""

    def loss(student: nn.Module, inputs: Tensor, _: Tensor) -> Tensor:
        log_student = at_least_float32(logits_of(student, inputs)).log_softmax(-1)
        with torch.no_grad(), mode(teacher, training=False):
            log_teacher = at_least_float32(logits_of(teacher, inputs)).log_softmax(-1)
        total = nn.functional.kl_div(log_student, log_teacher, log_target=True, reduction="sum")
        return total / inputs.numel()

    return loss


def _shuffled_windows(input_ids: Tensor, config: HealConfig) -> Iterator[tuple[Tensor, Tensor]]:
    """Give inputs and targets ``(B, S - 1)`` without end: all windows in a random order, then in another one."""
    generator, order = torch.Generator().manual_seed(config.seed), torch.empty(0, dtype=torch.long)
    while True:
        while len(order) < config.batch_size:
            order = torch.cat([order, torch.randperm(len(input_ids), generator=generator)])
        chosen = input_ids[order[: config.batch_size]]
        yield chosen[:, :-1], chosen[:, 1:]
        order = order[config.batch_size :]


def _check(model: Any, input_ids: Tensor, config: HealConfig, teacher: Any) -> None:
    decoder_layers(model)
    if not isinstance(config, HealConfig):
        raise TypeError(f"config is {type(config).__name__}: give a HealConfig")
    check_input_ids(input_ids, model.config.vocab_size)
    if input_ids.shape[1] < 2:
        raise ValueError(f"input_ids has shape {tuple(input_ids.shape)}: give windows of 2 tokens or more, (N, S)")
    if teacher is None:
        return
    if not hasattr(teacher, "config"):
        raise TypeError(f"teacher is {type(teacher).__name__}: give a causal language model of transformers, or None")
    decoder_layers(teacher)
    if teacher.config.vocab_size != model.config.vocab_size:
        raise ValueError(
            f"teacher has a vocabulary of {teacher.config.vocab_size} tokens, the model {model.config.vocab_size}: "
            "logits "
            "can be compared over the same vocabulary only; take the model that was pruned as its teacher"
        )
