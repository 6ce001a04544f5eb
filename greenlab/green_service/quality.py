"""What each lever costs in quality, as the book's own studies measured it.

A lever's ``kept`` is the share of the quality that is left: accuracy after over before (cloze test, SmolLM2), or loss
before over after (models that the book trained). Another model is measured against the reference of the design by their
published scores on one benchmark. The book's models are small: at the size of a real service the loss may be smaller or
larger, and a design has to measure its own. Between two measured numbers of layers the share is interpolated. The
shares of several levers are multiplied, as if none helped or hurt another: nobody measured that. One pair is measured
in chapter 10 and is an effect of its own: without six layers, SmolLM2 no longer finds answers in a passage.

A share above 1 (retrieval, some mixtures of experts) counts as 1: a better answer to one question pays for no worse one
to another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from greenlab.core import checks, facts
from greenlab.green_service.committed import figure
from greenlab.green_service.design import SMOLLM2_LAYERS, Service
from greenlab.green_service.models import KINDS, MODELS

STUDIED_WITHOUT = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12)  # layers, chapter 6, least block influence
STUDIED_HEALED = (4, 6, 8)
HEALED_WITHOUT = 6  # of 30 layers, where chapter 10 asked for answers from passages


@dataclass(frozen=True)
class Effect:
    """What one lever does to quality.

    Attributes:
        lever: such as "fewer layers".
        kept: share of the quality that is left; above 1 it rose, 0 if nothing is left.
        basis: "measured", "cited", or "modelled" where it is interpolated between measured ones.
        source: the study and its figures.
        remark: on what it was measured.
    """

    lever: str
    kept: float
    basis: str
    source: str
    remark: str

    def __post_init__(self) -> None:
        for name in ("lever", "source", "remark"):
            checks.text(name, getattr(self, name))
        checks.number("kept", self.kept, low=0)
        checks.one_of("basis", self.basis, ("measured", "modelled", "cited"))


def without_layers(n_removed: int, n_layers: int, *, healed: bool = False) -> Effect:
    """Accuracy that is left without some layers, from SmolLM2 without the same share of its 30.

    >>> round(without_layers(4, 30).kept, 3), round(without_layers(4, 30, healed=True).kept, 3)
    (0.948, 0.934)

    Args:
        n_removed: layers that are left out.
        n_layers: of the whole model.
        healed: whether it was trained again for a while.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if more are left out than chapter 6 measured.
    """
    n_layers = checks.integer("n_layers", n_layers, low=1, high=10**6)
    healed = checks.flag("healed", healed)
    most = max(STUDIED_HEALED if healed else STUDIED_WITHOUT)
    remedy = f"chapter 6 measured up to {most} of {SMOLLM2_LAYERS} layers"
    n_removed = checks.integer("n_removed", n_removed, low=0, high=n_layers * most // SMOLLM2_LAYERS, remedy=remedy)
    whole = figure("layer_pruning", "accuracy-0")
    studied = (0, *STUDIED_HEALED) if healed else STUDIED_WITHOUT
    names = [
        "accuracy-0" if n == 0 else f"accuracy-{n}-healed-teacher" if healed else f"influence-accuracy-{n}"
        for n in studied
    ]
    shares = [figure("layer_pruning", name) / whole for name in names]
    of_30 = n_removed * SMOLLM2_LAYERS / n_layers
    exact = of_30 in studied
    return Effect(
        lever="fewer layers",
        kept=float(np.interp(of_30, studied, shares)),
        basis="measured" if exact else "modelled",
        source=f"data/studies/layer_pruning, {names[1]} to {names[-1]} over accuracy-0",
        remark=f"SmolLM2, cloze accuracy without {of_30:.3g} of 30 layers"
        + (", healed with its whole self as teacher" if healed else ", least block influence")
        + ("" if exact else ", interpolated"),
    )


def answers_from_passages(n_removed: int, n_layers: int) -> Effect:
    """Right answers from a passage that are left without some layers, from SmolLM2 healed without six of its 30.

    Cloze accuracy does not show it: of the answers that the whole model found in a passage, the healed one found none.

    >>> answers_from_passages(6, 30).kept, answers_from_passages(3, 30).kept
    (0.0, 0.5)

    Args:
        n_removed: layers that are left out; from a fifth of the model on nothing is left.
        n_layers: of the whole model.

    Raises:
        TypeError: if an argument is no integer.
        ValueError: if more are left out than there are.
    """
    n_layers = checks.integer("n_layers", n_layers, low=1, high=10**6)
    of_30 = checks.integer("n_removed", n_removed, low=0, high=n_layers) * SMOLLM2_LAYERS / n_layers
    left = figure("green_service", "hit-healed-with") / figure("green_service", "hit-whole-with")
    exact = of_30 in (0, HEALED_WITHOUT)
    return Effect(
        lever="fewer layers beside retrieval",
        kept=float(np.interp(of_30, (0, HEALED_WITHOUT), (1.0, left))),
        basis="measured" if exact else "modelled",
        source="data/studies/green_service, hit-healed-with over hit-whole-with",
        remark=f"SmolLM2, right answers from a passage, healed without {HEALED_WITHOUT} of 30 layers"
        + ("" if exact else f"; the share at {of_30:.3g} lies on a line, or at its end"),
    )


def _bits(bits: int) -> Effect:
    if bits == 2:  # rounded after training to so few bits a model is lost: it has to be trained with them
        kept = figure("ternary", "loss-float-128") / figure("ternary", "loss-ternary-128")
        source = "data/studies/ternary, loss-float-128 over loss-ternary-128"
        return Effect("fewer bits", kept, "measured", source, "a small model trained with ternary weights, loss")
    kept = figure("ternary", f"smollm2-accuracy-{bits}bit") / figure("ternary", "smollm2-accuracy-none")
    source = f"data/studies/ternary, smollm2-accuracy-{bits}bit over smollm2-accuracy-none"
    return Effect("fewer bits", kept, "measured", source, "SmolLM2 rounded after training, cloze accuracy")


OWN_STUDY = {  # what the book's own small models say of a kind of model: words, chapter, before, after
    "distilled": ("a student of half its teacher's size", "distillation", "loss-teacher", "loss-half-distilled"),
    "mixture of experts": (
        "8 experts against a dense model of the same total size",
        "mixture_of_experts", "loss-dense-total-size", "loss-8-experts-top-2",
    ),
}  # fmt: skip


def own_study(kind: str) -> float:
    """Share of the quality that a small model of a kind kept in the book's own study (loss before over loss after).

    >>> round(own_study("distilled"), 3), own_study("dense")
    (0.972, 1.0)

    Args:
        kind: "dense", "distilled" or "mixture of experts".

    Raises:
        TypeError: if ``kind`` is no text.
        ValueError: if it is unknown.
    """
    checks.one_of("kind", kind, KINDS)
    if kind not in OWN_STUDY:
        return 1.0
    _, chapter, before, after = OWN_STUDY[kind]
    return figure(chapter, before) / figure(chapter, after)


def _model(service: Service) -> Effect | None:
    """Another model than the reference: the quotient of their published scores, as the book trained none of them."""
    if service.model == service.reference:
        return None
    kind, reference = service.kind, MODELS[service.reference]
    kept = facts.value(kind.score) / facts.value(reference.score)
    remark = f"published accuracy on MMLU, against {reference.name}"
    if kind.kind in OWN_STUDY:
        remark += f"; in the book's own study {OWN_STUDY[kind.kind][0]} kept {100 * own_study(kind.kind):.1f} %"
    return Effect("other model", kept, "cited", f"{kind.score} over {reference.score}", remark)


def effects(service: Service) -> list[Effect]:
    """What the levers of a design do to quality, against the reference model with all levers off.

    Args:
        service: the design.

    Raises:
        TypeError: if ``service`` is no `Service`.

    >>> from greenlab.green_service.design import DEFAULT
    >>> effects(DEFAULT)
    []
    >>> [effect.lever for effect in effects(DEFAULT.replace(bits=8, removed_layers=2))]
    ['fewer layers', 'fewer bits']
    """
    checks.instance("service", service, Service)
    found = []
    if other := _model(service):
        found.append(other)
    if service.removed_layers:
        n_layers = service.kind.shape.n_layers
        found.append(without_layers(service.removed_layers, n_layers, healed=service.healed))
    if service.capacity < 1:
        kept = figure("mixture_of_depths", "loss-dense") / figure("mixture_of_depths", "loss-mod")
        source = "data/studies/mixture_of_depths, loss-dense over loss-mod"
        found.append(
            Effect("mixture of depths", kept, "measured", source, "a model of 6 layers, an eighth of the tokens")
        )
    if service.bits < 16:
        found.append(_bits(service.bits))
    if service.index != "none":
        before, after = figure("retrieval", "hit-none-0-write"), figure("retrieval", "hit-bm25-minilm-1-write")
        source = "data/studies/retrieval, hit-none-0-write, hit-bm25-minilm-1-write"
        remark = f"SmolLM2 answered {before:.0f} % of the questions without a passage and {after:.0f} % with one"
        found.append(Effect("retrieval", 1.0, "measured", source, remark))
        if service.removed_layers:
            found.append(answers_from_passages(service.removed_layers, service.kind.shape.n_layers))
    return found


def quality_kept(service: Service) -> float:
    """Share of the quality that a design leaves: the product over its levers, none of them above 1.

    Args:
        service: the design.

    Raises:
        TypeError: if ``service`` is no `Service`.

    >>> from greenlab.green_service.design import DEFAULT
    >>> round(quality_kept(DEFAULT.replace(bits=8)), 4)
    0.9953
    """
    return float(np.prod([min(1.0, effect.kept) for effect in effects(service)], initial=1.0))


def quality_table(service: Service) -> pd.DataFrame:
    """One row a lever of the design: lever, kept, counted (at most 1), basis, source, remark.

    Args:
        service: the design.

    Raises:
        TypeError: if ``service`` is no `Service`.
    """
    rows = [{**vars(effect), "counted": min(1.0, effect.kept)} for effect in effects(service)]
    return pd.DataFrame(rows, columns=["lever", "kept", "counted", "basis", "source", "remark"])
