"""Chapter 2 as the reader sees it: everything the notebook takes, from one place."""

from __future__ import annotations

from greenlab.hardware.view import exercises  # noqa: F401 - registers the exercises
from greenlab.hardware.view.charts import all_roofs, chips_chart, energy_chart, energy_table, own_roof, published_chart
from greenlab.hardware.view.claims import chips_table, claims_table
from greenlab.hardware.view.measured import (
    bound_errors,
    bound_table,
    context_chart,
    measured_chart,
    measured_table,
    served_table,
    token_twin,
    token_widget,
    zeros_chart,
    zeros_table,
)
from greenlab.hardware.view.widgets import roofline_twin, roofline_widget, systolic_twin, systolic_widget

__all__ = ["all_roofs", "chips_chart", "energy_chart", "energy_table", "own_roof", "published_chart"]
__all__ += ["roofline_twin", "roofline_widget", "systolic_twin", "systolic_widget"]
__all__ += ["chips_table", "claims_table"]
__all__ += [
    "bound_errors",
    "bound_table",
    "context_chart",
    "measured_chart",
    "measured_table",
    "served_table",
    "token_twin",
    "token_widget",
]
__all__ += ["zeros_chart", "zeros_table"]
