"""Exercises: right, wrong, untried, broken; and every reference of the book passes its own check."""

import importlib

import pytest

from greenlab.core.machine import ROOT
from greenlab.lab import check, exercises
from greenlab.lab.exercises import exercise, solutions, untried


@pytest.fixture
def registry(monkeypatch):
    """An empty registry with one exercise."""
    monkeypatch.setattr(exercises, "_registry", {})
    monkeypatch.setattr(exercises, "_failures", exercises.Counter())

    @exercise("double", reference=reference, difficulty="easy", minutes=5, hints=("Try 3.", "It is x + x."))
    def _(answer):
        """Doubling works for every number.

        A second line that is not shown.
        """
        if answer(3) == 9:
            return "your function squares: compare 3 and 2"
        if answer(3) != 6:
            return "your function gives the wrong number for 3"
        return ""


def reference(x):
    return 2 * x


def right(x):
    return x + x


def square(x):
    return x * x


def documented_stub(x):
    """Double it."""


def raising_stub(x):
    raise NotImplementedError("your turn")


def dividing(x):
    return x / 0


def test_a_right_answer_is_given_back(registry, capsys):
    assert check("double", right) is right
    assert capsys.readouterr().out == "Correct: Doubling works for every number.\n"


@pytest.mark.parametrize("stub", [..., None, documented_stub, raising_stub, lambda x: ..., lambda x: None])
def test_an_untried_answer_uses_the_reference(registry, capsys, stub):
    """Run All goes on, and says so; trying nothing is no failed try."""
    assert check("double", stub) is reference
    expected = "Not tried yet (easy, 5 min). Until then the reference answer is used.\n"
    assert capsys.readouterr().out == expected
    assert check("double") is reference
    assert capsys.readouterr().out == expected
    assert check("double", square) is reference
    assert "(hint 1 of 3)" in capsys.readouterr().out


def test_hints_come_one_more_at_each_try_and_start_again_after_success(registry, capsys):
    texts = []
    for answer in (square, square, lambda x: 7, square, right, square):
        check("double", answer)
        texts.append(capsys.readouterr().out.splitlines())
    more, uses = "Run the cell again for one more hint.", "Until then the reference answer is used."
    first = "Not yet: your function squares: compare 3 and 2 (hint 1 of 3)"
    assert texts[0] == [first, more, uses]
    assert texts[1] == [first, "Hint 2 of 3: Try 3.", more, uses]
    assert texts[2] == [
        "Not yet: your function gives the wrong number for 3 (hint 1 of 3)",
        "Hint 2 of 3: Try 3.",
        "Hint 3 of 3: It is x + x.",
        uses,
    ]
    assert texts[3] == [first, "Hint 2 of 3: Try 3.", "Hint 3 of 3: It is x + x.", uses]
    assert texts[4] == ["Correct: Doubling works for every number."]
    assert texts[5] == texts[0]


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (dividing, "your answer raised ZeroDivisionError: division by zero"),
        (lambda: 3, "your answer raised TypeError"),
        (17, "your answer raised TypeError: 'int' object is not callable"),
        ("text", "your answer raised TypeError"),
    ],
)
def test_an_exception_is_a_hint_and_never_leaves_the_cell(registry, capsys, answer, hint):
    assert check("double", answer) is reference
    assert f"Not yet: {hint}" in capsys.readouterr().out


def test_interrupting_still_works(registry):
    """A reader who stops an endless loop gets the kernel back."""

    def endless(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("double", endless)


def test_an_unknown_exercise_is_named_with_near_ones(registry):
    with pytest.raises(ValueError, match="no exercise 'duoble'; close to it: double; exercises are registered when"):
        check("duoble", right)


@pytest.mark.parametrize("answer", [0, False, "", 0.0, [], lambda x: 5, lambda x: x, len, int])
def test_what_is_an_answer_is_not_taken_for_a_stub(answer):
    """Zero and the empty list are answers; so is a function that gives a constant."""
    assert not untried(answer)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"difficulty": "trivial"}, "difficulty is 'trivial'; write easy, medium, hard"),
        ({"minutes": 0}, "minutes is 0; give at least 1"),
    ],
)
def test_an_exercise_states_its_difficulty_and_time(registry, arguments, message):
    with pytest.raises(ValueError, match=message):
        exercise(**{"id": "x", "reference": 1, "difficulty": "easy", "minutes": 1, **arguments})


def test_an_exercise_needs_a_title_and_an_id_of_its_own(registry):
    register = exercise("double", reference=1, difficulty="easy", minutes=1)
    with pytest.raises(ValueError, match="checker of 'double' has no docstring"):
        register(lambda answer: None)

    def elsewhere(answer):
        """From another chapter."""

    elsewhere.__module__ = "greenlab.lab.other"
    with pytest.raises(ValueError, match=r"'double' is registered in .*test_exercises already"):
        register(elsewhere)


def of_the_book():
    """Every exercise that a chapter's view registers; a chapter without one is not overlooked."""
    views = sorted(path.parent.parent for path in (ROOT / "greenlab").glob("*/view/__init__.py"))
    assert len(views) >= 6
    for folder in views:
        importlib.import_module(f"greenlab.{folder.name}.view")
    found = dict(solutions())
    modules = {task.checker.__module__ for task in found.values()}
    assert {f"greenlab.{folder.name}.view.exercises" for folder in views} <= modules
    return found


def test_every_reference_of_the_book_passes_its_own_check_and_no_stub_does():
    """Over all chapters that exist: the registry cannot hold an exercise without an answer."""
    for task in of_the_book().values():
        assert task.verdict(task.reference) is None, f"the reference of {task.id} is refused by its own checker"
        with pytest.raises(NotImplementedError):
            task.verdict(...)
