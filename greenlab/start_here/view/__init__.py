"""Chapter 0 as the reader sees it: the claims to browse, their own progress, and what the book costs to run."""

from __future__ import annotations

import html
from typing import Any

import altair as alt
import ipywidgets as W
import pandas as pd

from greenlab.core import facts
from greenlab.core.checks import one_of
from greenlab.core.facts.index import VERDICTS
from greenlab.lab.charts import bars_with_range, require_columns
from greenlab.lab.theme import BLUE, GREEN, MUTED, ORANGE, VERMILION, WIDTH
from greenlab.lab.widgets import Explorer
from greenlab.start_here.view import exercises  # noqa: F401 - registers the exercise
from greenlab.start_here.view.progress import Progress

__all__ = ["ClaimsLedger", "Progress", "claims", "claims_table", "run_chart", "verdict_chart", "verdict_twin"]

ALL = "all"
ORIGINS = {"article": "the article", "addition": "added by us", "warning": "warned of by us"}  # column origin, in words
COLOURS = {"confirmed": GREEN, "imprecise": ORANGE, "wrong": VERMILION, "outdated": BLUE, "unverifiable": MUTED}
MARKS = {"confirmed": "✓", "imprecise": "≈", "wrong": "✗", "outdated": "⌛", "unverifiable": "?"}
HEIGHT = "34em"  # of the table of claims, which scrolls within


def _require(table: pd.DataFrame, *columns: str) -> None:
    """Raise unless the table has these columns; a table without rows is a search that found nothing."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"table is {type(table).__name__}; give rows of facts.table('claims')")
    if missing := [column for column in columns if column not in table.columns]:
        raise ValueError(f"table lacks {', '.join(missing)}; give rows of facts.table('claims')")


def claims(section: str = ALL, verdict: str = ALL, search: str = "", origin: str = ALL) -> pd.DataFrame:
    """The claims of one section and verdict that hold every word of ``search`` somewhere, in the order of the table.

    Args:
        section: a section of the article, or "all".
        verdict: one of the five verdicts, or "all".
        search: words that all have to occur, in small or capital letters.
        origin: article, addition or warning, as the table's column ``origin`` defines them, or "all".

    Returns:
        Rows of the fact table ``claims``.

    Raises:
        TypeError: if an argument is no text.
        ValueError: if there is no such section, verdict or origin.
    """
    table = facts.table("claims")
    one_of("section", section, (ALL, *sorted(table["section"].unique())))
    one_of("verdict", verdict, (ALL, *VERDICTS))
    one_of("origin", origin, (ALL, *ORIGINS))
    if not isinstance(search, str):
        raise TypeError(f"search is {search!r}; give the words to look for, as text")
    keep = pd.Series(True, index=table.index)
    if section != ALL:
        keep &= table["section"] == section
    if verdict != ALL:
        keep &= table["verdict"] == verdict
    if origin != ALL:
        keep &= table["origin"] == origin
    words = table[["id", "claim", "why", "source", "source_says"]].fillna("").agg(" ".join, axis=1).str.lower()
    for word in search.lower().split():
        keep &= words.str.contains(word, regex=False)
    return table[keep].reset_index(drop=True)


def verdict_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Number of claims for every verdict, those with none included: verdict, claims.

    Args:
        table: rows of the fact table ``claims``.

    Raises:
        TypeError: if it is no DataFrame.
        ValueError: if it has no column ``verdict``.
    """
    _require(table, "verdict")
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
    """Draw how many claims got which verdict.

    Args:
        table: rows of the fact table ``claims``.
        title: the finding, as a sentence.
    """
    return _verdict_bars(verdict_counts(table), title)


def _headline(counts: pd.DataFrame) -> str:
    """What the counts by verdict say, as a title: how many of the claims hold as they stand."""
    total = int(counts["claims"].sum())
    holds = int(counts.loc[counts["verdict"] == "confirmed", "claims"].sum())
    if not total:
        return "No claim fits your choice"
    return f"{holds} of {total} claims hold as they stand"


def verdict_twin(table: pd.DataFrame, title: str) -> Any:
    """The counts by verdict with a menu of sections that works without a kernel.

    Args:
        table: rows of the fact table ``claims``.
        title: the finding, as a sentence that is true of every section.
    """
    sections = sorted(table["section"].unique())
    rows = [verdict_counts(table).assign(section=ALL)]
    rows += [verdict_counts(table[table["section"] == section]).assign(section=section) for section in sections]
    menu = alt.param(name="section", value=ALL, bind=alt.binding_select(options=[ALL, *sections], name="Section: "))
    chart = _verdict_bars(pd.concat(rows), title, "Choose a section below the chart")
    chart.layer = [layer.transform_filter("datum.section == section") for layer in chart.layer]
    return chart.add_params(menu)


def claims_table(table: pd.DataFrame) -> str:
    """The claims as an HTML table with real header cells, which scrolls where it is long.

    Args:
        table: rows of the fact table ``claims``.

    Returns:
        A row per claim: the verdict, the claim with a link to its source, and why; what the source says and the sum
        that was done are folded below the reason.

    Raises:
        TypeError: if it is no DataFrame.
        ValueError: if a column is missing.
    """
    columns = ["verdict", "claim", "why", "source", "url", "source_says", "recompute"]
    _require(table, *columns)
    line, cell = (
        "1px solid var(--jp-border-color2, #e0e0e0)",
        "text-align:left;vertical-align:top;padding:4px 14px 4px 0",
    )
    head = "".join(
        f'<th scope="col" style="{cell};border-bottom:{line}">{name}</th>' for name in ("Verdict", "Claim", "Because")
    )
    rows = []
    for row in table[columns].astype(object).fillna("").to_dict("records"):
        verdict = f'<span style="white-space:nowrap">{MARKS[row["verdict"]]} {row["verdict"]}</span>'
        cells = (verdict, f"{html.escape(row['claim'])} {_source_link(row)}", html.escape(row["why"]) + _folded(row))
        values = "".join(f'<td style="{cell};border-bottom:{line}">{text}</td>' for text in cells)
        rows.append(f'<tr style="background:none">{values}</tr>')
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    # a region that scrolls has to be reachable by the keyboard, and to have a name
    return (
        f'<div role="region" aria-label="Claims" tabindex="0" style="max-height:{HEIGHT};overflow:auto">'
        f'<table style="border-collapse:collapse;max-width:62em">{body}</table></div>'
    )


def _source_link(row: dict[Any, Any]) -> str:
    """The source's own address: a widget's relative link would be resolved against Lab's page."""
    if not row["url"]:
        return f"({html.escape(row['source'])})"
    look = "color:var(--jp-content-link-color, #0072B2);text-decoration:underline"
    name, address = html.escape(row["source"]), html.escape(row["url"], quote=True)
    return f'<a href="{address}" target="_blank" rel="noopener" title="{name}" style="{look}">source</a>'


def _folded(row: dict[Any, Any]) -> str:
    texts = {"The source": row["source"], "It says": row["source_says"], "The sum": row["recompute"]}
    lines = "".join(f"<p><b>{name}:</b> {html.escape(text)}</p>" for name, text in texts.items() if text)
    return f"<details><summary>what the source says</summary>{lines}</details>" if lines else ""


class ClaimsLedger(Explorer):
    """The claims behind the book: choose where they are from, a section and a verdict, or search; all else follows."""

    def __init__(self) -> None:
        sections = sorted(facts.table("claims")["section"].unique())
        self.table = W.HTML()
        controls = {
            "origin": W.Dropdown(
                options=[(ALL, ALL), *((words, key) for key, words in ORIGINS.items())], value=ALL, description="From"
            ),
            "section": W.Dropdown(options=[ALL, *sections], value=ALL, description="Section"),
            "verdict": W.Dropdown(options=[ALL, *VERDICTS], value=ALL, description="Verdict"),
            "search": W.Text(value="", description="Words", placeholder="for example Ireland", continuous_update=True),
        }
        super().__init__(controls, self._chart, self._sentence)
        self.children = (*self.children, self.table)  # type: ignore[has-type]

    def _chart(self, **chosen: str) -> Any:
        counts = verdict_counts(claims(**chosen))
        return _verdict_bars(counts, _headline(counts))

    def _sentence(self, **chosen: str) -> str:
        found = claims(**chosen)
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
    drawn = sorted(set(data["basis"]))
    chart = bars_with_range(
        data, "label", "energy_j", band=("low_j", "high_j"), basis="basis", title=title, value_format=",.0f",
        x_title="Energy of one run [J]", description="Energy of one run through each notebook, with its range",
    )  # fmt: skip
    chart.layer[0].encoding.opacity.legend = alt.Legend(title="Basis", values=drawn)  # no entry for what is not drawn
    return chart
