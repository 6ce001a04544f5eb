"""Cells of a table as numbers and times, refused by row when they are neither."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

import numpy as np
import pandas as pd

MISSING = ("", "-", "n/a", "na", "nan", "nat", "none", "null", "n/e", "<na>")
FIRST_YEAR, LAST_YEAR = 1900, 2150
_OFFSET = re.compile(r"(?:Z|[+-]\d\d:?\d\d)$")
_TIME_FORMATS = (
    "ISO8601",
    "%m/%d/%Y %I:%M:%S %p",  # EIA
    "%d.%m.%Y %H:%M",  # ENTSO-E; German spreadsheets
    "%d.%m.%Y %H:%M:%S",
)
_SLASHED = ("%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S")
_SPACES = r"(?<=\d)[ \u00a0\u202f'](?=\d{3}(?:\D|$))"  # between thousands
# each kind of cell in which a comma or a point occurs, and what it says about the two
_GROUPED_BY_COMMA = r"[+-]?[1-9]\d{0,2}(?:,\d{3}){2,}|[+-]?[1-9]\d{0,2}(?:,\d{3})+\.\d*"
_GROUPED_BY_POINT = r"[+-]?[1-9]\d{0,2}(?:\.\d{3}){2,}|[+-]?[1-9]\d{0,2}(?:\.\d{3})+,\d*"
_DECIMAL_COMMA, _DECIMAL_POINT = r"[+-]?\d[\d.]*,\d*", r"[+-]?\d[\d,]*\.\d*(?:[eE][+-]?\d+)?|[+-]?\.\d+"
_EITHER_COMMA, _EITHER_POINT = r"[+-]?[1-9]\d{0,2},\d{3}", r"[+-]?[1-9]\d{0,2}\.\d{3}"


def shorten(cell: object) -> str:
    """A cell as a message shows it.

    >>> shorten("x" * 99)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'"
    """
    text = str(cell)
    return repr(text if len(text) <= 43 else f"{text[:40]}...")


def listed(names: Iterable[object], most: int = 8) -> str:
    """Names as a message lists them, the first few."""
    known = list(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(shorten(name) for name in known[:most]) + more


def floats(table: pd.DataFrame, name: str, *, of_operator: bool = False) -> tuple[np.ndarray, tuple[str, ...]]:
    """A column as numbers, NaN where the cell says that there is none, and what was decided about commas and points.

    A comma or a point can part thousands or decimals. A cell that can be read in one way only decides for the whole
    column; where there is none, the column is refused.

    Args:
        table: cells of text or of numbers; ``table.attrs["separator"]`` is what stands between them in the file.
        name: the column.
        of_operator: whether the file is an operator's own, in which a comma beside other commas parts thousands
            ("1,050").

    Returns:
        ``(rows,)`` float64, and the repairs.

    Raises:
        ValueError: naming row and cell, if a cell is no number or could be two.

    >>> frame = pd.DataFrame({"g": ["950", "1,050", "990.5"]}, index=[2, 3, 4])
    >>> floats(frame, "g")
    (array([ 950. , 1050. ,  990.5]), ('commas between thousands left out',))
    """
    column = table[name]
    kind = column.dtype.kind if isinstance(column.dtype, np.dtype) else ""
    if kind in tuple("bcmM") or pd.api.types.is_bool_dtype(column):
        raise ValueError(f"column {shorten(name)} is of the type {column.dtype}: it must hold numbers")
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy(dtype=float, na_value=np.nan), ()
    text = column.astype(str).str.strip()
    there = ~text.str.lower().isin(MISSING)
    known = text[there].str.replace(_SPACES, "", regex=True)
    decimal, repairs = _decimal_mark(known, name, str(table.attrs.get("separator", "")), of_operator)
    grouped = known.str.fullmatch(_GROUPED_BY_POINT if decimal == "," else _GROUPED_BY_COMMA)
    grouped |= known.str.fullmatch(_EITHER_POINT if decimal == "," else _EITHER_COMMA)
    known = known.mask(grouped, known.str.replace("." if decimal == "," else ",", "", regex=False))
    values = pd.to_numeric(known.str.replace(",", ".", regex=False) if decimal == "," else known, errors="coerce")
    if values.isna().any():
        row, cell = _first(text[there], values.isna())
        raise ValueError(
            f"row {row}: {name[:60]} is {shorten(cell)}, not a number ({int(values.isna().sum())} such rows): "
            "correct it, or leave the cell empty"
        )
    numbers = np.full(len(text), np.nan)
    numbers[there.to_numpy()] = values.to_numpy(dtype=float)
    return numbers, repairs


def _decimal_mark(known: pd.Series, name: str, separator: str, of_operator: bool) -> tuple[str, tuple[str, ...]]:
    """Which of "." and "," parts decimals in a column of text, and the repair that this is."""
    no_commas = not known.str.contains(",", regex=False).any()
    if no_commas and not known.str.contains(".", regex=False).any():
        return ".", ()
    either_comma, either_point = known.str.fullmatch(_EITHER_COMMA), known.str.fullmatch(_EITHER_POINT)
    grouped_comma, grouped_point = known.str.fullmatch(_GROUPED_BY_COMMA), known.str.fullmatch(_GROUPED_BY_POINT)
    says_comma = grouped_point | (known.str.fullmatch(_DECIMAL_COMMA) & ~either_comma)
    says_point = grouped_comma | (known.str.fullmatch(_DECIMAL_POINT) & ~either_point)
    if says_comma.any() and says_point.any():
        (row, cell), (other_row, other) = _first(known, says_comma), _first(known, says_point)
        raise ValueError(
            f"{name[:60]} is {shorten(cell)} in row {row} and {shorten(other)} in row {other_row}: a comma parts "
            f"decimals in one "
            "and thousands in the other; write all numbers in one way"
        )
    if says_comma.any():
        return ",", ("commas read as decimal marks",)
    if says_point.any():
        return ".", () if no_commas or of_operator else ("commas between thousands left out",)
    if no_commas:
        if of_operator or separator in ("", ",") or either_point.all() or not either_point.any():
            return ".", ()
    elif not either_comma.any() or (of_operator and separator != ";"):
        return ".", ()
    elif separator == ";" and either_comma.all():
        return ",", ("commas read as decimal marks",)
    row, cell = _first(known, either_point if no_commas else either_comma)
    digits = cell.replace(",", "").replace(".", "")
    raise ValueError(
        f"row {row}: {name[:60]} is {shorten(cell)}, which can be {digits} or {cell.replace(',', '.')}, and no other "
        f"row tells "
        f"which: write thousands without a mark, as {digits}, or decimals with a point and other than three digits"
    )


def is_unix_time(column: pd.Series) -> bool:
    """Whether all cells are whole numbers of the size of a Unix time, in seconds or milliseconds."""
    return len(column) > 0 and bool(column.astype(str).str.strip().str.fullmatch(r"\d{9,10}|\d{12,13}").all())


def unix_times(column: pd.Series) -> pd.DatetimeIndex:
    """Unix times, in seconds or milliseconds, as times in UTC.

    >>> str(unix_times(pd.Series(["1609459200"]))[0]), str(unix_times(pd.Series([1609459200000]))[0])
    ('2021-01-01 00:00:00+00:00', '2021-01-01 00:00:00+00:00')
    """
    numbers = column.astype(str).str.strip().astype("int64")
    return pd.DatetimeIndex(pd.to_datetime(numbers, unit="ms" if numbers.min() > 1e11 else "s", utc=True)).as_unit("ns")


def times(column: pd.Series, *, day_first: bool = False) -> pd.DatetimeIndex:
    """Times; in UTC when they carry an offset, without a time zone when they carry none.

    Args:
        column: times of pandas, or text.
        day_first: whether "01/03/2025" is the first of March where the rows do not say which.

    Raises:
        ValueError: naming row and cell, if a cell is no time, or only some carry an offset, or day and month cannot be
            told apart.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype) or pd.api.types.is_datetime64_dtype(column):
        found = column
    elif pd.api.types.is_numeric_dtype(column):
        raise ValueError(
            f"row {column.index[0]}: {column.name} is {column.iloc[0]}, a number: write times as 2020-01-31 13:00"
        )
    else:
        found = _times_of_text(column, day_first)
    if found.isna().any():
        row, _ = _first(column.astype(str), found.isna())
        raise ValueError(f"row {row}: {column.name} has no time: write times as 2020-01-31 13:00, or drop the row")
    outside = (found.dt.year < FIRST_YEAR) | (found.dt.year > LAST_YEAR)
    if outside.any():
        row, cell = _first(column.astype(str), outside)
        raise ValueError(
            f"row {row}: {column.name} is {shorten(cell)}: years from {FIRST_YEAR} to {LAST_YEAR} can be read"
        )
    return pd.DatetimeIndex(found).as_unit("ns")


def _times_of_text(column: pd.Series, day_first: bool) -> pd.Series:
    text = column.astype(str).str.strip().str.replace(r"\s?UTC$", "Z", regex=True)
    offset = text.str.contains(_OFFSET) & text.str.contains(":")
    if offset.any() and not offset.all():
        row, cell = _first(text, ~offset)
        raise ValueError(
            f"row {row}: {column.name} is {shorten(cell)}, without an offset that other rows have: give all rows one, "
            f"or none"
        )
    utc = bool(offset.all())
    readings = [pd.to_datetime(text, format=form, utc=utc, errors="coerce") for form in _TIME_FORMATS]
    best = min(readings, key=lambda parsed: int(parsed.isna().sum()))
    if best.isna().any() and text.str.contains("/").all():
        best = _day_or_month(text, utc=utc, day_first=day_first)
    if best.isna().any():
        row, cell = _first(text, best.isna())
        raise ValueError(
            f"row {row}: {column.name} is {shorten(cell)}, not a time ({int(best.isna().sum())} such rows): "
            "write times as 2020-01-31 13:00 or 2020-01-31T13:00Z"
        )
    return best


def _first(text: pd.Series, mask: pd.Series) -> tuple[int, str]:
    """Row number and cell of the first row of a mask."""
    position = int(np.argmax(mask.to_numpy()))
    return int(text.index[position]), str(text.iloc[position])


def _day_or_month(text: pd.Series, *, utc: bool, day_first: bool) -> pd.Series:
    """Times with slashes: day first or month first, whichever all rows allow and gives the steadier steps."""
    readings = [pd.to_datetime(text, format=form, utc=utc, errors="coerce") for form in _SLASHED]
    whole = [parsed for parsed in readings if not parsed.isna().any()]
    steps = [parsed.diff().abs().max() for parsed in whole]  # the wrong reading jumps by months at the end of a day
    if len(whole) == 2 and (steps[0] == steps[1] or len(text) == 1) and not whole[0].equals(whole[1]):
        if day_first:
            return whole[1]  # _SLASHED has the month first, then the day
        row, cell = _first(text, text.notna())
        raise ValueError(
            f"row {row}: {text.name} is {cell!r}: day and month cannot be told apart; write times as 2020-01-31 13:00"
        )
    if whole:
        return min(zip(steps, whole, strict=True), key=lambda pair: pair[0])[1]
    return min(readings, key=lambda parsed: int(parsed.isna().sum()))


def row_numbers(table: pd.DataFrame) -> np.ndarray:
    """Row numbers of a table, as the file has them."""
    return table.index.to_numpy()


def column_where(table: pd.DataFrame, fits: Callable[[str], bool], what: str) -> str:
    """The first column whose name, in lower case, fits.

    Raises:
        ValueError: if there is none; the message lists the columns.
    """
    for name in table.columns:
        if fits(name.strip().lower()):
            return name
    raise ValueError(
        f"no column {what} among {listed(table.columns)}: take the operator's own file, or pass another format="
    )


def first_position(names: list[str], wanted: Iterable[str]) -> int | None:
    """Position of the first wanted name, in the order of ``wanted``."""
    return next((names.index(name) for name in wanted if name in names), None)


def all_known(found: Collection[str], known: Collection[str], prefix: str) -> None:
    """Refuse a source of electricity that has no factor: leaving it out would change the intensity in silence.

    Raises:
        ValueError: if there is no source at all, or one that is not known.
    """
    if not found:
        raise ValueError(f"no column of generation: names such as {prefix + next(iter(known))!r} are expected")
    if unknown := [name for name in found if name not in known]:
        raise ValueError(
            f"unknown source of electricity {listed(unknown)}: known are {', '.join(known)}. Rename it, or drop it"
        )


def short_code(code: str) -> str:
    """The code of an area in an operator's name for it.

    >>> short_code("BZN|DE-LU"), short_code("Austria (AT)"), short_code("CISO")
    ('DE-LU', 'AT', 'CISO')
    """
    match = re.search(r"\(([A-Z]{2})\)|\|([A-Z0-9_-]+)", code)
    return next(part for part in match.groups() if part) if match else code


def one_of(codes: list[str], column: str, zone: str | None) -> str:
    """Which of the zones in a file is meant: the only one, or the one that is asked for.

    Raises:
        ValueError: if there are several and none of them is asked for.
    """
    if len(codes) == 1:
        return codes[0]
    for code in codes:
        if zone is not None and zone in (code, short_code(code)):
            return code
    shown = ", ".join(shorten(short_code(code))[1:-1] for code in codes[:12])
    raise ValueError(f"zone={zone!r}: the file has several in its column {column!r}: pass zone= one of {shown}")


def rows_of_zone(table: pd.DataFrame, column: str | None, zone: str | None) -> tuple[pd.DataFrame, str]:
    """The rows of one zone, and its code, or the name that the reader gives it.

    Raises:
        ValueError: if there are several zones and none of them is asked for.
    """
    if column is None:
        return table, zone or ""
    code = one_of([str(code) for code in pd.unique(table[column])], column, zone)
    return table[table[column].astype(str) == code], zone or short_code(code)
