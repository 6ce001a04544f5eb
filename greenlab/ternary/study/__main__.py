"""Run the chapter's study and write its tables: ``python -m greenlab.ternary.study``."""

from greenlab.ternary.study import main

if __name__ == "__main__":
    main()
