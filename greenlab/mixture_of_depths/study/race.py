"""The race of chapter 5's reader: two models read one prompt in turn, on one thread, by the processor's own clock.

The clock on the wall also counts what other programs take; on a busy machine that can turn the result round.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import pandas as pd
import torch

from greenlab.core import checks
from greenlab.core.model.gpt import GPT
from greenlab.mixture_of_depths.study.speed import prompt


@torch.no_grad()
def by_processor_time(models: Mapping[str, GPT], n_tokens: int, rounds: int = 9) -> pd.DataFrame:
    """Let models read the same prompt in turn, on one thread.

    Args:
        models: by name, the dense one first.
        n_tokens: length of the prompt.
        rounds: how often each reads it, after one reading that does not count; the best round counts.

    Returns:
        One row a model: model, n_tokens, cpu_s (processor time), faster (than the first).

    Raises:
        TypeError: if a number is no whole number.
        ValueError: if ``models`` is empty, ``rounds`` is below 1 or the prompt is too long for the first model.
    """
    if not models:
        raise ValueError("models is empty: give at least one model by name")
    rounds = checks.integer("rounds", rounds, low=1, high=10_000)
    ids = prompt(next(iter(models.values())).config, n_tokens)
    best = dict.fromkeys(models, float("inf"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for i in range(-1, rounds):
            for name, model in models.items():
                start_s = time.process_time()
                model(ids, head="last")
                cpu_s = time.process_time() - start_s
                if i >= 0:
                    best[name] = min(best[name], cpu_s)
    finally:
        torch.set_num_threads(threads)
    table = pd.DataFrame({"model": list(best), "n_tokens": n_tokens, "cpu_s": list(best.values())})
    return table.assign(faster=table["cpu_s"].iloc[0] / table["cpu_s"])
