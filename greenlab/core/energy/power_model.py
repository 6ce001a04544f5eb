"""The fallback when no energy counter can be read: CPU seconds times watts per core, with a wide and stated range."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass, fields

import psutil

from greenlab.core.energy.receipt import Component

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


@dataclass(frozen=True)
class PowerModel:
    """Watts assumed when no counter can be read: a busy core's, and a share of what the machine draws anyway.

    TDP over cores: EPYC 9654 3.8 W, EPYC 7763 4.4 W, Xeon 8480+ 6.3 W, Xeon 8380 6.8 W, Xeon E5-2690 v4 9.6 W;
    laptops: Ryzen 7840U 3.5 W, i7-1185G7 7 W; desktops: i9-13900K 5.2 W, Ryzen 7950X 10.6 W (TDPs as listed in
    codecarbon 3.3.2, cpu_power.csv). Low: one hardware thread of a fully used EPYC Milan, 1.9 W. Idle: 0.45 W (Milan) to
    1.9 W (Haswell) per thread. Both are whole servers under SPECpower (Cloud Carbon Footprint coefficients). High: a
    desktop core that boosts alone; all cores at the socket's limit of 230 W are 230 / 16 = 14 W each (Ryzen 7950X).
    So the range is a factor of three either way.

    Attributes:
        active_w_per_core, low_w_per_core, high_w_per_core: a core that is busy [W].
        idle_share_w, idle_low_w, idle_high_w: per core this process may use, busy or not, while the block runs [W].
        ram_w_per_gb: memory [W/GB]; 0 leaves memory out, as it is rarely what a change in code changes.
    """

    active_w_per_core: float = 6.0
    low_w_per_core: float = 2.0
    high_w_per_core: float = 18.0
    idle_share_w: float = 0.5
    idle_low_w: float = 0.0
    idle_high_w: float = 2.0
    ram_w_per_gb: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            if not (math.isfinite(value := getattr(self, field.name)) and value >= 0):
                raise ValueError(f"{field.name}={value} must be a number >= 0 [W]")
        if not self.low_w_per_core <= self.active_w_per_core <= self.high_w_per_core:
            raise ValueError(f"active_w_per_core={self.active_w_per_core} must lie between low and high_w_per_core")
        if not self.idle_low_w <= self.idle_share_w <= self.idle_high_w:
            raise ValueError(f"idle_share_w={self.idle_share_w} must lie between idle_low_w and idle_high_w")

    def component(self, cpu_s: float, time_s: float, cores: int) -> Component:
        """Modelled energy of the processor.

        >>> PowerModel(idle_share_w=0.5).component(cpu_s=10, time_s=4, cores=2).energy_j  # 6 * 10 + 0.5 * 2 * 4
        64.0
        """
        idle_s = cores * time_s
        energy_j = self.active_w_per_core * cpu_s + self.idle_share_w * idle_s
        low_j = self.low_w_per_core * cpu_s + self.idle_low_w * idle_s
        high_j = self.high_w_per_core * cpu_s + self.idle_high_w * idle_s
        return Component("cpu", "modelled", energy_j, low_j, high_j, "CPU-seconds model")


def cpu_seconds() -> float:
    """CPU time of this process, its threads, its children that ended and those that still run [s].

    A child alive at one reading and gone at the next moves from one term to another, so a difference of two readings
    stays right. Time is lost only for a child whose parent ignores SIGCHLD or died before it. Costs a few microseconds,
    and a few milliseconds while children live, since the process table is walked then.
    """
    if resource is None:
        ended_s = os.times().children_user + os.times().children_system
    else:  # in microseconds, where os.times() counts in ticks of 10 ms
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended_s = usage.ru_utime + usage.ru_stime
    return time.process_time() + ended_s + _live_children_cpu_s()


def _live_children_cpu_s() -> float:
    if hasattr(os, "waitid"):
        try:  # one system call tells that there is no child; walking the process table would take milliseconds
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return 0.0
    total = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.Error:  # it ended, and was waited for, between the two lines; or it belongs to another user
            continue
        total += times.user + times.system + getattr(times, "children_user", 0) + getattr(times, "children_system", 0)
    return total
