"""Chapter 8's tables as a reader sees them: shares and joules with their ranges, in words and with units."""

from __future__ import annotations

import pandas as pd

from greenlab.core import checks
from greenlab.lab import table
from greenlab.lab.charts import require_columns
from greenlab.lab.tables import Table

ANSWER_COLUMNS = ("index", "n_passages", "method", "n_removed", "n", "hit", "hit_low", "hit_high", "exact", "exact_low",
                  "exact_high", "found", "n_read_tokens", "energy_j", "low_j", "high_j", "j_per_hit")  # fmt: skip


def two_digits(value: float) -> str:
    """A number with the two digits that a modelled value is worth.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is not finite.

    >>> two_digits(2432.0), two_digits(8.96), two_digits(0.874), two_digits(0.0)
    ('2,400', '9.0', '0.87', '0.0')
    """
    value = checks.number("value", value)
    rounded = float(f"{value:.2g}")
    size = abs(rounded)
    return f"{rounded:,.0f}" if size >= 10 else f"{rounded:.1f}" if size >= 1 or not size else f"{rounded:.2g}"


def joules_in_words(energy_j: float, low_j: float, high_j: float) -> str:
    """Joules with their range, two digits each.

    Raises:
        TypeError: if an argument is no number.
        ValueError: if one is not finite.

    >>> joules_in_words(8.963, 2.758, 27.58)
    '9.0 (2.8 to 28)'
    """
    return f"{two_digits(energy_j)} ({two_digits(low_j)} to {two_digits(high_j)})"


def _percents(table: pd.DataFrame, share: str, low: str = "low", high: str = "high") -> list[str]:
    values = table[[share, low, high]].to_numpy(dtype=float)
    return [f"{of:.0f} ({least:.0f} to {most:.0f})" for of, least, most in values]


def _joules(table: pd.DataFrame, times: float = 1.0) -> list[str]:
    values = times * table[["energy_j", "low_j", "high_j"]].to_numpy(dtype=float)
    return [joules_in_words(*(float(one) for one in row)) for row in values]


def setting_in_words(index: str, n_passages: int, method: str, n_removed: int) -> str:
    """How an answer was made, in words.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a number is negative.

    >>> setting_in_words("BM25", 1, "extract", 4)
    '1 passage by BM25, chooses a span, 4 layers fewer'
    >>> setting_in_words("MiniLM", 1, "quote", 0)
    '1 passage by MiniLM, two sentences quoted, no model'
    >>> setting_in_words("none", 0, "write", 0), setting_in_words("right passage", 1, "write", 0)
    ('no passage', 'the right passage')
    """
    checks.text("index", index)
    checks.text("method", method)
    n_passages = checks.integer("n_passages", n_passages, low=0)
    n_removed = checks.integer("n_removed", n_removed, low=0)
    if not n_passages:
        words = "no passage"
    elif index == "right passage":
        words = "the right passage"
    else:
        words = f"{n_passages} passage{'s' if n_passages > 1 else ''} by {index}"
    words += {"extract": ", chooses a span", "quote": ", two sentences quoted, no model"}.get(method, "")
    return words + (f", {n_removed} layers fewer" if n_removed else "")


def search_table(first: pd.DataFrame, five: pd.DataFrame) -> Table:
    """What each way to search finds at the first place and among the first five, and the energy of a search.

    Args:
        first: as `tables.rungs` gives it for k=1: index, share, low, high [%], energy_j, low_j, high_j, n.
        five: the same for k=5.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing.
    """
    for part in (first, five):
        require_columns(part, "index", "share", "low", "high", "energy_j", "low_j", "high_j", "n")
    at_5 = five.set_index("index").loc[list(first["index"])]
    rows = pd.DataFrame({
        "index": first["index"],
        "at_1": _percents(first, "share"),
        "at_5": _percents(at_5, "share"),
        "mj": _joules(first, 1e3),
    })  # fmt: skip
    n = int(first["n"].iloc[0])
    return table(
        rows,
        {"Index": "index", "recall@1 [%] (95 % interval)": "at_1", "recall@5 [%] (95 % interval)": "at_5",
         "Energy of a search [mJ] (range)": "mj"},
        f"What is found and what a search costs: {n} questions held back; joules modelled",
    )  # fmt: skip


def answers_table(rows: pd.DataFrame, caption: str) -> Table:
    """How often each setting answers right, what it reads, and joules of an answer and of a right answer.

    Args:
        rows: as `tables.scores` gives them.
        caption: what they are.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if a column is missing, or there is no row.
    """
    checks.text("caption", caption)
    require_columns(rows, *ANSWER_COLUMNS)
    shown = pd.DataFrame({
        "setting": [
            setting_in_words(index, int(n), method, int(cut))
            for index, n, method, cut in rows[["index", "n_passages", "method", "n_removed"]].itertuples(index=False)
        ],
        "n": rows["n"].to_numpy(),
        "hit": _percents(rows, "hit", "hit_low", "hit_high"),
        "exact": _percents(rows, "exact", "exact_low", "exact_high"),
        "found": rows["found"].to_numpy(),
        "read": rows["n_read_tokens"].to_numpy(),
        "joules": _joules(rows),
        "per_hit": rows["j_per_hit"].to_numpy(),
    })  # fmt: skip
    return table(
        shown,
        {"The model gets": "setting", "Questions": "n", "Hits [%] (95 % interval)": "hit",
         "Exact [%] (95 % interval)": "exact", "Right passage in it [%]": ("found", ".0f"),
         "Tokens read": ("read", ".0f"),
         "An answer [J] (range)": "joules", "A hit [J]": ("per_hit", ".0f")},
        caption,
    )  # fmt: skip


def hostile_table(attacks: pd.DataFrame) -> Table:
    """What hostile passages do, by kind and for all, in numbers of answers.

    Args:
        attacks: as `tables.attacks` gives it.

    Raises:
        TypeError: if it is no table.
        ValueError: if a column is missing, or there is no row.
    """
    return table(
        attacks,
        {"The passage holds": "kind", "Tried": "n", "Form kept": "n_form", "Led astray": "n_astray",
         "It is cited": "n_cited", "A harmless one is cited": "n_cited_harmless",
         "Right answers": "n_hit", "Right beside a harmless one": "n_hit_harmless"},
        "Answers with a hostile passage before the right one, and with a harmless passage in its place",
    )  # fmt: skip
