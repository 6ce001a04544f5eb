"""Chapter 5's tables, worked out further: pure functions from the study's tables to tidy ones, for charts and prose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import facts, studies
from greenlab.core.model import cost
from greenlab.core.model.cost import TransformerShape
from greenlab.mixture_of_depths.study.text import KINDS

DENSE, SKIPS = "every token, every block", "mixture of depths"
LLAMA = "Llama-3.1-8B"
LENGTHS = (512, 2048, 8192)  # tokens of the prompts that were measured with both models
HOST_BOUND = 512  # tokens: kernels of a prompt as short as this are waited for
CAPACITY = 0.125  # the paper's best


def flops_share(shape: TransformerShape, n_tokens: int, capacity: float, every: int, *, head: str = "last") -> float:
    """FLOPs of reading a prompt where every ``every``-th block lets in ``capacity`` of the tokens, over the dense ones.

    Args:
        shape: the sizes of the dense model.
        n_tokens: length of the prompt.
        capacity: share of the tokens that enter, above 0 and at most 1.
        every: 1 for each block, 2 for every second.
        head: whether the "last" token gets logits, which is enough to go on writing, or "all".
    """
    skipping = shape.replace(capacity=capacity, every=every)
    counts = [cost.prefill_flops(one, n_tokens, head=head).total for one in (skipping, shape)]
    return float(counts[0] / counts[1])


def block_share(shape: TransformerShape, n_tokens: int, capacity: float) -> float:
    """FLOPs of a block that lets in ``capacity`` of ``n_tokens``, router and all, over those of a whole one."""
    one, none = shape.replace(n_layers=1), cost.prefill_flops(shape.replace(n_layers=0), n_tokens).total
    skips = cost.prefill_flops(one.replace(capacity=capacity, every=1), n_tokens).total
    return float((skips - none) / (cost.prefill_flops(one, n_tokens).total - none))


def equal_layers(shape: TransformerShape, n_tokens: int, every: int, capacities: tuple[float, ...]) -> pd.DataFrame:
    """How many layers cost the FLOPs of the dense ones of ``shape``, if every ``every``-th skips: capacity, layers.

    The embedding and the output head, which all have, are left out.
    """
    shares = [block_share(shape, n_tokens, capacity) for capacity in capacities]
    layers = [shape.n_layers * every / (every - 1 + share) for share in shares]
    return pd.DataFrame({"every": every, "capacity": capacities, "layers": layers})


def by_model(models: pd.DataFrame) -> pd.DataFrame:
    """One row a model, in the order of the study: the mean, the least and the greatest loss over its seeds.

    Columns: what `variants.describe` gives, parameters, flops_per_token, training_flops, steps, loss, loss_min,
    loss_max, loss_causal (NaN where a model needs none), what its deciders do, cpu_s, energy_j, low_j, high_j (means
    over seeds) and basis.
    """
    keys = ["model", "words", "n_layers", "capacity", "every", "routing", "longer", "n_experts", "n_no_op", "decider"]
    means = ["parameters", "flops_per_token", "steps", "loss_causal", "predictor_accuracy", "predictor_recall"]
    means += ["predictor_precision", "entered_share", "no_op_share", "time_s", "cpu_s", "energy_j", "low_j", "high_j"]
    groups = models.groupby(keys, sort=False, dropna=False)
    table = groups[["loss", *means]].mean().reset_index()
    table["loss_min"], table["loss_max"] = groups["loss"].min().to_numpy(), groups["loss"].max().to_numpy()
    table["basis"] = groups["basis"].first().to_numpy()
    return table.assign(training_flops=table["flops_per_token"] * table["steps"])


def difference(models: pd.DataFrame, name: str, base: str) -> tuple[float, float, float]:
    """Loss of a model less that of another, seed by seed: the mean, the least and the greatest [nats per token]."""
    loss = models.pivot(index="seed", columns="model", values="loss")
    gap = loss[name] - loss[base]
    return float(gap.mean()), float(gap.min()), float(gap.max())


def dense_loss(models: pd.DataFrame, flops_per_token: float) -> float:
    """Loss of a dense model of so many FLOPs a token, read between the trained ones of 3 to 6 layers.

    Raises:
        ValueError: if no two dense models lie around it.
    """
    table = by_model(models)
    dense = table[table["capacity"].isna() & (table["n_experts"] == 0) & (table["longer"] == 1)]
    dense = dense.sort_values("flops_per_token")
    low, high = dense["flops_per_token"].iloc[[0, -1]]
    if not low <= flops_per_token <= high:
        raise ValueError(f"flops_per_token={flops_per_token:g}: the dense models lie from {low:g} to {high:g}")
    return float(np.interp(np.log(flops_per_token), np.log(dense["flops_per_token"]), dense["loss"]))


def equal_loss_flops(models: pd.DataFrame, loss: float) -> float:
    """FLOPs a token of a dense model with this loss, read between the trained ones on the logarithm of the FLOPs.

    A dense model that a cheaper one matches is passed over, so that less loss always costs more.

    Args:
        models: the study's table; counted are the dense models that were trained for the usual number of steps.
        loss: what the dense model has to reach [nats per token].

    Raises:
        ValueError: if no two dense models lie around it.
    """
    table = by_model(models)
    dense = table[table["capacity"].isna() & (table["n_experts"] == 0) & (table["longer"] == 1)]
    dense = dense.sort_values("flops_per_token")
    dense = dense[dense["loss"] < dense["loss"].cummin().shift(fill_value=np.inf)].sort_values("loss")
    low, high = dense["loss"].iloc[[0, -1]]
    if not low <= loss <= high:
        raise ValueError(f"loss={loss:g}: the dense models lie from {low:g} to {high:g}")
    return float(np.exp(np.interp(loss, dense["loss"], np.log(dense["flops_per_token"]))))


def saving_at_equal_loss(models: pd.DataFrame) -> tuple[float, float, float]:
    """Share of the FLOPs that an eighth in every second block saves against a dense model of the same loss.

    The loss is that of writing, token by token; all models had the same number of steps.

    Returns:
        The share for the mean of the seeds, and the least and the greatest of the seeds taken one by one: each seed's
        model against the dense ones of that seed.
    """
    flops, needed = _at_equal_loss(models)
    mean, *seeds = [1 - flops / dense for dense in needed]
    return mean, min(seeds), max(seeds)


def joules_at_equal_loss(models: pd.DataFrame, prefill: pd.DataFrame) -> tuple[float, float, float]:
    """Share of the joules of reading 512 tokens that is saved against a dense model of the same loss.

    The study's prompts give the joules of the model that skips over those of a dense one of the same shape. The dense
    model of the same loss is smaller than that one. It is taken to need as many joules less as it needs FLOPs less.

    Args:
        models: the study's table of trained models.
        prefill: the study's table of prompts; taken is one thread.

    Returns:
        As `saving_at_equal_loss`, of joules: modelled, as those of the prompts are.
    """
    joules = prefill.query("n_tokens == 512 and threads == 1").set_index("model")["energy_j"]
    table = by_model(models)
    whole = float(table.loc[table["model"] == "dense", "flops_per_token"].iloc[0])
    share = float(joules[SKIPS] / joules["dense"])
    mean, *seeds = [1 - share * whole / dense for dense in _at_equal_loss(models)[1]]
    return mean, min(seeds), max(seeds)


def _at_equal_loss(models: pd.DataFrame) -> tuple[float, list[float]]:
    """FLOPs of the model that skips, and of dense models as good: for the mean of the seeds, then for each seed."""
    mod = models[models["model"] == "mod"]
    needed = [equal_loss_flops(models, float(mod["loss_causal"].mean()))]
    for seed, loss in zip(mod["seed"], mod["loss_causal"], strict=True):
        needed.append(equal_loss_flops(models[models["seed"] == seed], loss))
    return float(mod["flops_per_token"].iloc[0]), needed


def frontier(models: pd.DataFrame) -> pd.DataFrame:
    """Loss against FLOPs a token of the models trained for the same number of steps: by_model's rows, and ``family``.

    The family is "dense", "12.5 % in every 2nd block" or "others". Left out is a model whose loss is more than a fifth
    above the dense one's (the one whose every block skips): it would flatten the picture of all others.
    """
    table = by_model(models)
    table = table[(table["longer"] == 1) & (table["n_experts"] == 0) & (table["decider"] == "predictor")]
    table = table[table["loss"] < 1.2 * table.loc[table["model"] == "dense", "loss"].iloc[0]]
    paper = (table["capacity"] == CAPACITY) & (table["every"] == 2) & (table["routing"] == "learned")
    family = np.where(table["capacity"].isna(), "dense", np.where(paper, "12.5 % in every 2nd block", "others"))
    words = table["words"].str.replace(" block|dense, ", "", regex=True)  # they stand beside the points
    return table.assign(family=family, words=words, mflops=table["flops_per_token"] / 1e6)


def skipped(table: pd.DataFrame) -> pd.DataFrame:
    """Share of each kind of token that enters, over all layers and seeds, the most welcome kind first.

    Columns: kind, share [%], share_min and share_max (over seeds) and tokens (of this kind, over seeds).
    """
    seeds = table.assign(entering=table["share"] * table["tokens"]).groupby(["kind", "seed"])[["entering", "tokens"]]
    share = (100 * seeds.sum()["entering"] / seeds.sum()["tokens"]).groupby("kind").agg(["mean", "min", "max"])
    share.columns = ["share", "share_min", "share_max"]
    tokens = table[table["layer"] == table["layer"].min()].groupby("kind")["tokens"].sum()
    return share.assign(tokens=tokens).loc[list(KINDS)].sort_values("share", ascending=False).reset_index()


def by_block(table: pd.DataFrame) -> pd.DataFrame:
    """Share of each kind of token that enters each block that skips: seed, kind, block (from 1), percent."""
    table = table.assign(block=table["layer"] + 1, percent=100 * table["share"])
    return table[["seed", "kind", "block", "percent"]].reset_index(drop=True)


def by_tenth(table: pd.DataFrame) -> pd.DataFrame:
    """Share that enters [%] against how surprising the next token is, over layers and seeds: tenth, loss, share,
    share_min, share_max.
    """
    seeds = table.groupby(["tenth", "seed"])[["loss", "share"]].mean().reset_index()
    found = seeds.groupby("tenth").agg(loss=("loss", "mean"), share=("share", "mean"), share_min=("share", "min"),
                                       share_max=("share", "max"))  # fmt: skip
    shares = ["share", "share_min", "share_max"]
    found[shares] *= 100
    return found.reset_index()


def by_half(table: pd.DataFrame) -> pd.DataFrame:
    """Share that enters [%] where the next token is easy and where it is hard to guess: seed, easier, harder.

    The easier half is the five tenths that surprise least.
    """
    half = np.where(table["tenth"] < 5, "easier", "harder")
    shares = table.assign(half=half).groupby(["seed", "half"])["share"].mean().unstack()
    return (100 * shares).reset_index().rename_axis(columns=None)


def deciders(models: pd.DataFrame) -> pd.DataFrame:
    """How well each model decides without the future, one row a model that learned to.

    Columns: model, words, right (share of the choices that agree with the top-k) [%], found (of the top-k) [%], entered
    (of all) [%], loss, loss_causal and worse (loss_causal over loss, less one) [%].
    """
    table = by_model(models)
    table = table[table["loss_causal"].notna()]
    percent = {"right": "predictor_accuracy", "found": "predictor_recall", "entered": "entered_share"}
    table = table.assign(**{name: 100 * table[column] for name, column in percent.items()})
    table["worse"] = 100 * (table["loss_causal"] / table["loss"] - 1)
    return table[["model", "words", *percent, "loss", "loss_causal", "worse"]].reset_index(drop=True)


def modes(models: pd.DataFrame) -> pd.DataFrame:
    """The dense model, mixtures of depths and of experts, and both joined: rows of `frontier`, with other families."""
    families = {"dense": "dense", "mod": "mixture of depths", "moe": "experts", "staged": "both", "integrated": "both"}
    table = by_model(models)
    table = table[table["model"].isin(families)]
    words = table["words"].str.replace(" block|dense, ", "", regex=True)
    return table.assign(family=table["model"].map(families), words=words, mflops=table["flops_per_token"] / 1e6)


def quality_gate(models: pd.DataFrame, tolerance: float = 0.02) -> pd.DataFrame:
    """What each model saves when it reads, and whether its loss as it writes allows to say so.

    Args:
        models: the study's table.
        tolerance: the share of the dense model's loss that may be lost.

    Returns:
        One row a model: model (its words), training FLOPs, reading FLOPs (a token) and cpu (processor time of the
        training), each with dense = 100, loss (token by token, where the model decides so), worse (than the dense loss)
        [%] and counts ("yes", "no", or "base" for the dense model): whether what it saves may be claimed. It may where
        the loss allows it and the processor was busy for less time than with the dense model.
    """
    table = by_model(models)
    base = table.set_index("model").loc["dense"]
    loss = table["loss_causal"].where(table["loss_causal"].notna(), table["loss"])
    worse = loss / base["loss"] - 1
    cpu = table["cpu_s"] / base["cpu_s"]
    counts = np.where((worse <= tolerance) & (cpu < 1), "yes", "no")
    gate = pd.DataFrame({
        "model": table["words"],
        "training FLOPs": (100 * table["training_flops"] / base["training_flops"]).round().astype(int),
        "reading FLOPs": (100 * table["flops_per_token"] / base["flops_per_token"]).round().astype(int),
        "cpu": (100 * cpu).round().astype(int),
        "loss": loss.round(3),
        "worse": (100 * worse).round(1),
        "counts": np.where(table["model"] == "dense", "base", counts),
    })  # fmt: skip
    return gate[table["model"] != "random"].reset_index(drop=True)


def budget_table(shape: TransformerShape, n_tokens: int) -> pd.DataFrame:
    """`equal_layers` of every 2nd, 3rd and 4th block up to three quarters: every, capacity, percent, layers."""
    capacities = tuple(i / 16 for i in range(1, 13))
    table = pd.concat([equal_layers(shape, n_tokens, every, capacities) for every in (2, 3, 4)], ignore_index=True)
    return table.assign(percent=100 * table["capacity"])


def measured_prompts() -> pd.DataFrame:
    """Joules of a prompt that an accelerator read with a model that skips, as shares of the dense model's.

    From the accelerator study: an 8B model's shape on an H100, one eighth of the tokens in every second block.

    Returns:
        One row a length: n_tokens, label, share [%], least and most (what the repeats allow) [%], flops_share [%]
        (counted), speed (times as many tokens a second), power_w, dense_power_w, note and basis.
    """
    from greenlab.accelerator.shapes import MODELS
    from greenlab.accelerator.study.tables import pick

    table, rows = studies.load("accelerator", "summary")["summary"], []
    for n in LENGTHS:
        dense, skips = (pick(table, "prompt", what, context=n) for what in (LLAMA, f"{LLAMA}, {SKIPS}"))
        share = {
            "share": 100 * skips["j_per_unit"] / dense["j_per_unit"],
            "least": 100 * skips["least_j_per_unit"] / dense["most_j_per_unit"],
            "most": 100 * skips["most_j_per_unit"] / dense["least_j_per_unit"],
        }
        rows.append(
            {"n_tokens": n, "label": f"{n:,} tokens", **share, "power_w": skips["power_w"],
             "flops_share": 100 * flops_share(MODELS[LLAMA].shape, n, CAPACITY, 2),
             "speed": skips["units_per_s"] / dense["units_per_s"], "dense_power_w": dense["power_w"],
             "note": "the host sets the time" if n == HOST_BOUND else "", "basis": skips["basis"]}
        )  # fmt: skip
    return pd.DataFrame(rows)


def popular_share() -> float:
    """The share of the joules [%] that is left if an eighth of the tokens were an eighth of the work."""
    return 100 * facts.value("mod-capacity") / 100


def figures(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The numbers that the chapter's prose quotes: name, value, unit, basis, note."""
    rows: list[tuple[str, float, str, str, str]] = []
    models, steps = tables["models"], tables["steps"]
    table = by_model(models)
    base = _rows(table[table["model"] == "dense"])[0]
    for r in _rows(table):
        name, note = r["model"].replace("_", "-"), f"{r['words']}, mean of seeds"
        rows.append((f"loss-{name}", r["loss"], "nats/token", "measured", note))
        rows.append((f"flops-{name}", r["flops_per_token"] / 1e6, "MFLOP/token", "modelled", r["words"]))
        share = 100 * r["flops_per_token"] / base["flops_per_token"]
        rows.append((f"flops-share-{name}", share, "%", "modelled", "of the dense model of 6 layers, a token"))
        training = 100 * r["training_flops"] / base["training_flops"]
        rows.append((f"training-share-{name}", training, "%", "modelled", "FLOPs of the training, of the dense one's"))
        cpu = 100 * r["cpu_s"] / base["cpu_s"]
        rows.append((f"cpu-share-{name}", cpu, "%", "measured", "CPU time of the training, of the dense one's"))
        weights = r["parameters"] / base["parameters"]
        rows.append((f"weights-{name}", weights, "x", "measured", "number of weights, of the dense one's"))
        if r["model"] != "dense":
            gap, low, high = difference(models, r["model"], "dense")
            rows.append((f"gap-{name}", gap, "nats/token", "measured", f"less the dense loss: {low:.4f} to {high:.4f}"))
            rows.append((f"gap-share-{name}", 100 * gap / base["loss"], "%", "measured", "of the dense loss"))
            rows.append((f"gain-{name}", -gap, "nats/token", "measured", "what the dense model loses more"))
            rows.append((f"gain-share-{name}", -100 * gap / base["loss"], "%", "measured", "of the dense loss"))
        if not np.isnan(r["loss_causal"]):
            rows.append((f"causal-{name}", r["loss_causal"], "nats/token", "measured", f"{note}, token by token"))
            worse = 100 * (r["loss_causal"] / r["loss"] - 1)
            rows.append((f"causal-share-{name}", worse, "%", "measured", "worse than with the top-k"))
            for what in ("accuracy", "recall", "precision"):
                share = 100 * r[f"predictor_{what}"]
                rows.append((f"{what}-{name}", share, "%", "measured", f"of the decider, {note}"))
            rows.append((f"entered-{name}", 100 * r["entered_share"], "%", "measured", "of the tokens, token by token"))
        if not np.isnan(r["no_op_share"]):
            rows.append((f"no-op-{name}", 100 * r["no_op_share"], "%", "measured", "of the choices of experts"))
    pairs = [("random", "mod"), ("mod", "staged"), ("moe", "staged"), ("mod", "integrated"), ("integrated", "moe")]
    pairs += [("dense", "moe"), ("dense_3", "mod"), ("dense_3_long", "mod_long")]
    for left, right in pairs:
        if {left, right} <= set(models["model"]):
            gap, low, high = difference(models, left, right)
            name = f"{left}-less-{right}".replace("_", "-")
            rows.append((name, gap, "nats/token", "measured", f"{low:.4f} to {high:.4f} over seeds"))
    same = dense_loss(models, float(table.loc[table["model"] == "mod", "flops_per_token"].iloc[0]))
    saved, low, high = saving_at_equal_loss(models)
    needed = equal_loss_flops(models, float(table.loc[table["model"] == "mod", "loss_causal"].iloc[0])) / 1e6
    rows.append(("dense-flops-at-equal-loss", needed, "MFLOP/token", "modelled", "a dense model as good as mod"))
    note = f"FLOPs of reading; {100 * low:.0f} to {100 * high:.0f} for single seeds"
    rows.append(("saving-at-equal-loss", 100 * saved, "%", "modelled", note))
    saved, low, high = joules_at_equal_loss(models, tables["prefill"])
    note = f"joules of reading 512 tokens, dense ones scaled by FLOPs; {100 * low:.0f} to {100 * high:.0f} by seed"
    rows.append(("joules-saved-at-equal-loss", 100 * saved, "%", "modelled", note))
    rows.append(("dense-at-equal-flops", same, "nats/token", "measured", "read between the dense models"))
    for r in _rows(skipped(tables["skipped"])):
        rows.append((f"enters-{r['kind'].replace(' ', '-')}", r["share"], "%", "measured", "of this kind of token"))
    for r in _rows(by_block(tables["skipped"]).query("seed == 0")):
        name = f"enters-{r['kind'].replace(' ', '-')}-block-{r['block']}"
        rows.append((name, r["percent"], "%", "measured", "of this kind of token, the model that the chapter shows"))
    tenths = by_tenth(tables["surprise"])
    rows.append(("enters-least-surprising", tenths["share"].iloc[0], "%", "measured", "before the easiest tenth"))
    rows.append(("enters-most-surprising", tenths["share"].iloc[-1], "%", "measured", "before the hardest tenth"))
    prefill = tables["prefill"].set_index(["n_tokens", "threads", "model"])
    for r in _rows(tables["prefill"]):
        if r["model"] != "dense":
            name = f"prefill-{r['n_tokens']}-{r['threads']}"
            rows.append((name, r["faster"], "x", "measured", f"than the dense model, {r['threads']} threads"))
            if r["threads"] == 1:
                counted = 100 * r["flops_share"]
                rows.append((f"prefill-flops-{r['n_tokens']}", counted, "%", "modelled", "of the dense FLOPs"))
                whole = prefill.loc[(r["n_tokens"], 1, "dense"), "energy_j"]
                share = 100 * r["energy_j"] / whole
                rows.append((f"prefill-joules-{r['n_tokens']}", share, "%", r["basis"], "of the dense model's joules"))
    for r in _rows(tables["blocks"]):
        if r["capacity"] < 1:
            name, note = f"block-{r['n_tokens']}-{r['threads']}", f"of a dense block's time, {r['threads']} threads"
            rows.append((name, 100 / r["faster"], "%", "measured", note))
    for r in _rows(tables["decode"]):
        if r["model"] != "dense":
            rows.append((f"decode-{r['threads']}", r["faster"], "x", "measured", f"writing, {r['threads']} threads"))
    for r in _rows(measured_prompts()):
        rows.append((f"counted-{r['n_tokens']}", r["flops_share"], "%", "modelled", f"FLOPs, shape of {LLAMA}"))
        rows.append((f"h100-speed-{r['n_tokens']}", r["speed"], "x", r["basis"], "tokens a second, of the dense ones"))
        rows.append((f"h100-power-{r['n_tokens']}", r["power_w"], "W", r["basis"], "mean of a prompt, one H100"))
        rows.append((f"h100-dense-power-{r['n_tokens']}", r["dense_power_w"], "W", r["basis"], "the dense model's"))
    rows.append(("cpu-minutes", steps["cpu_s"].sum() / 60, "min", "measured", "the whole study"))
    rows.append(("energy", steps["energy_j"].sum() / 1e3, "kJ", steps["basis"].iloc[0], "the whole study"))
    return pd.DataFrame(rows, columns=["name", "value", "unit", "basis", "note"])


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")
