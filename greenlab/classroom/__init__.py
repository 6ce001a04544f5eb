"""A class on one machine: how much memory each learner takes when all of them work at once.

What a learner hands in and how it is graded is another matter, and is in `greenlab.lab.classroom`.

* ``memory``: what a process holds for itself, and what it shares with others that map the same files
* ``load``: start kernels side by side, let them run the first half of chapter 6, and look at each
* ``study``: the committed run of it; ``notebooks/JUPYTERHUB.md`` quotes its figures
"""

from greenlab.classroom.load import Learner, code_cells, run_class
from greenlab.classroom.memory import Memory, memory_of, own_of, parse

__all__ = ["Learner", "Memory", "code_cells", "memory_of", "own_of", "parse", "run_class"]
