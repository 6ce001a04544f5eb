"""The timing helpers: what they run is right; how long it takes is never asserted."""

import time

import pandas as pd
import pytest
import torch

from greenlab.core import speed
from tests.core.model.test_decoder import FAMILIES, IDS


def test_decode_writes_what_transformers_writes():
    torch.manual_seed(0)
    model = FAMILIES["llama"]().eval()
    model.generation_config.eos_token_id = None
    expected = model.generate(IDS[:1], max_new_tokens=9, do_sample=False)
    assert torch.equal(speed.run_decode(model, IDS[:1], 9), expected)
    assert speed.run_prefill(model, IDS).shape == (2, 12, 61)


def test_works_take_turns_and_the_warm_up_is_not_counted():
    order = []
    times = speed.interleave({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2, warmup=1)
    assert order == ["a", "b"] * 3
    assert times[["work", "round"]].values.tolist() == [["a", 0], ["b", 0], ["a", 1], ["b", 1]]


def test_what_comes_before_a_work_is_not_timed():
    order = []
    works = {"a": lambda: order.append("work")}
    times = speed.interleave(works, rounds=1, warmup=0, before=lambda: [order.append("before"), time.sleep(0.05)])
    assert order == ["before", "work"]
    assert times["time_s"].item() < 0.05


def test_a_short_work_is_repeated_and_its_mean_is_given():
    calls = []
    times = speed.interleave({"a": lambda: calls.append(0)}, rounds=1, warmup=0, min_time_s=0.02)
    assert len(calls) > 10
    assert times["time_s"].item() * len(calls) >= 0.02


def test_rates_of_this_machine_are_those_of_a_machine():
    assert 1e8 < speed.read_bandwidth(2**26, rounds=1) < 1e13
    assert 1e8 < speed.matmul_rate(256, rounds=1) < 1e15
    with pytest.raises(ValueError, match="a large cache answers"):
        speed.read_bandwidth(2**20)


def test_ratios_are_taken_within_a_round():
    """A machine that slows down tenfold between rounds changes nothing: 2 in each round."""
    times = pd.DataFrame({"work": ["a", "b"] * 2, "round": [0, 0, 1, 1], "time_s": [2.0, 1.0, 20.0, 10.0]})
    assert speed.ratios(times, "a").to_dict() == {"a": 1.0, "b": 2.0}


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="rounds=0"):
        speed.interleave({"a": lambda: None}, rounds=0)
    with pytest.raises(ValueError, match="no base 'c'; known: a"):
        speed.ratios(pd.DataFrame({"work": ["a"], "round": [0], "time_s": [1.0]}), "c")
    with pytest.raises(ValueError, match="n_new_tokens=0"):
        speed.run_decode(None, IDS, 0)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), -1.0, 1e300, "1", None, True])
def test_how_long_to_repeat_is_a_finite_number(value):
    """Infinity would never end."""
    with pytest.raises((ValueError, TypeError), match="min_time_s"):
        speed.interleave({"a": lambda: pytest.fail("must not run")}, min_time_s=value)


async def asynchronous():
    pytest.fail("must not run")


@pytest.mark.parametrize("work", [asynchronous, lambda: asynchronous(), lambda: (i for i in "ab"), 7, None])
def test_work_that_is_only_prepared_is_refused(work):
    """Making a coroutine takes microseconds: it would win every race."""
    with pytest.raises(TypeError, match=r"works\['a'\]"):
        speed.interleave({"a": work})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time_s": [1.0, 0.0, 2.0, 2.0]}, r"times\['time_s'\] holds 0.0"),
        ({"time_s": [1.0, float("nan"), 2.0, 2.0]}, r"times\['time_s'\] holds nan"),
        ({"round": [0, 0, 0, 1]}, "lists a work twice in a round"),
        ({"round": [0, 0, 1, 2]}, "lacks a work in some round"),
    ],
)
def test_ratios_of_broken_tables_are_refused(changes, message):
    times = pd.DataFrame({"work": ["a", "b"] * 2, "round": [0, 0, 1, 1], "time_s": [2.0, 1.0, 20.0, 10.0]} | changes)
    with pytest.raises(ValueError, match=message):
        speed.ratios(times, "a")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: speed.interleave({}), "works is empty"),
        (lambda: speed.interleave([]), "works="),
        (lambda: speed.interleave({"a": lambda: None}, warmup=-1), "warmup=-1"),
        (lambda: speed.interleave({"a": lambda: None}, before=3), "before=3"),
        (lambda: speed.ratios([], "a"), "times="),
        (lambda: speed.ratios(pd.DataFrame({"work": ["a"]}), "a"), "times lacks the column 'round'"),
        (lambda: speed.run_decode(None, torch.ones(1, 3), 1), "input_ids holds torch.float32"),
        (lambda: speed.run_decode(None, torch.ones(3, dtype=torch.int64), 1), "input_ids has the shape"),
        (lambda: speed.run_decode(None, IDS, 2), "model=None"),
        (lambda: speed.run_prefill(None, IDS), "model=None"),
        (lambda: speed.matmul_rate(0), "n=0"),
        (lambda: speed.matmul_rate(2**20), "n=1048576"),
        (lambda: speed.matmul_rate(4, dtype="float32"), "dtype='float32'"),
        (lambda: speed.read_bandwidth(2**60), "n_bytes="),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
