"""What an answer needs of other cells comes along, and what cannot come is said."""

import json

import pytest

from greenlab.lab.classroom import from_cell, from_notebooks, verdict
from greenlab.lab.classroom.context import context_of, needed_names
from tests.classroom.test_grading import TASK, VALUE


def written(folder, *cells, name="own.ipynb"):
    """A notebook in which every cell that has a check is an exercise."""
    parts = [
        {"cell_type": "code", "metadata": {"tags": ["exercise"] * ("check(" in source)}, "source": source}
        for source in cells
    ]
    (folder / name).write_text(json.dumps({"cells": parts}))
    return {answer.exercise: answer for answer in from_notebooks(folder)[0]}, from_notebooks(folder)[1]


HELPERS = (
    "import math as m\nfrom fractions import Fraction, Decimal",
    "J_PER_KWH = 3.6e6\nfactors = {'kilo': 1.0}\nfactors['kilo'] = J_PER_KWH",
    "class Rate:\n    def __init__(self, grams):\n        self.grams = grams",
    "def grams(joules, rate):\n    return m.floor(1) * joules / factors['kilo'] * Rate(rate).grams",
)


def test_an_answer_with_helpers_of_other_cells_is_graded_as_it_ran(tmp_path):
    own = 'def run_g(p, t, i):\n    return grams(p * t, i)\n\n\nrun_g = check("run", run_g)'
    found, passed = written(tmp_path, *HELPERS, "grams(1, 2)", own)
    assert passed == []
    assert verdict(TASK, found["run"]) == ("correct", "")
    assert "Fraction" not in found["run"].context
    assert "grams(1, 2)" not in found["run"].context  # what the notebook only tries is not run again


def test_an_answer_uses_the_reader_s_answer_to_another_exercise(tmp_path):
    first = 'def run_g(p, t, i):\n    return p * t / 3.6e6 * i\n\n\nrun_g = check("run", run_g)'
    second = 'x = run_g(3.6e6, 1, 4.0)\nx = check("value", x)'
    found, passed = written(tmp_path, first, second)
    assert passed == []
    assert verdict(VALUE, found["value"]) == ("correct", "")
    wrong, _ = written(tmp_path, first.replace("/ 3.6e6", ""), second)
    assert verdict(VALUE, wrong["value"])[0] == "wrong"


def test_the_definition_above_counts_and_one_below_only_where_there_is_none(tmp_path):
    found, _ = written(tmp_path, "a = 1.0", "a = 3.0", 'x = a + b\nx = check("value", x)', "a = 9.0", "b = 1.0")
    assert verdict(VALUE, found["value"]) == ("correct", "")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (("x = 1",), "value: helper is in no saved cell of the notebook"),
        (("%time helper = 4.0",), "value: helper is in no saved cell of the notebook"),
        (("for helper in (4.0,):\n    pass",), "value: helper is made in a loop or a block of another cell"),
        (("from greenlab.lab import table as helper",), "value: helper comes from greenlab.lab"),
        (("from greenlab.ternary import view as helper",), "value: helper comes from greenlab.ternary.view"),
        ((f"helper = len({'a' * 21_000!r})",), "value: what it needs of other cells is left out: context has"),
        (
            (*(f"h{n} = h{n + 1}" for n in range(300)), "helper = h0"),
            "value: what it needs of other cells is left out: it is more than 200 statements",
        ),
    ],
)
def test_what_cannot_be_packed_is_said_when_it_is_handed_in(cells, said, tmp_path):
    found, passed = written(tmp_path, *cells, 'x = helper\nx = check("value", x)')
    assert any(line.startswith(said) for line in passed)
    assert verdict(VALUE, found["value"])[0] == "wrong"


def test_every_check_of_a_cell_is_an_answer(tmp_path):
    cell = 'x = 4.0; x = check("value", x)\n@str\ndef run_g(): pass\nrun_g = lambda p, t, i: p * t / 3.6e6 * i\n'
    cell += 'check("run", run_g)\nprint("done")'
    found, passed = written(tmp_path, cell)
    assert passed == []
    assert verdict(VALUE, found["value"]) == ("correct", "")
    assert verdict(TASK, found["run"]) == ("correct", "")
    assert "print" not in found["run"].source  # what stands below the check has not run when it checks


@pytest.mark.parametrize(
    "call", ['check("value", 2.0 * 2)', 'y = check("value", 2.0 * 2)', 'check(answer=4.0, id="value")']
)
def test_a_check_of_an_expression_is_an_answer(call):
    (answer,) = from_cell(call)
    assert verdict(VALUE, answer) == ("correct", "")


def test_a_check_that_is_written_in_another_way_is_said(tmp_path):
    found, passed = written(tmp_path, 'print(check("value", 4.0))')
    assert (found, len(passed)) == ({}, 1)
    assert "write its check as" in passed[0]


def test_a_copy_of_a_notebook_does_not_replace_it_in_silence(tmp_path):
    written(tmp_path, 'x = 3.0\nx = check("value", x)', name="05_own-Copy1.ipynb")
    found, passed = written(tmp_path, 'x = 4.0\nx = check("value", x)', name="05_own.ipynb")
    assert found["value"].source == "x = 4.0"
    assert passed == ["value is answered in 05_own.ipynb and in 05_own-Copy1.ipynb: the first of them is packed"]
    found, passed = written(tmp_path, *(f'x = {n}.0\nx = check("value", x)' for n in (3, 4)), name="05_own.ipynb")
    assert found["value"].source == "x = 4.0"
    assert "value is answered twice in 05_own.ipynb: the last cell is packed" in passed


def test_names_of_an_inner_scope_are_not_needed():
    source = "import math\n"
    source += "def f(a, *b, c=start):\n    total = sum(x for x in b)\n    return lambda y: math.pi * y * a + far\n"
    assert needed_names(source) == {"start", "far"}


def test_a_cell_that_builds_on_itself_comes_to_an_end():
    assert context_of("x = f()", ["def f(): return g()", "def g(): return f()", "x = f()"], 2)[1] == []
