"""Compute the peers' tables again: ``python -m greenlab.green_service.study``."""

import sys

from greenlab.green_service.peers import main

if __name__ == "__main__":
    sys.exit(main())
