"""Texts of a submission where they are printed: a terminal and a spreadsheet obey some of what they are given."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from greenlab.core import checks

LONGEST = 300
_SIGNS = "=+@\uff1d\uff0b\uff0d\uff20-"  # four of them also in full width
# at the start of a text, or behind a semicolon: spreadsheets part cells there where a comma is the decimal sign
_FORMULA = re.compile(rf'(^ *|;[\s"]*)(?=[{_SIGNS}])')


def safe_cells(table: pd.DataFrame) -> pd.DataFrame:
    """The table for a spreadsheet: a text that it would take for a formula gets an apostrophe before it.

    Args:
        table: any table.

    Raises:
        TypeError: if it is no table.

    >>> safe_cells(pd.DataFrame({"learner": ["Ada", "=1+1"]}))["learner"].tolist()
    ['Ada', "'=1+1"]
    """
    checks.instance("table", table, pd.DataFrame)

    def safe(value: Any) -> Any:
        return _FORMULA.sub(lambda found: f"{found[0]}'", value) if isinstance(value, str) else value

    return table.map(safe)


def one_line(text: str) -> str:
    """One printable line of at most 300 letters: what an answer says must not move a cursor or break a table.

    Args:
        text: what a submission or its answer says.

    >>> one_line("a" + chr(27) + "[2J" + chr(10) + "b")
    'a [2J b'
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in str(text)[:LONGEST])
    return " ".join(shown.split())
