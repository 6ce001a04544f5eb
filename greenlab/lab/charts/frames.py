"""Checks on the tidy frames that charts draw, with messages that name the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_numeric_dtype

from greenlab.core.checks import integer, several
from greenlab.core.names import ENERGY_BASES

MAX_COLORS = 3  # more lines than this and the reader reads the legend instead of the chart
BASES = list(ENERGY_BASES)  # modelled joules are pale: never pass them off as measured


def require_columns(data: pd.DataFrame, *columns: str) -> None:
    """Raise unless the frame has these columns and at least one row.

    Raises:
        TypeError: if ``data`` is no frame, or a column's name no text.
        ValueError: if a column is missing, or there is no row.

    >>> require_columns(pd.DataFrame({"loss": [1.0]}), "loss", "energy_j")
    Traceback (most recent call last):
    ...
    ValueError: data lacks the column energy_j; it has the columns loss. Rename or compute it before charting
    """
    check_columns("data", data, columns)
    check_rows("data", data)


def check_columns(name: str, data: Any, columns: Iterable[Any]) -> None:
    """Raise unless the frame, which the caller's argument ``name`` holds, has these columns; rows are not looked at.

    Raises:
        TypeError: if it is no frame, or a column's name no text.
        ValueError: if a column is missing.
    """
    columns = list(columns)
    if not isinstance(data, pd.DataFrame):
        raise TypeError(
            f"{name} is {type(data).__name__}: give a pandas DataFrame with the columns {', '.join(map(str, columns))}"
        )
    for column in columns:
        if not isinstance(column, str):
            raise TypeError(f"columns holds {column!r:.80}, which is {type(column).__name__}: give names of columns")
    if missing := [column for column in columns if column not in data.columns]:
        word = "column" if len(missing) == 1 else "columns"
        raise ValueError(
            f"{name} lacks the {word} {', '.join(missing)}; "
            f"it has the columns {', '.join(map(str, data.columns))}. Rename or compute it before charting"
        )


def check_rows(name: str, data: pd.DataFrame) -> None:
    """Raise ValueError if the frame, which the caller's argument ``name`` holds, has no rows."""
    if data.empty:
        raise ValueError(f"{name} has no rows, so there is nothing to draw; check the filter that made it")


def check_chart_columns(data: Any, **columns: Any) -> None:
    """Raise unless ``data`` is a frame with rows, and each argument of a chart names one column of it.

    Args:
        data: the argument ``data`` of the chart.
        columns: what each argument of the chart was given; None where a column may be left out.

    Raises:
        TypeError: if ``data`` is no frame, or an argument is no text.
        ValueError: if a column is missing, or there is no row.

    >>> check_chart_columns(pd.DataFrame({"loss": [1.0]}), x="loss", y="time_s")
    Traceback (most recent call last):
    ...
    ValueError: y='time_s': data lacks the column time_s; it has the columns loss. Rename or compute it before charting
    """
    check_columns("data", data, ())
    for name, column in columns.items():
        if column is None:
            continue
        if not isinstance(column, str):
            raise TypeError(f"{name}={column!r:.80} is {type(column).__name__}: give the name of a column of data")
        try:
            check_columns("data", data, (column,))
        except ValueError as error:
            raise ValueError(f"{name}={column!r:.80}: {error}") from None
    check_rows("data", data)


def check_needed_columns(data: Any, **columns: Any) -> None:
    """`check_chart_columns` for columns that cannot be left out."""
    for name, column in columns.items():
        if column is None:
            raise TypeError(f"{name}=None is NoneType: give the name of a column of data")
    check_chart_columns(data, **columns)


def check_band(data: pd.DataFrame, band: Any) -> tuple[str, ...]:
    """The two columns of a band, or none of them without a band.

    Raises:
        TypeError: if ``band`` is no pair of texts.
        ValueError: if it has another number of columns, or a column is missing.
    """
    if band is None:
        return ()
    ends = several("band", band, remedy="the columns with the low and the high end, or None")
    if len(ends) != 2:
        raise ValueError(f"band={band!r:.80}: give two columns, with the low and the high end")
    for end in ends:
        if not isinstance(end, str):
            raise TypeError(f"band={band!r:.80}: give the names of two columns")
        check_chart_columns(data, band=end)
    return tuple(ends)


def require_unique(data: pd.DataFrame, *columns: str) -> None:
    """Raise ValueError if two rows share these values: they would be stacked or joined without anyone noticing.

    Raises:
        TypeError: if ``data`` is no frame, or a column's name no text.
        ValueError: if a column is missing, or two rows share the values.

    >>> require_unique(pd.DataFrame({"run": ["a", "a"], "component": ["cpu", "cpu"]}), "run", "component")
    Traceback (most recent call last):
    ...
    ValueError: data has 2 rows for run='a', component='cpu'; give one row each, for example the mean over seeds
    """
    check_columns("data", data, columns)
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

    Raises:
        TypeError: if ``data`` is no frame, or a column's name no text.
        ValueError: if a column is missing, holds no numbers, or a value is missing or infinite.

    >>> require_finite(pd.DataFrame({"loss": [1.0, float("nan")]}), "loss")
    Traceback (most recent call last):
    ...
    ValueError: column loss has 1 missing or infinite value, first in row 1; drop the row or compute the value
    """
    check_columns("data", data, columns)
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

    Raises:
        TypeError: if ``data`` is no frame, ``column`` no text, or ``limit`` no whole number.
        ValueError: if the column is missing or has too many values, or ``limit`` is below 1.

    >>> require_few(pd.DataFrame({"model": ["dense", "moe", "dense"]}), "model")
    ['dense', 'moe']
    """
    if not isinstance(column, str):
        raise TypeError(f"column={column!r:.80} is {type(column).__name__}: give the name of a column of data")
    check_columns("data", data, (column,))
    limit = integer("limit", limit, low=1)
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
