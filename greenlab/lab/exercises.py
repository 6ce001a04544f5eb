"""Exercises with instant, specific hints. A wrong answer never breaks a notebook.

A chapter registers its exercises in its own view. A function is compared with the reference on random arguments; the
checker only adds the hints for the slips that are to be expected::

    def loss(student, teacher, temperature):
        ...

    def draw(random):
        return torch.randn(4), torch.randn(4), random.uniform(1, 10)

    @exercise("distillation-loss", reference=loss, inputs=draw, difficulty="medium", minutes=10,
              hints=("Compare the gradient at T=1 and T=10.",))
    def _(answer):
        '''The loss keeps its size when the temperature changes.'''
        if abs(answer(student, teacher, 4.0) - answer(student, teacher, 1.0)) > 1: return "your loss ignores T^2"

A question whose answer is one value is registered with ``worked=``, the function without arguments that works it out.

The notebook's exercise cell (tag ``exercise``) holds the stub and, as its last statement,
``loss = check("...", loss)``.
"""

from __future__ import annotations

import contextlib
import copy
import dis
import inspect
import io
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType, EllipsisType, MappingProxyType
from typing import Any

import numpy as np

from greenlab.core import checks
from greenlab.core.checks import integer, number, one_of
from greenlab.core.names import unknown

DIFFICULTIES = ("easy", "medium", "hard")
DRAWS = 24  # random argument tuples on which a function is compared with its reference
TOLERANCE = 1e-9  # relative: room for another order of the same arithmetic, and for nothing else
Checker = Callable[[Any], str | None]
Inputs = Callable[[random.Random], tuple[Any, ...]]
_registry: dict[str, Exercise] = {}
_failures: Counter[str] = Counter()  # per exercise, in this kernel: each further try shows one more hint
_NOTHING_DONE = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST"}  # all that an empty body compiles to


class Wrong(Exception):
    """The answer is wrong, and the message is the hint; raised inside a check and never shown as an error."""


@dataclass(frozen=True)
class Exercise:
    """A registered exercise.

    Attributes:
        id: names the exercise, as in ``check(id, answer)``.
        title: the first line of the checker's docstring; completes "Correct: ...".
        reference: a right answer, a value or a function.
        difficulty: easy, medium or hard.
        minutes: how long it takes.
        hints: general hints, shown one more at each wrong try, after the checker's specific one.
        checker: takes the reader's answer; gives back None (or "") if it sees no slip, else a specific hint.
        inputs: draws the arguments of one comparison with the reference; None if the checker is complete without.
        tolerance: relative difference that still counts as equal.
        worked: for one value as answer, the function without arguments that works it out.
        bug: for "find the bug", the wrong function that the reader is given; unchanged, it is a stub.
    """

    id: str
    title: str
    reference: Any
    difficulty: str
    minutes: int
    hints: tuple[str, ...]
    checker: Checker
    inputs: Inputs | None = None
    tolerance: float = TOLERANCE
    worked: Callable[[], Any] | None = None
    bug: Callable[..., Any] | None = None

    @property
    def solution(self) -> Callable[..., Any] | None:
        """The function that gives the right answer or works it out; None if the reference is a bare value."""
        return self.worked or (self.reference if callable(self.reference) else None)

    def draws(self) -> list[tuple[Any, ...]]:
        """The random arguments on which an answer is compared with the reference, new copies at each call."""
        if self.inputs is None:
            return []
        return [self.inputs(random.Random(f"{self.id} {draw}")) for draw in range(DRAWS)]

    def verdict(self, answer: Any) -> str | None:
        """Say what is wrong with an answer.

        Args:
            answer: the reader's value or function.

        Returns:
            None if the answer is right, else the most specific hint.

        Raises:
            NotImplementedError: if it is still a stub.
        """
        if untried(answer) or (self.bug is not None and _same_code(answer, self.bug)):
            raise NotImplementedError(self.id)
        try:
            if callable(self.reference):
                return self._hint_on_function(answer)
            return self._hint_on_value(answer)
        except Wrong as wrong:
            return str(wrong)
        except NotImplementedError:
            raise
        except Exception as error:
            return f"your answer could not be checked: {type(error).__name__}: {error}"

    def _hint_on_value(self, answer: Any) -> str | None:
        if problem := kind_problem(answer, self.reference, "your answer is", whole=False):
            return problem
        if hint := self.checker(_plain(answer)):
            return hint
        if differs(answer, self.reference, self.tolerance):
            return f"{_shown(answer)} is not the answer"
        return None

    def _hint_on_function(self, answer: Any) -> str | None:
        if not callable(answer):
            return f"{_shown(answer)} is {type(answer).__name__}: give a function, its name without brackets"
        guarded = _Guarded(answer, self.reference)
        # a float where a count is asked comes after the checker, which knows better what that float is
        if hint := self.checker(guarded) or guarded.not_whole:
            return hint
        for arguments in self.draws():
            want = self.reference(*copy.deepcopy(arguments))
            got = guarded(*arguments)
            if guarded.not_whole:
                return guarded.not_whole
            if problem := differs(got, want, self.tolerance):
                called = ", ".join(_shown(argument) for argument in arguments)
                return f"for ({called}) the right answer is {_shown(want)}, yours gives {_shown(got)}{problem}"
        return None


class _Guarded:
    """The reader's function as a checker calls it: on copies, its prints held back, its result of the right kind.

    Only the first call's printed text is shown: a check calls the function dozens of times.
    """

    def __init__(self, function: Callable[..., Any], reference: Callable[..., Any]) -> None:
        self.function, self.reference, self.calls = function, reference, 0
        self.not_whole = ""  # what is wrong with the first float that was given where a whole number is asked

    def __call__(self, *arguments: Any) -> Any:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                result = self.function(*copy.deepcopy(arguments))
        except NotImplementedError:
            raise
        except Exception as error:
            raise Wrong(f"your answer raised {type(error).__name__}: {error}") from error
        finally:
            self.calls += 1
        text = printed.getvalue()
        if result is None:
            raise Wrong(_gives_nothing(text))
        if text and self.calls == 1:
            print(text, end="" if text.endswith("\n") else "\n")
        want = self.reference(*copy.deepcopy(arguments))
        if problem := kind_problem(result, want, whole=False):
            raise Wrong(problem)
        self.not_whole = self.not_whole or kind_problem(result, want)
        return _plain(result)


def _gives_nothing(printed: str) -> str:
    nothing = "your function gives back nothing: did you forget return?"
    if not printed.strip():
        return nothing
    return f"{nothing} It prints {_shown(printed.strip())}, which nobody can compute with; replace print by return"


def _shown(value: Any) -> str:
    """A value as a hint writes it: short, and a number with few digits."""
    if isinstance(value, np.generic) or (_is_array(value) and tuple(value.shape) == ()):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.6g}"
    if _is_array(value):
        text = str(value.tolist())
    elif isinstance(value, tuple | list) and any(_is_array(part) or isinstance(part, float) for part in value):
        text = ", ".join(_shown(part) for part in value)
        text = f"({text})" if isinstance(value, tuple) else f"[{text}]"
    else:
        text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _is_array(value: Any) -> bool:
    """Whether it is a NumPy array or a torch tensor; a class that only looks like one is none."""
    return isinstance(value, np.ndarray) or _is_tensor(value)


def _is_tensor(value: Any) -> bool:
    return any(f"{base.__module__}.{base.__name__}" == "torch.Tensor" for base in type(value).__mro__)


def _is_number(value: Any) -> bool:
    """Whether it is one real number: a Python or NumPy number, or an array without axes. Booleans are none."""
    if isinstance(value, bool | np.bool_):
        return False
    if isinstance(value, int | float | np.integer | np.floating):
        return True
    return _is_array(value) and tuple(value.shape) == () and _array(value).dtype.kind in "iuf"


def _is_whole(value: Any) -> bool:
    if _is_array(value):
        return bool(_array(value).dtype.kind in "iu")
    return isinstance(value, int | np.integer)


def _array(value: Any) -> np.ndarray:
    if _is_tensor(value):
        value = value.detach().cpu()
        value = value.double() if value.is_floating_point() else value
        return np.asarray(value.numpy())
    return np.asarray(value)


def _plain(value: Any) -> Any:
    """A number without its wrapping, so that checkers can compute with it; everything else as it is."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.shape == ()):
        return value.item()
    return value


def _kind(value: Any) -> str:
    """What a value is called in a hint.

    >>> _kind(3), _kind("3"), _kind([3]), _kind(np.ones(2)), _kind(True), _kind(len), _kind(3j)
    ('a number', 'text', 'a list', 'an array', 'True or False', 'a function', 'a complex number')
    """
    if _is_number(value):
        return "a number"
    if _is_tensor(value):
        return "a tensor"
    if callable(value):
        return "a function"
    names = {
        str: "text", bytes: "text", bool: "True or False", np.bool_: "True or False", list: "a list", tuple: "a tuple",
        dict: "a dict", set: "a set", range: "a range", complex: "a complex number", np.ndarray: "an array",
    }  # fmt: skip
    found = next((name for kind, name in names.items() if isinstance(value, kind)), "")
    if found:
        return found
    return "a generator" if inspect.isgenerator(value) else f"a {type(value).__name__}"


def kind_problem(got: Any, want: Any, subject: str = "your function gives back", *, whole: bool = True) -> str:
    """What is wrong with the kind of an answer: a list where a number is asked, a fraction where a count is.

    Args:
        got: what the reader gives.
        want: what the reference gives.
        subject: how the sentence begins, such as "your answer is".
        whole: whether a whole number has to be an int, where the reference is one.

    Returns:
        The hint; empty if the kind is right.

    Raises:
        TypeError: if ``subject`` is no text, or ``whole`` no boolean.
    """
    checks.text("subject", subject)
    checks.flag("whole", whole)
    if _is_number(want):
        return _number_problem(got, whole and _is_whole(want), subject)
    asked = _kind(want)
    if isinstance(want, tuple):
        return _tuple_problem(got, want, subject, whole)
    if _kind(got) != asked:
        return f"{subject} {_kind(got)}; {asked} is asked" + _remedy(got, asked)
    if _is_array(got) and _array(got).dtype.kind not in "iuf":
        return f"{subject} {asked} of {got.dtype}; {asked} of real numbers is asked"
    if isinstance(want, list):
        # the lists may differ in length, which the comparison says; the kind of an element is that of the first
        problems = (kind_problem(part, want[0], f"{subject} a list that holds", whole=whole) for part in got if want)
        return next((problem for problem in problems if problem), "")
    return ""


def _tuple_problem(got: Any, want: tuple[Any, ...], subject: str, whole: bool) -> str:
    count = {2: "two", 3: "three"}.get(len(want), str(len(want)))
    if not isinstance(got, tuple):
        return f"{subject} {_kind(got)}; give back {count} things, as in: return first, second"
    if len(got) != len(want):
        return f"{subject} {len(got)} things; give back {count}"
    for position, (part, right) in enumerate(zip(got, want, strict=True), start=1):
        if problem := kind_problem(part, right, f"thing {position} of those you give back is", whole=whole):
            return problem
    return ""


def _number_problem(got: Any, whole: bool, subject: str) -> str:
    if not _is_number(got):
        shown = f", {_shown(got)}" if isinstance(got, str) else ""
        return f"{subject} {_kind(got)}{shown}; a number is asked" + _remedy(got, "a number")
    try:
        float(got)
    except OverflowError:
        return f"{subject} a whole number beyond 1e308, the largest that can be compared"
    if whole and not _is_whole(got) and not math.isnan(float(got)):
        return f"{subject} {_shown(got)}, a float; a whole number (an int) is asked"
    return ""


def _remedy(got: Any, asked: str) -> str:
    if asked == "a number":
        if isinstance(got, str):
            return ": write it without quotes"
        if isinstance(got, list | tuple | set) or _is_array(got):
            size = len(got) if not _is_array(got) else int(np.prod(got.shape))
            return ": take the number out of it" if size == 1 else f": yours holds {size} values"
        if callable(got):
            return ": call it, with brackets and arguments"
        if isinstance(got, bool | np.bool_):
            return ", not the result of a comparison"
    if asked == "a list" and not _is_number(got) and not isinstance(got, str):
        return ": list(...) makes one"
    if asked == "a tensor" and not isinstance(got, str):
        return ": stay with torch's functions, or torch.as_tensor(...) makes one"
    return ""


def differs(got: Any, want: Any, tolerance: float) -> str:
    """Whether two values of one kind differ, by shape, by length or by value.

    NaN differs from everything, an infinity from everything but itself. Around 0, 1e-12 counts as equal.

    Args:
        got: what the reader gives; of the kind of ``want``.
        want: what the reference gives.
        tolerance: relative difference that still counts as equal; for arrays, relative to the largest value.

    Returns:
        Empty if they are equal, else the end of a sentence on the two, such as ": the shape is (3, 2), not (3,)".

    Raises:
        TypeError: if ``tolerance`` is no number.
        ValueError: if it is not from 0 to below 1.
    """
    tolerance = number("tolerance", tolerance, low=0, below=1)
    if isinstance(want, tuple | list):
        if len(got) != len(want):
            return f": {len(want)} values, not {len(got)}"
        problems = (differs(part, right, tolerance) for part, right in zip(got, want, strict=True))
        return next((problem for problem in problems if problem), "")
    if not _is_number(want) and not _is_array(want):
        return "" if type(got) is type(want) and got == want else "."
    a, b = _array(got).astype(np.float64), _array(want).astype(np.float64)
    if a.shape != b.shape:
        return f": the shape is {b.shape}, not {a.shape}"
    if np.isnan(a).any():
        return ": NaN is no number"
    scale = np.max(np.abs(b[np.isfinite(b)]), initial=0.0)
    with np.errstate(invalid="ignore"):
        equal = (a == b) | (np.abs(a - b) <= tolerance * scale + 1e-12)
    return "" if bool(equal.all()) else "."


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


def _same_code(answer: Any, given: Callable[..., Any]) -> bool:
    """Whether a function does exactly what the given one does, step by step; its name and place do not matter."""
    if not (inspect.isfunction(answer) and inspect.isfunction(given)):
        return False
    return _steps(answer.__code__) == _steps(given.__code__)


def _steps(code: CodeType) -> tuple[Any, ...]:
    inner = tuple(_steps(part) if isinstance(part, CodeType) else repr(part) for part in code.co_consts[1:])
    return code.co_code, code.co_names, code.co_varnames, inner


def exercise(
    id: str,
    *,
    reference: Any = None,
    worked: Callable[[], Any] | None = None,
    inputs: Inputs | None = None,
    tolerance: float = TOLERANCE,
    bug: Callable[..., Any] | None = None,
    difficulty: str,
    minutes: int,
    hints: tuple[str, ...] = (),
) -> Callable[[Checker], Checker]:
    """Register the decorated function as the checker of an exercise.

    The checker gets the reader's answer and gives back a hint for a slip that it knows, else None. A function is called
    on copies of the checker's arguments, and a result of another kind than the reference's never reaches the checker.
    The comparison with the reference comes after the checker.

    Args:
        id: names the exercise over the whole book; start it with the chapter's name.
        reference: a right answer, a value or a function.
        worked: instead of a reference: the function without arguments whose result is the right value.
        inputs: takes a ``random.Random`` and draws a tuple of arguments for the reference. Without it, the checker is
            the whole check of a function.
        tolerance: relative difference that still counts as equal.
        bug: for "find the bug": the wrong function that stands in the notebook's cell.
        difficulty: easy, medium or hard.
        minutes: how long it takes, at least 1.
        hints: general hints, from vague to nearly the answer.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if the id is taken by another checker, the difficulty, the minutes or the tolerance are out of
            range, there is not exactly one of reference and worked, inputs are given for a value, or the checker has no
            docstring to take its title from.
    """
    if not isinstance(id, str) or not id:
        raise TypeError(f"id is {id!r}; give a name, such as 'distillation-loss'")
    one_of("difficulty", difficulty, DIFFICULTIES)
    integer("minutes", minutes, low=1)
    number("tolerance", tolerance, low=0, below=1)
    if not isinstance(hints, (tuple, list)) or not all(isinstance(hint, str) for hint in hints):
        raise TypeError(f"hints is {hints!r}; give a tuple of sentences")
    for name, given in {"worked": worked, "inputs": inputs, "bug": bug}.items():
        if given is not None:
            checks.function(name, given)
    if (reference is None) == (worked is None):
        raise ValueError(f"exercise {id!r} has reference and worked, or neither; give exactly one of them")
    right = worked() if worked else reference
    if inputs is not None and not callable(right):
        raise ValueError(f"exercise {id!r} has inputs, and its reference is a value; inputs are for functions")

    def register(checker: Checker) -> Checker:
        title = (inspect.getdoc(checker) or "").partition("\n")[0].rstrip(".")
        if not title:
            raise ValueError(f"the checker of {id!r} has no docstring; its first line completes 'Correct: ...'")
        known = _registry.get(id)
        # a reloaded module registers its own checkers again; two places may not share an id
        if known and (known.checker.__module__ != checker.__module__):
            raise ValueError(f"exercise {id!r} is registered in {known.checker.__module__} already; choose another id")
        _registry[id] = Exercise(
            id, title, right, difficulty, minutes, tuple(hints), checker, inputs, float(tolerance), worked, bug
        )
        return checker

    return register


def check(id: str, answer: Any = ...) -> Any:
    """Check an answer, print what is right or what to look at, and give back an answer that works.

    Args:
        id: the exercise.
        answer: the reader's value or function; ``...`` and None mean that it was not tried.

    Returns:
        The reader's answer if it is right, else the reference.

    Raises:
        TypeError: if the id is no text.
        ValueError: if there is no such exercise. A wrong answer never raises.
    """
    if not isinstance(id, str):
        raise TypeError(f"id is {id!r}, which is {type(id).__name__}; write check('the-id', your_answer)")
    if id not in _registry:
        raise unknown("exercise", id, _registry, "exercises are registered when the chapter's lab file is imported")
    task = _registry[id]
    try:
        hint = task.verdict(answer)
    except NotImplementedError:
        wrong = " As it stands, the function is wrong." if task.bug else ""
        print(f"Not tried yet ({task.difficulty}, {task.minutes} min).{wrong} Nothing below needs it.")
        return task.reference
    if hint is None:
        _failures.pop(id, None)
        print(f"Correct: {task.title}.")
        return answer
    tiers = (hint, *task.hints)
    shown = min(_failures[id], len(tiers) - 1)
    _failures[id] += 1
    print(f"Not yet: {hint} (hint 1 of {len(tiers)})")
    for position in range(1, shown + 1):
        print(f"Hint {position + 1} of {len(tiers)}: {tiers[position]}")
    if shown + 1 < len(tiers):
        print("Run the cell again for one more hint.")
    return task.reference


def solutions() -> Mapping[str, Exercise]:
    """Every registered exercise by id; the tests prove that each reference passes its own check."""
    return MappingProxyType(_registry)
