"""A design's figures: energy, carbon, water, cost, latency and quality of a request and of a year, each with a band.

``evaluate`` computes with the central value of every assumption. ``bands`` repeats it with draws: each assumption is
drawn once a repeat and used wherever it appears, so terms that hang together (the grid's energy and its carbon, the
serving system's time and joules) are not counted twice. A draw falls below or above the central value with even
chances, nearer ones more often (two triangles, `draws`); the band holds 95 % of the repeats.

Two designs are compared with the same draws: `bands` of both are made with one seed, and an assumption that both share
moves both.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from greenlab.core import checks
from greenlab.green_service import passes
from greenlab.green_service.assumptions import Assumption, Assumptions, assumptions
from greenlab.green_service.carbon import DAYS_PER_YEAR, RequestCarbon, request_carbon
from greenlab.green_service.cost import RequestCost, request_cost
from greenlab.green_service.design import Service
from greenlab.green_service.energy import S_PER_DAY, Fleet, RequestEnergy, fleet, request_energy
from greenlab.green_service.latency import RequestLatency, request_latency
from greenlab.green_service.quality import quality_kept
from greenlab.green_service.water import RequestWater, request_water

Number = Any
N_DRAWS = 2000
SEED = 0
SHARE = 0.95  # of the repeats that a band holds


@dataclass(frozen=True)
class Outcome:
    """What a design costs.

    Attributes:
        service: the design.
        assumed: its assumptions.
        machines: its accelerators.
        energy, carbon, water, cost, latency: of one request.
        quality: share of the quality that its levers leave.
        remarks: what a reader has to know, such as a batch that the traffic cannot fill.
    """

    service: Service
    assumed: Assumptions
    machines: Fleet
    energy: RequestEnergy
    carbon: RequestCarbon
    water: RequestWater
    cost: RequestCost
    latency: RequestLatency
    quality: float
    remarks: tuple[str, ...]

    @property
    def requests_per_year(self) -> float:
        """Requests of a year."""
        return self.service.requests_per_day * DAYS_PER_YEAR

    @property
    def sci_g(self) -> float:
        """The Software Carbon Intensity [g CO2e per request]."""
        return float(self.carbon.sci_g)

    @property
    def passes_gate(self) -> bool:
        """Whether the quality that is left reaches the design's gate."""
        return self.quality >= self.service.quality_gate


# quantity -> (unit, unit of a year or "", factor to it, what it is of an outcome)
QUANTITIES: dict[str, tuple[str, str, float, Callable[[Outcome], Number]]] = {
    "energy": ("J", "kWh", 1 / 3.6e6, lambda o: o.energy.total_j),
    "carbon": ("g", "kg", 1e-3, lambda o: o.carbon.sci_g),
    "water": ("mL", "m3", 1e-6, lambda o: o.water.total_ml),
    "cost": ("$", "$", 1.0, lambda o: o.cost.total_usd),
    "first token": ("s", "", 0.0, lambda o: o.latency.first_token_s),
    "whole answer": ("s", "", 0.0, lambda o: o.latency.total_s),
}
PARTS: dict[str, dict[str, Callable[[Outcome], Number]]] = {
    "energy": {
        "reading": lambda o: o.energy.reading_j,
        "writing": lambda o: o.energy.writing_j,
        "searching the index": lambda o: o.energy.retrieval_j,
        "accelerators that wait": lambda o: o.energy.waiting_j,
        "hosts": lambda o: o.energy.host_j,
        "building": lambda o: o.energy.overhead_j,
    },
    "carbon": {"electricity": lambda o: o.carbon.operational_g, "manufacture": lambda o: o.carbon.embodied_g},
    "water": {"cooling": lambda o: o.water.on_site_ml, "power stations": lambda o: o.water.off_site_ml},
}


PART_EVIDENCE = {
    "reading": "measured on an accelerator", "writing": "measured on an accelerator",
    "searching the index": "measured here", "accelerators that wait": "measured on an accelerator",
    "hosts": "cited", "building": "cited", "electricity": "cited", "manufacture": "cited", "cooling": "cited",
    "power stations": "cited",
}  # fmt: skip


def _assumed(service: Service, assumed: Assumptions | None) -> Assumptions:
    checks.instance("service", service, Service)
    if assumed is None:
        return assumptions(service)
    return checks.instance("assumed", assumed, Assumptions, remedy="assumptions(service) gives it")


def _outcome(service: Service, assumed: Assumptions, numbers: Mapping[str, Number], machines: Fleet) -> Outcome:
    energy = request_energy(service, numbers, machines)
    return Outcome(
        service=service,
        assumed=assumed,
        machines=machines,
        energy=energy,
        carbon=request_carbon(service, numbers, machines, energy),
        water=request_water(numbers, energy),
        cost=request_cost(service, numbers, machines, energy),
        latency=request_latency(service, numbers, machines),
        quality=quality_kept(service),
        remarks=(),
    )


def evaluate(service: Service, assumed: Assumptions | None = None) -> Outcome:
    """Figures of a design with the central value of every assumption.

    Args:
        service: the design.
        assumed: its assumptions, or None for `assumptions` of the service.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the design gives fewer accelerators than it needs.

    >>> from greenlab.green_service.design import DEFAULT
    >>> outcome = evaluate(DEFAULT)
    >>> outcome.machines.devices_per_replica, outcome.quality
    (1, 1.0)
    """
    assumed = _assumed(service, assumed)
    numbers = assumed.values()
    machines = fleet(service, numbers)
    outcome = _outcome(service, assumed, numbers, machines)
    return dataclasses.replace(outcome, remarks=_remarks(outcome))


def _remarks(outcome: Outcome) -> tuple[str, ...]:
    service, found = outcome.service, []
    at_once = service.requests_per_day / S_PER_DAY * float(outcome.latency.total_s) / outcome.machines.replicas
    at_once /= max(service.utilization, outcome.machines.busy_share)  # in the time in which a replica works
    if at_once < service.batch / 2:
        found.append(
            f"the traffic fills a batch of {max(1, round(at_once))} on each replica in the mean, not of "
            f"{service.batch}: writing will cost more than shown, unless requests arrive together"
        )
    if not outcome.passes_gate:
        found.append(
            f"quality: {100 * outcome.quality:.1f} % is left, and the gate is {100 * service.quality_gate:.1f} %: no "
            "saving may be claimed"
        )
    return tuple(found)


def draws(item: Assumption, n: int = N_DRAWS, seed: int = SEED) -> NDArray[np.float64]:
    """Draws of one assumption: half of them below its value, half above, nearer ones more often.

    On each side the chance falls linearly to 0 at the end of the range; the median is the value. The draws depend on
    the assumption's name and the seed, not on the other assumptions, so that two designs can be compared draw by draw.

    Args:
        item: the assumption.
        n: how many.
        seed: of the random numbers.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a number is out of range.
    """
    checks.instance("item", item, Assumption)
    n = checks.integer("n", n, low=1, high=10**6)
    seed = checks.integer("seed", seed, low=0)
    u = np.random.default_rng([seed, zlib.crc32(item.name.encode())]).uniform(-1, 1, n)
    far = 1 - np.sqrt(1 - np.abs(u))  # density falls linearly from the value to the end
    return np.where(u < 0, item.value - far * (item.value - item.low), item.value + far * (item.high - item.value))


def outcome_of_draws(service: Service, assumed: Assumptions, n: int, seed: int) -> Outcome:
    """The outcome with arrays of draws in the place of numbers; the fleet is planned with the central ones (`on_s`)."""
    numbers: dict[str, Number] = {item.name: draws(item, n, seed) for item in assumed.items}
    return _outcome(service, assumed, numbers, fleet(service, assumed.values()))


def band_of(value: Number, n: int) -> tuple[float, float]:
    """The two ends that hold `SHARE` of the draws; a number stands for ``n`` equal ones."""
    low, high = np.quantile(np.broadcast_to(value, n), [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def bands(service: Service, assumed: Assumptions | None = None, *, n: int = N_DRAWS, seed: int = SEED) -> pd.DataFrame:
    """Every figure of a design with its band.

    Args:
        service: the design.
        assumed: its assumptions, or None for `assumptions` of the service.
        n: draws.
        seed: of the draws.

    Returns:
        One row a quantity and scope: quantity, per ("request" or "year"), value, low, high, unit, basis. Latency has no
        year.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a number is out of range, or the design gives fewer accelerators than it needs.
    """
    assumed = _assumed(service, assumed)
    n, seed = checks.integer("n", n, low=100, high=10**6), checks.integer("seed", seed, low=0)
    central, drawn = evaluate(service, assumed), outcome_of_draws(service, assumed, n, seed)
    rows: list[dict[str, Any]] = []
    for quantity, (unit, year_unit, factor, of) in QUANTITIES.items():
        value, (low, high) = float(of(central)), band_of(of(drawn), n)
        rows.append(_row(quantity, "request", value, low, high, unit))
        if year_unit:
            times = factor * central.requests_per_year
            rows.append(_row(quantity, "year", times * value, times * low, times * high, year_unit))
    return pd.DataFrame(rows)


def _row(quantity: str, per: str, value: float, low: float, high: float, unit: str) -> dict[str, Any]:
    low, high = min(low, value), max(high, value)
    return {
        "quantity": quantity, "per": per, "value": value, "low": low, "high": high, "unit": unit, "basis": "modelled",
    }  # fmt: skip


def parts(service: Service, assumed: Assumptions | None = None, *, n: int = N_DRAWS, seed: int = SEED) -> pd.DataFrame:
    """What a request's energy, carbon and water are made of.

    Args:
        service: the design.
        assumed: its assumptions, or None for `assumptions` of the service.
        n: draws.
        seed: of the draws.

    Returns:
        One row a part: quantity, part, value, low, high, unit, share (of the quantity's central value), evidence
        (how it is known: one of `EVIDENCE`).

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a number is out of range, or the design gives fewer accelerators than it needs.
    """
    assumed = _assumed(service, assumed)
    n, seed = checks.integer("n", n, low=100, high=10**6), checks.integer("seed", seed, low=0)
    central, drawn = evaluate(service, assumed), outcome_of_draws(service, assumed, n, seed)
    rows: list[dict[str, Any]] = []
    for quantity, found in PARTS.items():
        unit, _, _, total = QUANTITIES[quantity]
        for part, of in found.items():
            value, (low, high) = float(of(central)), band_of(of(drawn), n)
            row = {"quantity": quantity, "part": part, "value": value, "low": min(low, value), "high": max(high, value)}
            row |= {"unit": unit, "share": value / float(total(central))}
            rows.append(row | {"evidence": _evidence(part, service)})
    return pd.DataFrame(rows)


def _evidence(part: str, service: Service) -> str:
    found = PART_EVIDENCE[part]
    if part == "accelerators that wait":  # an accelerator waits the same, whatever model is loaded
        elsewhere = service.device != passes.MEASURED_ON
    else:
        changed = bool(service.removed_layers) or service.capacity < 1
        elsewhere = not passes.in_study(service.model, service.device, batch=service.batch, changed=changed)
    return "modelled" if found == "measured on an accelerator" and elsewhere else found


def sensitivity(service: Service, quantity: str = "carbon", assumed: Assumptions | None = None) -> pd.DataFrame:
    """How far each assumption alone moves a quantity of a request: from its low end to its high end, others central.

    Args:
        service: the design.
        quantity: a name of `QUANTITIES`.
        assumed: its assumptions, or None for `assumptions` of the service.

    Returns:
        One row an assumption that moves it, the widest first: assumption, at_low, at_high, value, span (of the
        quantity), unit, basis, source.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the quantity is unknown, or the design gives fewer accelerators than it needs.
    """
    assumed = _assumed(service, assumed)
    checks.one_of("quantity", quantity, tuple(QUANTITIES))
    unit, _, _, of = QUANTITIES[quantity]
    machines, rows = fleet(service, assumed.values()), []
    value = float(of(_outcome(service, assumed, assumed.values(), machines)))
    for item in assumed.items:
        ends = [
            float(of(_outcome(service, assumed, assumed.values() | {item.name: end}, machines)))
            for end in (item.low, item.high)
        ]
        if ends[0] != ends[1]:
            row = {"assumption": item.name, "at_low": ends[0], "at_high": ends[1], "value": value}
            row |= {"span": abs(ends[1] - ends[0]), "unit": unit, "basis": item.basis, "source": item.source}
            rows.append(row)
    columns = ["assumption", "at_low", "at_high", "value", "span", "unit", "basis", "source"]
    found = pd.DataFrame(rows, columns=columns)
    return found.sort_values("span", ascending=False, ignore_index=True)
