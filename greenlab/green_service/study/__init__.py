"""Chapter 10's tables: what charts draw, levers measured together on this machine, and two other calculators.

``python -m greenlab.green_service.study`` computes the default service in EcoLogits and mlsysim again and writes
data/studies/green_service; `load` reads the committed tables.
"""

from __future__ import annotations

import pandas as pd

from greenlab.green_service import peers
from greenlab.green_service.study.live import Combined, best_hour_saving, measure_together

__all__ = ["Combined", "best_hour_saving", "load", "measure_together"]


def load() -> dict[str, pd.DataFrame]:
    """The committed tables: ``peers``, the figures of two calculators, and ``peers_gap``, the steps from ours."""
    figures, gap = peers.load()
    return {"peers": figures, "peers_gap": gap}
