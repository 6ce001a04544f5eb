"""What one run through a chapter takes: the last lines of its page, from the study of the book itself."""

from __future__ import annotations

import html
from typing import Any

from docs.book.links import Places
from greenlab.core import studies
from greenlab.core.energy.receipt import J_PER_KWH, grid_intensity


def footprint(notebook: str, places: Places, page: str) -> str:
    """One Run All of a chapter in seconds, joules and grams, as HTML.

    Args:
        notebook: its name without ``.ipynb``.
        places: where the study stands on the site.
        page: the page that shows it.

    Raises:
        ValueError: if the study has no row for the notebook.
    """
    rows = studies.load("start_here", "notebooks")["notebooks"].set_index("notebook")
    if notebook not in rows.index:
        raise ValueError(f"data/studies/start_here/notebooks.csv has no row {notebook!r}: make study NAME=start_here")
    row: dict[str, Any] = dict(rows.loc[notebook])
    grid = grid_intensity("WORLD")
    grams = [row[name] / J_PER_KWH * grid.intensity_g_per_kwh for name in ("energy_j", "low_j", "high_j")]
    anchor = f"start-here.energy-{notebook.replace('_', '-')}"
    where = places.address(f"../data/studies/README.md#{anchor}", "notebooks/a.ipynb", page)
    joules = f"{_two(row['energy_j'])} J ({_two(row['low_j'])} to {_two(row['high_j'])} J, {row['basis']})"
    return (
        '<aside class="gl-footprint" aria-label="What this chapter costs to run"><p>Run All of this chapter took '
        f'{row["time_s"]:.0f} s on two cores and <a href="{html.escape(str(where))}">{joules}</a>; at the world\'s '
        f"mean intensity of {grid.year} that is {_two(1000 * grams[0])} mg of CO2e ({_two(1000 * grams[1])} to "
        f"{_two(1000 * grams[2])} mg). Reading it here runs no Python.</p></aside>"
    )


def _two(value: float) -> str:
    """Two significant digits.

    >>> _two(91.34), _two(0.0123), _two(512.2)
    ('91', '0.012', '510')
    """
    return f"{float(f'{value:.2g}'):,.10g}"
