"""A small Llama-style GPT whose parts are handed in: chapters swap its linear, feed-forward or block for their own.

RMSNorm before each part, rotary positions, SwiGLU and grouped-query attention, as in Llama 2 (arXiv:2307.09288). With
the weights of a transformers Llama it gives the same logits; a test holds it to that. Shapes in the comments: B batch,
S new tokens, T cached and new ones, V vocab_size, H query heads, K key-value heads, D head_dim, C = H * D = d_model.

Every tensor is made on the device of the model. Positions are Python integers, so a forward pass never waits for a GPU.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenlab.core import checks
from greenlab.core.model.cost import TransformerShape
from greenlab.core.model.random_state import check_seed, local_seed

LARGEST_SIZE = 2**31 - 1  # of one axis of a tensor: no machine holds more


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of a `GPT`.

    Attributes:
        vocab_size: number of tokens that the model knows.
        context_length: the most tokens that it can attend to.
        n_layers: number of blocks.
        d_model: width of the residual stream; a multiple of ``2 * n_heads``, as rotary positions turn pairs of numbers.
        n_heads: query heads.
        d_ff: width of the feed-forward part.
        n_kv_heads: key-value heads, a divisor of ``n_heads``. Fewer than ``n_heads`` is grouped-query attention; None
            makes them equal.
        tied_embeddings: whether the output head is the embedding table.
        rope_theta: base of the rotary frequencies, above 0.
        norm_eps: what RMSNorm adds to the mean square, 0 or more.

    Raises:
        TypeError: if a field has the wrong type.
        ValueError: if a size is out of range, or the sizes do not fit together.
    """

    vocab_size: int
    context_length: int = 128
    n_layers: int = 4
    d_model: int = 128
    n_heads: int = 4
    d_ff: int = 256
    n_kv_heads: int | None = None
    tied_embeddings: bool = True
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "d_model", "n_heads", "d_ff"):
            object.__setattr__(self, name, checks.integer(name, getattr(self, name), low=1))
        object.__setattr__(self, "n_layers", checks.integer("n_layers", self.n_layers, low=0))
        if self.n_kv_heads is not None:
            object.__setattr__(self, "n_kv_heads", checks.integer("n_kv_heads", self.n_kv_heads, low=1))
        checks.flag("tied_embeddings", self.tied_embeddings)
        checks.number("rope_theta", self.rope_theta, above=0)
        checks.number("norm_eps", self.norm_eps, low=0)
        if self.d_model % (2 * self.n_heads):
            raise ValueError(
                f"d_model={self.d_model}: give a multiple of 2 * n_heads = {2 * self.n_heads}, for rotary positions"
            )
        _ = self.shape  # TransformerShape checks that n_kv_heads divides n_heads

    @property
    def head_dim(self) -> int:
        """Width of a head, D."""
        return self.d_model // self.n_heads

    @property
    def shape(self) -> TransformerShape:
        """What `core.model.cost` needs to count the parameters, FLOPs and bytes of the dense model."""
        return TransformerShape(
            n_layers=self.n_layers,
            d_model=self.d_model,
            n_heads=self.n_heads,
            n_kv_heads=self.n_heads if self.n_kv_heads is None else self.n_kv_heads,
            head_dim=self.head_dim,
            d_ff=self.d_ff,
            vocab_size=self.vocab_size,
            tied_embeddings=self.tied_embeddings,
        )


class LinearPart(Protocol):
    """What makes a matrix: ``nn.Linear``, a class like it, or a ``functools.partial`` of one."""

    def __call__(self, in_features: int, out_features: int, /, *, bias: bool) -> nn.Module:
        """Make a module that takes ``(..., in_features)`` to ``(..., out_features)``."""
        ...


class FeedForwardPart(Protocol):
    """What makes a feed-forward part, such as `SwiGLU`."""

    def __call__(self, config: GPTConfig, /, *, linear: LinearPart) -> nn.Module:
        """Make a module that takes ``(B, S, C)`` to ``(B, S, C)``."""
        ...


class BlockPart(Protocol):
    """What makes a layer, such as `Block`."""

    def __call__(
        self, config: GPTConfig, layer: int, /, *, linear: LinearPart, feed_forward: FeedForwardPart, norm: NormPart
    ) -> nn.Module:
        """Make a module that is called with ``(x, rotation, cache)``."""
        ...


NormPart = Callable[[int, float], nn.Module]  # norm(d_model, eps)


class LayerCache:
    """Keys and values of one layer, in buffers of a fixed size; the first ``length`` tokens are filled.

    A layer that lets some tokens pass by may hold another number of each sequence: `sequences` gives a cache for each,
    and ``lengths`` says how many each holds.

    Without gradients the buffers are written in place and keep their addresses, so that a CUDA graph can be replayed on
    them. With gradients each `append` writes to a copy, because the backward pass still needs the earlier values.

    Args:
        batch_size: number of sequences, B.
        n_kv_heads: key-value heads, K.
        max_tokens: room, in tokens.
        head_dim: width of a head, D.
        dtype: of the keys and values; None is torch's default.
        device: where they are; None is torch's default.

    Raises:
        TypeError: if a size is no integer, ``dtype`` no dtype, or ``device`` neither a device nor its name.
        ValueError: if a size is below 1 or beyond 2**31 - 1, or there is no device of that name.
    """

    def __init__(
        self,
        batch_size: int,
        n_kv_heads: int,
        max_tokens: int,
        head_dim: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        shape = (
            checks.integer("batch_size", batch_size, low=1, high=LARGEST_SIZE),
            checks.integer("n_kv_heads", n_kv_heads, low=1, high=LARGEST_SIZE),
            checks.integer("max_tokens", max_tokens, low=1, high=LARGEST_SIZE),
            checks.integer("head_dim", head_dim, low=1, high=LARGEST_SIZE),
        )
        _check_place(dtype, device)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self._length = 0
        self._fixed = (shape[0], shape[1], shape[3])  # what new keys must have: batch, heads, width
        self._sequences: list[LayerCache] = []

    @property
    def length(self) -> int:
        """Tokens held; by the fullest sequence, where they differ. 0 empties the cache."""
        return max(self.lengths)

    @length.setter
    def length(self, length: int) -> None:
        self.lengths = [length] * self._fixed[0]

    @property
    def lengths(self) -> list[int]:
        """Tokens held of each sequence."""
        return [part._length for part in self._sequences] or [self._length] * self._fixed[0]

    @lengths.setter
    def lengths(self, lengths: list[int]) -> None:
        self._length = lengths[0]
        if not any(lengths):
            self._sequences = []
        for part, length in zip(self._sequences, lengths, strict=False):  # none, if the sequences fill together
            part._length = length

    def sequences(self) -> list[LayerCache]:
        """A cache for each sequence, to be filled by itself from then on; without gradients on the same buffers."""
        if self._fixed[0] == 1:
            return [self]
        if not self._sequences:
            parts = [copy.copy(self) for _ in range(self._fixed[0])]
            for i, part in enumerate(parts):
                part.keys, part.values = self.keys[i : i + 1], self.values[i : i + 1]
                part._fixed, part._sequences = (1, *self._fixed[1:]), []
            self._sequences = parts
        return self._sequences

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add new ``keys`` and ``values`` ``(B, K, S, D)``; give all of them ``(B, K, T, D)``.

        Raises:
            ValueError: if they differ from the cache in batch size, heads, width, dtype or device, if there is no room,
                or if the sequences are filled by themselves (`sequences`).
        """
        shape, held = keys.shape, self.keys
        if (
            len(shape) != 4
            or (shape[0], shape[1], shape[3]) != self._fixed
            or values.shape != shape
            or not keys.dtype == values.dtype == held.dtype
            or keys.device != held.device
            or self._sequences
        ):
            raise self._refusal(keys, values)
        start, end = self._length, self._length + shape[2]
        if end > held.shape[2]:
            raise ValueError(
                f"keys holds {shape[2]} tokens after {start} cached ones, the cache has room for {held.shape[2]}: "
                "make it with a larger max_tokens"
            )
        if held.requires_grad or (keys.requires_grad and torch.is_grad_enabled()):
            self.keys, self.values = held.clone(), self.values.clone()
        self.keys[:, :, start:end] = keys
        self.values[:, :, start:end] = values
        self._length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def _refusal(self, keys: Tensor, values: Tensor) -> ValueError:
        """The error that says how ``keys`` or ``values`` differ from what the cache holds."""
        held = self.keys
        if self._sequences:
            return ValueError(f"the cache holds {self.lengths} tokens of its sequences: append to those of sequences()")
        (b, k, room, d), got = held.shape, tuple(keys.shape)
        if len(got) != 4 or (got[0], got[1], got[3]) != (b, k, d):
            return ValueError(
                f"keys has the shape {got}, the cache holds ({b}, {k}, up to {room}, {d}) for batch, heads, tokens and "
                "width: make the cache for the batch and the model that use it"
            )
        if values.shape != keys.shape:
            return ValueError(f"values has the shape {tuple(values.shape)}, keys {got}: give equal shapes")
        return ValueError(
            f"keys is {keys.dtype} on {keys.device}, values {values.dtype} on {values.device}, the cache {held.dtype} "
            f"on {held.device}: make it with KVCache(config, dtype=..., device=...), or with GPT.new_cache"
        )


class KVCache:
    """A `LayerCache` per layer. ``length`` counts the tokens seen; a layer that lets some pass by may hold fewer.

    `GPT.new_cache` makes one that fits a model's dtype and device.

    Args:
        config: of the model.
        batch_size: number of sequences.
        max_tokens: room, in tokens; None is the whole ``context_length``.
        dtype: of the keys and values; None is torch's default.
        device: where they are; None is torch's default.

    Raises:
        TypeError: if ``config`` is no `GPTConfig`, a size is no integer, ``dtype`` no dtype, or ``device`` neither a
            device nor its name.
        ValueError: if ``batch_size`` is not from 1 to 2**31 - 1, ``max_tokens`` not from 1 to ``context_length``, or
            there is no device of that name.
    """

    def __init__(
        self,
        config: GPTConfig,
        batch_size: int = 1,
        max_tokens: int | None = None,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        _check_config(config)
        self.batch_size = checks.integer("batch_size", batch_size, low=1, high=LARGEST_SIZE)
        _check_place(dtype, device)
        if max_tokens is None:
            max_tokens = config.context_length
        remedy = "raise context_length"
        self.max_tokens = checks.integer("max_tokens", max_tokens, low=1, high=config.context_length, remedy=remedy)
        sizes = (self.batch_size, config.shape.n_kv_heads, self.max_tokens, config.head_dim)
        self.layers = [LayerCache(*sizes, dtype=dtype, device=device) for _ in range(config.n_layers)]
        self.length = 0

    def truncate(self, length: int) -> None:
        """Keep the first ``length`` tokens and forget the later ones; their memory is used again.

        Raises:
            TypeError: if ``length`` is no integer.
            ValueError: if it is not from 0 to the tokens held, or a layer holds fewer tokens than the cache has seen
                (except for ``length=0``, which empties every layer).
        """
        length = checks.integer("length", length, low=0, high=self.length)
        if length and any(set(layer.lengths) != {self.length} for layer in self.layers):
            held = [layer.length for layer in self.layers]
            raise ValueError(
                f"length={length}: the layers hold {held} of {self.length} tokens, so the first {length} of them "
                "cannot be told; give 0, or fill a new cache"
            )
        self.length = length
        for layer in self.layers:
            layer.length = length


class RMSNorm(nn.Module):
    """Scale each token to root mean square 1, then by learned weights (arXiv:1910.07467, eq. 4).

    The mean square is taken in float32 at least, as in transformers' Llama.

    Args:
        d_model: width of a token, 1 or more.
        eps: what is added to the mean square, 0 or more.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if it is out of range.
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(checks.integer("d_model", d_model, low=1, high=LARGEST_SIZE)))
        self.eps = checks.number("eps", eps, low=0)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, S, C)`` to ``(B, S, C)``."""
        # F.rms_norm took 1.7 times as long, forward and backward (torch 2.13, CPU, one thread)
        wide = at_least_float32(x)
        mean_square = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square() / x.shape[-1]
        scaled = wide * (mean_square + self.eps).rsqrt()
        return (scaled if wide is x else scaled.to(x.dtype)) * self.weight


def at_least_float32(x: Tensor) -> Tensor:
    """``x`` itself in float32 or float64; a float32 copy of bfloat16 or float16, where sums need more digits.

    >>> at_least_float32(torch.ones(2, dtype=torch.bfloat16)).dtype, at_least_float32(torch.ones(2).double()).dtype
    (torch.float32, torch.float64)
    """
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def rotations(config: GPTConfig) -> Tensor:
    """Cosine and sine ``(context_length, D / 2, 2)`` that turn pair i at position p by p * theta^(-2 i / D) radians.

    Float32 on the CPU. Rotary embedding (arXiv:2104.09864, eq. 15): with it, a query times a key depends on their
    distance only.

    Raises:
        TypeError: if ``config`` is no `GPTConfig`.
    """
    _check_config(config)
    pair = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device="cpu")  # (D / 2,), the numbers 2 i
    frequencies = config.rope_theta ** (-pair / config.head_dim)
    angles = torch.arange(config.context_length, dtype=torch.float32, device="cpu")[:, None] * frequencies
    return torch.view_as_real(torch.polar(torch.ones_like(angles), angles))


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn every head of ``x`` ``(B, S, heads, D)`` by its token's ``rotation``.

    Neighbours 2i and 2i+1 make a pair, as in Meta's Llama (transformers: i and i + D/2). Computed in float64 for
    float64 and in float32 otherwise; the result has the dtype of ``x``.

    Args:
        x: queries or keys, before their heads are moved to the second axis.
        rotation: rows of `rotations`: ``(S, D / 2, 2)``, or ``(B, S, D / 2, 2)`` if the sequences have other positions.

    Raises:
        ValueError: if the shapes do not fit.
    """
    shape, turns = x.shape, rotation.shape
    if len(shape) != 4 or len(turns) not in (3, 4) or turns[-3:] != (shape[1], shape[3] // 2, 2):
        raise ValueError(
            f"rotation has the shape {tuple(turns)}, x {tuple(shape)}: give x as (B, S, heads, D) and rotation as "
            "(S, D / 2, 2) or (B, S, D / 2, 2), for example rotations(config)[:S]"
        )
    wide = at_least_float32(x)
    # Multiplying complex numbers turns the pairs in one operation. The views are real again before anything is stored.
    pairs = torch.view_as_complex(wide.unflatten(-1, (-1, 2)))
    turn = torch.view_as_complex(rotation if rotation.dtype == wide.dtype else rotation.to(wide.dtype))
    turned = torch.view_as_real(pairs * turn.unsqueeze(-2)).flatten(-2)
    return turned if turned.dtype == x.dtype else turned.to(x.dtype)


class Attention(nn.Module):
    """Causal attention in which groups of query heads share a key-value head (arXiv:2305.13245).

    Args:
        config: the sizes.
        linear: makes the four matrices.

    Raises:
        TypeError: if ``config`` is no `GPTConfig`, or ``linear`` cannot be called.
    """

    def __init__(self, config: GPTConfig, *, linear: LinearPart = nn.Linear) -> None:
        super().__init__()
        _check_config(config)
        _check_parts(linear=linear)
        kv_width = config.shape.n_kv_heads * config.head_dim
        # three matrices: one fused matrix was no faster here, and a part handed in may scale each by itself
        self.query = linear(config.d_model, config.d_model, bias=False)
        self.key = linear(config.d_model, kv_width, bias=False)
        self.value = linear(config.d_model, kv_width, bias=False)
        self.output = linear(config.d_model, config.d_model, bias=False)
        self.head_dim = config.head_dim

    def forward(self, x: Tensor, rotation: Tensor, cache: LayerCache | None = None) -> Tensor:
        """``(B, S, C)`` to ``(B, S, C)``, with the ``rotation`` ``(S, D / 2, 2)`` of each token's position."""
        q, k, v = (part(x).unflatten(-1, (-1, self.head_dim)) for part in (self.query, self.key, self.value))
        q, k = rotate(q, rotation), rotate(k, rotation)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H, S, D) and twice (B, K, S, D)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, K, T, D)
        s, t, mask = q.shape[2], k.shape[2], None
        if 1 < s < t:  # is_causal lines up the first query with the first key: right only without a past
            mask = torch.ones(s, t, dtype=torch.bool, device=x.device).tril(t - s)
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=1 < s == t, enable_gqa=q.shape[1] != k.shape[1])
        return self.output(y.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """Gated feed-forward part, down(silu(gate(x)) * up(x)) (arXiv:2002.05202, eq. 6).

    Args:
        config: the sizes.
        linear: makes the three matrices.

    Raises:
        TypeError: if ``config`` is no `GPTConfig`, or ``linear`` cannot be called.
    """

    def __init__(self, config: GPTConfig, *, linear: LinearPart = nn.Linear) -> None:
        super().__init__()
        _check_config(config)
        _check_parts(linear=linear)
        self.gate = linear(config.d_model, config.d_ff, bias=False)
        self.up = linear(config.d_model, config.d_ff, bias=False)
        self.down = linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, S, C)`` to ``(B, S, C)``."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """One layer, normed before each part: ``x = x + attention(norm(x))``, then ``x = x + feed_forward(norm(x))``.

    Args:
        config: the sizes.
        layer: its number, from 0.
        linear: makes the matrices.
        feed_forward: makes the feed-forward part.
        norm: makes the two norms.

    Raises:
        TypeError: if ``config`` is no `GPTConfig`, ``layer`` no integer, or a part cannot be called.
        ValueError: if ``layer`` is below 0.
    """

    def __init__(
        self, config: GPTConfig, layer: int, *, linear: LinearPart, feed_forward: FeedForwardPart, norm: NormPart
    ) -> None:
        super().__init__()
        _check_config(config)
        _check_parts(linear=linear, feed_forward=feed_forward, norm=norm)
        self.layer = checks.integer("layer", layer, low=0)
        self.attention_norm = norm(config.d_model, config.norm_eps)
        self.attention = Attention(config, linear=linear)
        self.feed_forward_norm = norm(config.d_model, config.norm_eps)
        self.feed_forward = feed_forward(config, linear=linear)

    def forward(self, x: Tensor, rotation: Tensor, cache: LayerCache | None = None) -> Tensor:
        """``(B, S, C)`` to ``(B, S, C)``, with the ``rotation`` ``(S, D / 2, 2)`` of each token's position."""
        x = x + self.attention(self.attention_norm(x), rotation, cache)
        return x + self.feed_forward(self.feed_forward_norm(x))


class GPT(nn.Module):
    """A decoder-only language model.

    The rotary table is a buffer of real numbers that stays float32 whatever ``.to()``, ``.half()`` or ``.double()`` do
    to the weights: in bfloat16 the positions beyond 256 would fall together.

    Args:
        config: the sizes.
        seed: of the first weights: N(0, 0.02^2) in every linear and embedding. The global random state stays as it was.
        linear: ``linear(in_features, out_features, bias=False)`` makes the matrices of the blocks; the output head
            stays an ``nn.Linear``, as in BitNet.
        feed_forward: ``feed_forward(config, linear=linear)`` makes the feed-forward part of each block.
        block: ``block(config, layer, linear=, feed_forward=, norm=)`` makes a layer, called with
            ``(x, rotation, cache)``.
        norm: ``norm(d_model, eps)`` makes the norms.

    Raises:
        TypeError: if ``config`` is no `GPTConfig`, ``seed`` no integer, or a part cannot be called.
        ValueError: if ``seed`` is out of range.

    >>> model = GPT(GPTConfig(vocab_size=10, n_layers=1, d_model=8, n_heads=2, d_ff=16, context_length=4))
    >>> model(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 10])
    """

    rotation: Tensor

    def __init__(
        self,
        config: GPTConfig,
        *,
        seed: int = 0,
        linear: LinearPart = nn.Linear,
        feed_forward: FeedForwardPart = SwiGLU,
        block: BlockPart = Block,
        norm: NormPart = RMSNorm,
    ) -> None:
        super().__init__()
        _check_config(config)
        _check_parts(linear=linear, feed_forward=feed_forward, block=block, norm=norm)
        self.config = config
        with local_seed(seed):
            self.embedding = nn.Embedding(config.vocab_size, config.d_model)
            self.blocks = nn.ModuleList(
                block(config, layer, linear=linear, feed_forward=feed_forward, norm=norm)
                for layer in range(config.n_layers)
            )
            self.norm = norm(config.d_model, config.norm_eps)
            self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
            for module in self.modules():
                if isinstance(module, nn.Linear | nn.Embedding):
                    nn.init.normal_(module.weight, std=0.02)
        if config.tied_embeddings:
            self.head.weight = self.embedding.weight
        self.register_buffer("rotation", rotations(config).to(self.embedding.weight.device), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> GPT:
        """Convert the weights as ``nn.Module`` does; make the rotary table anew, in float32, where the weights went."""
        before = self.rotation
        super()._apply(fn, recurse)
        if self.rotation is not before:
            self.rotation = rotations(self.config).to(self.rotation.device)
        return self

    @property
    def shape(self) -> TransformerShape:
        """The ``shape`` of ``config``, for `core.model.cost`; parts handed in may cost something else."""
        return self.config.shape

    def new_cache(self, batch_size: int = 1, max_tokens: int | None = None) -> KVCache:
        """Give an empty `KVCache` in the dtype that this model computes with, on its device.

        Args:
            batch_size: number of sequences.
            max_tokens: room, in tokens; None is the whole ``context_length``.

        Raises:
            TypeError: if a size is no integer.
            ValueError: if ``batch_size`` is below 1, or ``max_tokens`` is not from 1 to ``context_length``.
        """
        weight = self.embedding.weight
        dtype, kind = weight.dtype, weight.device.type
        if kind != "meta" and torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
        return KVCache(self.config, batch_size, max_tokens, dtype=dtype, device=weight.device)

    def forward(self, input_ids: Tensor, *, cache: KVCache | None = None, head: str = "all") -> Tensor:
        """Logits ``(B, S, V)`` of the token after each of ``input_ids`` ``(B, S)``.

        Args:
            input_ids: token ids from 0 to V - 1, int64 or int32, on the device of the model.
            cache: the ids follow what it holds, and join it. If the pass fails, it holds what it held before.
            head: ``"all"`` gives the logits of every token, ``"last"`` of the last one only, ``(B, 1, V)``.

        Raises:
            TypeError: if ``input_ids`` is no tensor of integers.
            ValueError: if its shape is wrong, an id is not in the vocabulary (on the CPU; CUDA reports it by an error
                of its own), the ids reach beyond the context or the cache, the cache is for another batch size or
                model, or ``head`` is another word.
        """
        _check_ids(input_ids)
        if head not in ("all", "last"):
            checks.one_of("head", head, ("all", "last"))
        if cache is not None:
            self._check_cache(cache, input_ids.shape[0])
        start, limit = (0, self.config.context_length) if cache is None else (cache.length, cache.max_tokens)
        end = start + input_ids.shape[1]
        if end > limit:
            raise ValueError(
                f"input_ids reach token {end}, allowed are {limit}: cut them, or raise context_length or the "
                "cache's max_tokens"
            )
        x = self._embed(input_ids)  # (B, S, C)
        rotation = self.rotation[start:end]  # (S, D / 2, 2)
        if cache is None:
            for block in self.blocks:
                x = block(x, rotation, None)
        else:
            x = self._cached(x, rotation, cache, end)
        return self.head(self.norm(x[:, -1:] if head == "last" else x))

    def _embed(self, input_ids: Tensor) -> Tensor:
        try:
            return self.embedding(input_ids)
        except IndexError:
            low, high = int(input_ids.min()), int(input_ids.max())
            raise ValueError(
                f"input_ids holds ids from {low} to {high}: give ids from 0 to vocab_size - 1 = "
                f"{self.config.vocab_size - 1}"
            ) from None

    def _cached(self, x: Tensor, rotation: Tensor, cache: KVCache, end: int) -> Tensor:
        """Pass the blocks with a cache; after an error or Ctrl+C the layers hold as many tokens as before."""
        before = [layer.lengths for layer in cache.layers]
        try:
            for block, layer in zip(self.blocks, cache.layers, strict=True):
                x = block(x, rotation, layer)
        except BaseException:
            for layer, lengths in zip(cache.layers, before, strict=True):
                layer.lengths = lengths
            raise
        cache.length = end
        return x

    def _check_cache(self, cache: KVCache, batch_size: int) -> None:
        if not isinstance(cache, KVCache):
            raise TypeError(f"cache={type(cache).__name__}: give a KVCache, for example model.new_cache()")
        if cache.batch_size != batch_size:
            raise ValueError(
                f"input_ids holds {batch_size} sequences, the cache is for {cache.batch_size}: "
                f"make it with batch_size={batch_size}"
            )
        if len(cache.layers) != len(self.blocks):
            raise ValueError(
                f"cache has {len(cache.layers)} layers, the model {len(self.blocks)}: make it with model.new_cache()"
            )

    @torch.no_grad()
    def generate(
        self, input_ids: Tensor, n_new_tokens: int, *, temperature: float = 1.0, seed: int = 0, use_cache: bool = True
    ) -> Tensor:
        """Continue ``input_ids`` ``(B, S)``: they and ``n_new_tokens`` more, ``(B, S + n_new_tokens)``.

        Parts that choose among all tokens of a text decide token by token here (`token_by_token`).

        Args:
            input_ids: the prompt, on the device of the model.
            n_new_tokens: how many tokens are added, 0 or more.
            temperature: divides the logits; 0 takes the likeliest token.
            seed: of the choice. The random numbers come from the model's device: a CPU and a GPU choose differently.
            use_cache: without the cache the same text comes, more slowly (experts with a capacity factor may drop
                other tokens).

        Raises:
            TypeError: if an argument has the wrong type.
            ValueError: if the ids cannot be used (see `forward`), there is no room for the new tokens, or a number is
                out of range.
        """
        _check_ids(input_ids)
        checks.number("temperature", temperature, low=0)
        checks.flag("use_cache", use_cache)
        check_seed(seed)
        room, remedy = self.config.context_length - input_ids.shape[1], "cut the prompt or raise context_length"
        if room < 0:
            raise ValueError(
                f"input_ids has {input_ids.shape[1]} tokens, allowed are {self.config.context_length}: {remedy}"
            )
        n_new_tokens = checks.integer("n_new_tokens", n_new_tokens, low=0, high=room, remedy=remedy)
        cache = self.new_cache(len(input_ids), input_ids.shape[1] + n_new_tokens) if use_cache else None
        ids, generator = input_ids, _generator(self.embedding.weight.device, seed)
        with token_by_token(self):
            for _ in range(n_new_tokens):
                new = ids if cache is None else ids[:, cache.length :]
                logits = self(new, cache=cache, head="last")[:, -1]  # (B, V)
                if temperature:
                    chances = (at_least_float32(logits) / temperature).softmax(-1)
                    token = torch.multinomial(chances, 1, generator=generator)
                else:
                    token = logits.argmax(-1, keepdim=True)
                ids = torch.cat([ids, token.to(ids.dtype)], dim=1)
        return ids


@contextmanager
def token_by_token(model: nn.Module) -> Iterator[None]:
    """Let parts that choose among all tokens of a text look at one token at a time, inside the with block.

    Such a part, for example of mixture of depths, has a boolean ``causal``; a model without one is as it was.

    Args:
        model: any module.

    Raises:
        TypeError: if ``model`` is no module.
    """
    checks.instance("model", model, nn.Module)
    parts: list[Any] = [part for part in model.modules() if isinstance(getattr(part, "causal", None), bool)]
    before = [part.causal for part in parts]
    try:
        for part in parts:
            part.causal = True
        yield
    finally:
        for part, was_causal in zip(parts, before, strict=True):
            part.causal = was_causal


def _generator(device: torch.device, seed: int) -> torch.Generator | None:
    """A source of random numbers on ``device``; None on ``meta``, where nothing is drawn."""
    return None if device.type == "meta" else torch.Generator(device=device).manual_seed(seed)


def _check_config(config: Any) -> None:
    if not isinstance(config, GPTConfig):
        raise TypeError(f"config is {type(config).__name__}: give a GPTConfig")


def _check_parts(**parts: Any) -> None:
    for name, part in parts.items():
        checks.function(name, part, remedy="a class or a function that makes the part")


def _check_place(dtype: Any, device: Any) -> None:
    if dtype is not None:
        checks.instance("dtype", dtype, torch.dtype)
    if device is None or isinstance(device, torch.device):
        return
    try:
        torch.device(checks.text("device", device, remedy="or a torch.device"))
    except RuntimeError:
        raise ValueError(f"device={device!r}: give the name of a device, such as 'cpu' or 'cuda:0'") from None


def _check_ids(input_ids: Any) -> None:
    if not isinstance(input_ids, Tensor) or input_ids.dtype not in (torch.int64, torch.int32):
        got = input_ids.dtype if isinstance(input_ids, Tensor) else type(input_ids).__name__
        raise TypeError(f"input_ids is {got}: give a tensor of token ids, int64 or int32, of the shape (B, S)")
    if input_ids.ndim != 2 or 0 in input_ids.shape:
        raise ValueError(
            f"input_ids has the shape {tuple(input_ids.shape)}: give (B, S), both 1 or more; input_ids[None] adds a "
            "batch axis"
        )
