"""Chapter 7's races: one row times a matrix, and whole models writing text, each work timed in turn with its peers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenlab.core import checks, compiled, speed
from greenlab.core.energy.meter import measure_call
from greenlab.core.machine import available_cores, release_memory
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.ternary import BitBlock, PackedLinear, kernels, pack, random_packed, bytes_in_memory

Work = Callable[[], object]
SMOLLM2 = GPTConfig(49152, 512, n_layers=30, d_model=576, n_heads=9, d_ff=1536, n_kv_heads=3)
BITS = {"float32": 32, "bfloat16": 16, "int8": 8}  # the ternary ones: 2, or 1.6 in base 3


def set_threads(threads: int) -> None:
    """Let torch and the ternary kernels use as many threads, at most the cores there are.

    Raises:
        TypeError: if ``threads`` is no integer.
        ValueError: if it is below 1.
    """
    compiled.set_threads(min(checks.integer("threads", threads, low=1), available_cores()))


def products(n: int, k: int, batch: int = 1, *, every_kernel: bool = False) -> dict[str, Work]:
    """The product of ``(batch, k)`` activations with ``(n, k)`` weights: float32, bfloat16, int8 and ternary.

    All start from float activations: rounding them to 8 bits is part of the work. ``int8`` is torch's own integer product.
    With ``every_kernel`` each ternary kernel runs, in both layouts, under its own name.
    """
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(batch, k, generator=generator), torch.randn(n, k, generator=generator)
    q = torch.randint(-1, 2, (n, k), generator=generator, dtype=torch.int8)
    works: dict[str, Work] = {
        "float32": partial(F.linear, x, w),
        "bfloat16": partial(F.linear, x.bfloat16(), w.bfloat16()),
    }
    works["int8"] = partial(_int8_linear, x, *_int8(w))
    if not every_kernel:
        return works | {"ternary": partial(PackedLinear(pack(q)), x)}
    for layout, note in (("2bit", ""), ("base3", ", 1.6 bits")):
        packed = pack(q, layout=layout)
        works |= {f"ternary {name}{note}": partial(PackedLinear(packed, kernel=name), x) for name in kernels.names()}
    return works


def _int8(x: Tensor) -> tuple[Tensor, Tensor]:
    scale = x.abs().max() / 127
    return (x / scale).round_().to(torch.int8), scale


def _int8_linear(x: Tensor, weight: Tensor, weight_scale: Tensor) -> Tensor:
    q, scale = _int8(x)
    return torch._int_mm(q, weight.t()) * (scale * weight_scale)  # as torchao does; torch has no public name for it


def bits_of(work: str) -> float:
    """Bits that a product of `products` reads for each weight."""
    return BITS.get(work, 1.6 if "1.6" in work else 2)


@torch.no_grad()
def race(
    n: int, k: int, batch: int = 1, *, rounds: int = 9, every_kernel: bool = False, cold: bool = False,
    others: Mapping[str, Work] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Time the products in turn.

    Args:
        n: rows of the weights.
        k: their columns.
        batch: rows of the activations.
        rounds: how often each is timed.
        every_kernel: each ternary kernel under its own name.
        cold: empty the processor's caches before each product. Else each goes on for some milliseconds, so that a matrix that
            fits a cache is read from it, as when one matrix is used again and again.
        others: more works to time in the same turns.

    Returns:
        One row per work: work, time_us (median), g_weights_per_s (multiply-adds), faster (than float32, median of the
        ratio within a round), bytes_per_s (of weights read).
    """
    works = products(n, k, batch, every_kernel=every_kernel) | dict(others or {})
    release_memory()  # of making them
    if cold:
        large = torch.ones(2**25)  # 128 MiB, more than a cache holds
        times = speed.interleave(works, rounds=rounds, before=large.sum)
    else:
        times = speed.interleave(works, rounds=rounds, min_time_s=0.01)
    del works
    release_memory()
    faster, median = speed.ratios(times, "float32"), times.groupby("work")["time_s"].median()
    rows = [
        {
            "work": name, "time_us": 1e6 * median[name], "g_weights_per_s": batch * n * k / median[name] / 1e9,
            "faster": faster[name], "bytes_per_s": n * k * bits_of(name) / 8 / median[name],
        }
        for name in times["work"].unique()
    ]  # fmt: skip
    return pd.DataFrame(rows)


MODELS = ("float32", "bfloat16", "ternary", "ternary, head in bfloat16")


def models(config: GPTConfig = SMOLLM2, names: Sequence[str] = MODELS) -> dict[str, GPT]:
    """Untrained models of one shape: what they write is noise, how fast they write it is not.

    All but the bfloat16 one share one table of embeddings, which is also their output head: memory for it is taken once.
    """
    table = GPT(replace(config, n_layers=0))
    made: dict[str, GPT] = {}
    for name in names:
        if name == "bfloat16":
            made[name] = GPT(config).bfloat16()
            continue
        parts: dict[str, Any] = {"linear": random_packed, "block": BitBlock} if name.startswith("ternary") else {}
        model = GPT(replace(config, vocab_size=1), **parts)
        model.config, model.embedding, model.head = config, table.embedding, table.head
        if name.endswith("head in bfloat16"):
            model.head = _Bfloat16Head(table.head.weight)  # type: ignore[assignment]
        made[name] = model
    return {name: model.eval() for name, model in made.items()}


class _Bfloat16Head(nn.Module):
    """An output head that reads half the bytes; what it gives is float32 again."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Buffer(weight.detach().bfloat16(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x.bfloat16(), self.weight).float()


def decode(
    works: Mapping[str, GPT], n_tokens: int, *, rounds: int = 5, prompt_tokens: int = 16, energy: bool = True
) -> pd.DataFrame:
    """Let models write with the KV cache, in turn.

    Returns:
        One row per model: model, tokens_per_s, faster (than float32), weights_mb and, with ``energy``, joules a token:
        j_per_token, low_j, high_j and their basis.
    """
    vocab = next(iter(works.values())).config.vocab_size
    prompt = torch.randint(0, vocab, (1, prompt_tokens), generator=torch.Generator().manual_seed(1))
    calls = {name: partial(model.generate, prompt, n_tokens, temperature=0) for name, model in works.items()}
    times = speed.interleave(calls, rounds=rounds)
    faster, median = speed.ratios(times, "float32"), times.groupby("work")["time_s"].median()
    rows: list[dict[str, Any]] = []
    for name, model in works.items():
        row = {"model": name, "tokens_per_s": n_tokens / median[name], "faster": faster[name]}
        row["weights_mb"] = bytes_in_memory(model) / 1e6
        if energy:
            receipt = measure_call(calls[name], name, warmup=0)[1].per(n_tokens)
            row |= {
                "j_per_token": receipt.energy_j,
                "low_j": receipt.low_j,
                "high_j": receipt.high_j,
                "basis": receipt.basis,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def time_by_part(model: GPT, n_tokens: int = 24) -> pd.DataFrame:
    """Where a packed model's time goes while it writes.

    Returns:
        One row per part: part, ms_per_token, share. "the rest" is what is left: attention, norms, Python between them.
    """
    spent = dict.fromkeys(("ternary layers", "output head"), 0.0)

    def timed(part: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = forward(*arguments)
            spent[part] += time.perf_counter() - start
            return result

        return run

    watched = {m: "ternary layers" for m in model.modules() if isinstance(m, PackedLinear)} | {
        model.head: "output head"
    }
    before = {module: module.__dict__.get("forward") for module in watched}
    for module, part in watched.items():
        module.forward = timed(part, module.forward)  # type: ignore[method-assign]
    try:
        prompt = torch.ones(1, 16, dtype=torch.long)
        model.generate(prompt, 4, temperature=0)
        spent |= dict.fromkeys(spent, 0.0)
        start = time.perf_counter()
        model.generate(prompt, n_tokens, temperature=0)
        whole = time.perf_counter() - start
    finally:
        for module, forward in before.items():
            del module.forward
            if forward is not None:
                module.forward = forward  # type: ignore[method-assign]
    spent["the rest"] = whole - sum(spent.values())
    return pd.DataFrame(
        [{"part": part, "ms_per_token": 1e3 * s / n_tokens, "share": s / whole} for part, s in spent.items()]
    )
