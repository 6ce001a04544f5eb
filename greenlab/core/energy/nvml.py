"""NVIDIA GPUs: the total-energy counter of each GPU that this process sees (Volta and newer; needs nvidia-ml-py).

A GPU has its own board, so its joules are added to those of the processor. ``CUDA_VISIBLE_DEVICES`` narrows the list. A
GPU that is visible but cannot be counted is kept in the list of states, so that receipts say so.
"""

from __future__ import annotations

import functools
import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from greenlab.core.energy.counter import Counter, CounterStatus

NVIDIA_DRIVER = Path("/proc/driver/nvidia/gpus")  # one folder for each GPU that the driver knows
# How old a reading may be: NVML samples power every 20 to 100 ms, depending on the GPU (Yang et al., arXiv:2312.02741).
# We take the longest; an H100's counter was seen to move every 100 ms.
NVML_UPDATE_S = 0.1
# How wrong: NVIDIA states 5 %; Yang et al. see more on cards that sample a quarter of the time.
NVML_ERROR = 0.05
NVML_MAX_W = 1400.0  # more than any GPU draws so far: bounds what a counter can have missed


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

    Numbers and identifiers may stand side by side. CUDA ignores everything behind the first name that is not there
    (CUDA C++ Programming Guide, "CUDA environment variables"). CUDA numbers the fastest GPU first unless
    CUDA_DEVICE_ORDER says PCI_BUS_ID; NVML numbers by the bus. On a machine with GPUs of different models the numbers
    may therefore differ, and no GPU is counted then.
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
        n = len(list(NVIDIA_DRIVER.iterdir()))
    except OSError:
        n = 0
    if visible is not None:
        n = min(n, sum(name.strip() not in ("", "-1") for name in visible.split(",")))
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
