"""Chapter 6's charts from the committed study, its exercises, and its widget at every extreme on the real model."""

import numpy as np
import pytest
import torch

from greenlab import layer_pruning
from greenlab.core import assets
from greenlab.lab.exercises import solutions
from greenlab.lab.widgets import exercise_extremes
from greenlab.layer_pruning import study, view
from greenlab.layer_pruning.study import tables as study_tables


@pytest.fixture(scope="module")
def tables():
    return study.load()


def test_every_chart_is_a_valid_specification_of_the_committed_tables(tables):
    methods = study_tables.method_table(tables["curve"])
    charts = [
        view.stack_picture(30, [13, 14]),
        view.distance_map(tables["distances"], study_tables.best_blocks(tables["distances"]), "t"),
        view.distance_twin(tables["distances"]),
        view.method_loss(methods, "t"),
        view.method_accuracy(methods, "t"),
        view.healing_loss(tables["curve"], "t"),
        view.speed_chart(tables["speed"], "t"),
    ]
    for chart in charts:
        spec = chart.to_dict()
        assert spec["description"]
        assert spec["title"]


def test_the_comparison_starts_at_the_whole_model_and_keeps_the_spread(tables):
    methods, curve = study_tables.method_table(tables["curve"]), tables["curve"]
    whole = curve.loc[curve["n_removed"] == 0, "loss"].iloc[0]
    assert (methods.loc[methods["n_removed"] == 0, "loss_mean"] == whole).all()
    assert set(methods["method"]) == set(study_tables.METHODS)
    random = methods[(methods["method"] == "random") & (methods["n_removed"] == 6)].iloc[0]
    losses = curve[(curve["method"] == "random") & (curve["n_removed"] == 6)]["loss"]
    assert (random["loss_min"], random["loss_max"]) == (losses.min(), losses.max())


def test_the_map_marks_the_least_distance_of_each_length_and_says_where_they_lie(tables):
    """Against NumPy's own least of each row of the map."""
    rows = tables["distances"].pivot(index="n", columns="start", values="distance")
    best = study_tables.best_blocks(tables["distances"])
    assert best["n"].tolist() == rows.index.tolist()
    assert best["start"].tolist() == np.nanargmin(rows.to_numpy(), axis=1).tolist()
    assert study_tables.valley(tables["distances"], 6, 6).endswith(
        "of 6 to 6 layers that change least all lie within layers 13 to 18"
    )
    with pytest.raises(ValueError, match="most"):
        study_tables.valley(tables["distances"], 6, 5)
    with pytest.raises(ValueError, match="least"):
        study_tables.valley(tables["distances"], 0)


def test_the_one_prediction_that_is_drawn_holds_for_reading_and_writing(tables):
    """The chart says that the two predictions differ by less than half a per cent."""
    predicted = tables["speed"].pivot(index="n_removed", columns="phase", values="predicted")
    assert (predicted["prefill"] / predicted["decode"] - 1).abs().max() < 0.005
    drawn = view.speed_chart(tables["speed"], "t").data
    assert set(drawn["line"]) == set(view.LINES.values())
    assert not drawn.duplicated(["line", "n_removed"]).any()


WRONG = {
    "layer-pruning-distance": [
        (lambda a, b: torch.arccos(torch.cosine_similarity(a, b, dim=-1)), "divide the angle by pi"),
        (lambda a, b: torch.arccos((a @ b) / (a.norm() * b.norm() * (1 - 1e-6))) / torch.pi, "NaN"),
    ],
    "layer-pruning-speedup": [(lambda n: 30 / (30 - n), "output head"), (lambda n: (30 - n) / 30, "upside down")],
    "layer-pruning-memory": [(138, "16 bits"), (34.5, "half of them"), (69, "four"), (3, "68.98 billion")],
}


@pytest.mark.parametrize("name", WRONG)
def test_each_slip_gets_its_own_hint_and_the_reference_passes(name):
    task = solutions()[name]
    assert task.verdict(task.reference) is None
    for answer, hint in WRONG[name]:
        assert hint in task.verdict(answer)


@pytest.mark.assets
def test_the_widget_holds_at_every_extreme_and_reaches_its_goal():
    model, tokenizer = assets.load_smollm2()
    ids = tokenizer("The market opens before the sun is over the roofs.", return_tensors="pt").input_ids
    explorer = view.cut_explorer(
        model,
        tokenizer,
        layer_pruning.block_distances(model, ids),
        "Bread rises because yeast",
        "The capital of France is",
    )
    seen = exercise_extremes(explorer)
    assert all("loss" in text and "It goes on" in text for _, text in seen)
    explorer.set(start=0, n=12)
    broken = explorer.text
    assert "Layers 0 to 11 cut" in broken
    assert "not yet reached" in broken
    explorer.set(start=29, n=12)
    assert "Layers 18 to 29 cut (12 layers of 30 start at layer 18 at the latest)" in explorer.text
    explorer.set(start=3, n=1)
    assert "Layer 3 cut: loss" in explorer.text
