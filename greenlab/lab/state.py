"""What the reader did, kept between sessions: predictions and the ledger.

Each entry is one small JSON file, ``<folder>/<section>/<key>.json``, replaced in one step. Two chapters open at once can
therefore never lose each other's entries, and a reader can look at the files, or delete them. The folder is
``$GREENLAB_STATE``, or ``.greenlab`` in the repository.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

from greenlab.core.machine import ROOT

_KEY = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_unsaved: dict[tuple[str, str], dict[str, Any]] = {}  # entries of this kernel that no file could take


def folder() -> Path:
    """Where the entries stand."""
    return Path(os.environ.get("GREENLAB_STATE") or ROOT / ".greenlab")


def check_key(key: str) -> str:
    """The key, if it can be a file name everywhere; else ValueError."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"id is {key!r}; use small letters, digits, dots, - and _ only, as in 'layer-pruning'")
    return key


def _path(section: str, key: str) -> Path:
    return folder() / section / f"{check_key(key)}.json"


def save(section: str, key: str, entry: dict[str, Any]) -> None:
    """Keep an entry, replacing the one with the same key.

    Where nothing can be written (a read-only checkout, a full disk) the entry lives until the kernel stops, and a warning
    says so.

    Raises:
        ValueError: if the key cannot be a file name, or the entry is not plain JSON.
    """
    path = _path(section, key)
    try:
        text = json.dumps(entry, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"entry {key!r} is not plain JSON ({error}); give finite numbers, strings and lists"
        ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # a file of its own, then one rename: a reader, or a second kernel, never sees half an entry
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{key}.", suffix=".tmp")
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(name, path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        _unsaved[section, key] = json.loads(text)
        warnings.warn(
            f"{key!r} is kept for this session only: {path.parent} cannot be written ({error.strerror}). "
            "Set GREENLAB_STATE to a folder of yours to keep it",
            stacklevel=2,
        )
    else:
        _unsaved.pop((section, key), None)


def load(section: str) -> dict[str, dict[str, Any]]:
    """All entries of a section by key, sorted. A file that cannot be read is renamed aside with a warning."""
    entries = {}
    for path in sorted((folder() / section).glob("[!.]*.json")):
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(entry, dict):
                raise ValueError(f"holds {type(entry).__name__}, not an object")
        except FileNotFoundError:  # another kernel removed it since the folder was listed
            continue
        except ValueError as error:  # also JSONDecodeError and UnicodeDecodeError
            _set_aside(path, error)
        else:
            entries[path.stem] = entry
    entries |= {key: entry for (where, key), entry in _unsaved.items() if where == section}
    return dict(sorted(entries.items()))


def _set_aside(path: Path, error: ValueError) -> None:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    try:
        path.rename(aside)
    except OSError as refused:
        outcome = f"is left out; renaming it failed ({refused.strerror})"
    else:
        outcome = f"is kept as {aside.name} and left out; mend it and rename it back, or delete it"
    warnings.warn(f"{path.parent.name}/{path.name} is damaged ({error}). It {outcome}", stacklevel=3)


def forget(section: str, key: str) -> None:
    """Remove an entry; an entry that is not there is no error."""
    _path(section, key).unlink(missing_ok=True)
    _unsaved.pop((section, key), None)
