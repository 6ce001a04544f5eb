"""How fast is it, side by side? Work is timed in turn, A B A B, so that a drifting machine treats all alike.

`run_prefill` and `run_decode` run a model. (`hardware.prefill` and `hardware.decode` count the FLOPs and bytes of
that.)
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from greenlab.core import checks
from greenlab.core.calls import checked_work, finished
from greenlab.core.names import unknown


def checked_ids(name: str, input_ids: Any, *, one: bool = False) -> Tensor:
    """Return tokens ``(B, S)``, or raise with the name of the argument.

    Args:
        name: the argument's name, as the caller wrote it.
        input_ids: what was given.
        one: whether it must be a single text.

    Raises:
        TypeError: if it is no tensor of whole numbers.
        ValueError: if it is empty or has another shape.
    """
    one = checks.flag("one", one)
    wanted = "a tensor of token ids (1, S)" if one else "a tensor of token ids (B, S)"
    if not isinstance(input_ids, Tensor):
        raise TypeError(f"{name} is {type(input_ids).__name__}: give {wanted}")
    if input_ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{name} holds {input_ids.dtype}: give {wanted}, of torch.int64")
    if input_ids.ndim != 2 or 0 in input_ids.shape or (one and len(input_ids) != 1):
        raise ValueError(f"{name} has the shape {tuple(input_ids.shape)}: give {wanted}, not empty")
    return input_ids


@torch.no_grad()
def run_prefill(model: Any, input_ids: Tensor) -> Tensor:
    """Read tokens ``(B, S)`` in one pass without a cache; return logits ``(B, S, vocab)``.

    Args:
        model: a transformers model.
        input_ids: `(B, S)`, the text.

    Raises:
        TypeError: if ``input_ids`` is no tensor of whole numbers, or ``model`` cannot be called.
        ValueError: if ``input_ids`` is empty or has another shape, or the model does not know an id (on the CPU).
    """
    checked_ids("input_ids", input_ids)
    if not callable(model):
        raise TypeError(f"model={model!r} is {type(model).__name__}: give a transformers model")
    with _known_ids(input_ids):
        return model(input_ids, use_cache=False).logits


@contextmanager
def _known_ids(input_ids: Tensor) -> Iterator[None]:
    """Name the argument where an embedding on the CPU does not hold a token."""
    try:
        yield
    except IndexError:
        low, high = int(input_ids.min()), int(input_ids.max())
        raise ValueError(f"input_ids holds ids from {low} to {high}: give ids of the model's vocabulary") from None


@torch.no_grad()
def run_decode(model: Any, input_ids: Tensor, n_new_tokens: int) -> Tensor:
    """Write ``n_new_tokens`` likeliest tokens one by one with the KV cache; return the whole ``(B, S + n_new_tokens)``.

    A bare loop: what it takes is the model's own time, not that of a generation framework.

    Args:
        model: a transformers model.
        input_ids: `(B, S)`, the text to go on with.
        n_new_tokens: how many tokens to write.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if ``n_new_tokens`` is below 1, or ``input_ids`` is empty, has another shape or an id that the model
            does not know (on the CPU).
    """
    n_new_tokens = checks.integer("n_new_tokens", n_new_tokens, low=1, high=10_000_000)
    checked_ids("input_ids", input_ids)
    if not hasattr(model, "forward"):
        raise TypeError(f"model={model!r} is {type(model).__name__}: give a transformers model")
    # transformers 5.24 renamed it and warns about the old name, which would end up in a notebook as stderr
    cache = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
    with _known_ids(input_ids):
        output = model(input_ids, use_cache=True, logits_to_keep=1)
    written = [input_ids, output.logits[:, -1:].argmax(-1)]
    for _ in range(n_new_tokens - 1):
        output = model(written[-1], **{cache: getattr(output, cache)}, use_cache=True)
        written.append(output.logits[:, -1:].argmax(-1))
    return torch.cat(written, dim=1)


def interleave(
    works: Mapping[str, Callable[[], object]],
    *,
    rounds: int = 5,
    warmup: int = 1,
    min_time_s: float = 0.0,
    before: Callable[[], object] | None = None,
) -> pd.DataFrame:
    """Time each piece of work once a round, in turn.

    Args:
        works: what to time, by name; each is done when it returns: no async function, no generator.
        rounds: how often.
        warmup: rounds before the first that counts.
        min_time_s: repeat a call for so long in each turn, and take the mean [s]; at most an hour. For calls under a
            millisecond: repeats run with the call's own data in cache, not the previous call's.
        before: called right before each turn, outside the time.

    Returns:
        One row per work and round: work, round, time_s.

    Raises:
        TypeError: if a work cannot be called or returns work that is not done, or an argument is of another kind.
        ValueError: if there is no work, or a number is out of range.
    """
    if not isinstance(works, Mapping):
        raise TypeError(f"works={works!r} is {type(works).__name__}: give a dict of names and functions")
    if not works:
        raise ValueError("works is empty: give at least one name and its function")
    for name, work in works.items():
        checked_work(f"works[{name!r}]", work)
    if before is not None:
        checked_work("before", before)
    rounds = checks.integer("rounds", rounds, low=1, high=1_000_000)
    warmup = checks.integer("warmup", warmup, low=0, high=1_000_000)
    min_time_s = checks.number("min_time_s", min_time_s, low=0, high=3600, remedy="it is in seconds")
    rows = []
    for i in range(-warmup, rounds):
        for name, work in works.items():
            if before is not None:
                before()
            calls, start_s = 0, time.perf_counter()
            while calls == 0 or time.perf_counter() - start_s < min_time_s:
                result = work()
                calls += 1
            time_s = (time.perf_counter() - start_s) / calls
            finished(f"works[{name!r}]", result)
            if i >= 0:
                rows.append({"work": name, "round": i, "time_s": time_s})
    return pd.DataFrame(rows)


def ratios(times: pd.DataFrame, base: str) -> pd.Series:
    """Return how many times faster each work is than ``base``: the median over rounds of the ratio within a round.

    Args:
        times: one row per work and round, as `interleave` gives them.
        base: the work to compare with.

    Raises:
        TypeError: if ``times`` is no table, or ``base`` no text.
        ValueError: if a column is missing, a time is not above 0, a work is missing in a round, or ``base`` is unknown.
    """
    if not isinstance(times, pd.DataFrame):
        raise TypeError(f"times={times!r} is {type(times).__name__}: give the table of interleave(...)")
    if missing := [name for name in ("work", "round", "time_s") if name not in times]:
        raise ValueError(f"times lacks the column {missing[0]!r}: give the table of interleave(...)")
    checks.numbers("times['time_s']", times["time_s"], above=0)
    if times.duplicated(["work", "round"]).any():
        raise ValueError("times lists a work twice in a round: give the table of one interleave(...)")
    table = times.pivot(index="round", columns="work", values="time_s")
    if table.isna().to_numpy().any():
        raise ValueError("times lacks a work in some round: give the table of one interleave(...)")
    if not isinstance(base, str):
        raise TypeError(f"base={base!r} is {type(base).__name__}: give one of {', '.join(table.columns)}")
    if base not in table:
        raise unknown("base", base, table.columns)
    return (1 / table.div(table[base], axis=0)).median()


def read_bandwidth(n_bytes: int = 2**27, rounds: int = 5) -> float:
    """How fast this machine reads memory [B/s]: the best of some sums over an array that no cache holds.

    Args:
        n_bytes: size of the array [B], from 67 MB to 69 GB.
        rounds: of the sum; the best one counts.

    Raises:
        TypeError: if an argument is no whole number.
        ValueError: if it is out of range: a smaller array could sit in a cache.
    """
    n_bytes = checks.integer(
        "n_bytes", n_bytes, low=2**26, high=2**36, remedy="a large cache answers for a smaller array, not memory"
    )
    data = torch.ones(n_bytes // 4)
    best_s = interleave({"sum": data.sum}, rounds=rounds)["time_s"].min()
    return float(data.nbytes / best_s)


def matmul_rate(n: int = 1024, dtype: torch.dtype = torch.float32, rounds: int = 5) -> float:
    """How fast this machine multiplies square matrices [FLOP/s], a multiply-add being 2; the best of some rounds.

    Args:
        n: rows and columns, at most 16,384.
        dtype: of the numbers.
        rounds: of the product; the best one counts.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a number is out of range.
    """
    n = checks.integer("n", n, low=1, high=2**14)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype={dtype!r} is {type(dtype).__name__}: give a torch.dtype")
    a = torch.full((n, n), 0.5).to(dtype)
    best_s = interleave({"matmul": lambda: a @ a}, rounds=rounds)["time_s"].min()
    return float(2 * n**3 / best_s)
