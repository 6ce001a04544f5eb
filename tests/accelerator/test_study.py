"""The study's arithmetic, bookkeeping and tables, on the CPU with a fake counter whose joules are known."""

import dataclasses
import subprocess
import sys

import pandas as pd
import pytest
import torch

from greenlab.accelerator import study
from greenlab.accelerator.bench import Bench
from greenlab.accelerator.shapes import EXPERT_LAYERS, ExpertLayer
from greenlab.accelerator.study.tables import figures, pick, summary
from greenlab.core import studies
from greenlab.core.energy.counters import Counter
from greenlab.core.model.gpt import GPTConfig

WATTS = 250.0
LARGE = GPTConfig(vocab_size=64, context_length=128, n_layers=4, d_model=32, n_heads=4, n_kv_heads=2, d_ff=64)
SMALL = dataclasses.replace(LARGE, n_layers=1, d_model=16, n_heads=2, n_kv_heads=1, d_ff=32)
CONFIG = study.Config(
    repeats=2, block_s=1.0, expert_block_s=0.5, settle_s=0.0, matmul_size=8, copy_bytes=64, models=("large", "small"), context=16,
    batches=((1, 4), (2,)), contexts=(8, 64, 4096), contexts_batch=2, prompts=(32, 128, 4096), left_out=(1, 2),
    skipping_share=0.5, expert_layers=("few", "many"), expert_tokens=(1, 8), student="small", training_batch=2, training_tokens=8,
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


@pytest.fixture
def machine(monkeypatch, tmp_path):
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    monkeypatch.setattr(study.time, "sleep", lambda seconds: None)
    monkeypatch.setitem(EXPERT_LAYERS, "few", ExpertLayer(16, 24, 4, 2))
    monkeypatch.setitem(EXPERT_LAYERS, "many", ExpertLayer(16, 8, 32, 4))
    return study.Machine(bench(), 1e9, "a fake GPU", {"large": LARGE, "small": SMALL})


def test_a_block_divides_the_counters_joules_by_what_was_done():
    calls = []
    rows = bench().run(lambda: calls.append(1), 10.0)
    assert [row["repeat"] for row in rows] == [1, 2]
    assert len(calls) == 3 + sum(row["calls"] for row in rows)
    for row in rows:
        assert row["energy_j"] == pytest.approx(WATTS * row["time_s"], rel=0.1)
        assert row["low_j"] < row["energy_j"] < row["high_j"]
        assert row["units"] == 10 * row["calls"]
        assert row["basis"] == "measured"
        assert row["time_s"] >= 1.0


def test_a_counter_that_does_not_move_is_not_a_measurement():
    assert {row["basis"] for row in bench(watts=0.0).run(lambda: None, 1.0)} == {"modelled"}


def test_without_a_gpu_counter_the_bench_refuses():
    with pytest.raises(RuntimeError, match="no single 'gpu' counter"):
        bench(counters=()).run(lambda: None, 1.0)


@pytest.mark.parametrize("bad", [{"seconds": 0}, {"seconds": float("nan")}, {"repeats": 0}, {"repeats": True}])
def test_a_bench_needs_time_and_repeats(bad):
    with pytest.raises((ValueError, TypeError), match=next(iter(bad))):
        bench(**bad)


def test_every_section_has_its_rows_and_every_row_its_repeats(machine):
    tables, _ = study.run(CONFIG, machine)
    rows = tables["summary"]
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
    assert len(tables["repeats"]) == 2 * len(rows)
    assert (rows["basis"] == "measured").all()
    assert rows["power_w"].between(0.9 * WATTS, 1.1 * WATTS).all()
    assert (rows["low_j_per_unit"] < rows["least_j_per_unit"]).all()
    assert (rows["most_j_per_unit"] < rows["high_j_per_unit"]).all()
    assert pick(rows, "decode", "large", batch=1, context=16, layers=2)["units_per_s"] > 0
    assert tables["figures"]["name"].is_unique
    assert len(tables["figures"]) == len(rows)


def test_a_study_that_was_stopped_goes_on_where_it_was(machine, monkeypatch):
    first, _ = study.run(CONFIG, machine)
    monkeypatch.setattr(Bench, "run", lambda *a: pytest.fail("measured again"))
    monkeypatch.setattr(study.workloads, "decode_step", lambda *a: pytest.fail("built again"))
    again, _ = study.run(CONFIG, machine)
    pd.testing.assert_frame_equal(first["summary"], again["summary"])


def test_what_does_not_fit_the_memory_is_left_out(machine):
    tiny = dataclasses.replace(machine, memory_bytes=50e3)  # weights: 78 kB and 7 kB
    rows = study.run(CONFIG, tiny)[0]["summary"]
    assert set(rows.loc[rows["section"] == "decode", "what"]) == {"small"}
    assert "training" not in set(rows["section"])


def test_a_row_that_runs_out_of_memory_is_left_out_and_the_study_goes_on(machine, monkeypatch):
    def full(*arguments):
        raise torch.cuda.OutOfMemoryError("no room")

    monkeypatch.setattr(study.workloads, "prompt", full)
    rows = study.run(CONFIG, machine)[0]["summary"]
    assert "prompt" not in set(rows["section"])
    assert "training" in set(rows["section"])


def test_the_summary_adds_blocks_and_keeps_the_spread():
    blocks = pd.DataFrame(
        {
            "section": "decode", "what": "m", "unit": "token", "batch": 8, "context": 512, "repeat": [1, 2], "calls": [10, 10],
            "time_s": [1.0, 1.0], "energy_j": [100.0, 140.0], "low_j": [90.0, 120.0], "high_j": [130.0, 170.0],
            "basis": "measured", "units": [80.0, 80.0],
        }
    )  # fmt: skip
    row = summary(blocks).iloc[0]
    assert row["j_per_unit"] == pytest.approx(1.5)
    assert (row["least_j_per_unit"], row["most_j_per_unit"]) == pytest.approx((1.25, 1.75))
    assert (row["low_j_per_unit"], row["high_j_per_unit"]) == pytest.approx((210 / 160, 300 / 160))
    assert row["power_w"] == pytest.approx(120)
    assert figures(summary(blocks))["name"].tolist() == ["decode-m-batch-8-context-512"]


def test_without_a_gpu_the_study_says_what_it_needs_and_ends():
    """CUDA_VISIBLE_DEVICES hides a GPU that is there."""
    command = [sys.executable, "-m", "greenlab.accelerator.study"]
    import os

    done = subprocess.run(
        command, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("greenlab: the study needs one NVIDIA GPU")
    assert "Traceback" not in done.stderr
