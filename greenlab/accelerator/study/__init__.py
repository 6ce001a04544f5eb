"""Joules of an accelerator, measured: idle, arithmetic, decoding, prompts, layers left out, experts, training.

``make study NAME=accelerator`` runs it (restartable, about ten minutes) on a machine with one NVIDIA GPU and its
driver's energy counter, and writes data/studies/accelerator; `load` reads the committed tables. What does not fit the
GPU's memory is left out, so a card of 16 GB gives fewer rows of the same tables. Joules are the GPU's own: the host is
not in them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from greenlab.accelerator import workloads
from greenlab.accelerator.bench import Bench
from greenlab.accelerator.shapes import EXPERT_LAYERS, MODELS, cache_bytes, weight_bytes
from greenlab.accelerator.study.tables import figures, summary
from greenlab.core import studies
from greenlab.core.model.gpt import GPT, GPTConfig

CHAPTER = "accelerator"
ROOM = 0.85  # of the memory: the rest is for activations, workspaces and the allocator


@dataclass(frozen=True)
class Config:
    """Everything that the tables depend on. ``*_s`` are the lengths of a block in seconds."""

    repeats: int = 3
    block_s: float = 1.5
    expert_block_s: float = 0.8  # 63 rows
    settle_s: float = 5.0  # before idle power is read: clocks fall slowly
    matmul_size: int = 8192
    copy_bytes: int = 2**31
    models: tuple[str, ...] = ("Llama-3.1-8B", "Llama-3.2-1B", "SmolLM2-135M")
    context: int = 512
    batches: tuple[tuple[int, ...], ...] = ((1, 2, 4, 8, 16, 32, 64, 128, 256), (1, 8, 64, 256), (1, 8, 64, 256, 1024))
    contexts: tuple[int, ...] = (128, 2048, 8192, 32_768)  # of the first model, beside ``context``
    contexts_batch: int = 8
    prompts: tuple[int, ...] = (128, 512, 2048, 8192)  # tokens
    left_out: tuple[int, ...] = (8, 16)  # layers
    skipping_share: float = 0.125
    skipping_every: int = 2
    expert_layers: tuple[str, ...] = ("Mixtral-8x7B", "Qwen3-30B-A3B", "DeepSeek-V3")
    expert_tokens: tuple[int, ...] = (1, 4, 16, 64, 256, 1024, 4096)
    student: str = "Llama-3.2-1B"
    training_batch: int = 4
    training_tokens: int = 1024
    seed: int = 0


@dataclass(frozen=True)
class Machine:
    """Where the study runs.

    Attributes:
        bench: repeats work and reads the counter.
        memory_bytes: memory of the device [B]; what needs more than `ROOM` of it is left out.
        name: what run.json calls the device.
        shapes: models by name; tests hand in small ones.
    """

    bench: Bench
    memory_bytes: float
    name: str
    shapes: dict[str, GPTConfig]

    def has_room(self, n_bytes: float) -> bool:
        """Whether ``n_bytes`` of weights and caches fit."""
        return n_bytes <= ROOM * self.memory_bytes


Row = dict[str, Any]


class Section:
    """Names and runs the rows of the study; a row that was measured before comes from disk."""

    def __init__(self, steps: studies.Steps, machine: Machine, bar: Any) -> None:
        self.steps, self.machine, self.bar = steps, machine, bar
        self.rows: list[Row] = []

    def row(self, section: str, what: str, unit: str, make: Callable[[], tuple[Any, ...]], **keys: Any) -> None:
        """Measure one row unless it is on disk.

        Args:
            section: the kind of row, such as "decode".
            what: the model, the layer or the operation.
            unit: what joules are divided by: "token", "FLOP", "byte" or "s".
            make: gives the work, its units a call, and further columns if there are any; it runs only when the row is
                measured.
            **keys: further columns, such as batch and context.
        """
        name = "-".join([section, what, *(f"{key}{value}" for key, value in keys.items())])
        name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in name)
        found = self.steps.run(name, partial(self._measure, make))
        head = {"section": section, "what": what, "unit": unit, **keys}
        self.rows += [head | (found["extra"] or {}) | row for row in found["repeats"]]
        self.bar.update()

    def _measure(self, make: Callable[[], tuple[Any, ...]]) -> dict[str, Any]:
        extra, bench = None, self.machine.bench
        made: tuple[Any, ...] | None = None
        try:
            made = make()
            work, units = made[:2]
            extra = made[2] if len(made) > 2 else None
            repeats = bench.idle() if work is None else bench.run(work, units)
        except torch.cuda.OutOfMemoryError:  # a row that does not fit after all is left out, and says so
            repeats, extra = [], {"left_out": "out of memory"}
        finally:
            work = made = None
            free()
        return {"repeats": repeats, "extra": extra}


def free() -> None:
    """Give memory of works that are done back to the device."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def run(config: Config, machine: Machine) -> tuple[dict[str, pd.DataFrame], studies.Steps]:
    """Measure what is not measured yet; return the tables and the steps.

    Tables: ``repeats`` (every block), ``summary`` (a line a row of the study), ``steps`` and ``figures``.
    """
    torch.manual_seed(config.seed)
    steps = studies.Steps(CHAPTER, config, on=machine.name)
    section = Section(steps, machine, tqdm(desc="rows", unit="row"))
    for part in (idle, arithmetic, whole_models, experts, training):
        part(section, config)
    section.bar.close()
    repeats = pd.DataFrame(section.rows)
    tables = {"repeats": repeats, "summary": summary(repeats)}
    return tables | {"figures": figures(tables["summary"], machine.name), "steps": steps.receipts()}, steps


def idle(section: Section, config: Config) -> None:
    """Watts of the device that does nothing: before any program uses it. Runs first."""
    section.row("idle", "no program", "s", lambda: (None, 0.0))


def arithmetic(section: Section, config: Config) -> None:
    """Joules of a FLOP and of a byte, of random numbers and of zeros."""
    device = section.machine.bench.device
    for zeros in (False, True):
        kind = "zeros" if zeros else "random numbers"
        make = partial(workloads.matmul, config.matmul_size, device, zeros=zeros)
        section.row("matmul", kind, "FLOP", make)
        section.row("copy", kind, "byte", partial(workloads.copy, config.copy_bytes, device, zeros=zeros))


def whole_models(section: Section, config: Config) -> None:
    """Decoding by batch and context, prompts by length, layers left out and depths mixed."""
    for number, name in enumerate(config.models):
        model_config = section.machine.shapes[name]
        if not section.machine.has_room(weight_bytes(model_config) + cache_bytes(model_config, 1, config.context)):
            continue
        holder = Holder(model_config, section.machine.bench.device)
        if number == 0:
            section.row("idle", f"{name} loaded", "s", partial(loaded, holder, config.settle_s))
        for batch in config.batches[number]:
            decode_row(section, holder, name, batch, config.context)
        if number == 0:
            of_the_first_model(section, holder, name, config)
        holder.drop()


def of_the_first_model(section: Section, holder: Holder, name: str, config: Config) -> None:
    """Everything beside the batches, on the largest model of the list that fits."""
    n_layers = section.machine.shapes[name].n_layers
    for context in config.contexts:
        decode_row(section, holder, name, config.contexts_batch, context)
    for n_left_out in config.left_out:
        changed = partial(workloads.without_layers, n_left_out=n_left_out)
        decode_row(section, holder, name, 1, config.context, changed, layers=n_layers - n_left_out)
    skip = partial(workloads.skipping, share=config.skipping_share, every=config.skipping_every)
    for n_tokens in config.prompts:
        prompt_row(section, holder, name, n_tokens)
        if n_tokens * config.skipping_share >= 64:  # fewer selected tokens are the small kernels' own story
            prompt_row(section, holder, f"{name}, mixture of depths", n_tokens, skip)


class Holder:
    """A random model that is made when the first row needs it, so that a finished study loads nothing."""

    def __init__(self, config: GPTConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        self._model: GPT | None = None

    def model(self) -> GPT:
        """The model, on the device."""
        if self._model is None:
            self._model = workloads.random_model(self.config, self.device)
        return self._model

    def drop(self) -> None:
        """Free the model's memory."""
        self._model = None
        free()


def loaded(holder: Holder, settle_s: float) -> tuple[None, float]:
    """Load the model, wait until the device's clocks have come down, and give no work: an idle row."""
    holder.model()
    time.sleep(settle_s)
    return None, 0.0


Changed = Callable[[GPT], AbstractContextManager[None]]


def decode_row(
    section: Section,
    holder: Holder,
    name: str,
    batch: int,
    context: int,
    changed: Changed | None = None,
    **keys: Any,
) -> None:
    """One row of decoding: joules a token of every sequence in the batch."""
    config = holder.config
    if context > config.context_length:
        return
    if not section.machine.has_room(weight_bytes(config) + cache_bytes(config, batch, context)):
        return

    def make() -> tuple[Any, float]:
        return workloads.decode_step(holder.model(), batch, context, holder.device), float(batch)

    with changed(holder.model()) if changed else nullcontext():
        section.row("decode", name, "token", make, batch=batch, context=context, **keys)


def prompt_row(section: Section, holder: Holder, name: str, n_tokens: int, changed: Changed | None = None) -> None:
    """One row of reading a prompt: joules a token read."""
    if n_tokens > holder.config.context_length:
        return

    def make() -> tuple[Any, float]:
        return workloads.prompt(holder.model(), n_tokens, holder.device), float(n_tokens)

    with changed(holder.model()) if changed else nullcontext():
        section.row("prompt", name, "token", make, batch=1, context=n_tokens)


def experts(section: Section, config: Config) -> None:
    """One layer with experts, beside dense layers of the total and of the active size, by tokens in the batch."""
    bench = section.machine.bench
    usual_s, bench.seconds = bench.seconds, min(bench.seconds, config.expert_block_s)
    for name in config.expert_layers:
        layer = EXPERT_LAYERS[name]
        if not section.machine.has_room(layer.weight_bytes * 4 / 3):  # the dense layer copies a third of it
            continue
        held: list[workloads.Experts] = []
        for n_tokens in config.expert_tokens:
            for kind in ("experts", "dense, total size", "dense, active size"):
                make = partial(expert_work, held, layer, kind, n_tokens, bench.device, config.seed)
                section.row("layer", f"{name}: {kind}", "token", make, batch=n_tokens)
        held.clear()
        free()
    bench.seconds = usual_s


def expert_work(
    held: list[workloads.Experts], layer: Any, kind: str, n_tokens: int, device: torch.device, seed: int
) -> tuple[Any, float, dict[str, Any]]:
    """The work of one row of a layer, its tokens, and how many experts were visited; weights are made once."""
    if not held:
        held.append(workloads.Experts(layer, device))
    if kind == "experts":
        work, n_visited = held[0].routed(n_tokens, seed)
        return work, float(n_tokens), {"experts_visited": n_visited}
    n_experts = layer.n_experts if kind == "dense, total size" else layer.top_k
    return held[0].dense(n_tokens, n_experts), float(n_tokens), {"experts_visited": n_experts}


def training(section: Section, config: Config) -> None:
    """A student alone and with its teacher: forward passes and training steps, joules a token."""
    machine, teacher_name = section.machine, config.models[0]
    device, tokens = machine.bench.device, config.training_batch * config.training_tokens
    student_config, teacher_config = machine.shapes[config.student], machine.shapes[teacher_name]
    logits = tokens * student_config.vocab_size * 4 * 5  # float32: student's, teacher's, their logarithms, a gradient
    student_bytes = weight_bytes(student_config) * 4 + logits  # weights, gradients, two moments
    student, teacher = Holder(student_config, device), Holder(teacher_config, device)
    keys = {"batch": config.training_batch, "context": config.training_tokens}

    def ids() -> torch.Tensor:
        return torch.randint(student_config.vocab_size, (config.training_batch, config.training_tokens), device=device)

    def step(with_teacher: bool) -> tuple[Any, float]:
        guide = teacher.model() if with_teacher else None
        return workloads.training_step(student.model(), guide, ids()), float(tokens)

    def forward(holder: Holder) -> tuple[Any, float]:
        return workloads.forward_pass(holder.model(), ids()), float(tokens)

    if machine.has_room(student_bytes):
        section.row("training", f"{config.student}: forward pass", "token", partial(forward, student), **keys)
        section.row("training", f"{config.student}: training step", "token", partial(step, False), **keys)
    if machine.has_room(student_bytes + weight_bytes(teacher_config)):
        section.row("training", f"{teacher_name}: forward pass", "token", partial(forward, teacher), **keys)
        name = f"{config.student} with {teacher_name} as teacher: training step"
        section.row("training", name, "token", partial(step, True), **keys)
    student.drop()
    teacher.drop()


def machine_here(config: Config) -> Machine:
    """This machine's only GPU.

    Raises:
        RuntimeError: if there is no CUDA device, more than one, or no energy counter; it says what is needed.
    """
    from greenlab.core.energy.counters import find_counters

    need = (
        "the study needs one NVIDIA GPU of Volta or later with its driver, and the extra [nvidia]: "
        "pip install -e '.[nvidia]'"
    )
    counters, states = find_counters()
    mine = tuple(counter for counter in counters if counter.component == "gpu")
    if len(mine) != 1:
        seen = "; ".join(f"{state.name}: {state.reason}" for state in states) or "no counter at all"
        raise RuntimeError(f"{need}. Readable GPU counters here: {len(mine)} ({seen})")
    if not torch.cuda.is_available():
        raise RuntimeError(f"{need}, and a build of torch with CUDA; this torch is {torch.__version__}")
    memory_bytes = torch.cuda.mem_get_info(0)[1]
    bench = Bench(torch.device("cuda", 0), config.block_s, config.repeats, counters=mine)
    return Machine(bench, memory_bytes, f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}", MODELS)


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them."""
    return studies.load(CHAPTER, *names)


def main() -> None:
    """Run the study and write its tables; without a GPU, say what is needed and end."""
    import sys

    config = Config()
    try:
        machine = machine_here(config)
    except RuntimeError as error:
        sys.exit(f"greenlab: {error}")
    tables, _ = run(config, machine)
    studies.save(CHAPTER, config, tables, tables["steps"], on=machine.name)
