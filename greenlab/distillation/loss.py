"""The distillation loss: what the text says and what a teacher knows, in one number for each token.

Shapes: B texts, S tokens of each, V vocabulary; N = B * S rows of logits, or as many as you give.
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from greenlab.core import checks
from greenlab.core.model.gpt import LARGEST_SIZE, at_least_float32
from greenlab.distillation.divergences import DIVERGENCES, forward_kl, jsd, reverse_kl

IGNORED = -100  # the label of a token that is not to be learned, as in torch and transformers
LEAST_LOG = -1e30  # stands for the logarithm of 0: its exponential is 0, and 0 times it is 0
LEAST_BETA = 1e-16  # 1 - beta cannot be less either in float64; smaller ones leave the range of float32
COLDEST, HOTTEST = 0.01, 100.0  # beyond them float32 has no digits left for the differences between logits


def soft_targets(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Probabilities softmax(logits / T): what a model thinks of every token (arXiv:1503.02531, eq. 1).

    Args:
        logits: `(..., V)`, float. A token whose logit is -inf gets probability 0.
        temperature: T, from 0.01 to 100; above 1 the unlikely tokens come out.

    Returns:
        `(..., V)`, in float32 or float64.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if ``temperature`` is out of range, or ``logits`` has no axis, is empty, or holds NaN or +inf.

    >>> soft_targets(torch.tensor([2.0, 0.0]).log(), temperature=0.5).tolist()
    [1.0, 0.0]
    >>> [round(p, 3) for p in soft_targets(torch.tensor([4.0, 1.0]).log(), temperature=2).tolist()]
    [0.667, 0.333]
    """
    check_floats("logits", logits)
    if logits.ndim == 0 or not logits.numel():
        raise ValueError(f"logits has the shape {tuple(logits.shape)}: give (..., V), not empty")
    temperature = _check_temperature(temperature)
    result = (at_least_float32(logits) / temperature).softmax(-1)
    if not torch.isfinite(result).all():
        raise ValueError("logits holds NaN, +inf, or a row of -inf only: each row needs finite logits, or some -inf")
    return result


def entropy(probabilities: Tensor) -> Tensor:
    """How undecided distributions are: the sum of -p log p, from 0 to log V [nats].

    Args:
        probabilities: `(..., V)`, each row 0 or more and summing to 1 within 0.001, as `soft_targets` gives them.

    Returns:
        `(...)`: one number for each distribution.

    Raises:
        TypeError: if ``probabilities`` is no tensor of floats.
        ValueError: if a row is no distribution.

    >>> [round(h, 3) for h in entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]])).tolist()]
    [0.0, 0.693]
    """
    check_floats("probabilities", probabilities)
    wide = at_least_float32(probabilities)
    if not wide.ndim or not wide.numel() or not (wide >= 0).all() or not ((wide.sum(-1) - 1).abs() <= 1e-3).all():
        raise ValueError(
            "probabilities holds a row that is no distribution: give numbers of 0 or more that sum to 1 along the "
            "last axis, as soft_targets makes them from logits"
        )
    return torch.special.entr(wide).sum(-1)


def distillation_loss(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float = 1.0,
    alpha: float = 0.9,
    divergence: str = "forward_kl",
    beta: float = 0.5,
    n_tokens: int | None = None,
    ignore_index: int = IGNORED,
    chunk_size: int | None = None,
) -> Tensor:
    """(1 - alpha) CE(labels) + alpha T^2 D(teacher at T, student at T), the mean over the tokens that count [nats].

    After Hinton et al. (arXiv:1503.02531, sec. 2). The gradient of the soft part shrinks as 1 / T^2; the factor T^2
    keeps it the same size at every T, so that alpha keeps its meaning. Beware: alpha weighs the teacher here; some
    write alpha CE + (1 - alpha) D instead.

    Args:
        student_logits: `(B, S, V)` or `(N, V)`, float.
        teacher_logits: of the same shape; they get no gradient.
        labels: `(B, S)` or `(N,)`, the true next tokens, int64. Where one is ``ignore_index`` (padding), the row counts
            in neither part.
        temperature: T, from 0.01 to 100, of the soft part; the hard part is always taken at 1.
        alpha: weight of the soft part, from 0 (the teacher is not looked at) to 1.
        divergence: "forward_kl", "reverse_kl" or "jsd" (`divergences`).
        beta: of the jsd, from 0 (the forward KL) to 1 (the reverse KL); if not 0, at least 1e-16.
        n_tokens: what the sum is divided by; None takes the rows that count. Where gradients of several calls are
            accumulated, give the rows of all of them: a mean of means would weigh the tokens of a short text more.
        ignore_index: the label of rows that do not count.
        chunk_size: compute so many rows at a time, the gradient at once with them: the same result with less memory,
            as no copy of all logits but the gradient is alive (kept in float32 for float16, so that the scale of a
            scaled loss reaches it in time). There is no second derivative then: ``create_graph=True`` raises a
            RuntimeError. None computes all rows at once.

    Returns:
        A scalar, in float32 or float64.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range, shapes or vocabularies differ, a label is not in the vocabulary, no
            row counts, or the loss is not finite: NaN or +inf in the logits, or a token that one side excludes
            (-inf) and the divergence charges without limit.

    One token of a vocabulary of two, at temperature 1: KL is .75 log(.75 / .5) + .25 log(.25 / .5).

    >>> student, teacher = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.75, 0.25]]).log()
    >>> round(distillation_loss(student, teacher, torch.tensor([0]), alpha=1.0).item(), 4)
    0.1308
    >>> distillation_loss(teacher, teacher, torch.tensor([0]), alpha=1.0, divergence="jsd").item()
    0.0
    """
    settings = LossSettings(temperature, alpha, divergence, beta, ignore_index)
    student, teacher = flat_logits(student_logits, teacher_logits)
    rows, n_tokens = counted_rows(labels, student_logits.shape, settings, n_tokens)
    flat = labels.flatten()
    if chunk_size is None:
        loss = summed_loss(chosen_rows(student, rows), chosen_rows(teacher, rows), flat[rows], settings) / n_tokens
    else:
        chunk_size = checks.integer("chunk_size", chunk_size, low=1, high=LARGEST_SIZE)
        with sharing_kept_gradients():
            loss = _InChunks.apply(student_logits, teacher.detach(), flat, rows, settings, n_tokens, chunk_size)
    return finite(loss)


@dataclass(frozen=True)
class LossSettings:
    """What a distillation loss is made of; see `distillation_loss` for the fields.

    Raises:
        TypeError: if a field has the wrong type.
        ValueError: if a field is out of range.
    """

    temperature: float = 1.0
    alpha: float = 0.9
    divergence: str = "forward_kl"
    beta: float = 0.5
    ignore_index: int = IGNORED

    def __post_init__(self) -> None:
        remedy = "it is the weight of the soft part, and 1 - alpha that of the labels"
        checks.one_of("divergence", self.divergence, DIVERGENCES)
        plain = {  # Python's own numbers: the arithmetic of a numpy.int8 would overflow
            "temperature": _check_temperature(self.temperature),
            "alpha": checks.number("alpha", self.alpha, low=0, high=1, remedy=remedy),
            "beta": checks.number("beta", self.beta, low=0, high=1),
            "ignore_index": checks.integer("ignore_index", self.ignore_index, low=-(2**31), high=2**31 - 1),
        }
        if 0 < plain["beta"] < LEAST_BETA:
            raise ValueError(
                f"beta={self.beta!r}: give 0, which is the forward KL, or at least {LEAST_BETA:g}, at most 1"
            )
        for name, value in plain.items():
            object.__setattr__(self, name, value)


def summed_loss(student: Tensor, teacher: Tensor, labels: Tensor, settings: LossSettings) -> Tensor:
    """The loss of rows that count, summed: logits twice `(N, V)`, labels `(N,)`, none of them ignored."""
    student, teacher = at_least_float32(student), at_least_float32(teacher.detach())
    loss, t, alpha = student.new_zeros(()), settings.temperature, settings.alpha
    log_q = (student if t == 1 else student / t).log_softmax(-1)
    if alpha < 1:
        log_student = log_q if t == 1 else student.log_softmax(-1)
        loss = loss + (1 - alpha) * F.nll_loss(log_student, labels, reduction="sum")
    if alpha > 0:
        log_p = (teacher if t == 1 else teacher / t).log_softmax(-1)
        loss = loss + alpha * t**2 * _divergence(log_p, log_q, settings)
    return loss


def _divergence(log_p: Tensor, log_q: Tensor, settings: LossSettings) -> Tensor:
    kind, beta = settings.divergence, settings.beta
    if kind == "jsd" and beta in (0, 1):
        kind = "reverse_kl" if beta else "forward_kl"
    log_p, log_q = _without_infinity(log_p, log_q, kind)
    if kind == "jsd":
        return jsd(log_p, log_q, beta)
    return forward_kl(log_p, log_q) if kind == "forward_kl" else reverse_kl(log_p, log_q)


def _without_infinity(log_p: Tensor, log_q: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Give excluded tokens, whose logarithm is -inf, a finite one that means the same."""
    sides = {"teacher_logits": log_p, "student_logits": log_q}
    for name, logs in sides.items():
        if not logs.numel() or logs.detach().min() > -math.inf:
            continue
        other = log_q if name == "teacher_logits" else log_p
        infinite = {"forward_kl": "student_logits", "reverse_kl": "teacher_logits"}.get(kind)
        if name == infinite and bool(((logs == -math.inf) & (other > -math.inf)).any()):
            raise ValueError(
                f"{name} holds -inf where the other side has a probability: divergence={kind!r} is infinite there; "
                "exclude the token on both sides, or take another divergence"
            )
        sides[name] = logs.clamp(min=LEAST_LOG)
    return sides["teacher_logits"], sides["student_logits"]


def loss_and_gradient(
    student: Tensor, teacher: Tensor, labels: Tensor, settings: LossSettings, n_tokens: int, wanted: bool
) -> tuple[Tensor, Any]:
    """The summed loss over ``n_tokens``, and its gradient by the student's logits in float32 or more, if wanted."""
    logits = at_least_float32(student).detach().requires_grad_(wanted)
    with torch.set_grad_enabled(wanted):
        loss = summed_loss(logits, teacher, labels, settings) / n_tokens
    return loss.detach(), torch.autograd.grad(loss, logits)[0] if wanted else None


class _InChunks(torch.autograd.Function):
    """The loss chunk by chunk. The gradient of a chunk is made with it, then everything else of it is freed."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        labels: Tensor,
        rows: Tensor,
        settings: LossSettings,
        n_tokens: int,
        chunk_size: int,
    ) -> Tensor:
        """Give the loss, and keep its gradient."""
        wide = torch.float32 if student.dtype == torch.float16 else student.dtype  # a small gradient is 0 in float16
        gradient = student.new_zeros(student.shape, dtype=wide) if ctx.needs_input_grad[0] else None
        student, of_rows = student.flatten(0, -2), None if gradient is None else gradient.flatten(0, -2)
        total: Any = 0.0
        for chosen in rows.split(chunk_size):
            part = chosen_rows(student, chosen), chosen_rows(teacher, chosen), labels[chosen]
            loss, of_part = loss_and_gradient(*part, settings, n_tokens, of_rows is not None)
            total = total + loss
            if of_rows is not None:
                of_rows[chosen] = of_part.to(wide)
            del part, of_part  # else they would live on while the next ones are made
        if gradient is not None:
            keep_gradients(ctx, gradient)
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        """Give the kept gradient; times what the loss was multiplied by, if it was."""
        refuse_second_derivative("the loss with chunk_size", "leave chunk_size out")
        return (*kept_gradients(ctx, scale), *[None] * 6)


def sharing_kept_gradients() -> AbstractContextManager[None]:
    """While a loss is made: its backward pass gives the kept gradients themselves, and torch sees that they are kept.

    A copy would double the memory. Without this, torch takes what a backward pass gives for its own: ``grad`` of a leaf
    would be the kept tensor, and ``grad.zero_()`` would spoil a second backward pass. A view between leaf and loss
    would hide that it is kept, so the losses are made of the very tensors that were given.
    """
    return torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, lambda kept: kept)


def keep_gradients(ctx: Any, *gradients: Tensor | None) -> None:
    """Keep gradients for the backward pass, and how often each has been changed in place."""
    ctx.save_for_backward(*gradients)
    ctx.versions = [None if g is None else g._version for g in gradients]


def kept_gradients(ctx: Any, scale: Tensor) -> list[Tensor | None]:
    """The kept gradients times the gradient of what came after the loss."""
    gradients = ctx.saved_tensors
    if [None if g is None else g._version for g in gradients] != ctx.versions:
        raise RuntimeError(
            "a gradient that this loss gave was changed in place, and is needed for another backward pass: change a "
            "clone of it"
        )
    return [g if g is None or scale == 1 else g * scale for g in gradients]


def refuse_second_derivative(what: str, remedy: str) -> None:
    """Raise in a backward pass that is to be differentiated: a gradient in closed form would count as a constant."""
    if torch.is_grad_enabled():  # torch does so for create_graph=True only
        raise RuntimeError(f"{what} has no second derivative: take the gradient without create_graph=True, or {remedy}")


def chosen_rows(x: Tensor, rows: Tensor) -> Tensor:
    """Rows of ``x`` by their increasing numbers: a view where they follow each other without a gap, else a copy."""
    if len(rows) and int(rows[-1] - rows[0]) + 1 == len(rows):
        return x[int(rows[0]) : int(rows[-1]) + 1]
    return x[rows]


def flat_logits(student_logits: Tensor, teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Check two tensors of logits; give both as `(N, V)`."""
    check_floats("student_logits", student_logits)
    check_floats("teacher_logits", teacher_logits)
    if student_logits.ndim not in (2, 3) or not student_logits.numel():
        raise ValueError(f"student_logits has the shape {tuple(student_logits.shape)}: give (B, S, V) or (N, V)")
    if teacher_logits.shape[-1:] != student_logits.shape[-1:]:
        raise ValueError(
            f"teacher_logits has the shape {tuple(teacher_logits.shape)}, student_logits "
            f"{tuple(student_logits.shape)}: both need the same vocabulary; take a teacher of the same family, or let "
            "it write the text that the student learns from"
        )
    if teacher_logits.shape != student_logits.shape:
        raise ValueError(
            f"teacher_logits has the shape {tuple(teacher_logits.shape)}, student_logits "
            f"{tuple(student_logits.shape)}: give equal shapes, both models having read the same tokens"
        )
    return student_logits.reshape(-1, student_logits.shape[-1]), teacher_logits.reshape(-1, teacher_logits.shape[-1])


def counted_rows(
    labels: Tensor, logits_shape: torch.Size, settings: LossSettings, n_tokens: int | None, name: str = "student_logits"
) -> tuple[Tensor, int]:
    """Check the labels; give the numbers of the rows that count, and what their sum is divided by."""
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        got = labels.dtype if isinstance(labels, Tensor) else type(labels).__name__
        raise TypeError(f"labels is {got}: give a tensor of token ids, int64")
    if labels.shape != logits_shape[:-1]:
        raise ValueError(
            f"labels has the shape {tuple(labels.shape)}, the rows of {name} {tuple(logits_shape[:-1])}: give one "
            "label for each row"
        )
    rows = (labels.flatten() != settings.ignore_index).nonzero().flatten()
    if len(rows):
        low, high = (int(x) for x in labels.flatten()[rows].aminmax())
        if low < 0 or high >= logits_shape[-1]:
            raise ValueError(
                f"labels holds ids from {low} to {high}: give ids from 0 to {logits_shape[-1] - 1}, or "
                f"ignore_index={settings.ignore_index} for tokens that do not count"
            )
    if n_tokens is None:
        if not len(rows):
            raise ValueError(
                f"labels holds nothing but ignore_index={settings.ignore_index}: there is no token to learn from; "
                "leave such a batch out, or give n_tokens of the whole update"
            )
        return rows, len(rows)
    remedy = f"it counts the tokens of the whole update, and this call has {len(rows)}"
    return rows, checks.integer("n_tokens", n_tokens, low=max(1, len(rows)), high=LARGEST_SIZE, remedy=remedy)


def finite(loss: Tensor) -> Tensor:
    """Give the loss, or raise with what can have made it infinite or NaN."""
    if not torch.isfinite(loss.detach()):
        raise ValueError(
            f"the loss is {loss.item()}: student_logits or teacher_logits holds NaN, +inf or a row of -inf only, or a "
            "label names a token whose logit is -inf; look for the first layer that gives one"
        )
    return loss


def check_floats(name: str, logits: Any) -> None:
    """Refuse what is no tensor of floats."""
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        got = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise TypeError(f"{name} is {got}: give a tensor of floats")


def _check_temperature(temperature: Any) -> float:
    remedy = "1 leaves the distribution as it is, more makes it flatter"
    return checks.number("temperature", temperature, low=COLDEST, high=HOTTEST, remedy=remedy)
