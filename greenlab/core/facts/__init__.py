"""Facts from outside, each with its source: one row in data/facts, quoted by its id.

Three kinds of ids are understood:

* a constant, such as ``iea-dc-2025``: a number of the literature (data/facts/constants.csv);
* a claim, such as ``servers-85p4-twh``: a statement of the field with our verdict (data/facts/claims.csv);
* a cell, such as ``h100-sxm5-80gb.tdp_w``: row and column of accelerators, models or a grid table.

``python -m greenlab.core.facts`` rewrites data/facts/README.md, where every id has an anchor. pandas is imported only
by ``table``, so that a look-up stays light.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from greenlab.core.facts import index, schema
from greenlab.core.facts import prose as facts_prose
from greenlab.core.facts.index import Claim, Fact
from greenlab.core.names import unknown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Claim", "Fact", "claim", "fact", "ids", "low_high", "matches", "table", "tables", "unit", "value"]


def claim(id: str) -> Claim:
    """The claim of that name.

    >>> claim("servers-85p4-twh").verdict
    'confirmed'

    Raises:
        TypeError: if the id is no text.
        ValueError: if there is no such claim; the message lists the nearest names.
    """
    index.check_id(id)
    if id not in index.claims():
        raise unknown("claim", id, index.claims().keys(), index.LISTS)
    return index.claims()[id]


def fact(id: str) -> Fact:
    """The number of that name: a constant, a claim or a cell of a table.

    >>> fact("iea-dc-2025").source
    'IEA, Key Questions on Energy and AI'

    Raises:
        TypeError: if the id is no text.
        ValueError: if the name is unknown, or the cell holds no number.
    """
    index.check_id(id)
    if "." in id:
        return index.cell(id)
    if id not in index.facts():
        raise unknown("fact", id, (*index.facts(), *index.row_tables()), index.LISTS)
    return index.facts()[id]


def value(id: str) -> float:
    """The number of a fact, in ``unit(id)``.

    >>> value("iea-dc-2025"), value("h100-sxm5-80gb.tdp_w")
    (485.0, 700.0)

    Raises:
        ValueError: if the name is unknown or the fact is not one number (a range, a bound, a list or a statement).
    """
    found = fact(id)
    if found.value is None:
        remedy = f"read claim({id!r})" if found.low is None and found.high is None else f"use low_high({id!r})"
        raise ValueError(f"fact {id!r} is not one number but {found.text or 'a statement'} [{found.unit}]: {remedy}")
    return found.value


def low_high(id: str) -> tuple[float, float]:
    """Lower and upper end of a fact, in ``unit(id)``; both are the value when no range is given; open ends are
    infinite.

    >>> low_high("prune-transition-llama2"), low_high("prune-transition-qwen"), low_high("gpus-majority")
    ((45.0, 55.0), (20.0, 20.0), (50.0, inf))

    Raises:
        ValueError: if the name is unknown or the fact has no numbers.
    """
    found = fact(id)
    if found.low is None and found.high is None:
        return value(id), value(id)
    return (-math.inf if found.low is None else found.low), (math.inf if found.high is None else found.high)


def unit(id: str) -> str:
    """Unit of a fact.

    >>> unit("gpt3-intensity")
    'g/kWh'

    Raises:
        ValueError: if the name is unknown.
    """
    return fact(id).unit


def ids() -> tuple[str, ...]:
    """Names of all constants and claims, sorted. Cells (``row.column``) come on top."""
    return tuple(sorted(index.facts()))


def tables() -> tuple[str, ...]:
    """Names of the tables that ``table`` can give."""
    return schema.table_names()


def table(name: str) -> pd.DataFrame:
    """A whole table, numbers as floats (years as integers), a copy that you may change.

    Args:
        name: one of ``tables()``: claims, constants, accelerators, models, grid_intensity, grid_published, grid_mixes.

    Raises:
        TypeError: if the name is no text.
        ValueError: if the table is unknown or broken; the message names file, row and column.
    """
    if not isinstance(name, str):
        raise TypeError(f"name={name!r} is {type(name).__name__}: give one of {', '.join(tables())}")
    return _frame(name).copy()


def matches(id: str, text: str, behind: str = "") -> bool:
    """Whether a number written in prose agrees with the fact to the digits written.

    Understood: thousands separators, 3×10^10 and 3e10, million to trillion, ranges ("45-55 %") and lists with slashes
    ("40/20/40"). A range must be the fact's range; "up to" and "at least" may quote one end of it. A unit must be the
    fact's own, and any word directly behind the number counts as one, also behind the end of a link. A unit may say "a
    prompt" or "a year" more than the table if the fact is about a prompt or about a year. Text with no number, or with
    two, does not match: one link, one number.

    >>> matches("iea-dc-2025", "485 TWh"), matches("iea-dc-2025", "about 500 TWh"), matches("iea-dc-2025", "485 GWh")
    (True, False, False)
    >>> matches("iea-dc-2025", "485", behind=" TWh"), matches("iea-dc-2025", "485", behind=" GWh")
    (True, False)

    Args:
        id: of a fact.
        text: the words of a link.
        behind: the words that follow the link.

    Raises:
        TypeError: if one of them is no text.
        ValueError: if the name is unknown.
    """
    found = fact(id)
    said = facts_prose.quoted(text, found.unit, _nouns(found), behind)
    if said is None:
        return False
    if len(said) > 1:  # a list such as 40/20/40: item by item against the list in the table
        items = facts_prose.quantities(found.text) or []
        ends = [(float(item.low.value), float(item.high.value)) for item in items]
        return len(said) == len(ends) and all(_agrees(quantity, *end) for quantity, end in zip(said, ends, strict=True))
    quantity = said[0]
    if quantity.is_range:
        return found.low is not None and found.high is not None and _agrees(quantity, found.low, found.high)
    if found.value is not None and quantity.low.agrees(found.value):
        return True
    if found.value is None and (found.low is None) != (found.high is None):  # an open range: its one end
        end = found.low if found.high is None else found.high
    else:
        end = {"low": found.low, "high": found.high}.get(quantity.bound)
    return end is not None and quantity.low.agrees(end)


def _nouns(found: Fact) -> list[str]:
    """What a fact is about, as words: its unit may be said to be "a prompt" or "a year" of it."""
    about = f"{found.name} {found.id}"
    year = ["year"] if re.search(r"(?<!\d)(19|20)\d\d(?!\d)|\byear|\bannual", about) else []
    return re.findall(r"[^\W\d_]+", about) + year


def _agrees(quantity: facts_prose.Quantity, low: float, high: float) -> bool:
    return quantity.low.agrees(low) and quantity.high.agrees(high)


@lru_cache
def _frame(name: str) -> pd.DataFrame:
    import pandas as pd

    columns = schema.columns(name)
    frame = pd.DataFrame([dict(row) for row in schema.rows(name)], columns=[column.column for column in columns])
    kinds = {"number": "float64", "integer": "Int64"}  # Int64 can hold an empty cell
    frame = frame.astype({column.column: kinds[column.kind] for column in columns if column.kind in kinds})
    return frame.astype({column.column: "int64" for column in columns if column.kind == "integer" and column.required})
