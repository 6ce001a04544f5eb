"""Run the chapter's study and write its tables: ``python -m greenlab.load_shifting.study``."""

from greenlab.load_shifting.study import main

if __name__ == "__main__":
    main()
