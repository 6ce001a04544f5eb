"""Chapter 10's main widget: design a service, four controls at a time, and see its waterfall and its score."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import pandas as pd

from greenlab.core import facts
from greenlab.green_service import (
    MODELS,
    QUANTITIES,
    Service,
    challenge,
    evaluate,
    overlaps,
    pulled,
    score,
)
from greenlab.green_service.design import INDEXES
from greenlab.green_service.study.tables import steps
from greenlab.green_service.view.charts import NAMES, UNITS, waterfall_chart
from greenlab.lab.receipts import quantity as amount
from greenlab.lab.widgets import Explorer

DEVICES = {
    "NVIDIA A100": "a100-sxm4-80gb", "NVIDIA H100": "h100-sxm5-80gb", "NVIDIA H200": "h200-sxm", "NVIDIA B200": "b200",
}  # fmt: skip
REGIONS = {"Poland": "PL", "Germany": "DE", "United States": "US", "France": "FR", "Sweden": "SE", "the world": "WORLD"}
ORDERS = ("as in the book", "the other way round")
GROUPS = {
    "Model": ("model", "removed_layers", "healed", "bits"),
    "Requests": ("batch", "retrieved_tokens", "flexible"),
    "Machines": ("device", "utilization", "pue"),
    "Place and chart": ("region", "quantity", "order", "log"),
}
CANNOT = "This design cannot be built"
N_DRAWS = 200


class Designer(Explorer):
    """A service and its waterfall; controls stand in tabs, at most four at a time.

    Args:
        level: of the challenge whose service is the baseline and whose goals are to be reached.

    Raises:
        TypeError: if ``level`` is no whole number.
        ValueError: if it is not 1, 2 or 3.
    """

    def __init__(self, level: int = 1) -> None:
        self._challenge = challenge(level)
        given = self._challenge
        super().__init__(
            _controls(given.baseline), self._chart, self._sentence, self._reached, f"level {level}: {given.title}"
        )
        tabs = W.Tab([W.VBox([self.controls[name] for name in names]) for names in GROUPS.values()])
        for i, title in enumerate(GROUPS):
            tabs.set_title(i, title)
        self.set_trait("children", (tabs, self.panel, self.message))

    @property
    def baseline(self) -> Service:
        """The service before."""
        return self._challenge.baseline

    @property
    def service(self) -> Service:
        """The design that the controls stand for.

        Raises:
            ValueError: if it cannot be built.
        """
        return self.design(**self.value)

    def design(self, **values: Any) -> Service:
        """The design at some setting of the controls.

        Raises:
            ValueError: if it cannot be built; the message says why.
        """
        names = ("model", "removed_layers", "healed", "bits", "batch", "retrieved_tokens", "flexible", "utilization")
        chosen = {name: values[name] for name in names}
        chosen |= {"device": DEVICES[values["device"]], "region": REGIONS[values["region"]]}
        chosen["index"] = INDEXES[1] if values["retrieved_tokens"] else INDEXES[0]
        average = facts.value("pue-average")  # left alone it keeps its range
        chosen["pue"] = None if values["pue"] == average else values["pue"]
        return self.baseline.replace(**chosen)

    def order(self, design: Service, **values: Any) -> tuple[str, ...]:
        """The levers of a design in the order that the reader chose."""
        names = pulled(self.baseline, design)
        return names if values["order"] == ORDERS[0] else names[::-1]

    def table(self, **values: Any) -> pd.DataFrame:
        """The waterfall at some setting; empty where no lever is pulled.

        Raises:
            ValueError: if the design cannot be built, or a step on the way to it.
        """
        design = self.design(**values)
        return _waterfall(self.baseline, design, self.order(design, **values))

    def headline(self, **values: Any) -> str:
        """The title of the chart at some setting."""
        name = values["quantity"]
        try:
            table = self.table(**values)
        except ValueError:
            return CANNOT
        if not len(table):
            return f"No lever is pulled: {_said(self.baseline, name)} a request"
        row = overlaps(table).set_index("quantity").loc[name]
        counted = int(table[table["quantity"] == name]["counted"].sum())
        title = f"{_levers(counted)} {_pct(row['together'])} of the {_noun(name)}"
        if counted > 1 and row["product"] == row["product"]:
            title += f"; each alone, multiplied, {_pct(row['product'])}"
        return title

    def _chart(self, **values: Any) -> alt.LayerChart:
        name, log = values["quantity"], values["log"]
        try:
            table = self.table(**values)
        except ValueError:
            table = pd.DataFrame()
        if not len(table):
            table = _nothing(self.baseline, name)
        return waterfall_chart(table, name, self.headline(**values), log=log)

    def _sentence(self, **values: Any) -> str:
        try:
            design = self.design(**values)
            self.table(**values)
            found = score(design, self._challenge.level)
        except ValueError as error:
            return f"{CANNOT}: {error}."
        outcome = evaluate(design)
        said = ", ".join(f"{NAMES[name].lower()} {_said(design, name)}" for name in ("energy", "carbon", "water"))
        said += f", cost {1e6 * float(outcome.cost.total_usd):.0f} $ a million"
        words = f"A request: {said}; {float(outcome.latency.total_s):.1f} s for the answer; "
        words += f"quality left {100 * outcome.quality:.1f} %. Points: {found.points} of {found.most}."
        return "\n".join([words, *(f"Not allowed at this level: {why}." for why in found.refused), *outcome.remarks])

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


def _said(service: Service, name: str) -> str:
    unit, _, _, of = QUANTITIES[name]
    value = float(of(evaluate(service)))
    if unit == "$":
        return f"{1e6 * value:.0f} $ for a million of"
    if name == "water":
        return f"{value:.2g} mL"
    return amount(value, unit) + (" CO₂e" if UNITS.get(unit) else "")


@lru_cache(maxsize=256)
def _waterfall(baseline: Service, design: Service, order: tuple[str, ...]) -> pd.DataFrame:
    return steps(baseline, design, order, n=N_DRAWS)


def _nothing(service: Service, name: str) -> pd.DataFrame:
    """A waterfall with a step in which nothing happens, so that the chart still shows the service before."""
    unit, _, _, of = QUANTITIES[name]
    value = float(of(evaluate(service)))
    row = {"lever": "no lever", "quantity": name, "unit": unit, "before": value, "after": value, "saved_fraction": 0.0}
    return pd.DataFrame([row | {"share_low": 0.0, "share_high": 0.0, "counted": True, "evidence": None}])


def _controls(start: Service) -> dict[str, W.ValueWidget]:
    device = next(name for name, code in DEVICES.items() if code == start.device)
    region = next(name for name, code in REGIONS.items() if code == start.region)
    return {
        "model": W.Dropdown(options=list(MODELS), value=start.model, description="Model"),
        "removed_layers": W.IntSlider(value=0, min=0, max=12, description="Layers left out"),
        "healed": W.Checkbox(value=False, description="trained again without them (healed)"),
        "bits": W.Dropdown(options=(16, 8, 4, 2), value=16, description="Bits of a weight"),
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


__all__ = ["CANNOT", "Designer"]
