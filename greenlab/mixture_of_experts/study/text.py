"""Text of four kinds, in equal amounts, so that experts have something to divide; and the kinds of a token.

Two kinds are English verse and prose of the seventeenth century (Shakespeare, Milton), from the book's assets. Two come
with the reader's Python: source code of its standard library, from files that are the same in Python 3.11, 3.12 and
3.13, and its topic documentation, which differs between versions. The sha256 of each kind is checked, so that no table
is ever made from another text unnoticed. Whoever has another Python cannot repeat the study, and can read its tables.
"""

from __future__ import annotations

import hashlib
import pydoc_data.topics
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from greenlab.core import assets, checks

KINDS = ("Shakespeare", "Milton", "Python code", "Python docs")
N_CHARACTERS = 400_000  # of each kind
N_HELD_OUT = 20_000  # of them, at the end, are never trained on
CODE_FILES = (  # the same bytes in Python 3.11, 3.12 and 3.13
    "difflib", "optparse", "heapq", "concurrent/futures/_base", "tomllib/_parser", "weakref", "email/headerregistry",
    "tracemalloc", "xml/sax/handler", "_markupbase", "json/__init__", "xml/etree/ElementPath", "stringprep",
    "xml/dom/xmlbuilder", "xml/sax/saxutils", "string", "xml/dom/pulldom", "multiprocessing/heap", "pyclbr",
    "email/contentmanager", "email/quoprimime", "graphlib", "multiprocessing/reduction",
)  # fmt: skip
SHA256 = {  # of the first N_CHARACTERS of each kind
    "Shakespeare": "e7e0fc1086b0108d9ff333c8681302c661decb87da7c66a4eeb35bbb9fd6a5f6",
    "Milton": "b588dfe3aece9021f9a24a482b1c135347e2a9d988aa1a689386a31e3165886b",
    "Python code": "96b4c2e9acd7207a7f192d09cd5c70029e0816a4f710cbda357f40a5724e73cb",
    "Python docs": "0129ae41bff9f7c9e48fa22acb4494e5a38b1441ae7304c1337603f552b3aab4",
}
TOKEN_KINDS = ("start of a word", "rest of a word", "digits", "punctuation", "spaces and lines")


@dataclass(frozen=True)
class Texts:
    """One kind of text, cut in two.

    Attributes:
        kind: one of `KINDS`.
        train: what is trained on.
        held_out: its end, which is not.
    """

    kind: str
    train: str
    held_out: str


def source(kind: str) -> str:
    """The text of a kind, as long as it is; its first `N_CHARACTERS` are those that the study uses.

    Args:
        kind: one of `KINDS`.

    Raises:
        TypeError: if ``kind`` is no text.
        ValueError: if there is no such kind.
        AssetError: if the texts of the book are not here and cannot be fetched.
    """
    checks.one_of("kind", kind, KINDS)
    if kind in ("Shakespeare", "Milton"):
        return assets.load_text(kind.lower())
    if kind == "Python code":
        library = Path(sysconfig.get_path("stdlib"))
        return "\n".join((library / f"{name}.py").read_text(encoding="utf-8") for name in CODE_FILES)
    topics = pydoc_data.topics.topics
    return "\n".join(topics[name] for name in sorted(topics))


def load(kind: str) -> Texts:
    """The text of a kind, checked against its hash, and cut into what is trained on and what is not.

    Args:
        kind: one of `KINDS`.

    Raises:
        TypeError: if ``kind`` is no text.
        ValueError: if there is no such kind, or this Python brings another text than the study's.
        AssetError: if the texts of the book are not here and cannot be fetched.
    """
    text = source(kind)[:N_CHARACTERS]
    found = hashlib.sha256(text.encode()).hexdigest()
    if found != SHA256[kind]:
        raise ValueError(
            f"kind={kind!r}: the text here is not the study's (sha256 {found[:12]}, wanted {SHA256[kind][:12]}). The "
            "study was run on Python 3.11.7: run it there, or read its committed tables, which hold on any Python"
        )
    return Texts(kind, text[:-N_HELD_OUT], text[-N_HELD_OUT:])


def train_tokenizer(texts: list[str], vocab_size: int) -> Any:
    """A byte-level tokenizer (byte pair encoding) made from ``texts``: a ``tokenizers.Tokenizer``.

    Args:
        texts: what it is made from.
        vocab_size: number of tokens, at least 256, one for each byte.

    Raises:
        TypeError: if ``texts`` is no list of texts, or ``vocab_size`` no whole number.
        ValueError: if there is no text, or ``vocab_size`` is below 256.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    texts = list(checks.several("texts", texts, remedy="a list of texts"))
    vocab_size = checks.integer("vocab_size", vocab_size, low=256, high=100_000)
    if not texts:
        raise ValueError("texts is empty: give at least one text")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    lines = (line for text in texts for line in text.splitlines(keepends=True))
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def encode(tokenizer: Any, text: str) -> Tensor:
    """Token ids ``(N,)`` of a text, int64.

    Args:
        tokenizer: as `train_tokenizer` gives it.
        text: any text.

    Raises:
        TypeError: if ``text`` is no text, or ``tokenizer`` cannot encode.
    """
    checks.text("text", text)
    if not hasattr(tokenizer, "encode"):
        raise TypeError(f"tokenizer is {type(tokenizer).__name__}: give one that train_tokenizer made")
    return torch.tensor(tokenizer.encode(text).ids, dtype=torch.long)


def pieces(tokenizer: Any, ids: Any) -> list[str]:
    """The text of each token by itself; bytes that are no whole character become a question mark in a diamond."""
    return [tokenizer.decode([i]) for i in (ids.tolist() if isinstance(ids, Tensor) else list(ids))]


def token_kind(piece: str) -> str:
    """What sort of token a piece of text is, one of `TOKEN_KINDS`.

    A token that begins with a space, or with a capital letter, starts a word; one of letters only continues one.

    Args:
        piece: the text of a token.

    Raises:
        TypeError: if ``piece`` is no text.

    >>> [token_kind(piece) for piece in (" the", "ing", "The", "42", "():", "  ")]
    ['start of a word', 'rest of a word', 'start of a word', 'digits', 'punctuation', 'spaces and lines']
    """
    word = checks.text("piece", piece).strip()
    if not word:
        return "spaces and lines"
    if any(character.isalpha() for character in word):
        return "start of a word" if piece[0].isspace() or word[0].isupper() else "rest of a word"
    return "digits" if any(character.isdigit() for character in word) else "punctuation"
