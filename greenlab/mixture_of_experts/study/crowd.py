"""The same arithmetic in one large layer or in many small ones, timed on this machine while more and more tokens ask.

The layers are real, and their weights are random: what they compute is of no use, and how long it takes is. Each is
larger than a processor's cache, so that its weights come from memory, as those of a large model do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from greenlab.core import checks, speed
from greenlab.core.energy.meter import Receipt, measure_call
from greenlab.core.model.gpt import GPTConfig, SwiGLU
from greenlab.core.model.random_state import local_seed
from greenlab.mixture_of_experts import MoE

EXPERTS, TOTAL, ACTIVE = "experts", "dense, total size", "dense, active size"
BATCHES = (1, 4, 16, 64, 256)
POOL = 4096  # tokens that are drawn once; each call takes the next ones, so that other experts are asked
LARGEST_BATCH = 2048
FLUSH_VALUES = 2**24  # 64 MB, read between two turns, so that no layer finds its weights in the cache


def layers(
    n_experts: int = 16, top_k: int = 2, d_model: int = 512, d_expert: int = 1024, seed: int = 0
) -> dict[str, nn.Module]:
    """A layer of experts, a dense one with all of its weights, and a dense one with those that a token uses.

    The defaults make 25 million weights, 101 MB in float32.

    Args:
        n_experts: experts of the layer.
        top_k: experts that a token visits.
        d_model: values that stand for a token.
        d_expert: width of an expert.
        seed: of the weights.

    Returns:
        Modules in evaluation mode, by the names `EXPERTS`, `TOTAL` and `ACTIVE`.

    Raises:
        TypeError: if an argument is no whole number.
        ValueError: if a size is below 1, the layer has more than 2^28 weights, or a token visits more experts than
            there are.
    """
    n_experts = checks.integer("n_experts", n_experts, low=1, high=4096)
    top_k = checks.integer("top_k", top_k, low=1, high=n_experts, remedy="at most n_experts")
    d_model = checks.integer("d_model", d_model, low=1, high=2**16)
    d_expert = checks.integer("d_expert", d_expert, low=1, high=2**16)
    if 3 * n_experts * d_model * d_expert > 2**28:
        raise ValueError(f"n_experts={n_experts}, d_model={d_model}, d_expert={d_expert} make more than 2^28 weights")
    config = GPTConfig(vocab_size=1, context_length=1, n_layers=1, d_model=d_model, n_heads=1, d_ff=d_expert)
    made: dict[str, nn.Module] = {}
    with local_seed(seed):
        made[EXPERTS] = MoE(config, n_experts=n_experts, top_k=top_k, normalize=top_k > 1)
        for name, n in ((TOTAL, n_experts), (ACTIVE, top_k)):
            made[name] = SwiGLU(GPTConfig(1, 1, 1, d_model, n_heads=1, d_ff=n * d_expert))
    return {name: layer.eval().requires_grad_(False) for name, layer in made.items()}


class Turns:
    """Calls a layer with the next ``batch`` tokens of a pool, from its start again when the pool is used up.

    Args:
        layer: takes ``(1, batch, d_model)``.
        d_model: values that stand for a token.
        batch: tokens in a call.

    Raises:
        TypeError: if ``layer`` cannot be called, or a size is no whole number.
        ValueError: if a size is out of range.
    """

    def __init__(self, layer: Callable[[Tensor], Tensor], d_model: int, batch: int) -> None:
        self.layer = checks.function("layer", layer)
        self.batch = checks.integer("batch", batch, low=1, high=LARGEST_BATCH)
        d_model = checks.integer("d_model", d_model, low=1, high=2**16)
        self._pool = torch.randn(POOL, d_model, generator=torch.Generator().manual_seed(0))
        self._turn = count()

    def tokens(self, turn: int) -> Tensor:
        """The tokens of a turn, ``(1, batch, d_model)``.

        Raises:
            TypeError: if ``turn`` is no whole number.
            ValueError: if it is below 0.
        """
        start = checks.integer("turn", turn, low=0) % (POOL // self.batch) * self.batch
        return self._pool[None, start : start + self.batch]

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """What the layer makes of the next tokens, ``(1, batch, d_model)``."""
        return self.layer(self.tokens(next(self._turn)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one core: many small products gain little from a second one, and wait for it often."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def receipts(made: Mapping[str, nn.Module], batches: Iterable[int] = (1, 16), region: str = "DE") -> list[Receipt]:
    """What a token costs in the layer of experts and in the dense one of the total size, on one core.

    Args:
        made: as `layers` gives them.
        batches: tokens at once.
        region: whose grid the electricity comes from.

    Returns:
        One receipt for each batch and layer, of a single token.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a batch is out of range, or a layer is missing.
    """
    moe, found = _experts_of(made), []
    for batch in checks.several("batches", batches):
        for name in (EXPERTS, TOTAL):
            turns = Turns(made[name], moe.gate.shape[2], batch)
            with one_thread():
                _, receipt = measure_call(turns, f"{name}, {batch} at once", region=region, min_time_s=0.5)
            found.append(receipt.per(batch))
    return found


def _experts_of(made: Any) -> MoE:
    if not isinstance(made, Mapping) or set(made) != {EXPERTS, TOTAL, ACTIVE}:
        raise ValueError("made must hold the three layers that layers() gives")
    return checks.instance("made", made[EXPERTS], MoE)


def visited(moe: nn.Module, turns: Turns, n_turns: int = 8) -> float:
    """Mean number of different experts that the tokens of a turn visit.

    Args:
        moe: a layer of experts.
        turns: whose tokens are asked for.
        n_turns: how many turns the mean is over.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if ``n_turns`` is below 1.
    """
    router = checks.instance("moe", moe, MoE).router
    checks.instance("turns", turns, Turns)
    n_turns = checks.integer("n_turns", n_turns, low=1, high=1000)
    with torch.no_grad():
        chosen = [router(turns.tokens(turn)[0]).experts.unique() for turn in range(n_turns)]
    return sum(map(len, chosen)) / n_turns


def race(made: Mapping[str, nn.Module], batches: Iterable[int] = BATCHES, rounds: int = 5) -> pd.DataFrame:
    """Time every layer in turn, each time with other tokens and with its weights out of the cache.

    Args:
        made: as `layers` gives them.
        batches: tokens at once.
        rounds: how often each is timed; the best round counts, as other programs can only slow one down.

    Returns:
        One row a batch and layer: batch, layer, us_per_token (microseconds), share (of the time of the dense layer of
        the total size), visited (share of the experts; NaN for dense layers).

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a batch is out of range, or a layer is missing.
    """
    moe = _experts_of(made)
    batches = [
        checks.integer("batches", batch, low=1, high=LARGEST_BATCH) for batch in checks.several("batches", batches)
    ]
    if not batches:
        raise ValueError("batches is empty: give at least one number of tokens")
    d_model = moe.gate.shape[2]
    flush = torch.ones(FLUSH_VALUES)
    rows = []
    for batch in batches:
        works = {name: Turns(layer, d_model, batch) for name, layer in made.items()}
        with one_thread():
            times = speed.interleave(works, rounds=rounds, before=flush.sum)
        best = times.groupby("work")["time_s"].min()
        for name in made:
            share = visited(moe, works[name]) / moe.n_experts if name == EXPERTS else float("nan")
            row = {"batch": batch, "layer": name, "us_per_token": 1e6 * best[name] / batch}
            rows.append(row | {"share": best[name] / best[TOTAL], "visited": share})
    return pd.DataFrame(rows)
