"""What a class found out together: answers, calibration and energies as tidy tables, and one chart for each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import altair as alt
import pandas as pd

from greenlab.core import checks
from greenlab.core.names import ENERGY_BASES
from greenlab.lab import charts, predictions
from greenlab.lab.classroom.submission import Submission, same_name

CALIBRATION = ["learner", "id", "unit", "prediction", "truth", "ratio", "good_call"]
ENERGIES = ["learner", "machine", "chapter", "run", "energy_j", "low_j", "high_j", "basis"]
SPREADS = ["run", "readers", "machines", "least_j", "most_j", "factor", "bases"]
LEAST_J, MOST_J = 1e-12, 1e15  # no run of the book is beyond; a made-up one would make every other bar vanish
LONGEST_RUN = 100  # letters: what a submission names a run is drawn beside its bar


def shares_right(table: pd.DataFrame) -> pd.DataFrame:
    """How many of those who tried an exercise have it right.

    Args:
        table: as ``grade_folder`` gives it.

    Returns:
        One row per exercise that anyone tried, the hardest first, with the columns exercise, tried, correct and
        share_pct [%].

    Raises:
        TypeError: if it is no table.
        ValueError: if a column is missing.
    """
    checks.instance("table", table, pd.DataFrame)
    if missing := [name for name in ("exercise", "outcome") if name not in table.columns]:
        raise ValueError(f"table has no column {missing[0]}: give what grade_folder(...) returns")
    tried = table[~table["outcome"].isin(["not tried", "refused"])]
    right = tried["outcome"].eq("correct").groupby(tried["exercise"]).agg(tried="size", correct="sum").reset_index()
    right["share_pct"] = 100.0 * right["correct"] / right["tried"]
    return right.sort_values(["share_pct", "exercise"], ignore_index=True)


def _submissions(value: Any) -> list[tuple[str, Submission]]:
    """Each submission with its reader's name; a second reader of the same name is told apart by a number."""
    seen: Counter[str] = Counter()
    named = []
    for one in checks.several("submissions", value):
        checks.instance("submissions", one, Submission)
        name = same_name(one.name)
        seen[name] += 1
        named.append((one.name if seen[name] == 1 else f"{one.name} ({seen[name]})", one))
    return named


def calibration(submissions: Iterable[Submission]) -> pd.DataFrame:
    """Every revealed prediction of a class against what that reader then found.

    Args:
        submissions: those of the class that were not refused.

    Returns:
        One row per learner and question, with the columns learner, id, unit, prediction, truth, ratio (prediction over
        truth; missing unless both are above 0) and good_call. Entries that are no predictions are left out.

    Raises:
        TypeError: if one of them is no submission.
    """
    rows = []
    for learner, one in _submissions(submissions):
        for id, entry in one.predictions.items():
            if "truth" not in entry or predictions._problem_of_score(id, dict(entry)):
                continue
            guess, truth = entry["prediction"], entry["truth"]
            ratio = guess / truth if guess > 0 and truth > 0 else math.nan
            values = {key: entry[key] for key in ("unit", "prediction", "truth")}
            good = predictions._good_call(dict(entry))
            rows.append(
                {
                    "learner": learner,
                    "id": id,
                    **values,
                    "ratio": ratio if math.isfinite(ratio) else None,
                    "good_call": good,
                }
            )
    return pd.DataFrame(rows, columns=CALIBRATION)


def energies(submissions: Iterable[Submission]) -> pd.DataFrame:
    """The joules that each machine of a class reported, for the runs in its ledger and among its receipts.

    Args:
        submissions: those of the class that were not refused.

    Returns:
        One row per learner and run, with the columns learner, machine, chapter, run, energy_j [J], low_j and high_j
        [J] (missing in the ledger, which keeps no range) and basis. Entries without an energy from 1e-12 J to
        1e15 J, or with one outside its own range, are left out.

    Raises:
        TypeError: if one of them is no submission.
    """
    rows = []
    for learner, one in _submissions(submissions):
        machine = f"{one.machine['processor']}, {one.machine['cores']} cores"
        found = [
            {"run": "baseline", "energy_j": entry.get("baseline")}
            | {key: entry.get(key) for key in ("chapter", "basis")}
            for entry in one.ledger.values()
            if entry.get("quantity") == "energy"
        ]
        found += [{"run": entry.get("label")} | entry for entry in map(dict, one.receipts.values())]
        for entry in found:
            if (row := _energy_row(entry)) is not None:
                rows.append({"learner": learner, "machine": machine} | row)
    return pd.DataFrame(rows, columns=ENERGIES).astype(dict.fromkeys(("energy_j", "low_j", "high_j"), float))


def _energy_row(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """One run of a submission, or None if it cannot be drawn: everything in it may be made up."""
    chapter, run = entry.get("chapter") or "", entry.get("run")
    if not all(isinstance(text, str) and text.isprintable() and len(text) <= LONGEST_RUN for text in (chapter, run)):
        return None
    try:
        energy_j = checks.number("energy_j", entry.get("energy_j"), low=LEAST_J, high=MOST_J)
        ends = (entry.get("low_j"), entry.get("high_j"))
        low_j, high_j = (math.nan, math.nan) if ends == (None, None) else map(_joules, ends)
        basis = checks.one_of("basis", entry.get("basis"), ENERGY_BASES)
    except (TypeError, ValueError):
        return None
    if low_j > energy_j or energy_j > high_j:
        return None
    name = f"{chapter}: {run}" if chapter else str(run)
    return {"chapter": chapter, "run": name, "energy_j": energy_j, "low_j": low_j, "high_j": high_j, "basis": basis}


def _joules(value: Any) -> float:
    return checks.number("joules", value, low=0)


def spreads(found: pd.DataFrame) -> pd.DataFrame:
    """How far apart the machines of a class are, run by run.

    Args:
        found: as ``energies`` gives it.

    Returns:
        One row per run, those of most readers first, with the columns run, readers (how many reported it), machines
        (how many different descriptions they give: a class on one server has one), least_j and most_j [J], factor
        (most over least) and bases (measured, modelled, or both).

    Raises:
        TypeError: if it is no table.
        ValueError: if a column is missing.
    """
    checks.instance("found", found, pd.DataFrame)
    needed = ("learner", "machine", "run", "energy_j", "basis")
    if missing := [name for name in needed if name not in found.columns]:
        raise ValueError(f"found has no column {missing[0]}: give what energies(...) returns")
    rows = [
        {
            "run": run,
            "readers": one["learner"].nunique(),
            "machines": one["machine"].nunique(),
            "least_j": one["energy_j"].min(),
            "most_j": one["energy_j"].max(),
            "factor": _factor(one["energy_j"]),
            "bases": " and ".join(sorted(set(one["basis"]))),
        }
        for run, one in found.groupby("run")
    ]
    table = pd.DataFrame(rows, columns=SPREADS)
    return table.sort_values(["readers", "run"], ascending=[False, True], ignore_index=True)


def _factor(values: pd.Series) -> float:
    """The most over the least."""
    return float(values.max() / values.min())


def answers_chart(shares: pd.DataFrame) -> alt.LayerChart:
    """Draw the share of right answers by exercise.

    Args:
        shares: as ``shares_right`` gives it, with at least one row.

    Raises:
        TypeError: if it is no table.
        ValueError: if it is empty or a column is missing.
    """
    _rows("shares", shares, "exercise", "share_pct", "tried", "correct")
    hardest = shares[shares["share_pct"] == shares["share_pct"].min()]
    first = hardest.iloc[0]
    if (shares["share_pct"] == 100).all():
        title = "All who tried an exercise have it right"
    elif len(hardest) == 1:
        title = f"The hardest is {first['exercise']}: {first['correct']} of {first['tried']} have it right"
    else:
        title = f"The {len(hardest)} hardest exercises: {first['share_pct']:.0f} % have each of them right"
    return charts.bars_with_range(
        shares, "exercise", "share_pct",
        title=title,
        description="Bars: for each exercise, the share of those who tried it that have it right.",
        x_title="Right, of those who tried [%]", value_format=".0f",
    )  # fmt: skip


def calibration_chart(calibrated: pd.DataFrame) -> alt.LayerChart:
    """Draw how far each prediction was from what its reader found, as a factor.

    Args:
        calibrated: as ``calibration`` gives it, with at least one ratio.

    Raises:
        TypeError: if it is no table.
        ValueError: if it is empty, or a column or every ratio is missing.
    """
    _rows("calibrated", calibrated, "id", "ratio", "good_call")
    shown = calibrated.dropna(subset=["ratio"])
    if shown.empty:
        raise ValueError("calibrated has no ratio: predictions and truths above 0 are needed")
    good = int(calibrated["good_call"].sum())
    return charts.bars_with_range(
        _by_question(shown.astype({"ratio": float})), "id", "ratio", band=("low", "high"),
        title=f"{good} of {len(calibrated)} predictions are good calls",
        subtitle="1 is exact; bars are medians of the class, lines run from its lowest to its highest prediction",
        description="Bars: for each question, the class's median of prediction over truth, with the whole range.",
        x_title="Prediction over truth", value_format=".2f",
    )  # fmt: skip


def _by_question(shown: pd.DataFrame) -> pd.DataFrame:
    return shown.groupby("id")["ratio"].agg(ratio="median", low="min", high="max").reset_index()


def energy_chart(found: pd.DataFrame, run: str) -> alt.LayerChart:
    """Draw the joules of one run on each machine of the class.

    Args:
        found: as ``energies`` gives it.
        run: which run, as in its column run.

    Raises:
        TypeError: if the table is none, or the run no text.
        ValueError: if it is empty, a column is missing, or nobody has the run.
    """
    _rows("found", found, "learner", "machine", "run", "energy_j", "basis")
    checks.one_of("run", run, tuple(sorted(set(found["run"]))))
    shown = found[found["run"] == run].sort_values("energy_j", ignore_index=True)
    shown = shown.assign(who=shown["learner"] + " (" + shown["machine"] + ")")
    ranged = {"low_j", "high_j"} <= set(shown.columns) and bool(shown[["low_j", "high_j"]].notna().all(axis=None))
    again = shown.groupby("who").cumcount() + 1  # one reader may have several energies under one name
    shown = shown.assign(who=shown["who"].where(again == 1, shown["who"] + ", no. " + again.astype(str)))
    readers, machines = shown["learner"].nunique(), shown["machine"].nunique()
    title = f"{run}: {readers} reader{'s' * (readers > 1)}, {machines} kind{'s' * (machines > 1)} of machine"
    if len(shown) > 1:
        title += f"; the most is {_factor(shown['energy_j']):.3g} times the least"
    return charts.bars_with_range(
        shown, "who", "energy_j", basis="basis", band=("low_j", "high_j") if ranged else None,
        title=title,
        subtitle=["Pale bars are modelled: they show the model of a machine, and no counter of it."]
        + ["Lines are the range of each receipt."] * ranged,
        description="Bars: the energy of the same run on each machine of the class, from least to most.",
        x_title="Energy [J]", value_format=".3s",
    )  # fmt: skip


def _rows(name: str, data: Any, *columns: str) -> None:
    checks.instance(name, data, pd.DataFrame)
    if missing := [column for column in columns if column not in data.columns]:
        raise ValueError(f"{name} has no column {missing[0]}; it has {list(data.columns)[:8]}")
    if data.empty:
        raise ValueError(f"{name} has no row: give at least one")
