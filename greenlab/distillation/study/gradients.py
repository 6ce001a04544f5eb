"""How large the gradient of the soft targets is: against the temperature, and for each divergence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from greenlab.core.model.gpt import GPT
from greenlab.distillation.loss import distillation_loss
from greenlab.distillation.study.students import (
    ALL,
    TEACHER_SEED,
    Config,
    answers,
    gpt_config,
    one_thread,
    stream_of,
    trained,
)

TEMPERATURES = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0)
DIVERGENCES = ("forward_kl", "reverse_kl", "jsd")


def norm(student_logits: Tensor, teacher_logits: Tensor, targets: Tensor, temperature: float, divergence: str) -> float:
    """Norm of the soft part's gradient at the student's logits, the mean over the tokens [nats per logit]."""
    logits = student_logits.detach().requires_grad_()
    loss = distillation_loss(logits, teacher_logits, targets, temperature=temperature, alpha=1.0, divergence=divergence)
    (gradient,) = torch.autograd.grad(loss * targets.numel(), logits)
    return gradient.norm(dim=-1).mean().item()


def norms(folder: Path, config: Config, seed: int, size: str = "half") -> list[dict[str, Any]]:
    """Gradient norms of a fresh and of a trained student, for each temperature and divergence.

    Returns:
        One row each: student ("new" or "trained"), divergence, temperature, norm (with the factor T^2) and
        norm_without (without it).
    """
    inputs, targets = next(iter(stream_of(config, ALL, seed + 2000)))
    teacher = trained(folder, config, "teacher", "teacher", TEACHER_SEED)
    students = {
        "new": GPT(gpt_config(config, size), seed=seed),
        "trained": trained(folder, config, f"{size}, alone", size, seed),
    }
    rows = []
    with one_thread():
        said = answers(teacher, inputs)
        for name, student in students.items():
            logits = answers(student, inputs)
            for divergence in DIVERGENCES:
                for temperature in TEMPERATURES:
                    found = norm(logits, said, targets, temperature, divergence)
                    row = {"student": name, "divergence": divergence, "temperature": temperature, "norm": found}
                    rows.append(row | {"norm_without": found / temperature**2})
    return rows
