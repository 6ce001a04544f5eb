"""Chapter 9's long run: what waiting, moving and both save in real hours, and what makes the saving smaller.

``python -m greenlab.load_shifting.study`` runs it (restartable, a few minutes) and writes data/studies/load_shifting;
`load` reads the committed tables. Everything is simulated over computed hours of 25 countries; zones outside Europe,
the marginal signal and the tariff are MODELLED.

Beyond one machine, `sweep` runs independent scenarios (region, policy, seed, year) one after the other, on the cores
through joblib, or on a Dask cluster whose client is handed over; the table is the same. There is no engine of our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from greenlab.core import studies
from greenlab.core.grid.traces import Traces
from greenlab.load_shifting import Jobs, simulate, warm_up
from greenlab.load_shifting.study import at_home, elsewhere
from greenlab.load_shifting.study.config import Config
from greenlab.load_shifting.study.quoted import figures

__all__ = ["CHAPTER", "Config", "load", "run", "run_scenario", "sweep"]
CHAPTER = "load_shifting"
DEFAULT = Config()
ARGUMENTS = ("jobs", "traces", "policy", "capacity", "pue", "transfer", "forecast", "signal")
STEPS = {
    "profile": at_home.profile,
    "temporal": at_home.temporal,
    "forecasts": at_home.forecasts,
    "pauses": at_home.pauses,
    "front": at_home.front,
    "signals": at_home.signals,
    "reach": elsewhere.reach,
    "sun": elsewhere.follow_the_sun,
    "transfers": elsewhere.transfers,
    "photons": elsewhere.photons,
    "data_moved": elsewhere.data_moved,
    "pairs": elsewhere.pairs,
}
WEEKLY = {"capacity": elsewhere.capacity, "gap": elsewhere.gap}


def run(config: Config = DEFAULT) -> dict[str, pd.DataFrame]:
    """Run what is not done yet and return the tables: one a step, steps and figures."""
    warm_up()  # so that no step's receipt holds a compiler
    steps = studies.Steps(CHAPTER, config)
    tables = {}
    for name, work in tqdm(STEPS.items(), desc="steps"):
        tables[name] = pd.DataFrame(steps.run(name, partial(work, config)))
    for name, weekly in WEEKLY.items():
        found = [
            row for week in config.fleet_weeks for row in steps.run(f"{name}_{week}", partial(weekly, config, week))
        ]
        tables[name] = pd.DataFrame(found)
    tables["steps"] = steps.receipts()
    return tables | {"figures": figures(tables)}


def load(*names: str) -> dict[str, pd.DataFrame]:
    """Return the committed tables by name, or all of them."""
    return studies.load(CHAPTER, *names)


def run_scenario(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Simulate one scenario: its labels and its metrics, as one row."""
    arguments = {name: scenario[name] for name in ARGUMENTS if name in scenario}
    labels = {name: value for name, value in scenario.items() if name not in ARGUMENTS}
    return labels | simulate(**arguments).metrics()


def sweep(scenarios: Iterable[Mapping[str, Any]], client: Any = None, n_jobs: int = 1) -> pd.DataFrame:
    """Run independent scenarios and return one row for each, in their order.

    Args:
        scenarios: dicts with the arguments of `greenlab.load_shifting.simulate` (jobs, traces and policy at least);
            every other entry, as region, seed or year, labels the row.
        client: a ``dask.distributed.Client``; the scenarios then run on its cluster.
        n_jobs: processes on this machine, when there is no client; -1 for all cores. A scenario takes milliseconds, so
            one is the fastest up to some hundred scenarios.

    Returns:
        The labels, then the columns of `Schedule.metrics`.

    Raises:
        ValueError: if a scenario lacks an argument; the scenario is named.
    """
    from joblib import Parallel, delayed, parallel_config

    scenarios = list(scenarios)
    for number, scenario in enumerate(scenarios):
        kinds = {"jobs": Jobs, "traces": Traces, "policy": object}
        for name, kind in kinds.items():
            if not isinstance(scenario.get(name), kind) or scenario.get(name) is None:
                raise ValueError(
                    f"scenario {number}: {name}={scenario.get(name)!r}: expected jobs, traces and a policy"
                )
    if client is None:
        rows = Parallel(n_jobs=n_jobs)(delayed(run_scenario)(scenario) for scenario in scenarios)
    else:
        with parallel_config(backend="dask", client=client):
            rows = Parallel()(delayed(run_scenario)(scenario) for scenario in scenarios)
    return pd.DataFrame(list(rows))


def main() -> None:
    """Run the study and write its tables."""
    tables = run()
    studies.save(CHAPTER, DEFAULT, tables, tables["steps"])
