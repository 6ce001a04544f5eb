"""When a distillation pays: the energy of making a student against what each answer saves, from measured joules."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import pandas as pd

from greenlab.core import checks, facts
from greenlab.core.names import unknown
from greenlab.distillation import BreakEven, break_even_range
from greenlab.distillation.study import tables as work
from greenlab.lab.charts import PLAIN, Slider
from greenlab.lab.charts.parts import finish
from greenlab.lab.receipts import quantity
from greenlab.lab.theme import INK, WIDTH
from greenlab.lab.widgets import Explorer

ANSWER = 300  # tokens
CHIP = "h100-sxm5-80gb"
QUERIES = [10.0 ** (exponent / 4) for exponent in range(53)]  # four to a factor of ten, so that the lines bend smoothly
COUNTS = [1.0, 1e3, 1e6, 1e9, 1e12]  # ticks of answers
AMOUNTS = {1e-9: "0.001 Wh", 1e-6: "1 Wh", 1e-3: "1 kWh", 1.0: "1 MWh", 1e3: "1 GWh", 1e6: "1 TWh"}  # ticks of MWh
Triple = tuple[float, float, float]  # low, value, high


@lru_cache(maxsize=1)
def _writing() -> dict[tuple[str, int], Triple]:
    """Measured joules of a written token by model and batch."""
    rows = work.accelerator_writing().to_dict("records")
    return {(row["model"], row["batch"]): (row["low"], row["j_per_token"], row["high"]) for row in rows}


@lru_cache(maxsize=1)
def _step() -> Triple:
    """Measured joules a token of a training step with the teacher."""
    rows = work.accelerator_training().to_dict("records")
    row = next(row for row in rows if row["part"] == "student learns with teacher")
    return row["low"] / 1e3, row["mj_per_token"] / 1e3, row["high"] / 1e3


def teacher_training_j() -> float:
    """Energy of the training of Llama-3.1-8B: published hours at the chip's rated power [J], derived."""
    return float(facts.value("llama3p1-8b-gpu-hours") * facts.value(f"{CHIP}.tdp_w") * 3600)


def teacher_training_range_j() -> Triple:
    """The same with a range: low, value, high [J].

    In the study's training steps the chip drew its rated power to a few percent, so the range is that of the meter in
    such a step. How much power the chips of the real training drew is not published.
    """
    low, value, high = _step()
    return teacher_training_j() * low / value, teacher_training_j(), teacher_training_j() * high / value


def token_j(model: str, batch: int) -> Triple:
    """Measured joules of a written token: low, value, high.

    Args:
        model: one of the two that were measured.
        batch: texts at once, as measured.

    Raises:
        ValueError: if they were not measured together.
    """
    if (model, batch) not in _writing():
        raise unknown("model and batch", f"{model}, {batch}", [f"{name}, {n}" for name, n in _writing()])
    return _writing()[model, batch]


def distillation_j(n_tokens: float) -> Triple:
    """Energy of a distillation on so many tokens, the teacher's reading counted: low, value, high [J].

    Args:
        n_tokens: of all steps.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is negative or not finite.
    """
    n_tokens = checks.number("n_tokens", n_tokens, low=0)
    low, value, high = _step()
    return n_tokens * low, n_tokens * value, n_tokens * high


def paid_after(n_tokens: float, batch: int, tokens: int, counts_teacher: bool) -> BreakEven:
    """Answers until the distillation has paid, with the range of the meter's readings.

    Args:
        n_tokens: of the distillation.
        batch: answers that are written at once.
        tokens: of an answer.
        counts_teacher: whether the teacher's own training is on the bill.
    """
    training = teacher_training_range_j() if counts_teacher else (0.0, 0.0, 0.0)
    return break_even_range(
        distillation_j(n_tokens), token_j(work.LARGE, batch), token_j(work.SMALL, batch),
        (tokens, tokens, tokens), training,
    )  # fmt: skip


def _total(n_tokens: float, batch: int, tokens: int, counts_teacher: bool) -> pd.DataFrame:
    """Energy so far against answers: queries, who, mwh."""
    invested = distillation_j(n_tokens)[1] + (teacher_training_j() if counts_teacher else 0.0)
    rows = []
    for queries in QUERIES:
        teacher = queries * tokens * token_j(work.LARGE, batch)[1]
        student = invested + queries * tokens * token_j(work.SMALL, batch)[1]
        rows += [{"queries": queries, "who": "teacher answers", "mwh": teacher / 3.6e9},
                 {"queries": queries, "who": "student made, then answers", "mwh": student / 3.6e9}]  # fmt: skip
    return pd.DataFrame(rows)


def _amounts() -> str:
    """A Vega expression: the words for the tick that stands there (a tick is found by its power of ten)."""
    words = {str(round(math.log10(value))): text for value, text in AMOUNTS.items()}
    return f"{json.dumps(words)}[round(log(datum.value) / LN10)]"


def _lines(table: pd.DataFrame) -> list[Any]:
    order = alt.Scale(domain=["teacher answers", "student made, then answers"])
    x = alt.X("queries:Q", title="Answers").scale(type="log").axis(labelExpr=PLAIN, values=COUNTS)
    y = alt.Y("mwh:Q", title="Energy so far").scale(type="log", domain=[1e-9, 1e6], clamp=True)
    y = y.axis(values=list(AMOUNTS), labelExpr=_amounts())
    base = alt.Chart(table).encode(x=x, y=y, color=alt.Color("who:N", title=None, scale=order))
    return [base.mark_line().encode(strokeDash=alt.StrokeDash("who:N", title=None, scale=order))]


def _amount(n: float) -> str:
    """A large count in words: 2,100,000 is "2.1 million"."""
    if not math.isfinite(n):
        return "no number of"
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"), (1e3, "thousand")):
        if n >= size:
            return f"{n / size:.3g} {word}"
    return f"{n:,.0f}"


def _on_chart(queries: float) -> bool:
    return QUERIES[0] <= queries <= QUERIES[-1]


def break_even_widget() -> Explorer:
    """Choose how long the student learns, how many are served at once and what is counted: when does it pay?"""

    def draw(log_tokens: int, batch: int, tokens: int, counts: bool) -> Any:
        n = 10.0**log_tokens
        table, found = _total(n, batch, tokens, counts), paid_after(n, batch, tokens, counts)
        here = alt.Chart(pd.DataFrame({"queries": [found.queries]})).mark_rule(color=INK, strokeDash=[3, 3])
        layers = _lines(table)
        if _on_chart(found.queries):
            layers.append(here.encode(x="queries:Q"))
        where = f"at {_amount(found.queries)} answers" if _on_chart(found.queries) else "beyond the chart"
        subtitle = "joules a token MEASURED on one H100"
        if counts:
            subtitle += ", the teacher's training DERIVED from its hours at rated power"
        return finish(
            layers, table, title=f"If it answers as well, the student has paid after {_amount(found.queries)} answers",
            slider=None, width=WIDTH, height=300, subtitle=f"{subtitle}; both axes are logarithmic",
            description="Energy against the number of answers: the teacher's line starts lower and rises faster; the "
            f"lines cross {where}",
        )  # fmt: skip

    def say(log_tokens: int, batch: int, tokens: int, counts: bool) -> str:
        n = 10.0**log_tokens
        found = paid_after(n, batch, tokens, counts)
        low, value, high = distillation_j(n)
        words = f"Learning from {_amount(n)} tokens: {quantity(value, 'J')} ({quantity(low, 'J')} to "
        words += f"{quantity(high, 'J')})"
        if counts:
            low, value, high = (joules / 3.6e9 for joules in teacher_training_range_j())
            words += f", and {value:,.0f} MWh ({low:,.0f} to {high:,.0f}) for the teacher's own training, derived"
        saved = tokens * (token_j(work.LARGE, batch)[1] - token_j(work.SMALL, batch)[1])
        return (
            f"{words}.\nEach answer saves {saved:.3g} J if the student is as good, so it has paid after "
            f"{_amount(found.queries)} answers ({_amount(found.low)} to {_amount(found.high)} by the meter's range)."
        )

    def reached(log_tokens: int, batch: int, tokens: int, counts: bool) -> bool:
        return counts and log_tokens >= 9 and paid_after(10.0**log_tokens, batch, tokens, counts).queries < 1e10

    batches = sorted(set(work.accelerator_writing()["batch"].tolist()))
    controls = {
        "log_tokens": W.IntSlider(value=10, min=6, max=13, description="Tokens to learn from, 10 to the power"),
        "batch": W.SelectionSlider(options=batches, value=64, description="Answers written at once"),
        "tokens": W.IntSlider(value=ANSWER, min=50, max=1000, step=50, description="Tokens of an answer"),
        "counts": W.Checkbox(value=False, description="Count the teacher's own training"),
    }
    goal = "with the teacher's training counted and a billion tokens or more, pay back within 10 billion answers"
    return Explorer(controls, draw, say, reached, goal)


def break_even_twin(title: str) -> alt.LayerChart:
    """Draw the same without a kernel, at 64 answers at once: a slider sets how long the student learns.

    Args:
        title: of the chart.

    Raises:
        TypeError: if ``title`` is no text.
    """
    checks.text("title", title)
    tables = [_total(10.0**e, 64, ANSWER, False).assign(log_tokens=e) for e in range(6, 14)]
    data = pd.concat(tables, ignore_index=True)
    return finish(
        _lines(data), data, title=title,
        slider=Slider("log_tokens", "Tokens to learn from, 10 to the power", 10), width=WIDTH, height=300,
        subtitle="64 answers of 300 tokens at once, the teacher's own training not counted; axes are logarithmic",
        description="Energy against the number of answers for the teacher and for the student, with a slider for how "
        "many tokens the student learns from",
    )  # fmt: skip
