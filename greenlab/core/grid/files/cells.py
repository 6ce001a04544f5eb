"""Cells of a table as numbers and times, refused by row when they are neither."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

import numpy as np
import pandas as pd

MISSING = ("", "-", "n/a", "na", "nan", "nat", "none", "null", "n/e", "<na>")
_OFFSET = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_TIME_FORMATS = (
    "ISO8601",
    "%m/%d/%Y %I:%M:%S %p",  # EIA
    "%d.%m.%Y %H:%M",  # ENTSO-E; German spreadsheets
    "%d.%m.%Y %H:%M:%S",
)
_SLASHED = ("%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S")


def floats(column: pd.Series) -> np.ndarray:
    """Numbers, NaN where the cell says that there is none; "1,234" is 1234.

    Raises:
        ValueError: naming row and cell, if a cell is no number.
    """
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=float, na_value=np.nan)
    text = column.astype(str).str.strip()
    text = text.str.replace(r"^(-?\d{1,3}(?:,\d{3})+)(\.\d+)?$", lambda match: match[0].replace(",", ""), regex=True)
    missing = text.str.lower().isin(MISSING)
    values = pd.to_numeric(text.where(~missing), errors="coerce")
    wrong = values.isna() & ~missing
    if wrong.any():
        row, cell = _first(text, wrong)
        raise ValueError(
            f"row {row}: {column.name} is {cell!r}, not a number ({int(wrong.sum())} such rows): "
            "correct it, or leave the cell empty"
        )
    return values.to_numpy(dtype=float)


def times(column: pd.Series) -> pd.DatetimeIndex:
    """Times; in UTC when they carry an offset, without a time zone when they carry none.

    Raises:
        ValueError: naming row and cell, if a cell is no time, or only some carry an offset, or day and month cannot be told apart.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return pd.DatetimeIndex(column).as_unit("ns")
    if pd.api.types.is_datetime64_dtype(column):
        return pd.DatetimeIndex(column).as_unit("ns")
    if pd.api.types.is_numeric_dtype(column):
        raise ValueError(
            f"row {column.index[0]}: {column.name} is {column.iloc[0]}, a number: write times as 2020-01-31 13:00"
        )
    text = column.astype(str).str.strip().str.replace(r"\s?UTC$", "Z", regex=True)
    offset = text.str.contains(_OFFSET) & text.str.contains(":")
    if offset.any() and not offset.all():
        row, cell = _first(text, ~offset)
        raise ValueError(
            f"row {row}: {column.name} is {cell!r}, without an offset that other rows have: give all rows one, or none"
        )
    readings = [pd.to_datetime(text, format=form, utc=bool(offset.all()), errors="coerce") for form in _TIME_FORMATS]
    best = min(readings, key=lambda parsed: int(parsed.isna().sum()))
    if best.isna().any():
        best = _day_or_month(text, utc=bool(offset.all())) if text.str.contains("/").all() else best
    if best.isna().any():
        row, cell = _first(text, best.isna())
        raise ValueError(
            f"row {row}: {column.name} is {cell!r}, not a time ({int(best.isna().sum())} such rows): "
            "write times as 2020-01-31 13:00 or 2020-01-31T13:00Z"
        )
    return pd.DatetimeIndex(best).as_unit("ns")


def _first(text: pd.Series, mask: pd.Series) -> tuple[int, str]:
    """Row number and cell of the first row of a mask."""
    at = int(np.argmax(mask.to_numpy()))
    return int(text.index[at]), str(text.iloc[at])


def _day_or_month(text: pd.Series, *, utc: bool) -> pd.Series:
    """Times with slashes: day first or month first, whichever all rows allow and gives the steadier steps."""
    readings = [pd.to_datetime(text, format=form, utc=utc, errors="coerce") for form in _SLASHED]
    whole = [parsed for parsed in readings if not parsed.isna().any()]
    steps = [parsed.diff().abs().max() for parsed in whole]  # the wrong reading jumps by months at the end of a day
    if len(whole) == 2 and steps[0] == steps[1]:
        row, cell = _first(text, text.notna())
        raise ValueError(
            f"row {row}: {text.name} is {cell!r}: day and month cannot be told apart; write times as 2020-01-31 13:00"
        )
    if whole:
        return min(zip(steps, whole, strict=True), key=lambda pair: pair[0])[1]
    return min(readings, key=lambda parsed: int(parsed.isna().sum()))


def numbers(table: pd.DataFrame) -> np.ndarray:
    """Row numbers of a table, as the file has them."""
    return table.index.to_numpy()


def column(table: pd.DataFrame, fits: Callable[[str], bool], what: str) -> str:
    """The first column whose name, in lower case, fits.

    Raises:
        ValueError: if there is none; the message lists the columns.
    """
    for name in table.columns:
        if fits(name.strip().lower()):
            return name
    raise ValueError(
        f"no column {what} among {list(table.columns)}: take the operator's own file, or pass another format="
    )


def first(names: list[str], wanted: Iterable[str]) -> int | None:
    """Position of the first wanted name, in the order of ``wanted``."""
    return next((names.index(name) for name in wanted if name in names), None)


def all_known(found: Collection[str], known: Collection[str], prefix: str) -> None:
    """Refuse a source of electricity that has no factor: leaving it out would change the intensity in silence."""
    if not found:
        raise ValueError(f"no column of generation: names such as {prefix + next(iter(known))!r} are expected")
    if unknown := [name for name in found if name not in known]:
        raise ValueError(
            f"unknown source of electricity {', '.join(map(repr, unknown))}: known are {', '.join(known)}. "
            "Rename the column, or drop it"
        )


def one_of(codes: list[str], column: str, zone: str | None) -> str:
    """Which of the zones in a file is meant: the only one, or the one that is asked for.

    Raises:
        ValueError: if there are several and none of them is asked for.
    """
    if len(codes) == 1:
        return codes[0]
    if zone not in codes:
        raise ValueError(
            f"zone={zone!r}: the file has several in its column {column!r}: pass zone= one of {', '.join(codes[:12])}"
        )
    return zone
