"""Chapter 7's long run: ternary from scratch, ternary after training and rounding to 8, 4 and 2 bits, at several sizes.

``python -m greenlab.ternary.study`` runs it (restartable) and writes data/studies/ternary; `load` reads the committed
tables. The small models are trained on Shakespeare's plays, character by character; SmolLM2 is the real one, quantized
after training only. Quality and speed are measured; energy is what the meter says, modelled where there is no counter.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor
from tqdm.auto import tqdm

from greenlab.core import assets, studies
from greenlab.core.machine import available_cores
from greenlab.core.model import scoring
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.core.model.training import CharTokenizer, TrainingConfig, evaluate, fit
from greenlab.ternary import bit_gpt, convert, pack_model
from greenlab.ternary import load_model as load_packed_model
from greenlab.ternary import save_model as save_packed_model
from greenlab.ternary.study import races
from greenlab.ternary.study.tables import figures

CHAPTER = "ternary"
MAKE: dict[str, Callable[..., GPT]] = {"float": GPT, "ternary": bit_gpt}
AFTER = ("8bit", "4bit", "2bit", "ternary")  # what is done to a trained float model


@dataclass(frozen=True)
class Config:
    """Everything that the tables depend on."""

    sizes: tuple[tuple[int, int], ...] = ((32, 2), (64, 3), (96, 4), (128, 4))  # d_model, layers
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 1200
    batch_size: int = 16
    context_length: int = 128
    learning_rate: float = 3e-3
    held_out_share: float = 0.05  # the end of the text is never trained on
    eval_windows: int = 256
    smollm2_window: int = 256
    smollm2_windows: int = 6


def texts(config: Config) -> tuple[CharTokenizer, Tensor, Tensor]:
    """The tokenizer and the token ids to train on and to score, from Shakespeare's plays."""
    text = assets.load_text("shakespeare")
    tokenizer = CharTokenizer(text)
    ids = tokenizer.encode(text)
    cut = round(len(ids) * (1 - config.held_out_share))
    return tokenizer, ids[:cut], ids[cut:]


def shape(config: Config, vocab_size: int, d_model: int, n_layers: int) -> GPTConfig:
    """The model of a width: four heads, a feed-forward part twice as wide."""
    return GPTConfig(vocab_size, config.context_length, n_layers, d_model, n_heads=4, d_ff=2 * d_model)


def weights_file(steps: studies.Steps, kind: str, d_model: int, seed: int) -> Path:
    """Where a trained model is kept between steps."""
    return steps.folder / f"{kind}_{d_model}_{seed}.safetensors"


def train(steps: studies.Steps, config: Config, kind: str, d_model: int, n_layers: int, seed: int) -> dict[str, Any]:
    """Train one model, score it, and, if it is a float one, score what quantization after training leaves of it."""
    tokenizer, data, held_out = texts(config)
    model = MAKE[kind](shape(config, tokenizer.vocab_size, d_model, n_layers), seed=seed)
    recipe = TrainingConfig(
        steps=config.steps, batch_size=config.batch_size, context_length=config.context_length,
        learning_rate=config.learning_rate, eval_every=config.steps // 6, seed=seed,
    )  # fmt: skip
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # at this size a second thread costs more CPU seconds than it saves
    try:
        history = fit(model, data, recipe, val=held_out, progress=False).history
        score = partial(evaluate, data=held_out, context_length=config.context_length, n_windows=config.eval_windows)
        losses = {"none": score(model)}
        if kind == "float":
            losses |= {name: score(convert(model, name)) for name in AFTER}
    finally:
        torch.set_num_threads(threads)
    save_model(model, str(weights_file(steps, kind, d_model, seed)))
    on_the_way = history.loc[history["val_loss"].notna(), ["step", "loss", "val_loss"]].to_dict("records")
    return {"losses": losses, "history": on_the_way, "parameters": sum(p.numel() for p in model.parameters())}


def score_smollm2(config: Config, quantize: str) -> dict[str, Any]:
    """Loss on unseen prose [nats per token] and share of cloze items right of SmolLM2, quantized after training."""
    model, tokenizer = assets.load_smollm2()
    windows = scoring.token_windows(tokenizer, scoring.held_out_text("evaluation"), config.smollm2_window)
    if quantize != "none":
        model = convert(model, quantize)
    answers = scoring.cloze(model, tokenizer, scoring.load_cloze())
    loss = scoring.text_loss(model, windows[: config.smollm2_windows])
    return {"loss": loss, "accuracy": float(answers["correct"].mean()), "n_items": len(answers)}


def measure_speed(steps: studies.Steps, config: Config) -> dict[str, list[dict[Any, Any]]]:
    """Race products at three sizes, and trained models and models of SmolLM2's shape; time the parts of a token."""
    product: list[dict[Any, Any]] = []
    decoding: list[dict[Any, Any]] = []
    for threads in sorted({1, available_cores()}):
        races.set_threads(threads)
        for n, k in ((576, 1536), (2048, 2048), (4096, 4096)):
            product += (
                races.race(n, k, rounds=25, every_kernel=True)
                .assign(n=n, k=k, batch=1, threads=threads)
                .to_dict("records")
            )
    for batch in (4, 16, 64, 256):
        product += races.race(2048, 2048, batch).assign(n=2048, k=2048, batch=batch, threads=threads).to_dict("records")
    large = races.models()
    for threads in sorted({1, available_cores()}):
        races.set_threads(threads)
        decoding += races.race_models(large, 24).assign(shape="smollm2", threads=threads).to_dict("records")
    parts = races.time_by_part(large["ternary"]).to_dict("records")
    small = trained(steps, config)
    works = {
        "float32": small["float"],
        "bfloat16": copy.deepcopy(small["float"]).bfloat16(),
        "ternary": small["ternary"],
    }
    decoding += races.race_models(works, 96).assign(shape="trained", threads=threads).to_dict("records")
    return {"product": product, "decode": decoding, "parts": parts}


def trained(steps: studies.Steps, config: Config) -> dict[str, GPT]:
    """The largest models of the first seed: the float one, and the ternary one, packed."""
    tokenizer, *_ = texts(config)
    d_model, n_layers = config.sizes[-1]
    found = {}
    for kind, make in MAKE.items():
        found[kind] = make(shape(config, tokenizer.vocab_size, d_model, n_layers)).eval()
        load_model(found[kind], str(weights_file(steps, kind, d_model, config.seeds[0])))
    return found | {"ternary": pack_model(found["ternary"])}


def write(steps: studies.Steps, config: Config, prompt: str = "ROMEO:", n_tokens: int = 110) -> dict[str, str]:
    """What the two models write after a prompt, at temperature 0.7."""
    tokenizer, *_ = texts(config)
    ids = tokenizer.encode(prompt)[None]
    made = trained(steps, config).items()
    return {kind: tokenizer.decode(model.generate(ids, n_tokens, temperature=0.7)[0]) for kind, model in made}


def run(config: Config = Config()) -> dict[str, pd.DataFrame]:
    """Run what is not done yet, and return the tables.

    They are curve, history, smollm2, product, decode, parts, samples, steps, figures.
    """
    races.set_threads(available_cores())
    steps = studies.Steps(CHAPTER, config)
    curve, history = [], []
    plan = [(kind, *size, seed) for seed in config.seeds for size in config.sizes for kind in MAKE]
    for kind, d_model, n_layers, seed in tqdm(plan, desc="training"):
        found = steps.run(f"{kind}_{d_model}_{seed}", partial(train, steps, config, kind, d_model, n_layers, seed))
        model = {"trained": kind, "d_model": d_model, "n_layers": n_layers, "seed": seed}
        curve += [
            model | {"after": after, "parameters": found["parameters"], "loss": x}
            for after, x in found["losses"].items()
        ]
        history += [model | row for row in found["history"]]
    smollm2 = [
        {"after": name} | steps.run(f"smollm2_{name}", partial(score_smollm2, config, name))
        for name in ("none", *AFTER)
    ]
    speeds = steps.run("speed", partial(measure_speed, steps, config))
    samples = steps.run("samples", partial(write, steps, config))
    tables = {name: pd.DataFrame(rows) for name, rows in speeds.items()}
    tables |= {"curve": pd.DataFrame(curve), "history": pd.DataFrame(history), "smollm2": pd.DataFrame(smollm2)}
    tables["samples"] = pd.DataFrame([{"trained": kind, "text": text} for kind, text in samples.items()])
    tables["steps"] = steps.receipts()
    return tables | {"figures": figures(tables)}


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them."""
    return studies.load(CHAPTER, *names)


def load_models() -> tuple[GPT, GPT, CharTokenizer]:
    """The committed pair, trained on the same text: the float model, the packed ternary one, and their tokenizer."""
    config, folder = Config(), studies.folder(CHAPTER)
    tokenizer = CharTokenizer(assets.load_text("shakespeare"))
    model = GPT(shape(config, tokenizer.vocab_size, *config.sizes[-1]))
    load_model(model, str(folder / "float.safetensors"))
    return model.eval(), load_packed_model(folder / "ternary.safetensors"), tokenizer


def main() -> None:
    """Run the study, write its tables and the two models that the chapter shows."""
    config = Config()
    tables = run(config)
    studies.save(CHAPTER, config, tables, tables["steps"])
    models, folder = trained(studies.Steps(CHAPTER, config), config), studies.folder(CHAPTER)
    save_model(models["float"], str(folder / "float.safetensors"))
    save_packed_model(models["ternary"], folder / "ternary.safetensors")
