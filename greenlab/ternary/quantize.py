"""Ternary weights: quantization-aware training after BitNet b1.58 (arXiv:2402.17764, sec. 2).

Here the values are ternary but the matrix product is still a float one: quality is real, speed is not. The speed becomes
real in `greenlab.ternary.linear`, on weights that `greenlab.ternary.packing` has packed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenlab.core.model.gpt import GPT, Block, GPTConfig, RMSNorm

EPS = 1e-5  # the smallest scale: an all-zero tensor must not divide by zero
INT8_MAX = 127


def absmean_quantize(weight: Tensor, threshold: float = 0.5) -> tuple[Tensor, Tensor]:
    """Split weights into ternary values and one scale, so that ``weight ≈ q * gamma`` (arXiv:2402.17764, eq. 1 to 3).

    Returns ``q``, shaped like ``weight`` with values in {-1, 0, 1}, and the scalar ``gamma``, the mean magnitude.

    >>> absmean_quantize(torch.tensor([0.9, 0.1, -2.0, 1.0]))
    (tensor([ 1.,  0., -1.,  1.]), tensor(1.))

    Args:
        weight: any shape.
        threshold: weights below ``threshold * gamma`` become 0; rounding, as in the paper, is 0.5.

    Raises:
        ValueError: for a weight that is not finite or has no elements, or a negative threshold.
    """
    gamma = weight.abs().mean().clamp(min=EPS)  # the paper adds EPS; a clamp leaves gamma exact
    if not threshold >= 0 or not torch.isfinite(gamma):
        what = f"weight of shape {tuple(weight.shape)} with mean magnitude {float(gamma)}, threshold={threshold}"
        raise ValueError(f"{what}: expected at least one weight, all finite, and a threshold >= 0; look for NaN in it")
    scaled = weight / gamma
    if threshold == 0.5:
        return scaled.round().clamp(-1, 1), gamma
    return scaled.sign() * (scaled.abs() > threshold), gamma


def absmax_quantize(x: Tensor) -> tuple[Tensor, Tensor]:
    """Split each token into whole numbers from -127 to 127 and a scale, so that ``x ≈ q * scale`` (sec. 2, after eq. 3).

    ``x`` is ``(..., features)``, ``q`` the same shape, still in ``x``'s dtype, ``scale`` is ``(..., 1)``.

    >>> absmax_quantize(torch.tensor([[0.5, -2.54, 0.0]]))
    (tensor([[  25., -127.,    0.]]), tensor([[0.0200]]))
    """
    absmax = x.abs().amax(dim=-1, keepdim=True).clamp(min=EPS)
    return (x * (INT8_MAX / absmax)).round(), absmax / INT8_MAX


def straight_through(exact: Tensor, rounded: Tensor) -> Tensor:
    """Return ``rounded`` forward; send the gradient to ``exact``, as rounding has none (arXiv:1308.3432, sec. 4)."""
    return exact + (rounded - exact).detach()


def round_to_nearest(weight: Tensor, bits: int) -> Tensor:
    """Weights rounded to ``2 ** bits`` evenly spaced levels between each row's least and greatest (``(N, K)`` to ``(N, K)``).

    The baseline of post-training quantization (arXiv:2210.17323, sec. 2, "RTN"): one scale and one zero a row, no data.

    >>> round_to_nearest(torch.tensor([[0.0, 1.0, 2.9, 3.0]]), bits=2)
    tensor([[0., 1., 3., 3.]])
    """
    if not (isinstance(bits, int) and 1 <= bits <= 16) or weight.ndim != 2:
        raise ValueError(f"bits={bits!r} for a weight of shape {tuple(weight.shape)}: expected 1 to 16 bits and (N, K)")
    low, high = weight.amin(dim=1, keepdim=True), weight.amax(dim=1, keepdim=True)
    step = ((high - low) / (2**bits - 1)).clamp(min=torch.finfo(weight.dtype).tiny)
    return ((weight - low) / step).round() * step + low


class BitLinear(nn.Linear):
    """Drop-in ``nn.Linear``: ternary weights, 8-bit activations, float gradients.

    Args:
        in_features, out_features, bias: as in ``nn.Linear``.
        sub_norm: normalize the input first (SubLN; arXiv:2310.11453, sec. 2.1). What is trained needs it; a layer that
            takes over trained float weights has to leave it out.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = False, *, sub_norm: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.norm = RMSNorm(in_features) if sub_norm else None

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in_features)`` to ``(..., out_features)``."""
        if self.norm is not None:
            x = self.norm(x)
        (w_q, gamma), (x_q, scale) = absmean_quantize(self.weight), absmax_quantize(x)
        weight = straight_through(self.weight, w_q * gamma)
        return F.linear(straight_through(x, x_q * scale), weight, self.bias)


class BitBlock(Block):
    """A `core.gpt.Block` without norms of its own, since each `BitLinear` has one (the authors' FAQ, 2024, sec. 3)."""

    def __init__(self, config: GPTConfig, layer: int, **parts: Callable[..., nn.Module]) -> None:
        super().__init__(config, layer, **(parts | {"norm": lambda *_: nn.Identity()}))


def bit_gpt(config: GPTConfig, seed: int = 0) -> GPT:
    """A `core.gpt.GPT` whose every linear layer in attention and feed-forward is ternary; the output head stays float."""
    return GPT(config, seed=seed, linear=BitLinear, block=BitBlock)


def convert(model: nn.Module, quantize: str = "ternary") -> nn.Module:
    """Return a copy of a float model whose linear layers are quantized after training: the comparison that fails.

    Every ``nn.Linear`` inside a block changes; embedding and output head stay float. Works on `core.gpt.GPT` and on
    transformers models.

    Args:
        model: trained in float; it is not changed.
        quantize: ``"ternary"`` (`BitLinear` without SubLN: 8-bit activations too), or ``"8bit"``, ``"4bit"``, ``"2bit"``
            (`round_to_nearest`, weights only).

    Raises:
        ValueError: for another word, or a model without linear layers to convert.
    """
    bits = {"8bit": 8, "4bit": 4, "2bit": 2}.get(quantize)
    if bits is None and quantize != "ternary":
        raise ValueError(f"quantize={quantize!r}: expected 'ternary', '8bit', '4bit' or '2bit'")
    change = _ternary if bits is None else partial(_rounded, bits=bits)
    converted = copy.deepcopy(model)
    found = list(linears(converted))
    if not found:
        raise ValueError(f"model={type(model).__name__} has no nn.Linear inside a block: give a trained float model")
    for parent, name in found:
        setattr(parent, name, change(getattr(parent, name)))
    return converted


def linears(model: nn.Module, kind: type[nn.Linear] = nn.Linear) -> list[tuple[nn.Module, str]]:
    """Where the linear layers of a model's blocks are, as (parent, attribute); the output head is not among them."""
    return [
        (parent, name)
        for path, parent in model.named_modules()
        for name, child in parent.named_children()
        if isinstance(child, kind) and f"{path}.{name}".count(".") > 1  # blocks.0.attention.query, but not .head
    ]


def _ternary(linear: nn.Linear) -> BitLinear:
    made = BitLinear(linear.in_features, linear.out_features, linear.bias is not None, sub_norm=False)
    made.load_state_dict(linear.state_dict())
    return made.to(linear.weight.dtype)


@torch.no_grad()
def _rounded(linear: nn.Linear, bits: int) -> nn.Linear:
    linear.weight.copy_(round_to_nearest(linear.weight, bits))
    return linear
