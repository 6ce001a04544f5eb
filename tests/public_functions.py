"""What is public, a call of it that works, and values that an argument of each type cannot mean.

``tests/test_public_functions.py`` says the rule. Nothing here is imported from a chapter's view or study.
"""

from __future__ import annotations

import contextlib
import dataclasses
import doctest
import importlib
import inspect
import io
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch

WITH_LIST = (  # packages that list what is public in __all__
    "footprint",
    "hardware",
    "ternary",
    "layer_pruning",
    "mixture_of_depths",
    "mixture_of_experts",
    "distillation",
    "core.facts",
    "core.energy",
    "core.assets",
    "core.grid",
    "lab",
    "load_shifting",
    "retrieval",
    "accelerator",
    "green_service",
    "lab.charts",
    "workshop",
    "tab",
    "lab.classroom",
    "classroom",
)
WITHOUT_LIST = (  # modules whose names without an underscore are public
    "core.grid.traces",
    "core.machine",
    "core.model.cost",
    "core.model.decoder",
    "core.model.gpt",
    "core.model.random_state",
    "core.model.scoring",
    "core.model.training",
    "core.provenance",
    "core.speed",
    "core.studies",
    "lab.exercises",
    "lab.ledger",
    "lab.predictions",
    "lab.receipts",
    "lab.state",
)
TIME_LIMIT_S = 20.0


@dataclasses.dataclass(frozen=True)
class Public:
    """One public function, class or method."""

    name: str  # as in "core.energy.Receipt.scaled"
    module: str
    owner: type | None  # of a method
    function: Any  # the function, the class, or the method as the class holds it
    is_class: bool = False

    @property
    def signature(self) -> inspect.Signature:
        target = self.function.__init__ if self.is_class else self.function
        if isinstance(target, (classmethod, staticmethod)):
            target = target.__func__
        return inspect.signature(target)

    @property
    def parameters(self) -> list[inspect.Parameter]:
        found = list(self.signature.parameters.values())
        return found[1:] if self.is_class or self.owner else found

    @property
    def doc(self) -> str:
        target = self.function.__func__ if isinstance(self.function, (classmethod, staticmethod)) else self.function
        return inspect.getdoc(target) or ""


def _members(name: str, module: str, cls: type) -> Iterator[Public]:
    if "__init__" in vars(cls):
        yield Public(name, module, None, cls, is_class=True)
    for key, value in vars(cls).items():
        plain = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if not key.startswith("_") and inspect.isfunction(plain):
            yield Public(f"{name}.{key}", module, cls, value)


def _of_module(name: str, listed: bool) -> Iterator[Public]:
    module = importlib.import_module(f"greenlab.{name}")
    names = module.__all__ if listed else [key for key in vars(module) if not key.startswith("_")]
    for key in names:
        value = getattr(module, key)
        if inspect.ismodule(value):
            if listed:
                yield from _of_module(value.__name__.removeprefix("greenlab."), hasattr(value, "__all__"))
            continue
        here = listed or getattr(value, "__module__", None) == module.__name__
        if not here or not callable(value) or getattr(value, "_is_protocol", False):
            continue
        if inspect.isclass(value):
            if not issubclass(value, BaseException):
                yield from _members(f"{name}.{key}", value.__module__, value)
        else:
            yield Public(f"{name}.{key}", value.__module__, None, value)


def public(with_list: tuple[str, ...] = WITH_LIST, without_list: tuple[str, ...] = WITHOUT_LIST) -> dict[str, Public]:
    """Every public function, class and method that takes an argument, once, under the first name it has."""
    found: dict[int, Public] = {}
    for names, listed in ((with_list, True), (without_list, False)):
        for name in names:
            for one in _of_module(name, listed):
                plain = one.function.__func__ if isinstance(one.function, (classmethod, staticmethod)) else one.function
                if one.parameters:
                    found.setdefault(id(plain), one)
    return {one.name: one for one in found.values()}


class _Recorder:
    """Calls what it stands for and keeps the arguments of the first call that came to an end."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function, self.call = function, None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        result = self.function(*args, **kwargs)
        if self.call is None:
            self.call = args, kwargs
        return result


def from_doctest(one: Public) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """The arguments of the first call in the doctest, a method's object as the first; None if there is none."""
    owner = one.function if one.is_class else one.owner
    doc = one.doc if not one.is_class or ">>>" in one.doc else inspect.getdoc(one.function.__init__) or ""
    if ">>>" not in doc:
        return None
    names = dict(vars(importlib.import_module(one.module)))
    key = "__init__" if one.is_class else one.name.rpartition(".")[2]
    bound = isinstance(one.function, classmethod)
    old = vars(owner)[key] if owner else one.function
    plain = old.__func__ if isinstance(old, (classmethod, staticmethod)) else old
    recorder = _Recorder(plain)

    def spy(*args: Any, **kwargs: Any) -> Any:
        return recorder(*args, **kwargs)

    if owner:
        setattr(owner, key, classmethod(spy) if bound else spy)
    else:
        names[key] = spy
    try:
        for example in doctest.DocTestParser().get_examples(doc):
            with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
                exec(compile(example.source, "<doctest>", "single"), names)
    finally:
        if owner:
            setattr(owner, key, old)
    if recorder.call is None:
        return None
    args, kwargs = recorder.call
    return (args[1:] if one.is_class or bound else args), kwargs


NAN, INF = float("nan"), float("inf")
NUMBER = {
    "nan": NAN, "inf": INF, "minus inf": -INF, "negative": -7.0, "huge": 1e300, "bool": True, "quoted": "3",
    "text in a list": ["x"], "none": None, "complex": 1j, "object": object(),
}  # fmt: skip
VALUES: dict[str, dict[str, Any]] = {
    "int": {
        "nan": NAN, "inf": INF, "minus inf": -INF, "negative": -7, "huge": 10**30, "bool": True, "quoted": "3",
        "half": 2.5, "text in a list": ["x"], "list": [1], "none": None, "complex": 1j, "object": object(),
    },
    "float": NUMBER | {"list": [1.0]},
    "array": NUMBER | {
        "array of nan": np.array([1.0, NAN]), "array of inf": np.array([1.0, INF]), "empty": np.array([]),
        "array of text": np.array(["1", "2"]), "array of bool": np.array([True, False]),
        "array of none": [None, 1.0], "ragged": [[1.0], [1.0, 2.0]],
    },
    "str": {
        "negative": -7, "nan": NAN, "bool": True, "empty": "", "unknown": "qqq", "bytes": b"x", "none": None,
        "list": ["x"], "object": object(),
    },
    "name": {"negative": -7, "nan": NAN, "bool": True, "empty": "", "bytes": b"x", "none": None, "list": ["x"],
             "object": object(), "path": "../x", "long": "x" * 5000},
    "new": {"negative": -7, "nan": NAN, "bool": True, "empty": "", "bytes": b"x", "none": None, "object": object()},
    "text": {"negative": -7, "nan": NAN, "bool": True, "bytes": b"x", "none": None, "list": ["x"], "object": object()},
    "bool": {"unknown": "no", "quoted": "3", "half": 2.5, "none": None, "nan": NAN, "list": [], "negative": -7},
    "tensor": {
        "nan": NAN, "negative": -7.0, "quoted": "3", "none": None, "list": [1.0], "object": object(), "bool": True,
        "array": np.ones((1, 2)), "tensor of nan": torch.full((2, 2), NAN), "tensor of inf": torch.full((2, 2), INF),
        "empty": torch.ones(0), "cube": torch.ones(2, 3, 5, 7), "scalar": torch.tensor(1.0),
        "tensor of bool": torch.ones(2, 2, dtype=torch.bool), "tensor of complex": torch.ones(2, 2) * 1j,
        "tensor of negative": -torch.ones(2, 2, dtype=torch.long),
    },
    "path": {"negative": -7, "nan": NAN, "bool": True, "none": None, "list": ["x"], "empty": "", "object": object(),
             "unknown": "no-such-folder/file", "nul": "a\0b"},
    "frame": {"none": None, "list": [1], "negative": -7, "quoted": "3", "empty": pd.DataFrame(),
              "columns": pd.DataFrame({"nothing": [1.0]}), "array": np.ones((2, 2)), "series": pd.Series([1.0])},
    "series": {"none": None, "list": [1], "negative": -7, "quoted": "3", "empty": pd.Series(dtype=float)},
    "several": {"none": None, "negative": -7, "nan": NAN, "bool": True, "object": object(), "objects": [object()],
                "nones": [None]},
    "mapping": {"none": None, "negative": -7, "quoted": "3", "list": [1], "object": object(), "bool": True,
                "wrong keys": {3: None}},
    "thing": {"none": None, "quoted": "x", "unknown": "qqq", "negative": 3, "object": object(), "list": []},
    "free": {},
}  # fmt: skip
TYPES = {  # what an annotation is called above; anything else is a thing: a class, a function, a model
    "int": "int", "float": "float", "str": "str", "bool": "bool", "Tensor": "tensor", "torch.Tensor": "tensor",
    "Amount": "array", "ArrayLike": "array", "Number": "array", "np.ndarray": "array", "Path": "path",
    "pd.DataFrame": "frame", "pd.Series": "series",
}  # fmt: skip
SEVERAL = ("Iterable", "Sequence", "tuple", "list")


def kind_of(annotation: str) -> str:
    """The row of VALUES for one part of an annotation."""
    head = annotation.partition("[")[0].strip()
    if annotation.startswith(("Mapping", "dict")):
        return "mapping"
    if head == "NDArray":
        return "array"
    return TYPES.get(annotation.strip(), "several" if head in SEVERAL else "free" if head == "None" else "thing")


def parts_of(annotation: str) -> list[str]:
    """``"str | tuple[int | None, ...] | None"`` in three parts."""
    parts, depth = [""], 0
    for letter in annotation:
        depth += (letter in "[(") - (letter in "])")
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def all_finite(result: Any) -> bool:
    """Whether there is no NaN and no infinity among the numbers of a result."""
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return all(all_finite(getattr(result, field.name)) for field in dataclasses.fields(result))
    if isinstance(result, torch.Tensor):
        return bool(torch.isfinite(result).all())
    if isinstance(result, (list, tuple)):
        return all(map(all_finite, result))
    if isinstance(result, (pd.DataFrame, pd.Series)):
        result = result.select_dtypes("number") if isinstance(result, pd.DataFrame) else result
    if isinstance(result, (float, np.ndarray, np.floating, pd.DataFrame, pd.Series)):
        values = np.asarray(result)
        return values.dtype.kind not in "fc" or bool(np.isfinite(values).all())
    return True


def bad_values(annotation: Any, kind: str | None = None) -> dict[str, Any]:
    """Values that no part of the annotation can mean, by a short name."""
    parts = parts_of(annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "object"))
    kinds = [kind] if kind else [kind_of(part) for part in parts if part != "None"]
    if set(kinds) == {"str", "path"}:
        kinds = ["path"]
    if "Any" in parts and kind is None:
        return {}
    sets = [VALUES[one] for one in kinds]
    shared = {key: value for key, value in sets[0].items() if all(key in other for other in sets[1:])}
    if "None" in parts:
        shared.pop("none", None)
    return shared


@contextlib.contextmanager
def time_limit(seconds: float = TIME_LIMIT_S) -> Iterator[None]:
    """Raise TimeoutError in a call that does not come back."""

    if not hasattr(signal, "SIGALRM"):  # Windows has no such timer
        yield
        return

    def stop(*_: Any) -> None:
        raise TimeoutError(f"no answer within {seconds:g} s")

    old = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def use(result: Any) -> Any:
    """Take the first item of an iterator, enter and leave a context: both check their arguments only then."""
    if isinstance(result, contextlib._GeneratorContextManager):
        with result:
            return result
    if inspect.isgenerator(result):
        next(result)
    return result


def call(one: Public, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call it; the first of ``args`` is the object where it is a method."""
    with time_limit(), contextlib.redirect_stdout(io.StringIO()):
        if isinstance(one.function, classmethod):
            return use(one.function.__func__(one.owner, *args, **kwargs))
        if isinstance(one.function, staticmethod):
            return use(one.function.__func__(*args, **kwargs))
        return use(one.function(*args, **kwargs))


def with_value(one: Public, args: tuple[Any, ...], kwargs: dict[str, Any], name: str, value: Any) -> Any:
    """The call with one argument replaced."""
    parameters = one.parameters
    method = one.owner is not None and not isinstance(one.function, (classmethod, staticmethod))
    first, rest = (args[:1], list(args[1:])) if method else ((), list(args))
    new = dict(kwargs)
    kind = next((parameter.kind for parameter in parameters if parameter.name == name), None)
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if kind is inspect.Parameter.VAR_POSITIONAL:
        if len(rest) < len(positional):  # those named by keyword have to come before
            rest += [new.pop(key) for key in positional[len(rest) :] if key in new]
        rest = [*rest[: len(positional)], value]
    elif name in positional and positional.index(name) < len(rest):
        rest[positional.index(name)] = value
    else:
        new[name] = value
    return call(one, (*first, *rest), new)


def outcome(
    one: Public, args: tuple[Any, ...], kwargs: dict[str, Any], name: str, value: Any, names: tuple[str, ...]
) -> str:
    """Empty if an error holds one of ``names``, or a huge number gave finite ones; else what happened."""
    try:
        result = with_value(one, args, kwargs, name, value)
    except (ValueError, TypeError) as error:
        named = any(re.search(rf"(?<![A-Za-z0-9_]){one_name}(?![A-Za-z0-9_])", str(error)) for one_name in names)
        return "" if named else f"{type(error).__name__} that does not name it: {str(error)[:160]}"
    except FileNotFoundError as error:
        return "" if str(value) in str(error) else f"FileNotFoundError that does not name the path: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:160]}"
    if isinstance(value, (int, float)) and 1e29 < value < INF:
        return "" if all_finite(result) else "a huge number gave an infinity or NaN"
    return "accepted"
