"""kernel.wat on its own, run by wasmtime: whole numbers against NumPy's, at their extremes too."""

from __future__ import annotations

import numpy as np
import pytest
import wasmtime

from greenlab.tab import assemble, pack_4bit
from greenlab.tab.files import KERNEL


class Kernel:
    """The two functions of the module, on arrays."""

    def __init__(self):
        engine = wasmtime.Engine()
        self.store = wasmtime.Store(engine)
        self.memory = wasmtime.Memory(self.store, wasmtime.MemoryType(wasmtime.Limits(64, None)))
        module = wasmtime.Module(engine, assemble(KERNEL))
        self.exports = wasmtime.Instance(self.store, module, [self.memory]).exports(self.store)

    def put(self, *values):
        at, places = 64, []
        for value in values:
            data = np.ascontiguousarray(value).tobytes()
            self.memory.write(self.store, data, at)
            places.append(at)
            at += -(-len(data) // 16) * 16
        return places, at

    def product(self, quants, scales, minima, x, vector_scales):
        rows, columns = quants.shape
        sums = (vector_scales * x.reshape(-1, 32).sum(axis=1)).astype(np.float32)
        if minima is None:
            places, out = self.put(quants.astype(np.int8), scales, x, vector_scales)
            self.exports["q8"](self.store, *places, out, rows, columns // 32)
        else:
            places, out = self.put(pack_4bit(quants), scales, minima, x, vector_scales, sums)
            self.exports["q4"](self.store, *places, out, rows, columns // 32)
        return np.frombuffer(self.memory.read(self.store, out, out + 4 * rows), dtype=np.float32)


def exact(quants, scales, minima, x, vector_scales):
    """The same sum in float64."""
    rows, columns = quants.shape
    groups = quants.reshape(rows, columns // 32, 32).astype(np.int64)
    vector = x.reshape(columns // 32, 32).astype(np.int64)
    total = (scales.astype(float) * vector_scales * np.einsum("rgi,gi->rg", groups, vector)).sum(axis=1)
    size = (scales.astype(float) * vector_scales * np.einsum("rgi,gi->rg", abs(groups), abs(vector))).sum(axis=1)
    if minima is not None:
        sums = vector_scales * vector.sum(axis=1)
        total, size = total + minima.astype(float) @ sums, size + abs(minima).astype(float) @ abs(sums)
    return total, size


@pytest.fixture(scope="module")
def kernel():
    return Kernel()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize(("rows", "columns"), [(1, 32), (3, 64), (7, 576), (5, 1536)])
def test_a_product_is_the_sum_in_float64(kernel, bits, rows, columns):
    generator = np.random.default_rng(rows * columns)
    low, high = (0, 16) if bits == 4 else (-127, 128)
    quants = generator.integers(low, high, (rows, columns))
    scales = generator.uniform(0.001, 0.02, (rows, columns // 32)).astype(np.float32)
    minima = -scales * 7 if bits == 4 else None
    x = generator.integers(-32767, 32768, columns).astype(np.int16)
    vector_scales = generator.uniform(1e-5, 1e-3, columns // 32).astype(np.float32)
    wanted, size = exact(quants, scales, minima, x, vector_scales)
    found = kernel.product(quants, scales, minima, x, vector_scales)
    assert (np.abs(found - wanted) <= 2e-6 * size).all()


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_numbers_do_not_overflow(kernel, sign):
    """32 * 15 * 32767 is exact in float32 and 32 * 127 * 32767 fits 32 bits; a longer row adds groups in float."""
    x = np.full(1536, sign * 32767, dtype=np.int16)
    ones = np.ones((2, 48), dtype=np.float32)
    one_group = kernel.product(np.full((2, 32), 15), ones[:, :1], 0 * ones[:, :1], x[:32], ones[0, :1])
    assert one_group.tolist() == [sign * 15 * 32767 * 32] * 2
    four = kernel.product(np.full((2, 1536), 15), ones, np.zeros_like(ones), x, ones[0])
    assert four == pytest.approx(sign * 15 * 32767 * 1536, rel=1e-6)
    eight = kernel.product(np.full((2, 1536), -127), ones, None, x, ones[0])
    assert eight == pytest.approx(-sign * 127 * 32767 * 1536, rel=1e-6)


def test_a_vector_of_zeros_gives_zero(kernel):
    ones, x = np.ones((2, 18), dtype=np.float32), np.zeros(576, dtype=np.int16)
    found = kernel.product(np.full((2, 576), 15), ones, ones, x, np.zeros(18, dtype=np.float32))
    assert found.tolist() == [0, 0]


def test_text_that_is_no_module_is_refused(tmp_path):
    broken = tmp_path / "kernel.wat"
    broken.write_text("(module (func (export 1)))")
    with pytest.raises(ValueError, match=r"source=.*kernel\.wat"):
        assemble(broken)


def test_the_module_asks_for_a_memory_only():
    """No import but the memory: nothing that a page could be asked for by it."""
    module = wasmtime.Module(wasmtime.Engine(), assemble(KERNEL))
    assert [(one.module, one.name) for one in module.imports] == [("env", "memory")]
    assert sorted(one.name for one in module.exports) == ["q4", "q8"]
