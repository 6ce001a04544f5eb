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
    """Mean saving over the computed countries by slack: way, slack_h, saved_pct, low, high (the quarter and three-quarter country)."""
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
    """The mean over countries as a mean of percentages, and as grams saved over the mean intensity: pauses, of_percent, of_grams."""
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
    """Of all pairs of computed grids: how many, the median ratio, the largest, and shares [%] with 30 to 40 times and with 30 or more."""
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
    """Share of its power that a waiting machine may draw before pausing saves less than staying in one piece did not [0 to 1].

    The saving falls in a straight line with the idle share; this is where it reaches 0.
    """
    rows = at(pauses, zone=zone, checkpoint_h=0).sort_values("idle_share")
    first, last = rows.iloc[0], rows.iloc[-1]
    slope = (first["saved_pct"] - last["saved_pct"]) / (last["idle_share"] - first["idle_share"])
    return float(first["saved_pct"] / slope)


def figures(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The numbers that prose quotes: name, value, unit, basis, note."""
    rows: list[dict[str, Any]] = []

    def put(name: str, value: float, unit: str = "%", note: str = "", basis: str = "simulated") -> None:
        rows.append({"name": name, "value": float(value), "unit": unit, "basis": basis, "note": note})

    temporal, year = tables["temporal"], 2019
    for row in by_slack(temporal, year).itertuples():
        put(
            f"{'pause' if row.pauses else 'wait'}-{row.slack_h:g}",
            row.saved_pct,
            note="mean of 25 countries, 24-hour job",
        )
    for row in at(temporal, year=year, slack_h=24, basis="computed").groupby(["pauses", "duration_h"])["saved_pct"].mean().reset_index().itertuples():  # fmt: skip
        put(
            f"{'pause' if row.pauses else 'wait'}-job-{row.duration_h:g}",
            row.saved_pct,
            note="mean of 25 countries, 24 h of slack",
        )
    for row in mean_both_ways(temporal, year).itertuples():
        put(f"{'pause' if row.pauses else 'wait'}-24-grams", row.of_grams, note="grams saved over mean intensity")
    day = at(temporal, slack_h=24, duration_h=24)
    for row in day[day["zone"].isin(["DE", "GB", "DK", "PL", "FR", "SE", "NO", "CH"])].itertuples():
        put(
            f"{row.zone.lower()}-{'pause' if row.pauses else 'wait'}-{row.year}",
            row.saved_pct,
            note="24-hour job, 24 h of slack",
        )
    for row in by_country(temporal, year).itertuples():
        put(f"{row.zone.lower()}-mean", row.g_per_kwh, "g/kWh", f"mean of 2019, {row.basis}")
        put(f"{row.zone.lower()}-grams", row.saved_g_per_kwh, "g/kWh", "saved with pauses, 24 h of slack")
    _forecast_figures(put, tables["forecasts"])
    names = {"at once, the cleanest of the year": "once", "at once, the cleanest for each job": "region",
             "with a day of slack": "joint", "with a day of slack and pauses": "joint-pause"}  # fmt: skip
    for row in by_reach(tables["reach"]).itertuples():
        put(f"{names[row.way]}-{row.reach_km:g}km", row.saved_pct, note="mean of 25 homes, no limit of capacity")
    for row in by_utilisation(tables["capacity"]).itertuples():
        where = "anywhere" if row.policy == "joint" else "home"
        put(
            f"full-{where}-{row.flexible:.0%}-{row.utilisation:.0%}".replace("%", ""),
            row.saved_pct,
            note="8 countries, mean of 6 weeks",
        )
    gap = tables["gap"]
    put("gap-flow", gap.loc[gap["pauses"], "above_lp_pct"].abs().max(), note="above the linear program, worst case")
    put("gap-pieces", gap.loc[~gap["pauses"], "above_lp_pct"].max(), note="above a bound that may pause, worst case")
    put("gap-pieces-mean", gap.loc[~gap["pauses"], "above_lp_pct"].mean(), note="above a bound that may pause, mean")
    put("gap-missed", gap["missed"].sum(), "jobs", "deadlines missed")
    for row in tables["signals"].itertuples():
        for kind in ("average", "marginal"):
            put(f"signal-{row.zone.lower()}-{row.last}-{row.decided_by}-{kind}", getattr(row, f"{kind}_saved_pct"),
                note=f"decided by {row.decided_by}, counted by {kind}", basis="modelled" if kind == "marginal" else "simulated")  # fmt: skip
    for row in tables["transfers"].itertuples():
        put(
            f"break-even-{row.home.lower()}-{row.there.lower()}-{row.kwh_per_gb:g}",
            row.break_even_gb_per_kwh,
            "GB/kWh",
            f"{row.km:.0f} km",
            "computed",
        )
    for row in tables["data_moved"].itertuples():
        put(f"moved-{row.data_gb:g}gb", row.saved_pct, note="DE to SE, 2.4 MWh a job, 0.06 kWh/GB")
    for name, value in spread_of_pairs(tables["pairs"]).items():
        put(
            name,
            value,
            {"pairs": "pairs", "pairs-median": "x", "pairs-max": "x"}.get(name, "%"),
            "computed grids, means of 2019",
            "computed",
        )
    for zone in tables["pauses"]["zone"].unique():
        put(
            f"idle-limit-{zone.lower()}",
            100 * idle_limit(tables["pauses"], zone),
            note="idle share at which pausing saves nothing",
        )
        put(
            f"checkpoint-{zone.lower()}",
            at(tables["pauses"], zone=zone, checkpoint_h=0.5)["saved_pct"].iloc[0],
            note="half an hour lost at each pause",
        )
    front = tables["front"].sort_values("weight")
    for name, row in (
        ("price", front.iloc[0]),
        ("carbon", front.iloc[-1]),
        ("both", front.iloc[(front["weight"] - 0.6).abs().argmin()]),
    ):
        put(f"front-{name}-carbon", row["saved_pct"], note="8-hour job, day of slack, assumed tariff")
        put(f"front-{name}-cost", row["cheaper_pct"], note="8-hour job, day of slack, assumed tariff")
    put("cpu-minutes", tables["steps"]["cpu_s"].sum() / 60, "min", "the whole study", "measured")
    put("energy", tables["steps"]["energy_j"].sum() / 1e3, "kJ", "the whole study", "modelled")
    return pd.DataFrame(rows).drop_duplicates("name", ignore_index=True)


def _forecast_figures(put: Any, forecasts: pd.DataFrame) -> None:
    short = {
        "perfect": "perfect",
        "yesterday again": "yesterday",
        "independent errors": "iid",
        "errors with memory": "ar1",
    }
    rows = forecasts[forecasts["error"].isin([0.0, 0.2])]
    for (zone, duration, pause, kind), part in rows.groupby(["zone", "duration_h", "pauses", "forecast"]):
        name = f"forecast-{zone.lower()}-{duration:g}h-{'pause' if pause else 'wait'}-{short[kind]}"
        put(
            name,
            part["saved_pct"].mean(),
            note="20 % error, mean of 5 seeds" if part["error"].iloc[0] else "24 h of slack",
        )
