"""Read a path, an upload or a pandas frame into one table of text; the error says why a file is no table."""

from __future__ import annotations

import csv
import io
import json
from os import PathLike
from pathlib import Path
from typing import IO, Any

import pandas as pd

from greenlab.core.grid.files import cells

ZONE_NAMES = (
    "balancing authority",
    "zone id",
    "zone_id",
    "areamapcode",
    "mapcode",
    "area",
    "zone",
    "zone_name",
    "zone name",
)
FIRST_ROW = 2  # the header is row 1, as a spreadsheet counts
_BINARY = (  # first bytes: what such a file is
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook: unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook: save the sheet as CSV"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"PAR1", "a parquet file: read it with pandas and pass the frame"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"%PDF", "a PDF: take the operator's CSV"),
    (b"\xff\xfe", "text in UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "text in UTF-16: save it as UTF-8"),
)

Source = str | PathLike[str] | bytes | bytearray | memoryview | IO[Any] | pd.DataFrame | pd.Series


def read_table(source: Source, zone: str | None) -> pd.DataFrame:
    """All cells as text (times and numbers of pandas as they are), indexed by row number, of one zone where a column
    names zones.

    ``table.attrs["separator"]`` is the character between the cells, "" where there was none (pandas, JSON).

    Args:
        source: as `greenlab.core.grid.read` takes it.
        zone: which zone is wanted, if the file holds several.

    Raises:
        TypeError: if the source is no path, file, bytes or pandas object.
        ValueError: if it is no table, two columns have the same name, or a row has too few or too many cells.
    """
    if isinstance(source, (pd.Series, pd.DataFrame)):
        return _of_pandas(source)
    text = _text(source)
    start = text.lstrip()
    if start.startswith(("{", "[")):
        return _of_json(text)
    if start.startswith("<"):
        raise ValueError("source is a web page or XML, perhaps a page that asks for a login: download the CSV itself")
    return _of_csv(text.replace("\r\n", "\n").replace("\r", "\n"), zone)


def _of_pandas(source: pd.Series | pd.DataFrame) -> pd.DataFrame:
    frame = source.rename("intensity").to_frame() if isinstance(source, pd.Series) else source.copy()
    frame.columns = [str(name) for name in frame.columns]
    if isinstance(frame.index, pd.DatetimeIndex):
        if "time" in frame:
            raise ValueError("source has times as its index and a column 'time': drop one of them")
        frame.insert(0, "time", frame.index)
    _check_names(list(frame.columns))
    frame.index = pd.RangeIndex(FIRST_ROW, FIRST_ROW + len(frame))
    frame.attrs = {"separator": ""}
    return frame


def _of_csv(text: str, zone: str | None) -> pd.DataFrame:
    header = next((line for line in text.split("\n") if line.strip()), "")
    separator = max(",;\t", key=header.count) if header else ","
    numbers: list[int] = []
    rows: list[list[str]] = []
    names: list[str] = []
    zone_column, wanted = -1, ""
    for number, row in _rows(text, separator):
        if not names:
            names = [name.strip() or f"column {position}" for position, name in enumerate(row, start=1)]
            _check_names(names)
            zone_column = next(
                (p for wanted in ZONE_NAMES for p, name in enumerate(names) if name.lower() == wanted), -1
            )
            wanted = _zone_to_keep(text, separator, zone_column, names, zone) if zone_column >= 0 else ""
        elif len(row) != len(names):
            raise ValueError(
                f"row {number} has {len(row)} cells where the header has {len(names)}: the file may be cut off, or a "
                f"cell "
                f"holds the separator {separator!r} without quotes"
            )
        elif zone_column < 0 or row[zone_column].strip() == wanted:
            numbers.append(number)
            rows.append(row)
    table = pd.DataFrame(rows, columns=names or None, index=numbers, dtype=object)
    table.attrs = {"separator": separator}
    return table


def _rows(text: str, separator: str) -> Any:
    """Number and cells of each row that is not empty."""
    number = 0
    try:
        for number, row in enumerate(csv.reader(io.StringIO(text, newline="\n"), delimiter=separator), start=1):
            if any(cell.strip() for cell in row):
                yield number, row
    except csv.Error as error:
        raise ValueError(
            f"row {number + 1} cannot be read ({error}): a quote may be open, or this is no CSV file"
        ) from None


def _check_names(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise ValueError(
            f"source has {names.count(twice)} columns of the name {twice[:60]!r}: rename or drop all but one"
        )


def _zone_to_keep(text: str, separator: str, zone_column: int, names: list[str], zone: str | None) -> str:
    """EIA's files hold 60 zones and 100 MB: look which there are before any row is kept."""
    codes = dict.fromkeys(row[zone_column].strip() for _, row in _rows(text, separator) if len(row) == len(names))
    codes.pop(names[zone_column], None)
    return cells.one_of(list(codes), names[zone_column], zone) if codes else ""


def _text(source: Any) -> str:
    """The content of a file as text.

    Raises:
        TypeError: if the source is of no known kind.
        ValueError: if there is no such file, or it is no text.
    """
    content: Any
    if isinstance(source, (str, PathLike)):
        content = _content_of_file(source)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        content = bytes(source)
    elif hasattr(source, "read"):
        content = source.read()
    else:
        raise TypeError(
            f"source is {type(source).__name__}: give a path, an open file, bytes, or a Series or DataFrame of pandas"
        )
    if isinstance(content, (bytes, bytearray, memoryview)):
        content = bytes(content)
        for start, what in _BINARY:
            if content.startswith(start):
                raise ValueError(f"source is {what}")
        try:
            content = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            content = content.decode("cp1252", errors="replace")
    if not isinstance(content, str):
        raise TypeError(f"source.read() gave {type(content).__name__}: open the file as text or as bytes")
    if "\x00" in content:
        raise ValueError("source is no text, it holds zero bytes: give a CSV or JSON file in UTF-8")
    return content.removeprefix("\ufeff")


def _content_of_file(source: str | PathLike[str]) -> bytes:
    shown = str(source)
    if "\n" in shown:
        raise ValueError(
            "source is text of several lines, not a path: pass the content of a file as bytes, text.encode()"
        )
    try:
        return Path(source).read_bytes()
    except (OSError, ValueError) as error:
        what = "no file" if isinstance(error, (FileNotFoundError, IsADirectoryError)) else "cannot read the file"
        raise ValueError(
            f"source: {what} {shown[:200]!r}: give the path of a CSV or JSON file, or its content as bytes"
        ) from None


def _of_json(text: str) -> pd.DataFrame:
    """NESO's API: {"data": [{"from": ..., "to": ..., "intensity": {"forecast": ..., "actual": ...}}]}; rows count from
    1.
    """
    form = '{"data": [{"from": ..., "to": ..., "intensity": {"forecast": ..., "actual": ...}}, ...]}'
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)[:80]
        raise ValueError(f"source is no JSON that can be read ({reason}): the JSON of NESO's API is {form}") from None
    entries: Any = data.get("data") if isinstance(data, dict) else data
    try:
        rows = [{"from": entry["from"], "to": entry["to"], **entry["intensity"]} for entry in entries]
    except (KeyError, TypeError, AttributeError):
        keys = (
            f"with the keys {', '.join(map(str, list(data)[:6]))[:80]}" if isinstance(data, dict) else "of another kind"
        )
        raise ValueError(
            f"source is JSON {keys}: of JSON only that of NESO's API (api.carbonintensity.org.uk) is read, {form}. "
            f"Write the "
            "hours of another API as a CSV file with the columns time and intensity_g_per_kwh"
        ) from None
    table = pd.DataFrame(rows, index=range(1, len(rows) + 1), dtype=object)
    table = table.map(lambda cell: "" if cell is None else str(cell))
    table.attrs = {"separator": ""}
    return table
