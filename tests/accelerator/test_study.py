"""The study's arithmetic, bookkeeping and tables, on the CPU with a fake counter whose joules are known."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
import weakref

import pandas as pd
import pytest
import torch
from tqdm.auto import tqdm

from greenlab.accelerator import study
from greenlab.accelerator.bench import Bench, NoCounterError, Repeat
from greenlab.accelerator.shapes import EXPERT_LAYERS, ExpertLayer
from greenlab.accelerator.study.tables import figures, pick, rated_power_w, summary, visits
from greenlab.core import studies
from greenlab.core.energy.counters import Counter
from greenlab.core.model.gpt import GPTConfig

WATTS = 250.0
LARGE = GPTConfig(vocab_size=64, context_length=128, n_layers=4, d_model=32, n_heads=4, n_kv_heads=2, d_ff=64)
SMALL = dataclasses.replace(LARGE, n_layers=1, d_model=16, n_heads=2, n_kv_heads=1, d_ff=32)
CONFIG = study.Config(
    repeats=2, block_s=1.0, expert_block_s=0.5, settle_s=0.0, matmul_size=8, copy_bytes=64,
    models=("large", "small"), context=16, batches=((1, 4), (2,)), contexts=(8, 64, 4096), contexts_batch=2,
    prompts=(32, 128, 4096), left_out=(1, 2), skipping_share=0.5, expert_layers=("few", "many"), expert_tokens=(1, 8),
    student="small", training_batch=2, training_tokens=8,
)  # fmt: skip


class Clock:
    """Every look at the clock takes a twentieth of a second."""

    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        self.now_s += 0.05
        return self.now_s


def bench(watts=WATTS, **changes):
    clock = Clock()
    counter = Counter("fake gpu-0", "gpu", lambda: watts * clock.now_s, 1e-3, 0.1, 0.05, 700)
    return Bench(
        torch.device("cpu"), **{"seconds": 1.0, "repeats": 2, "counters": (counter,), "clock": clock, **changes}
    )


def quick_machine():
    """The same machine with short blocks."""
    return dataclasses.replace(small_machine(), bench=bench(seconds=0.2, warmup_s=0.0))


def small_machine(memory_bytes=1e9):
    return study.Machine(bench(), memory_bytes, "a fake GPU", {"large": LARGE, "small": SMALL})


def without_waiting(patch, root):
    """Steps are kept in ``root``. Sleep, hashes and garbage collection cost seconds and are left out."""
    patch.setattr(studies, "ROOT", root)
    patch.setattr(studies, "code_hash", lambda work, modules=(): "a hash")
    patch.setattr(studies, "repository", lambda: {"commit": "a commit", "dirty": False})
    patch.setattr(study.time, "sleep", lambda seconds: None)
    patch.setattr(study, "free", lambda: None)
    patch.setitem(EXPERT_LAYERS, "few", ExpertLayer(16, 24, 4, 2))
    patch.setitem(EXPERT_LAYERS, "many", ExpertLayer(16, 8, 32, 4))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The whole study, run once; its steps stay on disk for the other tests of the module."""
    with pytest.MonkeyPatch.context() as patch:
        without_waiting(patch, tmp_path_factory.mktemp("study"))
        yield study.run(CONFIG, small_machine())[0]


@pytest.fixture(scope="module")
def committed():
    return study.load()


def test_a_block_divides_the_counters_joules_by_what_was_done():
    calls = []
    rows = bench().run(lambda: calls.append(1), 10.0)
    assert [row["repeat"] for row in rows] == [1, 2]
    assert len(calls) > sum(row["calls"] for row in rows)
    for row in rows:
        assert row["energy_j"] == pytest.approx(WATTS * row["time_s"], rel=0.1)
        assert row["low_j"] < row["energy_j"] < row["high_j"]
        assert row["units"] == 10 * row["calls"]
        assert row["basis"] == "measured"
        assert row["time_s"] >= 1.0


@pytest.mark.parametrize("warmup_s", [0.0, 0.3, 2.0])
def test_work_is_done_before_the_first_block_until_the_device_is_warm(warmup_s):
    """At least once, so that first calls compile and allocate; the clock says how long."""
    one = bench(warmup_s=warmup_s)
    calls, begun = [], []
    one._block = lambda some, units, repeat: begun.append((len(calls), one.clock.now_s)) or study_block(repeat)
    one.run(lambda: calls.append(one.clock.now_s), 1.0)
    (before, now_s), *_ = begun
    assert before >= 1
    assert now_s - calls[0] >= warmup_s


def study_block(repeat):
    return Repeat(repeat, 4, 1.0, 1.0, 0.9, 1.1, "measured", 4.0)


def test_idle_never_waits_for_the_device_and_works_through_the_whole_block():
    one = bench()
    one.wait = lambda: pytest.fail("waiting opens the device")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda seconds: setattr(one.clock, "now_s", one.clock.now_s + seconds))
        rows = one.idle()
    assert [row["repeat"] for row in rows] == [1, 2]
    assert all(row["energy_j"] / row["time_s"] == pytest.approx(WATTS, rel=0.1) for row in rows)
    assert all(row["units"] == pytest.approx(row["calls"] * one.seconds / 20) for row in rows)


def test_a_counter_that_does_not_move_is_not_a_measurement():
    assert {row["basis"] for row in bench(watts=0.0).run(lambda: None, 1.0)} == {"modelled"}


def test_without_a_gpu_counter_the_bench_refuses():
    with pytest.raises(NoCounterError, match=r"no single 'gpu' counter.*CUDA_VISIBLE_DEVICES"):
        bench(counters=()).run(lambda: None, 1.0)


@pytest.mark.parametrize(
    "bad", [{"seconds": 0}, {"seconds": float("nan")}, {"repeats": 0}, {"repeats": True}, {"warmup_s": -1}]
)
def test_a_bench_needs_time_and_repeats(bad):
    with pytest.raises((ValueError, TypeError), match=next(iter(bad))):
        bench(**bad)


def test_every_section_has_its_rows_and_every_row_its_repeats(finished):
    rows = finished["summary"]
    count = rows.groupby("section").size().to_dict()
    decode = 2 + 1 + 2 + 2  # batches of both models, two contexts that fit, two cuts
    assert count == {
        "idle": 2,
        "matmul": 2,
        "copy": 2,
        "decode": decode,
        "prompt": 3,
        "layer": 2 * 2 * 3,
        "training": 4,
    }
    assert (rows["repeats"] == 2).all()
    assert len(finished["repeats"]) == 2 * len(rows)
    assert (rows["basis"] == "measured").all()
    assert rows["power_w"].between(0.9 * WATTS, 1.1 * WATTS).all()
    assert (rows["low_j_per_unit"] < rows["least_j_per_unit"]).all()
    assert (rows["most_j_per_unit"] < rows["high_j_per_unit"]).all()
    assert pick(rows, "decode", "large", batch=1, context=16, layers=2)["units_per_s"] > 0
    assert finished["figures"]["name"].is_unique
    assert len(finished["steps"]) == len(rows)


def test_the_figures_hold_every_row_and_the_ratios_of_those_that_belong_together(finished):
    names = set(finished["figures"]["name"])
    ratios = {
        "matmul-zeros-over-random", "matmul-zeros-over-random-power", "matmul-zeros-over-random-speed",
        "copy-zeros-over-random", "copy-zeros-over-random-power", "copy-zeros-over-random-speed",
        "decode-large-batch-1-over-4", "decode-large-layers-2-over-whole", "decode-large-layers-3-over-whole",
        "prompt-large-mixture-of-depths-128-over-dense", "training-with-teacher-over-alone",
        *(f"layer-{layer}-experts-over-{size}-{tokens}" for layer in ("few", "many") for size in ("total", "active")
          for tokens in (1, 8)),
    }  # fmt: skip
    assert {name for name in names if "-over-" in name} == ratios
    assert {name for name in names if name.endswith("-pj")} == {
        f"{work}-{kind}-pj" for work in ("matmul", "copy") for kind in ("zeros", "random-numbers")
    }
    assert {name.removesuffix("-power") for name in names - ratios if name.endswith("-power")} <= names
    rows, lines = finished["summary"], len(finished["summary"])
    timed = rows["section"].isin(["matmul", "copy", "decode"]).sum()
    assert len(names) == lines + timed + 4 + len(ratios)


def test_a_study_that_was_stopped_goes_on_where_it_was(finished, monkeypatch):
    monkeypatch.setattr(Bench, "run", lambda *a: pytest.fail("measured again"))
    monkeypatch.setattr(study.workloads, "random_model", lambda *a: pytest.fail("loaded again"))
    monkeypatch.setattr(study.workloads, "Experts", lambda *a: pytest.fail("loaded again"))
    again, _ = study.run(CONFIG, small_machine())
    pd.testing.assert_frame_equal(finished["summary"], again["summary"])


def test_what_does_not_fit_the_memory_is_left_out_and_the_tables_say_why(finished):
    tables = study.run(CONFIG, small_machine(50e3))[0]  # weights: 78 kB and 7 kB
    rows, left_out = tables["summary"], tables["left_out"]
    assert set(rows.loc[rows["section"] == "decode", "what"]) == {"small"}
    assert "training" not in set(rows["section"])
    large = left_out[(left_out["section"] == "decode") & (left_out["what"] == "large")]
    assert large["reason"].tolist() == ["needs 0.0 GB of 0.0 GB for weights and caches"]
    assert (left_out["section"] == "training").sum() == 4
    assert left_out["reason"].str.len().min() > 10
    assert left_out.columns.tolist() == ["section", "what", "batch", "context", "layers", "reason"]


def test_a_context_that_the_model_does_not_have_is_named(finished):
    reasons = finished["left_out"].set_index(["section", "what", "context"])["reason"]
    assert reasons.loc["decode", "large", 4096] == "longer than the model's 128 tokens"
    assert reasons.loc["prompt", "large", 4096] == "longer than the model's 128 tokens"
    assert reasons.loc["prompt", "large, mixture of depths", 4096] == "longer than the model's 128 tokens"
    assert len(reasons) == 3


FEW = dataclasses.replace(
    CONFIG, models=("large", "small"), batches=((1,), (1,)), contexts=(), left_out=(), expert_layers=(), prompts=(32,)
)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (torch.cuda.OutOfMemoryError("no room"), "OutOfMemoryError: no room"),
        (RuntimeError("grouped gemm is not supported\n  at a line"), "RuntimeError: grouped gemm is not supported"),
        (NotImplementedError("no such kernel"), "NotImplementedError: no such kernel"),
    ],
)
def test_a_row_that_fails_is_left_out_with_its_reason_and_tried_again_by_the_next_run(
    monkeypatch, tmp_path, error, reason
):
    def fail(*arguments):
        raise error

    without_waiting(monkeypatch, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(study.workloads, "prompt", fail)
        tables, _ = study.run(FEW, quick_machine())
    assert "prompt" not in set(tables["summary"]["section"])
    assert "training" in set(tables["summary"]["section"])
    (row,) = tables["left_out"].to_dict("records")
    assert (row["section"], row["what"], row["context"], row["reason"]) == ("prompt", "large", 32, reason)
    measured = []
    monkeypatch.setattr(
        Bench, "run", lambda self, work, units, run=Bench.run: measured.append(1) or run(self, work, units)
    )
    tables, _ = study.run(FEW, quick_machine())
    assert "prompt" in set(tables["summary"]["section"])
    assert len(tables["left_out"]) == 0
    assert len(measured) == 1, "only the row that failed is measured again"


def test_the_reason_is_the_first_error_of_a_chain():
    """Out of memory inside a recording ends the recording, which then complains as well."""

    def record():
        try:
            raise torch.cuda.OutOfMemoryError("no room\nfor 8 GB")
        finally:
            raise RuntimeError("the recording failed")

    with pytest.raises(RuntimeError, match="the recording failed") as error:
        record()
    assert study.first_cause(error.value) == "OutOfMemoryError: no room"
    assert study.first_cause(RuntimeError("x" * 999)) == f"RuntimeError: {'x' * 186}"


def test_what_a_failed_row_held_is_free_before_the_next_one(monkeypatch, tmp_path):
    """An error holds the frames that it went through, and those hold tensors."""
    without_waiting(monkeypatch, tmp_path)
    held = []

    def fail(self, work, units):
        weights = torch.zeros(8)
        held.append(weakref.ref(weights))
        raise RuntimeError("out of memory")

    section = study.Section(studies.Steps("accelerator", CONFIG), small_machine(), tqdm(disable=True))
    monkeypatch.setattr(Bench, "run", fail)
    section.row("matmul", "m", "FLOP", lambda: (int, 1.0, {}))
    assert len(section.left_out) == 1
    assert held[0]() is None


def test_a_machine_without_a_counter_ends_the_study(monkeypatch, tmp_path):
    without_waiting(monkeypatch, tmp_path)
    machine = dataclasses.replace(small_machine(), bench=bench(counters=()))
    with pytest.raises(NoCounterError):
        study.run(FEW, machine)


def test_when_every_row_fails_the_study_says_so(monkeypatch, tmp_path):
    def fail(*arguments):
        raise RuntimeError("the device is lost")

    without_waiting(monkeypatch, tmp_path)
    monkeypatch.setattr(Bench, "run", fail)
    monkeypatch.setattr(Bench, "idle", fail)
    with pytest.raises(study.NeedError, match=r"no row could be measured.*the device is lost"):
        study.run(FEW, quick_machine())


def test_layers_are_left_out_while_their_row_is_measured_and_only_then(monkeypatch, tmp_path):
    without_waiting(monkeypatch, tmp_path)
    seen = []

    def step(model, batch, context, device):
        return lambda: seen.append(len(model.blocks))

    monkeypatch.setattr(study.workloads, "decode_step", step)
    config = dataclasses.replace(FEW, models=("large",), batches=((1,),), left_out=(1, 2), prompts=())
    study.run(config, quick_machine())
    assert list(dict.fromkeys(seen)) == [4, 3, 2]


def test_rows_with_experts_are_the_mean_of_several_routings(finished):
    rows = finished["summary"].set_index(["what", "batch"])
    few = rows.loc["few: experts"]
    assert (few["draws"] == 8).all()
    assert few.loc[1, "experts_visited"] == 2, "one token visits top_k, whatever the draw"
    visited = [
        len(torch.rand(8, 32, generator=torch.Generator().manual_seed(seed)).topk(4).indices.unique())
        for seed in range(8)
    ]
    assert rows.loc[("many: experts", 8), "experts_visited"] == pytest.approx(sum(visited) / 8)
    assert rows.loc[("many: experts", 8), "experts_visited"] != int(rows.loc[("many: experts", 8), "experts_visited"])
    assert rows.loc[("many: dense, total size", 8), "experts_visited"] == 32
    note = finished["figures"].set_index("name").loc["layer-many-experts-batch-8", "note"]
    assert f"8 random routings, which visit {sum(visited) / 8:.4g} experts in the mean" in note


def test_a_call_of_a_row_with_experts_stands_for_the_tokens_of_all_its_routings(finished):
    rows = finished["repeats"].query("what == 'many: experts' and batch == 8")
    assert (rows["units"] == rows["calls"] * 8 * 8).all()


class Listed(study.Section):
    """Rows by name only: nothing is made or measured."""

    def __init__(self, memory_bytes):
        super().__init__(None, study.Machine(bench(), memory_bytes, "a card", study.MODELS), tqdm(disable=True))
        self.asked = []

    def row(self, section, what, unit, make, during=None, **keys):
        self.asked.append({"section": section, "what": what, **keys})


def rows_on(memory_gb):
    section = Listed(memory_gb * 1e9)
    for part in (study.whole_models, study.experts, study.training):
        part(section, study.Config())
    return pd.DataFrame(section.asked), pd.DataFrame(section.left_out)


def test_a_card_of_16_gb_has_every_section_on_the_largest_model_that_fits():
    rows, left_out = rows_on(16)
    decode = rows[rows["section"] == "decode"]
    assert list(dict.fromkeys(decode["what"])) == ["Llama-3.2-1B", "SmolLM2-135M"]
    of_1b = decode[decode["what"] == "Llama-3.2-1B"]
    assert of_1b[of_1b["context"] == 512]["batch"].unique().tolist() == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert of_1b[of_1b["batch"] == 8]["context"].tolist() == [512, 128, 2048, 8192, 32_768]
    assert of_1b["layers"].dropna().tolist() == [12, 8], "a quarter and a half of 16, as of the 8B model's 32"
    assert rows[rows["section"] == "idle"]["what"].tolist() == ["Llama-3.2-1B loaded"]
    assert set(rows[rows["section"] == "prompt"]["what"]) == {"Llama-3.2-1B", "Llama-3.2-1B, mixture of depths"}
    assert "Qwen3-30B-A3B: experts" in set(rows[rows["section"] == "layer"]["what"])
    assert "DeepSeek-V3: experts" not in set(rows[rows["section"] == "layer"]["what"])
    assert rows[rows["section"] == "training"]["what"].tolist() == [
        "SmolLM2-135M: forward pass",
        "SmolLM2-135M: training step",
        "Llama-3.2-1B-49k: forward pass",
        "SmolLM2-135M with Llama-3.2-1B-49k as teacher: training step",
    ]
    assert set(left_out["what"]) == {"Llama-3.1-8B", "DeepSeek-V3"}
    assert left_out.set_index("what").loc["DeepSeek-V3", "reason"].startswith("needs 30.1 GB of 13.6 GB")


def test_a_card_of_80_gb_has_the_rows_of_the_committed_tables(committed):
    rows, left_out = rows_on(85)
    assert len(left_out) == 0
    keys = ["section", "what", "batch", "context", "layers"]
    known = committed["summary"].loc[~committed["summary"]["section"].isin(["matmul", "copy"]), keys]
    known = known[known["what"] != "no program"]
    pd.testing.assert_frame_equal(rows[keys].reset_index(drop=True), known.reset_index(drop=True), check_dtype=False)


def test_a_teacher_of_another_vocabulary_takes_the_students_and_can_be_compared_token_by_token():
    machine = study.Machine(bench(), 16e9, "a card", study.MODELS)
    pair = study.pair_that_fits(machine, study.Config())
    assert pair.teacher_config.vocab_size == pair.student_config.vocab_size == 49_152
    assert dataclasses.replace(pair.teacher_config, vocab_size=128_256) == study.MODELS["Llama-3.2-1B"]
    assert pair.all_bytes <= study.ROOM * 16e9
    large = study.pair_that_fits(dataclasses.replace(machine, memory_bytes=85e9), study.Config())
    assert (large.student, large.teacher) == ("Llama-3.2-1B", "Llama-3.1-8B")
    assert large.teacher_config == study.MODELS["Llama-3.1-8B"]


def test_a_remark_follows_from_what_the_row_says():
    """Rows of older tables do not say who launched their kernels, and keep the remarks that describe them."""

    def note(section, what, name, **keys):
        return values(line(section, what, 100.0, **keys)).loc[name, "note"]

    idle = {"unit": "s", "time_s": 1.0}
    assert "a program had opened the card" in note("idle", "no program", "idle-no-program", **idle)
    assert "opened" not in note("idle", "no program", "idle-no-program", launched="nothing", **idle)
    assert "minus zero" in note("matmul", "zeros", "matmul-zeros", unit="FLOP")
    assert "minus zero" not in note("matmul", "zeros", "matmul-zeros", unit="FLOP", launched="host")
    prompt = ("prompt", "Llama-3.1-8B", "prompt-llama-3p1-8b-batch-1-context-128")
    assert "from the host" in note(*prompt, batch=1, context=128)
    assert "from the host" in note(*prompt, batch=1, context=128, launched="host")
    assert "from the host" not in note(*prompt, batch=1, context=128, launched="graph")
    layer = ("layer", "few: experts", "layer-few-experts-batch-4")
    assert "no kernel for all" in note(*layer, batch=4, experts_visited=3.5, draws=8, launched="graph", products="loop")
    assert "random routings" not in note(*layer, batch=4, experts_visited=3.5)
    taught = ("training", "a with b-49k as teacher: training step", "training-a-with-b-49k-as-teacher-training-step")
    assert "vocabulary of 49 thousand tokens" in note(*taught, launched="host")


def line(section, what, joules, **keys):
    """Two blocks of one second and 10 tokens each; the second takes a tenth more energy."""
    base = {"section": section, "what": what, "unit": "token", "basis": "measured", "units": 10.0, "time_s": 1.0}
    blocks = [joules, 1.1 * joules]
    return [base | keys | {"energy_j": j, "low_j": 0.9 * j, "high_j": 1.2 * j} for j in blocks]


def values(*lines, device=""):
    found = figures(summary(pd.DataFrame([block for blocks in lines for block in blocks])), device)
    return found.set_index("name")


def test_a_ratio_divides_two_lines_and_says_how_far_the_repeats_let_it_be_off():
    one, two, four = (line("decode", "m", j, batch=b, context=512) for b, j in ((1, 100.0), (2, 60.0), (4, 20.0)))
    found = values(one, two, four, line("decode", "m", 80.0, batch=1, context=512, layers=24))
    assert found.loc["decode-m-batch-2-over-1", "value"] == pytest.approx(60)
    assert found.loc["decode-m-batch-4-over-2", "value"] == pytest.approx(100 / 3)
    assert found.loc["decode-m-batch-1-over-4", "value"] == pytest.approx(5)
    assert found.loc["decode-m-layers-24-over-whole", ["value", "unit"]].tolist() == [pytest.approx(80), "%"]
    assert found.loc["decode-m-batch-1-over-4", "note"].endswith("the repeats allow 4.545 to 5.5")
    assert (found["basis"] == "measured").all()


def test_a_longer_context_is_compared_with_the_usual_one_at_the_same_batch():
    found = values(
        line("decode", "m", 90.0, batch=1, context=512),
        line("decode", "m", 40.0, batch=8, context=512),
        line("decode", "m", 30.0, batch=8, context=128),
        line("decode", "m", 100.0, batch=8, context=4096),
    )
    assert found.loc["decode-m-context-4096-over-512", "value"] == pytest.approx(2.5)
    assert "decode-m-context-128-over-512" not in found.index
    assert found.loc["decode-m-batch-1-over-8", "value"] == pytest.approx(90 / 40)


def test_a_ratio_with_a_modelled_line_is_modelled():
    found = values(
        line("decode", "m", 90.0, batch=1, context=512),
        line("decode", "m", 40.0, batch=2, context=512, basis="modelled"),
    )
    assert found.loc["decode-m-batch-2-over-1", "basis"] == "modelled"


def test_idle_watts_are_joules_over_the_clocks_seconds_and_a_share_of_the_rated_power():
    """A block that asks for 10 s of sleep and lasts 10.5 s."""
    idle = line("idle", "no program", 1050.0, unit="s", time_s=10.5)
    found = values(idle, device="NVIDIA H100 80GB HBM3, CUDA 13.0")
    assert found.loc["idle-no-program", "value"] == pytest.approx(105)
    assert found.loc["idle-no-program-share", "value"] == pytest.approx(15)
    assert "a program had opened the card" in found.loc["idle-no-program", "note"]
    assert "idle-no-program-share" not in values(idle, device="another card").index


def test_zeros_are_compared_in_joules_watts_and_speed():
    found = values(
        line("matmul", "random numbers", 100.0, unit="FLOP"), line("matmul", "zeros", 80.0, unit="FLOP", units=20.0)
    )
    assert found.loc["matmul-zeros-over-random", "value"] == pytest.approx(40)
    assert found.loc["matmul-zeros-over-random-power", "value"] == pytest.approx(80)
    assert found.loc["matmul-zeros-over-random-speed", "value"] == pytest.approx(2)
    assert found.loc["matmul-zeros-pj", ["value", "unit"]].tolist() == [pytest.approx(4.2e12), "pJ/FLOP"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: figures("text"), "table is str"),
        (lambda: figures(pd.DataFrame()), "table lacks the column 'section'"),
        (lambda: summary(pd.DataFrame({"section": []})), "repeats lacks the column 'what'"),
        (lambda: visits(None), "table is NoneType"),
        (lambda: rated_power_w(700), "device=700 is int"),
        (lambda: pick(study.load()["summary"], "decode", "Llama-3.1-8B", batch=8), "not one"),
        (lambda: pick(study.load()["summary"], "decode", "Llama-3.1-8B", tokens=1), "keys has 'tokens'"),
    ],
)
def test_what_is_no_table_of_the_study_is_refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()


def test_the_committed_tables_follow_from_the_committed_repeats(committed):
    numbers = ["energy_j", "power_w", "j_per_unit", "least_j_per_unit", "most_j_per_unit", "low_j_per_unit"]
    again = summary(committed["repeats"])
    pd.testing.assert_frame_equal(again, committed["summary"], check_dtype=False, rtol=2e-5)
    assert (again[numbers] > 0).all(axis=None)
    run = json.loads((studies.STUDIES / "accelerator" / "run.json").read_text())
    found = figures(committed["summary"], run["device"])
    pd.testing.assert_frame_equal(found, committed["figures"], check_dtype=False, rtol=1e-5)


def test_every_committed_row_was_measured_and_names_its_code(committed):
    assert all((committed[name]["basis"] == "measured").all() for name in ("repeats", "summary", "figures"))
    run = json.loads((studies.STUDIES / "accelerator" / "run.json").read_text())
    assert len(run["steps"]) == len(committed["summary"]) == len(committed["steps"]) > 100
    for name, step in run["steps"].items():
        assert re.fullmatch("[0-9a-f]{12}", step["code"]), name
        assert re.fullmatch("[0-9a-f]{40}", step["commit"]), name
        assert step["dirty"] is False, name
        assert step["device"] == run["device"] == "NVIDIA H100 80GB HBM3, CUDA 13.0", name


def test_the_committed_batches_visited_about_as_many_experts_as_random_routing_does(committed):
    """Within four standard deviations of n draws without an expert, taken as independent (which overstates them)."""
    found = visits(committed["summary"])
    assert len(found) == 3 * 7
    missed = 1 - found["expected"] / found["n_experts"]
    deviation = (found["n_experts"] * missed * (1 - missed)) ** 0.5
    assert ((found["visited"] - found["expected"]).abs() <= 4 * deviation + 1e-9).all()
    assert (found.loc[found["tokens"] == 1, "visited"] == found.loc[found["tokens"] == 1, "top_k"]).all()


def test_the_summary_adds_blocks_and_keeps_the_spread():
    blocks = pd.DataFrame(
        {
            "section": "decode", "what": "m", "unit": "token", "batch": 8, "context": 512,
            "repeat": [1, 2], "calls": [10, 10],
            "time_s": [1.0, 1.0], "energy_j": [100.0, 140.0], "low_j": [90.0, 120.0], "high_j": [130.0, 170.0],
            "basis": "measured", "units": [80.0, 80.0],
        }
    )  # fmt: skip
    row = summary(blocks).iloc[0]
    assert row["j_per_unit"] == pytest.approx(1.5)
    assert (row["least_j_per_unit"], row["most_j_per_unit"]) == pytest.approx((1.25, 1.75))
    assert (row["low_j_per_unit"], row["high_j_per_unit"]) == pytest.approx((210 / 160, 300 / 160))
    assert row["power_w"] == pytest.approx(120)
    names = ["decode-m-batch-8-context-512", "decode-m-batch-8-context-512-power"]
    assert figures(summary(blocks))["name"].tolist() == names


def test_without_a_gpu_the_study_says_what_it_needs_and_ends():
    """CUDA_VISIBLE_DEVICES hides a GPU that is there."""
    command = [sys.executable, "-m", "greenlab.accelerator.study"]
    done = subprocess.run(
        command, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("greenlab: the study needs one NVIDIA GPU")
    assert "Traceback" not in done.stderr
