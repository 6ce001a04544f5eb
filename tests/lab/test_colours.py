"""The book's colours by computation: text that can be read, marks that stand out, colours that stay apart."""

from itertools import combinations

import pytest

from greenlab.lab import theme
from greenlab.lab.charts.frames import MAX_COLORS
from tests.lab.colours import MACHADO, ciede2000, contrast, lab, over

WHITE = "#FFFFFF"
# L, a, b of two colours and their distance: table 1 of Sharma, Wu and Dalal (2005)
SHARMA = """
50 2.6772 -79.7751 50 0 -82.7485 2.0425
50 3.1571 -77.2803 50 0 -82.7485 2.8615
50 2.8361 -74.02 50 0 -82.7485 3.4412
50 -1.3802 -84.2814 50 0 -82.7485 1
50 -1.1848 -84.8006 50 0 -82.7485 1
50 -0.9009 -85.5211 50 0 -82.7485 1
50 0 0 50 -1 2 2.3669
50 -1 2 50 0 0 2.3669
50 2.49 -0.001 50 -2.49 0.0009 7.1792
50 2.49 -0.001 50 -2.49 0.001 7.1792
50 2.49 -0.001 50 -2.49 0.0011 7.2195
50 2.49 -0.001 50 -2.49 0.0012 7.2195
50 -0.001 2.49 50 0.0009 -2.49 4.8045
50 -0.001 2.49 50 0.001 -2.49 4.8045
50 -0.001 2.49 50 0.0011 -2.49 4.7461
50 2.5 0 50 0 -2.5 4.3065
50 2.5 0 73 25 -18 27.1492
50 2.5 0 61 -5 29 22.8977
50 2.5 0 56 -27 -3 31.903
50 2.5 0 58 24 15 19.4535
50 2.5 0 50 3.1736 0.5854 1
50 2.5 0 50 3.2972 0 1
50 2.5 0 50 1.8634 0.5757 1
50 2.5 0 50 3.2592 0.335 1
60.2574 -34.0099 36.2677 60.4626 -34.1751 39.4387 1.2644
63.0109 -31.0961 -5.8663 62.8187 -29.7946 -4.0864 1.263
61.2901 3.7196 -5.3901 61.4292 2.248 -4.962 1.8731
35.0831 -44.1164 3.7933 35.0232 -40.0716 1.5901 1.8645
22.7233 20.0904 -46.694 23.0331 14.973 -42.5619 2.0373
36.4612 47.858 18.3852 36.2715 50.5065 21.2231 1.4146
90.8027 -2.0831 1.441 91.1528 -1.6435 0.0447 1.4441
90.9257 -0.5406 -0.9208 88.6381 -0.8985 -0.7239 1.5381
6.7747 -0.2908 -2.4247 5.8714 -0.0985 -2.2286 0.6377
2.0776 0.0795 -1.135 0.9033 -0.0636 -0.5514 0.9082
"""
ROWS = [tuple(map(float, row.split())) for row in SHARMA.strip().splitlines()]


def test_all_of_sharmas_pairs_are_there():
    assert len(ROWS) == 34


@pytest.mark.parametrize("row", ROWS)
def test_the_distance_is_that_of_sharmas_published_pairs(row):
    assert ciede2000(row[:3], row[3:6]) == pytest.approx(row[6], abs=5.1e-5)
    assert ciede2000(row[3:6], row[:3]) == pytest.approx(row[6], abs=5.1e-5)


@pytest.mark.parametrize("vision", MACHADO)
def test_grey_stays_grey_in_every_vision(vision):
    """The rows of Machado's matrices sum to one."""
    assert MACHADO[vision].sum(axis=1) == pytest.approx([1, 1, 1], abs=2e-6)
    assert ciede2000(lab("#777777", vision), lab("#777777")) < 0.01


def test_charts_bring_their_own_ground_so_both_themes_of_lab_show_the_same():
    assert theme.greenlab_theme()["config"]["background"] == "white"


@pytest.mark.parametrize("ink", [theme.INK, theme.MUTED])
def test_text_can_be_read(ink):
    """WCAG 2.1, 1.4.3: 4.5 to 1."""
    assert contrast(ink, WHITE) >= 4.5


@pytest.mark.parametrize("color", theme.OKABE_ITO[:MAX_COLORS])
def test_marks_stand_out_from_the_ground(color):
    """WCAG 2.1, 1.4.11: 3 to 1, for the colours that a chart of the book has without asking for more."""
    assert contrast(color, WHITE) >= 3


@pytest.mark.parametrize("vision", MACHADO)
def test_the_colours_of_one_chart_stay_apart_in_every_vision(vision):
    """Ten is ten times what is just seen side by side; all eight stay apart by more than what is just seen."""
    first = {pair: ciede2000(lab(pair[0], vision), lab(pair[1], vision)) for pair in
             combinations(theme.OKABE_ITO[:MAX_COLORS], 2)}  # fmt: skip
    assert min(first.values()) >= 10, first
    every = {pair: ciede2000(lab(pair[0], vision), lab(pair[1], vision)) for pair in combinations(theme.OKABE_ITO, 2)}
    assert min(every.values()) >= 3, min(every.items(), key=lambda item: item[1])


@pytest.mark.parametrize("vision", MACHADO)
@pytest.mark.parametrize("color", theme.OKABE_ITO[:MAX_COLORS])
def test_a_modelled_mark_is_seen_to_be_paler_than_a_measured_one(color, vision):
    assert ciede2000(lab(color, vision), lab(over(color, WHITE, 0.4), vision)) >= 10
