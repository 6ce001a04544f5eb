"""The steps of a waterfall with the band of each share, when the reader has moved assumptions.

The band of the joules that a step saves holds how little is known of the service before; the band of the share does
not, as before and after use the same draws. Moved assumptions hold before and after a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from greenlab.green_service.design import Service
from greenlab.green_service.evaluation import N_DRAWS
from greenlab.green_service.levers import apply
from greenlab.green_service.waterfall import waterfall


def shares(
    baseline: Service,
    design: Service,
    *,
    order: Iterable[str] | None = None,
    moved: Mapping[str, Any] | None = None,
    n: int = N_DRAWS,
) -> pd.DataFrame:
    """`waterfall`, and of each step the share that it saves of what there was before it, with its band.

    Args:
        baseline: the service before.
        design: the service after.
        order: of the levers, as for `waterfall`.
        moved: assumptions of the reader's own, as for `waterfall`.
        n: draws.

    Returns:
        The table of `waterfall`, and share_low and share_high of each step; nan where it does not count.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: as for `waterfall`.

    >>> from greenlab.green_service.design import DEFAULT
    >>> row = shares(DEFAULT, DEFAULT.replace(batch=64), n=100).iloc[0]
    >>> bool(row["share_low"] <= row["saved_fraction"] <= row["share_high"])
    True
    """
    table = waterfall(baseline, design, order=order, moved=moved, n=n)
    taken: list[str] = []
    found: dict[str, pd.DataFrame] = {}
    for lever, counted in table.drop_duplicates("lever")[["lever", "counted"]].itertuples(index=False):
        if counted:
            here, after = apply(baseline, design, taken), apply(baseline, design, [*taken, lever])
            found[lever] = waterfall(here, after, moved=moved, n=n).set_index("quantity")
            taken.append(lever)
    for column, name in (("share_low", "alone_low"), ("share_high", "alone_high")):
        pairs = zip(table["lever"], table["quantity"], strict=True)
        table[column] = [found[one].loc[quantity, name] if one in found else math.nan for one, quantity in pairs]
    return table
