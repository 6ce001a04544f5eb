"""Chapter 10's main widget: design a service, a few controls at a time, and see waterfall, bands and score.

The tabs hold the choices. Below them, folded, stands every assumption with its published value, range and source; a
number written there holds before and after, and the waterfall follows at once.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import pandas as pd

from greenlab.core import facts
from greenlab.core.names import unknown
from greenlab.green_service import (
    MODELS,
    QUANTITIES,
    Assumptions,
    Service,
    assumptions,
    bands,
    challenge,
    evaluate,
    overlaps,
    parts,
    pulled,
    score,
    shares,
    typed,
)
from greenlab.green_service.assumptions import GROUPS as ASSUMED
from greenlab.green_service.assumptions import LIMITS
from greenlab.green_service.design import CAPACITIES, INDEXES
from greenlab.green_service.view.charts import NAMES, UNITS, waterfall_chart
from greenlab.lab.receipts import quantity as amount
from greenlab.lab.tables import table as shown
from greenlab.lab.widgets import Explorer

DEVICES = {
    "NVIDIA A100": "a100-sxm4-80gb", "NVIDIA H100": "h100-sxm5-80gb", "NVIDIA H200": "h200-sxm", "NVIDIA B200": "b200",
}  # fmt: skip
REGIONS = {
    "Poland": "PL", "Germany": "DE", "United States": "US", "the world": "WORLD", "Belgium": "BE", "France": "FR",
    "Sweden": "SE",
}  # fmt: skip
REQUESTS = {
    "1,000": 1e3, "10,000": 1e4, "100,000": 1e5, "1 million": 1e6, "10 million": 1e7, "100 million": 1e8,
    "1,000 million": 1e9,
}  # fmt: skip
ORDERS = ("as in the book", "the other way round")
GROUPS = {
    "The work": ("requests_per_day", "input_tokens", "output_tokens", "quality_gate"),
    "Model": ("model", "bits", "depths"),
    "Layers": ("removed_layers", "healed"),
    "Requests": ("batch", "retrieved_tokens", "flexible"),
    "Machines, place": ("device", "utilization", "pue", "region"),
    "Chart": ("quantity", "order", "log"),
}
WORK = GROUPS["The work"]  # the same before and after: two services are compared at the same work
CANNOT = "This design cannot be built"
N_DRAWS = 200
OWN = "own_"  # before the name of an assumption: the control in which it is moved
# a choice of the design that an assumption replaces before and after, so that choosing it does nothing
REPLACED = {"pue": "pue", "intensity_g_per_kwh": "region", "shift_saving": "flexible"}


class Designer(Explorer):
    """A service and its waterfall; choices stand in tabs, at most four at a time, and assumptions below them, folded.

    Args:
        level: of the challenge whose service is the baseline and whose goals are to be reached.

    Raises:
        TypeError: if ``level`` is no whole number.
        ValueError: if it is not 1, 2 or 3.
    """

    def __init__(self, level: int = 1) -> None:
        self._challenge = challenge(level)
        given = self._challenge
        self.notes = {name: W.HTML() for name in LIMITS}  # what is published, beside each control
        self.moved_text = W.HTML()
        self.figures = W.HTML()
        controls = _controls(given.baseline)
        for control in controls.values():
            if isinstance(control, W.Text):
                control.continuous_update = False  # a number is taken when it is finished: Enter, or the next field
        super().__init__(controls, self._chart, self._sentence, self._reached, f"level {level}: {given.title}")
        for name in LIMITS:
            controls[OWN + name].layout = W.Layout(width="310px", flex="0 0 auto")
            controls[OWN + name].style.description_width = "180px"  # all fields of a tab begin at one line
            self.notes[name].layout = W.Layout(flex="1 1 0", min_width="0")
        tabs = W.Tab([W.VBox([self.controls[name] for name in names]) for names in GROUPS.values()])
        for i, title in enumerate(GROUPS):
            tabs.set_title(i, title)
        self.reset = W.Button(
            description="All assumptions as published", layout=W.Layout(width="auto", align_self="flex-start")
        )
        self.reset.on_click(lambda _: self.put_back())
        self.set_trait("children", (tabs, self._panel(), self.panel, self.message, self.figures))

    def _panel(self) -> W.Accordion:
        """Every assumption, in a tab of its kind, with its control and what is published; folded.

        Tabs keep it low, so that the chart stays in sight while a number is moved.
        """
        tabs = W.Tab([
            W.VBox([W.HBox([self.controls[OWN + name], self.notes[name]]) for name in names])
            for names in ASSUMED.values()
        ])  # fmt: skip
        for i, title in enumerate(ASSUMED):
            tabs.set_title(i, title)
        words = W.HTML(
            "A number of your own, or three with spaces between them: value, low and high. An empty field is the "
            "published number. Yours hold before and after the levers."
        )
        fold = W.Accordion([W.VBox([words, self.reset, self.moved_text, tabs])], selected_index=None)
        fold.set_title(0, "Assumptions: see and move all of them")
        return fold

    def put_back(self) -> None:
        """Every assumption as it is published; the design stays."""
        self.set(**{OWN + name: "" for name in LIMITS})

    def move(self, **numbers: float | str) -> None:
        """Move assumptions from code: ``mine.move(pue=1.2)``, or ``mine.move(pue="1.2 1.1 1.3")`` with a range.

        Raises:
            ValueError: if there is no such assumption. A number out of range is said in the message, as for one that
                was typed.
        """
        for name in numbers:
            if name not in LIMITS:
                raise unknown("assumption", name, LIMITS)
        self.set(**{OWN + name: str(value) for name, value in numbers.items()})

    @property
    def baseline(self) -> Service:
        """The service before, at the work that the controls stand for.

        Raises:
            ValueError: if it cannot be built.
        """
        return self.before(**self.value)

    @property
    def service(self) -> Service:
        """The design that the controls stand for.

        Raises:
            ValueError: if it cannot be built.
        """
        return self.design(**self.value)

    @property
    def assumed(self) -> Assumptions:
        """The assumptions of the design, with those that were moved.

        Raises:
            ValueError: if the design cannot be built, or a number is out of range.
        """
        return assumptions(self.service).move(**self.moved(**self.value))

    def before(self, **values: Any) -> Service:
        """The service before at some setting: that of the challenge, with the work of the controls.

        Raises:
            ValueError: if it cannot be built.
        """
        return self._challenge.baseline.replace(**{name: values[name] for name in WORK})

    def moved(self, **values: Any) -> dict[str, Any]:
        """The reader's own assumptions at some setting, as `Assumptions.move` takes them.

        Raises:
            ValueError: if a field holds no number, or one out of range.
        """
        found = typed({name: values[OWN + name] for name in LIMITS})
        assumptions(self._challenge.baseline).move(**found)  # refuses what is out of range
        return found

    def design(self, **values: Any) -> Service:
        """The design at some setting of the controls.

        Raises:
            ValueError: if it cannot be built; the message says why.
        """
        names = ("model", "removed_layers", "healed", "bits", "batch", "retrieved_tokens", "flexible", "utilization")
        chosen = {name: values[name] for name in names}
        chosen |= {"device": DEVICES[values["device"]], "region": REGIONS[values["region"]]}
        chosen["capacity"] = CAPACITIES[1] if values["depths"] else CAPACITIES[0]
        chosen["index"] = INDEXES[1] if values["retrieved_tokens"] else INDEXES[0]
        average = facts.value("pue-average")  # left alone it keeps its range
        chosen["pue"] = None if values["pue"] == average else values["pue"]
        return self.before(**values).replace(**chosen)

    def order(self, design: Service, **values: Any) -> tuple[str, ...]:
        """The levers of a design in the order that the reader chose."""
        names = pulled(self.before(**values), design)
        return names if values["order"] == ORDERS[0] else names[::-1]

    def table(self, **values: Any) -> pd.DataFrame:
        """The waterfall at some setting; empty where no lever is pulled.

        Raises:
            ValueError: if the design cannot be built, or a step on the way to it.
        """
        design, moved = self.design(**values), self.moved(**values)
        return _waterfall(self.before(**values), design, self.order(design, **values), tuple(moved.items()))

    def headline(self, **values: Any) -> str:
        """The title of the chart at some setting."""
        name = values["quantity"]
        try:
            table, moved = self.table(**values), self.moved(**values)
        except ValueError:
            return CANNOT
        if not len(table):
            return f"No lever is pulled: {_said(self.before(**values), name, moved)} a request"
        row = overlaps(table).set_index("quantity").loc[name]
        counted = int(table[table["quantity"] == name]["counted"].sum())
        title = f"{_levers(counted)} {_pct(row['together'])} of the {_noun(name)}"
        if counted > 1 and row["product"] == row["product"]:
            title += f"; each alone, multiplied, {_pct(row['product'])}"
        return title

    def _chart(self, **values: Any) -> alt.LayerChart:
        name, log = values["quantity"], values["log"]
        try:
            table, moved, before = self.table(**values), self.moved(**values), self.before(**values)
        except ValueError:
            table, moved, before = pd.DataFrame(), {}, self._challenge.baseline
        if not len(table):
            table = _nothing(before, name, moved)
        return waterfall_chart(table, name, self.headline(**values), log=log)

    def _sentence(self, **values: Any) -> str:
        self._show_assumptions(**values)
        try:
            design, moved = self.design(**values), self.moved(**values)
            self.table(**values)
            found = score(design, self._challenge.level)
        except ValueError as error:
            self.figures.value = ""
            return f"{CANNOT}: {error}."
        assumed = assumptions(design).move(**moved)
        outcome = evaluate(design, assumed)
        self.figures.value = _figures(self.before(**values), design, moved)
        said = ", ".join(
            f"{NAMES[name].lower()} {_said(design, name, moved)}" for name in ("energy", "carbon", "water")
        )
        said += f", cost {1e6 * float(outcome.cost.total_usd):,.0f} $ a million"
        words = f"A request: {said}; {float(outcome.latency.total_s):.1f} s for the answer; "
        words += f"quality left {100 * outcome.quality:.1f} %. Points: {found.points} of {found.most}."
        lines = [words, *(f"Not allowed at this level: {why}." for why in found.refused), *outcome.remarks]
        if moved:
            lines.append(f"Moved by you: {', '.join(moved)}. Points are counted with the published numbers.")
        lines += [f"{choice}: your own {name} holds before and after, so this choice does not change it"
                  for name, choice in REPLACED.items()
                  if name in moved and getattr(design, choice) != getattr(self.before(**values), choice)]  # fmt: skip
        return "\n".join(lines)

    def _show_assumptions(self, **values: Any) -> None:
        """What is published for the design as it stands, beside each control; and which numbers are the reader's."""
        try:
            published = assumptions(self.design(**values))
        except ValueError:
            published = assumptions(self._challenge.baseline)
        for item in published.items:
            band = f"{item.low:.4g} to {item.high:.4g}" if item.low < item.high else "no range published"
            said = f"{item.value:.4g} {item.unit} ({band}; {item.basis}): {item.source}"
            self.notes[item.name].value = f'<span style="display:block;line-height:1.4">{html.escape(said)}</span>'
            self.controls[OWN + item.name].placeholder = f"{item.value:.4g}"
        own = [name for name in LIMITS if values[OWN + name].strip()]
        said = f"Moved by you: {', '.join(own)}." if own else "None is moved."
        self.moved_text.value = html.escape(said)

    def _reached(self, **values: Any) -> bool:
        try:
            self.table(**values)
            return score(self.design(**values), self._challenge.level).solved
        except ValueError:
            return False


def _levers(count: int) -> str:
    if count == 0:
        return "No lever counts, which leaves"
    return "One lever leaves" if count == 1 else f"{count} levers leave"


def _pct(share: float) -> str:
    """A share in per cent, with a decimal where it is small."""
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:,.0f} %"


def _noun(name: str) -> str:
    return {"first token": "time to the first token", "whole answer": "time of the answer"}.get(name, name)


def _said(service: Service, name: str, moved: Mapping[str, Any]) -> str:
    unit, _, _, of = QUANTITIES[name]
    value = float(of(evaluate(service, assumptions(service).move(**moved))))
    if unit == "$":
        return f"{1e6 * value:.0f} $ for a million of"
    if name == "water":
        return f"{value:.2g} mL"
    return amount(value, unit) + (" CO₂e" if UNITS.get(unit) else "")


@lru_cache(maxsize=256)
def _waterfall(
    baseline: Service, design: Service, order: tuple[str, ...], moved: tuple[tuple[str, Any], ...]
) -> pd.DataFrame:
    return shares(baseline, design, order=order, moved=dict(moved), n=N_DRAWS)


def _figures(before: Service, design: Service, moved: Mapping[str, Any]) -> str:
    """Every figure of a request before and after, each with its band, and what carbon and water are made of."""
    found = []
    for service in (before, design):
        assumed = assumptions(service).move(**moved)
        whole = bands(service, assumed, n=N_DRAWS).query("per == 'request'").assign(part="")
        of_it = parts(service, assumed, n=N_DRAWS).query("quantity != 'energy'")
        both = pd.concat([whole, of_it])
        records = both.to_dict("records")
        both["name"] = [NAMES[row["quantity"]] + (f", {row['part']}" if row["part"] else "") for row in records]
        said = [f"{row['value']:.3g} ({row['low']:.3g} to {row['high']:.3g})" for row in records]
        found.append(both.assign(said=said))
    rows = found[0].assign(after=found[1]["said"].to_numpy())
    rows["unit"] = rows["unit"].replace(UNITS)
    caption = "A request with the range that holds 95 % of the draws"
    return shown(rows, {"Figure": "name", "Before": "said", "After": "after", "Unit": "unit"}, caption)._repr_html_()


def _nothing(service: Service, name: str, moved: Mapping[str, Any]) -> pd.DataFrame:
    """A waterfall with a step in which nothing happens, so that the chart still shows the service before."""
    unit, _, _, of = QUANTITIES[name]
    value = float(of(evaluate(service, assumptions(service).move(**moved))))
    row = {"lever": "no lever", "quantity": name, "unit": unit, "before": value, "after": value, "saved_fraction": 0.0}
    return pd.DataFrame([row | {"share_low": 0.0, "share_high": 0.0, "counted": True, "evidence": None}])


def _controls(start: Service) -> dict[str, W.ValueWidget]:
    device = next(name for name, code in DEVICES.items() if code == start.device)
    region = next(name for name, code in REGIONS.items() if code == start.region)
    choices: dict[str, W.ValueWidget] = {
        "requests_per_day": W.SelectionSlider(
            options=list(REQUESTS.items()), value=start.requests_per_day, description="Requests a day"
        ),
        "input_tokens": W.IntText(value=start.input_tokens, description="Tokens of a question"),
        "output_tokens": W.IntText(value=start.output_tokens, description="Tokens of an answer"),
        "quality_gate": W.FloatSlider(
            value=start.quality_gate, min=0.5, max=1, step=0.01, description="Least share of the quality (gate)"
        ),
        "model": W.Dropdown(options=list(MODELS), value=start.model, description="Model"),
        "bits": W.Dropdown(options=(16, 8, 4, 2), value=16, description="Bits of a weight"),
        "depths": W.Checkbox(value=False, description="mixture of depths, an eighth of the tokens"),
        "removed_layers": W.IntSlider(value=0, min=0, max=12, description="Layers left out"),
        "healed": W.Checkbox(value=False, description="trained again without them (healed)"),
        "batch": W.SelectionSlider(
            options=(1, 4, 8, 16, 32, 64, 128, 256), value=start.batch, description="Requests at once (batch)"
        ),
        "retrieved_tokens": W.Dropdown(options=(0, 500, 2000), value=0, description="Retrieved tokens"),
        "flexible": W.FloatSlider(
            value=start.flexible, min=0, max=1, step=0.05, description="Share that may wait a day"
        ),
        "device": W.Dropdown(options=list(DEVICES), value=device, description="Accelerator"),
        "utilization": W.FloatSlider(
            value=start.utilization, min=0.1, max=1, step=0.05, description="Most of the day that it works"
        ),
        "pue": W.FloatText(value=facts.value("pue-average"), step=0.01, description="PUE of the building"),
        "region": W.Dropdown(options=list(REGIONS), value=region, description="Grid"),
        "quantity": W.Dropdown(options=list(QUANTITIES), value="energy", description="Quantity"),
        "order": W.Dropdown(options=ORDERS, value=ORDERS[0], description="Order of the levers"),
        "log": W.Checkbox(value=False, description="logarithmic axis"),
    }
    for name, words in LABELS.items():
        choices[OWN + name] = W.Text(value="", description=words)
    return choices


# short enough for a control; the whole meaning stands in the table of the assumptions
LABELS = {
    "serving_factor": "Serving system over model",
    "kernel_share": "Bytes saved that count",
    "idle_power_w": "Waiting accelerator [W]",
    "host_power_w": "Host of an accelerator [W]",
    "memory_share": "Memory that may be filled",
    "pue": "PUE, before and after",
    "intensity_g_per_kwh": "Grid [g/kWh]",
    "shift_saving": "Saved by waiting a day",
    "wue_l_per_kwh": "Cooling water [L/kWh]",
    "water_l_per_kwh": "Power stations [L/kWh]",
    "device_embodied_kg": "Making an accelerator [kg]",
    "server_embodied_kg": "Making a server [kg]",
    "devices_per_server": "Accelerators in a server",
    "lifetime_years": "Life of machines [years]",
    "device_price": "Accelerator, hour [$]",
    "electricity_price": "Electricity [$/kWh]",
    "cpu_power_w": "CPU core of the index [W]",
}


__all__ = ["CANNOT", "Designer"]
