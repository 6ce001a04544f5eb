"""Chapter 6's charts from the committed study, its exercises, and its widget at every extreme on the real model."""

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
        view.distance_map(tables["distances"]),
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
