"""Choose the layers to remove, and build the model without them: it is smaller, faster, and can be saved and loaded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from greenlab.core import checks
from greenlab.core.model.decoder import decoder_layers, keep_layers
from greenlab.core.model.random_state import check_seed

METHODS = ("angular", "block_influence", "deepest", "random")


def best_block(distances: Tensor, n: int) -> int:
    """Return the start of the block of ``n`` layers whose input and output differ least; the first of equal ones.

    >>> nan = float("nan")
    >>> best_block(Tensor([[0, .3, .5, .7], [0, .1, .4, nan], [0, .2, nan, nan]]), n=1)
    1

    Args:
        distances: from `block_distances`, ``(L, L + 1)``.
        n: how many layers, 1 to L - 1.

    Raises:
        TypeError: if ``distances`` is no tensor, or ``n`` no integer.
        ValueError: if ``n`` is out of range, or ``distances`` has another shape or lacks the distance of a block of
            ``n``.
    """
    n = _check_n(n, _n_layers(distances))
    candidates = distances[: len(distances) - n + 1, n]
    if not torch.isfinite(candidates).all():
        start = int((~torch.isfinite(candidates)).nonzero()[0])
        raise ValueError(
            f"distances[{start}, {n}] is {float(candidates[start])}: give the table that block_distances returns"
        )
    return int(candidates.argmin())


def drop_layers(model: Any, start: int, n: int) -> Any:
    """Return a new model without layers ``start .. start + n - 1``; the weights that stay are shared, not copied.

    Args:
        model: a causal language model with ``L`` layers; it is not changed.
        start: the first layer that goes, 0 to L - n.
        n: how many layers go, 1 to L - 1.

    Raises:
        TypeError: if ``start`` or ``n`` is no integer.
        ValueError: if ``n`` is out of range, the block does not lie inside the model, or the model is not a decoder.
    """
    n_layers = len(decoder_layers(model))
    n = _check_n(n, n_layers)
    remedy = f"a block of {n} of {n_layers} layers; best_block(distances, n) names the best one"
    start = checks.integer("start", start, low=0, high=n_layers - n, remedy=remedy)
    return keep_layers(model, [i for i in range(n_layers) if not start <= i < start + n])


def layers_to_drop(
    method: str, n: int, *, distances: Tensor, influence: Tensor | None = None, seed: int = 0
) -> list[int]:
    """Name the ``n`` layers that a method would drop, in increasing order.

    Args:
        method: ``"angular"`` (the block of least distance), ``"block_influence"`` (the least influential, wherever they
            stand), ``"deepest"`` (the deepest, but never the last one) or ``"random"``.
        n: how many, 1 to L - 1.
        distances: from `block_distances`, ``(L, L + 1)``.
        influence: from `block_influence`, ``(L,)``; needed by that method only.
        seed: of the random choice.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: for an unknown method, an ``n`` outside, a table of another shape, or an influence that is missing
            or not finite.
    """
    checks.one_of("method", method, METHODS)
    n_layers = _n_layers(distances)
    n, seed = _check_n(n, n_layers), check_seed(seed)
    if influence is not None or method == "block_influence":
        _check_influence(influence, n_layers)
    if method == "angular":
        start = best_block(distances, n)
        return list(range(start, start + n))
    if method == "deepest":
        return list(range(n_layers - 1 - n, n_layers - 1))
    if method == "random":
        return sorted(torch.randperm(n_layers, generator=torch.Generator().manual_seed(seed))[:n].tolist())
    assert influence is not None  # checked above
    return sorted(influence.argsort()[:n].tolist())


def _check_influence(influence: Any, n_layers: int) -> None:
    if not isinstance(influence, Tensor):
        raise TypeError(f"influence is {type(influence).__name__}: method='block_influence' needs block_influence(...)")
    if influence.shape != (n_layers,) or not torch.isfinite(influence).all():
        raise ValueError(
            f"influence has the shape {tuple(influence.shape)}: give {n_layers} finite values, from "
            "block_influence(...)"
        )


def _n_layers(distances: Tensor) -> int:
    if not isinstance(distances, Tensor):
        raise TypeError(f"distances is {type(distances).__name__}: give the tensor that block_distances returns")
    if distances.ndim != 2 or distances.shape[1] != distances.shape[0] + 1:
        raise ValueError(
            f"distances has the shape {tuple(distances.shape)}: give (L, L + 1), the table that block_distances returns"
        )
    return len(distances)


def _check_n(n: int, n_layers: int) -> int:
    remedy = f"the model has {n_layers} layers and must keep one"
    return checks.integer("n", n, low=1, high=n_layers - 1, remedy=remedy)
