"""Scenarios one after the other, on several processes and on a Dask cluster: the same table."""

import numpy as np
import pandas as pd
import pytest

from greenlab.core.grid.traces import Traces
from greenlab.load_shifting import AR1, workload
from greenlab.load_shifting.study import sweep


@pytest.fixture(scope="module")
def scenarios():
    hours = np.arange(24 * 60)
    made = {
        year: Traces(("A", "B"), f"{year}-01-01", 1.0, 300 + 99 * np.sin(np.stack([hours / 4, hours / 4 + 2])))
        for year in (2019, 2020)
    }
    return [
        {
            "region": region,
            "year": year,
            "seed": seed,
            "policy": policy,
            "traces": traces,
            "forecast": AR1(0.9, 0.2, seed),
            "jobs": workload.nightly(50, duration_h=4, home=region, interruptible=True),
        }
        for region in ("A", "B")
        for year, traces in made.items()
        for seed in (0, 1)
        for policy in ("best_start", "joint")
    ]


def test_a_sweep_has_one_row_a_scenario_with_its_labels_in_order(scenarios):
    table = sweep(scenarios)
    assert len(table) == len(scenarios) == 16
    assert list(table.columns[:3]) == ["region", "year", "seed"]
    assert table["policy"].tolist() == [s["policy"] for s in scenarios]
    assert (table.loc[table["policy"] == "joint", "moved_pct"] > 0).any()
    pd.testing.assert_frame_equal(table, sweep(scenarios, n_jobs=2))


def test_a_local_dask_cluster_of_two_workers_gives_the_same_table(scenarios):
    from dask.distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        table = sweep(scenarios, client=client)
        assert len(client.scheduler_info()["workers"]) == 2
    pd.testing.assert_frame_equal(table, sweep(scenarios))


def test_a_scenario_without_jobs_is_named(scenarios):
    with pytest.raises(ValueError, match="scenario 1: jobs=None: expected jobs, traces and a policy"):
        sweep([scenarios[0], {k: v for k, v in scenarios[0].items() if k != "jobs"}])
