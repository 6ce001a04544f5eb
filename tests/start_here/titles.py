"""What chapter 0's titles say, each computed from the table of claims and from the study of the book's own cost."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

from greenlab.core import facts
from greenlab.core.machine import ROOT
from greenlab.start_here import study
from greenlab.start_here import view as see
from tests.titles import LiveProof, Proof, stored

CLAIMS = facts.table("claims")
STORED = stored(ROOT / "notebooks" / "00_start_here.ipynb")
RUN = next((title for title in STORED if title.startswith("One run through the book")), "One run through the book")
ARTICLE = next((title for title in STORED if " statements in one article about AI" in title), "no title of the article")


def _holds(table: pd.DataFrame) -> tuple[int, int]:
    return int((table["verdict"] == "confirmed").sum()), len(table)


def the_article_holds_so_far() -> bool:
    total, holds = (int(number) for number in re.findall(r"\d+", ARTICLE))
    return (holds, total) == _holds(CLAIMS[CLAIMS["origin"] == "article"])


def no_section_holds_whole() -> bool:
    counts = {section: _holds(rows) for section, rows in CLAIMS.groupby("section")}
    return len(counts) >= 8 and all(holds < total for holds, total in counts.values())


def a_lamp_burns_for_so_many_minutes() -> bool:
    minutes = study.load("notebooks")["notebooks"]["energy_j"].sum() / 10 / 60
    return f"One run through the book costs as much as a 10 W lamp for {minutes:.1f} minutes" == RUN


TITLES: dict[str, Proof] = {
    ARTICLE: the_article_holds_so_far,
    "In no section do all claims hold as they stand": no_section_holds_whole,
    RUN: a_lamp_burns_for_so_many_minutes,
}


def _chosen(values: dict[str, Any], title: str) -> bool:
    words = CLAIMS[["id", "claim", "why", "source", "source_says"]].fillna("").agg(" ".join, axis=1).str.lower()
    keep = words.str.contains(values["search"].lower(), regex=False)
    for column in ("origin", "section", "verdict"):
        keep &= (CLAIMS[column] == values[column]) | (values[column] == "all")
    holds, total = _holds(CLAIMS[keep])
    return title == (f"{holds} of {total} claims hold as they stand" if total else "No claim fits your choice")


LIVE: dict[str, tuple[Any, LiveProof]] = {"browse the claims": (see.ClaimsLedger, _chosen)}
