"""Sources of electricity: which groups the book counts, what the operators call them, and their life-cycle factors.

The factors are the medians of the IPCC (AR5 WG III, annex III, table A.III.2), which count building, fuel and
operation.
Four departures, because the table does not know everything that a grid burns:

* oil is not in the table: 650 g/kWh from POSTnote 268 (fact ``post-oil``);
* lignite, peat, oil shale and coal-derived gas are counted as coal, 820 g/kWh, which is low for lignite and shale;
* waste and "other renewable" (landfill and sewage gas) are counted as dedicated biomass, tidal power as hydropower;
* "other" is mostly small gas-fired plants that operators do not split by fuel, and is counted as gas: an assumption of
  ours.

Pumped storage is left out of every sum: it gives back what was counted when it was generated.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from greenlab.core import facts

if TYPE_CHECKING:
    import pandas as pd

SOURCES = ("nuclear", "hydro", "wind", "solar", "biomass", "geothermal", "gas", "coal", "oil", "other")
FACTOR_FACTS = {  # type of plant: the fact that holds its factor; the ten groups themselves are among them
    "nuclear": "ipcc-nuclear",
    "hydro": "ipcc-hydro",
    "wind": "ipcc-wind-onshore",
    "wind_offshore": "ipcc-wind-offshore",
    "solar": "ipcc-solar-utility",
    "biomass": "ipcc-biomass",
    "geothermal": "ipcc-geothermal",
    "gas": "ipcc-gas",
    "coal": "ipcc-coal",
    "oil": "post-oil",
    "other": "ipcc-gas",
}
GROUP = {"wind_offshore": "wind"} | {source: source for source in SOURCES}
STORAGE = "storage"  # known, and left out of every sum
MAJOR_SHARE = 0.05  # of generation: an hour that lacks a smaller source still counts as known

ENTSOE = {  # names of the Transparency Platform: type of plant
    "Biomass": "biomass",
    "Energy storage": STORAGE,
    "Fossil Brown coal/Lignite": "coal",
    "Fossil Coal-derived gas": "coal",
    "Fossil Gas": "gas",
    "Fossil Hard coal": "coal",
    "Fossil Oil": "oil",
    "Fossil Oil shale": "coal",
    "Fossil Peat": "coal",
    "Geothermal": "geothermal",
    "Hydro Pumped Storage": STORAGE,
    "Hydro Run-of-river and poundage": "hydro",
    "Hydro Water Reservoir": "hydro",
    "Marine": "hydro",
    "Nuclear": "nuclear",
    "Other": "other",
    "Other renewable": "biomass",
    "Solar": "solar",
    "Waste": "biomass",
    "Wind Offshore": "wind_offshore",
    "Wind Onshore": "wind",
}
EIA = {  # names in the columns "Net Generation (MW) from ..." of form 930, old and new
    "Coal": "coal",
    "Natural Gas": "gas",
    "Nuclear": "nuclear",
    "All Petroleum Products": "oil",
    "Hydropower and Pumped Storage": "hydro",
    "Hydropower Excluding Pumped Storage": "hydro",
    "Pumped Storage": STORAGE,
    "Solar": "solar",
    "Solar with Integrated Battery Storage": "solar",
    "Solar without Integrated Battery Storage": "solar",
    "Wind": "wind",
    "Wind with Integrated Battery Storage": "wind",
    "Wind without Integrated Battery Storage": "wind",
    "Battery Storage": STORAGE,
    "Other Energy Storage": STORAGE,
    "Unknown Energy Storage": STORAGE,
    "Geothermal": "geothermal",
    "Other Fuel Sources": "other",
    "Unknown Fuel Sources": "other",
}


@lru_cache
def factors() -> Mapping[str, float]:
    """Life-cycle factor of each type of plant [g/kWh].

    >>> factors()["coal"], factors()["wind"]
    (820.0, 11.0)
    """
    return {kind: facts.value(id) for kind, id in FACTOR_FACTS.items()}


def _check_generation(generation: pd.DataFrame) -> None:
    if not hasattr(generation, "columns"):
        raise TypeError(f"generation={type(generation).__name__}: give a DataFrame with one column per type of plant")
    unknown = [column for column in generation.columns if column not in FACTOR_FACTS]
    if unknown or not len(generation.columns):
        raise ValueError(f"generation has the columns {unknown}: each must be one of {', '.join(FACTOR_FACTS)}")
    for name in generation.columns:
        if generation[name].dtype.kind not in "iuf":
            raise TypeError(f"generation[{name!r}] is of the type {generation[name].dtype}: it must hold numbers")
        if ((generation[name] < 0) | (generation[name] == float("inf"))).any():
            raise ValueError(
                f"generation[{name!r}] holds a negative or infinite value: give power or energy of 0 or more"
            )


def intensity_g_per_kwh(generation: pd.DataFrame) -> pd.Series:
    """Intensity of each row: the sum of generation times factor over the sum of generation; NaN where nothing ran.

    Args:
        generation: one column per type of plant (keys of ``FACTOR_FACTS``), in any unit of power or energy, >= 0.

    Returns:
        ``(n,)`` [g/kWh].

    Raises:
        TypeError: if it is no DataFrame of numbers.
        ValueError: if a column is no type of plant, or a value is negative or infinite.

    >>> import pandas as pd
    >>> intensity_g_per_kwh(pd.DataFrame({"coal": [1.0, 0.0], "wind": [1.0, 3.0]})).tolist()  # (820 + 11) / 2 = 415.5
    [415.5, 11.0]
    """
    _check_generation(generation)
    total = generation.sum(axis=1)
    grams = sum(generation[kind] * factors()[kind] for kind in generation.columns)
    return (grams / total.where(total > 0)).rename("intensity_g_per_kwh")


def shares(generation: pd.DataFrame) -> pd.DataFrame:
    """Share of each of the ten groups in each row, all ten columns in the order of ``SOURCES``; NaN where nothing ran.

    Args:
        generation: one column per type of plant (keys of ``FACTOR_FACTS``), in any unit of power or energy, >= 0.

    Raises:
        TypeError: if it is no DataFrame of numbers.
        ValueError: if a column is no type of plant, or a value is negative or infinite.

    >>> import pandas as pd
    >>> made = shares(pd.DataFrame({"wind": [1.0], "wind_offshore": [1.0], "gas": [2.0]}))
    >>> made[["wind", "gas", "coal"]].to_numpy().tolist()
    [[0.5, 0.5, 0.0]]
    """
    _check_generation(generation)
    grouped = generation.T.groupby([GROUP[kind] for kind in generation.columns]).sum().T
    total = grouped.sum(axis=1)
    return grouped.div(total.where(total > 0), axis=0).reindex(columns=list(SOURCES), fill_value=0.0)
