"""A name that is not known is answered with the names that are close to it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(what: str, name: str, known: Iterable[str], remedy: str = "") -> ValueError:
    """The error for a name that is not among the known ones; raise what this returns.

    >>> unknown("exercise", "distillation-los", ["distillation-loss", "top-k"])
    ValueError("no exercise 'distillation-los'; close to it: distillation-loss")
    >>> unknown("exercise", "x", [], "import the chapter's lab file first")
    ValueError("no exercise 'x'; none is known yet; import the chapter's lab file first")
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"close to it: {', '.join(near)}" if near else f"known: {', '.join(names)}" if names else "none is known yet"
    return ValueError(f"no {what} {name!r}; {hint}{'; ' + remedy if remedy else ''}")
