"""A reader's own grid data: files of Electricity Maps, NESO, EIA and ENTSO-E, and plain ``time,intensity``.

``read`` finds out which it is, makes gapless hours in UTC, and states each repair. What cannot be repaired honestly is
refused with the row, the value and what to do. Each format has a file here that says where it comes from and what its
columns mean:

* "electricity-maps": yearly CSV by the hour, life-cycle and direct;
* "neso": Great Britain's carbon intensity by the half hour; direct emissions, so lower than life-cycle numbers;
* "eia-930": the US balance file by balancing authority; generation times life-cycle factors;
* "entsoe": actual generation per production type, as exported now, as exported until 2024, or from the file library;
* "plain": a column of times and a column of g/kWh, and one named "zone" if there are several; a pandas Series or
  DataFrame too.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from greenlab.core import checks
from greenlab.core.grid.files import cells, eia, electricity_maps, entsoe, neso, plain
from greenlab.core.grid.files.hours import Rows, to_hours
from greenlab.core.grid.files.table import Source, read_table

FORMATS = ("electricity-maps", "neso", "eia-930", "entsoe", "plain")
SIGNALS = ("lifecycle", "direct")


@dataclass(frozen=True)
class Read:
    """What a file held.

    Attributes:
        frame: as ``grid.load`` gives it: zone, time (start of the hour, UTC), intensity_g_per_kwh [g/kWh], basis
            "file", filled.
        repairs: one sentence for each thing that was changed on the way; empty when nothing was.
        format: one of ``FORMATS``.
        zone: code of the zone in ``frame``.

    Raises:
        ValueError: if the format is not known.
    """

    frame: pd.DataFrame
    repairs: tuple[str, ...]
    format: str
    zone: str

    def __post_init__(self) -> None:
        checks.one_of("format", self.format, FORMATS)


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
        scale: factor to g/kWh: 1000 for kg/kWh or t/MWh, 0.45359237 for lb/MWh. Where the column's name says its unit,
            the factor must be that unit's.
        signal: "lifecycle" or "direct"; which column, where Electricity Maps gives both, and whether values near 0 are
            believed.
        max_gap_share: the largest share of missing hours that is filled, from 0 to below 1.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if the file is empty or of no known format, or a row cannot be used; the message names row, value
            and remedy.

    >>> text = b"time,intensity\n2020-01-01T00:00Z,100\n2020-01-01T01:00Z,\n2020-01-01T02:00Z,300\n"
    >>> found = read(text)
    >>> found.frame["intensity_g_per_kwh"].tolist(), found.repairs
    ([100.0, 200.0, 300.0], ('1 missing hours filled by a straight line',))
    """
    if format is not None:
        checks.one_of("format", format, FORMATS)
    checks.one_of("signal", signal, SIGNALS)
    scale = checks.number("scale", scale, above=0, remedy="1000 for kg/kWh or t/MWh, 0.45359237 for lb/MWh")
    max_gap_share = checks.number("max_gap_share", max_gap_share, low=0, below=1, remedy="such as 0.02")
    for name, text in (("zone", zone), ("timezone", timezone)):
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{name}={text!r} is {type(text).__name__}: give text, or leave it out")
    table = read_table(source, zone)
    if table.empty:
        raise ValueError("source: the file is empty: it must have a header and at least one row of data")
    found = format or detect(table)
    rows = _rows(table, found, zone, signal)
    direct = signal == "direct" or found == "neso"
    hours, repairs = to_hours(rows, timezone=timezone, scale=scale, max_gap_share=max_gap_share, direct=direct)
    name = zone or rows.zone or "file"
    frame = pd.DataFrame(
        {"zone": name, **hours[["time", "intensity_g_per_kwh"]], "basis": "file", "filled": hours["filled"]}
    )
    return Read(frame.astype({"zone": "str", "basis": "str"}), repairs, found, name)


def detect(table: pd.DataFrame) -> str:
    """Name of the format, from the names of the columns.

    Raises:
        ValueError: if none fits; the message lists the columns and what was expected.
    """
    for name, reader in (("eia-930", eia), ("entsoe", entsoe), ("electricity-maps", electricity_maps), ("neso", neso)):
        if reader.fits(table):
            return name
    if plain.fits(table):
        return "plain"
    raise ValueError(
        f"unknown columns {cells.listed(table.columns)}: a plain file has 'time' and 'intensity_g_per_kwh' in its "
        "header; of operators' files, Electricity Maps, NESO, EIA-930 and ENTSO-E are known. Rename the columns, or "
        "pass format="
    )


def _rows(table: pd.DataFrame, format: str, zone: str | None, signal: str) -> Rows:
    if format == "electricity-maps":
        return electricity_maps.rows(table, zone, signal)
    if format == "eia-930":
        return eia.rows(table, zone)
    if format == "entsoe":
        return entsoe.rows(table, zone)
    return neso.rows(table) if format == "neso" else plain.rows(table, zone)
