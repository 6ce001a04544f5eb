"""Chapter 2's exercises: the roof, the batch that reaches the ridge, the chips, the cycles; hints name the likely slip."""

from __future__ import annotations

import math
from typing import Any

from greenlab.hardware import attainable, device
from greenlab.hardware.systolic import cycles
from greenlab.lab.exercises import exercise


@exercise("hardware-roof", reference=attainable, difficulty="easy", minutes=5,
          hints=("Two limits hold at once; the tighter one counts.",))  # fmt: skip
def _(answer: Any) -> str | None:
    """The lower of two limits: what the units can compute, and what the memory can feed them."""
    low, high = float(answer(2.0, 100.0, 10.0)), float(answer(50.0, 100.0, 10.0))
    if (low, high) == (100.0, 500.0):
        return "you take the higher of the two limits; a chip must obey both"
    if low == 5.0 or high == 0.2:
        return "bandwidth times intensity gives FLOP/s: check the units, B/s times FLOP/B"
    if high == 500.0:
        return "at intensity 50 the memory could feed 500 FLOP/s, but the units stop at 100"
    if low == 100.0:
        return "at intensity 2 the memory feeds 20 FLOP/s only, however fast the units are"
    return (
        None
        if (low, high) == (20.0, 100.0)
        else f"at intensity 2 and 50 yours gives {low:g} and {high:g}, not 20 and 100"
    )


def _ridge_batch() -> int:
    return math.ceil(device("h100-sxm5-80gb").ridge("bf16"))


@exercise("hardware-batch", reference=_ridge_batch(), difficulty="medium", minutes=10,
          hints=("FLOPs for each weight and sequence: 2. Bytes for each weight, once for the batch: 2.",))  # fmt: skip
def _(answer: Any) -> str | None:
    """At two FLOPs and two bytes a weight, the intensity of decoding is the batch, so the batch must reach the ridge."""
    got, right = float(answer), _ridge_batch()
    if abs(got - right / 2) <= 1:
        return "a multiply-add is two FLOPs, and a 16-bit weight two bytes: the twos cancel, yours are counted once"
    if abs(got - 2 * right) <= 2:
        return "each weight gives two FLOPs a sequence, not one: you need half as many sequences"
    if got == 1:
        return "with one sequence each weight is read for a single multiply-add: that is one FLOP a byte"
    return None if abs(got - right) <= 1 else f"{got:g}: divide the peak rate by the bandwidth; the ridge is the batch"


def _chips(parameters: float, bits: float, memory_gb: float) -> int:
    return math.ceil(parameters * bits / 8 / (memory_gb * 1e9))


@exercise("hardware-chips", reference=_chips, difficulty="easy", minutes=5)
def _(answer: Any) -> str | None:
    """Bytes of the weights over bytes of one chip, rounded up: 305 LPUs at eight bits hold what two H100 hold at sixteen."""
    got = float(answer(70e9, 8, 0.23))
    if got == math.ceil(70 * 8 / 0.23) or abs(got - 70 * 8 / 0.23) < 1e-6:
        return "those are bits over bytes: a byte has eight bits"
    if abs(got - 70 / 0.23) < 1e-6 or got == 304:
        return "there is no part of a chip: round up"
    if got == 609:
        return "use the bits that are given; 609 chips are for 16 bits"
    if got != 305 or float(answer(70e9, 16, 80)) != 2:
        return f"for 70e9 parameters at 8 bits and 0.23 GB yours gives {got:g}: compare bytes with bytes (1 GB = 1e9 B)"
    return None


@exercise(
    "hardware-cycles",
    reference=lambda m, k, n: cycles(m, k, n, rows=k, columns=n),
    difficulty="hard",
    minutes=10,
    hints=("Follow the last row: when does it enter the last row of cells, and when does it leave the last column?",),
)
def _(answer: Any) -> str | None:
    """The last sum leaves after m + k + n - 2 cycles: the batch, and the way down and across."""
    got, one = float(answer(3, 4, 5)), float(answer(1, 1, 1))
    if got in (60, 180):
        return "the cells work at the same time: the product of the sizes counts multiplications, not cycles"
    if got == 3:
        return "that is the batch alone; the first sum still has to cross the array"
    if one == 3 or got == 12:
        return "one cell and one number take one cycle, yours counts three: the way across has k - 1 and n - 1 steps"
    return (
        None
        if (got, one) == (10, 1)
        else f"m, k, n = 3, 4, 5 takes 10 cycles and 1, 1, 1 takes 1; yours gives {got:g} and {one:g}"
    )
