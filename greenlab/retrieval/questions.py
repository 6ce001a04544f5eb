"""Questions on this book with answers and evidence (data/questions): half may be used to choose settings."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd

from greenlab.core import checks
from greenlab.core.machine import ROOT
from greenlab.retrieval.corpus import CONTINUED, Corpus, Passage

HALVES = ("held", "tune")


def load_questions(half: str | None = None) -> pd.DataFrame:
    """Return the questions: id, half, chapter, question, answers (a tuple), source, evidence (a tuple).

    Args:
        half: ``"tune"``: those that may be used to choose settings; ``"held"``: those that only score; None: all.

    Raises:
        TypeError: if ``half`` is no text.
        ValueError: if it is another word.
    """
    table = pd.read_csv(ROOT / "data" / "questions" / "questions.csv", dtype=str, keep_default_na=False)
    table["answers"] = [tuple(cell.split("|")) for cell in table["answers"]]
    table["evidence"] = [tuple(cell.split(" || ")) for cell in table["evidence"]]
    if half is None:
        return table
    checks.one_of("half", half, HALVES)
    return table[table["half"] == half].reset_index(drop=True)


def first_evidence() -> dict[str, tuple[str, ...]]:
    """The evidence of each question as it was first committed, by the question's id (data/questions/README.md).

    >>> len(first_evidence())
    106
    """
    kept = load_questions().set_index("id")["evidence"].to_dict()
    first = pd.read_csv(ROOT / "data" / "questions" / "first_evidence.csv", dtype=str, keep_default_na=False)
    return kept | {name: tuple(cell.split(" || ")) for name, cell in zip(first["id"], first["evidence"], strict=True)}


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


@lru_cache(maxsize=4)
def _plain_texts(corpus: Corpus) -> list[str]:
    # the second passage of a long row begins with the row's name: a phrase that stands in the name alone is no evidence
    return [_plain(one.text.removeprefix(continued_from(one))) for one in corpus]


def continued_from(passage: Passage) -> str:
    """The name that a further passage of a row of the facts begins with; empty for any other passage.

    >>> continued_from(Passage("A claim (continued): Source: a, 2020.", "data/facts/claims.csv"))
    'A claim (continued): '
    """
    name, mark, _ = passage.text.partition(CONTINUED)
    return name + mark if mark and passage.source.startswith("data/facts/") else ""


def relevant_passages(corpus: Corpus, evidence: tuple[str, ...]) -> frozenset[int]:
    """Numbers of the passages that hold one of the phrases; capitals and line breaks do not count.

    >>> corpus = Corpus.from_texts({"a": "A cat sat here.", "b": "A dog ran."})
    >>> sorted(relevant_passages(corpus, ("Cat sat", "bird")))
    [0]

    Args:
        corpus: the passages.
        evidence: phrases, at least one.

    Raises:
        TypeError: if ``corpus`` is no `Corpus` or ``evidence`` no list of texts.
        ValueError: if there is no phrase, or one is empty.
    """
    checks.instance("corpus", corpus, Corpus)
    phrases = [_plain(checks.text("evidence", one)) for one in checks.several("evidence", evidence)]
    if not phrases or not all(phrases):
        raise ValueError("evidence is empty, or holds an empty phrase: give at least one phrase of the text")
    return frozenset(i for i, text in enumerate(_plain_texts(corpus)) if any(phrase in text for phrase in phrases))
