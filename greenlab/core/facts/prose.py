"""Does a number in a sentence agree with the table, to the digits written?

The rule: the last digit written sets the precision. "85.4 TWh" agrees with 85.41, "85.5 TWh" does not; "1.083 million"
agrees with 1,082,990, "1,083,000" does not, for it claims six more digits. Whole numbers count as exact to the unit, so
"500" never stands for 485. A unit that is written must be the fact's: "485 GWh" is not 485 TWh, and nothing is
converted. Any word directly behind a number counts as its unit, but for a few ("of", "in", "GPU"): so a unit that
nobody thought of, such as PWh, is refused.
"""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal

ROUNDING_LIMIT = Decimal("0.05")  # rounding 1.54 to "2" is no quotation: it may move a number by 5 % at most
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_SCALE_WORD = "|".join(_SCALES)
_NUMBER = re.compile(
    r"(?<![\w.,])(?P<digits>\d{1,3}(?:(?P<comma>[, ])\d{3})(?:(?P=comma)\d{3})*(?!\d)|\d+)(?:\.(?P<decimals>\d+))?"
    rf"(?:[eE](?P<exponent>[+-]?\d+))?(?![\d^]|[.,]\d)(?:\s*(?P<scale>{_SCALE_WORD})\b)?"
)
_UNIT = re.compile(r"[\s-]?\s*((?:per cent|[A-Za-zµ%°$]+(?:-hours?)?)(?:\s*/\s*[A-Za-z]+|\s+(?:per|an?)\s+[A-Za-z]+)*)")
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
    "visits",
}  # fmt: skip
_CANONICAL = {name: unit for unit, names in _UNIT_NAMES.items() for name in [unit, *names.split(", ")]}
_CANONICAL |= {
    unit: unit for unit in ("MW", "GW", "kJ", "MJ", "pJ", "Mt", "B", "kB", "MB", "GB", "TB", "L", "ms", "TOP", "$")
}
# words that may stand behind a number without being its unit; any other word there must be the fact's unit
_NO_UNITS = {
    "a",
    "an",
    "and",
    "or",
    "of",
    "in",
    "on",
    "at",
    "to",
    "for",
    "from",
    "with",
    "by",
    "per",
    "the",
    "GPU",
    "TPU",
    "device",
}
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


def quantities(text: str) -> list[Quantity] | None:
    """The quantities in a piece of text, or None when it is not one quantity, one range, or one list with slashes.

    Raises:
        TypeError: if it is no text.

    >>> [(q.low.value, q.high.value, q.unit) for q in quantities("about 620 to 1,050 TWh")]
    [(Decimal('620'), Decimal('1050'), 'TWh')]
    >>> quantities("485 TWh in 2025") is None  # two numbers in one link: which one is quoted?
    True
    """
    if not isinstance(text, str):
        raise TypeError(f"text={text!r} is {type(text).__name__}: give the words that are written")
    text = _plain(text)
    found = list(_NUMBER.finditer(text))
    if not found or text[: found[0].start()].rstrip().endswith(("-", ".", ",")):
        return None  # no number, a negative one, or a malformed one
    numbers = [_written(match) for match in found]
    units = [unit[1] if (unit := _UNIT.match(text, match.end())) else "" for match in found]
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
        before, behind = _canonical(result[-1].unit), _canonical(units[index])
        if before and behind and before != behind and before[0] not in _NO_UNITS:
            return None  # "45 GWh to 55 TWh"
        result[-1] = Quantity(low, high, units[index] or result[-1].unit)
    leftover = re.sub(_NUMBER, "", text)
    return None if re.search(r"\d", leftover) else result


def same_unit(written: str, unit: str) -> bool:
    """Whether a unit in a sentence is the fact's unit; a word that is not known is taken for another unit.

    Raises:
        TypeError: if one of them is no text.

    >>> same_unit("TWh", "TWh/y"), same_unit("GWh", "TWh/y"), same_unit("servers", "servers/y"), same_unit("g", "g/kWh")
    (True, False, True, False)
    >>> same_unit("PWh", "TWh/y"), same_unit("apples", "TWh/y"), same_unit("GPU", "h"), same_unit("TWh/month", "TWh/y")
    (False, False, True, False)
    """
    for name, text in (("written", written), ("unit", unit)):
        if not isinstance(text, str):
            raise TypeError(f"{name}={text!r} is {type(text).__name__}: give a unit as text")
    said, fact = _canonical(written), _canonical(unit)
    if not said or said == fact or said[0] in _NO_UNITS:
        return True
    if not fact or said[0] != fact[0]:
        return False
    # the span of a rate may be left unsaid; one that is said is the fact's, or a year where the fact names none
    if not set(said[1:]) & _SPANS <= (set(fact[1:]) & _SPANS or {"y"}):
        return False
    return set(said[1:]) ^ set(fact[1:]) <= _LOOSE


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
    text = re.sub(r"(?<=10)[⁺⁻⁰¹²³⁴-⁹]+", lambda m: "^" + unicodedata.normalize("NFKC", m[0]), text)
    text = unicodedata.normalize("NFKC", text)
    text = re.sub(r"[‐‑‒–—−]", "-", text)
    text = re.sub(r"\\(?:times|cdot)", "x", text)
    text = re.sub(r"\\(?:text|mathrm|,|;|:|!| )", " ", text).replace("\\%", "%")
    text = re.sub(r"[{}$](?=[\d,^x\s-]|$)|(?<=[\d,^\s-])[{}]", "", text)
    text = re.sub(r"\s*(?:x|×|\*|·|⋅)\s*10\s*\^\s*([+-]?\d+)", r"e\1", text)
    text = re.sub(r"(?<![\w.,])10\^\s*([+-]?\d+)", r"1e\1", text)
    text = text.replace("×", "x")
    text = re.sub(r"\s*(?:of\s+)?CO2(?:-?eq?)?(?![A-Za-z0-9])", "", text)
    text = re.sub(
        r"(?<![A-Za-z0-9.,])[A-Za-z][A-Za-z]*(?:-?[A-Za-z.]*\d[\w.-]*)", " ", text
    )  # GPT-3, Llama-2-70B, H100
    return re.sub(r"[~≈]", " ", text).strip()
