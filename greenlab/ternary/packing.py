"""Ternary weights packed into bytes: four to a byte (2.0 bits each), or five (1.6 bits, base 3).

Three values carry log2(3) = 1.585 bits at most, and no whole number of them fits a byte better than five: 3^5 = 243 of 256.
Both layouts store ``w + 1``, so 0, 1 or 2, in planes: with ``L`` bytes a row, byte ``j`` holds the weights ``j``,
``j + L``, ``j + 2 L``, ... A processor then takes any number of neighbouring bytes apart with the same few instructions, and
finds the activations that belong to a plane side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

PLANES = {"2bit": 4, "base3": 5}  # weights a byte
K_MAX = 2**20  # at int8 activations 2 * 128 * K stays within the kernels' int32 sums, four-fold scale included
_NOTE = "greenlab.note"
SLACK_BYTES = 64  # a kernel may read (and ignore) up to one vector past the last row


@dataclass(frozen=True, eq=False)
class PackedTernary:
    """A packed ternary matrix ``(N, K)`` and its scale: the weight is ``q * gamma``.

    Attributes:
        data: uint8 ``(N, L)``, contiguous, with 64 readable bytes behind its end.
        n_columns: K; ``L = ceil(K / 4)`` or ``ceil(K / 5)``.
        gamma: the scale of the whole matrix.
        layout: ``"2bit"`` or ``"base3"``.
    """

    data: NDArray[np.uint8]
    n_columns: int
    gamma: float
    layout: str = "2bit"

    def __post_init__(self) -> None:
        planes, data = _planes(self.layout), self.data
        if data.ndim != 2 or data.dtype != np.uint8 or not 1 <= self.n_columns <= K_MAX:
            what = f"data {data.dtype} {data.shape} for n_columns={self.n_columns}"
            raise ValueError(f"{what}: expected uint8 (N, L) and 1 to {K_MAX:,} columns; make one with pack(weight)")
        if data.shape[1] != -(-self.n_columns // planes):
            what = f"data has {data.shape[1]} bytes a row for n_columns={self.n_columns}"
            raise ValueError(f"{what}: {self.layout} needs {-(-self.n_columns // planes)}; pack the matrix again")
        if not np.isfinite(self.gamma):
            raise ValueError(f"gamma={self.gamma}: expected a finite scale; the weights hold NaN or infinity")
        object.__setattr__(self, "data", _with_slack(data))

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, K)``."""
        return self.data.shape[0], self.n_columns

    @property
    def bits_per_weight(self) -> float:
        """Bits stored for each weight, the padding of the last byte of a row included."""
        return 8 * self.data.size / (self.data.shape[0] * self.n_columns)


def _planes(layout: str) -> int:
    if layout not in PLANES:
        raise ValueError(f"layout={layout!r}: expected one of {', '.join(PLANES)}")
    return PLANES[layout]


def _with_slack(data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    room = np.zeros(data.size + SLACK_BYTES, np.uint8)
    room[: data.size] = data.reshape(-1)
    return room[: data.size].reshape(data.shape)


def pack(q: Tensor, gamma: float | Tensor = 1.0, layout: str = "2bit") -> PackedTernary:
    """Pack ternary values ``(N, K)``, such as `quantize.absmean_quantize` gives, without loss.

    >>> packed = pack(torch.tensor([[1.0, 0.0, -1.0, 1.0, -1.0]]), layout="base3")
    >>> packed.data.tolist(), unpack(packed).tolist()  # round up 256 / 243 of 2 * 81 + 1 * 27 + 0 * 9 + 2 * 3 + 0
    ([[206]], [[1, 0, -1, 1, -1]])

    Args:
        q: ``(N, K)`` of any dtype, values -1, 0 and 1 only.
        gamma: the scale.
        layout: ``"2bit"`` for speed, ``"base3"`` for size.

    Raises:
        ValueError: if a value is not ternary, ``q`` is not a matrix, or K is beyond 2^20.
    """
    planes = _planes(layout)
    if q.ndim != 2 or q.numel() == 0 or q.shape[1] > K_MAX:
        raise ValueError(f"q has shape {tuple(q.shape)}: expected (N, K), both 1 or more and K at most {K_MAX:,}")
    q = q.detach().cpu()
    small = q.to(torch.int8)
    bad = (small != q) | (small.abs() > 1)  # NaN equals nothing
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        value = float(q[row, column])
        raise ValueError(
            f"q[{row}, {column}]={value:g}: expected -1, 0 or 1; call absmean_quantize(weight) first and pack its first result"
        )
    rows, columns = q.shape
    width = -(-columns // planes)
    padded = np.zeros((rows, planes * width), np.uint8)
    padded[:, :columns] = small.numpy() + np.int8(1)
    in_planes = padded.reshape(rows, planes, width)
    data: Any = np.zeros((rows, width), np.uint8)
    for s in range(planes):
        data = data | (in_planes[:, s] << np.uint8(2 * s)) if layout == "2bit" else 3 * data + in_planes[:, s]
    if (
        layout == "base3"
    ):  # ceil(number * 256 / 243): the digits then come out by multiplying with 3, most significant first
        data = (data.astype(np.uint32) * 256 + 242) // 243
    return PackedTernary(np.asarray(data).astype(np.uint8), columns, float(gamma), layout)


def unpack(packed: PackedTernary) -> Tensor:
    """The ternary values again, int8 ``(N, K)``."""
    planes = PLANES[packed.layout]
    digits: Any = packed.data.astype(np.uint16)
    codes = []
    for s in range(planes):
        if packed.layout == "2bit":
            codes.append((digits >> (2 * s)) & 3)
        else:
            digits = (digits & 255) * 3
            codes.append(digits >> 8)
    q = np.stack(codes, axis=1).reshape(len(digits), -1)[:, : packed.n_columns]
    return torch.from_numpy(q.astype(np.int8) - np.int8(1))


def save_packed(
    matrices: Mapping[str, PackedTernary],
    path: str | Path,
    others: Mapping[str, Tensor] | None = None,
    *,
    note: str = "",
) -> None:
    """Write packed matrices, any other tensors and a note to one safetensors file; what each matrix is goes into its metadata."""
    arrays: dict[str, NDArray] = {name: np.ascontiguousarray(packed.data) for name, packed in matrices.items()}
    about = {name: f"{p.layout} {p.n_columns} {p.gamma!r}" for name, p in matrices.items()}
    arrays |= {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in (others or {}).items()}
    save_file(arrays, str(path), metadata=about | ({_NOTE: note} if note else {}))


def load_packed(path: str | Path) -> tuple[dict[str, PackedTernary], dict[str, Tensor], str]:
    """What `save_packed` wrote: the packed matrices, the other tensors, the note.

    Raises:
        ValueError: if a matrix does not have the size that its metadata says.
    """
    matrices, others = {}, {}
    with safe_open(str(path), framework="numpy") as file:
        about = dict(file.metadata() or {})
        note = about.pop(_NOTE, "")
        for name in file.keys():  # noqa: SIM118 - not a dict
            if name in about:
                layout, n_columns, gamma = about[name].split()
                matrices[name] = PackedTernary(file.get_tensor(name), int(n_columns), float(gamma), layout)
            else:
                others[name] = torch.from_numpy(file.get_tensor(name))
    return matrices, others, note
