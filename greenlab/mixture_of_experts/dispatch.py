"""Bring every token to its experts and back, so that nothing is computed for experts that nobody chose.

The rows are sorted by expert; each expert multiplies its own rows once; the results are added to where the tokens came
from. Shapes: T tokens, C d_model, E experts, k choices a token, F width of an expert.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def run_experts(x: Tensor, experts: Tensor, weights: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The weighted sum of what each token's experts make of it: ``(T, C)``.

    Args:
        x: the tokens ``(T, C)``.
        experts: the choices ``(T, k)``; a number from E on stands for no expert, and nothing is added for it.
        weights: of the choices ``(T, k)``.
        gate: one matrix an expert, ``(E, F, C)``.
        up: one matrix an expert, ``(E, F, C)``.
        down: one matrix an expert, ``(E, C, F)``.
    """
    n_experts, out = len(gate), torch.zeros_like(x)
    # The gradient of gate[e] would be a tensor as large as all experts, for each e. That of unbind is made once.
    gates, ups, downs = ((m.unbind() if torch.is_grad_enabled() else m) for m in (gate, up, down))

    def expert(e: int, rows: Tensor) -> Tensor:
        return F.linear(F.silu(F.linear(rows, gates[e])) * F.linear(rows, ups[e]), downs[e])

    if len(x) == 1:  # while writing, one token at a time: nothing to sort
        for choice, e in enumerate(experts[0].tolist()):
            if e < n_experts:
                out = out + weights[:, choice : choice + 1] * expert(e, x)
        return out.to(x.dtype)

    chosen = experts.flatten()  # (T * k,)
    order = chosen.argsort()
    counts = torch.bincount(chosen, minlength=n_experts).tolist()  # tokens of each expert
    tokens, shares = (order // experts.shape[1]).split(counts), weights.flatten()[order, None].split(counts)
    for e in range(n_experts):
        if counts[e]:
            y = expert(e, x[tokens[e]]) * shares[e]
            out.index_add_(0, tokens[e], y.to(x.dtype))
    return out
