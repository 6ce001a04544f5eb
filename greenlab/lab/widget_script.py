"""The JavaScript of a chart that a kernel updates, bundled once for a machine and kept as a file.

Altair's ``JupyterChart.enable_offline()`` bundles it anew in every kernel: seconds of work, and a JavaScript engine in
the kernel's memory that takes as much as a small language model's tokenizer and Python's charts together. The bundle
depends on the versions of Altair and vl-convert alone. So a process of its own makes it, and a file beside the models
keeps it for all kernels and users of the machine. Where that folder cannot be written, each kernel asks such a process.

``python -m greenlab.lab.widget_script`` makes the file; whoever sets up a machine for a class runs it once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import altair as alt

from greenlab.core.assets import assets_folder

_BUNDLE = "import sys, altair; altair.JupyterChart.enable_offline(); " + (
    "sys.stdout.buffer.write(altair.JupyterChart._esm.encode())"
)
_HEAD = "// sha256 "


def script_file() -> Path:
    """Where the bundle of the installed versions is kept: in the folder of the assets."""
    versions = "-".join(f"{name}-{metadata.version(name)}" for name in ("altair", "vl-convert-python"))
    return assets_folder() / "widgets" / f"{versions}.js"


def bundle() -> str:
    """Make the bundle in a process of its own, so that this one does not hold the JavaScript engine.

    Raises:
        RuntimeError: if that process fails; the message holds what it said last.
    """
    done = subprocess.run([sys.executable, "-c", _BUNDLE], capture_output=True, check=False)
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise RuntimeError(f"bundling the JavaScript of charts failed (it said: {said[-1]}); install vl-convert-python")
    return done.stdout.decode()


def read() -> str | None:
    """Return the bundle from its file; None where there is none, or it is not whole."""
    try:
        # bytes: reading as text would change the line ends
        head, _, text = script_file().read_bytes().decode().partition("\n")
    except (OSError, ValueError):
        return None
    return text if head == _HEAD + _digest(text) else None


def keep(text: str) -> bool:
    """Write the bundle to its file, which every user may read, and say whether that could be done.

    The file is there whole or not at all, also where two kernels write at once.

    Raises:
        TypeError: if ``text`` is no text.
    """
    if not isinstance(text, str):
        raise TypeError(f"text={text!r:.80} is {type(text).__name__}: give the JavaScript as text")
    path, name = script_file(), None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=".tmp")
        with open(handle, "w", encoding="utf-8", newline="") as file:
            file.write(f"{_HEAD}{_digest(text)}\n{text}")
        os.chmod(name, 0o644)
        os.replace(name, path)
    except OSError:  # another user's folder, a full disk: the next kernel makes it again
        if name is not None:
            with contextlib.suppress(OSError):
                os.unlink(name)
        return False
    return True


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def enable() -> None:
    """Let charts that a kernel updates take their JavaScript from the kernel and never from a CDN.

    The second call in a kernel does nothing.

    Raises:
        RuntimeError: if the bundle cannot be made.
    """
    if alt.JupyterChart._is_offline:
        return
    text = read()
    if text is None:
        text = bundle()
        keep(text)
    alt.JupyterChart._esm = text  # what enable_offline() does once it has the bundle
    alt.JupyterChart._is_offline = True


def main() -> int:
    """Make the file, unless it is there; the exit code says whether it is."""
    if read() is None and not keep(bundle()):
        print(f"greenlab: {script_file().parent} cannot be written; run this as its owner", file=sys.stderr)
        return 1
    print(f"JavaScript of charts: ready ({script_file()})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
