"""The break-even against counting queries one by one, and the gap that a student closes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlab.distillation import (
    BreakEven,
    break_even_queries,
    break_even_range,
    distillation_energy,
    gap_closed,
)


@given(st.integers(1, 10_000), st.integers(1, 50), st.integers(0, 60), st.integers(1, 40), st.integers(0, 5000))
def test_the_break_even_is_the_first_query_at_which_the_student_is_ahead(invested, teacher, student, tokens, training):
    queries = break_even_queries(invested, teacher, student, tokens, training)
    if teacher <= student:
        assert queries == math.inf
        return
    n = math.ceil(queries)
    assert invested + training + n * student * tokens <= n * teacher * tokens * (1 + 1e-12)
    assert invested + training + (n - 1) * student * tokens > (n - 1) * teacher * tokens * (1 - 1e-12)


def test_the_energy_is_that_of_student_teacher_and_training():
    assert distillation_energy(10, 2.0, 3.0, 100.0) == 10 * 2 + 10 * 3 + 100
    assert distillation_energy(10, 5.0) == 50
    np.testing.assert_array_equal(distillation_energy([10, 20], 2.0, [1.0, 0.0]), [30, 40])


def test_arrays_give_arrays_and_numbers_numbers():
    found = break_even_queries([100, 200], 3.0, [1.0, 4.0], 10)
    np.testing.assert_array_equal(found, [5.0, math.inf])
    assert isinstance(break_even_queries(100, 3.0, 1.0, 10), float)


number = st.floats(0.1, 100)


@given(*(st.tuples(number, number, number).map(sorted) for _ in range(4)), st.integers(0, 1000))
def test_every_case_within_the_ranges_lies_within_the_range(invested, teacher, student, tokens, seed):
    ranges = [tuple(one) for one in (invested, teacher, student, tokens)]
    found = break_even_range(*ranges)
    rng = np.random.default_rng(seed)
    drawn = [rng.uniform(low, high) for low, _, high in ranges]
    assert found.low * (1 - 1e-9) <= break_even_queries(*drawn) <= found.high * (1 + 1e-9)
    assert found.queries == break_even_queries(*(one[1] for one in ranges))


def test_the_ends_of_the_range_are_reached():
    found = break_even_range((1, 2, 3), (5, 6, 7), (1, 2, 4), (1, 2, 10), (0, 1, 2))
    assert found == BreakEven(queries=3 / 8, low=1 / 60, high=5.0)
    assert break_even_range((1, 2, 3), (5, 6, 7), (1, 2, 5), (1, 2, 10)).high == math.inf


def test_the_gap_of_the_first_try():
    """Teacher 1.639, alone 1.910, distilled 1.709: 74 %."""
    assert gap_closed(1.910, 1.709, 1.639) == pytest.approx(0.742, abs=5e-4)
    assert gap_closed(2.0, 2.0, 1.0) == 0
    assert gap_closed(2.0, 1.0, 1.0) == 1
    assert gap_closed(2.0, 2.5, 1.0) == -0.5
    np.testing.assert_allclose(gap_closed([2.0, 3.0], 1.5, 1.0), [0.5, 0.75])


@pytest.mark.parametrize("teacher", [2.0, 2.5])
def test_without_a_gap_there_is_no_share_of_it(teacher):
    with pytest.raises(ValueError, match=r"alone_loss=2\.0 is not above teacher_loss"):
        gap_closed(2.0, 1.9, teacher)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: break_even_queries(-1, 3, 1, 10), ValueError, "distillation_j"),
        (lambda: break_even_queries(1, 3, 1, 0), ValueError, "tokens_per_query=0: give numbers above 0"),
        (lambda: break_even_queries(1, math.nan, 1, 10), ValueError, "teacher_j_per_token"),
        (lambda: break_even_queries(1, 3, "1", 10), TypeError, "student_j_per_token"),
        (lambda: break_even_queries([1, 2], [1, 2, 3], 1, 10), ValueError, "the shapes do not fit: distillation_j"),
        (lambda: distillation_energy(math.inf, 1), ValueError, "n_tokens"),
        (lambda: break_even_range((2, 1, 3), (1, 1, 1), (1, 1, 1), (1, 1, 1)), ValueError, "distillation_j=.*order"),
        (lambda: break_even_range((1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1)), ValueError, "distillation_j has 2"),
        (lambda: break_even_range(5.0, (1, 1, 1), (1, 1, 1), (1, 1, 1)), TypeError, "distillation_j=5.0"),
        (lambda: gap_closed(2, 1, True), TypeError, "teacher_loss"),
    ],
)
def test_bad_input_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()
