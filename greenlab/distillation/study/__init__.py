"""Chapter 4's long run: students alone and distilled, at equal steps and at equal energy, on Shakespeare's plays.

``python -m greenlab.distillation.study`` runs it (restartable) and writes data/studies/distillation; `load` reads the
committed tables. Losses and CPU times are measured; joules are modelled from CPU time; FLOPs are counted from shapes.

There is one teacher for all students, as a teacher is trained once and asked often: the seeds change the students'
first weights and the texts that they see, and the spread is theirs.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm

from greenlab.core import studies
from greenlab.core.energy.power_model import PowerModel
from greenlab.core.model import cost
from greenlab.core.model.gpt import GPT
from greenlab.core.model.training import CharTokenizer
from greenlab.distillation.study import gradients, policy, students
from greenlab.distillation.study.students import ALL, BETTER, FEW, TEACHER_SEED, Config, Recipe
from greenlab.distillation.study.tables import figures
from greenlab.mixture_of_depths.study.text import texts

CHAPTER = "distillation"
CONFIG = Config()
SHOWN = {  # models that the chapter loads, with their size and seed
    "teacher": ("teacher", TEACHER_SEED),
    "half, alone": ("half", 0),
    "half, distilled": ("half", 0),
}
SWEPT = [(t, alpha) for t in (1.0, 2.0, 4.0) for alpha in (0.5, 0.9, 1.0) if (t, alpha) != (1.0, 0.9)]
WRITTEN = "half, the teacher's texts"
CORES = 2  # of the machine that joules are modelled for: the one that computes and the one that waits


class Costs:
    """What trainings cost, from the race of their parts.

    Args:
        config: of the study.
        speed: rows of `students.race`.
    """

    def __init__(self, config: Config, speed: list[dict[str, Any]]) -> None:
        self.config = config
        self.ms = {(row["size"], row["work"]): row["cpu_ms"] for row in speed}

    def training_s(self, recipe: Recipe) -> float:
        """CPU time of a training, the teacher's reading counted and its own training not [s]."""
        steps, size = recipe.steps, recipe.size
        if recipe.model == WRITTEN:
            return steps * (self.ms[size, "step"] + self.ms["teacher", "write"]) / 1e3
        if recipe.teacher is None:
            return steps * self.ms[size, "step"] / 1e3
        if recipe.data == ALL:
            return steps * self.ms[size, "step with teacher"] / 1e3
        read = len(students.fixed_windows(self.config)) / self.config.batch_size  # each window once
        return (steps * self.ms[size, "step with kept answers"] + read * self.ms["teacher", "read"]) / 1e3

    def teacher_s(self, teacher: str = ALL) -> float:
        """CPU time of a teacher's own training [s]."""
        return teacher_steps(self.config)[teacher] * self.ms["teacher", "step"] / 1e3

    def steps_for(self, size: str, cpu_s: float) -> int:
        """For how many steps a student trains alone in a time."""
        return round(1e3 * cpu_s / self.ms[size, "step"])


def energy(cpu_s: float) -> dict[str, Any]:
    """Joules of a core that is busy for so long while another one waits, modelled: energy_j, low_j, high_j, basis."""
    part = PowerModel().component(cpu_s, cpu_s, CORES)
    return {"energy_j": part.energy_j, "low_j": part.low_j, "high_j": part.high_j, "basis": part.basis}


def teacher_steps(config: Config) -> dict[str, int]:
    """How long each of `students.TEACHERS` is trained."""
    return {ALL: config.teacher_steps, BETTER: config.better_teacher_steps, FEW: config.few_teacher_steps}


def teachers(config: Config) -> list[Recipe]:
    """The teachers: of all the plays, of all the plays for twice as long, and of the 200 kB."""
    steps = teacher_steps(config)
    return [
        Recipe(name, "teacher", steps[teacher], data=FEW if teacher == FEW else ALL)
        for teacher, name in students.TEACHERS.items()
    ]


def first_plan(config: Config, costs: Costs) -> list[Recipe]:
    """The students of three sizes on all the plays, and those on 200 kB: alone, distilled, and at equal energy."""
    plan = []
    for size in ("half", "quarter", "eighth"):
        distilled = Recipe(f"{size}, distilled", size, config.steps, teacher=ALL)
        same = costs.steps_for(size, costs.training_s(distilled))
        plan += [Recipe(f"{size}, alone", size, config.steps), distilled, Recipe(f"{size}, same energy", size, same)]
    plan.append(Recipe("half, better teacher", "half", config.steps, teacher=BETTER))
    few = Recipe("few, distilled", "half", config.steps, data=FEW, teacher=FEW)
    same = costs.steps_for("half", costs.training_s(few))
    plan += [
        Recipe("few, alone", "half", config.steps, data=FEW), few,
        Recipe("few, same energy", "half", same, data=FEW),
        Recipe("few, teacher of all", "half", config.steps, data=FEW, teacher=ALL),
    ]  # fmt: skip
    return plan


def second_plan(config: Config, scales: dict[str, float]) -> list[Recipe]:
    """The sweep of temperature and alpha, and the other divergences with gradients as large as the forward KL's."""
    swept = [
        Recipe(f"half, T {t:g}, alpha {alpha:g}", "half", config.steps, teacher=ALL, temperature=t, alpha=alpha)
        for t, alpha in SWEPT
    ]
    others = [
        Recipe(f"half, {name}", "half", config.steps, teacher=ALL, divergence=name, scale=scale)
        for name, scale in scales.items()
    ]
    return swept + others


def teachers_energy(config: Config, costs: Costs) -> Recipe:
    """A student alone that may also use up what the teacher's own training took."""
    distilled = Recipe("half, distilled", "half", config.steps, teacher=ALL)
    cpu_s = costs.training_s(distilled) + costs.teacher_s()
    return Recipe("half, teacher's energy too", "half", costs.steps_for("half", cpu_s))


def slower_plan(config: Config, costs: Costs) -> list[Recipe]:
    """A control: the half-size student at half the learning rate, since a rate may suit one way to train only."""
    distilled = Recipe("half, distilled", "half", config.steps, teacher=ALL)
    same = costs.steps_for("half", costs.training_s(distilled))
    return [
        Recipe("half, alone, half the rate", "half", config.steps),
        Recipe("half, distilled, half the rate", "half", config.steps, teacher=ALL),
        Recipe("half, same energy, half the rate", "half", same),
    ]


def controls_plan(config: Config, costs: Costs) -> list[Recipe]:
    """Controls: a lone student with the teacher's practice, and with few data one with its training's energy."""
    few = Recipe("few, distilled", "half", config.steps, data=FEW, teacher=FEW)
    both_s = costs.training_s(few) + costs.teacher_s(FEW)
    return [
        Recipe("half, teacher's steps", "half", config.teacher_steps),
        Recipe("few, teacher's energy too", "half", costs.steps_for("half", both_s), data=FEW),
    ]


def equal_scales(rows: pd.DataFrame) -> dict[str, float]:
    """By what the other divergences are multiplied, so that their gradients are as large as the forward KL's.

    Measured at the lone students after their training, at temperature 1, the mean of seeds.
    """
    norms = rows.query("student == 'trained' and temperature == 1").groupby("divergence")["norm"].mean()
    return {name: float(norms["forward_kl"] / norms[name]) for name in ("reverse_kl", "jsd")}


def flops(config: Config, size: str) -> float:
    """FLOPs of a forward pass over a window, a character."""
    shape = students.gpt_config(config, size).shape
    return float(cost.prefill_flops(shape, config.context_length).total) / config.context_length


class Study:
    """The steps of the study, in their order; each is run once and kept.

    Args:
        config: of the study.
    """

    def __init__(self, config: Config = CONFIG) -> None:
        self.config, self.steps = config, studies.Steps(CHAPTER, config)
        self.slower = dataclasses.replace(config, learning_rate=config.learning_rate / 2)
        self.slower_steps = studies.Steps(CHAPTER, self.slower)
        self.folder = self.steps.folder

    def train(self, recipe: Recipe, seed: int) -> dict[str, Any]:
        """Train one model."""
        name = f"{students.slug(recipe.model)}_{recipe.steps}_{seed}"
        return self.steps.run(name, partial(students.train, self.folder, self.config, recipe, seed))

    def train_slowly(self, recipe: Recipe, seed: int) -> dict[str, Any]:
        """Train one model at half the learning rate, with the usual teacher."""
        name = f"{students.slug(recipe.model)}_{recipe.steps}_{seed}"
        return self.slower_steps.run(name, partial(students.train, self.folder, self.slower, recipe, seed))

    def costs(self) -> Costs:
        """What trainings cost."""
        return Costs(self.config, self.steps.run("speed", partial(students.race, self.config)))

    def gradients(self) -> pd.DataFrame:
        """Gradient norms; the lone students are trained by then."""
        rows = []
        for seed in self.config.seeds:
            work = partial(gradients.norms, self.folder, self.config, seed)
            rows += [{"seed": seed} | row for row in self.steps.run(f"gradients_{seed}", work)]
        return pd.DataFrame(rows)

    def written(self, seed: int) -> dict[str, Any]:
        """Train a student on what the teacher wrote."""
        self.steps.run("written", partial(policy.written, self.folder, self.config))
        work = partial(policy.train_on_written, self.folder, self.config, WRITTEN, "half", seed)
        return self.steps.run(f"{students.slug(WRITTEN)}_{seed}", work)

    def policy(self, how: str, seed: int) -> dict[str, Any]:
        """Train a lone student further."""
        work = partial(policy.go_on, self.folder, self.config, how, seed)
        return self.steps.run(f"policy-{students.slug(how)}_{seed}", work)


def run(config: Config = CONFIG) -> dict[str, pd.DataFrame]:
    """Run what is not done yet, and return the tables.

    They are models, history, gradients, policy, speed, what `healing.healing` gives, steps and figures.
    """
    from greenlab.distillation.study import healing  # it loads transformers: only who heals waits for it

    study = Study(config)
    costs = study.costs()
    models: list[dict[str, Any]] = []
    history: list[dict[str, Any]] = []

    def add(recipe: Recipe, seed: int, found: dict[str, Any]) -> None:
        found = dict(found)
        history.extend({"model": recipe.model, "seed": seed} | row for row in found.pop("history", []))
        models.append(planned_row(config, costs, recipe, seed) | found)

    for teacher in teachers(config):
        add(teacher, TEACHER_SEED, study.train(teacher, TEACHER_SEED))
    for seed in tqdm(config.seeds, desc="sizes, few data"):
        for recipe in first_plan(config, costs):
            add(recipe, seed, study.train(recipe, seed))
    for seed in tqdm(config.seeds, desc="half the learning rate"):
        for recipe in slower_plan(config, costs):
            add(recipe, seed, study.train_slowly(recipe, seed))
    gradient_rows = study.gradients()
    for seed in tqdm(config.seeds, desc="sweep, divergences"):
        for recipe in second_plan(config, equal_scales(gradient_rows)):
            add(recipe, seed, study.train(recipe, seed))
    policy_rows = []
    for seed in tqdm(config.seeds, desc="texts of the teacher, own texts"):
        add(Recipe(WRITTEN, "half", config.steps, data="written", alpha=0.0), seed, study.written(seed))
        for how in ("not at all", *policy.FURTHER):
            policy_rows.append({"how": how, "seed": seed} | study.policy(how, seed))
    for seed in tqdm(config.seeds, desc="as much energy as the teacher's training"):
        recipe = teachers_energy(config, costs)
        add(recipe, seed, study.train(recipe, seed))
    for recipe in controls_plan(config, costs):
        for seed in tqdm(config.seeds, desc=recipe.model):
            add(recipe, seed, study.train(recipe, seed))
    tables = {
        "models": pd.DataFrame(models),
        "history": pd.DataFrame(history),
        "gradients": gradient_rows,
        "policy": pd.DataFrame(policy_rows),
        "speed": pd.DataFrame([{"size": size, "work": work, "cpu_ms": ms} for (size, work), ms in costs.ms.items()]),
    }
    healed = studies.Steps(CHAPTER, healing.HealingConfig())
    tables |= healing.healing(healed)
    tables["steps"] = pd.concat(
        [steps.receipts() for steps in (study.steps, study.slower_steps, healed)], ignore_index=True
    )
    return tables | {"figures": figures(tables)}


def planned_row(config: Config, costs: Costs, recipe: Recipe, seed: int) -> dict[str, Any]:
    """What the table says of a training before it has run."""
    cpu_s = costs.training_s(recipe)
    tokens = recipe.steps * config.batch_size * config.context_length
    asked = tokens if recipe.teacher or recipe.model == WRITTEN else 0
    if recipe.teacher and recipe.data == FEW:
        asked = students.fixed_windows(config)[:, 1:].numel()
    return {
        "model": recipe.model, "size": recipe.size, "data": recipe.data,
        "teacher": recipe.teacher or ("wrote the text" if recipe.model == WRITTEN else "none"),
        "temperature": recipe.temperature, "alpha": recipe.alpha if recipe.teacher else 0.0,
        "divergence": recipe.divergence if recipe.teacher else "none", "scale": recipe.scale, "seed": seed,
        "steps": recipe.steps, "cpu_s": cpu_s, **energy(cpu_s),
        "teacher_training_s": costs.teacher_s(recipe.teacher) if recipe.teacher else 0.0,
        "teacher_flops": asked * flops(config, "teacher"), "student_flops": 3 * tokens * flops(config, recipe.size),
    }  # fmt: skip


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them.

    Args:
        names: of the tables.

    Raises:
        TypeError: if a name is no text.
        ValueError: if there is no such table.
    """
    return studies.load(CHAPTER, *names)


def load_models() -> tuple[dict[str, GPT], CharTokenizer]:
    """The committed models by the names of `SHOWN`, in evaluation mode, and their tokenizer."""
    config, folder = CONFIG, studies.folder(CHAPTER)
    tokenizer, *_ = texts()
    models = {}
    for name, (size, _) in SHOWN.items():
        model = GPT(students.gpt_config(config, size))
        weights = {
            key: value.float() for key, value in load_file(folder / f"{students.slug(name)}.safetensors").items()
        }
        model.load_state_dict(weights | {"head.weight": weights["embedding.weight"]})
        models[name] = model.eval()
    return models, tokenizer


def main() -> None:
    """Run the study, write its tables and the models that the chapter shows."""
    config = CONFIG
    tables = run(config)
    studies.save(CHAPTER, config, tables, tables["steps"])
    steps, folder = studies.Steps(CHAPTER, config), studies.folder(CHAPTER)
    for name, (size, seed) in SHOWN.items():
        state = students.trained(steps.folder, config, name, size, seed).state_dict()
        state.pop("head.weight")  # the embedding again
        save_file(
            {key: value.to(torch.float16) for key, value in state.items()},
            folder / f"{students.slug(name)}.safetensors",
        )
