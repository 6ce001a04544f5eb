"""What is claimed of ternary models, recomputed: memory, time, throughput and energy, as tables for a reader."""

from __future__ import annotations

import pandas as pd

from greenlab.core import facts
from greenlab.ternary.estimates import LOG2_3, SCOPES, SHAPES, OperationEnergy, energy_ratio, memory_ratio

CONTEXT = 384  # tokens looked back at: the paper does not say how many; with these its ratio comes out nearly
SUM_PJ, READ_PJ = 0.03, 32.0  # an addition in 32 bits [pJ], and a fifth of what a byte from a memory chip takes [pJ]


def _printed(size: str, quantity: str) -> float:
    return facts.value(f"bitnet-{quantity}-ratio-{size.lower().replace('.', 'p')}")


def memory_table() -> pd.DataFrame:
    """The paper's memory ratios beside the formula's: size, printed, every_layer, feed_forward, best_feed_forward [x].

    The last one is the most that is possible with the feed-forward layers only: no buffers, and log2(3) bits a weight.
    """
    rows = []
    for size, shape in SHAPES.items():
        every_layer, feed_forward = (memory_ratio(shape, scope=scope) for scope in SCOPES)
        best = memory_ratio(shape, LOG2_3, "feed_forward", runtime=False)
        row = {"size": size, "printed": _printed(size, "memory"), "every_layer": every_layer}
        rows.append(row | {"feed_forward": feed_forward, "best_feed_forward": best})
    return pd.DataFrame(rows)


def latency_table() -> pd.DataFrame:
    """The paper's time ratios beside the most that reading alone would allow: size, printed, limit [x], reached."""
    rows = [
        {"size": size, "printed": _printed(size, "latency"), "limit": memory_ratio(shape, runtime=False)}
        for size, shape in SHAPES.items()
    ]
    return pd.DataFrame(rows).assign(reached=lambda t: t["printed"] / t["limit"])


def sizes_table() -> pd.DataFrame:
    """A ternary model beside a smaller float one: ternary, ternary_gb, float, float_gb [GB], 2 against 16 bits."""
    pairs = ((13, 3), (30, 7), (70, 13))  # billions of weights
    return pd.DataFrame([
        {"ternary": f"{large}B", "ternary_gb": large * 2 / 8, "float": f"{small}B", "float_gb": small * 16 / 8}
        for large, small in pairs
    ])  # fmt: skip


def claims_table() -> pd.DataFrame:
    """The chapter's claims, what comes out when they are recomputed, and the verdict of data/facts.

    Returns:
        One row a claim: id, claim, found, verdict.
    """
    memory, latency = ({row["size"]: row for row in t.to_dict("records")} for t in (memory_table(), latency_table()))
    rate, batch = ({s: facts.value(f"bitnet-70b-{what}{s}") for s in ("", "-fp16")} for what in ("throughput", "batch"))
    each = (rate[""] / batch[""]) / (rate["-fp16"] / batch["-fp16"])
    large = SHAPES["70B"]
    energy = [
        energy_ratio(large, model, context=CONTEXT)
        for model in (
            OperationEnergy.of_the_paper(), OperationEnergy(ternary_add_pj=SUM_PJ),
            OperationEnergy(ternary_add_pj=SUM_PJ, read_pj_per_byte=READ_PJ),
        )
    ]  # fmt: skip
    sizes = sizes_table()
    gb = ", ".join(f"{row.ternary_gb:.1f} against {row.float_gb:.1f}" for row in sizes.itertuples())
    rows = [
        (
            "bitnet-3b-3p55x", f"{memory['3B']['printed']:.2f} times less memory at 3B",
            f"{memory['3B']['every_layer']:.2f} times, with 2 bits in every linear layer",
        ),
        (
            "bitnet-ffn-only", "Only the feed-forward layers are ternary",
            f"then {memory['3B']['feed_forward']:.2f} times at 3B",
        ),
        (
            "bitnet-70b-7p16x-4p1x",
            f"{memory['70B']['printed']:.2f} times less memory and {latency['70B']['printed']:.1f} times less "
            "time at 70B",
            f"memory {memory['70B']['every_layer']:.2f} times; reading alone would allow "
            f"{latency['70B']['limit']:.1f} times in time",
        ),
        (
            "bitnet-2977-tps", f"{rate[''] / rate['-fp16']:.1f} times the tokens a second at 70B",
            f"a batch {batch[''] / batch['-fp16']:.0f} times as large; each sequence gets {each:.2f} times as many",
        ),
        (
            "bitnet-41p2x-energy", f"{facts.value('bitnet-70b-energy-ratio'):.1f} times less energy at 70B",
            f"{energy[0]:.1f} times if nothing is read and sums have 8 bits; {energy[1]:.1f} with sums of 32 bits; "
            f"{energy[2]:.1f} with {READ_PJ:.0f} pJ for each byte read as well",
        ),
        (
            "bitnet-size-equivalence", "A ternary 13B is cheaper than a float 3B, 30B than 7B, 70B than 13B",
            f"gigabytes of weights: {gb}",
        ),
    ]  # fmt: skip
    return pd.DataFrame(
        [{"id": id, "claim": claim, "found": found, "verdict": facts.claim(id).verdict} for id, claim, found in rows]
    )
