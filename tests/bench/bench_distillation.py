"""Distillation: the loss in chunks against the plain one on 49,152 tokens, and a step with a teacher against one alone.

Memory: each way runs in a process of its own, since the operating system reports only the most that a process ever
held. What it held once model, texts and libraries were there is subtracted; left are the copies that the loss makes and
the gradient, which every way has to give. "logits" starts from logits of both models; "hidden" starts from hidden
states and output heads of the sizes of SmolLM2-135M (student) and SmolLM2-360M (teacher), and ends with the gradients
of the student's states and head. Times: all ways take turns in one process; a ratio is the median over rounds.
Marks: 4 times less memory, at most 1.2 times the time.

Run: python -m tests.bench.bench_distillation
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from greenlab.core import speed
from greenlab.core.machine import ROOT, available_cores
from greenlab.core.model import cost
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.model.training import TrainingConfig, make_optimizer, next_token_loss
from greenlab.distillation import distillation_loss, distillation_loss_fn, hidden_distillation_loss

ROWS, VOCAB, STUDENT_WIDTH, TEACHER_WIDTH = 512, 49_152, 576, 960
CHUNK = {"logits": 8, "hidden": 96}
STUDENTS = {"1/2": (2, 128, 256), "1/4": (1, 128, 256), "1/8": (2, 64, 128)}  # layers, d_model, d_ff; parameters
LESS_MEMORY, MOST_TIME = 4.0, 1.2


def inputs(start: str) -> tuple[list[Tensor], Tensor]:
    """Return what a loss starts from, without a copy on the way, and labels."""
    torch.manual_seed(0)
    labels = torch.randint(VOCAB, (ROWS,))
    if start == "logits":
        return [torch.randn(ROWS, VOCAB).requires_grad_(), torch.randn(ROWS, VOCAB)], labels
    student = [torch.randn(ROWS, STUDENT_WIDTH), torch.randn(VOCAB, STUDENT_WIDTH).mul_(0.1)]
    teacher = [torch.randn(ROWS, TEACHER_WIDTH), torch.randn(VOCAB, TEACHER_WIDTH).mul_(0.1)]
    return [*(x.requires_grad_() for x in student), *teacher], labels


def work(start: str, way: str, tensors: list[Tensor], labels: Tensor) -> tuple[Tensor, ...]:
    """Compute a loss and the gradients of what it starts from."""
    if way == "in chunks" and start == "hidden":
        loss = hidden_distillation_loss(*tensors, labels, chunk_size=CHUNK[start])
        return torch.autograd.grad(loss, tensors[:2])
    wanted = tensors[:1] if start == "logits" else tensors[:2]
    if start == "hidden":
        with torch.no_grad():
            teacher = tensors[2] @ tensors[3].T
        tensors = [tensors[0] @ tensors[1].T, teacher]
    chunk_size = CHUNK[start] if way == "in chunks" else None
    return torch.autograd.grad(distillation_loss(*tensors, labels, chunk_size=chunk_size), wanted)


def peak_bytes() -> int:
    """Return the most memory that this process held so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux; its ru_maxrss may be that of the parent process
        return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text()).group(1))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS, in bytes


def own_peak(start: str, way: str) -> None:
    """Print the bytes that one way adds to what was there before it."""
    torch.set_num_threads(1)
    tensors, labels = inputs(start)
    small = [x[:1].detach().requires_grad_(x.requires_grad) if len(x) == ROWS else x for x in tensors]
    if start == "logits":
        work(start, way, small, labels[:1])  # what is loaded or set up once
    before = peak_bytes()
    work(start, way, tensors, labels)
    print(json.dumps(peak_bytes() - before))


def memory(start: str, way: str) -> int:
    """Return `own_peak` of a fresh process [B]."""
    command = [sys.executable, "-m", "tests.bench.bench_distillation", start, way]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    out = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def losses(rounds: int, threads: tuple[int, ...]) -> pd.DataFrame:
    """Return one row per start and way: memory and time, and both against the plain way."""
    rows = []
    for start in ("logits", "hidden"):
        held = {way: memory(start, way) for way in ("plain", "in chunks")}
        tensors, labels = inputs(start)
        row = {way: {"start": start, "way": way, "memory_mb": held[way] / 1e6} for way in held}
        for way in held:
            row[way]["less_memory"] = held["plain"] / held[way]
        for n in threads:
            torch.set_num_threads(n)
            works = {way: partial(work, start, way, tensors, labels) for way in held}
            times = speed.interleave(works, rounds=rounds)
            faster, median = speed.ratios(times, "plain"), times.groupby("work")["time_s"].median()
            for way in held:
                row[way] |= {f"time_s_{n}": median[way], f"time_ratio_{n}": 1 / faster[way]}
        ratios = [row["in chunks"][f"time_ratio_{n}"] for n in threads]
        met = row["in chunks"]["less_memory"] >= LESS_MEMORY and max(ratios) <= MOST_TIME
        row["in chunks"]["within_mark"] = met
        rows += row.values()
    return pd.DataFrame(rows)


def step(model: GPT, loss_fn: Callable[[torch.nn.Module, Tensor, Tensor], Tensor]) -> Callable[[], None]:
    """Return one training step on a fixed batch."""
    optimizer = make_optimizer(model.train(), TrainingConfig())
    texts, targets = torch.randint(65, (2, 16, 128), generator=torch.Generator().manual_seed(0))

    def train() -> None:
        optimizer.zero_grad()
        loss_fn(model, texts, targets).backward()
        optimizer.step()

    return train


def steps(rounds: int, threads: tuple[int, ...]) -> pd.DataFrame:
    """Return one row per student (by its size over the teacher's) and threads: a step with teacher over one alone."""
    config = GPTConfig(vocab_size=65, n_layers=4, d_model=128, n_heads=4, d_ff=256)
    teacher, rows = GPT(config), []
    read = cost.prefill_flops(config.shape, 128).total
    for part, (n_layers, d_model, d_ff) in STUDENTS.items():
        smaller = GPTConfig(vocab_size=65, n_layers=n_layers, d_model=d_model, n_heads=4, d_ff=d_ff)
        alone = cost.prefill_flops(smaller.shape, 128).total
        for n in threads:
            torch.set_num_threads(n)
            works = {
                "alone": step(GPT(smaller), next_token_loss),
                "with its teacher": step(GPT(smaller), distillation_loss_fn(teacher)),
            }
            times = speed.interleave(works, rounds=rounds)
            rows.append(
                {
                    "student": part, "threads": n,
                    "alone_s": times.groupby("work")["time_s"].median()["alone"],
                    "with_teacher_over_alone": 1 / speed.ratios(times, "alone")["with its teacher"],
                    "by_flops": (3 * alone + read) / (3 * alone),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def run(rounds: int = 3) -> list[pd.DataFrame]:
    """Return the table of losses and the table of steps, on one thread and on all cores."""
    threads = tuple(sorted({1, available_cores()}))
    return [losses(rounds, threads), steps(5 * rounds, threads)]


if __name__ == "__main__":
    if len(sys.argv) == 3:
        own_peak(*sys.argv[1:])
    else:
        for table in run():
            print(table.to_string(index=False, float_format=lambda x: f"{x:.3f}"), "\n")
