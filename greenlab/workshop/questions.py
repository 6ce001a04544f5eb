"""The quiz: a few questions a chapter, with a sentence for each answer that can be chosen."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from greenlab.core.chapters import CHAPTERS
from greenlab.core.machine import ROOT
from greenlab.core.names import unknown

COLUMNS = ["chapter", "id", "question", "option", "right", "feedback", "source"]
RIGHT = {"yes": True, "no": False}


@dataclass(frozen=True)
class Option:
    """An answer that can be chosen.

    Attributes:
        text: what the reader sees.
        right: whether it is the right one.
        feedback: what the reader is told who chose it; links are written as in a notebook.
        source: where the number of a right answer is from, ``facts#...`` or ``studies#...``; empty without one.

    Raises:
        TypeError: if a text is no text, or ``right`` is neither True nor False.
        ValueError: if the answer or its feedback is empty.
    """

    text: str
    right: bool
    feedback: str
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("text", "feedback", "source"):
            _words(name, getattr(self, name), empty=name == "source")
        if not isinstance(self.right, bool):
            raise TypeError(f"right={self.right!r} is {type(self.right).__name__}: give True or False")


@dataclass(frozen=True)
class Question:
    """A question with its answers, exactly one of which is right.

    Raises:
        TypeError: if a text is no text, or the options are no tuple of ``Option``.
        ValueError: if a text is empty, fewer than two answers can be chosen, two are the same, or not exactly one is
            right.
    """

    id: str
    text: str
    options: tuple[Option, ...]

    def __post_init__(self) -> None:
        for name in ("id", "text"):
            _words(name, getattr(self, name))
        if not isinstance(self.options, tuple) or not all(isinstance(option, Option) for option in self.options):
            raise TypeError(f"options={self.options!r:.80}: give a tuple of Option")
        if len({option.text for option in self.options}) < max(2, len(self.options)):
            raise ValueError(f"question {self.id!r}: give at least two answers, each one once")
        if sum(option.right for option in self.options) != 1:
            raise ValueError(f"question {self.id!r}: exactly one answer must be right")


def _words(name: str, value: object, empty: bool = False) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r:.80} is {type(value).__name__}: give text")
    if not value.strip() and not empty:
        raise ValueError(f"{name}={value!r}: give text that is not empty")


def questions(chapter: str, path: str | Path = ROOT / "data" / "quiz" / "quiz.csv") -> tuple[Question, ...]:
    """The questions of a chapter, in the order of the file.

    Args:
        chapter: its name in folders, such as ``layer_pruning``.
        path: a table with the columns of ``data/quiz/quiz.csv``.

    Raises:
        TypeError: if ``chapter`` is no text, or ``path`` no path.
        ValueError: if there is no such chapter or it has no question, the file is missing, or the table has other
            columns or an answer that is marked as neither ``yes`` nor ``no``; and as ``Question`` does.

    >>> [question.id for question in questions("layer_pruning")]
    ['cliff', 'head', 'block']
    """
    _words("chapter", chapter)
    if not isinstance(path, str | Path):
        raise TypeError(f"path={path!r:.80} is {type(path).__name__}: give a path")
    names = [known.name for known in CHAPTERS]
    if chapter not in names:
        raise unknown("chapter", chapter, names)
    if "\0" in str(path) or not Path(path).is_file():
        raise ValueError(f"path={str(path)!r} is no file: give a table like data/quiz/quiz.csv")
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != COLUMNS:
            raise ValueError(f"path={str(path)!r} has the columns {reader.fieldnames}: give {', '.join(COLUMNS)}")
        rows = [row for row in reader if row["chapter"] == chapter]
    found: dict[str, tuple[str, list[Option]]] = {}
    for row in rows:
        if row["right"] not in RIGHT:
            raise ValueError(f"{chapter} {row['id']}: right={row['right']!r}, give yes or no")
        option = Option(row["option"], RIGHT[row["right"]], row["feedback"], row["source"])
        found.setdefault(row["id"], (row["question"], []))[1].append(option)
    if not found:
        raise ValueError(f"chapter={chapter!r} has no question in {Path(path).name}: it is not written yet")
    return tuple(Question(id, text, tuple(options)) for id, (text, options) in found.items())
