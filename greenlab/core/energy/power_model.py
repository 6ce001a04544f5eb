"""The fallback when no energy counter can be read: CPU seconds times watts per core, with a wide and stated range."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, fields

import psutil

from greenlab.core import checks
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
    codecarbon 3.3.2, cpu_power.csv). Low: one hardware thread of a fully used EPYC Milan, 1.9 W. Idle: 0.45 W (Milan)
    to 1.9 W (Haswell) per thread. Both are whole servers under SPECpower (Cloud Carbon Footprint coefficients). High: a
    desktop core that boosts alone; all cores at the socket's limit of 230 W are 230 / 16 = 14 W each (Ryzen 7950X).
    So the range is a factor of three either way.

    Attributes:
        active_w_per_core: a core that is busy [W].
        active_low_w_per_core: the low end of its range [W].
        active_high_w_per_core: the high end of its range [W].
        idle_w_per_core: each core that this process may use, busy or not, while the block runs [W].
        idle_low_w_per_core: the low end of its range [W].
        idle_high_w_per_core: the high end of its range [W].
        ram_w_per_gb: memory [W/GB]; 0 leaves memory out, as it is rarely what a change in code changes.

    Raises:
        TypeError: if a field is no number.
        ValueError: if a field is negative, NaN or infinite, or a value lies outside its own range.
    """

    active_w_per_core: float = 6.0
    active_low_w_per_core: float = 2.0
    active_high_w_per_core: float = 18.0
    idle_w_per_core: float = 0.5
    idle_low_w_per_core: float = 0.0
    idle_high_w_per_core: float = 2.0
    ram_w_per_gb: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            checks.number(field.name, getattr(self, field.name), low=0, high=1e6, remedy="it is in watts")
        for kind in ("active", "idle"):
            low, middle, high = (f"{kind}_{end}w_per_core" for end in ("low_", "", "high_"))
            if not getattr(self, low) <= getattr(self, middle) <= getattr(self, high):
                raise ValueError(
                    f"{middle}={getattr(self, middle)} must lie between {low}={getattr(self, low)} "
                    f"and {high}={getattr(self, high)}: give all three"
                )

    def component(self, cpu_s: float, time_s: float, cores: int) -> Component:
        """Modelled energy of the processor.

        Args:
            cpu_s: CPU time of all threads and child processes [s].
            time_s: how long the block ran [s].
            cores: how many cores the process may use.

        Raises:
            TypeError: if an argument is no number, or ``cores`` is no whole number.
            ValueError: if a time is negative, NaN or infinite, or ``cores`` is below 1.

        >>> PowerModel(idle_w_per_core=0.5).component(cpu_s=10, time_s=4, cores=2).energy_j  # 6 * 10 + 0.5 * 2 * 4
        64.0
        """
        cpu_s = checks.number("cpu_s", cpu_s, low=0)
        idle_s = checks.integer("cores", cores, low=1) * checks.number("time_s", time_s, low=0)
        energy_j = self.active_w_per_core * cpu_s + self.idle_w_per_core * idle_s
        low_j = self.active_low_w_per_core * cpu_s + self.idle_low_w_per_core * idle_s
        high_j = self.active_high_w_per_core * cpu_s + self.idle_high_w_per_core * idle_s
        return Component("cpu", "modelled", energy_j, low_j, high_j, "CPU-seconds model")


class _Lookups:
    """CPU time that looking for child processes has taken in this process so far [s]; threads may add at once."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.lock = threading.Lock()

    def add(self, cpu_s: float) -> None:
        with self.lock:
            self.cpu_s += cpu_s


_LOOKUPS = _Lookups()


def cpu_seconds() -> float:
    """CPU time of this process, its threads, its children that ended and those that still run [s].

    It is the time of the whole process: blocks that run at once, in threads or as async tasks, are each given all of
        it.
    A child alive at one reading and gone at the next moves from one term to another, so a difference of two readings
    stays right. Time is lost only for a child whose parent ignores SIGCHLD or died before it, and for children that the
    system does not show. While children live the process table is walked, which takes milliseconds: that time is kept
    apart and is in no reading.
    """
    own_s = time.process_time() - _LOOKUPS.cpu_s
    if resource is None:
        ended_s = os.times().children_user + os.times().children_system
    else:  # in microseconds, where os.times() counts in ticks of 10 ms
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        ended_s = usage.ru_utime + usage.ru_stime
    start_s = time.thread_time()
    live_s = _live_children_cpu_s()
    _LOOKUPS.add(time.thread_time() - start_s)
    return own_s + ended_s + live_s


def _live_children_cpu_s() -> float:
    if hasattr(os, "waitid"):
        try:  # one system call tells that there is no child; walking the process table would take milliseconds
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return 0.0
    try:
        children = psutil.Process().children(recursive=True)
    except (psutil.Error, OSError):  # the process table may not be read here
        return 0.0
    total = 0.0
    for child in children:
        try:
            times = child.cpu_times()
        except (psutil.Error, OSError):  # it ended, and was waited for, since it was listed; or it is another user's
            continue
        total += times.user + times.system + getattr(times, "children_user", 0) + getattr(times, "children_system", 0)
    return total
