"""Moving a job's data to another region: energy and time for each gigabyte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from greenlab.core import checks
from greenlab.core.grid.traces import Traces
from greenlab.load_shifting.jobs import MOST, Jobs
from greenlab.load_shifting.windows import TINY, Windows

MOST_ZONES = 10_000  # the three tables of ``between`` then take 2.4 GB


@dataclass(frozen=True)
class Transfer:
    """What it takes to run away from home. Nothing is charged at home.

    Attributes:
        energy_kwh_per_gb: energy of the network and both ends [kWh/GB]: one number, or ``(Z, Z)`` from home to region.
        delay_h: time before a job can start elsewhere, whatever its data [h]: one number, or ``(Z, Z)``. Infinity means
            never, as any delay beyond the end of the traces does: nothing gets there.
        speed_gb_per_h: data moved per hour [GB/h]; the default, infinity, moves all of it at once.

    Raises:
        TypeError: if one of them holds anything but numbers.
        ValueError: for a NaN, a negative energy or delay, a speed of 0, or another shape.
    """

    energy_kwh_per_gb: Any = 0.0
    delay_h: Any = 0.0
    speed_gb_per_h: Any = np.inf

    def __post_init__(self) -> None:
        for name in ("energy_kwh_per_gb", "delay_h", "speed_gb_per_h"):
            given = getattr(self, name)
            infinite, above = name != "energy_kwh_per_gb", name == "speed_gb_per_h"
            value = checks.numbers(name, given, infinite=infinite, remedy="to forbid moving use delay_h=inf")
            if (value < 0).any() or (above and (value == 0).any()) or (not infinite and (value > MOST).any()):
                span = "more than 0" if above else f"0 or more, up to {MOST:g}" if not infinite else "0 or more"
                raise ValueError(f"{name}={given!r}: expected numbers, {span}")
            if value.ndim not in (0, 2):
                raise ValueError(
                    f"{name} has shape {value.shape}: expected one number or (zones, zones), from home to region"
                )

    def between(self, zones: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Energy [kWh/GB], delay [h] and speed [GB/h] from every home to every region ``(Z, Z)``.

        Args:
            zones: how many zones there are, at most 10,000.

        Raises:
            TypeError: if ``zones`` is no whole number.
            ValueError: if it is out of range, or one of them has another number of zones.
        """
        zones = checks.integer("zones", zones, low=1, high=MOST_ZONES)
        both = []
        for name in ("energy_kwh_per_gb", "delay_h", "speed_gb_per_h"):
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape not in ((), (zones, zones)):
                raise ValueError(
                    f"{name} has shape {value.shape}: expected one number or ({zones}, {zones}), from home to region"
                )
            full = np.broadcast_to(value, (zones, zones)).copy()
            np.fill_diagonal(full, np.inf if name == "speed_gb_per_h" else 0.0)
            both.append(full)
        return both[0], both[1], both[2]


@dataclass(frozen=True)
class Moves:
    """Energy [kWh] and steps that each job needs to get to each region ``(n, Z)``."""

    energy_kwh: np.ndarray
    steps: np.ndarray

    @classmethod
    def of(cls, transfer: Transfer, jobs: Jobs, windows: Windows, traces: Traces) -> Moves:
        """Lay the transfer over the jobs."""
        energy, delay, speed = transfer.between(len(traces.zones))
        home, data = windows.home, jobs.data_gb[:, None]
        hours = delay[home]
        if np.isfinite(speed).any():
            with np.errstate(invalid="ignore", over="ignore"):
                hours = hours + np.where(data > 0, data / speed[home], 0.0)
        never = traces.n_steps + 1.0  # later than any window ends; infinity is no integer
        steps = np.ceil(np.minimum(hours / traces.step_h, never) - TINY)
        return cls(data * energy[home], steps.astype(np.int64))

    def cost(self, values: np.ndarray, windows: Windows) -> np.ndarray:
        """What moving costs ``(n, Z)``, at the mean signal of both ends in the job's first step.

        The network lies in both regions, so both count.
        """
        at = np.minimum(windows.first, values.shape[1] - 1)
        there = values[:, at].T
        return self.energy_kwh * (there + there[np.arange(len(at)), windows.home][:, None]) / 2
