"""Chapter 10's study: SmolLM2 pruned, healed and kept; what its answers are worth; levers measured together; two peers.

``python -m greenlab.green_service.study`` runs it (restartable) and writes data/studies/green_service with the healed
model's corrections; `load` reads the committed tables. Losses and right answers are measured; joules are what the meter
says. The two other calculators are asked again where they are installed in the pinned versions.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from greenlab.core import compiled, studies
from greenlab.green_service import peers
from greenlab.green_service.study import answers, config, healed
from greenlab.green_service.study.figures import figures
from greenlab.green_service.study.live import (
    SETTINGS,
    Combined,
    best_hour_saving,
    material,
    measure_together,
    shifted,
    with_quality,
)
from greenlab.layer_pruning import study as pruning

__all__ = [
    "SETTINGS", "Combined", "Config", "best_hour_saving", "load", "main", "material", "measure_together", "run",
    "shifted", "with_quality",
]  # fmt: skip
CHAPTER = "green_service"
PEERS = ("peers", "peers_gap")
KEPT = ("start", "bytes", "sha256", "error_before", "error_after")  # of the healing, said of its file


@dataclass(frozen=True)
class Config(config.Config):
    """Everything that the tables depend on, beside the book's own text and the calculators' versions.

    Attributes:
        kept_rank: of the adapters in the file.
        race_rounds: of the live measurement.
        race_tokens: tokens that each answer of it writes.
    """

    kept_rank: int = 7
    race_rounds: int = 5
    race_tokens: int = 12


def healing_steps(settings: Config, steps: studies.Steps) -> dict[str, Any]:
    """Cut, heal, and write the corrections beside the steps; they are made again if a file is not there."""
    material = pruning.prepare(pruning.Config())
    asked = healed.ask_once(material, settings, steps)
    trained, packed = (steps.folder / name for name in ("trained.safetensors", healed.FILE.name))
    for path, step in ((trained, "heal"), (packed, "pack")):
        if not path.is_file():
            (steps.folder / f"{step}.json").unlink(missing_ok=True)
    found = steps.run("heal", partial(healed.heal, material, settings, asked, trained))
    found |= steps.run("pack", partial(healed.pack, trained, packed, settings.kept_rank))
    cut = steps.run("cut", partial(pruning.cut, material, "angular", settings.n_removed))
    return found | {"cut_loss": cut["loss"], "cut_right": round(cut["accuracy"] * cut["n_items"])}


def race(rounds: int, n_tokens: int) -> dict[str, Any]:
    """The live combination, as the notebook measures it, in tables that JSON can hold."""
    found = measure_together(rounds, n_tokens)
    passes = ((1, found.profile.one), (found.profile.rows, found.profile.many))
    parts = [{"tokens": tokens} | vars(given) for tokens, given in passes]
    kernels = [{"bits": bits} | vars(kernel) for bits, kernel in found.kernels.items()]
    variants = [{"when": when} | vars(one) for when, one in zip(("before", "after"), found.variants, strict=True)]
    table = found.table.astype(object).where(found.table.notna(), None).to_dict("records")
    return {
        "race": table, "predicted": found.predicted.to_dict("records"), "parts": parts, "kernels": kernels,
        "variants": variants,
    }  # fmt: skip


def peers_installed() -> bool:
    """Whether both calculators are here in the versions that are pinned."""
    return all(studies._version(peer.lower()) == version for peer, version in peers.VERSIONS.items())


def peer_tables() -> dict[str, Any]:
    """Both calculators' figures and their steps from ours, computed now."""
    both = [peers.ecologits(), peers.mlsysim()]
    return {
        name: pd.concat([pair[position] for pair in both], ignore_index=True).to_dict("records")
        for position, name in enumerate(PEERS)
    }


def run(settings: Config = Config()) -> dict[str, pd.DataFrame]:
    """Run what is not done yet, on one thread, and return the tables.

    Returns:
        healing, models, answers, file, race, predicted, parts, kernels, variants, peers, peers_gap, steps and figures.
    """
    compiled.set_threads(1)  # other programs disturb one thread less than two that wait for each other
    steps = studies.Steps(CHAPTER, settings)
    made = healing_steps(settings, steps)
    path = steps.folder / healed.FILE.name
    models = [steps.run(f"score_{i}", partial(answers.score, name, path)) for i, name in enumerate(answers.MODELS)]
    ids, rows = answers.held_questions(), []
    for number, name in enumerate(answers.MODELS):
        for first in range(0, len(ids), settings.chunk):
            chunk = tuple(ids[first : first + settings.chunk])
            work = partial(answers.answer_questions, name, chunk, settings.passage_tokens, settings.n_new_tokens, path)
            rows += steps.run(f"answers_{number}_{first // settings.chunk}", work)
    tables = {
        "healing": pd.DataFrame([{"step": i, "train_loss": x} for i, x in enumerate(made.pop("train_loss"), 1)]),
        "models": pd.DataFrame([*models, {
            "model": "cut, not healed", "loss": made["cut_loss"], "right": made["cut_right"],
            "n_items": models[0]["n_items"],
        }]),
        "answers": pd.DataFrame(rows),
        "file": pd.DataFrame([{name: made[name] for name in KEPT}]),
    }  # fmt: skip
    publish(path, tables)  # the race loads the committed file and the committed answers
    raced = steps.run("race", partial(race, settings.race_rounds, settings.race_tokens))
    tables |= {name: pd.DataFrame(found) for name, found in raced.items()}
    if peers_installed():
        tables |= {name: pd.DataFrame(found) for name, found in steps.run("peers", peer_tables).items()}
    else:
        tables |= studies.load(CHAPTER, *PEERS)
    tables["steps"] = steps.receipts()
    return tables | {"figures": figures(tables)}


def publish(path: Any, tables: dict[str, pd.DataFrame]) -> None:
    """Put the corrections where the notebook reads them.

    Raises:
        ValueError: if they are not those whose hash stands in the code.
    """
    if tables["file"]["sha256"].iloc[0] != healed.SHA256:
        raise ValueError(
            f"the corrections were made anew: write SHA256 = {tables['file']['sha256'].iloc[0]!r} into "
            "greenlab/green_service/study/healed.py, and run again"
        )
    healed.FILE.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, healed.FILE)


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them: ``peers`` and ``peers_gap`` are those of two calculators.

    Raises:
        TypeError: if a name is no text.
        ValueError: if there is no such table.
    """
    return studies.load(CHAPTER, *names)


def main() -> None:
    """Run the study and write its tables."""
    settings = Config()
    tables = run(settings)
    studies.save(CHAPTER, settings, tables, tables["steps"])
