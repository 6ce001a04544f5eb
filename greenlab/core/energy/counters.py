"""Energy counters: what the hardware says about the joules it used, and why it sometimes says nothing.

A counter is read once when a block of code starts and once when it ends; there is no thread. Three kinds are known:

1. RAPL, through Linux powercap (``intel-rapl:*``; AMD processors use the same names). What is summed: every top-level
   ``package-*`` zone, plus every ``dram`` zone. ``core`` and ``uncore`` are parts of their package and would be counted
   twice. ``dram`` stands under its package in the tree, but the package counter does not hold it (Intel SDM vol. 3B,
   sec. 15.10: package and DRAM are separate domains). ``psys`` holds the packages and more, and is ignored. One package
   that cannot be read makes the sum too small, so then no package is used at all. Some kernels list one zone for each
   die of an AMD socket (``package-0-die-1``), all of which show the one counter of the socket (Linux,
   Documentation/hwmon/amd_energy: the register is "socket-level"). Zones of one socket that agree are counted once.
2. NVML's total-energy counter of each NVIDIA GPU (Volta and newer; needs nvidia-ml-py). A GPU has its own board, so its
   joules are added to those of the processor. ``CUDA_VISIBLE_DEVICES`` narrows the list. A GPU that is visible but
   cannot be counted is kept in the list of states, so that receipts say so.
3. Apple silicon (needs zeus-apple-silicon): the cumulative energy that macOS estimates per part of the chip.

All of them count the whole device: other programs and idle power included. None sees the power supply, fans and board.
"""

from __future__ import annotations

import functools
import importlib
import math
import numbers
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from greenlab.core import checks
from greenlab.core.energy.receipt import COMPONENTS

POWERCAP = Path("/sys/class/powercap")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/gpus")  # one folder for each GPU that the driver knows
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
# The clock and the counter are two readings, and a busy machine may pause the process between them: so much time is
# granted on top of the block's own before a step counts as impossible.
PAUSE_S = 1.0


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name}={value!r} is {type(value).__name__}: give text")


@dataclass(frozen=True)
class CounterStatus:
    """One source of energy figures and whether it works here: what the doctor (``python -m greenlab``) prints.

    Attributes:
        name: for example "RAPL package-0" or "NVML gpu-0".
        readable: whether its joules are counted.
        reason: "readable", or why not and what to do.
        tier: 1 RAPL, 2 NVML, 3 Apple, 4 the model.
        uncounted_w: most power that the device can draw without being counted [W]. Above 0 only for a device that is
            there and visible to this process, but gives no joules. Receipts then say "not counted".

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if ``tier`` or ``uncounted_w`` is out of range.
    """

    name: str
    readable: bool
    reason: str
    tier: int
    uncounted_w: float = 0.0

    def __post_init__(self) -> None:
        for name in ("name", "reason"):
            _check_text(name, getattr(self, name))
        checks.flag("readable", self.readable)
        checks.integer("tier", self.tier, low=1, high=4)
        checks.number("uncounted_w", self.uncounted_w, low=0)


@dataclass(frozen=True)
class Step:
    """What one counter says of the time between two readings.

    Attributes:
        energy_j: the joules [J]; NaN when the two readings do not tell.
        missed_j: joules that may be missing because the counter went around unseen [J].
        seen_j: joules that were used for certain, also when ``energy_j`` is NaN [J].
        fault: what was wrong with the readings; empty when nothing was.

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if an energy is negative or infinite, or ``energy_j`` is NaN without a fault.
    """

    energy_j: float
    missed_j: float = 0.0
    seen_j: float = 0.0
    fault: str = ""

    def __post_init__(self) -> None:
        _check_text("fault", self.fault)
        checks.number("missed_j", self.missed_j, low=0)
        checks.number("seen_j", self.seen_j, low=0)
        if not (self.fault and isinstance(self.energy_j, float) and math.isnan(self.energy_j)):
            checks.number("energy_j", self.energy_j, low=0)


@dataclass(frozen=True)
class Counter:
    """One energy counter.

    Attributes:
        name: as shown in receipts, for example "RAPL package-0".
        component: "cpu", "dram" or "gpu".
        read: gives the joules counted so far [J], or None when the counter is gone.
        unit_j: the smallest step [J].
        update_s: how old a reading may be [s].
        error: relative error of the counter.
        max_power_w: the device never draws more [W].
        range_j: where the counter starts again from zero [J]; None or 0 when it never does.

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if a field is out of range.
    """

    name: str
    component: str
    read: Callable[[], float | None] = field(repr=False)
    unit_j: float
    update_s: float
    error: float
    max_power_w: float
    range_j: float | None = None

    def __post_init__(self) -> None:
        _check_text("name", self.name)
        checks.one_of("component", self.component, COMPONENTS)
        if not callable(self.read):
            raise TypeError(
                f"read={self.read!r} is no function: give one without arguments that returns joules or None"
            )
        checks.number("unit_j", self.unit_j, low=0)
        checks.number("update_s", self.update_s, low=0)
        checks.number("error", self.error, low=0, high=1)
        checks.number("max_power_w", self.max_power_w, above=0)
        if self.range_j is not None:
            checks.number("range_j", self.range_j, low=0)

    def step(self, start_j: float, end_j: float, time_s: float) -> Step:
        """What two readings say of the time between them.

        A counter that falls has gone around, or it was reset (by a suspend, or by the driver). The two are told apart by
        power: going around must not need more than ``max_power_w``. In a block of many minutes both are possible and the
        counter is taken to have gone around; reading it each minute (``measure.checkpoint``) avoids the doubt. A step up
        that needs more than ``max_power_w`` is refused as well. Where the clock has not moved, nothing can be refused.

        Args:
            start_j: the first reading [J].
            end_j: the second reading [J].
            time_s: the time between them [s].

        Raises:
            TypeError: if an argument is no number.

        >>> counter = Counter("fake", "cpu", lambda: 0.0, 1e-6, 1e-3, 0.05, 600, range_j=100_000.0)
        >>> counter.step(99_990.0, 5.0, time_s=0.1).energy_j
        15.0
        >>> counter.step(50_000.0, 5.0, time_s=0.1)
        Step(energy_j=nan, missed_j=0.0, seen_j=5.0, fault='was reset')
        """
        for name, value in (("start_j", start_j), ("end_j", end_j), ("time_s", time_s)):
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise TypeError(f"{name}={value!r} is {type(value).__name__}: give a number")
        if not (math.isfinite(start_j) and math.isfinite(end_j) and start_j >= 0 and end_j >= 0):
            return Step(math.nan, fault="gave a reading that is no energy")
        most_j = self.max_power_w * (time_s + PAUSE_S) if time_s > 0 else math.inf
        if end_j >= start_j:
            energy_j = end_j - start_j
            if energy_j > most_j:
                return Step(math.nan, fault="jumped")
        else:
            energy_j = unwrap(start_j, end_j, self.range_j) if self.range_j and start_j <= self.range_j else math.inf
            if energy_j == math.inf or energy_j > most_j:
                # A reset counter starts from zero: what it shows at the end has been used in this block. A counter that
                # was small before as well may just have gone back a little, so then nothing is certain.
                reset = end_j <= most_j < start_j
                return Step(math.nan, seen_j=end_j if reset else 0.0, fault="was reset" if reset else "went back")
        if not self.range_j:
            return Step(energy_j)
        rounds = max(0.0, self.max_power_w * time_s - energy_j) // self.range_j
        return Step(energy_j, missed_j=rounds * self.range_j)


def unwrap(start: float, end: float, span: float) -> float:
    """How far a counter that restarts from zero at ``span`` has moved, if it went around at most once.

    The kernel gives the largest value (``max_energy_range_uj``), not the modulus; the modulus is one energy unit more,
    about 61 uJ (Linux, Documentation/power/powercap). Taking one for the other loses at most that unit per round.

    Args:
        start: the first reading, from 0 to ``span``.
        end: the second reading, from 0 to ``span``.
        span: where the counter starts again; any unit, the same for all three.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if ``span`` is not above 0, or a reading lies outside 0 to ``span``.

    >>> unwrap(20, 50, 100), unwrap(90, 5, 100)
    (30, 15)
    """
    checks.number("span", span, above=0)
    checks.number("start", start, low=0, high=span, remedy="a reading is at most span")
    checks.number("end", end, low=0, high=span, remedy="a reading is at most span")
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
    return before - late_j <= value <= after + late_j


def _without_mirrors(zones: list[_Zone]) -> tuple[list[_Zone], dict[str, str]]:
    """The zones to sum, and by number of each other zone the name of the zone that it repeats."""
    mirrors: dict[str, str] = {}
    kept: list[_Zone] = []
    for zone in (z for z in zones if z.is_package):
        same = next((k for k in kept if k.socket == zone.socket and _shows_the_same(k, zone)), None)
        if same is None:
            kept.append(zone)
        else:
            mirrors[zone.number] = same.name
    return [z for z in zones if z.number not in mirrors], mirrors


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
        CounterStatus(z.name, True, f"shows the counter of {mirrors[z.number]}: counted once", 1)
        if z.number in mirrors
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


# ---------------------------------------------------------------------------------------------------- NVIDIA GPUs


@dataclass(frozen=True)
class _Gpu:
    """One NVIDIA GPU by its place in NVML's list; ``handle`` is None when the driver does not give it."""

    index: int
    handle: Any = None
    uuid: str = ""
    model: str = ""
    fault: str = ""

    @property
    def name(self) -> str:
        return f"NVML gpu-{self.index}"


def _gpus(nvml: Any) -> list[_Gpu]:
    """Every GPU of the machine in NVML's order, which is that of the bus; one that is lost does not hide the others."""
    found = []
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(nvml.nvmlDeviceGetUUID(handle))
        except nvml.NVMLError as error:
            found.append(_Gpu(index, fault=str(error)))
            continue
        found.append(_Gpu(index, handle, uuid, _model(nvml, handle)))
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)  # old versions of nvidia-ml-py give bytes


def _model(nvml: Any, handle: Any) -> str:
    try:
        return _text(nvml.nvmlDeviceGetName(handle))
    except (AttributeError, nvml.NVMLError):
        return ""


def _uncounted(name: str, reason: str) -> CounterStatus:
    return CounterStatus(name, False, reason, 2, uncounted_w=NVML_MAX_W)


def _choose(gpus: list[_Gpu], visible: str) -> tuple[list[_Gpu], list[CounterStatus]]:
    """The GPUs that ``CUDA_VISIBLE_DEVICES`` names, and a state for each name that cannot be counted.

    Numbers and identifiers may stand side by side. CUDA ignores everything behind the first name that is not there (CUDA
    C++ Programming Guide, "CUDA environment variables"). CUDA numbers the fastest GPU first unless CUDA_DEVICE_ORDER says
    PCI_BUS_ID; NVML numbers by the bus. On a machine with GPUs of different models the numbers may therefore differ, and
    no GPU is counted then.
    """
    chosen: list[_Gpu] = []
    states: list[CounterStatus] = []
    by_bus = os.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({g.model for g in gpus if not g.fault}) < 2
    for name in (part.strip() for part in visible.split(",")):
        if name.startswith("MIG-"):
            why = "a MIG slice has no energy counter of its own; that of its GPU would count the other slices as well"
            states.append(_uncounted(f"NVML {name}", why))
            continue
        if name.isdecimal():
            if int(name) >= len(gpus):
                break
            if not by_bus:
                why = "CUDA may number these GPUs otherwise than NVML: set CUDA_DEVICE_ORDER=PCI_BUS_ID and restart"
                states.append(_uncounted(f"NVML CUDA device {name}", why))
                continue
            found = [gpus[int(name)]]
        else:
            found = [g for g in gpus if name and g.uuid.startswith(name)]
        if not found:
            lost = [g for g in gpus if g.fault]
            if name.startswith("GPU-") and lost:
                states.append(_uncounted(f"NVML {name}", f"not found; {lost[0].name} does not answer: {lost[0].fault}"))
            break
        chosen += [g for g in found[:1] if g not in chosen]
    return chosen, states


def _present_without_library(reason: str) -> list[CounterStatus]:
    """States when NVML does not answer: one for each GPU that the driver lists, or a single one that says why."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        n = len(list(NVIDIA_DRIVER.iterdir())) if visible is None or visible.strip() not in ("", "-1") else 0
    except OSError:
        n = 0
    return [_uncounted(f"NVML gpu-{i}", reason) for i in range(n)] or [CounterStatus("NVML", False, reason, 2)]


def _nvml_joules(nvml: Any, handle: Any) -> float | None:
    try:
        return float(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) * 1e-3  # mJ since the driver was loaded
    except nvml.NVMLError:
        return None


def _no_energy(error: Exception) -> str:
    hint = ": it is older than Volta, or a virtual GPU" if "not supported" in str(error).lower() else ""
    return f"this GPU gives no total energy ({error}){hint}"


def nvml_counters(nvml: Any = None) -> tuple[list[Counter], list[CounterStatus]]:
    """Total-energy counters of the visible NVIDIA GPUs, and the state of each.

    Args:
        nvml: the module to ask; nvidia-ml-py (``pynvml``) when None.

    Raises:
        TypeError: if ``nvml`` is given and is no such module.
    """
    if nvml is None:
        try:
            nvml = importlib.import_module("pynvml")
        except ImportError:
            return [], _present_without_library("nvidia-ml-py is not installed: pip install nvidia-ml-py")
    elif not hasattr(nvml, "nvmlInit"):
        raise TypeError(f"nvml={nvml!r} is {type(nvml).__name__}: give the module pynvml, or None")
    try:
        nvml.nvmlInit()
        gpus = _gpus(nvml)
    except nvml.NVMLError as error:
        return [], _present_without_library(f"no NVIDIA driver answers: {error}")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    chosen, states = (gpus, []) if visible is None else _choose(gpus, visible)
    counters: list[Counter] = []
    for gpu in chosen:
        if gpu.fault:
            states.append(_uncounted(gpu.name, f"the driver does not give this GPU: {gpu.fault}"))
            continue
        try:
            nvml.nvmlDeviceGetTotalEnergyConsumption(gpu.handle)
        except nvml.NVMLError as error:
            states.append(_uncounted(gpu.name, _no_energy(error)))
            continue
        states.append(CounterStatus(gpu.name, True, "readable" + f": {gpu.model}" * bool(gpu.model), 2))
        read = functools.partial(_nvml_joules, nvml, gpu.handle)
        counters.append(Counter(gpu.name, "gpu", read, 1e-3, NVML_UPDATE_S, NVML_ERROR, NVML_MAX_W))
    return counters, states or [CounterStatus("NVML", False, "no NVIDIA GPU is visible", 2)]


# ---------------------------------------------------------------------------------------------------- Apple silicon


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


def search() -> tuple[tuple[Counter, ...], tuple[CounterStatus, ...]]:
    """The counters of this machine and the state of all sources, as they are now."""
    found = [rapl_counters(), nvml_counters(), apple_counters()]
    return tuple(c for counters, _ in found for c in counters), tuple(s for _, states in found for s in states)


@functools.cache
def find_counters() -> tuple[tuple[Counter, ...], tuple[CounterStatus, ...]]:
    """The counters of this machine and the state of all sources; searched once per process."""
    return search()
