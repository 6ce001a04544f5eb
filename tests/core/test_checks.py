"""Arguments at the border: what is refused, and that the message names the argument."""

import numpy as np
import pandas as pd
import pytest

from greenlab.core import checks


@pytest.mark.parametrize("bad", [True, np.True_, "3", None, [3], np.array([3.0]), 3j])
def test_only_real_numbers_are_numbers(bad):
    with pytest.raises(TypeError, match=r"^pue="):
        checks.number("pue", bad)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1, 0, 10**400, 2.5])
def test_a_number_out_of_range_is_named_with_its_range(bad):
    with pytest.raises(ValueError, match=r"^share=.* above 0 and at most 2"):
        checks.number("share", bad, above=0, high=2)


def test_an_infinity_passes_only_where_it_means_something():
    assert checks.number("limit", float("inf"), low=0, infinite=True) == float("inf")


@pytest.mark.parametrize("bad", [True, 2.0, "2", None, np.float64(2)])
def test_whole_numbers_are_not_floats_or_flags(bad):
    with pytest.raises(TypeError, match=r"^n_layers="):
        checks.integer("n_layers", bad)


def test_integers_of_numpy_are_whole_numbers():
    assert checks.integer("n_layers", np.int64(3), low=1) == 3


def test_integer_arrays_become_floats_before_they_can_overflow():
    found = checks.numbers("parameters", pd.Series([175_000_000_000]))
    assert found.dtype == np.float64
    assert (6 * found * 300_000_000_000)[0] == 3.15e23


@pytest.mark.parametrize("bad", [["1", "2"], [True, False], [None], [1, "2"], "12", [[1], [2, 3]], [1, [2]]])
def test_arrays_hold_numbers_only(bad):
    with pytest.raises((TypeError, ValueError), match=r"^power_w"):
        checks.numbers("power_w", bad)


@pytest.mark.parametrize(("bad", "said"), [([1, np.nan], "position 1"), ([-1, 2], "position 0"), ([], "empty")])
def test_the_first_bad_value_of_an_array_is_named(bad, said):
    with pytest.raises(ValueError, match=rf"^power_w.*{said}"):
        checks.numbers("power_w", bad, low=0)


def test_the_number_of_axes_is_checked():
    with pytest.raises(ValueError, match=r"^power_w has the shape \(2, 1\): give 1 axis"):
        checks.numbers("power_w", [[1], [2]], ndim=1)


@pytest.mark.parametrize("bad", ["no", 1, 0, None, "True"])
def test_a_word_is_no_flag(bad):
    with pytest.raises(TypeError, match=r"^pausing="):
        checks.flag("pausing", bad)
