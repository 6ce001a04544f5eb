"""One file that holds what a reader did: predictions, receipts, ledger, answers and the machine's description.

The file is a zip of six JSON members. ``manifest.json`` names the format, its version and the SHA-256 of each other
member. The same content gives the same bytes. The hashes show that a file is whole; they do not show who wrote it.

A file from outside is data: it is read within limits, its members are never written to disk, nothing is unpickled, and
what does not fit is refused with the name of the field.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import platform
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import greenlab
from greenlab.core import checks, machine
from greenlab.lab import ledger, predictions, receipts, state
from greenlab.lab.classroom.answers import Answer, from_notebooks

FORMAT = "greenlab submission"
SCHEMA = 2  # version 1 had no context of an answer; it is read too
_ANSWER = {1: {"exercise", "name", "source"}, 2: {"exercise", "name", "source", "context"}}
SECTIONS = ("answers", "ledger", "machine", "predictions", "receipts")
MEMBERS = tuple(f"{name}.json" for name in (*SECTIONS, "manifest"))
LARGEST_FILE_B = 4_000_000
LARGEST_MEMBER_B = 2_000_000
LONGEST_NAME = 80
MOST_ENTRIES = 500
_DATE = (2020, 1, 1, 0, 0, 0)  # of every member: the time of packing would make two equal submissions differ
_SHA256 = re.compile("[0-9a-f]{64}")
_MACHINE = {"system": str, "processor": str, "python": str, "greenlab": str, "cores": int, "memory_b": int}
Entries = dict[str, dict[str, Any]]


class Refused(ValueError):
    """A file that is no whole submission; ``field`` says which part of it."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field, self.problem = field, problem


def _check_name(name: Any) -> str:
    checks.text("name", name)
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(f"name={name[:100]!r}: give 1 to {LONGEST_NAME} printable letters, such as 'Ada L.'")
    return name


def same_name(name: str) -> str:
    """A name as it is compared: two ways to type an accent, capitals and spaces make no other reader.

    Args:
        name: a reader's name.

    Raises:
        TypeError: if it is no text.

    >>> same_name("Ada  L.") == same_name("ada l.")
    True
    """
    return " ".join(unicodedata.normalize("NFKC", checks.text("name", name)).casefold().split())


def _check_section(name: str, entries: Any) -> None:
    if not isinstance(entries, Mapping):
        raise TypeError(f"{name}={entries!r:.80} is {type(entries).__name__}: give a dict of entries by key")
    if len(entries) > MOST_ENTRIES:
        raise ValueError(f"{name} has {len(entries)} entries: give at most {MOST_ENTRIES}")
    for key, entry in entries.items():
        try:
            state.check_key(key, "key")
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from None
        if not isinstance(entry, Mapping):
            raise TypeError(f"{name}.{key}={entry!r:.80} is {type(entry).__name__}: give a dict")


def _check_machine(value: Any) -> None:
    if not isinstance(value, Mapping):
        raise TypeError(f"machine={value!r:.80} is {type(value).__name__}: give what describe_machine() gives")
    if set(value) != set(_MACHINE):
        raise ValueError(f"machine has the keys {sorted(map(str, value))}: give {sorted(_MACHINE)}")
    for key, kind in _MACHINE.items():
        if kind is int:
            checks.integer(f"machine.{key}", value[key], low=1, high=2**60)
        elif len(checks.text(f"machine.{key}", value[key])) > 200 or not value[key].isprintable():
            raise ValueError(f"machine.{key}={value[key][:80]!r}: give at most 200 printable letters")


@dataclass(frozen=True)
class Submission:
    """What a reader hands in.

    Attributes:
        name: the reader's name or a pseudonym; it stands in the teacher's table.
        answers: one for each exercise cell of the notebooks.
        predictions: as the book keeps them, by id.
        ledger: as the book keeps it, by chapter and quantity.
        receipts: those that the chapters showed, by chapter and label.
        machine: what ``describe_machine`` gives.

    Raises:
        TypeError: if a part is of another kind.
        ValueError: if the name is empty or too long, an exercise is answered twice, or an entry cannot be kept.
    """

    name: str
    answers: tuple[Answer, ...] = ()
    predictions: Mapping[str, Any] = field(default_factory=dict)
    ledger: Mapping[str, Any] = field(default_factory=dict)
    receipts: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=lambda: describe_machine())

    def __post_init__(self) -> None:
        _check_name(self.name)
        given = checks.several("answers", self.answers)
        for answer in given:
            checks.instance("answers", answer, Answer)
        ids = [answer.exercise for answer in given]
        if twice := sorted({id for id in ids if ids.count(id) > 1}):
            raise ValueError(f"answers holds {twice[0]!r} more than once: give one answer to an exercise")
        if len(given) > MOST_ENTRIES:
            raise ValueError(f"answers has {len(given)} entries: give at most {MOST_ENTRIES}")
        for section in ("predictions", "ledger", "receipts"):
            _check_section(section, getattr(self, section))
        _check_machine(self.machine)


def describe_machine() -> dict[str, Any]:
    """The machine as a teacher needs it to compare energies; no host name, no user, no path."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": machine.cpu_name()[:200],
        "python": platform.python_version(),
        "greenlab": greenlab.__version__,
        "cores": machine.available_cores(),
        "memory_b": machine.memory_limit_bytes(),
    }


def collect(name: str, notebooks: Path | str | None = None) -> tuple[Submission, list[str]]:
    """Collect what this reader did: the state folder and the notebooks.

    Args:
        name: the reader's name or a pseudonym.
        notebooks: folder of the notebooks; by default the book's own.

    Returns:
        The submission, and a sentence for each notebook, cell, name or entry that was passed over.

    Raises:
        TypeError: if the name is no text, or the folder no path.
        ValueError: if the name is empty or too long, or the folder holds no notebook.
    """
    _check_name(name)
    try:
        answers, passed = from_notebooks(machine.ROOT / "notebooks" if notebooks is None else notebooks)
    except (TypeError, ValueError) as error:
        raise type(error)(f"notebooks: {error}") from None
    kept = {section: state.load(section) for section in (predictions.SECTION, ledger.SECTION, receipts.SECTION)}
    for section, entries in kept.items():
        for key in list(entries):
            try:
                state.check_key(key, "its name")
            except ValueError as error:  # a file that a reader put there
                passed.append(f"{section}/{key[:80]}.json is left out: {error}")
                del entries[key]
    return Submission(name, tuple(answers), **kept), passed


def _without_home(text: str) -> str:
    """A reader's own folder is nobody else's business; it may stand in a note or in a cell."""
    for path in (str(machine.ROOT), str(Path.home())):
        if len(path) > 3:
            text = text.replace(json.dumps(path)[1:-1], "~")
    return text


def to_bytes(submission: Submission) -> bytes:
    """The submission as a file's content; equal submissions give equal bytes.

    Args:
        submission: what a reader did.

    Raises:
        TypeError: if it is no submission.
        ValueError: if an entry is not plain JSON, or the file would be larger than the grader takes.
    """
    checks.instance("submission", submission, Submission)
    parts: dict[str, Any] = {
        section: getattr(submission, section) for section in ("predictions", "ledger", "receipts", "machine")
    }
    parts["answers"] = [asdict(answer) for answer in sorted(submission.answers, key=lambda answer: answer.exercise)]
    texts = {}
    for section in SECTIONS:
        try:
            text = json.dumps(parts[section], indent=1, sort_keys=True, allow_nan=False, default=_plain)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"submission: {section} is not plain JSON ({error}); delete the entry") from error
        texts[f"{section}.json"] = _without_home(text).encode()
    manifest = {
        "format": FORMAT, "schema": SCHEMA, "name": submission.name,
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in texts.items()},
    }  # fmt: skip
    texts["manifest.json"] = json.dumps(manifest, indent=1, sort_keys=True).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in sorted(texts):
            if len(texts[name]) > LARGEST_MEMBER_B:
                raise ValueError(f"submission: {name} has {len(texts[name])} bytes; at most {LARGEST_MEMBER_B}")
            info = zipfile.ZipInfo(name, _DATE)
            info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            file.writestr(info, texts[name])
    return stream.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def from_bytes(data: bytes) -> Submission:
    """Read and verify a submission.

    Args:
        data: the content of a file, from anyone.

    Raises:
        TypeError: if ``data`` is no bytes.
        Refused: if it is no whole submission of this version; the field that does not fit is named.
    """
    checks.instance("data", data, bytes)
    if len(data) > LARGEST_FILE_B:
        raise Refused("data", f"the file has {len(data)} bytes; at most {LARGEST_FILE_B} are read")
    texts = _members(data)
    manifest = _json("manifest.json", texts["manifest.json"])
    name, schema = _manifest(manifest, texts)
    parts = {section: _json(f"{section}.json", texts[f"{section}.json"]) for section in SECTIONS}
    try:
        return Submission(name, _answers(parts.pop("answers"), schema), **parts)
    except (TypeError, ValueError) as error:
        if isinstance(error, Refused):
            raise
        raise Refused("submission", str(error)[:300]) from None


def _members(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            infos = file.infolist()
            names = [info.filename for info in infos]
            for name in names:
                if name not in MEMBERS:
                    raise Refused("members", f"{name[:80]!r} does not belong here; known are {', '.join(MEMBERS)}")
                if names.count(name) > 1:
                    raise Refused("members", f"{name} is there {names.count(name)} times")
            if missing := [name for name in MEMBERS if name not in names]:
                raise Refused("members", f"{missing[0]} is missing")
            return {info.filename: _member(file, info) for info in infos}
    except Refused:
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise Refused("data", f"it is no whole zip file ({str(error)[:120]})") from None
    except Exception as error:  # zipfile raises struct.error and others on made-up headers
        raise Refused("data", f"it is no whole zip file ({type(error).__name__})") from None


def _member(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    mode = info.external_attr >> 16
    if info.create_system == 3 and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise Refused(info.filename, "it is a link or a folder; a plain file is asked")
    if info.flag_bits & 1:
        raise Refused(info.filename, "it is encrypted; pack it again without a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused(info.filename, f"it is packed by method {info.compress_type}; deflate is asked")
    if info.file_size > LARGEST_MEMBER_B:
        raise Refused(info.filename, f"it unpacks to {info.file_size} bytes; at most {LARGEST_MEMBER_B} are read")
    with file.open(info) as stream:  # the header may lie about the size, so one byte more is asked for
        data = stream.read(LARGEST_MEMBER_B + 1)
    if len(data) > LARGEST_MEMBER_B:
        raise Refused(info.filename, f"it unpacks to more than {LARGEST_MEMBER_B} bytes")
    return data


def _json(name: str, data: bytes) -> Any:
    def no_constant(text: str) -> NoReturn:
        raise ValueError(f"{text} is no JSON number")

    def finite(text: str) -> float:
        if not math.isfinite(value := float(text)):
            raise ValueError(f"{text[:40]} is beyond the largest number")
        return value

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(name, f"it is not UTF-8 (byte {error.start})") from None
    try:
        return json.loads(text, parse_constant=no_constant, parse_float=finite, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise Refused(name, f"it is no JSON ({str(error)[:120]})") from None


def _manifest(manifest: Any, texts: dict[str, bytes]) -> tuple[str, int]:
    if not isinstance(manifest, dict):
        raise Refused("manifest.json", f"it holds {type(manifest).__name__}, not an object")
    if manifest.get("format") != FORMAT:
        raise Refused("format", f"{manifest.get('format')!r:.80} is no {FORMAT!r}")
    schema = manifest.get("schema")
    if type(schema) is not int or schema < 1:
        raise Refused("schema", f"{schema!r:.40} is no version; {SCHEMA} is known")
    if schema > SCHEMA:
        raise Refused(
            "schema", f"version {schema!r:.40} is newer than this book's {SCHEMA}; grade it with a newer greenlab"
        )
    try:
        name = _check_name(manifest.get("name"))
    except (TypeError, ValueError) as error:
        raise Refused("name", str(error)[:200]) from None
    sums = manifest.get("sha256")
    if not isinstance(sums, dict) or set(sums) != set(MEMBERS) - {"manifest.json"}:
        raise Refused("sha256", "it does not hold one hash for each member")
    for member, value in sums.items():
        if not isinstance(value, str) or not _SHA256.fullmatch(value):
            raise Refused(f"sha256.{member}", "it is no SHA-256 in hexadecimal")
        if hashlib.sha256(texts[member]).hexdigest() != value:
            raise Refused(f"sha256.{member}", "the hash differs: the file was changed after it was packed")
    return name, schema


def _answers(value: Any, schema: int) -> tuple[Answer, ...]:
    if not isinstance(value, list) or len(value) > MOST_ENTRIES:
        raise Refused("answers", f"give a list of at most {MOST_ENTRIES}")
    found = []
    for position, entry in enumerate(value):
        if not isinstance(entry, dict) or set(entry) != _ANSWER[schema]:
            raise Refused(f"answers[{position}]", f"it does not hold {', '.join(sorted(_ANSWER[schema]))}")
        try:
            found.append(Answer(**entry))
        except (TypeError, ValueError) as error:
            raise Refused(f"answers[{position}]", str(error)[:200]) from None
    return tuple(found)


def read(path: Path | str) -> Submission:
    """Read and verify a submission's file.

    Args:
        path: the file; a link is refused, as it could name any file of the teacher's.

    Raises:
        TypeError: if it is no path.
        FileNotFoundError: if it is not there.
        Refused: if it is no whole submission of this version; the field that does not fit is named.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path={path!r:.80} is {type(path).__name__}: give the path of a submission")
    if "\0" in str(path) or not str(path):
        raise ValueError(f"path={str(path)!r:.80}: give the path of a submission")
    path = Path(path)
    if path.is_symlink():
        raise Refused("path", f"{path.name} is a link; a plain file is asked")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if not path.is_file():
        raise Refused("path", f"{path.name} is no plain file")
    with path.open("rb") as stream:
        return from_bytes(stream.read(LARGEST_FILE_B + 1))
