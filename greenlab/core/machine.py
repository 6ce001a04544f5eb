"""What this machine really offers: cores and memory as the container sees them, not as the host has them.

A container on a 64-core host may own two cores. Starting 64 threads there makes everything slower, so thread counts
in this book come from here. Linux control groups are read as described in the kernel's cgroup-v2 document
("cpu.max", "memory.max") and its cgroup-v1 counterpart ("cpu.cfs_quota_us", "memory.limit_in_bytes"). The process's own
group stands in /proc/self/cgroup. It and every group above it may set a limit, and the least one holds.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

ROOT = Path(__file__).resolve().parents[2]  # the repository: notebooks/, data/ and greenlab/ stand here
_CGROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):  # no such control group: another system, or no limit
        return ""


def _paths(*paths: object) -> None:
    for name, path in zip(("cgroup", "membership"), paths, strict=True):
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"{name}={path!r} is {type(path).__name__}: give the path of a folder or file")


def _own_groups(membership: Path) -> dict[str, str]:
    """The process's group by controller; "" stands for version 2, which has one tree for all controllers."""
    groups = {}
    for line in _read(membership).splitlines():  # "0::/user.slice" or "4:cpu,cpuacct:/job"
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        for controller in [""] if number == "0" else controllers.split(","):
            groups[controller] = group
    return groups


def _with_parents(root: Path, group: str) -> Iterator[Path]:
    """The folder of a group and those of all groups above it, up to the root of the mount.

    A container may see the name that its group has on the host and not the group itself: those folders are not there,
        and
    what is left is the root.
    """
    parts = [part for part in PurePosixPath(group).parts if part != "/"]
    if ".." in parts:  # the group lies outside of what is mounted here
        parts = []
    for n in range(len(parts), -1, -1):
        yield root.joinpath(*parts[:n])


def _folders(cgroup: Path, membership: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Every folder that may hold a limit of a controller, with the version of its control groups."""
    groups = _own_groups(membership)
    for folder in _with_parents(cgroup, groups.get("", "/")):
        yield folder, 2
    for mount in dict.fromkeys((controller, f"{controller},cpuacct" if controller == "cpu" else controller)):
        for folder in _with_parents(cgroup / mount, groups.get(controller, "/")):
            yield folder, 1


def cpu_quota(cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> float | None:
    """Cores that the control groups grant, or None when they set no limit.

    Args:
        cgroup: where the control-group file system is mounted; a folder that is not there sets no limit.
        membership: the file that says which groups this process is in; a file that is not there names none.

    Raises:
        TypeError: if an argument is no path.
    """
    _paths(cgroup, membership)
    quotas = []
    for folder, version in _folders(Path(cgroup), Path(membership), "cpu"):
        if version == 2:
            quota, _, period = _read(folder / "cpu.max").partition(" ")
        else:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(period) > 0:  # else "max", "-1" or nothing
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def available_cores(cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Cores this process may use: the least of the CPU affinity and the control groups' quota, at least 1.

    Args:
        cgroup: where the control-group file system is mounted; a folder that is not there sets no limit.
        membership: the file that says which groups this process is in; a file that is not there names none.

    Raises:
        TypeError: if an argument is no path.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(cgroup, membership)
    return max(1, affinity if quota is None else min(affinity, int(quota + 0.5)))


def _memory_limits(cgroup: Path, membership: Path) -> Iterator[tuple[int, int]]:
    """Each limit on memory, and what its group holds that it cannot give back at once, both in bytes."""
    for folder, version in _folders(cgroup, membership, "memory"):
        if version == 2:
            limit, used, cache = _read(folder / "memory.max"), _read(folder / "memory.current"), "inactive_file"
        else:
            limit, used = _read(folder / "memory.limit_in_bytes"), _read(folder / "memory.usage_in_bytes")
            cache = "total_inactive_file"
        if not limit.isdecimal():
            continue
        lines = (line.split() for line in _read(folder / "memory.stat").splitlines())
        counts = {parts[0]: int(parts[1]) for parts in lines if len(parts) == 2 and parts[1].isdecimal()}
        held = int(used) - counts.get(cache, 0) if used.isdecimal() else 0
        yield int(limit), max(0, held)


def memory_limit_bytes(cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Memory this process may use [B]: the least of the machine's and the control groups' limits.

    Args:
        cgroup: where the control-group file system is mounted; a folder that is not there sets no limit.
        membership: the file that says which groups this process is in; a file that is not there names none.

    Raises:
        TypeError: if an argument is no path.
    """
    _paths(cgroup, membership)
    limits = [limit for limit, _ in _memory_limits(Path(cgroup), Path(membership))]
    return min([psutil.virtual_memory().total, *limits])


def available_memory_bytes(cgroup: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Memory still free to this process [B]: what the machine has free, at most what each group's limit leaves.

    A group's usage counts the page cache too. Its inactive part goes as soon as memory is asked for, so it is free.

    Args:
        cgroup: where the control-group file system is mounted; a folder that is not there sets no limit.
        membership: the file that says which groups this process is in; a file that is not there names none.

    Raises:
        TypeError: if an argument is no path.
    """
    _paths(cgroup, membership)
    left = [limit - held for limit, held in _memory_limits(Path(cgroup), Path(membership))]
    return max(0, min([psutil.virtual_memory().available, *left]))


def cpu_name() -> str:
    """The processor's name as the system gives it, such as "AMD EPYC 7763"; else its architecture."""
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return " ".join(value.split())
    return " ".join(platform.processor().split()) or platform.machine() or "unknown"


def peak_memory_bytes() -> int | None:
    """The most resident memory this process has held [B], or None where the system does not keep it."""
    # getrusage would count what the parent held when it forked, too
    for line in _read(Path("/proc/self/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return getattr(psutil.Process().memory_info(), "peak_wset", None)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def release_memory() -> bool:
    """Hand free memory back to the system.

    glibc keeps what arrays of up to 32 MiB took; a search index that was made leaves 150 MB so. A small server counts
    that as used.

    Returns:
        Whether the system took something back; False where it cannot be asked.

    >>> release_memory() in (True, False)
    True
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if platform.system() == "Linux" else None  # musl has none
    return bool(trim(0)) if trim else False
