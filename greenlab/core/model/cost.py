"""What a transformer costs: parameters, FLOPs, bytes moved and KV cache, from its shape alone.

Nothing is run or measured: the counts follow from the sizes of the matrices. A multiply-add is 2 FLOPs; as in torch's
FlopCounterMode only matrix products count. ``context`` is the tokens that the newest one attends to, itself included.
Whole numbers in stay exact; arrays become float64 (int64 would overflow without a word beyond 9.2e18).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Number = Any  # an exact int (or a float of bytes) for one number in, a float64 array for an array in
_FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi", "phi3")


@dataclass(frozen=True)
class TransformerShape:
    """The sizes of a decoder-only transformer that decide what it costs.

    ``gated`` feed-forward parts (SwiGLU) have three matrices, others two. A tied head is the embedding table, stored
    once. LayerNorm has a bias, RMSNorm none. Phi-2 has one norm a layer; Qwen3 norms queries and keys (``qk_norm``).

    >>> shape = TransformerShape(n_layers=1, d_model=4, n_heads=2, n_kv_heads=1, head_dim=2, d_ff=8, vocab_size=10)
    >>> parameters(shape).attention  # queries and output: 4 x 4 each; keys and values: 4 x 2 each
    48
    """

    n_layers: int
    d_model: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    vocab_size: int
    tied_embeddings: bool = False
    gated: bool = True
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False
    norm_bias: bool = False
    norms_per_layer: int = 2
    qk_norm: bool = False

    def __post_init__(self) -> None:
        for name in [field.name for field in dataclasses.fields(self) if field.type == "int"]:
            _whole(getattr(self, name), name, least=0 if name == "n_layers" else 1)
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_kv_heads={self.n_kv_heads}: give a divisor of n_heads={self.n_heads}")

    def replace(self, **changes: Any) -> TransformerShape:
        """The same shape with some fields changed: ``shape.replace(n_layers=24)``."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_config(cls, config: Any) -> TransformerShape:
        """Read the shape from the ``config`` of a transformers model: Llama, Mistral, Qwen2, Qwen3, Phi-2 or Phi-3.

        Sliding windows are not modelled: beyond one (Mistral-7B v0.1: 4,096 tokens) scores and cache are too high. Raises
        a ValueError for other families.
        """
        c, kind = config, config.model_type
        if kind not in _FAMILIES:
            raise ValueError(
                f"config.model_type must be one of {_FAMILIES}, got {kind!r}: others may have matrices that are not "
                "counted here; fill in TransformerShape yourself and compare parameters() with the model's own"
            )
        head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        sizes = (c.num_attention_heads, c.num_key_value_heads, head_dim, c.intermediate_size, c.vocab_size)
        shape = cls(c.num_hidden_layers, c.hidden_size, *sizes, tied_embeddings=bool(c.tie_word_embeddings))
        if kind == "phi":  # Phi-1 to Phi-2: LayerNorm, attention beside two feed-forward matrices, a bias everywhere
            biases = dict.fromkeys(("qkv_bias", "out_bias", "mlp_bias", "head_bias", "norm_bias"), True)
            return shape.replace(gated=False, norms_per_layer=1, qk_norm=bool(c.qk_layernorm), **biases)
        bias, mlp_bias = kind in ("llama", "qwen3") and c.attention_bias, kind == "llama" and c.mlp_bias
        biases = {"qkv_bias": bias or kind == "qwen2", "out_bias": bias, "mlp_bias": mlp_bias}
        return shape.replace(qk_norm=kind == "qwen3", **biases)

    @property
    def attention_weights(self) -> int:
        """Weights in one layer's attention matrices (queries and output, keys and values), without biases."""
        return 2 * self.d_model * self.head_dim * (self.n_heads + self.n_kv_heads)

    @property
    def feed_forward_weights(self) -> int:
        """Weights in one layer's feed-forward matrices (gate, up and down, or up and down), without biases."""
        return (3 if self.gated else 2) * self.d_model * self.d_ff


@dataclass(frozen=True)
class ParameterCount:
    """Parameters by part, over all layers. A tied head counts 0; ``per_layer`` is one layer, its norms included."""

    embedding: int
    attention: int
    feed_forward: int
    norms: int
    output_head: int
    per_layer: int

    @property
    def total(self) -> int:
        """All parameters, as ``sum(p.numel() for p in model.parameters())`` gives them."""
        return self.embedding + self.attention + self.feed_forward + self.norms + self.output_head


@dataclass(frozen=True)
class Flops:
    """FLOPs by part; the scores are queries times keys, and their softmax times values."""

    attention_projections: Number
    attention_scores: Number
    feed_forward: Number
    output_head: Number
    total = property(lambda self: sum(vars(self).values()), doc="The sum of the parts.")


@dataclass(frozen=True)
class BytesMoved:
    """Bytes read from memory in one decoding step, by part [B]."""

    layer_weights: Number
    output_head: Number
    embedding_row: Number
    kv_cache: Number
    total = property(lambda self: sum(vars(self).values()), doc="The sum of the parts.")


def parameters(shape: TransformerShape) -> ParameterCount:
    """Count the parameters of a model of this shape, biases and norms included.

    >>> f"{parameters(TransformerShape(80, 8192, 64, 8, 128, 28672, 32000)).total:,}"  # Llama-2-70B
    '68,976,648,192'
    """
    s, qkv, norm = shape, (shape.n_heads + 2 * shape.n_kv_heads) * shape.head_dim, (1 + shape.norm_bias) * shape.d_model
    attention = s.attention_weights + s.qkv_bias * qkv + s.out_bias * s.d_model
    feed_forward = s.feed_forward_weights + s.mlp_bias * ((1 + s.gated) * s.d_ff + s.d_model)
    norms = s.norms_per_layer * norm + s.qk_norm * 2 * (1 + s.norm_bias) * s.head_dim
    return ParameterCount(
        embedding=s.vocab_size * s.d_model,
        attention=s.n_layers * attention,
        feed_forward=s.n_layers * feed_forward,
        norms=s.n_layers * norms + norm,  # the last one stands before the output head
        output_head=s.vocab_size * ((not s.tied_embeddings) * s.d_model + s.head_bias),
        per_layer=attention + feed_forward + norms,
    )


def _flops(s: TransformerShape, *, tokens: Number, pairs: Number, logits: Number) -> Flops:
    return Flops(
        attention_projections=2 * s.n_layers * s.attention_weights * tokens,
        # 2 products x 2 FLOPs for each pair of query and key; heads that share keys save cache, not FLOPs
        attention_scores=4 * s.n_layers * s.n_heads * s.head_dim * pairs,
        feed_forward=2 * s.n_layers * s.feed_forward_weights * tokens,
        output_head=2 * s.d_model * s.vocab_size * logits,
    )


def flops_per_token(shape: TransformerShape, context: ArrayLike = 0) -> Flops:
    """FLOPs to turn one token into logits; at context 0 twice the weights that multiply (arXiv:2001.08361, table 1)."""
    return _flops(shape, tokens=1, pairs=_whole(context, "context"), logits=1)


decode_flops = flops_per_token  # a decoding step of one sequence is one token; its cache then holds the context


def prefill_flops(shape: TransformerShape, n_tokens: ArrayLike, *, head: str = "all", scores: str = "causal") -> Flops:
    """FLOPs of one forward pass over a prompt of ``n_tokens``, from an empty cache.

    ``head`` says whether "all" tokens get logits (training, scoring) or the "last" one only (enough to go on writing);
    ``scores`` whether the S (S + 1) / 2 pairs that the "causal" mask leaves are counted, or the "full" S x S.
    """
    # The kernel decides which is right. Eager attention computes S x S and masks half. torch's CPU flash kernel (is_causal=True,
    # as transformers calls it) skips blocks of keys beyond the diagonal: on one thread of torch 2.13 it took 0.6 of the unmasked
    # time at 2,048 and 4,096 tokens, 0.8 at 1,024, about 1 below: "causal" is its limit. FlopCounterMode counts 0 for it.
    n = _whole(n_tokens, "n_tokens", least=1)
    if head not in ("all", "last") or scores not in ("causal", "full"):
        raise ValueError(f"head must be 'all' or 'last', scores 'causal' or 'full', got {head!r} and {scores!r}")
    pairs = n * n if scores == "full" else n * (n + 1) // 2
    return _flops(shape, tokens=n, pairs=pairs, logits=n if head == "all" else 1)


def kv_cache_bytes(shape: TransformerShape, context: ArrayLike, batch: int = 1, bytes_per_value: float = 2) -> Number:
    """Bytes of the KV cache: a key and a value per layer, key-value head, token of ``context`` and sequence.

    >>> kv_cache_bytes(TransformerShape(80, 8192, 64, 8, 128, 28672, 32000), 4096)  # Llama-2-70B: 1.34 GB
    1342177280
    """
    tokens = _whole(batch, "batch", least=1) * _whole(context, "context")
    return 2 * shape.n_layers * shape.n_kv_heads * shape.head_dim * bytes_per_value * tokens


def decode_bytes(
    shape: TransformerShape, context: ArrayLike, *, bytes_per_weight: float = 4, bytes_per_cache: float | None = None
) -> BytesMoved:
    """Bytes read in one decoding step; at batch 1 they, not the FLOPs, set the time.

    Every weight is read once (a tied head: the embedding table), then one embedding row and the cache, stored like the
    weights by default. A model that fits the processor's cache does better.
    """
    count, cached = parameters(shape), bytes_per_weight if bytes_per_cache is None else bytes_per_cache
    return BytesMoved(
        layer_weights=bytes_per_weight * (count.attention + count.feed_forward + count.norms),
        output_head=bytes_per_weight * shape.vocab_size * (shape.d_model + shape.head_bias),
        embedding_row=bytes_per_weight * shape.d_model,
        kv_cache=kv_cache_bytes(shape, context, bytes_per_value=cached),
    )


def weight_bytes(shape: TransformerShape, bits_per_weight: float, *, embedding_bits: float = 16) -> float:
    """Bytes of the weights: ``bits_per_weight`` in the layers' matrices, ``embedding_bits`` in embedding, head, norms, biases.

    >>> llama_2_70b = TransformerShape(80, 8192, 64, 8, 128, 28672, 32000)
    >>> [round(weight_bytes(llama_2_70b.replace(n_layers=n), bits) / 1e9, 1) for n, bits in [(80, 16), (40, 4)]]
    [138.0, 18.2]
    """
    for name, bits in {"bits_per_weight": bits_per_weight, "embedding_bits": embedding_bits}.items():
        if not 0 < bits <= 64:
            raise ValueError(f"{name} must lie in (0, 64], got {bits}: it counts bits, so bfloat16 is 16")
    matrices = shape.n_layers * (shape.attention_weights + shape.feed_forward_weights)
    return (matrices * bits_per_weight + (parameters(shape).total - matrices) * embedding_bits) / 8


def predicted_speedup(
    shape: TransformerShape, n_dropped: ArrayLike, *, phase: str = "prefill", n_tokens: ArrayLike = 1024, **options: Any
) -> Number:
    """How many times faster a model gets without ``n_dropped`` layers: cost of the full over cost of the pruned one.

    Prefill of ``n_tokens`` is taken as bound by FLOPs, decoding at ``n_tokens`` of context by bytes; ``options`` go to
    `prefill_flops` or `decode_bytes`. The output head stays, so the result is below n_layers / (n_layers - n_dropped).
    """
    dropped = _whole(n_dropped, "n_dropped")
    costs: dict[str, Any] = {"prefill": prefill_flops, "decode": decode_bytes}
    if np.any(dropped >= shape.n_layers) or phase not in costs:
        allowed = f"n_dropped must lie in 0..{shape.n_layers - 1} and phase be one of {list(costs)}"
        raise ValueError(f"{allowed}, got {n_dropped!r} and {phase!r}: keep at least one layer")
    full, no_layers = (costs[phase](s, n_tokens, **options).total for s in (shape, shape.replace(n_layers=0)))
    return full / (full - dropped * (full - no_layers) / shape.n_layers)  # every layer costs the same


def _whole(value: Any, name: str, least: int = 0) -> Number:
    counts = np.asarray(value)
    if counts.dtype.kind not in "iuf" or not np.array_equal(counts, np.floor(counts)) or np.any(counts < least):
        raise ValueError(f"{name} must be a whole number >= {least} or an array of them, got {value!r}: check its unit")
    return int(counts) if counts.ndim == 0 else counts.astype(np.float64)
