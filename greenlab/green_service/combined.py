"""Levers combined on the reader's own machine: what is said before it is measured, from counts and from parts.

From counts (`combine`): a small model on a processor reads a prompt at the speed of its arithmetic and writes at the
speed of its memory. Then two times of the unchanged model and the counts of the changed one give a prediction: reading
in proportion to FLOPs, writing in proportion to bytes. Three things are missing there. A pass takes time that no count
has, such as the Python between the layers. A kernel for fewer bits need not be as much faster as its bytes are fewer.
And it changes the reading of a prompt as well, which counts of bytes leave alone.

From parts (`combine_parts`): the unchanged model is timed part by part in two passes, over one token and over many, and
the kernel alone. Each lever then changes its own parts: fewer layers the layers, fewer bits the matrices in them, a
longer prompt what takes time for each token. The output head and what is outside the layers are changed by none, and
that is why levers together leave more than the product of what each leaves alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
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
    checks.instance("shape", shape, TransformerShape)

    def time_of(variant: Variant) -> float:
        return predict_time(shape, before, variant, reading_s=reading_s, writing_s=writing_s)

    return _combined(before, after, time_of)


def _combined(before: Variant, after: Variant, time_of: Callable[[Variant], float]) -> pd.DataFrame:
    checks.instance("before", before, Variant)
    checks.instance("after", after, Variant)
    whole, together = time_of(before), time_of(after)
    if before.output_tokens != after.output_tokens:
        raise ValueError(f"after has output_tokens={after.output_tokens}, before {before.output_tokens}: give the same")
    rows: list[dict[str, Any]] = []
    product = 1.0
    for lever, fields in LEVERS_HERE.items():
        changes = {name: getattr(after, name) for name in fields if getattr(after, name) != getattr(before, name)}
        if not changes:
            continue
        time_s = time_of(dataclasses.replace(before, **changes))
        rows.append({"what": lever, "time_s": time_s, "left": time_s / whole})
        product *= time_s / whole
    rows.append({"what": "product", "time_s": product * whole, "left": product})
    rows.append({"what": "together", "time_s": together, "left": together / whole})
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Parts:
    """Where the time of one pass through the whole model goes [s].

    Attributes:
        matrices_s: the products in the layers, which fewer bits change and fewer layers leave out.
        layers_s: the rest of the layers: attention, norms, and the Python between them. Fewer layers leave it out, and
            fewer bits do not change it.
        head_s: the output head, which neither changes.
        outside_s: what is outside the layers beside the head: embedding, mask, choosing the token.
    """

    matrices_s: float
    layers_s: float
    head_s: float
    outside_s: float

    def __post_init__(self) -> None:
        for name in PARTS:
            checks.number(name, getattr(self, name), low=0, high=1e9, remedy="it is in seconds")

    @property
    def total_s(self) -> float:
        """The sum of the parts [s]."""
        return sum(getattr(self, name) for name in PARTS)


PARTS = ("matrices_s", "layers_s", "head_s", "outside_s")


@dataclass(frozen=True)
class Profile:
    """A whole model on the reader's machine: a pass over one token, and one over a prompt.

    Attributes:
        one: parts of a pass over one token.
        many: parts of a pass over ``rows`` tokens.
        rows: tokens of the second pass, 2 or more.
    """

    one: Parts
    many: Parts
    rows: int

    def __post_init__(self) -> None:
        checks.instance("one", self.one, Parts)
        checks.instance("many", self.many, Parts)
        checks.integer("rows", self.rows, low=2, high=10**6)

    def at(self, n_tokens: int) -> Parts:
        """Parts of a pass over ``n_tokens``: each is a fixed time and a time for each token, through both passes.

        The fixed part of the matrices is the reading of their weights, and that of the rest is dispatch.

        Args:
            n_tokens: tokens of the pass, 1 or more.

        Raises:
            TypeError: if ``n_tokens`` is no integer.
            ValueError: if it is out of range.

        >>> profile = Profile(Parts(10, 4, 5, 1), Parts(40, 10, 5, 1), rows=11)
        >>> profile.at(21).matrices_s, profile.at(1) == profile.one
        (70.0, True)
        """
        further = (checks.integer("n_tokens", n_tokens, low=1, high=10**6) - 1) / (self.rows - 1)
        each = {}
        for name in PARTS:
            one, many = getattr(self.one, name), getattr(self.many, name)
            each[name] = max(0.0, one + (many - one) * further)
        return Parts(**each)


@dataclass(frozen=True)
class Kernel:
    """What other matrices leave of the time of the float ones, as products timed alone.

    Attributes:
        one: share that is left of a pass over one token.
        many: share that is left of the profile's pass over a prompt.
    """

    one: float = 1.0
    many: float = 1.0

    def __post_init__(self) -> None:
        for name in ("one", "many"):
            checks.number(name, getattr(self, name), above=0, high=1e6, remedy="1 is as fast as floats")


def by_bytes(before: Variant, after: Variant) -> Kernel:
    """The kernel as counts have it: writing a token takes time in proportion to bytes, and reading does not change.

    Args:
        before: the variant that was measured.
        after: the variant to predict.

    Raises:
        TypeError: if an argument is no `Variant`.

    >>> by_bytes(Variant(), Variant(layer_bits=8))
    Kernel(one=0.25, many=1.0)
    """
    checks.instance("before", before, Variant)
    checks.instance("after", after, Variant)
    return Kernel(one=after.layer_bits / before.layer_bits)


def predict_from_parts(profile: Profile, before: Variant, after: Variant, kernel: Kernel | None = None) -> float:
    """Time of an answer after a change, from the parts of two passes before it [s].

    The first token comes with the pass over the prompt, every other one with a pass of its own. Fewer layers leave out
    their share of matrices and of the rest; fewer bits change the matrices alone; a longer prompt lengthens what takes
    time for each token. No lever touches the head and what is outside the layers.

    Args:
        profile: of the model before, with its layers and its bits.
        before: the variant that the profile is of.
        after: the variant to predict; its ``head_bits`` have to be those of ``before``.
        kernel: what fewer bits leave of the matrices' time, where ``layer_bits`` differ; None is `by_bytes`.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the head's bits differ.

    >>> profile = Profile(Parts(10, 4, 5, 1), Parts(40, 10, 5, 1), rows=11)
    >>> predict_from_parts(profile, Variant(30, 1, 2), Variant(15, 1, 2))  # two passes, each 14 / 2 + 6
    26.0
    """
    checks.instance("profile", profile, Profile)
    checks.instance("before", before, Variant)
    checks.instance("after", after, Variant)
    if after.head_bits != before.head_bits:
        raise ValueError(
            f"after has head_bits={after.head_bits:g}, before {before.head_bits:g}: the profile's head is not changed "
            "by any lever, so give the same"
        )
    if kernel is None:
        kernel = by_bytes(before, after)
    checks.instance("kernel", kernel, Kernel)
    if after.layer_bits == before.layer_bits:
        kernel = Kernel()
    changed = dataclasses.replace(
        profile,
        one=dataclasses.replace(profile.one, matrices_s=kernel.one * profile.one.matrices_s),
        many=dataclasses.replace(profile.many, matrices_s=kernel.many * profile.many.matrices_s),
    )
    depth = after.n_layers / before.n_layers

    def pass_s(parts: Parts) -> float:
        return depth * (parts.matrices_s + parts.layers_s) + parts.head_s + parts.outside_s

    return pass_s(changed.at(after.prompt_tokens)) + (after.output_tokens - 1) * pass_s(changed.one)


def combine_parts(profile: Profile, before: Variant, after: Variant, kernel: Kernel | None = None) -> pd.DataFrame:
    """`combine` from the parts of two passes: each lever alone, their product, and all of them together.

    Args:
        profile: of the model before.
        before: the variant that the profile is of.
        after: the variant with all levers.
        kernel: what fewer bits leave of the matrices' time; None is `by_bytes`.

    Returns:
        The columns of `combine`.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the head's bits differ, or the two answers have different lengths.
    """
    return _combined(before, after, lambda variant: predict_from_parts(profile, before, variant, kernel))
