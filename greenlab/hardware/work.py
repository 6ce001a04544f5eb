"""What a language model asks of a chip: FLOPs and bytes, while it reads a prompt and while it writes tokens.

The counts follow from the shape of the model (`core.model.cost`). Weights are read once for the whole batch; each
sequence has a KV cache of its own, which is read for every token. Activations are not counted: they are small and stay
on the chip.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from greenlab.core import checks
from greenlab.core.model import cost
from greenlab.core.model.cost import TransformerShape
from greenlab.core.names import unknown

Number: TypeAlias = float | NDArray[np.float64]  # a float for numbers in, an array for arrays in
ARITHMETIC = ("fp32", "bf16", "fp8", "int8")
PHASES = ("prefill", "decode")


@dataclass(frozen=True)
class NumberFormat:
    """How weights and KV cache are stored, and in which arithmetic they are multiplied.

    Attributes:
        name: short name.
        weight_b: bytes for each weight.
        cache_b: bytes for each number in the KV cache.
        arithmetic: fp32, bf16, fp8 or int8: the kind of operands that are multiplied.

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if a size is not above 0 and up to 8 B, or the arithmetic is unknown.
    """

    name: str
    weight_b: float
    cache_b: float
    arithmetic: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name={self.name!r} is {type(self.name).__name__}: give text")
        for field in ("weight_b", "cache_b"):
            checks.number(field, getattr(self, field), above=0, high=8, remedy="it is in bytes: 16 bits are 2 B")
        checks.one_of("arithmetic", self.arithmetic, ARITHMETIC)


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


def as_number(value: ArrayLike) -> Number:
    """A float for one number, an array of float64 for more.

    Raises:
        TypeError: if ``value`` does not hold numbers.

    >>> as_number([1, 2]), as_number(3)
    (array([1., 2.]), 3.0)
    """
    counts = checks.numbers("value", value, infinite=True, empty=True)
    return float(counts) if counts.ndim == 0 else counts


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
        cache_b: the part of ``resident_b`` that each batch needs for itself, its KV cache [B].

    Raises:
        TypeError: if a count does not hold numbers.
        ValueError: if a count is not above 0, the cache is larger than all, or the shapes do not fit.
    """

    name: str
    phase: str
    format: NumberFormat
    batch: Number
    tokens: Number
    flops: Number
    bytes_moved: Number
    resident_b: Number
    cache_b: Number = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name={self.name!r} is {type(self.name).__name__}: give text")
        if not isinstance(self.format, NumberFormat):
            raise TypeError(f"format={self.format!r} is {type(self.format).__name__}: give a NumberFormat")
        checks.one_of("phase", self.phase, PHASES)
        for name in ("batch", "tokens", "flops", "bytes_moved", "resident_b"):
            value = checks.numbers(name, getattr(self, name), above=0, remedy=f"it belongs to {self.name!r}")
            object.__setattr__(self, name, as_number(value))
        cache_b = checks.numbers("cache_b", self.cache_b, low=0, remedy=f"it belongs to {self.name!r}")
        object.__setattr__(self, "cache_b", as_number(cache_b))
        counts = (self.batch, self.tokens, self.flops, self.bytes_moved, self.resident_b, self.cache_b)
        if len({np.shape(count) for count in counts} - {()}) > 1:
            shapes = ", ".join(str(np.shape(count)) for count in counts)
            raise ValueError(f"the counts of {self.name!r} have the shapes {shapes}: give arrays of one shape")
        if not np.all(np.asarray(self.cache_b) <= np.asarray(self.resident_b)):
            raise ValueError(f"cache_b of {self.name!r} is larger than resident_b, of which it is a part")

    @property
    def intensity(self) -> Number:
        """Arithmetic intensity [FLOP/B]."""
        return self.flops / self.bytes_moved


def model_shape(model: str | TransformerShape) -> TransformerShape:
    """The shape of a model by name, or the shape itself.

    Raises:
        TypeError: if ``model`` is neither a name nor a shape.
        ValueError: if the name is unknown; the message lists the nearest ones.
    """
    if isinstance(model, TransformerShape):
        return model
    if not isinstance(model, str):
        raise TypeError(f"model={model!r} is {type(model).__name__}: give a name or a TransformerShape")
    if model not in MODELS:
        raise unknown("model", model, MODELS, "or give a TransformerShape of your own")
    return MODELS[model]


def number_format(format: str | NumberFormat) -> NumberFormat:
    """A number format by name, or the format itself.

    Raises:
        TypeError: if ``format`` is neither a name nor a format.
        ValueError: if the name is unknown; the message lists the nearest ones.
    """
    if isinstance(format, NumberFormat):
        return format
    if not isinstance(format, str):
        raise TypeError(f"format={format!r} is {type(format).__name__}: give a name or a NumberFormat")
    if format not in FORMATS:
        raise unknown("format", format, FORMATS, "or give a NumberFormat of your own")
    return FORMATS[format]


def _words(model: str | TransformerShape) -> str:
    return model if isinstance(model, str) else f"{cost.parameters(model).total / 1e9:.3g}B model"


def _weights_b(shape: TransformerShape, form: NumberFormat) -> float:
    return cost.parameters(shape).total * form.weight_b


def _cache_b(shape: TransformerShape, form: NumberFormat, batch: Number, context: Number) -> Number:
    of_one = as_number(cost.kv_cache_bytes(shape, context, bytes_per_value=form.cache_b))
    return of_one * batch


def decode(
    model: str | TransformerShape,
    *,
    batch: ArrayLike = 1,
    context: ArrayLike = 512,
    format: str | NumberFormat = "bf16",
) -> Work:
    """Writing one token for each sequence of a batch, with ``context`` tokens in each cache.

    Weights (without the embedding table, of which one row is read) are read once, each cache once.

    >>> one = decode("Llama-2-70B", batch=1, context=1)
    >>> round(one.bytes_moved / 1e9, 1), round(one.flops / 1e9, 1), round(one.intensity, 2)
    (137.4, 137.4, 1.0)

    Args:
        model: a name of `MODELS`, or a shape.
        batch: sequences, a whole number from 1 up or an array of them.
        context: tokens in each cache, the new one included; likewise.
        format: a name of `FORMATS`, or a format.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if model or format is unknown, or batch or context is no whole number from 1 up.
    """
    shape, form = model_shape(model), number_format(format)
    sequences, length = _counts(batch=batch, context=context)
    read = cost.decode_bytes(shape, 1, batch=sequences, bytes_per_weight=form.weight_b)
    cache_b = _cache_b(shape, form, sequences, length)
    return Work(
        name=f"{_words(model)}, decode",
        phase="decode",
        format=form,
        batch=sequences,
        tokens=sequences,
        flops=as_number(cost.decode_flops(shape, length).total) * sequences,
        bytes_moved=read.layer_weights + read.output_head + read.embedding_row + cache_b,
        resident_b=_weights_b(shape, form) + cache_b,
        cache_b=cache_b,
    )


def prefill(
    model: str | TransformerShape,
    *,
    batch: ArrayLike = 1,
    context: ArrayLike = 512,
    format: str | NumberFormat = "bf16",
) -> Work:
    """Reading a prompt of ``context`` tokens for each sequence of a batch, up to the logits of its last token.

    Weights are read once, the cache is written once; attention scores are counted for the causal half only.

    >>> round(prefill("Llama-2-7B", context=2048).flops / 1e12, 1)  # about 2 x 6.5e9 x 2048, and the scores
    27.6

    Args:
        model: a name of `MODELS`, or a shape.
        batch: prompts, a whole number from 1 up or an array of them.
        context: tokens of each prompt; likewise.
        format: a name of `FORMATS`, or a format.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: as for `decode`.
    """
    shape, form = model_shape(model), number_format(format)
    sequences, length = _counts(batch=batch, context=context)
    read = cost.decode_bytes(shape, 1, batch=sequences * length, bytes_per_weight=form.weight_b)
    cache_b = _cache_b(shape, form, sequences, length)
    return Work(
        name=f"{_words(model)}, prefill",
        phase="prefill",
        format=form,
        batch=sequences,
        tokens=sequences * length,
        flops=as_number(cost.prefill_flops(shape, length, head="last").total) * sequences,
        bytes_moved=read.layer_weights + read.output_head + read.embedding_row + cache_b,
        resident_b=_weights_b(shape, form) + cache_b,
        cache_b=cache_b,
    )


def _counts(*, batch: ArrayLike, context: ArrayLike) -> tuple[Number, Number]:
    """Batch and context as floats, which no product can overflow; they are whole and at least 1."""
    found = []
    for name, value in (("batch", batch), ("context", context)):
        counts = checks.numbers(name, value, low=1, high=2**53, remedy="it counts whole things")
        if not (counts == np.floor(counts)).all():
            raise ValueError(f"{name}={value!r}: give a whole number at least 1, or an array of them")
        found.append(as_number(counts))
    shapes = [np.shape(count) for count in found]
    if () not in shapes and shapes[0] != shapes[1]:
        raise ValueError(
            f"batch has the shape {shapes[0]}, context {shapes[1]}: give arrays of one shape, or one number"
        )
    return found[0], found[1]
