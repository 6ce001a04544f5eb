"""What the driver says of a GPU before any program opens it: its name, its memory, and which kernels it can run.

Asking CUDA would open the card, and an open card draws more at rest. NVML answers without doing so.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from greenlab.core import checks

BFLOAT16 = (8, 0)  # compute capability from which a card multiplies in bfloat16: Ampere


@dataclass(frozen=True)
class Card:
    """One NVIDIA GPU.

    Attributes:
        name: as the driver gives it.
        memory_bytes: all of its memory [B].
        capability: its compute capability, such as ``(9, 0)``.
    """

    name: str
    memory_bytes: float
    capability: tuple[int, int]

    @property
    def has_bfloat16(self) -> bool:
        """Whether its matrix units multiply in bfloat16.

        >>> Card("Tesla T4", 16e9, (7, 5)).has_bfloat16, Card("NVIDIA A10", 24e9, (8, 6)).has_bfloat16
        (False, True)
        """
        return self.capability >= BFLOAT16


def read_card(index: int, nvml: Any = None) -> Card:
    """Ask the driver for a card by its place in NVML's list; CUDA is not touched.

    Args:
        index: from 0, in the order of the bus.
        nvml: the module to ask; nvidia-ml-py (``pynvml``) when None.

    Raises:
        TypeError: if ``index`` is no whole number, or ``nvml`` no such module.
        ValueError: if ``index`` is below 0.
    """
    index = checks.integer("index", index, low=0)
    if nvml is None:
        nvml = importlib.import_module("pynvml")
    elif not hasattr(nvml, "nvmlInit"):
        raise TypeError(f"nvml={nvml!r} is {type(nvml).__name__}: give the module pynvml, or None")
    nvml.nvmlInit()
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    name = nvml.nvmlDeviceGetName(handle)
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Card(
        name=name.decode() if isinstance(name, bytes) else str(name),  # old versions of nvidia-ml-py give bytes
        memory_bytes=float(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        capability=(int(major), int(minor)),
    )
