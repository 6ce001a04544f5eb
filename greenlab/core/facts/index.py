"""The index of the facts: every claim, every constant and every number of the wide tables, by its id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from greenlab.core.facts import schema
from greenlab.core.facts.schema import Cell, Row
from greenlab.core.names import unknown

LISTS = "facts.ids() and data/facts/README.md list the ids"
CONFIDENCES = ("seen", "secondary", "unverified", "rumour")  # from surest to least sure
VERDICTS = ("confirmed", "imprecise", "wrong", "outdated", "unverifiable")


@dataclass(frozen=True)
class Claim:
    """A statement of the field, what its source says, how to recompute it, and our verdict.

    ``value`` is the text as written; ``value_low`` and ``value_high`` are its numbers in ``unit``, None when it has
    none.
    """

    id: str
    section: str
    claim: str
    value: str
    value_low: float | None
    value_high: float | None
    unit: str
    source: str
    url: str
    date: str
    source_says: str
    recompute: str
    verdict: str
    why: str
    newer_figure: str
    confidence: str
    notes: str

    def __post_init__(self) -> None:
        _one_of("verdict", self.verdict, VERDICTS, self.id)
        _one_of("confidence", self.confidence, CONFIDENCES, self.id)


@dataclass(frozen=True)
class Fact:
    """One number with its range, unit and source, whichever table it stands in.

    ``value`` is None when only a range is known; ``low`` and ``high`` are None when no range is given. ``text`` is the
    number as the table writes it. ``confidence`` is that of this number, which may be better than that of its row.
    """

    id: str
    name: str
    text: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    source: str
    url: str
    date: str
    confidence: str
    notes: str
    table: str

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError(f"source of {self.id!r} is empty: a number from outside must name its publisher")
        _one_of("confidence", self.confidence, CONFIDENCES, self.id)


def _one_of(name: str, got: str, allowed: tuple[str, ...], id: str) -> None:
    if got not in allowed:
        raise ValueError(f"{name} of {id!r} must be one of {', '.join(allowed)}, got {got!r}")


def check_id(id: str) -> None:
    """Refuse what cannot be the name of a fact.

    Raises:
        TypeError: if it is no text.
    """
    if not isinstance(id, str):
        raise TypeError(f"id={id!r} is {type(id).__name__}: give the id of a fact as text, such as 'iea-dc-2025'")


@lru_cache
def claims() -> dict[str, Claim]:
    """All claims by name."""
    names = [field.name for field in fields(Claim)]
    rows: tuple[Mapping[str, Any], ...] = schema.rows("claims")  # checked cell by cell when they were read
    return {str(row["id"]): Claim(**{name: row[name] for name in names}) for row in rows}


@lru_cache
def facts() -> dict[str, Fact]:
    """All constants and claims by name.

    Raises:
        ValueError: if a name is used twice, or a constant has neither a value nor a range.
    """
    found: dict[str, Fact] = {}
    for table in ("constants", "claims"):
        for row in schema.rows(table):
            fact = of_constant(row) if table == "constants" else of_claim(row)
            if fact.id in found:
                raise ValueError(
                    f"{table}.csv: id {fact.id!r} stands in {found[fact.id].table}.csv already: rename one of them"
                )
            found[fact.id] = fact
    return found


def of_constant(row: Row) -> Fact:
    """A row of constants.csv as a fact.

    Raises:
        ValueError: if it has neither a value nor both ends of a range.
    """
    value, low, high = row["value"], row["low"], row["high"]
    if value is None and (low is None or high is None):
        raise ValueError(f"constants.csv: {row['id']!r} has neither a value nor a range: fill value, or low and high")
    text = f"{value:.12g}" if value is not None else f"{low:.12g}-{high:.12g}"
    return _make(row, "constants", str(row["id"]), row["name"], text, (value, low, high), row["unit"])


def of_claim(row: Row) -> Fact:
    """A row of claims.csv as a fact: one number when both ends of its value are the same."""
    low, high = row["value_low"], row["value_high"]
    numbers = (low, None, None) if low == high else (None, low, high)
    return _make(row, "claims", str(row["id"]), row["claim"], row["value"], numbers, row["unit"])


@lru_cache
def row_tables() -> dict[str, str]:
    """The table of each row whose cells can be quoted as ``row.column``.

    Raises:
        ValueError: if two tables use the same name for a row.
    """
    found: dict[str, str] = {}
    for table in schema.table_names():
        if table in ("claims", "constants"):
            continue
        for row in schema.rows(table):
            key = str(row[schema.key_of(table)])
            if key in found:
                raise ValueError(f"{table}.csv: row {key!r} stands in {found[key]}.csv already: rename one of them")
            found[key] = table
    return found


def cell(id: str) -> Fact:
    """A cell of a wide table as a fact, named ``row.column``.

    Raises:
        TypeError: if the name is no text.
        ValueError: if there is no such row or numeric column, or the cell is empty.
    """
    check_id(id)
    key, _, column = id.partition(".")
    if key not in row_tables():
        raise unknown("row", key, row_tables().keys(), LISTS)
    table = row_tables()[key]
    row = next(row for row in schema.rows(table) if row[schema.key_of(table)] == key)
    numeric = {c.column: c for c in schema.columns(table) if c.kind in ("number", "integer")}
    if column not in numeric:
        raise unknown(f"numeric column of {table}", column, numeric.keys())
    if row[column] is None:
        filled = ", ".join(name for name in numeric if row[name] is not None)
        raise ValueError(f"{table}.csv has no {column!r} of {key!r}, it was not published: {key!r} has {filled}")
    is_intensity = column == "intensity_g_per_kwh"
    spread = (row["low_g_per_kwh"], row["high_g_per_kwh"]) if is_intensity else (None, None)
    name = f"{row.get('name') or row.get('model')}: {numeric[column].meaning}"
    weaker = str(row.get("weaker_columns") or "")
    confidence = row["confidence_other"] if weaker and column not in weaker.split("|") else row["confidence"]
    numbers = (row[column], *spread)
    return _make(row, table, id, name, f"{row[column]:.12g}", numbers, numeric[column].unit, str(confidence))


def _make(
    row: Row, table: str, id: str, name: Cell, text: Cell, numbers: tuple[Cell, ...], unit: Cell, confidence: str = ""
) -> Fact:
    value, low, high = (None if number is None else float(number) for number in numbers)
    return Fact(
        id=id,
        name=str(name),
        text=str(text),
        value=value,
        low=low,
        high=high,
        unit=str(unit),
        source=str(row["source"]),
        url=str(row["url"]),
        date=str(row["date"]),
        confidence=confidence or str(row["confidence"]),
        notes=str(row["notes"]),
        table=table,
    )
