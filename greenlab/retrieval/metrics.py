"""How good are the passages found and the answers given, and what does a right answer cost?

Each share comes with its interval: on fifty questions two methods that are five points apart cannot be told apart.
"""

from __future__ import annotations

import math
import re
import string
import unicodedata
from collections.abc import Collection, Sequence

import numpy as np
from scipy.stats import norm

from greenlab.core import checks

_PUNCTUATION = frozenset(string.punctuation) | frozenset("−–—’‘“”°")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_THOUSANDS = re.compile(r"(?<![\w.,])\d{1,3}(?:(?:,\d{3})+|(?: \d{3})+)(?![\w]|,\d)")
_OF_A_NUMBER = re.compile(r"(?<![\w)\].^])-(?=\.?\d)|(?<=\d)\.(?=\d)|(?<=\d)\^(?=\d)|(?<=\^)-(?=\d)")


def normalise(text: str) -> str:
    """A text as answers are compared: small letters, no punctuation, no articles, single spaces.

    After the script that scores SQuAD (Rajpurkar et al., arXiv:1606.05250, sec. 6.1). Departures: dashes and quotes
    beyond ASCII are punctuation too; a number keeps its decimal point, its sign and its power, and loses what groups
    its thousands (1,287 and 1 287); ways to write one letter are one (Unicode's NFKC: CO₂ and CO2); × is an x.

    >>> normalise("The answer: 1,287 MWh."), normalise("−1.5"), normalise("62×")
    ('answer 1287 mwh', '-1.5', '62 x')

    Raises:
        TypeError: if ``text`` is no text.
    """
    text = re.sub(
        r"(?<=\d)[⁻⁰¹²³⁴-⁹]+", lambda power: f"^{power[0].translate(_SUPERSCRIPTS)}", checks.text("text", text)
    )
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower()).replace("−", "-")
    text = _THOUSANDS.sub(lambda number: re.sub("[, ]", "", number[0]), text)
    text = re.sub(r"(?<=\d)x\b|×", " x ", text)
    text = re.sub(r"(?<=\d)[,–-](?=\d)", " ", text)  # 1-3 and 2,4 are not 13 and 24
    text = re.sub(r"(?<![\w.])\.(?=\d)", "0.", text)
    of_a_number = {sign.start() for sign in _OF_A_NUMBER.finditer(text)}
    kept = "".join(one for i, one in enumerate(text) if one not in _PUNCTUATION or i in of_a_number)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def _golds(answers: Sequence[str]) -> list[str]:
    golds = [checks.text("answers", one) for one in checks.several("answers", answers)]
    golds = [normalise(one) for one in golds]
    if not golds or not all(golds):
        raise ValueError("answers is empty, or holds an answer without a word: give at least one right answer")
    return golds


def exact_match(text: str, answers: Sequence[str]) -> bool:
    """Whether a text is one of the right answers, after `normalise`.

    >>> exact_match("the 485 TWh", ["485 TWh"]), exact_match("It is 485 TWh", ["485 TWh"])
    (True, False)

    Raises:
        TypeError: if ``text`` is no text or ``answers`` no list of texts.
        ValueError: if there is no right answer, or one has no word in it.
    """
    return normalise(text) in _golds(answers)


def hit(text: str, answers: Sequence[str]) -> bool:
    """Whether a right answer stands in a text, word for word, after `normalise`.

    >>> hit("It is 485 TWh.", ["485 TWh"]), hit("It is 1485 TWh.", ["485 TWh"])
    (True, False)

    Raises:
        TypeError: if ``text`` is no text or ``answers`` no list of texts.
        ValueError: if there is no right answer, or one has no word in it.
    """
    golds, words = _golds(answers), f" {normalise(text)} "
    return any(f" {gold} " in words for gold in golds)


def recall_at_k(found: Sequence[int], relevant: Collection[int], k: int) -> bool:
    """Whether a passage that answers the question is among the first ``k`` found; its mean over questions is recall@k.

    Where several passages answer a question, one is enough (called hit rate or success@k as well).

    >>> recall_at_k([7, 4, 9], {9}, 2), recall_at_k([7, 4, 9], {9}, 3)
    (False, True)

    Args:
        found: numbers of passages, the best first.
        relevant: numbers of those that answer the question, at least one.
        k: how many count, 1 or more.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``relevant`` is empty, a number is negative, or ``k`` is below 1.
    """
    k = checks.integer("k", k, low=1)
    numbers = [checks.integer("found", int_of(one), low=0) for one in checks.several("found", found)]
    wanted = {checks.integer("relevant", int_of(one), low=0) for one in checks.several("relevant", relevant)}
    if not wanted:
        raise ValueError("relevant is empty: no passage answers the question, so nothing can be found")
    return bool(wanted & set(numbers[:k]))


def int_of(value: object) -> object:
    """NumPy's whole numbers as Python's."""
    return int(value) if isinstance(value, np.integer) else value


def wilson_interval(right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share ``right / n`` (Wilson, JASA 22, 1927; Brown, Cai and DasGupta 2001, eq. 4).

    >>> low, high = wilson_interval(48, 53)
    >>> round(low, 3), round(high, 3)
    (0.797, 0.959)

    Args:
        right: successes.
        n: tries, 1 or more.
        confidence: above 0 and below 1.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if a number is out of range.
    """
    n = checks.integer("n", n, low=1, high=10**12)
    right = checks.integer("right", right, low=0, high=n, remedy="not more than n")
    confidence = checks.number("confidence", confidence, above=0, below=1)
    z = float(norm.ppf((1 + confidence) / 2))
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if right == 0 else low), (1.0 if right == n else high)


def joules_per_correct(energy_j: float, n_correct: int) -> float:
    """Joules of all answers over the number of right ones [J]; infinite if none is right.

    >>> joules_per_correct(100.0, 4), joules_per_correct(100.0, 0)
    (25.0, inf)

    Args:
        energy_j: of all answers together, wrong ones included [J].
        n_correct: right answers.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if a number is negative or not finite.
    """
    energy_j = checks.number("energy_j", energy_j, low=0)
    n_correct = checks.integer("n_correct", n_correct, low=0, high=10**12)
    return energy_j / n_correct if n_correct else math.inf
