"""The sentences of a passage that are nearest to the question: less to read for the model, and an answer of their own.

A search finds a passage of some ten sentences; mostly one of them holds the answer. Here the sentences of the passages
that were found are searched once more, with BM25 and without any model (the step from passage to sentence that
systems for open questions take, Chen et al., arXiv:1704.00051, sec. 3, take from article to paragraph).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import bm25s
import numpy as np

from greenlab.core import checks
from greenlab.retrieval.bm25 import K1, B, words
from greenlab.retrieval.corpus import Passage, sentences
from greenlab.retrieval.index import best, checked_query_as

MOST_SENTENCES = 1000
N_NEAREST = 2  # sentences; the half for tuning chose it (data/studies/retrieval/choices.csv)


def sentence_scores(question: str, passages: Sequence[Passage]) -> list[np.ndarray]:
    """BM25 of every sentence of some passages, each passage's as an array; how rare a word is they say themselves.

    Args:
        question: what is looked for.
        passages: whose sentences are compared with it, at least one.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if the question has no word, or there is no passage.

    >>> [(scores > 0).tolist() for scores in sentence_scores("tea?", [Passage("Tea is hot. Ice is not.", "a")])]
    [[True, False]]
    """
    checked_query_as("question", question)
    held = checks.several("passages", passages)
    for one in held:
        checks.instance("passages", one, Passage, remedy="passages of a corpus")
    if not held:
        raise ValueError("passages is empty: give at least one")
    parts = [sentences(one.text) for one in held]
    bm25 = bm25s.BM25(k1=K1, b=B, method="lucene", backend="numpy")
    bm25.index([words(part) or [""] for every in parts for part in every], show_progress=False)
    known = bm25.get_tokens_ids(words(question))
    n_parts = [len(every) for every in parts]
    scores = bm25.get_scores_from_ids(known) if known else np.zeros(sum(n_parts), dtype=np.float32)
    return np.split(scores, np.cumsum(n_parts)[:-1])


def nearest_sentences(question: str, passages: Sequence[Passage], n: int = N_NEAREST) -> list[Passage]:
    """The passages again, each with only the ``n`` sentences that are nearest to the question, in their own order.

    Of sentences that are equally near the earlier one stays. Title, source and link stay as they are.

    Args:
        question: what is looked for.
        passages: to be shortened, at least one.
        n: sentences that stay in each, 1 to 1,000.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if the question has no word, there is no passage, or ``n`` is out of range.

    >>> passage = Passage("Kettles are loud. A kettle draws 2 kW. It is red.", "a")
    >>> nearest_sentences("How much does a kettle draw?", [passage], 1)[0].text
    'A kettle draws 2 kW.'
    """
    n = checks.integer("n", n, low=1, high=MOST_SENTENCES)
    shorter = []
    for passage, scores in zip(passages, sentence_scores(question, passages), strict=True):
        parts = sentences(passage.text)
        shorter.append(replace(passage, text=" ".join(parts[i] for i in sorted(best(scores, n)))))
    return shorter


def quote(question: str, passages: Sequence[Passage], n: int = N_NEAREST) -> tuple[str, int]:
    """Answer with the book's own words, without a model: the sentences that are nearest to the question.

    Returns:
        The ``n`` nearest sentences of the passage that holds the nearest one of all, and that passage's number from 1.

    Args:
        question: what is looked for.
        passages: to quote from, at least one; of equals the first.
        n: sentences, 1 to 1,000.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if the question has no word, there is no passage, or ``n`` is out of range.

    >>> quote("a kettle?", [Passage("Tea is hot.", "a"), Passage("It is red. A kettle is loud.", "b")], 1)
    ('A kettle is loud.', 2)
    """
    n = checks.integer("n", n, low=1, high=MOST_SENTENCES)
    highest = [float(scores.max()) for scores in sentence_scores(question, passages)]
    number = highest.index(max(highest))
    return nearest_sentences(question, [passages[number]], n)[0].text, number + 1
