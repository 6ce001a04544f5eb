"""Answers without a language model: the sentences of the first passage found that are nearest to the question.

They are what a model's answers have to be compared with: whoever only wants the answer to stand in what is shown can
have it for some thousandths of a joule.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from greenlab import retrieval
from greenlab.retrieval.metrics import hit
from greenlab.retrieval.questions import load_questions
from greenlab.retrieval.study.search import make_indexes, timed


def quote_all(passage_tokens: int, sentences: tuple[int, ...]) -> list[dict[str, Any]]:
    """Quote for every question, from the first passage of each index.

    Args:
        passage_tokens: words and punctuation marks in a passage, at most.
        sentences: how many are quoted.

    Returns:
        One row per question, index and number of sentences: id, half, index, n_sentences, hit, n_words, cpu_s (of the
        quotation, without the search).
    """
    corpus, by_name, _ = make_indexes(passage_tokens)
    rows: list[dict[str, Any]] = []
    for one in load_questions().to_dict("records"):
        for name, index in by_name.items():
            found = [corpus[int(i)] for i in index.search(one["question"], 1)["passage"]]
            for n in sentences:
                (text, _), cpu_s = timed(partial(retrieval.quote, one["question"], found, n))
                row = {"id": one["id"], "half": one["half"], "index": name, "n_sentences": n}
                row |= {"hit": hit(text, one["answers"]), "n_words": len(text.split()), "cpu_s": cpu_s}
                rows.append(row)
    return rows
