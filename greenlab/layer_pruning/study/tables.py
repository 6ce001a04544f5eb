"""Chapter 6's tables, worked out further: pure functions from the study's tables to tidy ones, for charts and prose."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch

from greenlab.core import checks
from greenlab.core.model import cost, scoring

CLEAR = 0.05  # the chance of so many changed answers, if no layer mattered, below which a fall is clear
METHODS = {
    "angular": "least angular distance",
    "block_influence": "least block influence",
    "deepest": "deepest but last",
    "random": "at random (mean of seeds)",
}


def distance_table(distances: torch.Tensor) -> pd.DataFrame:
    """Tidy form of the distances: start, n, distance; only blocks that lie inside the model."""
    n_layers = len(distances)
    rows = [(start, n, float(distances[start, n])) for start in range(n_layers) for n in range(1, n_layers - start + 1)]
    return pd.DataFrame(rows, columns=["start", "n", "distance"])


def best_blocks(distances: pd.DataFrame) -> pd.DataFrame:
    """The block of each length that changes least: start, n, distance.

    Args:
        distances: what `distance_table` gives.
    """
    return distances.loc[distances.groupby("n")["distance"].idxmin()].reset_index(drop=True)


def valley(distances: pd.DataFrame, least: int = 3, most: int = 10) -> str:
    """One sentence on the map of all blocks: between which layers the best blocks of some lengths lie.

    Args:
        distances: what `distance_table` gives.
        least: the shortest block that counts.
        most: the longest one.

    Raises:
        TypeError: if a length is no integer.
        ValueError: if it is outside the lengths of the table, or ``most`` is below ``least``.
    """
    lengths = distances["n"]
    least = checks.integer("least", least, low=int(lengths.min()), high=int(lengths.max()))
    most = checks.integer("most", most, low=least, high=int(lengths.max()))
    best = best_blocks(distances[lengths.between(least, most)])
    first, last = best["start"].min(), (best["start"] + best["n"] - 1).max()
    return f"The blocks of {least} to {most} layers that change least all lie within layers {first} to {last}"


def recovered(curve: pd.DataFrame, n: int, healing: str) -> float:
    """Share of the lost loss that healing gave back: ``(pruned - healed) / (pruned - full)``."""
    full = curve.loc[curve["n_removed"] == 0, "loss"].iloc[0]
    rows = curve[(curve["method"] == "angular") & (curve["n_removed"] == n)].set_index("healing")["loss"]
    return float((rows["none"] - rows[healing]) / (rows["none"] - full))


def wrong_table(curve: list[dict[str, Any]]) -> pd.DataFrame:
    """The cloze items that each model got wrong: method, n_removed, seed, healing, id.

    Args:
        curve: a row for each model, with the ids of its wrong items in the list ``wrong``.
    """
    columns = ["method", "n_removed", "seed", "healing"]
    rows = [{name: row[name] for name in columns} | {"id": item} for row in curve for item in row["wrong"]]
    return pd.DataFrame(rows, columns=[*columns, "id"])


def figures(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The numbers that the chapter's prose quotes: name, value, unit, basis, note."""
    curve, timing = tables["curve"], tables["speed"]
    rows: list[tuple[str, float, str, str, str]] = [
        ("items", int(curve["n_items"].max()), "items", "measured", "four-way cloze test"),
        ("safe-cut", safe_cut(curve, tables["wrong"]), "layers", "measured", "most before a clear fall (McNemar)"),
    ]
    for _, r in curve[curve["method"].isin(["none", "angular"])].iterrows():
        tag = f"{r['n_removed']}" + ("" if r["healing"] == "none" else f"-healed-{r['healing'].replace('_', '-')}")
        rows.append((f"loss-{tag}", r["loss"], "nats/token", "measured", "evaluation text"))
        rows.append((f"accuracy-{tag}", 100 * r["accuracy"], "%", "measured", f"cloze, {r['n_items']} items"))
        if r["healing"] != "none":
            share = 100 * recovered(curve, r["n_removed"], r["healing"])
            rows.append((f"recovered-{tag}", share, "%", "measured", "of the lost loss"))
    for _, r in curve[curve["method"] == "block_influence"].iterrows():
        rows.append(
            (f"influence-accuracy-{r['n_removed']}", 100 * r["accuracy"], "%", "measured", "least block influence")
        )
    for _, r in timing.iterrows():
        rows.append((f"{r['phase']}-speedup-{r['n_removed']}", r["speedup"], "x", "measured", "against the full model"))
        rows.append((f"{r['phase']}-predicted-{r['n_removed']}", r["predicted"], "x", "modelled", "core.cost"))
    steps = tables["steps"]
    rows.append(("cpu-minutes", steps["cpu_s"].sum() / 60, "min", "measured", "the whole study"))
    rows.append(("energy", steps["energy_j"].sum() / 1e3, "kJ", steps["basis"].iloc[0], "the whole study"))
    return pd.DataFrame(rows, columns=["name", "value", "unit", "basis", "note"])


def method_table(curve: pd.DataFrame) -> pd.DataFrame:
    """Tidy form for the comparison of methods: mean, least and most over seeds, and the whole model at 0 for each."""
    rows = curve[(curve["healing"] == "none") & (curve["n_removed"] > 0)]
    table = rows.groupby(["method", "n_removed"])[["loss", "accuracy"]].agg(["mean", "min", "max"])
    table.columns = ["_".join(c) for c in table.columns]
    whole = curve[curve["n_removed"] == 0].iloc[0]
    zero = pd.DataFrame(
        [
            {"method": m, "n_removed": 0}
            | {f"{c}_{s}": whole[c] for c in ("loss", "accuracy") for s in ("mean", "min", "max")}
            for m in METHODS
        ]
    )
    table = pd.concat([zero, table.reset_index()], ignore_index=True)
    return table.assign(choice=table["method"].map(METHODS))


def row_of(curve: pd.DataFrame, n: int, healing: str = "none") -> pd.Series:
    """Return the row of the best block of ``n`` layers removed (the whole model for 0), cut only or healed.

    Args:
        curve: the study's table ``curve``.
        n: how many layers are removed.
        healing: "none" or "teacher".

    Raises:
        ValueError: if the study has no such cut.
    """
    method = "angular" if n else "none"
    rows = curve[(curve["method"] == method) & (curve["n_removed"] == n) & (curve["healing"] == healing)]
    if len(rows) != 1:
        known = sorted(curve.loc[curve["healing"] == healing, "n_removed"].unique())
        raise ValueError(
            f"n={n}, healing={healing!r}: the study has {', '.join(map(str, known))} layers removed with that healing"
        )
    return rows.iloc[0]


def changed_answers(wrong: pd.DataFrame, n: int, healing: str = "none") -> tuple[int, int]:
    """Return how many items the cut of ``n`` layers lost (right before, wrong after) and how many it gained.

    Args:
        wrong: the study's table ``wrong``.
        n: how many layers are removed, as the best block.
        healing: "none" or "teacher".

    Raises:
        ValueError: if the table has no wrong item of the whole model or of that cut.
    """
    best = wrong[wrong["method"].isin(["none", "angular"])]
    whole = set(best.loc[best["n_removed"] == 0, "id"])
    cut = set(best.loc[(best["n_removed"] == n) & (best["healing"] == healing), "id"])
    if not whole or not cut:
        raise ValueError(f"n={n}, healing={healing!r}: the study kept no answers of that cut; run it again")
    return len(cut - whole), len(whole - cut)


def safe_cut(curve: pd.DataFrame, wrong: pd.DataFrame, healing: str = "none") -> int:
    """Return the most layers that can go before the cloze score clearly falls.

    Whole and cut model answer the same items, so only items that changed count: the fall is clear if the exact McNemar
    test gives it a chance below 5 % (`core.model.scoring.mcnemar`). Cuts are tried in order, and the first clear fall
    ends the search: a lucky larger cut does not count. Where the study kept no answers of a cut, its score is judged as
    if nothing had been gained, which is the strictest reading.

    Args:
        curve: the study's table ``curve``.
        wrong: the study's table ``wrong``.
        healing: "none" or "teacher".

    Raises:
        ValueError: if ``curve`` has no row of the whole model.
    """
    whole = row_of(curve, 0)
    tried = curve[(curve["method"] == "angular") & (curve["healing"] == healing)]
    kept = set(wrong.loc[(wrong["method"] == "angular") & (wrong["healing"] == healing), "n_removed"])
    safe = 0
    for n_removed, accuracy in tried.sort_values("n_removed")[["n_removed", "accuracy"]].itertuples(index=False):
        n_removed = int(n_removed)
        if n_removed in kept:
            lost, gained = changed_answers(wrong, n_removed, healing)
        else:
            lost, gained = max(0, round((whole["accuracy"] - float(accuracy)) * whole["n_items"])), 0
        if lost > gained and scoring.mcnemar(lost, gained) < CLEAR:
            break
        safe = n_removed
    return safe


def quality_gate(curve: pd.DataFrame, shape: cost.TransformerShape, context: int = 48) -> pd.DataFrame:
    """Return energy for each right answer above guessing, the whole model being 1, for the best blocks, cut and healed.

    Energy a token is taken as bytes read a token (`core.model.cost`), the measured times beside it in the speed table.
    """
    whole = row_of(curve, 0)
    rows = curve[curve["method"].isin(["none", "angular"]) & curve["healing"].isin(["none", "teacher"])]
    table = rows[["n_removed", "healing", "accuracy"]].copy()
    table["energy_per_token"] = [
        1 / float(cost.predicted_speedup(shape, n, phase="decode", n_tokens=context)) for n in table["n_removed"]
    ]
    above = (table["accuracy"] - scoring.CHANCE) / (whole["accuracy"] - scoring.CHANCE)
    table["energy_per_right_answer"] = (table["energy_per_token"] / above.clip(lower=1e-9)).where(above > 0)
    return table.sort_values(["n_removed", "healing"]).round(2).reset_index(drop=True)
