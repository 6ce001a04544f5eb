"""Several indexes as one: their ranks or scores added up, or the dear one asked only where the cheap one is unsure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from greenlab.core import checks
from greenlab.retrieval.index import Index, best, checked_query

K = 60  # Cormack, Clarke and Büttcher, SIGIR 2009: the value they fixed before their experiments
DEPTH = 100  # ranks of each index that count


class Fusion(Index):
    """Two or more indexes that vote.

    Scores of different indexes cannot be added, as each has a unit of its own. Ranks can: reciprocal rank fusion gives
    each passage the sum of 1 / (k + rank) (Cormack, Clarke and Büttcher, SIGIR 2009, sec. 2). A passage counts for an
    index only if it is among its first ``depth`` and its score is above 0. Ranks forget how sure an index was; by
    scores, each index's are first brought to mean 0 and standard deviation 1 over the corpus, and then added.

    Args:
        indexes: two or more over one corpus.
        by: ``"rank"`` (reciprocal rank fusion) or ``"score"`` (standardised scores).
        k: how little the first ranks stand out, 0 to 10,000; by rank only.
        depth: ranks of each index that count, 1 to 1,000; by rank only.
        weights: how much each index counts; None for equally much.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if there are fewer than two indexes, their texts differ, or a number is out of range.
    """

    def __init__(
        self,
        indexes: Sequence[Index],
        *,
        by: str = "rank",
        k: float = K,
        depth: int = DEPTH,
        weights: Sequence[float] | None = None,
    ) -> None:
        self.indexes = tuple(_of_one_corpus("indexes", checks.several("indexes", indexes)))
        super().__init__(self.indexes[0].corpus)
        self.by = checks.one_of("by", by, ("rank", "score"))
        self.k = checks.number("k", k, low=0, high=10_000)
        self.depth = checks.integer("depth", depth, low=1, high=1000)
        given = np.ones(len(self.indexes)) if weights is None else checks.numbers("weights", weights, above=0, ndim=1)
        if len(given) != len(self.indexes):
            raise ValueError(f"weights holds {len(given)} numbers for {len(self.indexes)} indexes: give one for each")
        self.weights = given

    def scores(self, query: str) -> np.ndarray:
        """What each passage gets from the votes, ``(n_passages,)``: a sum of 1 / (k + rank) or of standardised scores.

        Raises:
            TypeError: if ``query`` is no text.
            ValueError: if there is no word in it.
        """
        return self._matches(query)[0]

    def _matches(self, query: str) -> tuple[np.ndarray, np.ndarray]:
        """As `Index._matches`; what one of the indexes finds is found: a sum of standardised scores may be 0."""
        checked_query(query)
        each = [index._matches(query) for index in self.indexes]
        total = self._sum([scores for scores, _ in each])
        return total, total > 0 if self.by == "rank" else np.any([found for _, found in each], axis=0)

    def _sum(self, each: list[np.ndarray]) -> np.ndarray:
        total = np.zeros(len(self.corpus))
        for scores, weight in zip(each, self.weights, strict=True):
            if self.by == "score":
                spread = float(scores.std())
                total += weight * (scores - scores.mean()) / (spread if spread > 0 else 1.0)
                continue
            first = best(scores, self.depth)
            first = first[scores[first] > 0]
            total[first] += weight / (self.k + np.arange(1, len(first) + 1))
        return total


class Ladder(Index):
    """A cheap index first; the dear one only where the cheap one is not sure.

    The cheap index is sure if its best score leads the second one by a share of ``margin`` or more. This rule is ours.

    Args:
        cheap: such as a `BM25Index`.
        dear: such as a `Fusion`, over the same corpus.
        margin: the lead that is enough, as a share of the best score, 0 (never ask the dear one, unless the cheap one
            finds nothing) to 1.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if the texts differ or ``margin`` is out of range.
    """

    def __init__(self, cheap: Index, dear: Index, *, margin: float = 0.2) -> None:
        self.cheap, self.dear = _of_one_corpus("cheap, dear", [cheap, dear])
        super().__init__(cheap.corpus)
        self.margin = checks.number("margin", margin, low=0, high=1)

    def lead(self, query: str) -> float:
        """By which share the cheap index's best score leads its second one; 0 if it finds nothing.

        Raises:
            TypeError: if ``query`` is no text.
            ValueError: if there is no word in it.
        """
        return _lead(self.cheap.scores(query))

    def asks_dear(self, query: str) -> bool:
        """Whether the dear index is asked for this question.

        Raises:
            TypeError: if ``query`` is no text.
            ValueError: if there is no word in it.
        """
        return self._is_close(self.cheap.scores(query))

    def _is_close(self, scores: np.ndarray) -> bool:
        return float(scores.max()) <= 0 or _lead(scores) < self.margin

    def scores(self, query: str) -> np.ndarray:
        """Scores of the cheap index or, where it is not sure, of the dear one, ``(n_passages,)``, each in its own unit.

        Raises:
            TypeError: if ``query`` is no text.
            ValueError: if there is no word in it.
        """
        return self._matches(query)[0]

    def _matches(self, query: str) -> tuple[np.ndarray, np.ndarray]:
        """As `Index._matches`: what the index that answers says, so that its rule for what is found holds here too."""
        cheap = self.cheap._matches(query)
        return self.dear._matches(query) if self._is_close(cheap[0]) else cheap


def _lead(scores: np.ndarray) -> float:
    first = best(scores, 2)
    top = float(scores[first[0]])
    if top <= 0:
        return 0.0
    return 1.0 if len(first) == 1 else float((top - scores[first[1]]) / top)


def _of_one_corpus(name: str, indexes: list[Index]) -> list[Index]:
    for one in indexes:
        checks.instance(name, one, Index, remedy="indexes such as BM25Index(corpus)")
    if len(indexes) < 2:
        raise ValueError(f"{name} holds {len(indexes)}: give at least two, such as [BM25Index(corpus), ...]")
    hashes = {one.corpus.sha256 for one in indexes}
    if len(hashes) > 1:
        raise ValueError(f"{name}: the indexes were made from different texts: make all from one corpus")
    return indexes
