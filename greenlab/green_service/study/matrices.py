"""The matrices of a real model's layers replaced: by 8-bit ones of equal use, or by ternary ones of equal size.

Eight bits: a scale for each row of the weights and one for each token, both from the largest magnitude, products of
integers summed in 32 bits (the per-channel, per-token scheme of arXiv:2211.10438, sec. 2, without its smoothing). The
answers are those of SmolLM2 with a small rounding error, so their quality can be measured.

Ternary: SmolLM2 was not trained with ternary weights and is lost when it is rounded to them (chapter 7). So the weights
are random: the time of an answer is that of a ternary model of this shape, and the answer is noise. No saving follows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.model.decoder import decoder_layers, keep_layers
from greenlab.ternary import PackedLinear, random_packed

LARGEST = 127  # symmetric: -128 is not used
ROWS = 64  # are rounded at once: whole matrices of temporary floats leave holes in memory, 0.4 GB for a model
EPS = 1e-12  # the smallest scale: a row of zeros must not divide by zero


class Int8Linear(nn.Module):
    """A linear layer of 8-bit weights and 8-bit activations: integers are multiplied, floats go in and out.

    Args:
        linear: the float layer; it is not changed.

    Raises:
        TypeError: if ``linear`` is no linear layer.
        ValueError: if a weight is NaN or infinite, or the layer takes a single number.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = checks.instance("linear", linear, nn.Linear).weight.detach().float()
        largest = torch.linalg.vector_norm(weight, float("inf"), dim=1)  # (N,); NaN and infinity stay what they are
        if not torch.isfinite(largest).all():
            raise ValueError("linear has a weight that is NaN or infinite: give finite weights")
        if linear.in_features < 2:
            raise ValueError("linear has in_features=1: torch's integer product is wrong there (2.13); give 2 or more")
        scale = largest.clamp_min_(EPS).div_(LARGEST)
        q = torch.empty_like(weight, dtype=torch.int8)  # (N, K)
        for rows in range(0, len(q), ROWS):
            few = slice(rows, rows + ROWS)
            q[few] = (weight[few] / scale[few, None]).round_()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.register_buffer("weight", q)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """``(..., K)`` to ``(..., N)``; a NaN or an infinity in a token makes its outputs NaN, as floats would.

        Raises:
            ValueError: if the last dimension is not K.
        """
        if x.ndim == 0 or x.shape[-1] != self.in_features or not x.is_floating_point():
            raise ValueError(f"x is {x.dtype} {tuple(x.shape)}: expected floats (..., {self.in_features})")
        rows = x.reshape(-1, self.in_features)
        scale = rows.abs().amax(dim=1, keepdim=True).clamp_min(EPS) / LARGEST  # (rows, 1); NaN stays NaN
        q = (rows / scale).round_().to(torch.int8)
        y = torch._int_mm(q, self.weight.t()) * (scale * self.scale)  # as torchao does: torch has no public name for it
        y = y.to(x.dtype).view(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias


def replaced(model: Any, make: Callable[[nn.Linear], nn.Module]) -> Any:
    """A model whose layers have other matrices; embedding, head and norms are shared with ``model``.

    Args:
        model: a causal language model of transformers; it is not changed.
        make: gives the new matrix for a linear layer.

    Raises:
        TypeError: if ``make`` cannot be called.
        ValueError: if the model is not a decoder.
    """
    checks.function("make", make, remedy="eight_bits and ternary_shaped give one")
    new = keep_layers(model, range(len(decoder_layers(model))))
    for layer in decoder_layers(new):
        for name, module in list(layer.named_modules()):
            if isinstance(module, nn.Linear):
                owner, _, attribute = name.rpartition(".")
                setattr(layer.get_submodule(owner), attribute, make(module))
    return new.eval()


def eight_bits(model: Any) -> Any:
    """The model with 8-bit matrices in its layers; embedding and head stay as they are.

    Raises:
        ValueError: if the model is not a decoder, or a weight is not finite.
    """
    return replaced(model, Int8Linear)


def ternary_shaped(model: Any) -> Any:
    """The model with random ternary matrices of the same sizes in its layers: for its time alone.

    Raises:
        ValueError: if the model is not a decoder.
    """
    made: dict[tuple[int, int], PackedLinear] = {}

    def make(linear: nn.Linear) -> nn.Module:
        size = (linear.in_features, linear.out_features)
        if size not in made:
            made[size] = random_packed(*size, linear.bias is not None)  # packing takes longer than the race
        return copy.deepcopy(made[size])  # a matrix of its own: a shared one would stay in the processor's cache

    return replaced(model, make)
