"""Markdown as plain text: headings with the paragraphs below them, and a paragraph without its marks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from greenlab.core import checks

_HTML = re.compile(
    r"<!--.*?-->|</?(?:a|b|br|center|code|details|div|em|figure|h[1-6]|hr|i|iframe|img|kbd|li|ol|p|pre|small|span|strong"
    r"|sub|summary|sup|table|tbody|td|th|thead|tr|u|ul|video)(?:\s+(?:open|hidden|controls|[\w:-]+\s*=\s*"
    r"(?:\"[^\"]*\"|'[^']*'|[^\s\"'<>]+)))*\s*/?>",
    re.S | re.I,
)
_MARKDOWN_LINK = re.compile(r"!?\[([^\]]*)\]\(<?[^()\s]*(?:\([^()]*\)[^()\s]*)*>?(?:\s+\"[^\"]*\")?\)")


def plain_text(markdown: str) -> str:
    """Take the marks of Markdown out of a paragraph and leave its words: links, emphasis, code marks, HTML.

    >>> plain_text("It saves [1.20 x](../data/studies/README.md#a.b), **not** `more`.")
    'It saves 1.20 x, not more.'

    Raises:
        TypeError: if ``markdown`` is no text.
    """
    text = re.sub(r"\$\$.*?\$\$", " ", checks.text("markdown", markdown), flags=re.S)  # formulas on a line of their own
    text = re.sub(r"\$(?=\S)([^$\n]+?)(?<=\S)\$(?!\d)", r"\1", text)  # formulas in a line keep their letters
    text = _MARKDOWN_LINK.sub(r"\1", text)
    text = _HTML.sub(" ", text)  # of a known name: in "if n <N and M> 3" nothing is HTML
    emphasis = r"(?<!\w)(?!__[a-z0-9_]+__(?!\w))(\*\*|__|\*|_)(?=\S)(.+?)(?<=\S)\1(?!\w)"  # __init__ is a name
    text = re.sub(emphasis, r"\2", text, flags=re.S)
    text = text.replace("**", "").replace("`", "")
    return " ".join(text.split())


def sections(markdown: str) -> Iterator[tuple[int, str, list[str]]]:
    r"""Heading level, heading and the paragraphs below it; level 0 for what stands before the first heading.

    Code is left out, a table gives one sentence a row, and an item of a list is a paragraph of its own.

    >>> list(sections("Tea.\n# How\nBoil **it**.\n- Wait"))
    [(0, '', ['Tea.']), (1, 'How', ['Boil it.', 'Wait.'])]

    Raises:
        TypeError: if ``markdown`` is no text.
    """
    level, heading, block, blocks, fenced = 0, "", [], [], False  # type: int, str, list[str], list[str], bool
    in_list = False

    def paragraph() -> None:
        text = plain_text("\n".join(block))
        block.clear()
        if re.search(r"\w", text):
            blocks.append(text if re.search(r"[.!?:]\W*$", text) else f"{text}.")

    for line in [*checks.text("markdown", markdown).splitlines(), ""]:
        if line.lstrip().startswith("```"):
            paragraph()
            fenced = not fenced
        elif fenced:  # code is shown by the book, not answered from
            continue
        elif found := re.match(r"(#{1,6})\s+(.*?)\s*#*$", line):
            paragraph()
            if blocks:
                yield level, heading, blocks
            level, heading, blocks = len(found[1]), plain_text(found[2]), []
        elif re.match(r"\s*\|", line):  # a table: one sentence a row
            paragraph()
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not all(re.fullmatch(r":?-*:?", cell) for cell in cells):
                block.append(f"{cells[0]}: {'; '.join(cells[1:])}" if len(cells) > 1 else cells[0])
                paragraph()
        elif not line.strip():
            paragraph()
        elif (found := re.match(r"\s*(?:[-*+]|(\d{1,3})[.)])\s+(.*)", line)) and (
            # a number other than 1 that starts a line within a paragraph ends a sentence (CommonMark, sec. 5.2)
            in_list or not block or found[1] in (None, "1")
        ):
            paragraph()
            block.append(found[2])
            in_list = True
        else:
            in_list = in_list and bool(block)
            block.append(re.sub(r"^(?:\s*>(?!=))*\s*", "", line))  # a quotation, and no ">= 64"
    paragraph()
    if blocks:
        yield level, heading, blocks
