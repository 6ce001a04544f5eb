"""A small Llama-style GPT whose parts are handed in: chapters swap its linear, feed-forward or block for their own.

RMSNorm before each part, rotary positions, SwiGLU and grouped-query attention, as in Llama 2 (arXiv:2307.09288). With
the weights of a transformers Llama it gives the same logits; a test holds it to that. Shapes in the comments: B batch, S
new tokens, T cached and new ones, V vocab_size, H query heads, K key-value heads, D head_dim, C = H * D = d_model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from greenlab.core.model.cost import TransformerShape

Part = Callable[..., nn.Module]  # a class, or a functools.partial of one


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of a `GPT`. ``n_kv_heads`` below ``n_heads`` is grouped-query attention; None makes them equal."""

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
        if self.shape.d_model % (2 * self.n_heads) or self.context_length < 1:  # the shape checks the other sizes
            allowed = f"d_model must be a multiple of 2 * n_heads = {2 * self.n_heads} and context_length >= 1"
            raise ValueError(f"{allowed}, got {self.d_model} and {self.context_length}: rotary positions turn pairs")

    @property
    def head_dim(self) -> int:
        """Width of a head, D."""
        return self.d_model // max(self.n_heads, 1)  # shape says what is wrong with 0 heads

    @property
    def shape(self) -> TransformerShape:
        """What `core.cost` needs to count the parameters, FLOPs and bytes of the dense model."""
        heads = (self.n_heads, self.n_heads if self.n_kv_heads is None else self.n_kv_heads, self.head_dim)
        return TransformerShape(self.n_layers, self.d_model, *heads, self.d_ff, self.vocab_size, self.tied_embeddings)


class LayerCache:
    """Keys and values of one layer, in memory taken once; ``length`` tokens are filled."""

    def __init__(self, batch_size: int, n_kv_heads: int, max_tokens: int, head_dim: int) -> None:
        self.keys, self.values = torch.zeros(2, batch_size, n_kv_heads, max_tokens, head_dim)
        self.length = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add new ``keys`` and ``values`` ``(B, K, S, D)``; give all of them ``(B, K, T, D)``."""
        start, self.length = self.length, self.length + keys.shape[2]
        self.keys, self.values = self.keys.to(keys.dtype), self.values.to(keys.dtype)  # the model may be bfloat16
        self.keys[:, :, start : self.length], self.values[:, :, start : self.length] = keys, values
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class KVCache:
    """A `LayerCache` per layer. ``length`` counts the tokens seen; a layer that lets some pass by may hold fewer."""

    def __init__(self, config: GPTConfig, batch_size: int = 1, max_tokens: int | None = None) -> None:
        self.max_tokens = config.context_length if max_tokens is None else min(max_tokens, config.context_length)
        sizes = (batch_size, config.shape.n_kv_heads, self.max_tokens, config.head_dim)
        self.layers = [LayerCache(*sizes) for _ in range(config.n_layers)]
        self.length = 0


class RMSNorm(nn.Module):
    """Scale each token to root mean square 1, then by learned weights (arXiv:1910.07467, eq. 4)."""

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``(B, S, C)`` to ``(B, S, C)``."""
        # F.rms_norm took 1.7 times as long, forward and backward (torch 2.13, CPU, one thread)
        mean_square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square() / x.shape[-1]
        return x * (mean_square + self.eps).rsqrt() * self.weight


def rotations(config: GPTConfig) -> Tensor:
    """Unit complex numbers ``(context_length, D / 2)`` that turn pair i at position p by p * theta^(-2 i / D) radians.

    Rotary embedding (arXiv:2104.09864, eq. 15): a query times a key then depends on their distance only.
    """
    frequencies = config.rope_theta ** (-torch.arange(0, config.head_dim, 2) / config.head_dim)  # (D / 2,)
    angles = torch.arange(config.context_length)[:, None] * frequencies
    return torch.polar(torch.ones_like(angles), angles)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn every head of ``x`` ``(B, S, heads, D)`` by its token's ``rotation``: ``(S, D / 2)`` or ``(B, S, D / 2)``.

    Neighbours 2i and 2i+1 make a complex number, as in Meta's Llama (transformers: i and i + D/2). The fastest of seven ways.
    """
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))  # there are no complex numbers of two bfloat16
    return torch.view_as_real(pairs * rotation.unsqueeze(-2)).flatten(-2).to(x.dtype)


class Attention(nn.Module):
    """Causal attention in which groups of query heads share a key-value head (arXiv:2305.13245)."""

    def __init__(self, config: GPTConfig, *, linear: Part = nn.Linear) -> None:
        super().__init__()
        kv_width = config.shape.n_kv_heads * config.head_dim
        # three matrices: one fused matrix was no faster here, and a part handed in may scale each by itself
        self.query = linear(config.d_model, config.d_model, bias=False)
        self.key = linear(config.d_model, kv_width, bias=False)
        self.value = linear(config.d_model, kv_width, bias=False)
        self.output = linear(config.d_model, config.d_model, bias=False)
        self.head_dim = config.head_dim

    def forward(self, x: Tensor, rotation: Tensor, cache: LayerCache | None = None) -> Tensor:
        """``(B, S, C)`` to ``(B, S, C)``."""
        q, k, v = (part(x).unflatten(-1, (-1, self.head_dim)) for part in (self.query, self.key, self.value))
        q, k = rotate(q, rotation), rotate(k, rotation)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H, S, D) and twice (B, K, S, D)
        if cache is not None:
            k, v = cache.append(k, v)  # (B, K, T, D)
        s, t, mask = q.shape[2], k.shape[2], None
        if 1 < s < t:  # is_causal lines up the first query with the first key: right only without a past
            mask = torch.ones(s, t, dtype=torch.bool).tril(t - s)
        y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=1 < s == t, enable_gqa=q.shape[1] != k.shape[1])
        return self.output(y.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """Gated feed-forward part, down(silu(gate(x)) * up(x)) (arXiv:2002.05202, eq. 6)."""

    def __init__(self, config: GPTConfig, *, linear: Part = nn.Linear) -> None:
        super().__init__()
        self.gate = linear(config.d_model, config.d_ff, bias=False)
        self.up = linear(config.d_model, config.d_ff, bias=False)
        self.down = linear(config.d_ff, config.d_model, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, S, C)`` to ``(B, S, C)``."""
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """One layer: what attention, and then the feed-forward part, read off the stream is added back to it."""

    def __init__(self, config: GPTConfig, layer: int, *, linear: Part, feed_forward: Part, norm: Part) -> None:
        super().__init__()
        self.layer = layer
        self.attention_norm = norm(config.d_model, config.norm_eps)
        self.attention = Attention(config, linear=linear)
        self.feed_forward_norm = norm(config.d_model, config.norm_eps)
        self.feed_forward = feed_forward(config, linear=linear)

    def forward(self, x: Tensor, rotation: Tensor, cache: LayerCache | None = None) -> Tensor:
        """``(B, S, C)`` to ``(B, S, C)``."""
        x = x + self.attention(self.attention_norm(x), rotation, cache)
        return x + self.feed_forward(self.feed_forward_norm(x))


class GPT(nn.Module):
    """A decoder-only language model.

    Args:
        config: the sizes.
        seed: of the first weights: N(0, 0.02^2) in every linear and embedding. The global random state stays as it was.
        linear: ``linear(in_features, out_features, bias=False)`` makes the matrices of the blocks; the output head stays an
            ``nn.Linear``, as in BitNet.
        feed_forward, norm: ``feed_forward(config, linear=linear)`` and ``norm(d_model, eps)``.
        block: ``block(config, layer, linear=, feed_forward=, norm=)``, called with ``(x, rotation, cache)``.

    >>> model = GPT(GPTConfig(vocab_size=10, n_layers=1, d_model=8, n_heads=2, d_ff=16, context_length=4))
    >>> model(torch.tensor([[1, 2, 3]])).shape
    torch.Size([1, 3, 10])
    """

    def __init__(
        self, config: GPTConfig, *, seed: int = 0, linear: Part = nn.Linear, feed_forward: Part = SwiGLU,
        block: Part = Block, norm: Part = RMSNorm,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config = config
        parts = {"linear": linear, "feed_forward": feed_forward, "norm": norm}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(config.vocab_size, config.d_model)
            self.blocks = nn.ModuleList(block(config, layer, **parts) for layer in range(config.n_layers))
            self.norm = norm(config.d_model, config.norm_eps)
            self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
            for module in self.modules():
                if isinstance(module, nn.Linear | nn.Embedding):
                    nn.init.normal_(module.weight, std=0.02)
        if config.tied_embeddings:
            self.head.weight = self.embedding.weight
        self.rotation = nn.Buffer(rotations(config), persistent=False)

    def shape(self) -> TransformerShape:
        """What `core.cost` counts with; a part handed in may cost something else, and its chapter says what."""
        return self.config.shape

    def forward(self, input_ids: Tensor, *, cache: KVCache | None = None, head: str = "all") -> Tensor:
        """Logits ``(B, S, V)`` of the token after each of ``input_ids`` ``(B, S)``.

        With a ``cache`` the ids follow what it holds, and join it. ``head="last"`` gives the last token's logits only.
        """
        shape = tuple(input_ids.shape)
        if len(shape) != 2 or 0 in shape or head not in ("all", "last"):
            allowed = "input_ids must be (B, S), both 1 or more, and head 'all' or 'last'"
            raise ValueError(f"{allowed}, got shape {shape} and {head!r}: input_ids[None] adds a batch dimension")
        start, limit = (0, self.config.context_length) if cache is None else (cache.length, cache.max_tokens)
        if (end := start + shape[1]) > limit:
            raise ValueError(f"input_ids reach token {end}, allowed are {limit}: cut them or raise context_length")
        x, rotation = self.embedding(input_ids), self.rotation[start:end]  # (B, S, C), (S, D / 2)
        for i, block in enumerate(self.blocks):
            x = block(x, rotation, None if cache is None else cache.layers[i])
        if cache is not None:
            cache.length = end
        return self.head(self.norm(x[:, -1:] if head == "last" else x))

    @torch.no_grad()
    def generate(
        self, input_ids: Tensor, n_new_tokens: int, *, temperature: float = 1.0, seed: int = 0, use_cache: bool = True
    ) -> Tensor:
        """Continue ``input_ids`` ``(B, S)``: they and ``n_new_tokens`` more, ``(B, S + n_new_tokens)``.

        ``temperature`` divides the logits; 0 takes the likeliest token. Without the cache: the same text, more slowly.
        """
        room = self.config.context_length - input_ids.shape[-1]
        if temperature < 0 or n_new_tokens > room:
            allowed = f"temperature must be >= 0 and n_new_tokens at most {room}"
            raise ValueError(f"{allowed}, got {temperature} and {n_new_tokens}: cut the prompt or raise context_length")
        generator, ids = torch.Generator().manual_seed(seed), input_ids
        cache = KVCache(self.config, len(ids), ids.shape[1] + n_new_tokens) if use_cache else None
        for _ in range(n_new_tokens):
            logits = self(ids if cache is None else ids[:, cache.length :], cache=cache, head="last")[:, -1]  # (B, V)
            token = logits.argmax(-1, keepdim=True)
            if temperature:
                token = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
            ids = torch.cat([ids, token], dim=1)
        return ids
