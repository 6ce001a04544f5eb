"""Chapter 7's races: one row times a matrix, and whole models writing text, each work timed in turn with its peers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import psutil
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenlab.core import checks, compiled, speed
from greenlab.core.energy.meter import measure_call
from greenlab.core.machine import available_cores, release_memory
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.ternary import BitBlock, PackedLinear, bytes_in_memory, kernels, pack, random_packed

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

    All start from float activations: rounding them to 8 bits is part of the work. ``int8`` is torch's own integer
    product. With ``every_kernel`` each ternary kernel runs, in both layouts, under its own name.

    Raises:
        TypeError: if a size is no integer, or ``every_kernel`` no boolean.
        ValueError: if a size is below 1.
    """
    for name, size in (("n", n), ("k", k), ("batch", batch)):
        checks.integer(name, size, low=1)
    checks.flag("every_kernel", every_kernel)
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
    """Bits that a product of `products` reads for each weight.

    Raises:
        TypeError: if ``work`` is no text.
    """
    if not isinstance(work, str):
        raise TypeError(f"work={work!r} is {type(work).__name__}: give the name of a product, such as 'bfloat16'")
    return BITS.get(work, 1.6 if "1.6" in work else 2)


@torch.no_grad()
def race(
    n: int,
    k: int,
    batch: int = 1,
    *,
    rounds: int = 9,
    every_kernel: bool = False,
    cold: bool = False,
    others: Mapping[str, Work] | None = None,
) -> pd.DataFrame:
    """Time the products in turn, until their best rounds agree or `PATIENCE` times ``rounds`` are over.

    Args:
        n: rows of the weights.
        k: their columns.
        batch: rows of the activations.
        rounds: how often each is timed before the rounds are compared.
        every_kernel: each ternary kernel under its own name.
        cold: empty the processor's caches before each product. Else each goes on for some milliseconds, so that a
            matrix that fits a cache is read from it, as when one matrix is used again and again.
        others: more works to time in the same turns.

    Returns:
        One row per work: work, time_us (of its best round), g_weights_per_s (multiply-adds), faster (than float32, best
        round against best round), bytes_per_s (of weights read), and what `doubt` judges by: rounds, spread,
        busy_elsewhere.

    Raises:
        TypeError: if a size or ``rounds`` is no integer, or a switch no boolean.
        ValueError: if a size or ``rounds`` is below 1.
    """
    checks.integer("rounds", rounds, low=1)
    checks.flag("cold", cold)
    works = products(n, k, batch, every_kernel=every_kernel) | dict(others or {})
    release_memory()  # free what products() needed in between, so that timing starts from a clean heap
    if cold:
        large = torch.ones(2**25)  # 128 MiB, more than a cache holds
        turn = partial(speed.interleave, works, rounds=rounds, before=large.sum)
    else:
        turn = partial(speed.interleave, works, rounds=rounds, min_time_s=0.01)
    times, busy = _until_agreed(turn)
    del works, turn
    release_memory()
    best, faster, spread = _best(times)
    rows = [
        {
            "work": name,
            "time_us": 1e6 * best[name],
            "g_weights_per_s": batch * n * k / best[name] / 1e9,
            "faster": faster[name],
            "bytes_per_s": n * k * bits_of(name) / 8 / best[name],
            "rounds": times["round"].nunique(),
            "spread": spread[name],
            "busy_elsewhere": busy,
        }
        for name in times["work"].unique()
    ]
    return pd.DataFrame(rows)


PATIENCE = 4  # times the rounds asked for: then a race ends, whether its rounds agree or not
SPREAD_MAX = 1.3  # a quiet machine stays below; with another program on one of two cores it is 1.5 to 4
BUSY_MAX = 0.25  # cores that other programs may use beside a race


def _until_agreed(turn: Callable[[], pd.DataFrame]) -> tuple[pd.DataFrame, float]:
    """All rounds that were run, and how many cores other programs kept from the race in its last turns."""
    turns: list[pd.DataFrame] = []
    for _ in range(PATIENCE):
        rounds_before = sum(t["round"].nunique() for t in turns)
        elsewhere = _Elsewhere()
        new = turn()
        busy = elsewhere.cores()
        turns.append(new.assign(round=new["round"] + rounds_before))
        times = pd.concat(turns, ignore_index=True)
        if busy <= BUSY_MAX and _best(times)[2].max() <= SPREAD_MAX:
            break
    return times, busy


def _best(times: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    """Time of each work's best round [s], how many times faster than float32 that is, and the spread.

    The best round is the one that other programs disturbed least. The spread is the round at the first quarter over the
    best: it is near 1 where several rounds came out alike, so that the best is no accident.
    """
    by_work = times.groupby("work")["time_s"]
    best = by_work.min()
    spread = by_work.quantile(0.25, interpolation="higher") / best
    return best, best["float32"] / best, spread


class _Elsewhere:
    """Counts the CPU time that other programs use on this process's cores, from now on."""

    def __init__(self) -> None:
        self.wall_s, self.busy_s, self.own_s = time.perf_counter(), _busy_s(), _own_s()

    def cores(self) -> float:
        """Cores that other processes kept busy and the race could have used.

        It is the CPU seconds of the others in a second, less the cores that the race left idle.
        """
        wall_s = max(time.perf_counter() - self.wall_s, 1e-9)
        others = (_busy_s() - self.busy_s - (_own_s() - self.own_s)) / wall_s
        n_cores = len(_cores())
        idle = n_cores - available_cores() if n_cores > available_cores() else 0  # a quota leaves the rest to others
        needed = torch.get_num_threads()
        return float(max(0.0, others - idle - max(0, available_cores() - needed)))


def _cores() -> list[int]:
    every = range(psutil.cpu_count() or 1)
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(every)


def _busy_s() -> float:
    """CPU seconds spent on this process's cores by any program since the machine started."""
    times = psutil.cpu_times(percpu=True)
    chosen = [times[core] for core in _cores() if core < len(times)]
    return sum(t.user + t.system + getattr(t, "nice", 0.0) + getattr(t, "steal", 0.0) for t in chosen)


def _own_s() -> float:
    times = psutil.Process().cpu_times()
    return times.user + times.system


def doubt(table: pd.DataFrame) -> str:
    """Why the numbers of a `race` or of `race_models` should not be trusted; empty if nothing speaks against them.

    Args:
        table: what one of the two returned.

    Raises:
        ValueError: if it has no columns spread and busy_elsewhere.
    """
    if missing := {"spread", "busy_elsewhere"} - set(table):
        raise ValueError(f"table has no column {', '.join(sorted(missing))}: give what race or race_models returned")
    spread, busy = float(table["spread"].max()), float(table["busy_elsewhere"].max())
    remedy = "close other programs and try again"
    if spread > SPREAD_MAX:
        return f"Do not trust this: the rounds disagree by a factor of {spread:.1f}; {remedy}."
    if busy > BUSY_MAX:
        return f"Do not trust this: other programs use {busy:.1f} of the cores that the race needs; {remedy}."
    return ""


MODELS = ("float32", "bfloat16", "ternary", "ternary, head in bfloat16")


def models(config: GPTConfig = SMOLLM2, names: Sequence[str] = MODELS) -> dict[str, GPT]:
    """Untrained models of one shape: what they write is noise, how fast they write it is not.

    All but the bfloat16 one share one table of embeddings, which is also their output head: memory for it is taken
    once.
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


@torch.no_grad()
def race_models(
    works: Mapping[str, GPT], n_tokens: int, *, rounds: int = 5, prompt_tokens: int = 16, energy: bool = True
) -> pd.DataFrame:
    """Let models write with the KV cache, in turn, and measure their energy in turn as well.

    Args:
        works: models by name, one of them float32.
        n_tokens: tokens that each writes in a round.
        rounds: how often.
        prompt_tokens: random tokens to start from.
        energy: whether to measure joules.

    Returns:
        One row per model: model, tokens_per_s (in its best round), faster (than float32), weights_mb, rounds, spread,
        busy_elsewhere (see `doubt`) and, with ``energy``, joules a token, the mean of the rounds: j_per_token, low_j,
        high_j and their basis, which is measured only if every round's is.

    Raises:
        TypeError: if a number is no integer, or ``energy`` no boolean.
        ValueError: if ``works`` has no float32, or a number is below 1.
    """
    if "float32" not in works:
        raise ValueError(f"works has {', '.join(works) or 'no models'}: one must be called float32, to compare with")
    checks.integer("n_tokens", n_tokens, low=1)
    checks.integer("rounds", rounds, low=1)
    checks.integer("prompt_tokens", prompt_tokens, low=1)
    checks.flag("energy", energy)
    vocab = works["float32"].config.vocab_size
    prompt = torch.randint(0, vocab, (1, prompt_tokens), generator=torch.Generator().manual_seed(1))
    calls = {name: partial(model.generate, prompt, n_tokens, temperature=0) for name, model in works.items()}
    elsewhere = _Elsewhere()
    times = speed.interleave(calls, rounds=rounds)
    busy = elsewhere.cores()
    joules = _energy_in_turn(calls, n_tokens, rounds) if energy else {}
    best, faster, spread = _best(times)
    rows: list[dict[str, Any]] = []
    for name, model in works.items():
        row = {"model": name, "tokens_per_s": n_tokens / best[name], "faster": faster[name]}
        row["weights_mb"] = bytes_in_memory(model) / 1e6
        row |= {"rounds": rounds, "spread": spread[name], "busy_elsewhere": busy}
        rows.append(row | joules.get(name, {}))
    return pd.DataFrame(rows)


def _energy_in_turn(calls: Mapping[str, Work], n_tokens: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Joules a token of each model: every round measures each once, so that a disturbance meets all alike."""
    receipts: dict[str, list[Any]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            receipt = measure_call(call, name, warmup=0, min_time_s=1 / rounds)[1]
            receipts[name].append(receipt.per(n_tokens))
    return {
        name: {
            "j_per_token": sum(r.energy_j for r in found) / rounds,
            "low_j": sum(r.low_j for r in found) / rounds,
            "high_j": sum(r.high_j for r in found) / rounds,
            "basis": "measured" if all(r.basis == "measured" for r in found) else "modelled",
        }
        for name, found in receipts.items()
    }


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
