"""A call that works for every public function whose docstring shows none, with objects of a few hundred numbers.

Every entry gives the arguments of one call; the first is the object where the function is a method. They are functions
so that each call gets objects of its own: a call may change them.
"""

from __future__ import annotations

import json
import os
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import altair as alt
import nbformat
import numpy as np
import pandas as pd
import torch

from greenlab import (
    distillation,
    green_service,
    hardware,
    layer_pruning,
    load_shifting,
    mixture_of_depths,
    mixture_of_experts,
    retrieval,
    ternary,
)
from greenlab.accelerator import Bench
from greenlab.core import checks, studies
from greenlab.core.energy import Component, Receipt
from greenlab.core.grid.traces import Traces
from greenlab.core.model import gpt, training
from greenlab.core.model.cost import TransformerShape
from greenlab.lab import charts, classroom, exercises
from greenlab.tab.files import KERNEL
from greenlab.workshop import Option
from tests.retrieval import tiny

Call = tuple[tuple[Any, ...], dict[str, Any]]


def a(*args: Any, **kwargs: Any) -> Call:
    """The arguments of a call, as they would be written in it."""
    return args, kwargs


CONFIG = gpt.GPTConfig(vocab_size=12, context_length=16, n_layers=3, d_model=8, n_heads=2, d_ff=16)
TEXT = "abcdefghijkl"
SERVICE = green_service.DEFAULT
GREENER = SERVICE.replace(batch=64, bits=8)
PARTS = green_service.Parts(4.0, 2.0, 1.0, 0.5)


def model() -> gpt.GPT:
    return gpt.GPT(CONFIG, seed=1)


def skipping() -> gpt.GPT:
    return gpt.GPT(CONFIG, block=mixture_of_depths.mod_blocks(0.5))


def experts() -> gpt.GPT:
    """A model with four experts in each layer."""
    return gpt.GPT(CONFIG, feed_forward=partial(mixture_of_experts.MoE, n_experts=4))


def trained_experts() -> gpt.GPT:
    """The same after one batch in training mode."""
    model = experts().train()
    model(ids())
    return model


def llama() -> Any:
    """A decoder of transformers, which layer pruning cuts."""
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=12,
                hidden_size=8,
                intermediate_size=16,
                num_hidden_layers=3,
                num_attention_heads=2,
                num_key_value_heads=2,
                max_position_embeddings=32,
            )
        ).eval()


def ids(rows: int = 2, tokens: int = 6) -> torch.Tensor:
    return torch.arange(rows * tokens).reshape(rows, tokens) % CONFIG.vocab_size


def shape() -> TransformerShape:
    return TransformerShape(2, 8, 2, 2, 4, 16, 12)


def receipt() -> Receipt:
    return Receipt.from_energy("training", 10.0, 8.0, 12.0, basis="measured", source="a counter")


def component() -> Component:
    return Component("cpu", "measured", 1.0, 0.5, 2.0, "a counter")


def traces() -> Traces:
    hours = np.arange(48, dtype=float).reshape(2, 24) + 100
    return Traces(("DE", "FR"), pd.Timestamp("2025-01-01", tz="UTC"), 1.0, hours)


def jobs() -> load_shifting.Jobs:
    return load_shifting.Jobs([0, 2], 1, slack_h=6)


def priced() -> Traces:
    """Traces with all that a signal or a front may be drawn from."""
    hours = np.arange(48, dtype=float).reshape(2, 24)
    times = pd.Timestamp("2025-01-01", tz="UTC")
    extra = {"marginal_g_per_kwh": hours + 200, "curtailed_share": hours / 100, "price_per_kwh": hours / 50}
    return Traces(("DE", "FR"), times, 1.0, hours + 100, **extra)


def schedule() -> load_shifting.Schedule:
    return load_shifting.simulate(jobs(), traces(), "best_start")


def bench() -> Bench:
    return Bench(torch.device("cpu"), seconds=0.001, repeats=1, counters=(), component="cpu")


def packed() -> ternary.PackedTernary:
    return ternary.pack(torch.tensor([[1.0, 0, -1, 1], [0, 0, 1, -1]]), 0.5)


def bit_linear() -> ternary.BitLinear:
    return ternary.BitLinear(8, 4)


def corpus() -> retrieval.Corpus:
    return retrieval.Corpus.from_texts({"tea": "Boil the water. Wait.", "coal": "Coal is dirty."})


def index() -> retrieval.BM25Index:
    return retrieval.BM25Index(corpus())


def static_table() -> retrieval.StaticTable:
    _, tokenizer = tiny.encoder()
    return retrieval.StaticTable(np.ones((len(tokenizer), 4)), tokenizer, "made by hand")


def ladder() -> retrieval.Ladder:
    shared = index()
    return retrieval.Ladder(shared, retrieval.Fusion([shared, shared]))


def device() -> hardware.Device:
    return next(iter(hardware.devices().values()))


class Tokenizer:
    """Of transformers' kind, a token a letter: what the scoring functions call."""

    vocab_size = CONFIG.vocab_size
    pad_token_id = 0

    def __call__(self, text: Any, **_: Any) -> Any:
        rows = [text] if isinstance(text, str) else list(text)
        found = [[ord(letter) % CONFIG.vocab_size for letter in row] for row in rows]
        return types.SimpleNamespace(input_ids=found[0] if isinstance(text, str) else found)


ITEMS = pd.DataFrame(
    [("1", "x", "ab", "c", "d", "e", "f")],
    columns=["id", "category", "prompt", "answer", "wrong_1", "wrong_2", "wrong_3"],
)
FRAME = pd.DataFrame({"x": [0, 1, 2, 0, 1, 2], "y": [1.0, 2, 3, 1, 3, 5], "m": list("aaabbb")})
BARS = pd.DataFrame({"n": ["dense", "moe"], "e": [10.0, 6.0], "low": [8.0, 5.0], "high": [12.0, 9.0]})
ENERGY = pd.DataFrame(
    [("a", "cpu", "measured", 3.0), ("b", "cpu", "measured", 2.0)], columns=["run", "component", "basis", "energy_j"]
)
CELLS = pd.DataFrame([(i, j, float(i * j)) for i in range(4) for j in range(3)], columns=["i", "j", "v"])
ROOF = pd.DataFrame({"roof": ["cpu"] * 3, "intensity": [0.1, 10.0, 100.0], "flops_per_s": [1e9, 1e11, 1e11]})
WORKS = pd.DataFrame({"work": ["a", "b"], "kind": ["k", "l"], "intensity": [0.5, 8.0], "flops_per_s": [4e9, 5e10]})
WORDS = {"title": "It rises", "description": "A rising line"}
XY = {"x_title": "Layers removed", "y_title": "Loss [nats]"}


def times() -> pd.DataFrame:
    return pd.DataFrame({"work": ["a", "b", "a", "b"], "round": [0, 0, 1, 1], "time_s": [1.0, 2.0, 1.0, 2.0]})


def exercise() -> exercises.Exercise:
    def double(x: float) -> float:
        return 2 * x

    return exercises.Exercise("walked", "Doubling", double, "easy", 1, (), lambda answer: None)


def study() -> studies.Steps:
    return studies.Steps("walked", CONFIG)


def finished_study() -> Call:
    steps = study()
    steps.run("one", int)
    figures = pd.DataFrame({"name": ["a"], "value": [1.0], "unit": "J", "basis": "measured", "note": ""})
    return a("walked", CONFIG, {"figures": figures}, steps.receipts())


def saved() -> str:
    """The name of a study that has been saved."""
    args, kwargs = finished_study()
    studies.save(*args, **kwargs)
    return "walked"


def registered() -> str:
    """The id of an exercise."""
    register = exercises.exercise("walked", reference=1, difficulty="easy", minutes=1)

    @register
    def _(answer: Any) -> None:
        """One."""

    return "walked"


def predicted() -> str:
    from greenlab.lab import predict

    predict("walked", "How much?", low=0, high=10)
    return "walked"


def ledger_record() -> Call:
    return a(
        "ternary",
        "ternary weights",
        baseline_j=10.0,
        saved_fraction=0.5,
        quality_before=0.9,
        quality_after=0.9,
        basis="measured",
    )


def answers() -> tuple[Option, ...]:
    return (Option("six", True, "Right."), Option("eight", False, "It falls."))


def handed_in() -> classroom.Submission:
    entry = {"question": "how many", "unit": "J", "prediction": 9.0, "truth": 10.0, "tolerance": 1.0}
    saving = {"x": {"quantity": "energy", "chapter": "ternary", "baseline": 2.0, "basis": "measured"}}
    return classroom.Submission("Ada", (classroom.Answer("a", "x", "x = 4.0"),), {"p": entry}, saving)


def task() -> exercises.Exercise:
    return exercises.Exercise("a", "title", 4.0, "easy", 1, (), lambda answer: None)


def files(folder: Path) -> dict[str, Path]:
    """Files that the functions below read."""
    ternary.save_packed({"w": packed()}, folder / "packed.safetensors")
    ternary.save_model(ternary.pack_model(ternary.bit_gpt(CONFIG)), folder / "model.safetensors")
    (folder / "class").mkdir()
    (folder / "class" / "ada.zip").write_bytes(classroom.to_bytes(handed_in()))
    cell = {"cell_type": "code", "metadata": {"tags": ["exercise"]}, "source": 'x = 4.0\nx = check("a", x)'}
    (folder / "class" / "own.ipynb").write_text(json.dumps({"cells": [cell]}))
    card = green_service.save_card(green_service.make_card(SERVICE), folder / "card.json")
    return {
        "packed": folder / "packed.safetensors",
        "model": folder / "model.safetensors",
        "folder": folder,
        "class": folder / "class",
        "card": card,
    }


CALLS: dict[str, Callable[[dict[str, Path]], Call]] = {
    "green_service.Assumption": lambda _: a("pue", "of a building", 1.2, 1.1, 1.3, "ratio", "cited", "pue-average"),
    "green_service.Assumptions": lambda _: a(green_service.assumptions(SERVICE).items),
    "green_service.Card": lambda _: a("a service", SERVICE, green_service.assumptions(SERVICE)),
    "green_service.Effect": lambda _: a("fewer bits", 0.99, "measured", "a study", "on a small model"),
    "green_service.Model": lambda _: a("tiny", "dense", CONFIG.shape, False, "", "", ""),
    "green_service.Service.replace": lambda _: a(SERVICE, batch=2),
    "green_service.bands": lambda _: a(SERVICE, n=100, seed=1),
    "green_service.break_even": lambda _: a(SERVICE, GREENER),
    "green_service.Variant": lambda _: a(20, 10, 5, 2.0, 16.0),
    "green_service.combine": lambda _: a(
        CONFIG.shape, green_service.Variant(3), green_service.Variant(2), reading_s=1.0, writing_s=2.0
    ),
    "green_service.Kernel": lambda _: a(0.25, 0.5),
    "green_service.Parts": lambda _: a(4.0, 2.0, 1.0, 0.5),
    "green_service.Profile": lambda _: a(PARTS, PARTS, 16),
    "green_service.combine_parts": lambda _: a(
        green_service.Profile(PARTS, PARTS, 16), green_service.Variant(3), green_service.Variant(2)
    ),
    "green_service.choices": lambda _: a(green_service.make_card(SERVICE), green_service.make_card(GREENER)),
    "green_service.decode_card": lambda _: a(green_service.make_card(SERVICE).to_json().encode()),
    "green_service.lever_by_lever": lambda _: a(green_service.make_card(SERVICE), green_service.make_card(GREENER)),
    "green_service.shares": lambda _: a(SERVICE, GREENER, n=100),
    "green_service.typed": lambda _: a({"pue": "1.2", "host_power_w": "200 150 300"}),
    "green_service.differences": lambda _: a(green_service.make_card(SERVICE), green_service.make_card(GREENER)),
    "green_service.draws": lambda _: a(green_service.assumptions(SERVICE)["pue"], 10, 1),
    "green_service.load_card": lambda made: a(made["card"]),
    "green_service.overlaps": lambda _: a(green_service.waterfall(SERVICE, GREENER, n=100)),
    "green_service.parts": lambda _: a(SERVICE, n=100, seed=1),
    "green_service.pays_back": lambda _: a(SERVICE, GREENER, days=10.0),
    "green_service.quality_table": lambda _: a(GREENER),
    "green_service.read_card": lambda _: a(green_service.make_card(SERVICE).to_json()),
    "green_service.refusals": lambda _: a(SERVICE, 1),
    "green_service.save_card": lambda made: a(green_service.make_card(SERVICE), made["folder"] / "another.json"),
    "green_service.sensitivity": lambda _: a(SERVICE),
    "green_service.waterfall": lambda _: a(SERVICE, GREENER, n=100, seed=1),
    "classroom.Memory": lambda _: a(5, 4, 3, 2, 9),
    "classroom.code_cells": lambda _: a(),
    "classroom.memory_of": lambda _: a(os.getpid()),
    "classroom.own_of": lambda _: a(os.getpid()),
    "classroom.run_class": lambda _: a(1, ["pass"]),
    "workshop.Option": lambda _: a("six layers", True, "Right."),
    "workshop.Question": lambda _: a("cut", "How many?", answers()),
    "workshop.questions": lambda _: a("layer_pruning"),
    "tab.assemble": lambda _: a(KERNEL),
    "tab.build": lambda made: a(made["folder"] / "tab", weights=False),
    "workshop.stripped": lambda _: a(nbformat.v4.new_notebook()),
    "workshop.write_student": lambda made: a(made["folder"] / "student"),
    "lab.classroom.Answer": lambda _: a("a", "x", "x = 4.0"),
    "lab.classroom.Limits": lambda _: a(),
    "lab.classroom.Submission": lambda _: a(**vars(handed_in())),
    "lab.classroom.answers_chart": lambda _: a(
        pd.DataFrame({"exercise": ["a"], "tried": [2], "correct": [1], "share_pct": [50.0]})
    ),
    "lab.classroom.calibration": lambda _: a([handed_in()]),
    "lab.classroom.calibration_chart": lambda _: a(classroom.calibration([handed_in()])),
    "lab.classroom.collect": lambda made: a("Ada", made["class"]),
    "lab.classroom.energies": lambda _: a([handed_in()]),
    "lab.classroom.energy_chart": lambda _: a(classroom.energies([handed_in()]), "ternary: baseline"),
    "lab.classroom.from_bytes": lambda _: a(classroom.to_bytes(handed_in())),
    "lab.classroom.from_notebooks": lambda made: a(made["class"]),
    "lab.classroom.grade": lambda _: a(handed_in(), {"a": task()}),
    "lab.classroom.grade_folder": lambda made: a(made["class"], tasks={"a": task()}, stubs={}),
    "lab.classroom.read": lambda made: a(made["class"] / "ada.zip"),
    "lab.classroom.read_folder": lambda made: a(made["class"]),
    "lab.classroom.shares_right": lambda _: a(pd.DataFrame({"exercise": ["a"], "outcome": ["correct"]})),
    "lab.classroom.spreads": lambda _: a(classroom.energies([handed_in()])),
    "lab.classroom.to_bytes": lambda _: a(handed_in()),
    "lab.classroom.verdict": lambda _: a(task(), classroom.Answer("a", "x", "x = 4.0")),
    "hardware.Device": lambda _: a(**vars(device())),
    "hardware.Device.replace": lambda _: a(device(), year=2024),
    "hardware.Device.peak": lambda _: a(device(), "bf16"),
    "hardware.NumberFormat": lambda _: a("half", 2.0, 2.0, "bf16"),
    "hardware.model_shape": lambda _: a(shape()),
    "load_shifting.AR1": lambda _: a(),
    "load_shifting.AR1.of": lambda _: a(load_shifting.AR1(), traces().intensity_g_per_kwh, 1.0),
    "load_shifting.Jobs.replace": lambda _: a(jobs(), power_kw=2.0),
    "load_shifting.Jobs.from_frame": lambda _: a(pd.DataFrame({"arrival_h": [0], "duration_h": [1], "slack_h": [6]})),
    "load_shifting.Policy": lambda _: a("best_start"),
    "load_shifting.Schedule.account": lambda _: a(schedule(), traces().intensity_g_per_kwh),
    "load_shifting.Schedule.account_baseline": lambda _: a(schedule(), traces().intensity_g_per_kwh),
    "load_shifting.Transfer": lambda _: a(),
    "load_shifting.Transfer.between": lambda _: a(load_shifting.Transfer(), 2),
    "load_shifting.bounds.optimum": lambda _: a(jobs(), traces()),
    "load_shifting.bounds.linear_program": lambda _: a(jobs(), traces(), 5.0),
    "load_shifting.compare_signals": lambda _: a(jobs(), priced()),
    "load_shifting.pareto": lambda _: a(jobs(), priced(), weights=[0.0, 1.0]),
    "ternary.BitBlock": lambda _: a(CONFIG, 0, linear=ternary.BitLinear, feed_forward=gpt.SwiGLU, norm=gpt.RMSNorm),
    "ternary.BitLinear": lambda _: a(8, 4),
    "ternary.BitLinear.forward": lambda _: a(bit_linear(), torch.ones(2, 8)),
    "ternary.bit_gpt": lambda _: a(CONFIG),
    "ternary.convert": lambda _: a(model()),
    "ternary.PackedTernary": lambda _: a(packed().data, 4, 0.5),
    "ternary.load_packed": lambda made: a(made["packed"]),
    "ternary.save_packed": lambda made: a({"w": packed()}, made["folder"] / "again.safetensors"),
    "ternary.unpack": lambda _: a(packed()),
    "ternary.PackedLinear": lambda _: a(packed()),
    "ternary.PackedLinear.from_bit_linear": lambda _: a(bit_linear()),
    "ternary.PackedLinear.forward": lambda _: a(ternary.PackedLinear(packed()), torch.ones(2, 4)),
    "ternary.PackedLinear.set_extra_state": lambda _: a(
        ternary.PackedLinear(packed()), ternary.PackedLinear(packed()).get_extra_state()
    ),
    "ternary.bytes_in_memory": lambda _: a(model()),
    "ternary.load_model": lambda made: a(made["model"]),
    "ternary.pack_model": lambda _: a(ternary.bit_gpt(CONFIG)),
    "ternary.random_packed": lambda _: a(8, 4),
    "ternary.save_model": lambda made: a(
        ternary.pack_model(ternary.bit_gpt(CONFIG)), made["folder"] / "more.safetensors"
    ),
    "retrieval.Corpus": lambda _: a(corpus().passages),
    "retrieval.Corpus.from_texts": lambda _: a({"tea": "Boil it."}, passage_tokens=20, overlap=4),
    "retrieval.Corpus.from_book": lambda _: a(passage_tokens=200, chapters=["start_here"], facts=False),
    "retrieval.BM25Index": lambda _: a(corpus()),
    "retrieval.BM25Index.scores": lambda _: a(index(), "water"),
    "retrieval.Index": lambda _: a(corpus()),
    "retrieval.Index.search": lambda _: a(index(), "water"),
    "retrieval.StaticTable": lambda _: a(static_table().vectors, tiny.encoder()[1], "x"),
    "retrieval.StaticTable.embed": lambda _: a(static_table(), ["water"]),
    "retrieval.StaticIndex": lambda _: a(corpus(), static_table()),
    "retrieval.StaticIndex.scores": lambda _: a(retrieval.StaticIndex(corpus(), static_table()), "water"),
    "retrieval.make_static_table": lambda made: a(
        tiny.encoder(), dimensions=4, file=made["folder"] / "static.safetensors", again=True
    ),
    "retrieval.DenseIndex": lambda _: a(corpus(), tiny.encoder()),
    "retrieval.DenseIndex.scores": lambda _: a(retrieval.DenseIndex(corpus(), tiny.encoder()), "water"),
    "retrieval.dense_file": lambda _: a(corpus(), tiny.encoder()),
    "retrieval.embed": lambda _: a(["water"], tiny.encoder()),
    "retrieval.embedder_sha256": lambda _: a(tiny.encoder()),
    "retrieval.Fusion": lambda _: a([index(), index()]),
    "retrieval.Fusion.scores": lambda _: a(retrieval.Fusion([index(), index()]), "water"),
    "retrieval.Ladder": lambda _: a(index(), index()),
    "retrieval.Ladder.lead": lambda _: a(ladder(), "water"),
    "retrieval.Ladder.asks_dear": lambda _: a(ladder(), "water"),
    "retrieval.Ladder.scores": lambda _: a(ladder(), "water"),
    "retrieval.Passage": lambda _: a("water", "tea"),
    "retrieval.Prefix": lambda _: a(tiny.llm()[0], [1, 2]),
    "retrieval.build_prompt": lambda _: a("What is dirty?", corpus().passages, tiny.llm()),
    "retrieval.make_prefix": lambda _: a(tiny.llm()),
    "retrieval.answer": lambda _: a("What is dirty?", index(), tiny.llm(), n_new_tokens=2),
    "retrieval.answer_from": lambda _: a("What is dirty?", corpus().passages, tiny.llm(), n_new_tokens=2),
    "retrieval.extract": lambda _: a("What is dirty?", corpus().passages, tiny.llm(), n_new_tokens=2),
    "retrieval.neutralise": lambda _: a("water", tiny.llm()[1]),
    "retrieval.load_questions": lambda _: a("tune"),
    "retrieval.relevant_passages": lambda _: a(corpus(), ("water",)),
    "layer_pruning.HealConfig": lambda _: a(),
    "layer_pruning.block_distances": lambda _: a(llama(), ids()),
    "layer_pruning.block_influence": lambda _: a(llama(), ids()),
    "layer_pruning.drop_layers": lambda _: a(llama(), 1, 1),
    "layer_pruning.heal": lambda _: a(llama(), ids(), layer_pruning.HealConfig(steps=1, batch_size=1, rank=1)),
    "layer_pruning.layers_to_drop": lambda _: a("angular", 1, distances=layer_pruning.block_distances(llama(), ids())),
    "accelerator.Bench": lambda _: a(torch.device("cpu")),
    "accelerator.Bench.run": lambda _: a(bench(), int, 1.0),
    "accelerator.ExpertLayer": lambda _: a(8, 16, 4, 2),
    "core.facts.table": lambda _: a("claims"),
    "core.energy.Component": lambda _: a("cpu", "measured", 1.0, 0.5, 2.0, "a counter"),
    "core.energy.Component.scaled": lambda _: a(component(), 2.0),
    "core.energy.Receipt": lambda _: a(**vars(receipt())),
    "core.energy.Receipt.scaled": lambda _: a(receipt(), 2.0),
    "core.energy.Receipt.per": lambda _: a(receipt(), 2.0),
    "core.energy.compare_backends": lambda _: a(int),
    "core.energy.measure": lambda _: a("work"),
    "core.energy.measure_call": lambda _: a(int, "work", min_time_s=0.001, warmup=0),
    "core.energy.merge": lambda _: a([component()]),
    "core.assets.fetch": lambda made: a("texts", source=made["folder"]),
    "core.assets.load_llm": lambda made: a(made["folder"]),
    "core.assets.load_text": lambda _: a("milton"),
    "core.assets.problems": lambda _: a("texts"),
    "core.assets.save_packages": lambda made: a(made["folder"], ("texts",)),
    "core.assets.sha256_of": lambda made: a(made["packed"]),
    "core.assets.smollm2_matrix": lambda _: a(0, "mlp.up_proj"),
    "core.assets.spec": lambda _: a("texts"),
    "core.grid.traces.Traces.time": lambda _: a(traces(), 2),
    "core.grid.traces.Traces.index": lambda _: a(traces(), "DE"),
    "core.grid.traces.Traces.select": lambda _: a(traces(), ["DE"]),
    "core.grid.traces.Traces.from_frame": lambda _: a(traces().to_frame()),
    "core.machine.cpu_quota": lambda _: a(),
    "core.machine.available_cores": lambda _: a(),
    "core.machine.memory_limit_bytes": lambda _: a(),
    "core.machine.available_memory_bytes": lambda _: a(),
    "core.model.cost.TransformerShape": lambda _: a(**vars(shape())),
    "core.model.cost.TransformerShape.replace": lambda _: a(shape(), n_layers=1),
    "core.model.cost.TransformerShape.from_config": lambda _: a(
        types.SimpleNamespace(
            model_type="llama", hidden_size=8, num_attention_heads=2, num_key_value_heads=2, intermediate_size=16,
            vocab_size=12, num_hidden_layers=2, tie_word_embeddings=True, attention_bias=False, mlp_bias=False,
        )
    ),
    "core.model.cost.flops_per_token": lambda _: a(shape()),
    "core.model.cost.prefill_flops": lambda _: a(shape(), 4),
    "core.model.cost.decode_bytes": lambda _: a(shape(), 4),
    "core.model.cost.predicted_speedup": lambda _: a(shape(), 1),
    "core.model.decoder.decoder_layers": lambda _: a(llama()),
    "core.model.decoder.check_input_ids": lambda _: a(ids()),
    "core.model.decoder.captured_states": lambda _: a(llama(), [], None),
    "core.model.decoder.keep_layers": lambda _: a(llama(), [0, 2]),
    "mixture_of_depths.MoDBlock": lambda _: a(torch.nn.Identity(), 8),
    "mixture_of_depths.MoDBlock.routing": lambda _: a(skipping().blocks[1], torch.ones(1, 4, 8)),
    "mixture_of_depths.mod_layers": lambda _: a(skipping()),
    "mixture_of_depths.mod_loss": lambda _: a(),
    "mixture_of_depths.routing_mode": lambda _: a(skipping(), "causal"),
    "mixture_of_depths.selection": lambda _: a(skipping(), ids()),
    "core.model.gpt.token_by_token": lambda _: a(model()),
    "core.model.gpt.GPTConfig": lambda _: a(**vars(CONFIG)),
    "core.model.gpt.LayerCache": lambda _: a(2, 2, 16, 4),
    "core.model.gpt.LayerCache.append": lambda _: a(
        gpt.LayerCache(2, 2, 16, 4), torch.ones(2, 2, 3, 4), torch.ones(2, 2, 3, 4)
    ),
    "core.model.gpt.KVCache": lambda _: a(CONFIG),
    "core.model.gpt.KVCache.truncate": lambda _: a(gpt.KVCache(CONFIG), 0),
    "core.model.gpt.RMSNorm": lambda _: a(8),
    "core.model.gpt.RMSNorm.forward": lambda _: a(gpt.RMSNorm(8), torch.ones(2, 8)),
    "core.model.gpt.rotations": lambda _: a(CONFIG),
    "core.model.gpt.rotate": lambda _: a(torch.ones(1, 2, 3, 4), gpt.rotations(CONFIG)[:3]),
    "mixture_of_experts.MoE": lambda _: a(CONFIG),
    "mixture_of_experts.MoE.forward": lambda _: a(mixture_of_experts.MoE(CONFIG), torch.ones(1, 2, 8)),
    "mixture_of_experts.balance": lambda _: a(experts(), ids()),
    "mixture_of_experts.balanced_loss": lambda _: a(0.01, 0.001),
    "mixture_of_experts.load": lambda _: a(experts(), ids()),
    "mixture_of_experts.moe_layers": lambda _: a(experts()),
    "mixture_of_experts.recorded": lambda _: a(experts()),
    "mixture_of_experts.routing": lambda _: a(experts(), ids()),
    "mixture_of_experts.token_by_token": lambda _: a(mixture_of_experts.MoE(CONFIG), torch.ones(1, 2, 8)),
    "mixture_of_experts.update_bias": lambda _: a(trained_experts(), 0.001),
    "distillation.DistillationLoss": lambda _: a(model(), distillation.LossSettings()),
    "distillation.DistillationLoss.student_flops": lambda _: a(distillation.distillation_loss_fn(model()), model()),
    "distillation.LossSettings": lambda _: a(),
    "distillation.TopLogits": lambda _: a(
        torch.full((2, 3, 2), 0.5).log(), torch.tensor([0, 1], dtype=torch.int32).expand(2, 3, 2).clone(),
        torch.full((2, 3), -1e4), 12,
    ),
    "distillation.top_logits": lambda _: a(model(), ids(), 2),
    "distillation.distil": lambda _: a(
        model(), experts(), ids(4, 10).flatten(), training.TrainingConfig(steps=1, batch_size=1, context_length=8),
        progress=False,
    ),
    "distillation.distillation_loss_fn": lambda _: a(model()),
    "distillation.on_policy_batches": lambda _: a(model(), ids(), 2),
    "distillation.write_texts": lambda _: a(model(), ids(), 2),
    "core.model.gpt.Attention": lambda _: a(CONFIG),
    "core.model.gpt.SwiGLU": lambda _: a(CONFIG),
    "core.model.gpt.Block": lambda _: a(
        CONFIG, 0, linear=torch.nn.Linear, feed_forward=gpt.SwiGLU, norm=gpt.RMSNorm
    ),
    "core.model.gpt.GPT": lambda _: a(CONFIG),
    "core.model.gpt.GPT.new_cache": lambda _: a(model()),
    "core.model.gpt.GPT.forward": lambda _: a(model(), ids()),
    "core.model.gpt.GPT.generate": lambda _: a(model(), ids(), 2),
    "core.model.random_state.local_seed": lambda _: a(0),
    "core.model.scoring.held_out_text": lambda _: a(),
    "core.model.scoring.token_windows": lambda _: a(Tokenizer(), TEXT, 4),
    "core.model.scoring.text_loss": lambda _: a(llama(), ids()),
    "core.model.scoring.load_cloze": lambda _: a(2),
    "core.model.scoring.option_log_probabilities": lambda _: a(llama(), Tokenizer(), ["ab"], [["c", "d"]]),
    "core.model.scoring.cloze": lambda _: a(llama(), Tokenizer(), ITEMS),
    "core.model.training.CharTokenizer.encode": lambda _: a(training.CharTokenizer("abc"), "ab"),
    "core.model.training.CharTokenizer.decode": lambda _: a(training.CharTokenizer("abc"), torch.tensor([0, 1])),
    "core.model.training.TrainingConfig": lambda _: a(),
    "core.model.training.batches": lambda _: a(ids(4, 10).flatten(), 8, 2, 0),
    "core.model.training.mode": lambda _: a(model(), True),
    "core.model.training.logits_of": lambda _: a(llama(), ids()),
    "core.model.training.next_token_loss": lambda _: a(model(), ids(), ids()),
    "core.model.training.evaluate": lambda _: a(model(), ids(4, 10).flatten(), 8),
    "core.model.training.make_optimizer": lambda _: a(model(), training.TrainingConfig()),
    "core.model.training.fit": lambda _: a(
        model(), ids(4, 10).flatten(), training.TrainingConfig(steps=1, batch_size=1, context_length=8), progress=False
    ),
    "core.provenance.code_hash": lambda _: a(study),
    "core.speed.checked_ids": lambda _: a("input_ids", ids()),
    "core.speed.run_prefill": lambda _: a(llama(), ids(1)),
    "core.speed.run_decode": lambda _: a(llama(), ids(1), 2),
    "core.speed.interleave": lambda _: a({"a": int, "b": float}, rounds=1),
    "core.speed.ratios": lambda _: a(times(), "a"),
    "core.speed.read_bandwidth": lambda _: a(1 << 26, 1),
    "core.speed.matmul_rate": lambda _: a(8, rounds=1),
    "core.studies.folder": lambda _: a("moe"),
    "core.studies.Steps": lambda _: a("walked", CONFIG),
    "core.studies.Steps.run": lambda _: a(study(), "one", int),
    "core.studies.config_json": lambda _: a(CONFIG),
    "core.studies.save": lambda _: finished_study(),
    "core.studies.load": lambda _: a(saved(), "figures"),
    "lab.check": lambda _: a(registered(), 1),
    "lab.ledger.record": lambda _: ledger_record(),
    "lab.ledger.table": lambda _: a(),
    "lab.predict": lambda _: a("walked-again", "How much?", low=0, high=10),
    "lab.reveal": lambda _: a(predicted(), 3.0),
    "lab.setup": lambda _: a(),
    "lab.keep_receipts": lambda _: a(receipt()),
    "lab.show_receipt": lambda _: a(receipt()),
    "lab.show_source": lambda _: a(checks.number),
    "lab.charts.Slider": lambda _: a("x", "X"),
    "lab.charts.bars_with_range": lambda _: a(BARS, "n", "e", x_title="Energy [J]", **WORDS),
    "lab.charts.dots": lambda _: a(FRAME, "x", "y", "m", x_title="Energy [J]", **WORDS),
    "lab.charts.energy_bars": lambda _: a(ENERGY, **WORDS),
    "lab.charts.heatmap": lambda _: a(CELLS, "i", "j", "v", x_title="i", y_title="j", value_title="v [J]", **WORDS),
    "lab.charts.lines": lambda _: a(FRAME, "x", "y", color="m", **XY, **WORDS),
    "lab.charts.points": lambda _: a(FRAME, "x", "y", color="m", **XY, **WORDS),
    "lab.charts.roofline": lambda _: a(ROOF, WORKS, **WORDS),
    "lab.charts.with_slider": lambda _: a(alt.Chart(FRAME).mark_point(), FRAME, charts.Slider("x", "X")),
    "lab.charts.require_columns": lambda _: a(FRAME, "x"),
    "lab.charts.require_finite": lambda _: a(FRAME, "x"),
    "lab.charts.require_unique": lambda _: a(BARS, "n"),
    "lab.exercises.Exercise": lambda _: a("walked", "Doubling", 1, "easy", 1, (), lambda answer: None),
    "lab.exercises.Exercise.verdict": lambda _: a(exercise(), 3),
    "lab.exercises.kind_problem": lambda _: a(1.0, 2.0),
    "lab.exercises.differs": lambda _: a(1.0, 2.0, 0.1),
    "lab.exercises.exercise": lambda _: a("another", reference=1, difficulty="easy", minutes=1),
    "lab.state.check_key": lambda _: a("moe-1"),
    "lab.state.path_of": lambda _: a("predictions", "moe-1"),
    "lab.state.keep": lambda _: a("predictions", "moe-1", {"guess": 1.0}),
    "lab.state.save": lambda _: a("predictions", "moe-1", {"guess": 1.0}),
    "lab.state.load": lambda _: a("predictions"),
    "lab.state.set_aside": lambda _: a("predictions", "moe-1"),
    "lab.state.forget": lambda _: a("predictions", "moe-1"),
}  # fmt: skip
