"""Energy counters: what the hardware says about the joules it used, and why it sometimes says nothing.

A counter is read once when a block of code starts and once when it ends; there is no thread. Three kinds are known:

1. RAPL, through Linux powercap (``intel-rapl:*``; AMD processors use the same names). What is summed: every top-level
   ``package-*`` zone, plus every ``dram`` zone. ``core`` and ``uncore`` are parts of their package and would be counted
   twice. ``dram`` stands under its package in the tree, but the package counter does not hold it (Intel SDM vol. 3B,
   sec. 15.10: package and DRAM are separate domains). ``psys`` holds the packages and more, and is ignored. One package
   that cannot be read makes the sum too small, so then no package is used at all. Some kernels list one zone for each
   die of an AMD socket (``package-0-die-1``), all of which show the one counter of the socket (Linux,
   Documentation/hwmon/amd_energy: the register is "socket-level"). Zones of one socket that agree are counted once;
   near zero, where any two agree, they must also move alike.
2. NVML's total-energy counter of each NVIDIA GPU (``core.energy.nvml``).
3. Apple silicon's cumulative energy (``core.energy.apple``).

All of them count the whole device: other programs and idle power included. None sees the power supply, fans and board.
"""

from __future__ import annotations

import functools
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

from greenlab.core.energy.apple import apple_counters
from greenlab.core.energy.counter import Counter, CounterStatus, Step, unwrap
from greenlab.core.energy.nvml import NVML_MAX_W, nvml_counters

__all__ = ["NVML_MAX_W", "Counter", "CounterStatus", "Step", "apple_counters", "find_counters", "nvml_counters"]
__all__ += ["rapl_counters", "search", "unwrap"]

POWERCAP = Path("/sys/class/powercap")
RAPL_UPDATE_S = 0.001  # how old a reading may be (Haehnel et al., SIGMETRICS PER 40(3), 2012)
# How wrong: the wall power of servers follows from package power within 5.6 % (Khan et al., 2016,
# doi:10.1007/s00450-016-0325-4).
RAPL_ERROR = 0.056
RAPL_UNIT_J = 2.0**-14  # the usual energy unit of the register, 61 uJ (Intel SDM vol. 3B, MSR_RAPL_POWER_UNIT)
RAPL_MAX_W = 600.0  # more than any processor draws so far: bounds what a counter can have missed
# How long two counters near zero are watched, and how alike they must move to be one.
WATCH_S, WATCH_STEP_S, ALIKE = 0.2, 0.01, 0.05


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
        return (
            f"permission denied: energy_uj is readable by root only (to allow it: sudo chmod a+r {path}, "
            "then restart the kernel)"
        )
    return f"{path.name} cannot be read: {error}"


@dataclass(frozen=True)
class _Zone:
    """One folder of the powercap tree that counts a package or its memory."""

    folder: Path
    label: str
    range_j: float

    @property
    def number(self) -> str:
        """Its top-level number: "0" for ``intel-rapl:0`` and for ``intel-rapl:0:2``."""
        return self.folder.name.split(":")[1]

    @property
    def is_package(self) -> bool:
        return self.label != "dram"

    @property
    def socket(self) -> str:
        """The package's own name, without the die: "package-0" for ``package-0-die-1``."""
        return self.label.split("-die-")[0]

    @property
    def name(self) -> str:
        return f"RAPL {self.label}" if self.is_package else f"RAPL dram-{self.number}"

    def joules(self) -> float | None:
        return _read_joules(str(self.folder / "energy_uj"))


def _shows_the_same(zone: _Zone, other: _Zone) -> bool:
    """Whether two zones show one counter: the second reads what the first read just before and just after."""
    before, value, after = zone.joules(), other.joules(), zone.joules()
    if before is None or value is None or after is None:
        return False
    late_j = RAPL_MAX_W * RAPL_UPDATE_S  # the register may be updated between two readings
    if not before - late_j <= value <= after + late_j:
        return False
    return value > late_j or _moves_alike(zone, other)


def _moves_alike(zone: _Zone, other: _Zone) -> bool:
    """Whether two zones that are near zero go on together; any two new counters agree as long as neither has moved."""
    end_s = time.monotonic() + WATCH_S
    while time.monotonic() < end_s:
        time.sleep(WATCH_STEP_S)
    before, value, after = zone.joules(), other.joules(), zone.joules()
    if not before or not value or not after:  # one of them has not moved, or is gone
        return False
    return before * (1 - ALIKE) <= value <= after * (1 + ALIKE)


def _without_mirrors(zones: list[_Zone]) -> tuple[list[_Zone], dict[str, str]]:
    """The zones to sum, and by folder of each other zone the name of the zone that it repeats."""
    mirrors: dict[str, str] = {}
    kept: list[_Zone] = []
    origin: dict[str, str] = {}  # number of a package that repeats another: number of that other
    for zone in (z for z in zones if z.is_package):
        same = next((k for k in kept if k.socket == zone.socket and _shows_the_same(k, zone)), None)
        if same is None:
            kept.append(zone)
        else:
            origin[zone.number] = same.number
            mirrors[zone.folder.name] = same.name
    for zone in (z for z in zones if not z.is_package):  # a die may mirror its package and have memory of its own
        others = (k for k in kept if not k.is_package and k.number == origin.get(zone.number))
        same = next((k for k in others if _shows_the_same(k, zone)), None)
        if same is None:
            kept.append(zone)
        else:
            mirrors[zone.folder.name] = same.name
    return [z for z in zones if z.folder.name not in mirrors], mirrors


def rapl_counters(powercap: Path = POWERCAP) -> tuple[list[Counter], list[CounterStatus]]:
    """RAPL counters to sum, and the state of each package and dram zone.

    Args:
        powercap: where the powercap tree is mounted.

    Raises:
        TypeError: if ``powercap`` is no path.
    """
    if not isinstance(powercap, (str, os.PathLike)):
        raise TypeError(f"powercap={powercap!r} is {type(powercap).__name__}: give the path of a folder")
    zones: list[_Zone] = []
    states: list[CounterStatus] = []
    for folder in sorted(Path(powercap).glob("intel-rapl:*")):
        try:
            label = _read_text(folder / "name")
            package = folder.name.count(":") == 1 and label.startswith("package")
            if not package and label != "dram":
                continue
            range_j = int(_read_text(folder / "max_energy_range_uj")) * 1e-6
            if range_j <= 0:
                raise ValueError(f"max_energy_range_uj is {range_j:g}")
            int(_read_text(folder / "energy_uj"))
        except (OSError, ValueError) as error:
            states.append(CounterStatus(f"RAPL {folder.name}", False, _why(error, folder / "energy_uj"), 1))
            continue
        zones.append(_Zone(folder, label, range_j))
        states.append(CounterStatus(zones[-1].name, True, "readable", 1))
    if not states:
        why = f"no intel-rapl zone in {powercap}: a virtual machine or container hides it, or the driver is not loaded"
        states.append(CounterStatus("RAPL", False, why if platform.system() == "Linux" else "Linux only", 1))
    if not all(state.readable for state in states):  # a sum that misses a socket would be too small
        return [], states
    summed, mirrors = _without_mirrors(zones)
    states = [
        CounterStatus(z.name, True, f"shows the counter of {mirrors[z.folder.name]}: counted once", 1)
        if z.folder.name in mirrors
        else CounterStatus(z.name, True, "readable", 1)
        for z in zones
    ]
    counters = [
        Counter(
            name=zone.name,
            component="cpu" if zone.is_package else "dram",
            read=zone.joules,
            unit_j=RAPL_UNIT_J,
            update_s=RAPL_UPDATE_S,
            error=RAPL_ERROR,
            max_power_w=RAPL_MAX_W,
            range_j=zone.range_j,
        )
        for zone in summed
    ]
    return counters, states


def search() -> tuple[tuple[Counter, ...], tuple[CounterStatus, ...]]:
    """The counters of this machine and the state of all sources, as they are now."""
    found = [rapl_counters(), nvml_counters(), apple_counters()]
    return tuple(c for counters, _ in found for c in counters), tuple(s for _, states in found for s in states)


@functools.cache
def find_counters() -> tuple[tuple[Counter, ...], tuple[CounterStatus, ...]]:
    """The counters of this machine and the state of all sources; searched once per process."""
    return search()
