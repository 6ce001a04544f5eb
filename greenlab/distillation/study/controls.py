"""Controls of chapter 4's study: lone students with as much practice, or as many joules, as a teacher had.

A gap between a student and its teacher mixes two things: the teacher is larger, and it was trained for longer. A lone
student with the teacher's steps tells them apart. With few data, another one has the energy of the teacher's training.

``python -m greenlab.distillation.study.controls`` adds them to the committed tables and leaves all other steps alone.
"""

from __future__ import annotations

from functools import partial

import pandas as pd

from greenlab.core import studies
from greenlab.distillation import study
from greenlab.distillation.study import students
from greenlab.distillation.study.tables import figures


def add(tables: dict[str, pd.DataFrame], config: students.Config = study.CONFIG) -> dict[str, pd.DataFrame]:
    """Train what the tables lack of the plan of controls, and return the tables with it.

    Args:
        tables: of the study, by name; its costs come from the table speed.
        config: of the study.
    """
    speed = [{str(key): value for key, value in row.items()} for row in tables["speed"].to_dict("records")]
    costs = study.Costs(config, speed)
    steps = studies.Steps(study.CHAPTER, config)
    models: list[pd.DataFrame] = []
    histories: list[pd.DataFrame] = []
    plan = study.controls_plan(config, costs)
    for recipe in plan:
        for seed in config.seeds:
            name = f"{students.slug(recipe.model)}_{recipe.steps}_{seed}"
            found = dict(steps.run(name, partial(students.train, steps.folder, config, recipe, seed)))
            history = pd.DataFrame(found.pop("history"))
            histories.append(history.assign(model=recipe.model, seed=seed))
            models.append(pd.DataFrame([study.planned_row(config, costs, recipe, seed) | found]))
    names = [recipe.model for recipe in plan]
    receipts = steps.receipts()
    old = {
        "models": tables["models"][~tables["models"]["model"].isin(names)],
        "history": tables["history"][~tables["history"]["model"].isin(names)],
        "steps": tables["steps"][~tables["steps"]["step"].isin(receipts["step"])],
    }
    new = {
        "models": pd.concat([old["models"], *models], ignore_index=True),
        "history": pd.concat([old["history"], *histories], ignore_index=True),
        "steps": pd.concat([old["steps"], receipts], ignore_index=True),
    }
    tables = tables | new
    return tables | {"figures": figures(tables)}


def main() -> None:
    """Add the controls to the committed tables."""
    tables = add(study.load())
    studies.save(study.CHAPTER, study.CONFIG, tables, tables["steps"])


if __name__ == "__main__":
    main()
