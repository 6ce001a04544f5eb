"""The explorer without a browser: callbacks, goal, errors that are shown and raised, values that cannot be chosen."""

import html
import re

import altair as alt
import ipywidgets as W
import pandas as pd
import pytest

from greenlab.lab.charts import lines
from greenlab.lab.renderer import FOLLOW
from greenlab.lab.widgets import FAILED, Explorer, exercise_extremes

FRAME = pd.DataFrame({"x": [0, 1, 2], "y": [0.0, 1.0, 2.0]})


def controls():
    return {
        "k": W.IntSlider(value=2, min=1, max=9, description="Factor"),
        "share": W.FloatSlider(value=0.5, min=0.0, max=1.0, step=0.1, description="Share"),
        "kind": W.Dropdown(options=[("The dense one", "dense"), ("The sparse one", "moe")], description="Model"),
        "on": W.Checkbox(value=True, description="Heal"),
        "span": W.IntRangeSlider(value=(2, 4), min=0, max=6, description="Layers"),
        "rate": W.FloatLogSlider(value=0.01, min=-4, max=0, description="Rate"),
        "name": W.Text(value="word", description="Prompt"),
    }


class Recorder:
    """draw and say that remember what they were called with."""

    def __init__(self):
        self.drawn, self.said = [], []

    def draw(self, **values):
        self.drawn.append(values)
        if values["k"] == 7:
            raise RuntimeError("seven <b>breaks</b> it")
        return lines(
            FRAME.assign(y=FRAME.y * values["k"]), "x", "y", title="t", description="d", x_title="x", y_title="y"
        )

    def say(self, **values):
        self.said.append(values)
        if values["k"] == 8:
            raise KeyError("eight")
        return f"The end is {2 * values['k']} & {values['kind']}."


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def explorer(recorder):
    return Explorer(
        controls(), recorder.draw, recorder.say, goal=lambda k, **_: k >= 5, goal_text="an end of 10 or more"
    )


def last_y(explorer):
    return next(iter(explorer.panel.spec["datasets"].values()))[-1]["y"]


def shown(explorer):
    """The words in the message, without markup."""
    return html.unescape(re.sub(r"<[^>]+>", "", explorer.message.value.replace("<br>", "\n")))


def test_it_draws_and_says_from_the_start(explorer, recorder):
    assert len(recorder.drawn) == 1
    assert last_y(explorer) == 4.0
    assert explorer.text == "The end is 4 & dense.\nGoal: an end of 10 or more: not yet reached."
    assert "The end is 4 & dense." in shown(explorer)
    assert "aria-live" in explorer.message.value


def test_a_control_that_moves_redraws_once(explorer, recorder):
    """What the browser does: the value of one control changes."""
    explorer.controls["k"].value = 5
    assert len(recorder.drawn) == 2
    assert last_y(explorer) == 10.0
    assert explorer.text.endswith("Goal: an end of 10 or more: reached.")
    assert "✓ Goal: an end of 10 or more: reached." in shown(explorer)


def test_set_moves_several_controls_and_draws_once(explorer, recorder):
    explorer.set(k=3, kind="moe", span=(0, 6), rate=0.1)
    assert len(recorder.drawn) == 2
    assert explorer.value == {
        "k": 3, "share": 0.5, "kind": "moe", "on": True, "span": (0, 6), "rate": 0.1, "name": "word",
    }  # fmt: skip
    assert "6 & moe" in explorer.text
    explorer.set(k=3)
    assert len(recorder.drawn) == 2


def test_another_setting_is_told_without_moving_the_widget(explorer, recorder):
    """The other setting starts from the one the widget was made in; a goal reached there does not count here."""
    explorer.set(k=3, kind="moe")
    standing = explorer.value, explorer.text
    assert explorer.text_at(k=5) == "The end is 10 & dense.\nGoal: an end of 10 or more: reached."
    assert explorer.text_at().startswith("The end is 4 & dense.")
    assert (explorer.value, explorer.text) == standing
    assert last_y(explorer) == 6.0


@pytest.mark.parametrize(("k", "error"), [(7, RuntimeError), (8, KeyError), (10, ValueError)])
def test_a_setting_that_fails_leaves_the_widget_where_it_stood(explorer, k, error):
    explorer.set(k=3)
    standing = explorer.value, explorer.text
    with pytest.raises(error):
        explorer.text_at(k=k)
    assert (explorer.value, explorer.text) == standing


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"K": 3}, "no control 'K'; close to it: k"),
        ({"shares": 0.1}, "no control 'shares'; close to it: share"),
        ({"k": 10}, "control 'k' cannot take 10; give whole numbers from 1 to 9"),
        ({"k": 2.5}, "control 'k' cannot take 2.5"),
        ({"k": "three"}, "control 'k' cannot take 'three'"),
        ({"share": -0.1}, "cannot take -0.1; give numbers from 0.0 to 1.0"),
        ({"share": float("nan")}, "cannot take nan"),
        ({"kind": "ternary"}, "cannot take 'ternary'; give one of 'dense', 'moe'"),
        ({"span": (2, 7)}, r"cannot take \(2, 7\)"),
        ({"span": 3}, "cannot take 3"),
        ({"rate": 10.0}, "cannot take 10.0; give numbers from 0.0001 to 1"),
        ({"name": 3}, "cannot take 3; give a value like 'word'"),
        ({"on": "maybe"}, "cannot take 'maybe'"),
    ],
)
def test_what_the_browser_could_not_choose_is_refused(explorer, recorder, values, message):
    """ipywidgets would clamp or truncate in silence. Nothing moves, not even the values that were right."""
    before = explorer.value
    with pytest.raises(ValueError, match=message):
        explorer.set(kind="moe", **values) if "kind" not in values else explorer.set(k=3, **values)
    assert explorer.value == before
    assert len(recorder.drawn) == 1


@pytest.mark.parametrize(
    ("k", "error", "text"), [(7, RuntimeError, "RuntimeError: seven <b>"), (8, KeyError, "KeyError: 'eight'")]
)
def test_an_exception_is_shown_raised_and_survived(explorer, k, error, text):
    """In draw and in say: type and text in the message (as text, not as markup), the last good chart, and onwards."""
    with pytest.raises(error):
        explorer.set(k=k)
    assert explorer.text.startswith(f"{FAILED}: {text}")
    assert text in html.unescape(explorer.message.value)
    assert "<b>breaks" not in explorer.message.value
    assert last_y(explorer) == 4.0
    explorer.set(k=3)
    assert last_y(explorer) == 6.0
    assert FAILED not in explorer.text


def test_an_exception_in_the_browser_is_raised_too(explorer):
    """It reaches the log of the kernel as well, instead of being swallowed by the observer."""
    with pytest.raises(RuntimeError, match="seven"):
        explorer.controls["k"].value = 7


def test_a_widget_that_cannot_draw_its_first_setting_is_an_error_of_its_cell(recorder):
    with pytest.raises(RuntimeError, match="seven"):
        Explorer({**controls(), "k": W.IntSlider(value=7, max=9, description="k")}, recorder.draw, recorder.say)
    with pytest.raises(KeyError, match="eight"):
        Explorer({**controls(), "k": W.IntSlider(value=8, max=9, description="k")}, recorder.draw, recorder.say)


def base_chart():
    shift = alt.param(name="shift", value=0)
    return alt.Chart(FRAME, description="d").mark_point().add_params(shift).encode(x="x:Q")


def test_a_chart_of_a_widget_follows_the_width_of_its_cell(explorer):
    """The same as every other chart: at first, and after each redraw."""
    for k in (2, 3):
        explorer.set(k=k)
        assert explorer.panel.spec["usermeta"]["embedOptions"]["patch"] == FOLLOW


def test_parameters_of_a_base_chart_follow():
    """The fast path: no new chart, one message to the page."""
    explorer = Explorer(
        {"k": W.IntSlider(value=1, max=9, description="k")}, lambda k: {"shift": k}, lambda k: f"{k}", base=base_chart()
    )
    spec = explorer.panel.spec
    assert explorer.panel._params == {"shift": 1}
    explorer.set(k=4)
    assert explorer.panel._params == {"shift": 4}
    assert explorer.panel.spec is spec


def test_a_page_that_shows_the_chart_late_is_told_the_values_that_hold():
    """What JupyterChart's page does when it has drawn: it reports the parameters that the chart was made with."""
    explorer = Explorer(
        {"k": W.IntSlider(value=1, max=9, description="k")}, lambda k: {"shift": k}, lambda k: f"{k}", base=base_chart()
    )
    made_with = dict(explorer.panel._params)
    explorer.set(k=7)
    explorer.panel._params = made_with | {"shift": 0}
    assert explorer.panel.params.shift == 7
    assert explorer.panel._params["shift"] == 7


def test_a_parameter_that_the_base_lacks_is_named():
    with pytest.raises(ValueError, match="no parameter of the base chart 'shft'; close to it: shift"):
        Explorer({"k": W.IntSlider(description="k")}, lambda k: {"shft": k}, lambda k: f"{k}", base=base_chart())


def nothing(**_):
    return alt.Chart(FRAME).mark_point()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, nothing, str), "controls is empty"),
        (({"k": W.IntSlider()}, nothing, str), "control 'k' has no description"),
        (({"k": W.IntSlider(description="k")}, nothing, str), "the chart has no description"),
        (({"k": W.IntSlider(description="k")}, nothing, str, None, "a goal"), "goal and goal_text belong together"),
        (({"k": W.IntSlider(description="k")}, nothing, str, bool), "goal and goal_text belong together"),
    ],
)
def test_a_widget_that_cannot_be_understood_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Explorer(*arguments)


def test_extremes_visit_every_end_of_every_control(recorder):
    safe = {name: control for name, control in controls().items() if name != "k"}
    safe["k"] = W.IntSlider(value=2, min=1, max=6, description="k")
    explorer = Explorer(safe, recorder.draw, recorder.say)
    start = explorer.value
    visits = exercise_extremes(explorer)
    for name, ends in {
        "k": [1, 2, 6], "share": [0.0, 0.5, 1.0], "kind": ["dense", "moe"], "on": [False, True],
        "span": [(0, 0), (2, 4), (0, 6), (6, 6)], "rate": [0.0001, 0.01, 1.0],
    }.items():  # fmt: skip
        assert {values[name] for values, _ in visits} == set(ends)
    together = [values for values, _ in visits[-2:]]
    assert [(values["k"], values["share"]) for values in together] == [(1, 0.0), (6, 1.0)]
    assert all(text for _, text in visits)
    assert explorer.value == start


def test_extremes_let_an_error_through(explorer):
    """With 7 as the greatest value, where draw fails, the visit there fails."""
    explorer.controls["k"].max = 7
    with pytest.raises(RuntimeError, match="seven"):
        exercise_extremes(explorer)


def test_a_page_without_a_kernel_shows_words(explorer):
    """GitHub and the static site show this line; nbval compares it."""
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"].startswith("[widget] Run the cell to use it. It starts at k=2, share=0.5, kind='dense'")


def test_a_live_chart_is_named_by_its_words_not_by_its_address():
    """Strict nbval compares the text beside a widget: an address would differ at every run."""
    import altair as alt
    import pandas as pd

    from greenlab.lab.widgets import LiveChart

    chart = alt.Chart(pd.DataFrame({"x": [1]}), description="one point").mark_point().encode(x="x:Q")
    assert repr(LiveChart(chart)) == "[live chart] Run the cell to see it. one point"
