"""Joules of an accelerator, measured: idle, arithmetic, decoding, prompts, layers left out, experts, training.

``make study NAME=accelerator`` runs it (restartable, about ten minutes) on a machine with one NVIDIA GPU and its
driver's energy counter, and writes data/studies/accelerator; `load` reads the committed tables. What does not fit the
GPU's memory is left out, so a card of 16 GB gives fewer rows of the same tables; the table ``left_out`` says what and
why. A row that failed is tried again when the study is run again. Joules are the GPU's own: the host is not in them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from greenlab.accelerator import workloads
from greenlab.accelerator.bench import Bench, NoCounterError
from greenlab.accelerator.card import read_card
from greenlab.accelerator.shapes import EXPERT_LAYERS, MODELS, ExpertLayer, cache_bytes, weight_bytes
from greenlab.accelerator.study.tables import figures, summary
from greenlab.core import studies
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.mixture_of_depths import MoDBlock

CHAPTER = "accelerator"
ROOM = 0.85  # of the memory: the rest is for activations, workspaces and the allocator
EXPERT_DRAWS = 8  # random routings behind each row with experts: four tokens visit 4 to 8 of Mixtral's experts
LEFT_OUT = ["section", "what", "batch", "context", "layers", "reason"]  # columns of the table
NEED = (
    "the study needs one NVIDIA GPU of Ampere or later (it computes in bfloat16) with its driver, and the extra "
    "[nvidia]: pip install -e '.[nvidia]'"
)


class NeedError(RuntimeError):
    """This machine cannot run the study; the text says what is needed."""


class RowError(RuntimeError):
    """One row could not be measured; the text is the reason."""


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

    def refusal(self, n_bytes: float) -> str:
        """Why ``n_bytes`` of weights and caches do not fit; empty if they do."""
        if n_bytes <= ROOM * self.memory_bytes:
            return ""
        return f"needs {n_bytes / 1e9:.1f} GB of {ROOM * self.memory_bytes / 1e9:.1f} GB for weights and caches"


Row = dict[str, Any]
Made = tuple[workloads.Work | None, float, Row]  # work (None: idle), its units a call, further columns
During = Callable[[], AbstractContextManager[None]]


class Section:
    """Names and runs the rows of the study; a row that was measured before comes from disk.

    ``rows`` holds the blocks, ``left_out`` what was not measured, and why.
    """

    def __init__(self, steps: studies.Steps, machine: Machine, bar: Any) -> None:
        self.steps, self.machine, self.bar = steps, machine, bar
        self.rows: list[Row] = []
        self.left_out: list[Row] = []

    def row(
        self, section: str, what: str, unit: str, make: Callable[[], Made], during: During = nullcontext, **keys: Any
    ) -> None:
        """Measure one row unless it is on disk. A row that fails is left out, and tried again by the next run.

        Args:
            section: the kind of row, such as "decode".
            what: the model, the layer or the operation.
            unit: what joules are divided by: "token", "FLOP", "byte" or "s".
            make: gives the work, its units a call, and further columns; it runs only when the row is measured.
            during: opens what has to stay open while the row is made and measured.
            **keys: further columns, such as batch and context.
        """
        name = "-".join([section, what, *(f"{key}{value}" for key, value in keys.items())])
        name = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in name)
        try:
            found = self.steps.run(name, partial(self._measure, make, during))
        except RowError as error:
            self.leave_out(section, what, str(error), **keys)
        else:
            head = {"section": section, "what": what, "unit": unit, **keys}
            self.rows += [head | found["extra"] | row for row in found["repeats"]]
        self.bar.update()

    def leave_out(self, section: str, what: str, reason: str, **keys: Any) -> None:
        """Note a row that is not measured."""
        self.left_out.append({"section": section, "what": what, "reason": reason, **keys})
        self.bar.set_postfix_str(f"{len(self.left_out)} left out")

    def _measure(self, make: Callable[[], Made], during: During) -> dict[str, Any]:
        """Make the work and measure it; whatever torch raises ends this row only, and nothing of it is kept."""
        bench, repeats, extra, reason = self.machine.bench, list[Row](), Row(), ""
        made: Made | None = None
        try:
            with during():
                made = make()
                extra = made[2]
                repeats = bench.idle() if made[0] is None else bench.run(made[0], made[1])
        except NoCounterError:  # no row can be measured then
            raise
        except RuntimeError as error:  # out of memory is one of them
            reason = first_cause(error)
        finally:
            made = None
            free()
        if reason:
            raise RowError(reason)
        return {"repeats": repeats, "extra": extra}


def first_cause(error: BaseException) -> str:
    """The first line of the first error of a chain: one inside a recording is followed by that of the recording."""
    while isinstance(error.__context__, RuntimeError):
        error = error.__context__
    return f"{type(error).__name__}: {error}".splitlines()[0][:200]


def free() -> None:
    """Give memory of works that are done back to the device."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def run(config: Config, machine: Machine) -> tuple[dict[str, pd.DataFrame], studies.Steps]:
    """Measure what is not measured yet; return the tables and the steps.

    Tables: ``repeats`` (every block), ``summary`` (a line a row of the study), ``left_out`` (what was not measured,
    and why), ``steps`` and ``figures``.

    Raises:
        NeedError: if CUDA cannot be used, or no row could be measured.
    """
    steps = studies.Steps(CHAPTER, config, on=machine.name)
    section = Section(steps, machine, tqdm(desc="rows", unit="row"))
    idle(section, config)
    require_cuda(machine.bench.device)
    torch.manual_seed(config.seed)
    for part in (arithmetic, whole_models, experts, training):
        part(section, config)
    section.bar.close()
    left_out = pd.DataFrame(section.left_out, columns=LEFT_OUT)
    if not section.rows:
        raise NeedError(f"no row could be measured; the first says: {left_out['reason'].iloc[0]}")
    repeats = pd.DataFrame(section.rows)
    tables = {"repeats": repeats, "summary": summary(repeats), "left_out": left_out}
    return tables | {"figures": figures(tables["summary"], machine.name), "steps": steps.receipts()}, steps


def require_cuda(device: torch.device) -> None:
    """Open the device; asked for after the first row only, as an open GPU draws more at rest.

    Raises:
        NeedError: if it is a GPU and torch cannot use it.
    """
    if device.type == "cuda" and not torch.cuda.is_available():
        raise NeedError(f"{NEED}. The driver answers, but torch {torch.__version__} cannot use the GPU")


def idle(section: Section, config: Config) -> None:
    """Watts of the device that does nothing: before any program opens it. Runs first, without CUDA."""
    section.row("idle", "no program", "s", partial(settled, config.settle_s))


def settled(settle_s: float) -> Made:
    """Wait until the device's clocks have come down, and give no work: an idle row."""
    time.sleep(settle_s)
    return None, 0.0, {"launched": "nothing"}


def arithmetic(section: Section, config: Config) -> None:
    """Joules of a FLOP and of a byte, of random numbers and of zeros."""
    device = section.machine.bench.device
    for zeros in (False, True):
        kind = "zeros" if zeros else "random numbers"
        product = partial(workloads.matmul, config.matmul_size, device, zeros=zeros)
        section.row("matmul", kind, "FLOP", partial(from_host, product))
        copying = partial(workloads.copy, config.copy_bytes, device, zeros=zeros)
        section.row("copy", kind, "byte", partial(from_host, copying))


def from_host(make: Callable[[], tuple[workloads.Work, float]]) -> Made:
    """Work whose kernels the host launches one by one: they are long enough to keep the device busy."""
    return *make(), {"launched": "host"}


def whole_models(section: Section, config: Config) -> None:
    """Decoding by batch and context, prompts by length, layers left out and depths mixed."""
    machine, is_first = section.machine, True
    for name, batches in zip(config.models, config.batches, strict=True):
        model_config = machine.shapes[name]
        if refusal := machine.refusal(weight_bytes(model_config) + cache_bytes(model_config, 1, config.context)):
            section.leave_out("decode", name, refusal)
            continue
        holder = Holder(model_config, machine.bench.device)
        if is_first:
            section.row("idle", f"{name} loaded", "s", partial(loaded, holder, machine.bench, config.settle_s))
            batches = tuple(sorted({*batches, *config.batches[0]}))  # the largest model that fits has every batch
        for batch in batches:
            decode_row(section, holder, name, batch, config.context)
        if is_first:
            of_the_first_model(section, holder, name, config)
        is_first = False
        holder.drop()


def of_the_first_model(section: Section, holder: Holder, name: str, config: Config) -> None:
    """Everything beside the batches, on the largest model of the list that fits."""
    n_layers, most_layers = holder.config.n_layers, section.machine.shapes[config.models[0]].n_layers
    for context in config.contexts:
        decode_row(section, holder, name, config.contexts_batch, context)
    for n_left_out in (n * n_layers // most_layers for n in config.left_out):  # the same share of a smaller model
        if n_left_out:
            changed = partial(workloads.without_layers, n_left_out=n_left_out)
            decode_row(section, holder, name, 1, config.context, changed, layers=n_layers - n_left_out)
    wrap = partial(MoDBlock, d_model=holder.config.d_model, capacity=config.skipping_share)
    skip = partial(workloads.skipping, wrap=wrap, every=config.skipping_every)
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


def loaded(holder: Holder, bench: Bench, settle_s: float) -> Made:
    """Load the model and wait until the device's clocks have come down: an idle row."""
    holder.model()
    bench.wait()
    return settled(settle_s)


Changed = Callable[[GPT], AbstractContextManager[None]]


def changing(holder: Holder, changed: Changed | None) -> During:
    """Change the holder's model while a row is made and measured; a row that is on disk loads no model."""
    return nullcontext if changed is None else lambda: changed(holder.model())


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
    config, keys = holder.config, {"batch": batch, "context": context, **keys}
    refusal = section.machine.refusal(weight_bytes(config) + cache_bytes(config, batch, context))
    if context > config.context_length:
        refusal = f"longer than the model's {config.context_length} tokens"
    if refusal:
        section.leave_out("decode", name, refusal, **keys)
        return

    def make() -> Made:
        step = workloads.decode_step(holder.model(), batch, context, holder.device)
        return step, float(batch), {"launched": workloads.launched_by(holder.device)}

    section.row("decode", name, "token", make, changing(holder, changed), **keys)


def prompt_row(section: Section, holder: Holder, name: str, n_tokens: int, changed: Changed | None = None) -> None:
    """One row of reading a prompt: joules a token read."""
    keys: Row = {"batch": 1, "context": n_tokens}
    if n_tokens > holder.config.context_length:
        section.leave_out("prompt", name, f"longer than the model's {holder.config.context_length} tokens", **keys)
        return

    def make() -> Made:
        read = workloads.prompt(holder.model(), n_tokens, holder.device)
        return read, float(n_tokens), {"launched": workloads.launched_by(holder.device)}

    section.row("prompt", name, "token", make, changing(holder, changed), **keys)


def experts(section: Section, config: Config) -> None:
    """One layer with experts, beside dense layers of the total and of the active size, by tokens in the batch."""
    bench = section.machine.bench
    usual_s, bench.seconds = bench.seconds, min(bench.seconds, config.expert_block_s)
    for name in config.expert_layers:
        layer = EXPERT_LAYERS[name]
        if refusal := section.machine.refusal(layer.weight_bytes * 4 / 3):  # the dense layer copies a third of it
            section.leave_out("layer", name, refusal)
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
    held: list[workloads.Experts], layer: ExpertLayer, kind: str, n_tokens: int, device: torch.device, seed: int
) -> Made:
    """The work of one row of a layer, its tokens, and how many experts were visited; weights are made once."""
    if not held:
        held.append(workloads.Experts(layer, device))
    extra: Row = {"launched": workloads.launched_by(device)}
    if kind == "experts":
        work, n_visited = held[0].routed(n_tokens, range(seed, seed + EXPERT_DRAWS))
        extra |= {"products": "grouped" if held[0].grouped else "loop", "draws": EXPERT_DRAWS}
        return work, float(EXPERT_DRAWS * n_tokens), extra | {"experts_visited": n_visited}
    n_experts = layer.n_experts if kind == "dense, total size" else layer.top_k
    return held[0].dense(n_tokens, n_experts), float(n_tokens), extra | {"experts_visited": n_experts}


class Pair:
    """A student and its teacher, and the memory that training takes.

    A teacher of another vocabulary is given the student's, as their answers are compared token by token; its name says
    so: "Llama-3.2-1B-49k" has a vocabulary of 49 thousand tokens.
    """

    def __init__(self, shapes: dict[str, GPTConfig], student: str, teacher: str, n_tokens: int) -> None:
        self.student, self.teacher = student, teacher
        self.student_config, self.teacher_config = shapes[student], shapes[teacher]
        vocab_size = self.student_config.vocab_size
        if self.teacher_config.vocab_size != vocab_size:
            self.teacher_config = replace(self.teacher_config, vocab_size=vocab_size)
            self.teacher = f"{teacher}-{vocab_size // 1000}k"
        logits = n_tokens * vocab_size * 4 * 5  # float32: student's, teacher's, their logarithms, a gradient
        self.student_bytes = weight_bytes(self.student_config) * 4 + logits  # weights, gradients, two moments
        self.all_bytes = self.student_bytes + weight_bytes(self.teacher_config)


def pair_that_fits(machine: Machine, config: Config) -> Pair:
    """The student with the largest model as its teacher; on a smaller card the smallest one, taught by the student."""
    names = [(config.student, config.models[0]), (config.models[-1], config.student)]
    n_tokens = config.training_batch * config.training_tokens
    pairs = [Pair(machine.shapes, *pair, n_tokens) for pair in names if pair[0] != pair[1]]
    return next((pair for pair in pairs if not machine.refusal(pair.all_bytes)), pairs[-1])


def training(section: Section, config: Config) -> None:
    """A student alone and with its teacher: forward passes and training steps, joules a token."""
    device, tokens = section.machine.bench.device, config.training_batch * config.training_tokens
    pair = pair_that_fits(section.machine, config)
    student, teacher = Holder(pair.student_config, device), Holder(pair.teacher_config, device)
    keys: Row = {"batch": config.training_batch, "context": config.training_tokens}

    def ids() -> torch.Tensor:
        size = (config.training_batch, config.training_tokens)
        return torch.randint(pair.student_config.vocab_size, size, device=device)

    def step(with_teacher: bool) -> Made:
        guide = teacher.model() if with_teacher else None
        return workloads.training_step(student.model(), guide, ids()), float(tokens), {"launched": "host"}

    def forward(holder: Holder) -> Made:
        return workloads.forward_pass(holder.model(), ids()), float(tokens), {"launched": "host"}

    rows: list[tuple[str, Callable[[], Made], float]] = [
        (f"{pair.student}: forward pass", partial(forward, student), pair.student_bytes),
        (f"{pair.student}: training step", partial(step, False), pair.student_bytes),
        (f"{pair.teacher}: forward pass", partial(forward, teacher), pair.all_bytes),
        (f"{pair.student} with {pair.teacher} as teacher: training step", partial(step, True), pair.all_bytes),
    ]
    for what, make, n_bytes in rows:
        if refusal := section.machine.refusal(n_bytes):
            section.leave_out("training", what, refusal, **keys)
        else:
            section.row("training", what, "token", make, **keys)
    student.drop()
    teacher.drop()


def machine_here(config: Config) -> Machine:
    """This machine's only GPU, as the driver describes it: CUDA is not opened yet.

    Raises:
        NeedError: if there is no GPU with an energy counter, more than one, one older than Ampere, or a torch without
            CUDA; it says what is needed.
    """
    from greenlab.core.energy.counters import find_counters

    counters, states = find_counters()
    mine = tuple(counter for counter in counters if counter.component == "gpu")
    silent = [state for state in states if state.uncounted_w > 0]  # GPUs that are visible and have no counter
    if mine and len(mine) + len(silent) > 1:
        raise NeedError(
            f"the study measures one GPU, and this process sees {len(mine) + len(silent)}: choose one by its number, "
            "for example CUDA_VISIBLE_DEVICES=0 make study NAME=accelerator"
        )
    if not mine:
        seen = "; ".join(f"{state.name}: {state.reason}" for state in states) or "no counter at all"
        raise NeedError(f"{NEED}. Readable GPU counters here: none ({seen})")
    if torch.version.cuda is None:
        raise NeedError(f"{NEED}, and a build of torch with CUDA; this torch is {torch.__version__}")
    card = read_card(int(mine[0].name.rpartition("-")[2]))
    if not card.has_bfloat16:
        version = ".".join(map(str, card.capability))
        raise NeedError(f"{NEED}. {card.name} has compute capability {version}, bfloat16 needs 8.0")
    bench = Bench(torch.device("cuda", 0), config.block_s, config.repeats, counters=mine)
    return Machine(bench, card.memory_bytes, f"{card.name}, CUDA {torch.version.cuda}", MODELS)


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them."""
    return studies.load(CHAPTER, *names)


def main() -> None:
    """Run the study and write its tables; without a GPU, say what is needed and end."""
    import sys

    config = Config()
    try:
        machine = machine_here(config)
        tables, _ = run(config, machine)
    except NeedError as error:
        sys.exit(f"greenlab: {error}")
    studies.save(CHAPTER, config, tables, tables["steps"], on=machine.name)
