"""Losses as public code has them, in small versions of our own: each runs, learns, and is wrong in one place.

All take logits ``(N, V)`` of a student and of its teacher and give one number, the mean over rows [nats].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from greenlab.core import checks
from greenlab.distillation.loss import distillation_loss

BETAS = (0.0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999, 1.0)
PUBLIC, OURS = "as public code has it", "divided by beta (1 - beta)"


def cross_entropy_as_kl(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """A cross-entropy with the teacher, sold as a forward KL: the teacher's own entropy is left in it.

    Its gradient is right; its value is not 0 where the two agree, so nobody can read from it how much is left to learn.
    """
    return -(teacher_logits.softmax(-1) * student_logits.log_softmax(-1)).sum(-1).mean()


def without_t2(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """The KL divergence at a temperature without the factor T^2: the hotter, the less the teacher has to say."""
    checks.number("temperature", temperature, above=0)
    log_p, log_q = ((logits / temperature).log_softmax(-1) for logits in (teacher_logits, student_logits))
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean()


def over_everything(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """The KL divergence as a mean over rows and tokens, as torch's ``reduction="mean"`` has it: V times too small."""
    log_p, log_q = teacher_logits.log_softmax(-1), student_logits.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).mean()


def jumping_jsd(student_logits: Tensor, teacher_logits: Tensor, beta: float) -> Tensor:
    """GKD's divergence (arXiv:2306.13649, eq. 1) with the two KLs put in its place at the ends.

    As beta goes to 0 or 1 it vanishes, and at 0 and 1 themselves it is a KL divergence: the ends jump.
    """
    checks.number("beta", beta, low=0, high=1)
    log_p, log_q = teacher_logits.log_softmax(-1), student_logits.log_softmax(-1)
    if beta in (0, 1):
        a, b = (log_p, log_q) if beta == 0 else (log_q, log_p)
        return (a.exp() * (a - b)).sum(-1).mean()
    p, q = log_p.exp(), log_q.exp()
    log_m = (beta * p + (1 - beta) * q).log()
    return (beta * p * (log_p - log_m) + (1 - beta) * q * (log_q - log_m)).sum(-1).mean()


def gradient_norm(loss: Callable[[Tensor], Tensor], student_logits: Tensor) -> float:
    """Norm of a loss's gradient at the student's logits, the mean over rows."""
    logits = student_logits.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits) * len(logits), logits)
    return gradient.norm(dim=-1).mean().item()


def ends(student_logits: Tensor, teacher_logits: Tensor, betas: tuple[float, ...] = BETAS) -> pd.DataFrame:
    """Gradient norms along the Jensen-Shannon family, as public code has it and as this book does.

    Args:
        student_logits: ``(N, V)``.
        teacher_logits: ``(N, V)``.
        betas: from 0 (forward KL) to 1 (reverse KL).

    Returns:
        The columns beta, place (of beta among the others, from 0), form and norm.
    """
    labels = torch.zeros(len(student_logits), dtype=torch.long)  # they do not count at alpha 1

    def public(logits: Tensor, beta: float) -> Tensor:
        return jumping_jsd(logits, teacher_logits, beta)

    def ours(logits: Tensor, beta: float) -> Tensor:
        return distillation_loss(logits, teacher_logits, labels, alpha=1.0, divergence="jsd", beta=beta)

    rows = []
    for place, beta in enumerate(betas):
        for form, loss in {PUBLIC: public, OURS: ours}.items():
            norm = gradient_norm(partial(loss, beta=beta), student_logits)
            rows.append({"beta": beta, "place": place, "form": form, "norm": norm})
    return pd.DataFrame(rows)
