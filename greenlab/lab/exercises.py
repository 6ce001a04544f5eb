"""Exercises with instant, specific hints. A wrong answer never breaks a notebook: the reference answer steps in.

A chapter registers its checkers in its own lab file::

    @exercise("distillation-loss", reference=distillation.loss, difficulty="medium", minutes=10,
              hints=("Compare the gradient at T=1 and T=10.",))
    def _(answer):
        '''The loss keeps its size when the temperature changes.'''
        if abs(answer(student, teacher, 4.0) - answer(student, teacher, 1.0)) > 1: return "your loss ignores T^2"

The notebook's exercise cell (tag ``exercise``) holds the stub and, as its last statement, ``loss = check("...", loss)``.
"""

from __future__ import annotations

import dis
import inspect
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import EllipsisType, MappingProxyType
from typing import Any

from greenlab.core.names import unknown

DIFFICULTIES = ("easy", "medium", "hard")
Checker = Callable[[Any], str | None]
_registry: dict[str, Exercise] = {}
_failures: Counter[str] = Counter()  # per exercise, in this kernel: each further try shows one more hint
_NOTHING_DONE = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}  # all that an empty body compiles to


@dataclass(frozen=True)
class Exercise:
    """A registered exercise.

    Attributes:
        id: names the exercise, as in ``check(id, answer)``.
        title: the first line of the checker's docstring; completes "Correct: ...".
        reference: a right answer, a value or a function; used until the reader has one.
        difficulty: easy, medium or hard.
        minutes: how long it takes.
        hints: general hints, shown one more at each wrong try, after the checker's specific one.
        checker: a reader's answer to None (or "") if right, else a specific hint.
    """

    id: str
    title: str
    reference: Any
    difficulty: str
    minutes: int
    hints: tuple[str, ...]
    checker: Checker

    def verdict(self, answer: Any) -> str | None:
        """None if the answer is right, else the specific hint; NotImplementedError if it is still a stub."""
        if untried(answer):
            raise NotImplementedError(self.id)
        try:
            return self.checker(answer) or None
        except NotImplementedError:
            raise
        except Exception as error:
            return f"your answer raised {type(error).__name__}: {error}"


def untried(answer: Any) -> bool:
    """True for ``...``, None, and a function whose body does nothing: the reader has not begun.

    >>> def stub(x):
    ...     '''Fill me in.'''
    ...     ...
    >>> untried(stub), untried(...), untried(lambda x: x), untried(0)
    (True, True, False, False)
    """
    if answer is None or isinstance(answer, EllipsisType):
        return True
    if not inspect.isfunction(answer):
        return False
    steps = list(dis.get_instructions(answer))
    empty = all(step.opname in _NOTHING_DONE for step in steps)
    return empty and all(step.argval in (None, ...) for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST"))


def exercise(
    id: str, *, reference: Any, difficulty: str, minutes: int, hints: tuple[str, ...] = ()
) -> Callable[[Checker], Checker]:
    """Register the decorated function as the checker of an exercise.

    Args:
        id: names the exercise over the whole book; start it with the chapter's name.
        reference: a right answer, a value or a function.
        difficulty: easy, medium or hard.
        minutes: how long it takes, at least 1.
        hints: general hints, from vague to nearly the answer.

    Raises:
        ValueError: if the id is taken by another checker, the difficulty or the minutes are out of range, or the checker
            has no docstring to take its title from.
    """
    if difficulty not in DIFFICULTIES:
        raise ValueError(f"difficulty is {difficulty!r}; write {', '.join(DIFFICULTIES)}")
    if minutes < 1:
        raise ValueError(f"minutes is {minutes}; give at least 1")

    def register(checker: Checker) -> Checker:
        title = (inspect.getdoc(checker) or "").partition("\n")[0].rstrip(".")
        if not title:
            raise ValueError(f"the checker of {id!r} has no docstring; its first line completes 'Correct: ...'")
        known = _registry.get(id)
        # a reloaded module registers its own checkers again; two places may not share an id
        if known and (known.checker.__module__ != checker.__module__):
            raise ValueError(f"exercise {id!r} is registered in {known.checker.__module__} already; choose another id")
        _registry[id] = Exercise(id, title, reference, difficulty, minutes, tuple(hints), checker)
        return checker

    return register


def check(id: str, answer: Any = ...) -> Any:
    """Check an answer, print what is right or what to look at, and give back something the next cells can use.

    Args:
        id: the exercise.
        answer: the reader's value or function; ``...`` and None mean that it was not tried.

    Returns:
        The reader's answer if it is right, else the reference.

    Raises:
        ValueError: if there is no such exercise. A wrong answer never raises.
    """
    if id not in _registry:
        raise unknown("exercise", id, _registry, "exercises are registered when the chapter's lab file is imported")
    task = _registry[id]
    try:
        hint = task.verdict(answer)
    except NotImplementedError:
        print(f"Not tried yet ({task.difficulty}, {task.minutes} min). Until then the reference answer is used.")
        return task.reference
    if hint is None:
        _failures.pop(id, None)
        print(f"Correct: {task.title}.")
        return answer
    tiers = (hint, *task.hints)
    shown = min(_failures[id], len(tiers) - 1)
    _failures[id] += 1
    print(f"Not yet: {hint} (hint 1 of {len(tiers)})")
    for number in range(1, shown + 1):
        print(f"Hint {number + 1} of {len(tiers)}: {tiers[number]}")
    if shown + 1 < len(tiers):
        print("Run the cell again for one more hint.")
    print("Until then the reference answer is used.")
    return task.reference


def solutions() -> Mapping[str, Exercise]:
    """Every registered exercise by id. ``make check`` proves that each reference passes its own check."""
    return MappingProxyType(_registry)
