"""Joules of a request: reading, writing, searching, waiting, the host beside the accelerator, and the building.

Reading and writing follow from the model's shape, the batch, the context and the bits of its weights, through the
coefficients of `passes`. Input tokens are counted, and the batch is the designer's. The parts are those of Elsworth et
al. (arXiv:2508.15734, sec. 3): accelerators at work, hosts, machines that wait, and the building's overhead.

Every function takes the assumptions as a dict of numbers, or of arrays of draws (`bands`), and gives the same back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from greenlab.green_service import passes
from greenlab.green_service.committed import table
from greenlab.green_service.design import Service

Number = Any  # a float, or an array with one number a draw
S_PER_DAY = 86_400.0
J_PER_KWH = 3.6e6
STORED_BITS = {16: 16.0, 8: 8.0, 4: 5.0, 2: 2.0}  # 4 bits carry a scale and a zero point for each group of 32 weights
INDEX_OF = {"bm25": "BM25", "static": "static", "minilm": "MiniLM", "bm25 + minilm": "BM25 + MiniLM"}


@dataclass(frozen=True)
class Fleet:
    """The machines of a service.

    Attributes:
        n_devices: accelerators that are switched on.
        devices_per_replica: accelerators that hold the model together.
        replicas: copies of the model.
        needed: accelerators that the traffic needs at the design's utilization.
        busy_share: share of the day in which a replica works.
    """

    n_devices: int
    devices_per_replica: int
    replicas: int
    needed: int
    busy_share: float


@dataclass(frozen=True)
class RequestEnergy:
    """Energy of one request by part [J]: numbers, or arrays with one number a draw."""

    reading_j: Number
    writing_j: Number
    retrieval_j: Number
    waiting_j: Number
    host_j: Number
    overhead_j: Number

    @property
    def machines_j(self) -> Number:
        """All machines, without the building [J]."""
        return self.reading_j + self.writing_j + self.retrieval_j + self.waiting_j + self.host_j

    @property
    def total_j(self) -> Number:
        """Machines and building [J]."""
        return self.machines_j + self.overhead_j

    @property
    def total_kwh(self) -> Number:
        """Machines and building [kWh]."""
        return self.total_j / J_PER_KWH


@dataclass(frozen=True)
class Times:
    """Seconds of a request on its replica: numbers, or arrays with one number a draw.

    Attributes:
        reading_s: of its prompt alone.
        step_s: of one step of its batch, which writes a token for each request in it.
    """

    reading_s: Number
    step_s: Number


@lru_cache(maxsize=4096)
def _ends(service: Service, n_devices: int) -> tuple[tuple[float, float], ...]:
    """(with 16 bits, with the design's bits) of: reading [J], a written token [J], reading [s], a step [s]."""
    shape, chip = service.shape, passes.scaled_to(service.device)
    context = service.prompt_tokens + (service.output_tokens + 1) // 2  # cost is linear in it: the mean counts
    found = []
    for bits in (16.0, STORED_BITS[service.bits]):
        prompt = passes.prompt_pass(shape, n_tokens=service.prompt_tokens, bits=bits)
        step = passes.decode_pass(shape, batch=service.batch, context=context, bits=bits)
        found.append(
            (
                chip.energy_j(prompt, n_devices), chip.energy_j(step, n_devices) / service.batch,
                chip.time_s(prompt, n_devices), chip.time_s(step, n_devices),
            )
        )  # fmt: skip
    return tuple(zip(*found, strict=True))


def _mixed(ends: tuple[float, float], assumed: Mapping[str, Number]) -> Number:
    whole, stored = ends
    return assumed["serving_factor"] * (whole - assumed["kernel_share"] * (whole - stored))


@lru_cache(maxsize=4096)
def devices_per_replica(service: Service, memory_share: float = 0.9) -> int:
    """Accelerators that hold the weights and the batch's caches together.

    >>> from greenlab.green_service.design import DEFAULT
    >>> devices_per_replica(DEFAULT), devices_per_replica(DEFAULT.replace(model="Llama-3.1-70B"))
    (1, 3)

    Args:
        service: the design.
        memory_share: share of an accelerator's memory that they may fill.
    """
    longest = service.prompt_tokens + service.output_tokens
    step = passes.decode_pass(service.shape, batch=service.batch, context=longest, bits=STORED_BITS[service.bits])
    return math.ceil(step.resident_b / (memory_share * passes.chip(service.device)["memory_b"]))


def times(service: Service, assumed: Mapping[str, Number], n_devices: int = 1) -> Times:
    """Seconds of reading a request's prompt, and of one step of its batch.

    Args:
        service: the design.
        assumed: numbers by name (`Assumptions.values`), or draws.
        n_devices: accelerators of a replica.
    """
    _, _, reading, step = _ends(service, n_devices)
    return Times(_mixed(reading, assumed), _mixed(step, assumed))


def busy_s(service: Service, assumed: Mapping[str, Number], n_devices: int = 1) -> Number:
    """Seconds for which a request keeps its replica busy: its prompt, and its share of the batch's steps [s]."""
    found = times(service, assumed, n_devices)
    return found.reading_s + service.output_tokens * found.step_s / service.batch


def fleet(service: Service, assumed: Mapping[str, Number]) -> Fleet:
    """How many accelerators the traffic needs, and how busy they are.

    Args:
        service: the design.
        assumed: numbers by name (`Assumptions.values`): the fleet is planned with the central ones.

    Raises:
        ValueError: if the design gives fewer accelerators than the traffic or the model needs.
    """
    per_second = service.requests_per_day / S_PER_DAY
    each = devices_per_replica(service, float(assumed["memory_share"]))
    busy = float(busy_s(service, assumed, each))
    replicas = max(1, math.ceil(per_second * busy / service.utilization - 1e-9))
    needed = replicas * each
    if service.n_devices is None:
        return Fleet(needed, each, replicas, needed, per_second * busy / replicas)
    if service.n_devices < needed:
        raise ValueError(
            f"n_devices={service.n_devices}: {service.requests_per_day:g} requests a day need {needed} x "
            f"{service.device} ({each} hold the model) at utilization={service.utilization:g}; give n_devices={needed} "
            "or more, or None for as many as needed"
        )
    replicas = service.n_devices // each
    return Fleet(service.n_devices, each, replicas, needed, per_second * busy / replicas)


def on_s(service: Service, assumed: Mapping[str, Number], machines: Fleet) -> Number:
    """Accelerator seconds that are switched on for each request [s].

    The fleet is planned with central numbers. In a draw in which requests would keep it busy for more time than there
    is, further accelerators are switched on: as many as then work without a pause.

    Args:
        service: the design.
        assumed: numbers by name, or draws.
        machines: from `fleet`.
    """
    planned = machines.n_devices * S_PER_DAY / service.requests_per_day
    each = machines.devices_per_replica
    return np.maximum(planned, each * busy_s(service, assumed, each))


def retrieval_cpu_s(service: Service) -> float:
    """CPU seconds of searching the index once, as chapter 8 measured it [s]; 0 without an index."""
    if service.index == "none":
        return 0.0
    rows = table("retrieval", "queries")
    rows = rows[(rows["passage_tokens"] == 140) & (rows["index"] == INDEX_OF[service.index])]
    return float(rows["cpu_s"].iloc[0])


def request_energy(service: Service, assumed: Mapping[str, Number], machines: Fleet) -> RequestEnergy:
    """Energy of one request by part.

    Args:
        service: the design.
        assumed: numbers by name, or draws.
        machines: from `fleet`.
    """
    each = machines.devices_per_replica
    reading, token, _, _ = _ends(service, each)
    switched_on_s = on_s(service, assumed, machines)
    waiting_s = np.maximum(0.0, switched_on_s - each * busy_s(service, assumed, each))
    reading_j = _mixed(reading, assumed)
    writing_j = service.output_tokens * _mixed(token, assumed)
    retrieval_j = retrieval_cpu_s(service) * assumed["cpu_power_w"]
    waiting_j = waiting_s * assumed["idle_power_w"]
    host_j = switched_on_s * assumed["host_power_w"]
    machines_j = reading_j + writing_j + retrieval_j + waiting_j + host_j
    return RequestEnergy(reading_j, writing_j, retrieval_j, waiting_j, host_j, (assumed["pue"] - 1) * machines_j)
