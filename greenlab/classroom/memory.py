"""What a process holds in memory for itself, and what it shares with others that map the same files.

Linux counts both in ``/proc/PID/smaps_rollup`` and ``/proc/PID/status`` (manual pages proc_pid_smaps(5) and
proc_pid_status(5)). A page of a file that was mapped and only read, such as weights, is kept once for the whole
machine, however many processes map it, and can be dropped and read again. A page that a process wrote is its own: it
has to be multiplied by the number of learners. ``Private_Clean`` does not tell the two apart: with one learner, the
weights are private and clean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from greenlab.core import checks

KIB = 1024
ROLLUP = ("Rss", "Private_Clean", "Private_Dirty")  # fields of smaps_rollup, in KiB
STATUS = ("RssAnon", "RssFile", "RssShmem")  # fields of status, in KiB


@dataclass(frozen=True)
class Memory:
    """Memory of a process at one moment [B].

    Args:
        own_b: not backed by a file (``RssAnon`` and ``RssShmem``): multiply it by the number of learners.
        file_b: pages of files, as of libraries and weights (``RssFile``): once for all who map the same files.
        private_b: what no other process maps at this moment, dirty or clean.
        dirty_b: the part of ``private_b`` that was written.
        resident_b: all pages in memory, shared ones counted in full (``Rss``).

    Raises:
        TypeError: if a number is no integer.
        ValueError: if it is below zero.
    """

    own_b: int
    file_b: int
    private_b: int
    dirty_b: int
    resident_b: int

    def __post_init__(self) -> None:
        """Refuse what no process can hold."""
        for name in self.__dataclass_fields__:
            checks.integer(name, getattr(self, name), low=0)


def parse(rollup: str, status: str) -> Memory:
    r"""Return the memory that the two files of ``/proc`` tell of.

    Args:
        rollup: the text of ``smaps_rollup``.
        status: the text of ``status``.

    Raises:
        TypeError: if an argument is no text.
        ValueError: if a field is missing or is no number of kB.

    >>> rollup = "Rss: 9 kB\nPrivate_Clean: 1 kB\nPrivate_Dirty: 2 kB\n"
    >>> parse(rollup, "RssAnon: 2 kB\nRssFile: 7 kB\nRssShmem: 0 kB\n").own_b
    2048
    """
    rolled, told = _fields("rollup", rollup, ROLLUP), _fields("status", status, STATUS)
    return Memory(
        own_b=told["RssAnon"] + told["RssShmem"],
        file_b=told["RssFile"],
        private_b=rolled["Private_Clean"] + rolled["Private_Dirty"],
        dirty_b=rolled["Private_Dirty"],
        resident_b=rolled["Rss"],
    )


def _fields(name: str, text: str, wanted: tuple[str, ...]) -> dict[str, int]:
    """The wanted fields in bytes."""
    found = {}
    for line in checks.text(name, text).splitlines():
        key, _, value = line.partition(":")
        if key in wanted:
            number, _, unit = value.strip().partition(" ")
            if not number.isdecimal() or unit.strip() != "kB":
                raise ValueError(f"{name} says {line.strip()!r}: expected a number of kB, as Linux writes it")
            found[key] = int(number) * KIB
    if missing := [key for key in wanted if key not in found]:
        raise ValueError(f"{name} lacks {missing[0]}: give the text of a file of /proc on Linux 4.14 or newer")
    return found


def memory_of(pid: int) -> Memory:
    """Return the memory of a process now. The system walks all its pages for this, which takes milliseconds.

    Raises:
        TypeError: if ``pid`` is no integer.
        ValueError: if it is below 1.
        OSError: if there is no such process (any more), another user owns it, or the system is not Linux.
    """
    return parse(_read(pid, "smaps_rollup"), _status(pid))


def own_of(pid: int) -> tuple[int, int]:
    """Return ``own_b`` and ``file_b`` of a process now [B], from counters that the system keeps anyway.

    Raises:
        TypeError: if ``pid`` is no integer.
        ValueError: if it is below 1.
        OSError: if there is no such process (any more), or the system is not Linux.
    """
    told = _fields("status", _status(pid), STATUS)
    return told["RssAnon"] + told["RssShmem"], told["RssFile"]


def _read(pid: int, file: str) -> str:
    return (Path("/proc") / str(checks.integer("pid", pid, low=1)) / file).read_text()


def _status(pid: int) -> str:
    status = _read(pid, "status")
    if "RssAnon" not in status:  # it has ended and nobody has asked for its exit code yet
        raise ProcessLookupError(f"the process {pid} has ended")
    return status
