"""Packed ternary weights against torch and ONNX Runtime: one row times a matrix, larger batches, whole models.

Works take turns in one run, on one thread and on two; a ratio is the median over rounds. A turn lasts some
milliseconds, so that a matrix that fits a cache is read from it; "cold" empties the caches before each call. Every
product is checked against int64 first, at random and with every activation at 127. Marks at 4096 x 4096 against torch
float32: portable >= 3.2 and >= 6 on two threads, avx2 >= 8 and >= 12; the best kernel >= 1.5 x ONNX Runtime's
MatMulNBits(bits=2) at its best block size.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import torch

from greenlab.core import speed
from greenlab.core.machine import ROOT, available_cores
from greenlab.ternary import kernels, pack
from greenlab.ternary.study import races

SHAPES = ((576, 1536), (2048, 2048), (4096, 4096), (11008, 4096))
MARKS = {
    ("ternary portable", 1): 3.2,
    ("ternary portable", 2): 6.0,
    ("ternary avx2", 1): 8.0,
    ("ternary avx2", 2): 12.0,
}
NOTHING = np.empty(0, np.float32)
ONNX_MARK, DECODE_MARK, FIRST_USE_MARK_S = 1.5, 2.0, 5.0


def onnx_2bit(n: int, k: int, block: int, threads: int) -> Callable[[], object]:
    """ONNX Runtime's product with 2-bit weights, as a call without arguments; int8 arithmetic is allowed (level 4)."""
    helper, rng = onnx.helper, np.random.default_rng(0)
    weights = rng.integers(0, 256, (n, k // block, block // 4), dtype=np.uint8)
    scales = np.full(n * (k // block), 0.01, np.float32)
    node = helper.make_node(
        "MatMulNBits",
        ["x", "w", "s"],
        ["y"],
        domain="com.microsoft",
        K=k,
        N=n,
        bits=2,
        block_size=block,
        accuracy_level=4,
    )
    kind = onnx.TensorProto
    ends = [helper.make_tensor_value_info(name, kind.FLOAT, [1, size]) for name, size in (("x", k), ("y", n))]
    constants = [
        helper.make_tensor("w", kind.UINT8, weights.shape, weights.tobytes(), raw=True),
        helper.make_tensor("s", kind.FLOAT, scales.shape, scales),
    ]
    graph = helper.make_graph([node], "product", ends[:1], ends[1:], constants)
    versions = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(
        helper.make_model(graph, opset_imports=versions, ir_version=10).SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
    )
    return partial(session.run, None, {"x": rng.standard_normal((1, k), dtype=np.float32)})


def check_exact(n: int, k: int) -> None:
    """Every kernel and layout against int64."""
    rng = np.random.default_rng(0)
    random = rng.integers(-1, 2, (n, k)), rng.integers(-128, 128, (1, k))
    for w, x in (random, (np.ones((n, k), int), np.full((1, k), 127))):
        for layout in ("2bit", "base3"):
            packed = pack(torch.from_numpy(w), layout=layout)
            for name in kernels.names():
                if not np.array_equal(kernels.matmul(x.astype(np.int8), packed, name), x @ w.T):
                    raise ArithmeticError(f"the kernel {name} is not exact at {n} x {k}, {layout}")


def one_row(rounds: int) -> pd.DataFrame:
    """Time of one row times each shape, by kernel, beside torch; activations and results are torch tensors."""
    bandwidth, tables = speed.read_bandwidth(), []
    for n, k in SHAPES:
        check_exact(n, k)
        for threads in sorted({1, available_cores()}):
            races.set_threads(threads)
            table = races.race(n, k, rounds=rounds, every_kernel=True)
            table["cold_faster"] = races.race(n, k, rounds=5, every_kernel=True, cold=True)["faster"]
            large = (n, k) == (4096, 4096)
            table["mark"] = [MARKS.get((work, threads), np.nan) if large else np.nan for work in table["work"]]
            table["of_bandwidth"] = table["bytes_per_s"] / bandwidth
            tables.append(table.drop(columns="bytes_per_s").assign(shape=f"{n}x{k}", threads=threads))
    found = pd.concat(tables, ignore_index=True)
    return found.assign(within_mark=(found["faster"] >= found["mark"]).where(found["mark"].notna()))


def against_onnx(rounds: int) -> pd.DataFrame:
    """Ours against ONNX Runtime at each block size, NumPy in and NumPy out, rounding the activations included.

    In turns of their own: its threads wait without sleeping and would slow down whoever comes next.
    """
    rows = []
    for n, k in SHAPES:
        x, packed = np.random.default_rng(0).standard_normal((1, k), dtype=np.float32), pack(torch.ones(n, k))
        for threads in sorted({1, available_cores()}):
            races.set_threads(threads)
            works: dict[str, Callable[[], Callable[[], object]]] = {
                f"ONNX Runtime 2-bit, block {block}": partial(onnx_2bit, n, k, block, threads) for block in (32, 128)
            }
            for name in kernels.names():
                works[f"ternary {name}"] = partial(
                    partial, kernels.linear, x, packed, NOTHING, NOTHING, kernel_name=name
                )
            us = {
                name: 1e6
                * speed.interleave({"one": make()}, rounds=rounds, warmup=2, min_time_s=0.01)["time_s"].median()
                for name, make in works.items()
            }
            best = min(time for name, time in us.items() if name.startswith("ONNX"))
            for name, time in us.items():
                row = {"shape": f"{n}x{k}", "threads": threads, "work": name, "time_us": time, "x_onnx": best / time}
                row["g_weights_per_s"] = n * k / time / 1e3
                fastest = (n, k) == (4096, 4096) and name == f"ternary {kernels.names()[0]}"
                rows.append(row | {"mark": ONNX_MARK if fastest else np.nan})
    found = pd.DataFrame(rows)
    return found.assign(within_mark=(found["x_onnx"] >= found["mark"]).where(found["mark"].notna()))


def break_even(n: int = 2048, k: int = 2048, batches: tuple[int, ...] = (1, 4, 16, 64, 256)) -> pd.DataFrame:
    """How many times faster than float32 at each batch size, all cores; where it falls below 1 is the break-even."""
    races.set_threads(available_cores())
    tables = [races.race(n, k, batch, rounds=7, every_kernel=True).assign(batch=batch) for batch in batches]
    return pd.concat(tables).pivot(index="batch", columns="work", values="faster").reset_index()


def decode(rounds: int = 5) -> list[pd.DataFrame]:
    """Tokens a second of models of SmolLM2's shape in the same cached loop, and where the ternary one's time goes."""
    models, tables = races.models(), []
    for threads in sorted({1, available_cores()}):
        races.set_threads(threads)
        tables.append(races.race_models(models, 24, rounds=rounds, energy=False).assign(threads=threads))
    table = pd.concat(tables, ignore_index=True)
    met = [
        faster >= DECODE_MARK if "ternary" in name else None
        for name, faster in zip(table["model"], table["faster"], strict=True)
    ]
    return [table.assign(within_mark=met), races.time_by_part(models["ternary"])]


def first_use() -> pd.DataFrame:
    """Seconds that a new process waits for its first product: nothing compiled yet, then from numba's cache."""
    code = (
        "import time, torch; from greenlab.ternary import *; layer = random_packed(576, 64); "
        "start = time.perf_counter(); "
        "layer(torch.ones(1, 576)); print(time.perf_counter() - start)"
    )
    with tempfile.TemporaryDirectory() as folder:
        run = partial(
            subprocess.run,
            [sys.executable, "-c", code],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"NUMBA_CACHE_DIR": folder},
        )
        times = {name: float(run().stdout) for name in ("nothing compiled", "cached")}
    return pd.DataFrame(
        [{"first use": name, "time_s": s, "within_mark": s <= FIRST_USE_MARK_S} for name, s in times.items()]
    )


def run(rounds: int = 15) -> list[pd.DataFrame]:
    """All tables."""
    tables = [one_row(rounds), against_onnx(rounds), break_even(), *decode(), first_use()]
    races.set_threads(available_cores())
    return tables
