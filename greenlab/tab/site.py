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
FRAGMENT = ROOT / "docs" / "parts" / "layer_pruning.cut_explorer.html"  # in place of the chapter's widget
BASE = "../_static/tab/"  # where the site has the files, seen from a chapter
SCRIPTS = ("prune.js", "prune.css", "worker.js", "store.js", "model.js", "kernel.js", "tokenizer.js")
PAGE = "index.html"


def fragment(base: str = BASE) -> str:
    """Return the HTML that shows the model in a page: controls, text and the script that moves them.

    Args:
        base: the folder of the files as the page sees it, ending with ``/``, such as ``"tab/"``; "" is the page's own.

    Raises:
        TypeError: if ``base`` is no text.
        ValueError: if it does not end with ``/``, or leads to another host.

    >>> 'import("./static/tab/prune.js")' in fragment("static/tab/")
    True
    """
    checks.text("base", base)
    if base and not base.endswith("/"):
        raise ValueError(f"base={base!r}: give a folder that ends with /, such as '_static/tab/'")
    if base.startswith("//") or not set(base.lower()) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-./"):
        raise ValueError(f"base={base!r}: give a folder of the same site, such as '_static/tab/'")
    # an import is relative to the page only if it begins with a dot or a slash
    script = base if base.startswith((".", "/")) else f"./{base}"
    html = FRAGMENT.read_text(encoding="utf-8").replace(f'import("{BASE}', f'import("{script}')
    return html.replace(f'"{BASE}prune.css', f'"{base}prune.css')


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
    page = (SOURCES / PAGE).read_text(encoding="utf-8").replace("@fragment@", fragment(""))
    (folder / PAGE).write_text(page, encoding="utf-8", newline="\n")
    return write_weights(folder / "weights") if weights else None
