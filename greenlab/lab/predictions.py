"""Predict before you see: the reader commits to a number, the reveal compares, the book keeps score.

The first commit counts. The answer stays behind a fold until there is one, so that it is not read by accident.
"""

from __future__ import annotations

import html
import math
from typing import Any

import ipywidgets as W
import pandas as pd
from IPython.display import display

from greenlab.core.checks import number, one_of
from greenlab.core.names import unknown
from greenlab.lab import state

SECTION = "predictions"
DEFAULT_TOLERANCE = 0.1  # of the truth: within a tenth counts as a good call
FACTOR = 2.0  # on a log scale, and at most this far off on any scale
SCALES = ("linear", "log")
LOG_STEP = 0.05  # of a log slider, in powers of ten: from one stop to the next it is 12 %
COLUMNS = ["id", "question", "prediction", "truth", "unit", "error", "good_call"]
_asked: dict[str, str] = {}  # the questions of this kernel, so that a mistyped id is noticed


def number_text(value: float, unit: str) -> str:
    """A number as a sentence writes it, with three digits and its unit.

    Args:
        value: the number.
        unit: what it counts, or "".

    Raises:
        TypeError: if the value is no number, or the unit no text.
        ValueError: if the value is not finite.

    >>> number_text(6.0, "layers"), number_text(0.33333, ""), number_text(1234567.0, "J"), number_text(12.5, "%")
    ('6 layers', '0.333', '1,234,567 J', '12.5 %')
    """
    value = number("value", value)
    _check_text("unit", unit)
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{float(f'{value:.3g}'):g}"
    return f"{text} {unit}".strip()


def _times(factor: float) -> str:
    """A factor with two digits.

    >>> _times(119.6), _times(2.04), _times(12345.0), _times(1e9)
    ('120', '2', '12,000', '1,000,000,000')
    """
    rounded = float(f"{factor:.2g}")
    return f"{rounded:,.0f}" if rounded >= 10 else f"{rounded:g}"


def _problem(key: str, entry: state.Entry) -> str:
    """What keeps an entry from being a prediction; empty if nothing does."""
    for field in ("question", "unit"):
        if not isinstance(entry.get(field), str):
            return f"{field} is {entry.get(field)!r} and not text"
    return _no_number(entry, "prediction")


def _problem_of_score(key: str, entry: state.Entry) -> str:
    """What keeps an entry from counting in the score; an entry that was not revealed yet is no problem."""
    problem = _problem(key, entry)
    if problem or "truth" not in entry:
        return problem
    return _no_number(entry, "truth") or _no_number(entry, "tolerance")


def _no_number(entry: state.Entry, field: str) -> str:
    value = entry.get(field)
    return "" if _is_finite(value) else f"{field} is {value!r:.40} and not a number"


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _check_text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} is {value!r}, which is {type(value).__name__}; give text")
    return value


def predict(
    id: str,
    question: str,
    *,
    low: float,
    high: float,
    step: float | None = None,
    unit: str = "",
    default: float | None = None,
    scale: str = "linear",
) -> Question:
    """Ask for a number: a slider and a button that keeps the answer until the reveal, also between sessions.

    The first commit counts: after it the slider and the button are switched off, in later sessions as well.

    Args:
        id: names the question; ``reveal`` takes the same one. Use the chapter's name, as in "layer-pruning".
        question: what the reader is asked, as one sentence.
        low: the least answer; above 0 on a log scale.
        high: the greatest answer.
        step: from one answer to the next, 1 by default; on a log scale the stops are 12 % apart and no step is given.
        unit: of the answer, such as "layers" or "J".
        default: where the slider starts; the middle by default. On a log scale, the stop next to it.
        scale: "linear", or "log" where answers may lie orders of magnitude apart; then the verdict is on factors.

    Returns:
        The widget, with its ``slider``, its ``button`` and its ``message``.

    Raises:
        TypeError: if a number or a text is none.
        ValueError: if low is not below high, the step does not fit, the default is outside, or the scale is unknown.
    """
    state.check_key(id)
    _check_text("question", question)
    _check_text("unit", unit)
    one_of("scale", scale, SCALES)
    if scale == "log":
        slider = _log_slider(low, high, step, default)
    else:
        slider = _linear_slider(low, high, 1 if step is None else step, default)
    slider.tooltip = question  # the page names the slider by it and speaks its value with the unit
    slider.description = unit or "answer"
    slider.layout = W.Layout(width="420px")
    slider.style.description_width = "initial"
    _asked[id] = question
    stored = state.load(SECTION, _problem).get(id)
    button = W.Button(description="Commit", button_style="primary", tooltip="Keep this as your prediction")
    message = W.HTML()

    def say(text: str) -> None:
        message.value = f'<div role="status" aria-live="polite">{html.escape(text)}</div>'

    def commit(_: Any) -> None:
        if first := state.load(SECTION, _problem).get(id):  # perhaps made in another window
            _show(slider, first["prediction"])
            said = f"Your first prediction stays: {number_text(first['prediction'], unit)}."
        else:
            state.set_aside(SECTION, id)  # a file of another version; the new entry must not overwrite it
            entry = {"question": question, "prediction": slider.value, "unit": unit, "scale": scale}
            value = number_text(slider.value, unit)
            problem = state.keep(SECTION, id, entry)
            said = (
                f"{value} counts until the kernel stops, and is not saved: {problem}."
                if problem
                else f"Kept: {value}. Read on; the reveal comes below."
            )
        _close(slider, button)
        say(said)

    if stored:
        _show(slider, stored["prediction"])
        _close(slider, button)
        say(f"You said {number_text(stored['prediction'], unit)} earlier. The first prediction counts.")
    else:
        say("Move the slider, then press Commit. The first commit counts; there is no penalty for being wrong.")
    button.on_click(commit)
    words = W.HTML(f"<b>{html.escape(question)}</b>")
    return Question([words, W.HBox([slider, button]), message], id, slider, button, message)


def _linear_slider(low: float, high: float, step: float, default: float | None) -> W.ValueWidget:
    given = {"low": low, "high": high, "step": step}
    low, high, step = (number(name, value) for name, value in given.items())
    if not low < high or not 0 < step <= high - low or not math.isfinite(high - low):
        raise ValueError(
            f"low is {low:g}, high {high:g}, step {step:g}; low must be below high and the step fit between them"
        )
    start = low + round((high - low) / 2 / step) * step if default is None else number("default", default)
    if not low <= start <= high:
        raise ValueError(f"default is {start:g}; give a number from {low:g} to {high:g}")
    if all(value.is_integer() for value in (low, high, step, start)):
        return W.IntSlider(value=int(start), min=int(low), max=int(high), step=int(step))
    digits = max(0, -math.floor(math.log10(step)))
    return W.FloatSlider(value=start, min=low, max=high, step=step, readout_format=f".{min(digits, 20)}f")


def _log_slider(low: float, high: float, step: float | None, default: float | None) -> W.ValueWidget:
    low, high = number("low", low, above=0, remedy="a log scale has no 0"), number("high", high, above=0)
    if step is not None:
        raise ValueError(f"step is {step!r}; a log scale takes none, its stops are 12 % apart")
    if not low < high:
        raise ValueError(f"low is {low:g}, high {high:g}; low must be below high")
    start = math.sqrt(low) * math.sqrt(high) if default is None else number("default", default)
    if not low <= start <= high:
        raise ValueError(f"default is {start:g}; give a number from {low:g} to {high:g}")
    least, greatest = math.log10(low), math.log10(high)
    # a stop of the slider: the browser rounds to stops, and the kernel has to hold what the reader sees
    power = min(least + round((math.log10(start) - least) / LOG_STEP) * LOG_STEP, greatest)
    return W.FloatLogSlider(value=10**power, base=10, min=least, max=greatest, step=LOG_STEP, readout_format=".2g")


def _show(slider: W.ValueWidget, value: float) -> None:
    """Move the slider to a value, or to the end that is next to it."""
    log = isinstance(slider, W.FloatLogSlider)
    low, high = (10**slider.min, 10**slider.max) if log else (slider.min, slider.max)
    kind = int if isinstance(slider, W.IntSlider) else float
    slider.value = kind(min(max(value, low), high))


def _close(slider: W.ValueWidget, button: W.Button) -> None:
    slider.disabled = button.disabled = True


class Question(W.VBox):
    """The widget that ``predict`` gives: its slider, its button, and what it says."""

    def __init__(
        self, children: list[W.Widget], id: str, slider: W.ValueWidget, button: W.Button, message: W.HTML
    ) -> None:
        super().__init__(children)
        self.id, self.slider, self.button, self.message = id, slider, button, message

    def __repr__(self) -> str:
        return f"[prediction] {_asked[self.id]}"


def reveal(id: str, truth: float, *, unit: str = "", tolerance: float | None = None, details: str = "") -> None:
    """Show the reader's prediction, the truth, and how far apart they are; remember it for ``calibration``.

    Without a prediction the answer is shown behind a fold, which the reader may open.

    A prediction is a good call if it is within the tolerance and within a factor of two. On a log scale the factor
    alone counts.

    Args:
        id: the question, as given to ``predict``.
        truth: the number that was measured or computed.
        unit: of the truth.
        tolerance: how far off still counts as a good call, in the same unit; a tenth of the truth by default.
        details: lines that give the answer away, such as a table; they are shown together with it.

    Raises:
        TypeError: if the truth or the tolerance is no number, or a text is none.
        ValueError: if no question with this id was asked, the truth is not finite, or the tolerance is negative.
    """
    state.check_key(id)
    _check_text("unit", unit)
    _check_text("details", details)
    truth = number("truth", truth)
    if tolerance is not None:
        number("tolerance", tolerance, low=0, remedy="it is in the unit of the truth")
    entry = state.load(SECTION, _problem).get(id)
    if entry is None and id not in _asked:
        raise unknown("prediction", id, list(_asked), "run the cell with predict(...) first")
    answer = f"The answer:      {number_text(truth, unit)}"
    if details:
        answer += f"\n{details}"
    if entry is None:
        _fold(answer)
        return
    within = DEFAULT_TOLERANCE * abs(truth) if tolerance is None else float(tolerance)
    entry |= {"truth": truth, "unit": unit, "tolerance": within}
    state.save(SECTION, id, entry)
    print(f"Your prediction: {number_text(entry['prediction'], unit)}\n{answer}")
    if not _good_call(entry):
        print(how_far(entry["prediction"], truth, unit))
    elif _counts_factors(entry):
        print(f"A good call: within a factor of {FACTOR:g}.")
    else:
        print(f"A good call: within {number_text(within, unit)}.")


def _counts_factors(entry: state.Entry) -> bool:
    return entry.get("scale") == "log" and entry["truth"] > 0


def _good_call(entry: state.Entry) -> bool:
    """Whether a revealed prediction is close: within the tolerance, and never further off than a factor of two.

    The factor keeps 0 s from being close to 0.08 s where the tolerance is 0.1 s.
    """
    guess, truth = entry["prediction"], entry["truth"]
    in_factor = truth == 0 or 1 / FACTOR <= guess / truth <= FACTOR
    in_tolerance = abs(guess - truth) <= entry["tolerance"]
    return in_factor and (in_tolerance or _counts_factors(entry))


def how_far(guess: float, truth: float, unit: str) -> str:
    """How far a prediction is off, as a sentence: in factors from two on, else in the unit.

    Args:
        guess: what was predicted.
        truth: what was found.
        unit: of both.

    Raises:
        TypeError: if one of them is no number, or the unit no text.
        ValueError: if one of them is not finite.

    >>> how_far(180.0, 1.5, "days"), how_far(10, 6, "layers")
    ('You were 120 times too high.', 'You were 4 layers too high, 67 % of the answer.')
    """
    guess, truth = number("guess", guess), number("truth", truth)
    _check_text("unit", unit)
    direction = "high" if guess > truth else "low"
    if guess > 0 and truth > 0:
        factor = max(guess / truth, truth / guess)
        if factor >= FACTOR:
            return f"You were {_times(factor)} times too {direction}."
    share = f", {100 * abs(guess - truth) / truth:.0f} % of the answer" if guess > 0 and truth > 0 else ""
    return f"You were {number_text(abs(guess - truth), unit)} too {direction}{share}."


def _fold(answer: str) -> None:
    """Show that there is an answer, and hold it back; what a page stores as plain text does not have it either."""
    ask = "You have not predicted yet. Move the slider above, press Commit, and run this cell again."
    page = (
        f"<p>{ask}</p><details><summary>Show me anyway</summary>"
        f'<pre style="white-space:pre-wrap">{html.escape(answer)}</pre></details>'
    )
    display({"text/html": page, "text/plain": f"{ask}\n[the answer is folded away]"}, raw=True)


def calibration() -> pd.DataFrame:
    """Your predictions against the truth, over the whole book.

    Returns:
        One row per revealed prediction, with the columns id, question, prediction, truth, unit, error (prediction minus
        truth) and good_call (as its reveal said). Files that are no predictions are left out with a warning.
    """
    rows = [
        {
            "id": id,
            **{key: entry[key] for key in ("question", "prediction", "truth", "unit")},
            "error": entry["prediction"] - entry["truth"],
            "good_call": _good_call(entry),
        }
        for id, entry in state.load(SECTION, _problem_of_score).items()
        if "truth" in entry
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
