"""Check every answer of a class, each in a process of its own, whatever the answers do.

The check runs here, and the answer's function runs there (``process``). The right answers and the verdict never leave
this process, so an answer can print, patch and raise what it likes.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from greenlab.core import chapters, checks
from greenlab.core.machine import ROOT
from greenlab.lab import exercises
from greenlab.lab.classroom import confine, launch
from greenlab.lab.classroom.answers import Answer, from_notebooks
from greenlab.lab.classroom.folder import paths_of, read_folder
from greenlab.lab.classroom.printable import one_line
from greenlab.lab.classroom.process import Limits, Process, Stopped
from greenlab.lab.classroom.submission import Refused, Submission, same_name
from greenlab.lab.exercises import Exercise

OUTCOMES = ("correct", "wrong", "not tried", "time limit", "memory limit", "refused")
COLUMNS = ["file", "learner", "exercise", "outcome", "detail", "held_by"]


def verdict(task: Exercise, answer: Answer, limits: Limits | None = None) -> tuple[str, str]:
    """Check one answer in a process of its own.

    Args:
        task: the exercise.
        answer: what a reader wrote for it.
        limits: what it may use; ``Limits()`` by default.

    Returns:
        One of ``OUTCOMES``, and the hint or the reason.

    Raises:
        TypeError: if an argument is of another kind.
    """
    checks.instance("task", task, Exercise)
    checks.instance("answer", answer, Answer)
    limits = checks.instance("limits", Limits() if limits is None else limits, Limits)
    return _judge(task, answer, limits)[:2]


def _judge(
    task: Exercise, answer: Answer, limits: Limits, starter: launch.Starter | None = None
) -> tuple[str, str, str]:
    """The verdict, and the layers that held the answer's process."""
    process = Process(answer, limits, _takes_tensors(task), starter)
    try:
        with process:
            given = process.start()
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                hint = task.verdict(given)
        outcome, detail = ("wrong", hint) if hint else ("correct", "")
    except Stopped as stopped:
        outcome, detail = stopped.outcome, stopped.detail
    except NotImplementedError:
        outcome, detail = "not tried", ""
    except Exception as error:  # a made-up value that a check cannot take
        outcome, detail = "wrong", f"it could not be checked: {type(error).__name__}: {error}"
    return outcome, one_line(detail), ", ".join(process.layers)


def _takes_tensors(task: Exercise) -> bool:
    """Whether a check may call the answer with tensors; without drawn arguments nobody knows before."""
    if not callable(task.reference):
        return False
    first = next(iter(task.draws()), None)
    return first is None or any(type(argument).__name__ == "Tensor" for argument in first)


def register_exercises() -> Mapping[str, Exercise]:
    """Every exercise of the book, with the chapters' files imported that register them."""
    for chapter in chapters.CHAPTERS:
        if importlib.util.find_spec(f"greenlab.{chapter.name}") is not None:
            importlib.import_module(f"greenlab.{chapter.name}.view")
    return exercises.solutions()


def grade(
    given: Submission,
    tasks: Mapping[str, Exercise],
    stubs: Mapping[str, Answer] | None = None,
    limits: Limits | None = None,
) -> pd.DataFrame:
    """Check all answers of one submission.

    Args:
        given: what a reader handed in.
        tasks: the exercises by id; each gives a row, also without an answer.
        stubs: the cells of the book before anyone writes in them, by id; an answer with the same code was not tried.
        limits: what one answer may use; ``Limits()`` by default.

    Returns:
        One row per exercise, with the columns learner, exercise, outcome, detail and held_by.

    Raises:
        TypeError: if an argument is of another kind.
    """
    checks.instance("given", given, Submission)
    if tasks is None:
        raise TypeError("tasks=None is NoneType: give the exercises by id")
    _by_id("tasks", tasks)
    _by_id("stubs", stubs)
    limits = checks.instance("limits", Limits() if limits is None else limits, Limits)
    with launch.Starter() as starter:
        return _grade(given, tasks, stubs or {}, limits, starter)


def _grade(
    given: Submission,
    tasks: Mapping[str, Exercise],
    stubs: Mapping[str, Answer],
    limits: Limits,
    starter: launch.Starter | None,
) -> pd.DataFrame:
    answers = {answer.exercise: answer for answer in given.answers}
    rows = []
    for id, task in tasks.items():
        answer, stub = answers.pop(id, None), stubs.get(id)
        if answer is None or (stub is not None and answer.text == stub.text):
            outcome, detail, held_by = "not tried", "", ""
        else:
            outcome, detail, held_by = _judge(task, answer, limits, starter)
        rows.append(_row(given.name, id, outcome, detail, held_by))
    rows += [_row(given.name, id, "refused", "exercise: the book has none of this name") for id in answers]
    return pd.DataFrame(rows, columns=COLUMNS[1:])


def _row(learner: str, exercise: str, outcome: str, detail: str, held_by: str = "") -> dict[str, str]:
    return {"learner": learner, "exercise": exercise, "outcome": outcome, "detail": detail, "held_by": held_by}


def _by_id(name: str, value: Any) -> None:
    """Refuse what is no dict of exercises or of answers; None passes."""
    kind: type[Exercise] | type[Answer] = Exercise if name == "tasks" else Answer
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{name}={value!r:.80} is {type(value).__name__}: give a dict of {kind.__name__} by id")
    for id, one in (value or {}).items():
        checks.text(f"{name}: the id", id)
        checks.instance(name, one, kind)


def grade_folder(
    folder: Path | str,
    limits: Limits | None = None,
    *,
    tasks: Mapping[str, Exercise] | None = None,
    stubs: Mapping[str, Answer] | None = None,
    say: Callable[[str], Any] | None = None,
) -> pd.DataFrame:
    """Check all answers of a class.

    Args:
        folder: where the ``.zip`` files are.
        limits: what one answer may use; ``Limits()`` by default.
        tasks: the exercises by id; all of the book by default, which takes seconds to import.
        stubs: the cells before anyone writes in them, by id; those of the book's notebooks by default.
        say: is called with a line for each file, as it is done.

    Returns:
        One row per file and exercise, with the columns file, learner, exercise, outcome (one of ``OUTCOMES``),
        detail, and held_by: which layers held the answer's process, as ``containment`` explains them. A refused file
        has one row, whose detail names the field.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there is no such folder, or it holds no ``.zip`` file.
    """
    paths_of(folder)
    limits = checks.instance("limits", Limits() if limits is None else limits, Limits)
    if say is not None:
        checks.function("say", say)
    for name, value in (("tasks", tasks), ("stubs", stubs)):
        _by_id(name, value)
    if tasks is None:
        tasks = register_exercises()
    if stubs is None:
        stubs = {answer.exercise: answer for answer in from_notebooks(ROOT / "notebooks")[0]}
    tables: list[pd.DataFrame] = []
    names: dict[str, str] = {}
    with launch.Starter() as starter:
        for file, given in read_folder(folder):
            if isinstance(given, Refused):
                done = pd.DataFrame([_row("", "", "refused", one_line(str(given)))])
            else:
                done = _grade(given, tasks, stubs, limits, starter)
            tables.append(done.assign(file=one_line(file)))
            if say is not None:
                counts = done["outcome"].value_counts()
                say(f"{one_line(file)}: " + ", ".join(f"{counts[one]} {one}" for one in OUTCOMES if one in counts))
                if isinstance(given, Submission):
                    first = names.setdefault(same_name(given.name), file)
                    if first != file:
                        say(f"{one_line(file)}: {one_line(first)} has the same name, {one_line(given.name)}")
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def containment() -> list[str]:
    """What holds an answer on this machine and what does not, as sentences; a process is started to see it."""
    with Process(Answer("none", "x", "x = 1"), Limits()) as process:
        process.start()
    lines = [f"{layer}: {text}" for layer, text in confine.WORDS.items() if layer in process.layers]
    lines.append("time and memory are watched from outside")
    lines += [f"no {layer} here: {text}" for layer, text in confine.NOT_HELD.items() if layer not in process.layers]
    if "filter" not in process.layers or "reading" not in process.layers:
        lines.append("grade files of strangers on Linux, or in a container")
    return lines
