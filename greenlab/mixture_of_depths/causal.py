"""Each token decides by itself whether it enters, as it must where later tokens are not written yet.

The texts of a batch then differ in how many tokens enter. Shapes in the comments: B batch, S tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from greenlab.core.model.gpt import LayerCache

if TYPE_CHECKING:
    from greenlab.mixture_of_depths.block import MoDBlock

CHUNK = 32  # tokens of a text that enter together


class Growing:
    """Keys and values of the chunks so far; the part of a `LayerCache` that attention calls."""

    def __init__(self) -> None:
        self._held: tuple[Tensor, ...] = ()

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        """Add new ``keys`` and ``values`` ``(B, K, S, D)``; give all of them ``(B, K, T, D)``."""
        new = keys, values
        self._held = tuple(torch.cat(pair, dim=2) for pair in zip(self._held, new, strict=True)) if self._held else new
        return self._held


def pass_token_by_token(layer: MoDBlock, x: Tensor, rotation: Tensor, cache: LayerCache | None) -> Tensor:
    """What ``layer`` makes of ``x`` ``(B, S, C)`` if each token decides; the ``cache`` keeps those that entered."""
    enters = layer.logits(x) > 0  # (B, S)
    if cache is None:
        return pass_in_chunks(layer, x, rotation, enters, Growing())
    outputs = []
    for i, part in enumerate(cache.sequences()):  # each holds a number of tokens of its own
        held, row = part.length, slice(i, i + 1)
        outputs.append(pass_in_chunks(layer, x[row], rotation, enters[row], part))
        part.length = held + int(enters[i].sum())  # what filled the last chunk is forgotten
    return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


def pass_in_chunks(layer: MoDBlock, x: Tensor, rotation: Tensor, enters: Tensor, cache: LayerCache | Growing) -> Tensor:
    """Let the tokens that enter pass the block, `CHUNK` of each text at a time.

    They come first, in the order of the text. Others of weight 0 fill the last chunk: they stand after those that
    enter, so nobody attends to them. The shape of a chunk does not depend on the text, because a matrix product of
    another shape may round a row differently, and a later token must not change even the last bit of an earlier one.
    (That holds for blocks that compute each row alike. An expert of a mixture gets as many rows as choose it, so there
    the earlier outputs are equal up to rounding.)
    """
    n = int(enters.sum(dim=1).max())  # of the text where most enter
    if n == 0:
        return x
    weights = layer.weights(layer.router(x).squeeze(-1)) * enters  # (B, S)
    order = enters.sort(dim=1, descending=True, stable=True).indices  # (B, S), positions
    for chosen in order.split(CHUNK, dim=1)[: -(-n // CHUNK)]:
        x = layer.enter(x, rotation, chosen, weights, cache)
    return x
