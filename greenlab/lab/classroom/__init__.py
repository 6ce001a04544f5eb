"""A class: submissions that a teacher can check, and what a class found out together.

``python -m greenlab submit`` packs a reader's work into one file (``submission``), ``python -m greenlab grade FOLDER``
reads the files of a class (``folder``) and checks their answers (``grading``), each in a confined process of its own
(``process``, ``launch``, ``parent``, ``runner``, ``confine``, ``wire``).
``results`` shows answers, calibration and energies of a class.
"""

from greenlab.lab.classroom.answers import Answer, from_cell, from_notebooks
from greenlab.lab.classroom.folder import read_folder
from greenlab.lab.classroom.grading import containment, grade, grade_folder, verdict
from greenlab.lab.classroom.printable import safe_cells
from greenlab.lab.classroom.process import Limits
from greenlab.lab.classroom.results import (
    answers_chart,
    calibration,
    calibration_chart,
    energies,
    energy_chart,
    shares_right,
    spreads,
)
from greenlab.lab.classroom.submission import Refused, Submission, collect, from_bytes, read, to_bytes

__all__ = ["Answer", "Limits", "Refused", "Submission", "collect", "from_bytes", "from_cell", "from_notebooks"]
__all__ += ["containment", "grade", "grade_folder", "read", "read_folder", "safe_cells", "to_bytes", "verdict"]
__all__ += ["answers_chart", "calibration", "calibration_chart", "energies", "energy_chart", "shares_right", "spreads"]
