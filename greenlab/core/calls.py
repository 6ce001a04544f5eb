"""Check a function that a reader gives to be measured or timed: its work must be done when the call returns."""

from __future__ import annotations

import functools
import inspect
from typing import Any

LAZY = (map, filter, zip)


def checked_work(name: str, work: Any) -> None:
    """Refuse work that cannot be called, or whose call only prepares something (``async def``, a generator function).

    Args:
        name: the argument's name, as the caller wrote it.
        work: what was given.

    Raises:
        TypeError: if it is no function, or calling it would do nothing yet.

    >>> checked_work("fn", print)
    >>> checked_work("fn", 3)
    Traceback (most recent call last):
    ...
    TypeError: fn=3 is int: give a function without arguments
    """
    if not callable(work):
        raise TypeError(f"{name}={work!r} is {type(work).__name__}: give a function without arguments")
    function = work
    while isinstance(function, functools.partial):
        function = function.func
    for candidate in (function, type(function).__call__):
        if inspect.iscoroutinefunction(candidate):
            raise TypeError(
                f"{name}={work!r} is an async function: calling it makes a coroutine and does no work; "
                f"give lambda: asyncio.run(...), or await it inside a with measure(...) block"
            )
        if inspect.isgeneratorfunction(candidate) or inspect.isasyncgenfunction(candidate):
            raise TypeError(
                f"{name}={work!r} is a generator function: calling it makes a generator and does no work; "
                f"give lambda: list(...)"
            )


def finished(name: str, result: Any) -> Any:
    """Return a result, unless it is work that has still to be done: a coroutine, a generator, a map.

    Args:
        name: the argument's name that the work was given under.
        result: what the work returned.

    Raises:
        TypeError: if the result stands for work that has not been done.

    >>> finished("fn", [1, 2])
    [1, 2]
    """
    lazy = inspect.isgenerator(result) or inspect.isasyncgen(result) or inspect.isawaitable(result)
    if lazy or isinstance(result, LAZY):
        if inspect.iscoroutine(result):
            result.close()  # else Python warns that it was never awaited
        raise TypeError(
            f"{name} returned a {type(result).__name__}: its work has not been done yet; "
            f"give lambda: list(...) or lambda: asyncio.run(...)"
        )
    return result
