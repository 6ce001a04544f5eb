"""Lever by lever from a baseline to a design: what each saves alone, in an order, and why savings do not multiply.

A lever saves a share of what is left, and what is left depends on the levers before it: fewer bits save little where a
large batch has already made the weights cheap. So the saving of a lever is shown twice: alone, from the baseline, and
at its place in the order that the reader chose. Multiplying the shares that each leaves alone gives ``product``; what
is really left is ``together``. Their quotient is the overlap: above 1 the levers save the same joules twice on paper.
In logarithms the overlaps of the steps add up to that of the whole.

A step that takes the quality below the design's gate is not counted: the lever stays unpulled, and the reason is shown.
The bands of steps come from paired draws (`evaluation.draws`): before and after share every assumption that they have
in common, so a saving is known better than the two figures that it is taken from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.green_service.assumptions import assumptions
from greenlab.green_service.design import Service
from greenlab.green_service.evaluation import N_DRAWS, QUANTITIES, SEED, Outcome, band_of, evaluate, outcome_of_draws
from greenlab.green_service.levers import LEVERS, apply, evidence, pulled
from greenlab.green_service.quality import quality_kept

COLUMNS = (
    "step", "lever", "quantity", "unit", "before", "after", "saved", "saved_low", "saved_high", "saved_fraction",
    "alone_fraction", "alone_low", "alone_high", "remaining_fraction", "overlap", "quality", "counted", "reason",
    "evidence",
)  # fmt: skip
Moved = Mapping[str, Any]


def _both(service: Service, moved: Moved | None, n: int, seed: int) -> tuple[Outcome, Outcome]:
    """A service's outcome with central numbers, and with draws."""
    assumed = assumptions(service).move(**moved) if moved else assumptions(service)
    return evaluate(service, assumed), outcome_of_draws(service, assumed, n, seed)


def _order(baseline: Service, design: Service, order: Iterable[str] | None) -> tuple[str, ...]:
    needed = pulled(baseline, design)
    if order is None:
        return needed
    given = checks.several("order", order)
    for name in given:
        checks.text("order", name)
    if sorted(given) != sorted(needed):
        raise ValueError(f"order={given}: give each lever of the design once: {', '.join(needed) or 'there is none'}")
    return tuple(given)


def waterfall(
    baseline: Service,
    design: Service,
    *,
    order: Iterable[str] | None = None,
    moved: Moved | None = None,
    n: int = N_DRAWS,
    seed: int = SEED,
) -> pd.DataFrame:
    """Every lever of a design, alone and in order, for energy, carbon, water, cost and both latencies of a request.

    Args:
        baseline: the service before.
        design: the service after; its gate decides what counts.
        order: the levers of the design, each once, as they are pulled; None is the order of `LEVERS`.
        moved: assumptions of the reader's own, as for `Assumptions.move`; they hold before and after.
        n: draws.
        seed: of the draws.

    Returns:
        One row a step and quantity. ``before`` and ``after`` [unit] of the step; ``saved`` with its band
        ``saved_low`` to ``saved_high``; ``saved_fraction`` of ``before``; ``alone_fraction`` with its band, of the
        baseline, nan where the lever cannot be pulled alone; ``remaining_fraction`` of the baseline after the step;
        ``overlap``, the share left by the step over the share left by the lever alone; ``quality`` that is left with
        all levers so far; ``counted`` and, where it is False, the ``reason``; ``evidence`` (`levers.EVIDENCE`).

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the two do not do the same work, the order is not one of the design's levers, a step in between
            cannot be built, or a number is out of range.

    >>> from greenlab.green_service.design import DEFAULT
    >>> table = waterfall(DEFAULT, DEFAULT.replace(bits=4, batch=64), n=100)
    >>> table[table["quantity"] == "energy"][["lever", "counted"]].to_numpy().tolist()
    [['fewer bits', False], ['larger batch', True]]
    """
    names = _order(baseline, design, order)
    n, seed = checks.integer("n", n, low=100, high=10**6), checks.integer("seed", seed, low=0)
    if moved is not None:
        if not isinstance(moved, Mapping):
            raise TypeError(f"moved={moved!r:.80} is {type(moved).__name__}: give a dict such as {{'pue': 1.2}}")
        for name in moved:
            checks.text("moved", name, remedy="name an assumption")
    start = _both(baseline, moved, n, seed)
    here, rows = start, []
    taken: list[str] = []
    for step, lever in enumerate(names, 1):
        alone, alone_reason = _alone(baseline, design, lever, moved, n, seed)
        try:
            after_service = apply(baseline, design, [*taken, lever])
        except ValueError as error:
            raise ValueError(
                f"order: after {taken or 'nothing'} the lever {lever!r} cannot be pulled: {error}"
            ) from None
        quality, gate = quality_kept(after_service), design.quality_gate
        counted = quality >= gate or quality >= quality_kept(here[0].service)  # a lever that cannot hurt always counts
        reason = "" if counted else f"quality would fall to {100 * quality:.1f} %, and the gate is {100 * gate:.1f} %"
        after = _both(after_service, moved, n, seed) if counted else here
        for quantity, (unit, _, _, of) in QUANTITIES.items():
            row: dict[str, Any] = {"step": step, "lever": lever, "quantity": quantity, "unit": unit}
            row |= _step(of, start, here, after, n) | _alone_columns(of, start, alone, n)
            row["overlap"] = (1 - row["saved_fraction"]) / (1 - row["alone_fraction"]) if counted else math.nan
            row |= {"quality": quality, "counted": counted, "reason": reason or alone_reason}
            rows.append(row | {"evidence": evidence(lever, after_service)})
        if counted:
            taken.append(lever)
        here = after
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _alone(
    baseline: Service, design: Service, lever: str, moved: Moved | None, n: int, seed: int
) -> tuple[tuple[Outcome, Outcome] | None, str]:
    """A lever pulled alone from the baseline, or None and the reason."""
    try:
        return _both(apply(baseline, design, [lever]), moved, n, seed), ""
    except ValueError as error:
        return None, f"cannot be pulled alone: {error}"


def _step(of: Any, start: Any, here: Any, after: Any, n: int) -> dict[str, float]:
    before, then = float(of(here[0])), float(of(after[0]))
    low, high = band_of(np.subtract(of(here[1]), of(after[1])), n)
    saved = before - then
    return {
        "before": before, "after": then, "saved": saved, "saved_low": min(low, saved), "saved_high": max(high, saved),
        "saved_fraction": saved / before, "remaining_fraction": then / float(of(start[0])),
    }  # fmt: skip


def _alone_columns(of: Any, start: Any, alone: Any, n: int) -> dict[str, float]:
    if alone is None:
        return dict.fromkeys(("alone_fraction", "alone_low", "alone_high"), math.nan)
    share = 1 - float(of(alone[0])) / float(of(start[0]))
    low, high = band_of(1 - np.divide(of(alone[1]), of(start[1])), n)
    return {"alone_fraction": share, "alone_low": min(low, share), "alone_high": max(high, share)}


def overlaps(table: pd.DataFrame) -> pd.DataFrame:
    """That savings do not multiply: what would be left by the product of the levers alone, and what is left together.

    Args:
        table: from `waterfall`.

    Returns:
        One row a quantity: quantity, product (of the shares that each counted lever leaves alone), together (what is
        left), overlap (together over product: above 1 the levers save the same twice), log_overlap, and the levers
        that count. nan where a lever cannot be pulled alone.

    Raises:
        TypeError: if ``table`` is no table.
        ValueError: if it lacks a column, or is empty.
    """
    checks.instance("table", table, pd.DataFrame, remedy="waterfall(...) gives it")
    needed = ("quantity", "lever", "alone_fraction", "saved_fraction", "counted")
    if missing := [name for name in needed if name not in table]:
        raise ValueError(f"table lacks the column {missing[0]!r}: waterfall(...) gives it")
    if not len(table):
        raise ValueError("table is empty: the design pulls no lever")
    rows = []
    for quantity, part in table.groupby("quantity", sort=False):
        taken = part[part["counted"].astype(bool)]
        product = float(np.prod(1 - taken["alone_fraction"].to_numpy(dtype=float)))
        together = float(np.prod(1 - taken["saved_fraction"].to_numpy(dtype=float)))
        row = {"quantity": quantity, "product": product, "together": together, "overlap": together / product}
        rows.append(row | {"log_overlap": math.log(together / product), "levers": ", ".join(taken["lever"])})
    return pd.DataFrame(rows)


def claimed(baseline: Service, design: Service, *, order: Iterable[str] | None = None) -> Service:
    """The design with those levers only that the quality gate lets pass, pulled in the given order.

    Args:
        baseline: the service before.
        design: the service after.
        order: as for `waterfall`.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: as for `waterfall`.

    >>> from greenlab.green_service.design import DEFAULT
    >>> claimed(DEFAULT, DEFAULT.replace(bits=4, batch=64)).bits
    16
    """
    taken: list[str] = []
    here = baseline
    for lever in _order(baseline, design, order):
        after = apply(baseline, design, [*taken, lever])
        if quality_kept(after) >= min(design.quality_gate, quality_kept(here)):
            taken.append(lever)
            here = after
    return here


__all__ = ["COLUMNS", "LEVERS", "claimed", "overlaps", "waterfall"]
