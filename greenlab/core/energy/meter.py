"""The energy meter: joules, seconds and grams of a block of code.

    with measure("matmul", region="DE") as m:
        a @ b
    m.receipt

Counters (``core.counters``) are read when the block starts and when it ends; no thread runs. Where no counter can be
read, as in most virtual machines, the energy is modelled from CPU seconds (``core.power_model``): "modelled".

The range of a measured figure. Lower end: less the counter's own error and one update interval at the block's mean
power, since a reading may be that old. Upper end: plus both, plus a quarter for what no counter sees (losses of the
power supply, fans, board). So a short block on a coarse counter gets a wide range: at a tenth of a second NVML may be off
by all it says. Repeat short work with ``measure_call``.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

import psutil

from greenlab.core.energy.counters import Counter, CounterStatus, find_counters
from greenlab.core.energy.power_model import PowerModel, cpu_seconds
from greenlab.core.energy.receipt import J_PER_KWH, Component, Receipt, grid_intensity, merge
from greenlab.core.machine import available_cores

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
# 80 PLUS Bronze supplies pass on 82 to 85 % of what they draw (1 / 0.82 = 1.22); the rest is for fans and board.
UNSEEN_SHARE = 0.25


class measure:
    """Measure one block of code; afterwards ``receipt`` says what it cost. Blocks may nest.

    Args:
        label: the name of the run.
        region: whose grid the electricity comes from: a code or name of ``data/facts/grid_intensity.csv``.
        model: watts assumed where no counter can be read.
        counters: the counters to read; those of this machine when None.
        clock, cpu_clock: give wall-clock and CPU time [s]; tests hand in their own.

    Raises:
        ValueError: if the region is unknown, before the block runs.
    """

    def __init__(
        self,
        label: str,
        *,
        region: str = "WORLD",
        model: PowerModel | None = None,
        counters: Iterable[Counter] | None = None,
        clock: Callable[[], float] = time.perf_counter,
        cpu_clock: Callable[[], float] = cpu_seconds,
    ) -> None:
        self.label, self.region, self.model = label, grid_intensity(region).region, model or PowerModel()
        self._counters, states = find_counters() if counters is None else (tuple(counters), ())
        self._blind = [s.name for s in states if s.name.startswith("NVML gpu-") and not s.readable]
        self._clock, self._cpu_clock, self._state = clock, cpu_clock, "new"
        self._receipt: Receipt | None = None

    def __enter__(self) -> Self:
        if self._state != "new":
            raise RuntimeError(f"measure({self.label!r}) has been used: each block needs a measure(...) of its own")
        self._state = "running"
        self._joules, self._unseen = ([0.0] * len(self._counters) for _ in range(2))
        self._cpu_start_s = self._cpu_clock()
        self._last = [counter.read() for counter in self._counters]
        self._start_s = self._last_s = self._clock()
        return self

    def checkpoint(self) -> None:
        """Read the counters now. RAPL restarts from zero every few minutes: long loops call this each minute."""
        if self._state != "running":
            raise RuntimeError(f"measure({self.label!r}).checkpoint() works inside the with block only")
        now_s = self._clock()
        for i, counter in enumerate(self._counters):
            before, after = self._last[i], counter.read()
            if before is None or after is None:
                self._joules[i] = math.nan  # the counter is gone: what it said so far is not the whole block
                continue
            joules, unseen = counter.step(before, after, now_s - self._last_s)
            self._joules[i] += joules
            self._unseen[i] += unseen
            self._last[i] = after
        self._last_s = now_s

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.checkpoint()
        self._state = "ended"
        time_s = self._last_s - self._start_s
        cpu_s = max(0.0, self._cpu_clock() - self._cpu_start_s)
        parts = self._parts(time_s, cpu_s)
        joules = (sum(getattr(p, name) for p in parts) for name in ("energy_j", "low_j", "high_j"))
        self._receipt = Receipt.from_energy(
            self.label, *joules, region=self.region, time_s=time_s, cpu_s=cpu_s, components=parts,
            basis="measured" if all(p.basis == "measured" for p in parts) else "modelled",
            source=" + ".join([p.source for p in parts] + [f"{name} not counted" for name in self._blind]),
        )  # fmt: skip

    @property
    def receipt(self) -> Receipt:
        """What the block cost; RuntimeError while the block still runs."""
        if self._receipt is None:
            raise RuntimeError(f"the receipt of {self.label!r} exists when its block has ended: read it after the with")
        return self._receipt

    def _parts(self, time_s: float, cpu_s: float) -> tuple[Component, ...]:
        parts, moved = [], True
        for counter, joules, unseen in zip(self._counters, self._joules, self._unseen, strict=True):
            if counter.component == "cpu" and not joules > 0:  # gone, or too coarse for this block
                moved = False
            else:
                parts.append(_measured(counter, joules, unseen, time_s))
        if not moved or not any(p.component == "cpu" for p in parts):
            model = self.model.component(cpu_s, time_s, available_cores())
            parts = [model, *(p for p in parts if p.component != "cpu")]
        if self.model.ram_w_per_gb and not any(p.component == "dram" for p in parts):
            energy_j = self.model.ram_w_per_gb * psutil.Process().memory_info().rss / 1e9 * time_s
            parts.append(Component("dram", "modelled", energy_j, energy_j / 2, energy_j * 2, "W per GB of memory"))
        return merge(parts)


def _measured(counter: Counter, joules: float, unseen_j: float, time_s: float) -> Component:
    if not joules > 0:  # lost, or it has not moved: the energy lies between nothing and the most the device can draw
        high_j = counter.unit_j + counter.max_power_w * time_s
        return Component(counter.component, "modelled", counter.unit_j, 0.0, high_j, f"{counter.name}: no reading")
    stale_j = counter.unit_j + joules * (counter.update_s / time_s if time_s > 0 else 1.0)
    low_j = max(0.0, joules * (1 - counter.error) - stale_j)
    high_j = (joules * (1 + counter.error) + stale_j + unseen_j) * (1 + UNSEEN_SHARE)
    return Component(counter.component, "measured", joules, low_j, high_j, counter.name)


def measure_call(
    fn: Callable[[], T], label: str, *, region: str = "WORLD", min_time_s: float = 1.0, warmup: int = 1
) -> tuple[T, Receipt]:
    """Call ``fn`` until ``min_time_s`` have passed; give its last result and the receipt of one call.

    Work that takes half of ``min_time_s`` or more is done once. ``receipt.runs`` says how many calls were averaged.

    Args:
        fn: the work; it takes nothing.
        label: the name of the run.
        region: whose grid the electricity comes from.
        min_time_s: how long to go on [s].
        warmup: calls before the meter starts, so that caches and lazy imports are not billed.
    """
    if not min_time_s >= 0:
        raise ValueError(f"min_time_s={min_time_s} must be >= 0 [s]")
    if warmup < 0:
        raise ValueError(f"warmup={warmup} must be >= 0 calls")
    for _ in range(warmup):
        fn()
    runs = 1
    with measure(label, region=region) as meter:
        start_s = time.perf_counter()
        result = fn()
        if time.perf_counter() - start_s < min_time_s / 2:
            while time.perf_counter() - start_s < min_time_s:
                result = fn()
                runs += 1
    return result, replace(meter.receipt.per(runs), runs=runs)


def available_counters() -> list[CounterStatus]:
    """What could give joules here, best first; where one cannot, ``reason`` says why. The model always can."""
    model = PowerModel()
    why = f"{model.active_w_per_core:g} W per busy core, {model.low_w_per_core:g} to {model.high_w_per_core:g}"
    return [*find_counters()[1], CounterStatus("CPU-seconds model", True, why, 4)]


def what_will_be_reported() -> str:
    """One line: what receipts on this machine rest on."""
    counters, states = find_counters()
    names = ", ".join(counter.name for counter in counters)
    if any(counter.component == "cpu" for counter in counters):
        return f"Energy will be MEASURED: {names}."
    *_, model = available_counters()
    absent = next(state for state in states if not state.readable)
    also = f"; measured beside it: {names}" if names else ""
    return f"Energy will be MODELLED from CPU seconds ({model.reason}){also}. {absent.name}: {absent.reason}."


def compare_backends(fn: Callable[[], object] | None = None, region: str = "DE") -> pd.DataFrame:
    """Our figure beside codecarbon's, both watching the same run of ``fn``.

    Returns one row per backend: backend, energy_j, low_j, high_j [J], basis, note. codecarbon gives no range (NaN) and
    counts a fixed power for memory.

    Args:
        fn: the work; two seconds of matrix products when None.
        region: whose grid the electricity comes from.
    """
    import pandas as pd

    columns = ["backend", "energy_j", "low_j", "high_j", "basis", "note"]
    with _codecarbon() as theirs, measure("compare_backends", region=region) as meter:
        (fn or _matmuls)()
    ours = meter.receipt
    row = ["greenlab", ours.energy_j, ours.low_j, ours.high_j, ours.basis, ours.source]
    return pd.DataFrame([row, ["codecarbon", *(theirs.get(name) for name in columns[1:])]], columns=columns)


@contextmanager
def _codecarbon() -> Iterator[dict[str, object]]:
    """Run codecarbon around a block: no network, no files, no log, no lock that takes over Ctrl+C."""
    row: dict[str, object] = {"energy_j": math.nan, "low_j": math.nan, "high_j": math.nan}
    try:
        from codecarbon import OfflineEmissionsTracker
    except ImportError:
        yield row | {"note": "not installed: pip install codecarbon"}
        return
    log = logging.getLogger("codecarbon")
    before, log.disabled = log.disabled, True  # it speaks before its own log_level takes effect
    tracker = OfflineEmissionsTracker(  # the country decides its grams only, which are not shown
        country_iso_code="DEU", save_to_file=False, save_to_api=False, save_to_logger=False, allow_multiple_runs=True,
        log_level="critical",
    )  # fmt: skip
    try:
        tracker.start()
        yield row
    finally:
        tracker.stop()
        log.disabled = before
    data = tracker.final_emissions_data
    joules = {part: getattr(data, f"{part}_energy") * J_PER_KWH for part in ("cpu", "ram", "gpu")}
    row["energy_j"], row["note"] = sum(joules.values()), ", ".join(f"{p} {j:.1f} J" for p, j in joules.items())
    rapl = "rapl" in str(getattr(tracker, "_hardware", "")).lower()
    row["basis"] = "measured" if rapl and not joules["ram"] else "modelled"


def _matmuls(time_s: float = 2.0) -> None:
    import torch

    a = torch.full((512, 512), 0.5)
    start_s = time.perf_counter()
    while time.perf_counter() - start_s < time_s:
        a @ a
