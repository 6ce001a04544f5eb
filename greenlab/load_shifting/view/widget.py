"""Chapter 9's main widget: shift eight training runs through the hours of 2019, at home, elsewhere, or both."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import altair as alt
import ipywidgets as W
import numpy as np
import pandas as pd

from greenlab.core import grid
from greenlab.core.grid.traces import Traces
from greenlab.core.names import MODELLED
from greenlab.lab.theme import BLUE, MUTED, VERMILION, WIDTH
from greenlab.lab.widgets import Explorer
from greenlab.load_shifting import AR1, Jobs, Schedule, simulate

YEAR, WEEK_H, DAY_H = 2019, 168, 24
WEEKS = (2, 50)  # there is a day before and a week of slack after
RUNS, RUN_H, RUN_KW = 8, 24.0, 10.0
SHOWN_H = DAY_H + WEEK_H + DAY_H + DAY_H  # a day before, the longest slack, the run, a day after
FORECASTS: dict[str, Any] = {
    "perfect": None, "errors with memory, 20 %": AR1(0.97, 0.2, 1), "independent errors, 20 %": AR1(0.0, 0.2, 1),
    "yesterday again": "persistence",
}  # fmt: skip

STAY, NEAR, EUROPE, WORLD = (
    "home only",
    "home and 5 neighbours",
    "25 European countries",
    "all zones, 11 of them MODELLED",
)
REGIONS = (STAY, NEAR, EUROPE, WORLD)


@lru_cache(maxsize=1)
def hours_of_the_year(year: int = YEAR) -> Traces:
    """Every zone of a year as traces, laid out directly: a tidy frame of 36 years would take seconds to turn."""
    table = grid.zones()
    values = [grid.load(zone, year)["intensity_g_per_kwh"].to_numpy() for zone in table["zone"]]
    return Traces(tuple(table["zone"]), pd.Timestamp(f"{year}-01-01"), 1.0, np.stack(values), tuple(table["basis"]))


@lru_cache(maxsize=64)
def neighbours(home: str, n: int = 5) -> tuple[str, ...]:
    """The ``n`` computed zones closest to a zone on the map, by the angle between them."""
    table = grid.zones().set_index("zone")
    lat, lon = (np.radians(table[name].to_numpy(float)) for name in ("latitude", "longitude"))
    at = table.index.get_loc(home)
    cosine = np.sin(lat[at]) * np.sin(lat) + np.cos(lat[at]) * np.cos(lat) * np.cos(lon - lon[at])
    order = [z for z in table.index[np.argsort(-cosine)] if z != home and table.loc[z, "basis"] != MODELLED]
    return tuple(order[:n])


@dataclass(frozen=True)
class Outcome:
    """A schedule of the eight runs, the hours it ran over (home first), and what it came to."""

    schedule: Schedule
    hours: Traces
    metrics: dict[str, Any]

    @property
    def where(self) -> list[str]:
        """Zones in which anything ran, the busiest first."""
        p = self.schedule.pieces
        time = np.bincount(p.zone, p.stop - p.start, minlength=len(self.hours.zones))
        return [self.hours.zones[z] for z in np.argsort(-time, kind="stable") if time[z] > 0]


def shift(
    home: str, week: int, slack_h: int, pause: bool, regions: str, forecast: str, machines: int, year: int = YEAR
) -> Outcome:
    """Simulate eight runs of a day, 10 kW each, that are handed in together at the beginning of a week.

    Args:
        home: the zone they belong to.
        week: of the year, counted in steps of seven days from 1 January.
        slack_h: how much later than at once each may finish [h].
        pause: whether they may pause.
        regions: which zones they may run in, one of `REGIONS`.
        forecast: what the planner believes, a name of `FORECASTS`.
        machines: how many runs fit into a zone at once; with eight there is no limit.
        year: of the hours.
    """
    full = hours_of_the_year(year)
    allowed = {STAY: (), NEAR: neighbours(home), WORLD: full.zones}.get(
        regions, [z for z, b in zip(full.zones, full.basis, strict=True) if b != MODELLED]
    )
    rows = [full.index(z) for z in dict.fromkeys((home, *allowed))]
    first = (week - 1) * WEEK_H - DAY_H  # a day before, for a planner who looks at yesterday
    values = full.intensity_g_per_kwh[rows, first : first + SHOWN_H]
    zones, basis = [full.zones[r] for r in rows], [full.basis[r] for r in rows]
    part = Traces(tuple(zones), full.time(first), 1.0, values, tuple(basis))
    jobs = Jobs(np.full(RUNS, DAY_H), RUN_H, RUN_KW, slack_h, interruptible=pause, home=home)
    policy = "k_cheapest" if regions == STAY else "joint"
    room = None if machines >= RUNS else machines * RUN_KW
    schedule = simulate(jobs, part, policy, forecast=FORECASTS[forecast], capacity=room)
    return Outcome(schedule, part, schedule.metrics())


def compared(saved_pct: float, digits: int = 0) -> str:
    """A saving in words, with "less", "more" or "as much" as the written digits say.

    >>> compared(13.96), compared(-0.3), compared(-12.34, digits=1)
    ('14 % less', 'as much', '12.3 % more')
    """
    written = f"{abs(saved_pct):.{digits}f}"
    return "as much" if float(written) == 0 else f"{written} % {'less' if saved_pct > 0 else 'more'}"


def headline(found: Outcome) -> str:
    """The title of the timeline: what the schedule saves, and whether a run is missing from it."""
    m = found.metrics
    if m["missed"] == RUNS:
        return "No run finds machines before its deadline"
    words = compared(m["saved_pct"])
    than = f"{words} carbon {'as' if words == 'as much' else 'than'} at once, at home"
    return than[0].upper() + than[1:] + (f"; {m['missed']} of {RUNS} runs are not done" if m["missed"] else "")


def _first_three(names: list[str]) -> str:
    return ", ".join(names[:3]) + " …" * (len(names) > 3)


def timeline_values(found: Outcome, slack_h: int) -> dict[str, Any]:
    """What the timeline chart needs to know, as the parameter ``plan``: one number an hour, None where nothing runs."""
    hours = found.hours
    load = found.schedule.pieces.load(np.ones(RUNS), len(hours.zones), hours.n_steps)
    home, away = load[0], load[1:].sum(axis=0)
    mean = np.where(
        away > 0, (load[1:] * hours.intensity_g_per_kwh[1:]).sum(axis=0) / np.where(away > 0, away, 1), np.nan
    )
    used = found.where
    marked = [z for z in dict.fromkeys((hours.zones[0], *used)) if hours.basis[hours.index(z)] == MODELLED]
    return {
        "grid": hours.intensity_g_per_kwh[0].round(1).tolist(),
        "here": home.round(2).tolist(),
        "away": (home + away).round(2).tolist(),
        "there": [None if np.isnan(x) else round(float(x), 1) for x in mean],
        "due": (slack_h + RUN_H) / DAY_H,
        "headline": headline(found),
        "key": f"line: {label(hours.zones[0])}; filled: hours at work, blue at home, orange elsewhere",
        "places": f"Work in: {_first_three([label(z) for z in used]) or 'no place'}",
        "warning": f"{MODELLED.upper()} hours, right in size and shape only: {_first_three([_name(z) for z in marked])}"
        if marked
        else "",
    }


def _name(zone: str) -> str:
    return str(grid.zones().set_index("zone").loc[zone, "name"])


@lru_cache(maxsize=64)
def label(zone: str) -> str:
    """A zone's name, which says so if its hours are modelled.

    >>> label("FR"), label("SG")
    ('France', 'Singapore (MODELLED)')
    """
    row = grid.zones().set_index("zone").loc[zone]
    return f"{row['name']} ({MODELLED.upper()})" if row["basis"] == MODELLED else str(row["name"])


def timeline(found: Outcome, slack_h: int) -> alt.VConcatChart:
    """Draw the grid at home hour by hour, and below how many runs are at work: blue at home, orange elsewhere.

    What changes from move to move is a parameter, so that the page redraws without a new chart (Altair takes 0.3 s to
    make one).
    """
    start = timeline_values(found, slack_h)
    at = [f"plan.{name}[datum.t]" for name in ("grid", "here", "away", "there")]
    data = alt.Chart(alt.sequence(0, SHOWN_H, as_="t")).transform_calculate(
        d=f"(datum.t - {DAY_H}) / {DAY_H}",
        e=f"(datum.t - {DAY_H - 1}) / {DAY_H}",
        grid=at[0],
        here=at[1],
        away=at[2],
        there=at[3],
    )
    axis = alt.X("d:Q", title=None).scale(domain=[-1, SHOWN_H / DAY_H - 1], nice=False).axis(tickCount=10)
    days = axis.title("Days since the runs were handed in (dashed: their deadline)")
    gram = alt.Y("grid:Q", title="g CO₂e/kWh").scale(domainMin=0)
    line = data.mark_line(color="#999999", interpolate="step-after", strokeWidth=1.5, aria=False).encode(x=axis, y=gram)
    zero = {"y2": alt.datum(0)}
    here = (
        data.transform_filter("datum.here > 0")
        .mark_rect(color=BLUE, opacity=0.85, aria=False)
        .encode(x=axis, x2="e:Q", y=gram, **zero)
    )
    away = data.transform_filter("datum.away > datum.here").mark_rect(color=VERMILION, opacity=0.85, aria=False)
    away = away.encode(x=axis, x2="e:Q", y="there:Q", **zero)
    count = alt.Y("here:Q", title="Runs at work").scale(domain=[0, RUNS]).axis(values=[0, RUNS // 2, RUNS])
    box = (
        data.transform_filter("datum.here > 0")
        .mark_rect(color=BLUE, aria=False)
        .encode(x=days, x2="e:Q", y=count, y2=alt.datum(0))
    )
    more = data.transform_filter("datum.away > datum.here").mark_rect(color=VERMILION, aria=False)
    more = more.encode(x=days, x2="e:Q", y="away:Q", y2="here:Q")
    mark = (
        alt.Chart(alt.sequence(0, 1, as_="t"))
        .transform_calculate(d="plan.due")
        .mark_rule(strokeDash=[5, 4], color=MUTED)
    )
    top = alt.layer(here, away, line, mark.encode(x="d:Q")).properties(width=WIDTH, height=190)
    below = alt.layer(box, more, mark.encode(x="d:Q")).properties(width=WIDTH, height=80)
    words = alt.Chart(alt.sequence(0, 1, as_="t")).transform_calculate(
        key="plan.key", places="plan.places", warning="plan.warning"
    )
    note: dict[str, Any] = {"align": "left", "x": 0, "fontSize": 12.5}
    head = alt.layer(
        words.mark_text(**note, y=4, color=MUTED).encode(text="key:N"),
        words.mark_text(**note, y=20, color=MUTED).encode(text="places:N"),
        words.mark_text(**note, y=36, color=VERMILION, fontWeight="bold").encode(text="warning:N"),
    ).properties(width=WIDTH, height=38)
    both = alt.vconcat(head, top, below, spacing=8).properties(
        title=alt.Title(alt.expr("plan.headline")),
        description="Hourly carbon intensity at home, the hours in which the runs work, and how many work at once",
    )  # fmt: skip
    return both.add_params(alt.param(name="plan", value=start))  # one parameter: one message to the page, one back


def shift_explorer() -> Explorer:
    """Shift eight training runs: the reader chooses home, week, wait, pauses, travel and what is known ahead."""

    @lru_cache(maxsize=32)
    def outcome(**values: Any) -> Outcome:
        return shift(**values)

    def say(**values: Any) -> str:
        found, m = outcome(**values), outcome(**values).metrics
        if m["missed"] == RUNS:
            return f"None of the {RUNS} runs finds machines before its deadline: give more slack, machines or regions."
        share = compared(m["saved_pct"], digits=1)
        places = ", ".join(map(label, found.where[:3]))
        kept = "every deadline is kept" if not m["missed"] else f"{m['missed']} of {RUNS} runs miss their deadline"
        return (
            f"{m['carbon_kg']:,.0f} kg instead of {m['baseline_kg']:,.0f} kg at once: {share}.\n"
            f"The runs work in {places}, finish "
            f"{m['delay_p50_h']:.0f} h later (median), pause {m['pauses']} times; {kept}."
        )

    def reached(**values: Any) -> bool:
        m = outcome(**values).metrics
        away = values["regions"] != STAY
        return not away and values["forecast"] != "perfect" and m["saved_pct"] >= 20 and not m["missed"]

    table = grid.zones()
    first: dict[str, Any] = {"home": "DE", "week": 12, "slack_h": 24, "pause": False}
    first |= {"regions": STAY, "forecast": "perfect", "machines": RUNS}
    controls: dict[str, Any] = {
        "home": W.Dropdown(options=[(label(z), z) for z in table["zone"]], value="DE", description="Home"),
        "week": W.IntSlider(value=12, min=WEEKS[0], max=WEEKS[1], description="Week of 2019"),
        "slack_h": W.IntSlider(value=24, min=0, max=WEEK_H, step=6, description="Slack [h]"),
        "regions": W.Dropdown(options=REGIONS, value=STAY, description="Where"),
        "forecast": W.Dropdown(options=list(FORECASTS), value="perfect", description="Forecast"),
        "machines": W.IntSlider(value=RUNS, min=1, max=RUNS, description="Machines in each zone"),
        "pause": W.Checkbox(value=False, description="The runs may pause", indent=False),
    }
    goal = "save 20 % without leaving home, under a forecast that is not perfect, every deadline kept"

    def draw(**values: Any) -> dict[str, Any]:
        return {"plan": timeline_values(outcome(**values), values["slack_h"])}

    return Explorer(controls, draw, say, reached, goal, base=timeline(shift(**first), first["slack_h"]))
