"""The charts and widgets of chapter 10."""

from __future__ import annotations

from greenlab.green_service.view import exercises  # noqa: F401 - registers the exercises
from greenlab.green_service.view.cards import CardDesk
from greenlab.green_service.view.charts import (
    alone_chart,
    bits_twin,
    combined_chart,
    gap_chart,
    parts_chart,
    rebound_chart,
    waterfall_chart,
)
from greenlab.green_service.view.designer import Designer
from greenlab.green_service.view.detector import Detector
from greenlab.green_service.view.ledgers import defaults

__all__ = [
    "CardDesk",
    "Designer",
    "Detector",
    "alone_chart",
    "bits_twin",
    "defaults",
    "gap_chart",
    "parts_chart",
    "rebound_chart",
]
__all__ += ["combined_chart", "waterfall_chart"]
