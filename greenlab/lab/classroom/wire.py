"""Values as JSON, to pass between the grader and the process that holds an answer.

No pickle: unpickling what an answer wrote would run its code in the grader. Only numbers, text, lists, tuples, dicts,
NumPy arrays and torch tensors travel; anything else is named by its type and not passed. The runner loads this file by
its path, so it imports nothing of greenlab, and NumPy and torch only when a value needs them.
"""

from __future__ import annotations

import base64
import json
import math
import struct
import sys
from collections.abc import Callable
from typing import IO, Any

LARGEST_FRAME_B = 8_000_000
DEEPEST = 12  # levels of lists in lists
LARGEST_INT_BITS = 4096
ARRAY_TYPES = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool",
)  # fmt: skip


class WireError(ValueError):
    """A frame that is no value: too large, too deep, or of no known form."""


class NotPassed:
    """Stands for a value that cannot travel; ``kind`` is the name of its type."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


def encode(value: Any, handle: Callable[[Any], int] | None = None, depth: int = 0) -> Any:
    """A value as plain JSON.

    Args:
        value: what to pass.
        handle: gives a number for a function; the other side calls the function by it. Without, functions do not pass.
        depth: how many lists it stands in.
    """
    if depth > DEEPEST:
        return {"other": "list nested too deeply"}
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return {"int": hex(value)} if value.bit_length() <= LARGEST_INT_BITS else {"other": "int that is too large"}
    if kind is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if kind in (list, tuple):
        return {kind.__name__: [encode(part, handle, depth + 1) for part in value]}
    if kind is dict:
        return {"dict": [[encode(k, handle, depth + 1), encode(v, handle, depth + 1)] for k, v in value.items()]}
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if torch is not None and isinstance(value, torch.Tensor):
        return _encode_tensor(value)
    if numpy is not None and isinstance(value, (numpy.ndarray, numpy.generic)):
        return _encode_array(value, "scalar" if isinstance(value, numpy.generic) else "array")
    if isinstance(value, tuple):  # a named tuple, as torch's topk gives
        return {"tuple": [encode(part, handle, depth + 1) for part in value]}
    if handle is not None and callable(value):
        return {"function": handle(value)}
    return {"other": kind.__name__}


def _encode_tensor(value: Any) -> Any:
    value = value.detach().cpu().contiguous()
    name = str(value.dtype).removeprefix("torch.")
    if name not in ARRAY_TYPES:
        return {"other": f"tensor of {name}"}
    return _encode_array(value.numpy(), "tensor")


def _encode_array(value: Any, kind: str) -> Any:
    name = value.dtype.name
    if name not in ARRAY_TYPES:
        return {"other": f"array of {name}"}
    if value.nbytes > LARGEST_FRAME_B // 2:
        return {"other": f"array of {value.nbytes} bytes, which is too large"}
    return {kind: [name, list(value.shape), base64.b64encode(value.tobytes()).decode("ascii")]}


def decode(data: Any, call: Callable[[int], Any] | None = None, depth: int = 0) -> Any:
    """The value that ``encode`` wrote.

    Args:
        data: plain JSON.
        call: makes a function of the number that stands for it.
        depth: how many lists it stands in.

    Raises:
        WireError: if it is of no known form.
    """
    if data is None or isinstance(data, (bool, str, float)):
        return data
    if depth > DEEPEST + 1 or not isinstance(data, dict) or len(data) != 1:
        raise WireError("a value of no known form")
    ((kind, body),) = data.items()
    try:
        if kind == "int":
            number = int(body, 16)
            if number.bit_length() > LARGEST_INT_BITS:
                raise WireError("an int that is too large")
            return number
        if kind == "float" and body in ("nan", "inf", "-inf"):
            return float(body)
        if kind in ("list", "tuple"):
            parts = [decode(part, call, depth + 1) for part in body]
            return parts if kind == "list" else tuple(parts)
        if kind == "dict":
            return {decode(k, call, depth + 1): decode(v, call, depth + 1) for k, v in body}
        if kind in ("array", "scalar", "tensor"):
            return _decode_array(kind, *body)
        if kind == "function" and call is not None:
            return call(int(body))
        if kind == "other" and isinstance(body, str):
            return NotPassed(body[:80])
    except (TypeError, ValueError, KeyError) as error:
        raise WireError(f"a {kind} of no known form") from error
    raise WireError("a value of no known form")


def _decode_array(kind: str, name: str, shape: list[int], text: str) -> Any:
    import numpy as np

    if name not in ARRAY_TYPES or len(shape) > 16 or not all(type(size) is int and size >= 0 for size in shape):
        raise WireError("an array of no known form")
    array = np.frombuffer(base64.b64decode(text, validate=True), dtype=name).reshape(shape).copy()
    if kind == "scalar":
        return array[()]
    if kind == "array":
        return array
    import torch

    return torch.from_numpy(array)


def send(stream: IO[bytes], message: dict[str, Any]) -> None:
    """Write one frame: its length in four bytes, then JSON.

    Raises:
        WireError: if it is larger than ``LARGEST_FRAME_B``.
    """
    data = json.dumps(message, allow_nan=False).encode("utf-8", "backslashreplace")
    if len(data) > LARGEST_FRAME_B:
        raise WireError(f"a frame of {len(data)} bytes; at most {LARGEST_FRAME_B}")
    stream.write(struct.pack(">I", len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> dict[str, Any] | None:
    """Read one frame; None at the end of the stream.

    Raises:
        WireError: if it is too large, cut short, or no JSON object.
    """
    head = stream.read(4)
    if not head:
        return None
    size = struct.unpack(">I", head)[0] if len(head) == 4 else 0
    if not 0 < size <= LARGEST_FRAME_B:
        raise WireError(f"a frame of {size} bytes; at most {LARGEST_FRAME_B}")
    data = stream.read(size)
    try:
        message = json.loads(data.decode("utf-8")) if len(data) == size else None
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise WireError("a frame that is no JSON object")
    return message
