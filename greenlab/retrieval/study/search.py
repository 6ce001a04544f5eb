"""Searching the book: at which rank each index finds a passage that answers, and what indexing and asking cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache, partial
from typing import Any, TypeVar

import numpy as np

from greenlab import retrieval
from greenlab.core import assets
from greenlab.retrieval.index import Index
from greenlab.retrieval.questions import first_evidence, load_questions, relevant_passages

BM25, STATIC, DENSE = "BM25", "static", "MiniLM"
CHEAP_FUSION, FUSION, ALL, BY_RANK = "BM25 + static", "BM25 + MiniLM", "all three", "BM25 + MiniLM, by rank"
INDEXES = (BM25, STATIC, DENSE, CHEAP_FUSION, FUSION, ALL, BY_RANK)
DEPTH = 100  # ranks that are looked at
T = TypeVar("T")


@lru_cache(maxsize=1)
def minilm() -> tuple[Any, Any]:
    """The sentence encoder of the chapter."""
    return assets.load_minilm()


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What a function returns, and the CPU seconds that this process spent on it."""
    start_s = time.process_time()
    found = work()
    return found, time.process_time() - start_s


def fusions(bm25: Index, static: Index, dense: Index) -> dict[str, Index]:
    """The ways to search, by name, from the three indexes; fusions add standardised scores, one of them ranks."""
    return {
        BM25: bm25,
        STATIC: static,
        DENSE: dense,
        CHEAP_FUSION: retrieval.Fusion([bm25, static], by="score"),
        FUSION: retrieval.Fusion([bm25, dense], by="score"),
        ALL: retrieval.Fusion([bm25, static, dense], by="score"),
        BY_RANK: retrieval.Fusion([bm25, dense]),
    }


@lru_cache(maxsize=1)
def make_indexes(passage_tokens: int) -> tuple[retrieval.Corpus, dict[str, Index], list[dict[str, Any]]]:
    """Split the book and make all indexes; those made last are kept.

    Returns:
        The corpus, the indexes by name, and one row for each thing made: what, cpu_s, n_passages, n_words.
    """
    corpus, split_s = timed(lambda: retrieval.Corpus.from_book(passage_tokens=passage_tokens))
    bm25, bm25_s = timed(lambda: retrieval.BM25Index(corpus))
    table, _ = timed(lambda: retrieval.make_static_table(minilm()))
    static, static_s = timed(lambda: retrieval.StaticIndex(corpus, table))
    dense, dense_s = timed(lambda: retrieval.DenseIndex(corpus, minilm()))
    size = {"n_passages": len(corpus), "n_words": int(corpus.frame()["tokens"].sum())}
    seconds = {"split": split_s, BM25: bm25_s, STATIC: static_s, DENSE: dense_s}
    made = [{"what": what, "cpu_s": cpu_s, **size} for what, cpu_s in seconds.items()]
    return corpus, fusions(bm25, static, dense), made


def table_cost() -> float:
    """CPU seconds that the table of static vectors takes to make, once."""
    return timed(lambda: retrieval.make_static_table(minilm(), again=True))[1]


def search(passage_tokens: int, rounds: int) -> dict[str, Any]:
    """Make all indexes for one length of passages and ask every question of each.

    Args:
        passage_tokens: words and punctuation marks in a passage, at most.
        rounds: how often all questions are asked to time the search; indexes take turns.

    Returns:
        ``made`` (the cost of each index), ``ranks`` (index, id, half, rank from 1, 0 if not among the first 100, and
        first_rank, the same with the evidence as it was first committed),
        ``leads`` (by which share BM25's best passage leads its second one, for the ladder) and ``queries`` (mean CPU
        seconds of one search by index).
    """
    corpus, indexes, made = make_indexes(passage_tokens)
    questions, first = load_questions(), first_evidence()
    ladder = retrieval.Ladder(indexes[BM25], indexes[FUSION])
    ranks, leads, spent = [], [], dict.fromkeys(indexes, 0.0)
    for row in questions.to_dict("records"):
        known = {"id": row["id"], "half": row["half"]}
        wanted, before = (relevant_passages(corpus, of) for of in (row["evidence"], first[row["id"]]))
        leads.append(known | {"lead": ladder.lead(row["question"])})
        for name, index in indexes.items():
            found = index.search(row["question"], DEPTH)["passage"].tolist()
            rank = {"rank": rank_of(found, wanted), "first_rank": rank_of(found, before)}
            ranks.append(known | {"index": name} | rank | {"n_relevant": len(wanted)})
    for _ in range(rounds):
        for question in questions["question"]:
            for name, index in indexes.items():
                spent[name] += timed(partial(index.search, question, 5))[1]
    n_asked = rounds * len(questions)
    queries = [{"index": name, "cpu_s": spent[name] / n_asked} for name in indexes]
    return {"made": made, "ranks": ranks, "leads": leads, "queries": queries, "corpus_sha256": corpus.sha256}


def rank_of(found: Sequence[int], wanted: Collection[int]) -> int:
    """The rank, from 1, of the first passage that is wanted; 0 if none was found.

    >>> rank_of([7, 4, 9], {9, 4}), rank_of([7], {9})
    (2, 0)
    """
    return next((rank for rank, number in enumerate(found, 1) if number in wanted), 0)


def book_map(passage_tokens: int, examples: tuple[str, ...], nearest: int) -> dict[str, Any]:
    """Passages and some questions on a plane: the two directions in which MiniLM's vectors of the book vary most.

    Args:
        passage_tokens: words and punctuation marks in a passage, at most.
        examples: the questions that are drawn.
        nearest: passages that are marked for each of them, by the cosine of all 384 numbers of their best sentence.

    Returns:
        ``passages`` (x, y, kind, title), ``questions`` (question, x, y), ``nearest`` (question, passage, rank, score)
        and ``explained``, the share of the variance that the plane holds.
    """
    corpus, indexes, _ = make_indexes(passage_tokens)
    dense = indexes[DENSE]
    assert isinstance(dense, retrieval.DenseIndex)
    vectors = passage_vectors(dense)
    plane = Plane(vectors)
    places = plane.place(vectors)
    passages = [
        {"x": round(float(x), 4), "y": round(float(y), 4), "kind": kind_of(one), "title": one.title[:80]}
        for (x, y), one in zip(places, corpus, strict=True)
    ]
    asked, found = [], []
    for question in examples:
        x, y = plane.place(retrieval.embed([question], minilm()))[0]
        asked.append({"question": question, "x": float(x), "y": float(y)})
        for row in dense.search(question, nearest)[["passage", "rank", "score"]].to_dict("records"):
            found.append({"question": question} | row)
    return {"passages": passages, "questions": asked, "nearest": found, "explained": plane.explained}


def passage_vectors(dense: retrieval.DenseIndex) -> np.ndarray:
    """One vector a passage, the mean of its sentences', `(n_passages, d)`."""
    counts = np.diff([*dense.starts, len(dense.vectors)])
    return np.add.reduceat(np.asarray(dense.vectors), dense.starts) / counts[:, None]


class Plane:
    """The two directions in which some vectors vary most (their first two principal components).

    Args:
        vectors: `(n, d)`, at least two rows.
    """

    def __init__(self, vectors: np.ndarray) -> None:
        values = np.asarray(vectors, dtype=np.float64)
        self.mean = values.mean(0)
        _, sizes, directions = np.linalg.svd(values - self.mean, full_matrices=False)
        directions = directions[:2]
        largest = np.abs(directions).argmax(1)  # the sign of a direction is free: the largest entry is made positive
        self.directions = directions * np.sign(directions[np.arange(len(directions)), largest])[:, None]
        self.explained = float((sizes[:2] ** 2).sum() / (sizes**2).sum())

    def place(self, vectors: np.ndarray) -> np.ndarray:
        """Where vectors lie on the plane, `(n, 2)`."""
        return (np.asarray(vectors, dtype=np.float64) - self.mean) @ self.directions.T


def kind_of(passage: retrieval.Passage) -> str:
    """Whether a passage is prose of a chapter or a row of a table of facts."""
    return "row of a fact table" if passage.source.startswith("data/") else "prose of a chapter"
