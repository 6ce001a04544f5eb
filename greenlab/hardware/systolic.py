"""The matrix unit of a TPU, cycle by cycle: a weight-stationary systolic array.

After H. T. Kung, "Why Systolic Architectures?", IEEE Computer 15(1) 1982, and N. Jouppi et al., arXiv:1704.04760,
section 2 and figure 4. Each cell keeps one weight. Activations enter at the left, row ``k`` one cycle later than row
``k - 1``, and move right; sums move down, each cell adding its product. No cell reads memory: a number that was read
once is used by a whole row. The simulation is exact; loading the weights is hidden behind the tile before, as the TPU's
second buffer does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from greenlab.core import checks
from greenlab.hardware.work import Number, as_number

MOST_STEPS = 50_000_000  # cells times cycles: the trace keeps each of them, 16 bytes apiece


@dataclass(frozen=True)
class Trace:
    """Everything that happened. ``C`` cycles, ``K x N`` cells, ``M`` rows of activations.

    Attributes:
        output: `(M, N)`, the product.
        row: `(C, K, N)`, which row of the activations a cell works on in a cycle; -1 where it waits.
        partial: `(C, K, N)`, the sum that leaves a cell at the end of a cycle; 0 where it waits.
    """

    output: NDArray[np.float64]
    row: NDArray[np.int64]
    partial: NDArray[np.float64]

    @property
    def cycles(self) -> int:
        """How many cycles passed until the last sum left the array."""
        return len(self.row)

    @property
    def utilisation(self) -> float:
        """Share of cell-cycles in which a cell multiplied."""
        return float((self.row >= 0).mean())


def simulate(activations: ArrayLike, weights: ArrayLike) -> Trace:
    """Push activations ``(M, K)`` through an array that holds weights ``(K, N)``.

    >>> trace = simulate([[1, 2], [3, 4]], [[5, 6], [7, 8]])
    >>> trace.output.tolist(), trace.cycles
    ([[19.0, 22.0], [43.0, 50.0]], 4)

    Args:
        activations: `(M, K)`, one row a time step.
        weights: `(K, N)`, one for each cell.

    Raises:
        TypeError: if an argument does not hold numbers.
        ValueError: if the shapes do not fit, a value is NaN or infinite, or the trace would not fit in memory.
    """
    a = checks.numbers("activations", activations, ndim=2)
    w = checks.numbers("weights", weights, ndim=2)
    if a.shape[1] != w.shape[0]:
        raise ValueError(f"activations {a.shape} and weights {w.shape}: expected (M, K) and (K, N), none of them empty")
    steps = (a.shape[0] + sum(w.shape) - 2) * w.size
    if steps > MOST_STEPS:
        raise ValueError(
            f"activations {a.shape} and weights {w.shape} take {steps:,} steps of a cell: give at most {MOST_STEPS:,}; "
            "cycles(...) counts larger products without simulating them"
        )
    (m, k), n = a.shape, w.shape[1]
    moving = np.zeros((k, n))  # the activation in each cell
    which = np.full((k, n), -1)  # the row that it belongs to
    down = np.zeros((k, n))  # the sum that leaves each cell
    output = np.zeros((m, n))
    rows, partials = [], []
    for cycle in range(m + k + n - 2):
        # every number moves one cell to the right
        moving[:, 1:] = moving[:, :-1].copy()
        which[:, 1:] = which[:, :-1].copy()
        entering = cycle - np.arange(k)  # row k of the array lags k cycles
        inside = (entering >= 0) & (entering < m)
        which[:, 0] = np.where(inside, entering, -1)
        moving[:, 0] = np.where(inside, a[entering.clip(0, m - 1), np.arange(k)], 0.0)
        from_above = np.vstack([np.zeros(n), down[:-1]])
        down = np.where(which >= 0, from_above + moving * w, 0.0)
        done = which[-1] >= 0  # the last row of cells gives finished sums
        output[which[-1][done], np.flatnonzero(done)] = down[-1][done]
        rows.append(which.copy())
        partials.append(down.copy())
    return Trace(output, np.array(rows), np.array(partials))


def cycles(m: ArrayLike, k: ArrayLike, n: ArrayLike, *, rows: int = 128, columns: int = 128) -> Number:
    """Cycles of a product `(M, K) x (K, N)` on a ``rows x columns`` array, tile after tile.

    >>> cycles(2, 2, 2, rows=2, columns=2)
    4

    Args:
        m: rows of activations, a whole number or an array.
        k: what is summed over; likewise.
        n: columns of weights; likewise.
        rows: of cells.
        columns: of cells.

    Raises:
        TypeError: if a size is no number.
        ValueError: if a size is no whole number from 1 up, or the shapes do not fit.
    """
    rows, columns = (
        checks.integer("rows", rows, low=1, high=2**30),
        checks.integer("columns", columns, low=1, high=2**30),
    )
    m, k, n = _sizes(m=m, k=k, n=n)
    total = np.asarray(np.ceil(k / rows) * np.ceil(n / columns) * (m + rows + columns - 2))
    return int(total) if total.ndim == 0 else total


def utilisation(m: ArrayLike, k: ArrayLike, n: ArrayLike, *, rows: int = 128, columns: int = 128) -> Number:
    """Share of the array's multiply-adds that a product `(M, K) x (K, N)` uses.

    >>> [round(utilisation(m, 128, 128), 3) for m in (1, 128, 4096)]
    [0.004, 0.335, 0.942]

    Args:
        m: rows of activations, a whole number or an array.
        k: what is summed over; likewise.
        n: columns of weights; likewise.
        rows: of cells.
        columns: of cells.

    Raises:
        TypeError: if a size is no number.
        ValueError: if a size is no whole number from 1 up, or the shapes do not fit.
    """
    taken = np.asarray(cycles(m, k, n, rows=rows, columns=columns), dtype=float) * rows * columns
    useful_m, useful_k, useful_n = _sizes(m=m, k=k, n=n)
    return as_number(useful_m * useful_k * useful_n / taken)


def _sizes(**sizes: ArrayLike) -> list[NDArray[np.float64]]:
    """The sizes of a product as arrays of float64, which no product can overflow."""
    found = []
    for name, value in sizes.items():
        size = checks.numbers(name, value, low=1, high=2**40, remedy="it counts rows or columns")
        if not (size == np.floor(size)).all():
            raise ValueError(f"{name}={value!r}: give a whole number at least 1, or an array of them")
        found.append(size)
    try:
        np.broadcast_shapes(*(size.shape for size in found))
    except ValueError:
        shapes = ", ".join(f"{name} {size.shape}" for name, size in zip(sizes, found, strict=True))
        raise ValueError(f"{shapes}: give numbers, or arrays of one shape") from None
    return found
