"""A service as its designer chooses it: traffic, model, levers, machines, place. What cannot be built is refused.

Only choices stand here. What nobody chooses (the efficiency of the building, the grid, prices, manufacture) are
assumptions with a band and a source: `greenlab.green_service.assumptions`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from greenlab.core import checks
from greenlab.core.facts import schema
from greenlab.core.model.cost import TransformerShape
from greenlab.core.names import unknown
from greenlab.green_service import passes
from greenlab.green_service.models import MODELS, Model, model

BITS = (16, 8, 4, 2)  # of a weight in the layers; 2 is ternary, four weights a byte
INDEXES = ("none", "bm25", "static", "minilm", "bm25 + minilm")
SMOLLM2_LAYERS, MOST_STUDIED = 30, 12  # chapter 6 dropped at most 12 of 30 layers
HEALED_MOST = 8  # and healed models without 4, 6 and 8 of them
CAPACITIES = (
    1.0,
    0.125,
)  # what chapter 5 trained: no mixture of depths, and an eighth of the tokens in every 2nd layer


@lru_cache
def regions() -> dict[str, str]:
    """Every grid that a service may stand on: code and name, from data/facts/grid_intensity.csv.

    >>> regions()["SE"]
    'Sweden'
    """
    return {str(row["region"]): str(row["name"]) for row in schema.rows("grid_intensity")}


@dataclass(frozen=True)
class Service:
    """A service that answers requests with a language model.

    Attributes:
        requests_per_day: how many there are, 1 to 1e12.
        input_tokens: of the question and its instructions, read for each request.
        output_tokens: of the answer, written for each request.
        retrieved_tokens: of passages from an index, read with the question; 0 without an index.
        index: "none", or how passages are found: "bm25", "static", "minilm" or "bm25 + minilm" (chapter 8).
        batch: requests that are written at the same time.
        model: a name of `MODELS`.
        removed_layers: layers that are left out (chapter 6).
        healed: whether the model was trained again for a while without them.
        capacity: share of the tokens that enter every second layer (mixture of depths, chapter 5): 1 or 0.125.
        bits: of a weight in the layers: 16, 8, 4, or 2 for ternary weights (chapter 7).
        device: a name of data/facts/accelerators.csv.
        n_devices: how many accelerators there are, or None for as many as needed.
        utilization: the largest share of the day in which an accelerator works; the rest is kept for peaks.
        region: code of a grid in data/facts/grid_intensity.csv.
        flexible: share of the requests that may wait up to a day (batch jobs), moved to hours of a clean grid (chapter
            9).
        reference: the model whose answers are the measure of quality.
        quality_gate: least share of the reference's quality that has to be left, above 0 up to 1.
        pue: total energy of the building over that of its machines, or None for the surveyed average.
        wue_l_per_kwh: water that the building uses for a kilowatt-hour of its machines [L/kWh], or None for the range
            of ways to cool.

    Raises:
        TypeError: if a field is of another kind.
        ValueError: if it is out of range, or two of them do not fit together.

    >>> Service().replace(pue=0.9)
    Traceback (most recent call last):
    ...
    ValueError: pue=0.9: give a finite number at least 1 and at most 5; it is total energy over IT energy, ...
    """

    requests_per_day: float = 1e7
    input_tokens: int = 500
    output_tokens: int = 300
    retrieved_tokens: int = 0
    index: str = "none"
    batch: int = 16
    model: str = "Llama-3.1-8B"
    removed_layers: int = 0
    healed: bool = False
    capacity: float = 1.0
    bits: int = 16
    device: str = passes.MEASURED_ON
    n_devices: int | None = None
    utilization: float = 0.5
    region: str = "DE"
    flexible: float = 0.0
    reference: str = "Llama-3.1-8B"
    quality_gate: float = 0.95
    pue: float | None = None
    wue_l_per_kwh: float | None = None

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "requests_per_day", checks.number("requests_per_day", self.requests_per_day, low=1, high=1e12))
        for name, low, high in (
            ("input_tokens", 1, 10**6),
            ("output_tokens", 1, 10**6),
            ("retrieved_tokens", 0, 10**6),
            ("batch", 1, 4096),
        ):
            set_(self, name, checks.integer(name, getattr(self, name), low=low, high=high))
        checks.one_of("index", self.index, INDEXES)
        for name in ("model", "reference"):
            checks.text(name, getattr(self, name), remedy="name a model")
            if getattr(self, name) not in MODELS:
                raise unknown(name, getattr(self, name), MODELS)
        set_(self, "healed", checks.flag("healed", self.healed))
        set_(self, "capacity", checks.number("capacity", self.capacity, above=0, high=1))
        set_(self, "bits", checks.integer("bits", self.bits, low=1, high=64))
        passes.chip(self.device)
        set_(self, "utilization", checks.number("utilization", self.utilization, above=0, high=1, remedy=_SHARE))
        set_(self, "flexible", checks.number("flexible", self.flexible, low=0, high=1, remedy=_SHARE))
        set_(self, "quality_gate", checks.number("quality_gate", self.quality_gate, above=0, high=1, remedy=_SHARE))
        if self.pue is not None:
            remedy = "it is total energy over IT energy, so 1.1 means a tenth on top"
            set_(self, "pue", checks.number("pue", self.pue, low=1, high=5, remedy=remedy))
        if self.wue_l_per_kwh is not None:
            remedy = "litres for a kilowatt-hour: closed loops use 0, cooling towers about 2"
            set_(
                self, "wue_l_per_kwh", checks.number("wue_l_per_kwh", self.wue_l_per_kwh, low=0, high=20, remedy=remedy)
            )
        checks.text("region", self.region, remedy="name a grid, such as 'DE'; a grid is never assumed")
        if self.region not in regions():
            raise unknown("region", self.region, regions(), "a grid is never assumed; grid_intensity.csv lists them")
        self._check_levers()
        if self.n_devices is not None:
            set_(self, "n_devices", checks.integer("n_devices", self.n_devices, low=1, high=10**9))

    def _check_levers(self) -> None:
        kind = model(self.model)
        n_layers = kind.shape.n_layers
        removed = checks.integer("removed_layers", self.removed_layers, low=0)
        if removed >= n_layers:
            raise ValueError(
                f"removed_layers={removed}: {self.model} has {n_layers} layers, and at least one has to stay; give 0 "
                f"to {self.most_removable}"
            )
        if removed > self.most_removable:
            raise ValueError(
                f"removed_layers={removed} of {n_layers}: give at most {self.most_removable}; chapter 6 measured the "
                f"quality of SmolLM2 without up to {HEALED_MOST if self.healed else MOST_STUDIED} of "
                f"{SMOLLM2_LAYERS} layers{', healed' if self.healed else ''}, and nothing is known beyond"
            )
        object.__setattr__(self, "removed_layers", removed)
        if self.healed and not removed:
            raise ValueError("healed=True with removed_layers=0: there is nothing to heal; give healed=False")
        if self.capacity not in CAPACITIES:
            raise ValueError(
                f"capacity={self.capacity:g}: give 1 (no mixture of depths) or 0.125; other shares were not trained in "
                "chapter 5, so their quality is not known"
            )
        if self.bits not in BITS:
            raise ValueError(f"bits={self.bits}: give 16, 8, 4 or 2 (ternary); others are not offered")
        if kind.kind == "mixture of experts" and (removed or self.capacity < 1):
            lever = "removed_layers" if removed else "capacity"
            raise ValueError(
                f"{lever}={getattr(self, lever):g} with model={self.model!r}: the book measured it on dense models "
                "only; choose a dense model, or leave it out"
            )
        if self.capacity < 1 and removed:
            raise ValueError(
                f"capacity={self.capacity:g} with removed_layers={removed}: their combination was never trained, so "
                "its quality is not known; choose one of them"
            )
        if (self.index == "none") != (self.retrieved_tokens == 0):
            raise ValueError(
                f"index={self.index!r} with retrieved_tokens={self.retrieved_tokens}: an index brings tokens, and "
                "tokens need an index; give both, or 'none' and 0"
            )

    @property
    def most_removable(self) -> int:
        """Layers that may be left out at most: the share that chapter 6 measured."""
        most = HEALED_MOST if self.healed else MOST_STUDIED
        return model(self.model).shape.n_layers * most // SMOLLM2_LAYERS

    @property
    def prompt_tokens(self) -> int:
        """Tokens that are read for a request: the question and what was retrieved."""
        return self.input_tokens + self.retrieved_tokens

    @property
    def kind(self) -> Model:
        """The model as an entry of `MODELS`."""
        return model(self.model)

    @property
    def shape(self) -> TransformerShape:
        """The shape that runs: with the layers that are left, and the mixture of depths."""
        whole = model(self.model).shape
        return whole.replace(n_layers=whole.n_layers - self.removed_layers, capacity=self.capacity)

    def replace(self, **changes: Any) -> Service:
        """The same service with some choices changed: ``service.replace(batch=64)``.

        Raises:
            TypeError: if there is no such field, or its value is of another kind.
            ValueError: if a value is out of range, or does not fit the others.
        """
        known = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in known:
                raise TypeError(f"{name}: a service has no such field; it has {', '.join(known)}")
        return dataclasses.replace(self, **changes)


_SHARE = "shares are fractions: 0.4, not 40"
DEFAULT = Service()
