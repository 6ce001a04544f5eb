"""What the study simulates at home: waiting and pausing, forecasts, checkpoints, idle machines, tariffs and signals.

Each function is a step of `greenlab.load_shifting.study.run` and returns rows. One job of a day begins in every hour of
the year.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import facts, grid
from greenlab.core.grid.traces import Traces
from greenlab.load_shifting import AR1, Jobs, compare_signals, pareto, simulate
from greenlab.load_shifting.study.config import Config

Rows = list[dict[str, Any]]
WIND_SUN = ("wind", "solar")


@lru_cache(maxsize=64)
def hours(zones: tuple[str, ...], year: int) -> Traces:
    """The hours of some zones in a year."""
    return Traces.from_frame(grid.load(list(zones), year))


def zone_names(basis: str | None = None, year: int | None = None) -> tuple[str, ...]:
    """Zones by basis ("computed" or "modelled"; None for all) that have the year."""
    table = grid.zones()
    rows = zip(table["zone"], table["basis"], table["years"], strict=True)
    return tuple(zone for zone, b, years in rows if basis in (None, b) and (year is None or year in years))


def day_jobs(config: Config, traces: Traces, *, every_h: int = 1, **changes: Any) -> Jobs:
    """One job of a day in every hour from which the longest slack still fits into the year."""
    last = int(traces.n_steps - max(config.durations_h) - max(config.slacks_h))
    start = np.arange(max(24, every_h), last, every_h)  # from the second day on, so that there is a day before
    return Jobs(**{"arrival_h": start, "duration_h": config.duration_h, "slack_h": config.slack_h, **changes})


def temporal(config: Config) -> Rows:
    """Saving by waiting at home: every zone, slack, duration and year, in one piece and with pauses."""
    rows: Rows = []
    for year in config.years:
        names = zone_names(None if year == config.year else "computed", year)
        basis = grid.zones().set_index("zone")["basis"]
        asked = [(config.duration_h, slack) for slack in config.slacks_h]
        asked += [(d, config.slack_h) for d in config.durations_h if d != config.duration_h]
        for zone in names:
            traces = hours((zone,), year)
            for duration, slack in asked if year == config.year else [(config.duration_h, config.slack_h)]:
                for pause in (False, True):
                    jobs = day_jobs(config, traces, duration_h=duration, slack_h=slack, interruptible=pause)
                    found = simulate(jobs, traces, "k_cheapest").metrics()
                    rows.append(
                        {
                            "zone": zone,
                            "basis": basis[zone],
                            "year": year,
                            "duration_h": duration,
                            "slack_h": slack,
                            "pauses": pause,
                            "g_per_kwh": 1e3 * found["baseline_kg"] / found["energy_kwh"],
                            "saved_pct": found["saved_pct"],
                            "delay_p50_h": found["delay_p50_h"],
                            "delay_p95_h": found["delay_p95_h"],
                        }
                    )
    return rows


def profile(config: Config) -> Rows:
    """The average day of every zone: intensity, and the share that sun and wind leave to the others.

    Month 0 is the whole year, by the hour in UTC; some zones come month by month as well, by the hour of their own
    clocks.
    """
    rows: Rows = []
    names = grid.zones().set_index("zone")
    for zone in zone_names(None, config.year):
        share = grid.generation(zone, config.year).pivot(index="time", columns="source", values="share")
        rest = 1 - share[[s for s in share.columns if str(s).startswith(WIND_SUN)]].sum(axis=1)
        times = pd.DatetimeIndex(share.index)
        local = times.tz_convert(names["timezone"][zone])
        frame = pd.DataFrame({"month": local.month, "local": local.hour, "hour": times.hour, "rest": rest.to_numpy()})
        frame["intensity_g_per_kwh"] = grid.load(zone, config.year)["intensity_g_per_kwh"].to_numpy()
        year = frame.drop(columns="local").assign(month=0).groupby(["month", "hour"]).mean()
        clock = frame.drop(columns="hour").rename(columns={"local": "hour"}).groupby(["month", "hour"]).mean()
        months = clock if zone in config.duck_zones else year[:0]
        label = {"zone": zone, "name": names["name"][zone], "basis": names["basis"][zone]}
        for row in pd.concat([year, months]).reset_index().to_dict("records"):
            rows.append(label | {str(k): round(v, 4) for k, v in row.items()})
    return rows


def forecasts(config: Config) -> Rows:
    """What errors of the forecast cost, over seeds.

    The forecasts are perfect, repeat yesterday, or have independent errors or errors with memory.
    """
    rows: Rows = []
    for zone in config.forecast_zones:
        traces = hours((zone,), config.year)
        kinds: list[tuple[str, float, int, Any]] = [
            ("perfect", 0.0, 0, None),
            ("yesterday again", 0.0, 0, "persistence"),
        ]
        for sigma in config.errors if zone == config.home else (config.error,):
            for seed in config.seeds:
                kinds.append(("independent errors", sigma, seed, AR1(0.0, sigma, seed)))
                kinds.append(("errors with memory", sigma, seed, AR1(config.rho, sigma, seed)))
        for duration in config.forecast_durations_h:
            for pause in (False, True):
                jobs = day_jobs(
                    config, traces, every_h=config.forecast_every_h, duration_h=duration, interruptible=pause
                )
                label = {"zone": zone, "duration_h": duration, "pauses": pause}
                for kind, sigma, seed, forecast in kinds:
                    saved = simulate(jobs, traces, "k_cheapest", forecast=forecast).metrics()["saved_pct"]
                    rows.append(label | {"forecast": kind, "error": sigma, "seed": seed, "saved_pct": saved})
    return rows


def pauses(config: Config) -> Rows:
    """What pausing costs: time lost at each checkpoint, and machines that stay on while the job waits."""
    rows: Rows = []
    for zone in config.forecast_zones:
        traces = hours((zone,), config.year)
        for lost in config.checkpoints_h:
            jobs = day_jobs(config, traces, every_h=12, interruptible=True, checkpoint_h=lost)
            schedule = simulate(jobs, traces, "k_cheapest")
            found = schedule.metrics()
            row = {"zone": zone, "checkpoint_h": lost, "pauses_per_job": found["pauses"] / found["jobs"]}
            ran, home = float(schedule.carbon_g.sum()), schedule.windows.home
            held = schedule.truth.between(
                home, schedule.start_h, schedule.finish_h
            )  # step of 1 h, 1 kW: hours are steps
            paused, base = float(held.sum()) - ran, float(schedule.baseline_g.sum())
            for idle in config.idle_shares if lost == 0 else (0.0,):
                rows.append(row | {"idle_share": idle, "saved_pct": 100 * (1 - (ran + idle * paused) / base)})
    return rows


def tariff(traces: Traces, timezone: str, config: Config) -> np.ndarray:
    """An assumed two-part tariff ``(1, T)`` [per kWh]: dear by day, cheap by night, in local time."""
    local = pd.date_range(traces.start, periods=traces.n_steps, freq="h").tz_convert(timezone).hour
    day = (local >= config.day_hours[0]) & (local < config.day_hours[1])
    return np.where(day, config.day_price, config.night_price)[None]


def front(config: Config) -> Rows:
    """Carbon against cost under the tariff: one row a weight."""
    traces = hours((config.home,), config.year)
    zone = grid.zones().set_index("zone")["timezone"][config.home]
    priced = Traces(
        traces.zones, traces.start, 1.0, traces.intensity_g_per_kwh, price_per_kwh=tariff(traces, zone, config)
    )
    jobs = day_jobs(config, priced, duration_h=config.front_duration_h, interruptible=True)
    base = simulate(jobs, priced, "now").metrics()
    table = pareto(jobs, priced, "k_cheapest")
    made = table.assign(cheaper_pct=100 * (1 - table["cost"] / base["cost"]))
    return [{str(k): v for k, v in row.items()} for row in made.to_dict("records")]


def merit_order(zone: str, year: int, last: str, floor: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """A MODELLED marginal intensity ``(T,)`` [g/kWh] and whether wind or sun would be curtailed ``(T,)``.

    One more kWh comes from the fuel that is dispatched last, "gas" or "coal", while it runs above the share that it
    keeps in its quietest hours (the ``floor`` quantile of the year: heat, reserves); from the other fuel when only that
    one does; and from curtailed wind and sun when neither does. Imports, storage and the grid's bottlenecks are left
    out: nobody can observe the marginal plant, and this is a bracket of two simple orders and no more.
    """
    shares = grid.generation(zone, year).pivot(index="time", columns="source", values="share")
    gram = {fuel: facts.value(f"ipcc-{fuel}") for fuel in ("gas", "coal")}
    above = {fuel: (shares[fuel] > np.quantile(shares[fuel], floor) + 0.01).to_numpy() for fuel in gram}
    other = "coal" if last == "gas" else "gas"
    value = np.select([above[last], above[other]], [gram[last], gram[other]], 0.0)
    return value, value == 0.0


def signals(config: Config) -> Rows:
    """Decide by one signal, count by all: average, and a MODELLED marginal one under two merit orders."""
    rows: Rows = []
    for zone in config.signal_zones:
        traces = hours((zone,), config.year)
        for last in ("gas", "coal"):
            marginal, curtailed = merit_order(zone, config.year, last)
            both = Traces(traces.zones, traces.start, 1.0, traces.intensity_g_per_kwh,
                          marginal_g_per_kwh=marginal[None], curtailed_share=curtailed[None].astype(float))  # fmt: skip
            table = compare_signals(day_jobs(config, both, interruptible=True), both)
            base = table.iloc[0]
            for row in table.iloc[1:].to_dict("records"):
                rows.append(
                    {"zone": zone, "last": last, "decided_by": row["decided_by"],
                     "average_saved_pct": 100 * (1 - row["carbon_kg"] / base["carbon_kg"]),
                     "marginal_saved_pct": 100 * (1 - row["marginal_kg"] / base["marginal_kg"]),
                     "curtailed_pct": 100 * row["curtailed_kwh"] / row["energy_kwh"],
                     "curtailed_hours_pct": 100 * float(curtailed.mean())}
                )  # fmt: skip
    return rows
