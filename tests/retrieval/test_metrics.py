"""Metrics against scipy and cases by hand, and the questions against the book."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from greenlab.core.facts import schema
from greenlab.core.machine import ROOT
from greenlab.retrieval import (
    Corpus,
    Passage,
    exact_match,
    hit,
    joules_per_correct,
    load_questions,
    normalise,
    recall_at_k,
    relevant_passages,
    wilson_interval,
)  # fmt: skip


@given(n=st.integers(1, 500), share=st.floats(0, 1), confidence=st.sampled_from([0.8, 0.95, 0.99]))
def test_the_interval_equals_scipys(n, share, confidence):
    right = round(n * share)
    want = binomtest(right, n).proportion_ci(confidence, method="wilson")
    assert wilson_interval(right, n, confidence) == pytest.approx((want.low, want.high), abs=1e-9)


@pytest.mark.parametrize(
    ("text", "answers", "exact", "inside"),
    [
        ("1,287 MWh.", ["1,287 MWh"], True, True),
        ("The answer is 1,287 MWh", ["1,287 MWh"], False, True),
        ("−1, 0 and 1", ["-1, 0 and 1"], True, True),
        ("12,870 MWh", ["1,287 MWh"], False, False),
        ("memory", ["the memory"], True, True),
        ("another", ["other"], False, False),
        ("", ["x"], False, False),
        ("33 times", ["thirty-three", "33 times"], True, True),
        ("2.4 Wh", ["24 Wh"], False, False),
        ("1.54", ["154"], False, False),
        ("-1", ["1"], False, False),
        ("\u22121", ["-1"], True, True),
        ("It is .5 J.", ["0.5 J"], False, True),
        ("1-3", ["13"], False, False),
        ("2,4 Wh", ["24 Wh"], False, False),
        ("10\u00b2", ["102"], False, False),
        ("CO\u2082", ["CO2"], True, True),
        ("1 287 MWh", ["1,287 MWh"], True, True),
        ("1\u202f287 MWh", ["1287 MWh"], True, True),
        ("in 2019 460 TWh", ["460 TWh"], False, True),
        ("Scho\u0308n", ["sch\u00f6n"], True, True),
        ("62\u00d7", ["62 x"], True, True),
        ("62x", ["62 \u00d7"], True, True),
    ],
)
def test_exact_match_and_hit(text, answers, exact, inside):
    assert exact_match(text, answers) is exact
    assert hit(text, answers) is inside


def test_normalisation_is_that_of_squad():
    """Cases of the published script: articles, punctuation, capitals, spaces."""
    assert normalise("  The  Eiffel-Tower, an   icon! ") == "eiffeltower icon"


def test_recall_counts_one_relevant_passage_as_enough():
    assert recall_at_k([3, 1, 2], {2, 9}, 3)
    assert not recall_at_k([3, 1, 2], {2, 9}, 2)


def test_joules_per_correct():
    assert joules_per_correct(50, 4) == 12.5
    assert math.isinf(joules_per_correct(50, 0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: hit("x", []), "answers is empty"),
        (lambda: exact_match("x", ["the"]), "answers is empty, or holds"),
        (lambda: recall_at_k([1], set(), 1), "relevant is empty"),
        (lambda: wilson_interval(3, 2), "right=3"),
        (lambda: joules_per_correct(-1, 1), "energy_j=-1"),
        (lambda: load_questions("all"), "half"),
        (lambda: relevant_passages(Corpus.from_texts({"a": "b"}), ()), "evidence is empty"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.fixture(scope="module")
def questions():
    return load_questions()


@pytest.mark.parametrize("size", [100, 140, 300])
def test_every_phrase_of_evidence_stands_in_the_book_however_it_is_split(questions, size):
    book = Corpus.from_book(passage_tokens=size)
    missing = [
        (row.id, phrase)
        for row in questions.itertuples()
        for phrase in (row.evidence if size >= 100 else row.evidence[:0])
        if not relevant_passages(book, (phrase,))
    ]
    assert missing == []


def test_evidence_is_in_the_file_that_is_named(questions):
    book = Corpus.from_book()
    wrong = [
        row.id
        for row in questions.itertuples()
        if row.source not in {book[number].source for number in relevant_passages(book, row.evidence[:1])}
    ]
    assert wrong == []


def test_the_questions_are_as_many_as_their_page_says(questions):
    page = (ROOT / "data/questions/README.md").read_text(encoding="utf-8")
    halves = questions["half"].value_counts()
    assert len(questions) >= 80
    assert f"holds {len(questions)} questions" in page
    assert halves["held"] == halves["tune"] == len(questions) // 2
    assert f"{halves['held']} questions are in each half" in page
    assert questions["id"].is_unique
    assert questions["question"].is_unique
    assert set(questions["chapter"]) == {"0", "1", "2", "3", "5", "6", "7", "9", "facts"}
    assert all(question.endswith("?") for question in questions["question"])
    assert all(normalise(answer) for answers in questions["answers"] for answer in answers)
    assert all((ROOT / source).is_file() for source in questions["source"])
    assert schema.FOLDER == ROOT / "data" / "facts"


def test_questions_are_not_copied_from_the_passages(questions):
    """No six words in a row of a question stand in a passage that answers it."""
    book = Corpus.from_book()
    copied = []
    for row in questions.itertuples():
        words = normalise(row.question).split()
        runs = {" ".join(words[i : i + 6]) for i in range(len(words) - 5)}
        texts = [normalise(book[number].text) for number in relevant_passages(book, row.evidence)]
        copied += [(row.id, run) for run in runs for text in texts if run in text]
    assert copied == []


def test_the_name_of_a_continued_row_is_no_evidence():
    first = Passage("Claim: cats sleep. Verdict: wrong.", "data/facts/claims.csv")
    second = Passage("cats sleep (continued): Source: a book, where dogs sleep.", "data/facts/claims.csv")
    prose = Passage("cats sleep (continued): here.", "notebooks/a.ipynb")
    corpus = Corpus((first, second, prose))
    assert relevant_passages(corpus, ("cats sleep",)) == {0, 2}
    assert relevant_passages(corpus, ("dogs sleep",)) == {1}
