"""Committed studies: made with today's settings, whole, and their figures follow from their tables."""

import importlib
import json
import math

import pandas as pd
import pytest

from greenlab.core import studies
from greenlab.core.model import cost, scoring
from greenlab.layer_pruning import study
from greenlab.layer_pruning.study import tables

CHAPTERS = sorted(path.parent.name for path in studies.STUDIES.glob("*/run.json"))


def test_there_is_a_study():
    assert "layer_pruning" in CHAPTERS


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_committed_run_has_the_settings_of_the_code(chapter):
    run = json.loads((studies.folder(chapter) / "run.json").read_text())
    assert run["config"] == studies.config_json(importlib.import_module(f"greenlab.{chapter}.study").Config())
    assert {"date", "commit", "device", "python", "versions", "energy"} <= set(run)
    assert run["energy"]["basis"] in ("measured", "modelled")
    assert 0 < run["energy"]["low_j"] < run["energy"]["energy_j"] < run["energy"]["high_j"]
    assert set(run["tables"]) == set(studies.load(chapter))


def test_the_page_of_figures_is_up_to_date():
    assert (studies.STUDIES / "README.md").read_text() == studies.readme(), (
        "run: make study NAME=..., or studies.readme()"
    )


def test_the_figures_follow_from_the_tables():
    found = study.load()
    again = tables.figures(found).set_index("name")["value"]
    stored = found["figures"].set_index("name")["value"]
    assert list(again.index) == list(stored.index)
    assert again.to_list() == pytest.approx(stored.to_list(), rel=1e-4)


def test_the_curve_has_every_method_number_and_seed():
    config, curve = study.Config(), study.load("curve")["curve"]
    cut = curve[curve["healing"] == "none"]
    for method in ("angular", "block_influence", "deepest"):
        assert set(cut.loc[cut["method"] == method, "n_removed"]) == set(config.removed)
    random = cut[cut["method"] == "random"].groupby("n_removed")["seed"].nunique()
    assert set(random.index) == set(config.removed)
    assert (random >= 3).all()
    assert set(curve.loc[curve["healing"] == "teacher", "n_removed"]) == set(config.healed)
    assert curve["n_items"].min() >= 100


def test_the_distances_are_those_of_blocks_inside_the_model():
    distances = study.load("distances")["distances"]
    assert len(distances) == 30 * 31 / 2
    assert (distances["start"] + distances["n"] <= 30).all()
    assert distances["distance"].between(0, 1).all()


def test_recovered_is_the_share_of_the_lost_loss():
    curve = pd.DataFrame(
        [
            {"method": "none", "n_removed": 0, "healing": "none", "loss": 2.0},
            {"method": "angular", "n_removed": 6, "healing": "none", "loss": 4.0},
            {"method": "angular", "n_removed": 6, "healing": "teacher", "loss": 2.5},
        ]
    )
    assert tables.recovered(curve, 6, "teacher") == 0.75


def made_up(accuracy):
    """Make a curve of the best blocks: layers removed -> share right, of 100 items."""
    rows = [
        {"method": "angular" if n else "none", "n_removed": n, "healing": "none", "seed": 0, "loss": 3.0 + n}
        for n in accuracy
    ]
    return pd.DataFrame(rows).assign(accuracy=list(accuracy.values()), n_items=100)


def test_the_quality_gate_divides_energy_by_answers_above_guessing():
    """Half as much above guessing at the same energy is twice the energy an answer; at guessing there is no such number."""
    shape = cost.TransformerShape(30, 576, 9, 3, 64, 1536, 49152, tied_embeddings=True)
    gate = tables.quality_gate(made_up({0: 0.85, 6: 0.55, 12: 0.25}), shape).set_index("n_removed")
    faster = float(cost.predicted_speedup(shape, 6, phase="decode", n_tokens=48))
    assert gate.loc[0, "energy_per_right_answer"] == 1
    assert gate.loc[6, "energy_per_right_answer"] == pytest.approx(2 / faster, abs=0.006)
    assert math.isnan(gate.loc[12, "energy_per_right_answer"])


def test_steps_survive_an_interruption(tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "ROOT", tmp_path)
    calls = []

    def work(value):
        calls.append(value)
        if value == "broken":
            raise RuntimeError("stopped")
        return [value]

    config = study.Config()
    steps = studies.Steps("demo", config)
    assert steps.run("one", lambda: work(1)) == [1]
    with pytest.raises(RuntimeError, match="stopped"):
        steps.run("two", lambda: work("broken"))
    again = studies.Steps("demo", config)
    assert again.run("one", lambda: work("again")) == [1]
    assert again.run("two", lambda: work(2)) == [2]
    assert calls == [1, "broken", 2]
    assert again.receipts()["step"].to_list() == ["one", "two"]
    other = studies.Steps("demo", study.Config(seed=1))
    assert other.run("one", lambda: work("other settings")) == ["other settings"]


def test_an_unknown_table_is_refused():
    with pytest.raises(ValueError, match="table='curves': the study 'layer_pruning' has curve, distances"):
        study.load("curves")


def test_windows_are_full_and_in_order():
    from greenlab.layer_pruning.study.text import GENRES, TOPICS, windows

    assert windows([[1, 2, 3], [4, 5], [6, 7]], 3).tolist() == [[1, 2, 3], [4, 5, 6]]
    assert len(set(TOPICS)) * len(set(GENRES)) >= 480


def test_the_standard_error_is_that_of_a_share():
    """100 fair coins: sqrt(0.25 / 100)."""
    assert scoring.standard_error(0.5, 100) == 0.05
