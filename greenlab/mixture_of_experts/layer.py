"""A mixture-of-experts layer: many feed-forward parts, of which each token uses few (arXiv:2101.03961, 2401.04088).

All experts are in memory; a token pays for ``top_k`` of them. The arithmetic is saved for real: an expert multiplies
the tokens that chose it, and no others.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.model.gpt import LARGEST_SIZE, GPTConfig, LinearPart, SwiGLU
from greenlab.mixture_of_experts.dispatch import run_experts
from greenlab.mixture_of_experts.router import Router


class MoE(nn.Module):
    """A feed-forward part of ``n_experts`` SwiGLU experts, of which each token uses ``top_k``.

    The output is the sum of the chosen experts' outputs, each times its weight. Without ``capacity_factor`` no token
    is ever dropped.

    Three ways to make weights from the router's logits:

    * ``"softmax_top_k"``: a softmax over all experts, then the best ``top_k``. With ``normalize`` their weights are
      divided by their sum (Qwen3), without it they stay (Switch Transformer, OLMoE).
    * ``"top_k_softmax"``: the best ``top_k``, then a softmax over these (Mixtral). It gives the same weights as
      ``"softmax_top_k"`` with ``normalize``.
    * ``"sigmoid"``: each expert's score for itself, chosen with ``router.bias`` added, weighted without it
      (DeepSeek-V3, arXiv:2412.19437, eq. 12 to 16). `update_bias` moves the bias so that the experts get equal work.

    Args:
        config: the sizes.
        linear: makes the matrices of the shared experts. The routed experts are three tensors, ``gate`` and ``up``
            ``(E, d_expert, C)`` and ``down`` ``(E, C, d_expert)``, and a part handed in does not reach them.
        n_experts: experts that the router chooses from, E.
        top_k: experts that a token uses, 1 to E + ``n_no_op``.
        d_expert: width of an expert; None is ``config.d_ff``.
        scores: ``"softmax_top_k"``, ``"top_k_softmax"`` or ``"sigmoid"``.
        normalize: whether the weights of a token sum to ``scale``; None: if ``top_k`` is above 1. With ``top_k=1`` it
            would leave the router without a gradient and is refused.
        n_shared: experts that every token uses, with weight 1; together they are one wider SwiGLU.
        d_shared: width of each of them; None is ``d_expert``.
        n_no_op: further choices of the router that add nothing: a token may leave out work (integrated MoDE,
            arXiv:2404.02258, sec. 4.3).
        capacity_factor: an expert takes at most so many times its fair share of a batch's choices, above 0, rounded up
            (arXiv:2101.03961, eq. 3); further tokens are dropped, those that come last first. The room grows with the
            tokens of a call, and the texts of a batch share it: read in pieces, with a cache or in another batch, a
            text may lose other tokens. None drops nothing.
        scale: the weights are multiplied by it, above 0 (2.5 in DeepSeek-V3).
        n_groups: the experts form so many groups (8 in DeepSeek-V3).
        top_groups: a token chooses from its so many best groups (4 in DeepSeek-V3); None is all.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if one is out of range, or they do not fit together.

    >>> config = GPTConfig(vocab_size=10, n_layers=1, d_model=8, n_heads=2, d_ff=16)
    >>> moe = MoE(config, n_experts=4, top_k=2)
    >>> moe(torch.ones(1, 3, 8)).shape, tuple(moe.gate.shape), moe.router(torch.ones(3, 8)).experts.shape
    (torch.Size([1, 3, 8]), (4, 16, 8), torch.Size([3, 2]))
    """

    def __init__(
        self,
        config: GPTConfig,
        *,
        linear: LinearPart = nn.Linear,
        n_experts: int = 8,
        top_k: int = 2,
        d_expert: int | None = None,
        scores: str = "softmax_top_k",
        normalize: bool | None = None,
        n_shared: int = 0,
        d_shared: int | None = None,
        n_no_op: int = 0,
        capacity_factor: float | None = None,
        scale: float = 1.0,
        n_groups: int = 1,
        top_groups: int | None = None,
    ) -> None:
        super().__init__()
        checks.instance("config", config, GPTConfig)
        checks.function("linear", linear, remedy="a class or a function that makes the part")
        width, d_model = config.d_ff if d_expert is None else d_expert, config.d_model
        width = checks.integer("d_expert", width, low=1, high=LARGEST_SIZE)
        d_shared = width if d_shared is None else checks.integer("d_shared", d_shared, low=1, high=LARGEST_SIZE)
        n_shared = checks.integer("n_shared", n_shared, low=0, high=LARGEST_SIZE // d_shared)
        self.router = Router(
            d_model, n_experts, top_k, scores=scores, normalize=normalize, n_no_op=n_no_op,
            capacity_factor=capacity_factor, scale=scale, n_groups=n_groups, top_groups=top_groups,
        )  # fmt: skip
        self.gate = nn.Parameter(torch.empty(n_experts, width, d_model))
        self.up = nn.Parameter(torch.empty(n_experts, width, d_model))
        self.down = nn.Parameter(torch.empty(n_experts, d_model, width))
        for weight in (self.gate, self.up, self.down):  # GPT draws those of nn.Linear and nn.Embedding only
            nn.init.normal_(weight, std=0.02)
        self.shared: nn.Module | None = None
        if n_shared:
            self.shared = SwiGLU(dataclasses.replace(config, d_ff=n_shared * d_shared), linear=linear)

    @property
    def n_experts(self) -> int:
        """Experts that the router chooses from, without the no-op ones."""
        return self.router.n_experts

    def forward(self, x: Tensor) -> Tensor:
        """``(B, S, C)`` to ``(B, S, C)``."""
        self._check(x)
        tokens = x.reshape(-1, x.shape[-1])  # (T, C)
        routing = self.router(tokens)
        experts = routing.experts
        if self.router.capacity_factor is not None:
            experts = experts.masked_fill(~routing.kept, self.n_experts)  # dropped: no expert has this number
        y = run_experts(tokens, experts, routing.weights, self.gate, self.up, self.down).view_as(x)
        return y if self.shared is None else y + self.shared(x)

    def _check(self, x: Any) -> None:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            got = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise TypeError(f"x is {got}: give a tensor of floats, of the shape (B, S, {self.gate.shape[2]})")
        if x.ndim < 1 or x.shape[-1] != self.gate.shape[2] or not x.numel():
            raise ValueError(
                f"x has the shape {tuple(x.shape)}: give (B, S, d_model) with d_model={self.gate.shape[2]} and at "
                "least one token"
            )

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"n_experts={self.n_experts}, top_k={self.router.top_k}, scores={self.router.scores!r}"
