"""The ternary layer as it runs after training: packed weights, 8-bit activations, no float weight anywhere.

`pack_model` turns the `BitLinear` layers of a trained model into `PackedLinear` ones; `save_model` writes them as they
are. Without numba everything still works and is still exact, but each call takes the weights apart again: slow, and it
says so.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.model.gpt import GPT, LARGEST_SIZE, Block, GPTConfig
from greenlab.ternary.packing import K_MAX, LAYOUTS, PackedTernary, bytes_a_row, load_packed, pack, save_packed, unpack
from greenlab.ternary.quantize import BitBlock, BitLinear, absmax_quantize, absmean_quantize

NO_NUMBA = (
    "numba is not installed, so packed weights are taken apart at every call: exact, but slower than float. "
    "pip install numba brings the kernels; no compiler is needed"
)
MATRICES_A_BLOCK = 7  # query, key, value, output; gate, up, down
_NOTHING = np.empty(0, np.float32)
_EXTRA = "_extra_state"  # torch's name for what a layer keeps beside its tensors


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

    The packed bytes are the buffer ``weight``, uint8 ``(N, L)``, beside the buffers ``norm`` and ``bias``; scale,
    layout and K travel with them in ``state_dict``. The layer keeps copies of what it is made from. A dtype that the
    model is moved to (``.half()``) changes norm and bias only; products are computed in float32.

    Args:
        packed: the weights ``(N, K)`` and their scale.
        norm: SubLN's weights ``(K,)``, or None.
        bias: ``(N,)``, or None.
        eps: of the norm, above 0.
        kernel: which kernel computes; the fastest of this processor by default (`kernels.names`).

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if norm or bias have another length or hold NaN or infinity, or ``eps`` is not above 0.
    """

    def __init__(
        self,
        packed: PackedTernary,
        norm: Tensor | None = None,
        bias: Tensor | None = None,
        *,
        eps: float = 1e-5,
        kernel: str | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(packed, PackedTernary):
            raise TypeError(f"packed is {type(packed).__name__}: give what pack(q, gamma) returned")
        if kernel is not None and not isinstance(kernel, str):
            raise TypeError(f"kernel={kernel!r} is {type(kernel).__name__}: give one of kernels.names(), or None")
        if kernel is not None and (known := _kernels()) is not None:
            checks.one_of("kernel", kernel, tuple(known.names()))
        self.out_features, self.in_features = packed.shape
        self.layout, self.gamma = packed.layout, packed.gamma
        self.eps, self.kernel = checks.number("eps", eps, above=0), kernel
        self.weight: Tensor
        self.norm: Tensor | None
        self.bias: Tensor | None
        self.register_buffer("weight", torch.from_numpy(packed.data).clone())
        self.register_buffer("norm", _vector("norm", norm, self.in_features))
        self.register_buffer("bias", _vector("bias", bias, self.out_features))

    @classmethod
    def from_bit_linear(cls, layer: BitLinear, layout: str = "2bit") -> PackedLinear:
        """Pack a trained layer.

        Args:
            layer: the trained layer; it is not changed.
            layout: of the packed weights, ``"2bit"`` or ``"base3"``.

        Raises:
            TypeError: if ``layer`` is no `BitLinear`, or ``layout`` no text.
            ValueError: if the layout is not known, or the layer's weights are not finite.
        """
        if not isinstance(layer, BitLinear):
            raise TypeError(f"layer is {type(layer).__name__}: give a BitLinear")
        norm = None if layer.norm is None else layer.norm.weight
        eps = 1e-5 if layer.norm is None else layer.norm.eps
        return cls(pack(*absmean_quantize(layer.weight.detach().float()), layout), norm, layer.bias, eps=eps)

    @property
    def packed(self) -> PackedTernary:
        """The weights as they are now: checked, and not a copy."""
        return PackedTernary(self.weight.detach().cpu().numpy(), self.in_features, self.gamma, self.layout)

    def forward(self, x: Tensor) -> Tensor:
        """``(..., K)`` to ``(..., N)``, in ``x``'s dtype and on its device.

        The work is done on the CPU, without gradients.

        Raises:
            TypeError: if ``x`` is no tensor.
            ValueError: if the last dimension is not K, an activation is NaN, infinite or too large to be squared, or a
                buffer was replaced by one of another shape.
        """
        if not isinstance(x, Tensor):
            raise TypeError(f"x is {type(x).__name__}: give a tensor (..., {self.in_features})")
        columns = self.in_features
        if x.ndim == 0 or x.shape[-1] != columns or not x.is_floating_point():
            what = f"x is {x.dtype} {tuple(x.shape)}"
            raise ValueError(f"{what}: expected floats (..., {columns}), as the packed weights have {columns} columns")
        flat = x.detach().reshape(-1, columns)
        if flat.dtype != torch.float32 or flat.device.type != "cpu" or not flat.is_contiguous():
            flat = flat.to("cpu", torch.float32).contiguous()
        kernels = _kernels()
        if kernels is None:
            y = self._unpacked(flat)
        else:
            buffers = self._buffers
            made = kernels.layer(
                flat.numpy(), _array(buffers["weight"], torch.uint8), _array(buffers["norm"]), _array(buffers["bias"]),
                columns, self.layout, self.gamma, self.eps, self.kernel,
            )  # fmt: skip
            y = torch.from_numpy(made)
        y = y.view(*x.shape[:-1], self.out_features)
        return y if y.dtype == x.dtype and y.device == x.device else y.to(x.device, x.dtype)

    def _unpacked(self, x: Tensor) -> Tensor:
        if not torch.isfinite(x).all():
            raise ValueError(
                "x holds NaN or infinite activations, which have no 8-bit value: look for them one layer earlier"
            )
        if self.norm is not None:
            x = F.rms_norm(x, self.norm.shape, self.norm.float(), self.eps)
        q, scale = absmax_quantize(x)
        integers = F.linear(q.double(), unpack(self.packed).double())  # whole numbers far below 2^53: exact
        y = integers.float() * (scale * self.gamma)
        return y if self.bias is None else y + self.bias.float()

    def get_extra_state(self) -> Tensor:
        """What ``state_dict`` holds beside the buffers: layout, K, scale and eps, as JSON in a uint8 tensor.

        A tensor, since safetensors files and tools that walk a ``state_dict`` know nothing else.
        """
        about = {"layout": self.layout, "in_features": self.in_features, "gamma": self.gamma, "eps": self.eps}
        return torch.frombuffer(bytearray(json.dumps(about).encode()), dtype=torch.uint8)

    def set_extra_state(self, state: Any) -> None:
        """Take scale and eps from what `get_extra_state` gave; ``load_state_dict`` has checked it before."""
        about = _about(state)
        self.gamma, self.eps = about["gamma"], about["eps"]

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any) -> None:
        """Take a whole layer or nothing of it: weights of one model never meet scale, norm or bias of another."""
        error_messages: list[str] = arguments[-1]
        names = [name for name, buffer in self._buffers.items() if buffer is not None]
        given = [name for name in (*self._buffers, _EXTRA) if prefix + name in state_dict]
        if given and (wrong := self._refusal({name: state_dict[prefix + name] for name in given}, names)):
            error_messages.append(f"{prefix.removesuffix('.') or 'the layer'} was left as it was: {wrong}")
            return
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def _refusal(self, given: Mapping[str, Any], names: list[str]) -> str:
        """Why these entries are no weights for this layer; empty if they are."""
        if missing := [name for name in (*names, _EXTRA) if name not in given]:
            return f"{', '.join(missing)} missing beside {', '.join(given)}; a packed layer is loaded whole"
        if surplus := [name for name in given if name not in names and name != _EXTRA]:
            return f"{', '.join(surplus)} given, and this layer has none"
        for name in names:
            old, new = self._buffers[name], given[name]
            assert old is not None
            if not isinstance(new, Tensor) or new.shape != old.shape:
                return f"{name} has the shape {tuple(getattr(new, 'shape', ()))}, expected {tuple(old.shape)}"
        try:
            about = _about(given[_EXTRA])
            if (about["layout"], about["in_features"]) != (self.layout, self.in_features):
                found = f"{about['in_features']} columns in {about['layout']}"
                return f"its weights have {found}, expected {self.in_features} in {self.layout}"
            PackedTernary(given["weight"].detach().cpu().numpy(), self.in_features, about["gamma"], self.layout)
            for name in names[1:]:
                _vector(name, given[name], len(given[name]))
        except (TypeError, ValueError) as error:
            return str(error)
        return ""

    def extra_repr(self) -> str:
        """Shown by ``print(model)``."""
        bits = 8 * self.weight.shape[-1] / self.in_features
        return f"{self.in_features}, {self.out_features}, {self.layout}, {bits:.2f} bits a weight"


def _vector(name: str, value: Tensor | None, length: int) -> Tensor | None:
    if value is None:
        return None
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is {type(value).__name__}: give a tensor ({length},), or None")
    if value.shape != (length,) or not value.is_floating_point():
        raise ValueError(f"{name} is {value.dtype} {tuple(value.shape)}: expected floats ({length},) for these weights")
    if not torch.isfinite(value).all():
        raise ValueError(f"{name} holds NaN or infinity: expected {length} finite numbers")
    return value.detach().float().contiguous().clone()


def _array(buffer: Tensor | None, dtype: torch.dtype = torch.float32) -> NDArray[Any]:
    """The buffer as it is now, as an array.

    It is looked up at every call, since copying and casting a model replace its buffers.
    """
    if buffer is None:
        return _NOTHING
    if buffer.dtype != dtype or buffer.device.type != "cpu" or buffer.requires_grad:
        buffer = buffer.detach().to("cpu", dtype)
    return buffer.numpy()


def _about(state: Any) -> dict[str, Any]:
    """Layout, K, scale and eps out of a layer's extra state, each checked."""
    try:
        about = json.loads(bytes(state.cpu().tolist()))
        found = {key: about[key] for key in ("layout", "in_features", "gamma", "eps")}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(
            f"state is not that of a packed layer ({_EXTRA}): give what state_dict() of one returned"
        ) from None
    bytes_a_row(found["in_features"], found["layout"])
    checks.number("gamma", found["gamma"], above=0)
    checks.number("eps", found["eps"], above=0)
    return found


class _Placeholder(nn.Module):
    """Stands in a model where a packed layer is going to be; it has no weights."""

    def __init__(self, in_features: int, out_features: int, bias: bool = False) -> None:
        super().__init__()
        self.shape = (out_features, in_features)


def random_packed(in_features: int, out_features: int, bias: bool = False, *, layout: str = "2bit") -> PackedLinear:
    """A layer of random ternary weights, made packed: a model of any size for timing, without its float weights.

    A GPT takes it as a part: ``GPT(config, linear=random_packed, block=BitBlock)``.

    Args:
        in_features: K.
        out_features: N.
        bias: whether the layer has one; it is zero.
        layout: of the packed weights, ``"2bit"`` or ``"base3"``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if a size is below 1 or too large (K: 2**20), or the layout is not known.
    """
    checks.integer("in_features", in_features, low=1, high=K_MAX)
    checks.integer("out_features", out_features, low=1, high=LARGEST_SIZE)
    generator = torch.Generator().manual_seed(in_features + out_features)
    q = torch.randint(-1, 2, (out_features, in_features), generator=generator, dtype=torch.int8)
    zeros = torch.zeros(out_features) if checks.flag("bias", bias) else None
    return PackedLinear(pack(q, in_features**-0.5, layout), torch.ones(in_features), zeros)


def pack_model(model: nn.Module, layout: str = "2bit") -> Any:
    """Return the model with every `BitLinear` packed; all other weights are shared with ``model``, not copied.

    Args:
        model: a model with `BitLinear` layers; it is not changed.
        layout: of the packed weights, ``"2bit"`` or ``"base3"``.

    Raises:
        TypeError: if ``model`` is no module.
        ValueError: if the model has no `BitLinear` inside it, or the layout is not known.
    """
    _check_module(model)
    checks.one_of("layout", layout, LAYOUTS)
    if isinstance(model, BitLinear):
        raise ValueError("model is a BitLinear itself: use PackedLinear.from_bit_linear(layer)")
    packed = copy.deepcopy(model, {id(p): p for p in model.parameters()})  # the memo says: take these as they are
    layers = [(parent, name, child) for parent in packed.modules() for name, child in parent.named_children()]
    found = [(parent, name, child) for parent, name, child in layers if isinstance(child, BitLinear)]
    if not found:
        what = f"model={type(model).__name__} has no BitLinear"
        raise ValueError(f"{what}: build it with bit_gpt(config), or convert(model)")
    for parent, name, child in found:
        setattr(parent, name, PackedLinear.from_bit_linear(child, layout))
    return packed.eval()


def _check_module(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is {type(model).__name__}: give a torch module")


def bytes_in_memory(model: nn.Module) -> int:
    """Bytes that a model's weights take in memory now: shared ones count once, packed ones as packed.

    Raises:
        TypeError: if ``model`` is no module.
    """
    _check_module(model)
    floats = {id(p): p.numel() * p.element_size() for p in model.parameters()}
    packed = {id(b): b.nbytes for m in model.modules() if isinstance(m, PackedLinear) for b in m.buffers()}
    return sum(floats.values()) + sum(packed.values())


def save_model(model: GPT, path: str | Path) -> None:
    """Write a packed `core.model.gpt.GPT` as one safetensors file: packed matrices as bytes, the rest as floats.

    Args:
        model: what `pack_model` returned.
        path: of the file; what stands there is replaced.

    Raises:
        TypeError: if ``model`` is no `GPT`, or ``path`` no path.
        ValueError: if the model holds no packed layer, its layers have several values of eps, or the file cannot be
            written.
    """
    if not isinstance(model, GPT):
        raise TypeError(f"model is {type(model).__name__}: give a packed GPT, pack_model(model)")
    layers = {name: m for name, m in model.named_modules() if isinstance(m, PackedLinear)}
    if not layers:
        raise ValueError("model holds no PackedLinear: give pack_model(model); float models need no packed file")
    if len(eps := {layer.eps for layer in layers.values()}) > 1:
        raise ValueError(
            f"model has layers with eps {sorted(eps)}: the file keeps one; save the layers with save_packed"
        )
    held_apart = {f"{name}.{part}" for name in layers for part in ("weight", _EXTRA)}
    others = {name: tensor for name, tensor in model.state_dict().items() if name not in held_apart}
    if model.config.tied_embeddings:
        others.pop("head.weight")
    note = {"config": dataclasses.asdict(model.config), "eps": eps.pop()}
    save_packed({name: layer.packed for name, layer in layers.items()}, path, others, note=json.dumps(note))


def load_model(path: str | Path) -> GPT:
    """Read what `save_model` wrote; the model writes the same text as before.

    Raises:
        TypeError: if ``path`` is no path.
        ValueError: if the file is damaged or altered, or does not hold a packed GPT whose every matrix is there and
            fits; the message names what is wrong.
    """
    matrices, others, note = load_packed(path)
    if not note:
        raise ValueError(f"path={str(path)!r} holds tensors but no model: write it with save_model(model, path)")
    try:
        return _model_of(matrices, others, note)
    except (TypeError, ValueError) as error:
        raise ValueError(f"path={str(path)!r} holds no packed GPT: {error}") from error


def _model_of(matrices: dict[str, PackedTernary], others: dict[str, Tensor], note: str) -> GPT:
    about = json.loads(note)
    if not isinstance(about, dict) or set(about) != {"config", "eps"} or not isinstance(about["config"], dict):
        raise ValueError("its note holds no config of a model and eps of its norms")
    config = GPTConfig(**about["config"])
    table = others.get("embedding.weight")
    if table is None or table.shape != (config.vocab_size, config.d_model):
        found = "no embedding" if table is None else f"an embedding of shape {tuple(table.shape)}"
        raise ValueError(f"it has {found}, and its config asks for {(config.vocab_size, config.d_model)}")
    if len(matrices) != MATRICES_A_BLOCK * config.n_layers:
        wanted = f"{MATRICES_A_BLOCK} for each of {config.n_layers} layers"
        raise ValueError(f"it has {len(matrices)} packed matrices, and its config asks for {wanted}")
    normed = [f"{name}.norm" in others for name in matrices]
    if any(normed) != all(normed):
        raise ValueError("some of its packed matrices have a norm and some have none")
    block = Block if "blocks.0.attention_norm.weight" in others else BitBlock
    model = GPT(config, linear=_Placeholder, block=block)
    places = {name: m for name, m in model.named_modules() if isinstance(m, _Placeholder)}
    if wrong := sorted(set(places) ^ set(matrices)):
        raise ValueError(f"{wrong[0]!r} is not in both its packed matrices and the model of its config")
    for name, place in places.items():
        packed = matrices[name]
        if packed.shape != place.shape:
            raise ValueError(f"the matrix {name!r} is {packed.shape}, and its config asks for {place.shape}")
        norm = others.pop(f"{name}.norm", None)
        parent = model.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], PackedLinear(packed, norm, eps=about["eps"]))
    if config.tied_embeddings:
        others["head.weight"] = table
    expected = {name: value for name, value in model.state_dict().items() if name.rpartition(".")[0] not in places}
    if wrong := sorted(set(expected) ^ set(others)):
        raise ValueError(f"the tensor {wrong[0]!r} is not in both the file and the model of its config")
    for name, tensor in others.items():
        if tensor.shape != expected[name].shape or not torch.isfinite(tensor).all():
            shape = tuple(expected[name].shape)
            raise ValueError(f"the tensor {name!r} is {tuple(tensor.shape)}, expected {shape} and finite numbers")
    model.load_state_dict(others, strict=False, assign=True)  # assigned, so that they keep their dtype
    if config.tied_embeddings:
        model.head.weight = model.embedding.weight
    return model.eval()
