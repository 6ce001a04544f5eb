"""Packed weights: without loss, and their product equal to int64 on every kernel that this processor runs."""

import ctypes

import hypothesis.strategies as st
import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from greenlab.core import compiled
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.ternary import codegen, kernels, linear
from greenlab.ternary.linear import PackedLinear, load_model, pack_model, random_packed, save_model, bytes_in_memory
from greenlab.ternary.packing import K_MAX, PLANES, PackedTernary, load_packed, pack, save_packed, unpack
from greenlab.ternary.quantize import BitBlock, BitLinear, bit_gpt

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
            assert (parallel := kernels._take_threads(t * n * k)) == (threads > 1)
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
