"""Where what took long to make is kept: a folder beside the reader's predictions and ledger."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from greenlab.core.machine import ROOT


def cache_folder() -> Path:
    """The folder: ``retrieval`` in ``$GREENLAB_STATE``, or in ``.greenlab`` in the repository."""
    return Path(os.environ.get("GREENLAB_STATE") or ROOT / ".greenlab") / "retrieval"


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place when the block ends well; nothing is left half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=path.suffix)
    os.close(handle)
    try:
        yield Path(name)
        os.replace(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
