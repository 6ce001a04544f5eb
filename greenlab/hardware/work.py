"""What a language model asks of a chip: FLOPs and bytes, while it reads a prompt and while it writes tokens.

The counts follow from the shape of the model (`core.cost`). Weights are read once for the whole batch; each sequence has a
KV cache of its own, which is read for every token. Activations are not counted: they are small and stay on the chip.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import numpy as np

from greenlab.core.model import cost
from greenlab.core.model.cost import TransformerShape

Number = Any  # a float for numbers in, a float64 array for arrays in
PHASES = ("prefill", "decode")


@dataclass(frozen=True)
class NumberFormat:
    """How weights and KV cache are stored, and in which arithmetic they are multiplied.

    Attributes:
        name: short name.
        weight_b: bytes for each weight.
        cache_b: bytes for each number in the KV cache.
        arithmetic: fp32, bf16, fp8 or int8: the kind of operands that are multiplied.
    """

    name: str
    weight_b: float
    cache_b: float
    arithmetic: str

    def __post_init__(self) -> None:
        for field in ("weight_b", "cache_b"):
            if not 0 < getattr(self, field) <= 8:
                raise ValueError(
                    f"{field}={getattr(self, field)} of {self.name}: expected above 0 and up to 8 B; 16 bits are 2 B"
                )


# 4-bit weights carry a 16-bit scale and zero point for each group of 32: 4 + 32/32 bits (gpt-fast, G=32)
FORMATS = {
    f.name: f
    for f in (
        NumberFormat("fp32", 4, 4, "fp32"),
        NumberFormat("bf16", 2, 2, "bf16"),
        NumberFormat("fp8", 1, 1, "fp8"),
        NumberFormat("int8 weights", 1, 2, "bf16"),
        NumberFormat("int4 weights", 0.625, 2, "bf16"),
    )
}

# Sizes from the models' own configuration files; the parameter totals are checked in tests against the published ones.
MODELS = {
    "SmolLM2-135M": TransformerShape(30, 576, 9, 3, 64, 1536, 49152, tied_embeddings=True),
    "Llama-2-7B": TransformerShape(32, 4096, 32, 32, 128, 11008, 32000),
    "Llama-3.1-8B": TransformerShape(32, 4096, 32, 8, 128, 14336, 128256),
    "Llama-2-70B": TransformerShape(80, 8192, 64, 8, 128, 28672, 32000),
    "Llama-3.1-70B": TransformerShape(80, 8192, 64, 8, 128, 28672, 128256),
    "Llama-3.1-405B": TransformerShape(126, 16384, 128, 8, 128, 53248, 128256),
}


@dataclass(frozen=True)
class Work:
    """One forward pass of a batch. Counts are numbers or arrays of one shape.

    Attributes:
        name: what it is, in words.
        phase: "prefill" (reading a prompt) or "decode" (writing one token).
        format: how numbers are stored and multiplied.
        batch: sequences.
        tokens: tokens read or written by the whole batch.
        flops: of the whole batch [FLOP].
        bytes_moved: read from memory, or written to the cache [B].
        resident_b: what has to lie in memory: all weights and the batch's KV cache [B].
    """

    name: str
    phase: str
    format: NumberFormat
    batch: Number
    tokens: Number
    flops: Number
    bytes_moved: Number
    resident_b: Number

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise ValueError(f"phase={self.phase!r}: expected one of {', '.join(PHASES)}")
        for name in ("batch", "tokens", "flops", "bytes_moved", "resident_b"):
            value = np.asarray(getattr(self, name), dtype=float)
            if not (np.isfinite(value).all() and (value > 0).all()):
                raise ValueError(f"{name} of {self.name} must be finite and above 0, got {getattr(self, name)!r}")

    @property
    def intensity(self) -> Number:
        """Arithmetic intensity [FLOP/B]."""
        return self.flops / self.bytes_moved


def model_shape(model: str | TransformerShape) -> TransformerShape:
    """The shape of a model by name, or the shape itself.

    Raises:
        ValueError: if the name is unknown; the message lists the nearest ones.
    """
    if isinstance(model, TransformerShape):
        return model
    if model not in MODELS:
        near = difflib.get_close_matches(model, MODELS, n=3, cutoff=0.4) or list(MODELS)
        raise ValueError(
            f"no model named {model!r}: did you mean {', '.join(near)}? Or give a TransformerShape of your own"
        )
    return MODELS[model]


def number_format(format: str | NumberFormat) -> NumberFormat:
    """A number format by name, or the format itself; ValueError lists the names."""
    if isinstance(format, NumberFormat):
        return format
    if format not in FORMATS:
        raise ValueError(f"format={format!r}: expected one of {', '.join(FORMATS)}, or a NumberFormat of your own")
    return FORMATS[format]


def _words(model: str | TransformerShape) -> str:
    return model if isinstance(model, str) else f"{cost.parameters(model).total / 1e9:.3g}B model"


def decode(
    model: str | TransformerShape,
    *,
    batch: Number = 1,
    context: Number = 512,
    format: str | NumberFormat = "bf16",
) -> Work:
    """Writing one token for each sequence of a batch, with ``context`` tokens in each cache.

    Weights (without the embedding table, of which one row is read) are read once, each cache once.

    >>> one = decode("Llama-2-70B", batch=1, context=1)
    >>> round(one.bytes_moved / 1e9, 1), round(one.flops / 1e9, 1), round(one.intensity, 2)
    (137.4, 137.4, 1.0)

    Raises:
        ValueError: if model or format is unknown, the batch is below 1 or the context below 1.
    """
    shape, form = model_shape(model), number_format(format)
    _at_least_one(batch=batch, context=context)
    read = cost.decode_bytes(shape, 1, bytes_per_weight=form.weight_b)
    cache = cost.kv_cache_bytes(shape, context, batch=batch, bytes_per_value=form.cache_b)
    sequences = _float(batch)
    return Work(
        name=f"{_words(model)}, decode",
        phase="decode",
        format=form,
        batch=sequences,
        tokens=sequences,
        flops=_float(cost.decode_flops(shape, context).total) * sequences,
        bytes_moved=read.layer_weights + read.output_head + read.embedding_row * sequences + _float(cache),
        resident_b=cost.parameters(shape).total * form.weight_b + _float(cache),
    )


def prefill(
    model: str | TransformerShape,
    *,
    batch: Number = 1,
    context: Number = 512,
    format: str | NumberFormat = "bf16",
) -> Work:
    """Reading a prompt of ``context`` tokens for each sequence of a batch, up to the logits of its last token.

    Weights are read once, the cache is written once; attention scores are counted for the causal half only.

    >>> round(prefill("Llama-2-7B", context=2048).flops / 1e12, 1)  # about 2 x 6.5e9 x 2048, and the scores
    27.6

    Raises:
        ValueError: as for `decode`.
    """
    shape, form = model_shape(model), number_format(format)
    _at_least_one(batch=batch, context=context)
    read = cost.decode_bytes(shape, 1, bytes_per_weight=form.weight_b)
    cache = cost.kv_cache_bytes(shape, context, batch=batch, bytes_per_value=form.cache_b)
    sequences, length = _float(batch), _float(context)
    return Work(
        name=f"{_words(model)}, prefill",
        phase="prefill",
        format=form,
        batch=sequences,
        tokens=sequences * length,
        flops=_float(cost.prefill_flops(shape, context, head="last").total) * sequences,
        bytes_moved=read.layer_weights + read.output_head + read.embedding_row * sequences * length + _float(cache),
        resident_b=cost.parameters(shape).total * form.weight_b + _float(cache),
    )


def _at_least_one(**values: Any) -> None:
    for name, value in values.items():
        counts = np.asarray(value, dtype=float)
        if not (np.isfinite(counts).all() and (counts >= 1).all() and (counts == np.floor(counts)).all()):
            raise ValueError(f"{name} must be a whole number >= 1 or an array of them, got {value!r}")


def _float(value: Any) -> Number:
    counts = np.asarray(value, dtype=float)
    return float(counts) if counts.ndim == 0 else counts
