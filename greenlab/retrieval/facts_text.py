"""Rows of the tables in data/facts, written out as sentences that a search can find and a model can read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from greenlab.core.facts import schema
from greenlab.core.facts.index import SHAKY

TABLES = {  # the heading of the passages of each table
    "claims": "Claims of the field, checked",
    "constants": "Facts: numbers of the literature",
    "accelerators": "Facts: accelerators",
    "models": "Facts: language models",
    "grid_intensity": "Facts: carbon intensity of electricity",
    "grid_published": "Facts: published carbon intensity of electricity",
    "grid_mixes": "Facts: electricity by source",
}
_UNITS = {  # what a sentence writes for a column after its number; other columns get their meaning from columns.csv
    "peak_dense_tflops_fp32": "TFLOP/s in 32-bit floats",
    "peak_dense_tflops_bf16": "TFLOP/s in 16-bit floats",
    "peak_dense_tflops_fp8": "TFLOP/s in 8-bit floats",
    "peak_dense_tops_int8": "TOP/s in 8-bit integers",
    "memory_gb": "GB of memory",
    "memory_bandwidth_gb_s": "GB/s of memory bandwidth",
    "onchip_sram_mb": "MB of on-chip memory",
    "tdp_w": "W of rated power",
    "params_total": "parameters",
    "params_active": "parameters used for a token",
    "training_tokens": "training tokens",
    "training_compute_flop": "FLOP of training compute",
    "training_energy_mwh": "MWh of training energy",
    "emissions_tco2e": "t CO2e of training emissions",
    "intensity_2018_g_per_kwh": "g/kWh in 2018",
    "intensity_2019_g_per_kwh": "g/kWh in 2019",
    "intensity_2020_g_per_kwh": "g/kWh in 2020",
    "published_g_per_kwh": "g/kWh as published",
} | {f"{source}_twh": f"TWh {source}" for source in (
    "nuclear", "hydro", "wind", "solar", "biomass", "geothermal", "gas", "coal", "oil", "other",
)}  # fmt: skip
_ABOUT = {
    "accelerators": "{name} ({vendor}, {kind}, launched in {year})",
    "models": "{model} ({org}, published {year_month})",
    "grid_published": "Mean carbon intensity of electricity in {name} by Ember",
    "grid_mixes": "Electricity of {name} in {year} by source",
}


def number_text(value: float) -> str:
    """A number as a sentence writes it.

    >>> [number_text(value) for value in (460.0, 512821.0, 134515008.0, 1.75e11, 0.431, 3.14e23)]
    ['460', '512,821', '134,515,008', '175 billion', '0.431', '3.14e23']
    """
    if value != int(value) or abs(value) >= 1e15:
        return f"{value:,.12g}".replace("e+", "e")
    for size, name in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(value) >= size and len(f"{value / size:.12g}".replace(".", "")) <= 4:
            return f"{value / size:.12g} {name}"
    return f"{int(value):,}"


def _amount(value: Any, low: Any, high: Any, unit: str) -> str:
    middle = "" if value is None else f"{number_text(value)} {unit}"
    spread = "" if low is None or high is None else f"{number_text(low)} to {number_text(high)} {unit}"
    return f"{middle} (range {spread})" if middle and spread else middle or spread


def _remark(notes: str) -> str:
    """Remarks without those on where we read a number."""
    kept = [part.strip() for part in notes.split(";") if not part.strip().startswith(("read in", "weaker"))]
    return f" Remark: {'; '.join(kept)}." if any(kept) else ""


def fact_text(table: str, row: Mapping[str, Any]) -> str:
    """A row as sentences: what it is, its numbers with their units; for single facts and claims the source as well.

    Args:
        table: one of `TABLES`.
        row: as `greenlab.core.facts.schema.rows` gives it.
    """
    source = f"Source: {row['source']}, {row['date']}."
    if table == "claims":
        newer = f" Newer figure: {row['newer_figure']}." if row["newer_figure"] else ""
        value = f" ({row['value']} {row['unit']})" if row["value"] else ""
        text = (
            f"Claim: {row['claim']}{value}. Verdict: {row['verdict']}. {row['why']}. "
            f"The source says: {row['source_says']}.{newer} {source}"
        )
    elif table == "constants":
        amount = _amount(row["value"], row["low"], row["high"], row["unit"])
        text = f"{row['name']}: {amount}. {source}{_remark(row['notes'])}"
    elif table == "grid_intensity":
        amount = _amount(row["intensity_g_per_kwh"], row["low_g_per_kwh"], row["high_g_per_kwh"], "g/kWh")
        text = f"Mean carbon intensity of electricity in {row['name']}, {row['year']}: {amount}."
    else:
        told = [
            f"{number_text(row[column.column])} {_UNITS.get(column.column, f'{column.unit} ({column.meaning})')}"
            for column in schema.columns(table)
            if column.kind == "number" and row[column.column] is not None
        ]
        text = f"{_ABOUT[table].format(**row)}: {', '.join(told)}."
    sure = f" Confidence: {row['confidence']}." if row["confidence"] in SHAKY else ""
    return " ".join(f"{text}{sure}".split()).replace("..", ".")


def fact_name(row: Mapping[str, Any]) -> str:
    """What a row is about, in a few words."""
    return str(row.get("claim") or row.get("name") or row.get("model"))
