"""A reader's own grid data: files of Electricity Maps, NESO, EIA and ENTSO-E, and plain ``time,intensity``.

``read`` finds out which it is, makes gapless hours in UTC, and states each repair. What cannot be repaired honestly is refused with
the row, the value and what to do. The formats are those of the operators' own downloads:

* "electricity-maps": yearly CSV by the hour ("Datetime (UTC)", "Carbon intensity gCO₂eq/kWh (Life cycle)" and older spellings);
* "neso": Great Britain's carbon intensity by the half hour: the website's CSV, the data portal's CSV, or the API's JSON; direct
  emissions, so lower than life-cycle numbers;
* "eia-930": the US balance file by balancing authority; times are ends of hours; generation times life-cycle factors;
* "entsoe": "actual generation per production type" by quarter, half or whole hour; generation times life-cycle factors;
* "plain": a column of times and a column of g/kWh, and one named "zone" if there are several; a pandas Series or DataFrame too.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any

import pandas as pd

from greenlab.core.grid.files import cells as grid_cells
from greenlab.core.grid.files import formats as grid_formats
from greenlab.core.grid.files import hours as grid_hours

FORMATS = ("electricity-maps", "neso", "eia-930", "entsoe", "plain")
ZONE_NAMES = ("balancing authority", "zone id", "zone_id", "area", "zone")
FIRST_ROW = 2  # the header is row 1, as a spreadsheet counts

Source = str | PathLike[str] | bytes | bytearray | memoryview | IO[Any] | pd.DataFrame | pd.Series


@dataclass(frozen=True)
class Read:
    """What a file held.

    Attributes:
        frame: as ``grid.load`` gives it: zone, time (start of the hour, UTC), intensity_g_per_kwh, basis "file", filled.
        repairs: one sentence for each thing that was changed on the way; empty when nothing was.
        format: one of ``FORMATS``.
        zone: code of the zone in ``frame``.
    """

    frame: pd.DataFrame
    repairs: tuple[str, ...]
    format: str
    zone: str

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format={self.format!r} must be one of {', '.join(FORMATS)}")


def read(
    source: Source,
    format: str | None = None,
    *,
    zone: str | None = None,
    timezone: str | None = None,
    scale: float = 1.0,
    signal: str = "lifecycle",
    max_gap_share: float = 0.02,
) -> Read:
    r"""Read hourly intensity from a file of an operator, from text in memory, or from pandas.

    Args:
        source: a path, an open file, the bytes of an upload, or a Series or DataFrame (times as its index or a column).
        format: one of ``FORMATS``; found out from the columns when left out.
        zone: which zone of a file with several; in a file with one, the name to give it.
        timezone: of times that carry none, such as "Europe/Berlin".
        scale: factor to g/kWh: 1000 for kg/kWh or t/MWh, 0.45359237 for lb/MWh.
        signal: "lifecycle" or "direct", where Electricity Maps gives both.
        max_gap_share: the largest share of missing hours that is filled.

    Raises:
        ValueError: if the file is empty or of no known format, or a row cannot be used; the message names row, value and remedy.

    >>> text = b"time,intensity\n2020-01-01T00:00Z,100\n2020-01-01T01:00Z,\n2020-01-01T02:00Z,300\n"
    >>> found = read(text)
    >>> found.frame["intensity_g_per_kwh"].tolist(), found.repairs
    ([100.0, 200.0, 300.0], ('1 missing hours filled by a straight line',))
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"format={format!r} must be one of {', '.join(FORMATS)}, or left out")
    if signal not in ("lifecycle", "direct"):
        raise ValueError(f"signal={signal!r} must be 'lifecycle' or 'direct'")
    if not 0 <= max_gap_share < 1:
        raise ValueError(f"max_gap_share={max_gap_share!r} must be at least 0 and below 1, such as 0.02")
    table = _table(source, zone)
    if table.empty:
        raise ValueError("the file is empty: it must have a header and at least one row of data")
    found = format or grid_formats.detect(table)
    rows = grid_formats.parse(table, found, zone=zone, signal=signal)
    hours, repairs = grid_hours.to_hours(rows, timezone=timezone, scale=scale, max_gap_share=max_gap_share)
    name = zone or rows.zone or "file"
    frame = pd.DataFrame(
        {"zone": name, **hours[["time", "intensity_g_per_kwh"]], "basis": "file", "filled": hours["filled"]}
    )
    return Read(frame.astype({"zone": "str", "basis": "str"}), repairs, found, name)


def _table(source: Source, zone: str | None) -> pd.DataFrame:
    """All cells as text (times of pandas as they are), indexed by row number."""
    if isinstance(source, pd.Series):
        return _table(source.rename("intensity").to_frame(), zone)
    if isinstance(source, pd.DataFrame):
        frame = source.copy()
        if isinstance(frame.index, pd.DatetimeIndex):
            frame.insert(0, "time", frame.index)
        frame.index = pd.RangeIndex(FIRST_ROW, FIRST_ROW + len(frame))
        return frame.rename(columns=str)
    text = _text(source)
    if text.lstrip().startswith(("{", "[")):
        return _json_table(text)
    lines = text.splitlines()
    header = next((line for line in lines if line.strip()), "")
    separator = max(",;\t", key=header.count) if header else ","
    numbers, rows, names = [], [], list[str]()
    at, keep = -1, ""
    for number, row in enumerate(csv.reader(io.StringIO(text), delimiter=separator), start=1):
        if not any(cell.strip() for cell in row):
            continue
        if not names:
            names = [name.strip() for name in row]
            at = next((i for i, name in enumerate(names) if name.lower() in ZONE_NAMES), -1)
            keep = _zone_to_keep(text, separator, at, names, zone) if at >= 0 else ""
        elif len(row) != len(names):
            raise ValueError(
                f"row {number} has {len(row)} cells where the header has {len(names)}: the file may be cut off, or a cell "
                f"holds the separator {separator!r} without quotes"
            )
        elif at < 0 or row[at].strip() == keep:
            numbers.append(number)
            rows.append(row)
    table = pd.DataFrame(rows, columns=names or None, index=numbers, dtype=object)
    if separator == ";":  # the separator of lands that write 0,5
        table = table.map(lambda cell: cell.replace(",", ".") if cell.count(",") == 1 else cell)
    return table


def _zone_to_keep(text: str, separator: str, at: int, names: list[str], zone: str | None) -> str:
    """EIA's files hold 60 zones and 100 MB: look which there are before any row is kept."""
    rows = csv.reader(io.StringIO(text), delimiter=separator)
    codes = dict.fromkeys(row[at].strip() for row in rows if len(row) == len(names))
    codes.pop(names[at], None)
    return grid_cells.one_of(list(codes), names[at], zone) if codes else ""


def _text(source: str | PathLike[str] | bytes | bytearray | memoryview | IO[Any]) -> str:
    content: Any
    if isinstance(source, (str, PathLike)):
        path = Path(source)
        if not path.is_file():
            raise ValueError(f"no file {str(source)!r}: give the path of a CSV or JSON file, or its content as bytes")
        content = path.read_bytes()
    else:
        content = source.read() if hasattr(source, "read") else bytes(source)
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _json_table(text: str) -> pd.DataFrame:
    """NESO's API: {"data": [{"from": ..., "to": ..., "intensity": {"forecast": ..., "actual": ...}}]}; rows count from 1."""
    try:
        data = json.loads(text)
        entries = data["data"] if isinstance(data, dict) else data
        rows = [{"from": entry["from"], "to": entry["to"], **entry["intensity"]} for entry in entries]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"the JSON is not of the kind that api.carbonintensity.org.uk gives ({type(error).__name__}: {error}): it must be "
            '{"data": [{"from": ..., "to": ..., "intensity": {"forecast": ..., "actual": ...}}, ...]}'
        ) from None
    table = pd.DataFrame(rows, index=range(1, len(rows) + 1), dtype=object)
    return table.map(lambda cell: "" if cell is None else str(cell))
