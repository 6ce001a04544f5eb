"""The levers: which choices of a service belong together, and how well each one's effect is known.

A design is a baseline with some levers pulled. `pulled` names the levers in which two services differ, `apply` pulls
them one by one. Traffic and quality gate are no levers: two services are compared at the same work.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from greenlab.core import checks
from greenlab.core.names import unknown
from greenlab.green_service import passes
from greenlab.green_service.design import Service
from greenlab.green_service.models import MODELS

EVIDENCE = ("measured here", "measured on an accelerator", "modelled", "cited")
SAME = ("requests_per_day", "reference", "quality_gate")


@dataclass(frozen=True)
class Lever:
    """One lever.

    Attributes:
        name: such as "fewer layers".
        fields: of `Service` that it changes.
        chapter: the chapter of the book that is about it, or "".
        evidence: how its effect on energy and carbon is known: one of `EVIDENCE`.
        source: of that effect.
        quality: how its effect on quality is known, or "none" where it cannot change an answer.
    """

    name: str
    fields: tuple[str, ...]
    chapter: str
    evidence: str
    source: str
    quality: str


_ACCELERATOR = "data/studies/accelerator, fitted"
LEVERS = {
    lever.name: lever
    for lever in (
        Lever("other model", ("model",), "distillation", "modelled", _ACCELERATOR, "cited"),
        Lever("fewer layers", ("removed_layers", "healed"), "layer_pruning", "measured on an accelerator", _ACCELERATOR,
              "measured here, on SmolLM2"),
        Lever("mixture of depths", ("capacity",), "mixture_of_depths", "measured on an accelerator", _ACCELERATOR,
              "measured here, on small models"),
        Lever("fewer bits", ("bits",), "ternary", "cited", "decode-a100-llama2-7b-int8, -int4",
              "measured here, on SmolLM2"),
        Lever("retrieval", ("retrieved_tokens", "index"), "retrieval", "measured here", "data/studies/retrieval",
              "measured here, on SmolLM2"),
        Lever("fewer tokens", ("input_tokens", "output_tokens"), "", "measured on an accelerator", _ACCELERATOR,
              "not measured"),
        Lever("larger batch", ("batch",), "hardware", "measured on an accelerator", _ACCELERATOR, "none"),
        Lever("other accelerator", ("device",), "hardware", "modelled", "data/facts/accelerators.csv", "none"),
        Lever("busier machines", ("utilization", "n_devices"), "footprint", "modelled",
              "data/studies/accelerator, idle power", "none"),
        Lever("better building", ("pue", "wue_l_per_kwh"), "footprint", "cited", "pue-average, pue-best", "none"),
        Lever("other grid", ("region",), "footprint", "cited", "data/facts/grid_intensity.csv", "none"),
        Lever("flexible hours", ("flexible",), "load_shifting", "modelled", "data/studies/load_shifting", "none"),
    )
}  # fmt: skip


def evidence(lever: str, service: Service) -> str:
    """How the effect of a lever on energy is known in a design: one of `EVIDENCE`.

    Measured is what the accelerator's study holds (`passes.in_study`): another model, another chip, a larger batch than
    any that was run, or fewer layers of a model of which only the whole was run, are modelled by the fit.

    Args:
        lever: a name of `LEVERS`.
        service: the design with the lever pulled.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there is no such lever.

    >>> from greenlab.green_service.design import DEFAULT
    >>> evidence("other model", DEFAULT.replace(model="Llama-3.2-1B"))
    'measured on an accelerator'
    """
    checks.text("lever", lever)
    if lever not in LEVERS:
        raise unknown("lever", lever, LEVERS)
    checks.instance("service", service, Service)
    found = LEVERS[lever].evidence
    if lever == "other model" and MODELS[service.model].measured:
        found = "measured on an accelerator"
    if found == "measured on an accelerator" and not _in_study(service):
        return "modelled"
    return found


def _in_study(service: Service) -> bool:
    changed = bool(service.removed_layers) or service.capacity < 1
    return passes.in_study(service.model, service.device, batch=service.batch, changed=changed)


def pulled(baseline: Service, design: Service) -> tuple[str, ...]:
    """Names of the levers in which a design differs from its baseline, in the order of `LEVERS`.

    Args:
        baseline: the service before.
        design: the service after.

    Raises:
        TypeError: if one is no `Service`.
        ValueError: if the two do not do the same work.

    >>> from greenlab.green_service.design import DEFAULT
    >>> pulled(DEFAULT, DEFAULT.replace(batch=64, region="SE"))
    ('larger batch', 'other grid')
    """
    checks.instance("baseline", baseline, Service)
    checks.instance("design", design, Service)
    for name in SAME:
        before, after = getattr(baseline, name), getattr(design, name)
        if before != after:
            raise ValueError(
                f"design has {name}={after!r} and baseline {before!r}: compare services that do the same work; what "
                "people do with a saving is rebound(...)"
            )
    return tuple(
        lever.name
        for lever in LEVERS.values()
        if any(getattr(baseline, field) != getattr(design, field) for field in lever.fields)
    )


def apply(baseline: Service, design: Service, levers: Iterable[str]) -> Service:
    """The baseline with some of the design's levers pulled.

    Args:
        baseline: the service before.
        design: the service after.
        levers: names of `LEVERS`.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there is no such lever, or the result cannot be built.

    >>> from greenlab.green_service.design import DEFAULT
    >>> apply(DEFAULT, DEFAULT.replace(batch=64, bits=8), ["larger batch"]).bits
    16
    """
    checks.instance("baseline", baseline, Service)
    checks.instance("design", design, Service)
    changes: dict[str, Any] = {}
    for lever in checks.several("levers", levers):
        checks.text("levers", lever)
        if lever not in LEVERS:
            raise unknown("levers", lever, LEVERS)
        changes |= {field: getattr(design, field) for field in LEVERS[lever].fields}
    return dataclasses.replace(baseline, **changes)
