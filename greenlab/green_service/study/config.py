"""What the healing and the answers of chapter 10's study depend on; the study's own settings add to it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from greenlab.distillation.study.healing import HealingConfig


@dataclass(frozen=True)
class Config:
    """How SmolLM2 is cut and healed, and how it is asked.

    Attributes:
        n_removed: layers that are cut out.
        rank: of the adapters while they are trained.
        steps: updates of the healing.
        batch_size: windows in a step.
        learning_rate: the highest one.
        ridge: of the refitted matrix.
        frozen_layers: the first layers, which no adapter changes.
        healing: texts that the whole model writes, and what is kept of its answers (chapter 4).
        passage_tokens: length of the book's passages, as in chapter 8.
        n_new_tokens: longest answer [tokens], as in chapter 8.
        chunk: questions of a step.
        seed: of the adapters' first values and the order of the windows.
    """

    n_removed: int = 6
    rank: int = 14
    steps: int = 160
    batch_size: int = 4
    learning_rate: float = 1e-3
    ridge: float = 0.1
    frozen_layers: int = 10
    healing: HealingConfig = field(default_factory=lambda: dataclasses.replace(HealingConfig(), runs=()))
    passage_tokens: int = 200
    n_new_tokens: int = 32
    chunk: int = 9
    seed: int = 0
