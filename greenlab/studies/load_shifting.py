"""Chapter 9 beyond one machine: independent scenarios (region, policy, seed, year), one after the other or on a cluster.

joblib spreads the scenarios over this machine's cores, or over a Dask cluster when its client is handed over; the table is the
same. There is no engine of our own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from greenlab.core.traces import Traces
from greenlab.load_shifting import Jobs, simulate

CHAPTER = "load_shifting"
ARGUMENTS = ("jobs", "traces", "policy", "capacity", "pue", "transfer", "forecast", "signal")


def run_scenario(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Simulate one scenario: its labels and its metrics, as one row."""
    arguments = {name: scenario[name] for name in ARGUMENTS if name in scenario}
    labels = {name: value for name, value in scenario.items() if name not in ARGUMENTS}
    return labels | simulate(**arguments).metrics()


def sweep(scenarios: Iterable[Mapping[str, Any]], client: Any = None, n_jobs: int = 1) -> pd.DataFrame:
    """Run independent scenarios and return one row for each, in their order.

    Args:
        scenarios: dicts with the arguments of `greenlab.load_shifting.simulate` (jobs, traces and policy at least); every other
            entry, as region, seed or year, labels the row.
        client: a ``dask.distributed.Client``; the scenarios then run on its cluster.
        n_jobs: processes on this machine, when there is no client; -1 for all cores. A scenario takes milliseconds, so one
            is the fastest up to some hundred scenarios.

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
