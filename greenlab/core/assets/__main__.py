"""Fetch and verify the models and texts: ``python -m greenlab.core.assets``."""

import sys

from greenlab.core.assets import main

if __name__ == "__main__":
    sys.exit(main())
