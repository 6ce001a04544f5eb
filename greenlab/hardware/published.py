"""The bound beside what others measured: tokens per second, time to the first token, joules per token.

Each row names a fact of data/facts/constants.csv and the work that it was measured on. Nothing is fitted. How far a
figure stays from its bound is the finding: kernels that do not reach the memory's rated speed, communication between
    chips,
waiting, and prompts that are read while others write.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from greenlab.core import checks, facts
from greenlab.hardware.device import device, devices
from greenlab.hardware.roofline import SPLITS, roofline
from greenlab.hardware.work import FORMATS, MODELS, decode, prefill

QUANTITIES = ("stream", "total", "first token", "energy")


@dataclass(frozen=True)
class Published:
    """A figure that somebody measured, and the work it belongs to.

    Attributes:
        fact: its name in data/facts.
        label: a few words for a chart.
        quantity: "stream" (tokens/s that one user sees), "total" (tokens/s of a batch), "first token" (ms) or
            "energy" (J a token).
        device: the chip's name in data/facts.
        model: a name in `work.MODELS`.
        format: a name in `work.FORMATS`.
        batch: sequences at once.
        context: tokens in the cache, the mean over the run; for "first token" the prompt.
        n_devices: chips that share the work.
        split: how, see `roofline`.

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if a name is unknown, or a number is out of range.
    """

    fact: str
    label: str
    quantity: str
    device: str
    model: str
    format: str = "bf16"
    batch: int = 1
    context: int = 128
    n_devices: int = 1
    split: str = "tensor"

    def __post_init__(self) -> None:
        for name in ("fact", "label"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name}={getattr(self, name)!r} is {type(getattr(self, name)).__name__}: give text")
        checks.one_of("quantity", self.quantity, QUANTITIES)
        checks.one_of("device", self.device, tuple(devices()))
        checks.one_of("model", self.model, tuple(MODELS))
        checks.one_of("format", self.format, tuple(FORMATS))
        checks.one_of("split", self.split, SPLITS)
        for name in ("batch", "context", "n_devices"):
            checks.integer(name, getattr(self, name), low=1, high=10**9)


_A100, _H100 = "a100-sxm4-80gb", "h100-sxm5-80gb"
# 128 tokens in and 2,048 out: on average 128 + 1,024 lie in the cache. gpt-fast starts at 5 and writes 200. The
# conversations of ML.ENERGY are taken as 512 tokens long on average, and the LPUs as holding 8-bit weights, since 576
# of them hold 132 GB and 16 bits take 138 (our assumptions).
FIGURES = (
    Published("decode-a100-llama2-7b-bf16", "7B, 16 bits, A100", "stream", _A100, "Llama-2-7B"),
    Published("decode-a100-llama2-7b-int8", "7B, 8-bit weights, A100", "stream", _A100, "Llama-2-7B", "int8 weights"),
    Published("decode-a100-llama2-7b-int4", "7B, 4-bit weights, A100", "stream", _A100, "Llama-2-7B", "int4 weights"),
    Published("decode-rtx4090-llama2-7b-bf16", "7B, 16 bits, RTX 4090", "stream", "rtx-4090", "Llama-2-7B"),
    Published("decode-a100-llama2-70b-int8", "70B, 8-bit weights, A100", "stream", _A100, "Llama-2-70B",
              "int8 weights"),
    Published("decode-a100-llama2-70b-int4", "70B, 4-bit weights, A100", "stream", _A100, "Llama-2-70B",
              "int4 weights"),
    Published("decode-2a100-llama2-70b-bf16", "70B, 16 bits, 2 A100", "stream", _A100, "Llama-2-70B", n_devices=2),
    Published("decode-4a100-llama2-70b-bf16", "70B, 16 bits, 4 A100", "stream", _A100, "Llama-2-70B", n_devices=4),
    Published("decode-8a100-llama2-70b-bf16", "70B, 16 bits, 8 A100", "stream", _A100, "Llama-2-70B", n_devices=8),
    Published("groq-llama2-70b-speed", "70B, 8 bits, 576 LPU", "stream", "groqchip1", "Llama-2-70B", "int8 weights",
              context=512, n_devices=576, split="pipeline"),
    Published("prefill-a100-llama2-7b-bf16", "7B, 16 bits, A100", "first token", _A100, "Llama-2-7B", context=2048),
    Published("prefill-h100-llama2-7b-fp8", "7B, FP8, H100", "first token", _H100, "Llama-2-7B", "fp8", context=2048),
    Published("prefill-4a100-llama2-70b-bf16", "70B, 16 bits, 4 A100", "first token", _A100, "Llama-2-70B",
              context=2048, n_devices=4),
    Published("prefill-4h100-llama2-70b-fp8", "70B, FP8, 4 H100", "first token", _H100, "Llama-2-70B", "fp8",
              context=2048, n_devices=4),
    Published("serve-a100-llama2-7b-bf16", "7B, 16 bits, A100, batch 60", "total", _A100, "Llama-2-7B", batch=60,
              context=1152),
    Published("serve-h100-llama2-7b-fp8", "7B, FP8, H100, batch 112", "total", _H100, "Llama-2-7B", "fp8", batch=112,
              context=1152),
    Published("energy-h100-llama3-8b", "8B, 16 bits, H100, batch 64", "energy", _H100, "Llama-3.1-8B", batch=64,
              context=512),
)  # fmt: skip


def compare_published() -> pd.DataFrame:
    """Every published figure beside the bound.

    Returns:
        One row per figure: fact, label, quantity, unit, published, bound, and ``share``, the speed (or economy) reached
        as a share of what the bound allows; 1 would be perfect.
    """
    rows = []
    for figure in FIGURES:
        task = prefill if figure.quantity == "first token" else decode
        work = task(figure.model, batch=figure.batch, context=figure.context, format=figure.format)
        e = roofline(work, device(figure.device), n_devices=figure.n_devices, split=figure.split)
        bounds = {
            "stream": e.stream_tokens_per_s,
            "total": e.tokens_per_s,
            "first token": 1e3 * e.time_s,
            "energy": e.j_per_token if e.j_per_token is not None else math.nan,
        }
        bound = float(bounds[figure.quantity])
        published = facts.value(figure.fact)
        share = bound / published if figure.quantity in ("first token", "energy") else published / bound
        row = {"fact": figure.fact, "label": figure.label, "quantity": figure.quantity, "unit": facts.unit(figure.fact)}
        rows.append(row | {"published": published, "bound": bound, "share": share})
    return pd.DataFrame(rows)
