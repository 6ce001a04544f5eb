"""Whose texts a student learns on: the plays, texts that the teacher wrote, or its own, as it writes them.

Sequence-level distillation (arXiv:1606.07947) trains on the teacher's texts with cross-entropy; on-policy distillation
(GKD, arXiv:2306.13649) lets the teacher judge what the student itself writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_model
from torch import Tensor, nn

from greenlab.core.model.gpt import GPT
from greenlab.core.model.training import TrainingConfig, batches, fit, logits_of, next_token_loss
from greenlab.distillation.loss import distillation_loss
from greenlab.distillation.study.students import (
    ALL,
    TEACHER_SEED,
    Config,
    LossFn,
    answers,
    gpt_config,
    one_thread,
    score,
    stream_of,
    trained,
    training_text,
    weights_file,
)
from greenlab.distillation.texts import on_policy_batches, write_texts

PROMPT = 8  # characters of a play that a text begins with
FURTHER = {  # how a student that was trained alone learns on: whose texts, from whom, by which divergence
    "plays, alone": ("plays", None),
    "plays, forward KL": ("plays", "forward_kl"),
    "plays, reverse KL": ("plays", "reverse_kl"),
    "its own, reverse KL": ("its own", "reverse_kl"),
}


def prompts(config: Config, n: int, seed: int) -> Tensor:
    """``n`` beginnings ``(n, PROMPT)`` from the plays that are trained on."""
    found = next(batches(training_text(ALL), PROMPT, n, seed))
    return found[0]


def written(folder: Path, config: Config, seed: int = 0) -> dict[str, Any]:
    """Let the teacher write as many windows as a student sees in its training, and keep them."""
    teacher = trained(folder, config, "teacher", "teacher", TEACHER_SEED)
    begun = prompts(config, config.steps * config.batch_size, seed)
    with one_thread():
        windows = write_texts(teacher, begun, config.context_length - PROMPT, seed=seed)
    torch.save(windows.to(torch.uint8), folder / "written.pt")
    return {"windows": len(windows), "characters": windows.numel()}


def train_on_written(folder: Path, config: Config, model: str, size: str, seed: int) -> dict[str, Any]:
    """Train a student on the teacher's texts alone, by cross-entropy, and score it on the plays."""
    windows = torch.load(folder / "written.pt").long()
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
    stream = ((windows[chosen, :-1], windows[chosen, 1:]) for chosen in order.split(config.batch_size))
    student = GPT(gpt_config(config, size), seed=seed)
    settings = TrainingConfig(
        steps=config.steps, batch_size=config.batch_size, context_length=config.context_length - 1,
        learning_rate=config.learning_rate, seed=seed,
    )  # fmt: skip
    with one_thread():
        result = fit(student, windows.flatten(), settings, stream=stream, label=model, progress=False)
        loss = score(student, config)
    save_model(student, str(weights_file(folder, model, seed)))
    return {"loss": loss, "n_tokens": windows.numel(), "raw_cpu_s": result.receipt.cpu_s}


def teacher_loss(teacher: GPT, divergence: str) -> LossFn:
    """A ``loss_fn`` of the soft part alone, whose teacher answers as the student learns."""

    def loss(student: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        said = answers(teacher, inputs)
        return distillation_loss(logits_of(student, inputs), said, targets, alpha=1.0, divergence=divergence)

    return loss


@torch.no_grad()
def judged(student: GPT, teacher: GPT, config: Config, n_windows: int = 128) -> dict[str, float]:
    """What the teacher says of texts that a student writes: how unlikely they are to both [nats per character].

    ``gap`` is the divergence KL(student || teacher) over whole texts, for each character: what the teacher finds
    unlikely less what the student does.
    """
    ids = write_texts(student, prompts(config, n_windows, 7), config.context_length - PROMPT, seed=7)
    found = {}
    for name, model in (("by_student", student), ("by_teacher", teacher)):
        logits = answers(model, ids[:, :-1])[:, PROMPT - 1 :]
        found[name] = F.cross_entropy(logits.flatten(0, 1), ids[:, PROMPT:].flatten()).item()
    return found | {"gap": found["by_teacher"] - found["by_student"]}


def go_on(folder: Path, config: Config, how: str, seed: int, size: str = "half") -> dict[str, Any]:
    """Train the lone student of a seed for some further steps, and score it on the plays and on its own texts.

    Args:
        folder: where weights are kept.
        config: of the study.
        how: one of `FURTHER`, or "not at all".
        seed: of the student.
        size: of the student.
    """
    teacher = trained(folder, config, "teacher", "teacher", TEACHER_SEED)
    student = trained(folder, config, f"{size}, alone", size, seed)
    with one_thread():
        if how != "not at all":
            whose, divergence = FURTHER[how]
            own = whose == "its own"
            texts = training_text(ALL).unfold(0, config.context_length, config.context_length)
            stream = stream_of(config, ALL, seed + 1000)
            if own:
                stream = on_policy_batches(student, texts, PROMPT, batch_size=config.batch_size, seed=seed)
            settings = TrainingConfig(
                steps=config.policy_steps, batch_size=config.batch_size,
                context_length=config.context_length - own, learning_rate=config.policy_learning_rate, seed=seed,
            )  # fmt: skip
            loss_fn = next_token_loss if divergence is None else teacher_loss(teacher, divergence)
            fit(student, training_text(ALL), settings, loss_fn=loss_fn, stream=stream, label=how, progress=False)
        return {"loss": score(student.eval(), config)} | judged(student, teacher, config)
