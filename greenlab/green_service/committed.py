"""Tables of the committed studies, read once: every effect of a lever comes from one of them or from a fact."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd

from greenlab.core import studies
from greenlab.core.names import unknown

HERE = studies.STUDIES  # read at import


@lru_cache
def table(chapter: str, name: str) -> pd.DataFrame:
    """One table of a study, as it is committed; do not change it, as all readers share it."""
    return pd.read_csv(HERE / chapter / f"{name}.csv")


@lru_cache
def _figures(chapter: str) -> dict[str, tuple[float, str, str]]:
    rows = table(chapter, "figures").to_dict("records")
    return {str(row["name"]): (float(row["value"]), str(row["unit"]), str(row["basis"])) for row in rows}


def figure(chapter: str, name: str) -> float:
    """One figure of a study by its name, in its unit.

    >>> figure("layer_pruning", "accuracy-0")
    95.0893

    Raises:
        ValueError: if the study has no such figure.
    """
    found = _figures(chapter)
    if name not in found:
        raise unknown(f"figure of {chapter}", name, found)
    return found[name][0]
