"""The packed product as machine code: one small program in LLVM's language, compiled for the reader's processor.

Numba brings LLVM along, so no compiler is needed on the reader's machine. The program is the same for every processor
but for one instruction, the dot product of unsigned codes (0, 1, 2) with signed 8-bit activations:

* ``avx2``: ``vpmaddubsw`` multiplies and adds pairs into 16 bits, ``vpmaddwd`` pairs of those into 32 (x86 since 2013)
* ``vnni``: ``vpdpbusd`` does both and the accumulation, on 512 bits (servers since 2019, AMD since Zen 4)
* ``neon``: ``sdot``, on 128 bits (ARM since 2018, Apple since M1)

Codes are masked in place. A code in bits 2 to 3 is 4 times its value, so the sums of planes 0 and 2 and of planes 1 and
3 are kept apart: ``total = (4 * sum_02 + sum_13) >> 2``. This needs one shift per byte (for the upper nibble) instead
of three.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

from greenlab.core import checks
from greenlab.ternary.packing import LAYOUTS, PLANES

I8, I16, I32, I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
POINTER = ir.IntType(8).as_pointer()
PREFETCH_BYTES = 8192  # how far ahead memory is asked for; a third faster when the weights are not in a cache
TILES = ((4, 1), (2, 4))  # rows x tokens whose sums are held in registers: for one token, and for four or more


@dataclass(frozen=True)
class Target:
    """A kind of processor: how many bytes it takes at once, and the features it must have."""

    name: str
    vector_bytes: int
    features: tuple[str, ...]


TARGETS = {
    "vnni": Target("vnni", 64, ("avx512vnni", "avx512bw")),
    "avx2": Target("avx2", 32, ("avx2",)),
    "neon": Target("neon", 16, ("dotprod",)),
}


def usable(features: Mapping[str, bool] | None = None) -> list[str]:
    """Names of the targets that a processor can run, the fastest first.

    Args:
        features: of the processor, by LLVM's names; those of this one by default.
    """
    found = llvm.get_host_cpu_features() if features is None else features
    return [name for name, target in TARGETS.items() if all(found.get(feature) for feature in target.features)]


class _Tile:
    """Emits the instructions of a block of rows times a block of tokens, over the whole width of a row."""

    def __init__(self, builder: ir.IRBuilder, target: Target, layout: str) -> None:
        self.b, self.target, self.layout = builder, target, layout
        n = target.vector_bytes
        self.bytes, self.shorts, self.sums = (
            ir.VectorType(I8, n),
            ir.VectorType(I16, n // 2),
            ir.VectorType(I32, n // 4),
        )

    def constant(self, kind: ir.VectorType, value: int) -> ir.Constant:
        return ir.Constant(kind, [value] * kind.count)

    def call(self, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
        module = self.b.module
        function = module.globals.get(name) or ir.Function(
            module, ir.FunctionType(result, [argument.type for argument in arguments]), name
        )
        return self.b.call(function, arguments)

    def load(self, pointer: ir.Value, offset: ir.Value) -> ir.Value:
        address = self.b.bitcast(self.b.gep(pointer, [offset], source_etype=I8), self.bytes.as_pointer())
        return self.b.load(address, align=1, typ=self.bytes)

    def prefetch(self, pointer: ir.Value, offset: ir.Value) -> None:
        ahead = self.b.gep(pointer, [self.b.add(offset, ir.Constant(I64, PREFETCH_BYTES))], source_etype=I8)
        self.call("llvm.prefetch.p0", ir.VoidType(), ahead, *(ir.Constant(I32, n) for n in (0, 3, 1)))

    def codes(self, packed: ir.Value) -> list[tuple[ir.Value, int]]:
        """The planes of a vector of packed bytes, each with the power of four that its codes are multiplied by."""
        b = self.b
        if self.layout == "2bit":
            upper = b.bitcast(b.lshr(b.bitcast(packed, self.shorts), self.constant(self.shorts, 4)), self.bytes)
            mask = {0: self.constant(self.bytes, 3), 1: self.constant(self.bytes, 12)}
            return [(b.and_(half, mask[power]), power) for half in (packed, upper) for power in (0, 1)]
        digits = []
        for _ in range(PLANES["base3"]):  # the first digit of byte q is floor(3 q / 256): two comparisons give it
            above = [b.zext(b.icmp_unsigned(">=", packed, self.constant(self.bytes, t)), self.bytes) for t in (86, 171)]
            digits.append((b.add(*above), 0))
            packed = b.mul(packed, self.constant(self.bytes, 3))  # modulo 256, which removes the first digit
        return digits

    def dot(self, sums: list[ir.Value], codes: list[tuple[ir.Value, int]], x: list[ir.Value]) -> list[ir.Value]:
        """Add the product of every plane's codes with its activations to ``sums[power]``."""
        b, sums = self.b, list(sums)
        if self.target.name != "avx2":
            for (code, power), values in zip(codes, x, strict=True):
                if self.target.name == "vnni":
                    name, kind = "llvm.x86.avx512.vpdpbusd.512", self.sums
                else:
                    name, kind = "llvm.aarch64.neon.sdot.v4i32.v16i8", self.bytes
                operands = [value if kind is self.bytes else b.bitcast(value, kind) for value in (code, values)]
                sums[power] = self.call(name, self.sums, sums[power], *operands)
            return sums
        pairs: dict[int, ir.Value] = {}
        for (code, power), values in zip(codes, x, strict=True):
            pair = self.call("llvm.x86.avx2.pmadd.ub.sw", self.shorts, code, values)  # at most 2 * 8 * 128 = 2,048
            pairs[power] = b.add(pairs[power], pair) if power in pairs else pair
        both = pairs[0] if 1 not in pairs else b.add(b.shl(pairs[0], self.constant(self.shorts, 2)), pairs[1])
        ones = self.constant(self.shorts, 1)
        return [b.add(sums[0], self.call("llvm.x86.avx2.pmadd.wd", self.sums, both, ones)), *sums[1:]]

    def total(self, sums: list[ir.Value]) -> ir.Value:
        """The sum over a vector as one number: ``(4 * sum_02 + sum_13) >> 2`` for two bits."""
        b, all_sums = self.b, sums[0]
        if self.layout == "2bit" and self.target.name != "avx2":
            all_sums = b.add(b.shl(sums[0], self.constant(self.sums, 2)), sums[1])
        total = self.call(f"llvm.vector.reduce.add.v{self.sums.count}i32", I32, all_sums)
        return b.ashr(total, ir.Constant(I32, 2)) if self.layout == "2bit" else total


def _loop(b: ir.IRBuilder, start: ir.Value, stop: ir.Value, step: int, body: Callable[[ir.Value], None]) -> ir.Value:
    """``for i in range(start, stop - step + 1, step)``; gives the first ``i`` that is left over."""
    function, count = b.function, b.alloca(I64)
    head, inside, after = (function.append_basic_block(name) for name in ("head", "inside", "after"))
    b.store(start, count)
    b.branch(head)
    b.position_at_end(head)
    i = b.load(count, typ=I64)
    b.cbranch(b.icmp_signed("<=", b.add(i, ir.Constant(I64, step)), stop), inside, after)
    b.position_at_end(inside)
    body(i)
    b.store(b.add(i, ir.Constant(I64, step)), count)
    b.branch(head)
    b.position_at_end(after)
    return i


def module_for(target: Target, layout: str) -> ir.Module:
    """Emit the program ``rows(packed, stride, width, n_rows, x, x_plane, x_stride, n_tokens, out, out_stride)``.

    It computes ``out[t, r] = sum_k code[r, k] * x[t, k]`` in int32. Row r is at ``packed + r * stride``; ``width``
    bytes of it are read, a multiple of the vector. Activations are int8, plane s of token t at ``x + t * x_stride + s *
    x_plane``, and zero where a row has no weight.

    Raises:
        TypeError: if ``target`` is no `Target`, or ``layout`` no text.
        ValueError: if the layout is not known.
    """
    if not isinstance(target, Target):
        raise TypeError(f"target is {type(target).__name__}: give one of TARGETS")
    checks.one_of("layout", layout, LAYOUTS)
    module = ir.Module(f"{target.name}_{layout}")
    kind = ir.FunctionType(ir.VoidType(), [POINTER, I64, I64, I64, POINTER, I64, I64, I64, POINTER, I64])
    function = ir.Function(module, kind, "rows")
    packed, stride, width, n_rows, x, x_plane, x_stride, n_tokens, out, out_stride = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    tile, zero = _Tile(b, target, layout), ir.Constant(I64, 0)

    def at(pointer: ir.Value, index: ir.Value, step: ir.Value, more: ir.Value | None = None) -> ir.Value:
        offset = b.mul(index, step)
        return b.gep(pointer, [offset if more is None else b.add(offset, more)], source_etype=I8)

    def block(row: ir.Value, token: ir.Value, rows: int, tokens: int) -> None:
        n_sums = 2 if layout == "2bit" and target.name != "avx2" else 1
        starts = [at(packed, b.add(row, ir.Constant(I64, r)), stride) for r in range(rows)]
        inputs = [at(x, b.add(token, ir.Constant(I64, t)), x_stride) for t in range(tokens)]
        kept = [[[b.alloca(tile.sums) for _ in range(n_sums)] for _ in range(tokens)] for _ in range(rows)]
        for cell in (cell for row_ in kept for token_ in row_ for cell in token_):
            b.store(tile.constant(tile.sums, 0), cell)

        def step(i: ir.Value) -> None:
            planes = [b.add(i, b.mul(x_plane, ir.Constant(I64, s))) for s in range(PLANES[layout])]
            values = [[tile.load(start, plane) for plane in planes] for start in inputs]
            for r in range(rows):
                tile.prefetch(starts[r], i)
                codes = tile.codes(tile.load(starts[r], i))
                for t in range(tokens):
                    sums = tile.dot([b.load(cell, typ=tile.sums) for cell in kept[r][t]], codes, values[t])
                    for cell, value in zip(kept[r][t], sums, strict=True):
                        b.store(value, cell)

        _loop(b, zero, width, target.vector_bytes, step)
        for r in range(rows):
            for t in range(tokens):
                total = tile.total([b.load(cell, typ=tile.sums) for cell in kept[r][t]])
                column = b.mul(b.add(row, ir.Constant(I64, r)), ir.Constant(I64, 4))
                address = at(out, b.add(token, ir.Constant(I64, t)), out_stride, column)
                b.store(total, b.bitcast(address, I32.as_pointer()), align=4)

    (rows_1, _), (rows_4, tokens_4) = TILES

    def tokens(start: ir.Value, first: ir.Value, last: ir.Value, step: int, rows: int) -> ir.Value:
        return _loop(b, first, last, step, lambda token: block(start, token, rows, step))

    # four tokens at a time use each byte that was unpacked; the remaining tokens are done one by one, four rows at a
    # time
    fours = b.and_(n_tokens, ir.Constant(I64, -tokens_4))
    row = _loop(b, zero, n_rows, rows_4, lambda r: tokens(r, zero, fours, tokens_4, rows_4) and None)
    _loop(b, row, n_rows, 1, lambda r: tokens(r, zero, fours, tokens_4, 1) and None)
    row = _loop(b, zero, n_rows, rows_1, lambda r: tokens(r, fours, n_tokens, 1, rows_1) and None)
    _loop(b, row, n_rows, 1, lambda r: tokens(r, fours, n_tokens, 1, 1) and None)
    b.ret_void()
    return module


def machine(target: Target, triple: str | None = None) -> llvm.TargetMachine:
    """LLVM's description of this processor, or of a generic one of another ``triple`` (to look at its code)."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    if triple is None:
        chosen, cpu = llvm.Target.from_default_triple(), llvm.get_host_cpu_name()
        features = llvm.get_host_cpu_features().flatten()
    else:
        chosen, cpu, features = llvm.Target.from_triple(triple), "generic", ",".join(f"+{f}" for f in target.features)
    return chosen.create_target_machine(cpu=cpu, features=features, opt=3)


def optimized(target: Target, layout: str, target_machine: llvm.TargetMachine) -> llvm.ModuleRef:
    """The program, checked and optimized."""
    module = llvm.parse_assembly(str(module_for(target, layout)))
    module.verify()
    passes = llvm.create_pass_builder(target_machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(module, passes)
    return module


def compiled(name: str, layout: str) -> tuple[Any, int]:
    """Compile for this processor: the engine, which must be kept, and the address of ``rows``.

    Raises:
        TypeError: if a name is no text.
        ValueError: if the target or the layout is not known.
    """
    checks.one_of("name", name, tuple(TARGETS))
    target_machine = machine(TARGETS[name])
    engine = llvm.create_mcjit_compiler(optimized(TARGETS[name], layout, target_machine), target_machine)
    engine.finalize_object()
    address = engine.get_function_address("rows")
    return engine, ctypes.c_void_p(address).value or 0
