"""Chapter 7's charts from the committed study, its exercises, and its widgets at every extreme."""

import pandas as pd
import pytest
import torch

from greenlab.core import facts
from greenlab.lab.exercises import solutions
from greenlab.lab.widgets import exercise_extremes
from greenlab.ternary import absmean_quantize, estimates, study
from greenlab.ternary import view as see
from greenlab.ternary.study import races
from greenlab.ternary.study import tables as work


@pytest.fixture(scope="module")
def tables():
    return study.load()


def test_every_chart_is_a_valid_specification_of_the_committed_tables(tables):
    curve = tables["curve"]
    bins = see.histogram(torch.randn(50, 50, generator=torch.Generator().manual_seed(0)))
    printed = {size: facts.value(f"bitnet-memory-ratio-{size.lower().replace('.', 'p')}") for size in estimates.SHAPES}
    charts = [
        see.histogram_twin(bins, "t"),
        see.bits_chart(work.by_bits(curve), 1.5, "t"),
        see.gap_chart(work.by_size(curve), "t"),
        see.size_chart(work.by_memory(curve), "t"),
        see.decode_chart(tables["decode"].query("shape == 'trained'"), "t", "s"),
        see.parts_chart(tables["parts"], "t"),
        see.memory_chart(work.paper_memory(printed), "t"),
        see.read_twin("t"),
        see.race_chart(races.race(64, 64, rounds=1), "t"),
    ]
    for chart in charts:
        spec = chart.to_dict()
        assert spec["description"]
        assert spec["title"]


def test_the_histogram_counts_every_weight():
    bins = see.histogram(torch.tensor([1.0] * 98 + [-100.0, 100.0]))  # mean magnitude 2.98
    assert bins["share"].sum() == pytest.approx(1)
    assert (bins["end"] - bins["start"]).to_list() == pytest.approx([0.1] * 80)
    assert bins["share"].iloc[[0, -1]].tolist() == [0.01, 0.01]  # what is beyond the edge is counted at it
    assert bins.loc[(bins["start"] < 1 / 2.98) & (bins["end"] > 1 / 2.98), "share"].tolist() == [0.98]


@pytest.mark.assets
def test_the_threshold_widget_says_what_the_quantizer_does():
    from greenlab.core import assets

    widget = see.threshold_widget()
    assert all("become 0" in text for _, text in exercise_extremes(widget))
    widget.set(layer=3, name="keys", threshold=0.5)
    q, gamma = absmean_quantize(weight := assets.smollm2_matrix(3, "self_attn.k_proj"))
    lost = (weight - q * gamma).square().sum() / weight.square().sum()
    assert f"{100 * (q == 0).float().mean():.0f} % of the weights" in widget.text
    assert f"{100 * lost:.1f} % of the matrix" in widget.text


@pytest.mark.assets
def test_a_matrix_that_is_not_there_is_named():
    from greenlab.core import assets

    with pytest.raises(ValueError, match=r"layer=30: give a whole number at least 0 and at most 29"):
        assets.smollm2_matrix(30, "mlp.up_proj")


def test_the_race_widget_races_at_every_setting():
    widget = see.race_widget()
    for values, text in exercise_extremes(widget):
        assert text.count("times as fast as") == 3, values


def test_the_race_widget_says_when_its_numbers_are_not_to_be_trusted(monkeypatch):
    """The goal is then not reached either, although ternary seems slower than bfloat16."""
    table = pd.DataFrame({"work": ["float32", "bfloat16", "int8", "ternary"], "g_weights_per_s": [1.0, 4.0, 3.0, 2.0],
                          "spread": [1.0, 1.0, 2.24, 1.0], "busy_elsewhere": 0.0})  # fmt: skip
    monkeypatch.setattr(races, "race", lambda *shape, rounds: table)
    widget = see.race_widget()
    doubt = "Do not trust this: the rounds disagree by a factor of 2.2; close other programs and try again."
    assert f"0.5 times as fast as bfloat16, 0.7 times as fast as int8. {doubt}" in widget.text
    assert "not yet reached" in widget.text
    assert widget.panel.chart.to_dict()["title"]["subtitle"] == doubt
    table["spread"] = 1.0
    calm = see.race_widget()
    assert "Do not trust" not in calm.text
    assert ": reached" in calm.text


def test_the_energy_widget_starts_at_the_papers_ratio_and_falls_with_reading():
    widget = see.energy_widget()
    exercise_extremes(widget)
    start = float(widget.text.split("needs ")[1].split(" times")[0])
    assert start == pytest.approx(facts.value("bitnet-70b-energy-ratio"), rel=0.05)
    widget.set(read_pj=32)
    assert "needs 7.7 times less" in widget.text or "needs 7.8 times less" in widget.text
    assert "Goal: make the saving less than 10 times: reached" in widget.text


def test_the_claims_are_recomputed():
    """2977 / 176 over 333 / 16 is 0.81 and 176 / 16 is 11; 13 billion weights of two bits are 3.25 GB."""
    found = see.claims_table().set_index("id")["found"]
    assert found["bitnet-2977-tps"] == "a batch 11 times as large; each sequence gets 0.81 times as many"
    assert found["bitnet-41p2x-energy"].startswith("40.2 times if nothing is read")
    assert "7.8 with 32 pJ" in found["bitnet-41p2x-energy"]
    assert found["bitnet-ffn-only"] == "then 1.92 times at 3B"
    assert see.sizes_table()["ternary_gb"].tolist() == [3.25, 7.5, 17.5]
    assert see.sizes_table()["float_gb"].tolist() == [6, 14, 26]


def test_no_feed_forward_only_model_reaches_the_printed_memory_and_time_stays_below_reading():
    memory, time = see.memory_table(), see.latency_table()
    assert (memory["best_feed_forward"] < memory["printed"]).all(), "the chapter says: attention is ternary too"
    assert (memory["feed_forward"] < memory["best_feed_forward"]).all()
    assert time["reached"].between(0.33, 0.55).all(), "the chapter says: a third to a half, as one rounds it"


def test_the_bars_of_modelled_joules_are_pale_and_named_with_their_figure(tables):
    decode = tables["decode"].query("shape == 'smollm2' and threads == 2")
    spec = see.decode_chart(decode, "t", "s").to_dict()
    assert spec["layer"][0]["mark"]["opacity"] == 0.4
    assert all(layer["mark"]["type"] != "text" for layer in spec["layer"])
    (rows,) = spec["datasets"].values()
    assert [row["label"] for row in rows][:2] == ["float32: 0.49 J", "bfloat16: 0.24 J"]
    measured = see.decode_chart(decode.assign(basis="measured"), "t", "s").to_dict()
    assert "opacity" not in measured["layer"][0]["mark"]


def test_the_race_widget_asks_for_something_that_can_race():
    with pytest.raises(TypeError, match="measure"):
        see.race_widget("fast")


WRONG = {
    "ternary-absmean": [
        (lambda w: (w / w.abs().mean()).round().clamp(-1, 1), "two things"),
        (lambda w: ((w / w.mean()).round().clamp(-1, 1), w.mean()), "average their magnitudes"),
        (lambda w: ((w / w.abs().max()).round(), w.abs().max()), "mean magnitude"),
        (lambda w: ((w / w.abs().mean()).round(), w.abs().mean()), "clamp"),
        (lambda w: (w.sign(), w.abs().mean()), "binary BitNet"),
    ],
    "ternary-five-trits": [
        (lambda t: sum(x * 3**i for i, x in enumerate(t)), "no sign"),
        (lambda t: sum((x + 1) * 4**i for i, x in enumerate(t)), "multiply by 3"),
        (lambda t: sum(x + 1 for x in t), "cannot be told apart"),
    ],
    "ternary-per-user": [(8.94, "sequences that share it"), (1.23, "upside down"), (3, "2977 / 176")],
    "ternary-memory": [(13.69, "stay at 16 bits"), (13.8, "not every weight"), (14.7e9, "gigabytes"), (30, "1.6 bits")],
}


@pytest.mark.parametrize("name", WRONG)
def test_each_slip_gets_its_own_hint_and_the_reference_passes(name):
    task = solutions()[name]
    assert task.verdict(task.reference) is None
    for answer, hint in WRONG[name]:
        assert hint in task.verdict(answer)
