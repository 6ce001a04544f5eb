"""What a distillation gives: how much of the gap to its teacher a student closes, and when its energy comes back.

Each function takes numbers or arrays. Energies are those you give, with the basis that they have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from greenlab.core import checks

Number = Any  # a float for numbers in, a float64 array for an array in
MOST = 1e30  # in any unit: beyond every amount there is, and far from overflow in products of a few


def gap_closed(alone_loss: ArrayLike, distilled_loss: ArrayLike, teacher_loss: ArrayLike) -> Number:
    """The share of the gap between a student trained alone and its teacher that distillation closes.

    0 where the distilled student is as good as the one alone, 1 where it is as good as the teacher, below 0 where the
    teacher did harm.

    Args:
        alone_loss: of the student trained without a teacher [nats per token].
        distilled_loss: of the student trained with one.
        teacher_loss: of the teacher, on the same text.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if a loss is negative, shapes do not fit, or the student alone is not worse than the teacher.

    >>> gap_closed(2.0, 1.75, 1.5)
    0.5
    """
    losses = _amounts(alone_loss=alone_loss, distilled_loss=distilled_loss, teacher_loss=teacher_loss)
    alone, distilled, teacher = losses.values()
    if not np.all(alone > teacher):
        raise ValueError(
            f"alone_loss={alone_loss!r:.80} is not above teacher_loss={teacher_loss!r:.80}: there is no gap to close; "
            "take a teacher that is better than the student alone"
        )
    return _plain((alone - distilled) / (alone - teacher))


def distillation_energy(
    n_tokens: ArrayLike,
    student_j_per_token: ArrayLike,
    teacher_j_per_token: ArrayLike = 0.0,
    teacher_training_j: ArrayLike = 0.0,
) -> Number:
    """Energy of making a student [J]: its steps, the teacher's reading, and the teacher's training if it counts.

    Args:
        n_tokens: tokens of all steps.
        student_j_per_token: of a training step of the student [J per token].
        teacher_j_per_token: of the teacher's forward pass in it [J per token]; 0 where the first one holds it.
        teacher_training_j: of a teacher that was trained for this student alone [J]; 0 where it was there already.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one is negative or not finite, or shapes do not fit.

    >>> distillation_energy(1000, 0.5, 0.25, teacher_training_j=100)
    850.0
    """
    tokens, student, teacher, training = _amounts(
        n_tokens=n_tokens,
        student_j_per_token=student_j_per_token,
        teacher_j_per_token=teacher_j_per_token,
        teacher_training_j=teacher_training_j,
    ).values()
    return _plain(tokens * (student + teacher) + training)


def break_even_queries(
    distillation_j: ArrayLike,
    teacher_j_per_token: ArrayLike,
    student_j_per_token: ArrayLike,
    tokens_per_query: ArrayLike,
    teacher_training_j: ArrayLike = 0.0,
) -> Number:
    """Queries after which answering with the student has saved what making it cost; infinite where it never does.

    It compares energies only: where the student answers worse, no number of queries is a saving.

    Args:
        distillation_j: energy of the distillation [J].
        teacher_j_per_token: of an answer by the teacher [J per token].
        student_j_per_token: of an answer by the student [J per token].
        tokens_per_query: length of an answer, above 0.
        teacher_training_j: of a teacher that was trained for this student alone [J].

    Returns:
        Number of queries, not rounded. Infinity where the student needs as much as the teacher or more.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one is negative or not finite, ``tokens_per_query`` is 0, or shapes do not fit.

    >>> break_even_queries(1000, 3.0, 1.0, tokens_per_query=100)
    5.0
    >>> break_even_queries(1000, 1.0, 1.0, tokens_per_query=100)
    inf
    """
    amounts = _amounts(
        distillation_j=distillation_j,
        teacher_j_per_token=teacher_j_per_token,
        student_j_per_token=student_j_per_token,
        tokens_per_query=tokens_per_query,
        teacher_training_j=teacher_training_j,
    )
    invested, teacher, student, tokens, training = amounts.values()
    if not np.all(tokens > 0):
        raise ValueError(f"tokens_per_query={tokens_per_query!r:.80}: give numbers above 0")
    saved = (teacher - student) * tokens
    queries = np.full(saved.shape, np.inf)
    np.divide(invested + training, saved, out=queries, where=saved > 0)
    return _plain(queries)


@dataclass(frozen=True)
class BreakEven:
    """Queries until a distillation has paid, with their range; ``high`` is infinite where it may never pay."""

    queries: float
    low: float
    high: float


def break_even_range(
    distillation_j: tuple[float, float, float],
    teacher_j_per_token: tuple[float, float, float],
    student_j_per_token: tuple[float, float, float],
    tokens_per_query: tuple[float, float, float],
    teacher_training_j: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> BreakEven:
    """`break_even_queries` of amounts with ranges, each as (low, value, high).

    The ends are the best and the worst case, all amounts being free to vary by themselves. Errors that amounts have in
    common, such as the scale of one meter, cancel in truth, so the range is rather too wide.

    Args:
        distillation_j: energy of the distillation [J].
        teacher_j_per_token: of an answer by the teacher [J per token].
        student_j_per_token: of an answer by the student [J per token].
        tokens_per_query: length of an answer.
        teacher_training_j: of a teacher that was trained for this student alone [J].

    Raises:
        TypeError: if an argument is not three numbers.
        ValueError: if a number is out of range, or a value lies outside its own range.

    >>> break_even_range((800, 1000, 1200), (2.5, 3, 3.5), (0.5, 1, 1.5), (100, 100, 100))
    BreakEven(queries=5.0, low=2.6666666666666665, high=12.0)
    """
    ranges = {
        "distillation_j": _triple("distillation_j", distillation_j),
        "teacher_j_per_token": _triple("teacher_j_per_token", teacher_j_per_token),
        "student_j_per_token": _triple("student_j_per_token", student_j_per_token),
        "tokens_per_query": _triple("tokens_per_query", tokens_per_query),
        "teacher_training_j": _triple("teacher_training_j", teacher_training_j),
    }
    saves = ("teacher_j_per_token", "tokens_per_query")  # more of these pays sooner, more of the others later
    best = {name: values[2 if name in saves else 0] for name, values in ranges.items()}
    worst = {name: values[0 if name in saves else 2] for name, values in ranges.items()}
    middle = {name: values[1] for name, values in ranges.items()}
    return BreakEven(*(break_even_queries(**amounts) for amounts in (middle, best, worst)))


def _triple(name: str, value: Any) -> tuple[float, float, float]:
    wanted = "give three numbers, (low, value, high)"
    if not isinstance(value, (tuple, list)):
        raise TypeError(f"{name}={value!r:.80} is {type(value).__name__}: {wanted}")
    if len(value) != 3:
        raise ValueError(f"{name} has {len(value)} numbers: {wanted}")
    low, middle, high = (checks.number(name, one, low=0, high=MOST, remedy=wanted) for one in value)
    if not low <= middle <= high:
        raise ValueError(f"{name}={value!r:.80} is not in order: {wanted}")
    return low, middle, high


def _amounts(**values: Any) -> dict[str, np.ndarray]:
    """Each as float64, all of a common shape."""
    found = {name: checks.numbers(name, value, low=0, high=MOST) for name, value in values.items()}
    try:
        together = np.broadcast_arrays(*found.values())
    except ValueError:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in found.items())
        raise ValueError(f"the shapes do not fit: {shapes}; give numbers, or arrays of one shape") from None
    return dict(zip(found, together, strict=True))


def _plain(result: Any) -> Number:
    return float(result) if np.ndim(result) == 0 else result
