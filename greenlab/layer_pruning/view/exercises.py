"""Chapter 6's exercises: the distance, the speed-up, the memory, each with hints that name the likely slip."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import torch

from greenlab.lab.exercises import exercise


def _angular_distance(a, b):  # type: ignore[no-untyped-def]
    cosine = torch.cosine_similarity(a, b, dim=-1)
    return torch.arccos(cosine.clamp(-1, 1)) / torch.pi


def _vectors(random: Random) -> tuple[torch.Tensor, torch.Tensor]:
    shape = random.choice(((5,), (3, 4), (4, 4), (2, 3, 5)))
    generator = torch.Generator().manual_seed(random.randrange(2**31))
    a, b = torch.randn(2, *shape, generator=generator)
    return a * random.uniform(0.1, 10), b + 0.3 * random.choice((-1, 0, 1)) * a


@exercise(
    "layer-pruning-distance",
    reference=_angular_distance,
    inputs=_vectors,
    tolerance=1e-5,  # of numbers in 32 bits
    difficulty="easy",
    minutes=5,
)
def _(answer: Any) -> str | None:
    """Right angles are half a turn's half: 0.5, and equal vectors are 0 even when rounding pushes the cosine past 1."""
    right = float(answer(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])))
    if math.isclose(right, torch.pi / 2, rel_tol=1e-3) or math.isclose(right, 90, rel_tol=1e-3):
        unit = "radians" if right < 2 else "degrees"
        return f"two vectors at a right angle give {right:.4g} {unit}: divide the angle by pi, or half a turn, for 0.5"
    if right == 0 or math.isclose(right, 1, rel_tol=1e-3):
        return f"two vectors at a right angle give {right:.4g}, the cosine itself: take the arc cosine, divide by pi"
    if math.isclose(right, 0.25, rel_tol=1e-3):
        return "two vectors at a right angle give 0.25: divide by half a turn (pi), not by a whole one"
    one = torch.full((3,), 0.1)
    return _hint_on_parallel(answer, one) or _hint_on_parallel(answer, _parallel()) or _hint_on_right_angle(right)


def _hint_on_right_angle(right: float) -> str | None:
    return None if abs(right - 0.5) < 1e-5 else f"two vectors at a right angle should give 0.5, yours gives {right:.4g}"


def _hint_on_parallel(answer: Any, vectors: torch.Tensor) -> str | None:
    """Multiples of the same vectors: distance 0, and 1 for negative multiples."""
    same = torch.as_tensor(answer(vectors * 3, vectors * 7))
    if same.shape != vectors.shape[:-1]:
        shape = tuple(vectors.shape)
        return f"for {shape} and {shape} give one distance a row, not the shape {tuple(same.shape)}"
    if bool(same.isnan().any()):
        return "two vectors of one direction give NaN: rounding puts the cosine just above 1; clamp it to [-1, 1]"
    if float(same.max()) > 1e-3:
        return (
            f"two vectors of one direction should give 0, yours gives {float(same.max()):.4g}: lengths must not matter"
        )
    opposite = torch.as_tensor(answer(vectors * 3, vectors * -7))
    if bool(opposite.isnan().any()):
        return "opposite vectors give NaN: rounding puts the cosine just below -1; clamp it on this side as well"
    if float(opposite.min()) < 1 - 1e-3:
        return f"opposite vectors are as far apart as can be, 1; yours gives {float(opposite.min()):.4g}"
    return None


def _parallel() -> torch.Tensor:
    """Vectors whose cosine with a multiple of themselves is rounded to more than 1, for some of them."""
    return torch.linspace(0.1, 2.0, 64)[:, None] * torch.tensor([1.0, 1.0, 1.0])


def _speedup(n_dropped):  # type: ignore[no-untyped-def]
    layer, head = 3_540_096, 28_311_552
    return (30 * layer + head) / ((30 - n_dropped) * layer + head)


def _cuts(random: Random) -> tuple[int]:
    return (random.randint(0, 29),)


@exercise(
    "layer-pruning-speedup",
    reference=_speedup,
    inputs=_cuts,
    tolerance=1e-4,  # the norms, which the question leaves out, change less
    difficulty="medium",
    minutes=10,
)
def _(answer: Any) -> str | None:
    """The output head stays, so dropping a fifth of the layers gives less than a fifth more speed."""
    got, want = answer(6), _speedup(6)
    if abs(got - 30 / 24) < 0.005:
        return "30/24 forgets the output head: 28.3 of the 134.5 million weights are read for every token and stay"
    if got < 1:
        return f"a smaller model is faster: {got:.3f} is below 1, so the ratio is upside down"
    if abs(got - want) > 0.01:
        return f"answer(6) = {got:.3f}: count bytes read for a token before and after, layers and head, and divide"
    return None


def _memory_gb() -> float:
    tables = 2 * 32_000 * 8_192
    layers = 68.98e9 - tables
    return (layers / 2 + tables) * 4 / 8 / 1e9


@exercise("layer-pruning-memory", worked=_memory_gb, tolerance=0.0025, difficulty="easy", minutes=5)
def _(answer: Any) -> str | None:
    """Half the layers at four bits, the embeddings at four bits too: about an eighth of 138 GB."""
    got = float(answer)
    if 130 < got < 145:
        return "that is the whole model at 16 bits"
    if 33 < got < 36:
        return "that is four bits for all eighty layers; half of them are gone"
    if 68 < got < 71:
        return "that is half the layers at 16 bits; store each weight in four"
    if 17.2 < got < 17.3:
        return "half of all weights is a little less than is left: the two tables belong to no layer, and stay whole"
    if 16.9 < got < 17.2:
        return "the two tables stay as well, at four bits: 2 x 32,000 x 8,192 weights"
    if not 17.3 < got < 17.45:
        return (
            f"{got:g} GB: of the 68.98 billion weights, half of the layers' and all of the tables', times half a byte"
        )
    return None


def _drop_block(layers, start, n):  # type: ignore[no-untyped-def]
    return layers[:start] + layers[start + n :]


def _drop_block_with_bug(layers, start, n):  # type: ignore[no-untyped-def]
    kept = list(layers)
    for position in range(start, start + n):
        del kept[position]
    return kept


def _stacks(random: Random) -> tuple[list[int], int, int]:
    depth = random.randint(6, 30)
    n = random.randint(0, depth // 2)
    return random.sample(range(100), depth), random.randint(0, depth - n), n


@exercise(
    "layer-pruning-find-the-bug",
    reference=_drop_block,
    inputs=_stacks,
    bug=_drop_block_with_bug,
    difficulty="easy",
    minutes=5,
    hints=("Write down the list after the first layer is gone: which layer stands at the next position?",),
)
def _(answer: Any) -> str | None:
    """After each deletion the later layers move up by one, so positions that were counted before are stale."""
    got = answer([10, 11, 12, 13, 14, 15, 16, 17], 2, 3)
    if got == [10, 11, 13, 15, 17]:
        return "of layers 10 to 17, cutting three from position 2 leaves 10, 11, 13, 15, 17: every second one went"
    if got == [12, 13, 14]:
        return "those are the layers to cut; give back the others"
    if len(got) != 5:
        return f"of eight layers five stay when three are cut, yours leaves {len(got)}"
    return None
