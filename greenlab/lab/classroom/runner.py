"""The process of one answer: run its source, then call it for the grader, with values that come and go through a pipe.

No verdict is made here: the checks and the right answers are in the grader's process. All that an answer can forge is
what it returns. Started by path, as ``python -I -B runner.py ROOT``; it imports nothing of the lab.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.util
import os
import sys
import warnings
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

PRESET = {  # what the chapters' set-up cells import, under the names that they use
    "math": "math", "random": "random", "itertools": "itertools", "np": "numpy", "pd": "pandas", "torch": "torch",
    "device": "greenlab.hardware.device",
}  # fmt: skip
LONGEST_MESSAGE = 300


def _neighbour(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_greenlab_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _failure(error: BaseException) -> dict[str, Any]:
    try:
        text = str(error)[:LONGEST_MESSAGE]
    except Exception:
        text = ""
    out_of_memory = isinstance(error, MemoryError) or "can't allocate memory" in text
    return {"error": "MemoryError" if out_of_memory else type(error).__name__, "text": text}


class Link:
    """The runner's end of the pipe."""

    def __init__(self, wire: ModuleType, source: Any, sink: Any) -> None:
        self.wire, self.source, self.sink = wire, source, sink

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; one that is too large becomes an error."""
        try:
            self.wire.send(self.sink, message)
        except self.wire.WireError as error:
            self.wire.send(self.sink, {"error": "ValueError", "text": str(error)})

    def receive(self) -> dict[str, Any]:
        """The next message; the process ends when the grader has closed its end."""
        message = self.wire.receive(self.source)
        if message is None:
            os._exit(0)
        return message

    def function(self, number: int) -> Any:
        """A function of the grader's, called by its number."""

        def call(*arguments: Any) -> Any:
            self.send({"call": number, "arguments": [self.wire.encode(argument) for argument in arguments]})
            reply = self.receive()
            if "error" in reply:
                raise RuntimeError(reply["text"])
            return self.wire.decode(reply["value"])

        return call


def _serve(link: Link, answer: Any) -> None:
    while True:
        request = link.receive()
        try:
            arguments = [link.wire.decode(argument, link.function) for argument in request["arguments"]]
            reply = {"value": link.wire.encode(answer(*arguments))}
        except BaseException as error:  # also SystemExit: the grader hears what the answer raised
            reply = _failure(error)
        link.send(reply)


def main(root: str) -> None:
    """Take one answer from standard input, confine this process, run it, and serve calls until the pipe closes."""
    wire, confine = _neighbour("wire"), _neighbour("confine")
    # the pipe moves away from the standard streams, where a print of the answer would disturb it
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    link = Link(wire, source, sink)
    task = link.receive()
    if root not in sys.path:
        sys.path.insert(0, root)
    importlib.import_module("greenlab")  # it is found in a folder that an answer cannot list
    warnings.simplefilter("ignore")
    space: dict[str, Any] = {"__name__": "answer", "__builtins__": builtins}
    for name in task["names"]:
        module = importlib.import_module(PRESET[name])
        space[name] = getattr(module, name, module)  # a function of the chapter that has its module's name
    link.send({"ready": confine.confine(task["cpu_s"], task["memory_b"], root)})
    try:
        for part in ("context", "source"):
            exec(compile(task[part], part, "exec", dont_inherit=True), space)
        answer = space[task["name"]]
        if answer is None or answer is Ellipsis:
            link.send({"kind": "untried"})
            return
        is_function = isinstance(answer, FunctionType) or (callable(answer) and not isinstance(answer, type))
        reply = {"kind": "function"} if is_function else {"kind": "value", "value": wire.encode(answer)}
    except BaseException as error:
        link.send(_failure(error))
        return
    link.send(reply)
    if is_function:
        _serve(link, answer)


if __name__ == "__main__":
    main(sys.argv[1])
