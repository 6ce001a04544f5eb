"""Docstrings of the package as reStructuredText: code blocks without a double colon, and stray line breaks.

The docstrings are written to be read in a terminal. Three habits of theirs would be misread: an indented block of code
after an empty line, a line that is indented further than the sentence that it goes on with, and bars and underscores
at a symbol.
"""

from __future__ import annotations

import re

_SECTION = re.compile(r"^\s*(Args|Attributes|Returns|Yields|Raises|Example|Examples|Note):\s*$")
_LIST = re.compile(r"^\s*([*-]|\d+\.)\s")
_MARKS = re.compile(r"(``[^`]*``|`[^`]*`)|\||(?<=\w)_(?!\w)")


def tidy(lines: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText reads them; sections such as ``Args`` are left to napoleon.

    >>> tidy(["Meter.", "", "    with measure():", "        work()", "", "It adds", "    up."])
    ['Meter.', '', '::', '', '    with measure():', '        work()', '', 'It adds', 'up.']
    """
    return _escaped(_prose(lines))


def _prose(lines: list[str]) -> list[str]:
    found: list[str] = []
    code = False
    for place, line in enumerate(lines):
        if _SECTION.match(line):
            return found + _sections(lines[place:])
        before = found[-1] if found else ""
        deeper = _indent(line) > _indent(before)
        if not line.strip() or (code and line.startswith("    ")):
            found.append(line)
        elif not before.strip() and line.startswith("    ") and found and not _is_list(found):
            code = True
            found += ["::", "", line]
        else:
            code = False
            if before.strip() and deeper and not _LIST.match(before) and not _in_list(found):
                line = " " * _indent(before) + line.strip()
            if _LIST.match(line) and before.strip() and not _in_list(found):
                found.append("")
            found.append(line)
    return found


def _sections(lines: list[str]) -> list[str]:
    """The sections of a docstring; what is returned is prose, and may have stray line breaks as well."""
    found: list[str] = []
    section = ""
    for line in lines:
        if header := _SECTION.match(line):
            section = header[1]
        before = found[-1] if found else ""
        stray = section in ("Returns", "Yields") and before.strip() and _indent(line) > _indent(before)
        if stray and not _SECTION.match(before) and not _in_list(found):
            line = " " * _indent(before) + line.strip()
        found.append(line)
    return found


def _escaped(lines: list[str]) -> list[str]:
    """Bars and final underscores escaped, which would be read as references; code stays as it is."""
    found, code = [], False
    for place, line in enumerate(lines):
        if not line.strip():
            code = code and place + 1 < len(lines) and lines[place + 1].startswith("    ")
        elif line.lstrip().startswith(">>>") or (line == "::"):
            code = True
        found.append(line if code else _MARKS.sub(lambda match: match[1] or f"\\{match[0]}", line))
    return found


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _in_list(lines: list[str]) -> bool:
    """Whether the paragraph that is being read belongs to a list."""
    for line in reversed(lines):
        if not line.strip():
            return False
        if _LIST.match(line):
            return True
    return False


def _is_list(lines: list[str]) -> bool:
    return _in_list([line for line in lines if line.strip()][-3:])


def process(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Sphinx's hook: change the lines in place."""
    lines[:] = tidy(lines)
