"""What is claimed of GPUs, TPUs and LPUs beside the data sheets, and what it takes to hold a large model on either."""

from __future__ import annotations

import numpy as np
import pandas as pd

from greenlab.core import facts
from greenlab.hardware import chips_needed, decode, device, roofline

LPU, H100, XEON, EPYC = "groqchip1", "h100-sxm5-80gb", "xeon-8480-plus", "epyc-9654"
HELD = "Llama-2-70B"
CONTEXT = 512  # tokens in the cache of each user


def _times(ratio: float) -> str:
    """A ratio as one says it: 0.64, 5.3, 24, 348."""
    return f"{ratio:.2f}" if ratio < 1 else f"{ratio:.1f}" if ratio < 20 else f"{ratio:.0f}"


def _over(one: str, other: str, kind: str) -> str:
    return _times(device(one).flops_per_s[kind] / device(other).flops_per_s[kind])


def _bandwidth(one: str, other: str) -> str:
    return _times(device(one).bandwidth_b_per_s / device(other).bandwidth_b_per_s)


def _per_watt(chip: str) -> str:
    """Peak 16-bit rate for each watt of rated power [TFLOP/s]."""
    power_w = device(chip).power_w
    assert power_w is not None, chip
    return f"{device(chip).peak('bf16') / power_w / 1e12:.1f}"


def claims_table() -> pd.DataFrame:
    """The chapter's claims, what the data sheets and a public leaderboard say of each, and the verdict of data/facts.

    Returns:
        One row a claim: id, claim, found, verdict.
    """
    groq, best, slowest = (
        facts.value(name)
        for name in ("groq-llama2-70b-speed", "gpu-llama2-70b-speed-best", "gpu-llama2-70b-speed-slowest")
    )
    others = (("H100", H100), ("A100", "a100-sxm4-80gb"), ("L4", "l4"))
    compute = "; ".join(f"{words} {_over(id, LPU, 'bf16')} and {_over(id, LPU, 'int8')}" for words, id in others)
    rows = [
        (
            "groq-compute-ge-gpu", "An LPU has as much compute as a GPU, or more",
            f"the GPU's rate over the LPU's, in 16 and in 8 bits: {compute}",
        ),
        (
            "groq-orders-of-magnitude", "An LPU is orders of magnitude faster",
            f"one answer of a 70B model: {_times(groq / best)} times the fastest GPU host of a leaderboard, "
            f"{_times(groq / slowest)} times the slowest",
        ),
        (
            "groq-no-ext-mem", "An LPU has no bottleneck at an outside memory",
            f"{_bandwidth(LPU, H100)} times the bandwidth of an H100, and "
            f"{_times(device(H100).memory_b / device(LPU).memory_b)} times less memory",
        ),
        (
            "gpu-vs-cpu", "GPUs far outrun CPUs",
            f"H100 over Xeon 8480+: {_over(H100, XEON, 'bf16')} times in 16 bits, {_bandwidth(H100, XEON)} times the "
            f"bandwidth; over EPYC 9654: {_over(H100, EPYC, 'fp32')} times in 32 bits, {_bandwidth(H100, EPYC)} times "
            "the bandwidth",
        ),
        (
            "tpu-more-efficient", "Chips made for AI beat GPUs, as TPUs show",
            f"16-bit TFLOP/s a watt: H100 {_per_watt(H100)}, B200 {_per_watt('b200')}, TPU v7 {_per_watt('tpu-v7')} "
            "(its watts are inferred)",
        ),
    ]  # fmt: skip
    return pd.DataFrame(
        [{"id": id, "claim": claim, "found": found, "verdict": facts.claim(id).verdict} for id, claim, found in rows]
    )


def chips_table() -> pd.DataFrame:
    """What holds a model of seventy billion weights: LPUs in a line or H100s side by side, for 16 and for 8 bits.

    Returns:
        One row for each: bits, chip, chips, power_kw [kW], user_tokens_per_s (the bound for one user), at_once
        (batches that have room for their caches), j_per_token [J, at rated power].
    """
    rows = []
    for bits, form in ((16, "bf16"), (8, "int8 weights")):
        work = decode(HELD, context=CONTEXT, format=form)
        for words, id, split in (("LPU", LPU, "pipeline"), ("H100", H100, "tensor")):
            chip = device(id)
            n = int(np.max(chips_needed(work, chip)))
            e = roofline(work, chip, n_devices=n, split=split)
            assert chip.power_w is not None, id
            row = {"bits": bits, "chip": words, "chips": n, "power_kw": n * chip.power_w / 1e3}
            row |= {"user_tokens_per_s": e.stream_tokens_per_s, "at_once": int(np.max(e.batches))}
            rows.append(row | {"j_per_token": e.j_per_token})
    return pd.DataFrame(rows)
