"""Chapter 10's titles, each with the computation that proves it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pandas as pd

from greenlab import green_service
from greenlab.green_service import DEFAULT, overlaps, study, waterfall
from greenlab.green_service import view as see
from greenlab.green_service.study import tables as work
from greenlab.lab.widgets import Explorer

DESIGN = DEFAULT.replace(batch=128, bits=8, region="SE", flexible=0.2)
ORDER = ["larger batch", "fewer bits", "other grid", "flexible hours"]


def in_order(quantity: str) -> pd.DataFrame:
    table = waterfall(DEFAULT, DESIGN, order=ORDER, n=100)
    return table[table["quantity"] == quantity].set_index("lever")


def the_building_takes_more_than_writing() -> bool:
    parts = green_service.parts(DEFAULT, n=100).query("quantity == 'energy'").set_index("part")["value"]
    return bool(parts["building"] > parts["writing"])


def four_levers_leave() -> bool:
    steps = in_order("carbon")
    left = steps["remaining_fraction"].iloc[-1]
    return bool(steps["counted"].all() and round(100 * left, 1) == 6.6 and 0 < steps["saved_fraction"].iloc[-1] < 0.01)


def waiting_behind_the_others() -> bool:
    row = in_order("carbon").loc["flexible hours"]
    return [round(100 * row[name], 1) for name in ("saved_fraction", "alone_fraction")] == [0.3, 2.4]


def fewer_bits_save_less_at_larger_batches() -> bool:
    """For each number of bits, at each stop of the slider."""
    lines = work.bits_by_batch().sort_values("batch").groupby(["output_tokens", "bits"])["saved_pct"]
    return len(lines) == 8 and all(line.is_monotonic_decreasing and line.is_unique for _, line in lines)


def steps_to(peer: str) -> tuple[float, str]:
    """Their energy over ours, and the step with the largest difference."""
    tables = study.load()
    peers, gap = tables["peers"].query("peer == @peer"), tables["peers_gap"].query("peer == @peer")
    largest = gap.loc[gap["change_j"].abs().idxmax(), "step"]
    return float(peers.set_index("quantity").loc["energy", "ratio"]), str(largest)


def counts_miss_faster_reading() -> bool:
    """Eight bits with a long prompt: counts are off by more than half, the kernel timed alone by less than a tenth."""
    tables = study.load("predicted", "kernels")
    row = tables["predicted"].set_index("what").loc["8 bits + retrieval"]
    many = float(tables["kernels"].set_index("bits").loc[8, "many"])
    off = {name: abs(row[name] / row["measured_pct"] - 1) for name in ("counts_pct", "kernel_pct")}
    return bool(many < 0.5 and off["counts_pct"] > 0.5 and off["kernel_pct"] < 0.1)


def half_of_our_energy() -> bool:
    ratio, largest = steps_to("EcoLogits")
    return round(ratio, 1) == 0.5 and largest == "batch"


def a_quarter_of_our_energy() -> bool:
    ratio, largest = steps_to("mlsysim")
    return round(ratio, 2) == 0.25 and largest == "hosts"


def more_energy_at_an_elasticity_of_one() -> bool:
    rows = green_service.rebound(DEFAULT, DESIGN).set_index("elasticity")
    return bool(rows.loc[1.0, "after"] > rows.loc[1.0, "before"] and rows.loc[0.75, "after"] < rows.loc[0.75, "before"])


TITLES: dict[str, Callable[[], bool]] = {
    "The building takes more of a request's energy than writing the answer does": the_building_takes_more_than_writing,
    "Four levers leave 6.6 % of the carbon; the last one takes almost nothing": four_levers_leave,
    "Behind the others, waiting saves 0.3 % and not 2.4 %": waiting_behind_the_others,
    "The more requests are written at once, the less fewer bits save": fewer_bits_save_less_at_larger_batches,
    "Counts miss that eight bits read prompts faster, too": counts_miss_faster_reading,
    "If requests grow as fast as their cost falls, the year takes more energy than before": (
        more_energy_at_an_elasticity_of_one
    ),
    "Half of our energy for the same request; the batch is the largest difference": half_of_our_energy,
    "A quarter of our energy for the same request; the hosts are the largest difference": a_quarter_of_our_energy,
}


@lru_cache
def judge() -> see.Designer:
    """A designer that only tells which services its controls stand for."""
    return see.Designer(1)


def designed(values: dict[str, Any], title: str) -> bool:
    """What the title says is what a waterfall of its own gives, or the design is refused."""
    designer, quantity = judge(), values["quantity"]
    try:
        design = designer.design(**values)
        base = designer.before(**values)
        names = green_service.pulled(base, design)
        order = names if values["order"] == "as in the book" else names[::-1]
        table = waterfall(base, design, order=order, moved=designer.moved(**values), n=100)
    except ValueError:
        return title == "This design cannot be built"
    if not names:
        return title.startswith("No lever is pulled: ")
    row = overlaps(table).set_index("quantity").loc[quantity]
    counted = int(table.query("quantity == @quantity")["counted"].sum())
    begins = {0: "No lever counts, which leaves 100 %", 1: "One lever leaves "}.get(counted, f"{counted} levers leave ")
    said = [float(word.replace(",", "")) for word in title.split() if word.replace(",", "").replace(".", "").isdigit()]
    said = said[1:] if counted > 1 else said
    shown = [100 * float(row["together"])] + [100 * float(row["product"])] * (counted > 1)
    close = [abs(a - b) <= (0.051 if b < 10 else 0.51) for a, b in zip(said, shown, strict=False)]
    return title.startswith(begins) and all(close) and len(close) >= 1


def designer() -> Explorer:
    return see.Designer(1)


def designer_with_own_numbers() -> Explorer:
    """The same with a design pulled and numbers of the reader's own."""
    made = see.Designer(1)
    made.set(batch=64, bits=8, region="Sweden", quantity="carbon")
    made.move(pue="1.3 1.2 1.4", host_power_w=300, device_embodied_kg=500, serving_factor=2)
    return made


LIVE: dict[str, tuple[Callable[[], Explorer], Callable[[dict[str, Any], str], bool]]] = {
    "the designer": (designer, designed),
    "the designer with assumptions that were moved": (designer_with_own_numbers, designed),
}
