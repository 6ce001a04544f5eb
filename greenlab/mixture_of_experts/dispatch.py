"""Bring every token to its experts and back, so that nothing is computed for experts that nobody chose.

The choices are sorted by expert; each expert multiplies its own rows once; the results are added to where the tokens
came from. Shapes: T tokens, C d_model, E experts, k choices a token, F width of an expert, R rows: the choices that
lead to an expert, T * k of them or fewer.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

FEW = 8  # rows; from 2 of them to here MKL takes half the time if the matrix stands on the left (AMD EPYC, torch 2.13)


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
    if len(x) == 1 and not torch.is_grad_enabled():
        return _one_token(x, experts, weights, gate, up, down)
    chosen = experts.flatten()  # (T * k,)
    counts = torch.bincount(chosen, minlength=len(gate))[: len(gate)].tolist()  # rows of each expert
    order = chosen.argsort()[: sum(counts)]  # (R,), sorted by expert; choices of no expert come last and stay out
    token = order // experts.shape[1]  # (R,), where each row comes from
    rows = x.index_select(0, token).to(gate.dtype)  # (R, C)
    if torch.is_grad_enabled():
        hidden = F.silu(products(rows, gate, counts)) * products(rows, up, counts)  # (R, F)
        rows = products(hidden, down, counts)
    else:
        # Expert by expert, so that what lies between its products stays in the processor's cache. F.linear is what the
        # dense part uses, so a race between the two shows what routing does and nothing else.
        for e, own in enumerate(rows.split(counts)):
            if len(own):
                own.copy_(F.linear(F.silu(F.linear(own, gate[e])).mul_(F.linear(own, up[e])), down[e]))
    share = weights.flatten().index_select(0, order).unsqueeze(1)  # (R, 1)
    return torch.zeros_like(x).index_add_(0, token, (rows * share).to(x.dtype))


def _one_token(x: Tensor, experts: Tensor, weights: Tensor, gate: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """The same for a single token ``(1, C)``, as in writing: there is nothing to sort."""
    y, row = torch.zeros_like(x), x.to(gate.dtype)
    for e, weight in zip(experts[0].tolist(), weights[0].tolist(), strict=True):
        if e < len(gate):
            hidden = F.silu(F.linear(row, gate[e])).mul_(F.linear(row, up[e]))  # (1, F)
            y.add_(F.linear(hidden, down[e]), alpha=weight)
    return y


def products(rows: Tensor, matrices: Tensor, counts: list[int]) -> Tensor:
    """Multiply each group of ``rows`` ``(R, K)`` by its own matrix of ``matrices`` ``(E, N, K)``: ``(R, N)``.

    The first ``counts[0]`` rows belong to the first matrix, and so on. The values are those of ``F.linear`` on each
    group. What differs is the gradient of the matrices: autograd would make one for each group and copy them together
    at the end; here each is written where it belongs, which is faster at few tokens.
    """
    return _Products.apply(rows, matrices, counts)


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, matrices: Tensor, counts: list[int]) -> Tensor:
        ctx.save_for_backward(rows, matrices)
        ctx.counts = counts
        out = rows.new_empty(len(rows), matrices.shape[1])
        used, sizes = _used(counts)
        for e, own, result in zip(used, rows.split(sizes), out.split(sizes), strict=True):
            if len(own) <= FEW:
                result.copy_(torch.mm(matrices[e], own.T).T)
            else:
                torch.mm(own, matrices[e].T, out=result)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        rows, matrices = ctx.saved_tensors
        of_rows, of_matrices = torch.empty_like(rows), torch.empty_like(matrices)
        used, sizes = _used(ctx.counts)
        for e in set(range(len(matrices))).difference(used):
            of_matrices[e].zero_()  # nobody chose it: it learns nothing
        groups = zip(used, rows.split(sizes), slope.split(sizes), of_rows.split(sizes), strict=True)
        for e, own, its_slope, of_own in groups:
            torch.mm(its_slope, matrices[e], out=of_own)
            torch.mm(its_slope.T, own, out=of_matrices[e])
        return of_rows, of_matrices, None


def _used(counts: list[int]) -> tuple[list[int], list[int]]:
    """The matrices that have rows, and how many each has."""
    return [e for e, n in enumerate(counts) if n], [n for n in counts if n]
