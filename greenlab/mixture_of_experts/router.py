"""The router of a mixture of experts: which experts a token goes to, and how much each of them counts.

Every token chooses (token choice): a small matrix gives each expert a logit, the best ``top_k`` are taken, and their
scores become weights. Shapes in the comments: T tokens, C d_model, E choices (the experts, then the no-op ones), k
``top_k``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.model.gpt import LARGEST_SIZE, at_least_float32

SCORES = ("softmax_top_k", "top_k_softmax", "sigmoid")
EPS = 1e-20  # sigmoid scores can all be 0 in float32; their sum must not divide by zero


class Routing(NamedTuple):
    """What a router decided for T tokens.

    Attributes:
        logits: ``(T, E)``, in float32 at least.
        scores: ``(T, E)``, the softmax or the sigmoid of the logits.
        experts: ``(T, k)``, the choices of each token, the best first. A number from ``n_experts`` on is a no-op.
        weights: ``(T, k)``, what each chosen expert's output is multiplied by.
        kept: ``(T, k)``, False where the expert was full, so that the token is dropped.
    """

    logits: Tensor
    scores: Tensor
    experts: Tensor
    weights: Tensor
    kept: Tensor


class Router(nn.Module):
    """Scores experts for each token and takes the best ``top_k``.

    ``bias`` ``(E,)`` is added to the scores for the choice only; the weights never see it (arXiv:2408.15664, eq. 3).
    ``chosen`` ``(E,)`` counts the choices made in training, until `update_bias` reads them.

    Args:
        d_model: width of a token.
        n_experts: experts to choose from.
        top_k: choices of a token.
        scores: see `MoE`.
        normalize: whether the weights of a token are divided by their sum; None: if ``top_k`` is above 1.
        n_no_op: choices beyond the experts that do nothing.
        capacity_factor: see `MoE`.
        scale: the weights are multiplied by it.
        n_groups: the experts form so many groups of equal size.
        top_groups: a token chooses from its so many best groups; None is all.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if it is out of range, or they do not fit together.
    """

    bias: Tensor
    chosen: Tensor

    def __init__(
        self,
        d_model: int,
        n_experts: int,
        top_k: int,
        *,
        scores: str = "softmax_top_k",
        normalize: bool | None = None,
        n_no_op: int = 0,
        capacity_factor: float | None = None,
        scale: float = 1.0,
        n_groups: int = 1,
        top_groups: int | None = None,
    ) -> None:
        super().__init__()
        d_model = checks.integer("d_model", d_model, low=1, high=LARGEST_SIZE)
        self.n_experts = checks.integer("n_experts", n_experts, low=1, high=LARGEST_SIZE)
        n_choices = self.n_experts + checks.integer("n_no_op", n_no_op, low=0, high=LARGEST_SIZE)
        remedy = "a token cannot choose more experts than there are"
        self.top_k = checks.integer("top_k", top_k, low=1, high=n_choices, remedy=remedy)
        self.scores = checks.one_of("scores", scores, SCORES)
        self.normalize = self.top_k > 1 if normalize is None else checks.flag("normalize", normalize)
        if scores == "top_k_softmax" and normalize is False:
            raise ValueError("normalize=False: a softmax over the chosen logits sums to 1; take scores='softmax_top_k'")
        if self.top_k == 1 and (self.normalize or scores == "top_k_softmax"):
            raise ValueError(
                f"top_k=1 with normalize={normalize}, scores={scores!r}: the weight is 1 whatever the router says, so "
                "it gets no gradient; take normalize=False with 'softmax_top_k' or 'sigmoid', or top_k of 2 or more"
            )
        self.capacity_factor = (
            None if capacity_factor is None else checks.number("capacity_factor", capacity_factor, above=0, high=1e6)
        )
        self.scale = checks.number("scale", scale, above=0, high=1e6)
        self.n_groups, self.top_groups = self._groups(n_groups, top_groups, n_choices)
        self.weight = nn.Parameter(torch.empty(n_choices, d_model))
        nn.init.normal_(self.weight, std=0.02)
        self.register_buffer("bias", torch.zeros(n_choices))
        self.register_buffer("chosen", torch.zeros(n_choices, dtype=torch.int64), persistent=False)

    def _groups(self, n_groups: int, top_groups: int | None, n_choices: int) -> tuple[int, int]:
        n_groups = checks.integer("n_groups", n_groups, low=1, high=self.n_experts)
        if n_groups > 1 and (n_choices > self.n_experts or self.n_experts % n_groups or self.n_experts == n_groups):
            raise ValueError(
                f"n_groups={n_groups}: give a divisor of n_experts={self.n_experts} that leaves 2 or more experts a "
                "group, and n_no_op=0"
            )
        least = -(-self.top_k * n_groups // n_choices)  # so many groups hold top_k experts
        remedy = f"top_k={self.top_k} choices must fit into the groups that are left"
        if top_groups is None:
            return n_groups, n_groups
        return n_groups, checks.integer("top_groups", top_groups, low=least, high=n_groups, remedy=remedy)

    def forward(self, x: Tensor) -> Routing:
        """Decide for the tokens ``x`` ``(T, C)``."""
        logits = at_least_float32(F.linear(x, self.weight))  # (T, E)
        scores = logits.sigmoid() if self.scores == "sigmoid" else logits.softmax(-1)
        order = scores.detach() + self.bias  # the bias takes part in the choice, not in the weights
        if self.top_groups < self.n_groups:
            order = self._within_the_best_groups(order)
        experts = order.topk(self.top_k, dim=-1).indices  # (T, k)
        if self.scores == "top_k_softmax":
            weights = logits.gather(-1, experts).softmax(-1)
        else:
            weights = scores.gather(-1, experts)
            if self.normalize:
                weights = weights / (weights.sum(-1, keepdim=True) + EPS)
        if self.scale != 1:
            weights = weights * self.scale
        if self.training:
            self.chosen += torch.bincount(experts.flatten(), minlength=len(self.chosen))
        return Routing(logits, scores, experts, weights.to(x.dtype), self._kept(experts))

    def _within_the_best_groups(self, order: Tensor) -> Tensor:
        """Leave out the experts of other groups; a group is as good as its two best (arXiv:2412.19437, sec. 2.1.2)."""
        grouped = order.unflatten(-1, (self.n_groups, -1))  # (T, groups, experts of a group)
        best = grouped.topk(2, dim=-1).values.sum(-1).topk(self.top_groups, dim=-1).indices
        left = torch.zeros(grouped.shape[:2], dtype=torch.bool, device=order.device).scatter(-1, best, True)
        return grouped.masked_fill(~left[..., None], -math.inf).flatten(1)

    def capacity(self, n_tokens: int) -> int | None:
        """The most tokens that an expert takes from a batch of ``n_tokens``; None without ``capacity_factor``.

        Raises:
            TypeError: if ``n_tokens`` is no integer.
            ValueError: if it is below 1.
        """
        n_tokens = checks.integer("n_tokens", n_tokens, low=1, high=LARGEST_SIZE)
        if self.capacity_factor is None:
            return None
        fair_share = n_tokens * self.top_k / len(self.bias)
        return max(1, math.ceil(self.capacity_factor * fair_share - 1e-6))  # 1.1 * 10 is a little above 11 in floats

    def _kept(self, experts: Tensor) -> Tensor:
        """Which of the choices ``(T, k)`` fit into their experts, which fill in the order of the text.

        GShard (arXiv:2006.16668, alg. 1) fills all first choices before the second ones. Then a later token could push
        out an earlier one, and the past would depend on the future. (The room still grows with the number of tokens.)
        """
        capacity = self.capacity(len(experts))
        if capacity is None:
            return torch.ones_like(experts, dtype=torch.bool)
        turn = F.one_hot(experts.flatten(), len(self.bias)).cumsum(0)  # (T * k, E)
        turn = turn.gather(-1, experts.flatten()[:, None]).view_as(experts)  # 1 for the first that comes
        return (turn <= capacity) | (experts >= self.n_experts)
