"""The study's text: Shakespeare's plays as characters, and what kind of character each one is."""

from __future__ import annotations

import re
from functools import lru_cache

from torch import Tensor

from greenlab.core import assets, checks
from greenlab.core.model.training import CharTokenizer

KINDS = ("space", "line break", "punctuation", "capital", "first letter", "inside a word", "last letter")
HELD_OUT_SHARE = 0.05  # the end of the text is never trained on
_WORD = re.compile(r"[A-Za-z]+")


@lru_cache(maxsize=1)
def texts() -> tuple[CharTokenizer, Tensor, Tensor]:
    """Return the tokenizer and the token ids ``(N,)`` to train on and to score, from Shakespeare's plays."""
    text = assets.load_text("shakespeare")
    tokenizer = CharTokenizer(text)
    ids = tokenizer.encode(text)
    cut = round(len(ids) * (1 - HELD_OUT_SHARE))
    return tokenizer, ids[:cut], ids[cut:]


def kinds(text: str) -> list[str]:
    """Say of each character what it is: one of `KINDS`. Digits count as punctuation.

    A word is a run of letters. A capital is a capital wherever it stands; a word of one small letter is a first letter.

    Args:
        text: what is looked at; a word that it cuts off counts as a whole one.

    Raises:
        TypeError: if it is no text.

    >>> kinds("I am.")
    ['capital', 'space', 'first letter', 'last letter', 'punctuation']
    """
    checks.text("text", text)
    found = ["punctuation"] * len(text)
    for i, character in enumerate(text):
        if character.isspace():
            found[i] = "line break" if character == "\n" else "space"
    for word in _WORD.finditer(text):
        first, last = word.start(), word.end() - 1
        for i in range(first, last + 1):
            place = "first letter" if i == first else "last letter" if i == last else "inside a word"
            found[i] = "capital" if text[i].isupper() else place
    return found


def known(text: str, tokenizer: CharTokenizer, most: int) -> str:
    """Cut a text to ``most`` characters of those that the tokenizer knows.

    Args:
        text: what a reader typed.
        tokenizer: of the model that reads it.
        most: how many characters are kept, 1 or more.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if ``most`` is below 1.

    >>> known("Ça va?", CharTokenizer("a v?"), 3)
    'a v'
    """
    checks.text("text", text)
    checks.instance("tokenizer", tokenizer, CharTokenizer)
    most = checks.integer("most", most, low=1)
    return "".join(character for character in text if character in tokenizer.characters)[:most]
