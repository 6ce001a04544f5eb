"""Build the site: ``python -m docs.book``, then open ``build/book/html/index.html``; no server is needed."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from docs.book.sources import write
from greenlab import tab
from greenlab.core.machine import ROOT


def build(out: Path, *, root: Path = ROOT, strict: bool = True) -> int:
    """Write the sources, let Sphinx make the pages, add the scripts of chapter 6; gives Sphinx's exit status.

    Args:
        out: the folder of the build; ``out/source`` and ``out/html`` are made.
        root: the repository.
        strict: whether a warning of Sphinx is an error.
    """
    from sphinx.cmd.build import build_main

    source = out / "source"
    write(source, root)
    options = ["-b", "html", "-c", str(root / "docs"), "-d", str(out / "doctrees"), "-q"]
    options += ["-W", "--keep-going"] if strict else []
    status = build_main([*options, str(source), str(out / "html")])
    tab.build(out / "html" / "_static" / "tab", weights=False)  # python -m greenlab.tab adds its 100 MB
    return status


def main(arguments: list[str]) -> int:
    """Build the site into a folder and say where it is."""
    parser = argparse.ArgumentParser(prog="python -m docs.book", description="Build the book as a web site.")
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "build" / "book", help="the folder of the build")
    parser.add_argument("--lenient", action="store_true", help="go on after a warning of Sphinx")
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    status = build(options.out.resolve(), strict=not options.lenient)
    if status == 0:
        pages = len(list((options.out / "html").rglob("*.html")))
        print(f"{pages} pages in {time.perf_counter() - began:.0f} s: open {options.out / 'html' / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
