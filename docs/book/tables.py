"""The pages of facts and studies: each table and each study of data/*/README.md becomes a page of its own."""

from __future__ import annotations

import re
from dataclasses import dataclass

from docs.book.links import FACTS, STUDIES
from greenlab.core import facts

_ANCHOR = re.compile(r'<a id="(?P<cell>[^"]+)"></a>|^## (?P<heading>[\w.-]+)$', re.M)
_MARKUP = re.compile(r"<[^>]+>|\*\*|`|\\(?=[^\w\s])|\[([^\]]*)\]\([^)]*\)")
FOLDERS = {FACTS: "facts", STUDIES: "studies"}


@dataclass(frozen=True)
class Page:
    """A page of the site that is made from part of a README.

    Attributes:
        name: where it stands, such as ``facts/constants``.
        text: its Markdown.
        source: the file that it comes from, by which its links are read.
    """

    name: str
    text: str
    source: str


def split(source: str, text: str) -> list[Page]:
    r"""A README of data as pages: what stands before the first section, and each section.

    Args:
        source: the file, from the repository's root.
        text: its Markdown.

    >>> [page.name for page in split("data/facts/README.md", "# Facts\n\n## claims\n\nOne.\n")]
    ['facts/index', 'facts/claims']
    """
    folder = FOLDERS[source]
    head, *sections = re.split(r"^## ", text, flags=re.M)
    pages = [Page(f"{folder}/index", head, source)]
    for section in sections:
        title, _, body = section.partition("\n")
        # a heading is its own anchor: one inside it would stand inside its link in the table of contents
        body = re.sub(r'^### (?:<a id="[^"]+"></a>)?', "## ", body, flags=re.M)
        heading = title.strip().replace("_", " ").replace("-", " ").capitalize()
        pages.append(Page(f"{folder}/{title.strip()}", f"# {heading}\n{body}", source))
    return pages


def _anchors_in(text: str) -> list[str]:
    return [found["cell"] or found["heading"] for found in _ANCHOR.finditer(text)]


def anchors(pages: list[Page]) -> dict[str, str]:
    """The page of every anchor."""
    return {anchor: page.name for page in pages for anchor in _anchors_in(page.text)}


class Notes:
    """What is said of a fact or a figure beside its link: the number, its source, its date and how surely it is known.

    Args:
        pages: the pages of facts and studies.
    """

    def __init__(self, pages: list[Page]) -> None:
        self._lines = {
            anchor: (page, line) for page in pages for line in page.text.splitlines() for anchor in _anchors_in(line)
        }
        self._said: dict[str, str] = {}

    def __getitem__(self, anchor: str) -> str:
        if anchor not in self._said:  # only what is linked is worked out: there are thousands of figures
            page, line = self._lines[anchor]
            self._said[anchor] = _figure(page, line) if page.name.startswith("studies/") else _fact(anchor, line)
        return self._said[anchor]


def _plain(text: str) -> str:
    return _MARKUP.sub(lambda match: match[1] or "", text).strip()


def _figure(page: Page, line: str) -> str:
    name, value, unit, basis, note = ([_plain(cell) for cell in re.split(r"(?<!\\)\|", line)[1:-1]] + [""] * 5)[:5]
    run = re.search(r"^Run on ([\d-]+) \(([^;)]*)", page.text, re.M)
    where = f" Our run of {run[1]} on {run[2]}." if run else ""
    return f"{name}: {value} {unit}, {basis}" + (f" ({note})" if note else "") + f".{where}"


def _fact(anchor: str, line: str) -> str:
    try:
        fact = facts.fact(anchor)
    except ValueError:  # a row of a wide table, which is no number
        return _plain(line.lstrip("#| ").replace("|", ", "))[:200]
    ends = [f"{end:g}" for end in (fact.low, fact.high) if end is not None]
    spread = f" ({' to '.join(ends)})" if len(set(ends)) == 2 else ""
    number = f"{fact.text} {fact.unit}".strip()
    scope = f", scope: {fact.scope}" if fact.scope else ""
    return f"{fact.name.rstrip('.')}: {number}{spread}{scope}. {fact.source}, {fact.date}; {fact.confidence}."
