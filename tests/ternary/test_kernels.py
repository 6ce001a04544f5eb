"""Packed weights: without loss, and their product equal to int64 on every kernel that this processor runs."""

import copy
import ctypes
import dataclasses
import json
import os
import pickle
import subprocess
import sys

import hypothesis.strategies as st
import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from safetensors import safe_open
from safetensors.numpy import save_file

from greenlab.core import compiled
from greenlab.core.machine import ROOT
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.ternary import codegen, kernels, linear
from greenlab.ternary.linear import PackedLinear, bytes_in_memory, load_model, pack_model, random_packed, save_model
from greenlab.ternary.packing import K_MAX, PLANES, PackedTernary, load_packed, pack, save_packed, unpack
from greenlab.ternary.quantize import BitBlock, BitLinear, bit_gpt, convert

LAYOUTS = sorted(PLANES)
KERNELS = kernels.names()
CONFIG = GPTConfig(vocab_size=50, context_length=64, n_layers=3, d_model=48, n_heads=4, d_ff=100, n_kv_heads=2)


def ternary(seed, n, k):
    return np.random.default_rng(seed).integers(-1, 2, (n, k)).astype(np.int8)


def activations(seed, t, k):
    return np.random.default_rng(seed + 1).integers(-128, 128, (t, k)).astype(np.int8)


def exact(x, w):
    return x.astype(np.int64) @ w.T.astype(np.int64)


@given(st.integers(1, 30), st.integers(1, 70), st.sampled_from(LAYOUTS), st.integers(0, 2**32))
def test_packing_loses_nothing(n, k, layout, seed):
    w = ternary(seed, n, k)
    packed = pack(torch.from_numpy(w), 0.5, layout)
    assert packed.shape == (n, k)
    assert np.array_equal(unpack(packed).numpy(), w)


def test_every_byte_of_base_3_holds_five_digits():
    """All 243 of them, most significant digit in plane 0; the byte is the number in units of 1/256, rounded up."""
    numbers = np.arange(243)
    digits = np.stack([numbers // 3 ** (4 - s) % 3 for s in range(5)], axis=1) - 1
    packed = pack(torch.from_numpy(digits), layout="base3")
    assert packed.data[:, 0].tolist() == [-(-int(n) * 256 // 243) for n in numbers]
    assert np.array_equal(unpack(packed).numpy(), digits)


@pytest.mark.parametrize(("layout", "k", "bits"), [("2bit", 576, 2.0), ("base3", 1000, 1.6), ("2bit", 5, 3.2)])
def test_bits_per_weight_count_the_padding_of_a_row(layout, k, bits):
    assert pack(torch.ones(3, k), layout=layout).bits_per_weight == pytest.approx(bits)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", KERNELS)
@given(n=st.integers(1, 70), k=st.integers(1, 400), t=st.integers(1, 9), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_the_product_is_exact_for_any_size(name, layout, n, k, t, seed):
    w, x = ternary(seed, n, k), activations(seed, t, k)
    assert np.array_equal(kernels.matmul(x, pack(torch.from_numpy(w), layout=layout), name), exact(x, w))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("weight", "value"), [(1, 127), (-1, 127), (1, -128), (-1, -128), (0, 127)])
def test_the_largest_sums_do_not_overflow(name, layout, weight, value):
    """All weights alike and every activation at its end: the case in which 16-bit sums would wrap."""
    k = 20_000
    w, x = np.full((5, k), weight, np.int8), np.full((1, k), value, np.int8)
    assert np.array_equal(kernels.matmul(x, pack(torch.from_numpy(w), layout=layout), name), exact(x, w))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_widest_allowed_row_does_not_overflow(layout):
    w, x = np.ones((1, K_MAX), np.int8), np.full((1, K_MAX), -128, np.int8)
    assert kernels.matmul(x, pack(torch.from_numpy(w), layout=layout))[0, 0] == -128 * K_MAX


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("n", "k", "t"), [(2049, 1536, 1), (1000, 1536, 7), (130, 10_000, 6)])
def test_threads_change_nothing(name, n, k, t):
    """These sizes are beyond the one from which rows are shared out among threads."""
    w, x = ternary(3, n, k), activations(3, t, k)
    packed = pack(torch.from_numpy(w))
    before = numba.get_num_threads()
    try:
        for threads in {1, numba.config.NUMBA_NUM_THREADS}:
            compiled.set_threads(threads)
            parallel = kernels._take_threads(t * n * k)
            assert parallel == (threads > 1)
            if parallel:
                kernels._in_use.release()
            assert np.array_equal(kernels.matmul(x, packed, name), exact(x, w))
    finally:
        compiled.set_threads(before)


@pytest.mark.parametrize(
    ("q", "message"),
    [
        (torch.tensor([[1.0, 0.5]]), r"q\[0, 1\]=0\.5: expected -1, 0 or 1"),
        (torch.tensor([[1, 2], [0, -3]]), r"q\[0, 1\]=2: expected"),
        (torch.tensor([[float("nan")]]), r"q\[0, 0\]=nan: expected"),
        (torch.ones(4), r"shape \(4,\): expected \(N, K\)"),
        (torch.ones(2, 0), "both 1 or more"),
        (torch.ones(1, 1).expand(1, K_MAX + 1), "at most 1,048,576"),
    ],
)
def test_what_is_not_ternary_is_not_packed(q, message):
    with pytest.raises(ValueError, match=message):
        pack(q)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "3bit"}, "no layout '3bit'; close to it: 2bit"),
        ({"data": np.zeros((2, 2), np.int8)}, r"expected uint8 \(N, L\)"),
        ({"n_columns": 0}, "n_columns=0: give a whole number at least 1 and at most"),
        ({"data": np.zeros((0, 2), np.uint8)}, "at least one row"),
        ({"gamma": -0.5}, r"gamma=-0\.5: give a finite number above 0"),
        ({"gamma": float("nan")}, "gamma=nan"),
        ({"n_columns": 9}, "2bit needs 3"),
        ({"gamma": float("inf")}, "gamma=inf: give a finite number above 0"),
    ],
)
def test_a_packed_matrix_that_does_not_fit_is_refused(change, message):
    fields = {"data": np.zeros((2, 2), np.uint8), "n_columns": 8, "gamma": 1.0, "layout": "2bit"} | change
    with pytest.raises(ValueError, match=message):
        PackedTernary(**fields)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_byte_that_no_ternary_weights_give_is_refused(layout):
    """Of 256 bytes 81 hold four codes of 0 to 2, and 243 five digits."""
    allowed = []
    for byte in range(256):
        try:
            PackedTernary(np.full((1, 1), byte, np.uint8), 4, 1.0, layout)
            allowed.append(byte)
        except ValueError as error:
            assert f"data[0, 0]={byte:#04x} is not {layout}" in str(error)  # noqa: PT017 - the others must not raise
    assert len(allowed) == {"2bit": 81, "base3": 243}[layout]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: pack([[1]]), TypeError, "q is list: give a tensor"),
        (lambda: pack(torch.ones(2, 2), -1.0), ValueError, r"gamma=-1\.0"),
        (lambda: pack(torch.ones(2, 2), torch.ones(2)), ValueError, r"gamma has the shape \(2,\)"),
        (lambda: pack(torch.ones(2, 2), 1.0, 4), TypeError, "layout=4 is int"),
        (lambda: pack(torch.tensor([[-128.0]])), ValueError, r"q\[0, 0\]=-128"),
        (lambda: pack(torch.tensor([[300.0]])), ValueError, r"q\[0, 0\]=300"),
        (lambda: PackedTernary([[0]], 4, 1.0), TypeError, "data is list"),
        (lambda: PackedTernary(np.zeros((1, 1), np.uint8), 4.0, 1.0), TypeError, r"n_columns=4\.0 is float"),
        (lambda: PackedTernary(np.zeros((1, 1), np.uint8), 4, "1"), TypeError, "gamma='1' is str"),
        (lambda: unpack(np.zeros((1, 1))), TypeError, "packed is ndarray"),
        (lambda: kernels.matmul([[1]], pack(torch.ones(2, 8))), TypeError, "q is list"),
        (lambda: kernels.matmul(np.zeros((1, 8), np.int8), None), TypeError, "packed is NoneType"),
        (lambda: kernels.kernel(None, "3bit"), ValueError, "no layout '3bit'"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "change",
    [
        {"x": np.zeros((2, 9), np.float32)},
        {"x": np.zeros(8, np.float32)},
        {"x": np.zeros((2, 8))},
        {"norm": np.ones(7, np.float32)},
        {"norm": np.ones(9, np.float32)},
        {"norm": np.ones(8)},
        {"norm": np.ones((1, 8), np.float32)},
        {"bias": np.ones(1, np.float32)},
        {"bias": np.ones(5, np.float32)},
        {"bias": np.ones(4)},
    ],
)
def test_arrays_of_another_length_or_kind_are_refused_before_a_loop_runs(change):
    good = {"x": np.zeros((2, 8), np.float32), "norm": np.ones(8, np.float32), "bias": np.ones(4, np.float32)}
    packed = pack(torch.ones(4, 8))
    assert kernels.linear(packed=packed, **good).tolist() == [[1.0] * 4] * 2
    with pytest.raises(ValueError, match=rf"{next(iter(change))} is float(32|64) .*expected float32"):
        kernels.linear(packed=packed, **good | change)
    with pytest.raises(ValueError, match="eps=0"):
        kernels.linear(packed=packed, **good, eps=0)
    with pytest.raises(TypeError, match="x is list"):
        kernels.linear(packed=packed, **good | {"x": [1.0]})


@given(n=st.integers(1, 20), k=st.integers(1, 90), t=st.integers(0, 5), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_arrays_that_are_not_contiguous_give_the_same(n, k, t, seed):
    w, x = ternary(seed, n, k), activations(seed, t, k)
    packed = pack(torch.from_numpy(w))
    assert np.array_equal(kernels.matmul(np.asfortranarray(x), packed), exact(x, w))
    assert np.array_equal(kernels.matmul(np.repeat(x, 2, axis=1)[:, ::2], packed), exact(x, w))
    floats, none = x.astype(np.float32), np.empty(0, np.float32)
    norm = np.random.default_rng(seed).uniform(0.5, 2, 2 * k).astype(np.float32)
    straight = kernels.linear(floats, packed, norm[::2].copy(), none)
    assert np.array_equal(kernels.linear(np.asfortranarray(floats), packed, norm[::2], none), straight)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mprotect"), reason="needs mprotect")
def test_nothing_is_read_behind_the_last_row():
    """The matrix ends where a page ends, and the next page is closed: reading one byte of it would end the process."""
    code = """
import ctypes, mmap, numpy as np, torch
from greenlab.ternary import kernels, pack
page = mmap.PAGESIZE
room = mmap.mmap(-1, 64 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(room))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mprotect(ctypes.c_void_p(start + 63 * page), ctypes.c_size_t(page), 0) == 0
rng, none = np.random.default_rng(0), np.empty(0, np.float32)
for layout in ("2bit", "base3"):
    for n, k in ((1, 1), (3, 5), (70, 3), (5, 250), (64, 257), (7, 4096), (2049, 30)):
        w, x = rng.integers(-1, 2, (n, k)), rng.integers(-127, 128, (3, k)).astype(np.float32)
        x[:, 0] = 127
        packed = pack(torch.from_numpy(w), layout=layout)
        data = np.frombuffer(room, np.uint8, packed.data.size, 63 * page - packed.data.size).reshape(packed.data.shape)
        data[:] = packed.data
        for name in kernels.names():
            got = kernels.layer(x, data, none, none, k, layout, 1.0, 1e-5, name)
            assert np.array_equal(got, x @ w.T), (layout, n, k, name)
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip()) == (0, "fine"), done.stderr


@pytest.mark.parametrize("x", [np.zeros((1, 8), np.int16), np.zeros(8, np.int8), np.zeros((1, 9), np.int8)])
def test_activations_of_another_kind_are_refused(x):
    with pytest.raises(ValueError, match=r"expected int8 \(tokens, 8\)"):
        kernels.matmul(x, pack(torch.ones(2, 8)))


def test_a_kernel_that_this_processor_lacks_is_refused():
    with pytest.raises(ValueError, match=r"this processor runs .*portable"):
        kernels.kernel("abacus")


# The choice of the kernel, and the code for processors that are not here ----------------------------------------------


def test_the_fastest_usable_kernel_is_taken():
    modern = {"avx2": True, "avx512vnni": True, "avx512bw": True}
    assert codegen.usable(modern) == ["vnni", "avx2"]
    assert codegen.usable(modern | {"avx512bw": False}) == ["avx2"]
    assert codegen.usable({"sse2": True}) == []
    assert codegen.usable({"dotprod": True}) == ["neon"]
    assert kernels.kernel().name == KERNELS[0]
    assert KERNELS[-1] == "portable"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("name", "triple", "instruction"),
    [("neon", "aarch64-unknown-linux-gnu", "sdot"), ("avx2", "x86_64-unknown-linux-gnu", "vpmaddubsw"),
     ("vnni", "x86_64-unknown-linux-gnu", "vpdpbusd")],
)  # fmt: skip
def test_each_target_compiles_to_its_dot_product(name, triple, instruction, layout):
    """Cross-compiled, so that a change that breaks ARM is seen on x86 and the other way round."""
    target = codegen.TARGETS[name]
    assembly = codegen.machine(target, triple)
    text = assembly.emit_assembly(codegen.optimized(target, layout, assembly))
    assert text.count(instruction) >= PLANES[layout]


@pytest.mark.parametrize("name", codegen.usable())
def test_what_lies_behind_the_last_row_is_never_used(name):
    """A vector may reach past the end of a row: whatever stands there meets an activation of zero."""
    engine, address = codegen.compiled(name, "2bit")
    arguments = [ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p] + [ctypes.c_int64] * 3
    rows = ctypes.CFUNCTYPE(None, *arguments, ctypes.c_void_p, ctypes.c_int64)(address)
    data, x = np.full(256, 255, np.uint8), np.zeros(4 * 64, np.int8)
    data[:2], x[0], x[1] = 2, 5, 7  # codes 2 and 2 in plane 0
    out = np.zeros(2, np.int32)
    rows(data.ctypes.data, 2, 64, 1, x.ctypes.data, 64, 256, 1, out.ctypes.data, 4)
    assert (out.tolist(), engine is not None) == ([24, 0], True)


# Layers and models ----------------------------------------------------------------------------------------------------


def trained(in_features, out_features, seed=0, **options):
    torch.manual_seed(seed)
    layer = BitLinear(in_features, out_features, **options)
    if layer.norm is not None:
        layer.norm.weight.data.uniform_(0.5, 1.5)
    return layer


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("options", [{}, {"bias": True}, {"sub_norm": False}])
def test_a_packed_layer_gives_what_the_trained_one_gives(name, layout, options):
    layer, x = trained(100, 36, **options), torch.randn(2, 5, 100, generator=torch.Generator().manual_seed(1))
    packed = PackedLinear.from_bit_linear(layer, layout)
    packed.kernel = name
    torch.testing.assert_close(packed(x), layer(x).detach(), rtol=1e-5, atol=1e-5)
    half = packed(x.bfloat16())
    assert half.dtype == torch.bfloat16
    assert packed(x[0, 0]).shape == (36,)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("options", [{}, {"sub_norm": False}])
def test_an_activation_that_is_no_number_is_refused(bad, options):
    layer, x = PackedLinear.from_bit_linear(trained(20, 4, **options)), torch.ones(3, 20)
    x[1, 7] = bad
    with pytest.raises(ValueError, match="NaN or infinite activations"):
        layer(x)


@pytest.mark.parametrize("x", [torch.ones(3, 21), torch.ones(3, 20, dtype=torch.long)])
def test_an_input_of_another_shape_or_kind_is_refused(x):
    with pytest.raises(ValueError, match=r"expected floats \(\.\.\., 20\)"):
        PackedLinear.from_bit_linear(trained(20, 4))(x)


def packed_layer(seed=0, layout="2bit", bias=True):
    layer = trained(256, 64, seed, bias=bias)
    return PackedLinear.from_bit_linear(layer, layout)


X = torch.randn(3, 256, generator=torch.Generator().manual_seed(9))
COPIES = {
    "as it is": lambda layer: layer,
    "deepcopy": copy.deepcopy,
    "pickle": lambda layer: pickle.loads(pickle.dumps(layer)),
    "double": lambda layer: layer.double(),
    "to and back": lambda layer: layer.to(torch.float64).to("cpu", torch.float32),
    "shared memory": lambda layer: layer.share_memory(),
    "a model around it": lambda layer: copy.deepcopy(torch.nn.Sequential(layer))[0],
}


@pytest.mark.parametrize("assign", [False, True])
@pytest.mark.parametrize("name", COPIES)
def test_a_layer_computes_with_what_was_loaded_into_it_last(name, assign):
    """Copied, pickled or cast, and then loaded: no array of before is left behind."""
    old, new = packed_layer(1), packed_layer(2)
    layer = COPIES[name](old)
    torch.testing.assert_close(layer(X), packed_layer(1)(X), rtol=1e-6, atol=1e-6)
    state = {key: value.clone() for key, value in new.state_dict().items()}
    assert layer.load_state_dict(state, strict=True, assign=assign).missing_keys == []
    assert torch.equal(layer(X), new(X))
    assert not torch.equal(layer(X), packed_layer(1)(X))
    if name == "deepcopy":
        assert torch.equal(old(X), packed_layer(1)(X))  # the original was not written to


def test_a_layer_does_not_share_memory_with_what_it_was_made_from():
    source = trained(256, 64, bias=True)
    layer, packed = PackedLinear.from_bit_linear(source), pack(torch.ones(64, 256))
    before = layer(X)
    source.norm.weight.data.fill_(9)
    source.bias.data.fill_(9)
    assert torch.equal(layer(X), before)
    one, two = PackedLinear(packed), PackedLinear(packed)
    one.load_state_dict(PackedLinear(pack(-torch.ones(64, 256))).state_dict())
    assert torch.equal(one(X), -two(X))


def test_a_buffer_that_is_replaced_is_used_and_one_that_does_not_fit_is_refused():
    layer, other = packed_layer(1), packed_layer(2)
    layer.weight, layer.norm, layer.bias, layer.gamma = other.weight, other.norm, other.bias, other.gamma
    assert torch.equal(layer(X), other(X))
    for name, value in {"norm": torch.ones(4), "bias": torch.ones(1), "weight": other.weight[:, :3]}.items():
        broken = packed_layer()
        setattr(broken, name, value)
        with pytest.raises(ValueError, match=rf"{'data' if name == 'weight' else name} is .*expected"):
            broken(X)


def test_half_rounds_norm_and_bias_and_nothing_else():
    layer = packed_layer()
    half = copy.deepcopy(layer).half()
    assert (half.weight.dtype, half.norm.dtype, half.gamma) == (torch.uint8, torch.float16, layer.gamma)
    assert torch.equal(half.weight, layer.weight)
    rounded = PackedLinear(layer.packed, layer.norm.half(), layer.bias.half())
    assert torch.equal(half(X), rounded(X))
    assert half(X.half()).dtype == torch.float16


def changed(state, name, value):
    return state | {name: value}


BROKEN = {
    "another layout": (lambda s: packed_layer(2, "base3").state_dict(), "weight has the shape"),
    "half of a layer": (lambda s: {"norm": s["norm"]}, "weight, bias, _extra_state missing beside norm"),
    "no scale": (lambda s: {k: v for k, v in s.items() if k != "_extra_state"}, "_extra_state missing beside weight"),
    "a short norm": (lambda s: changed(s, "norm", torch.ones(4)), r"norm has the shape \(4,\), expected \(256,\)"),
    "NaN in the norm": (lambda s: changed(s, "norm", s["norm"] * float("nan")), "norm holds NaN"),
    "weights of +2": (lambda s: changed(s, "weight", torch.full_like(s["weight"], 255)), r"would be \+2"),
    "floats as weights": (lambda s: changed(s, "weight", s["weight"].float()), "data is float32"),
    "another extra state": (lambda s: changed(s, "_extra_state", {"gamma": 1}), "not that of a packed layer"),
    "no bias wanted": (lambda s: s, "bias given, and this layer has none"),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", BROKEN)
def test_a_layer_is_loaded_whole_or_not_at_all(name, strict):
    """Also where torch is told not to be strict: weights of one model never meet the norm of another."""
    change, message = BROKEN[name]
    layer = packed_layer(1, bias=name != "no bias wanted")
    before = layer(X)
    with pytest.raises(RuntimeError, match=message):
        layer.load_state_dict(change(packed_layer(2).state_dict()), strict=strict)
    assert torch.equal(layer(X), before)


def test_a_layout_of_equal_width_is_refused_too():
    """Sixteen columns take four bytes in both layouts."""
    layers = [
        PackedLinear(pack(torch.from_numpy(ternary(s, 4, 16)), layout=layout)) for s, layout in enumerate(LAYOUTS)
    ]
    with pytest.raises(RuntimeError, match="its weights have 16 columns in base3, expected 16 in 2bit"):
        layers[0].load_state_dict(layers[1].state_dict())


def test_a_packed_model_takes_on_the_whole_of_another():
    one, two = (pack_model(bit_gpt(CONFIG, seed)) for seed in (1, 2))
    ids = torch.tensor([[1, 2, 3, 4]])
    assert not torch.equal(one(ids), two(ids))
    one.load_state_dict({name: value.clone() for name, value in two.state_dict().items()})
    assert torch.equal(one(ids), two(ids))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: PackedLinear(pack(torch.ones(4, 8)), torch.ones(4)),
            ValueError,
            r"norm is .*\(4,\): expected floats \(8,\)",
        ),
        (lambda: PackedLinear(pack(torch.ones(4, 8)), torch.ones(1000)), ValueError, "norm is"),
        (
            lambda: PackedLinear(pack(torch.ones(4, 8)), None, torch.zeros(1)),
            ValueError,
            r"bias is .*expected floats \(4,\)",
        ),
        (
            lambda: PackedLinear(pack(torch.ones(4, 8)), torch.ones(8) * float("inf")),
            ValueError,
            "norm holds NaN or inf",
        ),
        (lambda: PackedLinear(pack(torch.ones(4, 8)), [1.0] * 8), TypeError, "norm is list"),
        (lambda: PackedLinear(torch.ones(4, 8)), TypeError, "packed is Tensor"),
        (lambda: PackedLinear(pack(torch.ones(4, 8)), eps=0), ValueError, "eps=0"),
        (lambda: PackedLinear(pack(torch.ones(4, 8)), kernel=3), TypeError, "kernel=3 is int"),
        (lambda: PackedLinear(pack(torch.ones(4, 8)))([1.0] * 8), TypeError, "x is list"),
        (lambda: PackedLinear(pack(torch.ones(4, 8)))(torch.tensor(1.0)), ValueError, r"expected floats \(\.\.\., 8\)"),
        (lambda: PackedLinear.from_bit_linear(torch.nn.Linear(2, 2)), TypeError, "layer is Linear: give a BitLinear"),
        (lambda: random_packed(0, 4), ValueError, "in_features=0"),
        (lambda: random_packed(4, 4, 1), TypeError, "bias=1 is int"),
        (lambda: pack_model(BitLinear(2, 2)), ValueError, "from_bit_linear"),
        (lambda: pack_model(3), TypeError, "model is int"),
        (lambda: bytes_in_memory(None), TypeError, "model is NoneType"),
    ],
)
def test_bad_arguments_of_layers_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_activations_too_large_to_be_squared_are_refused():
    """The mean square of 1e30 is no float32: the norm would make zeros of the token."""
    with pytest.raises(ValueError, match="beyond 1e19"):
        packed_layer()(X * 1e30)
    assert torch.isfinite(packed_layer(1)(X * 1e10)).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_computes_without_threads():
    """With them libgomp would end it; 14 would be the alarm's signal, had it hung."""
    code = """
import os, signal, torch
from greenlab.ternary import random_packed
layer, x = random_packed(2048, 2048), torch.ones(4, 2048)
want = layer(x)
pid = os.fork()
if pid == 0:
    signal.alarm(20)
    os._exit(0 if torch.equal(layer(x), want) else 1)
print(os.waitpid(pid, 0)[1])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "0", done.stderr


def test_two_threads_at_once_compute_the_same_with_numbas_simplest_threads():
    """numba's "workqueue" ends the process when two use it at once."""
    code = """
import threading, torch
from greenlab.ternary import random_packed
layer, x = random_packed(2048, 2048), torch.ones(4, 2048)
want, wrong = layer(x), []
def work():
    wrong.extend(i for i in range(20) if not torch.equal(layer(x), want))
threads = [threading.Thread(target=work) for _ in range(2)]
[t.start() for t in threads]; [t.join() for t in threads]
print(len(wrong))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
        env=os.environ | {"NUMBA_THREADING_LAYER": "workqueue", "NUMBA_NUM_THREADS": "2"},
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "0"), done.stderr


def test_without_numba_the_numbers_are_the_same_and_a_note_says_why_it_is_slow(monkeypatch):
    layer, x = PackedLinear.from_bit_linear(trained(64, 32, bias=True)), torch.randn(4, 64)
    fast = layer(x)
    linear._kernels.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "greenlab.ternary.kernels", None)
    monkeypatch.delattr("greenlab.ternary.kernels", raising=False)
    with pytest.warns(RuntimeWarning, match="pip install numba"):
        slow = layer(x)
    with pytest.raises(ValueError, match="NaN or infinite"):
        layer(x * float("nan"))
    linear._kernels.cache_clear()
    torch.testing.assert_close(slow, fast, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def model():
    made = bit_gpt(CONFIG, seed=4)
    for layer in (m for m in made.modules() if isinstance(m, BitLinear)):
        layer.norm.weight.data.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(1))
    return made.eval()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_packed_model_writes_the_same_text(model, layout):
    packed, ids = pack_model(model, layout), torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad():
        torch.testing.assert_close(packed(ids), model(ids), rtol=1e-4, atol=1e-4)
    assert torch.equal(packed.generate(ids, 40, temperature=0), model.generate(ids, 40, temperature=0))
    assert packed.embedding.weight is model.embedding.weight
    assert not any(isinstance(m, PackedLinear) for m in model.modules())


def test_a_model_without_ternary_layers_is_refused():
    with pytest.raises(ValueError, match="has no BitLinear"):
        pack_model(GPT(CONFIG))


def test_a_model_comes_back_from_disk_as_it_was(model, tmp_path):
    packed, ids = pack_model(model), torch.tensor([[5, 6, 7]])
    save_model(packed, tmp_path / "model.safetensors")
    again = load_model(tmp_path / "model.safetensors")
    with torch.no_grad():
        assert torch.equal(again(ids), packed(ids))
    assert bytes_in_memory(again) == bytes_in_memory(packed)
    n_tensors = 2 * 7 * CONFIG.n_layers + 2  # a matrix and a norm each; the embedding and the last norm
    assert (tmp_path / "model.safetensors").stat().st_size < bytes_in_memory(packed) + 300 * n_tensors


def test_matrices_and_a_note_come_back_from_disk(tmp_path):
    matrices = {name: pack(torch.from_numpy(ternary(1, 7, 33)), 0.1, name) for name in LAYOUTS}
    save_packed(matrices, tmp_path / "m.safetensors", {"scale": torch.arange(3.0)}, note="hello")
    found, others, note = load_packed(tmp_path / "m.safetensors")
    assert all(torch.equal(unpack(found[name]), unpack(matrices[name])) for name in LAYOUTS)
    assert [found[name].gamma for name in LAYOUTS] == [0.1, 0.1]
    assert (others["scale"].tolist(), note) == ([0, 1, 2], "hello")


SMALL = GPTConfig(vocab_size=50, context_length=32, n_layers=2, d_model=16, n_heads=2, d_ff=32)


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Metadata and arrays of a file that a small packed model was saved to."""
    path = tmp_path_factory.mktemp("packed") / "good"
    save_model(pack_model(bit_gpt(SMALL, 1)), path)
    with safe_open(str(path), "numpy") as file:
        return dict(file.metadata()), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


QUERY, OUTPUT = "blocks.0.attention.query", "blocks.0.attention.output"
UP, DOWN = "blocks.0.feed_forward.up", "blocks.0.feed_forward.down"


def entry(metadata, name, **change):
    metadata[name] = json.dumps(json.loads(metadata[name]) | change)


def drop(*names):
    return lambda metadata, arrays: [(metadata.pop(name), arrays.pop(name)) for name in names]


def swap(values, one, two):
    values[one], values[two] = values[two], values[one]


ALTERED = {
    "a matrix missing": (drop(QUERY), f"'{QUERY}' is missing"),
    "a matrix missing, its metadata there": (lambda m, a: a.pop(QUERY), f"'{QUERY}' is missing"),
    "its metadata missing": (lambda m, a: m.pop(QUERY), f"'{QUERY}' is missing"),
    "a float tensor missing": (drop("embedding.weight"), "'embedding.weight' is missing"),
    "a weight of +2": (lambda m, a: a.update({QUERY: np.full_like(a[QUERY], 255)}), rf"'{QUERY}' .* would be \+2"),
    "another layout": (lambda m, a: entry(m, QUERY, layout="base3"), f"'{QUERY}'"),
    "two matrices swapped": (lambda m, a: swap(a, QUERY, OUTPUT), f"'{OUTPUT}' do not have the checksum"),
    "swapped with their metadata": (lambda m, a: (swap(a, UP, DOWN), swap(m, UP, DOWN)), f"'{DOWN}' do not have the"),
    "a negative scale": (lambda m, a: entry(m, QUERY, gamma=-0.5), rf"'{QUERY}' is wrong: gamma=-0\.5"),
    "a scale that is NaN": (lambda m, a: entry(m, QUERY, gamma=float("nan")), f"'{QUERY}' is wrong: gamma=nan"),
    "another scale": (lambda m, a: entry(m, QUERY, gamma=0.25), f"'{QUERY}' do not have the checksum"),
    "fewer rows": (lambda m, a: a.update({QUERY: a[QUERY][:4].copy()}), f"'{QUERY}' do not have the checksum"),
    "one weight": (lambda m, a: a[QUERY].__setitem__((0, 0), a[QUERY][0, 0] ^ 1), f"'{QUERY}'"),
    "one float": (lambda m, a: a["norm.weight"].__setitem__(0, 2), "'norm.weight' do not have the checksum"),
    "an extra tensor": (lambda m, a: a.update(more=np.zeros(1, np.uint8)), "'more' is not in its list of contents"),
    "metadata that are no JSON": (
        lambda m, a: m.update({QUERY: "2bit 16 0.5"}),
        f"what it says of '{QUERY}' cannot be read",
    ),
    "another config": (
        lambda m, a: m.update({"greenlab.note": m["greenlab.note"].replace('"n_heads": 2', '"n_heads": 4')}),
        r"its settings \(the note or the list of contents\) do not have the checksum",
    ),
    "no checksum": (lambda m, a: m.pop("greenlab.sha256"), "do not have the checksum"),
    "no list of contents": (lambda m, a: m.pop("greenlab.contents"), "list of contents cannot be read"),
    "an older format": (lambda m, a: m.pop("greenlab.format"), "its format is none, expected 2"),
}


@pytest.mark.parametrize("name", ALTERED)
def test_an_altered_file_is_refused_and_what_is_wrong_is_named(contents, tmp_path, name):
    change, message = ALTERED[name]
    metadata, arrays = dict(contents[0]), {key: array.copy() for key, array in contents[1].items()}
    save_file(arrays, str(tmp_path / "model"), metadata=metadata)
    assert load_model(tmp_path / "model").config == SMALL
    change(metadata, arrays)
    save_file(arrays, str(tmp_path / "model"), metadata=metadata)
    with pytest.raises(ValueError, match=rf"path='.*model' is damaged or was altered: .*{message}"):
        load_model(tmp_path / "model")


def test_a_file_that_was_cut_or_is_something_else_is_refused(tmp_path):
    path = tmp_path / "model"
    save_model(pack_model(bit_gpt(SMALL, 1)), path)
    whole = path.read_bytes()
    for content in (whole[:-1], whole[:100], b"", b"hello", bytes(5000)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as a safetensors file"):
            load_model(path)


STRUCTURE = {
    "one matrix too few": (
        lambda m, o: m.pop(QUERY),
        "it has 13 packed matrices, and its config asks for 7 for each of 2",
    ),
    "another name": (
        lambda m, o: (m.update(other=m.pop(QUERY)), o.update({"other.norm": o.pop(f"{QUERY}.norm")})),
        "'blocks.0.attention.query' is not in both",
    ),
    "another shape": (
        lambda m, o: m.update({QUERY: m[UP]}),
        r"'blocks.0.attention.query' is \(32, 16\).* asks for \(16, 16\)",
    ),
    "a norm missing": (
        lambda m, o: o.pop(f"{QUERY}.norm"),
        "some of its packed matrices have a norm and some have none",
    ),
    "a short norm": (lambda m, o: o.update({f"{QUERY}.norm": torch.ones(4)}), r"norm is .*expected floats \(16,\)"),
    "no embedding": (lambda m, o: o.pop("embedding.weight"), "it has no embedding"),
    "another embedding": (
        lambda m, o: o.update({"embedding.weight": torch.ones(3, 16)}),
        r"an embedding of shape \(3, 16\)",
    ),
    "no last norm": (lambda m, o: o.pop("norm.weight"), "'norm.weight' is not in both the file and the model"),
    "NaN": (lambda m, o: o["norm.weight"].fill_(float("nan")), "'norm.weight' is .*finite numbers"),
}


@pytest.mark.parametrize("name", STRUCTURE)
def test_a_whole_file_that_is_no_model_of_its_config_is_refused(tmp_path, name):
    """Written by `save_packed` itself, so that every checksum is right."""
    change, message = STRUCTURE[name]
    path = tmp_path / "model"
    save_model(pack_model(bit_gpt(SMALL, 1)), path)
    matrices, others, note = load_packed(path)
    change(matrices, others)
    save_packed(matrices, path, others, note=note)
    with pytest.raises(ValueError, match=rf"holds no packed GPT: .*{message}"):
        load_model(path)


@pytest.mark.parametrize(
    "note", ["[]", "{}", "no json", '{"config": {"d_model": 16}, "eps": 1e-5}', '{"config": {}, "eps": 1}']
)
def test_a_note_that_is_no_config_is_refused(tmp_path, note):
    save_packed({}, tmp_path / "m", {"a": torch.ones(1)}, note=note)
    with pytest.raises(ValueError, match="holds no packed GPT"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["trained", "converted"])
def test_every_kind_of_model_comes_back_with_its_dtype(tmp_path, kind, tied, dtype):
    config = dataclasses.replace(SMALL, tied_embeddings=tied)
    source = bit_gpt(config, 3) if kind == "trained" else convert(GPT(config, seed=3))
    packed, ids = pack_model(source.bfloat16() if dtype == torch.bfloat16 else source), torch.tensor([[5, 6, 7]])
    save_model(packed, tmp_path / "m")
    again = load_model(str(tmp_path / "m"))
    assert again.embedding.weight.dtype == dtype
    assert (again.head.weight is again.embedding.weight) == tied
    assert again.state_dict().keys() == packed.state_dict().keys()
    with torch.no_grad():
        assert torch.equal(again(ids), packed(ids))


def test_a_place_that_cannot_be_written_or_read_is_named(tmp_path):
    model = pack_model(bit_gpt(SMALL))
    for place in (tmp_path / "missing" / "m", tmp_path):
        with pytest.raises(ValueError, match=r"cannot be written .*give a file in a folder that exists"):
            save_model(model, place)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        save_model(model, tmp_path / "file" / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # nothing half-written is left
    for place in (tmp_path / "missing", tmp_path):
        with pytest.raises(ValueError, match="is no file"):
            load_model(place)
    for bad in (None, 3, b"m", ""):
        with pytest.raises(TypeError, match="path="):
            save_model(model, bad)
        with pytest.raises(TypeError, match="path="):
            load_model(bad)


def test_a_file_can_be_read_by_whoever_may_read_new_files(tmp_path):
    save_packed({}, tmp_path / "m", {"a": torch.ones(1)})
    (tmp_path / "new").write_text("")
    assert (tmp_path / "m").stat().st_mode == (tmp_path / "new").stat().st_mode


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: save_packed({"a": 1}, "m"), TypeError, r"matrices\['a'\] is int"),
        (lambda: save_packed({}, "m", {"a": 1}), TypeError, r"others\['a'\] is int"),
        (lambda: save_packed({}, "m", note=3), TypeError, "note is int"),
        (
            lambda: save_packed({"a": pack(torch.ones(1, 1))}, "m", {"a": torch.ones(1)}),
            ValueError,
            "the name of a packed",
        ),
        (lambda: save_packed({}, "m", {"greenlab.note": torch.ones(1)}), ValueError, "starts with 'greenlab.'"),
        (lambda: save_model(torch.nn.Linear(2, 2), "m"), TypeError, "model is Linear: give a packed GPT"),
        (lambda: save_model(GPT(SMALL), "m"), ValueError, "holds no PackedLinear"),
    ],
)
def test_what_cannot_be_saved_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_file_without_a_model_is_refused(tmp_path):
    save_packed({}, tmp_path / "m.safetensors", {"a": torch.ones(1)})
    with pytest.raises(ValueError, match="no model"):
        load_model(tmp_path / "m.safetensors")


def test_a_model_of_any_size_can_be_made_packed():
    model = GPT(CONFIG, linear=random_packed, block=BitBlock)
    matrices = [m.packed for m in model.modules() if isinstance(m, PackedLinear)]
    assert sum(m.shape[0] * m.shape[1] for m in matrices) == CONFIG.n_layers * (
        CONFIG.shape.attention_weights + CONFIG.shape.feed_forward_weights
    )
    assert torch.isfinite(model(torch.tensor([[1, 2, 3]]))).all()
