"""What a transformer costs: parameters, FLOPs, bytes moved and KV cache, from its shape alone.

Nothing is run or measured: the counts follow from the sizes of the matrices. A multiply-add is 2 FLOPs; as in torch's
FlopCounterMode only matrix products count. ``context`` is the number of tokens that the newest one attends to, itself
included. A whole number in gives an exact count; an array gives float64, since int64 would overflow beyond 9.2e18.

Every function raises a TypeError if an argument has the wrong type, and a ValueError if it is out of range.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from greenlab.core import checks

Number = Any  # an exact int (or a float of bytes) for one number in, a float64 array for an array in
MOST_TOKENS = 10**15  # more than all text there is, and its square is far from overflow
_FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi", "phi3")


@dataclass(frozen=True)
class TransformerShape:
    """The sizes of a decoder-only transformer that decide what it costs.

    Attributes:
        n_layers: number of layers; 0 leaves embedding and head only.
        d_model: width of the residual stream.
        n_heads: query heads.
        n_kv_heads: key-value heads, a divisor of ``n_heads``.
        head_dim: width of a head.
        d_ff: width of the feed-forward part.
        vocab_size: number of tokens.
        tied_embeddings: whether the output head is the embedding table, stored once.
        gated: whether the feed-forward part has three matrices (SwiGLU) or two.
        qkv_bias: whether queries, keys and values have a bias.
        out_bias: whether the attention's output has a bias.
        mlp_bias: whether the feed-forward matrices have a bias.
        head_bias: whether the output head has a bias.
        norm_bias: whether the norms have a bias (LayerNorm) or none (RMSNorm).
        norms_per_layer: 2, or 1 in Phi-2.
        qk_norm: whether queries and keys are normed (Qwen3).

    Raises:
        TypeError: if a size is no integer, or a flag no boolean.
        ValueError: if a size is below 1 (``n_layers``: 0), or ``n_kv_heads`` does not divide ``n_heads``.

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
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "bool":
                object.__setattr__(self, field.name, checks.flag(field.name, value))
            else:  # a plain int: numpy's integers would overflow in the counts
                least = 0 if field.name == "n_layers" else 1
                object.__setattr__(self, field.name, checks.integer(field.name, value, low=least))
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_kv_heads={self.n_kv_heads}: give a divisor of n_heads={self.n_heads}")

    def replace(self, **changes: Any) -> TransformerShape:
        """The same shape with some fields changed: ``shape.replace(n_layers=24)``.

        Raises:
            TypeError: if there is no field of a name, or a value has the wrong type.
            ValueError: if a value is out of range.
        """
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_config(cls, config: Any) -> TransformerShape:
        """Read the shape from the ``config`` of a transformers model: Llama, Mistral, Qwen2, Qwen3, Phi-2 or Phi-3.

        Sliding windows are not modelled: beyond one (Mistral-7B v0.1: 4,096 tokens) scores and cache are too high.

        Args:
            config: the model's ``config``.

        Raises:
            TypeError: if it is no such config.
            ValueError: if it is of another family.
        """
        if not isinstance(getattr(config, "model_type", None), str):
            raise TypeError(f"config is {type(config).__name__}: give model.config of a transformers model")
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

    Args:
        shape: the sizes of the model.

    >>> f"{parameters(TransformerShape(80, 8192, 64, 8, 128, 28672, 32000)).total:,}"  # Llama-2-70B
    '68,976,648,192'
    """
    _check_shape(shape)
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
    """FLOPs to turn one token into logits; at context 0 twice the weights that multiply (arXiv:2001.08361, table 1).

    Args:
        shape: the sizes of the model.
        context: tokens that it attends to, itself included; 0 leaves out the scores. A number or an array.
    """
    _check_shape(shape)
    return _flops(shape, tokens=1, pairs=_whole(context, "context"), logits=1)


decode_flops = flops_per_token  # a decoding step of one sequence is one token; its cache then holds the context


def prefill_flops(shape: TransformerShape, n_tokens: ArrayLike, *, head: str = "all", scores: str = "causal") -> Flops:
    """FLOPs of one forward pass over a prompt of ``n_tokens``, from an empty cache.

    Args:
        shape: the sizes of the model.
        n_tokens: length of the prompt, S, 1 or more. A number or an array.
        head: whether "all" tokens get logits (training, scoring) or the "last" one only (enough to go on writing).
        scores: whether the S (S + 1) / 2 pairs that the "causal" mask leaves are counted, or the "full" S x S.
    """
    # The kernel decides which is right. Eager attention computes S x S and masks half. torch's CPU flash kernel
    # (is_causal=True, as transformers calls it) skips blocks of keys beyond the diagonal: on one thread of torch 2.13
    # it took 0.6 of the unmasked time at 2,048 and 4,096 tokens, 0.8 at 1,024, about 1 below: "causal" is its limit.
    # FlopCounterMode counts 0 for it.
    _check_shape(shape)
    n = _whole(n_tokens, "n_tokens", least=1)
    checks.one_of("head", head, ("all", "last"))
    checks.one_of("scores", scores, ("causal", "full"))
    pairs = n * n if scores == "full" else n * (n + 1) // 2
    return _flops(shape, tokens=n, pairs=pairs, logits=n if head == "all" else 1)


def kv_cache_bytes(
    shape: TransformerShape, context: ArrayLike, batch: ArrayLike = 1, bytes_per_value: float = 2
) -> Number:
    """Bytes of the KV cache [B]: a key and a value per layer, key-value head, token of ``context`` and sequence.

    Args:
        shape: the sizes of the model.
        context: tokens held for each sequence, 0 or more. A number or an array.
        batch: number of sequences, 1 or more. A number or an array.
        bytes_per_value: size of one number of a key or value [B], above 0, at most 64: 4 is float32, 2
            bfloat16, 1 int8.

    >>> kv_cache_bytes(TransformerShape(80, 8192, 64, 8, 128, 28672, 32000), 4096)  # Llama-2-70B: 1.34 GB
    1342177280
    """
    _check_shape(shape)
    bytes_per_value = _bytes("bytes_per_value", bytes_per_value)
    tokens = _whole(batch, "batch", least=1) * _whole(context, "context")
    return 2 * shape.n_layers * shape.n_kv_heads * shape.head_dim * bytes_per_value * tokens


def decode_bytes(
    shape: TransformerShape, context: ArrayLike, *, bytes_per_weight: float = 4, bytes_per_cache: float | None = None
) -> BytesMoved:
    """Bytes read from memory in one decoding step of one sequence [B]; they, not the FLOPs, set the time.

    Every weight is read once (a tied head: the embedding table), then one embedding row and the cache. A model that
    fits the processor's cache does better.

    Args:
        shape: the sizes of the model.
        context: tokens in the cache, 0 or more. A number or an array.
        bytes_per_weight: size of one weight [B], above 0: 4 is float32, 2 bfloat16, 0.5 four bits.
        bytes_per_cache: size of one number in the cache [B], above 0; None is ``bytes_per_weight``.
    """
    count, bytes_per_weight = parameters(shape), _bytes("bytes_per_weight", bytes_per_weight)
    cached = bytes_per_weight if bytes_per_cache is None else _bytes("bytes_per_cache", bytes_per_cache)
    return BytesMoved(
        layer_weights=bytes_per_weight * (count.attention + count.feed_forward + count.norms),
        output_head=bytes_per_weight * shape.vocab_size * (shape.d_model + shape.head_bias),
        embedding_row=bytes_per_weight * shape.d_model,
        kv_cache=kv_cache_bytes(shape, context, bytes_per_value=cached),
    )


def weight_bytes(shape: TransformerShape, bits_per_weight: float, *, embedding_bits: float = 16) -> float:
    """Bytes of all weights [B], where the matrices of the layers are stored in fewer bits than the rest.

    Args:
        shape: the sizes of the model.
        bits_per_weight: size of one weight in the layers' matrices [bit], above 0, at most 64: 16 is bfloat16.
        embedding_bits: size of one weight in embedding, head, norms and biases [bit], above 0, at most 64.

    >>> llama_2_70b = TransformerShape(80, 8192, 64, 8, 128, 28672, 32000)
    >>> [round(weight_bytes(llama_2_70b.replace(n_layers=n), bits) / 1e9, 1) for n, bits in [(80, 16), (40, 4)]]
    [138.0, 18.2]
    """
    _check_shape(shape)
    for name, bits in {"bits_per_weight": bits_per_weight, "embedding_bits": embedding_bits}.items():
        checks.number(name, bits, above=0, high=64, remedy="it counts bits, so bfloat16 is 16")
    matrices = shape.n_layers * (shape.attention_weights + shape.feed_forward_weights)
    return (matrices * bits_per_weight + (parameters(shape).total - matrices) * embedding_bits) / 8


def predicted_speedup(
    shape: TransformerShape, n_dropped: ArrayLike, *, phase: str = "prefill", n_tokens: ArrayLike = 1024, **options: Any
) -> Number:
    """How many times faster a model gets without ``n_dropped`` layers: cost of the full over cost of the pruned one.

    The output head stays, so the result is below n_layers / (n_layers - n_dropped).

    Args:
        shape: the sizes of the whole model.
        n_dropped: layers that go, 0 to n_layers - 1. A number or an array.
        phase: "prefill" (reading a prompt, taken as bound by FLOPs) or "decode" (writing, taken as bound by bytes).
        n_tokens: length of the prompt, or of the context while writing. A number or an array.
        **options: further arguments of `prefill_flops` (head, scores) or `decode_bytes` (bytes_per_weight,
            bytes_per_cache).
    """
    _check_shape(shape)
    costs: dict[str, Any] = {"prefill": prefill_flops, "decode": decode_bytes}
    checks.one_of("phase", phase, tuple(costs))
    dropped = _whole(n_dropped, "n_dropped")
    if np.any(dropped >= shape.n_layers):
        raise ValueError(f"n_dropped={n_dropped!r}: give 0 to {shape.n_layers - 1}; at least one layer stays")
    full, no_layers = (costs[phase](s, n_tokens, **options).total for s in (shape, shape.replace(n_layers=0)))
    return full / (full - dropped * (full - no_layers) / shape.n_layers)  # every layer costs the same


def _whole(value: Any, name: str, least: int = 0) -> Number:
    """One whole number as an exact int, several as a float64 array."""
    counts = checks.numbers(name, value, low=least, high=MOST_TOKENS)
    if not np.array_equal(counts, np.floor(counts)):
        raise ValueError(f"{name}={value!r:.80}: give whole numbers at least {least}; check the unit")
    return int(np.asarray(value).item()) if counts.ndim == 0 else counts


def _bytes(name: str, value: float) -> float:
    checks.number(name, value, above=0, high=64, remedy="the size of one number in bytes: bfloat16 is 2")
    return value


def _check_shape(shape: Any) -> None:
    if not isinstance(shape, TransformerShape):
        raise TypeError(f"shape is {type(shape).__name__}: give a TransformerShape")
