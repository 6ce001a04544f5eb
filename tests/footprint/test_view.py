"""Chapter 1's charts from the facts, its calculators at every extreme, twins that say what the package says, hints."""

import json
import re

import pytest

from greenlab.core.facts import value
from greenlab.footprint import tables as work
from greenlab.footprint import view as see
from greenlab.footprint.view import widgets
from greenlab.lab.exercises import solutions
from greenlab.lab.widgets import exercise_extremes


@pytest.fixture(scope="module")
def trainings():
    return work.trainings()


@pytest.fixture(scope="module")
def yardsticks():
    return work.yardsticks()


def test_every_chart_is_a_valid_specification_with_words(trainings, yardsticks):
    words = {"title": "t", "description": "d"}
    charts = [
        see.trend_chart(work.trend("parameters"), y_title="Parameters", **words),
        see.trend_chart(work.trend("tokens"), y_title="Tokens", **words),
        see.trend_chart(work.trend("compute"), y_title="FLOP", words=False, **words),
        see.iea_chart(work.scopes(), "t"),
        see.yardstick_chart(yardsticks, "t"),
        see.split_chart(work.splits(), "t"),
        see.amounts(work.world_shares(), "share_percent", x_title="%", **words),
        see.amounts(work.multipliers(), "carbon_t", x_title="t", **words),
        see.amounts(work.bloom_lifecycle(), "carbon_t", x_title="t", **words),
        see.amounts(work.prompts(), "energy_wh", x_title="Wh", **words),
        see.answers_chart(work.answers(), "t"),
        see.training_twin(trainings),
        see.search_twin(yardsticks),
    ]
    for chart in charts:
        spec = chart.to_dict()
        assert spec["description"]
        assert spec["title"]


# The tables -----------------------------------------------------------------------------------------------------------


def test_about_fifty_models_and_rumours_are_told_apart():
    parameters = work.trend("parameters")
    assert parameters["model"].nunique() >= 50
    known = parameters.set_index(["model", "count"])["known"]
    assert known["GPT-4 (RUMOURED)", "all parameters"] == work.KNOWN[1]
    assert known["PaLM 2 (LEAKED)", "all parameters"] == work.KNOWN[1]
    assert known["GPT-3 175B", "all parameters"] == "known"
    assert (parameters["count"] == "parameters used for a token").sum() >= 10
    tokens = work.trend("tokens").set_index("model")["known"]  # a row may be surer in one column than in another
    assert tokens["OPT-175B"] == "known"
    with pytest.raises(ValueError, match="no quantity 'size'; known: compute, parameters, tokens"):
        work.trend("size")


def test_answers_are_tokens_of_ours_and_answers_of_one_laboratory():
    """Three tokens, ten answers; each in watt-hours, as its study or its fact has it; one is modelled, and says so."""
    table = work.answers().set_index("label")
    assert table["energy_wh"].is_monotonic_increasing
    assert (table["by"] == "ML.ENERGY").sum() == len(work.ANSWERS) == 10
    for label, id in work.ANSWERS.items():
        assert table.loc[label, "energy_wh"] == value(id)
    token = table.loc[work.OWN_TOKEN]
    assert (token["basis"], token["by"]) == ("modelled", "this book")
    assert token["low_wh"] < token["energy_wh"] < token["high_wh"]
    joules = 3600 * table.loc["One token, Llama-3.1-8B, 64 users", "energy_wh"]
    assert joules == pytest.approx(0.0798, rel=1e-3)  # as chapter 0 quotes it
    assert (table.drop(work.OWN_TOKEN)["basis"] == "measured").all()


def test_a_training_that_is_not_confirmed_is_drawn_hollow_and_not_left_out(trainings):
    """A point without a stroke and without a fill would be no point; a whole development is no training."""
    vlc = pytest.importorskip("vl_convert")
    svg = vlc.vegalite_to_svg(see.training_twin(trainings).to_dict())
    points = re.findall(r'<path aria-label="[^"]*known: [^"]*"[^>]*>', svg)
    assert len(points) == len(trainings) == 16
    assert all(re.search(r'stroke="#[0-9A-Fa-f]+"', point) for point in points)
    hollow = [point for point in points if 'fill-opacity="0"' in point]
    assert len(hollow) == (trainings["known"] == work.KNOWN[1]).sum() > 3


def test_energies_beside_the_dots_have_two_digits_and_no_power_of_ten():
    spec = see.answers_chart(work.answers(), "t").to_dict()
    said = [row["said"] for rows in spec["datasets"].values() for row in rows if "said" in row]
    assert said
    assert {"0.000022 Wh", "0.21 Wh", "80 Wh", "323 Wh"} <= set(said)
    assert not [words for words in said if "e" in words or not re.fullmatch(r"[\d.]+ Wh", words)]


def test_days_of_prompts_for_a_training():
    """2.5e9 prompts at 0.34 Wh are 850 MWh a day: GPT-3 a day and a half, Llama 3.1 405B 25 days."""
    days = work.training_days().set_index("model")["days"].tolist()
    assert [round(n, 1) for n in days[:2]] == [1.5, 25.4]
    assert 300 < days[2] < 365


def test_scopes_are_two_lines_that_share_no_point():
    scopes = work.scopes()
    assert scopes.groupby("scope")["energy_twh"].apply(list).to_dict() == {
        work.SCOPE_NARROW: [415, 485, 950],
        work.SCOPE_WIDE: [460, 800],
    }
    spec = see.iea_chart(scopes, "t").to_dict()
    assert spec["layer"][0]["mark"]["type"] == "line"
    assert spec["layer"][0]["encoding"]["color"]["field"] == "scope"


def test_tables_say_what_the_facts_say():
    shares = work.world_shares()["share_percent"].tolist()
    assert [round(share, 2) for share in shares] == [1.89, 1.58, 1.53, 0.49]
    carbon = work.multipliers().set_index("label")["carbon_t"]
    assert round(carbon["GPT-3, where it ran"]) == value("gpt3-training-carbon")
    assert round(carbon["BLOOM, where it ran"]) == value("bloom-training-carbon-building")
    assert carbon["GPT-3, where it ran"] / carbon["BLOOM, where it ran"] == pytest.approx(18.63, abs=0.01)
    assert work.bloom_lifecycle()["carbon_t"].sum() == pytest.approx(value("bloom-lifecycle-carbon"))
    assert work.gemini_parts()["energy_wh"].sum() == pytest.approx(value("gemini-median-prompt"))
    it = work.splits().query("part == 'IT equipment'")["share_percent"]
    assert it.round().tolist() == [60, 65, 92]
    assert work.splits().groupby("label")["share_percent"].sum().tolist() == pytest.approx([100] * 3)


# The calculators ------------------------------------------------------------------------------------------------------


def test_the_training_calculator_holds_at_every_extreme_and_reaches_its_goal(trainings):
    explorer = see.training_widget(trainings)
    for stop, text in exercise_extremes(explorer):
        assert re.search(r"MWh, [\d,.]+( million)? t CO2e in ", text), stop
        assert not re.search(r"\de[+-]\d|\ba [AH]\d|\b1 tokens", text), stop
    assert "not yet reached" in explorer.text
    explorer.set(billions=100, tokens=200, chip="B200 (2024)", region="NO")
    assert "not yet" in explorer.text  # a hundred billion on two hundred tokens each is more than 100 t even there
    explorer.set(billions=70)
    assert explorer.text.endswith(": reached.")
    found = widgets.training_run(70e9, 200, "B200 (2024)", "NO")
    assert explorer.panel.params.carbon == pytest.approx(found.carbon_t)
    assert explorer.panel.params.energy == pytest.approx(found.energy_mwh)


def test_the_search_calculator_holds_at_every_extreme_and_starts_at_de_vries(yardsticks):
    explorer = see.search_widget(yardsticks)
    assert explorer.panel.params.before == pytest.approx(value("devries-google-energy"), rel=0.01)
    for stop, text in exercise_extremes(explorer):
        assert "TWh a year before" in text, stop
        assert ("no saving that could rebound" in text) == (stop["cheaper"] == 1)
    explorer.set(cheaper=4, more=4)
    assert "Rebound 100 %" in explorer.text
    explorer.set(cheaper=4, more=8)
    assert "took more than the saving" in explorer.text
    explorer.set(answer_wh=0.24, cheaper=3, more=2)
    assert explorer.text.endswith(": reached.")


def test_the_training_calculator_starts_at_gpt3_in_slider_sentence_and_kernel(trainings):
    explorer = see.training_widget(trainings)
    assert explorer.controls["billions"].value == 175
    assert explorer.text.startswith("175 billion parameters on 2 tokens each: ")
    found = widgets.training_run(175e9, 2, "V100 (2017)", "US")
    assert explorer.panel.params.energy == pytest.approx(found.energy_mwh)
    assert (
        f" {widgets.say_number(found.energy_mwh)} MWh, {widgets.say_number(found.carbon_t)} t CO2e in " in explorer.text
    )


def test_the_search_calculator_starts_at_the_papers_29_point_2(yardsticks):
    assert see.search_widget(yardsticks).text.startswith("29.2 TWh a year before, 29.2 TWh after: ")


def test_no_rebound_is_said_without_a_minus(yardsticks):
    explorer = see.search_widget(yardsticks)
    explorer.set(cheaper=3, more=1)
    assert "Rebound 0 % of" in explorer.text
    for stop, text in exercise_extremes(explorer):
        assert "-0" not in text, stop
        assert not re.search(r"\b0(\.0+)? % of Ireland", text), stop


def test_sentences_of_the_training_calculator_are_words(trainings):
    explorer = see.training_widget(trainings)
    explorer.set(chip="A100 (2020)", tokens=1, billions=1000)
    assert explorer.text.startswith("1 trillion parameters on 1 token each: ")
    assert " hours of an A100, " in explorer.text
    explorer.set(chip="B200 (2024)", tokens=2000)
    assert "1 trillion parameters on 2,000 tokens each: " in explorer.text
    assert " hours of a B200, " in explorer.text


@pytest.mark.parametrize(
    ("call", "inputs"),
    [
        (widgets.training_run, {"params": 1e9, "tokens_per_param": 2, "chip": "V100 (2017)", "region": "US"}),
        (widgets.search_year, {"share_percent": 100, "answer_wh": 1, "cheaper": 2, "more": 2}),
        (widgets.say_number, {"number": 1.0}),
        (widgets.say_percent, {"share": 1.0}),
    ],
)
def test_every_argument_of_the_calculators_is_checked_and_named(call, inputs):
    call(**inputs)
    for name, right in inputs.items():
        wrong = [None, True, float("nan"), float("inf"), "x", []] + (
            [] if isinstance(right, str) or "say" in call.__name__ else [0, -1, 1e300]
        )
        for bad in wrong:
            with pytest.raises((ValueError, TypeError), match=name):
                call(**inputs | {name: bad})


def drawn_words(chart, **params):
    """The text marks of a chart, drawn by Vega with its parameters set to these values."""
    vlc = pytest.importorskip("vl_convert")
    spec = json.loads(chart.to_json())
    for param in spec["params"]:
        if param["name"] in params:
            param["value"] = params[param["name"]]
    return re.findall(r"<text[^>]*>([^<]*)</text>", vlc.vegalite_to_svg(spec))


@pytest.mark.parametrize(
    ("size", "tokens", "chip", "region"),
    [(11.243, 0.301, "V100 (2017)", "US"), (12, 3.301, "B200 (2024)", "FR"), (9, 0, "H100 (2022)", "IN")],
)
def test_the_training_twin_computes_what_the_package_computes(trainings, size, tokens, chip, region):
    id = widgets.CHIPS[chip]
    words = drawn_words(
        see.training_twin(trainings), size=size, tokens=tokens, grid=value(f"{region}.intensity_g_per_kwh"),
        chip=value(f"{id}.peak_dense_tflops_bf16") / value(f"{id}.tdp_w"),
    )  # fmt: skip
    said = next(word for word in words if " MWh, " in word)
    mwh, tonnes = (float(number.replace(",", "")) for number in re.findall(r"([\d,.]+) (?:MWh|t$)", said))
    run = widgets.training_run(10**size, 10**tokens, chip, region)
    assert mwh == pytest.approx(run.energy_mwh, rel=0.006)  # three digits are drawn
    assert tonnes == pytest.approx(run.carbon_t, rel=0.006)


@pytest.mark.parametrize(("share", "answer", "cheaper", "more"), [(100, 0.949, 1, 1), (50, -0.6, 33, 7)])
def test_the_search_twin_computes_what_the_package_computes(yardsticks, share, answer, cheaper, more):
    marks = yardsticks[~yardsticks["label"].isin(["Germany", "Japan"])]
    words = drawn_words(see.search_twin(marks), share=share, answer=answer, cheaper=cheaper, more=more)
    year = widgets.search_year(share, 10**answer, cheaper, more)
    figures = [word for word in words if re.fullmatch(r"[\d.,]+", word)]
    drawn = [float(word.replace(",", "")) for word in figures[-2:]]  # the two diamonds are drawn last
    assert drawn == pytest.approx([year.before_kwh / 1e9, year.after_kwh / 1e9], rel=0.006)


def test_twins_start_where_their_widgets_start(trainings, yardsticks):
    """175 billion parameters, 2 tokens each, 674 MWh; 8.9 Wh an answer, 29.2 TWh."""
    words = drawn_words(see.training_twin(trainings))
    run = widgets.training_run(175e9, 2, "V100 (2017)", "US")
    assert f"175 billion, 2 tokens each: {run.energy_mwh:,.0f} MWh, {run.carbon_t:,.0f} t" in words
    assert "8.9 Wh an answer" in drawn_words(see.search_twin(yardsticks))


# The exercises --------------------------------------------------------------------------------------------------------

WRONG = {
    "footprint-training": [
        (lambda h, p, pue, i: h * p / 1e3 * i / 1e6, "your building costs nothing"),
        (lambda h, p, pue, i: h * p * pue * i / 1e6, "a factor of a thousand"),
        (lambda h, p, pue, i: h * p / 1e3 * pue * i, "the answer is in tonnes"),
        (lambda h, p, pue, i: h * p / 1e3 * (pue - 1) * i / 1e6, "overhead alone"),
        (lambda h, p, pue, i: h + p, "is 336 t"),
        (lambda h, p, pue, i: h / 0, "ZeroDivisionError"),
    ],
    "footprint-overhead": [
        (248.4, "the 1.54, not the 1"), (298.7, "reaches the computers"), (184, "older split"), (5, "1 - 1/PUE"),
    ],
    "footprint-sci": [
        (lambda e, i, m, n: (e * i + m) / n, "watt-hours were taken"),
        (lambda e, i, m, n: e / 1e3 * i / n, "manufacture is missing"),
        (lambda e, i, m, n: e / 1e3 * i / n + m, "divide it by them as well"),
        (lambda e, i, m, n: e / 1e3 * i + m, "a rate, per prompt"),
        (lambda e, i, m, n: 1.0, "give 11 g each"),
    ],
    "footprint-rebound": [
        (lambda b, a, u, v: (b * u - a * v) / ((b - a) * u) if v != 2000 else 0.4, "unchanged use"),
        (lambda b, a, u, v: v / u if v != u else 0.0, "how much more is asked"),
        (lambda b, a, u, v: a * v / (b * u), "divide savings"),
        (lambda b, a, u, v: 0.1, "half of the saving"),
        (lambda b, a, u, v: min(1.0, 1 - (b * u - a * v) / ((b - a) * u)), "do not cut it off"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_each_slip_gets_its_own_hint_and_the_reference_passes(name):
    task = solutions()[name]
    assert task.verdict(task.reference) is None
    for answer, hint in WRONG[name]:
        assert hint in task.verdict(answer)
