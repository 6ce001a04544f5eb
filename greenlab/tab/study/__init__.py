"""What the browser's model loses against float32, on the text and the cuts of chapter 6.

``python -m greenlab.tab.study`` runs it (about a minute) and writes data/studies/tab. The model is that of
transformers with two changes, those of docs/tab: its weights are the ones in the shards, and the input of every matrix
is rounded to 16 bits. A test compares the browser's own code with the same model (tests/tab).
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import nn

from greenlab.core import assets, studies
from greenlab.core.machine import available_cores
from greenlab.core.model import scoring
from greenlab.core.model.decoder import keep_layers
from greenlab.tab.files import cuts
from greenlab.tab.quantize import quantize_4bit, quantize_8bit, round_vectors

CHAPTER = "tab"


@dataclass(frozen=True)
class Config:
    """Everything that the tables depend on. The windows are those of chapter 6."""

    removed: tuple[int, ...] = (0, 6, 12)
    evaluation_window: int = 256
    evaluation_windows: int = 6


def browser_model(model: Any) -> Any:
    """Return a copy of SmolLM2 that computes as the browser does: with the weights of the shards, and rounded inputs.

    Args:
        model: of transformers; it is not changed.
    """
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in copied.named_parameters():
            if weight.ndim == 2:
                quantize = quantize_8bit if "embed_tokens" in name else quantize_4bit
                weight.copy_(torch.from_numpy(quantize(weight.numpy()).dequantized()))
    for module in copied.modules():
        if isinstance(module, nn.Linear):
            module.register_forward_pre_hook(_rounded)
    return copied


def _rounded(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
    x = inputs[0]
    return torch.from_numpy(round_vectors(x.flatten(0, -2).numpy())).view_as(x)


def different_weights(model: Any, other: Any) -> dict[str, int]:
    """Count the weights of two models of one shape, and those that are not equal."""
    pairs = list(zip(model.parameters(), other.parameters(), strict=True))
    return {"weights": sum(a.numel() for a, _ in pairs), "different": sum(int((a != b).sum()) for a, b in pairs)}


def losses(model: Any, windows: torch.Tensor, n_removed: int) -> dict[str, Any]:
    """Loss of float32 and of the browser's model after one cut [nats per token]."""
    dropped = next(cut["dropped"] for cut in cuts()["angular"] if cut["n_removed"] == n_removed)
    kept = keep_layers(model, [i for i in range(model.config.num_hidden_layers) if i not in dropped])
    return {
        "n_removed": n_removed,
        "dropped": json.dumps(dropped),
        "loss_float32": scoring.text_loss(kept, windows),
        "loss_browser": scoring.text_loss(browser_model(kept), windows),
    }


def figures(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The numbers that prose quotes."""
    loss, weights = tables["loss"], tables["weights"].iloc[0]
    more = loss["change"].abs().max()
    rows = [
        ("weights", weights["weights"], "weights", "measured", "of the whole model"),
        ("weights-different", weights["different"], "weights", "measured", "shards against float32"),
        ("loss-change", more, "nats/token", "measured", "largest over the cuts, browser against float32"),
    ]
    return pd.DataFrame(rows, columns=list(studies.FIGURES))


def run(config: Config = Config()) -> dict[str, pd.DataFrame]:
    """Run what is not done yet and return the tables: weights, loss, steps and figures."""
    torch.set_num_threads(available_cores())
    model, tokenizer = assets.load_smollm2()
    text = scoring.held_out_text("evaluation")
    windows = scoring.token_windows(tokenizer, text, config.evaluation_window)[: config.evaluation_windows]
    steps = studies.Steps(CHAPTER, config)
    counted = steps.run("weights", lambda: different_weights(model, browser_model(model)))
    rows = [steps.run(f"loss_{n}", partial(losses, model, windows, n)) for n in config.removed]
    loss = pd.DataFrame(rows)
    loss["change"] = loss["loss_browser"] - loss["loss_float32"]  # smaller than the digits that are stored of either
    tables = {"weights": pd.DataFrame([counted]), "loss": loss, "steps": steps.receipts()}
    return tables | {"figures": figures(tables)}


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them."""
    return studies.load(CHAPTER, *names)


def main() -> None:
    """Run the study and write its tables."""
    config = Config()
    tables = run(config)
    studies.save(CHAPTER, config, tables, tables["steps"])
