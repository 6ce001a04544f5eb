"""Write data/facts/README.md from the tables: ``python -m greenlab.core.facts``."""

from greenlab.core.facts.page import main

if __name__ == "__main__":
    main()
