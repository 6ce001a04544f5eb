"""The product of packed ternary weights with 8-bit activations, bit-exact: the fastest way that this processor has.

`portable` is the reference: a loop that you can read, compiled by numba for any processor. ``vnni``, ``avx2`` and
``neon`` are `codegen`'s, chosen at run time by the processor's features. Nothing is simulated: no float weight exists.

Shapes in the comments: T tokens, K columns of the weights, N rows, L packed bytes a row.
"""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba import prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from greenlab.core import checks
from greenlab.core.compiled import cfunc, njit, start_threads, threads_lost
from greenlab.ternary import codegen, portable
from greenlab.ternary.packing import LAYOUTS, PLANES, PackedTernary
from greenlab.ternary.quantize import EPS, INT8_MAX

SERIAL_BELOW = 3_000_000  # multiply-adds: below, waking a second thread costs more than it saves
ROWS_A_PART = 64  # rows that a thread takes at a time
FLOAT32_MAX = np.finfo(np.float32).max
WITHOUT_SIGN, INFINITE = np.int32(0x7FFFFFFF), np.int32(0x7F800000)  # bits of a float32
_FLOAT32 = np.dtype(np.float32)
_UINT8 = np.dtype(np.uint8)
NOT_FINITE = (
    "x holds NaN or infinite activations (or some beyond 1e19), which have no 8-bit value: "
    "look for them one layer earlier"
)
_in_use = threading.Lock()
_ROWS = types.void(
    types.CPointer(types.uint8),
    *[types.int64] * 3,
    types.CPointer(types.int8),
    *[types.int64] * 3,
    types.CPointer(types.int32),
    types.int64,
)


@intrinsic
def _call_rows(typing_context: Any, function: Any, arguments: Any) -> Any:
    """Call ``rows`` at an address, so that one compiled driver serves every kernel."""
    signature = types.void(types.intp, arguments)

    def generate(context, builder, signature, values):  # type: ignore[no-untyped-def]
        address, packed_values = values
        ir = codegen.ir
        pointer, i64 = ir.IntType(8).as_pointer(), ir.IntType(64)
        kinds = [pointer, i64, i64, i64, pointer, i64, i64, i64, pointer, i64]
        function = builder.inttoptr(address, ir.FunctionType(ir.VoidType(), kinds).as_pointer())
        whole = cgutils.unpack_tuple(builder, packed_values)
        builder.call(
            function, [builder.inttoptr(v, k) if k is pointer else v for v, k in zip(whole, kinds, strict=True)]
        )
        return context.get_dummy_value()

    return signature, generate


@njit(nogil=True, cache=True)
def _arrange(q, width, x, sums):  # type: ignore[no-untyped-def]
    """Lay int8 activations ``(T, K)`` out in planes ``(T, planes, padded)``; their sums undo the +1 of the codes."""
    tokens, columns = q.shape
    for t in range(tokens):
        total = np.int32(0)
        for s in range(x.shape[1]):
            first = s * width
            for j in range(max(0, min(width, columns - first))):
                x[t, s, j] = q[t, first + j]
                total += np.int32(q[t, first + j])
        sums[t] = total


@njit(nogil=True, cache=True, fastmath={"reassoc", "nsz"})
def _quantize(x, norm, eps, q, scales):  # type: ignore[no-untyped-def]
    """Normalize (where ``norm`` is not empty) and round float tokens ``(T, K)`` to int8; False if one is not finite."""
    tokens, columns = x.shape
    row = np.empty(columns, np.float32)
    bits = row.view(np.int32)
    found = np.empty(1, np.int32)
    for t in range(tokens):
        squares = np.float32(0)
        for k in range(columns):
            row[k] = x[t, k]
            squares += row[k] * row[k]
        if len(norm):
            if not squares <= FLOAT32_MAX:  # NaN or infinite, or it was beyond 1.8e19; isfinite would be folded away
                return False
            factor = np.float32(1) / np.sqrt(squares / np.float32(columns) + eps)
            for k in range(columns):
                row[k] *= factor * norm[k]
        # Without their sign bit, floats are ordered as the integers of the same bits, and NaN is above infinity. The
        # largest integer takes a quarter of the time of the largest float, as LLVM compares 16 of them at once.
        largest_bits = np.int32(0)
        for k in range(columns):
            size = np.int32(bits[k] & WITHOUT_SIGN)
            largest_bits = size if size > largest_bits else largest_bits
        if largest_bits >= INFINITE:
            return False
        found[0] = largest_bits
        largest = max(np.float32(EPS), found.view(np.float32)[0])
        factor = np.float32(INT8_MAX) / largest
        for k in range(columns):
            q[t, k] = np.int8(np.rint(row[k] * factor))
        scales[t] = largest / np.float32(INT8_MAX)
    return True


@njit(nogil=True, cache=True)
def _rows(start, stop, rows, data, tail, tail_rows, x, sums, out):  # type: ignore[no-untyped-def]
    """Rows ``start`` to ``stop`` of the product, for all tokens: int32 ``out`` ``(T, N)``.

    The last ``tail_rows`` rows are read from ``tail``, their copy with zeros behind it: a vector may reach past the end
    of a row, and behind the last row there is no memory that is ours.
    """
    tokens, planes, padded = x.shape
    n_rows, stride = data.shape
    middle = max(start, min(stop, n_rows - tail_rows))
    if middle > start:
        _call_rows(
            rows,
            (  # type: ignore[call-arg]
                data.ctypes.data + start * stride,
                stride,
                padded,
                middle - start,
                x.ctypes.data,
                padded,
                planes * padded,
                tokens,
                out.ctypes.data + 4 * start,
                4 * out.shape[1],
            ),
        )
    if stop > middle:
        first = middle - (n_rows - tail_rows)
        _call_rows(
            rows,
            (  # type: ignore[call-arg]
                tail.ctypes.data + first * stride,
                stride,
                padded,
                stop - middle,
                x.ctypes.data,
                padded,
                planes * padded,
                tokens,
                out.ctypes.data + 4 * middle,
                4 * out.shape[1],
            ),
        )
    for t in range(tokens):
        for r in range(start, stop):
            out[t, r] -= sums[t]


@njit(nogil=True, cache=True, parallel=True)
def _parallel(rows, data, tail, tail_rows, x, sums, out):  # type: ignore[no-untyped-def]
    parts = (data.shape[0] + ROWS_A_PART - 1) // ROWS_A_PART
    for part in prange(parts):
        start = part * ROWS_A_PART
        _rows(start, min(start + ROWS_A_PART, data.shape[0]), rows, data, tail, tail_rows, x, sums, out)


@njit(nogil=True, cache=True)
def _integers(q, rows, data, planes, vector_bytes, parallel, out):  # type: ignore[no-untyped-def]
    """int32 ``(T, N)`` from int8 ``(T, K)``."""
    n_rows, width = data.shape
    padded = (width + vector_bytes - 1) // vector_bytes * vector_bytes
    x, sums = np.zeros((q.shape[0], planes, padded), np.int8), np.empty(q.shape[0], np.int32)
    _arrange(q, width, x, sums)
    tail_rows = min(n_rows, (padded + width - 1) // width - 1)  # rows whose last vector reaches past the matrix
    tail = np.zeros(0, np.uint8)
    if tail_rows:
        tail = np.zeros(tail_rows * width + padded, np.uint8)
        for r in range(tail_rows):
            for j in range(width):
                tail[r * width + j] = data[n_rows - tail_rows + r, j]
    if parallel:
        _parallel(rows, data, tail, tail_rows, x, sums, out)
    else:
        _rows(0, n_rows, rows, data, tail, tail_rows, x, sums, out)


@njit(nogil=True, cache=True)
def _floats(values, norm, eps, rows, data, planes, vector_bytes, parallel, gamma, bias, out):  # type: ignore[no-untyped-def]
    """float32 ``(T, N)`` from float32 ``(T, K)``; False if an activation is not finite."""
    q, scales = np.empty(values.shape, np.int8), np.empty(len(values), np.float32)
    if not _quantize(values, norm, eps, q, scales):
        return False
    integers = np.empty(out.shape, np.int32)
    _integers(q, rows, data, planes, vector_bytes, parallel, integers)
    for t in range(len(values)):
        factor = scales[t] * gamma
        for r in range(out.shape[1]):
            out[t, r] = np.float32(integers[t, r]) * factor
            if len(bias):
                out[t, r] += bias[r]
    return True


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel: its name, how many bytes it takes at once, where its code is."""

    name: str
    vector_bytes: int
    address: int
    keep: Any = None  # LLVM frees the code with its engine


def names() -> list[str]:
    """The kernels that this processor can run, the fastest first; ``portable`` is always the last.

    >>> names()[-1]
    'portable'
    """
    return [*codegen.usable(), "portable"]


@functools.cache
def kernel(name: str | None = None, layout: str = "2bit") -> Kernel:
    """Compile a kernel once (a tenth of a second), by default the fastest.

    Args:
        name: one of `names`.
        layout: of the packed weights, ``"2bit"`` or ``"base3"``.

    Raises:
        TypeError: if the layout is no text.
        ValueError: if this processor cannot run the kernel, or the layout is not known.
    """
    checks.one_of("layout", layout, LAYOUTS)
    if name is None:
        return kernel(names()[0], layout)
    if name not in names():
        raise ValueError(f"kernel={name!r}: this processor runs {', '.join(names())}; leave it out for the fastest")
    start_threads()  # before anything is compiled that uses them
    if name == "portable":
        compiled = cfunc(_ROWS, portable.ROWS[layout])
        return Kernel(name, 1, int(compiled.address or 0), compiled)
    engine, address = codegen.compiled(name, layout)
    return Kernel(name, codegen.TARGETS[name].vector_bytes, address, engine)


def matmul(q: NDArray[np.int8], packed: PackedTernary, kernel_name: str | None = None) -> NDArray[np.int32]:
    """``q @ w.T`` exactly: int8 activations ``(T, K)`` and packed ternary weights ``(N, K)`` to int32 ``(T, N)``.

    Args:
        q: int8 ``(T, K)``; T may be 0.
        packed: the weights.
        kernel_name: one of `names`; the fastest by default.

    Raises:
        TypeError: if ``packed`` is no `PackedTernary`, or ``q`` no array.
        ValueError: if ``q`` is not int8, or its K is not that of the weights.
    """
    _check_packed(packed)
    if not isinstance(q, np.ndarray):
        raise TypeError(f"q is {type(q).__name__}: give a NumPy array, int8 (tokens, {packed.n_columns})")
    if q.dtype != np.int8 or q.ndim != 2 or q.shape[1] != packed.n_columns:
        what = f"q is {q.dtype} {q.shape}: expected int8 (tokens, {packed.n_columns})"
        raise ValueError(
            f"{what}, as packed has {packed.n_columns} columns; "
            "absmax_quantize(x)[0].to(torch.int8).numpy() makes such activations"
        )
    chosen = kernel(kernel_name, packed.layout)
    out = np.empty((len(q), packed.shape[0]), np.int32)
    parallel = _take_threads(q.size * packed.shape[0])
    try:
        _integers(
            np.ascontiguousarray(q),
            chosen.address,
            packed.data,
            PLANES[packed.layout],
            chosen.vector_bytes,
            parallel,
            out,
        )
    finally:
        if parallel:
            _in_use.release()
    return out


def linear(
    x: NDArray[np.float32],
    packed: PackedTernary,
    norm: NDArray[np.float32],
    bias: NDArray[np.float32],
    *,
    eps: float = 1e-5,
    kernel_name: str | None = None,
) -> NDArray[np.float32]:
    """What a ternary layer gives, in one call: normalize, round to int8, multiply, scale; ``(T, K)`` to ``(T, N)``.

    Args:
        x: float32 ``(T, K)``.
        packed: the weights.
        norm: SubLN's weights, float32 ``(K,)``, or empty for none.
        bias: float32 ``(N,)``, or empty for none.
        eps: of the norm, above 0.
        kernel_name: one of `names`; the fastest by default.

    Raises:
        TypeError: if ``packed`` is no `PackedTernary`, or another argument no array or number.
        ValueError: if an array has another shape or dtype, ``eps`` is not above 0, or an activation is NaN, infinite,
            or too large to be squared in float32.
    """
    _check_packed(packed)
    checks.number("eps", eps, above=0)
    for name, value in (("x", x), ("norm", norm), ("bias", bias)):
        if not isinstance(value, np.ndarray):
            raise TypeError(f"{name} is {type(value).__name__}: give a NumPy array of float32")
    return layer(x, packed.data, norm, bias, packed.n_columns, packed.layout, packed.gamma, eps, kernel_name)


def layer(
    x: NDArray[np.float32],
    data: NDArray[np.uint8],
    norm: NDArray[np.float32],
    bias: NDArray[np.float32],
    columns: int,
    layout: str,
    gamma: float,
    eps: float,
    kernel_name: str | None,
) -> NDArray[np.float32]:
    """`linear` for bytes ``(N, L)`` that are known to be a packed matrix: `PackedLinear` calls it for every product.

    It checks every length, as the compiled loops do not, and nothing else.

    Raises:
        ValueError: if an array has another shape or dtype, or an activation is NaN, infinite, or too large to be
            squared.
    """
    rows = len(data)
    for name, value, shape in (("x", x, (len(x), columns)), ("norm", norm, (columns,)), ("bias", bias, (rows,))):
        if value.dtype != _FLOAT32 or (value.shape != shape and (name == "x" or value.size)):
            raise ValueError(
                f"{name} is {value.dtype} {value.shape}: expected float32 {shape} for weights {(rows, columns)}"
            )
    if data.dtype != _UINT8 or data.shape != (rows, -(-columns // PLANES[layout])):
        raise ValueError(f"data is {data.dtype} {data.shape}: expected {layout} bytes of {(rows, columns)} weights")
    chosen = kernel(kernel_name, layout)
    out = np.empty((len(x), rows), np.float32)
    parallel = _take_threads(x.size * rows)
    try:
        fine = _floats(
            np.ascontiguousarray(x), np.ascontiguousarray(norm), np.float32(eps), chosen.address,
            np.ascontiguousarray(data), PLANES[layout], chosen.vector_bytes, parallel,
            np.float32(gamma), np.ascontiguousarray(bias), out,
        )  # fmt: skip
    finally:
        if parallel:
            _in_use.release()
    if not fine:
        raise ValueError(NOT_FINITE)
    return out


def _take_threads(multiply_adds: int) -> bool:
    """Whether a product of this size shares its rows out among threads.

    If it does, ``_in_use`` is held and must be released. One product at a time does, since numba's simplest threads end
    the process when two products use them at once; the others compute on their own thread. None does in a forked copy
    of this process, which has no threads.
    """
    if multiply_adds < SERIAL_BELOW or threads_lost() or numba.get_num_threads() == 1:
        return False
    return _in_use.acquire(blocking=False)


def _check_packed(packed: PackedTernary) -> None:
    if not isinstance(packed, PackedTernary):
        raise TypeError(f"packed is {type(packed).__name__}: give what pack(q, gamma) returned")
