"""Compare schedules of the same jobs: carbon against money, and one carbon signal against another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.core.grid.traces import Traces
from greenlab.load_shifting.jobs import Jobs
from greenlab.load_shifting.policies import Policy
from greenlab.load_shifting.simulate import SIGNALS, check_work, simulate


def pareto(
    jobs: Jobs,
    traces: Traces,
    policy: str | Policy = "k_cheapest",
    *,
    weights: Iterable[float] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """The trade-off between cost and carbon: policies that look at a mixture of both.

    A weight ``w`` decides by ``w * intensity / mean intensity + (1 - w) * price / mean price``. An exact policy without
    a capacity minimizes the mixture, so no schedule at all is better in both: these are the supported points of the
    Pareto front.

    Args:
        jobs: the work.
        traces: the hours, with a price.
        policy: "best_start", "k_cheapest" or "joint".
        weights: of carbon, 0 to 1; default 11 of them.
        options: further arguments of `simulate`; a forecast is one of the mixture.

    Returns:
        One row a weight: weight, carbon_kg, cost, saved_pct, delay_p50_h, on_front (no other row is better in both).

    Raises:
        TypeError: if the weights are no numbers.
        ValueError: if the traces have no price, or a weight lies outside 0 to 1.
    """
    check_work(jobs, traces, options.get("transfer"))
    if traces.price_per_kwh is None:
        raise ValueError("the traces have no price_per_kwh: hand one over to Traces, e.g. a day-ahead price")
    if weights is None:
        weights = np.linspace(0, 1, 11)
    elif np.ndim(weights := list(weights) if isinstance(weights, Iterable) else weights) != 1:
        raise TypeError(f"weights={weights!r}: expected several numbers from 0 to 1, as [0, 0.5, 1]")
    weights = checks.numbers("weights", weights, empty=True).tolist()
    if not weights or not all(0 <= w <= 1 for w in weights):
        raise ValueError(f"weights={weights}: expected numbers from 0 (price only) to 1 (carbon only)")
    parts = [v / (np.abs(v).mean() or 1.0) for v in (traces.intensity_g_per_kwh, traces.price_per_kwh)]
    rows = []
    for w in weights:
        # the end points keep a trace of the other signal, which decides between equals
        mix = min(max(w, 1e-6), 1 - 1e-6)
        schedule = simulate(jobs, traces, policy, signal=mix * parts[0] + (1 - mix) * parts[1], **options)
        metrics = schedule.metrics()
        rows.append({"weight": w, **{k: metrics[k] for k in ("carbon_kg", "cost", "saved_pct", "delay_p50_h")}})
    table = pd.DataFrame(rows)
    carbon, cost = table["carbon_kg"].to_numpy(), table["cost"].to_numpy()
    slack = 1e-9 * (abs(carbon).max() + abs(cost).max())
    worse = (carbon[:, None] >= carbon - slack) & (cost[:, None] >= cost - slack)
    beaten = worse & ((carbon[:, None] > carbon + slack) | (cost[:, None] > cost + slack))
    return table.assign(on_front=~beaten.any(axis=1))


def compare_signals(
    jobs: Jobs,
    traces: Traces,
    policy: str | Policy = "k_cheapest",
    *,
    signals: Iterable[str] | None = None,
    **options: Any,
) -> pd.DataFrame:
    """Decide by one signal, count by all: one row for each signal that the traces have, first the baseline.

    Args:
        jobs: the work.
        traces: the hours.
        policy: as for `simulate`.
        signals: names of the signals that decide; default: all that the traces have.
        options: further arguments of `simulate`.

    Raises:
        TypeError: if the signals are no list of names.
        ValueError: as `simulate`.

    Returns:
        decided_by and what `Schedule.metrics` says: carbon_kg by the average, and, where known, marginal_kg,
        curtailed_kwh, cost.
    """
    check_work(jobs, traces, options.get("transfer"))
    if signals is not None and (isinstance(signals, str) or not isinstance(signals, Iterable)):
        raise TypeError(f"signals={signals!r}: expected several names, as ['average', 'price']")
    have = {
        "average": True,
        "marginal": traces.marginal_g_per_kwh is not None,
        "curtailment": traces.curtailed_share is not None,
        "price": traces.price_per_kwh is not None,
    }
    chosen = [name for name in SIGNALS if have[name]] if signals is None else list(signals)
    for name in chosen:
        checks.one_of("signals", name, SIGNALS)
    base = {"decided_by": "nothing (at once)", **simulate(jobs, traces, "now", **options).metrics()}
    return pd.DataFrame(
        [
            base,
            *(
                {"decided_by": name, **simulate(jobs, traces, policy, signal=name, **options).metrics()}
                for name in chosen
            ),
        ]
    )
