"""Chips as a roofline sees them: peak rates, memory bandwidth, memory, rated power.

The rows come from data/facts/accelerators.csv, each with its source and confidence. Peak rates are dense: a headline
with 2:4 sparsity would be twice as high and is not used. A number that nobody published is None, never 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from greenlab.core import checks
from greenlab.core.facts import index, schema
from greenlab.core.names import unknown

RATES = {  # column of the table -> arithmetic; all are 1e12 a second there
    "peak_dense_tflops_fp32": "fp32",
    "peak_dense_tflops_bf16": "bf16",
    "peak_dense_tflops_fp8": "fp8",
    "peak_dense_tops_int8": "int8",
}
# A chip without a unit of that kind widens the operands, which every chip can do: the kinds it tries, in order.
WIDER = {"fp8": ("fp8", "bf16", "fp32"), "int8": ("int8", "bf16", "fp32"), "bf16": ("bf16", "fp32"), "fp32": ("fp32",)}
CONFIDENCES = ("measured", *index.CONFIDENCES)  # from surest to least sure


@dataclass(frozen=True)
class Device:
    """One chip, or one machine.

    Attributes:
        id: name in data/facts, such as "h100-sxm5-80gb".
        name: product name.
        kind: gpu, tpu, lpu, wafer, asic or cpu.
        year: of launch.
        flops_per_s: peak rate by arithmetic (fp32, bf16, fp8, int8) [FLOP/s, dense].
        bandwidth_b_per_s: of the memory that holds the weights [B/s].
        memory_b: its size [B].
        power_w: rated power [W], or None where none is published.
        confidence: how surely the row is known; "measured" for the reader's machine.

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if a rate, a size or the power is not above 0, or an arithmetic or the confidence is unknown.
    """

    id: str
    name: str
    kind: str
    year: int
    flops_per_s: Mapping[str, float]
    bandwidth_b_per_s: float
    memory_b: float
    power_w: float | None
    confidence: str

    def __post_init__(self) -> None:
        for field in ("id", "name", "kind"):
            if not isinstance(getattr(self, field), str):
                raise TypeError(f"{field}={getattr(self, field)!r} is {type(getattr(self, field)).__name__}: give text")
        checks.integer("year", self.year, low=0, high=2100)
        if not isinstance(self.flops_per_s, Mapping):
            raise TypeError(f"flops_per_s={self.flops_per_s!r}: give a dict such as {{'bf16': 989e12}}")
        for name in self.flops_per_s:
            if name not in WIDER:
                raise ValueError(f"flops_per_s has {name!r}: expected some of {', '.join(WIDER)}")
        positive = {f"flops_per_s[{k!r}]": v for k, v in self.flops_per_s.items()}
        positive |= {"bandwidth_b_per_s": self.bandwidth_b_per_s, "memory_b": self.memory_b}
        if self.power_w is not None:
            positive["power_w"] = self.power_w
        for name, value in positive.items():
            checks.number(name, value, above=0, remedy=f"leave out what is not published of {self.id}")
        checks.one_of("confidence", self.confidence, CONFIDENCES)
        object.__setattr__(self, "flops_per_s", MappingProxyType(dict(self.flops_per_s)))

    def replace(self, **changes: Any) -> Device:
        """The same device with some fields changed: ``device("b200").replace(power_w=1200)``.

        Raises:
            TypeError: if there is no such field, or its value is of another kind.
            ValueError: if a value is out of range.
        """
        return dataclasses.replace(self, **changes)

    def arithmetic(self, wanted: str) -> str:
        """The arithmetic this device really uses for operands of that kind: its own, or else the next wider one.

        >>> device("a100-sxm4-80gb").arithmetic("fp8")  # no 8-bit floats before 2022: widened to 16 bits
        'bf16'

        Args:
            wanted: fp32, bf16, fp8 or int8.

        Raises:
            TypeError: if ``wanted`` is no text.
            ValueError: if the arithmetic is unknown, or the device publishes no rate that could do it.
        """
        checks.one_of("wanted", wanted, tuple(WIDER))
        for name in WIDER[wanted]:
            if name in self.flops_per_s:
                return name
        known = ", ".join(self.flops_per_s) or "none"
        raise ValueError(
            f"{self.id} has no published dense rate for {wanted!r} or wider (known: {known}): choose another format or "
            "device, or give a rate of your own with device.replace(flops_per_s=...)"
        )

    def peak(self, wanted: str) -> float:
        """Peak rate for operands of that kind [FLOP/s].

        Args:
            wanted: as for `arithmetic`.

        Raises:
            TypeError: if ``wanted`` is no text.
            ValueError: as for `arithmetic`.
        """
        return self.flops_per_s[self.arithmetic(wanted)]

    def ridge(self, wanted: str = "bf16") -> float:
        """FLOPs for each byte read at which computing and reading take equally long [FLOP/B].

        >>> round(device("h100-sxm5-80gb").ridge())
        295

        Args:
            wanted: as for `arithmetic`.

        Raises:
            TypeError: if ``wanted`` is no text.
            ValueError: as for `arithmetic`.
        """
        return self.peak(wanted) / self.bandwidth_b_per_s


def _device(row: Mapping[str, Any]) -> Device:
    return Device(
        id=row["id"],
        name=row["name"],
        kind=row["kind"],
        year=row["year"],
        flops_per_s={short: 1e12 * row[column] for column, short in RATES.items() if row[column] is not None},
        bandwidth_b_per_s=1e9 * row["memory_bandwidth_gb_s"],
        memory_b=1e9 * row["memory_gb"],
        power_w=row["tdp_w"],
        confidence=row["confidence"],
    )


@lru_cache
def devices() -> Mapping[str, Device]:
    """Every chip of data/facts/accelerators.csv whose memory and bandwidth are known, by its name there."""
    rows = schema.rows("accelerators")
    complete = [row for row in rows if row["memory_gb"] and row["memory_bandwidth_gb_s"]]
    return MappingProxyType({str(row["id"]): _device(row) for row in complete})


def device(id: str) -> Device:
    """One chip by its name in data/facts.

    >>> h100 = device("h100-sxm5-80gb")
    >>> h100.bandwidth_b_per_s / 1e12, h100.power_w
    (3.35, 700.0)

    Args:
        id: a name of the table.

    Raises:
        TypeError: if ``id`` is no text.
        ValueError: if there is no such device; the message lists the nearest names.
    """
    if not isinstance(id, str):
        raise TypeError(f"id={id!r} is {type(id).__name__}: give a name such as 'h100-sxm5-80gb'")
    if id not in devices():
        raise unknown("device id", id, devices())
    return devices()[id]
