"""Pages of the workshop kit under the rules of the notebooks' prose: each number is a link to its source.

Free beside that: the times of a plan (minutes, hours, days, weeks), the numbers of exercises, and versions.
"""

import re

from tests import notebook_rules as rules

PLANNED = re.compile(
    r"\b[Mm]inutes \d+ to \d+|\b\d+ to \d+(?= *\|)|\b\d+-(?:minute|week)|\b\d+ minutes\b"
    r"|\bexercises? \d(?: and \d)?|\bPython 3\.11 to 3\.14|\bchapters? [\d, ]+(?:(?:and|or|to) \d+)?|^\| \d+ [A-Z]",
    re.M,
)


def violations(text: str) -> list[str]:
    """What the rules of the notebooks find in a page of Markdown."""
    notebook = {"cells": [{"cell_type": "markdown", "source": text, "metadata": {}}], "metadata": {}}
    found = rules.facts_quoted_right(notebook) + rules.studies_quoted_right(notebook)
    notebook["cells"][0]["source"] = PLANNED.sub(" ", text)
    return found + rules.plain_numbers(notebook)
