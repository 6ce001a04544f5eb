"""Run the chapter's study and write its tables: ``python -m greenlab.mixture_of_depths.study``."""

from greenlab.mixture_of_depths.study import main

if __name__ == "__main__":
    main()
