"""Intensity from generation by source, for the operators whose files hold that."""

from __future__ import annotations

import numpy as np
import pandas as pd

from greenlab.core.grid.sources import MAJOR_SHARE, STORAGE, intensity_g_per_kwh


def of_generation(power: pd.DataFrame, kinds: dict[str, str]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Intensity and total generation of each row; a row that lacks a source of 5 % or more is missing.

    Args:
        power: one column per source [MW], NaN where missing.
        kinds: the operator's name of a source: type of plant.

    Returns:
        ``(rows,)`` [g/kWh], ``(rows,)`` [MW], and the repairs.
    """
    power = power[[name for name in power.columns if kinds[name] != STORAGE]]
    repairs = []
    if negative := int((power < 0).sum().sum()):
        repairs.append(f"{negative:,} negative values of generation (own use) counted as 0")
    power = power.clip(lower=0)
    mean = power.mean().fillna(0.0)
    major = [name for name in power.columns if mean[name] >= MAJOR_SHARE * mean.sum()]
    lacking = power[major].isna().any(axis=1) | power.isna().all(axis=1)
    if minor := int(power.drop(columns=major)[~lacking].isna().sum().sum()):
        repairs.append(f"{minor:,} empty cells of sources below 5 % counted as 0")
    types = power.fillna(0.0).T.groupby([kinds[name] for name in power.columns]).sum().T
    total = types.sum(axis=1).mask(lacking)
    repairs.append("intensity computed from generation and the life-cycle factors of the IPCC (AR5, annex III)")
    return intensity_g_per_kwh(types).mask(lacking).to_numpy(), total.to_numpy(), repairs
