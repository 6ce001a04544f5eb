"""The GPU before and after CUDA is opened, with a fake driver and with every function of torch.cuda forbidden."""

import types

import pytest
import torch

from greenlab.accelerator import study, workloads
from greenlab.accelerator.card import Card, read_card
from greenlab.core import studies
from greenlab.core.energy import counters
from greenlab.core.energy.counter import Counter, CounterStatus
from tests.accelerator.test_study import CONFIG, Clock, bench, without_waiting

L4 = Card("NVIDIA L4", 24e9, (8, 9))


class FakeDriver:
    """pynvml as far as a card is read."""

    def __init__(self, name="NVIDIA L4", total=24e9, capability=(8, 9)):
        self.name, self.total, self.capability, self.started = name, total, capability, False

    def nvmlInit(self):
        self.started = True

    def nvmlDeviceGetHandleByIndex(self, index):
        assert self.started
        return index

    def nvmlDeviceGetName(self, handle):
        return self.name

    def nvmlDeviceGetMemoryInfo(self, handle):
        return types.SimpleNamespace(total=self.total)

    def nvmlDeviceGetCudaComputeCapability(self, handle):
        return list(self.capability)


@pytest.fixture
def no_cuda(monkeypatch):
    """Whatever is called of torch.cuda fails the test, but the question whether it was opened."""
    names = [
        name
        for name, value in vars(torch.cuda).items()
        if isinstance(value, types.FunctionType) and name != "is_initialized"
    ]
    assert {"synchronize", "is_available", "get_device_name", "mem_get_info", "_lazy_init"} <= set(names)
    for name in names:
        monkeypatch.setattr(torch.cuda, name, lambda *a, name=name, **k: pytest.fail(f"torch.cuda.{name} was called"))


def on_cuda(**changes):
    one = bench(**changes)
    one.device = torch.device("cuda", 0)
    return one


@pytest.mark.parametrize("name", ["NVIDIA L4", b"NVIDIA L4"])
def test_a_card_is_what_the_driver_says(no_cuda, name):
    assert read_card(0, FakeDriver(name)) == L4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: read_card(-1, FakeDriver()), "index=-1"),
        (lambda: read_card(True, FakeDriver()), "index=True"),
        (lambda: read_card("0", FakeDriver()), "index='0'"),
        (lambda: read_card(0, "pynvml"), "nvml='pynvml'"),
    ],
)
def test_what_is_no_card_is_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()


def test_the_idle_row_is_read_before_anything_of_cuda_is_called(no_cuda, monkeypatch, tmp_path):
    """Then the study looks for CUDA; what was read stays on disk."""
    without_waiting(monkeypatch, tmp_path)
    slept = []
    monkeypatch.setattr(study.time, "sleep", slept.append)
    machine = study.Machine(on_cuda(), 80e9, "a GPU", {})
    section = study.Section(studies.Steps("accelerator", CONFIG, on="a GPU"), machine, study.tqdm(disable=True))
    study.idle(section, study.Config())
    assert [row["launched"] for row in section.rows] == ["nothing", "nothing"]
    assert section.left_out == []
    assert slept[0] == study.Config().settle_s, "clocks come down before the first block"


def test_without_cuda_in_torch_the_study_ends_after_the_idle_row_and_says_why(monkeypatch, tmp_path):
    without_waiting(monkeypatch, tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    machine = study.Machine(on_cuda(), 80e9, "a GPU", {})
    with pytest.raises(study.NeedError, match=r"needs one NVIDIA GPU of Ampere or later.*cannot use the GPU"):
        study.run(CONFIG, machine)
    assert [path.stem for path in tmp_path.rglob("*.json")] == ["idle-no_program"]


def counter(index):
    return Counter(f"NVML gpu-{index}", "gpu", Clock(), 1e-3, 0.1, 0.05, 700)


def found(monkeypatch, n_counted, n_silent=0, card=L4, cuda="13.0", first=0):
    states = [CounterStatus(f"NVML gpu-{first + i}", True, "readable", 2) for i in range(n_counted)]
    states += [CounterStatus(f"NVML gpu-{8 + i}", False, "no total energy", 2, 1400.0) for i in range(n_silent)]
    mine = tuple(counter(first + i) for i in range(n_counted))
    monkeypatch.setattr(counters, "find_counters", lambda: (mine, tuple(states)))
    asked = []
    monkeypatch.setattr(study, "read_card", lambda index: asked.append(index) or card)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    return asked


def test_this_machine_is_described_by_the_driver_alone(no_cuda, monkeypatch):
    asked = found(monkeypatch, 1, first=3)
    machine = study.machine_here(study.Config())
    assert asked == [3]
    assert (machine.name, machine.memory_bytes) == ("NVIDIA L4, CUDA 13.0", 24e9)
    assert machine.bench.device == torch.device("cuda", 0)
    assert machine.bench.warmup_s >= 0.3


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_counted": 2}, "sees 2: choose one.*CUDA_VISIBLE_DEVICES=0"),
        ({"n_counted": 1, "n_silent": 1}, "sees 2: choose one.*CUDA_VISIBLE_DEVICES=0"),
        ({"n_counted": 0}, "needs one NVIDIA GPU.*no counter at all"),
        ({"n_counted": 0, "n_silent": 1}, "needs one NVIDIA GPU.*NVML gpu-8: no total energy"),
        ({"n_counted": 1, "cuda": None}, "a build of torch with CUDA"),
        ({"n_counted": 1, "card": Card("Tesla T4", 16e9, (7, 5))}, "Tesla T4 has compute capability 7.5.*needs 8.0"),
    ],
)
def test_a_machine_that_cannot_run_the_study_is_told_what_is_needed(no_cuda, monkeypatch, setting, message):
    found(monkeypatch, **setting)
    with pytest.raises(study.NeedError, match=message):
        study.machine_here(study.Config())


@pytest.mark.parametrize(
    ("capability", "grouped"),
    [((8, 0), False), ((8, 9), False), ((9, 0), True), ((10, 0), True), ((11, 0), False), ((12, 0), False)],
)
def test_the_grouped_kernel_is_used_where_torch_has_one(monkeypatch, capability, grouped):
    """torch 2.13, GroupedBlas.cpp: capability 9 and 10; elsewhere a loop that waits for the device."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert workloads.has_grouped_kernel(torch.device("cuda", 0)) is grouped
    assert workloads.has_grouped_kernel(torch.device("cpu")) is False


class FakeStream:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def wait_stream(self, other):
        self.log.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def cuda_log(monkeypatch):
    """Streams and graphs that write down what is done with them."""
    log = []

    class Inside:
        def __init__(self, words):
            self.words = words

        def __enter__(self):
            log.append(f"begin {self.words}")

        def __exit__(self, *error):
            log.append(f"end {self.words}")

    class Graph:
        def replay(self):
            log.append("replay")

    current = FakeStream(log, "current")
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: FakeStream(log, "side"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: current)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: Inside(stream.name))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", lambda graph: Inside("recording"))
    return log


def test_recorded_work_is_warmed_up_on_a_side_stream_recorded_once_and_replayed(cuda_log):
    replay = workloads.recorded(lambda: cuda_log.append("work"), torch.device("cuda", 0))
    assert cuda_log == [
        "side waits for current", "begin side", "work", "work", "work", "end side", "current waits for side",
        "begin recording", "work", "end recording",
    ]  # fmt: skip
    cuda_log.clear()
    replay()
    replay()
    assert cuda_log == ["replay", "replay"], "the work itself is not called again"


def test_who_launches_the_kernels():
    assert workloads.launched_by(torch.device("cuda", 0)) == "graph"
    assert workloads.launched_by(torch.device("cpu")) == "host"


def test_a_bench_on_cuda_waits_for_it_after_work(monkeypatch):
    waits = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waits.append(device))
    on_cuda().run(int, 1.0)
    assert len(waits) > 2
    assert set(waits) == {torch.device("cuda", 0)}
