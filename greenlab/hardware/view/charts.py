"""Chapter 2's charts: every roof, published figures beside the bound, chips for a model, joules by batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import altair as alt
import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.hardware import Device, Work, attainable, chips_needed, decode, device, devices, roofline
from greenlab.hardware.work import NumberFormat
from greenlab.lab import charts
from greenlab.lab.charts import Slider, bars_with_range, dots, require_columns, require_few
from greenlab.lab.charts.parts import finish, number_tooltip
from greenlab.lab.charts.roofline import log_axes
from greenlab.lab.theme import WIDTH

if TYPE_CHECKING:
    from greenlab.hardware.own_machine import Prediction  # it loads torch, which the first charts do not need

NAMED = {
    "h100-sxm5-80gb": "H100",
    "groqchip1": "LPU",
    "epyc-9654": "EPYC 9654 (96 cores)",
    "tpu-v7": "TPU v7",
}
INTENSITIES = (0.1, 1e5)  # FLOP per byte: from less than one row to the longest prompt
RATES = (1e9, 1e17)  # FLOP/s: from a laptop's single core to a hundred data-centre chips
DECADES = [0.001, 0.01, 0.1, 1, 10, 100]  # J: ticks of the logarithmic axes of energy
HOLDERS = {  # devices of the chip chart, in its order
    "groqchip1": "GroqChip 1, 230 MB SRAM", "groq-3-lpu": "Groq 3 LPU, 500 MB SRAM", "tpu-v5e": "TPU v5e, 16 GB",
    "rtx-4090": "RTX 4090, 24 GB", "wse-3": "WSE-3, a whole wafer, 44 GB SRAM", "h100-sxm5-80gb": "H100, 80 GB",
    "b200": "B200, 180 GB", "m3-ultra": "M3 Ultra, 512 GB", "epyc-9654": "EPYC 9654, up to 6 TB",
}  # fmt: skip


def _text(**values: object) -> None:
    for name, value in values.items():
        if not isinstance(value, str):
            raise TypeError(f"{name}={value!r} is {type(value).__name__}: give text")


def _chip(name: str, value: object) -> Device:
    if not isinstance(value, Device):
        raise TypeError(f"{name}={value!r} is {type(value).__name__}: give device('h100-sxm5-80gb') or another Device")
    return value


def _chips(name: str, values: Sequence[Device]) -> list[Device]:
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"{name}={values!r} is {type(values).__name__}: give a list of devices")
    return [_chip(name, value) for value in values]


def _words(name: str, values: object) -> dict[str, Any]:
    """A dict with at least one entry, whose names are text."""
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise TypeError(f"{name}={values!r} is {type(values).__name__}: give a dict whose names are text")
    if not values:
        raise ValueError(f"{name} is empty: give at least one entry")
    return values


def _table(name: str, value: object) -> pd.DataFrame:
    if not isinstance(value, pd.DataFrame):
        raise TypeError(f"{name}={value!r} is {type(value).__name__}: give a table")
    return value


def fastest(chip: Device) -> str:
    """The 16-bit rate where there is one, as models are served in 16 bits; else the only rate that is published.

    Args:
        chip: a device.

    Raises:
        TypeError: if ``chip`` is no device.
        ValueError: if it publishes no rate at all.
    """
    _chip("chip", chip)
    for name in ("bf16", "fp32", "fp8", "int8"):
        if name in chip.flops_per_s:
            return name
    raise ValueError(f"chip={chip.id} has no published rate: give one with chip.replace(flops_per_s=...)")


def plain_axes(x_domain: Any = INTENSITIES, y_domain: Any = RATES) -> dict[str, Any]:
    """The axes of a roofline in plain numbers: FLOP per byte, and TFLOP/s as data sheets have them.

    Args:
        x_domain: least and greatest intensity [FLOP/B].
        y_domain: least and greatest rate [FLOP/s].

    Raises:
        TypeError: if a domain is no pair of numbers.
        ValueError: if a domain does not rise from above 0.
    """
    for name, domain in (("x_domain", x_domain), ("y_domain", y_domain)):
        if not isinstance(domain, (list, tuple)) or len(domain) != 2:
            raise TypeError(f"{name}={domain!r}: give two numbers, the least and the greatest")
        low, high = (checks.number(name, end, above=0) for end in domain)
        if not low < high:
            raise ValueError(f"{name}={domain!r}: give the least number first")
    axes = log_axes(list(x_domain), list(y_domain))
    decades = [10.0**power for power in range(-3, 19)]  # without them Vega labels 2, 4 and 8 of each as well
    x = axes["x"].axis(format=",~g", values=decades)
    y = axes["y"].title("Rate [TFLOP/s]").axis(labelExpr="format(datum.value / 1e12, ',~g')", values=decades)
    return {"x": x, "y": y}


def _on_plain_axes(chart: alt.LayerChart, y_domain: tuple[float, float]) -> alt.LayerChart:
    """The same roofline with the axes of this chapter."""
    for layer in chart.layer:
        for side, axis in plain_axes(y_domain=y_domain).items():
            layer.encoding[side] = axis
    return chart


def roof_points(chips: Sequence[Device], named: Sequence[str]) -> pd.DataFrame:
    """Three corners of each roof: where the chart begins, the ridge, where it ends.

    Args:
        chips: devices with a rate.
        named: ids of those that are labelled; others stay without a name.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a device publishes no rate.
    """
    if not isinstance(named, (list, tuple)) or not all(isinstance(id, str) for id in named):
        raise TypeError(f"named={named!r}: give a list of device ids")
    rows = []
    for chip in _chips("chips", chips):
        peak = chip.peak(fastest(chip))
        for intensity in (INTENSITIES[0], peak / chip.bandwidth_b_per_s, INTENSITIES[1]):
            rate = attainable(intensity, peak, chip.bandwidth_b_per_s)
            name = NAMED.get(chip.id, chip.name)
            rows.append({"roof": name, "intensity": intensity, "flops_per_s": rate, "named": chip.id in named})
    return pd.DataFrame(rows)


def work_points(works: dict[str, tuple[Work, Device]]) -> pd.DataFrame:
    """Where works stand on their roofs.

    Args:
        works: words -> (work, device).

    Raises:
        TypeError: if ``works`` is of another kind.
        ValueError: if it is empty, or a device has no rate for its work.
    """
    rows = []
    for words, pair in _words("works", works).items():
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], Work):
            raise TypeError(f"works[{words!r}]={pair!r}: give a work and a device")
        work, chip = pair[0], _chip(f"works[{words!r}]", pair[1])
        rate = attainable(work.intensity, chip.peak(work.format.arithmetic), chip.bandwidth_b_per_s)
        kind = {"decode": "writing (decode)", "prefill": "reading (prefill)"}[work.phase]
        rows.append({"work": words, "kind": kind, "intensity": work.intensity, "flops_per_s": rate})
    return pd.DataFrame(rows)


def all_roofs(works: dict[str, tuple[Work, Device]], title: str, own: Sequence[Device] = ()) -> alt.LayerChart:
    """Draw the roofs of all devices, and some works on them.

    Args:
        works: words -> (work, device), at least one.
        title: of the chart.
        own: measured machines to add.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if ``works`` is empty, or a device has no rate for its work.
    """
    _text(title=title)
    _chips("own", own)
    chips = [chip for chip in devices().values() if chip.flops_per_s]
    named = [*NAMED, *(chip.id for chip in own)]
    chart = charts.roofline(
        roof_points([*chips, *own], named), work_points(works), title=title, height=340,
        subtitle="each line is a chip: rising, memory feeds it; flat, its units are busy (16 bits, dense)",
        description=f"Rooflines of {len(chips) + len(own)} chips with the works {', '.join(works)}",
    )  # fmt: skip
    return _on_plain_axes(chart, (1e9, 1e16))


def own_roof(one: Device, everything: Device, found: Prediction, title: str) -> alt.LayerChart:
    """Draw the reader's machine, one core and all, with SmolLM2's decoding predicted and measured on one core.

    Args:
        one: the machine measured with one core.
        everything: the machine measured with all cores.
        found: what `own_machine.predict_decode` found on one core.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
    """
    _text(title=title)
    _chip("one", one)
    _chip("everything", everything)
    if not hasattr(found, "predicted_s"):  # the class itself would load torch
        raise TypeError(f"found={found!r} is {type(found).__name__}: give what own_machine.predict_decode returns")
    work = decode("SmolLM2-135M", context=16, format="fp32")
    points = [
        {"work": words, "kind": kind, "intensity": work.intensity, "flops_per_s": work.flops / seconds}
        for words, kind, seconds in (
            ("bound", "bound", work.bytes_moved / one.bandwidth_b_per_s),
            ("", "predicted", found.predicted_s),
            ("predicted, measured", "measured", found.measured_s),  # too close for two labels
        )
    ]
    both = everything.replace(name=f"{everything.name} (pale: {one.name})")  # too close for two names
    chips = [device("h100-sxm5-80gb"), device("epyc-9654"), one.replace(id="one core"), both]
    named = [chip.id for chip in chips if chip.id != "one core"]
    chart = charts.roofline(
        roof_points(chips, named), pd.DataFrame(points), title=title, height=340,
        subtitle="SmolLM2 writes on one core; your machine's two lines were measured just now, in 32-bit floats",
        description="Rooflines of this machine, of one of its cores, of an H100 and a server processor, with SmolLM2's "
        "decoding as bound, predicted and measured",
    )  # fmt: skip
    return _on_plain_axes(chart, (1e9, 1e16))


def published_chart(compared: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw what was measured elsewhere beside the bound, for speeds of one stream.

    Args:
        compared: the table of `compare_published`.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column of the table is missing.
    """
    _text(title=title)
    require_columns(_table("compared", compared), "quantity", "label", "bound", "published")
    rows = compared[compared["quantity"] == "stream"].rename(columns={"bound": "bound", "published": "measured"})
    long = rows.melt(["label"], ["measured", "bound"], "what", "tokens_per_s")
    return dots(
        long, "label", "tokens_per_s", "what", title=title, log_x=True, x_title="Tokens a second for one user",
        subtitle="left: what others measured; right: what the roofline allows (LPU: 8-bit weights, we assume)",
        description="Measured and greatest possible tokens a second of Llama-2 models on several chips",
    )  # fmt: skip


def chips_chart(title: str, model: str = "Llama-2-70B") -> alt.LayerChart:
    """Draw how many chips hold a model, with a slider for the bits of a weight: moves without a kernel.

    Args:
        title: of the chart.
        model: a name of `MODELS`.

    Raises:
        TypeError: if an argument is no text.
        ValueError: if the model is unknown.
    """
    _text(title=title, model=model)
    rows = []
    for bits in (4, 8, 12, 16):
        work = decode(model, context=512, format=NumberFormat(f"{bits} bits", bits / 8, 2, "bf16"))
        for id, name in HOLDERS.items():
            rows.append({"chip": name, "chips": chips_needed(work, device(id)), "bits": bits})
    return bars_with_range(
        pd.DataFrame(rows), "chip", "chips", title=title, x_title=f"Chips that hold {model} and a cache of 512 tokens",
        subtitle="the slider sets the bits of a weight; the cache is small beside the weights",
        slider=Slider("bits", "Bits a weight", 16),
        description=f"Chips needed to hold {model}, by chip, with a slider for the bits of a weight",
    )  # fmt: skip


def energy_table(chips: dict[str, str], model: str = "Llama-3.1-8B", context: int = 512) -> pd.DataFrame:
    """Modelled joules a token for each chip (id -> words) and batch, as long as weights and cache fit on one chip.

    Args:
        chips: names of data/facts -> words.
        model: a name of `MODELS`.
        context: tokens in each cache.

    Returns:
        One row per chip and batch: chip, batch, j_per_token [J], stream_tokens_per_s, bound.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a name is unknown, a chip has no rated power, or the model does not fit on one chip.
    """
    context = checks.integer("context", context, low=1, high=10**9)
    rows = []
    for id, words in _words("chips", chips).items():
        _text(**{f"chips[{id!r}]": words})
        batch = 2.0 ** np.arange(11)
        work = decode(model, batch=batch, context=context)
        fits = np.asarray(work.resident_b <= device(id).memory_b)
        if not fits.any():
            raise ValueError(f"chips holds {id!r}, which is too small for model={model!r}: leave it out")
        if device(id).power_w is None:
            raise ValueError(f"chips holds {id!r}, whose rated power is not published: leave it out")
        e = roofline(decode(model, batch=batch[fits], context=context), device(id))
        frame = {"batch": batch[fits], "j_per_token": e.j_per_token, "stream_tokens_per_s": e.stream_tokens_per_s}
        rows.append(pd.DataFrame(frame | {"bound": e.bound, "chip": words}))
    return pd.concat(rows, ignore_index=True)


def energy_chart(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw modelled joules a token against the batch, both axes logarithmic.

    Args:
        table: as `energy_table` gives it.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column of the table is missing, or it has too many chips.
    """
    _text(title=title)
    require_columns(_table("table", table), "chip", "batch", "j_per_token")
    order = alt.Scale(domain=require_few(table, "chip"))
    x_title, y_title = "Sequences at once (batch)", "Energy a token [J], at rated power"
    base = alt.Chart(table).encode(
        x=alt.X("batch:Q", title=x_title).scale(type="log", base=2),
        y=alt.Y("j_per_token:Q", title=y_title).scale(type="log").axis(format="~g", values=DECADES),
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
