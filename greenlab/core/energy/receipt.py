"""Receipts: what a block of code cost in joules and grams, how far off that may be, and whether it was measured.

Carbon is energy times the yearly mean intensity of the region's grid (``data/facts/grid_intensity.csv``; life-cycle
emissions per kWh generated). The region is always an argument: nothing is looked up from where the machine seems to be.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, cast

from greenlab.core.facts import schema

if TYPE_CHECKING:
    import pandas as pd

J_PER_KWH = 3.6e6
BASES = ("measured", "modelled")
_JOULES = ("energy_j", "low_j", "high_j")
_AMOUNTS = (*_JOULES, "time_s", "cpu_s", "carbon_g", "carbon_low_g", "carbon_high_g")
_ALIASES = {"UK": "GB", "USA": "US", "EU27": "EU", "EL": "GR"}  # what people write, and the table does not


@dataclass(frozen=True)
class GridIntensity:
    """Life-cycle emissions per kWh in one region and year [g/kWh], with the spread of published values."""

    region: str
    name: str
    intensity_g_per_kwh: float
    low_g_per_kwh: float
    high_g_per_kwh: float
    year: int


@functools.cache
def _regions() -> dict[str, GridIntensity]:
    """Every region under its code, its name and what else people write, in lower case."""
    table = {}
    for row in schema.rows("grid_intensity"):  # checked there, cell by cell; needs no pandas
        mean, low, high = (cast(float, row[f"{name}_g_per_kwh"]) for name in ("intensity", "low", "high"))
        region = GridIntensity(str(row["region"]), str(row["name"]), mean, low, high, cast(int, row["year"]))
        table[region.region] = region
    table |= {row.name: row for row in table.values()} | {alias: table[code] for alias, code in _ALIASES.items()}
    return {spelling.lower(): row for spelling, row in table.items()}


def grid_intensity(region: str) -> GridIntensity:
    """Yearly mean intensity of a region, found by its code ("DE", "EU", "WORLD") or its name ("Germany").

    Raises:
        ValueError: if the table has no such region; the nearest names are given.

    >>> grid_intensity("poland").region, grid_intensity("UK").name
    ('PL', 'United Kingdom')
    """
    regions, wanted = _regions(), str(region).strip().lower()
    if wanted in regions:
        return regions[wanted]
    near = {regions[name].region: regions[name] for name in difflib.get_close_matches(wanted, regions, 4, 0.5)}
    hint = ", ".join(f"{row.region} ({row.name})" for row in near.values()) or "none"
    raise ValueError(
        f"region={region!r} is not a code or name in data/facts/grid_intensity.csv. Nearest: {hint}. "
        "Use one of them, or WORLD when the place is not known."
    )


@dataclass(frozen=True)
class Component:
    """Energy of one part of the machine: "cpu", "dram" or "gpu" [J], with its own basis and source."""

    component: str
    basis: str
    energy_j: float
    low_j: float
    high_j: float
    source: str

    def __post_init__(self) -> None:
        _check(f"component {self.component!r}", self, "low_j", "energy_j", "high_j")

    def scaled(self, factor: float) -> Component:
        """The same part with all joules multiplied by ``factor``."""
        return replace(self, **{name: getattr(self, name) * factor for name in _JOULES})


@dataclass(frozen=True)
class Receipt:
    """What one run of a block of code cost.

    Attributes:
        label: the name of the run.
        energy_j, low_j, high_j: energy per run and its range [J].
        time_s, cpu_s: wall-clock time and CPU time of all threads and child processes, per run [s].
        basis: "measured" only when every component was; else "modelled".
        source: where the joules come from, for example "RAPL package-0".
        carbon_g, carbon_low_g, carbon_high_g: emissions per run and their range [g CO2e].
        region: code of the grid.
        intensity_g_per_kwh: the grid's yearly mean intensity [g/kWh].
        runs: how many repetitions were averaged.
        components: the same energy split by part; empty when it is all the processor's.
    """

    label: str
    energy_j: float
    low_j: float
    high_j: float
    time_s: float
    cpu_s: float
    basis: str
    source: str
    carbon_g: float
    carbon_low_g: float
    carbon_high_g: float
    region: str
    intensity_g_per_kwh: float
    runs: int = 1
    components: tuple[Component, ...] = ()

    def __post_init__(self) -> None:
        parts = tuple(Component(**c) if isinstance(c, dict) else c for c in self.components)  # as read from run.json
        object.__setattr__(self, "components", parts)
        what = f"receipt {self.label!r}"
        _check(what, self, "low_j", "energy_j", "high_j")
        _check(what, self, "carbon_low_g", "carbon_g", "carbon_high_g")
        for name in ("time_s", "cpu_s", "intensity_g_per_kwh"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{what}: {name}={getattr(self, name)} must be a number >= 0")
        if not (isinstance(self.runs, int) and self.runs >= 1):
            raise ValueError(f"{what}: runs={self.runs!r} must be a whole number >= 1")
        expected = self.energy_j / J_PER_KWH * self.intensity_g_per_kwh
        if not math.isclose(self.carbon_g, expected, rel_tol=0.01, abs_tol=1e-12):  # catches a wrong unit
            raise ValueError(
                f"{what}: carbon_g={self.carbon_g} is not energy_j / 3.6e6 * intensity_g_per_kwh "
                f"= {expected:.6g}; build receipts with Receipt.from_energy()"
            )
        if parts and not math.isclose(sum(p.energy_j for p in parts), self.energy_j, rel_tol=1e-6, abs_tol=1e-12):
            raise ValueError(f"{what}: the components do not add up to energy_j={self.energy_j}")

    @classmethod
    def from_energy(
        cls,
        label: str,
        energy_j: float,
        low_j: float,
        high_j: float,
        *,
        basis: str,
        source: str,
        region: str = "WORLD",
        time_s: float = 0.0,
        cpu_s: float = 0.0,
        runs: int = 1,
        components: Iterable[Component] = (),
    ) -> Receipt:
        """Receipt with the carbon worked out: ``carbon_g = energy_j / 3.6e6 * intensity``, the range likewise.

        >>> r = Receipt.from_energy("demo", 3.6e6, 3e6, 4e6, basis="measured", source="a plug meter", region="SE")
        >>> r.carbon_g, r.intensity_g_per_kwh
        (36.0, 36.0)
        """
        grid = grid_intensity(region)
        carbon_g = energy_j / J_PER_KWH * grid.intensity_g_per_kwh
        low_g, high_g = low_j / J_PER_KWH * grid.low_g_per_kwh, high_j / J_PER_KWH * grid.high_g_per_kwh
        return cls(
            label, energy_j, low_j, high_j, time_s, cpu_s, basis, source, carbon_g, low_g, high_g,
            grid.region, grid.intensity_g_per_kwh, runs, tuple(components),
        )  # fmt: skip

    def scaled(self, factor: float) -> Receipt:
        """The same receipt with energy, time and carbon multiplied by ``factor``, a positive number."""
        if not (math.isfinite(factor) and factor > 0):
            raise ValueError(f"factor={factor} must be a number > 0")
        values = {name: getattr(self, name) * factor for name in _AMOUNTS}
        return replace(self, **values, components=tuple(c.scaled(factor) for c in self.components))

    def per(self, n: float) -> Receipt:
        """The cost of one of ``n`` equal things, for example of one token: ``receipt.per(n_tokens)``."""
        if not (math.isfinite(n) and n > 0):
            raise ValueError(f"n={n} must be a number > 0: the count of tokens, answers or runs")
        return self.scaled(1 / n)

    def __add__(self, other: Receipt) -> Receipt:
        """Both works together. Ranges are added end to end, since both receipts share the same errors."""
        if not isinstance(other, Receipt):
            return NotImplemented
        if (self.region, self.intensity_g_per_kwh) != (other.region, other.intensity_g_per_kwh):
            raise ValueError(f"region={other.region!r} cannot be added to region={self.region!r}: measure both in one")
        values = {name: getattr(self, name) + getattr(other, name) for name in _AMOUNTS}
        return Receipt(
            label=self.label if self.label == other.label else f"{self.label} + {other.label}",
            basis=_both(self.basis, other.basis),
            source=_join(self.source, other.source),
            region=self.region,
            intensity_g_per_kwh=self.intensity_g_per_kwh,
            runs=min(self.runs, other.runs),
            components=merge(self.parts() + other.parts()),
            **values,
        )

    def __radd__(self, other: object) -> Receipt:
        """Let ``sum(receipts)`` start from 0."""
        return self if other == 0 else NotImplemented

    def parts(self) -> tuple[Component, ...]:
        """The components, or all energy as one "cpu" component."""
        whole = Component("cpu", self.basis, self.energy_j, self.low_j, self.high_j, self.source)
        return self.components or (whole,)

    def to_frame(self) -> pd.DataFrame:
        """Tidy table, one row per component: run, component, basis, energy_j, low_j, high_j, source, carbon_g, ..."""
        import pandas as pd

        frame = pd.DataFrame([{"run": self.label, **asdict(part)} for part in self.parts()])
        carbon_g = frame["energy_j"] / J_PER_KWH * self.intensity_g_per_kwh
        return frame.assign(carbon_g=carbon_g, region=self.region, runs=self.runs)


def merge(parts: Iterable[Component]) -> tuple[Component, ...]:
    """One entry per component; it stays "measured" only when all of it was."""
    merged: dict[str, Component] = {}
    for part in parts:
        if old := merged.get(part.component):
            joules = {name: getattr(old, name) + getattr(part, name) for name in _JOULES}
            part = replace(part, basis=_both(old.basis, part.basis), source=_join(old.source, part.source), **joules)
        merged[part.component] = part
    return tuple(merged.values())


def _both(basis: str, other: str) -> str:
    return "measured" if basis == other == "measured" else "modelled"


def _join(source: str, other: str) -> str:
    return " + ".join(dict.fromkeys(f"{source} + {other}".split(" + ")))


def _check(what: str, record: Component | Receipt, low: str, middle: str, high: str) -> None:
    if record.basis not in BASES:
        raise ValueError(f"{what}: basis={record.basis!r} must be one of {BASES}")
    values = [getattr(record, name) for name in (low, middle, high)]
    if not 0 <= values[0] <= values[1] <= values[2] < math.inf:
        raise ValueError(f"{what}: must satisfy 0 <= {low} <= {middle} <= {high}, got {values}")
