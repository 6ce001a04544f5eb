"""How fast is it, side by side? Two pieces of work are timed in turn, A B A B, so that a drifting machine treats them alike."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import torch
from torch import Tensor


@torch.no_grad()
def prefill(model: Any, input_ids: Tensor) -> Tensor:
    """Read tokens ``(B, S)`` in one pass without a cache; return logits ``(B, S, vocab)``."""
    return model(input_ids, use_cache=False).logits


@torch.no_grad()
def decode(model: Any, input_ids: Tensor, n_new_tokens: int) -> Tensor:
    """Write ``n_new_tokens`` likeliest tokens one by one with the KV cache; return the whole ``(B, S + n_new_tokens)``.

    A bare loop: what it takes is the model's own time, not that of a generation framework.
    """
    if n_new_tokens < 1:
        raise ValueError(f"n_new_tokens={n_new_tokens}: expected at least 1 token to write")
    # transformers 5.24 calls the argument cache, and warns of the older name on stderr
    name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    output = model(input_ids, use_cache=True, logits_to_keep=1)
    written = [input_ids, output.logits[:, -1:].argmax(-1)]
    for _ in range(n_new_tokens - 1):
        output = model(written[-1], use_cache=True, **{name: output.past_key_values})
        written.append(output.logits[:, -1:].argmax(-1))
    return torch.cat(written, dim=1)


def interleave(works: Mapping[str, Callable[[], object]], *, rounds: int = 5, warmup: int = 1) -> pd.DataFrame:
    """Time each work once a round, in turn.

    Returns:
        One row per work and round: work, round, time_s.
    """
    if rounds < 1 or not works:
        raise ValueError(f"rounds={rounds} and {len(works)} works: expected at least one of each")
    rows = []
    for i in range(-warmup, rounds):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if i >= 0:
                rows.append({"work": name, "round": i, "time_s": time.perf_counter() - start})
    return pd.DataFrame(rows)


def ratios(times: pd.DataFrame, base: str) -> pd.Series:
    """Return how many times faster each work is than ``base``: the median over rounds of the ratio within a round."""
    table = times.pivot(index="round", columns="work", values="time_s")
    if base not in table:
        raise ValueError(f"base={base!r}: expected one of {', '.join(table.columns)}")
    return (1 / table.div(table[base], axis=0)).median()


def read_bandwidth(n_bytes: int = 2**27, rounds: int = 5) -> float:
    """How fast this machine reads memory [B/s]: the best of some sums over an array that no cache holds.

    Raises:
        ValueError: if the array could sit in a cache.
    """
    if n_bytes < 2**26:
        raise ValueError(f"n_bytes={n_bytes}: expected {2**26:,} or more, else a large cache answers instead of memory")
    data = torch.ones(n_bytes // 4)
    best_s = interleave({"sum": data.sum}, rounds=rounds)["time_s"].min()
    return data.nbytes / best_s


def matmul_rate(n: int = 1024, dtype: torch.dtype = torch.float32, rounds: int = 5) -> float:
    """How fast this machine multiplies square matrices [FLOP/s], a multiply-add being 2; the best of some rounds."""
    a = torch.full((n, n), 0.5, dtype=dtype)
    best_s = interleave({"matmul": lambda: a @ a}, rounds=rounds)["time_s"].min()
    return 2 * n**3 / best_s
