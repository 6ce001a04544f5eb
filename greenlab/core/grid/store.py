"""The hourly tables of data/grid on disk: one file a year, whole numbers, no pickle, the same bytes at every build.

A file is NumPy's own ``.npz`` with fixed time stamps inside. Intensities are kept in tenths of a gram, shares in half
per cent (each hour's ten add up to exactly 200), so that 25 countries need about a megabyte a year.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.core.grid.sources import SOURCES
from greenlab.core.machine import ROOT

FOLDER = ROOT / "data" / "grid"
TENTHS = 10  # of a gram: uint16 reaches 6,553.5 g/kWh
HALF_PER_CENTS = 200
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say; never the time of the build


@dataclass(frozen=True)
class YearTable:
    """One year of all computed zones.

    Attributes:
        year: the calendar year in UTC.
        zones: codes, sorted.
        intensity_g_per_kwh: ``[zone, hour]``, float64, in tenths of a gram.
        filled: ``[zone, hour]``, whether the hour was filled.
        shares: ``[zone, source, hour]``, float64 fractions in steps of 0.005, sources as in
            `greenlab.core.grid.sources.SOURCES`.
    """

    year: int
    zones: tuple[str, ...]
    intensity_g_per_kwh: np.ndarray
    filled: np.ndarray
    shares: np.ndarray

    def __post_init__(self) -> None:
        zones, n_hours = len(self.zones), len(hours(self.year))
        for name, shape in (
            ("intensity_g_per_kwh", (zones, n_hours)),
            ("filled", (zones, n_hours)),
            ("shares", (zones, len(SOURCES), n_hours)),
        ):
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"{name} of {self.year} has the shape {getattr(self, name).shape}, expected {shape}: "
                    "build the table again with `python -m greenlab.core.grid build`"
                )


def hours(year: int) -> pd.DatetimeIndex:
    """Start of every hour of a year, UTC.

    Raises:
        TypeError: if ``year`` is no whole number.
        ValueError: if it is not from 1900 to 2150.

    >>> len(hours(2019)), len(hours(2020))
    (8760, 8784)
    """
    year = checks.integer("year", year, low=1900, high=2150)
    return pd.date_range(f"{year}-01-01", f"{year + 1}-01-01", freq="h", tz="UTC", inclusive="left", unit="ns")


def whole_shares(shares: np.ndarray) -> np.ndarray:
    """Shares in half per cent, rounded so that every hour adds up to 200: the largest remainders are rounded up.

    Args:
        shares: ``[source, hour]``, fractions that add up to 1 in each hour.

    Returns:
        ``[source, hour]``, uint8.

    Raises:
        TypeError: if they are no numbers.
        ValueError: if a share is not from 0 to 1, or an hour does not add up to 1.

    >>> whole_shares(np.array([[1 / 3], [1 / 3], [1 / 3]])).ravel().tolist()
    [67, 67, 66]
    """
    shares = checks.numbers("shares", shares, low=0, high=1 + 1e-9, ndim=2)
    if not np.allclose(shares.sum(axis=0), 1, atol=1e-6):
        raise ValueError("shares of an hour must add up to 1: divide them by their sum")
    exact = shares * HALF_PER_CENTS
    low = np.floor(exact)
    short = HALF_PER_CENTS - low.sum(axis=0)
    order = np.argsort(low - exact, axis=0, kind="stable")  # largest remainder first
    rank = np.argsort(order, axis=0, kind="stable")
    return (low + (rank < np.round(short))).astype(np.uint8)


def write(table: YearTable, path: Path) -> None:
    """Write one year."""
    arrays = {
        "zones": np.array(table.zones),
        "intensity": np.round(table.intensity_g_per_kwh * TENTHS).astype(np.uint16),
        "filled": np.packbits(table.filled, axis=1),
        "shares": np.stack([whole_shares(of_zone) for of_zone in table.shares]),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.save(buffer, array, allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            member.external_attr = 0o644 << 16
            archive.writestr(member, buffer.getvalue(), compress_type=zipfile.ZIP_LZMA)


def years(folder: Path = FOLDER) -> tuple[int, ...]:
    """The years that are there."""
    return tuple(sorted(int(path.stem) for path in folder.glob("[0-9]*.npz")))


def read(year: int, folder: Path = FOLDER) -> YearTable:
    """Read one year, once; leave the arrays as they are, others share them.

    Raises:
        TypeError: if ``year`` is no whole number.
        ValueError: if the year is not there.
    """
    return _read(checks.integer("year", year, low=1), Path(folder))


@lru_cache
def _read(year: int, folder: Path) -> YearTable:
    path = folder / f"{year}.npz"
    if not path.is_file():
        raise ValueError(f"year={year}: the hourly tables are of {', '.join(map(str, years(folder))) or 'no year'}")
    with np.load(path, allow_pickle=False) as arrays:
        zones, n_hours = tuple(str(zone) for zone in arrays["zones"]), arrays["intensity"].shape[1]
        return YearTable(
            year,
            zones,
            arrays["intensity"] / TENTHS,
            np.unpackbits(arrays["filled"], axis=1, count=n_hours).astype(bool),
            arrays["shares"] / HALF_PER_CENTS,
        )
