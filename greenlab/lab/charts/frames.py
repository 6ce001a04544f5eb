"""Checks on the tidy frames that charts draw, with messages that name the remedy."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from greenlab.core.checks import integer
from greenlab.core.names import ENERGY_BASES

MAX_COLORS = 3  # more lines than this and the reader reads the legend instead of the chart
BASES = list(ENERGY_BASES)  # modelled joules are pale: never pass them off as measured


def require_columns(data: pd.DataFrame, *columns: str) -> None:
    """Raise ValueError unless the frame has these columns and at least one row; TypeError if it is no frame.

    >>> require_columns(pd.DataFrame({"loss": [1.0]}), "loss", "energy_j")
    Traceback (most recent call last):
    ...
    ValueError: data lacks the column energy_j; it has loss. Rename or compute it before charting
    """
    if not isinstance(data, pd.DataFrame):
        raise TypeError(
            f"data is {type(data).__name__}: give a pandas DataFrame with the columns {', '.join(map(str, columns))}"
        )
    if missing := [column for column in columns if column not in data.columns]:
        word = "column" if len(missing) == 1 else "columns"
        raise ValueError(
            f"data lacks the {word} {', '.join(map(str, missing))}; it has {', '.join(map(str, data.columns))}. "
            "Rename or compute it before charting"
        )
    if data.empty:
        raise ValueError("data has no rows, so there is nothing to draw; check the filter that made it")


def require_unique(data: pd.DataFrame, *columns: str) -> None:
    """Raise ValueError if two rows share these values: they would be stacked or joined without anyone noticing.

    >>> require_unique(pd.DataFrame({"run": ["a", "a"], "component": ["cpu", "cpu"]}), "run", "component")
    Traceback (most recent call last):
    ...
    ValueError: data has 2 rows for run='a', component='cpu'; give one row each, for example the mean over seeds
    """
    repeated = data[data.duplicated(list(columns), keep=False)]
    if not repeated.empty:
        first = repeated.iloc[0]
        same = (repeated[list(columns)] == first[list(columns)]).all(axis=1).sum()
        plain = repeated[list(columns)].head(1).to_dict("records")[0]  # Python's own numbers, not NumPy's
        where = ", ".join(f"{column}={value!r}" for column, value in plain.items())
        raise ValueError(f"data has {same} rows for {where}; give one row each, for example the mean over seeds")


def require_finite(data: pd.DataFrame, *columns: str) -> None:
    """Raise ValueError unless these columns are numbers, none of them missing or infinite.

    A chart leaves out such values without a word.

    >>> require_finite(pd.DataFrame({"loss": [1.0, float("nan")]}), "loss")
    Traceback (most recent call last):
    ...
    ValueError: column loss has 1 missing or infinite value, first in row 1; drop the row or compute the value
    """
    for column in columns:
        if not is_numeric_dtype(data[column]):
            raise ValueError(f"column {column} holds {data[column].dtype}, not numbers; convert it with pd.to_numeric")
        bad = ~np.isfinite(data[column].to_numpy(dtype=float, na_value=np.nan))
        if bad.any():
            values = "value" if bad.sum() == 1 else "values"
            raise ValueError(
                f"column {column} has {bad.sum()} missing or infinite {values}, "
                f"first in row {data.index[bad.argmax()]}; drop the row or compute the value"
            )


def require_few(data: pd.DataFrame, column: str, limit: int = MAX_COLORS) -> list[str]:
    """The column's values in order of appearance; ValueError if they are more than the chart may colour.

    >>> require_few(pd.DataFrame({"model": ["dense", "moe", "dense"]}), "model")
    ['dense', 'moe']
    """
    limit = integer("max_colors", limit, low=1)
    values = data[column].astype(str).unique().tolist()
    if len(values) > limit:
        raise ValueError(
            f"column {column} has {len(values)} values and a chart has at most {limit} colours; "
            "keep the ones the finding is about, or pass max_colors="
        )
    return values


def require_basis(data: pd.DataFrame, column: str) -> None:
    """Raise ValueError unless the column says of every row whether it was measured or modelled."""
    if unknown := sorted(set(data[column].astype(str)) - set(BASES)):
        raise ValueError(f"column {column} has {', '.join(unknown)}; write measured or modelled for every row")
