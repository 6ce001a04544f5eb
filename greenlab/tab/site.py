"""The folder that a web server needs: scripts, the model, and a page of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from greenlab.core import checks
from greenlab.core.assets.definitions import as_path
from greenlab.core.machine import ROOT
from greenlab.tab.files import write_weights

SOURCES = ROOT / "docs" / "tab"
SCRIPTS = ("prune.js", "prune.css", "worker.js", "store.js", "model.js", "kernel.js", "tokenizer.js")
FRAGMENT, PAGE = "prune.html", "index.html"


def fragment(base: str = "") -> str:
    """Return the HTML that shows the model in a page: controls, text and the script that moves them.

    Args:
        base: the folder of the files as the page sees it, ending with ``/``, such as ``"../_static/tab/"``.

    Raises:
        TypeError: if ``base`` is no text.
        ValueError: if it does not end with ``/``, or leads to another host.

    >>> '<script type="module" src="../_static/tab/prune.js">' in fragment("../_static/tab/")
    True
    """
    checks.text("base", base)
    if base and not base.endswith("/"):
        raise ValueError(f"base={base!r}: give a folder that ends with /, such as '_static/tab/'")
    if base.startswith("//") or not set(base.lower()) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-./"):
        raise ValueError(f"base={base!r}: give a folder of the same site, such as '_static/tab/'")
    return (SOURCES / FRAGMENT).read_text(encoding="utf-8").replace("@base@", base)


def build(folder: str | Path, *, weights: bool = True) -> dict[str, Any] | None:
    """Write everything that the page needs into a folder, and return the manifest of the weights.

    Args:
        folder: where it goes; it is made if it is not there.
        weights: also write the model (about 100 MB); without it the page says that it was not built.

    Raises:
        TypeError: if an argument is of another type.
        ValueError: if ``folder`` is empty.
        AssetError: if the model is not here and cannot be fetched.
        OSError: if the folder cannot be written.
        RuntimeError: if the assembler is not installed (the model needs it).
    """
    folder, weights = as_path("folder", folder), checks.flag("weights", weights)
    folder.mkdir(parents=True, exist_ok=True)
    for name in SCRIPTS:
        shutil.copyfile(SOURCES / name, folder / name)
    page = (SOURCES / PAGE).read_text(encoding="utf-8").replace("@fragment@", fragment())
    (folder / PAGE).write_text(page, encoding="utf-8", newline="\n")
    return write_weights(folder / "weights") if weights else None
