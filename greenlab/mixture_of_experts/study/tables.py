"""Chapter 3's tables, worked out further: pure functions from the study's tables to tidy ones, for charts and prose."""

from __future__ import annotations

from typing import Any

import pandas as pd

ACTIVE, LONGER, TOTAL = "dense, active size", "dense, active size, longer", "dense, total size"
EIGHT = "8 experts, top-2"
BALANCED = {EIGHT: "balancing loss", f"{EIGHT}, bias": "bias of the choice", f"{EIGHT}, nothing": "nothing"}
KIND_COLUMNS = {
    "loss_shakespeare": "Shakespeare",
    "loss_milton": "Milton",
    "loss_python_code": "Python code",
    "loss_python_docs": "Python docs",
}
SIZES = ("n_experts", "top_k", "total_parameters", "active_parameters", "flops_per_token", "steps")
COSTS = ("time_s", "cpu_s", "energy_j", "low_j", "high_j")


def by_model(models: pd.DataFrame) -> pd.DataFrame:
    """One row a model, in the order of the study: sizes, loss with its least and most over seeds, mean costs.

    Args:
        models: the study's table of that name.

    Returns:
        The columns model, n_experts, top_k, total_parameters, active_parameters, flops_per_token, steps, loss,
        loss_min, loss_max [bits per character], time_s, cpu_s, energy_j, low_j, high_j and basis.
    """
    groups = models.groupby("model", sort=False)
    table = groups[[*SIZES]].first().join(groups[["loss", *COSTS]].mean())
    table["loss_min"], table["loss_max"] = groups["loss"].min(), groups["loss"].max()
    table["basis"] = groups["basis"].first()
    columns = ["model", *SIZES, "loss", "loss_min", "loss_max", *COSTS, "basis"]
    return table.reset_index()[columns]


def gains(models: pd.DataFrame, base: str = ACTIVE) -> pd.DataFrame:
    """Loss of a model less that of another with the same seed: model, gain (positive is better), gain_min, gain_max.

    Args:
        models: the study's table of that name.
        base: the model that is compared with.

    Raises:
        ValueError: if there is no such model.
    """
    wide = models.pivot(index="seed", columns="model", values="loss")
    if base not in wide:
        raise ValueError(f"base={base!r}: give one of {', '.join(map(repr, wide))}")
    gain = -wide.sub(wide[base], axis=0)
    table = gain.agg(["mean", "min", "max"]).T.reset_index()
    table.columns = ["model", "gain", "gain_min", "gain_max"]
    order = list(dict.fromkeys(models["model"]))
    return table.sort_values("model", key=lambda c: c.map(order.index)).reset_index(drop=True)


def by_kind(models: pd.DataFrame) -> pd.DataFrame:
    """Loss on each kind of text, mean of seeds: model, kind, loss [bits per character]."""
    long = models.drop(columns="loss").melt(["model", "seed"], list(KIND_COLUMNS), "column", "loss")
    table = long.groupby(["model", "column"], sort=False)["loss"].mean().reset_index()
    return table.assign(kind=table["column"].map(KIND_COLUMNS)).drop(columns="column")


def curves(history: pd.DataFrame) -> pd.DataFrame:
    """Held-out loss on the way, mean of seeds: model, step, flops, time_s, val_loss [nats per token]."""
    columns = ["flops", "time_s", "val_loss"]
    return history.groupby(["model", "step"], sort=False)[columns].mean().reset_index()


def balance(collapse: pd.DataFrame) -> pd.DataFrame:
    """How uneven the load is on the way: the busiest expert's share over an equal share, mean of layers and seeds.

    Args:
        collapse: the study's table of that name.

    Returns:
        The columns model, balanced (by what), step, busiest and idle: experts that get less than a fifth of an equal
        share.
    """
    rows = collapse[collapse["model"].isin(BALANCED)]
    n_experts = rows["expert"].max() + 1
    each = rows.groupby(["model", "seed", "step", "layer"])["share"]
    table = pd.DataFrame({"busiest": each.max() * n_experts, "idle": each.agg(lambda s: (s * n_experts < 0.2).sum())})
    table = table.groupby(["model", "step"]).mean().reset_index()
    return table.assign(balanced=table["model"].map(BALANCED))


def final_load(collapse: pd.DataFrame, layer: int, seed: int = 0) -> pd.DataFrame:
    """Load of each of eight experts at the end of training, by what balanced them: balanced, expert, share."""
    rows = collapse[collapse["model"].isin(BALANCED) & (collapse["seed"] == seed) & (collapse["layer"] == layer)]
    rows = rows[rows["step"] == rows["step"].max()]
    return rows.assign(balanced=rows["model"].map(BALANCED))[["balanced", "expert", "share"]].reset_index(drop=True)


def guessed(guess: pd.DataFrame, model: str = EIGHT) -> pd.DataFrame:
    """How often one guesses an expert right by what one knows, all layers and seeds: known, right, least, most."""
    rows = guess[guess["model"] == model].groupby(["known", "seed"], sort=False)["right"].mean()
    table = rows.groupby(level=0, sort=False).agg(["mean", "min", "max"]).reset_index()
    return table.rename(columns={"mean": "right", "min": "least", "max": "most"})


def repeated(repeat: pd.DataFrame, model: str = EIGHT) -> pd.DataFrame:
    """How often neighbouring tokens share their first expert: layer, same, chance; mean of kinds and seeds."""
    rows = repeat[repeat["model"] == model]
    return rows.groupby("layer")[["same", "chance"]].mean().reset_index()


def use_of(use: pd.DataFrame, layer: int, model: str = EIGHT, seed: int = 0, by: str = "kind") -> pd.DataFrame:
    """Share of each sort of token that goes to each expert of a layer: expert, ``by``, share.

    Args:
        use: the study's table use, or kinds.
        layer: from 0.
        model: a model with experts.
        seed: of the training.
        by: "kind" for the table use, "token_kind" for kinds.
    """
    rows = use[(use["model"] == model) & (use["seed"] == seed) & (use["layer"] == layer)]
    return rows[["expert", by, "share"]].reset_index(drop=True)


def interpolated_cost(history: pd.DataFrame, models: pd.DataFrame, loss: float, name: str) -> float:
    """Joules of training until a model first reaches a held-out loss, in proportion to the time; NaN if it never does.

    Args:
        history: the study's table of that name.
        models: the study's table of that name.
        loss: wanted [nats per token].
        name: of the model.
    """
    curve = curves(history).query("model == @name").sort_values("step")
    below = curve[curve["val_loss"] <= loss]
    if below.empty:
        return float("nan")
    i = curve.index.get_loc(below.index[0])
    if i == 0:
        time_s = float(curve["time_s"].iloc[0])
    else:
        before, after = curve.iloc[i - 1], curve.iloc[i]
        part = (before["val_loss"] - loss) / (before["val_loss"] - after["val_loss"])
        time_s = float(before["time_s"] + part * (after["time_s"] - before["time_s"]))
    mean = models[models["model"] == name][["time_s", "energy_j"]].mean()
    return time_s * float(mean["energy_j"] / mean["time_s"])


def figures(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The numbers that the chapter's prose quotes: name, value, unit, basis, note."""
    rows: list[tuple[str, float, str, str, str]] = []
    models, steps = tables["models"], tables["steps"]
    table = by_model(models).set_index("model")
    base = table.loc[ACTIVE]
    for name, row in table.iterrows():
        short, unit = _slug(str(name)), "bits/character"
        rows.append((f"loss-{short}", row["loss"], unit, "measured", "held out, mean of seeds"))
        rows.append((f"spread-{short}", row["loss_max"] - row["loss_min"], unit, "measured", "between seeds"))
        rows.append((f"time-{short}", row["time_s"], "s", "measured", "training, mean of seeds"))
        rows.append(
            (
                f"slower-{short}",
                row["time_s"] / base["time_s"],
                "x",
                "measured",
                "training time over dense, active size",
            )
        )
        note = "training energy over dense, active size"
        rows.append((f"energy-{short}", row["energy_j"], "J", row["basis"], "training, mean of seeds"))
        rows.append((f"dearer-{short}", row["energy_j"] / base["energy_j"], "x", row["basis"], note))
        rows.append((f"total-{short}", row["total_parameters"], "parameters", "computed", "all"))
        rows.append((f"active-{short}", row["active_parameters"], "parameters", "computed", "for a token"))
        rows.append(
            (
                f"flops-{short}",
                row["flops_per_token"] / base["flops_per_token"],
                "x",
                "computed",
                "FLOPs a token over dense, active size",
            )
        )
    for against, words in ((ACTIVE, "active"), (LONGER, "longer"), (TOTAL, "total")):
        for row in _rows(gains(models, against)):
            note = f"loss of {against} less this model's, mean of seeds"
            rows.append((f"gain-over-{words}-{_slug(row['model'])}", row["gain"], "bits/character", "measured", note))
    for row in _rows(by_kind(models)):
        note = f"{row['kind']}, held out, mean of seeds"
        rows.append(
            (
                f"loss-{_slug(row['kind'].lower())}-{_slug(row['model'])}",
                row["loss"],
                "bits/character",
                "measured",
                note,
            )
        )
    last = balance(tables["collapse"]).groupby("model").last()
    for name, row in last.iterrows():
        rows.append(
            (
                f"busiest-{_slug(str(name))}",
                row["busiest"],
                "x",
                "measured",
                "busiest expert over an equal share, mean of layers",
            )
        )
        rows.append(
            (
                f"idle-{_slug(str(name))}",
                row["idle"],
                "experts",
                "measured",
                "below a fifth of an equal share, mean of layers",
            )
        )
    for row in _rows(guessed(tables["guess"])):
        rows.append(
            (
                f"guess-{_slug(row['known'])}",
                100 * row["right"],
                "%",
                "measured",
                f"experts guessed right by {row['known']}",
            )
        )
    again = repeated(tables["repeat"]).mean()
    rows.append(("repeat-same", 100 * again["same"], "%", "measured", "neighbours that share their first expert"))
    rows.append(("repeat-chance", 100 * again["chance"], "%", "measured", "the same for tokens drawn apart"))
    rows.append(("cpu-minutes", steps["cpu_s"].sum() / 60, "min", "measured", "the whole study"))
    rows.append(("energy", steps["energy_j"].sum() / 1e3, "kJ", steps["basis"].iloc[0], "the whole study"))
    return pd.DataFrame(rows, columns=["name", "value", "unit", "basis", "note"])


def _slug(words: str) -> str:
    return words.replace(",", "").replace(" ", "-")


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")
