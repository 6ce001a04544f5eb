"""What chapter 0's titles say, each computed from the table of claims and from the study of the book's own cost."""

from __future__ import annotations

import json
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
SECTIONS = next((title for title in STORED if title.endswith("[section]")), "no title by section")


def _holds(table: pd.DataFrame) -> tuple[int, int]:
    return int((table["verdict"] == "confirmed").sum()), len(table)


def the_article_holds_so_far() -> bool:
    total, holds = (int(number) for number in re.findall(r"\d+", ARTICLE))
    return (holds, total) == _holds(CLAIMS[CLAIMS["origin"] == "article"])


def each_section_says_its_own_count() -> bool:
    """The title is an expression: a sentence for each choice of the menu."""
    said = json.loads(SECTIONS.removesuffix("[section]"))
    found = {"all": "{} of {} claims hold as they stand".format(*_holds(CLAIMS))}
    for section, rows in CLAIMS.groupby("section"):
        found[str(section)] = "{}: {} of {} claims hold as they stand".format(section, *_holds(rows))
    return said == found


def a_lamp_burns_for_so_many_minutes() -> bool:
    minutes = study.load("notebooks")["notebooks"]["energy_j"].sum() / 10 / 60
    return f"One run through the book costs as much as a 10 W lamp for {minutes:.1f} minutes" == RUN


TITLES: dict[str, Proof] = {
    ARTICLE: the_article_holds_so_far,
    SECTIONS: each_section_says_its_own_count,
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
