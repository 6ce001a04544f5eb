"""Train a student with a teacher beside it: the loop is `core.model.training.fit`, the loss needs the teacher's logits.

What the teacher costs is counted: its forward passes are part of the receipt, and their tokens and FLOPs are given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.energy.receipt import Receipt
from greenlab.core.model import cost
from greenlab.core.model.gpt import LARGEST_SIZE
from greenlab.core.model.training import TrainingConfig, TrainingResult, fit, logits_of, mode
from greenlab.distillation.loss import IGNORED, LossSettings, distillation_loss

TRAINING_PASSES = 3  # a step costs three forward passes: one, and a backward pass of twice the work (arXiv:2001.08361)


class DistillationLoss:
    """A loss for `fit`: calls the teacher on the inputs and compares its logits with the student's.

    Made by `distillation_loss_fn`, which says what the settings mean.

    Attributes:
        teacher: the model that is learned from.
        settings: temperature, alpha, divergence and beta.
        teacher_tokens: how many tokens the teacher has read so far.
        student_tokens: how many tokens the student has read so far.
    """

    def __init__(
        self,
        teacher: nn.Module,
        settings: LossSettings,
        *,
        chunk_size: int | None = None,
        micro_batch_size: int | None = None,
    ) -> None:
        self.teacher = checks.instance("teacher", teacher, nn.Module)
        self.settings = checks.instance("settings", settings, LossSettings)
        self.chunk_size, self.micro_batch_size = (
            None if size is None else checks.integer(name, size, low=1, high=LARGEST_SIZE)
            for name, size in {"chunk_size": chunk_size, "micro_batch_size": micro_batch_size}.items()
        )
        self._read: dict[str, Counter[int]] = {"teacher": Counter(), "student": Counter()}  # texts by their length

    @property
    def teacher_tokens(self) -> int:
        """Tokens that the teacher has read so far; with alpha 0 it reads none."""
        return sum(length * texts for length, texts in self._read["teacher"].items())

    @property
    def student_tokens(self) -> int:
        """Tokens that the student has read so far."""
        return sum(length * texts for length, texts in self._read["student"].items())

    @property
    def teacher_flops(self) -> int | None:
        """FLOPs of the teacher's forward passes so far; None if `core.model.cost` does not know its shape."""
        return _forward_flops(self.teacher, self._read["teacher"])

    def student_flops(self, student: nn.Module) -> int | None:
        """FLOPs of the student's steps so far, three forward passes each; None if its shape is not known.

        Args:
            student: the model that was trained.

        Raises:
            TypeError: if ``student`` is no module.
        """
        flops = _forward_flops(checks.instance("student", student, nn.Module), self._read["student"])
        return None if flops is None else TRAINING_PASSES * flops

    def __call__(self, student: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of a batch: inputs and targets `(B, S)`.

        With micro-batches all but the last are sent backward here, so that ``fit``'s own backward pass completes the
        gradient of the whole batch; the value is that of the whole batch. Call ``backward()`` of exactly this value
        then: multiplied, added to another loss or given to ``torch.autograd.grad``, its gradient would be wrong, as
        that of all parts but the last has been added to ``grad`` already.
        """
        size = self.micro_batch_size
        if size is None or not isinstance(inputs, Tensor) or len(inputs) <= size:
            return self._part(student, inputs, targets, None)
        n_tokens = int((targets != self.settings.ignore_index).sum()) or None  # with None the loss refuses such a batch
        *first, last = zip(inputs.split(size), targets.split(size), strict=True)
        total = 0.0
        for some_inputs, some_targets in first:
            loss = self._part(student, some_inputs, some_targets, n_tokens)
            if loss.requires_grad:
                loss.backward()
            total += loss.item()
        return self._part(student, *last, n_tokens) + total

    def _part(self, student: nn.Module, inputs: Tensor, targets: Tensor, n_tokens: int | None) -> Tensor:
        student_logits = logits_of(student, inputs)
        self._read["student"][inputs.shape[1]] += len(inputs)
        teacher_logits = student_logits.detach()  # of no weight where alpha is 0
        if self.settings.alpha:
            with torch.no_grad(), mode(self.teacher, training=False):
                teacher_logits = logits_of(self.teacher, inputs.to(_device(self.teacher))).to(student_logits.device)
            self._read["teacher"][inputs.shape[1]] += len(inputs)
        s = self.settings
        return distillation_loss(
            student_logits,
            teacher_logits,
            targets,
            temperature=s.temperature,
            alpha=s.alpha,
            divergence=s.divergence,
            beta=s.beta,
            n_tokens=n_tokens,
            ignore_index=s.ignore_index,
            chunk_size=self.chunk_size,
        )


def distillation_loss_fn(
    teacher: nn.Module,
    *,
    temperature: float = 1.0,
    alpha: float = 0.9,
    divergence: str = "forward_kl",
    beta: float = 0.5,
    ignore_index: int = IGNORED,
    chunk_size: int | None = None,
    micro_batch_size: int | None = None,
) -> DistillationLoss:
    """Give ``loss_fn(student, inputs, targets)`` for `core.model.training.fit`; it counts the tokens that it reads.

    The teacher is called in evaluation mode and gets no gradient; it may be on another device than the student.

    Args:
        teacher: a `core.model.gpt.GPT` or a causal language model of transformers, of the student's vocabulary.
        temperature: T, from 0.01 to 100.
        alpha: weight of the soft part, from 0 (the teacher is not called) to 1.
        divergence: "forward_kl", "reverse_kl" or "jsd".
        beta: of the jsd, from 0 to 1.
        ignore_index: the label of tokens that do not count.
        chunk_size: of the loss; see `distillation_loss`.
        micro_batch_size: so many texts are read at a time and their gradients accumulated, which gives the gradient of
            the whole batch with less memory, also where texts differ in the number of tokens that count. All parts but
            the last have then gone backward when the loss is given: it is for ``fit``, or for a plain ``backward()``
            of exactly this value, not for one that is scaled, added to another loss or differentiated otherwise. None
            reads the whole batch at once.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range.
    """
    settings = LossSettings(temperature, alpha, divergence, beta, ignore_index)
    return DistillationLoss(teacher, settings, chunk_size=chunk_size, micro_batch_size=micro_batch_size)


@dataclass(frozen=True, eq=False)
class Distilled:
    """What came out of `distil`; the student itself was trained in place.

    Attributes:
        training: the history of the steps, the loss on ``val`` and the receipt, the teacher's passes included. Its
            ``loss`` is that of the training, the soft part included; ``val_loss`` is the cross-entropy alone.
        settings: temperature, alpha, divergence and beta.
        teacher_tokens: what the teacher read.
        student_tokens: what the student was trained on.
        teacher_flops: of the teacher's forward passes, matrix products only; None if `core.model.cost` does not know
            its shape.
        student_flops: of the student's steps, three forward passes each; None likewise.
    """

    training: TrainingResult
    settings: LossSettings
    teacher_tokens: int
    student_tokens: int
    teacher_flops: int | None
    student_flops: int | None

    @property
    def val_loss(self) -> float | None:
        """Cross-entropy of the last evaluation [nats per token]; None without ``val``."""
        return self.training.val_loss

    @property
    def receipt(self) -> Receipt:
        """Energy, time and carbon of all steps and evaluations, the teacher's passes included."""
        return self.training.receipt


def distil(
    student: nn.Module,
    teacher: nn.Module,
    data: Tensor,
    config: TrainingConfig,
    *,
    temperature: float = 1.0,
    alpha: float = 0.9,
    divergence: str = "forward_kl",
    beta: float = 0.5,
    chunk_size: int | None = None,
    micro_batch_size: int | None = None,
    val: Tensor | None = None,
    stream: Iterator[tuple[Tensor, Tensor]] | None = None,
    on_step: Callable[[dict[str, float]], None] | None = None,
    label: str = "distillation",
    region: str = "WORLD",
    progress: bool = True,
) -> Distilled:
    """Train ``student`` in place on a text and on what ``teacher`` thinks of every token of it.

    Args:
        student: a `core.model.gpt.GPT` or a causal language model of transformers.
        teacher: another one, of the same vocabulary; it is not changed.
        data: token ids `(N,)` to train on.
        config: the recipe.
        temperature: T, from 0.01 to 100.
        alpha: weight of the soft part, from 0 (the teacher is not called) to 1.
        divergence: "forward_kl", "reverse_kl" or "jsd".
        beta: of the jsd, from 0 to 1.
        chunk_size: of the loss; see `distillation_loss`.
        micro_batch_size: texts in a forward pass; see `distillation_loss_fn`.
        val: token ids to evaluate on, by cross-entropy.
        stream: inputs and targets `(B, S)` of each step, such as `on_policy_batches`; None draws windows of ``data``.
        on_step: called after each step with its row of the history.
        label: of the receipt.
        region: of the receipt: whose grid the electricity comes from.
        progress: show a bar. In a notebook it is a widget, elsewhere it goes to stderr.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range, ``teacher`` is the student itself, shares weights that the student
            trains or knows another vocabulary, ``data`` or ``val`` is too short, or the loss stops being finite.
    """
    checks.instance("student", student, nn.Module)
    loss_fn = distillation_loss_fn(
        teacher,
        temperature=temperature,
        alpha=alpha,
        divergence=divergence,
        beta=beta,
        chunk_size=chunk_size,
        micro_batch_size=micro_batch_size,
    )
    if teacher is student:
        raise ValueError("teacher is the student itself, which training changes: give a copy.deepcopy of it")
    _check_separate(student, teacher)
    sizes = [getattr(getattr(model, "config", None), "vocab_size", None) for model in (student, teacher)]
    if None not in sizes and sizes[0] != sizes[1]:
        raise ValueError(
            f"teacher has a vocabulary of {sizes[1]} tokens, the student {sizes[0]}: logits can be compared over the "
            "same vocabulary only; take a teacher of the same family, or let it write the text to train on"
        )
    training = fit(
        student,
        data,
        config,
        val=val,
        loss_fn=loss_fn,
        stream=stream,
        on_step=on_step,
        label=label,
        region=region,
        progress=progress,
    )
    return Distilled(
        training=training,
        settings=loss_fn.settings,
        teacher_tokens=loss_fn.teacher_tokens,
        student_tokens=loss_fn.student_tokens,
        teacher_flops=loss_fn.teacher_flops,
        student_flops=loss_fn.student_flops(student),
    )


def _check_separate(student: nn.Module, teacher: nn.Module) -> None:
    """Refuse a teacher that would change as the student learns."""
    of_teacher = {t.untyped_storage().data_ptr() for t in (*teacher.parameters(), *teacher.buffers()) if t.numel()}
    for name, weight in student.named_parameters():
        if weight.requires_grad and weight.numel() and weight.untyped_storage().data_ptr() in of_teacher:
            raise ValueError(
                f"teacher shares memory with the weight {name} of the student, which training changes: give a "
                "copy.deepcopy of the teacher, or freeze that weight"
            )


def _forward_flops(model: nn.Module, read: Counter[int]) -> int | None:
    """FLOPs of forward passes over texts, counted by their length; None if the shape of the model is not known."""
    shape = _shape(model)
    if shape is None:
        return None
    return sum(cost.prefill_flops(shape, length).total * texts for length, texts in read.items())


def _shape(model: Any) -> cost.TransformerShape | None:
    """The sizes of a model, if all of its parameters are those that such a shape has."""
    config = getattr(model, "config", None)
    shape = getattr(config, "shape", None)
    if not isinstance(shape, cost.TransformerShape):
        try:
            shape = cost.TransformerShape.from_config(config)
        except (TypeError, ValueError):
            return None
    n_parameters = sum(p.numel() for p in model.parameters())
    return shape if cost.parameters(shape).total == n_parameters else None


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))
