"""The paper's tables from formulas: memory, throughput and energy of LLaMA-shaped models with ternary weights.

Nothing is measured here. The sizes are those of Ma et al. (arXiv:2402.17764); 3B after the authors' FAQ (2024), 7B to
70B those of LLaMA and Llama 2, 1.3B from memory (unverified). The paper's own numbers stand in
data/facts/constants.csv.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from greenlab.core import checks, facts
from greenlab.core.model import cost
from greenlab.core.model.cost import TransformerShape

SHAPES = {
    "1.3B": TransformerShape(24, 2048, 32, 32, 64, 5460, 32000),
    "3B": TransformerShape(26, 3200, 32, 32, 100, 8640, 32000),
    "7B": TransformerShape(32, 4096, 32, 32, 128, 11008, 32000),
    "13B": TransformerShape(40, 5120, 40, 40, 128, 13824, 32000),
    "70B": TransformerShape(80, 8192, 64, 8, 128, 28672, 32000),
}
UNVERIFIED = ("1.3B",)
SCOPES = ("all", "feed_forward")
LOG2_3 = float(np.log2(3))


def _check_shape(shape: TransformerShape) -> None:
    if not isinstance(shape, TransformerShape):
        raise TypeError(f"shape is {type(shape).__name__}: give a TransformerShape, such as SHAPES['3B']")


def stored_bytes(shape: TransformerShape, bits: float, scope: str = "all") -> float:
    """Bytes of the weights when ``bits`` are stored for each weight of the ternary layers, and 16 for all others.

    Args:
        shape: of the model.
        bits: above 0 and at most 64: 16 for the float model, 2 as the paper packs, 1.6 in base 3, log2(3) at best.
        scope: which layers are ternary: ``"all"`` linear layers of a block, as in the paper, or ``"feed_forward"``
            only.

    Returns:
        Bytes [B].

    Raises:
        TypeError: if ``shape`` is no `TransformerShape`, ``bits`` no number, or ``scope`` no text.
        ValueError: if ``bits`` or ``scope`` are not allowed.

    >>> round(stored_bytes(SHAPES["3B"], 16) / 1e9, 2), round(stored_bytes(SHAPES["3B"], 2) / 1e9, 2)
    (6.85, 1.22)
    """
    _check_shape(shape)
    checks.number("bits", bits, above=0, high=64)
    checks.one_of("scope", scope, SCOPES)
    whole = cost.weight_bytes(shape, bits)
    attention = shape.n_layers * shape.attention_weights
    return whole if scope == "all" else whole + attention * (16 - bits) / 8


def runtime_bytes(shape: TransformerShape) -> float:
    """Memory beside the weights [B]: what the paper's LLaMA 3B needs beyond them, in proportion to the width.

    One number is taken from the paper (7.89 GB at 3B); that buffers grow with the width is our assumption.

    Raises:
        TypeError: if ``shape`` is no `TransformerShape`.
    """
    _check_shape(shape)
    known = SHAPES["3B"]
    beside = facts.value("bitnet-3b-memory-fp16") * 1e9 - stored_bytes(known, 16)
    return beside * shape.d_model / known.d_model


def memory_ratio(shape: TransformerShape, bits: float = 2, scope: str = "all", *, runtime: bool = True) -> float:
    """How many times less memory the ternary model takes (the paper's table 1 and figure 2).

    >>> [round(memory_ratio(SHAPES["3B"], scope=scope), 2) for scope in SCOPES]  # the paper: 3.55
    [3.5, 1.92]

    Args:
        shape: of the model.
        bits: of a ternary weight.
        scope: which layers are ternary (`stored_bytes`).
        runtime: count `runtime_bytes` in both models.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``bits`` or ``scope`` are not allowed.
    """
    checks.flag("runtime", runtime)
    beside = runtime_bytes(shape) if runtime else 0.0
    return (stored_bytes(shape, 16) + beside) / (stored_bytes(shape, bits, scope) + beside)


@dataclass(frozen=True)
class OperationEnergy:
    """Energy of one operation [pJ], and of reading one byte of weights [pJ]; the paper counts no reading."""

    multiply_pj: float = 0.34
    add_pj: float = 0.16
    ternary_add_pj: float = 0.007
    read_pj_per_byte: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            checks.number(name, value, low=0, high=1e6, remedy="picojoules")
        if not self.ternary_add_pj:
            raise ValueError("ternary_add_pj=0: give a number above 0; no addition is free")

    @classmethod
    def of_the_paper(cls) -> OperationEnergy:
        """16-bit floats against 8-bit integer additions in a 7 nm process, from data/facts."""
        names = ("energy-fp16-mul-7nm", "energy-fp16-add-7nm", "energy-int8-add-7nm")
        return cls(*(facts.value(name) for name in names))

    @property
    def matmul_ratio(self) -> float:
        """A float multiply-add over a ternary one: the paper's 71.4."""
        return (self.multiply_pj + self.add_pj) / self.ternary_add_pj


def energy_per_token(
    shape: TransformerShape, energy: OperationEnergy, *, context: int = 512, batch: int = 1, ternary: bool = True
) -> dict[str, float]:
    """Modelled energy of one token [J] by part, after the paper's figure 3, which counts operations and nothing else.

    Ternary layers add only; attention scores and output head stay 16-bit float in either model. Weights are read once
    for a whole batch.

    Args:
        shape: of the model.
        energy: of the operations.
        context: tokens that attention looks back at.
        batch: sequences that share one reading of the weights.
        ternary: False for the float model.

    Returns:
        Joules of ``linear``, ``scores``, ``head`` and ``reading``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``context`` is below 0, or ``batch`` below 1.
    """
    _check_shape(shape)
    if not isinstance(energy, OperationEnergy):
        raise TypeError(f"energy is {type(energy).__name__}: give an OperationEnergy")
    checks.integer("context", context, low=0)
    checks.integer("batch", batch, low=1)
    checks.flag("ternary", ternary)
    flops, multiply_add = cost.flops_per_token(shape, context), energy.multiply_pj + energy.add_pj
    linear = (flops.attention_projections + flops.feed_forward) / 2
    read = stored_bytes(shape, 2 if ternary else 16) - shape.vocab_size * shape.d_model * 2  # one embedding row only
    parts = {
        "linear": linear * (energy.ternary_add_pj if ternary else multiply_add),
        "scores": flops.attention_scores / 2 * multiply_add,
        "head": flops.output_head / 2 * multiply_add,
        "reading": read * energy.read_pj_per_byte / batch,
    }
    return {name: pj * 1e-12 for name, pj in parts.items()}


def energy_ratio(shape: TransformerShape, energy: OperationEnergy, *, context: int = 512, batch: int = 1) -> float:
    """Modelled energy of the float model over that of the ternary one.

    >>> paper = OperationEnergy()
    >>> [round(energy_ratio(SHAPES["70B"], paper, context=context), 1) for context in (256, 512)]  # the paper: 41.2
    [44.4, 36.7]
    >>> round(energy_ratio(SHAPES["70B"], replace(paper, read_pj_per_byte=32)), 1)
    7.8

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``context`` is below 0, or ``batch`` below 1.
    """
    totals = [
        sum(energy_per_token(shape, energy, context=context, batch=batch, ternary=kind).values())
        for kind in (False, True)
    ]
    return totals[0] / totals[1]


__all__ = ["LOG2_3", "SCOPES", "SHAPES", "UNVERIFIED", "OperationEnergy", "energy_per_token", "energy_ratio"]
__all__ += ["memory_ratio", "replace", "runtime_bytes", "stored_bytes"]
