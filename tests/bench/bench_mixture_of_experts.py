"""Mixture of experts: the layer against a dense one and against transformers' variants, and cached decoding.

The layer has 8 experts, top-2, d_model=256, d_ff=1024. The dense part gets tokens * 2 rows: the same FLOPs, without
routing. transformers' Mixtral block holds the same weights; its batched_mm copies 3 MB of weights for each choice of a
token and runs at one token only, as it takes some forty times as long beyond. Works take turns; a time is the best of
all rounds, of which there are more where a call is short. Marks: forward at most 0.8 x the dense time at 2,048 tokens
and 1.4 x at 512; at least as fast as the fastest variant of transformers at every size, forward and forward + backward.
From 128 tokens on all variants wait for the same matrix products: there x_peer is 1 and the mark a toss of a coin.

Decoding: one sequence with a cache that holds its prompt, experts of 13 MB each, so that no cache of the processor
holds what a token uses. Marks: at least 1.5 x as fast as the dense model of equal total size, at most 1.2 x the time of
the dense one of equal active size.

Run: python tests/bench/bench_mixture_of_experts.py [THREADS]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from greenlab.core import speed
from greenlab.core.machine import available_cores
from greenlab.core.model.gpt import GPT, GPTConfig, SwiGLU
from greenlab.core.model.random_state import local_seed
from greenlab.mixture_of_experts import MoE

N_EXPERTS, TOP_K = 8, 2
ROUNDS = {1: 400, 16: 100, 128: 50, 512: 24, 2048: 8}  # by tokens
LAYER = GPTConfig(vocab_size=8, n_layers=1, d_model=256, n_heads=4, d_ff=1024)
VARIANTS = ("eager", "grouped_mm", "batched_mm")
MOST_BATCHED = 1  # tokens
OURS, DENSE = "greenlab", "dense, tokens * 2 rows"
DENSE_MARKS, PEER_MARK = {512: 1.4, 2048: 0.8}, 1.0

DECODER = GPTConfig(vocab_size=256, context_length=64, n_layers=4, d_model=512, n_heads=8, d_ff=2048)
PROMPT, NEW = 8, 12
TOTAL_MARK, ACTIVE_MARK = 1.5, 1.2


def peer(moe: MoE, variant: str) -> nn.Module:
    """Transformers' block with the weights of ``moe``, computing in one of its ways."""
    config = MixtralConfig(
        hidden_size=LAYER.d_model, intermediate_size=LAYER.d_ff, num_local_experts=N_EXPERTS,
        num_experts_per_tok=TOP_K, experts_implementation=variant,
    )  # fmt: skip
    block = MixtralSparseMoeBlock(config)
    with torch.no_grad():
        block.gate.weight.copy_(moe.router.weight)
        block.experts.gate_up_proj.copy_(torch.cat([moe.gate, moe.up], dim=1))
        block.experts.down_proj.copy_(moe.down)
    return block


def layers() -> dict[str, nn.Module]:
    """Every variant by name, with equal weights; each is checked against ours."""
    with local_seed(0):
        moe, x = MoE(LAYER, n_experts=N_EXPERTS, top_k=TOP_K), torch.randn(1, 8, LAYER.d_model)
        found = {OURS: moe, DENSE: SwiGLU(LAYER)} | {variant: peer(moe, variant) for variant in VARIANTS}
    for variant in VARIANTS:
        torch.testing.assert_close(found[variant](x), moe(x), rtol=1e-5, atol=1e-7)
    return found


def forward(layer: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """A forward pass that keeps nothing."""

    @torch.no_grad()
    def run() -> Tensor:
        return layer(x)

    return run


def forward_backward(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    """A forward pass and the gradients of weights and input."""
    x = x.clone().requires_grad_()

    def run() -> None:
        layer.zero_grad()
        x.grad = None
        layer(x).sum().backward()

    return run


def best_times(works: dict[str, Callable[[], object]], rounds: int) -> pd.Series:
    """The shortest time of each work [s], half of the rounds in the reverse order: each leaves caches as it does."""
    orders = works, dict(reversed(works.items()))
    times = [speed.interleave(order, rounds=(rounds + 1) // 2, warmup=1) for order in orders]
    return pd.concat(times).groupby("work")["time_s"].min()


def race() -> pd.DataFrame:
    """One row per task and size, on the threads that are set."""
    found, rows = layers(), []
    for task, make in (("forward", forward), ("forward + backward", forward_backward)):
        for n, rounds in ROUNDS.items():
            x = torch.randn(1, n, LAYER.d_model, generator=torch.Generator().manual_seed(n))
            works = {
                name: make(layer, torch.cat([x] * TOP_K, dim=1) if name == DENSE else x)
                for name, layer in found.items()
                if name != "batched_mm" or n <= MOST_BATCHED
            }
            best_s = best_times(works, rounds)
            fastest = best_s[[name for name in VARIANTS if name in works]].idxmin()
            row = {"task": task, "tokens": n, "threads": torch.get_num_threads(), "ours_ms": 1e3 * best_s[OURS]}
            row |= {"dense_ms": 1e3 * best_s[DENSE], "of_dense": best_s[OURS] / best_s[DENSE], "fastest_peer": fastest}
            row |= {"peer_ms": 1e3 * best_s[fastest], "x_peer": best_s[fastest] / best_s[OURS]}
            limit = DENSE_MARKS.get(n, float("inf")) if task == "forward" else float("inf")
            rows.append(row | {"within_mark": bool(row["of_dense"] <= limit and row["x_peer"] >= PEER_MARK)})
    return pd.DataFrame(rows)


def decoders() -> dict[str, GPT]:
    """A model with experts, the dense one with as many weights, and the dense one with as many at work."""
    experts = GPT(DECODER, feed_forward=partial(MoE, n_experts=N_EXPERTS, top_k=TOP_K)).eval()

    def dense(n_experts: int) -> GPT:
        def wide(config: GPTConfig, *, linear: Callable[..., nn.Module]) -> nn.Module:
            return SwiGLU(GPTConfig(**{**vars(config), "d_ff": n_experts * config.d_ff}), linear=linear)

        return GPT(DECODER, feed_forward=wide).eval()

    return {OURS: experts, "dense, equal total": dense(N_EXPERTS), "dense, equal active": dense(TOP_K)}


def writer(model: GPT, text: Tensor) -> Callable[[], None]:
    """Write the last NEW tokens of ``text`` one by one; the cache holds those before them already."""
    cache = model.new_cache()
    with torch.no_grad():
        model(text[:, :PROMPT], cache=cache)
    new = text[:, PROMPT:].split(1, dim=1)

    @torch.no_grad()
    def run() -> None:
        cache.truncate(PROMPT)
        for token in new:
            model(token, cache=cache, head="last")

    return run


def decode(models: dict[str, GPT], rounds: int = 16) -> pd.DataFrame:
    """Tokens a second of one sequence with a cache; the text is drawn, so that experts change from token to token.

    The prompt is read before the clock starts: it is no part of writing, and its tokens visit most of the experts.
    """
    text = torch.randint(0, DECODER.vocab_size, (1, PROMPT + NEW), generator=torch.Generator().manual_seed(0))
    best_s = best_times({name: writer(model, text) for name, model in models.items()}, rounds)
    rows = []
    for name, model in models.items():
        ratio = best_s[name] / best_s[OURS]  # above 1: ours is faster
        met = {"dense, equal total": ratio >= TOTAL_MARK, "dense, equal active": 1 / ratio <= ACTIVE_MARK}.get(name)
        row = {"model": name, "weights_mb": 4e-6 * sum(p.numel() for p in model.parameters()), "ours_faster": ratio}
        row |= {"tokens_per_s": NEW / best_s[name], "threads": torch.get_num_threads(), "within_mark": met}
        rows.append(row)
    return pd.DataFrame(rows)


def run(threads: int | None = None) -> list[pd.DataFrame]:
    """The layers and the decoders, on two threads and on one, or on so many."""
    models, before, tables = decoders(), torch.get_num_threads(), []
    for n in sorted({1, available_cores()} if threads is None else {threads}):
        torch.set_num_threads(n)
        tables += [race(), decode(models)]
    torch.set_num_threads(before)
    return tables


if __name__ == "__main__":
    for found in run(threads=int(sys.argv[1]) if len(sys.argv) > 1 else None):
        print(found.to_string(index=False, float_format="{:,.2f}".format), "\n")
