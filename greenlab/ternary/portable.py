"""The packed product as a plain loop: the reference that every faster kernel is compared with, for any processor.

Both functions have the interface of `codegen.module_for`'s ``rows``; numba compiles them when they are first asked for.
"""

from __future__ import annotations

import numpy as np
from numba import carray


def rows_2bit(packed, stride, width, n_rows, x, x_plane, x_stride, n_tokens, out, out_stride):  # type: ignore[no-untyped-def]
    """The sum of code times activation of every row and token: one shift, one mask and one multiply-add a weight."""
    data = carray(packed, (n_rows * stride,))
    inputs, sums = carray(x, (n_tokens * x_stride,)), carray(out, (n_tokens * out_stride // 4,))
    wide = np.empty(x_stride, np.int16)
    for t in range(n_tokens):
        wide[:] = inputs[t * x_stride : (t + 1) * x_stride]
        for r in range(n_rows):
            row, total = data[r * stride : (r + 1) * stride], np.int32(0)
            x0, x1, x2, x3 = wide[:x_plane], wide[x_plane:], wide[2 * x_plane :], wide[3 * x_plane :]
            for j in range(stride):  # int16 factors, int32 sum: compilers know this shape on every processor
                byte = row[j]
                total += np.int32(np.int16(byte & np.uint8(3))) * np.int32(x0[j])
                total += np.int32(np.int16((byte >> np.uint8(2)) & np.uint8(3))) * np.int32(x1[j])
                total += np.int32(np.int16((byte >> np.uint8(4)) & np.uint8(3))) * np.int32(x2[j])
                total += np.int32(np.int16((byte >> np.uint8(6)) & np.uint8(3))) * np.int32(x3[j])
            sums[t * (out_stride // 4) + r] = total


def rows_base3(packed, stride, width, n_rows, x, x_plane, x_stride, n_tokens, out, out_stride):  # type: ignore[no-untyped-def]
    """The same for five weights a byte, one digit of all bytes after the other."""
    data = carray(packed, (n_rows * stride,))
    inputs, sums = carray(x, (n_tokens * x_stride,)), carray(out, (n_tokens * out_stride // 4,))
    wide = np.empty(x_stride, np.int16)
    for t in range(n_tokens):
        wide[:] = inputs[t * x_stride : (t + 1) * x_stride]
        for r in range(n_rows):
            row, total = data[r * stride : (r + 1) * stride], np.int32(0)
            for s in range(5):  # byte * 3^s modulo 256 brings digit s to the top, times 3 above it
                power, plane = np.uint8(3**s), wide[s * x_plane : s * x_plane + stride]
                for j in range(stride):
                    top = np.uint8(row[j] * power)
                    total += np.int32((np.int16(top) * np.int16(3)) >> np.int16(8)) * np.int32(plane[j])
            sums[t * (out_stride // 4) + r] = total


ROWS = {"2bit": rows_2bit, "base3": rows_base3}
