"""Every chart builder: what it draws, that real Vega-Lite draws it, and the errors that keep a chart honest."""

import re

import altair as alt
import numpy as np
import pandas as pd
import pytest
import vl_convert

from greenlab.lab import renderer
from greenlab.lab.charts import (
    Slider,
    bars_with_range,
    dots,
    energy_bars,
    heatmap,
    lines,
    points,
    require_few,
    require_finite,
    roofline,
    span,
    with_slider,
)

WORDS = {"title": "It rises", "description": "A rising line"}
XY = {"x_title": "Layers removed", "y_title": "Loss [nats]"}
FRAME = pd.DataFrame({"x": [0, 1, 2, 0, 1, 2], "y": [1.0, 2, 3, 1, 3, 5], "m": list("aaabbb")})
FRAME = FRAME.assign(low=FRAME.y - 0.5, high=FRAME.y + 0.5)
BARS = pd.DataFrame({"n": ["dense", "moe"], "e": [10.0, 6.0], "low": [8.0, 5.0], "high": [12.0, 9.0]})
BARS = BARS.assign(basis=["measured", "modelled"])
ENERGY = pd.DataFrame(
    [("a", "cpu", "measured", 3.0), ("a", "dram", "modelled", 1.0), ("b", "cpu", "measured", 2.0)],
    columns=["run", "component", "basis", "energy_j"],
)
CELLS = pd.DataFrame([(i, j, float(i * j)) for i in range(40) for j in range(3)], columns=["i", "j", "v"])
ALONG = pd.concat([FRAME.assign(k=k, y=FRAME.y * k, low=FRAME.low * k, high=FRAME.high * k) for k in (0.5, 1.0, 1.5)])
HEAT = {"x_title": "i", "y_title": "j", "value_title": "v [J]"}


def time_frame():
    return pd.DataFrame({"x": pd.date_range("2020-01-01", periods=3, freq="h"), "y": [1.0, 2.0, 3.0]})


ROOF = pd.DataFrame({"roof": ["cpu"] * 3, "intensity": [0.1, 10.0, 100.0], "flops_per_s": [1e9, 1e11, 1e11]})
WORKS = pd.DataFrame({"work": ["a", "b"], "kind": ["k", "l"], "intensity": [0.5, 8.0], "flops_per_s": [4e9, 5e10]})
CHARTS = {
    "dots": lambda: dots(FRAME, "x", "y", "m", x_title="Energy [J]", **WORDS),
    "dots on a logarithmic axis": lambda: dots(FRAME, "x", "y", "m", x_title="Energy [J]", log_x=True, **WORDS),
    "roofline": lambda: roofline(ROOF, WORKS, **WORDS),
    "lines": lambda: lines(FRAME, "x", "y", color="m", band=("low", "high"), goal=(4.0, "at most 4"), **XY, **WORDS),
    "lines without marks": lambda: lines(FRAME, "x", "y", color="m", marks=False, **XY, **WORDS),
    "lines over time": lambda: lines(time_frame(), "x", "y", zero=True, **XY, **WORDS),
    "lines with slider": lambda: lines(
        ALONG,
        "x",
        "y",
        color="m",
        band=("low", "high"),
        goal=(4.0, "at most 4"),
        slider=Slider("k", "Steps"),
        **XY,
        **WORDS,
    ),
    "bars": lambda: bars_with_range(
        BARS, "n", "e", x_title="Energy [J]", band=("low", "high"), basis="basis", goal=(7.0, "goal"), **WORDS
    ),
    "energy bars": lambda: energy_bars(ENERGY, subtitle="pale is modelled", **WORDS),
    "heatmap": lambda: heatmap(CELLS, "i", "j", "v", label_format=".0f", **HEAT, **WORDS),
    "points": lambda: points(BARS, "e", "low", label="n", color="n", basis="basis", goal=(6.0, "goal"), **XY, **WORDS),
    "points on logarithmic axes": lambda: points(BARS, "e", "low", log_x=True, log_y=True, **XY, **WORDS),
}


@pytest.mark.parametrize("name", CHARTS)
def test_real_vega_lite_draws_it(name):
    """Compiled and drawn by Vega-Lite 5.8, the version of vl-convert closest to the 5.6.1 that Lab ships."""
    spec = renderer.render(CHARTS[name]().to_dict())[renderer.MIME]
    svg = vl_convert.vegalite_to_svg(spec, vl_version="5.8")
    assert "It rises" in svg
    assert any(mark in svg for mark in ('class="mark-line', 'class="mark-rect', 'class="mark-symbol'))
    assert "undefined" not in svg
    assert "NaN" not in svg


@pytest.mark.parametrize("name", CHARTS)
def test_it_says_what_it_shows(name):
    """Title, description (the aria-label), and on every axis a title with words of its own."""
    spec = CHARTS[name]().to_dict()
    assert spec["title"]["text"] == "It rises"
    assert spec["description"] == "A rising line"
    tooltips = [layer for layer in spec["layer"] if "tooltip" in layer["encoding"]]
    assert tooltips
    for axis in ("x", "y"):
        titles = [
            layer["encoding"][axis].get("title")
            for layer in spec["layer"]
            if "field" in layer["encoding"].get(axis, {})
        ]
        assert titles
        rates = [{"Arithmetic intensity [FLOP per byte read]"}, {"Rate [FLOP/s]"}]
        assert set(titles) in [{"Layers removed"}, {"Loss [nats]"}, {"Energy [J]"}, {"i"}, {"j"}, {None}, *rates]


def encodings(chart, channel):
    return [layer["encoding"][channel] for layer in chart.to_dict()["layer"] if channel in layer["encoding"]]


def test_categories_differ_without_colour():
    """Lines differ in the shape of their marks, or in dash where they have none; in the order of the data."""
    assert encodings(CHARTS["lines"](), "shape")[0]["scale"]["domain"] == ["a", "b"]
    assert encodings(CHARTS["lines without marks"](), "strokeDash")[0]["field"] == "m"
    assert encodings(CHARTS["points"](), "shape")[0]["field"] == "n"


def test_modelled_is_never_drawn_like_measured():
    """Pale bars, hollow points (and words for it, since Vega draws no legend for hollow)."""
    for name in ("bars", "energy bars"):
        scale = encodings(CHARTS[name](), "opacity")[0]["scale"]
        assert dict(zip(scale["domain"], scale["range"], strict=True)) == {"measured": 1.0, "modelled": 0.4}
    chart = CHARTS["points"]()
    scale = encodings(chart, "fillOpacity")[0]["scale"]
    assert dict(zip(scale["domain"], scale["range"], strict=True)) == {"measured": 1.0, "modelled": 0.0}
    assert chart.to_dict()["title"]["subtitle"] == ["Filled points were measured, hollow ones are modelled"]


def test_bars_start_at_zero_even_if_all_values_are_large():
    chart = bars_with_range(BARS.assign(e=[1000.0, 1001.0]), "n", "e", x_title="Energy [J]", **WORDS)
    assert encodings(chart, "x")[0]["scale"]["domain"] == [0.0, 1001.0]


def test_the_slider_chooses_one_value_and_the_axes_stand_still():
    """Vega draws at each stop the points of that value only, the same axes at all stops, and the goal line."""
    spec = renderer.render(CHARTS["lines with slider"]().to_dict())[renderer.MIME]
    assert spec["params"][0]["bind"] == {"input": "range", "min": 0.5, "max": 1.5, "step": 0.5, "name": "Steps: "}
    axes = set()
    for value in (0.5, 1.0, 1.5):
        spec["params"][0]["value"] = value
        svg = vl_convert.vegalite_to_svg(spec, vl_version="5.8")
        assert f"Loss [nats]: {5 * value:g};" in svg
        assert svg.count('aria-roledescription="point"') == 6
        assert "at most 4" in svg
        axes.add(tuple(re.findall(r'aria-label="Y-axis[^"]*"', svg)))
    assert len(axes) == 1
    assert len(axes.pop()) == 1


def test_a_slider_may_start_elsewhere_and_may_filter_a_plain_chart():
    chart = with_slider(alt.Chart(ALONG).mark_point(), ALONG, Slider("k", "Steps", 1.0))
    spec = chart.to_dict()
    assert spec["params"][0]["value"] == 1.0
    assert spec["transform"] == [{"filter": "abs(datum['k'] - choose_k) < 0.25"}]


LINE = {**XY, **WORDS}
BAD = {
    "missing column": (
        lambda: lines(FRAME, "x", "loss", **LINE),
        "data lacks the column loss; it has the columns x, y, m",
    ),
    "no rows": (lambda: lines(FRAME[:0], "x", "y", **LINE), "no rows"),
    "repeated point": (lambda: lines(FRAME, "x", "y", **LINE), r"2 rows for x=0"),
    "missing value": (lambda: lines(FRAME.assign(y=np.nan), "x", "y", color="m", **LINE), "column y has 6 missing"),
    "infinite value": (
        lambda: points(FRAME.assign(y=np.inf), "x", "y", **LINE),
        "column y has 6 missing or infinite values, first in row 0",
    ),
    "text for numbers": (lambda: points(FRAME, "x", "m", **LINE), "column m holds .*, not numbers"),
    "too many colours": (
        lambda: lines(FRAME.assign(m=list("abcdef")), "x", "y", color="m", **LINE),
        "6 values and a chart has at most 3 colours",
    ),
    "no title": (lambda: lines(FRAME[:3], "x", "y", **XY, title=" ", description="d"), "title is empty"),
    "no description": (lambda: lines(FRAME[:3], "x", "y", **XY, title="t", description=""), "description is empty"),
    "unknown basis": (
        lambda: bars_with_range(BARS.assign(basis="guess"), "n", "e", x_title="J", basis="basis", **WORDS),
        "column basis has guess; write measured or modelled",
    ),
    "repeated component": (
        lambda: energy_bars(pd.concat([ENERGY, ENERGY[:1]]), **WORDS),
        "2 rows for run='a', component='cpu'",
    ),
    "unknown component": (
        lambda: energy_bars(ENERGY.assign(component=list("xyz")), **WORDS),
        "has x, y, z; use cpu, dram, gpu",
    ),
    "repeated cell": (
        lambda: heatmap(pd.concat([CELLS, CELLS[:1]]), "i", "j", "v", **HEAT, **WORDS),
        "2 rows for i=.*, j=.*",
    ),
    "zero on a logarithmic axis": (
        lambda: points(FRAME, "x", "y", log_x=True, **LINE),
        "column x has values of 0 or less",
    ),
    "slider of one value": (
        lambda: lines(FRAME.assign(k=1), "x", "y", color="m", slider=Slider("k", "Steps"), **LINE),
        "two or more, evenly spaced",
    ),
    "uneven slider": (
        lambda: points(FRAME.assign(k=[1, 2, 4, 1, 2, 4]), "x", "y", slider=Slider("k", "Steps"), **LINE),
        r"has the values \[1.0, 2.0, 4.0\]",
    ),
    "slider between values": (
        lambda: points(ALONG, "x", "y", slider=Slider("k", "Steps", 0.7), **LINE),
        "value is 0.7; the slider can stand at 0.5, 1, 1.5",
    ),
    "slider without words": (lambda: Slider("k", " "), "label is empty"),
    "slider on a missing column": (
        lambda: lines(FRAME, "x", "y", color="m", slider=Slider("k", "Steps"), **LINE),
        "lacks the column k",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_would_mislead_is_refused_with_a_remedy(name):
    build, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: bars_with_range(BARS, "n", "qqq", x_title="E [J]", **WORDS), "value='qqq': data lacks"),
        (lambda: bars_with_range(BARS, "n", "e", band=("low",), x_title="E [J]", **WORDS), "band=.*give two columns"),
        (lambda: bars_with_range(BARS, "n", "e", band="lh", x_title="E [J]", **WORDS), "band='lh'"),
        (lambda: bars_with_range(BARS, "n", "e", value_format="wide", x_title="E [J]", **WORDS), "value_format='wide'"),
        (lambda: lines(FRAME, "x", "y", color="", **LINE), "color='': data lacks"),
        (lambda: lines(FRAME, "x", "y", color="m", slider="x", **LINE), "slider='x' is str"),
        (lambda: lines(FRAME, "x", "y", color="m", zero="no", **LINE), "zero='no' is str"),
        (lambda: lines(FRAME, "x", "y", color="m", width=300.5, **LINE), "width=300.5 is float"),
        (lambda: heatmap(CELLS, "i", "j", "v", height=0, **HEAT, **WORDS), "height=0"),
        (lambda: points(FRAME, "x", "y", label=3, **LINE), "label=3 is int"),
        (lambda: energy_bars(ENERGY.drop(columns="run"), **WORDS), "energy lacks the column run"),
        (lambda: roofline(ROOF, None, **WORDS), "works is NoneType"),
        (lambda: span(FRAME, "m"), "columns: m holds"),
        (lambda: span(FRAME), "columns is empty"),
        (lambda: require_few(FRAME, "qqq"), "column qqq"),
        (lambda: require_finite([1.0], "x"), "data is list"),
        (lambda: Slider("", "Steps"), "column is empty"),
    ],
)
def test_the_error_names_the_argument_of_the_chart(draw, message):
    with pytest.raises((ValueError, TypeError), match=message):
        draw()


@pytest.mark.parametrize("number_format", ["d", ".2f", "%", "~s", ",.4~g", "+.1%", "$,.2f", "08.3f", "*^20,d"])
def test_formats_of_d3_are_taken(number_format):
    chart = bars_with_range(BARS, "n", "e", value_format=number_format, x_title="E [J]", **WORDS)
    assert number_format in chart.to_json(ensure_ascii=False)


def test_a_subtitle_may_have_several_lines():
    chart = points(FRAME, "x", "y", subtitle=["One", "Two"], **LINE)
    assert chart.to_dict()["title"]["subtitle"] == ["One", "Two"]


def test_missing_values_of_every_kind_are_found():
    """pandas has three of them: NaN, None in an object column, and pd.NA."""
    for column in (
        pd.array([1, pd.NA, 3], dtype="Int64"),
        [1.0, float("nan"), 3.0],
        pd.array([1.0, None, 3.0], dtype="Float64"),
    ):
        with pytest.raises(ValueError, match="column y has 1 missing or infinite value, first in row 1"):
            lines(FRAME[:3].assign(y=column), "x", "y", **LINE)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: dots(FRAME.assign(y=0), "x", "y", "m", x_title="x", log_x=True, **WORDS), "values of 0 or less"),
        (lambda: dots(FRAME.assign(m="a"), "x", "y", "m", x_title="x", **WORDS), "2 rows for x=0, m='a'"),
        (lambda: dots(FRAME.assign(m=list("abcdef")), "x", "y", "m", x_title="x", **WORDS), "at most 3 colours"),
        (lambda: roofline(ROOF, WORKS.assign(intensity=0.0), **WORDS), "must be above 0"),
        (lambda: roofline(ROOF.drop(columns="roof"), WORKS, **WORDS), "lacks the column roof"),
    ],
)
def test_what_dots_and_rooflines_cannot_show_is_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


@pytest.mark.parametrize("name", ["bars", "points", "roofline"])
def test_ticks_are_written_in_plain_units(name):
    """ "200m" megabytes, "0.2k" joules and "100G" FLOP/s are riddles."""
    wide = ROOF.assign(flops_per_s=[1e9, 1e12, 1e12])
    many = pd.DataFrame({"x": [0.01, 0.2, 5.0], "y": [1e3, 2.5e7, 3e7], "k": list("aab")})
    chart = {
        "bars": lambda: bars_with_range(BARS.assign(e=[1000.0, 322.0], low=300.0, high=3100.0), "n", "e",
                                        band=("low", "high"), x_title="Energy [J]", **WORDS),
        "points": lambda: points(many, "x", "y", color="k", log_x=True, log_y=True, **XY, **WORDS),
        "roofline": lambda: roofline(wide, WORKS, **WORDS),
    }[name]()  # fmt: skip
    drawn = vl_convert.vegalite_to_svg(chart.to_dict(), vl_version="5.21")
    ticks = [text for text in re.findall(r"<text[^>]*>([^<]+)<", drawn) if re.match(r"[\d.,]", text)]
    assert len(ticks) > 4
    assert [text for text in ticks if not re.fullmatch(r"[\d.,]+( (million|billion|trillion))?", text)] == []
