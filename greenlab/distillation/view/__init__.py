"""Chapter 4 as the reader sees it: its charts, its widgets, and its exercises."""

from greenlab.distillation.view import exercises  # noqa: F401 - registers the exercises
from greenlab.distillation.view.break_even import break_even_twin, break_even_widget, paid_after, teacher_training_j
from greenlab.distillation.view.charts import (
    account_chart,
    ends_chart,
    gap_chart,
    gradient_chart,
    size_chart,
    sweep_chart,
    training_chart,
    writing_chart,
)
from greenlab.distillation.view.soft_targets import next_logits, soft_widget, token_chart, token_table

__all__ = ["account_chart", "break_even_twin", "break_even_widget", "ends_chart", "gap_chart", "gradient_chart"]
__all__ += ["next_logits", "paid_after", "size_chart", "soft_widget", "sweep_chart", "teacher_training_j"]
__all__ += ["token_chart", "token_table", "training_chart", "writing_chart"]
