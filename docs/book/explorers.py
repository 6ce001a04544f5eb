"""What the explorers of the pages need from Python: their controls, their charts, and the numbers they compute with.

The scripts in ``docs/_static/explorers`` do the arithmetic of a chapter's widget in the page. Everything that is not
arithmetic is written here at the build: controls and charts are those of the widget itself, numbers those of the facts
and studies. It is written as a script that sets a variable, as a page that is opened as a file may not read others.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import altair as alt
import ipywidgets as W
import numpy as np
import pandas as pd

from greenlab.lab import theme
from greenlab.lab.widgets import Explorer

Data = dict[str, Any]
FOLDER = "explorers"  # below _static


def control(widget: W.ValueWidget) -> Data:
    """A control of a widget as the page makes it: kind, label, value, and what may be chosen.

    Args:
        widget: a control of ipywidgets.

    Raises:
        TypeError: if the page has no such control.

    >>> control(W.IntSlider(value=2, min=0, max=4, description="Slack [h]"))
    {'label': 'Slack [h]', 'value': 2, 'kind': 'range', 'min': 0, 'max': 4, 'step': 1}
    """
    found: Data = {"label": widget.description, "value": widget.value}
    if isinstance(widget, (W.Dropdown, W.SelectionSlider)):
        kind = "select" if isinstance(widget, W.Dropdown) else "steps"
        options = widget.options.items() if isinstance(widget.options, Mapping) else widget.options
        plain = [option if isinstance(option, tuple) else (option, option) for option in options]
        pairs = [(f"{words:,}" if isinstance(words, int) else words, value) for words, value in plain]
        return found | {"kind": kind, "options": [[str(words), value] for words, value in pairs]}
    if isinstance(widget, (W.IntSlider, W.FloatSlider)):
        return found | {"kind": "range", "min": widget.min, "max": widget.max, "step": widget.step}
    if isinstance(widget, W.Checkbox):
        return found | {"kind": "check"}
    if isinstance(widget, (W.FloatText, W.IntText)):
        return found | {"kind": "number", "step": 1 if isinstance(widget, W.IntText) else "any"}
    if isinstance(widget, W.Text):
        return found | {"kind": "text"}
    raise TypeError(f"widget={widget!r:.80} is {type(widget).__name__}: the page has no such control yet")


def described(explorer: Explorer, names: list[str] | None = None) -> Data:
    """Controls, goal and first chart of a widget.

    Args:
        explorer: the widget.
        names: of the controls that the page has too; None is all of them.
    """
    spec = explorer.panel.spec
    controls = {name: control(one) for name, one in explorer.controls.items() if names is None or name in names}
    return {"controls": controls, "goal": explorer._goal_text, "spec": spec, "description": spec.get("description", "")}


def footprint() -> Data:
    """Chapter 1: the chips and grids of the training calculator, the searches of a day."""
    from greenlab.core.energy.receipt import grid_intensity
    from greenlab.core.facts import value
    from greenlab.footprint import tables
    from greenlab.footprint.view import widgets

    training = described(widgets.training_widget(tables.trainings())) | {
        "chips": {
            words: {"flops_per_s": 1e12 * value(f"{id}.peak_dense_tflops_bf16"), "power_w": value(f"{id}.tdp_w")}
            for words, id in widgets.CHIPS.items()
        },
        "grids": {
            code: {"name": grid_intensity(code).name, "intensity_g_per_kwh": grid_intensity(code).intensity_g_per_kwh}
            for code in widgets.GRIDS
        },
        "utilization": widgets.UTILIZATION, "pue": widgets.PUE, "goal_t": widgets.GOAL_T,
    }  # fmt: skip
    marks = tables.yardsticks()
    near = marks[~marks["label"].isin(["Germany", "Japan"])]  # as in the chapter
    search = described(widgets.search_widget(near)) | {
        "searches_per_day": value("google-searches"), "ireland_twh": value("ireland-electricity-2024"),
    }  # fmt: skip
    return {"training_widget": training, "search_widget": search}


def green_service() -> Data:
    """Chapter 10: models, accelerators, grids, assumptions with their ranges and draws, and the first challenge."""
    from greenlab.core import facts
    from greenlab.green_service import DEFAULT, EVIDENCE, LEVERS, MODELS, QUANTITIES, challenge, passes
    from greenlab.green_service import quality as kept
    from greenlab.green_service.assumptions import LIMITS, assumptions
    from greenlab.green_service.design import CAPACITIES, HEALED_MOST, INDEXES, MOST_STUDIED, SMOLLM2_LAYERS
    from greenlab.green_service.energy import STORED_BITS, retrieval_cpu_s
    from greenlab.green_service.evaluation import N_DRAWS
    from greenlab.green_service.view import charts, designer
    from greenlab.green_service.view.designer import DEVICES, GROUPS, ORDERS, REGIONS, Designer
    from greenlab.lab.renderer import fit

    widget, level = Designer(level=1), challenge(1)
    empty = widget.table(**widget.value | {"batch": 64})
    spec = fit(charts.waterfall_chart(empty, "energy", "GREENLAB_TITLE").to_dict())
    spec["datasets"] = {}
    base = level.baseline

    def items(names: set[str], **changes: Any) -> Data:
        given = assumptions(base.replace(**changes))
        return {
            name: {"value": given[name].value, "low": given[name].low, "high": given[name].high}
            for name in sorted(names)
        }

    of_device, of_region = (
        {"serving_factor", "device_price", "device_embodied_kg"},
        {"intensity_g_per_kwh", "shift_saving", "water_l_per_kwh"},
    )
    in_energy = {
        "serving_factor",
        "kernel_share",
        "idle_power_w",
        "host_power_w",
        "pue",
        "cpu_power_w",
    }  # what the score draws
    devices = {}
    for id in DEVICES.values():
        chip = passes.scaled_to(id)
        costs = {name: getattr(chip, name) for name in vars(chip) if name.startswith(("j_per_", "s_per_"))}
        devices[id] = costs | {"memory_b": passes.chip(id)["memory_b"], "assumed": items(of_device, device=id)}
    names: list[tuple[str, int]] = [(name, N_DRAWS if name in in_energy else designer.N_DRAWS) for name in LIMITS]
    uniform = np.concatenate([_uniform(name, n) for name, n in names])

    def layers(at: tuple[int, ...], healed: bool) -> Data:
        return {
            "at": list(at),
            "shares": [kept.without_layers(n, SMOLLM2_LAYERS, healed=healed and n > 0).kept for n in at],
        }

    whole, changed = passes.studied_batches()
    return {
        "Designer": described(widget, [name for names in GROUPS.values() for name in names]) | {
            "work": list(designer.WORK), "capacities": list(CAPACITIES),
            "depths_kept": kept.quality_kept(dataclasses.replace(DEFAULT, capacity=CAPACITIES[1])),
            "answers_kept": {
                "without": kept.HEALED_WITHOUT,
                "left": kept.answers_from_passages(kept.HEALED_WITHOUT, SMOLLM2_LAYERS).kept,
            },
            "spec": spec, "groups": {title: list(names) for title, names in GROUPS.items()},
            "baseline": dataclasses.asdict(base), "average_pue": facts.value("pue-average"), "index": INDEXES[1],
            "orders": list(ORDERS), "device_of": DEVICES, "region_of": REGIONS, "measured_on": passes.MEASURED_ON,
            "models": {
                name: {
                    "kind": one.kind, "measured": one.measured, "score": facts.value(one.score),
                    "shape": dataclasses.asdict(one.shape),
                    "studied_batches": {"whole": whole.get(name, 0), "changed": changed.get(name, 0)},
                }
                for name, one in MODELS.items()
            },
            "devices": devices,
            "regions": {code: items(of_region, region=code) for code in REGIONS.values()},
            "constants": items(set(LIMITS) - of_device - of_region),
            "stored_bits": STORED_BITS,
            "search_cpu_s": retrieval_cpu_s(DEFAULT.replace(index=INDEXES[1], retrieved_tokens=500)),
            "layers": {"plain": layers(kept.STUDIED_WITHOUT, False), "healed": layers((0, *kept.STUDIED_HEALED), True)},
            "bits_kept": {bits: kept.quality_kept(dataclasses.replace(DEFAULT, bits=bits)) for bits in (8, 4, 2)},
            "limits": {"most_studied": MOST_STUDIED, "healed_most": HEALED_MOST, "studied_layers": SMOLLM2_LAYERS},
            "levers": [
                {"name": one.name, "fields": list(one.fields), "evidence": one.evidence} for one in LEVERS.values()
            ],
            "evidence": [list(pair) for pair in zip(EVIDENCE, charts.SHAPES, strict=True)],
            "quantities": {
                name: {
                    "unit": QUANTITIES[name][0], "axis": charts.axis_title(name),
                    "description": charts.waterfall_chart(empty, name, name).to_dict()["description"],
                }
                for name in QUANTITIES
            },
            "challenge": {
                "goals": [dataclasses.asdict(goal) for goal in level.goals], "best_pue": facts.value("pue-best"),
                "most_utilization": level.most_utilization, "most_flexible": level.most_flexible,
            },
            "n_draws": designer.N_DRAWS, "score_draws": N_DRAWS,
            "draws": {"names": names, "base64": base64.b64encode(uniform.astype("<f8").tobytes()).decode()},
        }
    }  # fmt: skip


def _uniform(name: str, n: int) -> Any:
    """The numbers from -1 to 1 behind the draws of an assumption; an error if Python draws otherwise."""
    from greenlab.green_service.assumptions import Assumption
    from greenlab.green_service.evaluation import SEED, draws

    found = np.random.default_rng([SEED, zlib.crc32(name.encode())]).uniform(-1, 1, n)
    item = Assumption(name, "a probe", 1.0, 0.0, 2.0, "x", "given", "the build")
    far = 1 - np.sqrt(1 - np.abs(found))
    if not np.array_equal(draws(item, n, SEED), np.where(found < 0, 1 - far, 1 + far)):
        raise ValueError(f"name={name!r}: the draws are made in another way than the page makes them")
    return found


def retrieval() -> Data:
    """Chapter 8: the passages of the book with their pages, and the index of their words."""
    from docs.book import tables
    from docs.book.links import FACTS, STUDIES, Places
    from greenlab.core.machine import ROOT
    from greenlab.lab.charts import bars_with_range
    from greenlab.lab.renderer import fit
    from greenlab.retrieval import BM25Index, Corpus, bm25
    from greenlab.retrieval.index import LONGEST_QUERY
    from greenlab.retrieval.view.ask import QUESTION

    corpus = Corpus.from_book()
    index = BM25Index(corpus).bm25
    both = [page for name in (FACTS, STUDIES) for page in tables.split(name, (ROOT / name).read_text("utf-8"))]
    known = Places(tables.anchors(both), tables.Notes(both), ROOT)
    page, source = "chapters/08_retrieval", "notebooks/08_retrieval.ipynb"
    words = [""] * len(index.vocab_dict)
    for word, id in index.vocab_dict.items():
        words[id] = word
    chart = bars_with_range(
        pd.DataFrame({"label": ["a passage"], "score": [1.0]}), "label", "score", title="GREENLAB_TITLE",
        value_format=".2f", x_title="Score of BM25", description="Scores of the passages that BM25 finds",
    )  # fmt: skip
    spec = fit(chart.to_dict())
    return {
        "ask_widget": {
            "controls": {
                "asked": {"label": "Question", "value": QUESTION, "kind": "text"},
                "n_passages": {"label": "Passages", "value": 3, "kind": "range", "min": 1, "max": 10, "step": 1},
            },
            "goal": "", "spec": spec, "description": spec["description"], "question": QUESTION,
            "longest_query": LONGEST_QUERY, "stopwords": sorted(bm25.STOPWORDS), "endings": list(bm25._ENDINGS),
            "shortest_stem": bm25._SHORTEST_STEM, "vocabulary": words,
            "starts": _packed(index.scores["indptr"], "<u4"), "scores": _packed(index.scores["data"], "<f4"),
            "holders": _packed(index.scores["indices"], "<u2"),
            "passages": [[one.title, one.text, known.address(one.link, source, page) or ""] for one in corpus],
        }
    }  # fmt: skip


def _packed(numbers: Any, kind: str) -> str:
    """Numbers as a page reads them; an error if the kind cannot hold them."""
    found = np.asarray(numbers).astype(kind)
    if not np.array_equal(found, numbers):
        raise ValueError(
            f"numbers up to {np.max(numbers)} do not fit into {kind}: take a wider kind here and in the script"
        )
    return base64.b64encode(found.tobytes()).decode()


def hardware() -> Data:
    """Chapter 2: chips, models and number formats of the roofline."""
    from greenlab.hardware import FORMATS, MODELS, devices
    from greenlab.hardware.view import widgets

    widget = widgets.roofline_widget()
    chips = {id: devices()[id] for id in widgets.menu().values()}
    return {
        "roofline_widget": described(widget) | {
            "board": widgets.BOARD,
            "models": {name: dataclasses.asdict(shape) for name, shape in MODELS.items()},
            "formats": {name: dataclasses.asdict(one) for name, one in FORMATS.items()},
            "chips": {
                id: {
                    "name": one.name, "flops_per_s": dict(one.flops_per_s), "memory_b": one.memory_b,
                    "bandwidth_b_per_s": one.bandwidth_b_per_s, "power_w": one.power_w,
                }
                for id, one in chips.items()
            },
        }
    }  # fmt: skip


CHAPTERS: dict[str, Callable[[], Data]] = {
    "footprint": footprint,
    "hardware": hardware,
    "green_service": green_service,
    "retrieval": retrieval,
}
PARTS = {  # with a page of their own in docs/parts
    "footprint": ("training_widget", "search_widget"),
    "hardware": ("roofline_widget",),
    "green_service": ("Designer",),
    "retrieval": ("ask_widget",),
}


def script(chapter: str) -> str:
    """The script with the data of a chapter's explorers.

    Args:
        chapter: a name of `CHAPTERS`.
    """
    with alt.theme.enable(theme.NAME):  # else the page gets Vega's own look: white on dark paper, legends at the side
        given = CHAPTERS[chapter]()
    text = json.dumps(given, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"globalThis.greenlab ??= {{}};\ngreenlab.data ??= {{}};\ngreenlab.data.{chapter} = {text};\n"


def scripts(chapter: str) -> list[str]:
    """The scripts of a chapter's explorers below _static, in the order in which they are loaded.

    >>> scripts("footprint")
    ['explorers/explorer.js', 'explorers/footprint.data.js', 'explorers/footprint.js']

    Args:
        chapter: a name of `CHAPTERS`.
    """
    return [f"{FOLDER}/{name}.js" for name in ("explorer", f"{chapter}.data", chapter)]


def write(folder: Path) -> list[Path]:
    """Write the data of all explorers.

    Args:
        folder: ``_static/explorers`` of the site.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for chapter in CHAPTERS:
        path = folder / f"{chapter}.data.js"
        path.write_text(script(chapter), encoding="utf-8")
        found.append(path)
    return found
