"""The book's chapters, in order: the one place where a chapter is registered.

A chapter has one name everywhere: ``notebooks/NN_<name>.ipynb``, ``greenlab/<name>/``, ``tests/<name>/`` and
``data/studies/<name>/``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Chapter:
    """One chapter: its number, its name in folders and files, and its title on the page."""

    number: int
    name: str
    title: str

    @property
    def notebook(self) -> str:
        """The file in ``notebooks/``, such as ``06_layer_pruning.ipynb``."""
        return f"{self.number:02d}_{self.name}.ipynb"


CHAPTERS = (
    Chapter(0, "start_here", "Start here"),
    Chapter(1, "footprint", "Footprint"),
    Chapter(2, "hardware", "Hardware"),
    Chapter(3, "mixture_of_experts", "Mixture of experts"),
    Chapter(4, "distillation", "Distillation"),
    Chapter(5, "mixture_of_depths", "Mixture of depths"),
    Chapter(6, "layer_pruning", "Layer pruning"),
    Chapter(7, "ternary", "Ternary weights"),
    Chapter(8, "retrieval", "Retrieval"),
    Chapter(9, "load_shifting", "Load shifting"),
    Chapter(10, "green_service", "Green service"),
)
