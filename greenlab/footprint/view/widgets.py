"""Chapter 1's two calculators, a training run and a chat for every search, each with a twin that needs no kernel.

A widget and its twin are one chart: the widget's kernel sends results as parameters, the twin's parameters are sliders
and Vega does the arithmetic. A test renders the twin and compares its figure with the package's.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import ipywidgets as W
import pandas as pd

from greenlab import footprint
from greenlab.core import checks
from greenlab.core.energy.receipt import grid_intensity
from greenlab.core.facts import value
from greenlab.footprint.tables import KNOWN
from greenlab.lab.charts import require_columns
from greenlab.lab.theme import BLUE, GRID, INK, MUTED, VERMILION, WIDTH
from greenlab.lab.widgets import Explorer

CHIPS = {
    "V100 (2017)": "v100-sxm2-32gb",
    "A100 (2020)": "a100-sxm4-80gb",
    "H100 (2022)": "h100-sxm5-80gb",
    "B200 (2024)": "b200",
}
GRIDS = ("NO", "FR", "DE", "US", "WORLD", "PL", "IN")
UTILIZATION, PUE = 0.4, 1.1  # of the calculators; the sentence under the chart says so
GOAL_T = 100.0
GRID_LINES = ("FR", "US", "IN")
SCENARIO = ("your searches, before", "your searches, after")
BILLIONS = (
    1,
    2,
    3,
    5,
    8,
    13,
    20,
    30,
    50,
    70,
    100,
    175,
    200,
    300,
    405,
    600,
    800,
    1000,
)  # sizes of models that there are
TOKENS_PER_PARAMETER = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
ANSWERS_WH = (0.01, 0.02, 0.05, 0.1, 0.24, 0.34, 0.5, 1, 2, 3, 5, 8.9, 10)  # 0.24 Google, 0.34 OpenAI, 8.9 de Vries
_SCALES = ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"))


def say_number(number: float) -> str:
    """A number with three digits at most, as it is said: no powers of ten, no minus before a zero.

    >>> say_number(1234.5), say_number(22_000), say_number(0.0123)
    ('1,230', '22,000', '0.0123')
    >>> say_number(1e12), say_number(-1e-9), say_number(175e9)
    ('1 trillion', '0', '175 billion')
    """
    number = checks.number("number", number)
    if abs(number) < 1e-6:
        return "0"
    rounded = float(f"{number:.3g}")
    scale, word = next(((scale, word) for scale, word in _SCALES if abs(rounded) >= scale), (1.0, ""))
    return f"{rounded / scale:,.6f}".rstrip("0").rstrip(".") + word


def say_percent(share: float) -> str:
    """A share in per cent: whole above 1 %, else with two digits.

    >>> say_percent(0.836), say_percent(-1e-17), say_percent(0.00034), say_percent(1.75)
    ('84 %', '0 %', '0.034 %', '175 %')
    """
    percent = 100 * checks.number("share", share)
    return f"{round(percent):,} %" if abs(percent) >= 1 else f"{say_number(float(f'{percent:.2g}'))} %"


def training_run(params: float, tokens_per_param: float, chip: str, region: str) -> footprint.TrainingFootprint:
    """Footprint of a dense model trained on one kind of chip, at its rated power, in one region.

    Args:
        params: parameters of the model.
        tokens_per_param: training tokens over parameters.
        chip: one of ``CHIPS``.
        region: a code or name of data/facts/grid_intensity.csv.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an amount is not above 0, or the chip or region is not known.
    """
    params = checks.number("params", params, above=0, high=1e18)
    tokens_per_param = checks.number("tokens_per_param", tokens_per_param, above=0, high=1e9)
    checks.one_of("chip", chip, tuple(CHIPS))
    return footprint.training_footprint(
        flops=footprint.training_flops(params, params * tokens_per_param),
        flops_per_s=1e12 * value(f"{CHIPS[chip]}.peak_dense_tflops_bf16"),
        utilization=UTILIZATION,
        power_w=value(f"{CHIPS[chip]}.tdp_w"),
        pue=PUE,
        region=region,
    )


def _training_chart(trainings: pd.DataFrame, energy_mwh: str, carbon_t: str, lead: str = "'your run: '") -> Any:
    """Published trainings by energy and carbon, three grids as diagonals, and the reader's run from two Vega
    expressions.
    """
    require_columns(trainings, "model", "energy_mwh", "carbon_t", "known")
    x = alt.X("energy_mwh:Q", title="Electricity of the training [MWh]")
    x = x.scale(type="log", domain=[1, 1e6], clamp=True).axis(format=",~g", values=[10.0**k for k in range(7)])
    y = alt.Y("carbon_t:Q", title="Emissions [t CO₂e]")
    y = y.scale(type="log", domain=[0.1, 1e6], clamp=True).axis(format=",~g", values=[10.0**k for k in range(-1, 7)])
    grids = [grid_intensity(region) for region in GRID_LINES]
    ends_mwh = (3.0, 1e6)  # 3 MWh on the cleanest grid is still on the axis
    rows = [(g.name, g.intensity_g_per_kwh, mwh, mwh * g.intensity_g_per_kwh / 1e3) for g in grids for mwh in ends_mwh]
    diagonals = pd.DataFrame(rows, columns=["grid", "intensity", "energy_mwh", "carbon_t"])
    lines = alt.Chart(diagonals).mark_line(color=GRID, strokeWidth=2).encode(x=x, y=y, detail="grid:N")
    ends = diagonals.groupby("grid").tail(1).assign(energy_mwh=1.1e6)
    ends["words"] = [f"{row.grid}, {row.intensity:g} g/kWh" for row in ends.itertuples()]
    names = (
        alt.Chart(ends).mark_text(align="left", fontSize=11, color=MUTED, clip=False).encode(x=x, y=y, text="words:N")
    )
    seen = alt.Chart(trainings).encode(x=x, y=y)
    marks = seen.mark_point(size=60, strokeWidth=1.5).encode(
        stroke=alt.value(MUTED), fill=alt.value(MUTED), fillOpacity=alt.FillOpacity("known:N", legend=None).scale(
            domain=list(KNOWN), range=[0.8, 0.0]
        ),
        tooltip=["model:N", alt.Tooltip("energy_mwh:Q", format=",.4~g"), alt.Tooltip("carbon_t:Q", format=",.4~g"),
        "known:N"],
    )  # fmt: skip
    few = trainings[trainings["model"].isin(["GPT-3 175B", "BLOOM-176B", "Llama 3.1 405B"])]
    told = alt.Chart(few).mark_text(align="left", dx=8, dy=9, fontSize=11, color=MUTED).encode(x=x, y=y, text="model:N")
    # a logarithmic axis has no 0; parameters arrive one by one, so each expression stands alone
    yours = alt.Chart(pd.DataFrame({"run":
    ["your run"]})).transform_calculate(energy_mwh=energy_mwh).transform_calculate(
        carbon_t=carbon_t
    ).transform_calculate(
        words=f"{lead} + format(datum.energy_mwh, ',.3~r') + ' MWh, ' + format(datum.carbon_t, ',.3~r') + ' t'"
    ).encode(x=x, y=y)  # fmt: skip
    spot = yours.mark_point(size=190, filled=True, color=VERMILION, shape="diamond", opacity=1)
    # at a fixed place between the names of the grids: beside the point it would leave the chart at its right edge
    figure = yours.mark_text(align="left", fontSize=13, fontWeight=600, color=VERMILION).encode(
        x=alt.value(10), y=alt.value(43), text="words:N"
    )
    return alt.layer(lines, names, marks, told, spot, figure).properties(
        title=alt.Title(
            "Work and chips move a run along the line of its grid; a place moves it to another line",
            subtitle=[
                "Grey: published trainings, hollow where not confirmed",
                "Each line is one grid; a step of the axes is ten times",
            ],
        ),
        description="Training energy against emissions, both logarithmic: published models, three grids as lines, "
        "your run",
        width=WIDTH - 60,
        height=340,
        padding={"left": 8, "top": 8, "bottom": 8, "right": 150},  # the grids' names
    )


def training_widget(trainings: pd.DataFrame) -> Explorer:
    """Train a model on paper: its size, its data, the chip and the place; the run joins the published ones on the
    chart.
    """
    base = _training_chart(trainings, "energy", "carbon").add_params(
        alt.param(name="energy", value=1.0), alt.param(name="carbon", value=1.0)
    )

    def run(billions: float, tokens: int, chip: str, region: str) -> footprint.TrainingFootprint:
        return training_run(billions * 1e9, tokens, chip, region)

    def draw(**chosen: Any) -> dict[str, float]:
        found = run(**chosen)
        return {"energy": float(found.energy_mwh), "carbon": float(found.carbon_t)}

    def say(**chosen: Any) -> str:
        found, grid = run(**chosen), grid_intensity(chosen["region"])
        chip, tokens = chosen["chip"].split()[0], chosen["tokens"]
        return (
            f"{say_number(chosen['billions'] * 1e9)} parameters on {tokens:,} token{'s' * (tokens != 1)} each: "
            f"{say_number(found.device_hours)} hours of {'an' if chip[0] in 'AH' else 'a'} {chip}, "
            f"{say_number(found.energy_mwh)} MWh, {say_number(found.carbon_t)} t CO2e in {grid.name}.\n"
            f"Modelled: {100 * UTILIZATION:.0f} % of the peak rate reached, rated power, PUE {PUE}; no idle machines, "
            f"no manufacture."
        )

    def reached(billions: float, tokens: int, chip: str, region: str) -> bool:
        return billions >= 70 and tokens >= 200 and float(run(billions, tokens, chip, region).carbon_t) <= GOAL_T

    controls = {
        "billions": W.SelectionSlider(value=175, options=BILLIONS, description="Parameters [billion]"),
        "tokens": W.SelectionSlider(value=2, options=TOKENS_PER_PARAMETER, description="Tokens a parameter"),
        "chip": W.Dropdown(value="V100 (2017)", options=list(CHIPS), description="Chip"),
        "region": W.Dropdown(value="US", options=[(grid_intensity(r).name, r) for r in GRIDS], description="Grid"),
    }
    goal = f"70 billion parameters or more, 200 tokens each or more, at most {GOAL_T:g} t"
    return Explorer(controls, draw, say, reached, goal, base=base)


def training_twin(trainings: pd.DataFrame) -> Any:
    """The same calculator without a kernel: Vega reads the sliders and computes."""
    per_joule = {chip: value(f"{id}.peak_dense_tflops_bf16") / value(f"{id}.tdp_w") for chip, id in CHIPS.items()}
    # 6 N D FLOP, over FLOP per joule reached, times PUE, in MWh; N = 10^size, D = N times tokens
    energy = f"6 * pow(10, 2 * size) * pow(10, tokens) / ({UTILIZATION} * 1e12 * chip) * {PUE} / 3.6e9"
    lead = "format(pow(10, size - 9), ',.3~r') + ' billion, ' + format(pow(10, tokens), ',.2~r') + ' tokens each: '"
    sliders = [
        alt.param(name="size", value=11.243, bind=alt.binding_range(  # 175 billion
            min=9, max=12, step=0.001, name="Parameters, as a power of ten: ")),
        alt.param(name="tokens", value=0.301, bind=alt.binding_range(  # 2
            min=0, max=3.301, step=0.001, name="Tokens a parameter, as a power of ten: ")),
        alt.param(name="chip", value=per_joule["V100 (2017)"], bind=alt.binding_select(
            options=list(per_joule.values()), labels=list(per_joule), name="Chip: ")),
        alt.param(name="grid", value=grid_intensity("US").intensity_g_per_kwh, bind=alt.binding_select(
            options=[grid_intensity(r).intensity_g_per_kwh for r in GRIDS],
            labels=[grid_intensity(r).name for r in GRIDS], name="Grid: ")),
    ]  # fmt: skip
    return _training_chart(trainings, energy, "datum.energy_mwh * grid / 1e3", lead).add_params(*sliders)


def search_year(share_percent: float, answer_wh: float, cheaper: float, more: float) -> footprint.Rebound:
    """A year of chat answers to a share of Google's searches [kWh, Wh], before and after answers got cheaper and more.

    Args:
        share_percent: searches that a chat answers [%], above 0 up to 100.
        answer_wh: energy of an answer [Wh], above 0.
        cheaper: divides the energy of an answer, above 0.
        more: multiplies how often people ask, above 0.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if it is out of range.
    """
    share_percent = checks.number("share_percent", share_percent, above=0, high=100)
    answer_wh = checks.number("answer_wh", answer_wh, above=0, high=1e9)
    cheaper, more = checks.number("cheaper", cheaper, above=0, high=1e9), checks.number("more", more, above=0, high=1e9)
    year = footprint.inference_footprint(
        accelerator_wh=answer_wh, queries_per_day=value("google-searches") * share_percent / 100, region="WORLD"
    )
    uses = year.queries_per_day * 365
    return footprint.Rebound(answer_wh, answer_wh / cheaper, uses, uses * more)


def _search_chart(marks: pd.DataFrame, before_twh: str, after_twh: str, note: str = "''") -> Any:
    """Yardsticks as grey lollipops on a logarithmic axis, the reader's two scenarios above them from two
    expressions.
    """
    require_columns(marks, "label", "energy_twh")
    order = [*SCENARIO, *marks.sort_values("energy_twh")["label"]]
    x = alt.X("energy_twh:Q", title="Electricity a year [TWh]; every step is ten times")
    x = x.scale(type="log", domain=[0.001, 3000], clamp=True).axis(format=",~g", values=[10.0**k for k in range(-3, 4)])
    y = alt.Y("label:N", title=None, sort=order).scale(domain=order).axis(domain=False, ticks=False, grid=True)
    grey = alt.Chart(marks).encode(x=x, y=y)
    yours = (
        alt.Chart(pd.DataFrame({"label": SCENARIO, "after": [False, True]}))
        .transform_calculate(energy_twh=f"datum.after ? {after_twh} : {before_twh}")
        .encode(x=x, y=y)
    )
    colour = alt.Color("label:N", legend=None).scale(domain=list(SCENARIO), range=[BLUE, VERMILION])
    figure = alt.Text("energy_twh:Q", format=",.3~r")
    said = alt.Chart(pd.DataFrame({"label": SCENARIO[:1]})).transform_calculate(note=note).encode(y=y, x=alt.value(8))
    return alt.layer(
        said.mark_text(align="left", color=INK).encode(text="note:N"),
        grey.mark_point(size=90, filled=True, color=MUTED, opacity=1).encode(tooltip=["label:N", "energy_twh:Q"]),
        grey.mark_text(align="left", dx=9, color=MUTED).encode(text=figure),
        yours.mark_point(size=190, filled=True, opacity=1, shape="diamond").encode(color=colour),
        yours.mark_text(align="left", dx=12, fontWeight=600, color=INK).encode(text=figure),
    ).properties(
        title=alt.Title(
            "Cheaper answers save electricity only while use grows less than they get cheaper",
            subtitle="Diamonds: your scenario, before and after answers get cheaper. Grey: to compare",
        ),
        description="Yearly electricity of chat answers to searches before and after a saving, beside countries; "
        "logarithmic",
        width=WIDTH - 120,
        height=alt.Step(30),
    )


def search_widget(yardsticks: pd.DataFrame) -> Explorer:
    """What if every search were a chat: the share, the energy of an answer, a saving, and how use answers to it."""
    base = _search_chart(yardsticks, "before", "after").add_params(
        alt.param(name="before", value=1.0), alt.param(name="after", value=1.0)
    )

    def draw(**chosen: Any) -> dict[str, float]:
        found = search_year(**chosen)
        return {"before": found.before_kwh / 1e9, "after": found.after_kwh / 1e9}

    def say(**chosen: Any) -> str:
        found, ireland = search_year(**chosen), value("ireland-electricity-2024")
        before, after = found.before_kwh / 1e9, found.after_kwh / 1e9
        text = (
            f"{say_number(before)} TWh a year before, {say_number(after)} TWh after: "
            f"{say_percent(after / ireland)} of Ireland's electricity.\n"
        )
        if chosen["cheaper"] == 1:
            return text + "Answers cost what they did, so there is no saving that could rebound."
        rebound = f"Rebound {say_percent(found.share)}"
        if found.share > 1:
            return f"{text}{rebound}: extra use took more than the saving. The cheaper answer costs more in all."
        return f"{text}{rebound} of the expected saving of {say_number(found.expected_saving_kwh / 1e9)} TWh."

    def reached(**chosen: Any) -> bool:
        everything = chosen["share_percent"] == 100 and chosen["more"] >= 2
        return bool(everything and search_year(**chosen).after_kwh / 1e9 < 1)

    controls = {
        "share_percent": W.IntSlider(value=100, min=5, max=100, step=5, description="Searches as chats [%]"),
        "answer_wh": W.SelectionSlider(value=8.9, options=ANSWERS_WH, description="An answer takes [Wh]"),
        "cheaper": W.IntSlider(value=1, min=1, max=40, description="Answers cheaper, times"),
        "more": W.IntSlider(value=1, min=1, max=40, description="Asked more often, times"),
    }
    goal = "every search a chat, asked at least twice as often, in less than 1 TWh a year"
    return Explorer(controls, draw, say, reached, goal, base=base)


def search_twin(yardsticks: pd.DataFrame) -> Any:
    """The same calculator without a kernel."""
    searches = value("google-searches")
    before = f"{searches * 365 / 1e12} * share / 100 * pow(10, answer)"
    note = "format(pow(10, answer), '.2~r') + ' Wh an answer'"
    sliders = [
        alt.param(name="share", value=100, bind=alt.binding_range(
            min=5, max=100, step=5, name="Searches answered by a chat [%]: ")),
        alt.param(name="answer", value=0.949, bind=alt.binding_range(  # 8.9 Wh
            min=-2, max=1, step=0.001, name="Energy of an answer [Wh], as a power of ten: ")),
        alt.param(name="cheaper", value=1, bind=alt.binding_range(min=1, max=40, step=1,
        name="Answers get cheaper, times: ")),
        alt.param(name="more", value=1, bind=alt.binding_range(min=1, max=40, step=1,
        name="People ask more often, times: ")),
    ]  # fmt: skip
    return _search_chart(yardsticks, before, f"({before}) / cheaper * more", note).add_params(*sliders)
