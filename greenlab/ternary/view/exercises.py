"""Chapter 7's exercises: three values, five to a byte, what a batch hides; hints name the likely slip."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

import torch

from greenlab.lab.exercises import exercise


def _quantize(weight):  # type: ignore[no-untyped-def]
    gamma = weight.abs().mean()
    return (weight / gamma).round().clamp(-1, 1), gamma


def _weights(random: Random) -> tuple[torch.Tensor]:
    shape = random.choice(((16,), (4, 6), (5, 5)))
    generator = torch.Generator().manual_seed(random.randrange(2**31))
    weight = torch.randn(shape, generator=generator) + random.choice((-1, 0, 1))
    return (weight * 10 ** random.uniform(-2, 1),)


@exercise(
    "ternary-absmean",
    reference=_quantize,
    inputs=_weights,
    tolerance=1e-5,  # of numbers in 32 bits
    difficulty="easy",
    minutes=8,
)
def _(answer: Any) -> str | None:
    """Divide by the mean magnitude, round, and cut at one: three values and a scale."""
    weight = torch.tensor([1.8, 0.2, -4.0, 2.0])  # the mean magnitude is 2, so the scaled weights are 0.9, 0.1, -2, 1
    q, gamma = answer(weight)
    gamma = float(gamma)
    if tuple(q.shape) != (4,):
        return f"give one ternary value for each weight, the shape (4,), not {tuple(q.shape)}"
    if abs(gamma - float(weight.mean())) < 1e-6:
        return "the mean of the weights is near 0, as half of them are negative: average their magnitudes"
    if abs(gamma - 4) < 1e-6:
        return "the largest weight as scale makes nearly all others 0: take the mean magnitude"
    if abs(gamma - 2) > 1e-4:
        return f"the mean magnitude of (1.8, 0.2, -4, 2) is 2; your scale is {gamma:.4g}"
    if float(q.abs().max()) > 1:
        return (
            "-2 became -2: after rounding, clamp to [-1, 1]"
            if float(q.abs().max()) == 2
            else "divide by the scale first"
        )
    if q.tolist() == [1, 1, -1, 1]:
        return "0.1 became 1: signs alone are the older, binary BitNet; round, so that small weights become 0"
    if q.tolist() != [1, 0, -1, 1]:
        return f"for (1.8, 0.2, -4, 2) expected (1, 0, -1, 1), yours gives {tuple(q.tolist())}"
    if answer(weight / 10)[0].tolist() != [1, 0, -1, 1]:
        return "weights ten times as small have the same ternary values: divide by the scale before rounding"
    return None


def _to_byte(trits):  # type: ignore[no-untyped-def]
    number = 0
    for trit in trits:
        number = 3 * number + trit + 1
    return number


@exercise("ternary-five-trits", reference=_to_byte, difficulty="medium", minutes=10)
def _(answer: Any) -> str | None:
    """Five digits of base 3 make a number below 243, which fits a byte: 1.6 bits a weight."""
    largest = answer([1, 1, 1, 1, 1])
    if largest in (121, 341):
        return "a byte has no sign: add 1 first, so that the digits are 0, 1 and 2"
    if largest == 682 or largest > 255:
        return f"five ones give {largest}, beyond a byte: multiply by 3 for each digit, not by 4"
    # any numbering is right that gives each of the 243 lists a number of its own, so the reference is not compared
    numbers = [answer(list(trits)) for trits in itertools.product((-1, 0, 1), repeat=5)]
    if len(set(numbers)) < 243:
        return "two different lists give the same number: then they cannot be told apart again"
    if min(numbers) < 0 or max(numbers) > 242:
        return f"the numbers should run from 0 to 242; yours run from {min(numbers)} to {max(numbers)}"
    return None


def _each_gets() -> float:
    return (2977 / 176) / (333 / 16)


@exercise("ternary-per-user", worked=_each_gets, tolerance=0.0025, difficulty="easy", minutes=5)
def _(answer: Any) -> str | None:
    """Each of the 176 readers gets fewer tokens a second than each of the 16 did: 0.813 times as many."""
    got = float(answer)
    if abs(got - 2977 / 333) < 0.05:
        return "that is the whole machine's ratio; divide each throughput by the sequences that share it"
    if abs(got - (333 / 16) / (2977 / 176)) < 0.01:
        return "upside down: ternary over float"
    if abs(got - 0.813) > 0.01:
        return f"{got:g}: 2977 / 176 against 333 / 16"
    return None if abs(got - 0.813) < 0.002 else f"{got:g} is near: give three digits"


def _memory_gb() -> float:
    return (68.45e9 * 1.6 + 2 * 32_000 * 8_192 * 16) / 8 / 1e9


@exercise("ternary-memory", worked=_memory_gb, tolerance=0.003, difficulty="medium", minutes=8)
def _(answer: Any) -> str | None:
    """At 1.6 bits a 70B model takes under 15 GB, its embeddings included."""
    got = float(answer)
    if abs(got - 68.45 * 1.6 / 8) < 0.1:
        return "embedding and output head stay at 16 bits: 2 x 32,000 x 8,192 weights more"
    if abs(got - 68.98 * 1.6 / 8) < 0.1:
        return "not every weight is ternary: embedding and output head keep 16 bits"
    if got > 1000:
        return "give gigabytes: divide by 1e9"
    if abs(got - 14.74) > 0.15:
        return f"{got:g} GB: 1.6 bits for the blocks' weights, 16 bits for the rest, over 8"
    return (
        None
        if abs(got - 14.74) < 0.044
        else f"{got:g} GB is near: both tables count, each at 16 bits; give three digits"
    )


def _int8_codes(values):  # type: ignore[no-untyped-def]
    scale = max(abs(value) for value in values) / 127
    return [round(value / scale) for value in values]


def _int8_codes_with_bug(values):  # type: ignore[no-untyped-def]
    scale = max(values) / 127
    return [round(value / scale) for value in values]


def _activations(random: Random) -> tuple[list[float]]:
    size = 10 ** random.uniform(-2, 2)
    return ([size * random.gauss(0, 1) for _ in range(random.randint(8, 32))],)


@exercise(
    "ternary-find-the-bug",
    reference=_int8_codes,
    inputs=_activations,
    bug=_int8_codes_with_bug,
    difficulty="easy",
    minutes=5,
    hints=("Try (0.5, -2): which numbers can 8 bits with a sign hold?",),
)
def _(answer: Any) -> str | None:
    """The largest magnitude sets the scale: a large negative number must fit as well."""
    got = answer([0.5, -2.0])
    if got == [127, -508]:
        return (
            "for (0.5, -2) yours gives 127 and -508; 8 bits end at -128: the largest value is not the largest magnitude"
        )
    if max(map(abs, got)) > 127:
        return f"for (0.5, -2) yours gives {got}; the codes run from -127 to 127"
    return None
