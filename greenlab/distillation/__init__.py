"""Chapter 4, knowledge distillation: a small model learns from what a large one thinks of every token.

* ``divergences``: how far two distributions are from each other, three ways
* ``loss``: soft targets, and the loss of labels and teacher together, all rows at once or in chunks
* ``training``: the student's training with a teacher beside it, and what the teacher costs
"""

from greenlab.distillation.loss import LossSettings, distillation_loss, entropy, soft_targets
from greenlab.distillation.training import DistillationLoss, Distilled, distil, distillation_loss_fn

__all__ = ["LossSettings", "distillation_loss", "entropy", "soft_targets"]
__all__ += ["DistillationLoss", "Distilled", "distil", "distillation_loss_fn"]
