"""Chapter 5 as the reader sees it: its charts, its widgets on a trained model, and its exercises."""

from greenlab.mixture_of_depths.view import exercises  # noqa: F401 - registers the exercises
from greenlab.mixture_of_depths.view.budget import budget_widget
from greenlab.mixture_of_depths.view.charts import (
    frontier_chart,
    kind_chart,
    layers_twin,
    mode_chart,
    prompt_chart,
)
from greenlab.mixture_of_depths.view.tokens import (
    leak_chart,
    leak_explorer,
    leak_table,
    map_explorer,
    map_table,
    past_change,
    token_map,
)

__all__ = ["budget_widget", "frontier_chart", "kind_chart", "layers_twin", "leak_chart", "leak_explorer", "leak_table"]
__all__ += ["map_explorer", "map_table", "mode_chart", "past_change", "prompt_chart", "token_map"]
