"""What levers cost in quality is what the studies measured, and no quality is invented between them."""

import pytest

from greenlab.core import facts
from greenlab.green_service import DEFAULT, effects, own_study, quality_kept, quality_table, without_layers
from greenlab.green_service.committed import figure, table


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 8, 10, 12])
def test_layers_are_the_rows_of_chapter_6(n):
    rows = table("layer_pruning", "curve")
    row = rows[(rows["method"] == "block_influence") & (rows["n_removed"] == n)].iloc[0]
    whole = rows[rows["method"] == "none"].iloc[0]
    effect = without_layers(n, 30)
    assert effect.kept == pytest.approx(row["accuracy"] / whole["accuracy"], rel=1e-4)
    assert effect.basis == "measured"


def test_between_rows_it_is_interpolated_and_says_so():
    between, ends = without_layers(7, 30), (without_layers(6, 30), without_layers(8, 30))
    assert between.kept == pytest.approx((ends[0].kept + ends[1].kept) / 2)
    assert between.basis == "modelled"
    assert "interpolated" in between.remark
    other = without_layers(16, 80)  # the same share of a larger model
    assert other.kept == pytest.approx(without_layers(6, 30).kept)
    assert without_layers(0, 30).kept == 1


@pytest.mark.parametrize("n", [4, 6, 8])
def test_healed_layers_are_chapter_6s(n):
    accuracy = figure("layer_pruning", f"accuracy-{n}-healed-teacher") / figure("layer_pruning", "accuracy-0")
    assert without_layers(n, 30, healed=True).kept == pytest.approx(accuracy)


@pytest.mark.parametrize("bits", [8, 4])
def test_bits_are_chapter_7s(bits):
    rows = table("ternary", "smollm2").set_index("after")["accuracy"]
    assert quality_kept(DEFAULT.replace(bits=bits)) == pytest.approx(rows[f"{bits}bit"] / rows["none"], rel=1e-4)


def test_ternary_weights_are_trained_and_not_rounded():
    kept = quality_kept(DEFAULT.replace(bits=2))
    assert kept == pytest.approx(1 / (1 + figure("ternary", "gap-share-128") / 100), rel=1e-4)
    assert kept > 0.9


def test_a_mixture_of_depths_is_chapter_5s():
    kept = quality_kept(DEFAULT.replace(capacity=0.125))
    assert kept == pytest.approx(1 / (1 + figure("mixture_of_depths", "gap-share-mod") / 100), rel=1e-4)


def test_another_model_is_judged_against_the_reference():
    one = effects(DEFAULT.replace(model="Llama-3.2-1B"))[0]
    assert one.kept == pytest.approx(facts.value("mmlu-llama3p2-1b") / facts.value("mmlu-llama3p1-8b"))
    assert one.basis == "cited"
    better = DEFAULT.replace(model="Qwen3-30B-A3B")
    assert effects(better)[0].kept > 1
    assert quality_kept(better) == 1  # what is better pays for nothing
    assert quality_kept(better.replace(bits=8)) == quality_kept(DEFAULT.replace(bits=8))


def test_our_own_students_are_named_beside_the_published_scores():
    assert own_study("distilled") == pytest.approx(
        figure("distillation", "loss-teacher") / figure("distillation", "loss-half-distilled")
    )
    experts = figure("mixture_of_experts", "loss-over-8-experts-top-2")
    dense = figure("mixture_of_experts", "loss-over-dense-total-size")
    assert own_study("mixture of experts") == pytest.approx(dense / experts, rel=1e-4)
    assert "own study" in effects(DEFAULT.replace(model="Llama-3.1-Minitron-4B"))[0].remark


def test_levers_multiply_and_the_table_shows_each():
    service = DEFAULT.replace(bits=8, removed_layers=2, index="minilm", retrieved_tokens=140)
    shown = quality_table(service)
    assert shown["lever"].tolist() == ["fewer layers", "fewer bits", "retrieval", "fewer layers beside retrieval"]
    assert shown["counted"].prod() == pytest.approx(quality_kept(service))
    assert len(quality_table(DEFAULT)) == 0


@pytest.mark.parametrize(("n", "healed"), [(13, False), (9, True), (-1, False)])
def test_nothing_is_said_beyond_what_was_measured(n, healed):
    with pytest.raises(ValueError, match="n_removed"):
        without_layers(n, 30, healed=healed)
