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


def test_energies_name_the_machine_and_a_damaged_entry_is_left_out():
    found = classroom.energies(CLASS)
    assert found["energy_j"].tolist() == [20.0, 50.0]
    assert found["machine"].tolist() == ["a chip, 2 cores", "a chip, 8 cores"]
    text = title(classroom.energy_chart(found, "ternary: baseline"))
    assert text == "ternary: baseline: the most is 2.5 times the least, over 2 machines"
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
