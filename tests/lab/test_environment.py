"""setup(): threads, offline, quiet, theme and renderer, seeds; and what the theme and the renderer do to a chart."""

import ast
import json
import math
import os
import random
import re
import subprocess
import sys

import altair as alt
import numpy as np
import pandas as pd
import pytest
import vl_convert

from greenlab.core.machine import available_cores
from greenlab.lab import environment, page, renderer, setup, theme

FRAME = pd.DataFrame({"x": [1.23456789, 2.0], "n": [123456789, 1], "name": ["a", "b"]})


@pytest.fixture
def restored(monkeypatch):
    """setup() changes the process: put everything back."""
    for name in [
        *environment.QUIET,
        *environment.THREAD_VARIABLES,
        environment.NUMBA_VARIABLE,
        environment.WAIT_VARIABLE,
    ]:
        monkeypatch.setenv(name, os.environ.get(name, ""))
        monkeypatch.delenv(name)
    themes, renderers = alt.theme.active, alt.renderers.active
    yield monkeypatch
    alt.theme.enable(themes)
    alt.renderers.enable(renderers)


def in_a_fresh_process(code: str, **env: str) -> dict:
    names = [*environment.QUIET, *environment.THREAD_VARIABLES, environment.NUMBA_VARIABLE, environment.WAIT_VARIABLE]
    clean = {name: value for name, value in os.environ.items() if name not in names} | env
    run = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return json.loads(run.stdout)


def test_libraries_imported_after_setup_obey_it():
    """The order of every notebook: setup first. torch uses our threads, the hub is offline, and nothing is printed."""
    seen = in_a_fresh_process(
        "from greenlab.lab import setup; setup(); setup()\n"
        "import json, torch, huggingface_hub, transformers\n"
        "from transformers.utils import logging\n"
        "print(json.dumps([torch.get_num_threads(), huggingface_hub.constants.HF_HUB_OFFLINE, logging.get_verbosity(),"
        " logging.is_progress_bar_enabled()]))"
    )
    assert seen == [available_cores(), True, 40, False]  # 40 is logging.ERROR


@pytest.mark.parametrize("wish", [None, "ACTIVE"])
def test_threads_of_torch_sleep_while_they_wait_unless_the_reader_wishes_otherwise(wish):
    """OpenMP itself tells what it read, when torch loads it."""
    code = "from greenlab.lab import setup; setup()\nimport torch"
    names = [*environment.THREAD_VARIABLES, environment.WAIT_VARIABLE]
    clean = {name: value for name, value in os.environ.items() if name not in names} | {"OMP_DISPLAY_ENV": "true"}
    env = clean | ({environment.WAIT_VARIABLE: wish} if wish else {})
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert re.search(r"OMP_WAIT_POLICY\s*=\s*'(\w+)'", run.stderr)[1] == (wish or "PASSIVE")


@pytest.mark.parametrize("first", ["import numba; from greenlab.lab import setup; setup()",
                                   "from greenlab.lab import setup; setup(); import numba; setup()"])  # fmt: skip
def test_numba_compiles_after_setup_whatever_was_first_and_uses_no_more_threads_than_asked(first):
    """numba reads the environment again when it compiles, and refuses a number other than that of its threads."""
    seen = in_a_fresh_process(
        f"{first}\nimport json\n@numba.njit\ndef after(x):\n    return x + 1\n"
        "print(json.dumps([after(1), numba.get_num_threads()]))",
        OMP_NUM_THREADS="1",
    )
    assert seen == [2, 1]


def test_libraries_imported_before_setup_obey_it_too():
    """A reader may have run another cell first."""
    seen = in_a_fresh_process(
        "import json, torch, huggingface_hub, transformers\n"
        "from transformers.utils import logging\n"
        "torch.set_num_threads(1)\n"
        "from greenlab.lab import setup; setup(3); first = torch.rand(1).item(); setup(3)\n"
        "print(json.dumps([torch.get_num_threads(), huggingface_hub.constants.HF_HUB_OFFLINE, logging.get_verbosity(),"
        " logging.is_progress_bar_enabled(), torch.rand(1).item() == first]))"
    )
    assert seen == [available_cores(), True, 40, False, True]


def test_setup_imports_nothing_heavy():
    """torch, transformers and the chart's JavaScript (1.5 s) come when they are needed."""
    loaded = in_a_fresh_process(
        "from greenlab.lab import setup; setup()\nimport json, sys, altair\n"
        "print(json.dumps([name in sys.modules for name in ('torch', 'transformers', 'scipy')]"
        " + [altair.JupyterChart._is_offline]))"
    )
    assert loaded == [False, False, False, False]


@pytest.mark.parametrize(
    ("asked", "cores", "expected"), [("", 4, 4), ("1", 4, 1), ("64", 4, 4), ("0", 4, 4), ("two", 4, 4)]
)
def test_threads_are_the_cores_or_fewer_if_asked(restored, asked, cores, expected):
    """A hub that sets OMP_NUM_THREADS=64 in a container with four cores is not believed; a lower wish is."""
    restored.setattr(environment, "available_cores", lambda: cores)
    restored.setenv("OMP_NUM_THREADS", asked)
    setup()
    assert {os.environ[name] for name in environment.THREAD_VARIABLES} == {str(expected)}


def test_seeds_are_fixed_and_differ(restored):
    draws = []
    for seed in (0, 0, 1):
        setup(seed)
        draws.append((random.random(), np.random.random()))  # noqa: NPY002  the global generator is what setup seeds
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True, "0"])
def test_a_seed_that_numpy_refuses_is_explained(restored, seed):
    with pytest.raises(ValueError, match=r"seed is .*; give an integer from 0 to 2\*\*32 - 1"):
        setup(seed)


def test_charts_come_as_one_offline_bundle(restored):
    """A chart gives v5+json, which Lab draws by itself, and a sentence; HTML would be preferred and need a CDN."""
    setup()
    chart = (
        alt.Chart(FRAME, title=alt.Title("It rises", subtitle="x"), description="A line.").mark_line().encode(x="x:Q")
    )
    bundle = chart._repr_mimebundle_()
    bundle = bundle[0] if isinstance(bundle, tuple) else bundle
    assert set(bundle) == {renderer.MIME, "text/plain"}
    spec = bundle[renderer.MIME]
    assert spec["$schema"] == "https://vega.github.io/schema/vega-lite/v5.json"
    assert spec["usermeta"]["embedOptions"]["actions"] is False
    assert bundle["text/plain"] == "[chart] It rises. A line."
    assert spec["config"]["range"]["category"][:3] == [theme.BLUE, theme.VERMILION, theme.GREEN]
    assert spec["config"]["title"]["anchor"] == "start"


def test_the_renderer_rounds_data_and_nothing_else(restored):
    """Stored outputs are small and equal on other machines; thresholds and counts stay exact."""
    setup()
    chart = alt.Chart(FRAME).mark_point().encode(x=alt.X("x:Q").scale(domain=[1.23456789, 2])).to_dict()
    rows = next(iter(renderer.render(chart)[renderer.MIME]["datasets"].values()))
    assert rows[0] == {"x": 1.23457, "n": 123456789, "name": "a"}
    assert renderer.render(chart)[renderer.MIME]["encoding"]["x"]["scale"]["domain"] == [1.23456789, 2]
    inline = renderer.render(
        {"data": {"values": [{"x": 1.23456789}]}, "layer": [{"data": {"values": [{"y": 2.3456789}]}}]}
    )
    assert inline[renderer.MIME]["data"]["values"] == [{"x": 1.23457}]
    assert inline[renderer.MIME]["layer"][0]["data"]["values"] == [{"y": 2.34568}]


def titled(**words):
    return {"mark": "line", "width": 560, "title": words, "config": {}}


def evaluated(expression, room):
    """What Vega makes of a title's expression, for the part of its language that `fit` uses."""
    words, letters = re.search(r"replace\(('(?:[^'\\]|\\.)*'|\(.*?\)), regexp.*?/ ([\d.]+)\)", expression).groups()
    text = ast.literal_eval(words)
    limit = max(12, math.floor(room / float(letters)))
    return re.sub(f"(.{{1,{limit}}})( +|\n|$)", r"\1\n", text)[:-1].split("\n")


@pytest.mark.parametrize(
    ("text", "room", "lines"),
    [
        ("Six layers gone, most answers stay", 2000, ["Six layers gone, most answers stay"]),
        ("Six layers gone, most answers stay", 200, ["Six layers gone,", "most answers stay"]),
        (["two lines", "stay two"], 2000, ["two lines", "stay two"]),
        ("it isn't 5\" or \\ wide", 2000, ["it isn't 5\" or \\ wide"]),
    ],
)
def test_a_title_breaks_into_the_lines_that_its_chart_has_room_for(text, room, lines):
    fitted = renderer.fit(titled(text=text))
    assert evaluated(fitted["title"]["text"]["expr"], room) == lines


def test_the_title_of_a_layer_breaks_too():
    """Altair leaves it there when a chart with a title becomes a layer of another."""
    spec = {"width": 560, "layer": [{"mark": "bar", "title": "Layer ten"}, {"mark": "rule"}]}
    fitted = renderer.fit(spec)
    assert evaluated(fitted["title"]["text"]["expr"], 2000) == ["Layer ten"]
    assert "title" not in fitted["layer"][0]
    assert spec["layer"][0]["title"] == "Layer ten"


def test_vega_draws_the_broken_title():
    """The expression in Vega itself: 720 px where there is no page, so a long title takes three lines."""
    fitted = renderer.fit(titled(text="It isn't one line " * 10) | {"encoding": {}, "data": {"values": [{"a": 1}]}})
    svg = vl_convert.vegalite_to_svg(fitted, vl_version="5.8")
    assert svg.count("<tspan") == 3
    assert "It isn't one line" in svg


def test_a_wide_chart_follows_its_cell_and_the_given_spec_stays():
    """The compiled chart takes the patch: its width is a signal of the room, and the whole of it counts."""
    spec = {"mark": "bar", "width": 560, "height": {"step": 20}, "data": {"values": [{"a": 1, "b": "x"}]}}
    spec["encoding"] = {"x": {"field": "a", "type": "quantitative"}, "y": {"field": "b", "type": "nominal"}}
    before = json.dumps(spec)
    fitted = renderer.fit(spec)
    assert json.dumps(spec) == before
    vega = vl_convert.vegalite_to_vega(fitted, vl_version="5.8")
    assert isinstance(vega["signals"], list)  # where the patch appends
    assert "width" not in [signal["name"] for signal in vega["signals"]]
    assert vega["width"] == 560
    with_params = renderer.fit(spec | {"params": [{"name": "k", "value": 1}]})
    assert with_params["params"] == [{"name": "k", "value": 1}]


@pytest.mark.parametrize(
    "spec", [{"mark": "bar", "width": 300}, {"mark": "bar", "width": {"step": 20}}, {"vconcat": []}, {"mark": "bar"}]
)
def test_narrow_and_compound_charts_keep_their_size(spec):
    assert "patch" not in renderer.fit(spec)["usermeta"]["embedOptions"]


def test_a_legend_stands_in_fewer_columns_where_names_are_long():
    """Two short names need little; four long ones go to two columns, and then to one."""

    def columns(*names):
        colour = {"color": {"field": "c", "type": "nominal", "scale": {"domain": list(names)}}}
        return renderer.fit({"mark": "line", "width": 560, "encoding": colour})["config"]["legend"]["columns"]["expr"]

    limits = [[int(n) for n in re.findall(r" < (\d+) \?", columns(*names))] for names in (("a", "b"), ("a" * 30,) * 4)]
    assert limits == [[51, 101], [484, 968]]
    assert columns("a", "b", "c").endswith("? 2 : 0")
    assert columns("a", "b").endswith("? 1 : 0")


def test_setup_looks_after_the_page_once(restored):
    """A widget without a face carries the JavaScript; the second call makes no second one."""
    setup()
    first = page._page
    setup()
    assert page._page is first
    assert "data-lm-suppress-shortcuts" in first._esm


def luminance(color: str) -> float:
    """Relative luminance after WCAG 2.1."""
    channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_the_first_three_colours_and_all_text_stand_out_on_white():
    """WCAG 2.1: 3:1 for graphics, 7:1 (AAA) for text. A chart uses three colours unless asked."""
    contrast = [1.05 / (luminance(color) + 0.05) for color in [*theme.OKABE_ITO[:3], theme.INK, theme.MUTED]]
    assert min(contrast[:3]) >= 3
    assert min(contrast[3:]) >= 7
    assert len(set(theme.OKABE_ITO)) == 8
