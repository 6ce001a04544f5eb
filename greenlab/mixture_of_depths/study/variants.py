"""The models of chapter 5's study: what each one is made of, its loss, its FLOPs, and how well it decides alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from greenlab.core.model import cost
from greenlab.core.model.cost import TransformerShape
from greenlab.core.model.gpt import GPT, Block, GPTConfig, SwiGLU
from greenlab.core.model.training import next_token_loss
from greenlab.mixture_of_depths import MoDBlock, mod_blocks, mod_loss, selection
from greenlab.mixture_of_experts import MoE, load, load_balancing_loss, recorded, z_loss

N_HEADS = 4
TOP_K = 2  # experts of a token
ALPHA, Z = 0.01, 0.001  # weights of the load-balancing loss and of the z-loss, as in OLMoE


@dataclass(frozen=True)
class Variant:
    """One model of the study.

    Attributes:
        words: what it is called in the chapter.
        n_layers: blocks.
        capacity: the share of tokens that a skipping block lets in; None lets all into every block.
        every: each ``every``-th block skips.
        routing: whether the router's weights are "learned" or the choice is "random".
        longer: steps of training, as a multiple of the others'.
        n_experts: experts in each feed-forward part, each half as wide as the dense one; 0 is the dense one.
        n_no_op: further choices of the experts' router that do nothing (integrated MoDE).
        loss: how the choice without the future is learned: by a "predictor" or by an "auxiliary" loss.
    """

    words: str
    n_layers: int = 6
    capacity: float | None = None
    every: int = 2
    routing: str = "learned"
    longer: float = 1.0
    n_experts: int = 0
    n_no_op: int = 0
    loss: str = "predictor"


VARIANTS = {
    "dense": Variant("dense, 6 layers"),
    "mod": Variant("12.5 %, every 2nd block", capacity=0.125),
    "dense_3": Variant("dense, 3 layers", n_layers=3),
    "dense_4": Variant("dense, 4 layers", n_layers=4),
    "mod_10": Variant("12.5 %, every 2nd of 10", n_layers=10, capacity=0.125),
    "mod_long": Variant("12.5 %, every 2nd, 1.7 x the steps", capacity=0.125, longer=1.7),
    "random": Variant("12.5 % at random", capacity=0.125, routing="random"),
    "mod_25": Variant("25 %, every 2nd block", capacity=0.25),
    "mod_50": Variant("50 %, every 2nd block", capacity=0.5),
    "mod_every_1": Variant("12.5 %, every block", capacity=0.125, every=1),
    "mod_every_3": Variant("12.5 %, every 3rd block", capacity=0.125, every=3),
    "moe": Variant("8 experts", n_experts=8),
    "staged": Variant("MoDE, staged", capacity=0.125, n_experts=8),
    "integrated": Variant("MoDE, integrated", n_experts=8, n_no_op=8),
    "auxiliary": Variant("12.5 %, auxiliary loss", capacity=0.125, loss="auxiliary"),
}


class NoiseRouter(nn.Module):
    """A router that knows nothing: its scores are drawn from N(0, 1) anew at each pass (arXiv:2404.02258, sec. 4.1)."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, S, C)`` to ``(B, S, 1)``."""
        return torch.randn(*x.shape[:-1], 1, dtype=x.dtype, device=x.device)


def model(variant: Variant, vocab_size: int, context_length: int, d_model: int, d_ff: int, *, seed: int = 0) -> GPT:
    """Make a model of the study.

    Args:
        variant: what it is made of.
        vocab_size: tokens that it knows.
        context_length: tokens that it can attend to.
        d_model: width.
        d_ff: width of the dense feed-forward part; an expert has half of it, so that two of them are as wide.
        seed: of the first weights.
    """
    config = GPTConfig(vocab_size, context_length, variant.n_layers, d_model, N_HEADS, d_ff)
    feed_forward: Any = SwiGLU
    if variant.n_experts:
        feed_forward = partial(
            MoE, n_experts=variant.n_experts, top_k=TOP_K, d_expert=d_ff // TOP_K, n_no_op=variant.n_no_op
        )
    if variant.capacity is None:
        return GPT(config, feed_forward=feed_forward, seed=seed)
    decider = "router" if variant.loss == "auxiliary" or variant.routing == "random" else "predictor"
    block = mod_blocks(variant.capacity, variant.every, block=Block, decider=decider)
    made = GPT(config, feed_forward=feed_forward, block=block, seed=seed)
    if variant.routing == "random":
        for layer in made.blocks:
            if isinstance(layer, MoDBlock):
                layer.router = NoiseRouter()  # type: ignore[assignment]
    return made


def loss(variant: Variant) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """The ``loss_fn`` that a variant is trained with: of its deciders, of its experts' balance, or of both."""
    decides = variant.capacity is not None and variant.routing == "learned"
    base = mod_loss() if decides else next_token_loss
    if not variant.n_experts:
        return base

    def balanced(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        with recorded(model) as routings:
            total = base(model, inputs, targets)
        for _, one in routings:
            total = total + ALPHA * load_balancing_loss(one.scores, one.experts) + Z * z_loss(one.logits)
        return total

    return balanced


def windows(ids: Tensor, context_length: int, n_windows: int) -> Tensor:
    """The first ``n_windows`` windows of a text ``(N,)`` that follow each other: ``(n_windows, context_length)``."""
    return ids[: n_windows * context_length].view(n_windows, context_length)


def decider_scores(model: nn.Module, ids: Tensor) -> dict[str, float]:
    """How well a model's deciders foresee the top-k of texts ``(B, S)``.

    Returns:
        ``predictor_accuracy`` (share of tokens on which both agree), ``predictor_recall`` (share of the top-k that is
        let in), ``predictor_precision`` (share of those let in that are in the top-k) and ``entered_share`` (of all).
    """
    table = selection(model, ids)
    wanted, got = table["selected"], table["predicted"]
    both = (wanted & got).sum()
    return {
        "predictor_accuracy": float((wanted == got).mean()),
        "predictor_recall": float(both / wanted.sum()),
        "predictor_precision": float(both / got.sum()) if got.any() else float("nan"),
        "entered_share": float(got.mean()),
    }


def no_op_share(model: nn.Module, ids: Tensor) -> float:
    """Share of the experts' choices that do nothing, over all layers, for texts ``(B, S)``."""
    table = load(model, ids)
    return float(table.loc[table["no_op"], "tokens"].sum() / table["tokens"].sum())


def shape(variant: Variant, config: GPTConfig) -> TransformerShape:
    """The sizes that `core.model.cost` counts, without what only writing needs (the predictor)."""
    changes: dict[str, Any] = {}
    if variant.capacity is not None:
        changes |= {"capacity": variant.capacity, "every": variant.every}
    if variant.n_experts:
        changes |= {"n_experts": variant.n_experts, "top_k": TOP_K, "d_expert": config.d_ff // TOP_K}
    return config.shape.replace(**changes)


def flops_per_token(variant: Variant, config: GPTConfig, n_tokens: int, no_op_share: float = 0.0) -> float:
    """FLOPs of a forward pass over ``n_tokens``, a token: multiply-adds of matrices count 2, masked scores do not.

    Args:
        variant: the model.
        config: its sizes.
        n_tokens: length of the text.
        no_op_share: share of the experts' choices that do nothing.
    """
    flops = cost.prefill_flops(shape(variant, config), n_tokens)
    return float(flops.total - no_op_share * flops.feed_forward) / n_tokens


def describe(name: str) -> dict[str, Any]:
    """What a variant is, as columns of a table."""
    variant = VARIANTS[name]
    capacity = float("nan") if variant.capacity is None else variant.capacity
    return {
        "model": name, "words": variant.words, "n_layers": variant.n_layers, "capacity": capacity,
        "every": variant.every if variant.capacity else 0, "routing": variant.routing, "longer": variant.longer,
        "n_experts": variant.n_experts, "n_no_op": variant.n_no_op, "decider": variant.loss,
    }  # fmt: skip
