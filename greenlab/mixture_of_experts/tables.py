"""Where the tokens went, as tables: one row a choice, one an expert, one a layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from greenlab.core.model.training import logits_of, mode
from greenlab.mixture_of_experts.balancing import load_balancing_loss, moe_layers, recorded
from greenlab.mixture_of_experts.router import Routing

ROUTING = ("sequence", "position", "token", "layer", "rank", "expert", "weight", "dropped", "no_op")
LOAD = ("layer", "expert", "tokens", "share", "dropped", "no_op")
BALANCE = ("layer", "max_over_mean", "entropy", "loss", "dropped_share", "no_op_share")


def routing(model: nn.Module, ids: Tensor) -> pd.DataFrame:
    """Every choice of every token in every mixture-of-experts layer.

    Args:
        model: a `core.model.gpt.GPT` with `MoE` parts; it runs once, in evaluation mode.
        ids: token ids ``(B, S)``.

    Returns:
        One row per sequence, position, layer and rank: sequence, position, token (its id), layer (the block's number),
        rank (0 is the best choice), expert, weight, dropped (whether the expert was full) and no_op (whether it is a
        choice that does nothing; its number is ``n_experts`` or more).

    Raises:
        TypeError: if ``model`` is no module, or ``ids`` no tensor of integers.
        ValueError: if the model has no `MoE`, ``ids`` cannot be used, or a layer sees a part of the tokens only.
    """
    tables, (batch, length) = [], (0, 0)
    for layer, n_experts, one in _run(model, ids):
        (batch, length), top_k = ids.shape, one.experts.shape[1]
        if len(one.experts) != ids.numel():
            raise ValueError(
                f"model has a layer, {layer}, that sees {len(one.experts)} of {ids.numel()} tokens: their positions "
                "are not known here; load(model, ids) counts them"
            )
        sequence, position, rank = np.indices((batch, length, top_k)).reshape(3, -1)
        expert = one.experts.flatten().cpu().numpy()
        columns = (
            sequence, position, ids.flatten().cpu().numpy().repeat(top_k), layer, rank, expert,
            one.weights.flatten().double().cpu().numpy(), ~one.kept.flatten().cpu().numpy(), expert >= n_experts,
        )  # fmt: skip
        tables.append(pd.DataFrame(dict(zip(ROUTING, columns, strict=True))))
    return pd.concat(tables, ignore_index=True)


def load(model: nn.Module, ids: Tensor) -> pd.DataFrame:
    """How many tokens each expert got.

    Args:
        model: as for `routing`.
        ids: token ids ``(B, S)``.

    Returns:
        One row per layer and choice, also one that nobody chose: layer, expert, tokens (that chose it), share (of the
        layer's choices; they sum to 1), dropped (of the tokens, those that it had no room for) and no_op.

    Raises:
        TypeError: if ``model`` is no module, or ``ids`` no tensor of integers.
        ValueError: if the model has no `MoE`, or ``ids`` cannot be used.
    """
    tables = []
    for layer, n_experts, one in _run(model, ids):
        n_choices = one.scores.shape[1]
        tokens = torch.bincount(one.experts.flatten(), minlength=n_choices).cpu().numpy()
        dropped = torch.bincount(one.experts[~one.kept], minlength=n_choices).cpu().numpy()
        expert = np.arange(n_choices)
        columns = (layer, expert, tokens, tokens / tokens.sum(), dropped, expert >= n_experts)
        tables.append(pd.DataFrame(dict(zip(LOAD, columns, strict=True))))
    return pd.concat(tables, ignore_index=True)


def balance(model: nn.Module, ids: Tensor) -> pd.DataFrame:
    """How evenly each layer's experts are used.

    Args:
        model: as for `routing`.
        ids: token ids ``(B, S)``.

    Returns:
        One row per layer: layer, max_over_mean (tokens of the busiest expert over the mean: 1 is balance, and a machine
        that runs one expert a device waits for the busiest), entropy (of the shares, over its highest value: 1 is
        balance, 0 a single expert), loss (`load_balancing_loss`), dropped_share (of the choices) and no_op_share. The
        first two are over the experts, without the no-op ones; they are NaN if no expert was chosen.

    Raises:
        TypeError: if ``model`` is no module, or ``ids`` no tensor of integers.
        ValueError: if the model has no `MoE`, or ``ids`` cannot be used.
    """
    rows = []
    for layer, n_experts, one in _run(model, ids):
        tokens = torch.bincount(one.experts.flatten(), minlength=n_experts).cpu().numpy()[:n_experts]
        rows.append(
            (layer, *_evenness(tokens), load_balancing_loss(one.scores, one.experts).item(),
             1 - one.kept.double().mean().item(), 1 - tokens.sum() / one.experts.numel())
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(BALANCE))


def _evenness(tokens: Any) -> tuple[float, float]:
    """The busiest over the mean, and the entropy over its highest value."""
    if not tokens.sum():
        return float("nan"), float("nan")
    if len(tokens) == 1:
        return 1.0, 1.0
    shares = tokens[tokens > 0] / tokens.sum()
    return float(tokens.max() / tokens.mean()), float(abs((shares * np.log(shares)).sum()) / np.log(len(tokens)))


def _run(model: nn.Module, ids: Tensor) -> list[tuple[int, int, Routing]]:
    """The number, the experts and the routing of each layer, after one pass without gradients."""
    layers = moe_layers(model)
    if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
        got = ids.dtype if isinstance(ids, Tensor) else type(ids).__name__
        raise TypeError(f"ids is {got}: give a tensor of token ids, int64 or int32, of the shape (B, S)")
    if ids.ndim != 2 or not ids.numel():
        raise ValueError(f"ids has the shape {tuple(ids.shape)}: give (B, S), both 1 or more")
    if int(ids.min()) < 0:
        raise ValueError(f"ids holds {int(ids.min())}: give ids of the model's vocabulary, 0 or more")
    with torch.no_grad(), mode(model, training=False), recorded(model) as found:
        logits_of(model, ids)
    if sorted(layer for layer, _ in found) != sorted(layer for layer, _ in layers):
        raise ValueError(
            "model runs the experts of a layer in pieces or not at all, as mixture of depths does where each token "
            "decides by itself: take its mode 'top_k'"
        )
    n_experts = {layer: part.n_experts for layer, part in layers}
    return [(layer, n_experts[layer], one) for layer, one in found]
