"""What a scheduler believes the coming hours will be. Decisions use the forecast, the accounts use the truth.

Errors of real forecasts are correlated in time: a front that comes late is late for hours. Independent noise averages out over a
long job and flatters every policy; `AR1` with a ``rho`` near 1 does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from greenlab.core.grid.traces import Traces

DAY_H = 24.0


@dataclass(frozen=True)
class AR1:
    """Truth times ``1 + e``, where ``e`` is a first-order autoregressive error of standard deviation ``sigma``.

    ``e`` has the same spread at every hour; ``rho`` is its correlation from one hour to the next, whatever the step. ``rho=0`` is
    independent noise. A forecast never falls below 0.

    Raises:
        ValueError: for a rho outside [0, 1) or a negative sigma.
    """

    rho: float = 0.97
    sigma: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rho < 1:
            raise ValueError(f"rho={self.rho!r}: expected 0 (independent errors) to below 1")
        if not 0 <= self.sigma < 10:
            raise ValueError(f"sigma={self.sigma!r}: expected a share from 0, e.g. 0.2 for 20 %")

    def of(self, truth: np.ndarray, step_h: float) -> np.ndarray:
        """A forecast of ``(Z, T)`` values; each zone errs on its own."""
        noise = np.random.default_rng(self.seed).standard_normal(truth.shape)
        rho = self.rho**step_h if self.rho else 0.0
        noise[:, 1:] *= np.sqrt(1 - rho**2)  # so that the spread is sigma from the first step on
        if rho:
            from scipy.signal import lfilter

            noise = lfilter([1.0], [1.0, -rho], noise, axis=1)
        return truth * np.maximum(1 + self.sigma * noise, 0.0)


def forecast_values(forecast: Any, truth: np.ndarray, traces: Traces) -> np.ndarray:
    """The values that decisions are made on ``(Z, T)``, for every kind of forecast but persistence.

    Raises:
        ValueError: for an unknown kind, or a supplied array of another shape or with a NaN.
    """
    if forecast is None or (isinstance(forecast, str) and forecast == "perfect"):
        return truth
    if isinstance(forecast, AR1):
        return forecast.of(truth, traces.step_h)
    if isinstance(forecast, str):
        raise ValueError(f"forecast={forecast!r}: expected 'perfect', 'persistence', AR1(rho, sigma, seed) or an array")
    values = np.asarray(forecast.intensity_g_per_kwh if isinstance(forecast, Traces) else forecast, dtype=np.float64)
    if values.shape != truth.shape:
        raise ValueError(f"forecast has shape {values.shape}: expected {truth.shape}, one value for each zone and step")
    if not np.isfinite(values).all():
        z, t = np.argwhere(~np.isfinite(values))[0]
        raise ValueError(f"forecast of zone {traces.zones[z]} at {traces.time(t)} is {values[z, t]}: fill it")
    return values


def persistence(truth: np.ndarray, issued: np.ndarray, ahead: np.ndarray, step_h: float) -> np.ndarray:
    """Forecasts issued at steps ``issued`` for some steps ``ahead``: each repeats the day before it, for as long as is asked.

    Nothing from after the issue is used, also beyond 24 hours. On the first day there is no day before; the forecast is then flat,
    and nothing is shifted on its account.

    Args:
        truth: values ``(Z, T)``.
        issued: when each value is forecast ``(K,)`` [steps].
        ahead: how far ahead ``(K,)`` [steps].
        step_h: length of a step [h].

    Returns:
        ``(Z, K)``.

    >>> persistence(np.arange(48.0)[None], np.array([30, 30, 30]), np.array([0, 23, 24]), 1.0).tolist()
    [[6.0, 29.0, 6.0]]
    """
    day = max(1, round(DAY_H / step_h))
    return truth[:, np.where(issued < day, issued, issued - day + ahead % day)]
