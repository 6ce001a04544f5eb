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
        ({"quality_after": 0.78}, 0.0, "quality fell by 2.5 % and 2.0 % is allowed"),
        ({"quality_after": 0.78, "tolerance": 0.05}, 0.25, ""),
        ({"quality_before": 2.0, "quality_after": 2.03, "higher_is_better": False}, 0.25, ""),
        ({"quality_before": 2.0, "quality_after": 1.5, "higher_is_better": False}, 0.25, ""),
        ({"quality_before": 2.0, "quality_after": 2.2, "higher_is_better": False}, 0.0, "the loss rose by 10.0 %"),
        ({"quality_after": 0.1, "saved_fraction": -0.1}, -0.1, ""),
    ],
)
def test_no_saving_counts_where_quality_fell(change, counts, reason):
    """A loss of quality beyond the tolerance sets the saving to zero and says why; extra cost always counts."""
    entry = ledger.record("ternary", "packed weights", **SAVING | change)
    assert entry.saved_fraction == counts
    assert entry.claimed_fraction == change.get("saved_fraction", 0.25)
    assert reason in entry.reason
    assert bool(entry.reason) == bool(reason)


def test_an_entry_says_itself_in_a_sentence():
    good = ledger.record("ternary", "Packed weights", **SAVING)
    assert str(good) == "Packed weights: saves 25 % of 20 J (measured), quality 0.8 -> 0.8."
    bad = ledger.record("ternary", "Packed weights", **SAVING | {"quality_after": 0.4})
    expected = (
        "Packed weights: 25 % of 20 J (measured) does not count, because quality fell by 50.0 % and 2.0 % is allowed."
    )
    assert str(bad) == expected
    dear = ledger.record("ternary", "More experts", **SAVING | {"saved_fraction": -0.5})
    assert str(dear) == "More experts: takes 50 % more than 20 J (measured), quality 0.8 -> 0.8."


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
        state.forget("ledger", entry.key)
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
        ({"chapter": 7}, "chapter is 7"),
        ({"technique": None}, "technique is None"),
        ({"saved_fraction": 25}, "saved_fraction=25.*such as 0.2 for 20 %"),
        ({"saved_fraction": math.nan}, "saved_fraction=nan"),
        ({"saved_fraction": True}, "saved_fraction=True is bool"),
        ({"saved_fraction": "0.2"}, "saved_fraction='0.2' is str"),
        ({"baseline_j": 0}, "baseline_j=0"),
        ({"baseline_j": None}, "no baseline given; give exactly one of baseline_j, baseline_g, baseline_b"),
        ({"baseline_g": 3.0}, "baseline_j and baseline_g given; give exactly one"),
        ({"baseline_j": None, "baseline_b": math.inf}, "baseline_b=inf"),
        ({"quality_after": math.inf}, "quality_after=inf"),
        ({"quality_before": 0}, "quality_before=0.*losses of quality are shares of it"),
        ({"basis": "guessed"}, "no basis 'guessed'"),
        ({"basis": "MODELLED"}, "no basis 'MODELLED'"),
        ({"tolerance": 1.0}, "tolerance=1.0"),
        ({"higher_is_better": "no"}, "higher_is_better='no' is str"),
    ],
)
def test_a_row_that_means_nothing_is_refused(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        ledger.record(**{"chapter": "ternary", "technique": "packed", **SAVING, **change})
    assert state.load("ledger") == {}


ROW = {
    "chapter": "ternary", "technique": "t", "quantity": "energy", "baseline": 1.0, "saved_fraction": 0.5,
    "claimed_fraction": 0.5, "quality_before": 1, "quality_after": 1, "basis": "measured", "note": "", "reason": "",
}  # fmt: skip
OLD = {name: value for name, value in ROW.items() if name not in ("quantity", "baseline")} | {"baseline_j": 1.0}


def test_a_row_of_the_version_that_knew_joules_only_is_read(empty_state):
    state.save("ledger", "ternary", OLD)
    assert ledger.table()[["chapter", "quantity", "baseline", "unit"]].to_numpy().tolist() == [
        ["ternary", "energy", 1.0, "J"]
    ]
    state.save("ledger", "ternary.energy", ROW | {"technique": "newer"})
    assert ledger.table().technique.tolist() == ["newer"]


@pytest.mark.parametrize(
    ("key", "row", "said"),
    [
        ("hardware.energy", ROW | {"chapter": "hardware", "version": 2}, "unexpected keyword argument 'version'"),
        ("hardware.energy", ROW, "it says chapter ternary and quantity energy"),
        ("ternary.carbon", ROW, "it says chapter ternary and quantity energy"),
        ("hardware.energy", ROW | {"chapter": "hardware", "baseline": "1"}, "baseline='1' is str"),
        ("hardware", OLD, "it says chapter ternary and quantity energy"),
        ("hardware", OLD | {"chapter": "hardware", "version": 0}, "unexpected keyword argument 'version'"),
        ("load_shifting", OLD | {"chapter": "load_shifting"}, "it says joules and means carbon"),
    ],
)
def test_a_row_of_another_version_stops_nothing(empty_state, key, row, said):
    """The good rows stand, the other is left out with its file and the reason."""
    state.save("ledger", "ternary.energy", ROW)
    state.save("ledger", key, row)
    with pytest.warns(UserWarning, match=rf"ledger/{key}.json is left out: .*{said}"):
        assert ledger.table().chapter.tolist() == ["ternary"]


def test_recording_keeps_the_row_of_another_version_aside(empty_state):
    state.save("ledger", "ternary.energy", ROW | {"version": 2})
    state.save("ledger", "ternary", OLD)
    ledger.record("ternary", "packed", **SAVING)
    names = sorted(path.name for path in (empty_state / "ledger").iterdir())
    assert names == ["ternary.energy.json", "ternary.energy.json.damaged-1"]
    assert ledger.table().technique.tolist() == ["packed"]


def test_carbon_energy_and_memory_are_never_multiplied_with_one_another():
    """By hand: 0.75 of the energy remains, 0.88 of the carbon, a tenth of the memory."""
    carbon = {name: value for name, value in SAVING.items() if name != "baseline_j"} | {"basis": "modelled"}
    ledger.record("ternary", "packed", **SAVING)
    ledger.record("load_shifting", "a day of slack", **carbon | {"baseline_g": 83_000.0, "saved_fraction": 0.12})
    ledger.record("ternary", "packed", **carbon | {"baseline_b": 540e6, "saved_fraction": 0.9})
    ledger.record("footprint", "a better building", **SAVING | {"saved_fraction": 0.0})
    table = ledger.table()
    found = table[["quantity", "chapter", "unit", "baseline"]].to_numpy().tolist()
    assert found == [
        ["energy", "footprint", "J", 20.0],
        ["energy", "ternary", "J", 20.0],
        ["carbon", "load_shifting", "g", 83_000.0],
        ["memory", "ternary", "B", 540e6],
    ]
    assert table.remaining_fraction.tolist() == pytest.approx([1.0, 0.75, 0.88, 0.1])


def test_the_sentence_names_the_quantity_and_its_unit():
    saving = {"saved_fraction": 0.12, "quality_before": 1, "quality_after": 1, "basis": "modelled"}
    entry = ledger.record("load_shifting", "Patience", baseline_g=83_000.0, **saving)
    assert str(entry) == "Patience: saves 12 % of 83 kg CO2e (carbon, modelled), quality 1 -> 1."
    entry = ledger.record("ternary", "Packing", baseline_b=540e6, **saving)
    assert str(entry) == "Packing: saves 12 % of 540 MB (memory, modelled), quality 1 -> 1."


@pytest.mark.parametrize("fractions", [3, None, "0.5", [True], ["0.5"], [None]])
def test_stacking_refuses_what_is_no_share(fractions):
    with pytest.raises(TypeError, match="saved_fractions"):
        ledger.stack(fractions)


@pytest.mark.parametrize("fraction", [1.1, math.nan, -math.inf])
def test_stacking_refuses_shares_out_of_range(fraction):
    with pytest.raises(ValueError, match="saved_fractions"):
        ledger.stack([0.5, fraction])


def test_a_default_that_is_no_entry_is_refused():
    with pytest.raises(TypeError, match="defaults holds"):
        ledger.table([ROW])


def test_entries_cannot_be_changed_after_the_fact():
    entry = ledger.record("ternary", "packed", **SAVING | {"quality_after": 0.1})
    with pytest.raises(dataclasses.FrozenInstanceError):
        entry.saved_fraction = 0.25
