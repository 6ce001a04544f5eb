"""The meter against the driver's own readings, on a machine with an NVIDIA GPU; elsewhere skipped, with the reason."""

import importlib
import time

import pytest

from greenlab.core.energy import counters
from greenlab.core.energy.meter import measure
from greenlab.core.energy.pace import pace

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpu():
    """The first GPU's counter, and a function that gives the power that the driver reads [W]."""
    found, states = counters.nvml_counters()
    if not found:
        pytest.skip(f"no GPU whose energy can be read: {states[0].name}: {states[0].reason}")
    nvml = importlib.import_module("pynvml")
    handle = nvml.nvmlDeviceGetHandleByIndex(int(found[0].name.split("-")[-1]))
    return found[0], lambda: nvml.nvmlDeviceGetPowerUsage(handle) * 1e-3


def part(receipt):
    """The graphics part of a receipt."""
    (found,) = [c for c in receipt.components if c.component == "gpu"]
    return found


def test_idle_energy_agrees_with_the_power_that_the_driver_reads(gpu):
    """Over 5 s the counter's joules a second and the mean of the driver's watts differ by less than 20 %."""
    counter, power_w = gpu
    watts = []
    with measure("idle", counters=[counter]) as m:
        end_s = time.perf_counter() + 5.0
        while time.perf_counter() < end_s:
            watts.append(power_w())
            time.sleep(0.05)
    found = part(m.receipt)
    assert found.basis == "measured"
    driver_w = sum(watts) / len(watts)
    assert found.energy_j / m.receipt.time_s == pytest.approx(driver_w, rel=0.20)
    assert found.low_j < driver_w * m.receipt.time_s < found.high_j


def test_two_blocks_inside_another_add_up_to_it(gpu):
    """The same counter is read for all three; what lies between the blocks is less than two of its moves."""
    counter, power_w = gpu
    with measure("both", counters=[counter]) as both:
        with measure("first", counters=[counter]) as first:
            time.sleep(1.0)
        with measure("second", counters=[counter]) as second:
            time.sleep(1.0)
    one_j, two_j, all_j = (part(m.receipt).energy_j for m in (first, second, both))
    assert min(one_j, two_j) > 0
    assert one_j + two_j <= all_j * (1 + 1e-9)
    assert one_j + two_j == pytest.approx(all_j, abs=2 * counter.update_s * max(power_w(), all_j / 2.0))


def test_a_block_of_50_ms_says_how_little_it_knows(gpu):
    """The counter may not have moved at all: from nothing to at least twice the driver's power."""
    counter, power_w = gpu
    power_before_w = power_w()
    with measure("short", counters=[counter]) as m:
        time.sleep(0.05)
    found = part(m.receipt)
    assert found.low_j == 0.0
    assert found.high_j > 2 * power_before_w * 0.05
    assert found.basis in ("measured", "modelled")
    if found.basis == "modelled":
        assert found.source.endswith("no reading")


def test_the_counter_moves_as_often_as_the_meter_assumes(gpu):
    """A reading is never older than what the range of a receipt allows for."""
    counter, _ = gpu
    found = pace(counter, time_s=2.0)
    assert found.interval_s is not None
    assert found.interval_s <= 1.1 * counter.update_s
