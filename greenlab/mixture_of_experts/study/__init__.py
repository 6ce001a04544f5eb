"""Chapter 3's long run: experts against dense models, on text of four kinds.

``python -m greenlab.mixture_of_experts.study`` runs it (restartable) and writes data/studies/mixture_of_experts; `load`
reads the committed tables. All models have the same blocks around their feed-forward parts and see the same tokens in
the same order; those with experts compute as much for a token as the dense model of the active size. Quality and time
are measured; energy is what the meter says, modelled where there is no counter.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm.auto import tqdm

from greenlab.core import studies
from greenlab.core.energy.power_model import PowerModel
from greenlab.core.model import cost
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.model.training import TrainingConfig, evaluate, fit, make_optimizer, next_token_loss
from greenlab.core.names import unknown
from greenlab.mixture_of_experts import MoE, balanced_loss, update_bias
from greenlab.mixture_of_experts import load as expert_load
from greenlab.mixture_of_experts.study import experts, text
from greenlab.mixture_of_experts.study.tables import figures

CHAPTER = "mixture_of_experts"


@dataclass(frozen=True)
class Variant:
    """One kind of model.

    Attributes:
        name: in tables and charts.
        width: of the feed-forward part, or of each expert.
        n_experts: experts of a layer; 1 is a dense model.
        top_k: experts that a token visits.
        balancing: what keeps experts equally busy in training: "loss", "bias" or "nothing".
        longer: how many times as many steps as the others it is trained for.
    """

    name: str
    width: int
    n_experts: int = 1
    top_k: int = 1
    balancing: str = "nothing"
    longer: float = 1.0


@dataclass(frozen=True)
class Config:
    """Everything that the tables depend on."""

    seeds: tuple[int, ...] = (0, 1, 2)
    vocab_size: int = 1024
    d_model: int = 64
    n_layers: int = 3
    n_heads: int = 4
    active_width: int = 128  # of the feed-forward part that a token passes, in all models but the large dense one
    steps: int = 900
    longer: float = 1.25  # as many more steps take the small dense model as long as eight experts take
    batch_size: int = 16
    context_length: int = 128
    learning_rate: float = 3e-3
    balancing_weight: float = 0.01
    z_weight: float = 0.001
    bias_rate: float = 0.001
    looks: int = 15  # how often the loss and the load are looked at on the way
    eval_windows: int = 64

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The models, dense ones first."""
        active, half = self.active_width, self.active_width // 2
        return (
            Variant("dense, active size", active),
            Variant("dense, active size, longer", active, longer=self.longer),
            Variant("dense, total size", 8 * half),
            Variant("4 experts, top-2", half, 4, 2, "loss"),
            Variant("8 experts, top-2", half, 8, 2, "loss"),
            Variant("16 experts, top-2", half, 16, 2, "loss"),
            Variant("32 experts, top-2", half, 32, 2, "loss"),
            Variant("8 experts, top-1", active, 8, 1, "loss"),
            Variant("8 experts, top-2, bias", half, 8, 2, "bias"),
            Variant("8 experts, top-2, nothing", half, 8, 2, "nothing"),
        )


KEPT = {  # models that the chapter shows
    "8 experts": "8 experts, top-2",
    "4 experts": "4 experts, top-2",
    "8 experts, never balanced": "8 experts, top-2, nothing",
}


def slug(name: str) -> str:
    """The name of a variant in file names and figures: "8 experts, top-2" is "8-experts-top-2"."""
    return name.replace(",", "").replace(" ", "-")


def variant(config: Config, name: str) -> Variant:
    """The variant of a name.

    Raises:
        ValueError: if there is none.
    """
    for one in config.variants:
        if one.name == name:
            return one
    raise unknown("name", name, [one.name for one in config.variants])


def gpt_config(config: Config, one: Variant) -> GPTConfig:
    """The sizes of a variant's model; ``d_ff`` is the width of each expert where there are any."""
    return GPTConfig(
        config.vocab_size, config.context_length, config.n_layers, config.d_model, config.n_heads, d_ff=one.width
    )


def make(config: Config, one: Variant, seed: int) -> GPT:
    """A variant's model, not trained yet."""
    sizes = gpt_config(config, one)
    if one.n_experts == 1:
        return GPT(sizes, seed=seed)
    # with one expert a token, a weight that is normalized would always be 1, and the router would learn nothing
    scores = "sigmoid" if one.balancing == "bias" else "softmax_top_k"
    part = partial(MoE, n_experts=one.n_experts, top_k=one.top_k, scores=scores, normalize=one.top_k > 1)
    return GPT(sizes, seed=seed, feed_forward=part)


@lru_cache(maxsize=1)
def tokens(config: Config) -> tuple[Any, Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """The tokenizer, the ids to train on, a part of them by kind, and the held-out ids by kind."""
    found = {kind: text.load(kind) for kind in text.KINDS}
    tokenizer = text.train_tokenizer([one.train for one in found.values()], config.vocab_size)
    train = {kind: text.encode(tokenizer, one.train) for kind, one in found.items()}
    held_out = {kind: text.encode(tokenizer, one.held_out) for kind, one in found.items()}
    part = {kind: ids[-100 * config.context_length :] for kind, ids in train.items()}
    return tokenizer, torch.cat(list(train.values())), part, held_out


def bits_per_character(model: GPT, held_out: dict[str, Tensor], config: Config) -> dict[str, float]:
    """Loss of each kind of held-out text, for each character of it [bits]."""
    found = {}
    for kind, ids in held_out.items():
        nats = evaluate(model, ids, config.context_length)
        found[kind] = nats / math.log(2) * len(ids) / text.N_HELD_OUT
    return found


def weights_file(steps: studies.Steps, one: Variant, seed: int) -> Path:
    """Where a trained model is kept between steps."""
    return steps.folder / f"{slug(one.name)}_{seed}.safetensors"


def train(steps: studies.Steps, config: Config, name: str, seed: int) -> dict[str, Any]:
    """Train one model, score it on each kind of text, and see what its experts do."""
    one = variant(config, name)
    tokenizer, data, part, held_out = tokens(config)
    model = make(config, one, seed)
    n_steps = round(config.steps * one.longer)
    recipe = TrainingConfig(
        steps=n_steps, batch_size=config.batch_size, context_length=config.context_length,
        learning_rate=config.learning_rate, eval_every=n_steps // config.looks, eval_windows=config.eval_windows,
        seed=seed,
    )  # fmt: skip
    mixed = torch.cat([ids[: 16 * config.context_length] for ids in held_out.values()])
    collapse: list[dict[str, Any]] = []

    def on_step(row: dict[str, float]) -> None:
        if one.balancing == "bias":
            update_bias(model, config.bias_rate)
        if one.n_experts > 1 and row["step"] in (1, *range(100, n_steps + 1, 100)):
            table = expert_load(model, mixed.view(-1, config.context_length))
            collapse.extend(
                {"step": int(row["step"])} | found  # type: ignore[misc]
                for found in table[["layer", "expert", "share"]].to_dict("records")
            )

    loss_fn: Callable[..., Tensor] = next_token_loss
    if one.balancing == "loss":
        loss_fn = balanced_loss(config.balancing_weight, config.z_weight)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # at this size a second thread costs more CPU seconds than it saves
    try:
        result = fit(
            model,
            data,
            recipe,
            val=torch.cat(list(held_out.values())),
            loss_fn=loss_fn,
            on_step=on_step,
            progress=False,
        )
        bits = bits_per_character(model, held_out, config)
        found = _look_at_experts(model, tokenizer, part, held_out, config) if one.n_experts > 1 else {}
    finally:
        torch.set_num_threads(threads)
    save_file({key: value.half() for key, value in model.state_dict().items()}, str(weights_file(steps, one, seed)))
    history = result.history
    looked = history.loc[history["val_loss"].notna(), ["step", "tokens", "time_s", "val_loss"]].to_dict("records")
    energy = {key: getattr(result.receipt, key) for key in ("time_s", "cpu_s", "energy_j", "low_j", "high_j", "basis")}
    return {"bits": bits, "history": looked, "collapse": collapse, "energy": energy, **found}


def _look_at_experts(
    model: GPT, tokenizer: Any, part: dict[str, Tensor], held_out: dict[str, Tensor], config: Config
) -> dict[str, Any]:
    """Who goes to which expert on held-out text, and how often one guesses it from a part of the training text."""
    asked = experts.routed(model, tokenizer, held_out, config.context_length)
    learned = experts.routed(model, tokenizer, part, config.context_length)
    tables = {
        "use": experts.shares(asked, "kind"),
        "kinds": experts.shares(asked, "token_kind"),
        "guess": experts.guesses(learned, asked),
        "repeat": experts.repeats(asked),
    }
    return {name: table.to_dict("records") for name, table in tables.items()}


def sizes(config: Config, one: Variant) -> dict[str, float]:
    """Parameters in all and for a token, and FLOPs of reading a token in the middle of a window, by the cost model."""
    shape = gpt_config(config, one).shape
    if one.n_experts > 1:
        shape = shape.replace(n_experts=one.n_experts, top_k=one.top_k)
    count = cost.parameters(shape)
    flops = cost.flops_per_token(shape, config.context_length // 2).total
    return {"total_parameters": count.total, "active_parameters": count.active, "flops_per_token": flops}


def race_steps(config: Config, rounds: int = 15) -> list[dict[str, Any]]:
    """CPU time of one training step of each variant: all take their turn in every round, and the best round counts.

    The trainings themselves run one after the other, on a machine that others use as well; this race compares.
    """
    batch = torch.randint(config.vocab_size, (config.batch_size, config.context_length + 1), generator=_generator())
    works = {}
    for one in config.variants:
        model = make(config, one, config.seeds[0])
        optimizer = make_optimizer(model, TrainingConfig(learning_rate=config.learning_rate))
        loss = balanced_loss(config.balancing_weight, config.z_weight) if one.balancing == "loss" else next_token_loss
        works[one.name] = partial(_one_step, model, optimizer, loss, batch, one.balancing == "bias")
    best = dict.fromkeys(works, math.inf)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for i in range(-2, rounds):
            for name, work in works.items():
                start_s = time.process_time()
                work()
                if i >= 0:
                    best[name] = min(best[name], time.process_time() - start_s)
    finally:
        torch.set_num_threads(threads)
    return [{"model": name, "step_ms": 1e3 * seconds} for name, seconds in best.items()]


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _one_step(model: GPT, optimizer: Any, loss_fn: Callable[..., Tensor], batch: Tensor, bias: bool) -> None:
    """What `fit` does in a step."""
    optimizer.zero_grad()
    loss_fn(model, batch[:, :-1], batch[:, 1:]).backward()
    torch.nn.utils.clip_grad_norm_(list(model.parameters()), 1.0)
    optimizer.step()
    if bias:
        update_bias(model)


CORES = 2  # of the machine: the one that computes and the one that waits


def on_one_core(costs: dict[str, Any], cpu_s: float) -> dict[str, Any]:
    """The costs of a training that takes so many seconds on one core of a machine of its own.

    Where joules are modelled, they follow from these seconds: on a shared machine a model would else be billed for the
    time in which others computed. Measured joules stay as they are.

    Args:
        costs: time_s, cpu_s, energy_j, low_j, high_j and basis, as a step keeps them.
        cpu_s: steps of the training times the CPU time of a step [s].

    Returns:
        The same with the new cpu_s, the old one as raw_cpu_s.
    """
    found = costs | {"cpu_s": cpu_s, "raw_cpu_s": costs["cpu_s"]}
    if costs["basis"] != "modelled":
        return found
    part = PowerModel().component(cpu_s, cpu_s, CORES)
    return found | {"energy_j": part.energy_j, "low_j": part.low_j, "high_j": part.high_j}


def run(config: Config = Config()) -> dict[str, pd.DataFrame]:
    """Run what is not done yet, and return the tables.

    They are models, history, use, kinds, guess, repeat, collapse, speed, samples, steps, figures.
    """
    steps = studies.Steps(CHAPTER, config)
    speed = steps.run("speed", partial(race_steps, config))
    step_s = {row["model"]: row["step_ms"] / 1e3 for row in speed}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in ("models", "history", "use", "kinds", "guess")}
    rows |= {"repeat": [], "collapse": []}
    plan = [(seed, one) for seed in config.seeds for one in config.variants]
    for seed, one in tqdm(plan, desc="training"):
        found = steps.run(f"{slug(one.name)}_{seed}", partial(train, steps, config, one.name, seed))
        model = {"model": one.name, "seed": seed}
        bits = found["bits"]
        rows["models"].append(
            {"model": one.name, "n_experts": one.n_experts, "top_k": one.top_k, "balancing": one.balancing}
            | {"seed": seed}
            | sizes(config, one) | {"steps": round(config.steps * one.longer), "loss": sum(bits.values()) / len(bits)}
            | {f"loss_{kind.lower().replace(' ', '_')}": value for kind, value in bits.items()}
            | on_one_core(found["energy"], round(config.steps * one.longer) * step_s[one.name])
        )  # fmt: skip
        rows["history"] += [model | row for row in found["history"]]
        for name in ("use", "kinds", "guess", "repeat", "collapse"):
            more = {"balancing": one.balancing} if name == "collapse" else {}
            rows[name] += [model | more | row for row in found.get(name, [])]
    tables = {name: pd.DataFrame(found) for name, found in rows.items()}
    flops = tables["models"].set_index("model")["flops_per_token"].groupby(level=0).first()
    history = tables["history"]
    # a step costs about three forward passes: one forward, two backward
    tables["history"] = history.assign(flops=3 * history["tokens"] * history["model"].map(flops))
    tables["speed"] = pd.DataFrame(speed)
    tables["samples"] = pd.DataFrame([{"kind": kind, "text": sample(kind)} for kind in text.KINDS])
    tables["steps"] = steps.receipts()
    return tables | {"figures": figures(tables)}


SAMPLE_CHARACTERS = 420
SAMPLES_FROM = {"Shakespeare": 4000, "Milton": 4000, "Python code": 4000, "Python docs": 4000}


def sample(kind: str) -> str:
    """A short passage of held-out text, from the start of a line on."""
    held_out = text.load(kind).held_out
    start = held_out.index("\n", SAMPLES_FROM[kind]) + 1
    return held_out[start : start + SAMPLE_CHARACTERS]


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them.

    Args:
        names: of the tables.

    Raises:
        TypeError: if a name is no text.
        ValueError: if there is no such table.
    """
    return studies.load(CHAPTER, *names)


def load_models() -> tuple[dict[str, GPT], Any]:
    """The committed models with eight experts, by how they were balanced, and their tokenizer.

    Returns:
        Models by the keys of `KEPT`, in evaluation mode, and a ``tokenizers.Tokenizer``.
    """
    from tokenizers import Tokenizer

    config, folder = Config(), studies.folder(CHAPTER)
    models = {}
    for name, kept in KEPT.items():
        model = make(config, variant(config, kept), config.seeds[0])
        weights = {key: value.float() for key, value in load_file(folder / f"{slug(kept)}.safetensors").items()}
        model.load_state_dict(weights | {"head.weight": weights["embedding.weight"]})
        models[name] = model.eval()
    return models, Tokenizer.from_file(str(folder / "tokenizer.json"))


def main() -> None:
    """Run the study, write its tables, its tokenizer and the two models that the chapter shows."""
    config = Config()
    tables = run(config)
    studies.save(CHAPTER, config, tables, tables["steps"])
    steps, folder = studies.Steps(CHAPTER, config), studies.folder(CHAPTER)
    tokenizer, *_ = tokens(config)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    for kept in KEPT.values():
        made = load_file(weights_file(steps, variant(config, kept), config.seeds[0]))
        made.pop("head.weight")  # the embedding again
        save_file(made, folder / f"{slug(kept)}.safetensors")
