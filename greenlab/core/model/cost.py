"""What a transformer costs: parameters, FLOPs, bytes moved and KV cache, from its shape alone.

A shape may have experts, of which a token uses ``top_k``, and layers that only a share of the tokens enters (mixture of
depths). Then a count is the mean over tokens that choose at random, all choices being equally likely.

Nothing is run or measured: the counts follow from the sizes of the matrices. A multiply-add is 2 FLOPs; as in torch's
FlopCounterMode only matrix products count. ``context`` is the number of tokens that the newest one attends to, itself
included. A whole number in gives an exact count; an array gives float64, since int64 would overflow beyond 9.2e18.

Every function raises a TypeError if an argument has the wrong type, and a ValueError if it is out of range.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from greenlab.core import checks

Number = Any  # an exact int (or a float of bytes) for one number in, a float64 array for an array in
MOST_TOKENS = 10**15  # more than all text there is, and its square is far from overflow
_FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "mixtral", "qwen3_moe", "olmoe")
_MAY_BE_0: tuple[str, ...] = (
    "n_layers",
    "n_experts",
    "top_k",
    "d_expert",
    "n_shared",
    "d_shared",
    "n_no_op",
    "n_dense_layers",
)
_MAY_BE_0 += ("predictor_width",)


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
        qk_norm: whether queries and keys are normed, each head by itself (Qwen3).
        full_qk_norm: whether they are normed over all heads at once (OLMoE).
        n_experts: experts of a layer that the router chooses from; 0 is a dense feed-forward part.
        top_k: experts that a token uses.
        d_expert: width of an expert; 0 is ``d_ff``.
        n_shared: further experts that every token uses.
        d_shared: width of each of them; 0 is the width of an expert.
        n_no_op: further choices of the router that do nothing.
        n_dense_layers: so many first layers have a dense feed-forward part of width ``d_ff`` and no experts.
        capacity: share of the tokens that enter a layer of a mixture of depths; 1 is a model without such layers.
        every: which layers these are: 2 is the 2nd, the 4th and so on.
        predictor_width: of the small network that decides there token by token; 0 is none, and then the router has a
            bias.

    Raises:
        TypeError: if a size is no integer, ``capacity`` no number, or a flag no boolean.
        ValueError: if a size is out of range, ``n_kv_heads`` does not divide ``n_heads``, or the sizes of the experts
            do not fit together.

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
    full_qk_norm: bool = False
    n_experts: int = 0
    top_k: int = 0
    d_expert: int = 0
    n_shared: int = 0
    d_shared: int = 0
    n_no_op: int = 0
    n_dense_layers: int = 0
    capacity: float = 1.0
    every: int = 2
    predictor_width: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type == "bool":
                object.__setattr__(self, field.name, checks.flag(field.name, value))
            elif field.type == "float":
                object.__setattr__(self, field.name, checks.number(field.name, value, above=0, high=1))
            else:  # a plain int: numpy's integers would overflow in the counts
                least = 0 if field.name in _MAY_BE_0 else 1
                object.__setattr__(self, field.name, checks.integer(field.name, value, low=least))
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_kv_heads={self.n_kv_heads}: give a divisor of n_heads={self.n_heads}")
        self._check_experts()

    def _check_experts(self) -> None:
        if not self.n_experts:
            for name in ("top_k", "d_expert", "n_shared", "d_shared", "n_no_op", "n_dense_layers"):
                if getattr(self, name):
                    raise ValueError(f"{name}={getattr(self, name)} with n_experts=0: give n_experts, or leave it 0")
            return
        remedy = f"a token chooses from n_experts={self.n_experts} experts and n_no_op={self.n_no_op} that do nothing"
        checks.integer("top_k", self.top_k, low=1, high=self.n_experts + self.n_no_op, remedy=remedy)
        if self.n_layers:  # a shape without layers is what is left when all of them are dropped
            checks.integer("n_dense_layers", self.n_dense_layers, low=0, high=self.n_layers)
        if self.mlp_bias:
            raise ValueError("mlp_bias=True with n_experts: biases of experts are not counted here; give False")

    def replace(self, **changes: Any) -> TransformerShape:
        """The same shape with some fields changed: ``shape.replace(n_layers=24)``.

        Raises:
            TypeError: if there is no field of a name, or a value has the wrong type.
            ValueError: if a value is out of range.
        """
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_config(cls, config: Any) -> TransformerShape:
        """Read the shape from the ``config`` of a transformers model.

        Llama, Mistral, Qwen2, Qwen3, Phi-2, Phi-3, and with experts Mixtral, Qwen3-MoE and OLMoE.

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
                "counted here, as the attention of DeepSeek, which stores keys and values in another form; fill in "
                "TransformerShape yourself and compare parameters() with the model's own"
            )
        head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        sizes = (c.num_attention_heads, c.num_key_value_heads, head_dim, c.intermediate_size, c.vocab_size)
        shape = cls(c.num_hidden_layers, c.hidden_size, *sizes, tied_embeddings=bool(c.tie_word_embeddings))
        if kind == "phi":  # Phi-1 to Phi-2: LayerNorm, attention beside two feed-forward matrices, a bias everywhere
            biases = dict.fromkeys(("qkv_bias", "out_bias", "mlp_bias", "head_bias", "norm_bias"), True)
            return shape.replace(gated=False, norms_per_layer=1, qk_norm=bool(c.qk_layernorm), **biases)
        if kind in ("mixtral", "qwen3_moe", "olmoe"):
            shape = shape.replace(n_experts=c.num_local_experts, top_k=c.num_experts_per_tok)
        if kind == "qwen3_moe":
            shape = shape.replace(d_expert=c.moe_intermediate_size, n_dense_layers=_dense_layers(c))
        has_bias = kind in ("llama", "qwen3", "qwen3_moe", "olmoe")
        bias, mlp_bias = has_bias and c.attention_bias, kind == "llama" and c.mlp_bias
        biases = {"qkv_bias": bias or kind == "qwen2", "out_bias": bias, "mlp_bias": mlp_bias}
        return shape.replace(qk_norm=kind in ("qwen3", "qwen3_moe"), full_qk_norm=kind == "olmoe", **biases)

    @property
    def attention_weights(self) -> int:
        """Weights in one layer's attention matrices (queries and output, keys and values), without biases."""
        return 2 * self.d_model * self.head_dim * (self.n_heads + self.n_kv_heads)

    @property
    def feed_forward_weights(self) -> int:
        """Weights in one layer's feed-forward matrices, all experts together, without biases and routers."""
        return self.n_experts * self.expert_weights + self.shared_weights if self.n_experts else self.dense_weights

    @property
    def dense_weights(self) -> int:
        """Weights in a dense feed-forward part (gate, up and down, or up and down), without biases."""
        return (3 if self.gated else 2) * self.d_model * self.d_ff

    @property
    def expert_weights(self) -> int:
        """Weights in one of the experts that the router chooses from."""
        return (3 if self.gated else 2) * self.d_model * (self.d_expert or self.d_ff)

    @property
    def shared_weights(self) -> int:
        """Weights in the shared experts of a layer, together."""
        return self.n_shared * (3 if self.gated else 2) * self.d_model * (self.d_shared or self.d_expert or self.d_ff)

    @property
    def router_weights(self) -> int:
        """Weights in the router of a layer with experts."""
        return self.d_model * (self.n_experts + self.n_no_op)

    @property
    def experts_per_token(self) -> Number:
        """Experts that a token uses, shared ones not counted; with no-op choices the mean."""
        return self.top_k * self.n_experts / (self.n_experts + self.n_no_op) if self.n_no_op else self.top_k

    @property
    def _layers(self) -> _Layers:
        skipping = self.n_layers // self.every if self.capacity < 1 else 0
        if not self.n_experts:
            return _Layers(self.n_layers - skipping, skipping, 0, 0)
        dense = min(self.n_dense_layers, self.n_layers)
        dense_skipping = dense // self.every if self.capacity < 1 else 0
        with_experts = self.n_layers - dense
        skipping -= dense_skipping
        return _Layers(dense - dense_skipping, dense_skipping, with_experts - skipping, skipping)


class _Layers(NamedTuple):
    """How many layers there are of each kind; all tokens enter a whole one, a share of them a skipping one."""

    dense_whole: int
    dense_skipping: int
    expert_whole: int
    expert_skipping: int

    @property
    def whole(self) -> int:
        return self.dense_whole + self.expert_whole

    @property
    def skipping(self) -> int:
        return self.dense_skipping + self.expert_skipping

    @property
    def dense(self) -> int:
        return self.dense_whole + self.dense_skipping

    @property
    def expert(self) -> int:
        return self.expert_whole + self.expert_skipping


def _dense_layers(config: Any) -> int:
    """How many first layers of a Qwen3-MoE have no experts."""
    dense = sorted(config.mlp_only_layers)
    if config.decoder_sparse_step != 1 or dense != list(range(len(dense))):
        raise ValueError(
            f"config has decoder_sparse_step={config.decoder_sparse_step} and mlp_only_layers={dense}: counted are "
            "models whose dense layers are the first ones"
        )
    return len(dense)


@dataclass(frozen=True)
class ParameterCount:
    """Parameters by part, over all layers. A tied head counts 0.

    ``per_layer`` is one layer, its norms and the router of its experts included; where layers differ, one with experts.
    ``active`` are those that one token uses (the mean): all but the experts that it does not choose and, in a mixture
    of depths, the layers that it passes by. As is usual, it holds the whole embedding table.
    """

    embedding: int
    attention: int
    feed_forward: int
    norms: int
    output_head: int
    per_layer: int
    routers: int
    active: Number

    @property
    def total(self) -> int:
        """All parameters, as ``sum(p.numel() for p in model.parameters())`` gives them."""
        return self.embedding + self.attention + self.feed_forward + self.norms + self.output_head + self.routers


@dataclass(frozen=True)
class Flops:
    """FLOPs by part; the scores are queries times keys, and their softmax times values.

    Routers are those of experts and of a mixture of depths.
    """

    attention_projections: Number
    attention_scores: Number
    feed_forward: Number
    output_head: Number
    routers: Number
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
    s, n, norm = shape, shape._layers, (1 + shape.norm_bias) * shape.d_model
    qkv = (s.n_heads + 2 * s.n_kv_heads) * s.head_dim
    attention = s.attention_weights + s.qkv_bias * qkv + s.out_bias * s.d_model
    dense = s.dense_weights + s.mlp_bias * ((1 + s.gated) * s.d_ff + s.d_model)
    norms = s.norms_per_layer * norm + s.qk_norm * 2 * (1 + s.norm_bias) * s.head_dim
    norms += s.full_qk_norm * (1 + s.norm_bias) * (s.n_heads + s.n_kv_heads) * s.head_dim
    experts = s.n_experts * s.expert_weights + s.shared_weights
    last_norm = norm  # before the output head
    count = {
        "embedding": s.vocab_size * s.d_model,
        "attention": s.n_layers * attention,
        "feed_forward": n.dense * dense + n.expert * experts,
        "norms": s.n_layers * norms + last_norm,
        "output_head": s.vocab_size * ((not s.tied_embeddings) * s.d_model + s.head_bias),
        "routers": n.expert * s.router_weights + n.skipping * _depth_router(s),
    }
    idle = (s.n_experts - s.experts_per_token) * s.expert_weights  # the experts of a layer that a token does not use
    unused = n.expert * idle
    if n.skipping:
        passed_by = n.skipping * (attention + norms) + n.dense_skipping * dense
        passed_by += n.expert_skipping * (experts - idle + s.router_weights)
        unused += (1 - s.capacity) * passed_by
    per_layer = attention + norms + (experts + s.router_weights if s.n_experts else dense)
    return ParameterCount(**count, per_layer=per_layer, active=sum(count.values()) - unused)


def _depth_router(s: TransformerShape) -> int:
    """Parameters that decide which tokens enter a layer of a mixture of depths: a router, and a predictor or a bias."""
    width = s.predictor_width  # of the predictor, which norms its input first
    return s.d_model + (s.d_model + width * (s.d_model + 2) + 1 if width else 1)


def expected_experts(n_experts: int, top_k: int, n_tokens: ArrayLike) -> Number:
    """Mean number of distinct experts that ``n_tokens`` visit: E (1 - (1 - k/E)^n).

    Each token picks ``top_k`` different experts, all equally likely and independently of other tokens, so it leaves a
    given expert out with probability 1 - k/E. A real router prefers some experts, so its batches visit fewer.

    >>> expected_experts(8, 2, 1), expected_experts(8, 2, 4), expected_experts(4, 4, 9)
    (2.0, 5.46875, 4.0)

    Args:
        n_experts: experts of the layer, E.
        top_k: experts that a token visits, k.
        n_tokens: tokens in the batch, n, 1 or more. A number or an array.

    Returns:
        From ``top_k`` to ``n_experts``, a number or an array.

    Raises:
        TypeError: if an argument is no whole number.
        ValueError: if one is below 1, or a token visits more experts than there are.
    """
    n_experts = checks.integer("n_experts", n_experts, low=1, high=10**9)
    top_k = checks.integer("top_k", top_k, low=1, high=n_experts)
    return _visited(n_experts, top_k / n_experts, _whole(n_tokens, "n_tokens", least=1))


def _visited(n_experts: int, chance: float, n_tokens: Number) -> Number:
    return n_experts * (1 - (1 - chance) ** n_tokens)


class _Work(NamedTuple):
    """What is computed in a layer: products with weights, and pairs of query and key."""

    tokens: Number
    pairs: Number


_NOTHING = _Work(0, 0)


def _flops(s: TransformerShape, whole: _Work, skipping: _Work, *, logits: Number, depth_weights: int) -> Flops:
    n = s._layers
    dense = n.dense_whole * whole.tokens + n.dense_skipping * skipping.tokens
    expert = n.expert_whole * whole.tokens + n.expert_skipping * skipping.tokens
    used = s.experts_per_token * s.expert_weights + s.shared_weights
    return Flops(
        attention_projections=2 * s.attention_weights * (dense + expert),
        # 2 products x 2 FLOPs for each pair of query and key; heads that share keys save cache, not FLOPs
        attention_scores=4 * s.n_heads * s.head_dim * (n.whole * whole.pairs + n.skipping * skipping.pairs),
        feed_forward=2 * (s.dense_weights * dense + used * expert),
        output_head=2 * s.d_model * s.vocab_size * logits,
        routers=2 * (s.router_weights * expert + n.skipping * depth_weights * whole.tokens),
    )


def flops_per_token(shape: TransformerShape, context: ArrayLike = 0) -> Flops:
    """FLOPs to turn one token into logits; at context 0 twice the weights that multiply (arXiv:2001.08361, table 1).

    In a mixture of depths it is the mean: a token enters a skipping layer with the chance ``capacity`` and attends to
    that share of its context there.

    Args:
        shape: the sizes of the model.
        context: tokens that it attends to, itself included; 0 leaves out the scores. A number or an array.
    """
    _check_shape(shape)
    c, length, skipping = shape.capacity, _whole(context, "context"), _NOTHING
    if c < 1:
        skipping = _Work(c, c * np.minimum(length, np.maximum(1, c * length)))
    predictor = shape.predictor_width * (shape.d_model + 1)
    return _flops(shape, _Work(1, length), skipping, logits=1, depth_weights=shape.d_model + predictor)


decode_flops = flops_per_token  # a decoding step of one sequence is one token; its cache then holds the context


def prefill_flops(shape: TransformerShape, n_tokens: ArrayLike, *, head: str = "all", scores: str = "causal") -> Flops:
    """FLOPs of one forward pass over a prompt of ``n_tokens``, from an empty cache.

    Args:
        shape: the sizes of the model.
        n_tokens: length of the prompt, S, 1 or more. A number or an array.
        head: whether "all" tokens get logits (training, scoring) or the "last" one only (enough to go on writing).
        scores: whether the S (S + 1) / 2 pairs that the "causal" mask leaves are counted, or the "full" S x S.

    Into a skipping layer of a mixture of depths go exactly the ``capacity * S`` tokens (rounded down, at least 1) that
    its router scores highest.
    """
    # The kernel decides which is right. Eager attention computes S x S and masks half. torch's CPU flash kernel
    # (is_causal=True, as transformers calls it) skips blocks of keys beyond the diagonal: on one thread of torch 2.13
    # it took 0.6 of the unmasked time at 2,048 and 4,096 tokens, 0.8 at 1,024, about 1 below: "causal" is its limit.
    # FlopCounterMode counts 0 for it.
    _check_shape(shape)
    n = _whole(n_tokens, "n_tokens", least=1)
    checks.one_of("head", head, ("all", "last"))
    checks.one_of("scores", scores, ("causal", "full"))
    skipping = _NOTHING
    if shape.capacity < 1:
        enter = np.maximum(1, np.floor(shape.capacity * n + 1e-6))  # 0.29 * 100 is a little below 29 in floating point
        skipping = _Work(enter, _pairs(enter, scores))
    logits = n if head == "all" else 1
    return _flops(shape, _Work(n, _pairs(n, scores)), skipping, logits=logits, depth_weights=shape.d_model)


def _pairs(n: Number, scores: str) -> Number:
    return n * n if scores == "full" else n * (n + 1) // 2


def kv_cache_bytes(
    shape: TransformerShape, context: ArrayLike, batch: ArrayLike = 1, bytes_per_value: float = 2
) -> Number:
    """Bytes of the KV cache [B]: a key and a value per layer, key-value head, token of ``context`` and sequence.

    A skipping layer of a mixture of depths holds the share ``capacity`` of the tokens, in the mean.

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
    tokens, n = _whole(batch, "batch", least=1) * _whole(context, "context"), shape._layers
    layers = n.whole + shape.capacity * n.skipping if n.skipping else n.whole
    return 2 * layers * shape.n_kv_heads * shape.head_dim * bytes_per_value * tokens


def decode_bytes(
    shape: TransformerShape,
    context: ArrayLike,
    *,
    batch: ArrayLike = 1,
    bytes_per_weight: float = 4,
    bytes_per_cache: float | None = None,
) -> BytesMoved:
    """Bytes read from memory in one decoding step of a batch [B]; they, not the FLOPs, set the time.

    Every weight is read once for the whole batch (a tied head: the embedding table), then an embedding row and the
    cache of each sequence. A model that fits the processor's cache does better. Of the experts those are read that at
    least one token of the batch chooses (`expected_experts`). A skipping layer of a mixture of depths is read if at
    least one token enters it, and its cache by the tokens that do.

    Args:
        shape: the sizes of the model.
        context: tokens in the cache, 0 or more. A number or an array.
        batch: number of sequences, each with one new token, 1 or more. A number or an array.
        bytes_per_weight: size of one weight [B], above 0: 4 is float32, 2 bfloat16, 0.5 four bits.
        bytes_per_cache: size of one number in the cache [B], above 0; None is ``bytes_per_weight``.

    >>> mixtral = TransformerShape(32, 4096, 32, 8, 128, 14336, 32000, n_experts=8, top_k=2)
    >>> [round(decode_bytes(mixtral, 0, batch=n, bytes_per_weight=2).total / 1e9, 1) for n in (1, 8, 32)]
    [25.5, 84.1, 93.1]
    """
    _check_shape(shape)
    bytes_per_weight = _bytes("bytes_per_weight", bytes_per_weight)
    cached = bytes_per_weight if bytes_per_cache is None else _bytes("bytes_per_cache", bytes_per_cache)
    sequences, s = _whole(batch, "batch", least=1), shape
    kv_cache = kv_cache_bytes(s, context, sequences, bytes_per_value=cached)
    if s.capacity < 1:
        n, one = s._layers, kv_cache_bytes(s.replace(capacity=1.0), context, sequences, bytes_per_value=cached)
        kv_cache = one * (n.whole + s.capacity**2 * n.skipping) / s.n_layers if s.n_layers else one
    return BytesMoved(
        layer_weights=bytes_per_weight * _weights_read(s, sequences),
        output_head=bytes_per_weight * s.vocab_size * (s.d_model + s.head_bias),
        embedding_row=bytes_per_weight * s.d_model * sequences,
        kv_cache=kv_cache,
    )


def _weights_read(s: TransformerShape, sequences: Number) -> Number:
    """How many weights of the layers a decoding step reads; the norm before the head is among them."""
    count, n, chance = parameters(s), s._layers, s.top_k / max(1, s.n_experts + s.n_no_op)
    layer_weights = count.attention + count.feed_forward + count.norms + count.routers
    if not (n.expert or n.skipping):
        return layer_weights
    unread = n.expert_whole * s.expert_weights * (s.n_experts - _visited(s.n_experts, chance, sequences))
    if n.skipping:
        nobody = (1 - s.capacity) ** sequences  # the chance that no token of the batch enters a layer
        of_experts = s.expert_weights * (s.n_experts - _visited(s.n_experts, s.capacity * chance, sequences))
        last_norm = (1 + s.norm_bias) * s.d_model
        others = n.skipping * (count.attention + count.norms - last_norm) / s.n_layers
        dense = s.dense_weights + s.mlp_bias * ((1 + s.gated) * s.d_ff + s.d_model)
        others += n.dense_skipping * dense + n.expert_skipping * (s.shared_weights + s.router_weights)
        unread = unread + n.expert_skipping * of_experts + nobody * others
    return layer_weights - unread


def weight_bytes(shape: TransformerShape, bits_per_weight: float, *, embedding_bits: float = 16) -> float:
    """Bytes of all weights [B], where the matrices of the layers are stored in fewer bits than the rest.

    All experts are stored, also those that a token does not use. Routers belong to the rest.

    Args:
        shape: the sizes of the model.
        bits_per_weight: size of one weight in the layers' matrices [bit], above 0, at most 64: 16 is bfloat16.
        embedding_bits: size of one weight in embedding, head, norms, biases and routers [bit], above 0, at most 64.

    >>> llama_2_70b = TransformerShape(80, 8192, 64, 8, 128, 28672, 32000)
    >>> [round(weight_bytes(llama_2_70b.replace(n_layers=n), bits) / 1e9, 1) for n, bits in [(80, 16), (40, 4)]]
    [138.0, 18.2]
    """
    _check_shape(shape)
    for name, bits in {"bits_per_weight": bits_per_weight, "embedding_bits": embedding_bits}.items():
        checks.number(name, bits, above=0, high=64, remedy="it counts bits, so bfloat16 is 16")
    n = shape._layers
    matrices = shape.n_layers * shape.attention_weights
    matrices += n.dense * shape.dense_weights + n.expert * (
        shape.n_experts * shape.expert_weights + shape.shared_weights
    )
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
        **options: further arguments of `prefill_flops` (head, scores) or `decode_bytes` (batch, bytes_per_weight,
            bytes_per_cache).
    """
    _check_shape(shape)
    costs: dict[str, Any] = {"prefill": prefill_flops, "decode": decode_bytes}
    checks.one_of("phase", phase, tuple(costs))
    dropped = _whole(n_dropped, "n_dropped")
    if shape.n_dense_layers or shape.capacity < 1:
        raise ValueError("shape has layers that differ in cost: compare the costs of two shapes instead")
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
