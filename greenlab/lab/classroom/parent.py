"""The prepared parent: Python with the libraries loaded, which forks a child for each answer (Linux only).

Started by path, as ``python -I -B parent.py ROOT SOCKET``; it imports nothing of the lab. It takes a folder and the
two ends of a child's pipes from the socket, forks, and says the child's number and, once it has ended, its exit code.
"kill" ends the child. When the grader's end of the socket is closed, the child and the parent end.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import json
import os
import select
import signal
import socket
import struct
import sys
from pathlib import Path
from types import ModuleType
from typing import NoReturn


def _runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("_greenlab_runner", Path(__file__).with_name("runner.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _child(runner: ModuleType, root: str, message: bytes, ends: list[int]) -> NoReturn:
    """Become the process of one answer, as if it had been started anew; it never comes back."""
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: end with the parent
        given = json.loads(message)
        os.dup2(ends[0], 0)
        os.dup2(ends[1], 1)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.chdir(given["folder"])
        os.environ.clear()
        os.environ.update(given["environment"])
        runner.main(root)
    finally:
        os._exit(0)  # nothing of the parent's runs here: no exit handler, no buffer


def _end(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # a child that leads no session yet is killed alone
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _code(line: socket.socket, pid: int) -> tuple[int, bool]:
    """Wait for a child; its exit code, and whether the grader is still there."""
    watched = os.pidfd_open(pid)
    here = True
    while True:
        ready, _, _ = select.select([watched, *([line.fileno()] if here else [])], [], [])
        if watched in ready:
            break
        here = bool(line.recv(16))
        _end(pid)
    os.close(watched)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), here


def main(root: str, number: int) -> None:
    """Load the libraries, then fork a child for each message until the socket closes."""
    line, runner = socket.socket(fileno=number), _runner()
    sys.path.insert(0, root)
    for name in set(runner.PRESET.values()):
        importlib.import_module(name)
    line.send(struct.pack(">i", 0))
    here = True
    while here:
        message, ends, _, _ = socket.recv_fds(line, 65536, 2)
        if not message:
            return
        if len(ends) != 2:  # "kill" for a child that has ended
            continue
        pid = os.fork()
        if pid == 0:
            _child(runner, root, message, ends)
        for end in ends:
            os.close(end)
        line.send(struct.pack(">i", pid))
        code, here = _code(line, pid)
        if here:
            line.send(struct.pack(">i", code))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
