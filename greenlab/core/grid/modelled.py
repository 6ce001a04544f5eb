"""Modelled zones: an hour-by-hour grid outside Europe from a year's statistics, the sun's geometry and random weather.

Real: the energy of each source in a year (facts ``mix-*``), the place of the sun, the clocks. Modelled, with round
numbers of
ours: the shape of the load, clouds, wind, which half of the hydropower can wait, and the order of dispatch. The result
has the right annual mix and a believable day, and says nothing about any particular hour. Every row of it has the basis
"modelled".

Nuclear, biomass, geothermal and "other" run flat, and so does half of the hydropower (rivers). Wind and sun take what
the load leaves and are curtailed beyond it. Coal, gas, stored water and oil fill the rest in this order: each takes a
band of the residual load that is as high as its annual energy needs, which is what a merit order does to a
load-duration curve.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from greenlab.core import facts
from greenlab.core.grid import store
from greenlab.core.grid.sources import SOURCES

FLAT = ("nuclear", "biomass", "geothermal", "other")
BANDS = ("coal", "gas", "hydro", "oil")
RIVER_SHARE = 0.5
MW_PER_TWH = 1e6  # TWh a year / hours of the year = 1e6 MW
_DAY_SWING, _SECOND_SWING, _WEEKEND = 0.10, 0.04, 0.94
_CLOUD_MEMORY, _WIND_MEMORY = 0.6, 0.985  # from day to day; from hour to hour
_NORTH_PEAK_DAY, _SOUTH_PEAK_DAY = 205, 20  # cooling
_PEAK_DAY = {"CA-QC": 20, "ZA": 195, "CL": 195}  # heating
_SEASON_SWING = {"CA-QC": 0.25, "SG": 0.0}
_SEASON_DEFAULT = 0.08


@dataclass(frozen=True)
class Place:
    """Where a zone's sun stands and its clocks tick: degrees north and east, an IANA time zone."""

    zone: str
    latitude: float
    longitude: float
    timezone: str


def sun_sine(times: pd.DatetimeIndex, latitude: float, longitude: float) -> np.ndarray:
    """Sine of the sun's height at each time (UTC), negative at night.

    ``sin h = sin(lat) sin(d) + cos(lat) cos(d) cos(w)`` with Cooper's declination
    ``d = 23.45 sin(360 (284 + n) / 365)`` and the hour angle ``w`` from solar time (Duffie and Beckman, Solar
    Engineering of Thermal Processes, 4th ed., eqs. 1.5.2, 1.5.3, 1.6.1 and 1.6.5).

    >>> noon = pd.DatetimeIndex(["2019-03-21 12:07"], tz="UTC")  # at the equinox the sun is overhead at the equator
    >>> float(sun_sine(noon, 0.0, 0.0)[0].round(3))
    1.0
    """
    n = times.day_of_year.to_numpy()
    declination = np.radians(23.45 * np.sin(np.radians(360 * (284 + n) / 365)))
    b = np.radians((n - 1) * 360 / 365)
    minutes = 229.2 * (
        0.000075 + 0.001868 * np.cos(b) - 0.032077 * np.sin(b) - 0.014615 * np.cos(2 * b) - 0.04089 * np.sin(2 * b)
    )
    hour = times.hour.to_numpy() + times.minute.to_numpy() / 60
    angle = np.radians(15 * (hour + longitude / 15 + minutes / 60 - 12))
    lat = np.radians(latitude)
    return np.sin(lat) * np.sin(declination) + np.cos(lat) * np.cos(declination) * np.cos(angle)


def clear_sky(sine: np.ndarray) -> np.ndarray:
    """Light on level ground under a clear sky, 1 = above the atmosphere: ``sin h * 0.7 ** (1 / sin h) ** 0.678``.

    The exponent is Meinel and Meinel's (Applied Solar Energy, 1976); 1 / sin h is the mass of air, capped at 38 near
    the horizon.

    >>> clear_sky(np.array([1.0, -0.2])).tolist()
    [0.7, 0.0]
    """
    up = np.clip(sine, 0.0, 1.0)
    air_mass = 1 / np.maximum(up, 1 / 38)
    return up * 0.7**air_mass**0.678


def ar1(n: int, memory: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise with mean 0, variance 1 and the correlation ``memory`` from one step to the next."""
    steps = rng.standard_normal(n) * np.sqrt(1 - memory**2)
    values = np.empty(n)
    value = rng.standard_normal()
    for i in range(n):
        value = memory * value + steps[i]
        values[i] = value
    return values


def load_shape(times: pd.DatetimeIndex, place: Place) -> np.ndarray:
    """Load relative to its mean: an evening peak, a quieter weekend, a season of cooling or heating, all by local
    clocks.
    """
    local = times.tz_convert(place.timezone)
    hour, day = local.hour.to_numpy(), local.day_of_year.to_numpy()
    peak = _PEAK_DAY.get(place.zone, _NORTH_PEAK_DAY if place.latitude > 0 else _SOUTH_PEAK_DAY)
    daily = _DAY_SWING * np.cos(2 * np.pi * (hour - 17) / 24) + _SECOND_SWING * np.cos(4 * np.pi * (hour - 8) / 24)
    season = _SEASON_SWING.get(place.zone, _SEASON_DEFAULT) * np.cos(2 * np.pi * (day - peak) / 365)
    load = (1 + daily + season) * np.where(local.day_of_week.to_numpy() >= 5, _WEEKEND, 1.0)
    return load / load.mean()


def bands(residual: np.ndarray, energies: dict[str, float]) -> dict[str, np.ndarray]:
    """Cut a residual load into horizontal bands, the first at the bottom, each holding its energy; the last takes what
    is left.

    >>> cut = bands(np.array([1.0, 3.0]), {"coal": 2.0, "gas": 2.0})
    >>> cut["coal"].tolist(), cut["gas"].tolist()
    ([1.0, 1.0], [0.0, 2.0])
    """
    names, taken, cut = list(energies), np.zeros_like(residual), {}
    held = 0.0
    for name in names[:-1]:
        held += energies[name]
        low, high = 0.0, float(residual.max(initial=0.0))
        for _ in range(60):  # the energy below a level grows with the level: halve until it fits
            level = (low + high) / 2
            low, high = (level, high) if np.minimum(residual, level).sum() < held else (low, level)
        below = np.minimum(residual, high)
        cut[name] = below - taken
        taken = below
    cut[names[-1]] = residual - taken
    return cut


def _curtailed(available: np.ndarray, room: np.ndarray, energy: float) -> np.ndarray:
    """Scale what wind or sun offer so that, after curtailment to ``room``, the energy is used."""
    low, high = 0.0, 20.0
    for _ in range(60):
        scale = (low + high) / 2
        low, high = (scale, high) if np.minimum(available * scale, room).sum() < energy else (low, scale)
    return np.minimum(available * high, room)


@lru_cache(maxsize=32)
def simulate(place: Place, year: int, seed: int = 0) -> pd.DataFrame:
    """Hourly generation of a modelled zone [MW]: one row per hour (UTC), one column per source. Do not change it in
    place.

    Args:
        place: the zone.
        year: the calendar it follows (weekends, clocks, leap day); the mix is that of the statistics' own year.
        seed: of the weather; the same seed gives the same hours.

    Raises:
        ValueError: if there are no statistics for the zone.
    """
    table = facts.table("grid_mixes").set_index("zone")
    if place.zone not in table.index:
        raise ValueError(
            f"zone={place.zone!r} has no row in data/facts/grid_mixes.csv: it has {', '.join(table.index)}"
        )
    times = store.hours(year)
    mw = {source: facts.value(f"mix-{place.zone.lower()}.{source}_twh") * MW_PER_TWH / len(times) for source in SOURCES}
    rng = np.random.default_rng([seed, year, zlib.crc32(place.zone.encode())])
    generation = {source: np.full(len(times), mw[source]) for source in FLAT}
    river = np.full(len(times), RIVER_SHARE * mw["hydro"])
    room = np.maximum(sum(mw.values()) * load_shape(times, place) - sum(generation.values()) - river, 0.0)

    middle = times + pd.Timedelta(minutes=30)
    cloud = ar1(len(times) // 24 + 2, _CLOUD_MEMORY, rng)
    solar_day = (np.arange(len(times)) + round(place.longitude / 15)) // 24 + 1
    clear = 0.3 + 0.7 / (1 + np.exp(-1.0 - 1.5 * cloud[solar_day]))
    light = clear_sky(sun_sine(middle, place.latitude, place.longitude)) * clear
    breeze = 1 / (1 + np.exp(0.8 - 1.2 * ar1(len(times), _WIND_MEMORY, rng)))
    for source, offered in (("solar", light), ("wind", breeze)):
        generation[source] = _curtailed(offered * mw[source] / offered.mean(), room, mw[source] * len(times))
        room = room - generation[source]
    energies = {name: mw[name] * len(times) * (1 - RIVER_SHARE if name == "hydro" else 1) for name in BANDS}
    generation |= bands(room, energies)
    generation["hydro"] = generation["hydro"] + river
    return pd.DataFrame(generation, index=times)[list(SOURCES)]
