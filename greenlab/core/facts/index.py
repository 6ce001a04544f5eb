"""The index of the facts: every claim, every constant and every number of the wide tables, by its id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from typing import Any

from greenlab.core.facts import schema
from greenlab.core.facts.schema import Cell, Row
from greenlab.core.names import unknown

LISTS = "facts.ids() and data/facts/README.md list the ids"
CONFIDENCES = ("seen", "secondary", "inferred", "unverified", "rumour")  # from surest to least sure
SHAKY = ("inferred", "unverified", "rumour")  # nobody of us saw the publisher print it: charts draw these hollow
SCOPES = {  # what a figure of energy, power or carbon covers
    "one operation": "an addition, a multiplication or a memory read, nothing around it",
    "accelerators": "GPUs or TPUs alone",
    "hosts": "the processors and memory beside the accelerators",
    "idle machines": "machines that are switched on and wait",
    "overhead of the building": "cooling and losses alone",
    "servers": "whole machines, without the building",
    "servers with PUE": "whole machines and the building's share, by its PUE",
    "whole service": "machines at work, machines that wait, and the building",
    "manufacture": "making the machines alone",
    "life cycle": "manufacture, idle machines and use",
    "data centres": "all data centres with their buildings, without cryptocurrencies",
    "data centres and cryptocurrencies": "the same with cryptocurrencies",
    "AI data centres": "the data centres built for AI",
    "consumption": "electricity that users receive",
    "generation": "electricity that power stations make; about 8 % more than is consumed",
    "network": "lines and routers",
    "with PUE": "of a training: the building's share is in it",
    "without PUE": "of a training: the building's share is left out",
    "development with PUE": "a training with all experiments and failed runs before it, the building's share in it",
    "life cycle with use": "training and the use after it, manufacture included",
    "not stated": "the publisher does not say",
}
_SCOPE = re.compile(r"^scope: ([^;]+)")  # at the start of the remarks of a constant
_SCOPE_OF = {  # the column that holds the scope of a number in models.csv
    "training_energy_mwh": "energy_scope", "emissions_tco2e": "emissions_scope",
}  # fmt: skip
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
    ``scope`` is one of ``SCOPES`` for a figure of energy, power or carbon, and empty for most others.
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
    scope: str = ""

    def __post_init__(self) -> None:
        if not self.source:
            raise ValueError(f"source of {self.id!r} is empty: a number from outside must name its publisher")
        _one_of("confidence", self.confidence, CONFIDENCES, self.id)
        _one_of("scope", self.scope, ("", *SCOPES), self.id)

    @property
    def is_shaky(self) -> bool:
        """Whether nobody of us saw the publisher print it: inferred by others, from memory, or a rumour."""
        return self.confidence in SHAKY


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
    return _cell(id)


@cache
def _cell(id: str) -> Fact:
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
    numbers = (row[column], *spread)
    scope = str(row.get(_SCOPE_OF.get(column, ""), ""))
    if column == "emissions_with_pue_tco2e":
        scope = "with PUE"
    return _make(
        row, table, id, name, f"{row[column]:.12g}", numbers, numeric[column].unit, cell_confidence(row, column), scope
    )


def cell_confidence(row: Row, column: str) -> str:
    """How surely one number of a row is known.

    ``weaker_columns`` of a row lists the columns that its ``confidence`` is about, or gives a column a word of its own:
    "onchip_sram_mb|tdp_w:inferred". All other columns are as sure as ``confidence_other`` says.

    Args:
        row: of a table that has a confidence.
        column: name of one of its columns.

    Raises:
        TypeError: if the row is no mapping, or the column is no text.
        ValueError: if the row has no such column.

    >>> row = {"tdp_w": 1.0, "year": 1, "confidence": "unverified", "confidence_other": "seen"}
    >>> row["weaker_columns"] = "onchip_sram_mb|tdp_w:inferred"
    >>> cell_confidence(row, "tdp_w"), cell_confidence(row, "year")
    ('inferred', 'seen')
    """
    if not isinstance(row, Mapping):
        raise TypeError(f"row={row!r} is {type(row).__name__}: give a row as schema.rows() gives it")
    if not isinstance(column, str):
        raise TypeError(f"column={column!r} is {type(column).__name__}: give the name of a column as text")
    if column not in row or "confidence" not in row:
        raise unknown("column", column, row.keys(), "the row must have a confidence too")
    named = schema.weaker_columns(row)
    if column in named:
        return named[column] or str(row["confidence"])
    return str(row["confidence_other"] if named else row["confidence"])


def _make(
    row: Row, table: str, id: str, name: Cell, text: Cell, numbers: tuple[Cell, ...], unit: Cell, confidence: str = "",
    scope: str = "",
) -> Fact:  # fmt: skip
    written = _SCOPE.match(str(row["notes"])) if table == "constants" else None
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
        scope=written[1].strip() if written else scope,
    )
