"""Chapter 5's long run: mixture of depths beside dense models at equal FLOPs and equal time, and MoDE beside MoE.

``python -m greenlab.mixture_of_depths.study`` runs it (restartable) and writes data/studies/mixture_of_depths; `load`
reads the committed tables. The models are trained on Shakespeare's plays, character by character. Quality and speed
are measured; energy is what the meter says, modelled where there is no counter; FLOPs are counted from the shapes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_model, save_model
from tqdm.auto import tqdm

from greenlab.core import studies
from greenlab.core.model.gpt import GPT
from greenlab.core.model.random_state import local_seed
from greenlab.core.model.training import CharTokenizer, TrainingConfig, evaluate, fit
from greenlab.mixture_of_depths import routing_mode
from greenlab.mixture_of_depths.study import speed, variants
from greenlab.mixture_of_depths.study.looks import by_kind, by_surprise
from greenlab.mixture_of_depths.study.tables import figures
from greenlab.mixture_of_depths.study.text import texts
from greenlab.mixture_of_depths.study.variants import Variant

CHAPTER = "mixture_of_depths"
SHOWN = ("dense", "mod")  # the models of the first seed that the chapter loads
# In the order of what the chapter needs most: a study that is stopped early still has whole comparisons.
PLAN = (
    ("dense", "mod", "dense_3", "mod_10", "mod_long", "random"),
    ("moe", "staged", "integrated"),
    ("mod_every_1", "mod_50"),
    ("mod_25", "mod_every_3"),
    ("dense_4", "auxiliary"),
)
# A control: the shallow dense model for the FLOPs of the deep one. In a short training, more steps alone may win.
CONTROL, CONTROL_LONGER = "dense_3", 1.97
RECEIPT = ("time_s", "cpu_s", "energy_j", "low_j", "high_j", "basis")


@dataclass(frozen=True)
class Config:
    """Everything that the tables depend on."""

    d_model: int = 64
    d_ff: int = 128
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 450
    batch_size: int = 8
    context_length: int = 256
    learning_rate: float = 3e-3
    eval_windows: int = 192
    looked_at: int = 48  # windows in which it is counted which tokens enter


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread: at this size a second one costs more CPU seconds than it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def weights_file(steps: studies.Steps, name: str, seed: int) -> Path:
    """Where a trained model is kept between steps."""
    return steps.folder / f"{name}_{seed}.safetensors"


def new_model(config: Config, variant: Variant, vocab_size: int, seed: int = 0) -> GPT:
    """A model of the study before its training."""
    return variants.model(variant, vocab_size, config.context_length, config.d_model, config.d_ff, seed=seed)


def train(steps: studies.Steps, config: Config, name: str, seed: int) -> dict[str, Any]:
    """Train one model and score it, as it was trained and token by token as it has to write."""
    variant = variants.VARIANTS[name]
    tokenizer, data, held_out = texts()
    model = new_model(config, variant, tokenizer.vocab_size, seed)
    n_steps = round(config.steps * variant.longer)
    recipe = TrainingConfig(
        steps=n_steps, batch_size=config.batch_size, context_length=config.context_length,
        learning_rate=config.learning_rate, eval_every=n_steps // 6, seed=seed,
    )  # fmt: skip
    seen = variants.windows(held_out, config.context_length, config.looked_at)
    score = partial(evaluate, data=held_out, context_length=config.context_length, n_windows=config.eval_windows)
    with one_thread(), local_seed(seed):  # the router that knows nothing draws when it is scored, too
        result = fit(model, data, recipe, val=held_out, loss_fn=variants.loss(variant), progress=False)
        found: dict[str, Any] = {"loss": score(model)}
        if variant.capacity is not None and variant.routing == "learned":
            with routing_mode(model, "causal"):
                found["loss_causal"] = score(model)
            found |= variants.decider_scores(model, seen)
        if variant.n_no_op:
            found["no_op_share"] = variants.no_op_share(model, seen)
    save_model(model, str(weights_file(steps, name, seed)))
    history = result.history
    on_the_way = history.loc[history["val_loss"].notna(), ["step", "tokens", "time_s", "val_loss"]]
    found["flops_per_token"] = variants.flops_per_token(
        variant, model.config, config.context_length, found.get("no_op_share", 0.0)
    )
    found |= {"steps": n_steps, "parameters": sum(p.numel() for p in model.parameters())}
    found |= {key: getattr(result.receipt, key) for key in RECEIPT}
    return found | {"history": on_the_way.to_dict("records")}


def trained(steps: studies.Steps, config: Config, name: str, seed: int) -> GPT:
    """A model that the study has trained, from disk."""
    tokenizer, *_ = texts()
    model = new_model(config, variants.VARIANTS[name], tokenizer.vocab_size)
    load_model(model, str(weights_file(steps, name, seed)))
    return model.eval()


def look(steps: studies.Steps, config: Config, seed: int) -> dict[str, list[dict[Any, Any]]]:
    """Count which kinds of token enter each skipping layer, and how surprising the token after them is."""
    tokenizer, _, held_out = texts()
    model = trained(steps, config, "mod", seed)
    with one_thread():
        windows = variants.windows(held_out, config.context_length, config.looked_at)
        return {
            "skipped": by_kind(model, tokenizer, windows).to_dict("records"),
            "surprise": by_surprise(model, windows).to_dict("records"),
        }


def run(config: Config = Config()) -> dict[str, pd.DataFrame]:
    """Run what is not done yet, and return the tables.

    They are models, history, skipped, surprise, blocks, prefill, decode, steps and figures.
    """
    steps = studies.Steps(CHAPTER, config)
    models, history, looks = [], [], {"skipped": [], "surprise": []}  # type: ignore[var-annotated]
    plan = [(name, seed) for group in PLAN for seed in config.seeds for name in group]
    for name, seed in tqdm(plan, desc="training"):
        found = dict(steps.run(f"{name}_{seed}", partial(train, steps, config, name, seed)))
        history += [{"model": name, "seed": seed} | row for row in found.pop("history")]
        models.append(variants.describe(name) | {"seed": seed} | found)
    longer = dataclasses.replace(config, steps=round(config.steps * CONTROL_LONGER))
    control = studies.Steps(CHAPTER, longer)
    for seed in config.seeds:
        found = dict(control.run(f"{CONTROL}_long_{seed}", partial(train, control, longer, CONTROL, seed)))
        history += [{"model": f"{CONTROL}_long", "seed": seed} | row for row in found.pop("history")]
        words = {"model": f"{CONTROL}_long", "words": f"dense, 3 layers, {CONTROL_LONGER} x the steps"}
        models.append(variants.describe(CONTROL) | words | {"longer": CONTROL_LONGER, "seed": seed} | found)
    for seed in config.seeds:
        for name, rows in steps.run(f"look_{seed}", partial(look, steps, config, seed)).items():
            looks[name] += [{"seed": seed} | row for row in rows]
    speeds = steps.run("speed", speed.measure_all)
    tables = {"models": pd.DataFrame(models), "history": pd.DataFrame(history)}
    tables |= {name: pd.DataFrame(rows) for name, rows in (looks | speeds).items()}
    tables["steps"] = pd.concat([steps.receipts(), control.receipts()], ignore_index=True)
    return tables | {"figures": figures(tables)}


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them."""
    return studies.load(CHAPTER, *names)


def load_models() -> tuple[GPT, GPT, CharTokenizer]:
    """The committed pair, trained on the same text: the dense model, the one that skips, and their tokenizer."""
    config, folder = Config(), studies.folder(CHAPTER)
    tokenizer, *_ = texts()
    found = []
    for name in SHOWN:
        model = new_model(config, variants.VARIANTS[name], tokenizer.vocab_size)
        load_model(model, str(folder / f"{name}.safetensors"))
        found.append(model.eval())
    return found[0], found[1], tokenizer


def main() -> None:
    """Run the study, write its tables and the two models that the chapter shows."""
    config = Config()
    tables = run(config)
    studies.save(CHAPTER, config, tables, tables["steps"])
    steps, folder = studies.Steps(CHAPTER, config), studies.folder(CHAPTER)
    for name in SHOWN:
        save_model(trained(steps, config, name, config.seeds[0]), str(folder / f"{name}.safetensors"))
