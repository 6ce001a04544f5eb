"""Chapter 9's tables, worked out further: pure functions from the study's tables to tidy ones, for charts and prose."""

from __future__ import annotations

from typing import Any

import pandas as pd

WAYS = {False: "in one piece", True: "with pauses"}
SOURCES = {
    "geothermal": "geothermal power", "hydro": "hydropower", "nuclear": "nuclear power",
    "solar-utility": "solar power, large plants", "wind-offshore": "wind power at sea",
    "wind-onshore": "wind power on land",
}  # fmt: skip


def at(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows of a table that have these values.

    >>> at(pd.DataFrame({"a": [1, 2], "b": [3, 4]}), a=2)["b"].tolist()
    [4]
    """
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def by_slack(temporal: pd.DataFrame, year: int, duration_h: float = 24) -> pd.DataFrame:
    """Mean saving over the computed countries by slack: way, slack_h, slack_d, saved_pct; low, high: quartiles."""
    rows = at(temporal, year=year, duration_h=duration_h, basis="computed")
    found = rows.groupby(["pauses", "slack_h"])["saved_pct"]
    table = pd.DataFrame({"saved_pct": found.mean(), "low": found.quantile(0.25), "high": found.quantile(0.75)})
    table = table.reset_index()
    return table.assign(way=table["pauses"].map(WAYS), slack_d=table["slack_h"] / 24)


def by_country(temporal: pd.DataFrame, year: int, slack_h: float = 24, duration_h: float = 24) -> pd.DataFrame:
    """Saving of every zone: zone, basis, g_per_kwh, one_piece_pct, pauses_pct, saved_g_per_kwh (with pauses)."""
    rows = at(temporal, year=year, slack_h=slack_h, duration_h=duration_h)
    wide = rows.pivot(index=["zone", "basis", "g_per_kwh"], columns="pauses", values="saved_pct").reset_index()
    wide = wide.rename(columns={False: "one_piece_pct", True: "pauses_pct"})
    return wide.assign(saved_g_per_kwh=wide["g_per_kwh"] * wide["pauses_pct"] / 100)


def mean_both_ways(temporal: pd.DataFrame, year: int) -> pd.DataFrame:
    """The mean saving over countries in two ways: pauses, of_percent, of_grams.

    One is a mean of percentages, the other the mean of grams saved over the mean of grams.
    """
    rows = at(temporal, year=year, slack_h=24, duration_h=24, basis="computed")
    grams = (rows["saved_pct"] * rows["g_per_kwh"]).groupby(rows["pauses"]).sum()
    total = rows["g_per_kwh"].groupby(rows["pauses"]).sum()
    mean = rows.groupby("pauses")["saved_pct"].mean()
    return pd.DataFrame({"pauses": mean.index, "of_percent": mean.to_numpy(), "of_grams": (grams / total).to_numpy()})


def by_reach(reach: pd.DataFrame) -> pd.DataFrame:
    """Mean saving over the homes by how far a job may go: way, reach_km, saved_pct, low, high."""
    found = reach.groupby(["way", "reach_km"], sort=False)["saved_pct"]
    table = pd.DataFrame({"saved_pct": found.mean(), "low": found.quantile(0.25), "high": found.quantile(0.75)})
    return table.reset_index()


def by_error(
    forecasts: pd.DataFrame, zone: str = "DE", duration_h: float = 24, *, pauses: bool = False
) -> pd.DataFrame:
    """Saving by the size of the error, in one zone: forecast, error, saved_pct, low, high over the seeds."""
    rows = at(forecasts, zone=zone, duration_h=duration_h, pauses=pauses)
    perfect = float(at(rows, forecast="perfect")["saved_pct"].iloc[0])
    rows = rows[rows["error"] > 0]
    found = rows.groupby(["forecast", "error"])["saved_pct"].agg(["mean", "min", "max"]).reset_index()
    found = found.rename(columns={"mean": "saved_pct", "min": "low", "max": "high"})
    start = pd.DataFrame([{"forecast": f, "error": 0.0, **dict.fromkeys(("saved_pct", "low", "high"), perfect)}
                          for f in found["forecast"].unique()])  # fmt: skip
    return pd.concat([start, found], ignore_index=True).sort_values(["forecast", "error"], ignore_index=True)


def by_utilisation(capacity: pd.DataFrame) -> pd.DataFrame:
    """Saving by how full the machines are: line, utilisation, saved_pct, low, high over the weeks."""
    where = {"k_cheapest": "at home", "joint": "8 countries"}
    found = (
        capacity.groupby(["policy", "flexible", "utilisation"])["saved_pct"].agg(["mean", "min", "max"]).reset_index()
    )
    found = found.rename(columns={"mean": "saved_pct", "min": "low", "max": "high"})
    line = [
        f"{where[p]}, {'all' if f == 1 else 'a quarter'} flexible"
        for p, f in zip(found["policy"], found["flexible"], strict=True)
    ]
    return found.assign(line=line)


def busy(capacity: pd.DataFrame, utilisation: float) -> float:
    """Measured share of the machines at work at a nominal utilisation: mean over weeks, policies, flexible shares."""
    return float(at(capacity, utilisation=utilisation)["busy"].mean())


def spread_of_pairs(pairs: pd.DataFrame) -> dict[str, float]:
    """Ratios of all pairs of computed grids.

    Gives how many pairs, the median and largest ratio, and the shares [%] of 30 to 40 times and of 30 or more.
    """
    times = at(pairs, kind="grids", basis="computed")["times"]
    return {
        "pairs": float(len(times)),
        "pairs-median": float(times.median()),
        "pairs-max": float(times.max()),
        "pairs-30-to-40": 100 * float(times.between(30, 40).mean()),
        "pairs-30": 100 * float((times >= 30).mean()),
    }


def source_ratios(pairs: pd.DataFrame) -> pd.DataFrame:
    """How many times the carbon of each clean source coal and gas have: clean (in words), coal, gas; largest first."""
    wide = at(pairs, kind="sources").pivot(index="clean", columns="dirty", values="times").reset_index()
    return wide.assign(clean=wide["clean"].map(SOURCES)).sort_values("coal", ascending=False, ignore_index=True)


def quality_gate(
    tables: dict[str, pd.DataFrame], zones: tuple[str, ...] = ("DE", "DK", "PL"), year: int = 2019
) -> pd.DataFrame:
    """What each real limit leaves of the saving of a 24-hour job that may pause and has a day of slack.

    Returns:
        One row a case, one column a zone [% saved]; the last two rows are the delay [h].
    """
    rows: dict[str, list[float]] = {}
    for zone in zones:
        day = at(tables["temporal"], zone=zone, year=year, slack_h=24, duration_h=24, pauses=True).iloc[0]
        wait, guess = at(tables["pauses"], zone=zone), at(tables["forecasts"], zone=zone, duration_h=24, pauses=True)
        wrong = guess[guess["error"] == 0.2]
        cases = {
            "perfect forecast": day["saved_pct"],
            "errors of 20 % with memory": at(wrong, forecast="errors with memory")["saved_pct"].mean(),
            "independent errors of 20 %": at(wrong, forecast="independent errors")["saved_pct"].mean(),
            "yesterday taken for tomorrow": at(guess, forecast="yesterday again")["saved_pct"].mean(),
            "half an hour lost at each pause": at(wait, checkpoint_h=0.5)["saved_pct"].iloc[0],
            "paused machines draw 10 %": at(wait, checkpoint_h=0, idle_share=0.1)["saved_pct"].iloc[0],
            "paused machines draw 20 %": at(wait, checkpoint_h=0, idle_share=0.2)["saved_pct"].iloc[0],
            "hours later, median": day["delay_p50_h"], "hours later, one in twenty": day["delay_p95_h"],
        }  # fmt: skip
        for case, value in cases.items():
            rows.setdefault(case, []).append(round(float(value), 1))
    return pd.DataFrame([{"case": case, **dict(zip(zones, values, strict=True))} for case, values in rows.items()])


def break_even_growth(saved_pct: float) -> float:
    """By how much use may grow before a saving is eaten up [%]: 20 % saved leaves 0.8, and 1 / 0.8 is 25 % more.

    >>> break_even_growth(20)
    25.0
    """
    return round(100 * (1 / (1 - saved_pct / 100) - 1), 6)


def idle_limit(pauses: pd.DataFrame, zone: str) -> float:
    """Share of its power that a machine may draw while its job pauses, before nothing is saved [0 to 1].

    The saving falls in a straight line with the idle share; this is where it reaches 0.
    """
    rows = at(pauses, zone=zone, checkpoint_h=0).sort_values("idle_share")
    first, last = rows.iloc[0], rows.iloc[-1]
    slope = (first["saved_pct"] - last["saved_pct"]) / (last["idle_share"] - first["idle_share"])
    return float(first["saved_pct"] / slope)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table as dicts."""
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]
