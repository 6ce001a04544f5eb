"""What an asset is: its package, its files with their hashes, its size and licence; and the error of this package."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_room(asset: AssetSpec, folder: Path) -> None:
    """Check, before the download, that the disk has room for the asset.

    Raises:
        AssetError: if the disk is too full.
    """
    free = shutil.disk_usage(folder).free
    if free < asset.disk_bytes:
        raise AssetError(
            f"{asset.name}: {free / 1e6:,.0f} MB are free in {folder.parent}, "
            f"{asset.disk_bytes / 1e6:,.0f} MB are needed: "
            "free some, or set GREENLAB_ASSETS to a folder with more room"
        )
