"""greenlab.core.energy.meter: fake counters with known steps, so that every joule is known."""

import csv
import dataclasses
import functools
import hashlib
import json
import math
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenlab.core.energy import counters, meter, power_model, receipt
from greenlab.core.energy.meter import PowerModel, Receipt, compare_backends, grid_intensity, measure, measure_call
from greenlab.core.machine import ROOT

RANGE_UJ = 262_143_328_850  # max_energy_range_uj of a real Xeon: 262 kJ
EU27 = {
    "AT",
    "BE",
    "BG",
    "HR",
    "CY",
    "CZ",
    "DK",
    "EE",
    "FI",
    "FR",
    "DE",
    "GR",
    "HU",
    "IE",
    "IT",
    "LV",
    "LT",
    "LU",
    "MT",
}
EU27 |= {"NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE"}


class Clock:
    """A clock that moves only when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def zone(root, name, label, energy_uj=0, range_uj=RANGE_UJ):
    """One folder of a powercap tree; the kernel lists sub-zones beside their parents, as here."""
    (root / name).mkdir(parents=True)
    (root / name / "name").write_text(f"{label}\n")
    (root / name / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (root / name / "energy_uj").write_text(f"{energy_uj}\n")
    return root / name / "energy_uj"


def fake_counter(values, component="cpu", **changes):
    """A counter that reads the given joules one after the other."""
    readings = iter(values)
    plain = counters.Counter("fake", component, lambda: next(readings), 1e-6, 0.001, 0.05, 600.0)
    return dataclasses.replace(plain, **changes)


# ---------------------------------------------------------------------------------------------------- RAPL


def test_energy_is_exact_across_a_wrap(tmp_path):
    """The counter restarts from zero in the block: 5 J before and 7 J after it are 12 J."""
    file = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 5_000_000)
    found, _ = counters.rapl_counters(tmp_path)
    clock = Clock()
    with measure("work", region="DE", counters=found, clock=clock) as m:
        file.write_text("7000000\n")
        clock.now = 2.0
    assert m.receipt.energy_j == pytest.approx(12.0, abs=1e-9)
    assert (m.receipt.basis, m.receipt.source) == ("measured", "RAPL package-0")
    assert m.receipt.time_s == 2.0


def test_which_zones_are_summed(tmp_path):
    """Packages and dram, each once; core and uncore are inside the package, psys holds it, mmio repeats it."""
    steps_j = {
        ("intel-rapl:0", "package-0"): 1,
        ("intel-rapl:0:0", "core"): 2,
        ("intel-rapl:0:1", "uncore"): 4,
        ("intel-rapl:0:2", "dram"): 8,
        ("intel-rapl:1", "package-1"): 16,
        ("intel-rapl:1:0", "dram"): 32,
        ("intel-rapl:2", "psys"): 64,
        ("intel-rapl-mmio:0", "package-0"): 128,
    }
    files = {zone(tmp_path, *names): joules for names, joules in steps_j.items()}
    found, states = counters.rapl_counters(tmp_path)
    with measure("work", counters=found, clock=Clock()) as m:
        for file, joules in files.items():
            file.write_text(str(joules * 1_000_000))
    energy = {c.component: c.energy_j for c in m.receipt.components}
    assert energy == pytest.approx({"cpu": 1 + 16, "dram": 8 + 32})
    assert [s.name for s in states] == ["RAPL package-0", "RAPL dram-0", "RAPL package-1", "RAPL dram-1"]


def test_a_locked_counter_is_explained_and_never_summed_in_part(tmp_path, monkeypatch):
    """Half of the sockets would be half of the joules: use none, and say who may read the file."""
    zone(tmp_path, "intel-rapl:0", "package-0")
    locked = zone(tmp_path, "intel-rapl:1", "package-1")
    real = counters._read_text

    def read(path):
        if path == locked:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(counters, "_read_text", read)
    found, states = counters.rapl_counters(tmp_path)
    assert found == []
    assert [s.readable for s in states] == [True, False]
    assert states[1].reason.startswith("permission denied: energy_uj is readable by root only")


def test_no_powercap_tree_is_explained(tmp_path, monkeypatch):
    """As in most virtual machines; elsewhere than on Linux the reason is another."""
    monkeypatch.setattr(counters.platform, "system", lambda: "Linux")
    (state,) = counters.rapl_counters(tmp_path / "none")[1]
    assert not state.readable
    assert "virtual machine or container" in state.reason
    monkeypatch.setattr(counters.platform, "system", lambda: "Windows")
    assert counters.rapl_counters(tmp_path / "none")[1][0].reason == "Linux only"


@given(span=st.integers(1, 2**40), data=st.data())
def test_unwrap_finds_any_step_below_one_round(span, data):
    """Against modular arithmetic: (start + step) % span must give step back."""
    start, step = data.draw(st.integers(0, span - 1)), data.draw(st.integers(0, span - 1))
    assert counters.unwrap(start, (start + step) % span, span) == step


@given(st.lists(st.integers(0, 99), min_size=1, max_size=30))
def test_checkpoints_count_any_number_of_rounds(steps):
    """Read often enough, a counter of 100 J adds up to the true sum however often it goes around."""
    total, readings = 0, [0]
    for step in [*steps, 0]:
        total += step
        readings.append(total % 100)
    with measure("long", counters=[fake_counter(readings, range_j=100)], clock=Clock(), cpu_clock=Clock()) as m:
        for _ in steps:
            m.checkpoint()
    if total:
        assert m.receipt.energy_j == total
    else:
        assert m.receipt.basis == "modelled"


def test_rounds_that_may_have_been_missed_widen_the_range():
    """1000 s at up to 600 W may hide five rounds of 100 kJ: the reading stays, the upper end covers them."""
    clock = Clock()
    with measure("long", counters=[fake_counter([0, 50_000], range_j=100_000)], clock=clock) as m:
        clock.now = 1000.0
    assert m.receipt.energy_j == 50_000
    assert m.receipt.high_j > 550_000


# ------------------------------------------------------------------------------------------- NVML and Apple


class FakeNvml:
    """pynvml as far as the meter uses it: total energy in millijoules, None for a GPU without the counter."""

    class NVMLError(Exception):
        pass

    def __init__(self, millijoules, driver=True):
        self.millijoules, self.driver = millijoules, driver

    def nvmlInit(self):
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")

    def nvmlDeviceGetCount(self):
        return len(self.millijoules)

    def nvmlDeviceGetHandleByIndex(self, i):
        return i

    def nvmlDeviceGetUUID(self, handle):
        return f"GPU-{handle}{handle}{handle}{handle}"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        if self.millijoules[handle] is None:
            raise self.NVMLError("Not Supported")
        return self.millijoules[handle]


@pytest.fixture
def all_gpus(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_gpu_joules_are_added_with_a_basis_of_their_own(all_gpus):
    """30 J on two GPUs and a modelled processor: the whole must not be called measured."""
    nvml, clock, cpu = FakeNvml([1_000_000, 5_000]), Clock(), Clock()
    found, _ = counters.nvml_counters(nvml)
    model = PowerModel(idle_w_per_core=0, idle_high_w_per_core=0)
    with measure("train", counters=found, clock=clock, cpu_clock=cpu, model=model) as m:
        nvml.millijoules = [1_020_000, 15_000]
        clock.now, cpu.now = 10.0, 2.0
    parts = {c.component: (c.basis, c.energy_j) for c in m.receipt.components}
    assert parts == {"cpu": ("modelled", 12.0), "gpu": ("measured", pytest.approx(30.0))}
    assert m.receipt.basis == "modelled"
    assert m.receipt.source == "CPU-seconds model + NVML gpu-0 + NVML gpu-1"
    assert m.receipt.energy_j == pytest.approx(42.0)


def test_gpu_that_cannot_be_read_is_named(all_gpus, monkeypatch):
    """An old GPU's joules are missing from the sum: the receipt must say so."""
    found, states = counters.nvml_counters(FakeNvml([None]))
    assert found == []
    assert "older than Volta" in states[0].reason
    monkeypatch.setattr(meter, "find_counters", lambda: ((), tuple(states)))
    with measure("train") as m:
        pass
    assert m.receipt.source == "CPU-seconds model + NVML gpu-0 not counted"


def test_nvml_without_driver_or_gpu(all_gpus):
    """Three different reasons for three different states."""
    assert "Driver Not Loaded" in counters.nvml_counters(FakeNvml([], driver=False))[1][0].reason
    assert counters.nvml_counters(FakeNvml([]))[1][0].reason == "no NVIDIA GPU is visible"


@pytest.mark.parametrize(
    ("visible", "expected"), [("1", [2.0]), ("", []), ("GPU-0000,GPU-2222", [1.0, 3.0]), ("2, 0", [3.0, 1.0])]
)
def test_only_visible_gpus_are_read(monkeypatch, visible, expected):
    """On a shared machine the other GPUs work for someone else."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found, _ = counters.nvml_counters(FakeNvml([1000, 2000, 3000]))
    assert sorted(c.read() for c in found) == sorted(expected)


def test_apple_silicon_parts():
    """Millijoules per part of the chip; a part the chip does not report is left out."""
    energy = SimpleNamespace(cpu_total_mj=1000, dram_mj=None, gpu_mj=200)
    found, states = counters.apple_counters(SimpleNamespace(get_cumulative_energy=lambda: energy))
    with measure("work", counters=found, clock=Clock()) as m:
        energy.cpu_total_mj, energy.gpu_mj = 4000, 700
    assert {c.component: c.energy_j for c in m.receipt.components} == pytest.approx({"cpu": 3.0, "gpu": 0.5})
    assert m.receipt.basis == "measured"
    assert [s.name for s in states] == ["Apple cpu", "Apple gpu"]


# -------------------------------------------------------------------------------------------------- ranges


def test_range_of_a_measured_figure_by_hand():
    """100 J in 1 s, 5 % error, 1 ms update: stale 0.1 J; low 95 - 0.1; high (105 + 0.1) * 1.25."""
    clock = Clock()
    with measure("work", counters=[fake_counter([0, 100], unit_j=0.0)], clock=clock) as m:
        clock.now = 1.0
    assert (m.receipt.low_j, m.receipt.high_j) == pytest.approx((94.9, 131.375))


def test_short_blocks_on_coarse_counters_get_wider_ranges():
    """The same 100 W for 0.1 s instead of 10 s: with readings up to 0.1 s old, nothing is sure any more."""
    spread = {}
    for time_s in (0.1, 10.0):
        clock = Clock()
        with measure("work", counters=[fake_counter([0, 100 * time_s], update_s=0.1)], clock=clock) as m:
            clock.now = time_s
        spread[time_s] = (m.receipt.high_j - m.receipt.low_j) / m.receipt.energy_j
        assert m.receipt.runs == 1
    assert spread[0.1] > 2 > 0.5 > spread[10.0]


@pytest.mark.parametrize("readings", [[5.0, 5.0], [5.0, None], [None, 5.0]])
def test_a_counter_that_says_nothing_gives_a_model_not_a_zero(readings):
    """It stood still, or was lost at the end, or at the start: the processor's energy is modelled."""
    cpu = Clock()
    with measure("work", counters=[fake_counter(readings)], cpu_clock=cpu) as m:
        cpu.now = 1.0
    lost = "" if None not in readings else " + fake could not be read"
    assert (m.receipt.basis, m.receipt.source) == ("modelled", "CPU-seconds model" + lost)
    assert 2.0 <= m.receipt.low_j < m.receipt.energy_j < m.receipt.high_j


def test_a_gpu_that_says_nothing_is_bounded_by_its_power():
    """0.05 s are too short for NVML: between nothing and what the largest GPU can draw."""
    clock = Clock()
    with measure("work", counters=[fake_counter([7.0, 7.0], "gpu", max_power_w=1400.0)], clock=clock) as m:
        clock.now = 0.05
    gpu = m.receipt.components[1]
    assert (gpu.basis, gpu.low_j) == ("modelled", 0.0)
    assert 0 < gpu.energy_j < gpu.high_j
    assert gpu.high_j == pytest.approx(70.0, rel=1e-6)


# --------------------------------------------------------------------------------------------------- model


def test_modelled_energy_by_hand(monkeypatch):
    """3 CPU seconds on 4 cores in 2 s: 6 * 3 + 0.5 * 4 * 2 = 22 J, from 2 * 3 to 18 * 3 + 2 * 4 * 2 = 70 J."""
    monkeypatch.setattr(meter, "available_cores", lambda: 4)
    clock, cpu = Clock(), Clock()
    with measure("work", counters=[], clock=clock, cpu_clock=cpu) as m:
        clock.now, cpu.now = 2.0, 3.0
    assert (m.receipt.low_j, m.receipt.energy_j, m.receipt.high_j) == (6.0, 22.0, 70.0)
    assert (m.receipt.basis, m.receipt.cpu_s, m.receipt.time_s) == ("modelled", 3.0, 2.0)


def test_waiting_is_not_free():
    """A block that sleeps still occupies a machine that is on."""
    clock = Clock()
    with measure("wait", counters=[], clock=clock, cpu_clock=Clock()) as m:
        clock.now = 10.0
    assert m.receipt.energy_j > 0


def test_memory_is_counted_only_on_request(monkeypatch):
    """2 GB at 0.375 W/GB for 8 s are 6 J; by default there is no such part."""
    process = SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=2e9))
    monkeypatch.setattr(meter.psutil, "Process", lambda: process)
    found = {}
    for watts in (0.0, 0.375):
        clock = Clock()
        with measure("work", counters=[], clock=clock, cpu_clock=Clock(), model=PowerModel(ram_w_per_gb=watts)) as m:
            clock.now = 8.0
        found[watts] = {c.component: c.energy_j for c in m.receipt.components}
    assert "dram" not in found[0.0]
    assert found[0.375]["dram"] == 6.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"active_w_per_core": 30.0}, "active_w_per_core=30.0 must lie between"),
        ({"idle_w_per_core": 5.0}, "idle_w_per_core=5.0 must lie between"),
        ({"ram_w_per_gb": -1.0}, "ram_w_per_gb=-1.0: give a finite number at least 0"),
        ({"active_high_w_per_core": math.nan}, "active_high_w_per_core=nan: give a finite number"),
    ],
)
def test_power_model_is_checked(changes, message):
    """The mean must lie in its own range."""
    with pytest.raises(ValueError, match=message):
        PowerModel(**changes)


BURN = """
import sys, time
while time.process_time() < 0.3: pass
print(time.process_time(), flush=True)
sys.stdin.read()
"""


def test_child_processes_that_ended_are_counted():
    """A real child burns 0.3 s of CPU time in the block: what it reports itself must be in the receipt."""
    with measure("child", counters=[]) as m:
        child = subprocess.run([sys.executable, "-c", BURN], input="", capture_output=True, text=True, check=True)
    assert m.receipt.cpu_s >= float(child.stdout) >= 0.3
    assert m.receipt.energy_j >= 6 * 0.3


def test_child_processes_that_still_run_are_counted_once():
    """The child is alive when the first block ends; what it used then must not come again in the second block."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with measure("first", counters=[]) as first:
        child = subprocess.Popen([sys.executable, "-c", BURN], **pipes)
        reported_s = float(child.stdout.readline())
    with measure("second", counters=[]) as second:
        child.communicate("")
    assert first.receipt.cpu_s >= reported_s - 0.02  # the system counts a live child in ticks of 10 ms, user and system
    assert second.receipt.cpu_s < 0.3 <= reported_s


def test_threads_are_counted():
    """Each thread reports its own CPU time; hashing runs outside the interpreter lock."""
    reports = []

    def work():
        start = time.thread_time()
        while time.thread_time() - start < 0.05:
            hashlib.pbkdf2_hmac("sha256", b"x", b"y", 2000)
        reports.append(time.thread_time() - start)

    with measure("threads", counters=[]) as m:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(reports) == 4
    assert m.receipt.cpu_s >= sum(reports)


def test_without_waitid_live_children_are_still_counted(monkeypatch):
    """Windows has no waitid: the process table is walked then."""
    monkeypatch.delattr(power_model.os, "waitid", raising=False)
    child = SimpleNamespace(cpu_times=lambda: SimpleNamespace(user=1.5, system=0.5))
    monkeypatch.setattr(power_model.psutil, "Process", lambda: SimpleNamespace(children=lambda recursive: [child]))
    assert power_model._live_children_cpu_s() == 2.0


# -------------------------------------------------------------------------------------------------- blocks


def test_nested_blocks_share_the_counters():
    """Outer: 100 J in 10 s; inner: the 30 J and 3 s in its middle."""
    clock, joules = Clock(), Clock()
    shared = dataclasses.replace(fake_counter([]), read=lambda: joules.now)
    with measure("outer", counters=[shared], clock=clock) as outer:
        clock.now, joules.now = 4.0, 40.0
        with measure("inner", counters=[shared], clock=clock) as inner:
            clock.now, joules.now = 7.0, 70.0
        clock.now, joules.now = 10.0, 100.0
    assert (inner.receipt.energy_j, inner.receipt.time_s) == (30.0, 3.0)
    assert (outer.receipt.energy_j, outer.receipt.time_s) == (100.0, 10.0)


def test_an_exception_closes_the_reading_and_goes_on():
    """Work that failed has cost its joules all the same."""
    with pytest.raises(KeyError, match="lost"), measure("fails", counters=[fake_counter([0, 9])]) as m:
        raise KeyError("lost")
    assert m.receipt.energy_j == 9


def test_the_receipt_is_not_there_before_the_end():
    """Nor may one meter measure two blocks."""
    m = measure("early", counters=[])
    with pytest.raises(RuntimeError, match="receipt of 'early' exists when its block has ended"):
        _ = m.receipt
    with m, pytest.raises(RuntimeError, match="read it after the with"):
        _ = m.receipt
    with pytest.raises(RuntimeError, match="each block needs a measure"), m:
        pass
    with pytest.raises(RuntimeError, match="inside the with block only"):
        m.checkpoint()


def test_no_thread_is_started():
    """Sampling threads cost CPU time and miss what happens between samples."""
    before = threading.active_count()
    with measure("work"):
        assert threading.active_count() == before


def test_measure_call_repeats_short_work_and_averages():
    """Two warm-up calls are not billed; the runs reach the time asked for, and fit into a block around them."""
    calls = []
    options = {"region": "SE", "min_time_s": 0.05, "warmup": 2}
    with measure("around") as around:
        result, bill = measure_call(lambda: calls.append(1) or len(calls), "short", **options)
    assert bill.runs > 1
    assert bill.time_s * bill.runs <= around.receipt.time_s
    assert bill.energy_j * bill.runs <= around.receipt.energy_j
    assert len(calls) == result == bill.runs + 2
    assert bill.time_s * bill.runs >= 0.05 * (1 - 1e-9)
    assert bill.region == "SE"


def test_measure_call_runs_long_work_once():
    """Half of the time asked for is long enough."""
    _, bill = measure_call(lambda: time.sleep(0.03), "long", min_time_s=0.05, warmup=0)
    assert bill.runs == 1
    assert measure_call(lambda: 7, "once", min_time_s=0.0, warmup=0)[0] == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_time_s": -1.0}, "min_time_s=-1.0: give a finite number at least 0"),
        ({"warmup": -1}, "warmup=-1: give a whole number at least 0"),
    ],
)
def test_measure_call_checks_its_arguments(options, message):
    """Before anything runs."""
    with pytest.raises(ValueError, match=message):
        measure_call(lambda: pytest.fail("must not run"), "x", **options)


# ------------------------------------------------------------------------------------------------ receipts


def a_receipt(**changes):
    values = {"basis": "measured", "source": "RAPL package-0", "region": "DE", "time_s": 2.0, "cpu_s": 3.0}
    return Receipt.from_energy("work", 100.0, 95.0, 130.0, **(values | changes))


def test_golden_carbon(monkeypatch):
    """100 J are 2.78e-5 kWh; at 400 g/kWh they are 0.0111 g. The range uses both the joules' and the grid's."""
    monkeypatch.setattr(
        receipt, "_regions", lambda: {"test": receipt.GridIntensity("TEST", "Test", 400, 300, 500, 2024)}
    )
    bill = a_receipt(region="test")
    assert bill.carbon_g == pytest.approx(0.0111, abs=5e-5)
    assert bill.carbon_low_g == pytest.approx(95 * 300 / 3.6e6)
    assert bill.carbon_high_g == pytest.approx(130 * 500 / 3.6e6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low_j": 101.0}, r"must satisfy 0 <= low_j <= energy_j <= high_j, got \[101.0, 100.0, 130.0\]"),
        ({"high_j": 99.0}, "must satisfy 0 <= low_j <= energy_j"),
        ({"energy_j": math.nan}, "must satisfy 0 <= low_j"),
        ({"high_j": math.inf}, "must satisfy 0 <= low_j"),
        ({"time_s": -1.0}, "time_s=-1.0: give a finite number at least 0"),
        ({"cpu_s": math.nan}, "cpu_s=nan: give a finite number"),
        ({"basis": "guessed"}, r"basis='guessed' must be one of \('measured', 'modelled'\)"),
        ({"runs": 0}, "runs=0: give a whole number at least 1"),
        ({"carbon_g": 9.0, "carbon_high_g": 10.0}, "carbon_g=9.0 is not energy_j / 3.6e6"),
        ({"carbon_low_g": 1.0}, "must satisfy 0 <= carbon_low_g"),
        ({"components": (receipt.Component("cpu", "measured", 1.0, 0.0, 2.0, "x"),)}, "do not add up"),
    ],
)
def test_receipts_are_checked(changes, message):
    """A wrong unit or an inverted range must not reach a chart."""
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(a_receipt(), **changes)


def test_receipt_per_token():
    """All amounts are divided, the rest stays."""
    bill = a_receipt().per(50)
    assert (bill.energy_j, bill.low_j, bill.high_j, bill.time_s, bill.cpu_s) == pytest.approx((2, 1.9, 2.6, 0.04, 0.06))
    assert bill.carbon_g == pytest.approx(a_receipt().carbon_g / 50)
    assert (bill.basis, bill.runs, bill.region) == ("measured", 1, "DE")
    with pytest.raises(ValueError, match="n=0: give a finite number above 0"):
        bill.per(0)


def test_receipts_add_up():
    """sum() works; one modelled part makes the whole modelled; regions do not mix."""
    other = a_receipt(basis="modelled", source="CPU-seconds model")
    both = sum([a_receipt(), other])
    assert (both.energy_j, both.low_j, both.high_j, both.time_s) == (200.0, 190.0, 260.0, 4.0)
    assert both.carbon_g == pytest.approx(2 * other.carbon_g)
    assert (both.basis, both.source) == ("modelled", "RAPL package-0 + CPU-seconds model")
    assert (a_receipt(runs=3) + a_receipt(runs=5)).runs == 3
    with pytest.raises(ValueError, match="region='FR' cannot be added to region='DE'"):
        _ = other + a_receipt(region="FR")
    with pytest.raises(TypeError):
        _ = other + 5


@given(st.floats(0, 1e6), st.floats(0, 1), st.floats(1, 10), st.floats(1e-6, 1e6))
def test_scaling_keeps_receipts_valid(energy_j, low, high, factor):
    """Rounding must not push the energy out of its own range."""
    bill = Receipt.from_energy("x", energy_j, energy_j * low, energy_j * high, basis="modelled", source="x")
    assert bill.scaled(factor).scaled(1 / factor).energy_j == pytest.approx(energy_j)


def test_frame_has_one_row_per_component():
    """Charts stack the components and refuse doubles; the sum of two receipts still has each once."""
    parts = [receipt.Component("cpu", "measured", 70.0, 60.0, 80.0, "RAPL package-0")]
    parts += [receipt.Component("gpu", "measured", 30.0, 20.0, 60.0, "NVML gpu-0")]
    bill = a_receipt(components=parts, source="RAPL package-0 + NVML gpu-0")
    frame = (bill + bill).to_frame()
    assert list(frame["component"]) == ["cpu", "gpu"]
    assert list(frame["energy_j"]) == [140.0, 60.0]
    assert list(frame["run"]) == ["work", "work"]
    assert frame["carbon_g"].sum() == pytest.approx(2 * bill.carbon_g)
    assert {"basis", "low_j", "high_j", "source", "region", "runs"} <= set(frame.columns)


def test_receipts_survive_json():
    """run.json of a study holds them."""
    with measure("work", counters=[]) as m:
        pass
    assert Receipt(**json.loads(json.dumps(dataclasses.asdict(m.receipt)))) == m.receipt


# --------------------------------------------------------------------------------------------------- grids


def rows():
    with (ROOT / "data/facts/grid_intensity.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_grid_table_is_sound():
    """Every row has a range around its value, a year, a source and a confidence; the whole EU is there."""
    table = {row["region"]: row for row in rows()}
    assert len(table) == len(rows()) >= 60
    assert {"WORLD", "EU", "GB", "NO", "CH", "US", "CN", "IN", *EU27} <= set(table)
    for row in table.values():
        low, mean, high = (float(row[f"{k}_g_per_kwh"]) for k in ("low", "intensity", "high"))
        assert 0 < low <= 0.91 * mean, row
        assert 1.09 * mean <= high < 1000, row
        assert 2022 <= int(row["year"]) <= 2025
        assert row["confidence"] in ("seen", "secondary", "unverified")
        assert row["source"]
        assert row["url"].startswith("https://")
        assert row["notes"]


@pytest.mark.parametrize(
    ("region", "grams"),
    {
        "AU": 552,
        "AT": 103,
        "BE": 118,
        "CA": 175,
        "CZ": 414,
        "DK": 143,
        "EE": 341,
        "FI": 72,
        "FR": 44,
        "DE": 344,
        "NL": 253,
    }.items(),
)
def test_grid_table_against_a_second_copy(region, grams):
    """2024 values as Our World in Data shows them (grapher "carbon-intensity-electricity"), read elsewhere."""
    assert grid_intensity(region).intensity_g_per_kwh == grams


def test_regions_by_code_name_and_habit():
    """Codes, names, any case, and the two codes that people get wrong."""
    assert {grid_intensity(r).region for r in ("DE", "de", "Germany", " germany ")} == {"DE"}
    assert [grid_intensity(r).region for r in ("UK", "USA", "World", "european union")] == ["GB", "US", "WORLD", "EU"]


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("Germny", r"DE \(Germany\)"), ("Switserland", "CH"), ("POLEN", "PL"), ("qqq", r"DE \\(Germany\\)|known: ")],
)
def test_unknown_regions_are_refused_before_the_work(wrong, hint):
    """Never a silent default: codecarbon's was 97 times too low for Germany."""
    with (
        pytest.raises(ValueError, match=f"no region '{wrong}'; .*{hint}.*WORLD"),
        measure("x", region=wrong),
    ):
        pytest.fail("the block must not run")


# -------------------------------------------------------------------------------------------------- doctor


def test_doctor_lists_every_tier_in_order():
    """Whatever machine this is: RAPL, NVML, Apple and the model, and a reason for each."""
    states = meter.available_counters()
    tiers = [s.tier for s in states]
    assert tiers == sorted(tiers)
    assert set(tiers) == {1, 2, 3, 4}
    assert all(s.reason for s in states)
    assert states[-1] == counters.CounterStatus("CPU-seconds model", True, "6 W per busy core, 2 to 18", 4)


def test_what_will_be_reported(monkeypatch):
    """One line, and the reason when it is not a measurement."""
    locked = counters.CounterStatus("RAPL package-0", False, "permission denied", 1)
    monkeypatch.setattr(meter, "find_counters", lambda: ((), (locked,)))
    line = meter.what_will_be_reported()
    assert line.startswith("Energy will be MODELLED from CPU seconds (6 W per busy core, 2 to 18)")
    assert line.endswith("RAPL package-0: permission denied.")
    monkeypatch.setattr(meter, "find_counters", lambda: ((fake_counter([]),), ()))
    assert meter.what_will_be_reported() == "Energy will be MEASURED: fake."


def test_import_is_light():
    """A receipt needs neither pandas nor torch; `import greenlab` loads none of this."""
    code = "import sys, greenlab.core.energy.meter; print(sorted({'pandas', 'torch', 'codecarbon'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------- compare_backends


def test_comparison_without_codecarbon(monkeypatch):
    """A row that says so, with no invented number."""
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    frame = compare_backends(lambda: sum(range(1000))).set_index("backend")
    assert frame.loc["codecarbon", "note"] == "not installed: pip install codecarbon"
    assert math.isnan(frame.loc["codecarbon", "energy_j"])
    assert frame.loc["greenlab", "low_j"] <= frame.loc["greenlab", "energy_j"] <= frame.loc["greenlab", "high_j"]


QUIET = """
import os, socket
def refuse(*args, **kwargs):
    raise SystemExit(f"network touched: {args}")
socket.create_connection = socket.getaddrinfo = socket.socket.connect = refuse
from greenlab.core.energy.meter import compare_backends
frame = compare_backends(lambda: sum(range(3_000_000)), region="FR")
theirs = frame.set_index("backend").loc["codecarbon"]
print(theirs["energy_j"] > 0, theirs["basis"], os.listdir("."))
"""


def test_comparison_with_codecarbon_is_silent_and_offline(tmp_path):
    """In a process of its own, where every connection is refused: no log line, no file, no lock left behind."""
    pytest.importorskip("codecarbon")
    run = {"capture_output": True, "text": True, "cwd": tmp_path}
    done = subprocess.run([sys.executable, "-c", QUIET], env={"TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}, **run)
    assert done.stderr == ""
    assert done.stdout.split() in (["True", "modelled", "[]"], ["True", "measured", "[]"])
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------- faults at the end of a block


def broken_counter(reading):
    """A counter that is fine when the block starts and raises, or gives nonsense, when it ends."""
    readings = iter([0.0, reading])

    def read():
        value = next(readings)
        if isinstance(value, Exception):
            raise value
        return value

    return dataclasses.replace(fake_counter([]), read=read)


FAULTS = {
    "the counter raises": {"counters": [broken_counter(OSError("gone"))]},
    "the clock goes back": {"counters": [], "clock": iter([10.0, 5.0]).__next__},
    "the CPU clock ends": {"counters": [], "cpu_clock": iter([1.0]).__next__},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_meter_does_not_replace_the_readers_error(fault):
    """A KeyError of the reader's code arrives as a KeyError, with a note that there is no receipt either."""
    with pytest.raises(KeyError, match="the reader's own") as caught, measure("block", **FAULTS[fault]) as m:
        raise KeyError("the reader's own")
    assert caught.value.__notes__[0].startswith("greenlab: the block 'block' has no receipt either (")
    with pytest.raises(RuntimeError, match="receipt of 'block' exists when"):
        _ = m.receipt


def test_a_fault_of_the_meter_alone_is_raised():
    """Without an error of the reader's there is nothing to hide."""
    with pytest.raises(OSError, match="gone"), measure("block", counters=[broken_counter(OSError("gone"))]):
        pass


def test_a_process_table_that_may_not_be_read_costs_no_receipt(monkeypatch):
    """psutil raises while a child lives: the block keeps its own CPU time."""

    class Process:
        def children(self, recursive):
            raise power_model.psutil.AccessDenied(1)

    monkeypatch.setattr(power_model.psutil, "Process", Process)
    monkeypatch.setattr(power_model.os, "waitid", lambda *a: None, raising=False)
    with measure("block", counters=[]) as m:
        sum(range(1000))
    assert m.receipt.cpu_s > 0


def test_an_empty_block_costs_nothing_while_a_child_lives(monkeypatch):
    """Looking for children takes CPU time of its own: it is in no block, neither an empty one nor one around it."""

    def children(recursive):
        start_s = time.thread_time()
        while time.thread_time() - start_s < 0.02:
            pass
        return []

    monkeypatch.setattr(power_model.psutil, "Process", lambda: SimpleNamespace(children=children))
    monkeypatch.setattr(power_model.os, "waitid", lambda *a: None, raising=False)
    with measure("around", counters=[]) as around, measure("empty", counters=[]) as empty:
        pass
    assert empty.receipt.cpu_s < 0.005
    assert around.receipt.cpu_s < 0.01


# ------------------------------------------------------------------------------------------- work that is not done


async def asynchronous():
    pytest.fail("must not run")


def generator():
    yield pytest.fail("must not run")


async def asynchronous_generator():
    yield pytest.fail("must not run")


class AsynchronousCall:
    async def __call__(self):
        pytest.fail("must not run")


UNDONE = {
    "async function": asynchronous,
    "generator function": generator,
    "async generator": asynchronous_generator,
    "partial of an async function": functools.partial(asynchronous),
    "object with an async call": AsynchronousCall(),
    "method of it": AsynchronousCall().__call__,
    "lambda that returns a coroutine": lambda: asynchronous(),
    "lambda that returns a generator": lambda: (pytest.fail("must not run") for _ in range(3)),
    "lambda that returns a map": lambda: map(pytest.fail, ["must not run"]),
    "a number": 7,
    "nothing": None,
}


@pytest.mark.parametrize("name", UNDONE)
def test_work_that_is_only_prepared_is_refused(name):
    """Making a coroutine takes microseconds; the work behind it would be billed to nobody."""
    with pytest.raises(TypeError, match="fn"):
        measure_call(UNDONE[name], "work", min_time_s=0.01)
    if UNDONE[name] is not None:  # None stands for the built-in work there
        with pytest.raises(TypeError, match="fn"):
            compare_backends(UNDONE[name])


@pytest.mark.parametrize("value", [math.inf, math.nan, -1.0, 1e300, "1", None, True])
def test_how_long_to_go_on_is_a_number(value):
    """Infinity would never end."""
    with pytest.raises((ValueError, TypeError), match="min_time_s"):
        measure_call(lambda: pytest.fail("must not run"), "x", min_time_s=value)


# --------------------------------------------------------------------------------------- what "measured" means


def test_a_receipt_cannot_say_measured_of_modelled_parts():
    """One basis for the whole: the least sure of its parts'."""
    parts = [receipt.Component("cpu", "measured", 70.0, 60.0, 80.0, "RAPL package-0")]
    parts += [receipt.Component("gpu", "modelled", 30.0, 0.0, 60.0, "NVML gpu-0 not counted")]
    with pytest.raises(ValueError, match="basis='measured', but gpu is modelled"):
        a_receipt(components=parts)
    assert a_receipt(components=parts, basis="modelled").basis == "modelled"


def test_a_receipt_lists_each_part_once():
    part = receipt.Component("cpu", "measured", 50.0, 40.0, 60.0, "x")
    with pytest.raises(ValueError, match=r"lists a part twice \(cpu, cpu\): join them with merge"):
        a_receipt(components=[part, part])
    assert a_receipt(components=receipt.merge([part, part])).energy_j == 100.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -1.0, 0, "2", True, None, [2]])
def test_a_factor_is_a_number_above_zero(value):
    part = receipt.Component("cpu", "measured", 50.0, 40.0, 60.0, "x")
    for call, name in ((a_receipt().scaled, "factor"), (a_receipt().per, "n"), (part.scaled, "factor")):
        with pytest.raises((ValueError, TypeError), match=f"^{name}="):
            call(value)
