"""Chapter 9's figures: the numbers that prose quotes, each from a table of the study."""

from __future__ import annotations

from typing import Any

import pandas as pd

from greenlab.load_shifting.study.tables import (
    at,
    busy,
    by_country,
    by_reach,
    by_slack,
    by_utilisation,
    idle_limit,
    mean_both_ways,
    records,
    spread_of_pairs,
)


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
        note = f"the jobs of 2019 without shifting, {row['basis']}"
        put(f"{row['zone'].lower()}-mean", row["g_per_kwh"], "g/kWh", note, row["basis"])
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
        put(name, row["saved_pct"], note="8 countries, mean of 6 times 2 weeks")
    put("fleet-missed", tables["capacity"]["missed"].sum(), "jobs", "deadlines missed in all of these")
    put("fleet-busy-90", 100 * busy(tables["capacity"], 0.9), note="share of machines at work where 90 % is said, mean")
    gap = tables["gap"]
    exact, one, region = (gap["pauses"] & (gap["policy"] != "joint"), ~gap["pauses"], gap["policy"] == "joint")
    worst = round(gap.loc[exact, "above_lp_pct"].abs().max(), 6)
    put("gap-flow", worst, note="above the linear program, worst case")
    put("gap-pieces", gap.loc[one, "above_lp_pct"].max(), note="above a bound that may pause, worst case")
    put("gap-pieces-mean", gap.loc[one, "above_lp_pct"].mean(), note="above a bound that may pause, mean")
    put(
        "gap-region-mean",
        gap.loc[region, "above_lp_pct"].mean(),
        note="one region a job, above a bound that migrates, mean",
    )
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
