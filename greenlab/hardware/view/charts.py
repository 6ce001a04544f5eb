"""Chapter 2's charts: every roof, published figures beside the bound, chips for a model, joules by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import altair as alt
import numpy as np
import pandas as pd

from greenlab.hardware import Device, Work, attainable, chips_needed, decode, device, devices, roofline
from greenlab.hardware.work import NumberFormat
from greenlab.lab import charts
from greenlab.lab.charts import Slider, bars_with_range, dots, require_columns, require_few
from greenlab.lab.charts.parts import finish, number_tooltip
from greenlab.lab.theme import WIDTH

if TYPE_CHECKING:
    from greenlab.hardware.own_machine import Prediction  # it loads torch, which the first charts do not need

NAMED = {
    "h100-sxm5-80gb": "H100",
    "groqchip1": "GroqChip (LPU)",
    "epyc-9654": "EPYC 9654 (96 cores)",
    "tpu-v7": "TPU v7",
}
INTENSITIES = (0.1, 1e5)  # FLOP per byte: from less than one row to the longest prompt
HOLDERS = {  # devices of the chip chart, in its order
    "groqchip1": "GroqChip 1, 230 MB SRAM", "groq-3-lpu": "Groq 3 LPU, 500 MB SRAM", "tpu-v5e": "TPU v5e, 16 GB",
    "rtx-4090": "RTX 4090, 24 GB", "wse-3": "WSE-3, a whole wafer, 44 GB SRAM", "h100-sxm5-80gb": "H100, 80 GB",
    "b200": "B200, 180 GB", "m3-ultra": "M3 Ultra, 512 GB", "epyc-9654": "EPYC 9654, up to 6 TB",
}  # fmt: skip


def fastest(chip: Device) -> str:
    """The 16-bit rate where there is one, as models are served in 16 bits; else the only rate that is published."""
    return next(name for name in ("bf16", "fp32", "fp8", "int8") if name in chip.flops_per_s)


def roof_points(chips: Sequence[Device], named: Sequence[str]) -> pd.DataFrame:
    """Three corners of each roof: where the chart begins, the ridge, where it ends; ``named`` ones are labelled."""
    rows = []
    for chip in chips:
        peak = chip.peak(fastest(chip))
        for intensity in (INTENSITIES[0], peak / chip.bandwidth_b_per_s, INTENSITIES[1]):
            rate = attainable(intensity, peak, chip.bandwidth_b_per_s)
            name = NAMED.get(chip.id, chip.name)
            rows.append({"roof": name, "intensity": intensity, "flops_per_s": rate, "named": chip.id in named})
    return pd.DataFrame(rows)


def work_points(works: dict[str, tuple[Work, Device]]) -> pd.DataFrame:
    """Where works stand on their roofs: words -> (work, device)."""
    rows = []
    for words, (work, chip) in works.items():
        rate = attainable(work.intensity, chip.peak(work.format.arithmetic), chip.bandwidth_b_per_s)
        kind = {"decode": "writing (decode)", "prefill": "reading (prefill)"}[work.phase]
        rows.append({"work": words, "kind": kind, "intensity": work.intensity, "flops_per_s": rate})
    return pd.DataFrame(rows)


def all_roofs(works: dict[str, tuple[Work, Device]], title: str, own: Sequence[Device] = ()) -> alt.LayerChart:
    """Draw the roofs of all devices, and some works on them; ``own`` adds measured machines."""
    chips = [chip for chip in devices().values() if chip.flops_per_s]
    named = [*NAMED, *(chip.id for chip in own)]
    return charts.roofline(
        roof_points([*chips, *own], named), work_points(works), title=title, height=340,
        subtitle="each line is a chip: rising, memory feeds it; flat, its units are busy (16 bits, dense)",
        description=f"Rooflines of {len(chips) + len(own)} chips with the works {', '.join(works)}",
    )  # fmt: skip


def own_roof(one: Device, everything: Device, found: Prediction, title: str) -> alt.LayerChart:
    """Draw the reader's machine, one core and all, with SmolLM2's decoding predicted and measured on one core."""
    work = decode("SmolLM2-135M", context=16, format="fp32")
    points = [
        {"work": words, "kind": kind, "intensity": work.intensity, "flops_per_s": work.flops / seconds}
        for words, kind, seconds in (
            ("bound", "bound", work.bytes_moved / one.bandwidth_b_per_s),
            ("predicted", "predicted", found.predicted_s),
            ("", "measured", found.measured_s),
        )
    ]
    both = everything.replace(name=f"{everything.name} (pale: {one.name})")  # too close for two names
    chips = [device("h100-sxm5-80gb"), device("epyc-9654"), one.replace(id="one core"), both]
    return charts.roofline(
        roof_points(chips, [chip.id for chip in chips if chip.id != "one core"]), pd.DataFrame(points), title=title, height=340,
        subtitle="SmolLM2 writes on one core; your machine's two lines were measured just now, in 32-bit floats",
        description="Rooflines of this machine, of one of its cores, of an H100 and a server processor, with SmolLM2's "
        "decoding as bound, predicted and measured",
    )  # fmt: skip


def published_chart(compared: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw what was measured elsewhere beside the bound, for speeds of one stream."""
    rows = compared[compared["quantity"] == "stream"].rename(columns={"bound": "bound", "published": "measured"})
    long = rows.melt(["label"], ["measured", "bound"], "what", "tokens_per_s")
    return dots(
        long, "label", "tokens_per_s", "what", title=title, log_x=True, x_title="Tokens a second for one user",
        subtitle="left dot: what others measured; right dot: what the roofline allows",
        description="Measured and greatest possible tokens a second of Llama-2 models on several chips",
    )  # fmt: skip


def chips_chart(title: str, model: str = "Llama-2-70B") -> alt.LayerChart:
    """Draw how many chips hold a model, with a slider for the bits of a weight: moves without a kernel."""
    rows = []
    for bits in (4, 8, 12, 16):
        work = decode(model, context=1, format=NumberFormat(f"{bits} bits", bits / 8, 2, "bf16"))
        for id, name in HOLDERS.items():
            rows.append({"chip": name, "chips": chips_needed(work, device(id)), "bits": bits})
    return bars_with_range(
        pd.DataFrame(rows), "chip", "chips", title=title, x_title=f"Chips that hold the weights of {model}",
        subtitle="move the slider: half the bits, half the chips", slider=Slider("bits", "Bits a weight", 16),
        description=f"Chips needed to hold {model}, by chip, with a slider for the bits of a weight",
    )  # fmt: skip


def energy_table(chips: dict[str, str], model: str = "Llama-3.1-8B", context: int = 512) -> pd.DataFrame:
    """Modelled joules a token for each chip (id -> words) and batch, as long as weights and cache fit on one chip.

    Columns: chip, batch, j_per_token [J], stream_tokens_per_s, bound.
    """
    rows = []
    for id, words in chips.items():
        batch = 2.0 ** np.arange(11)
        work = decode(model, batch=batch, context=context)
        fits = work.resident_b <= device(id).memory_b
        e = roofline(decode(model, batch=batch[fits], context=context), device(id))
        frame = {"batch": batch[fits], "j_per_token": e.j_per_token, "stream_tokens_per_s": e.stream_tokens_per_s}
        rows.append(pd.DataFrame(frame | {"bound": e.bound, "chip": words}))
    return pd.concat(rows, ignore_index=True)


def energy_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw modelled joules a token against the batch, both axes logarithmic."""
    require_columns(table, "chip", "batch", "j_per_token")
    order = alt.Scale(domain=require_few(table, "chip"))
    x_title, y_title = "Sequences at once (batch)", "Energy a token [J], at rated power"
    base = alt.Chart(table).encode(
        x=alt.X("batch:Q", title=x_title).scale(type="log", base=2),
        y=alt.Y("j_per_token:Q", title=y_title).scale(type="log").axis(format="~g", tickCount=6),
        color=alt.Color("chip:N", title=None, scale=order),
    )
    marks = base.mark_point(filled=True, opacity=1).encode(
        shape=alt.Shape("chip:N", title=None, scale=order),
        tooltip=["chip:N", number_tooltip("batch", x_title), number_tooltip("j_per_token", y_title), "bound:N"],
    )
    return finish(
        [base.mark_line(), marks], table, title=title, slider=None, width=WIDTH, height=300,
        subtitle="modelled: rated power for the least time; lines end where memory is full",
        description="Modelled energy a token against batch size for three chips; it falls, then flattens",
    )  # fmt: skip
