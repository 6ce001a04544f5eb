"""Grams of a request: electricity by grid and hour, and manufacture of accelerators and servers by their time.

The sum for one request is the Software Carbon Intensity with a request as functional unit (ISO/IEC 21031:2024):
``SCI = (E * I + M) / R``. Manufacture counts accelerators as well as servers, for all the time in which they are
switched on, as time in which they wait is kept for the service too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from greenlab.green_service.design import Service
from greenlab.green_service.energy import Fleet, RequestEnergy, on_s

Number = Any
DAYS_PER_YEAR = 365


@dataclass(frozen=True)
class RequestCarbon:
    """Emissions of one request [g CO2e]: numbers, or arrays with one number a draw."""

    operational_g: Number
    embodied_g: Number

    @property
    def sci_g(self) -> Number:
        """Electricity and manufacture: the Software Carbon Intensity [g CO2e per request]."""
        return self.operational_g + self.embodied_g


def grid_after_shift(service: Service, assumed: Mapping[str, Number]) -> Number:
    """Grams of a kilowatt-hour after the flexible share was moved to cleaner hours [g/kWh]."""
    return assumed["intensity_g_per_kwh"] * (1 - service.flexible * assumed["shift_saving"])


def embodied_per_hour_g(assumed: Mapping[str, Number]) -> Number:
    """Manufacture of an accelerator and its share of the server, for an hour of their life [g CO2e/h]."""
    kg = assumed["device_embodied_kg"] + assumed["server_embodied_kg"] / assumed["devices_per_server"]
    return 1e3 * kg / (assumed["lifetime_years"] * DAYS_PER_YEAR * 24)


def request_carbon(
    service: Service, assumed: Mapping[str, Number], machines: Fleet, energy: RequestEnergy
) -> RequestCarbon:
    """Emissions of one request.

    Args:
        service: the design.
        assumed: numbers by name, or draws.
        machines: from `greenlab.green_service.energy.fleet`.
        energy: from `greenlab.green_service.energy.request_energy`.
    """
    hours = on_s(service, assumed, machines) / 3600
    operational = energy.total_kwh * grid_after_shift(service, assumed)
    return RequestCarbon(operational, hours * embodied_per_hour_g(assumed))
