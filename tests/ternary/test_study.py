"""The committed study of chapter 7: whole, its figures from its tables, and its two models as good as the table says."""

import pandas as pd
import pytest
import torch

from greenlab.core import studies
from greenlab.core.model.training import evaluate
from greenlab.ternary import BitLinear, PackedLinear, study, bytes_in_memory
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
    assert work.gaps(curve).to_dict("records") == [{"d_model": 8, "gap": pytest.approx(0.3), "gap_min": pytest.approx(0.1),
                                                    "gap_max": pytest.approx(0.5)}]  # fmt: skip


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


def test_models_of_one_shape_write_and_are_timed_by_part():
    config = races.GPTConfig(64, 64, n_layers=2, d_model=32, n_heads=4, d_ff=64)
    models = races.models(config)
    table = races.decode(models, 4, rounds=1, energy=False).set_index("model")
    assert list(table.index) == list(races.MODELS)
    assert table["weights_mb"]["bfloat16"] == table["weights_mb"]["float32"] / 2
    assert table["weights_mb"]["ternary"] < table["weights_mb"]["float32"]
    assert not any(isinstance(m, BitLinear) for m in models["ternary"].modules())
    parts = races.time_by_part(models["ternary"], 4)
    assert parts["share"].sum() == pytest.approx(1)
    assert (parts["ms_per_token"] > 0).all()
    layer = next(m for m in models["ternary"].modules() if isinstance(m, PackedLinear))
    assert "forward" not in vars(layer)  # nothing is left of the stop-watches
