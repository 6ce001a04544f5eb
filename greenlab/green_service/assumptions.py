"""What a service's figures assume: every number with unit, range, basis and source, and each can be moved.

``assumptions(service)`` collects them for a service; ``.table()`` shows them, ``.move(pue=1.2)`` changes some,
``.moved()`` tells which were changed, and ``typed`` reads what somebody wrote into the fields of a page. A moved number
is the reader's own: it has no range unless one is given. Nothing else in the chapter holds a number of the outside
world.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd

from greenlab.core import checks, facts
from greenlab.core.names import unknown
from greenlab.green_service import passes
from greenlab.green_service.committed import table
from greenlab.green_service.design import Service
from greenlab.green_service.models import MODELS

MOVED = "the reader's own number"  # the source of an assumption that was moved
BASES = ("measured", "modelled", "cited", "given")


@dataclass(frozen=True)
class Assumption:
    """One number that the figures of a service rest on.

    Attributes:
        name: such as "pue".
        meaning: in words.
        value: the central one.
        low, high: its range.
        unit: of the three.
        basis: "measured" in this book, "modelled" here, "cited" from outside, or "given" by the reader.
        source: the study, the fact or the rule that it comes from.

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if the value is not within its range, or the basis is unknown.
    """

    name: str
    meaning: str
    value: float
    low: float
    high: float
    unit: str
    basis: str
    source: str

    def __post_init__(self) -> None:
        for field in ("name", "meaning", "unit", "source"):
            checks.text(field, getattr(self, field))
        checks.one_of("basis", self.basis, BASES)
        low, high = checks.number("low", self.low, low=0), checks.number("high", self.high, low=0)
        value = checks.number("value", self.value, low=0)
        if not low <= value <= high:
            raise ValueError(f"value={value:g} of {self.name!r}: give a number from low={low:g} to high={high:g}")


# What a number of the reader's own may be: name -> (least, greatest, why)
LIMITS = {
    "serving_factor": (0.1, 20, "joules of the serving system over those of the bare model"),
    "kernel_share": (0, 1, "the share of the bytes saved that a real kernel turns into time and joules saved"),
    "idle_power_w": (0, 5000, "an accelerator that waits"),
    "host_power_w": (0, 20_000, "the part of a server that one accelerator answers for"),
    "pue": (1, 5, "total energy over IT energy"),
    "intensity_g_per_kwh": (0.1, 2000, "of the grid"),
    "shift_saving": (0, 1, "a share of the emissions of what may wait"),
    "device_embodied_kg": (0, 10_000, "manufacture of one accelerator"),
    "server_embodied_kg": (0, 100_000, "manufacture of a server, without accelerators"),
    "devices_per_server": (1, 1024, "accelerators that share a server"),
    "lifetime_years": (0.5, 20, "of accelerators and servers"),
    "wue_l_per_kwh": (0, 20, "litres for a kilowatt-hour of the machines"),
    # nothing may bring a whole figure to 0: no share of it could be told then
    "water_l_per_kwh": (0.001, 100, "litres for a kilowatt-hour of electricity"),
    "device_price": (0.001, 1000, "for an accelerator and an hour"),
    "electricity_price": (0, 10, "for a kilowatt-hour"),
    "cpu_power_w": (0, 1000, "a busy core of the machine that searches the index"),
    "memory_share": (0.1, 1, "the share of an accelerator's memory that weights and caches may fill"),
}

# how a page groups them: what they are about -> names
GROUPS = {
    "Serving system": ("serving_factor", "kernel_share", "idle_power_w", "host_power_w", "memory_share"),
    "Building, grid": (
        "pue", "intensity_g_per_kwh", "shift_saving", "wue_l_per_kwh", "water_l_per_kwh",
    ),
    "Manufacture": ("device_embodied_kg", "server_embodied_kg", "devices_per_server", "lifetime_years"),
    "Prices, index": ("device_price", "electricity_price", "cpu_power_w"),
}  # fmt: skip
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?", re.I | re.A)


@dataclass(frozen=True)
class Assumptions:
    """All assumptions of a service, by name.

    Attributes:
        items: one `Assumption` a name.
    """

    items: tuple[Assumption, ...]

    def __post_init__(self) -> None:
        given = checks.several("items", self.items)
        found = [item.name for item in given if isinstance(item, Assumption)]
        if sorted(found) != sorted(LIMITS) or len(found) != len(given):
            raise ValueError(f"items holds {found}: give one Assumption for each of {', '.join(LIMITS)}")

    def __getitem__(self, name: str) -> Assumption:
        checks.text("name", name)
        for item in self.items:
            if item.name == name:
                return item
        raise unknown("assumption", name, LIMITS)

    def values(self) -> dict[str, float]:
        """The central value of each, by name."""
        return {item.name: item.value for item in self.items}

    def move(self, **changes: float | tuple[float, float, float]) -> Assumptions:
        """The same assumptions with some numbers of the reader's own.

        Args:
            **changes: a number, which has no range then, or (value, low, high).

        Raises:
            TypeError: if it is neither.
            ValueError: if the name is unknown, or a number is out of range.

        >>> from greenlab.green_service.design import DEFAULT
        >>> moved = assumptions(DEFAULT).move(pue=(1.2, 1.1, 1.3))
        >>> moved["pue"].high, moved["pue"].basis
        (1.3, 'given')
        """
        items = {item.name: item for item in self.items}
        for name, change in changes.items():
            if name not in items:
                raise unknown("assumption", name, LIMITS)
            least, greatest, why = LIMITS[name]
            given = change if isinstance(change, tuple) else (change, change, change)
            if len(given) != 3:
                raise ValueError(f"{name}={change!r}: give a number, or (value, low, high)")
            value, low, high = (checks.number(name, part, low=least, high=greatest, remedy=why) for part in given)
            if not low <= value <= high:
                raise ValueError(f"{name}={change!r}: give (value, low, high) with low <= value <= high")
            items[name] = dataclasses.replace(items[name], value=value, low=low, high=high, basis="given", source=MOVED)
        return Assumptions(tuple(items.values()))

    def moved(self) -> tuple[Assumption, ...]:
        """Those that hold a number of the reader's own.

        >>> from greenlab.green_service.design import DEFAULT
        >>> [item.name for item in assumptions(DEFAULT).move(pue=1.2).moved()]
        ['pue']
        """
        return tuple(item for item in self.items if item.source == MOVED)

    def table(self) -> pd.DataFrame:
        """One row an assumption: name, meaning, value, low, high, unit, basis, source."""
        return pd.DataFrame([dataclasses.asdict(item) for item in self.items])


def typed(fields: Mapping[str, str]) -> dict[str, float | tuple[float, float, float]]:
    """What somebody wrote into the fields of assumptions, as `Assumptions.move` takes it.

    Args:
        fields: a text for the name of an assumption: empty for the published number, one number of one's own, or three
            with spaces between them: the value, its low and its high end.

    Returns:
        The numbers by name, without the empty fields.

    Raises:
        TypeError: if ``fields`` is no mapping of texts.
        ValueError: if a name is unknown, or a text holds something else; the message names the assumption.

    >>> typed({"pue": "1.2", "host_power_w": " 200 150 300 ", "cpu_power_w": ""})
    {'pue': 1.2, 'host_power_w': (200.0, 150.0, 300.0)}
    """
    if not isinstance(fields, Mapping):
        raise TypeError(f"fields={fields!r:.80} is {type(fields).__name__}: give a dict such as {{'pue': '1.2'}}")
    found: dict[str, float | tuple[float, float, float]] = {}
    for name, text in fields.items():
        checks.text("fields", name, remedy="name an assumption")
        if name not in LIMITS:
            raise unknown("assumption", name, LIMITS)
        words = checks.text(name, text, remedy="what was typed, such as '1.2'").split()
        if not words:
            continue
        if len(words) not in (1, 3) or not all(_NUMBER.fullmatch(word) for word in words):
            raise ValueError(
                f"{name}={text!r:.40}: give a number with a point such as 1.2, or three with spaces between them: "
                "value, low and high; leave it empty for the published number"
            )
        numbers = tuple(float(word) for word in words)
        found[name] = numbers[0] if len(numbers) == 1 else (numbers[0], numbers[1], numbers[2])
    return found


def _fact(name: str, meaning: str, id: str, *, low: str = "", high: str = "", factor: float = 1.0) -> Assumption:
    """An assumption that is a fact; its range is the fact's own, or goes to the facts that are named."""
    value = facts.value(id)
    least, most = facts.low_high(id)
    ids = [id, *(other for other in (low, high) if other)]
    least = facts.value(low) if low else least
    most = facts.value(high) if high else most
    numbers = {"value": factor * value, "low": factor * min(least, value), "high": factor * max(most, value)}
    return Assumption(name=name, meaning=meaning, unit=facts.unit(id), basis="cited", source=", ".join(ids), **numbers)


def _given(name: str, meaning: str, value: float, unit: str) -> Assumption:
    return Assumption(name, meaning, value, value, value, unit, "given", "the design")


def _serving(service: Service) -> Assumption:
    low, high = passes.fit_band()
    source = "data/studies/accelerator, 31 passes on one H100; energy-h100-llama3-8b-batch-8 to -256"
    basis = "measured"
    if service.device != passes.MEASURED_ON:
        slow, fast = passes.scaling_band()
        low, high, basis = low * slow, high * fast, "modelled"
        source += ", scaled by rated power, bandwidth and peak rate"
    elif not MODELS[service.model].measured:
        basis = "modelled"
        source += f", other models than {service.model}"
    meaning = "joules and seconds of the serving system over those of the fitted model"
    return Assumption("serving_factor", meaning, 1.0, low, high, "x", basis, source)


def _kernel_share() -> Assumption:
    """From published speeds: 8-bit weights halve the bytes, 4-bit ones with a scale for each 32 take 0.3125 of them."""
    base = facts.value("decode-a100-llama2-7b-bf16")
    saved = {"int8": 0.5, "int4": 1 - 0.3125}
    shares = [
        (1 - base / facts.value(f"decode-a100-llama2-7b-{kind}")) / bytes_saved for kind, bytes_saved in saved.items()
    ]
    meaning = "share of the weights' saved bytes that a real kernel turns into a saving"
    ids = "decode-a100-llama2-7b-bf16, -int8, -int4"
    return Assumption("kernel_share", meaning, sum(shares) / 2, min(shares), 1.0, "share", "cited", ids)


def _idle() -> Assumption:
    rows = table("accelerator", "summary")
    rows = rows[rows["section"] == "idle"]
    loaded = rows[rows["what"].str.contains("loaded")].iloc[-1]
    low, high = float(loaded["low_j_per_unit"]), float(loaded["high_j_per_unit"])
    meaning = "power of an accelerator that waits with a model loaded"
    source = f"data/studies/accelerator, {loaded['what']}, one H100"
    return Assumption("idle_power_w", meaning, float(loaded["power_w"]), low, high, "W", "measured", source)


def _host() -> Assumption:
    each = facts.value("server-accelerators")
    value = 1e3 * facts.value("server-host-power") / each
    rated = 1e3 * facts.value("dgx-h100-power") / each - facts.value("h100-sxm5-80gb.tdp_w")
    meaning = "power of processor, memory and fans beside one accelerator"
    ids = "server-host-power; high = dgx-h100-power less eight h100-sxm5-80gb.tdp_w"
    return Assumption("host_power_w", meaning, value, value, rated, "W", "cited", ids)


def _cpu() -> Assumption:
    """What a CPU second cost in the retrieval study: its joules over its CPU time."""
    steps = table("retrieval", "steps")
    value, low, high = (float(steps[name].sum() / steps["cpu_s"].sum()) for name in ("energy_j", "low_j", "high_j"))
    source = "data/studies/retrieval, steps.csv, joules over CPU seconds"
    return Assumption(
        "cpu_power_w", "of a busy core that searches the index", value, low, high, "W", "modelled", source
    )


def _pue() -> Assumption:
    """The surveyed average; up to it from the best fleet, and beyond it to the share of cooling printed in 2024."""
    average = _fact("pue", "total energy of the building over that of its machines", "pue-average", low="pue-best")
    high = 1 / (1 - facts.value("dc-share-cooling") / 100)
    return dataclasses.replace(average, high=high, source=f"{average.source}; high = dc-share-cooling")


def _price(service: Service) -> Assumption:
    price = _fact("device_price", "of an accelerator, electricity included", "h100-hour-price")
    if service.device == passes.MEASURED_ON:
        return price
    ratio = passes.chip(service.device)["power_w"] / passes.chip(passes.MEASURED_ON)["power_w"]
    numbers = {name: ratio * getattr(price, name) for name in ("value", "low", "high")}
    return dataclasses.replace(price, basis="modelled", source=f"{price.source}, scaled by rated power", **numbers)


def _embodied(service: Service) -> Assumption:
    """Manufacture of one accelerator. An H100 and an A100 have published figures; the others are taken from an H100.

    Its maker states the manufacture of boards with eight H100s and with eight B200s for the operations that they can
    do; that ratio, times the ratio of their rates, is the ratio of the two boards. The H200 is an H100 with more
    memory, for which nothing is published: it may cost as much to make as a B200. So may any other.
    """
    meaning = "manufacture of one accelerator"
    h100 = _fact("device_embodied_kg", meaning, "gpu-embodied-h100", low="gpu-embodied-a100", high="gpu-embodied-chien")
    if service.device == passes.MEASURED_ON:
        return h100
    if service.device.startswith("a100"):
        return _fact("device_embodied_kg", meaning, "gpu-embodied-a100", high="gpu-embodied-chien")
    rates = [passes.chip(name)["flops_per_s"] for name in ("b200", passes.MEASURED_ON)]
    boards = facts.value("embodied-hgx-b200") / facts.value("embodied-hgx-h100") * rates[0] / rates[1]
    ids = "embodied-hgx-b200 over embodied-hgx-h100, times the ratio of their rates"
    if service.device == "b200":
        numbers = {name: boards * getattr(h100, name) for name in ("value", "low", "high")}
        return dataclasses.replace(h100, basis="modelled", source=f"gpu-embodied-h100 x {ids}", **numbers)
    source = f"that of an H100, as none is published: {h100.source}; high = x {ids}"
    return dataclasses.replace(h100, high=boards * h100.high, basis="modelled", source=source)


def _shift(service: Service) -> Assumption:
    """A 24-hour job that may pause and wait a day; the region's own zone, or the mean of all countries."""
    rows = table("load_shifting", "temporal")
    rows = rows[(rows["duration_h"] == 24) & (rows["slack_h"] == 24) & rows["pauses"].astype(bool)]
    own = rows[rows["zone"] == service.region]
    place = service.region if len(own) else "all countries"
    shares = (own if len(own) else rows[rows["basis"] == "computed"])["saved_pct"] / 100
    meaning = "emissions saved on what may wait a day"
    source = f"data/studies/load_shifting, temporal.csv, {place}, 24-hour job with pauses, hours known in advance"
    return Assumption(
        "shift_saving", meaning, float(shares.mean()), 0.0, float(shares.max()), "share", "modelled", source
    )


def _water(service: Service) -> Assumption:
    own, meaning = f"water-electricity-{service.region.lower()}", "water that power stations use for a kilowatt-hour"
    of_all = [facts.value(id) for id in facts.ids() if id.startswith("water-electricity-")]
    if own in facts.ids():
        value = facts.value(own)  # another year's weather moves hydropower most: no range is published
        return Assumption("water_l_per_kwh", meaning, value, value, value, "L/kWh", "cited", own)
    value = facts.value("water-electricity-world")
    source = "water-electricity-world; range over the countries of the table"
    return Assumption("water_l_per_kwh", meaning, value, min(of_all), max(of_all), "L/kWh", "cited", source)


def assumptions(service: Service) -> Assumptions:
    """The assumptions behind a service's figures, with the published range of each.

    Args:
        service: the design; its region and device choose some of them, its ``pue`` and ``wue_l_per_kwh`` replace two.

    Raises:
        TypeError: if ``service`` is no `Service`.

    >>> from greenlab.green_service.design import DEFAULT
    >>> assumptions(DEFAULT)["intensity_g_per_kwh"].value
    344.0
    """
    return _assumptions(checks.instance("service", service, Service))


@lru_cache(maxsize=4096)
def _assumptions(service: Service) -> Assumptions:
    region = service.region
    grid = Assumption(
        "intensity_g_per_kwh", f"of the grid, mean of a year, {region}",
        facts.value(f"{region}.intensity_g_per_kwh"), facts.value(f"{region}.low_g_per_kwh"),
        facts.value(f"{region}.high_g_per_kwh"), "g/kWh", "cited", f"{region}.intensity_g_per_kwh",
    )  # fmt: skip
    pue = _pue()
    wue = _fact("wue_l_per_kwh", "water that cooling uses for a kilowatt-hour of the machines", "wue-air",
                high="wue-evaporative")  # fmt: skip
    wue = dataclasses.replace(wue, low=0.0, source=f"{wue.source}; low = a closed loop")
    if service.pue is not None:
        pue = _given("pue", pue.meaning, service.pue, pue.unit)
    if service.wue_l_per_kwh is not None:
        wue = _given("wue_l_per_kwh", wue.meaning, service.wue_l_per_kwh, wue.unit)
    return Assumptions(
        (
            _serving(service),
            _kernel_share(),
            _idle(),
            _host(),
            pue,
            grid,
            _shift(service),
            _embodied(service),
            _fact("server_embodied_kg", "manufacture of a server, without accelerators", "server-embodied",
                  low="server-embodied-2024"),
            _fact("devices_per_server", "accelerators that share a server", "server-accelerators"),
            _fact("lifetime_years", "of accelerators and servers", "server-lifetime", high="server-lifetime-2024"),
            wue,
            _water(service),
            _price(service),
            _fact("electricity_price", "of a kilowatt-hour, which is part of the hour's price", "electricity-price"),
            _cpu(),
            _fact("memory_share", "share of the memory that weights and caches may fill", "serving-memory-share"),
        )
    )  # fmt: skip
