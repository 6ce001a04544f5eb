"""greenlab.core.machine: control groups as files in a temporary folder, so that every case runs on any system."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from greenlab.core import machine

GIB = 2**30


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def many_cores(monkeypatch):
    """A host with 64 cores, whatever runs the test."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)


@pytest.fixture
def big_host(monkeypatch):
    """A host with 64 GiB, of which 32 GiB are free."""
    memory = psutil.virtual_memory()._replace(total=64 * GIB, available=32 * GIB)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


V1 = {"cpu/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("files", "quota", "cores"),
    [
        ({}, None, 64),  # no control group
        ({"cpu.max": "max 100000\n"}, None, 64),  # version 2, no limit
        ({"cpu.max": "200000 100000\n"}, 2.0, 2),
        ({"cpu.max": "150000 100000\n"}, 1.5, 2),  # half a core is worth a thread, less is not
        ({"cpu.max": "140000 100000\n"}, 1.4, 1),
        ({"cpu.max": "10000 100000\n"}, 0.1, 1),  # never fewer than one
        ({"cpu.max": "9900000 100000\n"}, 99.0, 64),  # more than the host has
        ({**V1, "cpu/cpu.cfs_quota_us": "-1\n"}, None, 64),  # version 1, no limit
        ({**V1, "cpu/cpu.cfs_quota_us": "300000\n"}, 3.0, 3),
        ({**V1, "cpu/cpu.cfs_quota_us": "50000\n"}, 0.5, 1),
    ],
)
def test_cores_follow_the_quota(tmp_path, many_cores, files, quota, cores):
    """Both versions, no limit, fractional quotas."""
    root = write(tmp_path, files)
    assert machine.cpu_quota(root) == quota
    assert machine.available_cores(root) == cores


def test_affinity_limits_cores_too(tmp_path, monkeypatch):
    """`taskset -c 0,1` must count even where the group grants more."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert machine.available_cores(write(tmp_path, {"cpu.max": "800000 100000"})) == 2


def test_cores_without_affinity(tmp_path, monkeypatch):
    """macOS has no sched_getaffinity: the core count is used."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert machine.available_cores(tmp_path) == 12


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, 64 * GIB),
        ({"memory.max": "max\n"}, 64 * GIB),
        ({"memory.max": f"{2 * GIB}\n"}, 2 * GIB),
        ({"memory/memory.limit_in_bytes": f"{GIB}\n"}, GIB),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, 64 * GIB),  # how version 1 says "no limit"
    ],
)
def test_memory_limit(tmp_path, big_host, files, limit):
    """The least of the host's memory and the group's limit."""
    assert machine.memory_limit_bytes(write(tmp_path, files)) == limit


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 32 * GIB),
        ({"memory.max": "max", "memory.current": str(GIB)}, 32 * GIB),
        ({"memory.max": str(4 * GIB), "memory.current": str(GIB)}, 3 * GIB),
        ({"memory.max": str(GIB), "memory.current": str(2 * GIB)}, 0),  # over the limit: nothing, not a negative number
        ({"memory.max": str(60 * GIB), "memory.current": "0"}, 32 * GIB),  # the host has less than the group allows
        ({"memory/memory.limit_in_bytes": str(2 * GIB), "memory/memory.usage_in_bytes": str(GIB)}, GIB),
    ],
)
def test_available_memory(tmp_path, big_host, files, free):
    """What the group's limit leaves, and no more than the host has."""
    assert machine.available_memory_bytes(write(tmp_path, files)) == free


@pytest.mark.parametrize(
    "files",
    [
        {
            "memory.max": str(4 * GIB),
            "memory.current": str(3 * GIB),
            "memory.stat": f"anon {GIB}\nfile {2 * GIB}\ninactive_file {2 * GIB}\n",
        },
        {
            "memory/memory.limit_in_bytes": str(4 * GIB),
            "memory/memory.usage_in_bytes": str(3 * GIB),
            "memory/memory.stat": f"inactive_file 5\ntotal_inactive_file {2 * GIB}\n",
        },
    ],
)
def test_inactive_page_cache_is_free_memory(tmp_path, big_host, files):
    """Reading a weight file once fills the cache; that must not look like used-up memory."""
    assert machine.available_memory_bytes(write(tmp_path, files)) == 3 * GIB


def test_peak_memory_is_in_bytes():
    """Linux counts KiB and macOS bytes: the peak must lie between what is resident now and the machine's memory."""
    block = bytearray(64 * 2**20)
    block[:: 2**12] = b"x" * len(block[:: 2**12])  # touch every page
    resident = psutil.Process().memory_info().rss
    assert 0.9 * resident <= machine.peak_memory_bytes() <= psutil.virtual_memory().total


def test_root_is_the_repository():
    """Data files are found from here."""
    assert (machine.ROOT / "pyproject.toml").is_file()


def test_freed_memory_goes_back_to_the_system():
    """Many small arrays stay with the allocator when they are freed; afterwards they do not."""
    arrays = [bytearray(100_000) for _ in range(2000)]
    full = psutil.Process().memory_info().rss
    assert len(arrays.pop()) == 100_000
    arrays.clear()
    machine.release_memory()
    assert psutil.Process().memory_info().rss < full - 100e6


def test_the_peak_of_a_child_is_not_that_of_its_parent():
    """A kernel that is started by a large process has not used that memory itself."""
    block = bytearray(b"x") * (300 * 2**20)
    code = "from greenlab.core.machine import peak_memory_bytes; print(peak_memory_bytes())"
    found = subprocess.run([sys.executable, "-c", code], cwd=machine.ROOT, capture_output=True, text=True, check=True)
    assert int(found.stdout) < len(block)


# ---- groups below the root -------------------------------------------------------------------------------------------

OWN = "system.slice/jupyter-ada.service"


def member(tmp_path, text):
    (tmp_path / "membership").write_text(text)
    return tmp_path / "membership"


@pytest.mark.parametrize("where", [OWN, "system.slice", "."])
def test_a_limit_of_the_own_group_or_of_one_above_it_holds(tmp_path, many_cores, big_host, where):
    """systemd (CPUQuota, MemoryMax) and Slurm set the limit on a slice or on the job's own group."""
    limits = {f"{where}/cpu.max": "200000 100000\n", f"{where}/memory.max": f"{2 * GIB}\n"}
    root = write(tmp_path / "cgroup", {"cgroup.controllers": "cpu memory\n", f"{OWN}/cpu.stat": ""} | limits)
    own = member(tmp_path, f"0::/{OWN}\n")
    assert machine.cpu_quota(root, own) == 2.0
    assert machine.available_cores(root, own) == 2
    assert machine.memory_limit_bytes(root, own) == 2 * GIB


def test_the_least_of_all_limits_holds(tmp_path, many_cores, big_host):
    """The slice grants 8 cores and 4 GiB, the service in it 0.5 cores; another service's limit is not ours."""
    files = {
        "system.slice/cpu.max": "800000 100000",
        "system.slice/memory.max": str(4 * GIB),
        "system.slice/memory.current": str(3 * GIB),
        f"{OWN}/cpu.max": "50000 100000",
        f"{OWN}/memory.max": str(16 * GIB),
        f"{OWN}/memory.current": str(GIB),
        "system.slice/other.service/cpu.max": "10000 100000",
        "system.slice/other.service/memory.max": "1000",
    }
    root, own = write(tmp_path / "cgroup", files), member(tmp_path, f"0::/{OWN}\n")
    assert machine.cpu_quota(root, own) == 0.5
    assert machine.available_cores(root, own) == 1
    assert machine.memory_limit_bytes(root, own) == 4 * GIB
    assert machine.available_memory_bytes(root, own) == GIB


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_groups_of_version_1_have_a_place_in_each_tree(tmp_path, many_cores, big_host, mount):
    """Half a core in the tree of cpu, 1.5 GB in the tree of memory, under two names."""
    files = {
        f"{mount}/brk/cpu.cfs_quota_us": "50000",
        f"{mount}/brk/cpu.cfs_period_us": "100000",
        f"{mount}/cpu.cfs_quota_us": "-1",
        f"{mount}/cpu.cfs_period_us": "100000",
        "memory/job/7/memory.limit_in_bytes": "1500000000",
        "memory/job/7/memory.usage_in_bytes": "500000000",
        "memory/memory.limit_in_bytes": "9223372036854771712",
    }
    root = write(tmp_path / "cgroup", files)
    own = member(tmp_path, "5:memory:/job/7\n4:cpu,cpuacct:/brk\n1:name=systemd:/elsewhere\n")
    assert machine.cpu_quota(root, own) == 0.5
    assert machine.memory_limit_bytes(root, own) == 1_500_000_000
    assert machine.available_memory_bytes(root, own) == 1_000_000_000


@pytest.mark.parametrize("text", ["0::/docker/4f5e\n", "0::/../../init.scope\n", "", "nonsense\n", "0::/\n"])
def test_a_group_that_cannot_be_seen_leaves_the_root(tmp_path, many_cores, text):
    """A container may be told the name that its group has on the host."""
    root = write(tmp_path / "cgroup", {"cpu.max": "300000 100000"})
    assert machine.cpu_quota(root, member(tmp_path, text)) == 3.0
    assert machine.cpu_quota(root, tmp_path / "not there") == 3.0


@pytest.mark.parametrize("text", ["0 0", "100000 0", "abc def", "100000", "1e5 1e5"])
def test_a_quota_that_is_none_sets_no_limit(tmp_path, text):
    assert machine.cpu_quota(write(tmp_path, {"cpu.max": text})) is None


def test_the_processor_has_a_name():
    assert machine.cpu_name().strip()


@pytest.mark.parametrize("call", [machine.cpu_quota, machine.available_cores, machine.memory_limit_bytes])
def test_paths_are_paths(call):
    with pytest.raises(TypeError, match="cgroup=3 is int"):
        call(3)
    with pytest.raises(TypeError, match="membership=None is NoneType"):
        call(Path(), None)
