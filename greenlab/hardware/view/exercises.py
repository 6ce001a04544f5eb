"""Chapter 2's exercises: the roof, the batch that reaches the ridge, the chips, the cycles; hints name the slip."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from greenlab.hardware import device
from greenlab.lab.exercises import exercise


def _roof(intensity, peak_flops_per_s, bandwidth_b_per_s):  # type: ignore[no-untyped-def]
    return min(peak_flops_per_s, bandwidth_b_per_s * intensity)


def _works(random: Random) -> tuple[float, ...]:
    peak, bandwidth = random.uniform(50, 1000), random.uniform(1, 50)
    return peak / bandwidth * 10 ** random.uniform(-2, 2), peak, bandwidth  # on both sides of the ridge


@exercise(
    "hardware-roof",
    reference=_roof,
    inputs=_works,
    difficulty="easy",
    minutes=5,
    hints=("Two limits hold at once; the tighter one counts.",),
)
def _(answer: Any) -> str | None:
    """The lower of two limits: what the units can compute, and what the memory can feed them."""
    low, high = answer(2.0, 100.0, 10.0), answer(50.0, 100.0, 10.0)
    if (low, high) == (100.0, 500.0):
        return "you take the higher of the two limits; a chip must obey both"
    if low == 5.0 or high == 0.2:
        return "bandwidth times intensity gives FLOP/s: check the units, B/s times FLOP/B"
    if high == 500.0:
        return "at intensity 50 the memory could feed 500 FLOP/s, but the units stop at 100"
    if low == 100.0:
        return "at intensity 2 the memory feeds 20 FLOP/s only, however fast the units are"
    if not (math.isclose(low, 20.0) and math.isclose(high, 100.0)):
        return f"at intensity 2 and 50 yours gives {low:g} and {high:g}, not 20 and 100"
    return None


def _batch() -> int:
    return math.ceil(device("h100-sxm5-80gb").ridge("bf16"))


@exercise(
    "hardware-batch",
    worked=_batch,
    difficulty="medium",
    minutes=10,
    hints=("FLOPs for each weight and sequence: 2. Bytes for each weight, once for the batch: 2.",),
)
def _(answer: Any) -> str | None:
    """At two FLOPs and two bytes a weight, the intensity of decoding is the batch: it must reach the ridge."""
    got, right = float(answer), _batch()
    if abs(got - right / 2) <= 1:
        return "a multiply-add is two FLOPs, and a 16-bit weight two bytes: the twos cancel, yours are counted once"
    if abs(got - 2 * right) <= 2:
        return "each weight gives two FLOPs a sequence, not one: you need half as many sequences"
    if got == 1:
        return "with one sequence each weight is read for a single multiply-add: that is one FLOP a byte"
    if right - 1 <= got < right:
        return f"{got:g}: there the chip still waits for memory, by a hair; give the first whole batch beyond the ridge"
    return None if got == right else f"{got:g}: divide the peak rate by the bandwidth; the ridge is the batch"


def _chips(parameters, bits, memory_gb):  # type: ignore[no-untyped-def]
    return math.ceil(parameters * bits / 8 / (memory_gb * 1e9))


def _models(random: Random) -> tuple[float, ...]:
    return 10 ** random.uniform(9, 12), random.choice((1.58, 2, 4, 8, 16, 32)), random.uniform(0.2, 20)


@exercise("hardware-chips", reference=_chips, inputs=_models, difficulty="easy", minutes=5)
def _(answer: Any) -> str | None:
    """Bytes of the weights over bytes of a chip, rounded up: 305 LPUs at 8 bits hold what two H100 hold at 16."""
    got = answer(70e9, 8, 0.23)
    if abs(got - 70 * 8 / 0.23) < 1:
        return "those are bits over bytes: a byte has eight bits"
    if 304 <= got < 305:
        return "there is no part of a chip: round up"
    if got == 609:
        return "use the bits that are given; 609 chips are for 16 bits"
    if got != 305 or answer(70e9, 16, 80) != 2:
        return f"for 70e9 parameters at 8 bits and 0.23 GB yours gives {got:g}: compare bytes with bytes (1 GB = 1e9 B)"
    if answer(80e9, 8, 80) != 1:
        return "80e9 parameters at 8 bits fit exactly into 80 GB: one chip, not two"
    return None


def _cycles(m, k, n):  # type: ignore[no-untyped-def]
    return m + k + n - 2


def _sizes(random: Random) -> tuple[int, ...]:
    return random.randint(1, 40), random.randint(1, 40), random.randint(1, 40)


@exercise(
    "hardware-cycles",
    reference=_cycles,
    inputs=_sizes,
    difficulty="hard",
    minutes=10,
    hints=("Follow the last row: when does it enter the last row of cells, and when does it leave the last column?",),
)
def _(answer: Any) -> str | None:
    """The last sum leaves after m + k + n - 2 cycles: the batch, and the way down and across."""
    got, one = answer(3, 4, 5), answer(1, 1, 1)
    if got in (60, 180):
        return "the cells work at the same time: the product of the sizes counts multiplications, not cycles"
    if got == 3:
        return "that is the batch alone; the first sum still has to cross the array"
    if one == 3 or got == 12:
        return "one cell and one number take one cycle, yours counts three: the way across has k - 1 and n - 1 steps"
    if (got, one) != (10, 1):
        return f"m, k, n = 3, 4, 5 takes 10 cycles and 1, 1, 1 takes 1; yours gives {got:g} and {one:g}"
    return None


def _step_s(batch, weights_b, cache_b, flops, peak_flops_per_s, bandwidth_b_per_s):  # type: ignore[no-untyped-def]
    arithmetic_s = batch * flops / peak_flops_per_s
    memory_s = (weights_b + batch * cache_b) / bandwidth_b_per_s
    return max(arithmetic_s, memory_s)


def _step_s_with_bug(batch, weights_b, cache_b, flops, peak_flops_per_s, bandwidth_b_per_s):  # type: ignore[no-untyped-def]
    arithmetic_s = batch * flops / peak_flops_per_s
    memory_s = batch * (weights_b + cache_b) / bandwidth_b_per_s
    return max(arithmetic_s, memory_s)


def _steps(random: Random) -> tuple[float, ...]:
    """On both sides of the ridge: the peak is drawn so that arithmetic and memory take about as long."""
    batch, weights, cache, bandwidth = random.randint(2, 64), random.uniform(1, 9), random.uniform(0.1, 2), 2.0
    flops = random.uniform(1, 9)
    balance = batch * flops * bandwidth / (weights + batch * cache)
    return batch, weights, cache, flops, balance * 10 ** random.uniform(-1, 1), bandwidth


@exercise(
    "hardware-find-the-bug",
    reference=_step_s,
    inputs=_steps,
    bug=_step_s_with_bug,
    difficulty="medium",
    minutes=8,
    hints=("Which of the bytes are read once for the whole batch, and which once for each sequence?",),
)
def _(answer: Any) -> str | None:
    """The weights are read once for a batch, each sequence's cache once for itself."""
    alone, many = answer(1, 100.0, 1.0, 1.0, 1e9, 1.0), answer(10, 100.0, 1.0, 1.0, 1e9, 1.0)
    if math.isclose(many, 10 * alone):
        return "ten sequences take ten times as long as one, so a batch gains nothing: what is read only once?"
    if math.isclose(many, 101):
        return "each sequence has a cache of its own: ten sequences read ten of them"
    return None
