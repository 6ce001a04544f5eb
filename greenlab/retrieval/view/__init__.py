"""Chapter 8 as the reader sees it: its charts, the cost of context, the map of the book, and "ask this book"."""

from greenlab.retrieval.view import exercises  # noqa: F401 - registers the exercises
from greenlab.retrieval.view.ask import answer_page, ask_widget, map_widget
from greenlab.retrieval.view.charts import (
    hostile_chart,
    joules_chart,
    lengths_chart,
    map_chart,
    map_twin,
    passages_chart,
    rungs_chart,
    ways_chart,
)
from greenlab.retrieval.view.context import (
    context_cost,
    context_table,
    context_twin,
    context_widget,
    joules_range,
    scaling_check,
    times_the_bare_answer,
)
from greenlab.retrieval.view.listing import answers_table, hostile_table, joules_in_words, search_table, two_digits

__all__ = ["answer_page", "ask_widget", "map_widget"]
__all__ += ["hostile_chart", "joules_chart", "lengths_chart", "map_chart", "map_twin", "passages_chart", "rungs_chart"]
__all__ += ["ways_chart"]
__all__ += ["context_cost", "context_table", "context_twin", "context_widget", "joules_range", "scaling_check"]
__all__ += ["times_the_bare_answer"]
__all__ += ["answers_table", "hostile_table", "joules_in_words", "search_table", "two_digits"]
