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
import zoneinfo
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from greenlab.core import checks, facts
from greenlab.core.grid import store
from greenlab.core.grid.sources import SOURCES
from greenlab.core.names import unknown

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
    """Where a zone's sun stands and its clocks tick.

    Attributes:
        zone: its code.
        latitude: degrees north, -90 to 90.
        longitude: degrees east, -180 to 180.
        timezone: an IANA name, such as "Europe/Berlin".

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if a coordinate is out of range or the time zone is not known.
    """

    zone: str
    latitude: float
    longitude: float
    timezone: str

    def __post_init__(self) -> None:
        if not isinstance(self.zone, str):
            raise TypeError(f"zone={self.zone!r} is {type(self.zone).__name__}: give a code, such as 'US-CAL'")
        checks.number("latitude", self.latitude, low=-90, high=90, remedy="degrees north")
        checks.number("longitude", self.longitude, low=-180, high=180, remedy="degrees east")
        checks.one_of("timezone", self.timezone, tuple(sorted(zoneinfo.available_timezones())))


def _check_times(times: pd.DatetimeIndex) -> None:
    if not isinstance(times, pd.DatetimeIndex) or times.tz is None:
        raise TypeError(
            f"times={type(times).__name__}: give a DatetimeIndex in UTC, as greenlab.core.grid.store.hours does"
        )


def _check_place(place: Place) -> None:
    if not isinstance(place, Place):
        raise TypeError(f"place={place!r} is {type(place).__name__}: give a Place")


def sun_sine(times: pd.DatetimeIndex, latitude: float, longitude: float) -> np.ndarray:
    """Sine of the sun's height at each time (UTC), negative at night.

    ``sin h = sin(lat) sin(d) + cos(lat) cos(d) cos(w)`` with Cooper's declination
    ``d = 23.45 sin(360 (284 + n) / 365)`` and the hour angle ``w`` from solar time (Duffie and Beckman, Solar
    Engineering of Thermal Processes, 4th ed., eqs. 1.5.2, 1.5.3, 1.6.1 and 1.6.5).

    >>> noon = pd.DatetimeIndex(["2019-03-21 12:07"], tz="UTC")  # at the equinox the sun is overhead at the equator
    >>> float(sun_sine(noon, 0.0, 0.0)[0].round(3))
    1.0
    """
    _check_times(times)
    latitude = checks.number("latitude", latitude, low=-90, high=90, remedy="degrees north")
    longitude = checks.number("longitude", longitude, low=-180, high=180, remedy="degrees east")
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

    Args:
        sine: sine of the sun's height, any shape, -1 to 1.

    Returns:
        Shaped like ``sine``, 0 to 0.7.

    Raises:
        TypeError: if it holds anything but numbers.
        ValueError: if it is out of range.

    >>> clear_sky(np.array([1.0, -0.2])).tolist()
    [0.7, 0.0]
    """
    sine = checks.numbers("sine", sine, low=-1 - 1e-9, high=1 + 1e-9)
    up = np.clip(sine, 0.0, 1.0)
    air_mass = 1 / np.maximum(up, 1 / 38)
    return up * 0.7**air_mass**0.678


def ar1(n: int, memory: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise with mean 0, variance 1 and the correlation ``memory`` from one step to the next.

    Args:
        n: how many values, at least 1.
        memory: correlation of neighbours, above -1 and below 1.
        rng: the generator of the noise.

    Returns:
        ``(n,)``.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if it is out of range.
    """
    n, memory = checks.integer("n", n, low=1), checks.number("memory", memory, above=-1, below=1)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng={type(rng).__name__}: give np.random.default_rng(seed)")
    steps = rng.standard_normal(n) * np.sqrt(1 - memory**2)
    values = np.empty(n)
    value = rng.standard_normal()
    for i in range(n):
        value = memory * value + steps[i]
        values[i] = value
    return values


def load_shape(times: pd.DatetimeIndex, place: Place) -> np.ndarray:
    """Load relative to its mean: an evening peak, a quieter weekend, a season of cooling or heating, by local clocks.

    Args:
        times: ``(n,)``, in UTC.
        place: the zone.

    Returns:
        ``(n,)``, mean 1.

    Raises:
        TypeError: if an argument is of the wrong type.
    """
    _check_times(times)
    _check_place(place)
    local = times.tz_convert(place.timezone)
    hour, day = local.hour.to_numpy(), local.day_of_year.to_numpy()
    peak = _PEAK_DAY.get(place.zone, _NORTH_PEAK_DAY if place.latitude > 0 else _SOUTH_PEAK_DAY)
    daily = _DAY_SWING * np.cos(2 * np.pi * (hour - 17) / 24) + _SECOND_SWING * np.cos(4 * np.pi * (hour - 8) / 24)
    season = _SEASON_SWING.get(place.zone, _SEASON_DEFAULT) * np.cos(2 * np.pi * (day - peak) / 365)
    load = (1 + daily + season) * np.where(local.day_of_week.to_numpy() >= 5, _WEEKEND, 1.0)
    return load / load.mean()


def bands(residual: np.ndarray, energies: dict[str, float]) -> dict[str, np.ndarray]:
    """Cut a residual load into horizontal bands, the first at the bottom, each holding its energy.

    The last band takes what is left.

    Args:
        residual: ``(n,)``, power that is asked for, at least 0.
        energies: band: its energy, the sum over the steps, at least 0; at least one band.

    Returns:
        Band: its power ``(n,)``.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an amount is negative, or there is no band.

    >>> cut = bands(np.array([1.0, 3.0]), {"coal": 2.0, "gas": 2.0})
    >>> cut["coal"].tolist(), cut["gas"].tolist()
    ([1.0, 1.0], [0.0, 2.0])
    """
    residual = checks.numbers("residual", residual, low=0, ndim=1)
    if not isinstance(energies, dict) or not energies:
        raise ValueError(f"energies={energies!r}: give at least one band and its energy")
    energies = {name: checks.number("energies", energy, low=0) for name, energy in energies.items()}
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


def simulate(place: Place, year: int, seed: int = 0) -> pd.DataFrame:
    """Hourly generation of a modelled zone [MW]: one row per hour (UTC), one column per source. Do not change it in
    place.

    Args:
        place: the zone.
        year: the calendar it follows (weekends, clocks, leap day); the mix is that of the statistics' own year.
        seed: of the weather; the same seed gives the same hours.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if there are no statistics for the zone, or the year or the seed is out of range.
    """
    _check_place(place)
    return _simulate(place, checks.integer("year", year, low=1900, high=2150), checks.integer("seed", seed, low=0))


@lru_cache(maxsize=32)
def _simulate(place: Place, year: int, seed: int) -> pd.DataFrame:
    table = facts.table("grid_mixes").set_index("zone")
    if place.zone not in table.index:
        raise unknown("zone", place.zone, table.index, "data/facts/grid_mixes.csv has the mixes that can be modelled")
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
