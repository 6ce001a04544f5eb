"""Weights of four and of eight bits in groups of 32, as the reader's browser gets them.

These are the two formats in which the weights of this book's SmolLM2 were published (ggml's Q4_1 and Q8_0;
https://github.com/ggml-org/ggml, ggml-quants.c). The book computes with the same numbers written out as float32. To
bring them back to four bits therefore loses nothing; another model would lose what rounding takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from greenlab.core import checks

GROUP = 32
FOUR_BITS = 15  # the largest of the sixteen values
EIGHT_BITS = 127
SIXTEEN_BITS = 32767
LARGEST = float(np.finfo(np.float16).max)  # a scale and a minimum are stored as float16


@dataclass(frozen=True)
class Quantized:
    """A matrix ``(rows, columns)`` in groups of 32 weights along its rows: a weight is ``scale * q + minimum``.

    Attributes:
        quants: ``(rows, columns)``, whole numbers: uint8 from 0 to 15, or int8 from -127 to 127.
        scale: float16 ``(rows, columns / 32)``.
        minimum: float16, shaped like ``scale``; None where weights of eight bits have none.
    """

    quants: NDArray[Any]
    scale: NDArray[np.float16]
    minimum: NDArray[np.float16] | None

    def dequantized(self) -> NDArray[np.float32]:
        """Return the weights, float32 ``(rows, columns)``."""
        rows, columns = self.quants.shape
        groups = self.quants.reshape(rows, columns // GROUP, GROUP).astype(np.float32)
        weight = groups * self.scale[..., None].astype(np.float32)
        if self.minimum is not None:
            weight = weight + self.minimum[..., None].astype(np.float32)
        return weight.reshape(rows, columns)


def quantize_4bit(weight: NDArray[Any]) -> Quantized:
    """Round a matrix to sixteen values a group: its smallest weight is the first, its largest the last.

    ``minimum = min(w)``, ``scale = (max(w) - min(w)) / 15``, both as float16; ``q = round((w - minimum) / scale)``.

    Args:
        weight: ``(rows, columns)``; the columns are a multiple of 32.

    Raises:
        TypeError: if ``weight`` is no array of numbers.
        ValueError: if it is no matrix of groups, or holds what is not finite or too large for float16.

    >>> first = quantize_4bit(np.linspace(-1.5, 1.5, 16).repeat(2)[None])
    >>> first.quants[0, ::4].tolist(), first.scale.tolist(), first.minimum.tolist()
    ([0, 2, 4, 6, 8, 10, 12, 14], [[0.199951171875]], [[-1.5]])
    """
    groups = _groups(weight)
    low = groups.min(axis=-1)
    scale = ((groups.max(axis=-1) - low) / np.float32(FOUR_BITS)).astype(np.float16)
    minimum = low.astype(np.float16)
    quants = _steps(groups - minimum[..., None].astype(np.float32), scale, 0, FOUR_BITS).astype(np.uint8)
    return Quantized(quants.reshape(len(groups), -1), scale, minimum)


def quantize_8bit(weight: NDArray[Any]) -> Quantized:
    """Round a matrix to the values ``-127 s`` to ``127 s`` of each group, where ``s = max|w| / 127`` as float16.

    Args:
        weight: ``(rows, columns)``; the columns are a multiple of 32.

    Raises:
        TypeError: if ``weight`` is no array of numbers.
        ValueError: if it is no matrix of groups, or holds what is not finite or too large for float16.

    >>> quantize_8bit(np.array([[-127.0, 64.0, *[0.0] * 30]])).quants[0, :3].tolist()
    [-127, 64, 0]
    """
    groups = _groups(weight)
    scale = (np.abs(groups).max(axis=-1) / np.float32(EIGHT_BITS)).astype(np.float16)
    quants = _steps(groups, scale, -EIGHT_BITS, EIGHT_BITS).astype(np.int8)
    return Quantized(quants.reshape(len(groups), -1), scale, None)


def pack_4bit(quants: NDArray[Any]) -> NDArray[np.uint8]:
    """Put two weights into a byte: byte ``j`` of a group holds weight ``j`` low and weight ``j + 16`` high.

    Args:
        quants: ``(rows, columns)`` of `quantize_4bit`, whole numbers from 0 to 15.

    Returns:
        uint8 ``(rows, columns / 2)``.

    Raises:
        TypeError: if ``quants`` is no array of whole numbers.
        ValueError: if it is no matrix of groups, or a number is out of range.

    >>> pack_4bit(np.arange(32)[None] % 16)[0, :3].tolist()  # 0 and 0, 1 and 1, 2 and 2
    [0, 17, 34]
    """
    if not isinstance(quants, np.ndarray) or quants.dtype.kind not in "iu":
        raise TypeError(f"quants is {_kind(quants)}: give a NumPy array of whole numbers, such as quantize_4bit gives")
    _check_shape("quants", quants)
    if quants.min() < 0 or quants.max() > FOUR_BITS:
        raise ValueError(f"quants holds numbers from {quants.min()} to {quants.max()}: four bits hold 0 to {FOUR_BITS}")
    halves = quants.astype(np.uint8).reshape(len(quants), -1, 2, GROUP // 2)
    return (halves[:, :, 0] | halves[:, :, 1] << 4).reshape(len(quants), -1)  # type: ignore[return-value]  # is uint8


def round_vectors(x: NDArray[Any]) -> NDArray[np.float32]:
    """Return vectors as the browser multiplies them: rounded to 16 bits in groups of 32, each with its own scale.

    ``s = max|x| / 32767``; ``x ≈ s * floor(x / s + 1/2)``. The relative error of a group's largest element is at most
    1 in 65,534.

    Args:
        x: ``(rows, columns)``; the columns are a multiple of 32.

    Raises:
        TypeError: if ``x`` is no array of numbers.
        ValueError: if it is no matrix of groups, or holds what is not finite or too large for float16.

    >>> round_vectors(np.array([[32767.0, 0.4, 0.6, *[0.0] * 29]]))[0, :3].tolist()
    [32767.0, 0.0, 1.0]
    """
    groups = _groups(x, "x").astype(np.float64)
    scale = np.abs(groups).max(axis=-1, keepdims=True) / SIXTEEN_BITS
    rounded = scale * np.floor(groups / np.where(scale > 0, scale, 1) + 0.5)
    return rounded.reshape(len(groups), -1).astype(np.float32)


def _steps(values: NDArray[np.float32], scale: NDArray[np.float16], low: int, high: int) -> NDArray[np.float32]:
    """How many steps of its group's scale each value is; 0 in a group whose scale is 0."""
    step = scale[..., None].astype(np.float32)
    return np.clip(np.rint(values / np.where(step > 0, step, np.inf)), low, high)


def _groups(weight: Any, name: str = "weight") -> NDArray[np.float32]:
    """The matrix as float32 ``(rows, groups, 32)``, checked."""
    if not isinstance(weight, np.ndarray) or weight.dtype.kind not in "iuf":
        raise TypeError(f"{name} is {_kind(weight)}: give a NumPy array of numbers")
    _check_shape(name, weight)
    checks.numbers(name, weight, low=-LARGEST, high=LARGEST)
    return weight.astype(np.float32).reshape(len(weight), -1, GROUP)


def _check_shape(name: str, value: NDArray[Any]) -> None:
    if value.ndim != 2 or value.size == 0 or value.shape[1] % GROUP:
        raise ValueError(f"{name} has the shape {value.shape}: give rows whose length is a multiple of {GROUP}")


def _kind(value: Any) -> str:
    return f"an array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
