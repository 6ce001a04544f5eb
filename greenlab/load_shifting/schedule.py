"""Schedule: which job ran where and when, and what that cost. Every job is either scheduled or listed as missed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from greenlab.core import checks
from greenlab.core.grid.traces import Traces
from greenlab.load_shifting.jobs import Jobs
from greenlab.load_shifting.pieces import Pieces
from greenlab.load_shifting.solvers.cumulative import Signal
from greenlab.load_shifting.transfer import Moves
from greenlab.load_shifting.windows import Windows


@dataclass(frozen=True)
class Schedule:
    """What a simulation returns.

    ``start_h, finish_h, region, carbon_g, baseline_g`` have one entry for each job: NaN or -1 where a job is missed.

    Attributes:
        jobs: what was asked for.
        traces: over what it ran.
        policy: name of the policy.
        pieces: every stretch of running, in steps.
        windows: where each job was allowed to run.
        reason: "" or why a job was missed ``(n,)``.
        pue: power usage effectiveness of each zone ``(Z,)``.
        moves: energy and time of moving, or None.
        truth: the average intensity and its running sum.
    """

    jobs: Jobs
    traces: Traces
    policy: str
    pieces: Pieces
    windows: Windows
    reason: np.ndarray
    pue: np.ndarray
    moves: Moves | None
    truth: Signal

    @property
    def n(self) -> int:
        """How many jobs were asked for."""
        return self.jobs.n

    @cached_property
    def scheduled(self) -> np.ndarray:
        """Which jobs ran ``(n,)``."""
        return self.reason == ""

    @cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """First and last piece of every job; -1 where there is none."""
        first, last = np.full(self.n, -1), np.full(self.n, -1)
        index = np.arange(len(self.pieces))
        last[self.pieces.job] = index  # the last writer wins
        first[self.pieces.job[::-1]] = index[::-1]
        return first, last

    def _per_job(self, values: np.ndarray, at: np.ndarray, missing: float) -> np.ndarray:
        return np.where(at >= 0, values[at] if len(values) else missing, missing)

    @cached_property
    def start_h(self) -> np.ndarray:
        """When each job starts [h after the start of the traces]."""
        return self._per_job(self.pieces.start, self._ends[0], np.nan) * self.traces.step_h

    @cached_property
    def finish_h(self) -> np.ndarray:
        """When each job has finished [h after the start of the traces]."""
        return self._per_job(self.pieces.stop, self._ends[1], np.nan) * self.traces.step_h

    @cached_property
    def region(self) -> np.ndarray:
        """Row of the zone in which each job runs (its first piece, should it migrate); -1 where missed."""
        return self._per_job(self.pieces.zone, self._ends[0], -1).astype(np.int64)

    @cached_property
    def delay_h(self) -> np.ndarray:
        """How much later each job finishes than if it had run at once, at home [h]."""
        return self.finish_h - (self.windows.first + self.windows.size) * self.traces.step_h

    @cached_property
    def late(self) -> np.ndarray:
        """Which jobs ran beyond their deadline ``(n,)``: only those that took longer than was estimated can."""
        return self.scheduled & (self.finish_h > self.windows.due * self.traces.step_h + 1e-6)

    @property
    def _kwh_per_step(self) -> np.ndarray:
        return self.jobs.power_kw * self.traces.step_h

    def _signal(self, values: np.ndarray | Signal) -> Signal:
        """The running sums of values that fit the traces."""
        shape = self.traces.intensity_g_per_kwh.shape
        if isinstance(values, Signal):
            signal = values
        else:
            remedy = f"one value for each zone and step, {shape}"
            signal = Signal.of(checks.numbers("values", values, ndim=2, remedy=remedy))
        if signal.values.shape != shape:
            raise ValueError(f"values has shape {signal.values.shape}: expected {shape}, as the traces have")
        return signal

    def account(self, values: np.ndarray | Signal) -> np.ndarray:
        """Any signal per kWh ``(Z, T)``, summed over what each job drew, overheads and transfer included ``(n,)``.

        The running sums of what each piece costs are differences: 100,000 jobs take a few milliseconds.

        Raises:
            TypeError: if ``values`` holds anything but numbers.
            ValueError: for a value that is not finite, or another shape than that of the traces.
        """
        signal = self._signal(values)
        cost = signal.between(self.pieces.zone, self.pieces.start, self.pieces.stop) * self.pue[self.pieces.zone]
        total = np.bincount(self.pieces.job, cost, minlength=self.n) * self._kwh_per_step
        if self.moves is not None:
            moved = self.moves.cost(signal.values, self.windows)
            total += np.where(self.scheduled, moved[np.arange(self.n), self.region], 0.0)
        return np.where(self.scheduled, total, np.nan)

    def account_baseline(self, values: np.ndarray | Signal) -> np.ndarray:
        """The same, had each of these jobs run at once, at home, without a limit of capacity; NaN where missed.

        Raises:
            TypeError: as `account`.
            ValueError: as `account`.
        """
        signal, w = self._signal(values), self.windows
        ok = np.flatnonzero(self.scheduled)
        total = np.full(self.n, np.nan)
        cost = signal.between(w.home[ok], w.first[ok].astype(np.float64), w.first[ok] + w.size[ok])
        total[ok] = cost * self.pue[w.home[ok]] * self._kwh_per_step[ok]
        return total

    @cached_property
    def carbon_g(self) -> np.ndarray:
        """Carbon of each job by the average intensity that really came [g]."""
        return self.account(self.truth)

    @cached_property
    def baseline_g(self) -> np.ndarray:
        """Carbon of each job had it never been shifted [g]."""
        return self.account_baseline(self.truth)

    @cached_property
    def energy_kwh(self) -> np.ndarray:
        """Energy of each job: running, checkpoints, the data centre's overhead, transfer [kWh]."""
        drawn = (self.pieces.stop - self.pieces.start) * self.pue[self.pieces.zone]
        total = np.bincount(self.pieces.job, drawn, minlength=self.n) * self._kwh_per_step
        if self.moves is not None:
            total += np.where(self.scheduled, self.moves.energy_kwh[np.arange(self.n), self.region], 0.0)
        return np.where(self.scheduled, total, np.nan)

    def power_kw(self) -> pd.DataFrame:
        """Mean power of computing in each zone and step: zone, time, power_kw [kW].

        The data centre's overhead is not included.
        """
        load = self.pieces.load(self.jobs.power_kw, len(self.traces.zones), self.traces.n_steps)
        frame = self.traces.to_frame()[["zone", "time"]]
        return frame.assign(power_kw=load.ravel())

    def metrics(self) -> dict[str, Any]:
        """The schedule in numbers; savings compare the same scheduled jobs, run at once, at home.

        Returns:
            jobs, missed (did not run), late (ran beyond the deadline, as the estimate was short);
            energy_kwh; carbon_kg, baseline_kg, saved_pct (allocated by the average intensity);
            delay_p50_h, delay_p95_h; moved_pct (jobs run away from home); pauses; peak_kw, baseline_peak_kw (all zones
            together); and where the traces have them: cost and baseline_cost, marginal_kg and baseline_marginal_kg,
            curtailed_kwh.
        """
        ok = self.scheduled
        carbon, base = float(self.carbon_g[ok].sum()) / 1e3, float(self.baseline_g[ok].sum()) / 1e3
        delay = np.percentile(self.delay_h[ok], [50, 95]) if ok.any() else (0.0, 0.0)
        w = self.windows
        at_once = Pieces.solid(np.flatnonzero(ok), w.home[ok], w.first[ok], w.size[ok])
        peak = [
            float(p.load(self.jobs.power_kw, len(self.traces.zones), self.traces.n_steps).sum(axis=0).max())
            for p in (self.pieces, at_once)
        ]
        result: dict[str, Any] = {
            "policy": self.policy, "jobs": self.n, "missed": int((~ok).sum()), "late": int(self.late.sum()),
            "energy_kwh": float(self.energy_kwh[ok].sum()),
            "carbon_kg": carbon, "baseline_kg": base, "saved_pct": 100 * (1 - carbon / base) if base else 0.0,
            "delay_p50_h": float(delay[0]), "delay_p95_h": float(delay[1]),
            "moved_pct": 100 * float((self.region[ok] != w.home[ok]).mean()) if ok.any() else 0.0,
            "pauses": len(self.pieces) - int(ok.sum()), "peak_kw": peak[0], "baseline_peak_kw": peak[1],
        }  # fmt: skip
        t = self.traces
        if t.price_per_kwh is not None:
            result["cost"] = float(self.account(t.price_per_kwh)[ok].sum())
            result["baseline_cost"] = float(self.account_baseline(t.price_per_kwh)[ok].sum())
        if t.marginal_g_per_kwh is not None:
            result["marginal_kg"] = float(self.account(t.marginal_g_per_kwh)[ok].sum()) / 1e3
            result["baseline_marginal_kg"] = float(self.account_baseline(t.marginal_g_per_kwh)[ok].sum()) / 1e3
        if t.curtailed_share is not None:
            result["curtailed_kwh"] = float(self.account(t.curtailed_share)[ok].sum())
        return result

    def timeline(self) -> pd.DataFrame:
        """One row for each stretch of running.

        The columns are job, region, start, stop (UTC), start_h, stop_h, power_kw, energy_kwh, carbon_g.
        """
        p, step = self.pieces, self.traces.step_h
        factor = self.pue[p.zone] * self._kwh_per_step[p.job]
        when = [self.traces.start + pd.to_timedelta(np.round(x * step * 3600), unit="s") for x in (p.start, p.stop)]
        return pd.DataFrame(
            {
                "job": p.job,
                "region": np.asarray(self.traces.zones, dtype=object)[p.zone],
                "start": when[0],
                "stop": when[1],
                "start_h": p.start * step,
                "stop_h": p.stop * step,
                "power_kw": self.jobs.power_kw[p.job],
                "energy_kwh": (p.stop - p.start) * factor,
                "carbon_g": self.truth.between(p.zone, p.start, p.stop) * factor,
            }
        )

    def missed(self) -> pd.DataFrame:
        """One row for each job that did not run: job, arrival_h, duration_h, reason."""
        row = np.flatnonzero(~self.scheduled)
        arrival, duration = self.jobs.arrival_h[row], self.jobs.duration_h[row]
        return pd.DataFrame({"job": row, "arrival_h": arrival, "duration_h": duration, "reason": self.reason[row]})

    def to_frame(self) -> pd.DataFrame:
        """One row a job: job, home, region, start_h, finish_h, delay_h, energy_kwh, carbon_g, baseline_g, reason."""
        names = np.array([*self.traces.zones, None], dtype=object)  # the last one is for -1
        columns = ("start_h", "finish_h", "delay_h", "energy_kwh", "carbon_g", "baseline_g", "reason")
        frame = pd.DataFrame({"job": np.arange(self.n), "home": names[self.windows.home], "region": names[self.region]})
        return frame.assign(**{name: getattr(self, name) for name in columns})
