"""The book's chapters, in order: the one place where a chapter is registered.

A chapter has one name everywhere: ``notebooks/NN_<name>.ipynb``, ``greenlab/<name>/``, ``tests/<name>/`` and
``data/studies/<name>/``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from greenlab.core import checks


@dataclass(frozen=True)
class Chapter:
    """One chapter: its number, its name in folders and files, and its title on the page.

    Raises:
        TypeError: if the number is no whole number, or a name no text.
        ValueError: if the number or a name is out of range.
    """

    number: int
    name: str
    title: str

    def __post_init__(self) -> None:
        checks.integer("number", self.number, low=0, high=99, remedy="the notebook's name has two digits")
        for name, value in (("name", self.name), ("title", self.title)):
            if not isinstance(value, str):
                raise TypeError(f"{name}={value!r} is {type(value).__name__}: give text")
        if not re.fullmatch("[a-z]+(_[a-z]+)*", self.name):
            raise ValueError(f"name={self.name!r}: give small letters and single underscores, as in layer_pruning")
        if not self.title.strip():
            raise ValueError(f"title={self.title!r}: give the chapter's title on the page")

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
