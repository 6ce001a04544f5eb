"""Chapter 6's long run: what SmolLM2-135M loses with every layer, and what healing gives back.

``python -m greenlab.layer_pruning.study`` runs it (restartable) and writes data/studies/layer_pruning; `load` reads
the committed tables. Quality is measured on the real model; energy is what the meter says, modelled where there is no
counter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from tqdm.auto import tqdm

from greenlab import layer_pruning
from greenlab.core import assets, speed, studies
from greenlab.core.machine import available_cores
from greenlab.core.model import cost, scoring
from greenlab.core.model.decoder import decoder_layers, keep_layers
from greenlab.layer_pruning.study.tables import distance_table, figures, wrong_table
from greenlab.layer_pruning.study.text import windows, write_text

CHAPTER = "layer_pruning"
PROMPTS = (
    "The capital of France is",
    "The old clock on the wall had stopped at noon, and nobody in the village",
    "Bread rises because",
)


@dataclass(frozen=True)
class Config:
    """Everything that the tables depend on."""

    removed: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 8, 10, 12)
    healed: tuple[int, ...] = (4, 6, 8)
    random_seeds: tuple[int, ...] = (0, 1, 2)
    calibration_window: int = 64
    evaluation_window: int = 256
    evaluation_windows: int = 6
    text_batches: int = 6  # of 40 texts each, written by the unpruned model
    text_tokens: int = 128
    temperature: float = 1.0
    heal_window: int = 128
    heal_batch: int = 4
    heal_steps: int = 70
    heal_rank: int = 32
    heal_learning_rate: float = 2e-3
    seed: int = 0


@dataclass(frozen=True)
class Material:
    """The model, its test material, and what was measured of its layers before any cut."""

    model: Any
    tokenizer: Any
    evaluation: torch.Tensor
    items: pd.DataFrame
    distances: torch.Tensor
    influence: torch.Tensor


def prepare(config: Config) -> Material:
    """Load the model and measure the distances on the calibration text, which is never used for scoring."""
    model, tokenizer = assets.load_smollm2()
    calibration = scoring.token_windows(tokenizer, scoring.held_out_text("calibration"), config.calibration_window)
    return Material(
        model,
        tokenizer,
        scoring.token_windows(tokenizer, scoring.held_out_text("evaluation"), config.evaluation_window)[
            : config.evaluation_windows
        ],
        scoring.load_cloze(),
        layer_pruning.block_distances(model, calibration),
        layer_pruning.block_influence(model, calibration),
    )


def score(material: Material, model: Any) -> dict[str, Any]:
    """Loss on the evaluation text [nats per token], share of cloze items right, and the items that are wrong."""
    answers = scoring.cloze(model, material.tokenizer, material.items)
    return {
        "loss": scoring.text_loss(model, material.evaluation),
        "accuracy": float(answers["correct"].mean()),
        "n_items": len(answers),
        "wrong": answers.loc[~answers["correct"], "id"].tolist(),
    }


def cut(material: Material, method: str, n: int, seed: int = 0) -> dict[str, Any]:
    """Drop ``n`` layers by one method and score what is left."""
    dropped = layer_pruning.layers_to_drop(
        method, n, distances=material.distances, influence=material.influence, seed=seed
    )
    kept = [i for i in range(len(decoder_layers(material.model))) if i not in dropped]
    return {"dropped": dropped, **score(material, keep_layers(material.model, kept))}


def heal(material: Material, config: Config, n: int, loss: str, texts: list[list[int]]) -> dict[str, Any]:
    """Drop the best block of ``n`` layers, heal on the model's own texts, score, and let the healed model write."""
    pruned = layer_pruning.drop_layers(material.model, layer_pruning.best_block(material.distances, n), n)
    settings = layer_pruning.HealConfig(
        steps=config.heal_steps,
        batch_size=config.heal_batch,
        rank=config.heal_rank,
        learning_rate=config.heal_learning_rate,
        seed=config.seed,
    )
    teacher = material.model if loss == "teacher" else None
    ids = windows(texts, config.heal_window)
    healed = layer_pruning.heal(pruned, ids, settings, teacher=teacher, progress=True)
    return {
        "train_loss": healed.losses,
        **score(material, healed.model),
        "continuations": continuations(material, healed.model),
    }


def continuations(material: Material, model: Any) -> list[str]:
    """Each of the prompts with the 24 tokens that the model writes after it, always the likeliest."""
    rows = [torch.tensor([material.tokenizer(prompt).input_ids]) for prompt in PROMPTS]
    return [material.tokenizer.decode(speed.run_decode(model, ids, 24)[0]) for ids in rows]


def texts(material: Material, config: Config, batch: int) -> list[list[int]]:
    """One batch of healing texts."""
    return write_text(
        material.model, material.tokenizer, n_texts=40, n_tokens=config.text_tokens, temperature=config.temperature,
        batch_size=40, seed=config.seed + batch,
    )  # fmt: skip


def time_models(material: Material, config: Config, rounds: int = 11) -> pd.DataFrame:
    """Time reading and writing of the full and the pruned models in turn, beside what `core.model.cost` predicts."""
    shape = cost.TransformerShape.from_config(material.model.config)
    models = {0: material.model} | {
        n: layer_pruning.drop_layers(material.model, layer_pruning.best_block(material.distances, n), n)
        for n in config.removed
        if n % 2 == 0
    }
    prompt, page = material.evaluation[:1, :32], material.evaluation[:2]
    frames = []
    for phase, work, context in (
        ("prefill", lambda m: speed.run_prefill(m, page), page.shape[1]),
        ("decode", lambda m: speed.run_decode(m, prompt, 32), 48),  # 32 tokens read, 32 written: 48 on average
    ):
        times = speed.interleave({str(n): partial(work, m) for n, m in models.items()}, rounds=rounds)
        measured = speed.ratios(times, "0")
        tokens = page.numel() if phase == "prefill" else 32
        for n in models:
            per_s = tokens / times.loc[times["work"] == str(n), "time_s"].median()
            predicted = cost.predicted_speedup(shape, n, phase=phase, n_tokens=context)
            frames.append(
                {
                    "phase": phase,
                    "n_removed": n,
                    "tokens_per_s": per_s,
                    "speedup": measured[str(n)],
                    "predicted": predicted,
                }
            )
    return pd.DataFrame(frames)


def run(config: Config = Config()) -> dict[str, pd.DataFrame]:
    """Run what is not done yet and return the tables.

    Returns:
        distances, curve, wrong, healing, samples, speed, steps and figures.
    """
    torch.set_num_threads(available_cores())
    steps, material = studies.Steps(CHAPTER, config), prepare(config)
    curve = [
        {"method": "none", "n_removed": 0, "seed": 0, "healing": "none"}
        | steps.run("full", lambda: score(material, material.model))
    ]
    plan = [
        (m, n, s)
        for m in ("angular", "block_influence", "deepest", "random")
        for n in config.removed
        for s in config.random_seeds
    ]
    for method, n, seed in tqdm(
        [p for p in plan if p[0] == "random" or p[2] == config.random_seeds[0]], desc="cutting"
    ):
        found = steps.run(f"cut_{method}_{n}_{seed}", partial(cut, material, method, n, seed))
        curve.append({"method": method, "n_removed": n, "seed": seed, "healing": "none"} | found)
    written = [
        t for b in range(config.text_batches) for t in steps.run(f"texts_{b}", partial(texts, material, config, b))
    ]
    written.append(
        material.tokenizer(scoring.held_out_text("calibration")).input_ids
    )  # some human prose among the model's own
    losses, samples = [], [("none", 0, continuations(material, material.model))]
    for loss, n in [("teacher", n) for n in config.healed]:
        found = steps.run(f"heal_{loss}_{n}", partial(heal, material, config, n, loss, written))
        curve.append({"method": "angular", "n_removed": n, "seed": config.seed, "healing": loss} | found)
        losses += [
            {"healing": loss, "n_removed": n, "step": i, "train_loss": x} for i, x in enumerate(found["train_loss"])
        ]
        samples.append((loss, n, found["continuations"]))
        pruned = layer_pruning.drop_layers(material.model, layer_pruning.best_block(material.distances, n), n)
        if loss == "teacher":
            samples.append(("none", n, continuations(material, pruned)))
    timing = steps.run("speed", lambda: time_models(material, config).to_dict("records"))
    tables = {
        "distances": distance_table(material.distances),
        "curve": pd.DataFrame(curve).drop(columns=["train_loss", "continuations", "wrong"], errors="ignore"),
        "wrong": wrong_table(curve),
        "healing": pd.DataFrame(losses),
        "samples": pd.DataFrame([{"healing": h, "n_removed": n, "text": t} for h, n, rows in samples for t in rows]),
        "speed": pd.DataFrame(timing),
        "steps": steps.receipts(),
    }
    return tables | {"figures": figures(tables)}


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them."""
    return studies.load(CHAPTER, *names)


def main() -> None:
    """Run the study and write its tables."""
    config = Config()
    tables = run(config)
    studies.save(CHAPTER, config, tables, tables["steps"])
