"""Repeat a piece of work under the energy meter, several times, and keep every repeat.

A GPU's energy counter moves every 100 ms or so, so a single kernel cannot be seen: the work is called until a block of
seconds is filled, and the joules of the block are divided by what was done in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from greenlab.core import checks
from greenlab.core.energy.counters import Counter
from greenlab.core.energy.meter import measure
from greenlab.core.energy.receipt import COMPONENTS

CALLS_PER_CHECK = 4  # calls between two looks at the clock: a look waits for the device


@dataclass(frozen=True)
class Repeat:
    """One block of repeated work.

    Attributes:
        repeat: which of the repeats, from 1.
        calls: how often the work was called in the block.
        time_s: duration of the block [s].
        energy_j: what the accelerator's counter gave for the block [J].
        low_j: lower end of the meter's range [J].
        high_j: upper end of it [J].
        basis: "measured" if the accelerator's counter moved, else "modelled".
        units: how much was done in the block: tokens, FLOPs or bytes.
    """

    repeat: int
    calls: int
    time_s: float
    energy_j: float
    low_j: float
    high_j: float
    basis: str
    units: float


@dataclass
class Bench:
    """How long and how often work is repeated, and on what.

    Attributes:
        device: where the work runs.
        seconds: length of a block [s].
        repeats: blocks of each work.
        counters: counters to read; those of this machine when None.
        component: whose joules are kept: "gpu", the accelerator without its host; or "cpu", "dram".
        clock: gives wall-clock time [s]; tests hand in their own.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if ``seconds`` is not above 0 and at most 600, ``repeats`` below 1, or the component unknown.
    """

    device: torch.device
    seconds: float = 1.5
    repeats: int = 3
    counters: tuple[Counter, ...] | None = None
    component: str = "gpu"
    clock: Callable[[], float] = time.perf_counter

    def __post_init__(self) -> None:
        checks.instance("device", self.device, torch.device, remedy="for example torch.device('cuda', 0)")
        if self.counters is not None:
            self.counters = tuple(checks.several("counters", self.counters))
            for counter in self.counters:
                checks.instance("an item of counters", counter, Counter)
        checks.one_of("component", self.component, COMPONENTS)
        checks.function("clock", self.clock)
        self.seconds = checks.number("seconds", self.seconds, above=0, high=600)
        self.repeats = checks.integer("repeats", self.repeats, low=1)

    def wait(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def run(self, work: Callable[[], Any], units_per_call: float) -> list[dict[str, Any]]:
        """Repeat ``work`` and return one row a block: the fields of `Repeat`.

        Args:
            work: called without arguments; what it gives back is dropped.
            units_per_call: tokens, FLOPs or bytes that one call stands for.

        Raises:
            TypeError: if ``work`` cannot be called, or ``units_per_call`` is no number.
            ValueError: if ``units_per_call`` is not above 0.
        """
        checks.function("work", work)
        units_per_call = checks.number("units_per_call", units_per_call, above=0)
        for _ in range(3):  # first calls compile and allocate
            work()
        self.wait()
        return [asdict(self._block(work, units_per_call, repeat)) for repeat in range(1, self.repeats + 1)]

    def idle(self) -> list[dict[str, Any]]:
        """Do nothing for a block; ``units`` is the time in seconds, so that joules per unit are watts."""
        return self.run(lambda: time.sleep(self.seconds / 20), self.seconds / 20)

    def _block(self, work: Callable[[], Any], units_per_call: float, repeat: int) -> Repeat:
        calls = 0
        with measure("block", counters=self.counters, clock=self.clock) as meter:
            start_s = self.clock()
            while self.clock() - start_s < self.seconds:
                for _ in range(CALLS_PER_CHECK):
                    work()
                self.wait()
                calls += CALLS_PER_CHECK
        receipt = meter.receipt
        mine = [part for part in receipt.components if part.component == self.component]
        if len(mine) != 1:
            known = ", ".join(part.component for part in receipt.components)
            raise RuntimeError(f"no single {self.component!r} counter: the receipt has {known}. Hide all GPUs but one")
        part = mine[0]
        return Repeat(
            repeat, calls, receipt.time_s, part.energy_j, part.low_j, part.high_j, part.basis, calls * units_per_call
        )
