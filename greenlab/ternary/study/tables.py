"""Chapter 7's tables, worked out further: pure functions from the study's tables to tidy ones, for charts and prose."""

from __future__ import annotations

from typing import Any

import pandas as pd

from greenlab.core.model.gpt import GPTConfig
from greenlab.ternary.estimates import LOG2_3, SCOPES, SHAPES, UNVERIFIED, memory_ratio

BITS = {"none": 32.0, "8bit": 8.0, "4bit": 4.0, "2bit": 2.0, "ternary": LOG2_3}
TRAINED = {"float": "trained in float", "ternary": "trained ternary"}


def by_size(curve: pd.DataFrame) -> pd.DataFrame:
    """Loss of both ways to train at each size: model, d_model, parameters, loss, loss_min, loss_max over seeds."""
    rows = curve[curve["after"] == "none"]
    table = (
        rows.groupby(["trained", "d_model", "n_layers", "parameters"])["loss"].agg(["mean", "min", "max"]).reset_index()
    )
    table = table.rename(columns={"mean": "loss", "min": "loss_min", "max": "loss_max"})
    return table.assign(model=table["trained"].map(TRAINED))


def gaps(curve: pd.DataFrame) -> pd.DataFrame:
    """Loss of a ternary model less that of a float one, same size and seed: d_model, gap, gap_min, gap_max [nats]."""
    rows = curve[curve["after"] == "none"].pivot(index=["d_model", "seed"], columns="trained", values="loss")
    gap = (rows["ternary"] - rows["float"]).groupby("d_model").agg(["mean", "min", "max"]).reset_index()
    return gap.rename(columns={"mean": "gap", "min": "gap_min", "max": "gap_max"})


def by_bits(curve: pd.DataFrame) -> pd.DataFrame:
    """Loss of the largest model against bits a weight: way, bits, loss, loss_min, loss_max.

    The way is "quantized after training" or "trained ternary".
    """
    rows = curve[curve["d_model"] == curve["d_model"].max()].copy()
    rows["bits"] = rows["after"].map(BITS).where(rows["trained"] == "float", LOG2_3)
    rows["way"] = rows["trained"].map({"float": "quantized after training", "ternary": "trained ternary"})
    table = rows.groupby(["way", "bits"])["loss"].agg(["mean", "min", "max"]).reset_index()
    return table.rename(columns={"mean": "loss", "min": "loss_min", "max": "loss_max"})


def stored_mb(config: GPTConfig, bits: float) -> float:
    """Size of the weights [MB]: ``bits`` in the matrices of the blocks, 16 in the rest."""
    shape = config.shape
    matrices = shape.n_layers * (shape.attention_weights + shape.feed_forward_weights)
    return (matrices * bits / 8 + shape.vocab_size * shape.d_model * 2) / 1e6


def by_memory(curve: pd.DataFrame, vocab_size: int = 83) -> pd.DataFrame:
    """Loss against stored size: float in 16 bits, ternary in 2: model, d_model, mb, loss."""
    table = by_size(curve)
    config = [
        GPTConfig(vocab_size, 128, n, d, n_heads=4, d_ff=2 * d)
        for n, d in zip(table["n_layers"], table["d_model"], strict=True)
    ]
    bits = table["trained"].map({"float": 16, "ternary": 2})
    return table.assign(
        mb=[stored_mb(c, b) for c, b in zip(config, bits, strict=True)], label=table["d_model"].astype(str)
    )


def paper_memory(printed: dict[str, float]) -> pd.DataFrame:
    """The paper's memory ratios beside the formula's.

    The formula is used with every linear layer ternary, and with the feed-forward ones only.
    """
    rows = [{"size": size, "series": "printed in the paper", "ratio": ratio} for size, ratio in printed.items()]
    words = {"all": "formula, every linear layer", "feed_forward": "formula, feed-forward only"}
    rows += [
        {"size": size, "series": words[scope], "ratio": memory_ratio(shape, scope=scope)}
        for scope in SCOPES
        for size, shape in SHAPES.items()
    ]
    return pd.DataFrame(rows).assign(surely=lambda t: ~t["size"].isin(UNVERIFIED))


def figures(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The numbers that the chapter's prose quotes: name, value, unit, basis, note."""
    rows: list[tuple[str, float, str, str, str]] = []
    curve, steps = tables["curve"], tables["steps"]
    float_loss = by_size(curve).query("trained == 'float'").set_index("d_model")["loss"]
    for r in _rows(by_size(curve)):
        rows.append(
            (f"loss-{r['trained']}-{r['d_model']}", r["loss"], "nats/token", "measured", "held out, mean of seeds")
        )
    for r in _rows(gaps(curve)):
        d = r["d_model"]
        rows.append((f"gap-{d}", r["gap"], "nats/token", "measured", "ternary minus float, mean of seeds"))
        rows.append((f"gap-share-{d}", 100 * r["gap"] / float_loss[d], "%", "measured", "of the float loss"))
    largest = curve[(curve["d_model"] == curve["d_model"].max()) & (curve["trained"] == "float")]
    for after, loss in largest.groupby("after")["loss"].mean().items():
        rows.append((f"after-{after}", loss, "nats/token", "measured", "largest model, quantized after training"))
    for r in _rows(tables["smollm2"]):
        rows.append((f"smollm2-loss-{r['after']}", r["loss"], "nats/token", "measured", "SmolLM2, evaluation text"))
        note = f"SmolLM2, cloze, {r['n_items']} items"
        rows.append((f"smollm2-accuracy-{r['after']}", 100 * r["accuracy"], "%", "measured", note))
    for r in _rows(tables["decode"]):
        name, threads = (
            f"{r['shape']}-{r['model'].replace(', head in ', '-')}-{r['threads']}",
            f"{r['threads']} threads",
        )
        rows.append((f"tokens-{name}", r["tokens_per_s"], "tokens/s", "measured", threads))
        rows.append((f"faster-{name}", r["faster"], "x", "measured", f"than float32, {threads}"))
        rows.append((f"energy-{name}", r["j_per_token"], "J", r["basis"], "a token"))
        rows.append((f"weights-{name}", r["weights_mb"], "MB", "measured", "weights in memory"))
    at_4096 = tables["product"].query("n == 4096 and batch == 1 and not work.str.contains('1.6')")
    ours = at_4096[at_4096["work"].str.startswith("ternary")].sort_values("faster")
    for r in _rows(ours.groupby("threads").last().reset_index()):
        note = f"4096 x 4096, {r['work']}, {r['threads']} threads"
        rows.append((f"product-{r['threads']}", r["faster"], "x", "measured", note))
    for r in _rows(tables["parts"]):
        name, note = f"part-{r['part'].replace(' ', '-')}", "of a token's time, ternary, SmolLM2's shape"
        rows.append((name, 100 * r["share"], "%", "measured", note))
    rows.append(("cpu-minutes", steps["cpu_s"].sum() / 60, "min", "measured", "the whole study"))
    rows.append(("energy", steps["energy_j"].sum() / 1e3, "kJ", steps["basis"].iloc[0], "the whole study"))
    return pd.DataFrame(rows, columns=["name", "value", "unit", "basis", "note"])


def _rows(table: pd.DataFrame) -> list[dict[Any, Any]]:
    return table.to_dict("records")
