"""The sums in the column ``recompute`` of claims.csv, found and done again by code that knows no claim."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

_UNITS = r"(?:TWh|GWh|MWh|kWh|Wh|kW|W|GB/s|GB|B|kt|t|g/kWh|g|h|pJ|x|M|GPU|bits?|B params)"
_NUMBER = r"\d+(?:\.\d+)?(?:e[+-]?\d+)?"
_TERM = rf"\(*\s*~?{_NUMBER}(?:\s?{_UNITS}(?![A-Za-z]))?\s*\)*"
_SUM = re.compile(
    rf"(?<![\w.])(?P<left>{_TERM}(?:\s*[-+*/^]\s*{_TERM})+)\s*=\s*(?:~|roughly |about )?"
    rf"(?P<right>{_NUMBER})(?P<percent>\s?%)?(?![\d.]*\s*[-+*/^]\s*\d)"
)
_OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}  # fmt: skip


def sums(text: str) -> list[tuple[str, str]]:
    """The sums of a line, as what stands left and right of the equals sign.

    >>> sums("GPT-3: 6*175e9*300e9 = 3.15e23 FLOP; 552/24.7 = 22.3, a factor")
    [('6*175e9*300e9', '3.15e23'), ('552/24.7', '22.3')]
    """
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)  # thousands
    return [(hit["left"].strip(), hit["right"] + (hit["percent"] or "").strip()) for hit in _SUM.finditer(text)]


def value(left: str) -> float:
    """The number that the left side of a sum comes to; units are passed over.

    >>> value("1.5e6*6.5 kW*8760 h")
    85410000000.0
    """
    plain = re.sub(rf"(?<=[\d)])\s?{_UNITS}(?![A-Za-z])", "", left).replace("^", "**").replace("~", "")
    return float(_evaluate(ast.parse(plain.strip(), mode="eval").body))


def _evaluate(node: ast.AST) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_evaluate(node.left), _evaluate(node.right))
    raise ValueError(f"{ast.dump(node)} is no sum")


def holds(left: str, right: str) -> bool:
    """Whether the two sides agree to the digits written on the right, up to a power of a thousand, which a unit holds.

    >>> holds("1.5e6*6.5 kW*8760 h", "85.41"), holds("485/31772", "1.53%"), holds("485/31772", "1.54%")
    (True, True, False)
    """
    number = Decimal(right.rstrip("%"))
    step = float(Decimal(1).scaleb(int(number.as_tuple().exponent)))
    printed, exact = float(number), value(left)
    if right.endswith("%"):
        return abs(100 * exact - printed) <= 0.51 * step
    power = round(math.log10(exact / printed) / 3) if exact > 0 and printed > 0 else 0
    return abs(exact / 1000.0**power - printed) <= 0.51 * step
