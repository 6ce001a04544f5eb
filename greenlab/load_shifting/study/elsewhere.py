"""What the study simulates away from home: reach, full machines, moved data, and the ratios between grids.

Each function is a step of `greenlab.load_shifting.study.run` and returns rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from greenlab.core import facts, grid
from greenlab.core.grid.traces import Traces
from greenlab.load_shifting import Jobs, Transfer, bounds, simulate
from greenlab.load_shifting.study.at_home import Rows, day_jobs, hours, zone_names
from greenlab.load_shifting.study.config import Config

EARTH_KM = 6371.0
FOSSIL, CLEAN = ("coal", "gas"), ("solar-utility", "hydro", "wind-onshore", "wind-offshore", "nuclear", "geothermal")
FLEET_H = 7 * 24  # hours in which jobs arrive


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
    ways = (("at once, the cleanest of the year", "now", False), ("at once, the cleanest for each job", "best_region", False),
            ("with a day of slack", "joint", False), ("with a day of slack and pauses", "joint", True))  # fmt: skip
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
    """Work that may go round the world against work that stays, for short and long jobs; zones outside Europe are MODELLED."""
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


def fleet(config: Config, week: int) -> tuple[Jobs, Traces]:
    """Eight countries with equal machines: in each, a job of a day that draws 60 kW arrives every six hours of a week.

    240 kW run in the mean. Where the home is does not matter to the exact policies, only to the baseline.
    """
    names, start = config.fleet_zones, week * FLEET_H
    full = hours(names, config.year)
    n = FLEET_H + int(config.duration_h + config.slack_h)
    traces = Traces(names, full.time(start), 1.0, full.intensity_g_per_kwh[:, start : start + n])
    arrival = np.arange(0, FLEET_H, 6)
    jobs = Jobs(np.tile(arrival, len(names)), config.duration_h, 60.0, config.slack_h,
                interruptible=True, home=np.repeat(np.array(names, dtype=object), len(arrival)))  # fmt: skip
    return jobs, traces


def capacity(config: Config, week: int) -> Rows:
    """Saving against how full the machines are: at home, anywhere, and with only some of the work flexible."""
    jobs, traces = fleet(config, week)
    mean_kw, rows = 240.0, list[dict[str, Any]]()
    for utilisation in config.utilisation:
        for share in (1.0, config.flexible_share):
            # what is not flexible runs at once, at home, and takes its mean power from the machines
            room = (
                mean_kw / utilisation - (1 - share) * mean_kw
            ) / share  # for the flexible share, scaled to all of it
            for policy in ("k_cheapest", "joint"):
                found = simulate(jobs, traces, policy, capacity=room).metrics()
                rows.append({"week": week, "utilisation": utilisation, "flexible": share, "policy": policy,
                             "saved_pct": share * found["saved_pct"], "missed": found["missed"],
                             "moved_pct": found["moved_pct"], "delay_p95_h": found["delay_p95_h"]})  # fmt: skip
    return rows


def gap(config: Config, week: int) -> Rows:
    """How far from the linear program: jobs that pause are shared out exactly, jobs in one piece by a heuristic."""
    jobs, traces = fleet(config, week)
    three = ("DE", "PL", "DK")
    traces = traces.select(three)
    keep = np.isin(jobs.home.astype(str), three)
    rows: Rows = []
    for utilisation in config.utilisation[3:]:
        room = 240.0 / utilisation
        for pause, policy, regions in (
            (True, "k_cheapest", "home"),
            (False, "best_start", "home"),
            (True, "joint", "any"),
        ):
            some = Jobs(
                jobs.arrival_h[keep], config.duration_h, 60.0, config.slack_h, interruptible=pause, home=jobs.home[keep]
            )
            found = simulate(some, traces, policy, capacity=room).metrics()
            bound = bounds.linear_program(some, traces, room, regions=regions)
            assert bound.carbon_kg is not None or found["missed"]
            above = (
                None if found["missed"] or bound.carbon_kg is None else 100 * (found["carbon_kg"] / bound.carbon_kg - 1)
            )
            rows.append({"week": week, "utilisation": utilisation, "pauses": pause, "policy": policy, "missed": found["missed"],
                         "saved_pct": found["saved_pct"], "above_lp_pct": above, "feasible": bound.feasible})  # fmt: skip
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
    """Works by data and energy: what moving the data takes, what a power line of 1,000 km would lose, and what moving saves."""
    _, high = facts.low_high("network-energy")
    a, b = (float(hours((z,), config.year).intensity_g_per_kwh.mean()) for z in ("DE", "SE"))
    rows: Rows = []
    for work, gb, kwh, basis in config.works:
        network = high * gb / kwh
        net = 100 * (1 - (b + network * (a + b) / 2) / a)
        rows.append({"work": work, "gb": gb, "kwh": kwh, "basis": basis, "gb_per_kwh": gb / kwh, "network_pct": 100 * network,
                     "line_pct": facts.value("hvdc-loss"), "saved_de_se_pct": net})  # fmt: skip
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
    """How many times dirtier one is than the other: all pairs of zones (means of the year) and of the IPCC's medians."""
    rows: Rows = []
    names = zone_names(None, config.year)
    means = dict(zip(names, hours(names, config.year).intensity_g_per_kwh.mean(axis=1), strict=True))
    basis = dict(zip(grid.zones()["zone"], grid.zones()["basis"], strict=True))
    for dirty in names:
        for clean in names:
            if means[dirty] > means[clean]:
                modelled = "MODELLED" in (basis[dirty], basis[clean])
                rows.append({"kind": "grids", "dirty": dirty, "clean": clean, "times": means[dirty] / means[clean],
                             "basis": "MODELLED" if modelled else "computed"})  # fmt: skip
    for dirty in FOSSIL:
        for clean in CLEAN:
            times = facts.value(f"ipcc-{dirty}") / facts.value(f"ipcc-{clean}")
            rows.append({"kind": "sources", "dirty": dirty, "clean": clean, "times": times, "basis": "cited"})
    return rows
