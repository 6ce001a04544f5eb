"""Tables of the accelerator: one line a row of the study, and the figures that prose quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from greenlab.accelerator.shapes import EXPERT_LAYERS
from greenlab.core import facts
from greenlab.core.model.cost import expected_experts

KEYS = ["section", "what", "unit", "batch", "context", "layers", "experts_visited"]
SUMMARY = [
    *KEYS, "repeats", "time_s", "energy_j", "power_w", "j_per_unit", "least_j_per_unit", "most_j_per_unit",
    "low_j_per_unit", "high_j_per_unit", "units_per_s", "basis",
]  # fmt: skip
HOW = ["launched", "products", "draws"]  # how a row was done; tables of older code have no such columns
FIGURES = ["name", "value", "unit", "basis", "note"]
FACTS = {"NVIDIA H100 80GB HBM3": "h100-sxm5-80gb"}  # device of run.json -> its row in data/facts
# What a reader has to know of a row beside its numbers, where the row does not say who launched its kernels: the tables
# that the code of commit a800ba7 made.
_SIGNS = "half of the zeros are minus zero: their sign bits still switch"
_HOST = "launched kernel by kernel from the host, which sets the time of a prompt this short"
REMARKS = {
    "idle-no-program": "a program had opened the card and loaded nothing; a card that no program has opened can draw "
    "much less",
    "matmul-zeros": _SIGNS,
    "copy-zeros": _SIGNS,
    "prompt-llama-3p1-8b-batch-1-context-128": _HOST,
    "prompt-llama-3p1-8b-batch-1-context-512": _HOST,
    "prompt-llama-3p1-8b-mixture-of-depths-batch-1-context-512": _HOST,
}


def summary(repeats: pd.DataFrame) -> pd.DataFrame:
    """One line a row of the study.

    Args:
        repeats: one row a block: the columns of `Repeat`, ``section``, ``what``, ``unit`` and, where they apply,
            ``batch`` [sequences or tokens], ``context`` [tokens], ``layers`` and ``experts_visited`` (the mean of the
            draws). Newer tables also say ``launched`` ("graph", "host" or "nothing"), ``products`` ("grouped" or
            "loop": how the experts were multiplied) and ``draws`` (random routings in a row).

    Returns:
        ``j_per_unit`` is all joules over all units [J per token, FLOP, byte or second]; ``least_`` and
        ``most_j_per_unit`` are the repeats' extremes (the spread); ``low_`` and ``high_j_per_unit`` the meter's range
        over all blocks. ``power_w`` is the mean [W], ``basis`` is "measured" only if every block was.

    Raises:
        TypeError: if ``repeats`` is no table.
        ValueError: if it lacks a column.
    """
    needed = ["section", "what", "unit", "units", "time_s", "energy_j", "low_j", "high_j", "basis"]
    _require("repeats", repeats, needed)
    frame = repeats.reindex(columns=[*KEYS, *repeats.columns.difference(KEYS, sort=False)])
    frame = frame[frame["units"].notna()]
    how = [name for name in HOW if name in repeats]
    rows = []
    for keys, part in frame.groupby([*KEYS, *how], dropna=False, sort=False):
        units, time_s = part["units"].sum(), part["time_s"].sum()
        each = part["energy_j"] / part["units"]
        row: dict[str, Any] = dict(zip([*KEYS, *how], keys, strict=True)) | {
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
    return pd.DataFrame(rows, columns=[*SUMMARY, *how])


def pick(table: pd.DataFrame, section: str, what: str, **keys: float) -> pd.Series:
    """Return the one line of the summary with this section, ``what`` and further keys.

    Args:
        table: as `summary` gives it.
        section: such as "decode".
        what: such as "Llama-3.1-8B".
        **keys: values of ``batch``, ``context`` or ``layers``. Without ``layers`` it is a line of the whole model.

    Raises:
        TypeError: if ``table`` is no table.
        ValueError: if there is no such line or more than one, or a key is unknown.
    """
    _require("table", table, ["section", "what", "batch", "context", "layers"])
    if unknown := set(keys) - {"batch", "context", "layers"}:
        raise ValueError(f"keys has {sorted(unknown)[0]!r}: give batch, context or layers")
    found = table[(table["section"] == section) & (table["what"] == what)]
    for key in ("batch", "context", "layers"):
        if key in keys:
            found = found[found[key] == keys[key]]
        elif key == "layers":
            found = found[found[key].isna()]
    if len(found) != 1:
        raise ValueError(f"section={section!r}, what={what!r}, {keys}: {len(found)} lines of the table, not one")
    return found.iloc[0]


def visits(table: pd.DataFrame) -> pd.DataFrame:
    """How many experts were visited, beside what random routing visits in the mean.

    Args:
        table: as `summary` gives it.

    Returns:
        One row per layer and number of tokens: layer, tokens, n_experts, top_k, visited (the mean of the draws),
        expected.

    Raises:
        TypeError: if ``table`` is no table.
        ValueError: if it lacks a column.
    """
    _require("table", table, ["section", "what", "batch", "experts_visited"])
    rows = []
    for name, layer in EXPERT_LAYERS.items():
        found = table[(table["section"] == "layer") & (table["what"] == f"{name}: experts")]
        for tokens, visited in zip(found["batch"].astype(int), found["experts_visited"].astype(float), strict=True):
            expected = expected_experts(layer.n_experts, layer.top_k, tokens)
            rows.append((name, tokens, layer.n_experts, layer.top_k, visited, expected))
    return pd.DataFrame(rows, columns=["layer", "tokens", "n_experts", "top_k", "visited", "expected"])


def rated_power_w(device: str) -> float | None:
    """The rated power [W] of a device as run.json names it; None where data/facts does not hold the device.

    >>> rated_power_w("NVIDIA H100 80GB HBM3, CUDA 13.0"), rated_power_w("Tesla T4, CUDA 12.8")
    (700.0, None)

    Raises:
        TypeError: if ``device`` is no text.
    """
    if not isinstance(device, str):
        raise TypeError(f"device={device!r} is {type(device).__name__}: give the device of run.json")
    fact = FACTS.get(device.partition(", CUDA")[0])
    return None if fact is None else float(facts.value(f"{fact}.tdp_w"))


def figures(table: pd.DataFrame, device: str = "") -> pd.DataFrame:
    """What prose quotes, one figure a row: every line of the summary, the power of some, and ratios of two lines.

    Args:
        table: as `summary` gives it.
        device: as run.json names it; idle power is compared with its rated power.

    Returns:
        The columns name, value, unit, basis and note. A note says how far the repeats differ; the one of a ratio gives
        the least and the greatest that the repeats of its two lines allow.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if the table lacks a column.
    """
    _require("table", table, SUMMARY)
    rated_w = rated_power_w(device)
    lines = [_Line.of(row) for row in table.to_dict("records")]
    rows = [line.figure() for line in lines]
    rows += [line.power() for line in lines if line.section in ("matmul", "copy", "decode")]
    rows += [line.picojoules() for line in lines if line.section in ("matmul", "copy")]
    if rated_w is not None:
        rows += [line.share_of(rated_w) for line in lines if line.section == "idle"]
    rows += _ratios(lines)
    return pd.DataFrame(rows, columns=FIGURES)


Figure = tuple[str, float, str, str, str]


class _Line(NamedTuple):
    """A line of the summary. ``batch``, ``context`` and ``layers`` are 0 where they do not apply."""

    section: str
    what: str
    unit: str
    batch: int
    context: int
    layers: int
    repeats: int
    value: float
    least: float
    most: float
    power_w: float
    units_per_s: float
    basis: str
    visited: float
    launched: str
    products: str
    draws: int

    @classmethod
    def of(cls, row: dict[Any, Any]) -> _Line:
        keys: dict[str, Any] = {key: int(row[key]) if row[key] > 0 else 0 for key in ("batch", "context", "layers")}
        # Doing nothing lasts a little longer than asked for: watts are joules over the seconds of the clock.
        factor = row["units_per_s"] if row["unit"] == "s" else 1.0
        columns = {"value": "j_per_unit", "least": "least_j_per_unit", "most": "most_j_per_unit"}
        spread = {key: factor * row[column] for key, column in columns.items()}
        same = {key: row[key] for key in ("section", "what", "unit", "repeats", "power_w", "units_per_s", "basis")}
        how: dict[str, Any] = {
            name: row[name] if isinstance(row.get(name), str) else "" for name in ("launched", "products")
        }
        draws = row["draws"] if row.get("draws", 0) > 0 else 1  # NaN where it does not apply
        return cls(**same, **keys, **spread, **how, draws=int(draws), visited=row["experts_visited"])

    @property
    def name(self) -> str:
        keys = [f"{key}-{getattr(self, key)}" for key in ("batch", "context", "layers") if getattr(self, key)]
        return _slug("-".join([self.section, self.what, *keys]))

    @property
    def model(self) -> str:
        """Section and ``what``: the start of the name."""
        return _slug(f"{self.section}-{self.what}")

    @property
    def remark(self) -> str:
        """What a reader has to know of the line beside its numbers, to be added to a note; empty if nothing."""
        remarks = []
        if not self.launched and self.name in REMARKS:
            remarks.append(REMARKS[self.name])
        if self.launched == "host" and self.section == "prompt":
            remarks.append(_HOST)
        if self.draws > 1:
            remarks.append(f"{self.draws} random routings, which visit {self.visited:.4g} experts in the mean")
        if self.products == "loop":
            remarks.append("one product after another for each expert: this card has no kernel for all of them")
        if cut := re.search(r"-(\d+)k as teacher|-(\d+)k: forward", self.what):
            remarks.append(f"the teacher has the student's vocabulary of {cut[1] or cut[2]} thousand tokens")
        return "".join(f"; {remark}" for remark in remarks)

    def figure(self) -> Figure:
        note = f"{self.repeats} repeats, {self.least:.4g} to {self.most:.4g}; mean {self.power_w:.0f} W{self.remark}"
        return self.name, self.value, "W" if self.unit == "s" else f"J/{self.unit}", self.basis, note

    def power(self) -> Figure:
        return f"{self.name}-power", self.power_w, "W", self.basis, f"mean of {self.repeats} repeats"

    def picojoules(self) -> Figure:
        note = f"{self.repeats} repeats, {1e12 * self.least:.4g} to {1e12 * self.most:.4g}"
        return f"{self.name}-pj", 1e12 * self.value, f"pJ/{self.unit}", self.basis, note

    def share_of(self, rated_w: float) -> Figure:
        least, most = 100 * self.least / rated_w, 100 * self.most / rated_w
        note = f"of {rated_w:.0f} W rated power; repeats {least:.4g} to {most:.4g}{self.remark}"
        return f"{self.name}-share", 100 * self.value / rated_w, "%", self.basis, note

    def over(self, other: _Line, name: str, unit: str = "x") -> Figure:
        """Joules of this line over those of another, as a factor or in per cent."""
        scale = 100 if unit == "%" else 1
        least, most = scale * self.least / other.most, scale * self.most / other.least
        note = f"joules of two lines divided; the repeats allow {least:.4g} to {most:.4g}"
        return name, scale * self.value / other.value, unit, _both(self, other), note


def _ratios(lines: list[_Line]) -> Iterator[Figure]:
    """Each ratio whose two lines are there; a small card has fewer lines."""
    at = {(line.section, line.what, line.batch, line.context, line.layers): line for line in lines}
    for line in lines:
        section, what, batch, context, layers = line[0], line[1], line[3], line[4], line[5]
        if section in ("matmul", "copy") and what == "zeros":
            yield from _zeros(line, at.get((section, "random numbers", 0, 0, 0)))
        elif section == "decode" and layers:
            if whole := at.get((section, what, batch, context, 0)):
                yield line.over(whole, f"{line.model}-layers-{layers}-over-whole", "%")
        elif section == "decode":
            if half := at.get((section, what, batch // 2, context, 0)):
                yield line.over(half, f"{line.model}-batch-{batch}-over-{batch // 2}", "%")
            if batch > 1 and (single := at.get((section, what, 1, context, 0))):
                yield single.over(line, f"{line.model}-batch-1-over-{batch}")
            else:
                yield from _contexts(line, [other for other in lines if other[:2] == line[:2] and not other.layers])
        elif section == "prompt" and what.endswith(", mixture of depths"):
            if dense := at.get((section, what.removesuffix(", mixture of depths"), batch, context, 0)):
                yield line.over(dense, f"{line.model}-{context}-over-dense", "%")
        elif section == "layer" and what.endswith(": experts"):
            for size in ("total", "active"):
                if dense := at.get((section, what.replace(": experts", f": dense, {size} size"), batch, 0, 0)):
                    yield line.over(dense, f"{line.model}-over-{size}-{batch}")
        elif section == "training" and what.endswith(" as teacher: training step"):
            alone = at.get((section, f"{what.partition(' with ')[0]}: training step", batch, context, 0))
            yield from [line.over(alone, "training-with-teacher-over-alone")] if alone else []


def _zeros(zeros: _Line, random: _Line | None) -> Iterator[Figure]:
    if random is None:
        return
    name, note = f"{zeros.section}-zeros-over-random", "means of two lines divided"
    basis = _both(zeros, random)
    yield zeros.over(random, name, "%")
    yield f"{name}-power", 100 * zeros.power_w / random.power_w, "%", basis, note
    yield f"{name}-speed", zeros.units_per_s / random.units_per_s, "x", basis, note


def _contexts(line: _Line, others: list[_Line]) -> Iterator[Figure]:
    """A longer context over the one at which the model's batches were measured."""
    usual = next((other.context for other in others if other.batch == 1), 0)
    base = next((other for other in others if (other.batch, other.context) == (line.batch, usual)), None)
    if base is not None and line.context > usual:
        yield line.over(base, f"{line.model}-context-{line.context}-over-{usual}")


def _both(one: _Line, other: _Line) -> str:
    return "measured" if one.basis == other.basis == "measured" else "modelled"


def _slug(words: str) -> str:
    return words.replace(": ", "-").replace(", ", "-").lower().replace(" ", "-").replace(".", "p")


def _require(name: str, table: object, columns: list[str]) -> None:
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"{name} is {type(table).__name__}: give a table")
    if missing := [column for column in columns if column not in table]:
        raise ValueError(f"{name} lacks the column {missing[0]!r}: give a table of the study")
