"""What this machine really offers: cores and memory as the container sees them, not as the host has them.

A container on a 64-core host may own two cores. Starting 64 threads there makes everything slower, so thread counts
in this book come from here. Linux control groups are read as described in the kernel's cgroup-v2 document
("cpu.max", "memory.max") and its cgroup-v1 counterpart ("cpu.cfs_quota_us", "memory.limit_in_bytes").
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]  # the repository: notebooks/, data/ and greenlab/ stand here
_CGROUP = Path("/sys/fs/cgroup")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # no such control group: another system, or no limit
        return ""


def cpu_quota(cgroup: Path = _CGROUP) -> float | None:
    """Cores that the control group grants, or None when it sets no limit.

    Args:
        cgroup: where the control-group file system is mounted.
    """
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(cgroup / "cpu/cpu.cfs_quota_us"), _read(cgroup / "cpu/cpu.cfs_period_us")
    if not quota or not period or quota in ("max", "-1"):
        return None
    return int(quota) / int(period)


def available_cores(cgroup: Path = _CGROUP) -> int:
    """Cores this process may use: the least of the CPU affinity and the control group's quota, at least 1."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(cgroup)
    return max(1, affinity if quota is None else min(affinity, int(quota + 0.5)))


def memory_limit_bytes(cgroup: Path = _CGROUP) -> int:
    """Memory this process may use [B]: the least of the machine's and the control group's limit."""
    total = psutil.virtual_memory().total
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _read(cgroup / name)
        if text.isdigit():
            return min(total, int(text))
    return total


def available_memory_bytes(cgroup: Path = _CGROUP) -> int:
    """Memory still free to this process [B]: what the machine has free, at most what the group's limit leaves.

    A group's usage counts the page cache too. Its inactive part goes as soon as memory is asked for, so it is free.
    """
    free = psutil.virtual_memory().available
    for limit, used, stat, cache in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        if _read(cgroup / limit).isdigit() and _read(cgroup / used).isdigit():
            counts = dict(line.split(" ", 1) for line in _read(cgroup / stat).splitlines())
            held = int(_read(cgroup / used)) - int(counts.get(cache, 0))
            return max(0, min(free, int(_read(cgroup / limit)) - held))
    return free


def peak_memory_bytes() -> int | None:
    """The most resident memory this process has held [B], or None where the system does not keep it."""
    for line in _read(
        Path("/proc/self/status")
    ).splitlines():  # getrusage counts what the parent held when it forked, too
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return getattr(psutil.Process().memory_info(), "peak_wset", None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def release_memory() -> None:
    """Hand memory that is free back to the system: glibc keeps what arrays of up to 32 MiB took, and a small server counts it."""
    gc.collect()
    if platform.system() == "Linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
