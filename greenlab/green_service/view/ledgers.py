"""The ledger's entries as the committed studies give them, for chapters that the reader has not run.

Each is computed as its chapter's last cell computes it. Chapter 2 measures its saving on the reader's processor: its
entry here is the same lever in the accelerator's study, SmolLM2 on an H100. Chapters 3 and 4 book no saving of energy,
and their rows are kept, since a technique that saves nothing for sure is a result. Chapters 3, 6 and 7 change what the
weights take in memory and book that as well; chapter 3's experts take more of it.
"""

from __future__ import annotations

from typing import Any

from greenlab.core import facts, studies
from greenlab.core.model import cost
from greenlab.distillation.study import tables as distillation
from greenlab.green_service.models import MODELS
from greenlab.lab.ledger import Entry
from greenlab.load_shifting.study import tables as shifting
from greenlab.mixture_of_depths.study import tables as depths
from greenlab.mixture_of_experts.study import tables as experts
from greenlab.retrieval.study import tables as retrieval
from greenlab.ternary.study import tables as ternary_tables

KWH = 240  # of chapter 9's job: 24 h at 10 kW
TOLERANCE = 0.02  # of quality, as `ledger.record` has it


def _entry(
    chapter: str, technique: str, quantity: str, baseline: float, saved: float, kept: float, basis: str
) -> Entry:
    """An entry whose saving counts only if at least 98 % of the quality is kept; above 1 it rose."""
    reason = "" if 1 - kept <= TOLERANCE else f"quality fell by {100 * (1 - kept):.1f} % and 2.0 % is allowed"
    counted = 0.0 if reason else saved
    return Entry(chapter, technique, quantity, baseline, counted, saved, 1.0, kept, basis, "committed study", reason)


def defaults() -> list[Entry]:
    """Each chapter's entries, in the order of the book."""
    steps = studies.load("accelerator", "summary")["summary"]
    tokens = steps.query("section == 'decode' and what == 'SmolLM2-135M'").set_index("batch")["j_per_unit"]
    mixtures = experts.by_model(studies.load("mixture_of_experts", "models")["models"]).set_index("model")
    dense: Any = mixtures.loc[experts.LONGER]
    ours: Any = mixtures.loc["32 experts, top-2"]
    taught = distillation.equal_loss(studies.load("distillation", "models")["models"])
    average, best = facts.value("pue-average"), facts.value("pue-best")
    mod = studies.load("mixture_of_depths", "models", "prefill")
    saved, _, _ = depths.joules_at_equal_loss(mod["models"], mod["prefill"])
    pruned = studies.load("layer_pruning", "figures")["figures"].set_index("name")["value"]
    ternary = studies.load("ternary", "figures")["figures"].set_index("name")["value"]
    prefix = studies.load("retrieval", "prefix")["prefix"]
    once = retrieval.prefix_figures(prefix)
    anew = retrieval.joules(prefix.loc[~prefix["reused"], "cpu_s"].mean())["energy_j"]
    gate = shifting.quality_gate(studies.load("load_shifting")).set_index("case")
    temporal = studies.load("load_shifting", "temporal")["temporal"]
    g_per_kwh = float(temporal.query("zone == 'DE' and year == 2019")["g_per_kwh"].iloc[0])
    whole, packed = (float(ternary[f"energy-smollm2-{name}-2"]) for name in ("float32", "ternary"))
    reading = float(mod["prefill"].query("model == 'dense'")["energy_j"].max())
    curve = ternary_tables.by_memory(studies.load("ternary", "curve")["curve"]).set_index(["trained", "d_model"])
    small: Any = curve.loc["float", 64]
    wide: Any = curve.loc["ternary", 128]
    smollm2 = MODELS["SmolLM2-135M"].shape
    safe = int(pruned["safe-cut"])
    layer = 1 - 1 / float(cost.predicted_speedup(smollm2, safe, phase="decode", n_tokens=48))
    all_layers, fewer = (cost.weight_bytes(smollm2.replace(n_layers=30 - n), 16) for n in (0, safe))
    answers = float(pruned[f"accuracy-{safe}"] / pruned["accuracy-0"])
    return [
        _entry("footprint", "from an average building to the best fleet", "energy",
               3600 * facts.value("gemini-tpu-energy") * average, 1 - best / average, 1.0, "cited"),
        _entry("hardware", "a batch of 8 instead of 1", "energy", float(tokens[1]), 1 - float(tokens[8] / tokens[1]),
               1.0, "measured"),
        _entry("mixture_of_experts", "32 experts, 2 a token, instead of a small dense part trained longer", "energy",
               float(dense["energy_j"]), 0.0, float(dense["loss"] / ours["loss"]), str(ours["basis"])),
        _entry("mixture_of_experts", "32 experts in memory instead of one feed-forward part", "memory",
               4 * float(dense["total_parameters"]), 1 - float(ours["total_parameters"] / dense["total_parameters"]),
               float(dense["loss"] / ours["loss"]), "modelled"),
        _entry("distillation", "a half-size student taught at T = 1", "energy", taught.alone_j,
               max(0.0, taught.saved_least), 1.0, "modelled"),
        _entry("mixture_of_depths", "12.5 % of the tokens in every second block", "energy", reading, saved, 1.0,
               "modelled"),
        _entry("layer_pruning", f"{safe} of 30 layers dropped", "energy", whole, layer, answers, "modelled"),
        _entry("layer_pruning", f"{safe} of 30 layers dropped", "memory", all_layers, 1 - fewer / all_layers, answers,
               "modelled"),
        _entry("ternary", "every linear layer ternary", "energy", whole, 1 - packed / whole,
               float(ternary["loss-float-128"] / ternary["loss-ternary-128"]), "modelled"),
        _entry("ternary", "ternary at width 128 instead of float at width 64", "memory", 1e6 * float(small["mb"]),
               1 - float(wide["mb"] / small["mb"]), float(small["loss"] / wide["loss"]), "modelled"),
        _entry("retrieval", "the instructions of a prompt read once", "energy", anew, once["saved"], once["same"],
               "modelled"),
        _entry("load_shifting", "a day of slack, pauses, forecast with errors", "carbon", KWH * g_per_kwh,
               float(gate["DE"]["errors of 20 % with memory"]) / 100, 1.0, "modelled"),
    ]  # fmt: skip
