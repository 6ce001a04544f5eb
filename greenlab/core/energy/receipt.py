"""Receipts: what a block of code cost in joules and grams, how far off that may be, and whether it was measured.

Carbon is energy times the yearly mean intensity of the region's grid (``data/facts/grid_intensity.csv``; life-cycle
emissions per kWh generated). The region is always an argument: nothing is looked up from where the machine seems to be.
"""

from __future__ import annotations

import functools
import math
import numbers
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from greenlab.core import checks
from greenlab.core.facts import schema
from greenlab.core.names import ENERGY_BASES, unknown

if TYPE_CHECKING:
    import pandas as pd

J_PER_KWH = 3.6e6
COMPONENTS = ("cpu", "dram", "gpu")
_JOULES = ("energy_j", "low_j", "high_j")
_AMOUNTS = (*_JOULES, "time_s", "cpu_s", "carbon_g", "carbon_low_g", "carbon_high_g")
_ALIASES = {"UK": "GB", "USA": "US", "EU27": "EU", "EL": "GR"}  # what people write, and the table does not


@dataclass(frozen=True)
class GridIntensity:
    """Life-cycle emissions per kWh in one region and year, with the spread of published values.

    Attributes:
        region: code, such as "DE".
        name: in English.
        intensity_g_per_kwh: the yearly mean [g/kWh].
        low_g_per_kwh: the least published value [g/kWh].
        high_g_per_kwh: the greatest published value [g/kWh].
        year: of the mean.

    Raises:
        TypeError: if a number is none.
        ValueError: if the mean lies outside its own range.
    """

    region: str
    name: str
    intensity_g_per_kwh: float
    low_g_per_kwh: float
    high_g_per_kwh: float
    year: int

    def __post_init__(self) -> None:
        _check_text("grid", self, "region", "name")
        checks.integer("year", self.year, low=1900, high=2100)
        _check_range(f"grid {self.region!r}", self, "low_g_per_kwh", "intensity_g_per_kwh", "high_g_per_kwh")


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

    Args:
        region: a code or a name, in any case.

    Raises:
        TypeError: if ``region`` is no text.
        ValueError: if the table has no such region; the nearest names are given.

    >>> grid_intensity("poland").region, grid_intensity("UK").name
    ('PL', 'United Kingdom')
    """
    if not isinstance(region, str):
        raise TypeError(f"region={region!r} is {type(region).__name__}: give a code or a name, such as 'DE' or 'WORLD'")
    regions, wanted = _regions(), region.strip().lower()
    if wanted in regions:
        return regions[wanted]
    names = {row.region: row.name for row in regions.values()}
    raise unknown("region", region, names, "use WORLD when the place is not known")


@dataclass(frozen=True)
class Component:
    """Energy of one part of the machine, with its own basis and source.

    Attributes:
        component: the part: "cpu", "dram" or "gpu".
        basis: "measured" or "modelled".
        energy_j: the energy [J].
        low_j: the low end of its range [J].
        high_j: the high end of its range [J].
        source: where the joules come from.

    Raises:
        TypeError: if an energy is no number, or a text is none.
        ValueError: if the basis is unknown, or the energy lies outside its own range.
    """

    component: str
    basis: str
    energy_j: float
    low_j: float
    high_j: float
    source: str

    def __post_init__(self) -> None:
        what = f"component {self.component!r}"
        checks.one_of("component", self.component, COMPONENTS)
        _check_text(what, self, "source")
        _check_basis(what, self.basis)
        _check_range(what, self, "low_j", "energy_j", "high_j")

    def scaled(self, factor: float) -> Component:
        """The same part with all joules multiplied by ``factor``.

        Args:
            factor: a number above 0.

        Raises:
            TypeError: if ``factor`` is no number.
            ValueError: if it is not above 0, NaN or infinite.
        """
        factor = checks.number("factor", factor, above=0)
        return replace(self, **{name: getattr(self, name) * factor for name in _JOULES})


@dataclass(frozen=True)
class Receipt:
    """What one run of a block of code cost.

    Attributes:
        label: the name of the run.
        energy_j: energy per run [J].
        low_j: the low end of its range [J].
        high_j: the high end of its range [J].
        time_s: wall-clock time per run [s].
        cpu_s: CPU time of all threads and child processes, per run [s].
        basis: "measured" only when every component was; else "modelled".
        source: where the joules come from, for example "RAPL package-0".
        carbon_g: emissions per run [g CO2e].
        carbon_low_g: the low end of their range [g CO2e].
        carbon_high_g: the high end of their range [g CO2e].
        region: code of the grid.
        intensity_g_per_kwh: the grid's yearly mean intensity [g/kWh].
        runs: how many repetitions were averaged.
        components: the same energy split by part, each part once; empty when it is all the processor's.

    Raises:
        TypeError: if an amount is no number.
        ValueError: if an amount is out of range, the carbon does not follow from the energy, or the components do not
            add up, repeat a part, or are less sure than the basis says.
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
        if isinstance(self.components, str) or not isinstance(self.components, Iterable):
            raise TypeError(f"components={self.components!r}: give a list of Component")
        parts = tuple(Component(**c) if isinstance(c, dict) else c for c in self.components)  # as read from run.json
        object.__setattr__(self, "components", parts)
        what = f"receipt {self.label!r}"
        _check_text(what, self, "label", "source", "region")
        _check_basis(what, self.basis)
        _check_range(what, self, "low_j", "energy_j", "high_j")
        _check_range(what, self, "carbon_low_g", "carbon_g", "carbon_high_g")
        for name in ("time_s", "cpu_s", "intensity_g_per_kwh"):
            checks.number(name, getattr(self, name), low=0, remedy=f"it stands in the {what}")
        checks.integer("runs", self.runs, low=1, remedy=f"it stands in the {what}")
        expected = self.energy_j / J_PER_KWH * self.intensity_g_per_kwh
        if not math.isclose(self.carbon_g, expected, rel_tol=0.01, abs_tol=1e-12):  # catches a wrong unit
            raise ValueError(
                f"{what}: carbon_g={self.carbon_g} is not energy_j / 3.6e6 * intensity_g_per_kwh "
                f"= {expected:.6g}; build receipts with Receipt.from_energy()"
            )
        self._check_components(what)

    def _check_components(self, what: str) -> None:
        for part in self.components:
            if not isinstance(part, Component):
                raise TypeError(
                    f"{what}: components holds {part!r}, a {type(part).__name__}: give Component objects only"
                )
        if not self.components:
            return
        names = [part.component for part in self.components]
        if len(set(names)) < len(names):
            raise ValueError(f"{what}: components lists a part twice ({', '.join(names)}): join them with merge(...)")
        total_j = sum(part.energy_j for part in self.components)
        if not math.isclose(total_j, self.energy_j, rel_tol=1e-6, abs_tol=1e-12):
            raise ValueError(f"{what}: the components do not add up to energy_j={self.energy_j}")
        modelled = [part.component for part in self.components if part.basis != "measured"]
        if self.basis == "measured" and modelled:
            raise ValueError(f"{what}: basis='measured', but {', '.join(modelled)} is modelled: give basis='modelled'")

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

        Args:
            label: the name of the run.
            energy_j: energy per run [J].
            low_j: the low end of its range [J].
            high_j: the high end of its range [J].
            basis: "measured" or "modelled".
            source: where the joules come from.
            region: whose grid the electricity comes from.
            time_s: wall-clock time per run [s].
            cpu_s: CPU time per run [s].
            runs: how many repetitions were averaged.
            components: the same energy split by part.

        Raises:
            TypeError: if an amount is no number.
            ValueError: if the region is unknown, or as for `Receipt`.

        >>> r = Receipt.from_energy("demo", 3.6e6, 3e6, 4e6, basis="measured", source="a plug meter", region="SE")
        >>> r.carbon_g, r.intensity_g_per_kwh
        (36.0, 36.0)
        """
        grid = grid_intensity(region)
        if isinstance(components, str) or not isinstance(components, Iterable):
            raise TypeError(f"components={components!r}: give a list of Component")
        energy_j, low_j, high_j = (
            checks.number(name, value, low=0)
            for name, value in (("energy_j", energy_j), ("low_j", low_j), ("high_j", high_j))
        )
        carbon_g = energy_j / J_PER_KWH * grid.intensity_g_per_kwh
        low_g, high_g = low_j / J_PER_KWH * grid.low_g_per_kwh, high_j / J_PER_KWH * grid.high_g_per_kwh
        return cls(
            label, energy_j, low_j, high_j, time_s, cpu_s, basis, source, carbon_g, low_g, high_g,
            grid.region, grid.intensity_g_per_kwh, runs, tuple(components),
        )  # fmt: skip

    def scaled(self, factor: float) -> Receipt:
        """The same receipt with energy, time and carbon multiplied by a factor.

        Args:
            factor: a number above 0.

        Raises:
            TypeError: if ``factor`` is no number.
            ValueError: if it is not above 0, NaN or infinite.
        """
        factor = checks.number("factor", factor, above=0)
        values = {name: getattr(self, name) * factor for name in _AMOUNTS}
        return replace(self, **values, components=tuple(c.scaled(factor) for c in self.components))

    def per(self, n: float) -> Receipt:
        """The cost of one of ``n`` equal things, for example of one token: ``receipt.per(n_tokens)``.

        Args:
            n: the count of tokens, answers or runs.

        Raises:
            TypeError: if ``n`` is no number.
            ValueError: if it is not above 0, NaN or infinite.
        """
        return self.scaled(1 / checks.number("n", n, above=0, remedy="it counts tokens, answers or runs"))

    def __add__(self, other: Receipt) -> Receipt:
        """The cost of both runs together. Ranges are added end to end, since both receipts share the same errors."""
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
    """One entry per component; it stays "measured" only when all of it was.

    Args:
        parts: any number of components; those of one name are added up.

    Raises:
        TypeError: if ``parts`` holds anything else.
    """
    if isinstance(parts, (str, bytes)) or not isinstance(parts, Iterable):
        raise TypeError(f"parts={parts!r} is {type(parts).__name__}: give a list of Component")
    merged: dict[str, Component] = {}
    for part in parts:
        if not isinstance(part, Component):
            raise TypeError(f"parts holds {part!r}, a {type(part).__name__}: give Component objects only")
        if old := merged.get(part.component):
            joules = {name: getattr(old, name) + getattr(part, name) for name in _JOULES}
            part = replace(part, basis=_both(old.basis, part.basis), source=_join(old.source, part.source), **joules)
        merged[part.component] = part
    return tuple(merged.values())


def _both(basis: str, other: str) -> str:
    return "measured" if basis == other == "measured" else "modelled"


def _join(source: str, other: str) -> str:
    return " + ".join(dict.fromkeys(f"{source} + {other}".split(" + ")))


def _check_text(what: str, record: object, *names: str) -> None:
    for name in names:
        if not isinstance(getattr(record, name), str):
            value = getattr(record, name)
            raise TypeError(f"{what}: {name}={value!r} is {type(value).__name__}: give text")


def _check_basis(what: str, basis: str) -> None:
    if not isinstance(basis, str):
        raise TypeError(f"{what}: basis={basis!r} is {type(basis).__name__}: give one of {ENERGY_BASES}")
    if basis not in ENERGY_BASES:
        raise ValueError(f"{what}: basis={basis!r} must be one of {ENERGY_BASES}")


def _check_range(what: str, record: object, *names: str) -> None:
    """Check that three amounts are numbers from 0 up, in rising order."""
    values: list[Any] = []
    for name in names:
        value = getattr(record, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise TypeError(f"{what}: {name}={value!r} is {type(value).__name__}: give a number")
        values.append(value)
    if not 0 <= values[0] <= values[1] <= values[2] < math.inf:
        low, middle, high = names
        raise ValueError(f"{what}: must satisfy 0 <= {low} <= {middle} <= {high}, got {values}")
