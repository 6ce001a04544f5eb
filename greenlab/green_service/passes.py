"""What one forward pass costs on an accelerator: joules and seconds for each byte, each FLOP and each layer.

The accelerator's study (data/studies/accelerator, one H100) measured 31 passes: decoding at batches from 1 to 1,024 and
contexts from 128 to 32,768 tokens, prompts from 128 to 8,192 tokens, models from 135 million to 8 billion weights, some
with fewer layers or in a mixture of depths. Three coefficients, fitted by least squares of relative errors, describe
all of them: a byte that is read, a FLOP that is done, and a layer whose kernels are launched. `residuals` shows how far
each row is from the fit; the bands of a service come from there.

On another chip the three numbers are scaled (`scaled_to`): a byte by rated power over bandwidth, a FLOP by rated power
over peak rate. That is a model, which a test compares with published speeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

from greenlab.core import checks, facts
from greenlab.core.facts import schema
from greenlab.core.model import cost
from greenlab.core.model.cost import TransformerShape
from greenlab.core.names import unknown
from greenlab.green_service.committed import table
from greenlab.green_service.models import MODELS

MEASURED_ON = "h100-sxm5-80gb"  # row of data/facts/accelerators.csv
STUDIED_CAPACITY, STUDIED_EVERY = 0.125, 2  # of the study's mixture of depths (greenlab.accelerator.study)
PARTS = ("bytes", "flops", "layers")


@dataclass(frozen=True)
class Pass:
    """One forward pass of a batch, in counts.

    Attributes:
        bytes_moved: read from memory or written to the cache [B].
        flops: of the whole batch [FLOP].
        layers: whose kernels are launched.
        tokens: read or written by the whole batch.
        resident_b: weights and cache that lie in memory [B].
    """

    bytes_moved: float
    flops: float
    layers: float
    tokens: float
    resident_b: float

    def __post_init__(self) -> None:
        for name in ("bytes_moved", "flops", "tokens", "resident_b"):
            checks.number(name, getattr(self, name), above=0)
        checks.number("layers", self.layers, low=0)

    @property
    def counts(self) -> NDArray[np.float64]:
        """Bytes, FLOPs and layers, in the order of `PARTS`."""
        return np.array([self.bytes_moved, self.flops, self.layers], dtype=float)


@dataclass(frozen=True)
class Coefficients:
    """What a byte, a FLOP and a layer cost on a chip.

    Attributes:
        device: row of data/facts/accelerators.csv.
        j_per_byte: energy of reading a byte [J/B].
        j_per_flop: energy of a floating-point operation [J/FLOP].
        j_per_layer: energy of launching and draining a layer [J].
        s_per_byte, s_per_flop, s_per_layer: the same in seconds.
        basis: "measured" on the chip of the study, "modelled" on any other.
    """

    device: str
    j_per_byte: float
    j_per_flop: float
    j_per_layer: float
    s_per_byte: float
    s_per_flop: float
    s_per_layer: float
    basis: str

    def __post_init__(self) -> None:
        checks.text("device", self.device)
        for name in ("j_per_byte", "j_per_flop", "s_per_byte", "s_per_flop"):
            checks.number(name, getattr(self, name), above=0)
        for name in ("j_per_layer", "s_per_layer"):
            checks.number(name, getattr(self, name), low=0)
        checks.one_of("basis", self.basis, ("measured", "modelled"))

    def energy_j(self, work: Pass, n_devices: int = 1) -> float:
        """Energy of a pass on all devices that share it [J]; each of them launches every layer.

        Args:
            work: from `decode_pass` or `prompt_pass`.
            n_devices: accelerators among which each matrix is cut. Sending numbers between them is not counted.

        Raises:
            TypeError: if an argument is of another kind.
            ValueError: if ``n_devices`` is below 1.
        """
        checks.instance("work", work, Pass, remedy="decode_pass and prompt_pass make one")
        n = checks.integer("n_devices", n_devices, low=1, high=10**6)
        return float(work.counts @ [self.j_per_byte, self.j_per_flop, n * self.j_per_layer])

    def time_s(self, work: Pass, n_devices: int = 1) -> float:
        """Time of a pass [s]; the devices that share it read and compute at the same time.

        Args:
            work: from `decode_pass` or `prompt_pass`.
            n_devices: accelerators among which each matrix is cut. Sending numbers between them is not counted.

        Raises:
            TypeError: if an argument is of another kind.
            ValueError: if ``n_devices`` is below 1.
        """
        checks.instance("work", work, Pass, remedy="decode_pass and prompt_pass make one")
        n = checks.integer("n_devices", n_devices, low=1, high=10**6)
        return float(work.counts @ [self.s_per_byte / n, self.s_per_flop / n, self.s_per_layer])


def decode_pass(shape: TransformerShape, *, batch: int, context: int, bits: float = 16.0) -> Pass:
    """Writing one token for each of ``batch`` sequences, with ``context`` tokens in each cache.

    >>> step = decode_pass(MODELS["Llama-3.1-8B"].shape, batch=1, context=512)
    >>> round(step.bytes_moved / 1e9, 1), round(step.flops / 1e9, 1)
    (15.1, 15.3)

    Args:
        shape: the sizes of the model.
        batch: sequences, 1 or more.
        context: tokens in each cache, the new one included.
        bits: of a weight in the layers; embedding, head and cache stay at 16 bits.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a number is out of range.
    """
    batch, context = checks.integer("batch", batch, low=1), checks.integer("context", context, low=1)
    bits = checks.number("bits", bits, above=0, high=64)
    read = cost.decode_bytes(shape, context, batch=batch, bytes_per_weight=2)
    flops = cost.decode_flops(shape, context).total * batch
    cache_b = cost.kv_cache_bytes(shape, context, batch, 2)
    return Pass(
        bytes_moved=float(read.total - (1 - bits / 16) * read.layer_weights),
        flops=float(flops),
        layers=float(shape.n_layers),
        tokens=float(batch),
        resident_b=float(cost.weight_bytes(shape, bits) + cache_b),
    )


def prompt_pass(shape: TransformerShape, *, n_tokens: int, bits: float = 16.0) -> Pass:
    """Reading one prompt of ``n_tokens`` up to the logits of its last token.

    Args:
        shape: the sizes of the model.
        n_tokens: length of the prompt, 1 or more.
        bits: of a weight in the layers; embedding, head and cache stay at 16 bits.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a number is out of range.
    """
    n_tokens = checks.integer("n_tokens", n_tokens, low=1)
    bits = checks.number("bits", bits, above=0, high=64)
    read = cost.decode_bytes(shape, 1, batch=n_tokens, bytes_per_weight=2)
    cache_b = cost.kv_cache_bytes(shape, n_tokens, 1, 2)  # written once
    return Pass(
        bytes_moved=float(bits / 16 * read.layer_weights + read.output_head + read.embedding_row + cache_b),
        flops=float(cost.prefill_flops(shape, n_tokens, head="last").total),
        layers=float(shape.n_layers),
        tokens=float(n_tokens),
        resident_b=float(cost.weight_bytes(shape, bits) + cache_b),
    )


def _measured_passes() -> list[tuple[dict[str, Any], Pass]]:
    """The rows of the study that are passes of whole models, each with its counts."""
    found = []
    for row in table("accelerator", "summary").to_dict("records"):
        if row["section"] not in ("decode", "prompt"):
            continue
        name, *variant = str(row["what"]).split(", ")
        shape = MODELS[name].shape
        if variant:
            shape = shape.replace(capacity=STUDIED_CAPACITY, every=STUDIED_EVERY)
        if row["layers"] == row["layers"]:  # not nan
            shape = shape.replace(n_layers=int(row["layers"]))
        batch, context = int(row["batch"]), int(row["context"])
        if row["section"] == "decode":
            work = decode_pass(shape, batch=batch, context=context)
        else:
            work = prompt_pass(shape, n_tokens=context)
        found.append(({str(key): value for key, value in row.items()}, work))
    return found


def in_study(model: str, device: str, *, batch: int, changed: bool = False) -> bool:
    """Whether the accelerator's study ran a model on a chip at such a batch; otherwise its passes are modelled.

    Args:
        model: a name of `MODELS`.
        device: a name of `chips`.
        batch: sequences that are written at the same time, 1 or more.
        changed: whether the model runs with fewer layers or in a mixture of depths.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the model or the chip is unknown, or ``batch`` is below 1.

    >>> in_study("Llama-3.1-8B", MEASURED_ON, batch=256), in_study("Llama-3.1-8B", MEASURED_ON, batch=257)
    (True, False)
    """
    checks.text("model", model)
    if model not in MODELS:
        raise unknown("model", model, MODELS)
    chip(device)
    batch, changed = checks.integer("batch", batch, low=1), checks.flag("changed", changed)
    whole, other = studied_batches()
    ran = other if changed else whole
    return device == MEASURED_ON and model in ran and batch <= whole.get(model, 0)


@lru_cache
def studied_batches() -> tuple[Mapping[str, int], Mapping[str, int]]:
    """The largest batch that the accelerator's study wrote with each model, which a reader may not change.

    Returns:
        By name of the model: as a whole, and with fewer layers or in a mixture of depths. Other models are left out.
    """
    whole: dict[str, int] = {}
    changed: dict[str, int] = {}
    for row, _ in _measured_passes():
        name, *variant = str(row["what"]).split(", ")
        into = changed if variant or row["layers"] == row["layers"] else whole
        into[name] = max(into.get(name, 0), int(row["batch"]))
    return MappingProxyType(whole), MappingProxyType(changed)


def _fit(counts: NDArray[np.float64], measured: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of at least 0 with the least sum of squared relative errors."""
    relative = counts / measured[:, None]
    scale = relative.max(axis=0)  # the columns differ by twelve orders of magnitude
    found, _ = nnls(relative / scale, np.ones(len(measured)))
    return found / scale


@lru_cache
def fitted() -> Coefficients:
    """The coefficients of the H100, fitted to all passes of the accelerator's study.

    >>> h100 = fitted()
    >>> f"{h100.j_per_byte:.1e} J/B, {h100.j_per_flop:.1e} J/FLOP"
    '1.8e-10 J/B, 1.4e-12 J/FLOP'
    """
    rows = _measured_passes()
    counts = np.array([work.counts for _, work in rows])
    tokens = np.array([work.tokens for _, work in rows])
    joules = np.array([row["j_per_unit"] for row, _ in rows]) * tokens
    seconds = tokens / np.array([row["units_per_s"] for row, _ in rows])
    byte_j, flop_j, layer_j = (float(value) for value in _fit(counts, joules))
    byte_s, flop_s, layer_s = (float(value) for value in _fit(counts, seconds))
    return Coefficients(MEASURED_ON, byte_j, flop_j, layer_j, byte_s, flop_s, layer_s, "measured")


def residuals() -> pd.DataFrame:
    """Every measured pass beside the fit.

    Returns:
        One row a pass: what, section, batch, context, layers, energy_j, low_j, high_j [J, the meter's range],
        fitted_j [J], ratio (measured over fitted), time_s, fitted_s [s], time_ratio.
    """
    return _residuals().copy()


@lru_cache
def _residuals() -> pd.DataFrame:
    rows, fit = [], fitted()
    for row, work in _measured_passes():
        energy_j, time_s = row["j_per_unit"] * work.tokens, work.tokens / row["units_per_s"]
        fitted_j, fitted_s = fit.energy_j(work), fit.time_s(work)
        row_of = {"what": row["what"], "section": row["section"], "batch": int(row["batch"])}
        row_of |= {"context": int(row["context"]), "layers": int(work.layers), "energy_j": energy_j}
        row_of |= {f"{end}_j": row[f"{end}_j_per_unit"] * work.tokens for end in ("low", "high")}
        row_of |= {"fitted_j": fitted_j, "ratio": energy_j / fitted_j}
        rows.append(row_of | {"time_s": time_s, "fitted_s": fitted_s, "time_ratio": time_s / fitted_s})
    return pd.DataFrame(rows)


def chips() -> tuple[str, ...]:
    """Accelerators whose rated power, bandwidth, memory and 16-bit rate are published, by their names in data/facts."""
    return tuple(_chips())


@lru_cache
def _chips() -> dict[str, dict[str, Any]]:
    needed = ("tdp_w", "memory_bandwidth_gb_s", "memory_gb", "peak_dense_tflops_bf16")
    rows = [row for row in schema.rows("accelerators") if row["kind"] in ("gpu", "tpu", "asic")]
    return {str(row["id"]): dict(row) for row in rows if all(row[name] for name in needed)}


def chip(device: str) -> dict[str, float]:
    """Rated power [W], bandwidth [B/s], memory [B] and 16-bit rate [FLOP/s] of an accelerator.

    >>> chip("h100-sxm5-80gb")["power_w"]
    700.0

    Raises:
        TypeError: if ``device`` is no text.
        ValueError: if there is no such accelerator, or not all of the four are published.
    """
    checks.text("device", device)
    if device not in _chips():
        raise unknown("device", device, _chips(), "accelerators whose power, memory and rate are published")
    row = _chips()[device]
    return {
        "power_w": float(row["tdp_w"]), "bandwidth_b_per_s": 1e9 * row["memory_bandwidth_gb_s"],
        "memory_b": 1e9 * row["memory_gb"], "flops_per_s": 1e12 * row["peak_dense_tflops_bf16"],
    }  # fmt: skip


@lru_cache
def scaled_to(device: str) -> Coefficients:
    """The coefficients of another accelerator: those of the H100, scaled by rated power, bandwidth and peak rate.

    A byte takes time in proportion to 1 / bandwidth, a FLOP to 1 / peak rate, and both energy in proportion to time and
    rated power. Launching a layer takes as long as on the H100.

    >>> scaled_to("h100-sxm5-80gb") == fitted()
    True

    Args:
        device: a name of `chips`.

    Raises:
        TypeError: if ``device`` is no text.
        ValueError: if it is unknown.
    """
    here, there, fit = chip(MEASURED_ON), chip(device), fitted()
    if device == MEASURED_ON:
        return fit
    power = there["power_w"] / here["power_w"]
    byte, flop = (here[name] / there[name] for name in ("bandwidth_b_per_s", "flops_per_s"))
    return Coefficients(
        device=device,
        j_per_byte=fit.j_per_byte * byte * power, j_per_flop=fit.j_per_flop * flop * power,
        j_per_layer=fit.j_per_layer * power,
        s_per_byte=fit.s_per_byte * byte, s_per_flop=fit.s_per_flop * flop, s_per_layer=fit.s_per_layer,
        basis="modelled",
    )  # fmt: skip


@lru_cache
def fit_band() -> tuple[float, float]:
    """Least and greatest joules over the fit: the meter's range of every row, and a serving system's published figures.

    The upper end holds what ML.ENERGY published for the same model on the same chip in a whole serving system, prompts
    included (facts energy-h100-llama3-8b-batch-8 to -256), over the fit at the same batch.
    """
    rows = _residuals()
    low, high = (rows["low_j"] / rows["fitted_j"]).min(), (rows["high_j"] / rows["fitted_j"]).max()
    return float(low), float(max(high, *published_over_fit().values()))


@lru_cache
def published_over_fit() -> dict[int, float]:
    """Published joules of a written token over the fit, by batch, at the study's context of 512 tokens."""
    shape, fit = MODELS["Llama-3.1-8B"].shape, fitted()
    found = {}
    for batch in (8, 16, 32, 64, 128, 256):
        fitted_j = fit.energy_j(decode_pass(shape, batch=batch, context=512)) / batch
        found[batch] = facts.value(f"energy-h100-llama3-8b-batch-{batch}") / fitted_j
    return found


# Published speeds on other chips: fact, chip, sequences, context. They say how far the scaling is off.
ELSEWHERE = (
    ("decode-a100-llama2-7b-bf16", "a100-sxm4-80gb"),
    ("decode-rtx4090-llama2-7b-bf16", "rtx-4090"),
)
LLAMA_2_7B = TransformerShape(32, 4096, 32, 32, 128, 11_008, 32_000)


@lru_cache
def scaling_band() -> tuple[float, float]:
    """Least and greatest published time of a token over the scaled one, on chips that we did not measure; holds 1."""
    over = []
    for fact, device in ELSEWHERE:
        scaled_s = scaled_to(device).time_s(decode_pass(LLAMA_2_7B, batch=1, context=200))
        over.append(1 / facts.value(fact) / scaled_s)
    return min(1.0, *over), max(1.0, *over)
