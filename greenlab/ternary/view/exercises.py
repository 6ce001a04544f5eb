"""Chapter 7's exercises: three values, five to a byte, and what a batch hides, each with hints that name the likely slip."""

from __future__ import annotations

from typing import Any

import torch

from greenlab.lab.exercises import exercise
from greenlab.ternary import absmean_quantize
from greenlab.ternary.estimates import SHAPES, weight_bytes


def _ternary(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return absmean_quantize(weight)


@exercise("ternary-absmean", reference=_ternary, difficulty="easy", minutes=8)
def _(answer: Any) -> str | None:
    """Divide by the mean magnitude, round, and cut at one: three values and a scale."""
    weight = torch.tensor([0.9, 0.1, -2.0, 1.0])
    got = answer(weight)
    if not (isinstance(got, tuple) and len(got) == 2):
        return "give back two things: the ternary values and the scale"
    q, gamma = torch.as_tensor(got[0]).float(), float(got[1])
    if abs(gamma - float(weight.mean())) < 1e-6:
        return "the mean of the weights is near 0, as half of them are negative: average their magnitudes"
    if abs(gamma - 2) < 1e-6:
        return "the largest weight as scale makes nearly all others 0: take the mean magnitude"
    if q.abs().max() > 1:
        return "-2 became -2: after rounding, clamp to [-1, 1]"
    if q.tolist() == [1, 1, -1, 1]:
        return "0.1 became 1: signs alone are the older, binary BitNet; round, so that small weights become 0"
    if abs(gamma - 1) > 1e-4 or q.tolist() != [1, 0, -1, 1]:
        return (
            f"for (0.9, 0.1, -2.0, 1.0) expected (1, 0, -1, 1) and 1, yours gives {tuple(q.tolist())} and {gamma:.4g}"
        )
    return None


def _pack(trits: list[int]) -> int:
    number = 0
    for trit in trits:
        number = 3 * number + trit + 1
    return number


@exercise("ternary-five-trits", reference=_pack, difficulty="medium", minutes=10)
def _(answer: Any) -> str | None:
    """Five digits of base 3 make a number below 243, which fits a byte: 1.6 bits a weight."""
    largest = int(answer([1, 1, 1, 1, 1]))
    if largest in (121, 341):
        return "a byte has no sign: add 1 first, so that the digits are 0, 1 and 2"
    if largest == 682 or largest > 255:
        return f"five ones give {largest}, beyond a byte: multiply by 3 for each digit, not by 4"
    numbers = {int(answer([a, b, 0, c, 1])) for a in (-1, 0, 1) for b in (-1, 0, 1) for c in (-1, 0, 1)}
    if len(numbers) < 27:
        return "two different lists give the same number: then they cannot be told apart again"
    if largest != 242 or int(answer([-1] * 5)) != 0:
        return f"the numbers should run from 0 to 242; yours give {int(answer([-1] * 5))} and {largest}"
    return None


@exercise("ternary-per-user", reference=(2977 / 176) / (333 / 16), difficulty="easy", minutes=5)
def _(answer: Any) -> str | None:
    """Each of the 176 readers gets fewer tokens a second than each of the 16 did: 0.81 times as many."""
    got = float(answer)
    if abs(got - 2977 / 333) < 0.05:
        return "that is the whole machine's ratio; divide each throughput by the sequences that share it"
    if abs(got - (333 / 16) / (2977 / 176)) < 0.01:
        return "upside down: ternary over float"
    return None if abs(got - (2977 / 176) / (333 / 16)) < 0.01 else f"{got:g}: 2977 / 176 against 333 / 16"


@exercise("ternary-memory", reference=weight_bytes(SHAPES["70B"], 1.6) / 1e9, difficulty="medium", minutes=8)
def _(answer: Any) -> str | None:
    """At 1.6 bits a 70B model takes under 15 GB, its embeddings included."""
    got = float(answer)
    if abs(got - 68.45 * 1.6 / 8) < 0.1:
        return "embedding and output head stay at 16 bits: 2 x 32,000 x 8,192 weights more"
    if abs(got - 68.98 * 1.6 / 8) < 0.1:
        return "not every weight is ternary: embedding and output head keep 16 bits"
    if got > 1000:
        return "give gigabytes: divide by 1e9"
    wanted = weight_bytes(SHAPES["70B"], 1.6) / 1e9
    return (
        None
        if abs(got - wanted) < 0.15
        else f"{got:g} GB: 1.6 bits for the blocks' weights, 16 bits for the rest, over 8"
    )
