"""Tables that a reader sees: headings in words with units, numbers with the digits one can say, real header cells."""

from __future__ import annotations

import html
import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core.checks import text
from greenlab.lab.charts.frames import require_columns

LINE = "1px solid var(--jp-border-color1, #bdbdbd)"  # Lab's own colour: the dark theme works too
NOTHING = "–"  # stands where a value is missing
Column = str | tuple[str, str]


@dataclass(frozen=True)
class Table:
    """Rows of text under headings, which Jupyter draws. ``numeric`` says which columns stand flush right."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]

    def __repr__(self) -> str:
        lines = [self.headings, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.headings))]
        written = [
            "  ".join(
                f"{cell:>{width}}" if right else f"{cell:<{width}}"
                for cell, width, right in zip(line, widths, self.numeric, strict=True)
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.caption, written[0], "-" * max(map(len, written)), *written[1:]])

    def _repr_html_(self) -> str:
        """A caption, one row of headings, and the first cell of each row as its header.

        A wide table scrolls sideways by itself, so that it never widens the page; the keyboard reaches it.
        """
        cell = "vertical-align:top;padding:3px 22px 3px 0"
        sides = [f"text-align:{'right' if right else 'left'};{cell}" for right in self.numeric]
        head = "".join(
            f'<th scope="col" style="{side};border-bottom:{LINE}">{html.escape(name)}</th>'
            for side, name in zip(sides, self.headings, strict=True)
        )
        body = []
        for row in self.rows:
            first, *others = [html.escape(value) for value in row]
            cells = f'<th scope="row" style="{sides[0]};font-weight:400">{first}</th>'
            cells += "".join(f'<td style="{s}">{v}</td>' for s, v in zip(sides[1:], others, strict=True))
            body.append(f'<tr style="background:none">{cells}</tr>')
        name = html.escape(self.caption)
        return (
            f'<div role="region" aria-label="{name}" tabindex="0" style="overflow-x:auto">'
            f'<table style="border-collapse:collapse;border-bottom:{LINE};margin:8px 0">'
            f'<caption style="text-align:left;font-weight:600;padding:4px 0">{name}</caption>'
            f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
        )


def table(data: pd.DataFrame, columns: Mapping[str, Column], caption: str) -> Table:
    """A tidy DataFrame as a table for a reader.

    Args:
        data: a row each; nothing is computed or sorted here.
        columns: what to show, in this order: the heading, with its unit, to the name of the column, or to the name
            and a format of Python's such as ".2f", "+.0%" or ",d". The first column names the rows.
        caption: one line that says what the table shows.

    Returns:
        What Jupyter draws as a table with real header cells, and what prints as aligned text. Missing values and
        infinite ones are a dash. A number without a format is written with three significant digits, a whole number
        with all of them.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there is no row, no column, a heading or the caption is empty, a column is missing, or a format
            does not fit the values.

    >>> cuts = pd.DataFrame({"removed": [0, 6], "loss": [2.913, 3.6]})
    >>> table(cuts, {"Layers removed": "removed", "Loss [nats]": ("loss", ".2f")}, "What a cut costs")
    What a cut costs
    Layers removed  Loss [nats]
    ---------------------------
                 0         2.91
                 6         3.60
    """
    if not isinstance(columns, Mapping):
        raise TypeError(f"columns={columns!r:.80} is {type(columns).__name__}: give a dict of heading and column name")
    if not columns:
        raise ValueError('columns is empty: give at least one, such as {"Loss [nats]": ("loss", ".2f")}')
    for name, words in (("caption", caption), *(("a heading in columns", heading) for heading in columns)):
        text(name, words)
        if not words.strip():
            raise ValueError(f"{name} is empty: write what the reader sees there")
    pairs = [_column(heading, column) for heading, column in columns.items()]
    require_columns(data, *(name for name, _ in pairs))
    if twice := sorted({name for name, _ in pairs if (data.columns == name).sum() > 1}):
        raise ValueError(f"data has the column {twice[0]} more than once: rename one")
    if data.empty:
        raise ValueError("data has no row: a table needs at least one; write a sentence instead")
    cells = [[_cell(value, spec, name) for value in data[name].tolist()] for name, spec in pairs]
    numeric = tuple(
        all(_is_number(value) or _is_missing(value) for value in data[name].tolist())
        and any(_is_number(value) for value in data[name].tolist())
        for name, _ in pairs
    )
    return Table(caption, tuple(columns), tuple(zip(*cells, strict=True)), numeric)


def _column(heading: str, column: Any) -> tuple[str, str]:
    if isinstance(column, str):
        return column, ""
    if isinstance(column, tuple) and len(column) == 2 and all(isinstance(part, str) for part in column):
        return column
    raise TypeError(f'columns[{heading!r}]={column!r:.80}: give a column\'s name, or ("name", ".2f")')


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_) and not _is_missing(value)


def _is_missing(value: Any) -> bool:
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, numbers.Real) and not math.isfinite(value)


def _three_digits(value: Any) -> str:
    """Three significant digits without an exponent, if that takes no more than nine decimals; whole numbers whole."""
    if isinstance(value, numbers.Integral) or not value:
        return format(int(value))
    digits = 2 - math.floor(math.log10(abs(float(f"{value:.3g}"))))  # 0.9996 is 1.00
    return f"{value:.2e}" if digits > 9 else f"{value:,.{max(0, digits)}f}"


def _cell(value: Any, spec: str, name: str) -> str:
    if _is_missing(value):
        return NOTHING
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    try:
        written = format(value, spec) if spec or not _is_number(value) else _three_digits(value)
        if _is_number(value) and not re.search(r"[1-9]", written):
            written = format(abs(value), spec) if spec else "0"  # -0.04 in one decimal is 0.0
    except (TypeError, ValueError) as error:
        raise ValueError(f"columns: the format {spec!r} does not fit {value!r:.40} of {name!r} ({error})") from error
    # typography of the book: a real minus, and a space before the per cent sign
    written = written.replace("-", "−", 1) if isinstance(value, numbers.Real) and written.startswith("-") else written
    return written.removesuffix("%") + "\N{NO-BREAK SPACE}%" if written.endswith("%") and spec else written
