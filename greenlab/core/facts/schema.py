"""Reading the tables of data/facts and refusing broken ones with an error that says where.

``columns.csv`` describes every column of every table: its kind, unit, allowed words and whether a cell may be empty.
The other tables are checked against it, cell by cell, so that a wrong number is found when it is written, not when it
is drawn.
Nothing here needs pandas: a look-up of one number stays light.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

from greenlab.core.machine import ROOT
from greenlab.core.names import unknown

FOLDER = ROOT / "data" / "facts"
KINDS = ("key", "text", "number", "integer", "date", "url", "choice")
_ORDERED = {  # columns of a table whose numbers must not decrease from left to right
    "claims": ("value_low", "value_high"),
    "constants": ("low", "value", "high"),
    "grid_intensity": ("low_g_per_kwh", "intensity_g_per_kwh", "high_g_per_kwh"),
}
_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2]))?")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # no dot: "row.column" names a cell

Cell = str | float | int | None
Row = Mapping[str, Cell]


@dataclass(frozen=True)
class Column:
    """One column of a table: what may stand in it and in which unit."""

    table: str
    column: str
    kind: str
    unit: str
    required: bool
    allowed: tuple[str, ...]
    meaning: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(
                f"columns.csv: kind of {self.table}.{self.column} must be one of {KINDS}, got {self.kind!r}"
            )
        if (self.kind == "choice") != bool(self.allowed):
            raise ValueError(
                f"columns.csv: {self.table}.{self.column}: allowed words go with kind 'choice' and only with it"
            )

    def parse(self, text: str) -> Cell:
        """The typed cell; an empty number is None.

        Raises:
            ValueError: if the text does not fit the column (the message says what would).
        """
        if not text:
            if self.required:
                raise ValueError("must not be empty: every row needs it")
            return None if self.kind in ("number", "integer") else ""
        if self.kind in ("number", "integer"):
            try:
                number = int(text) if self.kind == "integer" else float(text)
            except ValueError:
                what = "a whole number" if self.kind == "integer" else "a number"
                raise ValueError(
                    f"must be {what}, got {text!r}: put units and remarks into their own columns"
                ) from None
            if not math.isfinite(number):
                raise ValueError(f"must be finite, got {text!r}: leave the cell empty when the number is unknown")
            return number
        if self.kind == "date" and not _DATE.fullmatch(text):
            raise ValueError(f"must be YYYY or YYYY-MM, got {text!r}")
        if self.kind == "key" and not _KEY.fullmatch(text):
            raise ValueError(f"must be letters, digits, - and _, got {text!r}: links use it")
        if self.kind == "choice" and text not in self.allowed:
            raise ValueError(f"must be one of {', '.join(self.allowed)}, got {text!r}")
        if self.kind == "url" and not re.match(r"https?://\S+$", text):
            raise ValueError(f"must start with http:// or https://, got {text!r}: leave it empty when unknown")
        return text


def _rows_of(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Header and (line number, row) pairs of a CSV file, cells stripped."""
    if not path.is_file():
        raise unknown(
            "table", path.stem, (file.stem for file in path.parent.glob("*.csv")), f"in the folder {path.parent}"
        )
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restkey="", restval="", strict=True)
        header, rows = list(reader.fieldnames or []), []
        for row in reader:
            if "" in row:
                raise ValueError(
                    f"{path.name}, row {reader.line_num}: more cells than columns: quote cells that hold a comma"
                )
            rows.append((reader.line_num, {name: cell.strip() for name, cell in row.items()}))
    return header, rows


def columns(table: str, folder: Path = FOLDER) -> tuple[Column, ...]:
    """The columns of a table as ``columns.csv`` describes them.

    Args:
        table: name of the table, such as "constants".
        folder: where the tables are.

    Raises:
        TypeError: if the name is no text.
        ValueError: if the table is not described there.
    """
    if not isinstance(table, str):
        raise TypeError(f"table={table!r} is {type(table).__name__}: give the name of a table, such as 'constants'")
    found = []
    described = _rows_of(folder / "columns.csv")[1]
    for _, row in described:
        if row["table"] == table:
            allowed = tuple(row["allowed"].split("|")) if row["allowed"] else ()
            required = row["required"] == "yes"
            found.append(Column(table, row["column"], row["kind"], row["unit"], required, allowed, row["meaning"]))
    if not found:
        raise unknown("table", table, {row["table"] for _, row in described}, "columns.csv describes them")
    return tuple(found)


def read_table(table: str, folder: Path = FOLDER) -> tuple[Row, ...]:
    """Read and check one table; the rows are read-only and keyed by column name.

    Args:
        table: name of the file without ``.csv``, such as "constants".
        folder: where the tables stand.

    Raises:
        ValueError: if the table is unknown or broken; the message names file, row and column.
    """
    schema = {column.column: column for column in columns(table, folder)}
    path = folder / f"{table}.csv"
    header, lines = _rows_of(path)
    for name in schema:
        if name not in header:
            raise ValueError(f"{path.name}: column {name!r} is missing; it must have {', '.join(schema)}")
    for name in header:
        if name not in schema:
            raise ValueError(f"{path.name}: column {name!r} is not described in columns.csv: add it there or remove it")
    key = next(column.column for column in schema.values() if column.kind == "key")
    seen: dict[str, int] = {}
    rows: list[Row] = []
    for line, cells in lines:
        where = f"{path.name}, row {line} ({cells[key] or 'no name'}), column"
        row: dict[str, Cell] = {}
        for name, column in schema.items():
            try:
                row[name] = column.parse(cells[name])
            except ValueError as error:
                raise ValueError(f"{where} {name!r}: {error}") from None
        if cells[key] in seen:
            raise ValueError(
                f"{where} {key!r}: {cells[key]!r} stands in row {seen[cells[key]]} already: names must be unique"
            )
        seen[cells[key]] = line
        _check_order(row, _ORDERED.get(table, ()), where)
        for name, confidence in weaker_columns(row).items():
            if name not in schema:
                raise ValueError(f"{where} 'weaker_columns': {name!r} is no column of {path.name}")
            if confidence and confidence not in schema["confidence"].allowed:
                allowed = ", ".join(schema["confidence"].allowed)
                raise ValueError(f"{where} 'weaker_columns': {confidence!r} of {name!r} must be one of {allowed}")
        if row.get("weaker_columns") and not row["confidence_other"]:
            raise ValueError(f"{where} 'confidence_other': must not be empty where weaker_columns is filled")
        rows.append(MappingProxyType(row))
    return tuple(rows)


def weaker_columns(row: Row) -> dict[str, str]:
    """The columns of a row that have a confidence apart: name -> confidence, "" for that of the row.

    >>> weaker_columns({"weaker_columns": "onchip_sram_mb|tdp_w:inferred"})
    {'onchip_sram_mb': '', 'tdp_w': 'inferred'}

    Raises:
        TypeError: if the row is no mapping.
    """
    if not isinstance(row, Mapping):
        raise TypeError(f"row={row!r} is {type(row).__name__}: give a row as rows() gives it")
    parts = (part.partition(":") for part in str(row.get("weaker_columns") or "").split("|"))
    return {name: confidence for name, _, confidence in parts if name}


def _check_order(row: Row, names: tuple[str, ...], where: str) -> None:
    known = [(name, number) for name in names if isinstance(number := row[name], (int, float))]
    for (left, low), (right, high) in pairwise(known):
        if low > high:
            raise ValueError(f"{where} {right!r}: must be at least {left} = {low:g}, got {high:g}")


def key_of(table: str, folder: Path = FOLDER) -> str:
    """Name of the column that names the rows of a table."""
    return next(column.column for column in columns(table, folder) if column.kind == "key")


def table_names(folder: Path = FOLDER) -> tuple[str, ...]:
    """Names of the tables that are described and present, in the order of ``columns.csv``."""
    described = dict.fromkeys(row["table"] for _, row in _rows_of(folder / "columns.csv")[1])
    return tuple(name for name in described if (folder / f"{name}.csv").is_file())


@lru_cache
def rows(table: str) -> tuple[Row, ...]:
    """The checked rows of a table of this book, read once."""
    return read_table(table)
