"""The reader's own machine as a device, and whether the roofline predicts how fast it writes.

Three things are measured side by side, in turn, so that a machine that drifts treats them alike: how fast a matrix
    times a
vector gets its weights from memory, what a decoding step costs before any weight is read (the same layers, tiny), and a
decoding step of the real model. The first two predict the third. Torch is imported here and not by the package.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from greenlab.core import checks, machine, speed
from greenlab.core.model.cost import TransformerShape
from greenlab.hardware.device import Device
from greenlab.hardware.work import decode

N_NEW = 8  # tokens of one measured stretch
TINY = {"head_dim": 4, "intermediate_size": 64, "vocab_size": 512}  # too small for any memory to matter


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Compute with ``n`` threads inside the block.

    Args:
        n: threads, at most 1,024.

    Raises:
        TypeError: if ``n`` is no whole number.
        ValueError: if it is out of range.
    """
    n = checks.integer("n", n, low=1, high=1024, remedy="it counts threads")
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measured_device(name: str = "your machine", *, n_threads: int | None = None, rounds: int = 10) -> Device:
    """This machine as a device: what it multiplies and reads at best, in about a second; its power is not known.

    Bandwidth is that of adding up an array larger than any cache; memory is what this process may use. Only 32-bit
    floats are measured.

    Args:
        name: the words to show for it.
        n_threads: cores to use; all that are available when None.
        rounds: of each measurement; the best one counts.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if ``n_threads`` or ``rounds`` is out of range.
    """
    n = machine.available_cores() if n_threads is None else checks.integer("n_threads", n_threads, low=1, high=1024)
    with threads(n):
        rate, bandwidth = speed.matmul_rate(rounds=rounds), speed.read_bandwidth(rounds=rounds)
    return Device(
        id="measured",
        name=name,
        kind="cpu",
        year=0,
        flops_per_s={"fp32": rate},
        bandwidth_b_per_s=bandwidth,
        memory_b=float(machine.memory_limit_bytes()),
        power_w=None,
        confidence="measured",
    )


@dataclass(frozen=True)
class Prediction:
    """A decoding step of a real model: predicted from two small measurements, and measured.

    Attributes:
        bytes_moved: weights and cache that a step reads [B].
        matvec_b_per_s: how fast a large matrix of the model's width times a vector gets its weights [B/s].
        overhead_s: a step of as many layers without weights to speak of [s].
        predicted_s: ``overhead_s + bytes_moved / matvec_b_per_s``.
        measured_s: a step of the real model [s].

    Raises:
        TypeError: if a field is no number.
        ValueError: if a field but ``overhead_s`` is not above 0, or one is NaN or infinite.
    """

    bytes_moved: float
    matvec_b_per_s: float
    overhead_s: float
    measured_s: float

    def __post_init__(self) -> None:
        for name in ("bytes_moved", "matvec_b_per_s", "measured_s"):
            checks.number(name, getattr(self, name), above=0)
        checks.number("overhead_s", self.overhead_s)  # noise can take a difference of two times below 0

    @property
    def predicted_s(self) -> float:
        """What the two small measurements add up to [s]."""
        return self.overhead_s + self.bytes_moved / self.matvec_b_per_s

    @property
    def error(self) -> float:
        """Predicted over measured time, minus 1: below 0 the real model is slower than predicted."""
        return self.predicted_s / self.measured_s - 1


def tiny_twin(model: Any) -> Any:
    """A model with the same layers, heads and code, and next to no weights: what it takes is the framework's own time.

    Args:
        model: a transformers model of the Llama family.

    Raises:
        TypeError: if ``model`` has no ``config``.
    """
    if not hasattr(model, "config"):
        raise TypeError(f"model={model!r} is {type(model).__name__}: give a transformers model")
    config = copy.deepcopy(model.config)
    for name, value in TINY.items():
        setattr(config, name, value)
    config.hidden_size = TINY["head_dim"] * config.num_attention_heads
    config.pad_token_id = None
    return type(model)(config).eval()


@torch.no_grad()
def predict_decode(model: Any, input_ids: Tensor, *, n_threads: int = 1, rounds: int = 5) -> Prediction:
    """Predict a decoding step of a model in 32-bit floats, and measure it, in turn; the median round counts.

    One thread is the default: on a machine that is shared, threads wait for each other longer than they work.

    Args:
        model: a transformers model whose weights are 32-bit floats.
        input_ids: `(1, S)`, the text to go on with.
        n_threads: cores to use.
        rounds: of all three measurements.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the weights are not 32-bit floats, the ids are not one text, or a number is out of range.
    """
    n_threads = checks.integer("n_threads", n_threads, low=1, high=1024)
    rounds = checks.integer("rounds", rounds, low=1, high=10_000)
    if not isinstance(model, nn.Module):
        raise TypeError(f"model={model!r} is {type(model).__name__}: give a transformers model")
    speed.checked_ids("input_ids", input_ids, one=True)
    kinds = {p.dtype for p in model.parameters()}
    if kinds != {torch.float32}:
        raise ValueError(f"the model holds {kinds}: expected torch.float32 only; convert it with model.float()")
    shape = TransformerShape.from_config(model.config)
    tiny, width = tiny_twin(model), shape.d_model
    matrix = torch.full((2**26 // (4 * width) * 2, width), 0.5)  # 134 MB: no cache holds it
    vector = torch.ones(1, width)
    works = {
        "matrix": lambda: nn.functional.linear(vector, matrix),
        "tiny first": lambda: speed.run_decode(tiny, input_ids % TINY["vocab_size"], 1),
        "tiny": lambda: speed.run_decode(tiny, input_ids % TINY["vocab_size"], 1 + N_NEW),
        "first": lambda: speed.run_decode(model, input_ids, 1),
        "all": lambda: speed.run_decode(model, input_ids, 1 + N_NEW),
    }
    with threads(n_threads):
        times = speed.interleave(works, rounds=rounds)
    time_s = times.groupby("work")["time_s"].median()
    context = input_ids.shape[1] + N_NEW // 2
    return Prediction(
        bytes_moved=float(decode(shape, context=context, format="fp32").bytes_moved),
        matvec_b_per_s=matrix.nbytes / time_s["matrix"],
        overhead_s=(time_s["tiny"] - time_s["tiny first"]) / N_NEW,
        measured_s=(time_s["all"] - time_s["first"]) / N_NEW,
    )
