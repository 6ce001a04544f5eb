"""The distillation loss from hidden states: the logits of a large vocabulary exist for a few rows at a time only.

With 49,152 tokens the logits of one row take 197 kB in float32, its hidden state of SmolLM2-135M takes 2.3 kB. A loss
that gets both output heads can make the logits of some rows, their loss and their gradient, and forget them again.

Shapes: N rows or B x S, V vocabulary, D and E widths of student and teacher.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from greenlab.core import checks
from greenlab.core.model.gpt import LARGEST_SIZE, at_least_float32
from greenlab.distillation.loss import (
    IGNORED,
    LossSettings,
    check_floats,
    chosen_rows,
    counted_rows,
    finite,
    keep_gradients,
    kept_gradients,
    loss_and_gradient,
    refuse_second_derivative,
    sharing_kept_gradients,
)

FEW_ROWS = 8  # of the many copies that a loss makes; the products with the heads are faster on more rows


def hidden_distillation_loss(
    student_hidden: Tensor,
    student_head: Tensor,
    teacher_hidden: Tensor,
    teacher_head: Tensor,
    labels: Tensor,
    *,
    temperature: float = 1.0,
    alpha: float = 0.9,
    divergence: str = "forward_kl",
    beta: float = 0.5,
    n_tokens: int | None = None,
    ignore_index: int = IGNORED,
    chunk_size: int = 96,
) -> Tensor:
    """`distillation_loss` of ``student_hidden @ student_head.T`` and ``teacher_hidden @ teacher_head.T``, in chunks.

    The value and the gradients of student states and student head are those of the plain loss. The teacher gets none.
    Under ``torch.autocast`` the dtypes stay those that are given. There is no second derivative: ``create_graph=True``
    raises a RuntimeError.

    Args:
        student_hidden: what goes into the student's output head, after the last norm: `(B, S, D)` or `(N, D)`, in
            bfloat16, float32 or float64. Float16 is refused: gradients of few tokens are 0 in it.
        student_head: its matrix `(V, D)`, as ``nn.Linear`` holds it; a head with a bias is not meant.
        teacher_hidden: `(B, S, E)` or `(N, E)`.
        teacher_head: `(V, E)`.
        labels: `(B, S)` or `(N,)`, int64.
        temperature: T, from 0.01 to 100.
        alpha: weight of the soft part, from 0 to 1.
        divergence: "forward_kl", "reverse_kl" or "jsd".
        beta: of the jsd, from 0 to 1; if not 0, at least 1e-16.
        n_tokens: what the sum is divided by; None takes the rows that count.
        ignore_index: the label of rows that do not count.
        chunk_size: rows whose logits exist at a time; more are a little faster and take more memory.

    Returns:
        A scalar.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range, shapes, dtypes or vocabularies do not fit, no row counts, or the loss
            is not finite.

    >>> hidden, head = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> hidden_distillation_loss(hidden, head, hidden, head, torch.tensor([2]), alpha=1.0).item()
    0.0
    """
    settings = LossSettings(temperature, alpha, divergence, beta, ignore_index)
    chunk_size = checks.integer("chunk_size", chunk_size, low=1, high=LARGEST_SIZE)
    _check_pair("student", student_hidden, student_head)
    _check_pair("teacher", teacher_hidden, teacher_head)
    if len(student_head) != len(teacher_head):
        raise ValueError(
            f"teacher_head has {len(teacher_head)} tokens, student_head {len(student_head)}: both need the same "
            "vocabulary"
        )
    if student_hidden.shape[:-1] != teacher_hidden.shape[:-1]:
        raise ValueError(
            f"teacher_hidden has the shape {tuple(teacher_hidden.shape)}, student_hidden "
            f"{tuple(student_hidden.shape)}: both models must have read the same tokens"
        )
    shape = torch.Size((*student_hidden.shape[:-1], len(student_head)))
    rows, n_tokens = counted_rows(labels, shape, settings, n_tokens, name="student_hidden")
    teacher = teacher_hidden.detach().flatten(0, -2), teacher_head.detach()
    states = student_hidden, student_head, *teacher
    with torch.autocast(student_hidden.device.type, enabled=False), sharing_kept_gradients():
        return finite(_FromHidden.apply(*states, labels.flatten(), rows, settings, n_tokens, chunk_size))


class _FromHidden(torch.autograd.Function):
    """The loss chunk by chunk, with the gradients of the student's states and of its head."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        head: Tensor,
        teacher_hidden: Tensor,
        teacher_head: Tensor,
        labels: Tensor,
        rows: Tensor,
        settings: LossSettings,
        n_tokens: int,
        chunk_size: int,
    ) -> Tensor:
        """Give the loss, and keep the gradients that are asked for."""
        of_hidden = hidden.new_zeros(hidden.shape) if ctx.needs_input_grad[0] else None
        of_head = at_least_float32(torch.zeros_like(head)) if ctx.needs_input_grad[1] else None
        wanted = of_hidden is not None or of_head is not None
        hidden, of_rows = hidden.flatten(0, -2), None if of_hidden is None else of_hidden.flatten(0, -2)
        total = at_least_float32(hidden[:1]).new_zeros(())
        for chosen in rows.split(chunk_size):
            states = chosen_rows(hidden, chosen)
            logits, teacher_logits = states @ head.T, chosen_rows(teacher_hidden, chosen) @ teacher_head.T
            for first in range(0, len(chosen), FEW_ROWS):
                few = slice(first, first + FEW_ROWS)
                loss, of_logits = loss_and_gradient(
                    logits[few], teacher_logits[few], labels[chosen[few]], settings, n_tokens, wanted
                )
                total = total + loss
                if wanted:
                    logits[few] = of_logits  # the gradient takes the place of the logits
            if of_rows is not None:
                of_rows[chosen] = logits @ head
            if of_head is not None:
                of_head.addmm_(at_least_float32(logits).T, at_least_float32(states))  # a sum over all chunks
            del logits, teacher_logits  # else they would live on while the next ones are made
        keep_gradients(ctx, of_hidden, of_head)
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        """Give the kept gradients; times what the loss was multiplied by, if it was."""
        refuse_second_derivative("the loss from hidden states", "take distillation_loss of the logits")
        return (*kept_gradients(ctx, scale), *[None] * 7)


def _check_pair(side: str, hidden: Any, head: Any) -> None:
    check_floats(f"{side}_hidden", hidden)
    check_floats(f"{side}_head", head)
    for name, tensor in {f"{side}_hidden": hidden, f"{side}_head": head}.items():
        if tensor.dtype == torch.float16:
            raise TypeError(f"{name} is torch.float16, in which small gradients are 0: give bfloat16 or float32")
    if hidden.ndim not in (2, 3) or not hidden.numel():
        raise ValueError(f"{side}_hidden has the shape {tuple(hidden.shape)}: give (B, S, D) or (N, D), not empty")
    if head.ndim != 2 or not head.numel() or head.shape[1] != hidden.shape[-1] or head.dtype != hidden.dtype:
        raise ValueError(
            f"{side}_head is {head.dtype} of the shape {tuple(head.shape)}, {side}_hidden {hidden.dtype} of the shape "
            f"{tuple(hidden.shape)}: give the head as (V, {hidden.shape[-1]}), of the same dtype"
        )
