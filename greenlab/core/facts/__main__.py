"""Write data/facts/README.md from the tables: ``python -m greenlab.core.facts``."""

import argparse

from greenlab.core.facts.page import main

if __name__ == "__main__":
    argparse.ArgumentParser(prog="python -m greenlab.core.facts", description=__doc__).parse_args()
    main()
