"""Chapter 4, knowledge distillation: a small model learns from what a large one thinks of every token.

* ``divergences``: how far two distributions are from each other, three ways
* ``loss``: soft targets, and the loss of labels and teacher together, all rows at once or in chunks
* ``hidden``: the same from hidden states, so that the logits of a large vocabulary never exist together
* ``training``: the student's training with a teacher beside it, and what the teacher costs
* ``texts``: what the teacher wrote to learn from, and what the student writes as it learns
* ``cached``: a teacher that is asked once, its likeliest tokens kept
* ``break_even``: the share of the gap that is closed, and the queries after which the energy has come back
"""

from greenlab.distillation.break_even import (
    BreakEven,
    break_even_queries,
    break_even_range,
    distillation_energy,
    gap_closed,
)
from greenlab.distillation.cached import TopLogits, top_k_loss, top_logits, top_of
from greenlab.distillation.hidden import hidden_distillation_loss
from greenlab.distillation.loss import LossSettings, distillation_loss, entropy, soft_targets
from greenlab.distillation.texts import on_policy_batches, write_texts
from greenlab.distillation.training import DistillationLoss, Distilled, distil, distillation_loss_fn

__all__ = ["LossSettings", "distillation_loss", "entropy", "hidden_distillation_loss", "soft_targets"]
__all__ += ["DistillationLoss", "Distilled", "distil", "distillation_loss_fn"]
__all__ += ["TopLogits", "top_k_loss", "top_logits", "top_of"]
__all__ += ["on_policy_batches", "write_texts"]
__all__ += ["BreakEven", "break_even_queries", "break_even_range", "distillation_energy", "gap_closed"]
