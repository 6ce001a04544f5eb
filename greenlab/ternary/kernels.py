"""The product of packed ternary weights with 8-bit activations, bit-exact: the fastest way that this processor has.

`portable` is the reference: a loop that you can read, compiled by numba for any processor. ``vnni``, ``avx2`` and ``neon`` are
`codegen`'s, chosen at run time by the processor's features. Nothing is simulated: no float weight exists.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba import cfunc, njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from greenlab.ternary import codegen, portable
from greenlab.ternary.packing import PLANES, PackedTernary

EPS, INT8_MAX = 1e-5, 127  # as in `quantize`
SERIAL_BELOW = 3_000_000  # multiply-adds: below, waking a second thread costs more than it saves
ROWS_A_PART = 64  # rows that a thread takes at a time
_ROWS = types.void(types.CPointer(types.uint8), *[types.int64] * 3, types.CPointer(types.int8), *[types.int64] * 3,
                   types.CPointer(types.int32), types.int64)  # fmt: skip


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
    for t in range(tokens):
        squares = np.float32(0)
        for k in range(columns):
            row[k] = x[t, k]
            squares += row[k] * row[k]
        if len(norm):
            factor = np.float32(1) / np.sqrt(squares / np.float32(columns) + eps)
            for k in range(columns):
                row[k] *= factor * norm[k]
        largest, check = np.float32(EPS), np.float32(0)
        for k in range(columns):
            size = abs(row[k])
            largest = size if size > largest else largest
            check += row[k] * np.float32(0)  # NaN as soon as one value is NaN or infinite
        if check != 0:  # NaN too is not 0
            return False
        factor = np.float32(INT8_MAX) / largest
        for k in range(columns):
            q[t, k] = np.int8(np.rint(row[k] * factor))
        scales[t] = largest / np.float32(INT8_MAX)
    return True


@njit(nogil=True, cache=True)
def _rows(start, stop, rows, data, x, sums, out):  # type: ignore[no-untyped-def]
    """Rows ``start`` to ``stop`` of the product, for all tokens: int32 ``out`` ``(T, N)``."""
    tokens, planes, padded = x.shape
    stride = data.shape[1]
    _call_rows(rows, (  # type: ignore[call-arg]
        data.ctypes.data + start * stride, stride, padded, stop - start, x.ctypes.data, padded, planes * padded, tokens,
        out.ctypes.data + 4 * start, 4 * out.shape[1],
    ))  # fmt: skip
    for t in range(tokens):
        for r in range(start, stop):
            out[t, r] -= sums[t]


@njit(nogil=True, cache=True, parallel=True)
def _parallel(rows, data, x, sums, out):  # type: ignore[no-untyped-def]
    parts = (data.shape[0] + ROWS_A_PART - 1) // ROWS_A_PART
    for part in prange(parts):
        start = part * ROWS_A_PART
        _rows(start, min(start + ROWS_A_PART, data.shape[0]), rows, data, x, sums, out)


@njit(nogil=True, cache=True)
def _integers(q, rows, data, planes, vector_bytes, parallel, out):  # type: ignore[no-untyped-def]
    """int32 ``(T, N)`` from int8 ``(T, K)``."""
    width = data.shape[1]
    padded = (width + vector_bytes - 1) // vector_bytes * vector_bytes
    x, sums = np.zeros((q.shape[0], planes, padded), np.int8), np.empty(q.shape[0], np.int32)
    _arrange(q, width, x, sums)
    if parallel:
        _parallel(rows, data, x, sums, out)
    else:
        _rows(0, data.shape[0], rows, data, x, sums, out)


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

    Raises:
        ValueError: if this processor cannot run it.
    """
    if name is None:
        return kernel(names()[0], layout)
    if name not in names():
        raise ValueError(f"kernel={name!r}: this processor runs {', '.join(names())}; leave it out for the fastest")
    if name == "portable":
        compiled = cfunc(_ROWS, cache=True)(portable.ROWS[layout])
        return Kernel(name, 1, int(compiled.address or 0), compiled)
    engine, address = codegen.compiled(name, layout)
    return Kernel(name, codegen.TARGETS[name].vector_bytes, address, engine)


def set_num_threads(n: int) -> None:
    """Compute with ``n`` threads, at most as many as numba was started with."""
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(max(1, min(n, most)))


def matmul(q: NDArray[np.int8], packed: PackedTernary, kernel_name: str | None = None) -> NDArray[np.int32]:
    """``q @ w.T`` exactly: int8 activations ``(T, K)`` and packed ternary weights ``(N, K)`` to int32 ``(T, N)``.

    Raises:
        ValueError: if ``q`` is not int8, or its K is not that of the weights.
    """
    if q.dtype != np.int8 or q.ndim != 2 or q.shape[1] != packed.n_columns:
        raise ValueError(
            f"q is {q.dtype} {q.shape}: expected int8 (tokens, {packed.n_columns}), as packed has {packed.n_columns} columns; "
            "absmax_quantize(x)[0].to(torch.int8).numpy() makes such activations"
        )
    chosen, out = kernel(kernel_name, packed.layout), np.empty((len(q), packed.shape[0]), np.int32)
    parallel = _pays(len(q), packed)
    _integers(
        np.ascontiguousarray(q), chosen.address, packed.data, PLANES[packed.layout], chosen.vector_bytes, parallel, out
    )
    return out


def linear(
    x: NDArray[np.float32], packed: PackedTernary, norm: NDArray[np.float32], bias: NDArray[np.float32],
    *, eps: float = 1e-5, kernel_name: str | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """What a ternary layer gives, in one call: normalize, round to int8, multiply, scale; ``(T, K)`` to ``(T, N)``.

    Args:
        x: float32, contiguous.
        packed: the weights.
        norm: SubLN's weights ``(K,)``, or empty for none.
        bias: ``(N,)``, or empty for none.
        eps: of the norm.
        kernel_name: one of `names`; the fastest by default.

    Raises:
        ValueError: if an activation is NaN or infinite.
    """
    chosen, out = kernel(kernel_name, packed.layout), np.empty((len(x), packed.shape[0]), np.float32)
    fine = _floats(x, norm, np.float32(eps), chosen.address, packed.data, PLANES[packed.layout], chosen.vector_bytes,
                   _pays(len(x), packed), np.float32(packed.gamma), bias, out)  # fmt: skip
    if not fine:
        raise ValueError(
            "x holds NaN or infinite activations, which have no 8-bit value: look for them one layer earlier"
        )
    return out


def _pays(n_tokens: int, packed: PackedTernary) -> bool:
    return n_tokens * packed.shape[0] * packed.n_columns >= SERIAL_BELOW and numba.get_num_threads() > 1
