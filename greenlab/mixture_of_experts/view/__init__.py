"""Chapter 3 as the reader sees it: its charts, the widget of the crowd, and the one that routes a text."""

from greenlab.mixture_of_experts.view import exercises  # noqa: F401 - registers the exercises
from greenlab.mixture_of_experts.view.charts import (
    balance_chart,
    cost_chart,
    curves_chart,
    experts_chart,
    guess_chart,
    published_chart,
    published_table,
    use_chart,
)
from greenlab.mixture_of_experts.view.idea import choice_table, layer_picture
from greenlab.mixture_of_experts.view.measured import (
    crowd_twin,
    crowd_widget,
    layer_table,
    own_chart,
    saving_chart,
    saving_table,
)
from greenlab.mixture_of_experts.view.route import load_chart, route_widget, token_chart, token_table, with_choices

__all__ = ["balance_chart", "cost_chart", "curves_chart", "experts_chart", "guess_chart", "published_chart"]
__all__ += ["published_table", "use_chart"]
__all__ += ["choice_table", "layer_picture"]
__all__ += ["crowd_twin", "crowd_widget", "layer_table", "own_chart", "saving_chart", "saving_table"]
__all__ += ["load_chart", "route_widget", "token_chart", "token_table", "with_choices"]
