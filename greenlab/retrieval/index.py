"""What all indexes share: a score for each passage, and a table of the best ones with ties in the order of the book."""

from __future__ import annotations

import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.retrieval.corpus import Corpus

MOST_PASSAGES = 1000  # that a search may ask for
LONGEST_QUERY = 10_000  # characters


def checked_query(query: str) -> str:
    """Return a question, or raise.

    Raises:
        TypeError: if ``query`` is no text.
        ValueError: if there is no letter or digit in it, or it is longer than 10,000 characters.
    """
    checks.text("query", query, remedy="the words to look for")
    if not any(letter.isalnum() for letter in query):
        raise ValueError(f"query={query[:80]!r} has no word in it: give the words to look for")
    if len(query) > LONGEST_QUERY:
        raise ValueError(f"query has {len(query):,} characters: give at most {LONGEST_QUERY:,}, a question and no text")
    return query


def checked_query_as(name: str, question: str) -> str:
    """`checked_query` with the name that the argument has where it was given.

    Raises:
        TypeError: as `checked_query`.
        ValueError: as `checked_query`.
    """
    try:
        return checked_query(question)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("query", name, 1)) from None


class Index:
    """Finds passages of a corpus. An index of another kind needs ``scores`` only.

    Args:
        corpus: the passages.

    Raises:
        TypeError: if ``corpus`` is no `Corpus`.
    """

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = checks.instance("corpus", corpus, Corpus, remedy="Corpus.from_book() or Corpus.from_texts(...)")

    def scores(self, query: str) -> np.ndarray:
        """How well each passage fits a question, ``(n_passages,)``; more is better, the unit is the index's own.

        Raises:
            NotImplementedError: where a kind of index does not say how it scores.
        """
        raise NotImplementedError(f"{type(self).__name__} has no scores: give a BM25Index, a StaticIndex, a DenseIndex")

    def _matches(self, query: str) -> tuple[np.ndarray, np.ndarray]:
        """The scores, and which passages have anything to do with the question: those whose score is not 0.

        Returns:
            ``scores`` as `scores` gives them, and a bool for each passage, both ``(n_passages,)``.

        Raises:
            TypeError: if ``query`` is no text.
            ValueError: if there is no word in it.
        """
        scores = self.scores(query)
        return scores, scores != 0

    def search(self, query: str, n: int = 5) -> pd.DataFrame:
        """Return the best passages, the best first; of equals the one that comes first in the corpus.

        Passages with a score of 0 share nothing with the question and are left out. Vectors of an encoder nearly always
        share something: such an index finds passages for any question.

        Args:
            query: the question.
            n: how many at most, 1 to 1,000; fewer if fewer are found.

        Returns:
            One row a passage: rank (from 1), passage (its number in the corpus), score, text, link. No row if nothing
            was found.

        Raises:
            TypeError: if ``query`` is no text or ``n`` no whole number.
            ValueError: if ``query`` has no word in it, or ``n`` is out of range.
        """
        query = checked_query(query)
        n = checks.integer("n", n, low=1, high=MOST_PASSAGES)
        return ranked(self.corpus, *self._matches(query), n)


def best(scores: np.ndarray, n: int) -> np.ndarray:
    """Numbers of the ``n`` highest scores, the highest first; of equals the lower number.

    >>> best(np.array([1.0, 3.0, 3.0, 2.0]), 3)
    array([1, 2, 3])
    """
    n = min(n, len(scores))
    # all that may be among them, ties of the last one included
    every = n == len(scores)
    candidates = np.arange(n) if every else np.flatnonzero(scores >= np.partition(scores, -n)[-n])
    return candidates[np.argsort(-scores[candidates], kind="stable")][:n]


def ranked(corpus: Corpus, scores: np.ndarray, matching: np.ndarray, n: int) -> pd.DataFrame:
    """The table that `Index.search` gives, from a score for each passage and whether it counts as found."""
    candidates = np.flatnonzero(matching)
    found = candidates[best(scores[candidates], n)] if len(candidates) else candidates
    passages = [corpus.passages[i] for i in found]
    return pd.DataFrame(
        {
            "rank": np.arange(1, len(found) + 1),
            "passage": found,
            "score": np.asarray(scores, dtype=np.float64)[found],
            "text": [one.text for one in passages],
            "link": [one.link for one in passages],
        }
    )
