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
    assert torch.equal(speed.decode(model, IDS[:1], 9), expected)
    assert speed.prefill(model, IDS).shape == (2, 12, 61)


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
    with pytest.raises(ValueError, match="base='c': expected one of a"):
        speed.ratios(pd.DataFrame({"work": ["a"], "round": [0], "time_s": [1.0]}), "c")
    with pytest.raises(ValueError, match="n_new_tokens=0"):
        speed.decode(None, IDS, 0)
