"""From the text of docs/tab/kernel.wat to the bytes that a browser runs."""

from __future__ import annotations

from pathlib import Path

from greenlab.core.assets.definitions import as_path


def assemble(source: str | Path) -> bytes:
    """Return a WebAssembly module.

    Args:
        source: a file in the WebAssembly text format.

    Raises:
        TypeError: if ``source`` is no path.
        ValueError: if it is empty, or the text is no valid module.
        OSError: if it cannot be read.
        RuntimeError: if the assembler is not installed; the message says how.
    """
    text = as_path("source", source).read_text(encoding="utf-8")
    try:
        import wasmtime
    except ImportError as error:
        raise RuntimeError("the assembler is missing: pip install -e '.[dev]' installs wasmtime") from error
    try:
        return bytes(wasmtime.wat2wasm(text))
    except wasmtime.WasmtimeError as error:
        raise ValueError(f"source={source}: {error}") from error
