"""Dollars of a request: hours of accelerators at the price of renting them, which holds their electricity.

The electricity is shown as a part of it, not on top: renting a machine pays for its power.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from greenlab.green_service.design import Service
from greenlab.green_service.energy import Fleet, RequestEnergy, on_s

Number = Any


@dataclass(frozen=True)
class RequestCost:
    """Cost of one request [$]: numbers, or arrays with one number a draw."""

    total_usd: Number
    electricity_usd: Number  # a part of the total


def request_cost(
    service: Service, assumed: Mapping[str, Number], machines: Fleet, energy: RequestEnergy
) -> RequestCost:
    """Cost of one request.

    Args:
        service: the design.
        assumed: numbers by name, or draws.
        machines: from `greenlab.green_service.energy.fleet`.
        energy: from `greenlab.green_service.energy.request_energy`.
    """
    hours = on_s(service, assumed, machines) / 3600
    return RequestCost(hours * assumed["device_price"], energy.total_kwh * assumed["electricity_price"])
