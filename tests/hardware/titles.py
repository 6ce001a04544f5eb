"""Chapter 2's titles, each with the computation that proves it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from greenlab.hardware import attainable, chips_needed, compare_published, decode, device, prefill, systolic
from greenlab.hardware import view as see
from greenlab.hardware.view.charts import HOLDERS
from greenlab.hardware.view.widgets import SIZE, _estimate, working_cells
from greenlab.hardware.work import NumberFormat
from greenlab.lab.widgets import Explorer

H100 = "h100-sxm5-80gb"


def reading_keeps_units_busy() -> bool:
    """Of the H100's units, reading a prompt uses all; a single answer and 64 answers use less than a fifth."""

    def busy(work: Any) -> float:
        chip = device(H100)
        return float(attainable(work.intensity, chip.peak("bf16"), chip.bandwidth_b_per_s)) / chip.peak("bf16")

    writing = [busy(decode("Llama-3.1-8B", batch=batch)) for batch in (1, 64)]
    return busy(prefill("Llama-3.1-8B", context=2048)) == 1 and max(writing) < 0.2


def published_shares() -> bool:
    compared = compare_published()
    stream = compared[compared["quantity"] == "stream"]
    lpu = stream["label"].str.contains("LPU")
    gpus = (100 * stream.loc[~lpu, "share"]).round()
    return (gpus.min(), gpus.max()) == (41, 86) and (100 * stream.loc[lpu, "share"]).round().tolist() == [16]


def bound_by_batch() -> bool:
    table = see.energy_table({H100: "H100", "l4": "L4", "epyc-9654": "EPYC"})
    joules = table.pivot(index="batch", columns="chip", values="j_per_token")
    falls = (joules.loc[1] / joules.loc[64]).round()
    return falls.to_dict() == {"EPYC": 23, "H100": 50, "L4": 50}


def first_doublings_halve() -> bool:
    """Every line drawn, the crosses too: each doubling leaves a larger share than the one before; the first a half."""
    usual = see.measured_table().query("context == 512")
    lines = [rows.sort_values("batch") for _, rows in usual.groupby("model")]
    left = {}
    for rows in [*lines, see.served_table()]:
        batch, joules = rows["batch"].to_numpy(), rows["j_per_token"].to_numpy()
        shares = (joules[1:] / joules[:-1]) ** (1 / np.diff(np.log2(batch)))
        left[(len(rows), batch[0])] = shares
    starts = [shares[0] for (_, first), shares in left.items() if first == 1]
    return len(starts) == 3 and max(starts) < 0.52 and all((np.diff(shares) > 0).all() for shares in left.values())


def zeros_are_cheaper() -> bool:
    table = see.zeros_table().set_index("label")
    shares = [table["share"].round()[f"zeros in a {work}: joules"] for work in ("product", "copy")]
    return bool(shares == [55, 82] and (table["high"].drop("random numbers") < 100).all())


def long_caches_cost_most() -> bool:
    """What the longest context adds is more than all that the shortest one, nearly the weights alone, takes."""
    table = see.measured_table().query("model == 'Llama-3.1-8B' and batch == 8").set_index("context")["j_per_token"]
    return bool(table[32768] - table[128] > table[128])


def company_is_cheaper() -> bool:
    usual = see.measured_table().query("context == 512").sort_values("batch")
    return bool(usual.groupby("model")["j_per_token"].apply(lambda joules: (joules.diff().dropna() < 0).all()).all())


def four_rows_at_every_cycle() -> bool:
    return max(working_cells(4, cycle) for cycle in range(1, 4 + 2 * SIZE - 1)) == 12


def batch_moves_right() -> bool:
    """At every stop of the slider the intensity, which no chip changes, rises and stays below its limit."""
    works = [decode("Llama-3.1-8B", batch=2**doublings) for doublings in range(11)]
    intensity = np.array([work.intensity for work in works])
    limit = float(works[0].flops / works[0].cache_b)
    return bool(round(limit) == 228 and (np.diff(intensity) > 0).all() and intensity.max() < limit)


def chips_at_every_bit() -> bool:
    rows = []
    for bits in (4, 8, 12, 16):
        work = decode("Llama-2-70B", format=NumberFormat("f", bits / 8, 2, "bf16"))
        rows.append([int(np.max(chips_needed(work, device(id)))) for id in ("groqchip1", H100)])
    groq, h100 = zip(*rows, strict=True)
    return "groqchip1" in HOLDERS and (min(groq), max(groq)) == (151, 601) and set(h100) == {1, 2}


TITLES: dict[str, Callable[[], bool]] = {
    "Reading a prompt keeps an H100's units busy; writing leaves most of them idle": reading_keeps_units_busy,
    "GPUs reached 41 to 86 % of the bound, the LPU 16 %": published_shares,
    "From one user to 64 the bound falls 50 times on a GPU, 23 times on the processor": bound_by_batch,
    "The first doublings halve the joules; later ones save less": first_doublings_halve,
    "Zeros take 55 % of the joules of random numbers in a product, 82 % in a copy": zeros_are_cheaper,
    "At 32,768 tokens of context the caches cost more than the weights": long_caches_cost_most,
    "The more sequences at once, the fewer joules a token takes": company_is_cheaper,
    "Four rows keep at most twelve of the sixteen cells busy": four_rows_at_every_cycle,
    "A larger batch moves the point to the right, but never beyond 228 FLOP a byte": batch_moves_right,
    "What one or two H100 hold takes 151 to 601 GroqChips": chips_at_every_bit,
}


def cheaper_with_company_dearer_with_context(values: dict[str, Any], title: str) -> bool:
    """For the chosen model: fewer joules with each larger batch, and more with each longer context where measured."""
    mine = see.measured_table().query("model == @values['model']")
    by_batch = mine[mine["context"] == 512].sort_values("batch")["j_per_token"]
    by_context = mine[mine["batch"] == 8].sort_values("context")["j_per_token"]
    return bool((by_batch.diff().dropna() < 0).all() and (by_context.diff().dropna() > 0).all())


def slanted_waits(values: dict[str, Any], title: str) -> bool:
    """The point is left of the ridge exactly where the estimate says that memory sets the time."""
    work, estimate = _estimate(**values)
    chip = device(values["chip"])
    ridge = chip.flops_per_s[estimate.arithmetic] / chip.bandwidth_b_per_s
    return (float(work.intensity) < ridge) == (estimate.bound == "memory")


def each_row_is_a_diagonal(values: dict[str, Any], title: str) -> bool:
    """In the simulated unit, all cells that work on one row in one cycle lie on one diagonal."""
    rows = systolic.simulate([[1.0] * SIZE] * values["m"], [[1.0] * SIZE] * SIZE).row
    seen = 0
    for now in rows:
        for row in set(now[now >= 0].tolist()):
            k, n = (now == row).nonzero()
            seen += 1
            if len(set((k + n).tolist())) != 1:
                return False
    return seen == values["m"] * (2 * SIZE - 1)  # every row takes part in as many cycles as the square has diagonals


LIVE: dict[str, tuple[Callable[[], Explorer], Callable[[dict[str, Any], str], bool]]] = {
    "a token, measured": (see.token_widget, cheaper_with_company_dearer_with_context),
    "a model on a chip": (see.roofline_widget, slanted_waits),
    "the matrix unit": (see.systolic_widget, each_row_is_a_diagonal),
}
