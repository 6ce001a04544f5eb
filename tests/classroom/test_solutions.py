"""The book's own solutions, graded as a learner's answers would be."""

import json
import re

import pytest

from greenlab.core.machine import ROOT
from greenlab.lab.classroom import Answer, Limits, from_cell, grading, launch


def solutions():
    found = []
    for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")):
        answer = None
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            tags, source = cell["metadata"].get("tags", []), "".join(cell["source"])
            if "exercise" in tags:
                (answer,) = from_cell(source)
            elif "solution" in tags and answer:
                code = re.search(r"```python\n(.*?)```", source, re.S)
                found.append(Answer(answer.exercise, answer.name, code[1] if code else source))
                answer = None
    return found


SOLUTIONS = solutions()


@pytest.fixture(scope="module")
def tasks():
    return grading.register_exercises()


@pytest.fixture(scope="module")
def starter():
    with launch.Starter() as starter:
        yield starter


def test_nearly_all_exercises_have_one():
    assert len(SOLUTIONS) >= 45


@pytest.mark.parametrize("answer", SOLUTIONS, ids=lambda answer: answer.exercise)
def test_a_solution_of_the_book_is_graded_correct(answer, tasks, starter):
    """As ``grade_folder`` does it: on Linux in copies of one prepared parent."""
    assert grading._judge(tasks[answer.exercise], answer, Limits(), starter)[:2] == ("correct", "")
