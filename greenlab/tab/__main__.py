"""Write the page and its model: ``python -m greenlab.tab build/tab``; then ``python -m http.server -d build/tab``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from greenlab.tab.site import build


def main(arguments: Sequence[str] | None = None) -> None:
    """Build the folder that was asked for and say how large it is; what goes wrong ends it with a sentence."""
    parser = argparse.ArgumentParser(prog="python -m greenlab.tab", description=__doc__)
    parser.add_argument("folder", help="where the files go")
    parser.add_argument("--no-weights", action="store_true", help="leave out the model (about 100 MB)")
    asked = parser.parse_args(arguments)
    try:
        manifest = build(asked.folder, weights=not asked.no_weights)
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(f"{asked.folder}: {error}")
    size = f"{manifest['bytes'] / 1e6:.1f} MB of model" if manifest else "without the model"
    print(f"{asked.folder}: {size}. Look at it: python -m http.server --bind 127.0.0.1 -d {asked.folder}")


if __name__ == "__main__":
    main()
