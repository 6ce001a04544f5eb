"""What the study simulates away from home: reach, full machines, moved data, and the ratios between grids.

Each function is a step of `greenlab.load_shifting.study.run` and returns rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from greenlab.core import facts, grid
from greenlab.core.grid.traces import Traces
from greenlab.load_shifting import Jobs, Policy, Schedule, Transfer, bounds, simulate
from greenlab.load_shifting.study.at_home import Rows, day_jobs, hours, zone_names
from greenlab.load_shifting.study.config import Config

EARTH_KM = 6371.0
FOSSIL, CLEAN = ("coal", "gas"), ("solar-utility", "hydro", "wind-onshore", "wind-offshore", "nuclear", "geothermal")
WEEK_H = 7 * 24
JOB_KW, EVERY_H = 60.0, 6  # of the fleet: each job's power, and hours from one to the next in each country


def distance_km(a: str, b: str) -> float:
    """Great-circle distance between the middles of two zones [km] (haversine formula)."""
    table = grid.zones().set_index("zone")
    (lat1, lon1), (lat2, lon2) = (np.radians(table.loc[z, ["latitude", "longitude"]].astype(float)) for z in (a, b))
    h = np.sin((lat2 - lat1) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return float(2 * EARTH_KM * np.arcsin(np.sqrt(h)))


def reach(config: Config) -> Rows:
    """Saving by how far a job may go, from every country: once and for all, anew for each job, and with waiting.

    Without a limit of capacity and without a price of moving.
    """
    names = zone_names("computed", config.year)
    traces, rows = hours(names, config.year), list[dict[str, Any]]()
    means = dict(zip(names, traces.intensity_g_per_kwh.mean(axis=1), strict=True))
    for home in names:
        seen: dict[tuple[str, ...], Rows] = {}
        for km in config.reach_km:
            near = tuple(z for z in names if distance_km(home, z) <= km)
            if near not in seen:
                seen[near] = _reached(config, traces.select(near), home, min(near, key=means.__getitem__))
            rows += [{"home": home, "reach_km": km, "zones": len(near), **row} for row in seen[near]]
    return rows


def _reached(config: Config, traces: Traces, home: str, cleanest: str) -> Rows:
    ways = (
        ("at once, the cleanest of the year", "now", False),
        ("at once, the cleanest for each job", "best_region", False),
        ("with a day of slack", "joint", False),
        ("with a day of slack and pauses", "joint", True),
    )
    rows = []
    base = simulate(day_jobs(config, traces, every_h=config.reach_every_h, home=home), traces, "now").metrics()[
        "carbon_kg"
    ]
    for way, policy, pause in ways:
        where = cleanest if policy == "now" else home
        jobs = day_jobs(config, traces, every_h=config.reach_every_h, home=where, interruptible=pause)
        found = simulate(jobs, traces, policy).metrics()
        rows.append({"way": way, "saved_pct": 100 * (1 - found["carbon_kg"] / base)})
    return rows


def follow_the_sun(config: Config) -> Rows:
    """Compare work that may go round the world with work that stays, for short and long jobs.

    Zones outside Europe are MODELLED.
    """
    rows: Rows = []
    sunny = ("US-CAL", "ES", "AU", "CL", "JP", "IN")
    traces = hours(sunny, config.year)
    for duration in config.durations_h:
        for home in sunny:
            jobs = day_jobs(config, traces, every_h=config.reach_every_h, duration_h=duration, home=home)
            for policy in ("now", "best_start", "best_region", "joint"):
                found = simulate(jobs, traces, policy).metrics()
                rows.append({"home": home, "duration_h": duration, "policy": policy, "saved_pct": found["saved_pct"]})
    return rows


def fleet(config: Config, week: int) -> tuple[Jobs, Traces, np.ndarray]:
    """Eight countries with equal machines: in each, a job arrives every six hours for some weeks.

    A job takes a day and draws 60 kW.

    240 kW run in the mean. Only the jobs of the weeks in the middle are counted: before them the machines fill, after
    them the last jobs would find them empty. Where the home is does not matter to the exact policies, only to the
    baseline.

    Returns:
        Jobs, traces, and which jobs are counted ``(n,)``.
    """
    names, margin = config.fleet_zones, config.fleet_margin * WEEK_H
    start, counted = week * WEEK_H - margin, config.fleet_counted * WEEK_H
    full = hours(names, config.year)
    arrivals = counted + 2 * margin
    n = arrivals + int(config.duration_h + config.slack_h)
    traces = Traces(names, full.time(start), 1.0, full.intensity_g_per_kwh[:, start : start + n])
    arrival = np.arange(0, arrivals, EVERY_H)
    jobs = Jobs(np.tile(arrival, len(names)), config.duration_h, JOB_KW, config.slack_h,
                interruptible=True, home=np.repeat(np.array(names, dtype=object), len(arrival)))  # fmt: skip
    return jobs, traces, (jobs.arrival_h >= margin) & (jobs.arrival_h < margin + counted)


def mean_kw(config: Config) -> float:
    """Power that the fleet draws in each country in the mean [kW]."""
    return JOB_KW * config.duration_h / EVERY_H


def busy_share(schedule: Schedule, config: Config, room_kw: float) -> float:
    """Share of the machines of all countries at work in the weeks that are counted (0 to 1)."""
    load = schedule.pieces.load(schedule.jobs.power_kw, len(schedule.traces.zones), schedule.traces.n_steps)
    margin = config.fleet_margin * WEEK_H
    return float(load[:, margin : margin + config.fleet_counted * WEEK_H].mean() / room_kw)


def capacity(config: Config, week: int) -> Rows:
    """Saving against how full the machines are: at home, anywhere, and with only some of the work flexible.

    Anywhere means in any country, from hour to hour: the work may follow the wind while it runs, and moving is free.

    What is not flexible runs at once, at home, and takes its mean power from the machines; the flexible work is scaled
    to all of the fleet.
    """
    jobs, traces, counted = fleet(config, week)
    mean, rows = mean_kw(config), list[dict[str, Any]]()
    for utilisation in config.utilisation:
        for share in (1.0, config.flexible_share):
            room = (mean / utilisation - (1 - share) * mean) / share
            for policy in (Policy("k_cheapest"), Policy("joint", migrate=True)):
                schedule = simulate(jobs, traces, policy, capacity=room)
                ok = schedule.scheduled & counted
                saved = 100 * (1 - schedule.carbon_g[ok].sum() / schedule.baseline_g[ok].sum())
                flexible = busy_share(schedule, config, room)  # of the room for flexible work
                busy = (share * flexible * room + (1 - share) * mean) / (mean / utilisation)
                rows.append(
                    {"week": week, "utilisation": utilisation, "flexible": share, "policy": policy.name, "busy": busy,
                     "saved_pct": float(share * saved), "missed": int((~schedule.scheduled).sum()),
                     "moved_pct": 100 * float((schedule.region[ok] != schedule.windows.home[ok]).mean()),
                     "delay_p95_h": float(np.percentile(schedule.delay_h[ok], 95))}
                )  # fmt: skip
    return rows


def gap(config: Config, week: int) -> Rows:
    """How far the schedules are from the bound of the linear program.

    Jobs that pause are shared out exactly; the other jobs and the regions are chosen by a heuristic.
    """
    jobs, traces, _ = fleet(replace(config, fleet_margin=0), week)
    three = ("DE", "PL", "DK")
    traces = traces.select(three)
    keep = np.isin(jobs.home.astype(str), three)
    rows: Rows = []
    ways: tuple[tuple[str, bool, str | Policy, str], ...] = (
        ("k_cheapest", True, "k_cheapest", "home"),
        ("best_start", False, "best_start", "home"),
        ("joint", True, "joint", "any"),
        ("joint, migrating", True, Policy("joint", migrate=True), "any"),
    )
    for utilisation in config.utilisation[3:]:
        room = mean_kw(config) / utilisation
        for name, pause, policy, regions in ways:
            some = Jobs(
                jobs.arrival_h[keep],
                config.duration_h,
                JOB_KW,
                config.slack_h,
                interruptible=pause,
                home=jobs.home[keep],
            )
            found = simulate(some, traces, policy, capacity=room).metrics()
            bound = bounds.linear_program(some, traces, room, regions=regions)
            above = (
                None if found["missed"] or bound.carbon_kg is None else 100 * (found["carbon_kg"] / bound.carbon_kg - 1)
            )
            rows.append(
                {
                    "week": week,
                    "utilisation": utilisation,
                    "pauses": pause,
                    "policy": name,
                    "missed": found["missed"],
                    "saved_pct": found["saved_pct"],
                    "above_lp_pct": above,
                    "feasible": bound.feasible,
                }
            )
    return rows


def transfers(config: Config) -> Rows:
    """How many gigabytes a kilowatt-hour may bring along before moving costs more than it saves, pair by pair."""
    low, high = facts.low_high("network-energy")
    rows: Rows = []
    for home, there in config.transfer_pairs:
        a, b = (float(hours((z,), config.year).intensity_g_per_kwh.mean()) for z in (home, there))
        km = distance_km(home, there)
        for kwh_per_gb in (low, high):
            rows.append({"home": home, "there": there, "km": km, "kwh_per_gb": kwh_per_gb, "home_g": a, "there_g": b,
                         "break_even_gb_per_kwh": (a - b) / (kwh_per_gb * (a + b) / 2),
                         "line_loss_pct": facts.value("hvdc-loss") * km / 1000})  # fmt: skip
    return rows


def photons(config: Config) -> Rows:
    """Works by their data and energy: what moving takes and saves, and what a power line of 1,000 km would lose."""
    _, high = facts.low_high("network-energy")
    a, b = (float(hours((z,), config.year).intensity_g_per_kwh.mean()) for z in ("DE", "SE"))
    rows: Rows = []
    for work, gb, kwh, basis in config.works:
        network = high * gb / kwh
        net = 100 * (1 - (b + network * (a + b) / 2) / a)
        rows.append(
            {
                "work": work,
                "gb": gb,
                "kwh": kwh,
                "basis": basis,
                "gb_per_kwh": gb / kwh,
                "network_pct": 100 * network,
                "line_pct": facts.value("hvdc-loss"),
                "saved_de_se_pct": net,
            }
        )
    return rows


def data_moved(config: Config) -> Rows:
    """One run of a day at 100 kW between Germany and Sweden: how much data until nobody moves any more."""
    traces = hours(("DE", "SE"), config.year)
    _, high = facts.low_high("network-energy")
    rows: Rows = []
    for gb in config.transfer_data_gb:
        jobs = day_jobs(config, traces, power_kw=100.0, data_gb=gb, home="DE")
        found = simulate(jobs, traces, "joint", transfer=Transfer(high)).metrics()
        rows.append({"data_gb": gb, "saved_pct": found["saved_pct"], "moved_pct": found["moved_pct"]})
    return rows


def pairs(config: Config) -> Rows:
    """How many times dirtier one of two is: all pairs of zones (means of the year) and of the IPCC's medians."""
    rows: Rows = []
    names = zone_names(None, config.year)
    means = dict(zip(names, hours(names, config.year).intensity_g_per_kwh.mean(axis=1), strict=True))
    basis = dict(zip(grid.zones()["zone"], grid.zones()["basis"], strict=True))
    for dirty in names:
        for clean in names:
            if means[dirty] > means[clean]:
                modelled = "modelled" in (basis[dirty], basis[clean])
                rows.append(
                    {
                        "kind": "grids",
                        "dirty": dirty,
                        "clean": clean,
                        "times": means[dirty] / means[clean],
                        "basis": "modelled" if modelled else "computed",
                    }
                )
    for dirty in FOSSIL:
        for clean in CLEAN:
            times = facts.value(f"ipcc-{dirty}") / facts.value(f"ipcc-{clean}")
            rows.append({"kind": "sources", "dirty": dirty, "clean": clean, "times": times, "basis": "cited"})
    return rows
