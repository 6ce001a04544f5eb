"""Side roads: sections of a chapter that stand folded, so that the main road fits into 45 minutes.

The heading of a side road is a markdown cell with the tag ``side-road``, and with Lab's own mark of a folded section.
As Lab folds it, the section runs to the next heading of the same or a higher level.
"""

from __future__ import annotations

import re
from typing import Any

TAG = "side-road"
FOLDED = "jp-MarkdownHeadingCollapsed"
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.M | re.S)
_HEADING = re.compile(r"^ {0,3}(#{1,6})\s+\S", re.M)


def heading_level(cell: Any) -> int:
    r"""The level of the highest heading in a cell of a notebook, by which Lab folds; 0 without one.

    Args:
        cell: a cell as nbformat's JSON has it.

    Raises:
        TypeError: if it is no cell of a notebook.

    >>> heading_level({"cell_type": "markdown", "source": "### Side road: by hand\n\nThree tokens."})
    3
    """
    if not isinstance(cell, dict) or not isinstance(cell.get("source"), (str, list)):
        raise TypeError(f"cell={cell!r:.80} is no cell of a notebook: give a dict with cell_type and source")
    if cell.get("cell_type") != "markdown":
        return 0
    text = _FENCE.sub("", "".join(cell["source"]))
    return min((len(marks) for marks in _HEADING.findall(text)), default=0)


def side_roads(notebook: Any) -> list[range]:
    """The places of the cells of each side road, its heading first.

    Args:
        notebook: a notebook as nbformat's JSON has it.

    Raises:
        TypeError: if it is no notebook.
    """
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise TypeError(f"notebook={notebook!r:.80} is no notebook: give nbformat.read(path, as_version=4)")
    levels = [heading_level(cell) for cell in notebook["cells"]]
    found = []
    for start, cell in enumerate(notebook["cells"]):
        if TAG in cell.get("metadata", {}).get("tags", []):
            ends = (i for i in range(start + 1, len(levels)) if 0 < levels[i] <= (levels[start] or 6))
            found.append(range(start, next(ends, len(levels))))
    return found
