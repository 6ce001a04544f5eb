"""The workshop kit: what an instructor needs beside the chapters.

``questions`` reads the quiz, ``student`` writes the notebooks without solutions; the quiz on the page, the slides and
the length of the sections are in ``view``, since they display something.
"""

from greenlab.workshop.questions import Option, Question, questions
from greenlab.workshop.student import stripped, write_student

__all__ = ["Option", "Question", "questions", "stripped", "write_student"]
