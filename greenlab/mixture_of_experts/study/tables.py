"""Chapter 3's tables, worked out further: pure functions from the study's tables to tidy ones, for charts and prose."""

from __future__ import annotations

from typing import Any

import pandas as pd

from greenlab.core import checks

ACTIVE, LONGER, TOTAL = "dense, active size", "dense, active size, longer", "dense, total size"
EIGHT, MANY = "8 experts, top-2", "32 experts, top-2"
BALANCED = {EIGHT: "balancing loss", f"{EIGHT}, bias": "bias of the choice", f"{EIGHT}, nothing": "nothing"}
KIND_COLUMNS = {
    "loss_shakespeare": "Shakespeare",
    "loss_milton": "Milton",
    "loss_python_code": "Python code",
    "loss_python_docs": "Python docs",
}
SIZES = ("n_experts", "top_k", "total_parameters", "active_parameters", "flops_per_token", "steps")
COSTS = ("cpu_s", "energy_j", "low_j", "high_j")


def by_model(models: pd.DataFrame) -> pd.DataFrame:
    """One row a model, in the order of the study: sizes, loss with its least and most over seeds, mean costs.

    Args:
        models: the study's table of that name.

    Returns:
        The columns model, n_experts, top_k, total_parameters, active_parameters, flops_per_token, steps, loss,
        loss_min, loss_max [bits per character], cpu_s, energy_j, low_j, high_j and basis.
    """
    groups = models.groupby("model", sort=False)
    table = groups[[*SIZES]].first().join(groups[["loss", *COSTS]].mean())
    table["loss_min"], table["loss_max"] = groups["loss"].min(), groups["loss"].max()
    table["basis"] = groups["basis"].first()
    columns = ["model", *SIZES, "loss", "loss_min", "loss_max", *COSTS, "basis"]
    return table.reset_index()[columns]


def cost_points(table: pd.DataFrame) -> pd.DataFrame:
    """The models that differ in size only, with short names: label, kind (dense, or experts), cpu_s, loss.

    Args:
        table: as `by_model` gives it.
    """
    labels = {ACTIVE: "small", LONGER: "small, trained longer", TOTAL: "large"}
    labels |= {f"{n} experts, top-2": f"{n} experts" for n in (4, 8, 16, 32)}
    rows = table[table["model"].isin(labels)]
    kind = rows["n_experts"].gt(1).map({True: "experts", False: "dense"})
    return rows.assign(label=rows["model"].map(labels), kind=kind)[["label", "kind", "cpu_s", "loss"]]


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


def catch_up(table: pd.DataFrame, loss: float) -> float:
    """CPU seconds after which the small dense model would have a loss, on a straight line through its two trainings.

    This is an estimate and no measurement. Loss curves flatten, so a training that long probably ends above the line.

    Args:
        table: as `by_model` gives it.
        loss: that is wanted [bits per character].

    Returns:
        The CPU time of the training [s].

    Raises:
        TypeError: if ``loss`` is no number.
        ValueError: if ``loss`` is not above 0, or a training of the small dense model is missing.
    """
    loss = checks.number("loss", loss, above=0)
    rows = table.set_index("model")
    if missing := [name for name in (ACTIVE, LONGER) if name not in rows.index]:
        raise ValueError(f"table has no row {missing[0]!r}: give what by_model makes of the study's models")
    (loss_short, short_s), (loss_long, long_s) = rows.loc[[ACTIVE, LONGER], ["loss", "cpu_s"]].to_numpy()
    return float(long_s + (loss - loss_long) * (long_s - short_s) / (loss_long - loss_short))


def by_kind(models: pd.DataFrame) -> pd.DataFrame:
    """Loss on each kind of text, mean of seeds: model, kind, loss [bits per character]."""
    long = models.drop(columns="loss").melt(["model", "seed"], list(KIND_COLUMNS), "column", "loss")
    table = long.groupby(["model", "column"], sort=False)["loss"].mean().reset_index()
    return table.assign(kind=table["column"].map(KIND_COLUMNS)).drop(columns="column")


def relative_curves(history: pd.DataFrame, models: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Held-out loss on the way, mean of seeds, against FLOPs and CPU time in whole trainings of the small dense model.

    CPU time is spread evenly over the steps of a training.

    Args:
        history: the study's table of that name.
        models: the study's table of that name.
        names: of the models that are wanted.

    Returns:
        The columns model, step, flops, cpu_s (both as multiples) and val_loss [nats per token].

    Raises:
        ValueError: if there is no model of a name.
    """
    if unknown := set(names) - set(history["model"]):
        raise ValueError(
            f"names holds {sorted(unknown)[0]!r}: give some of {', '.join(map(repr, history['model'].unique()))}"
        )
    cost = models.groupby("model")[["cpu_s", "steps"]].mean()
    table = history.groupby(["model", "step"], sort=False)[["flops", "val_loss"]].mean().reset_index()
    table["cpu_s"] = table["step"] * table["model"].map(cost["cpu_s"] / cost["steps"])
    whole = table[table["model"] == ACTIVE].max(numeric_only=True)
    table[["flops", "cpu_s"]] /= whole[["flops", "cpu_s"]]
    table = table[table["model"].isin(names)].sort_values(
        ["model", "step"], key=lambda c: c.map(names.index) if c.name == "model" else c
    )
    return table[["model", "step", "flops", "cpu_s", "val_loss"]].reset_index(drop=True)


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


SPARSE = "the token and the one before"  # most pairs of unseen text do not occur in the part that is learned from


def guessed(guess: pd.DataFrame, model: str = EIGHT) -> pd.DataFrame:
    """How often one guesses an expert right by what one knows, all layers and seeds: known, right, least, most.

    Pairs of tokens are left out: most of them are new to the guesser, so that they say nothing of the router.
    """
    rows = guess[(guess["model"] == model) & (guess["known"] != SPARSE)]
    means = rows.groupby(["known", "seed"], sort=False)["right"].mean()
    table = means.groupby(level=0, sort=False).agg(["mean", "min", "max"]).reset_index()
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


def figures(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The numbers that the chapter's prose quotes: name, value, unit, basis, note."""
    rows: list[tuple[str, float, str, str, str]] = []

    def add(name: str, value: float, unit: str, note: str, basis: str = "measured") -> None:
        rows.append((name, value, unit, basis, note))

    models, steps = tables["models"], tables["steps"]
    table = by_model(models).set_index("model")
    base, bits = table.loc[ACTIVE], "bits/character"
    for name, row in table.iterrows():
        short, over, basis = _slug(str(name)), "over dense, active size", row["basis"]
        add(f"loss-{short}", row["loss"], bits, "held out, mean of seeds")
        add(f"loss-over-{short}", 100 * row["loss"] / base["loss"], "%", f"of the loss of {ACTIVE}")
        add(f"spread-{short}", row["loss_max"] - row["loss_min"], bits, "between seeds")
        add(
            f"cpu-{short}",
            row["cpu_s"],
            "s",
            "training on one core: steps times the CPU time of a step, best of 15 rounds",
        )
        add(f"slower-{short}", row["cpu_s"] / base["cpu_s"], "x", f"CPU time of training {over}")
        add(f"energy-{short}", row["energy_j"], "J", "training, mean of seeds", basis)
        add(f"dearer-{short}", row["energy_j"] / base["energy_j"], "x", f"training energy {over}", basis)
        add(f"total-{short}", row["total_parameters"], "parameters", "all", "computed")
        add(f"active-{short}", row["active_parameters"], "parameters", "for a token", "computed")
        add(
            f"flops-{short}", row["flops_per_token"] / base["flops_per_token"], "x", f"FLOPs a token {over}", "computed"
        )
    for against, words in ((ACTIVE, "active"), (LONGER, "longer"), (TOTAL, "total")):
        for one in _rows(gains(models, against)):
            note = f"loss of {against} less this model's, mean of seeds"
            add(f"gain-over-{words}-{_slug(one['model'])}", one["gain"], bits, note)
    for name, other in (("large-dense", TOTAL), ("32-experts", MANY)):
        note = f"training of {ACTIVE} to the loss of {other}, on a straight line through its two trainings"
        add(
            f"catch-up-{name}",
            catch_up(by_model(models), float(table.loc[[other], "loss"].iloc[0])),
            "s",
            note,
            "modelled",
        )
    note = "CPU time of 32 experts against that training, at equal loss: an estimate that no training confirms"
    many = table.loc[[MANY]].iloc[0]
    saved = 1 - float(many["cpu_s"]) / catch_up(by_model(models), float(many["loss"]))
    add("saving-catch-up", 100 * saved, "%", note, "modelled")
    for one in _rows(by_kind(models)):
        kind = one["kind"]
        add(f"loss-{_slug(kind.lower())}-{_slug(one['model'])}", one["loss"], bits, f"{kind}, held out, mean of seeds")
    for name, row in balance(tables["collapse"]).groupby("model").last().iterrows():
        short = _slug(str(name))
        add(f"busiest-{short}", row["busiest"], "x", "busiest expert over an equal load, mean of layers and seeds")
        add(f"idle-{short}", row["idle"], "experts", "below a fifth of an equal load, mean of layers and seeds")
    for one in _rows(balance(tables["collapse"]).query("balanced == 'nothing' and step in (1, 100)")):
        note = f"busiest expert over an equal load after step {one['step']}, mean of layers and seeds"
        add(f"busiest-{_slug(one['model'])}-step-{one['step']}", one["busiest"], "x", note)
    for one in _rows(guessed(tables["guess"])):
        add(
            f"guess-{_slug(one['known'])}",
            100 * one["right"],
            "%",
            f"first expert guessed right, known: {one['known']}",
        )
    shown = guessed(tables["guess"])["known"].to_list()  # noqa: F841 (the query reads it)
    layers = tables["guess"].query("model == @EIGHT and known in @shown").groupby(["known", "layer"])["right"].mean()
    for one in _rows(layers.reset_index()):
        note = f"first expert guessed right in layer {one['layer']}, known: {one['known']}"
        add(f"guess-{_slug(one['known'])}-layer-{one['layer']}", 100 * one["right"], "%", note)
    again = repeated(tables["repeat"]).mean()
    add("repeat-same", 100 * again["same"], "%", "neighbours that share their first expert, mean of layers and seeds")
    add("repeat-chance", 100 * again["chance"], "%", "the same for two tokens drawn apart")
    add("cpu-minutes", steps["cpu_s"].sum() / 60, "min", "the whole study")
    add("energy", steps["energy_j"].sum() / 1e3, "kJ", "the whole study", steps["basis"].iloc[0])
    return pd.DataFrame(rows, columns=["name", "value", "unit", "basis", "note"])


def _slug(words: str) -> str:
    return words.replace(",", "").replace(" ", "-")


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")
