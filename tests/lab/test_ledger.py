"""The ledger: no saving where quality fell, and savings stack as a product of what remains."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlab.lab import ledger, state

SAVING = {"baseline_j": 20.0, "saved_fraction": 0.25, "quality_before": 0.8, "quality_after": 0.8, "basis": "measured"}


@pytest.fixture(autouse=True)
def first_session(empty_state):
    """No chapter was run."""


@given(st.lists(st.floats(min_value=-1.0, max_value=1.0), max_size=6))
def test_stacking_equals_spending_the_joules_one_after_the_other(fractions):
    """The naive loop: start with one joule, each technique takes its share of what is left. Order does not matter."""
    left = 1.0
    for fraction in fractions:
        left -= left * fraction
    assert ledger.stack(fractions) == pytest.approx(1 - left, abs=1e-12)
    assert ledger.stack(fractions[::-1]) == pytest.approx(ledger.stack(fractions), abs=1e-12)


@pytest.mark.parametrize(
    ("change", "counts", "reason"),
    [
        ({"quality_after": 0.8}, 0.25, ""),
        ({"quality_after": 0.9}, 0.25, ""),
        ({"quality_after": 0.785}, 0.25, ""),
        ({"quality_after": 0.78}, 0.0, "quality fell by 2.5% and 2.0% is allowed"),
        ({"quality_after": 0.78, "tolerance": 0.05}, 0.25, ""),
        ({"quality_before": 2.0, "quality_after": 2.03, "higher_is_better": False}, 0.25, ""),
        ({"quality_before": 2.0, "quality_after": 1.5, "higher_is_better": False}, 0.25, ""),
        ({"quality_before": 2.0, "quality_after": 2.2, "higher_is_better": False}, 0.0, "the loss rose by 10.0%"),
        ({"quality_after": 0.1, "saved_fraction": -0.1}, -0.1, ""),
    ],
)
def test_no_saving_counts_where_quality_fell(change, counts, reason):
    """A loss of quality beyond the tolerance sets the saving to zero and says why; extra cost counts whatever happens."""
    entry = ledger.record("ternary", "packed weights", **SAVING | change)
    assert entry.saved_fraction == counts
    assert entry.claimed_fraction == change.get("saved_fraction", 0.25)
    assert reason in entry.reason
    assert bool(entry.reason) == bool(reason)


def test_an_entry_says_itself_in_a_sentence():
    good = ledger.record("ternary", "Packed weights", **SAVING)
    assert str(good) == "Packed weights: saves 25% of 20 J (measured), quality 0.8 -> 0.8."
    bad = ledger.record("ternary", "Packed weights", **SAVING | {"quality_after": 0.4})
    expected = (
        "Packed weights: 25% of 20 J (measured) does not count, because quality fell by 50.0% and 2.0% is allowed."
    )
    assert str(bad) == expected


def test_the_table_is_in_book_order_and_stacks():
    """By hand: 0.75 remains after layer pruning, times 0.5 after ternary is 0.375."""
    ledger.record("ternary", "packed", **SAVING | {"saved_fraction": 0.5})
    ledger.record("layer_pruning", "six layers", **SAVING | {"saved_fraction": 0.1})
    ledger.record("layer_pruning", "six layers", **SAVING)
    table = ledger.table()
    assert table.chapter.tolist() == ["layer_pruning", "ternary"]
    assert table.remaining_fraction.tolist() == pytest.approx([0.75, 0.375])
    assert table.origin.tolist() == ["your run", "your run"]


def test_committed_entries_fill_the_chapters_that_were_not_run():
    """The capstone's Run All works on the first day; what the reader measured comes before what we did."""
    committed = [ledger.record(chapter, "ours", **SAVING) for chapter in ("distillation", "ternary")]
    for entry in committed:
        state.forget("ledger", entry.chapter)
    assert ledger.table().empty
    ledger.record("ternary", "theirs", **SAVING | {"saved_fraction": 0.5})
    table = ledger.table(defaults=committed)
    assert table[["chapter", "technique", "origin"]].to_numpy().tolist() == [
        ["distillation", "ours", "committed study"],
        ["ternary", "theirs", "your run"],
    ]
    assert table.columns.tolist() == ledger.table().columns.tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chapter": "ternery"}, "no chapter 'ternery'; close to it: ternary"),
        ({"saved_fraction": 25}, "saved_fraction is 25.*such as 0.2 for 20 %"),
        ({"saved_fraction": math.nan}, "saved_fraction is nan"),
        ({"baseline_j": 0}, "baseline_j is 0"),
        ({"quality_after": math.inf}, "quality is 0.8 before and inf after"),
        ({"quality_before": 0}, "quality_before is 0; losses are shares of it"),
        ({"basis": "guessed"}, "basis is 'guessed'; write measured, modelled, cited"),
        ({"tolerance": 1.0}, "tolerance is 1.0"),
    ],
)
def test_a_row_that_means_nothing_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ledger.record(**{"chapter": "ternary", "technique": "packed", **SAVING, **change})
    assert state.load("ledger") == {}


def test_a_row_of_another_version_is_named_with_its_file(empty_state):
    state.save("ledger", "ternary", {"chapter": "ternary", "joules": 3})
    with pytest.raises(ValueError, match=r"ternary.json is not a ledger entry.*delete it"):
        ledger.table()


def test_entries_cannot_be_changed_after_the_fact():
    entry = ledger.record("ternary", "packed", **SAVING | {"quality_after": 0.1})
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.saved_fraction = 0.25
