"""What is left of a saving when people use more of what became cheaper.

At a constant elasticity the requests grow by ``ratio ** -elasticity`` where ``ratio`` is the new cost over the old one;
the rebound is the share of the expected saving that they take back (chapter 1; Saunders, Energy Journal 13(4), 1992).
The elasticity of demand for a service is not known: the table shows a range of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from greenlab.core import checks
from greenlab.green_service.design import Service
from greenlab.green_service.evaluation import QUANTITIES, evaluate

ELASTICITIES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5)


def rebound(
    baseline: Service, design: Service, *, elasticities: Iterable[float] = ELASTICITIES, quantity: str = "energy"
) -> pd.DataFrame:
    """A year before and after, with the requests that the lower cost brings.

    Args:
        baseline: the service before.
        design: the service after.
        elasticities: by how many per cent requests grow when their cost falls by one per cent, 0 to 10 each.
        quantity: "energy", "carbon", "water" or "cost".

    Returns:
        One row an elasticity: elasticity, requests_per_day, before, expected, after (of a year), unit, share (of the
        expected saving that extra use takes back: 1 all of it, above 1 more; nan without a saving).

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if an elasticity is out of range, the quantity is unknown, or a design cannot be built.

    >>> from greenlab.green_service.design import DEFAULT
    >>> table = rebound(DEFAULT, DEFAULT.replace(batch=64), elasticities=[0, 1])
    >>> table["share"].round(2).tolist()[0]
    0.0
    """
    checks.instance("baseline", baseline, Service)
    checks.instance("design", design, Service)
    checks.one_of("quantity", quantity, ("energy", "carbon", "water", "cost"))
    given = [checks.number("elasticities", one, low=0, high=10) for one in checks.several("elasticities", elasticities)]
    if not given:
        raise ValueError("elasticities is empty: give at least one")
    _, unit, factor, of = QUANTITIES[quantity]
    before, after = evaluate(baseline), evaluate(design)
    ratio = float(after.cost.total_usd) / float(before.cost.total_usd)
    each_before, each_after = factor * float(of(before)), factor * float(of(after))
    rows = []
    for elasticity in given:
        growth = ratio**-elasticity
        was, expected = each_before * before.requests_per_year, each_after * after.requests_per_year
        now = expected * growth
        saving = was - expected
        share = 1 - (was - now) / saving if saving > 0 else float("nan")
        row = {"elasticity": elasticity, "requests_per_day": design.requests_per_day * growth}
        rows.append(row | {"before": was, "expected": expected, "after": now, "unit": unit, "share": share})
    return pd.DataFrame(rows)
