"""Chapter 9's tables, worked out further: pure functions from the study's tables to tidy ones, for charts and prose."""

from __future__ import annotations

from typing import Any

import pandas as pd

WAYS = {False: "in one piece", True: "with pauses"}


def at(table: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows of a table that have these values.

    >>> at(pd.DataFrame({"a": [1, 2], "b": [3, 4]}), a=2)["b"].tolist()
    [4]
    """
    for column, value in values.items():
        table = table[table[column] == value]
    return table


def by_slack(temporal: pd.DataFrame, year: int, duration_h: float = 24) -> pd.DataFrame:
    """Mean saving over the computed countries by slack: way, slack_h, saved_pct; low, high: quartiles."""
    rows = at(temporal, year=year, duration_h=duration_h, basis="computed")
    found = rows.groupby(["pauses", "slack_h"])["saved_pct"]
    table = pd.DataFrame({"saved_pct": found.mean(), "low": found.quantile(0.25), "high": found.quantile(0.75)})
    table = table.reset_index()
    return table.assign(way=table["pauses"].map(WAYS))


def by_country(temporal: pd.DataFrame, year: int, slack_h: float = 24, duration_h: float = 24) -> pd.DataFrame:
    """Saving of every zone: zone, basis, g_per_kwh, one_piece_pct, pauses_pct, saved_g_per_kwh (with pauses)."""
    rows = at(temporal, year=year, slack_h=slack_h, duration_h=duration_h)
    wide = rows.pivot(index=["zone", "basis", "g_per_kwh"], columns="pauses", values="saved_pct").reset_index()
    wide = wide.rename(columns={False: "one_piece_pct", True: "pauses_pct"})
    return wide.assign(saved_g_per_kwh=wide["g_per_kwh"] * wide["pauses_pct"] / 100)


def mean_both_ways(temporal: pd.DataFrame, year: int) -> pd.DataFrame:
    """The mean over countries as a mean of percentages, and as grams saved over the mean: pauses, of_percent, of_grams."""
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
    where = {"k_cheapest": "at home", "joint": "in 8 countries"}
    found = (
        capacity.groupby(["policy", "flexible", "utilisation"])["saved_pct"].agg(["mean", "min", "max"]).reset_index()
    )
    found = found.rename(columns={"mean": "saved_pct", "min": "low", "max": "high"})
    line = [
        f"{where[p]}, {f:.0%} of the work flexible" for p, f in zip(found["policy"], found["flexible"], strict=True)
    ]
    return found.assign(line=line)


def spread_of_pairs(pairs: pd.DataFrame) -> dict[str, float]:
    """Of all pairs of computed grids: how many, median and largest ratio, shares [%] of 30 to 40 times and of 30 or more."""
    times = at(pairs, kind="grids", basis="computed")["times"]
    return {
        "pairs": float(len(times)), "pairs-median": float(times.median()), "pairs-max": float(times.max()),
        "pairs-30-to-40": 100 * float(times.between(30, 40).mean()), "pairs-30": 100 * float((times >= 30).mean()),
    }  # fmt: skip


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


class _Figures:
    """Collects the numbers that prose quotes."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def put(self, name: str, value: float, unit: str = "%", note: str = "", basis: str = "simulated") -> None:
        self.rows.append({"name": name, "value": float(value), "unit": unit, "basis": basis, "note": note})


def figures(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The numbers that prose quotes: name, value, unit, basis, note."""
    found = _Figures()
    _time(found.put, tables["temporal"])
    _forecast(found.put, tables["forecasts"])
    _place(found.put, tables)
    _price(found.put, tables)
    found.put("cpu-minutes", tables["steps"]["cpu_s"].sum() / 60, "min", "the whole study", "measured")
    found.put("energy", tables["steps"]["energy_j"].sum() / 1e3, "kJ", "the whole study", "modelled")
    return pd.DataFrame(found.rows).drop_duplicates("name", ignore_index=True)


def _way(row: dict[str, Any]) -> str:
    return "pause" if row["pauses"] else "wait"


def _time(put: Any, temporal: pd.DataFrame) -> None:
    year = 2019
    for row in records(by_slack(temporal, year)):
        put(f"{_way(row)}-{row['slack_h']:g}", row["saved_pct"], note="mean of 25 countries, 24-hour job")
    day = at(temporal, slack_h=24)
    mean = at(day, year=year, basis="computed").groupby(["pauses", "duration_h"])["saved_pct"].mean().reset_index()
    for row in records(mean):
        put(f"{_way(row)}-job-{row['duration_h']:g}", row["saved_pct"], note="mean of 25 countries, 24 h of slack")
    for row in records(mean_both_ways(temporal, year)):
        put(f"{_way(row)}-24-grams", row["of_grams"], note="grams saved over mean intensity")
    known = day["zone"].isin(["DE", "GB", "DK", "PL", "FR", "SE", "NO", "CH"])
    for row in records(at(day[known], duration_h=24)):
        put(f"{row['zone'].lower()}-{_way(row)}-{row['year']}", row["saved_pct"], note="24-hour job, 24 h of slack")
    for row in records(by_country(temporal, year)):
        put(f"{row['zone'].lower()}-mean", row["g_per_kwh"], "g/kWh", f"mean of 2019, {row['basis']}", row["basis"])
        put(f"{row['zone'].lower()}-grams", row["saved_g_per_kwh"], "g/kWh", "saved with pauses, 24 h of slack")


def _forecast(put: Any, forecasts: pd.DataFrame) -> None:
    short = {
        "perfect": "perfect",
        "yesterday again": "yesterday",
        "independent errors": "iid",
        "errors with memory": "ar1",
    }
    rows = forecasts[forecasts["error"].isin([0.0, 0.2])]
    mean = rows.groupby(["zone", "duration_h", "pauses", "forecast", "error"])["saved_pct"].mean().reset_index()
    for row in records(mean):
        name = f"forecast-{row['zone'].lower()}-{row['duration_h']:g}h-{_way(row)}-{short[row['forecast']]}"
        put(name, row["saved_pct"], note="20 % error, mean of 5 seeds" if row["error"] else "24 h of slack")


def _place(put: Any, tables: dict[str, pd.DataFrame]) -> None:
    names = {"at once, the cleanest of the year": "once", "at once, the cleanest for each job": "region",
             "with a day of slack": "joint", "with a day of slack and pauses": "joint-pause"}  # fmt: skip
    for row in records(by_reach(tables["reach"])):
        put(
            f"{names[row['way']]}-{row['reach_km']:g}km",
            row["saved_pct"],
            note="mean of 25 homes, no limit of capacity",
        )
    for row in records(by_utilisation(tables["capacity"])):
        where = "anywhere" if row["policy"] == "joint" else "home"
        name = f"full-{where}-{100 * row['flexible']:.0f}-{100 * row['utilisation']:.0f}"
        put(name, row["saved_pct"], note="8 countries, mean of 6 weeks")
    put("fleet-missed", tables["capacity"]["missed"].sum(), "jobs", "deadlines missed in all of these")
    gap = tables["gap"]
    put("gap-flow", gap.loc[gap["pauses"], "above_lp_pct"].abs().max(), note="above the linear program, worst case")
    put("gap-pieces", gap.loc[~gap["pauses"], "above_lp_pct"].max(), note="above a bound that may pause, worst case")
    put("gap-pieces-mean", gap.loc[~gap["pauses"], "above_lp_pct"].mean(), note="above a bound that may pause, mean")
    put("gap-missed", gap["missed"].sum(), "jobs", "deadlines missed")
    for row in records(tables["transfers"]):
        name = f"break-even-{row['home'].lower()}-{row['there'].lower()}-{row['kwh_per_gb']:g}"
        put(name, row["break_even_gb_per_kwh"], "GB/kWh", f"{row['km']:.0f} km", "computed")
    for row in records(tables["data_moved"]):
        put(f"moved-{row['data_gb']:g}gb", row["saved_pct"], note="DE to SE, 2.4 MWh a job, 0.06 kWh/GB")
    for name, value in spread_of_pairs(tables["pairs"]).items():
        unit = {"pairs": "pairs", "pairs-median": "x", "pairs-max": "x"}.get(name, "%")
        put(name, value, unit, "computed grids, means of 2019", "computed")


def _price(put: Any, tables: dict[str, pd.DataFrame]) -> None:
    for row in records(tables["signals"]):
        for kind in ("average", "marginal"):
            name = f"signal-{row['zone'].lower()}-{row['last']}-{row['decided_by']}-{kind}"
            put(
                name,
                row[f"{kind}_saved_pct"],
                note=f"decided by {row['decided_by']}, counted by {kind}",
                basis="modelled",
            )
    waiting = tables["pauses"]
    for zone in waiting["zone"].unique():
        put(
            f"idle-limit-{zone.lower()}",
            100 * idle_limit(waiting, zone),
            note="idle share at which pausing saves nothing",
        )
        half = at(waiting, zone=zone, checkpoint_h=0.5)["saved_pct"].iloc[0]
        put(f"checkpoint-{zone.lower()}", half, note="half an hour lost at each pause")
    front = records(tables["front"])
    for name, weight in (("price", 0.0), ("carbon", 1.0), ("both", 0.6)):
        row = min(front, key=lambda r, w=weight: abs(r["weight"] - w))  # type: ignore[misc]
        put(f"front-{name}-carbon", row["saved_pct"], note="8-hour job, day of slack, assumed tariff", basis="modelled")
        put(f"front-{name}-cost", row["cheaper_pct"], note="8-hour job, day of slack, assumed tariff", basis="modelled")
