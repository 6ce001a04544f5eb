"""Chapter 10's charts, its designer at every stop, the greenwash detector, the ledger's defaults, its exercises."""

import html
import json
import re

import pytest

from greenlab.core.machine import ROOT
from greenlab.green_service import (
    CLAIMS,
    DEFAULT,
    EVIDENCE,
    assumptions,
    bands,
    evaluate,
    make_card,
    parts,
    read_card,
    rebound,
    score,
    study,
)
from greenlab.green_service import view as see
from greenlab.green_service.assumptions import LIMITS
from greenlab.green_service.study import tables as work
from greenlab.green_service.view.charts import SHAPES, waterfall_rows
from greenlab.lab import ledger
from greenlab.lab.exercises import solutions
from greenlab.lab.widgets import exercise_extremes

DESIGN = DEFAULT.replace(batch=128, bits=8, region="SE", flexible=0.2)


@pytest.fixture(scope="module")
def steps():
    return work.steps(DEFAULT, DESIGN, n=200)


@pytest.fixture(scope="module")
def designer():
    return see.Designer(1)


def test_every_chart_has_a_title_and_a_description(steps):
    gap = study.load()["peers_gap"]
    charts = [
        see.waterfall_chart(steps, "carbon", "t"),
        see.waterfall_chart(steps, "energy", "t", log=True),
        see.alone_chart(work.alone_and_in_order(steps, "carbon"), "t"),
        see.combined_chart(work.said_and_measured(study.load("predicted")["predicted"]), "t"),
        see.bits_twin(work.bits_by_batch(), "t"),
        see.parts_chart(parts(DEFAULT, n=100), "energy", "t"),
        see.gap_chart(gap, "mlsysim", "t"),
        see.rebound_chart(rebound(DEFAULT, DESIGN), "t"),
    ]
    for chart in charts:
        spec = chart.to_dict()
        assert spec["description"]
        assert spec["title"]


def test_the_waterfall_has_a_bar_a_lever_and_ends_where_the_design_does(steps):
    rows = waterfall_rows(steps, "energy").set_index("lever")
    assert rows.index.tolist() == ["before", *steps["lever"].unique(), "after"]
    assert rows.loc["after", "end"] == pytest.approx(float(evaluate(DESIGN).energy.total_j))
    bars = rows[~rows["whole"]]
    assert bars["start"].iloc[1:].tolist() == pytest.approx(bars["end"].iloc[:-1].tolist())
    assert ((bars["low"] <= bars["end"] + 1e-9) & (bars["end"] <= bars["high"] + 1e-9)).all()


def test_how_a_step_is_known_is_said_by_shape_and_the_legend_names_only_what_is_drawn(steps):
    spec = see.waterfall_chart(steps, "carbon", "t").to_dict()
    shape = next(layer["encoding"]["shape"] for layer in spec["layer"] if "shape" in layer["encoding"])
    drawn = set(waterfall_rows(steps, "carbon")["evidence"].dropna())
    assert shape["scale"]["domain"] == [kind for kind in EVIDENCE if kind in drawn]  # the legend names nothing else
    forms = dict(zip(EVIDENCE, SHAPES, strict=True))  # a kind has the same shape in every chart
    assert shape["scale"]["range"] == [forms[kind] for kind in shape["scale"]["domain"]]
    assert len(set(SHAPES)) == len(EVIDENCE)


def test_a_step_that_does_not_count_says_so_and_has_no_band():
    rows = waterfall_rows(work.steps(DEFAULT, DEFAULT.replace(bits=4), n=200), "energy").set_index("lever")
    assert rows.loc["fewer bits", "said"] == "not counted"
    assert rows.loc["fewer bits", ["low", "high"]].isna().all()


def test_the_designer_answers_at_every_stop_and_run_all_reaches_no_goal(designer):
    stops = exercise_extremes(designer)
    assert len(stops) > 40
    assert "not yet reached" in designer.text
    assert [text for _, text in stops if not text.startswith(("A request: ", "This design cannot be built: "))] == []
    groups = [name for names in see.designer.GROUPS.values() for name in names]
    assert groups == [name for name in designer.controls if not name.startswith("own_")]
    assert max(len(names) for names in see.designer.GROUPS.values()) <= 4  # at a time


# an extreme and a usual number of each assumption; the figures that it moves are in NAMES
MOVES = {
    "serving_factor": ("0.1", "3 2 4"), "kernel_share": ("0", "1"), "idle_power_w": ("0", "5000"),
    "host_power_w": ("0", "20000"), "memory_share": ("0.1", "1"), "pue": ("1", "5"),
    "intensity_g_per_kwh": ("0.1", "2000"), "shift_saving": ("0", "1"), "wue_l_per_kwh": ("0", "20"),
    "water_l_per_kwh": ("0.001", "100"), "device_embodied_kg": ("0", "10000"), "server_embodied_kg": ("0", "100000"),
    "devices_per_server": ("1", "1024"), "lifetime_years": ("0.5", "20"), "device_price": ("0.001", "1000"),
    "electricity_price": ("0", "10"), "cpu_power_w": ("0", "1000"),
}  # fmt: skip
MOVED_QUANTITY = {
    "wue_l_per_kwh": "water", "water_l_per_kwh": "water", "device_price": "cost", "intensity_g_per_kwh": "carbon",
    "shift_saving": "carbon", "device_embodied_kg": "carbon", "server_embodied_kg": "carbon",
    "devices_per_server": "carbon", "lifetime_years": "carbon",
}  # fmt: skip


@pytest.mark.parametrize("name", list(LIMITS))
def test_each_assumption_is_seen_moved_and_put_back(name):
    """The chart follows where a figure depends on the number; price of electricity is a part of the hour's price."""
    one = see.Designer(2)  # at this level a share of the requests may wait
    shown = MOVED_QUANTITY.get(name, "energy")
    one.set(model="Llama-3.1-70B", bits=8, batch=64, retrieved_tokens=500, flexible=0.2, quantity=shown)
    before, text = one.panel.spec, one.text
    assert assumptions(one.service)[name].source.split(",")[0][:20] in html.unescape(one.notes[name].value)
    for number in MOVES[name]:
        one.move(**{name: number})
        assert f"Moved by you: {name}." in one.text
        assert one.text.startswith("A request: ")
        if name != "electricity_price":
            assert one.panel.spec != before
        card = make_card(one.service, one.assumed)
        assert [row["name"] for row in card.moved()] == [name]
        assert read_card(card.to_json()) == card
    one.put_back()
    assert (one.panel.spec, one.text) == (before, text)


@pytest.mark.parametrize(
    "typed", ["abc", "nan", "inf", "-1", "1e999", "1 2", "3 2 1", "1,5", "1.2.3", "٣", "True", "--"]
)
def test_an_impossible_assumption_is_refused_at_the_control_with_the_reason(designer, typed):
    try:
        designer.move(pue=typed)
        assert designer.text.startswith("This design cannot be built: pue=")
        assert len(designer.text.splitlines()[0]) > 40
        assert designer.headline(**designer.value) == "This design cannot be built"
        with pytest.raises(ValueError, match="pue="):
            _ = designer.assumed
    finally:
        designer.put_back()
    with pytest.raises(ValueError, match="hope"):
        designer.move(hope="1")


@pytest.mark.parametrize(
    ("control", "value", "said"),
    [
        ("input_tokens", 0, "input_tokens=0"), ("input_tokens", -5, "input_tokens=-5"),
        ("output_tokens", 10**9, "output_tokens=1000000000"), ("pue", float("nan"), "pue=nan"),
        ("pue", float("inf"), "pue=inf"), ("pue", -1.0, "pue=-1"), ("pue", 1e308, "pue=1e"),
    ],
)  # fmt: skip
def test_an_impossible_choice_is_refused_at_the_control_with_the_reason(control, value, said):
    one = see.Designer(1)
    one.controls[control].value = value
    assert one.text.startswith(f"This design cannot be built: {said}")
    assert one.figures.value == ""


def test_the_work_is_the_same_before_and_after_and_gives_no_points(designer):
    try:
        designer.set(input_tokens=5000, requests_per_day=1e6, batch=32)
        assert designer.baseline == DEFAULT.replace(input_tokens=5000, requests_per_day=1e6)
        assert designer.service == designer.baseline.replace(batch=32)
        assert "the work stays the same" in designer.text
        assert "Points: 0 of 4" in designer.text
    finally:
        designer.set(input_tokens=500, requests_per_day=1e7, batch=16)


def test_the_figures_have_a_band_each_and_are_those_of_the_package(designer):
    try:
        designer.set(batch=64, region="Sweden")
        for quantity in ("energy", "carbon", "water", "cost", "first token", "whole answer"):
            rows = bands(designer.service, n=200).query("per == 'request'").set_index("quantity").loc[quantity]
            assert f"{rows['value']:.3g} ({rows['low']:.3g} to {rows['high']:.3g})" in designer.figures.value
        made = parts(designer.service, n=200).set_index("part").loc["manufacture"]
        assert f"{made['value']:.3g} ({made['low']:.3g} to {made['high']:.3g})" in designer.figures.value
    finally:
        designer.set(batch=16, region="Germany")


def test_a_choice_that_a_moved_number_replaces_says_so(designer):
    try:
        designer.set(region="Sweden")
        designer.move(intensity_g_per_kwh=100)
        assert "region: your own intensity_g_per_kwh holds before and after" in designer.text
    finally:
        designer.put_back()
        designer.set(region="Germany")


def test_points_are_counted_with_the_published_numbers(designer):
    before = designer.text.split("Points: ")[1][:6]
    try:
        designer.move(host_power_w=0, idle_power_w=0)
        assert designer.text.split("Points: ")[1][:6] == before
        assert "Points are counted with the published numbers." in designer.text
    finally:
        designer.put_back()


def test_the_designer_refuses_with_the_reason(designer):
    assert "pue=0.9" in designer.text_at(pue=0.9)
    assert "dense models only" in designer.text_at(model="Mixtral-8x7B", removed_layers=2)
    assert "nothing to heal" in designer.text_at(healed=True)
    with pytest.raises(ValueError, match=r"pue=0\.5"):
        designer.design(**{**designer.value, "pue": 0.5})


def test_the_designer_gives_the_design_and_its_score(designer):
    try:
        designer.set(batch=64, bits=8, region="Sweden")
        assert designer.service == DEFAULT.replace(batch=64, bits=8, region="SE")
        found = score(designer.service, 1)
        assert f"Points: {found.points} of {found.most}" in designer.text
        assert found.solved is ("level 1: Less than half of the energy, and nobody notices: reached" in designer.text)
        assert found.solved
    finally:
        designer.set(batch=16, bits=16, region="Germany")


def test_each_level_has_a_designer_that_starts_at_its_service():
    for level in (2, 3):
        one = see.Designer(level)
        assert one.service == one.baseline
        assert f"level {level}" in one.text
    with pytest.raises(ValueError, match="level=4"):
        see.Designer(4)


def test_the_detector_counts_claims_that_were_judged_rightly():
    detector = see.Detector()
    assert "Tick what is missing" in detector.text
    for number, (name, claim) in enumerate(CLAIMS.items(), 1):
        detector.claim.value = name
        for kind in claim.missing:
            detector.boxes[kind].value = True
        if not claim.missing:
            detector.complete.value = True
        assert "Right." in detector.text
        assert len(detector.solved) == number
    detector.claim.value = "four-bits"
    assert not any(box.value for box in detector.boxes.values())
    detector.boxes["PUE"].value = True
    assert "Not yet" in detector.text
    assert "Right." in detector.judged("four-bits", "quality")
    with pytest.raises(ValueError, match="no-such"):
        detector.judged("no-such", "quality")


def test_the_ledgers_defaults_are_entries_that_stack(tmp_path, monkeypatch):
    monkeypatch.setenv("GREENLAB_STATE", str(tmp_path))
    found = ledger.table(see.defaults())
    assert found["quantity"].unique().tolist() == ["energy", "carbon", "memory"]
    assert set(found["origin"]) == {"committed study"}
    refused = found[found["reason"] != ""]
    assert refused["chapter"].tolist() == ["layer_pruning", "ternary", "layer_pruning"]
    assert refused["quantity"].tolist() == ["energy", "energy", "memory"]
    assert (refused["saved_fraction"] == 0).all()
    assert (refused["claimed_fraction"] > 0).all()
    memory = found.query("quantity == 'memory'").set_index("chapter")
    assert memory["saved_fraction"].to_dict() == pytest.approx(
        {"mixture_of_experts": 1 - 1300928 / 188864, "layer_pruning": 0, "ternary": 1 - 185088 / 256384}
    )
    assert memory["claimed_fraction"]["layer_pruning"] == pytest.approx(3540096 / 134515008, rel=1e-3)
    saved = found.query("quantity != 'memory'").set_index("chapter")["saved_fraction"]
    assert saved["footprint"] == pytest.approx(1 - 1.09 / 1.54)
    assert saved["hardware"] == pytest.approx(1 - 0.0551 / 0.430683, rel=1e-4)  # rows of the accelerator's study
    assert saved["mixture_of_experts"] == saved["distillation"] == 0


def test_the_default_of_chapter_6_is_the_cut_that_its_notebook_books():
    """The gate chooses how many layers may go; the entry of a reader who has not run it must be of the same cut."""
    cells = json.loads((ROOT / "notebooks" / "06_layer_pruning.ipynb").read_text(encoding="utf-8"))["cells"]
    printed = "".join(
        "".join(output.get("text", []))
        for cell in cells
        if "ledger.record(" in "".join(cell["source"])
        for output in cell["outputs"]
    )
    energy, memory = (entry for entry in see.defaults() if entry.chapter == "layer_pruning")
    assert f"Claimed: {100 * energy.claimed_fraction:.0f} % of a token's energy. Booked: 0 %," in printed
    assert f"because {energy.reason}." in printed
    assert f"{memory.technique}: {100 * memory.claimed_fraction:.0f} % of 269 MB (memory, modelled)" in printed


def test_every_chapter_that_books_in_its_notebook_has_a_default_and_no_other():
    """Chapters 1 to 9, each under the technique's and quantity's name that its last cells write."""
    booked = set()
    for path in sorted((ROOT / "notebooks").glob("[01]*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        for call in re.findall(r"ledger\.record\((.*?)\n\)", source, re.DOTALL):
            chapter, quantity = re.search(r'"(\w+)"', call)[1], re.search(r"baseline_([jgb])=", call)[1]
            booked.add((chapter, {"j": "energy", "g": "carbon", "b": "memory"}[quantity]))
    booked.remove(("green_service", "energy"))  # the chapter that reads the ledger writes its own row behind the others
    assert len(booked) == 12
    assert len({chapter for chapter, _ in booked}) == 9
    defaults = see.defaults()
    assert {(entry.chapter, entry.quantity) for entry in defaults} == booked
    assert len(defaults) == len(booked)
    chapters = list(dict.fromkeys(entry.chapter for entry in defaults))
    assert chapters == [name for name in ledger.CHAPTERS if name != "green_service"]


@pytest.mark.parametrize(
    ("name", "wrong", "hint"),
    [
        ("green-service-sci", lambda j, p, i, m, t, s: j / 3.6e6 * i + 1000 * m * s / t, "PUE is missing"),
        ("green-service-sci", lambda j, p, i, m, t, s: j * p / 3.6e6 * i, "making the machines is missing"),
        ("green-service-sci", lambda j, p, i, m, t, s: p * (j / 3.6e6 * i + 1000 * m * s / t), "does not grow"),
        ("green-service-sci", lambda j, p, i, m, t, s: j * p / 3.6e6 * i + m * s / t, "answer is in g"),
        ("green-service-overlap", lambda b, x, y, z: x * y / b / z, "upside down"),
        ("green-service-pays-back", lambda i, b, a: i / a, "what it still costs"),
        ("green-service-pays-back", lambda i, b, a: i / (b - a) if b != a else float("inf"), "math.inf"),
        ("green-service-find-the-bug", lambda m, p, c, g: 1000 * m * p * (c + g), "not of the building"),
        ("green-service-find-the-bug", lambda m, p, c, g: 1000 * m * (c + g), "times the PUE"),
    ],
)
def test_a_wrong_answer_gets_the_hint_that_fits(name, wrong, hint):
    assert hint in solutions()[name].verdict(wrong)
