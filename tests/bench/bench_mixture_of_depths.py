"""Mixture of depths: a block, a prompt and cached writing against dense, and against computing all tokens and masking.

An eighth of the tokens enters every second block. Works take turns in one run, on one thread and on two; a share or a
ratio is the median over rounds. A turn lasts some milliseconds, as a block in a model finds its own data in the caches.
Marks: at 512 tokens a block takes <= 0.15 of the dense one's time, the alternating model reads a prompt >= 1.65 times
as fast as the dense one, and it writes faster (ratio above 1).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from greenlab.core import speed
from greenlab.core.machine import available_cores
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.model.training import next_token_loss
from greenlab.mixture_of_depths import MoDBlock, mod_blocks, mod_layers, mod_loss, routing_mode, selection

WIDTHS, TOKENS, NEW = (256, 512), 512, 32
SHARE_MARK, PREFILL_MARK, DECODE_MARK = 0.15, 1.65, 1.0


class Masked(MoDBlock):
    """What most public code does: compute every token, then throw away what was not chosen. Nothing is saved."""

    def forward(self, x: Tensor, rotation: Tensor, cache: object = None) -> Tensor:
        routing = self.routing(x)
        weight = routing.scores * routing.selected
        return x + weight[..., None] * (self.block(x, rotation, None) - x)


def models(d_model: int) -> tuple[GPT, GPT]:
    """A dense model and one that skips, whose predictors let an eighth of the text enter, as after training."""
    config = GPTConfig(
        vocab_size=256, context_length=TOKENS + NEW, n_layers=8, d_model=d_model, n_heads=d_model // 64,
        d_ff=d_model * 8 // 3 // 64 * 64,
    )  # fmt: skip
    dense, skipping = GPT(config).eval(), GPT(config, block=mod_blocks()).eval()

    def lower(mod: MoDBlock, arguments: tuple[Tensor, ...]) -> None:
        logits = mod.logits(arguments[0]).flatten()
        mod.predictor[-1].bias -= logits.kthvalue(round(logits.numel() * (1 - mod.capacity))).values

    with torch.no_grad():
        for mod in mod_layers(skipping).values():
            hook = mod.register_forward_pre_hook(lower)
            with routing_mode(skipping, "causal"):
                skipping(text(config))
            hook.remove()
    return dense, skipping


def text(config: GPTConfig, batch: int = 1) -> Tensor:
    """Random token ids ``(batch, TOKENS + NEW)``."""
    return torch.randint(config.vocab_size, (batch, TOKENS + NEW), generator=torch.Generator().manual_seed(batch))


def race(
    task: str, works: dict[str, Callable[[], object]], rounds: int, marks: dict[str, float], **about: object
) -> list[dict]:
    """One row a work: its time, its share of the dense one's time, and how many times faster it is."""
    times = speed.interleave(works, rounds=rounds, warmup=2, min_time_s=0.05)
    ms, faster = 1e3 * times.groupby("work")["time_s"].median(), speed.ratios(times, "dense")
    return [
        {"task": task, **about, "work": name, "time_ms": ms[name], "share": 1 / faster[name], "faster": faster[name],
         "mark": marks.get(name, np.nan), "within_mark": faster[name] >= marks[name] if name in marks else None}
        for name in works
    ]  # fmt: skip


def forward(model: nn.Module, *arguments: Tensor, mode: str | None = None) -> Callable[[], object]:
    """A pass without gradients."""

    @torch.no_grad()
    def run() -> None:
        if mode is None:
            model(*arguments)
        else:
            with routing_mode(model, mode):
                model(*arguments)

    return run


def writer(model: GPT, ids: Tensor) -> Callable[[], object]:
    """Write the last NEW tokens one by one; the cache holds the others already."""
    cache = model.new_cache()
    with torch.no_grad():
        model(ids[:, :TOKENS], cache=cache)
    held = [layer.lengths for layer in cache.layers]
    new = ids[:, TOKENS:].split(1, dim=1)

    @torch.no_grad()
    def run() -> None:
        cache.length = TOKENS
        for layer, lengths in zip(cache.layers, held, strict=True):
            layer.lengths = lengths
        for token in new:
            model(token, cache=cache, head="last")

    return run


def step(model: GPT, loss_fn: Callable[..., Tensor]) -> Callable[[], object]:
    """Forward and backward of a training step."""
    inputs = text(model.config, 2)[:, :TOKENS]
    targets = inputs.roll(-1, 1)

    def run() -> None:
        model.zero_grad()
        loss_fn(model, inputs, targets).backward()

    return run


def one_width(d_model: int, rounds: int) -> list[dict]:
    """All races at one width, on the threads that are set."""
    dense, skipping = models(d_model)
    mod, ids = skipping.blocks[1], text(dense.config)
    assert isinstance(mod, MoDBlock)
    masked = Masked(mod.block, d_model)
    x, rotation = torch.randn(1, TOKENS, d_model, generator=torch.Generator().manual_seed(0)), dense.rotation[:TOKENS]
    about = {"d_model": d_model, "threads": torch.get_num_threads()}
    blocks = {"dense": forward(mod.block, x, rotation), "mod": forward(mod, x, rotation)}
    rows = race(
        "block",
        blocks | {"compute all and mask": forward(masked, x, rotation)},
        rounds,
        {"mod": 1 / SHARE_MARK},
        **about,
    )
    prompt = ids[:, :TOKENS]
    prompts = {
        "dense": forward(dense, prompt),
        "mod": forward(skipping, prompt),
        "mod, token by token": forward(skipping, prompt, mode="causal"),
    }
    rows += race("prompt", prompts, rounds, {"mod": PREFILL_MARK}, **about)
    writers = {"dense": writer(dense, ids), "mod": writer(skipping, ids)}
    rows += race("cached writing", writers, rounds, {"mod": DECODE_MARK}, **about)
    if d_model == min(WIDTHS):
        steps = {"dense": step(dense, next_token_loss), "mod": step(skipping, mod_loss())}
        rows += race("training step", steps, max(3, rounds // 3), {}, **about)
    return rows


def entered(d_model: int) -> pd.DataFrame:
    """How many tokens enter where each decides by itself: of the prompt, and of those that are written after it."""
    skipping = models(d_model)[1]
    with routing_mode(skipping, "causal"):
        table = selection(skipping, text(skipping.config))
    table["part"] = np.where(table["position"] < TOKENS, f"prompt of {TOKENS}", f"{NEW} written")
    counts = table.pivot_table(index="layer", columns="part", values="predicted", aggfunc="sum").reset_index()
    return counts.assign(d_model=d_model)


def run(rounds: int = 15) -> list[pd.DataFrame]:
    """All tables."""
    rows = []
    for threads in sorted({1, available_cores()}):
        torch.set_num_threads(threads)
        for d_model in WIDTHS:
            rows += one_width(d_model, rounds)
    torch.set_num_threads(available_cores())
    return [pd.DataFrame(rows), pd.concat([entered(d_model) for d_model in WIDTHS])]
