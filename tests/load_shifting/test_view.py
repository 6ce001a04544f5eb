"""Chapter 9's charts from the committed study, its widget at every extreme, its upload, its exercises."""

import numpy as np
import pytest

from greenlab.core import grid
from greenlab.core.machine import ROOT
from greenlab.lab.exercises import solutions
from greenlab.lab.widgets import exercise_extremes
from greenlab.load_shifting import study
from greenlab.load_shifting import view as see
from greenlab.load_shifting.study import tables as work
from greenlab.load_shifting.view import upload as own
from greenlab.load_shifting.view import widget as widgets

SAMPLES = ROOT / "tests" / "core" / "grid" / "samples"


@pytest.fixture(scope="module")
def tables():
    return study.load()


@pytest.fixture(scope="module")
def explorer():
    return see.shift_explorer()


def test_every_chart_is_a_valid_specification_of_the_committed_tables(tables):
    charts = [
        see.day_strip(tables["profile"], "t"),
        see.day_map(tables["profile"], "t"),
        see.duck_twin(tables["profile"], "t"),
        see.three_hours([2.0, 3.0, 1.0], [[0, 1], [0, 2]], ["at once", "with a pause"], "t"),
        see.slack_chart(work.by_slack(tables["temporal"], 2019), "t"),
        see.country_chart(work.by_country(tables["temporal"], 2019), "t"),
        see.reach_chart(work.by_reach(tables["reach"]), "t"),
        see.error_chart(work.by_error(tables["forecasts"]), "t"),
        see.fleet_chart(work.by_utilisation(tables["capacity"]), "t"),
        see.signal_chart(tables["signals"], "t"),
        see.front_chart(tables["front"], "t"),
        see.photons_chart(tables["photons"], "t"),
        see.pairs_chart(tables["pairs"], "t"),
        see.plan_twin("DE", 12),
        see.timeline(see.shift("DE", 12, 24, True, widgets.STAY, "perfect", 8), 24),
    ]
    for chart in charts:
        spec = chart.to_dict()
        assert spec["description"]
        assert spec["title"]


def test_a_chart_with_a_modelled_zone_says_so(tables):
    """In the strip by the names of the rows, in the duck by the legend, in the timeline in words."""
    for chart in (see.day_strip(tables["profile"], "t"), see.duck_twin(tables["profile"], "t")):
        assert "California (MODELLED)" in str(chart.to_dict())
    modelled = set(grid.zones().query("basis == 'modelled'")["zone"])
    map_ = see.day_map(tables["profile"], "t").to_dict()
    drawn = {row["zone"] for rows in map_["datasets"].values() for row in rows}
    assert len(drawn) == 25
    assert not drawn & modelled
    at_home = widgets.timeline_values(see.shift("AU", 12, 24, True, widgets.STAY, "perfect", 8), 24)
    assert at_home["warning"].startswith("MODELLED")
    assert "Australia (MODELLED)" in at_home["places"]


def test_a_modelled_home_is_marked_even_when_nothing_runs_there():
    """South Africa's hours are drawn as the grey line, although the runs go to Switzerland."""
    away = widgets.timeline_values(see.shift("ZA", 12, 24, True, widgets.WORLD, "perfect", 8), 24)
    assert "South Africa" in away["warning"]


def test_the_widget_answers_at_every_extreme(explorer):
    for values, text in exercise_extremes(explorer):
        assert "kg instead of" in text or "None of the 8 runs" in text, values


def test_the_goal_can_be_reached_and_not_by_leaving_home(explorer):
    explorer.set(home="DE", week=12, slack_h=120, pause=True, forecast="errors with memory, 20 %", machines=4)
    assert "reached" in explorer.text
    assert "not yet reached" not in explorer.text
    explorer.set(regions=widgets.NEAR)
    assert "not yet reached" in explorer.text
    explorer.set(home="DE", week=12, slack_h=24, pause=False, forecast="perfect", machines=8, regions=widgets.STAY)


def test_the_timeline_draws_the_schedule_it_speaks_of():
    found = see.shift("DE", 12, 48, True, widgets.NEAR, "perfect", 3)
    values = widgets.timeline_values(found, 48)
    assert sum(values["away"]) == pytest.approx(8 * 24)  # runs x hours, at home and elsewhere
    assert max(values["here"]) <= 3
    assert len(values["grid"]) == widgets.SHOWN_H
    assert values["due"] == 3.0
    working = np.flatnonzero(values["away"])
    assert working.min() >= 24
    assert working.max() < 24 + 72


def test_a_saving_that_rounds_to_nothing_is_neither_less_nor_more():
    assert [widgets.compared(pct) for pct in (0.0, 0.4, -0.4, 0.6, -0.6)] == [
        "as much", "as much", "as much", "1 % less", "1 % more",
    ]  # fmt: skip
    assert widgets.compared(-0.04, digits=1) == "as much"
    assert widgets.compared(-0.06, digits=1) == "0.1 % more"


def test_the_headline_says_which_runs_are_not_done():
    """One machine and no slack: one run is done, the same way as at once."""
    at_once = widgets.shift("DE", 12, 0, False, widgets.STAY, "perfect", 1)
    assert widgets.headline(at_once) == "As much carbon as at once, at home; 7 of 8 runs are not done"
    kept = widgets.shift("DE", 12, 24, True, widgets.STAY, "perfect", 8)
    assert widgets.headline(kept) == "14 % less carbon than at once, at home"


def test_the_words_above_the_timeline_fit_into_its_width():
    """At most three places, however many there are; a reader sees each word of them."""
    far = widgets.timeline_values(widgets.shift("ZA", 30, 0, True, widgets.WORLD, "perfect", 1), 0)
    assert far["places"].count(",") == 2
    assert far["places"].endswith("…")
    assert max(len(far[line]) for line in ("key", "places", "warning")) <= 90


def test_the_sources_are_in_words_and_the_largest_ratio_comes_first(tables):
    """IPCC AR5 medians: coal 820 g/kWh, gas 490, wind on land 11, hydropower 24."""
    rows = work.source_ratios(tables["pairs"]).set_index("clean")
    assert rows.index[0] == "wind power on land"
    assert rows.loc["hydropower", "coal"] == pytest.approx(820 / 24, rel=1e-4)
    assert rows.loc["wind power on land", "gas"] == pytest.approx(490 / 11, rel=1e-4)
    assert len(rows) == 6


def test_each_country_has_one_code_beside_its_point(tables):
    """The codes stand on three sides, so that none lies over another; together they are all 25."""
    spec = see.country_chart(work.by_country(tables["temporal"], 2019), "t").to_dict()
    sides = [layer["transform"][0]["filter"]["oneOf"] for layer in spec["layer"] if "transform" in layer]
    named = [zone for side in sides for zone in side]
    assert len(named) == len(set(named)) == 25


def test_no_machines_no_crash(explorer):
    """One machine and no slack: one run is done, the others are named as missed."""
    explorer.set(slack_h=0, machines=1, pause=False)
    assert "7 of 8 runs miss their deadline" in explorer.text
    explorer.set(slack_h=24, machines=8)


@pytest.mark.parametrize("path", sorted(SAMPLES.iterdir()), ids=lambda path: path.name)
def test_each_sample_loads_once_its_boxes_are_filled(path):
    """What grid.read asks for is said in words; with it the hours are there, and a chart of them."""
    mine = own.OwnGrid()
    boxes = {"eia930_balance.csv": {"zone": "CISO"}, "plain_berlin.csv": {"timezone": "Europe/Berlin"}}.get(
        path.name, {}
    )
    if boxes:
        mine.load(path.read_bytes())
        assert mine.read is None
        assert "This file was not read" in mine.text
        assert "zone=" in mine.text
    mine.load(path.read_bytes(), **boxes)
    assert mine.read is not None, mine.text
    assert len(mine.drawing.children) == 1
    assert f"Read as {mine.read.format}" in mine.text
    for repair in mine.read.repairs:
        assert repair in mine.text
    mine.duration.value, mine.slack.value = 1, 0
    assert "saves 0.0 %" in mine.text


def test_a_file_arrives_through_the_browser():
    """What ipywidgets hands over: a memory view of the bytes."""
    mine = own.OwnGrid()
    content = memoryview(see.plain_csv("DK", 2019, 72).encode())
    file = {"name": "dk.csv", "type": "text/csv", "size": len(content), "content": content, "last_modified": 0}
    mine._on_upload({"new": (file,)})
    assert "72 hours from 2019-01-01 00:00 UTC" in mine.text
    assert mine.traces.n_steps == 72


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        ("", "the file is empty"),
        ("time,intensity\n", "at least one row"),
        ("time,intensity\n2019-01-01T00:00Z,0.3\n2019-01-01T01:00Z,0.2\n", "looks like kg/kWh"),
        ("time,intensity\n2019-01-01T00:00Z,300\n2019-01-01T01:00Z,-5\n", "-5"),
        ("a,b\n1,2\n", "This file was not read"),
    ],
)
def test_a_broken_file_shows_the_remedy_and_no_chart(content, remedy):
    mine = own.OwnGrid()
    mine.load(content)
    assert remedy in mine.text
    assert mine.drawing.children == ()
    with pytest.raises(ValueError, match="no file has been read"):
        _ = mine.traces


def test_a_broken_file_takes_the_chart_of_the_last_one_away_and_the_unit_mends_it():
    mine = own.OwnGrid().load(see.plain_csv("DK", 2019, 48))
    assert mine.drawing.children
    mine.load("time,intensity\n2019-01-01T00:00Z,0.3\n2019-01-01T01:00Z,0.2\n")
    assert mine.drawing.children == ()
    mine.unit.value = "kg/kWh or t/MWh"
    assert mine.read is not None
    assert mine.read.frame["intensity_g_per_kwh"].tolist() == [300.0, 200.0]
    assert "too short" in mine.text


WRONG = {
    "load-shifting-best-start": [
        (lambda i, d, s: min(sum(i[a : a + d]) for a in range(s + 1)), "the hour at which it starts"),
        (lambda i, d, s: min(range(s + 1), key=lambda a: i[a]), "compare whole runs"),
        (lambda i, d, s: min(range(len(i) - d + 1), key=lambda a: sum(i[a : a + d])), "the slack bounds the start"),
        (lambda i, d, s: min(range(s, -1, -1), key=lambda a: sum(i[a : a + d])), "take the earliest"),
    ],
    "load-shifting-cleanest-hours": [
        (lambda i, d, s: sorted(sorted(range(len(i)), key=lambda h: i[h])[:d]), "after the deadline"),
        (lambda i, d, s: sorted(range(d + s), key=lambda h: i[h])[:d], "in the order of time"),
        (lambda i, d, s: sorted(i[: d + s])[:d], "give back the hours"),
        (lambda i, d, s: [0, 1], "expected [1, 3]"),
    ],
    "load-shifting-break-even": [
        (lambda h, t, k: (h - t) / k, "the network's kilowatt-hours have an intensity"),
        (lambda h, t, k: (h - t) / (k * h), "both grids"),
        (lambda h, t, k: (t - h) / (k * (h + t) / 2), "upside down"),
        (lambda h, t, k: k * (h + t) / 2 / (h - t), "GB for each kWh"),
    ],
    "load-shifting-rebound": [
        (20, "what number times 0.8"),
        (1.25, "how many per cent"),
        (0.25, "give per cent"),
        (30, "not 1"),
    ],
}


@pytest.mark.parametrize("name", WRONG)
def test_each_slip_gets_its_own_hint_and_the_reference_passes(name):
    task = solutions()[name]
    assert task.verdict(task.reference) is None
    for answer, hint in WRONG[name]:
        assert hint in task.verdict(answer)
