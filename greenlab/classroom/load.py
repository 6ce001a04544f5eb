"""Start kernels side by side, let them run the first half of chapter 6, and look at the memory of each.

Real: each learner has a kernel process of their own, and on request a JupyterLab server, as under JupyterHub. All start
at the same moment, which is worse than a class, where people read in between. What is not here: the browser, which runs
on the learner's machine, and JupyterHub's own process, which is there once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.manager import KernelManager

from greenlab.classroom.memory import memory_of, own_of
from greenlab.core import checks
from greenlab.core.machine import ROOT

NOTEBOOK = ROOT / "notebooks" / "06_layer_pruning.ipynb"
LAST = "= layer_pruning.drop_layers("  # the first real cut; the cell that shows the code of a function has none
START_S = 120.0  # a kernel or server that does not answer in this time does not work


@dataclass(frozen=True)
class Learner:
    """The peak of each kind of memory of one learner's processes over all samples [B].

    Args:
        kernel: by the names of the fields of `Memory`.
        server: the same of the JupyterLab server; empty where none was started.
        time_s: from the first cell to the last.
    """

    kernel: dict[str, int]
    server: dict[str, int]
    time_s: float


def code_cells(notebook: Path = NOTEBOOK, last: str = LAST) -> list[str]:
    """Return the code cells of a notebook, up to and with the first that holds ``last``.

    Raises:
        TypeError: if ``notebook`` is no path, or ``last`` no text.
        ValueError: if the notebook is not there, ``last`` is empty, or no cell holds it.
    """
    if not isinstance(notebook, (str, os.PathLike)):
        raise TypeError(f"notebook={notebook!r} is {type(notebook).__name__}: give the path of a notebook")
    if not checks.text("last", last).strip():
        raise ValueError(f"last={last!r}: every cell holds that; give words of a cell, such as {LAST!r}")
    if not Path(notebook).is_file():
        raise ValueError(f"notebook={str(notebook)!r}: there is no such file; give a notebook of the book")
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    for number, source in enumerate(cells):
        if last in source:
            return cells[: number + 1]
    raise ValueError(f"last={last!r}: no code cell of {Path(notebook).name} holds it; give words of a cell")


def run_class(
    n_kernels: int,
    cells: Sequence[str],
    *,
    threads: int = 1,
    samples_per_s: float = 10.0,
    servers: bool = False,
    timeout_s: float = 600.0,
) -> dict[str, Any]:
    """Let learners run the same cells at once, each in a kernel of their own, and return the peaks of their memory.

    Args:
        n_kernels: how many learners.
        cells: the code, cell by cell.
        threads: that each kernel computes with (``OMP_NUM_THREADS``).
        samples_per_s: how often each process is looked at, at most; slower where the machine is busy. What is private
            to a process is asked at every fourth look, since that takes longer.
        servers: start a JupyterLab server for each learner as well.
        timeout_s: for one cell.

    Returns:
        ``learners``, a list of `Learner`; ``together_b``, the most that all processes held at one moment, the pages of
        files counted once, in the process that had most of them [B]; ``samples``, how often they were looked at;
        ``time_s``, from the first cell to the last; ``slowest_gap_s``, the longest time between two looks.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if a number is out of range, or there are no cells.
        RuntimeError: if a cell fails, a kernel dies or does not start, or the system is not Linux.
    """
    n_kernels = checks.integer("n_kernels", n_kernels, low=1, high=200)
    texts = [checks.text("cells", cell) for cell in checks.several("cells", cells, remedy="a list of cells")]
    if not texts:
        raise ValueError("cells is empty: give at least one cell, such as code_cells()")
    threads = checks.integer("threads", threads, low=1, high=1024)
    samples_per_s = checks.number("samples_per_s", samples_per_s, low=0.1, high=100)
    timeout_s = checks.number("timeout_s", timeout_s, above=0, high=86400)
    checks.flag("servers", servers)
    if not Path("/proc/self/smaps_rollup").exists():
        raise RuntimeError("memory of a process is told apart in /proc/PID/smaps_rollup, which Linux alone has")
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="greenlab-class-")))
        running = [stack.enter_context(_kernel(scratch / str(n), threads)) for n in range(n_kernels)]
        beside = [stack.enter_context(_server(scratch / str(n))) for n in range(n_kernels)] if servers else []
        return _watched(running, beside, texts, samples_per_s, timeout_s)


def _environment(folder: Path, threads: int = 1) -> dict[str, str]:
    """What a hub would set for a learner: folders of their own, one copy of the assets, few threads."""
    folder.mkdir(parents=True, exist_ok=True)
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    own = {"GREENLAB_STATE": "state", "IPYTHONDIR": "ipython", "JUPYTER_RUNTIME_DIR": "runtime"}
    own |= {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data"}
    folders = {name: str(folder / place) for name, place in own.items()}
    return {**os.environ, **folders, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads)}


@contextlib.contextmanager
def _kernel(folder: Path, threads: int) -> Iterator[tuple[int, Any]]:
    """A kernel with this Python: its process and its client."""
    manager = KernelManager(kernel_name="python3", connection_file=str(folder / "kernel.json"))
    manager.start_kernel(env=_environment(folder, threads), cwd=str(ROOT / "notebooks"))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=START_S)
        yield int(manager.provisioner.pid), client  # type: ignore[union-attr]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def _server(folder: Path) -> Iterator[int]:
    """A JupyterLab server that has shown its page and read chapter 6 once: its process."""
    port, token = _free_port(), "class"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={ROOT}"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=_environment(folder), **quiet)  # type: ignore[call-overload]
    try:
        _get(process, port, token, "api/status")
        for page in ("lab", "lab/api/settings", "api/kernelspecs", f"api/contents/notebooks/{NOTEBOOK.name}"):
            _get(process, port, token, page)
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _get(process: subprocess.Popen, port: int, token: str, page: str) -> None:
    """Ask the server for a page until it answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{page}", headers={"Authorization": f"token {token}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy would be asked for 127.0.0.1
    end = time.monotonic() + START_S
    while True:
        try:
            with opener.open(request, timeout=30) as answer:
                answer.read()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the JupyterLab server does not answer {page!r}: {error}") from error
            time.sleep(0.2)


def _run(client: Any, cells: Sequence[str], timeout_s: float, stop: threading.Event) -> float:
    """Run the cells in one kernel; how long they took [s]. It ends when ``stop`` is set, within a second."""
    begun = time.monotonic()
    for number, cell in enumerate(cells, 1):
        content = _reply(client, client.execute(cell, allow_stdin=False), number, timeout_s, stop)
        if content["status"] != "ok":
            said = f"{content.get('ename')}: {content.get('evalue')}"
            raise RuntimeError(f"cell {number} failed ({said}): {cell.strip().splitlines()[0]}")
    return time.monotonic() - begun


def _reply(client: Any, message: str, number: int, timeout_s: float, stop: threading.Event) -> dict[str, Any]:
    """Wait for the reply to a cell. A kernel that was killed sends none, so the wait is in short pieces."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if stop.is_set():
            raise RuntimeError(f"stopped in cell {number}")
        with contextlib.suppress(queue.Empty):
            reply = client.get_shell_msg(timeout=0.5)
            if reply["parent_header"].get("msg_id") == message:
                return reply["content"]
    raise RuntimeError(f"cell {number} took more than {timeout_s:g} s: give more, or fewer kernels")


def _watched(
    running: list[tuple[int, Any]], servers: list[int], cells: list[str], samples_per_s: float, timeout_s: float
) -> dict[str, Any]:
    """Run the cells in all kernels at once and look at every process until the last has finished."""
    kernel_peaks: list[dict[str, int]] = [{} for _ in running]
    server_peaks: list[dict[str, int]] = [{} for _ in running]
    parts = [(pid, peaks) for (pid, _), peaks in zip(running, kernel_peaks, strict=True)]
    parts += list(zip(servers, server_peaks, strict=False))
    together_b, looks, stop = 0, [time.monotonic()], threading.Event()
    with ThreadPoolExecutor(len(running)) as pool:
        begun = due = time.monotonic()
        futures = [pool.submit(_run, client, cells, timeout_s, stop) for _, client in running]
        try:
            while True:
                done = all(future.done() for future in futures)  # one more look after the last has finished
                together_b = max(together_b, _look(parts, whole=done or len(looks) % 4 == 1))
                looks.append(time.monotonic())
                if done or any(future.done() and future.exception() for future in futures):
                    break
                due = max(due + 1 / samples_per_s, looks[-1])  # on a busy machine it is late, and makes up for nothing
                time.sleep(max(0.0, due - time.monotonic()))
            for future in futures:
                if future.done():
                    future.result()  # raises what failed first; the others are stopped
        finally:
            stop.set()
        times = [future.result() for future in futures]
    learners = [Learner(*parts) for parts in zip(kernel_peaks, server_peaks, times, strict=True)]
    gaps = [after - before for before, after in itertools.pairwise(looks)]
    return {
        "learners": learners,
        "together_b": together_b,
        "samples": len(looks) - 1,
        "time_s": looks[-1] - begun,
        "slowest_gap_s": max(gaps),
    }


def _look(parts: list[tuple[int, dict[str, int]]], *, whole: bool) -> int:
    """Look at every process once: keep the peaks, and return what all hold together."""
    own, shared = 0, 0
    for pid, peaks in parts:
        try:
            own_b, file_b = own_of(pid)
            now = {"own_b": own_b, "file_b": file_b} | (dataclasses.asdict(memory_of(pid)) if whole else {})
        except OSError as error:
            raise RuntimeError(
                f"the process {pid} of a learner ended early ({error.strerror or error}): the system may have stopped "
                "it for want of memory; start fewer kernels"
            ) from error
        own, shared = own + own_b, max(shared, file_b)
        for name, value in now.items():
            peaks[name] = max(peaks.get(name, 0), value)
    return own + shared
