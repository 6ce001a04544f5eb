"""Chapter 6's tables worked out further: which cut is safe, and which answers changed."""

import pandas as pd
import pytest
from scipy.stats import binomtest

from greenlab.core.model import scoring
from greenlab.layer_pruning import study
from greenlab.layer_pruning.study import tables


def made_up(wrong):
    """A curve and its wrong answers: layers removed -> ids of the items that the best block gets wrong, of 100."""
    rows = [
        {"method": "angular" if n else "none", "n_removed": n, "healing": "none", "seed": 0, "wrong": list(ids)}
        for n, ids in wrong.items()
    ]
    curve = pd.DataFrame(rows).drop(columns="wrong")
    curve = curve.assign(accuracy=[1 - len(ids) / 100 for ids in wrong.values()], n_items=100)
    return curve, tables.wrong_table(rows)


@pytest.mark.parametrize(("lost", "gained"), [(6, 0), (5, 0), (9, 2), (2, 9), (1, 0), (30, 12)])
def test_mcnemar_is_the_binomial_test_of_the_changed_answers(lost, gained):
    expected = binomtest(lost, lost + gained, 0.5).pvalue
    assert scoring.mcnemar(lost, gained) == pytest.approx(expected, rel=1e-12)


def test_nothing_changed_is_no_evidence():
    assert scoring.mcnemar(0, 0) == 1.0


@pytest.mark.parametrize(("lost", "error"), [(-1, ValueError), (1.0, TypeError), (True, TypeError)])
def test_mcnemar_counts_whole_items(lost, error):
    with pytest.raises(error, match="lost="):
        scoring.mcnemar(lost, 3)


def test_the_safe_cut_looks_at_the_same_items_and_ends_at_the_first_clear_fall():
    """Five of five changes are losses: p = 2 / 2**5 > 0.05; six of six: 2 / 2**6 < 0.05; the lucky 6 does not count."""
    few = {0: "ab", 1: "abcdefg", 2: "abcdefgh", 4: "ab", 6: "ab"}
    curve, wrong = made_up(few)
    assert tables.changed_answers(wrong, 1) == (5, 0)
    assert tables.changed_answers(wrong, 2) == (6, 0)
    assert tables.safe_cut(curve, wrong) == 1


def test_answers_that_are_lost_and_gained_in_equal_number_are_no_fall():
    """Eight lost and eight gained: the score is the same."""
    curve, wrong = made_up({0: "abcdefgh", 1: "ijklmnop", 2: "abcdefghijklmn"})
    assert tables.changed_answers(wrong, 1) == (8, 8)
    assert tables.safe_cut(curve, wrong) == 1


def test_a_clear_gain_is_safe():
    curve, wrong = made_up({0: "abcdefghij", 1: "a"})
    assert tables.safe_cut(curve, wrong) == 1


def test_a_cut_without_kept_answers_is_judged_as_if_nothing_had_been_gained():
    curve, wrong = made_up({0: "abcdefgh", 1: "ijklmnopqrstuv", 2: "abc"})  # 14 lost, 8 gained: p = 0.29
    assert tables.safe_cut(curve, wrong) == 2
    assert tables.safe_cut(curve, wrong[wrong["n_removed"] != 1]) == 0  # 6 lost, 0 gained: p = 0.03


def test_answers_that_the_study_did_not_keep_are_named():
    curve, wrong = made_up({0: "ab", 1: "abc"})
    with pytest.raises(ValueError, match="n=2, healing='none': the study kept no answers of that cut"):
        tables.changed_answers(wrong, 2)
    with pytest.raises(ValueError, match=r"n=3, healing='none': the study has 0, 1 layers removed"):
        tables.row_of(curve, 3)


def test_the_committed_wrong_answers_are_those_of_the_committed_scores():
    found = study.load("curve", "wrong")
    keys = ["method", "n_removed", "seed", "healing"]
    wrong = found["wrong"].groupby(keys)["id"].nunique()
    curve = found["curve"].set_index(keys)
    assert ("none", 0, 0, "none") in wrong.index
    assert set(wrong.index) == set(curve.index), "each model of the curve got some item wrong"
    assert set(found["wrong"]["id"]) <= set(scoring.load_cloze()["id"])
    assert ((1 - curve["accuracy"]) * curve["n_items"]).round().astype(int).to_dict() == wrong.to_dict()
