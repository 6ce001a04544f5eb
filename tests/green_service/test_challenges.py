"""The scores of the three levels are pinned, and the ways around the work are closed."""

import pytest

from greenlab.core import facts
from greenlab.green_service import CHALLENGES, DEFAULT, challenge, refusals, score

BEST = facts.value("pue-best")
LARGE = CHALLENGES[3].baseline
SOLUTIONS = {
    1: DEFAULT.replace(batch=64),
    2: DEFAULT.replace(batch=64, bits=8, device="h200-sxm", region="BE", pue=BEST, utilization=0.7),
    3: LARGE.replace(
        model="Qwen3-30B-A3B", batch=128, bits=8, device="h200-sxm", region="FR", pue=BEST, utilization=0.8
    ),
}


@pytest.mark.parametrize(("level", "points", "most"), [(1, 2, 4), (2, 2, 7), (3, 5, 12)])
def test_a_baseline_scores_what_it_has_already(level, points, most):
    found = score(CHALLENGES[level].baseline, level)
    assert (found.points, found.most, found.solved) == (points, most, False)
    assert found.refused == ()


@pytest.mark.parametrize("level", [1, 2, 3])
def test_every_level_can_be_solved(level):
    found = score(SOLUTIONS[level], level)
    assert found.solved, found.goals
    assert found.goals["points"].sum() == found.most


@pytest.mark.parametrize(
    ("level", "service", "points"),
    [
        (1, DEFAULT.replace(batch=64, bits=4), 3),  # saves, and quality is gone
        (1, DEFAULT.replace(batch=1), 2),
        (2, SOLUTIONS[2].replace(region="NO"), 5),  # clean, and hydropower takes water
        (2, SOLUTIONS[2].replace(region="PL"), 5),
        (3, LARGE.replace(model="Llama-3.1-8B", batch=128, bits=8, region="FR", pue=BEST, utilization=0.8), 10),
        (3, SOLUTIONS[3].replace(region="PL"), 10),
    ],
)
def test_half_of_the_way_gives_half_of_the_points(level, service, points):
    assert score(service, level).points == points


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output_tokens": 1}, "output_tokens=1: the work stays the same"),
        ({"requests_per_day": 1e6}, "requests_per_day=1000000.0: the work"),
        ({"quality_gate": 0.1}, "quality_gate=0.1: the work"),
        ({"reference": "SmolLM2-135M"}, "reference='SmolLM2-135M': the work"),
        ({"pue": 1.0}, "pue=1: the best fleet that is published has 1.09"),
        ({"utilization": 1.0}, "utilization=1: peaks need room"),
        ({"flexible": 1.0}, "flexible=1: no more than 0"),
    ],
)
def test_ways_around_the_work_give_no_points(changes, message):
    service = SOLUTIONS[1].replace(**changes)
    found = score(service, 1)
    assert found.points == 0
    assert not found.solved
    assert message in found.refused[0]
    assert refusals(service, 1) == found.refused


def test_water_without_cooling_is_allowed_only_with_the_assumed_range():
    assert "wue_l_per_kwh" in score(SOLUTIONS[2].replace(wue_l_per_kwh=0.0), 2).refused[0]


def test_goals_are_told_in_words():
    for level in CHALLENGES.values():
        for goal in level.goals:
            assert goal.quantity in goal.text or goal.quantity == "pays back"
            assert goal.points > 0


@pytest.mark.parametrize("level", [0, 4, 1.0, "1", True, None])
def test_a_level_that_there_is_not_is_refused(level):
    with pytest.raises((ValueError, TypeError), match="level"):
        challenge(level)
