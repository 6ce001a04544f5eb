"""Which tokens enter the skipping layers of a trained model: by kind, and by how surprising the next token is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from greenlab.core.model.gpt import GPT
from greenlab.core.model.training import CharTokenizer
from greenlab.mixture_of_depths import selection
from greenlab.mixture_of_depths.study.text import KINDS, kinds

N_BINS = 10  # of the surprise, each with as many tokens


def by_kind(model: GPT, tokenizer: CharTokenizer, windows: Tensor) -> pd.DataFrame:
    """Count which kinds of token are among the top-k.

    Args:
        model: with layers that skip.
        tokenizer: of the model.
        windows: token ids ``(B, S)``.

    Returns:
        One row per layer and kind, in the order of `KINDS`: layer, kind, tokens (of this kind) and share (of them that
        enter).
    """
    words = np.concatenate([kinds(tokenizer.decode(window)) for window in windows])
    table = selection(model, windows)
    rows = []
    for layer, part in table.groupby("layer", sort=True):
        for kind in KINDS:
            found = part["selected"].to_numpy()[words == kind]
            share = float(found.mean()) if len(found) else float("nan")
            rows.append({"layer": layer, "kind": kind, "tokens": len(found), "share": share})
    return pd.DataFrame(rows)


@torch.no_grad()
def by_surprise(model: GPT, windows: Tensor) -> pd.DataFrame:
    """Sort tokens by the model's loss at the one that follows, and count how many of each tenth are among the top-k.

    Args:
        model: with layers that skip.
        windows: token ids ``(B, S)``; the last token of each has no successor and is left out.

    Returns:
        One row per layer and tenth: layer, tenth (0 is the least surprising), loss (its mean) [nats] and share (of its
        tokens that enter).
    """
    logits = model(windows)[:, :-1]
    loss = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten(), reduction="none").numpy()
    tenth = np.argsort(np.argsort(loss, kind="stable"), kind="stable") * N_BINS // len(loss)
    table = selection(model, windows)
    table = table[table["position"] < windows.shape[1] - 1]
    rows = []
    for layer, part in table.groupby("layer", sort=True):
        selected = part["selected"].to_numpy()
        for number in range(N_BINS):
            inside = tenth == number
            share, mean = float(selected[inside].mean()), float(loss[inside].mean())
            rows.append({"layer": layer, "tenth": number, "loss": mean, "share": share})
    return pd.DataFrame(rows)
