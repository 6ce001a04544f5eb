"""Does a number in a sentence agree with the table, to the digits written?

The rule: the last digit written sets the precision. "85.4 TWh" agrees with 85.41, "85.5 TWh" does not; "1.083 million"
agrees with 1,082,990, "1,083,000" does not, for it claims six more digits. Whole numbers count as exact to the unit, so
"500" never stands for 485. A unit that is written must be the fact's: "485 GWh" is not 485 TWh, and nothing is
converted. Any word directly behind a number counts as its unit, but for a few ("of", "in", "instead"): so a unit that
nobody thought of, such as PWh, is refused. Brackets, emphasis, a line break or the end of the link between the number
and its unit change nothing. A unit of measure that is not the fact's is refused wherever in the quotation it stands.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

ROUNDING_LIMIT = Decimal("0.05")  # rounding 1.54 to "2" is no quotation: it may move a number by 5 % at most
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALE_WORD = "|".join(_SCALES)
_NUMBER = re.compile(
    r"(?<![\w.,])(?P<digits>\d{1,3}(?:(?P<comma>[, ])\d{3})(?:(?P=comma)\d{3})*(?!\d)|\d+)(?:\.(?P<decimals>\d+))?"
    rf"(?:[eE](?P<exponent>[+-]?\d+))?(?![\d^]|[.,]\d)(?:\s*(?P<scale>{_SCALE_WORD})\b)?"
)
_CURRENCY = "$€£¥"
_DASHES = "[‐‑‒–—−]"
_OPEN = r"[\s(\[{\"'“”‘’«»_`*]*"  # may stand between a number and its unit
_WORD = rf"(?:[^\W\d_]+|[%‰°{_CURRENCY}])(?:-[^\W\d_]+)*"
_UNIT = re.compile(rf"{_OPEN}-?{_OPEN}(?:(GPU|TPU|CPU|device)[\s-]+(?=[^\W\d_]))?(per cent(?![^\W_])|{_WORD})")
_RATE = re.compile(rf"\s*/\s*({_WORD})|\s+(per|an?)\s+({_WORD})")
_GLUED = re.compile(
    r"[^\W_]|[·⋅×^]|[-/*][^\W\d_]|\s+(?:h|s|hours?|seconds?)(?![^\W_])"
)  # what makes another unit of it: kW·h, GWh2
_REACH = re.compile(r"[\s(\"'“”‘’«»_`*-]*[^.,;:!?\d()\[\]]*")  # of a sentence, behind a link: what may hold the unit
_UNIT_NAMES = {  # unit: other ways to write it
    "%": "percent, per cent", "x": "times, fold", "t": "tonne, tonnes, ton, tons", "kt": "kilotonne, kilotonnes",
    "g": "gram, grams", "kg": "kilogram, kilograms", "Wh": "watt-hour, watt-hours", "kWh": "kilowatt-hour, "
    "kilowatt-hours",
    "MWh": "megawatt-hour, megawatt-hours", "GWh": "gigawatt-hour, gigawatt-hours", "TWh": "terawatt-hour, "
    "terawatt-hours",
    "h": "hr, hour, hours", "d": "day, days", "y": "yr, year, years", "s": "second, seconds", "month": "months",
    "bit": "bits", "token": "tokens, tok", "parameter": "parameters, params", "FLOP": "FLOPs, flop, flops", "weight":
    "weights",
    "layer": "layers", "expert": "experts", "server": "servers", "mL": "ml, millilitre, millilitres, milliliters",
    "W": "watt, watts", "kW": "kilowatt, kilowatts", "J": "joule, joules", "prompt": "prompts", "zone": "zones",
    "TFLOP": "TFLOPs, TFLOPS, teraFLOPs", "sequence": "sequences", "chip": "chips", "search": "searches", "visit":
    "visits", "query": "queries", "answer": "answers", "image": "images", "m-cubed": "m3",
}  # fmt: skip
_CANONICAL = {name: unit for unit, names in _UNIT_NAMES.items() for name in [unit, *names.split(", ")]}
_CANONICAL |= {
    unit: unit for unit in ("MW", "GW", "kJ", "MJ", "pJ", "Mt", "B", "kB", "MB", "GB", "TB", "L", "ms", "TOP", "$")
}
# words that may stand behind a number without being its unit; any other word there must be the fact's unit
_NO_UNITS = {
    *["a", "an", "the", "and", "or", "nor", "but", "of", "in", "on", "at", "to", "for", "from", "with", "without"],
    *["by", "per", "than", "as", "is", "are", "was", "were", "be", "has", "have", "had", "which", "that", "this"],
    *["these", "those", "it", "its", "then", "so", "if", "when", "where", "while", "because", "before", "after"],
    *["until", "instead", "against", "plus", "minus", "only", "alone", "each", "both"],
}  # fmt: skip
_MEASURE = re.compile(  # symbols of units with any prefix, and the words for them; hours and counts are common words
    r"[nµμmkMGTPEZY]?(?:Wh|W|J|eV|cal|g|t|L|B|Hz|FLOPs?|FLOPS)|[kMGT]?(?:bit|iB)|m?l|[%‰]|EJ|Gt"
    r"|(?:kilo|mega|giga|tera|peta|exa|milli|micro|nano|pico)?(?:watts?|watt-hours?|joules?|gram(?:me)?s?|tons?|tonnes?"
    r"|litres?|liters?|bytes?|flops?)|per ?cent|calories?|kcal|BTU|barrels?"
)
_LOOSE = {"y", "month", "token", "prompt", "query", "answer", "image", "weight", "parameter"}  # may be left unsaid
_SPANS = {"s", "h", "d", "month", "y"}  # of time


@dataclass(frozen=True)
class Written:
    """A number as written: its value, and ``step``, the worth of its last digit."""

    value: Decimal
    step: Decimal

    def __post_init__(self) -> None:
        for name in ("value", "step"):
            number = getattr(self, name)
            if not isinstance(number, Decimal) or not number.is_finite():
                raise TypeError(f"{name}={number!r} is {type(number).__name__}: give a finite Decimal")
        if self.step <= 0:
            raise ValueError(f"step must be positive, got {self.step}")

    def agrees(self, exact: float) -> bool:
        """Whether rounding ``exact`` to the digits written gives this number (a tie may go either way).

        Raises:
            TypeError: if ``exact`` is no number.

        >>> Written(Decimal("85.4"), Decimal("0.1")).agrees(85.41)
        True
        >>> Written(Decimal("486"), Decimal(1)).agrees(485)
        False
        """
        if isinstance(exact, (bool, str)) or not hasattr(exact, "__float__"):
            raise TypeError(f"exact={exact!r} is {type(exact).__name__}: give a number")
        if not math.isfinite(exact):
            return False
        fact = Decimal(repr(float(exact)))
        off = abs(fact - self.value)
        return off * 2 <= self.step and off <= abs(fact) * ROUNDING_LIMIT


@dataclass(frozen=True)
class Quantity:
    """A number or a range (``low`` < ``high``) with the unit written after it, and a bound such as "up to" before
    it.
    """

    low: Written
    high: Written
    unit: str = ""
    bound: str = ""

    def __post_init__(self) -> None:
        for name, kind in (("low", Written), ("high", Written), ("unit", str)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name}={getattr(self, name)!r} must be of the type {kind.__name__}")
        if self.bound not in ("", "low", "high"):
            raise ValueError(f"bound must be '', 'low' or 'high', got {self.bound!r}")

    @property
    def is_range(self) -> bool:
        """Whether two numbers were written."""
        return self.low != self.high


def quantities(text: str, behind: str = "") -> list[Quantity] | None:
    """The quantities in a piece of text, or None when it is not one quantity, one range, or one list with slashes.

    Args:
        text: the words of a link.
        behind: the words that follow the link; a unit directly behind the number is read there too.

    Raises:
        TypeError: if one of them is no text.

    >>> [(q.low.value, q.high.value, q.unit) for q in quantities("about 620 to 1,050 TWh")]
    [(Decimal('620'), Decimal('1050'), 'TWh')]
    >>> quantities("485 TWh in 2025") is None  # two numbers in one link: which one is quoted?
    True
    >>> [q.unit for q in quantities("485", " GWh a year")], [q.unit for q in quantities("485", " of them")]
    (['GWh a year'], [''])
    """
    for name, words in (("text", text), ("behind", behind)):
        if not isinstance(words, str):
            raise TypeError(f"{name}={words!r} is {type(words).__name__}: give the words that are written")
    text, more = _plain(text), _reach(behind)
    found = list(_NUMBER.finditer(text))
    if not found or text[: found[0].start()].rstrip().endswith(("-", ".", ",")):
        return None  # no number, a negative one, or a malformed one
    numbers = [_written(match) for match in found]
    units = [_unit(text, match, more if match is found[-1] else "") for match in found]
    result: list[Quantity] = []
    joined = False
    for index, match in enumerate(found):
        gap = "/" if index == 0 else text[found[index - 1].end() : match.start()]
        kind = re.fullmatch(r"[\s-]*(?:[A-Za-z%$][A-Za-z%]*(?:/[A-Za-z]+)?)??\s*(-|\bto\b|\band\b|/)\s*", gap)
        if kind is None or (kind[1] != "/" and joined):
            return None
        joined = kind[1] != "/"
        if not joined:
            result.append(Quantity(numbers[index], numbers[index], units[index], _bound(text[: match.start()])))
            continue
        low, high = numbers[index - 1], numbers[index]
        if match["scale"] and not found[index - 1]["scale"] and not found[index - 1]["exponent"]:
            factor = Decimal(10) ** _SCALES[match["scale"]]  # "164 to 328 million"
            low = Written(low.value * factor, low.step * factor)
        before, after = _canonical(result[-1].unit), _canonical(units[index])
        if before and after and before != after:
            return None  # "45 GWh to 55 TWh"
        result[-1] = Quantity(low, high, units[index] or result[-1].unit)
    leftover = re.sub(_NUMBER, "", text)
    return None if re.search(r"\d", leftover) else result


def quoted(text: str, unit: str, nouns: Iterable[str] = (), behind: str = "") -> list[Quantity] | None:
    """The quantities in a quotation, as ``quantities`` gives them, or None where a unit is not that of the fact.

    Args:
        text: the words of a link.
        unit: of the fact.
        nouns: what one of the fact's things may be said to be "per" or "a", though its unit leaves it out: "0.24 Wh a
            prompt" of a fact about a prompt, in Wh.
        behind: the words that follow the link.

    Raises:
        TypeError: if one of them is no text, or the nouns are none.

    >>> quoted("485 (GWh)", "TWh") is None, quoted("485", "TWh", behind=" GWh") is None
    (True, True)
    >>> quoted("0.24 Wh a prompt", "Wh") is None, quoted("0.24 Wh a prompt", "Wh", nouns=["prompt"]) is None
    (True, False)
    """
    nouns = _nouns(nouns)
    said = quantities(text, behind)
    if said is None or not all(same_unit(quantity.unit, unit, nouns) for quantity in said):
        return None
    own = set(_canonical(unit))
    words = re.findall(rf"(?<![\w'’-]){_WORD}(?![\w-])", re.sub(_NUMBER, " ", _plain(text)))
    strange = [
        word for word in words if word in _SCALES or (_MEASURE.fullmatch(word) and not own & {*_canonical(word)})
    ]
    return None if strange else said


def same_unit(written: str, unit: str, nouns: Iterable[str] = ()) -> bool:
    """Whether a unit in a sentence is the fact's unit; a word that is not known is taken for another unit.

    Args:
        written: the unit in the sentence; with none there is nothing to object to.
        unit: of the fact.
        nouns: as for ``quoted``; "year" among them says that the fact is of one year.

    Raises:
        TypeError: if one of them is no text, or the nouns are none.

    >>> same_unit("TWh", "TWh/y"), same_unit("GWh", "TWh/y"), same_unit("servers", "servers/y"), same_unit("g", "g/kWh")
    (True, False, True, False)
    >>> same_unit("PWh", "TWh/y"), same_unit("apples", "TWh/y"), same_unit("GPU", "h"), same_unit("TWh/month", "TWh/y")
    (False, False, False, False)
    >>> same_unit("TWh a year", "TWh"), same_unit("TWh a year", "TWh", nouns=["year"])
    (False, True)
    """
    for name, text in (("written", written), ("unit", unit)):
        if not isinstance(text, str):
            raise TypeError(f"{name}={text!r} is {type(text).__name__}: give a unit as text")
    counted = {_CANONICAL.get(noun, noun) for noun in _nouns(nouns)}
    said, fact = _canonical(written), _canonical(unit)
    if not said or said == fact:
        return True
    if not fact or said[0] != fact[0]:
        return False
    also, left = {*said[1:]} - {*fact[1:]}, {*fact[1:]} - {*said[1:]}
    if also & _SPANS and {*fact[1:]} & _SPANS:
        return False  # a rate over another span of time
    return also <= counted and left <= _LOOSE


def _nouns(nouns: Iterable[str]) -> list[str]:
    listed = [] if isinstance(nouns, str) or not isinstance(nouns, Iterable) else list(nouns)
    if isinstance(nouns, str) or not isinstance(nouns, Iterable) or not all(isinstance(noun, str) for noun in listed):
        raise TypeError(f"nouns={nouns!r} is {type(nouns).__name__}: give a list of words such as ['prompt']")
    return listed


def _unit(text: str, number: re.Match[str], more: str) -> str:
    """The unit of a number: the words behind it, in the text and then in what follows the text."""
    whole, end = text + more, number.end()
    currency = text[: number.start()].rstrip()[-1:]
    unit = currency if currency and currency in _CURRENCY else ""
    if not unit:
        word = _UNIT.match(whole, end)
        if word is None:
            strange = re.match(r"\s*([^\s\w.,;:!?()\[\]{}\"'“”‘’«»_`*/…-])", whole[end:])  # a sign that nobody listed
            divided = re.match(rf"\s*/\s*{_WORD}", whole[end:])
            return strange[1] if strange else divided[0] if divided else ""
        if word[2] in _NO_UNITS:
            return word[1] or _measure_behind(whole, word.end())
        if re.match(r"\s+-\s", whole[end:]):  # a dash between two thoughts
            return _measure_behind(whole, end)
        unit, end = word[2], word.end()
    while rate := _RATE.match(whole, end):
        # "485 TWh a little later": behind the link only what is known to be counted makes a rate
        if rate[2] in ("a", "an") and end >= len(text) and rate[3] not in _CANONICAL:
            break
        unit, end = unit + rate[0], rate.end()
    return unit + whole[end:].split()[0] if _GLUED.match(whole, end) else unit


def _measure_behind(text: str, end: int) -> str:
    """The unit of measure behind small words, as in "485 of GWh", or ""."""
    words = re.findall(_WORD, re.split(r"\d", text[end:])[0])  # not beyond the next number: "0.01 to 0.06 kWh/GB"
    first = next((word for word in words if word not in _NO_UNITS), "")
    return first if _MEASURE.fullmatch(first) else ""


def _reach(behind: str) -> str:
    """What follows a link, as far as it can hold the unit of a number at the end of the link."""
    first = re.sub(r"!?\[([^\[\]]*)\]\([^()]*\)", r"\1", behind.split("\n\n")[0])  # of another link only its words
    reach = _REACH.match(re.sub(_DASHES, "-", _unmarked(first)))
    return reach[0] if reach else ""


def _canonical(unit: str) -> list[str]:
    parts = re.split(r"\s*/\s*|\s+(?:per|an?)\s+", unit.strip())
    return [_CANONICAL.get(part, part) for part in parts if part]


def _bound(before: str) -> str:
    if re.search(r"\b(up to|at most|under|below|less than)\W*$", before, re.IGNORECASE):
        return "high"
    return "low" if re.search(r"\b(at least|over|above|more than|from)\W*$", before, re.IGNORECASE) else ""


def _written(match: re.Match[str]) -> Written:
    decimals = match["decimals"] or ""
    power = int(match["exponent"] or 0) + _SCALES.get(match["scale"] or "", 0)
    digits = Decimal(re.sub(r"[, ]", "", match["digits"]) + decimals)
    step = Decimal(10) ** (power - len(decimals))
    return Written(digits * step, step)


def _plain(text: str) -> str:
    """Spell powers as 3e10, dashes as -, spaces; drop CO2 marks, TeX marks and names that hold digits."""
    text = re.sub(r"<sup>\s*(-?\d+)\s*</sup>", r"^\1", text)
    text = _unmarked(text)
    text = re.sub(r"(?<=10)[⁺⁻⁰¹²³⁴-⁹]+", lambda m: "^" + unicodedata.normalize("NFKC", m[0]), text)
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(_DASHES, "-", text)
    text = re.sub(r"\\(?:times|cdot)", "x", text)
    text = re.sub(r"\\(?:text|mathrm|,|;|:|!| )", " ", text).replace("\\%", "%")
    marks = "[{}$]" if text.count("$") % 2 == 0 else "[{}]"  # a single $ is dollars
    text = re.sub(rf"{marks}(?=[\d,^x\s-]|$)|(?<=[\d,^\s-])[{{}}]", "", text)
    text = re.sub(r"\s*(?:x|×|\*|·|⋅)\s*10\s*\^\s*([+-]?\d+)", r"e\1", text)
    text = re.sub(r"(?<![\w.,])10\^\s*([+-]?\d+)", r"1e\1", text)
    text = text.replace("×", "x")
    text = re.sub(r"\s*(?:of\s+)?CO2(?:-?eq?)?(?![A-Za-z0-9])", "", text)
    text = re.sub(
        r"(?<![\w.,])([kcdm]?m)([23])(?!\w)", lambda m: f"{m[1]}-{'squared' if m[2] == '2' else 'cubed'}", text
    )
    text = re.sub(r"(?<![A-Za-z0-9.,])([A-Za-z][A-Za-z]*)(?:-?[A-Za-z.]*\d[\w.-]*)", _without_name, text)
    return re.sub(r"[~≈]", " ", text).strip()


def _without_name(match: re.Match[str]) -> str:
    """Drop a name that holds digits, such as GPT-3, Llama-2-70B or H100; GWh2 is none."""
    return match[0] if _MEASURE.fullmatch(match[1]) and "-" not in match[0] and match[1] != "B" else " "


def _unmarked(text: str) -> str:
    """Without marks of HTML and signs of no width."""
    return re.sub(r"<[^<>]*>|[\u00ad\u200b-\u200d\u2060\ufeff]", "", html.unescape(text))
