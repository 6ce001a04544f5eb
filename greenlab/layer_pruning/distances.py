"""How much each layer, and each block of layers, changes what it is given: measured on a real model.

The angular distance of Gromov et al. (arXiv:2403.17887, eq. 7) and the block influence of ShortGPT (Men et al.,
arXiv:2403.03853, eq. 1). The model is not changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.model.decoder import captured_states, check_input_ids, decoder_layers


def block_distances(
    model: nn.Module, input_ids: Tensor, *, tokens: str = "last", attention_mask: Tensor | None = None
) -> Tensor:
    """Angular distance between the input of layer ``l`` and the input of layer ``l + n``, for all ``(l, n)`` at once.

    ``d(l, n) = arccos(cos(x_l, x_(l+n))) / pi``, averaged over samples (arXiv:2403.17887, eq. 7): 0 for the same
    direction, 0.5 for a right angle, 1 for the opposite. ``x_L`` is the output of the last block, before the final
    norm.

    Args:
        model: a causal language model with ``L`` layers; it is not changed.
        input_ids: token ids ``(B, S)``; every row is one sample and passes the model once.
        tokens: ``"last"`` (the paper's choice) or ``"all"``.
        attention_mask: ``(B, S)``, 0 where a row is padding and 1 elsewhere; None if nothing is padding.

    Returns:
        float64 ``(L, L + 1)``: entry ``[l, n]`` is d(l, n); NaN where ``l + n > L``.

    Raises:
        TypeError: if ``input_ids`` is no tensor of integers, or ``attention_mask`` no tensor.
        ValueError: for an empty text, a token that the model does not know, a mask of another shape or without a token
            in some row, another word for ``tokens``, or a model that is not a decoder.
    """
    checks.one_of("tokens", tokens, ("last", "all"))
    n_layers = len(decoder_layers(model))
    angles = [torch.arccos(c) / math.pi for c in _cosines(model, input_ids, tokens, attention_mask)]
    mean = _mean_over_tokens(angles)
    distances = torch.full((n_layers, n_layers + 1), torch.nan, dtype=torch.float64)
    for start in range(n_layers):
        distances[start, : n_layers + 1 - start] = mean[start, start:]
    distances[:, 0] = 0  # a state and itself: exactly 0, where arccos of a rounded 1 is only nearly 0
    return distances


def block_influence(model: nn.Module, input_ids: Tensor, *, attention_mask: Tensor | None = None) -> Tensor:
    """ShortGPT's score of each layer: one minus the mean cosine of its input and its output over all tokens.

    Args:
        model: a causal language model with ``L`` layers; it is not changed.
        input_ids: token ids ``(B, S)``; every row passes the model once.
        attention_mask: ``(B, S)``, 0 where a row is padding and 1 elsewhere; None if nothing is padding.

    Returns:
        float64 ``(L,)``: 0 for a layer that changes no direction.

    Raises:
        TypeError: if ``input_ids`` is no tensor of integers, or ``attention_mask`` no tensor.
        ValueError: for an empty text, a token that the model does not know, a mask of another shape or without a token
            in some row, or a model that is not a decoder.
    """
    decoder_layers(model)
    cosines = [c.diagonal(offset=1).mT for c in _cosines(model, input_ids, "all", attention_mask)]  # each (L, T)
    return _mean_over_tokens([1 - c for c in cosines])


def _cosines(model: nn.Module, input_ids: Tensor, tokens: str, attention_mask: Tensor | None) -> Iterator[Tensor]:
    """Yield the cosine between every two depths, ``(L + 1, L + 1, T)``: one forward pass for each row of the batch.

    Padding is cut off before the pass, so it costs nothing and changes nothing.
    """
    check_input_ids(input_ids, cast(Any, model).config.vocab_size)
    mask = _checked_mask(attention_mask, input_ids)
    for row, used in zip(input_ids, mask, strict=True):
        ids = row[used][None].to(model.device)
        last = torch.tensor([ids.shape[1] - 1]) if tokens == "last" else None
        states: list[Tensor] = []
        with captured_states(model, states, last), torch.no_grad():
            cast(nn.Module, model.base_model)(ids, use_cache=False)  # without the output head, which is not needed
        x = torch.stack(states, dim=1)  # (T, L + 1, d_model)
        yield (x @ x.mT).clamp(-1, 1).permute(1, 2, 0)  # rounding may leave [-1, 1], where arccos is NaN


def _checked_mask(attention_mask: Tensor | None, input_ids: Tensor) -> Tensor:
    """Which tokens are no padding, as booleans ``(B, S)``."""
    if attention_mask is None:
        return torch.ones_like(input_ids, dtype=torch.bool)
    if not isinstance(attention_mask, Tensor):
        raise TypeError(f"attention_mask is {type(attention_mask).__name__}: give a tensor of 0 and 1, or None")
    if attention_mask.shape != input_ids.shape:
        raise ValueError(
            f"attention_mask has the shape {tuple(attention_mask.shape)}, input_ids {tuple(input_ids.shape)}: "
            "give equal shapes"
        )
    if not ((attention_mask == 0) | (attention_mask == 1)).all():
        raise ValueError("attention_mask holds other values than 0 (padding) and 1: give the tokenizer's mask")
    used = attention_mask.bool()
    if not used.any(dim=1).all():
        row = int((~used.any(dim=1)).nonzero()[0])
        raise ValueError(f"attention_mask is 0 in all of row {row}: leave out rows that are padding only")
    return used


def _mean_over_tokens(per_row: list[Tensor]) -> Tensor:
    """Average ``(..., T)`` of each row so that every token counts once, however long its row is."""
    n_tokens = torch.tensor([values.shape[-1] for values in per_row], dtype=torch.float64)
    means = torch.stack([values.mean(dim=-1) for values in per_row])
    return torch.tensordot(n_tokens / n_tokens.sum(), means, dims=1)
