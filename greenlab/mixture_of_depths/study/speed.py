"""Chapter 5's races: a block and whole models that skip, timed in turn with dense ones of the same shape.

The weights are random: they change what is computed and not how long it takes, except where each token decides by
itself. There the share that enters is set by the decider's bias, and reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from greenlab.core import checks, speed
from greenlab.core.energy.meter import measure_call
from greenlab.core.machine import available_cores
from greenlab.core.model.gpt import GPT, Block, GPTConfig, RMSNorm, SwiGLU
from greenlab.mixture_of_depths import MoDBlock, mod_blocks, mod_layers
from greenlab.mixture_of_depths.study.tables import flops_share

SHAPE = GPTConfig(vocab_size=256, context_length=1024, n_layers=8, d_model=256, n_heads=4, d_ff=1024)
CAPACITY, EVERY = 0.125, 2
LENGTHS = (128, 512, 1024)  # tokens of a prompt


def pair(config: GPTConfig = SHAPE, capacity: float = CAPACITY, every: int = EVERY) -> dict[str, GPT]:
    """A dense model and one of the same shape that skips: the models by the names "dense" and "mixture of depths"."""
    skipping = GPT(config, block=mod_blocks(capacity, every)).eval()
    return {"dense": GPT(config).eval(), "mixture of depths": skipping}


def prompt(config: GPTConfig, n_tokens: int) -> Tensor:
    """Random token ids ``(1, n_tokens)``, the same at each call."""
    n_tokens = checks.integer("n_tokens", n_tokens, low=1, high=config.context_length)
    return torch.randint(config.vocab_size, (1, n_tokens), generator=torch.Generator().manual_seed(0))


def best(works: Mapping[str, Callable[[], object]], rounds: int, **options: Any) -> pd.DataFrame:
    """Time works in turn: work, time_s (of its best round) and faster (than the first work, best against best)."""
    times = speed.interleave(works, rounds=rounds, **options).groupby("work", sort=False)["time_s"].min()
    table = times.rename("time_s").reset_index()
    return table.assign(faster=table["time_s"].iloc[0] / table["time_s"])


@torch.no_grad()
def race_prefill(models: Mapping[str, GPT], n_tokens: int, rounds: int = 9) -> pd.DataFrame:
    """Let models read the same prompt in turn.

    Args:
        models: by name, the dense one first.
        n_tokens: length of the prompt.
        rounds: how often each reads it; the best round counts.

    Returns:
        One row a model: model, n_tokens, time_s, faster (than the first).
    """
    ids = prompt(next(iter(models.values())).config, n_tokens)
    works = {name: partial(_read, model, ids) for name, model in models.items()}
    return best(works, rounds).rename(columns={"work": "model"}).assign(n_tokens=n_tokens)


def _read(model: GPT, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return model(ids, head="last")


def receipts(models: Mapping[str, GPT], n_tokens: int, repeats: int = 5, *, region: str = "DE") -> dict[str, Any]:
    """What reading a prompt costs each model: the cheapest of ``repeats`` receipts, taken in turn, by name."""
    ids = prompt(next(iter(models.values())).config, n_tokens)
    found: dict[str, Any] = {}
    for _ in range(checks.integer("repeats", repeats, low=1)):
        for name, model in models.items():
            _, receipt = measure_call(partial(_read, model, ids), name, region=region)
            found[name] = min(found.get(name, receipt), receipt, key=lambda one: one.energy_j)
    return found


@torch.no_grad()
def race_blocks(
    n_tokens: int, d_model: int = 256, capacities: tuple[float, ...] = (CAPACITY,), rounds: int = 15
) -> Any:
    """Time one dense block, and one that lets in each of some shares: capacity (1 is dense), time_s, faster."""
    config = replace(SHAPE, d_model=d_model, d_ff=4 * d_model)
    block = Block(config, 0, linear=nn.Linear, feed_forward=SwiGLU, norm=RMSNorm).eval()
    rotation, x = GPT(replace(config, n_layers=0)).rotation[:n_tokens], torch.randn(1, n_tokens, d_model)
    works = {1.0: partial(block, x, rotation)}
    works |= {c: partial(MoDBlock(block, d_model, c).eval(), x, rotation) for c in capacities if c < 1}
    table = best({str(c): partial(_quiet, work) for c, work in works.items()}, rounds)
    return table.assign(capacity=list(works), n_tokens=n_tokens, d_model=d_model).drop(columns="work")


def _quiet(work: Callable[[], object]) -> object:
    with torch.no_grad():
        return work()


def let_in(model: GPT, share: float) -> None:
    """Set the deciders' biases so that about ``share`` of random tokens enter each skipping layer.

    A trained decider does this by itself; random weights would let in half.
    """
    ids = prompt(model.config, model.config.context_length)
    for block in mod_layers(model).values():
        assert isinstance(block.predictor, nn.Sequential)
        held: list[Tensor] = []
        hook = block.register_forward_pre_hook(lambda _, arguments, held=held: held.append(arguments[0]))
        with torch.no_grad():
            model(ids)
            logits = block.predictor(held[0]).flatten()
            block.predictor[-1].bias -= logits.quantile(1 - share)
        hook.remove()


def race_decode(models: Mapping[str, GPT], n_new_tokens: int, n_prompt: int = 16, rounds: int = 5) -> pd.DataFrame:
    """Let models write with a cache, in turn: model, time_s, faster (than the first), tokens_per_s."""
    ids = prompt(next(iter(models.values())).config, n_prompt)
    works = {name: partial(model.generate, ids, n_new_tokens, temperature=0.0) for name, model in models.items()}
    table = best(works, rounds).rename(columns={"work": "model"})
    return table.assign(n_tokens=n_new_tokens, tokens_per_s=n_new_tokens / table["time_s"])


def measure_all() -> dict[str, list[dict[Any, Any]]]:
    """Race blocks, prompts and writing, on one thread and on all: the tables blocks, prefill and decode."""
    tables: dict[str, list[dict[Any, Any]]] = {"blocks": [], "prefill": [], "decode": []}
    models = pair()
    let_in(models["mixture of depths"], CAPACITY)
    before = torch.get_num_threads()
    for threads in sorted({1, available_cores()}):
        torch.set_num_threads(threads)
        try:
            for n in LENGTHS:
                tables["blocks"] += (
                    race_blocks(n, capacities=(1.0, CAPACITY)).assign(threads=threads).to_dict("records")
                )
                found = race_prefill(models, n).assign(
                    threads=threads, flops_share=flops_share(models["dense"].config.shape, n, CAPACITY, EVERY)
                )
                costs = receipts(models, n)
                for name in ("energy_j", "low_j", "high_j", "basis"):
                    found[name] = [getattr(costs[model], name) for model in found["model"]]
                tables["prefill"] += found.to_dict("records")
            tables["decode"] += race_decode(models, 256).assign(threads=threads).to_dict("records")
        finally:
            torch.set_num_threads(before)
    return tables
