"""The cost of context: what an answer costs when passages are read before it, in FLOPs, joules and seconds.

FLOPs are counted from the shape of the model. Joules and seconds of an answer are MODELLED: they are added up from what
one H100 took for prompts of 128 to 8,192 tokens, read one at a time, and for writing at batch 1 to 256 (the accelerator
study; joules of the GPU alone). Between two measured lengths a straight line is drawn, and a prompt shorter than 128
tokens costs what one of 128 does. Writing was measured with 512 tokens in each cache; what a longer cache adds was
measured at batch 8 and is added here at every batch, as each text reads its own cache. Another model is modelled from
the 8B one: reading by the ratio of FLOPs, writing by the ratio of the bytes that are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import numpy as np
import pandas as pd

from greenlab.accelerator.shapes import MODELS
from greenlab.core import checks, studies
from greenlab.core.model.cost import (
    TransformerShape,
    decode_bytes,
    flops_per_token,
    kv_cache_bytes,
    parameters,
    prefill_flops,
)
from greenlab.lab.charts import Slider, lines, require_columns
from greenlab.lab.charts.parts import finish, number_tooltip
from greenlab.lab.receipts import duration, quantity
from greenlab.lab.theme import BLUE, VERMILION, WIDTH
from greenlab.lab.widgets import Explorer

MEASURED = "Llama-3.1-8B"
LARGE = "70 billion weights"
TRIED = "Llama-3.2-1B"  # on which the rule for another model is tried
SHAPES = {  # the shape of Llama-2-70B, as in chapter 2
    MEASURED: MODELS[MEASURED].shape,
    LARGE: TransformerShape(80, 8192, 64, 8, 128, 28_672, 32_000),
}
QUESTION = 50  # tokens of the question and the instructions
LONGEST = 8192  # tokens of a prompt that was measured
USUAL_CONTEXT, USUAL_BATCH = 512, 8
MEMORY_B = 80e9  # of one H100
BYTES = 2  # of a weight and of a number in the cache
READING, WRITING = "reading", "writing"
MEASURES = {"flops": "FLOPs", "energy_j": "joules", "time_s": "seconds to the end"}


@lru_cache(maxsize=1)
def _summary() -> pd.DataFrame:
    rows = studies.load("accelerator", "summary")["summary"]
    return rows[(rows["what"] == MEASURED) & rows["layers"].isna()]


@lru_cache(maxsize=1)
def _prompts() -> pd.DataFrame:
    """Whole prompts: tokens, energy_j, time_s, in order."""
    rows = _summary().query("section == 'prompt'").sort_values("context")
    tokens = rows["context"].to_numpy()
    time_s = (tokens / rows["units_per_s"]).to_numpy()
    # 128 tokens took 4 % longer than 512: no prompt is charged more seconds than a longer one
    time_s = np.minimum.accumulate(time_s[::-1])[::-1]
    return pd.DataFrame({"tokens": tokens, "energy_j": rows["j_per_unit"] * tokens, "time_s": time_s})


@lru_cache(maxsize=1)
def _writing() -> tuple[pd.DataFrame, pd.DataFrame]:
    """A step of writing by batch at 512 tokens of context, and by context at batch 8: energy_j a token, time_s."""
    rows = _summary().query("section == 'decode'")
    rows = rows.assign(step_s=rows["batch"] / rows["units_per_s"])
    by_batch = rows[rows["context"] == USUAL_CONTEXT].sort_values("batch").set_index("batch")
    by_context = rows[rows["batch"] == USUAL_BATCH].sort_values("context").set_index("context")
    return by_batch[["j_per_unit", "step_s"]], by_context[["j_per_unit", "step_s"]]


@dataclass(frozen=True)
class Cost:
    """What one answer costs, reading and writing apart.

    Args:
        n_prompt_tokens: tokens that are read.
        reading: flops, energy_j and time_s of reading the prompt.
        writing: the same of writing the answer.
        cache_b: bytes of the keys and values of all texts of the batch.
        weights_b: bytes of the weights.
    """

    n_prompt_tokens: int
    reading: dict[str, float]
    writing: dict[str, float]
    cache_b: float
    weights_b: float

    def total(self, measure: str) -> float:
        """Reading and writing together, in one of the measures."""
        return self.reading[measure] + self.writing[measure]

    @property
    def fits(self) -> bool:
        """Whether weights and caches have room in the memory of one H100."""
        return self.cache_b + self.weights_b <= MEMORY_B


def context_cost(model: str, n_context_tokens: int, n_answer_tokens: int, batch: int) -> Cost:
    """What an answer costs whose prompt holds a question and some retrieved tokens.

    Args:
        model: one of the two shapes.
        n_context_tokens: retrieved tokens, 0 to 8,142, so that the prompt is not longer than what was measured.
        n_answer_tokens: tokens that are written, 1 to 100,000.
        batch: texts that are written at once, one of those measured.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if one is out of range.
    """
    model = checks.one_of("model", model, tuple(SHAPES))
    n_context_tokens = checks.integer("n_context_tokens", n_context_tokens, low=0, high=LONGEST - QUESTION)
    n_answer_tokens = checks.integer("n_answer_tokens", n_answer_tokens, low=1, high=100_000)
    by_batch, by_context = _writing()
    known = [int(one) for one in by_batch.index]
    if checks.integer("batch", batch, low=1) not in known:
        raise ValueError(f"batch={batch}: measured were {', '.join(map(str, known))}")
    shape, measured = SHAPES[model], SHAPES[MEASURED]
    n_prompt = QUESTION + n_context_tokens
    middle = n_prompt + n_answer_tokens // 2  # FLOPs and bytes grow in a straight line with the context
    read = float(prefill_flops(shape, n_prompt, head="last").total)
    write = float(n_answer_tokens * flops_per_token(shape, middle).total)
    more_read = read / float(prefill_flops(measured, n_prompt, head="last").total)
    one_step = {"batch": batch, "bytes_per_weight": BYTES}
    more_write = decode_bytes(shape, middle, **one_step).total / decode_bytes(measured, middle, **one_step).total
    prompts = _prompts()
    reading = {"flops": read}
    for name in ("energy_j", "time_s"):  # a prompt of fewer tokens than the shortest one reads all weights as well
        reading[name] = more_read * float(np.interp(n_prompt, prompts["tokens"], prompts[name]))
    longer = {  # what a cache of this length adds, at batch 8
        name: float(np.interp(middle, by_context.index, by_context[name]) - by_context[name][USUAL_CONTEXT])
        for name in ("j_per_unit", "step_s")
    }
    writing = {
        "flops": write,
        "energy_j": more_write * n_answer_tokens * (float(by_batch["j_per_unit"][batch]) + longer["j_per_unit"]),
        "time_s": more_write * n_answer_tokens
        * (float(by_batch["step_s"][batch]) + batch / USUAL_BATCH * longer["step_s"]),
    }  # fmt: skip
    cache_b = float(kv_cache_bytes(shape, n_prompt + n_answer_tokens, batch, BYTES))
    return Cost(n_prompt, reading, writing, cache_b, float(BYTES * parameters(shape).total))


def times_the_bare_answer(model: str, n_context_tokens: int, n_answer_tokens: int, batch: int) -> dict[str, float]:
    """How many times an answer without passages the one with them costs, by measure: flops, energy_j, time_s.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if one is out of range.
    """
    with_it = context_cost(model, n_context_tokens, n_answer_tokens, batch)
    bare = context_cost(model, 0, n_answer_tokens, batch)
    return {measure: float(with_it.total(measure) / bare.total(measure)) for measure in MEASURES}


def joules_range(model: str, n_context_tokens: int, n_answer_tokens: int, batch: int) -> tuple[float, float]:
    """Times the joules of the bare answer, at two prices of its short prompt, which was not measured.

    The first charges a prompt of fewer than 128 tokens as one of 128, the shortest that was measured; the second
    charges its tokens as those of a long prompt, as if it were read together with others.

    Returns:
        The two multiples, the lower one first.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if one is out of range.
    """
    with_it, bare = (context_cost(model, tokens, n_answer_tokens, batch) for tokens in (n_context_tokens, 0))
    prompts = _prompts()
    j_per_token = float((prompts["energy_j"] / prompts["tokens"]).min())
    totals = []
    for cost in (with_it, bare):
        read = cost.reading["energy_j"]
        if cost.n_prompt_tokens < prompts["tokens"].min():
            measured = prefill_flops(SHAPES[MEASURED], cost.n_prompt_tokens, head="last").total
            read = cost.n_prompt_tokens * j_per_token * cost.reading["flops"] / float(measured)
        totals.append(read + cost.writing["energy_j"])
    low, high = sorted((with_it.total("energy_j") / bare.total("energy_j"), totals[0] / totals[1]))
    return float(low), float(high)


def context_table(
    model: str = MEASURED,
    n_answer_tokens: int = 300,
    contexts: tuple[int, ...] = (0, 250, 500, 1000, 2000, 4000, 8000),
) -> pd.DataFrame:
    """Multiples of the answer without passages, by batch and retrieved tokens, for the chart that needs no kernel.

    A batch whose weights and caches do not fit one H100 has no row.

    Returns:
        The columns doublings (the batch is two to this power), batch, tokens, what and times.
    """
    rows = []
    for batch in (int(one) for one in _writing()[0].index):
        for tokens in contexts:
            if not context_cost(model, tokens, n_answer_tokens, batch).fits:
                continue
            for measure, times in times_the_bare_answer(model, tokens, n_answer_tokens, batch).items():
                if measure != "time_s":
                    row = {"doublings": batch.bit_length() - 1, "batch": batch, "tokens": tokens}
                    rows.append(row | {"what": MEASURES[measure], "times": times})
    return pd.DataFrame(rows)


def context_twin(table: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw FLOPs and joules against the retrieved tokens, with a slider for the batch.

    Args:
        table: as `context_table` gives it.
        title: of the chart.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    checks.text("title", title)
    require_columns(table, "doublings", "tokens", "what", "times")
    return lines(
        table, "tokens", "times", color="what", title=title, zero=True,
        slider=Slider("doublings", "Texts at once, as a power of two", 0),
        subtitle=["an answer of 300 tokens, written by the 8B model for a batch that the slider chooses;",
                  "FLOPs counted, joules MODELLED from steps that were measured; only what fits one H100"],
        x_title="Retrieved tokens in the prompt", y_title="Times the answer without passages",
        description="FLOPs and joules of an answer of 300 tokens against the retrieved tokens that are read before "
        "it, as multiples of the answer without them; a slider chooses how many texts are written at once",
    )  # fmt: skip


def _bars(cost: Cost, bare: Cost, title: str, subtitle: str) -> alt.LayerChart:
    rows = []
    for measure, words in MEASURES.items():
        for part, amounts in ((READING, cost.reading), (WRITING, cost.writing)):
            rows.append({"what": words, "part": part, "times": amounts[measure] / bare.total(measure)})
    data = pd.DataFrame(rows)
    color = alt.Color("part:N", title=None).scale(domain=[READING, WRITING], range=[VERMILION, BLUE])
    x = alt.X("times:Q", title="Times the same answer without passages", stack="zero")
    y = alt.Y("what:N", title=None, sort=list(MEASURES.values())).axis(domain=False, ticks=False, labelPadding=8)
    bars = alt.Chart(data).mark_bar(stroke="white", height={"band": 0.7}).encode(
        x=x, y=y, color=color, order=alt.Order("part:N"),
        tooltip=["what:N", "part:N", number_tooltip("times", "times the bare answer")],
    )  # fmt: skip
    sums = data.groupby("what", sort=False, as_index=False)["times"].sum()
    sums["words"] = [f"{times:.2f}" for times in sums["times"]]
    figures = alt.Chart(sums).mark_text(align="left", dx=6).encode(x=alt.X("times:Q", title=""), y=y, text="words:N")
    one = alt.Chart(pd.DataFrame({"times": [1.0]})).mark_rule(strokeDash=[5, 4]).encode(x=alt.X("times:Q", title=""))
    return finish(
        [bars, figures, one], data, title=title, subtitle=subtitle, slider=None, width=WIDTH, height=alt.Step(36),
        description=f"{title}: FLOPs, joules and seconds, reading and writing apart, as multiples of the same answer "
        "without passages",
    )  # fmt: skip


def context_widget() -> Explorer:
    """Choose passages, their length, the answer's length, the model and how many write at once; read what it costs."""
    batches = [int(one) for one in _writing()[0].index]

    def both(model: str, n_passages: int, length: int, answer: int, batch: int) -> tuple[Cost, Cost]:
        return context_cost(model, n_passages * length, answer, batch), context_cost(model, 0, answer, batch)

    def draw(model: str, n_passages: int, length: int, answer: int, batch: int) -> alt.LayerChart:
        cost, bare = both(model, n_passages, length, answer, batch)
        return _bars(cost, bare, _finding(cost, bare), _basis(model))

    def say(model: str, n_passages: int, length: int, answer: int, batch: int) -> str:
        cost, bare = both(model, n_passages, length, answer, batch)
        times = {measure: cost.total(measure) / bare.total(measure) for measure in MEASURES}
        parts = [
            f"{part}: {amounts['flops']:.2g} FLOPs, {quantity(amounts['energy_j'], 'J')}, {duration(amounts['time_s'])}"
            for part, amounts in (("Reading", cost.reading), ("writing", cost.writing))
        ]
        room = cost.cache_b + cost.weights_b
        fits = "" if cost.fits else f" Weights and caches take {room / 1e9:,.0f} GB: more than one H100 holds."
        return (
            f"{cost.n_prompt_tokens:,} tokens are read, {answer:,} written. {parts[0]}; {parts[1]}.\n"
            f"Against the same answer without passages: {times['flops']:.2f} times the FLOPs, {times['energy_j']:.2f} "
            f"times the joules, {times['time_s']:.2f} times the seconds. {_basis(model)}.{fits}"
        )

    def reached(model: str, n_passages: int, length: int, answer: int, batch: int) -> bool:
        cost, bare = both(model, n_passages, length, answer, batch)
        return bool(
            cost.total("flops") >= 4 * bare.total("flops") and cost.total("energy_j") <= 1.1 * bare.total("energy_j")
        )

    controls: dict[str, Any] = {
        "model": W.Dropdown(options=list(SHAPES), value=MEASURED, description="Model"),
        "n_passages": W.IntSlider(value=3, min=0, max=20, description="Passages"),
        "length": W.SelectionSlider(options=[50, 100, 200, 400], value=100, description="Tokens in a passage"),
        "answer": W.SelectionSlider(options=[10, 30, 100, 300, 1000], value=30, description="Tokens of the answer"),
        "batch": W.SelectionSlider(options=batches, value=64, description="Texts at once (batch)"),
    }
    return Explorer(controls, draw, say, reached, "at least four times the FLOPs, and at most a tenth more joules")


def _finding(cost: Cost, bare: Cost) -> str:
    if cost.n_prompt_tokens == bare.n_prompt_tokens:
        return "No passage, nothing added"
    flops, joules = (cost.total(measure) / bare.total(measure) for measure in ("flops", "energy_j"))
    room = "" if cost.fits else "; but one H100 cannot hold it"
    return f"The passages make it {flops:.1f} times the FLOPs and {joules:.1f} times the joules{room}"


def _basis(model: str) -> str:
    if model == MEASURED:
        return "FLOPs counted; joules and seconds MODELLED: sums of steps that were measured on one H100"
    return "FLOPs counted; joules and seconds MODELLED from those of the 8B model, and checked on no model of this size"


def scaling_check() -> pd.DataFrame:
    """The rule that gives the large model's writing, tried on a model that was measured: Llama-3.2-1B.

    The joules and seconds of a step of the 8B model times the ratio of the bytes that are read, beside what the step of
    the 1B model took.

    Returns:
        One row per batch: batch, rule_s, measured_s, times_s (rule over measured), rule_j, measured_j, times_j; energy
        of a token [J], time of a step [s].
    """
    known = studies.load("accelerator", "summary")["summary"]
    known = known[(known["what"] == TRIED) & known["layers"].isna() & (known["section"] == "decode")]
    shapes = (MODELS[TRIED].shape, SHAPES[MEASURED])
    by_batch, rows = _writing()[0], []
    for row in known[known["context"] == USUAL_CONTEXT].sort_values("batch").to_dict("records"):
        batch = int(row["batch"])
        small, large = (decode_bytes(one, USUAL_CONTEXT, batch=batch, bytes_per_weight=BYTES).total for one in shapes)
        rule = {"s": by_batch["step_s"][batch], "j": by_batch["j_per_unit"][batch]}
        found: dict[str, float] = {"batch": batch}
        for unit, measured in (("s", batch / row["units_per_s"]), ("j", row["j_per_unit"])):
            ours = float(rule[unit] * small / large)
            found |= {f"rule_{unit}": ours, f"measured_{unit}": measured, f"times_{unit}": ours / measured}
        rows.append(found)
    return pd.DataFrame(rows)
