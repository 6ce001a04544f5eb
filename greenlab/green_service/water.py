"""Millilitres of a request: what cools the machines, and what power stations used for their electricity.

On site: the energy of the machines times the water usage effectiveness (WUE). Off site: all energy, building included,
times the water of a kilowatt-hour of the grid. Manufacture is left out: no figure for accelerators is published.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from greenlab.green_service.energy import J_PER_KWH, RequestEnergy

Number = Any


@dataclass(frozen=True)
class RequestWater:
    """Water of one request [mL]: numbers, or arrays with one number a draw."""

    on_site_ml: Number
    off_site_ml: Number

    @property
    def total_ml(self) -> Number:
        """Both together [mL]."""
        return self.on_site_ml + self.off_site_ml


def request_water(assumed: Mapping[str, Number], energy: RequestEnergy) -> RequestWater:
    """Water of one request.

    Args:
        assumed: numbers by name, or draws.
        energy: from `greenlab.green_service.energy.request_energy`.
    """
    machines_kwh = energy.machines_j / J_PER_KWH
    return RequestWater(
        1e3 * machines_kwh * assumed["wue_l_per_kwh"], 1e3 * energy.total_kwh * assumed["water_l_per_kwh"]
    )
