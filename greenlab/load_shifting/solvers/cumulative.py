"""Running sums of a signal: what a stretch of running costs is the difference of two of them.

Signals that decide are first rounded to a grid so fine (one part in 2^33 of the largest value) that it changes no
result, and so coarse that sums of a year of them are exact in float64. Equal choices then compare equal: nobody is sent
to another hour by a rounding error, and a flat signal shifts nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BITS = 33  # leaves 2^20 steps before a sum needs more than float64's 53 bits


@dataclass(frozen=True)
class Signal:
    """A signal per kWh ``(Z, T)`` and its running sum ``(Z, T + 1)``, which begins with 0."""

    values: np.ndarray
    sums: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, *, exact: bool = False) -> Signal:
        """Sum a signal up; ``exact`` rounds it first, so that equal sums are equal numbers.

        >>> Signal.of(np.array([[1.0, 2.0, 3.0]])).sums.tolist()
        [[0.0, 1.0, 3.0, 6.0]]
        """
        if exact and (top := np.abs(values).max(initial=0.0)) > 0:
            quantum = 2.0 ** (np.ceil(np.log2(top)) - BITS)
            values = np.rint(values / quantum) * quantum
        sums = np.zeros((values.shape[0], values.shape[1] + 1))
        np.cumsum(values, axis=1, out=sums[:, 1:])
        return cls(np.ascontiguousarray(values), sums)

    def at(self, zone: np.ndarray, point: np.ndarray) -> np.ndarray:
        """The running sum at a point, which may lie within a step."""
        point = np.minimum(point, self.values.shape[1])  # a sum of floats may end a rounding error after the traces
        whole = point.astype(np.int64)
        inside = point - whole
        result = self.sums[zone, whole]
        part = np.flatnonzero(inside > 0)
        if part.size:
            result[part] += inside[part] * self.values[zone[part], whole[part]]
        return result

    def between(self, zone: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """The signal summed from start to stop [steps], which may lie within steps."""
        return self.at(zone, stop) - self.at(zone, start)
