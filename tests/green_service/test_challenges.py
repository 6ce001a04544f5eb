"""The scores of the three levels are pinned, and the ways around the work are closed."""

import itertools
from functools import lru_cache

import pytest
from hypothesis import given, settings

from greenlab.core import facts
from greenlab.green_service import CHALLENGES, DEFAULT, MODELS, challenge, evaluate, refusals, score
from greenlab.green_service.challenges import FIXED
from tests.green_service.test_design import services

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
        (1, DEFAULT.replace(batch=64, bits=4), 1),  # the joules are saved, and no saving counts: quality is gone
        (1, DEFAULT.replace(model="SmolLM2-135M"), 1),  # a model that answers wrongly is no saving
        (1, DEFAULT.replace(batch=1), 2),
        (2, SOLUTIONS[2].replace(region="NO"), 5),  # clean, and hydropower takes water
        (2, SOLUTIONS[2].replace(region="PL"), 5),
        (3, LARGE.replace(model="Llama-3.1-8B", batch=128, bits=8, region="FR", pue=BEST, utilization=0.8), 2),
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


# Can a level be won by a trick? ---------------------------------------------------------------------------------------

CHOICES = {  # what can be chosen, with the ends of each range; the work of a level cannot
    "model": list(MODELS), "bits": [16, 8, 4, 2], "capacity": [1.0, 0.125], "removed_layers": [0, 1, 2, 8],
    "batch": [1, 16, 32, 64, 128, 256, 1024, 4096], "device": ["a100-sxm4-80gb", "h100-sxm5-80gb", "h200-sxm", "b200"],
    "n_devices": [None, 10_000], "utilization": [0.01, 0.5, 0.6, 0.7, 0.8, 1.0], "pue": [None, 1.0, BEST],
    "wue_l_per_kwh": [None, 0.0], "region": ["DE", "PL", "SE", "NO", "IS", "FR", "BE", "WORLD"],
    "flexible": [0.0, 0.2, 0.3, 1.0],
    # and the work, which nobody may make smaller
    "requests_per_day": [1e7, 1.0, 1e12], "input_tokens": [500, 1], "output_tokens": [300, 1],
    "quality_gate": [0.95, 0.01], "reference": list(MODELS),
}  # fmt: skip


@lru_cache
def scored(level, changes):
    """Score of the level's baseline with some changes; None if it cannot be built."""
    try:
        return score(CHALLENGES[level].baseline.replace(**dict(changes)), level)
    except ValueError:
        return None


@pytest.mark.parametrize("level", [2, 3])
def test_no_single_choice_wins_a_level(level):
    found = [scored(level, ((name, value),)) for name, values in CHOICES.items() for value in values]
    built = [one for one in found if one is not None]
    assert len(built) > 40
    assert [one for one in built if one.solved] == []


@pytest.mark.parametrize("level", [1, 2, 3])
def test_no_pair_of_choices_wins_by_a_trick(level):
    """Two of all choices on top of a solved design: whatever still wins has done all the work, at the quality asked."""
    base, given = SOLUTIONS[level], CHALLENGES[level]
    least = next(goal.limit for goal in given.goals if goal.quantity == "quality")
    tried = won = 0
    for one, two in itertools.combinations(CHOICES, 2):
        a, b = CHOICES[one][-1], CHOICES[two][-1]
        try:
            design = base.replace(**{one: a, two: b})
            found = score(design, level)
        except ValueError:
            continue
        tried += 1
        if found.solved:
            won += 1
            outcome = evaluate(design)
            assert [getattr(design, name) for name in FIXED] == [getattr(given.baseline, name) for name in FIXED]
            assert outcome.quality >= least
            assert design.pue is None or design.pue >= BEST
            assert design.utilization <= given.most_utilization
            assert design.flexible <= given.most_flexible
            assert outcome.remarks == (), (one, a, two, b)  # the traffic fills the batch
    assert tried > 80
    assert won < tried / 4


@pytest.mark.parametrize("level", [1, 2, 3])
@settings(deadline=None, max_examples=20)
@given(services())
def test_any_service_at_other_work_scores_nothing(level, service):
    base = CHALLENGES[level].baseline
    same = all(getattr(service, name) == getattr(base, name) for name in FIXED)
    if not same:
        assert score(service, level).points == 0


def test_a_goal_that_gives_no_points_says_why():
    goals = score(DEFAULT.replace(batch=64, bits=4), 1).goals
    assert goals["reached"].tolist() == [True, False, True]
    assert goals["reason"].tolist() == ["quality fell, so no saving counts", "", ""]
    refused = score(SOLUTIONS[1].replace(flexible=1.0), 1).goals
    assert set(refused["reason"]) == {"not allowed at this level"}
    assert goals["most"].sum() == 4
