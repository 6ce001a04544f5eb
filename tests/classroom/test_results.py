"""What a class found: by hand, for two learners."""

import pandas as pd
import pytest

from greenlab.lab import classroom
from greenlab.lab.classroom import Submission
from tests.classroom.test_submission import MACHINE


def guess(value, truth=10.0):
    entry = {"question": "how many", "unit": "J", "prediction": value, "tolerance": 1.0}
    return {"joules": entry | ({} if truth is None else {"truth": truth})}


def energy(joules, basis="measured"):
    return {"ternary.energy": {"quantity": "energy", "chapter": "ternary", "baseline": joules, "basis": basis}}


CLASS = [
    Submission("Ada", predictions=guess(10.5), ledger=energy(20.0), machine=MACHINE),
    Submission("Ben", predictions=guess(40.0), ledger=energy(50.0, "modelled"), machine=MACHINE | {"cores": 8}),
    Submission(
        "Cem", predictions=guess(40.0, None), ledger={"x": {"quantity": "energy", "baseline": "7"}}, machine=MACHINE
    ),
]


def title(chart):
    found = chart.to_dict()["title"]
    return found["text"] if isinstance(found, dict) else found


def test_calibration_counts_revealed_predictions_only():
    found = classroom.calibration(CLASS)
    assert found["learner"].tolist() == ["Ada", "Ben"]
    assert found["ratio"].tolist() == [1.05, 4.0]
    assert found["good_call"].tolist() == [True, False]
    assert title(classroom.calibration_chart(found)) == "1 of 2 predictions are good calls"


def bill(joules, label="one token", **changes):
    entry = {"label": label, "chapter": "ternary", "energy_j": joules, "low_j": joules / 2, "high_j": joules * 2}
    return {"ternary.a": entry | {"basis": "measured"} | changes}


def of(name, receipts):
    return Submission(name, receipts=receipts, machine=MACHINE)


def test_the_joules_of_receipts_differ_between_machines_with_their_ranges():
    found = classroom.energies([of("Ada", bill(2.0)), of("Ben", bill(6.0, basis="modelled")), *CLASS[:1]])
    assert found["run"].tolist() == ["ternary: one token", "ternary: one token", "ternary: baseline"]
    assert found["low_j"].tolist()[:2] == [1.0, 3.0]
    assert found["high_j"].tolist()[:2] == [4.0, 12.0]
    apart = classroom.spreads(found)
    assert apart.iloc[0].to_dict() == {
        "run": "ternary: one token",
        "readers": 2,
        "machines": 1,
        "least_j": 2.0,
        "most_j": 6.0,
        "factor": 3.0,
        "bases": "measured and modelled",
    }
    chart = classroom.energy_chart(found, "ternary: one token")
    assert title(chart) == "ternary: one token: 2 readers, 1 kind of machine; the most is 3 times the least"
    assert '"low_j"' in chart.to_json()


@pytest.mark.parametrize(
    "made_up",
    [
        {"energy_j": -1.0}, {"energy_j": True}, {"energy_j": "2"}, {"low_j": 3.0}, {"high_j": 1.0}, {"low_j": None},
        {"high_j": []}, {"basis": "cited"}, {"basis": ["measured"]}, {"label": "x" * 101}, {"label": "\x1b[2J"},
        {"label": {"a": 1}}, {"chapter": 7}, {"energy_j": 10**400},
    ],
)  # fmt: skip
def test_a_made_up_receipt_is_left_out_and_the_others_stay(made_up):
    found = classroom.energies([of("Eve", bill(2.0) | {"b": bill(2.0, **made_up)["ternary.a"]})])
    assert found["energy_j"].tolist() == [2.0]


def test_two_readers_of_one_name_stay_two():
    found = classroom.energies([of("Zoe\u0308 L.", bill(2.0)), of("zo\u00eb  l.", bill(6.0)), of("Ada", bill(1.0))])
    assert found["learner"].tolist() == ["Zoe\u0308 L.", "zo\u00eb  l. (2)", "Ada"]
    assert ": 3 readers, 1 kind of machine;" in title(classroom.energy_chart(found, "ternary: one token"))


def test_energies_name_the_machine_and_a_damaged_entry_is_left_out():
    found = classroom.energies(CLASS)
    assert found["energy_j"].tolist() == [20.0, 50.0]
    assert found["machine"].tolist() == ["a chip, 2 cores", "a chip, 8 cores"]
    text = title(classroom.energy_chart(found, "ternary: baseline"))
    assert text == "ternary: baseline: 2 readers, 2 kinds of machine; the most is 2.5 times the least"
    with pytest.raises(ValueError, match="run"):
        classroom.energy_chart(found, "no such run")


def test_the_hardest_exercise_comes_first_and_the_untried_do_not_count():
    outcomes = [("a", "correct"), ("a", "wrong"), ("b", "correct"), ("b", "not tried"), ("", "refused")]
    table = pd.DataFrame(outcomes, columns=["exercise", "outcome"])
    found = classroom.shares_right(table)
    assert found.to_dict("list") == {
        "exercise": ["a", "b"],
        "tried": [2, 1],
        "correct": [1, 1],
        "share_pct": [50.0, 100.0],
    }
    assert title(classroom.answers_chart(found)) == "The hardest is a: 1 of 2 have it right"


@pytest.mark.parametrize(("readers", "words"), [(1, "1 reader, 1"), (2, "2 readers, 1"), (40, "40 readers, 1")])
def test_readers_on_one_server_are_not_as_many_machines(readers, words):
    found = classroom.energies([of(f"L{n}", bill(2.0)) for n in range(readers)])
    assert classroom.spreads(found)[["readers", "machines"]].values.tolist() == [[readers, 1]]
    text = title(classroom.energy_chart(found, "ternary: one token"))
    assert text.startswith(f"ternary: one token: {words}")
    assert ("times the least" in text) == (readers > 1)


def test_one_reader_with_several_energies_of_one_name_is_one_reader_and_is_drawn():
    entries = {
        f"k{n}": {"quantity": "energy", "chapter": "retrieval", "basis": "measured", "baseline": 5.0 + n}
        for n in range(3)
    }
    found = classroom.energies([Submission("Ada", ledger=entries, machine=MACHINE)])
    assert classroom.spreads(found)[["readers", "machines", "factor"]].values.tolist() == [[1, 1, 1.4]]
    chart = classroom.energy_chart(found, "retrieval: baseline")
    assert title(chart) == "retrieval: baseline: 1 reader, 1 kind of machine; the most is 1.4 times the least"
    assert "no. 3" in chart.to_json()


@pytest.mark.parametrize("made_up", [5e-324, 1e308])
def test_an_energy_that_no_run_can_have_does_not_make_the_others_vanish(made_up):
    lot = [of("Ada", bill(2.0)), of("Eve", bill(2.0, energy_j=made_up, low_j=0.0, high_j=1.7e308))]
    assert classroom.energies(lot)["learner"].tolist() == ["Ada"]


@pytest.mark.parametrize(
    ("outcomes", "words"),
    [
        (["correct", "correct"], "All who tried an exercise have it right"),
        (["wrong", "wrong"], "The 2 hardest exercises: 0 % have each of them right"),
        (["correct", "wrong"], "The hardest is b: 0 of 1 have it right"),
    ],
)
def test_the_title_names_one_exercise_as_the_hardest_only_if_it_is_alone(outcomes, words):
    table = pd.DataFrame({"exercise": ["a", "b"], "outcome": outcomes})
    assert title(classroom.answers_chart(classroom.shares_right(table))) == words
