"""Hours that are missing, and how they are filled: short gaps by a straight line, longer ones from neighbouring
days.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

SHORT_GAP_H = 3  # up to here a straight line is better than another day's weather
NEIGHBOUR_DAYS = 10
_DAY_H = 24


def gap_lengths(missing: np.ndarray) -> np.ndarray:
    """Length of the run of missing values that each value belongs to; 0 where nothing is missing.

    Args:
        missing: ``(n,)`` bool.

    Returns:
        ``(n,)`` whole numbers.

    Raises:
        TypeError: if ``missing`` holds anything but booleans.

    >>> gap_lengths(np.array([True, True, False, True])).tolist()
    [2, 2, 0, 1]
    """
    missing = np.asarray(missing)
    if missing.dtype != bool or missing.ndim != 1:
        raise TypeError(
            f"missing has the type {missing.dtype} and the shape {missing.shape}: give one axis of booleans"
        )
    padded = np.concatenate([[False], missing, [False]])
    edges = np.flatnonzero(np.diff(padded.astype(np.int8)))
    lengths = np.zeros(len(missing), dtype=int)
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        lengths[start:stop] = stop - start
    return lengths


def fill_gaps(values: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Fill the gaps of an hourly series, and say how.

    Gaps of up to 3 h between known hours lie on a straight line; at either end, where the line has one known side only,
    they keep the value of that side. Longer ones take the mean of the same hour on the nearest day before and the
    nearest day after that have it, at most 10 days away. What is left stays NaN.

    Args:
        values: one value per hour, evenly spaced, NaN where missing.

    Returns:
        The filled values ``(n,)``, and a series of "" (known), "line", "days" or "open" (still missing).

    Raises:
        TypeError: if ``values`` is no Series of numbers.

    >>> filled, how = fill_gaps(pd.Series([1.0, np.nan, 3.0, np.nan]))
    >>> filled.tolist(), how.tolist()
    ([1.0, 2.0, 3.0, 3.0], ['', 'line', '', 'line'])
    """
    if not isinstance(values, pd.Series) or values.dtype.kind not in "iuf":
        raise TypeError(f"values={type(values).__name__}: give a Series of numbers, one per hour, NaN where missing")
    known = values.to_numpy(dtype=float, copy=True)
    missing = np.isnan(known)
    how = np.full(len(known), "", dtype=object)
    if not missing.any():
        return pd.Series(known, index=values.index, name=values.name), pd.Series(how, index=values.index)
    index = np.arange(len(known))
    line = missing & (gap_lengths(missing) <= SHORT_GAP_H) & ~missing.all()
    filled = known.copy()
    if line.any():
        filled[line] = np.interp(
            index[line], index[~missing], known[~missing]
        )  # beyond the ends: the first or last value
        how[line] = "line"
    days = np.flatnonzero(missing & ~line)
    before, after = _neighbour(known, days, -_DAY_H), _neighbour(known, days, _DAY_H)
    both = np.stack([before, after])
    found = ~np.isnan(both).all(axis=0)
    filled[days[found]] = np.nanmean(both[:, found], axis=0)
    how[days] = np.where(found, "days", "open")
    return pd.Series(filled, index=values.index, name=values.name), pd.Series(how, index=values.index)


def _neighbour(known: np.ndarray, hours: np.ndarray, step: int) -> np.ndarray:
    """The value of the same hour on the nearest day in one direction that has it, else NaN."""
    found = np.full(len(hours), np.nan)
    for day in range(1, NEIGHBOUR_DAYS + 1):
        there = hours + day * step
        valid = (there >= 0) & (there < len(known)) & np.isnan(found)
        found[valid] = known[there[valid]]
    return found
