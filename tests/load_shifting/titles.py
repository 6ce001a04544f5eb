"""What proves each title of chapter 9, from its committed tables and from the simulator."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core.grid.traces import Traces
from greenlab.core.machine import ROOT
from greenlab.lab.widgets import Explorer
from greenlab.load_shifting import Jobs, simulate, study
from greenlab.load_shifting import view as see
from greenlab.load_shifting.study import tables as work
from greenlab.load_shifting.view import twin
from greenlab.load_shifting.view import widget as widgets
from tests.titles import LiveProof

NOTEBOOK = ROOT / "notebooks" / "09_load_shifting.ipynb"


@lru_cache(maxsize=1)
def _tables() -> dict[str, pd.DataFrame]:
    return study.load()


def _days(month: int) -> pd.DataFrame:
    """Intensity of the average day: a row a zone, a column an hour."""
    return work.at(_tables()["profile"], month=month).pivot(index="zone", columns="hour", values="intensity_g_per_kwh")


def _grids_and_hours() -> bool:
    days = _days(0)
    between, within = days.max() / days.min(), days.max(axis=1) / days.min(axis=1)
    return len(days) == 36 and bool((between > 40).all() and (within < 3).all())


def _poland_and_switzerland() -> bool:
    rows = work.at(_tables()["profile"], basis="computed")
    days = work.at(rows, month=0).pivot(index="zone", columns="hour", values="intensity_g_per_kwh")
    ends = (set(days.idxmax()), set(days.idxmin()))
    return days.shape == (25, 24) and ends == ({"PL"}, {"CH"})


def _noon_below_evening_in_every_month() -> bool:
    rows = _tables()["profile"].query("month > 0 and zone in ['DE', 'IT', 'US-CAL']")
    days = rows.pivot(index=["zone", "month"], columns="hour", values="rest")
    return len(days) == 36 and all(bool((days[12] < days[hour]).all()) for hour in (17, 18, 19, 20, 21))


def _three_hours() -> bool:
    traces = _three()
    grams = [
        simulate(Jobs(0, 2, 1.0, 1, interruptible=pause), traces, policy).carbon_g[0]
        for policy, pause in (("now", False), ("best_start", False), ("k_cheapest", True))
    ]
    return bool(np.allclose([1 - grams[1] / grams[0], 1 - grams[2] / grams[0]], [1 / 5, 2 / 5]))


def _three() -> Traces:
    """The three hours, as the notebook writes them down."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    lines = [line for cell in cells for line in "".join(cell["source"]).splitlines()]
    (written,) = [line for line in lines if line.startswith("intensity = ")]
    return Traces(("here",), "2019-01-01", 1.0, [ast.literal_eval(written.removeprefix("intensity = "))])


def _slack() -> bool:
    saved = work.by_slack(_tables()["temporal"], 2019).set_index(["pauses", "slack_d"])["saved_pct"]
    shown = [saved[False, 1], saved[True, 1], saved[False, 7], saved[True, 7]]
    return [round(value) for value in shown] == [6, 10, 20, 25]


def _countries() -> bool:
    rows = work.at(work.by_country(_tables()["temporal"], 2019), basis="computed")
    saved, dirty = rows["pauses_pct"], rows["g_per_kwh"]
    ends = (len(rows), round(saved.min()), round(saved.max()))
    return ends == (25, 4, 23) and bool(abs(saved.corr(dirty, "spearman")) < 0.1)


def _reach() -> bool:
    wide = work.by_reach(_tables()["reach"]).pivot(index="reach_km", columns="way", values="saved_pct")
    once = wide["at once, the cleanest of the year"]
    far = wide.index >= 1000
    adds = (wide.max(axis=1) - once)[far]
    below = (wide.max(axis=1) - once)[~far]
    return far.sum() >= 3 and bool((once[far] >= 69).all() and (adds <= 3).all() and (below > 3).all())


def _fleet() -> bool:
    rows = work.by_utilisation(_tables()["capacity"]).set_index(["policy", "flexible", "utilisation"])["saved_pct"]
    return (round(rows["joint", 1.0, 0.3]), round(rows["joint", 1.0, 0.9])) == (78, 22)


def _errors() -> bool:
    """About twice: between 1.9 and 2.4 times at every size of the error."""
    wide = work.by_error(_tables()["forecasts"]).pivot(index="error", columns="forecast", values="saved_pct")
    lost = wide.loc[0] - wide[wide.index > 0]
    times = lost["errors with memory"] / lost["independent errors"]
    return len(times) == 5 and bool(times.between(1.9, 2.4).all())


def _signals() -> bool:
    rows = work.at(_tables()["signals"], decided_by="average")
    german = work.at(rows, zone="DE").set_index("last")
    by_average, by_marginal = german["average_saved_pct"].round(), german["marginal_saved_pct"].round()
    less = (rows["marginal_saved_pct"] < rows["average_saved_pct"]).all()
    return bool(less and (by_average == 14).all() and (by_marginal["gas"], by_marginal["coal"]) == (2, 5))


def _front() -> bool:
    rows = _tables()["front"].set_index("weight")
    cheapest, cleanest = rows.loc[rows["cost"].idxmin()], rows.loc[rows["carbon_kg"].idxmin()]
    shown = (cheapest["saved_pct"], cleanest["saved_pct"], cleanest["cheaper_pct"])
    return [round(value) for value in shown] == [3, 19, -3]


def _pairs() -> bool:
    times = work.at(_tables()["pairs"], kind="grids", basis="computed")["times"]
    return (len(times), int(times.between(30, 40).sum())) == (300, 1)


def _photons() -> bool:
    rows = _tables()["photons"]
    won = set(rows.loc[rows["network_pct"] < rows["line_pct"], "work"])
    lost = set(rows.loc[rows["network_pct"] > rows["line_pct"], "work"])
    wins = {"train GPT-3 (0.5 trillion tokens)", "train BLOOM (1.6 TB of text)", "fine-tune a 7B model for a day"}
    return won == wins | {"one chat prompt"} and lost == {"describe 1 TB of photographs", "transcode an hour of video"}


def _one_job() -> bool:
    """The hours of the job, taken one by one: the 24 cleanest of its window against the first 24."""
    first = (12 - 1) * 168
    values = widgets.hours_of_the_year().select(["DE"]).intensity_g_per_kwh[0, first : first + twin.SHOWN_H]
    least = [np.sort(values[: 24 + slack])[:24].sum() for slack in (24, 96)]
    return [round(100 * (1 - grams / values[:24].sum())) for grams in least] == [14, 24]


TITLES = {
    "Grids differ more than 40 times, the hours of an average day less than 3 times": _grids_and_hours,
    "Poland is the dirtiest and Switzerland the cleanest at every hour of the day": _poland_and_switzerland,
    "In every month sun and wind leave less to other plants at noon than in the evening": (
        _noon_below_evening_in_every_month
    ),
    "Waiting saves a fifth here, pausing two fifths": _three_hours,
    "A day of patience saves 6 % on average, 10 % with pauses; a week 20 % and 25 %": _slack,
    "A day of patience saves 4 % to 23 %, and how dirty the grid is does not decide it": _countries,
    "From 1,000 km on, moving once saves 69 % or more; all other freedom adds 3 points at most": _reach,
    "Where all work may move, a fleet saves 78 % with machines 30 % busy and 22 % at 90 %": _fleet,
    "A day of slack saves 14 % of this job's carbon, four days 24 %": _one_job,
    "Errors that last cost a day-long job in one piece about twice what independent errors cost": _errors,
    "Counted by the marginal plant, schedules save less: in Germany 2 % or 5 % instead of 14 %": _signals,
    "The cheapest plan saves 3 % of the carbon; the cleanest saves 19 % and costs 3 % more": _front,
    "One pair of countries in three hundred is 30 to 40 times apart": _pairs,
    "Moving the data beats a power line for training and chat, and loses for photographs and video": _photons,
}


def _carbon_g(found: widgets.Outcome) -> tuple[float, float]:
    """Carbon of the runs that are done, and of the same runs at once and at home, hour by hour [g]."""
    grid, pieces = found.hours.intensity_g_per_kwh, found.schedule.pieces
    spent = 0.0
    for zone, start, stop in zip(pieces.zone, pieces.start, pieces.stop, strict=True):
        hours = np.arange(int(start), int(np.ceil(stop)))
        used = np.minimum(stop, hours + 1) - np.maximum(start, hours)
        spent += widgets.RUN_KW * float((grid[zone, hours] * used).sum())
    done = len(set(pieces.job.tolist()))
    at_once = grid[0, widgets.DAY_H : widgets.DAY_H + int(widgets.RUN_H)].sum()
    return spent, done * widgets.RUN_KW * float(at_once)


def _timeline(values: dict[str, Any], title: str) -> bool:
    """The title is a parameter of the chart; its words must be what the hours of the schedule come to."""
    if title != "plan.headline":
        return False
    found = widgets.shift(**values)
    shown = widgets.timeline_values(found, values["slack_h"])["headline"]
    spent, base = _carbon_g(found)
    missed = widgets.RUNS - len(set(found.schedule.pieces.job.tolist()))
    if missed == widgets.RUNS:
        return shown == "No run finds machines before its deadline"
    saved = 100 * (1 - spent / base)
    words = f"{abs(saved):.0f} % {'less' if saved > 0 else 'more'} carbon than at once, at home"
    if round(abs(saved)) == 0:
        words = "As much carbon as at once, at home"
    return shown == words + (f"; {missed} of 8 runs are not done" if missed else "")


LIVE: dict[str, tuple[Callable[[], Explorer], LiveProof]] = {"shift_explorer": (see.shift_explorer, _timeline)}
