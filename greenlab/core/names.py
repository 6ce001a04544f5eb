"""Words that several packages share: what a number rests on, and the error for a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

MODELLED = "modelled"  # the value in data; a label that the reader sees may be written in capitals
ENERGY_BASES = ("measured", MODELLED)
SAVING_BASES = (*ENERGY_BASES, "cited")
GRID_BASES = ("computed", MODELLED, "file")
_MOST_NAMED = 12


def unknown(what: str, name: str, known: Iterable[str] | Mapping[str, Any], remedy: str = "") -> ValueError:
    """The error for a name that is not among the known ones; raise what this returns.

    Close are the names that hold the text, and those that are spelled like it; capitals do not count.

    Args:
        what: what the name should have been, as the caller calls it: "exercise", "zone".
        name: what was given.
        known: the known names, also as the keys of a mapping; if its values are texts, either may be meant and both are
            shown.
        remedy: what else to do, appended to the message.

    >>> unknown("exercise", "distillation-los", ["distillation-loss", "top-k"])
    ValueError("no exercise 'distillation-los'; close to it: distillation-loss")
    >>> unknown("exercise", "x", [], "import the chapter's lab file first")
    ValueError("no exercise 'x'; none is known yet; import the chapter's lab file first")
    >>> unknown("zone", "Germny", {"DE": "Germany", "FR": "France"})
    ValueError("no zone 'Germny'; close to it: DE (Germany)")
    """
    names = known if isinstance(known, Mapping) and all(isinstance(label, str) for label in known.values()) else {}
    labels = {code: f"{code} ({label})" for code, label in names.items()}
    codes = list(labels) or sorted(known)
    spellings = {code.lower(): code for code in codes} | {label.lower(): code for code, label in names.items()}
    wanted = str(name).lower()
    holding = [spelling for spelling in spellings if len(wanted) > 2 and wanted in spelling]
    alike = difflib.get_close_matches(wanted, spellings, n=3, cutoff=0.5)
    near = list(dict.fromkeys(spellings[spelling] for spelling in (*holding, *alike)))[:3]
    shown = [labels.get(code, code) for code in near or codes]
    listed = ", ".join(shown[:_MOST_NAMED]) + (f" and {len(shown) - _MOST_NAMED} more" * (len(shown) > _MOST_NAMED))
    hint = f"close to it: {listed}" if near else f"known: {listed}" if codes else "none is known yet"
    return ValueError(f"no {what} {name!r}; {hint}{'; ' + remedy if remedy else ''}")
