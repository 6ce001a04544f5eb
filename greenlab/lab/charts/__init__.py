"""Charts that several chapters share: a tidy DataFrame in, an Altair chart out. No numbers are computed here.

Every builder demands a title that states the finding, a description (it becomes the aria-label) and axis titles with
units. Categories differ in shape, dash or place as well as in colour, and at most three are drawn unless asked.
"""

from greenlab.lab.charts.bars import bars_with_range, energy_bars
from greenlab.lab.charts.dots import dots
from greenlab.lab.charts.frames import require_columns, require_few, require_finite, require_unique
from greenlab.lab.charts.heatmap import heatmap
from greenlab.lab.charts.lines import lines
from greenlab.lab.charts.parts import PLAIN
from greenlab.lab.charts.points import points
from greenlab.lab.charts.roofline import roofline
from greenlab.lab.charts.slider import Slider, span, with_slider

__all__ = ["PLAIN", "Slider", "bars_with_range", "dots", "energy_bars", "heatmap", "lines", "points", "roofline"]
__all__ += ["span", "with_slider"]
__all__ += ["require_columns", "require_few", "require_finite", "require_unique"]
