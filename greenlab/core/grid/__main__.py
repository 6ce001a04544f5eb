"""Build the tables of data/grid again: ``python -m greenlab.core.grid build``."""

import sys

from greenlab.core.grid import main

if __name__ == "__main__":
    sys.exit(main())
