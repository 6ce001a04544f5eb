"""The grader's end of an answer's process: values go there and come back, and its limits are kept from here.

The answer's function runs there, in a process that has confined itself (``confine``); each call of it goes through a
pipe as plain values (``wire``). The limits on time and memory are watched by this process too, on every system.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn

import psutil

from greenlab.core import checks
from greenlab.lab.classroom import launch, runner, wire
from greenlab.lab.classroom.answers import Answer

LONGEST_DETAIL = 300
_HEAVY = {"np", "pd", "torch", "device"}  # of runner.PRESET: to import one takes longer than an answer runs
_POLL_S = 0.05
_GRACE_S = 2.0  # for a pipe to close after its process has ended
_END: dict[str, Any] = {"end": True}


@dataclass(frozen=True)
class Limits:
    """What one answer may use.

    Attributes:
        time_s: for all calls of a check together [s].
        memory_b: on top of Python and the libraries [bytes].

    Raises:
        TypeError: if one is no number.
        ValueError: if one is out of range.
    """

    time_s: float = 10.0
    memory_b: int = 1_000_000_000

    def __post_init__(self) -> None:
        checks.number("time_s", self.time_s, above=0, high=600, remedy="a check takes less than a second")
        checks.integer("memory_b", self.memory_b, low=50_000_000, high=2**45, remedy="1_000_000_000 is 1 GB")


class Stopped(BaseException):
    """An answer was stopped. No Exception, as a check takes those for the answer's own errors."""

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(detail)
        self.outcome, self.detail = outcome, detail


class Process:
    """One answer's process, as a context: it has ended, with all that it started, when the context is left."""

    def __init__(
        self, answer: Answer, limits: Limits, tensors: bool = False, starter: launch.Starter | None = None
    ) -> None:
        self.answer, self.limits, self.tensors, self.starter = answer, limits, tensors, starter
        self.why: tuple[str, str] | None = None  # what stopped it
        self.functions: list[Callable[..., Any]] = []
        self.layers: tuple[str, ...] = ()

    def __enter__(self) -> Process:
        self.folder = tempfile.TemporaryDirectory(prefix="greenlab-answer-", ignore_cleanup_errors=True)
        self.names = _names(self.answer, self.tensors)
        heavy = bool(_HEAVY & set(self.names))
        self.started = self.starter.start(self.folder.name, heavy) if self.starter else launch.Fresh(self.folder.name)
        self.sink, self.source = self.started.sink, self.started.source
        self.frames: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=4)
        self.closed = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.deadline, self.most_b = time.monotonic() + launch.START_S, 2**60
        self.watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.closed.set()
        self.started.kill()
        self.started.wait()
        self.watch.join()
        self.reader.join(_GRACE_S)
        streams = (
            [self.sink] if self.reader.is_alive() else [self.sink, self.source]
        )  # to close what is read would block
        for stream in streams:
            with contextlib.suppress(OSError, ValueError):
                stream.close()
        self.folder.cleanup()

    def _read(self) -> None:
        try:
            while (frame := wire.receive(self.source)) is not None and not self.closed.is_set():
                self._put(frame)
        except (wire.WireError, OSError, ValueError) as error:
            self._put({"error": "ValueError", "text": f"the answer's process wrote {error}"})
        self._put(_END)

    def _put(self, frame: dict[str, Any]) -> None:
        while not self.closed.is_set():
            with contextlib.suppress(queue.Full):
                self.frames.put(frame, timeout=_POLL_S)
                return

    def _watch(self) -> None:
        """Stop the process at its limits. This also frees a write to a process that does not read."""
        while not self.closed.wait(_POLL_S):
            used = self._memory_b()
            if time.monotonic() > self.deadline:
                self.why = "time limit", f"stopped after {self.limits.time_s:g} s"
            elif used > self.most_b:
                self.why = "memory limit", f"stopped at {self.limits.memory_b / 1e6:.0f} MB"
            if self.why:
                self.started.kill()
                return

    def _memory_b(self) -> int:
        """Memory of its own [bytes]: what it shares with the prepared parent, and the libraries' files, are not."""
        with contextlib.suppress(psutil.Error):
            info = psutil.Process(self.started.pid).memory_info()
            return int(info.rss - getattr(info, "shared", 0))
        return 0

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message and wait for the reply; calls of this side's functions are served in between."""
        while True:
            try:
                wire.send(self.sink, message)
            except (OSError, ValueError) as error:
                if isinstance(error, wire.WireError):
                    raise
                self._ended()
            frame = self._next()
            if "call" not in frame:
                return frame
            message = self._serve(frame)

    def _serve(self, frame: dict[str, Any]) -> dict[str, Any]:
        try:
            number = frame["call"]
            if type(number) is not int or not 0 <= number < len(self.functions):
                raise ValueError("no such function")
            arguments = [wire.decode(argument) for argument in frame["arguments"]]
            return {"value": wire.encode(self.functions[number](*arguments))}
        except Exception as error:
            return {"error": type(error).__name__, "text": str(error)[:LONGEST_DETAIL]}

    def _ended(self) -> NoReturn:
        self.started.kill()  # it may have closed its pipe and go on
        code = self.started.wait()
        if self.why is None and os.name == "posix" and code == -signal.SIGXCPU:
            self.why = "time limit", f"stopped after {self.limits.time_s:g} s of CPU time"
        raise Stopped(*(self.why or ("wrong", "the answer ended its process")))

    def start(self) -> Any:
        """Run the source; give back the value or the function that stands for it, Ellipsis if it was not tried."""
        first = self.ask(
            {
                "context": self.answer.context,
                "source": self.answer.source,
                "name": self.answer.name,
                "names": self.names,
                "cpu_s": int(self.limits.time_s) + 1,
                "memory_b": self.limits.memory_b,
            }
        )
        # the first message comes before the answer's first line; all that follow may be made up by it
        self.layers = tuple(first.get("ready", ()))
        self.most_b = self._memory_b() + self.limits.memory_b
        self.deadline = time.monotonic() + self.limits.time_s
        return self._answer(self._next())

    def _next(self) -> dict[str, Any]:
        """The next frame. Where a program that the answer started holds the pipe open, the end is not waited for."""
        late = math.inf
        while True:
            with contextlib.suppress(queue.Empty):
                frame = self.frames.get(timeout=_GRACE_S / 4)
                if frame is _END:
                    self._ended()
                return frame
            if time.monotonic() > late:
                self._ended()
            if self.why is not None:
                late = min(late, time.monotonic() + _GRACE_S)

    def _answer(self, frame: dict[str, Any]) -> Any:
        if "error" in frame:
            error = _error(frame)
            raise Stopped("wrong", f"your answer raised {type(error).__name__}: {error}")
        kind = frame.get("kind")
        if kind == "untried":
            return ...
        return self.call if kind == "function" else _received(frame.get("value"))

    def call(self, *arguments: Any) -> Any:
        """Call the answer's function with copies of the arguments; an error of it is raised here with its own name."""
        self.functions = []
        sent = [wire.encode(argument, self._handle) for argument in arguments]
        frame = self.ask({"arguments": sent})
        if "error" in frame:
            raise _error(frame)
        return _received(frame.get("value"))

    def _handle(self, function: Callable[..., Any]) -> int:
        self.functions.append(function)
        return len(self.functions) - 1


def _names(answer: Answer, tensors: bool) -> list[str]:
    """The libraries to import before the process confines itself, by the names that the source uses."""
    words = set(re.findall(r"\w+", f"{answer.source} {answer.context}"))
    return [name for name in runner.PRESET if name in words or (name == "torch" and tensors)]


def _error(frame: Mapping[str, Any]) -> Exception:
    kind, text = frame.get("error"), frame.get("text")
    if kind == "MemoryError":
        raise Stopped("memory limit", "it asked for more memory than an answer may use")
    name = kind if isinstance(kind, str) and kind.isidentifier() and len(kind) < 60 else "Exception"
    if name == "NotImplementedError":
        return NotImplementedError()
    error: Exception = type(name, (Exception,), {})(str(text)[:LONGEST_DETAIL])
    return error


def _received(data: Any) -> Any:
    try:
        value = wire.decode(data)
    except wire.WireError as error:
        raise ValueError(f"it gave {error}") from None
    # a value that did not travel is named by its type, which is what a check says about it
    return type(value.kind, (), {})() if isinstance(value, wire.NotPassed) else value
