"""Pieces: the stretches of time in which jobs run. Every policy returns them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from greenlab.load_shifting.solvers.cumulative import Signal


@dataclass(frozen=True)
class Pieces:
    """Stretch ``i`` runs job ``job[i]`` in zone ``zone[i]`` from ``start[i]`` to ``stop[i]`` [steps].

    A stretch may start or stop within a step.
    """

    job: np.ndarray
    zone: np.ndarray
    start: np.ndarray
    stop: np.ndarray

    @classmethod
    def none(cls) -> Pieces:
        """No stretch at all."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(0))

    @classmethod
    def solid(cls, job: np.ndarray, zone: np.ndarray, start: np.ndarray, size: np.ndarray) -> Pieces:
        """One stretch a job."""
        return cls(job, zone, start.astype(np.float64), start + size)

    def __len__(self) -> int:
        return len(self.job)

    def shifted(self, steps: np.ndarray, names: np.ndarray) -> Pieces:
        """The same, each job moved in time by ``steps[job]`` and called ``names[job]``."""
        by = steps[self.job]
        return Pieces(names[self.job], self.zone, self.start + by, self.stop + by)

    def without(self, jobs: np.ndarray) -> Pieces:
        """The stretches of all but some jobs."""
        at = ~np.isin(self.job, jobs)
        return Pieces(self.job[at], self.zone[at], self.start[at], self.stop[at])

    def running(self, planned: np.ndarray, true: np.ndarray, overhead: np.ndarray) -> Pieces:
        """What becomes of a plan when the jobs take another time: they stop early, or go on after their last stretch.

        Args:
            planned: steps for which each job was planned ``(n,)``.
            true: steps that it runs ``(n,)``.
            overhead: steps that each resumption adds ``(n,)``.
        """
        if not len(self) or (planned == true).all():
            return self
        begins = np.concatenate([[True], self.job[1:] != self.job[:-1]])
        ends = np.append(begins[1:], True)
        lost = np.where(begins, 0.0, overhead[self.job])
        work = self.stop - self.start - lost
        before = np.cumsum(work) - work
        before -= before[np.maximum.accumulate(np.where(begins, np.arange(len(self)), 0))]  # of the same job
        rest = true[self.job] - before
        used = rest > 1e-9
        last = used & (ends | ~np.append(used[1:], False))
        changes = last & (planned != true)[self.job]
        stop = np.where(changes, self.start + lost + rest, self.stop)
        return Pieces(self.job[used], self.zone[used], self.start[used], stop[used])

    def total(self, signal: Signal, n: int) -> np.ndarray:
        """The signal summed over the stretches of each of ``n`` jobs [signal x steps]."""
        cost = signal.between(self.zone, self.start, self.stop)
        return np.bincount(self.job, cost, minlength=n)

    def steps(self, n: int) -> np.ndarray:
        """How long each of ``n`` jobs runs [steps]."""
        return np.bincount(self.job, self.stop - self.start, minlength=n)

    def load(self, power_kw: np.ndarray, n_zones: int, n_steps: int) -> np.ndarray:
        """Mean power in every zone and step ``(Z, T)`` [kW]."""
        width = n_steps + 2
        flat = np.zeros(n_zones * width)
        for point, sign in ((self.start, 1.0), (self.stop, -1.0)):
            whole = point.astype(np.int64)
            inside, power = point - whole, sign * power_kw[self.job]
            at = self.zone * width + whole
            flat += np.bincount(at, power * (1 - inside), minlength=len(flat))
            flat += np.bincount(at + 1, power * inside, minlength=len(flat))
        load = np.cumsum(flat.reshape(n_zones, width), axis=1)[:, :n_steps]
        return np.where(np.abs(load) < 1e-9 * max(1.0, np.abs(load).max(initial=0.0)), 0.0, load)


def join(*parts: Pieces) -> Pieces:
    """All stretches, in the order of the jobs.

    Each job comes from one part, which has the stretches of that job in order of time.
    """
    parts = tuple(part for part in parts if len(part))
    if len(parts) == 1 and (np.diff(parts[0].job) >= 0).all():
        return parts[0]
    if not parts:
        return Pieces.none()
    job, zone, start, stop = (
        np.concatenate([getattr(p, name) for p in parts]) for name in ("job", "zone", "start", "stop")
    )
    order = np.argsort(job, kind="stable")
    return Pieces(job[order], zone[order], start[order], stop[order])
