"""What the reader has done so far, over all chapters: the predictions beside the answers, and the ledger of savings."""

from __future__ import annotations

import html
from typing import Any

import pandas as pd

from greenlab.core.chapters import CHAPTERS
from greenlab.lab import calibration, ledger
from greenlab.lab.predictions import how_far, number_text
from greenlab.lab.receipts import quantity

TITLES = {chapter.name: chapter.title for chapter in CHAPTERS}
NO_PREDICTIONS = (
    "No prediction has met its answer yet. Commit to a number in any chapter and run its reveal; it then stands here."
)
NO_SAVINGS = "No saving is booked yet. Each chapter from 1 on books its own when you run it."


def prediction_rows(scored: pd.DataFrame) -> pd.DataFrame:
    """The predictions as a reader reads them.

    Args:
        scored: what ``calibration()`` gives: question, prediction, truth, unit, good_call.

    Returns:
        One row per prediction: Question, You said, The answer, That is.
    """
    rows = [
        {
            "Question": row["question"],
            "You said": number_text(row["prediction"], row["unit"]),
            "The answer": number_text(row["truth"], row["unit"]),
            "That is": "a good call" if row["good_call"] else how_far(row["prediction"], row["truth"], row["unit"]),
        }
        for row in scored.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=["Question", "You said", "The answer", "That is"])


def saving_rows(booked: pd.DataFrame) -> pd.DataFrame:
    """The ledger as a reader reads it; energy, carbon and memory each have a product of their own.

    Args:
        booked: what ``ledger.table()`` gives.

    Returns:
        One row per entry: Quantity, Chapter, Technique, Saves, Basis, Remains so far.
    """
    rows = [
        {
            "Quantity": row["quantity"],
            "Chapter": TITLES[row["chapter"]],
            "Technique": row["technique"],
            "Saves": _saving(row),
            "Basis": row["basis"],
            "Remains so far": f"{100 * row['remaining_fraction']:.0f} %",
        }
        for row in booked.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=["Quantity", "Chapter", "Technique", "Saves", "Basis", "Remains so far"])


def _saving(row: dict[Any, Any]) -> str:
    if row["reason"]:
        return f"0: {row['reason']}"
    saved, baseline = 100 * row["saved_fraction"], quantity(row["baseline"], row["unit"])
    return f"{saved:.0f} % of {baseline}" if saved >= 0 else f"takes {-saved:.0f} % more than {baseline}"


class Progress:
    """The reader's predictions and savings over all chapters, or how to make the first ones, as a page.

    Attributes:
        predictions: from ``prediction_rows``.
        savings: from ``saving_rows``.
    """

    def __init__(self) -> None:
        scored = calibration()
        self.predictions, self.savings = prediction_rows(scored), saving_rows(ledger.table())
        self._score = f"{int(scored['good_call'].sum())} of {len(scored)} were good calls."

    def _parts(self) -> list[tuple[str, pd.DataFrame, str]]:
        predicted, booked = (self.predictions, self.savings)
        return [
            ("Your predictions", predicted, NO_PREDICTIONS if predicted.empty else self._score),
            ("Your ledger", booked, NO_SAVINGS if booked.empty else "Savings of one quantity multiply."),
        ]

    def _repr_html_(self) -> str:
        return "".join(_section(*part) for part in self._parts())

    def __repr__(self) -> str:
        lines = []
        for title, rows, words in self._parts():
            lines.append(f"{title}: {words}")
            lines += [f"  {', '.join(map(str, row))}" for row in rows.itertuples(index=False)]
        return "\n".join(lines)


def _section(title: str, rows: pd.DataFrame, words: str) -> str:
    """A table with a caption and real header cells, and a sentence; the sentence alone where there is no row."""
    if rows.empty:
        return f"<p><b>{title}.</b> {html.escape(words)}</p>"
    cell = "text-align:left;vertical-align:top;padding:3px 18px 3px 0"
    line = "1px solid var(--jp-border-color1, #bdbdbd)"
    head = "".join(f'<th scope="col" style="{cell};border-bottom:{line}">{name}</th>' for name in rows.columns)
    body = ""
    for row in rows.itertuples(index=False):
        values = "".join(f'<td style="{cell}">{html.escape(str(value))}</td>' for value in row)
        body += f'<tr style="background:none">{values}</tr>'
    caption = f'<caption style="text-align:left;font-weight:600;padding:4px 0">{title}</caption>'
    table = f"{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    style = f"border-collapse:collapse;border-bottom:{line};margin:8px 0;max-width:62em"
    return f'<table style="{style}">{table}</table><p>{html.escape(words)}</p>'
