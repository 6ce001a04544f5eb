"""Apple silicon: the cumulative energy that macOS estimates for each part of the chip (needs zeus-apple-silicon)."""

from __future__ import annotations

import functools
import platform
from typing import Any

from greenlab.core.energy.counter import Counter, CounterStatus

# Apple publishes no interval and nobody has published a validation: 100 ms and 10 % are our assumptions.
APPLE_UPDATE_S, APPLE_ERROR = 0.1, 0.10
APPLE_MAX_W = 300.0  # more than any such chip draws so far


def apple_counters(monitor: Any | None = None) -> tuple[list[Counter], list[CounterStatus]]:
    """Cumulative energy of an Apple chip: processor, memory and graphics.

    Args:
        monitor: has ``get_cumulative_energy()``; a ``zeus_apple_silicon.AppleEnergyMonitor`` when None.

    Raises:
        TypeError: if ``monitor`` is given and has no ``get_cumulative_energy``.
    """
    if monitor is None:
        if (platform.system(), platform.machine()) != ("Darwin", "arm64"):
            return [], [CounterStatus("Apple silicon", False, "not an Apple-silicon Mac", 3)]
        try:
            from zeus_apple_silicon import AppleEnergyMonitor

            monitor = AppleEnergyMonitor()
        except (ImportError, RuntimeError) as error:
            why = f"pip install zeus-apple-silicon ({error})"
            return [], [CounterStatus("Apple silicon", False, why, 3)]
    elif not hasattr(monitor, "get_cumulative_energy"):
        raise TypeError(f"monitor={monitor!r} is {type(monitor).__name__}: give an AppleEnergyMonitor, or None")

    def read_field(name: str) -> float | None:
        try:
            millijoules = getattr(monitor.get_cumulative_energy(), name, None)
        except RuntimeError:
            return None
        return None if millijoules is None else millijoules * 1e-3

    counters = []
    for component, name in {"cpu": "cpu_total_mj", "dram": "dram_mj", "gpu": "gpu_mj"}.items():
        read = functools.partial(read_field, name)
        if read() is not None:
            label = f"Apple {component}"
            counters.append(Counter(label, component, read, 1e-3, APPLE_UPDATE_S, APPLE_ERROR, APPLE_MAX_W))
    states = [CounterStatus(counter.name, True, "readable", 3) for counter in counters]
    return counters, states or [CounterStatus("Apple silicon", False, "the chip reports no energy", 3)]
