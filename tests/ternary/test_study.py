"""The committed study of chapter 7 is whole, its figures follow from its tables, its models are as good as it says."""

import subprocess
import sys

import pandas as pd
import pytest
import torch

from greenlab.core import studies
from greenlab.core.model.training import evaluate
from greenlab.ternary import BitLinear, PackedLinear, bytes_in_memory, study
from greenlab.ternary.study import races
from greenlab.ternary.study import tables as work


@pytest.fixture(scope="module")
def tables():
    return study.load()


def test_the_figures_follow_from_the_tables(tables):
    again, stored = work.figures(tables).set_index("name")["value"], tables["figures"].set_index("name")["value"]
    assert list(again.index) == list(stored.index)
    assert again.to_list() == pytest.approx(stored.to_list(), rel=1e-4)


def test_every_size_seed_and_way_is_there(tables):
    config, curve = study.Config(), tables["curve"]
    for kind, afters in (("float", {"none", *study.AFTER}), ("ternary", {"none"})):
        for d_model, n_layers in config.sizes:
            rows = curve[(curve["trained"] == kind) & (curve["d_model"] == d_model)]
            assert set(rows["after"]) == afters
            assert set(rows["seed"]) == set(config.seeds)
            assert set(rows["n_layers"]) == {n_layers}
    assert set(tables["smollm2"]["after"]) == {"none", *study.AFTER}


def test_the_gap_is_that_of_pairs_with_one_seed():
    rows = [("float", 0, 1.0), ("float", 1, 2.0), ("ternary", 0, 1.5), ("ternary", 1, 2.1)]
    curve = pd.DataFrame(rows, columns=["trained", "seed", "loss"]).assign(after="none", d_model=8)
    assert work.gaps(curve).to_dict("records") == [
        {"d_model": 8, "gap": pytest.approx(0.3), "gap_min": pytest.approx(0.1), "gap_max": pytest.approx(0.5)}
    ]


@pytest.mark.assets
def test_the_committed_models_are_as_good_as_the_table_says(tables):
    config = study.Config()
    model, packed, tokenizer = study.load_models()
    *_, held_out = study.texts(config)
    curve = tables["curve"].query(f"after == 'none' and d_model == {config.sizes[-1][0]} and seed == {config.seeds[0]}")
    expected = curve.set_index("trained")["loss"]
    for kind, m in (("float", model), ("ternary", packed)):
        with torch.no_grad():
            loss = evaluate(m, held_out, config.context_length, n_windows=config.eval_windows)
        assert loss == pytest.approx(expected[kind], abs=2e-3), kind
    assert bytes_in_memory(packed) < bytes_in_memory(model) / 8
    assert tokenizer.vocab_size == model.config.vocab_size


def test_the_committed_models_are_small_files():
    assert sum(path.stat().st_size for path in studies.folder("ternary").glob("*.safetensors")) < 3_100_000


def test_every_racer_computes_the_same_product():
    """Float, bfloat16 and int8 weights agree to their own precision; ternary weights are other weights."""
    works = races.products(32, 48, batch=3)
    with torch.no_grad():
        results = {name: run().float() for name, run in works.items()}
    torch.testing.assert_close(results["bfloat16"], results["float32"], rtol=0.05, atol=0.2)
    torch.testing.assert_close(results["int8"], results["float32"], rtol=0.05, atol=0.3)
    assert results["ternary"].shape == (3, 32)
    assert [races.bits_of(name) for name in (*works, "ternary avx2, 1.6 bits")] == [32, 16, 8, 2, 1.6]


def test_a_race_lists_every_work_with_its_ratio():
    table = races.race(16, 32, rounds=1, every_kernel=True, others={"peer": lambda: None})
    assert table["work"].is_unique
    assert {"float32", "peer", "ternary portable", "ternary portable, 1.6 bits"} <= set(table["work"])
    assert table.set_index("work")["faster"]["float32"] == 1


def rounds_of(times_by_work):
    """Rows as `speed.interleave` gives them."""
    return pd.DataFrame(
        [{"work": work, "round": i, "time_s": t} for work, times in times_by_work.items() for i, t in enumerate(times)]
    )


def test_the_best_round_counts_and_the_spread_is_that_of_the_first_quarter():
    """Half of the rounds were disturbed: the answer is that of the quiet ones, and the spread stays near 1."""
    times = rounds_of({"float32": [4.0, 4.1, 40.0, 4.2, 30.0], "ternary": [9.0, 1.0, 1.02, 7.0, 1.1]})
    best, faster, spread = races._best(times)
    assert best.to_dict() == {"float32": 4.0, "ternary": 1.0}
    assert faster["ternary"] == 4.0
    assert spread.to_dict() == pytest.approx({"float32": 4.1 / 4, "ternary": 1.02})


@pytest.fixture
def quiet(monkeypatch):
    """No other program, whatever this machine does."""
    monkeypatch.setattr(races._Elsewhere, "cores", lambda self: 0.0)


@pytest.mark.usefixtures("quiet")
def test_rounds_that_agree_end_a_race_and_others_go_on_and_are_doubted():
    calm, wild = {"float32": [4, 4, 4], "ternary": [1, 1, 1]}, {"float32": [4, 9, 9], "ternary": [1, 1, 1]}
    times, busy = races._until_agreed(lambda: rounds_of(calm))
    assert (times["round"].nunique(), busy) == (3, 0)
    turns = iter([wild, calm, calm, calm])
    times, _ = races._until_agreed(lambda: rounds_of(next(turns)))
    assert times["round"].nunique() == 6  # the second turn agreed
    assert sorted(times["round"].unique()) == [0, 1, 2, 3, 4, 5]
    halves = iter([1, 1 / 2, 1 / 4, 1 / 8])  # a best round that never comes again
    times, _ = races._until_agreed(lambda: rounds_of({"float32": [9, 9, 9], "ternary": [next(halves), 9, 9]}))
    assert times["round"].nunique() == 3 * races.PATIENCE
    assert races._best(times)[2]["ternary"] == 8


def test_a_race_with_another_program_on_its_cores_is_run_to_the_end_and_doubted(monkeypatch):
    monkeypatch.setattr(races._Elsewhere, "cores", lambda self: 0.9)
    table = races.race(16, 32, rounds=1)
    assert table["rounds"].tolist() == [races.PATIENCE] * 4
    assert table["busy_elsewhere"].tolist() == [0.9] * 4
    assert "close other programs and try again" in races.doubt(table)


@pytest.mark.parametrize(
    ("spread", "busy", "words"),
    [
        (1.1, 0.1, ""),
        (3.64, 0.0, "Do not trust this: the rounds disagree by a factor of 3.6; close other programs and try again."),
        (1.0, 0.9, "Do not trust this: other programs use 0.9 of the cores that the race needs; close other programs"),
    ],
)
def test_doubt_is_said_in_words(spread, busy, words):
    said = races.doubt(pd.DataFrame({"spread": [1.0, spread], "busy_elsewhere": busy}))
    assert said.startswith(words)
    assert bool(said) == bool(words)


def test_cores_that_the_race_does_not_need_may_be_busy(monkeypatch):
    """Two cores, one kept busy for a second: it stands in the way of two threads and not of one."""
    seconds, own, wall = iter([10.0, 12.0] * 2), iter([5.0, 6.0] * 2), iter([0.0, 1.0] * 2)
    monkeypatch.setattr(races, "_busy_s", lambda: next(seconds))
    monkeypatch.setattr(races, "_own_s", lambda: next(own))
    monkeypatch.setattr(races, "_cores", lambda: [0, 1])
    monkeypatch.setattr(races, "available_cores", lambda: 2)
    monkeypatch.setattr(races.time, "perf_counter", lambda: next(wall))
    for threads, expected in ((2, 1.0), (1, 0.0)):
        monkeypatch.setattr(races.torch, "get_num_threads", lambda threads=threads: threads)
        assert races._Elsewhere().cores() == pytest.approx(expected)


def test_energy_is_measured_in_turn_and_is_the_mean_of_the_rounds(monkeypatch):
    """Two models, three rounds: the meter sees them in turn; one modelled round makes the whole modelled."""
    seen = []

    class Receipt:
        def __init__(self, energy_j, basis):
            self.energy_j, self.low_j, self.high_j, self.basis = energy_j, energy_j / 2, 2 * energy_j, basis

        def per(self, n):
            return Receipt(self.energy_j / n, self.basis)

    def meter(call, label, **options):
        seen.append(label)
        return None, Receipt(float(len(seen)), "modelled" if len(seen) == 3 else "measured")

    monkeypatch.setattr(races, "measure_call", meter)
    found = races._energy_in_turn({"a": lambda: None, "b": lambda: None}, n_tokens=2, rounds=3)
    assert seen == ["a", "b"] * 3
    assert found["a"] == {"j_per_token": (1 + 3 + 5) / 6, "low_j": 9 / 12, "high_j": 3.0, "basis": "modelled"}
    assert found["b"] == {"j_per_token": (2 + 4 + 6) / 6, "low_j": 1.0, "high_j": 4.0, "basis": "measured"}


def test_threads_are_set_for_torch_and_for_the_kernels(monkeypatch):
    """The first use of numba's threads sets torch back to all cores; in a process of its own, as that happens once."""
    code = (
        "import torch, numba; from greenlab.ternary.study import races; "
        "torch.set_num_threads(2); races.set_threads(1); "
        "print(torch.get_num_threads(), numba.get_num_threads())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=studies.ROOT)
    assert found.stdout.split() == ["1", "1"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: races.set_threads(0), ValueError, "threads=0"),
        (lambda: races.race(0, 4), ValueError, "n=0: give a whole number at least 1"),
        (lambda: races.race(4, 4.0), TypeError, "k=4.0 is float"),
        (lambda: races.race(4, 4, rounds=0), ValueError, "rounds=0"),
        (lambda: races.race_models({}, 4), ValueError, "works has no models: one must be called float32"),
        (lambda: races.doubt(pd.DataFrame({"spread": [1]})), ValueError, "no column busy_elsewhere"),
    ],
)
def test_a_race_that_cannot_be_run_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_models_of_one_shape_write_and_are_timed_by_part():
    config = races.GPTConfig(64, 64, n_layers=2, d_model=32, n_heads=4, d_ff=64)
    models = races.models(config)
    table = races.race_models(models, 4, rounds=1, energy=False).set_index("model")
    assert list(table.index) == list(races.MODELS)
    assert table["weights_mb"]["bfloat16"] == table["weights_mb"]["float32"] / 2
    assert table["weights_mb"]["ternary"] < table["weights_mb"]["float32"]
    assert not any(isinstance(m, BitLinear) for m in models["ternary"].modules())
    parts = races.time_by_part(models["ternary"], 4)
    assert parts["share"].sum() == pytest.approx(1)
    assert (parts["ms_per_token"] > 0).all()
    layer = next(m for m in models["ternary"].modules() if isinstance(m, PackedLinear))
    assert "forward" not in vars(layer)  # nothing is left of the stop-watches
