"""Layer pruning: the real SmolLM2-135M against itself with fewer layers, in turn, beside what the costs predict."""

import pandas as pd
import torch

from greenlab import layer_pruning
from greenlab.core import assets, speed
from greenlab.core.machine import available_cores
from greenlab.core.model import cost, scoring

REMOVED = (6, 12)
MARK = 0.10  # measured within this share of predicted


def run(rounds: int = 9) -> pd.DataFrame:
    """Return one row per phase and layers removed: tokens/s, measured and predicted speed-up, their difference."""
    torch.set_num_threads(available_cores())
    model, tokenizer = assets.load_smollm2()
    shape = cost.TransformerShape.from_config(model.config)
    ids = scoring.token_windows(tokenizer, scoring.held_out_text(), 256)
    models = {"0": model} | {str(n): layer_pruning.drop_layers(model, 12, n) for n in REMOVED}
    rows = []
    for phase, tokens, context, work in (
        ("prefill", 1024, 256, lambda m: speed.run_prefill(m, ids[:4])),
        ("decode", 48, 48, lambda m: speed.run_decode(m, ids[:1, :24], 48)),
    ):
        times = speed.interleave({n: lambda m=m, work=work: work(m) for n, m in models.items()}, rounds=rounds)
        measured, median = speed.ratios(times, "0"), times.groupby("work")["time_s"].median()
        for n in models:
            predicted = cost.predicted_speedup(shape, int(n), phase=phase, n_tokens=context)
            off = measured[n] / predicted - 1
            rows.append(
                {
                    "phase": phase, "layers_removed": int(n), "tokens_per_s": tokens / median[n],
                    "speedup": measured[n],
                    "predicted": predicted, "off": off, "within_mark": abs(off) <= MARK,
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


if __name__ == "__main__":
    print(run().to_string(index=False))
