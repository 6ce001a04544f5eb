"""Chapter 4's tables, worked out further: pure functions from the study's tables to tidy ones, for charts and prose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import checks, studies
from greenlab.core.energy.power_model import PowerModel
from greenlab.core.names import unknown
from greenlab.distillation.break_even import gap_closed
from greenlab.distillation.study.students import FEW, SIZES, TEACHERS, slug

STUDENTS = ("half", "quarter", "eighth")
FEW_STUDENT = "few"  # a student of the size "half" that has the 200 kB only
EQUAL_STEPS, EQUAL_ENERGY = "equal steps", "equal energy"
ALONE = {EQUAL_STEPS: "alone", EQUAL_ENERGY: "same energy"}
LARGE, SMALL = "Llama-3.1-8B", "Llama-3.2-1B"
PARTS = {  # rows of the accelerator's study: what is shown -> its name there
    "student reads": f"{SMALL}: forward pass",
    "student learns alone": f"{SMALL}: training step",
    "teacher reads": f"{LARGE}: forward pass",
    "student learns with teacher": f"{SMALL} with {LARGE} as teacher: training step",
}
ALONE_BY_ACCOUNT = ("half, alone", "half, same energy", "half, teacher's energy too")  # in the order of `accounts`
COSTS = ["cpu_s", "energy_j", "low_j", "high_j"]
NATS = "nats/character"


def by_model(models: pd.DataFrame) -> pd.DataFrame:
    """One row a model, in the order of the study: its settings, its loss with the least and most of seeds, mean costs.

    Args:
        models: the study's table of that name.

    Returns:
        The columns model, size, data, teacher, temperature, alpha, divergence, steps, seeds (how many), loss, loss_min,
        loss_max [nats per character], cpu_s, energy_j, low_j, high_j, teacher_training_s and basis.
    """
    groups = models.groupby("model", sort=False)
    first = ["size", "data", "teacher", "temperature", "alpha", "divergence", "steps", "teacher_training_s", "basis"]
    table = groups[first].first().join(groups[["loss", *COSTS]].mean())
    table["seeds"] = groups.size()
    table["loss_min"], table["loss_max"] = groups["loss"].min(), groups["loss"].max()
    return table.reset_index()


def loss_of(models: pd.DataFrame, model: str) -> pd.Series:
    """The loss of a model by seed.

    Args:
        models: the study's table of that name.
        model: one of its models.

    Raises:
        ValueError: if there is no such model.
    """
    rows = models[models["model"] == model]
    if rows.empty:
        raise unknown("model", model, models["model"].unique())
    return rows.set_index("seed")["loss"]


def gaps(models: pd.DataFrame) -> pd.DataFrame:
    """How much of the way from the lone student to its teacher a teacher's answers cover, at equal steps and energy.

    Args:
        models: the study's table of that name.

    Returns:
        One row a student and comparison: student, against, closed, closed_min, closed_max (over seeds) [%], alone,
        distilled, teacher (losses, means of seeds) [nats per character].
    """
    rows = []
    for student in (*STUDENTS, FEW_STUDENT):
        teacher = float(loss_of(models, TEACHERS[FEW] if student == FEW_STUDENT else "teacher").iloc[0])
        distilled = loss_of(models, f"{student}, distilled")
        for against, kind in ALONE.items():
            alone = loss_of(models, f"{student}, {kind}")
            closed = [100 * gap_closed(alone[seed], distilled[seed], teacher) for seed in distilled.index]
            rows.append(
                {"student": student, "against": against, "closed": sum(closed) / len(closed)}
                | {"closed_min": min(closed), "closed_max": max(closed)}
                | {"alone": alone.mean(), "distilled": distilled.mean(), "teacher": teacher}
            )
    return pd.DataFrame(rows)


def gap_finding(table: pd.DataFrame) -> str:
    """One sentence on `gaps`: the least and the most share at equal steps, and what is left at equal energy.

    A gain is sure for a student if each of its seeds gains.

    Args:
        table: what `gaps` gives.
    """
    sized = table[table["student"].isin(STUDENTS)]
    steps = sized.loc[sized["against"] == EQUAL_STEPS, "closed"]
    sure = sized.loc[sized["against"] == EQUAL_ENERGY, "closed_min"] > 0
    energy = "a sure gain" if sure.all() else "a sure gain for some" if sure.any() else "no sure gain"
    return f"{steps.min():.0f} to {steps.max():.0f} % of the gap at equal steps; at equal energy {energy}"


def ahead_at_equal_energy(models: pd.DataFrame) -> pd.DataFrame:
    """By how much the distilled student is ahead of the lone one at equal energy, seed by seed.

    Args:
        models: the study's table of that name.

    Returns:
        One row a student and seed: student, seed, ahead [nats per character], negative where practice was ahead.
    """
    rows = []
    for student in (*STUDENTS, FEW_STUDENT):
        ahead = loss_of(models, f"{student}, same energy") - loss_of(models, f"{student}, distilled")
        rows += [{"student": student, "seed": seed, "ahead": value} for seed, value in ahead.items()]
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Practice:
    """Which part of the gap between the half-size student and its teacher is practice, and which is size.

    Attributes:
        alone: loss of the lone student, mean of seeds [nats per character].
        practised: loss of a lone student with as many steps as the teacher had, mean of seeds.
        practised_least: the least of its seeds.
        practised_most: the most of them.
        teacher: loss of the teacher.
        share: of the gap that the further steps alone close.
    """

    alone: float
    practised: float
    practised_least: float
    practised_most: float
    teacher: float
    share: float


def practice(models: pd.DataFrame) -> Practice:
    """Compare the half-size student with its teacher once more, when both have had the same number of steps.

    Args:
        models: the study's table of that name.
    """
    alone, practised = loss_of(models, "half, alone").mean(), loss_of(models, "half, teacher's steps")
    teacher = float(loss_of(models, "teacher").iloc[0])
    share = (alone - practised.mean()) / (alone - teacher)
    return Practice(alone, practised.mean(), practised.min(), practised.max(), teacher, share)


def fair_gap(models: pd.DataFrame) -> pd.DataFrame:
    """The gap that the half-size student closes if each way to train has the better of two learning rates.

    Args:
        models: the study's table of that name.

    Returns:
        One row a comparison: against, closed [%] (of means of seeds), alone, distilled, teacher.
    """
    table = by_model(models).set_index("model")["loss"].to_dict()
    teacher = table["teacher"]
    best = {
        kind: min(table[f"half, {kind}"], table[f"half, {kind}, half the rate"])
        for kind in ("distilled", *ALONE.values())
    }
    rows = [
        {"against": against, "closed": 100 * gap_closed(best[kind], best["distilled"], teacher), "alone": best[kind]}
        for against, kind in ALONE.items()
    ]
    return pd.DataFrame(rows).assign(distilled=best["distilled"], teacher=teacher)


def sizes(models: pd.DataFrame) -> pd.DataFrame:
    """Losses of the students of three sizes: student, training, loss, loss_min, loss_max, energy_j; and the teacher.

    Args:
        models: the study's table of that name.
    """
    words = {"alone": "alone", "distilled": "distilled", "same energy": "alone, as many joules"}
    table = by_model(models).set_index("model")
    rows = []
    for student in STUDENTS:
        for kind, training in words.items():
            row = table.loc[f"{student}, {kind}"]
            kept = {name: row[name] for name in ("loss", "loss_min", "loss_max", "energy_j", "steps")}
            rows.append({"student": student, "training": training} | kept)
    return pd.DataFrame(rows)


def sweep(models: pd.DataFrame) -> pd.DataFrame:
    """Loss of the half-size student for each temperature and alpha: temperature, alpha, loss, loss_min, loss_max.

    Args:
        models: the study's table of that name.
    """
    table = by_model(models)
    swept = table["model"].str.match(r"half, T \d") | (table["model"] == "half, distilled")
    columns = ["temperature", "alpha", "loss", "loss_min", "loss_max"]
    return table.loc[swept, columns].sort_values(["temperature", "alpha"], ignore_index=True)


def divergences(models: pd.DataFrame) -> pd.DataFrame:
    """Loss of the half-size student by divergence, at equal gradient size: divergence, scale, loss, loss_min, loss_max.

    Args:
        models: the study's table of that name.
    """
    names = ["half, distilled", "half, reverse_kl", "half, jsd"]
    table = by_model(models[models["model"].isin(names)])
    scales = models.groupby("model")["scale"].first()
    return table.assign(scale=table["model"].map(scales))[["divergence", "scale", "loss", "loss_min", "loss_max"]]


def gradient_sizes(gradients: pd.DataFrame, student: str = "trained", divergence: str = "forward_kl") -> pd.DataFrame:
    """Norm of the soft part's gradient against temperature, mean of seeds, with and without the factor T^2.

    Args:
        gradients: the study's table of that name.
        student: "new" or "trained".
        divergence: one of the table's.

    Returns:
        The columns temperature, factor ("with T²" or "without") and norm.
    """
    rows = gradients.query("student == @student and divergence == @divergence")
    means = rows.groupby("temperature")[["norm", "norm_without"]].mean().reset_index()
    long = means.melt("temperature", ["norm", "norm_without"], "factor", "norm_")
    long["factor"] = long["factor"].map({"norm": "with T²", "norm_without": "without"})
    return long.rename(columns={"norm_": "norm"})


def policies(policy: pd.DataFrame) -> pd.DataFrame:
    """Students that learned on, mean of seeds: how, loss (on the plays), by_teacher, by_student, gap and its range.

    Args:
        policy: the study's table of that name.
    """
    groups = policy.groupby("how", sort=False)
    table = groups[["loss", "by_student", "by_teacher", "gap"]].mean()
    table["gap_min"], table["gap_max"] = groups["gap"].min(), groups["gap"].max()
    return table.reset_index()


def accounts(models: pd.DataFrame) -> pd.DataFrame:
    """What the half-size student's training took, with its teacher's part counted in three ways.

    Args:
        models: the study's table of that name.

    Returns:
        One row an account: account, cpu_s, loss (of the distilled student) and alone_loss, of one that trained alone
        for as long; losses are means of seeds.
    """
    table = by_model(models).set_index("model")
    loss, cpu_s = table["loss"].to_dict(), table["cpu_s"].to_dict()
    training_s = float(table["teacher_training_s"].to_dict()["half, distilled"])
    distilled_s = cpu_s["half, distilled"]
    bills = [
        ("its own steps", cpu_s["half, alone"]),
        ("and the teacher's reading", distilled_s),
        ("and the teacher's training", distilled_s + training_s),
    ]
    rows = [
        {"account": account, "cpu_s": seconds, "loss": loss["half, distilled"], "alone_loss": loss[name]}
        for (account, seconds), name in zip(bills, ALONE_BY_ACCOUNT, strict=True)
    ]
    return pd.DataFrame(rows)


def account_losses(models: pd.DataFrame) -> pd.DataFrame:
    """The losses of `accounts` with their range over seeds: account, training, loss, loss_min, loss_max.

    Args:
        models: the study's table of that name.
    """
    table = by_model(models).set_index("model")
    lone = dict(zip(accounts(models)["account"], ALONE_BY_ACCOUNT, strict=True))
    rows = []
    for account, name in lone.items():
        for training, model in (("distilled", "half, distilled"), ("alone, for as long", name)):
            found = table.loc[model, ["loss", "loss_min", "loss_max"]].to_dict()
            rows.append({"account": account, "training": training} | found)
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class EqualLoss:
    """What making the half-size student costs with a teacher and without, at the distilled student's loss.

    Attributes:
        loss: of the distilled student, mean of seeds [nats per character].
        alone_steps: after which a lone student has this loss, read between its trainings.
        distilled_j: energy of the distillation, the teacher's reading counted, modelled [J].
        alone_j: energy of that lone training, modelled [J].
        saved: share of ``alone_j`` that the teacher saves.
        saved_least: the same for the seed that it does least for.
        saved_most: the same for the seed that it does most for.
        saved_with_training: the same with the teacher's own training counted; negative where it costs more.
    """

    loss: float
    alone_steps: float
    distilled_j: float
    alone_j: float
    saved: float
    saved_least: float
    saved_most: float
    saved_with_training: float


def equal_loss(models: pd.DataFrame) -> EqualLoss:
    """Compare making the half-size student with a teacher and alone, at equal loss.

    The loss of the lone student is read between its three trainings, on the logarithm of the steps.

    Args:
        models: the study's table of that name.

    Raises:
        ValueError: if the distilled student's loss does not lie between those of the lone trainings.
    """
    whole = _equal_loss(by_model(models).set_index("model"))
    each = [_equal_loss(part.set_index("model")) for _, part in models.groupby("seed") if len(part) > len(TEACHERS)]
    saved = [1 - spent / alone_j for _, _, spent, alone_j, _ in each]
    loss, steps, spent, alone_j, training_j = whole
    with_training = 1 - (spent + training_j) / alone_j
    return EqualLoss(loss, steps, spent, alone_j, 1 - spent / alone_j, min(saved), max(saved), with_training)


def _equal_loss(table: pd.DataFrame) -> tuple[float, float, float, float, float]:
    """Loss of the distilled student, lone steps to it, and joules: distilled, alone, the teacher's training."""
    alone = table.loc[["half, alone", "half, same energy", "half, teacher's energy too"]].sort_values("loss")
    distilled = table.loc[["half, distilled"]].iloc[0]
    loss, low, high = float(distilled["loss"]), float(alone["loss"].iloc[0]), float(alone["loss"].iloc[-1])
    if not low <= loss <= high:
        raise ValueError(
            f"the distilled student's loss {loss:.3f} is outside the lone trainings' {low:.3f} to {high:.3f}"
        )
    steps = float(np.exp(np.interp(loss, alone["loss"], np.log(alone["steps"]))))
    step_j = float((alone["energy_j"] / alone["steps"]).mean())
    training_j = joules(float(distilled["teacher_training_s"]))
    return loss, steps, float(distilled["energy_j"]), steps * step_j, training_j


def accelerator_training() -> pd.DataFrame:
    """What the accelerator's study measured of training: part, mj_per_token, low, high (the meter's range) [mJ], basis.

    The shapes are those of two published models, with random weights.
    """
    rows = studies.load("accelerator", "summary")["summary"].query("section == 'training'").set_index("what")
    columns = {"mj_per_token": "j_per_unit", "low": "low_j_per_unit", "high": "high_j_per_unit"}
    found = []
    for part, name in PARTS.items():
        row = rows.loc[name]
        found.append(
            {"part": part} | {ours: 1e3 * row[theirs] for ours, theirs in columns.items()} | {"basis": row["basis"]}
        )
    return pd.DataFrame(found)


def accelerator_writing() -> pd.DataFrame:
    """Measured joules a written token of both shapes: model, batch, j_per_token, low, high [J], basis.

    The context has 512 tokens; batches that were measured for both shapes.
    """
    rows = studies.load("accelerator", "summary")["summary"].query("section == 'decode' and context == 512")
    rows = rows[rows["what"].isin([LARGE, SMALL]) & rows["layers"].isna()]
    both = set.intersection(*(set(part["batch"]) for _, part in rows.groupby("what")))
    rows = rows[rows["batch"].isin(both)].astype({"batch": int})
    words = {"what": "model", "j_per_unit": "j_per_token", "low_j_per_unit": "low", "high_j_per_unit": "high"}
    columns = ["model", "batch", "j_per_token", "low", "high", "basis"]
    return rows.rename(columns=words)[columns].reset_index(drop=True)


def asked_again(writing: pd.DataFrame, share: float = 0.2) -> pd.DataFrame:
    """Which part of a student's saving is lost if a share of its answers is asked of the teacher again.

    The saving of an answer is T - S joules; an answer that is asked again costs T more, so share x T / (T - S) is lost.

    Args:
        writing: what `accelerator_writing` gives.
        share: of the answers, from 0 to 1.

    Returns:
        One row a batch: batch, lost (1 is all of the saving).

    Raises:
        TypeError: if ``share`` is no number.
        ValueError: if it is not from 0 to 1.
    """
    share = checks.number("share", share, low=0, high=1)
    joules_ = writing.pivot(index="batch", columns="model", values="j_per_token")
    lost = share * joules_[LARGE] / (joules_[LARGE] - joules_[SMALL])
    return lost.rename("lost").reset_index()


HEALED = {  # what was done after the cut: healing and refitted of the table -> words
    ("none", False): "only cut",
    ("none", True): "closed form",
    ("cross-entropy", True): "closed form, then the text",
    ("teacher", True): "closed form, then the teacher's answers",
}


def healed(healing: pd.DataFrame) -> pd.DataFrame:
    """What came back of the loss that a cut of SmolLM2 cost: n_removed, how, loss, recovered [%], accuracy [%].

    Args:
        healing: the study's table of that name.
    """
    how = [
        HEALED[healing, bool(refitted)]
        for healing, refitted in zip(healing["healing"], healing["refitted"], strict=True)
    ]
    table = healing.assign(how=how, recovered=100 * healing["recovered"], accuracy=100 * healing["accuracy"])
    return table[["n_removed", "how", "steps", "loss", "recovered", "accuracy"]]


def healed_against_control(healing: pd.DataFrame, control: pd.DataFrame) -> float:
    """Share of the lost loss that the text's own words brought back at six layers, if the whole model learns them too.

    A lesson also teaches what the whole model did not know. The control is the whole model after the same lesson.

    Args:
        healing: the study's table of that name.
        control: the study's table healing_control.

    Returns:
        The share [%].
    """
    taught = healing.query("n_removed == 6 and healing == 'cross-entropy' and refitted").iloc[0]
    whole = float(control.set_index("healing")["loss"]["cross-entropy"])
    return float(100 * (taught["cut_loss"] - taught["loss"]) / (taught["cut_loss"] - whole))


def healing_step(step_times: pd.DataFrame) -> pd.Series:
    """Processor time of a healing step by what is kept, the best of its rounds [s].

    Args:
        step_times: the study's table of that name.
    """
    return step_times.groupby("step", sort=False)["cpu_s"].min()


def joules(cpu_s: float) -> float:
    """Joules of a core that is busy for so long while another one waits, modelled.

    Args:
        cpu_s: CPU time [s], 0 or more.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is negative or not finite.

    >>> joules(10.0)  # 6 W for the busy core, twice half a watt for what the machine draws anyway
    70.0
    """
    cpu_s = checks.number("cpu_s", cpu_s, low=0)
    return PowerModel().component(cpu_s, cpu_s, 2).energy_j


def token_joules(speed: pd.DataFrame) -> pd.Series:
    """Modelled joules of one written character by size.

    Args:
        speed: the study's table of that name.
    """
    rows = speed[speed["work"] == "token"].set_index("size")["cpu_ms"]
    return (rows / 1e3).map(joules)


def figures(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The numbers that the chapter's prose quotes: name, value, unit, basis, note.

    Args:
        tables: of the study, by name.
    """
    rows: list[tuple[str, float, str, str, str]] = []

    def add(name: str, value: float, unit: str, note: str, basis: str = "measured") -> None:
        rows.append((name, float(value), unit, basis, note))

    models, steps = tables["models"], tables["steps"]
    table = by_model(models).set_index("model")
    for name, row in table.iterrows():
        short = slug(str(name))
        add(f"loss-{short}", row["loss"], NATS, f"held out, mean of {row['seeds']} seed{'s' * (row['seeds'] != 1)}")
        add(f"spread-{short}", row["loss_max"] - row["loss_min"], NATS, "between seeds")
        add(f"steps-{short}", row["steps"], "steps", "of training", "computed")
        add(f"cpu-{short}", row["cpu_s"], "s", "training on one core: steps times the CPU time of a step")
        add(f"energy-{short}", row["energy_j"], "J", "training, its teacher's reading counted", row["basis"])
    for one in _rows(gaps(models)):
        short, against = one["student"], one["against"]
        note = f"of the way from the lone student to its teacher, at {against}, mean of seeds"
        name = f"closed-{short}-{slug(against)}"
        add(name, one["closed"], "%", note)
        add(f"{name}-least", one["closed_min"], "%", f"{note}: the least of them")
        add(f"{name}-most", one["closed_max"], "%", f"{note}: the most of them")
    for one in _rows(fair_gap(models)):
        note = f"half-size student, at {one['against']}, each way to train at the better of two learning rates"
        add(f"closed-fair-{slug(one['against'])}", one["closed"], "%", note)
    for one in _rows(divergences(models)):
        add(f"scale-{one['divergence']}", one["scale"], "x", "what makes its gradient as large as the forward KL's")
    for one in _rows(gaps(models).query("student == 'half'")):
        closed = 100 * gap_closed(one["alone"], one["distilled"], one["teacher"])
        note = f"half-size student, at {one['against']}, of means of seeds, all at the usual learning rate"
        add(f"closed-of-means-{slug(one['against'])}", closed, "%", note)
    note = "of the gap between the lone half-size student and its teacher, closed by the teacher's number of steps"
    add("practice-share", 100 * practice(models).share, "%", note)
    few = _rows(table.loc[["few, distilled"]])[0]
    with_training_j = few["energy_j"] + joules(few["teacher_training_s"])
    note = "distillation on 200 kB, its teacher's reading and training counted"
    add("energy-few-with-training", with_training_j, "J", note, few["basis"])
    for one in _rows(asked_again(accelerator_writing())):
        note = f"of the saving, if one answer in five is asked again, {one['batch']} at once"
        add(f"asked-again-batch-{one['batch']}", 100 * one["lost"], "%", note, "computed")
    cpu_s = table["cpu_s"].to_dict()
    for student in STUDENTS:
        slower = cpu_s[f"{student}, distilled"] / cpu_s[f"{student}, alone"]
        add(f"slower-{student}", slower, "x", "CPU time of a step with the teacher over one without")
        add(f"parameters-{student}", _parameters(models, student), "parameters", "all", "computed")
        share = 100 * _parameters(models, student) / _parameters(models, "teacher")
        add(f"parameters-share-{student}", share, "%", "of the teacher's parameters", "computed")
    add("parameters-teacher", _parameters(models, "teacher"), "parameters", "all", "computed")
    for name in ("new", "trained"):
        sizes_ = gradient_sizes(tables["gradients"], name).pivot(index="temperature", columns="factor", values="norm")
        fall = sizes_["without"].loc[1.0] / sizes_["without"].loc[8.0]
        add(f"gradient-fall-{name}", fall, "x", f"gradient at T = 1 over T = 8 without T^2, {name} student")
        hot = sizes_["with T²"].loc[4.0:]
        add(f"gradient-range-{name}", 100 * (hot.max() / hot.min() - 1), "%", "with T^2, T from 4 to 20")
        cold = sizes_["with T²"].loc[1.0] / sizes_["with T²"].loc[20.0]
        add(f"gradient-cold-{name}", cold, "x", f"with T^2, T = 1 over T = 20, {name} student")
        level = sizes_["with T²"]
        add(f"gradient-span-{name}", level.max() / level.min(), "x", f"with T^2, most over least, {name} student")
        fall = sizes_["without"].loc[1.0] / sizes_["without"].loc[20.0]
        add(f"gradient-fall-20-{name}", fall, "x", f"gradient at T = 1 over T = 20 without T^2, {name} student")
    for one in _rows(policies(tables["policy"])):
        short = slug(one["how"])
        add(f"policy-loss-{short}", one["loss"], NATS, "on the plays, after the further steps, mean of seeds")
        add(f"policy-gap-{short}", one["gap"], NATS, "KL(student || teacher) on texts that the student wrote")
        add(f"policy-teacher-{short}", one["by_teacher"], NATS, "what the teacher says of texts that the student wrote")
    for one in _rows(accounts(models)):
        add(f"account-{slug(one['account'])}", one["cpu_s"], "s", f"CPU time: {one['account']}")
        add(f"account-alone-{slug(one['account'])}", one["alone_loss"], NATS, "a lone student that trains for as long")
    for one in _rows(healed(tables["healing"])):
        note = f"SmolLM2 with {one['n_removed']} of 30 layers removed: {one['how']}"
        add(f"recovered-{one['n_removed']}-{slug(one['how'])}", one["recovered"], "%", f"{note}; of the lost loss")
        add(f"accuracy-{one['n_removed']}-{slug(one['how'])}", one["accuracy"], "%", f"{note}; cloze items right")
        add(f"loss-{one['n_removed']}-{slug(one['how'])}", one["loss"], "nats/token", note)
    for one in _rows(tables["healing_control"]):
        note = "the whole SmolLM2 after the same lesson by the text"
        add("control-loss", one["loss"], "nats/token", note)
        add("control-full-loss", one["full_loss"], "nats/token", "the whole SmolLM2")
        add("control-accuracy", 100 * one["accuracy"], "%", f"{note}: cloze items right")
    note = "six layers removed: closed form, then the text; of the loss lost against the whole model after that lesson"
    add("recovered-against-control", healed_against_control(tables["healing"], tables["healing_control"]), "%", note)
    times = healing_step(tables["step_times"]).to_dict()
    for what, cpu_s in times.items():
        add(f"step-{slug(str(what))}", cpu_s, "s", f"CPU time of a healing step, {what}")
    kept = times["live teacher"] / times["answers cached"]
    add("answers-faster", kept, "x", "CPU time of a healing step with a live teacher over one with its answers kept")
    cache = tables["healing_cache"].iloc[0]
    note = "of the cache, the states of the layers that no step changes"
    add("state-bytes", cache["state_bytes"] / cache["tokens"], "B/token", note, "computed")
    add("healing-windows", cache["windows"], "windows", "that the healed model may learn from", "computed")
    cached = times["live teacher"] / times["answers and states cached"]
    add("cached-faster", cached, "x", "CPU time of a healing step with a live teacher over one with all kept")
    for one in _rows(tables["kept_tokens"]):
        note = f"{one['k']:.0f} tokens kept at each position"
        add(
            f"kept-cosine-{one['k']:.0f}",
            100 * min(1.0, one["cosine"]),  # computed in float32: nearly equal gradients give a little more than 1
            "%",
            f"cosine of its gradient and the full one's, {note}",
        )
        add(f"kept-bytes-{one['k']:.0f}", one["bytes_per_token"], "B/token", f"of the cache, {note}", "computed")
    add("kept-bytes-all", tables["kept_tokens"]["full_bytes_per_token"].iloc[0], "B/token", "all logits", "computed")
    equal = equal_loss(models)
    note = "making the half-size student at the distilled one's loss, against a lone training"
    add("saved-at-equal-loss", 100 * equal.saved, "%", f"{note}, the teacher's reading counted", "modelled")
    add("saved-at-equal-loss-least", 100 * equal.saved_least, "%", f"{note}: the least of the seeds", "modelled")
    add("saved-at-equal-loss-most", 100 * equal.saved_most, "%", f"{note}: the most of the seeds", "modelled")
    add("saved-with-training", 100 * equal.saved_with_training, "%", f"{note}, its training counted too", "modelled")
    over = 1 - equal.saved_with_training
    add("with-training-over-alone", over, "x", f"{note}, the teacher's training counted: joules", "modelled")
    add("equal-loss-steps", equal.alone_steps, "steps", "of a lone student to the distilled one's loss", "computed")
    for size in SIZES:
        add(f"token-{size}", 1e3 * token_joules(tables["speed"])[size], "mJ", "a written character", "modelled")
    add("cpu-minutes", steps["cpu_s"].sum() / 60, "min", "the whole study")
    add("energy", steps["energy_j"].sum() / 1e3, "kJ", "the whole study", steps["basis"].iloc[0])
    return pd.DataFrame(rows, columns=["name", "value", "unit", "basis", "note"])


def _parameters(models: pd.DataFrame, size: str) -> float:
    return float(models.loc[models["size"] == size, "parameters"].dropna().iloc[0])


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")
