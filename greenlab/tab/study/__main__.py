"""Run the study and write its tables: ``python -m greenlab.tab.study``."""

from greenlab.tab.study import main

if __name__ == "__main__":
    main()
