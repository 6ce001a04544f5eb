"""Repeat a piece of work under the energy meter, several times, and keep every repeat.

A GPU's energy counter moves every 100 ms or so, so a single kernel cannot be seen: the work is called until a block of
seconds is filled, and the joules of the block are divided by what was done in it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch

from greenlab.core import checks
from greenlab.core.energy.counters import Counter
from greenlab.core.energy.meter import measure
from greenlab.core.energy.receipt import COMPONENTS

CALLS_PER_CHECK = 4  # calls between two looks at the clock: a look waits for the device


class NoCounterError(RuntimeError):
    """The receipt of a block has not exactly one counter of the wanted kind: no row of this machine can be measured."""


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
        warmup_s: how long work is done before the first block [s]. Without it the first block read 1 to 2 % low, as
            the power of the device was still rising.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if ``seconds`` is not above 0 and at most 600, ``warmup_s`` not from 0 to 600, ``repeats`` below 1,
            or the component unknown.
    """

    device: torch.device
    seconds: float = 1.5
    repeats: int = 3
    counters: tuple[Counter, ...] | None = None
    component: str = "gpu"
    clock: Callable[[], float] = time.perf_counter
    warmup_s: float = 0.3

    def __post_init__(self) -> None:
        checks.instance("device", self.device, torch.device, remedy="for example torch.device('cuda', 0)")
        if self.counters is not None:
            self.counters = tuple(checks.several("counters", self.counters))
            for counter in self.counters:
                checks.instance("an item of counters", counter, Counter)
        checks.one_of("component", self.component, COMPONENTS)
        checks.function("clock", self.clock)
        self.seconds = checks.number("seconds", self.seconds, above=0, high=600)
        self.warmup_s = checks.number("warmup_s", self.warmup_s, low=0, high=600)
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
        start_s = self.clock()
        self._some(work)  # first calls compile and allocate
        while self.clock() - start_s < self.warmup_s:
            self._some(work)
        return [asdict(self._block(partial(self._some, work), units_per_call, n)) for n in range(1, self.repeats + 1)]

    def idle(self) -> list[dict[str, Any]]:
        """Do nothing for a block; ``units`` is the time in seconds, so that joules per unit are watts.

        The device is not waited for: waiting would open it, and an open GPU draws more than one that nobody uses.
        """
        pause_s = self.seconds / 20
        pauses = partial(self._some, partial(time.sleep, pause_s), wait=False)
        return [asdict(self._block(pauses, pause_s, n)) for n in range(1, self.repeats + 1)]

    def _some(self, work: Callable[[], Any], *, wait: bool = True) -> None:
        for _ in range(CALLS_PER_CHECK):
            work()
        if wait:
            self.wait()

    def _block(self, some: Callable[[], None], units_per_call: float, repeat: int) -> Repeat:
        """Fill one block with ``some``, which calls the work `CALLS_PER_CHECK` times."""
        calls = 0
        with measure("block", counters=self.counters, clock=self.clock) as meter:
            start_s = self.clock()
            while self.clock() - start_s < self.seconds:
                some()
                calls += CALLS_PER_CHECK
        receipt = meter.receipt
        mine = [part for part in receipt.components if part.component == self.component]
        if len(mine) != 1:
            known = ", ".join(part.component for part in receipt.components)
            raise NoCounterError(
                f"no single {self.component!r} counter: the receipt has {known}. Show one GPU only, with "
                "CUDA_VISIBLE_DEVICES"
            )
        part = mine[0]
        return Repeat(
            repeat, calls, receipt.time_s, part.energy_j, part.low_j, part.high_j, part.basis, calls * units_per_call
        )
