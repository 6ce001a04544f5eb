"""A judgement is right only for exactly what is missing, and one claim is whole."""

import itertools

import pytest

from greenlab.green_service import CLAIMS, KINDS, judge

SUBSETS = [list(some) for n in range(len(KINDS) + 1) for some in itertools.combinations(KINDS, n)]


@pytest.mark.parametrize("claim_id", sorted(CLAIMS))
def test_exactly_one_answer_of_all_is_right(claim_id):
    right = [some for some in SUBSETS if judge(claim_id, some).correct]
    assert [set(some) for some in right] == [set(CLAIMS[claim_id].missing)]


def test_no_single_answer_fits_half_of_the_claims():
    for some in SUBSETS:
        assert sum(judge(claim_id, some).correct for claim_id in CLAIMS) <= 2


def test_each_thing_is_missing_somewhere_and_there_elsewhere():
    assert len(CLAIMS) == 10
    for kind in KINDS:
        missing = sum(kind in claim.missing for claim in CLAIMS.values())
        assert 2 <= missing <= 6, kind


def test_hints_say_what_to_look_at_and_do_not_solve_it():
    found = judge("per-prompt-chip", ["PUE"])
    assert (found.found, found.overlooked, found.wrong) == (("PUE",), 1, ())
    assert found.hint == "1 more is missing"
    wrong = judge("per-prompt-chip", ["PUE", "embodied"])
    assert wrong.wrong == ("embodied",)
    assert "scope" not in wrong.hint
    assert "scope" in judge("per-prompt-chip", ["scope", "PUE"]).hint
    assert judge("joules-per-token", []).hint == "nothing is missing: it says what it counts"


@pytest.mark.parametrize("claim_id", sorted(CLAIMS))
def test_every_reason_is_a_sentence(claim_id):
    claim = CLAIMS[claim_id]
    assert 20 < len(claim.text) < 300
    assert all(len(why) > 15 for why in claim.missing.values())


@pytest.mark.parametrize(
    ("claim_id", "missing", "message"),
    [
        ("no-such-claim", [], "claim_id"),
        ("four-bits", ["hope"], "missing"),
        ("four-bits", "quality", "missing"),
        ("four-bits", ["quality", "quality"], "name each thing once"),
        (None, [], "claim_id"),
    ],
)
def test_what_is_no_answer_is_refused(claim_id, missing, message):
    with pytest.raises((ValueError, TypeError), match=message):
        judge(claim_id, missing)
