"""The same layer written for one token at a time: slow and plainly right. Tests hold the fast one to it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from greenlab.core import checks
from greenlab.mixture_of_experts.layer import MoE


def token_by_token(moe: MoE, x: Tensor) -> Tensor:
    """What ``moe(x)`` gives, by a loop over tokens and a loop over the experts of each.

    Args:
        moe: the layer; its weights are used, not its code.
        x: ``(B, S, C)``.

    Returns:
        ``(B, S, C)``.

    Raises:
        TypeError: if ``moe`` is no `MoE`, or ``x`` no tensor of floats.
        ValueError: if ``x`` has another width or no token.
    """
    checks.instance("moe", moe, MoE)
    moe._check(x)
    tokens, outputs = x.reshape(-1, x.shape[-1]), []
    capacity = moe.router.capacity(len(tokens))  # None: no limit
    taken = [0] * moe.n_experts
    for token in tokens:
        y = torch.zeros_like(token) if moe.shared is None else moe.shared(token)
        for expert, weight in zip(*_choice(moe, token), strict=True):
            if expert >= moe.n_experts or taken[expert] == capacity:
                continue  # a no-op, or an expert that is full: nothing is added
            taken[expert] += 1
            hidden = F.silu(moe.gate[expert] @ token) * (moe.up[expert] @ token)
            y = y + weight * (moe.down[expert] @ hidden)
        outputs.append(y)
    return torch.stack(outputs).view_as(x)


def _choice(moe: MoE, token: Tensor) -> tuple[list[int], Tensor]:
    """The experts of one token ``(C,)`` and their weights."""
    router = moe.router
    logits = router.weight @ token
    scores = logits.sigmoid() if router.scores == "sigmoid" else logits.softmax(0)
    order = (scores + router.bias).tolist()
    size = len(order) // router.n_groups  # experts of a group
    groups = [order[g * size : (g + 1) * size] for g in range(router.n_groups)]
    by_best_two = sorted(range(len(groups)), key=lambda g: -sum(sorted(groups[g])[-2:]))
    allowed = [e for e in range(len(order)) if e // size in by_best_two[: router.top_groups]]
    chosen = sorted(allowed, key=lambda e: -order[e])[: router.top_k]
    if router.scores == "top_k_softmax":
        return chosen, router.scale * logits[chosen].softmax(0)
    weights = scores[chosen]
    return chosen, router.scale * (weights / weights.sum() if router.normalize else weights)
