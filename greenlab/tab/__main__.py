"""Write the page and its model: ``python -m greenlab.tab build/tab``; then ``python -m http.server -d build/tab``."""

from __future__ import annotations

import argparse

from greenlab.tab.site import build


def main() -> None:
    """Build the folder that was asked for and say how large it is."""
    parser = argparse.ArgumentParser(prog="python -m greenlab.tab", description=__doc__)
    parser.add_argument("folder", help="where the files go")
    parser.add_argument("--no-weights", action="store_true", help="leave out the model (about 100 MB)")
    arguments = parser.parse_args()
    manifest = build(arguments.folder, weights=not arguments.no_weights)
    size = f"{manifest['bytes'] / 1e6:.1f} MB of model" if manifest else "without the model"
    print(f"{arguments.folder}: {size}. Look at it: python -m http.server --bind 127.0.0.1 -d {arguments.folder}")


if __name__ == "__main__":
    main()
