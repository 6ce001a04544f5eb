"""Levers combined on the reader's own machine: what counts of FLOPs and bytes say before it is measured.

A small model on a processor reads a prompt at the speed of its arithmetic and writes at the speed of its memory. Then
two times of the unchanged model, measured, and the counts of the changed one give a prediction: reading in proportion
to FLOPs, writing in proportion to bytes. Part of both does not change with any lever (the output head, the cache), so
two levers together save less than the product of what they leave alone: `combine` shows all three.

Fewer bits change the bytes of writing only. A packed kernel may read a prompt faster or slower than floats do; how the
measured combination differs from the prediction is what a chapter shows.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pandas as pd

from greenlab.core import checks
from greenlab.core.model import cost
from greenlab.core.model.cost import TransformerShape

LEVERS_HERE = {
    "fewer layers": ("n_layers",),
    "fewer bits": ("layer_bits", "head_bits"),
    "retrieval": ("prompt_tokens",),
}


@dataclass(frozen=True)
class Variant:
    """A model as it runs on the reader's machine, and what it is asked.

    Attributes:
        n_layers: layers that it has.
        prompt_tokens: tokens that it reads.
        output_tokens: tokens that it writes.
        layer_bits: of a weight in the layers: 32 as float32, 2 as packed ternary.
        head_bits: of a weight in the output head, and of a number in the cache.

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if it is out of range.
    """

    n_layers: int = 30
    prompt_tokens: int = 64
    output_tokens: int = 32
    layer_bits: float = 32.0
    head_bits: float = 32.0

    def __post_init__(self) -> None:
        for name in ("n_layers", "prompt_tokens", "output_tokens"):
            checks.integer(name, getattr(self, name), low=1, high=10**6)
        for name in ("layer_bits", "head_bits"):
            checks.number(name, getattr(self, name), above=0, high=64, remedy="it counts bits: float32 is 32")


def _flops(shape: TransformerShape, variant: Variant) -> float:
    part = shape.replace(n_layers=variant.n_layers)
    return float(cost.prefill_flops(part, variant.prompt_tokens, head="last").total)


def _bytes(shape: TransformerShape, variant: Variant) -> float:
    part = shape.replace(n_layers=variant.n_layers)
    context = variant.prompt_tokens + (variant.output_tokens + 1) // 2  # linear in it: the mean counts
    read = cost.decode_bytes(part, context, bytes_per_weight=1)
    others = read.output_head + read.embedding_row + read.kv_cache
    each = (variant.layer_bits * read.layer_weights + variant.head_bits * others) / 8
    return float(each * variant.output_tokens)


def predict_time(
    shape: TransformerShape, before: Variant, after: Variant, *, reading_s: float, writing_s: float
) -> float:
    """Time of an answer after a change, from two times before it [s].

    Args:
        shape: the sizes of the model, any number of layers.
        before: the variant that was measured.
        after: the variant to predict.
        reading_s: measured time of reading the prompt [s], above 0.
        writing_s: measured time of writing the answer [s], above 0.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a number is out of range.

    >>> from greenlab.green_service.models import MODELS
    >>> smollm2 = MODELS["SmolLM2-135M"].shape
    >>> round(predict_time(smollm2, Variant(), Variant(n_layers=24), reading_s=1.0, writing_s=1.0), 3)
    1.643
    """
    checks.instance("shape", shape, TransformerShape)
    checks.instance("before", before, Variant)
    checks.instance("after", after, Variant)
    reading_s = checks.number("reading_s", reading_s, above=0, high=1e9)
    writing_s = checks.number("writing_s", writing_s, above=0, high=1e9)
    reading = reading_s * _flops(shape, after) / _flops(shape, before)
    return reading + writing_s * _bytes(shape, after) / _bytes(shape, before)


def combine(
    shape: TransformerShape, before: Variant, after: Variant, *, reading_s: float, writing_s: float
) -> pd.DataFrame:
    """Each lever alone, their product, and all of them together, as predicted.

    Args:
        shape: the sizes of the model, any number of layers.
        before: the variant that was measured.
        after: the variant with all levers.
        reading_s: measured time of reading the prompt before [s], above 0.
        writing_s: measured time of writing the answer before [s], above 0.

    Returns:
        One row a lever, and one each for "product" and "together": what, time_s, left (share of the time before).

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a number is out of range, or the two answers have different lengths.
    """
    whole = predict_time(shape, before, before, reading_s=reading_s, writing_s=writing_s)
    together = predict_time(shape, before, after, reading_s=reading_s, writing_s=writing_s)
    if before.output_tokens != after.output_tokens:
        raise ValueError(f"after has output_tokens={after.output_tokens}, before {before.output_tokens}: give the same")
    rows: list[dict[str, Any]] = []
    product = 1.0
    for lever, fields in LEVERS_HERE.items():
        changes = {name: getattr(after, name) for name in fields if getattr(after, name) != getattr(before, name)}
        if not changes:
            continue
        alone = dataclasses.replace(before, **changes)
        time_s = predict_time(shape, before, alone, reading_s=reading_s, writing_s=writing_s)
        rows.append({"what": lever, "time_s": time_s, "left": time_s / whole})
        product *= time_s / whole
    rows.append({"what": "product", "time_s": product * whole, "left": product})
    rows.append({"what": "together", "time_s": together, "left": together / whole})
    return pd.DataFrame(rows)
