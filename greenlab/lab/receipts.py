"""Show a receipt to the reader: joules and grams with their ranges, measured or modelled, and a comparison.

A receipt that was shown is kept under its chapter and label (``state``), so that a class can compare its machines.
"""

from __future__ import annotations

import html
import math
import re
import sys
from collections import Counter
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from IPython.display import display

from greenlab.core import chapters
from greenlab.core.checks import number
from greenlab.lab import state

if TYPE_CHECKING:
    from greenlab.core.energy.meter import Receipt

LAMP_W = 10.0  # a household LED lamp of about 800 lumens; its label says so
_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_TIMES = ((86400.0, "days"), (3600.0, "h"), (60.0, "min"))
SECTION = "receipts"
KEPT = (
    "energy_j", "low_j", "high_j", "time_s", "cpu_s", "runs", "carbon_g", "carbon_low_g", "carbon_high_g", "basis",
    "source", "region", "intensity_g_per_kwh",
)  # fmt: skip
_CHAPTERS = frozenset(chapter.name for chapter in chapters.CHAPTERS)
ROWS = ("Energy", "Range", "Carbon", "Range", "Time", "Basis", "Source", "Grid", "That is")


def _significant(value: float, digits: int = 3) -> str:
    text = f"{value:.{digits}g}"
    return f"{float(text):.0f}" if "e" in text else text


def quantity(value: float, unit: str) -> str:
    """A quantity with three significant digits and the prefix that keeps it readable.

    Args:
        value: the amount, in the unit without prefix.
        unit: such as "J", "g" or "B".

    Raises:
        TypeError: if the value is no number, or the unit no text.
        ValueError: if the value is not finite.

    >>> quantity(12.34, "J"), quantity(0.00051, "g"), quantity(3.6e6, "J"), quantity(999.9, "J"), quantity(0.0, "J")
    ('12.3 J', '510 µg', '3.6 MJ', '1 kJ', '0 J')
    """
    value = number("value", value)
    if not isinstance(unit, str):
        raise TypeError(f"unit is {unit!r}; give text, such as 'J'")
    size = float(f"{abs(value):.3g}")
    if size == 0 or not math.isfinite(size):  # three digits of the largest float are beyond it
        return f"{value:g} {unit}"
    factor, prefix = next((pair for pair in _PREFIXES if size >= pair[0]), _PREFIXES[-1])
    return f"{_significant(value / factor)} {prefix}{unit}"


def duration(time_s: float) -> str:
    """A time as people say it.

    Args:
        time_s: how long [s], 0 or more.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is negative or not finite.

    >>> duration(0.0042), duration(2.5), duration(90), duration(7200), duration(259200)
    ('4.2 ms', '2.5 s', '1.5 min', '2 h', '3 days')
    """
    time_s = number("time_s", time_s, low=0)
    for seconds, unit in _TIMES:
        if time_s >= seconds:
            return f"{_significant(time_s / seconds)} {unit}"
    return quantity(time_s, "s")


def comparison(energy_j: float) -> str:
    """The same energy as time of a 10 W LED lamp: arithmetic that a reader can do in their head.

    Args:
        energy_j: the energy [J], 0 or more.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is negative or not finite.

    >>> comparison(45.0), comparison(0.0)
    ('a 10 W LED lamp for 4.5 s', 'nothing that could be counted')
    """
    if number("energy_j", energy_j, low=0) == 0:
        return "nothing that could be counted"
    return f"a {LAMP_W:g} W LED lamp for {duration(energy_j / LAMP_W)}"


def _cells(receipt: Receipt) -> list[str]:
    runs = "" if receipt.runs == 1 else f", mean of {receipt.runs} runs"
    return [
        quantity(receipt.energy_j, "J"),
        f"{quantity(receipt.low_j, 'J')} to {quantity(receipt.high_j, 'J')}",
        f"{quantity(receipt.carbon_g, 'g')} CO2e",
        f"{quantity(receipt.carbon_low_g, 'g')} to {quantity(receipt.carbon_high_g, 'g')} CO2e",
        f"{duration(receipt.time_s)} (CPU {duration(receipt.cpu_s)}){runs}",
        receipt.basis.upper(),
        receipt.source,
        f"{receipt.region}, {receipt.intensity_g_per_kwh:.3g} g CO2e/kWh",
        comparison(receipt.energy_j),
    ]


def show_receipt(*receipts: Receipt) -> None:
    """Display receipts side by side: energy and carbon with their ranges, time, basis, grid, and a comparison.

    Each is kept, too: ``python -m greenlab submit`` packs what was shown last under each label of a chapter.

    Args:
        receipts: one or more, as ``measure(...)`` gives them; each is one column under its label.

    Raises:
        TypeError: if one of them is no receipt.
        ValueError: if there is none.
    """
    _check(receipts)
    columns = [_cells(receipt) for receipt in receipts]
    labels = [receipt.label for receipt in receipts]
    display({"text/html": _table(labels, columns), "text/plain": _plain(labels, columns)}, raw=True)
    _keep(receipts, _chapter_of(sys._getframe(1).f_globals))


def keep_receipts(*receipts: Receipt) -> None:
    """Keep receipts that a chapter shows in a form of its own, as ``show_receipt`` keeps those that it displays.

    Args:
        receipts: one or more, as ``measure(...)`` gives them.

    Raises:
        TypeError: if one of them is no receipt.
        ValueError: if there is none.
    """
    _check(receipts)
    _keep(receipts, _chapter_of(sys._getframe(1).f_globals))


def _check(receipts: tuple[Any, ...]) -> None:
    if not receipts:
        raise ValueError("no receipt was given; pass at least one, such as m.receipt after `with measure(...) as m:`")
    for receipt in receipts:
        if not all(hasattr(receipt, name) for name in ("label", *KEPT)):
            raise TypeError(
                f"receipts holds {receipt!r:.80}, which is no receipt; pass what measure(...) or "
                "measure_call(...) gives"
            )


def _keep(receipts: tuple[Receipt, ...], chapter: str) -> None:
    seen: Counter[str] = Counter()
    for receipt in receipts:
        key = _key_of(receipt.label, chapter)
        seen[key] += 1
        if seen[key] > 1:  # two columns of one table with the same label
            key = f"{key[:90]}-{seen[key]}"
        entry: dict[str, Any] = {"label": receipt.label, "chapter": chapter}
        entry |= {name: _plain_value(getattr(receipt, name)) for name in KEPT}
        state.save(SECTION, key, entry)


def _plain_value(value: Any) -> Any:
    """A NumPy number without its wrapping: JSON has none."""
    return value.item() if isinstance(value, np.generic) else value


def _key_of(label: str, chapter: str = "") -> str:
    """The key under which a receipt is kept: the same label in the same chapter replaces the older receipt.

    >>> _key_of("12 removed", "layer_pruning"), _key_of("BM25: words"), _key_of("日本")
    ('layer_pruning.12-removed', 'bm25-words', 'u65e5u672c')
    """
    plain = "".join(letter if letter.isascii() else f"u{ord(letter):x}" for letter in label.lower())
    slug = re.sub("[^a-z0-9]+", "-", plain).strip("-") or "unnamed"
    return (f"{chapter}.{slug}" if chapter else slug)[:95].rstrip(".-")


def _chapter_of(space: Mapping[str, Any]) -> str:
    """The chapter whose notebook or file has this namespace: each notebook imports the view of its own chapter."""
    modules = [value.__name__ for value in space.values() if isinstance(value, ModuleType)]
    views = [name for name in modules if name.endswith(".view")]
    for name in (str(space.get("__name__", "")), *views):
        parts = name.split(".")
        if len(parts) > 1 and parts[0] == "greenlab" and parts[1] in _CHAPTERS:
            return parts[1]
    return ""


def _plain(labels: list[str], columns: list[list[str]]) -> str:
    widths = [max(map(len, (label, *cells))) for label, cells in zip(labels, columns, strict=True)]
    lines = [" " * 9 + "  ".join(f"{label:<{width}}" for label, width in zip(labels, widths, strict=True))]
    for row, name in enumerate(ROWS):
        cells = (f"{cells[row]:<{width}}" for cells, width in zip(columns, widths, strict=True))
        lines.append(f"{name:<9}" + "  ".join(cells))
    return "\n".join(line.rstrip() for line in lines)


def _table(labels: list[str], columns: list[list[str]]) -> str:
    """An HTML table with real header cells. Colours come from Lab's theme: the dark one works too."""
    line = "1px solid var(--jp-border-color1, #bdbdbd)"
    cell = "text-align:left;vertical-align:top;padding:3px 22px 3px 0"
    head = "".join(f'<th scope="col" style="{cell};border-bottom:{line}">{html.escape(label)}</th>' for label in labels)
    body = []
    for row, name in enumerate(ROWS):
        style = cell + (";font-size:1.15em;font-weight:600" if name in ("Energy", "Carbon") else "")
        values = "".join(f'<td style="{style}">{_value(name, cells[row])}</td>' for cells in columns)
        body.append(
            f'<tr style="background:none"><th scope="row" style="{cell};font-weight:400">{name}</th>{values}</tr>'
        )
    return (
        f'<table style="border-collapse:collapse;border-top:2px solid #009E73;border-bottom:{line};margin:8px 0">'
        f'<caption style="text-align:left;font-weight:600;padding:4px 0">Receipt</caption>'
        f'<thead><tr><th style="{cell};border-bottom:{line}"></th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def _value(name: str, text: str) -> str:
    if name != "Basis":
        return html.escape(text)
    # solid or dashed frame beside the word: the two differ without colour
    frame = "2px solid" if text == "MEASURED" else "2px dashed"
    return f'<span style="border:{frame} currentColor;border-radius:4px;padding:0 6px;font-weight:600">{text}</span>'
