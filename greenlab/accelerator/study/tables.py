"""Tables of the accelerator: one line a row of the study, and the figures that prose quotes."""

from __future__ import annotations

from typing import Any

import pandas as pd

KEYS = ["section", "what", "unit", "batch", "context", "layers", "experts_visited"]
SUMMARY = [
    *KEYS, "repeats", "time_s", "energy_j", "power_w", "j_per_unit", "least_j_per_unit", "most_j_per_unit", "low_j_per_unit",
    "high_j_per_unit", "units_per_s", "basis",
]  # fmt: skip


def summary(repeats: pd.DataFrame) -> pd.DataFrame:
    """One line a row of the study.

    Args:
        repeats: one row a block: the columns of `Repeat`, ``section``, ``what``, ``unit`` and, where they apply, ``batch``
            [sequences or tokens], ``context`` [tokens], ``layers`` and ``experts_visited``.

    Returns:
        ``j_per_unit`` is all joules over all units [J per token, FLOP, byte or second]; ``least_`` and ``most_j_per_unit``
        are the repeats' extremes (the spread); ``low_`` and ``high_j_per_unit`` the meter's range over all blocks.
        ``power_w`` is the mean [W], ``basis`` is "measured" only if every block was.
    """
    frame = repeats.reindex(columns=[*KEYS, *repeats.columns.difference(KEYS, sort=False)])
    frame = frame[frame["units"].notna()]
    rows = []
    for keys, part in frame.groupby(KEYS, dropna=False, sort=False):
        units, time_s = part["units"].sum(), part["time_s"].sum()
        each = part["energy_j"] / part["units"]
        row: dict[str, Any] = dict(zip(KEYS, keys, strict=True)) | {
            "repeats": len(part),
            "time_s": time_s,
            "energy_j": part["energy_j"].sum(),
            "power_w": part["energy_j"].sum() / time_s,
            "j_per_unit": part["energy_j"].sum() / units,
            "least_j_per_unit": each.min(),
            "most_j_per_unit": each.max(),
            "low_j_per_unit": part["low_j"].sum() / units,
            "high_j_per_unit": part["high_j"].sum() / units,
            "units_per_s": units / time_s,
            "basis": "measured" if (part["basis"] == "measured").all() else "modelled",
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=SUMMARY)


def pick(table: pd.DataFrame, section: str, what: str, **keys: float) -> pd.Series:
    """Return the one line of the summary with this section, ``what`` and further keys.

    Raises:
        ValueError: if there is none, or more than one.
    """
    found = table[(table["section"] == section) & (table["what"] == what)]
    for key in ("batch", "context", "layers"):
        if key in keys:
            found = found[found[key] == keys[key]]
        elif key == "layers":
            found = found[found[key].isna()]
    if len(found) != 1:
        raise ValueError(f"section={section!r}, what={what!r}, {keys}: {len(found)} lines of the table, not one")
    return found.iloc[0]


def figures(table: pd.DataFrame) -> pd.DataFrame:
    """What prose quotes: name, value, unit, basis and note, one figure a line of the summary and the ratios of some."""
    rows = []
    for line in table.itertuples():
        words = [line.section, str(line.what).replace(": ", "-").replace(", ", "-")]
        words += [
            f"{key}-{int(getattr(line, key))}" for key in ("batch", "context", "layers") if getattr(line, key) > 0
        ]
        name = "-".join(words).lower().replace(" ", "-").replace(".", "p")
        unit = "W" if line.unit == "s" else f"J/{line.unit}"
        note = f"{line.repeats} repeats, {line.least_j_per_unit:.4g} to {line.most_j_per_unit:.4g}; mean {line.power_w:.0f} W"
        rows.append((name, line.j_per_unit, unit, line.basis, note))
    return pd.DataFrame(rows, columns=["name", "value", "unit", "basis", "note"])
