"""Passages: no word is lost or cut, headings stay with their text, links lead to what is there."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from greenlab.core.facts import schema
from greenlab.core.machine import ROOT
from greenlab.retrieval import Corpus, Passage
from greenlab.retrieval.corpus import count_tokens, sentences, units_of
from greenlab.retrieval.facts_text import TABLES, fact_text, number_text
from greenlab.retrieval.markdown import plain_text

WORDS = st.lists(st.from_regex(r"[A-Za-z]{1,9}[.?!]?", fullmatch=True), min_size=1, max_size=120)


@pytest.fixture(scope="module")
def book():
    return Corpus.from_book()


@given(words=WORDS, limit=st.integers(8, 60))
@settings(deadline=None, max_examples=60)
def test_every_word_is_in_one_passage_in_order_and_none_is_cut(words, limit):
    text = " ".join(words)
    corpus = Corpus.from_texts({"t": text}, passage_tokens=limit)
    joined = " ".join(one.text for one in corpus).split()
    assert joined[:-1] == words[:-1]
    assert joined[-1].rstrip(".") == words[-1].rstrip(".")  # a paragraph without a full stop gets one
    assert all(count_tokens(one.text) <= limit + 1 for one in corpus)


@given(words=WORDS, limit=st.integers(12, 40), overlap=st.integers(1, 11))
@settings(deadline=None, max_examples=60)
def test_an_overlap_repeats_whole_sentences_from_the_end_of_the_last_passage(words, limit, overlap):
    corpus = Corpus.from_texts({"t": " ".join(words)}, passage_tokens=limit, overlap=overlap)
    seen = corpus[0].text.split()
    for before, after in zip(corpus.passages, corpus.passages[1:], strict=False):
        repeated = next(n for n in range(len(seen) + 1) if n == 0 or seen[-n:] == after.text.split()[:n] or n > limit)
        assert count_tokens(after.text) <= limit + 1
        assert before.text != after.text
        seen += after.text.split()[min(repeated, limit) :]
    assert set(words[:-1]) <= set(seen)


def test_a_heading_stays_with_its_passages_and_none_reaches_over_one():
    corpus = Corpus.from_texts(
        {"t.md": "# Book: a question?\nIntro.\n## One\nFirst. Second.\n### Deep\nThird.\n## Two\nFourth."}
    )
    assert [(one.title, one.text) for one in corpus] == [
        ("Book", "Intro."),
        ("Book, One", "First. Second."),
        ("Book, One, Deep", "Third."),
        ("Book, Two", "Fourth."),
    ]


def test_tables_lists_code_and_formulas():
    text = "Before\n\n| a | b |\n|---|---|\n| time | 3 s |\n\n- one\n- two\n\n"
    text += "```python\nsecret()\n```\n\n$$x = y$$\nAfter $k$ and 65 $/MWh."
    (only,) = Corpus.from_texts({"t": text})
    assert only.text == "Before. a: b. time: 3 s. one. two. After k and 65 $/MWh."


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("[485 TWh](../data/facts/README.md#iea-dc-2025)", "485 TWh"),
        ("**bold** and *soft* and `code`", "bold and soft and code"),
        ("<details><summary>More</summary>", "More"),
        ("2 * 3 * 4 and snake_case_name", "2 * 3 * 4 and snake_case_name"),
        ("[a](http://x.org/(b)c)", "a"),
        ("![a picture](images/x.png)", "a picture"),
        ("If n <N and M> 3, and x<y or y >z", "If n <N and M> 3, and x<y or y >z"),
        ('<details open><a href="b.html">c</a><br/>d <!-- e --> f', "c d f"),
        ("the method `__init__` and __init__, but __two words__", "the method __init__ and __init__, but two words"),
    ],
)
def test_marks_go_and_words_stay(markdown, plain):
    assert plain_text(markdown) == plain


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("It took exactly\n1287. It was long.", "It took exactly 1287. It was long."),
        ("It is\n12. And then.", "It is 12. And then."),
        ("Do\n1. one\n2. two\n10. ten", "Do. one. two. ten."),
        ("2024. A year.", "2024. A year."),
        (">= 64 tokens.", ">= 64 tokens."),
        ("> a quotation\n> > in two", "a quotation in two."),
    ],
)
def test_numbers_and_comparisons_at_the_start_of_a_line_stay(markdown, text):
    assert " ".join(one.text for one in Corpus.from_texts({"a": markdown})) == text


def test_sentences_are_not_cut_after_numbers_names_or_inside_brackets():
    text = 'It costs 0.431 J (e.g. Here). Raposo et al., 2024, eq. 1: one. "Wrong." Next? Yes! 3.5 more.'
    assert sentences(text) == [
        "It costs 0.431 J (e.g. Here).", "Raposo et al., 2024, eq. 1: one.", '"Wrong."', "Next?", "Yes!", "3.5 more.",
    ]  # fmt: skip


def test_numbers_are_written_as_people_write_them():
    assert [number_text(v) for v in (0.0, 1480.46, 2e12, 1.571e12, 405e9, 1e6, 999999.0)] == [
        "0", "1,480.46", "2 trillion", "1.571 trillion", "405 billion", "1 million", "999,999",
    ]  # fmt: skip


def test_a_fact_is_written_with_its_range_and_with_what_nobody_confirmed():
    row = {"name": "Energy of a token", "value": 3.0, "low": 1.5, "high": 9.0, "unit": "J", "notes": "a remark",
           "source": "S. Body", "date": "2024-01", "confidence": "seen"}  # fmt: skip
    text = "Energy of a token: 3 J (range 1.5 to 9 J). Source: S. Body, 2024-01. Remark: a remark."
    assert fact_text("constants", row) == text
    assert fact_text("constants", row | {"confidence": "rumour"}) == f"{text} Confidence: rumour."
    assert fact_text("constants", row | {"confidence": "unverified"}) == f"{text} Confidence: unverified."
    bare = row | {"value": None, "notes": ""}
    assert fact_text("constants", bare) == "Energy of a token: 1.5 to 9 J. Source: S. Body, 2024-01."


def test_every_row_of_the_facts_is_in_the_book_with_a_link_that_leads_to_it(book):
    page = (ROOT / "data/facts/README.md").read_text(encoding="utf-8")
    rows = [(table, str(row[schema.key_of(table)])) for table in TABLES for row in schema.rows(table)]
    links = {one.link for one in book if one.source.startswith("data/facts/")}
    assert len(rows) > 400
    assert links == {f"../data/facts/README.md#{key}" for _, key in rows}
    assert [key for _, key in rows if f'id="{key}"' not in page] == []


def test_every_link_to_a_chapter_leads_to_a_markdown_cell_that_holds_the_passage(book):
    checked = 0
    for one in book:
        if not one.source.startswith("notebooks/"):
            continue
        name, _, cell_id = one.link.partition("#cell-id=")
        cells = json.loads((ROOT / "notebooks" / name).read_text(encoding="utf-8"))["cells"]
        (cell,) = [cell for cell in cells if cell["id"] == cell_id]
        source = "".join(cell["source"])
        first = re.findall(r"\w{4,}", one.text)[0]
        assert cell["cell_type"] == "markdown"
        assert first in source, (one.link, first)
        checked += 1
    assert checked > 150


def test_solutions_are_not_in_the_book(book):
    text = " ".join(one.text for one in book)
    assert "return layers[:start] + layers[start + n :]" not in text
    assert "A strict comparison leaves out the last of the" not in text


def test_the_chapter_on_retrieval_is_left_out_unless_asked_for(book):
    assert not any("retrieval.ipynb" in one.source for one in book)


def test_the_hash_tells_texts_apart():
    def made(text, **given):
        return Corpus.from_texts({"t": text}, **given).sha256

    assert made("One. Two.") == made("One. Two.")
    assert len({made("One. Two."), made("One. Two!"), made("# H\nOne. Two."), made("One. Two.", passage_tokens=8)}) == 3


def test_units_are_sentences_or_passages_and_their_starts_lead_back(book):
    texts, starts = units_of(book, "sentence")
    owners = [sum(1 for start in starts[1:] if start <= 5)] * 1  # the passage of unit 5
    assert texts[5].startswith(book[owners[0]].title)
    assert len(starts) == len(book)
    assert (starts[1:] > starts[:-1]).all()
    whole, first = units_of(book, "passage")
    assert whole[3] == book[3].with_title
    assert first.tolist() == list(range(len(book)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Corpus(()), "passages is empty"),
        (lambda: Corpus.from_texts({}), "texts holds no word"),
        (lambda: Corpus.from_texts({"a": " \n ... "}), "texts holds no word"),
        (lambda: Corpus.from_texts({"a": "x"}, passage_tokens=7), "passage_tokens=7"),
        (lambda: Corpus.from_texts({"a": "x"}, passage_tokens=20, overlap=20), "overlap=20"),
        (lambda: Corpus.from_book(chapters=["quantum"]), "no chapter in chapters 'quantum'"),
        (lambda: Corpus.from_book(chapters=[], facts=False), "nothing is left to search"),
        (lambda: Passage(" ", "a"), "text is empty"),
        (lambda: Passage("a", ""), "source is empty"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_passages_of_another_type_are_refused():
    with pytest.raises(TypeError, match="passages"):
        Corpus(("text",))
    with pytest.raises(TypeError, match="texts"):
        Corpus.from_texts("text")


def test_a_chapter_whose_file_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("greenlab.retrieval.corpus.ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"10_green_service\.ipynb cannot be read"):
        Corpus.from_book(chapters=["green_service"])
