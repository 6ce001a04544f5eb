"""Energy counters: what the hardware says about the joules it used, and why it sometimes says nothing.

A counter is read once when a block of code starts and once when it ends; there is no thread. Three kinds are known:

1. RAPL, through Linux powercap (``intel-rapl:*``; AMD processors use the same names). What is summed: every top-level
   ``package-*`` zone, plus every ``dram`` zone. ``core`` and ``uncore`` are parts of their package and would be counted
   twice. ``dram`` stands under its package in the tree, but the package counter does not hold it (Intel SDM vol. 3B,
   sec. 15.10: package and DRAM are separate domains). ``psys`` holds the packages and more, and is ignored. One package
   that cannot be read makes the sum too small, so then no package is used at all.
2. NVML's total-energy counter of each NVIDIA GPU (Volta and newer; needs nvidia-ml-py). A GPU has its own board, so its
   joules are added to those of the processor. ``CUDA_VISIBLE_DEVICES`` narrows the list.
3. Apple silicon (needs zeus-apple-silicon): the cumulative energy that macOS estimates per part of the chip.

All of them count the whole device: other programs and idle power included. None sees the power supply, fans and board.
"""

from __future__ import annotations

import functools
import importlib
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
# How stale a reading may be. RAPL updates about every 1 ms (Haehnel et al., SIGMETRICS PER 40(3), 2012). NVML samples
# power every 20 to 100 ms, depending on the GPU (Yang et al., arXiv:2312.02741); we take the longest. Apple publishes
# no interval: 100 ms is our assumption.
RAPL_UPDATE_S, NVML_UPDATE_S, APPLE_UPDATE_S = 0.001, 0.1, 0.1
# How wrong a counter may be. RAPL: the wall power of servers follows from package power within 5.6 % (Khan et al.,
# 2016, doi:10.1007/s00450-016-0325-4). NVML: NVIDIA states 5 %; Yang et al. see more on cards that sample a quarter of
# the time. Apple: nobody has published a validation, 10 % is our assumption.
RAPL_ERROR, NVML_ERROR, APPLE_ERROR = 0.056, 0.05, 0.10
RAPL_UNIT_J = 2.0**-14  # the usual energy unit of the register, 61 uJ (Intel SDM vol. 3B, MSR_RAPL_POWER_UNIT)
# More than any device of the kind draws so far: bounds what a counter can have missed.
RAPL_MAX_W, NVML_MAX_W, APPLE_MAX_W = 600.0, 1400.0, 300.0


@dataclass(frozen=True)
class CounterStatus:
    """One source of energy figures and whether it works here: what the doctor (``python -m greenlab``) prints."""

    name: str
    readable: bool
    reason: str
    tier: int


@dataclass(frozen=True)
class Counter:
    """One energy counter.

    Attributes:
        name: as shown in receipts, for example "RAPL package-0".
        component: "cpu", "dram" or "gpu".
        read: gives the joules counted so far [J], or None when the counter is gone.
        range_j: where the counter starts again from zero [J]; None when it never does.
        unit_j: the smallest step [J].
        update_s: how old a reading may be [s].
        error: relative error of the counter.
        max_power_w: the device never draws more [W].
    """

    name: str
    component: str
    read: Callable[[], float | None]
    unit_j: float
    update_s: float
    error: float
    max_power_w: float
    range_j: float | None = None

    def step(self, start_j: float, end_j: float, time_s: float) -> tuple[float, float]:
        """Energy between two readings, and what may be missing because the counter went around unseen, both in J.

        >>> Counter("fake", "cpu", lambda: 0.0, 1e-6, 1e-3, 0.05, 600, range_j=100.0).step(90.0, 5.0, time_s=0.1)
        (15.0, 0.0)
        """
        if self.range_j is None:
            return max(0.0, end_j - start_j), 0.0
        energy_j = unwrap(start_j, end_j, self.range_j)
        rounds = max(0.0, self.max_power_w * time_s - energy_j) // self.range_j
        return energy_j, rounds * self.range_j


def unwrap(start: float, end: float, span: float) -> float:
    """How far a counter that restarts from zero at ``span`` has moved, if it went around at most once.

    The kernel gives the largest value (``max_energy_range_uj``), not the modulus; the modulus is one energy unit more,
    about 61 uJ (Linux, Documentation/power/powercap). Taking one for the other loses at most that unit per round.

    >>> unwrap(20, 50, 100), unwrap(90, 5, 100)
    (30, 15)
    """
    return end - start if end >= start else end - start + span


def _read_text(path: str | Path) -> str:
    """Read a small file in three system calls: ``Path.read_text`` takes several times as long."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.read(descriptor, 64).decode().strip()
    finally:
        os.close(descriptor)


def _read_joules(path: str) -> float | None:
    try:
        return int(_read_text(path)) * 1e-6
    except (OSError, ValueError):  # rights taken away, or the driver unloaded, while the block ran
        return None


def _why(error: Exception, path: Path) -> str:
    if isinstance(error, PermissionError):  # CVE-2020-8694: the counter can leak secrets to other users
        return f"permission denied: energy_uj is readable by root only (to allow it: sudo chmod a+r {path})"
    return f"{path.name} cannot be read: {error}"


def rapl_counters(powercap: Path = POWERCAP) -> tuple[list[Counter], list[CounterStatus]]:
    """RAPL counters to sum, and the state of each package and dram zone.

    Args:
        powercap: where the powercap tree is mounted.
    """
    counters: list[Counter] = []
    states: list[CounterStatus] = []
    zones = sorted(powercap.glob("intel-rapl:*"))
    for zone in zones:
        try:
            label = _read_text(zone / "name")
            package = zone.name.count(":") == 1 and label.startswith("package")
            if not package and label != "dram":
                continue
            socket = zone.name.split(":")[1]
            name = f"RAPL {label}" if package else f"RAPL dram-{socket}"
            range_j = int(_read_text(zone / "max_energy_range_uj")) * 1e-6
            int(_read_text(zone / "energy_uj"))
        except (OSError, ValueError) as error:
            states.append(CounterStatus(f"RAPL {zone.name}", False, _why(error, zone / "energy_uj"), 1))
            continue
        states.append(CounterStatus(name, True, "readable", 1))
        read = functools.partial(_read_joules, str(zone / "energy_uj"))
        component = "cpu" if package else "dram"
        counters.append(Counter(name, component, read, RAPL_UNIT_J, RAPL_UPDATE_S, RAPL_ERROR, RAPL_MAX_W, range_j))
    if not states:
        why = f"no intel-rapl zone in {powercap}: a virtual machine or container hides it, or the driver is not loaded"
        states.append(CounterStatus("RAPL", False, why if platform.system() == "Linux" else "Linux only", 1))
    if not all(state.readable for state in states):  # a sum that misses a socket would be too small
        counters = []
    return counters, states


def _visible_gpus(nvml: Any) -> list[Any]:
    handles = [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    wanted = os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return handles
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    by_index = [handles[int(name)] for name in names if name.isdigit() and int(name) < len(handles)]
    return by_index or [h for h in handles if any(str(nvml.nvmlDeviceGetUUID(h)).startswith(n) for n in names)]


def nvml_counters(nvml: Any = None) -> tuple[list[Counter], list[CounterStatus]]:
    """Total-energy counters of the visible NVIDIA GPUs, and the state of each.

    Args:
        nvml: the module to ask; nvidia-ml-py (``pynvml``) when None.
    """
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return [], [CounterStatus("NVML", False, "nvidia-ml-py is not installed: pip install nvidia-ml-py", 2)]
    try:
        nvml.nvmlInit()
        handles = _visible_gpus(nvml)
    except nvml.NVMLError as error:
        return [], [CounterStatus("NVML", False, f"no NVIDIA driver answers: {error}", 2)]

    def read_gpu(handle: object) -> float | None:
        try:
            return nvml.nvmlDeviceGetTotalEnergyConsumption(handle) * 1e-3  # millijoules since the driver was loaded
        except nvml.NVMLError:
            return None

    counters: list[Counter] = []
    states: list[CounterStatus] = []
    for i, handle in enumerate(handles):
        name, read = f"NVML gpu-{i}", functools.partial(read_gpu, handle)
        readable = read() is not None
        reason = "readable" if readable else "this GPU has no total-energy counter (it is older than Volta)"
        states.append(CounterStatus(name, readable, reason, 2))
        if readable:
            counters.append(Counter(name, "gpu", read, 1e-3, NVML_UPDATE_S, NVML_ERROR, NVML_MAX_W))
    return counters, states or [CounterStatus("NVML", False, "no NVIDIA GPU is visible", 2)]


def apple_counters(monitor: Any | None = None) -> tuple[list[Counter], list[CounterStatus]]:
    """Cumulative energy of an Apple chip: processor, memory and graphics.

    Args:
        monitor: has ``get_cumulative_energy()``; a ``zeus_apple_silicon.AppleEnergyMonitor`` when None.
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

    def read_field(field: str) -> float | None:
        millijoules = getattr(monitor.get_cumulative_energy(), field, None)
        return None if millijoules is None else millijoules * 1e-3

    counters = []
    for component, field in {"cpu": "cpu_total_mj", "dram": "dram_mj", "gpu": "gpu_mj"}.items():
        read = functools.partial(read_field, field)
        if read() is not None:
            name = f"Apple {component}"
            counters.append(Counter(name, component, read, 1e-3, APPLE_UPDATE_S, APPLE_ERROR, APPLE_MAX_W))
    states = [CounterStatus(counter.name, True, "readable", 3) for counter in counters]
    return counters, states or [CounterStatus("Apple silicon", False, "the chip reports no energy", 3)]


@functools.cache
def find_counters() -> tuple[tuple[Counter, ...], tuple[CounterStatus, ...]]:
    """The counters of this machine and the state of all sources; searched once per process."""
    found = [rapl_counters(), nvml_counters(), apple_counters()]
    return tuple(c for counters, _ in found for c in counters), tuple(s for _, states in found for s in states)
