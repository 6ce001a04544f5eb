"""Ternary weights: quantization-aware training after BitNet b1.58 (arXiv:2402.17764, sec. 2).

Here the values are ternary but the matrix product is still a float one: quality is real, speed is not. The speed
becomes real in `greenlab.ternary.linear`, on weights that `greenlab.ternary.packing` has packed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.model.gpt import GPT, LARGEST_SIZE, Block, GPTConfig, RMSNorm

EPS = 1e-5  # the smallest scale: an all-zero tensor must not divide by zero
INT8_MAX = 127
BITS = {"8bit": 8, "4bit": 4, "2bit": 2}
HEADS = ("head", "lm_head")  # names of output heads here and in transformers


def absmean_quantize(weight: Tensor, threshold: float = 0.5) -> tuple[Tensor, Tensor]:
    """Split weights into ternary values and one scale, so that ``weight ≈ q * gamma`` (arXiv:2402.17764, eq. 1 to 3).

    Returns ``q``, shaped like ``weight`` with values in {-1, 0, 1}, and the scalar ``gamma``, the mean magnitude.

    >>> absmean_quantize(torch.tensor([0.9, 0.1, -2.0, 1.0]))
    (tensor([ 1.,  0., -1.,  1.]), tensor(1.))

    Args:
        weight: any shape, any float dtype. 16-bit weights are worked out in float32, and their gamma is float32.
        threshold: weights below ``threshold * gamma`` become 0; rounding, as in the paper, is 0.5.

    Raises:
        TypeError: if ``weight`` is no tensor of floats, or ``threshold`` no number.
        ValueError: for a weight that is not finite or has no elements, or a negative threshold.
    """
    exact = _exact("weight", weight)
    checks.number("threshold", threshold, low=0)
    gamma = exact.abs().mean().clamp(min=EPS)  # the paper adds EPS; a clamp leaves gamma exact
    if not torch.isfinite(gamma):
        what = f"weight of shape {tuple(weight.shape)} has the mean magnitude {float(gamma)}"
        raise ValueError(f"{what}: expected at least one weight, all finite; look for NaN in it")
    scaled = exact / gamma
    q = scaled.round().clamp(-1, 1) if threshold == 0.5 else scaled.sign() * (scaled.abs() > threshold)
    return q.to(weight.dtype), gamma


def absmax_quantize(x: Tensor) -> tuple[Tensor, Tensor]:
    """Split each token into whole numbers from -127 to 127 and a scale: ``x ≈ q * scale`` (sec. 2, after eq. 3).

    ``q`` has the shape and the dtype of ``x``, ``(..., features)``; ``scale`` is ``(..., 1)``, float32 for 16-bit
    ``x``: 16 bits would round the factor ``127 / absmax`` so much that the largest activation became 128, which is no
    int8. A token of zeros has zeros and the scale ``EPS / 127``.

    >>> absmax_quantize(torch.tensor([[0.5, -2.54, 0.0]]))
    (tensor([[  25., -127.,    0.]]), tensor([[0.0200]]))

    Raises:
        TypeError: if ``x`` is no tensor of floats.
        ValueError: if ``x`` has no features, or holds NaN or infinity.
    """
    exact = _exact("x", x)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"x has the shape {tuple(x.shape)}: expected (..., features) with at least one feature")
    absmax = exact.abs().amax(dim=-1, keepdim=True).clamp(min=EPS)
    if not torch.isfinite(absmax).all():
        raise ValueError(
            "x holds NaN or infinite activations, which have no 8-bit value: look for them one layer earlier"
        )
    return (exact * (INT8_MAX / absmax)).round().clamp(-INT8_MAX, INT8_MAX).to(x.dtype), absmax / INT8_MAX


def _exact(name: str, value: Tensor) -> Tensor:
    """The tensor in float32, or in float64 if it is that."""
    if not isinstance(value, Tensor) or not value.is_floating_point():
        kind = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} is {kind}: give a tensor of floats")
    return value if value.dtype in (torch.float32, torch.float64) else value.float()


def straight_through(exact: Tensor, rounded: Tensor) -> Tensor:
    """Return ``rounded`` forward; send the gradient to ``exact``, as rounding has none (arXiv:1308.3432, sec. 4)."""
    return exact + (rounded - exact).detach()


def round_to_nearest(weight: Tensor, bits: int) -> Tensor:
    """Weights ``(N, K)`` rounded to ``2 ** bits`` evenly spaced levels between each row's least and greatest weight.

    The baseline of post-training quantization (arXiv:2210.17323, sec. 2, "RTN"): one scale and one zero a row, no data.
    16-bit weights are worked out in float32 and rounded back once; a row of equal weights stays as it is.

    >>> round_to_nearest(torch.tensor([[0.0, 1.0, 2.9, 3.0]]), bits=2)
    tensor([[0., 1., 3., 3.]])

    Args:
        weight: ``(N, K)``, any float dtype.
        bits: 1 to 16.

    Raises:
        TypeError: if ``weight`` is no tensor of floats, or ``bits`` no integer.
        ValueError: if ``weight`` is no matrix or a row's range is not finite, or ``bits`` is not 1 to 16.
    """
    exact = _exact("weight", weight)
    checks.integer("bits", bits, low=1, high=16)
    if weight.ndim != 2 or weight.numel() == 0:
        raise ValueError(f"weight has the shape {tuple(weight.shape)}: expected (N, K), both 1 or more")
    low, high = exact.amin(dim=1, keepdim=True), exact.amax(dim=1, keepdim=True)
    if not torch.isfinite(high - low).all():
        raise ValueError("weight holds NaN or infinity, or a row whose range is beyond its dtype: give finite weights")
    step = ((high - low) / (2**bits - 1)).clamp(min=torch.finfo(exact.dtype).tiny)
    return (((exact - low) / step).round() * step + low).to(weight.dtype)


class BitLinear(nn.Linear):
    """Drop-in ``nn.Linear``: ternary weights, 8-bit activations, float gradients.

    Args:
        in_features, out_features, bias: as in ``nn.Linear``.
        sub_norm: normalize the input first (SubLN; arXiv:2310.11453, sec. 2.1). What is trained needs it; a layer that
            takes over trained float weights has to leave it out.

    Raises:
        TypeError: if a size is no integer, or a switch no boolean.
        ValueError: if a size is not from 1 to 2**31 - 1.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = False, *, sub_norm: bool = True) -> None:
        checks.integer("in_features", in_features, low=1, high=LARGEST_SIZE)
        checks.integer("out_features", out_features, low=1, high=LARGEST_SIZE)
        super().__init__(in_features, out_features, checks.flag("bias", bias))
        self.norm = RMSNorm(in_features) if checks.flag("sub_norm", sub_norm) else None

    def forward(self, x: Tensor) -> Tensor:
        """``(..., in_features)`` to ``(..., out_features)``.

        Raises:
            TypeError: if ``x`` is no tensor of floats.
            ValueError: if weights or activations are not finite.
        """
        if self.norm is not None:
            x = self.norm(x)
        (w_q, gamma), (x_q, scale) = absmean_quantize(self.weight), absmax_quantize(x)
        weight = straight_through(self.weight, (w_q * gamma).to(self.weight.dtype))
        return F.linear(straight_through(x, (x_q * scale).to(x.dtype)), weight, self.bias)


class BitBlock(Block):
    """A `core.model.gpt.Block` without norms, since each `BitLinear` has one (the authors' FAQ, 2024, sec. 3)."""

    def __init__(self, config: GPTConfig, layer: int, **parts: Callable[..., nn.Module]) -> None:
        super().__init__(config, layer, **(parts | {"norm": lambda *_: nn.Identity()}))


def bit_gpt(config: GPTConfig, seed: int = 0) -> GPT:
    """A `core.model.gpt.GPT` with ternary linear layers in attention and feed-forward; the output head stays float.

    Args:
        config: the sizes.
        seed: of the first weights.

    Raises:
        TypeError: if ``config`` is no `GPTConfig`, or ``seed`` no integer.
    """
    if not isinstance(config, GPTConfig):
        raise TypeError(f"config is {type(config).__name__}: give a GPTConfig")
    checks.integer("seed", seed)
    return GPT(config, seed=seed, linear=BitLinear, block=BitBlock)


def convert(model: nn.Module, quantize: str = "ternary") -> nn.Module:
    """Return a copy of a float model whose linear layers are quantized after training: the comparison that fails.

    Every ``nn.Linear`` inside a block changes (`is_inside_block`); embedding and output head stay float. Works on
    `core.model.gpt.GPT`, on one of its blocks alone, and on transformers models.

    Args:
        model: trained in float; it is not changed.
        quantize: ``"ternary"`` (`BitLinear` without SubLN: 8-bit activations too), or ``"8bit"``, ``"4bit"``,
            ``"2bit"`` (`round_to_nearest`, weights only).

    Raises:
        TypeError: if ``model`` is no module, or ``quantize`` no text.
        ValueError: for another word, or a model without linear layers to convert.
    """
    checks.one_of("quantize", quantize, ("ternary", *BITS))
    change = _ternary if quantize == "ternary" else partial(_rounded, bits=BITS[quantize])
    found = linears(model)
    if not found:
        raise ValueError(f"model={type(model).__name__} has no nn.Linear inside a block: give a trained float model")
    converted = copy.deepcopy(model)
    for parent, name in linears(converted):
        setattr(parent, name, change(getattr(parent, name)))
    return converted


def is_inside_block(path: str) -> bool:
    """Whether the module at this path belongs to a block: it is no direct child of the model, and no output head.

    >>> [is_inside_block(path) for path in ("blocks.0.attention.query", "attention.query", "head", "model.lm_head")]
    [True, True, False, False]

    Args:
        path: as in ``named_modules()``: of a model or of a block alone.

    Raises:
        TypeError: if ``path`` is no text.
    """
    if not isinstance(path, str):
        raise TypeError(
            f"path={path!r} is {type(path).__name__}: give the path of a module, such as 'blocks.0.attention'"
        )
    parent, _, name = path.rpartition(".")
    return bool(parent) and name not in HEADS


def linears(model: nn.Module, kind: type[nn.Linear] = nn.Linear) -> list[tuple[nn.Module, str]]:
    """Where the linear layers of a model's blocks are, as (parent, attribute); the output head is not among them.

    Args:
        model: a model, or one block.
        kind: of linear layer.

    Raises:
        TypeError: if ``model`` is no module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is {type(model).__name__}: give a torch module")
    return [
        (parent, name)
        for path, parent in model.named_modules()
        for name, child in parent.named_children()
        if isinstance(child, kind) and is_inside_block(f"{path}.{name}".removeprefix("."))
    ]


def _ternary(linear: nn.Linear) -> BitLinear:
    made = BitLinear(linear.in_features, linear.out_features, linear.bias is not None, sub_norm=False)
    made.load_state_dict(linear.state_dict())
    return made.to(linear.weight.dtype)


@torch.no_grad()
def _rounded(linear: nn.Linear, bits: int) -> nn.Linear:
    linear.weight.copy_(round_to_nearest(linear.weight, bits))
    return linear
