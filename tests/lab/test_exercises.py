"""Exercises: right, wrong, untried, broken; and every reference of the book passes its own check."""

import importlib
import math
import re

import numpy as np
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
    expected = "Not tried yet (easy, 5 min). Nothing below needs it.\n"
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
    more = "Run the cell again for one more hint."
    first = "Not yet: your function squares: compare 3 and 2 (hint 1 of 3)"
    assert texts[0] == [first, more]
    assert texts[1] == [first, "Hint 2 of 3: Try 3.", more]
    assert texts[2] == [
        "Not yet: your function gives the wrong number for 3 (hint 1 of 3)",
        "Hint 2 of 3: Try 3.",
        "Hint 3 of 3: It is x + x.",
    ]
    assert texts[3] == [first, "Hint 2 of 3: Try 3.", "Hint 3 of 3: It is x + x."]
    assert texts[4] == ["Correct: Doubling works for every number."]
    assert texts[5] == texts[0]


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (dividing, "your answer raised ZeroDivisionError: division by zero"),
        (lambda: 3, "your answer raised TypeError"),
        (17, "17 is int: give a function, its name without brackets"),
        ("text", "'text' is str: give a function"),
        (lambda x: 10**9999 * x, ""),
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
        ({"difficulty": "trivial"}, "no difficulty 'trivial'; .*easy, hard, medium"),
        ({"difficulty": 3}, "difficulty=3 is int"),
        ({"minutes": 0}, "minutes=0"),
        ({"minutes": 2.5}, "minutes=2.5 is float"),
        ({"tolerance": -1}, "tolerance=-1"),
        ({"tolerance": math.nan}, "tolerance=nan"),
        ({"hints": "one"}, "hints is 'one'; give a tuple of sentences"),
        ({"id": 3}, "id is 3"),
        ({"worked": lambda: 3}, "has reference and worked, or neither"),
        ({"reference": None}, "has reference and worked, or neither"),
        ({"inputs": lambda random: (1,)}, "has inputs, and its reference is a value"),
    ],
)
def test_an_exercise_states_its_difficulty_and_time(registry, arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
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


def test_an_unknown_kind_of_id_is_named(registry):
    with pytest.raises(TypeError, match=r"id is 3, which is int; write check\('the-id', your_answer\)"):
        check(3, right)


# The comparison with the reference ------------------------------------------------------------------------------------


def clipped(x):
    """Right for every number that the checker below tries, and wrong for most."""
    return min(2 * x, 100)


def test_random_arguments_find_what_the_checker_does_not(registry, capsys):
    @exercise(
        "double", reference=reference, inputs=lambda random: (random.uniform(0, 1000),), difficulty="easy", minutes=1
    )
    def _(answer):
        """Twice."""
        return None if answer(3) == 6 else "try 3"

    assert check("double", right) is right
    capsys.readouterr()
    assert check("double", clipped) is reference
    assert re.match(
        r"Not yet: for \(\d+\.\d+\) the right answer is \d+\.\d+, yours gives 100\.", capsys.readouterr().out
    )


def test_the_arguments_are_the_same_at_every_check(registry):
    """A reader who mends one thing sees the effect of that one thing."""

    @exercise("draws", reference=reference, inputs=lambda random: (random.random(),), difficulty="easy", minutes=1)
    def _(answer):
        """Twice."""

    task = solutions()["draws"]
    assert task.draws() == task.draws()
    assert len(set(task.draws())) == exercises.DRAWS >= 5


def test_an_answer_cannot_spoil_the_arguments_of_the_next(registry):
    """The list is the checker's own; the first answer sorts it in place."""
    numbers = [3.0, 1.0, 2.0]

    def first_of(values):
        return values[0]

    @exercise("first", reference=first_of, inputs=lambda random: (numbers,), difficulty="easy", minutes=1)
    def _(answer):
        """The first."""
        return None if answer(numbers) == 3 else "the first of them is 3"

    def spoil(values):
        values.sort()
        return values[0]

    task = solutions()["first"]
    assert task.verdict(spoil) == "the first of them is 3"
    assert numbers == [3.0, 1.0, 2.0]
    assert task.verdict(first_of) is None


def test_what_an_answer_prints_is_shown_once(registry, capsys):
    """For the reader who looks into their function; a check calls it dozens of times."""

    @exercise("loud", reference=reference, inputs=lambda random: (random.random(),), difficulty="easy", minutes=1)
    def _(answer):
        """Twice."""

    def loud(x):
        print("x is", x)
        return 2 * x

    assert check("loud", loud) is loud
    assert capsys.readouterr().out.count("x is") == 1


def test_an_answer_that_prints_is_told_to_return(registry, capsys):
    check("double", lambda x: print(2 * x))
    said = capsys.readouterr().out
    assert (
        "your function gives back nothing: did you forget return? It prints '6', which nobody can compute with" in said
    )

    def forgets(x):
        y = 2 * x  # noqa: F841 - this is the slip

    check("double", forgets)
    assert "Not yet: your function gives back nothing: did you forget return? (hint" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("got", "want", "problem"),
    [
        (1.0, 1.0 + 1e-12, ""),
        (1.0, 1.001, "."),
        (0.0, 0.0, ""),
        (1e-15, 0.0, ""),
        (math.nan, 1.0, ": NaN is no number"),
        (math.nan, math.nan, ": NaN is no number"),
        (math.inf, math.inf, ""),
        (math.inf, 1e308, "."),
        (-math.inf, math.inf, "."),
        (3, 3.0, ""),
        ([1, 2], [1, 2], ""),
        ([1, 2], [1, 2, 3], ": 3 values, not 2"),
        ([2, 1], [1, 2], "."),
        ((1, [2.0]), (1, [2.5]), "."),
        (np.ones(3), np.ones((3, 1)), ": the shape is (3, 1), not (3,)"),
        (np.array([1.0, math.nan]), np.ones(2), ": NaN is no number"),
        (np.array([1.0, 2.0]), np.array([2.0, 1.0]), "."),
        ("a", "a", ""),
        ("a", "b", "."),
    ],
)
def test_two_values_differ_by_shape_and_by_value(got, want, problem):
    assert exercises.differs(got, want, 1e-9) == problem


@pytest.mark.parametrize(
    ("got", "want", "said"),
    [
        (2, 3.0, ""),
        (np.float32(2), 3.0, ""),
        (np.array(2.0), 3.0, ""),
        (2.0, 3, "your function gives back 2, a float; a whole number (an int) is asked"),
        (np.int64(2), 3, ""),
        (True, 3, "True or False; a number is asked, not the result of a comparison"),
        ("3", 3, "text, '3'; a number is asked: write it without quotes"),
        ([3], 3, "a list; a number is asked: take the number out of it"),
        ([3, 4], 3, "a list; a number is asked: yours holds 2 values"),
        (len, 3, "a function; a number is asked: call it"),
        ((1, 2), [1, 2], "a tuple; a list is asked: list(...) makes one"),
        ([1.0, 2.0], [1, 2], "a list that holds 1, a float; a whole number (an int) is asked"),
        ([1, None], [1, 2], "a list that holds a NoneType; a number is asked"),
        ([1, 2], (1, 2), "a list; give back two things, as in: return first, second"),
        ((1, 2, 3), (1, 2), "3 things; give back two"),
        ((1, "2"), (1, 2), "thing 2 of those you give back is text"),
        (np.array([True]), np.ones(1), "an array of bool; an array of real numbers is asked"),
    ],
)
def test_the_kind_of_an_answer_is_told(got, want, said):
    found = exercises.kind_problem(got, want)
    assert said in found
    assert bool(said) == bool(found)


def of_the_book():
    """Every exercise that a chapter's view registers; a chapter without one is not overlooked."""
    found = (path.parent.parent for path in (ROOT / "greenlab").glob("*/view/__init__.py"))
    views = sorted(folder for folder in found if folder.name != "workshop")  # the instructor's kit is no chapter
    assert len(views) >= 6
    for folder in views:
        importlib.import_module(f"greenlab.{folder.name}.view")
    found = dict(solutions())
    modules = {task.checker.__module__ for task in found.values()}
    assert {f"greenlab.{folder.name}.view.exercises" for folder in views} <= modules
    return found


def test_every_reference_of_the_book_passes_its_own_check_and_no_stub_does():
    """Over all chapters that exist: the registry cannot hold an exercise without an answer."""
    tasks = of_the_book()
    assert len(tasks) >= 20
    for task in tasks.values():
        assert task.verdict(task.reference) is None, f"the reference of {task.id} is refused by its own checker"
        with pytest.raises(NotImplementedError):
            task.verdict(...)
