"""The texts that are searched: this book in passages, each with a link to the place that it comes from.

A passage is a few sentences of one section. It keeps the section's heading, as a sentence alone often does not say what
it is about. Facts are passages too: each row of data/facts is written out as sentences, with a link to the row.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.core.chapters import CHAPTERS
from greenlab.core.facts import schema
from greenlab.core.machine import ROOT
from greenlab.core.names import unknown
from greenlab.retrieval.facts_text import TABLES, fact_name, fact_text
from greenlab.retrieval.markdown import sections

PASSAGE_TOKENS, OVERLAP = 200, 0  # the half for tuning chose the length (data/studies/retrieval/choices.csv)
CONTINUED = " (continued): "  # between the name of a row of the facts and a further passage of it
OWN_CHAPTER = "retrieval"  # left out by default: a change of its text would change its own results
_TOKEN = re.compile(r"\w+|[^\w\s]")
_SENTENCE_END = re.compile(r"[.!?]([\"'”’)*_]*)\s+(?=[\"'“‘(\[*_]*[A-Z0-9])")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|al|eq|sec|fig|cf|vs|approx|no|p)|(?<!\d )\b[A-Z])\.$")


@dataclass(frozen=True)
class Passage:
    """A piece of text that a search can find.

    Args:
        text: the words, on one line.
        source: the file that it comes from, such as ``notebooks/06_layer_pruning.ipynb``.
        link: where it stands, as a chapter links to it: ``06_layer_pruning.ipynb#cell-id=18``, or a row of the facts.
        title: the chapter's and the section's heading; empty if there is none.

    Raises:
        TypeError: if an argument is no text.
        ValueError: if ``text`` or ``source`` has no word in it.
    """

    text: str
    source: str
    link: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        for name in ("text", "source", "link", "title"):
            checks.text(name, getattr(self, name))
        for name in ("text", "source"):
            if not getattr(self, name).strip():
                raise ValueError(f"{name} is empty: give a text with at least one word")

    @property
    def with_title(self) -> str:
        """What the indexes read: the title, then the text."""
        return f"{self.title}: {self.text}" if self.title else self.text


def count_tokens(text: str) -> int:
    """Count words and punctuation marks; the tokenizer of a model gives about a third more.

    >>> count_tokens("A token costs 0.431 J.")
    8

    Raises:
        TypeError: if ``text`` is no text.
    """
    return len(_TOKEN.findall(checks.text("text", text)))


def sentences(text: str) -> list[str]:
    """Split a paragraph after full stops, question and exclamation marks; no word is cut.

    >>> sentences("Read it twice. It costs 3.11 J! Does it?")
    ['Read it twice.', 'It costs 3.11 J!', 'Does it?']

    Raises:
        TypeError: if ``text`` is no text.
    """
    words, found, start = " ".join(checks.text("text", text).split()), [], 0
    for end in _SENTENCE_END.finditer(words):
        if not _ABBREVIATION.search(words, start, end.start() + 1):
            found.append(words[start : end.end(1)])
            start = end.end()
    return [*found, words[start:]] if words[start:] else found


def _pieces(sentence: str, limit: int) -> list[str]:
    """A sentence in pieces of at most ``limit`` tokens, cut between words; a longer word stays whole."""
    if count_tokens(sentence) <= limit:
        return [sentence]
    limit = math.ceil(count_tokens(sentence) / math.ceil(count_tokens(sentence) / limit))  # pieces of equal size
    pieces, piece, size = [], [], 0  # type: list[str], list[str], int
    for word in sentence.split():
        tokens = count_tokens(word)
        if piece and size + tokens > limit:
            pieces.append(" ".join(piece))
            piece, size = [], 0
        piece.append(word)
        size += tokens
    return [*pieces, " ".join(piece)]


def _pack(parts: list[tuple[str, str]], limit: int, overlap: int) -> Iterator[tuple[str, str]]:
    """Join sentences with their links to passages of about equal size: (text, link of its first sentence)."""
    sizes = [count_tokens(text) for text, _ in parts]
    n_passages = math.ceil(sum(sizes) / limit)
    if n_passages > 1:  # otherwise the last passage of a section would often be a single sentence
        limit = min(limit, math.ceil(sum(sizes) / n_passages) + min(max(sizes), limit) // 2)
    held: list[tuple[str, str, int]] = []
    new = 0  # sentences in `held` that no passage has yet
    for text, link in parts:
        for piece in _pieces(text, limit):
            tokens = count_tokens(piece)
            if new and sum(size for *_, size in held) + tokens > limit:
                yield " ".join(part for part, *_ in held), held[-new][1]
                kept: list[tuple[str, str, int]] = []
                for part in reversed(held):  # the last sentences again, as many as the overlap and the new one allow
                    size = sum(one[2] for one in kept) + part[2]
                    if size > overlap or size + tokens > limit:
                        break
                    kept.insert(0, part)
                held, new = kept, 0
            held.append((piece, link, tokens))
            new += 1
    if new:
        yield " ".join(part for part, *_ in held), held[-new][1]


def _passages_of(cells: Iterable[tuple[str, str]], source: str, limit: int, overlap: int) -> Iterator[Passage]:
    """Passages of a document that is given as (Markdown, link) pieces. None reaches over a heading."""
    path: list[tuple[int, str]] = []
    open_parts: list[tuple[str, str]] = []

    def title() -> str:
        return ", ".join(heading for _, heading in path)

    def close() -> Iterator[Passage]:
        for text, link in _pack(open_parts, limit, overlap):
            yield Passage(text, source, link, title())
        open_parts.clear()

    for markdown, link in cells:
        for level, heading, blocks in sections(markdown):
            if heading:
                yield from close()
                short = heading.partition(":")[0] if level == 1 else heading  # "6 Layer pruning", without its question
                path[:] = [*[one for one in path if one[0] < level], (level, short)]
            open_parts += [(sentence, link) for block in blocks for sentence in sentences(block)]
    yield from close()


def _facts(limit: int) -> Iterator[Passage]:
    for table, title in TABLES.items():
        for row in schema.rows(table):
            link = f"../data/facts/README.md#{row[schema.key_of(table)]}"
            again = f"{fact_name(row)}{CONTINUED}"
            room = max(8, limit - count_tokens(again))
            parts = [(one, link) for one in sentences(fact_text(table, row))]
            for number, (part, _) in enumerate(_pack(parts, room, 0)):
                yield Passage(again * (number > 0) + part, f"data/facts/{table}.csv", link, title)


def _notebook_cells(path: Path) -> list[tuple[str, str]]:
    """Markdown cells of a notebook with a link to each; solutions are left out, as a search would give them away."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except OSError as error:
        raise ValueError(
            f"the chapter {path.name} cannot be read in {path.parent} ({error.strerror or error}): call this from a "
            "copy of the book that holds notebooks/, or use Corpus.from_texts"
        ) from error
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path.name} is not a notebook: restore it with git checkout") from error
    found = []
    for place, cell in enumerate(cells):
        if cell["cell_type"] != "markdown" or "solution" in cell.get("metadata", {}).get("tags", []):
            continue
        source = cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])
        found.append((source, f"{path.name}#cell-id={quote(str(cell.get('id', place)))}"))
    return found


@dataclass(frozen=True)
class Corpus:
    """Passages in a fixed order; a passage is named by its number.

    Args:
        passages: the pieces of text.

    Raises:
        TypeError: if ``passages`` is no list of `Passage`.
        ValueError: if there is none.
    """

    passages: tuple[Passage, ...]

    def __post_init__(self) -> None:
        held = tuple(checks.several("passages", self.passages, remedy="passages, as Corpus.from_texts makes them"))
        if not held:
            raise ValueError("passages is empty: a corpus needs at least one passage to search")
        for one in held:
            checks.instance("passages", one, Passage, remedy="Corpus.from_texts makes them from texts")
        object.__setattr__(self, "passages", held)

    def __len__(self) -> int:
        return len(self.passages)

    def __getitem__(self, number: int) -> Passage:
        return self.passages[checks.integer("number", number, low=0, high=len(self) - 1)]

    def __iter__(self) -> Iterator[Passage]:
        return iter(self.passages)

    @property
    def sha256(self) -> str:
        """Hash of all passages in their order: an index of another text is told by it."""
        parts = [[one.text, one.source, one.link, one.title] for one in self.passages]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def frame(self) -> pd.DataFrame:
        """One row a passage: passage (its number), title, text, source, link, tokens."""
        rows = [(i, p.title, p.text, p.source, p.link, count_tokens(p.text)) for i, p in enumerate(self.passages)]
        return pd.DataFrame(rows, columns=["passage", "title", "text", "source", "link", "tokens"])

    @classmethod
    def from_texts(
        cls, texts: Mapping[str, str], *, passage_tokens: int = PASSAGE_TOKENS, overlap: int = OVERLAP
    ) -> Corpus:
        """Split texts of your own, plain or Markdown, into passages.

        Args:
            texts: the texts by name.
            passage_tokens: words and punctuation marks in a passage, at most; at least 8. A longer word stays whole.
            overlap: of the end of a passage, repeated at the start of the next; less than ``passage_tokens``.

        Raises:
            TypeError: if ``texts`` is no dict of texts, or a number is no whole number.
            ValueError: if there is no word in them, or a number is out of range.

        >>> corpus = Corpus.from_texts({"tea": "Boil water. Wait three minutes."}, passage_tokens=8)
        >>> corpus[0].text, corpus[0].link
        ('Boil water. Wait three minutes.', 'tea')
        """
        limit, overlap = _sizes(passage_tokens, overlap)
        if not isinstance(texts, Mapping):
            raise TypeError(f"texts={texts!r:.80} is {type(texts).__name__}: give a dict of names and texts")
        found: list[Passage] = []
        for name, text in texts.items():
            if not isinstance(name, str) or not isinstance(text, str):
                raise TypeError(f"texts holds {name!r:.80}: {text!r:.80}: give names and texts, both as text")
            found += _passages_of([(text, name)], name or "text", limit, overlap)
        if not found:
            raise ValueError("texts holds no word: give at least one text with a sentence in it")
        return cls(tuple(found))

    @classmethod
    def from_book(
        cls,
        *,
        passage_tokens: int = PASSAGE_TOKENS,
        overlap: int = OVERLAP,
        chapters: Sequence[str] | None = None,
        facts: bool = True,
    ) -> Corpus:
        """Split this book into passages: the prose of its chapters, and the tables of facts.

        Args:
            passage_tokens: words and punctuation marks in a passage, at most; at least 8. A longer word stays whole.
            overlap: of the end of a passage, repeated at the start of the next; less than ``passage_tokens``.
            chapters: names of chapters; None gives all whose notebooks are there, but for the one on retrieval: a
                change of its text would change its own results.
            facts: whether the rows of data/facts are passages too.

        Raises:
            TypeError: if an argument is of another type.
            ValueError: if a number is out of range, a chapter is unknown or its notebook is not there.

        >>> len(Corpus.from_book(chapters=["footprint"], facts=False)) > 10
        True
        """
        limit, overlap = _sizes(passage_tokens, overlap)
        facts = checks.flag("facts", facts)
        files = {chapter.name: ROOT / "notebooks" / chapter.notebook for chapter in CHAPTERS}
        if chapters is None:
            wanted = [name for name, path in files.items() if path.is_file() and name != OWN_CHAPTER]
            if not wanted:
                raise ValueError(
                    f"chapters=None: no notebook is in {ROOT / 'notebooks'}: call this from a copy of the book that "
                    "holds them, or use Corpus.from_texts"
                )
        else:
            wanted = checks.several("chapters", chapters, remedy="such as ['footprint']")
            for name in wanted:
                if not isinstance(name, str):
                    raise TypeError(f"chapters holds {name!r:.80}: give names such as 'footprint'")
                if name not in files:
                    raise unknown("chapter in chapters", name, files)
        found: list[Passage] = []
        for name in dict.fromkeys(wanted):
            source = f"notebooks/{files[name].name}"
            found += _passages_of(_notebook_cells(files[name]), source, limit, overlap)
        if facts:
            found += _facts(limit)
        if not found:
            raise ValueError("chapters is empty and facts=False: nothing is left to search")
        return cls(tuple(found))


UNITS = ("sentence", "passage")


def units_of(corpus: Corpus, unit: str) -> tuple[list[str], np.ndarray]:
    r"""What is turned into vectors: each sentence behind its title, or each passage whole.

    A vector of a hundred words is a mean of many things. One sentence of them may answer a question, so a passage is
    as good as its best sentence.

    Returns:
        The texts, and where those of each passage start, ``(n_passages,)``.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``unit`` is neither ``"sentence"`` nor ``"passage"``.

    >>> units_of(Corpus.from_texts({"a": "# Tea\nBoil it. Wait.", "b": "Pour."}), "sentence")
    (['Tea: Boil it.', 'Tea: Wait.', 'Pour.'], array([0, 2]))
    """
    checks.instance("corpus", corpus, Corpus, remedy="Corpus.from_book() or Corpus.from_texts(...)")
    if checks.one_of("unit", unit, UNITS) == "passage":
        return [one.with_title for one in corpus], np.arange(len(corpus))
    parts = [[f"{one.title}: {part}" if one.title else part for part in sentences(one.text)] for one in corpus]
    starts = np.cumsum([0, *(len(part) for part in parts[:-1])])
    return [text for part in parts for text in part], starts


def _sizes(passage_tokens: int, overlap: int) -> tuple[int, int]:
    limit = checks.integer("passage_tokens", passage_tokens, low=8, high=100_000)
    return limit, checks.integer("overlap", overlap, low=0, high=limit - 1, remedy="less than passage_tokens")
