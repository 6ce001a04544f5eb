"""Where the files of the repository stand on the site, and the links between pages.

A chapter links to ``../data/facts/README.md#iea-dc-2025``; on the site each table of facts and each study has a page of
its own, so that a reader does not load all of them for one number.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import Protocol

FACTS, STUDIES = "data/facts/README.md", "data/studies/README.md"
LINK = re.compile(r"(?<![!\\])\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(<?([^)\s<>]+)>?\)")
_CODE = re.compile(r"(^(?:```|~~~).*?^(?:```|~~~)[ \t]*$|`[^`\n]*`)", re.M | re.S)
_OUTSIDE = re.compile(r"^[a-z][\w+.-]*:", re.I)

INSTRUCTOR = "notebooks/INSTRUCTOR.md"
FILES = "_static/files"  # where files stand that are no pages


def place(path: str) -> str | None:
    """The page that a file of the repository becomes; None for a file that is no page.

    >>> place("data/grid/README.md"), place("notebooks/RUBRICS.md"), place("notebooks/06_layer_pruning.ipynb")
    ('data/grid', 'instructor/rubrics', 'chapters/06_layer_pruning')
    """
    if path in (FACTS, STUDIES):
        return f"{path.split('/')[1]}/index"
    if path in ("README.md", "data/README.md"):
        return path.lower().replace("readme.md", "index")
    if found := re.fullmatch(r"data/(\w+)/README\.md", path):
        return f"data/{found[1]}"
    if found := re.fullmatch(r"notebooks/(\w+)\.md", path):
        return "instructor/index" if path == INSTRUCTOR else f"instructor/{found[1].lower()}"
    if found := re.fullmatch(r"notebooks/(\d\d_\w+)\.ipynb", path):
        return f"chapters/{found[1]}"
    return None


class SupportsNote(Protocol):
    """Gives the note of an anchor."""

    def __getitem__(self, anchor: str, /) -> str: ...


class Places:
    """Knows the page of every file, and the page of every fact and figure.

    Args:
        anchors: the page of each anchor: of ``iea-dc-2025`` it may be ``facts/constants``.
        notes: what is said of each anchor beside a link to it.
        root: the repository; files of it that are no pages are copied when a page links to them.

    Attributes:
        files: the files to copy, from the repository's root.
    """

    def __init__(
        self, anchors: dict[str, str] | None = None, notes: SupportsNote | None = None, root: Path | None = None
    ) -> None:
        self.anchors, self.notes, self.root = dict(anchors or {}), notes or {}, root
        self.files: set[str] = set()

    def page(self, target: str, source: str) -> str | None:
        """The address on the site of what a page of the repository links to, without ``.html``; None if it has no page.

        Args:
            target: the link as written.
            source: the file that has it, from the repository's root.

        >>> Places({"iea-dc-2025": "facts/constants"}).page("../data/facts/README.md#iea-dc-2025", "notebooks/a.ipynb")
        'facts/constants#iea-dc-2025'
        >>> Places().page("06_layer_pruning.ipynb", "notebooks/00_start_here.ipynb")
        'chapters/06_layer_pruning'
        >>> Places().page("00_start_here.ipynb#cell-id=30", "notebooks/a.ipynb")
        'chapters/00_start_here#cell-30'
        """
        if _OUTSIDE.match(target) or target.startswith("#"):
            return None
        name, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), name))
        if path in (FACTS, STUDIES) and anchor:
            if anchor not in self.anchors:
                raise ValueError(f"{source} links {target}, and no table has {anchor!r}: see data/facts, data/studies")
            return f"{self.anchors[anchor]}#{anchor}"
        anchor = re.sub(r"^cell-id=", "cell-", anchor)  # as Lab names the cells of a notebook
        page = place(path)
        return page + (f"#{anchor}" if anchor else "") if page else None

    def address(self, target: str, source: str, page: str) -> str | None:
        """The link from a page of the site; None if the target is outside, or has no page.

        >>> Places().address("../data/README.md", "notebooks/a.ipynb", "chapters/a")
        '../data/index.html'
        """
        found = self.page(target, source)
        here = posixpath.dirname(page) or "."
        if found is None:
            file = self._file(target, source)
            return posixpath.relpath(f"{FILES}/{file}", here) if file else None
        name, _, anchor = found.partition("#")
        return f"{posixpath.relpath(name, here)}.html" + (f"#{anchor}" if anchor else "")

    def _file(self, target: str, source: str) -> str | None:
        """A file of the repository that a link names and that is no page; it is noted, to be copied."""
        if self.root is None or _OUTSIDE.match(target) or target.startswith(("#", "/")):
            return None
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target.partition("#")[0]))
        if path.startswith("..") or not (self.root / path).is_file():
            return None
        self.files.add(path)
        return path


def _note(address: str, places: Places) -> str:
    """The attributes of a link to a fact or a figure: its note, which the page shows beside it."""
    anchor = address.partition("#")[2]
    if anchor not in places.anchors:
        return ""
    return f' class="fact" data-note="{html.escape(places.notes[anchor], quote=True)}"'


def relink(text: str, places: Places, source: str, page: str) -> str:
    """Markdown with links that lead to pages of the site; those to facts and figures are marked, for their notes.

    Args:
        text: Markdown of the repository.
        places: where everything stands.
        source: the file of the text, from the repository's root.
        page: the page that it becomes.

    >>> relink("See [the data](../data/README.md).", Places(), "notebooks/a.ipynb", "chapters/a")
    'See <a href="../data/index.html">the data</a>.'
    """

    def to(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        address = places.address(target, source, page)
        if address is None:
            return match[0]
        return f'<a{_note(address, places)} href="{html.escape(address)}">{words}</a>'

    parts = _CODE.split(text)  # every second part is code, which stays as it is
    return "".join(part if place % 2 else LINK.sub(to, part) for place, part in enumerate(parts))
