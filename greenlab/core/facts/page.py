"""data/facts/README.md, written from the tables: every fact has an anchor there that prose can link to."""

from __future__ import annotations

import math
import re
from pathlib import Path

from greenlab.core import facts
from greenlab.core.facts import index, schema
from greenlab.core.facts.schema import FOLDER, Cell, Row

_HEAD = """# Facts from outside, each with its source

Written by `python -m greenlab.core.facts` from the tables in this folder: change the tables, not this page.

A number in a chapter links to its row here, `[485 TWh](../data/facts/README.md#iea-dc-2025)`, and a test compares the two to
the digits written. In Python: `facts.value("iea-dc-2025")`, `facts.low_high(...)`, `facts.claim(...)`, `facts.table(...)`.
A cell of a wide table is named `row.column`, as in `h100-sxm5-80gb.tdp_w`.

Confidence says how surely we know a number: **seen** was read in the source or in a verbatim copy of it; **secondary** was
read in somebody's account of the source; **inferred** was worked out by a third party from other figures, and its
publisher never printed it; **unverified** is from memory, or was not found again; **rumour** is a leak that nobody
confirmed. The confidence of a row is that of its weakest part, and the remarks say which part that is. Charts draw what is
inferred, unverified or a rumour hollow. Masses of carbon are CO2e.

Two figures compare only if they cover the same things. The remarks of a constant begin with its scope, and the columns
energy_scope and emissions_scope of the models name it:

"""
_TITLES = {
    "claims": "statements of the field, recomputed, with our verdict",
    "constants": "numbers of the literature",
    "accelerators": "chips: peak rates, memory, power",
    "models": "language models: size, data, training cost",
    "grid_intensity": "carbon intensity of electricity by region, one year's mean",
    "grid_published": "published means of the years that data/grid holds by the hour, to check them against",
    "grid_mixes": "a year's electricity by source: what the modelled zones of core.grid are made from",
}
_MARKUP = re.compile(r"([\\`*~$|<>\[\]])")


def render() -> str:
    """The text of data/facts/README.md."""
    parts = [_HEAD + _scopes(), _contents()]
    for table in facts.tables():
        parts.append(f"## {table}\n\n{_TITLES.get(table, '').capitalize()}: [{table}.csv]({table}.csv).\n")
        parts.append(_columns(table))
        parts.append(_claims() if table == "claims" else _constants() if table == "constants" else _wide(table))
    return "\n".join(parts)


def main(path: Path = FOLDER / "README.md") -> None:
    """Write the page and say so."""
    path.write_text(render(), encoding="utf-8")
    print(f"wrote {path.relative_to(schema.ROOT)}: {len(facts.ids())} claims and constants")


def show(number: float | None) -> str:
    """A number as the page prints it: thousands separated, large round ones as 3e11; "" for None and NaN.

    Raises:
        TypeError: if it is neither a number nor None.

    >>> show(1082990), show(3.14e23), show(0.007), show(None)
    ('1,082,990', '3.14e23', '0.007', '')
    """
    if number is None:
        return ""
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"number={number!r} is {type(number).__name__}: give a number, or None")
    if math.isnan(number):
        return ""
    short = f"{number:.5g}".replace("e+0", "e").replace("e+", "e")
    return short if abs(number) >= 1e7 and float(short) == number else f"{number:,.12g}"


def _scopes() -> str:
    rows = [f"* **{scope}**: {meaning}" for scope, meaning in index.SCOPES.items()]
    return "\n".join(rows) + "\n"


def _contents() -> str:
    rows = [f"* [{name}](#{name}): {_TITLES.get(name, '')}, {len(schema.rows(name))} rows" for name in facts.tables()]
    return "\n".join(rows) + "\n"


def _columns(table: str) -> str:
    lines = ["| column | unit | meaning |", "|---|---|---|"]
    for column in schema.columns(table):
        words = f" ({', '.join(column.allowed)})" if column.allowed else ""
        empty = "" if column.required else "; may be empty"
        lines.append(f"| {column.column} | {_plain(column.unit)} | {_plain(column.meaning)}{words}{empty} |")
    return "\n".join(lines) + "\n"


def _claims() -> str:
    blocks = []
    for claim in index.claims().values():
        measured = any(digit in claim.value for digit in "0123456789")
        unit = _plain(claim.unit) if measured else f"({_plain(claim.unit)})"
        value = f"{_plain(claim.value) or 'none'} {unit}"
        lines = [
            f"### {_anchor(claim.id)}{claim.id}\n",
            f"{_plain(claim.claim)}.\n",
            f"* value: {value}; verdict: **{claim.verdict}**: {_plain(claim.why)}",
            f"* source: {_source(claim.source, claim.url)}, {claim.date}; confidence: {claim.confidence}",
            f"* the source says: {_plain(claim.source_says)}",
        ]
        lines += [f"* recomputed: `{claim.recompute}`"] if claim.recompute else []
        lines += [f"* newer: {_plain(claim.newer_figure)}"] if claim.newer_figure else []
        lines += [f"* remarks: {_plain(claim.notes)}"] if claim.notes else []
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _constants() -> str:
    lines = ["| id | what | value | range | unit | source | date | confidence | remarks |", "|" + "---|" * 9]
    for fact in index.facts().values():
        if fact.table == "constants":
            spread = f"{show(fact.low)} to {show(fact.high)}" if fact.low is not None or fact.high is not None else ""
            cells = (
                f"{_anchor(fact.id)}{fact.id}", _plain(fact.name), show(fact.value), spread, _plain(fact.unit),
                _source(fact.source, fact.url), fact.date, fact.confidence, _plain(fact.notes),
            )  # fmt: skip
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _wide(table: str) -> str:
    columns, key = schema.columns(table), schema.key_of(table)
    names = [column.column for column in columns if column.column != "url"]
    lines = [f"| {' | '.join(names)} |", "|" + "---|" * len(names)]
    for row in schema.rows(table):
        cells = [_wide_cell(row, key, name) for name in names]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _wide_cell(row: Row, key: str, name: str) -> str:
    cell: Cell = row[name]
    if name == key:
        return f"{_anchor(str(cell))}{cell}"
    if name == "source":
        return _source(str(cell), str(row["url"]))
    if isinstance(cell, (int, float)):
        return f"{_anchor(f'{row[key]}.{name}')}{cell if isinstance(cell, int) else show(cell)}"
    return _plain(str(cell or "").replace("|", ", "))


def _anchor(id: str) -> str:
    return f'<a id="{id}"></a>'


def _source(source: str, url: str) -> str:
    return f"[{_plain(source)}]({url})" if url else _plain(source)


def _plain(text: str) -> str:
    """Escape what Markdown would take for markup."""
    return _MARKUP.sub(r"\\\1", text)
