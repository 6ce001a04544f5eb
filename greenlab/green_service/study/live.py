"""Levers measured alone and together on this machine, in SmolLM2's shape.

The time of a pass depends on the shape of a model and not on the values of its weights, so the weights are random:
time and joules are real, the text is noise. Quality belongs to trained weights; chapters 6 to 8 measured it.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import nn

from greenlab.core import checks, grid, speed
from greenlab.core.energy.meter import Receipt, measure_call
from greenlab.core.machine import release_memory
from greenlab.core.model.gpt import GPT, GPTConfig
from greenlab.green_service import MODELS, Variant, combine
from greenlab.ternary import BitBlock, PackedLinear, random_packed
from greenlab.ternary.study import races

SHAPE = MODELS["SmolLM2-135M"].shape
BEFORE = Variant(n_layers=30, prompt_tokens=32, output_tokens=12)
AFTER = Variant(n_layers=24, prompt_tokens=96, output_tokens=12, layer_bits=2)
LEVERS = {"fewer layers": ("n_layers",), "fewer bits": ("layer_bits",), "retrieval": ("prompt_tokens",)}
HOURS_OF_SLACK = 24


@dataclass(frozen=True)
class Combined:
    """What was measured, and what was predicted from counts.

    Attributes:
        table: a row a lever, then "product" and "together": what, left_pct (of the time before, measured) and
            predicted_pct.
        before, after: receipts of one answer.
        spread: longest over shortest round of the unchanged model.
    """

    table: pd.DataFrame
    before: Receipt
    after: Receipt
    spread: float

    @property
    def overlap(self) -> float:
        """What is left together over the product of what each lever leaves alone, measured."""
        left = self.table.set_index("what")["left_pct"]
        return float(left["together"] / left["product"])


def _packed_copies() -> Callable[..., PackedLinear]:
    """A maker of packed layers: each shape is packed once and copied, as packing takes longer than the race."""
    made: dict[tuple[int, int], PackedLinear] = {}

    def linear(in_features: int, out_features: int, bias: bool = False) -> PackedLinear:
        size = (in_features, out_features)
        if size not in made:
            made[size] = random_packed(in_features, out_features, bias)
        return copy.deepcopy(made[size])  # a layer of its own: a shared one would stay in the processor's cache

    return linear


def _models(config: GPTConfig) -> dict[tuple[int, float], GPT]:
    """Whole and cut, float and ternary; the cut ones share the layers of the whole ones."""
    whole = GPT(config).eval()
    ternary = GPT(dataclasses.replace(config, vocab_size=1), linear=_packed_copies(), block=BitBlock).eval()
    ternary.config, ternary.embedding, ternary.head = config, whole.embedding, whole.head
    made = {(BEFORE.n_layers, 32.0): whole, (BEFORE.n_layers, 2.0): ternary}
    for (_, bits), model in list(made.items()):
        cut = copy.copy(model)
        cut._modules = dict(model._modules)
        cut.config = dataclasses.replace(config, n_layers=AFTER.n_layers)
        cut.blocks = nn.ModuleList(list(model.blocks)[: AFTER.n_layers])
        made[AFTER.n_layers, bits] = cut
    return made


def _call(models: dict[tuple[int, float], GPT], variant: Variant, n_tokens: int) -> Callable[[], object]:
    model = models[variant.n_layers, variant.layer_bits]
    generator = torch.Generator().manual_seed(1)
    prompt = torch.randint(0, model.config.vocab_size, (1, variant.prompt_tokens), generator=generator)
    return partial(model.generate, prompt, n_tokens, temperature=0)


@torch.no_grad()
def measure_together(rounds: int = 3, config: GPTConfig = races.SMOLLM2) -> Combined:
    """Time an answer with each lever alone and with all of them, in turn, and predict both from counts.

    Args:
        rounds: how often each answer is written; the shortest time counts.
        config: the sizes of the model.

    Raises:
        TypeError: if ``rounds`` is no integer, or ``config`` no `GPTConfig`.
        ValueError: if ``rounds`` is below 1, or the model has fewer layers than are kept.
    """
    rounds = checks.integer("rounds", rounds, low=1, high=100)
    checks.instance("config", config, GPTConfig)
    if config.n_layers != BEFORE.n_layers:
        raise ValueError(f"config has n_layers={config.n_layers}: give {BEFORE.n_layers}, as SmolLM2 has")
    models = _models(config)
    variants = {"before": BEFORE, "together": AFTER}
    for lever, fields in LEVERS.items():
        variants[lever] = dataclasses.replace(BEFORE, **{name: getattr(AFTER, name) for name in fields})
    calls = {name: _call(models, variant, variant.output_tokens) for name, variant in variants.items()}
    calls["reading"] = _call(models, BEFORE, 1)
    times = speed.interleave(calls, rounds=rounds)
    best = times.groupby("work")["time_s"].min()
    own = times[times["work"] == "before"]["time_s"]
    receipts = [measure_call(calls[name], name, min_time_s=0.5, warmup=0)[1] for name in ("before", "together")]
    del calls, models
    release_memory()
    reading_s = float(best["reading"])
    writing_s = max(float(best["before"]) - reading_s, 1e-9)
    table = _table(best, reading_s, writing_s)
    return Combined(table, receipts[0], receipts[1], float(own.max() / own.min()))


def _table(best: pd.Series, reading_s: float, writing_s: float) -> pd.DataFrame:
    said = combine(SHAPE, BEFORE, AFTER, reading_s=reading_s, writing_s=writing_s).set_index("what")["left"]
    left = {lever: float(best[lever] / best["before"]) for lever in LEVERS}
    product = 1.0
    for share in left.values():
        product *= share
    left |= {"product": product, "together": float(best["together"] / best["before"])}
    rows: list[dict[str, Any]] = [
        {"what": what, "left_pct": 100 * share, "predicted_pct": 100 * float(said[what])}
        for what, share in left.items()
    ]
    return pd.DataFrame(rows)


def best_hour_saving(zone: str = "DE", year: int = 2019) -> float:
    """Share of its carbon that an hour's work saves which may wait for the cleanest of the next 24 hours, all known.

    The mean over every hour of the year: grams at the best hour over grams at once.

    Args:
        zone: a zone with hours, such as "DE".
        year: of the hours.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there are no hours of the zone and year.
    """
    hours = grid.load(zone, year)["intensity_g_per_kwh"]
    best = hours[::-1].rolling(HOURS_OF_SLACK + 1).min()[::-1].dropna()
    return float(1 - best.sum() / hours.loc[best.index].sum())


__all__ = ["AFTER", "BEFORE", "Combined", "best_hour_saving", "measure_together"]
