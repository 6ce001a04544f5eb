"""Run the chapter's study and write its tables: ``python -m greenlab.retrieval.study``."""

from greenlab.retrieval.study import main

if __name__ == "__main__":
    main()
