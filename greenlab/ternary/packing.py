"""Ternary weights packed into bytes: four to a byte (2.0 bits each), or five (1.6 bits, base 3).

Three values carry log2(3) = 1.585 bits at most, and no whole number of them fits a byte better than five: 3^5 = 243 of
256. Both layouts store ``w + 1``, so 0, 1 or 2, in planes: with ``L`` bytes a row, byte ``j`` holds the weights ``j``,
``j + L``, ``j + 2 L``, ... A processor then takes any number of neighbouring bytes apart with the same few
instructions, and finds the activations that belong to a plane side by side.

A file of packed matrices is a safetensors file. Its metadata say what each matrix is, and hold a SHA-256 of every
tensor and one of all metadata, so that a file that was cut, altered or put together from two others is refused.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from greenlab.core import checks

PLANES = {"2bit": 4, "base3": 5}  # weights a byte
LAYOUTS = tuple(PLANES)
K_MAX = 2**20  # at int8 activations 2 * 128 * K stays within the kernels' int32 sums, four-fold scale included
FORMAT = "2"  # of the files; 1 had no checksums
_OURS = "greenlab."  # metadata that speak of the whole file start with it
_BASE3_CODES = np.zeros(256, bool)
_BASE3_CODES[-(-np.arange(243) * 256 // 243)] = True  # the bytes that five ternary weights can give


@dataclass(frozen=True, eq=False)
class PackedTernary:
    """A packed ternary matrix ``(N, K)`` and its scale: the weight is ``q * gamma``.

    Attributes:
        data: uint8 ``(N, L)``, contiguous.
        n_columns: K; ``L = ceil(K / 4)`` or ``ceil(K / 5)``.
        gamma: the scale of the whole matrix, above 0.
        layout: ``"2bit"`` or ``"base3"``.

    Raises:
        TypeError: if a field is of another type.
        ValueError: if the sizes do not belong together, a byte holds a code that no ternary weight has, or the scale is
            not finite and above 0.
    """

    data: NDArray[np.uint8]
    n_columns: int
    gamma: float
    layout: str = "2bit"

    def __post_init__(self) -> None:
        width = bytes_a_row(self.n_columns, self.layout)
        data = self.data
        if not isinstance(data, np.ndarray):
            raise TypeError(f"data is {type(data).__name__}: expected a uint8 array (N, L); make one with pack(weight)")
        if data.ndim != 2 or data.dtype != np.uint8 or not len(data):
            what = f"data is {data.dtype} {data.shape}"
            raise ValueError(f"{what}: expected uint8 (N, L) with at least one row; make one with pack(weight)")
        if data.shape[1] != width:
            what = f"data has {data.shape[1]} bytes a row for n_columns={self.n_columns}"
            raise ValueError(f"{what}: {self.layout} needs {width}; pack the matrix again")
        gamma = checks.number("gamma", self.gamma, above=0, remedy="it is the mean magnitude of the weights")
        data = np.ascontiguousarray(data)
        _check_codes(data, self.layout)
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "gamma", gamma)

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, K)``."""
        return self.data.shape[0], self.n_columns

    @property
    def bits_per_weight(self) -> float:
        """Bits stored for each weight, the padding of the last byte of a row included."""
        return 8 * self.data.size / (self.data.shape[0] * self.n_columns)


def bytes_a_row(n_columns: int, layout: str) -> int:
    """Bytes that a row of ``n_columns`` weights takes, L.

    >>> bytes_a_row(10, "2bit"), bytes_a_row(10, "base3")
    (3, 2)

    Raises:
        TypeError: if ``n_columns`` is no integer, or ``layout`` no text.
        ValueError: if ``n_columns`` is not 1 to 2^20, or the layout is not known.
    """
    checks.one_of("layout", layout, LAYOUTS)
    return -(-checks.integer("n_columns", n_columns, low=1, high=K_MAX) // PLANES[layout])


def _check_codes(data: NDArray[np.uint8], layout: str) -> None:
    """Refuse bytes that do not come from ternary weights: the two-bit code 3, or a byte that no five weights give."""
    bad = (data & (data >> 1) & 0x55).astype(bool) if layout == "2bit" else ~_BASE3_CODES[data]
    if bad.any():
        row, column = (int(i) for i in np.argwhere(bad)[0])
        meaning = "one of its weights would be +2" if layout == "2bit" else "no five ternary weights give it"
        raise ValueError(f"data[{row}, {column}]={int(data[row, column]):#04x} is not {layout}: {meaning}; pack again")


def pack(q: Tensor, gamma: float | Tensor = 1.0, layout: str = "2bit") -> PackedTernary:
    """Pack ternary values ``(N, K)``, such as `quantize.absmean_quantize` gives, without loss.

    >>> packed = pack(torch.tensor([[1.0, 0.0, -1.0, 1.0, -1.0]]), layout="base3")
    >>> packed.data.tolist(), unpack(packed).tolist()  # round up 256 / 243 of 2 * 81 + 1 * 27 + 0 * 9 + 2 * 3 + 0
    ([[206]], [[1, 0, -1, 1, -1]])

    Args:
        q: ``(N, K)`` of any dtype, values -1, 0 and 1 only.
        gamma: the scale, above 0.
        layout: ``"2bit"`` for speed, ``"base3"`` for size.

    Raises:
        TypeError: if ``q`` is no tensor, ``gamma`` no number, or ``layout`` no text.
        ValueError: if a value is not ternary, ``q`` is not a matrix, K is beyond 2^20, or the scale is not above 0.
    """
    checks.one_of("layout", layout, LAYOUTS)
    if not isinstance(q, Tensor) or q.is_complex():
        kind = q.dtype if isinstance(q, Tensor) else type(q).__name__
        raise TypeError(
            f"q is {kind}: give a tensor of real numbers, such as the first result of absmean_quantize(weight)"
        )
    if isinstance(gamma, Tensor):
        if gamma.numel() != 1:
            raise ValueError(f"gamma has the shape {tuple(gamma.shape)}: give one scale for the whole matrix")
        gamma = gamma.item()
    planes = PLANES[layout]
    if q.ndim != 2 or q.numel() == 0 or q.shape[1] > K_MAX:
        raise ValueError(f"q has shape {tuple(q.shape)}: expected (N, K), both 1 or more and K at most {K_MAX:,}")
    q = q.detach().cpu()
    small = q.to(torch.int8)
    bad = (small != q) | (small < -1) | (small > 1)  # NaN equals nothing
    if bad.any():
        row, column = bad.nonzero()[0].tolist()
        value = float(q[row, column])
        what = f"q[{row}, {column}]={value:g}: expected -1, 0 or 1"
        raise ValueError(f"{what}; call absmean_quantize(weight) first and pack its first result")
    rows, columns = q.shape
    width = bytes_a_row(columns, layout)
    padded = np.zeros((rows, planes * width), np.uint8)
    padded[:, :columns] = small.numpy() + np.int8(1)
    in_planes = padded.reshape(rows, planes, width)
    data: Any = np.zeros((rows, width), np.uint8)
    for s in range(planes):
        data = data | (in_planes[:, s] << np.uint8(2 * s)) if layout == "2bit" else 3 * data + in_planes[:, s]
    if layout == "base3":
        # ceil(number * 256 / 243): the digits then come out by multiplying with 3, most significant first
        data = (data.astype(np.uint32) * 256 + 242) // 243
    return PackedTernary(np.asarray(data).astype(np.uint8), columns, gamma, layout)


def unpack(packed: PackedTernary) -> Tensor:
    """The ternary values again, int8 ``(N, K)``.

    Raises:
        TypeError: if ``packed`` is no `PackedTernary`.
    """
    if not isinstance(packed, PackedTernary):
        raise TypeError(f"packed is {type(packed).__name__}: give what pack(q, gamma) returned")
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
    """Write packed matrices, any other tensors and a note to one safetensors file.

    The file appears whole or not at all: it is written beside its place first.

    Args:
        matrices: packed matrices by name.
        path: of the file; what stands there is replaced.
        others: tensors of any dtype by name.
        note: any text.

    Raises:
        TypeError: if ``path`` is no path, or a value is no matrix, no tensor or no text.
        ValueError: if a name is used twice or starts with "greenlab.", or the file cannot be written.
    """
    place = _path(path)
    if not isinstance(matrices, Mapping):
        raise TypeError(f"matrices is {type(matrices).__name__}: give a dict of packed matrices by name")
    if others is not None and not isinstance(others, Mapping):
        raise TypeError(f"others is {type(others).__name__}: give a dict of tensors by name, or None")
    others = dict(others or {})
    if not isinstance(note, str):
        raise TypeError(f"note is {type(note).__name__}: give text")
    tensors: dict[str, Tensor] = {}
    about: dict[str, dict[str, Any]] = {}
    for name in (*matrices, *others):
        checks.text("matrices or others", name, remedy="as the name of each tensor")
    for name, packed in matrices.items():
        if not isinstance(packed, PackedTernary):
            raise TypeError(f"matrices[{name!r}] is {type(packed).__name__}: give what pack(q, gamma) returned")
        tensors[name] = torch.from_numpy(packed.data).clone()  # safetensors refuses tensors that share memory
        about[name] = {"layout": packed.layout, "n_columns": packed.n_columns, "gamma": packed.gamma}
    for name, tensor in others.items():
        if not isinstance(tensor, Tensor):
            raise TypeError(f"others[{name!r}] is {type(tensor).__name__}: give a tensor")
        if name in matrices:
            raise ValueError(f"others[{name!r}] has the name of a packed matrix: give each tensor a name of its own")
        tensors[name] = tensor.detach().cpu().contiguous().clone()
        about[name] = {}
    for name in tensors:
        if name.startswith(_OURS):
            raise ValueError(
                f"name {name!r} starts with {_OURS!r}, which is kept for the file itself: give another name"
            )
    metadata = {
        name: json.dumps(entry | {"sha256": _sha256(name, entry, tensors[name])}) for name, entry in about.items()
    }
    metadata |= {f"{_OURS}format": FORMAT, f"{_OURS}note": note, f"{_OURS}contents": json.dumps(sorted(tensors))}
    metadata[f"{_OURS}sha256"] = _sha256_of_metadata(metadata)
    partial = place.with_name(f".{place.name}-{uuid.uuid4().hex[:8]}")
    try:
        partial.write_bytes(
            save(tensors, metadata=metadata)
        )  # safetensors' own save_file closes the file to other users
        os.replace(partial, place)
    except OSError as error:
        with contextlib.suppress(OSError):  # where the folder is a file
            partial.unlink(missing_ok=True)
        what = f"path={str(path)!r} cannot be written ({error})"
        raise ValueError(f"{what}: give a file in a folder that exists and that you may write to") from error


def load_packed(path: str | Path) -> tuple[dict[str, PackedTernary], dict[str, Tensor], str]:
    """Read what `save_packed` wrote, and refuse anything else.

    Returns:
        The packed matrices by name, the other tensors by name, and the note.

    Raises:
        TypeError: if ``path`` is no path.
        ValueError: if there is no such file, or it is damaged, altered, or not written by `save_packed`; the message
            names the file and the first matrix that is wrong.
    """
    place = _path(path)
    if not place.is_file():
        raise ValueError(f"path={str(path)!r} is no file: give one that save_packed or save_model wrote")
    try:
        with safe_open(str(place), framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"path={str(path)!r} cannot be read as a safetensors file ({error}): write it again"
        ) from error
    try:
        return _taken_apart(tensors, metadata)
    except ValueError as error:
        raise ValueError(f"path={str(path)!r} is damaged or was altered: {error}") from error


def _taken_apart(
    tensors: dict[str, Tensor], metadata: dict[str, str]
) -> tuple[dict[str, PackedTernary], dict[str, Tensor], str]:
    """Matrices, other tensors and the note, each checked against the metadata."""
    if metadata.get(f"{_OURS}format") != FORMAT:
        found = metadata.get(f"{_OURS}format", "none")
        raise ValueError(f"its format is {found}, expected {FORMAT}; save the model again with this version")
    try:
        contents = set(json.loads(metadata[f"{_OURS}contents"]))
    except (KeyError, TypeError, ValueError):
        raise ValueError("its list of contents cannot be read") from None
    listed = {name for name in metadata if not name.startswith(_OURS)}
    for name in sorted(contents):
        if name not in tensors or name not in listed:
            raise ValueError(f"the tensor {name!r} is missing")
    for name in sorted(listed | set(tensors)):
        if name not in contents:
            raise ValueError(f"the tensor {name!r} is not in its list of contents")
    matrices, others = {}, {}
    for name in sorted(contents):
        tensor = tensors[name]
        try:
            entry = dict(json.loads(metadata[name]))
            checksum = entry.pop("sha256")
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"what it says of {name!r} cannot be read") from None
        if entry:
            try:
                matrices[name] = PackedTernary(tensor.numpy(), **entry)
            except (TypeError, ValueError) as error:
                raise ValueError(f"the matrix {name!r} is wrong: {error}") from None
        else:
            others[name] = tensor
        if _sha256(name, entry, tensor) != checksum:
            raise ValueError(f"the bytes, name or scale of {name!r} do not have the checksum that was stored with them")
    if _sha256_of_metadata(metadata) != metadata.get(f"{_OURS}sha256"):
        raise ValueError(
            "its settings (the note or the list of contents) do not have the checksum that was stored with them"
        )
    return matrices, others, metadata.get(f"{_OURS}note", "")


def _path(path: str | Path) -> Path:
    if not isinstance(path, str | os.PathLike) or not str(path):
        raise TypeError(f"path={path!r} is {type(path).__name__}: give the path of a file")
    if "\0" in str(path):
        raise ValueError(f"path={path!r} holds a NUL: give the path of a file")
    return Path(path)


def _sha256(name: str, entry: Mapping[str, Any], tensor: Tensor) -> str:
    """128 bits of a tensor's SHA-256, with its name and what the metadata say of it."""
    head = [name, sorted(entry.items()), str(tensor.dtype), list(tensor.shape)]
    digest = hashlib.sha256(json.dumps(head).encode())
    digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:32]


def _sha256_of_metadata(metadata: Mapping[str, str]) -> str:
    entries = sorted((name, text) for name, text in metadata.items() if name != f"{_OURS}sha256")
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:32]
