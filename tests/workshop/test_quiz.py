"""The quiz: well formed, numbers from the tables, usable from the keyboard, and no answer in what is stored."""

import re
from collections import Counter

import ipywidgets as W
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlab.core.chapters import CHAPTERS
from greenlab.core.facts import matches
from greenlab.core.facts.prose import quantities
from greenlab.workshop import Option, Question, questions
from greenlab.workshop.view import quiz, quiz_html
from tests import notebook_rules as rules
from tests.workshop.prose import violations

NAMES = [chapter.name for chapter in CHAPTERS]
RIGHT = [(name, question) for name in NAMES for question in questions(name)]


@pytest.mark.parametrize("name", NAMES)
def test_a_chapter_has_three_to_five_questions_and_each_answer_its_own_feedback(name):
    asked = questions(name)
    assert 3 <= len(asked) <= 5
    for question in asked:
        said = [option.feedback for option in question.options]
        assert len(set(said)) == len(said) >= 3


@pytest.mark.parametrize(("name", "question"), RIGHT, ids=lambda part: part if isinstance(part, str) else part.id)
def test_a_right_answer_that_is_a_number_is_the_one_in_its_table(name, question):
    (right,) = [option for option in question.options if option.right]
    assert bool(quantities(right.text)) == bool(right.source), f"{right.text!r} needs a source, or has one too many"
    if right.source.startswith("facts#"):
        assert matches(right.source.removeprefix("facts#"), right.text, "")
    elif right.source:
        link = f"[{right.text}](../data/studies/README.md#{right.source.removeprefix('studies#')})"
        cell = {"cell_type": "markdown", "source": link, "metadata": {}}
        assert rules.studies_quoted_right({"cells": [cell], "metadata": {}}) == []
        wrong = [option.text for option in question.options if not option.right and quantities(option.text)]
        for text in wrong:  # a distractor must not be right as well
            cell["source"] = link.replace(f"[{right.text}]", f"[{text}]")
            assert rules.studies_quoted_right({"cells": [cell], "metadata": {}}) != []


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_questions_and_feedback_resolve(name):
    for question in questions(name):
        assert violations(question.text) == []
        for option in question.options:
            assert violations(option.feedback) == []


def test_neither_place_nor_length_tells_the_right_answer():
    places, longest, shortest = Counter(), 0, 0
    for name in NAMES:
        shown, here = quiz(name), []
        for question in shown.questions:
            (right,) = [option.text for option in question.options if option.right]
            wrong = [len(option.text) for option in question.options if not option.right]
            here.append([text for text, _ in shown.choices[question.id].options].index(right))
            longest += len(right) > max(wrong)
            shortest += len(right) < min(wrong)
        places.update(here)
        assert len(set(here)) > 1, f"{name}: every right answer stands in place {here[0] + 1}"
    assert set(places) == {0, 1, 2}
    assert max(places.values()) - min(places.values()) <= 1
    assert max(longest, shortest) <= 0.4 * places.total()  # with three answers a third is chance


REASONED = re.compile(r", (as|since|so|who|which|and)\b|because")
ABSOLUTE = re.compile(r"\b(always|nothing|everything|all|every|never|whatever|half)\b|100 %")


def test_who_strikes_out_answers_by_their_wording_gains_next_to_nothing():
    """Tricks of people who did not read the chapter: strike out what gives a reason or is absolute, never say yes."""
    struck, yes, total = 0.0, Counter(), 0
    for name in NAMES:
        for question in questions(name):
            left = [one for one in question.options if not (REASONED.search(one.text) or ABSOLUTE.search(one.text))]
            left = left or list(question.options)
            struck += sum(one.right for one in left) / len(left)
            total += 1
            yes.update(one.right for one in question.options if one.text.startswith("yes"))
    assert struck <= 0.4 * total  # a third is chance; it was 45 %
    assert yes[True] >= yes.total() / 3


def test_choosing_gives_the_feedback_of_that_answer_and_counts():
    shown = quiz("layer_pruning")
    assert shown.n_right == 0
    for question in shown.questions:
        buttons = shown.choices[question.id]
        assert buttons.value is None
        for option in question.options:
            buttons.value = [text for text, _ in buttons.options].index(option.text)
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", option.feedback)
            assert plain in re.sub(r"<[^>]+>", "", shown.feedback[question.id].value)
            assert ("✓" in shown.feedback[question.id].value) == option.right
        (right,) = [option.text for option in question.options if option.right]
        buttons.value = [text for text, _ in buttons.options].index(right)
    assert shown.n_right == len(shown.questions)
    assert f"{shown.n_right} of {shown.n_right} right" in shown.message.value


def test_nothing_of_the_answers_is_stored_and_every_control_has_a_name():
    shown = quiz("ternary")
    stored = repr(shown) + str(shown._repr_mimebundle_().get("text/plain", ""))
    for question in shown.questions:
        assert not any(option.text in stored or option.feedback in stored for option in question.options)
    assert all(isinstance(buttons, W.RadioButtons) and buttons.description for buttons in shown.choices.values())


def test_the_page_has_every_answer_folded_with_its_feedback():
    page = quiz_html("retrieval")
    asked = questions("retrieval")
    assert page.count("<details>") == sum(len(question.options) for question in asked)
    assert "<script" not in page
    assert "http" not in page


def test_a_chapter_that_is_none_is_refused_with_the_list(tmp_path):
    with pytest.raises(ValueError, match="layer_pruning"):
        quiz("alchemy")
    path = tmp_path / "quiz.csv"
    path.write_text("chapter,id,question,option,right,feedback,source\n", encoding="utf-8")
    with pytest.raises(ValueError, match="not written yet"):
        questions("ternary", path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("chapter,id\nternary,a", "has the columns"),
        ("{}\nternary,a,Why?,one,maybe,no,\n", "give yes or no"),
        ("{}\nternary,a,Why?,one,no,no,\nternary,a,Why?,two,no,no,\n", "exactly one"),
        ("{}\nternary,a,Why?,one,yes,no,\nternary,a,Why?,one,no,no,\n", "each one once"),
        ("{}\nternary,a,Why?,one,yes,,\n", "feedback"),
    ],
)
def test_a_broken_table_is_refused(tmp_path, lines, message):
    path = tmp_path / "quiz.csv"
    path.write_text(lines.format("chapter,id,question,option,right,feedback,source"), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        questions("ternary", path)


@given(st.lists(st.booleans(), min_size=2, max_size=6))
def test_a_question_has_exactly_one_right_answer(rights):
    options = tuple(Option(f"answer {place}", right, "since") for place, right in enumerate(rights))
    if sum(rights) == 1:
        assert Question("a", "Why?", options).options == options
    else:
        with pytest.raises(ValueError, match="exactly one"):
            Question("a", "Why?", options)
