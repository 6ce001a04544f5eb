"""Forecasts of the coming hours. Decisions use the forecast, results the true values.

Errors of real forecasts are correlated in time: a front that comes late is late for hours. Independent noise averages
out over a long job and flatters every policy; `AR1` with a ``rho`` near 1 does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from greenlab.core import checks
from greenlab.core.grid.traces import Traces

DAY_H = 24.0
LARGEST = 1e12  # of a signal's values: sums of years of them stay exact enough


@dataclass(frozen=True)
class AR1:
    """Truth times ``1 + e``, where ``e`` is a first-order autoregressive error of standard deviation ``sigma``.

    ``e`` has the same spread at every hour; ``rho`` is its correlation from one hour to the next, whatever the step.
    ``rho=0`` is independent noise. A forecast never falls below 0.

    Attributes:
        rho: correlation of the error from one hour to the next, 0 to below 1.
        sigma: standard deviation of the error, as a share of the truth, 0 to below 10.
        seed: of the errors.

    Raises:
        TypeError: if ``rho`` or ``sigma`` is no number, or ``seed`` no whole number.
        ValueError: for a rho outside [0, 1), a sigma outside [0, 10) or a negative seed.
    """

    rho: float = 0.97
    sigma: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        checks.number("rho", self.rho, low=0, below=1, remedy="0 is independent errors, 0.97 errors that last")
        checks.number("sigma", self.sigma, low=0, below=10, remedy="a share, e.g. 0.2 for 20 %")
        checks.integer("seed", self.seed, low=0)

    def of(self, truth: np.ndarray, step_h: float) -> np.ndarray:
        """A forecast of ``(Z, T)`` values; each zone errs on its own.

        Args:
            truth: what really comes ``(Z, T)``.
            step_h: length of a step [h].

        Raises:
            TypeError: if ``truth`` or ``step_h`` is no number.
            ValueError: for another shape, or a step that is not above 0.
        """
        truth = checks.numbers("truth", truth, ndim=2)
        step_h = checks.number("step_h", step_h, above=0)
        noise = np.random.default_rng(self.seed).standard_normal(truth.shape)
        rho = self.rho**step_h if self.rho else 0.0
        noise[:, 1:] *= np.sqrt(1 - rho**2)  # so that the spread is sigma from the first step on
        if rho:
            from scipy.signal import lfilter

            noise = lfilter([1.0], [1.0, -rho], noise, axis=1)
        return truth * np.maximum(1 + self.sigma * noise, 0.0)


def forecast_values(forecast: Any, truth: np.ndarray, traces: Traces, signal: Any = "average") -> np.ndarray:
    """The values that decisions are made on ``(Z, T)``, for every kind of forecast but persistence.

    Args:
        forecast: as for `simulate`.
        truth: the signal that really comes ``(Z, T)``.
        traces: the hours.
        signal: what the policy looks at; of `Traces` that are forecast the same signal is taken.

    Raises:
        TypeError: if it holds anything but numbers.
        ValueError: for an unknown kind, an array of another shape or with a NaN, or `Traces` of other zones or steps.
    """
    if forecast is None or (isinstance(forecast, str) and forecast == "perfect"):
        return truth
    if isinstance(forecast, AR1):
        return forecast.of(truth, traces.step_h)
    if isinstance(forecast, str):
        raise ValueError(f"forecast={forecast!r}: expected 'perfect', 'persistence', AR1(rho, sigma, seed) or an array")
    if isinstance(forecast, Traces):
        return _of_traces(forecast, traces, signal)
    try:
        values = np.asarray(forecast)
    except ValueError:
        raise ValueError(
            f"forecast={str(forecast)[:60]} has rows of different lengths: expected {truth.shape}"
        ) from None
    if values.dtype.kind not in "iuf":
        raise TypeError(
            f"forecast={str(forecast)[:60]} does not hold numbers: expected {truth.shape}, or a kind by name"
        )
    values = values.astype(np.float64)
    if values.shape != truth.shape:
        raise ValueError(f"forecast has shape {values.shape}: expected {truth.shape}, one value for each zone and step")
    if not (np.abs(values) <= LARGEST).all():  # NaN included
        z, t = np.argwhere(~(np.abs(values) <= LARGEST))[0]
        raise ValueError(
            f"forecast of zone {traces.zones[z]} at {traces.time(t)} is {values[z, t]}: "
            f"fill it (up to {LARGEST:g} is allowed)"
        )
    return values


def _of_traces(forecast: Traces, traces: Traces, signal: Any) -> np.ndarray:
    """The signal of traces that are forecast, if they are of the same zones and steps."""
    for name in ("zones", "start", "step_h", "n_steps"):
        ours, theirs = getattr(traces, name), getattr(forecast, name)
        if ours != theirs:
            raise ValueError(
                f"forecast has {name}={theirs!r}, the traces have {ours!r}: hand over the same zones and steps"
            )
    if not isinstance(signal, str):
        raise ValueError(
            "forecast is Traces, but signal is an array: hand over the forecast of that signal as an array"
        )
    from greenlab.load_shifting.simulate import signal_values

    try:
        return signal_values(signal, forecast)
    except ValueError as error:
        raise ValueError(f"forecast: {error}") from error


def persistence(truth: np.ndarray, issued: np.ndarray, ahead: np.ndarray, step_h: float) -> np.ndarray:
    """Forecasts issued at steps ``issued`` for some steps ``ahead``: each repeats the day before the issue.

    Nothing from after the issue is used, also beyond 24 hours. On the first day there is no day before; the forecast is
    then flat, and nothing is shifted on its account.

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
