"""Chapter 8's exercises: BM25 on three passages, recall, joules of a right answer, pooling that counts padding."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import torch

from greenlab.lab.exercises import exercise

PASSAGES = (("memory", "is", "slow"), ("memory", "costs", "memory", "and", "joules"), ("joules", "add", "up"))
WORDS = ("memory", "joules", "token", "layer", "grid", "router", "weight", "cache")


def _bm25(query, passages, k1, b):  # type: ignore[no-untyped-def]
    n = len(passages)
    mean_length = sum(len(passage) for passage in passages) / n
    df = {word: sum(word in passage for passage in passages) for word in query}
    idf = {word: math.log(1 + (n - df[word] + 0.5) / (df[word] + 0.5)) for word in query}
    scores = []
    for passage in passages:
        held_back = k1 * (1 - b + b * len(passage) / mean_length)
        scores.append(sum(idf[word] * passage.count(word) / (passage.count(word) + held_back) for word in query))
    return scores


def _three_passages(random: Random) -> tuple[list[str], list[list[str]], float, float]:
    passages = [[random.choice(WORDS) for _ in range(random.randint(3, 12))] for _ in range(3)]
    query = random.sample(WORDS, random.randint(1, 3))
    return query, passages, random.choice((0.9, 1.2, 1.5, 2.0)), random.choice((0.3, 0.5, 0.75, 0.9))


@exercise(
    "retrieval-bm25",
    reference=_bm25,
    inputs=_three_passages,
    difficulty="medium",
    minutes=12,
    hints=("Take the passages one by one, and for each the words of the query one by one.",),
)
def _(answer: Any) -> str | None:
    """A rare word counts more, a repeated one less and less, a long passage is held back."""
    passages = [list(passage) for passage in PASSAGES]
    got, want = answer(["memory"], passages, 1.5, 0.75), _bm25(["memory"], passages, 1.5, 0.75)
    if not isinstance(got, list) or len(got) != 3:
        return "give a list with one score for each of the three passages"
    got = [float(score) for score in got]
    if abs(got[2]) > 1e-9:
        return f"a passage without a word of the query scores 0, yours gives {got[2]:.4g}"
    if got[1] and abs(got[0] / got[1] - 0.5) < 1e-6:  # a score of 0 is told below
        return "two times the word is not twice the score: divide tf by tf + k1 (...)"
    if abs(got[0] / 2.5 - want[0]) < 1e-6:
        return "that has the factor k1 + 1 of older papers above the line; Lucene leaves it out, as it changes no rank"
    flat = _bm25(["memory"], [passage[:3] for passage in passages], 1.5, 0.75)
    if abs(got[0] - flat[0]) < 1e-6:
        return "the length of the passage is missing: 1 - b + b * length / mean length, under the line"
    plain = math.log((3 - 2 + 0.5) / (2 + 0.5))
    if got[0] < 0 and abs(got[0] / want[0] - plain / math.log(1 + 1.5 / 2.5)) < 1e-6:
        return "a word in two of three passages counts negatively: put 1 + before the fraction inside the logarithm"
    wrong = next((i for i in range(3) if abs(got[i] - want[i]) > 1e-6), None)
    if wrong is not None:
        return f"query 'memory': passage {wrong} should get {want[wrong]:.4f}, yours gets {got[wrong]:.4f}"
    return None


def _recall(found, relevant, k):  # type: ignore[no-untyped-def]
    hits = [any(number in relevant[i] for number in numbers[:k]) for i, numbers in enumerate(found)]
    return sum(hits) / len(hits)


def _searches(random: Random) -> tuple[list[list[int]], list[list[int]], int]:
    n = random.randint(4, 9)
    found = [random.sample(range(12), 6) for _ in range(n)]
    relevant = [random.sample(range(12), random.randint(1, 3)) for _ in range(n)]
    return found, relevant, random.randint(1, 5)


@exercise(
    "retrieval-recall",
    reference=_recall,
    inputs=_searches,
    difficulty="easy",
    minutes=6,
    hints=("For one question: is any of the first k numbers among the relevant ones?",),
)
def _(answer: Any) -> str | None:
    """The share of questions for which one of the passages that answer is among the first k."""
    found, relevant = [[4, 7, 1], [2, 3, 9]], [[7], [5]]
    at_1, at_2 = float(answer(found, relevant, 1)), float(answer(found, relevant, 2))
    if at_2 == 1 and at_1 == 0:
        return "that counts hits; give the share of the questions"
    if at_1 == 0.5:
        return "with k=1 only the first passage of each search counts: found[:k]"
    if (at_1, at_2) != (0.0, 0.5):
        return f"two searches, passage 7 is second in one: recall@1 is 0 and recall@2 is 0.5, yours {at_1:g}, {at_2:g}"
    several = float(answer([[4, 7, 1]], [[7, 1, 8]], 3))
    if several != 1:
        return f"one passage that answers is enough, so one search with two of three is 1, yours gives {several:.3g}"
    return None


def _joules_per_correct(energy_j, correct):  # type: ignore[no-untyped-def]
    right = sum(correct)
    return sum(energy_j) / right if right else math.inf


def _answers(random: Random) -> tuple[list[float], list[bool]]:
    n = random.randint(4, 9)
    return [round(random.uniform(2, 30), 2) for _ in range(n)], [random.random() < 0.5 for _ in range(n)]


@exercise(
    "retrieval-joules-per-correct",
    reference=_joules_per_correct,
    inputs=_answers,
    difficulty="easy",
    minutes=5,
    hints=("The joules of a wrong answer were spent as well. Who pays for them?",),
)
def _(answer: Any) -> str | None:
    """All joules over the right answers; without a right answer the price is infinite."""
    got = float(answer([3.0, 5.0, 4.0], [True, False, True]))
    if abs(got - 3.5) < 1e-9:
        return "only the right answers' joules are counted: the wrong one's 5 J were spent as well"
    if abs(got - 4.0) < 1e-9:
        return "that is the mean of all answers; divide by the number of right ones"
    if abs(got - 6.0) > 1e-9:
        return f"12 J and two right answers of three are 6 J each, yours gives {got:.4g}"
    none = float(answer([3.0, 5.0], [False, False]))
    return None if none == math.inf else f"without a right answer give math.inf, yours gives {none:.4g}"


def _mean_pooling(hidden, mask):  # type: ignore[no-untyped-def]
    weight = mask.unsqueeze(-1)
    return (hidden * weight).sum(1) / weight.sum(1)


def _mean_pooling_with_bug(hidden, mask):  # type: ignore[no-untyped-def]
    weight = mask.unsqueeze(-1)
    return hidden.sum(1) / weight.sum(1)


def _padded(random: Random) -> tuple[torch.Tensor, torch.Tensor]:
    rows, tokens, width = random.randint(2, 4), random.randint(3, 7), random.randint(2, 5)
    generator = torch.Generator().manual_seed(random.randrange(2**31))
    hidden = torch.randn(rows, tokens, width, generator=generator, dtype=torch.float64)
    mask = torch.zeros(rows, tokens, dtype=torch.float64)
    for row in range(rows):
        mask[row, : random.randint(1, tokens)] = 1
    return hidden, mask


@exercise(
    "retrieval-find-the-bug",
    reference=_mean_pooling,
    inputs=_padded,
    bug=_mean_pooling_with_bug,
    difficulty="medium",
    minutes=8,
    hints=("Pool a sentence alone, then beside a longer one. Should its vector change?",),
)
def _(answer: Any) -> str | None:
    """A sentence has the same vector alone and in a batch with longer ones."""
    hidden = torch.tensor([[[2.0], [4.0], [99.0]], [[1.0], [3.0], [5.0]]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    got = torch.as_tensor(answer(hidden, mask))
    if got.shape != (2, 1):
        return f"for (2, 3, 1) give one vector a sentence, (2, 1), not {tuple(got.shape)}"
    first, second = (float(value) for value in got[:, 0])
    if (first, second) == (2.0, 1.0):
        return "that is the vector of each sentence's first token; give the mean of all its tokens"
    if (first, second) == (6.0, 9.0):
        return "that is the sum of each sentence's tokens: divide it by their number"
    if first in (35, 52.5):
        return "the padding's 99 is in the mean of the first sentence: multiply with the mask before summing"
    if abs(first - 2) < 1e-6 and abs(second - 3) < 1e-6:
        return "the padding counts as a token: 2 and 4 have the mean 3; divide by the tokens of this sentence, mask.sum"
    if abs(first - 3) > 1e-6 or abs(second - 3) > 1e-6:
        return f"both sentences have the mean 3, yours gives {first:.4g} and {second:.4g}: each has its own count"
    return None
