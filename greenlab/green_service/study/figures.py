"""The numbers that chapter 10's prose quotes, from the tables of its study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from greenlab.retrieval.metrics import wilson_interval

WAYS = {
    "measured_pct": ("measured", "of the time before"),
    "counts_pct": ("modelled", "of the time before, by counts of FLOPs and bytes"),
    "parts_pct": ("modelled", "of the time before, from parts of a pass, matrices by bytes"),
    "kernel_pct": ("modelled", "of the time before, from parts of a pass and the kernel timed alone"),
}
PARTS = {"matrices_s": "matrices", "layers_s": "rest-of-layers", "head_s": "head", "outside_s": "outside"}
WITH = {0: "without", 1: "with"}


def slug(text: str) -> str:
    """A name as figures have it: "whole, 8 bits" is "whole-8-bits"."""
    return text.replace(" + ", "-").replace(",", "").replace(" ", "-")


def figures(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The numbers that the chapter's prose quotes: name, value, unit, basis, note."""
    rows: list[tuple[str, float, str, str, str]] = []
    models = tables["models"].set_index("model")
    for model, found in models.iterrows():
        right, n = int(found["right"]), int(found["n_items"])
        low, high = wilson_interval(right, n)
        note = f"cloze, {n} items; 95 % interval {100 * low:.0f} to {100 * high:.0f} %"
        rows.append((f"accuracy-{slug(str(model))}", 100 * right / n, "%", "measured", note))
        rows.append((f"loss-{slug(str(model))}", float(found["loss"]), "nats/token", "measured", "evaluation text"))
    loss = {str(model): float(value) for model, value in models["loss"].items()}
    lost, back = (loss["cut, not healed"] - loss[model] for model in ("whole", "healed"))
    rows.append(("recovered", 100 * back / lost, "%", "measured", "of the loss that the cut lost"))
    by_model: Any = tables["answers"].groupby(["model", "n_passages"], sort=False)
    for (model, given), part in by_model:
        low, high = wilson_interval(int(part["hit"].sum()), len(part))
        note = f"{len(part)} questions; 95 % interval {100 * low:.0f} to {100 * high:.0f} %"
        rows.append((f"hit-{slug(model)}-{WITH[given]}", 100 * part["hit"].mean(), "%", "measured", note))
    with_passage = tables["answers"].query("model == 'whole' and n_passages == 1")
    rows.append(("found", 100 * with_passage["found"].mean(), "%", "measured", "passages that answer, of those given"))
    file = tables["file"].iloc[0]
    rows.append(("file", float(file["bytes"]) / 1e6, "MB", "measured", "the healed model's corrections"))
    rows += _raced(tables)
    steps = tables["steps"]
    heal = steps[steps["step"] == "heal"].iloc[0]
    rows.append(("heal-minutes", heal["cpu_s"] / 60, "min", "measured", "CPU time of the refit and the training"))
    rows.append(("cpu-minutes", steps["cpu_s"].sum() / 60, "min", "measured", "the whole study"))
    rows.append(("energy", steps["energy_j"].sum() / 1e3, "kJ", steps["basis"].iloc[0], "the whole study"))
    return pd.DataFrame(rows, columns=["name", "value", "unit", "basis", "note"])


def _raced(tables: Mapping[str, pd.DataFrame]) -> list[tuple[str, float, str, str, str]]:
    rows: list[tuple[str, float, str, str, str]] = []
    predicted: Any = tables["predicted"].set_index("what")
    for way, (basis, note) in WAYS.items():
        name = way.removesuffix("_pct")
        for what, left in predicted[way].items():
            rows.append((f"{name}-{slug(str(what))}", float(left), "%", basis, note))
        over = float(predicted.loc["together", way] / predicted.loc["product", way])
        rows.append((f"overlap-{name}", over, "x", basis, "left together over the product"))
    for found in tables["race"].to_dict("records"):
        if found["bits"] == 2:
            note = "of the time before; random weights, for time alone"
            rows.append((f"measured-{slug(found['what'])}", found["left_pct"], "%", "measured", note))
    for found in tables["parts"].to_dict("records"):
        whole = sum(found[part] for part in PARTS)
        for part, name in PARTS.items():
            note = f"of a pass over {found['tokens']:.0f} tokens" if found["tokens"] > 1 else "of a pass over one token"
            rows.append((f"part-{name}-{found['tokens']:.0f}", 100 * found[part] / whole, "%", "measured", note))
    for found in tables["kernels"].to_dict("records"):
        for name, of in (("one", "over one token"), ("many", "over 128 tokens")):
            note = f"of the time of the float matrices alone, a pass {of}"
            rows.append((f"kernel-{found['bits']:.0f}-{name}", 100 * found[name], "%", "measured", note))
    return rows
