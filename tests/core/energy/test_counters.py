"""Counters that misbehave as those of real machines did: mirrored, reset, lost, sliced, numbered otherwise."""

import math

import pytest

from greenlab.core.energy import counters, meter, nvml
from greenlab.core.energy.meter import measure
from tests.core.energy.test_meter import RANGE_UJ, Clock, FakeNvml, fake_counter, zone


def block(found, change, time_s, states=()):
    """The receipt of a block in which ``change`` happens and the clock moves by ``time_s``."""
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meter, "find_counters", lambda: (tuple(found), tuple(states)))
        with measure("block", clock=clock, cpu_clock=Clock()) as m:
            change()
            clock.now = time_s
    return m.receipt


# ---------------------------------------------------------------------------------------------------- RAPL


@pytest.mark.parametrize("dies", [2, 3, 12])
@pytest.mark.parametrize("late_uj", [0, 400])
def test_dies_that_show_one_counter_are_counted_once(tmp_path, dies, late_uj):
    """AMD: each die of a socket is listed, all read the socket's register. 68 W for 10 s are 680 J."""
    files = [
        zone(tmp_path, f"intel-rapl:{die}", f"package-0-die-{die}", 1_000_000_000 + late_uj * die)
        for die in range(dies)
    ]
    found, states = counters.rapl_counters(tmp_path)
    receipt = block(found, lambda: [file.write_text("1680000000\n") for file in files], 10.0)
    assert receipt.energy_j == pytest.approx(680.0)
    assert receipt.low_j < 680 < receipt.high_j < 1000
    assert (receipt.basis, receipt.source) == ("measured", "RAPL package-0-die-0")
    assert [state.readable for state in states] == [True] * dies
    assert states[1].reason == "shows the counter of RAPL package-0-die-0: counted once"


def test_two_sockets_of_mirrored_dies_are_two_counters(tmp_path):
    """Two dies are one socket: 100 J and 40 J; the memory of a repeated die is left out too."""
    start_uj = {0: 5_000_000_000, 1: 9_000_000_000}
    files = {}
    for die in range(4):
        socket = die // 2
        name = f"package-{socket}-die-{die % 2}"
        files[zone(tmp_path, f"intel-rapl:{die}", name, start_uj[socket])] = (
            start_uj[socket] + (100, 40)[socket] * 10**6
        )
        files[zone(tmp_path, f"intel-rapl:{die}:0", "dram", start_uj[socket])] = start_uj[socket] + 7 * 10**6
    found, _ = counters.rapl_counters(tmp_path)
    receipt = block(found, lambda: [file.write_text(str(uj)) for file, uj in files.items()], 10.0)
    assert {c.component: c.energy_j for c in receipt.components} == pytest.approx({"cpu": 140.0, "dram": 14.0})


def test_a_repeated_die_with_memory_of_its_own_keeps_its_memory(tmp_path):
    """The packages mirror each other, the memories do not: 100 J, and 20 J + 30 J."""
    start_uj = {"intel-rapl:0": 10**9, "intel-rapl:1": 10**9, "intel-rapl:0:0": 2 * 10**9, "intel-rapl:1:0": 7 * 10**9}
    used_uj = {"intel-rapl:0": 10**8, "intel-rapl:1": 10**8, "intel-rapl:0:0": 2 * 10**7, "intel-rapl:1:0": 3 * 10**7}
    files = {}
    for folder, uj in start_uj.items():
        name = "dram" if folder.count(":") == 2 else f"package-0-die-{folder[-1]}"
        files[zone(tmp_path, folder, name, uj)] = uj + used_uj[folder]
    found, _ = counters.rapl_counters(tmp_path)
    receipt = block(found, lambda: [file.write_text(str(uj)) for file, uj in files.items()], 10.0)
    assert {c.component: c.energy_j for c in receipt.components} == pytest.approx({"cpu": 100.0, "dram": 50.0})


@pytest.mark.parametrize("second", ["lost", "stands still"])
def test_what_one_package_counted_is_the_least_that_was_used_where_the_other_says_nothing(tmp_path, second):
    files = [zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", 10**9 * (i + 1)) for i in range(2)]
    found, _ = counters.rapl_counters(tmp_path)

    def work():
        files[0].write_text("1100000000")
        if second == "lost":
            files[1].unlink()

    receipt = block(found, work, 10.0)
    assert receipt.basis == "modelled"
    assert receipt.energy_j == pytest.approx(100.0)
    assert receipt.low_j == pytest.approx(94.4)
    assert receipt.high_j > 1.056 * 100
    assert ("RAPL package-1 could not be read" in receipt.source) == (second == "lost")


def test_dies_with_counters_of_their_own_are_added(tmp_path):
    """Intel's packages of two dies have a register for each: they disagree, so both count."""
    files = [zone(tmp_path, f"intel-rapl:{die}", f"package-0-die-{die}", (die + 1) * 10**9) for die in range(2)]
    found, _ = counters.rapl_counters(tmp_path)
    receipt = block(found, lambda: [f.write_text(str((i + 1) * 10**9 + 30 * 10**6)) for i, f in enumerate(files)], 1.0)
    assert receipt.energy_j == pytest.approx(60.0)


@pytest.mark.parametrize(
    ("start_uj", "moved_uj", "n_counters"),
    [
        (0, (4_000_000, 4_000_000), 1),
        (0, (4_000_000, 4_100_000), 1),  # updated between the two readings
        (0, (4_000_000, 3_000_000), 2),
        (0, (4_000_000, 0), 2),
        (0, (0, 4_000_000), 2),
        (0, (0, 0), 2),
        (300_000, (4_000_000, 3_000_000), 2),  # below what the tolerance of one look allows
    ],
)
def test_dies_near_zero_are_one_counter_only_if_they_move_alike(tmp_path, monkeypatch, start_uj, moved_uj, n_counters):
    """Two new counters both show 0 J whatever they count; what they show a moment later tells them apart."""
    files = [zone(tmp_path, f"intel-rapl:{die}", f"package-0-die-{die}", start_uj) for die in range(2)]

    def later(seconds):
        clock.append(clock[-1] + seconds)
        for file, uj in zip(files, moved_uj, strict=True):
            file.write_text(str(uj))

    clock = [0.0]
    monkeypatch.setattr(counters.time, "sleep", later)
    monkeypatch.setattr(counters.time, "monotonic", lambda: clock[-1])
    found, states = counters.rapl_counters(tmp_path)
    assert len(found) == n_counters
    assert [state.readable for state in states] == [True, True]
    assert 0.2 <= clock[-1] <= 0.4, "they are watched once, and not for long"


def test_dies_that_have_counted_are_told_apart_without_waiting(tmp_path, monkeypatch):
    for die in range(2):
        zone(tmp_path, f"intel-rapl:{die}", f"package-0-die-{die}", 10**9)
    monkeypatch.setattr(counters.time, "sleep", lambda seconds: pytest.fail("waited"))
    assert len(counters.rapl_counters(tmp_path)[0]) == 1


def test_two_sockets_that_happen_to_agree_are_both_counted(tmp_path):
    """Only dies of one socket can mirror each other; two packages never do."""
    files = [zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", 10**9) for i in range(2)]
    found, _ = counters.rapl_counters(tmp_path)
    assert block(found, lambda: [f.write_text("1050000000") for f in files], 1.0).energy_j == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("before_uj", "after_uj", "time_s", "truth_j", "fault"),
    [
        (100_000_000_000, 50_000_000, 5.0, 50.0, "was reset"),
        (200_000_000_000, 400_000_000, 2.0, 400.0, "was reset"),
        (100_000_000_000, 99_999_999_999, 3.0, 0.0, "went back"),
        (1_000_000, 999_999, 3.0, 0.0, "went back"),
        (1_000_000_000, 101_000_000_000, 5.0, 0.0, "jumped"),
    ],
)
def test_a_step_that_no_processor_can_make_is_not_taken_for_energy(
    tmp_path, before_uj, after_uj, time_s, truth_j, fault
):
    """Going around would need tens of kilowatts: the receipt says that it was reset, went back or jumped."""
    file = zone(tmp_path, "intel-rapl:0", "package-0", before_uj)
    found, _ = counters.rapl_counters(tmp_path)
    receipt = block(found, lambda: file.write_text(f"{after_uj}\n"), time_s)
    assert receipt.basis == "modelled"
    assert receipt.source == f"CPU-seconds model + RAPL package-0 {fault}"
    assert receipt.low_j <= truth_j <= receipt.high_j < 600 * time_s
    assert receipt.energy_j >= truth_j


def test_a_reset_between_two_checkpoints_stays_in_the_receipt():
    """One bad step spoils the sum, however good the others are; what was seen for certain is the lower end."""
    clock = Clock()
    readings = [fake_counter([50_000, 50_100, 30, 130], range_j=262_143.0)]
    with measure("long", counters=readings, clock=clock, cpu_clock=Clock()) as m:
        for now in (1.0, 2.0):
            clock.now = now
            m.checkpoint()
        clock.now = 3.0
    assert m.receipt.basis == "modelled"
    assert m.receipt.source == "CPU-seconds model + fake was reset"
    assert m.receipt.energy_j == pytest.approx(100 + 30 + 100)


@pytest.mark.parametrize("reading", [math.inf, math.nan, -1.0])
def test_a_reading_that_is_no_energy_is_refused(reading):
    receipt = block([fake_counter([10.0, reading])], lambda: None, 1.0)
    assert receipt.basis == "modelled"
    assert receipt.source == "CPU-seconds model + fake gave a reading that is no energy"


def test_a_graphics_counter_that_was_reset_is_bounded_by_its_power():
    """The driver was loaded again: 3 J are certain, more may have been used."""
    gpu = [fake_counter([90_000.0, 3.0], "gpu", max_power_w=1000.0)]
    part = block(gpu, lambda: None, 2.0).components[1]
    assert (part.basis, part.source) == ("modelled", "fake: was reset")
    assert part.low_j <= 3.0 <= part.energy_j < part.high_j <= 2001


def test_the_source_says_how_often_a_counter_may_have_wrapped_unseen(tmp_path):
    """An hour at 200 W without a checkpoint: the reading is one step, the range holds 720 kJ, and the words say why."""
    file = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    found, _ = counters.rapl_counters(tmp_path)
    end_uj = 720_000_000_000 % RANGE_UJ
    receipt = block(found, lambda: file.write_text(str(end_uj)), 3600.0)
    assert receipt.low_j < 720_000 < receipt.high_j
    assert receipt.source == "RAPL package-0 (it may have wrapped 7 times unseen)"


def test_a_zone_without_a_range_is_explained(tmp_path):
    """max_energy_range_uj of 0 would make every wrap a division by zero."""
    zone(tmp_path, "intel-rapl:0", "package-0", range_uj=0)
    found, states = counters.rapl_counters(tmp_path)
    assert found == []
    assert "max_energy_range_uj is 0" in states[0].reason


# ---------------------------------------------------------------------------------------------------- NVML


class Gpus(FakeNvml):
    """A machine with some GPUs: millijoules or the error that each one answers, and its model."""

    def __init__(self, answers, models=None, lost=()):
        super().__init__(answers)
        self.models, self.lost = models or ["H100"] * len(answers), lost

    def nvmlDeviceGetHandleByIndex(self, i):
        if i in self.lost:
            raise self.NVMLError("GPU is lost")
        return i

    def nvmlDeviceGetName(self, handle):
        return self.models[handle]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):
        if isinstance(self.millijoules[handle], str):
            raise self.NVMLError(self.millijoules[handle])
        return self.millijoules[handle]


@pytest.fixture(autouse=True)
def no_cuda_settings(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)


def names(found):
    return [counter.name for counter in found]


@pytest.mark.parametrize(
    ("visible", "counted", "uncounted"),
    [
        ("0", ["NVML gpu-0"], []),
        ("1,GPU-0000", ["NVML gpu-1", "NVML gpu-0"], []),
        ("GPU-2222,0", ["NVML gpu-2", "NVML gpu-0"], []),
        ("MIG-0b3c1d2e-aaaa", [], ["NVML MIG-0b3c1d2e-aaaa"]),
        ("MIG-GPU-1111/2/0", [], ["NVML MIG-GPU-1111/2/0"]),
        ("0,MIG-0b3c1d2e-aaaa", ["NVML gpu-0"], ["NVML MIG-0b3c1d2e-aaaa"]),
        ("0,7,1", ["NVML gpu-0"], []),
        ("0,-1,1", ["NVML gpu-0"], []),
        ("-1", [], []),
        ("", [], []),
        ("0,0", ["NVML gpu-0"], []),
    ],
)
def test_the_list_of_visible_gpus_is_read_as_cuda_reads_it(monkeypatch, visible, counted, uncounted):
    """Numbers and identifiers side by side; what stands behind an unknown name is ignored; a slice has no counter."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found, states = counters.nvml_counters(Gpus([1000, 2000, 3000]))
    assert names(found) == counted
    assert [state.name for state in states if state.uncounted_w] == uncounted


def test_one_lost_gpu_leaves_the_others(monkeypatch):
    """GPU 2 is lost: the others count, and only a block that sees GPU 2 says that it does not."""
    nvml = Gpus([1000] * 4, lost=(2,))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found, states = counters.nvml_counters(nvml)
    assert (names(found), [state.readable for state in states]) == (["NVML gpu-0"], [True])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    found, states = counters.nvml_counters(nvml)
    assert names(found) == ["NVML gpu-0", "NVML gpu-1", "NVML gpu-3"]
    assert states[2].reason == "the driver does not give this GPU: GPU is lost"
    assert states[2].uncounted_w > 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2222")
    assert counters.nvml_counters(nvml)[1][0].reason == "not found; NVML gpu-2 does not answer: GPU is lost"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("System is not in ready state", "this GPU gives no total energy (System is not in ready state)"),
        (
            "Not Supported",
            "this GPU gives no total energy (Not Supported): it is older than Volta, or a virtual GPU",
        ),
    ],
)
def test_the_reason_is_the_drivers(answer, reason):
    assert counters.nvml_counters(Gpus([answer]))[1][0].reason == reason


def test_cuda_may_number_unlike_gpus_otherwise(monkeypatch):
    """CUDA's number 0 is the fastest GPU, NVML's the first on the bus: unknown, so it is said and not guessed."""
    nvml = Gpus([1000, 2000], models=["T4", "H100"])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    found, states = counters.nvml_counters(nvml)
    assert found == []
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in states[0].reason
    assert states[0].uncounted_w > 0
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert names(counters.nvml_counters(nvml)[0]) == ["NVML gpu-0"]
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1111")
    assert names(counters.nvml_counters(nvml)[0]) == ["NVML gpu-1"], "an identifier has no order"


@pytest.mark.parametrize("visible", [None, "MIG-0b3c1d2e-aaaa"])
def test_a_receipt_is_not_measured_while_a_gpu_is_not_counted(monkeypatch, visible):
    """100 J measured for the processor beside a GPU nobody can count: modelled, said, and in the range."""
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    _, states = counters.nvml_counters(Gpus(["Not Supported"]))
    receipt = block([fake_counter([0.0, 100.0])], lambda: None, 2.0, states)
    assert receipt.basis == "modelled"
    assert receipt.source.startswith("fake + NVML ")
    assert receipt.source.endswith(" not counted")
    assert receipt.energy_j == pytest.approx(100.0)
    assert receipt.high_j > 2.0 * counters.NVML_MAX_W
    monkeypatch.setattr(meter, "find_counters", lambda: ((fake_counter([]),), tuple(states)))
    assert meter.what_will_be_reported().startswith("Energy will be MODELLED in part: NVML ")


def test_a_gpu_without_the_library_is_not_forgotten(monkeypatch, tmp_path):
    """The driver lists two GPUs, but nobody can ask them: receipts name both."""
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / bus).mkdir()
    monkeypatch.setattr(nvml, "NVIDIA_DRIVER", tmp_path)
    _, states = counters.nvml_counters(FakeNvml([], driver=False))
    assert [state.name for state in states if state.uncounted_w] == ["NVML gpu-0", "NVML gpu-1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert sum(s.uncounted_w > 0 for s in counters.nvml_counters(FakeNvml([], driver=False))[1]) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not any(state.uncounted_w for state in counters.nvml_counters(FakeNvml([], driver=False))[1])


# ---------------------------------------------------------------------------------------------------- restart


def test_a_kernel_that_found_no_counter_says_restart(monkeypatch, tmp_path):
    """The counter became readable while the kernel ran; the kernel keeps what it found at first."""
    zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000).unlink()
    rapl = counters.rapl_counters
    monkeypatch.setattr(counters, "rapl_counters", lambda: rapl(tmp_path))
    monkeypatch.setattr(counters, "nvml_counters", lambda: ([], []))
    monkeypatch.setattr(meter, "find_counters", lambda: first)
    first = counters.search()
    line = meter.what_will_be_reported()
    assert line.startswith("Energy will be MODELLED")
    assert "restart" not in line
    (tmp_path / "intel-rapl:0" / "energy_uj").write_text("1000000\n")
    line = meter.what_will_be_reported()
    assert line.startswith("Energy will be MODELLED")
    assert line.endswith("RAPL package-0 can be read by now: restart the kernel to use it.")
    first = counters.search()
    assert meter.what_will_be_reported() == "Energy will be MEASURED: RAPL package-0."


def test_the_advice_on_permissions_ends_with_a_restart(tmp_path):
    assert counters._why(PermissionError(13, "x"), tmp_path / "energy_uj").endswith("then restart the kernel)")


# ---------------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"component": "disk"}, "component"),
        ({"unit_j": -1.0}, "unit_j=-1.0"),
        ({"update_s": math.nan}, "update_s=nan"),
        ({"error": 2.0}, "error=2.0"),
        ({"max_power_w": 0}, "max_power_w=0"),
        ({"range_j": -5.0}, "range_j=-5.0"),
    ],
)
def test_counters_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        fake_counter([], **changes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: counters.unwrap("1", 2, 3), "start='1'"),
        (lambda: fake_counter([]).step(1.0, 2.0, "3"), "time_s='3'"),
        (lambda: counters.rapl_counters(7), "powercap=7"),
        (lambda: counters.nvml_counters(7), "nvml=7"),
        (lambda: counters.apple_counters("x"), "monitor='x'"),
        (lambda: fake_counter([], read=5), "read=5"),
        (lambda: measure(3), "label=3"),
        (lambda: measure("x", model=3.0), "model=3.0"),
        (lambda: measure("x", counters=[5]), "counters holds 5"),
        (lambda: measure("x", counters="rapl"), "counters='rapl'"),
        (lambda: measure("x", clock=5), "clock=5"),
        (lambda: measure("x", region=5), "region=5"),
        (lambda: counters.CounterStatus("x", "yes", "x", 1), "readable='yes'"),
        (lambda: counters.Step("5"), "energy_j='5'"),
    ],
)
def test_wrong_kinds_are_named(call, message):
    with pytest.raises(TypeError, match=message):
        call()
