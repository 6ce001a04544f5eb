"""Compile every loop once, so that no reader and no measurement waits for a compiler."""

from __future__ import annotations

import time

import numpy as np
import pandas as pd

from greenlab.core.grid.traces import Traces
from greenlab.load_shifting.jobs import Jobs
from greenlab.load_shifting.policies import POLICIES
from greenlab.load_shifting.simulate import simulate
from greenlab.load_shifting.transfer import Transfer


def warm_up() -> float:
    """Run every policy on three jobs, and return the seconds it took.

    It takes about 20 s the first time on a machine, then 1 s in a new process.
    """
    began = time.perf_counter()
    hours = np.arange(48)
    traces = Traces(
        ("A", "B"), pd.Timestamp("2020-01-01", tz="UTC"), 1.0, 300 + 100 * np.sin(np.stack([hours, hours + 6]) / 4)
    )
    jobs = Jobs(
        [0, 3, 5], [2, 2.5, 1], 1.0, [3, 9, 4], interruptible=[True, True, False], data_gb=1, checkpoint_h=[0, 0.1, 0]
    )
    for policy in POLICIES:
        simulate(jobs, traces, policy)
    many = Jobs(np.arange(40) % 24, 2, 1.0, 20)  # enough of one duration for the sparse table
    simulate(many, traces, "joint")
    simulate(jobs, traces, "joint", transfer=Transfer(0.01))
    crowd = many.replace(interruptible=np.arange(40) % 2 == 0, checkpoint_h=np.where(np.arange(40) % 8 == 0, 0.1, 0.0))
    simulate(crowd, traces, "joint", capacity=1.0)  # a limit that is reached: it compiles all that shares one out
    return time.perf_counter() - began
