"""What the reader did, kept between sessions: predictions and the ledger.

Each entry is one small JSON file, ``<folder>/<section>/<key>.json``, replaced in one step. Two chapters open at once
can therefore never lose each other's entries, and a reader can look at the files, or delete them. The folder is
``$GREENLAB_STATE``, or ``.greenlab`` in the repository.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from greenlab.core import checks
from greenlab.core.machine import ROOT

Entry = dict[str, Any]
_KEY = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_LONGEST_KEY = 100  # a file name may have 255 bytes, and the temporary name is longer than the key
_WRITER = re.compile(r"\.(\d+)-[^.]*\.tmp$")  # the process that wrote a temporary file, from its name
_unsaved: dict[tuple[str, str], Entry] = {}  # entries of this kernel that no file could take


def folder() -> Path:
    """The folder that holds the entries: ``$GREENLAB_STATE``, or ``.greenlab`` in the repository."""
    return Path(os.environ.get("GREENLAB_STATE") or ROOT / ".greenlab")


def check_key(key: str, name: str = "id") -> str:
    """The key, if it can be a file name everywhere.

    Args:
        key: what names an entry or a section, such as "layer-pruning".
        name: what the caller calls it; the error says so.

    Raises:
        TypeError: if the key is no text.
        ValueError: if it holds anything but small letters, digits, dots, - and _, or has more than 100 characters.
    """
    if not isinstance(key, str):
        raise TypeError(f"{name} is {key!r}, which is {type(key).__name__}; give text, as in 'layer-pruning'")
    if not _KEY.fullmatch(key) or len(key) > _LONGEST_KEY:
        raise ValueError(
            f"{name} is {key[:120]!r}; use small letters, digits, dots, - and _ only, "
            f"at most {_LONGEST_KEY} of them, as in 'layer-pruning'"
        )
    return key


def path_of(section: str, key: str) -> Path:
    """The file of an entry, whether it exists or not.

    Raises:
        TypeError: if the section or the key is no text.
        ValueError: if one of them cannot be a file name.
    """
    return folder() / check_key(section, "section") / f"{check_key(key, 'key')}.json"


def keep(section: str, key: str, entry: Entry) -> str:
    """Keep an entry, replacing the one with the same key, and say whether a file took it.

    Where nothing can be written (a read-only checkout, a full disk), the entry lives until the kernel stops.

    Args:
        section: the kind of entry, such as "predictions".
        key: names the entry within the section.
        entry: what to keep: finite numbers, text, lists and dicts with text as keys.

    Returns:
        Empty if the entry was written, else the reason why not, as a sentence.

    Raises:
        TypeError: if the key is no text, or the entry no dict.
        ValueError: if the key cannot be a file name, or the entry is not plain JSON.
    """
    path = path_of(section, key)
    if not isinstance(entry, dict):
        raise TypeError(f"entry is {entry!r}, which is {type(entry).__name__}; give a dict of plain JSON values")
    try:
        text = json.dumps(entry, indent=1, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"entry {key!r} is not plain JSON ({error}); give finite numbers, strings and lists"
        ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path.parent)
        _write(path, text)
    except OSError as error:
        _unsaved[section, key] = json.loads(text)
        return (
            f"{path.parent} cannot be written ({error.strerror}). "
            "Set GREENLAB_STATE to a folder of yours to keep entries"
        )
    _unsaved.pop((section, key), None)
    return ""


def _write(path: Path, text: str) -> None:
    # The text goes to a file of its own, which is then renamed: no reader and no second kernel sees half an entry.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.{os.getpid()}-", suffix=".tmp")
    try:
        with open(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(name, path)
    except BaseException:  # also an interrupt: the temporary file must not stay
        Path(name).unlink(missing_ok=True)
        raise


def _remove_leftovers(directory: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote."""
    for path in directory.glob(".*.tmp"):
        writer = _WRITER.search(path.name)
        if writer and (int(writer[1]) == os.getpid() or _is_running(int(writer[1]))):
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError:  # a folder of that name, or a read-only disk: nothing depends on it
            continue


def _is_running(process: int) -> bool:
    if os.name == "nt":
        return True  # on Windows, signal 0 would stop the process; its temporary files are left alone
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def save(section: str, key: str, entry: Entry) -> None:
    """Keep an entry as ``keep`` does, and warn where no file could take it.

    Args:
        section: the kind of entry, such as "ledger".
        key: names the entry within the section.
        entry: what to keep: finite numbers, text, lists and dicts with text as keys.

    Raises:
        TypeError: if the key is no text, or the entry no dict.
        ValueError: if the key cannot be a file name, or the entry is not plain JSON.
    """
    if problem := keep(section, key, entry):
        warnings.warn(f"{key!r} is kept for this session only: {problem}", stacklevel=2)


def load(section: str, problem_of: Callable[[str, Entry], str] | None = None) -> dict[str, Entry]:
    """All entries of a section by key, sorted.

    A file that is no JSON object is renamed aside with a warning. An entry that ``problem_of`` refuses stays where it
    is and is left out with a warning, since another version of the book may have written it. Folders are passed over.

    Args:
        section: the kind of entry, such as "predictions".
        problem_of: takes a key and its entry; gives back what is wrong with the entry, or "".

    Raises:
        TypeError: if the section is no text, or ``problem_of`` cannot be called.
        ValueError: if the section cannot be a folder's name.
    """
    directory = folder() / check_key(section, "section")
    if problem_of is not None:
        checks.function("problem_of", problem_of)
    if directory.is_dir():
        _remove_leftovers(directory)
    entries: dict[str, Entry] = {}
    for path in sorted(directory.glob("[!.]*.json")):
        if not path.is_file():
            continue
        try:
            entry = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
            if not isinstance(entry, dict):
                raise ValueError(f"holds {type(entry).__name__}, not an object")
        except FileNotFoundError:  # another kernel removed it since the folder was listed
            continue
        except OSError as error:
            warnings.warn(f"{section}/{path.name} cannot be read ({error.strerror}) and is left out", stacklevel=2)
        except RecursionError:  # it is JSON, and other programs may read it
            warnings.warn(f"{section}/{path.name} is nested too deeply to be read and is left out", stacklevel=2)
        except ValueError as error:  # also JSONDecodeError and UnicodeDecodeError
            _set_aside(path, error)
        else:
            entries[path.stem] = entry
    entries |= {key: entry for (where, key), entry in _unsaved.items() if where == section}
    return {key: entry for key, entry in sorted(entries.items()) if _fits(section, key, entry, problem_of)}


def _fits(section: str, key: str, entry: Entry, problem_of: Callable[[str, Entry], str] | None) -> bool:
    problem = problem_of(key, entry) if problem_of else ""
    if problem:
        warnings.warn(
            f"{section}/{key}.json is left out: {problem}. It may be of another version of the book; "
            "delete it, or run its chapter again",
            stacklevel=3,
        )
    return not problem


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def set_aside(section: str, key: str) -> None:
    """Rename the file of an entry to ``<key>.json.damaged-<number>``, so that a new entry does not overwrite it.

    A file that is not there, or cannot be renamed, is no error.

    Raises:
        TypeError: if the section or the key is no text.
        ValueError: if one of them cannot be a file name.
    """
    path = path_of(section, key)
    try:
        path.rename(_free_name(path))
    except OSError:
        return


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


def _set_aside(path: Path, error: Exception) -> None:
    aside = _free_name(path)
    try:
        path.rename(aside)
    except OSError as refused:
        outcome = f"is left out; renaming it failed ({refused.strerror})"
    else:
        outcome = f"is kept as {aside.name} and left out; mend it and rename it back, or delete it"
    warnings.warn(f"{path.parent.name}/{path.name} is damaged ({error}). It {outcome}", stacklevel=3)


def forget(section: str, key: str) -> None:
    """Remove an entry; an entry that is not there, or cannot be removed, is no error.

    Raises:
        TypeError: if the section or the key is no text.
        ValueError: if one of them cannot be a file name.
    """
    path = path_of(section, key)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(f"{path} cannot be removed ({error.strerror}); remove it by hand", stacklevel=2)
    _unsaved.pop((section, key), None)
