"""How the process of an answer begins: forked from a prepared parent on Linux, else started anew.

To start Python and to import torch takes longer than nearly every answer runs. The parent (``parent``) has done both,
and gives each answer a copy of itself, which confines itself like a process that was started anew. Other systems have
no safe fork (Windows has none, macOS none after libraries have started), so each answer starts Python there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path
from typing import IO, Protocol

import psutil

from greenlab.core.machine import ROOT
from greenlab.lab.classroom import confine

HERE = Path(__file__).parent
START_S = 240.0  # to start Python and import torch on a busy machine; the answer's own time begins after that
LONGEST_S = 1000.0  # beyond the longest time that an answer may be given
_END_S = 10.0  # for a killed process to be gone


class Started(Protocol):
    """A process that takes one answer."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def sink(self) -> IO[bytes]:
        """What it reads."""

    @property
    def source(self) -> IO[bytes]:
        """What it writes."""

    def kill(self) -> None:
        """End it, with all that it started; one that has ended already is no error."""

    def wait(self) -> int | None:
        """Its exit code once it has ended: minus the signal's number if one ended it, None if nobody knows."""


def _environment(folder: str) -> dict[str, str]:
    """Nothing of the teacher's environment but what Windows needs to start a program."""
    kept = {key: os.environ[key] for key in ("SYSTEMROOT", "SystemRoot", "WINDIR") if key in os.environ}
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
    places = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), folder)
    return kept | one | places


def _descendants(pid: int) -> list[psutil.Process]:
    """What a process has started; on Linux the filter of system calls leaves nothing to find."""
    if confine.can_filter():
        return []
    with contextlib.suppress(psutil.Error):
        return list(psutil.Process(pid).children(recursive=True))
    return []


class Fresh:
    """A process that was started for one answer."""

    def __init__(self, folder: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-B", str(HERE / "runner.py"), str(ROOT)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            cwd=folder, env=_environment(folder), start_new_session=os.name == "posix",
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.sink, self.source, self.pid = self.process.stdin, self.process.stdout, self.process.pid

    def kill(self) -> None:
        """End it, with all that it started."""
        if self.process.returncode is not None:
            return
        started = _descendants(self.pid)
        with contextlib.suppress(OSError):
            if os.name == "posix":  # the session that the process leads: what it started ends with it
                os.killpg(self.pid, signal.SIGKILL)
            else:
                self.process.kill()
        for process in started:
            with contextlib.suppress(psutil.Error):
                process.kill()

    def wait(self) -> int | None:
        """Its exit code once it has ended."""
        return self.process.wait()


class Forked:
    """A copy of the prepared parent. The parent holds the child until it has ended, so it also kills it."""

    def __init__(self, parent: Prepared, folder: str) -> None:
        self.parent = parent
        self.code: int | None = None
        self.ended = False
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        try:
            message = json.dumps({"folder": folder, "environment": _environment(folder)}).encode()
            socket.send_fds(parent.line, [message], [theirs_in, theirs_out])
            self.pid = parent.number()
        except BaseException:
            os.close(ours_in)
            os.close(ours_out)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self.sink, self.source = os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb")

    def kill(self) -> None:
        """Ask the parent to end it; the parent's own end would end it, too."""
        if not self.ended:
            with contextlib.suppress(OSError):
                self.parent.line.send(b"kill")

    def wait(self) -> int | None:
        """Its exit code once it has ended."""
        if not self.ended:
            with contextlib.suppress(OSError):
                self.code = self.parent.number()
            self.ended = True
        return self.code


class Prepared:
    """A process with Python and the libraries loaded, which forks one child for each answer, one at a time."""

    def __init__(self) -> None:
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(HERE / "parent.py"), str(ROOT), str(theirs.fileno())],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=_environment(os.devnull), pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        self.line.settimeout(START_S)
        try:
            self.number()
        except BaseException:
            self.close()
            raise
        self.line.settimeout(LONGEST_S)

    def number(self) -> int:
        """The next number that the parent says: 0 when it is ready, a child's id, or its exit code."""
        data = self.line.recv(4)
        if len(data) != 4:
            raise ConnectionError("the prepared parent has ended")
        return int(struct.unpack(">i", data)[0])

    def close(self) -> None:
        """End the parent, and a child that is left."""
        self.line.close()  # the parent ends by itself, after its child
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Starter:
    """Starts the processes of a class's answers, as a context; a parent is prepared when the first answer needs it."""

    def __init__(self) -> None:
        self.parent: Prepared | None = None
        self.allowed = confine.can_filter() and hasattr(os, "pidfd_open")

    def __enter__(self) -> Starter:
        return self

    def __exit__(self, *_: object) -> None:
        if self.parent is not None:
            self.parent.close()

    def start(self, folder: str, heavy: bool) -> Started:
        """Start the process of one answer in a folder.

        Args:
            folder: where it stands; it is empty.
            heavy: whether it needs a library that takes long to import.
        """
        try:
            if self.allowed and heavy and self.parent is None:
                self.parent = Prepared()
            if self.parent is not None:
                return Forked(self.parent, folder)
        except OSError:  # the parent has ended, or there is none: each answer starts anew from here on
            self.allowed = False
            if self.parent is not None:
                self.parent.close()
                self.parent = None
        return Fresh(folder)
