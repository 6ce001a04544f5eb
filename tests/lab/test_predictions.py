"""Predict, reveal, calibrate: deterministic without a reader, kept with one."""

import json
import math
import warnings

import ipywidgets as W
import pandas as pd
import pytest

from greenlab.lab import calibration, predict, predictions, reveal, state


@pytest.fixture(autouse=True)
def first_session(empty_state, monkeypatch):
    monkeypatch.setattr(predictions, "_asked", {})


def commit(question, value):
    """What a reader does: move the slider, press the button."""
    question.slider.value = value
    question.button.click()


@pytest.fixture
def shown(monkeypatch):
    """What was displayed, as MIME bundles."""
    bundles = []
    monkeypatch.setattr(predictions, "display", lambda bundle, raw: bundles.append(bundle))
    return bundles


def test_run_all_without_a_reader_is_deterministic(capsys, shown):
    """nbval compares this text: moving nothing gives the same words every time, and keeps nothing."""
    for _ in range(2):
        predict("layers", "How many?", low=0, high=30, unit="layers")
        reveal("layers", 6, unit="layers")
    assert capsys.readouterr().out == ""
    assert shown[0] == shown[1]
    assert calibration().empty


def test_the_answer_is_folded_away_until_there_is_a_prediction(shown, capsys):
    """In the page, an HTML fold; in the plain text that a stored page keeps beside it, no answer at all."""
    question = predict("layers", "How many?", low=0, high=30, unit="layers")
    reveal("layers", 6, unit="layers", details="six <b> of them\nand no more")
    (bundle,) = shown
    page = bundle["text/html"]
    assert "You have not predicted yet" in page
    start, end = page.index("<details>"), page.index("</details>")
    assert start < page.index("<summary>Show me anyway</summary>") < page.index("6 layers") < end
    assert start < page.index("six &lt;b&gt; of them\nand no more") < end
    assert "6 layers" not in page[:start] + page[end:]
    assert "6" not in bundle["text/plain"]
    commit(question, 6)
    reveal("layers", 6, unit="layers", details="six of them")
    assert len(shown) == 1
    assert "The answer:      6 layers\nsix of them\nA good call" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("guess", "truth", "options", "said"),
    [
        (10, 6, {}, "You were 4 layers too high, 67 % of the answer."),
        (4, 6, {}, "You were 2 layers too low, 33 % of the answer."),
        (3, 6, {}, "You were 2 times too low."),
        (30, 1.5, {}, "You were 20 times too high."),
        (6, 6, {}, "A good call: within 0.6 layers."),
        (10, 6, {"tolerance": 4}, "A good call: within 4 layers."),
        (11, 6, {"tolerance": 4}, "You were 5 layers too high, 83 % of the answer."),
        (3, 0, {}, "You were 3 layers too high.\n"),
        (0, 0, {}, "A good call: within 0 layers."),
        # within the tolerance, and yet not close: nothing is not something, and 2 is six times 0.34
        (0, 0.079, {"tolerance": 0.1}, "You were 0.079 layers too low."),
        (2, 0.34, {"tolerance": 2}, "You were 5.9 times too high."),
        (3, -4, {"tolerance": 8}, "You were 7 layers too high."),
    ],
)
def test_the_reveal_compares(capsys, guess, truth, options, said):
    commit(predict("layers", "How many?", low=0, high=30, unit="layers"), guess)
    reveal("layers", truth, unit="layers", **options)
    assert f"Your prediction: {guess} layers\nThe answer:      {truth} layers\n{said}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("guess", "truth", "said"),
    [
        (180.0, 1.5, "You were 120 times too high."),
        (0.1, 1234.5, "You were 12,000 times too low."),
        (2.5, 1.5, "A good call: within a factor of 2."),
        (0.76, 1.5, "A good call: within a factor of 2."),
        (0.74, 1.5, "You were 2 times too low."),
    ],
)
def test_on_a_log_scale_factors_count(capsys, guess, truth, said):
    commit(predict("days", "How many?", low=0.1, high=1000, unit="days", scale="log"), guess)
    reveal("days", truth, unit="days", tolerance=0.01)
    assert said in capsys.readouterr().out
    assert calibration().good_call.tolist() == [said.startswith("A good call")]


def test_the_first_commit_counts(capsys, monkeypatch):
    """Also in the next session, in a second window, and after the reveal."""
    first = predict("layers", "How many?", low=0, high=30, unit="layers")
    second_window = predict("layers", "How many?", low=0, high=30, unit="layers")
    commit(first, 9)
    assert "Kept: 9 layers" in first.message.value
    assert first.slider.disabled
    assert first.button.disabled
    commit(second_window, 6)
    assert "Your first prediction stays: 9 layers" in second_window.message.value
    assert second_window.slider.value == 9
    reveal("layers", 6, unit="layers")
    commit(first, 6)
    monkeypatch.setattr(predictions, "_asked", {})
    again = predict("layers", "How many?", low=0, high=30, unit="layers")
    assert again.slider.value == 9
    assert again.button.disabled
    assert "You said 9 layers earlier" in again.message.value
    commit(again, 6)
    reveal("layers", 6, unit="layers")
    assert "Your prediction: 9 layers" in capsys.readouterr().out
    assert calibration()[["prediction", "truth", "good_call"]].to_numpy().tolist() == [[9, 6, False]]


def test_kept_is_said_only_of_what_was_kept(monkeypatch, tmp_path):
    """A folder that cannot be written: the widget itself says so, and the reveal of this session still counts it."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("GREENLAB_STATE", str(blocked))
    question = predict("layers", "How many?", low=0, high=30, unit="layers")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it would end in the log, where nobody looks
        commit(question, 4)
    assert "Kept" not in question.message.value
    assert "4 layers counts until the kernel stops, and is not saved" in question.message.value
    assert "Set GREENLAB_STATE" in question.message.value
    assert predict("layers", "How many?", low=0, high=30).slider.value == 4


GOOD = {"question": "q", "prediction": 6, "unit": "", "truth": 5, "tolerance": 1}


@pytest.mark.parametrize(
    "broken",
    [
        {"version": 2, "question": "q", "answer": 6},
        GOOD | {"prediction": None},
        GOOD | {"prediction": True},
        GOOD | {"prediction": "6"},
        GOOD | {"prediction": 10**400},
        GOOD | {"question": 3},
        {"question": "q", "prediction": 6},
    ],
)
def test_an_entry_of_another_version_stops_nothing(empty_state, broken):
    """It is left out with a warning; a new commit does not overwrite it."""
    state.save("predictions", "good", GOOD)
    (empty_state / "predictions" / "x.json").write_text(json.dumps(broken))
    with pytest.warns(UserWarning, match=r"predictions/x.json is left out"):
        assert calibration().id.tolist() == ["good"]
    with pytest.warns(UserWarning, match=r"predictions/x.json is left out"):
        question = predict("x", "q", low=0, high=9)
    with pytest.warns(UserWarning, match=r"predictions/x.json is left out"):
        commit(question, 3)
    assert json.loads((empty_state / "predictions" / "x.json.damaged-1").read_text()) == broken
    assert predict("x", "q", low=0, high=9).slider.value == 3


@pytest.mark.parametrize("change", [{"tolerance": None}, {"truth": "5"}, {"truth": None}])
def test_a_broken_reveal_leaves_the_prediction(empty_state, change):
    state.save("predictions", "good", GOOD)
    state.save("predictions", "x", GOOD | change)
    with pytest.warns(UserWarning, match=r"predictions/x.json is left out"):
        assert calibration().id.tolist() == ["good"]
    assert predict("x", "q", low=0, high=9).slider.value == 6


def test_a_log_slider_starts_on_a_stop_and_keeps_to_its_ends():
    """The browser rounds to the stops; the kernel's value has to be the one that is shown."""
    slider = predict("a", "?", low=0.001, high=100, default=1, scale="log").slider
    assert type(slider) is W.FloatLogSlider
    assert slider.value == pytest.approx(1)
    slider = predict("b", "?", low=0.03, high=70, scale="log").slider
    stops = (math.log10(slider.value) - slider.min) / slider.step
    assert stops == pytest.approx(round(stops), abs=1e-9)
    assert slider.value == pytest.approx(math.sqrt(0.03 * 70), rel=0.06)
    assert predict("c", "?", low=1, high=3, default=3, scale="log").slider.value == pytest.approx(3, rel=0.06)
    state.save("predictions", "d", {"question": "q", "prediction": 1e9, "unit": ""})
    assert predict("d", "?", low=1, high=100, scale="log").slider.value == pytest.approx(100)


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
        ({"low": math.nan, "high": 3}, "low=nan"),
        ({"low": 0, "high": math.inf}, "high=inf"),
        ({"low": 0, "high": 3, "scale": "log"}, "low=0.*above 0"),
        ({"low": 1, "high": 3, "step": 1, "scale": "log"}, "step is 1; a log scale takes none"),
        ({"low": 3, "high": 1, "scale": "log"}, "low must be below high"),
        ({"low": 1, "high": 3, "default": 4, "scale": "log"}, "default is 4"),
        ({"low": 1, "high": 3, "scale": "logarithmic"}, "no scale 'logarithmic'"),
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
    with pytest.raises(ValueError, match="tolerance=-1"):
        reveal("layer-pruning", 3, tolerance=-1)
    with pytest.raises(ValueError, match="truth=nan"):
        reveal("layer-pruning", math.nan)
    with pytest.raises(TypeError, match="truth='3' is str"):
        reveal("layer-pruning", "3")
