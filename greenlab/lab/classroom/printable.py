"""Texts of a submission where they are printed: a terminal and a spreadsheet obey some of what they are given."""

from __future__ import annotations

from typing import Any

import pandas as pd

from greenlab.core import checks

LONGEST = 300


def safe_cells(table: pd.DataFrame) -> pd.DataFrame:
    """The table for a spreadsheet: a text that it would take for a formula begins with an apostrophe.

    Args:
        table: any table.

    Raises:
        TypeError: if it is no table.

    >>> safe_cells(pd.DataFrame({"learner": ["Ada", "=1+1"]}))["learner"].tolist()
    ['Ada', "'=1+1"]
    """
    checks.instance("table", table, pd.DataFrame)

    def safe(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value

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
