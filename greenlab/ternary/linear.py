"""The ternary layer as it runs after training: packed weights, 8-bit activations, no float weight anywhere.

`pack_model` turns the `BitLinear` layers of a trained model into `PackedLinear` ones; `save_model` writes them as they are.
Without numba everything still works and is still exact, but each call takes the weights apart again: slow, and it says so.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.ternary.packing import PLANES, PackedTernary, load_packed, pack, save_packed, unpack
from greenlab.ternary.quantize import BitBlock, BitLinear, absmax_quantize, absmean_quantize

NO_NUMBA = (
    "numba is not installed, so packed weights are taken apart at every call: exact, but slower than float. "
    "pip install numba brings the kernels; no compiler is needed"
)
_NOTHING = np.empty(0, np.float32)


@cache
def _kernels() -> ModuleType | None:
    try:
        from greenlab.ternary import kernels
    except ImportError:
        warnings.warn(NO_NUMBA, RuntimeWarning, stacklevel=3)
        return None
    return kernels


class PackedLinear(nn.Module):
    """A ternary linear layer for inference: the same numbers as the `BitLinear` that it was made from.

    Args:
        packed: the weights ``(N, K)`` and their scale.
        norm: SubLN's weights ``(K,)``, or None.
        bias: ``(N,)``, or None.
        eps: of the norm.
        kernel: which kernel computes; the fastest of this processor by default (`kernels.names`).
    """

    def __init__(
        self, packed: PackedTernary, norm: Tensor | None = None, bias: Tensor | None = None, *, eps: float = 1e-5,
        kernel: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.packed, self.eps, self.kernel = packed, eps, kernel
        self.norm = nn.Buffer(norm.detach().float().contiguous()) if norm is not None else None
        self.bias = nn.Buffer(bias.detach().float().contiguous()) if bias is not None else None
        self._arrays = tuple(_NOTHING if v is None else v.numpy() for v in (self.norm, self.bias))  # the same memory

    @classmethod
    def from_bit_linear(cls, layer: BitLinear, layout: str = "2bit") -> PackedLinear:
        """Pack a trained layer."""
        norm = None if layer.norm is None else layer.norm.weight
        eps = 1e-5 if layer.norm is None else layer.norm.eps
        return cls(pack(*absmean_quantize(layer.weight.detach().float()), layout), norm, layer.bias, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., K)`` to ``(..., N)``, in ``x``'s dtype and on its device; the work is done on the CPU, without gradients.

        Raises:
            ValueError: if the last dimension is not K, or an activation is NaN or infinite.
        """
        rows, columns = self.packed.shape
        if x.shape[-1] != columns or not x.is_floating_point():
            what = f"x is {x.dtype} {tuple(x.shape)}"
            raise ValueError(f"{what}: expected floats (..., {columns}), as the packed weights have {columns} columns")
        flat = x.detach().reshape(-1, columns)
        if flat.dtype != torch.float32 or flat.device.type != "cpu" or not flat.is_contiguous():
            flat = flat.to("cpu", torch.float32).contiguous()
        kernels = _kernels()
        if kernels is None:
            y = self._unpacked(flat)
        else:
            norm, bias = self._arrays
            made = kernels.linear(flat.numpy(), self.packed, norm, bias, eps=self.eps, kernel_name=self.kernel)
            y = torch.from_numpy(made)
        y = y.view(*x.shape[:-1], rows)
        return y if y.dtype == x.dtype and y.device == x.device else y.to(x.device, x.dtype)

    def _unpacked(self, x: Tensor) -> Tensor:
        if not torch.isfinite(x).all():
            raise ValueError(
                "x holds NaN or infinite activations, which have no 8-bit value: look for them one layer earlier"
            )
        if self.norm is not None:
            x = F.rms_norm(x, self.norm.shape, self.norm, self.eps)
        q, scale = absmax_quantize(x)
        integers = F.linear(q.double(), unpack(self.packed).double())  # whole numbers far below 2^53: exact
        y = integers.float() * (scale * self.packed.gamma)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        rows, columns = self.packed.shape
        return f"{columns}, {rows}, {self.packed.layout}, {self.packed.bits_per_weight:.2f} bits a weight"


def random_packed(in_features: int, out_features: int, bias: bool = False, *, layout: str = "2bit") -> PackedLinear:
    """A layer of random ternary weights, made packed: a model of any size for timing, without its float weights.

    A GPT takes it as a part: ``GPT(config, linear=random_packed, block=BitBlock)``.
    """
    generator = torch.Generator().manual_seed(in_features + out_features)
    q = torch.randint(-1, 2, (out_features, in_features), generator=generator, dtype=torch.int8)
    zeros = torch.zeros(out_features) if bias else None
    return PackedLinear(pack(q, in_features**-0.5, layout), torch.ones(in_features), zeros)


def pack_model(model: nn.Module, layout: str = "2bit") -> Any:
    """Return the model with every `BitLinear` packed; all other weights are shared with ``model``, not copied.

    Raises:
        ValueError: if the model has no `BitLinear`.
    """
    packed = copy.deepcopy(model, {id(p): p for p in model.parameters()})  # the memo says: take these as they are
    layers = [(parent, name, child) for parent in packed.modules() for name, child in parent.named_children()]
    found = [(parent, name, child) for parent, name, child in layers if isinstance(child, BitLinear)]
    if not found:
        raise ValueError(
            f"model={type(model).__name__} has no BitLinear: build it with bit_gpt(config), or convert(model)"
        )
    for parent, name, child in found:
        setattr(parent, name, PackedLinear.from_bit_linear(child, layout))
    return packed.eval()


def weight_bytes(model: nn.Module) -> int:
    """Bytes that a model's weights take in memory; shared ones count once, packed ones as packed."""
    floats = {id(p): p.numel() * p.element_size() for p in model.parameters()}
    packed = [m for m in model.modules() if isinstance(m, PackedLinear)]
    norms = sum(b.nbytes for m in packed for b in m.buffers())
    return sum(floats.values()) + norms + sum(m.packed.data.size for m in packed)


def save_model(model: GPT, path: str | Path) -> None:
    """Write a packed `core.gpt.GPT` as one safetensors file: packed matrices as bytes, the rest as floats."""
    matrices = {name: m.packed for name, m in model.named_modules() if isinstance(m, PackedLinear)}
    others = dict(model.state_dict())
    if model.config.tied_embeddings:
        others.pop("head.weight")
    save_packed(matrices, path, others, note=json.dumps(dataclasses.asdict(model.config)))


def load_model(path: str | Path) -> GPT:
    """Read what `save_model` wrote; the model writes the same text as before.

    Raises:
        ValueError: if the file does not hold a packed GPT.
    """
    matrices, others, note = load_packed(path)
    if not note:
        raise ValueError(
            f"path={str(path)!r} holds packed matrices but no model: write it with save_model(model, path)"
        )

    def empty(in_features: int, out_features: int, bias: bool = False) -> PackedLinear:
        width = -(-in_features // PLANES["2bit"])
        return PackedLinear(
            PackedTernary(np.zeros((out_features, width), np.uint8), in_features, 1.0), torch.ones(in_features)
        )

    model = GPT(GPTConfig(**json.loads(note)), linear=empty, block=BitBlock)
    for name, packed in matrices.items():
        model.get_submodule(name).packed = packed  # type: ignore[assignment]
    if model.config.tied_embeddings:
        others["head.weight"] = others["embedding.weight"]
    model.load_state_dict(others)
    return model.eval()
