"""The energy meter: joules, seconds and grams of a block of code.

    with measure("matmul", region="DE") as m:
        a @ b
    m.receipt

Counters (``core.energy.counters``) are read when the block starts and when it ends; no thread runs. Where no counter
can be read, as in most virtual machines, the energy is modelled from CPU seconds (``core.energy.power_model``):
"modelled". Counters and CPU seconds see everything that runs in the meantime. Blocks that run at once, in threads or as
async tasks, are each given the whole, so their receipts must not be added.

The range of a measured figure. Lower end: less the counter's own error and one update interval at the block's mean
power, since a reading may be that old. Upper end: plus both, plus a quarter for what no counter sees (losses of the
power supply, fans, board). So a short block on a coarse counter gets a wide range: at a tenth of a second NVML may be
off by all it says. Repeat short work with ``measure_call``.

A receipt is "measured" only when every part of it was. A GPU that this process sees but nobody can count makes it
"modelled": the GPU may have drawn between nothing and the most that a GPU draws, and the source says "not counted".
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

from greenlab.core import checks
from greenlab.core.calls import checked_work, finished
from greenlab.core.energy.counters import Counter, CounterStatus, find_counters, search
from greenlab.core.energy.power_model import PowerModel, cpu_seconds
from greenlab.core.energy.receipt import J_PER_KWH, Component, Receipt, grid_intensity, merge
from greenlab.core.machine import available_cores

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
# 80 PLUS Bronze supplies pass on 82 to 85 % of what they draw (1 / 0.82 = 1.22); the rest is for fans and board.
UNSEEN_SHARE = 0.25


class _Reading:
    """What one counter has said since the block began."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.energy_j = 0.0  # NaN as soon as the counter does not tell the energy of the whole block
        self.missed_j = 0.0
        self.seen_j = 0.0
        self.fault = ""
        self.last_j = counter.read()

    def update(self, time_s: float) -> None:
        """Read the counter again, ``time_s`` after the last reading."""
        before_j, self.last_j = self.last_j, self.counter.read()
        if before_j is None or self.last_j is None:  # the counter is gone, or was: a part of the block is not in it
            self.energy_j = math.nan
            self.fault = self.fault or "could not be read"
            return
        step = self.counter.step(before_j, self.last_j, time_s)
        self.energy_j += step.energy_j
        self.missed_j += step.missed_j
        self.seen_j += step.seen_j if step.fault else step.energy_j
        self.fault = self.fault or step.fault

    @property
    def has_moved(self) -> bool:
        """Whether the counter tells the energy of the block; it may be too coarse for a short one."""
        return self.energy_j > 0

    def component(self, time_s: float) -> Component:
        """The energy of this part, measured if the counter tells it, else bounded by what the device can draw."""
        counter = self.counter
        if not self.has_moved:
            energy_j = max(counter.unit_j, self.seen_j)
            high_j = max(counter.unit_j + counter.max_power_w * time_s, energy_j)
            source = f"{counter.name}: {self.fault or 'no reading'}"
            return Component(counter.component, "modelled", energy_j, 0.0, high_j, source)
        stale_j = counter.unit_j + self.energy_j * (counter.update_s / time_s if time_s > 0 else 1.0)
        low_j = max(0.0, self.energy_j * (1 - counter.error) - stale_j)
        high_j = (self.energy_j * (1 + counter.error) + stale_j + self.missed_j) * (1 + UNSEEN_SHARE)
        wraps = ""
        if self.missed_j and counter.range_j:
            wraps = f" (it may have wrapped {self.missed_j / counter.range_j:.0f} times unseen)"
        return Component(counter.component, "measured", self.energy_j, low_j, high_j, counter.name + wraps)


class measure:
    """Measure one block of code; afterwards ``receipt`` says what it cost. Blocks may nest.

    An error inside the block goes on to the reader as it is. If the meter fails as well, a note on that error says so.

    Args:
        label: the name of the run.
        region: whose grid the electricity comes from: a code or name of ``data/facts/grid_intensity.csv``.
        model: watts assumed where no counter can be read.
        counters: the counters to read; those of this machine when None.
        clock: gives wall-clock time [s]; tests hand in their own.
        cpu_clock: gives CPU time [s]; tests hand in their own.

    Raises:
        TypeError: if an argument is of another kind.
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
        if model is not None and not isinstance(model, PowerModel):
            raise TypeError(f"model={model!r} is {type(model).__name__}: give a PowerModel, or None")
        checked_work("clock", clock)
        checked_work("cpu_clock", cpu_clock)
        self.label, self.region, self.model = _label(label), grid_intensity(region).region, model or PowerModel()
        self._counters, states = find_counters() if counters is None else (_given(counters), ())
        self._uncounted = [state for state in states if state.uncounted_w > 0]
        self._clock, self._cpu_clock, self._state = clock, cpu_clock, "new"
        self._receipt: Receipt | None = None

    def __enter__(self) -> Self:
        if self._state != "new":
            raise RuntimeError(f"measure({self.label!r}) has been used: each block needs a measure(...) of its own")
        self._state = "running"
        self._cpu_start_s = self._cpu_clock()
        self._readings = [_Reading(counter) for counter in self._counters]
        self._start_s = self._last_s = self._clock()
        return self

    def checkpoint(self) -> None:
        """Read the counters now. RAPL restarts from zero every few minutes: long loops call this each minute.

        Raises:
            RuntimeError: if no block is running.
        """
        if self._state != "running":
            raise RuntimeError(f"measure({self.label!r}).checkpoint() works inside the with block only")
        now_s = self._clock()
        for reading in self._readings:
            reading.update(now_s - self._last_s)
        self._last_s = now_s

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.checkpoint()
            self._receipt = self._finish()
        except Exception as fault:
            if error is None:
                raise
            error.add_note(f"greenlab: the block {self.label!r} has no receipt either ({fault})")
        finally:
            self._state = "ended"

    def _finish(self) -> Receipt:
        time_s = self._last_s - self._start_s
        cpu_s = max(0.0, self._cpu_clock() - self._cpu_start_s)
        parts = self._parts(time_s, cpu_s)
        energy_j, low_j, high_j = (sum(getattr(p, name) for p in parts) for name in ("energy_j", "low_j", "high_j"))
        return Receipt.from_energy(
            self.label,
            energy_j,
            low_j,
            high_j,
            region=self.region,
            time_s=time_s,
            cpu_s=cpu_s,
            components=parts,
            basis="measured" if all(p.basis == "measured" for p in parts) else "modelled",
            source=" + ".join(p.source for p in parts),
        )

    @property
    def receipt(self) -> Receipt:
        """What the block cost.

        Raises:
            RuntimeError: while the block still runs.
        """
        if self._receipt is None:
            raise RuntimeError(f"the receipt of {self.label!r} exists when its block has ended: read it after the with")
        return self._receipt

    def _parts(self, time_s: float, cpu_s: float) -> tuple[Component, ...]:
        processors = [r for r in self._readings if r.counter.component == "cpu"]
        others = [r.component(time_s) for r in self._readings if r.counter.component != "cpu"]
        if processors and all(r.has_moved for r in processors):
            parts = [*(r.component(time_s) for r in processors), *others]
        else:
            parts = [self._modelled_processor(processors, time_s, cpu_s), *others]
        if self.model.ram_w_per_gb and not any(p.component == "dram" for p in parts):
            energy_j = self.model.ram_w_per_gb * psutil.Process().memory_info().rss / 1e9 * time_s
            parts.append(Component("dram", "modelled", energy_j, energy_j / 2, energy_j * 2, "W per GB of memory"))
        for state in self._uncounted:
            most_j = state.uncounted_w * time_s
            parts.append(Component("gpu", "modelled", 0.0, 0.0, most_j, f"{state.name} not counted"))
        return merge(parts)

    def _modelled_processor(self, processors: list[_Reading], time_s: float, cpu_s: float) -> Component:
        """The processor from CPU seconds, and at least what its counters have seen for certain."""
        model = self.model.component(cpu_s, time_s, available_cores())
        faults = [f"{r.counter.name} {r.fault}" for r in processors if r.fault]
        seen_j = sum(r.seen_j for r in processors)
        if not faults and not seen_j:
            return model
        error = max(r.counter.error for r in processors)
        return replace(
            model,
            energy_j=max(model.energy_j, seen_j),
            low_j=max(model.low_j, seen_j * (1 - error)),
            high_j=model.high_j + seen_j * (1 + error) * (1 + UNSEEN_SHARE),  # the model stands for what was not seen
            source=" + ".join([model.source, *faults]),
        )


def _label(label: object) -> str:
    if not isinstance(label, str):
        raise TypeError(f"label={label!r} is {type(label).__name__}: give the name of the run as text")
    return label


def _given(counters: Iterable[Counter]) -> tuple[Counter, ...]:
    if isinstance(counters, (str, bytes)) or not isinstance(counters, Iterable):
        raise TypeError(f"counters={counters!r} is {type(counters).__name__}: give a list of Counter, or None")
    found = tuple(counters)
    for counter in found:
        if not isinstance(counter, Counter):
            raise TypeError(f"counters holds {counter!r}, a {type(counter).__name__}: give Counter objects only")
    return found


def measure_call(
    fn: Callable[[], T], label: str, *, region: str = "WORLD", min_time_s: float = 1.0, warmup: int = 1
) -> tuple[T, Receipt]:
    """Call ``fn`` until ``min_time_s`` have passed; give its last result and the receipt of one call.

    Work that takes half of ``min_time_s`` or more is done once. ``receipt.runs`` says how many calls were averaged.

    Args:
        fn: the work; it takes nothing, and it is done when it returns: no async function, no generator.
        label: the name of the run.
        region: whose grid the electricity comes from.
        min_time_s: how long to go on [s]; at most a day.
        warmup: calls before the meter starts, so that caches and lazy imports are not billed.

    Raises:
        TypeError: if ``fn`` cannot be called or returns work that is not done, or an argument is of another kind.
        ValueError: if ``min_time_s`` or ``warmup`` is out of range, or the region is unknown.
    """
    checked_work("fn", fn)
    min_time_s = checks.number("min_time_s", min_time_s, low=0, high=86_400, remedy="it is in seconds")
    warmup = checks.integer("warmup", warmup, low=0, high=1_000_000, remedy="it counts calls")
    meter = measure(label, region=region)
    for _ in range(warmup):
        finished("fn", fn())
    runs = 1
    with meter:
        start_s = time.perf_counter()
        result = finished("fn", fn())
        if time.perf_counter() - start_s < min_time_s / 2:
            while time.perf_counter() - start_s < min_time_s:
                result = fn()
                runs += 1
    return result, replace(meter.receipt.per(runs), runs=runs)


def available_counters() -> list[CounterStatus]:
    """What could give joules here, best first; where one cannot, ``reason`` says why. The model always can."""
    model = PowerModel()
    low, high = model.active_low_w_per_core, model.active_high_w_per_core
    why = f"{model.active_w_per_core:g} W per busy core, {low:g} to {high:g}"
    return [*find_counters()[1], CounterStatus("CPU-seconds model", True, why, 4)]


def what_will_be_reported() -> str:
    """One line: what receipts on this machine rest on.

    Counters are searched once per process. If others can be read by now, the line says that the kernel must be
    restarted.
    """
    counters, states = find_counters()
    names = ", ".join(counter.name for counter in counters)
    uncounted = ", ".join(state.name for state in states if state.uncounted_w > 0)
    if any(counter.component == "cpu" for counter in counters) and not uncounted:
        return f"Energy will be MEASURED: {names}."
    if any(counter.component == "cpu" for counter in counters):
        line = f"Energy will be MODELLED in part: {uncounted} cannot be counted; measured beside it: {names}."
    else:
        *_, model = available_counters()
        also = f"; measured beside it: {names}" if names else ""
        line = f"Energy will be MODELLED from CPU seconds ({model.reason}){also}."
    absent = next((state for state in states if not state.readable), None)
    if absent is not None:
        line += f" {absent.name}: {absent.reason}."
    now = {counter.name for counter in search()[0]} - {counter.name for counter in counters}
    return line + (f" {', '.join(sorted(now))} can be read by now: restart the kernel to use it." if now else "")


def compare_backends(fn: Callable[[], object] | None = None, region: str = "DE") -> pd.DataFrame:
    """Our figure beside codecarbon's, both watching the same run of ``fn``.

    Args:
        fn: the work; two seconds of matrix products when None.
        region: whose grid the electricity comes from.

    Returns:
        One row per backend: backend, energy_j, low_j, high_j [J], basis, note. codecarbon gives no range (NaN) and
            counts
        a fixed power for memory.

    Raises:
        TypeError: if ``fn`` cannot be called or returns work that is not done.
        ValueError: if the region is unknown.
    """
    import pandas as pd

    if fn is not None:
        checked_work("fn", fn)
    columns = ["backend", "energy_j", "low_j", "high_j", "basis", "note"]
    meter = measure("compare_backends", region=region)
    with _codecarbon() as theirs, meter:
        finished("fn", (fn or _matmuls)())
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
