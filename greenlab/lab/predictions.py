"""Predict before you see: the reader commits to a number, the reveal compares, the book keeps score."""

from __future__ import annotations

import html
from typing import Any

import ipywidgets as W
import pandas as pd

from greenlab.core.names import unknown
from greenlab.lab import state

SECTION = "predictions"
DEFAULT_TOLERANCE = 0.1  # of the truth: within a tenth counts as a good call
COLUMNS = ["id", "question", "prediction", "truth", "unit", "error", "good_call"]
_asked: dict[str, str] = {}  # the questions of this kernel, so that a mistyped id is noticed


def _number(value: float, unit: str) -> str:
    """A number as a sentence writes it, with its unit.

    >>> _number(6.0, "layers"), _number(0.33333, ""), _number(1234567.0, "J"), _number(12.5, "%")
    ('6 layers', '0.3333', '1,234,567 J', '12.5 %')
    """
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{text} {unit}".strip()


def predict(
    id: str,
    question: str,
    *,
    low: float,
    high: float,
    step: float = 1,
    unit: str = "",
    default: float | None = None,
) -> W.VBox:
    """Ask for a number: a slider and a button that keeps the answer until the reveal, also between sessions.

    Args:
        id: names the question; ``reveal`` takes the same one. Use the chapter's name, as in "layer-pruning".
        question: what the reader is asked, as one sentence.
        low: the least answer.
        high: the greatest answer.
        step: from one answer to the next.
        unit: of the answer, such as "layers" or "J".
        default: where the slider starts; the middle by default.

    Raises:
        ValueError: if low is not below high, the step does not fit, or the default is outside.
    """
    if not low < high or not 0 < step <= high - low:
        raise ValueError(
            f"low is {low}, high {high}, step {step}; low must be below high and the step fit between them"
        )
    start = low + round((high - low) / 2 / step) * step if default is None else default
    if not low <= start <= high:
        raise ValueError(f"default is {start}; give a number from {low} to {high}")
    _asked[state.check_key(id)] = question
    stored = state.load(SECTION).get(id)
    whole = all(float(number).is_integer() for number in (low, high, step, start))
    kind = W.IntSlider if whole else W.FloatSlider
    low, high, step, start = (int(number) if whole else float(number) for number in (low, high, step, start))
    slider = kind(
        value=start, min=low, max=high, step=step, description=unit or "answer", layout=W.Layout(width="420px")
    )
    slider.style.description_width = "initial"
    button = W.Button(description="Commit", button_style="primary", tooltip="Keep this as your prediction")
    message = W.HTML()

    def say(text: str) -> None:
        message.value = f'<div role="status" aria-live="polite">{html.escape(text)}</div>'

    def commit(_: Any) -> None:
        state.save(SECTION, id, {"question": question, "prediction": slider.value, "unit": unit})
        say(f"Kept: {_number(slider.value, unit)}. Read on; the reveal comes below. You may still change your mind.")

    if stored:
        slider.value = min(max(stored["prediction"], low), high)
        say(f"You said {_number(stored['prediction'], unit)} earlier. Move the slider and commit again to change it.")
    else:
        say("Move the slider, then press Commit. There is no penalty for being wrong.")
    button.on_click(commit)
    words = W.HTML(f"<b>{html.escape(question)}</b>")
    return Question([words, W.HBox([slider, button]), message], id, slider, button, message)


class Question(W.VBox):
    """The widget that ``predict`` gives: its slider, its button, and what it says."""

    def __init__(
        self, children: list[W.Widget], id: str, slider: W.ValueWidget, button: W.Button, message: W.HTML
    ) -> None:
        super().__init__(children)
        self.id, self.slider, self.button, self.message = id, slider, button, message

    def __repr__(self) -> str:
        return f"[prediction] {_asked[self.id]}"


def reveal(id: str, truth: float, *, unit: str = "", tolerance: float | None = None) -> None:
    """Print the reader's prediction, the truth, and how far apart they are; remember it for ``calibration``.

    Args:
        id: the question, as given to ``predict``.
        truth: the number that was measured or computed.
        unit: of the truth.
        tolerance: how far off still counts as a good call, in the same unit; a tenth of the truth by default.

    Raises:
        ValueError: if no question with this id was asked, or the tolerance is negative.
    """
    truth = float(truth)
    within = DEFAULT_TOLERANCE * abs(truth) if tolerance is None else tolerance
    if within < 0:
        raise ValueError(f"tolerance is {tolerance}; give 0 or more, in the unit of the truth")
    entry = state.load(SECTION).get(id)
    if entry is None and id not in _asked:
        raise unknown("prediction", id, _asked, "run the cell with predict(...) first")
    answer = f"The answer:      {_number(truth, unit)}"
    if entry is None:
        print(f"Your prediction: none yet. Move the slider above, press Commit, and run this cell again.\n{answer}")
        return
    error = entry["prediction"] - truth
    state.save(SECTION, id, entry | {"truth": truth, "unit": unit, "tolerance": within})
    print(f"Your prediction: {_number(entry['prediction'], unit)}\n{answer}")
    if abs(error) <= within:
        print(f"A good call: within {_number(within, unit)}.")
        return
    share = f", {abs(error / truth):.0%} of the answer" if truth else ""
    print(f"You were {_number(abs(error), unit)} too {'high' if error > 0 else 'low'}{share}.")


def calibration() -> pd.DataFrame:
    """Your predictions against the truth, over the whole book.

    Returns:
        One row per revealed prediction, with the columns id, question, prediction, truth, unit, error (prediction minus
        truth) and good_call (within the tolerance of its reveal).
    """
    rows = [
        {
            "id": id,
            **{key: entry[key] for key in ("question", "prediction", "truth", "unit")},
            "error": entry["prediction"] - entry["truth"],
            "good_call": abs(entry["prediction"] - entry["truth"]) <= entry["tolerance"],
        }
        for id, entry in state.load(SECTION).items()
        if "truth" in entry
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
