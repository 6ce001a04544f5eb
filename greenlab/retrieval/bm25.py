"""BM25: passages that share rare words with the question, with the package bm25s (Lù, arXiv:2407.03618).

The formula is Lucene's (Kamphuis et al., ECIR 2020, table 1): for each word of the question

    ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * length / mean length))

with ``N`` passages of which ``df`` hold the word, ``tf`` times in this one. bm25s computes this for every word and
passage when the index is made, so that a question costs a few additions.
"""

from __future__ import annotations

import re

import bm25s
import numpy as np

from greenlab.core import checks
from greenlab.retrieval.corpus import Corpus
from greenlab.retrieval.index import Index, checked_query

K1, B = 0.9, 0.4  # those of Anserini (Yang, Fang and Lin 2017); better than 1.5, 0.75 on the half for tuning
_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:\d+)?")  # 1,287 and 0.431 stay whole, H100 too
_ASKING = "what which who whom whose when where why how does do did has have had can could would should much many"
STOPWORDS = frozenset(bm25s.stopwords.STOPWORDS_EN) | frozenset(_ASKING.split())


_ENDINGS = ("ations", "ation", "ings", "ing", "edly", "ed", "ely", "ly", "ers", "er", "ies", "es", "s", "e", "y")
_SHORTEST_STEM = 3


def words(text: str) -> list[str]:
    """The words that count: small letters, no stop words, without their ending.

    >>> words("How many GPUs did the training of 1,287 MWh take?")
    ['gpu', 'train', '1,287', 'mwh', 'tak']

    Raises:
        TypeError: if ``text`` is no text.
    """
    found = (word for word in _WORD.findall(checks.text("text", text).lower()) if word not in STOPWORDS)
    return [stem(word) for word in found]


def stem(word: str) -> str:
    """A word without its ending, so that prune, pruned and pruning are one; a light stemmer of our own.

    >>> [stem(word) for word in ("prune", "pruned", "pruning", "layers", "gas", "h100")]
    ['prun', 'prun', 'prun', 'lay', 'gas', 'h100']

    Raises:
        TypeError: if ``word`` is no text.
    """
    if checks.text("word", word).isalpha():
        for ending in _ENDINGS:
            if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
                return word[: -len(ending)]
    return word


class BM25Index(Index):
    """Finds passages by the words that they share with the question.

    Args:
        corpus: the passages; title and text are indexed.
        k1: how fast a repeated word stops counting, 0 to 10.
        b: how much long passages are held back, 0 to 1.

    Raises:
        TypeError: if ``corpus`` is no `Corpus` or a number no number.
        ValueError: if a number is out of range.

    >>> index = BM25Index(Corpus.from_texts({"a": "The cat sat.", "b": "A dog ran."}))
    >>> index.search("dogs?", 1)["text"].tolist()
    ['A dog ran.']
    """

    def __init__(self, corpus: Corpus, *, k1: float = K1, b: float = B) -> None:
        super().__init__(corpus)
        k1, b = checks.number("k1", k1, low=0, high=10), checks.number("b", b, low=0, high=1)
        self.bm25 = bm25s.BM25(k1=k1, b=b, method="lucene", backend="numpy")
        self.bm25.index([words(one.with_title) or [""] for one in corpus], show_progress=False)

    def scores(self, query: str) -> np.ndarray:
        """BM25 of each passage, ``(n_passages,)``; 0 where no word is shared.

        Raises:
            TypeError: if ``query`` is no text.
            ValueError: if there is no word in it.
        """
        known = self.bm25.get_tokens_ids(words(checked_query(query)))
        if not known:
            return np.zeros(len(self.corpus), dtype=np.float32)
        return self.bm25.get_scores_from_ids(known)
