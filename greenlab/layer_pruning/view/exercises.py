"""Chapter 6's exercises: the distance, the speed-up, the memory, each with hints that name the likely slip."""

from __future__ import annotations

from typing import Any

import torch

from greenlab.core.model import cost
from greenlab.lab.exercises import exercise


def _angular(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.arccos(torch.cosine_similarity(a, b, dim=-1).clamp(-1, 1)) / torch.pi


@exercise("layer-pruning-distance", reference=_angular, difficulty="easy", minutes=5)
def _(answer: Any) -> str | None:
    """Right angles are half a turn's half: 0.5, and equal vectors are 0 even when rounding pushes the cosine past 1."""
    right = answer(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]))
    if abs(float(right) - 0.5) > 1e-6:
        return f"two vectors at a right angle should give 0.5, yours gives {float(right):.4g}: divide the angle by pi"
    x = torch.full((3,), 0.1)
    same = float(answer(x * 3, x * 7))
    if same != same:
        return "two vectors of one direction give NaN: rounding puts the cosine just above 1; clamp it to [-1, 1]"
    if same > 1e-3:
        return f"two vectors of one direction should give 0, yours gives {same:.4g}: lengths must not matter"
    batch = answer(torch.eye(3), torch.eye(3).flip(0))
    return (
        None
        if batch.shape == (3,)
        else f"for (3, 3) and (3, 3) give one distance a row, shape (3,), not {tuple(batch.shape)}"
    )


def _speedup(n_dropped: int) -> float:
    shape = cost.TransformerShape(30, 576, 9, 3, 64, 1536, 49152, tied_embeddings=True)
    return float(cost.predicted_speedup(shape, n_dropped, phase="decode", n_tokens=0))


@exercise("layer-pruning-speedup", reference=_speedup, difficulty="medium", minutes=10)
def _(answer: Any) -> str | None:
    """The output head stays, so dropping a fifth of the layers gives less than a fifth more speed."""
    got, want = float(answer(6)), _speedup(6)
    if abs(got - 30 / 24) < 0.005:
        return "30/24 forgets the output head: 28.3 of the 134.5 million weights are read for every token and stay"
    if got < 1:
        return f"a smaller model is faster: {got:.3f} is below 1, so the ratio is upside down"
    if abs(got - want) > 0.01 or abs(float(answer(12)) - _speedup(12)) > 0.01:
        return f"answer(6) = {got:.3f}: count bytes read for a token before and after, layers and head, and divide"
    return None


@exercise("layer-pruning-memory", reference=17.2, difficulty="easy", minutes=5)
def _(answer: Any) -> str | None:
    """Half the layers at four bits, the rest of the weights at four bits too: about an eighth of 138 GB."""
    got = float(answer)
    if 130 < got < 145:
        return "that is the whole model at 16 bits"
    if 33 < got < 36:
        return "that is four bits for all eighty layers; half of them are gone"
    if 68 < got < 71:
        return "that is half the layers at 16 bits; store each weight in four"
    return (
        None
        if 17.0 <= got <= 18.3
        else f"{got:g} GB: half of the 68.98 billion weights, times half a byte, in units of 1e9 bytes"
    )
