"""Checks of the arguments of public functions.

Each error names the argument, the value, the allowed range and the remedy.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _bounds(low: float | None, high: float | None, above: float | None, below: float | None) -> str:
    lower = f"at least {low:g}" if low is not None else f"above {above:g}" if above is not None else ""
    upper = f"at most {high:g}" if high is not None else f"below {below:g}" if below is not None else ""
    return " and ".join(part for part in (lower, upper) if part)


def _outside(
    value: float, low: float | None, high: float | None, above: float | None, below: float | None, infinite: bool
) -> bool:
    return (
        math.isnan(value)
        or (math.isinf(value) and not infinite)
        or (low is not None and value < low)
        or (high is not None and value > high)
        or (above is not None and value <= above)
        or (below is not None and value >= below)
    )


def number(
    name: str,
    value: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    infinite: bool = False,
    remedy: str = "",
) -> float:
    """Return one real number as a float, or raise with the name of the argument.

    Args:
        name: the argument's name, as the caller wrote it.
        value: what was given. Booleans, text, arrays and None are refused, also where Python would convert them.
        low: the least allowed value (inclusive), or None.
        high: the greatest allowed value (inclusive), or None.
        above: an exclusive lower bound, or None.
        below: an exclusive upper bound, or None.
        infinite: whether an infinity is a meaning here. NaN never is.
        remedy: what to give instead, appended to the message.

    Raises:
        TypeError: if ``value`` is no real number.
        ValueError: if it is NaN, infinite or out of range.

    >>> number("pue", 1.2, low=1)
    1.2
    >>> number("pue", 0.9, low=1, remedy="a data centre draws at least what its machines draw")
    Traceback (most recent call last):
    ...
    ValueError: pue=0.9: give a finite number at least 1; a data centre draws at least what its machines draw
    """
    hint = f"; {remedy}" if remedy else ""
    kind = "a number" if infinite else "a finite number"
    wanted = f"{kind} {_bounds(low, high, above, below)}".strip()
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, (bool, np.bool_))
    if not real:
        raise TypeError(f"{name}={_shown(value)} is {type(value).__name__}: give {wanted}{hint}")
    try:
        result = float(value)
    except OverflowError:
        raise ValueError(f"{name}={_shown(value)}: give {wanted}{hint}") from None
    if _outside(result, low, high, above, below, infinite):
        raise ValueError(f"{name}={_shown(value)}: give {wanted}{hint}")
    return result


def integer(name: str, value: Any, *, low: int | None = None, high: int | None = None, remedy: str = "") -> int:
    """Return one whole number as an int, or raise with the name of the argument.

    Booleans, floats (also 2.0) and text are refused.

    Raises:
        TypeError: if ``value`` is no integer.
        ValueError: if it is out of range.

    >>> integer("batch_size", 8, low=1)
    8
    >>> integer("batch_size", 0, low=1)
    Traceback (most recent call last):
    ...
    ValueError: batch_size=0: give a whole number at least 1
    """
    hint = f"; {remedy}" if remedy else ""
    wanted = f"a whole number {_bounds(low, high, None, None)}".strip()
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}={value!r} is bool: give {wanted}{hint}")
    try:
        result = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={_shown(value)} is {type(value).__name__}: give {wanted}{hint}") from None
    if (low is not None and result < low) or (high is not None and result > high):
        raise ValueError(f"{name}={_shown(value)}: give {wanted}{hint}")
    return result


def numbers(
    name: str,
    value: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    infinite: bool = False,
    ndim: int | None = None,
    empty: bool = False,
    remedy: str = "",
) -> np.ndarray:
    """Return an array of float64, or raise with the name of the argument and the first value that is out of range.

    Args:
        name: the argument's name, as the caller wrote it.
        value: a number, a sequence, an array or a Series of real numbers. Integers become float64, so that no product
            of them can overflow.
        low: the least allowed value (inclusive), or None.
        high: the greatest allowed value (inclusive), or None.
        above: an exclusive lower bound, or None.
        below: an exclusive upper bound, or None.
        infinite: whether an infinity is a meaning here. NaN never is.
        ndim: the number of axes that is asked for, or None for any.
        empty: whether an array without values is a meaning here.
        remedy: what to give instead, appended to the message.

    Raises:
        TypeError: if it holds anything but real numbers (booleans and text included).
        ValueError: if a value is NaN, infinite or out of range, or the shape is wrong.

    >>> numbers("power_w", [300, 700], low=0)
    array([300., 700.])
    >>> numbers("power_w", [300, -1], low=0)
    Traceback (most recent call last):
    ...
    ValueError: power_w holds -1.0 at position 1: give finite numbers at least 0
    """
    hint = f"; {remedy}" if remedy else ""
    kind = "numbers" if infinite else "finite numbers"
    wanted = f"{kind} {_bounds(low, high, above, below)}".strip()
    try:
        raw = np.asarray(value)
    except ValueError:
        raise ValueError(f"{name}={_shown(value)} has rows of different lengths: give {wanted}{hint}") from None
    if (
        raw.dtype == object
        and raw.size
        and all(
            isinstance(item, (int, float, np.integer, np.floating)) and not isinstance(item, (bool, np.bool_))
            for item in raw.flat
        )
    ):
        raw = raw.astype(float)
    if raw.dtype.kind not in "iuf":
        raise TypeError(f"{name}={_shown(value)} does not hold numbers: give {wanted}{hint}")
    result = raw.astype(np.float64)
    if ndim is not None and result.ndim != ndim:
        raise ValueError(f"{name} has the shape {result.shape}: give {ndim} axis{'es' * (ndim != 1)}{hint}")
    if not empty and result.size == 0:
        raise ValueError(f"{name} is empty: give at least one value{hint}")
    bad = np.isnan(result) if infinite else ~np.isfinite(result)
    for limit, compare in ((low, np.less), (high, np.greater), (above, np.less_equal), (below, np.greater_equal)):
        if limit is not None:
            bad |= compare(result, limit)
    if bad.any():
        position = int(np.flatnonzero(bad)[0])
        raise ValueError(f"{name} holds {float(result.flat[position])!r} at position {position}: give {wanted}{hint}")
    return result


def one_of(name: str, value: Any, known: tuple[str, ...]) -> str:
    """Return ``value`` if it is one of the known words, or raise with the words.

    Raises:
        TypeError: if it is no text.
        ValueError: if it is not; close words are named (`greenlab.core.names.unknown`).

    >>> one_of("basis", "measured", ("measured", "modelled", "cited"))
    'measured'
    """
    from greenlab.core.names import unknown

    if not isinstance(value, str):
        raise TypeError(f"{name}={_shown(value)} is {type(value).__name__}: give one of {', '.join(known)}")
    if value not in known:
        raise unknown(name, value, known)
    return value


def flag(name: str, value: Any) -> bool:
    """Return True or False, or raise: a word such as "no" is true in Python and is refused here.

    Raises:
        TypeError: if ``value`` is no boolean.

    >>> flag("interruptible", True)
    True
    """
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    raise TypeError(f"{name}={_shown(value)} is {type(value).__name__}: give True or False")


def text(name: str, value: Any, *, remedy: str = "") -> str:
    """Return a text, or raise with the name of the argument; an empty one is a text.

    Raises:
        TypeError: if ``value`` is no text.

    >>> text("label", "training")
    'training'
    """
    if not isinstance(value, str):
        hint = f"; {remedy}" if remedy else ""
        raise TypeError(f"{name}={_shown(value)} is {type(value).__name__}: give a text{hint}")
    return value


def function(name: str, value: Any, *, remedy: str = "") -> Any:
    """Return what can be called (a function, a class, a model), or raise with the name of the argument.

    Raises:
        TypeError: if ``value`` cannot be called.

    >>> function("clock", len)
    <built-in function len>
    """
    if not callable(value):
        hint = f"; {remedy}" if remedy else ""
        raise TypeError(f"{name}={_shown(value)} is {type(value).__name__}: give what can be called{hint}")
    return value


def instance(name: str, value: Any, kind: type[T], *, remedy: str = "") -> T:
    """Return an object of a class, or raise with the name of the argument.

    Raises:
        TypeError: if ``value`` is no object of that class.

    >>> instance("shape", (2, 3), tuple)
    (2, 3)
    """
    if not isinstance(value, kind):
        hint = f"; {remedy}" if remedy else ""
        raise TypeError(f"{name}={_shown(value)} is {type(value).__name__}: give a {kind.__name__}{hint}")
    return value


def several(name: str, value: Any, *, remedy: str = "") -> list[Any]:
    """Return the items of a list, a tuple or another iterable as a list; a text is no list of its letters.

    Raises:
        TypeError: if ``value`` has no items.

    >>> several("kept", range(2))
    [0, 1]
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        hint = f"; {remedy}" if remedy else ""
        raise TypeError(f"{name}={_shown(value)} is {type(value).__name__}: give a list or a tuple{hint}")
    return list(value)
