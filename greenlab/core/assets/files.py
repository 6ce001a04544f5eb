"""Check the folder of the assets: its files are complete, who may read them, and what an interrupted run left there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from greenlab.core import checks
from greenlab.core.assets.definitions import AssetSpec, Pin, as_asset, as_path, sha256_of

MANIFEST = "manifest.json"  # the size, time and sha256 that each file had when it was hashed
LOCK = ".lock"
Note = dict[str, Any]  # size, mtime_ns, sha256
_hashed: dict[Path, Note] = {}  # the same, of this process: for folders that cannot be written


def problems(asset: AssetSpec, folder: Path, *, thorough: bool = False) -> list[str]:
    """Say what is wrong with an asset in a folder, file by file; an empty list means that it is whole.

    Args:
        asset: what should be there.
        folder: where.
        thorough: hash every file, whatever its size and time.

    Raises:
        TypeError: if an argument is of another type.
    """
    asset, folder = as_asset("asset", asset), as_path("folder", folder)
    thorough = checks.flag("thorough", thorough)
    try:
        if not folder.exists():
            return [f"{asset.name}: not fetched yet"]
        noted = _noted(folder)
        pins = asset.files or {file: Pin(note["size"], note["sha256"]) for file, note in noted.items()}
        if not pins or not any((folder / file).exists() for file in pins):
            return [f"{asset.name}: an earlier fetch did not finish"]
    except OSError as error:
        return [f"{asset.name}: cannot be read ({error.strerror}): ask whoever fetched it to let others read it"]
    found = []
    for file, pin in pins.items():
        try:
            if problem := _problem(folder / file, pin, noted.get(file), thorough):
                found.append(f"{asset.name}/{file}: {problem}")
        except OSError as error:
            found.append(
                f"{asset.name}/{file}: cannot be read ({error.strerror}): ask whoever fetched it to run "
                "`python -m greenlab.core.assets` once more, which lets others read it"
            )
    return found


def _problem(path: Path, pin: Pin, note: Note | None, thorough: bool) -> str | None:
    if not path.is_file():
        return "missing"
    with path.open("rb"):  # raises if this user may not read it
        pass
    now = path.stat()
    if now.st_size != pin.size:
        return f"{now.st_size:,} bytes where {pin.size:,} are expected (truncated?)"
    wanted = {"size": now.st_size, "mtime_ns": now.st_mtime_ns, "sha256": pin.sha256}
    if not thorough and wanted in (note, _hashed.get(path)):
        return None
    if sha256_of(path) != pin.sha256:
        return "altered (its sha256 is not the published one)"
    _hashed[path] = wanted
    return None


def _noted(folder: Path) -> dict[str, Note]:
    """Read the manifest; notes of any other form are as good as none."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {file: note for file, note in content.items() if _is_note(note)}


def _is_note(note: Any) -> bool:
    kinds = {"size": int, "mtime_ns": int, "sha256": str}
    return (
        isinstance(note, dict) and note.keys() == kinds.keys() and all(type(note[key]) is kinds[key] for key in kinds)
    )


def note(folder: Path) -> None:
    """Hash every file of a folder and write the manifest.

    Raises:
        TypeError: if ``folder`` is no path.
    """
    folder, notes = as_path("folder", folder), {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST):
        now = path.stat()
        name = path.relative_to(folder).as_posix()
        notes[name] = {"size": now.st_size, "mtime_ns": now.st_mtime_ns, "sha256": sha256_of(path)}
    (folder / MANIFEST).write_text(json.dumps(notes, indent=1), encoding="utf-8")


def remember(asset: AssetSpec, folder: Path) -> None:
    """Write to the manifest what this process had to hash, so that no later one has to.

    A folder that cannot be written is left alone.

    Raises:
        TypeError: if an argument is of another type.
    """
    asset, folder = as_asset("asset", asset), as_path("folder", folder)
    noted = _noted(folder)
    new = {file: _hashed[folder / file] for file in asset.files if folder / file in _hashed}
    if {**noted, **new} == noted:
        return
    partial = folder / f".{MANIFEST}-{os.getpid()}"
    try:
        partial.write_text(json.dumps({**noted, **new}, indent=1), encoding="utf-8")
        partial.replace(folder / MANIFEST)
    except OSError:  # another user's folder: this process remembers, the next one hashes again
        with contextlib.suppress(OSError):
            partial.unlink()


def make_shared_folder(folder: Path) -> None:
    """Make the folder of all assets, readable by everybody.

    Raises:
        TypeError: if ``folder`` is no path.
        OSError: if it cannot be made.
    """
    folder = as_path("folder", folder)
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o755)


def share(folder: Path) -> None:
    """Let every user read a folder and its files, whatever the umask of whoever made them.

    The files of another user are left alone.

    Raises:
        TypeError: if ``folder`` is no path.
    """
    folder = as_path("folder", folder)
    for path in (folder, *folder.rglob("*")):
        wanted = 0o755 if path.is_dir() else 0o644
        with contextlib.suppress(OSError):
            if stat.S_IMODE(path.stat().st_mode) & wanted != wanted:
                path.chmod(wanted)


@contextlib.contextmanager
def only_one(folder: Path, *, progress: bool = False) -> Iterator[bool]:
    """Wait until no other process is fetching into the folder, and keep others waiting meanwhile.

    The lock ends with its process, also when that is killed.

    Yields:
        Whether the lock is held: False on a file system that has no locks, where nothing may be swept.

    Raises:
        TypeError: if an argument is of another type.
    """
    progress = checks.flag("progress", progress)
    lock = FileLock(as_path("folder", folder) / LOCK, mode=0o666)
    try:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if progress:
                print(f"another process is fetching into {folder}: waiting for it", file=sys.stderr)
            lock.acquire()
    except NotImplementedError:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _names(names: Any) -> list[str]:
    if isinstance(names, str) or not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"names={names!r}: give a list of the names of assets")
    return list(names)


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove what killed runs left. Call it under `only_one`: then nobody is using these folders.

    Args:
        folder: where the assets are.
        names: the names of assets.

    Raises:
        TypeError: if an argument is of another type.
    """
    folder = as_path("folder", folder)
    for name in _names(names):
        for left in folder.glob(f".{name}-*"):
            shutil.rmtree(left, ignore_errors=True)


def sweep_if_idle(folder: Path, names: Iterable[str]) -> None:
    """`sweep`, unless another process is fetching or the folder cannot be written.

    Raises:
        TypeError: if an argument is of another type.
    """
    folder, names = as_path("folder", folder), _names(names)
    if not any(left for name in names for left in folder.glob(f".{name}-*")):
        return
    with contextlib.suppress(Timeout, OSError, NotImplementedError), FileLock(folder / LOCK, timeout=0, mode=0o666):
        sweep(folder, names)
