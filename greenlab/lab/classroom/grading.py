"""Check every answer of a class, each in a process of its own, whatever the answers do.

The check runs here, and the answer's function runs there: each call of it goes through a pipe as plain values
(``wire``), to a process that has confined itself (``confine``). The right answers and the verdict never leave this
process, so an answer can print, patch and raise what it likes. The limits on time and memory are kept by this process
too, which works on every system.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd
import psutil

from greenlab.core import chapters, checks
from greenlab.core.machine import ROOT
from greenlab.lab import exercises
from greenlab.lab.classroom import confine, runner, submission, wire
from greenlab.lab.classroom.answers import Answer, from_notebooks
from greenlab.lab.exercises import Exercise

OUTCOMES = ("correct", "wrong", "not tried", "time limit", "memory limit", "refused")
COLUMNS = ["file", "learner", "exercise", "outcome", "detail"]
START_S = 240.0  # to start Python and import torch on a busy machine; the answer's own time begins after that
LONGEST_DETAIL = 300
_POLL_S = 0.05
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


def _environment(folder: str) -> dict[str, str]:
    """Nothing of the teacher's environment but what Windows needs to start a program."""
    kept = {key: os.environ[key] for key in ("SYSTEMROOT", "SystemRoot", "WINDIR") if key in os.environ}
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
    places = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), folder)
    return kept | one | places


class Process:
    """One answer's process, as a context: it has ended, with all that it started, when the context is left."""

    def __init__(self, answer: Answer, limits: Limits, tensors: bool = False) -> None:
        self.answer, self.limits, self.tensors = answer, limits, tensors
        self.why: tuple[str, str] | None = None  # what stopped it
        self.functions: list[Callable[..., Any]] = []
        self.layers: tuple[str, ...] = ()

    def __enter__(self) -> Process:
        self.folder = tempfile.TemporaryDirectory(prefix="greenlab-answer-", ignore_cleanup_errors=True)
        command = [sys.executable, "-I", "-B", str(Path(runner.__file__)), str(ROOT)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            cwd=self.folder.name, env=_environment(self.folder.name), start_new_session=os.name == "posix",
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.sink, self.source = self.process.stdin, self.process.stdout
        self.frames: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=4)
        self.closed = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        self.watch = threading.Thread(target=self._watch, daemon=True)
        self.deadline, self.most_b = time.monotonic() + START_S, 2**60
        self.watch.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.closed.set()
        self._kill()
        self.process.wait()
        self.watch.join()
        for stream in (self.sink, self.source):
            with contextlib.suppress(OSError, ValueError):
                stream.close()
        self.folder.cleanup()

    def _kill(self) -> None:
        with contextlib.suppress(OSError):
            if os.name == "posix":  # the session that the process leads: what it started ends with it
                os.killpg(self.process.pid, signal.SIGKILL)
            else:
                self.process.kill()

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
            used = 0
            with contextlib.suppress(psutil.Error):
                used = psutil.Process(self.process.pid).memory_info().rss
            if time.monotonic() > self.deadline:
                self.why = "time limit", f"stopped after {self.limits.time_s:g} s"
            elif used > self.most_b:
                self.why = "memory limit", f"stopped at {self.limits.memory_b / 1e6:.0f} MB"
            if self.why:
                self._kill()
                return

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """Send a message and wait for the reply; calls of this side's functions are served in between."""
        while True:
            try:
                wire.send(self.sink, message)
            except (OSError, ValueError) as error:
                if isinstance(error, wire.WireError):
                    raise
                self._ended()
            frame = self.frames.get()
            if frame is _END:
                self._ended()
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

    def _ended(self) -> None:
        self.process.wait()
        if self.why is None and os.name == "posix" and self.process.returncode in (-24, -9):  # SIGXCPU, SIGKILL
            self.why = "time limit", f"stopped after {self.limits.time_s:g} s of CPU time"
        raise Stopped(*(self.why or ("wrong", "the answer ended its process")))

    def start(self) -> Any:
        """Run the source; give back the value or the function that stands for it, Ellipsis if it was not tried."""
        first = self.ask(
            {
                "source": self.answer.source,
                "name": self.answer.name,
                "names": _names(self.answer, self.tensors),
                "cpu_s": int(self.limits.time_s) + 1,
                "memory_b": self.limits.memory_b,
            }
        )
        # the first message comes before the answer's first line; all that follow may be made up by it
        self.layers = tuple(first.get("ready", ()))
        with contextlib.suppress(psutil.Error):
            self.most_b = psutil.Process(self.process.pid).memory_info().rss + self.limits.memory_b
        self.deadline = time.monotonic() + self.limits.time_s
        return self._answer(self._next())

    def _next(self) -> dict[str, Any]:
        frame = self.frames.get()
        if frame is _END:
            self._ended()
        return frame

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
    words = set(re.findall(r"\w+", answer.source))
    return [name for name in runner.PRESET if name in words or (name == "torch" and tensors)]


def _takes_tensors(task: Exercise) -> bool:
    """Whether a check may call the answer with tensors; without drawn arguments nobody knows before."""
    if not callable(task.reference):
        return False
    first = next(iter(task.draws()), None)
    return first is None or any(type(argument).__name__ == "Tensor" for argument in first)


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


def verdict(task: Exercise, answer: Answer, limits: Limits | None = None) -> tuple[str, str]:
    """Check one answer in a process of its own.

    Args:
        task: the exercise.
        answer: what a reader wrote for it.
        limits: what it may use; ``Limits()`` by default.

    Returns:
        One of ``OUTCOMES``, and the hint or the reason.

    Raises:
        TypeError: if an argument is of another kind.
    """
    checks.instance("task", task, Exercise)
    checks.instance("answer", answer, Answer)
    limits = checks.instance("limits", Limits() if limits is None else limits, Limits)
    try:
        with Process(answer, limits, _takes_tensors(task)) as process:
            given = process.start()
            with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                hint = task.verdict(given)
    except Stopped as stopped:
        return stopped.outcome, _line(stopped.detail)
    except NotImplementedError:
        return "not tried", ""
    except Exception as error:  # a made-up value that a check cannot take
        return "wrong", _line(f"it could not be checked: {type(error).__name__}: {error}")
    return ("correct", "") if not hint else ("wrong", _line(hint))


def _line(text: str) -> str:
    """One printable line: what an answer says must not move the cursor of a terminal or break a table."""
    shown = "".join(letter if letter.isprintable() else " " for letter in str(text)[:LONGEST_DETAIL])
    return " ".join(shown.split())


def register_exercises() -> Mapping[str, Exercise]:
    """Every exercise of the book, with the chapters' files imported that register them."""
    for chapter in chapters.CHAPTERS:
        if importlib.util.find_spec(f"greenlab.{chapter.name}") is not None:
            importlib.import_module(f"greenlab.{chapter.name}.view")
    return exercises.solutions()


def grade(
    given: submission.Submission,
    tasks: Mapping[str, Exercise],
    stubs: Mapping[str, Answer] | None = None,
    limits: Limits | None = None,
) -> pd.DataFrame:
    """Check all answers of one submission.

    Args:
        given: what a reader handed in.
        tasks: the exercises by id; each gives a row, also without an answer.
        stubs: the cells of the book before anyone writes in them, by id; an answer with the same code was not tried.
        limits: what one answer may use; ``Limits()`` by default.

    Returns:
        One row per exercise, with the columns learner, exercise, outcome and detail.

    Raises:
        TypeError: if an argument is of another kind.
    """
    checks.instance("given", given, submission.Submission)
    if tasks is None:
        raise TypeError("tasks=None is NoneType: give the exercises by id")
    _by_id("tasks", tasks)
    _by_id("stubs", stubs)
    limits = checks.instance("limits", Limits() if limits is None else limits, Limits)
    answers = {answer.exercise: answer for answer in given.answers}
    rows = []
    for id, task in tasks.items():
        answer, stub = answers.pop(id, None), (stubs or {}).get(id)
        if answer is None or (stub is not None and answer.text == stub.text):
            outcome, detail = "not tried", ""
        else:
            outcome, detail = verdict(task, answer, limits)
        rows.append({"learner": given.name, "exercise": id, "outcome": outcome, "detail": detail})
    for id in answers:
        rows.append(
            {
                "learner": given.name,
                "exercise": id,
                "outcome": "refused",
                "detail": "exercise: the book has none of this name",
            }
        )
    return pd.DataFrame(rows, columns=COLUMNS[1:])


def _by_id(name: str, value: Any) -> None:
    """Refuse what is no dict of exercises or of answers; None passes."""
    kind: type[Exercise] | type[Answer] = Exercise if name == "tasks" else Answer
    if value is not None and not isinstance(value, Mapping):
        raise TypeError(f"{name}={value!r:.80} is {type(value).__name__}: give a dict of {kind.__name__} by id")
    for id, one in (value or {}).items():
        checks.text(f"{name}: the id", id)
        checks.instance(name, one, kind)


def _files(folder: Path | str) -> list[Path]:
    if not isinstance(folder, (str, os.PathLike)):
        raise TypeError(f"folder={folder!r:.80} is {type(folder).__name__}: give the folder of the submissions")
    try:
        found = [path for path in sorted(Path(folder).iterdir()) if path.suffix == ".zip"] if str(folder) else []
    except (OSError, ValueError):
        found = []
    if not found:
        raise ValueError(
            f"folder={str(folder)!r:.200} holds no submission; give a folder with the .zip files of a class"
        )
    return found


def read_folder(folder: Path | str) -> Iterator[tuple[str, submission.Submission | submission.Refused]]:
    """Read every submission of a folder; a file that cannot be read never stops the others.

    Args:
        folder: where the ``.zip`` files are; other files are passed over.

    Yields:
        The file's name, and the submission or the reason why it is refused.

    Raises:
        TypeError: if the folder is no path.
        ValueError: if there is no such folder, or it holds no ``.zip`` file.
    """
    for path in _files(folder):
        try:
            yield path.name, submission.read(path)
        except submission.Refused as refused:
            yield path.name, refused
        except OSError as error:
            yield path.name, submission.Refused("path", f"it cannot be read ({error.strerror})")
        except Exception as error:  # whatever a made-up file can do to a reader of files
            yield path.name, submission.Refused("data", f"it cannot be read ({type(error).__name__})")


def grade_folder(
    folder: Path | str,
    limits: Limits | None = None,
    *,
    tasks: Mapping[str, Exercise] | None = None,
    stubs: Mapping[str, Answer] | None = None,
    say: Callable[[str], Any] | None = None,
) -> pd.DataFrame:
    """Check all answers of a class.

    Args:
        folder: where the ``.zip`` files are.
        limits: what one answer may use; ``Limits()`` by default.
        tasks: the exercises by id; all of the book by default, which takes seconds to import.
        stubs: the cells before anyone writes in them, by id; those of the book's notebooks by default.
        say: is called with a line for each file, as it is done.

    Returns:
        One row per file and exercise, with the columns file, learner, exercise, outcome (one of ``OUTCOMES``) and
        detail. A refused file has one row, whose detail names the field.

    Raises:
        TypeError: if an argument is of another kind.
        ValueError: if there is no such folder, or it holds no ``.zip`` file.
    """
    _files(folder)
    limits = checks.instance("limits", Limits() if limits is None else limits, Limits)
    if say is not None:
        checks.function("say", say)
    for name, value in (("tasks", tasks), ("stubs", stubs)):
        _by_id(name, value)
    if tasks is None:
        tasks = register_exercises()
    if stubs is None:
        stubs = {answer.exercise: answer for answer in from_notebooks(ROOT / "notebooks")[0]}
    tables = []
    for file, given in read_folder(folder):
        if isinstance(given, submission.Refused):
            row = {"learner": "", "exercise": "", "outcome": "refused", "detail": _line(str(given))}
            done = pd.DataFrame([row])
        else:
            done = grade(given, tasks, stubs, limits)
        tables.append(done.assign(file=_line(file)))
        if say is not None:
            counts = done["outcome"].value_counts()
            say(f"{_line(file)}: " + ", ".join(f"{counts[one]} {one}" for one in OUTCOMES if one in counts))
    return pd.concat(tables, ignore_index=True)[COLUMNS]


def safe_cells(table: pd.DataFrame) -> pd.DataFrame:
    """The table for a spreadsheet: a text that it would take for a formula begins with an apostrophe.

    Args:
        table: any table.

    Raises:
        TypeError: if it is no table.

    >>> safe_cells(pd.DataFrame({"learner": ["Ada", "=1+1"]}))["learner"].tolist()
    ['Ada', "'=1+1"]
    """
    checks.instance("table", table, pd.DataFrame)

    def safe(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value

    return table.map(safe)


def containment() -> list[str]:
    """What holds an answer on this machine, as sentences; a process is started to see it."""
    with Process(Answer("none", "x", "x = 1"), Limits()) as process:
        process.start()
    lines = [confine.WORDS[layer] for layer in process.layers if layer in confine.WORDS]
    lines.append("time and memory are watched from outside")
    if "filter" not in process.layers:
        lines.append(
            "no filter of system calls here: compiled code that an answer brings along could write files or use the "
            "network; grade files of strangers on Linux, or in a container"
        )
    return lines
