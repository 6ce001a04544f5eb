"""Chapter 5's exercises: the speed-up, the lazy predictor, and three mistakes that public code makes."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import torch
from torch import Tensor, arange

from greenlab.lab.exercises import exercise


def _speedup(capacity, every, scores):  # type: ignore[no-untyped-def]
    linear = (every - 1 + capacity) / every
    attention = (every - 1 + capacity**2) / every
    return 1 / ((1 - scores) * linear + scores * attention)


def _budgets(random: Random) -> tuple[float, int, float]:
    return random.uniform(0.02, 1), random.randint(1, 6), random.uniform(0, 0.9)


@exercise(
    "mixture-of-depths-speedup",
    reference=_speedup,
    inputs=_budgets,
    difficulty="medium",
    minutes=10,
    hints=("Add up the work of one group of blocks: all but one are dense. Then divide by the number of blocks.",),
)
def _(answer: Any) -> str | None:
    """Half of the blocks stay dense, so an eighth of the tokens gives less than twice the speed."""
    got = float(answer(0.125, 2, 0.0))
    if math.isclose(got, 8, rel_tol=1e-3):
        return "answer(0.125, 2, 0) = 8: only every second block skips; the blocks between do the whole work"
    if math.isclose(got, 1 / 1.78, rel_tol=0.01):
        return "that is the share of the work that is left; the speed-up is one over it"
    if math.isclose(got, 16, rel_tol=1e-3) or math.isclose(got, 2, rel_tol=1e-3):
        return f"answer(0.125, 2, 0) = {got:g}: of two blocks one does everything and the other an eighth: 1.125 of 2"
    if not math.isclose(got, 16 / 9, rel_tol=1e-6):
        return f"answer(0.125, 2, 0) = {got:.4g}: of two blocks one does everything and the other an eighth: 1.125 of 2"
    both = float(answer(0.125, 2, 1.0))
    if math.isclose(both, 16 / 9, rel_tol=1e-6):
        return "the scores shrink twice: fewer queries and, for each of them, fewer keys; capacity times capacity"
    return None


def _always_no() -> float:
    tokens, entering = 5, 1
    return (tokens - entering) / tokens


@exercise(
    "mixture-of-depths-lazy-predictor", worked=_always_no, tolerance=1e-6, difficulty="easy", minutes=3,
    hints=("Of five tokens, how many does it get right?",),
)  # fmt: skip
def _(answer: Any) -> str | None:
    """Four of five tokens stay out, so a predictor that never says yes is right four times of five."""
    got = float(answer)
    if math.isclose(got, 80, rel_tol=0.01):
        return "give a share from 0 to 1, not per cent"
    if math.isclose(got, 0.2, rel_tol=0.01):
        return "that is how often it is wrong: it says no to the one of five tokens that enters"
    if math.isclose(got, 0.875, rel_tol=0.01):
        return "that is for one token of eight; here one of five enters"
    if math.isclose(got, 0.5, rel_tol=0.01):
        return "a coin would be right half of the time; this one always says no, and most tokens do stay out"
    if not 0 <= got <= 1:
        return f"{got:g} is no share: it lies from 0 to 1"
    return None


class _Attend:
    """A small block with its own residual, whose update depends on the tokens' positions, as rotary attention does."""

    def __call__(self, x: Tensor, positions: Tensor) -> Tensor:
        turn = torch.cos(0.7 * positions.to(x.dtype))[:, None]
        return x + 0.5 * turn * x + 0.1 * turn * x.sum(0)

    def __repr__(self) -> str:
        return "block"


def _skip(x, scores, k, block):  # type: ignore[no-untyped-def]
    threshold = scores.sort().values[-k]
    chosen = (scores >= threshold).nonzero().flatten()
    inside = block(x[chosen], chosen)
    return x.index_add(0, chosen, scores[chosen, None] * (inside - x[chosen]))


# A plain arange, not torch.arange: Python compiles the latter in one way where torch is imported beside it and in
# another in a notebook's cell, whose statements are compiled one by one. The untried function would look changed.
def _skip_with_bugs(x, scores, k, block):  # type: ignore[no-untyped-def]
    threshold = scores.sort().values[-k]
    chosen = (scores > threshold).nonzero().flatten()
    inside = block(x[chosen], arange(len(chosen)))
    return x.index_add(0, chosen, scores[chosen, None] * inside)


def _sequences(random: Random) -> tuple[Tensor, Tensor, int, _Attend]:
    n_tokens, width = random.randint(5, 12), random.choice((1, 3, 4))
    generator = torch.Generator().manual_seed(random.randrange(2**31))
    x = torch.randn(n_tokens, width, generator=generator, dtype=torch.float64)
    scores = torch.randn(n_tokens, generator=generator, dtype=torch.float64)
    return x, scores, random.randint(1, n_tokens - 1), _Attend()


def _moved(before: Tensor, after: Tensor) -> list[int]:
    """Positions of the tokens that a block has changed."""
    return (after - before).abs().amax(-1).gt(1e-12).nonzero().flatten().tolist()


@exercise(
    "mixture-of-depths-find-the-bug",
    reference=_skip,
    inputs=_sequences,
    bug=_skip_with_bugs,
    difficulty="hard",
    minutes=15,
    hints=(
        "There are three mistakes, one in each of the last three lines.",
        "What does the block give back for a token: its update, or the token with the update added?",
    ),
)
def _(answer: Any) -> str | None:
    """Exactly k tokens enter, at their own positions, and what they were is counted once."""
    # 4.5 and not 4: with 4 = 0.8 * 5 an answer that loses the residual would leave token 3 as it was.
    x = torch.tensor([[1.0], [2.0], [3.0], [4.5], [5.0], [6.0]], dtype=torch.float64)
    scores = torch.tensor([0.1, 0.9, 0.2, 0.8, 0.3, 0.7], dtype=torch.float64)
    still = answer(x, scores, 3, lambda tokens, positions: tokens)
    if still.shape != x.shape:
        return f"six tokens go in and six come out, of the shape {tuple(x.shape)}; yours is {tuple(still.shape)}"
    moved = _moved(x, answer(x, scores, 3, lambda tokens, positions: tokens + 1))
    if moved == [1, 3]:
        return "of six tokens three should enter, 1, 3 and 5: yours lets in 1 and 3, as the last of the k is left out"
    if moved != [1, 3, 5]:
        return f"of six tokens the three with the best scores should enter, 1, 3 and 5: yours changes {moved}"
    if _moved(x, still) and still[1] < x[1]:
        return (
            "a block that gives back what it was given should change nothing, and yours changes the tokens: what they "
            "were is lost, as the update replaces it and is not added to it"
        )
    if _moved(x, still):
        return (
            "a block that gives back what it was given should change nothing, and yours changes the tokens: what they "
            "were is counted twice, as the block's output holds it already"
        )
    seen: list[Tensor] = []

    def note(tokens: Tensor, positions: Tensor) -> Tensor:
        seen.append(torch.as_tensor(positions))
        return tokens

    answer(x, scores, 3, note)
    if seen and seen[0].tolist() != [1, 3, 5]:
        return f"tokens 1, 3 and 5 keep their places in the text: the block is told the positions {seen[0].tolist()}"
    if not torch.allclose(answer(x, scores, 3, lambda tokens, positions: tokens + 1)[1], x[1] + scores[1]):
        return "the router's score multiplies the update: with an update of 1, token 1 should move by its score, 0.9"
    return None
