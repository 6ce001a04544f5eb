"""Chapter 0 as the reader sees it: the ledger of claims, to browse and to filter, and what the book itself costs to run."""

from __future__ import annotations

import html
from typing import Any

import altair as alt
import ipywidgets as W
import pandas as pd

from greenlab.core import facts
from greenlab.core.facts.index import VERDICTS
from greenlab.lab.charts import bars_with_range, require_columns
from greenlab.lab.theme import BLUE, GREEN, MUTED, ORANGE, VERMILION, WIDTH
from greenlab.lab.widgets import Explorer
from greenlab.start_here.view import exercises  # noqa: F401 - registers the exercise

ALL = "all"
COLOURS = {"confirmed": GREEN, "imprecise": ORANGE, "wrong": VERMILION, "outdated": BLUE, "unverifiable": MUTED}
MARKS = {"confirmed": "✓", "imprecise": "≈", "wrong": "✗", "outdated": "⌛", "unverifiable": "?"}
SHOWN = 12  # rows of the table; the filters are there to get below
PAGE = "../data/facts/README.md"


def claims(section: str = ALL, verdict: str = ALL, search: str = "") -> pd.DataFrame:
    """The claims of one section and verdict that hold every word of ``search`` somewhere, in the order of the table."""
    table = facts.table("claims")
    keep = pd.Series(True, index=table.index)
    if section != ALL:
        keep &= table["section"] == section
    if verdict != ALL:
        keep &= table["verdict"] == verdict
    words = table[["id", "claim", "why", "source", "source_says"]].fillna("").agg(" ".join, axis=1).str.lower()
    for word in search.lower().split():
        keep &= words.str.contains(word, regex=False)
    return table[keep].reset_index(drop=True)


def verdict_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Number of claims for every verdict, those with none included: verdict, claims."""
    counts = table["verdict"].value_counts()
    return pd.DataFrame({"verdict": VERDICTS, "claims": [int(counts.get(verdict, 0)) for verdict in VERDICTS]})


def _verdict_bars(counts: pd.DataFrame, title: str, subtitle: str = "") -> Any:
    require_columns(counts, "verdict", "claims")
    base = alt.Chart(counts).encode(
        y=alt.Y("verdict:N", sort=list(VERDICTS), title=None).axis(domain=False, ticks=False, labelPadding=8),
        x=alt.X("claims:Q", axis=None),  # the figures stand at the bars; ticks between whole claims would be odd
    )
    scale = alt.Scale(domain=list(COLOURS), range=list(COLOURS.values()))
    bars = base.mark_bar(cornerRadiusEnd=2, height={"band": 0.7}).encode(
        color=alt.Color("verdict:N", scale=scale, legend=None), tooltip=["verdict:N", "claims:Q"]
    )
    return alt.layer(bars, base.mark_text(align="left", dx=6).encode(text="claims:Q")).properties(
        title=alt.Title(title, subtitle=subtitle) if subtitle else title,
        description="Number of claims by verdict: confirmed, imprecise, wrong, outdated, unverifiable",
        width=WIDTH - 80, height=alt.Step(26),
        padding={"left": 8, "top": 8, "right": 40, "bottom": 8},  # room for figures that grow when the reader filters
    )  # fmt: skip


def verdict_chart(table: pd.DataFrame, title: str) -> Any:
    """Draw how many claims got which verdict."""
    return _verdict_bars(verdict_counts(table), title)


def verdict_twin(table: pd.DataFrame) -> Any:
    """The counts by verdict with a menu of sections that works without a kernel."""
    sections = sorted(table["section"].unique())
    rows = [verdict_counts(table).assign(section=ALL)]
    rows += [verdict_counts(table[table["section"] == section]).assign(section=section) for section in sections]
    menu = alt.param(name="section", value=ALL, bind=alt.binding_select(options=[ALL, *sections], name="Section: "))
    chart = _verdict_bars(pd.concat(rows), "Verdicts by section", "Choose a section below the chart")
    chart.layer = [layer.transform_filter("datum.section == section") for layer in chart.layer]
    return chart.add_params(menu)


def claims_table(table: pd.DataFrame, shown: int = SHOWN) -> str:
    """The claims as an HTML table with real header cells: verdict, claim, why, and a link to source and arithmetic."""
    line, cell = (
        "1px solid var(--jp-border-color2, #e0e0e0)",
        "text-align:left;vertical-align:top;padding:4px 14px 4px 0",
    )
    head = "".join(
        f'<th scope="col" style="{cell};border-bottom:{line}">{name}</th>' for name in ("Verdict", "Claim", "Because")
    )
    rows = []
    for row in table.head(shown).to_dict("records"):
        verdict = f'<span style="white-space:nowrap">{MARKS[row["verdict"]]} {row["verdict"]}</span>'
        look = "color:var(--jp-content-link-color, #0072B2);text-decoration:underline"
        claim = f'{html.escape(row["claim"])} <a href="{PAGE}#{row["id"]}" target="_blank" style="{look}">source</a>'
        cells = (verdict, claim, html.escape(row["why"]))
        columns = "".join(f'<td style="{cell};border-bottom:{line}">{text}</td>' for text in cells)
        rows.append(f'<tr style="background:none">{columns}</tr>')
    more = f"<p>{len(table) - shown} more; narrow the search to see them.</p>" if len(table) > shown else ""
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f'<table style="border-collapse:collapse;max-width:62em">{body}</table>{more}'


class ClaimsLedger(Explorer):
    """The claims behind the book: choose a section and a verdict, or search; counts, sentence and table follow."""

    def __init__(self) -> None:
        sections = sorted(facts.table("claims")["section"].unique())
        self.table = W.HTML()
        controls = {
            "section": W.Dropdown(options=[ALL, *sections], value=ALL, description="Section"),
            "verdict": W.Dropdown(options=[ALL, *VERDICTS], value=ALL, description="Verdict"),
            "search": W.Text(value="", description="Words", placeholder="for example Ireland", continuous_update=True),
        }
        super().__init__(controls, self._chart, self._sentence)
        self.children = (*self.children, self.table)  # type: ignore[has-type]

    def _chart(self, section: str, verdict: str, search: str) -> Any:
        return _verdict_bars(verdict_counts(claims(section, verdict, search)), "What holds, of the claims you chose")

    def _sentence(self, section: str, verdict: str, search: str) -> str:
        found = claims(section, verdict, search)
        self.table.value = claims_table(found)
        if found.empty:
            return "No claim fits. Take away a word, or choose all sections and verdicts."
        counts = verdict_counts(found)
        said = ", ".join(f"{row['claims']} {row['verdict']}" for row in counts.to_dict("records") if row["claims"])
        return f"{len(found)} {'claim' if len(found) == 1 else 'claims'}: {said}."


def run_chart(notebooks: pd.DataFrame, title: str) -> alt.LayerChart:
    """Draw what one run through each notebook costs [J], with its range; modelled bars are pale.

    Args:
        notebooks: from the study: notebook, energy_j, low_j, high_j, basis.
        title: the finding, as a sentence.
    """
    data = notebooks.assign(label=notebooks["notebook"].str.replace("_", " "))
    return bars_with_range(
        data, "label", "energy_j", band=("low_j", "high_j"), basis="basis", title=title, value_format=",.0f",
        x_title="Energy of one run [J]", description="Energy of one run through each notebook, with its range",
    )  # fmt: skip
