"""Predict, reveal, calibrate: deterministic without a reader, kept with one."""

import ipywidgets as W
import pandas as pd
import pytest

from greenlab.lab import calibration, predict, predictions, reveal


@pytest.fixture(autouse=True)
def first_session(empty_state, monkeypatch):
    monkeypatch.setattr(predictions, "_asked", {})


def commit(question, value):
    """What a reader does: move the slider, press the button."""
    question.slider.value = value
    question.button.click()


def test_run_all_without_a_reader_is_deterministic(capsys):
    """nbval compares this text: moving nothing gives the same words every time, and keeps nothing."""
    for _ in range(2):
        predict("layers", "How many?", low=0, high=30, unit="layers")
        reveal("layers", 6, unit="layers")
    text = capsys.readouterr().out
    once = "Your prediction: none yet. Move the slider above, press Commit, and run this cell again.\nThe answer:      6 layers\n"
    assert text == 2 * once
    assert calibration().empty


@pytest.mark.parametrize(
    ("guess", "truth", "options", "said"),
    [
        (10, 6, {}, "You were 4 layers too high, 67% of the answer."),
        (3, 6, {}, "You were 3 layers too low, 50% of the answer."),
        (6, 6, {}, "A good call: within 0.6 layers."),
        (10, 6, {"tolerance": 4}, "A good call: within 4 layers."),
        (11, 6, {"tolerance": 4}, "You were 5 layers too high"),
        (3, 0, {}, "You were 3 layers too high.\n"),
    ],
)
def test_the_reveal_compares(capsys, guess, truth, options, said):
    commit(predict("layers", "How many?", low=0, high=30, unit="layers"), guess)
    reveal("layers", truth, unit="layers", **options)
    assert f"Your prediction: {guess} layers\nThe answer:      {truth} layers\n{said}" in capsys.readouterr().out


def test_a_prediction_outlives_the_kernel(capsys, monkeypatch):
    """The next session shows it, its reveal counts, and committing again replaces it."""
    commit(predict("layers", "How many?", low=0, high=30, unit="layers"), 9)
    monkeypatch.setattr(predictions, "_asked", {})
    again = predict("layers", "How many?", low=0, high=30, unit="layers")
    assert again.slider.value == 9
    assert "You said 9 layers earlier" in again.message.value
    commit(again, 7)
    assert "Kept: 7 layers" in again.message.value
    reveal("layers", 6, unit="layers")
    assert "Your prediction: 7 layers" in capsys.readouterr().out
    assert calibration().prediction.tolist() == [7]


def test_a_stored_prediction_outside_a_changed_slider_is_shown_at_its_end():
    commit(predict("layers", "How many?", low=0, high=30), 25)
    assert predict("layers", "How many?", low=0, high=20).slider.value == 20


def test_calibration_keeps_score_over_the_book():
    """By hand: 10 against 6 is 4 too high and no good call; 0.5 against 0.52 is within a tenth."""
    commit(predict("layer-pruning", "How many layers?", low=0, high=30, unit="layers"), 10)
    commit(predict("ternary", "What share?", low=0.0, high=1.0, step=0.05), 0.5)
    commit(predict("retrieval", "Not revealed yet?", low=0, high=1), 1)
    reveal("layer-pruning", 6, unit="layers")
    reveal("ternary", 0.52)
    expected = pd.DataFrame(
        {
            "id": ["layer-pruning", "ternary"],
            "question": ["How many layers?", "What share?"],
            "prediction": [10.0, 0.5],
            "truth": [6.0, 0.52],
            "unit": ["layers", ""],
            "error": [4.0, -0.02],
            "good_call": [False, True],
        }
    )
    pd.testing.assert_frame_equal(calibration(), expected, check_dtype=False)


def test_the_slider_is_of_the_kind_of_its_numbers():
    assert type(predict("a", "?", low=0, high=10).slider) is W.IntSlider
    assert predict("a", "?", low=0, high=10).slider.value == 5
    assert type(predict("b", "?", low=0, high=1, step=0.1).slider) is W.FloatSlider
    assert predict("c", "?", low=0, high=10, default=2).slider.value == 2
    assert repr(predict("d", "How many?", low=0, high=10)) == "[prediction] How many?"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 3, "high": 3}, "low must be below high"),
        ({"low": 0, "high": 3, "step": 0}, "the step fit between"),
        ({"low": 0, "high": 3, "step": 4}, "the step fit between"),
        ({"low": 0, "high": 3, "default": 4}, "default is 4; give a number from 0 to 3"),
        ({"low": 0, "high": 3, "id": "Not An Id"}, "use small letters"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        predict(**{"id": "a", "question": "?", **arguments})


def test_a_reveal_of_a_mistyped_id_is_an_error():
    """Else it would say "none yet" for ever."""
    predict("layer-pruning", "?", low=0, high=3)
    with pytest.raises(
        ValueError, match="no prediction 'layer-prunning'; close to it: layer-pruning; run the cell with predict"
    ):
        reveal("layer-prunning", 3)
    with pytest.raises(ValueError, match="tolerance is -1"):
        reveal("layer-pruning", 3, tolerance=-1)
