"""Chapter 7's titles, each with the computation that proves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from torch import Tensor

from greenlab.core import assets, facts
from greenlab.lab.widgets import Explorer
from greenlab.ternary import absmean_quantize, study
from greenlab.ternary import view as see
from greenlab.ternary.estimates import SCOPES, SHAPES, OperationEnergy, energy_ratio, memory_ratio
from greenlab.ternary.study import tables as work

SPEEDS = {"float32": 1.0, "bfloat16": 2.0, "int8": 3.0, "ternary": 40.0}  # of an invented race, in 1e9 a second


def matrix(layer: int, name: str) -> Tensor:
    try:
        weight: Tensor = assets.smollm2_matrix(layer, name)
    except assets.AssetError as error:
        pytest.skip(str(error))
    return weight


def half_of_the_weights_are_small() -> bool:
    """The threshold of the slider moves no weight, so this is true at each of its positions."""
    weight = matrix(10, "mlp.up_proj")
    return round(float((weight.abs() / weight.abs().mean()).median()), 2) == 0.83


def after_and_in_training() -> bool:
    table: Any = work.by_bits(study.load("curve")["curve"])
    loss = {(row.way, row.bits): row.loss for row in table.itertuples()}
    exact = loss["quantized after training", 32.0]
    rise = [
        round(100 * (loss[way, float(work.LOG2_3)] / exact - 1))
        for way in ("quantized after training", "trained ternary")
    ]
    return rise == [78, 6]


def gap_shrinks_by_half() -> bool:
    """Worse for each width and seed; the widest models' gap is half of the narrowest ones', beyond the seeds."""
    gaps: Any = work.gaps(study.load("curve")["curve"]).set_index("d_model")
    shrinks = (
        0.45 <= gaps.loc[128, "gap"] / gaps.loc[32, "gap"] <= 0.55 and gaps.loc[128, "gap_max"] < gaps["gap_min"][32]
    )
    return bool((gaps["gap_min"] > 0).all() and gaps["gap"].is_monotonic_decreasing and shrinks)


def ternary_token_of_float_token() -> bool:
    decode = study.load("decode")["decode"].query("shape == 'smollm2' and threads == threads.max()")
    joules = decode.set_index("model")["j_per_token"]
    return round(100 * joules["ternary"] / joules["float32"]) == 37


def where_the_time_goes() -> bool:
    parts = study.load("parts")["parts"].set_index("part")["share"]
    return (100 * parts[["output head", "ternary layers"]]).round().tolist() == [
        47,
        27,
    ] and parts.idxmax() == "output head"


def same_quality_in_fewer_bytes() -> bool:
    """As good: the difference of the means is smaller than the spread over the seeds of either."""
    table = work.by_memory(study.load("curve")["curve"]).to_dict("records")
    found = {(row["trained"], row["d_model"]): row for row in table}
    wide, narrow = found["ternary", 128], found["float", 64]
    spread = min(row["loss_max"] - row["loss_min"] for row in (wide, narrow))
    return bool(abs(wide["loss"] - narrow["loss"]) < spread and round(100 * wide["mb"] / narrow["mb"]) == 72)


def every_layer_is_needed() -> bool:
    """With every linear layer the formula is within 8 % of each printed ratio; with the feed-forward ones far below."""
    reached: dict[str, list[float]] = {scope: [] for scope in SCOPES}
    for size, shape in SHAPES.items():
        printed = facts.value(f"bitnet-memory-ratio-{size.lower().replace('.', 'p')}")
        for scope in SCOPES:
            reached[scope].append(memory_ratio(shape, scope=scope) / printed)
    return all(abs(share - 1) < 0.08 for share in reached["all"]) and max(reached["feed_forward"]) < 0.6


def reading_decides() -> bool:
    """At every position of the slider, and from 4 pJ a byte on; without arithmetic the ratio is that of the bytes."""

    def ratio(add: float, read: float) -> float:
        return energy_ratio(SHAPES["70B"], OperationEnergy(ternary_add_pj=add, read_pj_per_byte=read))

    found = {round(ratio(add, read)) for add in (0.01, 0.02, 0.03, 0.04) for read in (4, 8, 16, 32)}
    return found == {8} == {round(ratio(0.01, 1e6))}


TITLES: dict[str, Callable[[], bool]] = {
    "Half of the weights are smaller than 0.83 times the mean magnitude": half_of_the_weights_are_small,
    "Three values after training raise the loss by 78 %, three values in training by 6 %": after_and_in_training,
    "Ternary is worse at every width; from width 32 to 128 the gap shrinks by half": gap_shrinks_by_half,
    "All thirty layers: a ternary token takes 37 % of the joules of a float32 one": ternary_token_of_float_token,
    "The output head takes 47 % of a token's time, the ternary layers 27 %": where_the_time_goes,
    "Ternary at width 128 is as good as float at width 64, in 72 % of the bytes": same_quality_in_fewer_bytes,
    "The printed ratios need every linear layer ternary, not the feed-forward ones only": every_layer_is_needed,
    "From 4 pJ a byte on the saving is eight times, as that of the bytes": reading_decides,
}


def invented_race(n: int, k: int, batch: int, *, rounds: int) -> pd.DataFrame:
    """A race whose outcome is known: ternary gets slower with the batch and with the size of the matrix."""
    speeds = SPEEDS | {"ternary": SPEEDS["ternary"] / batch * 1e6 / (n * k)}
    rows = [
        {"work": name, "g_weights_per_s": speed, "spread": 1.0, "busy_elsewhere": 0.0} for name, speed in speeds.items()
    ]
    return pd.DataFrame(rows)


def names_the_speed(values: dict[str, Any], title: str) -> bool:
    n, k = map(int, values["shape"].split(" (")[0].split(" x "))
    faster = SPEEDS["ternary"] / values["batch"] * 1e6 / (n * k) / SPEEDS["float32"]
    return title == f"Ternary is {faster:.1f} times as fast as float32: {values['shape']}, batch {values['batch']}"


def counts_the_zeros(values: dict[str, Any], title: str) -> bool:
    q, _ = absmean_quantize(matrix(values["layer"], see.MATRICES[values["name"]]), values["threshold"])
    zeros = 100 * float((q == 0).float().mean())
    return title == f"Layer {values['layer']}, {values['name']}: {zeros:.0f} % of the weights become zero"


def names_the_ratio(values: dict[str, Any], title: str) -> bool:
    model = OperationEnergy(ternary_add_pj=values["add_pj"], read_pj_per_byte=values["read_pj"])
    times = energy_ratio(SHAPES["70B"], model, context=values["context"], batch=values["batch"])
    return title == f"Modelled: {times:.1f} times less energy" and times > 1


def knife() -> Explorer:
    matrix(10, "mlp.up_proj")  # skips where no weights are
    return see.threshold_widget()


LIVE: dict[str, tuple[Callable[[], Explorer], Callable[[dict[str, Any], str], bool]]] = {
    "the threshold": (knife, counts_the_zeros),
    "the race": (lambda: see.race_widget(invented_race), names_the_speed),
    "the bill": (see.energy_widget, names_the_ratio),
}
